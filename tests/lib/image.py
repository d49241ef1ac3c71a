"""The image and containers of it, without a registry: buildah and podman on a storage of
their own, which goes with the test. What FROM names is made here, of Debian's packages."""
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import uuid

from daemon import Daemon
from procs import ROOT, wait_until

DEBIAN = 'docker.io/library/debian:bookworm-slim'
DISTROLESS = 'gcr.io/distroless/cc-debian12:nonroot'
PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
# What dpkg is told in it, as in the real one.
SLIM = ('force-unsafe-io', 'path-exclude=/usr/share/man/*', 'path-exclude=/usr/share/locale/*',
        'path-exclude=/usr/share/doc/*', 'path-include=/usr/share/doc/*/copyright')
# Where systemd does not run, or a session may not speak to it; locks in files, or one stays
# behind in /dev/shm; no runtime but Debian's runc, which knows both kinds of cgroups.
CONTAINERS_CONF = '''[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
runtime = "runc"
'''


def native():
    """This machine's architecture, in Debian's words."""
    return run('dpkg', '--print-architecture').strip()


def run(*argv, check=True, env=None, timeout=1200):
    """Standard output; with check, a failure has all that was said."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env=env, timeout=timeout, check=False)
    if check and done.returncode:
        raise AssertionError(f'{" ".join(argv)}: {done.returncode}\n'
                             f'{done.stdout[-6000:]}\n{done.stderr[-6000:]}')
    return done.stdout if check else done


def sources():
    """Lines for sources.list: this machine's own mirrors of bookworm."""
    told = run('apt-get', 'indextargets', '--format', '$(ORIGIN)|$(CREATED_BY)|deb $(REPO_URI) '
               '$(RELEASE) $(COMPONENT)').splitlines()
    lines = {line.split('|')[2] for line in told if line.startswith('Debian|Packages|')
             and ' bookworm' in line}
    # Without lists nothing is told, as after `apt-get clean` in a container.
    return sorted(lines, key=len) or ['deb http://deb.debian.org/debian bookworm main']


def proxies():
    return [line for line in run('apt-config', 'dump').splitlines() if '::Proxy' in line]


class Store:
    """Images and containers in one directory; close() leaves nothing of them."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='peerscope-image-', dir='/var/tmp')
        conf = self.path('containers.conf')
        with open(conf, 'w', encoding='utf-8') as f:
            f.write(CONTAINERS_CONF)
        self.env = {**os.environ, 'CONTAINERS_CONF': conf, 'TMPDIR': self.dir}
        self.own = ['--root', self.path('store'), '--runroot', self.path('run'),
                    '--storage-driver', 'vfs']
        os.mkdir(self.path('empty'))

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def buildah(self, *args, **kw):
        """It remembers where layers come from in /var/lib/containers, whatever --root says."""
        return run('unshare', '--mount', 'sh', '-ec',
                   'mount -t tmpfs none /var/lib; exec buildah "$@"', 'buildah',
                   *self.own, *args, env=self.env, **kw)

    def podman(self, *args, **kw):
        return run('podman', *self.own, '--tmpdir', self.path('tmp'), *args, env=self.env, **kw)

    def inspect(self, name):
        return json.loads(self.podman('inspect', name))[0]

    def close(self):
        with contextlib.suppress(AssertionError):
            self.podman('rm', '--all', '--force', '--volumes', '--time', '1')
            self.buildah('rm', '--all')
        with open('/proc/mounts', encoding='utf-8') as f:
            left = [line.split()[1] for line in f if self.dir in line]
        if left:                        # rm would go through them
            raise AssertionError(f'still mounted: {left}')
        shutil.rmtree(self.dir)

    # Images ---------------------------------------------------------------
    def debian(self):
        """The base of the build stage."""
        tree = self.path('debian')
        run('mmdebstrap', '--variant=minbase', '--mode=root', '--quiet',
            *(f'--dpkgopt={line}' for line in SLIM),
            *(f'--aptopt={line}' for line in proxies()), 'bookworm', tree, *sources(),
            env=self.env)
        shutil.rmtree(os.path.join(tree, 'dev'))
        os.mkdir(os.path.join(tree, 'dev'))
        c = self.buildah('from', 'scratch').strip()
        self.buildah('copy', '--quiet', c, tree, '/')
        self.buildah('config', '--env', 'PATH=' + PATH, '--cmd', 'bash', c)
        self.buildah('commit', '--quiet', '--rm', c, DEBIAN)
        shutil.rmtree(tree)

    def bud(self, tag, context, *args):
        """docker's format: OCI's has no HEALTHCHECK. No layers: each is a whole copy here."""
        self.buildah('bud', '--isolation', 'chroot', '--pull-never', '--layers=false',
                     '--format', 'docker', '--tag', tag, *args, context)

    def peerscope(self, arch, version, commit):
        """The image, from the Dockerfile as it is; its name."""
        self.bud(DISTROLESS, self.path('empty'), '--build-arg', 'ARCH=' + arch, '--file',
                 os.path.join(ROOT, 'tests', 'image', 'distroless.Dockerfile'))
        tag = f'localhost/peerscope:{arch}'
        self.bud(tag, ROOT, '--build-arg', 'VERSION=' + version, '--build-arg',
                 'COMMIT=' + commit, *([] if arch == native() else
                                       ['--build-arg', 'TARGETARCH=' + arch]))
        return tag

    def size_mb(self, image):
        """Of the unpacked image, base included, as `docker images` shows it."""
        return self.inspect(image)['Size'] / 1e6

    def tree(self, image):
        """Its files, in a directory that may be written."""
        c = self.buildah('from', '--pull-never', image).strip()
        return self.buildah('mount', c).strip()


class Container(Daemon):
    """As locked down as can be: read-only, no capability, nothing to write but the image's
    volumes and 64 MB of /dev/shm. Addresses are the machine's 127/8."""

    def __init__(self, store, stage, image, user, conf=None, options=(), host=None):
        self.store, self.stage, self.name = store, stage, 'peerscope-' + uuid.uuid4().hex[:12]
        self.host, self.port, self.address = host or stage.net.take(), 8080, stage.net.take()
        self.url = f'http://{self.host}:{self.port}'
        conf = {'http.listen': f'{self.host}:{self.port}', 'http.workers': 2,
                'swarm.listen': f'{self.address}:42069', 'swarm.dht': 'off',
                'swarm.trackers': '', 'swarm.allow_private': 'on', 'geo.online': 'off',
                'acestream.trackers': '', **(conf or {})}
        env = [f'--env=PEERSCOPE_{k.upper().replace(".", "_")}={v}' for k, v in conf.items()]
        stage.at_end(self.remove)
        # podman's own limits are above those that a machine without CAP_SYS_RESOURCE has. For
        # a health check it would put a timer into systemd, which knows no --root.
        store.podman('run', '--detach', '--no-healthcheck', '--name', self.name, '--user', user,
                     '--read-only', '--read-only-tmpfs=false', '--shm-size', '64m', '--cap-drop',
                     'all', '--security-opt', 'no-new-privileges', '--network', 'host',
                     '--ulimit', 'nofile=1024:4096', '--ulimit', 'nproc=1000:2000',
                     *env, *options, image)
        self.wait()

    def wait(self):
        wait_until(self.ready, 60, 'the container is ready')
        wait_until(lambda: self.get('/health').json['libtorrent_available'], 15, 'it listens')

    def log(self):
        done = self.store.podman('logs', self.name, check=False)
        return done.stdout + done.stderr

    @property
    def pid(self):
        """Of its first process, outside."""
        return self.store.inspect(self.name)['State']['Pid']

    def exec(self, *argv, options=()):
        return self.store.podman('exec', *options, self.name, *argv, check=False)

    def stop(self, within=30):
        """As `docker stop` does; its exit code."""
        self.store.podman('stop', '--time', str(within), self.name)
        return self.store.inspect(self.name)['State']['ExitCode']

    def start(self):
        self.store.podman('start', self.name)
        self.wait()

    def remove(self):
        self.store.podman('rm', '--force', '--volumes', '--time', '1', self.name, check=False)

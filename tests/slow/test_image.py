"""The Dockerfile builds here, for this machine's architecture and for arm64, and what comes
out of it serves a swarm: as any user, read-only, with 64 MB of /dev/shm and no shell."""
import json
import os
import shutil
import stat
import subprocess
import time
import uuid

import pytest
import yaml

import web
from daemon import Daemon
from image import Container, Store, native
from metacache import API, link, post
from netns import needs_mounts
from procs import ROOT, children, comm, wait_until

MB_MAX = 60             # arm64's libraries are larger: their pages are of 64 KiB
NONROOT, SOMEBODY = '65532:65532', '1234567:7654321'
OF_ANY_CONTAINER = {'/dev', '/dev/pts', '/dev/mqueue', '/dev/shm', '/etc/hosts',
                    '/etc/hostname', '/etc/resolv.conf', '/run/.containerenv'}
MACHINES_OWN = '/var/lib/containers'      # buildah's and podman's, if one uses them here
VOLUMES = ['/var/cache/peerscope', '/var/lib/peerscope']
# With a binfmt_misc of one's own the machine's stays as it is. What it is told are the first
# bytes of a program, which of their bits count, and who runs such.
ON_ARM = r'''
set -e
head='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
mount -t binfmt_misc none "$1"
printf '%s' ":arm64:M::$head:$mask:/usr/bin/qemu-aarch64-static:OF" >"$1/register"
mount --rbind /proc "$2/proc"
mount --rbind /dev "$2/dev"
root=$2
shift 2
exec chroot "$root" "$@"
'''


@pytest.fixture(scope='module')
def store():
    needs_mounts()
    was = os.path.exists(MACHINES_OWN)
    s = Store()
    try:
        s.debian()
        yield s
    finally:
        s.close()
    assert os.path.exists(MACHINES_OWN) == was


@pytest.fixture(scope='module')
def say(request):
    """Figures are for the log of a run that passes, too."""
    capture = request.config.pluginmanager.getplugin('capturemanager')

    def aloud(text):
        with capture.global_and_fixture_disabled():
            print('\n' + text, flush=True)
    return aloud


@pytest.fixture(scope='module')
def build(store, say):
    """build('amd64') -> the name of the image."""
    with open(os.path.join(ROOT, 'VERSION'), encoding='utf-8') as f:
        version = f.read().strip()

    def make(arch):
        began = time.monotonic()
        name = store.peerscope(arch, version, 'c0ffee')
        say(f'image for {arch}: {store.size_mb(name):.1f} MB, built in '
            f'{time.monotonic() - began:.0f} s')
        assert store.size_mb(name) < MB_MAX
        return name
    return make


@pytest.fixture(scope='module')
def image(build):
    return build(native())


@pytest.fixture
def container(store, stage, image):
    return lambda *a, **kw: Container(store, stage, image, *a, **kw)


@pytest.fixture
def town(swarm, tracker):
    """(swarm, settings): twenty peers, and a daemon that is told of their tracker."""
    t = tracker()
    s = swarm([{'count': 12}, {'count': 8, 'progress': 'mixed'}])
    t.set(s.infohash, peers=s.endpoints())
    return s, {'swarm.trackers': t.udp}


# What is in it ---------------------------------------------------------------------------

def test_what_the_image_says_of_itself(store, image):
    about = store.inspect(image)
    c = about['Config']
    assert c['User'] == NONROOT and c['StopSignal'] in ('SIGTERM', '15')
    assert c['Entrypoint'] == ['/usr/local/bin/peerscope'] and c['Cmd'] == ['serve']
    assert sorted(c['Volumes']) == VOLUMES
    assert about['Healthcheck']['Test'] == ['CMD', '/usr/local/bin/peerscope', 'healthcheck',
                                            '--ready']
    labels = {k.rpartition('.')[2]: v for k, v in c['Labels'].items()
              if k.startswith('org.opencontainers.image.')}
    assert labels['title'] == 'Peerscope' and labels['revision'] == 'c0ffee'
    assert labels['licenses'] == 'MIT' and labels['version'] in store.podman(
        'run', '--rm', '--network', 'none', '--ulimit', 'nofile=1024:4096', '--ulimit',
        'nproc=1000:2000', image, 'version')


def test_nothing_of_yours_is_built_in(store, stage):
    """What lies about in the tree, of which .dockerignore has never heard."""
    tree, yours = stage.fresh_dir('tree'), ('.env', 'conf/.env', 'conf/secrets/key', 'id_ed25519',
                                            'conf/geo/city.mmdb', 'tests/x', 'build/peerscope')
    shutil.copy(os.path.join(ROOT, '.dockerignore'), tree)
    for name in ('Makefile', 'common/conf.h', 'conf/peerscope.conf', *yours):
        os.makedirs(os.path.dirname(os.path.join(tree, name)), exist_ok=True)
        with open(os.path.join(tree, name), 'w', encoding='ascii') as f:
            f.write('x')
    with open(stage.path('Dockerfile'), 'w', encoding='ascii') as f:
        f.write('FROM scratch\nCOPY . /\n')
    store.bud('localhost/context', tree, '--file', stage.path('Dockerfile'))
    root = store.tree('localhost/context')
    got = {os.path.relpath(os.path.join(base, n), root) for base, _, names in os.walk(root)
           for n in names}
    assert got == {'Makefile', 'common/conf.h', 'conf/peerscope.conf'}


def test_nothing_in_it_can_be_run_but_two_programs(store, image):
    root = store.tree(image)
    programs, shells = [], []
    for base, _, names in os.walk(root):
        for n in names:
            path = os.path.join(base, n)
            mode = os.lstat(path).st_mode
            where = path[len(root):]
            if n in ('sh', 'bash', 'dash', 'ash', 'busybox', 'perl', 'python3'):
                shells.append(where)
            if os.path.basename(base) in ('bin', 'sbin') and stat.S_ISREG(mode):
                programs.append(where)
            assert not mode & (stat.S_ISUID | stat.S_ISGID), where
    assert sorted(programs) == ['/usr/local/bin/peerscope', '/usr/local/bin/redis-server']
    assert shells == []
    copied = os.listdir(os.path.join(root, 'var/lib/dpkg/status.d'))
    assert 'libtorrent-rasterbar2.0' in copied and 'redis-tools' in copied
    for package in copied:
        assert os.path.exists(os.path.join(root, 'usr/share/doc', package, 'copyright'))
    with open(os.path.join(root, 'usr/share/doc/peerscope/copyright'), encoding='utf-8') as f:
        assert 'The Peerscope authors' in f.read()


# What it does ----------------------------------------------------------------------------

def is_locked_down(pid, uid):
    """Of every process in it: whose it is, no capability, none to be had, root read-only."""
    for p in [pid, *children(pid)]:
        with open(f'/proc/{p}/status', encoding='utf-8') as f:
            said = dict(line.rstrip('\n').split(':\t', 1) for line in f if ':\t' in line)
        assert said['Uid'].split() == [uid] * 4, (comm(p), said['Uid'])
        assert int(said['CapEff'], 16) == int(said['CapBnd'], 16) == 0, comm(p)
        assert said['NoNewPrivs'] == '1'
    with open(f'/proc/{pid}/mountinfo', encoding='utf-8') as f:
        mounts = {fields[4]: fields[5].split(',') for fields in map(str.split, f)}
    assert 'ro' in mounts['/']
    open_ = {m for m in mounts if 'rw' in mounts[m] and not m.startswith(('/proc', '/sys'))}
    assert open_ - OF_ANY_CONTAINER == set(VOLUMES), mounts
    shm = os.statvfs(f'/proc/{pid}/root/dev/shm')
    assert shm.f_blocks * shm.f_frsize == 64 << 20


@pytest.mark.parametrize('user', [NONROOT, SOMEBODY])
def test_it_serves_a_swarm_as_anybody(container, town, user, say):
    s, conf = town
    began = time.monotonic()
    c = container(user, {**conf, 'metadata.downloads': 'on'})
    say(f'image as {user}: serves {time.monotonic() - began:.1f} s after podman run')
    c.until_peers(s.infohash, lambda got: len(got) == 20 and all(
        p['state'] == 'connected' and p['client'] and p['progress'] > 0
        for p in got.values()), 30, 'all of them are connected')
    health = c.get('/health').json
    assert health['redis_mode'] == 'bundled' and health['redis_available'] is True
    is_locked_down(c.pid, user.partition(':')[0])
    doubts = c.exec('peerscope', 'check').stderr
    assert 'dht_state' not in doubts and 'cache_dir' not in doubts, doubts
    names = sorted(comm(p) for p in children(c.pid))
    assert 'redis-server' in names and len(names) == 4, names
    # What it finds lies on the volume, and is there when it is started again.
    assert post(c, link(s.infohash, s.endpoints())).json['source'] == 'dht'
    assert c.stop() == 0                # 137: it had to be killed
    assert c.log().rstrip().endswith('left')
    c.start()
    assert c.get(f'{API}/{s.infohash}').json['source'] == 'disk'
    assert c.get(f'/download/{s.infohash}').status == 200


def test_health_and_no_shell(store, container, image):
    c = container(SOMEBODY)
    ask = store.inspect(image)['Healthcheck']['Test'][1:]
    assert c.exec(*ask).returncode == 0
    # The same, of a daemon that is not there.
    lost = c.exec(*ask, options=['--env', 'PEERSCOPE_HTTP_LISTEN=127.0.0.1:1'])
    assert lost.returncode == 1 and 'nobody listens' in lost.stderr
    top = c.exec('peerscope', 'top', '--once')
    assert top.returncode == 0 and 'collector' in top.stdout
    for shell in 'sh', '/bin/sh', 'bash', 'busybox':
        tried = c.exec(shell, '-c', 'true')
        assert tried.returncode == 127 and 'not' in tried.stderr, tried


def test_the_files_values_give_way(container):
    """The volumes are named in the image's peerscope.conf, so the old name beats them."""
    c = container(NONROOT, options=['--env', 'CACHE_DIR=/dev/shm/elsewhere'])
    said = c.exec('peerscope', 'config').stdout
    assert 'metadata.cache_dir = /dev/shm/elsewhere  # env CACHE_DIR' in said
    assert 'swarm.dht_state = /var/lib/peerscope/dht.state  # /etc/peerscope/' in said


# Beside each other -----------------------------------------------------------------------

@pytest.fixture
def volume(store, stage):
    """volume(options of a compose file) -> its name."""
    def make(options):
        name = 'peerscope-' + uuid.uuid4().hex[:12]
        store.podman('volume', 'create', *(f'--opt={k}={v}' for k, v in options.items()), name)
        stage.at_end(lambda: store.podman('volume', 'rm', '--force', name))
        return name
    return make


def test_the_redundant_house_of_containers(store, stage, image, container, volume, town, say):
    """docker-compose.redundant.yml's Redis and both its Peerscopes, each another user, on its
    volumes of memory; a third container, that may only read them, asks over the sockets."""
    with open(os.path.join(ROOT, 'conf', 'docker-compose.redundant.yml'), encoding='utf-8') as f:
        said = yaml.safe_load(f)
    mounts = [f'--volume={volume(said["volumes"][n]["driver_opts"])}:/run/peerscope-{n}'
              for n in ('http', 'redis')]
    command = said['services']['redis']['command']
    tight = ['--read-only', '--cap-drop=all', '--security-opt=no-new-privileges',
             '--ulimit=nofile=1024:4096', '--ulimit=nproc=1000:2000', '--tmpfs=/tmp']
    redis = 'redis-' + uuid.uuid4().hex[:12]
    stage.at_end(lambda: store.podman('rm', '--force', '--time', '1', redis, check=False))
    store.podman('run', '--detach', '--name', redis, *tight, '--network=none', '--user',
                 said['services']['redis']['user'], mounts[1],
                 '--entrypoint', f'/usr/local/bin/{command[0]}', image, *command[1:])
    s, conf = town
    sockets = {}
    for name, user in (('peerscope', NONROOT), ('peerscope2', SOMEBODY)):
        env = {k: v for k, v in said['services'][name]['environment'].items()
               if k.startswith(('PEERSCOPE_REDIS_', 'PEERSCOPE_HTTP_TRUSTED'))}
        listen = said['services'][name]['environment']['PEERSCOPE_HTTP_LISTEN']
        sockets[name] = listen.split(',')[1]
        address = stage.net.take()
        c = container(user, {**conf, 'http.listen': f'{address}:8080,{sockets[name]}'},
                      options=[*mounts, '--tmpfs=/tmp',
                               *(f'--env={k}={v}' for k, v in env.items())], host=address)
        wait_until(lambda c=c: c.get('/health').json['redis_available'], what='Redis, by its path')
    for path in sockets.values():
        asked = store.podman('run', '--rm', *tight, '--network=none', '--user=33:33',
                             f'{mounts[0]}:ro', image, 'peers', s.infohash, '--url', path,
                             '--wait', '10s', '--json')
        assert json.loads(asked)['total_peers'] == 20
    say('image: two of them, one Redis, sockets on volumes of memory')


# TLS -------------------------------------------------------------------------------------

class OneTracker(web.Handler):
    """One peer, whoever asks."""

    def do_GET(self):
        self.server.owner.append(self.path)
        self.say(b'd8:intervali1800e5:peers6:\x7f\x00\x00\x09\x1a\xe1e')


@pytest.fixture
def vouched(stage):
    """(address, certificate and key) of a host that the one in the certificate vouches for."""
    address, at = stage.net.take(), stage.fresh_dir('tls')
    made = [os.path.join(at, 'cert.pem'), os.path.join(at, 'key.pem')]
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2',
                    '-subj', '/CN=' + address, '-addext', f'subjectAltName=IP:{address}',
                    '-out', made[0], '-keyout', made[1]], check=True, capture_output=True)
    return address, made


def test_trackers_on_https_are_verified_against_its_bundle(stage, container, vouched):
    address, made = vouched
    asked = []
    server = web.Server(address, 6969, OneTracker, asked, made)
    stage.at_end(server.stop)
    conf = {'swarm.trackers': f'https://{address}:6969/announce'}
    infohash = uuid.uuid4().hex + '0' * 8
    stranger = container(NONROOT, conf)
    wait_until(lambda: stranger.peers(infohash)['evidence'] and 'certificate' in str(
        stranger.peers(infohash)), 20, 'the stranger is told why')
    assert asked == []
    bundle = '/etc/ssl/certs/ca-certificates.crt'
    trusting = container(NONROOT, conf, options=['--volume', f'{made[0]}:{bundle}:ro'])
    trusting.until_peers(infohash, lambda got: list(got) == ['127.0.0.9'])


# arm64 -----------------------------------------------------------------------------------

def private_binfmt():
    """Why there is no binfmt_misc of one's own here, or None (Linux 6.7 and later)."""
    done = subprocess.run(['unshare', '-Urm', 'mount', '-t', 'binfmt_misc', 'none', '/mnt'],
                          capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else None


def test_arm64_answers(store, build, stage):
    """Built here by a cross compiler, started by qemu: with its collector and its Redis."""
    if native() == 'arm64':
        pytest.skip('this machine is one: the other tests have shown it')
    image = build('arm64')
    if private_binfmt():
        pytest.skip(f'built, not started: {private_binfmt()}')
    address, shm = stage.net.take(), '/peerscope-test-' + uuid.uuid4().hex[:12]
    env = {'PATH': '/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
           'PEERSCOPE_HTTP_LISTEN': address + ':8080', 'PEERSCOPE_SHM_NAME': shm,
           'PEERSCOPE_SWARM_LISTEN': address + ':42069', 'PEERSCOPE_SWARM_DHT': 'off',
           'PEERSCOPE_SWARM_TRACKERS': '', 'PEERSCOPE_ACESTREAM_TRACKERS': '',
           'PEERSCOPE_GEO_ONLINE': 'off'}
    proc = stage.start('arm64', ['unshare', '-Urm', 'sh', '-c', ON_ARM, 'on-arm',
                                 stage.fresh_dir('binfmt'), store.tree(image),
                                 '/usr/local/bin/peerscope', 'serve'], env=env)
    asker = Daemon.__new__(Daemon)
    asker.host, asker.port = address, 8080
    wait_until(lambda: proc.must_live() and asker.ready(), 60, 'it is ready')
    assert asker.get('/livez').json == {'status': 'alive'}
    wait_until(lambda: asker.get('/health').json['redis_available'], 30, 'its Redis, too')
    assert asker.get('/health').json['libtorrent_available'] is True
    assert proc.stop(timeout=30) == 0, proc.log()
    assert not os.path.exists('/dev/shm' + shm)

"""A small Debian of a test's own: a directory with its files, commands in it, and systemd as
its process 1. Root is needed. While apt fetches packages it has our network; at all other
times it has a network of its own, of which only lo exists."""
import os
import signal
import subprocess

import pytest

from procs import children, slow, wait_until

# A new mount namespace with what every program wants to find. Nothing of it outlives it.
MOUNTS = '''
mount --make-rprivate /
mount --bind "$1" "$1" && cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
for d in null zero full random urandom tty; do : >dev/$d; mount --bind /dev/$d dev/$d; done
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=1777,size=64m tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts && ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
'''
LO = 'ip link set lo up\n'
# A control group of its own, seen as the root of all; what is left of it is removed later.
GROUP = '''
set -e
mkdir -p "$2" && mount -t cgroup2 cgroup2 "$2" && mkdir -p "$2/$3" && echo $$ >"$2/$3/cgroup.procs"
umount "$2"
exec unshare -C sh -c "$4" sh "$1"
'''
BOOT = 'set -e' + MOUNTS + LO + '''
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 sys/fs/cgroup
pivot_root . mnt && umount -l /mnt
exec env -i container=peerscope-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    /lib/systemd/systemd --system --unit=multi-user.target </dev/null
'''
PATH = {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'DEBIAN_FRONTEND': 'noninteractive', 'LANG': 'C'}
# What a booted system needs none of, and what would speak to the world.
MASKED = ('getty@tty1.service', 'apt-daily.timer', 'apt-daily-upgrade.timer',
          'dpkg-db-backup.timer',
          'systemd-pstore.service', 'e2scrub_reap.service', 'redis-server.service')


# What systemd is given there, for a moment.
PROBE = '''
mount -t cgroup2 cgroup2 /mnt && mkdir "/mnt/$1" && rmdir "/mnt/$1" && umount /mnt
exec unshare -C true
'''


def needs_systemd():
    """Skips the test where no systemd can be had of this machine's kernel, or in a container."""
    done = subprocess.run(['unshare', '--mount', '--pid', '--net', '--fork', 'sh', '-ec', PROBE,
                           'sh', f'peerscope-test-{os.getpid()}'], capture_output=True,
                          text=True, check=False)
    if done.returncode:
        pytest.skip(f'no systemd can run here: {done.stderr.strip()}')


class Debian:
    def __init__(self, stage, release='bookworm'):
        self.stage, self.init = stage, None
        self.root = stage.path('debian')
        self.group = f'peerscope-test-{os.getpid()}'
        subprocess.run(['mmdebstrap', '--quiet', '--variant=apt',
                        '--dpkgopt=force-unsafe-io', release, self.root], check=True,
                       timeout=600 * slow(), stdin=subprocess.DEVNULL)
        # As in a container: what is installed starts nothing.
        self.write('/usr/sbin/policy-rc.d', '#!/bin/sh\nexit 101\n', 0o755)
        stage.at_end(self.halt)

    def path(self, path):
        return self.root + path

    def read(self, path):
        with open(self.path(path), encoding='utf-8') as f:
            return f.read()

    def write(self, path, text, mode=0o644):
        with open(self.path(path), 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(self.path(path), mode)

    def files(self):
        """Every path of it, but what programs other than ours keep for themselves."""
        out = set()
        for base, dirs, names in os.walk(self.root):
            inside = base[len(self.root):]
            dirs[:] = [n for n in dirs if f'{inside}/{n}' not in (
                '/proc', '/sys', '/dev', '/run', '/tmp', '/var/log/journal', '/var/lib/dpkg',
                '/var/lib/apt', '/var/cache/apt', '/var/cache/debconf', '/var/log/apt')]
            out |= {f'{inside}/{n}' for n in dirs + names}
        return out

    def _unshared(self, *options):
        return ['unshare', '--mount', '--pid', '--ipc', '--uts', '--fork', '--kill-child',
                *options]

    def run(self, *argv, online=False, check=True, timeout=300, stdin=subprocess.DEVNULL):
        """A command in it, in namespaces of its own, or in those of systemd if that runs."""
        if self.init and not online:
            argv = ['nsenter', '-a', '-t', str(self.init), 'env', '-i',
                    *(f'{k}={v}' for k, v in PATH.items()), *argv]
            env = None
        else:
            script = 'set -e' + MOUNTS + ('' if online else LO) + 'shift; exec chroot . "$@"'
            argv = [*self._unshared(*([] if online else ['--net'])), 'sh', '-c', script, 'sh',
                    self.root, *argv]
            env = {**PATH, **{k: v for k, v in os.environ.items() if k.endswith('_proxy')}}
        r = subprocess.run(argv, env=env, stdin=stdin, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=timeout * slow(),
                           check=False)
        if check and r.returncode != 0:
            raise AssertionError(f'{argv[-4:]}: {r.returncode}\n{r.stdout[-4000:]}')
        return r

    def apt(self, *argv, online=True):
        """apt-get, with the network: nothing of ours runs meanwhile."""
        return self.run('apt-get', '-q', '-y', '--no-install-recommends', *argv, online=online,
                        timeout=900)

    # systemd ------------------------------------------------------------
    def boot(self):
        for unit in MASKED:
            link = self.path(f'/etc/systemd/system/{unit}')
            if not os.path.lexists(link):
                os.symlink('/dev/null', link)
        os.unlink(self.path('/usr/sbin/policy-rc.d'))
        self.proc = self.stage.start('systemd', [
            *self._unshared('--net'), 'sh', '-c', GROUP, 'sh', self.root,
            self.stage.fresh_dir('cgroup'), self.group, BOOT])
        self.init, = wait_until(lambda: self.proc.must_live() and children(self.proc.pid))
        wait_until(self._is_up, 60, 'systemd is up')

    def _is_up(self):
        self.proc.must_live()
        r = self.run('systemctl', 'is-system-running', check=False)
        assert 'degraded' not in r.stdout, self.run('systemctl', '--failed', check=False).stdout
        return r.stdout.strip() == 'running'

    def halt(self):
        """Its process 1 takes everything along."""
        if not self.init:
            return
        os.kill(self.init, signal.SIGKILL)
        self.proc.wait()
        self.init = None
        self.write('/usr/sbin/policy-rc.d', '#!/bin/sh\nexit 101\n', 0o755)
        self._remove_group()

    def _remove_group(self):
        where = self.stage.fresh_dir('cgroup')
        subprocess.run(['unshare', '--mount', 'sh', '-c',
                        'mount -t cgroup2 cgroup2 "$1" && find "$1/$2" -depth -type d '
                        '-exec rmdir {} \\;', 'sh', where, self.group], check=True)

    def systemctl(self, *argv, check=True):
        return self.run('systemctl', '--no-pager', *argv, check=check)

    def show(self, unit, name):
        """A property of a unit."""
        return self.systemctl('show', '-P', name, unit).stdout.rstrip('\n')

    def journal(self, unit):
        return self.run('journalctl', '--no-pager', '-o', 'cat', '-u', unit).stdout

    def get(self, url):
        """(code, body): asked from outside of it, in its network."""
        r = subprocess.run(['nsenter', '-n', '-t', str(self.init), 'curl', '-s', '-m', '10',
                            '-w', '\\n%{http_code}', url], capture_output=True, text=True,
                           check=False)
        body, _, code = r.stdout.rpartition('\n')
        return int(code), body

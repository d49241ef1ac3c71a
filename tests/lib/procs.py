"""Processes that die with the test, addresses that no other test run has, and waiting."""
import ctypes
import errno
import itertools
import ipaddress
import os
import signal
import socket
import subprocess
import tempfile
import time

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
NOBODY = 65534
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


BUILD_SLOW = float(os.environ.get('PEERSCOPE_TEST_SLOW', '1'))
CPUS = len(os.sched_getaffinity(0))
BUSY = 3                # processes that wait for each CPU: so many are the tests' own
SLOW_MAX = 10           # or a test that hangs would hang for an hour
HANG_S = 30             # whatever takes longer than that hangs


def slow():
    """How much longer than promised things may take now, as a factor for limits: what the build
    costs (sanitizers) times what others do on this machine. On a quiet one it is 1."""
    with open('/proc/loadavg', encoding='ascii') as f:
        minute, _, _, running, _ = f.read().split()
    load = max(float(minute), float(running.partition('/')[0])) / (BUSY * CPUS)
    return BUILD_SLOW * min(max(1.0, load), SLOW_MAX)


def wait_until(fn, timeout=HANG_S, what='', every=0.01):
    """The first true value of fn(); fails the test after timeout seconds. A shorter timeout is
    for what the daemon promises, and for nothing else."""
    began = time.monotonic()
    while True:
        value = fn()
        if value:
            return value
        took = time.monotonic() - began
        if took > timeout and took > timeout * slow():
            raise AssertionError(f'not within {timeout} s, nor {took:.0f}: {what or fn}')
        time.sleep(every)


PORTS6 = 96             # of each test run; all are below those that the kernel gives (32768)


def port_is_free(port):
    """On every address, for TCP and for UDP."""
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
        for family, address in (socket.AF_INET, '0.0.0.0'), (socket.AF_INET6, '::1'):
            with socket.socket(family, kind) as s:
                try:
                    s.bind((address, port))
                except OSError as e:
                    if e.errno == errno.EADDRINUSE:
                        return False
    return True


class Net:
    """127.X/16, for one test run alone: held by the name of an abstract socket."""

    def __init__(self):
        self._lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        for x in range(16, 250):
            try:
                self._lock.bind(f'\0peerscope-test-127.{x}')
            except OSError:
                continue
            self.number, self._next = x, ipaddress.ip_address(f'127.{x}.0.1')
            self._ports6 = 10000 + (x - 16) * PORTS6
            self._port6 = 0
            return
        raise RuntimeError('every 127.X/16 is taken by another test run')

    def take(self, n=1):
        """The first of n addresses in a row that nobody else uses."""
        first = self._next
        self._next += n + 1
        return str(first)

    def ports6(self, n):
        """The first of n ports in a row on ::1, of which there is only one for everybody."""
        for _ in range(PORTS6):
            if self._port6 + n > PORTS6:
                self._port6 = 0         # those of tests that are over
            first = self._ports6 + self._port6
            self._port6 += n
            if all(port_is_free(p) for p in range(first, first + n)):
                return first
        raise RuntimeError('no port left on ::1')

    def port(self):
        """One that nobody else has on any address, and the kernel gives to nobody."""
        return self.ports6(1)

    def in_block(self, second):
        """127.<second>.X.1, for tests that need addresses with a place; also ours alone."""
        return f'127.{second}.{self.number}.1'


def free_port(address):
    """On an address of Net; elsewhere another process may be faster: Net.port()."""
    with socket.socket() as s:
        s.bind((address, 0))
        return s.getsockname()[1]


def _die_with_parent(uid):
    def run():
        if uid is not None:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)              # clears the death signal, so it comes first
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    return run


class Proc:
    """A child with its output in a file. stop() is always safe to call again."""

    def __init__(self, argv, log, env=None, cwd=None, stdout=None, as_nobody=False):
        self.argv, self.log_path = argv, log
        uid = NOBODY if as_nobody and os.getuid() == 0 else None
        with open(log, 'ab') as f:
            self.popen = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=stdout or f, stderr=f, env=env,
                cwd=cwd, preexec_fn=_die_with_parent(uid))
        self.pid = self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def log(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as f:
            return f.read()

    def kill(self, signo):
        if self.alive():
            os.kill(self.pid, signo)

    def wait(self, timeout=HANG_S):
        return self.popen.wait(timeout * slow())

    def stop(self, signo=signal.SIGTERM, timeout=3.0):
        """Ask, then make; returns the exit code."""
        self.kill(signo)
        try:
            self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        if self.popen.stdout:
            self.popen.stdout.close()
        return self.popen.returncode

    def must_live(self):
        if not self.alive():
            raise AssertionError(f'{self.argv[0]} exited with {self.popen.returncode}:\n'
                                 + self.log()[-3000:])
        return True


class Stage:
    """What one test started: a directory, processes, addresses. Ends in reverse order."""

    def __init__(self, net=None, keep=False):
        self.net = net or Net()
        self.dir = tempfile.mkdtemp(prefix='peerscope-test-')
        self._ends, self._seq, self._keep = [], itertools.count(), keep

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def fresh_path(self, name, end=''):
        return self.path(f'{name}{next(self._seq)}{end}')

    def fresh_dir(self, name, mode=0o755):
        path = self.fresh_path(name)
        os.mkdir(path)
        os.chmod(path, mode)
        return path

    def at_end(self, fn):
        self._ends.append(fn)

    def start(self, name, argv, **kw):
        p = Proc(argv, self.fresh_path(name, '.log'), **kw)
        self.at_end(p.stop)
        return p

    def close(self):
        """Ends everything even if one end fails; raises the first failure."""
        failed = None
        while self._ends:
            try:
                self._ends.pop()()
            except Exception as e:
                failed = failed or e
        if not self._keep:
            subprocess.run(['/bin/rm', '-rf', self.dir], check=False)
        if failed:
            raise failed


# /proc ------------------------------------------------------------------
def children(pid):
    out = []
    for name in os.listdir('/proc'):
        if name.isdigit():
            try:
                with open(f'/proc/{name}/stat', 'rb') as f:
                    tail = f.read().rpartition(b')')[2].split()
            except OSError:
                continue
            if int(tail[1]) == pid and tail[0] != b'Z':
                out.append(int(name))
    return sorted(out)


def cmdline(pid):
    try:
        with open(f'/proc/{pid}/cmdline', 'rb') as f:
            return f.read().replace(b'\0', b' ').decode('utf-8', 'replace').strip()
    except OSError:
        return ''


def comm(pid):
    try:
        with open(f'/proc/{pid}/comm', encoding='utf-8') as f:
            return f.read().strip()
    except OSError:
        return ''


def fds(pid, sockets=True):
    """Open descriptors as {number: target}."""
    out = {}
    try:
        for n in os.listdir(f'/proc/{pid}/fd'):
            try:
                target = os.readlink(f'/proc/{pid}/fd/{n}')
            except OSError:
                continue
            if sockets or not target.startswith('socket:'):
                out[int(n)] = target
    except OSError:
        pass
    return out


def cpu_seconds(pid):
    with open(f'/proc/{pid}/stat', 'rb') as f:
        tail = f.read().rpartition(b')')[2].split()
    return (int(tail[11]) + int(tail[12])) / os.sysconf('SC_CLK_TCK')


def pss_kb(pid, of='Pss'):
    """Memory of a process in KiB, pages of files (libraries) included: each is divided by the
    processes that have it mapped, so that this rises when any of those ends."""
    with open(f'/proc/{pid}/smaps_rollup', encoding='utf-8') as f:
        for line in f:
            if line.startswith(of + ':'):
                return int(line.split()[1])
    raise ValueError(f'no {of} in smaps_rollup of {pid}')


def own_kb(pid):
    """What it has allocated, whoever else runs: for tests of growth."""
    return pss_kb(pid, 'Pss_Anon')


def with_environment(marker):
    """Pids of living processes that inherited this NAME=value."""
    out = []
    for name in os.listdir('/proc'):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f'/proc/{name}/environ', 'rb') as f:
                    if marker.encode() in f.read().split(b'\0'):
                        out.append(int(name))
            except OSError:
                continue
    return out

"""The real peerscope binary, started for one test and searched for damage at its end."""
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import stat
import subprocess
import uuid

from procs import HANG_S, ROOT, cmdline, children, comm, fds, slow, wait_until, with_environment

BIN = os.environ.get('PEERSCOPE_BIN', os.path.join(ROOT, 'build', 'peerscope'))
SERVING = re.compile(r'serving on http://([0-9.]+|\[[0-9a-f:]+\]):(\d+)')
# Words that a log must not hold: an assert of ours, or a sanitizer's finding.
DAMAGE = ('ERROR: AddressSanitizer', 'ERROR: LeakSanitizer', 'WARNING: ThreadSanitizer',
          'runtime error:', 'UndefinedBehaviorSanitizer', 'assertion failed', 'last words',
          'AddressSanitizer:DEADLYSIGNAL', 'terminate called', 'stack smashing detected')
FD_SLACK = 6            # descriptors other than sockets that a process may gain
FD_SESSIONS = 15        # and the collector, for its sessions for visits


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f'<{self.status} {self.body[:200]!r}>'


class Daemon:
    """peerscope serve, on a free port, with a private run_dir, segment and address."""

    def __init__(self, stage, conf=None, env=None, file=None, binary=None, wait=True):
        self.stage, self.binary = stage, binary or BIN
        self.run_dir = stage.fresh_dir('run', 0o700)
        self.cwd = stage.fresh_dir('cwd')
        self.address = stage.net.take()
        self.marker = f'TEST_OF_PEERSCOPE={uuid.uuid4().hex}'
        self.conf = {
            'http.listen': '127.0.0.1:0', 'http.workers': 2, 'master.run_dir': self.run_dir,
            'shm.name': '/peerscope-test-' + uuid.uuid4().hex[:12],
            'swarm.listen': f'{self.address}:42069', 'swarm.dht': 'off',
            'swarm.trackers': '', 'swarm.allow_private': 'on', 'geo.online': 'off',
            'acestream.trackers': '',       # its default is a tracker out in the world
            'redis.mode': 'off', 'log.level': 'info', **(conf or {})}
        self.conf = {k: v for k, v in self.conf.items() if v is not None}   # the file says it
        self.damage_expected = ()       # a test that kills on purpose names its words
        self.exit_expected = 0
        self.file = self._write(file)
        self.env = self._environment(env)
        self.proc = stage.start('peerscope', self._argv(), env=self.env, cwd=self.cwd)
        self.pid = self.proc.pid
        stage.at_end(self.finish)       # before the plain stop()
        self.finished = False
        if wait:
            self.wait_serving()

    def _write(self, text):
        path = self.stage.fresh_path('peerscope', '.conf')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text or '# everything is on the command line\n')
        return path

    def _environment(self, env):
        name, _, value = self.marker.partition('=')
        keep = {k: v for k, v in os.environ.items()
                if k in ('PATH', 'HOME', 'LANG', 'TMPDIR') or k.endswith('SAN_OPTIONS')}
        return {**keep, name: value, **(env or {})}

    def _argv(self):
        argv = [self.binary, 'serve', '-c', self.file]
        for k, v in self.conf.items():
            argv += ['-o', f'{k}={v}']
        return argv

    # Life ---------------------------------------------------------------
    def wait_serving(self, timeout=HANG_S, listens=True):
        def serving():
            if not self.proc.alive():
                raise AssertionError('peerscope exited with '
                                     f'{self.proc.popen.returncode}:\n{self.log()[-4000:]}')
            return SERVING.search(self.log())
        found = wait_until(serving, timeout, 'the daemon says that it serves')
        self.host, self.port = found[1].strip('[]'), int(found[2])
        self.url = f'http://{found[1]}:{self.port}'
        wait_until(self.ready, timeout, 'the daemon is ready')
        if listens:
            wait_until(lambda: self.get('/health').json['libtorrent_available'], timeout,
                       'the BitTorrent session listens')
        else:       # or descriptors are counted before it has opened its own
            wait_until(lambda: self.get('/health').json['collector']['state'] == 'running',
                       timeout, 'the collector runs')
        self.fds_at_start = {pid: len(fds(pid, sockets=False)) for pid in self.pids()}

    def ready(self):
        try:
            return self.get('/readyz').status == 200
        except OSError:
            return False

    def log(self):
        return self.proc.log()

    def log_lines(self, text):
        return [line for line in self.log().splitlines() if text in line]

    def kill(self, signo):
        os.kill(self.pid, signo)

    def kill_whole(self):
        """Power off: master, workers and collector at once. They die with it, too."""
        self.exit_expected = None
        for pid in [self.pid, *self.pids()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.proc.wait(20)

    def reload(self, text):
        """Another configuration file, and HUP: until the collector has it."""
        seen = len(self.log_lines('new settings taken'))
        with open(self.file, 'w', encoding='utf-8') as f:
            f.write(text)
        self.kill(signal.SIGHUP)
        wait_until(lambda: len(self.log_lines('new settings taken')) > seen, what='a reload')

    def pids(self):
        return children(self.pid)

    def role(self, pid):
        line = cmdline(pid)
        if 'collector' in line:
            return 'collector'
        if 'redis' in comm(pid) or 'redis' in line:
            return 'redis'
        return 'worker'

    def roles(self):
        """{'worker': [pid, ...], 'collector': [pid], 'redis': [pid]}"""
        out = {'worker': [], 'collector': [], 'redis': []}
        for pid in self.pids():
            out[self.role(pid)].append(pid)
        return out

    def collector(self):
        return wait_until(lambda: self.roles()['collector'], what='a collector lives')[0]

    def command(self, *args, timeout=HANG_S):
        """Another subcommand with the same configuration."""
        argv = [self.binary, args[0], '-c', self.file]
        for k, v in self.conf.items():
            if k != 'http.listen':
                argv += ['-o', f'{k}={v}']
        argv += ['-o', 'http.listen=' + self.url.partition('//')[2], *args[1:]]
        return subprocess.run(argv, env=self.env, cwd=self.cwd, capture_output=True,
                              text=True, timeout=timeout * slow(), check=False)

    def top(self):
        """The segment as `peerscope top --once --json` shows it."""
        done = self.command('top', '--once', '--json')
        if done.returncode != 0:
            raise AssertionError(f'top: {done.returncode} {done.stderr}')
        return json.loads(done.stdout)

    # HTTP ---------------------------------------------------------------
    def request(self, method, path, headers=None, body=None, timeout=HANG_S):
        conn = http.client.HTTPConnection(self.host, self.port, timeout=timeout * slow())
        try:
            conn.request(method, path, body, headers or {})
            r = conn.getresponse()
            return Answer(r.status, r.headers, r.read())
        finally:
            conn.close()

    def get(self, path, headers=None, timeout=HANG_S):
        return self.request('GET', path, headers, timeout=timeout)

    def raw(self, data, timeout=HANG_S, half_close=False):
        """Send these bytes; everything that comes back until the other side closes."""
        with socket.create_connection((self.host, self.port), timeout * slow()) as s:
            s.sendall(data)
            if half_close:
                s.shutdown(socket.SHUT_WR)
            out = b''
            while True:
                try:
                    more = s.recv(65536)
                except ConnectionResetError:
                    return out
                if not more:
                    return out
                out += more

    def peers(self, infohash, **query):
        """The answer's object; it must be a 200."""
        q = '&'.join(f'{k}={v}' for k, v in query.items())
        a = self.get(f'/peers/{infohash}' + ('?' + q if q else ''))
        assert a.status == 200, a
        return a.json

    def by_address(self, infohash, **query):
        """The best known of each address: others may name the port that it called from."""
        d = self.peers(infohash, **{'limit': 2000, **query})
        return {p['ip']: p for p in reversed(d['peers'])}

    def by_endpoint(self, infohash, **query):
        """The same by (address, port); the list names nobody twice."""
        listed = self.peers(infohash, **{'limit': 2000, **query})['peers']
        out = {(p['ip'], p['port']): p for p in listed}
        assert len(out) == len(listed), 'somebody is listed twice'
        return out

    def until_peers(self, infohash, fn, timeout=HANG_S, what='', **query):
        """Ask until fn({address: peer}) is true; then that dictionary."""
        seen = {}

        def ask():
            seen['last'] = self.by_address(infohash, **query)
            return seen['last'] if fn(seen['last']) else None
        try:
            return wait_until(ask, timeout, what or 'peers as expected', every=0.05)
        except AssertionError as e:
            lines = [f'{a}:{p["port"]} {p["client"]!r} {p["progress"]} {p["state"]} '
                     f'{p["sources"]} {p["flags"]}' for a, p in seen['last'].items()]
            raise AssertionError(f'{e}; last seen:\n' + '\n'.join(lines[:300])) from None

    # The end --------------------------------------------------------------
    def stop(self, signo=signal.SIGTERM, timeout=20):
        self.kill(signo)
        return self.proc.wait(timeout)

    def finish(self):
        """TERM, then: exit code, log, left-over processes, names, descriptors, files."""
        if self.finished:
            return
        self.finished = True
        found = []
        if self.proc.alive():
            found += self._descriptors_grew()
            self.kill(signal.SIGTERM)
            try:
                self.proc.wait(20)
            except subprocess.TimeoutExpired:
                found.append('did not leave within 20 s of TERM')
                self.proc.stop(signal.SIGKILL)
        if self.exit_expected is not None and self.proc.popen.returncode != self.exit_expected:
            found.append(f'exit code {self.proc.popen.returncode}')
        found += [f'in the log: {w}' for w in DAMAGE
                  if w in self.log() and w not in self.damage_expected]
        found += self._left_over()
        if found:
            raise AssertionError('; '.join(found) + '\n--- log:\n' + self.log()[-6000:])

    def _descriptors_grew(self):
        """Looked at until they are back: a connection may be closing right now."""
        def grown():
            return [f'{self.role(pid)} {pid} holds {len(now)} descriptors, had {was}: {now}'
                    for pid, was in getattr(self, 'fds_at_start', {}).items()
                    for now in [fds(pid, sockets=False)]
                    if len(now) > was + FD_SLACK
                    + FD_SESSIONS * (self.role(pid) == 'collector')]
        try:
            wait_until(lambda: not grown(), 20)
        except AssertionError:
            return grown()
        return []

    def _left_over(self):
        out = []
        try:
            wait_until(lambda: not with_environment(self.marker), 20)
        except AssertionError:
            for pid in with_environment(self.marker):
                out.append(f'left running: {pid} {cmdline(pid)}')
                os.kill(pid, signal.SIGKILL)
        shm = '/dev/shm/' + self.conf['shm.name'].lstrip('/')
        if os.path.exists(shm):
            os.unlink(shm)
            if self.exit_expected == 0:
                out.append(f'left behind: {shm}')
        kept = tuple(os.path.join(self.run_dir, n, '') for n in ('meta', 'jobs'))
        states = ['dht.state', 'swarms.state']
        if self.exit_expected is None:      # killed, perhaps while it wrote one
            states += [n + '.new' for n in states]
        for where in self.cwd, self.run_dir:
            out += [f'left behind: {p}' for p in self.payload_files(where)
                    if os.path.basename(p) not in states
                    and not p.startswith(kept)]
        return out

    @staticmethod
    def payload_files(directory):
        """Regular files other than the pid file: nobody may make any."""
        out = []
        for base, _, names in os.walk(directory):
            for n in names:
                path = os.path.join(base, n)
                if stat.S_ISREG(os.lstat(path).st_mode) and not n.endswith('.pid'):
                    out.append(path)
        return out

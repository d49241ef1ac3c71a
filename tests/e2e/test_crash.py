"""Any process killed at any moment: no wrong answer, no hung request, back at once."""
import ctypes
import os
import re
import signal
import socket
import subprocess
import threading
import time

import netns
import pytest
from daemon import BIN
from load import Load
from procs import cmdline, slow, wait_until


def kill_and_wait_for_another(d, role, pid):
    """kill -9; seconds until a new process of that role lives."""
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    wait_until(lambda: pid not in d.pids(), what='it is dead and reaped')
    wait_until(lambda: [p for p in d.roles()[role] if p != pid], what=f'a new {role}')
    return time.monotonic() - began


# A worker -------------------------------------------------------------------
def test_killed_worker_under_load(daemon):
    """Connections that the dead worker held break; whoever connects anew is served, also
    while the worker's own socket waits for its successor."""
    d = daemon({'http.workers': 2})
    load = Load(d, '/livez', threads=6)
    wait_until(lambda: load.answers > 100, what='load')
    for n in range(1, 4):
        victim = d.roles()['worker'][0]
        before = load.answers
        assert kill_and_wait_for_another(d, 'worker', victim) < 1 * slow() or n > 1
        wait_until(lambda: len(d.roles()['worker']) == 2 and load.answers > before + 100,
                   what='load goes on')
    load.stop()
    # At most what was under way in, or queued at, the dead worker: one per client and kill.
    assert len(load.failures) + load.closed_idle <= 6 * 3, load.failures
    assert all('Reset' in f or 'Disconnected' in f for f in load.failures), load.failures
    top = d.top()
    assert top['counters']['deaths_signal'] == 3
    assert len(d.log_lines('died: signal 9, Killed')) == 3


def test_killed_worker_breaks_no_other_connection(daemon):
    d = daemon({'http.workers': 2})
    conns = []
    for _ in range(16):
        s = socket.create_connection((d.host, d.port), 10 * slow())
        s.sendall(b'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n')
        assert s.recv(65536).startswith(b'HTTP/1.1 200')
        conns.append(s)
    mine = {p: [s for s in conns if holds(p, s)] for p in d.roles()['worker']}
    assert all(mine.values()), 'both workers have clients'
    victim, other = mine
    os.kill(victim, signal.SIGKILL)
    for s in mine[victim]:
        assert s.recv(1) == b'', 'closed, at once'
    for s in mine[other]:
        s.sendall(b'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n')
        assert s.recv(65536).startswith(b'HTTP/1.1 200')
    for s in conns:
        s.close()


def holds(pid, sock):
    """Does the process hold the other end of this TCP connection?"""
    here, there = sock.getsockname(), sock.getpeername()
    want = '%s %s' % (hex_of(there), hex_of(here))
    with open('/proc/net/tcp', encoding='ascii') as f:
        inodes = {line.split()[9] for line in f if want in line}
    for fd in os.listdir(f'/proc/{pid}/fd'):
        try:
            if os.readlink(f'/proc/{pid}/fd/{fd}') in {f'socket:[{i}]' for i in inodes}:
                return True
        except OSError:
            continue
    return False


def hex_of(name):
    return '%08X:%04X' % (int.from_bytes(socket.inet_aton(name[0]), 'little'), name[1])


def test_sibling_serves_a_worker_that_stays_away(daemon):
    """A worker in a crash loop is away for longer and longer; its socket is served."""
    d = daemon({'http.workers': 2})
    for _ in range(3):
        victim = [p for p in d.roles()['worker'] if 'worker 1 ' in cmdline(p)]
        if victim:
            os.kill(victim[0], signal.SIGKILL)
            wait_until(lambda: victim[0] not in d.pids())
        wait_until(lambda: any('worker 1 ' in cmdline(p) for p in d.pids()), 20)
    victim = [p for p in d.roles()['worker'] if 'worker 1 ' in cmdline(p)][0]
    os.kill(victim, signal.SIGKILL)     # now it is away for 800 ms
    wait_until(lambda: re.search(r'worker 1 \(gen 1\), .*; starting again in 0\.[89] s', d.log()),
               what='it waits')
    for _ in range(40):                 # half of them go to its socket
        assert d.get('/livez', timeout=5).status == 200
    wait_until(lambda: any('worker 1 ' in cmdline(p) for p in d.pids()), what='it is back')


# The collector --------------------------------------------------------------
class Askers:
    """Threads that ask for swarms, known ones and new ones, and judge every answer: never
    fewer peers than the swarm was known to have, never a status but 200, or 503 with a
    Retry-After, and none that takes longer than `patience` seconds."""

    def __init__(self, daemon, infohashes, known, size, patience):
        self.daemon, self.infohashes, self.size = daemon, infohashes, size
        self.known, self.next = known, known    # below `known`: seen in full already
        self.patience, self.wrong, self.answers, self.cold = patience, [], 0, []
        self.lock, self.over = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True)
                        for i in range(6)]
        for t in self.threads:
            t.start()

    def pick(self, turn):
        """Of six questions one is for a swarm that nobody asked for before."""
        with self.lock:
            if turn % 6 == 0 and self.next < len(self.infohashes):
                self.next += 1
                return self.next - 1, False
            return turn % self.known, True

    def run(self, turn):
        while not self.over.is_set():
            turn += 1
            n, known = self.pick(turn)
            began = time.monotonic()
            try:
                a = self.daemon.get(f'/peers/{self.infohashes[n]}', timeout=15)
                why = self.fault(a, known)
            except OSError as e:
                why = repr(e)
            took = time.monotonic() - began
            if took > self.patience * slow():
                why = why or f'took {took:.2f} s'
            with self.lock:
                self.answers += 1
                if not known:
                    self.cold.append((began, began + took))
                if why:
                    self.wrong.append((n, known, why))

    def fault(self, a, known):
        if a.status == 503:
            return None if 'Retry-After' in a.headers else '503 without Retry-After'
        if a.status != 200:
            return f'{a.status} {a.body[:200]}'
        total = a.json['total_peers']
        # A swarm that is joined while the collector dies is another collector's new one;
        # what it answers may not be less than the swarm either.
        return None if total == self.size else f'{total} peers, known: {known}'

    def stop(self):
        self.over.set()
        for t in self.threads:
            t.join(30 * slow())
            assert not t.is_alive(), 'a question hangs'


def test_killed_collector_under_load(daemon, swarm, tracker):
    size, known = 5, 3
    t = tracker()
    s = swarm([{'count': size, 'progress': 100}], torrents=150, delay_ms=50)
    for infohash in s.infohashes:
        t.set(infohash, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.udp, 'cache.ttl': '200ms', 'swarm.discovery_wait': '4s',
                'swarm.max_swarms': 200})
    for infohash in s.infohashes[:known]:
        d.until_peers(infohash, lambda g: len(g) == size)
    load = Askers(d, s.infohashes, known, size, patience=4)
    wait_until(lambda: load.answers > 50, what='load')
    for n in range(4):
        cold, killed = load.next, time.monotonic()
        took = kill_and_wait_for_another(d, 'collector', d.collector())
        assert n > 0 or took < 1 * slow()   # then it is held back, longer each time
        wait_until(lambda: d.get('/health').json['libtorrent_available'], 10,
                   'the new one listens')
        was = load.answers
        wait_until(lambda: load.answers > was + 50 and load.next > cold + 5,
                   what='answers go on, of new swarms too')
        assert d.get('/livez').status == 200
        assert any(began < killed + took and killed < ended
                   for began, ended in load.cold), 'new swarms were asked for meanwhile'
    load.stop()
    assert load.wrong == []
    for infohash in s.infohashes[:load.next]:
        assert d.peers(infohash)['total_peers'] == size


def test_killed_collector_with_a_parked_question(daemon, swarm, tracker):
    """The question is pushed again to the next collector, and answered in full."""
    t = tracker(register=True)
    s = swarm([{'count': 5, 'progress': 100, 'delay_ms': 300}], trackers=[t.http])
    d = daemon({'swarm.trackers': t.http, 'swarm.discovery_wait': '8s'})
    box = Load(d, f'/peers/{s.infohash}?wait=8s', threads=1)
    wait_until(lambda: sum(p['parked'] for p in d.top()['processes']
                           if p['role'].startswith('worker')) == 1, what='it is parked')
    os.kill(d.collector(), signal.SIGKILL)
    wait_until(lambda: box.answers, 20, 'an answer')
    box.stop()
    assert box.failures == []
    d.until_peers(s.infohash, lambda p: len(p) == 5)


def test_questions_that_a_dead_collector_never_heard(daemon, swarm, tracker):
    """They lie in the lane, and are pushed again: each has one place there, and its answer."""
    t = tracker()
    s = swarm([{'count': 5, 'progress': 100, 'delay_ms': 300}], torrents=8)
    for infohash in s.infohashes:
        t.set(infohash, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.http, 'swarm.discovery_wait': '8s', 'http.workers': 1,
                'swarm.max_waiters': len(s.infohashes)})
    os.kill(d.collector(), signal.SIGSTOP)
    answers, threads = {}, []
    for infohash in s.infohashes:
        def ask(i=infohash):
            answers[i] = d.get(f'/peers/{i}?wait=8s', timeout=20)
        threads.append(threading.Thread(target=ask))
        threads[-1].start()
    wait_until(lambda: sum(p['parked'] for p in d.top()['processes']
                           if p['role'].startswith('worker')) == len(threads), what='parked')
    os.kill(d.collector(), signal.SIGKILL)
    for th in threads:
        th.join(30)
    assert [(a.status, a.json.get('total_peers')) for a in answers.values()] == [(200, 5)] * 8
    assert d.top()['counters']['jobs'] == 2 * len(threads)
    assert d.top()['counters']['jobs_refused'] == 0


# A loop that stands still ----------------------------------------------------
HANGS = 15      # seconds; SUP_LOOKS looks, SUP_LOOK_MS apart (master/sup.h), and some


def hang(d, role):
    """SIGSTOP; then the master has to notice by itself."""
    victim = d.roles()[role][0]
    os.kill(victim, signal.SIGSTOP)
    return victim


PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207


def ptrace(request, pid):
    """False: we may not."""
    call = ctypes.CDLL(None, use_errno=True).ptrace
    call.argtypes, call.restype = [ctypes.c_long] * 4, ctypes.c_long
    return call(request, pid, 0, 0) == 0


def is_replaced(d, role, victim):
    wait_until(lambda: victim not in d.pids(), HANGS, f'the {role} that hangs is killed')
    wait_until(lambda: [p for p in d.roles()[role] if p != victim], 5, f'a new {role}')
    died = d.log_lines(f'pid {victim}, died: signal 9')
    assert len(died) == 1 and ' error ' in died[0] and 'its loop does not turn' in died[0]


def test_a_collector_that_hangs_is_replaced(daemon):
    d = daemon()
    victim = hang(d, 'collector')

    def stalled():
        health = d.get('/health').json
        return health['collector']['state'] == 'stalled' and health
    assert wait_until(stalled, 10, 'it is said')['libtorrent_available'] is False
    is_replaced(d, 'collector', victim)
    wait_until(lambda: d.get('/health').json['libtorrent_available'], 10, 'the new one listens')
    assert d.top()['counters']['deaths_late'] == 1


def test_a_worker_that_hangs_is_replaced(daemon):
    d = daemon({'http.workers': 2})
    collector = d.collector()
    traced = ptrace(PTRACE_SEIZE, collector) and ptrace(PTRACE_INTERRUPT, collector)
    is_replaced(d, 'worker', hang(d, 'worker'))
    for _ in range(20):
        assert d.get('/livez', timeout=5).status == 200
    if traced:                          # as by gdb: it is let live, and go on
        assert stat_of(collector) == 't' and d.roles()['collector'] == [collector]
        assert ptrace(PTRACE_DETACH, collector)
        wait_until(lambda: d.get('/health').json['collector']['state'] == 'running', 5)


def test_whoever_is_frozen_with_the_master_is_not_killed(daemon):
    """A paused container: nobody's loop turned, and nobody hangs."""
    d = daemon()
    family = d.pids()
    for pid in [d.pid, *family]:
        os.kill(pid, signal.SIGSTOP)
    frozen = time.monotonic()
    wait_until(lambda: time.monotonic() - frozen > HANGS, HANGS + 1, 'longer than the bound')
    os.kill(d.pid, signal.SIGCONT)      # the master looks before anybody had a turn
    wait_until(lambda: 'S' in stat_of(d.pid), 5, 'it has looked')
    for pid in family:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: d.get('/health').json['collector']['state'] == 'running', 10)
    assert d.pids() == family


def stat_of(pid):
    with open(f'/proc/{pid}/stat', encoding='ascii') as f:
        return f.read().rpartition(')')[2].split()[0]


# The master -----------------------------------------------------------------
def test_killed_master_takes_all_along(daemon):
    d = daemon({'redis.mode': 'bundled'})
    d.exit_expected = -signal.SIGKILL
    wait_until(lambda: d.get('/health').json['redis_available'], what='redis is up')
    family = d.pids()
    assert len(family) == 4             # two workers, collector, Redis
    d.kill(signal.SIGKILL)
    d.proc.wait()
    wait_until(lambda: not any(os.path.exists(f'/proc/{p}') for p in family), 5,
               'everything left')
    assert d.log_lines('accept:') == [], 'no noise about sockets that a sibling shut down'


def test_start_at_once_after_a_killed_master(daemon, net):
    """The same directory, segment, port and Redis socket, while the orphans still leave."""
    with socket.create_server((net.take(), 0)) as probe:
        listen = '%s:%d' % probe.getsockname()
    conf = {'http.listen': listen, 'redis.mode': 'bundled'}
    d = daemon(conf)
    for _ in range(4):
        d.exit_expected = None
        d.finished = True               # its successor takes its files over
        wait_until(lambda: d.get('/health').json['redis_available'], what='redis is up')
        idle = socket.create_connection((d.host, d.port))   # keeps an orphan busy
        idle.sendall(b'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n')
        idle.recv(65536)
        orphans = d.pids()
        d.kill(signal.SIGKILL)
        d.proc.wait()
        nxt = daemon({**conf, 'master.run_dir': d.run_dir, 'shm.name': d.conf['shm.name']})
        assert 'made anew' in nxt.log()
        for _ in range(30):             # none of these may land in an orphan's queue
            assert nxt.get('/livez', timeout=5).status == 200
        idle.close()
        wait_until(lambda: not any(os.path.exists(f'/proc/{p}') for p in orphans), 10,
                   'the orphans left')
        wait_until(lambda: nxt.get('/health').json['redis_available'],
                   what='the new Redis is up, and its socket was not taken along')
        d = nxt


# Redis ----------------------------------------------------------------------
def test_missing_redis_server_is_loud_and_harmless(daemon, stage):
    d = daemon({'redis.mode': 'bundled'}, env={'PATH': stage.fresh_dir('nopath')})
    wait_until(lambda: "redis-server can't be started" in d.log(), what='it is said')
    assert d.get('/readyz').status == 200
    assert len(d.log_lines("can't be started")) >= 1


def test_stale_redis_socket(daemon, stage):
    """A file of that name which nobody listens on is removed."""
    run = stage.fresh_dir('run', 0o700)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(os.path.join(run, 'redis.sock'))
    d = daemon({'redis.mode': 'bundled', 'master.run_dir': run})
    wait_until(lambda: d.get('/health').json['redis_available'], what='redis is up')


# No room --------------------------------------------------------------------
def in_small_shm(size, *args):
    script = (f'mount --make-rprivate / && mount -t tmpfs -o size={size} none /dev/shm && '
              'exec "$@"')
    return subprocess.run(
        ['unshare', '-m', '/bin/sh', '-c', script, 'sh', BIN, *args,
         '-o', 'http.listen=127.0.0.1:0', '-o', 'redis.mode=off', '-o', 'swarm.listen='],
        capture_output=True, text=True, timeout=30 * slow(), check=False,
        env={'PATH': os.environ['PATH']})


@pytest.fixture
def namespaces():
    netns.needs_mounts()


def test_full_dev_shm_is_said_clearly(namespaces, stage):
    run = stage.fresh_dir('run', 0o700)
    r = in_small_shm('512k', 'serve', '-o', f'master.run_dir={run}')
    assert r.returncode == 1
    fatal = [line for line in r.stderr.splitlines() if ' fatal ' in line]
    assert len(fatal) == 1, r.stderr
    assert '/dev/shm has ' in fatal[0] and 'needs ' in fatal[0] and 'shm.peers' in fatal[0]
    assert 'SIGBUS' not in r.stderr and os.listdir(run) == []


def test_check_holds_the_segment_against_dev_shm(namespaces):
    r = in_small_shm('512k', 'check')
    assert r.returncode == 1
    assert re.search(r'shm\.peers: the segment takes \d+ KiB at start', r.stderr), r.stderr
    r = in_small_shm('16m', 'check')    # starts, but can't fill
    assert r.returncode == 0
    assert '(warning)' in r.stderr and 'when full' in r.stderr

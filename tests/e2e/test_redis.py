"""The second tier: bundled, external, away, hanging, with a password, and off."""
import json
import os
import signal
import socket
import threading
import time

import pytest
import redis as client
from procs import slow, wait_until


def value(r, infohash):
    raw = r.get(f'peer_stats:{infohash}')
    return json.loads(raw) if raw else None


def test_bundled_holds_the_answer_with_its_ttl(daemon, swarm, tracker):
    t = tracker(register=True)
    s = swarm([{'count': 3, 'progress': 50}], trackers=[t.http])
    d = daemon({'redis.mode': 'bundled', 'swarm.trackers': t.http})
    r = client.Redis(unix_socket_path=os.path.join(d.run_dir, 'redis.sock'))
    wait_until(lambda: d.get('/health').json['redis_available'], what='redis is up')
    ih = s.infohash
    assert d.peers(ih)['peer_count'] == 3
    stored = wait_until(lambda: value(r, ih), what='the answer is in Redis')
    assert stored['infohash'] == ih
    assert {p['ip'] for p in stored['peers']} == {p['address'] for p in s.peers}
    assert stored['peer_count'] == 3
    assert 0 < r.ttl(f'peer_stats:{ih}') <= 30
    assert r.config_get('save')['save'] == ''
    assert r.config_get('maxmemory-policy')['maxmemory-policy'] == 'allkeys-lru'
    assert int(r.config_get('maxmemory')['maxmemory']) == 32 << 20


def test_bundled_comes_back_after_a_kill(daemon):
    d = daemon({'redis.mode': 'bundled'})
    wait_until(lambda: d.get('/health').json['redis_available'], what='redis is up')
    os.kill(d.roles()['redis'][0], signal.SIGKILL)
    wait_until(lambda: not d.get('/health').json['redis_available'], what='it is noticed')
    wait_until(lambda: d.get('/health').json['redis_available'], 20, 'redis is back')


def redis_is(d, up):
    return d.get('/health').json['redis_available'] is up


def test_external_going_and_coming(daemon, redis_server, swarm, tracker):
    t = tracker()
    s = swarm([{'count': 4}], torrents=2)
    for infohash in s.infohashes:
        t.set(infohash, peers=s.endpoints())
    r = redis_server()
    d = daemon({'redis.mode': 'external', 'redis.url': f'redis://{r.address}:{r.port}/3',
                'swarm.trackers': t.http})
    wait_until(lambda: redis_is(d, True), what='redis is up')
    r.proc.stop()
    wait_until(lambda: redis_is(d, False), what='it is noticed')
    assert d.peers(s.infohashes[0])['peer_count'] == 4
    r.start()
    wait_until(lambda: redis_is(d, True), 40, 'it is back, on the same address')
    assert d.peers(s.infohashes[1])['peer_count'] == 4
    db = client.Redis(host=r.address, port=r.port, db=3)
    wait_until(lambda: value(db, s.infohashes[1]), what='it is written to again')


@pytest.fixture
def hanging():
    """A server that accepts and never says a byte: (port, connections that it holds)."""
    held, stop = [], threading.Event()

    def accept():
        s.settimeout(0.2)
        while not stop.is_set():
            try:
                held.append(s.accept()[0])
            except TimeoutError:
                pass
    with socket.create_server(('127.0.0.1', 0)) as s:
        t = threading.Thread(target=accept)
        t.start()
        yield s.getsockname()[1], held
        stop.set()
        t.join()
        for c in held:
            c.close()


def cold_answer(d, s, n):
    """A swarm that was never asked for: complete, and no later than without Redis."""
    began = time.monotonic()
    answer = d.peers(s.infohashes[n], limit=100)
    took = time.monotonic() - began
    assert answer['peer_count'] == answer['total_peers'] == len(s.peers)
    assert all(p['client'].startswith('Scripted') for p in answer['peers'])
    assert took < 2 * slow(), 'it waited for nobody but the swarm'


def scripted(swarm, tracker, torrents):
    t = tracker()
    s = swarm([{'count': 10, 'progress': 50}], torrents=torrents, delay_ms=50)
    for infohash in s.infohashes:
        t.set(infohash, peers=s.endpoints())
    return t, s


def test_a_server_that_hangs_from_the_start_delays_nobody(daemon, swarm, tracker, hanging):
    t, s = scripted(swarm, tracker, 3)
    port, held = hanging
    d = daemon({'redis.mode': 'external', 'redis.url': f'redis://127.0.0.1:{port}',
                'redis.timeout': '10s', 'swarm.trackers': t.udp,
                'swarm.discovery_wait': '10s'})
    wait_until(lambda: held, what='it is dialled')
    for n in range(3):
        cold_answer(d, s, n)
        assert redis_is(d, False)


def test_a_hanging_server_is_given_up_and_dialled_again(daemon, hanging):
    port, held = hanging
    daemon({'redis.mode': 'external', 'redis.url': f'redis://127.0.0.1:{port}',
            'redis.timeout': '100ms'})
    wait_until(lambda: len(held) >= 2, what='it gave up and dialled again')


def test_a_server_that_hangs_later_delays_nobody(daemon, swarm, tracker, redis_server):
    """It is up, then stands still with its connection open, then goes on."""
    t, s = scripted(swarm, tracker, 4)
    r = redis_server()
    d = daemon({'redis.mode': 'external', 'redis.url': r.url, 'redis.timeout': '500ms',
                'swarm.trackers': t.udp, 'swarm.discovery_wait': '10s'})
    wait_until(lambda: redis_is(d, True), what='redis is up')
    cold_answer(d, s, 0)
    r.proc.kill(signal.SIGSTOP)
    try:
        cold_answer(d, s, 1)            # nobody has noticed yet
        wait_until(lambda: redis_is(d, False), what='it is noticed')
        cold_answer(d, s, 2)
        assert redis_is(d, False)
    finally:
        r.proc.kill(signal.SIGCONT)
    wait_until(lambda: redis_is(d, True), 40, 'it is back')
    cold_answer(d, s, 3)
    wait_until(lambda: value(r.client(), s.infohashes[3]), what='it is written to again')


def state(d):
    return d.get('/health').json['redis']['state']


def test_off(daemon):
    d = daemon({'redis.mode': 'off'})
    assert d.get('/health').json['redis_available'] is False
    assert state(d) == 'off'
    assert d.roles()['redis'] == []


# ---- what is not as it should be --------------------------------------------------------

class Wrong:
    """A server that is no Redis, or not ready: on_accept(c) and on_data(c, data) speak."""

    def __init__(self, on_data, on_accept=lambda c: None):
        self.on_data, self.on_accept, self.dials, self.held = on_data, on_accept, 0, []
        self.socket = socket.create_server(('127.0.0.1', 0))
        self.url = 'redis://127.0.0.1:%d/0' % self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                c, _ = self.socket.accept()
            except OSError:
                return
            self.dials += 1
            self.held.append(c)
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        try:
            self.on_accept(c)
            while data := c.recv(65536):
                self.on_data(c, data)
        except OSError:
            pass

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for c in self.held:
            c.close()


@pytest.fixture
def wrong():
    made = []

    def make(*args):
        made.append(Wrong(*args))
        return made[-1]
    yield make
    for w in made:
        w.close()


def says(*lines):
    return lambda c, data: c.sendall(b''.join(lines))


def pongs(c, data):
    c.sendall(b'+PONG\r\n' * data.count(b'PING'))


def later(c, data):
    pongs(c, data)
    time.sleep(0.2)             # nothing is due any more, or less than that
    c.sendall(b'+hello\r\n' * 100)


def endless(c, data):
    c.sendall(b'$536870912\r\n')
    while True:
        c.sendall(b'x' * 65536)


ARRAYS = {
    'an array': (says(b'*1\r\n$4\r\nPONG\r\n'),),
    'an empty array': (says(b'*0\r\n'),),
    'a huge array': (says(b'*1000000000\r\n'),),
}
NO_REDIS = {
    'POP3': (says(b'-ERR what?\r\n'), lambda c: c.sendall(b'+OK POP3 ready\r\n')),
    'SSH': (says(b''), lambda c: c.sendall(b'SSH-2.0-OpenSSH_9.2\r\n')),
    'HTTP': (says(b'HTTP/1.0 400 Bad Request\r\n\r\n'),),
    'an echo': (lambda c, data: c.sendall(data),),
    'more than was asked for': (says(b'+PONG\r\n+PONG\r\n+PONG\r\n'),),
    'unasked': (later,),
    'another answer': (says(b'+OK\r\n'),),
    'a number': (says(b':1\r\n'),),
    'nothing': (says(b'$-1\r\n'),),
    **ARRAYS,
    'half a gigabyte': (endless,),
    'noise': (lambda c, data: c.sendall(b'\x16\x03\x01' + os.urandom(2000)),),
}


@pytest.mark.parametrize('what', NO_REDIS)
def test_what_is_no_redis_harms_nobody(daemon, swarm, tracker, wrong, what):
    """It is left alone, for longer each time, and the collector lives."""
    t, s = scripted(swarm, tracker, 2)
    server = wrong(*NO_REDIS[what])
    d = daemon({'redis.mode': 'external', 'redis.url': server.url, 'redis.timeout': '20s',
                'swarm.trackers': t.udp})
    collector = d.roles()['collector']
    error = wait_until(lambda: (r := d.get('/health').json['redis'])['state'] == 'garbage' and
                       r['error'], what='/health says so')
    cold_answer(d, s, 0)
    assert 'memory' not in error
    assert ('with an array' in error) == (what in ('an echo', *ARRAYS))
    wait_until(lambda: server.dials >= 4, 20, 'it is tried again')
    assert d.get('/health').json['redis']['lost'] >= 3, 'each end is counted'
    cold_answer(d, s, 1)
    assert state(d) in ('garbage', 'up') and d.roles()['collector'] == collector
    assert server.dials < 8, 'at 0, 0.1, 0.3, 0.7, 1.5, 3.1 s'


def test_external_by_name(daemon, wrong):
    """/etc/hosts knows it: no question leaves this machine. A real one can't be given port 0,
    and any other port of 127.0.0.1 may be somebody else's."""
    port = wrong(pongs).url.split(':')[2]
    d = daemon({'redis.mode': 'external', 'redis.url': f'redis://localhost:{port}'})
    wait_until(lambda: redis_is(d, True), what='redis is up')
    assert f'connected to localhost:{port.removesuffix("/0")}' in d.log()


def test_one_that_greets_and_hangs_up(daemon, wrong):
    """It is dialled as seldom as one that is not there, in two lines; until it stays."""
    stays = threading.Event()

    def greet(c, data):
        pongs(c, data)
        c.sendall(b'$-1\r\n' * data.count(b'EVAL'))
        if not stays.is_set():
            time.sleep(0.2)
            c.shutdown(socket.SHUT_RDWR)

    server = wrong(greet)
    d = daemon({'redis.mode': 'external', 'redis.url': server.url})
    wait_until(lambda: server.dials >= 5, 20, 'it is tried again')
    began, dials = time.monotonic(), server.dials
    wait_until(lambda: time.monotonic() - began > 5, 20, 'a while')
    assert server.dials - dials <= 3, 'it was 2 each second'
    lost = d.get('/health').json['redis']['lost']
    assert server.dials - 1 <= lost <= server.dials
    assert len(d.log_lines('connected to')) == len(d.log_lines('behind the scenes')) == 1
    stays.set()
    wait_until(lambda: d.log_lines(f'stays, after it had ended {server.dials - 1} times'), 40,
               'it stays')
    assert redis_is(d, True) and server.dials < 12
    server.held[-1].shutdown(socket.SHUT_RDWR)
    wait_until(lambda: len(d.log_lines('connected to')) == 2, 5, 'that is forgiven')


def test_one_that_is_loading_is_waited_for_behind_the_scenes(daemon, swarm, tracker, wrong):
    t, s = scripted(swarm, tracker, 1)
    answer = [b'-LOADING Redis is loading the dataset in memory\r\n']
    server = wrong(lambda c, data: c.sendall(answer[0] * data.count(b'*')))
    d = daemon({'redis.mode': 'external', 'redis.url': server.url, 'swarm.trackers': t.udp})
    wait_until(lambda: state(d) == 'loading' and server.dials >= 3, what='it is tried again')
    cold_answer(d, s, 0)
    answer[0] = b'+PONG\r\n'
    wait_until(lambda: state(d) == 'up', 20, 'it has loaded')


def test_nobody_is_there(daemon, net, swarm, tracker):
    t, s = scripted(swarm, tracker, 1)
    d = daemon({'redis.mode': 'external', 'redis.url': f'redis://{net.take()}',
                'swarm.trackers': t.udp})
    wait_until(lambda: state(d) == 'down', what='/health says so')
    assert 'refused' in d.get('/health').json['redis']['error']
    cold_answer(d, s, 0)


@pytest.mark.parametrize('has, url', [('secret', ''), ('secret', ':guess@'), ('', ':any@')])
def test_another_password(daemon, swarm, tracker, redis_server, has, url):
    t, s = scripted(swarm, tracker, 1)
    r = redis_server(options=['--requirepass', has] if has else [])
    d = daemon({'redis.mode': 'external', 'redis.url': f'redis://{url}{r.address}:{r.port}',
                'swarm.trackers': t.udp})
    wait_until(lambda: state(d) == 'password', what='/health says so')
    assert redis_is(d, False)
    assert 'guess' not in d.log() + json.dumps(d.get('/health').json)
    cold_answer(d, s, 0)


def test_a_user_without_rights(daemon, swarm, tracker, redis_server):
    t, s = scripted(swarm, tracker, 1)
    r = redis_server()
    r.client().execute_command('ACL', 'SETUSER', 'default', '-@all', '+ping', '+acl')
    d = daemon({'redis.mode': 'external', 'redis.url': r.url, 'swarm.trackers': t.udp})
    wait_until(lambda: redis_is(d, True), what='it answers')
    cold_answer(d, s, 0)
    wait_until(lambda: state(d) == 'denied', what='/health says so')


def test_a_password_that_is_asked_for_later(daemon, redis_server, swarm, tracker):
    """The connection stands, and its user has none of his rights any more."""
    t, s = scripted(swarm, tracker, 2)
    r = redis_server()
    d = daemon({'redis.mode': 'external', 'redis.url': r.url, 'swarm.trackers': t.udp})
    wait_until(lambda: state(d) == 'up', what='it is up')
    r.client().config_set('requirepass', 'secret')
    r.client().close()
    client.Redis(host=r.address, port=r.port, password='secret').client_kill_filter(
        _type='normal', skipme=True)
    cold_answer(d, s, 0)
    wait_until(lambda: state(d) == 'password', what='/health says so')
    cold_answer(d, s, 1)


def test_a_cluster(daemon, swarm, tracker, redis_server):
    """One node of it, without the other half of the slots. It is not spoken, and says so."""
    t, s = scripted(swarm, tracker, 8)
    r = redis_server(options=['--cluster-enabled', 'yes',
                              '--cluster-require-full-coverage', 'no'])
    r.client().execute_command('CLUSTER', 'ADDSLOTSRANGE', 0, 8191)
    d = daemon({'redis.mode': 'external', 'redis.url': r.url, 'swarm.trackers': t.udp})
    wait_until(lambda: redis_is(d, True), what='it answers')
    for n in range(8):
        cold_answer(d, s, n)
    assert state(d) == 'cluster'
    assert 'CLUSTERDOWN' in d.log() or 'CROSSSLOT' in d.log()


def test_who_refuses_writes_is_not_written_to_for_a_while(daemon, swarm, tracker, redis_server):
    """Lists of a hundred kilobytes would be made and sent for nothing, each second."""
    t, s = scripted(swarm, tracker, 8)
    r = redis_server()
    d = daemon({'redis.mode': 'external', 'redis.url': r.url, 'swarm.trackers': t.udp,
                'cache.ttl': '1s'})
    wait_until(lambda: state(d) == 'up', what='it is up')
    r.client().config_set('maxmemory', '1')
    for n in range(8):
        cold_answer(d, s, n)
    assert state(d) == 'full' and redis_is(d, True)
    before, began = d.top()['counters']['redis_errors'], time.monotonic()
    while time.monotonic() - began < 3:
        for infohash in s.infohashes:
            d.peers(infohash)
        time.sleep(0.1)         # clients' pace
    assert d.top()['counters']['redis_errors'] - before < 12, 'and 70 if it were'
    r.client().config_set('maxmemory', '0')
    wait_until(lambda: d.peers(s.infohashes[0]) and state(d) == 'up', 30, 'it is tried again')
    wait_until(lambda: all(d.peers(i) and value(r.client(), i) for i in s.infohashes), 20,
               'and all are written')

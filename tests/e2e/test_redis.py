"""The second tier: bundled, external, away, hanging, with a password, and off."""
import json
import os
import signal
import socket
import threading
import time

import pytest
import redis as client
from procs import free_port, slow, wait_until


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


def test_external_by_name(daemon, redis_server):
    """/etc/hosts knows it: no question leaves this machine."""
    r = redis_server(address='127.0.0.1', port=free_port())
    d = daemon({'redis.mode': 'external', 'redis.url': f'redis://localhost:{r.port}/0'})
    wait_until(lambda: redis_is(d, True), what='redis is up')
    assert f'connected to localhost:{r.port}' in d.log()


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


def test_off(daemon):
    d = daemon({'redis.mode': 'off'})
    assert d.get('/health').json['redis_available'] is False
    assert d.roles()['redis'] == []

"""The second tier: bundled, external, away, hanging, with a password, and off."""
import json
import os
import signal
import socket
import threading

import redis as client
from procs import wait_until


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


def test_external_going_and_coming(daemon, redis_server):
    r = redis_server()
    d = daemon({'redis.mode': 'external', 'redis.url': f'redis://{r.address}:{r.port}/3'})
    wait_until(lambda: d.get('/health').json['redis_available'], what='redis is up')
    r.proc.stop()
    wait_until(lambda: not d.get('/health').json['redis_available'], what='it is noticed')
    assert d.get('/health').status == 200


def test_a_server_that_hangs_delays_nobody(daemon):
    with socket.create_server(('127.0.0.1', 0)) as s:
        port = s.getsockname()[1]
        held = []
        stop = threading.Event()

        def accept():
            s.settimeout(0.2)
            while not stop.is_set():
                try:
                    held.append(s.accept()[0])
                except TimeoutError:
                    pass
        t = threading.Thread(target=accept)
        t.start()
        try:
            d = daemon({'redis.mode': 'external', 'redis.url': f'redis://127.0.0.1:{port}',
                        'redis.timeout': '100ms'})
            wait_until(lambda: len(held) >= 2, what='it gave up and dialled again')
            assert d.get('/health').json['redis_available'] is False
            assert d.get('/peers/' + 'ab' * 20 + '?wait=0').status == 200
        finally:
            stop.set()
            t.join()
            for c in held:
                c.close()


def test_off(daemon):
    d = daemon({'redis.mode': 'off'})
    assert d.get('/health').json['redis_available'] is False
    assert d.roles()['redis'] == []

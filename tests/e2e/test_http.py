"""The HTTP side of the real binary, over raw sockets: what is refused, what waits, what
a client sees that is slow, rude or gone."""
import base64
import contextlib
import json
import os
import select
import signal
import socket
import struct
import time

import pytest

from procs import slow, wait_until

ID = '94c2fd8fb9bc8f2fc71a2cbe9d4b866f227a0209'
HOST = b'Host: peerscope\r\n'


class Raw:
    """One connection. answer() reads exactly one answer; end() reads to the end."""

    def __init__(self, daemon, timeout=15):
        self.sock = socket.create_connection((daemon.host, daemon.port), timeout * slow())
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.seen = b''

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)
        return self

    def get(self, path, *headers):
        lines = b''.join(h.encode() + b'\r\n' for h in headers)
        return self.send(b'GET ' + path.encode() + b' HTTP/1.1\r\n' + HOST + lines + b'\r\n')

    def _more(self):
        data = self.sock.recv(65536)
        self.seen += data
        return data

    def answer(self, body=True):
        """(status, {header: value}, body)"""
        while b'\r\n\r\n' not in self.seen:
            assert self._more(), f'closed in the middle of a head: {self.seen!r}'
        head, _, self.seen = self.seen.partition(b'\r\n\r\n')
        lines = head.decode('latin-1').split('\r\n')
        headers = {k.lower(): v for k, v in (h.split(': ', 1) for h in lines[1:])}
        status = int(lines[0].split(' ')[1])
        want = int(headers.get('content-length', 0)) if body and status not in (204, 304) else 0
        while len(self.seen) < want:
            assert self._more(), 'closed in the middle of a body'
        got, self.seen = self.seen[:want], self.seen[want:]
        return status, headers, got

    def closed(self):
        """True once the other side ended it in order; a reset raises."""
        while self._more():
            pass
        return True

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.sock.close()

    def silent(self, seconds):
        """Nothing comes for this long."""
        return not select.select([self.sock], [], [], seconds)[0] and not self.seen


def an_error(answer, status, word=None):
    got, headers, body = answer
    assert got == status, answer
    assert headers['content-type'] == 'application/json'
    assert int(headers['content-length']) == len(body)
    data = json.loads(body)
    assert set(data) == {'error', 'message', 'code', 'request_id'}
    assert data['code'] == data['error']
    assert data['error'].replace('_', '').isalpha() and len(data['message']) > 10
    assert word is None or data['error'] == word
    if status == 503:
        assert int(headers['retry-after']) >= 1
    return data


def parked(daemon):
    return sum(p['parked'] for p in daemon.top()['processes'] if p['role'].startswith('worker'))


def counter(daemon, name):
    return daemon.top()['counters'][name]


@pytest.fixture
def silent(tracker):
    """Settings under which a cold question waits: a tracker that never answers."""
    t = tracker()
    t.set(mode='hang')
    return {'swarm.trackers': t.http, 'swarm.discovery_wait': '20s'}


# Refused -------------------------------------------------------------------
REFUSED = [
    (b'asdf\r\n\r\n', 400), (b'\x16\x03\x01\x02\x00\r\n', 400), (b'GET /health\r\n\r\n', 400),
    (b'GET /health HTTP/1.1\r\n\r\n', 400),
    (b'GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400),
    (b'GET  /health HTTP/1.1\r\n' + HOST + b'\r\n', 400),
    (b'GET /health HTTP/1.1\r\n' + HOST + b'A: b\r\n c\r\n\r\n', 400),
    (b'GET /health HTTP/1.1\r\n' + HOST + b'A : b\r\n\r\n', 400),
    (b'GET /health HTTP/1.1\n' + HOST + b'\n', 400),
    (b'GET /health HTTP/1.1\r\n' + HOST + b'A: \x00\r\n\r\n', 400),
    (b'GET /%zz HTTP/1.1\r\n' + HOST + b'\r\n', 400),
    (b'GET /peers/' + ID.encode() + b'?limit=%4 HTTP/1.1\r\n' + HOST + b'\r\n', 400),
    (b'POST /health HTTP/1.1\r\n' + HOST +
     b'Content-Length: 1\r\nContent-Length: 1\r\n\r\nx', 400),
    (b'POST /health HTTP/1.1\r\n' + HOST +
     b'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400),
    (b'POST /health HTTP/1.1\r\n' + HOST + b'Transfer-Encoding: gzip, chunked\r\n\r\n', 400),
    (b'GET /nothing HTTP/1.1\r\n' + HOST + b'\r\n', 404),
    (b'GET / HTTP/1.1\r\n' + HOST + b'\r\n', 404),
    (b'GET /peers HTTP/1.1\r\n' + HOST + b'\r\n', 404),
    (b'GET /health/ HTTP/1.1\r\n' + HOST + b'\r\n', 404),
    (b'POST /health HTTP/1.1\r\n' + HOST + b'\r\n', 405),
    (b'TRACE /health HTTP/1.1\r\n' + HOST + b'\r\n', 405),
    (b'DELETE /peers/x HTTP/1.1\r\n' + HOST + b'\r\n', 405),
    (b'POST /health HTTP/1.1\r\n' + HOST + b'Content-Length: 9999999\r\n\r\n', 413),
    (b'GET /' + b'a' * 9000 + b' HTTP/1.1\r\n' + HOST + b'\r\n', 414),
    (b'GET / HTTP/1.1\r\n' + HOST + b'Expect: more\r\n\r\n', 417),
    (b'GET / HTTP/1.1\r\n' + HOST + b'A: ' + b'a' * 17000 + b'\r\n\r\n', 431),
    (b'GET / HTTP/1.1\r\n' + HOST + b'A: b\r\n' * 150 + b'\r\n', 431),
    (b'BREW / HTTP/1.1\r\n' + HOST + b'\r\n', 501),
    (b'PROPFIND / HTTP/1.1\r\n' + HOST + b'\r\n', 501),
    (b'GET / HTTP/2.0\r\n' + HOST + b'\r\n', 505),
]


def test_every_refusal_is_json_with_the_right_status(daemon):
    d = daemon()
    for data, status in REFUSED:
        with Raw(d) as c:
            answer = c.send(data).answer()
            an_error(answer, status)
            if status == 405:
                assert answer[1]['allow'] == 'GET, HEAD, OPTIONS'
            if status not in (404, 405):
                c.sock.shutdown(socket.SHUT_WR)
                assert c.closed()


def test_a_refusal_arrives_although_the_client_still_sends(daemon):
    """Closing at once would send a reset, and the answer would be lost on the way."""
    d = daemon()
    with Raw(d) as c:
        c.send(b'POST /health HTTP/1.1\r\n' + HOST + b'Content-Length: 800000\r\n\r\n')
        with contextlib.suppress(ConnectionError):
            c.send(b'x' * 800000)
        an_error(c.answer(), 413)
        assert c.closed()


def test_what_is_refused_is_counted(daemon):
    d = daemon()
    before = d.top()['counters']
    d.raw(b'BREW / HTTP/1.1\r\n\r\n')
    d.get('/nothing')
    after = d.top()['counters']
    assert after['http_5xx'] - before['http_5xx'] == 1
    assert after['http_4xx'] - before['http_4xx'] == 1
    assert after['http_gate_refused'] - before['http_gate_refused'] == 1


# Forms of a question ---------------------------------------------------------
def test_head_says_what_get_says(daemon):
    d = daemon()
    for path in '/health', '/livez', '/readyz', f'/peers/{ID}?wait=0', '/nothing':
        with Raw(d) as c:
            got = c.get(path).answer()
            c.send(b'HEAD ' + path.encode() + b' HTTP/1.1\r\n' + HOST + b'\r\n')
            status, headers, _ = c.answer(body=False)
            after = c.get(path).answer()    # nothing of a body lies between
            assert status == got[0] == after[0]
            assert set(headers) in (set(got[1]), set(after[1])), 'a swarm becomes known meanwhile'
            assert headers['content-length'].isdigit()


def test_options(daemon):
    d = daemon()
    for target in b'/health', b'/peers/x', b'*':
        with Raw(d) as c:
            status, headers, _ = c.send(b'OPTIONS ' + target + b' HTTP/1.1\r\n' + HOST +
                                        b'\r\n').answer()
            assert (status, headers['allow']) == (204, 'GET, HEAD, OPTIONS')
            assert 'content-length' not in headers


def test_keep_alive_and_close(daemon):
    d = daemon()
    with Raw(d) as c:
        for _ in range(50):
            assert c.get('/livez').answer()[0] == 200
        status, headers, _ = c.get('/livez', 'Connection: close').answer()
        assert (status, headers['connection']) == (200, 'close')
        assert c.closed()
    with Raw(d) as c:
        assert c.send(b'GET /livez HTTP/1.0\r\n\r\n').answer()[1]['connection'] == 'close'
        assert c.closed()
    with Raw(d) as c:
        for _ in range(3):
            c.send(b'GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
            assert c.answer()[1]['connection'] == 'keep-alive'


def test_pipelining_keeps_the_order(daemon):
    d = daemon()
    paths = ['/livez', '/nothing', '/readyz', '/health', f'/peers/{ID}?limit=x'] * 40
    with Raw(d) as c:
        for p in paths:
            c.get(p)
        statuses = [c.answer()[0] for _ in paths]
    assert statuses == [200, 404, 200, 200, 400] * 40


def test_escapes_and_slashes(daemon):
    d = daemon()
    assert d.get('//livez').status == 200
    assert d.get('/%6Civez').status == 200
    assert d.get('/livez?x=%00').status == 200      # /livez has no parameters to read
    assert d.get('/peers%2Fx').status == 404
    assert '/docs' in d.get('/').json['message']        # where a newcomer looks first
    assert d.get(f'//peers//{ID}?wait=0').json['infohash'] == ID
    assert d.get(f'/peers/%39{ID[1:]}?wait=0').json['infohash'] == ID
    with Raw(d) as c:
        c.send(b'GET http://any.host/livez HTTP/1.1\r\n' + HOST + b'\r\n')
        assert c.answer()[0] == 200


def test_expect_100_continue(daemon):
    d = daemon()
    with Raw(d) as c:
        c.send(b'POST /livez HTTP/1.1\r\n' + HOST +
               b'Expect: 100-continue\r\nContent-Length: 2\r\n\r\n')
        assert c.answer()[0] == 100
        c.send(b'hi')
        an_error(c.answer(), 405)


# Ids and parameters ------------------------------------------------------------
def test_ids_of_one_swarm(daemon):
    d = daemon()
    base32 = base64.b32encode(bytes.fromhex(ID)).decode()
    v2 = ID + '0' * 24
    for text in ID, ID.upper(), base32, base32.lower(), v2:
        got = d.get(f'/peers/{text}?wait=0').json
        assert got['infohash'] == ID
        assert got['acestream_id'] == text.lower()


@pytest.mark.parametrize('text', ['', 'x', ID[1:], ID + '0', 'g' + ID[1:], '0' * 63, '0' * 65,
                                  'a' * 5000, '%20' + ID, '1' * 32])
def test_malformed_ids(daemon, text):
    data = an_error(parts(daemon().get(f'/peers/{text}')), 400, 'bad_id')
    assert '40 hex' in data['message'] and '32' in data['message']


def parts(a):
    return a.status, {k.lower(): v for k, v in a.headers.items()}, a.body


def test_limit_and_wait_are_checked(daemon):
    d = daemon()
    bad = ['limit=0', 'limit=2001', 'limit=-1', 'limit=x', 'limit=', 'limit', 'limit=5x',
           'limit=99999999999999999999', 'wait=26s', 'wait=25001', 'wait=25001ms', 'wait=-1',
           'wait=1m', 'wait=1.5s', 'wait=', 'wait=s', 'wait=99999999999999999999s',
           'wait=0&limit=' + '1' * 500]
    for q in bad:
        an_error(parts(d.get(f'/peers/{ID}?{q}')), 400, 'bad_query')
    for q in ['wait=0', 'wait=0s', 'wait=0ms', 'limit=1&wait=0', 'limit=2000&wait=0',
              'wait=0&other=%C3%A4&limit=%31', '&&wait=0&', 'wait=0&' + 'x' * 3000]:
        assert d.get(f'/peers/{ID}?{q}').status == 200, q


def test_wait_0_answers_at_once_and_starts_the_swarm(daemon, silent):
    d = daemon(silent)
    began = time.monotonic()
    a = d.get(f'/peers/{ID}?wait=0')
    assert time.monotonic() - began < 1 * slow()
    assert a.json['peers'] == [] and a.json['error']
    wait_until(lambda: d.top()['gauges']['swarms'] == 1)


# Kept answers --------------------------------------------------------------------
@pytest.fixture
def warm(daemon, swarm, tracker):
    """A daemon that has one settled swarm of 60."""
    t = tracker(register=True)
    s = swarm([{'count': 60}], trackers=[t.http])
    d = daemon({'swarm.trackers': t.http, 'http.workers': 1, 'cache.ttl': '1h'})
    seen = []

    def still():
        a = d.get(f'/peers/{s.infohash}')
        seen.append(a.headers['ETag'])
        return a.json['phase'] == 'settled' and len(a.json['peers']) == 50 and \
            len(seen) > 20 and len(set(seen[-20:])) == 1
    wait_until(still, 20, 'the swarm settles', every=0.1)
    return d, s.infohash


def test_etag_age_and_304(warm):
    d, h = warm
    with Raw(d) as c:
        for path in f'/peers/{h}', f'/peers/{h}?limit=3', f'/peers/{h.upper()}':
            status, headers, body = c.get(path).answer()
            assert status == 200 and len(json.loads(body)['peers']) in (3, 50)
            assert headers['age'].isdigit() and headers['cache-control'] == 'max-age=3600'
            tag = headers['etag']
            for match in tag, f'"x", W/{tag}', '*':
                s, again, _ = c.get(path, f'If-None-Match: {match}').answer()
                assert (s, again['etag']) == (304, tag)
                assert 'content-type' not in again
            for other in '"x"', tag[:-1], tag[1:-1]:
                assert c.get(path, f'If-None-Match: {other}').answer()[2] == body


def test_the_hot_path_and_evhttp_say_the_same(warm):
    """The hot verb is answered beside evhttp; HTTP/1.0 takes the other way."""
    d, h = warm
    with Raw(d) as c:
        hot = c.get(f'/peers/{h}', 'X-Request-Id: same').answer()
    with Raw(d) as c:
        slow_way = c.send(f'GET /peers/{h} HTTP/1.0\r\nConnection: keep-alive\r\n'
                          'X-Request-Id: same\r\n\r\n'.encode()).answer()
    assert hot[0] == slow_way[0] and hot[2] == slow_way[2]
    varying = {'date', 'age', 'connection'}
    assert {k: v for k, v in hot[1].items() if k not in varying} == \
        {k: v for k, v in slow_way[1].items() if k not in varying}
    assert set(hot[1]) == set(slow_way[1]) - {'connection'}


def test_a_version_is_rendered_once(warm):
    d, h = warm
    before = d.top()['counters']
    with Raw(d) as c:
        bodies = {c.get(f'/peers/{h}').answer()[2] for _ in range(200)}
    after = d.top()['counters']
    assert len(bodies) == 1
    assert after['peers_hit'] - before['peers_hit'] == 200
    assert after['peers_rendered'] == before['peers_rendered']


def test_a_slow_reader_of_many_answers_gets_all(warm):
    d, h = warm
    with Raw(d) as c:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        for _ in range(500):        # about 10 MB: more than the sockets hold
            c.get(f'/peers/{h}')
        for _ in range(500):
            status, _, body = c.answer()
            assert status == 200 and len(json.loads(body)['peers']) == 50


# Parked -----------------------------------------------------------------------------
def test_bytes_behind_a_parked_request_do_no_harm(daemon, silent):
    d = daemon({**silent, 'http.workers': 1})
    with Raw(d) as c:
        c.get(f'/peers/{ID}?wait=2s')
        wait_until(lambda: parked(d) == 1)
        for b in b'GET /livez HTTP/1.1\r\n' + HOST + b'\r\n':
            c.send(bytes([b]))
        c.send(b'BREW / HTTP/1.1\r\n')
        assert c.silent(0.3)
        status, _, body = c.answer()
        assert status == 200 and json.loads(body)['infohash'] == ID
        assert c.answer()[2] == b'{"status":"alive"}'
        an_error(c.answer(), 501)
        assert c.closed()


@pytest.mark.parametrize('how', ['close', 'half-close', 'reset', 'reset with bytes behind'])
def test_a_client_that_leaves_is_forgotten(daemon, silent, how):
    d = daemon({**silent, 'http.workers': 1})
    c = Raw(d).get(f'/peers/{ID}')
    wait_until(lambda: parked(d) == 1)
    if 'bytes' in how:
        c.send(b'GET /x HT')
    if how == 'half-close':
        c.sock.shutdown(socket.SHUT_WR)
    elif how == 'close':
        c.sock.close()
    else:
        c.reset()
    wait_until(lambda: parked(d) == 0)
    assert counter(d, 'http_clients_gone') == 1
    if how == 'half-close':
        assert c.closed() and c.seen == b''
    assert d.get('/livez').status == 200


def test_600_parked_at_once(daemon, silent):
    d = daemon({**silent, 'http.workers': 1, 'swarm.discovery_wait': '4s'})
    with contextlib.ExitStack() as all_of:
        conns = [all_of.enter_context(Raw(d, timeout=30)) for _ in range(600)]
        for i, c in enumerate(conns):
            c.get(f'/peers/{i % 50 + 1:040x}')
        wait_until(lambda: parked(d) == 600)
        assert d.get('/livez').status == 200        # meanwhile it works
        for i, c in enumerate(conns):
            status, _, body = c.answer()
            assert status == 200 and json.loads(body)['infohash'] == f'{i % 50 + 1:040x}'
    wait_until(lambda: parked(d) == 0)


def test_no_room_to_park(daemon, silent):
    d = daemon({**silent, 'http.workers': 1, 'http.max_parked': 3})
    with contextlib.ExitStack() as all_of:
        for i in range(3):
            all_of.enter_context(Raw(d)).get(f'/peers/{i + 1:040x}')
        wait_until(lambda: parked(d) == 3)
        an_error(parts(d.get(f'/peers/{ID}')), 503, 'busy')
        assert counter(d, 'peers_park_full') == 1
    wait_until(lambda: parked(d) == 0)


def test_a_collector_that_hangs_does_not_hold_clients(daemon, silent):
    d = daemon({**silent, 'http.workers': 1})
    pid = d.collector()
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        an_error(parts(d.get(f'/peers/{ID}?wait=100ms')), 503, 'late')
        assert 3 <= time.monotonic() - began < 6 * slow()
        assert counter(d, 'peers_park_late') == 1
    finally:
        os.kill(pid, signal.SIGCONT)
    assert d.get(f'/peers/{ID}?wait=100ms').status == 200


def test_parked_questions_survive_the_collector(daemon, silent):
    d = daemon({**silent, 'http.workers': 1})
    with Raw(d) as c:
        c.get(f'/peers/{ID}?wait=5s')
        wait_until(lambda: d.top()['gauges']['waiters'] == 1)
        os.kill(d.collector(), signal.SIGKILL)
        assert c.answer()[0] == 200
    assert counter(d, 'peers_park_late') == 0


# Clocks and counts ----------------------------------------------------------------
def test_a_slow_request_is_408_whatever_it_sends(daemon):
    d = daemon({'http.header_timeout': '500ms'})
    with Raw(d) as c:
        began = time.monotonic()
        c.send(b'GET /livez HTTP/1.1\r\n' + HOST)
        while c.silent(0.05):       # a byte now and then does not move the deadline
            with contextlib.suppress(ConnectionError):
                c.send(b'A')
        an_error(c.answer(), 408)
        assert 0.4 <= time.monotonic() - began < 2 * slow()
        assert c.closed()
    assert counter(d, 'http_timeouts') == 1


def test_a_half_sent_body_is_408(daemon):
    d = daemon({'http.header_timeout': '300ms'})
    with Raw(d) as c:
        c.send(b'POST /livez HTTP/1.1\r\n' + HOST + b'Content-Length: 10\r\n\r\nhalf')
        an_error(c.answer(), 408)
        assert c.closed()


def test_an_idle_connection_is_closed_silently(daemon):
    d = daemon({'http.idle_timeout': '300ms'})
    with Raw(d) as fresh, Raw(d) as used:
        assert used.get('/livez').answer()[0] == 200
        assert used.closed() and used.seen == b''
        assert fresh.closed() and fresh.seen == b''


def test_a_client_that_does_not_read_is_cut(warm_quick):
    d, h = warm_quick
    c = Raw(d)
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with contextlib.suppress(ConnectionError, socket.timeout):
        c.sock.settimeout(1)
        for _ in range(2000):
            c.get(f'/peers/{h}')
    wait_until(lambda: counter(d, 'http_timeouts') == 1)
    c.sock.close()
    assert d.get('/livez').status == 200


@pytest.fixture
def warm_quick(daemon, swarm, tracker):
    t = tracker(register=True)
    s = swarm([{'count': 60}], trackers=[t.http])
    d = daemon({'swarm.trackers': t.http, 'http.workers': 1, 'cache.ttl': '1h',
                'http.write_timeout': '500ms'})
    d.until_peers(s.infohash, lambda p: len(p) == 60)
    return d, s.infohash


def test_a_connection_too_many(daemon):
    d = daemon({'http.workers': 1, 'http.max_connections': 16})
    with contextlib.ExitStack() as all_of:
        conns = [all_of.enter_context(Raw(d)) for _ in range(16)]
        for c in conns:
            assert c.get('/livez').answer()[0] == 200
        with Raw(d) as extra:
            an_error(extra.answer(), 503, 'too_many_connections')
            assert extra.closed()
        wait_until(lambda: d.log_lines('http: - -: 503 in 0 us'), what='it is told')
        conns[0].sock.close()
        wait_until(lambda: one_more(d))
        assert conns[1].get('/livez').answer()[0] == 200
    wait_until(lambda: one_more(d))
    assert counter(d, 'http_connections_refused') >= 1


def one_more(d):
    with Raw(d) as c:
        return c.get('/livez').answer()[0] == 200


# Leaving ------------------------------------------------------------------------------
def test_term_lets_the_parked_and_the_next_finish(daemon, silent):
    d = daemon({**silent, 'http.workers': 1})
    with Raw(d) as waiting, Raw(d) as idle:
        waiting.get(f'/peers/{ID}?wait=2s')
        assert idle.get('/livez').answer()[0] == 200
        wait_until(lambda: parked(d) == 1)
        d.kill(signal.SIGTERM)
        wait_until(lambda: d.top()['draining'])
        an_error(idle.get('/readyz').answer(), 503, 'draining')
        assert idle.closed()
        status, headers, _ = waiting.answer()
        assert (status, headers['connection']) == (200, 'close')
        assert waiting.closed()
    assert d.proc.wait(10) == 0


def test_health(daemon):
    d = daemon()
    wait_until(lambda: d.get('/health').json['libtorrent_available'])
    wait_until(lambda: d.get('/health').json['collector']['state'] == 'running')
    got = d.get('/health').json
    assert (got['status'], got['redis_available']) == ('healthy', False)
    assert got['collector']['epoch'] == 1
    assert [got['geo'][k] for k in ('city', 'asn', 'databases')] == [None, None, []]
    assert (got['workers'], got['generation'], got['redis_mode']) == (2, 1, 'off')
    assert d.get('/livez').json == {'status': 'alive'}
    assert d.get('/readyz').json == {'status': 'ready'}
    os.kill(d.collector(), signal.SIGKILL)
    wait_until(lambda: d.get('/health').json['collector']['epoch'] == 2)
    wait_until(lambda: d.get('/health').json['libtorrent_available'])

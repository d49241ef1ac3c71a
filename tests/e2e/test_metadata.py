"""The metadata API over the real binary: what is cached, as JSON and as .torrent files."""
import contextlib
import email.utils
import json
import os
import resource
import signal
import socket
import threading

import pytest

import metacache
from procs import BUILD_SLOW, fds, slow, wait_until

KEY = '94c2fd8fb9bc8f2fc71a2cbe9d4b866f227a0209'
BASE32 = 'STBP3D5ZXSHS7RY2FS7J2S4GN4RHUAQJ'
OTHER = '0123456789abcdef0123456789abcdef01234567'
API = '/api/v1/metadata'
TORRENT = b'd4:infod6:lengthi1e4:name1:a12:piece lengthi16384e6:pieces20:' + b'x' * 20 + b'ee'
CORS = {'Access-Control-Allow-Origin': '*',
        'Access-Control-Allow-Methods': 'GET, POST, OPTIONS',
        'Access-Control-Allow-Headers': 'Content-Type'}


@pytest.fixture
def cached(daemon, tmp_path):
    """A daemon with one torrent in its cache: cached({...}) -> daemon, its .cache."""
    def make(conf=None, files=3):
        d = daemon({'metadata.cache_dir': str(tmp_path), 'http.workers': 1,
                    'metadata.timeout': '300ms', **(conf or {})})
        d.cache = str(tmp_path)
        metacache.put(d.cache, KEY, metacache.described(KEY, files))
        return d
    return make


def post(d, body, headers=None):
    return d.request('POST', API, headers or {'Content-Type': 'application/json'}, body)


def fault(answer, status, code, error=None, message=None):
    assert answer.status == status, answer
    assert answer.headers['Content-Type'] == 'application/json'
    data = answer.json
    assert set(data) == {'error', 'message', 'code', 'request_id'}
    assert data['code'] == code
    assert error is None or data['error'] == error
    assert message is None or data['message'] == message
    return data


def with_cors(answer):
    return {k: answer.headers[k] for k in CORS} == CORS


# POST ---------------------------------------------------------------------

@pytest.mark.parametrize('magnet', [
    f'magnet:?xt=urn:btih:{KEY}', f'magnet:?dn=a&xt=urn:btih:{KEY.upper()}',
    f'magnet:?xt=urn:btih:{BASE32}', f'magnet:?xt=urn:btih:{BASE32.lower()}', KEY, BASE32])
def test_what_is_cached_is_answered(cached, magnet):
    d = cached()
    a = post(d, metacache.asking(magnet))
    assert a.status == 200 and with_cors(a)
    assert a.headers['Content-Type'] == 'application/json'
    want = json.loads(metacache.described(KEY, 3))
    assert a.json == {**want, 'source': 'disk'}
    assert 'ETag' not in a.headers


def test_trackers_are_those_of_the_question(cached):
    d = cached()
    link = f'magnet:?xt=urn:btih:{KEY}&tr=udp%3A%2F%2Fa%3A1&tr=http%3A%2F%2Fb%2Fpass%3Fx%3D1'
    assert post(d, metacache.asking(link)).json['trackers'] == ['udp://a:1',
                                                                'http://b/pass?x=1']
    assert 'trackers' not in post(d, metacache.asking(KEY)).json


def test_selection(cached):
    d = cached(files=6)
    for so, want in ('0', [0]), ('1-2,5', [1, 2, 5]), ('5,9', [5]):
        a = post(d, metacache.asking(f'magnet:?xt=urn:btih:{KEY}&so={so}'))
        assert metacache.selected(a.json) == want
    assert metacache.selected(post(d, metacache.asking(KEY)).json) == list(range(6))


def test_what_is_not_cached_says_so(cached):
    d = cached()
    a = post(d, metacache.asking(OTHER))
    fault(a, 504, 'timeout', 'Timeout', 'Timeout while retrieving metadata')
    assert with_cors(a)


def test_bad_questions(cached):
    d = cached()
    bad_json, missing = ('Invalid JSON', 'invalid_json'), ('Missing magnet URI', 'missing_magnet')
    invalid = ('Invalid magnet URI', 'invalid_magnet')
    for body, (error, code), message in (
            (b'', bad_json, 'EOF'), (b'{', bad_json, 'unexpected EOF'), (b'[1]', bad_json, None),
            (b'{"magnet_uri":5}', bad_json, None),
            (b'{}', missing, 'magnet_uri field is required'),
            (b'{"magnet_uri":"http://x/"}', invalid, None),
            (b'{"magnet_uri":"magnet:?xt=urn:btih:abc"}', invalid, None)):
        a = post(d, body)
        said = fault(a, 400, code, error, message)
        assert with_cors(a)
        if code == 'invalid_magnet':
            assert said['message'].startswith('failed to parse magnet URI: ')
    fault(post(d, b'<html>', {'Content-Type': 'text/html'}), 415, 'unsupported_media_type')
    for kind in 'text/plain', 'application/x-www-form-urlencoded', 'application/x-bittorrent':
        assert post(d, metacache.asking(KEY), {'Content-Type': kind}).status == 200


# What waits for the collector --------------------------------------------------

class Asker(threading.Thread):
    """One question that waits; .answer once it is over."""

    def __init__(self, d, magnet, query=''):
        super().__init__(daemon=True)
        self.d, self.magnet, self.query, self.answer = d, magnet, query, None
        self.start()

    def run(self):
        self.answer = self.d.request('POST', API + self.query, {},
                                     metacache.asking(self.magnet), timeout=60)

    def over(self):
        self.join(60 * slow())
        return self.answer


@pytest.fixture
def halted(cached):
    """A daemon whose collector stands still: what is asked waits."""
    d = cached({'metadata.timeout': '20s'})
    pid = d.collector()
    os.kill(pid, signal.SIGSTOP)
    yield d
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def parked(d, n):
    wait_until(lambda: metacache.parked(d) == n, 10, f'{n} questions wait')


def test_a_question_has_its_own_deadline(halted):
    a = Asker(halted, OTHER, '?timeout=100ms').over()
    fault(a, 504, 'timeout', 'Timeout', 'Timeout while retrieving metadata')
    fault(halted.request('POST', API + '?timeout=soon', {}, metacache.asking(OTHER)), 400,
          'bad_query')


def test_what_came_without_a_word_is_found_at_the_deadline(halted):
    """A collector that dies between writing and telling."""
    asker = Asker(halted, f'magnet:?xt=urn:btih:{OTHER}&so=1&tr=udp%3A%2F%2Fa%3A1', '?timeout=3s')
    parked(halted, 1)
    metacache.put(halted.cache, OTHER, metacache.described(OTHER, 3))
    a = asker.over()
    assert a.status == 200 and metacache.selected(a.json) == [1]
    assert a.json['trackers'] == ['udp://a:1']


def test_who_leaves_frees_his_place(halted):
    body = metacache.asking(OTHER).encode()
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            s = stack.enter_context(socket.create_connection((halted.host, halted.port)))
            s.sendall(b'POST ' + API.encode() + b' HTTP/1.1\r\nHost: a\r\nContent-Length: ' +
                      str(len(body)).encode() + b'\r\n\r\n' + body)
        parked(halted, 5)
    parked(halted, 0)


# Uploads ---------------------------------------------------------------------

def up(d):
    return os.path.join(d.run_dir, 'up')


def upload(d, body, kind='application/x-bittorrent', query=''):
    return d.request('POST', API + query, {'Content-Type': kind} if kind else {}, body)


class Uploader(Asker):
    def run(self):
        self.answer = upload(self.d, self.magnet, query=self.query)


def test_an_upload_is_handed_over_as_a_file_of_ours(halted):
    """And is gone with its question, whether the collector took it or not."""
    os.makedirs(up(halted), mode=0o700, exist_ok=True)
    body = b'd4:info' + os.urandom(9 << 20)
    asker = Uploader(halted, body, '?timeout=3s')
    parked(halted, 1)
    [name] = os.listdir(up(halted))
    path = os.path.join(up(halted), name)
    assert os.stat(path).st_mode & 0o777 == 0o600 and len(name) == 32
    with open(path, 'rb') as f:
        assert f.read() == body
    fault(asker.over(), 504, 'timeout')
    assert os.listdir(up(halted)) == []
    with socket.create_connection((halted.host, halted.port)) as s:
        s.sendall(b'POST ' + API.encode() + b' HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n'
                  b'\r\nd1:')
        parked(halted, 1)
        assert len(os.listdir(up(halted))) == 1
    parked(halted, 0)
    assert os.listdir(up(halted)) == []


def begun(d, length, body, kind=None):
    """The answer to a POST of which only this part comes."""
    line = f'Content-Type: {kind}\r\n' if kind else ''
    with socket.create_connection((d.host, d.port), 20 * slow()) as s:
        s.sendall(f'POST {API} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{line}\r\n'
                  .encode() + body)
        got = b''
        while more := s.recv(65536):
            got += more
            head, _, rest = got.partition(b'\r\n\r\n')
            if rest.endswith(b'}'):
                break
    return int(head.split()[1]), head.lower(), json.loads(rest)


def test_uploads_are_bounded(cached):
    d = cached({'http.max_uploads': '1m'})
    for length, body, kind in ((10485761, b'', 'application/x-bittorrent'), (10485761, b'', None),
                               (70000, b'{', 'application/json'), (70000, b'{', None)):
        status, head, said = begun(d, length, body, kind)
        assert (status, said['code']) == (413, 'body_too_large')
        assert b'access-control-allow-origin: *' in head
    status, head, said = begun(d, 2 << 20, b'd' * ((1 << 20) + 70000))
    assert (status, said['code']) == (503, 'busy') and b'retry-after' in head
    assert b'access-control-allow-origin: *' in head
    assert d.top()['counters']['http_uploads_full'] == 1


# GET ----------------------------------------------------------------------

def test_reading_by_hash(cached):
    d = cached()
    plain = d.get(f'{API}/{KEY}')
    assert plain.status == 200 and with_cors(plain)
    assert plain.json == {**json.loads(metacache.described(KEY, 3)), 'source': 'disk'}
    for spelling in KEY.upper(), BASE32, BASE32.lower():
        assert d.get(f'{API}/{spelling}').body == plain.body
    fault(d.get(f'{API}/{OTHER}'), 404, 'not_cached')
    fault(d.get(f'{API}/xyz'), 400, 'invalid_hash', 'Invalid info hash',
          'Info hash must be 40 characters')
    fault(d.get(f'{API}/{"z" * 40}'), 400, 'invalid_hash', 'Invalid info hash')


def test_conditions(cached):
    d = cached()
    a = d.get(f'{API}/{KEY}')
    etag, date = a.headers['ETag'], a.headers['Last-Modified']
    mtime = int(os.stat(metacache.path_of(d.cache, KEY)).st_mtime)
    assert email.utils.parsedate_to_datetime(date).timestamp() == mtime
    later = email.utils.formatdate(mtime + 5, usegmt=True)
    earlier = email.utils.formatdate(mtime - 1, usegmt=True)
    for headers, status in (({'If-None-Match': etag}, 304), ({'If-None-Match': 'W/' + etag}, 304),
                            ({'If-None-Match': '"x"'}, 200), ({'If-Modified-Since': date}, 304),
                            ({'If-Modified-Since': later}, 304),
                            ({'If-Modified-Since': earlier}, 200),
                            ({'If-Modified-Since': 'yesterday'}, 200),
                            ({'If-None-Match': '"x"', 'If-Modified-Since': date}, 200)):
        b = d.get(f'{API}/{KEY}', headers)
        assert (b.status, b.headers['ETag']) == (status, etag), headers
        assert b.body == (b'' if status == 304 else a.body)
    metacache.put(d.cache, KEY, metacache.described(KEY, 4))
    b = d.get(f'{API}/{KEY}', {'If-None-Match': etag})
    assert b.status == 200 and b.headers['ETag'] != etag and len(b.json['files']) == 4


def test_head(cached):
    d = cached({'metadata.downloads': 'on'})
    metacache.put(d.cache, KEY, TORRENT, 'torrent')
    for path in f'{API}/{KEY}', f'/download/{KEY}', '/api/v1/health':
        get, head = d.get(path), d.request('HEAD', path)
        assert (head.status, head.body) == (200, b'')
        for name in 'Content-Length', 'Content-Type':
            if path != '/api/v1/health' or name != 'Content-Length':
                assert head.headers[name] == get.headers[name]


def test_methods(cached):
    d = cached()
    for path, allow in ((API, 'POST, OPTIONS'), (f'{API}/{KEY}', 'GET, HEAD, OPTIONS'),
                        ('/api/v1/health', 'GET, HEAD, OPTIONS'),
                        (f'/download/{KEY}', 'GET, HEAD, OPTIONS')):
        a = d.request('OPTIONS', path)
        assert (a.status, a.body, a.headers['Allow']) == (200, b'', allow)
        assert a.headers['Content-Length'] == '0' and with_cors(a)
        a = d.request('DELETE', path)
        assert a.headers['Allow'] == allow
        fault(a, 405, 'method_not_allowed')
    assert d.request('OPTIONS', '/health').headers['Access-Control-Allow-Origin'] is None


def test_a_hybrid_has_two_names(cached):
    d = cached()
    v2 = OTHER + '89abcdef0123456789abcdef'
    path = metacache.put(d.cache, KEY, metacache.described(KEY), other=OTHER)
    second = metacache.path_of(d.cache, OTHER)
    os.makedirs(os.path.dirname(second), exist_ok=True)
    os.link(path, second)
    want = d.get(f'{API}/{KEY}').json
    for name in OTHER, v2:
        assert d.get(f'{API}/{name}').json == want
    assert post(d, metacache.asking(f'magnet:?xt=urn:btmh:1220{v2}')).json == want


# .torrent files --------------------------------------------------------------

def test_download(cached):
    d = cached({'metadata.downloads': 'on', 'metadata.base_url': 'https://example.org/p/'})
    assert 'download_url' not in d.get(f'{API}/{KEY}').json      # there is none
    metacache.put(d.cache, KEY, TORRENT, 'torrent')
    url = f'https://example.org/p/download/{KEY}'
    assert d.get(f'{API}/{KEY}').json['download_url'] == url
    assert post(d, metacache.asking(KEY)).json['download_url'] == url
    a = d.get(f'/download/{KEY.upper()}')
    assert (a.status, a.body) == (200, TORRENT)
    assert a.headers['Content-Type'] == 'application/x-bittorrent'
    assert a.headers['Content-Disposition'] == f'attachment; filename="{KEY}.torrent"'
    again = d.get(f'/download/{KEY}', {'If-None-Match': a.headers['ETag']})
    assert (again.status, again.body) == (304, b'')
    fault(d.get(f'/download/{OTHER}'), 404, 'not_cached', 'Torrent file not found',
          'Torrent file not available in cache')
    fault(d.get('/download/abc'), 400, 'invalid_hash', 'Invalid info hash',
          'Info hash must be 40 characters')


def test_downloads_are_off_unless_asked_for(cached):
    d = cached()
    metacache.put(d.cache, KEY, TORRENT, 'torrent')
    fault(d.get(f'/download/{KEY}'), 404, 'downloads_disabled')
    assert 'download_url' not in d.get(f'{API}/{KEY}').json


# Damage ---------------------------------------------------------------------

def flip(at):
    return lambda whole: whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:]


@pytest.mark.parametrize('damage', [
    flip(5), flip(30), flip(metacache.HEAD - 3), flip(metacache.HEAD + 40), flip(-1 % 500),
    lambda whole: whole[:-1], lambda whole: whole + b'x', lambda whole: b'',
    lambda whole: bytes(len(whole)), lambda whole: whole[:100]],
    ids='magic key digest content tail cut longer empty zeros head'.split())
def test_damage_is_never_served(cached, damage):
    d = cached({'metadata.downloads': 'on'})
    metacache.put(d.cache, OTHER, metacache.described(OTHER, 5), damage=damage)
    metacache.put(d.cache, OTHER, TORRENT * 9, 'torrent', damage=damage)
    fault(d.get(f'{API}/{OTHER}'), 404, 'not_cached')
    fault(d.get(f'/download/{OTHER}'), 404, 'not_cached')
    assert post(d, metacache.asking(OTHER)).status == 504
    # Once or more: the collector removes what it is told of.
    assert d.top()['counters']['meta_damaged'] >= 1
    wait_until(lambda: not any(metacache.lies(d.cache, OTHER)), what='damage is removed')
    assert d.get(f'{API}/{KEY}').status == 200


def test_what_is_put_under_another_name_is_not_it(cached):
    d = cached()
    second = metacache.path_of(d.cache, OTHER)
    os.makedirs(os.path.dirname(second))
    os.link(metacache.path_of(d.cache, KEY), second)
    fault(d.get(f'{API}/{OTHER}'), 404, 'not_cached')


# What is large --------------------------------------------------------------

def memory_kb(pid):
    with open(f'/proc/{pid}/smaps_rollup', encoding='ascii') as f:
        return int(next(line for line in f if line.startswith('Rss:')).split()[1])


def test_fifty_thousand_files_in_constant_memory(cached):
    d = cached(files=50000)
    pid = d.roles()['worker'][0]
    assert d.get('/livez').status == 200
    before = memory_kb(pid)
    whole = metacache.described(KEY, 50000)
    with contextlib.ExitStack() as stack:
        for _ in range(8):      # who take the beginning, and wait with the rest
            s = stack.enter_context(socket.create_connection((d.host, d.port), 10 * slow()))
            s.sendall(f'GET {API}/{KEY} HTTP/1.1\r\nHost: a\r\n\r\n'.encode())
            assert s.recv(15) == b'HTTP/1.1 200 OK'
        a = d.get(f'{API}/{KEY}')
        assert a.body.endswith(whole[1:]) and len(a.json['files']) == 50000
        grown = memory_kb(pid) - before
    assert grown < 1024, f'{grown} KiB for 9 times {len(whole) >> 10} KiB'
    a = post(d, metacache.asking(f'magnet:?xt=urn:btih:{KEY}&so=7,40000-49999'))
    assert metacache.selected(a.json) == [7, *range(40000, 50000)]


def test_more_than_can_be_looked_through_at_once(cached):
    d = cached(files=50000)
    ask = f'HEAD {API}/{KEY} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'.encode()
    pid = d.roles()['worker'][0]
    with contextlib.ExitStack() as stack:
        os.kill(pid, signal.SIGSTOP)
        socks = [stack.enter_context(socket.create_connection((d.host, d.port), 30 * slow()))
                 for _ in range(400)]
        for s in socks:
            s.sendall(ask)
        os.kill(pid, signal.SIGCONT)
        said = [s.recv(12) for s in socks]
    assert set(said) == {b'HTTP/1.1 200', b'HTTP/1.1 503'}
    assert d.top()['counters']['meta_looks_full'] == said.count(b'HTTP/1.1 503')
    assert said.count(b'HTTP/1.1 200') >= 232


def test_damage_at_the_end_of_what_is_large(cached):
    d = cached()
    metacache.put(d.cache, OTHER, metacache.described(OTHER, 50000),
                  damage=lambda whole: whole[:-9] + b'?' + whole[-8:])
    fault(d.get(f'{API}/{OTHER}'), 404, 'not_cached')
    assert post(d, metacache.asking(OTHER)).status == 504


def test_a_slow_reader_gets_all_of_it_and_hinders_nobody(cached):
    d = cached(files=50000)
    whole = d.get(f'{API}/{KEY}').body
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(30 * slow())
        s.connect((d.host, d.port))
        s.sendall(f'GET {API}/{KEY} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'.encode())
        got = s.recv(1000)
        for _ in range(20):
            assert d.get('/livez').status == 200
        while more := s.recv(65536):
            got += more
    assert got.partition(b'\r\n\r\n')[2] == whole


def test_clients_that_leave_leave_nothing_behind(cached):
    """In the middle of the looking through, and of the sending."""
    d = cached()
    ask = b'GET ' + f'{API}/{OTHER}'.encode() + b' HTTP/1.1\r\nHost: a\r\n\r\n'
    for _ in range(20):
        metacache.put(d.cache, OTHER, metacache.described(OTHER, 50000))
        for take in 0, 5000:
            with socket.create_connection((d.host, d.port), 10 * slow()) as s:
                s.sendall(ask)
                with contextlib.suppress(ConnectionError):
                    assert take == 0 or s.recv(take)
    metacache.put(d.cache, OTHER, metacache.described(OTHER, 10))
    assert len(d.get(f'{API}/{OTHER}').json['files']) == 10
    pid = d.roles()['worker'][0]
    wait_until(lambda: not [path for path in fds(pid).values() if d.cache in path],
               what='no file of the cache is open')


@pytest.mark.skipif(BUILD_SLOW != 1, reason='a sanitizer ends a process that has no memory')
def test_no_memory_for_a_copy_is_said_so(cached):
    d = cached(files=50000)
    pid, = d.roles()['worker']
    question = metacache.asking(f'magnet:?xt=urn:btih:{KEY}&so=7')
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    with open(f'/proc/{pid}/statm', encoding='ascii') as f:
        now = int(f.read().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (now + (1 << 20), before[1]))
    fault(post(d, question), 503, 'no_memory')
    resource.prlimit(pid, resource.RLIMIT_AS, before)
    assert metacache.selected(post(d, question).json) == [7]
    assert d.top()['counters']['http_sending_full'] == 0


def test_connections_count_with_the_files_that_they_are_sent(cached):
    """Where descriptors are few, there are enough for both: nobody is met by a lack of them."""
    d = cached(files=50000)
    old = d.roles()['worker']
    resource.prlimit(d.pid, resource.RLIMIT_NOFILE, (621, 621))
    d.kill(signal.SIGHUP)               # the new worker has it from the master
    wait_until(lambda: d.log_lines('http.max_connections is 50 here'), what='so many fit')
    wait_until(lambda: not set(old) & set(d.roles()['worker']), what='the old one left')
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            s = stack.enter_context(socket.create_connection((d.host, d.port), 10 * slow()))
            s.sendall(f'GET {API}/{KEY} HTTP/1.1\r\nHost: a\r\n\r\n'.encode())
            assert s.recv(15) == b'HTTP/1.1 200 OK'
        pid, = d.roles()['worker']
        assert len([path for path in fds(pid).values() if d.cache in path]) == 50
        a = d.get('/livez')
        assert a.status == 503 and a.json['code'] == 'too_many_connections', a


# Health ---------------------------------------------------------------------

def test_health(cached):
    d = cached({'metadata.downloads': 'on'})
    a = d.get('/api/v1/health')
    assert a.status == 200 and with_cors(a)
    h = a.json
    assert h['status'] == 'ok' and h['degraded'] == []
    assert isinstance(h['stats']['active_torrents'], int)
    assert isinstance(h['stats']['active_locks'], int)
    assert h['cache_dir'] == d.cache and h['downloads_enabled'] is True
    assert h['seeding_enabled'] is True and h['collector'] == 'running'

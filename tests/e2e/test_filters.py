"""The questions of GET /peers/{id} beside limit and wait: filters, order, form, summary."""
import collections
import concurrent.futures
import csv
import functools
import io
import ipaddress
import json
import os
import socket
import subprocess
import time

import pytest

from daemon import BIN
from procs import own_kb, slow, wait_until

ID, BIG = 'f1' * 20, 'f4' * 20
FIELDS = ['ip', 'port', 'client', 'progress', 'download_rate', 'upload_rate', 'country',
          'country_code', 'city', 'isp', 'region', 'latitude', 'longitude', 'timezone', 'flags',
          'state', 'sources', 'protocol', 'first_seen', 'last_seen', 'asn', 'geo_source',
          'accuracy_radius_km']
ACE = ['version', 'platform', 'role', 'kind', 'head', 'position', 'lag', 'lag_seconds',
       'distance', 'accessible', 'country', 'asn', 'key', 'gossiped', 'told_at']
COLUMNS = FIELDS + [f'ace_{f}' for f in ACE]
LISTS = ['country', 'isp', 'client', 'source', 'state', 'protocol']
UNKNOWN = 'Unknown'


@pytest.fixture(scope='module')
def known(module_stage, net, mmdb):
    """A daemon that knows a settled swarm on five blocks of addresses with places."""
    import parts
    from daemon import Daemon
    t = parts.Tracker(module_stage)
    made = []
    for block, name in enumerate(['qBittorrent 4.{i}', 'Transmission 3.0', 'µTorrent {i}',
                                  'Дельта {i}', 'aria2, "1.{i}"']):
        spec = [{'count': 3 + block, 'name': name, 'progress': 'mixed'},
                {'count': 2, 'behaviour': 'dead'}]
        made.append(parts.Swarm(module_stage, spec, base=net.in_block(block),
                                infohashes=[ID]))
    t.set(ID, peers=[e for s in made for e in s.endpoints()])
    d = Daemon(module_stage, {
        'swarm.trackers': t.udp, 'swarm.discovery_wait': '10s', 'cache.ttl': '10m',
        'swarm.linger': '1h', 'geo.city_db': mmdb / 'city.mmdb',
        'geo.asn_db': mmdb / 'asn.mmdb'})
    want = sum(len(s.peers) for s in made)

    def still():
        a = d.peers(ID, limit=2000)
        states = collections.Counter(p['state'] for p in a['peers'])
        return (a['phase'] == 'settled' and states['connected'] == want - 10
                and states['tried'] == 10 and all(
                    p['client'] != UNKNOWN for p in a['peers'] if p['state'] == 'connected')
                and a)
    answer = wait_until(still, 30, 'everybody was asked')
    assert answer['total_peers'] == want == 35
    return d


def ask(d, query, headers=None, infohash=ID):
    a = d.get(f'/peers/{infohash}?{query}', headers)
    assert a.status == 200, (query, a)
    return a


def of_one_version(test):
    """The test gets (daemon, its peers now), and is run again if it failed while the list got
    another version: rates move, and a swarm is looked for again now and then."""
    @functools.wraps(test)
    def run(known, **given):
        for _ in range(20):
            now = ask(known, 'limit=2000')
            try:
                return test((known, now.json['peers']), **given)
            except AssertionError as e:
                if ask(known, 'limit=2000').headers['ETag'] == now.headers['ETag']:
                    raise
                failed = e
        raise AssertionError('twenty versions in a row') from failed
    return run


def addresses(peers):
    return [(p['ip'], int(p['port'])) for p in peers]


# Filters -----------------------------------------------------------------------------
FILTERS = [
    ('country=de', lambda p: p['country_code'] == 'DE'),
    ('country=GERMANY', lambda p: p['country_code'] == 'DE'),
    ('country=us,jp', lambda p: p['country_code'] in ('US', 'JP')),
    ('country=united%20states%2CJapan', lambda p: p['country_code'] in ('US', 'JP')),
    ('country=United+States&country=jp', lambda p: p['country_code'] in ('US', 'JP')),
    ('country=unknown', lambda p: p['country'] == UNKNOWN),
    ('country=%3F%3f', lambda p: p['country_code'] == '??'),
    ('country=United', lambda p: False),
    ('isp=example', lambda p: p['isp'] == 'Example ISP'),
    ('isp=NETZ,number', lambda p: p['isp'] in ('Beispiel Netz GmbH', 'Only A Number')),
    ('client=BITTORRENT', lambda p: 'bittorrent' in p['client'].lower()),
    ('client=%C2%B5torrent', lambda p: p['client'].startswith('µTorrent')),
    ('client=%D0%B4%D0%95%D0%9B%D0%AC%D0%A2%D0%B0', lambda p: 'Дельта' in p['client']),
    ('client=%221.', lambda p: p['client'].startswith('aria2')),
    ('client=unknown', lambda p: p['client'] == UNKNOWN),
    ('state=tried', lambda p: p['state'] == 'tried'),
    ('state=TRIED,known', lambda p: p['state'] in ('tried', 'known')),
    ('source=tracker', lambda p: 'tracker' in p['sources']),
    ('source=dht,lsd', lambda p: 'dht' in p['sources'] or 'lsd' in p['sources']),
    ('protocol=bittorrent', lambda p: p['protocol'] == 'bittorrent'),
    ('protocol=acestream', lambda p: p['protocol'] == 'acestream'),
    ('country=de,us&state=connected&client=qbit,trans&isp=b',
     lambda p: p['country_code'] == 'DE' and p['state'] == 'connected'),
    ('country=de&client=qbit', lambda p: False),
]


@pytest.mark.parametrize('query,passes', FILTERS, ids=[q for q, _ in FILTERS])
@of_one_version
def test_a_filter_lets_through_what_it_says(known, query, passes):
    d, peers = known
    want = addresses(filter(passes, peers))
    a = ask(d, query + '&limit=2000').json
    assert addresses(a['peers']) == want
    assert a['peer_count'] == a['matched'] == len(want) and a['total_peers'] == len(peers)
    assert (a['error'] is None) == bool(want)
    few = ask(d, query + '&limit=2').json
    assert addresses(few['peers']) == want[:2] and few['matched'] == len(want)


@of_one_version
def test_the_plain_question_says_no_matched(known):
    d, peers = known
    for query in '', 'sort=ip', 'limit=3', 'nonsense=1&countries=DE&Sort=x':
        a = ask(d, query).json
        assert 'matched' not in a and 'summary' not in a and a['total_peers'] == len(peers)


# Order -------------------------------------------------------------------------------
STATES = ['connected', 'contacted', 'tried', 'known']
KEYS = {
    'state': lambda p: STATES.index(p['state']),
    'progress': lambda p: p['progress'],
    'down': lambda p: p['download_rate'],
    'up': lambda p: p['upload_rate'],
    'country': lambda p: p['country'].lower(),
    'city': lambda p: p['city'].lower(),
    'isp': lambda p: p['isp'].lower(),
    'client': lambda p: p['client'].lower(),
    'ip': lambda p: (ipaddress.ip_address(p['ip']), p['port']),
    'first_seen': lambda p: p['first_seen'],
    'last_seen': lambda p: p['last_seen'],
    'lag': lambda p: 'unknown',                 # nobody here speaks AceStream
}


def in_order(peers, sort):
    """Stable, least key first; what is unknown stands last either way."""
    out = list(peers)
    for name in reversed(sort.split(',')):
        key, down = KEYS[name.lstrip('-')], name.startswith('-')
        out.sort(key=key, reverse=down)
        out.sort(key=lambda p, key=key: key(p) == 'unknown')
    return out


@pytest.mark.parametrize('sort', [s + k for k in KEYS for s in ('', '-')] + [
    'country,-city,ip', 'state,-progress,client', '-country,isp,-ip', 'city,city,city'])
@of_one_version
def test_an_order_is_what_it_says(known, sort):
    d, peers = known
    got = ask(d, f'sort={sort}&limit=2000').json['peers']
    # the machine adds nothing to the table's order for what is alike
    assert addresses(got) == addresses(in_order(peers, sort))
    assert sorted(addresses(got)) == sorted(addresses(peers))


@of_one_version
def test_filter_order_and_limit_work_together(known):
    d, peers = known
    want = [p for p in in_order(peers, '-progress,-ip') if p['country_code'] == 'DE']
    a = ask(d, 'country=de&sort=-progress,-ip&limit=3').json
    assert addresses(a['peers']) == addresses(want)[:3]
    assert (a['peer_count'], a['matched']) == (3, len(want))


# Wrong values ------------------------------------------------------------------------
@pytest.mark.parametrize('query,names', [
    ('country=', 'ISO codes'), ('country=DE,', 'ISO codes'), ('country=' + 'x' * 65, '64'),
    ('isp=%ff', 'UTF-8'), ('isp=' + ','.join('a' * 49), '48'), ('isp=' + 'a' * 2000, '64'),
    ('client=%', 'percent'), ('client', 'client'), ('state=up', 'contacted'),
    ('source=web', 'incoming'), ('protocol=http', 'acestream'), ('sort=size', 'first_seen'),
    ('sort=ip,ip,ip,ip', '3'), ('format=xml', 'ndjson'), ('summary=2', '1 or 0'),
    ('summary=1&format=csv', 'format'), ('limit=0', '2000'), ('limit=2001', '2000')])
@of_one_version
def test_a_wrong_value_is_400_and_names_the_right_ones(known, query, names):
    d, _ = known
    a = d.get(f'/peers/{ID}?{query}&format=csv' if 'format' not in query
              else f'/peers/{ID}?{query}')
    assert a.status == 400 and a.json['error'] == 'bad_query', a
    assert names in a.json['message'] and a.json['message'].endswith('.')
    assert a.headers['Content-Type'] == 'application/json'
    assert len(a.body) < 600


# Summary -----------------------------------------------------------------------------
def check_sums(answer, matched):
    """Each list adds up to what matched; a peer counts once for each of its sources."""
    s = answer['summary']
    assert s['peers'] == matched
    for name in LISTS:
        counts = [e['count'] for e in s[name]['list']]
        assert counts == sorted(counts, reverse=True) and all(counts)
        assert len(counts) == min(100, s[name]['distinct'])
        assert (s[name]['other'] > 0) == (s[name]['distinct'] > 100)
        total = sum(counts) + s[name]['other']
        assert total == matched if name != 'source' else matched <= total <= 5 * matched
    return s


def count(peers, field):
    return dict(collections.Counter(p[field] for p in peers))


@of_one_version
def test_a_summary_adds_up(known):
    d, peers = known
    a = ask(d, 'summary=1&limit=2000').json
    assert addresses(a['peers']) == addresses(peers) and 'matched' not in a
    s = check_sums(a, len(peers))
    for name, field in ('isp', 'isp'), ('client', 'client'), ('state', 'state'):
        assert {e['name']: e['count'] for e in s[name]['list']} == count(peers, field)
    assert {e['code']: e['count'] for e in s['country']['list']} == count(peers, 'country_code')
    assert {e['code']: e['name'] for e in s['country']['list']} == {
        p['country_code']: p['country'] for p in peers}
    assert s['source']['list'] == [{'name': 'tracker', 'count': len(peers)}]
    assert s['protocol']['list'] == [{'name': 'bittorrent', 'count': len(peers)}]


@of_one_version
def test_a_summary_of_a_filter_and_without_a_list(known):
    d, peers = known
    want = [p for p in peers if p['country_code'] in ('DE', 'JP')]
    a = ask(d, 'summary=1&limit=0&country=jp,de').json
    assert a['peers'] == [] and a['peer_count'] == 0 and a['error'] is None
    assert a['matched'] == len(want)
    s = check_sums(a, len(want))
    assert {e['name']: e['count'] for e in s['client']['list']} == count(want, 'client')
    none = ask(d, 'summary=1&isp=nobody').json
    assert check_sums(none, 0)['client']['list'] == [] and 'filters' in none['error']


# CSV and NDJSON ----------------------------------------------------------------------
def rows_of(answer):
    text = answer.body.decode('utf-8', 'strict')
    assert text.endswith('\r\n') and '\n' not in text.replace('\r\n', '')
    rows = list(csv.reader(io.StringIO(text, newline=''), strict=True))
    assert rows[0] == COLUMNS
    return [dict(zip(COLUMNS, r, strict=True)) for r in rows[1:]]


def as_cell(field, value):
    if field == 'sources':
        return ' '.join(value)
    if isinstance(value, str) and value[:1] in ('=', '+', '-', '@', '\t', '\r'):
        return "'" + value
    return '' if value is None else value if isinstance(value, str) else json.dumps(value)


@of_one_version
def test_csv_and_ndjson_say_what_json_says(known):
    d, peers = known
    query = 'sort=-ip&country=de,us,jp&limit=9&format='
    plain, table, lines = (ask(d, query + f) for f in ('json', 'csv', 'ndjson'))
    want = plain.json['peers']
    assert len(want) == 9
    assert table.headers['Content-Type'] == 'text/csv; charset=utf-8; header=present'
    assert rows_of(table) == [{f: as_cell(f, p.get(f)) for f in COLUMNS} for p in want]
    assert lines.headers['Content-Type'] == 'application/x-ndjson'
    assert [json.loads(x) for x in lines.body.split(b'\n')[:-1]] == want
    for a in table, lines:
        assert a.body[-1:] == b'\n' and int(a.headers['Content-Length']) == len(a.body)
        assert a.headers['X-Peerscope-Phase'] == 'settled'
        assert int(a.headers['X-Peerscope-Total']) == len(peers)
        assert int(a.headers['X-Peerscope-Matched']) == plain.json['matched']
        assert a.headers['X-Peerscope-Error'] is None
        for name in 'Age', 'Cache-Control', 'ETag':
            assert a.headers[name]
    assert plain.headers['X-Peerscope-Total'] is None
    head = d.request('HEAD', f'/peers/{ID}?{query}csv')
    assert head.status == 200 and head.body == b''
    assert head.headers['Content-Length'] == table.headers['Content-Length']
    assert head.headers['Content-Type'] == table.headers['Content-Type']


@of_one_version
def test_an_empty_list_as_lines(known):
    d, peers = known
    for form, body in ('csv', (','.join(COLUMNS) + '\r\n').encode()), ('ndjson', b''):
        a = ask(d, f'format={form}&country=zz')
        assert a.body == body and a.headers['Content-Length'] == str(len(body))
        assert a.headers['X-Peerscope-Matched'] == '0' and a.headers['ETag']
        assert 'filters' in a.headers['X-Peerscope-Error']
        new = ask(d, f'format={form}&wait=0', infohash='f2' * 20)      # nothing is known yet
        assert new.body == body and new.headers['X-Peerscope-Total'] == '0'
        assert new.headers['X-Peerscope-Phase'] == 'joining'
        assert new.headers['X-Peerscope-Error']
    s = ask(d, 'summary=1&country=de&wait=0', infohash='f3' * 20).json
    assert check_sums(s, 0) and s['matched'] == s['total_peers'] == 0 and s['error']


@of_one_version
def test_lines_keep_a_connection(known):
    """A body without a byte must not leave the next answer out of step."""
    d, _ = known
    with socket.create_connection((d.host, d.port), 10 * slow()) as c:
        f = c.makefile('rb')
        for query, status in (('format=ndjson&country=zz', b'200'), ('limit=1', b'200'),
                              ('format=csv&limit=1', b'200'), ('format=xml', b'400')):
            c.sendall(f'GET /peers/{ID}?{query} HTTP/1.1\r\nHost: x\r\n\r\n'.encode())
            assert f.readline().split()[1] == status
            head = {}
            while (line := f.readline().strip()):
                name, _, value = line.partition(b':')
                head[name.lower()] = value.strip()
            f.read(int(head[b'content-length']))


# ETag --------------------------------------------------------------------------------
@of_one_version
def test_each_question_has_an_etag_of_its_own(known):
    d, _ = known
    queries = ['', 'limit=2', 'country=de', 'country=us', 'isp=de', 'client=de', 'sort=ip',
               'sort=-ip', 'format=csv', 'format=ndjson', 'summary=1', 'country=de&sort=ip',
               'country=de&limit=2', 'state=tried', 'source=tracker', 'protocol=bittorrent']
    tags = {q: ask(d, q).headers['ETag'] for q in queries}
    assert len(set(tags.values())) == len(queries)
    for q, tag in tags.items():
        a = d.get(f'/peers/{ID}?{q}', {'If-None-Match': tag})
        assert a.status == 304 and a.body == b'' and a.headers['ETag'] == tag and a.headers['Age']
        other = tags[queries[queries.index(q) - 1]]
        assert d.get(f'/peers/{ID}?{q}', {'If-None-Match': other}).status == 200
    # spellings of one question are one, in each worker
    same = {ask(d, q).headers['ETag'] for q in ['country=DE,US', 'country=de%2Cus',
                                                'x=1&country=de&country=uS'] for _ in range(8)}
    assert len(same) == 1


# Hostile names -----------------------------------------------------------------------
def test_hostile_names_in_every_form(daemon, swarm, tracker):
    names = [b'=HYPERLINK("http://evil.example","click")', b'+1+1', b'-2+3', b'@SUM(A1)',
             b'\t=1+1', b'\r=1', b'a"b,c\r\nd;e', b'\xff\xfe=\xc0\x80', b'"', b"'quoted'",
             '\u202e=gpj.exe'.encode(), b'\x1b[2J', b' lead', b'{"a":1}\n{"b":2}',
             'Ünïcödé, "1"'.encode(), b'=' * 300]
    s, t = swarm([{'name_hex': n.hex()} for n in names]), tracker()
    t.set(s.infohash, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.udp, 'swarm.discovery_wait': '10s'})
    d.until_peers(s.infohash, lambda g: len(g) == len(names) and all(
        p['client'] != UNKNOWN for p in g.values()))
    h = s.infohash

    def one_version():
        peers, rows, lines, again = (ask(d, q, infohash=h) for q in (
            '', 'format=csv', 'format=ndjson', ''))
        return peers.json['peers'] == again.json['peers'] and (peers, rows, lines)
    peers, rows, lines = wait_until(one_version, what='they are of one moment')
    peers = {p['ip']: p for p in peers.json['peers']}
    table = {r['ip']: r for r in rows_of(rows)}
    lines = lines.body.split(b'\n')[:-1]
    assert len(peers) == len(table) == len(lines) == len(names)
    for ip, p in peers.items():
        assert table[ip]['client'] == as_cell('client', p['client'])
        assert table[ip]['client'][0] not in '=+-@\t\r'
        assert p in [json.loads(x) for x in lines]
        # found again by what is shown, whatever it is
        part = p['client'].split(',')[0].strip()[:20]
        quoted = ''.join(f'%{b:02x}' for b in part.encode())
        assert ip in [x['ip'] for x in
                      ask(d, f'client={quoted}', infohash=h).json['peers']]
    check_sums(ask(d, 'summary=1', infohash=h).json, len(names))
    shown = subprocess.run([BIN, 'peers', h, '--url', d.url, '--summary'], check=True,
                           capture_output=True, timeout=30).stdout.decode('utf-8', 'strict')
    assert not any((c < ' ' and c != '\n') or c == '\x7f' for c in shown)


# 2,000 peers -------------------------------------------------------------------------
@pytest.fixture
def two_thousand(daemon, swarm, tracker, net, mmdb):
    """250 in each of five blocks, 750 without a place; 250 of them speak."""
    def make(conf=None):
        t = tracker()
        live = swarm([{'count': 250, 'name': 'Client No {i}'}], base=net.in_block(1),
                     infohashes=[BIG], port=6882)       # `known` lives there too, on 6881
        # the scripted peers hold 127.1.x.1 to .250; the others are addresses alone
        far = ipaddress.ip_address(net.take(750))
        silent = [[str(ipaddress.ip_address(net.in_block(b)) + i), 6883]
                  for b in (0, 2, 3, 4) for i in range(250)]
        silent += [[str(far + i), 6883] for i in range(750)]
        t.set(BIG, peers=live.endpoints() + silent)
        d = daemon({'swarm.trackers': t.http, 'swarm.discovery_wait': '10s',
                    'swarm.connection_speed': '2000', 'swarm.peer_expiry': '1h',
                    'cache.ttl': '10m', 'http.workers': 1, 'geo.city_db': mmdb / 'city.mmdb',
                    'geo.asn_db': mmdb / 'asn.mmdb', **(conf or {})})

        def ready():
            a = d.peers(BIG, limit=2000)
            named = sum(p['client'].startswith('Client No') for p in a['peers'])
            return a['total_peers'] == 2000 and named == 250 and a
        wait_until(ready, 60, 'all 2,000 are known')
        return d
    return make


def test_the_whole_slot_is_looked_at(two_thousand):
    d = two_thousand()
    a = ask(d, 'summary=1&limit=0', infohash=BIG).json
    s = check_sums(a, 2000)
    assert a['total_peers'] == 2000
    by_code = {e['code']: e['count'] for e in s['country']['list']}
    assert by_code == {'US': 250, 'DE': 250, 'JP': 250, '??': 1250}
    assert s['client']['distinct'] == 251 and s['client']['other'] == 151
    assert s['client']['list'][0] == {'name': UNKNOWN, 'count': 1750}
    last = ask(d, 'country=jp&sort=-ip&limit=1', infohash=BIG).json       # deep in the slot
    assert last['matched'] == 250 and last['peers'][0]['ip'].endswith('.250')
    one = ask(d, 'client=no%20249', infohash=BIG).json
    assert one['matched'] == one['peer_count'] == 1
    everybody = rows_of(ask(d, 'format=csv&limit=2000&sort=client,isp,city', infohash=BIG))
    assert len({(r['ip'], r['port']) for r in everybody}) == 2000
    assert len(ask(d, 'format=ndjson&limit=2000', infohash=BIG).body.splitlines()) == 2000


def test_questions_do_not_grow_a_worker(two_thousand):
    d = two_thousand()
    worker = d.roles()['worker'][0]
    queries = ['summary=1&limit=2000', 'sort=client,isp,city&limit=2000', 'format=csv&limit=2000',
               'client=no&sort=-ip', 'format=ndjson&limit=2000&country=de,us',
               'isp=net&summary=1&limit=0', 'sort=city,country,-isp']

    def round_of(n):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for a in pool.map(lambda i: d.get(f'/peers/{BIG}?{queries[i % len(queries)]}'),
                              range(n)):
                assert a.status == 200
    round_of(60)
    before = own_kb(worker)
    round_of(200)
    assert own_kb(worker) - before < 2048, 'KiB'
    began = time.monotonic()
    for _ in range(10):
        ask(d, 'client=no&sort=client,isp,city&summary=1', infohash=BIG)
    assert (time.monotonic() - began) / 10 < 0.1 * slow(), 'seconds of one worker, each'


def test_slow_readers_of_csv_are_bounded(two_thousand):
    d = two_thousand({'http.max_sending': '400k'})
    query = f'/peers/{BIG}?format=csv&limit=2000&sort=ip'
    whole = d.get(query).body
    assert 200 << 10 < len(whole) < 400 << 10, 'one fits, two do not'
    with socket.socket() as c:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.settimeout(30 * slow())
        c.connect((d.host, d.port))
        n = (6 << 20) // len(whole)
        c.sendall(f'GET {query} HTTP/1.1\r\nHost: x\r\n\r\n'.encode() * n)
        full = wait_until(lambda: (lambda a: a if a.status == 503 else None)(d.get(query)),
                          what='it is full')
        assert full.json['error'] == 'busy' and full.headers['Retry-After']
        assert full.headers['Content-Type'] == 'application/json'
        assert d.get(f'/peers/{BIG}?format=csv&country=jp&limit=1').status == 200
        with c.makefile('rb') as f:     # now it reads: what it gets is whole
            assert f.readline().startswith(b'HTTP/1.1 200')
            while (line := f.readline().strip()):
                if line.lower().startswith(b'content-length'):
                    length = int(line.split()[1])
            got = f.read(length)
        assert len(got) == length and got[-2:] == b'\r\n' and got.count(b'\r\n') == 2001
    wait_until(lambda: d.get(query).status == 200, what='there is room again')


# The command line --------------------------------------------------------------------
def run(d, *args):
    return subprocess.run([BIN, 'peers', ID, '--url', d.url, *args], capture_output=True,
                          text=True, timeout=30 * slow(), check=False,
                          env={'PATH': os.environ['PATH']})


@of_one_version
def test_peers_on_the_command_line(known):
    d, peers = known
    out = run(d, '--country', 'de,jp', '--state', 'connected', '--sort', 'country,ip')
    assert out.returncode == 0, out
    want = [p for p in in_order(peers, 'country,ip')
            if p['country_code'] in ('DE', 'JP') and p['state'] == 'connected']
    assert [line.split(':')[0] for line in out.stdout.splitlines()[1:len(want) + 1]] == [
        p['ip'] for p in want]
    assert f'{len(want)} of {len(want)} that match, of {len(peers)} peers' in out.stdout
    some = run(d, '--csv', '--client', '"1.', '--source', 'tracker', '--isp', 'unknown')
    assert some.returncode == 0 and len(some.stdout.splitlines()) == 1 + 7, some
    assert some.stdout.splitlines()[0] == ','.join(COLUMNS)
    assert json.loads(run(d, '--json', '--country', 'us').stdout)['matched'] == 5
    wrong = run(d, '--sort', 'size')
    assert wrong.returncode == 1 and 'first_seen' in wrong.stderr
    out = run(d, '--ndjson', '--protocol', 'bittorrent', '--country', 'us')
    assert out.returncode == 0 and len(out.stdout.splitlines()) == 5, out
    assert all(json.loads(line)['country_code'] == 'US' for line in out.stdout.splitlines())
    out = run(d, '--ndjson', '--protocol', 'acestream')
    assert (out.returncode, out.stdout, out.stderr) == (0, '', '')
    both = run(d, '--csv', '--json')
    assert both.returncode == 2 and '--csv' in both.stderr


@of_one_version
def test_a_summary_on_the_command_line(known):
    d, peers = known
    out = run(d, '--summary')
    assert out.returncode == 0, out
    for text in ('COUNTRY', 'ISP', 'CLIENT', 'SOURCE', 'STATE', 'PROTOCOL', 'Germany (DE)',
                 'Beispiel Netz GmbH', 'Transmission 3.0', 'tracker', 'tried'):
        assert text in out.stdout, out.stdout
    rows = [line.split() for line in out.stdout.splitlines()]
    assert ['Japan', '(JP)', '7', f'{700 / len(peers):.0f}%'] in rows
    assert 'ADDRESS' not in out.stdout, 'no list unless --limit asks for one'
    lines = run(d, '--summary', '--limit', '1').stdout.splitlines()
    assert lines[0].startswith('ADDRESS') and lines[2:4] == ['', 'COUNTRY']

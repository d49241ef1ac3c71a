"""GET /peers/{id} against scripted swarms: who is listed, how well, and what it cost."""
import base64
import concurrent.futures
import ipaddress
import json
import signal
import socket

import pytest

from procs import wait_until

COLD = {'swarm.discovery_wait': '10s'}      # correctness, not speed: never cut short
PHASES = {'joining', 'collecting', 'settled', 'dead'}
STATES = {'known', 'tried', 'contacted', 'connected'}
SOURCES = {'tracker', 'dht', 'pex', 'lsd', 'incoming'}


@pytest.fixture
def census(daemon, swarm, tracker):
    """A scripted swarm, a tracker that lists exactly it, a daemon that knows the tracker."""
    def make(spec, conf=None, listed=None, udp=True, **kw):
        t, s = tracker(), swarm(spec, **kw)
        for infohash in s.infohashes:
            t.set(infohash, peers=s.endpoints(listed))
        d = daemon({'swarm.trackers': t.udp if udp else t.http, **COLD, **(conf or {})})
        return d, s, t
    return make


def named(peers):
    return {a: p for a, p in peers.items() if p['client'].startswith('Scripted')}


def expect_as_scripted(got, swarm):
    """Every peer of the swarm that can be reached is there, by name and progress."""
    for want in swarm.peers:
        peer = got.get(want['address'])
        assert peer is not None, f'{want["address"]} is missing'
        assert peer['port'] == want['port']
        assert peer['state'] == want['state'], peer
        if want['name'] and want['state'] == 'connected':
            assert peer['client'] == want['name']
            # Of 104 until the torrent's metadata says that there are 100 pieces.
            assert any(peer['progress'] == pytest.approx(x, abs=0.51)
                       for x in (want['progress'], want['progress'] / 1.04)), peer


# The whole list ------------------------------------------------------------
@pytest.mark.parametrize('udp', [True, False], ids=['udp', 'http'])
def test_cold_census_names_all_200_in_one_answer(census, udp):
    d, s, _ = census([{'count': 200, 'progress': 'mixed'}], delay_ms=100, udp=udp)
    answer = d.peers(s.infohash, limit=500)
    got = {p['ip']: p for p in answer['peers']}
    assert len(named(got)) == 200
    expect_as_scripted(got, s)
    assert answer['total_peers'] == 200 and answer['peer_count'] == 200
    assert s.asked_for_no_piece()


def test_limit_and_default_of_50(census):
    d, s, _ = census([{'count': 120}])
    first = d.peers(s.infohash)
    assert (first['peer_count'], first['total_peers'], len(first['peers'])) == (50, 120, 50)
    few = d.peers(s.infohash, limit=7)
    assert (few['peer_count'], len(few['peers']), few['total_peers']) == (7, 7, 120)


def check_types(obj, types):
    for field, kind in types.items():
        assert field in obj, f'{field} is missing'
        value = obj[field]
        assert isinstance(value, kind), f'{field} is {value!r}'
        assert not (isinstance(value, bool) and kind is not bool), f'{field} is {value!r}'


def check_contract(answer):
    """contracts/peers.md, field by field."""
    check_types(answer, {
        'acestream_id': str, 'infohash': str, 'peers': list, 'peer_count': int,
        'total_peers': int, 'cached_at': float, 'error': (str, type(None)), 'phase': str,
        'counts': dict})
    assert answer['phase'] in PHASES
    assert answer['peer_count'] == len(answer['peers']) <= answer['total_peers']
    for peer in answer['peers']:
        check_types(peer, {
            'ip': str, 'port': int, 'client': str, 'progress': float, 'download_rate': int,
            'upload_rate': int, 'country': str, 'country_code': str, 'city': str, 'isp': str,
            'region': str, 'latitude': (float, type(None)),
            'longitude': (float, type(None)), 'timezone': str, 'flags': str,
            'sources': list, 'state': str, 'first_seen': int, 'last_seen': int,
            'asn': (int, type(None)), 'geo_source': (str, type(None)),
            'accuracy_radius_km': (int, type(None))})
        assert peer['state'] in STATES and peer['sources']
        assert set(peer['sources']) <= SOURCES
        assert 0.0 <= peer['progress'] <= 100.0
        assert peer['first_seen'] <= peer['last_seen']


def test_every_field_of_the_contract(census):
    d, s, _ = census([{'count': 10, 'progress': 'mixed'}, {'count': 2, 'behaviour': 'dead'}])
    a = d.get(f'/peers/{s.infohash}?limit=100')
    assert a.status == 200
    assert a.headers['Content-Type'].startswith('application/json')
    check_contract(a.json)
    assert a.json['acestream_id'] == a.json['infohash'] == s.infohash
    assert a.json['error'] is None
    for peer in a.json['peers']:        # no database: nothing is made up
        assert (peer['country'], peer['city'], peer['isp'], peer['region'],
                peer['country_code']) == ('Unknown',) * 4 + ('??',)
    # 100.0, not 100: a script may tell floats from integers
    assert b'"progress":100.0' in a.body.replace(b': ', b':')


def test_an_empty_swarm_says_why(daemon, tracker):
    t = tracker()
    d = daemon({'swarm.trackers': t.udp})
    answer = d.peers('ab' * 20)
    check_contract(answer)
    assert answer['peers'] == [] and answer['error']


def test_a_swarm_whose_trackers_fail_says_so(daemon, tracker):
    t = tracker()
    t.set(mode='failure', reason='no such torrent here')
    d = daemon({'swarm.trackers': t.http})
    answer = d.peers('ab' * 20)
    check_contract(answer)
    assert answer['peers'] == [] and 'tracker' in answer['error'].lower()


# Best first, and the kinds of peers ------------------------------------------
def test_every_kind_of_peer_has_its_state(census):
    kinds = ['no_bitfield', 'have_all', 'have_none', 'huge_bitfield', 'huge_length', 'flaky',
             'silent', 'close', 'garbage', 'wrong_hash', 'dead']
    spec = [{'count': 5}] + [{'count': 2, 'behaviour': k} for k in kinds]
    d, s, _ = census(spec, {'swarm.discovery_wait': '1s'})
    want = {p['address']: p['state'] for p in s.peers}

    def as_wanted(got):
        return all(got.get(a, {}).get('state') == state for a, state in want.items())
    try:
        got = d.until_peers(s.infohash, as_wanted, 20)
    except AssertionError:
        got = d.by_address(s.infohash)
        wrong = [(p['behaviour'], p['state'], got.get(p['address'], {}).get('state'))
                 for p in s.peers if got.get(p['address'], {}).get('state') != p['state']]
        raise AssertionError(f'(behaviour, wanted, got): {wrong}') from None
    expect_as_scripted(got, s)
    order = ['connected', 'contacted', 'tried', 'known']
    ranks = [order.index(p['state']) for p in d.peers(s.infohash, limit=100)['peers']]
    assert ranks == sorted(ranks), 'best known first'
    assert s.asked_for_no_piece()


def test_peers_without_extensions_are_named_by_their_id(census):
    d, s, _ = census([{'count': 2, 'ext': False, 'fast': False, 'peer_id': '-TR2940-'},
                      {'count': 2, 'ext': False, 'progress': 40}], pieces=200)
    got = d.until_peers(s.infohash, lambda g: len(g) == 4 and all(
        p['state'] == 'connected' and p['client'] != 'Unknown' for p in g.values()))
    old = [got[p['address']] for p in s.peers[:2]]
    assert all(p['client'].startswith('Transmission 2') for p in old)
    assert all(p['progress'] == 100.0 for p in old)
    assert all(got[p['address']]['progress'] == 40.0 for p in s.peers[2:])


def test_peers_that_cannot_be_reached_are_tried(census):
    d, s, _ = census([{'count': 3}, {'count': 6, 'behaviour': 'dead'}])
    got = d.until_peers(s.infohash, lambda g: len(g) == 9 and all(
        p['state'] in ('tried', 'connected') for p in g.values()))
    expect_as_scripted(got, s)
    assert d.peers(s.infohash)['total_peers'] == 9


def test_pex_alone_finds_the_rest(census):
    d, s, _ = census([{'count': 40}], {'swarm.discovery_wait': '1s'}, listed=[0], pex=50)
    got = d.until_peers(s.infohash, lambda g: len(named(g)) == 40)
    by_tracker = s.peers[0]['address']
    assert {a for a, p in got.items() if 'pex' not in p['sources']} <= {by_tracker}
    assert {a for a, p in got.items() if 'tracker' in p['sources']} == {by_tracker}


def test_ipv6_peers_of_a_tracker_are_listed(daemon, tracker):
    t = tracker()
    t.set(peers6=[['::1', 6881]], peers=[['127.0.0.1', 1]])
    d = daemon({'swarm.trackers': t.http, 'swarm.discovery_wait': '1s'})
    got = d.until_peers('cd' * 20, lambda g: '::1' in g)
    assert got['::1']['port'] == 6881


def test_hostile_names_come_out_as_json(census):
    names = [b'\x00\x01\x02\x1b[31mred\r\n{"a":1}', b'\xff\xfe\xc0\x80 not utf-8 \xed\xa0\x80',
             b'A' * 4096, b'"quoted\\"</script>', 'Ünïcödé 1.0'.encode(), b'', b'\x7f\x80']
    d, s, _ = census([{'name_hex': n.hex()} for n in names])
    a = d.get(f'/peers/{s.infohash}')
    got = {p['ip']: p for p in json.loads(a.body.decode('utf-8', 'strict'))['peers']}
    assert len(got) == len(names)
    for p in got.values():
        assert 0 < len(p['client'].encode()) <= 256
        assert not any(c < ' ' for c in p['client']), repr(p['client'])
    assert got[s.peers[4]['address']]['client'] == 'Ünïcödé 1.0'
    assert not any(c < ' ' and c not in '\n\t' for c in d.log())


def test_own_address_is_never_listed(census):
    d, s, t = census([{'count': 5, 'pex': 5}])
    t.set(s.infohash, peers=s.endpoints() + [[d.address, 42069]])
    got = d.until_peers(s.infohash, lambda g: len(named(g)) == 5)
    assert d.address not in got
    assert d.peers(s.infohash)['total_peers'] == 5


def test_private_addresses_are_refused_by_default(daemon, swarm):
    """Peers of 127/8 that call us get no handshake, and are not listed. (What a tracker
    lists of them needs a public tracker: test_interface.py.)"""
    s = swarm([{'count': 12}])
    d = daemon({'swarm.allow_private': 'off', 'swarm.discovery_wait': '300ms'})
    assert d.peers(s.infohash)['total_peers'] == 0      # joined: it is our swarm now
    s.ask('dial', infohash=s.infohash, to=[d.address, 42069])

    def all_turned_away():
        t = s.totals()
        return t['connections'] == 12 and t['open'] == 0
    wait_until(all_turned_away, what='each connection was closed')
    answer = d.peers(s.infohash, wait='500ms')
    assert answer['total_peers'] == 0 and answer['error']
    assert s.totals()['handshakes'] == 0 and s.totals()['connections'] == 12


def test_peers_that_call_us_are_listed_as_incoming(daemon, swarm, tracker):
    t, s = tracker(), swarm([{'count': 12, 'progress': 'mixed'}])
    d = daemon({'swarm.trackers': t.udp, 'swarm.discovery_wait': '300ms'})
    assert d.peers(s.infohash)['total_peers'] == 0
    s.ask('dial', infohash=s.infohash, to=[d.address, 42069])
    got = d.until_peers(s.infohash, lambda g: len(named(g)) == 12)
    assert all('incoming' in p['sources'] for p in got.values())
    for want in s.peers:
        assert got[want['address']]['client'] == want['name']
        assert got[want['address']]['progress'] == pytest.approx(want['progress'], abs=0.51)


# Time goes by ----------------------------------------------------------------
def test_have_raises_progress(census):
    d, s, _ = census([{'count': 4, 'progress': 50}], pieces=200)
    got = d.until_peers(s.infohash, lambda g: len(named(g)) == 4)
    assert {p['progress'] for p in got.values()} == {50.0}
    s.ask('have', peers=[0, 1], progress=75)
    one, other = s.peers[0]['address'], s.peers[2]['address']
    got = d.until_peers(s.infohash, lambda g: g[one]['progress'] == 75.0)
    assert got[other]['progress'] == 50.0


def test_a_peer_that_lacks_only_the_last_pieces_is_no_seed(census):
    """Before the metadata its field looks like a seed's; afterwards it must not."""
    d, s, _ = census([{'count': 4, 'behaviour': 'in_order', 'progress': 97},
                      {'count': 2, 'progress': 100}])
    half = [p['address'] for p in s.peers[:4]]
    got = d.until_peers(s.infohash, lambda g: len(named(g)) == 6 and all(
        g[a]['progress'] == 97.0 for a in half), 10, '97.0 % for those that lack three')
    assert all('S' not in got[a]['flags'] for a in half)


def test_a_peer_that_left_stays_listed(census):
    d, s, _ = census([{'count': 6}])
    before = d.until_peers(s.infohash, lambda g: len(named(g)) == 6)
    s.ask('leave', peers=[0, 1, 2], quiet=True)
    gone = [p['address'] for p in s.peers[:3]]
    after = d.until_peers(s.infohash, lambda g: all(g[a]['state'] == 'contacted'
                                                    for a in gone))
    for a in gone:
        assert after[a]['client'] == before[a]['client']
        assert after[a]['first_seen'] == before[a]['first_seen']
        assert after[a]['progress'] == before[a]['progress']
    assert d.peers(s.infohash)['total_peers'] == 6


def test_peers_expire(census):
    d, s, t = census([{'count': 6}], {'swarm.peer_expiry': '2s'})
    d.until_peers(s.infohash, lambda g: len(named(g)) == 6)
    t.set(s.infohash, peers=s.endpoints([3, 4, 5]))
    s.ask('leave', peers=[0, 1, 2], quiet=True)
    stay = {p['address'] for p in s.peers[3:]}
    got = d.until_peers(s.infohash, lambda g: set(g) == stay, 15)
    assert d.peers(s.infohash)['total_peers'] == 3
    assert all(p['state'] == 'connected' for p in got.values())


def test_a_swarm_nobody_asks_for_is_left(census):
    d, s, t = census([{'count': 5}], {'swarm.linger': '1s'})
    d.until_peers(s.infohash, lambda g: len(named(g)) == 5)
    wait_until(lambda: t.announces(s.infohash, 'stopped'), 15, 'the tracker hears "stopped"')
    wait_until(lambda: s.totals()['open'] == 0, 5, 'all connections are closed')


def test_max_swarms_evicts_the_longest_idle(census):
    d, s, t = census([{'count': 3}], {'swarm.max_swarms': 2}, torrents=3)
    for infohash in s.infohashes:
        assert len(named(d.by_address(infohash))) == 3
    first, second, third = s.infohashes
    wait_until(lambda: t.announces(first, 'stopped'), 10, 'the first swarm is left')
    assert not t.announces(second, 'stopped') and not t.announces(third, 'stopped')
    # What it knew of the first is still served.
    assert len(named(d.by_address(first))) == 3


# Many askers, other spellings --------------------------------------------------
def test_100_askers_are_one_join(census):
    d, s, t = census([{'count': 30}], delay_ms=100)
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: d.get(f'/peers/{s.infohash}?limit=100'), range(100)))
    assert [a.status for a in answers] == [200] * 100
    assert all(len(a.json['peers']) == 30 for a in answers)
    assert len(t.announces(s.infohash)) == 1
    assert [p['handshakes'] for p in s.ask('stats')] == [1] * 30


def test_all_spellings_are_one_swarm(census):
    d, s, t = census([{'count': 8}])
    spellings = [s.infohash, s.infohash.upper(), s.infohash[:20] + s.infohash[20:].upper(),
                 base64.b32encode(bytes.fromhex(s.infohash)).decode(),
                 base64.b32encode(bytes.fromhex(s.infohash)).decode().lower()]
    for spelling in spellings:
        answer = d.peers(spelling, limit=100)
        assert answer['infohash'] == s.infohash
        assert answer['acestream_id'] == spelling.lower()
        assert {p['ip'] for p in answer['peers']} == {p['address'] for p in s.peers}
    assert len(t.announces(s.infohash)) == 1


def test_64_hex_digits_are_a_v2_id(daemon, swarm, tracker):
    v2 = '5e' * 20 + '77' * 12
    t, s = tracker(), swarm([{'count': 8}], infohashes=[v2[:40]])
    t.set(v2[:40], peers=s.endpoints())
    d = daemon({'swarm.trackers': t.udp, **COLD, 'swarm.discovery_wait': '1s'})
    got = d.until_peers(v2, lambda g: len(named(g)) == 8)
    assert {p['ip'] for p in d.peers(v2[:40], limit=100)['peers']} == set(got)


@pytest.mark.parametrize('bad', ['x', 'ab' * 19, 'ab' * 21, 'zz' * 20, 'ab' * 31, '1' * 32,
                                 'ab' * 20 + '%20'])
def test_a_malformed_id_is_400(module_daemon, bad):
    a = module_daemon.get('/peers/' + bad)
    assert a.status == 400
    assert set(a.json) >= {'error', 'message'} and '40' in a.json['message']


@pytest.fixture(scope='module')
def module_daemon(net):
    from daemon import Daemon
    from procs import Stage
    stage = Stage(net)
    yield Daemon(stage)
    stage.close()


# Warm ---------------------------------------------------------------------------
def test_warm_answer_etag_age_and_head(census):
    d, s, t = census([{'count': 20}])
    d.until_peers(s.infohash, lambda g: len(named(g)) == 20)
    path = f'/peers/{s.infohash}'

    def settled():
        a, b = d.get(path), d.get(path)
        return (a, b) if a.headers['ETag'] == b.headers['ETag'] else None
    a, b = wait_until(settled, what='two answers of one version')
    assert a.body == b.body and a.headers['ETag']
    assert int(a.headers['Age']) >= 0
    head = d.request('HEAD', path)
    assert head.status == 200 and head.body == b''
    assert int(head.headers['Content-Length']) == len(b.body)
    same = d.get(path, {'If-None-Match': b.headers['ETag']})
    assert same.status in (200, 304)
    if same.headers['ETag'] == b.headers['ETag']:
        assert same.status == 304 and same.body == b''
    assert len(t.announces(s.infohash, 'started')) == 1


def test_nothing_is_downloaded_and_no_file_is_made(census):
    d, s, _ = census([{'count': 30, 'progress': 'mixed'}], pieces=500)
    d.until_peers(s.infohash, lambda g: len(named(g)) == 30)
    # Peers have unchoked whoever was interested; HAVEs would wake a downloader.
    s.ask('have', progress=100)
    d.until_peers(s.infohash, lambda g: all(p['progress'] == 100 for p in g.values()))
    totals = s.totals()
    assert totals['requests'] == 0
    assert d.payload_files(d.cwd) == [] and d.payload_files(d.run_dir) == []


# Redis ---------------------------------------------------------------------------
def test_bundled_redis_holds_the_same_object(census):
    import redis
    d, s, _ = census([{'count': 10}], {'redis.mode': 'bundled'})
    d.until_peers(s.infohash, lambda g: len(named(g)) == 10)
    with redis.Redis(unix_socket_path=d.run_dir + '/redis.sock', socket_timeout=5) as r:
        key = 'peer_stats:' + s.infohash

        def held():
            raw = r.get(key)
            return raw and len(named({p['ip']: p for p in json.loads(raw)['peers']})) == 10
        wait_until(held, what='Redis holds all ten')
        assert 0 < r.ttl(key) <= 30
        check_contract(json.loads(r.get(key)))


def test_without_redis(census):
    d, s, _ = census([{'count': 5}], {'redis.mode': 'off'})
    assert len(named(d.by_address(s.infohash))) == 5
    assert d.get('/health').json['redis_available'] is False
    assert d.roles()['redis'] == []


# Places ---------------------------------------------------------------------------
PLACES = {      # tests/geo/make-mmdb.pl
    0: ('United States', 'US', 'New York', 'Example ISP'),
    1: ('Germany', 'DE', 'Berlin', 'Beispiel Netz GmbH'),
    2: ('Japan', 'JP', 'Unknown', 'Unknown'),
    3: ('Unknown', '??', 'Unknown', 'Only A Number'),
    4: ('Unknown', '??', 'Unknown', 'Unknown'),
}


@pytest.mark.parametrize('city', ['city.mmdb', 'city-flat.mmdb', 'city-text.mmdb'])
def test_places_of_both_layouts(net, daemon, swarm, tracker, mmdb, city):
    t = tracker()
    swarms = {block: swarm([{'count': 2}], base=net.in_block(block), infohashes=['ee' * 20])
              for block in PLACES}
    t.set('ee' * 20, peers=[e for s in swarms.values() for e in s.endpoints()])
    d = daemon({'swarm.trackers': t.udp, **COLD, 'swarm.discovery_wait': '2s',
                'geo.city_db': mmdb / city, 'geo.asn_db': mmdb / 'asn.mmdb'})
    got = d.until_peers('ee' * 20, lambda g: len(named(g)) == 2 * len(PLACES))
    for block, (country, code, town, isp) in PLACES.items():
        for want in swarms[block].peers:
            p = got[want['address']]
            if city == 'city-text.mmdb' and country in ('United States', 'Germany', 'Japan'):
                country = p['country']      # that file names no country; the code decides
                assert country not in ('', 'Unknown')
            assert (p['country'], p['country_code'], p['city'], p['isp']) == (
                country, code, town, isp)
    berlin = got[swarms[1].peers[0]['address']]
    assert berlin['latitude'] == pytest.approx(52.52437, abs=1e-5)
    assert berlin['longitude'] == pytest.approx(13.41053, abs=1e-5)
    assert (berlin['timezone'], berlin['asn']) == ('Europe/Berlin', 64501)
    assert berlin['geo_source'] and got[swarms[4].peers[0]['address']]['geo_source'] is None
    health = d.get('/health').json
    assert health['libtorrent_available'] is True


# Clients that are slow ---------------------------------------------------------------
def slow_reader(d, path, times):
    """Asks and takes nothing: what the kernel does not buffer stays with the worker."""
    c = socket.socket()
    c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    c.settimeout(10)
    c.connect((d.host, d.port))
    c.sendall(f'GET {path} HTTP/1.1\r\nHost: x\r\n\r\n'.encode() * times)
    return c


def test_slow_readers_of_large_answers_are_bounded(daemon, tracker, net):
    """Such an answer lies in the worker until its client took it."""
    t, first = tracker(), ipaddress.ip_address(net.take(2000))
    t.set('f0' * 20, peers=[[str(first + i), 6881] for i in range(2000)])
    d = daemon({'swarm.trackers': t.http, 'http.max_sending': '1m', 'http.workers': 1,
                'swarm.peer_expiry': '1h', **COLD})
    path = '/peers/' + 'f0' * 20
    size = wait_until(lambda: len(d.peers('f0' * 20, limit=2000)['peers']) == 2000
                      and len(d.get(path + '?limit=2000').body), 20, 'all are listed')
    assert size > 1 << 19, 'two of them are above the ceiling'
    with slow_reader(d, path + '?limit=2000', times=(6 << 20) // size):
        full = wait_until(lambda: refused(d.get(path + '?limit=2000')), what='it is full')
        assert int(full.headers['Retry-After']) >= 1 and full.json['error'] == 'busy'
        assert d.top()['counters']['http_sending_full'] >= 1
        assert d.get(path).status == 200, 'the shared body is not refused'
        assert d.get(path + '?limit=3').status == 200, 'nor one that fits'
    wait_until(lambda: d.get(path + '?limit=2000').status == 200, what='there is room again')


def refused(answer):
    return answer if answer.status == 503 else None


# Clients that leave ------------------------------------------------------------------
def test_a_client_that_goes_away_is_forgotten(census):
    d, s, _ = census([{'count': 5}], delay_ms=1500)
    for extra in (b'', b'GET', b'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n'):
        with socket.create_connection((d.host, d.port), 5) as c:
            c.sendall(f'GET /peers/{s.infohash} HTTP/1.1\r\nHost: x\r\n\r\n'.encode() + extra)
    assert d.get('/livez').status == 200
    assert len(named(d.by_address(s.infohash))) == 5


# Between swarms, and between lives -----------------------------------------
def test_no_swarm_takes_all_connections(daemon, swarm, tracker):
    t = tracker()
    big, small = swarm([{'count': 100}]), swarm([{'count': 15}])
    for s in big, small:
        t.set(s.infohash, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.udp, 'swarm.connections': '60',
                'swarm.discovery_wait': '500ms'})
    d.peers(big.infohash)
    wait_until(lambda: d.top()['gauges']['connections'] >= 40, what='the first swarm is big')
    assert len(named(d.by_address(small.infohash))) == 15
    # When it is crowded, who has told everything makes room: all get their turn.
    d.until_peers(big.infohash, lambda got: len(named(got)) == 100, 40, 'all 100 by name')


def test_a_short_wait_does_not_overwrite_an_older_answer(census):
    d, s, t = census([{'count': 5}], {'swarm.linger': '1s', 'cache.ttl': '200ms',
                                      'swarm.discovery_wait': '3s'})
    d.until_peers(s.infohash, lambda got: len(named(got)) == 5)
    wait_until(lambda: d.top()['counters']['leaves'] == 1, what='the swarm is left')
    t.set(s.infohash, mode='hang')
    for _ in range(3):
        got = d.peers(s.infohash, wait='50ms')
        assert got['phase'] != 'joining' and len(got['peers']) == 5


def test_an_answer_that_time_cut_short_is_no_joining(daemon, swarm, tracker):
    s, good, slow = swarm([{'count': 5}]), tracker(), tracker()
    good.set(s.infohash, peers=s.endpoints())
    slow.set(s.infohash, mode='hang')
    d = daemon({'swarm.trackers': f'{good.udp},{slow.udp}', 'swarm.discovery_wait': '700ms'})
    got = d.peers(s.infohash)
    assert got['phase'] == 'collecting' and len(got['peers']) == 5


def test_databases_that_come_by_reload_reach_swarms_that_were_left(net, daemon, swarm, tracker,
                                                                   mmdb):
    t, s = tracker(), swarm([{'count': 3}], base=net.in_block(1))
    t.set(s.infohash, peers=s.endpoints())
    conf = 'swarm.linger = 1s\ncache.ttl = 200ms\n'.replace('swarm.', '[swarm]\n', 1).replace(
        'cache.', '[cache]\n', 1)
    d = daemon({'swarm.trackers': t.udp}, file=conf)
    assert {p['country'] for p in d.by_address(s.infohash).values()} == {'Unknown'}
    wait_until(lambda: d.top()['counters']['leaves'] == 1, what='the swarm is left')
    with open(d.file, 'a', encoding='utf-8') as f:
        f.write(f'[geo]\ncity_db = {mmdb}/city.mmdb\n')
    d.kill(signal.SIGHUP)
    wait_until(lambda: d.log_lines('new settings taken'), what='the reload is done')
    d.until_peers(s.infohash, lambda got: {p['country'] for p in got.values()} == {'Germany'})


def test_new_trackers_by_reload_reach_a_joined_swarm(daemon, swarm, tracker):
    old, new = tracker(), tracker()
    s = swarm([{'count': 4}])
    for t, which in (old, [0, 1]), (new, [2, 3]):
        t.set(s.infohash, peers=s.endpoints(which))
    d = daemon(file=f'[swarm]\ntrackers = {old.udp}\n', conf={'swarm.trackers': None})
    assert len(named(d.by_address(s.infohash))) == 2
    with open(d.file, 'w', encoding='utf-8') as f:
        f.write(f'[swarm]\ntrackers = {new.udp}\n')
    d.kill(signal.SIGHUP)
    d.until_peers(s.infohash, lambda got: len(named(got)) == 4)

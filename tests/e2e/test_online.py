"""Places that no database knows are asked for online (geo.online): politely, never about
addresses that are nobody's, and without delaying an answer by a millisecond.

Peers stand on 5.6/16, which is real, so all of it is in a network namespace that has these
addresses on its loopback and no way out."""
import json
import os
import signal
import subprocess
import time

import netns
import pytest
import redis as client
from acecheck import FAST, told_by
from heavydb import heavy
from ipwhois import city_of
from oldlist import NOWHERE, TOKYO, service_json
from procs import HANG_S, slow, wait_until

REASON = netns.why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or '')

IDS = [f'{i:02x}' * 20 for i in range(1, 5)]


@pytest.fixture(autouse=True)
def island(stage):
    """Everything that a test does happens in there."""
    ns = netns.Namespace(stage)
    for block in '5.6.0.0/16', '10.0.0.0/8', '100.64.0.0/10', '192.168.0.0/16':
        ns.ip('route', 'add', 'local', block, 'dev', 'lo')
    with ns:
        yield ns


@pytest.fixture
def world(daemon, tracker, ipwhois):
    """A daemon that knows nothing of places, a service that knows all, and a tracker."""
    def make(conf=None, **kw):
        t, service = tracker(), ipwhois()
        d = daemon({**plain(t, service), **(conf or {})}, **kw)
        return d, t, service
    return make


def plain(t, service):
    return {'swarm.trackers': t.http, 'geo.online': 'on', 'geo.online_url': service.url,
            'swarm.discovery_wait': '2s'}


def some(n, first='5.6.7.1'):
    a = [int(x) for x in first.split('.')]
    return ['.'.join(map(str, [*a[:2], a[2] + (a[3] + i) // 250, (a[3] + i) % 250]))
            for i in range(n)]


def tell(t, addresses, infohash=IDS[0]):
    t.set(infohash, peers=[[a, 6881] for a in addresses])


def online(d):
    return d.get('/health').json['geo']['online']


def until_state(d, state, timeout=HANG_S):
    wait_until(lambda: online(d)['state'] == state, timeout, f'the service is {state}')
    return online(d)


def counter(d, name):
    return d.top()['counters'][name]


def known(peer):
    return peer['country'] != 'Unknown'


def until_placed(d, addresses, infohash=IDS[0], timeout=HANG_S):
    return d.until_peers(infohash, lambda p: all(a in p and known(p[a]) for a in addresses),
                         timeout, 'places are known')


def expect(peer, source):
    country, code, city, region, lat, lon, zone = city_of(peer['ip'])
    assert {k: peer[k] for k in ('country', 'country_code', 'city', 'region', 'timezone',
                                 'latitude', 'longitude', 'isp', 'asn', 'geo_source')} == {
        'country': country, 'country_code': code, 'city': city, 'region': region,
        'timezone': zone, 'latitude': lat, 'longitude': lon, 'isp': f'ISP of {code}',
        'asn': 64501, 'geo_source': source}


@pytest.mark.parametrize('form', ['ok', 'flat'])
def test_known_in_the_next_version(world, form):
    """Unknown in the first answer, known soon; one question each, politely worded."""
    d, t, service = world({'swarm.discovery_wait': '300ms'})
    service.mode = form
    service.gate.clear()
    addresses = some(20)
    tell(t, addresses)
    first = d.peers(IDS[0])
    service.gate.set()
    assert first['total_peers'] == 20 and not any(known(p) for p in first['peers'])
    peers = until_placed(d, addresses)
    for a in addresses:
        expect(peers[a], service.address)
    assert d.peers(IDS[0])['cached_at'] > first['cached_at']
    assert sorted(service.addresses()) == sorted(addresses)
    assert set(service.paths) == {'/' + a for a in addresses}
    assert service.most <= 8
    assert online(d) == {'state': 'ready', 'waiting': 0, 'left': 9980, 'error': None}
    for name, n in ('asked', 20), ('answered', 20), ('failed', 0), ('limited', 0):
        assert counter(d, f'geo_online_{name}') == n
    assert [line for line in d.log_lines('geo.online = off ends that')
            if service.address in line and service.url not in line]


def test_an_answer_serves_all_swarms(world):
    """Two swarms at once, the same peers: one question each, and none for a third."""
    d, t, service = world()
    service.delay_s = 0.5
    addresses = some(8)
    for i in IDS[:3]:
        tell(t, addresses, i)
    d.peers(IDS[0])
    d.peers(IDS[1])
    for i in IDS[:2]:
        until_placed(d, addresses, i)
    assert all(known(p) for p in d.peers(IDS[2])['peers']), 'from memory, at once'
    assert sorted(service.addresses()) == sorted(addresses)


def test_many_swarms_at_once(world):
    """The collector looks at them in slices, and forgets none."""
    d, t, service = world({'geo.online_rate': 1000, 'geo.online_burst': 1000,
                           'swarm.discovery_wait': '300ms'})
    service.gate.clear()
    ids = [f'{i:040x}' for i in range(1, 31)]
    for i in ids:
        tell(t, some(200), i)
        assert not any(known(p) for p in d.peers(i)['peers'])
    service.gate.set()
    began = time.monotonic()
    for i in ids:
        until_placed(d, some(200), i)
    assert time.monotonic() - began < 15 * slow()
    assert set(service.addresses()) == set(some(200))
    # Who was kept waiting at the gate for longer than a question may take is asked for again.
    assert len(service.addresses()) <= 200 + counter(d, 'geo_online_failed')


def test_a_swarm_that_is_quiet_gets_a_new_version(world):
    """Nothing else happens in it: the places alone are worth one, and one for all."""
    d, t, service = world()
    service.gate.clear()
    addresses = some(6)
    tell(t, addresses)
    assert not any(known(p) for p in d.peers(IDS[0], wait='4s')['peers'])
    last = {'at': 0, 'since': time.monotonic()}

    def quiet():
        now = d.peers(IDS[0])['cached_at']
        if now != last['at']:
            last.update(at=now, since=time.monotonic())
        return time.monotonic() - last['since'] > 1.5 and d.peers(IDS[0])['phase'] == 'settled'
    wait_until(quiet, 15, 'no version for a while')
    versions = counter(d, 'publishes')
    service.gate.set()
    until_placed(d, addresses, timeout=3)
    assert counter(d, 'publishes') - versions <= 3
    assert sorted(service.addresses()) == sorted(addresses)


PRIVATE = ['10.1.2.3', '100.64.1.1', '192.168.1.1', '127.9.9.9', '[fd00::7]', '[fe80::7]',
           '[::1]', '[2002:a01:203::1]', '[64:ff9b::a01:203]', '[2001:db8::7]', '192.0.2.7',
           '[2001:0:4136:e378:8000:63bf:f5fe:fdfc]']        # Teredo of 10.1.2.3


def test_nobody_hears_of_private_addresses(world):
    """Not even with swarm.allow_private, which lists them; the global one behind them is
    asked about. Of 6to4 it is the IPv4 address inside."""
    d, t, service = world()
    tell(t, ['10.7.7.7', '192.168.7.7'])
    for i in range(0, len(PRIVATE), 6):
        d.get(f'/peers/{IDS[0]}?' + '&'.join(f'x.pe={a}:6881' for a in PRIVATE[i:i + 6]))
    d.until_peers(IDS[0], lambda p: len(p) == len(PRIVATE) + 2)
    d.get(f'/peers/{IDS[0]}?x.pe=[2a00:1::5]:6881&x.pe=[2002:506:708::1]:6881')
    d.get(f'/peers/{IDS[0]}?x.pe=5.6.9.9:6881')
    peers = until_placed(d, ['2a00:1::5', '2002:506:708::1', '5.6.9.9'])
    assert set(service.addresses()) == {'2a00:1::5', '5.6.7.8', '5.6.9.9'}
    expect(peers['2a00:1::5'], service.address)
    assert sum(known(p) for p in peers.values()) == 3


def test_off_asks_nothing(world):
    """HUP turns it on, off, and on; what is known stays known."""
    d, t, service = world({'geo.online': None}, file='[geo]\nonline = off\n')
    tell(t, some(5))
    d.peers(IDS[0])
    assert online(d) == {'state': 'off', 'waiting': 0, 'left': 10000, 'error': None}
    d.peers(IDS[0], wait='1s')
    assert service.asked == []
    d.reload('[geo]\nonline = on\n')
    until_placed(d, some(5))
    d.reload('[geo]\nonline = off\n')
    until_state(d, 'off')
    before = service.addresses()
    assert sorted(before) == sorted(some(5))
    tell(t, some(3, '5.6.8.1'), IDS[1])
    assert not any(known(p) for p in d.peers(IDS[1], wait='1s')['peers'])
    assert all(known(p) for p in d.peers(IDS[0])['peers'])
    assert service.addresses() == before
    d.reload('[geo]\nonline = on\nonline_rate = 5\n')
    until_placed(d, some(3, '5.6.8.1'), IDS[1])
    assert len(service.addresses()) == 8, 'nothing twice'


@pytest.mark.parametrize('mode', ['hang', 'slow'])
def test_no_answer_waits_for_it(world, mode):
    d, t, service = world()
    service.mode, service.delay_s = ('hang', 0) if mode == 'hang' else ('ok', 3)
    addresses = some(100)
    tell(t, addresses)
    began = time.monotonic()
    first = d.peers(IDS[0])
    cold = time.monotonic() - began
    assert first['total_peers'] == 100 and not any(known(p) for p in first['peers'])
    wait_until(lambda: service.asked, what='it was asked')
    began = time.monotonic()
    for _ in range(50):
        assert d.peers(IDS[0])['total_peers'] == 100
    assert cold < 2.5 * slow() and time.monotonic() - began < 1 * slow()
    assert len(service.addresses()) <= 16 and service.most <= 8
    assert online(d)['waiting'] >= 80


def test_the_pace(world):
    """A burst, then so many a second; the newest wish first."""
    d, t, service = world({'geo.online_rate': 4, 'geo.online_burst': 10})
    old, new = some(30), some(6, '5.6.8.1')
    tell(t, old)
    tell(t, new, IDS[1])
    d.peers(IDS[0])
    wait_until(lambda: len(service.asked) >= 10, what='the burst')
    began = time.monotonic()
    d.peers(IDS[1])
    until_placed(d, new, IDS[1])
    assert len(set(service.addresses()) & set(old)) < 25, 'the new ones did not wait'
    until_placed(d, old, timeout=20)
    times = [at for _, at in service.asked]
    assert len(times) == 36
    for i, at in enumerate(times[10:], 10):
        assert at - times[0] > (i - 10) / 4 - 0.3, f'{i} questions in {at - times[0]} s'
    assert times[-1] - times[0] < 12 * slow() and began > times[0]


@pytest.mark.parametrize('form', ['seconds', 'date', 'month'])
def test_the_service_says_how_long(world, form):
    """429 with Retry-After: nothing is asked before. Then one question, then the others."""
    d, t, service = world()
    service.mode = 'month' if form == 'month' else 'limit'
    service.retry_after = 4 if form == 'seconds' else float(int(time.time()) + 8)
    tell(t, some(30))
    d.peers(IDS[0])
    state = until_state(d, 'limited')
    assert ('429' in state['error'] or 'monthly limit' in state['error'])
    d.until_peers(IDS[0], lambda p: len(p) == 30)
    asked = len(service.asked)
    last = service.asked[-1][1]
    assert asked <= 8 and counter(d, 'geo_online_limited') == asked
    if form == 'month':                 # no time said: half a minute, which is long
        d.peers(IDS[0], wait='2s')
        assert len(service.asked) == asked and online(d)['waiting'] == 30
        return
    service.mode = 'ok'
    wait_until(lambda: len(service.asked) > asked, 15, 'it is asked again')
    due = last + 4 if form == 'seconds' else last + service.retry_after - time.time()
    assert service.asked[asked][1] > due - 1.2
    wait_until(lambda: len(service.asked) >= asked + 3, 15, 'and the others follow')
    assert service.asked[asked + 1][1] - service.asked[asked][1] > 0.5, 'at the pace, no burst'
    assert until_state(d, 'ready')['error'] is None
    until_placed(d, [service.asked[asked][0]])


@pytest.mark.parametrize('mode', ['close', 'status', 'garbage', 'portal', 'elsewhere', 'other',
                                  'huge', 'key', 'denied'])
def test_one_that_fails_is_left_alone(world, mode):
    """Three times in a row; another one (a HUP) is asked at once."""
    d, t, service = world({'geo.online_url': None},
                          file='[geo]\nonline_url = http://127.0.0.1:9/\n')
    d.reload(f'[geo]\nonline_url = {service.url}\n')
    service.mode = mode
    tell(t, some(40))
    d.peers(IDS[0])
    error = until_state(d, 'down')['error']
    assert {'key': 'Invalid API key', 'denied': 'status 403'}.get(mode, '') in error
    assert len(error) > 5
    d.peers(IDS[0], wait='2s')
    assert 3 <= len(service.asked) <= 10
    assert not any(known(p) for p in d.peers(IDS[0])['peers'])
    assert counter(d, 'geo_online_failed') == len(service.asked)
    assert len(d.log_lines('left alone for')) == 1
    service.mode, failed = 'ok', set(service.addresses())
    d.reload(f'[geo]\nonline_url = {service.url}s3cret\n')
    until_state(d, 'ready')
    until_placed(d, set(some(40)) - failed)
    assert '/s3cret/' + service.asked[-1][0] == service.paths[-1]
    # There may be a key in it.
    assert 's3cret' not in d.log()
    assert f'online_url = {service.url}...' in d.command('config').stdout


def test_lies_in_single_fields(world):
    """Texts that move a cursor, numbers out of bounds, wrong types: fields, not answers."""
    d, t, service = world()
    a, b, c, e = some(4)
    service.told = {
        a: {'success': True, 'country': '\x1b[31mGer\nmany\u0085', 'country_code': 'DE',
            'city': '"},{"ip":"6.6.6.6"', 'latitude': 1000, 'longitude': 3,
            'connection': [1], 'timezone': 7},
        b: {'success': True, 'country_code': 'FR', 'city': 'é' * 1000, 'asn': 'AS0x12',
            'latitude': 'NaN', 'longitude': '1'},
        c: {'success': True, 'city': 'Nowhere'},
        e: {'success': False, 'message': 'Reserved range'}}
    tell(t, [a, b, c, e])
    d.peers(IDS[0])
    peers = until_placed(d, [a, b])
    assert peers[a]['country'] == '[31mGermany' and peers[a]['city'] == '"},{"ip":"6.6.6.6"'
    assert peers[a]['latitude'] is None and peers[a]['isp'] == 'Unknown'
    assert peers[b]['country'] == 'France' and peers[b]['city'] == 'é' * 47
    assert peers[b]['asn'] is None and len(peers) == 4
    wait_until(lambda: counter(d, 'geo_online_answered') == 4, what='all are answered')
    assert counter(d, 'geo_online_hits') and not counter(d, 'geo_hits'), 'there is no database'
    assert peers[c]['city'] == 'Unknown' and not known(peers[e])
    assert online(d)['state'] == 'ready'


def test_the_budget_of_a_day(world):
    """It is spent; a new collector does not begin it anew, another key value adds to it."""
    d, t, service = world({'geo.online_daily': None}, file='[geo]\nonline_daily = 3\n')
    tell(t, some(10))
    d.peers(IDS[0])
    assert until_state(d, 'spent')['left'] == 0
    d.exit_expected = None
    os.kill(d.collector(), signal.SIGKILL)
    wait_until(lambda: d.get('/health').json['collector']['epoch'] == 2 and
               online(d)['state'] == 'spent', 20, 'the next collector knows')
    d.peers(IDS[0], wait='2s')
    wait_until(lambda: online(d)['waiting'] > 0, 15, 'the others are thought of')
    assert len(service.asked) == 3
    d.reload('[geo]\nonline_daily = 0\n')
    until_placed(d, some(10))
    assert online(d)['left'] is None


def test_more_than_can_wait(world):
    """The oldest wishes give way, are counted, and come again when there is room."""
    d, t, service = world({'geo.online_burst': 1, 'geo.online_rate': 1,
                           'swarm.discovery_wait': '4s'})
    for i, infohash in enumerate(IDS[:3]):
        tell(t, some(500, f'5.6.{20 * i + 1}.1'), infohash)
        assert d.peers(infohash)['total_peers'] == 500
    wait_until(lambda: counter(d, 'geo_online_dropped') >= 450, what='some gave way')
    assert 1000 <= online(d)['waiting'] <= 1024
    assert service.addresses()[-1].startswith(('5.6.41.', '5.6.42.')), 'the newest first'


@pytest.fixture
def certificate(tmp_path):
    done = [str(tmp_path / 'cert.pem'), str(tmp_path / 'key.pem')]
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2',
                    '-subj', '/CN=ipwho.is', '-addext', 'subjectAltName=DNS:ipwho.is',
                    '-out', done[0], '-keyout', done[1]], check=True, capture_output=True)
    return done


def test_a_certificate_nobody_vouches_for(daemon, tracker, ipwhois, certificate):
    """Not one address is told to who can't prove his name."""
    t, service = tracker(), ipwhois(certificate)
    d = daemon(plain(t, service))
    tell(t, some(10))
    d.peers(IDS[0])
    # A machine that is busy may take longer for the handshake than a question may take.
    wait_until(lambda: (o := online(d))['state'] == 'down' and 'certificate' in o['error'],
               what='it says why')
    assert service.asked == [] and not any(known(p) for p in d.peers(IDS[0])['peers'])


# Databases -------------------------------------------------------------------------------

WRITE = r'''
use MaxMind::DB::Writer::Tree;
my %t = (country => 'map', iso_code => 'utf8_string', names => 'map', en => 'utf8_string',
         autonomous_system_number => 'uint32', autonomous_system_organization => 'utf8_string');
sub put {
    my ($file, $type, $net, $row) = @_;
    my $w = MaxMind::DB::Writer::Tree->new(ip_version => 6, record_size => 24,
        database_type => $type, languages => ['en'], description => { en => 'x' },
        map_key_type_callback => sub { $t{ $_[0] } });
    $w->insert_network($net, $row);
    open my $f, '>:raw', $file or die;
    $w->write_tree($f);
}
put("$ARGV[0]/city.mmdb", 'GeoLite2-City', '5.6.7.0/24',
    { country => { iso_code => 'FR', names => { en => 'France' } } });
put("$ARGV[0]/asn.mmdb", 'GeoLite2-ASN', '5.6.0.0/16',
    { autonomous_system_number => 7, autonomous_system_organization => 'Seven' });
'''


def test_databases_first(world, tmp_path):
    """What they know is not asked for, and is believed; a swap keeps what was heard."""
    subprocess.run(['/usr/bin/perl', '-e', WRITE, str(tmp_path)], check=True)
    city, asn = tmp_path / 'city.mmdb', tmp_path / 'asn.mmdb'
    d, t, service = world({'geo.city_db': str(city), 'geo.asn_db': str(asn)})
    known_there, elsewhere = some(3), some(3, '5.6.8.1')
    tell(t, known_there + elsewhere)
    d.peers(IDS[0])
    peers = until_placed(d, known_there + elsewhere)
    assert peers[known_there[0]]['country'] == 'France'
    assert peers[known_there[0]]['geo_source'] == 'mmdb:city'
    for a in elsewhere:
        expect({**peers[a], 'isp': f'ISP of {peers[a]["country_code"]}', 'asn': 64501},
               f'mmdb:asn+{service.address}')
        assert (peers[a]['isp'], peers[a]['asn']) == ('Seven', 7)
    os.rename(asn, tmp_path / 'other.mmdb')
    os.rename(city, asn)                # France twice: the city database is gone
    d.reload('# nothing new\n')
    after = d.until_peers(IDS[0], lambda p: p[elsewhere[0]]['asn'] == 64501, 15, 'the swap')
    for a in elsewhere:
        expect(after[a], service.address)
    assert sorted(service.addresses()) == elsewhere


def test_nobody_is_asked_while_a_database_is_verified(world, tmp_path):
    """It may know them, whatever is already said of others; at start and with a reload."""
    subprocess.run(['/usr/bin/perl', '-e', WRITE, str(tmp_path)], check=True)
    heavy(tmp_path / 'heavy', 'DE')
    d, t, service = world(file='[geo]\n')
    tell(t, some(5))
    d.peers('cd' * 20)                  # the daemon works
    d.reload(f'[geo]\ncity_db = {tmp_path}/heavy\nmore_db = /nosuch,{tmp_path}/city.mmdb\n')
    wait_until(lambda: [x['state'] for x in d.get('/health').json['geo']['databases']]
               == ['verifying', 'missing', 'verifying'], every=0, what='it is being verified')
    d.peers(IDS[0], wait='0')
    peers = until_placed(d, some(5), timeout=60)
    assert {p['geo_source'] for p in peers.values()} == {'mmdb:more2'}
    assert service.addresses() == []


def test_a_database_that_is_missing_is_not_waited_for(world):
    d, t, service = world({'geo.city_db': '/nowhere/city.mmdb'})
    tell(t, some(3))
    d.peers(IDS[0])
    until_placed(d, some(3), timeout=8)


# Redis ---------------------------------------------------------------------------------

def with_redis(r):
    return {'redis.mode': 'external', 'redis.url': r.url}


def until_redis(d):
    wait_until(lambda: d.get('/health').json['redis_available'], what='redis is up')


def test_the_next_daemon_asks_nothing(world, daemon, redis_server):
    r = redis_server()
    d, t, service = world(with_redis(r))
    until_redis(d)
    service.told['5.6.7.9'] = {'success': False, 'message': 'Reserved range'}
    tell(t, some(8) + ['5.6.7.9'])
    d.peers(IDS[0])
    until_placed(d, some(8))
    wait_until(lambda: counter(d, 'geo_online_answered') == 9, what='all are answered')
    keys = wait_until(lambda: (k := r.client().keys('peerscope:place:*')) and len(k) >= 9 and k,
                      what='all are in Redis')
    assert sorted(k.decode() for k in keys) == \
        sorted(f'peerscope:place:{a}' for a in some(8) + ['5.6.7.9'])
    assert 3500 < r.client().ttl('peerscope:place:5.6.7.1') <= 3600
    assert json.loads(r.client().get('peerscope:place:5.6.7.1'))['success'] is True
    d.stop()
    for key in r.client().keys('peer*:*'):      # whole lists have their places with them
        if not key.startswith(b'peerscope:place:'):
            r.client().delete(key)
    asked = len(service.asked)
    d = daemon({**plain(t, service), **with_redis(r)})
    until_redis(d)
    d.peers(IDS[0])
    peers = until_placed(d, some(8))
    expect(peers['5.6.7.1'], service.address)
    wait_until(lambda: counter(d, 'geo_online_redis') == 9, what='all came from Redis')
    assert len(service.asked) == asked == 9


def test_what_another_node_asked_meanwhile(world, daemon, redis_server):
    """Two with the same questions; the one that may ask slowly finds them answered."""
    r = redis_server()
    slowly = {'geo.online_rate': 1, 'geo.online_burst': 1}
    d, t, service = world({**with_redis(r), **slowly})
    second = daemon({**plain(t, service), **with_redis(r)})
    for node in d, second:
        until_redis(node)
    tell(t, some(30))
    tell(t, some(30), IDS[1])
    d.peers(IDS[0], wait=0)
    wait_until(lambda: service.asked, what='it asks')
    second.peers(IDS[1], wait=0)
    until_placed(second, some(30), IDS[1])
    until_placed(d, some(30), timeout=10)
    assert len(service.asked) <= 34, 'but for those of the same moment'
    assert counter(d, 'geo_online_redis') >= 25


def stored(a, country='Germany', code='DE'):
    return json.dumps({'ip': a, 'success': True, 'country': country, 'country_code': code,
                       'source': 'another', 'until': (time.time() + 3000) * 1000})


def leave_places(r, addresses):
    for a in addresses:
        r.client().setex(f'peerscope:place:{a}', 3000, stored(a))


def limited_for_long(world, conf):
    """A daemon whose service says: not before ten minutes; one address was asked about."""
    d, t, service = world(conf)
    until_redis(d)
    service.mode, service.retry_after = 'limit', 600
    tell(t, ['5.6.9.1'], IDS[2])
    d.peers(IDS[2])
    until_state(d, 'limited')
    return d, t, service


def test_other_nodes_answer_while_the_service_may_not_be_asked(world, redis_server):
    """Who waits is looked for again and again, less and less often."""
    r = redis_server()
    d, t, service = limited_for_long(world, with_redis(r))
    tell(t, some(6))
    d.peers(IDS[0])
    wait_until(lambda: online(d)['waiting'] == 7, what='they wait')
    before, began = counter(d, 'redis_commands'), time.monotonic()
    wait_until(lambda: time.monotonic() - began > 7, 20, 'a while')
    assert counter(d, 'redis_commands') - before < 60, 'seven twice or so, and PINGs'
    leave_places(r, some(6))
    peers = until_placed(d, some(6), timeout=20)
    assert peers['5.6.7.1']['geo_source'] == 'another'
    wait_until(lambda: online(d)['waiting'] == 1, what='one is left')
    assert counter(d, 'geo_online_redis') == 6 and len(service.asked) == 1
    leave_places(r, some(3, '5.6.8.1'))
    tell(t, some(3, '5.6.8.1'), IDS[1])
    d.peers(IDS[1])
    until_placed(d, some(3, '5.6.8.1'), IDS[1], timeout=5)


def test_who_came_while_redis_was_away_is_looked_for(world, redis_server):
    """The service may not be asked for long; Redis is there again long before that."""
    r = redis_server()
    d, t, service = limited_for_long(world, with_redis(r))
    r.proc.kill(signal.SIGKILL)
    wait_until(lambda: not d.get('/health').json['redis_available'], what='it is noticed')
    tell(t, some(6))
    d.peers(IDS[0])
    wait_until(lambda: online(d)['waiting'] == 7, what='they wait, and are counted')
    r.start()
    leave_places(r, some(6))
    wait_until(lambda: d.get('/health').json['redis_available'], 30, 'redis is back')
    until_placed(d, some(6), timeout=6)
    assert counter(d, 'geo_online_redis') == 6 and len(service.asked) == 1


def test_what_others_left_in_redis(world, redis_server):
    """Somebody else's JSON, an answer about another address, one that is over: misses."""
    r = redis_server()
    wrong = {'5.6.7.1': '{"user": 7}', '5.6.7.2': 'x' * 100000,
             '5.6.7.3': '{"success":true,"country":"Germany","ip":"5.6.7.4","until":9e15}',
             '5.6.7.4': '{"success":true,"country":"Germany","ip":"5.6.7.4","until":5}'}
    for a, text in wrong.items():
        r.client().set(f'peerscope:place:{a}', text)
    r.client().lpush('peerscope:place:5.6.7.5', 'a list')
    d, t, service = world(with_redis(r))
    until_redis(d)
    tell(t, some(5))
    d.peers(IDS[0])
    peers = until_placed(d, some(5))
    for a in some(5):
        expect(peers[a], service.address)
    assert sorted(service.addresses()) == some(5)


def test_a_redis_that_hangs_costs_little(world, redis_server):
    r = redis_server()
    d, t, service = world({**with_redis(r), 'redis.timeout': '20s'})
    until_redis(d)
    r.proc.kill(signal.SIGSTOP)
    tell(t, some(5))
    d.peers(IDS[0])
    until_placed(d, some(5), timeout=5)
    r.proc.kill(signal.SIGCONT)
    assert isinstance(r.client(), client.Redis)


# Lists that came from Redis: nothing is joined for them ----------------------------------

def leave_list(r, addresses, place, infohash=IDS[0]):
    r.client().setex(f'peer_stats:{infohash}', 60,
                     service_json(infohash, [(a, 6881) for a in addresses], place))


def test_a_list_from_redis_is_known_in_the_next_version(world, redis_server):
    r = redis_server()
    addresses = some(20)
    leave_list(r, addresses + ['10.1.2.3', '192.168.1.1'], NOWHERE)
    d, t, service = world({**with_redis(r), 'cache.ttl': '1m'})
    until_redis(d)
    service.gate.clear()
    began = time.monotonic()
    first = d.get(f'/peers/{IDS[0]}')
    assert time.monotonic() - began < 1 * slow(), 'it waits for nobody'
    assert first.json['peer_count'] == 22 and not any(known(p) for p in first.json['peers'])
    versions = counter(d, 'publishes')
    service.gate.set()
    peers = until_placed(d, addresses)
    for a in addresses:
        expect(peers[a], service.address)
    assert not known(peers['10.1.2.3']) and not known(peers['192.168.1.1'])
    last = d.get(f'/peers/{IDS[0]}')
    assert last.headers['ETag'] != first.headers['ETag']
    assert last.json['cached_at'] == first.json['cached_at'], 'it is as old as it was'
    assert 1 <= counter(d, 'publishes') - versions <= 3
    assert sorted(service.addresses()) == sorted(addresses)
    leave_list(r, addresses, NOWHERE, IDS[1])
    assert all(known(p) for p in d.peers(IDS[1])['peers']), 'from memory, at once'
    assert len(service.asked) == 20
    assert counter(d, 'joins') == 0 and t.announces(IDS[0]) == []


def test_a_list_from_redis_when_it_may_be_asked_for(world, redis_server):
    """Later: geo.online is turned on while the list is there."""
    r = redis_server()
    leave_list(r, some(600), NOWHERE)
    d, t, service = world({**with_redis(r), 'cache.ttl': '2m', 'geo.online': None},
                          file='[geo]\nonline = off\n')
    until_redis(d)
    assert d.peers(IDS[0])['total_peers'] == 600
    d.reload('[geo]\nonline = on\nonline_rate = 1000\nonline_burst = 100\n')
    until_placed(d, some(600), timeout=30)
    assert sorted(service.addresses()) == sorted(some(600))
    assert counter(d, 'joins') == 0 and counter(d, 'geo_online_dropped') == 0


def test_only_what_two_nodes_lack_is_asked(world, daemon, redis_server, tmp_path):
    """What the other one's database knew came with the list."""
    subprocess.run(['/usr/bin/perl', '-e', WRITE, str(tmp_path)], check=True)
    r = redis_server()
    there, nowhere = some(6), some(6, '5.6.8.1')
    d, t, service = world({**with_redis(r), 'geo.online': 'off',
                           'geo.city_db': str(tmp_path / 'city.mmdb')})
    until_redis(d)
    tell(t, there + nowhere)
    d.peers(IDS[0])
    wait_until(lambda: r.client().get(f'peerscope:list:{IDS[0]}'), what='its list is there')
    second = daemon({**plain(t, service), **with_redis(r)})
    until_redis(second)
    peers = until_placed(second, there + nowhere)
    for a in there:
        assert (peers[a]['country'], peers[a]['geo_source']) == ('France', 'mmdb:city')
    for a in nowhere:
        expect(peers[a], service.address)
    assert sorted(service.addresses()) == sorted(nowhere)
    assert counter(second, 'joins') == 0


SAID = 'ip', 'port', 'ace', 'client', 'progress', 'state'


def test_a_list_of_an_acestream_swarm(world, daemon, ace_swarm, tracker, redis_server):
    """All that its peers said stays in the version that has the places."""
    r = redis_server()
    s = ace_swarm([{'count': 3, 'version': 3021100, 'rate': 5.0}])
    told = some(3)                      # nobody answers there
    first = told_by(daemon, lambda: tracker(), s, [[a, 8621] for a in told], **FAST,
                    **with_redis(r))
    until_redis(first)
    wait_until(lambda: (a := first.peers(s.key))['phase'] == 'settled' and a['peer_count'] == 6,
               20, 'settled')
    wait_until(lambda: json.loads(r.client().get(f'peer_stats:{s.key}'))['phase'] == 'settled',
               what='it is in Redis as well')      # a moment later
    first.stop()
    d, t, service = world({**with_redis(r), 'cache.ttl': '1m'})
    until_redis(d)
    service.gate.clear()
    old = d.peers(s.key)
    assert old['peer_count'] == 6 and not any(known(p) for p in old['peers'])
    service.gate.set()
    placed = until_placed(d, told, s.key)
    new = d.peers(s.key)
    assert {**new, 'peers': 0} == {**old, 'peers': 0} and new['ace']
    for was, now in zip(old['peers'], new['peers'], strict=True):
        assert [now[k] for k in SAID] == [was[k] for k in SAID]
    for a in told:
        expect(placed[a], service.address)
    assert sorted(service.addresses()) == told
    assert counter(d, 'joins') == 0 and counter(d, 'ace_calls') == 0


def test_our_database_before_what_a_list_says(world, redis_server, tmp_path):
    """Field by field; and of a city in another country nothing is left."""
    subprocess.run(['/usr/bin/perl', '-e', WRITE, str(tmp_path)], check=True)
    r = redis_server()
    leave_list(r, ['5.6.7.1', '5.6.8.1', '5.7.1.1'], TOKYO)
    d, t, service = world({**with_redis(r), 'geo.city_db': str(tmp_path / 'city.mmdb'),
                           'geo.asn_db': str(tmp_path / 'asn.mmdb')})
    until_redis(d)
    d.peers(IDS[0])
    peers = until_placed(d, ['5.6.7.1', '5.6.8.1', '5.7.1.1'])
    assert [[peers[a][k] for k in ('country', 'city', 'isp', 'asn', 'latitude')]
            for a in ('5.6.7.1', '5.6.8.1', '5.7.1.1')] == [
        ['France', 'Unknown', 'Seven', 7, None],
        ['Japan', 'Tokyo', 'Seven', 7, 35.69],
        ['Japan', 'Tokyo', 'Example ISP', None, 35.69]]
    assert service.asked == [] and counter(d, 'joins') == 0


def test_a_long_list_is_placed_anew_as_one_version(world, redis_server, tmp_path):
    """In slices, behind the answers, when a database comes."""
    subprocess.run(['/usr/bin/perl', '-e', WRITE, str(tmp_path)], check=True)
    r = redis_server()
    addresses = some(1200, '5.6.7.1')
    leave_list(r, addresses, {})
    here = tmp_path / 'here.mmdb'
    d, t, service = world({**with_redis(r), 'cache.ttl': '2m', 'geo.online': 'off',
                           'geo.city_db': str(here)})
    until_redis(d)
    assert d.peers(IDS[0])['total_peers'] == 1200
    versions = counter(d, 'publishes')
    os.rename(tmp_path / 'city.mmdb', here)
    peers = until_placed(d, some(249))
    assert sum(known(p) for p in peers.values()) == 249
    assert counter(d, 'publishes') == versions + 1 and counter(d, 'geo_again') == 1200

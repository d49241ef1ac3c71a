"""Metadata that is not cached: the collector gets it, once for all who ask, and keeps it."""
import contextlib
import hashlib
import http.client
import json
import os
import signal
import statistics
import time

import pytest

import metacache
import wire
from metacache import API, counters, everything_below, gauges, link, post
from procs import slow, wait_until

DEAD = '0123456789abcdef0123456789abcdef01234567'
PASSKEY = 'f00dfeedf00dfeedf00dfeedf00dfeed'
SECRET = f'http://127.0.0.1:9/{PASSKEY}/announce'


# From peers ------------------------------------------------------------------

def test_a_peer_gives_it(fetching, swarm):
    s = swarm([{'count': 1}])
    d = fetching()
    began = time.monotonic()
    a = post(d, link(s.infohash, s.endpoints()))
    took = time.monotonic() - began
    assert a.status == 200 and a.json['info_hash'] == s.infohash and a.json['files'], a
    assert a.json['source'] == 'dht' and a.json['verified'] is True
    assert took < 2 * slow(), took
    again = post(d, s.infohash)
    assert again.status == 200 and again.json['source'] == 'disk'
    torrent = d.get(f'/download/{s.infohash}').body
    assert hashlib.sha1(wire.read_torrent(torrent).info).hexdigest() == s.infohash
    assert counters(d)['meta_flights'] == counters(d)['meta_found'] == 1
    assert s.asked_for_no_piece()


def test_peers_of_a_link_are_dialled_at_once(fetching, swarm):
    """Not with libtorrent's next second: of fetches one after the other, each but the first would
    begin behind one such second and end with the next."""
    s = swarm([{'count': 1}], torrents=9)
    d = fetching()
    took = []
    for infohash in s.infohashes:
        began = time.monotonic()
        assert post(d, link(infohash, s.endpoints())).status == 200
        took.append(time.monotonic() - began)
    assert statistics.median(took) < 0.4 * slow(), took


def test_from_a_real_seed(fetching, payload, ltpeer):
    p = payload(trackers=(), size=300000)
    s = ltpeer(p, 1.0)
    d = fetching()
    a = post(d, link(p.infohash, [(s.address, s.port)], 'udp://127.0.0.1:9'))
    assert a.status == 200 and a.json['source'] == 'dht' and a.json['size'] == 300000
    assert a.json['trackers'] == ['udp://127.0.0.1:9']
    assert d.get(f'{API}/{p.infohash}').json['source'] == 'disk'
    assert d.get(f'/download/{p.infohash}').body.startswith(b'd4:infod6:lengthi300000e')


def test_by_the_trackers_of_the_link(fetching, swarm, tracker):
    t = tracker()
    s = swarm([{'count': 2}], trackers=[t.http])
    t.set(s.infohash, peers=s.endpoints())
    d = fetching()
    assert post(d, link(s.infohash, (), t.udp)).status == 200
    assert t.announces(s.infohash, 'started')


def test_trackers_of_every_link_are_asked(fetching, swarm, tracker):
    """Whoever comes later may know more; but no more than swarm.max_trackers."""
    one, two, three = tracker(), tracker(), tracker()
    s = swarm([{'count': 1}])
    three.set(s.infohash, peers=s.endpoints())
    d = fetching({'swarm.max_trackers': 2, 'swarm.trackers': one.http, 'metadata.timeout': '20s'})
    for t in one, two:
        assert post(d, link(s.infohash, (), t.http), query='?timeout=100').status == 504
    wait_until(lambda: one.announces(s.infohash) and two.announces(s.infohash), 10,
               'both are asked')
    assert post(d, link(s.infohash, (), three.http)).status == 200
    assert len(one.announces(s.infohash, 'started')) == 1
    d = fetching({'swarm.max_trackers': 1, 'metadata.timeout': '2s'})
    assert post(d, link('ab' * 20, (), two.http, three.http)).status == 504
    wait_until(lambda: two.announces('ab' * 20), 10, 'the first one is asked')
    assert not three.announces('ab' * 20)
    assert counters(d)['trackers_left_out'] == 1


def test_the_same_trackers_are_asked_once(fetching, swarm, tracker):
    """However many bring them: nobody waits for answers that never come, and there is room."""
    empty, t = tracker(), tracker()
    s = swarm([{'count': 2}])
    t.set(s.infohash, peers=s.endpoints())
    d = fetching({'metadata.timeout': '20s', 'swarm.discovery_wait': '8s',
                  'swarm.max_trackers': 2})
    for _ in range(10):
        assert post(d, link(s.infohash, (), empty.udp), query='?timeout=20').status == 504
    wait_until(lambda: empty.announces(s.infohash), 10, 'it is asked')
    began = time.monotonic()
    d.get(f'/peers/{s.infohash}', timeout=60)
    assert time.monotonic() - began < 4 * slow()
    assert post(d, link(s.infohash, (), t.udp)).status == 200
    assert counters(d)['trackers_left_out'] == 0


def test_a_reload_does_not_forget_a_links_trackers(daemon, swarm, tracker, tmp_path):
    text = '[swarm]\ntrackers = {}\n'
    one, two, mine = tracker(), tracker(), tracker()
    s = swarm([{'count': 1}])
    d = daemon({'http.workers': 1, 'metadata.cache_dir': str(tmp_path), 'swarm.trackers': None,
                'metadata.timeout': '20s'}, file=text.format(one.http))
    mine.set(s.infohash, interval=3600)
    assert post(d, link(s.infohash, (), mine.http), query='?timeout=100').status == 504
    wait_until(lambda: mine.announces(s.infohash), 10, 'it is asked')
    with open(d.file, 'w', encoding='utf-8') as f:
        f.write(text.format(two.http))
    mine.set(s.infohash, peers=s.endpoints())
    d.kill(signal.SIGHUP)
    wait_until(lambda: two.announces(s.infohash), 10, 'the new one is asked')
    wait_until(lambda: d.get(f'{API}/{s.infohash}').status == 200, 10, 'mine as well')


def test_a_swarm_that_is_known_already(fetching, swarm):
    """Somebody asked for its peers before: the metadata is there."""
    s = swarm([{'count': 1}])
    d = fetching()
    d.peers(s.infohash, **{'x.pe': '{}:{}'.format(*s.endpoints()[0])})
    wait_until(lambda: s.totals()['metadata_requests'], 10, 'it got it')
    s.ask('leave', peers=[0])
    a = post(d, s.infohash)
    assert a.status == 200 and a.json['source'] == 'dht'


def test_who_lies_is_not_believed(fetching, swarm):
    s = swarm([{'count': 1, 'behaviour': 'liar'}, {'count': 1, 'delay_ms': 500}])
    d = fetching()
    a = post(d, link(s.infohash, s.endpoints([0])), query='?timeout=1500')
    assert a.status == 504 and a.json['code'] == 'timeout'
    assert s.totals()['metadata_requests'] > 0
    assert d.get(f'{API}/{s.infohash}').status == 404 and not everything_below(d.cache)
    a = post(d, link(s.infohash, s.endpoints()))
    assert a.status == 200 and 'nome' not in a.json['name']
    torrent = d.get(f'/download/{s.infohash}').body
    assert hashlib.sha1(wire.read_torrent(torrent).info).hexdigest() == s.infohash


@pytest.mark.parametrize('size', [100, 17000, 200000])
def test_who_lies_about_the_size_starves_nobody(fetching, swarm, size):
    """Said after the honest peer's word, and before it gave anything; nothing comes of it."""
    s = swarm([{'count': 1, 'metadata_delay_ms': 900},
               {'count': 1, 'metadata_size': size, 'delay_ms': 400}])
    d = fetching()
    a = post(d, link(s.infohash, s.endpoints()))
    assert a.status == 200 and a.json['info_hash'] == s.infohash, a


# One fetch, many waiters --------------------------------------------------------

def test_many_askers_one_flight(fetching, swarm):
    s = swarm([{'count': 1, 'delay_ms': 300}])
    d = fetching({'http.workers': 2, 'http.max_parked': 1200, 'http.max_connections': 2400})
    asked = [http.client.HTTPConnection(d.host, d.port, timeout=60 * slow())
             for _ in range(1000)]
    body = metacache.asking(link(s.infohash, s.endpoints()))
    with contextlib.ExitStack() as stack:
        for c in asked:
            stack.callback(c.close)
            c.request('POST', API, body)
        assert gauges(d)['meta_flying'] <= 1
        answers = [c.getresponse() for c in asked]
        assert {r.status for r in answers} == {200}
        assert len({r.read() for r in answers}) <= 2        # by source
    assert counters(d)['meta_flights'] == 1
    assert s.totals()['metadata_requests'] <= 4


def test_nobody_has_it(fetching):
    d = fetching({'metadata.timeout': '1s'})
    a = post(d, DEAD)
    assert a.status == 504 and a.json['error'] == 'Timeout'
    wait_until(lambda: counters(d)['meta_none'] == 1, 10, 'its time is over')
    a = post(d, DEAD)
    assert a.status == 504 and a.json['code'] == 'nobody_has_it'
    assert 0 < int(a.headers['Retry-After']) <= 60
    assert counters(d)['meta_dead'] == counters(d)['meta_flights'] == 1


def test_our_own_fault_is_not_the_torrents(fetching, tracker):
    """Where nobody could be heard, nothing is known of it; the next question is a real one."""
    silent = 'http://127.0.0.1:9/announce'
    for conf, magnet in (({'swarm.dht': 'on', 'swarm.dht_bootstrap': '127.0.0.1:9'}, DEAD),
                         ({}, link(DEAD, (), silent)), ({}, link(DEAD, [('127.0.0.1', 9)]))):
        d = fetching({'metadata.timeout': '1s', **conf})
        for n in 1, 2:
            assert post(d, magnet).json['code'] == 'timeout'
            wait_until(lambda n=n: counters(d)['meta_none'] == n, 10, 'its time is over')
        assert counters(d)['meta_dead'] == 0
    a = post(d, link(DEAD, (), silent, tracker().udp))      # one of them answers
    assert a.json['code'] == 'timeout'
    wait_until(lambda: gauges(d)['meta_idle'] == 1, 10, 'its time is over')
    assert post(d, DEAD).json['code'] == 'nobody_has_it'


def test_each_asker_has_his_own_time(fetching):
    """Who comes while it is looked for is not told with the first one."""
    d = fetching({'metadata.timeout': '4s'})
    began = time.monotonic()
    assert post(d, DEAD, query='?timeout=100').status == 504
    wait_until(lambda: time.monotonic() > began + 1.5, what='some of that time is over')
    asked = time.monotonic()
    a = post(d, DEAD)
    took = time.monotonic() - asked
    assert a.status == 504 and a.json['code'] == 'timeout' and took > 3.9, (a, took)
    assert post(d, DEAD).json['code'] == 'nobody_has_it'
    assert counters(d)['meta_flights'] == counters(d)['meta_none'] == 1


def test_a_hash_silences_no_link(fetching, swarm, tracker):
    """Who asks with less knows less: trackers that were not asked are, but once."""
    empty, t = tracker(), tracker()
    s = swarm([{'count': 2}])
    t.set(s.infohash, peers=s.endpoints())
    d = fetching({'metadata.timeout': '1s'})
    assert post(d, s.infohash).status == 504
    for magnet in link(s.infohash, (), empty.udp), link(s.infohash, (), empty.udp) + '&dn=x':
        wait_until(lambda: gauges(d)['meta_idle'] == 1, 10, 'its time is over')
        a = post(d, magnet)
        assert a.status == 504
    assert a.json['code'] == 'nobody_has_it'
    assert post(d, s.infohash).json['code'] == 'nobody_has_it'
    assert post(d, link(s.infohash, (), t.udp)).status == 200


def test_the_flight_outlives_its_asker(fetching, swarm):
    s = swarm([{'count': 1, 'absent': True}])
    t0 = time.monotonic()
    d = fetching({'metadata.timeout': '20s', 'swarm.discovery_wait': '300ms'})
    a = post(d, link(s.infohash, s.endpoints()), query='?timeout=300ms')
    assert a.status == 504 and a.json['code'] == 'timeout' and time.monotonic() - t0 < 15 * slow()
    h = d.get('/api/v1/health').json
    assert h['stats']['active_locks'] == 1 == gauges(d)['meta_flying']
    s.ask('join', peers=[0])
    s.ask('dial', peers=[0], to=[d.address, 42069], infohash=s.infohash)
    wait_until(lambda: d.get(f'{API}/{s.infohash}').status == 200, 10, 'it is in the cache')
    wait_until(lambda: d.get('/api/v1/health').json['stats']['active_locks'] == 0, 10, 'over')
    assert d.get('/api/v1/health').json['stats']['active_torrents'] >= 1


def test_what_needs_minutes_ends_in_the_cache(fetching, swarm, tracker):
    s = swarm([{'count': 1, 'absent': True}])
    d = fetching({'metadata.timeout': '1s', 'swarm.discovery_wait': '300ms'})
    a = post(d, link(s.infohash, s.endpoints(), tracker().udp))
    assert a.status == 504 and a.json['code'] == 'timeout'
    wait_until(lambda: gauges(d)['meta_idle'] == 1, 10, 'nobody waits for it any more')
    assert post(d, s.infohash).json['code'] == 'nobody_has_it'
    s.ask('join', peers=[0])
    s.ask('dial', peers=[0], to=[d.address, 42069], infohash=s.infohash)
    wait_until(lambda: d.get(f'{API}/{s.infohash}').status == 200, 10, 'it is in the cache')
    assert post(d, s.infohash).status == 200
    assert counters(d)['meta_flights'] == counters(d)['meta_found'] == 1


def test_what_nobody_waits_for_ends_for_a_question(fetching, swarm):
    s = swarm([{'count': 1}])
    d = fetching({'metadata.flights': 2, 'metadata.timeout': '300ms'})
    for n in range(2):
        assert post(d, f'{n:040x}'.replace('0', 'a')).status == 504
    wait_until(lambda: gauges(d)['meta_idle'] == 2, 10, 'nobody waits for them')
    a = post(d, link(s.infohash, s.endpoints()), query='?timeout=300ms')
    wait_until(lambda: d.get(f'{API}/{s.infohash}').status == 200, 10, 'it is in the cache')
    assert a.status in (200, 504)
    assert counters(d)['meta_full'] == 0 and counters(d)['meta_idle_dropped'] == 1


def test_its_minutes_are_over(fetching):
    d = fetching({'metadata.timeout': '300ms', 'metadata.job_timeout': '4s'})
    assert post(d, DEAD).status == 504
    wait_until(lambda: gauges(d)['meta_idle'] == 1, 10, 'nobody waits for it any more')
    wait_until(lambda: gauges(d)['meta_flying'] == 0, 10, 'it is over')
    assert counters(d)['meta_none'] == 1


def test_flights_are_bounded(fetching):
    d = fetching({'metadata.flights': 2, 'metadata.timeout': '20s'})
    for n in range(2):
        assert post(d, f'{n:040x}'.replace('0', 'a'), query='?timeout=50').status == 504
    a = post(d, DEAD)
    assert a.status == 503 and a.json['code'] == 'busy' and int(a.headers['Retry-After']) > 0
    assert counters(d)['meta_full'] == 1


# Uploads ------------------------------------------------------------------------

def torrent_of(info, **beside):
    beside = {k.replace('_', '-' if k.endswith('_list') else ' '): v
              for k, v in beside.items()}
    keys = sorted([*beside, 'info'])
    out = b'd'
    for k in keys:
        out += wire.benc(k) + (info if k == 'info' else wire.benc(beside[k]))
    return out + b'e'


@pytest.mark.parametrize('kind', ['application/x-bittorrent', 'application/octet-stream', ''])
def test_an_upload(fetching, kind):
    t = wire.make_torrent('one file')
    d = fetching()
    h = {'Content-Type': kind} if kind else {}
    a = d.request('POST', API, h, torrent_of(t.info))
    assert a.status == 200 and a.json['info_hash'] == t.infohash.hex()
    assert a.json['source'] == 'upload' and len(a.json['files']) == 1
    assert 'trackers' not in a.json and 'created_at' not in a.json
    assert d.get(f'{API}/{t.infohash.hex()}').json['source'] == 'disk'
    assert not os.listdir(os.path.join(d.run_dir, 'up'))


def test_no_torrent_is_uploaded(fetching):
    d = fetching()
    for body in b'd', b'de', b'd4:infodee', b'd4:infoi1ee', torrent_of(b'd4:name1:ae'):
        a = d.request('POST', API, {}, body)
        assert a.status == 400 and a.json['code'] == 'invalid_torrent', body
    assert counters(d)['meta_bad_uploads'] == 5
    assert not everything_below(d.cache)


def test_what_one_asker_brings_is_not_told_to_another(fetching, redis_server):
    """Trackers have passkeys in them, and the hash proves no comment."""
    r = redis_server()
    d = fetching({'redis.mode': 'external', 'redis.url': r.url})
    wait_until(lambda: gauges(d)['redis_up'], 10, 'redis')
    t = wire.make_torrent('private')
    key = t.infohash.hex()
    a = d.request('POST', API, {}, torrent_of(
        t.info, announce=SECRET, announce_list=[[SECRET], ['udp://127.0.0.1:9']],
        comment='by somebody', created_by='a maker', creation_date=1700000000,
        url_list=[f'http://127.0.0.1/{PASSKEY}/']))
    assert a.status == 200 and a.body.count(b'"trackers"') == 1, a
    mine = a.json
    # trackers may come as "announce" and as a list: each once
    assert mine['trackers'] == [SECRET, 'udp://127.0.0.1:9'] and len(mine['web_seeds']) == 1
    assert mine['comment'] == 'by somebody' and mine['created_by'] == 'a maker'
    assert mine['created_at'] == '2023-11-14T22:13:20Z'

    asked = post(d, link(DEAD.replace('0', '1'), (), SECRET), query='?timeout=100')
    assert asked.status == 504
    for theirs in d.get(f'{API}/{key}'), post(d, key), d.get(f'/download/{key}'), \
            post(d, link(key, (), 'udp://127.0.0.2:9')):
        assert theirs.status == 200 and PASSKEY.encode() not in theirs.body
        assert b'somebody' not in theirs.body and theirs.body.count(b'"trackers"') <= 1
    assert post(d, link(key, (), 'udp://127.0.0.2:9')).json['trackers'] == ['udp://127.0.0.2:9']
    assert PASSKEY.encode() not in everything_below(d.cache)
    assert PASSKEY.encode() not in everything_below(d.run_dir)
    with r.client() as known:
        wait_until(lambda: known.exists(f'peerscope:meta:1:{key}'), 10, 'it is in Redis')
        keys = list(known.scan_iter('*'))
        assert not [k for k in keys if PASSKEY.encode() in (known.get(k) or b'')]


def test_a_magnets_trackers_are_not_told_to_another(fetching, swarm):
    s = swarm([{'count': 1}])
    d = fetching()
    a = post(d, link(s.infohash, s.endpoints(), SECRET) + f'&ws=http%3A%2F%2Fa.test%2F{PASSKEY}')
    assert a.status == 200 and a.json['trackers'] == [SECRET]
    assert a.json['web_seeds'] == [f'http://a.test/{PASSKEY}']
    assert a.body.count(b'"trackers"') == a.body.count(b'"web_seeds"') == 1
    assert PASSKEY.encode() not in d.get(f'{API}/{s.infohash}').body
    assert PASSKEY.encode() not in everything_below(d.cache)
    assert PASSKEY not in d.log()


# Damage -------------------------------------------------------------------------

def test_damage_is_fetched_again(fetching, swarm):
    s = swarm([{'count': 1}])
    d = fetching()
    metacache.put(d.cache, s.infohash, metacache.described(s.infohash, 5, 'wrong'),
                  damage=lambda whole: whole[:-5] + b'?????')
    a = post(d, link(s.infohash, s.endpoints()))
    assert a.status == 200 and a.json['source'] == 'dht' and a.json['name'] != 'wrong'
    assert d.get(f'{API}/{s.infohash}').json['name'] == a.json['name']


# Redis --------------------------------------------------------------------------

def test_another_node_answers_from_redis(fetching, swarm, redis_server):
    r = redis_server()
    conf = {'redis.mode': 'external', 'redis.url': r.url}
    s = swarm([{'count': 1}])
    one, two = fetching(conf), fetching(conf)
    for d in one, two:
        wait_until(lambda: gauges(d)['redis_up'], 10, 'redis')
    assert post(one, link(s.infohash, s.endpoints())).json['source'] == 'dht'
    key = f'peerscope:meta:1:{s.infohash}'
    with r.client() as known:
        wait_until(lambda: known.exists(key), 10, 'it is in Redis')
        assert 86000 < known.ttl(key) <= 86400
        assert hashlib.sha1(known.get(key)).hexdigest() == s.infohash
    before = s.totals()['connections']
    a = post(two, s.infohash)
    assert a.status == 200 and a.json['source'] == 'redis'
    assert counters(two)['meta_redis_hits'] == 1 and s.totals()['connections'] == before
    assert post(two, s.infohash).json['source'] == 'disk'


def test_trackers_of_who_comes_while_redis_is_asked(fetching, swarm, tracker, redis_server):
    r, t = redis_server(), tracker()
    s = swarm([{'count': 1}])
    t.set(s.infohash, peers=s.endpoints())
    d = fetching({'redis.mode': 'external', 'redis.url': r.url, 'metadata.timeout': '10s'})
    wait_until(lambda: gauges(d)['redis_up'], 10, 'redis')
    # a batch comes at once: the second one before the answer to the first one's question
    a = d.request('POST', API + '/batch', {},
                  json.dumps([s.infohash, link(s.infohash, (), t.http)]).encode(), timeout=60)
    assert [one.get('info_hash') for one in a.json] == [s.infohash] * 2, a
    assert counters(d)['meta_flights'] == 1


def test_peers_of_who_comes_while_redis_is_asked(fetching, swarm, redis_server):
    r = redis_server()
    s = swarm([{'count': 1}])
    d = fetching({'redis.mode': 'external', 'redis.url': r.url, 'metadata.timeout': '10s'})
    wait_until(lambda: gauges(d)['redis_up'], 10, 'redis')
    a = d.request('POST', API + '/batch', {},
                  json.dumps([s.infohash, link(s.infohash, s.endpoints())]).encode(), timeout=60)
    assert [one.get('info_hash') for one in a.json] == [s.infohash] * 2, a
    assert counters(d)['meta_flights'] == 1 and counters(d)['given_lost'] == 0


@pytest.mark.parametrize('value', [b'', b'{"info_hash":"x"}', b'd', b'de', b'x' * 100000,
                                   b'd4:name1:ae', wire.make_torrent('another').info])
def test_garbage_in_redis_is_none(fetching, swarm, redis_server, value):
    r = redis_server()
    s = swarm([{'count': 1}])
    d = fetching({'redis.mode': 'external', 'redis.url': r.url})
    wait_until(lambda: gauges(d)['redis_up'], 10, 'redis')
    with r.client() as known:
        known.set(f'peerscope:meta:1:{s.infohash}', value)
        a = post(d, link(s.infohash, s.endpoints()))
        assert a.status == 200 and a.json['source'] == 'dht'
        assert a.json['info_hash'] == s.infohash
        wait_until(lambda: hashlib.sha1(known.get(f'peerscope:meta:1:{s.infohash}')).hexdigest()
                   == s.infohash, 10, 'the true one is there')


def test_what_redis_has_not_and_no_swarm_can_be_joined_for(daemon, redis_server, tmp_path):
    """The flight ends with the word of Redis, within its callback: nothing of it is read then,
    where freed memory is overwritten."""
    r = redis_server()
    d = daemon({'redis.mode': 'external', 'redis.url': r.url, 'swarm.interface': 'tun77',
                'metadata.cache_dir': str(tmp_path / 'cache')}, wait=False,
               env={'MALLOC_PERTURB_': '165'})
    d.wait_serving(listens=False)
    wait_until(lambda: gauges(d)['redis_up'], 10, 'redis')
    pid = d.collector()
    for i in range(1, 9):
        a = post(d, f'{i:02x}' * 20)
        assert a.status == 503 and a.json['code'] == 'interface', a
    assert d.collector() == pid


# Who speaks neither plain nor TCP ------------------------------------------------

@pytest.mark.parametrize('way', ['--utp-only', '--encrypted-only'])
def test_peers_that_want_another_way(fetching, payload, ltpeer, way):
    p = payload(trackers=(), size=300000)
    s = ltpeer(p, 1.0, options=[way])
    d = fetching()
    a = post(d, link(p.infohash, [(s.address, s.port)]))
    assert a.status == 200 and a.json['source'] == 'dht' and a.json['size'] == 300000

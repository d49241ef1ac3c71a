"""One Redis for several nodes: what one knows answers the others' questions, one of them
joins for all; and nothing that happens to Redis is ever an asker's trouble."""
import json
import os
import signal
import socket
import subprocess
import threading
import time

import netns
import pytest
import redis as client
from acecheck import FAST, told_by
from daemon import BIN
from load import Load
from oldlist import service_json
from procs import BUILD_SLOW, slow, wait_until

LIST, CLAIM, JSON = 'peerscope:list:', 'peerscope:claim:', 'peer_stats:'


def is_up(d):
    return d.get('/health').json['redis_available'] is True


def state(d):
    return d.get('/health').json['redis']['state']


def counter(d, name):
    return d.top()['counters'][name]


def gauge(d, name):
    return d.top()['gauges'][name]


@pytest.fixture
def node(daemon, redis_server):
    """node(conf): a daemon that shares node.redis with the others."""
    r = redis_server()

    def make(conf=None, **kw):
        d = daemon({'redis.mode': 'external', 'redis.url': r.url, **(conf or {})}, **kw)
        if kw.get('wait', True):
            wait_until(lambda: is_up(d), what='redis is up')
        return d
    make.redis, make.db = r, r.client()
    return make


def scripted(swarm, tracker, torrents=1, count=10, delay_ms=50, **group):
    t = tracker()
    s = swarm([{'count': count, 'progress': 'mixed', **group}], torrents=torrents,
              delay_ms=delay_ms)
    for infohash in s.infohashes:
        t.set(infohash, peers=s.endpoints())
    return t, s


def joins_of(t, infohash):
    return len(t.announces(infohash, 'started'))


def stored(node, infohash):
    """The list of this swarm is in Redis."""
    return wait_until(lambda: node.db.get(LIST + infohash), what='the list is in Redis')


def settled(d, infohash):
    return wait_until(lambda: (a := d.peers(infohash, limit=2000))['phase'] == 'settled' and a,
                      what='settled')


# ---- another node's answer --------------------------------------------------------------

PLACE = ('country', 'country_code', 'city', 'isp', 'region', 'latitude', 'longitude',
         'timezone', 'asn', 'geo_source', 'accuracy_radius_km')
WHOLE = ('ip', 'port', 'client', 'progress', 'country', 'country_code', 'city', 'isp',
         'region', 'latitude', 'longitude', 'timezone', 'asn', 'geo_source', 'state',
         'sources', 'flags', 'first_seen', 'last_seen', 'protocol')


def test_a_second_node_answers_whole_without_joining(net, node, swarm, tracker, mmdb):
    """More peers than an answer without ?limit= has, with places that only the first node
    has a database for."""
    t = tracker()
    s = swarm([{'count': 120, 'progress': 'mixed', 'name': 'Client No {i}'}],
              base=net.in_block(1), delay_ms=20)
    t.set(s.infohash, peers=s.endpoints(), complete=7, incomplete=8)
    first = node({'swarm.trackers': t.http, 'geo.city_db': mmdb / 'city.mmdb',
                  'geo.asn_db': mmdb / 'asn.mmdb', 'cache.max_peers': 2000, 'cache.ttl': '4s'})
    settled(first, s.infohash)
    second = node({'swarm.trackers': t.http, 'cache.ttl': '4s'})

    def same_version():         # the first one goes on; what both wrote at one time is compared
        first.peers(s.infohash)
        one = json.loads(node.db.get(JSON + s.infohash))
        two = second.peers(s.infohash, limit=2000)
        return one['cached_at'] == two['cached_at'] and one['phase'] == 'settled' and (one, two)
    asked = len(t.announces(s.infohash))
    one, two = wait_until(same_version, 60, 'the same version')
    assert one['peer_count'] == 120 and one['peers'][0]['country'] != 'Unknown'
    assert counter(second, 'joins') == 0 and counter(second, 'tier_hits') >= 1
    assert len(t.announces(s.infohash)) == asked, 'no tracker was asked'

    def facts(answer):
        return sorted(json.dumps([p[k] for k in WHOLE]) for p in answer['peers'])
    assert facts(two) == facts(one)
    for key in ('infohash', 'peer_count', 'total_peers', 'cached_at', 'phase', 'error', 'counts',
                'resolution', 'protocol', 'verdict'):
        assert two[key] == one[key], key
    again = second.peers(s.infohash)
    assert again['peer_count'] == 50 and again['total_peers'] == 120


def test_what_acestream_peers_say_is_shared_whole(node, ace_swarm, engine, tracker):
    """By the content id, which the second node has no engine for, and by the infohash; neither
    announce nor call is made there."""
    content, infohash = 'ac' * 20, 'ad' * 20
    s = ace_swarm([{'count': 4, 'version': [3021100, 3021900], 'rate': 5.0, 'lag': [0, 7, 3, 40],
                    'country': ['DE', 'ES'], 'asn': [64500, None], 'distance': [1, 2]},
                   {'count': 1, 'role': 'source', 'port': 7764, 'rate': 5.0, 'platform': 1},
                   {'count': 1, 'behaviour': 'dead'}], keys=[content, infohash])
    e = engine({content: infohash})
    e.title = 'Fußball, "live"'
    first = told_by(node, lambda: tracker(), s, **FAST, **{
        'acestream.engine_url': e.url, 'acestream.second_look': '2s', 'cache.ttl': '2s',
        'cache.max_peers': 2000})
    wait_until(lambda: (a := first.peers(content))['ace'] and a['ace']['motion'] == 'advancing',
               20, 'it advances', every=0.2)
    calls, asked = len(s.log()), len(first.ace_tracker.announces())
    second = node({'acestream.trackers': first.ace_tracker.udp, 'cache.ttl': '2s'})
    third = second.peers(infohash, limit=2000)      # the first one was never asked by this id

    def same_version():
        one = json.loads(node.db.get(JSON + content))
        two = second.peers(content, limit=2000)
        return one['cached_at'] == two['cached_at'] and (one, two)
    one, two = wait_until(same_version, 30, 'the same version')
    for a in one, two:
        a['peers'].sort(key=lambda p: (p['ip'], p['port']))
    assert two['peers'] == one['peers'] and two['ace'] == one['ace']
    assert (two['title'], two['resolution'], two['infohash']) == (e.title, 'resolved', infohash)
    assert third['peer_count'] == 6 and third['infohash'] == infohash
    assert third['resolution'] == 'taken' and third['ace']['content_id'] == content
    assert counter(second, 'joins') == 0 and counter(second, 'ace_calls') == 0
    assert counter(second, 'ace_announces') == 0
    assert len(first.ace_tracker.announces()) == asked and calls > 0


def test_a_list_gets_the_places_of_a_database_that_comes_later(net, node, ace_swarm, tracker,
                                                               mmdb, tmp_path):
    """Nothing is joined for it; of AceStream all else stays as it was."""
    s = ace_swarm([{'count': 6, 'version': 3021100, 'rate': 5.0, 'country': 'DE'}],
                  base=net.in_block(1))
    first = told_by(node, lambda: tracker(), s, **FAST)
    wait_until(lambda: (a := first.peers(s.key, limit=100))['phase'] == 'settled' and
               a['peer_count'] == 6, 20, 'settled')
    wait_until(lambda: json.loads(node.db.get(JSON + s.key))['phase'] == 'settled',
               what='it is in Redis as well')      # a moment later
    first.stop()
    here = tmp_path / 'city.mmdb'
    second = node({'geo.city_db': here, 'cache.ttl': '1m', 'cache.grace': '10m'})
    old = second.get(f'/peers/{s.key}')
    assert {p['country'] for p in old.json['peers']} == {'Unknown'}
    versions = counter(second, 'publishes')
    (tmp_path / 'whole').write_bytes((mmdb / 'city.mmdb').read_bytes())
    os.rename(tmp_path / 'whole', here)
    new = wait_until(lambda: (a := second.get(f'/peers/{s.key}')).headers['ETag'] !=
                     old.headers['ETag'] and a, what='a new version')
    for was, now in zip(old.json['peers'], new.json['peers'], strict=True):
        assert now['country'] != 'Unknown' and now['geo_source'] == 'mmdb:city'
        assert {**now, **{k: was[k] for k in PLACE}} == was
    assert {**new.json, 'peers': 0} == {**old.json, 'peers': 0}
    assert counter(second, 'publishes') == versions + 1 and counter(second, 'geo_again') == 6
    assert counter(second, 'joins') == 0 and counter(second, 'ace_calls') == 0


def test_lists_of_a_holder_are_kept_fresh_for_the_others(node, swarm, tracker):
    """The second node is asked again and again; the first one only once."""
    t, s = scripted(swarm, tracker)
    conf = {'swarm.trackers': t.http, 'cache.ttl': '1s', 'cache.grace': '1s'}
    first, second = node(conf), node(conf)
    assert first.peers(s.infohash)['peer_count'] == 10
    stored(node, s.infohash)
    seen = set()
    until = time.monotonic() + 6 * BUILD_SLOW
    while time.monotonic() < until or len(seen) < 4:
        answer = second.peers(s.infohash)
        assert answer['peer_count'] == 10 and answer['error'] is None
        seen.add(answer['cached_at'])
        time.sleep(0.05)        # a client's pace
    assert counter(second, 'joins') == 0
    assert joins_of(t, s.infohash) == 1
    assert second.get('/health').json['redis']['claims_held'] == 0
    assert first.get('/health').json['redis']['claims_held'] == 1


def test_a_node_without_a_way_out_answers_from_the_others(node, swarm, tracker):
    t, s = scripted(swarm, tracker, torrents=2)
    first = node({'swarm.trackers': t.http})
    assert first.peers(s.infohash)['peer_count'] == 10
    stored(node, s.infohash)
    second = node({'swarm.trackers': t.http, 'swarm.interface': 'tun77'}, wait=False)
    second.wait_serving(listens=False)
    wait_until(lambda: is_up(second), what='redis is up')
    assert second.peers(s.infohash)['peer_count'] == 10
    nothing = second.peers(s.infohashes[1])
    assert nothing['peers'] == [] and 'tun77' in nothing['error']
    assert node.db.keys(CLAIM + s.infohashes[1]) == [], 'it claims nothing that it can not join'


# ---- another clock ------------------------------------------------------------------------

SKEW = r'''
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *ts)
{
	static int (*real)(clockid_t, struct timespec *);
	int rc;

	if (!real)
		real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	rc = real(id, ts);
	if (id == CLOCK_REALTIME && getenv("SKEW_S"))
		ts->tv_sec += atol(getenv("SKEW_S"));
	return rc;
}
'''


@pytest.fixture(scope='module')
def clock(tmp_path_factory):
    """clock(seconds): the environment of a daemon whose clock is so far ahead."""
    lib = str(tmp_path_factory.mktemp('skew') / 'skew.so')
    subprocess.run(['cc', '-shared', '-fPIC', '-o', lib, '-x', 'c', '-'], input=SKEW, text=True,
                   check=True)
    asan = os.environ.get('ASAN_OPTIONS', '')
    return lambda seconds: {'LD_PRELOAD': lib, 'SKEW_S': str(seconds),
                            'ASAN_OPTIONS': f'{asan}:verify_asan_link_order=0'}


@pytest.mark.parametrize('reader, writer', [(900, 0), (-900, 0), (0, 5000), (-5000, 5000), (4, 0)])
def test_nodes_whose_clocks_differ(node, swarm, tracker, clock, reader, writer):
    """By more than cache.ttl and cache.grace: the list is as old as it is."""
    t, s = scripted(swarm, tracker, count=10)
    conf = {'swarm.trackers': t.http, 'cache.ttl': '60s', 'cache.grace': '1s'}
    first, second = node(conf, env=clock(writer)), node(conf, env=clock(reader))
    for d, skew in (first, writer), (second, reader):
        if skew:
            wait_until(lambda d=d: d.log_lines('lists go by its clock'), what='it knows')
    began = time.time()
    one = first.peers(s.infohash)
    stored(node, s.infohash)
    r = second.get(f'/peers/{s.infohash}')
    assert counter(second, 'joins') == 0 and counter(second, 'tier_bad') == 0
    assert r.json['peer_count'] == one['peer_count'] == 10
    assert 0 <= int(r.headers['Age']) <= 3 * slow()
    assert began - 3 < r.json['cached_at'] - reader < time.time() + 3
    assert all(began - 3 < p['last_seen'] - reader < time.time() + 3 for p in r.json['peers'])
    assert began - 3 < one['cached_at'] - writer < time.time() + 3


def test_a_clock_that_is_years_off_harms_nobody(node, swarm, tracker, clock):
    t, s = scripted(swarm, tracker)
    conf = {'swarm.trackers': t.http}
    first, second = node(conf, env=clock(10 ** 8)), node(conf)
    for d in first, second:
        assert d.peers(s.infohash)['peer_count'] == 10
    assert counter(second, 'joins') == 1 and counter(second, 'tier_bad') >= 1


# ---- another life -----------------------------------------------------------------------

def reborn(node, d, conf):
    return node({**conf, 'master.run_dir': d.run_dir, 'shm.name': d.conf['shm.name']})


def kill_all(d):
    """The whole node, at once, without a word to anybody."""
    d.exit_expected = None
    d.kill(signal.SIGSTOP)      # or it would start them again
    for pid in d.pids():
        os.kill(pid, signal.SIGKILL)
    d.kill(signal.SIGKILL)
    d.proc.wait(10)


def test_a_restarted_node_answers_from_its_earlier_life(node, swarm, tracker):
    t, s = scripted(swarm, tracker, count=60)
    conf = {'swarm.trackers': t.http}
    first = node(conf)
    assert first.peers(s.infohash, limit=100)['peer_count'] == 60
    stored(node, s.infohash)
    kill_all(first)
    assert node.db.get(CLAIM + s.infohash), 'its claim is still there'
    again = reborn(node, first, conf)
    answer = again.peers(s.infohash, limit=100)
    assert answer['peer_count'] == 60
    assert counter(again, 'joins') == 0 and joins_of(t, s.infohash) == 1


def test_nobody_waits_for_his_own_dead_claim(node, swarm, tracker):
    t, s = scripted(swarm, tracker)
    conf = {'swarm.trackers': t.http, 'redis.claim': '10m', 'swarm.discovery_wait': '10s'}
    first = node(conf)
    first.peers(s.infohash)
    stored(node, s.infohash)
    kill_all(first)
    node.db.delete(LIST + s.infohash, JSON + s.infohash)
    assert node.db.pttl(CLAIM + s.infohash) > 500000
    again = reborn(node, first, conf)
    began = time.monotonic()
    assert again.peers(s.infohash)['peer_count'] == 10
    assert time.monotonic() - began < 3 * slow()
    assert counter(again, 'claims_won') == 1 and counter(again, 'claims_lost') == 0


def test_a_node_that_leaves_gives_its_claims_back(node, swarm, tracker):
    t, s = scripted(swarm, tracker, torrents=70)     # more than one script gives back
    first = node({'swarm.trackers': t.http, 'redis.claim': '10m'})
    for infohash in s.infohashes:
        first.get(f'/peers/{infohash}?wait=0')
    wait_until(lambda: len(node.db.keys(CLAIM + '*')) == 70, what='all are claimed')
    wait_until(lambda: gauge(first, 'claims_held') == 70, what='and it says so')
    first.stop()
    assert node.db.keys(CLAIM + '*') == []


def test_a_claim_is_renewed_while_its_swarm_is_joined(node, swarm, tracker):
    t, s = scripted(swarm, tracker)
    d = node({'swarm.trackers': t.http, 'redis.claim': '3s'})
    d.peers(s.infohash)
    until = time.monotonic() + 5
    while time.monotonic() < until:
        assert node.db.pttl(CLAIM + s.infohash) > 0
        time.sleep(0.02)        # it is looked at that often
    node.db.flushall()
    wait_until(lambda: node.db.get(CLAIM + s.infohash), 6, 'it is there again')


def test_claims_follow_to_another_redis(node, swarm, tracker, redis_server):
    """redis.url is reloaded: nothing stays behind, nothing of the old one is believed."""
    t, s = scripted(swarm, tracker, torrents=2)
    other = redis_server()
    d = node({'swarm.trackers': t.http, 'redis.claim': '6s', 'swarm.discovery_wait': '1s',
              'redis.url': None}, file=f'[redis]\nurl = {node.redis.url}\n')
    node.db.set(CLAIM + s.infohashes[1], 'somebody else', px=600000)
    for infohash in s.infohashes:
        assert d.peers(infohash)['peer_count'] == 10
    assert node.db.get(CLAIM + s.infohashes[0])
    with open(d.file, 'w', encoding='utf-8') as f:
        f.write(f'[redis]\nurl = {other.url}\n')
    d.kill(signal.SIGHUP)
    for infohash in s.infohashes:
        wait_until(lambda i=infohash: other.client().get(CLAIM + i), what='claimed there')
        d.peers(infohash)
        wait_until(lambda i=infohash: other.client().get(LIST + i), what='written there')
    assert node.db.get(CLAIM + s.infohashes[0]) is None
    assert node.db.get(CLAIM + s.infohashes[1]) == b'somebody else'
    wait_until(lambda: gauge(d, 'claims_held') == 2)


def test_claims_that_can_not_be_renewed_are_not_held(node, swarm, tracker):
    t, s = scripted(swarm, tracker)
    d = node({'swarm.trackers': t.http, 'redis.claim': '3s'})
    d.peers(s.infohash)
    wait_until(lambda: gauge(d, 'claims_held') == 1)
    node.db.config_set('maxmemory-policy', 'noeviction')
    node.db.config_set('maxmemory', '1')
    wait_until(lambda: gauge(d, 'claims_held') == 0, what='it is full')
    node.db.config_set('maxmemory', '0')
    wait_until(lambda: gauge(d, 'claims_held') == 1, what='it has room')
    node.redis.proc.kill(signal.SIGKILL)
    wait_until(lambda: gauge(d, 'claims_held') == 0, what='it is dead')
    node.redis.start()
    wait_until(lambda: gauge(d, 'claims_held') == 1, 40, 'it is back')


def test_a_swarm_that_is_left_is_free_for_others(node, swarm, tracker):
    t, s = scripted(swarm, tracker)
    first = node({'swarm.trackers': t.http, 'redis.claim': '10m', 'swarm.linger': '1s'})
    first.peers(s.infohash)
    assert node.db.get(CLAIM + s.infohash)
    wait_until(lambda: not node.db.get(CLAIM + s.infohash), 20, 'the claim is given back')
    assert counter(first, 'leaves') == 1


# ---- one joins for all --------------------------------------------------------------------

def at_once(nodes, infohash, **query):
    """The answers of all nodes to one question, asked of all at the same moment."""
    answers, barrier = [None] * len(nodes), threading.Barrier(len(nodes))

    def ask(i):
        barrier.wait()
        answers[i] = nodes[i].peers(infohash, **query)
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(nodes))]
    for th in threads:
        th.start()
    for th in threads:
        th.join()
    return answers


def test_two_nodes_asked_at_once_join_once(node, swarm, tracker):
    """Ten cold swarms, whose peers take their time."""
    t, s = scripted(swarm, tracker, torrents=10, count=60, delay_ms=150)
    conf = {'swarm.trackers': t.http, 'swarm.discovery_wait': '10s'}     # so long for a holder
    nodes = [node(conf), node(conf)]
    for infohash in s.infohashes:
        # Settled: who names no time may hear the first list, in which not all have names yet.
        for answer in at_once(nodes, infohash, limit=100, wait='20s'):
            assert answer['peer_count'] == answer['total_peers'] == 60
            assert all(p['client'].startswith('Scripted') for p in answer['peers'])
        assert joins_of(t, infohash) == 1, 'exactly one of them joined'
    assert sum(counter(d, 'joins') for d in nodes) == 10
    assert sum(counter(d, 'claims_won') for d in nodes) == 10
    assert sum(counter(d, 'tier_hits') for d in nodes) == 10


def test_two_containers_that_look_alike(node, swarm, tracker, tmp_path):
    """One hostname, one run_dir, one segment's name; what is mounted there is not one thing."""
    netns.needs_mounts()
    t, s = scripted(swarm, tracker, torrents=3, count=60, delay_ms=150)
    run, wrap = tmp_path / 'run', tmp_path / 'wrap'
    run.mkdir(mode=0o700)
    wrap.write_text(f'''#!/bin/sh
exec unshare -m sh -c 'mount -t tmpfs -o mode=700 none {run} &&
mount -t tmpfs none /dev/shm && exec {BIN} "$@"' sh "$@"
''')
    wrap.chmod(0o755)
    conf = {'swarm.trackers': t.http, 'master.run_dir': str(run), 'shm.name': '/alike',
            'swarm.discovery_wait': '10s'}
    nodes = [node(conf, binary=str(wrap)) for _ in range(2)]
    for infohash in s.infohashes:
        for answer in at_once(nodes, infohash, limit=100):
            assert answer['peer_count'] == 60
        assert joins_of(t, infohash) == 1, 'exactly one of them joined'
    nodes[0].stop()
    wait_until(lambda: len(node.db.keys(CLAIM + '*')) ==
               nodes[1].get('/health').json['redis']['claims_held'],
               what='it gave back its own, and no other')


def test_the_holder_is_killed_and_the_other_takes_over(node, swarm, tracker):
    """In the middle of its first round: nothing is in Redis but its claim."""
    t, s = scripted(swarm, tracker, delay_ms=4000)
    conf = {'swarm.trackers': t.http, 'redis.claim': '3s', 'swarm.discovery_wait': '15s'}
    first, second = node(conf), node(conf)
    first.get(f'/peers/{s.infohash}?wait=0')
    wait_until(lambda: node.db.get(CLAIM + s.infohash), what='the first one joins')
    kill_all(first)
    began = time.monotonic()
    answer = second.peers(s.infohash)
    took = time.monotonic() - began
    assert answer['peer_count'] == 10
    assert took < 3 + 4 + 1.5 * slow(), 'the claim, the round, and no more'
    assert counter(second, 'claims_lost') == 1 and counter(second, 'claims_won') == 1
    assert counter(second, 'claims_idle') == 0


# ---- who wants it settled -------------------------------------------------------------------

def collected(node, swarm, tracker, **conf):
    """Two nodes; the first one has joined, and its first list is there: peers take their
    time, so it is not settled for some seconds."""
    t, s = scripted(swarm, tracker, delay_ms=4000)
    conf = {'swarm.trackers': t.http, 'swarm.discovery_wait': '1s', **conf}
    first, second = node(conf), node(conf)
    first.get(f'/peers/{s.infohash}?wait=0')
    stored(node, s.infohash)
    return first, second, t, s


class Asked(threading.Thread):
    """A question on its way: .answer and .took, after join()."""

    def __init__(self, d, path):
        super().__init__()
        self.d, self.path, self.began = d, path, time.monotonic()
        self.start()

    def run(self):
        self.answer = self.d.get(self.path)
        self.took = time.monotonic() - self.began


def test_who_wants_it_settled_waits_for_the_holder(node, swarm, tracker):
    _, second, t, s = collected(node, swarm, tracker)
    patient = Asked(second, f'/peers/{s.infohash}?wait=20s')
    wait_until(lambda: counter(second, 'claims_lost') == 1, what='it waits for the other one')
    quick = second.peers(s.infohash)
    assert quick['phase'] == 'collecting' and patient.is_alive()
    patient.join()
    answer = patient.answer.json
    assert answer['phase'] == 'settled' and answer['peer_count'] == 10
    assert all(p['client'].startswith('Scripted') for p in answer['peers'])
    assert patient.took < 10 * slow(), 'not until its time was over'
    assert counter(second, 'joins') == 0 and joins_of(t, s.infohash) == 1


def test_a_holder_that_dies_first_is_followed(node, swarm, tracker):
    first, second, t, s = collected(node, swarm, tracker, **{'redis.claim': '3s'})
    patient = Asked(second, f'/peers/{s.infohash}?wait=20s')
    wait_until(lambda: counter(second, 'claims_lost') == 1, what='it waits for the other one')
    kill_all(first)
    patient.join()
    assert patient.answer.json['phase'] == 'settled'
    assert counter(second, 'claims_won') == counter(second, 'joins') == 1
    assert joins_of(t, s.infohash) == 2


def test_a_list_that_never_settles_is_the_answer_in_time(node, swarm, tracker):
    """Its writer is gone, and a claim that nobody keeps stands in the way."""
    first, second, _, s = collected(node, swarm, tracker)
    kill_all(first)
    node.db.set(CLAIM + s.infohash, 'somebody else', px=600000)
    patient = Asked(second, f'/peers/{s.infohash}?wait=3s')
    patient.join()
    assert patient.answer.status == 200 and patient.answer.json['phase'] == 'collecting'
    assert patient.answer.json['peer_count'] == 10
    assert 2.9 < patient.took < 3 + 1 * slow()
    assert counter(second, 'joins') == 0


def test_who_waits_for_a_silent_holder_is_answered_before_it_is_late(node, swarm, tracker):
    """The longest patience with a holder, and peers that take longer than what is left."""
    t, s = scripted(swarm, tracker, delay_ms=20000)
    d = node({'swarm.trackers': t.http, 'swarm.discovery_wait': '5s'})
    node.db.set(CLAIM + s.infohash, 'somebody else', px=600000)
    asked = Asked(d, f'/peers/{s.infohash}')
    asked.join()
    assert asked.answer.status == 200 and asked.answer.json['peer_count'] == 10
    assert 5 < asked.took < 5 + 3 * slow()


def test_a_holder_that_says_nothing_is_not_waited_for_for_ever(node, swarm, tracker):
    """A claim that nobody lets go of and nobody fulfils."""
    t, s = scripted(swarm, tracker)
    d = node({'swarm.trackers': t.http, 'swarm.discovery_wait': '1s'})
    node.db.set(CLAIM + s.infohash, 'somebody else', px=600000)
    began = time.monotonic()
    assert d.peers(s.infohash)['peer_count'] == 10
    assert 1 < time.monotonic() - began < 4 * slow()
    assert counter(d, 'claims_idle') == 1 and gauge(d, 'claims_held') == 0
    assert node.db.get(CLAIM + s.infohash) == b'somebody else'


def test_a_holder_whose_lists_make_no_sense_is_not_waited_for(node, swarm, tracker):
    """Another version of us, or a clock that is a day ahead: two looks, and that is that."""
    t, s = scripted(swarm, tracker)
    d = node({'swarm.trackers': t.http, 'swarm.discovery_wait': '20s'})
    node.db.set(CLAIM + s.infohash, 'somebody else', px=600000)
    node.db.set(LIST + s.infohash, b'PSLIST of the year 2030')
    began = time.monotonic()
    assert d.peers(s.infohash)['peer_count'] == 10
    assert time.monotonic() - began < 4 * slow()
    assert counter(d, 'claims_idle') == 1


def deaf():
    """A tracker that takes connections and never answers, as behind a wall."""
    s = socket.create_server(('127.0.0.1', 0))
    s.listen(64)
    return s, 'http://127.0.0.1:%d/announce' % s.getsockname()[1]


@pytest.mark.parametrize('together', [False, True])
def test_who_sees_nothing_speaks_for_nobody(node, swarm, tracker, together):
    """Its path is never judged blocked: one silent HTTP tracker is too little for that."""
    t, s = scripted(swarm, tracker)
    silent, url = deaf()
    conf = {'redis.claim': '6s', 'cache.ttl': '30s', 'swarm.discovery_wait': '1s'}
    with silent:
        blind = node({**conf, 'swarm.trackers': url})
        seer = node({**conf, 'swarm.trackers': t.http})
        first = blind.get(f'/peers/{s.infohash}' + ('?wait=0' if together else ''))
        if together:
            wait_until(lambda: node.db.get(CLAIM + s.infohash), what='the blind one joins')
        else:
            assert first.json['peers'] == []
            assert node.db.mget(LIST + s.infohash, JSON + s.infohash) == [None, None]
            wait_until(lambda: not node.db.get(CLAIM + s.infohash), what='it gives up')
        assert blind.top()['gauges']['path'] == 0
        assert seer.peers(s.infohash)['peer_count'] == 10
        assert counter(seer, 'joins') == 1
        assert len(json.loads(node.db.get(JSON + s.infohash))['peers']) == 10
        wait_until(lambda: gauge(seer, 'claims_held') == 1, what='who sees it has it')
        wait_until(lambda: gauge(blind, 'claims_held') == 0)
        blind.peers(s.infohash)
        assert len(json.loads(node.db.get(JSON + s.infohash))['peers']) == 10


def test_who_names_a_peer_gets_him_dialled(node, swarm, tracker):
    """x.pe is more than a list can answer."""
    t, s = scripted(swarm, tracker, count=11)
    t.set(s.infohash, peers=s.endpoints()[:10])
    first, second = (node({'swarm.trackers': t.http}) for _ in range(2))
    assert first.peers(s.infohash)['peer_count'] == 10
    stored(node, s.infohash)
    extra = '{}:{}'.format(*s.endpoints()[10])
    assert second.peers(s.infohash, **{'x.pe': extra})['peer_count'] == 11
    assert counter(second, 'joins') == 1


def test_a_bundled_redis_needs_no_claims(daemon, swarm, tracker):
    t, s = scripted(swarm, tracker)
    d = daemon({'redis.mode': 'bundled', 'swarm.trackers': t.http})
    db = client.Redis(unix_socket_path=os.path.join(d.run_dir, 'redis.sock'))
    wait_until(lambda: is_up(d), what='redis is up')
    assert d.peers(s.infohash)['peer_count'] == 10
    wait_until(lambda: db.get(LIST + s.infohash), what='the list is in Redis')
    wait_until(lambda: counter(d, 'jobs') > 0 and gauge(d, 'claims_held') == 0)
    assert db.keys(CLAIM + '*') == []


# ---- what others write there -----------------------------------------------------------------

def test_a_whole_list_of_the_python_service_is_used(node, tracker):
    t, ih = tracker(), 'ab' * 20
    d = node({'swarm.trackers': t.http})
    node.db.setex(JSON + ih, 30, service_json(ih, [('127.9.9.1', 1001), ('127.9.9.2', 1002)]))
    answer = d.peers(ih)
    assert answer['peer_count'] == answer['total_peers'] == 2
    p = answer['peers'][0]
    assert (p['client'], p['progress'], p['country'], p['city'], p['latitude'], p['state']) == \
        ('uTorrent 3.5.5', 45.3, 'Japan', 'Tokyo', 35.69, 'contacted')
    assert counter(d, 'joins') == 0 and joins_of(t, ih) == 0


FOREIGN = {
    'an object': b'{"status": "ok", "peers": 7}',
    'not JSON': b'\x00\xff\x80 what?',
    'nested': b'[' * 100000,
    'part of a list': 'more',
    'nobody': 'empty',
    'another id': 'other',
    'the future': 'future',
    'huge': b'[' + b'0,' * 5000000 + b'0]',
}


@pytest.mark.parametrize('what', FOREIGN)
def test_what_is_no_whole_list_is_a_miss(node, swarm, tracker, what):
    t, s = scripted(swarm, tracker)
    ih, two = s.infohash, [('127.9.9.1', 1001), ('127.9.9.2', 1002)]
    value = {'more': lambda: service_json(ih, two, total_peers=3),
             'empty': lambda: service_json(ih, []),
             'other': lambda: service_json('cd' * 20, two),
             'future': lambda: service_json(ih, two, cached_at=time.time() + 3600)
             }.get(FOREIGN[what], lambda: FOREIGN[what])()
    d = node({'swarm.trackers': t.http})
    node.db.set(JSON + ih, value)
    node.db.set(LIST + ih, value)
    assert d.peers(ih)['peer_count'] == 10
    assert counter(d, 'joins') == 1 and counter(d, 'tier_hits') == 0
    assert counter(d, 'tier_bad') == (0 if what == 'huge' else 2)


SPOILT = (lambda p: p[:-1], lambda p: p + b'x', lambda p: b'X' + p[1:], lambda p: p[:20],
          lambda p: p[:8] + bytes([p[8] ^ 0xff]) + p[9:])


def test_a_list_with_one_byte_changed_is_never_half_taken(node, swarm, tracker):
    """Each instead of its own list, which would be taken as it was."""
    t, s = scripted(swarm, tracker, torrents=1 + len(SPOILT))
    conf = {'swarm.trackers': t.http, 'cache.ttl': '60s'}
    first = node(conf)
    for infohash in s.infohashes:
        assert first.peers(infohash)['peer_count'] == 10
        stored(node, infohash)
    first.stop()
    node.db.delete(*(JSON + infohash for infohash in s.infohashes))
    second = node(conf)
    whole, *others = s.infohashes
    assert second.peers(whole)['peer_count'] == 10
    assert counter(second, 'tier_hits') == 1 and counter(second, 'joins') == 0
    for n, (infohash, spoil) in enumerate(zip(others, SPOILT, strict=True), 1):
        node.db.set(LIST + infohash, spoil(node.db.get(LIST + infohash)))
        assert second.peers(infohash)['peer_count'] == 10
        assert counter(second, 'tier_bad') == counter(second, 'joins') == n
    assert counter(second, 'tier_hits') == 1


def test_keys_of_another_type(node, swarm, tracker):
    t, s = scripted(swarm, tracker)
    for prefix in LIST, JSON, CLAIM:
        node.db.lpush(prefix + s.infohash, 'a', 'list')
    d = node({'swarm.trackers': t.http})
    began = time.monotonic()
    assert d.peers(s.infohash)['peer_count'] == 10
    assert time.monotonic() - began < 2 * slow()
    wait_until(lambda: node.db.type(LIST + s.infohash) == b'string', what='it is written over')
    assert len(d.log_lines('WRONGTYPE')) == 1, 'one line in a minute'


# ---- trouble, under load --------------------------------------------------------------------

def stands_still(node):
    node.redis.proc.kill(signal.SIGSTOP)
    yield 'silent'
    node.redis.proc.kill(signal.SIGCONT)


def killed(node):
    node.redis.proc.kill(signal.SIGKILL)
    yield 'down'
    node.redis.start()


def full(node):
    node.db.config_set('maxmemory-policy', 'noeviction')
    node.db.config_set('maxmemory', '1')
    yield 'full'
    node.db.config_set('maxmemory', '0')


def flushed(node):
    node.db.flushall()
    yield None


def replaced_by_an_empty_one(node):
    node.redis.proc.stop()
    node.redis.start()
    yield None


def a_replica(node):
    node.db.replicaof('127.0.0.1', '1')
    yield 'read-only'
    node.db.replicaof('NO', 'ONE')


def wants_a_password(node):
    node.db.config_set('requirepass', 'secret')
    node.db.client_kill_filter(_type='normal', skipme=True)
    yield 'password'
    db = client.Redis(host=node.redis.address, port=node.redis.port, password='secret')
    db.config_set('requirepass', '')


def full_of_garbage(node):
    for key in node.db.keys('*'):
        node.db.set(key, os.urandom(3000), ex=60)
    yield None


def slow_to_answer(node):
    stop = threading.Event()

    def sleep():
        while not stop.is_set():
            node.db.eval('local t = redis.call("TIME") local e = t[1] * 1000 + t[2] / 1000 + 300 '
                         'repeat t = redis.call("TIME") until t[1] * 1000 + t[2] / 1000 > e '
                         'return 1', 0)
    th = threading.Thread(target=sleep)
    th.start()
    yield None
    stop.set()
    th.join()


TROUBLE = (stands_still, killed, full, flushed, replaced_by_an_empty_one, a_replica,
           wants_a_password, full_of_garbage, slow_to_answer)


def test_a_redis_that_hangs_is_waited_for_once_and_for_200_ms(node, swarm, tracker):
    """It was up, and redis.timeout is far away: nobody has noticed yet."""
    t, s = scripted(swarm, tracker, torrents=4)
    d = node({'swarm.trackers': t.udp, 'redis.timeout': '1m'})
    node.redis.proc.kill(signal.SIGSTOP)
    try:
        for infohash in s.infohashes:
            began = time.monotonic()
            assert d.peers(infohash)['peer_count'] == 10
            assert time.monotonic() - began < 3 * slow()
        assert is_up(d) and counter(d, 'tier_late') == 1
    finally:
        node.redis.proc.kill(signal.SIGCONT)
    wait_until(lambda: node.db.get(LIST + s.infohashes[3]), 20, 'it is written to again')


def test_the_join_waits_no_longer_than_200_ms(node, swarm, tracker):
    """From the question to the first announce, with a Redis that hangs."""
    t, s = scripted(swarm, tracker)
    d = node({'swarm.trackers': t.http, 'redis.timeout': '1m'})
    node.redis.proc.kill(signal.SIGSTOP)
    try:
        began = time.monotonic()
        d.get(f'/peers/{s.infohash}?wait=0')
        wait_until(lambda: joins_of(t, s.infohash) == 1, every=0.02, what='it joins')
        took = time.monotonic() - began
        assert counter(d, 'tier_late') == 1
    finally:
        node.redis.proc.kill(signal.SIGCONT)
    assert 0.15 < took < 5 * slow()     # redis.timeout is a minute


@pytest.mark.parametrize('trouble', TROUBLE, ids=lambda f: f.__name__)
def test_trouble_with_redis_is_nobodys(node, swarm, tracker, trouble):
    """Known swarms are asked for all the time, cold ones meanwhile."""
    t, s = scripted(swarm, tracker, torrents=8, count=60)
    d = node({'swarm.trackers': t.udp, 'redis.timeout': '500ms', 'cache.ttl': '1s',
              'redis.claim': '3s', 'swarm.discovery_wait': '10s'})
    d.peers(s.infohashes[0])
    load = Load(d, f'/peers/{s.infohashes[0]}', threads=2)
    began = time.monotonic()
    cold = iter(s.infohashes[1:])

    def ask_cold(n):
        for _ in range(n):
            at = time.monotonic()
            assert d.peers(next(cold), limit=100)['peer_count'] == 60
            assert time.monotonic() - at < 4 * slow(), 'it waited for nobody but the swarm'
    try:
        ask_cold(2)
        wait_until(lambda: time.monotonic() - began > 2, what='quiet times are measured')
        steps = trouble(node)
        before = counter(d, 'redis_errors')
        at = time.monotonic()
        what = next(steps)
        ask_cold(1)
        if what:
            wait_until(lambda: state(d) in (what, 'down'), what='/health says so')
            assert is_up(d) == (what in ('full', 'read-only'))
        ask_cold(1)
        if what in ('full', 'read-only'):
            wait_until(lambda: counter(d, 'redis_errors') > before, what='it is counted')
            assert d.log_lines('answers: ') and state(d) == what
        ask_cold(1)
        wait_until(lambda: time.monotonic() - at > 3, what='times of trouble are measured')
        over = time.monotonic()
        next(steps, None)
        wait_until(lambda: is_up(d), 40, 'it is back')
        ask_cold(2)
        wait_until(lambda: node.db.get(LIST + s.infohashes[7]), 20, 'it is written to again')
        assert state(d) == 'up'
    finally:
        load.stop()
    assert load.failures == []
    # Who waits for Redis waits for 200 ms at least; how fast it is without is for the bench.
    assert load.p99(began, at) < 0.2 * slow() and load.p99(at, over) < 0.2 * slow()

"""AceStream swarms against the real binary: who is there, what it says of itself, which protocol
is spoken to whom, and how often. tests/swarm/README.md has the scripted peers."""
import base64
import os
import time

import netns
import pytest
from acecheck import FAST, is_polite, told_by, unnamed, until_let_go, until_named, where
from netns import TCP
from parts import AceSwarm, Tracker
from procs import wait_until
from town import Town


# Fields of an answer ----------------------------------------------------------------------
def ace(peer):
    return peer.get('ace') or {}


def shown(peer):
    """The words by which a live peer is compared with its script."""
    a = ace(peer)
    return {'version': a.get('version'), 'down_rate': peer['download_rate'],
            'up_rate': peer['upload_rate'], 'position': a.get('position'),
            'country': a.get('country'), 'asn': a.get('asn'),
            'distance': a.get('distance'), 'accessible': a.get('accessible')}


def expected(peer):
    v = peer['version']
    return {'version': f'{v // 1000000}.{v // 10000 % 100}.{v // 100 % 100}',
            **{k: peer[k] for k in ('down_rate', 'up_rate', 'position', 'country', 'asn',
                                    'distance')}, 'accessible': bool(peer['accessible'])}


def lag(peer):
    return ace(peer).get('lag')


def role(peer):
    return ace(peer).get('role')


def motion(answer):
    return answer['ace']['motion']


def counts(answer):
    return {k: answer['ace'][k] for k in ('discovered', 'reachable', 'gossiped')}


# The stage --------------------------------------------------------------------------------
@pytest.fixture
def start(daemon, tracker):
    return lambda s, others=(), **conf: told_by(daemon, tracker, s, others, **conf)


def ask(d, swarm, **query):
    return d.peers(swarm.key, **{'limit': 2000, **query})


def by_endpoint(answer):
    return {(p['ip'], p['port']): p for p in answer['peers']}


def per_peer(swarm):
    return [p['connections'] for p in swarm.ask('stats')]


def for_a_while(seconds, fn, every=0.5):
    """fn() again and again, for so long."""
    end = time.monotonic() + seconds

    def over():
        fn()
        return time.monotonic() > end
    wait_until(over, 2 * seconds + 10, f'{seconds} s', every=every)


# A census ---------------------------------------------------------------------------------
CENSUS = [{'count': 120, 'version': [3021100, 3021900, 3020600], 'platform': [2, 2, 2],
           'lag': [0, 3, 10, 40], 'down_rate': [0, 412000, 831372], 'up_rate': [1274580, 0],
           'country': ['ZZ', 'DE', 'ES'], 'asn': [64500, 64501], 'distance': [1, 2, 3]},
          {'count': 30, 'max': 4000, 'lag': 5},                 # left behind, and stale
          {'count': 2, 'role': 'source', 'port': 7764},
          {'count': 20, 'role': 'idle'}, {'count': 8, 'fill': 50},
          {'count': 17, 'behaviour': 'dead'}, {'count': 3, 'behaviour': 'unknown_key'}]
SLOW_ONES = [{'count': 5, 'behaviour': 'full'}, {'count': 2, 'behaviour': 'silent'}]


def wrong_in(got, peers, newest):
    out = []
    for p in peers:
        row = got[where(p)]
        far = newest - p['position'] if p['position'] >= 0 else None
        if p['max'] >= 0 and shown(row) != expected(p):
            out.append((where(p), shown(row), expected(p)))
        elif lag(row) != far or row['protocol'] != 'acestream':
            out.append((where(p), p['role'], row['protocol'], lag(row), far))
        elif p['progress'] is not None and abs(row['progress'] - p['progress']) > 1:
            out.append((where(p), row['progress'], p['progress']))
    return out


@pytest.mark.parametrize('slow_ones', [[], SLOW_ONES],
                         ids=['all answer', 'with those that never answer'])
def test_200_are_named_with_version_rates_and_lag_in_one_answer(
        start, ace_swarm, swarm, tracker, slow_ones):
    """How quick that is stands in the bench."""
    s, t = ace_swarm(CENSUS + slow_ones, delay_ms=100), tracker()
    bt = swarm([{'count': 10}], infohashes=[s.key], delay_ms=100)
    t.set(s.key, peers=bt.endpoints())
    d = start(s, **{'swarm.trackers': t.udp}, **FAST)
    answer = ask(d, s)
    got, named = by_endpoint(answer), [p for p in s.peers if p['gives'] == 'named']
    assert unnamed(got, named) == []
    newest = max(p['max'] for p in named)
    assert answer['ace']['head'] == newest
    assert wrong_in(got, named, newest) == []
    assert {role(got[where(p)]) for p in named if p['role'] == 'source'} == {'source-like'}
    assert {role(got[where(p)]) for p in named if p['role'] != 'source'} == {'viewer'}
    assert {got[where(p)]['state'] for p in s.peers if p['gives'] == 'nothing'} <= {
        'known', 'tried'}
    everybody = len(s.peers) + len(bt.peers)
    assert answer['total_peers'] == len(got) == everybody
    assert counts(answer) == {'discovered': everybody, 'reachable': len(named), 'gossiped': 0}
    until_let_go(s)
    is_polite(s)


def test_bittorrent_peers_of_the_same_swarm_are_named_too(start, ace_swarm, swarm):
    s = ace_swarm([{'count': 6}])
    bt = swarm([{'count': 6}], infohashes=[s.key])
    d = start(s, bt.endpoints(), **FAST)
    until_named(d, s)
    got = {}

    def both():
        got.update(d.by_endpoint(s.key))
        return all(got[where(p)]['client'] == p['name'] for p in bt.peers)
    wait_until(both, 20, 'the BitTorrent peers have their names')
    assert {got[where(p)]['protocol'] for p in s.peers} == {'acestream'}
    assert {got[where(p)]['protocol'] for p in bt.peers} == {'bittorrent'}
    assert bt.asked_for_no_piece()
    assert len(d.peers(s.key, protocol='acestream')['peers']) == 6
    is_polite(s)


# Advancing and stale ----------------------------------------------------------------------
def test_advancing_and_stale_are_told_apart(start, ace_swarm):
    """By a second look at two or three of them; before it neither is said."""
    live = ace_swarm([{'count': 12, 'rate': 2.0, 'lag': [0, 4]}])
    dead = ace_swarm([{'count': 12}])
    one = {'acestream.second_look': '3s', **FAST}
    d, e = start(live, **one), start(dead, **one)
    until_named(d, live), until_named(e, dead)
    assert motion(ask(d, live)) == motion(ask(e, dead)) == 'unproven'
    # Stale: the same head for max(30 s, 4 pieces' time), on each of those that were looked at.
    wait_until(lambda: motion(ask(d, live)) == 'advancing', 20, 'it advances', every=0.5)
    assert motion(ask(e, dead)) == 'unproven'
    assert abs(ask(d, live)['ace']['piece_seconds'] - 0.5) < 0.2
    wait_until(lambda: motion(ask(e, dead)) == 'stale', 60, 'it is stale', every=0.5)
    assert motion(ask(d, live)) == 'advancing'
    assert ask(d, live)['ace']['head'] > 5063 and ask(e, dead)['ace']['head'] == 5063
    for s in live, dead:
        again = [n for n in per_peer(s) if n > 1]
        assert 1 <= len(again) <= 3, 'few of them were looked at again'
        is_polite(s)


def test_some_that_move_make_a_live_swarm(start, ace_swarm):
    """Those that stand still only lag behind."""
    s = ace_swarm([{'count': 3, 'rate': 2.0, 'lag': 0}, {'count': 5, 'max': 4000}])
    d = start(s, **{'acestream.second_look': '3s'}, **FAST)
    until_named(d, s)
    wait_until(lambda: motion(ask(d, s)) == 'advancing', 30, 'it advances', every=0.5)
    got = by_endpoint(ask(d, s))
    assert min(lag(got[where(p)]) for p in s.peers[3:]) >= 1000


def test_a_liars_head_is_not_the_swarms(start, ace_swarm):
    s = ace_swarm([{'max': 4000000000}, {'count': 4, 'lag': 2}])
    d = start(s, **FAST)
    until_named(d, s)
    assert ask(d, s)['ace']['head'] == 5063
    assert {lag(r) for r in by_endpoint(ask(d, s)).values()} == {0, 2}


# Who is who -------------------------------------------------------------------------------
def test_one_node_on_two_addresses_is_one_peer(start, ace_swarm):
    s = ace_swarm([{'count': 2, 'node': 'roams'}, {'count': 3}])
    d = start(s, **FAST)
    until_named(d, s, s.peers[2:])
    wait_until(lambda: ask(d, s)['total_peers'] == 4, 10, 'two of five are one')
    rows = by_endpoint(ask(d, s))
    assert len({where(p) for p in s.peers[:2]} & set(rows)) == 1
    assert counts(ask(d, s))['reachable'] == 4


def test_a_bad_signature_takes_nobodys_place(start, ace_swarm):
    s = ace_swarm([{'node': 'real'}, {'node': 'real', 'behaviour': 'bad_signature'},
                   {'node': 'real', 'omit': ['signature']}])
    d = start(s, **FAST)
    until_named(d, s, s.peers[:2])
    until_let_go(s)
    assert len(s.log()) == 3
    assert ask(d, s)['total_peers'] == 3


def test_a_node_id_is_neither_shown_nor_kept(start, ace_swarm, redis_server):
    r = redis_server()
    s = ace_swarm([{'count': 8}])
    d = start(s, **{'redis.mode': 'external', 'redis.url': r.url, 'log.level': 'debug'}, **FAST)
    until_named(d, s)
    wait_until(lambda: r.client().keys('peer_stats:*'), 10, 'Redis has it')
    ids = [bytes.fromhex(p['node_id']) for p in s.peers]
    with open('/dev/shm' + d.conf['shm.name'], 'rb') as f:
        places = {'segment': f.read(), 'log': d.log().encode(),
                  'answer': d.get(f'/peers/{s.key}?limit=2000').body,
                  'top': d.command('top', '--once', '--json').stdout.encode(),
                  'redis': b''.join(r.client().get(k) or b'' for k in r.client().keys('peer*'))}
    for name, text in places.items():
        assert text and not [i for i in ids if i in text or i.hex().encode() in text.lower()], name
    assert b'Ace Stream' in places['redis']


# Which protocol ---------------------------------------------------------------------------
def test_the_other_protocol_is_tried_once_on_another_connection_and_later(start, ace_swarm):
    s = ace_swarm([{'count': 3, 'behaviour': 'bittorrent'},         # on a port of engines
                   {'count': 3, 'port': 6881}, {'count': 2}])       # on one of BitTorrent
    d = start(s, **{'acestream.other_protocol': '2s'}, **FAST)
    until_named(d, s, s.peers[3:], timeout=30)
    wait_until(lambda: {p['client'][:8] for p in d.peers(s.key, protocol='bittorrent')[
        'peers']} == {'Scripted'}, 30, 'those that speak BitTorrent are named')
    for p in s.peers[:3]:
        calls = s.log([p['index']])
        assert [r['kind'] for r in calls] == ['acestream', 'bittorrent']
        assert calls[1]['at'] - calls[0]['at'] >= 2
        assert calls[0]['bytes_out'] == 0 and calls[0]['bytes_in'] == 66
    for p in s.peers[3:6]:      # all ways of BitTorrent; 'other' is an encrypted handshake
        calls = s.log([p['index']])
        assert [r['kind'] for r in calls] == ['bittorrent', 'other', 'acestream']
        assert calls[2]['at'] - calls[1]['at'] >= 2


def test_engines_that_the_session_hears_of_are_not_dialled_by_it(daemon, tracker, ace_swarm, swarm):
    """Trackers of torrents name them, too: by their port they are left to us."""
    s, t = ace_swarm([{'count': 2}, {'count': 3, 'behaviour': 'close'}]), tracker()
    bt = swarm([{'count': 2}], infohashes=[s.key])
    t.set(s.key, peers=s.endpoints() + bt.endpoints())
    d = daemon({'swarm.trackers': t.http, **FAST})
    until_named(d, s)
    d.until_peers(s.key, lambda got: {p['client'] for p in got.values()} > {
        p['name'] for p in bt.peers}, 10)
    for_a_while(5, lambda: ask(d, s))
    assert {r['kind'] for r in s.log()} <= {'acestream', None} and per_peer(s) == [1] * 5
    assert counts(ask(d, s)) == {'discovered': 7, 'reachable': 2, 'gossiped': 0}


def test_a_swarm_that_answered_three_times_in_one_protocol_is_not_asked_in_the_other(
        start, ace_swarm):
    s = ace_swarm([{'count': 4}, {'count': 6, 'behaviour': 'close'}, {'count': 6, 'port': 6881}])
    d = start(s, **{'acestream.other_protocol': '4s'}, **FAST)
    until_named(d, s, timeout=30)
    for_a_while(6, lambda: ask(d, s))
    assert s.totals()['bittorrent'] <= 6, 'before there was an answer'
    assert not [r for r in s.log(list(range(4, 10))) if r['kind'] == 'bittorrent']
    answer = ask(d, s)
    assert (answer['protocol'], answer['ace']['mode']) == ('acestream', 'pinned')
    assert d.log_lines('pinned to AceStream')


def test_a_torrents_peers_on_an_engines_port_are_named(daemon, tracker, swarm):
    """Whatever the question: pinned to BitTorrent, or spelled as only a torrent's id is."""
    t, s = tracker(), swarm([{'count': 8}, {'count': 4, 'port': 8621}])
    t.set(s.infohash, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.http, 'swarm.discovery_wait': '10s'})
    names = {p['name'] for p in s.peers}
    spelled = base64.b32encode(bytes.fromhex(s.infohash)).decode()
    answer = d.peers(spelled, limit=2000)
    assert {p['client'] for p in answer['peers']} == names
    assert answer['ace'] is None and answer['protocol'] == 'bittorrent'
    other = daemon({'swarm.trackers': t.http, 'acestream.other_protocol': '2s'})
    other.until_peers(s.infohash, lambda got: {p['client'] for p in got.values()} == names, 20)
    wait_until(lambda: other.peers(s.infohash)['ace'] is None, 10, 'it is pinned')
    assert s.totals()['handshakes'] >= 2 * len(names)


def test_an_engine_that_calls_us_does_no_harm(start, ace_swarm):
    s = ace_swarm([{'count': 5}])
    d = start(s, **FAST)
    until_named(d, s)
    s.ask('dial', to=[d.address, 42069])
    wait_until(lambda: sum(r['dialled'] and r['ended'] is not None for r in s.log()) == 5, 20,
               'each has dialled and is let go')
    dialled = [r for r in s.log() if r['dialled']]
    assert [(r['bytes_out'], r['bytes_in']) for r in dialled] == [(46, 0)] * 5


@pytest.mark.parametrize('behaviour', ['normal', 'bittorrent'])
def test_what_an_engine_knows_is_announced_nowhere(daemon, tracker, ace_swarm, engine, dht,
                                                   behaviour):
    """Neither while everybody answers in AceStream, nor once somebody must be dialled in
    BitTorrent. The DHT is asked all the same."""
    s = ace_swarm([{'count': 5, 'behaviour': behaviour}], names=2)
    content, infohash = s.keys
    nodes, e, t, other = dht(), engine({content: infohash}), tracker(), tracker()
    t.set(infohash, peers=s.endpoints([0, 1, 2]))
    nodes.announce(infohash, s.endpoints([3, 4]))
    d = daemon({'acestream.trackers': t.udp, 'swarm.trackers': other.http, 'swarm.dht': 'on',
                'swarm.dht_bootstrap': nodes.router, 'acestream.engine_url': e.url,
                'acestream.other_protocol': '2s', 'swarm.discovery_wait': '10s', **FAST})
    wait_until(lambda: d.get('/health').json['dht_nodes'], 20, 'the DHT is there')
    name, mode = {'normal': ('Ace Stream', 'pinned'), 'bittorrent': ('Scripted', 'bt')}[behaviour]
    d.until_peers(content, lambda got: len(got) == 5 and all(
        p['client'].startswith(name) for p in got.values()), 30, 'all are named')
    if behaviour == 'bittorrent':
        assert d.log_lines('either protocol')
        calls = {p['index']: [r['kind'] for r in s.log([p['index']])] for p in s.peers}
        # One that is slow to answer may be dialled in BitTorrent again.
        assert all(c[0] == 'acestream' and set(c[1:]) == {'bittorrent'}
                   for c in calls.values()), calls
        return      # it is a torrent, then: announced as such
    wait_until(lambda: d.peers(content)['ace']['mode'] == mode, 10, mode)
    answer = d.peers(content)
    assert answer['verdict'] == 'alive' and answer['evidence']['peers']['reached_lately'] == 5
    assert answer['evidence']['path']['verdict'] == 'open'
    assert answer['evidence']['says'].startswith('AceStream peers answered a call within '
                                                 'acestream.revisit and five minutes')
    assert answer['ace']['content_id'] == content and answer['infohash'] == infohash
    assert other.announces() == []
    assert d.address not in {a for a, _ in nodes.peers_of(infohash) + nodes.peers_of(content)}


def test_one_that_may_be_bittorrent_is_joined_quietly(daemon, tracker, ace_swarm, engine, dht):
    s = ace_swarm([{'count': 1, 'behaviour': 'bittorrent'}, {'count': 1, 'behaviour': 'close'}],
                  names=2)
    content, infohash = s.keys
    nodes, e, t, other = dht(), engine({content: infohash}), tracker(), tracker()
    t.set(infohash, peers=s.endpoints())
    d = daemon({'acestream.trackers': t.udp, 'swarm.trackers': other.http, 'swarm.dht': 'on',
                'swarm.dht_bootstrap': nodes.router, 'acestream.engine_url': e.url,
                'acestream.other_protocol': '2s', **FAST})
    wait_until(lambda: d.get('/health').json['dht_nodes'], 20, 'the DHT is there')
    d.until_peers(content, lambda got: 'bittorrent' in {
        p['protocol'] for p in got.values() if p['state'] != 'tried'}, 30, 'one spoke BitTorrent')
    assert d.peers(content)['ace']['mode'] == 'maybe'
    d.kill(1)           # whatever a reload announces
    wait_until(lambda: d.log_lines('new settings taken'), 10)
    for_a_while(5, lambda: d.peers(content))
    assert other.announces() == []
    assert d.address not in {a for a, _ in nodes.peers_of(infohash) + nodes.peers_of(content)}


def test_engines_that_a_question_names_are_called(daemon, ace_swarm, swarm):
    s = ace_swarm([{'count': 3}])
    bt = swarm([{'count': 2}], infohashes=[s.key])
    d = daemon({'acestream.other_protocol': '2s', **FAST})
    given = '&'.join(f'x.pe={a}:{p}' for a, p in s.endpoints() + bt.endpoints())
    d.get(f'/peers/{s.key}?{given}&wait=5s')
    got = d.until_peers(s.key, lambda got: len(got) == 5 and 'Unknown' not in {
        p['client'] for p in got.values()}, 20)
    assert sorted(p['protocol'] for p in got.values()) == ['acestream'] * 3 + ['bittorrent'] * 2
    assert {tuple(p['sources']) for p in got.values()} == {('x.pe',)}
    assert counts(ask(d, s))['discovered'] == 5
    d.get(f'/peers/{s.key}?{given}')        # they are known now
    assert per_peer(s) == [1] * 3


def test_a_torrent_that_an_engine_knows_is_announced_no_more(daemon, tracker, ace_swarm, engine):
    s = ace_swarm([{'count': 1, 'behaviour': 'bittorrent'}], names=2)
    content, infohash = s.keys
    e, t, other = engine({content: infohash}), tracker(), tracker()
    t.set(infohash, peers=s.endpoints())
    d = daemon({'acestream.trackers': t.udp, 'swarm.trackers': other.http,
                'acestream.engine_url': e.url, 'acestream.other_protocol': '1s', **FAST})
    d.until_peers(infohash, lambda got: 'bittorrent' in {
        p['protocol'] for p in got.values() if p['state'] != 'tried'}, 30, 'it spoke BitTorrent')
    wait_until(lambda: other.announces(), 10, 'nobody knows yet')
    d.peers(content)
    wait_until(lambda: other.announces()[-1].get('event') == 'stopped', 20, 'it is left there')
    met = len(other.announces())
    d.kill(1)
    wait_until(lambda: d.log_lines('new settings taken'), 10)
    for_a_while(3, lambda: d.peers(content))
    assert len(other.announces()) == met
    assert len(d.peers(infohash)['peers']) == 1


def test_switched_off_and_on_with_a_reload(daemon, tracker, ace_swarm):
    t, s = tracker(), ace_swarm([{'count': 4, 'behaviour': 'both'}])
    t.set(s.key, peers=s.endpoints())
    rest = f'[acestream]\ntrackers = {t.udp}\nother_protocol = 1s\n'
    d = daemon({'acestream.trackers': None}, file=rest)

    until_named(d, s)
    assert ask(d, s)['protocol'] == 'acestream'
    d.reload(rest + 'peers = off\n')
    wait_until(lambda: {p['protocol'] for p in ask(d, s)['peers']} == {'bittorrent'}, 20, 'off')
    assert ask(d, s)['ace'] is None
    d.until_peers(s.key, lambda got: {p['client'][:8] for p in got.values()} == {'Scripted'}, 20)
    d.reload(rest)
    other = ace_swarm([{'count': 4}])
    t.set(other.key, peers=other.endpoints())
    until_named(d, other)


# Hearsay ----------------------------------------------------------------------------------
def test_gossip_is_counted_apart_and_called_like_others(start, ace_swarm):
    """Message 12 comes unasked: whom it names is called; who does not answer stays hearsay."""
    s = ace_swarm([{'count': 1, 'behaviour': b} for b in ('normal', 'gossip_first')]
                  + [{'count': 3}, {'count': 2, 'behaviour': 'dead'}])
    nowhere = {'address': '198.51.100.7', 'port': 0, 'version': 3021100}
    told = [{'address': p['address'], 'port': p['port'], 'version': 3021900, 'platform': 2,
             'min': 5000, 'max': 5063, 'position': 5060, 'asn': 64500, 'country': 'DE'}
            for p in s.peers[2:]]
    d = start(s, **FAST)
    s.set([0], tell=told + [nowhere, {'address': d.address, 'port': 42069}])
    d.ace_tracker.set(s.key, peers=s.endpoints([0, 1]))
    until_named(d, s)
    until_let_go(s)
    answer = ask(d, s)
    got = by_endpoint(answer)
    assert counts(answer) == {'discovered': 2, 'reachable': 5, 'gossiped': 5}
    assert {got[where(p)]['client'] for p in s.peers[5:]} == {'Ace Stream 3.2.19 (Linux)'}
    assert {got[where(p)]['state'] for p in s.peers[5:]} == {'tried'}
    assert {got[where(p)]['ace']['told_at'] for p in s.peers[5:]} == {None}
    assert {got[where(p)]['client'] for p in s.peers[2:5]} == {'Ace Stream 3.2.11 (Linux)'}
    assert not [e for e in got if e[1] == 0 or e[0] == d.address]


def test_a_source_is_who_another_names(start, ace_swarm):
    s = ace_swarm([{'count': 2, 'role': 'source', 'port': 7764}, {'count': 5}])
    s.set(range(2, 7), source=s.endpoints([0])[0])
    d = start(s, **FAST)
    until_named(d, s)
    wait_until(lambda: role(d.by_endpoint(s.key)[where(s.peers[0])]) == 'source', 10,
               'it is the source')
    got = d.by_endpoint(s.key)
    assert role(got[where(s.peers[1])]) == 'source-like'
    assert {role(got[where(p)]) for p in s.peers[2:]} == {'viewer'}
    a = ask(d, s)['ace']
    assert (a['sources'], a['source_like']) == (1, 1)


# Cadence ----------------------------------------------------------------------------------
def test_polling_costs_the_swarm_nothing(start, ace_swarm):
    s = ace_swarm([{'count': 20}, {'count': 4, 'behaviour': 'close'},
                   {'count': 4, 'behaviour': 'unknown_key'}])
    d = start(s, **{'acestream.other_protocol': '10m', 'acestream.second_look': '10m'}, **FAST)
    until_named(d, s)
    wait_until(lambda: s.totals()['connections'] >= 28, 10, 'all were called')
    for_a_while(20, lambda: unnamed(d.by_endpoint(s.key), s.peers[:20]) and pytest.fail('lost'),
                every=0.2)
    assert per_peer(s) == [1] * 28
    assert len(d.ace_tracker.announces(s.key, 'started')) == 1


def test_a_swarm_that_is_left_is_called_no_more(start, ace_swarm):
    s = ace_swarm([{'count': 30, 'delay_ms': 200}])
    d = start(s, **{'swarm.linger': '1s', 'acestream.swarm_connections': 2,
                    'acestream.connection_speed': 4})
    ask(d, s, wait=0)
    wait_until(lambda: d.top()['counters']['leaves'] == 1, 20, 'it is left')
    met = s.totals()['connections']
    for_a_while(4, lambda: None)
    assert met < 30 and s.totals()['connections'] <= met + 2


def test_a_swarm_that_comes_back_is_not_called_anew(start, ace_swarm):
    """Who answered half an hour ago at most is shown as he was then."""
    s = ace_swarm([{'count': 10}])
    d = start(s, **{'swarm.linger': '1s'}, **FAST)
    until_named(d, s)
    until_let_go(s)
    wait_until(lambda: d.top()['counters']['leaves'] == 1, 20, 'it is left')
    rows = until_named(d, s)
    assert {lag(r) for r in rows.values()} == {3}
    assert ask(d, s)['ace']['head'] == 5063
    assert counts(ask(d, s))['reachable'] == 10
    assert per_peer(s) == [1] * 10


def test_who_did_not_answer_is_not_called_when_the_swarm_comes_back(start, ace_swarm):
    """Ten minutes, an hour, six hours: longer than a swarm is."""
    s = ace_swarm([{'count': 3, 'behaviour': 'silent'}, {'count': 3, 'behaviour': 'close'},
                   {'count': 1}])
    d = start(s, **{'swarm.linger': '1s'}, **FAST)
    for left in range(1, 4):
        wait_until(lambda: [p['state'] for p in ask(d, s)['peers']].count('tried') == 6, 20,
                   'all were called')
        wait_until(lambda: d.top()['counters']['leaves'] == left, 20, 'it is left')
    silent = [p['index'] for p in s.peers if p['behaviour'] != 'normal']
    assert [n for i, n in enumerate(per_peer(s)) if i in silent] == [1] * 6


# The interface ----------------------------------------------------------------------------
@pytest.mark.skipif(netns.why_not() is not None, reason=netns.why_not() or '')
def test_calls_leave_through_the_interface_or_not_at_all(stage):
    t = Town(stage)
    with t.world.around:
        s = AceSwarm(stage, [{'count': 8}], base='203.0.113.60')
        far = Tracker(stage, address='203.0.113.201')
    far.set(s.key, peers=s.endpoints())
    tun, eth = t.world.watch('tun0'), t.world.watch('eth0')
    d = t.start('tun0', {'acestream.trackers': far.udp, 'swarm.allow_private': 'on', **FAST})
    with t.world.house:
        until_named(d, s)
    assert {r['from'][0] for r in s.log()} == {'192.0.2.1'}
    assert (TCP, 8621) in {(p[0], p[3]) for p in tun.take()}
    t.world.unplug('tun0')
    wait_until(lambda: not t.health()['interface_ok'], 10, 'the interface is gone')
    s.ask('forget')
    other = 'ab' * 20
    far.set(other, peers=s.endpoints())
    with t.world.house:
        d.get(f'/peers/{other}?wait=2s')
    assert eth.take() == set() and s.log() == []
    t.world.plug('tun0')
    wait_until(lambda: t.health()['interface_ok'], 20, 'it is back')
    with t.world.house:
        d.get(f'/peers/{other}?wait=5s')
        wait_until(lambda: s.totals()['connections'] >= 8, 20, 'they are called')
    assert {r['from'][0] for r in s.log()} == {'192.0.2.1'}


def test_a_killed_collector_goes_on_politely(start, ace_swarm):
    """It comes back, calls whom it had not heard, and nobody a third time."""
    s = ace_swarm([{'count': 20, 'delay_ms': 500}])
    d = start(s, **FAST)
    d.damage_expected = ('last words',)
    ask(d, s, wait=0)
    wait_until(lambda: s.totals()['open'], 10, 'visits are under way')
    os.kill(d.collector(), 9)
    until_named(d, s, timeout=30)
    until_let_go(s)
    assert s.impolite() == [] and max(per_peer(s)) <= 2


def test_a_new_collector_does_not_dial_engines_in_bittorrent(start, ace_swarm):
    """They told all in AceStream before, on ports that are no engine's."""
    s = ace_swarm([{'count': 2, 'port': 9100}])
    d = start(s, **FAST, **{'acestream.other_protocol': '1s'})
    until_named(d, s, timeout=30)
    until_let_go(s)
    d.damage_expected = ('last words',)
    met, old = per_peer(s), d.collector()
    os.kill(old, 9)
    wait_until(lambda: d.collector() not in (None, old), 20, 'there is another')
    wait_until(lambda: d.log_lines('2 peers known from earlier') or not ask(d, s), 20, 'joined')
    for_a_while(3, lambda: ask(d, s))
    assert per_peer(s) == met

"""Who is in an AceStream swarm, by the DHT and by trackers (collector/acefind.h): each key is
asked about, nobody is told that we are there, and nothing leaves another way."""
import http.client
import os
import signal
import time
from urllib.parse import quote

import netns
import pytest
from acecheck import FAST, is_polite, until_named, where
from netns import UDP
from parts import AceSwarm, Tracker
from procs import wait_until
from town import Town

@pytest.fixture
def start(daemon):
    """(trackers, configuration) -> a daemon that asks those about AceStream swarms."""
    def make(*trackers, **conf):
        return daemon({'acestream.trackers': ','.join(trackers),
                       'swarm.discovery_wait': '5s', **FAST, **conf})
    return make


def with_dht(nodes):
    return {'swarm.dht': 'on', 'swarm.dht_bootstrap': nodes.router}


def dht_is_there(d):
    wait_until(lambda: d.get('/health').json['dht_nodes'], 20, 'the DHT is there')


def for_a_while(seconds, look):
    """Nothing happens for so long, however often one looks."""
    end = time.monotonic() + seconds

    def over():
        look()
        return time.monotonic() > end
    wait_until(over, seconds + 5, f'{seconds} s', every=0.2)


def addresses(nodes, *keys):
    return {address for k in keys for address, _ in nodes.peers_of(k)}


# Keys, and by which of them somebody was found ------------------------------------------
def test_each_peer_is_called_by_the_key_it_was_found_under(start, tracker, ace_swarm, engine,
                                                           dht):
    """The content id and its infohash name one swarm: who is found under one of them may
    not know the other."""
    s = ace_swarm([{'count': 4, 'keys': [0]}, {'count': 4, 'keys': [1]}, {'count': 2},
                   {'count': 2, 'keys': [1]}], names=2)
    content, infohash = s.keys
    t, nodes, e = tracker(), dht(), engine({content: infohash})
    t.set(content, peers=s.endpoints(range(4)) + s.endpoints([8, 9]))
    t.set(infohash, peers=s.endpoints(range(4, 10)))
    nodes.announce(infohash, s.endpoints([10, 11]))
    d = start(t.udp, **{'acestream.engine_url': e.url, **with_dht(nodes)})
    dht_is_there(d)
    got = until_named(d, s)
    rows = [got[where(p)] for p in s.peers]
    assert {r['ace']['key'] for r in rows[:4]} == {'content_id'}
    assert {r['ace']['key'] for r in rows[4:8] + rows[10:]} == {'infohash'}
    assert {tuple(r['sources']) for r in rows[:10]} == {('tracker',)}
    assert {tuple(r['sources']) for r in rows[10:]} == {('dht',)}
    assert s.totals()['unknown_key'] == 0
    is_polite(s)
    assert d.address not in addresses(nodes, *s.keys)
    for k in s.keys:
        wait_until(lambda: t.announces(k, 'stopped'), what='the tracker hears that we left')
        assert [a['event'] for a in t.announces(k)] == ['started', 'stopped']


def test_nothing_announces_us_in_a_swarm_that_is_known_to_be_acestreams(
        start, tracker, ace_swarm, engine, dht):
    """Not even when it is joined in the end, since nobody answered in AceStream. An id of
    which nobody knows what it is is announced, as ever."""
    s = ace_swarm([{'count': 3, 'behaviour': 'close'}], names=2)
    content, infohash = s.keys
    ace, others, nodes, e = tracker(), tracker(), dht(), engine({content: infohash})
    for k in s.keys:
        ace.set(k, peers=s.endpoints())
    d = start(ace.udp, **{'acestream.engine_url': e.url, 'swarm.trackers': others.udp,
                          'acestream.other_protocol': '1s', **with_dht(nodes)})
    dht_is_there(d)
    d.peers(content)
    wait_until(lambda: s.totals()['connections'] >= 6, 30, 'the other protocol is tried')
    unknown = 'ab' * 20
    d.peers(unknown)
    wait_until(lambda: d.address in addresses(nodes, unknown), 20, 'it is announced')
    wait_until(lambda: others.announces(unknown), 10, 'to trackers, too')
    for_a_while(2, lambda: d.peers(content))
    assert d.address not in addresses(nodes, *s.keys)
    assert not others.announces(content) and not others.announces(infohash)
    assert {a['event'] for k in s.keys for a in ace.announces(k)} == {'started', 'stopped'}


# Trackers ---------------------------------------------------------------------------------
def test_a_tracker_hears_one_announce_and_stopped_at_once(start, tracker, ace_swarm):
    t, s = tracker(), ace_swarm([{'count': 4}])
    t.set(s.key, peers=s.endpoints(), interval=1)       # half an hour at least
    d = start(t.udp)
    until_named(d, s)
    wait_until(lambda: t.announces(s.key, 'stopped'), 10, 'stopped')
    for_a_while(5, lambda: d.peers(s.key))
    heard = t.announces(s.key)
    assert [a['event'] for a in heard] == ['started', 'stopped']
    assert heard[1]['t'] - heard[0]['t'] < 1
    assert heard[0]['numwant'] == 200 and heard[0]['left'] == 2 ** 64 - 1
    assert {a['port'] for a in heard} == {42069}
    assert {a['source'] for a in heard} == {d.address}
    assert len({a['peer_id'] for a in heard}) == 1
    assert bytes.fromhex(heard[0]['peer_id']).startswith(b'R30------')
    assert d.top()['counters']['ace_announces'] == 1


def test_a_swarm_that_is_left_and_asked_for_again_keeps_the_gap(start, tracker, ace_swarm):
    t, s = tracker(), ace_swarm([{'count': 3}])
    t.set(s.key, peers=s.endpoints())
    d = start(t.udp, **{'swarm.linger': '1s', 'swarm.announce_gap': '8s'})
    until_named(d, s)
    wait_until(lambda: d.top()['counters']['leaves'] == 1, 20, 'it is left')
    until_named(d, s)
    assert len(t.announces(s.key, 'started')) == 1

    def again():
        d.peers(s.key)
        return len(t.announces(s.key, 'started')) == 2
    wait_until(again, 15, 'the gap is over', every=0.2)
    first, second = t.announces(s.key, 'started')
    assert second['t'] - first['t'] >= 7.9
    assert first['peer_id'] != second['peer_id']


@pytest.mark.parametrize('how', ['hang', 'closed', 'garbage', 'failure', 'bad_tid'])
def test_a_bad_tracker_delays_nobody(start, tracker, ace_swarm, net, how):
    good, s = tracker(), ace_swarm([{'count': 6}])
    good.set(s.key, peers=s.endpoints())
    if how == 'closed':
        bad = f'udp://{net.take()}:6969/announce'
    else:
        t = tracker()
        t.set('*', mode=how, reason='not for you')
        bad = t.udp
    d = start(bad, good.udp, **{'swarm.discovery_wait': '0s'})
    until_named(d, s, timeout=2)            # it is given up after 9 s
    wait_until(lambda: d.top()['counters']['ace_tracker_failures'] >= 1, 20, 'it is counted')
    assert len(good.announces(s.key, 'started')) == 1


def announce_all(o, infohash, endpoints):
    """Each from its own address; again while opentracker has not read its whitelist."""
    def known():
        for address, port in endpoints:
            conn = http.client.HTTPConnection(o.address, o.port, timeout=5,
                                              source_address=(address, 0))
            conn.request('GET', f'/announce?info_hash={quote(bytes.fromhex(infohash), safe="")}'
                                f'&peer_id={"x" * 20}&port={port}&left=1&uploaded=0'
                                f'&downloaded=0&compact=1&event=started')
            conn.getresponse().read()
            conn.close()
        return o.peers(infohash) == (0, len(endpoints))
    wait_until(known, 10, 'opentracker knows them', every=0.1)


def test_a_real_tracker_tells_of_them_and_forgets_us(start, opentracker, ace_swarm, engine):
    """opentracker, which takes every announce for what it says."""
    s = ace_swarm([{'count': 5}], names=2)
    content, infohash = s.keys
    o, e = opentracker(s.keys), engine({content: infohash})
    announce_all(o, infohash, s.endpoints())
    d = start(o.udp, **{'acestream.engine_url': e.url})
    got = until_named(d, s)
    assert len(got) == 5, 'we are not in our own list'
    assert {tuple(p['sources']) for p in got.values()} == {('tracker',)}
    wait_until(lambda: o.peers(infohash) == (0, 5) and o.peers(content) == (0, 0), 10,
               'it has forgotten us')


def test_a_tracker_over_ipv6_names_ipv6_peers(start, tracker, ace_swarm, net):
    t = tracker(address='::1', port=net.ports6(1))
    s = ace_swarm([{'count': 3, 'address': '::1', 'port': net.ports6(3)}])
    t.set(s.key, peers=[['192.0.2.7', 8621]], peers6=s.endpoints())
    d = start(t.udp, **{'acestream.other_protocol': '1s'})
    got = until_named(d, s, timeout=20)
    assert len(got) == 3
    wait_until(lambda: t.announces(s.key, 'stopped'), what='stopped')


def test_a_private_tracker_is_not_asked(start, tracker):
    """One that an operator did not mean, or a name that was made to lead inside."""
    t = tracker()
    d = start(t.udp, f'udp://localhost:{t.port}/announce', **{'swarm.allow_private': 'off'})
    d.peers('ef' * 20)
    wait_until(lambda: d.top()['counters']['ace_trackers_private'] == 2, 10, 'both are refused')
    assert t.ask('count')['udp_connects'] == 0


def test_what_its_trackers_say_is_shown_whoever_else_is_asked(start, tracker, ace_swarm):
    good, bad, s = tracker(), tracker(), ace_swarm([{'count': 4}])
    good.set(s.key, peers=s.endpoints(), complete=7, incomplete=9)
    bad.set(s.key, mode='failure', reason='torrent not whitelisted')
    d = start(good.udp, bad.udp)
    a = wait_until(lambda: (a := d.peers(s.key))['phase'] == 'settled' and a, 20, 'it is settled')
    assert a['ace']['mode'] in ('maybe', 'pinned') and a['total_peers'] == 4
    assert a['counts']['trackers'] == {'asked': 2, 'answered': 1}
    assert (a['counts']['tracker']['seeds'], a['counts']['tracker']['leechers']) == (7, 9)
    said = a['evidence']['trackers']['last_failure']
    assert said['says'] == 'torrent not whitelisted' and bad.udp.startswith(said['tracker'])
    until_named(d, s)
    wait_until(lambda: d.peers(s.key)['ace']['mode'] == 'pinned', 10, 'it is pinned')
    assert d.peers(s.key)['counts']['trackers'] == {'asked': 2, 'answered': 1}


def test_a_reload_asks_new_trackers_alone(daemon, tracker, ace_swarm):
    old, new, s = tracker(), tracker(), ace_swarm([{'count': 4}])
    old.set(s.key, peers=s.endpoints([0, 1]))
    new.set(s.key, peers=s.endpoints([2, 3]))
    d = daemon({**FAST, 'swarm.discovery_wait': '5s', 'acestream.trackers': None},
               file=f'[acestream]\ntrackers = {old.udp}\n')
    until_named(d, s, s.peers[:2])
    with open(d.file, 'w', encoding='utf-8') as f:
        f.write(f'[acestream]\ntrackers = {old.udp},{new.udp}\n')
    d.kill(signal.SIGHUP)
    until_named(d, s)
    assert len(old.announces(s.key, 'started')) == len(new.announces(s.key, 'started')) == 1


def test_a_killed_collector_asks_anew(start, tracker, ace_swarm):
    t, s = tracker(), ace_swarm([{'count': 4}])
    t.set(s.key, peers=s.endpoints())
    d = start(t.udp)
    d.damage_expected = ('last words',)
    until_named(d, s)
    os.kill(d.collector(), signal.SIGKILL)
    wait_until(lambda: d.peers(s.key) and len(t.announces(s.key, 'started')) == 2, 20,
               'it is asked for again', every=0.2)
    until_named(d, s)


# The interface ------------------------------------------------------------------------------
@pytest.mark.skipif(netns.why_not() is not None, reason=netns.why_not() or '')
def test_announces_leave_through_the_interface_or_not_at_all(stage):
    t = Town(stage)
    with t.world.around:
        s = AceSwarm(stage, [{'count': 4}], base='203.0.113.60')
        far = Tracker(stage, address='203.0.113.201', port=2710)
    far.set(s.key, peers=s.endpoints())
    tun, eth = t.world.watch('tun0'), t.world.watch('eth0')
    d = t.start('tun0', {'acestream.trackers': far.udp, 'swarm.allow_private': 'on', **FAST})
    with t.world.house:
        until_named(d, s)
    assert {(a['source'], a['event']) for a in far.announces(s.key)} == {
        ('192.0.2.1', 'started'), ('192.0.2.1', 'stopped')}
    assert (UDP, 2710) in {(p[0], p[3]) for p in tun.take()}
    t.world.unplug('tun0')
    wait_until(lambda: not t.health()['interface_ok'], 10, 'the interface is gone')
    far.ask('forget')
    other = 'ab' * 20
    with t.world.house:
        d.get(f'/peers/{other}?wait=2s')
    assert not [p for p in eth.take() if p[3] == 2710]
    t.world.plug('tun0')
    wait_until(lambda: t.health()['interface_ok'], 20, 'it is back')
    with t.world.house:
        d.get(f'/peers/{other}?wait=5s')
    wait_until(lambda: far.announces(other, 'stopped'), 20, 'it is asked about')
    assert {a['source'] for a in far.announces()} == {'192.0.2.1'}
    assert not far.announces(s.key), 'within its interval'
    assert not [p for p in eth.take() if p[3] == 2710]

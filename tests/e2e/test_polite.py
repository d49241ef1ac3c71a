"""A polite guest: contact, learn, let go, at a bounded pace. What takes longer to show is
in tests/slow/test_polite.py."""
import time

import pytest

from procs import wait_until


def all_named(d, s):
    got = d.by_endpoint(s.infohash)
    return len(got) == len(s.peers) and all(
        got[p['address'], p['port']]['client'] == p['name'] for p in s.peers)


# Trackers ------------------------------------------------------------------
def wanted(t, infohash):
    """When each announce came that wants peers."""
    return [e['t'] for e in t.announces(infohash) if e['event'] != 'stopped']


def leave(d, times=1):
    wait_until(lambda: d.top()['counters']['leaves'] >= times, 10, 'nobody asks: it is left')


@pytest.mark.parametrize('udp', [True, False], ids=['udp', 'http'])
def test_who_comes_back_within_the_interval_does_not_announce_again(daemon, swarm, tracker,
                                                                    udp):
    t, s = tracker(), swarm([{'count': 4}])
    t.set(s.infohash, peers=s.endpoints(), interval=1800)
    d = daemon({'swarm.trackers': t.udp if udp else t.http, 'swarm.linger': '1s'})
    for i in range(3):
        wait_until(lambda: all_named(d, s), 10, 'all four by name')
        leave(d, i + 1)
    assert len(wanted(t, s.infohash)) == 1
    answer = d.peers(s.infohash, wait='5s')
    assert answer['total_peers'] == 4 and answer['error'] is None


def test_who_comes_back_later_announces(daemon, swarm, tracker):
    t, s = tracker(), swarm([{'count': 4}])
    t.set(s.infohash, peers=s.endpoints([0, 1]))
    d = daemon({'swarm.trackers': t.http, 'swarm.linger': '1s', 'swarm.announce_gap': '6s'})
    wait_until(lambda: len(d.by_endpoint(s.infohash)) == 2, 10, 'those that it tells of')
    leave(d)
    t.set(s.infohash, peers=s.endpoints([2, 3]))
    wait_until(lambda: all_named(d, s), 15, 'and those that it tells of later', every=0.2)
    at = wanted(t, s.infohash)
    assert len(at) == 2 and at[1] - at[0] >= 5.9, at


# Connections ---------------------------------------------------------------
def test_who_has_told_everything_is_let_go(daemon, swarm, tracker):
    t, s = tracker(), swarm([{'count': 40, 'progress': 'mixed'}])
    t.set(s.infohash, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.udp, 'swarm.hold': '3s', 'swarm.keep': 5})
    wait_until(lambda: all_named(d, s), 10, 'all 40 by name')

    def let_go():
        got = d.by_endpoint(s.infohash)
        states = [p['state'] for p in got.values()]
        few = states.count('connected') <= 5 and states.count('contacted') >= 35
        return got if few else None

    def few_left():
        d.peers(s.infohash)
        return s.totals()['open'] <= 5
    wait_until(few_left, 25, 'all but five are let go', every=0.2)
    now = wait_until(let_go, 5, 'the list says so')
    assert all_named(d, s) and d.peers(s.infohash)['total_peers'] == 40
    assert {e: p['progress'] for e, p in now.items()} == {
        (p['address'], p['port']): p['progress'] for p in s.peers}
    assert s.totals()['connections'] == 40, 'nobody was dialled twice'


# Attempts --------------------------------------------------------------------
def test_new_connections_per_second_are_bounded(daemon, swarm, tracker):
    t, s = tracker(), swarm([{'count': 120}])
    t.set(s.infohash, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.udp, 'swarm.connection_speed': 20,
                'swarm.connect_boost': 0, 'swarm.discovery_wait': '20s'})
    began = time.monotonic()
    d.get(f'/peers/{s.infohash}?wait=0')
    seen = []

    def all_met():
        seen.append((time.monotonic() - began, s.totals()['connections']))
        return seen[-1][1] >= 120
    wait_until(all_met, 20, 'all are met', every=0.05)
    assert all(n <= 20 * (after + 1) + 5 for after, n in seen), seen

"""A polite guest takes time to show: visits at a growing pace, intervals of trackers, places
for attempts that nobody answers, and forgetting who never does."""
import time

from netns import connections
from procs import wait_until


def test_visits_become_rare_while_a_swarm_is_asked_for(daemon, swarm, tracker):
    t, s = tracker(), swarm([{'count': 10}])
    t.set(s.infohash, peers=s.endpoints(), interval=1800)
    d = daemon({'swarm.trackers': t.udp, 'swarm.hold': '3s', 'swarm.keep': 0,
                'swarm.revisit': '4s', 'swarm.revisit_max': '16s', 'swarm.linger': '5s'})
    began, visits = time.monotonic(), [[] for _ in s.peers]

    def watched():
        got = d.by_endpoint(s.infohash)
        now = time.monotonic() - began
        for i, stat in enumerate(s.ask('stats')):
            visits[i] += [now] * (stat['connections'] - len(visits[i]))
        assert now < 2 or len(got) == 10
        return now > 80
    wait_until(watched, 100, '80 s of questions', every=0.1)
    gaps = [[round(b - a, 1) for a, b in zip(v, v[1:])] for v in visits]
    for gap in gaps:
        assert 3 <= len(gap) <= 8, gaps
        assert gap[-1] >= 10 and gap[0] <= 12, gaps         # it grew, and began small
        assert all(b >= a * 0.8 for a, b in zip(gap, gap[1:])), gaps
    assert len([e for e in t.announces(s.infohash) if e['event'] != 'stopped']) == 1
    # Nobody asks: it is left, and nobody is visited any more.
    wait_until(lambda: d.top()['counters']['leaves'] == 1, 15, 'it is left')
    met = s.totals()['connections']
    quiet = time.monotonic() + 25
    wait_until(lambda: time.monotonic() > quiet, 30)
    assert s.totals()['connections'] == met


def test_silent_peers_age_out_though_they_are_visited_again(daemon, swarm, tracker):
    t = tracker()
    s = swarm([{'count': 5}, {'count': 3, 'behaviour': 'dead'}, {'count': 3,
                                                                'behaviour': 'silent'}])
    t.set(s.infohash, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.udp, 'swarm.peer_expiry': '20s', 'swarm.hold': '3s',
                'swarm.keep': 0, 'swarm.revisit': '12s', 'swarm.revisit_max': '12s'})
    d.until_peers(s.infohash, lambda g: len(g) == 11)
    alive = {p['address'] for p in s.peers[:5]}
    d.until_peers(s.infohash, lambda g: set(g) == alive, 40, 'the silent are forgotten')
    # The others are met again and again, and stay.
    end = time.monotonic() + 30

    def still_there():
        got = d.by_address(s.infohash)
        assert set(got) == alive, sorted(got)
        return time.monotonic() > end
    wait_until(still_there, 40, 'half a minute more', every=0.2)
    assert d.top()['counters']['peers_expired'] == 6


def test_an_interval_is_kept_while_a_swarm_is_asked_for(daemon, swarm, tracker):
    t, s = tracker(), swarm([{'count': 4}])
    t.set(s.infohash, peers=s.endpoints(), interval=5, min_interval=5)
    d, began = daemon({'swarm.trackers': t.http, 'swarm.linger': '10s'}), time.monotonic()

    def a_while():
        d.peers(s.infohash)
        return time.monotonic() - began > 13
    wait_until(a_while, 20, 'it was asked for all the time', every=0.2)
    at = [e['t'] for e in t.announces(s.infohash) if e['event'] != 'stopped']
    assert all(b - a >= 4.9 for a, b in zip(at, at[1:])), at


def test_half_open_connections_are_bounded(daemon, swarm, tracker):
    """Peers whose SYNs get no answer: each takes a place for seven seconds."""
    t, s = tracker(), swarm([{'count': 30, 'behaviour': 'full'}])
    t.set(s.infohash, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.udp, 'swarm.half_open': 12, 'swarm.discovery_wait': '1s'})
    addresses, pid, most, tried = {p['address'] for p in s.peers}, d.collector(), [0], set()

    def on_the_way():
        return {there for _, there, _ in connections(pid, ('02',)) if there in addresses}

    def all_tried():
        # The kernel tells of one after the other, and all places are taken anew in one moment.
        now = on_the_way()
        most[0] = max(most[0], len(now & on_the_way()))
        tried.update(now)
        return tried == addresses
    d.peers(s.infohash)
    wait_until(all_tried, 60, 'each was tried', every=0.05)
    assert 6 <= most[0] <= 12, most

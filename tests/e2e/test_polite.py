"""A polite guest: contact, learn, let go, at a bounded pace. What takes longer to show is
in tests/slow/test_polite.py."""
import time

from procs import wait_until


def all_named(d, s):
    got = d.by_endpoint(s.infohash)
    return len(got) == len(s.peers) and all(
        got[p['address'], p['port']]['client'] == p['name'] for p in s.peers)


# Connections ---------------------------------------------------------------
def test_who_has_told_everything_is_let_go(daemon, swarm, tracker):
    t, s = tracker(), swarm([{'count': 40, 'progress': 'mixed'}])
    t.set(s.infohash, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.udp, 'swarm.hold': '3s', 'swarm.keep': 5})
    wait_until(lambda: all_named(d, s), 10, 'all 40 by name')

    def few_left():
        d.peers(s.infohash)
        return s.totals()['open'] <= 5
    wait_until(few_left, 25, 'all but five are let go', every=0.2)
    now = d.by_endpoint(s.infohash)
    assert all_named(d, s) and d.peers(s.infohash)['total_peers'] == 40
    assert {e: p['progress'] for e, p in now.items()} == {
        (p['address'], p['port']): p['progress'] for p in s.peers}
    assert {p['state'] for p in now.values()} == {'connected', 'contacted'}
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

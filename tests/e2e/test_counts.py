"""counts of an answer: what trackers, the DHT and we ourselves count, each with the time of
that very number; and nobody's number under another's time."""
import time

import pytest

from procs import HANG_S, slow, wait_until

HASH = 'c0' * 20
SECOND = 1.5            # times are whole seconds, rounded down, of a clock that runs on


def counts(d, infohash=HASH, **query):
    return d.peers(infohash, **query)['counts']


def until_tracker(d, seeds, leechers, infohash=HASH, timeout=HANG_S):
    """Until the trackers' numbers are these; then the whole of counts."""
    def right():
        c = counts(d, infohash)
        t = c['tracker']
        return c if t and (t['seeds'], t['leechers']) == (seeds, leechers) else None
    return wait_until(right, timeout, f'{seeds} seeds and {leechers} leechers')


@pytest.mark.parametrize('udp', [True, False], ids=['udp', 'http'])
def test_numbers_of_a_tracker_and_of_nobody_else(daemon, tracker, swarm, udp):
    s, t = swarm([{'count': 3}]), tracker()
    t.set(s.infohash, peers=s.endpoints(), complete=112, incomplete=2500)
    d = daemon({'swarm.trackers': t.udp if udp else t.http})
    began = time.time()
    c = until_tracker(d, 112, 2500, s.infohash)
    asked = t.announces(s.infohash)[0]['t']
    assert began - SECOND < c['tracker']['at'] and abs(c['tracker']['at'] - asked) < SECOND * slow()
    assert c['dht'] is None
    assert c['trackers'] == {'asked': 1, 'answered': 1}
    answer = d.peers(s.infohash)
    assert answer['total_peers'] == 3, 'a scrape is not a peer'
    assert answer['counts']['connected'] == {'peers': 3, 'at': int(answer['cached_at'])}


@pytest.mark.parametrize('udp', [True, False], ids=['udp', 'http'])
def test_opentracker_counts(daemon, opentracker, swarm, udp):
    o = opentracker([HASH])
    swarm([{'count': 4, 'progress': 100}, {'count': 3, 'progress': 10}], infohashes=[HASH],
          trackers=[o.udp])
    assert o.peers(HASH) == (4, 3)
    d = daemon({'swarm.trackers': o.udp if udp else o.http})
    began = time.time()
    c = until_tracker(d, 4, 4)      # it counts us too, as everybody who asks
    assert began - SECOND < c['tracker']['at'] <= time.time()
    assert o.peers(HASH) == (4, 4)


def test_the_time_is_that_of_the_number(daemon, tracker):
    """A second tracker answers later and counts nothing: that makes nothing newer."""
    first, late = tracker(), tracker()
    first.set(HASH, complete=7, incomplete=3)
    late.set(HASH, counted=False, delay_ms=2500)
    d = daemon({'swarm.trackers': f'{first.http},{late.http}'})
    before = until_tracker(d, 7, 3)['tracker']
    c = wait_until(lambda: (lambda c: c if c['trackers']['answered'] == 2 else None)(counts(d)),
                   10, 'the second has answered')
    assert time.time() - before['at'] > 2
    assert c['tracker'] == before


def test_numbers_are_of_one_tracker_and_no_blend(daemon, tracker):
    """Most seeds here and most leechers there are no count that anybody gave."""
    a, b = tracker(), tracker()
    a.set(HASH, complete=50, incomplete=1)
    b.set(HASH, complete=2, incomplete=90, delay_ms=3500)
    d = daemon({'swarm.trackers': f'{a.http},{b.udp}'})
    early = until_tracker(d, 50, 1)['tracker']
    late = until_tracker(d, 2, 90)['tracker']
    assert late['at'] >= early['at'] + 1


def test_no_count_is_null_and_not_zero(daemon, tracker):
    t = tracker()
    t.set(HASH, counted=False)
    d = daemon({'swarm.trackers': t.http})
    wait_until(lambda: counts(d)['trackers']['answered'] == 1, what='it has answered')
    assert counts(d, wait='1500ms')['tracker'] is None
    failing = tracker()
    failing.set(mode='failure')
    d = daemon({'swarm.trackers': failing.udp})
    assert counts(d, wait='1500ms')['tracker'] is None


def test_the_same_number_again_is_a_newer_one(daemon, tracker):
    """Left and joined again: the tracker says the same, later."""
    t = tracker()
    t.set(HASH, complete=4, incomplete=5)
    d = daemon({'swarm.trackers': t.udp, 'swarm.linger': '1s', 'cache.ttl': '200ms',
                'swarm.announce_gap': '0s'})
    first = until_tracker(d, 4, 5)['tracker']['at']
    wait_until(lambda: d.top()['counters']['leaves'] == 1, 20, 'the swarm is left')
    wait_until(lambda: time.time() > first + 2.5, what='a later second')

    def newer():
        c = counts(d)['tracker']
        return c if c and c['at'] > first else None
    again = wait_until(newer, 10, 'a newer time')
    assert (again['seeds'], again['leechers']) == (4, 5)
    asked = [e['t'] for e in t.announces(HASH) if e['event'] != 'stopped']
    assert min(abs(again['at'] - t) for t in asked[1:]) < SECOND * slow()
    # another number of the same tracker counts, also a smaller one
    wait_until(lambda: d.top()['counters']['leaves'] == 2, 20, 'the swarm is left')
    t.set(HASH, complete=1, incomplete=0)
    until_tracker(d, 1, 0)


def test_the_dht_counts_for_itself(daemon, dht, swarm, tracker):
    s, t, nodes = swarm([{'count': 5}]), tracker(), dht(4)
    nodes.announce(s.infohash, s.endpoints([0, 1, 2]))
    t.set(s.infohash, peers=s.endpoints([2, 3, 4]), complete=30, incomplete=40)
    d = daemon({'swarm.trackers': t.udp, 'swarm.dht': 'on', 'swarm.dht_bootstrap': nodes.router})
    wait_until(lambda: d.get('/health').json['dht_nodes'], 20, 'the DHT is there')
    began = time.time()

    def both():
        c = counts(d, s.infohash)
        return c if c['dht'] and c['tracker'] else None
    c = wait_until(both, 20, 'both have answered')
    assert (c['tracker']['seeds'], c['tracker']['leechers']) == (30, 40)
    assert 1 <= c['dht']['peers'] <= 4, 'the three, and perhaps ourselves'
    assert began - SECOND < c['dht']['at'] <= time.time()
    wait_until(lambda: counts(d, s.infohash)['connected']['peers'] == 5, 10, 'all five')

"""What watching an AceStream swarm costs it: connections counted per peer, for ten minutes of
questions, and over rounds of revisits."""
import threading
import time

import pytest
from acecheck import FAST, is_polite, told_by, unnamed, until_named
from procs import wait_until

WATCHED_S = 600
PANELS, ASKS_EVERY_S = 3, 10


@pytest.fixture
def start(daemon, tracker):
    return lambda s, others=(), **conf: told_by(daemon, tracker, s, others, **conf)


def per_peer(swarm):
    return [p['connections'] for p in swarm.ask('stats')]


def panels(d, swarm, named):
    """Three of them ask for ten minutes; what any answer lacked: [(second, peers)]."""
    lacked, over, began = [], threading.Event(), time.monotonic()

    def panel():
        while not over.wait(ASKS_EVERY_S):
            lost = unnamed(d.by_endpoint(swarm.key), named)
            if lost:
                lacked.append((time.monotonic() - began, lost))
    threads = [threading.Thread(target=panel) for _ in range(PANELS)]
    for t in threads:
        t.start()
    try:
        wait_until(lambda: time.monotonic() - began > WATCHED_S, 2 * WATCHED_S,
                   'ten minutes', every=1)
    finally:
        over.set()
        for t in threads:
            t.join()
    return lacked


def test_ten_minutes_of_polling(start, ace_swarm):
    """With the defaults: each peer is called once, two or three of them once more for the
    second look; who hangs up or is silent no more often than back-off says."""
    s = ace_swarm([{'count': 60, 'rate': 0.8, 'lag': [0, 3, 9]},
                   {'count': 10, 'behaviour': 'dead'}, {'count': 5, 'behaviour': 'silent'},
                   {'count': 5, 'behaviour': 'close'}])
    d = start(s)
    until_named(d, s, timeout=60)
    assert panels(d, s, s.peers[:60]) == []
    calls = per_peer(s)
    print('calls per peer:', sorted(calls[:60], reverse=True), 'who said nothing:', calls[70:])
    assert max(calls[:60]) <= 2 and 1 <= sum(n > 1 for n in calls[:60]) <= 3
    # In one protocol, and after ten minutes at the earliest once more.
    assert max(calls[70:]) <= 2
    is_polite(s)
    answer = d.peers(s.key, limit=2000)
    assert answer['ace']['motion'] == 'advancing' and answer['ace']['reachable'] == 60


def test_revisits_keep_their_interval_and_failures_back_off(start, ace_swarm):
    s = ace_swarm([{'count': 6}, {'count': 4, 'behaviour': 'close'}])
    d = start(s, **{'acestream.revisit': '20s', 'acestream.second_look': '20s',
                    'acestream.other_protocol': '10m', **FAST})
    until_named(d, s)
    end = time.monotonic() + 70

    def watched():
        d.peers(s.key)
        return time.monotonic() > end
    wait_until(watched, 140, '70 s of questions', every=1)
    calls = sorted(([r['at'] for r in s.log([p['index']])] for p in s.peers[:6]), key=len)
    assert all(3 <= len(at) <= 8 for at in calls), calls
    for at in calls[:3]:        # two or three others have a second look in each round
        assert len(at) <= 5 and all(b - a >= 19 for a, b in zip(at, at[1:])), at
    assert max(per_peer(s)[6:]) == 1, 'ten minutes before the next try'
    is_polite(s)

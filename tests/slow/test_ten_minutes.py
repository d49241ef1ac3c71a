"""Real clients, for as long as a stream is watched: all named after a minute, and still
after ten, in every answer between."""
import time

import pytest

from procs import wait_until

LEECH = 0.5
SIZE = 16 << 20         # at 1 KiB/s a leech gains 4 % of it in ten minutes
MINUTE_S = 60


def wrong_in(d, infohash, clients):
    """[] or what is wrong with the list: it holds the clients, and nobody else."""
    got = d.by_address(infohash)
    out = [f'{a} is listed' for a in set(got) - {c.address for c in clients}]
    for c in clients:
        p = got.get(c.address)
        if p is None:
            out.append(f'{c.shown} is missing')
        elif p['client'] != c.shown or p['state'] not in ('contacted', 'connected') \
                or abs(p['progress'] - c.fraction * 100) > 8:
            out.append(f'{c.shown} is {p["client"]!r} {p["state"]} {p["progress"]}')
    return out


def until_right(d, infohash, clients, timeout):
    last = []

    def right():
        last[:] = wrong_in(d, infohash, clients)
        return not last
    try:
        wait_until(right, timeout, 'all are named', every=0.5)
    except AssertionError as e:
        raise AssertionError(f'{e}: {last}') from None


@pytest.fixture
def clients(payload, opentracker, transmission, aria2, qbittorrent, rtorrent):
    """(payload, tracker, clients): the tracker knows all four."""
    p = payload([], SIZE)
    ot = opentracker([p.infohash])
    with open(p.path, 'wb') as f:
        f.write(p.torrent.file([ot.http]))
    four = [transmission(p), aria2(p, LEECH), qbittorrent(p, LEECH), rtorrent(p)]
    wait_until(lambda: sum(ot.peers(p.infohash)) >= len(four), 30, 'the tracker knows all')
    return p, ot, four


def test_real_clients_are_named_after_a_minute_and_still_after_ten(daemon, clients):
    """Asked every ten seconds, as by a panel."""
    p, ot, four = clients
    began = time.monotonic()
    d = daemon({'swarm.trackers': ot.udp})
    until_right(d, p.infohash, four, MINUTE_S)
    asked, bad = [], {}

    def ten_minutes_over():
        now = round((time.monotonic() - began) / MINUTE_S, 2)
        wrong = wrong_in(d, p.infohash, four)
        asked.append(now)
        if wrong:
            bad[now] = wrong
        return now >= 10
    wait_until(ten_minutes_over, 11 * MINUTE_S, 'ten minutes are over', every=10)
    assert len(asked) >= 50 and not bad


def test_real_clients_are_named_again_after_the_swarm_was_left(daemon, clients):
    """Nothing is left of the first visit in the table but places to dial."""
    p, ot, four = clients
    d = daemon({'swarm.trackers': ot.udp, 'swarm.linger': '1s'})
    for i in range(4):
        until_right(d, p.infohash, four, 20)
        wait_until(lambda n=i + 1: d.top()['counters']['leaves'] == n, 10,
                   'nobody asks: it is left', every=0.5)

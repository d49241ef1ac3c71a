"""What tests of AceStream swarms share: waiting until peers are named, and what must hold of
every call that a scripted peer has seen (aceswarm.py's records)."""
import re

from procs import HANG_S, slow, wait_until

# Bounds of calls that are out of the way.
FAST = {'acestream.swarm_connections': 256, 'acestream.connections': 512,
        'acestream.connection_speed': 1000}
ALWAYS_S = 8                    # the most that a call may last (collector/ace.h)
SEEN_S = 0.03                   # two events of one moment may be seen so far apart


def told_by(daemon, tracker, swarm, others=(), **conf):
    """A daemon to whom a tracker names all of the swarm, under each of its keys."""
    t = tracker()
    told = swarm.endpoints() + [list(e) for e in others]
    for k in swarm.keys:
        t.set(k, peers=told)
    d = daemon({'acestream.trackers': t.udp, 'swarm.discovery_wait': '10s', **conf})
    d.ace_tracker = t
    return d


def where(peer):
    return peer['address'], peer['port']


def unnamed(rows, peers):
    """Who of these is not shown with his client: [(behaviour, address, client shown)]."""
    return [(p['behaviour'], p['address'], rows.get(where(p), {}).get('client')) for p in peers
            if not (rows.get(where(p)) or {'client': ''})['client'].startswith(p['client'])]


def until_named(d, swarm, peers=None, timeout=HANG_S):
    """All of these (all that tell) are shown with their client: {endpoint: row}."""
    peers = [p for p in swarm.peers if p['gives'] == 'named'] if peers is None else peers
    seen = {'rows': {}}

    def named():
        seen['rows'] = d.by_endpoint(swarm.key)
        return not unnamed(seen['rows'], peers)
    try:
        wait_until(named, timeout, 'all are named', every=0.1)
    except AssertionError as e:
        raise AssertionError(f'{e}: {unnamed(seen["rows"], peers)[:20]}') from None
    return seen['rows']


def until_let_go(swarm, timeout=HANG_S):
    wait_until(lambda: swarm.totals()['open'] == 0, timeout, 'all are let go')


def at_once(records):
    """The most of these connections that were open at one moment. An end that is seen just
    after a beginning was before it."""
    turns = sorted([(r['at'], 1) for r in records]
                   + [(r['at'] + max(0, (r['lasted_s'] or 0) - SEEN_S), -1) for r in records])
    now = most = 0
    for _, turn in turns:
        now += turn
        most = max(most, now)
    return most


def in_a_window(records, seconds):
    """The most that began within so many seconds."""
    times = sorted(r['at'] for r in records)
    return max((sum(t <= u < t + seconds for u in times) for t in times), default=0)


def is_polite(swarm):
    """What everybody must have seen of us: 66 bytes in one write, a peer id of its own for
    each call, 8 seconds at most."""
    log = [r for r in swarm.log() if r['kind'] != 'bittorrent']
    assert log and swarm.impolite() == []
    odd = [r for r in log if r['reads'] not in ([66], [])]
    assert odd == []
    ids = [r['peer_id'] for r in log if r['peer_id']]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r'R30-{6}[0-9A-Za-z.-]{11}', i) for i in ids)
    assert all(r['key'] in swarm.keys for r in log if r['kind'] == 'acestream' and r['key'])
    assert all(r['lasted_s'] <= ALWAYS_S * slow() + 0.5 for r in log if r['lasted_s'])

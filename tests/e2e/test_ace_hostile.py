"""AceStream peers that lie, flood, hang and hang up, against the real binary: they are shown as
what they are, nobody costs more than his bounds, and nobody hears more than 66 bytes."""
import time

import pytest

from acecheck import (ALWAYS_S, FAST, at_once, in_a_window, is_polite, told_by, until_let_go,
                      until_named, where)
from procs import own_kb, slow, wait_until

KEPT_BYTES = 64 << 10           # what is read of one peer (collector/acewire.h)
KERNEL_BYTES = 6 << 20          # what loopback's buffers may hold besides
SPELLINGS = ('nested', 'unsorted', 'duplicate', 'huge_int', 'leading_zero', 'minus_zero',
             'long_string', 'trailing', 'cut', 'list')
HOSTILE = ['trickle', 'gossip_first', 'gossip_lies', 'bad_signature', 'strict', 'content',
           'flood', 'fin', 'mute', 'drip', 'huge_length', 'silent', 'close', 'reset', 'garbage',
           'half_reply', 'unknown_key', 'wrong_key', 'bittorrent_reply', 'bittorrent', 'both',
           'dead', 'full'] + ['bencode_' + s for s in SPELLINGS]
# Content, a flood, nonsense. Others have the time that they need, within bounds.
CUT = ['content', 'flood', 'huge_length'] + ['bencode_' + s for s in SPELLINGS]
# Who still speaks when he is hung up on may hear the kernel's RST for it.
SAID_ALL = ('trickle', 'gossip_first', 'gossip_lies', 'bad_signature', 'strict', 'both', 'mute',
            'silent')
STATES = {'named': {'contacted', 'connected'}, 'shaken': {'contacted', 'connected'},
          'nothing': {'known', 'tried'}}


@pytest.fixture
def start(daemon, tracker):
    return lambda swarm, **conf: told_by(daemon, tracker, swarm, **conf)


def counts(d, swarm):
    a = d.peers(swarm.key, limit=2000)['ace']
    return {k: a[k] for k in ('discovered', 'reachable', 'gossiped')}


# Nothing but 66 bytes ---------------------------------------------------------------------
def test_strict_peers_never_see_a_byte_too_many(start, ace_swarm):
    s = ace_swarm([{'count': 20, 'behaviour': 'strict', 'sends': [
        'bitfield', 'have', 'trailing', 'refresh', 'gossip', 'source', 'alive', 'empty'],
        'gossip': 3, 'source': ['203.0.113.9', 7764]}])
    d = start(s, **FAST)
    until_named(d, s)
    until_let_go(s)
    is_polite(s)
    log = s.log()
    assert s.totals()['strict_failed'] == 0
    assert [r['ended'] for r in log] == ['fin'] * 20
    assert all(0.4 <= r['lasted_s'] < 4 * slow() for r in log), 'half a second of listening'
    assert d.top()['counters']['ace_told'] == 20


# Bounds of calls --------------------------------------------------------------------------
def test_calls_are_bounded_by_swarm_by_second_and_by_address(start, ace_swarm, net):
    """With the defaults: 8 under way, 20 per second and 10 at once, one per address."""
    s = ace_swarm([{'count': 40, 'delay_ms': 300},
                   {'count': 3, 'address': net.take(), 'port': 8621}])
    d = start(s)
    d.peers(s.key, wait=0)
    until_named(d, s, timeout=40)
    until_let_go(s)
    log, crowd = s.log(), s.log(range(40, 43))
    assert 4 <= at_once(log) <= 8
    assert in_a_window(log, 1) <= 32 and in_a_window(log, 3) <= 72
    assert at_once(crowd) == 1 and len(crowd) == 3
    assert len(log) == 43
    assert d.top()['counters']['ace_busy_swarm'] > 0
    is_polite(s)


def test_the_pace_is_that_of_the_key(start, ace_swarm):
    s = ace_swarm([{'count': 40}])
    d = start(s, **{**FAST, 'acestream.connection_speed': 10})
    asked = time.monotonic()
    d.peers(s.key, wait=0)
    until_named(d, s, timeout=40)
    log = s.log()
    # Five at once, then ten a second; the peers' clock may be late for the first, and for many.
    assert len(log) == 40 and max(r['at'] for r in log) - asked >= (40 - 5) / 10 - 0.1
    assert in_a_window(log, 1) <= 6 + 10 * slow()
    is_polite(s)


def test_calls_are_bounded_over_all_swarms(daemon, tracker, ace_swarm):
    t, swarms = tracker(), [ace_swarm([{'count': 12, 'delay_ms': 400}]) for _ in range(4)]
    for s in swarms:
        t.set(s.key, peers=s.endpoints())
    d = daemon({'acestream.trackers': t.udp, 'acestream.swarm_connections': 8,
                'acestream.connections': 10, 'acestream.connection_speed': 1000})
    for s in swarms:
        d.peers(s.key, wait=0)
    for s in swarms:
        until_named(d, s, timeout=40)
        until_let_go(s)
    log = [r for s in swarms for r in s.log()]
    assert 6 <= at_once(log) <= 10 * slow()     # the peers may be late to see an end
    assert len(log) == 48
    for s in swarms:        # none of them waited until another was done
        first = min(r['at'] for r in s.log())
        assert first < sorted(r['at'] for r in log)[40]
        is_polite(s)


# Hostile ----------------------------------------------------------------------------------
def test_every_variant_at_once(start, ace_swarm):
    """They are shown as what they are; nobody costs more than 64 KiB and eight seconds; the
    good ones between them do not notice."""
    s = ace_swarm([{'behaviour': b} for b in HOSTILE] + [{'count': 10}])
    d = start(s, **{'acestream.other_protocol': '10m'}, **FAST)
    before = own_kb(d.collector())
    # Single bytes may take longer than four seconds on a loaded machine.
    until_named(d, s, [p for p in s.peers
                       if p['gives'] == 'named' and p['behaviour'] != 'trickle'])
    for p in s.peers:
        if p['behaviour'] not in ('dead', 'full'):
            wait_until(lambda p=p: s.log([p['index']]), 10, f'{p["behaviour"]} is called')
    until_let_go(s)
    got = d.by_endpoint(s.key)
    assert [(p['behaviour'], got[where(p)]['state']) for p in s.peers
            if got[where(p)]['state'] not in STATES[p['gives']]] == []
    for p in s.peers:
        if p['gives'] == 'shaken':      # only its 66 bytes were good
            assert got[where(p)]['client'] in ('Unknown', 'Ace Stream 3.x'), p['behaviour']
    logs = {p['behaviour']: s.log([p['index']])[0] for p in s.peers
            if p['behaviour'] in HOSTILE and s.log([p['index']])}
    lasted = {b: r['lasted_s'] for b, r in logs.items()}
    assert d.top()['counters']['ace_cut'] == len(CUT), 'hung up on at once'
    assert max(lasted[b] for b in CUT) < 2 * slow()
    assert logs['flood']['bytes_out'] < KEPT_BYTES + KERNEL_BYTES
    assert 2.5 < lasted['silent'] < 4 * slow(), 'three seconds for the reply'
    assert 3.5 < lasted['mute'] < 5 * slow(), 'four for the extended handshake'
    assert lasted['drip'] < ALWAYS_S + 0.5
    is_polite(s)
    assert [(b, logs[b]['ended']) for b in SAID_ALL if logs[b]['ended'] != 'fin'] == []
    assert own_kb(d.collector()) - before < 8192


def test_a_count_that_lies_gives_one_record(start, ace_swarm, net):
    told = net.take()
    s = ace_swarm([{'behaviour': 'gossip_lies', 'tell': [
        {'address': told, 'port': 8622, 'version': 3021100}]}])
    d = start(s, **FAST)
    until_named(d, s)
    until_let_go(s)
    rows = d.by_endpoint(s.key)
    assert counts(d, s)['gossiped'] == 1
    assert set(rows) == {where(s.peers[0]), (told, 8622)}
    assert rows[told, 8622]['ace']['version'] == '3.2.11'

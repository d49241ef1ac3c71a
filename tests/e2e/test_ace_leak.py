"""Calls to AceStream engines, in a house with two ways out (town.py), over IPv4 and IPv6: by
swarm.interface or not at all, to the last packet of a connection. The other way has the default
route."""
import socket

import netns
import pytest
from acecheck import FAST, is_polite, until_let_go, until_named, where
from netns import Capture
from parts import AceSwarm, Tracker
from procs import wait_until
from test_leak import City, LateEnd
from town import Town

REASON = netns.why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or '')
KEYS = ['1a' * 20, '2b' * 20]


class Street(Town):
    """Engines on both kinds of address; a tracker each tells of them."""

    def __init__(self, stage):
        self.stage, self.world = stage, netns.World(stage, v6=True)
        self.capture, self.seen = Capture(stage, self.world.house), []
        with self.world.around:
            self.tracker = Tracker(stage, address=self.world.TRACKER)
            self.tracker6 = Tracker(stage, address=self.world.TRACKER6)
            spec = [{'count': 4}, {'count': 2, 'behaviour': 'flood'}]
            self.swarm = AceSwarm(stage, spec, keys=KEYS, base='203.0.113.60')
            self.swarm6 = AceSwarm(stage, spec, keys=KEYS, base='2001:db8:99::60')
        for k in KEYS:
            self.tracker.set(k, peers=self.swarm.endpoints())
            self.tracker6.set(k, peers6=self.swarm6.endpoints())
        self.trackers = f'{self.tracker.udp},{self.tracker6.udp}'

    def start(self, interface):
        return super().start(interface, {
            'swarm.listen': '0.0.0.0:42069,[::]:42069', 'swarm.trackers': '',
            'acestream.trackers': self.trackers, 'swarm.linger': '10m', **FAST})

    def each(self):
        return self.swarm, self.swarm6

    def named(self, d, key, swarms=None):
        with self.world.house:
            for s in swarms or self.each():
                s.key = key
                rows = until_named(d, s)
                assert {rows[where(p)]['protocol'] for p in s.peers} == {'acestream'}

    def from_here(self):
        return {r['from'][0] for s in self.each() for r in s.log()}

    def leaks(self, was_gone=False):
        """Packets beside tun0, but for the test's own questions. After tun0 was gone: but
        for what only the kernel can say about connections of before."""
        self.look()
        return [p for p in self.seen if p.outgoing and p.device not in ('tun0', '')
                and self.daemon.port not in (p.port, p.own_port)
                and not (was_gone and City.is_refusal(self, p))]

    def look(self):
        self.seen += [p for p in self.capture.take() if p.kind]


def open_calls(street):
    return sum(s.totals()['open'] for s in street.each())


def test_calls_leave_by_the_interface_alone(stage):
    street = Street(stage)
    d = street.start('tun0')
    street.named(d, KEYS[0])
    for s in street.each():
        until_let_go(s)
        is_polite(s)
    assert street.from_here() == {'192.0.2.1', '2001:db8:1::1'}
    assert street.leaks() == []
    assert {p.there for p in street.seen if p.outgoing and p.device == 'tun0'} >= {
        p['address'] for s in street.each() for p in s.peers}

    for s in street.each():
        s.ask('forget')
        s.set(delay_ms=2000)
    street.get(f'/peers/{KEYS[1]}?wait=0')
    wait_until(lambda: open_calls(street) == 12, what='calls are under way')
    street.world.unplug('tun0')
    wait_until(lambda: not street.health()['interface_ok'], what='the interface is gone')
    assert d.top()['gauges']['ace_open'] == 0
    street.get(f'/peers/{KEYS[1]}?wait=2s')
    assert street.leaks(was_gone=True) == []
    assert sum(len(s.log()) for s in street.each()) == 12

    for s in street.each():
        s.set(delay_ms=0)
    street.world.plug('tun0')
    wait_until(lambda: street.health()['interface_ok'], 20, 'it is back')
    # An IPv6 route that came after the first calls is tried only ten minutes later.
    street.named(d, KEYS[1], [street.swarm])
    assert street.leaks(was_gone=True) == []
    assert street.from_here() == {'192.0.2.1', '2001:db8:1::1'}


def test_the_last_word_of_a_call_stays_on_the_interface(stage):
    """The engine hangs up after us, and a good while later; see test_leak.py."""
    street = Street(stage)
    street.start('tun0')
    with street.world.around:
        servers = [socket.create_server((address, 8621), family=family) for address, family in (
            (netns.World.TRACKER, socket.AF_INET), ('2001:db8:99::77', socket.AF_INET6))]
    street.tracker.set(KEYS[0], peers=[servers[0].getsockname()[:2]])
    street.tracker6.set(KEYS[0], peers6=[servers[1].getsockname()[:2]])
    street.get(f'/peers/{KEYS[0]}?wait=0')
    for server in servers:
        server.settimeout(10)
        end = LateEnd(street, server.accept()[0])   # it answers in BitTorrent: that is that
        end.hear_ours()
        end.hang_up()
        assert [(p.device, p.flags) for p in end.answers()] == [('tun0', {'ACK'})]
        server.close()
    assert street.leaks() == []


def test_the_other_way_is_seen_if_it_is_taken(stage):
    """The test above can fail."""
    street = Street(stage)
    d = street.start('eth0')
    street.named(d, KEYS[0])
    leaks = street.leaks()
    assert {p.there for p in leaks} >= {p['address'] for s in street.each() for p in s.peers}
    assert {p.device for p in leaks} == {'eth0'}

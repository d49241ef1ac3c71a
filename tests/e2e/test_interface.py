"""swarm.interface: not one BitTorrent packet anywhere else. In network namespaces of the
test's own, with a default route that points at the wrong interface."""
import os
import signal
import socket
import subprocess

import netns
import pytest
from netns import TCP, UDP, World, connections
from parts import Tracker
from procs import wait_until
from town import PEER_PORT, TRACKER_PORT, Town

REASON = netns.why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or '')


@pytest.fixture
def town(stage):
    return lambda **kw: Town(stage, **kw)


def to_peers_and_tracker(packets, source):
    """What of it is BitTorrent: kinds of (protocol, port), all from this address."""
    ours = {p for p in packets if p[1] == source}
    return {(proto, port) for proto, _, there, port in ours if there.startswith('203.0.113.')}


ALL_KINDS = {(TCP, PEER_PORT), (TCP, TRACKER_PORT), (UDP, TRACKER_PORT)}


def test_all_traffic_leaves_through_the_interface(town):
    t = town()
    tun, eth = t.world.watch('tun0'), t.world.watch('eth0')
    t.start('tun0')
    t.all_connected()
    assert t.health()['interface_ok'] is True
    assert t.open() == {('192.0.2.1', p['address']) for p in t.swarm.peers}
    assert {e['source'] for e in t.tracker.announces()} == {'192.0.2.1'}
    assert {e['transport'] for e in t.tracker.announces()} == {'udp', 'http'}
    t.daemon.stop()                     # the trackers hear "stopped", on the same way
    wait_until(lambda: t.tracker.announces(event='stopped'), what='stopped')
    assert to_peers_and_tracker(tun.take(), '192.0.2.1') == ALL_KINDS
    assert eth.take() == set()


def test_the_watch_would_see_a_leak(town):
    """Without an interface the same traffic takes the default route: what the test above
    looks for is there to be seen."""
    t = town()
    eth = t.world.watch('eth0')
    t.start('')
    t.all_connected()
    assert to_peers_and_tracker(eth.take(), '198.51.100.1') == ALL_KINDS


def test_who_calls_at_the_other_interface_is_not_heard(town):
    t = town()
    eth = t.world.watch('eth0')
    t.start('tun0')
    t.all_connected()
    before, seen = t.swarm.totals()['handshakes'], set()
    t.swarm.ask('dial', infohash=t.swarm.infohash, to=['198.51.100.1', 42069])

    def all_turned_away():
        seen.update((here, there) for _, here, there, _ in eth.take())
        return seen >= {('198.51.100.1', p['address']) for p in t.swarm.peers}
    wait_until(all_turned_away, what='each was told that nobody listens')
    assert not any(here == '198.51.100.1'
                   for here, _, _ in connections(t.daemon.collector()))
    assert t.swarm.totals()['handshakes'] == before
    # On the interface they are heard: it is not that the daemon takes no calls.
    t.swarm.ask('dial', infohash=t.swarm.infohash, to=['192.0.2.1', 42069])
    wait_until(lambda: t.swarm.totals()['handshakes'] > before, what='a handshake')


def test_without_the_interface_nothing_is_joined_until_it_comes(town):
    t = town(links=('eth0',))
    eth = t.world.watch('eth0')
    t.start('tun0', listens=False)
    answer = t.ask()
    assert answer['peers'] == [] and answer['total_peers'] == 0
    assert 'tun0' in answer['error']
    health = t.health()
    assert health['interface_ok'] is False and health['swarms'] == 0
    assert health['status'] == 'healthy'
    assert t.tracker.announces() == [] and t.swarm.totals()['connections'] == 0
    t.world.plug('tun0')
    wait_until(lambda: t.health()['interface_ok'], what='it is seen')
    t.all_connected()
    assert {here for here, _ in t.open()} == {'192.0.2.1'}
    assert eth.take() == set()


def test_the_interface_goes_while_swarms_are_joined(town):
    t = town()
    eth = t.world.watch('eth0')
    t.start('tun0')
    t.all_connected()
    t.world.unplug('tun0')
    wait_until(lambda: not t.health()['interface_ok'], what='it is seen')
    assert 'tun0' in t.ask(1)['error']
    assert len(t.ask(0, wait='0')['peers']) == t.peers, 'what was known is still served'
    t.world.plug('tun0')
    wait_until(lambda: t.health()['interface_ok'], what='it is back')
    t.all_connected(1)
    assert {here for here, there in t.open()} <= {'192.0.2.1'}
    assert eth.take() == set()


def test_hup_to_another_interface_leaves_no_connection_on_the_old_one(town):
    t = town()
    eth, tun = t.world.watch('eth0'), t.world.watch('tun0')
    t.start('tun0')
    t.all_connected()
    assert eth.take() == set()
    t.hup('eth0')
    wait_until(lambda: not any(here == '192.0.2.1' for here, _ in t.open()), 3,
               'no connection over the old one')
    tun.take()
    t.all_connected(1)
    assert {here for here, _ in t.open()} == {'198.51.100.1'}
    assert (TCP, PEER_PORT) in to_peers_and_tracker(eth.take(), '198.51.100.1')
    assert to_peers_and_tracker(tun.take(), '192.0.2.1') == set()


def test_hup_to_a_missing_interface_leaves_no_connection(town):
    t = town()
    eth, tun = t.world.watch('eth0'), t.world.watch('tun0')
    t.start('tun0')
    t.all_connected()
    t.hup('tun7')
    wait_until(lambda: not t.open(), 3, 'no connection is left')
    tun.take()
    answer = t.ask(1)
    assert answer['peers'] == [] and 'tun7' in answer['error']
    assert t.health()['interface_ok'] is False
    assert to_peers_and_tracker(tun.take(), '192.0.2.1') == set()
    assert eth.take() == set()
    assert t.open() == set()


def test_private_addresses_of_a_public_tracker_are_refused(town):
    """As by default. The tracker has an address that counts as public, and is asked; of
    what it lists, only the endpoint that counts as public, too, is dialled."""
    t = town()
    with t.world.around:
        public = Tracker(t.stage, address=World.GLOBAL)
    public.set(peers=t.swarm.endpoints() + [['127.0.0.1', 5], [World.GLOBAL, 7]])
    eth = t.world.watch('eth0')
    t.start('', {'swarm.allow_private': 'off', 'swarm.trackers': public.http})
    t.ask()
    wait_until(lambda: public.announces(t.swarm.infohash), what='the tracker was asked')
    got = wait_until(lambda: t.ask(wait='0')['peers'], what='the public one is listed')
    assert [(p['ip'], p['port']) for p in got] == [(World.GLOBAL, 7)]
    wait_until(lambda: t.ask(wait='0')['peers'][0]['state'] == 'tried', what='it is dialled')
    t.ask(wait='2s')
    assert t.swarm.totals()['connections'] == 0
    assert to_peers_and_tracker(eth.take(), '198.51.100.1') == set()


def test_an_overrun_of_netlink_loses_nothing(town):
    """More changes than the kernel keeps for us, and the one that matters among them."""
    t = town()
    t.start('tun0')
    t.all_connected()
    pid = t.daemon.collector()
    for stopped in t.daemon.pid, pid:   # its master would kill who stands still for so long
        os.kill(stopped, signal.SIGSTOP)
    storm = ''.join(f'address add 10.{i >> 8}.{i & 255}.1/32 dev eth0\n' for i in range(4000))
    with t.world.house:
        subprocess.run(['ip', '-batch', '-'], input=storm, text=True, check=True)
    t.world.unplug('tun0')
    for stopped in pid, t.daemon.pid:
        os.kill(stopped, signal.SIGCONT)
    wait_until(lambda: t.health()['interface_error'] == 'tun0 is missing', what='it is seen')
    assert t.daemon.top()['counters']['net_overruns'] > 0
    t.world.plug('tun0')
    wait_until(lambda: t.health()['interface_ok'], what='it is back')
    t.all_connected()


def listens6(t, address):
    """Is a TCP socket of the collector bound to exactly this address?"""
    raw = socket.inet_pton(socket.AF_INET6, address)
    words = ''.join(raw[i:i + 4][::-1].hex() for i in range(0, 16, 4)).upper()
    with open(f'/proc/{t.daemon.collector()}/net/tcp6', encoding='ascii') as f:
        return any(f' {words}:A455 ' in line and ' 0A ' in line for line in f)


def test_ipv6_addresses_that_are_still_tested_are_no_warning(town):
    """They can't be bound to for a second or two (DAD), link-local ones among them, and
    come by themselves: at start, and after a flap."""
    t = town()

    def tentative(address):
        t.world.house.ip('address', 'add', address, 'dev', 'tun0')
    tentative('2001:db8:1::1/64')
    tentative('fe80::77/64')
    t.start('tun0', {'swarm.listen': '0.0.0.0:42069,[::]:42069', 'log.level': 'debug'})
    wait_until(lambda: listens6(t, '2001:db8:1::1'), 10, 'it listens there')
    t.world.unplug('tun0')
    wait_until(lambda: not t.health()['interface_ok'], what='it is gone')
    t.world.plug('tun0')
    tentative('2001:db8:1::1/64')
    wait_until(lambda: listens6(t, '2001:db8:1::1'), 15, 'it listens there again')
    wait_until(lambda: t.daemon.log_lines('joining again'), what='it is back')
    wait_until(lambda: listens6(t, '2001:db8:1::1'), 15, 'it still does')
    assert t.health()['listen_error'] is None
    told = t.daemon.log_lines("can't listen")
    assert told and all(' debug ' in line for line in told)

"""The scripted swarm and tracker against libtorrent as the asking side: a test of the
tests, without Peerscope."""
import os
import socket
import sys
import time

import libtorrent as lt
import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), 'lib'))

import parts  # noqa: E402
import wire  # noqa: E402
from loop import Loop  # noqa: E402
from procs import Net, Stage, wait_until  # noqa: E402


@pytest.fixture(scope='session')
def net():
    """One for all: libtorrent remembers a UDP tracker's connection id by its address, so
    no address may be used twice."""
    return Net()


@pytest.fixture
def stage(net):
    s = Stage(net)
    yield s
    s.close()


class Asker:
    """A libtorrent session that dials everybody at once, and never wants a piece: over TCP
    and in plain, unless told otherwise."""

    def __init__(self, stage, infohash, tracker=None, listen=None, **settings):
        self.session = lt.session({
            'listen_interfaces': listen or f'{stage.net.take()}:6881', 'enable_dht': False,
            'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False,
            'close_redundant_connections': False, 'connections_limit': 2000,
            'connection_speed': 500, 'torrent_connect_boost': 255,
            'enable_outgoing_utp': False, 'allow_multiple_connections_per_ip': True,
            'out_enc_policy': lt.enc_policy.disabled, 'dht_bootstrap_nodes': '',
            'dht_restrict_routing_ips': False, 'dht_restrict_search_ips': False,
            'min_reconnect_time': 1, 'max_failcount': 100, **settings})
        p = lt.parse_magnet_uri(f'magnet:?xt=urn:btih:{infohash}'
                                + (f'&tr={tracker}' if tracker else ''))
        p.save_path = stage.dir
        p.flags |= lt.torrent_flags.upload_mode | lt.torrent_flags.no_verify_files
        p.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        self.torrent = self.session.add_torrent(p)

    def dial(self, endpoints):
        for e in endpoints:
            self.torrent.connect_peer(tuple(e))

    def peers(self):
        return {tuple(i.ip) for i in self.torrent.get_peer_info() if i.client}

    def named(self):
        return {i.ip[0]: (i.client.decode(), i.progress * 100)
                for i in self.torrent.get_peer_info() if i.client}


@pytest.mark.parametrize('scheme', ['udp', 'http'])
def test_200_peers_shake_hands_and_give_the_metadata(stage, scheme):
    t = parts.Tracker(stage, register=True)
    s = parts.Swarm(stage, [{'count': 195, 'progress': 'mixed'},
                            {'count': 5, 'behaviour': 'dead'}],
                    trackers=[getattr(t, scheme)], delay_ms=100)
    assert len(t.announces(s.infohash, 'started')) == 200
    began = time.monotonic()
    asker = Asker(stage, s.infohash, getattr(t, scheme))
    wait_until(lambda: len(asker.named()) == 195 and asker.torrent.status().has_metadata,
               what='all are named, the metadata is there')
    assert time.monotonic() - began > 0.1       # the delay is real
    wait_until(lambda: {a: round(p) for a, (_, p) in asker.named().items()} == {
        p['address']: round(p['progress']) for p in s.peers if p['state'] == 'connected'},
        what='progress is as scripted')
    names = {a: n for a, (n, _) in asker.named().items()}
    assert names == {p['address']: p['name'] for p in s.peers if p['state'] == 'connected'}
    assert s.totals()['requests'] == 0


def test_a_request_for_a_piece_is_counted(stage):
    s = parts.Swarm(stage, [{'count': 1}])
    with socket.create_connection((s.peers[0]['address'], 6881), 30) as c:
        c.sendall(wire.handshake(bytes.fromhex(s.infohash), b'-XX0000-123456789012')
                  + wire.msg(wire.INTERESTED) + wire.msg(wire.REQUEST, bytes(12)))
        wait_until(lambda: s.totals()['requests'] == 1, what='the request is counted')
        assert s.totals()['interested'] == 1


def test_pex_leaving_and_have(stage):
    t = parts.Tracker(stage)
    s = parts.Swarm(stage, [{'count': 10, 'progress': 50}], pex=50)
    t.set(s.infohash, peers=s.endpoints([0]))
    asker = Asker(stage, s.infohash, t.udp)
    wait_until(lambda: len(asker.named()) == 10, what='PEX told of the others')
    s.ask('have', peers=[3], progress=80)
    one = s.peers[3]['address']
    wait_until(lambda: round(asker.named()[one][1]) == 80, what='HAVE raised the progress')
    s.ask('leave', peers=[4], quiet=True)
    wait_until(lambda: s.peers[4]['address'] not in asker.named(), what='one left')


def test_pex_tells_what_it_is_told_and_nobody_is_on_a_full_queue(stage):
    s = parts.Swarm(stage, [{'count': 1}, {'count': 2, 'behaviour': 'full'}])
    other = parts.Swarm(stage, [{'count': 2, 'address': '::1', 'port': stage.net.ports6(2)},
                                {'count': 3, 'address': stage.net.take(), 'port': 7001}],
                        infohashes=[s.infohash])
    s.ask('pex', peers=[0], tell=s.endpoints([1, 2]) + other.endpoints())
    asker = Asker(stage, s.infohash, listen=f'{stage.net.take()}:6881,[::1]:{stage.net.ports6(1)}')
    asker.dial(s.endpoints([0]))
    want = {tuple(e) for e in s.endpoints([0]) + other.endpoints()}
    wait_until(lambda: asker.peers() == want, what='all that PEX told of, but the silent')
    with socket.socket() as c:
        c.settimeout(0.5)
        with pytest.raises(TimeoutError):
            c.connect(tuple(s.endpoints([1])[0]))


KINDS = [{'count': 2, 'transport': 'utp', 'progress': 25},
         {'count': 2, 'encryption': 'forced', 'progress': 75},
         {'count': 1, 'transport': 'utp', 'encryption': 'forced'},
         {'count': 2, 'transport': 'both', 'progress': 50}]


@pytest.mark.parametrize('how, kinds', [
    ({}, {50}),
    ({'enable_outgoing_tcp': False, 'enable_outgoing_utp': True}, {25, 50}),
    ({'out_enc_policy': lt.enc_policy.forced}, {75, 50}),
    ({'enable_outgoing_tcp': False, 'enable_outgoing_utp': True,
      'out_enc_policy': lt.enc_policy.forced}, {25, 50, 100})],
    ids=['tcp plain', 'utp plain', 'tcp encrypted', 'utp encrypted'])
def test_real_peers_take_what_they_are_told_to_and_nothing_else(stage, how, kinds):
    p = parts.Payload(stage, [], size=64 * 32768)
    real = parts.RealSwarm(stage, KINDS, payload=p)
    asker = Asker(stage, p.infohash, **how)
    want = {x['address']: (x['name'], x['progress']) for x in real.peers
            if x['progress'] in kinds}

    def named():
        asker.dial(real.endpoints())
        return asker.named() == want and asker.torrent.status().has_metadata
    wait_until(named, 20, 'those that take it, and no other; metadata', every=0.2)


def test_the_dht_tells_whom_it_was_told_of(stage):
    dht = parts.Dht(stage, 3)
    endpoints = [[stage.net.take(), 6881 + i] for i in range(60)]
    dht.announce('d1' * 20, endpoints)
    assert dht.peers_of('d1' * 20) == sorted(map(tuple, endpoints))
    assert dht.peers_of('d2' * 20) == []
    router = parts.Relay(stage, dht.nodes[0], mode='swallow')
    s = parts.Swarm(stage, [{'count': 2}])
    dht.announce(s.infohash, s.endpoints())
    asker = Asker(stage, s.infohash, enable_dht=True)
    asker.session.add_dht_node((router.address, router.port))
    wait_until(lambda: router.ask('count')['swallowed'], what='the router was asked')
    assert asker.named() == {}
    router.set(mode='pass')
    asker.session.add_dht_node((router.address, router.port))
    wait_until(lambda: len(asker.named()) == 2, 40, 'the DHT told of both')


def test_a_tracker_over_ipv6(stage):
    t = parts.Tracker(stage, address='::1', port=stage.net.ports6(1))
    s = parts.Swarm(stage, [{'count': 3, 'address': '::1', 'port': stage.net.ports6(3)}])
    t.set(s.infohash, peers6=s.endpoints())
    asker = Asker(stage, s.infohash, t.udp, listen=f'[::1]:{stage.net.ports6(1)}')
    wait_until(lambda: len(asker.peers()) == 3, what='all three, by a UDP tracker')


def test_opentracker_serves_the_swarm(stage):
    infohash = 'c0' * 20
    ot = parts.Opentracker(stage, [infohash])
    s = parts.Swarm(stage, [{'count': 30, 'progress': 'mixed'}], infohashes=[infohash],
                    trackers=[ot.udp])
    seeds = sum(p['progress'] == 100 for p in s.peers)
    assert ot.peers(infohash) == (seeds, 30 - seeds)
    with pytest.raises(AssertionError, match='not authorized'):
        parts.Swarm(stage, [{'count': 1}], infohashes=['c1' * 20], trackers=[ot.http])


@pytest.mark.parametrize('bad', [
    {'peers': ['127.1.1.1:1']}, {'peers': [['127.1.1.1', '1']]}, {'peers': [['::1', 1]]},
    {'peers': [['127.1.1.1', 70000]]}, {'peers': [['here', 1]]}, {'peers': '127.1.1.1:1'},
    {'peers6': [['127.1.1.1', 1]]}])
def test_the_tracker_refuses_what_it_could_not_say(stage, bad):
    t = parts.Tracker(stage)
    with pytest.raises(RuntimeError, match='ValueError'):
        t.set(**bad)
    t.set(peers=[['127.1.1.1', 1]], peers6=[['::1', 1]])


@pytest.mark.parametrize('mode', ['failure', 'hang', 'close', 'http_500', 'garbage',
                                  'truncated', 'huge'])
def test_each_mode_of_the_tracker(stage, mode):
    t = parts.Tracker(stage)
    t.set(mode=mode, peers=[['127.1.1.1', 1]])
    path = '/announce?info_hash=' + '%ab' * 20 + '&peer_id=' + 'x' * 20 + '&port=1&left=1'
    with socket.create_connection((t.address, t.port), 30) as c:
        c.sendall(f'GET {path} HTTP/1.1\r\nHost: x\r\n\r\n'.encode())
        wait_until(lambda: t.announces('ab' * 20), what='the announce is logged')
        if mode == 'hang':
            c.settimeout(0.2)
            with pytest.raises(TimeoutError):
                c.recv(1)
            return
        got = b''
        while more := c.recv(1 << 20):
            got += more
    head, _, body = got.partition(b'\r\n\r\n')
    if mode == 'close':
        assert got == b''
    elif mode == 'http_500':
        assert b' 500 ' in head
    elif mode == 'failure':
        assert wire.bdec(body) == {b'failure reason': b'scripted failure'}
    elif mode == 'huge':
        assert len(wire.bdec(body)[b'peers']) > 8 << 20 - 6
    else:
        with pytest.raises(Exception):
            wire.bdec(body)


def test_the_loop_does_not_sleep_over_what_a_timer_brought():
    """The next timer is far away, and what was waited for is there."""
    loop, there = Loop(), []
    loop.later(0, lambda: there.append(True))
    loop.later(120, lambda: None)
    began = time.monotonic()
    loop.run_until(lambda: there)
    assert time.monotonic() - began < 60

"""Every source, every kind of peer, two ways out: what crosses which device of the house.
The wrong one has the default route, and all peers, trackers and nodes can be reached by
either, so only the binding keeps packets on the right one."""
import os
import socket
import stat
import threading

import netns
import pytest
import wire
from daemon import BIN
from netns import Capture
from parts import Payload, RealSwarm, Swarm, Tracker, bep5
from procs import wait_until
from town import Town

REASON = netns.why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or '')
KINDS = {'bittorrent', 'http-announce', 'udp-tracker', 'dht', 'utp'}
OWN = {'192.0.2.1', '192.0.2.9', '192.0.2.33', '2001:db8:1::1', '198.51.100.1',
       '2001:db8:2::1'}
UNKNOWN_ID = 'aa' * 20


class City(Town):
    """A town with scripted peers, peers that take uTP alone or encryption alone, some on
    IPv6, some that only the DHT knows, one at the far end of the wrong link."""

    def __init__(self, stage):
        self.stage, self.world = stage, netns.World(stage, v6=True)
        self.capture, self.seen, self.allowed = Capture(stage, self.world.house), [], {'tun0'}
        with self.world.around:
            self.payload = Payload(stage, [])
            self.tracker = Tracker(stage, address=self.world.TRACKER)
            self.tracker6 = Tracker(stage, address=self.world.TRACKER6)
            self.swarm = Swarm(stage, [{'count': 4}, {'address': '198.51.100.2'}],
                               payload=self.payload, base=self.world.PEERS)
            self.swarm6 = Swarm(stage, [{'count': 2}], payload=self.payload,
                                base=self.world.PEERS6)
            self.hidden = Swarm(stage, [{'count': 2}], payload=self.payload,
                                base='203.0.113.30')
            self.real = RealSwarm(stage, [{'transport': 'utp', 'count': 2},
                                          {'encryption': 'forced', 'count': 2}],
                                  payload=self.payload, base='203.0.113.40')
            # One node: several would need 20 s to know each other.
            self.node = RealSwarm(stage, [{'dht': True}], base='203.0.113.100')
            bep5.announce(self.node.endpoints(), self.payload.infohash,
                          self.hidden.endpoints())
        self.infohash = self.payload.infohash
        self.tracker.set(self.infohash,
                         peers=self.swarm.endpoints() + self.real.endpoints())
        self.tracker6.set(self.infohash, peers6=self.swarm6.endpoints())
        self.plain = {p['address'] for s in (self.swarm, self.swarm6, self.hidden)
                      for p in s.peers}
        self.odd = {p['address'] for p in self.real.peers}

    def start(self, interface, conf=None, **kw):
        trackers = [self.tracker.udp, self.tracker.http, self.tracker6.udp,
                    self.tracker6.http]
        super().start(interface, {
            'swarm.listen': '0.0.0.0:42069,[::]:42069', 'swarm.dht': 'on',
            'swarm.dht_bootstrap': '203.0.113.100:6881', 'swarm.linger': '10m',
            'swarm.trackers': ','.join(trackers), **(conf or {})}, **kw)

    def peers(self, **query):
        words = '&'.join(f'{k}={v}' for k, v in {'wait': 0, 'limit': 100, **query}.items())
        return self.get(f'/peers/{self.infohash}?{words}').json['peers']

    def connected(self):
        """Without a question that would join the swarm: the table is looked at. Those who
        want uTP or encryption have heard from us, since the last time, on the right way."""
        seen, since = {}, len(self.seen)

        def all_there():
            self.look()
            seen.update((p['ip'], (p['state'], p['sources'])) for p in self.peers())
            seen['odd'] = {p.here for p in self.seen[since:]
                           if not p.outgoing and p.kind in ('utp', 'tcp') and p.length > 50}
            return (all(seen.get(a, [''])[0] == 'connected' for a in self.plain)
                    and all(seen.get(a, [''])[0] in ('connected', 'contacted')
                            for a in self.odd) and self.odd <= seen['odd'])
        try:
            wait_until(all_there, 20)
        except AssertionError:
            raise AssertionError(f'wanted: {self.plain}, {self.odd}; seen: {seen}') from None

    def look(self):
        """What crossed since the last time, and is BitTorrent or could be. What we say to
        ourselves (the DHT tells of us, too) crosses lo and leaves nowhere."""
        fresh = [p for p in self.capture.take() if p.kind and not self.is_question(p)
                 and not (p.device == 'lo' and {p.here, p.there} <= OWN)]
        self.seen += fresh
        return fresh

    def is_question(self, p):
        """The test's own, over HTTP."""
        return p.device == 'lo' and self.daemon.port in (p.port, p.own_port)

    def leaks(self):
        """What left by another device than it may, since moved() or the start. A device
        that is gone by now has no name any more; it can only be the one that tests
        delete."""
        self.look()
        return [p for p in self.seen if p.outgoing and p.device not in self.allowed | {''}
                and not self.is_refusal(p)]

    def is_refusal(self, p):
        """The kernel's own answer to a segment that no socket waits for (of a connection
        over a device that was deleted): a reset that knows no binding and asks the routing
        table, and no program can stop it (doc/peerscope.conf.5). Its number is what that
        segment acknowledged; a closed socket's own reset says what it has, too."""
        return p.flags == {'RST'} and p.length == 0 and any(
            not q.outgoing and 'ACK' in q.flags and q.ack == p.seq
            and (q.here, q.own_port, q.there, q.port) == (p.there, p.port, p.here, p.own_port)
            for q in self.seen)

    def moved(self, device):
        self.look()
        self.seen = [p for p in self.seen if p.device == device]
        self.allowed = {device}


    def kinds(self, device):
        return {p.kind for p in self.seen if p.device == device and p.outgoing}

    def interface_error(self, what):
        wait_until(lambda: self.health()['interface_error'] == what, what=str(what))
        assert self.health()['interface_ok'] is (what is None)

    def has_nodes(self):
        """A try may fail on a loaded machine; more come 5 and 15 s later (dhtwatch.c)."""
        wait_until(lambda: self.health()['dht_nodes'] > 0, 20, 'the DHT has nodes')

    def is_served_from_memory(self, why):
        """With the interface unusable: old answers as they were, new ids with a reason."""
        listed = {p['ip']: p['state'] for p in self.peers(wait='5s')}
        assert self.plain <= set(listed)
        assert 'connected' not in listed.values()
        answer = self.get(f'/peers/{UNKNOWN_ID}?wait=5s').json
        assert answer['peers'] == [] and why in answer['error'], answer


@pytest.fixture
def city(stage):
    return City(stage)


def tun0(city, *words):
    city.world.house.ip(*words, 'dev', 'tun0')


def routes(city):
    tun0(city, 'route', 'replace', 'default', 'via', '192.0.2.2', 'metric', '200')
    tun0(city, 'address', 'replace', '2001:db8:1::1/64', 'nodad')
    tun0(city, 'route', 'replace', 'default', 'via', '2001:db8:1::2', 'metric', '200')


def came_back(city, why=None):
    """Nobody asked for the swarm to be joined again."""
    city.interface_error(None)
    city.connected()
    city.has_nodes()
    assert city.leaks() == [], why


def test_not_one_packet_beside_the_interface(city):
    city.start('tun0')
    city.peers(wait='5s')
    city.connected()
    city.has_nodes()
    assert city.leaks() == []
    assert city.kinds('tun0') >= KINDS
    assert {e['source'] for e in city.tracker.announces()} == {'192.0.2.1'}
    assert {e['source'] for e in city.tracker6.announces()} == {'2001:db8:1::1'}

    city.world.house.ip('link', 'set', 'tun0', 'down')
    city.interface_error('tun0 is down')
    city.is_served_from_memory('tun0 (swarm.interface) is down')
    assert city.leaks() == []
    city.world.house.ip('link', 'set', 'tun0', 'up')
    routes(city)
    came_back(city, 'down and up')

    city.look()
    city.world.unplug('tun0')
    city.interface_error('tun0 is missing')
    city.is_served_from_memory('tun0 (swarm.interface) is missing')
    assert city.leaks() == []
    city.world.plug('tun0')
    came_back(city, 'deleted and made again')

    tun0(city, 'address', 'flush')
    city.interface_error('tun0 has no address')
    city.is_served_from_memory('tun0 (swarm.interface) has no address')
    assert city.leaks() == []
    city.tracker.ask('forget')
    tun0(city, 'address', 'add', '192.0.2.9/24')
    routes(city)
    came_back(city, 'another address')
    assert {e['source'] for e in city.tracker.announces(event='started')} == {'192.0.2.9'}

    city.daemon.stop()
    wait_until(lambda: city.tracker.announces(event='stopped'), what='stopped')
    assert city.leaks() == []


def test_a_reload_moves_all_of_it(city):
    city.start('tun0')
    city.peers(wait='5s')
    city.connected()
    assert city.leaks() == []
    city.hup('eth0')
    wait_until(lambda: not any(here.startswith('192.0.2.') for here, _ in city.open()), 3,
               'no connection over the old one')
    city.moved('eth0')
    city.connected()
    city.has_nodes()
    # The kernel may still take the other end's leave of an old connection.
    assert [p for p in city.leaks() if 'SYN' in p.flags or p.length] == []
    assert city.kinds('eth0') >= KINDS - {'http-announce'}


def test_gone_and_made_again_within_a_moment(city):
    """Faster than anybody looks: sockets are bound to a device that is no more."""
    city.start('tun0')
    city.peers(wait='5s')
    city.connected()
    city.world.unplug('tun0')
    city.world.plug('tun0')
    wait_until(lambda: city.daemon.log_lines('tun0 has changed')
               or city.daemon.log_lines('joining again'), what='it is noticed')
    came_back(city)
    assert city.daemon.top()['counters']['recoveries'] >= 1


class LateEnd:
    """A peer that we hang up on, and that takes its time to hang up, too. The handshake of
    another swarm makes us; its last 20 bytes are left out, for what is not read at the
    end is answered with a reset."""

    def __init__(self, city, sock):
        self.city, self.sock = city, sock
        self.there, self.port = sock.getsockname()[:2]
        sock.settimeout(10)
        sock.sendall(wire.handshake(bytes.fromhex(UNKNOWN_ID), bytes(20))[:48])

    def hear_ours(self):
        while self.sock.recv(4096):
            pass
        wait_until(self.is_acknowledged, what='their system took our end')

    def hang_up(self):
        self.sock.close()
        wait_until(self.answers, what='the end is answered')

    def packets(self):
        self.city.look()
        return [p for p in self.city.seen if self.there in (p.here, p.there)
                and self.port in (p.own_port, p.port)]

    def is_acknowledged(self):
        packets = self.packets()
        ends = {p.seq + p.length + 1 for p in packets if p.outgoing and 'FIN' in p.flags}
        return any(p.ack in ends for p in packets if not p.outgoing)

    def answers(self):
        """To its FIN."""
        packets = self.packets()
        ends = [i for i, p in enumerate(packets) if not p.outgoing and 'FIN' in p.flags]
        return [p for p in packets[ends[0]:] if p.outgoing] if ends else []


def late_ends(city):
    """Of connections that they make and that we make, over IPv4 and IPv6."""
    ends = []
    with city.world.around:
        listening = [socket.create_server((address, 6881), family=family)
                     for address, family in ((netns.World.TRACKER, socket.AF_INET),
                                             ('2001:db8:99::77', socket.AF_INET6))]
        city.tracker.set(city.infohash, peers=[listening[0].getsockname()[:2]])
        city.tracker6.set(city.infohash, peers6=[listening[1].getsockname()[:2]])
        city.peers(wait='5s')       # who has no swarm reads nothing of those who dial
        for server, own in zip(listening, ('192.0.2.1', '2001:db8:1::1')):
            server.settimeout(10)
            ends.append(LateEnd(city, server.accept()[0]))
            ends.append(LateEnd(city, socket.create_connection(
                (own, 42069), 10, (server.getsockname()[0], 0))))
            server.close()
    return ends


def test_the_last_word_of_a_connection_stays_on_its_device(city):
    """Our side is closed, so no program is left to answer the other's end: the kernel
    does (collector/bind6.c)."""
    city.start('tun0')
    for end in late_ends(city):
        end.hear_ours()
        end.hang_up()
        assert [(p.device, p.flags) for p in end.answers()] == [('tun0', {'ACK'})]
    assert city.leaks() == []


def test_an_unchanged_interface_restarts_nothing(city):
    city.start('tun0')
    city.peers(wait='5s')
    city.connected()
    before = city.open()
    # Others come and go, and the own link is told what it knows already.
    city.world.house.ip('link', 'add', 'other0', 'type', 'veth', 'peer', 'name',
                        'other1')
    city.world.house.ip('address', 'add', '203.0.113.250/32', 'dev', 'other0')
    city.world.house.ip('link', 'delete', 'other0')
    city.world.house.ip('link', 'set', 'tun0', 'up')
    city.world.house.ip('link', 'set', 'tun0', 'mtu', '1400')
    city.world.house.ip('route', 'replace', '203.0.113.77/32', 'via', '192.0.2.2')
    # What comes after it is seen: so was all this.
    tun0(city, 'address', 'add', '192.0.2.33/24')
    wait_until(lambda: city.daemon.log_lines('tun0 has a new address'), what='it is heard')
    assert city.daemon.top()['counters']['recoveries'] == 0
    assert before <= city.open()
    assert city.leaks() == []


@pytest.mark.parametrize('interface, kinds', [('', KINDS - {'utp'}), ('eth0', KINDS)])
def test_this_capture_finds_a_leak(city, interface, kinds):
    """Nothing is bound, or all to the wrong one: what the tests above look for is there to
    be found, of every kind. (uTP is bound to one address or the other by libtorrent.)"""
    city.start(interface)
    city.peers(wait='5s')
    city.connected()
    city.has_nodes()
    leaks = city.leaks()
    assert {p.kind for p in leaks if p.device == 'eth0'} >= kinds
    assert {p.there for p in leaks} >= city.odd | city.plain


RESOLVER = '203.0.113.53'


class Resolver:
    """Answers each question for an A record with the tracker's address; AAAA: none."""

    def __init__(self, stage, address, answer):
        self.sock, self.answer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), answer
        self.sock.bind((address, 53))
        thread = threading.Thread(target=self.serve, daemon=True)
        thread.start()

        def end():
            self.sock.sendto(b'', (address, 53))    # wakes it
            thread.join()
            self.sock.close()
        stage.at_end(end)

    def serve(self):
        while True:
            q, source = self.sock.recvfrom(512)
            if not q:
                return
            end = q.index(b'\0', 12) + 5
            is_a = q[end - 4:end - 2] == b'\0\1'
            record = (b'\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4' + socket.inet_aton(self.answer))
            self.sock.sendto(q[:2] + b'\x81\x80\0\1' + (b'\0\1' if is_a else b'\0\0')
                             + b'\0\0\0\0' + q[12:end] + (record if is_a else b''), source)


def with_resolver(stage):
    """A binary that is ours with an /etc/resolv.conf of its own."""
    netns.needs_mounts()
    conf, script = stage.path('resolv.conf'), stage.path('peerscope.sh')
    with open(conf, 'w', encoding='ascii') as f:
        f.write(f'nameserver {RESOLVER}\n')
    with open(script, 'w', encoding='ascii') as f:
        f.write('#!/bin/sh\nexec unshare -m sh -c \'mount --bind "$0" /etc/resolv.conf && '
                f'exec "$@"\' {conf} {BIN} "$@"\n')
    os.chmod(script, os.stat(script).st_mode | stat.S_IXUSR)
    return script


@pytest.mark.parametrize('by_tunnel', [False, True])
def test_names_are_asked_of_the_systems_resolver(city, by_tunnel):
    """On its own way, which is the routing table's: only that question, which holds a name
    and no infohash, may leave beside the interface. A VPN's resolver is behind the VPN."""
    with city.world.around:
        Resolver(city.stage, RESOLVER, city.world.TRACKER)
    if by_tunnel:
        city.world.house.ip('route', 'add', RESOLVER, 'via', '192.0.2.2', 'dev', 'tun0')
    city.start('tun0', {'swarm.trackers': 'http://tracker.example:6969/announce,'
                                          'udp://other.example:6969/announce'},
               binary=with_resolver(city.stage))
    city.peers(wait='5s')
    wait_until(lambda: {e['transport'] for e in city.tracker.announces()} >= {'http', 'udp'},
               what='the names were found')
    assert {e['source'] for e in city.tracker.announces()} == {'192.0.2.1'}
    leaks = city.leaks()
    assert {p.kind for p in leaks} == (set() if by_tunnel else {'dns'})
    assert {p.there for p in leaks} <= {RESOLVER}
    asked = {p.device for p in city.seen if p.kind == 'dns' and p.outgoing}
    assert asked == {'tun0' if by_tunnel else 'eth0'}

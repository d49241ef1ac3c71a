"""Network namespaces without a way out: the daemon's house, and the world around it.

    house                            world
      tun0  192.0.2.1    ---------   tun0-far   192.0.2.2       peers and trackers on lo:
      eth0  198.51.100.1 ---------   eth0-far   198.51.100.2    203.0.113.0/24, 11.0.0.1
      with v6: 2001:db8:1::1, 2001:db8:2::1                     2001:db8:99::/64

A `with` enters one: sockets that are made and processes that are started inside belong
to it for ever. Nothing leaves: the world has no route, and goes with its last process.
"""
import ctypes
import os
import socket
import subprocess

import pytest

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
ETH_P_ALL = 3
TCP, UDP = 6, 17
TCP_ALIVE = ('01', '02', '03')          # established, and both on the way there


def call(fn, *args):
    if fn(*args) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def why_not():
    """The reason why there can be no namespaces here, or None."""
    if os.getuid() != 0:
        return 'needs root, to make network namespaces'
    done = subprocess.run(['unshare', '-n', 'ip', 'link', 'add', 'a0', 'type', 'veth',
                           'peer', 'name', 'b0'],
                          check=False, capture_output=True, text=True)
    return f'no network namespaces here: {done.stderr.strip()}' if done.returncode else None


def needs_mounts():
    """Skips the test where no mount namespace can be made: by others, and in a chroot."""
    if os.getuid() != 0:
        pytest.skip('needs root, to mount')
    if subprocess.run(['unshare', '-m', 'true'], check=False, capture_output=True).returncode:
        pytest.skip('no mount namespaces here')


def own_namespace():
    return os.open('/proc/thread-self/ns/net', os.O_RDONLY | os.O_CLOEXEC)


# Numbers: /etc/protocols is in netbase, which a small Debian lacks.
PROTOCOLS = {'tcp': '6', 'udp': '17'}


class Namespace:
    def __init__(self, stage):
        home = own_namespace()
        call(LIBC.unshare, CLONE_NEWNET)
        self.fd = own_namespace()
        call(LIBC.setns, home, CLONE_NEWNET)
        os.close(home)
        stage.at_end(lambda: os.close(self.fd))
        self._homes = []
        self.ip('link', 'set', 'lo', 'up')

    def __enter__(self):
        self._homes.append(own_namespace())
        call(LIBC.setns, self.fd, CLONE_NEWNET)
        return self

    def __exit__(self, *exc):
        home = self._homes.pop()
        call(LIBC.setns, home, CLONE_NEWNET)
        os.close(home)

    def ip(self, *args):
        with self:
            subprocess.run(['ip', *args], check=True, stdin=subprocess.DEVNULL)

    def sysctl(self, name, value):
        with self, open('/proc/sys/net/' + name, 'w', encoding='ascii') as f:
            f.write(str(value))

    @property
    def path(self):
        return f'/proc/{os.getpid()}/fd/{self.fd}'


class World:
    """Both namespaces. The house's default route points at eth0, as in a container; the
    one through tun0 is worse, so only what is bound to tun0 takes it."""

    LINKS = {'tun0': ('192.0.2.1', '192.0.2.2', 200), 'eth0': ('198.51.100.1',
                                                             '198.51.100.2', 100)}
    V6 = {'tun0': '2001:db8:1::', 'eth0': '2001:db8:2::'}
    PEERS, TRACKER, GLOBAL = '203.0.113.10', '203.0.113.200', '11.0.0.1'
    PEERS6, TRACKER6 = '2001:db8:99::10', '2001:db8:99::c8'

    def __init__(self, stage, links=('tun0', 'eth0'), v6=False):
        self.stage, self.house, self.around = stage, Namespace(stage), Namespace(stage)
        self.v6 = v6
        if v6:                          # a route alone makes no IPv6 address local
            self.around.sysctl('ipv6/ip_nonlocal_bind', 1)
            self.around.ip('route', 'add', 'local', '2001:db8:99::/64', 'dev', 'lo')
        for address in ['203.0.113.0/24', self.GLOBAL + '/32']:
            self.around.ip('route', 'add', 'local', address, 'dev', 'lo')
        self.around.ip('address', 'add', self.TRACKER, 'dev', 'lo')
        for name in links:
            self.plug(name)

    def plug(self, name, near=None):
        """near: another address than the usual one."""
        usual, far, metric = self.LINKS[name]
        near = near or usual
        self.around.ip('link', 'add', name + '-far', 'type', 'veth', 'peer', 'name', name,
                       'netns', self.house.path)
        self.around.ip('address', 'add', far + '/24', 'dev', name + '-far')
        self.around.ip('link', 'set', name + '-far', 'up')
        self.house.ip('address', 'add', near + '/24', 'dev', name)
        self.house.ip('link', 'set', name, 'up')
        self.house.ip('route', 'add', 'default', 'via', far, 'dev', name, 'metric',
                      str(metric))
        if self.v6:
            self.plug_v6(name, metric)

    def plug_v6(self, name, metric):
        self.around.ip('address', 'add', self.V6[name] + '2/64', 'dev', name + '-far',
                       'nodad')
        self.house.ip('address', 'add', self.V6[name] + '1/64', 'dev', name, 'nodad')
        self.house.ip('route', 'add', 'default', 'via', self.V6[name] + '2', 'dev', name,
                      'metric', str(metric))

    def unplug(self, name):
        self.house.ip('link', 'delete', name)

    def swallow(self, protocol, to='0.0.0.0/0'):
        """The world takes such packets and says nothing, as a firewall that drops. The
        rule must come before the one that finds local addresses, which is the first."""
        if not hasattr(self, '_rules'):
            self._rules = 5
            self.around.ip('rule', 'add', 'pref', '100', 'lookup', 'local')
            self.around.ip('rule', 'del', 'pref', '0')
        self._rules += 1
        for name in self.LINKS:
            self.around.ip('rule', 'add', 'pref', str(self._rules), 'iif', name + '-far',
                           'to', to, 'ipproto', PROTOCOLS[protocol], 'blackhole')

    def let_through(self):
        """The end of all swallowing."""
        for pref in range(6, self._rules + 1):
            for _ in self.LINKS:
                self.around.ip('rule', 'del', 'pref', str(pref))
        self._rules = 5

    def watch(self, name):
        with self.around:
            return Watch(self.stage, name + '-far')


class Watch:
    """Everything that crosses one link, seen at its far end."""

    def __init__(self, stage, device):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM,
                                  socket.htons(ETH_P_ALL))
        stage.at_end(self.sock.close)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.sock.bind((device, ETH_P_ALL))
        self.sock.setblocking(False)

    def take(self):
        """TCP and UDP since the last time, as (protocol, source, destination, port)."""
        out = set()
        while True:
            try:
                p = self.sock.recv(65536)
            except BlockingIOError:
                return out
            if p[0] >> 4 == 4 and p[9] in (TCP, UDP):
                head = (p[0] & 15) * 4
                out.add((p[9], socket.inet_ntoa(p[12:16]), socket.inet_ntoa(p[16:20]),
                         int.from_bytes(p[head + 2:head + 4], 'big')))
            elif p[0] >> 4 == 6 and p[6] in (TCP, UDP):
                out.add((p[6], socket.inet_ntop(socket.AF_INET6, p[8:24]),
                         socket.inet_ntop(socket.AF_INET6, p[24:40]),
                         int.from_bytes(p[42:44], 'big')))


PACKET_OUTGOING = 4
SOL_PACKET, PACKET_STATISTICS, SO_RCVBUFFORCE = 263, 6, 33
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86dd
TRACKER_MAGIC = (0x41727101980).to_bytes(8, 'big')
TCP_FLAGS = ('FIN', 'SYN', 'RST', 'PSH', 'ACK')


class Packet:
    """One that crossed a device of the house. kind: what it is of BitTorrent, or 'dns',
    'tcp' (of whatever: a SYN, or an encrypted stream), 'udp'; None: neither TCP nor UDP.
    flags, seq, ack: of a TCP segment."""

    def __init__(self, device, outgoing, raw):
        self.device, self.outgoing, self.kind = device, outgoing, None
        if raw[0] >> 4 == 4:
            proto, head = raw[9], (raw[0] & 15) * 4
            self.here, self.there = (socket.inet_ntoa(raw[i:i + 4]) for i in (12, 16))
        else:
            proto, head = raw[6], 40
            self.here, self.there = (socket.inet_ntop(socket.AF_INET6, raw[i:i + 16])
                                     for i in (8, 24))
        self.port = self.own_port = self.length = self.seq = self.ack = 0
        self.flags = set()
        if proto in (TCP, UDP):
            self.own_port = int.from_bytes(raw[head:head + 2], 'big')
            self.port = int.from_bytes(raw[head + 2:head + 4], 'big')
            self.kind = (self.tcp if proto == TCP else self.udp)(raw[head:])

    def tcp(self, segment):
        data = segment[(segment[12] >> 4) * 4:]
        self.seq, self.ack = (int.from_bytes(segment[i:i + 4], 'big') for i in (4, 8))
        self.flags = {name for i, name in enumerate(TCP_FLAGS) if segment[13] >> i & 1}
        self.length = len(data)
        if data.startswith(b'\x13BitTorrent protocol'):
            return 'bittorrent'
        return 'http-announce' if b'info_hash=' in data[:2000] else 'tcp'

    def udp(self, datagram):
        data = datagram[8:]
        self.length = len(data)
        if 53 in (self.port, self.own_port):
            return 'dns'
        if data[:8] == TRACKER_MAGIC or (self.port == 6969 and len(data) >= 16):
            return 'udp-tracker'
        if data[:1] == b'd' and b'1:y1:' in data:
            return 'dht'
        # BEP 29: version 1, types 0 to 4, a known extension or none.
        if len(data) >= 20 and data[0] & 15 == 1 and data[0] >> 4 <= 4 and data[1] <= 2:
            return 'utp'
        return 'udp'

    def __repr__(self):
        flags = ''.join(' ' + name for name in TCP_FLAGS if name in self.flags)
        numbers = f' {self.seq}/{self.ack}' if flags else ''
        way = 'out' if self.outgoing else 'in'
        return (f'<{self.kind}{flags}{numbers} {self.length} {self.device} {way} '
                f'{self.here}:{self.own_port} -> {self.there}:{self.port}>')


class Capture:
    """Every IP packet on every device of a namespace, in and out, loopback and devices
    that come later included. A capture that lost one proves nothing: take() says so."""

    def __init__(self, stage, namespace):
        with namespace:
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM,
                                      socket.htons(ETH_P_ALL))
        stage.at_end(self.sock.close)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.sock.setblocking(False)

    def take(self):
        out = []
        while True:
            try:
                raw, (device, ethertype, direction, _, _) = self.sock.recvfrom(65536)
            except BlockingIOError:
                break
            if ethertype in (ETH_P_IP, ETH_P_IPV6) and len(raw) >= 20:
                out.append(Packet(device, direction == PACKET_OUTGOING, raw))
        stats = self.sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        lost = int.from_bytes(stats[4:8], 'little')
        assert lost == 0, f'the capture lost {lost} packets'
        return out


def connections(pid, states=TCP_ALIVE):
    """TCP connections in the namespace of a process, live unless other states are named:
    {(here, there, port)}."""
    out = set()
    with open(f'/proc/{pid}/net/tcp', encoding='ascii') as f:
        for line in f.readlines()[1:]:
            _, here, there, state = line.split()[:4]
            if state in states:
                address, _, port = there.partition(':')
                out.add((dotted(here[:8]), dotted(address), int(port, 16)))
    return out


def dotted(hexed):
    return socket.inet_ntoa(int(hexed, 16).to_bytes(4, 'little'))

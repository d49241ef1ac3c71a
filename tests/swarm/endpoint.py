"""An address that listens, refuses or never answers; and where such addresses may lie. And
what scripted peers of any protocol share: connections, and being asked about by a test."""
import ipaddress
import json
import socket

from loop import IN, OUT, Loop

# Of documentation (RFC 5737, 3849): for namespaces without a way out.
DOCUMENTATION = [ipaddress.ip_network(n) for n in
                 ('192.0.2.0/24', '198.51.100.0/24', '203.0.113.0/24', '2001:db8::/32')]


def goes_nowhere(address):
    return address.is_loopback or any(address in n for n in DOCUMENTATION)


def endpoint(given, versions=(4, 6)):
    """What a test names as ["127.0.0.1", 6881], or a ValueError: refused when it is said,
    not when it is first used."""
    try:
        address, port = given
        version = ipaddress.ip_address(address).version
    except (TypeError, ValueError):
        raise ValueError(f'not [address, port]: {given!r}') from None
    if not isinstance(address, str) or version not in versions:
        raise ValueError(f'an address of the wrong kind: {given!r}')
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
        raise ValueError(f'no such port: {given!r}')
    return given


def endpoints(given, versions=(4, 6)):
    if not isinstance(given, list):
        raise ValueError(f'not a list of [address, port]: {given!r}')
    return [endpoint(one, versions) for one in given]


def places(spec, base, port, known):
    """(index, address, port, group) of each peer of these groups, one address after the
    other from base on; those that share one differ in their ports. known: keys that a
    group may have."""
    first, i = ipaddress.ip_address(base), 0
    for group in spec:
        unknown = set(group) - set(known)
        if unknown:
            raise ValueError(f'unknown keys in a group: {sorted(unknown)}')
        for k in range(group.get('count', 1)):
            address = ipaddress.ip_address(group.get('address', first + i))
            if not goes_nowhere(address):
                raise ValueError(f'{address} is outside 127/8')
            yield (i, str(address), group.get('port', port)
                   + (k if 'address' in group else 0), group)
            i += 1


class Endpoint:
    def __init__(self, loop, address, port):
        self.loop, self.address, self.port = loop, address, port
        self.listener = None
        self.fill = None                # the connection that fills a queue

    def socket(self):
        v6 = ':' in self.address
        s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM)
        s.setblocking(False)
        return s

    def open(self, accept, full=False):
        """Call accept(events) when somebody is there; full: a SYN gets no answer."""
        if self.listener:
            return
        s = self.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((self.address, self.port))
        s.listen(0 if full else 64)
        self.listener = s
        if full:
            self._fill_queue()
        else:
            self.loop.watch(s, IN, accept)

    def _fill_queue(self):
        """A queue of length 0 takes one connection; the kernel drops further SYNs."""
        self.fill = self.socket()
        self.fill.bind((self.address, 0))
        self.fill.connect_ex((self.address, self.port))

    def hush(self):
        if self.listener:
            self.loop.forget(self.listener)
            self.listener.close()
            self.listener = None
        if self.fill:
            self.fill.close()
            self.fill = None


class Resident(Endpoint):
    """A peer at its address."""

    def __init__(self, swarm, index, address, port):
        super().__init__(swarm.loop, address, port)
        self.swarm, self.index, self.conns = swarm, index, set()

    def leave(self):
        self.hush()
        for conn in list(self.conns):
            conn.close()

    def call(self, to):
        """A socket on its way there, from our own address."""
        sock = self.socket()
        sock.bind((self.address, 0))
        sock.connect_ex(tuple(to))
        return sock


class Link:
    """One connection of a peer, in either direction. Whoever speaks a protocol on it has
    greet() (we called, and it stands) and took(data)."""

    def __init__(self, peer, sock, dialled):
        self.peer, self.sock, self.loop = peer, sock, peer.swarm.loop
        self.held, self.out = bytearray(), bytearray()
        self.dialled, self.greeted = dialled, False
        peer.conns.add(self)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.loop.watch(sock, IN | (OUT if dialled else 0), self._event)

    def close(self, how='us'):
        if self.sock is not None:
            self.loop.forget(self.sock)
            self.sock.close()
            self.sock = None
            self.peer.conns.discard(self)
            self.closed(how)

    def closed(self, how):
        """It is over: by us, fin or reset."""

    def sent(self, n):
        self.peer.count['bytes_out'] += n

    def send(self, data):
        if self.sock is not None:
            self.out += data
            self._flush()

    def _event(self, events):
        if events & OUT:
            if self.dialled and not self.greeted:
                self.greet()
            self._flush()
        if self.sock is not None and events & ~OUT:
            self._read()

    def _flush(self):
        if self.sock is None:           # what was sent just now closed it
            return
        try:
            n = self.sock.send(self.out) if self.out else 0
        except BlockingIOError:
            n = 0
        except OSError:
            self.close('reset')
            return
        self.sent(n)
        del self.out[:n]
        self.loop.watch(self.sock, IN | (OUT if self.out else 0), self._event)

    def _read(self):
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            self.close('reset')
            return
        if data:
            self.peer.count['bytes_in'] += len(data)
            self.took(data)
        else:
            self.close('fin')


class Company:
    """All peers of a program, and what its control socket may ask of any of them."""

    def __init__(self):
        self.loop, self.peers = Loop(), []

    def settle(self, make, spec, base, port, known):
        """make(index, address, port, group) for each of these groups."""
        for i, address, own_port, group in places(spec, base, port, known):
            peer = make(i, address, own_port, group)
            self.peers.append(peer)
            if not group.get('absent'):
                peer.listen()

    def control(self, req):
        fn = getattr(self, 'do_' + req['cmd'], None)
        if fn is None:
            raise ValueError(f'no such command: {req["cmd"]}')
        return fn(req)

    def chosen(self, req):
        which = req.get('peers')
        return self.peers if which is None else [self.peers[i] for i in which]

    def do_report(self, _req):
        return self.report()

    def do_stats(self, _req):
        return [{**p.count, 'index': p.index, 'open': len(p.conns)} for p in self.peers]

    def do_totals(self, _req):
        total = {k: sum(p.count[k] for p in self.peers) for k in self.peers[0].count}
        return {**total, 'open': sum(len(p.conns) for p in self.peers)}


def read_spec(text):
    """A list of groups, or @FILE that has one."""
    if text.startswith('@'):
        with open(text[1:], encoding='utf-8') as f:
            text = f.read()
    return json.loads(text)

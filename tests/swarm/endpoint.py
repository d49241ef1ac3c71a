"""An address that listens, refuses or never answers; and where such addresses may lie."""
import ipaddress
import socket

from loop import IN

# Of documentation (RFC 5737, 3849): for namespaces without a way out.
DOCUMENTATION = [ipaddress.ip_network(n) for n in
                 ('192.0.2.0/24', '198.51.100.0/24', '203.0.113.0/24', '2001:db8::/32')]


def goes_nowhere(address):
    return address.is_loopback or any(address in n for n in DOCUMENTATION)


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

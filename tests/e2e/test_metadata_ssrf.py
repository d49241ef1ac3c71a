"""Links that point at somebody's own network (SSRF): nothing of ours goes there.

In a namespace without a way out, whose loopback device has an address of each kind. What
comes to any of them is written down.
"""
import contextlib
import select
import socket
import threading

import pytest

import metacache
import netns
from netns import Namespace
from procs import wait_until

pytestmark = pytest.mark.skipif(netns.why_not() is not None, reason=str(netns.why_not()))

PUBLIC = '11.0.0.1'
OWN = ['127.0.0.1', '127.9.9.9', '10.0.0.5', '172.16.3.4', '192.168.7.7', '100.64.0.9',
       '169.254.169.254', '::1', 'fd00::7', 'fe80::77', '2002:a00:5::1', '2002:7f00:1::1',
       '64:ff9b::a00:5', '::ffff:10.0.0.5']
PORT, REDIRECT = 8001, 8002
KEY = 'ab' * 20


def host(address):
    return f'[{address}]' if ':' in address else address


class Watch(threading.Thread):
    """Sockets on all addresses; .came is who was spoken to, and by which protocol."""

    def __init__(self, stage):
        super().__init__(daemon=True)
        self.came, self.sockets = set(), {}
        for address in [PUBLIC, *OWN]:
            for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
                for port in (PORT, REDIRECT) if address == PUBLIC else (PORT,):
                    self.open(address, kind, port)
        self.ours, self.theirs = socket.socketpair()
        self.start()
        stage.at_end(self.stop)

    def open(self, address, kind, port):
        v6 = ':' in address
        if address.startswith('::ffff:'):
            return                          # the same place as without
        s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, kind)
        scope = socket.if_nametoindex('lo') if address.startswith('fe80') else 0
        s.bind((address, port, 0, scope) if v6 else (address, port))
        if kind == socket.SOCK_STREAM:
            s.listen()
        self.sockets[s] = (address, 'tcp' if kind == socket.SOCK_STREAM else 'udp', port)

    def run(self):
        while True:
            ready = select.select([self.theirs, *self.sockets], [], [])[0]
            if self.theirs in ready:
                return
            for s in ready:
                where = self.sockets[s]
                self.came.add(where)
                with contextlib.suppress(OSError):
                    self.answer(s, *where[1:])

    @staticmethod
    def answer(s, protocol, port):
        if protocol == 'udp':
            s.recv(2048)
            return
        conn = s.accept()[0]
        with conn:
            conn.settimeout(2)
            conn.recv(4096)
            if port == REDIRECT:
                conn.sendall(f'HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254:{PORT}'
                             '/latest/meta-data\r\nContent-Length: 0\r\n\r\n'.encode())

    def stop(self):
        self.ours.close()
        self.join(10)
        for s in self.sockets:
            s.close()
        self.theirs.close()


@pytest.fixture
def town(stage):
    """The namespace with its addresses."""
    ns = Namespace(stage)
    for address in [PUBLIC, *OWN[1:]]:
        if address not in ('::1', '::ffff:10.0.0.5'):
            ns.ip('address', 'add', address + ('/128' if ':' in address else '/32'), 'dev', 'lo',
                  *(['nodad'] if ':' in address else []))
    with ns:
        ns.watch = Watch(stage)
    return ns


def links():
    """Every way in which a link may name a place, to all that are not for it."""
    names = [*(host(a) for a in OWN), 'localhost', '0.0.0.0', '2130706433', '0x7f.1']
    trackers = [f'{scheme}://{name}:{PORT}/announce' for name in names
                for scheme in ('http', 'udp')]
    for at in range(0, len(trackers), 20):
        yield trackers[at:at + 20], ''
    yield [], ''.join(f'&x.pe={host(a)}:{PORT}' for a in OWN)
    yield [], ''.join(f'&{what}=http%3A%2F%2F{host(a)}%3A{PORT}%2Fx' for a in OWN
                      for what in ('ws', 'xs', 'as'))
    yield [f'http://{PUBLIC}:{REDIRECT}/announce'], ''


def ask_all(daemon, town, allow, *also):
    """Who was spoken to but for those in public; also: some that must be, too."""
    with town:
        d = daemon({'http.workers': 1, 'swarm.listen': '0.0.0.0:42069,[::]:42069',
                    'swarm.allow_private': allow, 'swarm.max_trackers': 50,
                    'swarm.cold_rate': 1000, 'swarm.cold_burst': 1000})
        for n, (trackers, rest) in enumerate(links(), 16):
            a = metacache.post(d, metacache.link(f'{n:02x}' * 20, (), *trackers) + rest,
                               query='?timeout=100')
            assert a.status == 504, a
        public = [f'http://{PUBLIC}:{PORT}/announce', f'udp://{PUBLIC}:{PORT}/announce']
        a = metacache.post(d, metacache.link(KEY, [(PUBLIC, PORT)], *public),
                           query='?timeout=100')
        assert a.status == 504
        wanted = {(PUBLIC, 'tcp', PORT), (PUBLIC, 'udp', PORT), (PUBLIC, 'tcp', REDIRECT)}
        wait_until(lambda: wanted.union(also) <= town.watch.came, 15,
                   f'these are asked: {sorted(wanted.union(also))}')
        # Time for what should not be: a redirect to be followed, a second tier to be asked.
        a = metacache.post(d, metacache.link('cd' * 20), query='?timeout=3s')
        assert a.status == 504
        d.stop()
        return town.watch.came - wanted


def test_nothing_goes_to_private_places(daemon, town):
    assert ask_all(daemon, town, 'off') == set()


def test_the_watch_would_see_it(daemon, town):
    private = {(address, protocol, PORT) for protocol in ('tcp', 'udp')
               for address in ('127.0.0.1', '10.0.0.5', '169.254.169.254')}
    assert private <= ask_all(daemon, town, 'on', *private)

"""Announces over HTTP (BEP 3, 23) and UDP (BEP 15), each from the peer's own address."""
import random
import socket
import struct
from urllib.parse import quote, urlsplit

from loop import ERR, HUP, IN, OUT
from wire import bdec

EVENTS = {'': 0, 'completed': 1, 'started': 2, 'stopped': 3}
UDP_MAGIC = 0x41727101980
AT_ONCE = 64            # announces under way; more wait for their turn
UDP_TRY_S, UDP_TRIES = 0.5, 8
HTTP_S = 4.0


class Announce:
    """One announce; calls done(None) or done('what went wrong') once."""

    def __init__(self, loop, url, peer, torrent, event, done):
        self.loop, self.peer, self.torrent, self.event = loop, peer, torrent, event
        self.url, self._done, self.sock = urlsplit(url), done, None
        self.left = 0 if peer.have(torrent) >= torrent.pieces else 1 << 20

    def start(self):
        try:
            if self.url.scheme == 'udp':
                self._udp_start()
            else:
                self._http_start()
        except OSError as e:
            self.finish(str(e))

    def finish(self, error=None):
        if self.sock is None:
            return
        self.loop.forget(self.sock)
        self.sock.close()
        self.sock = None
        self._done(error)

    def _open(self, kind):
        self.sock = socket.socket(socket.AF_INET, kind)
        self.sock.setblocking(False)
        self.sock.bind((self.peer.address, 0))

    # UDP ------------------------------------------------------------
    def _udp_start(self):
        self._open(socket.SOCK_DGRAM)
        self.sock.connect((self.url.hostname, self.url.port))
        self.tries, self.tid, self.cid = 0, random.getrandbits(32), None
        self.loop.watch(self.sock, IN, self._udp_read)
        self._udp_send()

    def _udp_send(self):
        if self.sock is None:
            return
        if self.tries >= UDP_TRIES:
            self.finish('no answer')
            return
        self.tries += 1
        if self.cid is None:
            packet = struct.pack('>QII', UDP_MAGIC, 0, self.tid)
        else:
            packet = struct.pack('>QII20s20sQQQIIIiH', self.cid, 1, self.tid,
                                 self.torrent.infohash, self.peer.peer_id, 0, self.left, 0,
                                 EVENTS[self.event], 0, self.peer.index, 0, self.peer.port)
        try:
            self.sock.send(packet)
        except OSError:
            pass                # refused; tried again, the tracker may be starting
        self.loop.later(UDP_TRY_S, self._udp_send)

    def _udp_read(self, _events):
        try:
            data = self.sock.recv(4096)
        except OSError:
            return
        if len(data) < 8:
            return
        action, tid = struct.unpack('>II', data[:8])
        if tid != self.tid:
            return
        if action == 0 and len(data) >= 16:
            self.cid = struct.unpack('>Q', data[8:16])[0]
            self._udp_send()
        elif action == 1:
            self.finish()
        elif action == 3:
            self.finish(data[8:].decode('utf-8', 'replace'))

    # HTTP -----------------------------------------------------------
    def _http_start(self):
        self._open(socket.SOCK_STREAM)
        self.held = bytearray()
        self.sock.connect_ex((self.url.hostname, self.url.port))
        self.loop.watch(self.sock, OUT, self._http_write)
        self.loop.later(HTTP_S, lambda: self.finish('no answer'))

    def _http_write(self, events):
        if events & (ERR | HUP):
            self.finish('refused')
            return
        path = (f'{self.url.path}?info_hash={quote(self.torrent.infohash, safe="")}'
                f'&peer_id={quote(self.peer.peer_id, safe="")}&port={self.peer.port}'
                f'&uploaded=0&downloaded=0&left={self.left}&compact=1&numwant=0')
        if self.event:
            path += '&event=' + self.event
        self.sock.send(f'GET {path} HTTP/1.0\r\nHost: {self.url.netloc}\r\n\r\n'.encode())
        self.loop.watch(self.sock, IN, self._http_read)

    def _http_read(self, _events):
        try:
            data = self.sock.recv(65536)
        except OSError as e:
            self.finish(str(e))
            return
        self.held += data
        if data and len(self.held) < 1 << 20:
            return
        head, _, body = bytes(self.held).partition(b'\r\n\r\n')
        try:
            reason = bdec(body).get(b'failure reason')
        except ValueError:
            reason = head.split(b'\r\n')[0] or b'closed'
        self.finish(reason.decode('utf-8', 'replace') if reason else None)


class Announcer:
    """A queue of announces, a bounded number under way."""

    def __init__(self, loop):
        self.loop, self.waiting, self.busy = loop, [], 0
        self.done, self.errors = 0, []

    def add(self, url, peer, torrent, event='started'):
        self.waiting.append((url, peer, torrent, event))
        self._pump()

    def idle(self):
        return not self.waiting and not self.busy

    def _pump(self):
        while self.waiting and self.busy < AT_ONCE:
            url, peer, torrent, event = self.waiting.pop(0)
            self.busy += 1
            Announce(self.loop, url, peer, torrent, event,
                     lambda err, p=peer, u=url: self._over(err, p, u)).start()

    def _over(self, error, peer, url):
        self.busy -= 1
        self.done += 1
        if error and len(self.errors) < 100:
            self.errors.append(f'{peer.address} at {url}: {error}')
        self._pump()

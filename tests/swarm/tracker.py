#!/usr/bin/python3
"""A scripted tracker, HTTP and UDP on one port: returns exactly what it is told,
late, wrongly or not at all. What opentracker can't do; see tests/swarm/README.md.
"""
import argparse
import copy
import random
import socket
import struct
import sys
import time
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

import wire
from announce import UDP_MAGIC
from endpoint import endpoints
from loop import IN, OUT, Control, Loop, accept_all, exit_on_signals, say_ready, want_fds

MODES = {
    'ok',
    'failure',      # HTTP: failure reason; UDP: error packet
    'hang',         # reads and never answers
    'close',        # HTTP: closes without a byte; UDP: as hang
    'http_500',     # HTTP: status 500; UDP: error packet
    'garbage',      # random bytes
    'truncated',    # the first half of a good answer
    'bad_tid',      # UDP: the answer to another question; HTTP: as ok
    'huge',         # HTTP: 8 MiB of peers; UDP: as ok
}
MAX_LOG = 100000
EVENT_NAMES = ['', 'completed', 'started', 'stopped']


class Plan:
    """How one infohash (or '*', all others) is answered."""

    KEYS = {'mode', 'delay_ms', 'peers', 'peers6', 'interval', 'min_interval', 'complete',
            'incomplete', 'reason', 'register', 'compact', 'counted', 'invent'}

    def __init__(self):
        self.mode, self.delay_ms, self.reason = 'ok', 0, 'scripted failure'
        self.peers, self.peers6 = [], []
        self.interval, self.min_interval = 1800, None
        self.complete = self.incomplete = None      # None: by the length of the list
        self.register = False                       # add who announces to the list
        self.compact = True
        self.counted = True                         # HTTP: say complete and incomplete
        self.invent = None                          # [a, b, n]: n peers in a.b.128/17

    def set(self, given):
        unknown = set(given) - self.KEYS
        if unknown:
            raise ValueError(f'unknown keys: {sorted(unknown)}')
        if given.get('mode', 'ok') not in MODES:
            raise ValueError(f'no such mode: {given["mode"]}')
        endpoints(given.get('peers', []), (4,))
        endpoints(given.get('peers6', []), (6,))
        self.__dict__.update(given)

    def counts(self):
        seeds = len(self.peers) if self.complete is None else self.complete
        return seeds, 0 if self.incomplete is None else self.incomplete

    def http_body(self):
        if self.mode == 'failure':
            return wire.benc({'failure reason': self.reason})
        seeds, leechers = self.counts()
        d = {'interval': self.interval}
        if self.counted:
            d.update(complete=seeds, incomplete=leechers)
        if self.min_interval is not None:
            d['min interval'] = self.min_interval
        if self.mode == 'huge':
            d['peers'] = b'\x7f\x00\x00\x01\x00\x01' * ((8 << 20) // 6)
        elif self.compact:
            d['peers'] = wire.compact(self.peers)
        else:
            d['peers'] = [{'ip': a, 'port': p, 'peer id': '-XX0000-000000000000'}
                          for a, p in self.peers]
        if self.peers6:
            d['peers6'] = wire.compact6(self.peers6)
        return wire.benc(d)

    def for_(self, infohash):
        """This plan, or one with peers that only this infohash has."""
        if not self.invent:
            return self
        a, b, n = self.invent
        own, dice = copy.copy(self), random.Random(infohash)
        own.peers = self.peers + [
            [f'{a}.{b}.{dice.randrange(128, 256)}.{dice.randrange(1, 255)}',
             dice.randrange(1024, 65536)] for _ in range(n)]
        return own


class Tracker:
    def __init__(self, address, port):
        self.loop = Loop()
        self.plans = {'*': Plan()}
        self.log, self.count = [], {'http': 0, 'udp': 0, 'udp_connects': 0}
        family = socket.AF_INET6 if ':' in address else socket.AF_INET
        self.tcp = socket.socket(family, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.udp = socket.socket(family, socket.SOCK_DGRAM)
        self.udp.bind((address, port))
        self.address, self.port = self.udp.getsockname()[:2]
        self.host = f'[{address}]' if ':' in address else address
        self.tcp.bind((address, self.port))
        self.tcp.listen(128)
        for s, fn in (self.tcp, self._accept), (self.udp, self._datagram):
            s.setblocking(False)
            self.loop.watch(s, IN, fn)
        self.cids = {}

    def plan(self, infohash):
        return self.plans.get(infohash.hex(), self.plans['*'])

    def note(self, transport, source, infohash, fields):
        """Log an announce, and register who asked if the plan says so."""
        self.count[transport] += 1
        if len(self.log) < MAX_LOG:
            self.log.append({'t': time.time(), 'transport': transport, 'source': source,
                             'infohash': infohash.hex(), **fields})
        plan = self.plan(infohash)
        if plan.register:
            me = [source, fields['port']]
            if fields['event'] == 'stopped':
                plan.peers = [p for p in plan.peers if p != me]
            elif me not in plan.peers:
                plan.peers.append(me)
        return plan.for_(infohash)

    def after(self, plan, fn):
        if plan.delay_ms:
            self.loop.later(plan.delay_ms / 1000, fn)
        else:
            fn()

    # UDP (BEP 15) -----------------------------------------------------
    def _datagram(self, _events):
        for _ in range(256):
            try:
                data, source = self.udp.recvfrom(2048)
            except OSError:
                return
            self._udp_packet(data, source)

    def _udp_packet(self, data, source):
        if len(data) < 16:
            return
        cid, action, tid = struct.unpack('>QII', data[:16])
        if action == 0 and cid == UDP_MAGIC:
            self.count['udp_connects'] += 1
            if self.plans['*'].mode in ('hang', 'close'):
                return
            self.udp.sendto(struct.pack('>IIQ', 0, tid, self._cid(source)), source)
        elif action == 1 and len(data) >= 98 and cid == self._cid(source):
            self._udp_announce(data, tid, source)

    def _cid(self, source):
        return self.cids.setdefault(source[0], random.getrandbits(63))

    def _udp_announce(self, data, tid, source):
        infohash, peer_id = data[16:36], data[36:56]
        left = struct.unpack('>Q', data[64:72])[0]
        event, _, _, numwant, port = struct.unpack('>IIIiH', data[80:98])
        fields = {'port': port, 'event': EVENT_NAMES[event & 3], 'numwant': numwant,
                  'left': left, 'peer_id': peer_id.hex()}
        plan = self.note('udp', source[0], infohash, fields)
        if plan.mode in ('hang', 'close'):
            return
        v6 = ':' in source[0]
        self.after(plan, lambda: self.udp.sendto(self._udp_answer(plan, tid, v6), source))

    @staticmethod
    def _udp_answer(plan, tid, v6):
        if plan.mode in ('failure', 'http_500'):
            return struct.pack('>II', 3, tid) + plan.reason.encode()
        if plan.mode == 'garbage':
            return random.Random(tid).randbytes(200)
        if plan.mode == 'bad_tid':
            tid ^= 0x5a5a5a5a
        seeds, leechers = plan.counts()
        whole = struct.pack('>IIIII', 1, tid, plan.interval, leechers, seeds)
        # BEP 15: 18 bytes for each, when it was asked over IPv6.
        whole += wire.compact6(plan.peers6) if v6 else wire.compact(plan.peers)
        return whole[:13] if plan.mode == 'truncated' else whole

    # HTTP -------------------------------------------------------------
    def _accept(self, _events):
        for sock, source in accept_all(self.tcp):
            held = bytearray()
            self.loop.watch(sock, IN, lambda ev, s=sock, a=source, h=held: self._http(s, a, h))

    def _http(self, sock, source, held):
        try:
            data = sock.recv(65536)
        except OSError:
            data = b''
        held += data
        if not data or len(held) > 65536:
            self._hang_up(sock)
        elif b'\r\n\r\n' in held:
            self._http_request(sock, source, bytes(held))

    def _hang_up(self, sock):
        self.loop.forget(sock)
        sock.close()

    def _http_request(self, sock, source, head):
        target = urlsplit(head.split(b' ', 2)[1].decode('latin-1'))
        q = dict(parse_qsl(target.query, keep_blank_values=True, encoding='latin-1'))
        raw = dict(p.partition('=')[::2] for p in target.query.split('&'))
        infohash = unquote_to_bytes(raw.get('info_hash', ''))
        if not target.path.endswith('/announce') or len(infohash) != 20:
            self._http_send(sock, 404, b'no such thing')
            return
        fields = {'port': int(q.get('port', 0)), 'event': q.get('event', ''),
                  'numwant': int(q.get('numwant', -1)), 'left': int(q.get('left', 0)),
                  'peer_id': unquote_to_bytes(raw.get('peer_id', '')).hex(),
                  'user_agent': self._header(head, b'user-agent')}
        plan = self.note('http', source[0], infohash, fields)
        self.after(plan, lambda: self._http_answer(sock, plan))

    @staticmethod
    def _header(head, name):
        for line in head.split(b'\r\n')[1:]:
            k, _, v = line.partition(b':')
            if k.lower() == name:
                return v.strip().decode('latin-1')
        return None

    def _http_answer(self, sock, plan):
        if sock.fileno() < 0 or plan.mode == 'hang':
            return
        if plan.mode == 'close':
            self._hang_up(sock)
        elif plan.mode == 'http_500':
            self._http_send(sock, 500, b'scripted trouble')
        elif plan.mode == 'garbage':
            self._http_send(sock, 200, random.Random(1).randbytes(500))
        else:
            body = plan.http_body()
            self._http_send(sock, 200, body, cut=plan.mode == 'truncated')

    def _http_send(self, sock, status, body, cut=False):
        head = (f'HTTP/1.1 {status} Scripted\r\nContent-Type: text/plain\r\n'
                f'Content-Length: {len(body)}\r\nConnection: close\r\n\r\n').encode()
        out = bytearray(head + (body[:len(body) // 2] if cut else body))
        self._http_flush(sock, out)

    def _http_flush(self, sock, out):
        try:
            del out[:sock.send(out)]
        except BlockingIOError:
            pass
        except OSError:
            out.clear()
        if out:
            self.loop.watch(sock, OUT, lambda ev: self._http_flush(sock, out))
        else:
            self._hang_up(sock)

    # What the control socket may ask ------------------------------------
    def control(self, req):
        cmd = req.pop('cmd')
        if cmd == 'set':
            self.plans.setdefault(req.pop('infohash', '*'), Plan()).set(req)
            return None
        if cmd == 'log':
            want = req.get('infohash')
            return [e for e in self.log if want in (None, e['infohash'])]
        if cmd == 'count':
            return self.count
        if cmd == 'forget':
            self.log.clear()
            self.count = dict.fromkeys(self.count, 0)
            return None
        raise ValueError(f'no such command: {cmd}')


def main(argv):
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--listen', default='127.0.0.1:0', metavar='ADDRESS:PORT')
    p.add_argument('--register', action='store_true', help='be an ordinary open tracker')
    p.add_argument('--control', metavar='PATH', help='unix socket for commands')
    args = p.parse_args(argv)
    exit_on_signals()
    want_fds(4096)
    address, _, port = args.listen.rpartition(':')
    t = Tracker(address.strip('[]'), int(port))
    t.plans['*'].register = args.register
    if args.control:
        Control(t.loop, args.control, t.control)
    say_ready({'ready': True, 'address': t.address, 'port': t.port,
               'http': f'http://{t.host}:{t.port}/announce',
               'udp': f'udp://{t.host}:{t.port}/announce', 'control': args.control})
    t.loop.run()


if __name__ == '__main__':
    main(sys.argv[1:])

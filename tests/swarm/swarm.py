#!/usr/bin/python3
"""Hundreds of scripted peers in one thread, each on an address of its own in 127/8.

They speak the handshake, bitfield, have and choke messages of BEP 3, the FAST
messages of BEP 6, metadata (BEP 9), the extension handshake (BEP 10) and PEX
(BEP 11) over plain TCP. They unchoke everybody and count every request for a
piece, which a collector must never make. See tests/swarm/README.md.
"""
import argparse
import hashlib
import os
import random
import struct
import sys
import time

import wire
from announce import Announcer
from endpoint import Company, Link, Resident, read_spec
from loop import Control, accept_all, exit_on_signals, say_ready, want_fds

# What a peer of each behaviour looks like to somebody who dials it.
STATES = {
    'normal': 'connected',
    'in_order': 'connected',        # got its pieces from the first to the last
    'no_bitfield': 'connected',     # progress stays 0
    'no_extension': 'connected',    # promises BEP 10 and never says its handshake
    'liar': 'connected',            # its metadata is another torrent's
    'have_all': 'connected',        # BEP 6, progress 100
    'have_none': 'connected',       # BEP 6, progress 0
    'huge_bitfield': 'contacted',   # 1 MiB of set bits after the handshake
    'huge_length': 'contacted',     # a message that claims to have 2 GiB
    'flaky': 'contacted',           # greets, closes and never listens again
    'silent': 'tried',              # accepts and never says a byte
    'close': 'tried',               # accepts and closes at once
    'garbage': 'tried',             # answers with random bytes
    'wrong_hash': 'tried',          # shakes hands for another torrent
    'dead': 'tried',                # announced, but nobody listens
    'full': 'tried',                # its queue is full: a SYN gets no answer
}
MAX_MESSAGE = 1 << 17
ALIVE_S = 30
GROUP_KEYS = {'count', 'name', 'name_hex', 'peer_id', 'progress', 'behaviour', 'delay_ms',
              'announce', 'pex', 'tell', 'ext', 'fast', 'absent', 'address', 'port',
              'metadata_size', 'metadata_delay_ms'}


class Peer(Resident):
    """One address. It is in every torrent of the swarm with the same progress."""

    def __init__(self, swarm, index, address, port, group):
        super().__init__(swarm, index, address, port)
        self.behaviour = group.get('behaviour', 'normal')
        if self.behaviour not in STATES:
            raise ValueError(f'no such behaviour: {self.behaviour}')
        self.announced = group.get('announce', True)
        self.delay_s = group.get('delay_ms', swarm.delay_ms) / 1000
        self.metadata_size = group.get('metadata_size')
        self.metadata_delay_s = group.get('metadata_delay_ms', 0) / 1000
        self.pex = group.get('pex', swarm.pex)
        self.ext = group.get('ext', True)
        self.fast = group.get('fast', True)
        self.name, self.name_bytes = self._name(group)
        self.tell = [tuple(e) for e in group.get('tell', ())]
        prefix = group.get('peer_id', '-SC0100-').encode()
        # By endpoint: who sees one peer id twice takes it for one peer, and hangs up.
        where = hashlib.sha1(f'{address}:{port}'.encode()).hexdigest()
        self.peer_id = (prefix + where.encode())[:20]
        self.progress = self._progress(group.get('progress', 100))
        self.count = dict.fromkeys(
            ('connections', 'handshakes', 'requests', 'interested', 'metadata_requests',
             'pex_received', 'bytes_in', 'bytes_out', 'not_bittorrent', 'choked_us'), 0)

    def _name(self, group):
        """(name that a reader must see, or None if the test decides; bytes on the wire)"""
        if 'name_hex' in group:
            return None, bytes.fromhex(group['name_hex'])
        name = group.get('name', 'Scripted 1.0 #{i}').replace('{i}', str(self.index))
        return name, name.encode()

    def _progress(self, wanted):
        if self.behaviour in ('have_none', 'no_bitfield'):
            return 0.0
        if self.behaviour == 'have_all':
            return 100.0
        if wanted == 'mixed':           # every second one a seed, the others spread
            return 100.0 if self.index % 2 else self.index * 7 % 100
        return float(wanted)

    def have(self, torrent):
        """How many pieces."""
        return round(self.progress * torrent.pieces / 100)

    def order(self, torrent):
        """The pieces in the order in which it got them: rarest first looks random, so
        each peer has its own."""
        if self.behaviour == 'in_order':
            return range(torrent.pieces)
        out = list(range(torrent.pieces))
        random.Random(self.index).shuffle(out)
        return out

    def listen(self):
        if self.behaviour != 'dead':
            self.open(self._accept, full=self.behaviour == 'full')

    def _accept(self, _events):
        for sock, _ in accept_all(self.listener):
            self.count['connections'] += 1
            if self.behaviour == 'close':
                sock.close()
            else:
                Conn(self, sock)

    def dial(self, to, torrent):
        """Whom we call sees an incoming peer."""
        self.count['connections'] += 1
        Conn(self, self.call(to), torrent)

    def extension_handshake(self, torrent):
        name = self.name_bytes.replace(b'{h}', torrent.infohash.hex()[:12].encode())
        d = {'m': {'ut_metadata': wire.UT_METADATA, 'ut_pex': wire.UT_PEX},
             'v': name, 'p': self.port, 'reqq': 250}
        if torrent.info is not None:
            d['metadata_size'] = self.metadata_size or len(torrent.info)
        return wire.ext(0, wire.benc(d))

    def pieces_message(self, torrent, fast):
        if self.behaviour == 'have_all' and fast:
            return wire.msg(wire.HAVE_ALL)
        if self.behaviour == 'no_bitfield':
            return b''
        if self.behaviour == 'huge_bitfield':
            return wire.msg(wire.BITFIELD, b'\xff' * (1 << 20))
        if self.behaviour == 'huge_length':
            return struct.pack('>IB', 0x7fffffff, wire.BITFIELD) + b'\xff' * 4096
        have = self.have(torrent)
        if have == 0:                   # BEP 3: say nothing; BEP 6: say so
            return wire.msg(wire.HAVE_NONE) if fast else b''
        which = self.order(torrent)[:have]
        return wire.msg(wire.BITFIELD, wire.bitfield(which, torrent.pieces))

    def report(self):
        progress = self.progress if STATES[self.behaviour] == 'connected' else None
        return {'index': self.index, 'address': self.address, 'port': self.port,
                'name': self.name if self.ext else None, 'progress': progress,
                'behaviour': self.behaviour, 'state': STATES[self.behaviour],
                'announced': self.announced, 'listens': self.listener is not None}


class Conn(Link):
    """One connection of a peer, in either direction."""

    def __init__(self, peer, sock, torrent=None):
        self.torrent, self.shaken = torrent, False
        self.their_pex = self.their_metadata = None
        self.their_fast = False
        self.alive_at = 0.0
        super().__init__(peer, sock, torrent is not None)

    def took(self, data):
        if self.peer.behaviour == 'silent':
            return
        self.held += data
        if not self.shaken:
            self._their_handshake()
        while self.shaken and self.sock is not None and self._one_message():
            pass

    def _their_handshake(self):
        if not wire.PSTR.startswith(bytes(self.held[:20])):
            self.peer.count['not_bittorrent'] += 1      # e.g. an encrypted handshake
            self.close()
            return
        if len(self.held) < wire.HANDSHAKE:
            return
        torrent = self.peer.swarm.torrent(bytes(self.held[28:48]))
        if torrent is None:
            self.close()
            return
        self.torrent, self.shaken = torrent, True
        self.peer.count['handshakes'] += 1
        self.their_fast = bool(self.held[27] & 0x04)
        del self.held[:wire.HANDSHAKE]
        if self.greeted:
            self.send(self.pieces())
        else:
            self.loop.later(self.peer.delay_s, self.greet)

    def greet(self):
        peer = self.peer
        if self.sock is None or self.greeted:
            return
        self.greeted = True
        if peer.behaviour == 'garbage':
            self.send(random.Random(peer.index).randbytes(4096))
            return
        infohash = self.torrent.infohash
        if peer.behaviour == 'wrong_hash':
            infohash = bytes(b ^ 0xff for b in infohash)
        hello = wire.handshake(infohash, peer.peer_id, peer.ext, peer.fast)
        if peer.ext and peer.behaviour != 'no_extension':
            hello += peer.extension_handshake(self.torrent)
        if self.shaken:
            hello += self.pieces()
        self.send(hello)
        if peer.behaviour == 'flaky':
            self.loop.later(0.05, peer.leave)

    def pieces(self):
        """BEP 6 counts when both speak it, so this waits for their handshake."""
        return self.peer.pieces_message(self.torrent, self.peer.fast and self.their_fast)

    def _one_message(self):
        if len(self.held) < 4:
            return False
        n = struct.unpack('>I', self.held[:4])[0]
        if n > MAX_MESSAGE:
            self.close()
            return False
        if len(self.held) < 4 + n:
            return False
        body = bytes(self.held[4:4 + n])
        del self.held[:4 + n]
        if body:
            self._message(body[0], body[1:])
        else:
            self._alive()
        return True

    def _alive(self):
        """As long as they keep a connection for, we do: libtorrent ends one that was silent for
        two minutes. Not every time, or two of us would never stop."""
        if time.monotonic() > self.alive_at + ALIVE_S:
            self.alive_at = time.monotonic()
            self.send(bytes(4))

    def _message(self, kind, body):
        count = self.peer.count
        if kind == wire.REQUEST:
            count['requests'] += 1
        elif kind == wire.INTERESTED:
            count['interested'] += 1
            self.send(wire.msg(wire.UNCHOKE))
        elif kind == wire.CHOKE:
            count['choked_us'] += 1
        elif kind == wire.EXTENDED and body:
            self._extended(body[0], body[1:])

    def _extended(self, number, body):
        if number == 0:
            their = wire.bdec(body).get(b'm', {})
            self.their_pex = their.get(b'ut_pex') or None
            self.their_metadata = their.get(b'ut_metadata') or None
            self.send_pex()
        elif number == wire.UT_METADATA:
            self._metadata(wire.bdec(body))
        elif number == wire.UT_PEX:
            self.peer.count['pex_received'] += 1

    def _metadata(self, d):
        info, n = self.torrent.info, d.get(b'piece', 0)
        if d.get(b'msg_type') != wire.MD_REQUEST or not self.their_metadata:
            return
        self.peer.count['metadata_requests'] += 1
        if info is None or not 0 <= n * wire.MD_PIECE < len(info):
            head, data = {'msg_type': wire.MD_REJECT, 'piece': n}, b''
        else:
            head = {'msg_type': wire.MD_DATA, 'piece': n, 'total_size': len(info)}
            if self.peer.behaviour == 'liar':
                info = info.replace(b'4:name', b'4:nome', 1)
            data = info[n * wire.MD_PIECE:(n + 1) * wire.MD_PIECE]
        if self.peer.metadata_size is None:     # who says another size has none to give
            self.loop.later(self.peer.metadata_delay_s, lambda: self.send(
                wire.ext(self.their_metadata, wire.benc(head) + data)))

    def send_pex(self):
        """BEP 11: the endpoints we were told to tell, else up to 50 peers after us."""
        peer = self.peer
        if not self.their_pex or not (peer.pex or peer.tell):
            return
        told = [(*e, 0x10) for e in peer.tell] or [
            (p.address, p.port, 0x12 if p.progress >= 100 else 0x10)
            for p in self._next_peers()[:min(peer.pex, 50)]]
        body = {'dropped': b''}
        for end, v6 in ('', False), ('6', True):
            some = [e for e in told if (':' in e[0]) == v6]
            if some or not v6:
                pack = wire.compact6 if v6 else wire.compact
                body['added' + end] = pack([e[:2] for e in some])
                body['added' + end + '.f'] = bytes(e[2] for e in some)
        self.send(wire.ext(self.their_pex, wire.benc(body)))

    def _next_peers(self):
        me, all_ = self.peer, self.peer.swarm.peers
        others = [all_[(me.index + k) % len(all_)] for k in range(1, len(all_))]
        return [p for p in others if p.listener or p.behaviour == 'dead']

    def send_haves(self, before, after):
        if self.greeted:
            self.send(b''.join(wire.msg(wire.HAVE, struct.pack('>I', i))
                               for i in self.peer.order(self.torrent)[before:after]))


class Swarm(Company):
    def __init__(self, torrents, spec, base='127.1.0.1', port=6881, delay_ms=0, pex=0,
                 trackers=(), any_=False):
        super().__init__()
        self.any = any_
        self.torrents = {t.infohash: t for t in torrents}
        self.delay_ms, self.pex, self.trackers = delay_ms, pex, list(trackers)
        self.announcer = Announcer(self.loop)
        self.settle(lambda *where: Peer(self, *where), spec, base, port, GROUP_KEYS)

    def torrent(self, infohash):
        """Ours; with --any one for whoever asks, of eight pieces and no metadata."""
        if self.any:
            return wire.Torrent(infohash, 8)
        return self.torrents.get(infohash)

    def announce(self, peers, event='started'):
        for peer in peers:
            for torrent in self.torrents.values():
                for url in self.trackers:
                    self.announcer.add(url, peer, torrent, event)

    def report(self):
        return {'torrents': [t.report() for t in self.torrents.values()],
                'peers': [p.report() for p in self.peers],
                'announce_errors': self.announcer.errors}

    # What the control socket may ask ----------------------------------
    def do_leave(self, req):
        """Close and stop listening; trackers are told unless quiet."""
        for p in self.chosen(req):
            p.leave()
        if not req.get('quiet'):
            self.announce([p for p in self.chosen(req) if p.announced], 'stopped')

    def do_join(self, req):
        for p in self.chosen(req):
            p.listen()
        self.announce([p for p in self.chosen(req) if p.announced])

    def do_have(self, req):
        """Raise the progress, and say so with HAVE messages."""
        for p in self.chosen(req):
            before = {t: p.have(t) for t in self.torrents.values()}
            p.progress = float(req['progress'])
            for conn in list(p.conns):
                if conn.shaken:
                    conn.send_haves(before[conn.torrent], p.have(conn.torrent))

    def do_dial(self, req):
        torrent = self.torrents[bytes.fromhex(req['infohash'])]
        for p in self.chosen(req):
            p.dial(req['to'], torrent)

    def do_pex(self, req):
        for p in self.chosen(req):
            p.tell = [tuple(e) for e in req.get('tell', p.tell)]
            for conn in p.conns:
                conn.send_pex()

    def do_announces(self, _req):
        return {'idle': self.announcer.idle(), 'done': self.announcer.done,
                'errors': self.announcer.errors}


def parse(argv):
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--peers', type=int, default=20, metavar='N')
    p.add_argument('--base', default='127.1.0.1', help='address of the first peer')
    p.add_argument('--port', type=int, default=6881)
    p.add_argument('--delay-ms', type=int, default=0, help='before each handshake')
    p.add_argument('--seeds-fraction', type=float, default=0.5, metavar='F')
    p.add_argument('--dead', type=int, default=0, metavar='K', help='announced, not there')
    p.add_argument('--pex', type=int, default=0, metavar='K', help='peers told by PEX')
    p.add_argument('--spec', help='JSON list of groups, instead of --peers; @FILE reads one')
    p.add_argument('--infohash', action='append', default=[], metavar='HEX',
                   help='be in this swarm, without its metadata; repeatable')
    p.add_argument('--torrent', action='append', default=[], metavar='FILE',
                   help='be in the swarm of this .torrent; repeatable')
    p.add_argument('--v2', action='store_true', help='under the v2 hash of --torrent')
    p.add_argument('--make-torrent', action='append', default=[], metavar='NAME',
                   help='make up a torrent and its metadata; repeatable')
    p.add_argument('--any', action='store_true', help='be in every swarm that is asked for')
    p.add_argument('--pieces', type=int, default=100)
    p.add_argument('--tracker', action='append', default=[], metavar='URL')
    p.add_argument('--control', metavar='PATH', help='unix socket for commands')
    p.add_argument('--write-torrents', metavar='DIR', help='.torrent files, by infohash')
    return p.parse_args(argv)


def groups(args):
    if args.spec:
        return read_spec(args.spec)
    seeds = round((args.peers - args.dead) * args.seeds_fraction)
    leeches = args.peers - args.dead - seeds
    return [{'count': seeds, 'progress': 100}, {'count': leeches, 'progress': 'mixed'},
            {'count': args.dead, 'behaviour': 'dead'}]


def torrents(args):
    out = [wire.Torrent(bytes.fromhex(h), args.pieces) for h in args.infohash]
    for path in args.torrent:
        with open(path, 'rb') as f:
            out.append(wire.read_torrent(f.read(), args.v2))
    out += [wire.make_torrent(name, args.pieces) for name in args.make_torrent]
    if not out:
        out = [wire.make_torrent('scripted', args.pieces)]
    if args.write_torrents:
        for t in out:
            if t.info is not None:
                path = os.path.join(args.write_torrents, t.infohash.hex() + '.torrent')
                with open(path, 'wb') as f:
                    f.write(t.file(args.tracker))
    return out


def main(argv):
    args = parse(argv)
    exit_on_signals()
    want_fds(16384)
    swarm = Swarm(torrents(args), groups(args), args.base, args.port, args.delay_ms,
                  args.pex, args.tracker, args.any)
    if args.control:
        Control(swarm.loop, args.control, swarm.control)
    swarm.announce([p for p in swarm.peers if p.announced and (p.listener
                    or p.behaviour == 'dead')])
    swarm.loop.run_until(swarm.announcer.idle)
    say_ready({'ready': True, **swarm.report(), 'control': args.control})
    swarm.loop.run()


if __name__ == '__main__':
    main(sys.argv[1:])

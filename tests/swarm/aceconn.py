"""One connection of a scripted AceStream peer: what it answers, and the record of what came.
What the peer has to tell comes from aceswarm.Peer."""
import hashlib
import random
import socket
import struct
import time

import acewire
import wire
from endpoint import Link

MAX_SEEN = 128                  # bytes of what came that are kept; all are counted
MAX_READS = 8
FLOOD_BYTES = 1 << 24


class Conn(Link):
    """One connection of a peer, in either direction, and the record of it."""

    def __init__(self, peer, sock, their, dials=None):
        self.dials, self.answered, self.their_address = dials, False, their[0]
        self.began = time.monotonic()
        self.record = {
            'peer': peer.index, 'from': [their[0], their[1]], 'at': self.began,
            'dialled': dials is not None, 'kind': None, 'key': None, 'peer_id': None,
            'bytes_in': 0, 'bytes_out': 0, 'extra': 0, 'reads': [], 'seen': '',
            'ended': None, 'lasted_s': None}
        peer.swarm.note(self.record)
        super().__init__(peer, sock, dials is not None)

    def closed(self, how):
        self.record['ended'] = how
        self.record['lasted_s'] = time.monotonic() - self.began

    def fin(self):
        if self.sock is not None:
            self.sock.shutdown(socket.SHUT_WR)

    # What goes out ----------------------------------------------------------
    def greet(self):
        self.greeted = True
        self.send(acewire.handshake(self.dials, b''))

    def sent(self, n):
        super().sent(n)
        self.record['bytes_out'] += n

    def play(self, steps):
        """[(seconds to wait, bytes or a call), ...], while the connection lasts."""
        for i, (wait_s, what) in enumerate(steps):
            if self.sock is None:
                return
            if wait_s > 0:
                self.loop.later(wait_s, lambda rest=steps[i + 1:], w=what: self.play(
                    [(0, w)] + rest))
                return
            if callable(what):
                what()
            else:
                self.send(what)

    # What comes in ------------------------------------------------------------
    def took(self, data):
        self._write_down(data)
        behaviour = self.peer.group.behaviour
        if self.dials:
            self._their_answer()
        elif behaviour == 'silent':
            self._classify()
        elif not self.answered:
            self._their_handshake()
        if behaviour == 'strict' and self.record['extra'] and self.sock is not None:
            self.peer.count['strict_failed'] += 1
            self.close()

    def _write_down(self, data):
        """All is counted; the first bytes are kept, and the sizes of the first reads."""
        r = self.record
        r['bytes_in'] += len(data)
        if len(r['reads']) < MAX_READS:
            r['reads'].append(len(data))
        self.held += data[:MAX_SEEN - len(self.held)] if len(self.held) < MAX_SEEN else b''
        r['seen'] = self.held.hex()
        if len(self.held) >= acewire.HANDSHAKE and self.held.startswith(acewire.PSTR):
            r['peer_id'] = self.held[acewire.PEER_ID_AT:acewire.HANDSHAKE].decode('latin-1')
        if r['kind'] != 'bittorrent' and not self.dials:
            extra = max(0, r['bytes_in'] - acewire.HANDSHAKE) - r['extra']
            r['extra'] += extra
            self.peer.count['extra'] += extra

    def _classify(self):
        """Which protocol these bytes begin, None while that is open."""
        for kind, pstr in ('acestream', acewire.PSTR), ('bittorrent', wire.PSTR):
            if self.held[:len(pstr)] == pstr[:len(self.held)]:
                if len(self.held) < len(pstr):
                    return None
                break
        else:
            kind = 'other'
        if self.record['kind'] is None:
            self.record['kind'] = kind
            if kind in self.peer.count:
                self.peer.count[kind] += 1
            if kind == 'bittorrent':
                self.peer.count['extra'] -= self.record['extra']
                self.record['extra'] = 0
        return kind

    def _their_handshake(self):
        kind, behaviour = self._classify(), self.peer.group.behaviour
        if kind is None:
            return
        if kind == 'acestream' and behaviour != 'bittorrent':
            self._acestream()
        elif kind == 'bittorrent' and behaviour in ('bittorrent', 'both'):
            self._bittorrent()
        else:
            self.close()

    def _acestream(self):
        """It is answered as soon as the key is there; the peer id may come later."""
        if len(self.held) < acewire.PEER_ID_AT:
            return
        key = bytes(self.held[acewire.KEY_AT:acewire.PEER_ID_AT])
        self.answered, self.record['key'] = True, key.hex()
        if not self.peer.knows(key):
            self.peer.count['unknown_key'] += 1
            self.close()
            return
        self.peer.count['handshakes'] += 1
        self.play([(self.peer.delay_s, lambda: self.play(self.answer(key)))])

    def _bittorrent(self):
        if len(self.held) < wire.HANDSHAKE:
            return
        key = bytes(self.held[28:48])
        self.answered, self.record['key'] = True, key.hex()
        if not self.peer.knows(key):
            self.peer.count['unknown_key'] += 1
            self.close()
            return
        hello = wire.handshake(key, self.other_id()) + wire.ext(0, wire.benc(
            {'m': {}, 'v': f'Scripted both #{self.peer.index}', 'p': self.peer.port}))
        self.play([(self.peer.delay_s, hello)])

    def other_id(self):
        """Its peer id in the other protocol."""
        return b'-SC0100-' + hashlib.sha1(self.peer.peer_id).hexdigest()[:12].encode()

    def _their_answer(self):
        """To our call."""
        if not self.answered and self.record['bytes_in'] >= acewire.HANDSHAKE:
            self.answered = True
            self._classify()
            self.send(self.peer.peer_id + self.peer.extended(self.their_address))

    # How each behaviour goes on -------------------------------------------------
    def answer(self, key):
        peer, how = self.peer, self.peer.group.behaviour
        hello = acewire.handshake(key, peer.peer_id)
        if how == 'garbage':
            return [(0, random.Random(peer.index).randbytes(4096))]
        if how == 'wrong_key':
            hello = acewire.handshake(bytes(b ^ 0xff for b in key), peer.peer_id)
        elif how == 'bittorrent_reply':
            return [(0, wire.handshake(key, self.other_id()))]
        elif how == 'half_reply':
            return [(0, hello[:40]), (0, self.fin)]
        return [(0, hello)] + self.after(how)

    def after(self, how):
        """What follows the 66 bytes."""
        peer = self.peer
        if how in ('mute', 'fin'):
            return [(0, self.fin)] if how == 'fin' else []
        if how == 'huge_length':
            return [(0, b'\xff' * 4 + b'\x14\x00' + bytes(4096))]
        ext = peer.extended(self.their_address)
        if how in ('trickle', 'drip'):
            gap = 0.001 if how == 'trickle' else 1
            steps = [(gap, ext[i:i + 1]) for i in range(len(ext))]
        elif how in ('gossip_first', 'gossip_lies'):
            frame = peer.gossip()
            steps = [(0, frame), (0, ext)] if how == 'gossip_first' else [(0, ext), (0, frame)]
        else:
            steps = [(0, ext)]
        if how == 'content':
            piece = struct.pack('>IIH', 0, peer.head(), 0) + bytes(16384)
            return steps + [(0, wire.msg(acewire.CONTENT, piece))]
        steps.append((peer.group.after_ms / 1000, lambda: self.send(peer.messages())))
        if how == 'flood':
            steps.append((0, lambda: self._flood(acewire.refresh(1, 2, 100) * 100)))
        return steps

    def _flood(self, some):
        if self.sock is not None and self.record['bytes_out'] < FLOOD_BYTES:
            if len(self.out) < len(some):
                self.send(some)
            self.loop.later(0.001, lambda: self._flood(some))

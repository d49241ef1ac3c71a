#!/usr/bin/python3
"""Many scripted AceStream peers in one thread, each on an address of its own in 127/8.

They answer 66 bytes with 66, send their signed extended handshake at once, and a window
of pieces after it: or do what a hostile, old or confused one does. They want nothing, have
no content, and write down every byte that comes. See tests/swarm/README.md.
"""
import argparse
import hashlib
import math
import socket
import struct
import sys
import time
from types import SimpleNamespace

import acewire
import wire
from aceconn import Conn
from endpoint import Company, Resident, endpoint, read_spec
from loop import Control, accept_all, exit_on_signals, say_ready, want_fds

# What a peer of each behaviour gives to somebody who calls and says the 66 bytes:
# 'named' (all that it has), 'shaken' (its 66 bytes and nothing good after them), 'nothing'.
GIVES = {
    'normal': 'named',
    'trickle': 'named',             # its extended handshake comes byte by byte
    'gossip_first': 'named',        # message 12 before the extended handshake
    'gossip_lies': 'named',         # message 12 claims 500 records and has one
    'bad_signature': 'named',       # one bit of it is flipped
    'strict': 'named',              # hangs up on a byte too many, and says so
    'content': 'named',             # sends a piece, unasked
    'flood': 'named',               # never stops sending
    'fin': 'shaken',                # closes after its 66 bytes
    'mute': 'shaken',               # says nothing after its 66 bytes
    'drip': 'shaken',               # its extended handshake takes ten minutes
    'huge_length': 'shaken',        # a frame of 4 GiB
    **{'bencode_' + s: 'shaken' for s in acewire.SPELLINGS},
    'silent': 'nothing',            # accepts and never says a byte
    'close': 'nothing',             # accepts and closes at once
    'reset': 'nothing',             # the same by RST
    'garbage': 'nothing',           # answers with random bytes
    'half_reply': 'nothing',        # 40 of the 66 bytes, then the end
    'unknown_key': 'nothing',       # hangs up on every key
    'wrong_key': 'nothing',         # shakes hands for another key
    'bittorrent_reply': 'nothing',  # answers in the other protocol
    'bittorrent': 'nothing',        # speaks BitTorrent alone, hangs up on all else
    'both': 'named',                # answers each in its protocol
    'dead': 'nothing',              # nobody listens: connections are refused
    'full': 'nothing',              # its queue is full: a SYN gets no answer
}
GROUP = {
    'count': 1, 'behaviour': 'normal', 'role': 'live', 'address': None, 'port': None,
    'absent': False, 'delay_ms': None, 'after_ms': 0, 'keys': None,
    'node': None, 'node_seed': None, 'peer_id': None, 'listen_port': None,
    'version': 3021100, 'platform': 2, 'asn': 64500, 'country': 'ZZ', 'asn_country': None,
    'ts': 1000, 'metadata_size': None, 'accessible': None,
    'min': None, 'max': 5063, 'position': None, 'lsp': None, 'lag': 3, 'window': None,
    'rate': 0.0, 'step': 0, 'fill': 100, 'distance': None,
    'down_rate': None, 'up_rate': None,
    'pieces': 100, 'progress': 100,
    'sends': ['bitfield', 'gossip', 'source'], 'tell': [], 'gossip': 0, 'source': None,
    'extra': {}, 'omit': [],
}
LISTS = {'keys', 'sends', 'tell', 'source', 'omit'}     # a list in others: one for each peer
ROLES = ('live', 'idle', 'source', 'vod')
HELD = 64                       # pieces of a window, unless it is told otherwise
MAX_RECORDS = 100000
# The figures of a viewer, of a peer that does nothing, and of the source.
VIEWER = {'window': 100, 'distance': 1, 'down_rate': 412000, 'up_rate': 30000, 'time': 1500,
          'ping': 40, 'top_up': 120000, 'top_session_up': 90000, 'rating': 2, 'accessible': 1}
NONE = {'window': 774, 'distance': -1, 'down_rate': 0, 'up_rate': 0, 'time': -1, 'ping': -1,
        'top_up': 0, 'top_session_up': 0, 'rating': 0, 'accessible': 0}
FIGURES = {'live': VIEWER, 'idle': NONE,
           'source': {**NONE, 'window': 115, 'time': 0, 'ping': 0, 'accessible': 1},
           'vod': {**VIEWER, 'window': -1, 'distance': -1, 'time': -1, 'ping': -1}}


def checked(given):
    """A group's keys, or those of a `set`."""
    unknown = set(given) - set(GROUP)
    if unknown:
        raise ValueError(f'unknown keys in a group: {sorted(unknown)}')
    if given.get('behaviour', 'normal') not in GIVES:
        raise ValueError(f'no such behaviour: {given["behaviour"]}')
    if given.get('role', 'live') not in ROLES:
        raise ValueError(f'no such role: {given["role"]}')
    if not set(given.get('sends', ())) <= set(Peer.MESSAGES):
        raise ValueError(f'no such message in {given["sends"]}')
    check_told(given)
    return given


def check_told(given):
    """Whom it tells of: `tell`, `gossip`, `source`."""
    tell, gossip = given.get('tell', []), given.get('gossip', 0)
    if not isinstance(tell, list):
        raise ValueError(f'tell is no list: {tell!r}')
    for one in tell:
        is_object = isinstance(one, dict)
        endpoint([one.get('address'), one.get('port')] if is_object else one, (4,))
        if is_object:
            try:
                acewire.record(one)
            except (struct.error, AttributeError, TypeError) as e:
                raise ValueError(f'{one!r}: {e}') from None
    for n in gossip if isinstance(gossip, list) else [gossip]:
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise ValueError(f'gossip is no number of peers: {gossip!r}')
    if given.get('source') is not None:
        endpoint(given['source'], (4,))


class Peer(Resident):
    """One address."""

    def __init__(self, swarm, index, address, port, group):
        super().__init__(swarm, index, address, port)
        self.since, self.met = time.monotonic(), 1      # heads move on from here
        self.count = dict.fromkeys(
            ('connections', 'handshakes', 'dialled', 'bittorrent', 'other', 'unknown_key',
             'extra', 'strict_failed', 'bytes_in', 'bytes_out'), 0)
        self._take({**GROUP, **group})

    def _take(self, group):
        self.group = SimpleNamespace(**{k: v[self.index % len(v)]
                                        if isinstance(v, list) and k not in LISTS else v
                                        for k, v in group.items()})
        g = self.group
        seed = g.node_seed or hashlib.sha256(
            f'{self.swarm.seed} {g.node or self.index}'.encode()).hexdigest()
        self.identity = acewire.Identity(bytes.fromhex(seed))
        self.peer_id = (g.peer_id.encode() if g.peer_id else
                        acewire.peer_id(f'{self.address}:{self.port}'))
        self.delay_s = (self.swarm.delay_ms if g.delay_ms is None else g.delay_ms) / 1000

    def set(self, given):
        """Be as told from now on; a head that moved goes on from where it is."""
        g, now = self.group, self.head()
        moved = {k: getattr(g, k) + now - g.max for k in ('min', 'max', 'lsp')
                 if getattr(g, k) is not None}
        self.since, self.met = time.monotonic(), max(1, self.count['handshakes'])
        self._take({**vars(g), **moved, **given})

    def head(self):
        g, again = self.group, max(0, self.count['handshakes'] - self.met)
        return g.max + math.floor(g.rate * (time.monotonic() - self.since)) + g.step * again

    def moment(self):
        """What it is now, in full."""
        g = self.group
        m = SimpleNamespace(**FIGURES[g.role], **{k: getattr(g, k) for k in (
            'version', 'platform', 'asn', 'country', 'asn_country', 'ts', 'metadata_size')})
        for k in ('window', 'distance', 'down_rate', 'up_rate', 'accessible'):
            if getattr(g, k) is not None:
                setattr(m, k, getattr(g, k))
        m.asn_country = m.country if m.asn_country is None else m.asn_country
        m.port = self.port if g.listen_port is None else g.listen_port
        m.node_state = 1 if g.role == 'source' else None
        if g.role in ('idle', 'vod'):
            m.min = m.max = m.position = m.lsp = -1
            return m
        m.max = self.head()
        m.min = m.max - HELD + 1 if g.min is None else g.min + m.max - g.max
        lag = 0 if g.role == 'source' else g.lag
        m.position = m.max - lag if g.position is None else g.position
        m.lsp = m.max if g.lsp is None else g.lsp + m.max - g.max
        return m

    # On the wire ----------------------------------------------------------
    def extended(self, their_address):
        """The frame of the extended handshake."""
        g = self.group
        d = {**acewire.extended(self.moment(), self.identity.node_id, their_address),
             **g.extra}
        d['mi'] = {k: v for k, v in d['mi'].items() if k not in g.omit}
        d = {k: v for k, v in d.items() if k not in g.omit}
        spell = acewire.SPELLINGS.get(g.behaviour.removeprefix('bencode_'), wire.benc)
        raw = spell(d)
        if 'signature' in d:
            raw = self.identity.sign(raw)
        if g.behaviour == 'bad_signature':
            at = raw.index(acewire.NO_SIGNATURE[:-64]) + len(acewire.NO_SIGNATURE) - 1
            raw = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1:]
        return acewire.extended_frame(raw)

    def _bitfield(self, m):
        if self.group.role == 'vod':
            pieces = self.group.pieces
            return acewire.vod_bitfield(pieces, round(self.group.progress * pieces / 100))
        if m.max < 0:
            return b''
        n = m.max - m.min + 1
        return acewire.live_bitfield(m.min, n, round(self.group.fill * n / 100))

    def gossip(self, _m=None):
        told = [r if isinstance(r, dict) else {'address': r[0], 'port': r[1]}
                for r in self.group.tell]
        told += [p.as_neighbour() for p in self.swarm.after(self.index, self.group.gossip)]
        records = [acewire.record(r) for r in told]
        if self.group.behaviour == 'gossip_lies':
            return acewire.gossip(records[:1] or [acewire.record(self.as_neighbour())], 500)
        return acewire.gossip(records) if records else b''

    def _source(self, _m):
        return acewire.source(*self.group.source) if self.group.source else b''

    # HAVE, trailing edge and refresh tell of a window that has moved on by one piece.
    MESSAGES = {
        'bitfield': _bitfield, 'gossip': gossip, 'source': _source,
        'have': lambda self, m: acewire.have(m.max + 1),
        'trailing': lambda self, m: acewire.trailing(m.min + 1),
        'refresh': lambda self, m: acewire.refresh(m.min + 1, m.max + 1, m.window),
        'alive': lambda self, m: wire.msg(acewire.ALIVE),
        'empty': lambda self, m: bytes(4),
    }

    def messages(self):
        m, sends = self.moment(), self.group.sends
        if self.group.behaviour in ('gossip_first', 'gossip_lies'):
            sends = [s for s in sends if s != 'gossip']
        return b''.join(self.MESSAGES[s](self, m) for s in sends)

    def as_neighbour(self):
        """What others tell of it in message 12."""
        m = self.moment()
        known = {k: getattr(m, k) for k in ('min', 'max', 'position') if m.max >= 0}
        asn = {} if m.asn is None else {'asn': m.asn, 'asn_country': m.asn_country or '--'}
        return {'address': self.address, 'port': self.port, 'reachable': m.accessible, **asn,
                'peer_id': self.peer_id.decode(), 'platform': m.platform or 0,
                'version': m.version or 0, 'country': m.country or '--', **known}

    # Life -------------------------------------------------------------------
    def listen(self):
        if self.group.behaviour != 'dead':
            self.open(self._accept, full=self.group.behaviour == 'full')

    def _accept(self, _events):
        for sock, source in accept_all(self.listener):
            self.count['connections'] += 1
            conn = Conn(self, sock, source)
            if self.group.behaviour == 'reset':
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            if self.group.behaviour in ('close', 'reset'):
                conn.close()

    def dial(self, to, key):
        """As an engine does: 46 bytes, the other 20 after the answer, then the rest."""
        self.count['dialled'] += 1
        Conn(self, self.call(to), to, dials=key)

    def knows(self, key):
        g = self.group
        return g.behaviour != 'unknown_key' and key in [
            k for i, k in enumerate(self.swarm.keys) if g.keys is None or i in g.keys]

    def progress(self):
        g, m = self.group, self.moment()
        if 'bitfield' in g.sends:
            n = g.pieces if g.role == 'vod' else m.max - m.min + 1
            share = g.progress if g.role == 'vod' else g.fill
            return None if m.max < 0 and g.role != 'vod' else 100 * round(share * n / 100) / n
        return min(100.0, 100 * (m.max - m.min + 1) / m.window) if m.max >= 0 else None

    def report(self):
        g, m = self.group, self.moment()
        return {'index': self.index, 'address': self.address, 'port': self.port,
                'behaviour': g.behaviour, 'gives': GIVES[g.behaviour], 'role': g.role,
                'client': 'Ace Stream ' + acewire.version_text(m.version)
                          + (' (Linux)' if m.platform == 2 else ''),
                'node': g.node, 'node_id': self.identity.node_id.hex(),
                'peer_id': self.peer_id.decode(), 'keys': g.keys, 'progress': self.progress(),
                'listens': self.listener is not None,
                **{k: getattr(m, k) for k in (
                    'version', 'platform', 'asn', 'country', 'asn_country', 'min', 'max',
                    'position', 'lsp', 'distance', 'down_rate', 'up_rate', 'window',
                    'accessible')}}


class AceSwarm(Company):
    def __init__(self, keys, spec, base='127.1.0.1', port=8621, delay_ms=0, seed='ace'):
        super().__init__()
        self.keys, self.seed, self.delay_ms = list(keys), seed, delay_ms
        self.records, self.not_recorded = [], 0
        self.settle(lambda *where: Peer(self, *where[:3], checked(where[3])), spec, base,
                    port, GROUP)

    def note(self, record):
        if len(self.records) < MAX_RECORDS:
            self.records.append(record)
        else:
            self.not_recorded += 1

    def after(self, index, n):
        """The n peers after this one."""
        others = [self.peers[(index + k) % len(self.peers)]
                  for k in range(1, len(self.peers))]
        return others[:n]

    def report(self):
        return {'keys': [k.hex() for k in self.keys],
                'peers': [p.report() for p in self.peers]}

    # What the control socket may ask ------------------------------------------
    def do_totals(self, req):
        return {**super().do_totals(req), 'not_recorded': self.not_recorded}

    def do_log(self, req):
        """The records of all connections, the oldest first."""
        which = {p.index for p in self.chosen(req)}
        return [r for r in self.records if r['peer'] in which]

    def do_forget(self, _req):
        """Counters and records begin anew; open connections are in none of the records."""
        self.records.clear()
        for p in self.peers:
            p.set({})
            p.count = dict.fromkeys(p.count, 0)
            p.met = 1

    def do_leave(self, req):
        for p in self.chosen(req):
            p.leave()

    def do_join(self, req):
        for p in self.chosen(req):
            p.listen()

    def do_set(self, req):
        """Other keys of the group for these peers; whoever becomes dead or full, or is
        no longer, leaves and joins."""
        given = checked({k: v for k, v in req.items() if k not in ('cmd', 'peers')})
        for p in self.chosen(req):
            was = p.group.behaviour
            p.set(given)
            if was != p.group.behaviour and {was, p.group.behaviour} & {'dead', 'full'}:
                p.hush()
                p.listen()

    def do_dial(self, req):
        key = bytes.fromhex(req['key']) if 'key' in req else self.keys[0]
        for p in self.chosen(req):
            p.dial(req['to'], key)


def parse(argv):
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--peers', type=int, default=20, metavar='N')
    p.add_argument('--spec', help='JSON list of groups, instead of --peers; @FILE reads one')
    p.add_argument('--base', default='127.1.0.1', help='address of the first peer')
    p.add_argument('--port', type=int, default=8621)
    p.add_argument('--delay-ms', type=int, default=0, help='before each handshake')
    p.add_argument('--seed', default='ace', help='where the identities come from')
    p.add_argument('--key', action='append', default=[], metavar='HEX',
                   help='content id or infohash of the swarm; repeatable')
    p.add_argument('--control', metavar='PATH', help='unix socket for commands')
    return p.parse_args(argv)


def groups(args):
    return read_spec(args.spec) if args.spec else [{'count': args.peers}]


def main(argv):
    args = parse(argv)
    exit_on_signals()
    want_fds(16384)
    keys = [bytes.fromhex(k) for k in args.key] or [hashlib.sha1(b'scripted').digest()]
    swarm = AceSwarm(keys, groups(args), args.base, args.port, args.delay_ms, args.seed)
    if args.control:
        Control(swarm.loop, args.control, swarm.control)
    say_ready({'ready': True, **swarm.report(), 'control': args.control})
    swarm.loop.run()


if __name__ == '__main__':
    main(sys.argv[1:])

"""BitTorrent on the wire: bencode (BEP 3), messages, compact addresses, torrents."""
import hashlib
import random
import socket
import struct

PSTR = b'\x13BitTorrent protocol'
HANDSHAKE = 68

CHOKE, UNCHOKE, INTERESTED, NOT_INTERESTED, HAVE, BITFIELD, REQUEST, PIECE = range(8)
HAVE_ALL, HAVE_NONE = 14, 15        # BEP 6
EXTENDED = 20                       # BEP 10
UT_PEX, UT_METADATA = 1, 3          # the numbers that we tell others to use
MD_REQUEST, MD_DATA, MD_REJECT = range(3)
MD_PIECE = 16384


def benc(x):
    if isinstance(x, bool):
        raise TypeError('bencode has no booleans')
    if isinstance(x, int):
        return b'i%de' % x
    if isinstance(x, str):
        x = x.encode()
    if isinstance(x, (bytes, bytearray)):
        return b'%d:' % len(x) + bytes(x)
    if isinstance(x, (list, tuple)):
        return b'l' + b''.join(benc(i) for i in x) + b'e'
    if isinstance(x, dict):
        keys = {(k.encode() if isinstance(k, str) else k): v for k, v in x.items()}
        return b'd' + b''.join(benc(k) + benc(keys[k]) for k in sorted(keys)) + b'e'
    raise TypeError(type(x))


def bdec_from(b, i=0):
    """(value, index after it). Dictionary keys are bytes."""
    c = b[i:i + 1]
    if c == b'i':
        end = b.index(b'e', i)
        return int(b[i + 1:end]), end + 1
    if c in (b'l', b'd'):
        items, i = [], i + 1
        while b[i:i + 1] != b'e':
            v, i = bdec_from(b, i)
            items.append(v)
        if c == b'l':
            return items, i + 1
        return dict(zip(items[::2], items[1::2])), i + 1
    colon = b.index(b':', i)
    n = int(b[i:colon])
    if n < 0 or colon + 1 + n > len(b):
        raise ValueError('string longer than its buffer')
    return b[colon + 1:colon + 1 + n], colon + 1 + n


def bdec(b):
    return bdec_from(b)[0]


def msg(kind, payload=b''):
    return struct.pack('>IB', 1 + len(payload), kind) + payload


def ext(number, payload):
    return msg(EXTENDED, bytes([number]) + payload)


def handshake(infohash, peer_id, extended=True, fast=False):
    reserved = bytearray(8)
    if extended:
        reserved[5] |= 0x10
    if fast:
        reserved[7] |= 0x04
    return PSTR + bytes(reserved) + infohash + peer_id


def bitfield(which, pieces):
    """The bits of these pieces are set."""
    out = bytearray((pieces + 7) // 8)
    for i in which:
        out[i // 8] |= 0x80 >> i % 8
    return bytes(out)


def compact(endpoints):
    return b''.join(socket.inet_aton(a) + struct.pack('>H', p) for a, p in endpoints)


def compact6(endpoints):
    return b''.join(socket.inet_pton(socket.AF_INET6, a) + struct.pack('>H', p)
                    for a, p in endpoints)


def uncompact(data):
    return [[socket.inet_ntoa(data[i:i + 4]), struct.unpack('>H', data[i + 4:i + 6])[0]]
            for i in range(0, len(data) - 5, 6)]


class Torrent:
    """infohash, and the info dictionary unless only the hash is known."""

    def __init__(self, infohash, pieces, info=None, name='', piece_length=16384):
        self.infohash, self.pieces, self.info = infohash, pieces, info
        self.name, self.piece_length = name, piece_length

    def file(self, trackers=(), **beside):
        """The bytes of a .torrent; beside: more keys, all before "info"."""
        head = {'created by': 'scripted swarm', **beside}
        if trackers:
            head['announce'] = trackers[0]
            head['announce-list'] = [[t] for t in trackers]
        body = benc(head)
        return body[:-1] + b'4:info' + self.info + b'e'

    def report(self):
        return {'infohash': self.infohash.hex(), 'name': self.name,
                'pieces': self.pieces, 'piece_length': self.piece_length,
                'has_metadata': self.info is not None}


def make_torrent(name, pieces=100, piece_length=16384, data=None, seed=0, files=None):
    """Of real data; or of none, with hashes that nobody will ever check. files: in this
    order, path and length of each, of a directory with that name."""
    if data is not None:
        chunks = range(0, len(data), piece_length)
        hashes = b''.join(hashlib.sha1(data[i:i + piece_length]).digest() for i in chunks)
        length, pieces = len(data), len(chunks)
    else:
        hashes = random.Random(f'{seed}:{name}').randbytes(20 * pieces)
        length = pieces * piece_length
    what = {'length': length} if files is None else {
        'files': [{'length': n, 'path': path.split('/')} for path, n in files]}
    info = benc({'name': name, 'piece length': piece_length, 'pieces': hashes, **what})
    return Torrent(hashlib.sha1(info).digest(), pieces, info, name, piece_length)


def make_bep52(name, pieces=100, piece_length=16384, hybrid=True):
    """The info dictionary of a v2 torrent, or of a hybrid one (BEP 52); of no data."""
    rng, length = random.Random(name), pieces * piece_length
    tree = {name: {'': {'length': length, 'pieces root': rng.randbytes(32)}}}
    d = {'name': name, 'piece length': piece_length, 'meta version': 2, 'file tree': tree}
    if hybrid:
        d.update({'length': length, 'pieces': rng.randbytes(20 * pieces)})
    return benc(d)


def read_torrent(data, v2=False):
    """Of a .torrent file: bencode has one spelling, so its info comes out as it was. v2:
    it is spoken of under the v2 hash, cut to 20 bytes."""
    d = bdec(data)[b'info']
    info = benc(d)
    if info not in data:
        raise ValueError('its info dictionary is not in canonical form')
    infohash = hashlib.sha256(info).digest()[:20] if v2 else hashlib.sha1(info).digest()
    if b'pieces' in d:
        pieces = len(d[b'pieces']) // 20
    else:
        leaf = d[b'file tree'][d[b'name']][b'']
        pieces = -(-leaf[b'length'] // d[b'piece length'])
    return Torrent(infohash, pieces, info, d[b'name'].decode(), d[b'piece length'])

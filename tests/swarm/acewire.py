"""AceStream's peer wire: handshake, signed extended handshake, and the frames that come
after it. Source: the project's contract of that wire; `moment` is what a peer is at one
moment, by the names that aceswarm.py gives."""
import hashlib
import socket
import struct

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (Ed25519PrivateKey,
                                                               Ed25519PublicKey)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wire import benc, bitfield, ext, msg

PSTR = b'\x11AceStreamProtocol'
HANDSHAKE, KEY_AT, PEER_ID_AT = 66, 26, 46
HAVE, BITFIELD, REQUEST, CONTENT, TRAILING, REFRESH, GOSSIP, ALIVE = 4, 5, 6, 7, 10, 11, 12, 13
SOURCE = 36
NO_SIGNATURE = b'9:signature64:' + bytes(64)
RECORD = 108
ALL_ONES = (1 << 64) - 1
ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.-'


def handshake(key, peer_id):
    return PSTR + bytes(8) + key + peer_id


def peer_id(of):
    """A session's: the same for the same words."""
    digest = hashlib.sha256(of.encode()).digest()
    return ('R30------' + ''.join(ALPHABET[b & 63] for b in digest[:11])).encode()


def version_text(number):
    return f'{number // 1000000}.{number // 10000 % 100}.{number // 100 % 100}'


# Identity -----------------------------------------------------------------
class Identity:
    """A node: 32 bytes from which its key pair comes."""

    def __init__(self, seed):
        self.key = Ed25519PrivateKey.from_private_bytes(seed)
        self.node_id = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, raw):
        """A dictionary's bytes with 64 zeros for the signature -> with the signature."""
        if raw.count(NO_SIGNATURE) != 1:
            raise ValueError('there must be one place for the signature')
        signature = self.key.sign(hashlib.sha256(raw).digest())
        return raw.replace(NO_SIGNATURE, NO_SIGNATURE[:-64] + signature)


def verified(raw, node_id, signature):
    """Whether this node signed these bytes."""
    digest = hashlib.sha256(raw.replace(b'64:' + signature, b'64:' + bytes(64))).digest()
    try:
        Ed25519PublicKey.from_public_bytes(node_id).verify(signature, digest)
    except InvalidSignature:
        return False
    return True


# The extended handshake -------------------------------------------------------
def mi(moment):
    return {'min_piece': moment.min, 'max_piece': moment.max, 'position': moment.position,
            'lsp': moment.lsp, 'download_window_end': moment.max,
            'live_window_size': moment.window, 'distance_from_source': moment.distance,
            'time_from_source': moment.time, 'ping_from_source': moment.ping,
            'down_rate': moment.down_rate, 'up_rate': moment.up_rate,
            'top_up_rate': moment.top_up, 'top_session_up_rate': moment.top_session_up,
            'upload_rating': moment.rating, 'mam': -1, 'is_accessible': moment.accessible,
            'peer_type': 0}


def extended(moment, node_id, their_address):
    """The dictionary, not signed yet. What is None is left out."""
    family = socket.AF_INET6 if ':' in their_address else socket.AF_INET
    d = {'ace_metadata_version': 1, 'asn': moment.asn, 'asn_country': moment.asn_country,
         'geoip_country': moment.country, 'lsp': moment.lsp, 'm': {'ut_metadata': 2},
         'metadata_size': moment.metadata_size, 'mi': mi(moment), 'node_id': node_id,
         'node_state': moment.node_state, 'nt': 1, 'p': moment.port,
         'platform': moment.platform, 'pv': 2, 'signature': bytes(64),
         'stream_statuses': {}, 'ts': moment.ts, 'tt': 'bt', 'v': moment.version,
         'yourip': socket.inet_pton(family, their_address)}
    return {k: v for k, v in d.items() if v is not None}


def _nested(d):
    return benc(d)[:-1] + b'2:zz' + b'l' * 20000 + b'e' * 20000 + b'e'


def _unsorted(d):
    return b'd2:vvi1e' + benc(d)[1:]


# How one may spell it that no strict reader may take. All of them are signed as they are.
SPELLINGS = {
    'nested': _nested,
    'unsorted': _unsorted,
    'duplicate': lambda d: benc(d).replace(b'1:vi', b'1:vi3999900e1:vi'),
    'huge_int': lambda d: benc(d).replace(b'2:tsi', b'2:tsi99999999999999999999'),
    'leading_zero': lambda d: benc(d).replace(b'2:nti1e', b'2:nti01e'),
    'minus_zero': lambda d: benc(d).replace(b'2:nti1e', b'2:nti-0e'),
    'long_string': lambda d: benc(d).replace(b'2:tt2:bt', b'2:tt999999999:bt'),
    'trailing': lambda d: benc(d) + b'i1e',
    'cut': lambda d: benc(d)[:-1],
    'list': lambda d: b'l' + benc(d) + b'e',
}


def extended_frame(raw):
    return ext(0, raw)


# What comes after it ------------------------------------------------------------
def live_bitfield(first, count, held):
    """The first `held` of `count` pieces from `first` on are there."""
    return msg(BITFIELD, struct.pack('>III', 0, first, count)
               + bitfield(range(held), count))


def vod_bitfield(pieces, held):
    return msg(BITFIELD, bitfield(range(held), pieces))


def have(piece):
    return msg(HAVE, struct.pack('>II', 0, piece))


def trailing(piece):
    return msg(TRAILING, struct.pack('>II', 0, piece))


def refresh(low, high, window):
    d = dict.fromkeys('abcdefghijklmnopqrst', 0)
    d.update(a=1, k=1, q=1, m=-1, t=-1, g=high + 1, h=window, i=low, j=high, r=high, s=high)
    return msg(REFRESH, benc(d))


def record(who):
    """108 bytes about one neighbour: address, port, and what is known of it."""
    def know(name, unknown):
        value = who.get(name)
        return unknown if value is None else value
    asn, country = know('asn', -1), know('country', '--').encode()
    asn_country = know('asn_country', '--' if asn == -1 else country.decode()).encode()
    low, high = know('min', ALL_ONES), know('max', ALL_ONES)
    their_id = know('peer_id', peer_id(who['address']).decode()).encode()
    out = struct.pack('>B8xH4sHBIBQQ20s', who.get('reachable', 1), 0,
                      socket.inet_aton(who['address']), who['port'], 1, 1000, 0, low, high,
                      their_id)
    out += struct.pack('>IiiQQQBIi2s2s', 0, 0, -1, high, know('position', ALL_ONES), high,
                       know('platform', 2), know('version', 3021100), asn, country,
                       asn_country)
    if len(out) != RECORD:
        raise ValueError(f'a record of {len(out)} bytes')
    return out


def gossip(records, count=None):
    """count: what the header claims, if it lies."""
    head = struct.pack('>BHII', 5, len(records) if count is None else count, 17, RECORD)
    return msg(GOSSIP, head + bytes.fromhex('deadbeef00') + b''.join(records))


def source(address, port, their_id=b'R30------SourceNode0'):
    body = struct.pack('>HHHH4sH20s', 2, 52, 63, 64, socket.inet_aton(address), port, their_id)
    return msg(SOURCE, body.ljust(80, b'\0'))

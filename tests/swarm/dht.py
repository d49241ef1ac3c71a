"""BEP 5 as its asking side: announce endpoints to nodes of a DHT, each from the address
that is announced, and ask a node whom it knows."""
import socket
import struct

import wire

TRY_S, TRIES = 0.5, 10
NODE_ID = b'scripted DHT asker..'


def query(sock, node, kind, **args):
    """The answer's dictionary 'r'; asked again while nothing comes."""
    head = {'a': {'id': NODE_ID, **args}, 'q': kind, 'ro': 1, 't': b'aa', 'y': 'q'}
    sock.settimeout(TRY_S)
    for _ in range(TRIES):
        try:
            sock.sendto(wire.benc(head), tuple(node))
            while True:
                data, source = sock.recvfrom(4096)
                d = wire.bdec(data)
                if source[:2] == tuple(node) and d.get(b'y') == b'r':
                    return d[b'r']
                if d.get(b'y') == b'e':
                    raise AssertionError(f'{node} refuses {kind}: {d}')
        except (TimeoutError, ConnectionRefusedError):
            continue
    raise AssertionError(f'DHT node {node} does not answer {kind}')


def asker(address):
    s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET,
                      socket.SOCK_DGRAM)
    s.bind((address, 0))
    return s


def announce(nodes, infohash, endpoints):
    """Every node holds every endpoint afterwards."""
    raw = bytes.fromhex(infohash)
    for address, port in endpoints:
        with asker(address) as s:
            for node in nodes:
                token = query(s, node, 'get_peers', info_hash=raw)[b'token']
                query(s, node, 'announce_peer', info_hash=raw, port=port, token=token,
                      implied_port=0)


def peers(node, infohash, address='127.0.0.1'):
    """[[address, port], ...] that this node knows."""
    with asker(address) as s:
        found = query(s, node, 'get_peers', info_hash=bytes.fromhex(infohash))
    return sorted([socket.inet_ntoa(v[:4]), struct.unpack('>H', v[4:])[0]]
                  for v in found.get(b'values', []) if len(v) == 6)


def alive(node, address='127.0.0.1'):
    """Its id."""
    with asker(address) as s:
        return query(s, node, 'ping')[b'id']

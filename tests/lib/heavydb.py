"""Databases of places, made byte by byte: one that takes long to verify, not to copy, and one
in which each address has a place of its own."""
import ipaddress
import time


def mmdb_text(text):
    return bytes([0x40 + len(text)]) + text.encode()


def mmdb_value(v):
    if isinstance(v, bytes):        # as it is
        return v
    if isinstance(v, str):
        return mmdb_text(v)
    if isinstance(v, dict):
        return bytes([0xe0 + len(v)]) + b''.join(mmdb_text(k) + mmdb_value(x)
                                                 for k, x in v.items())
    if isinstance(v, list):
        return bytes([len(v), 4]) + b''.join(mmdb_value(x) for x in v)
    kind = b'\xa2' if v < 1 << 16 else b'\xc4' if v < 1 << 30 else b'\x04\x02'  # uint16, 32, 64
    return kind + v.to_bytes(2 if v < 1 << 16 else 4, 'big')


def heavy(path, country, records=600000):
    """For half a second or more: as many records, each of them another one. No address below
    128.0.0.0 is in it."""
    record = mmdb_value({'country_code': country, 'city': 'Heavy'})
    tree = bytearray()
    for i in range(records):    # nothing on the left, a record on the right
        tree += records.to_bytes(4, 'big') + (records + 16 + i * len(record)).to_bytes(4, 'big')
    write(path, 'Heavy', tree, records, record * records)


def write(path, kind, tree, nodes, data):
    """Records of 32 bits, IPv4. By way of another name, as an updater does."""
    meta = mmdb_value({'binary_format_major_version': 2, 'binary_format_minor_version': 0,
                     'database_type': kind, 'ip_version': 4,
                     'node_count': b'\xc4' + nodes.to_bytes(4, 'big'),     # uint32, always
                     'record_size': 32, 'languages': [], 'description': {},
                     'build_epoch': int(time.time())})
    fresh = path.with_name(path.name + '.new')
    fresh.write_bytes(bytes(tree) + bytes(16) + data + b'\xab\xcd\xefMaxMind.com' + meta)
    fresh.rename(path)


def towns(path, network, name):
    """Each address of network (a.b.c.d/n) is in Germany, in a town that is called name and its
    number there."""
    net = ipaddress.ip_network(network)
    way = f'{int(net.network_address):032b}'[:net.prefixlen]
    nodes = len(way) + net.num_addresses - 1
    data, pairs = b'', []
    for i, bit in enumerate(way):
        pairs.append((i + 1, nodes) if bit == '0' else (nodes, i + 1))
    for i in range(1, net.num_addresses // 2):      # as a heap: 2 i and 2 i + 1 are below i
        pairs.append((len(way) + 2 * i - 1, len(way) + 2 * i))
    for i in range(0, net.num_addresses, 2):
        pair = []
        for k in i, i + 1:
            pair.append(nodes + 16 + len(data))
            data += mmdb_value({'country_code': 'DE', 'city': f'{name}{k}'})
        pairs.append(pair)
    assert len(pairs) == nodes
    write(path, 'Towns', b''.join(x.to_bytes(4, 'big') for pair in pairs for x in pair), nodes,
          data)

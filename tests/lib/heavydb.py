"""A database of places that takes long to verify, not to copy."""
import time


def mmdb_text(text):
    return bytes([0x40 + len(text)]) + text.encode()


def mmdb_value(v):
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
    meta = mmdb_value({'binary_format_major_version': 2, 'binary_format_minor_version': 0,
                     'database_type': 'Heavy', 'ip_version': 4, 'node_count': records,
                     'record_size': 32, 'languages': [], 'description': {},
                     'build_epoch': int(time.time())})
    path.write_bytes(bytes(tree) + bytes(16) + record * records + b'\xab\xcd\xefMaxMind.com'
                     + meta)

"""Files of the metadata cache as the collector writes them (common/metafile.h), so that
tests can put some there, whole or damaged, without a swarm."""
import hashlib
import json
import os
from urllib.parse import quote

HEAD = 153
API = '/api/v1/metadata'


def sealed(kind, key, data, other='0' * 40):
    """One file: the line of HEAD bytes, then the content."""
    line = f'peerscope-meta 1 {kind:<7} {key} {other} {len(data):012d} '.encode()
    digest = hashlib.blake2b(line + data, digest_size=16).hexdigest()
    out = line + digest.encode() + b'\n' + data
    assert len(out) == HEAD + len(data)
    return out


def path_of(root, key, kind='json'):
    return os.path.join(root, key[:2], key[2:4], f'{key}.{kind}')


def lies(root, key):
    """Which files there are of it: .json, .torrent."""
    return [os.path.exists(path_of(root, key, kind)) for kind in ('json', 'torrent')]


def put(root, key, data, kind='json', other='0' * 40, damage=None):
    """damage(bytes) -> bytes: what lies there instead. Written as the collector does."""
    path = path_of(root, key, kind)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    whole = sealed(kind, key, data, other)
    with open(path + '.new', 'wb') as f:
        f.write(damage(whole) if damage else whole)
    os.rename(path + '.new', path)
    return path


def described(key, files=2, name='name'):
    """A torrent's JSON, in the form of collector/metainfo.h."""
    listed = ','.join(f'{{"path":"{name}/file {i}.bin","size":{i},"offset":{i * 1000},'
                      f'"index":{i},"pad":false,"selected":true }}' for i in range(files))
    return (f'{{"info_hash":"{key}","name":"{name}","size":{sum(range(files))},'
            f'"files":[{listed}],"file_count":{files},"piece_length":16384,'
            f'"piece_count":1,"private":false,"magnet_uri":"magnet:?xt=urn:btih:{key}",'
            f'"verified":true}}').encode()


def selected(answer):
    return [f['index'] for f in answer['files'] if f['selected']]


def asking(magnet):
    return json.dumps({'magnet_uri': magnet})


def link(infohash, endpoints=(), *trackers):
    """A magnet link."""
    return (f'magnet:?xt=urn:btih:{infohash}' + ''.join(f'&x.pe={a}:{p}' for a, p in endpoints)
            + ''.join('&tr=' + quote(t, safe='') for t in trackers))


def post(d, magnet, query=''):
    return d.request('POST', API + query, {'Content-Type': 'application/json'},
                     asking(magnet), timeout=60)


def counters(d):
    return d.top()['counters']


def gauges(d):
    return d.top()['gauges']


def parked(d):
    """How many questions wait for the collector."""
    return sum(p['parked'] for p in d.top()['processes'] if p['role'].startswith('worker'))


def everything_below(directory):
    """All bytes of all files."""
    out = b''
    for where, _, files in os.walk(directory):
        for name in files:
            with open(os.path.join(where, name), 'rb') as f:
                out += f.read()
    return out

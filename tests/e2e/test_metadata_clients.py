"""Public clients of magnet-metadata-api against this server: their requests, byte for byte, and
their rules for answers (tests/lib/metaclients.py). What they ask for was made by the daemon
itself, from .torrent files and from a peer."""
import hashlib
import json
import threading
import time

import metaclients
import pytest
import wire
from metacache import API, link
from metaclients import Browser, GoIndexer, Refused, Script, Worker
from procs import slow

DEAD = 'de' * 20
GIB = 1 << 30


def torrent(files=None, name=b'Some.Release.2025', length=None, **beside):
    size = length if files is None else sum(f[b'length'] for f in files)
    info = {b'name': name, b'piece length': 1 << 22,
            b'pieces': bytes(range(20)) * -(-size // (1 << 22))}
    info.update({b'length': length} if files is None else {b'files': files})
    return wire.benc({'info': info, **beside}), hashlib.sha1(wire.benc(info)).hexdigest()


def files(*paths, size=5 * 10**9):
    return [{b'length': size + i, b'path': p} for i, p in enumerate(paths)]


ODD = [[b'..', b'..', b'etc', b'passwd'], [b'.', b'', b'a'], [b'a'], [b'a'], [b'/'], [b''],
       [b'a/b', b'c\\d'], [b'x\x00y\x1b[31m'], [b'\xff\xfe bad'], ['ünï ☃ 💾.mkv'.encode()],
       [b'<script>&amp;"\\'], [b'd'] * 60, [b'n' * 900 + b'.mkv'], [b'N' * 900 + b'.mkv'],
       [b'p' * 250] * 20 + [b'end.mkv'], [b'\xe2\x80\xae gpj.exe'], [b'CON'], [b' ']]
SHAPES = {
    'one file': torrent(length=5 * GIB),
    'a season': torrent(files(*[[b'S01', b'E%02d.mkv' % i] for i in range(24)])),
    'an empty file': torrent(files([b'readme'], [b'more'], size=0)),
    'odd names': torrent(files(*ODD)),
    'padded': torrent([{b'length': 100, b'path': [b'a']},
                       {b'length': 924, b'path': [b'.pad', b'924'], b'attr': b'p'},
                       {b'length': 1 << 40, b'path': [b'b']}]),
    'as many as the Worker takes': torrent(files(*[[b'%d' % i] for i in range(20000)], size=1)),
    'an old one': torrent(length=7, comment='ein Gruß', **{
        'created by': 'mktorrent 0.1', 'creation date': 1, 'announce': 'udp://a.test:1',
        'announce-list': [['udp://a.test:1'], ['http://b.test/']]}),
    'of the far future': torrent(length=7, **{'creation date': 2**62}),
}


@pytest.fixture(scope='module')
def served(module_stage, tmp_path_factory):
    from daemon import Daemon
    d = Daemon(module_stage, {'metadata.downloads': 'on', 'metadata.timeout': '2s',
                              'metadata.cache_dir': str(tmp_path_factory.mktemp('meta'))})
    d.uploaded = {}
    for shape, (data, _) in SHAPES.items():
        a = d.request('POST', API, {'Content-Type': 'application/x-bittorrent'}, data)
        assert a.status == 200, (shape, a)
        d.uploaded[shape] = a
    return d


def magnet(infohash):
    """As sites write them: & and < in it are what Go's encoder spells differently."""
    return (f'magnet:?xt=urn:btih:{infohash.upper()}&dn=A+%26+B+<1080p>&tr=udp%3A%2F%2Ft.test%3A80'
            f'&tr=http%3A%2F%2Fu.test%2Fannounce%3Fx%3D1')


@pytest.mark.parametrize('shape', SHAPES)
def test_every_client_takes_every_shape(served, shape):
    infohash = SHAPES[shape][1]
    go = GoIndexer(served).fetch(magnet(infohash))
    ts = Worker(served).fetch(magnet(infohash), infohash)
    page = Browser(served).fetch(magnet(infohash))
    size, name = Script(served).fetch(magnet(infohash))
    assert go['info_hash'] == ts['info_hash'] == page['info_hash'] == infohash
    assert go['size'] == ts['size'] == page['size'] == size
    assert go['name'] == ts['name'] == page['name'] == name
    assert go['trackers'] == ['udp://t.test:80', 'http://u.test/announce?x=1']
    assert [f['path'] for f in go['files']] == [f['path'] for f in ts['files']]
    assert go['download_url'] == f'http://localhost:8080/download/{infohash}'
    assert sum(f['size'] for f in ts['files'] if not f['pad']) == size
    assert len(ts['files']) >= 1


@pytest.mark.parametrize('shape', SHAPES)
def test_every_client_takes_what_an_upload_says(served, shape):
    """It has what stood beside the info dict, too: dates, comments."""
    body = served.uploaded[shape].body
    go = metaclients.structure(metaclients.pairs(body), metaclients.GO_ANSWER)
    Worker(served).validate(json.loads(body), SHAPES[shape][1])
    if shape == 'an old one':
        assert go['comment'] == 'ein Gruß' and go['created_by'] == 'mktorrent 0.1'
        assert go['created_at'] == '1970-01-01T00:00:01Z'
        assert go['trackers'] == ['udp://a.test:1', 'http://b.test/']
    else:
        assert go['created_at'] is None and go['comment'] == ''


def test_from_a_peer_within_the_time_that_they_have(module_stage, served):
    """The indexer gives up after ten seconds, and asks for all results of a search at once."""
    import parts
    swarm = parts.Swarm(module_stage, [{'count': 1}], torrents=8)
    peers, got = swarm.endpoints(), {}

    def ask(infohash):
        began = time.monotonic()
        got[infohash] = (GoIndexer(served).fetch(link(infohash, peers))['info_hash'],
                         time.monotonic() - began)

    threads = [threading.Thread(target=ask, args=(h,)) for h in swarm.infohashes]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert {h: got[h][0] for h in got} == {h: h for h in swarm.infohashes}
    assert max(took for _, took in got.values()) < 5 * slow()


def test_what_they_make_of_errors(served):
    with pytest.raises(Refused, match='status: 504'):
        GoIndexer(served).fetch(magnet(DEAD))
    with pytest.raises(Refused, match='Timeout') as e:
        Worker(served).fetch(magnet(DEAD), DEAD)
    assert e.value.again
    with pytest.raises(Refused, match='Invalid magnet URI') as e:
        Worker(served).fetch('magnet:?xt=urn:btih:zz', DEAD)
    assert not e.value.again
    with pytest.raises(Refused, match='failed to parse magnet URI: .'):
        Browser(served).fetch('http://example.test/')
    with pytest.raises(Refused, match='.'):
        Script(served).fetch(magnet(DEAD))


def test_these_clients_would_notice():
    """The faults of the service that this one replaces."""
    good = b'{"info_hash":"%s","name":"a","size":1,"files":[{"path":"a","size":1,"offset":0}]' \
        % DEAD.encode()

    def go(more):
        return metaclients.structure(metaclients.pairs(good + more + b'}'), metaclients.GO_ANSWER)

    def ts(data):
        return Worker(None).validate(data, DEAD)

    assert go(b',"created_at":null,"files":null')['name'] == 'a'
    for more in (b',"created_at":""', b',"created_at":0', b',"size":1.0', b',"size":"1"',
                 b',"trackers":{"a":1}', b',"files":{"a":1}', b',"Name":5', b',"size":1e3',
                 b',"created_at":"2025-13-01T00:00:00Z"', b',"size":9223372036854775808'):
        with pytest.raises(Refused):
            go(more)
    for bad in (None, [{'path': 'a', 'size': 1}] * 2, [{'path': '../a', 'size': 1}],
                [{'path': 'a//b', 'size': 1}], [{'path': '', 'size': 1}],
                [{'path': 'a/' * 32 + 'a', 'size': 1}], [{'path': 'x' * 513, 'size': 1}],
                [{'path': 'a', 'size': -1}], [{'path': 'a', 'size': 1.5}]):
        with pytest.raises(Refused):
            ts({'info_hash': DEAD, 'files': bad})
    with pytest.raises(Refused):
        ts({'info_hash': DEAD.upper(), 'files': []})

"""Metadata that was found: every kind of torrent and seed, what is kept, who else gets it."""
import hashlib
import os
import signal
import socket
import threading
import time

import pytest

import metacache
import wire
from metacache import API, counters, everything_below, gauges, link, post
from metastorm import Storm, torrents
from parts import Payload, QBittorrent, Transmission
from procs import slow, wait_until

MIB = 1 << 20
# As their makers shape them, with less in them.
SHAPES = {
    'ubuntu': {'name': 'ubuntu-24.04-desktop-amd64.iso', 'size': 3 * MIB, 'piece_length': 262144,
               'beside': {'comment': 'Ubuntu CD releases.ubuntu.com', 'creation date': 1714000000,
                          'created by': 'mktorrent 1.1'}},
    'debian': {'name': 'debian-12-netinst', 'files': [
        ('debian-12-netinst.iso', 2 * MIB + 17), ('SHA512SUMS', 494), ('SHA512SUMS.sign', 833),
        ('pool/main/a/\u00e4\u00f6/file name.deb', 40000), ('empty', 0)],
        'beside': {'comment': '"Debian CD from cdimage.debian.org"',
                   'httpseeds': ['http://127.0.0.1:9/debian/']}},
    'single': {'name': 'one.bin', 'size': 1, 'piece_length': 16384},
}


def shaped(stage, shape):
    return Payload(stage, (), **SHAPES[shape])


def is_of(answer, p):
    """The whole answer, file by file."""
    got = answer.json
    assert got['info_hash'] == p.infohash and got['name'] == p.name and got['size'] == p.size
    want, at = [], 0
    for i, (path, n) in enumerate(p.files):
        want.append((path or p.name, n, at, i))
        at += n
    assert [(f['path'], f['size'], f['offset'], f['index']) for f in got['files']] == want
    assert got['file_count'] == len(want) and got['private'] is False
    return got


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('seed', [Transmission, QBittorrent])
def test_from_real_seeds(stage, fetching, seed, shape):
    p = shaped(stage, shape)
    s = seed(stage, p, 1.0)
    d = fetching()
    a = post(d, link(p.infohash, [(s.address, s.port)]))
    assert a.status == 200, a
    is_of(a, p)
    torrent = d.get(f'/download/{p.infohash}').body
    assert wire.read_torrent(torrent).infohash.hex() == p.infohash
    with open(p.path, 'rb') as f:           # the same, uploaded to another one
        b = fetching().request('POST', API, {}, f.read())
    whole = is_of(b, p)
    assert whole.get('comment') == SHAPES[shape].get('beside', {}).get('comment')
    assert ('created_at' in whole) == (shape == 'ubuntu')


def test_selected_files(stage, fetching, ltpeer):
    p = shaped(stage, 'debian')
    s = ltpeer(p, 1.0)
    d = fetching()
    a = post(d, link(p.infohash, [(s.address, s.port)]) + '&so=1-2,4')
    assert metacache.selected(a.json) == [1, 2, 4]
    assert metacache.selected(d.get(f'{API}/{p.infohash}').json) == list(range(5))


def described(stage, info):
    """A payload of which there is nothing but its .torrent."""
    p = Payload(stage, (), 1)
    p.path = stage.path('made.torrent')
    with open(p.path, 'wb') as f:
        f.write(b'd4:info' + info + b'e')
    return p


PRIVATE = wire.benc({'name': 'p', 'length': 16384, 'piece length': 16384, 'private': 1,
                     'pieces': bytes(20)})


def test_a_private_torrent_is_not_seeded(fetching, swarm, stage):
    s = swarm([{'count': 1}], payload=described(stage, PRIVATE))
    d = fetching()
    a = post(d, link(s.infohash, s.endpoints()))
    assert a.status == 200 and a.json['private'] is True
    wait_until(lambda: counters(d)['leaves'] == 1, 10, 'it is left')
    assert gauges(d)['meta_seeds'] == 0


def test_a_private_torrent_that_is_uploaded_meanwhile(fetching):
    """Who looks for it in its swarm has it then, and that one is left, too."""
    d, got = fetching(), []
    asker = threading.Thread(
        target=lambda: got.append(post(d, hashlib.sha1(PRIVATE).hexdigest())))
    asker.start()
    wait_until(lambda: gauges(d)['swarms'] == 1, 10, 'it is looked for')
    assert d.request('POST', API, {}, b'd4:info' + PRIVATE + b'e').status == 200
    asker.join()
    assert got[0].status == 200 and got[0].json['private'] is True
    wait_until(lambda: gauges(d)['swarms'] == 0, 10, 'it is left')
    assert gauges(d)['meta_seeds'] == 0


def test_true_metadata_that_is_none(fetching, swarm, stage):
    """Nothing but padding: right by its hash, so no peer has a better one."""
    info = wire.benc({'files': [{'attr': 'p', 'length': 16384, 'path': ['.pad', '16384']}],
                      'name': 'p', 'piece length': 16384, 'pieces': bytes(20)})
    s = swarm([{'count': 1}], payload=described(stage, info))
    d = fetching()
    for _ in range(2):
        a = post(d, link(s.infohash, s.endpoints()))
        assert a.status == 422 and a.json['code'] == 'unreadable_metadata', a
    assert counters(d)['meta_flights'] == counters(d)['meta_rejected'] == 1


def test_json_that_is_too_long(fetching):
    """Directories that 60,000 files share are in the path of each."""
    leaf = b'd0:d6:lengthi1e11:pieces root32:' + b'r' * 32 + b'ee'
    tree = b'd' + b''.join(wire.benc(f'{i:05x}') + leaf for i in range(60000)) + b'e'
    for _ in range(25):
        tree = b'd' + wire.benc(b'"' * 60) + tree + b'e'
    d = fetching()
    a = d.request('POST', API, {}, b'd4:infod9:file tree' + tree
                  + b'12:meta versioni2e4:name4:name12:piece lengthi16384eee', timeout=60)
    assert a.status == 422 and a.json['code'] == 'unreadable_metadata', a


# Two hashes ---------------------------------------------------------------------

def v2_link(b, *endpoints, both=False):
    v1 = f'xt=urn:btih:{b.v1}&' if both else ''
    return f'magnet:?{v1}xt=urn:btmh:1220{b.v2}' + ''.join(f'&x.pe={a}:{p}'
                                                            for a, p in endpoints)


def test_a_hybrid_has_one_entry(fetching, swarm, bep52):
    b = bep52(hybrid=True)
    s = swarm([{'count': 1}], payload=b)
    d = fetching()
    a = post(d, link(b.v1, s.endpoints()))
    assert a.status == 200 and a.json['info_hash'] == b.v1 and a.json['info_hash_v2'] == b.v2
    for other in b.v2, b.short, b.v1.upper():
        got = d.get(f'{API}/{other}')
        assert got.status == 200 and got.json['info_hash'] == b.v1, other
    assert post(d, v2_link(b)).json['source'] == 'disk'
    assert counters(d)['meta_flights'] == 1
    # Two names, one file.
    inodes = {os.stat(metacache.path_of(d.cache, k)).st_ino for k in (b.v1, b.short)}
    assert len(inodes) == 1


@pytest.mark.parametrize('both', [True, False])
def test_askers_of_both_hashes_share_a_flight(fetching, swarm, bep52, both):
    """Known to be one by the link, or only when the metadata says so."""
    b = bep52(hybrid=True)
    s = swarm([{'count': 1, 'delay_ms': 2500}], payload=b)
    d = fetching()
    links = [v2_link(b, *s.endpoints(), both=True) if both else link(b.v1, s.endpoints()),
             v2_link(b)]
    got = []
    threads = [threading.Thread(target=lambda m=m: got.append(post(d, m))) for m in links]
    threads[0].start()
    wait_until(lambda: gauges(d)['meta_flying'] == 1, 10, 'the first one flies')
    threads[1].start()
    for t in threads:
        t.join()
    assert [a.status for a in got] == [200, 200], got
    assert {a.json['info_hash'] for a in got} == {b.v1}
    assert counters(d)['meta_flights'] == (1 if both else 2)
    assert counters(d)['meta_found'] == 1 and gauges(d)['meta_flying'] == 0


def test_a_torrent_of_v2_alone(fetching, swarm, bep52):
    b = bep52(hybrid=False)
    s = swarm([{'count': 1}], payload=b, v2=True)
    d = fetching()
    a = post(d, v2_link(b, *s.endpoints()))
    assert a.status == 200 and a.json['info_hash_v2'] == b.v2
    assert a.json['info_hash'] == b.short and len(a.json['files']) == 1
    assert d.get(f'{API}/{b.v2}').status == d.get(f'{API}/{b.short}').status == 200


# Others get it of us ----------------------------------------------------------------

def aria2_gets(stage, t, infohash):
    """aria2, which hears of us by a tracker; the .torrent that it writes."""
    where = stage.fresh_dir('aria2-meta')
    address = stage.net.take()
    proc = stage.start('aria2', [
        'aria2c', '--no-conf=true', '--enable-dht=false', '--enable-dht6=false',
        '--bt-enable-lpd=false', '--disable-ipv6=true', '--interface=' + address,
        f'--listen-port={stage.net.port()}', '--dir=' + where, '--bt-metadata-only=true',
        '--bt-save-metadata=true', '--bt-tracker-interval=1', link(infohash, (), t.http)],
        env={'HOME': where, 'PATH': os.environ['PATH']}, cwd=where)
    path = os.path.join(where, infohash + '.torrent')
    wait_until(lambda: os.path.exists(path), 20, 'aria2 has it')
    proc.wait(10)
    with open(path, 'rb') as f:
        return f.read()


def test_others_get_it_of_us(stage, fetching, swarm, tracker):
    t = tracker()
    s = swarm([{'count': 1}])
    one, two = fetching(), fetching()
    assert post(one, link(s.infohash, s.endpoints())).status == 200
    s.ask('leave', peers=[0])
    wait_until(lambda: gauges(one)['meta_seeds'] == 1, 10, 'it stays')
    t.set(s.infohash, peers=[[one.address, 42069]])
    got = wire.read_torrent(aria2_gets(stage, t, s.infohash))
    assert got.infohash.hex() == s.infohash
    a = post(two, link(s.infohash, [(one.address, 42069)]))
    assert a.status == 200 and a.json['info_hash'] == s.infohash
    assert s.asked_for_no_piece() and one.payload_files(one.cwd) == []


def test_seeding_has_its_time_and_number(fetching, swarm):
    s = swarm([{'count': 1}], torrents=3)
    d = fetching({'metadata.seed_time': '8s', 'metadata.seed_count': 2, 'swarm.linger': '1s'})
    for h in s.infohashes:
        assert post(d, link(h, s.endpoints())).status == 200
    for n, what in (2, 'the last two stay'), (0, 'their time is over'):
        wait_until(lambda want=n: gauges(d)['meta_seeds'] == want == gauges(d)['swarms'], 15,
                   what)


def test_without_seeding_the_swarm_is_left(fetching, swarm):
    s = swarm([{'count': 1}])
    d = fetching({'metadata.seeding': 'off'})
    assert post(d, link(s.infohash, s.endpoints())).status == 200
    wait_until(lambda: counters(d)['leaves'] == 1, 5, 'nobody asks for its peers')
    assert d.get('/api/v1/health').json['seeding_enabled'] is False


# Who leaves; what is kept -----------------------------------------------------------

def test_a_client_that_leaves_costs_nothing(fetching, swarm):
    s = swarm([{'count': 1, 'absent': True}])
    d = fetching()
    body = metacache.asking(link(s.infohash, s.endpoints())).encode()
    asked = f'POST {API} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n'.encode()
    for _ in range(20):
        with socket.create_connection((d.host, d.port), 10) as c:
            c.sendall(asked + body)
            wait_until(lambda: gauges(d)['meta_flying'] == 1 <= gauges(d)['waiters'], 10,
                       'it flies, and is waited for')
    wait_until(lambda: gauges(d)['waiters'] == 0, 10, 'nobody waits')
    s.ask('join', peers=[0])
    s.ask('dial', peers=[0], to=[d.address, 42069], infohash=s.infohash)
    wait_until(lambda: d.get(f'{API}/{s.infohash}').status == 200, 15, 'it is in the cache')
    assert counters(d)['meta_flights'] == 1


def test_a_restart_forgets_nothing(fetching, swarm):
    s = swarm([{'count': 1}])
    d = fetching()
    assert post(d, link(s.infohash, s.endpoints())).status == 200
    d.stop()
    s.ask('leave', peers=[0])
    again = fetching({'metadata.cache_dir': d.cache})
    a = post(again, s.infohash)
    assert a.status == 200 and a.json['source'] == 'disk'
    assert again.get(f'/download/{s.infohash}').status == 200
    assert counters(again)['meta_flights'] == 0


def test_a_full_cache_loses_what_was_wanted_longest_ago(fetching, swarm, tmp_path):
    """At the start: more than the quota, left by an earlier life that had a larger one."""
    cache, now = str(tmp_path / 'full'), time.time()
    keys = [hashlib.sha1(b"%d" % i).hexdigest() for i in range(300)]
    for age, key in enumerate(keys):
        path = metacache.put(cache, key, metacache.described(key, 5))
        os.utime(path, (now - 1000 - age, now - 5000))
    d = fetching({'metadata.cache_dir': cache, 'metadata.cache_size': '1m'})
    wait_until(lambda: 0 < gauges(d)['meta_bytes'] <= MIB, 15, 'it fits')
    kept = [any(metacache.lies(cache, k)) for k in keys]
    n = sum(kept)
    assert 50 < n < 200 and kept == [True] * n + [False] * (300 - n)
    s = swarm([{'count': 1}])           # what is new has its place
    assert post(d, link(s.infohash, s.endpoints())).status == 200
    assert post(d, keys[0]).json['source'] == 'disk'


def test_a_reload_moves_the_cache(daemon, swarm, tmp_path):
    text = '[metadata]\ncache_dir = {}\nseeding = {}\n'
    s = swarm([{'count': 1}], torrents=2)
    d = daemon({'http.workers': 1}, file=text.format(tmp_path / 'a', 'on'))
    assert post(d, link(s.infohashes[0], s.endpoints())).status == 200
    assert metacache.lies(str(tmp_path / 'a'), s.infohashes[0]) == [True, True]
    wait_until(lambda: gauges(d)['meta_seeds'] == 1, 10, 'it is seeded')
    d.reload(text.format(tmp_path / 'b', 'off'))
    wait_until(lambda: d.log_lines('reload done'), 15, 'the workers have it, too')
    wait_until(lambda: gauges(d)['meta_seeds'] == 0, 10, 'seeding is over')
    assert d.get('/api/v1/health').json['cache_dir'] == str(tmp_path / 'b')
    assert post(d, link(s.infohashes[1], s.endpoints())).status == 200
    assert metacache.lies(str(tmp_path / 'b'), s.infohashes[1]) == [True, True]
    assert metacache.lies(str(tmp_path / 'a'), s.infohashes[1]) == [False, False]


def test_a_cache_that_cannot_be_written(fetching, swarm, tmp_path):
    """master.run_dir has it then."""
    blocked = tmp_path / 'file'
    blocked.write_text('no directory')
    s = swarm([{'count': 1}])
    d = fetching({'metadata.cache_dir': str(blocked)})
    assert post(d, link(s.infohash, s.endpoints())).json['source'] == 'dht'
    assert post(d, s.infohash).json['source'] == 'disk'
    assert metacache.lies(os.path.join(d.run_dir, 'meta'), s.infohash) == [True, True]


# Killed -----------------------------------------------------------------------------

def test_killed_in_the_middle_of_writes(fetching):
    """kill -9 of the collector, again and again, while torrents come in: what is served is
    right, always. (A hundred times: tests/slow/test_killed.py; the writer alone:
    tests/torture/metakill.c.)"""
    d = fetching({'http.workers': 2})
    storm = Storm(d, torrents(60))
    try:
        for n in range(6):              # the pause before a new one doubles
            stored = counters(d)['meta_stored']
            wait_until(lambda was=stored: counters(d)['meta_stored'] > was or storm.bad,
                       30 * slow(), 'something is written')
            pid = d.collector()
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda old=pid: (d.roles().get('collector') or [old])[0] != old, 60,
                       f'a new collector, after kill {n + 1}')
    finally:
        storm.stop()
    assert not storm.bad, storm.bad[:3]
    assert counters(d)['meta_damaged'] == 0
    up = os.path.join(d.run_dir, 'up')
    for left in os.listdir(up):         # by kills: in ten minutes they are swept (below)
        os.unlink(os.path.join(up, left))
    assert storm.check_all() == len(storm.made)
    assert not storm.bad and everything_below(d.cache)


def test_what_a_kill_left_of_uploads_is_removed(fetching):
    d = fetching()
    up = os.path.join(d.run_dir, 'up')
    for name, age_s in ('old', 700), ('new', 10):
        with open(os.path.join(up, name), 'wb') as f:
            f.write(b'd')
        os.utime(f.name, (time.time() - age_s,) * 2)
    pid = d.collector()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: (d.roles().get('collector') or [pid])[0] != pid, 30, 'a new collector')
    wait_until(lambda: os.listdir(up) == ['new'], 10, 'it swept')
    os.unlink(os.path.join(up, 'new'))


# What health says of it ----------------------------------------------------------

def upload(d, n=0):
    t = wire.make_torrent(f'one file {n}')
    a = d.request('POST', API, {}, b'd4:info' + t.info + b'e')
    return a, t.infohash.hex()


def test_a_place_that_cannot_be_used_is_said(daemon, tmp_path):
    (tmp_path / 'file').write_text('x')
    d = daemon({'metadata.cache_dir': str(tmp_path / 'file' / 'meta'), 'http.workers': 1})
    h = d.get('/api/v1/health').json
    assert h['status'] == 'ok' and h['degraded'] == ['cache']
    a, key = upload(d)
    assert a.status == 200
    h = d.get('/api/v1/health').json
    assert os.path.exists(metacache.path_of(h['cache_dir'], key)) and h['queue'] == 0


def test_a_disk_that_refuses_is_said(fetching):
    d = fetching()
    key = wire.make_torrent('one file 1').infohash.hex()
    os.makedirs(d.cache, exist_ok=True)
    os.symlink('/', os.path.join(d.cache, key[:2]))
    a, _ = upload(d, 1)
    assert a.status == 503 and a.json['code'] == 'cache_full'
    assert d.get('/api/v1/health').json['degraded'] == ['cache']
    os.unlink(os.path.join(d.cache, key[:2]))
    assert upload(d, 1)[0].status == 200
    assert d.get('/api/v1/health').json['degraded'] == []

"""BEP 52: the two swarms of a hybrid torrent are one, under whichever hash it is asked for."""
import concurrent.futures
import os
import time

import libtorrent
import pytest

from procs import wait_until

COLD = {'swarm.discovery_wait': '5s'}


@pytest.fixture
def stage_of(daemon, swarm, tracker, bep52):
    """A hybrid whose peers know each one of its hashes only, and the daemon."""
    def make(spec1, spec2, conf=None, **kw):
        h, t = bep52(), tracker()
        old = swarm(spec1, payload=h, **kw)
        new = swarm(spec2, payload=h, v2=True, **kw)
        assert (old.infohash, new.infohash) == (h.v1, h.short)
        t.set(h.v1, peers=old.endpoints())
        t.set(h.short, peers=new.endpoints())
        d = daemon({'swarm.trackers': t.http, **COLD, **(conf or {})})
        everybody = {p['address'] for p in old.peers + new.peers}
        return d, h, t, everybody
    return make


def counter(d, name):
    return d.top()['counters'][name]


def expect_swarms(d, n):
    """The gauge is set once a second."""
    wait_until(lambda: d.get('/health').json['swarms'] == n, what=f'{n} swarms')


def expect_one_swarm(d, h, everybody):
    """Every spelling of either hash: one list, one infohash, and it is said why."""
    for asked, word in (h.v1, 'taken'), (h.v2, 'hybrid'), (h.short, 'hybrid'), \
                       (h.v1.upper(), 'taken'):
        got = d.until_peers(asked, lambda p: set(p) == everybody, what=f'all under {asked}')
        answer = d.peers(asked, limit=100)
        assert answer['acestream_id'] == asked.lower()
        assert answer['infohash'] == h.v1
        assert answer['infohash_v2'] == h.v2
        assert answer['resolution'] == word, asked
        assert answer['resolution_detail']
        assert all(p['sources'] for p in got.values())
    expect_swarms(d, 1)


@pytest.mark.parametrize('first', ['v1', 'v2', 'short'])
def test_asked_under_one_hash_and_then_the_other(stage_of, first):
    d, h, t, everybody = stage_of([{'count': 6}], [{'count': 7}])
    asked = getattr(h, first)
    own = h.v1 if first == 'v1' else h.short
    assert d.peers(asked, limit=100)['total_peers'] >= 6
    d.until_peers(asked, lambda p: set(p) == everybody, what='those of the other swarm')
    assert {e['infohash'] for e in t.announces()} == {h.v1, h.short}
    assert t.announces(own)[0]['event'] == 'started'
    expect_one_swarm(d, h, everybody)
    assert counter(d, 'joins') == 1 and counter(d, 'swarms_merged') == 0


@pytest.mark.parametrize('second', ['v2', 'short'])
def test_both_at_once(stage_of, second):
    """Both are joined before the metadata tells that they are one. Nobody who is known is
    lost, not even who never answers; and both questions get their answer."""
    d, h, _, everybody = stage_of(
        [{'count': 6}, {'count': 2, 'behaviour': 'dead'}],
        [{'count': 7}, {'count': 3, 'behaviour': 'silent'}], delay_ms=300)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(d.peers, i, limit=100) for i in (h.v1, getattr(h, second))]
        answers = [a.result() for a in asked]
    assert all(a['total_peers'] >= 6 for a in answers), answers
    wait_until(lambda: counter(d, 'swarms_merged') == 1, what='they are one')
    expect_one_swarm(d, h, everybody)
    before = d.by_address(h.v1)

    # The scripted ones answer to one hash alone, unlike real clients with a hybrid.
    def asked_all(got):
        """Who has told everything may be let go: then contacted is enough."""
        return all(p['client'].startswith('Scripted') if p['state'] in
                   ('connected', 'contacted') else p['state'] == 'tried'
                   for p in got.values()) and \
            sum(p['state'] == 'tried' for p in got.values()) == 5
    after = d.until_peers(h.v1, asked_all, 20, 'everybody was asked', wait='2s')
    assert set(after) == everybody
    for address, peer in before.items():
        assert after[address]['first_seen'] == peer['first_seen']


def test_first_seen_and_names_outlive_the_merger(stage_of):
    """The v1 swarm is known for a while; the other hash comes later, as the short id,
    which nothing can tell to be the same torrent: until the metadata comes."""
    d, h, t, everybody = stage_of([{'count': 3, 'behaviour': 'silent'}], [{'count': 4}],
                                  delay_ms=1000)
    first = d.by_address(h.v1)
    assert len(first) == 3
    t.set(h.v1, peers=[])               # from now on only we know them; below, too
    seen = max(p['first_seen'] for p in first.values())
    wait_until(lambda: time.time() >= seen + 1, what='a second has passed')
    d.until_peers(h.v2, lambda p: len(p) == 4, wait=0)
    t.set(h.short, peers=[])
    assert counter(d, 'swarms_merged') == 0, 'nobody has given the metadata yet'
    wait_until(lambda: counter(d, 'swarms_merged') == 1, what='they are one')
    expect_one_swarm(d, h, everybody)
    for address, peer in d.by_address(h.v2).items():
        if address in first:
            assert peer['first_seen'] == first[address]['first_seen']


def test_peers_of_no_source_that_tells_their_hash(stage_of, swarm):
    """Only a tracker or the DHT tells under which hash it knows a peer: not a magnet link,
    and not PEX. Those that know the other one than libtorrent says are met, too."""
    d, h, t, _ = stage_of([{'count': 3}], [{'count': 1}])
    d.until_peers(h.v1, lambda p: len(p) == 4)
    lone = swarm([{'count': 5}], payload=h, v2=True)
    named = '&'.join(f'x.pe={a}:{port}' for a, port in lone.endpoints())
    assert d.get(f'/peers/{h.v1}?{named}').status == 200
    here = {p['address']: p['name'] for p in lone.peers}
    d.until_peers(h.v1, lambda p: {a: p.get(a, {}).get('client') for a in here} == here,
                  what='who knows the v2 hash alone is named')


def test_v2_only(daemon, swarm, tracker, bep52):
    h, t = bep52(hybrid=False), tracker()
    s = swarm([{'count': 5, 'progress': 'mixed'}], payload=h, v2=True)
    t.set(h.short, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.http, **COLD})
    answer = d.peers(h.v2)
    assert (answer['acestream_id'], answer['infohash']) == (h.v2, h.short)
    assert answer['infohash_v2'] == h.v2 and answer['resolution'] == 'taken'
    got = {p['ip']: p for p in answer['peers']}
    for want in s.peers:
        assert got[want['address']]['client'] == want['name']
        assert got[want['address']]['progress'] == pytest.approx(want['progress'], abs=0.51)
    again = d.peers(h.short)
    assert again['infohash_v2'] == h.v2 and again['total_peers'] == 5
    expect_swarms(d, 1)


def test_a_short_id_learns_its_whole_hash_from_the_metadata(daemon, swarm, tracker, bep52):
    h, t = bep52(hybrid=False), tracker()
    s = swarm([{'count': 3}], payload=h, v2=True)
    t.set(h.short, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.http, **COLD})
    assert d.peers(h.short)['total_peers'] == 3
    wait_until(lambda: d.peers(h.short, wait='2s')['infohash_v2'] == h.v2, what='it knows')


def test_a_short_id_learns_its_whole_hash_from_a_question(daemon, swarm, tracker, bep52):
    """Nobody has the metadata: joined again, under what the question says."""
    h, t = bep52(hybrid=False), tracker()
    s = swarm([{'count': 3}], infohashes=[h.short])
    t.set(h.short, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.http, **COLD})
    first = d.peers(h.short)
    assert first['total_peers'] == 3 and first['infohash_v2'] is None
    assert d.peers(h.v2)['total_peers'] == 3
    wait_until(lambda: d.peers(h.short, wait='2s')['infohash_v2'] == h.v2, what='it knows')
    assert set(d.by_address(h.v2)) == {p['address'] for p in s.peers}
    expect_swarms(d, 1)


def test_a_left_hybrid_is_joined_with_both_hashes(stage_of):
    d, h, t, everybody = stage_of([{'count': 4}], [{'count': 5}], {
        'swarm.linger': '1s', 'cache.ttl': '100ms', 'swarm.announce_gap': '0s'})
    d.until_peers(h.v1, lambda p: set(p) == everybody)
    expect_swarms(d, 0)
    t.ask('forget')
    assert set(d.by_address(h.v1, wait='2s')) == everybody
    wait_until(lambda: {e['infohash'] for e in t.announces()} == {h.v1, h.short},
               what='both are asked')


class RealHybrid:
    """A file and its torrent as libtorrent makes it: v1 and v2 hashes, piece layers."""

    def __init__(self, directory, trackers):
        self.data, self.name = os.urandom(1 << 20), 'hybrid.bin'
        self.place(directory, 1.0)
        files = libtorrent.file_storage()
        libtorrent.add_files(files, os.path.join(directory, self.name))
        maker = libtorrent.create_torrent(files, 32768)
        for url in trackers:
            maker.add_tracker(url)
        libtorrent.set_piece_hashes(maker, str(directory))
        torrent = libtorrent.bencode(maker.generate())
        hashes = libtorrent.torrent_info(libtorrent.bdecode(torrent)).info_hashes()
        self.v1, self.v2 = str(hashes.v1), str(hashes.v2)
        self.path = os.path.join(directory, 'hybrid.torrent')
        with open(self.path, 'wb') as f:
            f.write(torrent)

    def place(self, directory, _fraction):
        with open(os.path.join(directory, self.name), 'wb') as f:
            f.write(self.data)


@pytest.mark.parametrize('first', ['v1', 'v2'])
def test_a_real_hybrid_and_a_real_client(daemon, tracker, ltpeer, tmp_path, first):
    t = tracker(register=True)
    real = RealHybrid(tmp_path, [t.http])
    peer = ltpeer(real)
    short = real.v2[:40]
    wait_until(lambda: {e['infohash'] for e in t.announces()} == {real.v1, short},
               what='it is in both swarms')
    d = daemon({'swarm.trackers': t.http, **COLD})
    order = [real.v1, real.v2] if first == 'v1' else [real.v2, real.v1]
    for asked in order:
        got = d.until_peers(asked, lambda p: p.get(peer.address, {}).get('client') ==
                            peer.shown, what=f'named under {asked}')
        assert got[peer.address]['progress'] == 100.0
    wait_until(lambda: d.peers(real.v2)['infohash'] == real.v1, what='they are one')
    expect_swarms(d, 1)

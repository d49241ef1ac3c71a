"""AceStream content ids: an engine says which infohash is meant; and what if it does not."""
import base64
import concurrent.futures
import json
import os
import signal
import time

import pytest

from procs import HANG_S, slow, wait_until

# The scripted swarms here speak BitTorrent; with test_ace.py's it would be called in vain first.
COLD = {'swarm.discovery_wait': '5s', 'acestream.peers': 'off'}
CONTENT = 'c0de' * 10


@pytest.fixture
def world(daemon, swarm, tracker, engine):
    """A scripted swarm behind a tracker, an engine that knows CONTENT as its content id."""
    def make(conf=None, count=5, known=None, **kw):
        t, s = tracker(), swarm([{'count': count}], **kw)
        for infohash in s.infohashes:
            t.set(infohash, peers=s.endpoints())
        e = engine({CONTENT: s.infohash, **(known or {})})
        d = daemon({'swarm.trackers': t.http, 'acestream.engine_url': e.url, **COLD,
                    **(conf or {})})
        return d, s, e, t
    return make


def health(d):
    return d.get('/health').json['engine']


def until_engine(d, state, timeout=HANG_S):
    wait_until(lambda: health(d)['state'] == state, timeout, f'the engine is {state}')
    return health(d)


def counter(d, name):
    return d.top()['counters'][name]


def until_swarms(d, n):
    wait_until(lambda: d.get('/health').json['swarms'] == n, what=f'{n} swarms')


def expect(answer, asked, infohash, word):
    assert answer['acestream_id'] == asked
    assert answer['infohash'] == infohash
    assert answer['resolution'] == word
    assert len(answer['resolution_detail']) > 20


def test_no_engine_is_as_ever(daemon, swarm, tracker):
    t, s = tracker(), swarm([{'count': 3}])
    t.set(s.infohash, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.http, **COLD})
    expect(d.peers(s.infohash), s.infohash, s.infohash, 'taken')
    assert health(d) == {'state': 'off', 'since': None, 'error': None}
    assert d.get('/health').json['vpn']['since'] is None


def test_a_content_id_is_resolved(world):
    """One join, one question, one list under either id; the engine downloads nothing."""
    d, s, e, t = world()
    until_engine(d, 'up')
    answer = d.peers(CONTENT)
    expect(answer, CONTENT, s.infohash, 'resolved')
    assert answer['total_peers'] == 5 and answer['error'] is None
    assert answer['title'] == 'A title'
    other = d.peers(s.infohash)
    wait_until(lambda: d.peers(s.infohash, wait='1s')['resolution'] == 'not_found',
               what='the engine was asked about the infohash, too')
    assert other['infohash'] == s.infohash and other['total_peers'] == 5
    expect(d.peers(CONTENT), CONTENT, s.infohash, 'resolved')
    assert e.asked == [CONTENT, s.infohash]
    assert not [p for p in e.seen if 'getstream' in p]
    assert {a['infohash'] for a in t.announces()} == {s.infohash}
    until_swarms(d, 1)
    assert counter(d, 'joins') == 1


@pytest.mark.parametrize('title, shown', [
    ('Fußball "1" \\ \n\x1b[2J\u202e 世界', 'Fußball "1" \\ ??[2J? 世界'), ('é' * 200, 'é' * 63),
    ('', None), (None, None), (7, None), (['x'], None)])
def test_a_title_is_a_strangers_text(world, title, shown):
    d, s, e, _ = world()
    e.title = title
    answer = d.peers(CONTENT)
    expect(answer, CONTENT, s.infohash, 'resolved')
    assert answer['title'] == shown


def test_many_askers_are_one_question(world):
    d, s, e, _ = world()
    e.delay_s = 0.5
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: d.peers(CONTENT), range(20)))
    for answer in answers:
        expect(answer, CONTENT, s.infohash, 'resolved')
        assert answer['total_peers'] == 5
    assert e.asked == [CONTENT]


def test_several_content_ids_of_one_swarm(world):
    ids = [f'{i:02x}' * 20 for i in range(1, 12)]
    d, s, e, _ = world()
    e.known.update(dict.fromkeys(ids, s.infohash))
    for i in ids:                       # more than a swarm keeps: each has its answer
        answer = d.peers(i)
        expect(answer, i, s.infohash, 'resolved')
        assert answer['total_peers'] == 5
    until_swarms(d, 1)
    assert counter(d, 'swarm_ids_evicted') > 0
    expect(d.peers(ids[0], wait='1s'), ids[0], s.infohash, 'resolved')
    assert sorted(e.asked) == sorted(ids), 'one question each'


def test_an_infohash_that_the_engine_knows(world):
    d, s, e, _ = world()
    e.known = {s.infohash: s.infohash.upper()}
    answer = d.peers(s.infohash)
    expect(answer, s.infohash, s.infohash, 'same')
    assert answer['total_peers'] == 5


def test_not_found_is_remembered(world):
    """The id is taken as an infohash; the engine is not asked again for a while."""
    d, s, e, _ = world({'swarm.linger': '1s', 'cache.ttl': '100ms', 'cache.grace': '0s'})
    e.known = {}
    answer = d.peers(s.infohash)
    expect(answer, s.infohash, s.infohash, 'not_found')
    assert answer['total_peers'] == 5
    until_swarms(d, 0)                  # left: the next question joins anew
    expect(d.peers(s.infohash), s.infohash, s.infohash, 'not_found')
    assert e.asked == [s.infohash]
    assert health(d)['state'] == 'up', 'an error in its answer is an answer'


def test_only_40_digits_are_asked_about(world):
    d, s, e, _ = world()
    base32 = base64.b32encode(bytes.fromhex(s.infohash)).decode()
    assert d.peers(base32)['infohash'] == s.infohash
    assert d.peers('ab' * 32)['infohash'] == 'ab' * 20
    expect(d.peers(CONTENT.upper()), CONTENT, s.infohash, 'resolved')
    assert e.asked == [CONTENT]


@pytest.mark.parametrize('mode, why', [('not_found', 'HTTP status 404'),
                                       ('other_server', "no engine's")])
def test_a_server_that_is_no_engine_is_not_up(world, mode, why):
    """Whatever answers there must be an engine; when it is, it is up by itself."""
    d, s, e, _ = world()
    until_engine(d, 'up')
    e.mode = mode
    expect(d.peers(s.infohash), s.infohash, s.infohash, 'no_answer')
    probed = len(e.seen)
    wait_until(lambda: len(e.seen) >= probed + 2, what='it was probed again')
    assert health(d)['state'] == 'down' and why in health(d)['error']
    assert len(d.log_lines(f'{e.url} answers')) == 1
    e.mode = 'ok'
    until_engine(d, 'up', 40)


@pytest.mark.parametrize('mode', ['garbage', 'lie', 'short', 'status'])
def test_what_makes_no_sense_is_not_believed(world, mode):
    d, s, e, _ = world()
    e.known[s.infohash] = 'f' * 40
    until_engine(d, 'up')
    e.mode = mode
    answer = d.peers(s.infohash)
    expect(answer, s.infohash, s.infohash, 'no_answer')
    assert answer['total_peers'] == 5
    assert counter(d, 'engine_failed') == 1
    until_engine(d, 'up')               # it answers its cheapest question
    for _ in range(5):
        d.peers(s.infohash, wait='100ms')
    assert len(e.asked) == 1, 'not asked again at once'


def test_a_hanging_engine_costs_its_time_out_once(world):
    d, s, e, _ = world({'acestream.timeout': '1s'}, torrents=3)
    until_engine(d, 'up')
    e.mode, e.probes = 'hang', False
    began = time.monotonic()
    answer = d.peers(s.infohashes[0])
    took = time.monotonic() - began
    expect(answer, s.infohashes[0], s.infohashes[0], 'no_answer')
    assert answer['total_peers'] == 5, 'the swarm had its own time behind it'
    assert 0.9 < took < 2.5 * slow()
    assert health(d)['state'] == 'down' and health(d)['error']
    for infohash in s.infohashes[1:]:   # nobody else waits for it
        began = time.monotonic()
        answer = d.peers(infohash)
        assert time.monotonic() - began < 0.9 * slow()
        expect(answer, infohash, infohash, 'no_answer')
        assert answer['total_peers'] == 5
    assert e.asked == [s.infohashes[0]]


def test_a_wait_of_the_asker_is_kept(world):
    """?wait= is his: the engine's time is part of it. Then the answer says so."""
    d, s, e, _ = world({'acestream.timeout': '5s'})
    until_engine(d, 'up')
    e.delay_s = 2
    began = time.monotonic()
    answer = d.peers(CONTENT, wait='500ms')
    assert time.monotonic() - began < 1.5 * slow()
    assert answer['peers'] == [] and answer['error'] and answer['resolution'] is None
    expect(d.peers(CONTENT), CONTENT, s.infohash, 'resolved')
    assert e.asked == [CONTENT]


def test_an_id_moves_when_the_engine_is_back(world):
    """Asked while it was away, the id was taken as an infohash. Then the engine says better:
    that swarm is left, and nobody's list is mixed up."""
    d, s, e, _ = world({'cache.ttl': '200ms', 'cache.grace': '0s'})
    until_engine(d, 'up')
    e.stop()
    first = d.peers(CONTENT, wait='1s')
    expect(first, CONTENT, CONTENT, 'no_answer')
    assert first['peers'] == []
    assert until_engine(d, 'down')['error']
    e.start()
    until_engine(d, 'up', 40)

    def moved():
        answer = d.peers(CONTENT, wait='1s')
        return answer if answer['total_peers'] else None
    expect(wait_until(moved, what='it is resolved'), CONTENT, s.infohash, 'resolved')
    assert counter(d, 'engine_moved') == 1
    until_swarms(d, 1)


def test_metadata_is_believed_more_than_the_engine(world):
    """Joined without an engine; then one comes that says the infohash is another's."""
    d, s, e, _ = world({'cache.ttl': '200ms', 'cache.grace': '0s'}, torrents=2)
    until_engine(d, 'up')
    e.stop()
    assert d.peers(s.infohashes[0])['total_peers'] == 5
    e.known[s.infohashes[0]] = s.infohashes[1]
    e.start()
    until_engine(d, 'up', 40)

    def asked():
        d.peers(s.infohashes[0], wait='500ms')
        return e.asked.count(s.infohashes[0])
    wait_until(asked, what='the engine was asked again')
    answer = d.peers(s.infohashes[0], wait='1s')
    assert answer['infohash'] == s.infohashes[0] and answer['total_peers'] == 5
    assert counter(d, 'engine_moved') == 0


def test_a_restart_knows_from_redis(world, redis_server):
    """A real Redis; the second daemon has no engine that answers, and needs none."""
    r = redis_server()
    conf = {'redis.mode': 'external', 'redis.url': r.url}
    d, s, e, _ = world(conf, known={'dead' * 10: None})
    wait_until(lambda: d.get('/health').json['redis_available'], what='Redis is up')
    expect(d.peers(CONTENT), CONTENT, s.infohash, 'resolved')
    d.peers('beef' * 10, wait='500ms')
    key = f'peerscope:resolved:{CONTENT}'
    stored = json.loads(wait_until(lambda: r.client().get(key), what='it is written down'))
    assert (stored['infohash'], stored['resolution']) == (s.infohash, 'resolved')
    assert stored['title'] == 'A title'
    assert 86000 < r.client().ttl(key) <= 86400
    wait_until(lambda: r.client().ttl('peerscope:resolved:' + 'beef' * 10) > 500,
               what='what was not found, too')
    stats = json.loads(wait_until(lambda: r.client().get(f'peer_stats:{CONTENT}'),
                                  what='the answer under its id'))
    assert stats['title'] == 'A title'
    d.stop(signal.SIGTERM)
    d.finish()
    asked = len(e.asked)
    e.stop()
    d2, s2, _, _ = world({**conf, 'acestream.engine_url': e.url})
    wait_until(lambda: d2.get('/health').json['redis_available'], what='Redis is up')
    until_engine(d2, 'down')
    answer = d2.peers(CONTENT, wait='1s')
    expect(answer, CONTENT, s.infohash, 'resolved')
    assert answer['title'] == 'A title'
    expect(d2.peers('beef' * 10, wait='500ms'), 'beef' * 10, 'beef' * 10, 'not_found')
    assert len(e.asked) == asked and s2.infohash != s.infohash
    assert counter(d2, 'engine_redis') == 2


@pytest.mark.parametrize('what', ['garbage', 'other', 'zero', 'expired', 'list', 'large'])
def test_what_others_wrote_to_redis_is_a_miss(world, redis_server, what):
    r = redis_server()
    c = r.client()
    d, s, e, _ = world({'redis.mode': 'external', 'redis.url': r.url})
    wait_until(lambda: d.get('/health').json['redis_available'], what='Redis is up')
    now = time.time() * 1000
    key = f'peerscope:resolved:{CONTENT}'
    text = {'garbage': '\x00{{{', 'large': ' ' * 100000,
            'other': {'infohash': 'not a hash', 'resolution': 'resolved', 'until': now + 9e6},
            'zero': {'infohash': '0' * 40, 'resolution': 'resolved', 'until': now + 9e6},
            'expired': {'infohash': 'e' * 40, 'resolution': 'resolved', 'until': now - 1}}
    if what == 'list':
        c.rpush(key, 'a', 'b')
    else:
        c.set(key, text[what] if isinstance(text[what], str) else json.dumps(text[what]))
    expect(d.peers(CONTENT), CONTENT, s.infohash, 'resolved')
    assert e.asked == [CONTENT]
    assert d.get('/health').json['redis_available']


def test_a_hanging_redis_delays_little(world, redis_server):
    r = redis_server()
    d, s, e, _ = world({'redis.mode': 'external', 'redis.url': r.url, 'redis.timeout': '10s'})
    wait_until(lambda: d.get('/health').json['redis_available'], what='Redis is up')
    r.proc.kill(signal.SIGSTOP)
    try:
        began = time.monotonic()
        answer = d.peers(CONTENT)
        assert time.monotonic() - began < 1.5 * slow()
        expect(answer, CONTENT, s.infohash, 'resolved')
    finally:
        r.proc.kill(signal.SIGCONT)
    assert counter(d, 'redis_gets_late') == 1


def test_a_killed_collector_remembers_from_the_table(world):
    """The engine dies with it; the slot of the content id still says what it means."""
    d, s, e, _ = world()
    expect(d.peers(CONTENT), CONTENT, s.infohash, 'resolved')
    e.stop()
    old = d.collector()
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: d.roles()['collector'] not in ([], [old]), what='a new one')
    until_engine(d, 'down')
    answer = wait_until(lambda: d.peers(CONTENT, wait='2s'), what='an answer')
    expect(answer, CONTENT, s.infohash, 'resolved')
    assert answer['total_peers'] == 5 and answer['title'] == 'A title'
    until_swarms(d, 1)


def test_the_engine_comes_and_goes_with_a_reload(daemon, swarm, tracker, engine):
    t, s = tracker(), swarm([{'count': 2}])
    t.set(s.infohash, peers=s.endpoints())
    e = engine({CONTENT: s.infohash})
    d = daemon({'swarm.trackers': t.http, **COLD}, file='[acestream]\n')
    assert health(d)['state'] == 'off'
    with open(d.file, 'w', encoding='utf-8') as f:
        f.write(f'[acestream]\nengine_url = {e.url}/\ntimeout = 2s\n')
    d.kill(signal.SIGHUP)
    until_engine(d, 'up')
    expect(d.peers(CONTENT), CONTENT, s.infohash, 'resolved')
    with open(d.file, 'w', encoding='utf-8') as f:
        f.write('[acestream]\n')
    d.kill(signal.SIGHUP)
    assert until_engine(d, 'off')['since'] is None


@pytest.mark.parametrize('url', ['127.0.0.1:6878', 'ftp://127.0.0.1/', 'http://',
                                 'http://user:pw@127.0.0.1:6878', 'http://h/?a=b'])
def test_a_url_that_cannot_be_meant_is_refused(daemon, url):
    d = daemon()
    done = d.command('check', '-o', f'acestream.engine_url={url}')
    assert done.returncode == 1
    assert 'acestream.engine_url' in done.stderr + done.stdout

"""Every bound bites as it is written: who is turned away hears it, what is dropped is
counted, and the daemon goes on. `LIMITS` in peerscope.conf(5) is the list."""
import concurrent.futures
import signal

import netns
import pytest
from far import Far
from procs import wait_until

REASON = netns.why_not()
needs_namespaces = pytest.mark.skipif(REASON is not None, reason=REASON or '')


def ids(n, what=0xc0):
    return [f'{what:02x}{i:038x}' for i in range(n)]


def counter(d, name):
    return d.top()['counters'][name]


def test_max_waiters(daemon, tracker):
    """One may wait, whichever worker it asks; the next is told to come back."""
    t = tracker()
    t.set(mode='hang')
    d = daemon({'swarm.trackers': t.http, 'swarm.max_waiters': 1})
    a, b = ids(2)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(d.get, f'/peers/{a}?wait=4s')
        wait_until(lambda: d.top()['gauges']['waiters'] == 1, what='it waits')
        second = d.get(f'/peers/{b}?wait=4s')
        assert second.status == 503 and second.json['error'] == 'busy'
        assert int(second.headers['Retry-After']) >= 1
        assert 'swarm.max_waiters' in second.json['message']
        assert d.get(f'/peers/{a}?wait=0').status == 200       # who does not wait is served
        assert first.result().status == 200
    assert counter(d, 'waiters_refused') == 1
    assert d.get(f'/peers/{b}?wait=1s').status == 200


def test_max_swarms_with_each_asked_for(daemon, tracker):
    """The message names the key. Once nobody waits for it, the idle one makes room."""
    t = tracker()
    t.set(mode='hang')
    d = daemon({'swarm.trackers': t.http, 'swarm.max_swarms': 1, 'log.level': 'info'})
    a, b = ids(2)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(d.get, f'/peers/{a}?wait=4s')
        wait_until(lambda: d.top()['gauges']['waiters'] == 1, what='it waits')
        second = d.get(f'/peers/{b}?wait=1s')
        assert second.status == 503 and second.json['error'] == 'busy'
        assert 'swarm.max_swarms' in second.json['message']
        assert first.result().status == 200
    assert d.get(f'/peers/{b}?wait=1s').status == 200
    line, = d.log_lines('makes room')
    assert a in line and 'swarm.max_swarms is 1' in line and ' info ' in line
    assert counter(d, 'swarms_evicted') == 1


def test_max_trackers(daemon, tracker):
    asked, left_out, more = tracker(), tracker(), tracker()
    d = daemon({'swarm.trackers': f'{asked.http},{left_out.http},{asked.http},{more.udp}',
                'swarm.max_trackers': 1})
    for n, infohash in enumerate(ids(2), 1):
        assert d.peers(infohash, wait='2s')['counts']['trackers'] == {'asked': 1, 'answered': 1}
        assert counter(d, 'trackers_left_out') == 2 * n
    assert asked.announces() and not left_out.announces() and not more.announces()


def test_max_trackers_by_reload_reaches_joined_swarms(daemon, tracker, swarm):
    one, two = tracker(), tracker()
    s = swarm([{'count': 2}])
    one.set(s.infohash, peers=s.endpoints())
    d = daemon(file='[swarm]\nmax_trackers = 1\n',
               conf={'swarm.trackers': f'{one.udp},{two.udp}'})
    d.peers(s.infohash, wait='10s')
    with open(d.file, 'w', encoding='utf-8') as f:
        f.write('[swarm]\nmax_trackers = 2\n')
    d.kill(signal.SIGHUP)
    wait_until(lambda: two.announces(s.infohash), 10, 'the second one is asked')

    def settled():
        now = d.peers(s.infohash, wait='0')
        return now['phase'] == 'settled' and now['counts']['trackers'] == {
            'asked': 2, 'answered': 2}
    wait_until(settled, 10, 'both are waited for')


def test_max_peers(daemon, tracker, swarm):
    t, s = tracker(), swarm([{'count': 12, 'behaviour': 'dead'}])
    t.set(s.infohash, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.http, 'swarm.max_peers': 5})
    got = d.peers(s.infohash, wait='5s')
    assert got['total_peers'] <= 5
    # What does not fit is dropped: here, or by the session before we hear of it.
    assert counter(d, 'peers_learned') - counter(d, 'peers_evicted') <= 5


def test_a_full_event_queue_drops_and_counts(daemon, tracker, swarm):
    t, s = tracker(), swarm([{'count': 5}])
    crowd = [[f'127.255.{i // 200}.{i % 200 + 1}', 9] for i in range(1500)]
    t.set(s.infohash, peers=s.endpoints() + crowd)
    d = daemon({'swarm.trackers': t.http, 'swarm.event_queue': 16})
    d.peers(s.infohash, wait='2s')
    wait_until(lambda: counter(d, 'lt_events_dropped') > 0, what='some were lost')
    assert d.peers(s.infohash, wait='0')['total_peers'] <= 1505
    assert d.log_lines('session events lost')
    # The daemon lives: a swarm of a sane size is whole.
    other = swarm([{'count': 3}])
    t.set(other.infohash, peers=other.endpoints())
    d.until_peers(other.infohash, lambda g: len(g) == 3, wait='2s')


def test_the_end_of_a_connection_is_not_lost_with_a_full_queue(daemon, tracker, swarm):
    t, s = tracker(), swarm([{'count': 300}])
    t.set(s.infohash, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.http, 'swarm.event_queue': 16, 'swarm.revisit': '1h',
                'swarm.revisit_max': '1h'})

    def connected():
        return d.peers(s.infohash, wait='0')['counts']['connected']['peers']
    wait_until(lambda: connected() >= 100, 40, 'what was lost is said again')
    s.ask('leave', quiet=True)
    wait_until(lambda: d.top()['gauges']['connections'] == 0, 10, 'all have hung up')
    wait_until(lambda: connected() == 0, 10, 'nobody is connected')


def test_a_full_alert_queue_loses_and_counts(daemon, tracker):
    """Answers of trackers are lost with it, so swarms are known later: at the latest when
    swarm.discovery_wait is over."""
    t = tracker()
    d = daemon({'swarm.trackers': f'{t.http},{t.udp}', 'swarm.alert_queue': 16})
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        def ask(infohash):
            return d.get(f'/peers/{infohash}').status

        def lost():
            lost.turn += 1
            assert set(pool.map(ask, ids(150, 0x10 + lost.turn))) == {200}
            return counter(d, 'lt_alerts_dropped')
        lost.turn = 0
        wait_until(lost, 30, 'alerts were lost')
    assert d.get('/health').json['collector']['state'] == 'running'


def test_a_full_table_forgets_the_oldest(daemon, tracker):
    d = daemon({'swarm.trackers': tracker().http, 'shm.swarms': 16, 'swarm.max_swarms': 4})
    for infohash in ids(24):
        d.peers(infohash)
    wait_until(lambda: counter(d, 'table_evicted') == 8, 3, 'counted once a second')
    top = d.top()
    assert top['table'] == {'slots': 16, 'used': 16, 'torn': 0}
    assert top['gauges']['swarms'] == 4
    assert top['counters']['swarms_evicted'] == 20


@needs_namespaces
def test_cold_lookups_of_one_client_are_limited(stage):
    """One bucket for all workers. Two tokens, and one more every six seconds."""
    far = Far(stage, {'swarm.cold_rate': 10, 'swarm.cold_burst': 2})
    a, b, c, e = ids(4)
    assert [far.ask(x).status for x in (a, b)] == [200, 200]
    refused = far.ask(c)
    assert refused.status == 503 and refused.json['error'] == 'limited'
    wait_s = int(refused.headers['Retry-After'])
    assert 1 <= wait_s <= 6 and str(wait_s) in refused.json['message']
    assert far.counter('cold_limited') == 1
    # Who does not wait is not told so; then nothing may be promised either.
    assert 'being asked' not in far.ask(f'{c}?wait=0').json['error']
    # What is joined costs nothing, and another client has its own bucket.
    assert [far.ask(x).status for x in (a, b, a, b)] == [200] * 4
    assert far.ask(e, source='203.0.113.77').status == 200
    # Many more tries make it no later: what was said is true.
    got = wait_until(lambda: (lambda r: r if r.status == 200 else None)(far.ask(c)),
                     wait_s + 1, 'it is served when it was told to be', every=0.2)
    assert got.json['infohash'] == c
    assert far.counter('joins') == 4


@needs_namespaces
def test_metadata_counts_torrents_not_questions(stage):
    """Those of a batch; equal ones are one."""
    far = Far(stage, {'swarm.cold_rate': 1, 'swarm.cold_burst': 2, 'swarm.dht': 'off',
                      'metadata.timeout': '1s', 'metadata.webhook_secret': 'x'})
    a, b, c, e = ids(4)
    got = far.post('/api/v1/metadata/batch?timeout=100ms', [a, b, c, a, e]).json
    assert [x['status'] for x in got] == [504, 504, 429, 504, 429]
    assert got[2]['code'] == 'limited' and 1 <= got[2]['retry_after'] <= 60
    refused = far.post('/api/v1/metadata?async=1', {'magnet_uri': c})
    assert refused.status == 429 and int(refused.headers['Retry-After']) >= 1


@needs_namespaces
def test_who_is_refused_for_want_of_room_has_paid_nothing(stage):
    far = Far(stage, {'swarm.cold_rate': 1, 'swarm.cold_burst': 2, 'swarm.dht': 'off',
                      'metadata.flights': 1, 'metadata.timeout': '60s'})
    got = [far.post('/api/v1/metadata?timeout=100ms', {'magnet_uri': x}) for x in ids(4)]
    assert [a.status for a in got] == [504, 503, 503, 503], got
    assert {a.json['code'] for a in got[1:]} == {'busy'}
    assert far.counter('cold_given') == 3 and far.counter('cold_limited') == 0


@needs_namespaces
def test_each_job_counts(stage):
    """Whatever is known of its torrent: its place is kept. A webhook does once more."""
    far = Far(stage, {'swarm.cold_rate': 1, 'swarm.cold_burst': 4, 'swarm.dht': 'off',
                      'metadata.timeout': '1s', 'metadata.webhook_secret': 'x'})
    a = ids(1)[0]
    job, hook = {'magnet_uri': a}, {'magnet_uri': a, 'webhook': 'http://203.0.113.9/'}
    got = [far.post('/api/v1/metadata?async=1', x).status for x in (job, hook, hook, job, job)]
    assert got == [202, 202, 429, 202, 429]
    assert far.counter('meta_jobs') == 3


@needs_namespaces
def test_an_upload_costs_as_a_torrent_does(stage):
    """Reading it is work."""
    far = Far(stage, {'swarm.cold_rate': 1, 'swarm.cold_burst': 2})
    got = [far.post('/api/v1/metadata', b'd4:infodee') for _ in range(3)]
    assert [x.status for x in got] == [400, 400, 429]
    assert 1 <= int(got[2].headers['Retry-After']) <= 60
    assert far.counter('meta_bad_uploads') == 2


@needs_namespaces
def test_what_needs_no_join_costs_nothing(stage):
    """The engine says that an id means a swarm which is joined already. It has cost a token
    before that was known, which comes back."""
    a, b, c, *more = ids(8)
    far = Far(stage, {'swarm.cold_rate': 1, 'swarm.cold_burst': 2}, dict.fromkeys(more, a))
    assert far.ask(a).status == 200
    for x in more:
        got = far.ask(x)
        assert (got.status, got.json['infohash']) == (200, a)
    assert far.counter('cold_given') == len(more) and far.counter('joins') == 1
    assert far.ask(b).status == 200     # the second token
    assert far.ask(c).status == 503
    assert far.counter('cold_limited') == 1


@needs_namespaces
def test_peers_that_a_question_names_cost_as_much(stage):
    """Each is a connection to an address of the asker's choice; those that are known are
    free, and the question is answered."""
    far = Far(stage, {'swarm.cold_rate': 1, 'swarm.cold_burst': 4, 'swarm.dht': 'off',
                      'swarm.discovery_wait': '200ms'})
    x = ids(1)[0]
    named = ''.join(f'&x.pe=203.0.113.{i}:6881' for i in range(10, 20))
    for _ in range(2):                  # 1 for the swarm, 3 for peers
        assert far.ask(x, more=named).status == 200
    assert far.counter('given_limited') == 7 + 7
    assert far.ask(x).json['total_peers'] == 3


def test_cold_lookups_from_this_machine_are_not(daemon, tracker):
    d = daemon({'swarm.trackers': tracker().http, 'swarm.cold_rate': 1, 'swarm.cold_burst': 1})
    assert [d.get(f'/peers/{x}').status for x in ids(5)] == [200] * 5
    assert counter(d, 'cold_limited') == 0

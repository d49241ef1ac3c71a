"""GET /metrics: the format as Prometheus reads it, what is counted, what survives."""
import http.client
import os
import re
import signal
import time

import netns
import pytest
from daemon import Daemon
from netns import World
from parts import Tracker
from procs import ROOT, wait_until
from prom import Scrape, promtool, scrape

REQUESTS = 'peerscope_http_requests_total'
TIMES = 'peerscope_http_request_duration_seconds'
HASH = 'fe' * 20
REASON = netns.why_not()


def test_promtool_finds_nothing_wrong(daemon):
    d = daemon()
    for path in '/peers/' + HASH + '?wait=0', '/nowhere', '/livez':
        d.get(path)
    a = d.get('/metrics')
    assert a.headers['Content-Type'] == 'text/plain; version=0.0.4; charset=utf-8'
    assert a.headers['Cache-Control'] == 'no-store'
    code, said = promtool('check', 'metrics', text=a.body.decode())
    assert (code, said) == (0, '')
    head = d.request('HEAD', '/metrics')
    assert head.status == 200 and head.body == b''
    assert d.request('POST', '/metrics', body='x').status == 405


def rows(kind):
    with open(os.path.join(ROOT, 'shm', 'stat.h'), encoding='utf-8') as f:
        text = f.read()
    block = re.search(rf'#define STAT_{kind}\(X\)(.*?)\n\n|\Z', text, re.S)[1]
    return re.findall(r'^X\((\w+), "([^"]*)"\)', block, re.M)


def test_every_row_is_shown_with_its_text(daemon):
    s = scrape(daemon())
    assert len(rows('COUNTERS')) > 100 and len(rows('GAUGES')) > 50
    for name, text in rows('COUNTERS'):
        name = 'peerscope_' + re.sub('_ms$', '_seconds', name) + '_total'
        assert s.types[name] == 'counter'
        if name != REQUESTS:
            assert s.get(name) is not None and s.helps[name] == text
    for name, text in rows('GAUGES'):
        name = 'peerscope_' + re.sub('_s$', '_timestamp_seconds', name)
        assert s.types[name] == 'gauge' and s.helps[name] == text
        assert s.get(name) is not None


def test_facts_of_the_daemon(daemon):
    d = daemon({'geo.online_daily': 77, 'geo.online': 'on',
                'geo.online_url': 'http://127.0.0.1:9/'})
    with open(os.path.join(ROOT, 'VERSION'), encoding='utf-8') as f:
        version = f.read().strip()
    s = wait_until(lambda: (lambda s: s if s.get('peerscope_geo_online_left') else None)(
        scrape(d)), what='the collector has told')
    [(build, one)] = s.all('peerscope_build_info')
    assert build['version'] == version and build['commit'] and one == 1
    assert s.get('peerscope_collector_up') == 1
    assert s.get('peerscope_collector_starts_total') == 1
    assert s.get('peerscope_generation') == 1 and s.get('peerscope_workers') == 2
    assert s.get('peerscope_respawns_total') == 0
    assert 0 < s.get('peerscope_uptime_seconds') < 60
    assert s.get('peerscope_geo_online_left') == 77
    assert s.get('peerscope_table_slots') == 5000


def test_processes_tell_what_they_use(daemon):
    d = daemon()
    wait_until(lambda: scrape(d).sum('peerscope_process_cpu_seconds_total') > 0,
               what='somebody has computed')
    s = scrape(d)
    pids = [('master', d.pid)] + [(r, p) for r, l in d.roles().items() for p in l]
    for name in 'resident_memory_bytes', 'open_fds', 'max_fds', 'start_time_seconds':
        got = s.all(f'peerscope_process_{name}')
        assert sorted(x['role'] for x, _ in got) == sorted(r for r, _ in pids)
        assert all(v > 0 for _, v in got), name
    for role, pid in pids:
        with open(f'/proc/{pid}/statm', encoding='ascii') as f:
            rss = int(f.read().split()[1]) * 4096
        said = [v for _, v in s.all('peerscope_process_resident_memory_bytes', role=role)]
        assert any(abs(v - rss) < 16 << 20 for v in said)
        here = len(os.listdir(f'/proc/{pid}/fd'))
        assert any(abs(v - here) <= 4 for _, v in s.all('peerscope_process_open_fds', role=role))
    started = [v for _, v in s.all('peerscope_process_start_time_seconds')]
    assert all(abs(time.time() - v) < 60 for v in started)


# --- counting -----------------------------------------------------------------------

def rise(d, ask, **labels):
    """By how much ask() raises the one counter with these labels, and the histogram's."""
    before = scrape(d)
    ask()
    after = scrape(d)
    got = (after.get(REQUESTS, **labels) or 0) - (before.get(REQUESTS, **labels) or 0)
    route = {'route': labels['route']}
    timed = (after.get(f'{TIMES}_count', **route) or 0) \
        - (before.get(f'{TIMES}_count', **route) or 0)
    return got, timed


def test_each_code_of_each_route_is_counted(daemon, swarm, tracker):
    s, t = swarm([{'count': 3, 'progress': 50}]), tracker()
    t.set(s.infohash, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.http, 'swarm.linger': '10m', 'cache.ttl': '1m'})
    path = f'/peers/{s.infohash}'
    wait_until(lambda: d.peers(s.infohash)['phase'] == 'settled', 20, 'it is settled')
    tag = wait_until(lambda: d.get(path).headers['ETag'], what='an ETag')

    def status(want, method, where, **kw):
        def ask():
            a = d.request(method, where, **kw)
            assert a.status == want, a
        return ask
    plain = [
        (status(200, 'GET', path), '/peers/{id}', 200),             # the hot path
        (status(200, 'HEAD', path), '/peers/{id}', 200),
        (status(304, 'GET', path, headers={'If-None-Match': tag}), '/peers/{id}', 304),
        (status(304, 'GET', path, headers={'If-None-Match': '*'}), '/peers/{id}', 304),
        (status(400, 'GET', '/peers/nonsense'), '/peers/{id}', 400),
        (status(405, 'POST', path), '/peers/{id}', 405),
        (status(204, 'OPTIONS', path), '/peers/{id}', 204),
        (status(200, 'GET', '/livez'), '/livez', 200),
        (status(400, 'POST', '/api/v1/metadata', body='{'), '/api/v1/metadata', 400),
        (status(404, 'GET', '/api/v1/jobs/nobody'), '/api/v1/jobs/{id}', 404),
        (status(404, 'GET', '/' + HASH), 'none', 404),
        (status(400, 'GET', '/%zz'), 'none', 400),
    ]
    for ask, route, code in plain:
        assert rise(d, ask, route=route, code=str(code)) == (1, 1), (route, code)

    def refused():
        assert b' 431 ' in d.raw(b'GET /livez HTTP/1.1\r\nHost: x\r\nA: ' + b'a' * 20000)
    assert rise(d, refused, route='none', code='431') == (1, 0)     # never was whole


def test_the_histogram_knows_how_long(daemon, tracker):
    """A frozen collector: a question that nobody answers is a 503 after its time, is in
    the right bucket, and /metrics goes on."""
    d = daemon({'swarm.trackers': tracker().http, 'swarm.discovery_wait': '100ms',
                'http.workers': 1})
    pid = d.collector()
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert d.get(f'/peers/{HASH}').status == 503
        took = time.monotonic() - began
        s = scrape(d)
        wait_until(lambda: scrape(d).get('peerscope_collector_up') == 0, 10,
                   'it is taken for dead')
        again = scrape(d)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert s.get(REQUESTS, route='/peers/{id}', code='503') == 1
    total = s.get(f'{TIMES}_sum', route='/peers/{id}')
    assert 3 < total <= took            # the wait, and PEERS_MARGIN_MS of worker/peers.h
    for labels, v in s.all(f'{TIMES}_bucket', route='/peers/{id}'):
        end = float(labels['le'].replace('+Inf', 'inf'))
        assert v == (1 if end >= total else 0), labels
    assert 'peerscope_dht_nodes' not in again.types
    assert again.get('peerscope_collector_beat_age_seconds') > 5
    assert again.get(REQUESTS, route='/peers/{id}', code='503') == 1


@pytest.mark.skipif(REASON is not None, reason=REASON or '')
def test_a_429_is_counted(stage):
    """One that is far away asks for more metadata than it may."""
    world = World(stage, ('tun0',))
    with world.around:
        t = Tracker(stage, address=World.TRACKER)
    with world.house:
        d = Daemon(stage, {'http.listen': '192.0.2.1:0', 'swarm.listen': '0.0.0.0:42069',
                           'swarm.trackers': t.http, 'swarm.cold_rate': 1,
                           'swarm.cold_burst': 1, 'metadata.timeout': '1s',
                           'metadata.cache_dir': stage.fresh_dir('cache')})

    def ask(n):
        with world.around:
            c = http.client.HTTPConnection('192.0.2.1', d.port, timeout=20)
            c.request('POST', '/api/v1/metadata', '{"info_hash": "%040x"}' % n,
                      {'Content-Type': 'application/json'})
        status = c.getresponse().status
        c.close()
        return status
    assert [ask(1), ask(2)] == [504, 429]
    with world.house:
        s = scrape(d)
    assert s.get(REQUESTS, route='/api/v1/metadata', code='429') == 1
    assert s.get(REQUESTS, route='/api/v1/metadata', code='504') == 1


# --- what survives ---------------------------------------------------------------------

def falls(before, after):
    """What went down, or away; a process that was replaced computes from nothing."""
    now = after.counts()
    return {k: (v, now.get(k)) for k, v in before.counts().items()
            if now.get(k, -1) < v and 'process_cpu' not in k[0]}


def test_nothing_falls_over_a_death_or_a_reload(daemon):
    d = daemon()
    for i in range(30):
        d.get('/livez')
        d.get(f'/nowhere{i}')
    before = scrape(d)
    assert before.sum(REQUESTS, route='none', code='404') == 30
    victim = d.roles()['worker'][0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: scrape(d).get('peerscope_respawns_total') == 1, what='another began')
    dead = scrape(d)
    assert falls(before, dead) == {}
    assert dead.get('peerscope_deaths_signal_total') == 1
    assert dead.sum(REQUESTS, route='none', code='404') == 30
    d.kill(signal.SIGHUP)
    wait_until(lambda: scrape(d).get('peerscope_generation') == 2, what='the next generation')
    wait_until(lambda: len(d.roles()['worker']) == 2, what='the old ones left')
    reloaded = scrape(d)
    assert falls(dead, reloaded) == {}
    assert reloaded.sum(REQUESTS, route='none', code='404') == 30
    assert reloaded.get(f'{TIMES}_count', route='none') == 30
    assert reloaded.get('peerscope_config_reloads_total') == 1


def test_a_killed_collector_is_told(daemon):
    """Killed each time it comes back, so that its absence can be seen for sure."""
    d = daemon()
    d.exit_expected = None
    before = scrape(d)
    assert before.get('peerscope_collector_up') == 1 and before.get('peerscope_dht_nodes') == 0

    def gone():
        for pid in d.roles()['collector']:
            os.kill(pid, signal.SIGKILL)
        s = scrape(d)
        return s if s.get('peerscope_collector_up') == 0 else None
    s = wait_until(gone, 20, 'nobody is there', every=0.02)
    assert falls(before, s) == {}
    assert 'peerscope_dht_nodes' not in s.types and s.get('peerscope_table_slots') == 5000
    assert promtool('check', 'metrics', text=s.text) == (0, '')
    back = wait_until(lambda: (lambda s: s if s.get('peerscope_collector_up') else None)(
        scrape(d)), 30, 'another one runs')
    assert back.get('peerscope_collector_starts_total') > 1 and falls(s, back) == {}


def test_labels_do_not_grow_with_what_is_asked(daemon):
    d = daemon()
    for path in '/livez', '/%zz', '/nowhere', f'/peers/{HASH}?wait=0', '/peers/x':
        d.get(path)
    before = {k for k in scrape(d).samples}
    for i in range(40):
        d.get(f'/nowhere{i}')
        d.get(f'/peers/{i:040x}?wait=0')
        d.get(f'/peers/bad{i}')
    after = scrape(d)
    new = {k for k in after.samples} - before
    assert all(dict(k[1]).get('route') in ('/metrics',) for k in new), new
    assert f'{1:040x}' not in after.text and '127.0.0.1' not in after.text


def test_the_reader_of_these_tests_is_strict():
    """It fails on what a server would refuse."""
    good = '# HELP a b\n# TYPE a gauge\na{x="1"} 2\n'
    assert Scrape(good).get('a', x='1') == 2
    for bad in good + 'a{x="1"} 3\n', good + 'a{x=1} 3\n', good + 'a{x="1"}\n', good[:-1], \
            good + '# TYPE a gauge\n':
        with pytest.raises(AssertionError):
            Scrape(bad)
    assert promtool('check', 'metrics', text='# TYPE a counter\na 1\n')[0] != 0

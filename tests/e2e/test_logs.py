"""What the log says, and of what it is silent: text or one JSON object a line whatever bytes
come in, a request's id from header to header, no peer's address above debug, no secret."""
import json
import os
import re
import signal
import subprocess

import netns
import pytest
from acecheck import FAST
from daemon import BIN
from procs import slow, wait_until
from prom import scrape

TEXT = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z '
                  r'peerscope\[(\S+) (\d+)\] (\w+) ([\w ]+): ([ -~]*)')
STAMP = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z')
LEVELS = {'fatal', 'error', 'warn', 'notice', 'info', 'debug'}
KEYS = {'time', 'level', 'who', 'pid', 'topic', 'message'}
MADE = re.compile('[0-9a-f]{32}')
API = '/api/v1/metadata'
NOBODY = 'fe' * 20
EVIL = b'"}\n{"level":"fatal","x":"\x00\x1b[31m\xff\xc3\\'
SILENT = 'http://127.0.0.1:9/announce'


def objects(text):
    """Each line as an object, which it has to be."""
    out = []
    for line in text.splitlines():
        o = json.loads(line)
        assert KEYS <= set(o) <= KEYS | {'request_id'}, line
        assert STAMP.fullmatch(o['time']) and o['level'] in LEVELS and o['pid'] > 0
        assert re.fullmatch(r'master|collector|w\d+\.g\d+', o['who']), line
        assert o['message'] and line.isascii() and line.isprintable() and len(line) < 1024
        out.append(o)
    return out


def lines(text):
    """The same of text."""
    found = [TEXT.fullmatch(line) for line in text.splitlines()]
    assert all(found), [t for t, m in zip(text.splitlines(), found) if not m]
    return [{'who': m[1], 'level': m[3], 'topic': m[4], 'message': m[5]} for m in found]


def about(d, request):
    return [o for o in objects(d.log()) if o.get('request_id') == request]


def post(d, body, path=API, **headers):
    return d.request('POST', path, headers, body if isinstance(body, bytes) else json.dumps(body))


# No peer, no secret -------------------------------------------------------------------------
def hostile(net):
    """Peers that name themselves by their address, by bytes that are no text, or lie."""
    base = net.take(40)
    spec = [{'count': 1, 'name': f'I am {base}:6881'},
            {'count': 2, 'name_hex': EVIL.hex()},
            {'count': 2, 'name': 'A' * 400}, {'count': 3, 'pex': 20}]
    spec += [{'count': 2, 'behaviour': b} for b in (
        'liar', 'flaky', 'silent', 'close', 'garbage', 'wrong_hash', 'dead', 'full',
        'huge_length', 'huge_bitfield', 'no_extension', 'no_bitfield')]
    return base, spec


@pytest.mark.parametrize('form', ['text', 'json'])
def test_no_peer_is_named_above_debug(daemon, swarm, ace_swarm, tracker, ipwhois, net, tmp_path,
                                      form):
    base, spec = hostile(net)
    s = swarm(spec, base=base)
    a = ace_swarm([{'count': 3, 'gossip': 2, 'source': ['203.0.113.9', 7764]}] + [
        {'count': 1, 'behaviour': b} for b in ('gossip_lies', 'bad_signature', 'content', 'flood',
                                               'huge_length', 'garbage', 'reset', 'dead')])
    told = [f'5.6.7.{i}' for i in range(1, 9)]
    t, failing, service = tracker(), tracker(), ipwhois()
    t.set(s.infohash, peers=s.endpoints() + [[x, 6881] for x in told])
    for k in a.keys:
        t.set(k, peers=a.endpoints())
    failing.set(mode='failure', reason=f'{base}:6881 and [2001:db8::7]:1 are banned')
    for x in told:
        service.told[x] = {'success': False, 'message': f'Invalid API key for {x}'}
    d = daemon({'swarm.trackers': f'{t.http},{failing.http}', 'acestream.trackers': t.udp,
                'geo.online': 'on', 'geo.online_url': service.url, 'log.format': form,
                'http.workers': 1, 'swarm.discovery_wait': '1s', 'metadata.timeout': '1s',
                'metadata.cache_dir': str(tmp_path / 'meta'), **FAST})
    d.exit_expected = None
    given = '&'.join(f'x.pe={net.take()}:6881' for _ in range(4))
    d.peers(s.infohash)
    d.get(f'/peers/{s.infohash}?{given}')
    d.get(f'/peers/{base}?limit=x')
    d.peers(a.key)
    link = f'magnet:?xt=urn:btih:{s.infohash}' + ''.join(
        f'&x.pe={p}:{q}' for p, q in s.endpoints()[:8])
    assert post(d, {'magnet_uri': link}).status in (200, 504)
    assert post(d, b'd8:announce' + f'{len(failing.http)}:{failing.http}'.encode()
                + b'4:infod4:name' + f'{len(base)}:{base}ee'.encode()).status == 400
    d.get('/%00%ff' + base)
    d.until_peers(s.infohash, lambda p: any('I am' in x['client'] for x in p.values()), 30)
    wait_until(lambda: d.log_lines('left alone for'), 30, 'the web service has failed')
    wait_until(lambda: d.log_lines('are banned'), 20, 'a tracker has said why')
    os.kill(d.roles()['worker'][0], signal.SIGKILL)
    os.kill(d.collector(), signal.SIGKILL)
    wait_until(lambda: len(d.log_lines('started again')) >= 2, 30, 'both are back')
    wait_until(d.ready, 20)
    d.peers(s.infohash)
    d.stop()
    log = d.log()
    said = (objects if form == 'json' else lines)(log)
    assert {o['topic'] for o in said} >= {'master', 'swarm', 'tracker', 'geo', 'metadata'}
    assert len([o for o in said if o['level'] == 'info']) > 5
    strangers = [p['address'] for p in s.peers + a.peers] + told + ['203.0.113.9', '2001:db8']
    strangers += [x.partition(':')[0][5:] for x in given.split('&')]
    assert len(strangers) > 40
    assert [(x, line) for line in log.splitlines() for x in strangers
            if re.search(re.escape(x) + r'(?!\d)', line)] == []
    assert 'I am' not in log and '[31m' not in log



SECRETS = {'redis.url': ('redis://:{}@127.0.0.1:9/0', 'pass-of-redis'),
           'vpn.api_key': ('{}', 'key-of-gluetun'), 'vpn.password': ('{}', 'pass-of-gluetun'),
           'metadata.webhook_secret': ('{}', 'key-of-webhooks'),
           'swarm.trackers': ('http://127.0.0.1:9/{}/announce', 'passkey-of-tracker')}


def test_no_secret_is_said(daemon, gluetun, tmp_path):
    """At debug, while all that they are for fails: of the configuration, of a link, a .torrent,
    a webhook, a query; nor by a reload that changes them or that is refused."""
    g = gluetun(auth='apikey', key='another')
    conf = {k: form.format(secret) for k, (form, secret) in SECRETS.items()}
    conf |= {'log.level': 'debug', 'log.format': 'json'}
    d = daemon({'redis.mode': 'external', 'vpn.gluetun_url': g.url, 'metadata.job_timeout': '2s',
                'metadata.timeout': '500ms', 'metadata.cache_dir': str(tmp_path / 'meta'),
                'log.level': None, 'swarm.trackers': None},
               file=ini(conf))
    link = f'magnet:?xt=urn:btih:{NOBODY}&tr=http%3A%2F%2F127.0.0.1%3A9%2Fpasskey-of-link%2Fx'
    post(d, {'magnet_uri': link})
    assert post(d, {'magnet_uri': link, 'webhook': 'http://127.0.0.1:9/h?t=token-of-hook'},
                API + '?async=1').status == 202
    post(d, b'd8:announce40:http://127.0.0.1:9/passkey-of-torrent/ax4:infod4:name1:aee')
    d.get(f'/peers/{NOBODY}?wait=1s&key=key-of-query')
    for what in 'redis: ', 'vpn: ', 'tracker: ', 'metadata: webhook':
        topic, _, rest = what.partition(': ')
        wait_until(lambda: [o for o in objects(d.log()) if o['topic'] == topic  # noqa: B023
                            and o['message'].startswith(rest)], 30, what)       # noqa: B023
    changed = {k: v.replace('-of-', '-was-of-') for k, v in conf.items()}
    d.reload(ini(changed))
    with open(d.file, 'w', encoding='utf-8') as f:
        f.write(ini({k: v.replace('://', ':/') for k, v in changed.items()}))
    d.kill(signal.SIGHUP)
    wait_until(lambda: d.log_lines('reload refused'), what='a broken one is refused')
    d.stop()
    assert re.findall(r'\S*-(?:was-)?of-\S*', d.log()) == []


def ini(conf):
    sections = {}
    for k, v in conf.items():
        section, _, key = k.partition('.')
        sections.setdefault(section, []).append(f'{key} = {v}')
    return ''.join(f'[{s}]\n' + '\n'.join(rows) + '\n' for s, rows in sections.items())


# The name of a request ------------------------------------------------------------------
@pytest.fixture
def asked(daemon, swarm, tracker, tmp_path):
    """A daemon that knows a settled swarm, and logs as JSON at debug."""
    s, t = swarm([{'count': 3, 'progress': 50}]), tracker()
    t.set(s.infohash, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.http, 'cache.ttl': '1m', 'log.format': 'json',
                'log.level': 'debug', 'metadata.cache_dir': str(tmp_path / 'meta'),
                'metadata.timeout': '300ms', 'swarm.discovery_wait': '1s', 'http.workers': 1})
    d.swarm = s
    wait_until(lambda: d.peers(s.infohash)['phase'] == 'settled', 20, 'it is settled')
    return d


def test_each_answer_names_its_request(asked):
    d, known = asked, f'/peers/{asked.swarm.infohash}'
    tag = wait_until(lambda: d.get(known).headers['ETag'], what='an ETag')
    ways = [('GET', known, 200, {}), ('HEAD', known, 200, {}),
            ('GET', known, 304, {'If-None-Match': tag}), ('GET', known + '?limit=1', 200, {}),
            ('GET', f'/peers/{NOBODY}', 200, {}), ('GET', '/peers/x', 400, {}),
            ('POST', known, 405, {}), ('OPTIONS', known, 204, {}), ('OPTIONS', API, 200, {}),
            ('GET', '/nowhere', 404, {}), ('GET', '/%zz', 400, {}), ('GET', '/metrics', 200, {}),
            ('GET', '/health', 200, {}), ('GET', '/livez', 200, {}), ('GET', '/readyz', 200, {}),
            ('POST', API, 400, {}), ('POST', API + '/batch', 400, {}),
            ('GET', f'{API}/{NOBODY}', 404, {}), ('GET', '/api/v1/jobs/x', 404, {}),
            ('GET', '/download/x', None, {}), ('GET', '/livez', 417, {'Expect': 'x'})]
    seen = set()
    for n, (method, path, status, headers) in enumerate(ways):
        for given in None, f'mine-{n}', 'not sane', 'x' * 65:
            a = d.request(method, path, {**headers, **({'X-Request-Id': given} if given else {})},
                          body='x' if method == 'POST' else None)
            assert a.status == status or status is None, (method, path, a)
            [name] = a.headers.get_all('X-Request-Id')
            if given == f'mine-{n}':
                assert name == given
            else:
                assert MADE.fullmatch(name) and name not in seen
            seen.add(name)
            if a.status >= 400 and a.body:
                assert a.json['request_id'] == name
    assert scrape(d).get('peerscope_http_ids_refused_total') == 2 * len(ways)


def test_a_line_about_a_request_has_its_name(asked):
    """In the worker, and through the ring in the collector; none that is not about it."""
    d = asked

    def both():                 # the brake lets 20 of a kind pass in a second
        d.get(f'/peers/{NOBODY}?x.pe=127.0.0.9:1', {'X-Request-Id': 'a-join'})
        got = about(d, 'a-join')
        return got if len({o['who'] for o in got}) == 2 else None
    got = wait_until(both, what='both have said it', every=0.1)
    assert {(o['who'], o['topic']) for o in got} == {('w1.g1', 'http'), ('collector', 'swarm')}
    line = [o['message'] for o in got if o['topic'] == 'http'][0]
    assert re.fullmatch(rf'GET /peers/{NOBODY}: 200 in \d+ us', line)
    assert len([o for o in got if f'{NOBODY} joined' in o['message']]) == 1
    post(d, {'info_hash': 'ab' * 20}, **{'X-Request-Id': 'no-metadata'})
    wait_until(lambda: [o for o in about(d, 'no-metadata') if 'nobody has' in o['message']],
               what='the collector says who asked first')
    post(d, b'd4:infod4:name1:aee', **{'X-Request-Id': 'no-torrent'})
    wait_until(lambda: [o for o in about(d, 'no-torrent') if 'is no torrent' in o['message']],
               what='and whose upload it was')
    a = post(d, {'info_hash': 'cd' * 20}, API + '?async=1', **{'X-Request-Id': 'a-job'})
    wait_until(lambda: [o for o in about(d, 'a-job') if a.json['id'] in o['message']],
               what='and what the job is called')
    d.kill(signal.SIGHUP)
    wait_until(lambda: d.log_lines('new settings taken'), what='a reload')
    assert all('request_id' not in o for o in objects(d.log())
               if o['topic'] in ('config', 'master'))


def test_what_went_wrong_is_told_at_info(daemon, tracker):
    d = daemon({'swarm.trackers': tracker().http, 'swarm.discovery_wait': '100ms'})
    d.get('/livez', {'X-Request-Id': 'good'})
    pid = d.collector()
    os.kill(pid, signal.SIGSTOP)
    try:
        a = d.get(f'/peers/{NOBODY}', {'X-Request-Id': 'bad'})
    finally:
        os.kill(pid, signal.SIGCONT)
    assert a.status == 503 and a.json['request_id'] == 'bad'
    [line] = wait_until(lambda: [x for x in d.log_lines('(request bad)') if ' http: ' in x],
                        what='the line')
    assert re.search(rf' info http: GET /peers/{NOBODY}: 503 in \d+ us \(request bad\)$', line)
    assert d.log_lines('good') == []


@pytest.mark.parametrize('path', [b'/%00%0a%22%7d', b'/"}{', b"/\\u0041'", b'/%ff%fe',
                                  b'/' + b'"' * 4000])
def test_an_odd_path_is_one_object(asked, path):
    ask = (b'GET ' + path + b' HTTP/1.1\r\nHost: x\r\nX-Request-Id: odd\r\n'
           b'Connection: close\r\n\r\n')
    assert b'\r\nX-Request-Id: odd\r\n' in asked.raw(ask)

    def told():                 # the brake lets 20 of its kind pass in a second
        asked.raw(ask)
        return about(asked, 'odd')
    o = wait_until(told, what='its line', every=0.1)[0]
    assert o['message'].startswith('GET ' + path[:200].decode()), o


def test_a_question_that_waits_for_redis_keeps_its_name(daemon, redis_server):
    r = redis_server()
    d = daemon({'redis.mode': 'external', 'redis.url': r.url, 'swarm.discovery_wait': '100ms'})
    wait_until(lambda: d.get('/health').json['redis_available'], what='redis is up')
    d.get(f'/peers/{NOBODY}', {'X-Request-Id': 'by-redis'})
    [line] = wait_until(lambda: d.log_lines(f'{NOBODY} joined'), what='it is joined')
    assert line.endswith(' (request by-redis)')


# The form ---------------------------------------------------------------------------------
def test_a_reload_changes_the_form_everywhere(daemon):
    d = daemon({'log.level': None, 'log.format': None}, file=ini({'log.level': 'info'}))

    def form_of_all(form):
        """The lines that the reload left, of all three kinds of processes."""
        before = len(d.log())
        d.reload(ini({'log.level': 'debug', 'log.format': form}))
        wait_until(lambda: len(d.roles()['worker']) == 2, what='the old ones left')
        d.get('/livez')

        def all_said():
            whole = d.log()[before:].rpartition('\n')[0].splitlines()
            mine = [x for x in whole if x.startswith('{') == (form == 'json')]
            new = (objects if form == 'json' else lines)('\n'.join(mine))
            kinds = {o['who'][0] for o in new}
            return kinds if kinds >= {'m', 'c', 'w'} else None
        wait_until(all_said, 10, f'all speak {form}')
    form_of_all('json')
    form_of_all('text')


def test_what_is_wrong_at_the_start_is_said_in_that_form(daemon):
    d = daemon({'log.format': 'json', 'http.nonsense': '1', 'cache.ttl': '5'}, wait=False)
    d.exit_expected = 78
    assert d.proc.wait(10 * slow()) == 78
    said = objects(d.log())
    assert [o['level'] for o in said] == ['error', 'error', 'fatal']
    assert 'http.nonsense' in d.log() and 'cache.ttl' in d.log()


def test_what_libevent_says_has_that_form(daemon, stage, tmp_path):
    """Its resolver speaks when it has no way to any name server."""
    why = netns.why_not()
    if why:
        pytest.skip(why)
    wrap = tmp_path / 'wrap'
    wrap.write_text(f'#!/bin/sh\nexec unshare -n {BIN} "$@"\n')
    wrap.chmod(0o755)
    sock = stage.path('http.sock')
    d = daemon({'http.listen': f'unix:{sock}', 'swarm.listen': '', 'log.format': 'json',
                'acestream.trackers': 'udp://tracker.example:2710/announce',
                'log.level': 'debug'}, binary=str(wrap), wait=False)
    wait_until(lambda: d.log_lines('serving on'), what='it serves')
    assert subprocess.run([BIN, 'peers', NOBODY, '--url', f'unix:{sock}'], check=False,
                          capture_output=True, timeout=30 * slow()).returncode == 0
    wait_until(lambda: [o for o in objects(d.log()) if o['topic'] == 'libevent'],
               what='the resolver has said so')

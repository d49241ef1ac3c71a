"""Every answer that worker/pages/openapi.json describes, asked of real daemons: a swarm of
scripted peers, cached torrents, a daemon whose collector stands still, one that leaves, and
clients from elsewhere. test_openapi.py compares; scripts/api-examples takes its examples here."""
import contextlib
import http.client
import json
import os
import signal
import socket

import metacache
import netns
from acecheck import FAST
from daemon import Answer, Daemon
from far import Far
from hooks import SECRET, Hooks
from parts import AceSwarm, Payload, Swarm, Tracker, wire
from procs import slow, wait_until

API = '/api/v1/metadata'
JSON = {'Content-Type': 'application/json'}
ABSENT, DEAD = '0123456789abcdef0123456789abcdef01234567', 'de' * 20
NEW_YORK, BERLIN = 0, 1             # 127.N/16 in tests/geo/make-mmdb.pl
BATCH, BATCHES = 50, 4              # items; as many of them as a worker holds


class Scene:
    """One answer. name: of its example; None: it is no example."""

    def __init__(self, operation, name, summary, answer, asked=None):
        self.operation, self.name, self.summary = operation, name, summary
        self.answer, self.asked = answer, asked

    @property
    def status(self):
        return str(self.answer.status)

    @property
    def type(self):
        return self.answer.headers.get('Content-Type')

    def __repr__(self):
        return f'{self.operation} {self.status} {self.name}'


class Play:
    def __init__(self, stage, mmdb):
        self.stage, self.scenes = stage, []
        self.tracker = Tracker(stage)
        self.payload = Payload(stage, (), size=3 << 14, name='example', piece_length=16384,
                               files=[('read me.txt', 300), ('video.mkv', (3 << 14) - 300)],
                               beside={'comment': 'an example', 'creation date': 1769860800})
        self.base = {
            'geo.city_db': os.path.join(mmdb, 'city.mmdb'), 'http.workers': 1,
            'geo.asn_db': os.path.join(mmdb, 'asn.mmdb'), 'swarm.trackers': self.tracker.udp,
            'metadata.downloads': 'on', 'metadata.webhook_secret': SECRET}

    def add(self, operation, name, summary, answer, status, asked=None):
        assert answer.status == status, (operation, name, answer)
        self.scenes.append(Scene(operation, name, summary, answer, asked))
        return answer

    def daemon(self, conf=None):
        cache = self.stage.fresh_dir('metadata')
        d = Daemon(self.stage, {**self.base, 'metadata.cache_dir': cache, **(conf or {})})
        d.cache = cache
        return d

    # /peers ------------------------------------------------------------------
    def people(self):
        groups = ((NEW_YORK, [{'count': 2, 'name': 'Transmission 3.00'}]),
                  (BERLIN, [{'count': 1, 'name': 'qBittorrent/4.5.2', 'progress': 50}]))
        told = []
        for block, spec in groups:
            s = Swarm(self.stage, spec, payload=self.payload, base=self.stage.net.in_block(block))
            told += s.endpoints()
        self.tracker.set(self.payload.infohash, peers=told)
        return self.payload.infohash

    def peers(self, d):
        def get(name, summary, query, who=None):
            path = f'/peers/{who or ih}?{query}'
            return self.add('getPeers', name, summary, d.get(path), 200)

        def unchanged():
            same = {'If-None-Match': d.get(f'/peers/{ih}').headers['ETag']}
            a = d.get(f'/peers/{ih}', same)
            return a if a.status == 304 else None
        ih = self.people()
        wait_until(lambda: d.peers(ih, wait='10s')['counts']['connected']['peers'] == 3, 20,
                   'all are met')
        wait_until(lambda: d.peers(ih)['phase'] == 'settled', 20, 'it is settled')
        wait_until(lambda: d.by_address(ih)[self.stage.net.in_block(BERLIN)]['country_code']
                   == 'DE', 20, 'places are known')
        get('swarm', 'a swarm, two of its peers', 'limit=2')
        get('filtered', 'those in Germany', 'country=de&sort=-progress&limit=1')
        get('summary', 'counts, without the list', 'summary=1&limit=0')
        get('csv', 'a table', 'format=csv&limit=2')
        get('ndjson', 'one object on a line', 'format=ndjson&limit=2')
        get('nobody', 'a swarm that nobody is in', 'wait=3s', ABSENT)
        get(None, 'a filter that nobody passes', 'country=fr&format=csv')
        get(None, 'nothing is known yet', 'wait=0', 'ab' * 20)
        self.add('getPeers', None, '', wait_until(unchanged, what='no newer version'), 304)
        self.add('getPeers', 'bad_id', 'no id', d.get('/peers/94c2'), 400)
        self.add('getPeers', 'bad_query', 'a value that is not allowed',
                 d.get(f'/peers/{ih}?limit=0'), 400)

    def engines(self, d):
        key = 'ac' * 20
        s = AceSwarm(self.stage, [{'count': 2, 'rate': 5.0, 'lag': [0, 40], 'country': 'DE',
                                   'asn': 64501, 'accessible': 1, 'distance': 1}], keys=[key])
        self.tracker.set(key, peers=s.endpoints())
        wait_until(lambda: (d.peers(key)['ace'] or {}).get('piece_seconds'), 30,
                   'it advances', every=0.2)
        self.add('getPeers', 'acestream', 'an AceStream stream',
                 d.get(f'/peers/{key}?sort=-lag&limit=1'), 200)

    # Metadata ------------------------------------------------------------------
    def ask(self, d, name, summary, status, body, query='', headers=None, batch=False):
        path = API + ('/batch' if batch else '') + query
        data = body if isinstance(body, bytes) else json.dumps(body)
        a = d.request('POST', path, headers or JSON, data, timeout=60)
        asked = None if isinstance(body, bytes) else body
        return self.add('postMetadataBatch' if batch else 'postMetadata', name, summary, a,
                        status, asked)

    def metadata(self, d):
        p = self.payload
        self.ask(d, 'link', 'a magnet link', 200,
                 {'magnet_uri': metacache.link(p.infohash, (), self.tracker.udp)})
        self.ask(d, 'infohash', 'an infohash', 200, {'info_hash': p.infohash})
        with open(p.path, 'rb') as f:
            self.ask(d, 'upload', 'a .torrent', 200, f.read(),
                     headers={'Content-Type': 'application/x-bittorrent'})
        for name, status, body, query in (
                ('missing_magnet', 400, {}, ''), ('invalid_magnet', 400, {'info_hash': 'x'}, ''),
                ('webhook_needs_async', 400, {'info_hash': DEAD, 'webhook': 'https://a/'}, ''),
                ('bad_query', 400, {'info_hash': DEAD}, '?timeout=soon'),
                (None, 400, b'{', ''), ('body_too_large', 413, b' ' * 70000, ''),
                ('invalid_torrent', 400, b'd4:infoi1ee', ''),
                ('unreadable_metadata', 422, {'magnet_uri': self.unreadable()}, ''),
                ('timeout', 504, {'info_hash': DEAD}, '?timeout=500ms')):
            self.ask(d, name, 'an error' if name else '', status, body, query)
        self.ask(d, 'unsupported_media_type', 'an error', 415, b'<html>', '',
                 {'Content-Type': 'text/html'})

    def unreadable(self):
        """A link to a torrent of nothing but padding."""
        info = wire.benc({'files': [{'attr': 'p', 'length': 16384, 'path': ['.pad', '16384']}],
                          'name': 'p', 'piece length': 16384, 'pieces': bytes(20)})
        p = Payload(self.stage, (), 1)
        with open(p.path, 'wb') as f:
            f.write(b'd4:info' + info + b'e')
        s = Swarm(self.stage, [{'count': 1}], payload=p)
        return metacache.link(s.infohash, s.endpoints())

    def nobody_has_it(self, d):
        """Its time is over, and for a while it is not looked for again."""
        def ask():
            a = d.request('POST', API + '?timeout=1s', JSON, metacache.asking(DEAD))
            return a.json['code'] == 'nobody_has_it' and a
        a = wait_until(ask, 30, 'nobody had it a moment ago')
        self.add('postMetadata', 'nobody_has_it', 'an error', a, 504)

    def batch(self, d):
        p = self.payload
        self.ask(d, 'two', 'one that is known, and one that is none', 200,
                 [p.infohash, {'magnet_uri': 'magnet:?dn=x'}], batch=True)
        self.ask(d, None, '', 200, {'items': [{'info_hash': DEAD}]}, '?timeout=100ms', batch=True)
        self.ask(d, 'too_many_items', 'an error', 400, [DEAD] * 51, batch=True)
        self.ask(d, 'async_batch', 'an error', 400, [DEAD], '?async=1', batch=True)
        self.ask(d, 'body_too_large', 'an error', 413, b' ' * 600000, batch=True)
        self.ask(d, 'unsupported_media_type', 'an error', 415, b'<html>', '',
                 {'Content-Type': 'text/html'}, batch=True)

    def reading(self, d):
        p = self.payload
        for operation, path, kind in (('getMetadata', API, 'json'),
                                      ('getTorrent', '/download', 'torrent')):
            a = self.add(operation, 'torrent' if kind == 'json' else None, 'what is cached',
                         d.get(f'{path}/{p.infohash}'), 200)
            same = {'If-None-Match': a.headers['ETag']}
            self.add(operation, None, '', d.get(f'{path}/{p.infohash}', same), 304)
            self.add(operation, 'invalid_hash', 'an error', d.get(f'{path}/x'), 400)
            self.add(operation, 'not_cached', 'an error', d.get(f'{path}/{ABSENT}'), 404)
            with unreadable(metacache.path_of(d.cache, DEAD, kind)):
                self.add(operation, 'cache_unreadable', 'an error', d.get(f'{path}/{DEAD}'), 503)

    def jobs(self, d):
        hooks = Hooks(self.stage)
        known = {'info_hash': self.payload.infohash, 'webhook': hooks.url}
        done = self.ask(d, 'done', 'a job whose torrent is cached', 202, known, '?async=1').json

        def begin():
            """One that had its turn before it was told of."""
            a = d.request('POST', API + '?async=1', JSON, json.dumps(wanted))
            return a if 'deadline' in a.json else None
        wanted = {'info_hash': ABSENT}
        begun = self.add('postMetadata', 'job', 'a job', wait_until(begin, what='a job'), 202,
                         wanted).json

        def job(which):
            return d.get(f'/api/v1/jobs/{which["id"]}')
        self.add('getJob', 'pending', 'it is looked for', job(begun), 200)
        wait_until(lambda: job(done).json['webhook']['state'] == 'delivered', 20, 'it is heard')
        self.add('getJob', 'done', 'it was found, and the webhook heard it', job(done), 200)
        wait_until(lambda: job(begun).json['state'] == 'failed', 30, 'nobody has it')
        self.add('getJob', 'failed', 'nobody had it', job(begun), 200)
        self.add('getJob', 'unknown_job', 'an error', d.get('/api/v1/jobs/x'), 404)
        with unreadable(os.path.join(d.run_dir, 'jobs', DEAD[:32])):
            a = d.get(f'/api/v1/jobs/{DEAD[:32]}')
        self.add('getJob', 'job_unreadable', 'an error', a, 503)

    # Of itself -------------------------------------------------------------------
    def itself(self, d):
        def get(operation, path, name=None, summary='', status=200, headers=None):
            return self.add(operation, name, summary, d.get(path, headers), status)
        get('getMetadataHealth', '/api/v1/health', 'state', 'all is well')
        get('getHealth', '/health', 'state', 'all is well')
        get('getLive', '/livez', 'alive', 'it answers')
        get('getReady', '/readyz', 'ready', 'it takes clients')
        get('getMetrics', '/metrics', 'scrape', 'the beginning of a scrape')
        for operation, path in (('getOpenapi', '/openapi.json'), ('getDocs', '/docs'),
                                ('getDocsFile', '/docs/docs.js'),
                                ('getDocsFile', '/docs/docs.css')):
            a = get(operation, path)
            get(operation, path, status=304, headers={'If-None-Match': a.headers['ETag']})
        get('getDocsFile', '/docs/x', 'not_found', 'an error', 404)

    def refused(self, d):
        def add(name, status, answer):
            self.add('Refused', name, 'an error', answer, status)
        add('not_found', 404, d.get('/peer'))
        add('method_not_allowed', 405, d.request('DELETE', '/health'))
        add('bad_path', 400, d.get('/peers/%zz'))
        add('uri_too_long', 414, d.get('/' + 'x' * 10000))
        add('headers_too_large', 431, d.get('/', {'X-Long': 'x' * 40000}))
        add('expectation_failed', 417, d.get('/', {'Expect': 'a wonder'}))
        add('not_implemented', 501, d.request('BREW', '/'))

    # Turned away ---------------------------------------------------------------------
    def full(self):
        """The collector stands still, so everybody waits: as many as there is room for."""
        d = self.daemon({'http.max_parked': BATCH * BATCHES + 1, 'metadata.downloads': 'off'})
        self.add('getTorrent', 'downloads_disabled', 'an error', d.get('/download/' + DEAD), 404)
        pid = d.collector()
        os.kill(pid, signal.SIGSTOP)
        try:
            with contextlib.ExitStack() as held:
                for n in range(BATCHES):
                    items = [f'{n:x}b{i:038x}' for i in range(BATCH)]
                    held.enter_context(hold(d, 'POST', API + '/batch', json.dumps(items)))
                wait_until(lambda: parked(d) == BATCH * BATCHES, what='they wait')
                self.ask(d, 'busy', 'an error', 503, [DEAD], batch=True)
                held.enter_context(hold(d, 'GET', f'/peers/{DEAD}?wait=25s'))
                wait_until(lambda: parked(d) == BATCH * BATCHES + 1, what='one more waits')
                self.add('getPeers', 'busy', 'an error', d.get(f'/peers/{ABSENT}'), 503)
                self.ask(d, 'busy', 'an error', 503, {'info_hash': ABSENT})
        finally:
            os.kill(pid, signal.SIGCONT)
        self.leaving(d)

    def leaving(self, d):
        with socket.create_connection((d.host, d.port), 30 * slow()) as s, \
                hold(d, 'GET', f'/peers/{ABSENT}?wait=3s'):
            wait_until(lambda: parked(d) >= 1, what='one waits')
            exchange(s, 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n')
            d.kill(signal.SIGTERM)
            wait_until(lambda: d.top()['draining'], what='it leaves')
            a = exchange(s, 'GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n')
        self.add('getReady', 'draining', 'it leaves', a, 503)
        d.proc.wait(20)

    def from_elsewhere(self):
        far = Far(self.stage, {'swarm.cold_rate': 1, 'swarm.cold_burst': 1,
                               'metadata.timeout': '1s'})
        assert far.ask(DEAD, wait='0').status == 200        # costs nothing
        assert far.ask(DEAD).status == 200
        self.add('getPeers', 'limited', 'an error', far.ask(ABSENT), 503)
        self.add('postMetadata', 'limited', 'an error',
                 far.post(API, {'info_hash': ABSENT}), 429)


def parked(d):
    return sum(p['parked'] for p in d.top()['processes'] if p['role'].startswith('worker'))


def exchange(s, text):
    """One answer on a connection that stays."""
    s.sendall(text.encode())
    r = http.client.HTTPResponse(s)
    r.begin()
    return Answer(r.status, r.headers, r.read())


@contextlib.contextmanager
def unreadable(path):
    """Something that can't be opened, by root neither."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        yield
    os.unlink(path)


@contextlib.contextmanager
def hold(d, method, path, body=''):
    """Somebody who waits for an answer."""
    with socket.create_connection((d.host, d.port), 30 * slow()) as s:
        s.sendall(f'{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n'
                  f'{body}'.encode())
        yield s


def play(stage, mmdb, all_of_it):
    """[Scene]: those that are quickly played, or all; without root none from elsewhere."""
    p = Play(stage, mmdb)
    d = p.daemon({'acestream.trackers': p.tracker.udp, 'acestream.second_look': '2s', **FAST,
                  'metadata.job_timeout': '2s', 'metadata.timeout': '5s'})
    quick = [p.peers, p.metadata, p.batch, p.reading, p.itself, p.refused]
    for part in quick + [p.engines, p.nobody_has_it, p.jobs] * all_of_it:
        part(d)
    if all_of_it:
        p.full()
        if netns.why_not() is None:
            p.from_elsewhere()
    return p.scenes

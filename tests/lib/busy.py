"""64 clients that never rest, of every kind that there is, while the daemon is reloaded or
upgraded; and what each of them saw."""
import http.client
import json
import threading
import time

import metacache
from procs import slow, wait_until

PEERS = 4
KINDS = ('warm', 'warm', 'warm fresh', 'cold fresh', 'wait', 'metadata', 'metadata fresh',
         'health')


class Swarms:
    """What they ask for: swarms of PEERS peers, a few known ones and many that nobody has
    asked for."""

    def __init__(self, swarm, tracker, torrents=800):
        t = tracker()
        self.swarm = swarm([{'count': PEERS, 'progress': 100}], torrents=torrents, delay_ms=30)
        for infohash in self.swarm.infohashes:
            t.set(infohash, peers=self.swarm.endpoints())
        self.known, self.fresh = self.swarm.infohashes[:8], self.swarm.infohashes[8:]
        self.conf = {'swarm.trackers': t.udp, 'cache.ttl': '1s', 'swarm.cold_rate': 0,
                     'swarm.discovery_wait': '4s', 'swarm.max_swarms': 1000,
                     'swarm.linger': '5m'}

    def meet(self, d):
        """The known ones are known."""
        for infohash in self.known:
            d.until_peers(infohash, lambda g: len(g) == PEERS)


class Busy:
    def __init__(self, daemon, swarms, clients=64):
        self.daemon, self.swarms = daemon, swarms
        self.failures, self.answers, self.longest = [], {k: 0 for k in KINDS}, 0.0
        self.next = 0
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(KINDS[i % len(KINDS)], i),
                                          daemon=True) for i in range(clients)]
        for t in self._threads:
            t.start()
        wait_until(lambda: all(n > 2 for n in self.answers.values()), 30,
                   'clients of all kinds are busy')

    def _fresh(self, turn):
        """One that nobody asked for; once there is none left, any."""
        with self._lock:
            self.next += 1
            n = self.next
        return self.swarms.fresh[n if n < len(self.swarms.fresh)
                                 else turn % len(self.swarms.fresh)]

    def _question(self, kind, turn):
        known = self.swarms.known[turn % len(self.swarms.known)]
        if kind == 'health':
            return 'GET', ('/livez', '/readyz', '/health', '/metrics')[turn % 4], None
        if kind.startswith('metadata'):
            what = self._fresh(turn) if turn % 4 == 0 else known
            link = metacache.link(what, self.swarms.swarm.endpoints())
            return 'POST', metacache.API, json.dumps({'magnet_uri': link})
        if kind == 'cold fresh':
            return 'GET', f'/peers/{self._fresh(turn)}?limit=2000', None
        return 'GET', f'/peers/{known}?limit=2000' + ('&wait=1s' if kind == 'wait' else ''), None

    def _fault(self, kind, status, body):
        if status != 200:
            return f'{status} {body[:200]}'
        if kind == 'health' or kind.startswith('metadata'):
            return None
        total = json.loads(body)['total_peers']
        return None if total == PEERS else f'{total} peers'

    def _run(self, kind, turn):
        conn = None
        while not self._stop.is_set():
            turn += 1
            method, path, body = self._question(kind, turn)
            conn = conn or http.client.HTTPConnection(self.daemon.host, self.daemon.port,
                                                      timeout=40 * slow())
            began, over = time.monotonic(), True
            try:
                conn.request(method, path, body,
                             {'Content-Type': 'application/json'} if body else {})
                r = conn.getresponse()
                why = self._fault(kind, r.status, r.read())
                over = r.will_close or 'fresh' in kind
            except (OSError, http.client.HTTPException) as e:
                why = repr(e)
            with self._lock:
                self.answers[kind] += 1
                self.longest = max(self.longest, time.monotonic() - began)
                if why:
                    self.failures.append((kind, method, path, why))
            if over:
                conn.close()
                conn = None
        if conn:
            conn.close()

    def total(self):
        return sum(self.answers.values())

    def goes_on(self, n=64):
        """So many more answers, of each kind some."""
        with self._lock:
            was, kinds = self.total(), dict(self.answers)
        wait_until(lambda: self.total() >= was + n and
                   all(self.answers[k] > kinds[k] for k in kinds), 30, 'answers go on')

    def stop(self):
        self._stop.set()
        for t in self._threads:
            t.join(60 * slow())
            assert not t.is_alive(), 'a request hangs'
        return self

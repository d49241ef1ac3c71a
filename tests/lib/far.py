"""Clients that are not on the daemon's machine: network namespaces, so root."""
import http.client
import json

from daemon import Answer, Daemon
from engine import Engine
from netns import World
from parts import Tracker


class Far:
    """Clients out in the world, not on the daemon's machine."""

    def __init__(self, stage, conf, engine=None):
        self.world = World(stage, ('tun0',))
        if engine:
            with self.world.house:
                conf = {'acestream.engine_url': Engine(stage, engine).url, **conf}
        with self.world.around:
            self.tracker = Tracker(stage, address=World.TRACKER)
        with self.world.house:
            self.daemon = Daemon(stage, {
                'http.listen': '192.0.2.1:0', 'swarm.listen': '0.0.0.0:42069',
                'swarm.trackers': self.tracker.http, 'http.workers': 4, **conf})

    def ask(self, infohash, source=World.TRACKER, wait='2s', more=''):
        """A new connection each time, so that all workers are met."""
        with self.world.around:
            conn = http.client.HTTPConnection('192.0.2.1', self.daemon.port, timeout=10,
                                              source_address=(source, 0))
            conn.request('GET', f'/peers/{infohash}?wait={wait}{more}')
        r = conn.getresponse()
        got = Answer(r.status, r.headers, r.read())
        conn.close()
        return got

    def post(self, path, data):
        with self.world.around:
            conn = http.client.HTTPConnection('192.0.2.1', self.daemon.port, timeout=30,
                                              source_address=(World.TRACKER, 0))
            conn.request('POST', path, data if isinstance(data, bytes) else json.dumps(data))
        r = conn.getresponse()
        got = Answer(r.status, r.headers, r.read())
        conn.close()
        return got

    def near(self, infohash):
        with self.world.house:
            return self.daemon.get(f'/peers/{infohash}?wait=2s')

    def counter(self, name):
        with self.world.house:
            return self.daemon.top()['counters'][name]

"""A daemon in a house with two ways out, and what it may meet out there. See netns.py."""

from daemon import Daemon
from netns import World, connections
from parts import Swarm, Tracker
from procs import wait_until

PEER_PORT, TRACKER_PORT = 6881, 6969


class Town:
    """A world with a swarm and a tracker in it, and a daemon in its house."""

    def __init__(self, stage, links=('tun0', 'eth0'), peers=8, swarms=2):
        self.stage, self.world = stage, World(stage, links)
        with self.world.around:
            self.tracker = Tracker(stage, address=World.TRACKER)
            self.swarm = Swarm(stage, [{'count': peers}], torrents=swarms,
                               base=World.PEERS)
        for infohash in self.swarm.infohashes:
            self.tracker.set(infohash, peers=self.swarm.endpoints())
        self.peers = peers

    def start(self, interface, conf=None, listens=True, binary=None):
        conf = {'swarm.listen': '0.0.0.0:42069', 'swarm.discovery_wait': '5s',
                'swarm.trackers': f'{self.tracker.udp},{self.tracker.http}',
                'http.workers': 1, **(conf or {})}
        with self.world.house:
            self.daemon = Daemon(self.stage, conf, wait=False, binary=binary,
                                 file=f'[swarm]\ninterface = {interface}\n')
            # Its end asks over HTTP, too.
            self.daemon.wait_serving(listens=listens)
        return self.daemon

    def get(self, path):
        with self.world.house:
            return self.daemon.get(path)

    def health(self):
        return self.get('/health').json

    def ask(self, n=0, wait='5s'):
        answer = self.get(f'/peers/{self.swarm.infohashes[n]}?wait={wait}')
        assert answer.status == 200, answer
        return answer.json

    def all_connected(self, n=0):
        def known():
            states = [p['state'] for p in self.ask(n)['peers']]
            return states == ['connected'] * self.peers
        wait_until(known, 15, 'all peers are connected')

    def open(self):
        """{(our address, their address)} of connections to peers."""
        return {(here, there) for here, there, port in connections(self.daemon.collector())
                if port == PEER_PORT}

    def hup(self, interface):
        d = self.daemon
        done = len(d.log_lines('reload done'))
        d.reload(f'[swarm]\ninterface = {interface}\n')
        wait_until(lambda: len(d.log_lines('reload done')) > done, what='reload')

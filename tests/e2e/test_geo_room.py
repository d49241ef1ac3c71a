"""Databases that change while the table of places has no room for the new ones beside the old.

There are 4,096 places with shm.peers = 1m, and here each address has one of its own."""
import ipaddress

import pytest

from heavydb import towns
from oldlist import NOWHERE, service_json
from procs import wait_until

IDS = [f'{i:02x}' * 20 for i in range(1, 6)]


class Town:
    """A daemon, a tracker and 4,096 addresses."""

    def __init__(self, daemon, tracker, net, path, conf):
        self.t, self.path = tracker(), path
        self.network = f'127.{net.number}.16.0/20'
        self.all = [str(a) for a in ipaddress.ip_network(self.network)]
        self.used = 0
        towns(path, self.network, 'Old')
        self.d = daemon({'swarm.trackers': self.t.http, 'geo.city_db': path, 'shm.peers': '1m',
                         'geo.online': 'off', 'swarm.discovery_wait': '2s',
                         'swarm.linger': '10m', 'swarm.cold_rate': 0, **conf})

    def take(self, n):
        """Peers that nobody knew before."""
        self.used += n
        return [(a, 6881) for a in self.all[self.used - n:self.used]]

    def swarm(self, n, i):
        self.t.set(IDS[i], peers=self.take(n))
        self.d.until_peers(IDS[i], lambda p: len(p) == n, what='all are known')

    def swap(self):
        towns(self.path, self.network, 'New')

    def cities(self, *ids):
        """How many are in old towns, in new ones, and nobody knows where."""
        got = [p['city'][:3] for i in ids for p in self.d.by_address(IDS[i]).values()]
        return [got.count('Old'), got.count('New'), got.count('Unk')]

    def until(self, cities, *ids):
        wait_until(lambda: self.cities(*ids) == cities, 30, f'towns are {cities}')

    def top(self):
        return self.d.top()['counters']


@pytest.fixture
def town(daemon, tracker, net, tmp_path):
    def make(conf=None):
        return Town(daemon, tracker, net, tmp_path / 'towns.mmdb', conf or {})
    return make


def test_nobody_becomes_unknown(town):
    """Who is left out keeps the old place until names are compacted, and has the new one then."""
    town = town()
    for i in range(3):
        town.swarm(850, i)
    town.until([2550, 0, 0], 0, 1, 2)
    town.swap()
    seen = []

    def all_new():
        seen.append(town.cities(0, 1, 2))
        return seen[-1] == [0, 2550, 0]
    wait_until(all_new, 30, 'all are in new towns')
    assert all(unknown == 0 for _, _, unknown in seen), seen
    top = town.top()
    assert top['places_full'] > 0 and top['names_compacted'] == 1
    assert 2550 < top['geo_again'] < 5100, 'only who was left out was looked up twice'


def until_full(town):
    """2,000 peers in new towns, whose old ones are not forgotten yet."""
    for i in range(2):
        town.swarm(1000, i)
    town.until([2000, 0, 0], 0, 1)
    town.swap()
    town.until([0, 2000, 0], 0, 1)
    assert town.top()['places_full'] == 0 and town.top()['names_compacted'] == 0


def must_be_placed(town):
    town.until([0, 400, 0], 2)
    assert town.top()['places_full'] >= 300 and town.top()['names_compacted'] == 1
    assert town.cities(0, 1) == [0, 2000, 0]


def test_who_is_learned_while_it_is_full(town):
    town = town()
    until_full(town)
    town.swarm(400, 2)
    must_be_placed(town)


def test_a_list_of_others_while_it_is_full(town, redis_server):
    """Its swarm is not joined: the list is looked at again in the table."""
    r = redis_server()
    town = town({'redis.mode': 'external', 'redis.url': r.url,
                 'cache.ttl': '2m'})
    wait_until(lambda: town.d.get('/health').json['redis_available'], what='Redis is there')
    until_full(town)
    r.client().setex(f'peer_stats:{IDS[2]}', 100, service_json(IDS[2], town.take(400), NOWHERE))
    must_be_placed(town)
    assert town.top()['joins'] == 2

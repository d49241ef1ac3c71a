"""The whole swarm (issue 3): every source, every way to reach a peer, nobody invented."""
import pytest

from procs import wait_until

PIECES = 64
SIZE = PIECES * 32768           # parts.Payload makes pieces of 32 KiB


class City:
    """158 peers: the tracker tells of 100, the DHT of 60, one peer of 40 by PEX; 36 of them
    are told by more than one. 30 don't answer; of the others some are real libtorrent
    that takes uTP alone, encryption alone, or nothing but both."""

    TOLD = (('tracker',), 71), (('dht',), 32), (('pex',), 18), (('tracker', 'dht'), 14), \
        (('tracker', 'pex'), 8), (('dht', 'pex'), 8), (('tracker', 'dht', 'pex'), 6)
    REAL = [{'count': 12, 'transport': 'utp', 'progress': 25},
            {'count': 12, 'encryption': 'forced', 'progress': 75},
            {'count': 4, 'transport': 'utp', 'encryption': 'forced'},
            {'count': 6, 'transport': 'both', 'progress': 50}]
    SCRIPTED = [{'count': 93, 'progress': 'mixed'}, {'count': 15, 'behaviour': 'dead'},
                {'count': 8, 'behaviour': 'silent'}, {'count': 7, 'behaviour': 'full'}]

    def __init__(self, payload, swarm, real_swarm, dht, tracker):
        self.payload = p = payload([], SIZE)
        self.infohash = p.infohash
        self.scripted = swarm(self.SCRIPTED + [{'count': 1, 'name': 'Teller'}], payload=p,
                              delay_ms=20)
        self.real = real_swarm(self.REAL, payload=p)
        self.teller = self.scripted.peers[-1]
        self.teller['sources'] = ['tracker']
        self._spread(self.scripted.peers[:-1] + self.real.peers)
        self.want = {(p['address'], p['port']): p
                     for p in self.scripted.peers + self.real.peers}
        self.tracker, self.dht = tracker(), dht()
        self.tracker.set(self.infohash, peers=self.of('tracker'))
        self.dht.announce(self.infohash, self.of('dht'))
        self.scripted.ask('pex', peers=[self.teller['index']], tell=self.of('pex'))
        assert [len(self.of(s)) for s in ('tracker', 'dht', 'pex')] == [100, 60, 40]

    def _spread(self, everybody):
        """Each kind of peer comes from each source: a stride that has no factor in common
        with their number."""
        n = len(everybody)
        order = [everybody[i * 55 % n] for i in range(n)]
        for sources, count in self.TOLD:
            for peer in order[:count]:
                peer['sources'] = sorted(sources)
            del order[:count]
        assert not order

    def of(self, source):
        return [list(e) for e, p in self.want.items() if source in p['sources']]

    @staticmethod
    def was_let_go(p, want):
        """Who has told everything need not stay connected, if others took their time."""
        return want['state'] == 'connected' and p['state'] == 'contacted'

    def wrong(self, got):
        """{endpoint: what is not as it should be} of what a list says."""
        out = {}
        for e, want in self.want.items():
            p = got.get(e)
            if p is None:
                out[e] = want['behaviour'], want['sources'], 'is missing'
            elif sorted(p['sources']) != want['sources']:
                out[e] = want['behaviour'], want['sources'], p['sources']
            elif p['state'] != want['state'] and not self.was_let_go(p, want):
                out[e] = want['behaviour'], want['state'], p['state'], p['flags']
            elif want['state'] == 'connected' and (
                    p['client'] != want['name']
                    or abs(p['progress'] - want['progress']) > 50 / PIECES + 0.1):
                out[e] = want['behaviour'], want['name'], p['client'], p['progress']
        return out


@pytest.fixture
def city(payload, swarm, real_swarm, dht, tracker):
    return City(payload, swarm, real_swarm, dht, tracker)


def test_every_source_and_every_kind_of_peer(city, daemon):
    d = daemon({'swarm.trackers': city.tracker.udp, 'swarm.dht': 'on',
                'swarm.dht_bootstrap': city.dht.router, 'swarm.discovery_wait': '5s'})
    wait_until(lambda: d.get('/health').json['dht_nodes'], 20, 'the DHT is there')
    seen = {}

    def right():
        seen.update(got=d.by_endpoint(city.infohash))
        return not city.wrong(seen['got'])
    try:
        wait_until(right, 60, 'all are listed as they are', every=0.25)
    except AssertionError:
        wrong = city.wrong(seen['got'])
        assert len(wrong) * 100 <= len(city.want), '\n'.join(map(str, wrong.items()))
    assert set(seen['got']) <= set(city.want), 'nobody is made up, and we are not there'
    counts = d.peers(city.infohash)['counts']
    assert counts['dht']['peers'] == 60, counts
    assert counts['tracker']['seeds'] == 100, counts
    assert city.scripted.asked_for_no_piece()

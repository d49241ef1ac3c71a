"""Who is to blame for an empty list: the swarm, or our own way out? Both verdicts, with
their evidence, on real parts: loopback for what works, namespaces for what is broken."""
import netns
import pytest
from daemon import Daemon
from netns import World
from parts import Swarm, Tracker
from procs import HANG_S, wait_until

REASON = netns.why_not()
needs_namespaces = pytest.mark.skipif(REASON is not None, reason=REASON or '')


def until(ask, verdict, timeout=HANG_S):
    """The first answer with this verdict; `unknown` may come before, nothing else."""
    seen = []

    def there():
        seen.append(ask())
        return seen[-1] if seen[-1]['verdict'] == verdict else None
    try:
        got = wait_until(there, timeout, f'the verdict is {verdict}')
    except AssertionError as e:
        last = {k: seen[-1][k] for k in ('verdict', 'evidence', 'phase', 'counts', 'error')}
        raise AssertionError(f'{e}; last: {last}') from None
    assert {a['verdict'] for a in seen} <= {'unknown', verdict}, [a['verdict'] for a in seen]
    return got


def verdicts(path):
    return path['verdict'], path['udp'], path['tcp']


def health_path(health):
    path = health['path']
    return path['verdict'], path['udp']['verdict'], path['tcp']['verdict']


# What works: on loopback ----------------------------------------------------------------

@pytest.fixture
def sources(daemon, tracker):
    """A tracker that is asked over UDP and HTTP, and a daemon."""
    t = tracker()
    return t, daemon({'swarm.trackers': f'{t.udp},{t.http}', 'swarm.discovery_wait': '5s'})


def test_healthy(sources, swarm):
    t, d = sources
    s = swarm([{'count': 6}])
    t.set(s.infohash, peers=s.endpoints())
    got = until(lambda: d.peers(s.infohash, wait='5s'), 'alive')
    e = got['evidence']
    assert verdicts(e['path']) == ('open', 'open', 'open')
    assert e['peers'] == {'known': 0, 'tried': 0, 'contacted': 0, 'connected': 6,
                          'reached_lately': 6, 'incoming': False}
    assert e['trackers'] == {'asked': 2, 'answered': 2, 'last_failure': None} and e['dht'] is None
    assert 'reached' in e['says'] and e['joined_at'] <= got['cached_at']
    h = d.get('/health').json
    wait_until(lambda: health_path(d.get('/health').json) == ('open', 'open', 'open'))
    path = d.get('/health').json['path']
    assert path['udp']['tracker_at'] >= e['joined_at']
    assert path['tcp']['handshake_at'] >= e['joined_at']
    assert path['incoming_at'] is None and path['reachability'] == 'unknown'
    assert h['libtorrent_available'] is True
    # Somebody calls: then others can reach us.
    s.ask('dial', infohash=s.infohash, to=[d.address, 42069])
    wait_until(lambda: d.get('/health').json['path']['reachability'] == 'connected', 5,
               'a caller was seen')
    assert d.get('/health').json['path']['incoming_at'] is not None
    assert 'alive' in d.command('peers', s.infohash).stdout
    top = d.top()
    assert top['gauges']['path'] == 1 and top['swarms'][0]['verdict'] == 'alive'
    assert 'path: open' in d.command('top', '--once').stdout


def test_dead_swarm(sources):
    t, d = sources
    nobody = 'd0' * 20
    got = until(lambda: d.peers(nobody, wait='5s'), 'dead')
    e = got['evidence']
    assert verdicts(e['path']) == ('open', 'open', 'open')
    assert e['trackers'] == {'asked': 2, 'answered': 2, 'last_failure': None}
    assert e['peers']['reached_lately'] == 0 and got['peers'] == []
    assert 'nobody' in e['says']
    wait_until(lambda: health_path(d.get('/health').json) == ('open', 'open', 'open'))


def test_thin_swarm(sources, swarm):
    """Its tracker has a long list, and none of them is there any more."""
    t, d = sources
    s = swarm([{'count': 30, 'behaviour': 'dead'}])
    t.set(s.infohash, peers=s.endpoints())
    got = until(lambda: d.peers(s.infohash, wait='5s'), 'thin')
    e = got['evidence']
    assert verdicts(e['path'])[:2] == ('open', 'open')
    assert e['peers']['tried'] == 30 and e['peers']['reached_lately'] == 0
    assert got['total_peers'] == 30


def test_one_of_thirty_is_thin_and_three_are_not(sources, swarm):
    t, d = sources
    dead = swarm([{'count': 30, 'behaviour': 'dead'}])
    live = swarm([{'count': 3}], torrents=2)
    for infohash, n in zip(live.infohashes, (1, 3)):
        t.set(infohash, peers=dead.endpoints() + live.endpoints(range(n)))
    a, b = live.infohashes
    got = wait_until(lambda: (lambda x: x if x['evidence']['peers']['tried'] == 30 else None)(
        d.peers(a, wait='5s')), 20, 'all were dialled')
    assert got['verdict'] == 'thin' and got['evidence']['peers']['reached_lately'] == 1
    got = wait_until(lambda: (lambda x: x if x['evidence']['peers']['tried'] == 30 else None)(
        d.peers(b, wait='5s')), 20, 'all were dialled')
    assert got['verdict'] == 'alive' and got['evidence']['peers']['reached_lately'] == 3


# What is broken: in namespaces ----------------------------------------------------------

class Town:
    """A world with trackers and a swarm, and a daemon in its house, bound to tun0."""

    def __init__(self, stage, peers=20, swarms=2):
        self.stage, self.world, self.peers = stage, World(stage, ('tun0',)), peers
        self.world.LINKS = {'tun0': World.LINKS['tun0']}
        with self.world.around:
            self.trackers = [Tracker(stage, address=f'203.0.113.{200 + i}')
                             for i in range(3)]
            self.swarm = Swarm(stage, [{'count': peers}], torrents=swarms,
                               base=World.PEERS)
        for t in self.trackers:
            for infohash in self.swarm.infohashes:
                t.set(infohash, peers=self.swarm.endpoints())
        self.udp = ','.join(t.udp for t in self.trackers)
        self.http = self.trackers[0].http

    def start(self, trackers, conf=None):
        conf = {'swarm.listen': '0.0.0.0:42069', 'swarm.trackers': trackers,
                'swarm.interface': 'tun0', 'http.workers': 1, **(conf or {})}
        with self.world.house:
            self.daemon = Daemon(self.stage, conf)
        return self

    def get(self, path):
        with self.world.house:
            return self.daemon.get(path)

    def health(self):
        return self.get('/health').json

    def path(self):
        return health_path(self.health())

    def ask(self, infohash=None, wait='2s'):
        answer = self.get(f'/peers/{infohash or self.swarm.infohash}?wait={wait}')
        assert answer.status == 200, answer
        return answer.json

    def until(self, verdict, infohash=None, timeout=HANG_S):
        return until(lambda: self.ask(infohash), verdict, timeout)

    def until_path(self, *want, timeout=HANG_S):
        wait_until(lambda: self.path() == want, timeout, f'the path is {want}')


@pytest.fixture
def town(stage):
    return lambda **kw: Town(stage, **kw)


@needs_namespaces
def test_udp_blocked_and_nothing_else_to_ask(town):
    t = town()
    t.world.swallow('udp')
    t.start(t.udp)
    got = t.until('path-blocked', timeout=30)
    e = got['evidence']
    assert verdicts(e['path']) == ('blocked', 'blocked', 'unknown')
    assert e['trackers']['answered'] == 0 and 'silent' in e['says']
    assert t.path() == ('blocked', 'blocked', 'unknown')
    path = t.health()['path']
    assert path['udp']['tracker_at'] is None and path['udp']['unanswered'] >= 3
    assert path['reachability'] == 'disconnected' and path['since'] is not None
    # The wall falls: the next announce that is answered says so.
    t.world.let_through()
    t.until_path('open', 'open', 'open', timeout=90)
    assert t.ask()['verdict'] == 'alive'


@needs_namespaces
def test_udp_blocked_while_tcp_works(town):
    """An HTTP tracker that knows nobody, over a way that swallows UDP: it may well be that
    the others know somebody. The blame is not the swarm's."""
    t = town()
    t.world.swallow('udp')
    nobody = 'd0' * 20
    t.start(f'{t.udp},{t.http}')
    got = t.until('path-blocked', nobody, timeout=30)
    e = got['evidence']
    assert verdicts(e['path']) == ('blocked', 'blocked', 'open')
    failure = e['trackers'].pop('last_failure')
    assert e['trackers'] == {'asked': 4, 'answered': 1} and failure['kind'] == 'silent'
    assert failure['tracker'] in [u.udp.rpartition('/')[0] for u in t.trackers]
    assert 'UDP' in e['says'] and 'while TCP works' in e['says']
    path = t.health()['path']
    assert path['tcp']['tracker_at'] is not None and path['udp']['tracker_at'] is None
    # A swarm whose peers are reached over TCP is alive, and the path does what it must;
    # the first one is as doubtful as it was.
    assert t.until('alive')['evidence']['path']['udp'] == 'blocked'
    t.until_path('open', 'blocked', 'open')
    assert t.ask(nobody)['verdict'] == 'path-blocked'


@needs_namespaces
def test_vpn_down(town):
    t = town()
    t.start(t.udp)
    assert t.until('alive')['evidence']['path']['verdict'] == 'open'
    t.until_path('open', 'open', 'open')
    t.world.unplug('tun0')
    t.until_path('down', 'unknown', 'unknown')
    got = t.ask(wait='0')
    assert got['verdict'] == 'path-blocked' and len(got['peers']) == t.peers
    assert got['evidence']['path']['verdict'] == 'down' and 'down' in got['evidence']['says']
    assert 'swarm.interface' in got['evidence']['says'] and 'VPN' not in got['evidence']['says']
    assert t.health()['path']['says'].startswith('the network device (swarm.interface) is ')
    fresh = t.ask(t.swarm.infohashes[1])
    assert fresh['verdict'] == 'path-blocked' and fresh['peers'] == []
    assert fresh['evidence']['path']['verdict'] == 'down'
    assert t.health()['path']['reachability'] == 'disconnected'
    t.world.plug('tun0')
    wait_until(lambda: t.ask(t.swarm.infohashes[1])['verdict'] == 'alive', 30, 'alive again')
    t.until_path('open', 'open', 'open')


# Control probes -------------------------------------------------------------------------

@needs_namespaces
def test_a_control_swarm_proves_the_path(town):
    """The one tracker says nothing of this swarm: its fault, or the path's? A swarm that
    always has peers answers, so it is not the path. It was nobody's question: it is left
    again, and no answer."""
    t = town(swarms=2)
    control = t.swarm.infohashes[1]
    t.trackers[0].set(t.swarm.infohash, mode='hang')
    t.start(t.trackers[0].udp, {'swarm.control': control})
    t.ask(wait='0')
    wait_until(lambda: t.health()['path']['control']['result'] == 'answered', 20,
               'the control swarm answered')
    t.until_path('open', 'open', 'open')
    wait_until(lambda: t.trackers[0].announces(control, event='stopped'), 5, 'it was left')
    with t.world.house:
        counters = t.daemon.top()['counters']
        assert [s['infohash'] for s in t.daemon.top()['swarms']] in ([], [t.swarm.infohash])
    assert counters['controls'] == 1 and counters['controls_silent'] == 0
    assert t.ask()['verdict'] == 'unknown'      # nobody has said anything about it
    t.ask()
    assert len(t.trackers[0].announces(control, event='started')) == 1   # not again so soon
    # Asked for, it is a swarm like any other.
    assert t.until('alive', control)['total_peers'] == t.peers


@needs_namespaces
def test_a_control_swarm_that_nobody_reaches_is_evidence(town):
    """UDP works and trackers name peers, and no TCP connection comes about: of one swarm
    that would be its stale list. The control swarm's peers are silent, too."""
    t = town(swarms=2)
    t.world.swallow('tcp', to='203.0.113.0/25')
    t.start(t.udp, {'swarm.control': t.swarm.infohashes[1]})
    got = wait_until(lambda: (lambda a: a if a['verdict'] == 'path-blocked' else None)(t.ask()),
                     60, 'the path is to blame')
    assert verdicts(got['evidence']['path']) == ('blocked', 'open', 'blocked')
    assert 'TCP' in got['evidence']['says']
    assert t.health()['path']['control']['result'] == 'silent'
    with t.world.house:
        assert t.daemon.top()['counters']['controls_silent'] == 1


# What Gluetun says ----------------------------------------------------------------------

def test_gluetun_says_that_its_vpn_is_down(daemon, swarm, tracker, gluetun):
    g, t, s = gluetun(), tracker(), swarm([{'count': 4}])
    t.set(s.infohash, peers=s.endpoints())
    d = daemon({'vpn.gluetun_url': g.url, 'vpn.health_url': g.health_url,
                'swarm.trackers': t.udp})
    until(lambda: d.peers(s.infohash, wait='2s'), 'alive')
    g.set(status='stopped', public_ip='')
    wait_until(lambda: d.get('/health').json['path']['verdict'] == 'down', 15, 'it is down')
    wait_until(lambda: d.peers(s.infohash, wait='0')['verdict'] == 'path-blocked', 5,
               'the swarm is told so')
    g.set(status='running', public_ip='203.0.113.77')
    wait_until(lambda: d.get('/health').json['path']['verdict'] != 'down', 15, 'it is up')
    wait_until(lambda: d.peers(s.infohash, wait='0')['verdict'] == 'alive', 5, 'alive again')

"""Beside Gluetun: its port is followed and announced within five seconds, whatever form
and auth it has; a VPN that is down, a refusal and a dead namespace have names of their
own. Gluetun is scripted, trackers and peers hear the real thing."""
import http.server
import os
import ssl
import subprocess
import threading
import time
import urllib.request

import netns
import pytest
from daemon import Daemon
from parts import Gluetun, Swarm, Tracker
from procs import slow, wait_until

NEW, OPENVPN, OLD = ('/v1/portforward', '/v1/openvpn/portforwarded',
                     '/openvpn/portforwarded')
ROLE = ('[[roles]]\nname = "peerscope"\n'
        'routes = ["GET /v1/portforward", "GET /v1/publicip/ip", "GET /v1/vpn/status"]\n'
        'auth = "apikey"\napikey = "<vpn.api_key>"\n')
PROMISE = 5             # seconds from a change to its announce


class Beside:
    """A daemon beside a Gluetun, with a tracker and one swarm."""

    def __init__(self, daemon, swarm, tracker, gluetun, conf=None):
        self.g, self.tracker = gluetun, tracker()
        self.swarm = swarm([{'count': 4}])
        self.tracker.set(self.swarm.infohash, peers=self.swarm.endpoints())
        self.d = daemon({'vpn.gluetun_url': self.g.url, 'vpn.health_url': self.g.health_url,
                         'swarm.trackers': self.tracker.http, **(conf or {})})

    def health(self):
        return self.d.get('/health').json

    def vpn(self):
        return self.health()['vpn']

    def until(self, timeout=PROMISE, **want):
        """Until these fields of the vpn object are so."""
        def so():
            v = self.vpn()
            return v if all(v[k] == x for k, x in want.items()) else None
        return wait_until(so, timeout, f'vpn is {want}, not {self.vpn()}')

    def join(self):
        def known():
            peers = self.d.peers(self.swarm.infohash, wait='2s')['peers']
            return len(peers) == 4 and all(p['state'] == 'connected' for p in peers)
        wait_until(known, 10, 'the swarm is joined')

    def announced(self):
        """Ports that the tracker heard, in order, each once."""
        seen = [a['port'] for a in self.tracker.announces(self.swarm.infohash)]
        return [p for i, p in enumerate(seen) if i == 0 or p != seen[i - 1]]

    def follows(self, port):
        from_ = time.monotonic()
        wait_until(lambda: self.announced() and self.announced()[-1] == port, PROMISE,
                   f'{port} is announced, not {self.announced()}')
        assert time.monotonic() - from_ < PROMISE * slow()
        self.until(port=port)
        assert self.health()['listen_port'] == port


@pytest.fixture
def beside(daemon, swarm, tracker, gluetun):
    def make(conf=None, **given):
        return Beside(daemon, swarm, tracker, gluetun(**given), conf)
    return make


def calls_in(b, port):
    """Can a peer reach us on this port?"""
    before = b.swarm.totals()['handshakes']
    b.swarm.ask('dial', infohash=b.swarm.infohash, to=[b.d.address, port])
    wait_until(lambda: b.swarm.totals()['handshakes'] > before, 5,
               f'a handshake on {port}')


class PortForAll(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"port":51820}')

    def log_message(self, *args):
        pass


# ---- the port --------------------------------------------------------------------------
def test_the_port_is_followed_and_announced(beside):
    b = beside(port=51820)
    b.until(port=51820, state='up', port_generation=1)
    b.join()
    assert b.announced() == [51820]     # never the configured one
    handshakes = b.swarm.totals()['handshakes']
    b.g.set(port=51900)
    b.follows(51900)
    assert b.vpn()['port_generation'] == 2
    b.join()                            # as before: nobody was left, nobody dialled again
    assert b.swarm.totals()['handshakes'] == handshakes
    assert b.tracker.announces(event='stopped') == []
    calls_in(b, 51900)
    # Our own address, under any port we had, is no peer.
    own, last = b.d.address, b.swarm.endpoints()[-1][0].rpartition('.')[0] + '.254'
    b.tracker.set(b.swarm.infohash, peers=[[own, 51820], [own, 51900], [last, 6881]])
    b.g.set(port=51901)
    b.follows(51901)
    known = b.d.until_peers(b.swarm.infohash, lambda peers: last in peers)
    assert own not in known
    for port in range(51902, 51906):    # the fourth to the seventh: that is churn
        b.g.set(port=port)
        b.until(port=port)
    assert b.vpn()['port_generation'] == 7
    assert len(b.d.log_lines('forwarded ports within an hour')) == 1


def test_an_unchanged_port_does_nothing(beside):
    b = beside(port=51820)
    b.until(port=51820)
    b.join()
    asked, heard = len(b.g.asked(NEW)), len(b.tracker.announces())
    wait_until(lambda: len(b.g.asked(NEW)) >= asked + 4, 15, 'four more questions')
    assert len(b.tracker.announces()) == heard
    assert b.vpn()['port_generation'] == 1
    assert len(b.d.log_lines('forwarded port')) == 1
    # Status and address are asked less often than the port, and the health port never.
    assert len(b.g.asked('/v1/vpn/status')) <= len(b.g.asked(NEW)) / 2
    assert b.g.asked('/') == []


def test_a_port_that_is_gone(beside):
    b = beside(port=51820)
    b.until(port=51820)
    b.join()
    b.g.set(port=0)
    b.until(timeout=20, port=None)
    wait_until(lambda: b.announced()[-1] == 42069, 5, 'back to swarm.listen')
    assert b.d.log_lines('no port is forwarded any more')


@pytest.mark.parametrize('shape', ['ports', 'both'])
def test_forms(beside, shape):
    b = beside(shape=shape, ports=[])
    b.until(state='up', port=None)
    b.g.set(ports=[51820, 51821])
    b.until(port=51820)


@pytest.mark.parametrize('route,unknown', [(OPENVPN, 401), (OLD, 404)])
def test_old_routes_are_found_and_remembered(beside, route, unknown):
    b = beside(port=51820, routes=[route], unknown_status=unknown)
    b.until(port=51820, state='up', detail=None, role=None)
    n = len(b.g.asked(NEW))
    b.g.set(port=51821)
    b.until(port=51821)
    assert len(b.g.asked(NEW)) == n     # it knows the way now
    b.g.set(routes=[NEW], port=51822)   # Gluetun was updated
    b.until(port=51822)


def test_the_file_when_the_server_does_not_tell(beside, tmp_path):
    path = tmp_path / 'forwarded_port'
    path.write_text('51830\n')
    b = beside(routes=[], conf={'vpn.port_file': str(path)})
    b.until(port=51830, state='up')
    b.join()
    path.write_text('51831\n')
    b.follows(51831)
    path.write_text('')                 # Gluetun is about to write it
    os.mkfifo(tmp_path / 'fifo')        # and nobody ever writes here
    (tmp_path / 'fifo').rename(path)
    n = len(b.g.asked(NEW))
    wait_until(lambda: len(b.g.asked(NEW)) > n + 1, 10, 'two more rounds')
    assert b.vpn()['port'] == 51831
    b.g.set(routes=[NEW], port=51840)   # the server is the better source
    b.follows(51840)


# ---- auth ------------------------------------------------------------------------------
def test_api_key(beside):
    b = beside(port=51820, auth='apikey', key='s3cret',
               conf={'vpn.api_key': 's3cret'})
    b.until(port=51820, state='up', role=None)
    assert {e['key'] for e in b.g.asked(NEW)} == {'s3cret'}
    assert 's3cret' not in b.d.log()


def test_basic(beside):
    b = beside(port=51820, auth='basic', user='me', password='p:w',
               conf={'vpn.user': 'me', 'vpn.password': 'p:w'})
    b.until(port=51820, state='up', role=None)
    assert 'p:w' not in b.d.log()


def test_a_refusal_names_the_role_and_the_health_port_tells_the_state(beside):
    b = beside(port=51820, auth='apikey', key='s3cret', unknown_status=401)
    v = b.until(state='up')
    assert v['role'] == ROLE and '/gluetun/auth/config.toml' in v['detail']
    assert v['port'] is None
    for line in ROLE.splitlines():
        assert len(b.d.log_lines(line)) == 1, line
    b.g.set(healthy=False)
    b.until(state='down')
    b.g.set(health_mode='hang')
    v = b.until(timeout=12, state='unauthorized')
    assert v['role'] == ROLE
    assert {e['key'] for e in b.g.asked()} == {None}    # a health port hears no secret
    assert len(b.d.log_lines('[[roles]]')) == 1         # said once
    b.g.set(auth='none', health_mode='ok')
    b.until(state='up', port=51820, role=None, detail=None)


def test_a_role_that_covers_one_route(beside):
    """v3.40 and later: one role of the user's own makes all other routes 401."""
    b = beside(port=51820, refused=['/v1/publicip/ip', '/v1/vpn/status'])
    v = b.until(port=51820, state='up')
    assert v['role'] == ROLE
    b.g.set(refused=[NEW], port=51821)
    b.until(state='up', role=ROLE, public_ip='203.0.113.77')
    assert b.vpn()['port'] == 51820     # what was known is kept


# ---- faults ----------------------------------------------------------------------------
@pytest.mark.parametrize('mode', ['hang', 'garbage', 'close'])
def test_a_server_that_errs_is_followed_again_in_time(beside, mode):
    b = beside(port=51820)
    b.until(port=51820, state='up')
    b.join()
    n = len(b.g.asked(NEW))
    b.g.set(mode=mode)
    wait_until(lambda: len(b.g.asked(NEW)) >= n + 2, 15, 'it asks on')
    assert b.vpn()['port'] == 51820
    b.d.peers(b.swarm.infohash)         # and answers on
    b.g.set(mode='ok', port=51821)
    b.follows(51821)
    assert b.vpn()['state'] == 'up'


def test_flap(beside):
    b = beside(port=51820)
    b.until(port=51820, state='up', public_ip='203.0.113.77', country='Netherlands',
            city='Amsterdam', detail=None)
    since = b.vpn()['since']
    assert abs(since - time.time()) < 60
    b.g.set(status='stopped', public_ip='')
    v = b.until(timeout=10, state='down', public_ip=None, country=None)
    assert 'stopped' in v['detail']
    b.g.set(status='running', public_ip='', healthy=False)
    v = wait_until(lambda: 'no public address' in (b.vpn()['detail'] or '') and b.vpn(), 10,
                   'an empty address is named')
    assert v['state'] == 'down'
    # No address although all is well: it was told not to look, or nobody tells it.
    b.g.set(healthy=True)
    v = b.until(state='up', public_ip=None)
    assert 'PUBLICIP_ENABLED' in v['detail']
    b.g.set(public_ip='203.0.113.78', port=51821)
    b.until(port=51821)
    b.until(timeout=10, state='up', public_ip='203.0.113.78', detail=None)
    assert b.vpn()['since'] >= since
    assert len(b.d.log_lines('warn vpn: down')) == 1
    assert len(b.d.log_lines('notice vpn: up')) == 2


def test_gluetun_dies_and_comes_back(beside):
    b = beside(port=51820)
    b.until(port=51820, state='up')
    b.join()
    b.g.ask('die')
    died = time.monotonic()
    v = b.until(timeout=12, state='unreachable')
    assert 'refused' in v['detail'] and v['port'] == 51820
    # There is more here than lo, so it does not become a dead namespace.
    wait_until(lambda: time.monotonic() > died + 14, 15, 'time enough for that')
    assert b.vpn()['state'] == 'unreachable'
    b.d.peers(b.swarm.infohash)
    b.g.ask('live')
    b.g.set(port=51821)
    b.follows(51821)
    b.until(state='up', detail=None)


def test_a_wrong_url_is_named_while_the_health_port_says_up(beside, net):
    b = beside(conf={'vpn.gluetun_url': f'http://{net.take()}:8000'})
    v = b.until(state='up')
    assert 'vpn.gluetun_url' in v['detail'] and 'Connection refused' in v['detail']


def test_a_certificate_of_its_own_is_not_believed(beside, stage):
    key, cert = stage.fresh_path('key'), stage.fresh_path('cert')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2',
                    '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1',
                    '-keyout', key, '-out', cert], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), PortForAll)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    stage.at_end(server.shutdown)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = 'https://127.0.0.1:%d' % server.server_address[1]
    trusting = ssl.create_default_context(cafile=cert)
    with urllib.request.urlopen(url + NEW, context=trusting, timeout=5) as answer:
        assert answer.read() == b'{"port":51820}'       # it would work
    b = beside(conf={'vpn.gluetun_url': url})
    v = b.until(state='up')             # by the health port
    assert 'certificate' in v['detail'] and v['port'] is None


# ---- reload ----------------------------------------------------------------------------
def test_off_and_on_by_a_reload(beside, gluetun):
    other = gluetun(port=51900)
    b = beside(port=51820, conf={'vpn.gluetun_url': None})
    assert b.vpn()['state'] == 'off' and b.vpn()['detail'] is None
    b.join()
    assert b.announced() == [42069]
    b.d.reload(f'[vpn]\ngluetun_url = {b.g.url}\n')
    b.follows(51820)
    b.d.reload(f'[vpn]\ngluetun_url = {b.g.url}\n[log]\nlevel = debug\n')
    b.until(state='up', port=51820, port_generation=1)
    b.d.reload(f'[vpn]\ngluetun_url = {other.url}/\n')
    b.follows(51900)
    b.d.reload('# none\n')
    wait_until(lambda: b.announced()[-1] == 42069, 5, 'back to swarm.listen')
    v = b.vpn()
    assert v['state'] == 'off' and v['port'] is None and v['public_ip'] is None
    n = len(other.asked())
    b.join()
    assert len(other.asked()) == n


def test_the_collector_dies_and_the_next_one_follows(beside):
    b = beside(port=51820)
    b.until(port=51820, state='up')
    b.d.damage_expected = ()
    old = b.d.collector()
    os.kill(old, 9)
    wait_until(lambda: b.d.roles()['collector'] not in ([], [old]), 10, 'the next one')
    b.until(timeout=10, port=51820, state='up', public_ip='203.0.113.77')
    b.join()
    assert b.announced() == [51820]     # not for a moment another one
    assert b.vpn()['port_generation'] == 1


# ---- namespaces ------------------------------------------------------------------------
REASON = netns.why_not()
in_namespaces = pytest.mark.skipif(REASON is not None, reason=REASON or '')


class House:
    """A network of our own: Gluetun on lo, tun0 to the world, and us inside."""

    def __init__(self, stage, **conf):
        self.world = netns.World(stage, ('tun0', 'eth0'))
        with self.world.around:
            self.tracker = Tracker(stage, address=netns.World.TRACKER)
            self.swarm = Swarm(stage, [{'count': 4}], base=netns.World.PEERS)
        self.tracker.set(self.swarm.infohash, peers=self.swarm.endpoints())
        with self.world.house:
            self.g = Gluetun(stage, address='127.0.0.1', port=51820)
            # Health port and control server at their usual places, no key says them.
            self.d = Daemon(stage, {
                'vpn.gluetun_url': 'http://127.0.0.1:8000', 'swarm.interface': 'tun0',
                'swarm.listen': '0.0.0.0:42069', 'swarm.trackers': self.tracker.http,
                'http.workers': 1, **{f'vpn.{k}': v for k, v in conf.items()}}, wait=False)
            self.d.wait_serving()

    def get(self, path):
        with self.world.house:
            return self.d.get(path).json

    def vpn(self):
        return self.get('/health')['vpn']

    def until(self, timeout, **want):
        def so():
            v = self.vpn()
            return v if all(v[k] == x for k, x in want.items()) else None
        return wait_until(so, timeout, f'vpn is {want}, not {self.vpn()}')

    def bury(self):
        """What is left to a container whose Gluetun was recreated: lo, and nobody on it."""
        self.g.ask('die')
        self.world.unplug('tun0')
        self.world.unplug('eth0')


@in_namespaces
def test_the_forwarded_port_through_the_tunnel(stage):
    h = House(stage)
    h.until(10, state='up', port=51820)
    h.get(f'/peers/{h.swarm.infohash}?wait=5s')
    wait_until(lambda: h.tracker.announces(h.swarm.infohash), 10, 'an announce')
    assert {(a['source'], a['port']) for a in h.tracker.announces()} == \
        {('192.0.2.1', 51820)}
    # The tunnel goes while Gluetun is there: the VPN is down, and it is not we who died.
    h.world.unplug('tun0')
    v = h.until(10, state='down')
    assert 'tun0' in v['detail'] and 'recreate' not in v['detail'].lower()
    h.g.set(port=51821)
    h.until(10, port=51821)
    h.world.plug('tun0')
    h.until(10, state='up', detail=None)
    wait_until(lambda: h.get(f'/peers/{h.swarm.infohash}?wait=2s')['counts']['connected'] and
               h.tracker.announces()[-1]['port'] == 51821, 15, 'it goes on, on the new port')


@in_namespaces
def test_a_dead_namespace_is_named_and_survived(stage):
    h = House(stage)
    h.until(10, state='up')
    h.bury()
    v = h.until(25, state='dead_namespace')
    assert '--force-recreate' in v['detail']
    assert len(h.d.log_lines('--force-recreate')) == 1
    health = h.get('/health')
    assert health['status'] == 'healthy' and health['interface_ok'] is False
    assert h.get(f'/peers/{h.swarm.infohash}')['error']
    # By a miracle it comes back: nothing needs a restart.
    h.g.ask('live')
    h.world.plug('tun0')
    h.until(10, state='up')


@in_namespaces
def test_exit_when_dead(stage):
    h = House(stage, exit_when_dead='on')
    h.until(10, state='up')
    h.d.exit_expected = 1
    h.bury()
    wait_until(lambda: not h.d.proc.alive(), 40, 'it leaves')
    assert h.d.proc.popen.returncode == 1
    assert h.d.log_lines('vpn.exit_when_dead is on')

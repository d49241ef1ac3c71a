"""master.user: started by root, the daemon is that user, whole; check looks with its eyes."""
import os
import pathlib
import pwd
import shutil
import signal
import subprocess

import netns
import pytest
from daemon import BIN
from procs import NOBODY, wait_until
from upgrading import upgrade

IH = '94c2fd8fb9bc8f2fc71a2cbe9d4b866f227a0209'
pytestmark = pytest.mark.skipif(os.getuid() != 0, reason='needs root, to become somebody else')
WHO = pwd.getpwuid(NOBODY).pw_name


def ask(word, text, tmp_path, *opts):
    path = tmp_path / 'p.conf'
    path.write_text(text)
    return subprocess.run([BIN, word, '-c', str(path), '-o', 'http.listen=127.0.0.1:0',
                           '-o', 'redis.mode=off', '-o', 'swarm.listen=', *opts],
                          env={'PATH': os.environ['PATH']}, capture_output=True, text=True,
                          timeout=30, check=False)


@pytest.fixture
def open_stage(stage):
    """Its directory can be entered by everybody, so that a file in it can be read."""
    os.chmod(stage.dir, 0o755)
    return stage


def status(pid):
    with open(f'/proc/{pid}/status', encoding='utf-8') as f:
        return dict(line.rstrip('\n').split(':\t', 1) for line in f if ':\t' in line)


def test_nobody_of_the_daemon_is_root(daemon, open_stage):
    where = open_stage.fresh_dir('for')
    run_dir = os.path.join(where, 'run')
    log = os.path.join(open_stage.fresh_dir('log'), 'p.log')
    os.chown(os.path.dirname(log), NOBODY, NOBODY)
    d = daemon({'master.user': WHO, 'master.run_dir': run_dir, 'redis.mode': 'bundled',
                'log.file': log}, file='[cache]\nttl = 30s\n', wait=False)
    d.run_dir = run_dir

    def text():
        with open(log, encoding='utf-8') as f:
            return f.read()
    wait_until(lambda: os.path.exists(log) and 'serving on' in text(), what='it serves')
    d.log = text
    d.wait_serving()
    wait_until(lambda: d.get('/health').json['redis_available'], what='its Redis, too')
    for pid in [d.pid, *d.pids()]:
        s = status(pid)
        assert s['Uid'].split() == s['Gid'].split() == [str(NOBODY)] * 4
        assert s['CapEff'] == s['CapPrm'] == '0' * 16
        assert set(s['Groups'].split()) <= {str(NOBODY)}
    for path, mode in ((run_dir, 0o700), (log, 0o640)):
        st = os.stat(path)
        assert (st.st_uid, st.st_gid, st.st_mode & 0o777) == (NOBODY, NOBODY, mode)
    # A reload reads as that user; what it may not read is refused.
    d.reload('[cache]\nttl = 31s\n')
    os.chmod(d.file, 0o600)
    d.kill(signal.SIGHUP)
    wait_until(lambda: 'reload refused' in text(), what='it may not read that')
    assert 'Permission denied' in text()
    os.chmod(d.file, 0o644)
    assert 'process_open_fds{role="master"' in d.get('/metrics').body.decode()


def test_an_upgrade_is_of_that_user(installed, open_stage):
    d = installed({'master.user': WHO,
                   'master.run_dir': os.path.join(open_stage.fresh_dir('for'), 'run')},
                  file='[cache]\nttl = 30s\n')
    for path in os.path.dirname(d.exe), os.path.dirname(os.path.dirname(d.exe)):
        os.chmod(path, 0o755)
    upgrade(d)
    for pid in [d.pid, *d.pids()]:
        s = status(pid)
        assert s['Uid'].split() == s['Gid'].split() == [str(NOBODY)] * 4
        assert s['CapEff'] == s['CapPrm'] == '0' * 16
    assert 'process_open_fds{role="master"' in d.get('/metrics').body.decode()
    upgrade(d)


def test_where_no_directory_can_be_made(stage):
    """Root in a container with a read-only root: its run directory is the private one."""
    netns.needs_mounts()
    name = '/peerscope-test-user-' + os.urandom(4).hex()
    p = stage.start('readonly', ['unshare', '-m', '/bin/sh', '-c', f'''
        set -e
        mount --make-rprivate /
        mount -t tmpfs -o mode=1777 none /dev/shm
        mount -t tmpfs -o ro none /run
        exec "{BIN}" serve -c /dev/null -o master.user={WHO} -o redis.mode=off \\
            -o http.listen=127.0.0.1:0 -o shm.name={name} -o swarm.listen= -o swarm.dht=off \\
            -o swarm.trackers= -o acestream.trackers= -o geo.online=off'''],
                    env={'PATH': os.environ['PATH']})
    wait_until(lambda: p.must_live() and 'serving on' in p.log(), 15, 'it serves')
    assert f'run_dir /dev/shm/peerscope-{NOBODY},' in p.log()
    os.kill(p.pid, signal.SIGTERM)
    assert p.wait(20) == 0, p.log()


def test_who_is_not_root_can_only_name_himself():
    for user, word in (('root', 'only root can become root'), ('no-such-user', 'no user')):
        r = subprocess.run(
            ['setpriv', '--reuid', str(NOBODY), '--regid', str(NOBODY), '--clear-groups', BIN,
             'serve', '-c', '/dev/null', '-o', f'master.user={user}'],
            env={'PATH': os.environ['PATH']}, capture_output=True, text=True, timeout=30,
            check=False)
        assert r.returncode == 78 and word in r.stderr


def test_check_resolves_it(tmp_path):
    r = ask('check', '[cache]\nttl = 5\n[master]\nuser = nobdy\n', tmp_path)
    assert r.returncode == 1
    assert r.stderr.splitlines()[0].endswith('p.conf:2: cache.ttl = 5: needs a unit, e.g. 30s')
    assert r.stderr.splitlines()[1].endswith('p.conf:4: master.user: there is no user nobdy')


def test_check_sees_what_the_user_sees(open_stage, mmdb):
    """Root may read and write all of that; the daemon may not."""
    tmp_path = pathlib.Path(open_stage.fresh_dir('seen'))
    mine = tmp_path / 'mine.mmdb'
    shutil.copy(os.path.join(mmdb, 'city.mmdb'), mine)
    os.chmod(mine, 0o600)
    (tmp_path / 'dir').mkdir(mode=0o700)
    text = (f'[geo]\ncity_db = {mine}\n[log]\nfile = {tmp_path}/dir/p.log\n'
            f'[swarm]\ndht_state = {tmp_path}/dht.state\n[metadata]\ncache_dir = {tmp_path}/dir\n'
            '[master]\nuser = ')
    r = ask('check', text + 'root\n', tmp_path)
    assert (r.returncode, r.stderr) == (0, '')
    r = ask('check', text + WHO + '\n', tmp_path)
    assert r.returncode == 1
    for line, word in (2, 'Permission denied'), (4, 'log.file'), (6, 'swarm.dht_state'), (
            8, 'metadata.cache_dir'):
        said, = [x for x in r.stderr.splitlines() if f'p.conf:{line}: ' in x]
        assert word in said and 'Permission denied' in said
    assert 'a reload' not in r.stderr
    refused = f'a reload would be refused: {tmp_path}/p.conf: Permission denied'
    os.chmod(tmp_path / 'p.conf', 0o600)
    r = subprocess.run([BIN, 'check', '-c', str(tmp_path / 'p.conf')], env={}, check=False,
                       capture_output=True, text=True, timeout=30)
    assert 'p.conf:10: master.user: ' + refused in r.stderr
    (tmp_path / 'p.conf').unlink()
    (tmp_path / 'key').write_text('s3cret')
    os.chmod(tmp_path / 'key', 0o600)
    text = f'[vpn]\napi_key_file = {tmp_path}/key\n[master]\nuser = {WHO}\n'
    assert ask('check', text, tmp_path).stderr.splitlines() == [
        f'{tmp_path}/p.conf:4: master.user: a reload would be refused: {tmp_path}/p.conf:2: '
        f'vpn.api_key_file: {tmp_path}/key: Permission denied (warning)']


def test_a_reload_can_not_change_it(daemon, open_stage):
    d = daemon(file='[cache]\nttl = 30s\n')
    with open(d.file, 'w', encoding='utf-8') as f:
        f.write(f'[master]\nuser = {WHO}\n')
    d.kill(signal.SIGHUP)
    wait_until(lambda: d.log_lines('only a restart can change master.user'), what='refused')

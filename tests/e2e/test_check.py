"""`peerscope check` of what only the machine can tell: addresses, devices, directories."""
import os
import socket
import subprocess

import pytest
from daemon import BIN


def check(*opts, env=None, binary=BIN):
    argv = [binary, 'check', '-c', '/dev/null', '-o', 'redis.mode=off']
    given = ['http.listen=127.0.0.1:0', 'swarm.listen=', *opts]
    for o in given:
        argv += ['-o', o]
    r = subprocess.run(argv, env={'PATH': os.environ['PATH']} if env is None else env,
                       capture_output=True, text=True, timeout=30, check=False)
    return r.returncode, r.stderr.splitlines()


def test_sockets_of_the_swarm(net):
    """Each address on its own. The daemon would try again: warnings."""
    here = net.take()
    tail = '; no peer can call us there now (warning)'
    with socket.socket() as taken:
        taken.bind((here, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert check(f'swarm.listen={here}:{port},{here}:0,nosuch0:1,lo:0') == (0, [
            f'-o: swarm.listen: {here}:{port}: Address already in use' + tail,
            '-o: swarm.listen: there is no device nosuch0 now; no peer can call us there '
            '(warning)'])
    assert check('swarm.listen=192.0.2.1:5') == (0, [
        '-o: swarm.listen: 192.0.2.1:5: Cannot assign requested address' + tail])
    assert check(f'swarm.listen={here}:{port}') == (0, [])


def test_http_listen_says_whose_fault_it_is(net):
    code, said = check('http.listen=192.0.2.1:80')
    assert code == 0 and 'Cannot assign' in said[0] and 'our own' not in said[0]
    with socket.socket() as taken:
        taken.bind((net.take(), 0))
        taken.listen()
        code, said = check('http.listen=%s:%d' % taken.getsockname())
    assert code == 0 and said[0].endswith('(perhaps our own daemon that runs) (warning)')


def test_a_socket_where_no_proxy_comes(tmp_path):
    """The run directory is ours alone, and there once we run."""
    run = tmp_path / 'run'
    mine = f'master.run_dir={run}', f'http.listen=unix:{run}/http.sock'
    said = (0, [f"-o: http.listen: unix:{run}/http.sock is in master.run_dir, which nobody else "
                "may enter: a proxy of another user can't ask there (warning)"])
    assert check(*mine) == said
    run.mkdir(mode=0o700)
    assert check(*mine) == said
    run.chmod(0o711)
    assert check(*mine) == (0, [])


def test_our_own_daemon_is_no_trouble(daemon):
    """Its addresses are taken, by it; of another one's directory that is not known."""
    d = daemon()
    mine = [f'http.listen={d.host}:{d.port}', f'swarm.listen={d.address}:42069']
    assert check(*mine, f'master.run_dir={d.run_dir}') == (0, [])
    assert len(check(*mine)[1]) == 2
    assert d.stop() == 0
    assert check(*mine) == (0, [])


def test_the_run_directory(tmp_path):
    """serve would not start: errors. It is not made here."""
    (tmp_path / 'file').write_text('')
    (tmp_path / 'open').mkdir()
    os.chmod(tmp_path / 'open', 0o777)
    (tmp_path / 'good').mkdir(mode=0o700)
    (tmp_path / 'link').symlink_to(tmp_path / 'good')
    for name, word in (('file', 'is not a directory'), ('open', 'others could put files there'),
                       ('link', 'symlinks are not followed'), ('none/x', 'No such file')):
        code, said = check(f'master.run_dir={tmp_path}/{name}')
        assert code == 1 and said[0].startswith('-o: master.run_dir: ') and word in said[0], said
    for name in 'good', 'new':
        assert check(f'master.run_dir={tmp_path}/{name}') == (0, [])
    assert not (tmp_path / 'new').exists()


@pytest.mark.skipif(not os.path.exists('/usr/bin/redis-server'), reason='it is elsewhere')
def test_without_a_path_programs_are_where_exec_finds_them():
    assert check('redis.mode=bundled', env={}) == (0, [])
    code, said = check('redis.mode=bundled', env={'PATH': '/nonexistent'})
    assert code == 0 and 'redis-server is not in PATH' in said[0]


def test_secrets_that_everybody_may_read(tmp_path):
    """A warning for who checks; the daemon says nothing: in a container that is as it is."""
    key, conf = tmp_path / 'key', tmp_path / 'p.conf'
    key.write_text('s3cret\n')
    conf.write_text(f'[redis]\nmode = off\n[metadata]\nwebhook_secret_file = {key}\n'
                    '[vpn]\npassword = hunter2\nuser = u\n[http]\nlisten = 127.0.0.1:0\n'
                    '[swarm]\nlisten =\n')

    def said(mode):
        for path in key, conf:
            os.chmod(path, mode)
        r = subprocess.run([BIN, 'check', '-c', str(conf)], capture_output=True, text=True,
                           env={'PEERSCOPE_VPN_API_KEY_FILE': str(key)}, timeout=30, check=False)
        assert r.returncode == 0 and 's3cret' not in r.stderr and 'hunter2' not in r.stderr
        return r.stderr.splitlines()
    tail = ' holds a secret, and everybody may read it, mode 0644 (warning)'
    assert said(0o640) == []
    assert said(0o644) == [f'{conf}:4: {key}{tail}', f'{conf}:6: {conf}{tail}',
                           f'env PEERSCOPE_VPN_API_KEY_FILE: {key}{tail}']


def test_a_secret_in_a_file_is_read_again_and_never_shown(daemon, stage):
    path = stage.path('secret')

    def keep(text):
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text + '\n')
    keep('first-s3cret')
    d = daemon(file=f'[metadata]\nwebhook_secret_file = {path}\n',
               env={'PEERSCOPE_VPN_API_KEY_FILE': path})
    shown = d.command('config').stdout
    assert f'metadata.webhook_secret = ***  # {d.file}:2\n' in shown
    assert 'vpn.api_key = ***  # env PEERSCOPE_VPN_API_KEY_FILE\n' in shown
    keep('second-s3cret')
    d.reload(f'[metadata]\nwebhook_secret_file = {path}\n')
    assert d.log_lines('reload: changed metadata.webhook_secret, vpn.api_key')
    os.unlink(path)
    assert d.command('check').returncode == 1
    assert 's3cret' not in d.log() + shown + d.command('check').stderr

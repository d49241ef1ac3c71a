"""HTTP over a unix socket, and whose client it is behind a proxy."""
import os
import re
import signal
import socket
import stat
import struct
import threading

from procs import slow, wait_until

IH = '94c2fd8fb9bc8f2fc71a2cbe9d4b866f227a02'      # and two digits
UP = re.compile(r'serving on unix:')


def ask(path, target, headers='', timeout=20):
    """(status, everything) of one request over the socket."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(timeout * slow())
        s.connect(path)
        s.sendall(f'GET {target} HTTP/1.1\r\nHost: a\r\n{headers}Connection: close\r\n\r\n'
                  .encode())
        got = b''
        while more := s.recv(65536):
            got += more
    return int(got.split(b' ')[1]), got


def unix_only(daemon, stage, conf=None):
    path = os.path.join(stage.fresh_dir('http'), 'http.sock')
    d = daemon({'http.listen': f'unix:{path}', **(conf or {})}, wait=False)
    wait_up(d, path)
    return d, path


def wait_up(d, path):
    wait_until(lambda: d.proc.must_live() and UP.search(d.log()), 15, 'it serves')
    wait_until(lambda: b'"libtorrent_available":true' in ask(path, '/health')[1],
               what='the session listens')


def command(d, path, *args):
    done = d.command(args[0], '-o', f'http.listen=unix:{path}', *args[1:])
    return done.returncode, done.stdout + done.stderr


def test_serves_alone_and_beside_a_port(daemon, stage):
    d, path = unix_only(daemon, stage)
    d.url = 'http://127.0.0.1:1'        # for command(): replaced there
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
    assert ask(path, f'/peers/{IH}00?wait=0')[0] == 200
    assert command(d, path, 'healthcheck')[0] == 0
    code, said = command(d, path, 'peers', IH + '00', '--wait', '0s', '--json')
    assert code == 0 and '"peers":[]' in said.replace(' ', '')
    other = command(d, path, 'check', '-o', f'master.run_dir={stage.fresh_dir("run", 0o700)}')
    assert 'somebody serves on unix:' in other[1] and other[0] == 0
    second = os.path.join(stage.fresh_dir('http'), 'http.sock')
    both = daemon({'http.listen': f'127.0.0.1:0,unix:{second}'})
    assert both.get('/livez').status == ask(second, '/livez')[0] == 200
    assert both.stop() == 0 and not os.path.exists(second)


def test_a_worker_dies_and_a_reload_comes_under_load(daemon, stage):
    d, path = unix_only(daemon, stage, {'http.workers': 3})
    failed, asked, over = [], [0], threading.Event()

    def load():
        while not over.is_set():
            try:
                asked[0] += 1
                if ask(path, '/livez')[0] != 200:
                    failed.append('status')
            except OSError as e:
                failed.append(repr(e))
    threads = [threading.Thread(target=load, daemon=True) for _ in range(4)]
    for t in threads:
        t.start()
    for n in (1, 2):
        d.kill(signal.SIGHUP)
        wait_until(lambda n=n: len(d.log_lines('reload done')) == n, what='a reload')
    want = asked[0] + 200
    wait_until(lambda: asked[0] > want, what='more questions')
    over.set()
    for t in threads:
        t.join(30)
    assert not failed, failed[:5]
    # A death resets what that worker was answering; the socket stays the others'.
    os.kill(d.roles()['worker'][0], signal.SIGKILL)
    for _ in range(50):
        assert ask(path, '/livez')[0] == 200
    wait_until(lambda: len(d.roles()['worker']) == 3, what='another one')


def test_a_dead_one_makes_room_and_a_living_one_does_not(daemon, stage):
    d, path = unix_only(daemon, stage)
    rival = daemon({'http.listen': f'unix:{path}'}, wait=False)
    rival.exit_expected = 1
    assert rival.proc.wait(20) == 1
    assert 'another daemon' in rival.log() and ask(path, '/livez')[0] == 200
    d.kill_whole()
    assert os.path.exists(path)
    heir = daemon({'http.listen': f'unix:{path}'}, wait=False)
    wait_up(heir, path)
    assert heir.stop() == 0 and not os.path.exists(path)


def test_an_upgrade_keeps_it(daemon, stage):
    d, path = unix_only(daemon, stage)
    inode = os.stat(path).st_ino
    d.kill(signal.SIGUSR2)
    wait_until(lambda: d.log_lines('upgrade: done'), 20, 'it is done')
    assert ask(path, '/livez')[0] == 200 and os.stat(path).st_ino == inode
    assert d.stop() == 0 and not os.path.exists(path)


def test_what_is_no_socket_is_left_alone(daemon, stage):
    path = os.path.join(stage.fresh_dir('http'), 'precious')
    with open(path, 'w', encoding='ascii') as f:
        f.write('mine')
    d = daemon({'http.listen': f'unix:{path}'}, wait=False)
    d.exit_expected = 1
    assert d.proc.wait(20) == 1 and 'no socket' in d.log()
    with open(path, encoding='ascii') as f:
        assert f.read() == 'mine'


# Whose client -----------------------------------------------------------------
COLD = {'swarm.cold_rate': 1, 'swarm.cold_burst': 2, 'swarm.discovery_wait': '0s'}


def statuses(ask_one, client, first, n=4):
    """Questions for n new swarms, which this client is said to ask."""
    head = {'X-Forwarded-For': client} if client else {}
    return [ask_one(f'/peers/{IH}{first + i:02x}?wait=50', head) for i in range(n)]


def test_a_trusted_proxy_names_the_client(daemon, stage):
    path = os.path.join(stage.fresh_dir('http'), 'http.sock')
    d = daemon({'http.listen': f'127.0.0.1:0,unix:{path}', **COLD},
               file='[http]\ntrusted_proxies = 127.0.0.0/8, 10.0.0.0/8\n')

    def by_port(target, head):
        return d.get(target, head).status

    def by_path(target, head):
        return ask(path, target, ''.join(f'{k}: {v}\r\n' for k, v in head.items()))[0]
    assert statuses(by_port, '192.0.2.1', 0) == [200, 200, 503, 503]
    # What it said itself stands before; proxies of ours behind.
    assert statuses(by_port, '192.0.2.9, 192.0.2.1, 10.0.0.3', 4) == [503] * 4
    assert statuses(by_port, '192.0.2.2', 8) == [200, 200, 503, 503]
    assert statuses(by_port, '2001:db8::1, 10.0.0.3', 12) == [200, 200, 503, 503]
    assert statuses(by_port, None, 16) == [200] * 4         # the proxy itself, on loopback
    assert statuses(by_path, '192.0.2.1', 20) == [200] * 4  # unix: is not in the list
    d.reload('[http]\ntrusted_proxies = 127.9.9.9\n')
    wait_until(lambda: d.log_lines('reload done'), what='the workers have it')
    assert statuses(by_port, '192.0.2.1', 24) == [200] * 4


def test_who_has_hung_up_asks_for_nothing(daemon):
    """Its address is gone with its connection: nobody could be charged for the swarm."""
    d = daemon({'http.workers': 1})
    worker = d.roles()['worker'][0]

    def hang_up(n):
        os.kill(worker, signal.SIGSTOP)
        try:
            with socket.create_connection((d.host, d.port)) as s:
                s.sendall(f'GET /peers/{IH}{n:02x}?wait=0 HTTP/1.1\r\nHost: a\r\n\r\n'.encode())
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        finally:
            os.kill(worker, signal.SIGCONT)
    for n in range(5):
        hang_up(n)
    assert d.get(f'/peers/{IH}ff?wait=0').status == 200
    wait_until(lambda: d.top()['counters']['joins'], what='the swarm of one who stays')
    assert d.top()['counters']['joins'] == 1


def test_who_is_not_trusted_is_not_believed(daemon, stage):
    path = os.path.join(stage.fresh_dir('http'), 'http.sock')
    d = daemon({'http.listen': f'127.0.0.1:0,unix:{path}', 'http.trusted_proxies': 'unix:',
                **COLD})

    def by_port(target, head):
        return d.get(target, head).status

    def by_path(target, head):
        return ask(path, target, ''.join(f'{k}: {v}\r\n' for k, v in head.items()))[0]
    assert statuses(by_port, '192.0.2.1', 0) == [200] * 4
    assert statuses(by_path, '192.0.2.1', 4) == [200, 200, 503, 503]
    assert statuses(by_path, '192.0.2.1, garbage', 8) == [200] * 4

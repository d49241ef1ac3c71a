"""The master: start, reload, drain, ownership, the command line, any user."""
import contextlib
import http.client
import http.server
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time

import netns
import pytest
from daemon import BIN
from load import Load
from procs import cmdline, slow, wait_until

IH = '94c2fd8fb9bc8f2fc71a2cbe9d4b866f227a0209'


def workers(d):
    return sorted(d.roles()['worker'])


def generation(d):
    """The workers when both are of one generation and no other lives, else None."""
    now = workers(d)
    gens = {re.search(r'gen (\d+)', cmdline(p)) for p in now}
    names = {m[1] for m in gens if m}
    return now if len(now) == 2 and len(names) == 1 and None not in gens else None


def write(d, text):
    with open(d.file, 'w', encoding='utf-8') as f:
        f.write(text)


def reload(d):
    """HUP, until only the new generation lives."""
    before = workers(d)
    done = len(d.log_lines('reload done'))
    d.kill(signal.SIGHUP)
    wait_until(lambda: len(d.log_lines('reload done')) > done, what='reload done')
    return wait_until(lambda: not set(workers(d)) & set(before) and generation(d),
                      what='the old generation is gone')


def parked(d):
    return sum(p['parked'] for p in d.top()['processes'] if p['role'].startswith('worker'))


@pytest.fixture
def silent_tracker(stage):
    """A tracker that takes every packet and answers none: questions stay parked."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((stage.net.take(), 0))
        yield 'udp://%s:%d/announce' % s.getsockname()


# Names ----------------------------------------------------------------------
def test_processes_have_names(daemon):
    d = daemon()
    assert cmdline(d.pid) == 'peerscope: master'
    names = wait_until(lambda: len(d.pids()) == 3 and sorted(map(cmdline, d.pids())))
    assert names == ['peerscope: collector', 'peerscope: worker 1 (gen 1)',
                     'peerscope: worker 2 (gen 1)']


# Reload ---------------------------------------------------------------------
def test_reload_under_load_fails_no_request(daemon):
    d = daemon()
    load = Load(d, '/livez')
    for _ in range(4):
        was = load.answers
        reload(d)
        wait_until(lambda: load.answers > was + 50, what='requests after a reload')
    load.stop()
    assert load.failures == []
    assert load.closed_idle == 0
    assert d.top()['counters']['config_reloads'] == 4


def test_reload_takes_new_settings(daemon):
    d = daemon(file='[http]\nmax_uri = 8k\n')
    long = '/livez?' + 'x' * 2000
    assert d.get(long).status == 200
    write(d, '[http]\nmax_uri = 1k\n')
    reload(d)
    assert d.get(long).status == 414
    wait_until(lambda: 'new settings taken' in d.log(), what='the collector has them, too')
    assert 'reload: changed http.max_uri' in d.log()
    reload(d)
    line, = d.log_lines('reload: nothing changed')
    assert 'workers are renewed' in line


def test_broken_file_changes_nothing(daemon):
    d = daemon(file='[cache]\nttl = 30s\n')
    before = d.pids()
    write(d, '[cache]\nttl = 5\nnonsense = 1\n[http]\nmax_uri = 1\n')
    d.kill(signal.SIGHUP)
    wait_until(lambda: 'reload refused' in d.log(), what='it is refused')
    name = os.path.basename(d.file)
    for line in 2, 3, 5:                # all errors, not the first
        assert re.search(re.escape(name) + f':{line}: ', d.log())
    assert 'needs a unit' in d.log()
    assert d.pids() == before
    assert d.get('/livez').status == 200
    write(d, '[cache]\nttl = 31s\n')    # and mended it works
    reload(d)


@pytest.mark.parametrize('few', [256, 64])
def test_few_descriptors_say_what_mends_it(daemon, few):
    d = daemon({'http.workers': 1})
    assert ' starts: 1 worker, ' in d.log()
    resource.prlimit(d.pid, resource.RLIMIT_NOFILE, (few, few))
    d.kill(signal.SIGHUP)               # the new worker has it from the master
    line, = wait_until(lambda: d.log_lines('http.max_connections is'), what='it is said')
    for word in f'{few} descriptors', 'LimitNOFILE', 'ulimit -n', 'swarm.connections':
        assert word in line


def test_restart_key_is_refused_by_name(daemon):
    d = daemon()
    before = d.pids()
    write(d, '[shm]\nswarms = 64\n[cache]\nttl = 7s\n')
    d.kill(signal.SIGHUP)
    wait_until(lambda: 'reload refused' in d.log(), what='it is refused')
    line, = d.log_lines('reload refused')
    assert 'shm.swarms' in line and 'cache.ttl' not in line
    assert d.pids() == before


def test_a_generation_that_fails_leaves_the_old(daemon, stage):
    """The new workers can't open their log file: they die before they are ready."""
    if os.getuid() == 0:
        bad = '/proc/peerscope.log'     # not even root makes a file there
    else:
        bad = '/peerscope.log'
    d = daemon(file='[cache]\nttl = 30s\n')
    before = workers(d)
    write(d, f'[log]\nfile = {bad}\n')
    d.kill(signal.SIGHUP)
    wait_until(lambda: 'the old generation stays' in d.log(), what='it is given up')
    wait_until(lambda: workers(d) == before, what='the new ones are gone')
    assert d.get('/livez').status == 200
    write(d, '[cache]\nttl = 31s\n')
    reload(d)


def test_two_hups_at_once(daemon):
    d = daemon()
    first = workers(d)
    load = Load(d, '/livez')
    for _ in range(5):
        d.kill(signal.SIGHUP)
    wait_until(lambda: 'reload done' in d.log(), what='reload done')
    wait_until(lambda: not set(workers(d)) & set(first) and generation(d),
               what='one generation')
    was = len(d.log_lines('reload done'))
    reload(d)                           # it still can
    load.stop()
    assert load.failures == []
    assert was <= 5


def test_hup_during_a_drain_is_remembered(daemon):
    d = daemon()
    held = []
    for _ in range(8):                  # idle: the old generation waits for them
        c = http.client.HTTPConnection(d.host, d.port, timeout=10 * slow())
        c.request('GET', '/livez')
        c.getresponse().read()
        held.append(c)
    d.kill(signal.SIGHUP)
    wait_until(lambda: len(d.log_lines('reload done')) == 1, what='reload done')
    assert len(workers(d)) > 2          # still draining
    d.kill(signal.SIGHUP)
    d.kill(signal.SIGHUP)
    wait_until(lambda: len(d.log_lines('HUP: reload')) >= 2, what='the HUP was seen')
    assert len(d.log_lines('reload done')) == 1
    for c in held:
        c.request('GET', '/livez')      # one more answer each, which closes
        r = c.getresponse()
        assert r.status == 200 and r.will_close
        r.read()
        c.close()
    wait_until(lambda: len(d.log_lines('reload done')) == 2, what='the remembered one')
    wait_until(lambda: generation(d), what='one generation')


def test_usr1_opens_the_log_again(daemon, stage):
    path = stage.path('peerscope.log')
    d = daemon({'log.file': path}, wait=False)

    def lines(p):
        try:
            with open(p, encoding='utf-8') as f:
                return f.read()
        except FileNotFoundError:
            return ''

    found = wait_until(lambda: re.search(r'serving on http://([0-9.]+):(\d+)', lines(path)))
    d.host, d.port = found[1], int(found[2])
    wait_until(d.ready)
    os.rename(path, path + '.1')
    d.kill(signal.SIGUSR1)
    wait_until(lambda: 'log opened again' in lines(path), what='a new file')
    size = os.path.getsize(path + '.1')
    os.kill(workers(d)[0], signal.SIGKILL)
    wait_until(lambda: 'died: signal 9' in lines(path), what='the next line is there')
    assert os.path.getsize(path + '.1') == size
    # A worker, which got the word over its channel, says that it drains in the new file.
    d.kill(signal.SIGHUP)
    wait_until(lambda: re.search(r'\[w\d\.g\d+ \d+\] info http: draining', lines(path)))
    assert os.path.getsize(path + '.1') == size


# Leaving --------------------------------------------------------------------
def ask_in_thread(d, path):
    box = {}

    def run():
        try:
            box['answer'] = d.get(path)
        except OSError as e:
            box['error'] = e
    t = threading.Thread(target=run, daemon=True)
    t.start()
    return t, box


@pytest.mark.parametrize('signo', [signal.SIGTERM, signal.SIGQUIT])
def test_term_drains_a_parked_request(daemon, silent_tracker, signo):
    d = daemon({'swarm.trackers': silent_tracker, 'swarm.discovery_wait': '3s'})
    t, box = ask_in_thread(d, f'/peers/{IH}')
    wait_until(lambda: parked(d) == 1, what='it is parked')
    d.kill(signo)

    def refused():
        try:
            socket.create_connection((d.host, d.port), 5).close()
            return False
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:    # it was in the queue at that moment
            return False
    wait_until(refused, what='a newcomer is refused')
    assert t.is_alive(), 'the parked one waits on'
    t.join(20 * slow())
    assert box['answer'].status == 200 and box['answer'].json['peers'] == []
    assert d.proc.wait(20) == 0
    assert not os.path.exists(os.path.join(d.run_dir, 'peerscope.pid'))


def test_second_term_leaves_now(daemon, silent_tracker):
    d = daemon({'swarm.trackers': silent_tracker, 'swarm.discovery_wait': '20s'})
    t, box = ask_in_thread(d, f'/peers/{IH}')
    wait_until(lambda: parked(d) == 1, what='it is parked')
    d.kill(signal.SIGTERM)
    wait_until(lambda: 'draining, then leaving' in d.log())
    d.kill(signal.SIGTERM)              # as of `timeout`: the process, then its group
    wait_until(lambda: 'taken for the same one' in d.log(), what='one wish, sent twice')
    assert 'leaving now' not in d.log() and t.is_alive()
    began = time.monotonic()

    def sent_again():                   # from the first second on it counts
        d.kill(signal.SIGTERM)
        return 'leaving now' in d.log()
    wait_until(sent_again, every=0.1)
    assert d.proc.wait(10) == 0
    assert time.monotonic() - began < 5 * slow()
    t.join(10 * slow())
    assert 'error' in box


def test_int_leaves_now(daemon, silent_tracker):
    d = daemon({'swarm.trackers': silent_tracker, 'swarm.discovery_wait': '20s'})
    t, _ = ask_in_thread(d, f'/peers/{IH}')
    wait_until(lambda: parked(d) == 1, what='it is parked')
    assert d.stop(signal.SIGINT, 5) == 0
    t.join(10 * slow())
    assert re.search(r'info master: worker \d \(gen 1\), pid \d+, was killed', d.log())
    assert not re.search(r' (warn|error) master', d.log())


def test_ctrl_c_of_an_idle_daemon_is_quiet(daemon):
    d = daemon({'redis.mode': 'bundled'})
    wait_until(lambda: d.get('/health').json['redis_available'], what='redis is up')
    group = [p for p in [d.pid, *d.pids()] if os.getpgid(p) == os.getpgid(d.pid)]
    assert len(group) == 4              # all but Redis, which would not ignore it
    said = len(d.log())                 # that Redis is slow to start is another matter
    for pid in group:                   # as a terminal does, only at once
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
    assert d.proc.wait(10) == 0
    assert not re.search(r' (warn|error) ', d.log()[said:]), d.log()


# What people see ------------------------------------------------------------
def test_a_death_says_what_comes_next(daemon):
    d = daemon()
    victim = next(p for p in workers(d) if 'worker 1 ' in cmdline(p))
    os.kill(victim, signal.SIGKILL)
    new = wait_until(lambda: re.search(
        r'notice master: worker 1 \(gen 1\) started again, pid (\d+)', d.log()))
    line, = d.log_lines('died: ')
    assert f'worker 1 (gen 1), pid {victim}, died: signal 9' in line
    assert line.endswith('; starting again now') and 'slot' not in line
    os.kill(int(new[1]), signal.SIGKILL)
    wait_until(lambda: re.search(r'; starting again in 0\.2 s$', d.log(), re.M))
    wait_until(lambda: len(d.log_lines('started again')) == 2)


def test_only_a_reload_moves_the_generation(daemon):
    d = daemon()

    def names():
        shown = {p['name']: p['pid'] for p in d.top()['processes'] if p['role'] == 'worker'}
        return shown if len(shown) == 2 and all(shown.values()) else None
    before = wait_until(names)
    assert sorted(before) == ['worker 1 (gen 1)', 'worker 2 (gen 1)']
    os.kill(before['worker 2 (gen 1)'], signal.SIGKILL)
    after = wait_until(lambda: (n := names()) and n != before and n)
    assert sorted(after) == sorted(before)
    wait_until(lambda: cmdline(after['worker 2 (gen 1)']) == 'peerscope: worker 2 (gen 1)')
    assert d.top()['generation'] == d.get('/health').json['generation'] == 1
    reload(d)
    assert sorted(wait_until(names)) == ['worker 1 (gen 2)', 'worker 2 (gen 2)']
    assert d.top()['generation'] == d.get('/health').json['generation'] == 2
    text = d.command('top', '--once').stdout
    assert re.search(r'^worker 1 \(gen 2\) +\d+ running', text, re.M)
    assert 'worker 0' not in text


def test_top_of_a_dead_daemon(daemon, stage):
    d = daemon()
    name = d.conf['shm.name']
    live = stage.start('top', [BIN, 'top', '--json', '-o', f'shm.name={name}'], env=d.env)
    wait_until(lambda: live.must_live() and '"processes"' in live.log(), what='it shows')
    d.exit_expected = -signal.SIGKILL
    d.kill(signal.SIGKILL)
    d.proc.wait()
    for args in ['--once'], ['--once', '--json'], []:
        r = d.command('top', *args)
        assert (r.returncode, r.stdout) == (1, '')
        assert 'the daemon of this segment is dead' in r.stderr
    assert live.wait(5) == 1
    assert live.log().rstrip().splitlines()[-1].startswith('peerscope top: the daemon of')


# Ownership ------------------------------------------------------------------
def test_second_daemon_on_the_same_directory_is_refused(daemon):
    d = daemon()
    other = daemon({'master.run_dir': d.run_dir}, wait=False)
    other.exit_expected = 1
    assert other.proc.wait(10) == 1
    assert f'another daemon runs in {d.run_dir}, pid {d.pid}' in other.log()
    assert d.get('/livez').status == 200


def test_second_daemon_with_the_same_segment_is_refused(daemon):
    d = daemon()
    other = daemon({'shm.name': d.conf['shm.name']}, wait=False)
    other.finished = True               # its end must not remove the first one's segment
    assert other.proc.wait(10) == 1
    assert f'belongs to a running daemon, pid {d.pid}' in other.log()
    assert 'shm.name' in other.log()
    assert d.get('/readyz').status == 200
    assert d.top()['processes']


@pytest.mark.parametrize('how', ['symlink', 'mode'])
def test_a_directory_that_others_can_fill_is_refused(daemon, stage, how):
    real = stage.fresh_dir('real', 0o700)
    path = stage.path('evil')
    if how == 'symlink':
        os.symlink(real, path)
    else:
        os.mkdir(path)
        os.chmod(path, 0o777)
    d = daemon({'master.run_dir': path}, wait=False)
    d.exit_expected = 1
    assert d.proc.wait(10) == 1
    assert path in d.log()
    assert os.listdir(real) == []


def test_second_daemon_on_the_same_port_is_refused(daemon):
    """It would take half of the requests without a word."""
    d = daemon()
    other = daemon({'http.listen': f'{d.host}:{d.port}'}, wait=False)
    other.exit_expected = 1
    assert other.proc.wait(10) == 1
    assert f'another daemon of this user serves on {d.host}:{d.port}' in other.log()
    for _ in range(8):
        assert d.get('/readyz').status == 200


def test_first_start_that_fails_ends_with_1(daemon, net):
    """The address is another user's or program's: no second listener without a word."""
    address = net.take()
    with socket.create_server((address, 0)) as s:
        d = daemon({'http.listen': '%s:%d' % s.getsockname()}, wait=False)
        d.exit_expected = 1
        assert d.proc.wait(10) == 1
    assert "can't listen on" in d.log() and 'Address already in use' in d.log()


# Command line ---------------------------------------------------------------
def run(*args, env=None, timeout=20):
    return subprocess.run([BIN, *args], capture_output=True, text=True, check=False,
                          env={'PATH': os.environ['PATH'], **(env or {})},
                          timeout=timeout * slow())


@pytest.mark.parametrize('args, word', [
    ([], 'command'), (['nonsense'], 'nonsense'), (['peers'], 'ID'), (['serve', 'x'], "'x'"),
    (['serve', '--nonsense'], '--nonsense'), (['serve', '-x'], '-x'), (['check', '-c'], '-c'),
    (['peers', IH, '--limit', '0'], '2000'), (['peers', IH, '--limit'], 'value'),
    (['peers', IH, '--wait', '1 s'], 'unit'), (['peers', IH, '--wait', '5'], 'unit'),
    (['peers', IH, '--wait', '1h'], '0 to 25s'),
    (['peers', IH, '--limit', '5000'], 'limit is a number from 1 to 2000'),
    (['peers', IH, '--limit', '1&x=2'], 'limit is a number'),
    (['peers', IH, '--json', '--ndjson'], '--ndjson'), (['peers', IH, IH], IH),
    (['config', '--json'], '--json'), (['serve', '--once'], '--once'),
    (['version', '-c', 'x'], '-c'), (['top', '--url', 'http://127.0.0.1:1'], '--url')])
def test_a_mistake_is_one_line(args, word):
    r = run(*args)
    assert (r.returncode, r.stdout) == (2, '')
    line, = r.stderr.splitlines()
    assert word in line and line.endswith('try: peerscope help')


@pytest.mark.parametrize('args', [['help'], ['--help'], ['-h'], ['serve', '--help'],
                                  ['top', '-h']])
def test_help(args):
    r = run(*args)
    assert (r.returncode, r.stderr) == (0, '')
    assert r.stdout.startswith('usage: peerscope') and 'healthcheck' in r.stdout


@pytest.mark.parametrize('args', [['--help'], ['help'], [IH, '-h']])
def test_help_of_peers(args):
    r = run('peers', *args)
    assert (r.returncode, r.stderr) == (0, '')
    assert r.stdout.startswith('usage: peerscope peers ID') and '--ndjson' in r.stdout


def test_version():
    r = run('version')
    assert r.returncode == 0 and re.fullmatch(r'peerscope \d+\.\d+\.\d+ \(\S+\)\n', r.stdout)


def test_precedence(tmp_path):
    f = tmp_path / 'p.conf'
    f.write_text('[cache]\nttl = 11s\nmax_peers = 7\ngrace = 3m\n')
    r = run('config', '-c', str(f), '-o', 'cache.ttl=13s', '-o', 'redis.url=redis://:hunter2@h/1',
            env={'PEERSCOPE_CACHE_TTL': '12s', 'PEERSCOPE_CACHE_MAX_PEERS': '8'})
    assert r.returncode == 0
    shown = dict(line.split(' = ', 1) for line in r.stdout.splitlines() if ' = ' in line)
    assert shown['cache.ttl'].startswith('13s') and '-o' in shown['cache.ttl']
    assert shown['cache.max_peers'].startswith('8')
    assert 'PEERSCOPE_CACHE_MAX_PEERS' in shown['cache.max_peers']
    assert shown['cache.grace'].startswith('3m') and 'p.conf:4' in shown['cache.grace']
    assert 'default' in shown['cache.ttl'] or 'default' in shown['http.listen']
    assert 'hunter2' not in r.stdout and '***' in shown['redis.url']


def test_check_reports_all_errors(tmp_path):
    f = tmp_path / 'bad.conf'
    f.write_text('[http]\nlisten = localhost:80\nmax_uri = 1\nnonsense = 1\n'
                 '[geo]\ncity_db = /nonexistent.mmdb\n[swarm]\nlisten = tun0\n')
    r = run('check', '-c', str(f))
    assert r.returncode == 1
    for line in 2, 3, 4, 6, 8:
        said = re.findall(rf'^\S*bad\.conf:{line}: ', r.stderr, re.M)
        assert len(said) == 1, (line, r.stderr)     # each, and once
    assert '/nonexistent.mmdb' in r.stderr


def test_check_of_databases(tmp_path, mmdb):
    """serve works without any. One that is not there may come: a warning. A wrong file stays
    one: an error. An old one is in use, and said."""
    f = tmp_path / 'p.conf'
    f.write_text(f'[geo]\ncity_db = {tmp_path}/late.mmdb\nasn_db = {mmdb}/asn.mmdb\n'
                 f'more_db = {mmdb}/old.mmdb,{tmp_path}/late2.mmdb\n[redis]\nmode = off\n')
    r = run('check', '-c', str(f), '-o', 'http.listen=127.0.0.1:0', '-o', 'swarm.listen=')
    assert r.returncode == 0, r.stderr
    assert r.stderr.splitlines() == [
        f'{f}:2: geo.city_db: city database {tmp_path}/late.mmdb: No such file or directory; '
        'no place comes from it until it is there (warning)',
        f'{f}:4: geo.more_db: more1 database {mmdb}/old.mmdb: 45 days old; '
        'there is a newer one each month (warning)',
        f'{f}:4: geo.more_db: more2 database {tmp_path}/late2.mmdb: No such file or directory; '
        'no place comes from it until it is there (warning)']
    (tmp_path / 'late.mmdb').write_text('no database')
    (tmp_path / 'late2.mmdb').mkdir()
    r = run('check', '-c', str(f), '-o', 'http.listen=127.0.0.1:0')
    assert r.returncode == 1
    said = [line for line in r.stderr.splitlines() if 'warning' not in line]
    assert len(said) == 2 and 'invalid metadata' in said[0] and 'regular file' in said[1], said
    assert all(line.endswith('; no place would come from it') for line in said)
    f.write_text('[geo]\nmore_db = ' + ','.join(f'/{i}' for i in range(7)))
    for command in 'check', 'serve':
        r = run(command, '-c', str(f))
        assert r.returncode and 'p.conf:2: geo.more_db' in r.stderr, r.stderr
        assert 'more than 6 further databases' in r.stderr


def test_hup_with_a_bad_redis_url_is_refused_whole(daemon):
    d = daemon({'redis.mode': 'external'}, file='[redis]\nurl = redis://127.0.0.1:1\n')
    with open(d.file, 'w', encoding='utf-8') as f:
        f.write('[redis]\nurl = redis://user:geheim@127.0.0.1:1\n[cache]\nttl = 7s\n')
    gen = d.get('/health').json['generation']
    d.kill(signal.SIGHUP)
    wait_until(lambda: 'reload refused' in d.log(), what='it is refused')
    assert re.search(r'\.conf:2: redis\.url = \*\*\*: no user but default', d.log())
    assert 'geheim' not in d.log()
    assert d.get('/health').json['generation'] == gen
    assert 'new settings taken' not in d.log()


def test_check_passes_and_warns(tmp_path):
    f = tmp_path / 'good.conf'
    f.write_text('[redis]\nmode = external\nurl = redis://127.0.0.1:1\n'
                 '[swarm]\nlisten = tun0:42069,[::1]:5\n')
    r = run('check', '-c', str(f))
    assert r.returncode == 0, r.stderr
    assert re.search(r'good\.conf:3: .*reached.*\(warning\)', r.stderr)
    f.write_text('[shm]\npeers = 4g\nswarms = 100000\n')
    r = run('check', '-c', str(f))
    room = os.statvfs('/dev/shm')
    if room.f_bavail * room.f_frsize < 4 << 30:
        assert 'good.conf:2: shm.peers:' in r.stderr


def test_check_lists_in_the_order_of_lines(tmp_path, net):
    """What serve could not do is an error; what may change by itself is a warning."""
    with socket.socket() as taken:
        taken.bind((net.take(), 0))
        taken.listen()
        f = tmp_path / 'p.conf'
        f.write_text('[log]\nfile = /nonexistent/p.log\n'
                     '[swarm]\ntrackers =\ndht = off\ndht_state = /nonexistent/dht.state\n'
                     'interface = nosuch0\ncontrol = abc\n[vpn]\nuser = me\n'
                     '[redis]\nmode = off\n[http]\nlisten = %s:%d\n[geo]\nonline_url = http://x/\n'
                     % taken.getsockname())
        r = run('check', '-c', str(f), '-o', 'geo.asn_db=/nonexistent/asn.mmdb')
        assert r.returncode == 1
        said = re.findall(r'^(?:\S*p\.conf:(\d+)|-o): (.*?)( \(warning\))?$', r.stderr, re.M)
        assert [s[0] for s in said] == ['2', '4', '6', '7', '8', '10', '14', '16', '']
        assert [s[0] for s in said if not s[2]] == ['2', '8']
        for text, word in zip((s[1] for s in said), (
                'log.file: directory /nonexistent: No such', 'swarm.trackers: no tracker',
                'swarm.dht_state: the DHT', 'swarm.interface: there is no such device',
                'these are 3 characters', 'vpn.password is empty', 'our own daemon',
                'without TLS', 'geo.asn_db')):
            assert word in text
    f.write_text('[log]\nfile = %s\n[redis]\nmode = off\n[http]\nlisten = %s:0\n'
                 % (tmp_path, net.take()))
    r = run('check', '-c', str(f))
    assert r.returncode == 1 and 'p.conf:2: log.file: is a directory' in r.stderr
    f.write_text(f.read_text().replace(str(tmp_path), str(tmp_path / 'p.log')))
    r = run('check', '-c', str(f), '-o', 'swarm.listen=')
    assert (r.returncode, r.stderr) == (0, '') and not (tmp_path / 'p.log').exists()


def test_check_of_the_metadata_cache(tmp_path, net):
    """serve goes on without it, so it is a warning."""
    (tmp_path / 'file').write_text('')
    ask = ('check', '-o', 'redis.mode=off', '-o', f'http.listen={net.take()}:0', '-o')
    for path, why in ((tmp_path / 'file', 'not a directory'),
                      (tmp_path / 'file' / 'x', 'Not a directory'),
                      (tmp_path / 'none' / 'x', 'No such file')):
        r = run(*ask, f'metadata.cache_dir={path}')
        assert r.returncode == 0 and '(warning)' in r.stderr and why in r.stderr, r
        assert 'metadata.cache_dir: metadata will be kept in master.run_dir: ' in r.stderr
    for path in tmp_path, tmp_path / 'new':
        r = run(*ask, f'metadata.cache_dir={path}')
        assert r.returncode == 0 and 'cache_dir' not in r.stderr, r
    assert not (tmp_path / 'new').exists()


def test_serve_with_a_broken_file_does_not_start(daemon):
    d = daemon(file='[http]\nmax_uri = x\n', wait=False)
    d.exit_expected = 78
    assert d.proc.wait(10) == 78
    assert re.search(r'\.conf:2: ', d.log())


def test_healthcheck(daemon):
    d = daemon()
    for args in ['healthcheck'], ['healthcheck', '--ready']:
        r = d.command(*args)
        assert (r.returncode, r.stdout, r.stderr) == (0, '', '')
    d.stop()
    r = d.command('healthcheck')
    assert r.returncode == 1 and len(r.stderr.splitlines()) == 1


@pytest.mark.parametrize('host', ['127.0.0.1', '[::1]'])
def test_peers_prints_a_table(daemon, swarm, tracker, host):
    t = tracker(register=True)
    s = swarm([{'count': 3, 'progress': 100, 'name': 'Evil\x1b[2J 1.0'}], trackers=[t.http])
    d = daemon({'swarm.trackers': t.http, 'http.listen': f'{host}:0'})
    r = d.command('peers', s.infohash, '--wait', '2s', '--limit', '2')
    assert r.returncode == 0, r.stderr
    lines = r.stdout.splitlines()
    assert re.match(r'ADDRESS +CLIENT +DONE +STATE', lines[0])
    assert len(lines) == 6              # title, two peers, a blank, the sum, the verdict
    assert '\x1b' not in r.stdout
    assert re.search(rf'^{s.infohash}: 2 of 3 peers', lines[-2])
    assert lines[-1].startswith('verdict: alive; ')
    r = d.command('peers', 'zz')
    assert r.returncode == 1 and '400' in r.stderr and r.stdout == ''
    assert r.stderr.startswith(f'peerscope peers: {d.url}/peers/zz: 400: ')
    r = d.command('peers', IH, '--wait', '26s')
    said = d.get(f'/peers/{IH}?wait=26s').json['message']
    assert r.returncode == 2 and said.rstrip('.') in r.stderr, 'the words of the daemon'
    r = d.command('peers', '0' * 43)
    a = d.get('/peers/' + '0' * 43)
    assert r.stderr.strip().endswith(a.json['message']), 'not cut'
    r = d.command('peers', s.infohash, '--json', '--limit', '2')
    assert r.returncode == 0 and len(json.loads(r.stdout)['peers']) == 2


class Stranger(http.server.BaseHTTPRequestHandler):
    """Some other web server: every path has a page, or an object of its own."""
    replies = {'/html': (200, b'<html>hello</html>'), '/json': (200, b'{"data": []}'),
               '/404': (404, b'<html>not found</html>'), '/empty': (200, b'')}

    def do_GET(self):
        status, body = self.replies['/' + self.path.split('/')[1]]
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serving(net, handler):
    """Its base URL."""
    with http.server.HTTPServer((net.take(), 0), handler) as server:
        t = threading.Thread(target=server.serve_forever)
        t.start()
        try:
            yield 'http://%s:%d' % server.server_address
        finally:
            server.shutdown()
            t.join()


def test_peers_of_somebody_else(net):
    with serving(net, Stranger) as base:
        for path in Stranger.replies:
            for more in [], ['--json']:
                r = run('peers', IH, '--url', base + path, *more)
                assert (r.returncode, r.stdout) == (1, '')
                assert f'{base}{path}/peers/{IH}: that is not Peerscope' in r.stderr


class Engines(Stranger):
    """Peerscope's answer about an AceStream swarm: all is known of one peer, little of two."""
    peer = {'ip': '192.0.2.7', 'port': 8621, 'client': 'Ace Stream 3.2.11 (Linux)',
            'progress': 100.0, 'download_rate': 412000, 'upload_rate': 0, 'country': 'Germany',
            'city': 'Berlin', 'isp': 'Beispiel Netz GmbH', 'state': 'contacted',
            'sources': ['dht', 'pex'], 'protocol': 'acestream',
            'ace': {'role': 'viewer', 'lag': 3, 'lag_seconds': 3.6, 'gossiped': True}}
    peers = [peer,
             {**peer, 'port': 1, 'ace': {'role': 'source-like', 'lag': 0, 'lag_seconds': None}},
             {**peer, 'port': 2, 'ace': {'role': None, 'lag': None, 'gossiped': True}}]
    ace = {'motion': 'advancing', 'kind': 'live', 'head': 5063, 'piece_seconds': 1.2,
           'sources': 0, 'source_like': 1, 'discovered': 40, 'reachable': 2, 'gossiped': 12}
    swarm = {'acestream_id': IH, 'infohash': IH, 'peers': peers, 'peer_count': 3,
             'total_peers': 40, 'cached_at': 1.0, 'error': None, 'phase': 'settled',
             'title': 'Evil\x1b[2J "TV"', 'ace': ace}
    plain = {**swarm, 'ace': None, 'title': None,
             'peers': [{k: v for k, v in peer.items() if k != 'ace'}]}
    none = {**swarm, 'peers': [], 'ace': {**ace, 'head': None, 'piece_seconds': None,
                                          'kind': None, 'motion': 'unproven'}}
    guess = {**plain, 'ace': {**none['ace'], 'mode': 'maybe', 'reachable': 0, 'gossiped': 0}}
    replies = {'/engines': (200, json.dumps(swarm).encode()),
               '/guess': (200, json.dumps(guess).encode()),
               '/none': (200, json.dumps(none).encode()),
               '/plain': (200, json.dumps(plain).encode())}


def test_peers_of_engines_have_lag_and_role(net):
    with serving(net, Engines) as base:
        out = {path: run('peers', IH, '--url', base + path).stdout for path in Engines.replies}
    lines = out['/engines'].splitlines()
    assert re.match(r'ADDRESS +CLIENT +DONE +STATE +DOWN +UP +LAG +ROLE +COUNTRY', lines[0])
    assert [re.search(r'kB/s +- +(.*?)  +Germany', x)[1] for x in lines[1:4]] == [
        '3 (3.6 s)  viewer', '0  source-like', '-  gossiped']
    assert 'Ace Stream 3.2.11 (Linux)  100.0%' in lines[1]
    assert lines[6:] == ['title: Evil?[2J "TV"',
                         'acestream: 40 discovered, 2 reachable, 12 gossiped; live, advancing, '
                         'head 5063, 1.20 s per piece; 0 source, 1 source-like']
    for path in '/plain', '/guess':     # nothing is known to be AceStream
        assert 'LAG' not in out[path]
        assert 'ace' not in out[path].lower().replace('ace stream', '')
    assert out['/none'].splitlines()[-1] == (
        'acestream: 40 discovered, 2 reachable, 12 gossiped; unproven; 0 source, 1 source-like')


def test_complaints_name_the_url():
    for args, path in (['peers', IH], f'/peers/{IH}'), (['healthcheck'], '/livez'):
        r = run(*args, '--url', 'http://127.0.0.1:1')
        assert r.returncode == 1
        line, = r.stderr.splitlines()
        assert f'http://127.0.0.1:1{path}: nobody listens there' in line


# Any user, nothing writable -------------------------------------------------
def test_runs_as_any_user_on_a_read_only_root(stage):
    netns.needs_mounts()
    uid = 41234
    name = f'/peerscope-test-{os.getpid()}'
    # In a mount namespace of its own: every file system read-only, but /dev/shm.
    script = f'''
        set -e
        mount --make-rprivate /
        mount -t tmpfs -o size=64m,mode=1777 none /dev/shm
        cp "{BIN}" /dev/shm/peerscope; chmod 755 /dev/shm/peerscope
        awk '{{print $5}}' /proc/self/mountinfo | while read -r m; do
            case "$m" in /dev/shm|/proc*|/sys*) ;;
            *) mount -o remount,bind,ro "$m" 2>/dev/null || true ;; esac
        done
        ! touch /tmp/peerscope-probe 2>/dev/null
        ! touch /run/peerscope-probe 2>/dev/null
        cd /
        exec setpriv --reuid {uid} --regid {uid} --clear-groups env -i PATH="$PATH" \\
            ASAN_OPTIONS=detect_leaks=0 /dev/shm/peerscope serve \\
            -o http.listen=127.0.0.1:0 -o shm.name={name} -o swarm.trackers= \\
            -o acestream.trackers= \\
            -o swarm.dht=off -o swarm.listen= -o swarm.allow_private=on -o geo.online=off
    '''
    if not shutil.which('setpriv'):
        pytest.skip('needs setpriv (util-linux)')
    p = stage.start('readonly', ['unshare', '-m', '/bin/sh', '-c', script])

    def get(path):
        c = http.client.HTTPConnection('127.0.0.1', port, timeout=10 * slow())
        c.request('GET', path)
        r = c.getresponse()
        body = r.read()
        c.close()
        return r.status, body.replace(b' ', b'')
    found = wait_until(lambda: p.must_live() and
                       re.search(r'serving on http://127.0.0.1:(\d+)', p.log()), 15)
    port = int(found[1])
    assert get('/readyz')[0] == 200
    assert f'run_dir /dev/shm/peerscope-{uid},' in p.log()
    wait_until(lambda: b'"redis_available":true' in get('/health')[1],
               what='the bundled Redis is up')
    with open(f'/proc/{p.pid}/status', encoding='utf-8') as f:
        assert f'Uid:\t{uid}' in f.read()
    os.kill(p.pid, signal.SIGTERM)
    assert p.wait(20) == 0, p.log()


def test_who_waits_longer_than_a_drain_is_answered(daemon, tmp_path):
    """A question whose time is longer than that of its worker: 504, no broken connection."""
    d = daemon({'master.drain_timeout': '2s', 'metadata.timeout': '30s', 'http.workers': 1,
                'metadata.cache_dir': str(tmp_path)})
    link = 'magnet:?xt=urn:btih:' + '0123456789' * 4 + '&x.pe=127.0.0.1:9'
    answers = []
    asker = threading.Thread(target=lambda: answers.append(d.request(
        'POST', '/api/v1/metadata', {}, json.dumps({'magnet_uri': link}))), daemon=True)
    asker.start()
    wait_until(lambda: any(p['parked'] for p in d.top()['processes'] if p['role'] == 'worker'),
               what='it waits')
    d.kill(signal.SIGHUP)
    asker.join(15 * slow())
    assert [a.status for a in answers] == [504] and answers[0].json['code']

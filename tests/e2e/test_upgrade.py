"""USR2: another binary takes the daemon over, and nobody notices."""
import concurrent.futures
import contextlib
import os
import re
import signal
import socket

import pytest

from busy import Busy, Swarms
from daemon import BIN
from load import Load
from procs import comm, wait_until
from upgrading import (LAYOUT, NO_WORKER, OTHER, VERSION, configure, image, put, read, refused,
                       settled, upgrade)


# The new binary takes over ---------------------------------------------------------------
def test_all_stays_but_the_program(installed, stage):
    path = os.path.join(stage.fresh_dir('unix'), 'http')
    d = installed({'redis.mode': 'bundled', 'http.listen': f'127.0.0.1:0, unix:{path}'})
    socket = os.stat(path).st_ino
    segment = os.stat('/dev/shm' + d.conf['shm.name']).st_ino
    before, redis = set(d.pids()), d.roles()['redis']
    collector = d.collector()
    put(d.exe, image(OTHER))
    for pid in before:          # `systemctl kill` means all of them
        os.kill(pid, signal.SIGUSR2)
    upgrade(d)
    assert os.stat('/dev/shm' + d.conf['shm.name']).st_ino == segment
    assert os.stat(path).st_ino == socket and d.roles()['redis'] == redis
    assert not (set(d.pids()) - set(redis)) & before, 'all others are new'
    assert d.collector() != collector
    assert comm(d.pid) == 'peerscope'
    for pid in [d.pid, d.collector(), *d.roles()['worker']]:
        assert os.readlink(f'/proc/{pid}/exe') == d.exe
    with open(os.path.join(d.run_dir, 'peerscope.pid'), encoding='ascii') as f:
        assert f.read() == f'{d.pid}\n'
    line, = d.log_lines('takes over from')
    assert f'peerscope {OTHER} takes over from {VERSION}' in line
    assert d.get('/health').json['generation'] == 2
    top = d.top()
    assert top['counters']['upgrades'] == 1 and top['respawns'] == 0
    assert top['counters']['deaths_exit'] == top['counters']['deaths_signal'] == 0
    # The locks were never dropped: a second daemon is refused.
    again = d.command('serve')
    assert again.returncode == 1 and f'pid {d.pid}' in again.stderr


def test_under_64_busy_connections(installed, swarm, tracker):
    s = Swarms(swarm, tracker)
    d = installed(s.conf)
    s.meet(d)
    load = Busy(d, s)
    for version in OTHER, VERSION:
        put(d.exe, image(version))
        upgrade(d)
        load.goes_on()
    load.stop()
    print(f'{load.total()} answers, {load.answers}, the longest took {load.longest:.2f} s')
    assert load.failures == []
    assert d.top()['counters']['upgrades'] == 2


def test_upgrade_while_a_reload_is_under_way(installed):
    d = installed()
    for _ in range(3):
        d.kill(signal.SIGHUP)
        d.kill(signal.SIGUSR2)
        d.kill(signal.SIGHUP)
    wait_until(lambda: d.log_lines('upgrade: done') and settled(d), 30, 'both are done')
    upgrade(d)
    assert d.get('/livez').status == 200


def test_upgrade_while_children_are_down(installed):
    """Those that wait to be started again are the new image's to start."""
    d = installed()

    def all_down():
        for pid in d.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return [p['state'] for p in d.top()['processes'][1:]] == ['cooling'] * 3
    wait_until(all_down, what='all wait')
    d.kill(signal.SIGUSR2)
    wait_until(lambda: d.log_lines('upgrade: done'), 20, 'it is done')
    wait_until(lambda: settled(d), 40, 'all are back')
    wait_until(lambda: d.get('/health').json['libtorrent_available'], 15, 'it listens')
    upgrade(d)


def test_a_reload_that_comes_between(installed):
    """The new binary was found good, and waits for the collector to save: a generation that
    starts now, while another one drains, would leave no room for its own."""
    d = installed()
    put(d.exe, image(OTHER))
    collector = d.collector()
    os.kill(collector, signal.SIGSTOP)
    with socket.create_connection((d.host, d.port)) as asker:
        asker.sendall(b'GET /peers/' + b'0123456789' * 4 + b'?wait=15s HTTP/1.1\r\nHost: p\r\n\r\n')
        wait_until(lambda: any(p['parked'] for p in d.top()['processes']), what='it waits')
        d.kill(signal.SIGUSR2)
        wait_until(lambda: d.log_lines('executing it'), 20, 'it is found good')
        d.kill(signal.SIGHUP)
        wait_until(lambda: d.log_lines('takes over from'), 20, 'it is executed')
        os.kill(collector, signal.SIGCONT)
        wait_until(lambda: d.log_lines('upgrade: done'), 20, 'it is done')
    wait_until(lambda: settled(d), 40, 'the old ones are gone')
    upgrade(d)


def test_killed_right_after(installed):
    """The first children of the new image die: they are replaced as ever."""
    d = installed()
    d.exit_expected = 0
    old = set(d.pids())
    d.kill(signal.SIGUSR2)
    wait_until(lambda: d.log_lines('upgrade: done'), 20, 'it is done')
    for pid in set(d.pids()) - old:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: settled(d), 40, 'all are back')
    wait_until(lambda: d.get('/health').json['libtorrent_available'], 15, 'it listens')
    upgrade(d)


def test_a_collector_that_does_not_come(installed):
    """Questions wait for it during an upgrade, but not when it fails: then as ever."""
    d = installed({'master.drain_timeout': '10m'})      # they wait a little longer at most
    d.kill(signal.SIGUSR2)
    wait_until(lambda: d.log_lines('takes over from'), 20, 'it is executed')
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = []

        def none_comes():
            for pid in d.roles()['collector']:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not asked and d.log_lines('upgrade: done'):
                asked.append(pool.submit(d.get, '/peers/' + '0123456789' * 4 + '?wait=1s'))
            return asked and asked[0].done()
        wait_until(none_comes, 20, 'it is answered')
    assert asked[0].result().status in (200, 503)
    wait_until(lambda: settled(d), 60, 'one has come')


# The old one is not lost -----------------------------------------------------------------
BROKEN = {
    'not there': (None, 'No such file'),
    'not executable': ((b'\x7fELF', 0o644), "can't be executed: Permission denied"),
    'no program': ((b'hello\n', 0o755), "can't be executed: Exec format error"),
    'of another machine': ((b'\x7fELF\x02\x01\x01' + bytes(9) + b'\x02\x00\xb7\x00'
                            + bytes(100), 0o755), "can't be executed: Exec format error"),
    'that fails': ('/bin/false', "it can't take over"),
    'that is no peerscope': ('/bin/true', 'it is no peerscope that can take over'),
}


@pytest.mark.parametrize('what', BROKEN)
def test_a_binary(installed, what):
    d = installed()
    given, why = BROKEN[what]
    before, generation = d.pids(), d.get('/health').json['generation']
    if given is None:
        os.unlink(d.exe)
    elif isinstance(given, str):
        put(d.exe, read(given))
    else:
        put(d.exe, *given)
    refused(d)
    assert why in d.log() and 'nothing was changed' in d.log()
    assert d.pids() == before and d.get('/health').json['generation'] == generation
    assert d.top()['counters']['upgrades_refused'] == 1
    put(d.exe, image())         # and the next one is as good as ever
    upgrade(d)


def test_a_configuration_that_is_refused(installed):
    d = installed(file='[cache]\nttl = 30s\n')
    before = d.pids()
    for text, why in (('[cache]\nttl = 5\n', 'needs a unit'),
                      ('[shm]\nswarms = 64\n', 'only a restart can change shm.swarms')):
        configure(d, text)
        assert 'is not used' in refused(d)
        assert re.search('it says: .*' + why, d.log())
    assert d.pids() == before and d.get('/livez').status == 200


@pytest.mark.parametrize('how', ['its master', 'its workers'])
def test_one_that_fails_gives_way_to_the_old(installed, how):
    """The probe found nothing wrong with it. The old image is there again, with the settings
    that it had, whatever stands in the file now."""
    d = installed(file='[http]\nmax_uri = 1k\n')
    before = sorted(d.pids())
    load = Load(d, '/livez')
    if how == 'its master':
        put(d.exe, image(OTHER))
        configure(d, '[log]\nfile = /proc/peerscope.log\n')
    else:
        put(d.exe, read(NO_WORKER))
        configure(d, '[http]\nmax_uri = 8k\n')
    d.kill(signal.SIGUSR2)
    line = wait_until(lambda: d.log_lines('could not serve'), 20, 'it goes back')[0]
    assert f'the new binary could not serve: back to {VERSION}' in line
    wait_until(lambda: sorted(d.pids()) == before, 10, 'the old ones, and nobody else')
    assert load.stop().failures == []
    os.kill(d.roles()['worker'][0], signal.SIGKILL)     # another one of the old image
    wait_until(lambda: len(d.pids()) == len(before) and settled(d), 10, 'it is replaced')
    for _ in range(8):
        assert d.get('/livez?' + 'x' * 2000).status == 414
    configure(d, '[cache]\nttl = 31s\n')
    put(d.exe, image(OTHER))
    upgrade(d)


# Another layout of the shared memory -------------------------------------------------------
def test_another_layout_means_another_segment(installed, swarm):
    """The old one is nobody's in the end; what was known of peers is known in the new one."""
    s = swarm([{'count': 3, 'progress': 100}])
    d = installed({'redis.mode': 'bundled'})
    d.get(f'/peers/{s.infohash}?wait=0&' + '&'.join(f'x.pe={a}:{p}' for a, p in s.endpoints()))
    d.until_peers(s.infohash, lambda g: len(g) == 3 and all(p['client'] for p in g.values()))
    path = '/dev/shm' + d.conf['shm.name']
    segment, redis = os.stat(path).st_ino, d.roles()['redis']
    for n, exe in enumerate((LAYOUT, BIN, LAYOUT)):
        put(d.exe, read(exe))
        d.binary = exe
        upgrade(d)
        assert len(d.log_lines('a new segment: segment has layout')) == n + 1
        assert os.stat(path).st_ino != segment
        segment = os.stat(path).st_ino
        a = d.peers(s.infohash, wait='0')
        assert a['total_peers'] == 3 and all(p['client'] for p in a['peers'])
        assert d.roles()['redis'] == redis and len(d.pids()) == 4
        for pid in [d.pid, *d.roles()['worker'], d.collector()]:
            assert not [f for f in mapped(pid) if '(deleted)' in f and 'shm' in f]
    mine = {n for n in os.listdir('/dev/shm') if n.startswith(d.conf['shm.name'][1:])}
    assert mine == {d.conf['shm.name'][1:]}
    again = d.command('serve')
    assert again.returncode == 1, 'the locks are held'


def test_told_to_leave_with_two_segments(installed):
    """Both go: the one that has the name, and the one that was to have it."""
    d = installed()
    put(d.exe, read(LAYOUT))
    d.binary = LAYOUT
    d.kill(signal.SIGUSR2)
    wait_until(lambda: d.log_lines('a new segment'), 20, 'it is made')
    assert d.stop() == 0
    left = [n for n in os.listdir('/dev/shm') if n.startswith(d.conf['shm.name'][1:])]
    assert left == []


def test_the_old_collector_dies_while_the_new_table_is_filled(installed):
    """A table has one writer: the next collector waits for the one who fills it."""
    d = installed()
    for exe in (LAYOUT, BIN) * 3:       # it is there for some 50 ms: not each time it is met
        old = d.collector()
        put(d.exe, read(exe))
        d.binary = exe
        d.kill(signal.SIGUSR2)
        if stop_who_fills(d, old):
            break
        wait_until(lambda: settled(d), 40, 'that one is over')
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: d.log_lines('collector could not be started'), what='the next one waits')
    wait_until(lambda: d.log_lines('the new table could not be filled'), 15, 'it is late')
    wait_until(lambda: settled(d), 40, 'the old ones are gone')
    wait_until(lambda: d.get('/health').json['libtorrent_available'], 15, 'the new one listens')


def stop_who_fills(d, old):
    """The other collector, which fills the table of the new segment and ends."""
    done = len(d.log_lines('upgrade: done'))

    def met():
        if len(d.log_lines('upgrade: done')) > done:
            return 'over'
        for pid in d.pids():
            if pid != old and d.role(pid) == 'collector':
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    return 'met'
        return ''
    return wait_until(met, 20, 'it is met, or over', every=0.001) == 'met'


def mapped(pid):
    with open(f'/proc/{pid}/maps', encoding='ascii') as f:
        return {line.split(maxsplit=5)[5].strip() for line in f if '/' in line}

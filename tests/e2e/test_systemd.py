"""The unit, and what the daemon tells whoever started it (sd_notify(3)). With systemd itself:
tests/slow/test_deb.py."""
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

import pytest
from daemon import BIN
from procs import ROOT, slow, wait_until
from upgrading import NO_WORKER, put, read, refused, upgrade

UNIT = os.path.join(ROOT, 'conf', 'peerscope.service')


class Manager:
    """The other end of NOTIFY_SOCKET. .words: [(pid of the sender, {name: value}), ...]"""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.sock.setblocking(False)
        self.sock.bind('\0' + path[1:] if path[0] == '@' else path)
        self.words = []

    def hear(self):
        while True:
            try:
                data, anc, _, _ = self.sock.recvmsg(4096, 256)
            except BlockingIOError:
                return self.words
            pid = struct.unpack('3i', anc[0][2])[0]
            lines = data.decode().splitlines()
            self.words.append((pid, dict(line.split('=', 1) for line in lines)))

    def all(self, name):
        return [w[name] for _, w in self.hear() if name in w]

    def states(self):
        """What a unit goes through, in order."""
        return [n for _, w in self.hear() for n in ('READY', 'RELOADING', 'STOPPING') if n in w]


@pytest.fixture(params=['file', 'abstract'])
def manager(request, stage):
    path = stage.path('notify') if request.param == 'file' else '@' + stage.path('notify')
    m = Manager(path)
    m.env = {'NOTIFY_SOCKET': path}
    yield m
    m.sock.close()


def test_start_reload_and_stop_are_told(daemon, manager):
    d = daemon(env=manager.env, file='[cache]\nttl = 30s\n')
    assert manager.states() == ['READY']
    assert manager.all('STATUS') == [f'serving on {d.url}']
    before = time.monotonic_ns() // 1000
    d.reload('[cache]\nttl = 31s\n')
    wait_until(lambda: manager.states() == ['READY', 'RELOADING', 'READY'], what='reloaded')
    at, = map(int, manager.all('MONOTONIC_USEC'))
    assert before <= at <= time.monotonic_ns() // 1000
    assert d.stop() == 0
    assert manager.states() == ['READY', 'RELOADING', 'READY', 'STOPPING']
    assert {pid for pid, _ in manager.words} == {d.pid}     # NotifyAccess=main
    assert not manager.all('WATCHDOG')


@pytest.mark.parametrize('manager', ['file'], indirect=True)
@pytest.mark.parametrize('text,word', [
    ('[shm]\nswarms = 64\n', 'shm.swarms'), ('[cache]\nttl = 5\n', 'errors'),
    ('[log]\nfile = /proc/no.log\n', 'reload failed')])
def test_a_reload_that_is_refused_is_over_too(daemon, manager, text, word):
    d = daemon(env=manager.env, file='[cache]\nttl = 30s\n')
    with open(d.file, 'w', encoding='utf-8') as f:
        f.write(text)
    d.kill(signal.SIGHUP)
    wait_until(lambda: manager.states() == ['READY', 'RELOADING', 'READY'], what='it is over')
    assert word in manager.all('STATUS')[-1]
    assert manager.all('STATUS')[-1].startswith('serving as before')


@pytest.mark.parametrize('manager', ['file'], indirect=True)
def test_an_upgrade_and_one_that_is_refused(installed, manager):
    """Also one that fails later: then the old binary says that it is back."""
    d = installed(env=manager.env)
    upgrade(d)
    assert manager.states() == ['READY', 'RELOADING', 'READY']
    put(d.exe, b'#!/bin/sh\nexit 1\n')
    refused(d)
    wait_until(lambda: len(manager.all('STATUS')) == 4, what='the status says it')
    assert manager.all('STATUS')[-1] == "serving as before: no upgrade: it can't take over"
    assert manager.states() == ['READY', 'RELOADING', 'READY']
    put(d.exe, read(NO_WORKER))
    d.kill(signal.SIGUSR2)
    wait_until(lambda: d.log_lines('could not serve'), 20, 'it goes back')
    wait_until(lambda: manager.states() == ['READY'] + ['RELOADING', 'READY'] * 2, what='said')
    assert manager.all('STATUS')[-1] == 'serving as before: no upgrade'
    assert {pid for pid, _ in manager.words} == {d.pid}


@pytest.mark.parametrize('manager', ['file'], indirect=True)
def test_the_watchdog_hears_of_the_master_alone(daemon, manager):
    d = daemon(env={**manager.env, 'WATCHDOG_USEC': '30000000'})
    wait_until(lambda: len(manager.all('WATCHDOG')) >= 2, 20, 'it beats')
    assert 'WatchdogSec' not in d.log()
    d.kill(signal.SIGSTOP)
    wait_until(lambda: ' T ' in open(f'/proc/{d.pid}/stat', encoding='utf-8').read())
    was = len(manager.all('WATCHDOG'))
    with pytest.raises(AssertionError):     # who hangs is not heard, for two beats and more
        wait_until(lambda: len(manager.all('WATCHDOG')) > was, 5 / slow())
    d.kill(signal.SIGCONT)
    wait_until(lambda: len(manager.all('WATCHDOG')) > was, what='it beats again')


@pytest.mark.parametrize('manager', ['file'], indirect=True)
def test_a_watchdog_of_others_and_one_too_fast(daemon, manager):
    d = daemon(env={**manager.env, 'WATCHDOG_USEC': '3000000', 'WATCHDOG_PID': '1'})
    e = daemon(env={**manager.env, 'WATCHDOG_USEC': '3000000'})
    wait_until(lambda: e.log_lines('WatchdogSec is too short'), what='it is said')
    wait_until(lambda: len(manager.all('WATCHDOG')) >= 2, what='and done')
    assert {pid for pid, w in manager.words if 'WATCHDOG' in w} == {e.pid}
    assert 'WatchdogSec' not in d.log() and len(e.log_lines('WatchdogSec')) == 1


@pytest.mark.parametrize('path', ['/nonexistent/notify', '@' + 'x' * 200], ids=['gone', 'long'])
def test_nobody_there_is_said_and_does_no_harm(daemon, path):
    d = daemon(env={'NOTIFY_SOCKET': path})
    line, = d.log_lines('NOTIFY_SOCKET')
    assert 'READY=1' in line
    assert d.stop() == 0


# The unit ---------------------------------------------------------------------
def installed(stage):
    """The unit as `make install` leaves it, with a binary that is there."""
    path = stage.path('peerscope.service')
    with open(UNIT, encoding='utf-8') as f, open(path, 'w', encoding='utf-8') as out:
        out.write(f.read().replace('/usr/local/bin/peerscope', BIN))
    return path


needs_systemd = pytest.mark.skipif(not shutil.which('systemd-analyze'), reason='no systemd here')


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_unit(stage):
    r = subprocess.run(['systemd-analyze', 'verify', '--man=no', installed(stage)],
                       capture_output=True, text=True, timeout=60 * slow(), check=False)
    assert (r.returncode, r.stderr) == (0, '')


@needs_systemd
def test_the_unit_is_exposed_to_little(stage):
    """0 is a service that can do nothing, 10 one that can do everything. What is left is the
    network: that is what it is for."""
    r = subprocess.run(['systemd-analyze', 'security', '--offline=true', '--no-pager',
                        '--threshold=15', installed(stage)],
                       capture_output=True, text=True, timeout=60 * slow(), check=False)
    score, = re.findall(r'Overall exposure level.*: ([0-9.]+)', r.stdout)
    print(f'systemd-analyze security: {score}')
    assert r.returncode == 0, r.stdout


def test_the_unit_waits_as_long_as_the_daemon_takes():
    with open(UNIT, encoding='utf-8') as f:
        unit = dict(line.strip().split('=', 1) for line in f if re.match(r'\w+=', line))
    assert unit['Type'] == 'notify'
    assert unit['RestartPreventExitStatus'] == '78'
    shown = subprocess.run([BIN, 'config', '-c', '/dev/null'], env={}, capture_output=True,
                           text=True, check=True).stdout
    drain, = re.findall(r'^master.drain_timeout = (\d+)s\b', shown, re.M)
    assert int(unit['TimeoutStopSec'].rstrip('s')) > int(drain) + 10 + 3

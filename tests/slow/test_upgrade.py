"""Reloads and upgrades by the dozen, and what they leave: nothing."""
import os
import signal

import pytest

from busy import Busy, Swarms
from daemon import BIN
from procs import fds, wait_until
from upgrading import LAYOUT, put, read, refused, settled, upgrade


def rss(pid):
    """KiB that are its own."""
    with open(f'/proc/{pid}/status', encoding='ascii') as f:
        return int(next(line for line in f if line.startswith('RssAnon')).split()[1])


def shm(d):
    return sorted(n for n in os.listdir('/dev/shm') if n.startswith(d.conf['shm.name'][1:]))


def test_a_hundred_reloads_under_64_busy_connections(daemon, swarm, tracker):
    s = Swarms(swarm, tracker, torrents=400)    # more, and the load alone makes answers late
    d = daemon(s.conf)
    s.meet(d)
    load = Busy(d, s)
    for n in range(100):
        d.kill(signal.SIGHUP)
        wait_until(lambda: d.top()['counters']['config_reloads'] == n + 1, 30, 'reloaded')
        wait_until(lambda: settled(d), 40, 'the old ones are gone')
    load.goes_on()
    load.stop()
    print(f'{load.total()} answers, {load.answers}, the longest took {load.longest:.2f} s')
    assert load.failures == []
    assert d.get('/health').json['generation'] == 101


@pytest.mark.parametrize('kind', ['the same layout', 'another layout each time'])
def test_many_upgrades_leave_nothing(installed, kind):
    d = installed()

    def held():
        return len(fds(d.pid)), len(os.listdir(f'/proc/{d.pid}/task')), len(d.pids()), shm(d)
    upgrade(d)
    was, memory = held(), rss(d.pid)
    for _ in range(20):
        if kind != 'the same layout':
            put(d.exe, read(LAYOUT if d.binary == BIN else BIN))
            d.binary = LAYOUT if d.binary == BIN else BIN
        upgrade(d)
    wait_until(lambda: held() == was, 5, f'{was} as before')
    assert rss(d.pid) < memory * 1.1 + 500, 'KiB of the master'
    assert len(d.log_lines('upgrade: done')) == 21


def test_another_layout_under_64_busy_connections(installed, swarm, tracker):
    s = Swarms(swarm, tracker)
    d = installed(s.conf)
    s.meet(d)
    load = Busy(d, s)
    for exe in LAYOUT, BIN:
        put(d.exe, read(exe))
        d.binary = exe
        upgrade(d)
        load.goes_on()
    load.stop()
    print(f'{load.total()} answers, {load.answers}, the longest took {load.longest:.2f} s')
    assert load.failures == []


def test_one_that_never_answers(installed):
    d = installed()
    before = d.pids()
    put(d.exe, read(os.path.join(os.path.dirname(LAYOUT), 'hangs')))
    assert 'it did not answer in time' in refused(d)
    assert d.pids() == before and d.get('/livez').status == 200
    put(d.exe, read(BIN))
    upgrade(d)

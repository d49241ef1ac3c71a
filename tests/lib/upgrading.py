"""Binaries to upgrade to, and how the daemon took them. `make e2e` makes those of tests/upgrade."""
import os
import signal

from daemon import BIN
from procs import ROOT, wait_until

with open(os.path.join(ROOT, 'VERSION'), encoding='ascii') as version:
    VERSION = version.read().strip()
OTHER = VERSION[:-1] + ('9' if VERSION[-1] != '9' else '8')

# Made by `make e2e`, see tests/upgrade.
NO_WORKER, LAYOUT = [os.path.join(os.path.dirname(BIN), 'upgrade', name)
                     for name in ('no_worker', 'layout')]


def put(path, data, mode=0o755):
    """Another file there, as a package manager does it: never the same one, written over."""
    with open(path + '.new', 'wb') as f:
        f.write(data)
    os.chmod(path + '.new', mode)
    os.replace(path + '.new', path)


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def image(version=VERSION):
    """Our binary, under another version."""
    return read(BIN).replace(VERSION.encode(), version.encode())


def configure(d, text):
    with open(d.file, 'w', encoding='utf-8') as f:
        f.write(text)


def settled(d):
    """Nothing drains any more: all workers, and the collector, are of the newest image."""
    workers = [p for p in d.top()['processes'] if p['role'] == 'worker' and p['pid']]
    states = {p['state'] for p in d.top()['processes'] if p['pid'] and p['role'] != 'master'}
    return len(workers) == d.conf['http.workers'] and states == {'running'}


def upgrade(d, n=1):
    """USR2, until the nth upgrade of this daemon is over, the old workers are gone and the
    new collector works."""
    was = len(d.log_lines('upgrade: done'))
    d.kill(signal.SIGUSR2)
    wait_until(lambda: len(d.log_lines('upgrade: done')) == was + n, 20, 'it is done')
    wait_until(lambda: settled(d), 40, 'the old ones are gone')
    wait_until(lambda: d.get('/health').json['libtorrent_available'], 15, 'the new one listens')


def refused(d):
    was = len(d.log_lines('is not used'))
    d.kill(signal.SIGUSR2)
    return wait_until(lambda: d.log_lines('is not used')[was:], 20, 'it is refused')[0]

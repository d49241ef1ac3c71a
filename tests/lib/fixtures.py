"""Fixtures: the real daemon, real and scripted surroundings. See tests/e2e/README.md.
The conftest.py of tests/e2e and of tests/slow take all of them from here."""
import os
import shutil
import subprocess

import pytest

import parts
from daemon import BIN, Daemon
from engine import Engine
from ipwhois import IpWhoIs
from procs import ROOT, Net, Stage


def pytest_sessionstart(session):
    if not os.access(BIN, os.X_OK):
        raise pytest.UsageError(f'{BIN} is not there: run make, or set PEERSCOPE_BIN')


@pytest.fixture(scope='session')
def net():
    return Net()


@pytest.fixture
def stage(net):
    """Everything that a test starts; its end is the test's end."""
    s = Stage(net)
    yield s
    s.close()


@pytest.fixture(scope='module')
def module_stage(net):
    """The same for all tests of a file that ask one swarm, which stands still."""
    s = Stage(net)
    yield s
    s.close()


def factory(make):
    """A fixture that is the maker itself: swarm([...]), daemon({...}), ..."""
    @pytest.fixture
    def fixture(stage):
        return lambda *a, **kw: make(stage, *a, **kw)
    return fixture


daemon = factory(Daemon)
swarm = factory(parts.Swarm)
ace_swarm = factory(parts.AceSwarm)
tracker = factory(parts.Tracker)
opentracker = factory(parts.Opentracker)
payload = factory(parts.Payload)
bep52 = factory(parts.Bep52)
gluetun = factory(parts.Gluetun)
engine = factory(Engine)
ipwhois = factory(IpWhoIs)
ltpeer = factory(parts.LtPeer)
real_swarm = factory(parts.RealSwarm)
dht = factory(parts.Dht)
relay = factory(parts.Relay)
transmission = factory(parts.Transmission)
aria2 = factory(parts.Aria2)
qbittorrent = factory(parts.QBittorrent)
rtorrent = factory(parts.RTorrent)
redis_server = factory(parts.Redis)
nginx = factory(parts.Nginx)


@pytest.fixture
def fetching(stage, tmp_path):
    """A daemon with an empty cache of its own: fetching({...}) -> daemon, its .cache."""
    made = []

    def make(conf=None):
        cache = str(tmp_path / f'cache{len(made)}')
        d = Daemon(stage, {'http.workers': 1, 'metadata.downloads': 'on',
                           'metadata.cache_dir': cache, 'swarm.discovery_wait': '1s',
                           **(conf or {})})
        d.cache = cache
        made.append(d)
        return d
    return make


@pytest.fixture(scope='session')
def mmdb(tmp_path_factory):
    """Directory with the test databases of tests/geo/make-mmdb.pl."""
    out = tmp_path_factory.mktemp('mmdb')
    subprocess.run(['/usr/bin/perl', os.path.join(ROOT, 'tests', 'geo', 'make-mmdb.pl'),
                    str(out)], check=True)
    return out


@pytest.fixture
def installed(stage):
    """A daemon that was started from a file of its own, .exe, and may be upgraded there."""
    def make(conf=None, **kw):
        exe = os.path.join(stage.fresh_dir('bin'), 'peerscope')
        shutil.copy2(BIN, exe)
        d = Daemon(stage, conf, binary=exe, **kw)
        d.exe, d.binary = exe, BIN      # other commands are ours
        return d
    return make

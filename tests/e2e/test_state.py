"""Known peers outlive the daemon: what it wrote down, and what the next one believes."""
import hashlib
import os
import signal
import stat
import time

import pytest

from procs import wait_until

PEERS = 6


@pytest.fixture
def path(stage):
    return os.path.join(stage.fresh_dir('state'), 'swarms.state')


def conf(path, **more):
    return {'swarm.state': path, 'cache.ttl': '1s', 'swarm.discovery_wait': '3s', **more}


def one_life(daemon, swarm, path, torrents=1, **more):
    """A daemon that knows the swarms and leaves; what is left is the file."""
    s = swarm([{'count': PEERS, 'progress': 100}], torrents=torrents)
    d = daemon(conf(path, **more))
    for infohash in s.infohashes:
        pe = '&'.join(f'x.pe={a}:{p}' for a, p in s.endpoints()[:PEERS])
        d.get(f'/peers/{infohash}?wait=0&{pe}')
        d.until_peers(infohash, lambda g: len(g) == PEERS and
                      all(p['state'] in ('connected', 'contacted') for p in g.values()))
    d.finish()
    return s


def counter(d, name):
    return d.top()['counters'][name]


def test_known_peers_are_there_after_a_restart(daemon, swarm, path):
    """No tracker, no DHT: who is named was known from the life before."""
    s = one_life(daemon, swarm, path)
    st = os.stat(path)
    assert stat.S_IMODE(st.st_mode) == 0o600
    calls = s.totals()['connections']
    d = daemon(conf(path))
    assert len(d.log_lines(f'1 swarms of an earlier life in {path}')) == 1
    assert counter(d, 'state_taken') == 1
    assert s.totals()['connections'] == calls, 'nobody is called before somebody asks'
    a = d.peers(s.infohash, wait='0', limit=100)    # at once, from the table
    assert a['total_peers'] == PEERS and a['phase'] == 'collecting'
    assert {p['state'] for p in a['peers']} == {'contacted'}
    assert all(p['client'] for p in a['peers'])
    d.until_peers(s.infohash, lambda g: len(g) == PEERS and
                  all(p['state'] == 'connected' for p in g.values()))
    assert s.totals()['connections'] >= calls + PEERS


def test_it_is_written_again_and_again(daemon, swarm, path):
    """Also what nobody asked for in the second life is known in the third; a killed daemon
    leaves what the one before it wrote."""
    s = one_life(daemon, swarm, path, torrents=3)
    d = daemon(conf(path))
    d.until_peers(s.infohashes[0], lambda g: len(g) == PEERS)
    d.finish()
    d = daemon(conf(path))
    assert counter(d, 'state_taken') == 3
    d.exit_expected = None
    os.kill(d.collector(), signal.SIGKILL)
    wait_until(lambda: d.get('/health').json['libtorrent_available'], 10, 'another one')
    assert counter(d, 'state_taken') == 3, 'the table knows them already'
    d.kill(signal.SIGKILL)
    wait_until(lambda: not d.proc.alive(), what='it is dead')
    d = daemon(conf(path))
    assert counter(d, 'state_taken') == 3


def test_off_writes_nothing_and_removes_nothing(daemon, swarm, path):
    s = one_life(daemon, swarm, 'off')
    assert os.listdir(os.path.dirname(path)) == []
    d = daemon(conf('off'))
    assert d.peers(s.infohash, wait='0')['total_peers'] == 0


def test_too_old_is_forgotten(daemon, swarm, path):
    """Nor does it stay on the disk."""
    s = one_life(daemon, swarm, path)
    wait_until(lambda: time.time() - os.stat(path).st_mtime > 2.5, what='it is old')
    d = daemon(conf(path, **{'swarm.peer_expiry': '1s'}))
    assert counter(d, 'state_taken') == 0
    assert d.peers(s.infohash, wait='0')['total_peers'] == 0
    d.finish()
    assert not os.path.exists(path)


def test_default_is_beside_the_dht(daemon, swarm, stage):
    where = stage.fresh_dir('dht')
    one_life(daemon, swarm, '', **{'swarm.dht_state': os.path.join(where, 'dht.state')})
    assert 'swarms.state' in os.listdir(where)


@pytest.mark.parametrize('what', ['torn', 'changed', 'foreign', 'empty', 'endless',
                                  'a directory', 'a fifo', 'a link'])
def test_what_is_not_ours_is_ignored(daemon, swarm, path, what):
    s = one_life(daemon, swarm, path)
    with open(path, 'rb') as f:
        good = f.read()
    os.unlink(path)
    if what == 'a directory':
        os.mkdir(path)
    elif what == 'a fifo':
        os.mkfifo(path)
    elif what == 'a link':
        os.symlink('/dev/zero', path)
    else:
        with open(path, 'wb') as f:
            f.write({'torn': good[:-1], 'changed': good[:99] + b'x' + good[100:],
                     'foreign': b'd9:dht state' * 99, 'empty': b'',
                     'endless': good}[what])
            if what == 'endless':
                f.truncate(1 << 30)
    d = daemon(conf(path))
    line, = d.log_lines(f'{path} is not used: ')
    assert ' warn ' in line
    assert d.peers(s.infohash, wait='0')['total_peers'] == 0
    d.finish()


def test_a_list_of_another_version_is_left_out(daemon, swarm, path):
    """The file is whole; what stands in it is not for this version."""
    s = one_life(daemon, swarm, path, torrents=2)
    with open(path, 'rb') as f:
        data = bytearray(f.read())
    at = data.index(b'PSLIST\r\n')
    data[at + 10] ^= 1                  # its shape
    data[-32:] = hashlib.blake2b(data[:-32], digest_size=32).digest()
    with open(path, 'wb') as f:
        f.write(data)
    d = daemon(conf(path))
    assert counter(d, 'state_taken') == 1
    assert d.log_lines('1 lists are of another version, or damaged')
    assert s.infohashes


def test_a_place_that_takes_nothing(daemon, swarm):
    """The daemon leaves all the same, and says why the next one knows nothing."""
    s = swarm([{'count': 1, 'progress': 100}])
    d = daemon(conf('/proc/swarms.state'))
    d.get(f'/peers/{s.infohash}?wait=0&x.pe={s.endpoints()[0][0]}:{s.endpoints()[0][1]}')
    d.until_peers(s.infohash, lambda g: len(g) == 1)
    d.finish()
    assert d.log_lines('known peers are not kept: ')

"""The DHT stays warm: its nodes outlive the daemon, and it finds back when they were lost."""
import os
import signal
import time

import pytest

import dht as bep5
import wire
from procs import HANG_S, wait_until


def nodes_of(d):
    return d.get('/health').json['dht_nodes']


def until_warm(d, timeout=HANG_S, at_least=1):
    wait_until(lambda: nodes_of(d) >= at_least, timeout, f'{at_least} DHT nodes')


def conf(state, router, **more):
    return {'swarm.dht': 'on', 'swarm.dht_bootstrap': router, 'swarm.dht_state': str(state),
            **{k.replace('_', '.', 1): v for k, v in more.items()}}


def saved_nodes(path):
    """Of the file that libtorrent wrote: 6 bytes for each, IPv4."""
    with open(path, 'rb') as f:
        state = wire.bdec(f.read())[b'dht state']
    return [wire.uncompact(n)[0] for n in state[b'nodes']]


def test_saved_nodes_are_enough_when_all_routers_are_silent(daemon, dht, relay, tmp_path):
    nodes, state = dht(6), tmp_path / 'dht.state'
    router = relay(nodes.nodes[0])
    first = daemon(conf(state, f'{router.address}:{router.port}'))
    until_warm(first, at_least=4)
    assert first.stop() == 0
    first.finish()
    known = saved_nodes(state)
    assert len(known) >= 4 and os.stat(state).st_mode & 0o777 == 0o600
    # Another day: the router is silent, and so is the first node behind it.
    router.set(mode='swallow')
    nodes.ask('leave', peers=[0])
    second = daemon(conf(state, f'{router.address}:{router.port}'))
    until_warm(second, at_least=3)
    assert second.log_lines(f'{len(known)} nodes of an earlier life')
    infohash, peer = 'd7' * 20, [nodes.peers[5]['address'], 7777]
    bep5.announce(nodes.nodes[1:], infohash, [peer])
    got = second.until_peers(infohash, lambda g: peer[0] in g, 30, 'the DHT works')
    assert got[peer[0]]['sources'] == ['dht']


@pytest.mark.parametrize('content', [
    b'', b'garbage', os.urandom(4096), b'd9:dht stated5:nodesl', b'd3:fooi1ee',
    b'd9:dht stated5:nodes4:abcdee', b'i1e', b'd9:dht statei5ee',
    # What is no node at all, by length and by address.
    wire.benc({'dht state': {'nodes': [b'x', b'y' * 700, b'\xff' * 6, bytes(6)]}}),
    b'l' * 100000], ids=['empty', 'text', 'random', 'truncated', 'foreign', 'no list', 'number',
                         'number inside', 'wrong nodes', 'deep'])
def test_a_bad_state_file_is_said_and_passed_over(daemon, tmp_path, content):
    state = tmp_path / 'dht.state'
    state.write_bytes(content)
    d = daemon(conf(state, ''))
    assert d.get('/health').json['libtorrent_available'] is True
    wait_until(lambda: d.log_lines(str(state)), 5, 'the log names the file')
    assert d.stop() == 0
    assert state.read_bytes() == content, 'nothing better was there to write'


def test_a_state_file_that_is_none(daemon, tmp_path):
    directory, huge = tmp_path / 'directory', tmp_path / 'huge'
    directory.mkdir()
    with open(huge, 'wb') as f:
        f.truncate(1 << 40)
    fifo = tmp_path / 'fifo'
    os.mkfifo(fifo)
    for path in directory, huge, fifo:
        d = daemon(conf(path, ''))
        wait_until(lambda p=path, d=d: d.log_lines(str(p)), 5, 'the log names the file')
        assert d.stop() == 0


def test_a_directory_that_is_not_there_is_said(daemon, dht, tmp_path):
    nodes = dht(2)
    d = daemon(conf(tmp_path / 'gone' / 'dht.state', nodes.router))
    until_warm(d)
    assert d.stop() == 0


def test_killed_while_writing_the_file_is_old_or_new(daemon, dht, tmp_path):
    """TERM writes; a KILL comes a little later each time."""
    nodes, state = dht(4), tmp_path / 'dht.state'
    d = daemon(conf(state, nodes.router))
    until_warm(d, at_least=2)
    assert d.stop() == 0
    assert saved_nodes(state)
    for delay_ms in 0, 1, 3, 9:
        d = daemon(conf(state, nodes.router))
        d.exit_expected = None
        until_warm(d)
        pid = d.collector()
        d.kill(signal.SIGTERM)
        end = time.monotonic() + delay_ms / 1000
        while time.monotonic() < end:
            pass
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        d.proc.wait(20)
        assert saved_nodes(state), f'after {delay_ms} ms'
    # What a killed one left half written is in nobody's way.
    d = daemon(conf(state, nodes.router))
    until_warm(d)
    assert d.stop() == 0
    assert os.listdir(tmp_path) == ['dht.state']

"""Where peers reach us: a port that is somebody else's is taken once it is free, and until
then /health says so."""
import signal
import socket

import pytest
from procs import wait_until


def health(d):
    return d.get('/health').json


def listens_on(d, port):
    h = health(d)
    return h['listen_port'] == port and h['libtorrent_available'] and h['listen_error'] is None


def is_told(d, kind, address, port):
    """/health names the socket and what failed; and it is in the log, once."""
    wait_until(lambda: health(d)['listen_error'], 10, 'a reason')
    h = health(d)
    assert h['listen_error'] == f'{kind} {address}:{port}: Address already in use'
    assert h['libtorrent_available'] is False and h['listen_port'] == 0
    assert len(d.log_lines("can't listen")) == 1


def hold(address, kind=socket.SOCK_STREAM, port=0):
    s = socket.socket(socket.AF_INET, kind)
    s.bind((address, port))
    if kind == socket.SOCK_STREAM:
        s.listen()
    return s, s.getsockname()[1]


@pytest.mark.parametrize('kind', ['TCP', 'UDP'])
def test_a_port_that_was_taken_at_start_is_listened_on_once_it_is_free(daemon, net, kind):
    address = net.take()
    holder, port = hold(address, socket.SOCK_STREAM if kind == 'TCP' else socket.SOCK_DGRAM)
    d = daemon({'swarm.listen': f'{address}:{port}'}, wait=False)
    d.wait_serving(listens=False)
    is_told(d, kind, address, port)
    wait_until(lambda: d.top()['counters']['recoveries'] >= 1, 5, 'it was tried again')
    is_told(d, kind, address, port)     # still, and not in the log once more
    holder.close()
    wait_until(lambda: listens_on(d, port), 15, 'it listens there')
    socket.create_connection((address, port), 5).close()
    assert d.log_lines('after all')


def test_hup_tries_at_once(daemon, net):
    address = net.take()
    holder, port = hold(address)
    d = daemon({'swarm.listen': f'{address}:{port}'}, wait=False)
    d.wait_serving(listens=False)
    # After the third attempt the next one is 16 s away.
    wait_until(lambda: d.top()['counters']['recoveries'] >= 3, 20, 'three attempts')
    holder.close()
    d.kill(signal.SIGHUP)
    wait_until(lambda: listens_on(d, port), 4, 'it listens there')


def test_one_of_two_addresses(daemon, net):
    """Who listens somewhere is reachable; the rest is told, and opened without closing it."""
    one, two = net.take(), net.take()
    holder, port = hold(one)
    d = daemon({'swarm.listen': f'{one}:{port},{two}:42070'}, wait=False)
    d.wait_serving()
    h = health(d)
    assert h['listen_port'] == 42070
    assert h['listen_error'] == f'TCP {one}:{port}: Address already in use'
    holder.close()
    wait_until(lambda: health(d)['listen_error'] is None, 15, 'both')
    for at in ((one, port), (two, 42070)):
        socket.create_connection(at, 5).close()
    assert d.top()['counters']['recoveries'] == 0


def test_a_forwarded_port_that_is_taken(daemon, net, gluetun):
    address = net.take()
    g = gluetun(port=42071)
    d = daemon({'vpn.gluetun_url': g.url, 'swarm.listen': f'{address}:42070'})
    wait_until(lambda: listens_on(d, 42071), 10, 'on the forwarded one')
    holder, port = hold(address)
    g.set(port=port)
    is_told(d, 'TCP', address, port)
    assert health(d)['vpn']['port'] == port
    holder.close()
    wait_until(lambda: listens_on(d, port), 15, 'it listens there')
    socket.create_connection((address, port), 5).close()

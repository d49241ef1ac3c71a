"""Where peers reach us: a port that is somebody else's when we start is taken later."""
import socket

from procs import wait_until


def test_a_port_that_was_taken_at_start_is_listened_on_once_it_is_free(daemon, net):
    address = net.take()
    tcp = socket.create_server((address, 0))
    port = tcp.getsockname()[1]
    d = daemon({'swarm.listen': f'{address}:{port}'}, wait=False)
    d.wait_serving(listens=False)
    wait_until(lambda: d.log_lines("can't listen"), 10, 'it could not listen')
    assert d.get('/health').json['libtorrent_available'] is False
    tcp.close()
    wait_until(lambda: d.get('/health').json['listen_port'] == port, 15, 'it listens there')
    assert d.get('/health').json['libtorrent_available'] is True
    socket.create_connection((address, port), 5).close()

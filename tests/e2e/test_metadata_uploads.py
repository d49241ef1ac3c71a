"""Uploads that take the collector long: they cost others nothing, and are bounded in all."""
import os
import signal
import socket
import threading

import pytest

import wire
from metacache import API, counters, parked
from procs import slow, wait_until

SLOW_CLIENT = {'http.header_timeout': '5m'}     # forty of 10 MiB, from one busy Python


def deep(salt, pieces=6):
    """A torrent of the most work for its 10 MiB: half a second of reading. With another
    number of pieces it is refused at the very end."""
    files = b''.join(b'd6:lengthi1e4:pathl' + b'0:' * 40 + wire.benc(f'{i:x}') + b'ee'
                     for i in range(88000))
    return (b'd4:infod5:filesl' + files + b'e4:name' + wire.benc(f'name {salt}')
            + b'12:piece lengthi16384e6:pieces' + wire.benc(b'a' * 20 * pieces) + b'ee')


def up(d):
    return os.path.join(d.run_dir, 'up')


class Uploads:
    """So many at once, on connections of their own; .answers once all are over."""

    def __init__(self, d, bodies, query=''):
        self.answers, self.d, self.query = [], d, query
        self.threads = [threading.Thread(target=self.one, args=(b,), daemon=True)
                        for b in bodies]
        for t in self.threads:
            t.start()

    def one(self, body):
        self.answers.append(self.d.request(
            'POST', API + self.query, {'Content-Type': 'application/x-bittorrent'}, body,
            timeout=120 * slow()))

    def under_way(self):
        return any(t.is_alive() for t in self.threads)

    def over(self):
        for t in self.threads:
            t.join(180 * slow())
        assert not self.under_way() and len(self.answers) == len(self.threads)
        return [(a.status, a.json.get('code')) for a in self.answers]


def test_many_long_ones_do_not_stop_the_loop(fetching, swarm):
    """They have taken the collector's loop for its master's patience: it was killed."""
    s = swarm([{'count': 1}], torrents=3)
    d = fetching({**SLOW_CLIENT, 'http.max_uploads': '1g', 'metadata.timeout': '100s'})
    pid = d.collector()
    body = deep('refused', 7)
    u = Uploads(d, [body] * 40)
    wait_until(lambda: counters(d)['meta_bad_uploads'] > 0, 60 * slow(), 'the first is read')
    for infohash in s.infohashes:
        d.peers(infohash, **{'x.pe': '{}:{}'.format(*s.endpoints()[0])})
    assert u.under_way() and counters(d)['meta_bad_uploads'] < 40
    assert set(u.over()) == {(400, 'invalid_torrent')}
    assert counters(d)['meta_bad_uploads'] == 40
    assert d.collector() == pid and counters(d)['deaths_late'] == 0
    assert os.listdir(up(d)) == []


def test_too_many_wait_to_be_read(fetching):
    d = fetching({**SLOW_CLIENT, 'http.max_uploads': '1g', 'metadata.timeout': '100s'})
    pid = d.collector()
    os.kill(pid, signal.SIGSTOP)                # until all are in the lane
    try:
        u = Uploads(d, [deep('first', 7)] + [b'd4:infodee'] * 70)
        wait_until(lambda: parked(d) == 71, 60 * slow(), 'all are handed over')
        assert len(os.listdir(up(d))) == 71
    finally:
        os.kill(pid, signal.SIGCONT)
    answers = u.over()
    assert set(answers) == {(400, 'invalid_torrent'), (503, 'busy')}
    # the thread has one of them, or none yet
    assert answers.count((503, 'busy')) == counters(d)['meta_uploads_full'] in (6, 7)
    assert counters(d)['meta_bad_uploads'] + counters(d)['meta_uploads_full'] == 71
    assert os.listdir(up(d)) == []


def test_a_client_that_leaves_is_not_read(fetching):
    d = fetching({'metadata.timeout': '100s'})
    u = Uploads(d, [deep('one', 7), deep('two', 7)])
    assert set(u.over()) == {(400, 'invalid_torrent')}
    pid = d.collector()
    os.kill(pid, signal.SIGSTOP)
    try:
        late = Uploads(d, [deep('three', 7)] * 4, '?timeout=200ms')
        assert set(late.over()) == {(504, 'timeout')}
    finally:
        os.kill(pid, signal.SIGCONT)
    assert set(Uploads(d, [b'd4:infodee']).over()) == {(400, 'invalid_torrent')}
    assert counters(d)['meta_bad_uploads'] == 3 and os.listdir(up(d)) == []


def test_a_collector_that_is_killed_does_it_again(fetching):
    """Its file is there until the answer is."""
    d = fetching({**SLOW_CLIENT, 'http.max_uploads': '1g', 'metadata.timeout': '100s'})
    pid = d.collector()
    u = Uploads(d, [deep(i) for i in range(8)])
    wait_until(lambda: counters(d)['meta_uploads'] > 0, 60 * slow(), 'the first is read')
    os.kill(pid, signal.SIGKILL)
    assert len(u.over()) == 8 and {a.status for a in u.answers} == {200}
    assert d.collector() != pid and os.listdir(up(d)) == []


def test_they_count_until_they_are_answered(fetching):
    """As the file they are now: master.run_dir may be memory."""
    d = fetching({**SLOW_CLIENT, 'http.max_uploads': '4m', 'metadata.timeout': '20s'})
    pid = d.collector()
    body = b'd4:info' + os.urandom(1 << 20)
    os.kill(pid, signal.SIGSTOP)
    try:
        u = Uploads(d, [body] * 4)
        wait_until(lambda: parked(d) == 4, 20 * slow(), 'four have room')
        assert Uploads(d, [body] * 8).over() == [(503, 'busy')] * 8
        assert len(os.listdir(up(d))) == 4 and u.under_way()
        assert counters(d)['http_uploads_full'] == 8
    finally:
        os.kill(pid, signal.SIGCONT)
    assert u.over() == [(400, 'invalid_torrent')] * 4
    # and no longer: four more, twice
    for _ in range(2):
        assert Uploads(d, [body] * 4).over() == [(400, 'invalid_torrent')] * 4


@pytest.mark.parametrize('how', ['late', 'left'])
def test_what_ends_without_an_answer_counts_no_longer(fetching, how):
    d = fetching({**SLOW_CLIENT, 'http.max_uploads': '4m', 'metadata.timeout': '20s'})
    pid = d.collector()
    body = b'd4:info' + os.urandom(3 << 20)
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(3):
            if how == 'late':
                assert Uploads(d, [body], '?timeout=100ms').over() == [(504, 'timeout')]
            else:
                left(d, body)
    finally:
        os.kill(pid, signal.SIGCONT)


def left(d, body):
    """One whose client leaves."""
    with socket.create_connection((d.host, d.port)) as s:
        s.sendall(b'POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n'
                  % (API.encode(), len(body)) + body)
        wait_until(lambda: len(os.listdir(up(d))) == 1, 10, 'it is a file')
    wait_until(lambda: os.listdir(up(d)) == [], 10, 'it is gone')

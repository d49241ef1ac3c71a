"""A small epoll loop: sockets, timers, and a control socket with one JSON per line.

asyncio spends some 0.2 ms on each accepted connection. A swarm of 200 peers that
are all dialled within a few milliseconds would be measured, not the daemon; this
loop spends a tenth of that.
"""
import heapq
import itertools
import json
import os
import select
import signal
import socket
import sys
import time
import traceback

IN, OUT, ERR, HUP = select.EPOLLIN, select.EPOLLOUT, select.EPOLLERR, select.EPOLLHUP


class Loop:
    def __init__(self):
        self._epoll = select.epoll()
        self._on = {}
        self._timers = []
        self._seq = itertools.count()

    def watch(self, sock, events, fn):
        fd = sock.fileno()
        if fd in self._on:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._on[fd] = fn

    def forget(self, sock):
        fd = sock.fileno()
        if fd >= 0 and self._on.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def later(self, seconds, fn):
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._seq), fn))

    def _run_timers(self):
        """How long to wait for the next one. One that ran may be what run_until() is
        waiting for, so then nobody waits."""
        now, ran = time.monotonic(), False
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
            ran = True
        if ran:
            return 0
        if not self._timers:
            return -1
        return max(0.0, self._timers[0][0] - time.monotonic())

    def step(self):
        for fd, events in self._epoll.poll(self._run_timers(), 64):
            fn = self._on.get(fd)
            if fn is not None:
                fn(events)

    def run_until(self, done):
        while not done():
            self.step()

    def run(self):
        """Until SIGTERM or SIGINT."""
        self.run_until(lambda: False)


def exit_on_signals():
    def leave(_signo, _frame):
        raise SystemExit(0)
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)


def accept_all(listener, limit=256):
    for _ in range(limit):
        try:
            sock, addr = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        sock.setblocking(False)
        yield sock, addr


class Control:
    """Unix socket; each line is a JSON request, each answer a JSON line."""

    MAX_LINE = 4 << 20

    def __init__(self, loop, path, handler):
        self.loop, self.handler = loop, handler
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(8)
        self.listener.setblocking(False)
        loop.watch(self.listener, IN, self._accept)

    def _accept(self, _events):
        for sock, _ in accept_all(self.listener):
            sock.setblocking(True)      # answers are small and the asker reads
            sock.settimeout(10)
            held = bytearray()
            self.loop.watch(sock, IN, lambda ev, s=sock, h=held: self._read(s, h))

    def _read(self, sock, held):
        try:
            data = sock.recv(65536)
        except OSError:
            data = b''
        held += data
        if not data or len(held) > self.MAX_LINE:
            self.loop.forget(sock)
            sock.close()
            return
        while b'\n' in held:
            line, _, rest = bytes(held).partition(b'\n')
            held[:] = rest
            sock.sendall(json.dumps(self._answer(line)).encode() + b'\n')

    def _answer(self, line):
        try:
            return {'ok': True, 'result': self.handler(json.loads(line))}
        except Exception as e:          # the asker's test fails with this text
            return {'ok': False, 'error': f'{type(e).__name__}: {e}',
                    'trace': traceback.format_exc()}


class Asker:
    """The other end of Control, for tests."""

    def __init__(self, path, timeout=15):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self.file = self.sock.makefile('rb')

    def ask(self, cmd, **args):
        self.sock.sendall(json.dumps({'cmd': cmd, **args}).encode() + b'\n')
        answer = json.loads(self.file.readline())
        if not answer['ok']:
            raise RuntimeError(answer['trace'])
        return answer['result']

    def close(self):
        self.file.close()
        self.sock.close()


def say_ready(report):
    """One line on stdout tells whoever started us that we serve, and what."""
    sys.stdout.write(json.dumps(report) + '\n')
    sys.stdout.flush()


def want_fds(n):
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < n:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(n, hard), hard))


def unlink_quietly(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass

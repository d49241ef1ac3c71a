"""Requests in a steady stream while something happens to the daemon, and what they saw."""
import http.client
import threading
import time

from procs import slow


class Load:
    """Threads that ask `path` until stop(). Every answer but a 200 is a failure, and so
    is every error of the connection, but for one on a kept-alive connection that was
    closed while idle, before any byte of an answer: HTTP allows that at any time, and
    a client asks again (RFC 9112, 9.3.1)."""
    IDLE = http.client.RemoteDisconnected       # how that is seen

    def __init__(self, daemon, path, threads=4):
        self.daemon, self.path = daemon, path
        self.failures, self.answers, self.closed_idle = [], 0, 0
        self.took = []          # (when asked, seconds until the whole answer was there)
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i % 2 == 0,), daemon=True)
                         for i in range(threads)]
        for t in self._threads:
            t.start()

    def _run(self, keep):
        conn = None
        while not self._stop.is_set():
            used, r = conn is not None, None
            conn = conn or http.client.HTTPConnection(self.daemon.host, self.daemon.port,
                                                      timeout=10 * slow())
            try:
                began = time.monotonic()
                conn.request('GET', self.path)
                r = conn.getresponse()
                body = r.read()
                self._count(r.status, body, began)
                if r.will_close or not keep:
                    conn.close()
                    conn = None
            except OSError as e:
                self._fail(e, used and not r and isinstance(e, self.IDLE))
                conn.close()
                conn = None
        if conn:
            conn.close()

    def _count(self, status, body, began):
        with self._lock:
            self.answers += 1
            self.took.append((began, time.monotonic() - began))
            if status != 200:
                self.failures.append((status, body[:200]))

    def _fail(self, e, was_idle):
        with self._lock:
            if was_idle:
                self.closed_idle += 1
            else:
                self.failures.append(repr(e))

    def p99(self, since=0.0, until=float('inf')):
        """Seconds; of the answers to questions of that time."""
        with self._lock:
            took = sorted(t for at, t in self.took if since <= at < until)
        assert len(took) >= 100, 'too few to say anything'
        return took[len(took) * 99 // 100]

    def stop(self):
        self._stop.set()
        for t in self._threads:
            t.join(30 * slow())
            assert not t.is_alive(), 'a request hangs'
        return self

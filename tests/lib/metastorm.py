"""Uploads and questions in a steady stream while the daemon is killed: what is served is right."""
import random
import threading

import wire
from metacache import API


def torrents(n):
    """{infohash: (what wire says of it, its .torrent)}."""
    made = (wire.make_torrent(f'torrent {i}', pieces=2000 * (i % 4 + 1)) for i in range(n))
    return {t.infohash.hex(): (t, b'd4:info' + t.info + b'e') for t in made}


class Storm:
    """Until stop(): `bad` are the answers that are wrong, or of a status that none may have."""

    def __init__(self, daemon, made, uploads=3):
        self.daemon, self.made, self.bad = daemon, made, []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(fn, random.Random(i)))
                         for i, fn in enumerate([self._upload] * uploads + [self._read])]
        for t in self._threads:
            t.start()

    def check(self, key, answer):
        if answer.status == 200 and (answer.json['info_hash'],
                                     answer.json['name']) != (key, self.made[key][0].name):
            self.bad.append(answer)

    def check_all(self):
        """Each torrent by an upload, then from the cache. How many were answered from it."""
        found = 0
        for key in self.made:
            self.check(key, self.daemon.request('POST', API, {}, self.made[key][1], timeout=60))
            got = self.daemon.get(f'{API}/{key}')
            self.check(key, got)
            found += got.status == 200
        return found

    def _run(self, fn, rng):
        """What can't be read is wrong, too, and so is no answer at all."""
        try:
            while not self._stop.is_set():
                fn(rng.choice(list(self.made)))
        except Exception as e:
            self.bad.append(e)

    def _upload(self, key):
        a = self.daemon.request('POST', API + '?timeout=2s', {}, self.made[key][1], timeout=60)
        self.check(key, a)
        if a.status not in (200, 503, 504):
            self.bad.append(a)

    def _read(self, key):
        self.check(key, self.daemon.get(f'{API}/{key}'))
        t = self.daemon.get(f'/download/{key}')
        if t.status == 200 and wire.read_torrent(t.body).infohash.hex() != key:
            self.bad.append(t)

    def stop(self):
        self._stop.set()
        for t in self._threads:
            t.join(120)
            assert not t.is_alive(), 'a question hangs'
        return self

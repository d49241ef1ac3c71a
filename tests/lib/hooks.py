"""Somebody's server that hears webhooks: what came, when, and whether the signature is right.
On 127/8, in threads of the test."""
import hashlib
import hmac
import json
import threading
import time

import web

PORT = 8047
SECRET = 'a key that is only in tests'


class Handler(web.Handler):
    def do_POST(self):
        s = self.server.owner
        body = self.rfile.read(int(self.headers['Content-Length']))
        with s.lock:
            n = len(s.heard)
            s.heard.append(Hook(self.path, self.headers, body))
        s.gate.wait(60)
        self.say(*(s.answers[n] if n < len(s.answers) else (b'', 200)))

    do_GET = do_POST


class Hook:
    def __init__(self, path, headers, body):
        self.path, self.headers, self.body, self.at = path, headers, body, time.monotonic()

    @property
    def json(self):
        return json.loads(self.body)

    def signed(self, secret=SECRET):
        """As doc/peerscope-api.7 tells clients to check it."""
        stamp = self.headers['X-Peerscope-Timestamp']
        want = hmac.new(secret.encode(), stamp.encode() + b'.' + self.body, hashlib.sha256)
        return (abs(int(stamp) - time.time()) < 120 and
                hmac.compare_digest(f'sha256={want.hexdigest()}',
                                    self.headers['X-Peerscope-Signature']))


class Hooks:
    """.answers: those of the first ones, as arguments of say(); then 200."""

    def __init__(self, stage, answers=()):
        self.address = stage.net.take()
        self.url = f'http://{self.address}:{PORT}/hook?a=b'
        self.answers, self.heard = list(answers), []
        self.lock, self.gate = threading.Lock(), threading.Event()
        self.gate.set()
        self.server = web.Server(self.address, PORT, Handler, self)
        stage.at_end(self.stop)

    def stop(self):
        self.gate.set()
        self.server.stop()

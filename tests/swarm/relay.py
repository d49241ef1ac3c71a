#!/usr/bin/python3
"""A UDP relay on an address of its own: passes datagrams to one target and back,
swallows them, or comes to life after a while. For routers of a DHT that are late.
"""
import argparse
import socket
import sys

from loop import IN, Control, Loop, exit_on_signals, say_ready

MODES = ('pass', 'swallow')
MAX_SOURCES = 256


class Relay:
    def __init__(self, listen, target, mode):
        self.loop, self.target, self.mode = Loop(), target, mode
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(listen)
        self.sock.setblocking(False)
        self.loop.watch(self.sock, IN, self._from_outside)
        self.behind = {}                # source -> socket that speaks for it
        self.count = {'passed': 0, 'swallowed': 0, 'answered': 0}

    def _from_outside(self, _events):
        while True:
            try:
                data, source = self.sock.recvfrom(65536)
            except OSError:
                return
            if self.mode == 'swallow' or self.target is None:
                self.count['swallowed'] += 1
                continue
            self.count['passed'] += 1
            self._socket_of(source).send(data)

    def _socket_of(self, source):
        if source not in self.behind:
            if len(self.behind) >= MAX_SOURCES:
                raise RuntimeError('too many sources')
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind((self.sock.getsockname()[0], 0))
            s.connect(self.target)
            s.setblocking(False)
            self.loop.watch(s, IN, lambda ev: self._from_inside(s, source))
            self.behind[source] = s
        return self.behind[source]

    def _from_inside(self, s, source):
        try:
            data = s.recv(65536)
        except OSError:
            return                      # the target is not there
        self.count['answered'] += 1
        self.sock.sendto(data, source)

    def control(self, req):
        if req['cmd'] == 'count':
            return self.count
        if req['cmd'] == 'set':
            if req.get('mode', self.mode) not in MODES:
                raise ValueError(f'no such mode: {req["mode"]}')
            self.mode = req.get('mode', self.mode)
            if 'target' in req:
                self.target = tuple(req['target'])
                for old in self.behind.values():
                    self.loop.forget(old)
                    old.close()
                self.behind.clear()
            return None
        raise ValueError(f'no such command: {req["cmd"]}')


def endpoint(text):
    address, _, port = text.rpartition(':')
    return address, int(port)


def main(argv):
    p = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    p.add_argument('--listen', required=True, type=endpoint, metavar='ADDRESS:PORT')
    p.add_argument('--target', type=endpoint, metavar='ADDRESS:PORT')
    p.add_argument('--mode', choices=MODES, default='pass')
    p.add_argument('--control', metavar='PATH')
    args = p.parse_args(argv)
    exit_on_signals()
    relay = Relay(args.listen, args.target, args.mode)
    if args.control:
        Control(relay.loop, args.control, relay.control)
    say_ready({'ready': True})
    relay.loop.run()


if __name__ == '__main__':
    main(sys.argv[1:])

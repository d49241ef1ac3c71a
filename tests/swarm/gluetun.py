#!/usr/bin/python3
"""A scripted Gluetun: control server and health server, with the routes, forms and refusals
of its versions, and the faults that the real one can't be asked for. See
tests/swarm/README.md.
"""
import argparse
import base64
import json
import socket

from loop import IN, Control, Loop, accept_all, exit_on_signals, say_ready

PORT_ROUTES = ['/v1/portforward', '/v1/openvpn/portforwarded', '/openvpn/portforwarded']
MODES = {
    'ok',
    'hang',         # reads and never answers
    'garbage',      # 200, and no JSON
    'wrong_types',  # 200, and JSON of other types
    'close',        # closes without a byte
    'http_500',
    'huge',         # 200, and more than anybody wants to read
}
WRONG = {'port': '51820', 'ports': 'none', 'public_ip': 7, 'status': ['running']}
MAX_LOG = 20000


class Gluetun:
    def __init__(self, control, health):
        self.loop, self.log = Loop(), []
        self.at = {'control': control, 'health': health}
        self.listeners, self.open = {}, {'control': set(), 'health': set()}
        self.port, self.ports, self.shape = 0, [], 'port'
        self.status, self.healthy = 'running', True
        self.public_ip, self.country, self.city = '203.0.113.77', 'Netherlands', 'Amsterdam'
        self.auth, self.key, self.user, self.password = 'none', '', '', ''
        self.refused = []               # routes that no role covers
        self.routes, self.unknown_status = [PORT_ROUTES[0]], 404
        self.mode, self.health_mode = 'ok', 'ok'
        self.live()

    def live(self, which=('control', 'health')):
        for name in which:
            if name in self.listeners:
                continue
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(self.at[name])
            s.listen(64)
            s.setblocking(False)
            self.at[name] = s.getsockname()
            self.listeners[name] = s
            self.loop.watch(s, IN, lambda _ev, n=name: self.accept(n))

    def die(self, which=('control', 'health')):
        for name in which:
            s = self.listeners.pop(name, None)
            for sock in [s] if s else []:
                self.loop.forget(sock)
                sock.close()
            for sock in list(self.open[name]):
                self.drop(name, sock)

    def accept(self, name):
        for sock, _ in accept_all(self.listeners[name]):
            self.open[name].add(sock)
            held = bytearray()
            self.loop.watch(sock, IN, lambda _ev, s=sock, h=held: self.read(name, s, h))

    def drop(self, name, sock):
        self.open[name].discard(sock)
        self.loop.forget(sock)
        sock.close()

    def read(self, name, sock, held):
        try:
            data = sock.recv(65536)
        except OSError:
            data = b''
        held += data
        if not data or len(held) > 65536:
            self.drop(name, sock)
            return
        while b'\r\n\r\n' in held and sock in self.open[name]:
            head, _, rest = bytes(held).partition(b'\r\n\r\n')
            held[:] = rest
            self.answer(name, sock, head.decode('latin-1').split('\r\n'))

    def answer(self, name, sock, lines):
        method, path, _ = lines[0].split(' ')
        headers = {k.lower(): v.strip() for k, _, v in (x.partition(':') for x in lines[1:])}
        mode = self.mode if name == 'control' else self.health_mode
        status, body = 0, ''
        if mode == 'close':
            self.drop(name, sock)
        elif mode != 'hang':
            status, body = self.say(name, mode, method, path, headers)
            data = body.encode()
            sock.setblocking(True)
            sock.settimeout(5)
            try:
                sock.sendall((f'HTTP/1.1 {status} Status\r\nContent-Length: {len(data)}\r\n'
                              'Content-Type: application/json\r\n\r\n').encode() + data)
                sock.setblocking(False)
            except OSError:
                self.drop(name, sock)
        self.log = self.log[-MAX_LOG:] + [{
            'server': name, 'path': path, 'status': status,
            'key': headers.get('x-api-key'), 'authorization': headers.get('authorization')}]

    def allowed(self, path, headers):
        if path in self.refused:
            return False
        if self.auth == 'apikey':
            return headers.get('x-api-key') == self.key
        if self.auth == 'basic':
            want = base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()
            return headers.get('authorization') == 'Basic ' + want
        return True

    def say(self, name, mode, method, path, headers):
        if mode == 'http_500':
            return 500, 'oh dear\n'
        if mode == 'garbage':
            return 200, '<html>{"port":51999}'
        if mode == 'huge':
            return 200, json.dumps({'port': 51999, 'more': 'x' * (4 << 20)})
        if name == 'health':
            return (200, 'healthy\n') if self.healthy else (500, 'not healthy\n')
        known = path in self.routes or path in ('/v1/vpn/status', '/v1/publicip/ip')
        if not known:
            return self.unknown_status, 'no such route\n'
        if not self.allowed(path, headers):
            return 401, 'Unauthorized\n'
        if mode == 'wrong_types':
            return 200, json.dumps(WRONG)
        return 200, json.dumps(self.facts(path)) + '\n'

    def facts(self, path):
        if path == '/v1/vpn/status':
            return {'status': self.status}
        if path == '/v1/publicip/ip':
            if not self.public_ip:
                return {'public_ip': ''}
            return {'public_ip': self.public_ip, 'region': 'North Holland',
                    'country': self.country, 'city': self.city,
                    'hostname': 'exit.example', 'timezone': 'Europe/Amsterdam'}
        ports = self.ports or ([self.port] if self.port else [])
        if self.shape == 'ports':
            return {'ports': ports}
        if self.shape == 'both':
            return {'port': ports[0] if ports else 0, 'ports': ports or None}
        return {'port': ports[0] if ports else 0}

    def command(self, req):
        cmd = req.pop('cmd')
        if cmd == 'set':
            for k in req:
                if k not in self.__dict__ or k in ('loop', 'log', 'at', 'listeners', 'open'):
                    raise ValueError(f'no such key: {k}')
            if req.get('mode', 'ok') not in MODES or req.get('health_mode', 'ok') not in MODES:
                raise ValueError('no such mode')
            self.__dict__.update(req)
            return None
        if cmd in ('die', 'live'):
            return getattr(self, cmd)(**req)
        if cmd == 'log':
            return self.log
        if cmd == 'forget':
            self.log = []
            return None
        raise ValueError(f'no such command: {cmd}')


def endpoint(text):
    host, _, port = text.rpartition(':')
    return host, int(port)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--listen', default='127.0.0.1:0')
    p.add_argument('--health', default='127.0.0.1:0')
    p.add_argument('--control', required=True)
    args = p.parse_args()
    exit_on_signals()
    g = Gluetun(endpoint(args.listen), endpoint(args.health))
    Control(g.loop, args.control, g.command)
    say_ready({name: 'http://%s:%d' % at for name, at in g.at.items()})
    g.loop.run()


if __name__ == '__main__':
    main()

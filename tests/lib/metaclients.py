"""The public clients of magnet-metadata-api, as far as a server can tell: the bytes that they
send, and what they believe of an answer (contracts/metadata.md, section 5). Written from
those facts; nothing of theirs is here."""
import http.client
import json
import re
import socket

from procs import slow

RFC3339 = re.compile(r'(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)')
INT64 = range(-2**63, 2**63)


class Refused(Exception):
    """The client would not take this answer."""


def exchange(d, raw, timeout=30):
    """These bytes, and the answer to them: (status, headers, body)."""
    with socket.create_connection((d.host, d.port), timeout * slow()) as s:
        s.sendall(raw)
        r = http.client.HTTPResponse(s, method='POST')
        r.begin()
        return r.status, r.headers, r.read()


def post(d, headers, body):
    lines = ''.join(f'{k}: {v}\r\n' for k, v in headers)
    return exchange(d, f'POST /api/v1/metadata HTTP/1.1\r\n{lines}\r\n'.encode() + body)


def whole(value):
    """A JSON number that Go puts into an int64: no fraction, no exponent."""
    if isinstance(value, bool) or not isinstance(value, int) or value not in INT64:
        raise Refused(f'{value!r} into an int64')
    return value


def text(value):
    if not isinstance(value, str):
        raise Refused(f'{value!r} into a string')
    return value


def stamp(value):
    """time.Time takes RFC 3339 and nothing else, not even "" ."""
    m = RFC3339.fullmatch(text(value))
    if not m or not (1 <= int(m[2]) <= 12 and 1 <= int(m[3]) <= 31 and int(m[4]) < 24
                     and int(m[5]) < 60 and int(m[6]) < 60):
        raise Refused(f'{value!r} into a time')
    return value


def structure(value, fields):
    """An object into a struct: names in any case, null leaves what is there, the last of two
    counts, unknown ones are passed over."""
    if not isinstance(value, list) or any(not isinstance(p, tuple) for p in value):
        raise Refused(f'{value!r} into a struct')
    out = {name: zero for name, (zero, _) in fields.items()}
    for k, v in value:
        if k.lower() in fields and v is not None:
            out[k.lower()] = fields[k.lower()][1](v)
    return out


def many(one):
    def read(value):
        if not isinstance(value, list) or any(isinstance(p, tuple) for p in value):
            raise Refused(f'{value!r} into a slice')
        return [one(v) for v in value]
    return read


def pairs(body):
    """JSON whose objects are lists of pairs, as they stand there."""
    return json.loads(body.decode(), object_pairs_hook=list,
                      parse_float=lambda t: t, parse_constant=lambda t: t)


GO_FILE = {'path': ('', text), 'size': (0, whole), 'offset': (0, whole)}
GO_ANSWER = {'info_hash': ('', text), 'name': ('', text), 'size': (0, whole),
             'files': ([], many(lambda v: structure(v, GO_FILE))), 'created_by': ('', text),
             'created_at': (None, stamp), 'comment': ('', text), 'trackers': ([], many(text)),
             'download_url': ('', text)}


class GoIndexer:
    """torrent-indexer: Go's net/http and encoding/json; only 200 is success."""

    def __init__(self, d):
        self.d = d

    def body(self, magnet):
        # encoding/json escapes what HTML would trip over, so every & of a link
        return (b'{"magnet_uri":' + json.dumps(magnet, ensure_ascii=False)
                .replace('&', '\\u0026').replace('<', '\\u003c').replace('>', '\\u003e')
                .encode() + b'}')

    def fetch(self, magnet):
        body = self.body(magnet)
        status, _, answer = post(self.d, [
            ('Host', f'{self.d.host}:{self.d.port}'), ('User-Agent', 'Go-http-client/1.1'),
            ('Content-Length', len(body)), ('Content-Type', 'application/json'),
            ('Accept-Encoding', 'gzip')], body)
        if status != 200:
            raise Refused(f'API responded with status: {status}')
        return structure(pairs(answer), GO_ANSWER)


class Worker:
    """A "magnet provider" in TypeScript: believes little."""
    FILES, BODY, PATH, DEPTH, SEGMENT = 20000, 8 << 20, 4096, 32, 512
    RETRIED = (408, 425, 429, 404, 409, 422)

    def __init__(self, d):
        self.d = d

    def ask(self, magnet):
        body = json.dumps({'magnet_uri': magnet}, separators=(',', ':')).encode()
        return post(self.d, [
            ('host', f'{self.d.host}:{self.d.port}'), ('connection', 'keep-alive'),
            ('content-type', 'application/json'), ('accept', 'application/json'),
            ('accept-language', '*'), ('sec-fetch-mode', 'cors'), ('user-agent', 'node'),
            ('accept-encoding', 'gzip, deflate'), ('content-length', len(body))], body)

    def path(self, value):
        if not isinstance(value, str) or not 1 <= len(value) <= self.PATH:
            raise Refused(f'a path: {value!r}')
        parts = value.split('/')
        if len(parts) > self.DEPTH:
            raise Refused(f'{len(parts)} levels: {value!r}')
        for part in parts:
            if part in ('', '.', '..') or len(part) > self.SEGMENT:
                raise Refused(f'a segment: {value!r}')
        return value

    def validate(self, data, infohash):
        if not isinstance(data, dict) or data.get('info_hash', infohash) != infohash:
            raise Refused('another torrent')
        files = data.get('files')
        if not isinstance(files, list) or len(files) > self.FILES:
            raise Refused('files')
        seen = set()
        for f in files:
            path = self.path(f.get('path'))
            if path in seen:
                raise Refused(f'twice: {path!r}')
            seen.add(path)
            if isinstance(f['size'], bool) or not isinstance(f['size'], int) or f['size'] < 0:
                raise Refused(f'a size: {f!r}')
        return data

    def fetch(self, magnet, infohash):
        status, _, answer = self.ask(magnet)
        if status != 200:
            try:
                said = json.loads(answer)
            except ValueError:
                said = {}
            e = Refused(said.get('error') or said.get('message'))
            e.again = status >= 500 or status in self.RETRIED
            raise e
        if len(answer) > self.BODY:
            raise Refused('too long')
        return self.validate(json.loads(answer), infohash)


class Browser:
    """A page of another origin: asks whether it may first, then sees what CORS shows."""
    ORIGIN = 'https://tool.example'

    def __init__(self, d):
        self.d = d

    def fetch(self, magnet):
        may = self.d.request('OPTIONS', '/api/v1/metadata', {
            'Origin': self.ORIGIN, 'Access-Control-Request-Method': 'POST',
            'Access-Control-Request-Headers': 'content-type', 'Accept': '*/*'})
        allowed = {h.strip().lower()
                   for h in may.headers['Access-Control-Allow-Headers'].split(',')}
        methods = {m.strip() for m in may.headers['Access-Control-Allow-Methods'].split(',')}
        if not 200 <= may.status < 300 or 'content-type' not in allowed or 'POST' not in methods:
            raise Refused('the preflight')
        a = self.d.request('POST', '/api/v1/metadata', {
            'Origin': self.ORIGIN, 'Content-Type': 'application/json', 'Accept': '*/*',
            'Referer': self.ORIGIN + '/'}, json.dumps({'magnet_uri': magnet}))
        for answer in may, a:
            if answer.headers['Access-Control-Allow-Origin'] not in ('*', self.ORIGIN):
                raise Refused('CORS')
        if a.status != 200:
            raise Refused(a.json['message'])
        data = a.json
        if not isinstance(data['files'], list) or not isinstance(data['info_hash'], str):
            raise Refused('the form')
        return data


class Script:
    """A batch in Python: size and name, one after the other; 500 is "nobody has it"."""

    def __init__(self, d):
        self.d = d

    def fetch(self, magnet):
        a = self.d.request('POST', '/api/v1/metadata', {
            'User-Agent': 'python-requests/2.31.0', 'Accept-Encoding': 'gzip, deflate',
            'Accept': '*/*', 'Connection': 'keep-alive', 'Content-Type': 'application/json'},
            json.dumps({'magnet_uri': magnet}))
        if a.status == 200:
            return a.json['size'], a.json['name']
        raise Refused(a.json['message'])

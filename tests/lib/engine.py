"""An AceStream engine, scripted: it knows the content ids that it is told, in the words of
the HTTP API, and can hang, lie, fail, be slow and die. On 127/8, in threads of the test."""
from urllib.parse import parse_qs, urlsplit

import web

PORT = 6878


class Handler(web.Handler):
    def do_GET(self):
        engine, url = self.server.owner, urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        engine.seen.append(self.path)
        if url.path == '/webui/api/service' and query.get('method') == 'get_version':
            if engine.mode == 'hang' and not engine.probes:
                self.say(None)
            elif engine.mode == 'not_found':
                self.say({'error': 'not found'}, 404)
            elif engine.mode == 'other_server':
                self.say(b'<html>It works!</html>')
            else:
                self.say({'result': {'code': 3021100, 'version': '3.2.11'}, 'error': None})
            return
        if url.path != '/server/api' or query.get('method') != 'analyze_content' \
                or query.get('api_version') != '3':
            self.say({'result': None, 'error': 'unknown method'})
            return
        engine.asked.append(query['query'])
        if engine.delay_s:
            self.server.stopped.wait(engine.delay_s)
        answer = engine.answer(query['query'])
        self.say(*(answer if isinstance(answer, tuple) else (answer,)))


class Engine:
    """.known: {content id: infohash, or None, or a whole answer}; .asked: ids it heard."""

    def __init__(self, stage, known=None):
        self.address = stage.net.take()
        self.url = f'http://{self.address}:{PORT}'
        self.known, self.mode, self.delay_s = dict(known or {}), 'ok', 0
        self.title = 'A title'
        self.asked, self.seen = [], []  # ids; targets of all requests
        self.probes = True              # False: get_version hangs in mode 'hang', too
        self.server = None
        self.start()
        stage.at_end(self.stop)

    def start(self):
        self.server = web.Server(self.address, PORT, Handler, self)

    def stop(self):
        """It dies: connections are refused from now on."""
        if self.server:
            self.server.stop()
            self.server = None

    def answer(self, asked):
        if self.mode == 'hang':
            return None
        if self.mode == 'not_found':
            return {'error': 'not found'}, 404
        if self.mode == 'other_server':
            return b'<html>It works!</html>'
        if self.mode == 'status':
            return {'error': 'internal'}, 500
        if self.mode == 'garbage':
            return b'<html>not what you asked for</html>'
        if self.mode == 'lie':
            return {'result': {'infohash': 'not an infohash', 'is_live': 1}, 'error': None}
        if self.mode == 'short':
            return {'result': {'infohash': self.known[asked][:39]}, 'error': None}
        if asked not in self.known:
            return {'result': None, 'error': 'cannot load transport file'}
        return {'result': {'infohash': self.known[asked], 'content_id': asked, 'is_live': 1,
                           'title': self.title, 'categories': [], 'transport_type': 'bt'},
                'error': None}

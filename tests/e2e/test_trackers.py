"""What trackers say when they fail: in the log, in the evidence, on /health."""
import http.server
import threading

import pytest
from procs import wait_until

NOBODY = 'd0' * 20
KEY = 'passkey0123456789'


def keyed(url):
    """An announce URL as private trackers give them out."""
    return url.replace('/announce', f'/{KEY}/announce')


def site(url):
    return url.rpartition('/announce')[0]


def failed(d, **want):
    """The answer, once its last failure has these fields."""
    def there():
        a = d.peers(NOBODY, wait='2s')
        f = a['evidence']['trackers']['last_failure']
        return a if f and want.items() <= f.items() and a['phase'] != 'joining' else None
    return wait_until(there, 20, f'the last failure has {want}')


def no_key(d, *texts):
    for text in (d.log(), d.get('/health').body.decode(), *texts):
        assert KEY not in text


# Of a UDP tracker's error packet libtorrent 2.0 passes on the fact alone: it takes the header
# for the beginning of the text.
@pytest.mark.parametrize('over,says', [('http', 'unregistered ?[31mtorrent'),
                                       ('udp', 'tracker sent a failure message')])
def test_what_a_tracker_answers_is_heard(daemon, tracker, over, says):
    t = tracker()
    t.set(mode='failure', reason='unregistered \x1b[31mtorrent')
    url = keyed(getattr(t, over))
    d = daemon({'swarm.trackers': url, 'swarm.discovery_wait': '5s'})
    a = failed(d, kind='answered')
    assert a['evidence']['trackers'] == {'asked': 1, 'answered': 0, 'last_failure': {
        'tracker': site(getattr(t, over)), 'kind': 'answered',
        'says': says}}
    assert 'trackers answered with an error' in a['error'], a['error']
    assert 'trackers answered with an error' in a['evidence']['says']
    word = says.partition(' ')[0]
    lines = d.log_lines(f': answered: {word}')
    assert len(lines) == 1 and ' info tracker: ' in lines[0], lines
    assert f'{site(getattr(t, over))}: answered: {word}' in lines[0]
    assert NOBODY in lines[0] and '\x1b' not in lines[0]
    health = d.get('/health').json['path']['tracker_failure']
    assert health['kind'] == 'answered'
    assert health['last_failure']['tracker'] == site(getattr(t, over))
    # Another swarm of the same tracker says nothing new.
    d.peers('d1' * 20, wait='2s')
    assert len(d.log_lines(f': answered: {word}')) == 1
    no_key(d, str(a))


def test_it_is_told_which_of_several_fails(daemon, tracker):
    good, bad = tracker(), tracker()
    bad.set(mode='http_500')
    d = daemon({'swarm.trackers': f'{good.udp},{keyed(bad.http)},{good.http}',
                'swarm.discovery_wait': '5s'})
    a = failed(d, tracker=site(bad.http), kind='answered')
    assert '500' in a['evidence']['trackers']['last_failure']['says']
    assert 'trackers were asked and nobody is in this swarm' in a['error']
    assert 'DHT was' not in a['error'] and 'and DHT' not in a['error']
    assert len(d.log_lines(f'{site(bad.http)}: answered: ')) == 1
    assert not d.log_lines(site(good.udp) + ': ')
    no_key(d, str(a))


def test_garbage_is_no_missing_way(daemon, tracker):
    t = tracker()
    t.set(mode='garbage')
    d = daemon({'swarm.trackers': t.http, 'swarm.discovery_wait': '5s'})
    a = failed(d, kind='garbage', tracker=site(t.http))
    assert 'answered with an error' in a['error']
    assert a['evidence']['path']['tcp'] == 'unknown', 'whoever sent it'
    assert d.get('/health').json['path']['tracker_failure']['kind'] == 'garbage'
    assert d.log_lines(f'{site(t.http)}: garbage: ')


@pytest.fixture
def portal(stage):
    """A web server that has the same page for everything."""
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = b'<!DOCTYPE html><html><title>Please log in</title></html>'
            self.send_response(200)
            self.send_header('Content-Type', 'text/html')
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass
    server = http.server.ThreadingHTTPServer((stage.net.take(), 0), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield 'http://{}:{}'.format(*server.server_address)
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_captive_portal_is_no_tracker(daemon, portal):
    d = daemon({'swarm.trackers': f'{portal}/announce', 'swarm.discovery_wait': '5s'})
    assert 'answered with an error' in failed(d, kind='garbage', tracker=portal)['error']


def test_names_that_are_not_found_are_named(daemon):
    """A label of 64 bytes is no name: the resolver says so without asking anybody."""
    names = [f'udp://{"x" * 63}{c}.invalid:80' for c in 'abc']
    d = daemon({'swarm.trackers': ','.join(f'{n}/{KEY}' for n in names),
                'swarm.discovery_wait': '3s'})
    a = failed(d, kind='name')
    assert a['evidence']['trackers']['last_failure']['tracker'] in names
    assert 'names' in a['error'] and '(DNS)' in a['error'], a['error']
    assert '(DNS)' in a['evidence']['says']

    def blocked():
        path = d.get('/health').json['path']
        return path if path['verdict'] == 'blocked' else None
    path = wait_until(blocked, 30, 'the path is judged')
    assert 'names of trackers are not found' in path['says'] and '(DNS)' in path['says']
    assert path['tracker_failure']['names_not_found'] >= 3
    wait_until(lambda: 'names of trackers are not found' in
               d.peers(NOBODY, wait='0')['evidence']['says'], 10, 'the swarm says it, too')
    assert d.log_lines('notice path: blocked')[0].endswith('check the resolver (DNS)')
    for name in names:
        assert len(d.log_lines(f'{name}: name: ')) == 1
    no_key(d)


def test_one_silent_tracker_is_too_little_for_ever(daemon, tracker):
    t = tracker()
    t.set(mode='hang')
    d = daemon({'swarm.trackers': t.udp, 'swarm.discovery_wait': '1s'})
    a = d.peers(NOBODY, wait='2s')
    assert a['verdict'] == 'unknown' and 'yet' in a['evidence']['says'], a['evidence']

    def old():
        got = d.peers(NOBODY, wait='0')
        return got if 'yet' not in got['evidence']['says'] else None
    a = wait_until(old, 45, 'yet is over')
    assert a['verdict'] == 'unknown'
    assert a['evidence']['says'].startswith('the one tracker that was asked does not answer')
    assert 'swarm.control' in a['evidence']['says'] and 'DHT' not in a['evidence']['says']
    assert a['error'] == 'no tracker has answered (the DHT is off)'

"""POST /api/v1/metadata?async=1: jobs that nobody waits for, and their webhooks."""
import json
import os
import re
import signal
import threading

import pytest

import metacache
from fixtures import factory
from hooks import SECRET, Hooks
from procs import HANG_S, wait_until

API = '/api/v1/metadata'
KEY = '94c2fd8fb9bc8f2fc71a2cbe9d4b866f227a0209'
DEAD = 'de' * 20
STAMP = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ')

hooks = factory(Hooks)


@pytest.fixture
def served(daemon, tmp_path):
    """A daemon with one torrent in its cache."""
    def make(conf=None, file=None):
        d = daemon({'metadata.cache_dir': str(tmp_path / 'meta'), 'http.workers': 1,
                    'swarm.discovery_wait': '1s', 'metadata.timeout': '1s',
                    'master.run_dir': str(tmp_path / 'run'), **(conf or {})}, file=file)
        d.cache, d.run_dir = str(tmp_path / 'meta'), str(tmp_path / 'run')
        metacache.put(d.cache, KEY, metacache.described(KEY, 3))
        return d
    return make


def ask(d, magnet, webhook=None, query='?async=1'):
    body = {'magnet_uri': magnet, **({'webhook': webhook} if webhook else {})}
    return d.request('POST', API + query, {'Content-Type': 'application/json'},
                     json.dumps(body))


def job(d, name):
    a = d.get(f'/api/v1/jobs/{name}')
    assert a.status == 200 and a.headers['Cache-Control'] == 'no-store', a
    return a.json


def until(d, name, state, timeout=HANG_S):
    wait_until(lambda: job(d, name)['state'] == state, timeout, f'the job is {state}')
    return job(d, name)


def counters(d):
    return d.top()['counters']


def link(s):
    return f'magnet:?xt=urn:btih:{s.infohash}' + ''.join(
        f'&x.pe={a}:{p}' for a, p in s.endpoints())


def test_what_is_cached_is_a_job_that_is_done(served):
    d = served({'metadata.base_url': 'https://meta.test/x/'})
    a = ask(d, KEY)
    assert a.status == 202 and a.headers['Access-Control-Allow-Origin'] == '*'
    j = a.json
    assert re.fullmatch('[0-9a-f]{32}', j['id']) and j['state'] == 'done'
    assert a.headers['Location'] == f'/api/v1/jobs/{j["id"]}'
    assert j['info_hash'] == KEY and 'Retry-After' not in a.headers
    assert j['status_url'] == f'https://meta.test/x/api/v1/jobs/{j["id"]}'
    assert j['result_url'] == f'https://meta.test/x/api/v1/metadata/{KEY}'
    assert all(STAMP.fullmatch(j[k]) for k in ('created_at', 'since', 'expires_at'))
    assert d.get(a.headers['Location']).json == j
    assert set(j) == {'id', 'state', 'info_hash', 'created_at', 'since', 'expires_at',
                      'status_url', 'result_url'}
    assert d.get(f'/api/v1/metadata/{KEY}').json['name'] == 'name'


def test_the_plain_question_is_never_a_job(served):
    d = served()
    for query in '', '?async=0', '?async=false':
        assert ask(d, KEY, query=query).status == 200
    assert ask(d, DEAD, query='?timeout=1ms').status == 504
    assert counters(d)['meta_jobs'] == 0


def test_bad_questions(served):
    d = served()
    for magnet, webhook, query, code in (
            ('x', None, '?async=1', 'invalid_magnet'), (KEY, None, '?async=maybe', 'bad_query'),
            (KEY, 'https://a.test/', '', 'webhook_needs_async'),
            (KEY, 'https://a.test/', '?async=1', 'webhooks_disabled'),
            (KEY, 7, '?async=1', 'invalid_json')):
        a = ask(d, magnet, webhook, query)
        assert a.status == 400 and a.json['code'] == code, (a, code)
    a = d.request('POST', API + '?async=1', {'Content-Type': 'application/x-bittorrent'},
                  b'd4:infod4:name1:aee')
    assert a.status == 400 and a.json['code'] == 'async_upload'
    a = d.request('POST', API + '/batch?async=1', {}, b'[]')
    assert a.status == 400 and a.json['code'] == 'async_batch'
    for name in 'f' * 32, 'x', '../up/x', 'F' * 32, '%2e%2e', 'f' * 300:
        a = d.get(f'/api/v1/jobs/{name}')
        assert a.status == 404, a
    assert a.json['code'] == 'unknown_job' and a.headers['Access-Control-Allow-Origin'] == '*'
    a = d.request('DELETE', '/api/v1/jobs/' + 'f' * 32)
    assert a.status == 405 and a.headers['Allow'] == 'GET, HEAD, OPTIONS'
    assert d.request('OPTIONS', '/api/v1/jobs/' + 'f' * 32).status == 200


def test_a_swarm_that_comes_later_still_ends_in_the_cache(served, swarm):
    """Nobody has it when it is asked for, nor for longer than metadata.timeout."""
    d = served()
    s = swarm([{'count': 1}])
    a = ask(d, s.infohash)
    assert a.status == 202 and int(a.headers['Retry-After']) > 0
    name = a.json['id']
    assert a.json['state'] == 'pending' and a.json['deadline'] == job(d, name)['deadline']
    assert 'result_url' not in a.json and 'expires_at' not in a.json
    assert ask(d, s.infohash, query='').status == 504       # who waits has waited enough
    assert job(d, name)['state'] == 'pending'
    d.request('POST', API, {}, metacache.asking(link(s)))     # somebody names a peer of it
    j = until(d, name, 'done')
    path = j['result_url'].partition('8080')[2]
    assert d.get(path).json['info_hash'] == s.infohash
    assert counters(d)['meta_flights'] == 1 and counters(d)['meta_jobs'] == 1


def test_one_that_nobody_has(served):
    d = served({'metadata.job_timeout': '2s'})
    name = ask(d, DEAD).json['id']
    j = until(d, name, 'failed')
    assert j['status'] == 504 and j['code'] == 'timeout' and j['error'] and j['message']
    assert j['since'] > j['created_at'] and j['expires_at'] > j['since']
    assert counters(d)['meta_jobs_failed'] == 1
    # what is not looked for in vain again is still looked for when somebody has the time
    again = ask(d, DEAD)
    assert again.status == 202 and again.json['state'] == 'pending'
    assert again.json['id'] != name


def test_any_process_may_die(served, swarm):
    d = served()
    s = swarm([{'count': 1}])
    name = ask(d, link(s).replace('&x.pe', '&no')).json['id']
    done = ask(d, KEY).json
    for role in 'worker', 'collector':
        pid = d.roles()[role][0]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda r=role, p=pid: [q for q in d.roles()[r] if q != p], 10, f'a new {role}')
        wait_until(lambda: d.get('/livez').status == 200, 10, 'it answers')
        assert job(d, name)['state'] == 'pending' and job(d, done['id']) == done
    wait_until(lambda: counters(d)['meta_jobs_resumed'] == 1, 10, 'it goes on')
    d.request('POST', API, {}, metacache.asking(link(s)))     # names a peer of it
    until(d, name, 'done')


def test_a_collector_that_could_not_say_that_it_has_it(served):
    """It died between the job's file and its word: who asked hears it of the next one."""
    d = served()
    pid, got = d.collector(), []
    os.kill(pid, signal.SIGSTOP)
    asker = threading.Thread(target=lambda: got.append(ask(d, DEAD)))
    asker.start()
    name, = wait_until(lambda: os.listdir(f'{d.run_dir}/up'), 5, 'the question lies there')
    os.rename(f'{d.run_dir}/up/{name}', f'{d.run_dir}/jobs/{name}')
    os.kill(pid, signal.SIGKILL)
    asker.join()
    assert got[0].status == 202 and got[0].json['id'] == name
    assert job(d, name)['state'] == 'pending' and counters(d)['meta_jobs_resumed'] == 1


def test_full(served):
    d = served({'metadata.jobs': 3, 'swarm.cold_rate': 0})
    first = ask(d, KEY).json['id']
    pending = [ask(d, f'{i:040x}').json['id'] for i in range(1, 3)]
    a = ask(d, DEAD)
    assert a.status == 503 and a.json['code'] == 'jobs_full'
    assert int(a.headers['Retry-After']) >= 1 and counters(d)['meta_jobs_full'] == 1
    assert job(d, first)['state'] == 'done'
    assert all(job(d, p)['state'] == 'pending' for p in pending)
    assert not os.listdir(f'{d.run_dir}/up') and len(os.listdir(f'{d.run_dir}/jobs')) == 3


def test_a_result_that_is_damaged_is_looked_for_again(served, swarm):
    d = served()
    s = swarm([{'count': 1}])
    metacache.put(d.cache, s.infohash, metacache.described(s.infohash, 5, 'wrong'),
                  damage=lambda whole: whole[:-5] + b'?????')
    name = ask(d, link(s)).json['id']
    assert job(d, name)['state'] == 'done'      # nobody has read all of it
    assert d.get(f'{API}/{s.infohash}').status == 404
    wait_until(lambda: job(d, name)['state'] == 'pending', what='it is no result')
    until(d, name, 'done')
    a = d.get(f'{API}/{s.infohash}')
    assert a.status == 200 and a.json['name'] != 'wrong'


def test_fewer_by_a_reload_are_still_all_kept(served):
    """By the collector that has them and by the next one; then there is no room for more."""
    d = served({'swarm.cold_rate': 0}, file='[metadata]\njobs = 3\n')
    names = [ask(d, key).json['id'] for key in (KEY, '1' * 40, '2' * 40)]
    d.reload('[metadata]\njobs = 1\n')
    pid = d.collector()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: counters(d)['meta_jobs_resumed'] == 2, 10, 'a new one goes on')
    assert [job(d, n)['state'] for n in names] == ['done', 'pending', 'pending']
    a = ask(d, DEAD)
    assert a.status == 503 and a.json['code'] == 'jobs_full'


def test_what_ended_is_forgotten(served):
    d = served({'metadata.job_keep': '1s'})
    name = ask(d, KEY).json['id']
    wait_until(lambda: d.get(f'/api/v1/jobs/{name}').status == 404, 10, 'its time is over')
    assert not os.listdir(f'{d.run_dir}/jobs') and d.top()['gauges']['meta_jobs_kept'] == 0


def test_jobs_leave_room_for_those_who_wait(served, swarm):
    """Half of the flights are theirs; the others have their turn when these are over, and all
    of their time then."""
    d = served({'metadata.flights': 4, 'metadata.job_timeout': '6s', 'metadata.timeout': '10s'})
    s = swarm([{'count': 1}])
    names = [ask(d, f'{i:040x}').json['id'] for i in range(1, 6)]
    late = ask(d, link(s)).json['id']
    wait_until(lambda: d.top()['gauges']['meta_flying'] == 2, 10, 'two are looked for')
    assert d.top()['gauges']['meta_jobs_pending'] == 6
    assert d.get('/api/v1/health').json['jobs'] == 6
    assert [('deadline' in job(d, n)) for n in names] == [True, True, False, False, False]
    assert ask(d, link(s), query='').status == 200          # and all who want it have it
    until(d, late, 'done')
    assert [job(d, n)['state'] for n in names] == ['pending'] * 5
    until(d, names[1], 'failed', 30)
    wait_until(lambda: 'deadline' in job(d, names[3]), 10, 'the next two')
    assert job(d, names[3])['state'] == 'pending' and 'deadline' not in job(d, names[4])
    until(d, names[4], 'failed', 60)
    assert counters(d)['meta_full'] == 0 and counters(d)['meta_flights'] == 6


# Webhooks -------------------------------------------------------------------------

def test_what_was_found_is_told(served, swarm, hooks):
    h = hooks()
    d = served({'metadata.webhook_secret': SECRET})
    s = swarm([{'count': 1}])
    name = ask(d, link(s), h.url).json['id']
    wait_until(lambda: h.heard, 20, 'it was told')
    told = h.heard[0]
    assert told.signed() and told.path == '/hook?a=b'
    assert told.headers['Content-Type'] == 'application/json'
    assert told.headers['X-Peerscope-Job'] == name
    assert told.headers['User-Agent'].startswith('peerscope/')
    j = told.json
    assert j['id'] == name and j['state'] == 'done' and j['info_hash'] == s.infohash
    assert j['result']['info_hash'] == s.infohash and j['result']['files']
    wait_until(lambda: job(d, name)['webhook'] == {'state': 'delivered', 'tries': 1}, 10, 'known')
    assert len(h.heard) == 1 and counters(d)['webhooks_delivered'] == 1
    # neither the link nor the address of the webhook are for who asks for the job
    assert h.url not in json.dumps(job(d, name))


def test_what_failed_is_told_and_a_key_of_a_file(served, hooks, tmp_path):
    h = hooks()
    (tmp_path / 'key').write_text('another key\n')
    d = served({'metadata.webhook_secret_file': str(tmp_path / 'key'),
                'metadata.job_timeout': '1s'})
    name = ask(d, DEAD, h.url).json['id']
    wait_until(lambda: h.heard, 20, 'it was told')
    j = h.heard[0].json
    assert j['state'] == 'failed' and j['code'] == 'timeout' and j['id'] == name
    assert 'result' not in j and h.heard[0].signed('another key') and not h.heard[0].signed()
    assert 'another key' not in d.command('config').stdout


def test_tries(served, hooks):
    """Not 2xx, a redirect, hung up: tried again after five and thirty seconds, no more."""
    h = hooks([(b'', 500), ('close',), (b'', 302, {'Location': '/elsewhere'})])
    d = served({'metadata.webhook_secret': SECRET})
    name = ask(d, KEY, h.url).json['id']
    wait_until(lambda: len(h.heard) == 2, 30, 'a second try')
    assert h.heard[1].at - h.heard[0].at > 4
    wait_until(lambda: job(d, name)['webhook'] == {'state': 'pending', 'tries': 2,
                                                 'error': 'No answer came.'}, 10, 'both known')
    # a collector that dies between them leaves the rest to its successor
    pid = d.collector()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: [q for q in d.roles()['collector'] if q != pid], 10, 'a new one')
    wait_until(lambda: len(h.heard) == 3, 50, 'a third try')
    wait_until(lambda: job(d, name)['webhook'] == {'state': 'failed', 'tries': 3,
                                                 'error': 'It answered 302.'}, 10, 'no more')
    assert f'webhook of job {name} is given up' in d.log()
    assert all(x.signed() and x.path == '/hook?a=b' for x in h.heard)
    assert counters(d)['webhooks_given_up'] == 1


def test_an_answer_that_nobody_reads(served, hooks):
    """However much of it there is: it was heard."""
    h = hooks([(b'x' * 300000, 200)])
    d = served({'metadata.webhook_secret': SECRET})
    name = ask(d, KEY, h.url).json['id']
    wait_until(lambda: job(d, name)['webhook']['state'] == 'delivered', 10, 'it is delivered')
    assert len(h.heard) == counters(d)['webhooks_delivered'] == 1


def test_one_that_is_forgotten_soon(served, hooks):
    """Its webhook has all its tries before that."""
    h = hooks([(b'', 500), (b'', 200)])
    d = served({'metadata.webhook_secret': SECRET, 'metadata.job_keep': '1s'})
    name = ask(d, KEY, h.url).json['id']
    wait_until(lambda: len(h.heard) == 2, 30, 'a second try')
    wait_until(lambda: d.get(f'/api/v1/jobs/{name}').status == 404, 10, 'its time is over')
    assert counters(d)['webhooks_delivered'] == 1


def test_only_to_the_world(served, hooks):
    """An address in the URL is refused at once; what a name means is refused when it is
    known, on the socket."""
    h = hooks()
    d = served({'metadata.webhook_secret': SECRET, 'swarm.allow_private': 'off'})
    for url in ('ftp://a.test/', 'http://', 'http://a b/', 'http://u:p@a.test/', 'http:///x',
                h.url, 'http://[::1]/', 'http://169.254.169.254/latest', 'http://10.0.0.1:80/',
                'http://[::ffff:127.0.0.1]/', 'x' * 3000, 'http://a.test/' + 'x' * 2048):
        a = ask(d, KEY, url)
        assert a.status == 400 and a.json['code'] == 'invalid_webhook', (url, a)
    names = ['localhost', '2130706433', '0x7f.1', '127.1']
    jobs = [ask(d, KEY, f'http://{n}:{h.url.split(":")[2]}').json['id'] for n in names]
    for name in jobs:
        wait_until(lambda n=name: job(d, n)['webhook']['state'] == 'failed', 20, 'refused')
    assert counters(d)['webhooks_denied'] == len(names)
    assert not h.heard

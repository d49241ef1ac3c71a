"""/openapi.json: sound by a public validator, and true: what it describes is what is answered.
Those answers that take time are in tests/slow/test_openapi_whole.py."""
import copy
import json
import os
import re
import subprocess

import pytest

import apicheck
import apiscenes
from metaclients import Browser
from procs import ROOT

VALIDATE = ('use JSON::Validator::Schema::OpenAPIv3; print "$_\n" for '
            '@{JSON::Validator::Schema::OpenAPIv3->new($ARGV[0])->errors}; print "done";')


@pytest.fixture(scope='module')
def document():
    return apicheck.Document()


@pytest.fixture(scope='module')
def scenes(module_stage, mmdb):
    return apiscenes.play(module_stage, mmdb, False)


def version():
    with open(os.path.join(ROOT, 'VERSION'), encoding='utf-8') as f:
        return f.read().strip()


def test_a_public_validator_finds_nothing(daemon, tmp_path):
    """Debian's JSON::Validator, on what is served; and it does look."""
    path = tmp_path / 'openapi.json'
    good = daemon().get('/openapi.json').json
    bad = {**good, 'paths': {**good['paths'], '/livez': {'get': {'responses': {'200': {}}}}}}
    for doc, fine in (good, True), (bad, False):
        path.write_text(json.dumps(doc))
        said = subprocess.run(['/usr/bin/perl', '-e', VALIDATE, str(path)], check=True,
                              capture_output=True, text=True).stdout
        assert said.endswith('done') and (said == 'done') == fine, said


def test_it_is_served_as_it_is_written(daemon):
    d = daemon()
    a = d.get('/openapi.json')
    with open(apicheck.FILE, encoding='utf-8') as f:
        assert a.body.decode() == f.read().replace('@VERSION@', version())
    assert a.json['info']['version'] == d.get('/health').json['version'] == version()
    assert a.headers['Content-Type'] == 'application/json'
    head = d.request('HEAD', '/openapi.json')
    assert head.headers['Content-Length'] == str(len(a.body)) and head.body == b''
    for etag in a.headers['ETag'], '"other", ' + a.headers['ETag'], '*':
        again = d.get('/openapi.json', {'If-None-Match': etag})
        assert (again.status, again.body) == (304, b'')
    assert d.get('/openapi.json', {'If-None-Match': '"other"'}).status == 200


def test_every_answer_is_as_described(document, scenes):
    for s in scenes:
        apicheck.check_answer(document, s)
    apicheck.check_requests(document, scenes)


def test_every_example_is_a_real_answer(document, scenes):
    apicheck.check_examples(document, scenes)


def test_it_is_no_open_door(document, scenes):
    """An answer with a member too many, without one, or with a wrong one is found."""
    s = copy.deepcopy(next(s for s in scenes if s.name == 'swarm'))
    good = json.loads(s.answer.body)
    for harm in (lambda v: v.update(more=1), lambda v: v.pop('verdict'),
                 lambda v: v['peers'][0].update(state='asleep'),
                 lambda v: v['evidence'].update(says=None)):
        value = json.loads(s.answer.body)
        harm(value)
        s.answer.body = json.dumps(value).encode()
        with pytest.raises(apicheck.jsonschema.ValidationError):
            apicheck.check_answer(document, s)
    assert apicheck.differs(good, {**good, 'phase': 1}) and not apicheck.differs(good, good)
    s.answer.body = json.dumps(good).encode()
    s.answer.headers['X-More'] = '1'
    with pytest.raises(AssertionError):
        apicheck.check_answer(document, s)


def test_allowed_words_are_all_there(document, daemon):
    """The sentence of a 400 names them, from the daemon's own tables."""
    d = daemon()
    params = [document.resolve(p) for p in document.operations['getPeers']['parameters']]
    for p in params:
        words = p['schema'].get('enum') or p['schema'].get('items', {}).get('enum')
        if p['in'] == 'path' or p['name'] in ('If-None-Match', 'x.pe') or not words:
            continue
        a = d.get(f'/peers/{apiscenes.DEAD}?{p["name"]}=no-such-word')
        assert a.status == 400, a
        said = set(re.findall(r'[a-z0-9_]+(?:\.[a-z]+)?', a.json['message']))
        assert {w.lstrip('-') for w in words} <= said, (p['name'], a.json)


def test_the_page_may_load_its_own_and_nothing_else(daemon):
    """What a browser makes of it: tests/slow/test_docs.py."""
    d = daemon()
    a = d.get('/docs')
    assert a.headers['Content-Type'] == 'text/html; charset=utf-8'
    policy = dict(x.split(' ', 1) for x in a.headers['Content-Security-Policy'].split('; '))
    assert policy['default-src'] == policy['frame-ancestors'] == "'none'"
    assert {policy[k] for k in ('script-src', 'style-src', 'connect-src')} == {"'self'"}
    loads = re.findall(r'(?:src|href)="([^"]*)"', a.body.decode())
    assert set(loads) == {'data:,', 'docs/docs.css', 'docs/docs.js', 'openapi.json'}
    for name, kind in ('docs.js', 'text/javascript'), ('docs.css', 'text/css'):
        b = d.get(f'/docs/{name}')
        assert b.status == 200 and b.headers['Content-Type'] == f'{kind}; charset=utf-8'
        assert b.headers['X-Content-Type-Options'] == 'nosniff'
        assert b.headers['ETag'] == a.headers['ETag']
    for path in '/docs/', '/docs/x', '/docs/..', '/docs/docs.html', '/docs/docs.js/x':
        assert d.get(path).status == 404


# Pages of others ------------------------------------------------------------------------

def test_pages_of_others_may_ask_for_metadata_alone(document, daemon):
    """As the service that it replaces; who is in a swarm is nobody's business. Preflights."""
    d = daemon()
    ask = {'Origin': Browser.ORIGIN, 'Access-Control-Request-Headers': 'content-type'}
    for path, item in document.doc['paths'].items():
        real = re.sub(r'\{\w+\}', apiscenes.DEAD, path)
        method, op = next(iter(item.items()))
        open_ = 'Access-Control-Allow-Origin' in document.response(
            op['operationId'], '200')['headers']
        assert open_ == path.startswith(('/api/v1/', '/download/', '/openapi.json')), path
        may = d.request('OPTIONS', real, {**ask, 'Access-Control-Request-Method': method.upper()})
        assert (may.status, may.body) == (200 if open_ else 204, b'')
        assert method.upper() in may.headers['Allow'].split(', ')
        sent = d.request(method.upper(), real, {'Origin': Browser.ORIGIN},
                         b'x' if method == 'post' else None)
        for a in may, sent, d.request('DELETE', real):
            found = {k: v for k, v in a.headers.items() if k.startswith('Access-Control-')}
            assert found == ({'Access-Control-Allow-Origin': '*',
                              'Access-Control-Allow-Methods': 'GET, POST, OPTIONS',
                              'Access-Control-Allow-Headers': 'Content-Type'} if open_ else {})

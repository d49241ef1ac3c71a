"""What is known of an AceStream swarm, in every form in which it is told."""
import csv
import io
import json
import re

import pytest

from acecheck import FAST, told_by
from procs import wait_until

CONTENT, INFOHASH = 'ac' * 20, 'ad' * 20
SPEC = [{'count': 4, 'version': [3021100, 3021900], 'rate': 5.0, 'lag': [0, 7, 3, 40],
         'country': ['DE', 'ES'], 'asn': [64500, None], 'distance': [1, 2], 'accessible': [1, 0]},
        {'count': 1, 'role': 'source', 'port': 7764, 'rate': 5.0, 'platform': 1},
        {'count': 1, 'role': 'idle', 'platform': None, 'country': ''},
        {'count': 1, 'behaviour': 'dead'}]
TITLE = 'Fußball, "live" \\ <b>'


@pytest.fixture(scope='module')
def shown(module_stage):
    """(daemon, the scripted swarm, the answer that says how fast it moves)"""
    from daemon import Daemon
    from engine import Engine
    from parts import AceSwarm, Redis, Tracker
    s = AceSwarm(module_stage, SPEC, keys=[CONTENT, INFOHASH])
    e = Engine(module_stage, {CONTENT: INFOHASH})
    e.title = TITLE
    r = Redis(module_stage)
    d = told_by(lambda conf: Daemon(module_stage, conf), lambda: Tracker(module_stage), s,
                **FAST, **{'acestream.engine_url': e.url, 'acestream.second_look': '2s',
                           'redis.mode': 'external', 'redis.url': r.url})
    d.redis = r

    def moves():
        a = d.peers(CONTENT, limit=2000)
        return a['ace'] and a['ace']['motion'] == 'advancing' and a
    return d, s, wait_until(moves, 20, 'it advances', every=0.2)


def ask(d, query, form=None):
    a = d.get(f'/peers/{CONTENT}?limit=2000&{query}' + (f'&format={form}' if form else ''))
    assert a.status == 200, a.body
    return a


def by_port(rows):
    return {(r['ip'], int(r['port'])): r for r in rows}


def test_a_swarm_says_what_it_is(shown):
    d, s, a = shown
    assert (a['title'], a['protocol'], a['resolution']) == (TITLE, 'acestream', 'resolved')
    ace = a['ace']
    assert ace['mode'] == 'pinned' and ace['kind'] == 'live' and ace['content_id'] == CONTENT
    assert (ace['sources'], ace['source_like']) == (0, 1)
    assert (ace['discovered'], ace['reachable'], ace['gossiped']) == (7, 6, 0)
    assert 0.15 < ace['piece_seconds'] < 0.25           # five a second
    assert ace['head_at'] <= ace['motion_at'] <= a['cached_at'] + 1
    assert ace['head'] == max(p['ace']['head'] or 0 for p in a['peers'])
    plain = d.peers('f1' * 20, wait='0')
    assert plain['title'] is None and 'ace' in plain


def test_a_peer_says_what_it_told(shown):
    _, s, a = shown
    rows = by_port(a['peers'])
    for p in s.peers:
        row = rows[p['address'], p['port']]
        assert row['protocol'] == 'acestream' and row['ace']['key'] in ('infohash', 'content_id')
        if p['behaviour'] == 'dead':
            assert row['client'] == 'Unknown' and row['ace'] == {
                **dict.fromkeys(row['ace']), 'gossiped': False, 'key': row['ace']['key']}
            continue
        ace = row['ace']
        assert row['client'] == p['client'] and row['state'] == 'contacted'
        assert ace['platform'] == p['platform'] and ace['country'] == (p['country'] or None)
        assert ace['asn'] == p['asn'] and ace['distance'] == p['distance']
        assert ace['accessible'] == bool(p['accessible'])
        assert ace['role'] == {'source': 'source-like'}.get(p['role'], 'viewer')
        assert row['first_seen'] <= ace['told_at'] <= a['cached_at'] + 1
        if p['role'] == 'idle':
            assert (ace['head'], ace['position'], ace['lag'], ace['lag_seconds']) == (None,) * 4
        else:
            assert abs(ace['lag_seconds'] - ace['lag'] * a['ace']['piece_seconds']) <= 0.06
            assert ace['head'] >= ace['position'] and ace['kind'] == 'live'


def test_csv_ndjson_and_redis_say_what_json_says(shown):
    d, _, _ = shown
    want = ask(d, 'sort=ip').json['peers']
    lines = ask(d, 'sort=ip', 'ndjson').body.decode().splitlines()
    assert [json.loads(x) for x in lines] == want
    table = list(csv.DictReader(io.StringIO(ask(d, 'sort=ip', 'csv').body.decode())))
    assert len(table) == len(want) == 7
    for row, peer in zip(table, want, strict=True):
        for k, v in peer['ace'].items():
            assert row['ace_' + k] == ('' if v is None else v if isinstance(v, str)
                                       else json.dumps(v)), k
    stored = json.loads(wait_until(lambda: d.redis.client().get(f'peer_stats:{CONTENT}')))
    now = d.peers(CONTENT)
    for k in 'title', 'protocol', 'resolution':
        assert stored[k] == now[k]
    assert set(stored['ace']) == set(now['ace'])
    assert {frozenset(p['ace']) for p in stored['peers']} == {frozenset(want[0]['ace'])}


def test_questions_of_lag_and_protocol(shown):
    d, _, _ = shown
    for sort, down in ('lag', False), ('-lag', True):
        lags = [p['ace']['lag'] for p in ask(d, f'sort={sort}').json['peers']]
        known = [x for x in lags if x is not None]
        assert len(known) == 5 and lags[5:] == [None, None]
        assert known == sorted(known, reverse=down) and len(set(known)) > 2
    a = ask(d, 'protocol=acestream&summary=1').json
    assert a['matched'] == 7 and a['ace']['reachable'] == 6
    assert a['summary']['protocol'] == {
        'distinct': 1, 'list': [{'name': 'acestream', 'count': 7}], 'other': 0}
    none = ask(d, 'protocol=bittorrent').json
    assert none['matched'] == 0 and none['peers'] == [] and none['ace']['reachable'] == 6


def test_a_table_and_top_for_people(shown):
    d, _, a = shown
    out = d.command('peers', CONTENT, '--limit', '50', '--sort', '-lag').stdout.splitlines()
    assert 'LAG' in out[0] and 'ROLE' in out[0]
    assert re.search(r'Ace Stream 3\.2\.\d+ \(Linux\) .* \d+ \(\d+\.\d s\)  viewer ', out[1])
    assert f'title: {TITLE}' in out
    assert any(re.match('acestream: 7 discovered, 6 reachable, 0 gossiped; live, advancing '
                        rf'\(\d+ s ago\), head {a["ace"]["head"]}, ', x) for x in out)
    assert any(re.match(f'{CONTENT} acestream ', x)
               for x in d.command('top', '--once').stdout.splitlines())

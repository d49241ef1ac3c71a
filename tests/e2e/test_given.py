"""x.pe of a magnet link (BEP 9): peers that whoever asks for a swarm names himself."""
import os
import signal
import threading
import time

import pytest

from procs import slow, wait_until

ALONE = {'swarm.discovery_wait': '5s'}          # no tracker, no DHT: nobody else tells


def at(*endpoints):
    return '&'.join(f'x.pe=[{a}]:{p}' if ':' in a else f'x.pe={a}:{p}' for a, p in endpoints)


def ask(d, s, *endpoints, more=''):
    a = d.get(f'/peers/{s.infohash}?limit=2000&{at(*endpoints)}{more}')
    assert a.status == 200, a
    return {(p['ip'], p['port']): p for p in a.json['peers']}


def test_a_cold_swarm_of_given_peers_alone(daemon, swarm, net):
    """The first answer already names them, over IPv4 and IPv6, and the dead one."""
    s = swarm([{'count': 4, 'progress': 'mixed'}, {'count': 1, 'behaviour': 'dead'},
               {'count': 1, 'address': '::1', 'port': net.ports6(1)}])
    d = daemon({**ALONE, 'swarm.listen': f'{net.take()}:42069,[::1]:{net.ports6(1)}'})
    began = time.monotonic()
    got = ask(d, s, *s.endpoints())
    assert time.monotonic() - began < 4 * slow()
    assert {e: (p['client'], p['state']) for e, p in got.items()} == {
        (p['address'], p['port']): (p['name'] if p['state'] == 'connected' else 'Unknown',
                                    p['state']) for p in s.peers}
    assert all(p['sources'] == ['x.pe'] for p in got.values())
    assert set(ask(d, s, more='source=x.pe')) == set(got)
    assert d.peers(s.infohash, summary=1)['summary']['source']['list'] == [
        {'name': 'x.pe', 'count': 6}]
    assert s.asked_for_no_piece()


def test_a_given_peer_tells_of_others(daemon, swarm):
    """That is what x.pe is for: one peer, and PEX for the rest. Then it has two sources."""
    s = swarm([{'count': 3}])
    s.ask('pex', peers=[0], tell=s.endpoints([1, 2]))
    s.ask('pex', peers=[1], tell=s.endpoints([0]))
    d = daemon(ALONE)
    ask(d, s, s.endpoints()[0])
    want = [['pex', 'x.pe'], ['pex'], ['pex']]
    wait_until(lambda: [d.by_endpoint(s.infohash).get(tuple(e), {}).get('sources')
                        for e in s.endpoints()] == want, 15, 'all three by their sources')


def test_a_warm_swarm_gets_them_too(daemon, swarm, tracker):
    """Behind an answer of the table; and within it, if the question waits."""
    s, t = swarm([{'count': 1}, {'count': 1, 'name': 'Behind'}, {'count': 1, 'name': 'Within'},
                  {'count': 1, 'name': 'At once'}]), tracker()
    t.set(s.infohash, peers=s.endpoints([0]))
    d = daemon({**ALONE, 'swarm.trackers': t.http})
    first, behind, within, once = (tuple(e) for e in s.endpoints())
    wait_until(lambda: d.peers(s.infohash)['phase'] == 'settled', what='it is settled')
    assert set(ask(d, s, behind)) == {first}
    wait_until(lambda: d.by_endpoint(s.infohash).get(behind, {}).get('client') == 'Behind',
               5, 'he is dialled behind the answer')
    got = ask(d, s, within, more='&wait=10s')
    assert got[within]['client'] == 'Within' and got[within]['sources'] == ['x.pe']
    ask(d, s, once, more='&wait=0')
    wait_until(lambda: d.by_endpoint(s.infohash).get(once, {}).get('client') == 'At once',
               5, 'also if the question waits for nothing')
    # Known already: nobody is dialled, and the wait is no longer than without.
    wait_until(lambda: d.peers(s.infohash)['phase'] == 'settled', what='settled again')
    dialled = s.totals()['handshakes']
    began = time.monotonic()
    assert set(ask(d, s, first, within, more='&wait=20s')) == {first, behind, within, once}
    assert time.monotonic() - began < 5 * slow()
    assert s.totals()['handshakes'] == dialled
    got = d.by_endpoint(s.infohash)
    assert got[first]['sources'] == ['tracker', 'x.pe']


@pytest.mark.parametrize('how', ['x.pe', 'pex'])
def test_who_comes_back_after_he_was_forgotten(daemon, swarm, how):
    """libtorrent remembers him and dials nobody twice; so we do."""
    s = swarm([{'count': 1, 'name': 'Back', 'absent': True}, {'count': 2}])
    back, *others = (tuple(e) for e in s.endpoints())
    d = daemon({**ALONE, 'swarm.peer_expiry': '3s', 'swarm.revisit': '5m',
                'swarm.revisit_max': '5m'})
    assert set(ask(d, s, *others)) == set(others)

    def name_him(teller):           # each tells of him once
        if how == 'pex':
            s.ask('pex', peers=[teller], tell=[back])
        else:
            ask(d, s, back)

    def state():
        return d.by_endpoint(s.infohash).get(back, {}).get('state')
    name_him(1)
    wait_until(lambda: state() == 'tried', 15, 'he is not there')
    wait_until(lambda: state() is None, 30, 'he is forgotten')
    s.ask('join', peers=[0])
    name_him(2)
    wait_until(lambda: state() == 'connected', 15, 'he is dialled again')


def test_refused_like_any_other_endpoint(daemon, swarm, net):
    """Private, port 0, ourselves: counted, not dialled, and the question is answered."""
    s = swarm([{'count': 1}])
    own = net.take()
    d = daemon({'swarm.discovery_wait': '300ms', 'swarm.listen': f'{own}:42069'})
    assert ask(d, s, [own, 42069], ['127.0.0.1', 0]) == {}
    assert d.top()['counters']['peers_refused'] == 2
    d = daemon({'swarm.discovery_wait': '300ms', 'swarm.allow_private': 'off'})
    assert ask(d, s, s.endpoints()[0], ['10.0.0.1', 6881], ['fe80::1', 6881],
               ['::ffff:127.0.0.1', 6881], ['2001:db8::1', 6881]) == {}
    assert d.top()['counters']['peers_refused'] == 5
    assert s.totals()['connections'] == 0


def test_bad_ones_are_answered_400(daemon):
    d = daemon()
    many = '&'.join(f'x.pe=127.0.0.1:{i}' for i in range(1, 18))
    for query, says in [('x.pe=localhost:6881', 'host names'), ('x.pe=1.2.3.4', 'a port'),
                        ('x.pe=1.2.3.4:65536', 'a port'), ('x.pe=::1:6881', '[2001:db8::1]'),
                        (many, 'at most 16')]:
        a = d.get(f'/peers/{"ab" * 20}?{query}')
        assert a.status == 400 and says in a.json['message'], a
    assert d.top()['gauges']['swarms'] == 0


def test_parked_questions_keep_them_over_the_collectors_death(daemon, swarm):
    s = swarm([{'count': 2, 'name': 'Late', 'delay_ms': 1500}])
    d = daemon({'swarm.discovery_wait': '15s'})
    answers, old = [], d.collector()
    asker = threading.Thread(target=lambda: answers.append(ask(d, s, *s.endpoints())))
    asker.start()
    wait_until(lambda: d.top()['gauges']['waiters'] == 1, what='it is parked')
    os.kill(old, signal.SIGKILL)
    asker.join(30)
    assert answers and {p['client'] for p in answers[0].values()} == {'Late'}, answers
    assert set(answers[0]) == {tuple(e) for e in s.endpoints()} and d.collector() != old


def test_v2_hash_and_peers_in_one_question(daemon, swarm, bep52):
    p = bep52(hybrid=False)
    s = swarm([{'count': 2}], payload=p, v2=p.v2)
    d = daemon(ALONE)
    a = d.get(f'/peers/{p.v2}?{at(*s.endpoints())}')
    assert a.json['infohash_v2'] == p.v2
    assert [x['sources'] for x in a.json['peers']] == [['x.pe']] * 2


@pytest.mark.parametrize('wait', ['', '&wait=0'])
def test_under_a_content_id(daemon, swarm, engine, wait):
    """The engine is asked first; the peers wait with the question, or without one."""
    s = swarm([{'count': 2}])
    e = engine({'cd' * 20: s.infohash})
    e.delay_s = 0.5
    d = daemon({**ALONE, 'acestream.engine_url': e.url, 'acestream.peers': 'off'})
    d.get(f'/peers/{"cd" * 20}?{at(*s.endpoints())}{wait}')
    wait_until(lambda: {p['client'] for p in d.peers('cd' * 20)['peers']} ==
               {p['name'] for p in s.peers}, 10, 'both, in the swarm that is meant')
    assert d.peers('cd' * 20)['infohash'] == s.infohash


def test_command_line(daemon, swarm):
    s = swarm([{'count': 2}])
    d = daemon(ALONE)
    peers = [x for a, p in s.endpoints() for x in ('--peer', f'{a}:{p}')]
    done = d.command('peers', s.infohash, *peers)
    assert done.returncode == 0 and done.stdout.count(' x.pe') == 2, done
    done = d.command('peers', s.infohash, '--peer', 'localhost:1')
    assert done.returncode == 1 and 'host names are not looked up' in done.stderr, done

"""Databases of places that change under a running daemon, while it is asked all the time.

Berlin, in city.mmdb, is 127.1.0.0/16; in other.mmdb the same block is Hamburg, in both it is
Germany. Whatever happens to the file, no answer may fail and none may lose its country.
"""
import contextlib
import os
import random
import shutil
import signal
import threading

import pytest

from heavydb import heavy
from procs import wait_until

BERLIN = 1      # 127.1/16


class Asker(threading.Thread):
    """Asks for one swarm that is known, and for a new one each time: new peers are looked up."""

    def __init__(self, daemon, tracker, peers):
        super().__init__()
        self.d, self.t, self.peers = daemon, tracker, peers
        self.wrong, self.asked, self.done = [], 0, threading.Event()
        self.known = f'{random.getrandbits(152):038x}00'
        self.t.set(self.known, peers=peers)

    def fresh(self):
        ih = f'{random.getrandbits(160):040x}'
        self.t.set(ih, peers=self.peers)
        return ih

    def look(self, ih):
        a = self.d.get(f'/peers/{ih}?wait=100ms')
        self.asked += 1
        if a.status != 200:
            self.wrong.append(a.status)
            return
        got = a.json['peers']
        self.wrong += [p for p in got if p['country'] != 'Germany']
        if ih == self.known and not got:
            self.wrong.append('the known swarm is empty')

    def run(self):
        try:
            while not self.done.is_set():
                self.look(self.known)
                self.look(self.fresh())
        except OSError as e:
            self.wrong.append(repr(e))

    def check(self):
        assert self.wrong == [] and self.is_alive()


class Scene:
    """A daemon with a City database of its own, and somebody who asks all the time."""

    def __init__(self, daemon, tracker, net, directory, mmdb):
        self.t, self.mmdb = tracker(), mmdb
        self.path = os.path.join(directory, 'live.mmdb')
        self.put('city.mmdb')
        base = net.in_block(BERLIN)[:-1]
        peers = [[base + str(i), 6881] for i in range(1, 6)]
        self.d = daemon({'swarm.trackers': self.t.udp, 'geo.city_db': self.path,
                         'cache.ttl': '200ms', 'swarm.discovery_wait': '100ms',
                         'swarm.cold_rate': 0, 'swarm.linger': '2s'})
        self.collector = self.d.collector()
        self.asker = Asker(self.d, self.t, peers)
        self.until_city('Berlin')
        self.asker.start()

    def put(self, name):
        """Rename a whole file into place, as an updater does."""
        shutil.copyfile(self.mmdb / name, self.path + '.new')
        os.rename(self.path + '.new', self.path)

    def put_bytes(self, data):
        with open(self.path + '.new', 'wb') as f:
            f.write(data)
        os.rename(self.path + '.new', self.path)

    def until_city(self, city):
        def all_there(got):
            return got and {p['city'] for p in got.values()} == {city}
        self.d.until_peers(self.asker.known, all_there, what=f'all are in {city}')

    def database(self):
        return self.d.get('/health').json['geo']['databases'][0]

    def until_state(self, state):
        return wait_until(lambda: self.database()['state'] == state and self.database(), 15,
                          f'the database is {state}')

    def counter(self, name):
        return self.d.top()['counters'][name]

    def close(self):
        try:
            wait_until(lambda: self.asker.asked > 10, what='it was asked all the time')
        finally:
            self.asker.done.set()
            self.asker.join()
        assert self.asker.wrong == []
        assert self.d.collector() == self.collector, 'the collector died'


@pytest.fixture
def scene(daemon, tracker, net, tmp_path, mmdb):
    made = Scene(daemon, tracker, net, tmp_path, mmdb)
    try:
        yield made
    except BaseException:
        made.asker.done.set()
        raise
    made.close()


def test_health_tells_what_is_in_use(scene):
    db = scene.database()
    assert (db['name'], db['state'], db['type'], db['error']) == ('city', 'ok', 'GeoLite2-City',
                                                                  None)
    assert db['bytes'] == os.path.getsize(scene.path) and db['built'].endswith('Z')
    assert scene.d.top()['gauges']['geo_databases'] == 1


def test_replaced_without_a_word(scene):
    scene.put('other.mmdb')
    scene.until_city('Hamburg')
    scene.asker.check()
    assert scene.counter('geo_opened') == 2 and scene.counter('geo_refused') == 0
    assert scene.counter('geo_again') >= 5
    scene.put('city.mmdb')
    scene.until_city('Berlin')


def test_replaced_and_told(scene):
    scene.put('other.mmdb')
    scene.d.kill(signal.SIGHUP)
    scene.until_city('Hamburg')
    assert scene.counter('geo_opened') == 2


def half(data):
    return data[:len(data) // 2]


def end_missing(data):
    return data[:-3]


def holes(data):
    """Records overwritten in the middle; tree and metadata are whole."""
    at = data.index(b'Berlin') - 40
    return data[:at] + b'\xff' * 60 + data[at + 60:]


@pytest.mark.parametrize('damage', [half, end_missing, holes, lambda _: b'', lambda _: b'<html>'],
                         ids=['half', 'end', 'holes', 'empty', 'html'])
def test_a_damaged_file_changes_nothing(scene, mmdb, damage):
    data = (mmdb / 'city.mmdb').read_bytes()
    scene.put_bytes(damage(data))
    db = scene.until_state('refused')
    assert db['error'] and db['type'] == 'GeoLite2-City'
    assert scene.counter('geo_refused') == 1
    assert len(scene.d.log_lines('the one that was read before stays in use')) == 1
    scene.d.kill(signal.SIGHUP)         # whoever asks hears it again
    wait_until(lambda: scene.counter('geo_refused') == 2, what='it is refused again')
    scene.until_city('Berlin')
    scene.asker.check()
    scene.put('other.mmdb')
    scene.until_city('Hamburg')
    assert scene.until_state('ok')['error'] is None


def test_a_file_that_vanishes_changes_nothing(scene):
    os.unlink(scene.path)
    db = scene.until_state('missing')
    assert 'No such file' in db['error'] and db['type'] == 'GeoLite2-City'
    scene.d.kill(signal.SIGHUP)
    wait_until(lambda: scene.d.log_lines('new settings taken'), what='the reload is done')
    scene.until_city('Berlin')
    assert scene.counter('geo_missing') == 1
    scene.put('other.mmdb')
    scene.until_city('Hamburg')


def scribble(path, seconds_over, rng, data):
    """What no updater should do: cut it, write noise, halves and zeros into it in place."""
    with open(path, 'r+b', buffering=0) as f:
        while not seconds_over():
            f.seek(0)
            f.truncate(rng.choice([0, 1, 4096, len(data) // 2, len(data)]))
            f.write(rng.choice([data[:rng.randrange(len(data))], rng.randbytes(3000),
                                bytes(len(data)), data]))


def test_rewritten_in_place_under_load(scene, mmdb):
    over = threading.Event()
    writer = threading.Thread(target=scribble, args=(
        scene.path, over.is_set, random.Random(5), (mmdb / 'city.mmdb').read_bytes()))
    writer.start()
    try:
        scene.until_state('writing')
        for _ in range(5):      # each is a look at what is just being written
            before = scene.counter('geo_refused') + scene.counter('geo_opened')
            scene.d.kill(signal.SIGHUP)
            with contextlib.suppress(AssertionError):   # it may be whole and the same by chance
                wait_until(lambda n=before: scene.counter('geo_refused')
                           + scene.counter('geo_opened') > n, 2)
            scene.asker.check()
    finally:
        over.set()
        writer.join()
    with open(scene.path, 'r+b') as f:
        f.write((mmdb / 'other.mmdb').read_bytes())
        f.truncate()
    scene.until_city('Hamburg')         # once it stood still
    scene.asker.check()


def test_without_a_disk_for_our_copy(daemon, mmdb):
    """A read-only container: all there is to write to is memory. It works, and is said."""
    d = daemon({'geo.city_db': mmdb / 'city.mmdb'}, env={'TMPDIR': '/dev/shm'})
    db, = d.get('/health').json['geo']['databases']
    assert (db['state'], db['in_memory']) == ('ok', True)
    assert len(d.log_lines('held in memory for want of a disk')) == 1
    d = daemon({'geo.city_db': mmdb / 'city.mmdb'})
    db, = d.get('/health').json['geo']['databases']
    assert (db['state'], db['in_memory']) == ('ok', False), '/var/tmp and /tmp are no disks?'


def states(d):
    return {x['name']: x['state'] for x in d.get('/health').json['geo']['databases']}


def test_a_list_in_another_order_is_not_read_again(daemon, mmdb):
    """A database is known by its path: what stays is not opened again, what went is not shown."""
    asn, city = mmdb / 'asn.mmdb', mmdb / 'city.mmdb'
    d = daemon({}, file=f'[geo]\nmore_db = /nosuch.mmdb,{asn},{city}\n')
    wait_until(lambda: states(d) == {'more1': 'missing', 'more2': 'ok', 'more3': 'ok'})
    d.reload(f'[geo]\nmore_db = {city},{asn}\n')
    wait_until(lambda: states(d) == {'more1': 'ok', 'more2': 'ok'})
    assert [x['type'] for x in d.get('/health').json['geo']['databases']] == [
        'GeoLite2-City', 'GeoLite2-ASN']
    d.reload(f'[geo]\nasn_db = {asn}\n')
    wait_until(lambda: states(d) == {'asn': 'ok'})
    assert d.top()['gauges']['geo_databases'] == 1
    assert d.top()['counters']['geo_opened'] == 2 and len(d.log_lines("mmdb: 'Geo")) == 2


def test_it_is_said_while_one_is_verified(daemon, tmp_path):
    """At first there is none, later one is in use: neither looks like nothing."""
    heavy(tmp_path / 'a', 'DE')
    d = daemon({}, file='')
    assert states(d) == {}
    d.reload(f'[geo]\ncity_db = {tmp_path}/a\n')
    wait_until(lambda: states(d) == {'city': 'verifying'}, every=0)
    db, = d.get('/health').json['geo']['databases']
    assert db['type'] is None or db['state'] == 'ok'
    wait_until(lambda: states(d) == {'city': 'ok'}, 30)
    heavy(tmp_path / 'b', 'FR')
    os.rename(tmp_path / 'b', tmp_path / 'a')
    wait_until(lambda: states(d) == {'city': 'verifying'}, every=0)
    db, = d.get('/health').json['geo']['databases']
    assert db['type'] == 'Heavy' and db['error'] is None, 'the one in use'
    wait_until(lambda: states(d) == {'city': 'ok'}, 30)
    assert d.top()['counters']['geo_opened'] == 2


def test_an_old_one_is_used_and_said(daemon, mmdb):
    d = daemon({'geo.city_db': mmdb / 'old.mmdb'})
    db, = d.get('/health').json['geo']['databases']
    assert db['state'] == 'ok'
    assert len(d.log_lines(f'city database {mmdb}/old.mmdb: 45 days old')) == 1


def test_the_geo_command(daemon, mmdb):
    d = daemon({'geo.city_db': mmdb / 'city.mmdb', 'geo.asn_db': mmdb / 'asn.mmdb'})
    r = d.command('geo')
    assert r.returncode == 0 and r.stderr == ''
    assert [line.split('\t')[:3] + line.split('\t')[5:] for line in r.stdout.splitlines()] == [
        ['city', f'{mmdb}/city.mmdb', 'GeoLite2-City', '0 days'],
        ['asn', f'{mmdb}/asn.mmdb', 'GeoLite2-ASN', '0 days']]
    r = d.command('geo', '-o', f'geo.city_db={mmdb}/old.mmdb')
    assert r.returncode == 0 and r.stdout.splitlines()[0].endswith('\t45 days')
    assert r.stderr == (f'peerscope geo: city database {mmdb}/old.mmdb: 45 days old; there is '
                        'a newer one each month (warning)\n')
    r = d.command('geo', '127.1.0.1', '2002:c000:209::1', '127.4.0.1')
    assert r.returncode == 0 and r.stdout.splitlines() == [
        '127.1.0.1\tDE\tGermany\tState of Berlin\tBerlin\t52.52437,13.41053\tEurope/Berlin\t'
        'Beispiel Netz GmbH\tmmdb:city',
        '2002:c000:209::1\tDE\tGermany\tState of Berlin\tBerlin\t52.52437,13.41053\t'
        'Europe/Berlin\tThirty-two Bits\tmmdb:city',
        '127.4.0.1\t-']
    assert d.command('geo', 'berlin').returncode == 1
    r = d.command('geo', '-o', f'geo.city_db={mmdb}/none.mmdb-')
    assert r.returncode == 1 and 'holds no places' in r.stderr
    assert d.command('geo', '-o', 'geo.city_db=', '-o', 'geo.asn_db=').returncode == 1


def test_one_that_comes_later(daemon, tracker, net, tmp_path, mmdb):
    """Two of three files are not there at start: the third serves, the others come."""
    t, path = tracker(), tmp_path / 'late.mmdb'
    t.set('ab' * 20, peers=[[net.in_block(BERLIN)[:-1] + '9', 6881]])
    d = daemon({'swarm.trackers': t.udp, 'geo.city_db': path, 'cache.ttl': '200ms',
                'geo.more_db': f'{mmdb}/asn.mmdb, {tmp_path}/never.mmdb'})

    def states():
        return {x['name']: x['state'] for x in d.get('/health').json['geo']['databases']}
    assert states() == {'city': 'missing', 'more1': 'ok', 'more2': 'missing'}
    got = d.until_peers('ab' * 20, lambda g: len(g) == 1)
    peer, = got.values()
    assert (peer['country'], peer['isp'], peer['geo_source']) == (
        'Unknown', 'Beispiel Netz GmbH', 'mmdb:more1')
    shutil.copyfile(mmdb / 'city.mmdb', tmp_path / 'new')
    os.rename(tmp_path / 'new', path)
    got = d.until_peers('ab' * 20, lambda g: {p['city'] for p in g.values()} == {'Berlin'})
    peer, = got.values()
    assert (peer['isp'], peer['geo_source'], peer['accuracy_radius_km']) == (
        'Beispiel Netz GmbH', 'mmdb:city', 20)
    assert states() == {'city': 'ok', 'more1': 'ok', 'more2': 'missing'}

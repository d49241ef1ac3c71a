"""The sources of a swarm one by one: every tracker, PEX, the DHT, who calls; one address
with many peers, IPv6; ourselves never; progress before the metadata and after HAVEs."""
import signal

import libtorrent as lt
import netns
import pytest

from daemon import Daemon
from netns import World
from parts import LtPeer
from procs import wait_until


# Every tracker -------------------------------------------------------------
def test_all_tiers_are_asked_over_http_and_udp(daemon, swarm, tracker):
    """One fails, one hangs, one is not there; the others each know two, of which one is
    known to all."""
    good, s = [tracker() for _ in range(6)], swarm([{'count': 7}])
    bad, hung, gone = tracker(), tracker(), tracker()
    for i, t in enumerate(good):
        t.set(s.infohash, peers=s.endpoints([i, 6]))
    bad.set(mode='failure')
    hung.set(mode='hang')
    gone.proc.stop()
    urls = [t.udp if i % 2 else t.http for i, t in enumerate(good)]
    urls[3:3] = [bad.http, hung.http, hung.udp, gone.http, gone.udp]
    d = daemon({'swarm.trackers': ','.join(urls), 'swarm.discovery_wait': '1s'})
    want = {(p['address'], p['port']): p['name'] for p in s.peers}
    wait_until(lambda: {e: p['client'] for e, p in d.by_endpoint(s.infohash).items()} == want,
               10, 'all seven by name')
    assert all(p['sources'] == ['tracker'] for p in d.by_endpoint(s.infohash).values())
    assert [len(t.announces(s.infohash)) for t in good] == [1] * 6
    counts = d.peers(s.infohash)['counts']['trackers']
    assert counts['answered'] == 6 and counts['asked'] == 11, counts


# Behind one address, and over IPv6 -----------------------------------------
def test_peers_behind_one_address_are_as_many_as_they_are(daemon, swarm, tracker, net):
    """A household, or a VPN exit: told by ports, by the tracker and by PEX."""
    t, home = tracker(), net.take()
    s = swarm([{'count': 5, 'address': home, 'port': 7001, 'progress': 'mixed'},
               {'count': 3, 'address': home, 'port': 8001, 'behaviour': 'dead'},
               {'count': 2, 'address': home, 'port': 9001}])
    t.set(s.infohash, peers=s.endpoints(range(8)))
    s.ask('pex', peers=[0, 1], tell=s.endpoints([4, 8, 9]))
    d = daemon({'swarm.trackers': t.http, 'swarm.discovery_wait': '1s'})
    want = {(p['address'], p['port']): (p['name'] if p['state'] == 'connected' else 'Unknown',
                                        p['state']) for p in s.peers}
    wait_until(lambda: {e: (p['client'], p['state'])
                        for e, p in d.by_endpoint(s.infohash).items()} == want, 15,
               'all ten, each with its own name and state')
    got = d.by_endpoint(s.infohash)
    assert [got[home, p]['sources'] for p in (7001, 7005, 9001)] == [
        ['tracker'], ['tracker', 'pex'], ['pex']]


@pytest.mark.parametrize('how', ['http', 'udp', 'pex'])
def test_ipv6_peers_with_several_ports(daemon, swarm, tracker, net, how):
    t = tracker(address='::1', port=net.ports6(1))
    s = swarm([{'count': 3, 'address': '::1', 'port': net.ports6(4), 'progress': 'mixed'},
               {'count': 1, 'address': '::1', 'port': net.ports6(1), 'behaviour': 'dead'},
               {'count': 1, 'name': 'Teller'}])
    v6, teller = [e for e in s.endpoints() if ':' in e[0]], s.endpoints([4])
    other = tracker()
    if how == 'pex':
        s.ask('pex', peers=[4], tell=v6)
        other.set(s.infohash, peers=teller)
    else:
        t.set(s.infohash, peers6=v6)
    d = daemon({'swarm.trackers': f'{other.udp},{getattr(t, how, t.udp)}',
                'swarm.listen': f'{net.take()}:42069,[::1]:{net.ports6(1)}',
                'swarm.discovery_wait': '1s'})
    source = ['pex' if how == 'pex' else 'tracker']
    want = {(p['address'], p['port']): (p['name'] if p['state'] == 'connected' else 'Unknown',
                                        source) for p in s.peers[:4]}
    if how == 'pex':
        want[tuple(teller[0])] = 'Teller', ['tracker']
    wait_until(lambda: {e: (p['client'], p['sources'])
                        for e, p in d.by_endpoint(s.infohash).items()} == want, 15,
               'all of ::1 and nobody else')


# Who calls, and who we are ---------------------------------------------------
def test_who_only_calls_is_incoming_and_no_more(daemon, swarm):
    s = swarm([{'count': 5, 'progress': 'mixed'}])
    d = daemon({'swarm.discovery_wait': '300ms'})
    d.peers(s.infohash)
    s.ask('dial', infohash=s.infohash, to=[d.address, 42069])
    want = {(p['address'], p['port']): (p['name'], ['incoming']) for p in s.peers}
    wait_until(lambda: {e: (p['client'], p['sources'])
                        for e, p in d.by_endpoint(s.infohash).items()} == want, 10,
               'all five, under the port that they listen on')


def test_own_address_is_never_listed_whoever_tells_it(daemon, swarm, tracker, dht, net):
    """By tracker, PEX and DHT; on every address that we listen on, and under the one that
    others see."""
    t, nodes, port = tracker(), dht(2), net.ports6(1)
    s = swarm([{'count': 4, 'name': 'Teller'}])
    own = net.take()
    d = daemon({'swarm.listen': f'{own}:{port},127.0.0.1:{port},[::1]:{port}',
                'swarm.dht': 'on', 'swarm.dht_bootstrap': nodes.router,
                'swarm.trackers': t.http, 'swarm.discovery_wait': '1s'})
    ourselves = [[own, port], ['127.0.0.1', port], ['::1', port]]
    # As a tracker behind the same NAT would: with a stranger's port, that is a peer.
    neighbour = [own, 7777]
    t.set(s.infohash, peers=s.endpoints() + ourselves[:2] + [neighbour], peers6=ourselves[2:])
    nodes.announce(s.infohash, ourselves[:2] + s.endpoints([0]))
    s.ask('pex', tell=ourselves)
    wait_until(lambda: d.get('/health').json['dht_nodes'], 20, 'the DHT is there')
    want = {(p['address'], p['port']) for p in s.peers} | {tuple(neighbour)}

    def everybody_told():
        got = d.by_endpoint(s.infohash)
        first = got.get((s.peers[0]['address'], 6881))
        return first and 'dht' in first['sources'] and s.totals()['handshakes'] >= 4
    wait_until(everybody_told, 20, 'the DHT was asked, and all handshakes are done')
    assert set(d.by_endpoint(s.infohash)) == want
    answer = d.peers(s.infohash, wait='3s')
    assert {(p['ip'], p['port']) for p in answer['peers']} == want
    assert answer['total_peers'] == len(want)


# Progress --------------------------------------------------------------------
def progress(d, s, which):
    got = d.by_endpoint(s.infohash)
    return [got.get((p['address'], p['port']), {}).get('progress') for p in s.peers
            if p['index'] in which]


def in_pieces(percent, pieces):
    """What a swarm of so many pieces can say, to a tenth of a percent."""
    return pytest.approx(round(percent * pieces / 100) * 100 / pieces, abs=0.1)


def test_progress_of_peers_met_before_the_metadata(daemon, payload, swarm, tracker):
    """61 pieces in 64 bits: before the metadata nobody knows which are spare. HAVEs come
    before it and after."""
    pieces = 61
    p, t = payload([], pieces * 32768), tracker()
    early = swarm([{'count': 2, 'progress': 50}, {'count': 1, 'progress': 97,
                                                  'behaviour': 'in_order'},
                   {'count': 1, 'progress': 100}, {'count': 1, 'progress': 0}],
                  infohashes=[p.infohash], pieces=pieces)
    t.set(p.infohash, peers=early.endpoints())
    d = daemon({'swarm.trackers': t.udp, 'swarm.discovery_wait': '1s'})
    d.until_peers(p.infohash, lambda g: len(g) == 5 and all(
        x['state'] == 'connected' for x in g.values()))
    early.ask('have', peers=[1], progress=70)
    late = swarm([{'count': 1, 'progress': 100}], payload=p)
    late.ask('dial', infohash=p.infohash, to=[d.address, 42069])

    def as_they_are(want):
        return progress(d, early, range(5)) == [in_pieces(x, pieces) for x in want]
    wait_until(lambda: as_they_are([50, 70, 97, 100, 0]), 10, 'exact, with the metadata')
    early.ask('have', peers=[4], progress=30)
    wait_until(lambda: as_they_are([50, 70, 97, 100, 30]), 5, 'HAVE of one that had nothing')
    early.ask('have', peers=[2], progress=100)
    wait_until(lambda: as_they_are([50, 70, 100, 100, 30]), 5, 'the last pieces')
    got = d.by_endpoint(p.infohash)
    seeds = [x['progress'] == 100 for x in got.values()]
    assert ['S' in x['flags'] for x in got.values()] == seeds and sum(seeds) == 3
    assert early.asked_for_no_piece() and late.asked_for_no_piece()


def test_progress_follows_haves_as_they_come(daemon, swarm, tracker):
    s, t = swarm([{'count': 2, 'progress': 10}], pieces=1000), tracker()
    t.set(s.infohash, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.udp})
    wait_until(lambda: progress(d, s, [0, 1]) == [10, 10], what='as told by the bitfield')
    for percent in range(20, 101, 20):
        s.ask('have', peers=[0], progress=percent)
        wait_until(lambda x=percent: progress(d, s, [0]) == [x], 5, f'{percent} %')
    assert progress(d, s, [1]) == [10]


# Local discovery ---------------------------------------------------------------
LSD = {'239.192.152.143', 'ff15::efc0:988f'}


def said_by(watch, address):
    """Multicast groups that this address has sent to."""
    return {to for _, here, to, _ in watch if here == address} & LSD


@pytest.mark.skipif(netns.why_not() is not None, reason=netns.why_not() or '')
def test_a_neighbour_is_found_by_lsd_alone(stage, payload):
    """No tracker, no DHT, and nobody calls. Off by default: nothing is said, and what is
    heard is for others; a reload switches it on."""
    p, world, heard = payload([]), World(stage, links=('tun0',)), set()
    for n in '34':
        world.around.ip('address', 'add', f'192.0.2.{n}/24', 'dev', 'tun0-far')
    watch = world.watch('tun0')

    def hear():
        heard.update(watch.take())
        return heard
    with world.house:
        d = Daemon(stage, {'swarm.listen': '0.0.0.0:42069', 'http.workers': 1}, wait=False,
                   file='[swarm]\n')
        d.wait_serving()
        assert d.peers(p.infohash, wait='1s')['peers'] == []
    with world.around:
        LtPeer(stage, p, address='192.0.2.3', name='First', options=['--lsd'])
    wait_until(lambda: said_by(hear(), '192.0.2.3'), 15, 'the first one announces itself')
    with world.house:
        assert d.peers(p.infohash, wait='1s')['peers'] == []
        with open(d.file, 'w', encoding='utf-8') as f:
            f.write('[swarm]\nlsd = on\n')
        assert said_by(hear(), '192.0.2.1') == set()
        d.kill(signal.SIGHUP)
        wait_until(lambda: d.log_lines('reload done'), what='reload')
    with world.around:
        second = LtPeer(stage, p, address='192.0.2.4', name='Second', options=['--lsd'])

    def found():
        with world.house:
            got = d.by_endpoint(p.infohash)
        assert all(x['sources'] == ['lsd'] for x in got.values()), got
        return got.get((second.address, second.port), {}).get('client') == 'Second'
    wait_until(found, 20, 'he is listed by name')
    with world.house:
        d.peers('ad' * 20)
    wait_until(lambda: said_by(hear(), '192.0.2.1'), 15, 'and we announce ourselves')


@pytest.mark.skipif(netns.why_not() is not None, reason=netns.why_not() or '')
def test_nothing_is_said_to_the_neighbours(stage):
    """BEP 14, UPnP and NAT-PMP: no packet. A stock libtorrent shows that we would see it."""
    world = World(stage, links=('tun0',))
    with world.house:
        watch = world.watch('tun0')
        d = Daemon(stage, {'swarm.listen': '0.0.0.0:42069', 'http.workers': 1,
                           'swarm.discovery_wait': '1s'}, wait=False)
        d.wait_serving()
        d.peers('ab' * 20)
        wait_until(lambda: d.peers('ab' * 20)['phase'] == 'settled', what='it is settled')
        said = watch.take()
        stock = lt.session({'listen_interfaces': '0.0.0.0:42070', 'enable_dht': False,
                            'enable_lsd': True, 'enable_upnp': True, 'enable_natpmp': True})
        params = lt.parse_magnet_uri('magnet:?xt=urn:btih:' + 'ac' * 20)
        params.save_path = stage.dir
        stock.add_torrent(params)
        heard = set()

        def multicast():
            heard.update(watch.take())
            return LSD & {to for _, _, to, _ in heard}
        wait_until(multicast, 15, 'a stock libtorrent is heard')
        del stock
    assert said == set()

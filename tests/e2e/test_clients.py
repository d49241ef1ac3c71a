"""Real clients and Debian's opentracker on 127/8: all listed, by name and progress."""
import pytest

from procs import wait_until

LEECH = 0.5         # the part that a leech starts with; its rate is held near nothing


def close_to(progress, fraction):
    return abs(progress - fraction * 100) <= 8


@pytest.mark.parametrize('scheme', ['http', 'udp'])
def test_all_real_clients_are_listed(stage, daemon, payload, opentracker, transmission, aria2,
                                     qbittorrent, rtorrent, swarm, scheme):
    p = payload([])
    ot = opentracker([p.infohash])
    with open(p.path, 'wb') as f:
        f.write(p.torrent.file([ot.http]))
    clients = [transmission(p), aria2(p, LEECH), qbittorrent(p, LEECH), rtorrent(p)]
    s = swarm([{'count': 3}], trackers=[ot.udp], infohashes=[p.infohash],
              pieces=p.torrent.pieces)
    wait_until(lambda: sum(ot.peers(p.infohash)) >= len(clients) + 3, 30,
               'opentracker knows all clients')
    d = daemon({'swarm.trackers': getattr(ot, scheme)})

    named = {(c.address, c.port, c.shown, 'connected') for c in clients} \
        | {(x['address'], x['port'], x['name'], 'connected') for x in s.peers}

    def all_there(got):
        for c in clients:
            c.proc.must_live()
        return named <= {(a, x['port'], x['client'], x['state']) for a, x in got.items()} \
            and all(close_to(got[c.address]['progress'], c.fraction) for c in clients)
    d.until_peers(p.infohash, all_there, 20, 'all clients by name and progress')


def test_utp_only_and_encrypted_only_peers_that_call_are_listed(daemon, payload, tracker,
                                                                ltpeer):
    t = tracker(register=True)
    p = payload([t.http])
    d = daemon({'swarm.trackers': t.udp, 'swarm.discovery_wait': '300ms'})
    d.peers(p.infohash)
    wait_until(lambda: t.announces(p.infohash), what='the daemon is known to the tracker')
    # They hear of the daemon from the tracker and call it.
    kinds = {'E': ltpeer(p, LEECH, name='Encrypted alone', options=['--encrypted-only']),
             'U': ltpeer(p, LEECH, name='uTP alone', options=['--utp-only'])}
    got = d.until_peers(p.infohash, lambda got: all(
        got.get(x.address, {}).get('client') == x.shown for x in kinds.values()), 40,
        'both by name')
    for flag, x in kinds.items():
        assert 'incoming' in got[x.address]['sources'] and flag in got[x.address]['flags']


def test_the_dht_alone_finds_a_swarm(daemon, payload, ltpeer, stage):
    p = payload([])
    first = ltpeer(p, name='DHT node', options=['--dht'])
    second = ltpeer(p, LEECH, name='DHT peer', options=[
        '--dht', '--dht-node', f'{first.address}:{first.port}'])
    d = daemon({'swarm.dht': 'on', 'swarm.discovery_wait': '1s',
                'swarm.dht_bootstrap': f'{first.address}:{first.port}'})
    got = d.until_peers(p.infohash, lambda got: second.address in got, 60,
                        'the DHT tells of the second peer')
    assert 'dht' in got[second.address]['sources']

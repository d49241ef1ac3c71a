"""Metadata in make bench: from one peer, cold, beside stock libtorrent; warm; of 50,000 files;
for a thousand askers at once. Loopback only."""
import http.client
import json
import resource
import selectors
import socket
import statistics
import tempfile
import time

import libtorrent as lt
import parts
import wire
from daemon import Daemon
from metacache import API, asking, link
from procs import wait_until

ASKERS, FILES = 1000, 50000


def asked(daemon, magnet):
    """Milliseconds; the answer is the one that was meant."""
    began = time.monotonic()
    a = daemon.request('POST', API, {'Content-Type': 'application/json'}, asking(magnet))
    took = (time.monotonic() - began) * 1000
    if a.status != 200 or not a.json['files']:
        raise SystemExit(f'metadata: {a}')
    return took


def stock(stage, magnets):
    """A libtorrent session as it comes, but for what would leave this machine: milliseconds
    from the link to its metadata, each."""
    session = lt.session({
        'listen_interfaces': f'{stage.net.take()}:6881', 'enable_dht': False,
        'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False,
        'alert_mask': lt.alert.category_t.status_notification})
    out = []
    with tempfile.TemporaryDirectory() as where:
        for magnet in magnets:
            params = lt.parse_magnet_uri(magnet)
            params.save_path = where
            began = time.monotonic()
            handle = session.add_torrent(params)
            wait_until(lambda h=handle: h.status().has_metadata, 30, 'stock has it', every=0.005)
            out.append((time.monotonic() - began) * 1000)
            session.remove_torrent(handle)
    return out


def cold(stage, table, daemon, rounds):
    """The peer by a tracker of the link, then by the link itself."""
    swarm = parts.Swarm(stage, [{'count': 1}], torrents=4 * rounds)
    tracker, peers = parts.Tracker(stage), swarm.endpoints()
    for infohash in swarm.infohashes:
        tracker.set(infohash, peers=peers)
    told = [link(h, (), tracker.udp) for h in swarm.infohashes[:2 * rounds]]
    named = [link(h, peers) for h in swarm.infohashes[2 * rounds:]]
    for what, magnets in ('that a tracker lists', told), ('that the link names', named):
        ours = [asked(daemon, m) for m in magnets[:rounds]]
        theirs = stock(stage, magnets[rounds:])
        table.add(f'metadata: cold, of one peer {what}, median of {rounds}',
                  f'{statistics.median(ours):.0f} ms', 'under 300 ms')
        table.add('  each', ' '.join(f'{t:.0f}' for t in ours) + ' ms')
        table.add('  stock libtorrent, each', ' '.join(f'{t:.0f}' for t in theirs) + ' ms')
    return told[0]


def warm(table, daemon, magnet, questions):
    conn = http.client.HTTPConnection(daemon.host, daemon.port)
    times, body = [], asking(magnet)
    for _ in range(questions):
        began = time.monotonic()
        conn.request('POST', API, body)
        answer = conn.getresponse()
        answer.read()
        times.append((time.monotonic() - began) * 1000)
        if answer.status != 200:
            raise SystemExit(f'warm metadata: {answer.status}')
    conn.close()
    times.sort()
    table.add(f'metadata: warm, median of {questions}', f'{statistics.median(times):.2f} ms',
              'under 1 ms')
    table.add('  of a hundred the slowest', f'{times[int(questions * 0.99)]:.2f} ms')


def peak_kb(pid):
    with open(f'/proc/{pid}/status', encoding='ascii') as f:
        return next(int(line.split()[1]) for line in f if line.startswith('VmHWM'))


def many_files(table, daemon, questions):
    """What the worker's memory grows by at most while the answer is given again and again."""
    info = {b'name': b'many', b'piece length': 1 << 20, b'pieces': b'x' * 20,
            b'files': [{b'length': 1, b'path': [b'%02d' % (i % 100), b'file %d.bin' % i]}
                       for i in range(FILES)]}
    a = daemon.request('POST', API, {'Content-Type': 'application/x-bittorrent'},
                       wire.benc({'info': info}), timeout=120)
    if a.status != 200 or len(a.json['files']) != FILES:
        raise SystemExit(f'{FILES} files: {a.status}')
    infohash = a.json['info_hash']
    worker = daemon.roles()['worker'][0]
    with open(f'/proc/{worker}/clear_refs', 'w', encoding='ascii') as f:
        f.write('5')            # the peak was that of the upload
    before = peak_kb(worker)
    for _ in range(questions):
        if len(daemon.request('POST', API, {}, asking(infohash), timeout=60).body) < 1 << 20:
            raise SystemExit('many files: cut')
    batch = daemon.request('POST', API + '/batch', {}, json.dumps([infohash] * 20), timeout=120)
    table.add(f'metadata: {FILES} files, {len(a.body) / 1e6:.1f} MB, {questions} times and 20 in '
              'one batch', f'{len(batch.body) / 1e6:.0f} MB', '')
    table.add("  the worker's peak grows by", f'{peak_kb(worker) - before} kB', 'under 3000 kB')


def crowd(stage, table, daemon):
    """All connections stand before the first question is sent; the peer takes its time."""
    swarm = parts.Swarm(stage, [{'count': 1}], delay_ms=300)
    tracker = parts.Tracker(stage)
    tracker.set(swarm.infohash, peers=swarm.endpoints())
    body = asking(link(swarm.infohash, (), tracker.udp)).encode()
    raw = (f'POST {API} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n'
           f'Content-Length: {len(body)}\r\n\r\n').encode() + body
    flights = daemon.top()['counters']['meta_flights']
    selector, got = selectors.DefaultSelector(), {}
    for _ in range(ASKERS):
        s = socket.create_connection((daemon.host, daemon.port))
        selector.register(s, selectors.EVENT_READ)
        got[s] = b''
    began = time.monotonic()
    for s in got:
        s.sendall(raw)
    while selector.get_map():
        for key, _ in selector.select(60):
            data = key.fileobj.recv(1 << 16)
            got[key.fileobj] += data
            if not data:
                selector.unregister(key.fileobj)
                key.fileobj.close()
    took = (time.monotonic() - began) * 1000
    right = sum(a.startswith(b'HTTP/1.1 200 ') and swarm.infohash.encode() in a
                for a in got.values())
    table.add(f'metadata: {ASKERS} askers of one cold hash, peer at 300 ms: right answers',
              str(right), str(ASKERS))
    table.add('  fetches', str(daemon.top()['counters']['meta_flights'] - flights), '1')
    table.add('  until the last one has it', f'{took:.0f} ms')


def rows(stage, table, rounds):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * ASKERS)), hard))
    daemon = Daemon(stage, {'http.workers': 1, 'metadata.cache_dir': stage.fresh_dir('metadata'),
                            'http.max_parked': 2 * ASKERS})
    magnet = cold(stage, table, daemon, rounds)
    warm(table, daemon, magnet, 1000)
    many_files(table, daemon, 20)
    crowd(stage, table, daemon)
    daemon.finish()

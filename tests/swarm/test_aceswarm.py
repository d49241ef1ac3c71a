"""The scripted AceStream swarm against a small reader, and against the worked bytes of the
project's contract of that wire (section 7.2): a test of the tests, without Peerscope."""
import hashlib
import os
import socket
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), 'lib'))

import acewire  # noqa: E402
import parts  # noqa: E402
import wire  # noqa: E402
from fixtures import net, stage  # noqa: E402,F401
from procs import HANG_S, slow, wait_until  # noqa: E402

KEY = bytes(range(0xa0, 0xb4))
MINE = b'R30------readingTest'
HELLO = acewire.handshake(KEY, MINE)
LISTEN_S = 0.4         # nothing for so long: nothing more comes


@pytest.fixture
def ace(stage):
    return lambda spec, **kw: parts.AceSwarm(stage, spec, keys=[KEY.hex()], **kw)


def frames_of(raw):
    """[(id, payload), ...] and what is left."""
    out = []
    while len(raw) >= 4 and len(raw) >= 4 + struct.unpack('>I', raw[:4])[0]:
        n = struct.unpack('>I', raw[:4])[0]
        if n:
            out.append((raw[4], raw[5:4 + n]))
        raw = raw[4 + n:]
    return out, raw


class Reading:
    """One call: says `hello`, reads until nothing more comes, or the other side ends."""

    def __init__(self, peer, hello=HELLO, enough=lambda raw: False):
        self.raw, self.ended, self.began = b'', None, time.monotonic()
        try:
            self._call((peer['address'], peer['port']), hello, enough)
        except ConnectionRefusedError:
            raise                       # nobody was there; the others ended it
        except ConnectionError:
            self.ended = 'reset'
        except TimeoutError:
            self.ended = 'quiet'
        self.reply, body = self.raw[:66], self.raw[66:]
        self.frames, self.left = frames_of(body)
        self.kinds = [kind for kind, _ in self.frames]

    def _call(self, to, hello, enough):
        with socket.create_connection(to, HANG_S, ('127.0.0.1', 0)) as s:
            for part in hello if isinstance(hello, list) else [hello]:
                s.sendall(part)
            s.settimeout(LISTEN_S * slow())
            while not enough(self.raw):
                more = s.recv(65536)
                if not more:
                    self.ended = 'fin'
                    return
                self.raw += more
                self.took = time.monotonic() - self.began

    def payload(self, kind):
        return next(p for k, p in self.frames if k == kind)

    @property
    def raw_dict(self):
        payload = self.payload(20)
        assert payload[0] == 0
        return payload[1:]

    @property
    def dict(self):
        return {k.decode(): v for k, v in wire.bdec(self.raw_dict).items()}

    @property
    def mi(self):
        return {k.decode(): v for k, v in self.dict['mi'].items()}

    def signed(self):
        return acewire.verified(self.raw_dict, self.dict['node_id'], self.dict['signature'])


def readings(peers, **kw):
    """Of many at once."""
    with ThreadPoolExecutor(len(peers)) as pool:
        return list(pool.map(lambda p: Reading(p, **kw), peers))


# The worked example -------------------------------------------------------------
TOLD = [{'address': '192.0.2.10', 'port': 8621, 'reachable': 1, 'min': 5000, 'max': 5063,
         'peer_id': 'R30------AAAAAAAAAAA', 'position': 5060, 'platform': 3,
         'version': 3021900, 'asn': None, 'country': 'ZZ'},
        {'address': '198.51.100.7', 'port': 8622, 'reachable': 0, 'min': 4990, 'max': 5063,
         'peer_id': 'R30------BBBBBBBBBBB', 'platform': 2, 'version': 3021100, 'asn': 64500,
         'country': 'ZZ'}]
WORKED = {'node_seed': '2a' * 32, 'peer_id': 'R30------TestPeer.01', 'tell': TOLD,
          'source': ['203.0.113.9', 7764],
          'sends': ['bitfield', 'have', 'trailing', 'refresh', 'gossip', 'source']}
DICT = (b'd20:ace_metadata_versioni1e3:asni64500e11:asn_country2:ZZ13:geoip_country2:ZZ3:lspi5'
        b'063e1:md11:ut_metadatai2ee2:mid20:distance_from_sourcei1e9:down_ratei412000e19:downl'
        b'oad_window_endi5063e13:is_accessiblei1e16:live_window_sizei100e3:lspi5063e3:mami-1e9'
        b':max_piecei5063e9:min_piecei5000e9:peer_typei0e16:ping_from_sourcei40e8:positioni506'
        b'0e16:time_from_sourcei1500e19:top_session_up_ratei90000e11:top_up_ratei120000e7:up_r'
        b'atei30000e13:upload_ratingi2ee7:node_id32:N2:nti1e1:pi8621e8:platformi2e2:pvi2e9:sig'
        b'nature64:G15:stream_statusesde2:tsi1000e2:tt2:bt1:vi3021100e6:yourip4:Ye')
NODE = '197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61'
DIGEST = 'b239629f327c30f5d7a98774dfa7a67482b061448b11c8cd3a4a371e4e506f5c'
SIGNATURE = ('0d07557c633883f65f4e34d3465061810219d0398cd3e577bc52103c6e7591ada7be8af098d4f23064'
             'fabab46837a87a50f92ddabc6be388467cdeebed51e30c')
REFRESH = (b'd1:ai1e1:bi0e1:ci0e1:di0e1:ei0e1:fi0e1:gi5065e1:hi100e1:ii5001e1:ji5064e1:ki1e1:li0e1'
           b':mi-1e1:ni0e1:oi0e1:pi0e1:qi1e1:ri5064e1:si5064e1:ti-1ee')
RECORDS = ('01 0000000000000000 0000 c000020a 21ad 01 000003e8 00 0000000000001388 000000000000'
           '13c7 5233302d2d2d2d2d2d4141414141414141414141 00000000 00000000 ffffffff 0000000000'
           '0013c7 00000000000013c4 00000000000013c7 03 002e1c4c ffffffff 5a5a 2d2d'
           '00 0000000000000000 0000 c6336407 21ae 01 000003e8 00 000000000000137e 000000000000'
           '13c7 5233302d2d2d2d2d2d4242424242424242424242 00000000 00000000 ffffffff 0000000000'
           '0013c7 ffffffffffffffff 00000000000013c7 02 002e192c 0000fbf4 5a5a 5a5a')


def test_the_worked_bytes_of_the_contract(ace):
    s = ace([WORKED])
    r = Reading(s.peers[0])
    assert r.reply.hex() == (
        '114163655374726561' + '6d50726f746f636f6c' + '0000000000000000'
        + 'a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3'
        + '5233302d2d2d2d2d2d54657374506565722e3031')
    zeroed = DICT.replace(b'32:N', b'32:' + bytes.fromhex(NODE)).replace(
        b'64:G', b'64:' + bytes(64)).replace(b'4:Y', b'4:' + socket.inet_aton('127.0.0.1'))
    assert hashlib.sha256(zeroed).hexdigest() == DIGEST
    assert r.raw_dict == zeroed.replace(bytes(64), bytes.fromhex(SIGNATURE))
    frame = struct.pack('>I', len(r.payload(20)) + 1) + b'\x14' + r.payload(20)
    assert (len(frame), frame[:6].hex()) == (679, '000002a31400')
    assert hashlib.sha1(frame).hexdigest() == '04cd5ab12965631b2edbe7d59a56e737f03562d7'
    gossip = bytes.fromhex('000000e9 0c 05 0002 00000011 0000006c deadbeef00' + RECORDS)
    assert hashlib.sha1(gossip).hexdigest() == '902bf635dd4d80f7a10be9b3b15d95169645dd21'
    assert r.raw[66 + 679:].hex() == ''.join(
        ['00000015', '05', '00000000', '00001388', '00000040', 'ff' * 8,
         '00000009', '04', '00000000', '000013c8', '00000009', '0a', '00000000', '00001389',
         '0000008e', '0b', REFRESH.hex(), gossip.hex(),
         '00000051', '24', '0002', '0034', '003f', '0040', 'cb007109', '1e54',
         '5233302d2d2d2d2d2d536f757263654e6f646530', '00' * 46])
    assert r.signed() and r.ended == 'quiet' and not r.left
    assert s.peers[0]['client'] == 'Ace Stream 3.2.11 (Linux)'
    assert s.peers[0]['progress'] == 100 and s.peers[0]['node_id'] == NODE


# What it writes down ----------------------------------------------------------------
def test_every_byte_is_counted_and_every_caller_named(ace):
    s = ace([{'count': 3}])
    began = time.monotonic()
    Reading(s.peers[0])
    Reading(s.peers[0], [HELLO, wire.msg(2)])                       # interested
    Reading(s.peers[1], acewire.handshake(bytes(20), MINE))         # another key
    Reading(s.peers[1], wire.handshake(KEY, b'-XX0000-123456789012'))
    Reading(s.peers[2], b'\x9a' * 80)
    wait_until(lambda: s.totals()['open'] == 0, what='all are closed')
    log = s.log()
    assert [(r['peer'], r['kind'], r['bytes_in'], r['extra']) for r in log] == [
        (0, 'acestream', 66, 0), (0, 'acestream', 71, 5), (1, 'acestream', 66, 0),
        (1, 'bittorrent', 68, 0), (2, 'other', 80, 14)]
    assert log[0]['key'] == KEY.hex() and log[0]['peer_id'] == MINE.decode()
    assert log[0]['seen'] == HELLO.hex() and log[0]['reads'] == [66]
    assert log[1]['seen'] == (HELLO + wire.msg(2)).hex()
    assert log[2]['key'] == '00' * 20 and log[2]['bytes_out'] == 0
    assert [r['ended'] for r in log] == ['fin', 'fin', 'us', 'us', 'us']
    assert all(r['from'][0] == '127.0.0.1' and began <= r['at'] <= time.monotonic()
               for r in log)
    assert log[0]['lasted_s'] >= LISTEN_S
    assert [r['peer'] for r in s.impolite()] == [0, 2]
    stats = s.ask('stats')
    assert [p['connections'] for p in stats] == [2, 2, 1]
    assert [p['bytes_in'] for p in stats] == [137, 134, 80]
    totals = s.totals()
    assert (totals['handshakes'], totals['unknown_key'], totals['bittorrent'],
            totals['other'], totals['extra']) == (2, 1, 1, 1, 19)
    assert [r['peer'] for r in s.log([1])] == [1, 1]
    s.ask('forget')
    assert s.log() == [] and s.totals()['bytes_in'] == 0


@pytest.mark.parametrize('parts_of', [[HELLO[:46], HELLO[46:]], [HELLO[:46]],
                                      [HELLO[i:i + 1] for i in range(66)]])
def test_the_key_is_enough_for_an_answer(ace, parts_of):
    r = Reading(ace([{}]).peers[0], parts_of)
    assert r.reply[26:46] == KEY and r.kinds == [20, 5] and r.signed()


def test_the_strict_one_sees_one_byte_too_many(ace):
    s = ace([{'count': 4, 'behaviour': 'strict'}])
    assert Reading(s.peers[0]).kinds == [20, 5]
    assert Reading(s.peers[1], [HELLO, b'\0']).ended != 'quiet'
    Reading(s.peers[2], HELLO + bytes(4))
    assert Reading(s.peers[3], [HELLO[:46], HELLO[46:]]).ended == 'quiet'
    assert [p['strict_failed'] for p in s.ask('stats')] == [0, 1, 1, 0]


def test_answers_take_their_time(ace):
    s = ace([{'delay_ms': 250}, {'after_ms': 200}])
    slow = Reading(s.peers[0], enough=lambda raw: len(raw) > 700)
    assert slow.took >= 0.25
    later = Reading(s.peers[1])
    assert later.took >= 0.2 and later.kinds == [20, 5]


# Each variant -------------------------------------------------------------------------
def test_a_to_c_and_e(ace):
    s = ace([{'behaviour': b, 'tell': TOLD} for b in
             ('trickle', 'gossip_first', 'fin', 'mute', 'silent', 'close', 'reset', 'half_reply',
              'drip')])
    trickle, first, fin, mute, silent, close, reset, half, drip = \
        readings(s.peers)
    assert trickle.kinds == [20, 5, 12] and trickle.signed() and trickle.took > 0.6
    assert first.kinds == [12, 20, 5]
    assert (len(fin.raw), fin.ended) == (66, 'fin')
    assert (len(mute.raw), mute.ended) == (66, 'quiet')
    assert (len(silent.raw), silent.ended) == (0, 'quiet')
    assert close.raw == reset.raw == b'' and 'quiet' not in (close.ended, reset.ended)
    assert (len(half.raw), half.ended) == (40, 'fin')
    assert len(drip.raw) == 66 and drip.frames == []
    assert s.log([4])[0]['bytes_in'] == 66


def test_d_other_keys(ace):
    s = ace([{}, {'behaviour': 'unknown_key'}, {'behaviour': 'wrong_key'}])
    none = [Reading(s.peers[0], acewire.handshake(bytes(20), MINE)), Reading(s.peers[1])]
    assert [(r.raw, r.ended) for r in none] == [(b'', 'fin')] * 2
    assert Reading(s.peers[2]).reply[26:46] == bytes(b ^ 0xff for b in KEY)


def test_each_peer_knows_its_keys(stage):
    s = parts.AceSwarm(stage, [{}, {'keys': [0]}, {'keys': [1]}], names=2)
    answered = [[len(Reading(p, acewire.handshake(bytes.fromhex(k), MINE)).reply) == 66
                 for k in s.keys] for p in s.peers]
    assert answered == [[True, True], [True, False], [False, True]]
    assert [r['key'] for r in s.log([2])] == s.keys


def test_f_and_g_frames_that_no_reader_may_take(ace):
    s = ace([{'behaviour': 'huge_length'}, {'behaviour': 'garbage'}]
            + [{'behaviour': 'bencode_' + k} for k in acewire.SPELLINGS])
    huge, garbage, *spelled = readings(s.peers)
    assert huge.raw[66:70] == b'\xff' * 4 and len(huge.raw) > 4096
    assert len(garbage.raw) == 4096 and garbage.reply != HELLO[:66]
    raws = {name: r.raw_dict for name, r in zip(acewire.SPELLINGS, spelled)}
    for name, raw in raws.items():
        at = raw.index(b'9:signature64:') + 14
        node = bytes.fromhex(s.peers[2 + list(raws).index(name)]['node_id'])
        assert acewire.verified(raw, node, raw[at:at + 64]), f'{name} is signed as it is'
    assert {name for name, raw in raws.items() if canonical(raw)} == {
        'huge_int', 'list'}       # wrong in another way than spelling
    assert b'l' * 20000 in raws['nested'] and b'i99999999999999999999' in raws['huge_int']


def canonical(raw):
    try:
        return wire.benc(wire.bdec(raw)) == raw
    except (ValueError, RecursionError):
        return False


def test_h_a_flipped_bit(ace):
    s = ace([{}, {'behaviour': 'bad_signature'}])
    good, bad = readings(s.peers)
    assert good.signed() and not bad.signed()
    assert bad.dict['v'] == 3021100 and bad.kinds == [20, 5]


def test_i_idle_source_and_vod(ace):
    s = ace([{'role': 'idle'}, {'role': 'source'}, {'role': 'vod', 'progress': 25},
             {'fill': 50}, {'sends': []}])
    idle, source, vod, half, told = readings(s.peers)
    assert {v for k, v in idle.mi.items() if 'piece' in k or k in ('position', 'lsp')} == {-1}
    assert idle.mi['live_window_size'] == 774 and idle.dict['lsp'] == -1
    assert idle.kinds == [20]
    assert len({source.mi[k] for k in ('position', 'max_piece', 'lsp',
                                       'download_window_end')}) == 1
    assert source.dict['node_state'] == 1 and source.mi['distance_from_source'] == -1
    assert source.mi['down_rate'] == source.mi['up_rate'] == 0
    assert vod.payload(5) == wire.bitfield(range(25), 100) and vod.mi['max_piece'] == -1
    assert half.payload(5)[12:] == b'\xff' * 4 + bytes(4)
    assert [p['progress'] for p in s.peers] == [None, 100, 25, 50, 64]
    assert told.kinds == [20]


def test_j_a_count_that_lies(ace):
    r = Reading(ace([{'behaviour': 'gossip_lies'}]).peers[0])
    assert r.kinds == [20, 12, 5]
    assert r.payload(12)[1:3] == b'\x01\xf4' and len(r.payload(12)) == 16 + 108


def test_k_the_other_protocol(ace):
    s = ace([{'behaviour': b} for b in ('bittorrent_reply', 'bittorrent', 'both', 'normal')])
    theirs = wire.handshake(KEY, b'-XX0000-123456789012')
    reply, only, both, ace_only = readings(s.peers)
    assert reply.raw[:20] == wire.PSTR and len(reply.raw) == 68
    assert (only.raw, only.ended) == (b'', 'fin')
    assert both.signed() and ace_only.signed()
    other = readings(s.peers, hello=theirs)
    assert [r.raw[:20] == wire.PSTR for r in other] == [False, True, True, False]
    assert b'Scripted both #2' in other[2].raw
    assert s.totals()['bittorrent'] == 4 and s.totals()['extra'] == 0


def test_m_a_head_that_moves_and_one_that_does_not(ace):
    s = ace([{'step': 40}, {}, {'rate': 50.0}])
    first, second = ([r.mi['max_piece'] for r in readings(s.peers)] for _ in range(2))
    assert first[:2] == [5063, 5063] and second[:2] == [5103, 5063]
    moved = Reading(s.peers[2])
    assert moved.mi['max_piece'] >= 5063 + 50 * 2 * LISTEN_S
    assert moved.mi['max_piece'] - moved.mi['min_piece'] == 63
    assert moved.mi['max_piece'] - moved.mi['position'] == 3
    s.set([2], rate=0)
    still = [Reading(s.peers[2]).mi['max_piece'] for _ in range(2)]
    assert still[0] == still[1] >= moved.mi['max_piece']
    assert s.now()[2]['max'] == still[0]
    s.set([0, 1], max=9000, lag=10)
    assert [r.mi['position'] for r in readings(s.peers[:2])] == [9030, 8990]


def test_n_a_peer_that_dials(ace):
    s = ace([{'count': 2}])
    with socket.create_server(('127.0.0.1', 0)) as here:
        here.settimeout(HANG_S)
        s.ask('dial', peers=[1], to=list(here.getsockname()))
        c, their = here.accept()
        with c:
            assert their[0] == s.peers[1]['address']
            c.settimeout(LISTEN_S * slow())
            first = c.recv(4096)
            assert first == HELLO[:46]
            with pytest.raises(TimeoutError):
                c.recv(1)
            c.sendall(HELLO)
            rest = b''
            while len(rest) < 20 + 679:
                rest += c.recv(4096)
    assert rest[:20].decode() == s.peers[1]['peer_id'] and rest[24:26] == b'\x14\0'
    wait_until(lambda: s.totals()['open'] == 0, what='it saw the end')
    r = s.log()[0]
    assert (r['dialled'], r['kind'], r['bytes_in'], r['extra']) == (True, 'acestream', 66, 0)


def test_o_a_piece_and_a_flood(ace):
    s = ace([{'behaviour': 'content'}, {'behaviour': 'flood'}])
    r = Reading(s.peers[0])
    assert r.kinds == [20, 7] and len(r.payload(7)) == 10 + 16384
    assert len(Reading(s.peers[1], enough=lambda raw: len(raw) > 1 << 18).raw) > 1 << 18


# Many ------------------------------------------------------------------------------------
def test_identities_gossip_and_what_a_list_means(ace):
    s = ace([{'count': 2, 'node': 'one'}, {'count': 4, 'version': [3021100, 3021900], 'gossip': 3,
                                          'platform': [2, 3], 'country': None, 'asn': None}])
    all_ = readings(s.peers)
    assert all(r.signed() for r in all_)
    nodes = [r.dict['node_id'] for r in all_]
    assert nodes[0] == nodes[1] and len(set(nodes)) == 5
    assert [n.hex() for n in nodes] == [p['node_id'] for p in s.peers]
    assert len({r.reply[46:] for r in all_}) == 6
    assert [(r.dict['v'], r.dict['platform']) for r in all_[2:]] == [
        (3021100, 2), (3021900, 3)] * 2
    assert 'asn' not in all_[2].dict and 'geoip_country' not in all_[2].dict
    told = all_[2].payload(12)
    assert told[1:3] == b'\0\x03'
    where = [told[16 + 108 * i + 11:][:6] for i in range(3)]
    assert [wire.uncompact(w)[0] for w in where] == s.endpoints([3, 4, 5])
    assert 'Ace Stream 3.2.19' in {p['client'] for p in s.peers}


@pytest.mark.parametrize('bad', [
    {'tell': 10}, {'tell': ['127.1.1.1:1']}, {'tell': [{'address': '127.1.1.1'}]},
    {'tell': [{'address': '127.1.1.1', 'port': 1, 'min': 'x'}]}, {'gossip': '3'},
    {'gossip': -1}, {'source': '127.1.1.1:1'}, {'source': ['::1', 1]}])
def test_whom_it_can_not_tell_of_is_refused(ace, bad):
    s = ace([{'count': 2}])
    with pytest.raises(RuntimeError, match='ValueError'):
        s.ask('set', **bad)
    s.ask('set', tell=[['127.1.1.1', 1], {'address': '127.1.1.2', 'port': 2}], gossip=1,
          source=['127.1.1.3', 3])
    assert readings(s.peers)[0].payload(12)[1:3] == b'\0\x03'


def test_nobody_there_and_those_who_come_and_go(ace):
    s = ace([{'behaviour': 'dead'}, {'behaviour': 'full'}, {}, {'absent': True}])
    with pytest.raises(ConnectionRefusedError):
        Reading(s.peers[0])
    with socket.socket() as c:
        c.settimeout(LISTEN_S * slow())
        with pytest.raises(TimeoutError):
            c.connect((s.peers[1]['address'], 8621))
    s.ask('leave', peers=[2])
    s.ask('join', peers=[3])
    with pytest.raises(ConnectionRefusedError):
        Reading(s.peers[2])
    assert Reading(s.peers[3]).signed()
    s.set([0, 1, 3], behaviour='normal')
    s.set([3], behaviour='dead')
    assert Reading(s.peers[0]).signed() and Reading(s.peers[1]).signed()
    with pytest.raises(ConnectionRefusedError):
        Reading(s.peers[3])
    with pytest.raises(RuntimeError, match='no such behaviour'):
        s.set([0], behaviour='nice')


def test_200_peers_are_read_in_a_moment(ace):
    """So that what is measured against them is the asker."""
    s = ace([{'count': 200, 'lag': [0, 3, 9]}], delay_ms=100)
    began, socks = time.monotonic(), []
    for p in s.peers:
        c = socket.create_connection((p['address'], p['port']), HANG_S * slow())
        c.sendall(HELLO)
        socks.append(c)
    named = 0
    for c in socks:
        with c:
            c.settimeout(HANG_S * slow())
            raw = b''
            while 20 not in [k for k, _ in frames_of(raw[66:])[0]]:
                raw += c.recv(65536)
            named += 1
    took = time.monotonic() - began
    assert named == 200 and 0.1 <= took < 3 * slow(), took
    assert s.totals()['handshakes'] == 200 and s.impolite() == []

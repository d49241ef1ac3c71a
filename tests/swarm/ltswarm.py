#!/usr/bin/python3
"""Many real libtorrent sessions in one process, each on an address of its own in 127/8:
peers that are uTP only, encrypted only or both, and nodes of a DHT. What the scripted
peers of swarm.py don't speak; about 1 MB each. See tests/swarm/README.md.
"""
import argparse
import ipaddress
import json
import os
import sys

import libtorrent as lt

import wire
from loop import Control, Loop, exit_on_signals, say_ready, want_fds
from endpoint import goes_nowhere

GROUP_KEYS = {'count', 'name', 'address', 'port', 'transport', 'encryption', 'progress',
              'metadata', 'torrent', 'dht', 'calls', 'pex'}
TRANSPORTS = {'tcp': (True, False), 'utp': (False, True), 'both': (True, True)}
ENCRYPTION = {'plain': lt.enc_policy.disabled, 'any': lt.enc_policy.enabled,
              'forced': lt.enc_policy.forced}


def settings(member):
    group = member.group
    tcp, utp = TRANSPORTS[group.get('transport', 'tcp')]
    policy = ENCRYPTION[group.get('encryption', 'any')]
    calls = group.get('calls', False)
    return {
        'listen_interfaces': member.listen, 'user_agent': member.name,
        'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False,
        'enable_incoming_tcp': tcp, 'enable_incoming_utp': utp,
        'enable_outgoing_tcp': tcp and calls, 'enable_outgoing_utp': utp and calls,
        'in_enc_policy': policy, 'out_enc_policy': policy,
        'allowed_enc_level': lt.enc_level.rc4 if group.get('encryption') == 'forced'
        else lt.enc_level.both,
        'allow_multiple_connections_per_ip': True, 'ssrf_mitigation': False,
        'close_redundant_connections': False, 'download_rate_limit': 1024,
        'aio_threads': 1, 'hashing_threads': 1, 'alert_mask': 0, 'max_retry_port_bind': 0,
        'enable_dht': group.get('dht', False), 'dht_bootstrap_nodes': '',
        'dht_restrict_routing_ips': False, 'dht_restrict_search_ips': False,
        'dht_enforce_node_id': False, 'dht_prefer_verified_node_ids': False,
        # The stock ones are those of a home line: five packets a second from one address,
        # and whoever sends more is not heard for five minutes.
        'dht_block_ratelimit': 1000000, 'dht_upload_rate_limit': 1 << 24}


class Member:
    """One session."""

    def __init__(self, index, address, port, group):
        unknown = set(group) - GROUP_KEYS
        if unknown:
            raise ValueError(f'unknown keys in a group: {sorted(unknown)}')
        if not goes_nowhere(ipaddress.ip_address(address)):
            raise ValueError(f'{address} is not loopback')
        self.index, self.address, self.port, self.group = index, address, port, group
        self.name = group.get('name', 'Real libtorrent #{i}').replace('{i}', str(index))
        self.progress = float(group.get('progress', 100))
        self.handle = None
        host = f'[{address}]' if ':' in address else address
        self.listen = f'{host}:{port}'
        plugins = lt.session_flags_t.add_default_plugins if group.get('pex') else 0
        self.session = lt.session(settings(self), flags=plugins)
        if not group.get('pex'):
            self.session.add_extension('ut_metadata')

    def join(self, torrent, directory):
        """Its part of the file lies there; members of equal progress share a directory."""
        params = lt.add_torrent_params()
        if self.group.get('metadata', True):
            params.ti = lt.torrent_info(torrent)
        else:
            params.info_hashes = lt.torrent_info(torrent).info_hashes()
        params.save_path = directory
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        self.handle = self.session.add_torrent(params)

    def checked(self):
        if self.handle is None:
            return True
        return self.handle.status().state not in (
            lt.torrent_status.checking_files, lt.torrent_status.checking_resume_data)

    def report(self):
        out = {'index': self.index, 'address': self.address, 'port': self.port,
               'name': self.name, 'state': 'connected', 'behaviour': 'real',
               'dht': self.group.get('dht', False)}
        if self.handle is not None:
            out['progress'] = round(self.handle.status().progress * 10000) / 100
        return out


class Members:
    def __init__(self, args):
        self.loop, self.members = Loop(), []
        first = ipaddress.ip_address(args.base)
        for group in json.loads(args.spec):
            for k in range(group.get('count', 1)):
                i = len(self.members)
                address = group.get('address', str(first + i))
                port = group.get('port', args.port) + (k if 'address' in group else 0)
                self.members.append(Member(i, address, port, group))
        if args.torrent:
            self.join_all(args.torrent, args.save)
        self.loop.run_until(self.all_checked)

    def all_checked(self):
        self.loop.later(0.02, lambda: None)
        return all(m.checked() for m in self.members)

    def join_all(self, torrent, save):
        with open(torrent, 'rb') as f:
            info = wire.bdec(f.read())[b'info']
        with open(os.path.join(save, info[b'name'].decode()), 'rb') as f:
            data = f.read()
        for m in self.members:
            if not m.group.get('torrent', True):
                continue
            directory = os.path.join(save, f'{m.progress:g}')
            if not os.path.isdir(directory):
                os.mkdir(directory)
                keep = round(len(info[b'pieces']) // 20 * m.progress / 100)
                with open(os.path.join(directory, info[b'name'].decode()), 'wb') as f:
                    f.write(data[:keep * info[b'piece length']])
                    f.truncate(len(data))
            m.join(torrent, directory)

    def meet(self, outside):
        """All nodes ping all others, and those that are named. A node that is not yet up
        takes no hint, so this is to be repeated until their numbers are right."""
        nodes = [m for m in self.members if m.group.get('dht')]
        known = [(a, int(p)) for a, _, p in (n.rpartition(':') for n in outside)]
        known += [(m.address, m.port) for m in nodes]
        for m in nodes:
            for node in known:
                if node != (m.address, m.port):
                    m.session.add_dht_node(node)
        return [m.session.status().dht_nodes for m in nodes]

    # What the control socket may ask ------------------------------------
    def control(self, req):
        cmd = req.pop('cmd')
        chosen = [self.members[i] for i in req.get('peers', range(len(self.members)))]
        if cmd == 'report':
            return [m.report() for m in chosen]
        if cmd == 'dht':
            return self.meet(req.get('nodes', ()))
        if cmd == 'leave':
            for m in chosen:
                m.session.pause()
            return None
        if cmd == 'dial':
            for m in chosen:
                m.handle.connect_peer(tuple(req['to']))
            return None
        if cmd == 'seen':
            return [[[list(p.ip), p.client.decode('utf-8', 'replace')]
                     for p in m.handle.get_peer_info()] for m in chosen]
        raise ValueError(f'no such command: {cmd}')


def main(argv):
    p = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    p.add_argument('--spec', required=True, help='JSON list of groups')
    p.add_argument('--base', required=True, help='address of the first')
    p.add_argument('--port', type=int, default=6881)
    p.add_argument('--torrent', help='.torrent file')
    p.add_argument('--save', help='directory with the whole file; parts are made in it')
    p.add_argument('--control', metavar='PATH', help='unix socket for commands')
    args = p.parse_args(argv)
    exit_on_signals()
    want_fds(16384)
    all_ = Members(args)
    if args.control:
        Control(all_.loop, args.control, all_.control)
    say_ready({'ready': True, 'peers': [m.report() for m in all_.members]})
    all_.loop.run()


if __name__ == '__main__':
    main(sys.argv[1:])

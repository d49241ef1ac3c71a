#!/usr/bin/python3
"""One real libtorrent peer, for what the scripted ones don't speak: uTP alone,
encryption alone, the DHT, local discovery. On 127/8 or in a namespace; no port forwarding.
"""
import argparse
import sys
import time

import libtorrent as lt

from loop import exit_on_signals, say_ready


def settings(args):
    s = {
        'listen_interfaces': f'{args.address}:{args.port}', 'user_agent': args.name,
        'outgoing_interfaces': args.address, 'enable_lsd': args.lsd, 'enable_upnp': False,
        'enable_natpmp': False, 'enable_dht': args.dht, 'dht_bootstrap_nodes': '',
        'seeding_outgoing_connections': not args.lsd,
        'allow_multiple_connections_per_ip': True, 'ssrf_mitigation': False,
        'download_rate_limit': 1024, 'alert_mask': lt.alert.category_t.status_notification,
        'dht_restrict_routing_ips': False, 'dht_restrict_search_ips': False,
        'dht_enforce_node_id': False, 'dht_prefer_verified_node_ids': False}
    if args.utp_only:
        s.update(enable_incoming_tcp=False, enable_outgoing_tcp=False)
    else:
        s.update(enable_incoming_utp=False, enable_outgoing_utp=False)
    if args.encrypted_only:
        s.update(in_enc_policy=lt.enc_policy.forced, out_enc_policy=lt.enc_policy.forced,
                 allowed_enc_level=lt.enc_level.rc4)
    return s


def main(argv):
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--address', required=True)
    p.add_argument('--port', type=int, default=6881)
    p.add_argument('--torrent', required=True, help='.torrent file')
    p.add_argument('--save', required=True, help='where its data lies, or not')
    p.add_argument('--name', default='Real libtorrent 2.0')
    p.add_argument('--utp-only', action='store_true')
    p.add_argument('--encrypted-only', action='store_true')
    p.add_argument('--lsd', action='store_true', help='and call nobody: be found')
    p.add_argument('--dht', action='store_true')
    p.add_argument('--dht-node', metavar='ADDRESS:PORT', help='a node to start from')
    args = p.parse_args(argv)
    exit_on_signals()
    session = lt.session(settings(args))
    if args.dht_node:
        address, _, port = args.dht_node.rpartition(':')
        session.add_dht_node((address, int(port)))
    params = lt.add_torrent_params()
    params.ti, params.save_path = lt.torrent_info(args.torrent), args.save
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    handle = session.add_torrent(params)
    checking = (lt.torrent_status.checking_files, lt.torrent_status.checking_resume_data)
    while handle.status().state in checking:
        session.wait_for_alert(100)
        session.pop_alerts()
    say_ready({'ready': True, 'address': args.address, 'port': args.port,
               'name': args.name, 'progress': handle.status().progress * 100})
    while True:
        time.sleep(3600)


if __name__ == '__main__':
    main(sys.argv[1:])

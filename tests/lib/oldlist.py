"""A list as the Python service writes it to Redis, under peer_stats:<id>."""
import json
import time

TOKYO = {'country': 'Japan', 'country_code': 'JP', 'city': 'Tokyo', 'isp': 'Example ISP',
         'region': 'Tokyo', 'latitude': 35.69, 'longitude': 139.69, 'timezone': 'Asia/Tokyo'}
NOWHERE = {'country': 'Unknown', 'country_code': '??', 'city': 'Unknown', 'isp': 'Unknown',
           'region': 'Unknown', 'latitude': None, 'longitude': None, 'timezone': None}


def service_json(infohash, peers, place=TOKYO, **more):
    """peers: [(address, port)]; more: members that are others."""
    return json.dumps({
        'acestream_id': infohash, 'infohash': infohash, 'peers': [
            {'ip': ip, 'port': port, 'client': 'uTorrent 3.5.5', 'progress': 45.3,
             'download_rate': 0, 'upload_rate': 256000, 'flags': '0x1', **place}
            for ip, port in peers],
        'peer_count': len(peers), 'total_peers': len(peers), 'cached_at': time.time(),
        'error': None, **more})

"""ipwho.is, scripted: places in the words of its JSON, nested or flat; it can be slow, hang,
limit, lie, fail and hang up. On 127/8, in threads of the test."""
import email.utils
import threading
import time

import web
from procs import wait_until

PORT = 8043
CITIES = [('Germany', 'DE', 'Berlin', 'State of Berlin', 52.52437, 13.41053, 'Europe/Berlin'),
          ('Japan', 'JP', 'Osaka', 'Osaka', 34.69379, 135.50107, 'Asia/Tokyo'),
          ('Brazil', 'BR', 'São Paulo', 'São Paulo', -23.5475, -46.63611, 'America/Sao_Paulo')]


def city_of(address):
    """What it says of this address, whatever it is."""
    return CITIES[sum(address.encode()) % len(CITIES)]


def nested(address):
    country, code, city, region, lat, lon, zone = city_of(address)
    return {'ip': address, 'success': True, 'type': 'IPv6' if ':' in address else 'IPv4',
            'continent': 'Somewhere', 'country': country, 'country_code': code,
            'region': region, 'city': city, 'latitude': lat, 'longitude': lon, 'is_eu': False,
            'flag': {'emoji': 'x', 'emoji_unicode': 'U+1F1E9'},
            'connection': {'asn': 64501, 'org': f'Org of {code}', 'isp': f'ISP of {code}',
                           'domain': 'isp.test'},
            'timezone': {'id': zone, 'abbr': 'X', 'is_dst': False, 'offset': 0, 'utc': 'Z'}}


def flat(address):
    country, code, city, region, lat, lon, zone = city_of(address)
    return {'ip': address, 'success': True, 'country': country, 'country_code': code,
            'region': region, 'city': city, 'latitude': str(lat), 'longitude': str(lon),
            'asn': 'AS64501', 'org': f'Org of {code}', 'isp': f'ISP of {code}',
            'timezone': zone, 'timezone_gmt': 'GMT', 'completed_requests': 1}


class Handler(web.Handler):
    def do_GET(self):
        s = self.server.owner
        with s.lock:
            s.asked.append((self.path.rpartition('/')[2], time.monotonic()))
            s.paths.append(self.path)
            s.now += 1
            s.most = max(s.most, s.now)
        try:
            self.server.stopped.wait(s.delay_s)
            s.gate.wait(60)
            self.say(*s.answer(self.path.rpartition('/')[2]))
        finally:
            with s.lock:
                s.now -= 1


class IpWhoIs:
    """.asked: [(address, time.monotonic())]; .most: questions at once; .told: {address: a
    whole answer}; .mode: see answer()."""

    def __init__(self, stage, certificate=None):
        self.address = stage.net.take()
        self.url = f'http{"s" if certificate else ""}://{self.address}:{PORT}/'
        self.mode, self.delay_s, self.retry_after = 'ok', 0, None
        self.asked, self.paths, self.told = [], [], {}
        self.now = self.most = 0
        self.lock = threading.Lock()
        self.gate = threading.Event()   # while it is clear nobody is answered
        self.gate.set()
        self.server = web.Server(self.address, PORT, Handler, self, certificate)
        stage.at_end(self.stop)

    def stop(self):
        self.gate.set()
        self.server.stop()

    def addresses(self):
        with self.lock:
            return [a for a, _ in self.asked]

    def until_asked(self, *addresses):
        wait_until(lambda: set(addresses) <= set(self.addresses()), 15,
                   f'{addresses} asked about')

    def answer(self, address):
        """What web.Handler.say is told."""
        if address in self.told:
            return (self.told[address],)
        if self.mode == 'limit':
            return ({'success': False, 'message': 'Too many requests'}, 429,
                    {'Retry-After': self.retry()} if self.retry_after is not None else {})
        if self.mode == 'month':        # as ipwhois.app did: a 200
            return ({'success': False, 'message': "you've hit the monthly limit"},)
        return {
            'ok': lambda: (nested(address),),
            'flat': lambda: (flat(address),),
            'hang': lambda: (None,),
            'close': lambda: ('close',),
            'status': lambda: (b'<html>bad gateway</html>', 502),
            'garbage': lambda: (b'\x00\xff{"success":tru',),
            'portal': lambda: (b'<html>log in to our Wi-Fi</html>',),
            'elsewhere': lambda: (b'', 302, {'Location': 'http://192.0.2.1/'}),
            'other': lambda: (nested('8.8.8.8'),),
            'huge': lambda: ({**nested(address), 'x': 'y' * 100000},),
            'key': lambda: ({'success': False, 'message': 'Invalid API key'},),
            'denied': lambda: ({'success': False, 'message': 'Invalid IP address'}, 403),
            'reserved': lambda: ({'ip': address, 'success': False,
                                  'message': 'Reserved range'},),
        }[self.mode]()

    def retry(self):
        """As it was given: seconds, or a moment in time, which is what a date says."""
        if isinstance(self.retry_after, float):
            return email.utils.formatdate(self.retry_after, usegmt=True)
        return str(self.retry_after)

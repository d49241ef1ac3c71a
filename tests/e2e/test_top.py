"""`peerscope top`: from shared memory alone, whatever hangs, and readable on any terminal."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from daemon import BIN
from procs import ROOT, slow, wait_until
from upgrading import LAYOUT, put, read, upgrade

NOBODY = 'fe' * 20


def rows(kind):
    with open(os.path.join(ROOT, 'shm', 'stat.h'), encoding='utf-8') as f:
        block = re.search(rf'#define STAT_{kind}\(X\)(.*?)\n\n|\Z', f.read(), re.S)[1]
    return re.findall(r'^X\((\w+), "([^"]*)"\)', block, re.M)


class Terminal:
    """`peerscope top` on a terminal of rows x cols; .screen is what stands there now."""

    def __init__(self, d, rows, cols):
        self.master, slave = pty.openpty()
        self.rows, self.cols, self.seen = rows, cols, ''
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', rows, cols, 0, 0))
        self.proc = subprocess.Popen(
            [d.proc.popen.args[0], 'top', '-o', f'shm.name={d.conf["shm.name"]}'], stdin=slave,
            stdout=slave, stderr=slave, env=d.env, close_fds=True)
        os.close(slave)

    def read(self):
        while select.select([self.master], [], [], 0)[0]:
            try:
                self.seen += os.read(self.master, 65536).decode()
            except OSError:         # it has closed its side
                return
        pages = self.seen.split('\033[H\033[J')
        self.page = pages[-1].replace('\r\n', '\n')

    def shows(self, text, every=0.02):
        def there():
            self.read()
            return re.search(text, self.page)
        found = wait_until(there, 20, f'{text!r} stands there', every=every)
        lines = self.page.split('\n')
        assert len(lines) <= self.rows and max(map(len, lines)) <= self.cols, lines
        return found

    def press(self, keys):
        os.write(self.master, keys)

    def close(self):
        self.proc.kill()
        self.proc.wait()
        os.close(self.master)


def test_it_works_while_everything_hangs(daemon, swarm, tracker):
    s, t = swarm([{'count': 3, 'progress': 50}]), tracker()
    t.set(s.infohash, peers=s.endpoints())
    d = daemon({'swarm.trackers': t.http, 'redis.mode': 'bundled', 'cache.ttl': '1m'})
    d.until_peers(s.infohash, lambda p: len(p) == 3 and all(x['client'] for x in p.values()))
    wait_until(lambda: d.top()['swarms'], what='it is in the table')
    wait_until(lambda: d.top()['gauges']['peers'] == 3, what='gauges are set')
    frozen = [d.pid, *d.pids()]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        before = d.top()
        began = time.monotonic()
        text = d.command('top', '--once').stdout
        assert time.monotonic() - began < 2 * slow()
        after = d.top()
        on_tty = Terminal(d, 40, 132)
        on_tty.shows('worker 1')
        on_tty.press(b'q')
        assert on_tty.proc.wait(10 * slow()) == 0
        on_tty.close()
    finally:
        for pid in reversed(frozen):
            os.kill(pid, signal.SIGCONT)
    assert {p['pid'] for p in before['processes']} == set(frozen)
    assert before['swarms'][0]['infohash'] == s.infohash and before['swarms'][0]['peers'] == 3
    assert before['gauges']['peers'] == 3 and before['counters']['joins'] == 1
    beats = [(p['beat_age_ms'], q['beat_age_ms'])
             for p, q in zip(before['processes'], after['processes']) if p['beat_age_ms']]
    assert len(beats) == 3 and all(a < b for a, b in beats), 'who hangs is seen by its beat'
    assert s.infohash in text and re.search(r'^collector +\d+ running', text, re.M)


def test_each_number_is_explained(daemon):
    """Every gauge, and every counter that ever counted, with its text; each column in words."""
    d = daemon()
    d.get('/livez')
    d.get('/nowhere')
    text = wait_until(lambda: (lambda t: t if 'http_4xx' in t else None)(
        d.command('top', '--once').stdout), what='they are counted')
    table = re.search(r'^process +pid.*?(?=^age: )', text, re.M | re.S)[0].splitlines()
    assert len(table) > 3 and max(map(len, table)) < 80     # the usual terminal, unfolded
    for column in re.findall(r'\w+', re.search(r'^process +pid.*', text, re.M)[0]):
        assert column in ('process', 'pid', 'state') or f'{column}: ' in text, column
    for column in re.findall(r'\w+', re.search(r'^infohash +.*', text, re.M)[0]):
        assert column in ('infohash', 'protocol', 'phase', 'verdict') or f'{column}: ' in text
    for word in 'layout', 'generation', 'epoch', 'respawns':
        assert f'{word}: ' in text
    top = d.top()
    assert set(top['counters']) == {n for n, _ in rows('COUNTERS')}
    assert set(top['gauges']) == {n for n, _ in rows('GAUGES')}
    for name, words in rows('GAUGES'):
        line = re.search(rf'^{name} +.*$', text, re.M)[0]
        beginning = re.split(r'[,:] ', words.removeprefix('1: '))[0]
        assert beginning[:20] in line, line
    counted = dict(rows('COUNTERS'))
    shown = re.findall(r'^(\w+) +\d+ +(.*)$', text.partition('what happened')[2], re.M)
    assert {n for n, w in shown if counted.get(n) == w} >= {'http_requests', 'http_4xx'}


def test_rates_are_of_now(daemon):
    d = daemon()
    live = Terminal(d, 200, 132)
    live.shows('what happened')

    def busy():
        for _ in range(20):
            d.get('/livez')
        live.read()
        return re.search(r'^http_2xx +\d+ +([1-9]\d*\.\d)/s answers 2xx', live.page, re.M)
    wait_until(busy, 20, 'a rate', every=0.05)
    live.shows(r'(?m)^http_304 |^http_2xx +\d+ +0\.0/s')    # and it falls to nothing
    live.close()


def test_a_small_terminal_shows_all_of_it_by_keys(daemon):
    d = daemon()
    t = Terminal(d, 24, 80)
    t.shows(r'peerscope +layout')
    first = int(t.shows(r'-- rows 1 to 23 of (\d+); arrows')[1])
    assert first > 100
    t.press(b'\033[B')
    t.shows('-- rows 2 to 24 of')
    t.press(b'\033[A')
    t.shows('-- rows 1 to 23 of')
    seen = {}
    while True:
        at, last, all_rows = map(int, t.shows(r'-- rows (\d+) to (\d+) of (\d+)').groups())
        for n, line in enumerate(t.page.split('\n')[:-1]):
            seen[at + n] = line
        if last == all_rows:
            break
        t.press(b' ')
        t.shows(rf'-- rows (?!{at} )')
    whole = ' '.join(seen[n].strip() for n in sorted(seen))
    squeezed = re.sub(r'\s+', '', whole)
    for name, words in rows('GAUGES'):
        assert name in whole
        assert re.sub(r'\s+', '', re.split(r'[,:] ', words.removeprefix('1: '))[0]) in squeezed
    t.press(b'g')
    t.shows('-- rows 1 to 23 of')
    t.press(b'G')
    t.shows(r'-- rows \d+ to (\d+) of \1;')
    t.press(b'q')
    assert t.proc.wait(10 * slow()) == 0
    t.close()


def test_for_scripts(daemon):
    """One object a line, and no escape, into a pipe."""
    d = daemon()
    argv = [d.proc.popen.args[0], 'top', '--json', '-o', f'shm.name={d.conf["shm.name"]}']
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=d.env) as p:
        lines = [p.stdout.readline() for _ in range(2)]
        p.send_signal(signal.SIGTERM)
        assert p.wait(10 * slow()) == 0
    assert all(json.loads(x)['processes'] for x in lines) and b'\033' not in b''.join(lines)


def test_it_says_why_it_ends(installed):
    """After an upgrade the name is that of a segment that it can't read."""
    d = installed()
    argv = [BIN, 'top', '--json', '-o', f'shm.name={d.conf["shm.name"]}']
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=d.env,
                          text=True) as top:
        assert json.loads(top.stdout.readline())['master_pid'] == d.pid
        put(d.exe, read(LAYOUT))
        d.binary = LAYOUT
        upgrade(d)
        said = top.communicate(timeout=20 * slow())[1]
    assert top.returncode == 1 and 'segment has layout 9999' in said

"""conf/peerscope.logrotate with the real logrotate: it works, and no line is lost."""
import glob
import grp
import gzip
import os
import pwd
import re
import signal
import subprocess

import pytest
from procs import ROOT, slow, wait_until

RULES = os.path.join(ROOT, 'conf', 'peerscope.logrotate')


class Logs:
    """A daemon that logs to a file, and rules that are about it."""

    def __init__(self, daemon, stage):
        self.dir = stage.fresh_dir('log')
        self.file = os.path.join(self.dir, 'peerscope.log')
        self.state = stage.path('logrotate.state')
        self.d = daemon({'log.file': self.file}, wait=False)
        self.d.log = self.text          # its own log, for what looks for damage in it
        self.d.wait_serving()
        self.rules = self._rules(stage.path('rules'))

    def _rules(self, path):
        me = f'{pwd.getpwuid(os.getuid()).pw_name} {grp.getgrgid(os.getgid()).gr_name}'
        with open(RULES, encoding='utf-8') as f:
            text = f.read()
        for was, now in (('/var/log/peerscope', self.dir), ('/run/peerscope', self.d.run_dir),
                         ('su peerscope peerscope', 'su ' + me)):
            assert was in text
            text = text.replace(was, now)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(path, 0o644)
        return path

    def rotate(self, *options):
        r = subprocess.run(['/usr/sbin/logrotate', '-s', self.state, *options, self.rules],
                           capture_output=True, text=True, timeout=60 * slow(), check=False)
        assert r.returncode == 0 and 'error' not in r.stderr, r.stderr
        return r.stderr

    def files(self):
        return sorted(glob.glob(self.file + '*'))

    def text(self):
        """All files, the oldest first."""
        out = ''
        for path in sorted(self.files(), reverse=True):
            try:
                with (gzip.open if path.endswith('.gz') else open)(path, 'rt') as f:
                    out += f.read()
            except (FileNotFoundError, EOFError):
                return ''               # it is being rotated: looked at again
        return out

    def count(self, pattern):
        return len(re.findall(pattern, self.text()))


@pytest.fixture
def logs(daemon, stage):
    return Logs(daemon, stage)


def test_the_rules_are_good(logs):
    assert 'considering log' in logs.rotate('-d')
    assert logs.files() == [logs.file]


def test_no_line_is_lost(logs):
    """Six rotations, each amid a reload: every worker of every generation says that it drains."""
    d = logs.d
    for i in range(1, 7):
        d.kill(signal.SIGHUP)
        logs.rotate('-f')
        wait_until(lambda: logs.count('reload done') == i, what='a reload')
        wait_until(lambda: logs.count('http: draining') == 2 * i, what='both say so')
    wait_until(lambda: logs.count('USR1: log opened again') == 6, what='opened six times')
    assert [os.path.basename(f) for f in logs.files()] == (
        ['peerscope.log', 'peerscope.log.1'] + [f'peerscope.log.{i}.gz' for i in range(2, 7)])
    said = re.findall(r'\[w(\d)\.g(\d+) \d+\] info http: draining', logs.text())
    assert sorted(said) == sorted((str(w), str(g)) for w in (1, 2) for g in range(1, 7))
    assert logs.count('HUP: reload') == 6
    # The newest file is in use by everybody, the one before by nobody any more.
    before = os.stat(logs.file + '.1').st_size
    was = logs.count('http: draining')
    d.kill(signal.SIGHUP)
    wait_until(lambda: logs.count('http: draining') == was + 2, what='one more reload')
    assert os.stat(logs.file + '.1').st_size == before


def test_a_number_that_is_somebody_else_gets_no_signal(logs, stage):
    """The pid file of a daemon that was killed names whoever has its number now."""
    d = logs.d
    other = stage.start('other', ['/bin/sleep', '600'])     # USR1 would end it
    assert d.stop() == 0
    with open(os.path.join(d.run_dir, 'peerscope.pid'), 'w', encoding='utf-8') as f:
        f.write(f'{other.pid}\n')
    logs.rotate('-f')
    assert os.path.exists(logs.file + '.1') and other.alive()
    os.unlink(os.path.join(d.run_dir, 'peerscope.pid'))
    with open(logs.file, 'w', encoding='utf-8') as f:
        f.write('a line\n')
    logs.rotate('-f')                   # nobody there at all: not an error either
    assert os.path.exists(logs.file + '.2.gz')

"""What a Prometheus server reads: the text format 0.0.4, and what promtool says of it."""
import re
import subprocess

SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:\\.|[^"\\])*)"(?:,|$)')


class Scrape:
    """One answer of /metrics. samples: {(name, ((label, value), ...)): number}, labels
    sorted; types: {family: type}."""

    def __init__(self, text):
        self.text, self.samples, self.types, self.helps = text, {}, {}, {}
        assert text.endswith('\n')
        for line in text.splitlines():
            if line.startswith('# '):
                what, name, rest = line[2:].split(' ', 2)
                said = {'HELP': self.helps, 'TYPE': self.types}[what]
                assert name not in said and rest, line
                said[name] = rest
                continue
            m = SAMPLE.match(line)
            assert m, line
            labels = LABEL.findall(m[2] or '')
            assert LABEL.sub('', m[2] or '') == '', line
            key = m[1], tuple(sorted(labels))
            assert key not in self.samples, f'twice: {line}'
            self.samples[key] = float(m[3])

    def get(self, name, **labels):
        """The one sample with exactly these labels; None: there is none."""
        return self.samples.get((name, tuple(sorted(labels.items()))))

    def all(self, name, **labels):
        """[(labels, number)] of all samples that have these labels among theirs."""
        return [(dict(k[1]), v) for k, v in self.samples.items()
                if k[0] == name and labels.items() <= dict(k[1]).items()]

    def sum(self, name, **labels):
        return sum(v for _, v in self.all(name, **labels))

    def family(self, name):
        """The family of a sample's name; a histogram has three names."""
        for suffix in '', '_bucket', '_sum', '_count':
            if name.endswith(suffix) and name[:len(name) - len(suffix)] in self.types:
                return name[:len(name) - len(suffix)]
        return None

    def counts(self):
        """What may only rise: counters, and all of histograms."""
        return {k: v for k, v in self.samples.items()
                if self.types[self.family(k[0])] in ('counter', 'histogram')}


def scrape(d):
    a = d.get('/metrics')
    assert a.status == 200, a
    return Scrape(a.body.decode())


def promtool(*args, text=None, cwd=None):
    """(exit code, all that it said)"""
    done = subprocess.run(['promtool', *args], input=text, capture_output=True, text=True,
                          timeout=180, check=False, cwd=cwd)
    return done.returncode, done.stdout + done.stderr

"""What an operator puts beside it: alert rules and a dashboard. They name what is there."""
import json
import os
import re
import urllib.parse
import urllib.request

import pytest
from procs import ROOT, wait_until
from prom import promtool, scrape

RULES = os.path.join(ROOT, 'conf', 'prometheus-alerts.yml')
DASHBOARD = os.path.join(ROOT, 'conf', 'grafana-peerscope.json')
TESTS = os.path.join(ROOT, 'tests', 'prometheus')
NAME = re.compile(r'\bpeerscope_\w+')
SELECTOR = re.compile(r'\b(\w+)\s*=~?\s*"([^"]*)"')
GIVEN_BY_PROMETHEUS = {'job', 'instance'}


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


def panels():
    return json.loads(read(DASHBOARD))['panels']


def expressions():
    return [t['expr'] for p in panels() for t in p.get('targets', ())]


def rules_text():
    """Without comments and texts for people: expressions and names."""
    text = re.sub(r'^ *(#|summary|description).*$', '', read(RULES), flags=re.M)
    return text


@pytest.fixture(scope='module')
def live(module_stage):
    """A daemon of which every route has been asked for."""
    from daemon import Daemon
    d = Daemon(module_stage, {'geo.online': 'on', 'geo.online_url': 'http://127.0.0.1:9/'})
    for path in '/livez', '/peers/x', '/health', '/download/x', '/api/v1/metadata/x':
        d.get(path)
    return scrape(d)


def check_names(live, text):
    names = set(NAME.findall(text))
    assert len(names) > 20
    assert [n for n in sorted(names) if not live.family(n)] == []


def check_labels(live, text):
    """Of each metric with a selector: it has these labels, and routes are ours."""
    routes = {dict(k[1]).get('route') for k in live.samples}
    found = 0
    for name, inside in re.findall(r'\b(peerscope_\w+)\{((?:"[^"]*"|[^}"])*)\}', text):
        has = {label for labels, _ in live.all(name) for label in labels}
        for label, value in SELECTOR.findall(inside):
            if label in GIVEN_BY_PROMETHEUS:
                continue
            found += 1
            assert label in has, (name, label)
            assert label != 'route' or value in routes, value
    assert found


def test_rules_are_sound():
    assert promtool('check', 'rules', RULES)[0] == 0
    files = sorted(f for f in os.listdir(TESTS) if f.endswith('_test.yml'))
    code, said = promtool('test', 'rules', *files, cwd=TESTS)
    assert code == 0, said
    tested = ''.join(read(os.path.join(TESTS, f)) for f in files)
    for alert in re.findall(r'- alert: (\w+)', read(RULES)):
        assert tested.count(f'alertname: {alert}\n') >= 2, f'{alert}: fires, and does not'


def test_a_database_is_old_when_the_daemon_says_so():
    days = re.search(r'#define FILE_OLD_DAYS (\d+)', read(os.path.join(ROOT, 'geo', 'file.h')))[1]
    assert f'built_timestamp_seconds >= {days} * 86400' in read(RULES)
    assert f'the City database is {days} days old' in read(RULES)


def test_rules_name_what_is_there(live):
    check_names(live, rules_text())
    check_labels(live, rules_text())


def test_the_dashboard_names_what_is_there(live):
    text = '\n'.join(expressions())
    check_names(live, text)
    check_labels(live, text)
    # {{label}} of a legend: a sum has what it is by, a metric what it has.
    # Several instances can be chosen: a line that is of one says of which.
    for p in panels():
        for t in p.get('targets', ()):
            assert re.match('(sum|min|max|histogram_quantile)', t['expr']) or \
                '{{instance}}' in t['legendFormat'], p['title']
            for label in re.findall(r'{{(\w+)}}', t['legendFormat']):
                by = re.search(r'\bby \(([^)]*)\)', t['expr'])
                names = NAME.findall(t['expr'])
                has = set(by[1].split(', ')) if by else GIVEN_BY_PROMETHEUS | {
                    x for labels, _ in live.all(names[0]) for x in labels}
                assert label in has, t


def test_the_dashboard_is_sound(tmp_path):
    """Every expression can be read, no panel lies on another, no id is used twice."""
    rules = [f'      - record: x:{i}\n        expr: {json.dumps(known(e))}\n'
             for i, e in enumerate(expressions())]
    path = tmp_path / 'dashboard.yml'
    path.write_text('groups:\n  - name: dashboard\n    rules:\n' + ''.join(rules))
    code, said = promtool('check', 'rules', str(path))
    assert code == 0, said
    places = {}
    for p in panels():
        g = p['gridPos']
        assert g['x'] + g['w'] <= 24
        for x in range(g['x'], g['x'] + g['w']):
            for y in range(g['y'], g['y'] + g['h']):
                assert (x, y) not in places, (p['title'], places[x, y])
                places[x, y] = p['title']
    assert len({p['id'] for p in panels()}) == len(panels())


def known(expr):
    for name, value in ('$__rate_interval', '5m'), ('$job', 'peerscope'), ('$instance', '.*'):
        expr = expr.replace(name, value)
    assert '$' not in expr, expr
    return expr


def test_a_real_server_scrapes_it(stage, daemon):
    """Prometheus reads all of it, and can compute every rule."""
    d = daemon()
    d.get('/peers/' + 'ab' * 20 + '?wait=0')
    where, data = stage.net.take(), stage.fresh_dir('prometheus')
    conf = os.path.join(data, 'prometheus.yml')
    with open(conf, 'w', encoding='utf-8') as f:
        f.write('global: {scrape_interval: 1s, evaluation_interval: 1s}\n'
                f'rule_files: [{RULES}]\n'
                'scrape_configs:\n  - job_name: peerscope\n'
                f"    static_configs: [{{targets: ['{d.url.partition('//')[2]}']}}]\n")
    server = stage.start('prometheus', [
        '/usr/bin/prometheus', f'--config.file={conf}', f'--storage.tsdb.path={data}/tsdb',
        f'--web.listen-address={where}:9090'], cwd=data)

    def api(path, **query):
        server.must_live()
        q = '?' + urllib.parse.urlencode(query)
        with urllib.request.urlopen(f'http://{where}:9090/api/v1/{path}{q}', timeout=5) as r:
            return json.load(r)['data']

    def ask(query):
        try:
            return [r['value'][1] for r in api('query', query=query)['result']]
        except OSError:
            return []
    wait_until(lambda: ask('up{job="peerscope"}') == ['1'], 30, 'it has scraped')
    assert ask('peerscope_collector_up') == ['1']
    have = len(scrape(d).samples)
    assert abs(int(ask('scrape_samples_scraped')[0]) - have) < 40     # one route or two
    rules = wait_until(lambda: (lambda r: r if all(x['health'] == 'ok' for x in r) else None)(
        api('rules')['groups'][0]['rules']), 20, 'all rules were computed')
    assert len(rules) == read(RULES).count('- alert: ')
    assert [r['name'] for r in rules if r['state'] == 'firing'] == []


def test_these_tests_find_what_is_wrong(live):
    good = '\n'.join(expressions())
    with pytest.raises(AssertionError):
        check_names(live, good + '\npeerscope_nonsense_total')
    with pytest.raises(AssertionError):
        check_labels(live, 'peerscope_http_requests_total{status="200"}')
    with pytest.raises(AssertionError):
        check_labels(live, 'peerscope_http_requests_total{route="/peer/{id}"}')

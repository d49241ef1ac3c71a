"""The compose files: read by Debian's docker-compose and by the schema of the specification;
what they tell Peerscope, nginx and Redis is tried on the real ones, without containers."""
import io
import json
import os
import re
import subprocess
import tarfile
import urllib.request

import jsonschema
import pytest
import yaml

from daemon import BIN
from procs import ROOT, wait_until
from test_nginx import Front, put

CONF = os.path.join(ROOT, 'conf')
FILES = {f: os.path.join(CONF, f'docker-compose.{f}.yml')
         for f in ('gluetun', 'redundant', 'standalone')}
# This carries the specification's own.
SCHEMA = 'https://registry.npmjs.org/dclint/-/dclint-3.1.0.tgz'
SCHEMA_AT = os.path.join(ROOT, 'build', 'compose-spec.json')
OURS = re.compile('peerscope2?')


@pytest.fixture(scope='module')
def schema():
    """Of the Compose Specification, from the npm registry once; Debian has an old one."""
    if not os.path.exists(SCHEMA_AT):
        try:
            with urllib.request.urlopen(SCHEMA, timeout=60) as answer:
                packed = io.BytesIO(answer.read())
        except OSError as e:
            pytest.skip(f'{SCHEMA}: {e}')
        mine = f'{SCHEMA_AT}.{os.getpid()}'     # pytest -n has several of us
        with tarfile.open(fileobj=packed) as t, open(mine, 'wb') as f:
            f.write(t.extractfile('package/schemas/compose.schema.json').read())
        os.replace(mine, SCHEMA_AT)
    with open(SCHEMA_AT, encoding='utf-8') as f:
        return json.load(f)


def config(path, **env):
    """What docker-compose makes of it."""
    done = subprocess.run(['docker-compose', '-f', path, '--profile', 'orchestrator', 'config'],
                          env={'PATH': os.environ['PATH'], 'HOME': '/nonexistent', **env},
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


@pytest.fixture(scope='module', params=sorted(FILES))
def parsed(request):
    return config(FILES[request.param], VPN_SERVICE_PROVIDER='mullvad')


def peerscopes(parsed):
    return {n: s for n, s in parsed['services'].items() if OURS.fullmatch(n)}


def own_environment(service):
    return {k: str(v) for k, v in service['environment'].items()}


# The files ------------------------------------------------------------------------------
@pytest.mark.parametrize('path', [*FILES.values(), os.path.join(ROOT, 'compose.yaml')])
def test_it_is_what_the_specification_says(schema, path):
    with open(path, encoding='utf-8') as f:
        text = yaml.safe_load(f)
    judge = jsonschema.Draft7Validator(schema)
    judge.validate(text)
    # It would see a mistake.
    for wrong in ({**text, 'servces': {}}, {**text, 'services': {'a': {'cap_drp': ['ALL']}}}):
        with pytest.raises(jsonschema.ValidationError):
            judge.validate(wrong)


def test_the_root_file_includes_one_that_is_there():
    with open(os.path.join(ROOT, 'compose.yaml'), encoding='utf-8') as f:
        assert yaml.safe_load(f) == {'include': ['conf/docker-compose.gluetun.yml']}
    assert os.path.exists(FILES['gluetun'])


def test_what_the_operator_sets_reaches_gluetun():
    """Every NAME=value of the first lines of a file is a variable of it; of a provider that
    forwards no port Gluetun does not start with VPN_PORT_FORWARDING=on."""
    for f in ('gluetun', 'redundant'):
        with open(FILES[f], encoding='utf-8') as file:
            text = file.read()
        head = re.match('(#.*\n)+', text)[0]
        for name in re.findall(r'\b([A-Z_]{9,})=', head):
            assert f'${{{name}:' in text, f'{f}: {name}'
        said = config(FILES[f], VPN_SERVICE_PROVIDER='mullvad', WIREGUARD_ADDRESSES='10.64.0.2/32',
                      WIREGUARD_ADDRESSES_2='10.64.0.3/32',
                      FIREWALL_OUTBOUND_SUBNETS='192.0.2.0/24')
        for name, address in (('gluetun', '10.64.0.2/32'), ('gluetun2', '10.64.0.3/32')):
            if name in said['services']:
                env = said['services'][name]['environment']
                assert env['WIREGUARD_ADDRESSES'] == address, f
                assert env['FIREWALL_OUTBOUND_SUBNETS'] == '192.0.2.0/24'
                assert env['VPN_PORT_FORWARDING'] == 'off'


def test_a_provider_must_be_named():
    for f in ('gluetun', 'redundant'):
        done = subprocess.run(['docker-compose', '-f', FILES[f], 'config', '-q'], check=False,
                              env={'PATH': os.environ['PATH']}, capture_output=True, text=True)
        assert done.returncode != 0 and 'as Gluetun names it' in done.stderr


def test_it_is_locked_down(parsed):
    for name, s in peerscopes(parsed).items():
        assert s['read_only'] is True and s['cap_drop'] == ['ALL'], name
        assert s['security_opt'] == ['no-new-privileges:true'] and s['restart'] == 'unless-stopped'
        assert 'privileged' not in s and 'user' not in s and '/tmp' in s['tmpfs']
        # The segment when it is full, the run_dir, Redis' socket: beyond Docker's 64 MB.
        assert int(str(s['shm_size']).rstrip('mb')) >= 128
        assert not any('docker.sock' in str(v) for v in s['volumes'])
        assert s['healthcheck']['test'] == ['CMD', '/usr/local/bin/peerscope', 'healthcheck',
                                            '--ready']
        # Longer than a TERM may take: the drain, the collector, Redis (conf/peerscope.service).
        assert s['stop_grace_period'] in ('60s', '1m', '1m0s')


def test_every_secret_is_a_file_outside_the_tree(parsed):
    for s in parsed.get('secrets', {}).values():
        assert s['file'].startswith(f'{CONF}/secrets/')
        done = subprocess.run(['git', 'check-ignore', '-q', s['file']], cwd=ROOT, check=False)
        assert done.returncode == 0 or not os.path.exists(os.path.join(ROOT, '.git'))
    for name, service in parsed['services'].items():
        for k, v in own_environment({'environment': {}, **service}).items():
            assert not re.search('(_KEY|PASSWORD|SECRET)$', k) or not v, f'{name}: {k}={v}'
            if k.endswith(('_FILE', '_FILEPATH', '_SECRETFILE')) and v.startswith('/run/secrets/'):
                given = [x['source'] for x in service['secrets']]
                assert v.rpartition('/')[2] in given, f'{name}: {v} of {given}'


# What Peerscope is told ---------------------------------------------------------------------
def keys():
    done = subprocess.run([BIN, 'config', '-c', '/dev/null'], capture_output=True, text=True,
                          check=True, env={})
    return dict(re.findall(r'^([a-z]+\.[a-z_]+) = (.*?)  # ', done.stdout, re.M))


def test_every_variable_is_a_key(parsed):
    known = {'PEERSCOPE_' + k.upper().replace('.', '_'): k for k in keys()}
    for name, s in peerscopes(parsed).items():
        for variable in s['environment']:
            plain = variable[:-5] if variable.endswith('_FILE') else variable
            assert plain in known or variable in known, f'{name}: {variable}'


def test_what_stands_in_comments_is_a_key():
    known = {'PEERSCOPE_' + k.upper().replace('.', '_') for k in keys()}
    compose_own = {'PEERSCOPE_ADDRESS', 'PEERSCOPE_IMAGE', 'PEERSCOPE_BASE_URL',
                   'PEERSCOPE_SECTION_KEY'}
    for path in FILES.values():
        with open(path, encoding='utf-8') as f:
            for variable in set(re.findall(r'PEERSCOPE_[A-Z_]+', f.read())) - compose_own:
                assert variable in known or variable[:-5] in known, f'{path}: {variable}'


def test_check_takes_it(parsed, stage):
    """`peerscope check` in that environment; what is a file there is one here."""
    secret = stage.fresh_path('secret')
    with open(secret, 'w', encoding='ascii') as f:
        f.write('0123456789abcdef')
    for name, s in peerscopes(parsed).items():
        env = {k: secret if v.startswith('/run/secrets/') else v
               for k, v in own_environment(s).items()}
        done = subprocess.run([BIN, 'check', '-c', '/dev/null'], capture_output=True, text=True,
                              check=False, env={'PATH': os.environ['PATH'], **env})
        assert done.returncode == 0, f'{name}: {done.stderr}'
        shown = subprocess.run([BIN, 'config', '-c', '/dev/null'], capture_output=True, text=True,
                               check=True, env={'PATH': os.environ['PATH'], **env}).stdout
        assert len(re.findall('# env PEERSCOPE_', shown)) == len(env), shown


def ports(service):
    """(address, on the host, in the container), each twice if it is for TCP and UDP; of either
    form that docker-compose prints."""
    for p in service.get('ports', ()):
        if isinstance(p, dict):
            yield '', str(p['published']), str(p['target'])
        else:
            yield re.fullmatch(r'(?:([\d.]+):)?(\d+):(\d+)(?:/\w+)?', p).groups()


def test_ports_are_those_of_the_keys(parsed):
    defaults = keys()
    http = defaults['http.listen'].rpartition(':')[2]
    services = parsed['services']
    for name, s in peerscopes(parsed).items():
        listen = s['environment'].get('PEERSCOPE_HTTP_LISTEN', defaults['http.listen'])
        assert listen.split(',')[0].endswith(':' + http)
        # In another's network the ports are that one's.
        owner = s.get('network_mode', 'service:' + name).partition(':')[2]
        assert owner == name or 'ports' not in s
        if owner != name:
            assert s['environment']['PEERSCOPE_SWARM_INTERFACE'] == 'tun0'
            assert s['environment']['PEERSCOPE_VPN_GLUETUN_URL'] == 'http://127.0.0.1:8000'
    front = 'nginx' if 'nginx' in services else 'gluetun' if 'gluetun' in services else 'peerscope'
    published = list(ports(services[front]))
    assert ('127.0.0.1', '8080', '80' if front == 'nginx' else http) in published
    peers = defaults['swarm.listen'].rpartition(':')[2]
    assert published.count(('', peers, peers)) == 2 * (front == 'peerscope')    # TCP and UDP
    # Nobody but this machine may ask, unless its owner says so.
    for s in services.values():
        assert {address for address, _, target in ports(s) if target != peers} <= {'127.0.0.1'}


def test_the_orchestrator_finds_it(parsed):
    if 'orchestrator' not in parsed['services']:
        assert list(parsed['services']) == ['peerscope']
        return
    o = parsed['services']['orchestrator']
    env = own_environment(o)
    assert o['profiles'] == ['orchestrator'] and env['PEER_COLLECTOR_ENABLED'] == 'true'
    host, _, number = env['PEER_COLLECTOR_URL'].partition('//')[2].partition(':')
    assert host in parsed['services'] and number == ('' if host == 'nginx' else '8080')
    for k in ('GLUETUN_CONTAINER_NAME', 'GLUETUN_CONTAINER_NAME_2'):
        if k in env:
            assert parsed['services'][env[k]]['container_name'] == env[k]
    # The engines' ports are published by the Gluetun that they will share.
    ranges = [env.get('GLUETUN_PORT_RANGE_1', env.get('PORT_RANGE_HOST')),
              env.get('GLUETUN_PORT_RANGE_2')]
    for name, wanted in zip(('gluetun', 'gluetun2'), ranges):
        if wanted:
            first, last = map(int, wanted.split('-'))
            given = list(ports(parsed['services'][name]))
            for n in map(str, range(first, last + 1)):
                assert ('127.0.0.1', n, n) in given


def test_the_role_is_what_peerscope_asks_for(daemon, gluetun):
    """Gluetun with the shipped file's role, key put in as the first lines of the file say."""
    with open(f'{CONF}/gluetun-roles.toml', encoding='utf-8') as f:
        text = f.read()
    key = 'k3y'
    text = put(text, '<vpn.api_key>', key)
    role = text.split('[[roles]]')[1]
    routes = re.search(r'^routes = \[(.*)\]', role, re.M)[1].replace('"', '').split(', ')
    g = gluetun(auth='apikey', key=re.search(r'^apikey = "(.*)"', role, re.M)[1], port=51820)
    d = daemon({'vpn.gluetun_url': g.url, 'vpn.health_url': '', 'vpn.api_key': key})
    wait_until(lambda: d.get('/health').json['vpn']['state'] == 'up', what='the VPN is up')
    asked = {f'GET {e["path"]}' for e in g.asked()}
    assert asked and asked <= set(routes), asked - set(routes)


# All of it, but for the containers -------------------------------------------------------------
def test_the_redundant_house_stands(stage, daemon, swarm, tracker):
    """Redis with its command, two Peerscopes with their environment, nginx with its files; the
    two volumes are directories, and there is no VPN."""
    parsed = config(FILES['redundant'], VPN_SERVICE_PROVIDER='mullvad')
    dirs = {f'/run/peerscope-{n}': stage.fresh_dir(n, 0o777) for n in ('http', 'redis')}

    def here(text):
        for was, now in dirs.items():
            text = text.replace(was, now)
        return text
    command = [here(str(word)) for word in parsed['services']['redis']['command']]
    stage.start('redis', command)
    check = [here(w) for w in parsed['services']['redis']['healthcheck']['test'][1:]]
    wait_until(lambda: subprocess.run(check, capture_output=True, check=False).stdout ==
               b'PONG\n', what='Redis is healthy')
    t = tracker()
    s = swarm([{'count': 6, 'progress': 'mixed'}])
    t.set(s.infohash, peers=s.endpoints())
    nodes = {}
    for name, service in peerscopes(parsed).items():
        env = {k: here(v) for k, v in own_environment(service).items()
               if not re.search('_VPN_|_SWARM_INTERFACE|GEO_ONLINE', k)}
        env['PEERSCOPE_HTTP_LISTEN'] = env['PEERSCOPE_HTTP_LISTEN'].replace('0.0.0.0:8080',
                                                                            '127.0.0.1:0')
        nodes[name] = daemon({'http.listen': None, 'redis.mode': None,
                              'swarm.trackers': t.http}, env=env)
        wait_until(lambda d=nodes[name]: d.get('/health').json['redis_available'],
                   what=f'{name} has Redis')
    mounts = {v.split(':')[1]: v.split(':')[0] for v in parsed['services']['nginx']['volumes']}
    assert mounts['/etc/nginx/nginx.conf'] == f'{CONF}/nginx.conf'
    with open(mounts['/etc/nginx/nginx.conf'], encoding='ascii') as f:
        cache = re.search(r'^ *proxy_cache_path (\S+)', f.read(), re.M)[1]
    assert cache in parsed['services']['nginx']['tmpfs'], 'its root is read-only'
    with open(mounts['/etc/nginx/nginx-site.conf'], encoding='ascii') as f:
        site = here(f.read())
    f = Front(stage, None, site=site)
    a = f.get(f'/peers/{s.infohash}?wait=10s')
    assert a.status == 200 and a.json['total_peers'] == 6
    for _ in range(2):
        for n in range(1, 9):
            assert f.get(f'/peers/{n:040x}?wait=0').status == 200
    used = {x['node'] for x in f.lines()}
    assert used == {f'unix:{dirs["/run/peerscope-http"]}/{n}.sock' for n in ('one', 'two')}, used
    assert len(t.announces(s.infohash, 'started')) == 1
    # One VPN's Peerscope is gone: the other one answers all.
    nodes['peerscope'].stop()
    for n in range(1, 9):
        assert f.get(f'/peers/{n:040x}?wait=0').status == 200

"""conf/unraid-peerscope.xml: whatever it names is there, in the key table or in the image."""
import os
import re
import subprocess
import xml.etree.ElementTree as ET

import pytest
from daemon import BIN
from procs import ROOT

ATTRIBUTES = {'Name', 'Target', 'Default', 'Mode', 'Description', 'Type', 'Display', 'Required',
              'Mask'}
TREE = ET.parse(os.path.join(ROOT, 'conf', 'unraid-peerscope.xml')).getroot()
FIELDS = TREE.findall('Config')


def of(kind):
    return [f for f in FIELDS if f.get('Type') == kind]


def key(field):
    """PEERSCOPE_SWARM_DHT_STATE -> swarm.dht_state: no section has an underscore in its name."""
    m = re.fullmatch(r'PEERSCOPE_([A-Z]+)_([A-Z_]+)', field.get('Target'))
    assert m, field.get('Target')
    return f'{m[1]}.{m[2]}'.lower()


def table():
    """{section.key: (type, default)} of common/conf.h."""
    with open(os.path.join(ROOT, 'common', 'conf.h'), encoding='utf-8') as f:
        rows = re.findall(r'^X\((\w+), (\w+), (\w+), "((?:[^"\\]|\\.)*)"', f.read(), re.M)
    return {f'{s}.{k}': (kind, default) for s, k, kind, default in rows}


def effective(env):
    """{section.key: (value, where it came from)}, and nothing to complain about."""
    for word in 'config', 'check':
        r = subprocess.run([BIN, word, '-c', '/dev/null', '-o', 'http.listen=127.0.0.1:0'],
                           env={'PATH': os.environ['PATH'], **env}, capture_output=True, text=True,
                           timeout=20, check=False)
        errors = [line for line in r.stderr.splitlines() if not line.endswith('(warning)')]
        assert (r.returncode, errors) == (0, [])
        if word == 'config':
            shown = r.stdout
    return {m[1]: (m[2], m[3]) for m in re.finditer(r'(?m)^(\S+) = (.*?)  # (.*)$', shown)}


@pytest.mark.parametrize('field', FIELDS, ids=lambda f: f.get('Name'))
def test_a_field_is_whole(field):
    assert set(field.keys()) == ATTRIBUTES
    assert field.get('Type') in ('Port', 'Path', 'Variable')
    assert field.get('Display') in ('always', 'advanced', 'advanced-hide')
    assert field.get('Required') in ('true', 'false') and field.get('Mask') in ('true', 'false')
    assert field.get('Mode') in {'Port': ('tcp', 'udp'), 'Path': ('rw',), 'Variable': ('',)}[
        field.get('Type')]
    assert (field.text or '') == field.get('Default')
    assert field.get('Default') or field.get('Required') == 'false'


def test_the_container_is_whole():
    assert TREE.tag == 'Container' and TREE.get('version') == '2'
    for name in ('Name', 'Repository', 'Overview', 'Category', 'Support', 'Project', 'TemplateURL',
                 'ExtraParams', 'WebUI'):
        assert TREE.findtext(name), name
    assert TREE.findtext('Privileged') == 'false'
    for names in [f.get('Name') for f in FIELDS], [
            (f.get('Target'), f.get('Mode')) for f in FIELDS]:
        assert len(set(names)) == len(names)


def test_every_variable_is_a_key():
    """Its name, that a secret is masked and nothing else is, the default that it claims."""
    known = table()
    for f in of('Variable'):
        kind, default = known[key(f)]
        assert (f.get('Mask') == 'true') == (kind == 'SECRET'), key(f)
        assert re.search(rf'{key(f)}\b', f.get('Description')), f'{key(f)}: says which key it is'
        if f.get('Display') != 'advanced-hide':     # those name what is mounted
            assert f.get('Default') == default, key(f)


def test_the_daemon_takes_all_of_them_as_they_stand():
    """Unraid sets empty ones, too."""
    got = effective({f.get('Target'): f.get('Default') for f in of('Variable')})
    for f in of('Variable'):
        shown = got[key(f)]
        assert shown == (f.get('Default'), 'env ' + f.get('Target'))


def test_ports_and_paths_are_those_of_the_configuration():
    got = effective({f.get('Target'): f.get('Default') for f in of('Variable')})
    default = {k: v for k, (_, v) in table().items()}
    http = default['http.listen'].rpartition(':')[2]
    swarm = default['swarm.listen'].rpartition(':')[2]
    assert {(f.get('Target'), f.get('Mode')) for f in of('Port')} == {
        (http, 'tcp'), (swarm, 'tcp'), (swarm, 'udp')}
    assert f'[PORT:{http}]' in TREE.findtext('WebUI')
    for f in of('Path'):
        assert any(f'{value}/'.startswith(f.get('Target') + '/') for value, _ in got.values()), (
            f.get('Target') + ': no key is about it')
    dockerfile = os.path.join(ROOT, 'Dockerfile')
    if os.path.exists(dockerfile):
        with open(dockerfile, encoding='utf-8') as f:
            text = f.read()
        volumes = re.findall(r'"(/[^"]+)"', re.search(r'(?m)^VOLUME (.*)$', text)[1])
        assert {f.get('Target') for f in of('Path')} <= set(volumes)
        exposed = re.findall(r'(\d+)/(tcp|udp)', ' '.join(re.findall(r'(?m)^EXPOSE (.*)$', text)))
        assert {(f.get('Target'), f.get('Mode')) for f in of('Port')} <= set(exposed)


def test_the_page_that_it_opens_is_there(daemon):
    path = TREE.findtext('WebUI').partition(']/')[2]
    assert daemon().get('/' + path).status == 200


def test_a_field_that_is_wrong_would_be_seen():
    with pytest.raises(AssertionError):
        effective({'PEERSCOPE_SWARM_NONSENSE': '1'})
    with pytest.raises(AssertionError):
        effective({'PEERSCOPE_METADATA_CACHE_SIZE': '1'})

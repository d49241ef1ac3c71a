"""The workflow that builds and pushes the image: what of it can be checked without GitHub."""
import os
import re
import subprocess

import pytest
import yaml

from procs import ROOT

FILE = os.path.join(ROOT, '.github', 'workflows', 'image.yml')

@pytest.fixture(scope='module')
def workflow():
    with open(FILE, encoding='utf-8') as f:
        made = yaml.safe_load(f)
    made['on'] = made.pop(True)         # YAML 1.1 takes the word for a truth
    return made


def steps(workflow):
    return [s for job in workflow['jobs'].values() for s in job['steps']]


# The first of each that runs on Node 24: GitHub's runners have no Node 20 since September 2026.
NODE_24 = {'actions/checkout': 5, 'docker/setup-buildx-action': 4, 'docker/metadata-action': 6,
           'docker/build-push-action': 7, 'docker/login-action': 4}


def test_actions_run_on_what_runners_have():
    with open(FILE, encoding='utf-8') as f:
        used = re.findall(r'uses: ([\w/-]+)@[0-9a-f]{40} # v(\d+)\.', f.read())
    assert {name for name, _ in used} == set(NODE_24)
    assert [u for u in used if int(u[1]) < NODE_24[u[0]]] == []


def test_actions_are_pinned_and_see_no_more_than_they_need(workflow):
    used = [s['uses'] for s in steps(workflow) if 'uses' in s]
    assert len(used) >= 6
    assert [u for u in used if not re.fullmatch(r'[\w./-]+@[0-9a-f]{40}', u)] == []
    assert workflow['permissions'] == {}
    assert {name: job['permissions'] for name, job in workflow['jobs'].items()} == {
        'test': {'contents': 'read'}, 'image': {'contents': 'read', 'packages': 'write'}}
    # What a stranger may choose (a branch's name) is in no script.
    assert [s for s in steps(workflow) if '${{' in s.get('run', '')] == []


def test_it_tests_before_it_pushes_both_architectures(workflow):
    assert workflow['on'] == {'push': {'branches': ['dev'], 'tags': ['v*']}}
    assert workflow['jobs']['image']['needs'] == 'test'
    names = [s.get('name', s.get('uses', '').partition('@')[0])
             for s in workflow['jobs']['image']['steps']]
    assert names.index('Build for this machine') < names.index('Start it') \
        < names.index('docker/login-action') < names.index('Build for both, and push')
    pushes = [s['with'] for s in steps(workflow) if s.get('with', {}).get('push')]
    assert len(pushes) == 1 and pushes[0]['platforms'] == 'linux/amd64,linux/arm64'
    assert {'type=ref,event=branch', 'type=semver,pattern={{version}}',
            'type=semver,pattern={{major}}.{{minor}}'} == set(
                next(s for s in steps(workflow) if s.get('id') == 'meta')['with']['tags']
                .split('\n')[:-1])


def test_what_it_names_is_there(workflow):
    with open(os.path.join(ROOT, 'Dockerfile'), encoding='utf-8') as f:
        dockerfile = f.read()
    arguments = re.findall(r'^ARG (\w+)', dockerfile, re.M)
    for s in steps(workflow):
        with_ = s.get('with', {})
        for line in with_.get('build-args', '').splitlines():
            assert line.partition('=')[0] in arguments, line
    runs = ' '.join(s.get('run', '') for s in steps(workflow))
    targets = set(re.findall(r'\bmake ([a-z-]+)', runs))
    assert targets == {'check'}
    for target in targets:
        subprocess.run(['make', '-n', target], cwd=ROOT, check=True, capture_output=True)
    for script in re.findall(r'\b(scripts/[\w-]+)', dockerfile):
        assert os.access(os.path.join(ROOT, script), os.X_OK), script

"""What worker/pages/openapi.json says, held against real answers (apiscenes.py)."""
import copy
import csv
import io
import json
import os

import jsonschema

from procs import ROOT

FILE = os.path.join(ROOT, 'worker', 'pages', 'openapi.json')
PLAIN = {'content-type', 'content-length', 'date', 'connection'}    # of every answer
# What can't be made to happen from outside; its form is that of every error.
UNPLAYED = {('getPeers', '500')}
NO_EXAMPLE = {'getOpenapi', 'getDocs', 'getDocsFile'}       # they are what they are
TEXTS = ('text/csv', 'application/x-ndjson', 'text/plain')


def load():
    with open(FILE, encoding='utf-8') as f:
        return json.load(f)


def closed(value):
    """As JSON Schema has it: nullable is a type, and a member that is not named is wrong."""
    if isinstance(value, list):
        return [closed(v) for v in value]
    if not isinstance(value, dict):
        return value
    out = {k: closed(v) for k, v in value.items() if k not in ('examples', 'example')}
    if out.get('type') == 'object' and 'properties' in out:
        out.setdefault('additionalProperties', False)
    if out.pop('nullable', False):
        out['type'] = [out['type'], 'null']
    return out


class Document:
    def __init__(self):
        self.doc = load()
        self.schemas = closed(copy.deepcopy(self.doc))
        self.resolver = jsonschema.RefResolver('', self.schemas)
        self.operations = {op['operationId']: op for item in self.doc['paths'].values()
                           for op in item.values()}

    def resolve(self, value):
        while '$ref' in value:
            kind, name = value['$ref'].split('/')[2:]
            value = self.doc['components'][kind][name]
        return value

    def response(self, operation, status):
        """What is said of this answer; a status that is not named is 'default'."""
        if operation == 'Refused':
            return self.doc['components']['responses']['Refused']
        return self.resolve(self.operations[operation]['responses'][status])

    def validate(self, value, schema):
        jsonschema.Draft7Validator(closed(schema), resolver=self.resolver).validate(value)

    def contents(self):
        """(operation, status, type, content) of everything that is answered."""
        for name, op in [*self.operations.items(), ('Refused', None)]:
            for status in op['responses'] if op else ['default']:
                if op and status == 'default':
                    continue
                for kind, content in self.response(name, status).get('content', {}).items():
                    yield name, status, kind, content


# An answer ------------------------------------------------------------------------

def check_headers(document, scene, response):
    said = {k.lower(): document.resolve(v) for k, v in response.get('headers', {}).items()}
    sent = {k.lower(): v for k, v in scene.answer.headers.items()}
    unknown = set(sent) - PLAIN - set(said)
    assert not unknown, f'{scene}: {unknown}'
    for name, header in said.items():
        assert name in sent or not header.get('required'), f'{scene}: lacks {name}'
        if name in sent:
            number = header['schema']['type'] == 'integer'
            document.validate(int(sent[name]) if number else sent[name], header['schema'])


def check_answer(document, scene):
    response = document.response(scene.operation, scene.status)
    check_headers(document, scene, response)
    contents = response.get('content')
    if not contents:
        assert scene.answer.body == b'', scene
        return
    assert scene.type in contents, f'{scene}: {scene.type}'
    if scene.type == 'application/json':
        document.validate(scene.answer.json, contents[scene.type]['schema'])
    if scene.operation == 'Refused':
        words = response['x-codes'][scene.status]
        assert scene.answer.json['code'] in words, scene


# Examples -------------------------------------------------------------------------

def as_objects(kind, text):
    """A text as a list of rows; of a scrape the names of its metrics and their types."""
    if kind.startswith('text/csv'):
        rows = list(csv.reader(io.StringIO(text), strict=True))
        return [dict(zip(rows[0], r, strict=True)) for r in rows[1:]]
    if kind == 'application/x-ndjson':
        return [json.loads(line) for line in text.splitlines()]
    return dict(line.split()[2:4] for line in text.splitlines() if line.startswith('# TYPE'))


def value_of(scene):
    return scene.answer.json if scene.type == 'application/json' else scene.answer.body.decode()


def differs(a, b, where=''):
    """Where two values have another form; None: nowhere. null may stand for anything."""
    if a is None or b is None:
        return None
    if type(a) is not type(b):
        return f'{where}: {a!r} and {b!r}'
    if isinstance(a, dict):
        if list(a) != list(b):
            return f'{where}: {list(a)} and {list(b)}'
        return next((d for k in a for d in [differs(a[k], b[k], f'{where}/{k}')] if d), None)
    if isinstance(a, list) and a and b:
        for i, x in enumerate(a):
            found = [differs(x, y, f'{where}[{i}]') for y in b]
            if all(found):
                return found[0]
    return None


def compare(scene, kind, example):
    value = value_of(scene)
    if kind.startswith('text/plain'):       # the beginning of it
        of_this, known = as_objects(kind, example), as_objects(kind, value)
        assert of_this and {**known, **of_this} == known, scene
        return
    if kind.startswith(TEXTS):
        example, value = as_objects(kind, example), as_objects(kind, value)
    assert not differs(example, value) and not differs(value, example), \
        f'{scene}: {differs(example, value) or differs(value, example)}'


def check_examples(document, scenes):
    """Each is what a scene answered, and is valid; scenes that were not played are passed."""
    played = {(s.operation, s.status if s.operation != 'Refused' else 'default', s.type, s.name):
              s for s in scenes if s.name}
    seen = set()
    for operation, status, kind, content in document.contents():
        for name, example in content.get('examples', {}).items():
            if kind == 'application/json':
                document.validate(example['value'], content['schema'])
            scene = played.get((operation, status, kind, name))
            if scene:
                compare(scene, kind, example['value'])
                seen.add((operation, status, kind, name))
    assert set(played) == seen, f'no example: {set(played) - seen}'


def check_requests(document, scenes):
    for s in scenes:
        if s.asked is not None and s.answer.status < 400:
            content = document.operations[s.operation]['requestBody']['content']
            document.validate(s.asked, content['application/json']['schema'])


def check_whole(document, scenes):
    """All that is described was played, and has an example."""
    played = {(s.operation, s.status) for s in scenes}
    names = {(s.operation, s.name) for s in scenes}
    for name, op in document.operations.items():
        for status in op['responses']:
            assert status == 'default' or (name, status) in played | UNPLAYED, (name, status)
    for operation, status, kind, content in document.contents():
        for name in content.get('examples', ()):
            assert (operation, name) in names, f'{operation} {name}: nobody answered so'
        if kind == 'application/json' or kind.startswith(TEXTS):
            assert (content.get('examples') or operation in NO_EXAMPLE
                    or (operation, status) in UNPLAYED), f'{operation} {status}: no example'

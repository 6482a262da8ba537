# SPDX-License-Identifier: Apache-2.0
"""Contract cases: for each operation the requests that must fail in a described way, and the harmless ones that must not.

cases(model) returns a list of dicts:
  id         "ContainerCreate/wrong-type-Env", unique
  operation  operation id
  built      is it implemented? If not, 501 is expected wherever the request would have reached the handler
  reaches    would the request reach the handler (false: version and method errors)
  method, path, headers, body (text, or absent)
  check      "exact": status, content type and body as recorded from the reference; "shape": status as recorded, body valid against spec/
What is expected is not here: golden/contract.json holds what the reference answered (contract-tests/run --record).
"""
import json
import os
import re
from urllib.parse import quote

import yaml

import specmodel

VERSION = '1.45'
MINIMUM = '1.24'
# A valid request to these changes things, or waits for ever: only requests that fail early are made.
UNSAFE = {'ContainerPrune', 'ImagePrune', 'BuildPrune', 'VolumePrune', 'NetworkPrune', 'SwarmInit', 'SwarmJoin', 'SwarmLeave', 'SwarmUpdate', 'VolumeCreate',
          'ImageBuild', 'ImageLoad', 'PluginPull', 'PluginCreate', 'ImageCommit', 'ImageCreate', 'Session', 'SystemAuth', 'SystemDataUsage', 'ImageSearch'}
WRONG = {'string': 1, 'int': 'x', 'bool': 'x', 'double': 'x', 'list': 'x', 'map': [], 'set': [], 'object': 'x'}
# Query a request needs to get past its parameters.
PLAIN_QUERY = {'ContainerResize': 'h=24&w=80', 'ExecResize': 'h=24&w=80', 'ContainerLogs': 'stdout=1', 'ContainerStats': 'stream=0', 'ContainerArchive': 'path=/',
               'ContainerArchiveInfo': 'path=/', 'PutContainerArchive': 'path=/', 'ContainerRename': 'name=contract-new-name', 'ImageTag': 'repo=contract&tag=x',
               'PluginEnable': 'timeout=0', 'PluginUpgrade': 'remote=x', 'SystemEvents': 'since=0&until=1', 'VolumeUpdate': 'version=1',
               'NodeUpdate': 'version=1', 'ServiceUpdate': 'version=1', 'SecretUpdate': 'version=1', 'ConfigUpdate': 'version=1',
               'ServiceLogs': 'stdout=1', 'TaskLogs': 'stdout=1'}
PLAIN_BODY = {'ContainerExec': {'Cmd': ['true']}, 'ExecStart': {'Detach': True}, 'NetworkConnect': {'Container': 'no-such-container'},
              'NetworkDisconnect': {'Container': 'no-such-container'}}


def path_of(op, value='no-such-object'):
    return re.sub(r'\{\w+\}', value, op.path)


class Maker:
    def __init__(self):
        self.out = []

    def add(self, op, name, method=None, version=VERSION, path=None, query='', body=None, headers=None, reaches=True, check='exact'):
        h = dict(headers or {})
        if body is not None and 'Content-Type' not in h:
            h['Content-Type'] = 'application/json'
        case = {'id': '%s/%s' % (op.id, name), 'operation': op.id, 'built': op.built, 'reaches': reaches, 'method': method or op.method,
                'path': ('/v' + version if version else '') + (path or path_of(op)) + ('?' + query if query else ''), 'headers': h, 'check': check}
        if body is not None:
            case['body'] = body if isinstance(body, str) else json.dumps(body)
        self.out.append(case)


def body_cases(mk, op, query):
    if not op.body:
        return
    mk.add(op, 'bad-json', body='{"', query=query)
    mk.add(op, 'bad-json-key', body='{a:1}', query=query)
    mk.add(op, 'wrong-root', body='"x"', query=query)
    mk.add(op, 'trailing-json', body='{} {}' if op.body.kind == 'object' else '[] []', query=query)
    if op.id not in UNSAFE:
        mk.add(op, 'wrong-content-type', body='{}', headers={'Content-Type': 'text/plain'}, query=query)
        mk.add(op, 'blank-body', body=' ', query=query)
    if op.body.kind != 'object':
        return
    for f in op.body.struct.fields:
        if f.schema.get('x-undocumented') or f.type.kind not in WRONG:
            continue
        value = 1 if f.type.strslice else WRONG[f.type.kind]
        mk.add(op, 'wrong-type-' + f.name, body={f.name: value}, query=query)
        if f.type.kind == 'object':
            for sub in f.type.struct.fields:
                if sub.type.kind in WRONG and not sub.schema.get('x-undocumented'):
                    mk.add(op, 'wrong-type-%s.%s' % (f.name, sub.name), query=query,
                           body={f.name: {sub.name: 1 if sub.type.strslice else WRONG[sub.type.kind]}})


def query_cases(mk, op, body):
    plain = dict(p.split('=') for p in PLAIN_QUERY.get(op.id, '').split('&') if p)
    for p in op.query:
        rest = '&'.join('%s=%s' % kv for kv in plain.items() if kv[0] != p.name)
        if p.kind in ('PARSE_BOOL', 'ATOI', 'ATOI_NEED', 'INT64', 'UINT64_NEED'):
            for name, value in (('word', 'x'), ('fraction', '1.5'), ('huge', '99999999999999999999')):
                mk.add(op, 'bad-query-%s-%s' % (p.name, name), query='&'.join(filter(None, ['%s=%s' % (p.name, value), rest])), body=body)
        if p.name == 'filters':
            for name, value in (('word', 'x'), ('unknown', '{"no-such-filter":["x"]}'), ('root', '[]'), ('value', '{"label":1}')):
                if op.id in UNSAFE and name == 'root':
                    continue
                mk.add(op, 'bad-filters-' + name, query='&'.join(filter(None, ['filters=' + quote(value), rest])), body=body)
        if p.name in plain or p.required:
            if op.id not in UNSAFE and op.id != 'SystemEvents' and not (op.id == 'ContainerStats' and p.name == 'stream'):
                mk.add(op, 'missing-query-' + p.name, query=rest, body=body)


def cases(m):
    mk = Maker()
    for op in m.ops:
        query, body = PLAIN_QUERY.get(op.id, ''), PLAIN_BODY.get(op.id)
        if op.body and body is None and op.id not in UNSAFE:
            body = {} if op.body.kind == 'object' else []
        if op.path_params:
            mk.add(op, 'unknown-id', query=query, body=body)
            mk.add(op, 'unversioned', version='', query=query, body=body)
            mk.add(op, 'oldest-version', version=MINIMUM, query=query, body=body)
            mk.add(op, 'odd-id', path=path_of(op, quote('no such;object?', safe='')), query=query, body=body)
        elif op.id not in UNSAFE and not op.body:
            mk.add(op, 'plain', query=query, check='shape')
            mk.add(op, 'unversioned', version='', query=query, check='shape')
            mk.add(op, 'oldest-version', version=MINIMUM, query=query, check='shape')
        body_cases(mk, op, query)
        query_cases(mk, op, body)
        mk.add(op, 'too-old', version='1.23', query=query, reaches=False)
        mk.add(op, 'too-new', version='1.46', query=query, reaches=False)
        mk.add(op, 'no-version', version='1.x', query=query, reaches=False)
        mk.add(op, 'wrong-method', method='PATCH', query=query, reaches=False)
        mk.add(op, 'unknown-below', path=path_of(op).rstrip('/') + '/no-such-thing', method=op.method, reaches=False)
    by_id = {op.id: op for op in m.ops}
    with open(os.path.join(specmodel.SPEC, 'contract-extra.yaml'), encoding='utf-8') as f:
        for extra in yaml.load(f, Loader=specmodel.LOADER) or []:
            op = by_id[extra['operation']]
            mk.add(op, extra['name'], method=extra.get('method'), version=str(extra.get('version', VERSION)), path=extra.get('path'),
                   query=extra.get('query', ''), body=extra.get('body'), headers=extra.get('headers'), check=extra.get('check', 'exact'))
    seen = set()
    for c in mk.out:
        if c['id'] in seen:
            raise ValueError('two contract cases are called ' + c['id'])
        seen.add(c['id'])
    return mk.out

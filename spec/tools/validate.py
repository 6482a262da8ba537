# SPDX-License-Identifier: Apache-2.0
"""Is a reply what the API description promises? The Python twin of build/gen/validate.c, for the diff harness and the contract tests.

    validate('ContainerList', 200, [...])               -> list of problems, [] when right
    validate('GET /v1.45/containers/json', 200, [...])
    validate_message('SystemEvents', {...})              -> one message of a stream
    operation('GET', '/v1.45/images/a/b/json')           -> operation id or None

Strict: unknown field, wrong type, missing required field, value outside an enumeration, unexpected null and undescribed status are problems.
"""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import specmodel                                # noqa: E402

_state = {}
STREAM_MESSAGES = {'SystemEvents': 'EventMessage', 'ImageCreate': 'CreateImageInfo', 'ImagePush': 'PushImageInfo', 'ImageBuild': 'BuildInfo',
                   'ContainerStats': 'ContainerStatsResponse'}


def _model():
    if 'model' not in _state:
        m = _state['model'] = specmodel.Model()
        _state['ops'] = {op.id: op for op in m.ops}
        routes = []
        for op in m.ops:
            body = re.sub(r'\\\{(\w+)\\\}', '(.+)' if op.section in specmodel.SLASHES else '([^/]+)', re.escape(op.path))
            # a fixed path wins over one with a variable
            routes.append((op.path.count('{'), -len(op.path), op.method, re.compile(r'(?:/v\d+\.\d+)?%s$' % body), op.id))
        _state['routes'] = sorted(routes, key=lambda r: r[:2])
    return _state['model']


def operation(method, path):
    """Id of the operation a request means, or None."""
    _model()
    path = path.split('?')[0]
    for _, _, m, rx, oid in _state['routes']:
        if m == method.upper() and rx.match(path):
            return oid
    return None


def _word(v):
    if v is None:
        return 'null'
    return {bool: 'bool', int: 'integer', float: 'real', str: 'string', list: 'array', dict: 'object'}.get(type(v), type(v).__name__)


def _check(t, v, where, out):
    want = {'string': 'string', 'bool': 'bool', 'int': 'integer', 'list': 'array', 'map': 'object', 'set': 'object', 'object': 'object'}
    if t.kind == 'any':
        return
    if t.kind == 'double':
        if _word(v) not in ('integer', 'real'):
            out.append('%s: is %s, not number' % (where, _word(v)))
        return
    if _word(v) != want[t.kind]:
        out.append('%s: is %s, not %s' % (where, _word(v), want[t.kind]))
        return
    if t.kind == 'string' and t.enum and v not in t.enum:
        out.append('%s: value outside the enumeration: %s' % (where, v))
    elif t.kind == 'list':
        for i, e in enumerate(v):
            if not (e is None and t.elem.byref):
                _check(t.elem, e, '%s[%d]' % (where, i), out)
    elif t.kind == 'map':
        for k, e in v.items():
            if not (e is None and t.elem.kind in ('object', 'list', 'map', 'set', 'any')):
                _check(t.elem, e, '%s.%s' % (where, k), out)
    elif t.kind == 'object':
        _check_struct(t.struct, v, where, out)


def _check_struct(st, v, where, out):
    fields = {f.name: f for f in st.fields}
    for k, e in v.items():
        f = fields.get(k)
        here = '%s.%s' % (where, k)
        if f is None:
            if not st.open:
                out.append('%s: unknown field' % here)
        elif e is None:
            if not f.nullable and f.type.kind != 'any':
                out.append('%s: null is not allowed' % here)
        elif not (e == '' and f.unset == 'ZERO' and f.type.kind == 'string'):
            # where the reference writes "" for unset, that stands beside the enumeration
            _check(f.type, e, here, out)
    for f in st.fields:
        if f.required and f.name not in v:
            out.append('%s: missing required field %s' % (where, f.name))


def validate(op, status, body):
    """Problems of a reply's JSON body; body None means there was none (or it is no JSON). op: operation id or 'METHOD /path'."""
    m = _model()
    oid = operation(*op.split(' ', 1)) if ' ' in op else op
    if oid not in _state['ops']:
        return ['no operation %s in the description' % op]
    o = _state['ops'][oid]
    if status in o.replies:
        t = o.replies[status]
        if t is None or body is None:
            return []
    elif status >= 400:
        t = m.type_of({'$ref': '#/definitions/ErrorResponse'}, '')
        if body is None:
            return []
    else:
        return ['%s is not described to answer %d' % (oid, status)]
    out = []
    _check(t, body, t.struct.name if t.kind == 'object' else t.go, out)
    return out


def validate_message(op, message):
    """Problems of one JSON message of a stream."""
    name = STREAM_MESSAGES.get(op)
    if not name:
        return ['%s is no stream of JSON messages' % op]
    m = _model()
    t = m.type_of({'$ref': '#/definitions/' + name}, '')
    out = []
    _check(t, message, name, out)
    return out

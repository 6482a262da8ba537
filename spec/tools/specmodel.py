# SPDX-License-Identifier: Apache-2.0
"""The API description as one object, and the names and types that the generated C code gives to its parts.

load() merges spec/*.yaml. Model walks it and interns: structs (definitions and inline objects), list and map types, operations and their
query parameters. Nothing here writes files; gen.py does.
"""
import os
import re
import yaml

SPEC = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
SECTIONS = ('container image exec network volume system distribution session plugin swarm node service task secret config').split()
METHODS = ('get', 'head', 'post', 'put', 'delete')
# Sections whose path variables may hold slashes (the reference matches the rest of the path).
SLASHES = {'container', 'exec', 'image', 'network', 'volume', 'plugin', 'distribution'}
KEYWORDS = set('auto break case char const continue default do double else enum extern float for goto if inline int long register '
               'restrict return short signed sizeof static struct switch typedef union unsigned void volatile while bool true false '
               'linux unix'.split())
LOADER = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)


def load(folder=SPEC):
    """All files as one document: {..., 'paths': {...}, 'definitions': {...}}; each operation gets 'x-section'."""
    with open(os.path.join(folder, 'common.yaml'), encoding='utf-8') as f:
        doc = yaml.load(f, Loader=LOADER)
    doc.setdefault('paths', {})
    for sec in SECTIONS:
        with open(os.path.join(folder, sec + '.yaml'), encoding='utf-8') as f:
            part = yaml.load(f, Loader=LOADER)
        for path, item in (part.get('paths') or {}).items():
            for method, op in item.items():
                if method in doc['paths'].get(path, {}):
                    raise ValueError('%s %s is described twice' % (method, path))
                op['x-section'] = sec
                doc['paths'].setdefault(path, {})[method] = op
        for name, schema in (part.get('definitions') or {}).items():
            if name in doc['definitions']:
                raise ValueError('definition %s is described twice' % name)
            doc['definitions'][name] = schema
    return doc


def operations(doc):
    """(path, METHOD, operation) of all operations, in the order of the files."""
    for path, item in doc['paths'].items():
        for method, op in item.items():
            if method in METHODS:
                yield path, method.upper(), op


def snake(name):
    """JSON or CamelCase name to a C name: HostConfig -> host_config, IPv6Gateway -> ipv6_gateway, os.version -> os_version."""
    s = re.sub(r'IPv(?=\d)', 'Ipv', name)
    s = re.sub(r'(CPU|ID|CIDR|IP)s(?=[A-Z]|$)', lambda m: m.group(1).capitalize() + 's', s)
    s = s.replace('IOps', 'Iops').replace('OpenID', 'OpenId')
    s = re.sub(r'[^A-Za-z0-9]+', '_', s.strip())
    s = re.sub(r'(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', '_', s).lower()
    s = re.sub(r'__+', '_', s).strip('_')
    return s + '_' if s in KEYWORDS else s


def ref_name(ref):
    return ref.rsplit('/', 1)[-1]


class Type:
    """One interned C shape. key is what makes it the same as another; cname the C type of a value in a struct field."""

    def __init__(self, kind, **kw):
        self.kind = kind
        self.elem = None
        self.struct = None
        self.go = ''
        self.bits = 0
        self.unsigned = self.strslice = self.fixed = self.time = self.byref = False
        self.enum = ()
        self.index = None
        self.__dict__.update(kw)

    @property
    def stem(self):
        """Part of a name: api_<stem>_list."""
        if self.kind == 'object':
            return self.struct.cname
        if self.kind in ('list', 'map', 'set'):
            return self.ctag
        return {'string': 'string', 'bool': 'bool', 'int': 'int', 'double': 'double', 'any': 'json'}[self.kind]

    @property
    def ctag(self):
        """Struct tag (without api_) of aggregate kinds."""
        if self.kind == 'list':
            return self.elem.stem + '_list'
        if self.kind == 'map':
            return self.elem.stem + '_map'
        if self.kind == 'set':
            return 'string_set'
        return self.struct.cname

    @property
    def cvalue(self):
        """C type of the value itself (list elements)."""
        return {'string': 'char *', 'bool': 'bool ', 'int': 'int64_t ', 'double': 'double ', 'any': 'json_t *'}.get(
            self.kind) or 'struct api_%s ' % self.ctag

    @property
    def cfield(self):
        """C type of a struct field or a map value: objects become pointers."""
        return 'struct api_%s *' % self.struct.cname if self.kind == 'object' else self.cvalue

    @property
    def key(self):
        return (self.kind, self.elem.key if self.elem else None, self.struct.name if self.struct else None, self.go, self.bits,
                self.unsigned, self.strslice, self.fixed, self.time, self.byref, self.enum)


class Field:
    def __init__(self, name, cname, typ, schema, required, embed):
        self.name, self.cname, self.type, self.schema, self.required, self.embed = name, cname, typ, schema, required, embed
        self.unset = {'null': 'NULL', 'zero': 'ZERO', 'empty': 'EMPTY'}.get(schema.get('x-unset'), 'OMIT')
        self.pointer = str(schema.get('x-go-type', '')).startswith('*')
        self.nullable = schema.get('x-nullable') is True or self.unset == 'NULL' or schema.get('x-unset') == 'zero' and \
            typ.kind in ('list', 'map', 'set', 'any')
        self.since = minor(schema.get('x-since'))
        self.until = minor(schema.get('x-until')) or 255
        self.has = typ.kind in ('bool', 'int', 'double')
        self.doc = schema.get('description', '')


class Struct:
    def __init__(self, name, schema):
        self.name, self.cname, self.schema = name, snake(name), schema
        self.go = schema.get('x-go', '')
        self.fields = []
        self.open = False
        self.index = None
        self.section = None
        self.doc = schema.get('description', '')


def minor(v):
    """'1.44' -> 44, None -> 0."""
    return int(str(v).split('.')[1]) if v is not None else 0


GO_INT = {'int': 64, 'int8': 8, 'int16': 16, 'int32': 32, 'int64': 64, 'uint': 64, 'uint8': 8, 'uint16': 16, 'uint32': 32, 'uint64': 64,
          'time.Duration': 64, 'os.FileMode': 32, 'fs.FileMode': 32}


class Model:
    def __init__(self, doc=None):
        self.doc = doc or load()
        self.structs = {}       # name -> Struct
        self.types = {}         # key -> Type
        self.aliases = {}       # definition that is no object -> Type
        self.ops = []
        self.inline = {}        # x-name -> schema
        self._find_inline(self.doc)
        for name, schema in self.doc['definitions'].items():
            if self.is_object(schema):
                self.struct(name, schema)
            else:
                self.aliases[name] = self.type_of(schema, name)
        for path, method, op in operations(self.doc):
            self.ops.append(Operation(self, path, method, op))

    # -- schemas
    def _find_inline(self, node):
        if isinstance(node, dict):
            if 'x-name' in node:
                self.inline.setdefault(node['x-name'], node)
            for v in node.values():
                self._find_inline(v)
        elif isinstance(node, list):
            for v in node:
                self._find_inline(v)

    def schema_named(self, name):
        return self.doc['definitions'].get(name) or self.inline[name]

    @staticmethod
    def is_object(schema):
        return 'properties' in schema or 'allOf' in schema

    def flat(self, schema, embed='', go=None):
        """(name, schema, embed path, required) of all properties, allOf dissolved, in wire order; a later one of the same name moves."""
        out = {}
        go = schema.get('x-go', go)
        for part in schema.get('allOf', []):
            if '$ref' in part:
                target = self.schema_named(ref_name(part['$ref']))
                sub = target.get('x-go', ref_name(part['$ref']))
                # The same Go struct under two names embeds nothing.
                sub = embed if sub == go else embed + ('.' if embed else '') + sub.split('.')[-1]
                new = self.flat(target, sub)
            else:
                new = self.flat(part, embed, go)
            for item in new:
                out.pop(item[0], None)
                out[item[0]] = item
        req = set(schema.get('required') or [])
        for name, sub in (schema.get('properties') or {}).items():
            e = embed
            if sub.get('x-ignored'):
                continue
            if sub.get('x-go-embed'):
                e = e + ('.' if e else '') + sub['x-go-embed']
            out.pop(name, None)
            out[name] = (name, sub, e, name in req)
        return list(out.values())

    def struct(self, name, schema):
        if name in self.structs:
            return self.structs[name]
        st = self.structs[name] = Struct(name, schema)
        st.open = schema.get('additionalProperties') is not None and not isinstance(schema.get('additionalProperties'), bool)
        used = set()
        for fname, sub, embed, req in self.flat(schema):
            c = snake(fname)
            while c in used or c.startswith('has_') and c[4:] in used:
                c += '_'
            used.add(c)
            t = self.type_of(sub, name + fname[:1].upper() + fname[1:])
            st.fields.append(Field(fname, c, t, sub, req, embed))
        return st

    def intern(self, t):
        return self.types.setdefault(t.key, t)

    def type_of(self, schema, hint, go=None):
        """Interned Type of a schema; hint names anonymous objects; go is the Go type known from outside."""
        go = (schema.get('x-go-type') or go or '').lstrip('*')
        if 'x-schema' in schema:
            schema = {'$ref': schema['x-schema']}
        if '$ref' in schema:
            name = ref_name(schema['$ref'])
            target = self.schema_named(name)
            if self.is_object(target):
                st = self.struct(name, target)
                return self.intern(Type('object', struct=st, go=go or st.go))
            return self.type_of(target, name, go)
        if self.is_object(schema):
            st = self.struct(schema.get('x-name') or hint, schema)
            return self.intern(Type('object', struct=st, go=go or st.go))
        kind = schema.get('type')
        if kind == 'array':
            sub = re.match(r'\[(\d*)\](.*)', go)
            if go == 'strslice.StrSlice':
                elem = self.type_of(schema['items'], hint + 'Item', 'string')
                return self.intern(Type('list', elem=elem, go=go, strslice=True))
            elem = self.type_of(schema['items'], hint + 'Item', sub.group(2) if sub else None)
            byref = bool(sub and sub.group(2).startswith('*'))
            if byref and elem.kind == 'object':
                elem = self.intern(Type('object', struct=elem.struct, go=elem.go, byref=True))
            fixed = int(sub.group(1)) if sub and sub.group(1) else 0
            return self.intern(Type('list', elem=elem, go=go or '[]' + elem.go, fixed=bool(fixed), bits=fixed))
        if kind == 'object':
            extra = schema.get('additionalProperties')
            if not isinstance(extra, dict):
                return self.intern(Type('any', go=go or 'interface {}'))
            sub = re.match(r'map\[[^\]]*\](.*)', go)
            if extra.get('type') == 'object' and extra.get('enum') == [{}]:
                return self.intern(Type('set', go=go or 'map[string]struct {}'))
            elem = self.type_of(extra, hint + 'Value', sub.group(1) if sub else None)
            return self.intern(Type('map', elem=elem, go=go or 'map[string]' + elem.go))
        if kind == 'string':
            return self.intern(Type('string', go=go or 'string', time=go == 'time.Time', enum=tuple(schema.get('enum') or ()) + tuple(schema.get('x-enum-more') or ())))
        if kind == 'boolean':
            return self.intern(Type('bool', go=go or 'bool'))
        if kind == 'integer':
            f = schema.get('format', 'int')
            name = go or (f if f in GO_INT else 'int')
            base = name if name in GO_INT else (f if f in GO_INT else 'int')
            return self.intern(Type('int', go=name, bits=GO_INT[base], unsigned=base.startswith('uint') or base.endswith('FileMode')))
        if kind == 'number':
            return self.intern(Type('double', go=go or 'float64'))
        return self.intern(Type('any', go=go or 'interface {}'))


class Param:
    KINDS = {'string': 'STRING', 'list': 'LIST', 'bool': 'BOOL', 'parse-bool': 'PARSE_BOOL', 'atoi': 'ATOI', 'atoi-need': 'ATOI_NEED',
             'int64': 'INT64', 'int64-lax': 'INT64_LAX', 'uint64-need': 'UINT64_NEED'}

    def __init__(self, p):
        self.name, self.cname, self.schema = p['name'], snake(p['name']), p
        parse = p.get('x-parse') or {'string': 'string', 'boolean': 'bool', 'integer': 'int64', 'array': 'list'}[p['type']]
        self.kind = self.KINDS[parse]
        self.ctype = {'STRING': 'char *', 'LIST': 'struct api_string_list ', 'BOOL': 'bool ', 'PARSE_BOOL': 'bool '}.get(self.kind, 'int64_t ')
        self.has = self.kind not in ('STRING', 'LIST')
        self.error = p.get('x-error', 'INVALID' if self.kind != 'BOOL' else 'NONE').upper()
        self.default = 1 if p.get('x-default', p.get('default')) is True and self.kind == 'BOOL' else 0
        self.since = minor(p.get('x-since'))
        self.wrap = p.get('x-error-prefix', '')
        self.required = bool(p.get('required'))
        self.doc = p.get('description', '')


class Operation:
    def __init__(self, model, path, method, op):
        self.path, self.method, self.op = path, method, op
        self.id, self.section = op['operationId'], op['x-section']
        self.cname = snake(self.id)
        self.handler = op['x-handler']
        self.stream = op.get('x-stream', 'none')
        self.built = op.get('x-built') is True
        self.since, self.until = minor(op.get('x-since')), minor(op.get('x-until')) or 255
        self.query = [Param(p) for p in op.get('parameters', []) if p['in'] == 'query']
        self.path_params = [p['name'] for p in op.get('parameters', []) if p['in'] == 'path']
        self.body = None
        self.body_required = False
        for p in op.get('parameters', []):
            if p['in'] == 'body':
                self.body_required = bool(p.get('required'))
                if 'json' in ' '.join(op.get('consumes', ['application/json'])) or p['schema'].get('type') not in ('string',):
                    if p['schema'].get('type') != 'string':
                        self.body = model.type_of(p['schema'], self.id + 'Request')
        self.replies = {}   # status -> Type or None
        for status, r in op['responses'].items():
            self.replies[int(status)] = model.type_of(r['schema'], '%s%sResponse' % (self.id, '' if int(status) < 300 else status)) \
                if 'schema' in r else None

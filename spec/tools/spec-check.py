#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Is the structure of spec/ that of the published API description? Every difference is printed; the exit status is 0 only without any.

    spec-check.py [--published FILE] [--cache FOLDER]

Compared: paths, methods, operation ids, consumes and produces, parameters (name, place, type, format, default, enum, required, bounds), bodies,
replies (status codes, headers, schemas), definitions and all their fields (type, format, enum, default, required, nullable, bounds), references
and inheritance. Not compared: examples, titles and our extension fields; descriptions must not be the published ones. Parts marked x-undocumented are what the
reference has beyond its description; they are counted, not compared.

Without --published the file comes from Debian's package golang-github-docker-docker-dev of trixie, downloaded with apt into the cache (build/spec-check)
from the mirrors this machine is set up with.
"""
import argparse
import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import yaml                                     # noqa: E402
import specmodel                                # noqa: E402

PACKAGE = 'golang-github-docker-docker-dev'
SUITE = 'trixie'
WORDS = {'description', 'summary', 'title', 'example', 'examples', 'externalDocs', 'tags'}


def fetch(cache):
    """Path of the published description, downloading it when the cache has none."""
    def cached():
        return glob.glob(os.path.join(cache, 'root/usr/share/gocode/src/github.com/docker/docker/api/swagger.yaml'))
    if cached():
        return cached()[0]
    for sub in ('lists/partial', 'cache/archives/partial', 'parts'):
        os.makedirs(os.path.join(cache, sub), exist_ok=True)
    here = ''
    with open('/etc/os-release', encoding='utf-8') as f:
        m = re.search(r'^VERSION_CODENAME=(\w+)', f.read(), re.M)
        here = m.group(1) if m else SUITE
    for src in glob.glob('/etc/apt/sources.list') + glob.glob('/etc/apt/sources.list.d/*.list') + glob.glob('/etc/apt/sources.list.d/*.sources'):
        with open(src, encoding='utf-8') as f:
            text = f.read()
        if here not in text or 'debian' not in text:
            continue
        with open(os.path.join(cache, 'parts', os.path.basename(src)), 'w', encoding='utf-8') as f:
            f.write(re.sub(r'\b%s\b' % here, SUITE, text))
    apt = ['apt-get', '-qq', '-o', 'Dir::Etc::SourceList=/dev/null', '-o', 'Dir::Etc::SourceParts=' + os.path.abspath(os.path.join(cache, 'parts')),
           '-o', 'Dir::State::Lists=' + os.path.abspath(os.path.join(cache, 'lists')),
           '-o', 'Dir::Cache=' + os.path.abspath(os.path.join(cache, 'cache'))]
    subprocess.run(apt + ['update'], check=True)
    subprocess.run(apt + ['download', PACKAGE], check=True, cwd=cache, stderr=subprocess.DEVNULL)
    deb = sorted(glob.glob(os.path.join(cache, PACKAGE + '_*.deb')))[-1]
    subprocess.run(['dpkg-deb', '-x', deb, os.path.join(cache, 'root')], check=True)
    return cached()[0]


class Counter(dict):
    def add(self, what, n=1):
        self[what] = self.get(what, 0) + n


def skeleton(node, count, inside=None):
    """A schema, parameter or header without words and extensions; allOf keeps its references and melts its own parts together."""
    if not isinstance(node, dict):
        return node
    out = {}
    for k, v in node.items():
        if k == 'properties':
            out[k] = {}
            for name, sub in v.items():
                if sub.get('x-undocumented'):
                    count.add('undocumented fields')
                    continue
                out[k][name] = skeleton(sub, count)
                count.add('fields')
        elif k in WORDS or k.startswith('x-') and k != 'x-nullable':
            continue
        elif k == 'enum':
            out[k] = v
            count.add('enumerations')
        elif k in ('items', 'additionalProperties', 'schema'):
            out[k] = skeleton(v, count)
        elif k == 'headers':
            out[k] = {h: skeleton(s, count) for h, s in v.items()}
        elif k == 'required' and isinstance(v, list):
            out[k] = sorted(v)
            count.add('required fields', len(v))
        elif k == 'allOf':
            refs, own = [], {}
            for part in v:
                if '$ref' in part:
                    refs.append(part['$ref'])
                    continue
                sub = skeleton(part, count)
                for pk, pv in sub.items():
                    if pk == 'properties':
                        own.setdefault(pk, {}).update(pv)
                    elif pk == 'required':
                        own[pk] = sorted(set(own.get(pk, []) + pv))
                    elif pk != 'type':
                        own[pk] = pv
            out['allOf'] = {'refs': sorted(refs), 'own': own}
        else:
            out[k] = v
    return out


def without_moved(doc):
    """An own part of allOf may name a field of the referenced part again, to put it elsewhere on the wire: not a difference."""
    for schema in doc['definitions'].values():
        parts = schema.get('allOf') or []
        inherited = {}
        for p in parts:
            if '$ref' in p:
                inherited.update(doc['definitions'].get(specmodel.ref_name(p['$ref']), {}).get('properties') or {})
        for p in parts:
            for name in [n for n in p.get('properties', {}) if n in inherited]:
                if {k: v for k, v in p['properties'][name].items() if k in ('type', 'format')} == \
                        {k: v for k, v in inherited[name].items() if k in ('type', 'format')}:
                    del p['properties'][name]


def structure(doc):
    """Everything compared, as nested dicts, and how much of it there is."""
    count = Counter()
    out = {'definitions': {}, 'paths': {}}
    for k in ('swagger', 'basePath', 'schemes', 'consumes', 'produces'):
        out[k] = doc.get(k)
    for name, schema in doc['definitions'].items():
        if schema.get('x-undocumented'):
            count.add('undocumented definitions')
            continue
        out['definitions'][name] = skeleton(schema, count)
        count.add('definitions')
    for path, item in doc['paths'].items():
        count.add('paths')
        out['paths'][path] = {}
        for method, op in item.items():
            count.add('operations')
            o = out['paths'][path][method] = {k: op.get(k) for k in ('operationId', 'consumes', 'produces', 'deprecated') if k in op}
            o['parameters'] = {}
            for p in op.get('parameters', []):
                if p.get('x-undocumented') or p.get('x-own'):
                    count.add('undocumented parameters')
                    continue
                o['parameters'][p['in'] + ' ' + p['name']] = skeleton({k: v for k, v in p.items() if not (k == 'required' and not v)}, count)
                count.add('parameters')
            o['responses'] = {}
            for status, r in op['responses'].items():
                o['responses'][str(status)] = skeleton(r, count)
                count.add('replies')
    return out, count


def differences(ours, theirs, where=''):
    """Lines that tell where two structures differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for k in list(theirs) + [k for k in ours if k not in theirs]:
            here = '%s/%s' % (where, k)
            if k not in ours:
                yield '%s: missing here (published: %s)' % (here, str(theirs[k])[:120])
            elif k not in theirs:
                yield '%s: only here (%s)' % (here, str(ours[k])[:120])
            else:
                yield from differences(ours[k], theirs[k], here)
    elif ours != theirs:
        yield '%s: %r here, %r published' % (where, ours, theirs)


def words(node, out):
    """All descriptions of a document, in lower case without punctuation."""
    if isinstance(node, dict):
        for k, v in node.items():
            if k in ('description', 'summary', 'title') and isinstance(v, str):
                out.add(' '.join(re.findall(r'[a-z0-9]+', v.lower())))
            else:
                words(v, out)
    elif isinstance(node, list):
        for v in node:
            words(v, out)
    return out


def main(argv):
    args = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    args.add_argument('--published', help='the published description (YAML)')
    args.add_argument('--cache', default=os.path.join(specmodel.SPEC, '..', 'build', 'spec-check'))
    args = args.parse_args(argv[1:])
    try:
        name = args.published or fetch(args.cache)
    except (subprocess.CalledProcessError, IndexError, OSError) as e:
        print('spec-check: the published description cannot be had: %s' % e)
        return 2
    with open(name, encoding='utf-8') as f:
        published = yaml.load(f, Loader=specmodel.LOADER)
    own = specmodel.load()
    without_moved(own)
    ours, count = structure(own)
    theirs, their_count = structure(published)
    lines = list(differences(ours, theirs))
    # The words are to be our own: a text of some length that the published description has, too, was copied.
    same = {w for w in words(own, set()) & words(published, set()) if len(w.split()) > 4}
    lines += ['description is not our own: ' + w for w in sorted(same)]
    for line in lines:
        print(line)
    for what in sorted(set(count) | set(their_count)):
        print('%-26s %5d here %5d published' % (what, count.get(what, 0), their_count.get(what, 0)))
    print('spec-check: %d differences' % len(lines))
    return 1 if lines else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))

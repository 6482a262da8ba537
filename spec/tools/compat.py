#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes COMPAT.md: what is built, what proves it, and every known difference to the reference.

    compat.py [--out COMPAT.md] [--check]

Fails (exit status 1) when a scenario uses a deviation that spec/deviations.yaml does not list, when a listed one has no scenario, contract case or
test that exists, or (with --check) when COMPAT.md is not what would be written.
"""
import argparse
import fnmatch
import glob
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import yaml                                     # noqa: E402
import contract                                 # noqa: E402
import specmodel                                # noqa: E402
import validate                                 # noqa: E402

TOP = os.path.normpath(os.path.join(specmodel.SPEC, '..'))

# Operations a command of the docker CLI always makes (beside _ping).
RUN = 'ContainerCreate ContainerStart ContainerWait ContainerAttach'
CLI = {
    'run': RUN, 'create': 'ContainerCreate', 'start': 'ContainerStart', 'stop': 'ContainerStop', 'kill': 'ContainerKill', 'restart': 'ContainerRestart',
    'rm': 'ContainerDelete', 'ps': 'ContainerList', 'logs': 'ContainerLogs', 'attach': 'ContainerInspect ContainerAttach', 'wait': 'ContainerWait',
    'rename': 'ContainerRename', 'pause': 'ContainerPause', 'unpause': 'ContainerUnpause', 'top': 'ContainerTop', 'stats': 'ContainerStats',
    'update': 'ContainerUpdate', 'diff': 'ContainerChanges', 'export': 'ContainerExport', 'cp': 'ContainerArchiveInfo', 'port': 'ContainerInspect',
    'commit': 'ImageCommit', 'exec': 'ContainerExec ExecStart ExecInspect', 'images': 'ImageList', 'pull': 'ImageCreate', 'push': 'ImagePush', 'import': 'ImageCreate',
    'load': 'ImageLoad', 'save': 'ImageGetAll', 'tag': 'ImageTag', 'rmi': 'ImageDelete', 'history': 'ImageHistory', 'search': 'ImageSearch',
    'info': 'SystemInfo', 'version': 'SystemVersion', 'events': 'SystemEvents', 'login': 'SystemAuth', 'inspect': 'ContainerInspect',
    'network ls': 'NetworkList', 'network create': 'NetworkCreate', 'network rm': 'NetworkDelete', 'network inspect': 'NetworkInspect',
    'network connect': 'NetworkConnect', 'network disconnect': 'NetworkDisconnect', 'network prune': 'NetworkPrune',
    'volume ls': 'VolumeList', 'volume create': 'VolumeCreate', 'volume rm': 'VolumeDelete', 'volume inspect': 'VolumeInspect', 'volume prune': 'VolumePrune',
    'image ls': 'ImageList', 'image inspect': 'ImageInspect', 'image rm': 'ImageDelete', 'image prune': 'ImagePrune', 'image history': 'ImageHistory',
    'container ls': 'ContainerList', 'container inspect': 'ContainerInspect', 'container prune': 'ContainerPrune', 'container rm': 'ContainerDelete',
    'system df': 'SystemDataUsage', 'system info': 'SystemInfo', 'plugin ls': 'PluginList',
}


def scenarios(folder):
    """{name: (operations, deviations)} of all scenario files."""
    out = {}
    for path in sorted(glob.glob(os.path.join(folder, 'diffharness', 'scenarios', '**', '*.scn'), recursive=True)):
        name = os.path.relpath(path, os.path.join(folder, 'diffharness', 'scenarios'))[:-4]
        with open(path, encoding='utf-8') as f:
            text = f.read()
        ops = set()
        for method, target in re.findall(r'\b(GET|HEAD|POST|PUT|DELETE) (/\S+)', text):
            ops.add(validate.operation(method, target))
        for words in re.findall(r'\bdocker ((?:[a-z]+)(?: [a-z]+)?)', text):
            ops.update((CLI.get(words) or CLI.get(words.split()[0]) or '').split())
        out[name] = (ops - {None}, set(re.findall(r'\bD-[A-Z]+-\d+\b', text)))
    return out


def unit_tests(folder):
    names = set()
    for path in glob.glob(os.path.join(folder, 'engine', '**', 'test-*.c'), recursive=True):
        with open(path, encoding='utf-8') as f:
            names.update(re.findall(r'^TEST\((\w+)\)', f.read(), re.M))
    for path in glob.glob(os.path.join(folder, 'contract-tests', 'system', '*.bats')):
        with open(path, encoding='utf-8') as f:
            names.update(re.findall(r'^@test "(.*)" \{$', f.read(), re.M))
    return names


def option_cases(folder):
    """{deviation id: [cases of contract-tests/options.yaml]}"""
    out = {}
    with open(os.path.join(folder, 'contract-tests', 'options.yaml'), encoding='utf-8') as f:
        for case in yaml.load(f, Loader=specmodel.LOADER):
            if 'ours' in case or 'deviation' in case:
                out.setdefault(case.get('deviation', ''), []).append(case['name'])
    return out


def rows_of(folder):
    """{row: [scenarios that say they prove it]}"""
    out = {}
    for path in sorted(glob.glob(os.path.join(folder, 'diffharness', 'scenarios', '*', '*.scn'))):
        name = '/'.join(path.split('/')[-2:])[:-4]
        with open(path, encoding='utf-8') as f:
            for line in re.findall(r'^(?:# *)?rows: ([0-9 ]+)$|^ +row ([0-9 ]+)$', f.read(), re.M):
                for row in ' '.join(line).split():
                    if name not in out.setdefault(int(row), []):
                        out[int(row)].append(name)
    return out


def behaviours(folder):
    """{row: {title, test, later}}"""
    with open(os.path.join(folder, 'spec', 'behaviours.yaml'), encoding='utf-8') as f:
        rows = yaml.load(f, Loader=specmodel.LOADER)
    return {int(n): row if isinstance(row, dict) else {'title': row} for n, row in rows.items()}


def checked_rows(folder):
    """The rows that a step proves by itself: it names the row and says what must hold."""
    out = set()
    for path in glob.glob(os.path.join(folder, 'diffharness', 'scenarios', '*', '*.scn')):
        with open(path, encoding='utf-8') as f:
            for step in re.split(r'\n(?=[^\s#])', f.read()):
                if re.search(r'^ +\? ', step, re.M):
                    out.update(int(row) for line in re.findall(r'^ +row ([0-9 ]+)$', step, re.M) for row in line.split())
    return out


def row_problems(rows, proven, checked, tests):
    """Why the list of behaviours is wrong; [] when it is right. A row that only the head of a scenario names proves nothing that could be seen to break."""
    out = ['scenario %s names row %d, which spec/behaviours.yaml does not list' % (scn, n) for n in sorted(set(proven) - set(rows)) for scn in proven[n]]
    for n, row in rows.items():
        out += ['row %d names test %s, which does not exist' % (n, t) for t in as_list(row.get('test')) if t not in tests]
        if row.get('later') and (n in proven or row.get('test')):
            out.append('row %d is proven and still says what it waits for' % n)
        if n not in checked and not row.get('test') and not row.get('later'):
            out.append('row %d has no step that names it and has a `?` line' % n)
    return out


def render_rows(rows, proven):
    done = [n for n in rows if n in proven or rows[n].get('test')]
    out = ['## Behaviours that clients rely on', '', '%d of %d are proven.' % (len(done), len(rows)), '', '| row | behaviour | proof |', '|---|---|---|']
    for n, row in rows.items():
        names = proven.get(n, [])
        proof = ', '.join(names[:3]) + (' and %d more' % (len(names) - 3) if len(names) > 3 else '')
        proof = '; '.join([p for p in [proof] + ['test "%s"' % t for t in as_list(row.get('test'))] if p])
        out.append('| %d | %s | %s |' % (n, row['title'], proof or 'not yet: ' + row.get('later', 'no scenario')))
    return out + ['']


def as_list(v):
    return v if isinstance(v, list) else [v] if v else []


def problems(deviations, scn, cases, tests, op_ids, opts=None):
    """Why the list of deviations is wrong; [] when it is right. opts: option_cases()."""
    out, ids, opts = [], set(), opts or {}
    for d in deviations:
        if d['id'] in ids:
            out.append('%s is listed twice' % d['id'])
        ids.add(d['id'])
        if not d.get('title') or not d.get('reason'):
            out.append('%s has no title or no reason' % d['id'])
        for o in as_list(d.get('operation')):
            if o not in op_ids:
                out.append('%s names operation %s, which does not exist' % (d['id'], o))
        proof = len(opts.get(d['id'], []))
        for s in as_list(d.get('scenario')):
            if s not in scn:
                out.append('%s names scenario %s, which does not exist' % (d['id'], s))
            elif d['id'] not in scn[s][1]:
                out.append('%s names scenario %s, which does not mention it' % (d['id'], s))
            else:
                proof += 1
        for pattern in as_list(d.get('contract')):
            found = fnmatch.filter(cases, pattern)
            proof += len(found)
            if not found:
                out.append('%s names contract cases %s, and there are none' % (d['id'], pattern))
        for t in as_list(d.get('test')):
            proof += t in tests
            if t not in tests:
                out.append('%s names test %s, which does not exist' % (d['id'], t))
        if not proof:
            out.append('%s has nothing that proves it' % d['id'])
    for i in sorted(set(opts) - ids):
        out.append('contract-tests/options.yaml uses the deviation "%s", which spec/deviations.yaml does not list' % i)
    for name, (_, used) in scn.items():
        for i in sorted(used - ids):
            out.append('scenario %s uses %s, which spec/deviations.yaml does not list' % (name, i))
    return out


def options(folder):
    """[(flag, reason)] of the daemon options that are known and not built, from the option table."""
    with open(os.path.join(folder, 'engine', 'daemon', 'options-table.c'), encoding='utf-8') as f:
        text = f.read()
    rows = re.findall(r'\{"([a-z0-9-]+)",(.*?)\},\n', text, re.S)
    out = []
    for name, rest in rows:
        last = re.search(r'(NULL|"((?:[^"\\]|\\.)*)"|[A-Z0-9_]+)\s*$', rest)
        if last and last.group(1) != 'NULL':
            reason = last.group(2)
            if reason is None:
                reason = re.search(r'#define %s "([^"]*)"' % last.group(1), text).group(1)
            out.append((name, reason))
    return out


def render(model, deviations, scn, cases, opts=None):
    by_op = {}
    for d in deviations:
        for o in as_list(d.get('operation')):
            by_op.setdefault(o, []).append(d['id'])
    built = [op for op in model.ops if op.built]
    covered = [op for op in built if any(op.id in ops for ops, _ in scn.values())]
    out = ['# Compatibility', '',
           'Generated by `spec/tools/compat.py` from `spec/`, the scenarios and `spec/deviations.yaml`; the reference is Docker Engine 26.1.5, API 1.45.', '',
           '%d of %d operations are built, %d of them run in scenarios against the reference; the others answer 501 and name themselves. '
           '%d contract cases cover all operations. %d deviations are known.' % (
               len(built), len(model.ops), len(covered), len(cases), len(deviations)), '', '## Operations', '']
    for sec in specmodel.SECTIONS:
        ops = [op for op in model.ops if op.section == sec]
        out += ['### %s' % sec, '', '| operation | request | built | contract cases | scenarios | deviations |', '|---|---|---|---|---|---|']
        for op in ops:
            names = [n for n, (used, _) in scn.items() if op.id in used]
            shown = ', '.join(names[:3]) + (' and %d more' % (len(names) - 3) if len(names) > 3 else '')
            n = sum(1 for c in cases if c.split('/')[0] == op.id)
            out.append('| %s | `%s %s` | %s | %d | %s | %s |' % (
                op.id, op.method, op.path, 'yes' if op.built else 'no, 501', n, shown, ', '.join(by_op.get(op.id, []))))
        out.append('')
    out += ['## Deviations', '', 'An answer that differs from the reference and is not listed here is a bug.', '']
    for d in deviations:
        out.append('### %s %s' % (d['id'], d['title'].rstrip('.')))
        out.append('')
        if as_list(d.get('operation')):
            out += ['Operations: %s.' % ', '.join(as_list(d['operation'])), '']
        out += [d['reason'].strip(), '']
        proof = ['scenario %s' % s for s in as_list(d.get('scenario'))] + ['contract case %s' % c for c in as_list(d.get('contract'))] + \
                ['test %s' % t for t in as_list(d.get('test'))] + ['option case "%s"' % o for o in (opts or {}).get(d['id'], [])]
        out += ['Proof: %s.' % '; '.join(proof), '']
    out += render_rows(behaviours(TOP), rows_of(TOP))
    out += ['## Options that are not built', '', 'hataked knows these flags (and their keys of daemon.json) and warns at its start; they do nothing, unless the reason says more.', '', '| option | why |', '|---|---|']
    out += ['| `--%s` | %s |' % o for o in options(TOP)]
    return '\n'.join(out).rstrip('\n') + '\n'


def main(argv):
    args = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    args.add_argument('--out', default=os.path.join(TOP, 'COMPAT.md'))
    args.add_argument('--check', action='store_true')
    args = args.parse_args(argv[1:])
    model = specmodel.Model()
    with open(os.path.join(specmodel.SPEC, 'deviations.yaml'), encoding='utf-8') as f:
        deviations = yaml.load(f, Loader=specmodel.LOADER) or []
    scn = scenarios(TOP)
    cases = [c['id'] for c in contract.cases(model)]
    opts = option_cases(TOP)
    wrong = problems(deviations, scn, cases, unit_tests(TOP), {op.id for op in model.ops}, opts)
    wrong += row_problems(behaviours(TOP), rows_of(TOP), checked_rows(TOP), unit_tests(TOP))
    text = render(model, deviations, scn, cases, opts)
    old = ''
    if os.path.exists(args.out):
        with open(args.out, encoding='utf-8') as f:
            old = f.read()
    if args.check and old != text:
        wrong.append('%s is out of date: run spec/tools/compat.py' % os.path.basename(args.out))
    for w in wrong:
        print('compat: ' + w)
    if not args.check and old != text:
        with open(args.out, 'w', encoding='utf-8') as f:
            f.write(text)
    print('compat: %d operations, %d built, %d deviations, %d problems' % (
        len(model.ops), sum(op.built for op in model.ops), len(deviations), len(wrong)))
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))

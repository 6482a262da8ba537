# SPDX-License-Identifier: Apache-2.0
"""Tests of the generator and its companions: python3 -m unittest discover -s spec/tools"""
import copy
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import compat                                   # noqa: E402
import contract                                 # noqa: E402
import gen                                      # noqa: E402
import specmodel                                # noqa: E402
import validate                                 # noqa: E402


def load_script(name):
    spec = importlib.util.spec_from_file_location(name.replace('-', '_'), os.path.join(HERE, name + '.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODEL = specmodel.Model()


class Names(unittest.TestCase):
    def test_snake(self):
        for name, want in (('HostConfig', 'host_config'), ('IPv6Gateway', 'ipv6_gateway'), ('GlobalIPv6PrefixLen', 'global_ipv6_prefix_len'),
                           ('NanoCPUs', 'nano_cpus'), ('BlkioDeviceReadIOps', 'blkio_device_read_iops'), ('DeviceIDs', 'device_ids'),
                           ('TLSInfo', 'tls_info'), ('os.version', 'os_version'), ('one-shot', 'one_shot'), ('X-Registry-Auth', 'x_registry_auth'),
                           ('IPAMConfig', 'ipam_config'), ('RW', 'rw'), ('OOMKilled', 'oom_killed'), ('Default', 'default_'), ('InsecureRegistryCIDRs',
                                                                                                                           'insecure_registry_cidrs')):
            self.assertEqual(specmodel.snake(name), want)

    def test_no_two_structs_share_a_name(self):
        names = [s.cname for s in MODEL.structs.values()]
        self.assertEqual(len(names), len(set(names)))

    def test_field_names_are_unique(self):
        for s in MODEL.structs.values():
            names = [f.cname for f in s.fields] + ['has_' + f.cname for f in s.fields if f.has]
            self.assertEqual(len(names), len(set(names)), s.name)


    def test_field_names_need_no_escaping(self):
        for s in MODEL.structs.values():
            for f in s.fields:
                self.assertRegex(f.name, r'^[ -!#-\[\]-~]+$')


class Description(unittest.TestCase):
    def test_counts(self):
        self.assertEqual(len(MODEL.ops), 107)
        self.assertEqual(sum(1 for s in MODEL.doc['definitions'].values() if not s.get('x-undocumented')), 111)

    def test_every_operation_is_described(self):
        for op in MODEL.ops:
            self.assertTrue(op.op['summary'].strip(), op.id)
            self.assertEqual(op.handler, 'op_' + op.cname)

    def test_every_definition_is_described(self):
        for name, s in MODEL.doc['definitions'].items():
            if not s.get('x-undocumented'):
                self.assertTrue(s.get('description', '').strip(), name)

    def test_references_lead_somewhere(self):
        def walk(node):
            if isinstance(node, dict):
                if '$ref' in node:
                    MODEL.schema_named(specmodel.ref_name(node['$ref']))
                for v in node.values():
                    walk(v)
            elif isinstance(node, list):
                for v in node:
                    walk(v)
        walk(MODEL.doc)

    def test_embedded_fields_keep_the_order_of_the_wire(self):
        names = [f.name for f in MODEL.structs['HostConfig'].fields]
        self.assertEqual(names[0], 'Binds')
        self.assertLess(names.index('Binds'), names.index('CpuShares'))
        self.assertLess(names.index('CpuShares'), names.index('MaskedPaths'))
        self.assertEqual(names.count('Init'), 1)


class Generator(unittest.TestCase):
    def test_same_input_same_output(self):
        with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
            gen.main(['gen.py', '--out', a])
            subprocess.run([sys.executable, os.path.join(HERE, 'gen.py'), '--out', b], check=True, env={'PYTHONHASHSEED': '7'})
            for name in os.listdir(a):
                with open(os.path.join(a, name), encoding='utf-8') as x, open(os.path.join(b, name), encoding='utf-8') as y:
                    self.assertEqual(x.read(), y.read(), name)

    def test_unchanged_files_are_left_alone(self):
        with tempfile.TemporaryDirectory() as a:
            gen.main(['gen.py', '--out', a])
            os.utime(os.path.join(a, 'types.h'), (1, 1))
            gen.main(['gen.py', '--out', a])
            self.assertEqual(os.stat(os.path.join(a, 'types.h')).st_mtime, 1)

    def test_a_built_operation_is_linked_and_others_are_not(self):
        doc = specmodel.load()
        for _, _, op in specmodel.operations(doc):
            op.pop('x-built', None)
        doc['paths']['/info']['get']['x-built'] = True
        _, table, _ = gen.api_table(specmodel.Model(doc))
        self.assertIn('op_system_info,', table)
        self.assertNotIn('op_container_create,', table)


class SpecCheck(unittest.TestCase):
    def differences(self, change):
        tool = load_script('spec-check')
        ours, theirs = specmodel.load(), specmodel.load()
        change(ours)
        for doc in (ours, theirs):
            tool.without_moved(doc)
        return list(tool.differences(tool.structure(ours)[0], tool.structure(theirs)[0]))

    def test_itself(self):
        self.assertEqual(self.differences(lambda d: None), [])

    def test_what_it_notices(self):
        def status(d):
            del d['paths']['/info']['get']['responses'][500]

        def kind(d):
            d['definitions']['ContainerConfig']['properties']['Tty']['type'] = 'string'

        def required(d):
            d['definitions']['ErrorResponse']['required'] = []

        def parameter(d):
            d['paths']['/containers/json']['get']['parameters'].pop()

        def enum(d):
            d['definitions']['TaskState']['enum'].append('x')

        def method(d):
            d['paths']['/info']['post'] = d['paths']['/info'].pop('get')

        def field(d):
            d['definitions']['HostConfig']['allOf'][0]['properties']['New'] = {'type': 'string'}
        for change in (status, kind, required, parameter, enum, method, field):
            self.assertTrue(self.differences(change), change.__name__)

    def test_what_it_leaves_alone(self):
        def words(d):
            d['paths']['/info']['get']['summary'] = 'x'
            d['definitions']['Port']['description'] = 'y'

        def undocumented(d):
            d['definitions']['Port']['properties']['New'] = {'type': 'string', 'x-undocumented': True}
        for change in (words, undocumented):
            self.assertEqual(self.differences(change), [])


class Validate(unittest.TestCase):
    def test_operation(self):
        for method, path, want in (('GET', '/v1.45/containers/json?all=1', 'ContainerList'), ('GET', '/containers/abc/json', 'ContainerInspect'),
                                   ('GET', '/v1.24/images/a/b/c:1/json', 'ImageInspect'), ('GET', '/images/json', 'ImageList'),
                                   ('POST', '/images/a/b/tag', 'ImageTag'), ('DELETE', '/images/a/b', 'ImageDelete'), ('GET', '/nothing', None),
                                   ('PATCH', '/info', None), ('HEAD', '/_ping', 'SystemPingHead')):
            self.assertEqual(validate.operation(method, path), want)

    def test_right_and_wrong(self):
        right = {'Id': 'a', 'Warnings': []}
        self.assertEqual(validate.validate('ContainerCreate', 201, right), [])
        self.assertEqual(validate.validate('POST /v1.45/containers/create?name=x', 201, right), [])
        self.assertEqual(validate.validate('ContainerCreate', 404, {'message': 'x'}), [])
        self.assertEqual(validate.validate('ContainerCreate', 204, None), ['ContainerCreate is not described to answer 204'])
        for change, text in (({'Id': 1}, 'is integer, not string'), ({'X': 1}, 'unknown field'), ({'Id': None}, 'null is not allowed')):
            self.assertIn(text, ' '.join(validate.validate('ContainerCreate', 201, dict(right, **change))))
        self.assertEqual(validate.validate('ContainerCreate', 201, {'Warnings': []}), ['ContainerCreateResponse: missing required field Id'])
        self.assertTrue(validate.validate('ContainerList', 200, {}))
        self.assertTrue(validate.validate('ContainerList', 200, [{'Ports': [{'Type': 'ftp', 'PrivatePort': 1}]}]))

    def test_a_bool_is_no_integer(self):
        self.assertTrue(validate.validate('ContainerList', 200, [{'Created': True}]))

    def test_messages(self):
        self.assertEqual(validate.validate_message('SystemEvents', {'Type': 'container', 'Action': 'start', 'time': 1}), [])
        self.assertTrue(validate.validate_message('SystemEvents', {'Type': 'nonsense'}))


class Contract(unittest.TestCase):
    CASES = contract.cases(MODEL)

    def test_every_operation_has_its_cases(self):
        for op in MODEL.ops:
            names = {c['id'].split('/')[1] for c in self.CASES if c['operation'] == op.id}
            self.assertTrue({'too-old', 'too-new', 'wrong-method'} <= names, op.id)
            if op.path_params:
                self.assertIn('unknown-id', names)
            if op.body:
                self.assertTrue({'bad-json', 'wrong-root'} <= names, op.id)

    def test_each_has_a_recorded_answer(self):
        with open(os.path.join(compat.TOP, 'golden', 'contract.json'), encoding='utf-8') as f:
            golden = json.load(f)
        self.assertEqual(sorted(c['id'] for c in self.CASES if c['id'] not in golden['cases']), [])
        self.assertTrue(golden['reference']['version'].startswith('26.1.5'))


class Compat(unittest.TestCase):
    OPS = {op.id for op in MODEL.ops}

    def problems(self, deviations, scn):
        return compat.problems(deviations, scn, ['SystemInfo/plain'], {'a_test'}, self.OPS)

    def test_right(self):
        one = {'id': 'D-SYS-001', 'operation': 'SystemInfo', 'title': 't', 'reason': 'r', 'scenario': ['system/x']}
        self.assertEqual(self.problems([one], {'system/x': (set(), {'D-SYS-001'})}), [])
        two = {'id': 'D-SYS-002', 'operation': [], 'title': 't', 'reason': 'r', 'contract': ['SystemInfo/*'], 'test': ['a_test']}
        self.assertEqual(self.problems([two], {}), [])

    def test_rows(self):
        rows = {1: {'title': 'one'}, 2: {'title': 'two', 'test': 'a_test'}, 3: {'title': 'three', 'later': 'then'}}
        self.assertEqual(compat.row_problems(rows, {1: ['system/x']}, {1}, {'a_test'}), [])
        self.assertIn('names row 9', ' '.join(compat.row_problems(rows, {9: ['system/x']}, {1}, {'a_test'})))
        self.assertIn('does not exist', ' '.join(compat.row_problems(rows, {}, {1}, set())))
        self.assertIn('row 3 is proven', ' '.join(compat.row_problems(rows, {3: ['system/x']}, {1}, {'a_test'})))
        self.assertIn('row 1 has no step', ' '.join(compat.row_problems(rows, {1: ['system/x']}, set(), {'a_test'})))
        text = '\n'.join(compat.render_rows(rows, {1: ['system/x']}))
        self.assertIn('2 of 3 are proven.', text)
        self.assertIn('| 3 | three | not yet: then |', text)

    def test_rows_are_proven_by_steps(self):
        with tempfile.TemporaryDirectory() as folder:
            os.makedirs(os.path.join(folder, 'diffharness', 'scenarios', 'system'))
            with open(os.path.join(folder, 'diffharness', 'scenarios', 'system', 'x.scn'), 'w', encoding='utf-8') as f:
                f.write('# rows: 1\n\nshell one\n    $ true\n    row 2 3\n    ? exit == 0\n\nshell two\n    $ true\n    row 4\n\nshell three\n    $ true\n    ? exit == 0\n')
            self.assertEqual(compat.checked_rows(folder), {2, 3})
            self.assertEqual(compat.rows_of(folder), {n: ['system/x'] for n in (1, 2, 3, 4)})

    def test_wrong(self):
        base = {'id': 'D-SYS-001', 'operation': 'SystemInfo', 'title': 't', 'reason': 'r'}
        self.assertIn('nothing that proves it', ' '.join(self.problems([base], {})))
        self.assertIn('does not exist', ' '.join(self.problems([dict(base, scenario=['system/x'])], {})))
        self.assertIn('does not mention it', ' '.join(self.problems([dict(base, scenario=['system/x'])], {'system/x': (set(), set())})))
        self.assertIn('does not list', ' '.join(self.problems([], {'system/x': (set(), {'D-NET-009'})})))
        self.assertIn('listed twice', ' '.join(self.problems([dict(base, test=['a_test'])] * 2, {})))
        self.assertIn('no reason', ' '.join(self.problems([dict(base, test=['a_test'], reason='')], {})))
        self.assertIn('does not exist', ' '.join(self.problems([dict(base, test=['a_test'], operation='Nothing')], {})))
        self.assertIn('there are none', ' '.join(self.problems([dict(base, contract=['No/*'])], {})))

    def test_the_page_names_every_operation(self):
        text = compat.render(MODEL, [], {}, ['SystemInfo/plain'])
        for op in MODEL.ops:
            self.assertIn('| %s |' % op.id, text)


class Independence(unittest.TestCase):
    def test_models_do_not_share_state(self):
        doc = copy.deepcopy(MODEL.doc)
        doc['definitions']['Port']['properties']['New'] = {'type': 'string'}
        self.assertEqual(len(specmodel.Model(doc).structs['Port'].fields), len(MODEL.structs['Port'].fields) + 1)


if __name__ == '__main__':
    unittest.main()

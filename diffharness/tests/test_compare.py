# SPDX-License-Identifier: Apache-2.0
"""A planted difference of every kind is found; what is not a difference is not; allows cover only what they name."""

import unittest

import support  # noqa: F401
from hdiff import compare, scenario
from hdiff.compare import Comparer


def step(*attributes):
    return scenario.parse("[steps]\n> GET /x\n" + "".join(f"    {a}\n" for a in attributes)).steps[0]


def http(value, status=200, headers=None, kind="json"):
    return {"kind": "http", "status": status, "headers": headers or {}, "body": {"kind": kind, "value": value}}


class Planted(unittest.TestCase):
    def parts(self, reference, ours, *attributes):
        return [d.part for d in Comparer().step(step(*attributes), reference, ours)]

    def json(self, reference, ours, *attributes):
        return self.parts(http(reference), http(ours), *attributes)

    def test_equal(self):
        self.assertEqual(self.json({"a": [1, {"b": None}], "c": "x"}, {"c": "x", "a": [1, {"b": None}]}), [])

    def test_status(self):
        self.assertEqual(self.parts(http({}, 404), http({}, 400)), ["status"])

    def test_headers(self):
        self.assertEqual(self.parts(http({}, headers={"Swarm": "a"}), http({}, headers={"Swarm": "b"})), ["header Swarm"])
        self.assertEqual(self.parts(http({}, headers={"Api-Version": "1.45"}), http({})), ["header Api-Version"])
        self.assertEqual(self.parts(http({}), http({}, headers={"Content-Type": "x"})), ["header Content-Type"])

    def test_json(self):
        self.assertEqual(self.json({"a": 1}, {"a": 2}), ["body .a"])
        self.assertEqual(self.json({"a": 1}, {"a": 1.0}), ["body .a"])
        self.assertEqual(self.json({"a": 1}, {"a": True}), ["body .a"])
        self.assertEqual(self.json({"a": 1}, {"a": "1"}), ["body .a"])
        self.assertEqual(self.json({"a": None}, {}), ["body .a"])
        self.assertEqual(self.json({}, {"a": None}), ["body .a"])
        self.assertEqual(self.json({"a": []}, {"a": None}), ["body .a"])
        self.assertEqual(self.json({"a": []}, {"a": {}}), ["body .a"])
        self.assertEqual(self.json({"a": {"b.c": [0, 1]}}, {"a": {"b.c": [0, 2]}}), ['body .a.["b.c"][1]'])
        self.assertEqual(self.json([1, 2], [1]), ["body [1]"])
        self.assertEqual(self.json([1], [1, 2]), ["body [1]"])
        self.assertEqual(self.json("a", "b"), ["body ."])

    def test_order_of_arrays(self):
        self.assertEqual(self.json({"a": [1, 2]}, {"a": [2, 1]}), ["body .a[0]", "body .a[1]"])
        self.assertEqual(self.json({"a": [1, 2]}, {"a": [2, 1]}, "unordered .a"), [])
        self.assertEqual(self.json({"a": [1, 2]}, {"a": [2, 3]}, "unordered .a"), ["body .a[0]", "body .a[1]"])
        self.assertEqual(self.json([{"p": [1, 2]}], [{"p": [2, 1]}], "unordered [*].p"), [])

    def test_one_item_too_many_is_one_difference(self):
        self.assertEqual(self.json([{"n": i} for i in range(9)], [{"n": i} for i in range(9) if i != 3]), ["body [3]"])
        self.assertEqual(self.json([{"n": 1}, {"n": 2}], [{"n": 0}, {"n": 1}, {"n": 2}]), ["body [0]"])

    def test_kind_of_body(self):
        self.assertEqual(self.parts(http({}), http("x", kind="text")), ["body"])
        self.assertEqual(self.parts(http(None, kind="none"), http("x", kind="text")), ["body"])

    def test_frames(self):
        self.assertEqual(self.parts(http({"stdout": "a"}, kind="frames"), http({"stdout": "a"}, kind="frames")), [])
        self.assertEqual(self.parts(http({"stdout": "a"}, kind="frames"), http({"stderr": "a"}, kind="frames")), ["frames stderr", "frames stdout"])
        self.assertEqual(self.parts(http({"stdout": "a"}, kind="frames"), http({"stdout": "b"}, kind="frames")), ["frames stdout"])

    def test_commands(self):
        good = {"kind": "cli", "exit": 0, "stdout": "a\n", "stderr": ""}
        self.assertEqual(self.parts(good, dict(good)), [])
        self.assertEqual(self.parts(good, {**good, "exit": 1}), ["exit"])
        self.assertEqual(self.parts(good, {**good, "stdout": "a"}), ["stdout"])
        self.assertEqual(self.parts(good, {**good, "stderr": "x"}), ["stderr"])
        self.assertEqual(self.parts(good, {**good, "error": "still running"}), ["error"])
        self.assertEqual(self.parts({"kind": "tty", "output": "a\r\n"}, {"kind": "tty", "output": "a\n"}), ["output"])
        self.assertEqual(self.parts(good, {"kind": "http"}), ["kind"])
        self.assertEqual(self.parts({**good, "stdout": "b\na\n"}, {**good, "stdout": "a\nb\n"}), ["stdout"])
        self.assertEqual(self.parts({**good, "stdout": "b\na\n"}, {**good, "stdout": "a\nb\n"}, "sorted stdout"), [])

    def test_long_texts(self):
        good = {"kind": "cli", "exit": 0, "stdout": {"sha256": "1", "lines": 5}, "stderr": ""}
        self.assertEqual(self.parts(good, {**good, "stdout": {"sha256": "2", "lines": 5}}), ["stdout"])

    def test_ids_are_paired_over_the_scenario(self):
        comparer, plain = Comparer(), step()
        self.assertEqual(comparer.step(plain, http({"Id": "<id:1>"}), http({"Id": "<id:4>"})), [])
        self.assertEqual(comparer.step(plain, http({"Id": "/x/<id:1:12>"}), http({"Id": "/x/<id:4:12>"})), [])
        self.assertEqual([d.part for d in comparer.step(plain, http({"Id": "<id:1>"}), http({"Id": "<id:5>"}))], ["body .Id"])
        self.assertEqual([d.part for d in comparer.step(plain, http({"Id": "<id:2>"}), http({"Id": "<id:4>"}))], ["body .Id"])
        self.assertEqual([d.part for d in comparer.step(plain, http({"Id": "<id:2>"}), http({"Id": "<id:9:12>"}))], ["body .Id"])
        found = comparer.step(plain, {"kind": "cli", "stdout": "<id:1>\n"}, {"kind": "cli", "stdout": "<id:7>\n"})
        self.assertEqual(found[0].note, "the ids are not the same ones")

    def test_keys_that_are_ids(self):
        self.assertEqual(self.json({"<id:1>": 1}, {"<id:3>": 1}), [])
        self.assertEqual(self.json({"<id:1>": 1}, {"<id:3>": 2}), ["body .[\"<id:1>\"]"])

    def test_allow_json(self):
        one = step("allow D-CTR-001 json .a.b", "allow D-CTR-002 json .z")
        found = Comparer().step(one, http({"a": {"b": 1, "c": 1}}), http({"a": {"b": {"x": 2}, "c": 2}}))
        self.assertEqual([d.part for d in found], ["body .a.c"])
        self.assertEqual([a.used for a in one.allows], [True, False])

    def test_allow_others(self):
        one = step("allow D-CTR-001 status", "allow D-CTR-001 header Swarm", "allow D-CTR-001 json [*].x")
        self.assertEqual(Comparer().step(one, http([{"x": 1}], 200, {"Swarm": "a"}), http([{"x": 2}], 201, {"Swarm": "b"})), [])

    def test_allow_line(self):
        one = step("allow D-CTR-001 line stdout /^time=/")
        good = {"kind": "cli", "exit": 0, "stdout": "a\ntime=1\n", "stderr": ""}
        self.assertEqual(Comparer().step(one, good, {**good, "stdout": "a\ntime=2\ntime=3\n"}), [])
        self.assertTrue(one.allows[0].used)
        self.assertEqual(len(Comparer().step(one, good, {**good, "stdout": "b\ntime=2\n"})), 1)

    def test_paths(self):
        for text in (".", ".a.b[0]", '.["a.b"].c', "[3].x"):
            self.assertEqual(compare.show_path(compare.parse_path(text)), text)
        with self.assertRaises(ValueError):
            compare.parse_path("a b")


if __name__ == "__main__":
    unittest.main()

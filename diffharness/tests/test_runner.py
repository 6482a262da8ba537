# SPDX-License-Identifier: Apache-2.0
"""Whole runs on two fake engines: a planted difference in every channel is found, and reported everywhere."""

import json
import os
import tempfile
import unittest

from support import FakeEngine, json_answer, raw_answer

from hdiff import frames, golden, main, ops, report, runner, scenario

ID, OTHER = "a1" * 32, "b2" * 32


class Runs(unittest.TestCase):
    def run_both(self, text, reference, ours, judge=None):
        fakes = [FakeEngine(reference), FakeEngine(ours)]
        for fake in fakes:
            self.addCleanup(fake.close)
        parsed = scenario.parse(text, "t.scn", "test", "t")
        sides = runner.run_sides([fakes[0].engine("reference"), fakes[1].engine("ours")], parsed, "", {})
        return (judge or runner.Judge(ops.Operations())).report(parsed, "none", *sides)

    def differs(self, text, reference, ours, part):
        got = self.run_both(text, reference, ours)
        self.assertFalse(got.passed)
        parts = [d.part for step in got.steps for d in step.differences]
        self.assertIn(part, parts)
        self.assertTrue(self.run_both(text, reference, reference).passed)

    def test_requests(self):
        get = "[steps]\n> GET /x\n"
        self.differs(get, {"GET /x": json_answer({"a": 1})}, {"GET /x": json_answer({"a": None})}, "body .a")
        self.differs(get, {"GET /x": json_answer({}, 404)}, {"GET /x": json_answer({}, 500)}, "status")
        self.differs(get, {"GET /x": json_answer({}, headers=[("Ostype", "linux")])}, {"GET /x": json_answer({})}, "header Ostype")
        self.differs(get, {"GET /x": json_answer({})}, {"GET /x": b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nabc"}, "error")
        kind = [("Content-Type", "application/vnd.docker.multiplexed-stream")]
        self.differs(get, {"GET /x": raw_answer(200, kind, frames.encode(1, b"a"))}, {"GET /x": raw_answer(200, kind, frames.encode(2, b"a"))},
                     "frames stdout")
        self.differs(get, {"GET /x": json_answer({})}, {"GET /x": raw_answer(200, kind, b"no frames at all here")}, "error")

    def test_commands_and_side_effects(self):
        self.differs("[steps]\n> GET /x\n    => v json .v\n! echo %{v}\n", {"GET /x": json_answer({"v": "1"})}, {"GET /x": json_answer({"v": "2"})}, "stdout")
        self.differs("[steps]\n> GET /x\n    => v json .v\n! exit %{v}\n", {"GET /x": json_answer({"v": "1"})}, {"GET /x": json_answer({"v": "2"})}, "exit")
        self.differs("[steps]\n> GET /x\n    => v json .v\n! echo %{v} >&2\n", {"GET /x": json_answer({"v": "1"})}, {"GET /x": json_answer({"v": "2"})}, "stderr")
        self.differs("[steps]\n> GET /x\n    => v json .v\n$tty t echo %{v}\njoin t\n", {"GET /x": json_answer({"v": "1"})},
                     {"GET /x": json_answer({"v": "2"})}, "output")

    def test_ids_may_differ_but_must_be_the_same_ones(self):
        text = "[steps]\n> GET /a\n> GET /b\n"
        same = {"GET /a": json_answer({"Id": ID}), "GET /b": json_answer({"Id": ID})}
        other = {"GET /a": json_answer({"Id": OTHER}), "GET /b": json_answer({"Id": OTHER})}
        mixed = {"GET /a": json_answer({"Id": OTHER}), "GET /b": json_answer({"Id": ID})}
        self.assertTrue(self.run_both(text, same, other).passed)
        self.assertFalse(self.run_both(text, same, mixed).passed)

    def test_checks_hold_on_both(self):
        text = '[steps]\n> GET /x\n    ? status 200\n    ? json .a == 1\n    ? json .b absent\n    ? header Ostype absent\n    ? body /"a"/\n'
        self.assertTrue(self.run_both(text, {"GET /x": json_answer({"a": 1})}, {"GET /x": json_answer({"a": 1})}).passed)
        wrong = {"GET /x": json_answer({"a": True, "b": 1})}
        got = self.run_both(text, wrong, wrong)
        self.assertEqual([who for who, _ in got.steps[0].failed], ["reference", "reference", "ours", "ours"])

    def test_polling_streams_and_variables(self):
        count = {"n": 0}

        def later(connection, _):
            count["n"] += 1
            connection.sendall(json_answer({"ready": count["n"] > 2}))

        def echo(connection, early):
            connection.sendall(b"HTTP/1.1 101 UPGRADED\r\n\r\n" + early.upper())
            while data := connection.recv(100):
                connection.sendall(data.upper())
        text = ("[steps]\nuntil > GET /ready\n    ? json .ready == true\n>& s POST /s\nsend s \"abc\"\nawait s /ABC/\nhalfclose s\njoin s\n"
                "    ? status 101\n$& c cat\nsend c \"typed\\n\"\nawait c /typed/\nhalfclose c\njoin c\n    ? exit 0\n"
                "$tty t 70x20 sh -c 'stty size; read x; stty size'\nawait t /20 70/\nresize t 100x30\nsend t \"\\n\"\njoin t\n    ? output /30 100/\n")
        answers = {"GET /ready": later, "POST /s": echo}
        got = self.run_both(text, answers, answers)
        self.assertTrue(got.passed, report.scenario_text(got))

    def test_time_outs_end(self):
        got = self.run_both("[steps]\nuntil > GET /x\n    ? status 200\n    within 0.2\n! tail -f /dev/null\n    within 0.2\n", {}, {})
        self.assertEqual([step.passed for step in got.steps], [False, False])

    def test_left_overs(self):
        calls = {"n": 0}
        self.addCleanup(setattr, runner, "LEFT_OVERS_WITHIN", runner.LEFT_OVERS_WITHIN)
        runner.LEFT_OVERS_WITHIN = 0.2

        def growing(connection, _):
            calls["n"] += 1
            connection.sendall(json_answer([] if calls["n"] == 1 else [{"Id": ID, "Names": ["/x"], "Command": "sh", "Status": "Up"}]))
        got = self.run_both("[steps]\n> GET /_ping\n", {}, {"GET /v1.45/containers/json?all=1": growing})
        self.assertFalse(got.passed)
        self.assertIn("left behind: container " + ID, got.problems[0][1])

    def test_what_the_lab_does_not_give(self):
        parsed = scenario.parse("[steps]\n$ docker pull %{registry}/x\n!other true\n> GET /x\n    => mine json .a\n! echo %{mine}\n")
        engine = FakeEngine({}).engine("ours")
        engine.variables["registry"] = ""
        self.assertEqual(engine.lacks(parsed), "the lab gives no registry, neighbour")
        engine.variables["registry"], engine.neighbour = "r", "n"
        self.assertEqual(engine.lacks(parsed), "")

    def test_images_are_as_their_archives_make_them(self):
        """Loaded where they are not there, made anew where a scenario has pulled them, left alone otherwise."""
        for answer, wanted in ((json_answer({"message": "No such image"}, 404), ["GET", "POST"]), (json_answer({"RepoDigests": []}), ["GET"]),
                               (json_answer({"RepoDigests": ["x@sha256:" + "0" * 64]}), ["GET", "DELETE", "POST"])):
            engine = FakeEngine({"GET /images/x:1/json": answer, "DELETE /images/x:1?force=1": json_answer([]), "POST /images/load?quiet=1": json_answer({})})
            self.addCleanup(engine.close)
            main.provide(engine.host, __file__, "x:1")
            self.assertEqual([key.split()[0] for key, _ in engine.requests], wanted)

    def test_setup_must_work(self):
        got = self.run_both("[setup]\n! exit 3\n[steps]\n> GET /_ping\n", {}, {})
        self.assertIn("setup failed", got.problems[0][1])

    def test_schema_and_operations(self):
        def validate(operation, status, documents):
            return ["ApiVersion is missing"] if operation == "SystemVersion" and status == 200 and "ApiVersion" not in documents[0] else []
        judge = runner.Judge(ops.Operations(), validate, {"D-SYS-001"})
        text = "[steps]\n> GET /v1.45/version\n    allow D-SYS-001 json .x\n    allow D-SYS-009 json .y\n"
        got = self.run_both(text, {"GET /v1.45/version": json_answer({"x": 1})}, {"GET /v1.45/version": json_answer({"x": 2})}, judge)
        self.assertEqual(got.deviations, ["D-SYS-001"])
        self.assertEqual(got.steps[0].differences, [])
        got = self.run_both(text, {"GET /v1.45/version": json_answer({})}, {"GET /v1.45/version": json_answer({})}, judge)
        self.assertEqual(got.operations["ours"], {"SystemVersion": 1})
        self.assertIn(("ours", "schema: SystemVersion 200: ApiVersion is missing"), got.problems)
        self.assertTrue(any("D-SYS-009 is not in" in text for _, text in got.problems))
        self.assertEqual(len(got.warnings), 2)

    def test_golden(self):
        parsed = scenario.parse("[steps]\n> GET /x\n", "t.scn", "test", "t")
        fakes = [FakeEngine({"GET /x": json_answer({"a": value})}) for value in (1, 1, 2)]
        for fake in fakes:
            self.addCleanup(fake.close)
        sides = [runner.run_side(fake.engine(role), parsed, "", {}) for fake, role in zip(fakes, ("reference", "ours", "ours"))]
        judge = runner.Judge(ops.Operations())
        with tempfile.TemporaryDirectory() as folder:
            golden.store(parsed, "none", sides[0].outcomes, {"version": "26.1.5", "package": "26.1.5+dfsg1-9"}, folder)
            recorded = golden.recording(parsed, "none", folder)
            self.assertEqual(golden.load(parsed, folder)["reference"]["package"], "26.1.5+dfsg1-9")
            self.assertIsNone(golden.recording(parsed, "28.2.2", folder))
        self.assertTrue(judge.report(parsed, "none", None, sides[1], recorded).passed)
        self.assertFalse(judge.report(parsed, "none", None, sides[2], recorded).passed)
        changed = scenario.parse("[steps]\n> GET /y\n", "t.scn", "test", "t")
        self.assertIn("record it again", judge.report(changed, "none", None, sides[1], recorded).problems[0][1])

    def test_a_reference_that_wavers(self):
        text = "[steps]\n> GET /a\n> GET /b\n"

        def answers(a, b):
            return {"GET /a": json_answer({"v": a}), "GET /b": json_answer({"v": b})}

        first = self.run_both(text, answers(9, 2), answers(1, 2))
        second = self.run_both(text, answers(1, 8), answers(1, 2))
        merged = runner.merge(first, [second])
        self.assertTrue(merged.passed)
        self.assertIn("line 2: > GET /a", merged.warnings[-1])
        self.assertFalse(runner.merge(first, [first]).passed)
        first.problems.append(("reference", "left behind: x"))
        self.assertTrue(runner.merge(first, [second]).passed)
        second.problems.append(("reference", "left behind: x"))
        self.assertFalse(runner.merge(first, [second]).passed)
        self.assertFalse(runner.merge(self.run_both(text, {}, answers(1, 2)), [self.run_both(text, {}, answers(1, 2))]).passed)
        first = self.run_both(text, answers(9, 2), answers(1, 2))
        first.problems.append(("ours", "schema: X"))
        self.assertFalse(runner.merge(first, [self.run_both(text, answers(1, 2), answers(1, 2))]).passed)

    def test_reports(self):
        got = self.run_both("title: <b>\n[steps]\n> GET /x\n> GET /_ping\n", {"GET /x": json_answer({"a": "<i>"})}, {"GET /x": json_answer({"a": 2})})
        self.assertEqual(report.summary_lines([got]), ["scenarios: 0 passed, 1 failed", "1 passed, 1 failed"])
        self.assertIn("body .a", report.scenario_text(got))
        with tempfile.TemporaryDirectory() as folder:
            report.write_all([got], {"mode": "live"}, folder)
            with open(os.path.join(folder, "report.json"), encoding="utf-8") as file:
                self.assertEqual(json.load(file)["totals"]["steps_failed"], 1)
            with open(os.path.join(folder, "report.html"), encoding="utf-8") as file:
                page = file.read()
        self.assertIn("&lt;i&gt;", page)
        self.assertNotIn("<i>", page)
        self.assertNotIn("http", page.split("<style>")[0])


if __name__ == "__main__":
    unittest.main()

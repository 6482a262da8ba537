# SPDX-License-Identifier: Apache-2.0
"""The scenario language: what is read, and that mistakes are named with their line."""

import os
import unittest

import support  # noqa: F401
from hdiff import scenario
from hdiff.engine import TOP

WHOLE = """\
# a comment
title: what it shows
rows: 1 22
use: ports macs
needs: semantics

[setup]
$ docker volume create v

[steps]
$ echo hi | docker run -i \\
    busybox cat
    | first
    |   second
    ? exit 0
    ? stdout == "hi\\n"
    => id stdout
> POST /v1.45/containers/create?name=x
    + X-Thing: a: b
    | {"Image": "busybox"}
    ? status 201
    ? json .Id /^[0-9a-f]+$/
    ? json .["a.b"][0] absent
    unordered .Mounts .Ports
    allow D-CTR-003 json .HostConfig.X
    allow D-CTR-004 line stdout /one two/
    row 7 9
>& s GET /v1.45/events
await s /x/
send s "a\\u0003\\n"
close s
    as ndjson
$tty t 100x30 docker run -it busybox
resize t 80x24
join t
until ! test -e /x
    ? exit 0
    within 3
!net true
!other true

[cleanup]
$ docker volume rm v
"""


class Reading(unittest.TestCase):
    def test_whole_file(self):
        got = scenario.parse(WHOLE, "f.scn", "container", "name")
        self.assertEqual((got.title, got.use, got.needs), ("what it shows", ["ports", "macs"], ["semantics"]))
        self.assertEqual(got.all_rows(), [1, 7, 9, 22])
        run, create, stream = got.steps[0], got.steps[1], got.steps[2]
        self.assertEqual(run.command, "echo hi | docker run -i busybox cat")
        self.assertEqual(run.body, ["first", "  second"])
        self.assertEqual(run.captures, [("id", "stdout")])
        self.assertEqual((create.method, create.target), ("POST", "/v1.45/containers/create?name=x"))
        self.assertEqual(create.headers, [("X-Thing", "a: b")])
        self.assertEqual(create.unordered, [".Mounts", ".Ports"])
        self.assertEqual([(a.deviation, a.target, a.pattern) for a in create.allows],
                         [("D-CTR-003", "json", ".HostConfig.X"), ("D-CTR-004", "line stdout", "one two")])
        self.assertTrue(stream.background)
        self.assertEqual(got.steps[4].argument, "a\x03\n")
        self.assertEqual((got.steps[6].columns, got.steps[6].lines), (100, 30))
        self.assertTrue(got.steps[9].poll)
        self.assertEqual(got.steps[9].within, 3.0)
        self.assertEqual([s.where for s in got.steps[10:]], ["net", "other"])
        self.assertTrue(got.uses_cli)

    def test_an_allow_for_the_whole_file(self):
        got = scenario.parse("title: x\nallow: D-CTR-001 json .a\n[steps]\n! true\n! false\n")
        self.assertIs(got.steps[0].allows[0], got.steps[1].allows[0])

    def refused(self, text, words):
        with self.assertRaises(scenario.ScenarioError) as caught:
            scenario.parse(text, "f.scn")
        self.assertIn(words, str(caught.exception))

    def test_mistakes_are_named(self):
        self.refused("[steps]\n? status 1\n", "f.scn:2: not a step")
        self.refused("[steps]\n    ? status 1\n", "an attribute without a step")
        self.refused("[steps]\n> GET nopath\n", "a request is")
        self.refused("[steps]\n! true\n    ? nosuch /x/\n", "f.scn:3: unknown subject")
        self.refused("[steps]\n! true\n    ? status x\n", "wants a number")
        self.refused("[steps]\n! true\n    ? stdout /(/\n", "bad pattern")
        self.refused("[steps]\n! true\n    allow something json .x\n", "an allow is")
        self.refused("[steps]\n! true\n    allow D-X-1 body\n", "an allow is for")
        self.refused("[steps]\njoin nobody\n", "no stream called nobody")
        self.refused("[steps]\nuntil ! true\n", "`until` needs")
        self.refused("[steps]\n! sleep 1\n", "may not sleep")
        self.refused("nosuch: x\n[steps]\n! true\n", "not a header")
        self.refused("[else]\n", "unknown section")
        self.refused("title: x\n", "no steps")
        self.refused("[steps]\n! true\n    as nosuch\n", "unknown body kind")

    def test_every_scenario_of_the_project_is_read(self):
        found = scenario.load_all(os.path.join(TOP, "diffharness", "scenarios"))
        self.assertGreaterEqual(sum(len(s.steps) for s in found), 150)
        names = [s.full_name for s in found]
        self.assertEqual(len(names), len(set(names)))
        for item in found:
            self.assertTrue(item.title, f"{item.full_name} has no title")


if __name__ == "__main__":
    unittest.main()

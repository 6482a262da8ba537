# SPDX-License-Identifier: Apache-2.0
"""Each normaliser: what it replaces, and what it must leave alone."""

import unittest

import support  # noqa: F401
from hdiff.normal import RULES, Normaliser

ID = "a1" * 32
OTHER = "b2" * 32


class Normalisers(unittest.TestCase):
    def text(self, value, *use, known=None):
        return Normaliser(use, known).text(value)

    def same(self, value, *use):
        self.assertEqual(self.text(value, *use), value)

    def test_ids(self):
        n = Normaliser()
        self.assertEqual(n.text(f"{ID} {OTHER} {ID[:12]} /{ID}/x"), "<id:1> <id:2> <id:1:12> /<id:1>/x")
        self.assertEqual(n.text(OTHER[:12] + "\n"), "<id:2:12>\n")
        self.assertEqual(n.text(f"/run/netns/{ID[:12]}"), "/run/netns/<id:1:12>")
        self.same(f"sha256:{ID}")
        self.same("ab" * 20)
        self.same("123456789012")
        self.same("deadbeefcafe0")
        self.assertEqual(Normaliser().text(f"{'12' * 32} {'12' * 6} {'34' * 6}"), f"<id:1> <id:1:12> {'34' * 6}")

    def test_short_ids_like_numbers(self):
        n = Normaliser()
        self.assertEqual(n.json({"id": "12" * 6, "status": "x"}), {"id": "<id:1:12>", "status": "x"})
        self.assertEqual(n.json({"announced": ["34" * 6], "layers": {"34" * 6: []}}), {"announced": ["<id:2:12>"], "layers": {"<id:2:12>": []}})
        self.assertEqual(n.json({"size": "56" * 6}), {"size": "56" * 6})

    def test_digests(self):
        self.assertEqual(self.text(f"sha256:{ID}", "digests"), "sha256:<id:1>")
        self.assertEqual(self.text(f"sha256:{ID} {ID[:12]}", "digests"), "sha256:<id:1> <id:1:12>")

    def test_known_digests_get_names(self):
        known = {ID: "busybox:latest/config"}
        self.assertEqual(self.text(f"sha256:{ID} {ID[:12]} {OTHER}", known=known),
                         "sha256:<busybox:latest/config> <busybox:latest/config:12> <id:1>")

    def test_times(self):
        self.assertEqual(self.text("2026-11-21T23:43:01.5Z|2026-11-21T23:43:01Z|2026-11-21T23:43:01+01:00"), "<time>|<time>|<time:offset>")
        self.assertEqual(self.text("2026-11-21 23:43:01.123 +0000 UTC"), "<time>")
        self.assertEqual(self.text("Sat, 21 Nov 2026 23:43:01 GMT"), "<time>")
        self.assertEqual(self.text("Sat Nov 21 23:43:01 2026"), "<time>")
        self.same("0001-01-01T00:00:00Z")
        n = Normaliser()
        self.assertEqual(n.json({"Created": 1795300000, "timeNano": 1795300000123456789, "Size": 1795300000, "time": "1795300000"}),
                         {"Created": "<unix>", "timeNano": "<unixnano>", "Size": 1795300000, "time": "1795300000"})
        self.assertEqual(n.json({"Created": 0}), {"Created": 0})

    def test_durations(self):
        self.assertEqual(self.text("Up 3 seconds|Exited (0) 2 minutes ago|About an hour ago|Less than a second ago|Up About a minute"),
                         "Up <duration>|Exited (0) <duration> ago|<duration> ago|<duration> ago|Up <duration>")
        self.same("3 apples")
        self.assertEqual(Normaliser().json({"execDuration": "1", "x": "1"}), {"execDuration": "<seconds>", "x": "1"})
        self.assertEqual(self.text("(execDuration=12, exitCode=0)"), "(execDuration=<seconds>, exitCode=0)")

    def test_clock(self):
        self.assertEqual(self.text("1795300000\n1795300000.5\nx 1795300000\n", "clock"), "<clock>\n<clock>\nx 1795300000\n")

    def test_repeats(self):
        self.assertEqual(self.text("tick\ntick\ntick\nready\ntick\n\n\n", "repeats"), "tick\nready\ntick\n\n\n")

    def test_ports(self):
        self.assertEqual(self.text("0.0.0.0:32768->80/tcp, 0.0.0.0:60999->81/tcp", "ports"), "0.0.0.0:<port>->80/tcp, 0.0.0.0:<port>->81/tcp")
        self.same("0.0.0.0:8080->80/tcp 61000 32767", "ports")
        self.assertEqual(Normaliser(("ports",)).json({"PublicPort": 40000, "PrivatePort": 40000}), {"PublicPort": "<port>", "PrivatePort": 40000})
        self.same("0.0.0.0:32768")

    def test_macs(self):
        self.assertEqual(self.text("02:42:ac:11:00:02", "macs"), "<mac>")
        self.same("02:42:ac:11:00:02")

    def test_pids(self):
        self.assertEqual(Normaliser(("pids",)).json({"Pid": 77, "x": 77}), {"Pid": "<pid>", "x": 77})
        self.assertEqual(Normaliser(("pids",)).json({"Pid": 0}), {"Pid": 0})
        self.assertEqual(Normaliser().json({"Pid": 77}), {"Pid": 77})
        self.assertEqual(self.text("pid=12 pid: 7", "pids"), "pid=<pid> pid: <pid>")

    def test_bytes(self):
        self.assertEqual(self.text("4.26MB 12kB 5 GiB 0B", "bytes"), "<bytes> <bytes> <bytes> 0B")
        self.assertEqual(Normaliser(("bytes",)).json({"Size": 5, "SizeRw": 0, "Other": 5}), {"Size": "<bytes>", "SizeRw": 0, "Other": 5})
        self.same("4.26MB")

    def test_figures(self):
        self.assertEqual(self.text("0.12% of 3 %", "figures"), "<percent> of 3 %")
        self.assertEqual(Normaliser(("figures",)).json({"a": 5, "b": [0, 1.5], "c": None, "d": True, "e": "7"}),
                         {"a": "<figure>", "b": ["<figure>", "<figure>"], "c": None, "d": True, "e": "7"})

    def test_engine(self):
        self.assertEqual(self.text("Docker/26.1.5+dfsg1 (linux)|26.1.5", "engine"), "Docker/<engine> (linux)|<engine>")
        self.same("25.0.1", "engine")

    def test_addresses(self):
        self.assertEqual(self.text("172.17.0.2 10.1.2.3 192.168.1.1 8.8.8.8", "addresses"), "<address> <address> <address> 8.8.8.8")

    def test_names(self):
        self.assertEqual(self.text("/brave_curie x sweet_ellis2", "names"), "/<name> x <name>")
        self.same("under_score.txt", "names")

    def test_temporary(self):
        self.assertEqual(self.text("/tmp/docker-import-123456789/x", "temporary"), "/tmp/docker-import-<number>/x")
        self.assertEqual(self.text("tmp/GetImageBlob3640272848: no", "temporary"), "tmp/GetImageBlob<number>: no")

    def test_pull(self):
        self.assertEqual(self.text("abc: Waiting\nabc: Pull complete\nabc: Verifying Checksum\n", "pull"), "abc: Pull complete\n")

    def test_banner(self):
        self.assertEqual(self.text("BusyBox v1.35.0 (Debian 1:1.35.0-4+b1) built-in", "banner"), "BusyBox <version> built-in")
        self.assertEqual(self.text("x\r/ # \x1b[J\r/ # \x1b[Jy", "banner"), "x\r/ # \x1b[Jy")

    def test_machine(self):
        got = Normaliser(("machine",)).json({"NCPU": 2, "Name": "host", "Empty": {"Name": ""}, "Flag": True})
        self.assertEqual(got, {"NCPU": "<machine:number>", "Name": "<machine:text>", "Empty": {"Name": ""}, "Flag": True})

    def test_spaces(self):
        self.assertEqual(self.text("a    b   \nc", "spaces"), "a  b\nc")

    def test_all_are_tested_and_unknown_names_are_refused(self):
        tested = {name[5:] for name in dir(self) if name.startswith("test_")}
        self.assertEqual(set(RULES) - tested, set())
        with self.assertRaises(ValueError):
            Normaliser(("nosuch",))

    def test_numbers_do_not_depend_on_the_order_of_keys(self):
        one = Normaliser().json({"B": ID, "A": OTHER})
        two = Normaliser().json({"A": OTHER, "B": ID})
        self.assertEqual(one, two)


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: Apache-2.0
"""The HTTP client, frames, the tap and the operation table."""

import io
import os
import tarfile
import tempfile
import time
import unittest

from support import FakeEngine, json_answer, raw_answer

from hdiff import bodies, frames, ops, tap, wire


class Wire(unittest.TestCase):
    def serve(self, answers):
        fake = FakeEngine(answers)
        self.addCleanup(fake.close)
        return fake

    def test_lengths_chunks_and_end(self):
        fake = self.serve({"GET /a": json_answer({"x": 1}),
                           "GET /b": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: x\r\n\r\n",
                           "GET /c": b"HTTP/1.1 200 OK\r\n\r\nuntil the end", "HEAD /d": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                           "GET /e": b"HTTP/1.1 304 Not Modified\r\n\r\n"})
        self.assertEqual(wire.fetch(fake.host, "GET", "/a").body, b'{"x": 1}')
        self.assertEqual(wire.fetch(fake.host, "GET", "/b").body, b"abcde")
        self.assertEqual(wire.fetch(fake.host, "GET", "/c").body, b"until the end")
        self.assertEqual(wire.fetch(fake.host, "HEAD", "/d").body, b"")
        self.assertEqual(wire.fetch(fake.host, "GET", "/e").status, 304)

    def test_broken_framing_is_an_error(self):
        fake = self.serve({"GET /short": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "GET /none": b"", "GET /junk": b"hello\r\n\r\n",
                           "GET /chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd"})
        for path in ("/short", "/none", "/junk", "/chunk"):
            with self.assertRaises(wire.WireError, msg=path):
                wire.fetch(fake.host, "GET", path)
        with self.assertRaises(wire.WireError):
            wire.fetch("unix:///nosuch/socket", "GET", "/")

    def test_hijack_send_half_close(self):
        def echo(connection, early):
            connection.sendall(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n" + (frames.encode(1, early) if early else b""))
            while data := connection.recv(100):
                connection.sendall(frames.encode(1, data))
            connection.sendall(frames.encode(2, b"bye"))
        fake = self.serve({"POST /attach": echo})
        exchange = wire.Exchange(fake.host, "POST", "/attach", [("Upgrade", "tcp")]).start()
        self.assertTrue(exchange.wait_head(5))
        exchange.send(b"hello")
        self.assertTrue(exchange.wait_body(b"hello", 5))
        self.assertFalse(exchange.wait_body(b"bye", 0.05))
        exchange.half_close()
        self.assertTrue(exchange.finish(5))
        self.assertEqual(frames.join(frames.decode(exchange.body)[0]), {"stdout": b"hello", "stderr": b"bye"})
        exchange.close()

    def test_leaving_in_the_middle(self):
        def endless(connection, _):
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
            connection.recv(1)
        fake = self.serve({"GET /events": endless})
        exchange = wire.Exchange(fake.host, "GET", "/events").start()
        self.assertTrue(exchange.wait_body(b"{}", 5))
        self.assertFalse(exchange.finish(0.05))
        exchange.close()
        self.assertEqual(exchange.body, b"{}")

    def test_frames(self):
        data = frames.encode(1, b"a") + frames.encode(2, b"b") + frames.encode(1, b"c")
        self.assertEqual(frames.join(frames.decode(data)[0]), {"stdout": b"ac", "stderr": b"b"})
        self.assertEqual(frames.decode(data[:-1])[1], data[-9:-1])
        with self.assertRaises(frames.FrameError):
            frames.decode(b"Transfer of plain text")
        with self.assertRaises(bodies.BodyError):
            bodies.decode([], data[:-1], "frames")
        self.assertEqual(bodies.decode([], data[:-1], "frames", whole=False)["value"], {"stdout": "a", "stderr": "b"})

    def test_documents(self):
        self.assertEqual(bodies.documents(b'{"a":1}\n{"b":2}'), [{"a": 1}, {"b": 2}])
        with self.assertRaises(bodies.BodyError):
            bodies.documents(b'{"a":1}{"b"')
        self.assertEqual(bodies.documents(b'{"a":1}{"b"', whole=False), [{"a": 1}])

    def test_progress(self):
        got = bodies.progress([{"status": "Pulling from x", "id": "latest"}, {"status": "Pulling fs layer", "id": "1"}, {"status": "Waiting", "id": "1"},
                               {"status": "Downloading", "id": "1"}, {"status": "Pull complete", "id": "1"}, {"status": "Digest: d"}])
        self.assertEqual([m["status"] for m in got["messages"]], ["Pulling from x", "Digest: d"])
        self.assertEqual([m["status"] for m in got["layers"]["1"]], ["Pulling fs layer", "Pull complete"])

    def test_archives(self):
        with tempfile.TemporaryFile() as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                for name, data in (("b", b"data"), ("manifest.json", b'[{"A": 1}]')):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
            file.seek(0)
            got = bodies.decode([], file.read(), "tar")["value"]
        self.assertEqual([(i["name"], i["size"], i.get("json")) for i in got], [("b", 4, None), ("manifest.json", 10, [{"A": 1}])])
        self.assertTrue(got[0]["sha256"].startswith("sha256:3a6eb079"))
        with self.assertRaises(bodies.BodyError):
            bodies.decode([], b"no archive", "tar")

    def test_long_text_stays_exact(self):
        one, two = bodies.shorten("x\n" * 50000), bodies.shorten("x\n" * 49999 + "y\n")
        self.assertEqual(one["lines"], 50000)
        self.assertNotEqual(one["sha256"], two["sha256"])

    def test_tap(self):
        fake = self.serve({"GET /v1.45/info": json_answer({"x": 1}), "POST /attach": raw_answer(101, [], b"raw", length=False)})
        with tempfile.TemporaryDirectory() as folder:
            tapped = tap.Tap(os.path.join(folder, "tap"), fake.host)
            self.assertEqual(wire.fetch(tapped.host, "GET", "/v1.45/info").body, b'{"x": 1}')
            self.assertEqual(wire.fetch(tapped.host, "POST", "/attach").body, b"raw")
            seen = []
            limit = time.monotonic() + 60
            while len(seen) < 2 and time.monotonic() < limit:
                seen += tapped.collect()
            tapped.close()
        self.assertEqual(sorted((s.method, s.target, s.status) for s in seen), [("GET", "/v1.45/info", 200), ("POST", "/attach", 101)])
        self.assertEqual([s.body for s in seen if s.status == 200], [{"x": 1}])

    def test_several_exchanges_on_one_connection(self):
        sent = b"HEAD /_ping HTTP/1.1\r\nHost: x\r\n\r\nPOST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}GET /b HTTP/1.1\r\n\r\n"
        received = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + json_answer({"a": 1}, 201) + json_answer([2])
        self.assertEqual([(s.target, s.status, s.body) for s in tap.take_apart(sent, received)],
                         [("/_ping", 200, None), ("/a", 201, {"a": 1}), ("/b", 200, [2])])

    def test_operations(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "x.yaml"), "w", encoding="utf-8") as file:
                file.write("paths:\n  '/containers/{id}/json':\n    get:\n      operationId: ContainerInspect\n"
                           "  '/containers/json':\n    get:\n      operationId: ContainerList\n"
                           "  '/images/{name}/json':\n    get:\n      operationId: ImageInspect\n"
                           "definitions:\n  X:\n    type: object\n")
            table = ops.Operations(folder)
        self.assertEqual(table.find("GET", "/v1.45/containers/json?all=1")[0], "ContainerList")
        self.assertEqual(table.find("GET", "/containers/abc/json")[0], "ContainerInspect")
        self.assertEqual(table.find("GET", "/v1.24/images/a.b:5000/c/d:e/json")[0], "ImageInspect")
        self.assertEqual(table.find("POST", "/containers/json")[0], "")

    def test_the_project_s_own_operations(self):
        self.assertEqual(len(ops.Operations().ids), 107)


if __name__ == "__main__":
    unittest.main()

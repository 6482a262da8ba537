# SPDX-License-Identifier: Apache-2.0
"""The helpers that scenarios run in the engines' networks."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

from support import FakeEngine  # noqa: F401

TOOLS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tools")


def run(tool, *words):
    done = subprocess.run([sys.executable, os.path.join(TOOLS, tool), *map(str, words)], capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout


class Tools(unittest.TestCase):
    def listen(self, kind, serve):
        server = socket.socket(socket.AF_INET, kind)
        server.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            server.listen()
        self.addCleanup(server.close)
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        return server.getsockname()[1]

    def test_tcp(self):
        def upper(server):
            connection, _ = server.accept()
            with connection:
                text = b""
                while data := connection.recv(100):
                    text += data
                connection.sendall(text.upper())
        self.assertEqual(run("dial", "tcp", "127.0.0.1", self.listen(socket.SOCK_STREAM, upper), "abc"), (0, "ABC"))

    def test_udp(self):
        def pong(server):
            data, peer = server.recvfrom(100)
            server.sendto(b"pong " + data, peer)
        self.assertEqual(run("dial", "udp", "127.0.0.1", self.listen(socket.SOCK_DGRAM, pong), "x"), (0, "pong x"))

    def test_http(self):
        def web(server):
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n")
        self.assertEqual(run("dial", "http", "127.0.0.1", self.listen(socket.SOCK_STREAM, web), "/x"), (0, "200\nhi\n"))

    def test_nobody_and_silence(self):
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            self.assertEqual(run("dial", "tcp", "127.0.0.1", held.getsockname()[1]), (1, "refused\n"))
        self.assertEqual(run("dial", "udp", "127.0.0.1", self.listen(socket.SOCK_DGRAM, lambda s: None), "x", "--timeout", "0.2"), (1, "silent\n"))

    def test_hold(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(run("hold", port, os.path.join(folder, "pid")), (0, "held\n"))
            name = os.listdir(folder)[0]
            with open(os.path.join(folder, name), encoding="ascii") as file:
                pid = int(file.read())
            with socket.socket() as second:
                self.assertRaises(OSError, second.bind, ("127.0.0.1", port))
            os.kill(pid, 15)


if __name__ == "__main__":
    unittest.main()

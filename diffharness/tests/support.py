# SPDX-License-Identifier: Apache-2.0
"""What the tests share: the package on the path, and a fake engine on a unix socket."""

import json
import os
import socket
import sys
import tempfile
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from hdiff.engine import Engine  # noqa: E402


def json_answer(value, status=200, headers=()):
    body = json.dumps(value).encode()
    return raw_answer(status, [("Content-Type", "application/json"), *headers], body)


def raw_answer(status, headers, body, length=True):
    lines = [f"HTTP/1.1 {status} X"] + [f"{name}: {value}" for name, value in headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class FakeEngine:
    """Answers by table {"METHOD /path": bytes or function(connection, request body)}; the empty census is built in."""

    CENSUS = {"GET /v1.45/containers/json?all=1": json_answer([]), "GET /v1.45/volumes": json_answer({"Volumes": None}),
              "GET /v1.45/networks": json_answer([]), "GET /v1.45/images/json": json_answer([]),
              "GET /_ping": raw_answer(200, [], b"OK")}

    def __init__(self, answers):
        self.answers = {**self.CENSUS, **answers}
        self.requests = []
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "sock")
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        self.server.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def host(self):
        return f"unix://{self.path}"

    def engine(self, role):
        return Engine(role, self.host)

    def close(self):
        self.server.close()
        self.folder.cleanup()

    def _accept(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            data = b""
            while b"\r\n\r\n" not in data:
                piece = connection.recv(65536)
                if not piece:
                    return
                data += piece
            head, _, body = data.partition(b"\r\n\r\n")
            length = 0
            for line in head.decode().split("\r\n")[1:]:
                if line.lower().startswith("content-length:"):
                    length = int(line.split(":")[1])
            while len(body) < length:
                body += connection.recv(65536)
            key = " ".join(head.decode().split("\r\n")[0].split(" ")[:2])
            self.requests.append((key, body))
            answer = self.answers.get(key, json_answer({"message": "page not found"}, 404))
            if callable(answer):
                answer(connection, body)
            else:
                connection.sendall(answer)

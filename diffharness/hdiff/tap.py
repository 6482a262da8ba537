# SPDX-License-Identifier: Apache-2.0
"""A byte pump between a docker CLI and an engine that keeps a copy of the conversation.

The pump changes nothing: half-closes are passed on, bytes are passed on as they come, and only after a connection has
ended is the copy taken apart into requests and answers. That tells which operations a CLI command exercised and gives
every answer to the schema check.
"""

import os
import re
import socket
import threading
from dataclasses import dataclass, field

from . import bodies, wire

KEPT = 4 << 20          # bytes kept for each direction of a connection


@dataclass
class Seen:
    """One request and what was answered: body when it is one JSON document, messages when it is a row of them."""

    method: str
    target: str
    status: int
    content_type: str
    body: object = None
    messages: list = field(default_factory=list)

    def take_body(self, data):
        if not data or "json" not in self.content_type:
            return
        try:
            found = bodies.documents(data)
        except bodies.BodyError:
            return
        if len(found) == 1:
            self.body = found[0]
        self.messages = found


class _Reader:
    """Takes HTTP messages off a kept copy; raises EOFError at the end of what was kept."""

    def __init__(self, data):
        self.data, self.offset = data, 0

    def head(self):
        end = self.data.find(b"\r\n\r\n", self.offset)
        if end < 0:
            raise EOFError
        head = self.data[self.offset:end]
        self.offset = end + 4
        return head

    def take(self, count):
        if self.offset + count > len(self.data):
            raise EOFError
        piece = self.data[self.offset:self.offset + count]
        self.offset += count
        return piece

    def line(self):
        end = self.data.find(b"\r\n", self.offset)
        if end < 0:
            raise EOFError
        piece = self.data[self.offset:end]
        self.offset = end + 2
        return piece

    def chunked(self):
        body = b""
        while True:
            size = int(self.line().split(b";")[0], 16)
            if size == 0:
                while self.line():
                    pass
                return body
            body += self.take(size)
            self.take(2)

    def body(self, headers, until_end):
        if "chunked" in (wire.header(headers, "Transfer-Encoding") or "").lower():
            return self.chunked()
        length = wire.header(headers, "Content-Length")
        if length is not None:
            return self.take(int(length))
        if until_end:
            raise EOFError
        return b""


def take_apart(sent, received):
    """The exchanges of one connection, from the two directions of its copy."""
    requests, answers, seen = _Reader(sent), _Reader(received), []
    try:
        while True:
            line, _, rest = requests.head().decode("latin-1").partition("\r\n")
            match = re.fullmatch(r"([A-Z]+) (\S+) HTTP/1\.[01]", line)
            if not match:
                return seen
            headers = [tuple(h.split(": ", 1)) for h in rest.split("\r\n") if ": " in h]
            status, _, got = wire.parse_head(answers.head())
            while status in (100, 102, 103):
                status, _, got = wire.parse_head(answers.head())
            item = Seen(match.group(1), match.group(2), status, wire.header(got, "Content-Type", ""))
            seen.append(item)
            if status == 101:
                return seen
            body = b""
            if item.method != "HEAD" and status not in (204, 304):
                body = answers.body(got, True)
            item.take_body(body)
            requests.body(headers, False)
    except (EOFError, ValueError, wire.WireError):
        return seen


class Tap:
    """Listens on a unix socket of its own in front of one engine. Threads: one that accepts, two for each connection."""

    def __init__(self, path, endpoint):
        self.path, self.endpoint = path, endpoint
        self._exchanges, self._open, self._lock = [], 0, threading.Condition()
        if os.path.exists(path):
            os.unlink(path)
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(path)
        self._server.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def host(self):
        return f"unix://{self.path}"

    def close(self):
        try:
            self._server.shutdown(socket.SHUT_RDWR)         # wakes the thread that accepts
        except OSError:
            pass
        self._server.close()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def collect(self):
        """The exchanges of the connections that have ended since the last call; waits a moment for those that are ending."""
        with self._lock:
            self._lock.wait_for(lambda: self._open == 0, 1.0)
            seen, self._exchanges = self._exchanges, []
        return seen

    def _accept(self):
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                self._open += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        sent, received = bytearray(), bytearray()
        try:
            server = wire.connect(self.endpoint)
            back = threading.Thread(target=_pump, args=(server, client, received), daemon=True)
            back.start()
            _pump(client, server, sent)
            back.join()
            server.close()
        except wire.WireError:
            pass
        finally:
            client.close()
            seen = take_apart(bytes(sent), bytes(received))
            with self._lock:
                self._exchanges += seen
                self._open -= 1
                self._lock.notify_all()


def _pump(source, target, copy):
    try:
        while True:
            data = source.recv(65536)
            if not data:
                break
            if len(copy) < KEPT:
                copy += data
            target.sendall(data)
    except OSError:
        pass
    try:
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass

# SPDX-License-Identifier: Apache-2.0
"""A small HTTP/1.1 client that hides nothing.

Library clients tidy up what a scenario wants to see: they merge headers, follow connections and cannot half-close. An
Exchange sends one request on one connection of its own, reads the answer in a thread of its own, and lets a scenario
send bytes, shut down its sending side, wait for text, or leave in the middle. Framing follows RFC 9112; a 101 answer and
a 200 answer without length are raw bytes until the peer closes.
"""

import re
import socket
import threading
import time
from urllib.parse import urlsplit

READ_SIZE = 65536
BODY_LIMIT = 64 << 20       # a scenario that gets more than this is a mistake


class WireError(Exception):
    """The peer broke HTTP framing, or there is no peer."""


def connect(endpoint, timeout=60.0):
    """A connected socket for unix:///path or tcp://host:port."""
    parts = urlsplit(endpoint)
    try:
        if parts.scheme == "unix":
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(timeout)
            sock.connect(parts.path)
        elif parts.scheme == "tcp":
            sock = socket.create_connection((parts.hostname, parts.port), timeout)
        else:
            raise WireError(f"not an endpoint: {endpoint}")
    except OSError as error:
        raise WireError(f"{endpoint}: {error.strerror or error}") from None
    sock.settimeout(None)
    return sock


def parse_head(raw):
    """(status, reason, [(name, value)]) of a response head without its final empty line."""
    lines = raw.decode("latin-1").split("\r\n")
    match = re.fullmatch(r"HTTP/1\.[01] (\d{3})(?: (.*))?", lines[0])
    if not match:
        raise WireError(f"not a status line: {lines[0][:80]!r}")
    headers = []
    for line in lines[1:]:
        name, sep, value = line.partition(":")
        if not sep:
            raise WireError(f"not a header: {line[:80]!r}")
        headers.append((name.strip(), value.strip()))
    return int(match.group(1)), match.group(2) or "", headers


def header(headers, name, default=None):
    for key, value in headers:
        if key.lower() == name.lower():
            return value
    return default


class Exchange:
    """One request and its answer. Not reusable; close() is always safe."""

    def __init__(self, endpoint, method, target, headers=(), body=b"", body_file=None):
        self.endpoint, self.method, self.target = endpoint, method, target
        self.request_headers, self.request_body, self.body_file = list(headers), body, body_file
        self.status, self.reason, self.headers = 0, "", []
        self.error = ""
        self.complete = False
        self.bytes_at_close = None
        self._body = bytearray()
        self._raw = bytearray()
        self._lock = threading.Condition()
        self._done = False
        self._sock = None
        self._thread = None

    # -- sending ---------------------------------------------------------------------------------------------------
    def start(self):
        self._sock = connect(self.endpoint)
        names = {name.lower() for name, _ in self.request_headers}
        head = [f"{self.method} {self.target} HTTP/1.1"]
        if "host" not in names:
            head.append("Host: docker")
        if "user-agent" not in names:
            head.append("User-Agent: hatake-diff")
        head += [f"{name}: {value}" for name, value in self.request_headers]
        payload = self.request_body
        if self.body_file:
            with open(self.body_file, "rb") as file:
                payload = file.read()
        if "transfer-encoding" in names and (payload or self.body_file):
            payload = (b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b"") + b"0\r\n\r\n"
        if (payload or self.method in ("POST", "PUT")) and not names & {"content-length", "transfer-encoding"}:
            head.append(f"Content-Length: {len(payload)}")
        self._thread = threading.Thread(target=self._read_all, daemon=True)
        self._thread.start()
        try:
            self._sock.sendall(("\r\n".join(head) + "\r\n\r\n").encode("utf-8") + payload)
        except OSError:
            pass                    # an early refusal closes the connection; its answer is still read
        return self

    def send(self, data):
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise WireError(f"send: {error.strerror}") from None

    def half_close(self):
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise WireError(f"half-close: {error.strerror}") from None

    def close(self):
        if self._sock is not None:
            try:
                self._sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            if self._thread is not None:
                self._thread.join(5)
            self._sock.close()

    # -- receiving -------------------------------------------------------------------------------------------------
    @property
    def body(self):
        with self._lock:
            return bytes(self._body)

    def wait_head(self, timeout):
        return self._wait(lambda: self.status or self._done, timeout) and self.status != 0

    def wait_body(self, pattern, timeout):
        """True once the decoded body so far matches the bytes pattern."""
        regex = re.compile(pattern, re.S)
        return self._wait(lambda: regex.search(self._body) or self._done, timeout) and bool(regex.search(self.body))

    def finish(self, timeout):
        """Waits for the end of the answer; False on time-out."""
        return self._wait(lambda: self._done, timeout)

    def _wait(self, predicate, timeout):
        limit = time.monotonic() + timeout
        with self._lock:
            while not predicate():
                left = limit - time.monotonic()
                if left <= 0:
                    return False
                self._lock.wait(left)
        return True

    def _read_all(self):
        try:
            self._read_answer()
        except (OSError, WireError, ValueError) as error:
            self.error = str(error)
        with self._lock:
            self._done = True
            self._lock.notify_all()

    def _fill(self):
        data = self._sock.recv(READ_SIZE)
        self._raw += data
        return bool(data)

    def _read_head(self):
        while True:
            end = self._raw.find(b"\r\n\r\n")
            if end >= 0:
                break
            if not self._fill():
                raise WireError("the connection was closed before an answer" if not self._raw else "half a response head")
        status, reason, headers = parse_head(bytes(self._raw[:end]))
        del self._raw[:end + 4]
        return status, reason, headers

    def _read_answer(self):
        status, reason, headers = self._read_head()
        while status in (100, 102, 103):
            status, reason, headers = self._read_head()
        with self._lock:
            self.status, self.reason, self.headers = status, reason, headers
            self._lock.notify_all()
        if self.method == "HEAD" or status in (204, 304):
            self.complete = True
            return
        length = header(headers, "Content-Length")
        if status != 101 and "chunked" in (header(headers, "Transfer-Encoding") or "").lower():
            self._read_chunked()
        elif status != 101 and length is not None:
            self._read_exact(int(length))
        else:
            self._read_to_end()
        self.complete = True

    def _deliver(self, data):
        with self._lock:
            self._body += data
            if len(self._body) > BODY_LIMIT:
                raise WireError("the body is over the limit of the harness")
            self._lock.notify_all()

    def _take(self, count):
        while len(self._raw) < count:
            if not self._fill():
                raise WireError("the connection was closed inside a body")
        data = bytes(self._raw[:count])
        del self._raw[:count]
        return data

    def _read_exact(self, count):
        while count > 0:
            if not self._raw and not self._fill():
                raise WireError("the connection was closed inside a body")
            piece = bytes(self._raw[:count])
            del self._raw[:len(piece)]
            count -= len(piece)
            self._deliver(piece)

    def _read_to_end(self):
        while True:
            if self._raw:
                piece = bytes(self._raw)
                self._raw.clear()
                self._deliver(piece)
            if not self._fill():
                return

    def _read_line(self):
        while True:
            end = self._raw.find(b"\r\n")
            if end >= 0:
                return self._take(end + 2)[:-2]
            if not self._fill():
                raise WireError("the connection was closed inside a chunked body")

    def _read_chunked(self):
        while True:
            size = int(self._read_line().split(b";")[0], 16)
            if size == 0:
                while self._read_line():
                    pass
                return
            self._deliver(self._take(size))
            if self._take(2) != b"\r\n":
                raise WireError("a chunk without its end")


def fetch(endpoint, method, target, headers=(), body=b"", timeout=120.0):
    """One whole exchange; WireError when there is no complete answer in time."""
    exchange = Exchange(endpoint, method, target, headers, body).start()
    try:
        if not exchange.finish(timeout):
            raise WireError(f"{method} {target}: no answer within {timeout:g} s")
        if exchange.error:
            raise WireError(f"{method} {target}: {exchange.error}")
        return exchange
    finally:
        exchange.close()

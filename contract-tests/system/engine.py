# SPDX-License-Identifier: Apache-2.0
"""What programs of this folder share: requests to an engine, and what one of its processes costs."""
import http.client
import json
import os
import socket
import time

PATIENCE = 120


class Api(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("engine", timeout=PATIENCE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self.path)

    def ask(self, method, target, body=None, good=(200, 201, 204, 304)):
        self.request(method, "/v1.45" + target, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"} if body is not None else {})
        reply = self.getresponse()
        text = reply.read()
        if reply.status not in good:
            raise SystemExit(f"{method} {target}: {reply.status} {text.decode()}")
        return json.loads(text) if text.strip() else None


def stalled(path, method, target, upgrade):
    """A connection whose answer has begun, and is read no further."""
    s = socket.socket(socket.AF_UNIX)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(PATIENCE)
    s.connect(path)
    extra = "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else ""
    s.sendall(f"{method} /v1.45{target} HTTP/1.1\r\nHost: engine\r\n{extra}Content-Length: 0\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        part = s.recv(1)
        if not part:
            raise SystemExit(f"{target}: closed after {head!r}")
        head += part
    if int(head.split()[1]) not in (101, 200):
        raise SystemExit(f"{target}: {head!r}")
    return s


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def settled(pid):
    """Their number once it has stayed the same for a while."""
    last, same = descriptors(pid), 0
    while same < 20:
        time.sleep(0.05)
        now = descriptors(pid)
        last, same = now, same + 1 if now == last else 0
    return last


def memory(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("Pss_Anon:"))


def until(what, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"never: {what}")
        time.sleep(0.05)

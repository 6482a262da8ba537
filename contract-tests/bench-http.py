#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What do 10,000 idle connections and 5,000 pending waits cost everybody else?

Opens idle connections (each has made one request, or none with --fresh), then waits that stay pending, then measures `GET /_ping` on one
keep-alive connection and on new connections. Prints one line per figure; exits 1 when the p99 of /_ping is above --limit.

  contract-tests/bench-http.py --socket /run/hatake.sock --wait /containers/NAME/wait --method POST
"""
import argparse
import resource
import selectors
import socket
import sys
import time

PING = b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n"


def connect(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    while True:
        try:
            s.connect(path)
            return s
        except BlockingIOError:
            time.sleep(0.001)


def read_reply(s):
    data = b""
    while b"\r\n\r\n" not in data:
        part = s.recv(65536)
        if not part:
            raise SystemExit("the server closed a connection")
        data += part
    head, body = data.split(b"\r\n\r\n", 1)
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            need = int(line.split(b":")[1])
            while len(body) < need:
                body += s.recv(65536)
    return head, body


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p))]


def measure(path, n, fresh):
    times = []
    s = None
    for _ in range(n):
        t = time.perf_counter()
        if fresh or s is None:
            s = connect(path)
        s.sendall(PING)
        head, _ = read_reply(s)
        times.append((time.perf_counter() - t) * 1000)
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"/_ping answered {head!r}")
        if fresh:
            s.close()
    return times


def report(name, times):
    print(f"{name}: p50 {percentile(times, .5):.3f} ms, p99 {percentile(times, .99):.3f} ms, max {max(times):.3f} ms")


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--socket", required=True)
    a.add_argument("--idle", type=int, default=10000)
    a.add_argument("--waits", type=int, default=5000)
    a.add_argument("--wait", default="/containers/x/wait", help="path of the long request")
    a.add_argument("--method", default="POST")
    a.add_argument("--fresh", action="store_true", help="idle connections never make a request")
    a.add_argument("--count", type=int, default=3000, help="pings to measure")
    a.add_argument("--limit", type=float, default=50.0, help="ms")
    o = a.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report("ping alone, one connection", measure(o.socket, o.count, False))
    t = time.perf_counter()
    idle = []
    for _ in range(o.idle):
        s = connect(o.socket)
        if not o.fresh:
            s.sendall(PING)
            read_reply(s)
        idle.append(s)
    print(f"{o.idle} idle connections opened in {time.perf_counter() - t:.2f} s")
    t = time.perf_counter()
    request = f"{o.method} {o.wait} HTTP/1.1\r\nHost: d\r\n\r\n".encode()
    waits = []
    for _ in range(o.waits):
        s = connect(o.socket)
        s.sendall(request)
        waits.append(s)
    # A wait sends its head at once.
    sel = selectors.DefaultSelector()
    for s in waits:
        sel.register(s, selectors.EVENT_READ)
    pending = o.waits
    end = time.perf_counter() + 30
    while pending and time.perf_counter() < end:
        for key, _ in sel.select(1):
            head = key.fileobj.recv(4096)
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"a wait answered {head[:80]!r}")
            sel.unregister(key.fileobj)
            pending -= 1
    print(f"{o.waits - pending} waits pending after {time.perf_counter() - t:.2f} s")
    loaded = measure(o.socket, o.count, False)
    report("ping among them, one connection", loaded)
    new = measure(o.socket, o.count, True)
    report("ping among them, new connections", new)
    t = time.perf_counter()
    for s in waits + idle:
        s.close()
    worst = max(percentile(loaded, .99), percentile(new, .99))
    after = measure(o.socket, 200, False)
    report("ping after all have left", after)
    print(f"{'PASS' if worst < o.limit and not pending else 'FAIL'}: p99 {worst:.3f} ms, limit {o.limit:g} ms")
    return 0 if worst < o.limit and not pending else 1


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""Rows of ci/bench about bytes and numbers: logs, attached clients, files, events, many containers at once."""
import contextlib
import io
import json
import os
import tarfile
import tempfile
import time

from bench_rows import CREATE, LABELS, bench, body, many_clients, running, together

MB = 1 << 20
LOG_BYTES = 64 * MB
LINE = b"0123456789" * 9 + b"abcdefghi\n"
LOG_CONTENT = LINE * (LOG_BYTES // len(LINE))


# ---- logs and attached clients ----

@contextlib.contextmanager
def lines_file(e):
    """Lines of 100 bytes as /lines in a container: what prints them costs next to nothing."""
    with tempfile.NamedTemporaryFile(dir=e.share, prefix="lines-") as f:
        os.fchmod(f.fileno(), 0o644)
        f.write(LOG_CONTENT)
        f.flush()
        yield {"Binds": [f"{e.share_inside}/{os.path.basename(f.name)}:/lines:ro"]}


def print_lines(host):
    return body(["cat", "/lines"], "none", remove=False, **host)


@bench(("log write, 64 MB of lines", "ms", 1 / 5, 1 / 10), ("logs, 64 MB of lines", "ms", 1 / 25, 1 / 100), ("logs --since of 64 MB, without a match", "ms", 1 / 1000, 1 / 100000),
       ("logs --tail 100 of 64 MB", "ms", None, None), share=0.2)
def logs(e):
    with lines_file(e) as host:
        while True:
            name = e.new_name()
            get = f"req GET /v1.45/containers/{name}/logs?stdout=1&stderr=1"
            try:
                t = e.chain(CREATE.format(name=name) + print_lines(host), f"open POST /v1.45/containers/{name}/wait?condition=next-exit",
                            f"req POST /v1.45/containers/{name}/start", "end", get, f"min {len(LOG_CONTENT)}",
                            f"{get}&since={int(time.time()) + 1000}", f"{get}&tail=100", "min 10000")
            finally:
                e.remove(name)
            yield t[3], t[4], t[6], t[7]


def attach(driver):
    def function(e):
        with lines_file(e) as host:
            if driver:
                host["LogConfig"] = {"Type": driver}
            while True:
                name = e.new_name()
                try:
                    t = e.chain(CREATE.format(name=name) + print_lines(host), f"open POST /v1.45/containers/{name}/attach?stream=1&stdout=1&stderr=1",
                                f"req POST /v1.45/containers/{name}/start", "end", f"min {len(LOG_CONTENT)}")
                finally:
                    e.remove(name)
                yield t[2] + t[3]
    return function


bench(("attach, default log, 64 MB of lines", "ms", 1 / 6, 1 / 15), share=0.2)(attach(None))
bench(("attach, no log, 64 MB of lines", "ms", 1 / 2, 1 / 3), share=0.34)(attach("none"))


# ---- events ----

@bench(("events: 40 to each of 100 listeners", "ms", 1 / 8, 1 / 20), share=0.34)
def events(e):
    filters = '{"event":["rename"]}'.replace('"', "%22")
    name = e.make(["true"], start=False)
    try:
        while True:
            steps = [f"listen 100 GET /v1.45/events?filters={filters}"]
            for _ in range(40):
                fresh = e.new_name()
                steps.append(f"req POST /v1.45/containers/{name}/rename?name={fresh}")
                name = fresh
            yield sum(e.chain(*steps, "heard 40")[1:])
    finally:
        e.remove(name)


# ---- files ----

@bench(("cp of 210 MB into a container", "ms", 1 / 2, 1 / 4), ("cp of 210 MB out of a container", "ms", 1 / 2, 1 / 4), share=0.34)
def cp(e):
    size = 210 * MB
    piece = os.urandom(MB)
    with tempfile.TemporaryFile() as f, running(e, ["sleep", "10000"], network="none") as name:
        with tarfile.open(fileobj=f, mode="w") as archive:
            member = tarfile.TarInfo("big")
            member.size = size
            archive.addfile(member, io.BytesIO(piece * (size // MB)))
        while True:
            f.seek(0)
            os.sync()
            into = e.stream("PUT", f"/containers/{name}/archive?path=/", f)
            yield into, e.chain(f"req GET /v1.45/containers/{name}/archive?path=/big", f"min {size}")[0]


# ---- many containers ----

@bench(("stats of 50 containers", "ms", 1 / 10, None), ("stats of 50 containers, all at once, with two readings each", "ms", None, None), share=0.34)
def stats(e):
    names = []
    with many_clients(e, 50) as clients:
        try:
            for _ in range(50):
                names.append(e.make(["sleep", "10000"]))
            while True:
                one = sum(e.chain(*(f"req GET /v1.45/containers/{name}/stats?stream=0&one-shot=1" for name in names)))
                yield one, together(clients, [[f"req GET /v1.45/containers/{name}/stats?stream=0"] for name in names])
        finally:
            e.remove(*names)


@bench(("df, 10 containers with a file each", "ms", 1 / 20, 1 / 100), ("ps -a --size, 10 containers with a file each", "ms", None, None))
def disk_usage(e):
    names = []
    try:
        for _ in range(10):
            names.append(e.make(["sh", "-c", "head -c 100000 /dev/zero > /f"], network="none"))
        for name in names:
            e.call("POST", f"/containers/{name}/wait")
        while True:
            yield e.chain("rep 5 GET /v1.45/system/df")[0], e.chain("rep 5 GET /v1.45/containers/json?all=1&size=1")[0]
    finally:
        e.remove(*names)


def started_by(e, clients, count):
    names = []
    try:
        for _ in range(count):
            names.append(e.make(["sleep", "10000"], start=False))
        return together(clients, [[f"req POST /v1.45/containers/{name}/start"] for name in names])
    finally:
        e.remove(*names)


@bench(("40 starts by 8 clients, of the time of one client", "part", {"at_most": 1 / 1.7}, {"at_most": 1 / 1.9}), share=0.34, only="engine")
def parallel_starts(e):
    with many_clients(e, 8) as clients:
        while True:
            one = started_by(e, clients[:1], 40)
            yield started_by(e, clients, 40) / one


def curve_point(e):
    """Seconds of list, inspect and start with what there is now, the best of 20 each: what is compared is measured alike."""
    taken = []
    for _ in range(20):
        name = e.new_name()
        t = e.chain("rep 3 GET /v1.45/containers/json?all=1", CREATE.format(name=name) + body(["sleep", "10000"], remove=False),
                    f"rep 20 GET /v1.45/containers/{name}/json", f"req POST /v1.45/containers/{name}/start")
        e.remove(name)
        taken.append((t[0], t[2], t[3]))
    return [min(one) for one in zip(*taken)]


@contextlib.contextmanager
def crowd(e, created, started):
    names = []
    try:
        for k in range(created):
            names.append(e.make(["sleep", "10000"], start=k < started))
        yield
    finally:
        e.remove(*names)


def curve(e):
    base = curve_point(e)
    with crowd(e, 100, 20):
        small = curve_point(e)
        with crowd(e, 900, 180):
            while True:
                ps, inspect, start = curve_point(e)
                yield base[0], small[0], ps, base[1], small[1], inspect, inspect / base[1], base[2], small[2], start, start / base[2]


bench(("curve: ps -a, no other container", "ms", None, None), ("curve: ps -a, 100 others, 20 run", "ms", None, None), ("curve: ps -a, 1000 others, 200 run", "ms", None, None),
      ("curve: inspect, no other", "ms", None, None), ("curve: inspect, 100 others", "ms", None, None), ("curve: inspect, 1000 others", "ms", None, None),
      ("curve: inspect, 1000 others to none", "times", {"at_most": 1.5}, {"at_most": 1}),
      ("curve: start, no other", "ms", None, None), ("curve: start, 100 others", "ms", None, None), ("curve: start, 1000 others", "ms", None, None),
      ("curve: start, 1000 others to none", "times", {"at_most": 1.5}, {"at_most": 1}),
      only=None if os.environ.get("LONG") else "engine")(curve)


# ---- networks ----

def with_ports(count):
    ports = {f"{1000 + i}/tcp": [{"HostPort": ""}] for i in range(count)}
    return json.dumps({"Image": "busybox", "Cmd": ["sleep", "10000"], "Labels": LABELS, "ExposedPorts": {p: {} for p in ports},
                       "HostConfig": {"PortBindings": ports}}, separators=(",", ":"))


def start_of(e, text):
    """Seconds of the start of a container made from that body."""
    name = e.new_name()
    took = e.chain(CREATE.format(name=name) + text, f"req POST /v1.45/containers/{name}/start")[1]
    e.remove(name)
    return took


@bench(("curve: start with 1 published port", "ms", None, None), ("curve: start with 32 published ports", "ms", None, None),
       ("curve: start with 200 published ports", "ms", None, None), only="engine")
def port_curve(e):
    bodies = [with_ports(count) for count in (1, 32, 200)]
    while True:
        yield tuple(start_of(e, text) for text in bodies)


@bench(("curve: start on a network with 1 other", "ms", None, None), ("curve: start on a network with 50 others", "ms", None, None),
       ("curve: start on a network with 300 others", "ms", None, None),
       ("curve: start on a network, 300 others to 1", "times", {"at_most": 1.5}, {"at_most": 1}), only="engine")
def network_curve(e):
    """The three networks are there at the same time, and a start on each is timed in turn: what else the machine does hits them alike."""
    networks, names = [], []
    try:
        for count in (1, 50, 300):
            networks.append(e.new_name())
            e.chain(f'req POST /v1.45/networks/create {{"Name":"{networks[-1]}"}}')
            names += [e.make(["sleep", "10000"], network=networks[-1]) for _ in range(count)]
        while True:
            took = [start_of(e, body(["sleep", "10000"], network)) for network in networks]
            yield (*took, took[2] / took[0])
    finally:
        e.remove(*names)
        for network in networks:
            e.chain(f"req DELETE /v1.45/networks/{network}")

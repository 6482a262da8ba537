# SPDX-License-Identifier: Apache-2.0
"""What the rows of ci/bench are made of: how one is declared, and the requests that most of them send."""
import concurrent.futures
import contextlib
import json
import os
import time

from bench_engine import Client

BENCHES = []
ENV = {}  # of the lab; filled by ci/bench before anything is measured
LABELS = {"bench": str(os.getpid())}
CREATE = "req POST /v1.45/containers/create?name={name} "


class Bench:
    def __init__(self, rows, function, share, images, only, podman):  # pylint: disable=too-many-arguments
        self.rows, self.function, self.share, self.images, self.only, self.podman = rows, function, share, images, only, podman


def bench(*rows, share=1.0, images=("busybox",), only=None, podman=False):
    """rows: (name, unit, gate, aim). The function is a generator: what it does before its first yield is preparation, each yield is one sample
    (seconds, MB or a number; a tuple when there are several rows), its finally is the clean-up. share: of the samples asked for, at least three.
    only: the one engine it is for, where the bound is a figure and not a ratio. podman: for podman, too, where it was asked for."""
    def add(function):
        BENCHES.append(Bench(rows, function, share, images, only, podman))
        return function
    return add


def body(command, network="bridge", remove=True, **host):
    return json.dumps({"Image": "busybox", "Cmd": command, "Labels": LABELS,
                       "HostConfig": {"NetworkMode": network, "AutoRemove": remove, **host}}, separators=(",", ":")).replace("\t", " ")


def run_steps(name, network="bridge"):
    return (CREATE.format(name=name) + body(["true"], network), f"open POST /v1.45/containers/{name}/wait?condition=removed",
            f"req POST /v1.45/containers/{name}/start", "end")


@contextlib.contextmanager
def running(e, command, **config):
    name = e.make(command, **config)
    try:
        yield name
    finally:
        e.remove(name)


def together(clients, chains):
    """Seconds until all chains are through, dealt out to clients that work at the same time."""
    def work(k):
        for chain in chains[k::len(clients)]:
            clients[k].chain(*chain)

    with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
        start = time.monotonic()
        list(pool.map(work, range(len(clients))))
        return time.monotonic() - start


@contextlib.contextmanager
def many_clients(e, count):
    clients = [Client(e.socket) for _ in range(count)]
    try:
        yield clients
    finally:
        for c in clients:
            c.close()

# SPDX-License-Identifier: Apache-2.0
"""What a program written with docker-py does to an engine: prints facts that must be the same on every engine."""
import io
import sys
import tarfile

import docker

client = docker.from_env(timeout=120)
NAME = "clients-py"
# Newer interpreters complain, with an address, of a stream that is closed half read; that is between them and the library.
sys.unraisablehook = lambda _: None


def say(what, value):
    print(f"{what}: {value}", flush=True)


def sweep():
    for container in client.containers.list(all=True, filters={"name": NAME}):
        container.remove(force=True, v=True)
    for network in client.networks.list(names=[NAME]):
        network.remove()
    for volume in client.volumes.list(filters={"name": NAME}):
        volume.remove(force=True)


def refused(what, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
        say(what, "done")
    except docker.errors.APIError as error:
        say(what, f"{type(error).__name__} {error.status_code} {error.explanation}")


def life():
    say("run", client.containers.run("busybox", ["echo", "hello"], remove=True))
    try:
        client.containers.run("busybox", ["sh", "-c", "echo no >&2; exit 3"], remove=True)
    except docker.errors.ContainerError as error:
        say("run that fails", f"{error.exit_status} {error.stderr}")
    refused("run without image", client.containers.run, "nosuch.example/none:1", "true")
    c = client.containers.run("busybox", ["sh", "-c", "echo one; echo two >&2; exec sleep 1000"], detach=True, name=NAME, labels={"a": "b"},
                              environment={"E": "1"}, mem_limit="64m", volumes={NAME: {"bind": "/v", "mode": "rw"}}, stop_signal="KILL",
                              ulimits=[docker.types.Ulimit(name="nofile", soft=100, hard=200)], tmpfs={"/t": "size=1m"})
    say("status", client.containers.get(NAME).status)
    say("image", c.image.tags)
    say("first log", next(iter(c.logs(stream=True, follow=True, stderr=False))))
    say("exec", c.exec_run(["sh", "-c", "echo out; echo err >&2; ulimit -n; exit 4"], demux=True, environment={"X": "y"}, workdir="/tmp"))
    say("exec stream", b"".join(c.exec_run("seq 3", stream=True).output))
    refused("exec missing", c.exec_run, "/no/such")
    sock = client.api.exec_start(client.api.exec_create(c.id, "cat", stdin=True)["Id"], socket=True)
    raw = getattr(sock, "_sock", sock)
    raw.sendall(b"through the socket\n")
    raw.shutdown(1)
    data = b""
    while chunk := raw.recv(1000):
        data += chunk
    sock.close()
    say("exec socket", data)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("put.txt")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"data"))
    say("put", c.put_archive("/v", archive.getvalue()))
    stream, stat = c.get_archive("/v/put.txt")
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        say("get", [(m.name, m.size, tar.extractfile(m).read()) for m in tar.getmembers()])
    say("stat", (stat["name"], stat["size"]))
    say("top", c.top()["Titles"])
    say("stats", sorted(c.stats(stream=False)))
    say("diff", sorted((d["Path"], d["Kind"]) for d in c.diff() or []))
    c.update(mem_limit="96m", memswap_limit="128m")
    c.reload()
    say("updated", c.attrs["HostConfig"]["Memory"])
    c.pause()
    c.reload()
    say("paused", c.status)
    c.unpause()
    c.rename(NAME + "-2")
    c.restart(timeout=0)
    c.stop(timeout=1)
    say("wait", c.wait())
    refused("remove twice", client.api.remove_container, NAME)
    image = c.commit(NAME, tag="1", changes=["CMD [\"true\"]"])
    say("commit", (image.tags, image.attrs["Config"]["Cmd"]))
    client.images.remove(f"{NAME}:1")
    c.remove(v=True)
    say("list", [x.name for x in client.containers.list(all=True, filters={"name": NAME})])


def networks():
    pool = docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet="10.120.7.0/24", gateway="10.120.7.1")])
    net = client.networks.create(NAME, driver="bridge", ipam=pool, labels={"n": "1"})
    a = client.containers.run("busybox", "sleep 1000", detach=True, name=NAME + "-a", network=NAME)
    b = client.containers.create("busybox", ["sh", "-c", f"ping -c 1 -w 20 {NAME}-a >/dev/null && nslookup other | grep -c 10.120.7.2"], name=NAME + "-b")
    net.connect(b, ipv4_address="10.120.7.9", aliases=["bee"])
    refused("connect twice", net.connect, b)
    a.reload()
    net.disconnect(a)
    net.connect(a, aliases=["other"], ipv4_address="10.120.7.2")
    b.start()
    say("ping", (b.wait()["StatusCode"], b.logs()))
    net.reload()
    say("members", [x.name for x in net.containers])
    refused("busy network", net.remove)
    a.remove(force=True)
    b.remove(force=True)
    net.remove()


def volumes():
    v = client.volumes.create(NAME, driver="local", labels={"k": "v"})
    say("volume", (v.name, v.attrs["Labels"], v.attrs["Mountpoint"]))
    c = client.containers.create("busybox", "true", name=NAME, mounts=[docker.types.Mount("/m", NAME, read_only=True)])
    refused("busy volume", lambda: [v.remove()] if not c else client.api.remove_volume(NAME))
    c.remove()
    v.remove()
    refused("no volume", client.volumes.get, NAME)


def events():
    seen = []
    stream = client.events(decode=True, filters={"type": "container", "label": "watched=yes"})
    c = client.containers.create("busybox", "true", name=NAME, labels={"watched": "yes"})
    c.start()
    c.wait()
    c.remove()
    for event in stream:
        seen.append(event["Action"])
        if event["Action"] == "destroy":
            break
    stream.close()
    say("events", seen)


sweep()
say("ping", client.ping())
say("version", sorted(client.version()))
say("info", sorted(client.info()))
for part in (life, networks, volumes, events):
    part()
sweep()

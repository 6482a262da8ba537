# SPDX-License-Identifier: Apache-2.0
"""Images for ci/bench that no engine has seen: those of the lab with one more file in front of each layer.

A gzip file may consist of several members (RFC 1952, 2.2): the new file is one of its own, what follows is as it was, so nothing large is compressed here.
"""
import base64
import concurrent.futures
import ctypes
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile

import image_push
from bench_engine import CLONE_NEWNET, Failed, compiled

SOURCE = "layers12"
AT_ONCE = 5  # as engines do unless told otherwise


def registries(env):
    """The one images are pulled from and another one; names."""
    if "REGISTRY" not in env:
        raise Failed("the lab's registry is down")
    return env["REGISTRY"], env["REGISTRY_BASIC"]


def credentials(env, server):
    auth = {"username": env["REGISTRY_USER"], "password": env["REGISTRY_PASSWORD"], "serveraddress": server}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()}


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def put_anew(env, name):
    """Bring a copy of the image to HOST/REPOSITORY:1. On a thread that goes where registries are reached: into their network namespace."""
    with concurrent.futures.ThreadPoolExecutor(1) as one:
        one.submit(put, env, name).result()


def put(env, name):
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/run/netns/" + env["REGISTRY_NETNS"], "rb") as namespace:
        if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "entering the registries' network namespace")
    layout = layout_of(env)
    host, _, repository = name.partition("/")
    image_push.use_hosts(hosts_of(env))
    registry = image_push.Registry(host, repository, env["REGISTRY_CA"], env["REGISTRY_USER"], env["REGISTRY_PASSWORD"])
    top, manifest = manifest_of(layout)
    with open(image_push.blob(layout, manifest["config"]["digest"]), encoding="utf-8") as f:
        config = json.load(f)
    for i, (layer, plain) in enumerate(zip(manifest["layers"], plain_layers(env))):
        entry, blob = layer_anew(layout, layer)
        config["rootfs"]["diff_ids"][i] = digest(entry + plain)
        layer.update(put_blob(registry, blob))
    manifest["config"].update(put_blob(registry, json.dumps(config).encode()))
    registry.put_manifest("1", top["mediaType"], json.dumps(manifest).encode())


def bare_push(env, name):
    """Seconds in which the registry takes new blobs of the image to HOST/REPOSITORY from a client that does nothing else: no engine is faster."""
    host, _, repository = name.partition("/")
    with open(hosts_of(env), encoding="ascii") as f:
        address = next(line.split()[0] for line in f if host.partition(":")[0] in line.split()[1:])
    with tempfile.TemporaryDirectory() as folder:
        layout, files = layout_of(env), []
        for layer in manifest_of(layout)[1]["layers"]:
            blob = layer_anew(layout, layer)[1]
            files.append(os.path.join(folder, digest(blob).removeprefix("sha256:")))
            with open(files[-1], "wb") as f:
                f.write(blob)
        os.sync()
        done = subprocess.run([compiled("bench-push", "-lcurl", "-lpthread"), "/run/netns/" + env["ENGINE_NETNS"], f"{host}:{address}", env["REGISTRY_CA"],
                               env["REGISTRY_USER"] + ":" + env["REGISTRY_PASSWORD"], f"https://{host}/v2/{repository}", str(AT_ONCE), *files],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"bench-push: {done.stderr.strip()[:200]}")
    return float(done.stdout)


def layout_of(env):
    return os.path.join(env["IMAGES"], SOURCE, "oci")


def hosts_of(env):
    return os.path.join(os.path.dirname(os.path.dirname(env["REGISTRY_CA"])), "etc/hosts")


def manifest_of(layout):
    """The entry of the index, and the manifest it names."""
    with open(os.path.join(layout, "index.json"), encoding="utf-8") as f:
        top = json.load(f)["manifests"][0]
    with open(image_push.blob(layout, top["digest"]), encoding="utf-8") as f:
        return top, json.load(f)


def layer_anew(layout, layer):
    """The archive of one more file, and the layer's blob with that in front."""
    entry = new_file()
    with open(image_push.blob(layout, layer["digest"]), "rb") as f:
        return entry, gzip.compress(entry, mtime=0) + f.read()


def plain_layers(env):
    """The archives in the image's layers, lowest first."""
    with tarfile.open(os.path.join(env["IMAGES"], SOURCE, "docker.tar")) as archive:
        for path in json.load(archive.extractfile("manifest.json"))[0]["Layers"]:
            yield archive.extractfile(path).read()


def new_file():
    """An archive of one file that is nowhere else, without the end of an archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("unique-" + os.urandom(8).hex())
        member.size = 512
        archive.addfile(member, io.BytesIO(os.urandom(member.size)))
        return out.getvalue()


def put_blob(registry, data):
    name = digest(data)
    with tempfile.NamedTemporaryFile() as f:
        f.write(data)
        f.flush()
        registry.put_blob(name, f.name)
    return {"digest": name, "size": len(data)}

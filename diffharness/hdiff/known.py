# SPDX-License-Identifier: Apache-2.0
"""Names for the content digests of the lab's images, read from their archives: neither engine is asked.

A golden then says <busybox:latest/config> where a rebuilt lab has another digest, while an engine that computes a wrong
digest still shows it.
"""

import glob
import hashlib
import json
import os
import tarfile


def from_archive(path):
    """{64 hex digits: name} of one archive in the format of `docker save` or an OCI layout."""
    names = {}
    try:
        with tarfile.open(path) as archive:
            manifest = json.load(archive.extractfile("manifest.json"))
            for image in manifest:
                tag = (image.get("RepoTags") or [os.path.basename(path)])[0].removeprefix("registry.lab.test:5000/")
                config = archive.extractfile(image["Config"]).read()
                names.setdefault(hashlib.sha256(config).hexdigest(), f"{tag}/config")
                for number, diff_id in enumerate(json.loads(config)["rootfs"]["diff_ids"]):
                    names.setdefault(diff_id.removeprefix("sha256:"), f"{tag}/diff{number}")
    except (OSError, KeyError, ValueError, TypeError, tarfile.TarError):
        pass
    return names


def from_layout(folder):
    """Digests of the manifests, layers and configs of an OCI layout. Not from the registry that serves it: what earlier scenarios have pushed stays there, and
    would give layers of the lab's images other names."""
    names = {}
    for entry in (_read(folder, "index.json") or {}).get("manifests") or []:
        reference = (entry.get("annotations") or {}).get("io.containerd.image.name", "")
        if reference:
            _name_manifest(folder, entry["digest"].removeprefix("sha256:"), reference.removeprefix("docker.io/").removeprefix("library/"), names)
    return names


def _read(folder, *path):
    try:
        with open(os.path.join(folder, *path), "rb") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def _name_manifest(folder, digest, name, names):
    names.setdefault(digest, f"{name}/manifest")
    manifest = _read(folder, "blobs/sha256", digest) or {}
    for number, child in enumerate(manifest.get("manifests") or []):
        _name_manifest(folder, child["digest"].removeprefix("sha256:"), f"{name}/{number}", names)
    if "config" in manifest:
        names.setdefault(manifest["config"]["digest"].removeprefix("sha256:"), f"{name}/config")
    for number, layer in enumerate(manifest.get("layers") or []):
        names.setdefault(layer["digest"].removeprefix("sha256:"), f"{name}/layer{number}")


def lab_digests(env):
    names = {}
    for path in sorted(glob.glob(os.path.join(env.get("IMAGES", ""), "*", "docker.tar"))):
        for digest, name in from_archive(path).items():
            names.setdefault(digest, name)
    for folder in sorted(glob.glob(os.path.join(env.get("IMAGES", ""), "*", "oci"))):
        for digest, name in from_layout(folder).items():
            names.setdefault(digest, name)
    return names


def archive_of(env, name):
    """(path of the lab's archive called name, its tag), or None when the lab has not made it."""
    path = os.path.join(env.get("IMAGES", ""), name, "docker.tar")
    try:
        with tarfile.open(path) as archive:
            return path, json.load(archive.extractfile("manifest.json"))[0]["RepoTags"][0]
    except (OSError, KeyError, ValueError, IndexError, tarfile.TarError):
        return None

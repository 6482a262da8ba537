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


def from_registry_store(folder):
    """Digests of the manifests, layers and configs that a registry's store links to a repository."""
    names = {}
    for link in sorted(glob.glob(os.path.join(folder, "docker/registry/v2/repositories/**/_manifests/tags/*/current/link"), recursive=True)):
        repository = link.split("/repositories/")[1].split("/_manifests")[0].removeprefix("library/")
        tag = link.split("/tags/")[1].split("/")[0]
        with open(link, encoding="ascii") as file:
            _name_manifest(folder, file.read().strip().removeprefix("sha256:"), f"{repository}:{tag}", names)
    return names


def _name_manifest(folder, digest, name, names):
    names.setdefault(digest, f"{name}/manifest")
    try:
        with open(os.path.join(folder, "docker/registry/v2/blobs/sha256", digest[:2], digest, "data"), "rb") as file:
            manifest = json.load(file)
    except (OSError, ValueError):
        return
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
    state = os.path.dirname(os.path.dirname(env.get("REGISTRY_CA", "")))
    for store in ("open", "basic", "token", "hub"):
        for digest, name in from_registry_store(os.path.join(state, "registry", store)).items():
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

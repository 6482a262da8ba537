# SPDX-License-Identifier: Apache-2.0
"""Makes container images from nothing but Python's standard library, byte for byte the same each time.

Layer: an ordered list of tar entries, written as an uncompressed tar and as a gzip blob.
Image: configuration plus layers, written as a docker-archive (what `docker load` reads) and as an OCI
layout (a folder), in Docker's or OCI's media types. Index: images of several platforms under one name.

Sources: POSIX pax for the tar, OCI image-spec 1.1 (layer, config, manifest, index, layout), Docker image
manifest version 2 schema 2.
"""
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
import zlib

EPOCH = 1700000000          # every time stamp that nothing else decides
CREATED = "2023-11-14T22:13:20Z"
TYPES = {
    "docker": {"config": "application/vnd.docker.container.image.v1+json",
               "gzip": "application/vnd.docker.image.rootfs.diff.tar.gzip",
               "manifest": "application/vnd.docker.distribution.manifest.v2+json",
               "index": "application/vnd.docker.distribution.manifest.list.v2+json"},
    "oci": {"config": "application/vnd.oci.image.config.v1+json",
            "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
            "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
            "manifest": "application/vnd.oci.image.manifest.v1+json",
            "index": "application/vnd.oci.image.index.v1+json"},
}


def sha256_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return "sha256:" + digest.hexdigest()


def canonical(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class Layer:
    """A tar under construction. Entries appear in the order they are added."""

    def __init__(self, note, level=6, compression="gzip"):
        self.note, self.level, self.compression = note, level, compression
        self.entries = []

    def add(self, name, kind=tarfile.REGTYPE, mode=0o644, data=b"", **more):
        """more: uid, gid, mtime, link, dev=(major, minor), xattrs={name: bytes}; data may be bytes,
        a path to a file, or a function that gives bytes when the layer is written."""
        self.entries.append((name, kind, mode, data, more))
        return self

    def dir(self, name, mode=0o755, **more):
        return self.add(name, tarfile.DIRTYPE, mode, **more)

    def file(self, name, data, mode=0o644, **more):
        return self.add(name, tarfile.REGTYPE, mode, data.encode() if isinstance(data, str) else data, **more)

    def copy(self, name, path, mode=0o755):
        with open(path, "rb") as f:
            return self.add(name, tarfile.REGTYPE, mode, f.read())

    def symlink(self, name, target, **more):
        return self.add(name, tarfile.SYMTYPE, 0o777, link=target, **more)

    def hardlink(self, name, target, mode=0o755):
        return self.add(name, tarfile.LNKTYPE, mode, link=target)

    def whiteout(self, name):
        folder, base = os.path.split(name)
        return self.file(os.path.join(folder, ".wh." + base), b"", 0o000)

    def opaque(self, name):
        return self.file(os.path.join(name, ".wh..wh..opq"), b"", 0o000)

    def tree(self, top):
        """Everything below a folder of this machine, sorted, times clamped to EPOCH."""
        seen = {}
        for folder, names, files in os.walk(top):
            names.sort()
            for base in sorted(names + files):
                path = os.path.join(folder, base)
                name, st = os.path.relpath(path, top), os.lstat(path)
                more = {"uid": st.st_uid, "gid": st.st_gid, "mtime": min(int(st.st_mtime), EPOCH)}
                mode = stat.S_IMODE(st.st_mode)
                if stat.S_ISDIR(st.st_mode):
                    self.dir(name, mode, **more)
                elif stat.S_ISLNK(st.st_mode):
                    self.symlink(name, os.readlink(path), **more)
                elif stat.S_ISREG(st.st_mode) and (st.st_dev, st.st_ino) in seen:
                    self.hardlink(name, seen[st.st_dev, st.st_ino], mode)
                elif stat.S_ISREG(st.st_mode):
                    seen[st.st_dev, st.st_ino] = name
                    self.add(name, tarfile.REGTYPE, mode, path, **more)
        return self

    def write_tar(self, path):
        with open(path, "wb") as out, tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, kind, mode, data, more in self.entries:
                info = tarfile.TarInfo(name)
                info.type, info.mode = kind, mode
                info.uid, info.gid = more.get("uid", 0), more.get("gid", 0)
                info.mtime, info.linkname = more.get("mtime", EPOCH), more.get("link", "")
                info.devmajor, info.devminor = more.get("dev", (0, 0))
                for key, value in more.get("xattrs", {}).items():
                    info.pax_headers["SCHILY.xattr." + key] = value.decode("utf-8", "surrogateescape")
                source = data() if callable(data) else data
                if isinstance(source, str):
                    info.size = os.path.getsize(source)
                    with open(source, "rb") as f:
                        tar.addfile(info, f)
                else:
                    info.size = len(source)
                    tar.addfile(info, io.BytesIO(source))

    def build(self, blobs):
        """Writes the layer; gives (diff id, path of the tar, descriptor without media type)."""
        tar = os.path.join(blobs, "layer.tmp")
        self.write_tar(tar)
        diff = sha256_file(tar)
        plain = os.path.join(os.path.dirname(blobs), "tars", diff[7:])
        os.replace(tar, plain)
        packed = os.path.join(blobs, "packed.tmp")
        if self.compression == "zstd":
            subprocess.run(["zstd", "-q", "-f", "-3", plain, "-o", packed], check=True)
        else:
            gzip_file(plain, packed, self.level)
        digest = sha256_file(packed)
        os.replace(packed, os.path.join(blobs, digest[7:]))
        return diff, plain, {"digest": digest, "size": os.path.getsize(os.path.join(blobs, digest[7:]))}


def gzip_file(source, target, level):
    """RFC 1952 without name or time, so that equal contents are equal blobs."""
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    with open(source, "rb") as src, open(target, "wb") as out:
        while block := src.read(1 << 20):
            out.write(packer.compress(block))
        out.write(packer.flush())


class Image:
    """config: the OCI `config` object (Cmd, Env, ...); layers: a list of Layer."""

    def __init__(self, name, config, layers, types="docker", architecture="amd64", variant=None):
        self.name, self.config, self.layers, self.types = name, config, layers, types
        self.architecture, self.variant = architecture, variant

    def build(self, blobs):
        """Writes blobs; gives (manifest descriptor with platform, config digest, tar paths)."""
        types = TYPES[self.types]
        built = [layer.build(blobs) for layer in self.layers]
        config = {"architecture": self.architecture, "os": "linux", "created": CREATED, "config": self.config,
                  "rootfs": {"type": "layers", "diff_ids": [b[0] for b in built]},
                  "history": [{"created": CREATED, "created_by": layer.note} for layer in self.layers]}
        if self.variant:
            config["variant"] = self.variant
        if "Cmd" in self.config:
            config["history"].append({"created": CREATED, "created_by": "CMD " + json.dumps(self.config["Cmd"]),
                                      "empty_layer": True})
        conf = put(blobs, canonical(config), types["config"])
        manifest = {"schemaVersion": 2, "mediaType": types["manifest"], "config": conf,
                    "layers": [{"mediaType": types[layer.compression], **b[2]}
                               for layer, b in zip(self.layers, built)]}
        desc = put(blobs, canonical(manifest), types["manifest"])
        desc["platform"] = {"architecture": self.architecture, "os": "linux"}
        if self.variant:
            desc["platform"]["variant"] = self.variant
        return desc, conf["digest"], [(b[0], b[1]) for b in built]


def put(blobs, data, media_type):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    with open(os.path.join(blobs, digest[7:]), "wb") as f:
        f.write(data)
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


class Index:
    """Images of several platforms under one name."""

    def __init__(self, name, images, types="oci"):
        self.name, self.images, self.types = name, images, types


def save(thing, folder):
    """Writes FOLDER/oci (a layout) and, for the first image, FOLDER/docker.tar. Replaces what was there."""
    work = folder + ".new"
    shutil.rmtree(work, ignore_errors=True)
    blobs = os.path.join(work, "oci", "blobs", "sha256")
    os.makedirs(blobs)
    os.makedirs(os.path.join(work, "oci", "blobs", "tars"))
    images = thing.images if isinstance(thing, Index) else [thing]
    built = [image.build(blobs) for image in images]
    if isinstance(thing, Index):
        kind = TYPES[thing.types]["index"]
        value = {"schemaVersion": 2, "mediaType": kind, "manifests": [b[0] for b in built]}
        top = put(blobs, canonical(value), kind)
    else:
        top = {key: value for key, value in built[0][0].items() if key != "platform"}
    top["annotations"] = {"org.opencontainers.image.ref.name": thing.name.rpartition(":")[2],
                          "io.containerd.image.name": "docker.io/library/" + thing.name}
    with open(os.path.join(work, "oci", "oci-layout"), "wb") as f:
        f.write(canonical({"imageLayoutVersion": "1.0.0"}))
    with open(os.path.join(work, "oci", "index.json"), "wb") as f:
        f.write(canonical({"schemaVersion": 2, "mediaType": TYPES["oci"]["index"], "manifests": [top]}))
    docker_archive(os.path.join(work, "docker.tar"), thing.name, blobs, built[0])
    shutil.rmtree(os.path.join(work, "oci", "blobs", "tars"))
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(work, folder)


def docker_archive(path, name, blobs, built):
    """The archive of `docker save` before version 25: manifest.json, configuration, one tar per layer."""
    _, config, layers = built
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        def add(member, data=None, source=None):
            info = tarfile.TarInfo(member)
            info.mtime, info.mode = EPOCH, 0o644
            info.size = os.path.getsize(source) if source else len(data)
            with open(source, "rb") if source else io.BytesIO(data) as f:
                tar.addfile(info, f)
        add(config[7:] + ".json", source=os.path.join(blobs, config[7:]))
        for diff in dict.fromkeys(layer[0] for layer in layers):
            add(diff[7:] + "/layer.tar", source=dict(layers)[diff])
        members = [layer[0][7:] + "/layer.tar" for layer in layers]
        add("manifest.json", canonical([{"Config": config[7:] + ".json", "RepoTags": [name], "Layers": members}]))
        repo, _, tag = name.rpartition(":")
        add("repositories", canonical({repo: {tag: members[-1].split("/")[0]}}))

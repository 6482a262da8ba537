# SPDX-License-Identifier: Apache-2.0
"""Tests of hdiff/known.py: which content goes by which name."""
import hashlib
import json
import os
import tempfile
import unittest

import support  # noqa: F401
from hdiff import known


class LabDigests(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.images, self.state = os.path.join(folder.name, "images"), os.path.join(folder.name, "state")
        self.env = {"IMAGES": self.images, "REGISTRY_CA": os.path.join(self.state, "tls/ca.crt")}

    def write(self, path, data):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)

    def blob(self, folder, data):
        digest = hashlib.sha256(data).hexdigest()
        self.write(os.path.join(folder, digest), data)
        return digest

    def manifest(self, folder, layers):
        config = self.blob(folder, b"{}")
        return self.blob(folder, json.dumps({"config": {"digest": "sha256:" + config}, "layers": [{"digest": "sha256:" + layer} for layer in layers]}).encode())

    def layout(self, name, top):
        entry = {"digest": "sha256:" + top, "annotations": {"io.containerd.image.name": f"docker.io/library/{name}:latest"}}
        self.write(os.path.join(self.images, name, "oci/index.json"), json.dumps({"manifests": [entry]}).encode())

    def test_manifests_of_platforms_and_their_layers(self):
        blobs = os.path.join(self.images, "multi/oci/blobs/sha256")
        one, two = self.manifest(blobs, ["a" * 64, "b" * 64]), self.manifest(blobs, ["c" * 64])
        index = self.blob(blobs, json.dumps({"manifests": [{"digest": "sha256:" + one}, {"digest": "sha256:" + two}]}).encode())
        self.layout("multi", index)
        names = known.lab_digests(self.env)
        self.assertEqual([names[digest] for digest in (index, one, two, "a" * 64, "b" * 64, "c" * 64)],
                         ["multi:latest/manifest", "multi:latest/0/manifest", "multi:latest/1/manifest",
                          "multi:latest/0/layer0", "multi:latest/0/layer1", "multi:latest/1/layer0"])

    def test_what_scenarios_have_pushed_names_nothing(self):
        """A layer of zstd that an earlier run has pushed to another repository, whose name comes before."""
        self.layout("zstd", self.manifest(os.path.join(self.images, "zstd/oci/blobs/sha256"), ["d" * 64]))
        store = os.path.join(self.state, "registry/open/docker/registry/v2")
        pushed = b'{"layers": [{"digest": "sha256:%s"}]}' % (b"d" * 64)
        digest = hashlib.sha256(pushed).hexdigest()
        self.write(os.path.join(store, "blobs/sha256", digest[:2], digest, "data"), pushed)
        self.write(os.path.join(store, "repositories/scn-zstd/f123/_manifests/tags/v1/current/link"), b"sha256:" + digest.encode())
        names = known.lab_digests(self.env)
        self.assertEqual(names["d" * 64], "zstd:latest/layer0")
        self.assertNotIn(digest, names)


if __name__ == "__main__":
    unittest.main()

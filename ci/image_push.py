# SPDX-License-Identifier: Apache-2.0
"""Pushes OCI layouts to registries (OCI distribution-spec 1.1), with basic and token authentication.

The lab's names are resolved from a hosts file of the caller, so that nothing on the machine changes.
"""
import base64
import http.client
import json
import os
import re
import socket
import ssl
import urllib.parse


def use_hosts(path):
    """Makes this process resolve names by that hosts file first."""
    table, ordinary = {}, socket.getaddrinfo
    with open(path, encoding="ascii") as f:
        for line in f:
            words = line.split()
            table.update((name, words[0]) for name in words[1:] if ":" not in words[0])

    def resolve(host, *rest, **more):
        return ordinary(table.get(host, host), *rest, **more)

    socket.getaddrinfo = resolve


class Registry:
    """One registry and one repository of it; keeps a connection and a token."""

    def __init__(self, host, repository, ca, user=None, password=None):
        self.host, self.repository = host, repository
        self.context = ssl.create_default_context(cafile=ca)
        self.user, self.password = user, password
        self.authorization = None
        self.connection = None

    def connect(self, host):
        return http.client.HTTPSConnection(host, context=self.context, timeout=60)

    def basic(self):
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def answer(self, challenge):
        """Does what a WWW-Authenticate header asks for (RFC 6750 as registries use it)."""
        if challenge.lower().startswith("basic"):
            self.authorization = self.basic()
            return
        words = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        realm = urllib.parse.urlsplit(words["realm"])
        query = urllib.parse.urlencode({"service": words["service"],
                                        "scope": f"repository:{self.repository}:pull,push"})
        connection = self.connect(realm.netloc)
        connection.request("GET", f"{realm.path}?{query}", headers={"Authorization": self.basic()})
        reply = connection.getresponse()
        body = reply.read()
        if reply.status != 200:
            raise OSError(f"{realm.netloc} gives no token: {reply.status} {body[:200]!r}")
        self.authorization = "Bearer " + json.loads(body)["token"]

    def ask(self, method, path, body=None, headers=()):
        for attempt in range(3):
            if not self.connection:
                self.connection = self.connect(self.host)
            send = dict(headers)
            if self.authorization:
                send["Authorization"] = self.authorization
            try:
                if hasattr(body, "seek"):
                    body.seek(0)
                self.connection.request(method, path, body, send)
                reply = self.connection.getresponse()
                data = reply.read()
            except (http.client.HTTPException, ConnectionError, ssl.SSLError):
                self.connection = None
                if attempt == 2:
                    raise
                continue
            if reply.status == 401 and attempt < 2:
                self.answer(reply.headers["WWW-Authenticate"])
                continue
            return reply, data
        raise OSError(f"{self.host} refuses {method} {path}")

    def has(self, kind, name, media_type="*/*"):
        reply, _ = self.ask("HEAD", f"/v2/{self.repository}/{kind}/{name}", headers={"Accept": media_type})
        return reply.headers.get("Docker-Content-Digest", "yes") if reply.status == 200 else None

    def put_blob(self, digest, path):
        if self.has("blobs", digest):
            return
        # An upload without a credential in its first request would send the body twice: a POST has none.
        reply, data = self.ask("POST", f"/v2/{self.repository}/blobs/uploads/", headers={"Content-Length": "0"})
        if reply.status != 202:
            raise OSError(f"{self.host}/{self.repository}: upload refused: {reply.status} {data[:200]!r}")
        where = urllib.parse.urlsplit(reply.headers["Location"])
        query = (where.query + "&" if where.query else "") + urllib.parse.urlencode({"digest": digest})
        with open(path, "rb") as f:
            reply, data = self.ask("PUT", f"{where.path}?{query}", f,
                                   {"Content-Type": "application/octet-stream",
                                    "Content-Length": str(os.path.getsize(path))})
        if reply.status != 201:
            raise OSError(f"{self.host}/{self.repository}: blob refused: {reply.status} {data[:200]!r}")

    def put_manifest(self, reference, media_type, data):
        reply, text = self.ask("PUT", f"/v2/{self.repository}/manifests/{reference}", data, {"Content-Type": media_type})
        if reply.status != 201:
            raise OSError(f"{self.host}/{self.repository}: manifest refused: {reply.status} {text[:200]!r}")


def blob(layout, digest):
    return os.path.join(layout, "blobs", *digest.split(":"))


def push(layout, registry, tag):
    """Brings a layout to registry.repository:tag; True if something had to be sent."""
    with open(os.path.join(layout, "index.json"), encoding="utf-8") as f:
        top = json.load(f)["manifests"][0]
    if registry.has("manifests", tag, top["mediaType"]) == top["digest"]:
        return False
    push_manifest(layout, registry, top, tag)
    return True


def push_manifest(layout, registry, desc, reference):
    with open(blob(layout, desc["digest"]), "rb") as f:
        data = f.read()
    value = json.loads(data)
    for child in value.get("manifests", []):
        push_manifest(layout, registry, child, child["digest"])
    for part in ([value["config"]] if "config" in value else []) + value.get("layers", []):
        registry.put_blob(part["digest"], blob(layout, part["digest"]))
    registry.put_manifest(reference, desc["mediaType"], data)

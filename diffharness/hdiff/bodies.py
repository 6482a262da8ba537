# SPDX-License-Identifier: Apache-2.0
"""What the bytes of a response body are: JSON, a row of JSON documents, frames, a tar archive, text."""

import base64
import hashlib
import io
import json
import tarfile

from . import frames, streams, wire

LONG_TEXT = 48 << 10
# Statuses of a pull whose number and order depend on timing alone.
FLEETING = ("Downloading", "Extracting", "Waiting", "Verifying Checksum", "Download complete", "Retrying", "Preparing", "Pushing")

LISTS = ("manifest.json", "index.json", "repositories")      # of an image archive: compared by what they say


class BodyError(Exception):
    """The body is not what its headers or the scenario say."""


def as_text(data):
    return data.decode("utf-8", "backslashreplace")


def documents(data, whole=True):
    """The JSON documents that follow one another; an unfinished last one is dropped unless the body is whole."""
    text, decoder, found, offset = as_text(data), json.JSONDecoder(), [], 0
    while True:
        while offset < len(text) and text[offset] in " \t\r\n":
            offset += 1
        if offset >= len(text):
            return found
        try:
            value, offset = decoder.raw_decode(text, offset)
        except ValueError:
            if whole:
                raise BodyError(f"not JSON: {text[offset:offset + 120]!r}") from None
            return found
        found.append(value)


def progress(items):
    """A progress stream without what depends on timing: messages in order, and each layer's statuses in order."""
    messages, layers = [], {}
    for item in items:
        status = item.get("status", "")
        if "id" in item and not status.startswith("Pulling from"):
            seen = layers.setdefault(item["id"], [])
            if not status.startswith(FLEETING) and (not seen or seen[-1] != item):
                seen.append(item)
        else:
            messages.append(item)
    return {"messages": messages, "layers": layers}


def tar_members(data):
    """What an archive holds, sorted by name: content by digest, so that two archives with the same members are equal."""
    found = []
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                item = {"name": member.name, "type": member.type.decode(), "mode": oct(member.mode), "owner": f"{member.uid}:{member.gid}"}
                if member.isreg():
                    item["size"] = member.size
                    content = archive.extractfile(member).read()
                    if member.name in LISTS:
                        item["json"] = json.loads(content)
                    else:
                        item["sha256"] = "sha256:" + hashlib.sha256(content).hexdigest()
                if member.linkname:
                    item["link"] = member.linkname
                found.append(item)
    except (tarfile.TarError, ValueError) as error:
        raise BodyError(f"not a tar archive: {error}") from None
    return sorted(found, key=lambda item: (item["name"], item["type"]))


def guess_kind(headers, data):
    content_type = (wire.header(headers, "Content-Type") or "").split(";")[0].strip()
    if not data:
        return "none"
    if content_type == "application/vnd.docker.multiplexed-stream":
        return "frames"
    if content_type == "application/json":
        try:
            return "json" if len(documents(data)) == 1 else "ndjson"
        except BodyError:
            return "text"
    if content_type == "application/x-tar":
        return "tar"
    return "text"


def decode(headers, data, kind="auto", whole=True):
    """{"kind": …, "value": …} in which every value is JSON-like; frames become {stream: text}."""
    if kind == "auto":
        kind = guess_kind(headers, data)
    if kind == "none" or (not data and kind != "frames"):
        return {"kind": "none", "value": None}
    if kind == "json":
        found = documents(data, whole)
        if len(found) != 1:
            raise BodyError(f"{len(found)} JSON documents instead of one")
        return {"kind": "json", "value": found[0]}
    if kind == "ndjson":
        return {"kind": "ndjson", "value": documents(data, whole)}
    if kind == "progress":
        return {"kind": "progress", "value": progress(documents(data, whole))}
    if kind == "events":
        return {"kind": "events", "value": streams.events(documents(data, whole))}
    if kind == "frames":
        try:
            found, rest = frames.decode(data)
        except frames.FrameError as error:
            raise BodyError(str(error)) from None
        if rest and whole:
            raise BodyError(f"half a frame at the end: {rest[:16]!r}")
        return {"kind": "frames", "value": {name: as_text(payload) for name, payload in frames.join(found).items()}}
    if kind == "tar":
        return {"kind": "tar", "value": tar_members(data)}
    if kind == "binary":
        return {"kind": "text", "value": f"{len(data)} bytes, sha256:{hashlib.sha256(data).hexdigest()}"}
    return {"kind": "text", "value": as_text(data)}


def shorten(text):
    """A long text as digest, counts, head and tail: still exact, and a golden stays readable."""
    if len(text) <= LONG_TEXT:
        return text
    lines = text.splitlines()
    return {"sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), "characters": len(text),
            "lines": len(lines), "head": lines[:10], "tail": lines[-10:]}


def path_stat(value):
    """The base64 JSON of X-Docker-Container-Path-Stat, readable and with sorted keys."""
    try:
        return json.dumps(json.loads(base64.b64decode(value)), sort_keys=True)
    except ValueError:
        return value

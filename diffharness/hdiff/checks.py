# SPDX-License-Identifier: Apache-2.0
"""The `?` lines (claims that hold on every engine) and the `=>` lines (values taken out of a result)."""

import json
import re

from . import compare, wire
from .compare import ABSENT


class CaptureError(Exception):
    """A value that a later step needs is not there."""


def _subject(subject, result):
    """The value that a check is about; ABSENT when there is none."""
    word, _, key = subject.partition(" ")
    if word in ("status", "exit", "stdout", "stderr", "output"):
        value = result.get(word, ABSENT)
        return ABSENT if value is None else value
    if word == "header":
        value = wire.header(result.get("headers") or [], key)
        return ABSENT if value is None else value
    body = result.get("body") or {"kind": "none", "value": None}
    if word == "frames":
        return body["value"].get(key, ABSENT) if body["kind"] == "frames" else ABSENT
    if word == "json":
        value = body["value"] if "body" in result else _stdout_json(result)
        return compare.lookup(value, compare.parse_path(key))
    if body["kind"] == "none":
        return ""
    return body["value"] if isinstance(body["value"], str) else json.dumps(body["value"])


def _stdout_json(result):
    try:
        return json.loads(result.get("stdout", ""))
    except ValueError:
        return ABSENT


def _as_text(value):
    return value if isinstance(value, str) else "" if value is ABSENT else json.dumps(value)


def failures(step, result, expand=lambda text: text):
    """One sentence for each check of the step that does not hold."""
    found = []
    for check in step.checks:
        value = _subject(check.subject, result)
        if not _holds(check, value, expand):
            shown = compare.show(value)
            if isinstance(value, str) and len(value) > 400:
                shown = compare.show(value[:400]) + "…"
            found.append(f"`? {check.text}` does not hold: {check.subject} is {shown}")
    return found


def _holds(check, value, expand):
    if check.operator == "absent":
        return value is ABSENT
    if check.operator == "present":
        return value is not ABSENT
    if check.operator == "empty":
        return value in ("", [], {}) and not isinstance(value, bool)
    if check.operator == "type":
        return compare.type_name(value) == check.argument
    if check.operator == "==":
        argument = expand(check.argument) if isinstance(check.argument, str) else check.argument
        return value == argument and isinstance(value, bool) == isinstance(argument, bool)
    matched = re.search(expand(check.argument), _as_text(value), re.S | re.M)
    return bool(matched) if check.operator == "~" else value is not ABSENT and not matched


def capture(source, result):
    """The text of `stdout`, `json .Id`, `header Location` or `stdout /id=(\\w+)/`."""
    match = re.fullmatch(r"(.*?) /(.*)/", source, re.S)
    subject, pattern = (match.group(1), match.group(2)) if match else (source, None)
    value = _subject(subject, result)
    if value is ABSENT:
        raise CaptureError(f"there is no {subject} to take")
    text = _as_text(value).strip()
    if pattern is None:
        return text
    found = re.search(pattern, text, re.S | re.M)
    if not found:
        raise CaptureError(f"{subject} does not match /{pattern}/: {text[:200]!r}")
    return found.group(1) if found.groups() else found.group()

# SPDX-License-Identifier: Apache-2.0
"""Comparers: two normalised results of one step become a list of differences.

A result is a dict with a `kind` (cli, tty, http, shell) and that kind's parts. JSON is compared by type, presence (null
is not absent), order of arrays unless the step says otherwise, and never by order of keys. Ids are equal when the two
sides can be paired one to one over the whole scenario.
"""

import difflib
import fnmatch
import json
import re
from dataclasses import dataclass

COMPARED_HEADERS = (
    "Api-Version", "Docker-Experimental", "Ostype", "Server", "Content-Type", "Builder-Version", "Swarm", "Cache-Control",
    "Pragma", "Upgrade", "Connection", "Location", "Allow", "X-Docker-Container-Path-Stat", "X-Content-Type-Options",
)
_ID = re.compile(r"<id:(\d+)(:\d+)?>")
ABSENT = object()


@dataclass
class Difference:
    part: str            # status, exit, header Server, stdout, body .HostConfig.Memory, …
    reference: str
    ours: str
    note: str = ""

    def as_dict(self):
        return {"part": self.part, "reference": self.reference, "ours": self.ours, "note": self.note}


class Pairs:
    """The one-to-one pairing of id numbers of the reference and of our engine, growing over one scenario."""

    def __init__(self):
        self._forth, self._back = {}, {}

    def equal(self, reference, ours):
        """True when both texts are the same but for ids, and the ids can be paired; pairs them if so."""
        if reference == ours and "<id:" not in reference:
            return True
        if _ID.sub(r"<id\2>", reference) != _ID.sub(r"<id\2>", ours):
            return False
        left = [m.group(1) for m in _ID.finditer(reference)]
        right = [m.group(1) for m in _ID.finditer(ours)]
        for a, b in zip(left, right):
            if self._forth.get(a, b) != b or self._back.get(b, a) != a:
                return False
        for a, b in zip(left, right):
            self._forth[a], self._back[b] = b, a
        return True


def blank_ids(text):
    return _ID.sub(r"<id\2>", text)


# -- JSON paths -----------------------------------------------------------------------------------------------------------
_TOKEN = re.compile(r'\.\["((?:[^"\\]|\\.)*)"\]|\.([^.\[\]]+)|\[(\d+|\*)\]')


def parse_path(text):
    """`.A.B[0]`, `.["a.b"].C`, `.` for the whole; `*` in an index or a key stands for any."""
    if text == ".":
        return ()
    tokens, offset = [], 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        if not match:
            raise ValueError(f"not a JSON path: {text}")
        quoted, plain, index = match.groups()
        if quoted is not None:
            tokens.append(json.loads(f'"{quoted}"'))
        elif plain is not None:
            tokens.append(plain)
        else:
            tokens.append("*" if index == "*" else int(index))
        offset = match.end()
    return tuple(tokens)


def show_path(tokens):
    parts = []
    for token in tokens:
        if isinstance(token, int):
            parts.append(f"[{token}]")
        elif re.fullmatch(r"[\w$-]+", token):
            parts.append(f".{token}")
        else:
            parts.append(f".[{json.dumps(token)}]")
    return "".join(parts) or "."


def lookup(value, tokens):
    """The value at a path, or ABSENT."""
    for token in tokens:
        if isinstance(token, int) and isinstance(value, list) and token < len(value):
            value = value[token]
        elif isinstance(token, str) and isinstance(value, dict) and token in value:
            value = value[token]
        else:
            return ABSENT
    return value


def path_matches(pattern, tokens):
    """A pattern covers the path itself and everything under it."""
    if len(pattern) > len(tokens):
        return False
    for want, have in zip(pattern, tokens):
        if want == "*" or want == have:
            continue
        if isinstance(want, str) and isinstance(have, str) and fnmatch.fnmatchcase(have, want):
            continue
        return False
    return True


def type_name(value):
    if value is ABSENT:
        return "absent"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    return {str: "string", list: "array", dict: "object"}[type(value)]


def show(value):
    if value is ABSENT:
        return "(absent)"
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


class Comparer:
    """Compares the steps of one scenario in order; keeps the pairing of ids between them."""

    def __init__(self):
        self.pairs = Pairs()

    def step(self, step, reference, ours):
        """The differences of one step that no allow of the step covers."""
        found = []
        if reference.get("kind") != ours.get("kind"):
            return [Difference("kind", str(reference.get("kind")), str(ours.get("kind")))]
        for part in ("error", "exit", "status"):
            if reference.get(part) != ours.get(part):
                found.append(Difference(part, str(reference.get(part)), str(ours.get(part))))
        for part in ("stdout", "stderr", "output"):
            if part in reference or part in ours:
                found += self.texts(part, reference.get(part, ""), ours.get(part, ""), step)
        if "headers" in reference or "headers" in ours:
            found += self.headers(reference.get("headers", {}), ours.get("headers", {}))
        if "body" in reference or "body" in ours:
            found += self.bodies(reference.get("body"), ours.get("body"), step)
        return self._without_allowed(found, step)

    def headers(self, reference, ours):
        found = []
        for name in COMPARED_HEADERS:
            a, b = reference.get(name), ours.get(name)
            if a != b and not (a is not None and b is not None and self.pairs.equal(a, b)):
                found.append(Difference(f"header {name}", a if a is not None else "(absent)", b if b is not None else "(absent)"))
        return found

    def texts(self, part, reference, ours, step):
        if isinstance(reference, dict) or isinstance(ours, dict):       # a digest of a long text
            return [] if reference == ours else [Difference(part, show(reference), show(ours), "long text")]
        if part in step.sort_lines:
            reference, ours = _sorted_lines(reference), _sorted_lines(ours)
        if self.pairs.equal(reference, ours):
            return []
        rules = [a for a in step.allows if a.target == f"line {part}"]
        if rules:
            kept = [[], []]
            for index, text in enumerate((reference, ours)):
                for line in text.splitlines(True):
                    rule = next((a for a in rules if re.search(a.pattern, line)), None)
                    if rule is None:
                        kept[index].append(line)
                    else:
                        rule.used = True
            reference, ours = "".join(kept[0]), "".join(kept[1])
            if self.pairs.equal(reference, ours):
                return []
        note = "the ids are not the same ones" if blank_ids(reference) == blank_ids(ours) else ""
        return [Difference(part, reference, ours, note)]

    def bodies(self, reference, ours, step):
        kind_a = reference["kind"] if reference else "none"
        kind_b = ours["kind"] if ours else "none"
        if kind_a != kind_b:
            return [Difference("body", f"{kind_a}: {show_body(reference)}", f"{kind_b}: {show_body(ours)}", "kind of body")]
        if kind_a in ("json", "ndjson", "tar", "progress", "events"):
            return self.json(reference["value"], ours["value"], (), [parse_path(p) for p in step.unordered])
        if kind_a == "frames":
            found = []
            for stream in sorted(set(reference["value"]) | set(ours["value"])):
                found += self.texts(f"frames {stream}", reference["value"].get(stream, ""), ours["value"].get(stream, ""), step)
            return found
        if kind_a == "none":
            return []
        return self.texts("body", reference["value"], ours["value"], step)

    def json(self, a, b, path, unordered):
        kind_a, kind_b = type_name(a), type_name(b)
        if kind_a != kind_b:
            return [Difference(f"body {show_path(path)}", show(a), show(b), f"{kind_a} became {kind_b}")]
        if isinstance(a, dict):
            found = []
            for key in sorted(set(a) | set(b)):
                found += self._member(a, b, key, path, unordered)
            return found
        if isinstance(a, list):
            if any(path_matches(p, path) and len(p) == len(path) for p in unordered):
                a, b = (sorted(x, key=lambda item: blank_ids(show(item))) for x in (a, b))
            found = []
            for index, (left, right) in _aligned(a, b):
                found += self.json(left, right, path + (index,), unordered)
            return found
        if isinstance(a, str):
            if self.pairs.equal(a, b):
                return []
        elif a == b:
            return []
        return [Difference(f"body {show_path(path)}", show(a), show(b))]

    def _member(self, a, b, key, path, unordered):
        """A key that is itself an id is looked up under its partner's name."""
        left, right = a.get(key, ABSENT), b.get(key, ABSENT)
        if "<id:" in key:
            blank = blank_ids(key)
            if left is ABSENT and any(blank_ids(k) == blank for k in a):
                return []
            if right is ABSENT:
                partner = [k for k in b if blank_ids(k) == blank and self.pairs.equal(key, k)]
                right = b[partner[0]] if partner else ABSENT
        return self.json(left, right, path + (key,), unordered)

    def _without_allowed(self, found, step):
        left = []
        for difference in found:
            rule = next((a for a in step.allows if _covers(a, difference)), None)
            if rule is None:
                left.append(difference)
            else:
                rule.used = True
        return left


def _aligned(a, b):
    """[(index, (left, right))]: pairs by position; when the lengths differ, equal items first find each other, so that one
    item too many is one difference and not a difference of everything behind it."""
    if len(a) == len(b) or not a or not b:
        return [(i, (a[i] if i < len(a) else ABSENT, b[i] if i < len(b) else ABSENT)) for i in range(max(len(a), len(b)))]
    matcher = difflib.SequenceMatcher(None, [blank_ids(show(x)) for x in a], [blank_ids(show(x)) for x in b], autojunk=False)
    pairs = []
    for _, a1, a2, b1, b2 in matcher.get_opcodes():
        common = min(a2 - a1, b2 - b1)
        pairs += [(a1 + i, (a[a1 + i], b[b1 + i])) for i in range(common)]
        pairs += [(i, (a[i], ABSENT)) for i in range(a1 + common, a2)]
        pairs += [(i, (ABSENT, b[i])) for i in range(b1 + common, b2)]
    return pairs


def _covers(allow, difference):
    if allow.target in ("status", "exit"):
        return difference.part == allow.target
    if allow.target == "header":
        return difference.part.lower() == f"header {allow.pattern}".lower()
    if allow.target == "json" and difference.part.startswith(("body .", "body [")):
        return path_matches(parse_path(allow.pattern), parse_path(difference.part[5:]))
    return False


def _sorted_lines(text):
    return "".join(sorted(text.splitlines(True), key=blank_ids))


def show_body(body):
    if not body:
        return "(no body)"
    return body["value"] if isinstance(body["value"], str) else show(body["value"])


def unified(reference, ours, context=2):
    """A readable diff of two texts; invisible characters are shown escaped."""
    def lines(text):
        return [line.encode("unicode_escape").decode() for line in text.split("\n")]
    diff = difflib.unified_diff(lines(reference), lines(ours), "reference", "ours", lineterm="", n=context)
    return "\n".join(list(diff)[2:])

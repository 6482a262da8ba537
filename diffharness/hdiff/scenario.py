# SPDX-License-Identifier: Apache-2.0
"""The scenario language: reads one .scn file into a Scenario.

A file is a few `name: value` headers, then the sections [setup], [steps] and [cleanup]. A step starts in the first
column; the indented lines under it are its attributes. README.md in the parent folder is the manual of the language;
this module is its only reader, and a mistake in a file is a ScenarioError with file and line.
"""

import json
import os
import re
import shlex
from dataclasses import dataclass, field

SECTIONS = ("setup", "steps", "cleanup")
HEADERS = ("title", "rows", "use", "cli", "plugins", "needs", "without", "when", "tags", "allow")
STREAM_VERBS = ("send", "halfclose", "close", "drop", "resize", "await", "join", "interrupt")
BODY_KINDS = ("auto", "json", "ndjson", "text", "frames", "binary", "progress", "events", "tar")


class ScenarioError(Exception):
    """A scenario file that cannot be understood."""


@dataclass
class Allow:
    """One difference that is explained by a deviation id. `used` is set by the comparer."""

    deviation: str
    target: str
    pattern: str
    line: int
    used: bool = False


@dataclass
class Check:
    """One `?` line: a claim about the result that must hold on every engine, the reference first."""

    subject: str
    operator: str
    argument: object
    text: str
    line: int


@dataclass
class Step:
    kind: str                       # cli, tty, http, shell, set, or one of STREAM_VERBS
    text: str                       # the step's own line, as written: what reports and goldens show
    line: int
    command: str = ""               # cli, tty, shell
    method: str = ""                # http
    target: str = ""                # http: path and query
    name: str = ""                  # background streams and variables
    background: bool = False
    argument: str = ""              # send text, await pattern, size, value
    raw: bool = False               # await: the terminal's mode instead of a pattern
    poll: bool = False              # `until`
    where: str = "engine"           # shell: engine, net (its network alone) or other (next door)
    columns: int = 80
    lines: int = 24
    body: list = field(default_factory=list)
    body_file: str = ""
    headers: list = field(default_factory=list)
    checks: list = field(default_factory=list)
    captures: list = field(default_factory=list)
    use: list = field(default_factory=list)
    unordered: list = field(default_factory=list)
    sort_lines: list = field(default_factory=list)
    allows: list = field(default_factory=list)
    decode: str = "auto"
    within: float = 180.0
    rows: list = field(default_factory=list)
    api: str = ""                   # the version of the API that a docker command is told to speak; empty: its own choice


@dataclass
class Scenario:
    name: str
    section: str
    path: str
    title: str = ""
    rows: list = field(default_factory=list)
    use: list = field(default_factory=list)
    cli: str = "both"
    plugins: list = field(default_factory=list)     # plugins of the CLI that the scenario uses: compose
    needs: list = field(default_factory=list)       # images of the lab that are there before
    without: list = field(default_factory=list)     # images of the lab that are not there before
    when: str = ""                                  # a shell condition inside the engine; skipped when it fails
    tags: list = field(default_factory=list)
    allows: list = field(default_factory=list)      # Allows for every step
    setup: list = field(default_factory=list)
    steps: list = field(default_factory=list)
    cleanup: list = field(default_factory=list)

    @property
    def full_name(self):
        return f"{self.section}/{self.name}"

    @property
    def uses_cli(self):
        return any(s.kind in ("cli", "tty") and "docker" in s.command for s in self.setup + self.steps + self.cleanup)

    def speak(self, version):
        """The steps' requests of v1.45 become those of another version, and their docker commands speak it. What a step proves
        holds for v1.45 alone: only comparing is left, and waiting. Setup and cleanup stay as they are: a new client made what is there.
        In 1.24 the command itself removes what --rm says, now and then too late; it goes on as before."""
        old_remove = tuple(map(int, version.split("."))) < (1, 25)
        for step in self.steps:
            if step.kind == "http":
                step.target = step.target.replace("/v1.45/", f"/v{version}/", 1)
            elif not step.poll and not old_remove:
                step.api = version
            if not step.poll:
                step.checks = []

    def all_rows(self):
        rows = set(self.rows)
        for step in self.steps:
            rows.update(step.rows)
        return sorted(rows)


def _quoted(text, where):
    """The JSON string that a `send` or `==` writes, so that control characters are visible in the file."""
    try:
        return json.loads(text)
    except ValueError:
        raise ScenarioError(f"{where}: not a JSON value: {text}") from None


def _slashed(text, where):
    match = re.fullmatch(r"/(.*)/", text.strip(), re.S)
    if not match:
        raise ScenarioError(f"{where}: a pattern is written /between slashes/: {text}")
    try:
        re.compile(match.group(1))
    except re.error as error:
        raise ScenarioError(f"{where}: bad pattern {text}: {error}") from None
    return match.group(1)


def parse_check(text, where, line):
    """`status 404`, `exit 0`, `stdout /re/`, `stdout == "x"`, `json .A.B absent`, `header Server /re/`, `frames 2 /re/`."""
    words = text.split(None, 1)
    if len(words) < 2:
        raise ScenarioError(f"{where}: an incomplete check: {text}")
    subject, rest = words[0], words[1].strip()
    if subject in ("status", "exit"):
        try:
            return Check(subject, "==", int(rest), text, line)
        except ValueError:
            raise ScenarioError(f"{where}: {subject} wants a number: {rest}") from None
    if subject in ("json", "header", "frames"):
        key, _, rest = rest.partition(" ")
        subject, rest = f"{subject} {key}", rest.strip()
    elif subject not in ("stdout", "stderr", "body", "output"):
        raise ScenarioError(f"{where}: unknown subject of a check: {subject}")
    if rest in ("absent", "present", "empty"):
        return Check(subject, rest, None, text, line)
    if rest.startswith("type "):
        return Check(subject, "type", rest[5:].strip(), text, line)
    if rest.startswith("== "):
        return Check(subject, "==", _quoted(rest[3:].strip(), where), text, line)
    if rest.startswith("!/"):
        return Check(subject, "!~", _slashed(rest[1:], where), text, line)
    return Check(subject, "~", _slashed(rest, where), text, line)


def _parse_request(step, rest, where):
    words = rest.split(None, 1)
    if len(words) != 2 or not words[0].isupper() or not words[1].startswith("/"):
        raise ScenarioError(f"{where}: a request is `METHOD /path`: {rest}")
    step.kind, step.method, step.target = "http", words[0], words[1].strip()


def _parse_size(text, where):
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match:
        raise ScenarioError(f"{where}: a size is COLUMNSxLINES: {text}")
    return int(match.group(1)), int(match.group(2))


def parse_step(text, line, where):
    """One step from its first-column line; attributes are added later."""
    step = Step(kind="", text=text, line=line)
    body = text
    if body.startswith("until "):
        step.poll, body = True, body[6:].strip()
        step.within = 120.0
    head, _, rest = body.partition(" ")
    rest = rest.strip()
    if head == "$":
        step.kind, step.command = "cli", rest
    elif head == "$&":
        step.kind, step.background = "cli", True
        step.name, _, step.command = rest.partition(" ")
    elif head == "$tty":
        step.kind, step.background = "tty", True
        step.name, _, step.command = rest.partition(" ")
        size, _, command = step.command.partition(" ")
        if re.fullmatch(r"\d+x\d+", size):
            step.columns, step.lines = _parse_size(size, where)
            step.command = command
    elif head == ">":
        _parse_request(step, rest, where)
    elif head == ">&":
        step.background = True
        step.name, _, rest = rest.partition(" ")
        _parse_request(step, rest, where)
    elif head == "!":
        step.kind, step.command = "shell", rest
    elif head in ("!net", "!other"):
        step.kind, step.where, step.command = "shell", head[1:], rest
    elif head == "set":
        step.kind = "set"
        step.name, _, step.argument = rest.partition(" ")
    elif head in STREAM_VERBS:
        step.kind = head
        step.name, _, step.argument = rest.partition(" ")
        _check_verb(step, where)
    else:
        raise ScenarioError(f"{where}: not a step: {text}")
    if step.kind in ("cli", "tty", "shell") and not step.command:
        raise ScenarioError(f"{where}: a step without a command: {text}")
    if step.poll and (step.background or step.kind not in ("cli", "http", "shell")):
        raise ScenarioError(f"{where}: only a $, > or ! step can be polled: {text}")
    if re.search(r"(^|[;&|]\s*)(sleep|usleep)\s", step.command) and "docker" not in step.command:
        raise ScenarioError(f"{where}: a scenario may not sleep; poll with `until`")
    return step


def _check_verb(step, where):
    if not step.name:
        raise ScenarioError(f"{where}: {step.kind} wants the name of a stream")
    if step.kind == "send":
        step.argument = _quoted(step.argument, where)
    elif step.kind == "await":
        step.raw = step.argument == "raw"
        step.argument = "" if step.raw else _slashed(step.argument, where)
    elif step.kind == "resize":
        step.columns, step.lines = _parse_size(step.argument, where)
    elif step.argument:
        raise ScenarioError(f"{where}: {step.kind} takes a name only")


def _add_attribute(step, text, line, where):
    head, _, rest = text.partition(" ")
    if head == "|" or text == "|":
        step.body.append(text[2:])
        return
    rest = rest.strip()
    if head == "@":
        step.body_file = rest
    elif head == "+":
        name, sep, value = rest.partition(":")
        if not sep:
            raise ScenarioError(f"{where}: a header is `+ Name: value`")
        step.headers.append((name.strip(), value.strip()))
    elif head == "?":
        step.checks.append(parse_check(rest, where, line))
    elif head == "=>":
        name, _, source = rest.partition(" ")
        step.captures.append((name, source.strip() or "stdout"))
    elif head == "use":
        step.use += rest.split()
    elif head == "unordered":
        step.unordered += rest.split()
    elif head == "sorted":
        step.sort_lines += rest.split()
    elif head == "row":
        step.rows += [int(r) for r in rest.split()]
    elif head == "within":
        step.within = float(rest)
    elif head == "as":
        if rest not in BODY_KINDS:
            raise ScenarioError(f"{where}: unknown body kind {rest}")
        step.decode = rest
    elif head == "allow":
        step.allows.append(_parse_allow(rest, line, where))
    else:
        raise ScenarioError(f"{where}: not an attribute of a step: {text}")


def _parse_allow(rest, line, where):
    """`allow D-CTR-003 json .HostConfig.X`, `… line stdout /re/`, `… header Server`, `… status`, `… exit`."""
    words = rest.split(None, 2)
    if len(words) < 2 or not re.fullmatch(r"D-[A-Z]+-\d+", words[0]):
        raise ScenarioError(f"{where}: an allow is `allow D-XXX-nnn target …`: {rest}")
    target, pattern = words[1], words[2].strip() if len(words) > 2 else ""
    if target == "line":
        channel, _, expression = pattern.partition(" ")
        target, pattern = f"line {channel}", _slashed(expression, where)
    elif target not in ("json", "header", "status", "exit"):
        raise ScenarioError(f"{where}: an allow is for json, line, header, status or exit: {target}")
    elif target in ("json", "header") and not pattern:
        raise ScenarioError(f"{where}: allow {target} wants a path or name")
    return Allow(words[0], target, pattern, line)


def _logical_lines(text):
    """Lines with their numbers; a line ending in a backslash goes on in the next."""
    held, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if not held:
            first = number
        if line.endswith("\\") and not line.lstrip().startswith("|"):
            held += line[:-1].rstrip() + " " if not held else line[:-1].strip() + " "
            continue
        yield first, held + (line.strip() if held else line)
        held = ""
    if held:
        yield first, held


def parse(text, path="-", section="", name=""):
    scenario = Scenario(name=name, section=section, path=path)
    current, step = None, None
    for number, raw in _logical_lines(text):
        where = f"{path}:{number}"
        line = raw.rstrip()
        if not line or line.startswith("#") or re.match(r"\s+#\s", line):
            continue
        if line.startswith("["):
            current, step = line.strip("[]"), None
            if current not in SECTIONS:
                raise ScenarioError(f"{where}: unknown section {line}")
        elif current is None:
            _add_header(scenario, line, number, where)
        elif line[0] in " \t":
            if step is None:
                raise ScenarioError(f"{where}: an attribute without a step")
            _add_attribute(step, raw.strip() if not raw.strip().startswith("|") else raw.lstrip(), number, where)
        else:
            step = parse_step(line, number, where)
            getattr(scenario, current).append(step)
    if not scenario.steps:
        raise ScenarioError(f"{path}: no steps")
    for step in scenario.steps:
        step.allows += scenario.allows          # the same objects: used in one step is used
    _check_streams(scenario)
    return scenario


def _add_header(scenario, line, number, where):
    name, sep, value = line.partition(":")
    value = value.strip()
    if not sep or name not in HEADERS:
        raise ScenarioError(f"{where}: not a header: {line}")
    if name in ("title", "cli", "when"):
        setattr(scenario, name, value)
    elif name == "allow":
        scenario.allows.append(_parse_allow(value, number, where))
    elif name == "rows":
        scenario.rows = [int(r) for r in value.split()]
    else:
        setattr(scenario, name, value.split())
        if name == "plugins" and set(scenario.plugins) - {"compose"}:
            raise ScenarioError(f"{where}: unknown plugin: {value}")


def _check_streams(scenario):
    known = set()
    for step in scenario.setup + scenario.steps + scenario.cleanup:
        if step.background:
            known.add(step.name)
        elif step.kind in STREAM_VERBS and step.name not in known:
            raise ScenarioError(f"{scenario.path}:{step.line}: no stream called {step.name}")
        if step.poll and not step.checks:
            raise ScenarioError(f"{scenario.path}:{step.line}: `until` needs a `?` line to wait for")


def load(path, root):
    relative = os.path.relpath(path, root)
    section = os.path.dirname(relative) or "-"
    name = os.path.splitext(os.path.basename(path))[0]
    with open(path, encoding="utf-8") as file:
        return parse(file.read(), relative, section, name)


def load_all(root, selectors=()):
    """Every scenario under root, sorted; selectors are sections (`container`), names (`container/exit-codes`) or parts of a name."""
    found = []
    for folder, _, files in sorted(os.walk(root)):
        for file in sorted(files):
            if file.endswith(".scn"):
                found.append(load(os.path.join(folder, file), root))
    if not selectors:
        return found
    chosen = [s for s in found if any(_selected(s, x) for x in selectors)]
    for selector in selectors:
        if not any(_selected(s, selector) for s in found):
            raise ScenarioError(f"no scenario is selected by {shlex.quote(selector)}")
    return chosen


def _selected(scenario, selector):
    selector = re.sub(r"\.scn$", "", selector)
    return selector in (scenario.section, scenario.full_name) or ("/" not in selector and selector in scenario.name) \
        or selector in scenario.tags or selector.endswith("scenarios/" + scenario.full_name)

# SPDX-License-Identifier: Apache-2.0
"""Normalisers: what two runs of the same thing may rightly differ in is replaced by a named placeholder.

Each normaliser is one class with a name, a text rule and, where the type says more than the text, a rule for JSON values
by key. Replacing (never dropping) keeps presence and type comparable: a number where the other engine has a string still
differs. ids, times and durations are always on; a scenario or step names every other one it needs with `use`.
Placeholders for ids carry a number in order of appearance; the comparer pairs the numbers of the two sides.
"""

import re

DEFAULT = ("ids", "times", "durations")


class Rule:
    name = ""

    def text(self, value, memory):
        return value

    def json(self, key, value, memory):
        """value is a JSON scalar that is not a string; return it or its placeholder."""
        return value

    def meet(self, key, value, memory):
        """value is any JSON scalar; what its place says of it may be remembered before it is replaced."""

    def member(self, key, value):
        """value is any JSON scalar; the key alone says that it is to be replaced."""
        return value


class Pattern(Rule):
    """Every match of a pattern, in any text, becomes the same placeholder."""

    pattern, placeholder = re.compile("(?!)"), ""

    def text(self, value, memory):
        return self.pattern.sub(self.placeholder, value)


class Ids(Rule):
    """Bare ids of 64 hex digits, and their 12-digit short form, become <id:N>. A digest (sha256:…) is not an id: it must be equal.

    Twelve decimal digits are a short id only where its long form was met before, or where progress streams tell of a layer: one id in 280 looks like a
    number, and so do sizes and times."""

    name = "ids"
    _long = re.compile(r"(?<![0-9a-f])(?<!sha256:)[0-9a-f]{64}(?![0-9a-f])")
    _short = re.compile(r"(?<![0-9a-zA-Z:_.-])[0-9a-f]{12}(?![0-9a-zA-Z])|(?<=/|-)[0-9a-f]{12}(?![0-9a-zA-Z])")

    _decimal = re.compile(r"[0-9]{12}")
    _keys = {"id", "announced", "completed"}  # the stream's own, and those of streams.py

    def meet(self, key, value, memory):
        if key in self._keys and isinstance(value, str) and self._decimal.fullmatch(value):
            memory.id_name(value)

    def text(self, value, memory):
        value = self._long.sub(lambda m: memory.id_name(m.group()), value)
        return self._short.sub(lambda m: m.group() if m.group().isdigit() and not memory.knows(m.group()) else memory.id_name(m.group()), value)


class Digests(Rule):
    """Content digests that cannot be equal, such as the id of an image made in the scenario itself."""

    name = "digests"
    _digest = re.compile(r"sha256:([0-9a-f]{64}|[0-9a-f]{12})(?![0-9a-f])")

    def text(self, value, memory):
        return self._digest.sub(lambda m: "sha256:" + memory.id_name(m.group(1)), value)


class Times(Rule):
    """RFC 3339 times, the CLI's and HTTP's own forms, and Unix times under the keys that hold them. Year 1 (never) stays."""

    name = "times"
    _rfc = re.compile(r"\b(?!0001)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
    _go = re.compile(r"\b(?!0001)\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,9})? [+-]\d{4} [A-Z]{3,4}\b")
    _http = re.compile(r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
    _ansic = re.compile(r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (?:[A-Z]{3,4} )?\d{4}\b")
    _keys = {"Created", "time", "timeNano", "CreatedAt"}

    def text(self, value, memory):
        value = self._rfc.sub(lambda m: "<time>" if m.group(1) == "Z" else "<time:offset>", value)
        value = self._go.sub("<time>", value)
        value = self._http.sub("<time>", value)
        return self._ansic.sub("<time>", value)

    def json(self, key, value, memory):
        if key in self._keys and isinstance(value, int) and not isinstance(value, bool):
            if 10**9 < value < 10**10:
                return "<unix>"
            if 10**18 < value < 10**19:
                return "<unixnano>"
        return value


class Clock(Pattern):
    """Seconds since 1970 as a whole line, as `date +%s` prints them."""

    name = "clock"
    pattern = re.compile(r"^\d{10}(?:\.\d+)?$", re.M)
    placeholder = "<clock>"


class Durations(Rule):
    """The wordings of an age: "2 seconds ago", "Up 3 minutes", "About an hour"; and the seconds that events say a command ran."""

    name = "durations"
    _words = re.compile(r"\b(?:Less than a second|\d+ (?:second|minute|hour|day|week|month|year)s?|About an? (?:minute|hour))\b")

    def text(self, value, memory):
        value = re.sub(r"\bexecDuration=\d+", "execDuration=<seconds>", value)
        return re.sub(r"<duration> +ago", "<duration> ago", self._words.sub("<duration>", value))

    def member(self, key, value):
        return "<seconds>" if key == "execDuration" and isinstance(value, str) and value.isdigit() else value


class Ports(Pattern):
    """Host ports picked by the engine: the ephemeral range of the reference, 32768 to 60999."""

    name = "ports"
    pattern = re.compile(r"(?<![0-9a-f])(3276[89]|327[7-9]\d|32[89]\d\d|3[3-9]\d{3}|[45]\d{4}|60\d{3})(?![0-9a-f])")
    placeholder = "<port>"

    def json(self, key, value, memory):
        if key == "PublicPort" and isinstance(value, int) and 32768 <= value <= 60999:
            return "<port>"
        return value


class Macs(Pattern):
    name = "macs"
    pattern = re.compile(r"\b[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b", re.I)
    placeholder = "<mac>"


class Pids(Pattern):
    """Process ids: the key Pid unless it is 0, and whole words of digits after "pid"."""

    name = "pids"
    pattern = re.compile(r"\b([Pp][Ii][Dd][ =:\"]{1,3})[1-9]\d*")
    placeholder = r"\1<pid>"

    def json(self, key, value, memory):
        if key in ("Pid", "pid") and isinstance(value, int) and value > 0:
            return "<pid>"
        return value


class Bytes(Rule):
    """Sizes: keys that hold a number of bytes, and the CLI's 1.23MB. Zero and -1 mean something and stay."""

    name = "bytes"
    _human = re.compile(r"(?<![\w.])\d+(?:\.\d+)? ?(?:[kKMGT]i?)?B\b")
    _keys = re.compile(r"^(?:Size|VirtualSize|SharedSize|SizeRw|SizeRootFs|LayersSize|current|total|size|SpaceReclaimed)$")

    def text(self, value, memory):
        return self._human.sub(lambda m: m.group() if m.group() in ("0B", "0 B") else "<bytes>", value)

    def json(self, key, value, memory):
        if self._keys.match(key or "") and isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return "<bytes>"
        return value


class EngineName(Pattern):
    """The engine's own version, where a scenario is not about it: 26.1.5 with whatever a distribution adds."""

    name = "engine"
    pattern = re.compile(r"\b26\.1\.\d+(?:[+~-][\w.+~-]+)?")
    placeholder = "<engine>"


class Addresses(Pattern):
    """IPv4 addresses of the private ranges that engines hand out."""

    name = "addresses"
    pattern = re.compile(r"\b(?:172\.(?:1[6-9]|2\d|3[01])|192\.168|10\.\d+)(?:\.\d+){2}\b")
    placeholder = "<address>"


class Names(Pattern):
    """Random container names, adjective_surname."""

    name = "names"
    pattern = re.compile(r"(?<![\w/.-])(/?)[a-z]{3,14}_[a-z]{3,16}\d?(?![\w/.-])")
    placeholder = r"\1<name>"


class Pull(Pattern):
    """Lines of `docker pull` that come or stay away with timing: waiting, verifying, downloaded. The one rule that drops lines."""

    name = "pull"
    pattern = re.compile(r"^\S+: (?:Waiting|Verifying Checksum|Download complete|Retrying in .*)\r?\n", re.M)
    placeholder = ""


class Temporary(Pattern):
    """Random numbers in names of temporary files."""

    name = "temporary"
    pattern = re.compile(r"\b(docker-import-|GetImageBlob|tmp)\d{6,}")
    placeholder = r"\1<number>"


class Banner(Rule):
    """The version in the greeting of an interactive shell of the test image, and how often it redraws its prompt after a resize."""

    name = "banner"
    _redraws = re.compile(r"(?:\r/ # \x1b\[J)+")
    _banner = re.compile(r"BusyBox v\S+ \([^)]*\)+")

    def text(self, value, memory):
        return self._redraws.sub(lambda m: "\r/ # \x1b[J", self._banner.sub("BusyBox <version>", value))


class Repeats(Pattern):
    """A line that says the same as the one before it: how often something was said again until somebody had heard it."""

    name = "repeats"
    pattern = re.compile(r"^(.+\n)\1+", re.M)
    placeholder = r"\1"


class Machine(Rule):
    """Facts of the machine and of one running daemon in /info, /version and the like, by key; types and presence stay comparable."""

    name = "machine"
    _keys = {"ID", "Name", "NCPU", "MemTotal", "KernelVersion", "OperatingSystem", "OSVersion", "OSType", "NFd", "NGoroutines",
             "NEventsListener", "Containers", "ContainersRunning", "ContainersPaused", "ContainersStopped", "Images", "BuildTime",
             "GitCommit", "GoVersion", "Version", "ServerVersion"}

    def member(self, key, value):
        if key in self._keys and (isinstance(value, str) and value or isinstance(value, int) and not isinstance(value, bool)):
            return f"<machine:{'text' if isinstance(value, str) else 'number'}>"
        return value


class Figures(Rule):
    """Measurements: every number of a JSON answer and every percentage, where what counts is which figures there are. Null and absent stay."""

    name = "figures"
    _percent = re.compile(r"(?<![\w.])\d+(?:\.\d+)?%")

    def text(self, value, memory):
        return self._percent.sub("<percent>", value)

    def member(self, key, value):
        return "<figure>" if isinstance(value, (int, float)) and not isinstance(value, bool) else value


class Spaces(Rule):
    """Column padding, whose width depends on values that are normalised themselves."""

    name = "spaces"
    _runs = re.compile(r" {2,}")
    _tail = re.compile(r" +$", re.M)

    def text(self, value, memory):
        return self._tail.sub("", self._runs.sub("  ", value))


RULES = {rule.name: rule for rule in
         (Digests(), Times(), Ids(), Durations(), Clock(), Ports(), Macs(), Pids(), Bytes(), EngineName(), Addresses(), Names(), Temporary(), Pull(), Banner(), Repeats(), Machine(), Figures(), Spaces())}


class Memory:
    """What one engine's run of one scenario has named so far."""

    def __init__(self):
        self._full, self._short, self._count = {}, {}, 0

    def knows(self, short):
        return short in self._short

    def id_name(self, value):
        short = value[:12]
        number = self._short.get(short)
        if number is None:
            self._count += 1
            number = self._short[short] = self._count
        return f"<id:{number}>" if len(value) == 64 else f"<id:{number}:{len(value)}>"


class Normaliser:
    """Applies the rules in their fixed order. known maps digests of the lab's images to names, so that goldens outlive a rebuild."""

    def __init__(self, use=(), known=None):
        unknown = [name for name in use if name not in RULES]
        if unknown:
            raise ValueError(f"unknown normaliser {', '.join(unknown)}; there are: {', '.join(sorted(RULES))}")
        self.use = frozenset(use) | frozenset(DEFAULT)
        self.memory = Memory()
        self._known = dict(known or {})
        self._known_short = {digest[:12]: name for digest, name in self._known.items()}

    def with_rules(self, extra):
        """The same memory with more rules, for one step."""
        other = Normaliser(self.use | frozenset(extra))
        other.memory, other._known, other._known_short = self.memory, self._known, self._known_short
        return other

    def _active(self):
        return [rule for name, rule in RULES.items() if name in self.use]

    _hex = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{12})(?![0-9a-f])")

    def _name_known(self, match):
        value = match.group()
        if len(value) == 64:
            return f"<{self._known[value]}>" if value in self._known else value
        return f"<{self._known_short[value]}:12>" if value in self._known_short else value

    def text(self, value):
        if self._known:
            value = self._hex.sub(self._name_known, value)
        for rule in self._active():
            value = rule.text(value, self.memory)
        return value

    def json(self, value, key=None):
        """Keys are visited sorted, so that the numbering of ids does not depend on their order in the answer."""
        if isinstance(value, dict):
            return {self.text(k): self.json(value[k], k) for k in sorted(value)}
        if isinstance(value, list):
            return [self.json(item, key) for item in value]
        for rule in self._active():
            rule.meet(key, value, self.memory)
            value = rule.member(key, value)
        if isinstance(value, str):
            return self.text(value)
        for rule in self._active():
            value = rule.json(key, value, self.memory)
        return value

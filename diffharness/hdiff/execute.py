# SPDX-License-Identifier: Apache-2.0
"""Runs the steps of one scenario on one engine and gives each step's result, raw for its checks and normalised for comparing."""

import os
import re
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass, field

from . import bodies, checks, tap, wire
from .compare import COMPARED_HEADERS
from .normal import Normaliser
from .process import Piped, ProcessError, Terminal

POLL_PAUSE = 0.05


@dataclass
class Outcome:
    """One step on one engine."""

    step: object
    result: dict                                    # normalised: compared and recorded
    failed: list = field(default_factory=list)      # sentences: checks that do not hold, broken framing, time-outs
    seconds: float = 0.0


class StepError(Exception):
    """The step could not be carried out; the text becomes the step's `error`."""


class Execution:
    """One engine, one scenario, one CLI. Owns a scratch folder and every stream that a step opened."""

    def __init__(self, engine, scenario, cli_path="", known=None):
        self.engine, self.scenario = engine, scenario
        self.folder = tempfile.mkdtemp(prefix="hatake-diff-")
        self.variables = dict(engine.variables)
        self.variables["work"] = self.folder
        self.normaliser = Normaliser(scenario.use, known)
        self.streams = {}
        self.seen = []
        self._environment = self._make_environment(cli_path)
        self._places = [(engine.tap_host or engine.host, "<endpoint>"), (self.folder, "<work>"),
                        (self.variables.get("tools", ""), "<tools>"),
                        (self.variables.get("socket_dir", ""), "<sockets>"), (self.variables.get("daemon", ""), "<daemon>"), (self.variables.get("cgroup", ""), "<cgroup>"), (self.variables.get("address", ""), "<engine>")]

    def _make_environment(self, cli_path):
        binaries = os.path.join(self.folder, ".bin")
        os.mkdir(binaries)
        os.mkdir(os.path.join(self.folder, ".docker"))
        if cli_path:
            os.symlink(cli_path, os.path.join(binaries, "docker"))
        for plugin in self.scenario.plugins:
            os.makedirs(os.path.join(self.folder, ".docker", "cli-plugins"), exist_ok=True)
            os.symlink(self.variables[plugin], os.path.join(self.folder, ".docker", "cli-plugins", "docker-" + plugin))
        with open(os.path.join(self.folder, ".docker", "config.json"), "w", encoding="utf-8") as file:
            file.write("{}\n")
        return {"PATH": f"{binaries}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": self.folder, "TERM": "xterm", "LC_ALL": "C.UTF-8", "TZ": "UTC",
                "DOCKER_HOST": self.engine.tap_host or self.engine.host, "DOCKER_CONFIG": os.path.join(self.folder, ".docker"),
                "DOCKER_CLI_HINTS": "false", "BUILDKIT_PROGRESS": "plain"}

    def _environment_of(self, step):
        return dict(self._environment, DOCKER_API_VERSION=step.api) if step.api else self._environment

    def close(self):
        for stream in self.streams.values():
            _drop(stream)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- variables -------------------------------------------------------------------------------------------------
    def expand(self, text):
        def value(match):
            name = match.group(1)
            if name not in self.variables:
                raise StepError(f"no value for %{{{name}}}")
            return self.variables[name]
        return re.sub(r"%\{(\w+)\}", value, text)

    # -- one step --------------------------------------------------------------------------------------------------
    def run(self, step):
        began = time.monotonic()
        try:
            raw = self._poll(step) if step.poll else self._once(step)
        except (StepError, ProcessError, wire.WireError, bodies.BodyError, OSError) as error:
            raw = {"kind": step.kind, "error": str(error)}
        outcome = Outcome(step, {})
        if "error" in raw:
            outcome.failed.append(raw["error"])
        elif not step.poll:
            try:
                outcome.failed += checks.failures(step, raw, self.expand)
            except StepError as error:
                outcome.failed.append(str(error))
        for name, source in step.captures:
            try:
                self.variables[name] = checks.capture(source, raw)
            except checks.CaptureError as error:
                outcome.failed.append(str(error))
        outcome.result = {"kind": "until", "held": "error" not in raw} if step.poll else self._normalised(step, raw)
        if step.poll and "error" in raw:
            outcome.result["error"] = raw["error"]
        outcome.seconds = time.monotonic() - began
        return outcome

    def _poll(self, step):
        limit = time.monotonic() + step.within
        while True:
            raw, problem = {}, ""
            try:
                raw = self._once(step)
                missing = checks.failures(step, raw, self.expand)
                problem = "; ".join(missing)
            except (ProcessError, wire.WireError, bodies.BodyError) as error:
                problem = str(error)
            if not problem:
                return raw
            if time.monotonic() > limit:
                return {"kind": "until", "error": f"not within {step.within:g} s: {problem}"}
            time.sleep(POLL_PAUSE)

    def _once(self, step):
        return getattr(self, f"_do_{step.kind}")(step)

    # -- commands --------------------------------------------------------------------------------------------------
    def _stdin(self, step):
        if step.body_file:
            with open(self.expand(step.body_file), "rb") as file:
                return file.read()
        return (self.expand("\n".join(step.body)) + "\n").encode() if step.body else None

    def _piped(self, words, step):
        process = Piped(words, self._environment_of(step), self.folder, self._stdin(step), keep_open=step.background)
        if step.background:
            self.streams[step.name] = process
            return {"kind": "started"}
        return self._ended(process, step)

    def _ended(self, process, step):
        code = process.finish(step.within)
        if isinstance(process, Terminal):
            result = {"kind": "tty", "output": bodies.as_text(process.output("output")), "exit": code}
        else:
            result = {"kind": "cli", "stdout": bodies.as_text(process.output("stdout")),
                      "stderr": bodies.as_text(process.output("stderr")), "exit": code}
        if process.timed_out:
            result["error"] = f"still running after {step.within:g} s; output so far: {str(result)[-600:]}"
        return result

    def _do_cli(self, step):
        # In the background there is no shell in between, so that `interrupt` reaches the command itself.
        command = ("exec " if step.background else "") + self.expand(step.command)
        return self._piped(["/bin/sh", "-c", command], step)

    def _do_shell(self, step):
        command = self.expand(step.command)
        place = {"engine": self.engine.inside, "net": self.engine.on_network, "other": self.engine.next_door}[step.where]
        return self._piped(place(command), step)

    def _do_tty(self, step):
        self.streams[step.name] = Terminal(["/bin/sh", "-c", "exec " + self.expand(step.command)], self._environment_of(step), self.folder,
                                           step.columns, step.lines)
        return {"kind": "started"}

    # -- requests --------------------------------------------------------------------------------------------------
    def _do_http(self, step):
        body = self.expand("\n".join(step.body)).encode()
        headers = [(name, self.expand(value)) for name, value in step.headers]
        if body and not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("Content-Type", "application/json"))
        exchange = wire.Exchange(self.engine.host, step.method, self.expand(step.target), headers, body,
                                 self.expand(step.body_file) if step.body_file else None)
        exchange.decode_as = step.decode
        exchange.start()
        if step.background:
            self.streams[step.name] = exchange
            return {"kind": "started"}
        try:
            return self._answer(exchange, step)
        finally:
            exchange.close()

    def _answer(self, exchange, step):
        if not exchange.finish(step.within):
            raise StepError(f"no end of the answer within {step.within:g} s; status {exchange.status}, body so far: {exchange.body[-300:]!r}")
        return self._as_result(exchange, step)

    def _as_result(self, exchange, step, whole=True):
        if exchange.error and whole:
            raise StepError(f"{exchange.error}; status {exchange.status}")
        data = exchange.body
        kind = step.decode if step.decode != "auto" else exchange.decode_as
        if exchange.status >= 300:
            kind = "auto"
        body = bodies.decode(exchange.headers, data, kind, whole)
        seen = tap.Seen(exchange.method, exchange.target, exchange.status, wire.header(exchange.headers, "Content-Type", ""))
        seen.take_body(data)
        self.seen.append(seen)
        return {"kind": "http", "status": exchange.status, "headers": exchange.headers, "body": body}

    # -- verbs on streams ------------------------------------------------------------------------------------------
    def _stream(self, step):
        if step.name not in self.streams:
            raise StepError(f"{step.name} was not started")
        return self.streams[step.name]

    def _do_set(self, step):
        self.variables[step.name] = self.expand(step.argument)
        return {"kind": "set"}

    def _do_send(self, step):
        self._stream(step).send(self.expand(step.argument).encode("latin-1") if step.argument.isascii() else self.expand(step.argument).encode())
        return {"kind": "send"}

    def _do_halfclose(self, step):
        self._stream(step).half_close()
        return {"kind": "halfclose"}

    def _do_resize(self, step):
        self._stream(step).resize(step.columns, step.lines)
        return {"kind": "resize"}

    def _do_interrupt(self, step):
        os.killpg(self._stream(step).process.pid, signal.SIGINT)
        return {"kind": "interrupt"}

    def _do_await(self, step):
        stream, pattern = self._stream(step), self.expand(step.argument).encode()
        within = step.within
        if step.raw:
            if not (isinstance(stream, Terminal) and stream.wait_raw(within)):
                raise StepError(f"no program took the terminal into raw mode within {within:g} s")
            return {"kind": "await"}
        if isinstance(stream, wire.Exchange):
            held = stream.wait_head(within) if not pattern else stream.wait_body(pattern, within)
            so_far = stream.body
        else:
            held = stream.wait_output(pattern, within)
            so_far = stream.output("output") or stream.output("stdout") + stream.output("stderr")
        if not held:
            raise StepError(f"/{step.argument}/ did not appear within {within:g} s; so far: {so_far[-300:]!r}")
        return {"kind": "await"}

    def _do_join(self, step):
        stream = self._stream(step)
        if not isinstance(stream, wire.Exchange):
            return self._ended(stream, step)
        try:
            return self._answer(stream, step)
        finally:
            stream.close()

    def _do_close(self, step):
        """Leaves in the middle: what came until now is the result."""
        stream = self._stream(step)
        if not isinstance(stream, wire.Exchange):
            stream.kill()
            return {"kind": "close"}
        stream.close()
        return self._as_result(stream, step, whole=False)

    def _do_drop(self, step):
        _drop(self._stream(step))
        return {"kind": "drop"}

    # -- normalising -----------------------------------------------------------------------------------------------
    def _text(self, rules, text):
        for value, name in self._places:
            if value:
                text = text.replace(value, name)
        return rules.text(text)

    def _normalised(self, step, raw):
        rules = self.normaliser.with_rules(step.use) if step.use else self.normaliser
        result = {"kind": raw["kind"]}
        for part in ("exit", "status"):
            if part in raw:
                result[part] = raw[part]
        if "error" in raw:
            result["error"] = self._text(rules.with_rules(("bytes",)), raw["error"])
        for part in ("stdout", "stderr", "output"):
            if part in raw:
                result[part] = bodies.shorten(self._text(rules, raw[part]))
        if "headers" in raw:
            result["headers"] = self._headers(rules, raw["headers"])
        if "body" in raw:
            result["body"] = self._body(rules, raw["body"])
        return result

    def _headers(self, rules, headers):
        found, server_rules = {}, rules.with_rules(("engine",))
        for name in COMPARED_HEADERS:
            values = [value for key, value in headers if key.lower() == name.lower()]
            if values:
                value = ", ".join(sorted(values))
                if name == "X-Docker-Container-Path-Stat":
                    value = bodies.path_stat(value)
                found[name] = self._text(server_rules if name == "Server" else rules, value)
        return found

    def _body(self, rules, body):
        kind, value = body["kind"], body["value"]
        if kind in ("json", "ndjson", "tar", "progress", "events"):
            return {"kind": kind, "value": rules.json(self._placed(value))}
        if kind == "frames":
            return {"kind": kind, "value": {name: bodies.shorten(self._text(rules, text)) for name, text in sorted(value.items())}}
        return {"kind": kind, "value": value if value is None else bodies.shorten(self._text(rules, value))}

    def _placed(self, value):
        if isinstance(value, dict):
            return {key: self._placed(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._placed(item) for item in value]
        if isinstance(value, str):
            for place, name in self._places:
                if place:
                    value = value.replace(place, name)
        return value


def _drop(stream):
    try:
        stream.close() if isinstance(stream, wire.Exchange) else stream.kill()
    except (OSError, ProcessError):
        pass

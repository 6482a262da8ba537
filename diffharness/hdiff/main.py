# SPDX-License-Identifier: Apache-2.0
"""The command line of the harness; README.md in the parent folder shows it in use."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from . import golden, known, ops, report, runner, scenario
from .engine import TOP, EngineError, find_clis, find_engines, find_plugin, lab_environment, reference_package
from .normal import Normaliser
from .wire import WireError, fetch

SCENARIOS = os.path.join(TOP, "diffharness", "scenarios")


def parse_arguments(words):
    parser = argparse.ArgumentParser(prog="hatake-diff", description="Runs scenarios on two engines and compares what is seen.")
    parser.add_argument("mode", choices=("live", "golden", "record", "twice", "list", "check"),
                        help="live: both engines; golden: ours against recordings; record: the reference, into golden/; "
                             "twice: the reference against itself; list: the scenarios; check: scenarios and goldens, without an engine")
    parser.add_argument("select", nargs="*", help="sections (container), names (container/exit-codes), parts of names, tags")
    parser.add_argument("--cli", default=None, choices=("26", "new", "all"), help="docker CLI: 26.1.5, the newest, both (default: all, for live 26)")
    parser.add_argument("--api", default=None, metavar="VERSION", help="live: send the requests that name v1.45 with this version of the API instead")
    parser.add_argument("--clean", action="store_true", help="remove left-overs also on the lab with the common name")
    parser.add_argument("--skip", action="append", default=[], metavar="TAG", help="leave out scenarios with this tag (slow)")
    parser.add_argument("--only-reference", action="store_true", help="live: only run the reference, to try a scenario")
    parser.add_argument("--only-ours", action="store_true", help="live: only run our engine")
    parser.add_argument("--output", default=os.path.join(TOP, "build", "diff"), help="folder of report.json and report.html")
    parser.add_argument("--strict-allow", action="store_true", help="an allow that was not needed is a failure")
    parser.add_argument("--responses", action="store_true", help="also write every JSON answer of our engine to responses.json")
    parser.add_argument("-v", "--verbose", action="store_true", help="show every step and its results")
    return parser.parse_intermixed_args(words)


def provide(host, path, tag):
    """Has an engine hold an image as its archive makes it. One that an earlier scenario has pulled knows for good where it came from: that one is made anew."""
    answer = fetch(host, "GET", f"/images/{tag}/json")
    if answer.status == 200:
        if not json.loads(answer.body).get("RepoDigests"):
            return
        fetch(host, "DELETE", f"/images/{tag}?force=1", timeout=120)
    with open(path, "rb") as file:
        fetch(host, "POST", "/images/load?quiet=1", [("Content-Type", "application/x-tar")], file.read(), 300)


class Session:
    """What one invocation needs: engines, CLIs, judge, and the folder of sockets."""

    def __init__(self, options):
        self.options = options
        self.env = lab_environment()
        self.reference, self.ours = find_engines(self.env)
        if options.mode in ("record", "twice") or options.only_reference:
            self.ours = None
        if options.mode == "golden" or options.only_ours:
            self.reference = None
        for engine in (self.reference, self.ours):
            if engine is not None and options.clean:
                engine.private = True
        self._require()
        self.clis = find_clis(self.env, options.cli or ("26" if options.mode in ("live", "twice") else "all"))
        self.judge = runner.Judge(ops.Operations(), ops.load_validator(), ops.known_deviations())
        self.known = known.lab_digests(self.env)
        self.folder = tempfile.mkdtemp(prefix="hatake-diff-taps-")
        self.taps = [runner.TappedEngine(e, self.folder) for e in (self.reference, self.ours) if e is not None]
        self.responses = []
        self._plugins = {}

    def _require(self):
        if self.reference is None and self.ours is None:
            raise EngineError("no engine: ci/lab up, or set REFERENCE_HOST and ENGINE_HOST")
        wanted = {"live": [self.reference, self.ours], "golden": [self.ours], "record": [self.reference], "twice": [self.reference]}
        if self.options.only_reference or self.options.only_ours:
            wanted["live"] = [self.reference or self.ours]
        for engine in wanted[self.options.mode]:
            if engine is None or not runner.answers(engine):
                raise EngineError(f"{'an engine that is needed' if engine is None else engine.role + ' at ' + engine.host} does not answer "
                                  "(ci/lab status)")

    def close(self):
        for tapped in self.taps:
            tapped.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def prepare(self, chosen):
        """Loads the lab's images that a scenario needs and an engine lacks; says what is missing."""
        for engine in (self.reference, self.ours):
            if engine is None:
                continue
            if engine.lacks(chosen):
                return engine.lacks(chosen)
            if chosen.when and subprocess.run(engine.inside(chosen.when), capture_output=True, check=False).returncode != 0:
                return f"not on this machine: {chosen.when}"
            for name in chosen.plugins:
                if name not in self._plugins:
                    self._plugins[name] = find_plugin(name)
                if not self._plugins[name]:
                    return f"no docker {name} is to be had (ci/docker-cli --{name})"
                engine.variables[name] = self._plugins[name]
            for name in ["busybox"] + chosen.needs:
                found = known.archive_of(self.env, name)
                if found is None:
                    return f"the lab has no image {name} (ci/images build)"
                provide(engine.host, *found)
            for name in chosen.without:
                found = known.archive_of(self.env, name)
                if found is not None:
                    fetch(engine.host, "DELETE", f"/images/{found[1]}?force=1", timeout=120)
        return ""

    def cli_versions(self, chosen):
        """The CLI versions to run one scenario with; requests alone need none."""
        if not chosen.uses_cli:
            return ["none"]
        versions = [v for v in self.clis if chosen.cli == "both" or (chosen.cli == "26") == v.startswith("26.")]
        return versions or [""]

    def reference_facts(self):
        version = self.reference.version()
        return {"version": version.get("Version", ""), "api": version.get("ApiVersion", ""), "package": reference_package(self.reference),
                "components": {c["Name"]: c["Version"] for c in version.get("Components", [])}}

    def run_one(self, chosen, cli):
        began = time.monotonic()
        path = self.clis.get(cli, "")
        if cli == "":
            result = runner.ScenarioReport(chosen.full_name, chosen.title, "", skipped="no docker CLI of the wanted version")
            return result
        missing = self.prepare(chosen)
        if missing:
            return runner.ScenarioReport(chosen.full_name, chosen.title, cli, skipped=missing)
        result = getattr(self, f"_{self.options.mode}")(chosen, cli, path)
        result.seconds = time.monotonic() - began
        if self.options.strict_allow and result.warnings:
            result.problems += [("scenario", warning) for warning in result.warnings]
        return result

    def _sides(self, engines, chosen, path):
        sides = runner.run_sides(engines, chosen, path, self.known, "alone" not in chosen.tags)
        for side in sides:
            for tapped in self.taps:
                if tapped.engine is side.engine:
                    tapped.collect_into(side)
            if side.engine.role == "ours":
                self.responses += [{"scenario": chosen.full_name, "method": s.method, "target": s.target, "status": s.status, "body": s.body}
                                   for s in side.seen if s.body is not None]
        return sides

    def _live(self, chosen, cli, path):
        engines = [e for e in (self.reference, self.ours) if e is not None]
        sides = {side.engine.role: side for side in self._sides(engines, chosen, path)}
        result = self.judge.report(chosen, cli, sides.get("reference"), sides.get("ours"))
        if result.passed or len(engines) == 1:
            return result
        # The reference may answer again, and once more from its golden; what ours answered stays as it is.
        others, recorded = [], None if self.options.api else golden.recording(chosen, cli)
        if recorded is not None:
            others.append(self.judge.report(chosen, cli, None, sides["ours"], recorded))
        merged = runner.merge(result, others)
        if not merged.passed:
            others.append(self.judge.report(chosen, cli, self._sides([self.reference], chosen, path)[0], sides["ours"]))
            merged = runner.merge(result, others)
        return merged

    def _twice(self, chosen, cli, path):
        first = self._sides([self.reference], chosen, path)[0]
        second = self._sides([self.reference], chosen, path)[0]
        result = self.judge.report(chosen, cli, first, second)
        result.problems = [(who, text) for who, text in result.problems if not text.startswith("schema:")]
        result.warnings = []
        return result

    def _golden(self, chosen, cli, path):
        recorded = golden.recording(chosen, cli)
        if recorded is None:
            return runner.ScenarioReport(chosen.full_name, chosen.title, cli, skipped="no golden for this docker CLI")
        side = self._sides([self.ours], chosen, path)[0]
        return self.judge.report(chosen, cli, None, side, recorded)

    def _record(self, chosen, cli, path):
        side = self._sides([self.reference], chosen, path)[0]
        result = self.judge.report(chosen, cli, side, None)
        if result.passed:
            golden.store(chosen, cli, side.outcomes, self.reference_facts())
        return result


def context_of(session):
    facts = {"mode": session.options.mode, "time": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
             "docker CLI": ", ".join(session.clis) or "none"}
    for engine in (session.reference, session.ours):
        if engine is not None:
            try:
                facts[engine.role] = engine.version().get("Version", "?")
            except (EngineError, WireError, ValueError) as error:
                facts[engine.role] = str(error)
    if session.reference is not None:
        facts["reference package"] = reference_package(session.reference)
    facts["schemas"] = "checked" if session.judge.validate else "not checked: spec/tools/validate.py is not there"
    return facts


def run_all(session, chosen):
    reports = []
    for item in chosen:
        for cli in session.cli_versions(item):
            reports.append(session.run_one(item, cli))
            print(report.scenario_text(reports[-1], session.options.verbose), flush=True)
    context = context_of(session)
    page = report.write_all(reports, context, session.options.output)
    if session.options.responses:
        with open(os.path.join(session.options.output, "responses.json"), "w", encoding="utf-8") as file:
            json.dump(session.responses, file, indent=1)
    notes = sum(len(r.warnings) for r in reports)
    if notes:
        print(f"{notes} notes: allows that were not needed, answers of the reference that differed from one time to the next")
    print(f"report: {os.path.relpath(page)}")
    for line in report.summary_lines(reports):
        print(line)
    return 0 if not report.totals(reports)["steps_failed"] else 1


def check_files(chosen):
    """What can be wrong without any engine: unlisted deviations, unknown normalisers, goldens that are missing or stale."""
    deviations, bad = ops.known_deviations() or set(), 0
    for item in chosen:
        problems = [f"line {a.line}: {a.deviation} is not in spec/deviations.yaml" for a in
                    {id(a): a for step in item.steps for a in step.allows}.values() if a.deviation not in deviations]
        try:
            Normaliser(item.use + [name for step in item.steps for name in step.use])
        except ValueError as error:
            problems.append(str(error))
        data = golden.load(item)
        if data is None:
            problems.append("no golden: hatake-diff record " + item.full_name)
        else:
            problems += [f"the golden for docker {cli} was recorded for other steps: hatake-diff record {item.full_name}"
                         for cli, steps in data["recordings"].items() if [s["do"] for s in steps] != [s.text for s in item.steps]]
        bad += bool(problems)
        for problem in problems:
            print(f"{item.full_name}: {problem}")
    print(f"{len(chosen) - bad} passed, {bad} failed")
    return 1 if bad else 0


def main(words=None):
    options = parse_arguments(words)
    try:
        chosen = [s for s in scenario.load_all(SCENARIOS, options.select) if not set(s.tags) & set(options.skip)]
        if options.mode == "list":
            for item in chosen:
                print(f"{item.full_name:44} {len(item.steps):3}  {item.title}")
            print(f"{len(chosen)} scenarios, {sum(len(s.steps) for s in chosen)} steps")
            return 0
        if options.mode == "check":
            return check_files(chosen)
        if options.api:
            if options.mode != "live":
                raise scenario.ScenarioError("--api is for live: recordings are of v1.45")
            for item in chosen:
                item.speak(options.api)
        session = Session(options)
        try:
            return run_all(session, chosen)
        finally:
            session.close()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)        # the reader has seen enough
        return 1
    except (scenario.ScenarioError, EngineError, WireError) as error:
        print(f"hatake-diff: {error}", file=sys.stderr)
        return 2

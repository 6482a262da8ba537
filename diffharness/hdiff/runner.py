# SPDX-License-Identifier: Apache-2.0
"""Runs scenarios: live (both engines at once), against a golden, or on the reference twice; and gathers what happened."""

import threading
import time
from dataclasses import dataclass, field, replace

from . import wire
from .compare import Comparer, Difference
from .execute import Execution
from .tap import Tap


LEFT_OVERS_WITHIN = 30.0        # seconds; only what is really left behind takes them


@dataclass
class StepReport:
    text: str
    line: int
    part: str                                               # setup, steps or cleanup
    differences: list = field(default_factory=list)
    failed: list = field(default_factory=list)              # (who, sentence)
    reference: dict = field(default_factory=dict)
    ours: dict = field(default_factory=dict)
    seconds: dict = field(default_factory=dict)

    @property
    def passed(self):
        return not self.differences and not self.failed


@dataclass
class ScenarioReport:
    name: str
    title: str
    cli: str
    rows: list = field(default_factory=list)
    steps: list = field(default_factory=list)
    problems: list = field(default_factory=list)            # (who, sentence): left-overs, schema, stale golden
    warnings: list = field(default_factory=list)            # allows that were not needed
    operations: dict = field(default_factory=dict)          # who -> {operation: count}
    deviations: list = field(default_factory=list)          # ids whose allows were needed: this scenario shows them
    skipped: str = ""
    seconds: float = 0.0

    @property
    def passed(self):
        return not self.skipped and not self.problems and all(step.passed for step in self.steps)


class Side:
    """One engine's part of a scenario, run in a thread of its own: the outcomes of all steps, left-overs, exchanges seen."""

    def __init__(self, engine, scenario, cli_path, known):
        self.engine, self.scenario, self.cli_path, self.known = engine, scenario, cli_path, known
        self.outcomes, self.left, self.seen, self.error = [], [], [], ""

    def run(self):
        try:
            self._run()
        except Exception as error:              # whatever it is, the other side and the report go on
            self.error = f"{type(error).__name__}: {error}"

    def _run(self):
        before = self.engine.census()
        execution = Execution(self.engine, self.scenario, self.cli_path, self.known)
        try:
            for part in ("setup", "steps", "cleanup"):
                for step in getattr(self.scenario, part):
                    self.outcomes.append((part, execution.run(step)))
                    self.error = _setup_error(self.outcomes[-1][1]) if part == "setup" else ""
                    if self.error:
                        break
                if self.error:
                    self._clean_up(execution)
                    break
        finally:
            execution.close()
            self.seen = execution.seen
        self._find_left_overs(before)

    def _clean_up(self, execution):
        for step in self.scenario.cleanup:
            execution.run(step)

    def _find_left_overs(self, before):
        """Everything a scenario made must be gone; what is not is named. On an engine of
        our own it is removed, so that the next scenario is not hurt; on a shared one it may be another's."""
        left, limit = {}, time.monotonic() + LEFT_OVERS_WITHIN
        while time.monotonic() < limit:
            after = self.engine.census()
            left = {kind: sorted(set(after[kind]) - set(before[kind])) for kind in after}
            gone = {kind: sorted(set(before[kind]) - set(after[kind])) for kind in after}
            if not any(left.values()) and not any(gone.values()):
                return
            time.sleep(0.1)
        for kind, names in left.items():
            for name in names:
                self.left.append(f"left behind: {kind[:-1]} {name} {after[kind][name]}".rstrip())
                if self.engine.private:
                    self.engine.remove(kind, name)
        for kind, names in gone.items():
            for name in names:
                self.left.append(f"removed what it did not make: {kind[:-1]} {name}")


def _setup_error(outcome):
    """A setup step has to succeed, unless its checks say what else it may do."""
    wanted, result = {check.subject for check in outcome.step.checks}, outcome.result
    problem = outcome.failed[0] if outcome.failed else ""
    if not problem and "exit" not in wanted and result.get("exit", 0) != 0:
        problem = f"exit {result['exit']}: {result.get('stderr', '')}"
    if not problem and "status" not in wanted and result.get("status", 200) >= 400:
        problem = f"status {result['status']}: {result.get('body')}"
    return f"setup failed: {outcome.step.text}: {problem}" if problem else ""


def run_side(engine, scenario, cli_path, known):
    side = Side(engine, scenario, cli_path, known)
    side.run()
    return side


def run_sides(engines, scenario, cli_path, known, together=True):
    """One Side for each engine, at the same time unless the scenario would disturb itself."""
    sides = [Side(engine, scenario, cli_path, known) for engine in engines]
    if not together:
        for side in sides:
            side.run()
        return sides
    threads = [threading.Thread(target=side.run) for side in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sides


class Judge:
    """Turns sides and goldens into a ScenarioReport."""

    def __init__(self, operations, validate=None, deviations=None):
        self.operations, self.validate, self.deviations = operations, validate, deviations

    def report(self, scenario, cli, reference, ours, recorded=None):
        """reference and ours are Sides or None; recorded stands in for the reference's results in golden mode."""
        report = ScenarioReport(scenario.full_name, scenario.title, cli, scenario.all_rows())
        comparer = Comparer()
        plan = [(part, step) for part in ("setup", "steps", "cleanup") for step in getattr(scenario, part)]
        expected = None
        if recorded is not None:
            expected = recorded
            if [item["do"] for item in recorded] != [step.text for step in scenario.steps]:
                report.problems.append(("golden", "the golden was recorded for other steps: record it again"))
                return report
        for number, (part, step) in enumerate(plan):
            item = StepReport(step.text, step.line, part)
            for who, side in (("reference", reference), ("ours", ours)):
                if side is not None and number < len(side.outcomes):
                    outcome = side.outcomes[number][1]
                    item.failed += [(who, sentence) for sentence in outcome.failed]
                    item.seconds[who] = outcome.seconds
                    setattr(item, who, outcome.result)
            if expected is not None and part == "steps":
                item.reference = expected[number - len(scenario.setup)]["result"]
            if part == "steps" and ours is not None and (reference is not None or expected is not None):
                self._compare(comparer, step, item)
            if part == "steps" or (item.failed and part == "setup"):
                report.steps.append(item)
        self._problems(report, scenario, reference, ours)
        return report

    def _compare(self, comparer, step, item):
        if not item.reference or not item.ours:
            if item.reference != item.ours:
                item.differences.append(Difference("step", "was run" if item.reference else "was not run",
                                                   "was run" if item.ours else "was not run"))
            return
        item.differences += comparer.step(step, item.reference, item.ours)

    def _problems(self, report, scenario, reference, ours):
        for who, side in (("reference", reference), ("ours", ours)):
            if side is None:
                continue
            if side.error:
                report.problems.append((who, side.error))
            report.problems += [(who, sentence) for sentence in side.left]
            report.operations[who] = self._count(side.seen)
        if ours is not None:
            report.problems += [("ours", sentence) for sentence in self.schema_problems(ours.seen)]
        elif reference is not None:
            # The reference is right by definition: then the schema is wrong, which is worth a note, not a failure.
            report.warnings += [f"the reference does not fit spec/: {sentence}" for sentence in self.schema_problems(reference.seen)]
        for allow in {id(a): a for step in scenario.steps for a in step.allows}.values():
            if allow.used and allow.deviation not in report.deviations:
                report.deviations.append(allow.deviation)
            if self.deviations is not None and allow.deviation not in self.deviations:
                report.problems.append(("scenario", f"line {allow.line}: {allow.deviation} is not in spec/deviations.yaml"))
            if ours is not None and not allow.used and (reference is not None or report.steps):
                report.warnings.append(f"line {allow.line}: allow {allow.deviation} {allow.target} {allow.pattern} was not needed")

    def _count(self, seen):
        found = {}
        for item in seen:
            operation, template = self.operations.find(item.method, item.target)
            name = operation or f"{item.method} {template}"
            found[name] = found.get(name, 0) + 1
        return found

    def schema_problems(self, seen):
        if self.validate is None:
            return []
        found = []
        for item in seen:
            operation, _ = self.operations.find(item.method, item.target)
            if not operation or not item.messages:
                continue
            for problem in self.validate(operation, item.status, item.messages):
                sentence = f"schema: {operation} {item.status}: {problem}"
                if sentence not in found:
                    found.append(sentence)
        return found


def merge(first, others):
    """The report of a scenario whose reference answered more than once (again now, or when the golden was recorded).

    The reference loses output and loses races now and then. Ours answered once, and each of its steps must equal one of
    the reference's answers; the step that did not equal the first is named in a warning. What is wrong with ours alone stays.
    """
    passed = {(step.part, step.line): step for other in others for step in other.steps if step.passed}
    steps, notes = [], []
    for step in first.steps:
        better = step if step.passed else passed.get((step.part, step.line))
        if better is None:
            return first
        if better is not step:
            notes.append(f"line {step.line}: {step.text}")
        steps.append(better)
    problems = [item for item in first.problems if item[0] != "reference" or all(item in other.problems for other in others)]
    merged = replace(first, steps=steps, problems=problems)
    if merged.passed and not first.passed:
        merged.warnings = first.warnings + ["the reference answered differently the first time: " + ("; ".join(notes) or str(first.problems))]
        return merged
    return first


class TappedEngine:
    """Puts a tap in front of an engine for as long as the harness runs."""

    def __init__(self, engine, folder):
        self.engine = engine
        self.tap = Tap(f"{folder}/{engine.role}.sock", engine.host)
        engine.tap_host = self.tap.host

    def collect_into(self, side):
        side.seen += self.tap.collect()

    def close(self):
        self.tap.close()


def answers(engine):
    """True when the engine is there."""
    try:
        return wire.fetch(engine.host, "GET", "/_ping", timeout=60).status == 200
    except wire.WireError:
        return False

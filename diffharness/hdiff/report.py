# SPDX-License-Identifier: Apache-2.0
"""The results as text for a terminal, as JSON for tools, and as one self-contained HTML page for people."""

import html
import json
import os
import re

from . import compare

LIMIT = 60          # lines of one difference on the terminal


def totals(reports):
    steps = [step for report in reports for step in report.steps]
    # A scenario that fails outside its steps (left-overs, schema, stale golden) is one more failure.
    extra = sum(1 for report in reports if report.problems and all(step.passed for step in report.steps))
    passed = sum(1 for step in steps if step.passed)
    return {"steps_passed": passed, "steps_failed": len(steps) - passed + extra,
            "scenarios_passed": sum(1 for r in reports if r.passed),
            "scenarios_failed": sum(1 for r in reports if not r.passed and not r.skipped),
            "scenarios_skipped": sum(1 for r in reports if r.skipped)}


def summary_lines(reports):
    count = totals(reports)
    skipped = f", {count['scenarios_skipped']} skipped" if count["scenarios_skipped"] else ""
    return [f"scenarios: {count['scenarios_passed']} passed, {count['scenarios_failed']} failed{skipped}",
            f"{count['steps_passed']} passed, {count['steps_failed']} failed"]


def distinct(reports):
    """[(count, part, reference, ours, [where])]: the same difference seen in many places is one cause; the most frequent first."""
    groups = {}
    for report in reports:
        for step in report.steps:
            for difference in step.differences:
                part = re.sub(r"\[\d+\]", "[]", difference.part)
                key = (part, compare.blank_ids(difference.reference), compare.blank_ids(difference.ours))
                groups.setdefault(key, []).append(f"{report.name}:{step.line}")
    return sorted(((len(where), *key, where) for key, where in groups.items()), key=lambda item: (-item[0], item[4]))


def distinct_text(reports):
    lines = []
    for count, part, reference, ours, where in distinct(reports):
        places = ", ".join(where[:3]) + (f" and {count - 3} more" if count > 3 else "")
        lines.append(f"{count:4} × {difference_text(compare.Difference(part, reference[:2000], ours[:2000]))}\n         at {places}")
    return "\n".join(lines)


def difference_text(difference):
    note = f" ({difference.note})" if difference.note else ""
    reference, ours = difference.reference, difference.ours
    if "\n" in reference or "\n" in ours or len(reference) + len(ours) > 160:
        return f"{difference.part}{note}\n" + _indent(compare.unified(reference, ours), "    ")
    return f"{difference.part}{note}\n    reference  {reference}\n    ours       {ours}"


def _indent(text, prefix):
    lines = text.splitlines()
    if len(lines) > LIMIT:
        lines = lines[:LIMIT] + [f"… {len(lines) - LIMIT} more lines in the report"]
    return "\n".join(prefix + line for line in lines)


def _seconds(step):
    return "  [" + ", ".join(f"{who} {value:.2f} s" for who, value in step.seconds.items()) + "]"


def scenario_text(report, verbose=False):
    head = "skip" if report.skipped else "ok  " if report.passed else "FAIL"
    cli = "" if report.cli == "none" else f" [docker {report.cli}]"
    lines = [f"{head} {report.name}{cli} {len(report.steps)} steps, {report.seconds:.1f} s{': ' + report.skipped if report.skipped else ''}"]
    for step in report.steps:
        if step.passed and not verbose:
            continue
        if verbose or not step.passed:
            lines.append(f"  {'ok  ' if step.passed else 'FAIL'} line {step.line}: {step.text}{_seconds(step) if verbose else ''}")
        for who, sentence in step.failed:
            lines.append(_indent(f"{who}: {sentence}", "    "))
        for difference in step.differences:
            lines.append(_indent(difference_text(difference), "    "))
        if verbose:
            for who in ("reference", "ours"):
                if getattr(step, who):
                    lines.append(_indent(f"{who}: {json.dumps(getattr(step, who), ensure_ascii=False, indent=1)}", "      "))
    lines += [f"  {who}: {sentence}" for who, sentence in report.problems]
    lines += [f"  note: {warning}" for warning in report.warnings]
    return "\n".join(lines)


def as_json(reports, context):
    operations = {}
    for report in reports:
        for who, found in report.operations.items():
            for name, count in found.items():
                operations.setdefault(name, {}).setdefault(who, 0)
                operations[name][who] += count
    rows = {}
    for report in reports:
        for row in report.rows:
            rows.setdefault(str(row), []).append({"scenario": report.name, "passed": report.passed})
    deviations = {}
    for report in reports:
        for name in report.deviations:
            deviations.setdefault(name, set()).add(report.name)
    return {
        "deviations": {name: sorted(where) for name, where in sorted(deviations.items())},
        "context": context, "totals": totals(reports),
        "distinct": [{"count": n, "part": part, "reference": a, "ours": b, "where": where} for n, part, a, b, where in distinct(reports)], "operations": dict(sorted(operations.items())),
        "behaviours": dict(sorted(rows.items(), key=lambda item: int(item[0]))),
        "scenarios": [{
            "name": r.name, "title": r.title, "cli": r.cli, "passed": r.passed, "skipped": r.skipped, "seconds": round(r.seconds, 3),
            "rows": r.rows, "problems": r.problems, "warnings": r.warnings, "operations": r.operations,
            "steps": [{"text": s.text, "line": s.line, "passed": s.passed, "failed": s.failed, "seconds": s.seconds,
                       "differences": [d.as_dict() for d in s.differences], "reference": s.reference, "ours": s.ours} for s in r.steps],
        } for r in reports],
    }


_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.5em;margin-bottom:.2em}h2{font-size:1.15em;margin-top:2em;border-bottom:1px solid #ddd}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25em .6em;border-bottom:1px solid #eee;vertical-align:top}
.ok{color:#11713b}.bad{color:#b3261e;font-weight:600}.skip{color:#666}.note{color:#8a5a00}
details{margin:.2em 0;border:1px solid #e4e4e4;border-radius:6px;padding:.3em .8em}summary{cursor:pointer}
pre{background:#f7f7f5;padding:.6em;overflow-x:auto;font-size:13px;border-radius:4px;white-space:pre-wrap}
code{font-size:13px}.add{background:#e3f5e6}.del{background:#fbe4e2}.big{font-size:1.1em}
"""


def _diff_html(text):
    lines = []
    for line in text.splitlines():
        kind = "add" if line.startswith("+") else "del" if line.startswith("-") else ""
        lines.append(f'<span class="{kind}">{html.escape(line)}</span>' if kind else html.escape(line))
    return "<pre>" + "\n".join(lines) + "</pre>"


def _step_html(step):
    mark = '<span class="ok">ok</span>' if step.passed else '<span class="bad">failed</span>'
    parts = [f"<details{'' if step.passed else ' open'}><summary>{mark} <code>{html.escape(step.text)}</code></summary>"]
    for who, sentence in step.failed:
        parts.append(f"<p class=bad>{html.escape(who)}: {html.escape(sentence)}</p>")
    for difference in step.differences:
        note = f" <span class=note>{html.escape(difference.note)}</span>" if difference.note else ""
        parts.append(f"<p><b>{html.escape(difference.part)}</b>{note}</p>" + _diff_html(compare.unified(difference.reference, difference.ours)))
    shown = step.reference or step.ours
    if shown and step.passed:
        text = json.dumps(shown, ensure_ascii=False, indent=1)
        parts.append(f"<pre>{html.escape(text[:6000])}</pre>")
    return "".join(parts) + "</details>"


def as_html(reports, context):
    count = totals(reports)
    good = not count["steps_failed"]
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><title>Two engines compared</title><style>{_STYLE}</style>",
             "<h1>Two engines, one set of scenarios</h1>",
             f"<p class='big {'ok' if good else 'bad'}'>{'<br>'.join(summary_lines(reports))}</p><table>"]
    parts += [f"<tr><th>{html.escape(k)}<td>{html.escape(str(v))}" for k, v in context.items()]
    parts.append("</table><h2>Scenarios</h2><table><tr><th>result<th>scenario<th>what it shows<th>CLI<th>steps<th>seconds")
    for number, r in enumerate(reports):
        state = "skip" if r.skipped else "ok" if r.passed else "bad"
        word = {"skip": "skipped", "ok": "passed", "bad": "failed"}[state]
        parts.append(f"<tr><td class={state}>{word}<td><a href='#s{number}'>{html.escape(r.name)}</a><td>{html.escape(r.title)}"
                     f"<td>{html.escape(r.cli)}<td>{sum(s.passed for s in r.steps)}/{len(r.steps)}<td>{r.seconds:.1f}")
    parts.append("</table>")
    if not good:
        parts.append("<h2>Distinct differences, the most frequent first</h2>")
    for count_seen, part, reference, ours, where in distinct(reports):
        parts.append(f"<details><summary>{count_seen} × <b>{html.escape(part)}</b> {html.escape(where[0])}</summary>"
                     + _diff_html(compare.unified(reference, ours)) + f"<p>{html.escape(', '.join(where))}</p></details>")
    for number, r in enumerate(reports):
        parts.append(f"<h2 id=s{number}>{html.escape(r.name)} <small>{html.escape(r.cli)}</small></h2><p>{html.escape(r.title)}"
                     + (f" · behaviours {', '.join(map(str, r.rows))}" if r.rows else "") + "</p>")
        parts += [f"<p class=bad>{html.escape(who)}: {html.escape(text)}</p>" for who, text in r.problems]
        parts += [f"<p class=note>{html.escape(text)}</p>" for text in r.warnings]
        parts += [_step_html(step) for step in r.steps]
    whole = as_json(reports, {})
    operations = whole["operations"]
    if whole["deviations"]:
        parts.append("<h2>Deviations shown</h2><table><tr><th>id<th>scenarios")
        parts += [f"<tr><td>{html.escape(name)}<td>{html.escape(', '.join(where))}" for name, where in whole["deviations"].items()]
        parts.append("</table>")
    parts.append("<h2>Operations exercised</h2><table><tr><th>operation<th>reference<th>ours")
    parts += [f"<tr><td>{html.escape(name)}<td>{found.get('reference', 0)}<td>{found.get('ours', 0)}" for name, found in operations.items()]
    return "".join(parts) + "</table></html>\n"


def write_all(reports, context, folder):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "report.json"), "w", encoding="utf-8") as file:
        json.dump(as_json(reports, context), file, indent=1, ensure_ascii=False)
        file.write("\n")
    with open(os.path.join(folder, "report.html"), "w", encoding="utf-8") as file:
        file.write(as_html(reports, context))
    with open(os.path.join(folder, "distinct.txt"), "w", encoding="utf-8") as file:
        file.write(distinct_text(reports) + "\n")
    return os.path.join(folder, "report.html")

# SPDX-License-Identifier: Apache-2.0
"""The results of ci/bench as a table, as Markdown and as a chart.

A result is {"name", "unit", "gate", "aim", "samples": {engine: [numbers]}, "failed": {engine: text}}; smaller numbers are better. gate and aim are
ratios to the reference, or {"at_most": number} in the result's unit. `verdict` says what decides whether a gate is held.
"""
import html
import math
import statistics

OURS, REFERENCE, PODMAN = "engine", "reference", "podman"


def best(result, engine):
    values = result["samples"].get(engine)
    return min(values) if values else None


def median(result, engine):
    values = result["samples"].get(engine)
    return statistics.median(values) if values else None


def ratio(result, pick, other=REFERENCE):
    ours, reference = pick(result, OURS), pick(result, other)
    return ours / reference if ours is not None and reference else None


def number(value):
    if value is None:
        return "-"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f}"


def part(value):
    """A ratio as people compare them: 1/30."""
    if value is None or value <= 0:
        return "-" if value is None else "0"
    return f"1/{1 / value:.0f}" if value <= 0.1 else "1/" + f"{1 / value:.1f}".removesuffix(".0") if value < 0.95 else f"{value:.2f}"


def limit(bound, unit):
    if bound is None:
        return ""
    return f"≤ {float(number(bound['at_most'])):g} {unit}" if isinstance(bound, dict) else part(bound)


def verdict(result):
    """True: the gate is held; False: not; None: there is no gate or no figure. For a ratio to the reference the best samples of both decide: what else runs
    on the machine only adds to them. For a bound on a figure of ours its median does, which is the figure shown: a part of another time looks the better,
    the more that other one was held up."""
    gate = result.get("gate")
    if gate is None:
        return None
    if isinstance(gate, dict):
        ours = median(result, OURS)
        return None if ours is None else ours <= gate["at_most"]
    measured = ratio(result, best)
    return None if measured is None else measured <= gate


def rows(results):
    for r in results:
        ok = verdict(r)
        count = max((len(v) for v in r["samples"].values()), default=0)
        yield [r["name"], r["unit"], number(median(r, OURS)), number(median(r, REFERENCE)), part(ratio(r, median)), part(ratio(r, best)),
               limit(r.get("gate"), r["unit"]), limit(r.get("aim"), r["unit"]), str(count), {True: "ok", False: "missed", None: ""}[ok]]


HEADS = ["operation", "unit", "ours", "reference", "ratio median", "ratio best", "gate", "aim", "n", ""]


def with_podman(lines, results):
    """The lines with what podman took, and the best ratio to it, where it was measured at all."""
    if not any(r["samples"].get(PODMAN) for r in results):
        return lines
    more = [["podman", "best to podman"]] + [[number(median(r, PODMAN)), part(ratio(r, best, PODMAN))] for r in results]
    return [line[:6] + extra + line[6:] for line, extra in zip(lines, more)]


def table(report):
    lines = with_podman([HEADS] + list(rows(report["results"])), report["results"])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = []
    for k, line in enumerate(lines):
        text.append("  ".join(cell.ljust(widths[i]) if i in (0, 1, len(line) - 1) else cell.rjust(widths[i]) for i, cell in enumerate(line)).rstrip())
        if k == 0:
            text.append("-" * (sum(widths) + 2 * (len(widths) - 1)))
    for r in report["results"]:
        for engine, why in r.get("failed", {}).items():
            text.append(f"not measured on {engine}: {r['name']}: {why}")
    text.append(f"{report['when']}, {report['machine']}; load average {report['load']}")
    return "\n".join(text) + "\n"


def markdown(report):
    """For the README: what was measured on ours, in people's words."""
    def figure(r, engine):
        value = median(r, engine)
        return "-" if value is None else f"{number(value)} {r['unit']}"

    lines = ["| operation | HATAKE | Docker " + report["versions"].get(REFERENCE, "").split("+")[0] + " | ratio (median) | ratio (best) | gate |",
             "|---|--:|--:|--:|--:|--:|"]
    for r in report["results"]:
        if median(r, OURS) is None:
            continue
        lines.append(f"| {r['name']} | {figure(r, OURS)} | {figure(r, REFERENCE)} | {part(ratio(r, median))} | "
                     f"{part(ratio(r, best))} | {limit(r.get('gate'), r['unit'])}{', missed' if verdict(r) is False else ''} |")
    judged = [verdict(r) for r in report["results"] if verdict(r) is not None]
    lines.append("")
    lines.append(f"{judged.count(False)} of {len(judged)} gates are missed. Both engines in turn in one run on {report['machine']}, {report['when'][:10]}; figures are medians; a ratio of 1/20 means twenty times cheaper; "
                 "-: not measured there. A gate that is a ratio is judged by the best samples of both, one that begins with ≤ by our median.")
    return "\n".join(lines) + "\n"


# ---- chart ----

WIDTH, LEFT, RIGHT, ROW, TOP = 960, 300, 150, 24, 70


def chart(report):
    """One bar an operation: how many times cheaper than the reference, on a logarithmic scale; the gate as a tick."""
    shown = [r for r in report["results"] if ratio(r, best)]
    high = max([200.0] + [1 / ratio(r, best) for r in shown] + [1 / r["gate"] for r in shown if isinstance(r.get("gate"), float)])
    span = WIDTH - LEFT - RIGHT

    def x(times):
        return LEFT + span * max(0.0, math.log(times) / math.log(high))

    height = TOP + ROW * len(shown) + 40
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="13">',
           f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
           f'<text x="20" y="28" font-size="17" fill="#222">How many times cheaper than Docker {html.escape(report["versions"].get(REFERENCE, "").split("+")[0])}</text>',
           '<text x="20" y="48" fill="#777">best samples of one run, both engines in turn; logarithmic; the tick is the gate</text>']
    for times in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000):
        if times <= high:
            out.append(f'<line x1="{x(times):.1f}" y1="{TOP - 6}" x2="{x(times):.1f}" y2="{height - 34}" stroke="#e6e6e6"/>'
                       f'<text x="{x(times):.1f}" y="{height - 18}" fill="#777" text-anchor="middle">{times}×</text>')
    for i, r in enumerate(shown):
        y, times = TOP + ROW * i, 1 / ratio(r, best)
        colour = {True: "#4c9a6a", False: "#c9803c", None: "#6b8fb5"}[verdict(r)]
        out.append(f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end" fill="#222">{html.escape(r["name"])}</text>')
        out.append(f'<rect x="{LEFT}" y="{y + 3}" width="{max(1.0, x(max(times, 1)) - LEFT):.1f}" height="{ROW - 8}" rx="2" fill="{colour}"/>')
        if isinstance(r.get("gate"), float):
            out.append(f'<line x1="{x(1 / r["gate"]):.1f}" y1="{y + 1}" x2="{x(1 / r["gate"]):.1f}" y2="{y + ROW - 3}" stroke="#222" stroke-width="2"/>')
        out.append(f'<text x="{x(max(times, 1)) + 6:.1f}" y="{y + 15}" fill="#444" stroke="#fff" stroke-width="3" paint-order="stroke">{number(times)}× ({number(best(r, OURS))} {html.escape(r["unit"])})</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"

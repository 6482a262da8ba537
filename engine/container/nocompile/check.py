#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Illegal transitions must not compile: one snippet per (verb, state), made from the table in state.h.

Legal pairs must compile; every other pair must be refused with the compiler's message about the selector. Each snippet is compiled as a
control without the call first (it must pass, or the refusal would prove nothing). Two more snippets per compiler: a wrong result slot, a dropped result.
Prints TAP. Usage: check.py GEN_FOLDER [compiler...]
"""
import os
import re
import subprocess
import sys
import tempfile

ENGINE = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-Werror=incompatible-pointer-types", "-Werror=unused-result", "-Wno-unused-parameter", "-O1", "-c"]
REFUSAL = re.compile(r"selector of type .* not compatible|not compatible with any (generic )?association")


def table():
    text = open(os.path.join(ENGINE, "container", "state.h")).read()
    states = re.findall(r"S\((\w+)\)", re.search(r"#define CTR_STATES\(S\)(.*)", text).group(1))
    rows = re.findall(r"R\((\w+), (\w+), (\w+)\)", text)
    verbs = {}
    for verb, start, end in rows:
        if verb == "verb":
            continue
        verbs.setdefault(verb, {})[start] = end
    return states, verbs


def snippet(verb, state, result):
    return f"""#include "container/state.h"
int probe(struct is_{state} **c, struct is_{result} **n, const struct ctr_facts *f, struct err *e);
int probe(struct is_{state} **c, struct is_{result} **n, const struct ctr_facts *f, struct err *e) {{
#ifdef CALL
    return ctr_{verb}(c, n, f, e);
#else
    return 0;
#endif
}}
"""


def compile_text(cc, text, gen, call):
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "probe.c")
        open(path, "w").write(text)
        cmd = [cc, *FLAGS, "-I" + ENGINE, "-I" + gen, *(["-DCALL"] if call else []), "-o", os.path.join(d, "probe.o"), path]
        p = subprocess.run(cmd, capture_output=True, text=True, env=dict(os.environ, LC_ALL="C"))
        return p.returncode == 0, p.stderr


def main():
    gen = sys.argv[1]
    compilers = sys.argv[2:] or ["gcc", "clang"]
    states, verbs = table()
    n = bad = 0

    def report(ok, name, detail=""):
        nonlocal n, bad
        n += 1
        bad += not ok
        print(f"{'ok' if ok else 'not ok'} {n} - {name}")
        if not ok and detail:
            print("\n".join("# " + line for line in detail.splitlines()[:6]))

    for cc in compilers:
        for verb, legal in verbs.items():
            some_result = next(iter(legal.values()))
            for state in states:
                text = snippet(verb, state, legal.get(state, some_result))
                control, why = compile_text(cc, text, gen, False)
                if not control:
                    report(False, f"{cc}: control of {verb} from {state}", why)
                    continue
                fine, why = compile_text(cc, text, gen, True)
                if state in legal:
                    report(fine, f"{cc}: {verb} from {state} compiles", why)
                else:
                    report(not fine and bool(REFUSAL.search(why)), f"{cc}: {verb} from {state} is refused", why or "it compiled")
        wrong, why = compile_text(cc, snippet("pause", "running", "exited"), gen, True)
        report(not wrong and "incompatible" in why, f"{cc}: a wrong result slot is refused", why)
        dropped = snippet("pause", "running", "paused").replace("return ctr_pause", "ctr_pause").replace("e);\n#else", "e); return 0;\n#else")
        fine, why = compile_text(cc, dropped, gen, True)
        report(not fine and "unused" in why, f"{cc}: a dropped result is refused", why)
    print(f"1..{n}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

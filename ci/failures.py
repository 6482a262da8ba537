#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What failed in the log of a suite: each failed test with what was said about it, in at most so many lines.

    ci/failures.py LOG                      for people: a block for each failed test
    ci/failures.py --names SUITE LOG        a line for each: suite, test, the first thing said about it

It knows TAP (diagnostics before or after the line), programs that end before their plan, blocks of hatake-diff, unittest, errors of compilers and
make, reports of sanitizers. Where it finds none of them it shows the end of the log. The tests are in ci/test_failures.py.
"""
import re
import sys

BLOCK, TOTAL, WIDTH = 60, 400, 400          # lines of one block, lines of all, characters of a line
TAP = re.compile(r'(not )?ok \d+ ?-? ?(.*)')
PROGRAM = re.compile(r'# (\S*build/\S*test/\S+)$')
SCENARIO = re.compile(r'(ok  |FAIL|skip) (\S+/\S+)')
TROUBLE = re.compile(r'(error|Error|undefined reference|fatal|Killed|Segmentation|Aborted|No space|cannot |not found|timed out)')


def tap_blocks(lines):
    """Failed tests, and programs that print a plan at their end but did not get there."""
    blocks, program, start, plan, last = [], '', 0, True, ''

    def end_program(stop):
        if program and not plan:
            blocks.append((f"{program}: ended early, after {last or 'no test'}", lines[max(start + 1, stop - BLOCK):stop]))

    taken = 0
    for number, line in enumerate(lines):
        begin = PROGRAM.match(line)
        if begin:
            end_program(number)
            program, start, plan, last, taken = begin.group(1), number, False, '', number + 1
            continue
        if re.match(r'1\.\.\d+', line):
            plan = True
        found = TAP.match(line)
        if not found:
            continue
        last = found.group(2)
        if found.group(1) and '# TODO' not in line:
            before = number
            while before > taken and not TAP.match(lines[before - 1]) and not re.match(r'1\.\.\d+', lines[before - 1]):
                before -= 1
            after = number + 1
            while after < len(lines) and re.match(r'\s*#', lines[after]) and not PROGRAM.match(lines[after]):
                after += 1
            # Where the diagnostics follow (bats), what stands before belongs to nobody; else it is this test's.
            said = [line] + lines[number + 1:after] if after > number + 1 and _follows(lines) else lines[before:number] + [line]
            name = f'{program.rsplit("/", 1)[-1]}: {last}' if program else last
            blocks.append((name, said))
            taken = after if _follows(lines) else number + 1
        else:
            taken = number + 1
    end_program(len(lines))
    return blocks


def _follows(lines):
    """True when a log's diagnostics stand below their test: its plan comes first, as bats prints it."""
    for line in lines:
        if re.match(r'1\.\.\d+', line):
            return True
        if TAP.match(line):
            return False
    return False


def scenario_blocks(lines):
    blocks, number = [], 0
    while number < len(lines):
        found = SCENARIO.match(lines[number])
        number += 1
        if not found or found.group(1) != 'FAIL':
            continue
        start = number - 1
        while number < len(lines) and not SCENARIO.match(lines[number]) and not re.match(r'scenarios: \d', lines[number]):
            number += 1
        blocks.append((found.group(2), [line for line in lines[start:number] if line.strip()]))
    return blocks


def unittest_blocks(lines):
    blocks = []
    for number, line in enumerate(lines):
        found = re.match(r'(FAIL|ERROR): (\S+.*)', line)
        if found and number and lines[number - 1].startswith('====='):
            stop = number + 2
            while stop < len(lines) and not lines[stop].startswith(('=====', '-----')):
                stop += 1
            blocks.append((found.group(2), lines[number:stop]))
    return blocks


def error_blocks(lines):
    """Reports of sanitizers, and what compilers, linkers and make say."""
    blocks, number = [], 0
    while number < len(lines):
        line = lines[number]
        if re.search(r'==\d+==ERROR: |runtime error: |WARNING: ThreadSanitizer', line):
            stop = number + 1
            while stop < min(len(lines), number + BLOCK) and not PROGRAM.match(lines[stop]) and not TAP.match(lines[stop]):
                stop += 1
            blocks.append((re.sub(r'^.*?(==\d+==ERROR: |runtime error: )', '', line)[:120], lines[number:stop]))
            number = stop
        elif re.search(r': (fatal )?error: |undefined reference|^make.*\*\*\*', line):
            blocks.append((line[:160], lines[number:number + 6]))
            number += 6
        else:
            number += 1
    return blocks[:20]


def failures(text):
    """[(name, lines)], never empty: whoever asks knows that something failed."""
    lines = [line[:WIDTH] + (' …' if len(line) > WIDTH else '') for line in re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', text.replace('\r', '\n')).split('\n')]
    while lines and not lines[-1].strip():
        lines.pop()
    tests = tap_blocks(lines) + scenario_blocks(lines) + unittest_blocks(lines)
    errors = error_blocks(lines)
    if tests:
        said = {line for _, lines in tests for line in lines}
        return tests + [block for block in errors if 'Sanitizer' in block[0] or block[1][0] not in said and not block[0].startswith('make')]
    if errors:
        return errors
    said = [line for line in lines if TROUBLE.search(line)]
    return [((said or lines or ['nothing was printed'])[-1], lines[-BLOCK:])]


def show(blocks):
    left = TOTAL
    for name, lines in blocks:
        if left <= 0:
            print(f'{name} (not shown)')
            continue
        rest = len(lines) - BLOCK
        for line in lines[:BLOCK]:
            print(line)
        if rest > 0:
            print(f'… {rest} more lines')
        left -= min(len(lines), BLOCK)


def names(suite, blocks):
    for name, lines in blocks[:60]:
        said = [line for line in lines if line.strip(' #=-') and not TAP.match(line) and not SCENARIO.match(line) and name not in line]
        if said and said[0].startswith('  FAIL line'):
            said = ' | '.join(line.strip() for line in said[:4])
        else:
            said = next((line for line in said if line.lstrip().startswith('#')), said[0] if said else '').strip(' #')
        print(f'{suite}: {name}' + (f'  [{said[:240]}]' if said else ''))
    if len(blocks) > 60:
        print(f'{suite}: and {len(blocks) - 60} more')


def main(words):
    if len(words) == 3 and words[0] == '--names':
        suite, log = words[1], words[2]
    elif len(words) == 1:
        suite, log = '', words[0]
    else:
        sys.exit(__doc__)
    with open(log, encoding='utf-8', errors='replace') as file:
        blocks = failures(file.read())
    if suite:
        names(suite, blocks)
    else:
        show(blocks)


if __name__ == '__main__':
    main(sys.argv[1:])

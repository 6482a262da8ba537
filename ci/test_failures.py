# SPDX-License-Identifier: Apache-2.0
"""Tests of failures.py: each kind of log that the suites write."""
import unittest

import failures


def blocks(text):
    return failures.failures(text)


class Failures(unittest.TestCase):
    def test_diagnostics_before(self):
        found = blocks('# build/test/kern\n# kern.c:1: old\nok 1 - a\nstray\n# kern.c:7: x is 1, expected 2\nnot ok 2 - b\n# other\nok 3 - c\n1..3\n')
        self.assertEqual(found, [('kern: b', ['stray', '# kern.c:7: x is 1, expected 2', 'not ok 2 - b'])])

    def test_diagnostics_after(self):
        found = blocks('1..3\nnot ok 1 first\n# (in file x, line 3)\n#   `false` failed\nnot ok 2 - second\n  # want 3\nok 3 third\n')
        self.assertEqual(found, [('first', ['not ok 1 first', '# (in file x, line 3)', '#   `false` failed']), ('second', ['not ok 2 - second', '  # want 3'])])

    def test_a_program_that_crashes(self):
        found = blocks('# build/san/test/wire\nok 1 - a\n==7==ERROR: AddressSanitizer: heap-use-after-free\n#0 f x.c:3\n# build/san/test/db\nok 1 - d\n1..1\n')
        self.assertEqual(found[0], ('build/san/test/wire: ended early, after a', ['ok 1 - a', '==7==ERROR: AddressSanitizer: heap-use-after-free', '#0 f x.c:3']))
        self.assertEqual(found[1][0], 'AddressSanitizer: heap-use-after-free')

    def test_the_last_program_crashes(self):
        self.assertEqual(blocks('# build/test/wire\nok 1 - a\n')[0][0], 'build/test/wire: ended early, after a')

    def test_a_leak_after_the_plan(self):
        found = blocks('# build/san/test/wire\nok 1 - a\n1..1\n\n==9==ERROR: LeakSanitizer: detected memory leaks\n#0 f\n')
        self.assertEqual(found, [('LeakSanitizer: detected memory leaks', ['==9==ERROR: LeakSanitizer: detected memory leaks', '#0 f'])])

    def test_scenarios(self):
        found = blocks('ok   a/b 3 steps, 0.1 s\nFAIL exec/api [docker 26] 54 steps, 2 s\n  FAIL line 46: > GET /x\n    status\n'
                       'ok   c/d 1 steps, 0 s\nscenarios: 1 passed, 1 failed\n9 passed, 1 failed\n')
        self.assertEqual(found, [('exec/api', ['FAIL exec/api [docker 26] 54 steps, 2 s', '  FAIL line 46: > GET /x', '    status'])])

    def test_unittest(self):
        found = blocks('test_a ... FAIL\n======\nFAIL: test_a (x.Y)\n------\nTraceback\nAssertionError: 1\n\n------\nRan 1 test in 0s\n')
        self.assertEqual(found, [('test_a (x.Y)', ['FAIL: test_a (x.Y)', '------', 'Traceback', 'AssertionError: 1', ''])])

    def test_compiler(self):
        found = blocks('  CC x.c\nx.c:3:4: error: no\n   3 | f\nmake: *** [Makefile:3: x.o] Error 1\n')
        self.assertEqual(found[0][0], 'x.c:3:4: error: no')

    def test_anything_else_shows_the_end(self):
        self.assertEqual(blocks('one\ntwo\nthing left behind\n'), [('thing left behind', ['one', 'two', 'thing left behind'])])
        self.assertEqual(blocks('')[0][0], 'nothing was printed')

    def test_a_todo_is_no_failure(self):
        self.assertEqual(blocks('not ok 1 - x # TODO y\n1..1\nend\n')[0][0], 'end')


if __name__ == '__main__':
    unittest.main()

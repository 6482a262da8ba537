// SPDX-License-Identifier: Apache-2.0
/*
 * glob.h - the patterns of the filter "reference": those of Go's path.Match, which are not the shell's. Asterisk and question mark stop at slashes; a class is negated
 * by ^ alone; a range lacks neither end; a backslash takes the meaning of what follows. Characters are those of UTF-8. Pure functions, any thread.
 */
#ifndef HATAKE_IMAGE_GLOB_H
#define HATAKE_IMAGE_GLOB_H

#include <stdbool.h>

/* Is it a pattern at all? */
bool glob_is_valid(const char *pattern);
/* Does it fit the whole name? pattern is a valid one. */
bool glob_match(const char *pattern, const char *name);

#endif

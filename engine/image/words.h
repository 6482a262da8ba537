// SPDX-License-Identifier: Apache-2.0
/*
 * words.h - the words of a Dockerfile instruction: where one ends, and what stands in it once quotes are gone and variables have their values.
 * Source: the Dockerfile reference, "Environment replacement" and "Escape". Pure functions.
 */
#ifndef HATAKE_IMAGE_WORDS_H
#define HATAKE_IMAGE_WORDS_H

#include <stddef.h>

#include "base/err.h"

/* `escape` is the character that takes the meaning of the next one: a backslash, unless the text chose a backtick. */

/* The next word as it is written, quotes and all; *at moves behind it. NULL at the end, or when memory ran out. The caller frees it. */
char *words_next(const char **at, char escape);

/*
 * The word without its quotes, with $NAME, ${NAME} and ${NAME:-text} (also - :+ + :? ?) replaced from `env`, n entries "NAME=value" of which the first counts. A name
 * that is not there is empty; nothing is replaced between single quotes or after the escape character.
 * *ret is the caller's to free. ERR_INVALID: a brace or a quote is not closed, or the substitution is none of these.
 */
int words_expand(const char *word, char escape, char *const *env, size_t n, char **ret, struct err *e);

#endif

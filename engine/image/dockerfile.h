// SPDX-License-Identifier: Apache-2.0
/*
 * dockerfile.h - a text of Dockerfile instructions cut into them: comments and blank lines are gone, continued lines joined.
 * Source: the Dockerfile reference, "Format", "Parser directives", "Here-documents". Pure functions.
 */
#ifndef HATAKE_IMAGE_DOCKERFILE_H
#define HATAKE_IMAGE_DOCKERFILE_H

#include "base/err.h"
#include "base/strv.h"

/*
 * The instructions of a text, each without blanks around it; a here-document of ADD, COPY and RUN, also behind ONBUILD, follows its instruction with its lines. *ret_escape is
 * the character that continues a line and takes the meaning of the next one: a backslash, or a backtick where a directive on top says so. ERR_INVALID with the reference's text: no instruction,
 * a directive twice or with another character, a here-document that does not end.
 */
int dockerfile_split(const char *text, struct strv *ret, char *ret_escape, struct err *e);

#endif

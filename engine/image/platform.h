// SPDX-License-Identifier: Apache-2.0
/*
 * platform.h - operating system, architecture and variant: what a request asks for, and which entry of an index suits it. Source: OCI image-spec, image-index.md
 * ("platform"); the order of variants is the reference's.
 */
#ifndef HATAKE_IMAGE_PLATFORM_H
#define HATAKE_IMAGE_PLATFORM_H

#include <stdbool.h>

#include "base/err.h"

/* Room for os/arch/variant of this machine. */
#define TEXT_PLATFORM 100
/* Room for one of them in a request: none that exists is nearly as long, but errors repeat what was asked for. */
#define PLATFORM_WORD 512

/* os[/arch[/variant]], arch alone too, normalised; what is not said is linux and this machine's. */
struct platform {
    char os[PLATFORM_WORD], arch[PLATFORM_WORD], variant[PLATFORM_WORD];
    char told[PLATFORM_WORD]; /* the variant as it is shown: not where it goes without saying */
    bool given;
    int level; /* of an amd64 machine that nobody spoke of: 1 to 4 */
};
/* NULL and "": not given. ERR_INVALID with the reference's words. */
int platform_parse(const char *text, struct platform *ret, struct err *e);
/* The host platform as the reference names it to people: with the level of an amd64 machine. */
void platform_print_host(char ret[TEXT_PLATFORM]);
/* How well an entry of an index suits: 0 best, higher worse, negative: not at all. */
int platform_rank(const struct platform *want, const char *os, const char *arch, const char *variant);

#endif

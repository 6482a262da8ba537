// SPDX-License-Identifier: Apache-2.0
/*
 * strv.h - a list of owned strings. `v` is NULL-terminated once anything was added, so it can be passed to execve(2).
 * Functions that allocate return 0 or -ENOMEM. Threads: one at a time.
 */
#ifndef HATAKE_BASE_STRV_H
#define HATAKE_BASE_STRV_H

#include <stdbool.h>
#include <stddef.h>

struct strv {
    char **v;
    size_t n;
};

#define STRV_INIT ((struct strv){NULL, 0})
#define _cleanup_strv_ __attribute__((cleanup(strv_done)))

void strv_done(struct strv *l);
/* Append a copy. */
int strv_add(struct strv *l, const char *s);
int strv_addn(struct strv *l, const char *s, size_t n);
int strv_addf(struct strv *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Append s itself; on failure s is freed. NULL is -ENOMEM, so results of allocations can be passed unchecked. */
int strv_consume(struct strv *l, char *s);
int strv_copy(struct strv *to, const struct strv *from);
bool strv_has(const struct strv *l, const char *s);
void strv_remove_at(struct strv *l, size_t i);
/* Split at every occurrence of the character sep; empty pieces are kept ("a,,b" has three). "" gives one empty piece. */
int strv_split(struct strv *ret, const char *s, char sep);
/* Pieces joined by sep in fresh memory; NULL when memory ran out. */
char *strv_join(const struct strv *l, const char *sep);
/* Byte order. */
void strv_sort(struct strv *l);
/* For lists of KEY=VALUE: value of key, or NULL. The last one wins. */
const char *strv_env_get(const struct strv *l, const char *key);
/* Set KEY=VALUE, replacing an earlier one in place. */
int strv_env_set(struct strv *l, const char *key, const char *value);

#endif

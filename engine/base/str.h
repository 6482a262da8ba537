// SPDX-License-Identifier: Apache-2.0
/*
 * str.h - strings: comparing, testing, numbers from text. Pure functions, no state, any thread.
 */
#ifndef HATAKE_BASE_STR_H
#define HATAKE_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline bool streq(const char *a, const char *b) {
    return strcmp(a, b) == 0;
}
/* Equal, where NULL equals only NULL. */
static inline bool streq_ptr(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}
static inline bool str_empty(const char *s) {
    return !s || !*s;
}
/* Text after the prefix, or NULL. */
static inline const char *str_after(const char *s, const char *prefix) {
    size_t n = strlen(prefix);

    return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}
static inline bool str_has_prefix(const char *s, const char *prefix) {
    return str_after(s, prefix) != NULL;
}
static inline bool str_has_suffix(const char *s, const char *suffix) {
    size_t a = strlen(s), b = strlen(suffix);

    return a >= b && memcmp(s + a - b, suffix, b) == 0;
}

/* Is the absolute path the folder `dir` or below it? By the text alone: both without "..", double slashes or a slash at the end ("/" is fine). */
static inline bool path_is_below(const char *path, const char *dir) {
    const char *rest = str_after(path, dir);

    return streq(dir, "/") || (rest && (!*rest || *rest == '/'));
}

/* printf into fresh memory; NULL when memory ran out. */
char *str_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Duplicate; NULL gives NULL (so check `s && !copy` for memory). */
char *str_dup(const char *s);
/* Replace *slot by a copy of s (NULL empties it). Returns 0, or -ENOMEM with *slot unchanged. */
int str_set(char **slot, const char *s);

/*
 * Whole-string numbers in base 10 (parse_u64_base: 0, 8, 10, 16). No surrounding blanks, no '+'. Return 0, -EINVAL, or -ERANGE.
 */
int parse_i64(const char *s, int64_t *ret);
int parse_u64(const char *s, uint64_t *ret);
int parse_u64_base(const char *s, int base, uint64_t *ret);
/* As parse_i64 with bounds, -ERANGE outside of them. */
int parse_int_range(const char *s, int64_t lo, int64_t hi, int64_t *ret);
/* Exactly the spellings Go's strconv.ParseBool takes: 1 t T TRUE true True, 0 f F FALSE false False. 0 or -EINVAL. */
int parse_bool(const char *s, bool *ret);

#endif

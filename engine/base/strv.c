// SPDX-License-Identifier: Apache-2.0
#include "base/strv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void strv_done(struct strv *l) {
    for (size_t i = 0; i < l->n; i++)
        free(l->v[i]);
    free(l->v);
    *l = STRV_INIT;
}

int strv_consume(struct strv *l, char *s) {
    if (!s)
        return -ENOMEM;
    /* Capacity is the next power of two above n + 1; growth happens only when n + 1 is one. */
    if (l->n == 0 || ((l->n + 1) & l->n) == 0) {
        char **v = reallocarray(l->v, (l->n + 1) * 2, sizeof(char *));

        if (!v) {
            free(s);
            return -ENOMEM;
        }
        l->v = v;
    }
    l->v[l->n++] = s;
    l->v[l->n] = NULL;
    return 0;
}

int strv_add(struct strv *l, const char *s) {
    return strv_consume(l, strdup(s));
}

int strv_addn(struct strv *l, const char *s, size_t n) {
    return strv_consume(l, strndup(s, n));
}

int strv_addf(struct strv *l, const char *fmt, ...) {
    char *s = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&s, fmt, ap);
    va_end(ap);
    return strv_consume(l, n < 0 ? NULL : s);
}

int strv_copy(struct strv *to, const struct strv *from) {
    for (size_t i = 0; i < from->n; i++)
        if (strv_add(to, from->v[i]) < 0)
            return -ENOMEM;
    return 0;
}

bool strv_has(const struct strv *l, const char *s) {
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->v[i], s) == 0)
            return true;
    return false;
}

void strv_remove_at(struct strv *l, size_t i) {
    free(l->v[i]);
    memmove(l->v + i, l->v + i + 1, (l->n - i) * sizeof(char *));
    l->n--;
}

int strv_split(struct strv *ret, const char *s, char sep) {
    for (;;) {
        const char *end = strchrnul(s, sep);

        if (strv_addn(ret, s, (size_t)(end - s)) < 0)
            return -ENOMEM;
        if (!*end)
            return 0;
        s = end + 1;
    }
}

char *strv_join(const struct strv *l, const char *sep) {
    size_t len = 1, step = strlen(sep);
    char *out, *p;

    for (size_t i = 0; i < l->n; i++)
        len += strlen(l->v[i]) + (i ? step : 0);
    out = p = malloc(len);
    if (!out)
        return NULL;
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            p = mempcpy(p, sep, step);
        p = mempcpy(p, l->v[i], strlen(l->v[i]));
    }
    *p = 0;
    return out;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void strv_sort(struct strv *l) {
    if (l->n > 1)
        qsort(l->v, l->n, sizeof(char *), by_bytes);
}

static ssize_t env_find(const struct strv *l, const char *key) {
    size_t k = strlen(key);

    for (size_t i = l->n; i-- > 0;)
        if (strncmp(l->v[i], key, k) == 0 && l->v[i][k] == '=')
            return (ssize_t)i;
    return -1;
}

const char *strv_env_get(const struct strv *l, const char *key) {
    ssize_t i = env_find(l, key);

    return i < 0 ? NULL : l->v[i] + strlen(key) + 1;
}

int strv_env_set(struct strv *l, const char *key, const char *value) {
    ssize_t i = env_find(l, key);
    char *s = NULL;

    if (asprintf(&s, "%s=%s", key, value) < 0)
        return -ENOMEM;
    if (i < 0)
        return strv_consume(l, s);
    free(l->v[i]);
    l->v[i] = s;
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "container/departed.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"

#define SHORT_ID 12

struct end {
    char id[65];
    char *name;
    int exit_code;
    int64_t at;
};

/* A ring: `next` is where the next one goes, over the oldest. */
struct departed {
    pthread_mutex_t lock;
    struct end *ends; /* made with the first */
    size_t next;
};

int departed_new(struct departed **ret, struct err *e) {
    struct departed *d = calloc(1, sizeof(*d));

    if (!d)
        return err_oom(e);
    pthread_mutex_init(&d->lock, NULL);
    *ret = d;
    return 0;
}

struct departed *departed_free(struct departed *d) {
    if (!d)
        return NULL;
    for (size_t i = 0; d->ends && i < LIMIT_DEPARTED; i++)
        free(d->ends[i].name);
    free(d->ends);
    pthread_mutex_destroy(&d->lock);
    free(d);
    return NULL;
}

void departed_add(struct departed *d, const char *id, const char *name, int exit_code, int64_t now) {
    char *copy = d ? strdup(name) : NULL;

    if (!copy)
        return;
    pthread_mutex_lock(&d->lock);
    if (!d->ends)
        d->ends = calloc(LIMIT_DEPARTED, sizeof(*d->ends));
    if (d->ends) {
        struct end *x = &d->ends[d->next];

        free(x->name);
        *x = (struct end){.name = copy, .exit_code = exit_code, .at = now};
        snprintf(x->id, sizeof(x->id), "%s", id);
        d->next = (d->next + 1) % LIMIT_DEPARTED;
        copy = NULL;
    }
    pthread_mutex_unlock(&d->lock);
    free(copy);
}

static bool fits(const struct end *x, const char *ref) {
    const char *name = ref[0] == '/' ? ref + 1 : ref;

    return streq(x->name, name) || (strlen(ref) >= SHORT_ID && str_has_prefix(x->id, ref));
}

bool departed_find(struct departed *d, const char *ref, int64_t now, int *ret_exit_code) {
    bool found = false;

    if (!d)
        return false;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 1; d->ends && !found && i <= LIMIT_DEPARTED; i++) {
        const struct end *x = &d->ends[(d->next + LIMIT_DEPARTED - i) % LIMIT_DEPARTED];

        if (!x->name || now - x->at > DEPARTED_SECONDS * NSEC_PER_SEC)
            break; /* those before it are older */
        found = fits(x, ref);
        if (found)
            *ret_exit_code = x->exit_code;
    }
    pthread_mutex_unlock(&d->lock);
    return found;
}

// SPDX-License-Identifier: Apache-2.0
#include "container/visit.h"

#include <stdlib.h>

#include "base/engine.h"
#include "base/id.h"
#include "container/container-internal.h"
#include "volume/volume.h"

struct ctr_visited {
    size_t mount; /* index of the mount */
    struct volume *volume;
    char id[ID_LEN + 1];
    char *source;
};

/* The container's own references go away with it, and nobody keeps it from being removed meanwhile. */
static int visit_one(struct ctr_visit *visit, const struct ctr_mount *m, size_t index, struct err *e) {
    struct volumes *volumes = visit->c->cs->engine->volumes;
    struct ctr_visited *one = &visit->v[visit->n];
    int r = volumes_find(volumes, m->volume, &one->volume, e);

    if (r >= 0)
        r = volumes_visit(volumes, one->volume, visit->c->id, m->destination, m->rw, m->propagation, one->id, &one->source, e);
    if (r < 0) {
        one->volume = volume_unref(one->volume);
        return r;
    }
    one->mount = index;
    visit->n++;
    return 0;
}

int ctr_visit_begin(struct ctr_visit *visit, struct container *c, const struct ctr_fixed *f, struct err *e) {
    *visit = (struct ctr_visit){.c = c, .v = calloc(f->mounts.n + 1, sizeof(*visit->v))};
    if (!visit->v)
        return err_oom(e);
    for (size_t i = 0; i < f->mounts.n; i++) {
        int r = f->mounts.v[i].kind == CTR_MOUNT_VOLUME ? visit_one(visit, &f->mounts.v[i], i, e) : 0;

        if (r < 0) {
            ctr_visit_end(visit);
            return r;
        }
    }
    return 0;
}

const char *ctr_visit_source(const struct ctr_visit *visit, size_t mount) {
    for (size_t i = 0; i < visit->n; i++)
        if (visit->v[i].mount == mount)
            return visit->v[i].source;
    return NULL;
}

void ctr_visit_end(struct ctr_visit *visit) {
    for (size_t i = 0; i < visit->n; i++) {
        struct ctr_visited *one = &visit->v[i];

        volumes_leave(visit->c->cs->engine->volumes, one->volume, visit->c->id, one->id);
        volume_unref(one->volume);
        free(one->source);
    }
    free(visit->v);
    *visit = CTR_VISIT_INIT;
}

// SPDX-License-Identifier: Apache-2.0
/*
 * test-place.h - a scratch data root with volumes, for tests: place_begin(), place_close() and place_open() as an engine that ends and starts again,
 * place_end().
 */
#ifndef HATAKE_VOLUME_TEST_PLACE_H
#define HATAKE_VOLUME_TEST_PLACE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "db/db.h"
#include "db/journal.h"
#include "volume/volume-internal.h"

struct place {
    char root[64], libexec[300];
    struct engine_config config;
    struct engine engine;
    struct volumes *vs;
};

static inline bool place_open(struct place *p) {
    char path[96];

    p->config.data_root = p->root;
    p->engine.config = &p->config;
    snprintf(path, sizeof(path), "%s/db", p->root);
    return db_open(path, &p->engine.db, NULL) == 0 && journal_setup(p->engine.db, NULL) == 0 && volumes_new(&p->engine, &p->vs, NULL) == 0;
}

static inline bool place_begin(struct place *p) {
    char self[200] = "";
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    *p = (struct place){0};
    snprintf(p->root, sizeof(p->root), "/tmp/test-volume-XXXXXX");
    if (n < 0 || !mkdtemp(p->root))
        return false;
    /* build/test/volume runs build/bin/hatake-mount; sanitized builds have none of their own. */
    *strrchr(self, '/') = 0;
    snprintf(p->libexec, sizeof(p->libexec), "%s/../bin/hatake-mount", self);
    snprintf(p->libexec, sizeof(p->libexec), fs_exists(p->libexec) ? "%s/../bin" : "%s/../../bin", self);
    p->engine.libexec_dir = p->libexec;
    return place_open(p);
}

static inline void place_close(struct place *p) {
    p->vs = volumes_free(p->vs);
    p->engine.db = db_close(p->engine.db);
}

static inline void place_end(struct place *p) {
    place_close(p);
    fs_remove_tree(p->root, NULL);
}

#endif

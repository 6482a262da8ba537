// SPDX-License-Identifier: Apache-2.0
/*
 * runtime.h - which OCI runtime makes a container: ours, under the names clients expect (runc, io.containerd.runc.v2), or one that was registered (--add-runtime,
 * daemon.json `runtimes`). Pure; any thread.
 */
#ifndef HATAKE_CONTAINER_RUNTIME_H
#define HATAKE_CONTAINER_RUNTIME_H

#include <stdbool.h>

#include "base/engine.h"
#include "base/err.h"
#include "monitor/launch.h"

/* May a container name it? Registered names, and names of shims (io.containerd.NAME.vN), found or not only at the start. */
bool ctr_runtime_known(const struct engine_config *cfg, const char *name);

/* The runtime of a start. Not `ours`: *ret borrows from the configuration and from the memory it owns; ctr_runtime_done() when it was used. */
struct ctr_runtime {
    bool ours;
    struct launch_runtime launch;
    char *root;
};
/* ERR_INTERNAL in the reference's words for one that cannot be run. */
int ctr_runtime_find(const struct engine_config *cfg, const char *name, struct ctr_runtime *ret, struct err *e);
void ctr_runtime_done(struct ctr_runtime *r);

#endif

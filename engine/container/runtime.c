// SPDX-License-Identifier: Apache-2.0
#include "container/runtime.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/str.h"

#define NO_SHIM "failed to create task for container: failed to start shim: failed to resolve runtime path: "

static const struct engine_runtime *registered(const struct engine_config *cfg, const char *name) {
    for (size_t i = 0; i < cfg->n_runtimes; i++)
        if (streq_ptr(cfg->runtimes[i].name, name))
            return &cfg->runtimes[i];
    return NULL;
}

/* A shim is named by the last two parts: io.containerd.kata.v2 is containerd-shim-kata-v2. */
static bool shim_parts(const char *type, char **ret_program) {
    const char *last = strrchr(type, '.'), *before = last;

    while (before && before > type && before[-1] != '.')
        before--;
    if (!last)
        return false;
    *ret_program = str_printf("containerd-shim-%.*s-%s", (int)(last - before), before, last + 1);
    return true;
}

/* Types whose shim does nothing but call a runtime of the common command line. */
static bool is_plain_shim(const char *type) {
    return streq(type, "io.containerd.runc.v2") || streq(type, "io.containerd.runc.v1") || streq(type, "io.containerd.runtime.v1.linux");
}

bool ctr_runtime_known(const struct engine_config *cfg, const char *name) {
    _cleanup_free_ char *program = NULL;

    return streq(name, "runc") || registered(cfg, name) || (!strchr(name, '/') && shim_parts(name, &program));
}

/* Shims speak a protocol of their own, which this engine does not: they are refused as they would be where none is installed. */
static int no_shim(const char *type, struct err *e) {
    _cleanup_free_ char *program = NULL;
    struct stat st;

    if (*type == '/' && stat(type, &st) < 0)
        return err_set(e, ERR_INTERNAL, NO_SHIM "invalid custom binary path: stat %s: no such file or directory: unknown", type);
    if (!shim_parts(type, &program))
        return err_set(e, ERR_INTERNAL,
                       NO_SHIM
                       "invalid runtime name %s, correct runtime name should be either format like `io.containerd.runc.v1` or a full path to the "
                       "binary: unknown",
                       type);
    return err_set(e, ERR_INTERNAL, NO_SHIM "runtime \"%s\" binary not installed \"%s\": file does not exist: unknown", type, program ? program : "");
}

int ctr_runtime_find(const struct engine_config *cfg, const char *name, struct ctr_runtime *ret, struct err *e) {
    const struct engine_runtime *r;
    const char *type;

    *ret = (struct ctr_runtime){.ours = true};
    if (str_empty(name) || streq(name, "runc"))
        return 0;
    r = registered(cfg, name);
    type = r ? r->type : name;
    if (type && !is_plain_shim(type))
        return no_shim(type, e);
    if (!r || (type && !r->binary && !r->state_root))
        return 0;
    ret->root = r->state_root ? str_printf("%s/moby", r->state_root) : str_printf("%s/runtime-runc/moby", cfg->exec_root);
    if (!ret->root)
        return err_oom(e);
    ret->ours = false;
    ret->launch = (struct launch_runtime){.program = type ? (r->binary ? r->binary : "runc") : r->path, .args = &r->args, .root = ret->root};
    return 0;
}

void ctr_runtime_done(struct ctr_runtime *r) {
    free(r->root);
}

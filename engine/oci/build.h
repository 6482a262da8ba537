// SPDX-License-Identifier: Apache-2.0
/*
 * build.h - from an OCI runtime-spec document to a plan (plan.h).
 *
 * Validation is strict where a wrong value would be carried out wrongly (types, ranges, paths, names of namespaces, capabilities, limits) and lenient
 * where the specification says "ignore what you do not know". Messages name the member: `linux.resources.pids.limit: expected an integer`.
 * The builder makes no system calls on the container's files and needs no rights.
 *
 * Source: OCI runtime-spec 1.2 (config.md, config-linux.md). Threads: any; the seccomp cache has its own lock.
 */
#ifndef HATAKE_OCI_BUILD_H
#define HATAKE_OCI_BUILD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strv.h"
#include "kern/cgroup.h"
#include "oci/plan.h"

struct seccomp_cache;

struct oci_input {
    const json_t *spec;
    const char *id;
    const char *bundle;                  /* folder that relative root.path counts from; may be NULL */
    const struct cgroup_layout *cgroups; /* NULL: no control groups */
    struct seccomp_cache *seccomp;       /* may be NULL: compile each time */
    /* The root: rootfs_path, or lowers + upper + work; none: root.path of the document. */
    const char *rootfs_path;
    const struct strv *lowers;
    const char *upper, *work;
    bool overlay_volatile;
    const char *init_path; /* --init program, NULL: none */
};

/* Append the operations of a whole container. 0, or ERR_INVALID with the member at fault. */
int oci_build(struct plan_builder *b, const struct oci_input *in, struct err *e);
/* Append the operations of one more process for a running container. */
int oci_build_process(struct plan_builder *b, const json_t *process, const json_t *spec, struct seccomp_cache *cache, struct err *e);
/* Append PLAN_CGROUP_SET operations for changed limits (`update`); `dirs` are looked up in an earlier plan. */
int oci_build_update(struct plan_builder *b, const json_t *resources, const struct plan *container, struct err *e);

/* ---- other runtimes ---------------------------------------------------------------------------------------------------- */

struct oci_foreign {
    const char *program; /* path, or a name to look for in `path` */
    const char *root;    /* folder where it keeps its state */
    const struct strv *args;
    const char *path; /* PATH it is found by and runs with */
};

/*
 * Append what our side does for a container of another runtime, and its document (PLAN_RUNTIME): the standard one, with the builtin profile spelled
 * out, the root at <bundle>/rootfs and a network namespace that is made before. in->bundle must be there.
 */
int oci_build_foreign(struct plan_builder *b, const struct oci_input *in, const struct oci_foreign *rt, struct err *e);
/* One more process of such a container (its `process` object), or changed limits (`resources`). */
int oci_build_foreign_part(struct plan_builder *b, const json_t *part, bool process, struct err *e);

/* Number of a capability name ("CAP_CHOWN"); -1 when there is none. */
int oci_cap_number(const char *name);
/* Signal number of "SIGTERM", "TERM", "term" or "15"; -1 when there is none. */
int oci_signal_number(const char *name);

/* ---- seccomp ---------------------------------------------------------------------------------------------------------- */

struct seccomp_cache *seccomp_cache_new(void);
struct seccomp_cache *seccomp_cache_free(struct seccomp_cache *c);

/*
 * Compile a `linux.seccomp` object into a filter: search trees over ranges of numbers, one per architecture, arguments that the kernel reads as int
 * compared in their low 32 bits (rule R15), numbers above the highest one that the profile names answered with ENOSYS.
 * {"hatakeProfile": "builtin"} stands for the default profile with the given capabilities.
 */
int seccomp_compile(const json_t *seccomp, uint64_t caps, struct buf *ret_filter, struct err *e);
/* The same with the result kept by the document's text; `c` may be NULL. */
int seccomp_cached(struct seccomp_cache *c, const json_t *seccomp, uint64_t caps, struct buf *ret_filter, struct err *e);
/* Flags of the filter by their names (`linux.seccomp.flags`): TSYNC, LOG, SPEC_ALLOW. ERR_INVALID for another one. */
int seccomp_flags(const json_t *seccomp, int64_t *ret, struct err *e);
/* The default profile as a `linux.seccomp` object (new reference). NULL when memory ran out. */
json_t *seccomp_default_profile(uint64_t caps);

#endif

// SPDX-License-Identifier: Apache-2.0
/* build-internal.h - shared by the files of the builder; nobody else includes it. */
#ifndef HATAKE_OCI_BUILD_INTERNAL_H
#define HATAKE_OCI_BUILD_INTERNAL_H

#include "oci/build.h"

/* Members of a document. `where` names the object for messages ("linux.resources"). A missing or null member leaves *ret as it was; 1: found, 0: not. */
int j_object(const json_t *o, const char *where, const char *key, const json_t **ret, struct err *e);
int j_array(const json_t *o, const char *where, const char *key, const json_t **ret, struct err *e);
int j_str(const json_t *o, const char *where, const char *key, const char **ret, struct err *e);
int j_int(const json_t *o, const char *where, const char *key, int64_t lo, int64_t hi, int64_t *ret, struct err *e);
int j_bool(const json_t *o, const char *where, const char *key, bool *ret, struct err *e);
/* An array of texts as pointers (borrowed) in fresh memory. */
int j_list(const json_t *o, const char *where, const char *key, const char ***ret, size_t *ret_n, struct err *e);

struct build {
    struct plan_builder *b;
    const struct oci_input *in;
    const json_t *spec, *linux_;
    int64_t new_ns;    /* CLONE_NEW* to make */
    int64_t joined_ns; /* of those that are joined: known to be another's than the machine's */
    bool has_user;     /* a user namespace, new or joined */
    bool dev_is_bind;  /* /dev comes from outside: nothing is made in it */
    struct err *e;
};

int build_mounts(struct build *b);                                                                    /* build-mounts.c */
int build_resources(struct build *b, const json_t *resources, const char *const *dirs, bool devices); /* build-resources.c */
int build_cgroups(struct build *b);

/* One rule of linux.resources.devices. */
struct device_rule {
    bool allow;
    char type;            /* a, b, c */
    int64_t major, minor; /* -1: any */
    char access[4];
};
/*
 * The program (BPF_PROG_TYPE_CGROUP_DEVICE) that v2 has in the place of v1's lists. v[0] says what holds for everything; of the others those that say
 * the same are left out, as with v1. A rule that allows must cover all that is asked for; one that denies need only touch it.
 */
int build_device_program(const struct device_rule *v, size_t n, struct buf *ret, struct err *e); /* build-bpf.c */
int build_namespaces(struct build *b);                                                           /* build.c */
int build_idmaps(struct build *b);
int build_root(struct build *b);
int build_caps(const json_t *process, uint64_t ret[5], struct err *e); /* build-read.c */
/* Number of a limit's name ("RLIMIT_NOFILE"); -1 when there is none. */
int build_rlimit_number(const char *name);

/* Attribute and flag names of mount options; false when the name is none of them (then it is data of the file system). */
struct mount_options {
    uint64_t set, clear;
    int64_t propagation;
    bool bind, recursive, attr_recursive, copyup;
    struct buf data;
};
bool mount_option(struct mount_options *o, const char *name);

#endif

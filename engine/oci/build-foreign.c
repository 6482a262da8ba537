// SPDX-License-Identifier: Apache-2.0
/* Containers that another OCI runtime makes: its document, and what is left for us to do. */
#include "oci/build-internal.h"

#include <sched.h>

#include "base/cleanup.h"
#include "base/str.h"

/*
 * The network namespace is made before, so that links are there when the runtime starts its hooks; it finds it as a file in the bundle. So is the user
 * namespace that it belongs to, if there is to be one.
 */
static int own_network(json_t *linux_, const char *bundle) {
    json_t *ns;
    size_t i;

    json_array_foreach(json_object_get(linux_, "namespaces"), i, ns) {
        const char *type = json_string_value(json_object_get(ns, "type"));
        bool user = streq_ptr(type, "user");
        _cleanup_free_ char *path = NULL;

        if ((!user && !streq_ptr(type, "network")) || json_object_get(ns, "path"))
            continue;
        path = str_printf("%s/%s", bundle, user ? OCI_BUNDLE_USERNS : OCI_BUNDLE_NETNS);
        if (!path || json_object_set_new(ns, "path", json_string(path)) < 0)
            return -1;
    }
    return 0;
}

static int put_init(json_t *doc, const char *init) {
    json_t *args = json_object_get(json_object_get(doc, "process"), "args");
    json_t *mount =
        json_pack("{s:s, s:s, s:s, s:[s, s]}", "destination", "/sbin/docker-init", "type", "bind", "source", init, "options", "bind", "ro");

    if (json_array_append_new(json_object_get(doc, "mounts"), mount) < 0)
        return -1;
    return json_array_insert_new(args, 0, json_string("--")) | json_array_insert_new(args, 0, json_string("/sbin/docker-init"));
}

/* A source that must not lead out of its volume is bound by us, where the runtime cannot be led astray. */
static int hold_binds(struct plan_builder *b, json_t *doc, const char *bundle) {
    json_t *m;
    size_t i;

    json_array_foreach(json_object_get(doc, "mounts"), i, m) {
        const char *beneath = json_string_value(json_object_get(m, "hatakeBeneath"));
        _cleanup_free_ char *target = NULL;

        if (!beneath)
            continue;
        target = str_printf("%s/" OCI_BUNDLE_BIND "%zu", bundle, i);
        if (!target)
            return -1;
        plan_add(b, PLAN_RUNTIME_BIND);
        plan_set_s(b, 0, json_string_value(json_object_get(m, "source")));
        plan_set_s(b, 1, target);
        plan_set_s(b, 2, beneath);
        if (json_object_set_new(m, "source", json_string(target)) < 0 || json_object_del(m, "hatakeBeneath") < 0)
            return -1;
    }
    return 0;
}

static int plain_seccomp(json_t *doc, struct err *e) {
    json_t *linux_ = json_object_get(doc, "linux");
    uint64_t caps[5];

    if (!json_object_get(json_object_get(linux_, "seccomp"), "hatakeProfile"))
        return 0;
    if (build_caps(json_object_get(doc, "process"), caps, e) < 0)
        return -ERR_INVALID;
    return json_object_set_new(linux_, "seccomp", seccomp_default_profile(caps[0])) < 0 ? err_oom(e) : 0;
}

/* Our own runtime opens the sources before it parts from the machine's mounts; others must be told not to part where a bind is shared. */
static int propagation(json_t *doc) {
    static const char *const ways[] = {"shared", "slave"};
    json_t *linux_ = json_object_get(doc, "linux"), *m, *o;
    size_t i, k;

    for (size_t w = 0; w < ELEMENTSOF(ways) && !json_object_get(linux_, "rootfsPropagation"); w++)
        json_array_foreach(json_object_get(doc, "mounts"), i, m) {
            json_array_foreach(json_object_get(m, "options"), k, o) {
                const char *s = json_string_value(o);

                if (s && (streq(s, ways[w]) || (*s == 'r' && streq(s + 1, ways[w]))) &&
                    json_object_set_new(linux_, "rootfsPropagation", json_string(ways[w])) < 0)
                    return -1;
            }
        }
    return 0;
}

static int document(struct plan_builder *b, const struct oci_input *in, bool network, char **ret, struct err *e) {
    json_t *doc = json_deep_copy(in->spec);
    _cleanup_free_ char *root = str_printf("%s/" OCI_BUNDLE_ROOT, in->bundle);
    json_t *readonly = json_object_get(json_object_get(doc, "root"), "readonly");
    int r = 0;

    /* Nothing in it is newer, and some runtimes refuse what says it is. */
    if (!doc || !root || json_object_set_new(doc, "ociVersion", json_string("1.0.2")) < 0 ||
        json_object_set_new(doc, "root", json_pack("{s:s, s:b}", "path", root, "readonly", json_is_true(readonly))) < 0 ||
        (network && own_network(json_object_get(doc, "linux"), in->bundle) < 0) || (in->init_path && put_init(doc, in->init_path) < 0) ||
        hold_binds(b, doc, in->bundle) < 0 || propagation(doc) < 0)
        r = err_oom(e);
    if (r >= 0)
        r = plain_seccomp(doc, e);
    if (r >= 0 && !(*ret = json_dumps(doc, JSON_COMPACT)))
        r = err_oom(e);
    json_decref(doc);
    return r;
}

static void console(struct plan_builder *b, const json_t *process) {
    const json_t *size = json_object_get(process, "consoleSize");
    struct plan_op *op;

    if (!json_is_true(json_object_get(process, "terminal")))
        return;
    op = plan_add(b, PLAN_CONSOLE);
    op->i[0] = json_integer_value(json_object_get(size, "height"));
    op->i[1] = json_integer_value(json_object_get(size, "width"));
}

int oci_build_foreign(struct plan_builder *pb, const struct oci_input *in, const struct oci_foreign *rt, struct err *e) {
    struct build b = {.b = pb, .in = in, .spec = in->spec, .e = e};
    _cleanup_free_ char *text = NULL;
    struct plan_op *op;
    int r;

    if (j_object(in->spec, "", "linux", &b.linux_, e) < 0)
        return -ERR_INVALID;
    plan_add(pb, PLAN_CONTAINER);
    plan_set_s(pb, 0, in->id);
    plan_set_s(pb, 1, in->bundle);
    r = build_namespaces(&b);
    if (r >= 0)
        r = build_idmaps(&b);
    if (r >= 0)
        r = build_cgroups(&b);
    if (r >= 0)
        r = build_root(&b);
    if (r >= 0)
        r = document(pb, in, b.new_ns & CLONE_NEWNET, &text, e);
    if (r < 0)
        return r;
    console(pb, json_object_get(in->spec, "process"));
    op = plan_add(pb, PLAN_RUNTIME);
    op->i[0] = json_integer_value(json_object_get(json_object_get(json_object_get(b.linux_, "resources"), "memory"), "limit")) > 0;
    op->i[1] = (b.new_ns & CLONE_NEWNET) != 0;
    plan_set_s(pb, 0, rt->program);
    plan_set_s(pb, 1, rt->root);
    plan_set_list(pb, 2, (const char *const *)rt->args->v, rt->args->n);
    plan_set_s(pb, 3, text);
    plan_set_s(pb, 4, rt->path);
    return 0;
}

int oci_build_foreign_part(struct plan_builder *pb, const json_t *part, bool process, struct err *e) {
    _cleanup_free_ char *text = json_dumps(part, JSON_COMPACT);

    if (!text)
        return err_oom(e);
    if (process)
        console(pb, part);
    plan_add(pb, PLAN_RUNTIME);
    plan_set_s(pb, 3, text);
    return 0;
}

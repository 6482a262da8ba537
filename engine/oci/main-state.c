// SPDX-License-Identifier: Apache-2.0
/* The record of a container between commands. */
#include "oci/main.h"

#include <signal.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "kern/proc.h"

int container_dir(const struct options *o, char *ret, size_t cap, struct err *e) {
    size_t n = strlen(o->id);

    if (!n || n > 200 || streq(o->id, ".") || streq(o->id, ".."))
        return err_set(e, ERR_INVALID, "invalid container ID format");
    for (const char *p = o->id; *p; p++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.", *p))
            return err_set(e, ERR_INVALID, "invalid container ID format");
    if (snprintf(ret, cap, "%s/%s", o->root, o->id) >= (int)cap)
        return err_set(e, ERR_INVALID, "%s: path too long", o->root);
    return 0;
}

uint64_t process_ticks(pid_t pid) {
    struct proc_stat s;

    return proc_stat_of(pid, &s) == 0 && proc_is_alive(&s) ? s.ticks : 0;
}

int container_store(const struct container *c, const void *block, size_t n, struct err *e) {
    _cleanup_free_ char *plan = str_printf("%s/plan", c->dir), *path = str_printf("%s/state.json", c->dir), *text = NULL;
    json_t *o =
        json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:I, s:O?, s:O?}", "ociVersion", "1.2.0", "id", c->id, "pid", (int)c->pid, "bundle", c->bundle,
                  "rootfs", c->rootfs, "created", c->created, "ticks", (json_int_t)c->ticks, "annotations", c->annotations, "spec", c->spec);
    int r = 0;

    if (!plan || !path || !o)
        r = err_oom(e);
    if (r == 0 && block)
        r = fs_replace_file_volatile(plan, block, n, 0600, e);
    text = r == 0 ? json_dumps(o, JSON_COMPACT) : NULL;
    if (text)
        r = fs_replace_file_volatile(path, text, strlen(text), 0600, e);
    json_decref(o);
    return r;
}

static void take_text(const json_t *o, const char *key, char *ret, size_t cap) {
    const char *s = json_string_value(json_object_get(o, key));

    snprintf(ret, cap, "%s", s ? s : "");
}

int container_load(const struct options *o, struct container *c, struct err *e) {
    _cleanup_free_ char *path = NULL, *plan_path = NULL;
    _cleanup_buf_ struct buf text = BUF_INIT(MIB(16)), plan = BUF_INIT(LIMIT_PLAN_BYTES);
    json_t *j;
    int r;

    *c = (struct container){.pid = -1};
    r = container_dir(o, c->dir, sizeof c->dir, e);
    if (r < 0)
        return r;
    path = str_printf("%s/state.json", c->dir);
    plan_path = str_printf("%s/plan", c->dir);
    if (!path || !plan_path)
        return err_oom(e);
    if (!fs_exists(path))
        return err_set(e, ERR_NOT_FOUND, "container does not exist");
    r = fs_read_file(path, &text, e);
    if (r == 0)
        r = fs_read_file(plan_path, &plan, e);
    if (r < 0)
        return r;
    j = json_loadb(text.data, text.len, 0, NULL);
    if (!j)
        return err_set(e, ERR_INTERNAL, "%s is damaged", path);
    take_text(j, "id", c->id, sizeof c->id);
    take_text(j, "bundle", c->bundle, sizeof c->bundle);
    take_text(j, "rootfs", c->rootfs, sizeof c->rootfs);
    take_text(j, "created", c->created, sizeof c->created);
    c->pid = (pid_t)json_integer_value(json_object_get(j, "pid"));
    c->ticks = (uint64_t)json_integer_value(json_object_get(j, "ticks"));
    c->annotations = json_incref(json_object_get(j, "annotations"));
    c->spec = json_incref(json_object_get(j, "spec"));
    json_decref(j);
    if (plan_open(plan.data, plan.len, &c->plan) < 0) {
        container_done(c);
        return err_set(e, ERR_INTERNAL, "%s is damaged", plan_path);
    }
    c->block = plan.data;
    plan.data = NULL;
    return 0;
}

void container_done(struct container *c) {
    free(c->block);
    c->block = NULL;
    json_decref(c->annotations);
    json_decref(c->spec);
    c->annotations = c->spec = NULL;
}

const char *container_status(const struct container *c) {
    char path[640];
    const char *freezer = oci_cgroup_dir(&c->plan, "freezer");
    _cleanup_buf_ struct buf b = BUF_INIT(256);

    if (c->pid <= 0 || kill(c->pid, 0) < 0 || process_ticks(c->pid) != c->ticks || !c->ticks)
        return "stopped";
    snprintf(path, sizeof path, "%s/start.sock", c->dir);
    if (access(path, F_OK) == 0)
        return "created";
    if (freezer) {
        snprintf(path, sizeof path, "%s/freezer.state", freezer);
        if (fs_read_file(path, &b, NULL) == 0 && str_has_prefix(buf_str(&b), "FROZEN"))
            return "paused";
        snprintf(path, sizeof path, "%s/cgroup.freeze", freezer);
        buf_reset(&b);
        if (fs_read_file(path, &b, NULL) == 0 && *buf_str(&b) == '1')
            return "paused";
    }
    return "running";
}

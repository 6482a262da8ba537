// SPDX-License-Identifier: Apache-2.0
/* Mounts, devices and links of /dev. */
#include "oci/build-internal.h"

#include <errno.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/str.h"

#ifndef MS_REC
#define MS_REC 16384
#define MS_UNBINDABLE (1 << 17)
#define MS_PRIVATE (1 << 18)
#define MS_SLAVE (1 << 19)
#define MS_SHARED (1 << 20)
#endif

bool mount_option(struct mount_options *o, const char *name) {
    static const struct {
        const char *name;
        uint64_t attr;
        bool clear;
    } attrs[] = {{"ro", MOUNT_ATTR_RDONLY, false},          {"rw", MOUNT_ATTR_RDONLY, true},    {"nosuid", MOUNT_ATTR_NOSUID, false},
                 {"suid", MOUNT_ATTR_NOSUID, true},         {"nodev", MOUNT_ATTR_NODEV, false}, {"dev", MOUNT_ATTR_NODEV, true},
                 {"noexec", MOUNT_ATTR_NOEXEC, false},      {"exec", MOUNT_ATTR_NOEXEC, true},  {"nodiratime", MOUNT_ATTR_NODIRATIME, false},
                 {"diratime", MOUNT_ATTR_NODIRATIME, true}, {"nosymfollow", 0x00200000, false}, {"symfollow", 0x00200000, true}};
    static const struct {
        const char *name;
        int64_t value;
    } props[] = {{"private", MS_PRIVATE}, {"rprivate", MS_PRIVATE | MS_REC}, {"slave", MS_SLAVE},           {"rslave", MS_SLAVE | MS_REC},
                 {"shared", MS_SHARED},   {"rshared", MS_SHARED | MS_REC},   {"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE | MS_REC}};
    static const struct {
        const char *name;
        uint64_t value;
    } times[] = {{"noatime", MOUNT_ATTR_NOATIME}, {"strictatime", MOUNT_ATTR_STRICTATIME}, {"relatime", MOUNT_ATTR_RELATIME}};
    const char *plain = name[0] == 'r' && name[1] == 'r' ? name + 1 : str_has_prefix(name, "rno") ? name + 1 : NULL;

    for (size_t i = 0; i < ELEMENTSOF(attrs); i++) {
        if (streq(attrs[i].name, name) && !attrs[i].clear)
            o->set |= attrs[i].attr;
        else if (streq(attrs[i].name, name))
            o->set &= ~attrs[i].attr;
        else if (plain && streq(attrs[i].name, plain)) { /* rro, rrw, rnosuid, ... reach every mount below */
            o->attr_recursive = true;
            if (attrs[i].clear) {
                o->set &= ~attrs[i].attr;
                o->clear |= attrs[i].attr;
            } else {
                o->set |= attrs[i].attr;
            }
        } else
            continue;
        return true;
    }
    for (size_t i = 0; i < ELEMENTSOF(props); i++)
        if (streq(props[i].name, name)) {
            o->propagation = props[i].value;
            return true;
        }
    for (size_t i = 0; i < ELEMENTSOF(times); i++)
        if (streq(times[i].name, name)) {
            o->set = (o->set & ~(uint64_t)MOUNT_ATTR__ATIME) | times[i].value;
            o->clear |= MOUNT_ATTR__ATIME;
            return true;
        }
    if (streq(name, "bind") || streq(name, "rbind")) {
        o->bind = true;
        o->recursive = name[0] == 'r';
        return true;
    }
    if (streq(name, "tmpcopyup")) {
        o->copyup = true;
        return true;
    }
    /* What a mount has anyway. */
    return streq(name, "defaults") || streq(name, "async") || streq(name, "atime") || streq(name, "nomand") || streq(name, "norelatime") ||
           streq(name, "nostrictatime") || streq(name, "loud");
}

static void add_bind(struct build *b, const struct mount_options *o, const char *source, const char *target, const char *beneath) {
    struct plan_op *op = plan_add(b->b, PLAN_BIND);

    op->i[0] = (int64_t)o->set;
    op->i[1] = (int64_t)o->clear;
    op->i[2] = (o->recursive ? PLAN_BIND_RECURSIVE : 0) | (o->attr_recursive ? PLAN_BIND_ATTR_RECURSIVE : 0);
    op->i[3] = o->propagation ? o->propagation : MS_PRIVATE | MS_REC;
    plan_set_s(b->b, 0, source);
    plan_set_s(b->b, 1, target);
    plan_set_s(b->b, 2, beneath);
}

static int one_mount(struct build *b, const json_t *m, size_t index) {
    _cleanup_free_ const char **options = NULL;
    _cleanup_free_ char *joined = NULL;
    const char *target = "", *type = "", *source = "", *beneath;
    struct mount_options o = {.data = BUF_INIT(4096)};
    size_t n = 0;
    struct plan_op *op;
    int r;

    if (j_str(m, "mounts", "destination", &target, b->e) < 0 || j_str(m, "mounts", "type", &type, b->e) < 0 ||
        j_str(m, "mounts", "source", &source, b->e) < 0 || j_list(m, "mounts", "options", &options, &n, b->e) < 0)
        return -ERR_INVALID;
    if (*target != '/')
        return err_set(b->e, ERR_INVALID, "mounts[%zu].destination: \"%s\" is not an absolute path", index, target);
    for (size_t i = 0; i < n; i++)
        if (!mount_option(&o, options[i])) {
            if (o.data.len)
                buf_addc(&o.data, ',');
            buf_adds(&o.data, options[i]);
        }
    if (o.bind || streq(type, "bind")) {
        buf_done(&o.data);
        if (*source != '/' && b->in->bundle) {
            joined = str_printf("%s/%s", b->in->bundle, source);
            if (!joined)
                return err_oom(b->e);
            source = joined;
        }
        beneath = json_string_value(json_object_get(m, "hatakeBeneath"));
        add_bind(b, &o, source, target, beneath ? beneath : "");
        b->dev_is_bind = b->dev_is_bind || streq(target, "/dev");
        return 0;
    }
    if (streq(type, "cgroup") || streq(type, "cgroup2")) {
        op = plan_add(b->b, PLAN_CGROUP_MOUNT);
        op->i[0] = (int64_t)o.set;
        op->i[1] = b->new_ns & CLONE_NEWCGROUP ? 1 : 0;
        plan_set_s(b->b, 0, target);
        plan_set_s(b->b, 1, b->in->cgroups && b->in->cgroups->pure_v2 ? b->in->cgroups->h[0].mount : "");
        buf_done(&o.data);
        return 0;
    }
    r = buf_check(&o.data, b->e);
    if (r >= 0 && !*type)
        r = err_set(b->e, ERR_INVALID, "mounts[%zu].type: expected a file system type", index);
    if (r >= 0) {
        op = plan_add(b->b, PLAN_MOUNT);
        op->i[0] = (int64_t)o.set;
        op->i[1] = o.copyup ? PLAN_MOUNT_COPYUP : 0;
        op->i[2] = o.propagation;
        plan_set_s(b->b, 0, type);
        plan_set_s(b->b, 1, source);
        plan_set_s(b->b, 2, target);
        plan_set_s(b->b, 3, buf_str(&o.data));
    }
    buf_done(&o.data);
    return r < 0 ? r : 0;
}

static void add_device(struct build *b, const char *path, mode_t mode, unsigned major, unsigned minor, unsigned uid, unsigned gid) {
    struct plan_op *op = plan_add(b->b, PLAN_DEVICE);

    op->i[0] = mode;
    op->i[1] = major;
    op->i[2] = minor;
    op->i[3] = uid;
    op->i[4] = gid;
    plan_set_s(b->b, 0, path);
}

static int spec_devices(struct build *b) {
    const json_t *list = NULL;
    int r = j_array(b->linux_, "linux", "devices", &list, b->e);

    for (size_t i = 0; r >= 0 && list && i < json_array_size(list); i++) {
        const json_t *d = json_array_get(list, i);
        const char *path = "", *type = "";
        int64_t major = 0, minor = 0, mode = 0666, uid = 0, gid = 0;
        mode_t kind;

        if (j_str(d, "linux.devices", "path", &path, b->e) < 0 || j_str(d, "linux.devices", "type", &type, b->e) < 0 ||
            j_int(d, "linux.devices", "major", -1, 0xfff, &major, b->e) < 0 || j_int(d, "linux.devices", "minor", -1, 0xfffff, &minor, b->e) < 0 ||
            j_int(d, "linux.devices", "fileMode", 0, INT32_MAX, &mode, b->e) < 0 || j_int(d, "linux.devices", "uid", 0, UINT32_MAX, &uid, b->e) < 0 ||
            j_int(d, "linux.devices", "gid", 0, UINT32_MAX, &gid, b->e) < 0)
            return -ERR_INVALID;
        kind = streq(type, "c") || streq(type, "u") ? S_IFCHR : streq(type, "b") ? S_IFBLK : streq(type, "p") ? S_IFIFO : 0;
        if (!kind)
            return err_set(b->e, ERR_INVALID, "linux.devices[%zu].type: \"%s\" is none of c, b, u, p", i, type);
        if (*path != '/')
            return err_set(b->e, ERR_INVALID, "linux.devices[%zu].path: \"%s\" is not an absolute path", i, path);
        add_device(b, path, kind | (mode_t)(mode & 07777), (unsigned)major, (unsigned)minor, (unsigned)uid, (unsigned)gid);
    }
    return r < 0 ? r : 0;
}

static int default_devices(struct build *b) {
    static const struct {
        const char *path;
        unsigned major, minor;
    } nodes[] = {{"/dev/null", 1, 3}, {"/dev/random", 1, 8}, {"/dev/full", 1, 7}, {"/dev/tty", 5, 0}, {"/dev/zero", 1, 5}, {"/dev/urandom", 1, 9}};
    static const char *const links[][2] = {{"/proc/self/fd", "/dev/fd"},
                                           {"/proc/self/fd/0", "/dev/stdin"},
                                           {"/proc/self/fd/1", "/dev/stdout"},
                                           {"/proc/self/fd/2", "/dev/stderr"},
                                           {"pts/ptmx", "/dev/ptmx"}};
    int r;

    if (b->dev_is_bind)
        return spec_devices(b);
    for (size_t i = 0; i < ELEMENTSOF(nodes); i++)
        add_device(b, nodes[i].path, S_IFCHR | 0666, nodes[i].major, nodes[i].minor, 0, 0);
    r = spec_devices(b);
    for (size_t i = 0; i < ELEMENTSOF(links); i++) {
        plan_add(b->b, PLAN_SYMLINK);
        plan_set_s(b->b, 0, links[i][0]);
        plan_set_s(b->b, 1, links[i][1]);
    }
    if (access("/proc/kcore", F_OK) == 0) {
        plan_add(b->b, PLAN_SYMLINK);
        plan_set_s(b->b, 0, "/proc/kcore");
        plan_set_s(b->b, 1, "/dev/core");
    }
    return r;
}

int build_mounts(struct build *b) {
    const json_t *list = NULL;
    int r = j_array(b->spec, "", "mounts", &list, b->e);

    for (size_t i = 0; r >= 0 && list && i < json_array_size(list); i++)
        r = one_mount(b, json_array_get(list, i), i);
    if (r >= 0 && b->in->init_path) {
        struct mount_options ro = {.set = MOUNT_ATTR_RDONLY};

        add_bind(b, &ro, b->in->init_path, "/sbin/docker-init", "");
    }
    return r < 0 ? r : default_devices(b);
}

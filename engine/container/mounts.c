// SPDX-License-Identifier: Apache-2.0
#include "container/mounts.h"

#include <sys/stat.h>

#include "base/str.h"
#include "container/validate.h"

char *ctr_clean_path(const char *path) {
    size_t n = strlen(path);
    char *out = malloc(n + 2), *w = out;

    if (!out)
        return NULL;
    *w++ = '/';
    for (const char *p = path; *p;) {
        size_t len = strcspn(p, "/");

        if (len == 2 && p[0] == '.' && p[1] == '.') {
            while (w > out + 1 && *--w != '/')
                ;
            if (w == out)
                w++;
        } else if (len > 0 && !(len == 1 && p[0] == '.')) {
            if (w > out + 1)
                *w++ = '/';
            memcpy(w, p, len);
            w += len;
        }
        p += len;
        while (*p == '/')
            p++;
    }
    *w = '\0';
    return out;
}

/* ---- modes ------------------------------------------------------------------------------------------------------------------ */
static const char *const propagations[] = {"private", "rprivate", "slave", "rslave", "shared", "rshared", NULL};

static bool is_propagation(const char *s) {
    for (size_t i = 0; propagations[i]; i++)
        if (streq(propagations[i], s))
            return true;
    return false;
}

/* Each kind of word at most once. Fills what it knows into m (may be NULL: only check). */
static bool mode_read(const char *mode, struct ctr_mount *m) {
    _cleanup_strv_ struct strv words = STRV_INIT;
    int rw = 0, label = 0, prop = 0, copy = 0, consistency = 0;

    if (!*mode)
        return true;
    if (strv_split(&words, mode, ',') < 0)
        return false;
    for (size_t i = 0; i < words.n; i++) {
        const char *w = words.v[i];

        if (streq(w, "rw") || streq(w, "ro")) {
            rw++;
            if (m)
                m->rw = streq(w, "rw");
        } else if (streq(w, "z") || streq(w, "Z")) {
            label++;
        } else if (is_propagation(w)) {
            prop++;
            if (m && str_set(&m->propagation, w) < 0)
                return false;
        } else if (streq(w, "nocopy")) {
            copy++;
            if (m)
                m->no_copy = true;
        } else if (streq(w, "consistent") || streq(w, "cached") || streq(w, "delegated") || streq(w, "default")) {
            consistency++;
        } else {
            return false;
        }
    }
    return rw <= 1 && label <= 1 && prop <= 1 && copy <= 1 && consistency <= 1;
}

/* ---- the list ---------------------------------------------------------------------------------------------------------------- */
static struct ctr_mount *find(const struct ctr_mounts *l, const char *destination) {
    for (size_t i = 0; i < l->n; i++)
        if (streq(l->v[i].destination, destination))
            return &l->v[i];
    return NULL;
}

/* Moves *m in. */
static int add(struct ctr_mounts *l, struct ctr_mount *m) {
    struct ctr_mount *v = reallocarray(l->v, l->n + 1, sizeof(*v));

    if (!v)
        return -ENOMEM;
    l->v = v;
    v[l->n++] = *m;
    *m = (struct ctr_mount){0};
    return 0;
}

static int duplicate(const char *destination, struct err *e) {
    return err_set(e, ERR_INVALID, "Duplicate mount point: %s", destination);
}

static bool in_tmpfs(const struct api_host_config *host, const char *destination) {
    for (size_t i = 0; i < host->tmpfs.n; i++) {
        _cleanup_free_ char *clean = ctr_clean_path(host->tmpfs.v[i].key);

        if (clean && streq(clean, destination))
            return true;
    }
    return false;
}

/* Take a mount asked for by name: it wins over what came from other containers, and a second one for its place is an error. */
static int put(const struct api_host_config *host, struct ctr_mounts *l, struct ctr_mount *m, struct err *e) {
    struct ctr_mount *old = find(l, m->destination);

    if (in_tmpfs(host, m->destination) || (old && (old->spec || old->from_mounts)))
        return duplicate(m->destination, e);
    if (old) {
        ctr_mount_done(old);
        *old = *m;
        *m = (struct ctr_mount){0};
        return 0;
    }
    return add(l, m) < 0 ? err_oom(e) : 0;
}

/* ---- Binds -------------------------------------------------------------------------------------------------------------------- */
static int bind_error(const char *spec, struct err *e) {
    return err_set(e, ERR_INTERNAL, "invalid volume specification: '%s'", spec);
}

static int bind_fill(const char *spec, const char *source, const char *destination, const char *mode, struct ctr_mount *m, struct err *e) {
    bool bind = source && source[0] == '/';
    const char *type = bind ? "bind" : "volume";

    m->rw = true;
    if (mode && *mode && !mode_read(mode, m))
        return err_set(e, ERR_INTERNAL, "invalid mode: %s", mode);
    if (!*destination)
        return err_set(e, ERR_INTERNAL, "invalid volume specification: '%s': invalid mount config for type \"%s\": field Target must not be empty",
                       spec, type);
    if (destination[0] != '/')
        return err_set(
            e, ERR_INTERNAL,
            "invalid volume specification: '%s': invalid mount config for type \"%s\": invalid mount path: '%s' mount path must be absolute", spec,
            type, destination);
    m->destination = ctr_clean_path(destination);
    m->spec = strdup(spec);
    m->mode = strdup(!str_empty(mode) ? mode : bind ? "" : "z");
    if (!m->destination || !m->spec || !m->mode)
        return err_oom(e);
    if (streq(m->destination, "/"))
        return err_set(e, ERR_INTERNAL,
                       "invalid volume specification: '%s': invalid mount config for type \"%s\": invalid specification: destination can't be '/'",
                       spec, type);
    if (bind ? m->no_copy : m->propagation != NULL)
        return err_set(e, ERR_INTERNAL, "invalid volume specification: '%s': invalid mount config for type \"%s\": field %s must not be specified",
                       spec, type, bind ? "VolumeOptions" : "BindOptions");
    if (bind) {
        m->kind = CTR_MOUNT_BIND;
        m->make_source = true;
        m->source = ctr_clean_path(source);
        return m->source ? 0 : err_oom(e);
    }
    m->kind = CTR_MOUNT_VOLUME;
    m->anonymous = !source;
    m->volume = source ? strdup(source) : NULL;
    return source && !m->volume ? err_oom(e) : 0;
}

static int read_bind(const char *spec, struct ctr_mount *m, struct err *e) {
    _cleanup_strv_ struct strv part = STRV_INIT;

    if (strv_split(&part, spec, ':') < 0)
        return err_oom(e);
    if (part.n > 3 || part.v[0][0] == '\0')
        return bind_error(spec, e);
    if (part.n == 1)
        return bind_fill(spec, NULL, part.v[0], NULL, m, e);
    if (part.n == 2) {
        if (mode_read(part.v[1], NULL))
            return bind_error(spec, e);
        return bind_fill(spec, part.v[0], part.v[1], NULL, m, e);
    }
    return bind_fill(spec, part.v[0], part.v[1], part.v[2], m, e);
}

static int read_binds(const struct api_host_config *host, struct ctr_mounts *l, struct err *e) {
    for (size_t i = 0; i < host->binds.n; i++) {
        struct ctr_mount m = {0};
        int r = read_bind(host->binds.v[i], &m, e);

        /* Found out before duplicates are, as the reference makes volumes one by one. */
        if (r >= 0 && m.volume && strlen(m.volume) == 1)
            r = err_set(e, ERR_INVALID, "create %s: volume name is too short, names should be at least two alphanumeric characters", m.volume);
        if (r >= 0)
            r = put(host, l, &m, e);
        ctr_mount_done(&m);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- Mounts -------------------------------------------------------------------------------------------------------------------- */
static int mount_error(const struct api_mount *a, struct err *e, const char *fmt, const char *arg) {
    _cleanup_buf_ struct buf b = BUF_INIT(8192);

    buf_addf(&b, "invalid mount config for type \"%s\": ", a->type ? a->type : "");
    buf_addf(&b, "%s%s", fmt, arg);
    return err_set(e, ERR_INVALID, "%s", buf_str(&b));
}

static int check_options(const struct api_mount *a, struct err *e) {
    const char *type = a->type ? a->type : "";

    if (a->bind_options && !streq(type, "bind"))
        return mount_error(a, e, "field BindOptions must not be specified", "");
    if (a->volume_options && !streq(type, "volume"))
        return mount_error(a, e, "field VolumeOptions must not be specified", "");
    return 0;
}

static int path_error(const struct api_mount *a, const char *path, struct err *e) {
    _cleanup_free_ char *text = str_printf("invalid mount path: '%s' mount path must be absolute", path);

    return mount_error(a, e, text ? text : "", "");
}

static int fill_bind(const struct api_mount *a, struct ctr_mount *m, struct err *e) {
    const struct api_mount_bind_options *o = a->bind_options;
    struct stat st;

    m->kind = CTR_MOUNT_BIND;
    if (str_empty(a->source))
        return mount_error(a, e, "field Source must not be empty", "");
    if (a->source[0] != '/')
        return path_error(a, a->source, e);
    m->source = ctr_clean_path(a->source);
    m->propagation = o && !str_empty(o->propagation) ? strdup(o->propagation) : NULL;
    m->mode = strdup("");
    if (!m->source || (o && !str_empty(o->propagation) && !m->propagation) || !m->mode)
        return err_oom(e);
    if (m->propagation && !is_propagation(m->propagation))
        return mount_error(a, e, "invalid propagation mode: ", m->propagation);
    m->make_source = o && o->has_create_mountpoint && o->create_mountpoint;
    m->non_recursive = o && o->has_non_recursive && o->non_recursive;
    m->ro_non_recursive = o && o->has_read_only_non_recursive && o->read_only_non_recursive;
    m->ro_force_recursive = o && o->has_read_only_force_recursive && o->read_only_force_recursive;
    if (!m->make_source && lstat(m->source, &st) < 0)
        return mount_error(a, e, "bind source path does not exist: ", m->source);
    return 0;
}

/* "sub/../x": x. Nothing that begins at the root or above the volume. */
static int fill_subpath(const struct api_mount *a, const char *sub, struct ctr_mount *m, struct err *e) {
    _cleanup_strv_ struct strv parts = STRV_INIT;
    _cleanup_free_ char *below = str_printf("/%s", sub), *clean = below ? ctr_clean_path(below) : NULL;
    int depth = 0;

    if (!clean || strv_split(&parts, sub, '/') < 0)
        return err_oom(e);
    for (size_t i = 0; i < parts.n && depth >= 0; i++)
        depth += streq(parts.v[i], "..") ? -1 : streq(parts.v[i], ".") || !*parts.v[i] ? 0 : 1;
    if (m->anonymous)
        return mount_error(a, e, "must not set Subpath when using anonymous volumes", "");
    if (*sub == '/' || depth < 0)
        return mount_error(a, e, "subpath must be a relative path within the volume", "");
    /* "." is the volume itself. */
    return !clean[1] || str_set(&m->subpath, clean + 1) == 0 ? 0 : err_oom(e);
}

static int fill_volume(const struct api_mount *a, struct ctr_mount *m, struct err *e) {
    const struct api_mount_volume_options *o = a->volume_options;
    int r;

    m->kind = CTR_MOUNT_VOLUME;
    m->anonymous = str_empty(a->source);
    m->no_copy = o && o->has_no_copy && o->no_copy;
    if (o && !str_empty(o->subpath)) {
        r = fill_subpath(a, o->subpath, m, e);
        if (r < 0)
            return r;
    }
    if (m->anonymous && m->rw == false)
        return mount_error(a, e, "must not set ReadOnly mode when using anonymous volumes", "");
    m->mode = strdup("z");
    if (!m->mode || (!m->anonymous && str_set(&m->volume, a->source) < 0) ||
        (o && o->driver_config && str_set(&m->driver, o->driver_config->name) < 0))
        return err_oom(e);
    return 0;
}

/* In the largest unit that divides it, as the reference hands it on; a size below nothing is left for the kernel to refuse. */
static void add_size(struct buf *b, int64_t bytes) {
    static const char unit[] = {0, 'k', 'm', 'g'};
    size_t k = 0;

    for (; k + 1 < sizeof(unit) && bytes % 1024 == 0; k++)
        bytes /= 1024;
    buf_addf(b, "size=%lld", (long long)bytes);
    if (k > 0)
        buf_addc(b, unit[k]);
}

static int fill_tmpfs(const struct api_mount *a, struct ctr_mount *m, struct err *e) {
    const struct api_mount_tmpfs_options *o = a->tmpfs_options;
    _cleanup_buf_ struct buf opt = BUF_INIT(256);

    m->kind = CTR_MOUNT_TMPFS;
    if (!str_empty(a->source))
        return mount_error(a, e, "field Source must not be specified", "");
    if (o && o->has_mode && o->mode > 0)
        buf_addf(&opt, "mode=%llo", (unsigned long long)o->mode);
    if (o && o->has_size_bytes && o->size_bytes != 0) {
        buf_adds(&opt, opt.len ? "," : "");
        add_size(&opt, o->size_bytes);
    }
    if (!m->rw)
        buf_addf(&opt, "%sro", opt.len ? "," : "");
    m->mode = strdup("");
    m->options = strdup(buf_str(&opt));
    return !m->mode || !m->options ? err_oom(e) : 0;
}

static bool is_known(const char *type) {
    return type && (streq(type, "bind") || streq(type, "volume") || streq(type, "tmpfs"));
}

static int read_mount(const struct api_mount *a, struct ctr_mount *m, struct err *e) {
    int r;

    m->rw = !(a->has_read_only && a->read_only);
    m->from_mounts = true;
    if (str_empty(a->target))
        return mount_error(a, e, "field Target must not be empty", "");
    /* The path of a Windows pipe begins at its root, too. Its kind of mount is unknown here, which is said first. */
    if (a->target[0] != '/' && (a->target[0] != '\\' || is_known(a->type)))
        return path_error(a, a->target, e);
    m->destination = ctr_clean_path(a->target);
    if (!m->destination)
        return err_oom(e);
    if (streq(m->destination, "/"))
        return mount_error(a, e, "invalid specification: destination can't be '/'", "");
    if (!is_known(a->type))
        return mount_error(a, e, "mount type unknown", "");
    r = check_options(a, e);
    if (r < 0)
        return r;
    return streq(a->type, "bind") ? fill_bind(a, m, e) : streq(a->type, "volume") ? fill_volume(a, m, e) : fill_tmpfs(a, m, e);
}

static int read_mounts(const struct api_host_config *host, struct ctr_mounts *l, struct err *e) {
    for (size_t i = 0; i < host->mounts.n; i++) {
        struct ctr_mount m = {0};
        int r = read_mount(&host->mounts.v[i], &m, e);

        if (r >= 0)
            r = put(host, l, &m, e);
        ctr_mount_done(&m);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- VolumesFrom, Config.Volumes, Tmpfs -------------------------------------------------------------------------------------- */
static int copy_mount(const struct ctr_mount *from, struct ctr_mount *to) {
    *to = (struct ctr_mount){.kind = from->kind,
                             .anonymous = from->anonymous,
                             .rw = from->rw,
                             .no_copy = true, /* what this image has there is not copied into another container's volume */
                             .own_propagation = from->own_propagation,
                             .non_recursive = from->non_recursive,
                             .ro_non_recursive = from->ro_non_recursive,
                             .ro_force_recursive = from->ro_force_recursive};
    if (str_set(&to->source, from->source) < 0 || str_set(&to->destination, from->destination) < 0 || str_set(&to->shown, from->shown) < 0 ||
        str_set(&to->volume, from->volume) < 0 || str_set(&to->driver, from->driver) < 0 || str_set(&to->mode, "") < 0 ||
        str_set(&to->propagation, from->propagation) < 0 || str_set(&to->options, from->options) < 0 || str_set(&to->subpath, from->subpath) < 0)
        return -ENOMEM;
    return 0;
}

/* "ro", "rw", "z", "Z" or one of each kind with a comma: no more than that can be said of another container's mounts. */
static bool from_mode(const char *mode, bool *ret_rw) {
    _cleanup_strv_ struct strv parts = STRV_INIT;
    int access = 0, label = 0;

    *ret_rw = true;
    if (!*mode)
        return true;
    if (strv_split(&parts, mode, ',') < 0)
        return false;
    for (size_t i = 0; i < parts.n; i++) {
        bool ro = streq(parts.v[i], "ro");

        access += ro || streq(parts.v[i], "rw");
        label += streq(parts.v[i], "z") || streq(parts.v[i], "Z");
        *ret_rw = *ret_rw && !ro;
    }
    return access <= 1 && label <= 1 && (size_t)(access + label) == parts.n;
}

static int read_from_one(struct containers *cs, const char *text, struct ctr_mounts *l, struct err *e) {
    const char *colon = strchr(text, ':'), *mode = colon ? colon + 1 : "";
    _cleanup_free_ char *ref = strndup(text, colon ? (size_t)(colon - text) : strlen(text));
    _cleanup_container_ struct container *c = NULL;
    _cleanup_view_ struct ctr_view *v = NULL;
    bool rw;
    int r;

    if (!ref)
        return err_oom(e);
    if (!*text)
        return err_set(e, ERR_INVALID, "volumes-from specification cannot be an empty string");
    if (!from_mode(mode, &rw))
        return err_set(e, ERR_INVALID, "invalid mode: %s", mode);
    r = containers_find(cs, ref, &c, e);
    if (r < 0) {
        if (e && e->kind == ERR_NOT_FOUND)
            e->kind = ERR_INVALID;
        return -(int)ERR_INVALID;
    }
    v = container_view(c);
    for (size_t i = 0; i < v->fixed->mounts.n; i++) {
        struct ctr_mount m = {0}, *old;

        if (copy_mount(&v->fixed->mounts.v[i], &m) < 0) {
            ctr_mount_done(&m);
            return err_oom(e);
        }
        /* What is read-only in the other container stays so, whatever is asked for. */
        m.rw = m.rw && rw;
        old = find(l, m.destination);
        if (old) {
            ctr_mount_done(old);
            *old = m;
        } else if (add(l, &m) < 0) {
            ctr_mount_done(&m);
            return err_oom(e);
        }
    }
    return 0;
}

static int read_config_volumes(const struct api_container_config *config, const struct api_host_config *host, struct ctr_mounts *l, struct err *e) {
    for (size_t i = 0; i < config->volumes.n; i++) {
        struct ctr_mount m = {.kind = CTR_MOUNT_VOLUME, .rw = true, .anonymous = true};

        m.destination = ctr_clean_path(config->volumes.v[i]);
        m.mode = strdup("");
        /* A path from nowhere counts from the root, and is shown as it came. */
        if (m.destination && m.destination[1] && *config->volumes.v[i] != '/')
            m.shown = strdup(m.destination + 1);
        if (!m.destination || !m.mode) {
            ctr_mount_done(&m);
            return err_oom(e);
        }
        if (streq(m.destination, "/") || find(l, m.destination) || in_tmpfs(host, m.destination) || add(l, &m) < 0)
            ctr_mount_done(&m);
    }
    return 0;
}

static int check_tmpfs(const struct api_host_config *host, struct err *e) {
    for (size_t i = 0; i < host->tmpfs.n; i++) {
        _cleanup_free_ char *clean = ctr_clean_path(host->tmpfs.v[i].key);

        if (host->tmpfs.v[i].key[0] != '/')
            return err_set(e, ERR_INVALID, "invalid mount path: '%s' mount path must be absolute", host->tmpfs.v[i].key);
        if (!clean)
            return err_oom(e);
        if (streq(clean, "/"))
            return err_set(e, ERR_INVALID, "invalid specification: destination can't be '/'");
    }
    return 0;
}

int ctr_mounts_check(const struct api_host_config *host, struct err *e) {
    int r = 0;

    for (size_t i = 0; r >= 0 && i < host->mounts.n; i++) {
        struct ctr_mount m = {0};

        r = read_mount(&host->mounts.v[i], &m, e);
        ctr_mount_done(&m);
    }
    return r < 0 ? r : check_tmpfs(host, e);
}

/*
 * How mounts pass through a bind: as asked for, else not at all. One that shows the data root, or lies in it, shows the mounts of containers: a copy of those that never
 * goes away would keep them from being removed, so there they come and go with the machine's. Compared letter by letter, as the reference does: "/var/lib/dock" counts.
 */
static int settle_propagation(const char *data_root, struct ctr_mount *m, struct err *e) {
    bool shows_root = str_has_prefix(m->source, data_root) || str_has_prefix(data_root, m->source);

    if (!m->propagation) {
        m->own_propagation = shows_root;
        m->propagation = strdup(shows_root ? "rslave" : "rprivate");
        return m->propagation ? 0 : err_oom(e);
    }
    if (shows_root && !streq(m->propagation, "rslave") && !streq(m->propagation, "rshared"))
        return err_set(
            e, ERR_INVALID,
            "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" when mount source is within the daemon root, daemon "
            "root: \"%s\", bind mount source: \"%s\", propagation: \"%s\"",
            data_root, m->source, m->propagation);
    return 0;
}

static int by_destination(const void *a, const void *b) {
    return strcmp(((const struct ctr_mount *)a)->destination, ((const struct ctr_mount *)b)->destination);
}

int ctr_mounts_read(struct containers *cs, const struct api_container_config *config, const struct api_host_config *host, struct ctr_mounts *ret,
                    struct err *e) {
    struct ctr_mounts l = {0};
    int r = 0;

    for (size_t i = 0; r >= 0 && i < host->volumes_from.n; i++)
        r = read_from_one(cs, host->volumes_from.v[i], &l, e);
    if (r >= 0)
        r = read_binds(host, &l, e);
    if (r >= 0)
        r = read_mounts(host, &l, e);
    if (r >= 0)
        r = read_config_volumes(config, host, &l, e);
    for (size_t i = 0; r >= 0 && i < l.n; i++)
        if (l.v[i].kind == CTR_MOUNT_BIND)
            r = settle_propagation(cs->engine->config->data_root, &l.v[i], e);
    if (r < 0) {
        ctr_mounts_done(&l);
        return r;
    }
    if (l.n > 1)
        qsort(l.v, l.n, sizeof(*l.v), by_destination);
    *ret = l;
    return 0;
}

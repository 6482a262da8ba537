// SPDX-License-Identifier: Apache-2.0
/* A tar stream into the working directory, with the rules of PUT /containers/{id}/archive. */
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "base/strv.h"
#include "container/files.h"

#define KEEP_BYTES MIB(1) /* a replaced file of fewer is given up at once */
#define KEEP_MAX 64

/* What a folder gets when all is in it. */
struct late {
    char *path;
    struct timespec at[2];
};

struct unpacker {
    struct tar_reader *r;
    const struct files_unpack *how;
    struct late *late;
    size_t n_late, cap_late;
    int64_t entries;
    int kept[KEEP_MAX]; /* replaced files, whose space is given back when the process ends */
    size_t n_kept;
};

char *files_absolute(const char *path) {
    _cleanup_strv_ struct strv parts = STRV_INIT, kept = STRV_INIT;
    _cleanup_free_ char *joined = NULL;
    const char *last;

    if (strv_split(&parts, path, '/') < 0)
        return NULL;
    for (size_t i = 0; i < parts.n; i++) {
        const char *p = parts.v[i];

        if (streq(p, "..")) {
            if (kept.n > 0)
                strv_remove_at(&kept, kept.n - 1);
        } else if (*p && !streq(p, ".") && strv_add(&kept, p) < 0) {
            return NULL;
        }
    }
    joined = kept.n ? strv_join(&kept, "/") : strdup("");
    last = parts.n ? parts.v[parts.n - 1] : "";
    if (!joined)
        return NULL;
    if (streq(last, "."))
        return str_printf("/%s%s.", joined, *joined ? "/" : "");
    return str_printf("/%s%s", joined, *joined && *path && !*last ? "/" : "");
}

/* A name that climbs out, told without the steps that lead back: parts[0..at) cancel each other, and parts[at] is "..". */
static int outside(const struct unpacker *u, const struct strv *parts, size_t at, struct err *e) {
    _cleanup_strv_ struct strv kept = STRV_INIT;
    _cleanup_free_ char *clean = NULL;
    size_t up = 0;

    for (size_t i = at; i < parts->n; i++) {
        const char *p = parts->v[i];

        if (streq(p, "..") && kept.n > up) {
            strv_remove_at(&kept, kept.n - 1);
        } else if (*p && !streq(p, ".")) {
            if (strv_add(&kept, p) < 0)
                return err_oom(e);
            up += streq(p, "..");
        }
    }
    clean = strv_join(&kept, "/");
    return clean ? err_set(e, ERR_INTERNAL, "\"%s\" is outside of \"%s\"", clean, u->how->dest) : err_oom(e);
}

/* Clean relative path of an entry. 1: it is the folder itself; ERR_INVALID when it climbs out. */
static int entry_path(const struct unpacker *u, const char *name, char **ret, struct err *e) {
    _cleanup_strv_ struct strv parts = STRV_INIT, kept = STRV_INIT;

    if (strv_split(&parts, name, '/') < 0)
        return err_oom(e);
    for (size_t i = 0; i < parts.n; i++) {
        const char *p = parts.v[i];

        if (streq(p, "..") && kept.n == 0) {
            if (name[0] == '/')
                continue;
            return outside(u, &parts, i, e);
        }
        if (streq(p, ".."))
            strv_remove_at(&kept, kept.n - 1);
        else if (*p && !streq(p, ".") && strv_add(&kept, p) < 0)
            return err_oom(e);
    }
    *ret = kept.n ? strv_join(&kept, "/") : strdup(".");
    return *ret ? kept.n == 0 : err_oom(e);
}

/* errno after `call` on an entry, in the words of the reference, which names the whole path; what is not there is so for the whole request. */
static int failed(const struct unpacker *u, const char *call, const char *path, struct err *e) {
    const char *dest = u->how->dest && !streq(u->how->dest, "/") ? u->how->dest : "";
    int why = errno;

    if (why == ENOENT)
        return err_set(e, ERR_NOT_FOUND, "%s %s/%s: no such file or directory", call, dest, path);
    return err_errno(e, why, "%s %s/%s", call, dest, path);
}

/* The same of a call with something before the path. */
static int failed_pair(const struct unpacker *u, const char *call, const char *first, const char *path, struct err *e) {
    int why = errno;
    _cleanup_free_ char *both = str_printf("%s %s", call, first);

    errno = why;
    return both ? failed(u, both, path, e) : err_oom(e);
}

int files_make_parents(const struct idmap *ids, const char *path, struct err *e) {
    _cleanup_free_ char *copy = strdup(path);

    if (!copy)
        return err_oom(e);
    for (char *s = strchr(copy, '/'); s; s = strchr(s + 1, '/')) {
        *s = 0;
        if (mkdirat(AT_FDCWD, copy, 0755) == 0) {
            if (ids && fchownat(AT_FDCWD, copy, ids->root_uid, ids->root_gid, AT_SYMLINK_NOFOLLOW) < 0)
                return err_errno(e, errno, "lchown %s", copy);
        } else if (errno != EEXIST) {
            return err_errno(e, errno, "mkdir %s", copy);
        }
        *s = '/';
    }
    return 0;
}

/* A descriptor is what a file without a name lives on by. */
static void keep_alive(struct unpacker *u, const char *path, const struct stat *st) {
    int fd;

    if (!u->how->ends_soon || u->n_kept == KEEP_MAX || !S_ISREG(st->st_mode) || st->st_nlink != 1 || st->st_blocks * 512 < (int64_t)KEEP_BYTES)
        return;
    fd = openat(AT_FDCWD, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        u->kept[u->n_kept++] = fd;
}

/* After a failure for want of space: is there some now? */
static bool gave_back(struct unpacker *u, int why) {
    bool any = (why == ENOSPC || why == EDQUOT) && u->n_kept > 0;

    while (any && u->n_kept > 0)
        close_fd(u->kept[--u->n_kept]);
    return any;
}

/* 1: the folder that is there stays. */
static int make_room(struct unpacker *u, const struct tar_entry *t, const char *path, struct err *e) {
    struct stat st;
    bool dir = t->type == TAR_DIR;
    int r;

    if (fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    if (u->how->keep_kind && S_ISDIR(st.st_mode) != dir)
        return err_set(e, ERR_INTERNAL, "cannot overwrite %s \"%s/%s\" with %s \"%s\"", dir ? "non-directory" : "directory",
                       streq(u->how->dest, "/") ? "" : u->how->dest, path, dir ? "directory" : "non-directory", u->how->dest);
    if (S_ISDIR(st.st_mode) && dir)
        return 1;
    keep_alive(u, path, &st);
    r = fs_remove_tree_at(AT_FDCWD, path, e);
    return r < 0 ? r : 0;
}

static int write_file(struct unpacker *u, const struct tar_entry *t, const char *path, struct err *e) {
    _cleanup_close_ int fd = openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    size_t segment = 0;
    int64_t at = t->sparse && t->n_segments ? t->segments[0].offset : 0, left = t->sparse && t->n_segments ? t->segments[0].length : t->size;

    if (fd < 0)
        return failed(u, "open", path, e);
    for (;;) {
        const unsigned char *p;
        int64_t n = tar_reader_data(u->r, &p, e);

        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        while (n > 0) {
            ssize_t k;

            while (left == 0 && t->sparse && segment + 1 < t->n_segments) {
                segment++;
                at = t->segments[segment].offset;
                left = t->segments[segment].length;
            }
            if (left == 0)
                return err_set(e, ERR_INTERNAL, "archive/tar: invalid tar header");
            k = pwrite(fd, p, (size_t)MIN(n, left), at);
            if (k < 0 && (errno == EINTR || gave_back(u, errno)))
                continue;
            if (k < 0)
                return failed(u, "write", path, e);
            p += k;
            n -= k;
            at += k;
            left -= k;
        }
    }
    return t->sparse && ftruncate(fd, t->size) < 0 ? failed(u, "truncate", path, e) : 0;
}

static int make_link(const struct unpacker *u, const struct tar_entry *t, const char *path, struct err *e) {
    _cleanup_free_ char *target = NULL, *whole = NULL;
    int r = entry_path(u, t->link, &target, NULL);

    if (r < 0) {
        _cleanup_free_ char *joined = str_printf("%s/%s", u->how->dest, t->link);

        whole = joined ? files_absolute(joined) : NULL;
        return err_set(e, ERR_INTERNAL, "invalid hardlink \"%s\" -> \"%s\"", whole ? whole : t->link, t->link);
    }
    if (linkat(AT_FDCWD, target, AT_FDCWD, path, 0) == 0)
        return 0;
    whole = str_printf("%s/%s", streq(u->how->dest, "/") ? "" : u->how->dest, target);
    return whole ? failed_pair(u, "link", whole, path, e) : err_oom(e);
}

static int make_symlink(const struct unpacker *u, const struct tar_entry *t, const char *path, struct err *e) {
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *joined = str_printf("%.*s/%s", slash ? (int)(slash - path) : 0, path, t->link), *clean = NULL;

    if (!joined)
        return err_oom(e);
    /* A link that climbs out of the folder is refused, though it could not be followed out of the container anyway. */
    if (!u->how->exact && entry_path(u, joined + strspn(joined, "/"), &clean, NULL) < 0)
        return err_set(e, ERR_INTERNAL, "invalid symlink \"%s/%s\" -> \"%s\"", streq(u->how->dest, "/") ? "" : u->how->dest, path, t->link);
    return symlinkat(t->link, AT_FDCWD, path) < 0 ? failed_pair(u, "symlink", t->link, path, e) : 0;
}

static int make_node(const struct unpacker *u, const struct tar_entry *t, const char *path, struct err *e) {
    mode_t kind = t->type == TAR_CHAR ? S_IFCHR : t->type == TAR_BLOCK ? S_IFBLK : S_IFIFO;
    dev_t dev = t->type == TAR_FIFO ? 0 : makedev((unsigned)t->dev_major, (unsigned)t->dev_minor);

    return mknodat(AT_FDCWD, path, kind | 0600, dev) < 0 ? failed(u, "mknod", path, e) : 0;
}

/* Access lists that a new file has from its folder. */
static void drop_inherited(const char *path) {
    ignore_result(lremovexattr(path, "system.posix_acl_access") < 0);
    ignore_result(lremovexattr(path, "system.posix_acl_default") < 0);
}

static int set_xattrs(const struct unpacker *u, const struct tar_entry *t, const char *path, struct err *e) {
    bool exact = u->how->exact;
    char own[IDMAP_CAP_MAX];

    if (exact && t->type != TAR_SYMLINK)
        drop_inherited(path);
    for (size_t i = 0; i < t->n_xattrs; i++) {
        const char *name = t->xattr_text + t->xattrs[i].name, *value = t->xattr_text + t->xattrs[i].value;
        size_t n = t->xattrs[i].value_len;

        if (str_has_prefix(name, "trusted.overlay.") || str_has_prefix(name, "user.overlay."))
            continue;
        if (u->how->ids && streq(name, "security.capability")) {
            n = idmap_cap_out(u->how->ids, value, n, own);
            value = own;
        }
        if (lsetxattr(path, name, value, n, 0) < 0 && (exact || (errno != EOPNOTSUPP && errno != EPERM)))
            return failed_pair(u, "lsetxattr", name, path, e);
    }
    return 0;
}

static int remember(struct unpacker *u, const char *path, const struct timespec at[2], struct err *e) {
    struct late *l;

    if (u->n_late == u->cap_late) {
        size_t cap = u->cap_late ? u->cap_late * 2 : 64;
        struct late *v = reallocarray(u->late, cap, sizeof *v);

        if (!v)
            return err_oom(e);
        u->late = v;
        u->cap_late = cap;
    }
    l = &u->late[u->n_late];
    *l = (struct late){.path = strdup(path), .at = {at[0], at[1]}};
    if (!l->path)
        return err_oom(e);
    u->n_late++;
    return 0;
}

/* Whose the entry becomes. */
static int find_owners(const struct unpacker *u, const struct tar_entry *t, uid_t *ret_uid, gid_t *ret_gid, struct err *e) {
    const struct idmap *ids = u->how->ids;
    int64_t uid = u->how->chown ? u->how->uid : t->uid, gid = u->how->chown ? u->how->gid : t->gid;

    *ret_uid = (uid_t)uid;
    *ret_gid = (gid_t)gid;
    if (ids && (uid < 0 || uid > UINT32_MAX || !id_list_out(&ids->uids, (uint32_t)uid, ret_uid)))
        return err_set(e, ERR_INTERNAL, "Container ID %lld cannot be mapped to a host ID", (long long)uid);
    if (ids && (gid < 0 || gid > UINT32_MAX || !id_list_out(&ids->gids, (uint32_t)gid, ret_gid)))
        return err_set(e, ERR_INTERNAL, "Container ID %lld cannot be mapped to a host ID", (long long)gid);
    return 0;
}

static int finish_entry(struct unpacker *u, uid_t uid, gid_t gid, const struct tar_entry *t, const char *path, struct err *e) {
    struct timespec mtime = {t->mtime_sec, (long)t->mtime_nsec},
                    at[2] = {t->has_atime ? (struct timespec){t->atime_sec, (long)t->atime_nsec} : mtime, mtime};
    int r;

    if (t->type == TAR_HARDLINK)
        return 0;
    if (fchownat(AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
        return failed(u, "lchown", path, e);
    r = set_xattrs(u, t, path, e);
    if (r < 0)
        return r;
    if (t->type != TAR_SYMLINK && fchmodat(AT_FDCWD, path, t->mode & 07777, 0) < 0)
        return failed(u, "chmod", path, e);
    if (t->type == TAR_DIR)
        return remember(u, path, at, e);
    return utimensat(AT_FDCWD, path, at, AT_SYMLINK_NOFOLLOW) < 0 ? failed(u, "utimes", path, e) : 0;
}

static int place(struct unpacker *u, const struct tar_entry *t, struct err *e) {
    _cleanup_free_ char *path = NULL;
    uid_t uid;
    gid_t gid;
    int r;

    if (t->type == TAR_GLOBAL)
        return 0;
    r = entry_path(u, t->name, &path, e);
    if (r > 0 && u->how->keep_kind && t->type != TAR_DIR)
        return err_set(e, ERR_INTERNAL, "cannot overwrite directory \"%s\" with non-directory \"%s\"", u->how->dest, u->how->dest);
    if (r != 0)
        return r < 0 ? r : 0; /* the folder itself stays as it is */
    r = find_owners(u, t, &uid, &gid, e);
    if (r >= 0)
        r = files_make_parents(u->how->ids, path, e);
    if (r >= 0)
        r = make_room(u, t, path, e);
    if (r < 0)
        return r;
    switch (t->type) {
    case TAR_DIR:
        r = r == 1 ? 0 : mkdirat(AT_FDCWD, path, 0700) < 0 ? failed(u, "mkdir", path, e) : 0;
        break;
    case TAR_FILE:
        r = write_file(u, t, path, e);
        break;
    case TAR_HARDLINK:
        r = make_link(u, t, path, e);
        break;
    case TAR_SYMLINK:
        r = make_symlink(u, t, path, e);
        break;
    case TAR_CHAR:
    case TAR_BLOCK:
    case TAR_FIFO:
        r = make_node(u, t, path, e);
        break;
    default:
        return err_set(e, ERR_INTERNAL, "unhandled tar header type %d", t->type_flag);
    }
    return r < 0 ? r : finish_entry(u, uid, gid, t, path, e);
}

int files_unpack(struct tar_reader *reader, const struct files_unpack *how, struct err *e) {
    struct unpacker u = {.r = reader, .how = how};
    const struct tar_entry *t;
    int r;

    while ((r = tar_reader_next(reader, &t, e)) > 0) {
        if (++u.entries > LIMIT_ARCHIVE_ENTRIES)
            r = err_set(e, ERR_TOO_LARGE, "too many entries in the archive");
        else
            r = place(&u, t, e);
        if (r < 0)
            break;
    }
    for (size_t i = u.n_late; i-- > 0;) {
        if (r >= 0 && utimensat(AT_FDCWD, u.late[i].path, u.late[i].at, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
            r = failed(&u, "utimes", u.late[i].path, e);
        free(u.late[i].path);
    }
    free(u.late);
    return r;
}

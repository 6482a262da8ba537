// SPDX-License-Identifier: Apache-2.0
/* Files to a tar stream: ustar with pax records where ustar has no room, as clients get it from the reference. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/str.h"
#include "base/strv.h"
#include "container/files-holes.h"
#include "container/files.h"

#define BLOCK 512
#define READ_SIZE KIB(256)
#define PASS_MIN (64 << 10) /* what is less is gathered into larger pieces */
#define NAMES_MAX 1000000
#define DEPTH_MAX 2000
#define OCTAL_7 INT64_C(07777777)
#define OCTAL_11 INT64_C(077777777777)
#define LINKS_MAX 1000000

struct packer {
    const struct files_sink *to;
    struct map links; /* device and inode → name in the archive */
    char *buffer;
    const char *base, *as;
    const struct idmap *ids; /* or NULL */
    bool layer;              /* what was changed, in the form of a layer */
    bool exact;              /* nothing that a file has is left out: attributes, holes, parts of seconds */
    int below;               /* -EBADF, or the folder that it was changed from */
    struct strv pending;     /* folders on the way that are as before: written once something in them is not */
};

static void put_octal(char *at, int width, int64_t v) {
    for (int i = width - 2; i >= 0; i--, v >>= 3)
        at[i] = (char)('0' + (v & 7));
    at[width - 1] = 0;
}

static void put_text(char *at, size_t width, const char *s) {
    memcpy(at, s, MIN(strlen(s), width));
}

static int send_block(struct packer *p, char h[BLOCK], struct err *e) {
    unsigned sum = 0;

    memset(h + 148, ' ', 8);
    memcpy(h + 257, "ustar\00000", 8);
    for (size_t i = 0; i < BLOCK; i++)
        sum += (unsigned char)h[i];
    put_octal(h + 148, 7, sum);
    return p->to->put(p->to->arg, h, BLOCK, e);
}

static int send_padding(struct packer *p, int64_t size, struct err *e) {
    static const char zeros[BLOCK];
    size_t rest = (size_t)(size % BLOCK);

    return rest ? p->to->put(p->to->arg, zeros, BLOCK - rest, e) : 0;
}

/* "LEN key=value\n", where LEN counts itself. */
static void add_record(struct buf *b, const char *key, const char *value, size_t n) {
    size_t rest = strlen(key) + n + 3, len = rest + 1;
    char number[24];

    while ((size_t)snprintf(number, sizeof number, "%zu", len) + rest != len)
        len = rest + strlen(number);
    buf_addf(b, "%s %s=", number, key);
    buf_add(b, value, n);
    buf_addc(b, '\n');
}

static void add_number_record(struct buf *b, const char *key, int64_t v, int64_t max) {
    char text[24];

    if (v >= 0 && v <= max)
        return;
    snprintf(text, sizeof text, "%lld", (long long)v);
    add_record(b, key, text, strlen(text));
}

static bool is_plain(const char *s, size_t max) {
    size_t n = 0;

    for (; s[n]; n++)
        if ((unsigned char)s[n] >= 0x80)
            return false;
    return n <= max;
}

static void add_text_record(struct buf *b, const char *key, const char *s) {
    if (!is_plain(s, 100))
        add_record(b, key, s, strlen(s));
}

static int send_records(struct packer *p, const struct buf *b, const char *name, struct err *e) {
    char h[BLOCK] = {0};
    const char *slash = strrchr(name, '/');
    _cleanup_free_ char *own = slash ? str_printf("%.*s/PaxHeaders.0/%s", (int)(slash - name), name, slash + 1) : str_printf("PaxHeaders.0/%s", name);
    int r = own ? buf_check(b, e) : err_oom(e);

    if (r < 0 || b->len == 0)
        return r;
    put_text(h, 100, own);
    put_octal(h + 100, 8, 0);
    put_octal(h + 108, 8, 0);
    put_octal(h + 116, 8, 0);
    put_octal(h + 124, 12, (int64_t)b->len);
    put_octal(h + 136, 12, 0);
    h[156] = 'x';
    put_octal(h + 329, 8, 0);
    put_octal(h + 337, 8, 0);
    r = send_block(p, h, e);
    if (r >= 0)
        r = p->to->put(p->to->arg, b->data, b->len, e);
    return r < 0 ? r : send_padding(p, (int64_t)b->len, e);
}

static int send_pending(struct packer *p, struct err *e);

/* The owners as they are called inside; false when they are nobody there. */
static bool call_owners(const struct packer *p, struct stat *st) {
    uint32_t uid, gid;

    if (!p->ids)
        return true;
    if (!id_list_in(&p->ids->uids, st->st_uid, &uid) || !id_list_in(&p->ids->gids, st->st_gid, &gid))
        return false;
    st->st_uid = uid;
    st->st_gid = gid;
    return true;
}

/* All attributes that are not the business of an overlay below. */
static int add_attributes(struct buf *b, const char *path, struct err *e) {
    _cleanup_free_ char *names = malloc(XATTR_LIST_MAX), *value = malloc(XATTR_SIZE_MAX);
    ssize_t len = names && value ? llistxattr(path, names, XATTR_LIST_MAX) : -1;

    if (!names || !value)
        return err_oom(e);
    if (len < 0)
        return errno == EOPNOTSUPP ? 0 : err_errno(e, errno, "listxattr %s", path);
    for (const char *name = names; name < names + len; name += strlen(name) + 1) {
        char key[XATTR_NAME_MAX + 16];
        ssize_t n;

        if (str_has_prefix(name, "trusted.overlay."))
            continue;
        n = lgetxattr(path, name, value, XATTR_SIZE_MAX);
        if (n < 0 && errno == ENODATA)
            continue;
        if (n < 0)
            return err_errno(e, errno, "getxattr %s of %s", name, path);
        snprintf(key, sizeof key, "SCHILY.xattr.%s", name);
        add_record(b, key, value, (size_t)n);
    }
    return 0;
}

static void add_capability(struct buf *b, const struct idmap *ids, const char *path) {
    char capability[256], inside[IDMAP_CAP_MAX];
    ssize_t n = lgetxattr(path, "security.capability", capability, sizeof capability);

    if (n > 0 && ids)
        add_record(b, "SCHILY.xattr.security.capability", inside, idmap_cap_in(ids, capability, (size_t)n, inside));
    else if (n > 0)
        add_record(b, "SCHILY.xattr.security.capability", capability, (size_t)n);
}

static void add_time_record(struct buf *b, const struct timespec *t, bool exact) {
    char text[48];

    if (exact && t->tv_sec >= 0 && t->tv_nsec > 0) {
        snprintf(text, sizeof text, "%lld.%09ld", (long long)t->tv_sec, t->tv_nsec);
        add_record(b, "mtime", text, strlen(text));
    } else {
        add_number_record(b, "mtime", t->tv_sec, OCTAL_11);
    }
}

/* GNU tar manual, "Storing Sparse Files", PAX format version 1.0. */
static void add_sparse_records(struct buf *b, const char *name, int64_t real_size) {
    char text[24];

    snprintf(text, sizeof text, "%lld", (long long)real_size);
    add_record(b, "GNU.sparse.major", "1", 1);
    add_record(b, "GNU.sparse.minor", "0", 1);
    add_record(b, "GNU.sparse.name", name, strlen(name));
    add_record(b, "GNU.sparse.realsize", text, strlen(text));
}

/* real_size: that of a sparse file, whose size here is what the archive holds of it; -1 for all others. */
static int send_header_of(struct packer *p, const char *name, const char *link, const struct stat *st, char type, int64_t size, int64_t real_size,
                          const char *path, struct err *e) {
    _cleanup_buf_ struct buf records = BUF_INIT(LIMIT_ARCHIVE_EXT_HEADER);
    char h[BLOCK] = {0};
    int64_t mtime = st->st_mtim.tv_sec;
    int r = send_pending(p, e);

    if (r >= 0 && real_size >= 0)
        add_sparse_records(&records, name, real_size);
    if (r >= 0 && p->exact && type != '1')
        r = add_attributes(&records, path, e);
    else if (r >= 0 && type == '0')
        add_capability(&records, p->ids, path);
    if (r < 0)
        return r;
    add_number_record(&records, "gid", st->st_gid, OCTAL_7);
    add_text_record(&records, "linkpath", link);
    add_time_record(&records, &st->st_mtim, p->exact);
    add_text_record(&records, "path", name);
    add_number_record(&records, "size", size, OCTAL_11);
    add_number_record(&records, "uid", st->st_uid, OCTAL_7);
    r = send_records(p, &records, name, e);
    if (r < 0)
        return r;
    put_text(h, 100, name);
    put_octal(h + 100, 8, st->st_mode & 07777);
    put_octal(h + 108, 8, st->st_uid <= OCTAL_7 ? st->st_uid : 0);
    put_octal(h + 116, 8, st->st_gid <= OCTAL_7 ? st->st_gid : 0);
    put_octal(h + 124, 12, size <= OCTAL_11 ? size : 0);
    put_octal(h + 136, 12, mtime >= 0 && mtime <= OCTAL_11 ? mtime : 0);
    h[156] = type;
    put_text(h + 157, 100, link);
    put_octal(h + 329, 8, type == '3' || type == '4' ? (int64_t)major(st->st_rdev) : 0);
    put_octal(h + 337, 8, type == '3' || type == '4' ? (int64_t)minor(st->st_rdev) : 0);
    return send_block(p, h, e);
}

static int send_header(struct packer *p, const char *name, const char *link, const struct stat *st, char type, int64_t size, const char *path,
                       struct err *e) {
    return send_header_of(p, name, link, st, type, size, -1, path, e);
}

/* The next `length` bytes of a file; what it lost meanwhile is filled up with zeros. */
static int send_bytes(struct packer *p, int fd, int64_t length, const char *path, struct err *e) {
    int64_t left = length, passed;
    int r = 0;

    while (p->to->pass && left >= PASS_MIN) {
        passed = p->to->pass(p->to->arg, fd, left, e);
        if (passed < 0)
            return (int)passed;
        left -= passed;
    }
    while (r >= 0 && left > 0) {
        ssize_t n = read(fd, p->buffer, (size_t)MIN(left, (int64_t)READ_SIZE));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, errno, "read %s", path);
        if (n == 0) {
            n = (ssize_t)MIN(left, (int64_t)READ_SIZE);
            memset(p->buffer, 0, (size_t)n);
        }
        r = p->to->put(p->to->arg, p->buffer, (size_t)n, e);
        left -= n;
    }
    return r;
}

/* The file as a map of where there is data, and that data. */
static int send_sparse(struct packer *p, int fd, const struct files_holes *holes, const char *path, const char *name, const struct stat *st,
                       struct err *e) {
    _cleanup_buf_ struct buf map = BUF_INIT(FILES_HOLES_TEXT_MAX);
    int64_t data = 0;
    int r;

    buf_addf(&map, "%zu\n", holes->n);
    for (size_t i = 0; i < holes->n; i++) {
        buf_addf(&map, "%lld\n%lld\n", (long long)holes->v[i].offset, (long long)holes->v[i].length);
        data += holes->v[i].length;
    }
    while (buf_ok(&map) && map.len % BLOCK)
        buf_addc(&map, 0);
    r = buf_check(&map, e);
    if (r >= 0)
        r = send_header_of(p, name, "", st, '0', (int64_t)map.len + data, st->st_size, path, e);
    if (r >= 0)
        r = p->to->put(p->to->arg, map.data, map.len, e);
    for (size_t i = 0; r >= 0 && i < holes->n; i++) {
        if (lseek(fd, holes->v[i].offset, SEEK_SET) < 0)
            return err_errno(e, errno, "seek %s", path);
        r = send_bytes(p, fd, holes->v[i].length, path, e);
    }
    return r < 0 ? r : send_padding(p, data, e);
}

static int send_file(struct packer *p, const char *path, const char *name, const struct stat *seen, struct err *e) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;
    int r;

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, errno, "open %s", path);
    if (!S_ISREG(st.st_mode) || !call_owners(p, &st))
        return 0; /* replaced meanwhile, or given away */
    if (p->exact) {
        _cleanup_(files_holes_done) struct files_holes holes = {0};

        r = files_holes_read(fd, &st, &holes, e);
        if (r != 0)
            return r < 0 ? r : send_sparse(p, fd, &holes, path, name, &st, e);
    }
    r = send_header(p, name, "", &st, '0', st.st_size, path, e);
    if (r >= 0)
        r = send_bytes(p, fd, st.st_size, path, e);
    return r < 0 ? r : send_padding(p, st.st_size, e);
}

/* 1: this inode is in the archive already, and a link to it was written. */
static int send_as_link(struct packer *p, const char *name, const struct stat *st, struct err *e) {
    char key[64];
    const char *first;
    char *copy;
    int r;

    if (S_ISDIR(st->st_mode) || st->st_nlink < 2 || p->links.n >= LINKS_MAX)
        return 0;
    snprintf(key, sizeof key, "%llx:%llx", (unsigned long long)st->st_dev, (unsigned long long)st->st_ino);
    first = map_get(&p->links, key);
    if (first) {
        r = send_header(p, name, first, st, '1', 0, "", e);
        return r < 0 ? r : 1;
    }
    copy = strdup(name);
    if (!copy || map_set(&p->links, key, copy, NULL) < 0) {
        free(copy);
        return err_oom(e);
    }
    return 0;
}

/* Path in the working directory → name in the archive. */
static char *archive_name(const struct packer *p, const char *path, bool dir) {
    const char *rest = streq(p->base, ".") ? (streq(path, ".") ? "" : path) : path + strlen(p->base);
    const char *slash = *rest && *rest != '/' && (*p->as || streq(p->as, "/")) ? "/" : "";

    if (streq(p->as, "/"))
        return str_printf("/%s%s", rest, dir && *rest ? "/" : "");
    return str_printf("%s%s%s%s", p->as, slash, rest, dir ? "/" : "");
}

static int list_folder(int at, const char *path, struct strv *ret, struct err *e) {
    int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_closedir_ DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *d;

    if (!dir && errno == ENOENT)
        return 0;
    if (!dir)
        return err_errno(e, errno, "open %s", path);
    while ((d = readdir(dir))) {
        if (streq(d->d_name, ".") || streq(d->d_name, ".."))
            continue;
        if (ret->n >= NAMES_MAX)
            return err_set(e, ERR_TOO_LARGE, "too many files in %s", path);
        if (strv_add(ret, d->d_name) < 0)
            return err_oom(e);
    }
    strv_sort(ret);
    return 0;
}

static int pack(struct packer *p, const char *path, int depth, struct err *e);

/* ---- layers --------------------------------------------------------------------------------------------------------------------------------- */

static int send_pending(struct packer *p, struct err *e) {
    _cleanup_strv_ struct strv folders = p->pending;
    int r = 0;

    p->pending = STRV_INIT;
    for (size_t i = 0; r >= 0 && i < folders.n; i++) {
        _cleanup_free_ char *name = archive_name(p, folders.v[i], true);
        struct stat st;

        if (!name)
            return err_oom(e);
        if (fstatat(AT_FDCWD, folders.v[i], &st, AT_SYMLINK_NOFOLLOW) == 0 && call_owners(p, &st))
            r = send_header(p, name, "", &st, '5', 0, folders.v[i], e);
    }
    return r;
}

/* An empty file whose name says what is gone (OCI image-spec, layer.md, "Whiteouts"): `mark` stands before the last part of path. */
static int send_mark(struct packer *p, const char *path, const char *mark, const struct stat *like, struct err *e) {
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *name = slash ? str_printf("%.*s/%s%s", (int)(slash - path), path, mark, slash + 1) : str_printf("%s%s", mark, path);
    struct stat st = *like;

    st.st_mode = S_IFREG | 0600;
    return name ? send_header(p, name, "", &st, '0', 0, "", e) : err_oom(e);
}

/* Overlayfs hides what is below a folder with this attribute. Source: Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories". */
static int send_opaque(struct packer *p, const char *path, const struct stat *st, struct err *e) {
    static const char *const names[] = {"trusted.overlay.opaque", "user.overlay.opaque"};
    _cleanup_free_ char *inside = str_printf("%s/.wh..opq", path);
    char v = 0;

    if (!inside)
        return err_oom(e);
    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        if (lgetxattr(path, names[i], &v, 1) == 1 && v == 'y')
            return send_mark(p, inside, ".wh.", st, e);
    return 0;
}

static bool is_same(const struct stat *a, const struct stat *b) {
    bool owner = a->st_mode == b->st_mode && a->st_uid == b->st_uid && a->st_gid == b->st_gid && a->st_rdev == b->st_rdev;

    return owner &&
           (S_ISDIR(a->st_mode) || (a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec));
}

/* Compared with the folder below: 1: as before, nothing to write. A folder's own entry waits for the first change in it. */
static int compare(struct packer *p, const char *path, const struct stat *st, struct err *e) {
    struct stat was;

    if (p->below < 0 || fstatat(p->below, path, &was, AT_SYMLINK_NOFOLLOW) < 0 || !is_same(st, &was))
        return 0;
    if (S_ISDIR(st->st_mode) && !streq(path, ".") && strv_add(&p->pending, path) < 0)
        return err_oom(e);
    return 1;
}

/* Names that the folder below has and this one has no more. */
static int send_gone(struct packer *p, const char *path, const struct stat *st, struct err *e) {
    _cleanup_strv_ struct strv names = STRV_INIT;
    struct stat was, now;
    int r;

    if (fstatat(p->below, path, &was, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(was.st_mode))
        return 0;
    r = list_folder(p->below, path, &names, e);
    for (size_t i = 0; r >= 0 && i < names.n; i++) {
        _cleanup_free_ char *sub = streq(path, ".") ? strdup(names.v[i]) : str_printf("%s/%s", path, names.v[i]);

        if (!sub)
            return err_oom(e);
        if (fstatat(AT_FDCWD, sub, &now, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
            r = send_mark(p, sub, ".wh.", st, e);
    }
    return r;
}

static int pack_children(struct packer *p, const char *path, int depth, struct err *e) {
    _cleanup_strv_ struct strv names = STRV_INIT;
    int r = depth > DEPTH_MAX ? err_set(e, ERR_TOO_LARGE, "folders too deep: %s", path) : list_folder(AT_FDCWD, path, &names, e);

    for (size_t i = 0; r >= 0 && i < names.n; i++) {
        _cleanup_free_ char *sub = streq(path, ".") ? strdup(names.v[i]) : str_printf("%s/%s", path, names.v[i]);

        r = sub ? pack(p, sub, depth + 1, e) : err_oom(e);
    }
    return r;
}

static int pack_folder(struct packer *p, const char *path, const char *name, const struct stat *st, int depth, bool same, struct err *e) {
    bool shown = !same && *name && !streq(name, "/./") && !(streq(p->base, ".") && !*p->as && depth == 0);
    int r = shown ? send_header(p, name, "", st, '5', 0, path, e) : 0;

    if (r >= 0 && p->layer)
        r = send_opaque(p, path, st, e);
    if (r >= 0)
        r = pack_children(p, path, depth, e);
    if (r >= 0 && p->below >= 0)
        r = send_gone(p, path, st, e);
    /* Still the last one that waits: nothing in it was written. */
    if (p->pending.n > 0 && streq(p->pending.v[p->pending.n - 1], path))
        strv_remove_at(&p->pending, p->pending.n - 1);
    return r;
}

/* Its buffer must not be on the stack of pack(), which is there once for each level. */
static __attribute__((noinline)) int send_symlink(struct packer *p, const char *path, const char *name, const struct stat *st, struct err *e) {
    char target[LIMIT_ARCHIVE_LINK + 1];
    ssize_t n = readlinkat(AT_FDCWD, path, target, sizeof target - 1);

    if (n < 0)
        return err_errno(e, errno, "readlink %s", path);
    target[n] = 0;
    return send_header(p, name, target, st, '2', 0, path, e);
}

static int pack(struct packer *p, const char *path, int depth, struct err *e) {
    _cleanup_free_ char *name = NULL;
    struct stat st;
    int r, same;

    if (fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT && depth > 0 ? 0 : err_errno(e, errno, "lstat %s", path);
    if (S_ISSOCK(st.st_mode))
        return 0;
    if (p->layer && S_ISCHR(st.st_mode) && st.st_rdev == 0)
        return send_mark(p, path, ".wh.", &st, e);
    name = archive_name(p, path, S_ISDIR(st.st_mode));
    if (!name)
        return err_oom(e);
    same = compare(p, path, &st, e);
    if (same < 0 || (same && !S_ISDIR(st.st_mode)))
        return same < 0 ? same : 0;
    if (!call_owners(p, &st)) /* what is in a folder is looked at all the same */
        return S_ISDIR(st.st_mode) ? pack_folder(p, path, name, &st, depth, true, e) : 0;
    r = send_as_link(p, name, &st, e);
    if (r != 0)
        return r < 0 ? r : 0;
    switch (st.st_mode & S_IFMT) {
    case S_IFREG:
        return send_file(p, path, name, &st, e);
    case S_IFDIR:
        return pack_folder(p, path, name, &st, depth, same, e);
    case S_IFLNK:
        return send_symlink(p, path, name, &st, e);
    case S_IFCHR:
        return send_header(p, name, "", &st, '3', 0, path, e);
    case S_IFBLK:
        return send_header(p, name, "", &st, '4', 0, path, e);
    default:
        return send_header(p, name, "", &st, '6', 0, path, e);
    }
}

static int pack_all(struct packer *p, struct err *e) {
    static const char end[2 * BLOCK];
    int r;

    p->buffer = malloc(READ_SIZE);
    r = p->buffer ? pack(p, p->base, 0, e) : err_oom(e);
    if (r >= 0)
        r = p->to->put(p->to->arg, end, sizeof end, e);
    map_done_with(&p->links, free);
    strv_done(&p->pending);
    free(p->buffer);
    return r;
}

int files_pack(const char *base, const char *as, bool exact, const struct idmap *ids, const struct files_sink *sink, struct err *e) {
    struct packer p = {.to = sink, .base = base, .as = as, .exact = exact, .ids = ids, .below = -EBADF};

    return pack_all(&p, e);
}

int files_pack_layer(int below, const struct idmap *ids, const struct files_sink *sink, struct err *e) {
    struct packer p = {.to = sink, .base = ".", .as = "", .ids = ids, .layer = true, .below = below};

    return pack_all(&p, e);
}

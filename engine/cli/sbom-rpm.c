// SPDX-License-Identifier: Apache-2.0
/*
 * RPM's database: a table of headers in SQLite. Source: rpm's docs/manual/hregions.md and "Package format V4" (header structure); tags of rpmtag.h.
 * Sections: headers; the database.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "cli/sbom.h"

#define INDEX_MAX 65535 /* entries: rpm's own limit */
#define HEADER_MAX MIB(64)
#define STEPS_MAX 100000 /* of a thousand instructions of SQLite each: what a database can cost at most */

/* ---- headers --------------------------------------------------------------------------------------------------------------------------- */

enum {
    TAG_SHA256HEADER = 273,
    TAG_NAME = 1000,
    TAG_VERSION,
    TAG_RELEASE,
    TAG_EPOCH,
    TAG_VENDOR = 1011,
    TAG_LICENSE = 1014,
    TAG_PACKAGER,
    TAG_ARCH = 1022,
    TAG_SOURCERPM = 1044
};
enum { TYPE_INT32 = 4, TYPE_STRING = 6, TYPE_STRING_ARRAY = 8, TYPE_I18NSTRING = 9 };

static uint32_t be32_at(const unsigned char *p) {
    uint32_t v;

    memcpy(&v, p, sizeof v);
    return be32toh(v);
}

struct header {
    const unsigned char *index, *data;
    uint32_t n_index, n_data;
};

static const unsigned char *find(const struct header *h, uint32_t tag, uint32_t *ret_type, uint32_t *ret_offset) {
    for (uint32_t i = 0; i < h->n_index; i++) {
        const unsigned char *entry = h->index + (size_t)i * 16;

        if (be32_at(entry) != tag)
            continue;
        *ret_type = be32_at(entry + 4);
        *ret_offset = be32_at(entry + 8);
        return *ret_offset < h->n_data && be32_at(entry + 12) > 0 ? h->data + *ret_offset : NULL;
    }
    return NULL;
}

/* The text (of several the first) in fresh memory; NULL: it has none, or it does not end where it must. */
static char *text_of(const struct header *h, uint32_t tag) {
    uint32_t type, offset;
    const unsigned char *p = find(h, tag, &type, &offset);

    if (!p || (type != TYPE_STRING && type != TYPE_STRING_ARRAY && type != TYPE_I18NSTRING))
        return NULL;
    if (!memchr(p, 0, MIN((size_t)(h->n_data - offset), SBOM_LINE_MAX)))
        return NULL;
    return strdup((const char *)p);
}

static char *number_of(const struct header *h, uint32_t tag) {
    uint32_t type, offset;
    const unsigned char *p = find(h, tag, &type, &offset);

    return p && type == TYPE_INT32 && h->n_data - offset >= 4 ? str_printf("%u", be32_at(p)) : NULL;
}

int sbom_rpm_header(const void *blob, size_t n, struct sbom_package *ret, struct err *e) {
    const unsigned char *p = blob;
    struct header h;
    _cleanup_free_ char *version = NULL, *release = NULL;
    struct sbom_package one = {.type = "rpm"};

    if (n < 8)
        return err_set(e, ERR_INVALID, "a header of %zu bytes", n);
    h = (struct header){p + 8, NULL, be32_at(p), be32_at(p + 4)};
    if (h.n_index == 0 || h.n_index > INDEX_MAX || h.n_data > HEADER_MAX || 8 + (size_t)h.n_index * 16 + h.n_data > n)
        return err_set(e, ERR_INVALID, "a header that says it has %u entries and %u bytes of data, and has %zu bytes in all", h.n_index, h.n_data, n);
    h.data = h.index + (size_t)h.n_index * 16;
    one.name = text_of(&h, TAG_NAME);
    version = text_of(&h, TAG_VERSION);
    release = text_of(&h, TAG_RELEASE);
    if (!one.name || !version) {
        sbom_package_done(&one);
        return err_set(e, ERR_INVALID, "a header without a name or a version");
    }
    /* Keys of who signs packages are kept like packages. */
    if (streq(one.name, "gpg-pubkey")) {
        sbom_package_done(&one);
        return 0;
    }
    one.version = release ? str_printf("%s-%s", version, release) : TAKE_PTR(version);
    one.epoch = number_of(&h, TAG_EPOCH);
    one.arch = text_of(&h, TAG_ARCH);
    one.license = text_of(&h, TAG_LICENSE);
    one.upstream = text_of(&h, TAG_SOURCERPM);
    one.supplier = text_of(&h, TAG_VENDOR);
    if (str_empty(one.supplier)) {
        free(one.supplier);
        one.supplier = text_of(&h, TAG_PACKAGER);
    }
    one.sum = text_of(&h, TAG_SHA256HEADER);
    one.sum_kind = "SHA256";
    one.sum_of = "the package's header, as its database has it";
    *ret = one;
    return one.version ? 0 : err_oom(e);
}

/* ---- the database ------------------------------------------------------------------------------------------------------------------------ */

/* SQLite wants files with names: a folder of their own, for as long as it takes. */
static int put_file(const struct sbom_scan *s, const struct sbom_file *f, const char *to, struct err *e) {
    _cleanup_close_ int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    _cleanup_free_ char *block = malloc(KIB(64));
    int64_t at = 0;
    ssize_t n = 0;

    if (fd < 0)
        return err_errno(e, errno, "open %s", to);
    if (!block)
        return err_oom(e);
    while ((n = sbom_pread(s, f, block, KIB(64), at, e)) > 0) {
        int r = full_write(fd, block, (size_t)n);

        if (r < 0)
            return err_errno(e, r, "write %s", to);
        at += n;
    }
    return (int)n;
}

struct budget {
    int steps;
};

static int spend(void *arg) {
    return ++((struct budget *)arg)->steps > STEPS_MAX;
}

/* Nothing but reading the one table: a schema can hold views and triggers that call whatever there is. */
static int allow(void *arg, int action, const char *first, const char *second, const char *database, const char *inner) {
    if (action == SQLITE_SELECT)
        return SQLITE_OK;
    return action == SQLITE_READ && first && strcasecmp(first, "Packages") == 0 && !inner ? SQLITE_OK : SQLITE_DENY;
}

static int read_rows(struct sbom_scan *s, sqlite3 *db, const char *path, struct sbom_packages *p, struct err *e) {
    sqlite3_stmt *q = NULL;
    size_t odd = 0;
    int got = sqlite3_prepare_v2(db, "SELECT blob FROM Packages ORDER BY hnum", -1, &q, NULL), r = 0;

    while (r == 0 && q && (got = sqlite3_step(q)) == SQLITE_ROW) {
        struct sbom_package one = {0};
        _cleanup_err_ struct err why = ERR_INIT;

        r = sbom_rpm_header(sqlite3_column_blob(q, 0), (size_t)sqlite3_column_bytes(q, 0), &one, &why);
        if (r == -ERR_INVALID) {
            r = odd++ == 0 ? sbom_finding(s, e, "/%s holds %s: that package is missing here.", path, err_msg(&why)) : 0;
        } else if (r < 0) {
            r = err_move(e, &why);
        } else if (one.name) {
            one.source = strdup(path);
            r = one.source ? sbom_packages_add(p, &one, e) : err_oom(e);
        }
        sbom_package_done(&one);
    }
    sqlite3_finalize(q);
    if (r == 0 && got != SQLITE_DONE)
        r = sbom_finding(s, e, "/%s was not read to its end: %s. Its other packages are missing here.", path, sqlite3_errmsg(db));
    return r;
}

static int read_database(struct sbom_scan *s, const char *file, const char *path, struct sbom_packages *p, struct err *e) {
    struct budget budget = {0};
    sqlite3 *db = NULL;
    int r;

    if (sqlite3_open_v2(file, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW, NULL) != SQLITE_OK) {
        r = sbom_finding(s, e, "/%s was not read: %s. Its packages are missing here.", path, db ? sqlite3_errmsg(db) : "out of memory");
    } else {
        sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
        sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
        sqlite3_limit(db, SQLITE_LIMIT_LENGTH, (int)HEADER_MAX);
        sqlite3_limit(db, SQLITE_LIMIT_VDBE_OP, 100000);
        sqlite3_exec(db, "PRAGMA cell_size_check=ON; PRAGMA mmap_size=0", NULL, NULL, NULL);
        sqlite3_progress_handler(db, 1000, spend, &budget);
        sqlite3_set_authorizer(db, allow, NULL);
        r = read_rows(s, db, path, p, e);
    }
    sqlite3_close(db);
    return r;
}

int sbom_read_rpm(struct sbom_scan *s, const char *path, struct sbom_packages *p, struct err *e) {
    const char *tmp = getenv("TMPDIR");
    _cleanup_free_ char *folder = str_printf("%s/hatake-sbom-XXXXXX", str_empty(tmp) ? "/tmp" : tmp), *file = NULL, *wal = NULL,
                        *wal_path = str_printf("%s-wal", path);
    const struct sbom_file *pages;
    int r;

    if (!folder || !wal_path)
        return err_oom(e);
    if (!mkdtemp(folder))
        return err_errno(e, errno, "make the folder %s", folder);
    file = str_printf("%s/rpmdb.sqlite", folder);
    wal = str_printf("%s/rpmdb.sqlite-wal", folder);
    r = file && wal ? put_file(s, sbom_look(s, path), file, e) : err_oom(e);
    /* What was written last may stand in the log beside it. */
    pages = sbom_look(s, wal_path);
    if (r == 0 && pages && !pages->unreadable)
        r = put_file(s, pages, wal, e);
    if (r == 0)
        r = read_database(s, file, path, p, e);
    if (r == 0 && strv_add(&p->sources, path) < 0)
        r = err_oom(e);
    ignore_result(fs_remove_tree(folder, NULL));
    return r;
}

// SPDX-License-Identifier: Apache-2.0
/* The image's archive. Sections: what matters; one layer; the archive around them; the view from the top. */
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/str.h"
#include "cli/sbom.h"

#define BLOCK KIB(64)
#define LAYERS_MAX 1024 /* entries of an archive that could be one */
#define DOCUMENT_MAX MIB(8)

/* ---- what matters ------------------------------------------------------------------------------------------------------------------ */

static const char *const wanted[] = {
    "etc/os-release",
    "usr/lib/os-release",
    "var/lib/dpkg/status",
    "lib/apk/db/installed",
    "usr/lib/apk/db/installed",
    "var/lib/rpm/rpmdb.sqlite",
    "var/lib/rpm/rpmdb.sqlite-wal",
    "var/lib/rpm/Packages",
    "var/lib/rpm/Packages.db",
    "usr/lib/sysimage/rpm/rpmdb.sqlite",
    "usr/lib/sysimage/rpm/rpmdb.sqlite-wal",
    "usr/lib/sysimage/rpm/Packages",
    "usr/lib/sysimage/rpm/Packages.db",
};
#define STATUS_D "var/lib/dpkg/status.d"

static bool is_wanted(const char *path) {
    const char *name = str_after(path, STATUS_D "/");

    if (name)
        return *name && !strchr(name, '/') && !str_has_suffix(name, ".md5sums");
    for (size_t i = 0; i < ELEMENTSOF(wanted); i++)
        if (streq(path, wanted[i]))
            return true;
    return false;
}

/* A folder above what is wanted, or the folder of status.d itself. */
static bool is_above(const char *path) {
    size_t n = strlen(path);

    if (strncmp(STATUS_D, path, n) == 0 && (STATUS_D[n] == '/' || !STATUS_D[n]))
        return true;
    for (size_t i = 0; i < ELEMENTSOF(wanted); i++)
        if (strncmp(wanted[i], path, n) == 0 && wanted[i][n] == '/')
            return true;
    return false;
}

/* The layers below show nothing at this path or below it. "": the root. */
static int hide(struct sbom_layer *l, const char *path, struct err *e) {
    if (*path && !is_wanted(path) && !is_above(path))
        return 0;
    return map_set(&l->hides, path, l, NULL) < 0 ? err_oom(e) : 0;
}

/* ---- one layer --------------------------------------------------------------------------------------------------------------------- */

static void file_free(void *p) {
    struct sbom_file *f = p;

    free(f->path);
    free(f);
}

static struct sbom_layer *layer_free(struct sbom_layer *l) {
    if (!l)
        return NULL;
    free(l->name);
    map_done_with(&l->files, file_free);
    map_done(&l->hides);
    free(l);
    return NULL;
}

/* Without "./" and "/" in front and "/" behind; NULL: it climbs, or is the root. */
static char *plain_path(const char *path) {
    char *copy;
    size_t n;

    while (*path == '/' || (path[0] == '.' && path[1] == '/'))
        path++;
    if (!*path || streq(path, ".") || streq(path, "..") || strstr(path, "../") || str_has_suffix(path, "/.."))
        return NULL;
    copy = strdup(path);
    for (n = copy ? strlen(copy) : 0; n > 0 && copy[n - 1] == '/'; n--)
        copy[n - 1] = 0;
    return copy;
}

static void sum_end(EVP_MD_CTX *sum, char *ret_hex) {
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    EVP_DigestFinal_ex(sum, md, &n);
    hex_encode(md, n, ret_hex);
}

static int keep_bytes(struct sbom_scan *s, struct archive *a, struct sbom_file *f, struct err *e) {
    _cleanup_free_ char *block = malloc(BLOCK);
    EVP_MD_CTX *sha1 = EVP_MD_CTX_new(), *sha256 = EVP_MD_CTX_new();
    la_ssize_t n = 0;
    int r = block && sha1 && sha256 && EVP_DigestInit_ex(sha1, EVP_sha1(), NULL) && EVP_DigestInit_ex(sha256, EVP_sha256(), NULL) ? 0 : err_oom(e);

    f->at = s->spooled;
    while (r == 0 && (n = archive_read_data(a, block, BLOCK)) > 0) {
        if (f->size + n > SBOM_FILE_MAX || s->spooled + n > SBOM_SPOOL_MAX) {
            f->unreadable = true;
            break;
        }
        EVP_DigestUpdate(sha1, block, (size_t)n);
        EVP_DigestUpdate(sha256, block, (size_t)n);
        if (full_write(s->spool, block, (size_t)n) < 0)
            r = err_errno(e, errno, "keeping a file of the image");
        f->size += n;
        s->spooled += n;
    }
    if (r == 0 && n < 0)
        r = err_set(e, ERR_INVALID, "%s: %s", f->path, archive_error_string(a));
    if (r == 0) {
        sum_end(sha1, f->sha1);
        sum_end(sha256, f->sha256);
    }
    EVP_MD_CTX_free(sha1);
    EVP_MD_CTX_free(sha256);
    return r;
}

static int keep_file(struct sbom_scan *s, struct sbom_layer *l, const char *path, struct archive *a, struct archive_entry *entry, struct err *e) {
    struct sbom_file *f = calloc(1, sizeof *f), *old = NULL;
    const char *link = archive_entry_hardlink(entry);
    _cleanup_free_ char *target = link ? plain_path(link) : NULL;
    int r = 0;

    if (s->n_files++ >= SBOM_FILES_MAX) {
        free(f);
        return err_set(e, ERR_TOO_LARGE, "the image has more than %d files of package managers", SBOM_FILES_MAX);
    }
    if (!f || !(f->path = strdup(path))) {
        free(f);
        return err_oom(e);
    }
    if (link) {
        const struct sbom_file *same = target ? map_get(&l->files, target) : NULL;

        f->unreadable = !same;
        if (same) {
            f->at = same->at;
            f->size = same->size;
            memcpy(f->sha1, same->sha1, sizeof f->sha1);
            memcpy(f->sha256, same->sha256, sizeof f->sha256);
        }
    } else if (archive_entry_filetype(entry) == AE_IFREG) {
        r = keep_bytes(s, a, f, e);
    } else {
        f->unreadable = true;
    }
    if (r == 0 && map_set(&l->files, path, f, (void **)&old) < 0)
        r = err_oom(e);
    if (r < 0)
        old = f;
    if (old)
        file_free(old);
    return r;
}

static int take_entry(struct sbom_scan *s, struct sbom_layer *l, struct archive *a, struct archive_entry *entry, struct err *e) {
    const char *raw = archive_entry_pathname(entry);
    _cleanup_free_ char *path = raw ? plain_path(raw) : NULL;
    bool folder = archive_entry_filetype(entry) == AE_IFDIR;
    char *base;

    if (!path)
        return 0;
    base = strrchr(path, '/');
    base = base ? base + 1 : path;
    if (streq(base, ".wh..wh..opq")) {
        *(base > path ? base - 1 : base) = 0;
        return hide(l, path, e);
    }
    if (str_has_prefix(base, ".wh.")) {
        memmove(base, base + strlen(".wh."), strlen(base + strlen(".wh.")) + 1);
        return hide(l, path, e);
    }
    /* A link to a file: /etc/os-release is one to the other place where we look. */
    if (is_wanted(path) && archive_entry_filetype(entry) == AE_IFLNK && str_has_suffix(path, "os-release"))
        return hide(l, path, e);
    if (is_wanted(path) && !folder)
        return keep_file(s, l, path, a, entry, e);
    return folder && !is_wanted(path) ? 0 : hide(l, path, e);
}

/* ---- the archive around them ---------------------------------------------------------------------------------------------------------- */

struct outer {
    sbom_read_fn *read;
    void *arg;
    struct err *e;
    int failed;
    char block[BLOCK];
};

static la_ssize_t read_outer(struct archive *a, void *arg, const void **ret) {
    struct outer *o = arg;
    ssize_t n = o->read(o->arg, o->block, sizeof o->block, o->e);

    if (n < 0) {
        o->failed = (int)n;
        archive_set_error(a, EIO, "the stream broke off");
        return ARCHIVE_FATAL;
    }
    *ret = o->block;
    return n;
}

/* A member of the outer archive: its beginning is looked at before it is known what it is. */
struct member {
    struct archive *from;
    size_t begun; /* bytes of block that are still to be handed out first */
    char block[BLOCK];
};

static la_ssize_t read_member(struct archive *a, void *arg, const void **ret) {
    struct member *m = arg;
    la_ssize_t n = (la_ssize_t)m->begun;

    m->begun = 0;
    if (n == 0)
        n = archive_read_data(m->from, m->block, sizeof m->block);
    if (n < 0)
        archive_set_error(a, EIO, "%s", archive_error_string(m->from));
    *ret = m->block;
    return n;
}

static struct archive *reader(bool layers) {
    struct archive *a = archive_read_new();

    if (!a)
        return NULL;
    archive_read_support_format_tar(a);
    if (layers) {
        archive_read_support_format_empty(a);
        archive_read_support_filter_gzip(a);
        archive_read_support_filter_zstd(a);
    }
    return a;
}

/* 1: it is a layer, 0: it is something else. */
static int read_layer(struct sbom_scan *s, struct sbom_layer *l, struct member *m, struct err *e) {
    struct archive *a = reader(true);
    struct archive_entry *entry;
    size_t n = 0;
    int got = a ? archive_read_open(a, m, NULL, read_member, NULL) : ARCHIVE_FATAL, r = 1;

    if (got < ARCHIVE_WARN)
        r = 0; /* no archive: the file VERSION, say. That it was a layer after all shows in the manifest. */
    while (r > 0 && (got = archive_read_next_header(a, &entry)) >= ARCHIVE_WARN && got != ARCHIVE_EOF) {
        int k = ++n > LIMIT_ARCHIVE_ENTRIES ? err_set(e, ERR_TOO_LARGE, "a layer has more than %d entries", LIMIT_ARCHIVE_ENTRIES)
                                            : take_entry(s, l, a, entry, e);

        if (k < 0)
            r = k;
    }
    if (r > 0 && got != ARCHIVE_EOF)
        r = n ? err_set(e, ERR_INVALID, "layer %s: %s", l->name, archive_error_string(a)) : 0;
    archive_read_free(a);
    return r;
}

static int add_layer(struct sbom_scan *s, const char *name, struct member *m, struct err *e) {
    struct sbom_layer *l, **grown;
    int r;

    if (s->n_layers >= LAYERS_MAX)
        return err_set(e, ERR_TOO_LARGE, "the archive has more than %d members", LAYERS_MAX);
    grown = reallocarray(s->layers, s->n_layers + 1, sizeof *grown);
    if (!grown)
        return err_oom(e);
    s->layers = grown;
    l = calloc(1, sizeof *l);
    if (!l || !(l->name = strdup(name))) {
        layer_free(l);
        return err_oom(e);
    }
    r = read_layer(s, l, m, e);
    if (r > 0)
        s->layers[s->n_layers++] = l;
    else
        layer_free(l);
    return r < 0 ? r : 0;
}

static int take_manifest(struct sbom_scan *s, struct member *m, struct err *e) {
    _cleanup_buf_ struct buf text = BUF_INIT(DOCUMENT_MAX);
    json_error_t where;
    const void *p;
    la_ssize_t n;

    while ((n = read_member(m->from, m, &p)) > 0)
        buf_add(&text, p, (size_t)n);
    if (n < 0)
        return err_set(e, ERR_INVALID, "manifest.json: %s", archive_error_string(m->from));
    if (!buf_ok(&text))
        return buf_check(&text, e);
    json_decref(s->manifest);
    s->manifest = json_loadb(buf_str(&text), text.len, 0, &where);
    return s->manifest ? 0 : err_set(e, ERR_INVALID, "manifest.json: %s", where.text);
}

/* Engines before Docker 25 wrote a layer that comes twice as a link "../<id>/layer.tar" to the first. */
static int take_link(struct sbom_scan *s, const char *name, const char *target, struct err *e) {
    char *old = NULL, *whole = plain_path(str_has_prefix(target, "../") ? target + 3 : target);
    int r = 0;

    if (!whole)
        return 0;
    if (s->links.n > LAYERS_MAX)
        r = err_set(e, ERR_TOO_LARGE, "the archive has more than %d links", LAYERS_MAX);
    else if (map_set(&s->links, name, whole, (void **)&old) < 0)
        r = err_oom(e);
    free(r < 0 ? whole : old);
    return r;
}

static int take_member(struct sbom_scan *s, struct archive *a, struct archive_entry *entry, struct err *e) {
    const char *raw = archive_entry_pathname(entry),
               *link = archive_entry_symlink(entry) ? archive_entry_symlink(entry) : archive_entry_hardlink(entry);
    _cleanup_free_ char *name = raw ? plain_path(raw) : NULL;
    struct member *m;
    la_ssize_t n;
    int r = 0;

    if (!name)
        return 0;
    if (link)
        return take_link(s, name, link, e);
    if (archive_entry_filetype(entry) != AE_IFREG)
        return 0;
    m = calloc(1, sizeof *m);
    if (!m)
        return err_oom(e);
    m->from = a;
    n = archive_read_data(a, m->block, sizeof m->block);
    m->begun = n > 0 ? (size_t)n : 0;
    if (n < 0)
        r = err_set(e, ERR_INVALID, "%s: %s", name, archive_error_string(a));
    else if (streq(name, "manifest.json"))
        r = take_manifest(s, m, e);
    else if (n == 0 || (m->block[0] != '{' && m->block[0] != '['))
        r = add_layer(s, name, m, e);
    free(m);
    return r;
}

static struct sbom_layer *find_layer(const struct sbom_scan *s, const char *name) {
    for (int hops = 0; name && hops < 8; hops++) {
        for (size_t i = 0; i < s->n_layers; i++)
            if (streq(s->layers[i]->name, name))
                return s->layers[i];
        name = map_get(&s->links, name);
    }
    return NULL;
}

/* The image's layers, lowest first. One that comes twice stands there twice; nothing of the others is of interest any more. */
static int order_layers(struct sbom_scan *s, struct err *e) {
    json_t *names = json_object_get(json_array_get(s->manifest, 0), "Layers"), *name;
    struct sbom_layer **order;
    size_t i;

    if (!s->manifest)
        return err_set(e, ERR_INVALID, "the engine's archive of the image has no manifest.json");
    if (json_array_size(s->manifest) != 1 || !json_is_array(names))
        return err_set(e, ERR_INVALID, "the engine's archive holds %zu images and not one", json_array_size(s->manifest));
    order = calloc(json_array_size(names) + 1, sizeof *order);
    if (!order)
        return err_oom(e);
    json_array_foreach(names, i, name) {
        _cleanup_free_ char *path = json_is_string(name) ? plain_path(json_string_value(name)) : NULL;

        order[i] = path ? find_layer(s, path) : NULL;
        if (!order[i]) {
            free(order);
            return err_set(e, ERR_INVALID, "the engine's archive names the layer %s, which is not in it or no archive", path ? path : "?");
        }
    }
    for (size_t k = 0; k < s->n_layers; k++) {
        bool used = false;

        for (size_t j = 0; j < i; j++)
            used = used || order[j] == s->layers[k];
        if (!used)
            layer_free(s->layers[k]);
    }
    free(s->layers);
    s->layers = order;
    s->n_layers = i;
    return 0;
}

int sbom_scan_stream(struct sbom_scan *s, sbom_read_fn *read, void *arg, struct err *e) {
    _cleanup_free_ struct outer *o = calloc(1, sizeof *o);
    struct archive *a = reader(false);
    struct archive_entry *entry;
    int got = ARCHIVE_FATAL, r = 0;

    if (!o || !a) {
        archive_read_free(a);
        return err_oom(e);
    }
    *o = (struct outer){.read = read, .arg = arg, .e = e};
    if (archive_read_open(a, o, NULL, read_outer, NULL) >= ARCHIVE_WARN)
        while (r == 0 && (got = archive_read_next_header(a, &entry)) >= ARCHIVE_WARN && got != ARCHIVE_EOF)
            r = take_member(s, a, entry, e);
    if (o->failed)
        r = o->failed;
    else if (r == 0 && got != ARCHIVE_EOF)
        r = err_set(e, ERR_INVALID, "the engine's archive of the image: %s", archive_error_string(a));
    archive_read_free(a);
    return r < 0 ? r : order_layers(s, e);
}

int sbom_scan_init(struct sbom_scan *s, struct err *e) {
    const char *folder = getenv("TMPDIR");

    *s = (struct sbom_scan){.spool = open(str_empty(folder) ? "/tmp" : folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
    return s->spool < 0 ? err_errno(e, errno, "a temporary file in %s", str_empty(folder) ? "/tmp" : folder) : 0;
}

void sbom_scan_done(struct sbom_scan *s) {
    for (size_t i = 0; i < s->n_layers; i++) {
        struct sbom_layer *l = s->layers[i];

        for (size_t k = i + 1; k < s->n_layers; k++)
            if (s->layers[k] == l)
                s->layers[k] = NULL;
        layer_free(l);
    }
    free(s->layers);
    map_done_with(&s->links, free);
    json_decref(s->manifest);
    strv_done(&s->findings);
    s->spool = close_fd(s->spool);
}

/* ---- the view from the top --------------------------------------------------------------------------------------------------------------- */

static bool is_hidden_by(const struct sbom_layer *l, const char *path) {
    _cleanup_free_ char *at = strdup(path);
    char *slash;

    if (!at || map_get(&l->hides, at) || map_get(&l->hides, ""))
        return true;
    while ((slash = strrchr(at, '/'))) {
        *slash = 0;
        if (map_get(&l->hides, at))
            return true;
    }
    return false;
}

const struct sbom_file *sbom_look(const struct sbom_scan *s, const char *path) {
    for (size_t i = s->n_layers; i-- > 0;) {
        const struct sbom_file *f = map_get(&s->layers[i]->files, path);

        if (f || is_hidden_by(s->layers[i], path))
            return f;
    }
    return NULL;
}

int sbom_list(const struct sbom_scan *s, const char *folder, struct strv *ret, struct err *e) {
    for (size_t i = 0; i < s->n_layers; i++)
        for (struct map_entry *m = NULL; (m = map_next(&s->layers[i]->files, m));) {
            const char *rest = str_after(m->key, folder);

            if (!rest || *rest != '/' || sbom_look(s, m->key) != m->value)
                continue;
            if (strv_add(ret, m->key) < 0)
                return err_oom(e);
        }
    strv_sort(ret);
    return 0;
}

ssize_t sbom_pread(const struct sbom_scan *s, const struct sbom_file *f, void *p, size_t n, int64_t at, struct err *e) {
    ssize_t got;

    if (at >= f->size)
        return 0;
    if ((int64_t)n > f->size - at)
        n = (size_t)(f->size - at);
    got = pread(s->spool, p, n, f->at + at);
    return got < 0 ? err_errno(e, errno, "reading what was kept of %s", f->path) : got;
}

int sbom_finding(struct sbom_scan *s, struct err *e, const char *fmt, ...) {
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (s->findings.n >= SBOM_FINDINGS_MAX)
        return 0;
    return strv_add(&s->findings, text) < 0 ? err_oom(e) : 0;
}

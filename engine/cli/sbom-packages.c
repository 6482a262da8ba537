// SPDX-License-Identifier: Apache-2.0
/* Databases that are text: dpkg's (deb822, dpkg-query(1)), apk's (apk-v2 "installed"), os-release(5). Sections: lines; dpkg; apk; os-release; all of them. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/id.h"
#include "base/str.h"
#include "cli/sbom.h"

/* ---- lines ------------------------------------------------------------------------------------------------------------------------- */

struct lines {
    const struct sbom_scan *scan;
    const struct sbom_file *file;
    int64_t at;
    char block[16384];
    size_t n, used;
    char line[SBOM_LINE_MAX];
};

/* Next line without its end, cut where it is too long: 1, 0 at the end of the file. */
static int next_line(struct lines *l, struct err *e) {
    size_t len = 0;
    bool any = false;

    for (;;) {
        if (l->used == l->n) {
            ssize_t n = sbom_pread(l->scan, l->file, l->block, sizeof l->block, l->at, e);

            if (n < 0)
                return (int)n;
            l->at += n;
            l->n = (size_t)n;
            l->used = 0;
            if (n == 0)
                break;
        }
        any = true;
        if (l->block[l->used] == '\n') {
            l->used++;
            break;
        }
        if (len < sizeof l->line - 1)
            l->line[len++] = l->block[l->used];
        l->used++;
    }
    if (len > 0 && l->line[len - 1] == '\r')
        len--;
    l->line[len] = 0;
    return any;
}

/* The file's lines, one by one, and at the end a blank one, so that what is under way is ended by the same words as in between. */
static int each_line(const struct sbom_scan *s, const struct sbom_file *f, int (*take)(void *arg, char *line, struct err *e), void *arg,
                     struct err *e) {
    struct lines *l = calloc(1, sizeof *l);
    char end[1] = "";
    int r;

    if (!l)
        return err_oom(e);
    l->scan = s;
    l->file = f;
    while ((r = next_line(l, e)) > 0 && (r = take(arg, l->line, e)) == 0)
        ;
    free(l);
    return r < 0 ? r : take(arg, end, e);
}

/* ---- packages ------------------------------------------------------------------------------------------------------------------------ */

void sbom_package_done(struct sbom_package *one) {
    free(one->name);
    free(one->version);
    free(one->arch);
    free(one->epoch);
    free(one->upstream);
    free(one->supplier);
    free(one->license);
    free(one->sum);
    free(one->source);
    *one = (struct sbom_package){0};
}

void sbom_packages_done(struct sbom_packages *p) {
    for (size_t i = 0; i < p->n; i++)
        sbom_package_done(&p->v[i]);
    free(p->v);
    strv_done(&p->sources);
    free(p->os_id);
    free(p->os_version);
    free(p->os_name);
    *p = (struct sbom_packages){0};
}

int sbom_packages_add(struct sbom_packages *p, struct sbom_package *one, struct err *e) {
    struct sbom_package *grown;

    if (p->n >= SBOM_PACKAGES_MAX)
        return err_set(e, ERR_TOO_LARGE, "the image has more than %d packages", SBOM_PACKAGES_MAX);
    grown = (p->n & (p->n + 1)) == 0 ? reallocarray(p->v, 2 * p->n + 2, sizeof *grown) : p->v; /* full at 0, 1, 3, 7... */
    if (!grown)
        return err_oom(e);
    p->v = grown;
    p->v[p->n++] = *one;
    *one = (struct sbom_package){0};
    return 0;
}

static int compare_text(const char *a, const char *b) {
    return strcmp(a ? a : "", b ? b : "");
}

static int compare(const void *x, const void *y) {
    const struct sbom_package *a = x, *b = y;
    int c = strcmp(a->type, b->type);

    if (c == 0)
        c = compare_text(a->name, b->name);
    if (c == 0)
        c = compare_text(a->version, b->version);
    if (c == 0)
        c = compare_text(a->epoch, b->epoch);
    if (c == 0)
        c = compare_text(a->arch, b->arch);
    return c == 0 ? compare_text(a->source, b->source) : c;
}

static void sort_and_unite(struct sbom_packages *p) {
    size_t kept = 0;

    if (p->n)
        qsort(p->v, p->n, sizeof *p->v, compare);
    for (size_t i = 0; i < p->n; i++) {
        if (kept && compare(&p->v[kept - 1], &p->v[i]) == 0)
            sbom_package_done(&p->v[i]);
        else
            p->v[kept++] = p->v[i];
    }
    p->n = kept;
}

/* ---- dpkg ------------------------------------------------------------------------------------------------------------------------------ */

struct stanza {
    struct sbom_packages *all;
    const char *path;
    struct sbom_package one;
    bool gone; /* removed, or only its configuration is left */
};

/* A package that has come to its end. */
static int close_stanza(struct stanza *s, const char *type, struct err *e) {
    int r = 0;

    if (s->one.name && s->one.version && !s->gone) {
        s->one.type = type;
        s->one.source = strdup(s->path);
        r = s->one.source ? sbom_packages_add(s->all, &s->one, e) : err_oom(e);
    }
    sbom_package_done(&s->one);
    s->gone = false;
    return r;
}

static int take_field(const char *line, const char *field, char **slot, struct err *e) {
    const char *value = str_after(line, field);

    if (!value)
        return 0;
    value += strspn(value, " \t");
    return str_set(slot, value) < 0 ? err_oom(e) : 1;
}

static int take_dpkg(void *arg, char *line, struct err *e) {
    struct stanza *s = arg;
    const struct {
        const char *field;
        char **slot;
    } fields[] = {{"Package:", &s->one.name},
                  {"Version:", &s->one.version},
                  {"Architecture:", &s->one.arch},
                  {"Source:", &s->one.upstream},
                  {"Maintainer:", &s->one.supplier}};
    const char *status = str_after(line, "Status:");

    if (!*line)
        return close_stanza(s, "deb", e);
    /* "install ok installed": what is wanted, whether it is broken, how far it is. */
    if (status)
        s->gone = str_has_suffix(status, " not-installed") || str_has_suffix(status, " config-files");
    for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
        int r = take_field(line, fields[i].field, fields[i].slot, e);

        if (r != 0)
            return r < 0 ? r : 0;
    }
    return 0;
}

/* ---- apk --------------------------------------------------------------------------------------------------------------------------------- */

/* "Q1" and the base64 of a SHA-1: 27 digits and a padding. */
static int take_apk_sum(struct sbom_package *one, const char *value, struct err *e) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *code = str_after(value, "Q1");
    unsigned char sum[21];
    char hex[41];

    if (!code || strspn(code, digits) != 27 || !streq(code + 27, "="))
        return 0;
    EVP_DecodeBlock(sum, (const unsigned char *)code, 28);
    hex_encode(sum, 20, hex);
    one->sum_kind = "SHA1";
    one->sum_of = "the package's control part, as its database has it";
    return str_set(&one->sum, hex) < 0 ? err_oom(e) : 0;
}

static int take_apk(void *arg, char *line, struct err *e) {
    struct stanza *s = arg;
    char **slot;

    if (!*line)
        return close_stanza(s, "apk", e);
    if (line[1] != ':')
        return 0;
    if (line[0] == 'C')
        return take_apk_sum(&s->one, line + 2, e);
    slot = line[0] == 'P'   ? &s->one.name
           : line[0] == 'V' ? &s->one.version
           : line[0] == 'A' ? &s->one.arch
           : line[0] == 'm' ? &s->one.supplier
           : line[0] == 'o' ? &s->one.upstream
           : line[0] == 'L' ? &s->one.license
                            : NULL;
    return slot && str_set(slot, line + 2) < 0 ? err_oom(e) : 0;
}

/* ---- os-release ------------------------------------------------------------------------------------------------------------------------------ */

static int take_os(void *arg, char *line, struct err *e) {
    struct sbom_packages *p = arg;
    const struct {
        const char *key;
        char **slot;
    } keys[] = {{"ID=", &p->os_id}, {"VERSION_ID=", &p->os_version}, {"PRETTY_NAME=", &p->os_name}};

    for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
        const char *value = str_after(line, keys[i].key);
        _cleanup_free_ char *plain = NULL;
        size_t n;

        if (!value)
            continue;
        n = strlen(value);
        if (n >= 2 && (*value == '"' || *value == '\'') && value[n - 1] == *value)
            plain = strndup(value + 1, n - 2);
        else
            plain = strdup(value);
        if (!plain)
            return err_oom(e);
        free(*keys[i].slot);
        *keys[i].slot = TAKE_PTR(plain);
    }
    return 0;
}

/* ---- all of them ------------------------------------------------------------------------------------------------------------------------------- */

/* A file that is there and can be read, or NULL; what is there and cannot becomes a finding. */
static const struct sbom_file *readable(struct sbom_scan *s, const char *path, int *r, struct err *e) {
    const struct sbom_file *f = sbom_look(s, path);

    if (!f || !f->unreadable)
        return f;
    *r = sbom_finding(s, e, "/%s was not read: it is a link, or too large. Packages that only it lists are missing here.", path);
    return NULL;
}

static int read_stanzas(struct sbom_scan *s, const char *path, int (*take)(void *arg, char *line, struct err *e), struct sbom_packages *p,
                        struct err *e) {
    struct stanza one = {.all = p, .path = path};
    int r = 0;
    const struct sbom_file *f = readable(s, path, &r, e);

    if (f)
        r = each_line(s, f, take, &one, e);
    if (r == 0 && f && strv_add(&p->sources, path) < 0)
        r = err_oom(e);
    sbom_package_done(&one.one);
    return r;
}

static int read_status_d(struct sbom_scan *s, struct sbom_packages *p, struct err *e) {
    _cleanup_strv_ struct strv paths = STRV_INIT;
    int r = sbom_list(s, "var/lib/dpkg/status.d", &paths, e);

    for (size_t i = 0; r == 0 && i < paths.n; i++)
        r = read_stanzas(s, paths.v[i], take_dpkg, p, e);
    return r;
}

static int read_rpm_folder(struct sbom_scan *s, const char *folder, struct sbom_packages *p, struct err *e) {
    static const struct { const char *name, *what; } old[] = {{"Packages", "Berkeley DB"}, {"Packages.db", "ndb"}};
    _cleanup_free_ char *path = str_printf("%s/rpmdb.sqlite", folder);
    int r = 0;

    if (!path)
        return err_oom(e);
    if (readable(s, path, &r, e))
        r = sbom_read_rpm(s, path, p, e);
    for (size_t i = 0; r == 0 && i < ELEMENTSOF(old); i++) {
        _cleanup_free_ char *other = str_printf("%s/%s", folder, old[i].name);

        if (other && sbom_look(s, other))
            r = sbom_finding(
                s, e, "/%s was not read: it is an RPM database in the old form %s, and only rpmdb.sqlite is read. Its packages are missing here.",
                other, old[i].what);
    }
    return r;
}

int sbom_gather(struct sbom_scan *s, struct sbom_packages *ret, struct err *e) {
    int r = 0;
    const struct sbom_file *os = readable(s, "etc/os-release", &r, e);

    if (r == 0 && !os)
        os = readable(s, "usr/lib/os-release", &r, e);
    if (r == 0 && os)
        r = each_line(s, os, take_os, ret, e);
    if (r == 0)
        r = read_stanzas(s, "var/lib/dpkg/status", take_dpkg, ret, e);
    if (r == 0)
        r = read_status_d(s, ret, e);
    if (r == 0)
        r = read_stanzas(s, "lib/apk/db/installed", take_apk, ret, e);
    if (r == 0)
        r = read_stanzas(s, "usr/lib/apk/db/installed", take_apk, ret, e);
    if (r == 0)
        r = read_rpm_folder(s, "var/lib/rpm", ret, e);
    if (r == 0)
        r = read_rpm_folder(s, "usr/lib/sysimage/rpm", ret, e);
    if (r == 0)
        sort_and_unite(ret);
    return r;
}

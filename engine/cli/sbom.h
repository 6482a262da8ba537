// SPDX-License-Identifier: Apache-2.0
/*
 * sbom.h - what is installed in an image: databases of package managers out of the stream of its layers, packages out of the databases, SPDX out of those.
 *
 * The stream (GET /images/{name}/get: a docker archive) is read once, and of its layers only the few files that matter are kept, in one file without a name. What is told is
 * the view from the top: whiteouts, opaque folders and files in the place of folders hide what is below. Everything is the other side's word: sizes, counts and
 * depths are bounded here, and what cannot be read becomes a finding in the document, never a silent gap.
 *
 * Life cycle: sbom_scan_init → sbom_scan_stream → sbom_gather → sbom_document → the _done of each. Threads: one.
 */
#ifndef HATAKE_CLI_SBOM_H
#define HATAKE_CLI_SBOM_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/map.h"
#include "base/strv.h"

#define SBOM_LINE_MAX ((size_t)64 << 10)
#define SBOM_FILE_MAX ((int64_t)512 << 20)   /* of one database */
#define SBOM_SPOOL_MAX ((int64_t)2048 << 20) /* of all that is kept */
#define SBOM_FILES_MAX 50000
#define SBOM_PACKAGES_MAX 200000
#define SBOM_FINDINGS_MAX 100

/* ---- sbom-scan.c: the archive ---- */
struct sbom_file {
    char *path;       /* without a slash in front */
    int64_t at, size; /* in the spool */
    char sha1[41], sha256[65];
    bool unreadable; /* a link, or too large: a finding names it where it counts */
};

struct sbom_layer {
    char *name;       /* in the archive */
    struct map files; /* path → struct sbom_file */
    struct map hides; /* paths at and below which nothing of the layers below is seen */
};

struct sbom_scan {
    int spool;
    int64_t spooled;
    size_t n_files;
    struct sbom_layer **layers; /* in the order of the stream at first, then lowest first, only the image's */
    size_t n_layers;
    struct map links; /* name in the archive → name it is a link to */
    json_t *manifest; /* manifest.json */
    struct strv findings;
};

int sbom_scan_init(struct sbom_scan *s, struct err *e);
void sbom_scan_done(struct sbom_scan *s);
/* Next bytes of the archive, at most n; 0 at the end. */
typedef ssize_t sbom_read_fn(void *arg, void *p, size_t n, struct err *e);
/* Read the archive whole and put the image's layers in their order. */
int sbom_scan_stream(struct sbom_scan *s, sbom_read_fn *read, void *arg, struct err *e);
/* The file that is seen at this path, or NULL. */
const struct sbom_file *sbom_look(const struct sbom_scan *s, const char *path);
/* Paths below a folder that are seen, sorted. */
int sbom_list(const struct sbom_scan *s, const char *folder, struct strv *ret, struct err *e);
int sbom_finding(struct sbom_scan *s, struct err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- sbom-packages.c, sbom-rpm.c: databases ---- */
struct sbom_package {
    const char *type; /* "deb", "apk", "rpm" */
    char *name, *version, *arch, *epoch;
    char *upstream; /* source package, as name or name-version */
    char *supplier; /* a person or organisation, "name <address>" or name */
    char *license;
    char *sum;                     /* hex */
    const char *sum_kind, *sum_of; /* "SHA1"; what it is the sum of, for people */
    char *source;                  /* path of the database */
};

struct sbom_packages {
    struct sbom_package *v;
    size_t n;
    struct strv sources;                /* databases that were read */
    char *os_id, *os_version, *os_name; /* of os-release; NULL: not said */
};
void sbom_packages_done(struct sbom_packages *p);
/* Take over *one; zeroes it. */
int sbom_packages_add(struct sbom_packages *p, struct sbom_package *one, struct err *e);
void sbom_package_done(struct sbom_package *one);
/* All databases; sorted, without repeats. */
int sbom_gather(struct sbom_scan *s, struct sbom_packages *ret, struct err *e);
/* One rpmdb.sqlite. */
int sbom_read_rpm(struct sbom_scan *s, const char *path, struct sbom_packages *p, struct err *e);
/* One header of the database (without the magic of package files) into *ret. ERR_INVALID: it is none. *ret stays empty for what is no package (keys). */
int sbom_rpm_header(const void *blob, size_t n, struct sbom_package *ret, struct err *e);
/* Bytes of a file as it was kept; fewer at its end. */
ssize_t sbom_pread(const struct sbom_scan *s, const struct sbom_file *f, void *p, size_t n, int64_t at, struct err *e);

/* ---- sbom-spdx.c ---- */
/* inspect: the reply of GET /images/{name}/json; name: what the user typed. *ret: the document. */
int sbom_document(struct sbom_scan *s, struct sbom_packages *p, const json_t *inspect, const char *name, json_t **ret, struct err *e);
/* pkg:type/namespace/name@version?qualifiers; fresh memory. Source: purl-spec. */
char *sbom_purl(const struct sbom_packages *all, const struct sbom_package *one);

#endif

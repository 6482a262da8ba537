// SPDX-License-Identifier: Apache-2.0
/*
 * The document: SPDX 2.3, JSON (spdx.github.io/spdx-spec/v2.3). The same image gives the same bytes: the time is that of the image, everything is sorted, and ids are made from
 * what they name. Sections: texts; purls; packages; files; the whole.
 */
#include <ctype.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/sbom.h"

#define TOOL "Tool: hatake-" HATAKE_VERSION
#define NAMESPACE "https://spdx.org/spdxdocs/hatake-" HATAKE_VERSION "-"
#define NOTHING "NOASSERTION"
#define IMAGE_ID "SPDXRef-Image"
#define SYSTEM_ID "SPDXRef-OperatingSystem"

/* ---- texts ------------------------------------------------------------------------------------------------------------------------------- */

/* JSON is UTF-8; a database may hold anything. NULL: memory ran out. */
static json_t *text(const char *s) {
    json_t *j = json_string(s ? s : "");
    _cleanup_free_ char *plain = NULL;

    if (j)
        return j;
    plain = strdup(s);
    for (char *p = plain; p && *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    return plain ? json_string(plain) : NULL;
}

static int put(json_t *o, const char *key, json_t *value, struct err *e) {
    return !value || json_object_set_new(o, key, value) < 0 ? err_oom(e) : 0;
}

static int put_text(json_t *o, const char *key, const char *value, struct err *e) {
    return put(o, key, text(value), e);
}

static int add(json_t *list, json_t *value, struct err *e) {
    return !value || json_array_append_new(list, value) < 0 ? err_oom(e) : 0;
}

/* Letters, digits, '.' and '-' are all that an id may hold; the sum makes it one of its own. */
static char *id_of(const char *kind, const char *name, const char *all) {
    unsigned char md[EVP_MAX_MD_SIZE];
    char hex[17], plain[65];
    size_t n = 0;

    for (; *name && n < sizeof plain - 1; name++)
        plain[n++] = isalnum((unsigned char)*name) || *name == '.' ? *name : '-';
    plain[n] = 0;
    if (EVP_Digest(all, strlen(all), md, NULL, EVP_sha256(), NULL) != 1)
        return NULL;
    hex_encode(md, 8, hex);
    return str_printf("SPDXRef-%s-%s-%s", kind, plain, hex);
}

/* "2024-05-06T07:08:09Z" of the time in the image; SPDX knows no fractions. */
static void time_text(const char *created, char ret[CLOCK_TEXT_MAX]) {
    int64_t ns = 0;
    time_t t;
    struct tm tm;

    if (clock_parse(created, &ns, NULL) < 0 || ns < 0)
        ns = 0;
    t = (time_t)(ns / NSEC_PER_SEC);
    gmtime_r(&t, &tm);
    strftime(ret, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* A maintainer "name <address>"; teams are organisations. Of a vendor there is no address and no doubt. */
static char *supplier_of(const struct sbom_package *one) {
    static const char *const teams[] = {"Team", "Maintainers", "Developers", "Group", "Project", "Packagers", "Foundation"};
    const char *s = one->supplier, *open;
    bool team = streq(one->type, "rpm");
    _cleanup_free_ char *name = NULL, *address = NULL;
    size_t n;

    if (str_empty(s))
        return strdup(NOTHING);
    open = strrchr(s, '<');
    for (n = open ? (size_t)(open - s) : strlen(s); n > 0 && isspace((unsigned char)s[n - 1]); n--)
        ;
    name = strndup(s, n);
    address = open ? strndup(open + 1, strcspn(open + 1, ">")) : NULL;
    if (!name || (open && !address))
        return NULL;
    for (size_t i = 0; i < ELEMENTSOF(teams); i++)
        team = team || strstr(name, teams[i]);
    return str_printf("%s: %s%s%s%s", team ? "Organization" : "Person",
                      *name     ? name
                      : address ? address
                                : NOTHING,
                      *name && address ? " (" : "", *name && address ? address : "", *name && address ? ")" : "");
}

/* ---- purls ------------------------------------------------------------------------------------------------------------------------------------ */

static void encode(struct buf *b, const char *s) {
    for (; s && *s; s++) {
        if (isalnum((unsigned char)*s) || strchr("-._~:", *s))
            buf_addc(b, *s);
        else
            buf_addf(b, "%%%02X", (unsigned char)*s);
    }
}

static void qualify(struct buf *b, const char *key, const char *value, bool *any) {
    if (str_empty(value))
        return;
    buf_addf(b, "%c%s=", *any ? '&' : '?', key);
    encode(b, value);
    *any = true;
}

/* Name of the source: of "bash (5.2)" and of "bash-5.2-1.src.rpm" that is what they say, without the version dpkg adds. */
static char *source_name(const struct sbom_package *one) {
    return one->upstream ? strndup(one->upstream, strcspn(one->upstream, " ")) : NULL;
}

char *sbom_purl(const struct sbom_packages *all, const struct sbom_package *one) {
    _cleanup_buf_ struct buf b = BUF_INIT(KIB(64) * 8);
    const char *space = all->os_id ? all->os_id : streq(one->type, "deb") ? "debian" : streq(one->type, "apk") ? "alpine" : NULL;
    _cleanup_free_ char *source = source_name(one), *distro = NULL;
    bool any = false;

    if (all->os_id && all->os_version)
        distro = str_printf("%s-%s", all->os_id, all->os_version);
    buf_addf(&b, "pkg:%s/", one->type);
    if (!str_empty(space)) {
        encode(&b, space);
        buf_addc(&b, '/');
    }
    encode(&b, one->name);
    buf_addc(&b, '@');
    encode(&b, one->version);
    qualify(&b, "arch", one->arch, &any);
    qualify(&b, "distro", distro, &any);
    qualify(&b, "epoch", one->epoch, &any);
    qualify(&b, "upstream", source && !streq(source, one->name) ? source : NULL, &any);
    return buf_take(&b);
}

/* ---- packages ----------------------------------------------------------------------------------------------------------------------------------- */

static json_t *package_begun(const char *id, const char *name, const char *version, const char *supplier) {
    return json_pack("{s:s, s:o, s:o*, s:o, s:s, s:b, s:s, s:s, s:s}", "SPDXID", id, "name", text(name), "versionInfo",
                     str_empty(version) ? NULL : text(version), "supplier", text(supplier), "downloadLocation", NOTHING, "filesAnalyzed", false,
                     "licenseConcluded", NOTHING, "licenseDeclared", NOTHING, "copyrightText", NOTHING);
}

static int put_checksum(json_t *o, const char *kind, const char *hex, struct err *e) {
    return put(o, "checksums", json_pack("[{s:s,s:s}]", "algorithm", kind, "checksumValue", hex), e);
}

static int put_purl(json_t *o, const char *purl, struct err *e) {
    return put(o, "externalRefs",
               json_pack("[{s:s,s:s,s:s}]", "referenceCategory", "PACKAGE-MANAGER", "referenceType", "purl", "referenceLocator", purl), e);
}

static int relate(json_t *list, const char *from, const char *how, const char *to, struct err *e) {
    return add(list, json_pack("{s:s,s:s,s:s}", "spdxElementId", from, "relationshipType", how, "relatedSpdxElement", to), e);
}

static bool is_hex(const char *s, size_t n) {
    return s && strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

static int add_package(const struct sbom_packages *all, const struct sbom_package *one, json_t *packages, json_t *relations, struct err *e) {
    _cleanup_free_ char *purl = sbom_purl(all, one), *key = str_printf("%s %s %s", purl ? purl : "", one->source, one->type),
                        *kind = str_printf("Package-%s", one->type), *id = key && kind ? id_of(kind, one->name, key) : NULL,
                        *supplier = supplier_of(one), *info = str_printf("listed in /%s", one->source),
                        *version = one->epoch ? str_printf("%s:%s", one->epoch, one->version) : strdup(one->version);
    json_t *o = purl && id && supplier && info && version ? package_begun(id, one->name, version, supplier) : NULL;
    int r = o ? put_text(o, "sourceInfo", info, e) : err_oom(e);

    if (r == 0 && is_hex(one->sum, streq_ptr(one->sum_kind, "SHA1") ? 40 : 64)) {
        r = put_checksum(o, one->sum_kind, one->sum, e);
        if (r == 0)
            r = put(o, "comment", json_sprintf("The checksum is that of %s.", one->sum_of), e);
    }
    if (r == 0 && !str_empty(one->license)) {
        _cleanup_free_ char *said = str_printf("The package database says: %s", one->license);

        r = put_text(o, "licenseComments", said, e);
    }
    if (r == 0)
        r = put_purl(o, purl, e);
    if (r < 0) {
        json_decref(o);
        return r;
    }
    r = add(packages, o, e);
    return r < 0 ? r : relate(relations, IMAGE_ID, "CONTAINS", id, e);
}

/* The image as a package: its version is its id, its purl where it came from (if the engine knows). */
static int add_image(const json_t *inspect, const char *name, json_t *packages, struct err *e) {
    const char *id = json_text(inspect, "Id"), *hex = str_after(id, "sha256:"),
               *origin = json_string_value(json_array_get(json_object_get(inspect, "RepoDigests"), 0)), *at = origin ? strrchr(origin, '@') : NULL;
    json_t *o = package_begun(IMAGE_ID, name, id, NOTHING);
    int r = o ? put_text(o, "primaryPackagePurpose", "CONTAINER", e) : err_oom(e);

    if (r == 0 && is_hex(hex, 64))
        r = put_checksum(o, "SHA256", hex, e);
    if (r == 0 && is_hex(hex, 64))
        r = put_text(o, "comment", "The checksum is that of the image's configuration, which is its id and names its layers.", e);
    if (r == 0 && at) {
        _cleanup_free_ char *repository = strndup(origin, (size_t)(at - origin));
        const char *slash = repository ? strrchr(repository, '/') : NULL;
        _cleanup_buf_ struct buf b = BUF_INIT(KIB(64));
        bool any = false;

        buf_adds(&b, "pkg:oci/");
        encode(&b, slash ? slash + 1 : repository);
        buf_addc(&b, '@');
        encode(&b, at + 1);
        qualify(&b, "arch", json_text(inspect, "Architecture"), &any);
        qualify(&b, "repository_url", repository, &any);
        r = put_purl(o, buf_str(&b), e);
    }
    if (r < 0) {
        json_decref(o);
        return r;
    }
    return add(packages, o, e);
}

static int add_system(const struct sbom_packages *p, json_t *packages, json_t *relations, struct err *e) {
    json_t *o;
    int r;

    if (!p->os_id)
        return 0;
    o = package_begun(SYSTEM_ID, p->os_id, p->os_version, NOTHING);
    r = o ? put_text(o, "primaryPackagePurpose", "OPERATING-SYSTEM", e) : err_oom(e);
    if (r == 0 && p->os_name)
        r = put_text(o, "summary", p->os_name, e);
    if (r < 0) {
        json_decref(o);
        return r;
    }
    r = add(packages, o, e);
    return r < 0 ? r : relate(relations, IMAGE_ID, "CONTAINS", SYSTEM_ID, e);
}

/* ---- files --------------------------------------------------------------------------------------------------------------------------------------- */

/* The databases that were read: what the packages are known from. The image is not analysed file by file, so it may not be said to contain them. */
static int add_file(const struct sbom_scan *s, const char *path, json_t *files, json_t *relations, struct err *e) {
    const struct sbom_file *f = sbom_look(s, path);
    _cleanup_free_ char *id = id_of("File", strrchr(path, '/') ? strrchr(path, '/') + 1 : path, path), *name = str_printf("./%s", path);
    json_t *o = id && name && f ? json_pack("{s:s, s:o, s:[{s:s, s:s}, {s:s, s:s}], s:s, s:s}", "SPDXID", id, "fileName", text(name), "checksums",
                                            "algorithm", "SHA1", "checksumValue", f->sha1, "algorithm", "SHA256", "checksumValue", f->sha256,
                                            "licenseConcluded", NOTHING, "copyrightText", NOTHING)
                                : NULL;
    int r = add(files, o, e);

    return r < 0 ? r : relate(relations, id, "DATA_FILE_OF", IMAGE_ID, e);
}

/* ---- the whole -------------------------------------------------------------------------------------------------------------------------------------- */

static int put_head(json_t *doc, const json_t *inspect, const char *name, const char *when, struct err *e) {
    const char *id = json_text(inspect, "Id"), *hex = str_after(id, "sha256:");
    int r = put_text(doc, "spdxVersion", "SPDX-2.3", e);

    if (r == 0)
        r = put_text(doc, "dataLicense", "CC0-1.0", e);
    if (r == 0)
        r = put_text(doc, "SPDXID", "SPDXRef-DOCUMENT", e);
    if (r == 0)
        r = put_text(doc, "name", name, e);
    if (r == 0)
        r = put(doc, "documentNamespace", json_sprintf(NAMESPACE "sha256-%s", is_hex(hex, 64) ? hex : "unknown"), e);
    if (r == 0)
        r = put(doc, "creationInfo", json_pack("{s:s,s:[s]}", "created", when, "creators", TOOL), e);
    return r;
}

static int add_findings(json_t *doc, struct sbom_scan *s, const char *when, struct err *e) {
    json_t *list = s->findings.n ? json_array() : NULL;
    int r = 0;

    strv_sort(&s->findings);
    for (size_t i = 0; r == 0 && i < s->findings.n; i++)
        r = add(
            list,
            json_pack("{s:s,s:s,s:s,s:o}", "annotationDate", when, "annotationType", "OTHER", "annotator", TOOL, "comment", text(s->findings.v[i])),
            e);
    if (r < 0) {
        json_decref(list);
        return r;
    }
    return list ? put(doc, "annotations", list, e) : 0;
}

int sbom_document(struct sbom_scan *s, struct sbom_packages *p, const json_t *inspect, const char *name, json_t **ret, struct err *e) {
    json_t *doc = json_object(), *packages = json_array(), *files = json_array(), *relations = json_array();
    char when[CLOCK_TEXT_MAX];
    int r = doc && packages && files && relations ? 0 : err_oom(e);

    time_text(json_text(inspect, "Created"), when);
    strv_sort(&p->sources);
    if (r == 0)
        r = put_head(doc, inspect, name, when, e);
    if (r == 0)
        r = relate(relations, "SPDXRef-DOCUMENT", "DESCRIBES", IMAGE_ID, e);
    if (r == 0)
        r = add_image(inspect, name, packages, e);
    if (r == 0)
        r = add_system(p, packages, relations, e);
    for (size_t i = 0; r == 0 && i < p->n; i++)
        r = add_package(p, &p->v[i], packages, relations, e);
    for (size_t i = 0; r == 0 && i < p->sources.n; i++)
        r = add_file(s, p->sources.v[i], files, relations, e);
    if (r == 0 && (json_object_set(doc, "packages", packages) < 0 || (json_array_size(files) && json_object_set(doc, "files", files) < 0) ||
                   json_object_set(doc, "relationships", relations) < 0))
        r = err_oom(e);
    if (r == 0)
        r = add_findings(doc, s, when, e);
    json_decref(packages);
    json_decref(files);
    json_decref(relations);
    if (r < 0)
        json_decref(doc);
    else
        *ret = doc;
    return r;
}

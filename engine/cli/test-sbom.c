// SPDX-License-Identifier: Apache-2.0
/* Headers of RPM's database and archives, whole and broken; purls. What needs an image is in contract-tests/system/sbom.bats. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/test.h"
#include "cli/sbom.h"

#define ENTRY(tag, type, offset, count) 0, 0, (tag) >> 8, (tag)&255, 0, 0, 0, type, 0, 0, 0, offset, 0, 0, 0, count

/* name "n", version "1", release "2", epoch 3, arch "x" */
static const unsigned char good[] = {0,
                                     0,
                                     0,
                                     5,
                                     0,
                                     0,
                                     0,
                                     12,
                                     ENTRY(1000, 6, 0, 1),
                                     ENTRY(1001, 6, 2, 1),
                                     ENTRY(1002, 6, 4, 1),
                                     ENTRY(1003, 4, 8, 1),
                                     ENTRY(1022, 6, 6, 1),
                                     'n',
                                     0,
                                     '1',
                                     0,
                                     '2',
                                     0,
                                     'x',
                                     0,
                                     0,
                                     0,
                                     0,
                                     3};

TEST(rpm_headers_are_read) {
    struct sbom_package p = {0};

    CHECK_INT(sbom_rpm_header(good, sizeof good, &p, NULL), 0);
    CHECK_STR(p.name, "n");
    CHECK_STR(p.version, "1-2");
    CHECK_STR(p.epoch, "3");
    CHECK_STR(p.arch, "x");
    sbom_package_done(&p);
}

/* Under the sanitizers: nothing is read beyond what is there. */
TEST(rpm_headers_that_lie_are_refused_or_harmless) {
    for (size_t n = 0; n < sizeof good; n++) {
        unsigned char *cut = malloc(n ? n : 1); /* so that a read behind it is seen */
        struct sbom_package p = {0};

        REQUIRE(cut);
        memcpy(cut, good, n);
        CHECK_INT(sbom_rpm_header(cut, n, &p, NULL), -ERR_INVALID);
        CHECK(!p.name);
        free(cut);
    }
    for (size_t at = 0; at < sizeof good; at++)
        for (int value = 0; value < 256; value += 5) {
            unsigned char *bent = malloc(sizeof good);
            struct sbom_package p = {0};

            REQUIRE(bent);
            memcpy(bent, good, sizeof good);
            bent[at] = (unsigned char)value;
            ignore_result(sbom_rpm_header(bent, sizeof good, &p, NULL));
            sbom_package_done(&p);
            free(bent);
        }
}

TEST(keys_in_the_rpm_database_are_no_packages) {
    static const unsigned char key[] = {0,   0,   0,   2,   0,   0, 0,   13, ENTRY(1000, 6, 0, 1), ENTRY(1001, 6, 11, 1), 'g', 'p', 'g', '-', 'p',
                                        'u', 'b', 'k', 'e', 'y', 0, '1', 0};
    struct sbom_package p = {0};

    CHECK_INT(sbom_rpm_header(key, sizeof key, &p, NULL), 0);
    CHECK(!p.name);
}

/* ---- archives ------------------------------------------------------------------------------------------------------------------- */

/* ustar, which is all that this needs. */
static void add_member(struct buf *b, const char *name, char type, const void *data, size_t n) {
    char head[512] = {0};
    unsigned sum = 8 * ' ';

    snprintf(head, 100, "%s", name);
    snprintf(head + 100, 8, "%07o", 0644);
    snprintf(head + 124, 12, "%011zo", n);
    head[156] = type;
    memcpy(head + 257, "ustar\00000", 7);
    for (size_t i = 0; i < sizeof head; i++)
        sum += (unsigned char)head[i];
    snprintf(head + 148, 8, "%06o", sum);
    buf_add(b, head, sizeof head);
    buf_add(b, data, n);
    memset(head, 0, sizeof head);
    buf_add(b, head, (512 - n % 512) % 512);
}

static void add_end(struct buf *b) {
    static const char zeros[1024];

    buf_add(b, zeros, sizeof zeros);
}

struct bytes {
    const char *at;
    size_t left;
};

static ssize_t read_bytes(void *arg, void *p, size_t n, struct err *e) {
    struct bytes *b = arg;

    n = MIN(n, b->left);
    memcpy(p, b->at, n);
    b->at += n;
    b->left -= n;
    return (ssize_t)n;
}

static int scan(struct sbom_scan *s, const char *p, size_t n, struct err *e) {
    struct bytes b = {p, n};

    CHECK_INT(sbom_scan_init(s, e), 0);
    return sbom_scan_stream(s, read_bytes, &b, e);
}

/* An image of one layer with one package. */
static void make_image(struct buf *ret, const char *manifest) {
    static const char status[] = "Package: p\nVersion: 1\n";
    _cleanup_buf_ struct buf layer = BUF_INIT(1 << 20);

    add_member(&layer, "./var/lib/dpkg/status", '0', status, strlen(status));
    add_end(&layer);
    add_member(ret, "layer", '0', layer.data, layer.len);
    add_member(ret, "VERSION", '0', "1.0", 3);
    add_member(ret, "manifest.json", '0', manifest, strlen(manifest));
    add_end(ret);
}

TEST(an_archive_is_read_whole_or_refused) {
    _cleanup_buf_ struct buf image = BUF_INIT(1 << 20);
    struct sbom_packages p = {0};
    struct sbom_scan s;

    make_image(&image, "[{\"Layers\":[\"./layer\"]}]");
    CHECK_INT(scan(&s, image.data, image.len, NULL), 0);
    CHECK_INT(sbom_gather(&s, &p, NULL), 0);
    CHECK_INT(p.n, 1);
    sbom_packages_done(&p);
    sbom_scan_done(&s);
    /* Cut anywhere before the end of its last member it is an error and not a shorter list. */
    for (size_t n = 0; n < image.len - 1024; n += 97) {
        _cleanup_err_ struct err e = ERR_INIT;

        CHECK(scan(&s, image.data, n, &e) < 0);
        CHECK(*err_msg(&e));
        sbom_scan_done(&s);
    }
    /* Bent anywhere it is read or refused; the sanitizers watch. */
    for (size_t at = 0; at < image.len; at += 7) {
        image.data[at] ^= 0x55;
        ignore_result(scan(&s, image.data, image.len, NULL));
        ignore_result(sbom_gather(&s, &p, NULL));
        sbom_packages_done(&p);
        sbom_scan_done(&s);
        image.data[at] ^= 0x55;
    }
}

TEST(manifests_that_lie_are_refused) {
    static const char *const rows[][2] = {{"[]", "holds 0 images"},
                                          {"{}", "holds 0 images"},
                                          {"[{}]", "holds 1 images"},
                                          {"[{\"Layers\":[]},{\"Layers\":[]}]", "holds 2 images"},
                                          {"[{\"Layers\":[\"other\"]}]", "names the layer other"},
                                          {"[{\"Layers\":[\"../layer\"]}]", "names the layer ?"},
                                          {"[{\"Layers\":[1]}]", "names the layer ?"},
                                          {"[{\"Layers\":[\"VERSION\"]}]", "names the layer VERSION"},
                                          {"[", "manifest.json: "}};

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_buf_ struct buf image = BUF_INIT(1 << 20);
        _cleanup_err_ struct err e = ERR_INIT;
        struct sbom_scan s;

        make_image(&image, rows[i][0]);
        CHECK(scan(&s, image.data, image.len, &e) < 0);
        if (!strstr(err_msg(&e), rows[i][1]))
            CHECK_STR(err_msg(&e), rows[i][1]);
        sbom_scan_done(&s);
    }
}

/* ---- purls ------------------------------------------------------------------------------------------------------------------------ */

static void purl(const struct sbom_packages *all, const struct sbom_package *one, const char *want) {
    _cleanup_free_ char *got = sbom_purl(all, one);

    CHECK_STR(got, want);
}

TEST(purls_are_in_their_canonical_form) {
    char name[] = "g++", version[] = "4:12.2.0-3", arch[] = "amd64", source[] = "gcc-defaults (1.203)", id[] = "debian", release[] = "12";
    struct sbom_package one = {.type = "deb", .name = name, .version = version};
    struct sbom_packages none = {0}, debian = {.os_id = id, .os_version = release};

    purl(&none, &one, "pkg:deb/debian/g%2B%2B@4:12.2.0-3");
    one.arch = arch;
    one.upstream = source;
    purl(&debian, &one, "pkg:deb/debian/g%2B%2B@4:12.2.0-3?arch=amd64&distro=debian-12&upstream=gcc-defaults");
    one.type = "rpm";
    purl(&none, &one, "pkg:rpm/g%2B%2B@4:12.2.0-3?arch=amd64&upstream=gcc-defaults");
}

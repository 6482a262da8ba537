// SPDX-License-Identifier: Apache-2.0
/* Headers of RPM's database, whole and broken; purls. What needs an image is in contract-tests/system/sbom.bats. */
#include <stdlib.h>
#include <string.h>

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

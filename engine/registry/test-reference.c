// SPDX-License-Identifier: Apache-2.0
#include "base/cleanup.h"
#include "base/test.h"
#include "registry/reference.h"

#define HEX "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

TEST(names_are_normalised) {
    static const struct {
        const char *in, *canonical, *familiar;
    } rows[] = {
        {"busybox", "docker.io/library/busybox", "busybox"},
        {"busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"},
        {"docker.io/busybox", "docker.io/library/busybox", "busybox"},
        {"index.docker.io/busybox", "docker.io/library/busybox", "busybox"},
        {"docker.io/library/busybox:x", "docker.io/library/busybox:x", "busybox:x"},
        {"some/app", "docker.io/some/app", "some/app"},
        {"library/a/b", "docker.io/library/a/b", "library/a/b"},
        {"localhost/app", "localhost/app", "localhost/app"},
        {"localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app:v1"},
        {"reg.example.com/a/b/c", "reg.example.com/a/b/c", "reg.example.com/a/b/c"},
        {"Uppercase/app", "Uppercase/app", "Uppercase/app"},
        {"[2001:db8::1]:5000/app", "[2001:db8::1]:5000/app", "[2001:db8::1]:5000/app"},
        {"a__b/c--d", "docker.io/a__b/c--d", "a__b/c--d"},
        {"x@sha256:" HEX, "docker.io/library/x@sha256:" HEX, "x@sha256:" HEX},
        {"x:t@sha256:" HEX, "docker.io/library/x:t@sha256:" HEX, "x:t@sha256:" HEX},
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_reference_ struct reference r = REFERENCE_INIT;
        _cleanup_err_ struct err e = ERR_INIT;
        _cleanup_free_ char *canonical = NULL, *familiar = NULL;

        CHECK_INT(reference_parse(rows[i].in, &r, &e), 0);
        if (e.kind != ERR_NONE)
            continue;
        canonical = reference_canonical(&r);
        familiar = reference_familiar(&r);
        CHECK_STR(canonical, rows[i].canonical);
        CHECK_STR(familiar, rows[i].familiar);
    }
}

TEST(bad_names_are_refused_in_the_reference_words) {
    static const struct {
        const char *in, *error;
    } rows[] = {
        {"", "invalid reference format"},
        {"NoSuch", "invalid reference format: repository name (library/NoSuch) must be lowercase"},
        {"reg.io/NoSuch:x", "invalid reference format: repository name (NoSuch) must be lowercase"},
        {HEX, "invalid repository name (" HEX "), cannot specify 64-byte hexadecimal strings"},
        {"a:b:c", "invalid reference format"},
        {"a//b", "invalid reference format"},
        {"-a", "invalid reference format"},
        {"a:", "invalid reference format"},
        {"a:-x", "invalid reference format"},
        {"a___b", "invalid reference format"},
        {"a b", "invalid reference format"},
        {"../a", "invalid reference format"},
        {"a@sha256:abc", "invalid reference format"},
        {"a@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "invalid checksum digest length"},
        {"a@md5:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "unsupported digest algorithm"},
        {"reg-.io/a", "invalid reference format"},
        {"reg.io:x/a", "invalid reference format"},
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_reference_ struct reference r = REFERENCE_INIT;
        _cleanup_err_ struct err e = ERR_INIT;

        CHECK_INT(reference_parse(rows[i].in, &r, &e), -ERR_INVALID);
        CHECK_STR(err_msg(&e), rows[i].error);
    }
}

TEST(digests_name_files_and_so_are_strict) {
    CHECK(digest_is_valid("sha256:" HEX));
    CHECK(!digest_is_valid("sha256:../../x"));
    CHECK(!digest_is_valid("sha256:A" HEX));
    CHECK(!digest_is_valid("sha512:" HEX));
    CHECK(!digest_is_valid(HEX));
}

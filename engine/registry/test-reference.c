// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/test.h"
#include "registry/reference.h"

static void good(const char *s, const char *canonical, const char *familiar) {
    _cleanup_reference_ struct reference r = REFERENCE_INIT;
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_free_ char *c = NULL, *f = NULL;

    CHECK_INT(reference_parse(s, &r, &e), 0);
    if (!r.path)
        return;
    c = reference_canonical(&r);
    f = reference_familiar(&r);
    CHECK_STR(c, canonical);
    CHECK_STR(f, familiar);
}

static void bad(const char *s, const char *message) {
    _cleanup_reference_ struct reference r = REFERENCE_INIT;
    _cleanup_err_ struct err e = ERR_INIT;

    CHECK_INT(reference_parse(s, &r, &e), -ERR_INVALID);
    CHECK_STR(err_msg(&e), message);
}

#define SHA "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

TEST(names_are_normalised) {
    good("busybox", "docker.io/library/busybox", "busybox");
    good("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36");
    good("docker.io/busybox", "docker.io/library/busybox", "busybox");
    good("index.docker.io/library/busybox", "docker.io/library/busybox", "busybox");
    good("someorg/app", "docker.io/someorg/app", "someorg/app");
    good("localhost/app", "localhost/app", "localhost/app");
    good("host:5000/a/b_c__d-e.f:T_1", "host:5000/a/b_c__d-e.f:T_1", "host:5000/a/b_c__d-e.f:T_1");
    good("UPPER/x", "UPPER/x", "UPPER/x");
    good("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x");
    good("x@" SHA, "docker.io/library/x@" SHA, "x@" SHA);
    good("x:t@" SHA, "docker.io/library/x:t@" SHA, "x:t@" SHA);
}

TEST(bad_names_are_refused_in_the_reference_words) {
    bad("a b", "invalid reference format");
    bad("", "invalid reference format");
    bad("x:", "invalid reference format");
    bad("-x", "invalid reference format");
    bad("x..y", "invalid reference format");
    bad("a//b", "invalid reference format");
    bad("x@sha256:12", "invalid reference format");
    bad("x@md5:0123456789abcdef0123456789abcdef", "unsupported digest algorithm");
    bad("x@sha256:0123456789abcdef0123456789abcdef", "invalid checksum digest length");
    bad("Busybox", "invalid reference format: repository name (library/Busybox) must be lowercase");
    bad("h.x/aB:T", "invalid reference format: repository name (aB) must be lowercase");
    bad("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "invalid repository name (0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef), cannot specify 64-byte hexadecimal strings");
}

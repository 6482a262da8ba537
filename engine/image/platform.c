// SPDX-License-Identifier: Apache-2.0
#include "image/platform.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/strv.h"

#define TEXT_MAX 32

/* The instructions of the levels of the x86-64 psABI that a compiler can ask for. */
static int machine_level(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("popcnt"))
        return 1;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2") || !__builtin_cpu_supports("fma"))
        return 2;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") ? 4 : 3;
#else
    return 1;
#endif
}

static void set(char to[TEXT_MAX], const char *text) {
    snprintf(to, TEXT_MAX, "%s", text);
}

/* The names things go by besides their own. */
static void normalise(char arch[TEXT_MAX], char variant[TEXT_MAX]) {
    if (streq(arch, "x86_64") || streq(arch, "x86-64"))
        set(arch, "amd64");
    if (streq(arch, "aarch64"))
        set(arch, "arm64");
    if (streq(arch, "i386")) {
        set(arch, "386");
        set(variant, "");
    } else if (streq(arch, "armhf")) {
        set(arch, "arm");
        set(variant, "v7");
    } else if (streq(arch, "armel")) {
        set(arch, "arm");
        set(variant, "v6");
    } else if (streq(arch, "amd64") && streq(variant, "v1")) {
        set(variant, "");
    } else if (streq(arch, "arm64") && (streq(variant, "v8") || streq(variant, "8"))) {
        set(variant, "");
    } else if (streq(arch, "arm") && !*variant) {
        set(variant, "v7");
    } else if (streq(arch, "arm") && variant[1] == 0 && variant[0] >= '5' && variant[0] <= '8') {
        char digit = variant[0];

        snprintf(variant, TEXT_MAX, "v%c", digit);
    }
}

int platform_parse(const char *text, struct platform *ret, struct err *e) {
    _cleanup_strv_ struct strv parts = STRV_INIT;

    *ret = (struct platform){"linux", "amd64", "", !str_empty(text), 1};
    if (!ret->given) {
        ret->level = machine_level();
        return 0;
    }
    if (strv_split(&parts, text, '/') < 0)
        return err_oom(e);
    if (parts.n > 3)
        return err_set(e, ERR_INVALID, "\"%s\": cannot parse platform specifier: invalid argument", text);
    for (size_t i = 0; i < parts.n; i++) {
        const char *s = parts.v[i];

        if (!*s || strlen(s) >= sizeof ret->os || strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != strlen(s))
            return err_set(
                e, ERR_INVALID,
                "\"%s\" is an invalid component of \"%s\": platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument", s, text);
    }
    if (parts.n == 1 && !streq(parts.v[0], "linux") && !streq(parts.v[0], "windows"))
        snprintf(ret->arch, sizeof ret->arch, "%s", parts.v[0]);
    else
        snprintf(ret->os, sizeof ret->os, "%s", parts.v[0]);
    if (parts.n > 1)
        snprintf(ret->arch, sizeof ret->arch, "%s", parts.v[1]);
    if (parts.n > 2)
        snprintf(ret->variant, sizeof ret->variant, "%s", parts.v[2]);
    normalise(ret->arch, ret->variant);
    return 0;
}

/* N of "vN", 0 for anything else. */
static int number_of(const char *variant) {
    return variant[0] == 'v' && variant[1] >= '1' && variant[1] <= '9' && !variant[2] ? variant[1] - '0' : 0;
}

/* Variants of ARM a machine of variant N runs: its own, then those below it down to 5. */
static int arm_rank(int n, const char *variant) {
    int m = number_of(variant);

    return n > 0 && m >= 5 && m <= n ? n - m : -1;
}

int platform_rank(const struct platform *want, const char *os, const char *arch, const char *variant) {
    char a[TEXT_MAX], v[TEXT_MAX];
    bool same;
    int n;

    if (!streq(os, want->os) || strlen(arch) >= TEXT_MAX || strlen(variant) >= TEXT_MAX)
        return -1;
    set(a, arch);
    set(v, variant);
    normalise(a, v);
    same = streq(a, want->arch);
    if (same && want->level <= 1 && streq(v, want->variant))
        return 0;
    if (streq(want->arch, "amd64")) {
        n = want->level > 1 ? want->level : number_of(want->variant);
        if (same && !*v)
            return MAX(n, 1);
        if (same)
            return number_of(v) > 1 && number_of(v) <= n ? n - number_of(v) : -1;
        return streq(a, "386") && !*v ? 10 : -1;
    }
    if (streq(want->arch, "arm"))
        return same ? arm_rank(number_of(want->variant), v) : -1;
    if (streq(want->arch, "arm64") && streq(a, "arm")) {
        n = arm_rank(*want->variant ? number_of(want->variant) : 8, v);
        return n < 0 ? n : n + 1;
    }
    return -1;
}

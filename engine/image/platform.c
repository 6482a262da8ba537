// SPDX-License-Identifier: Apache-2.0
#include "image/platform.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/strv.h"

#if defined(__aarch64__)
#define MACHINE "arm64"
#else
#define MACHINE "amd64"
#endif

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

static void set(char to[PLATFORM_WORD], const char *text) {
    snprintf(to, PLATFORM_WORD, "%s", text);
}

/* The names things go by besides their own. */
static void normalise(char arch[PLATFORM_WORD], char variant[PLATFORM_WORD]) {
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

        snprintf(variant, PLATFORM_WORD, "v%c", digit);
    }
}

static void lower(char *text) {
    for (; *text; text++)
        *text = (char)tolower((unsigned char)*text);
}

static bool is_among(const char *word, const char *const *list) {
    for (; *list; list++)
        if (streq(*list, word))
            return true;
    return false;
}

static bool is_system(const char *os) {
    static const char *const known[] = {"aix",   "android", "darwin", "dragonfly", "freebsd", "hurd",    "illumos", "ios", "js",
                                        "linux", "nacl",    "netbsd", "openbsd",   "plan9",   "solaris", "windows", "zos", NULL};

    return is_among(os, known);
}

static bool is_architecture(const char *arch) {
    static const char *const known[] = {"386",     "amd64", "amd64p32", "arm",    "armbe",    "arm64",     "arm64be",     "ppc64", "ppc64le",
                                        "loong64", "mips",  "mipsle",   "mips64", "mips64le", "mips64p32", "mips64p32le", "ppc",   "riscv",
                                        "riscv64", "s390",  "s390x",    "sparc",  "sparc64",  "wasm",      NULL};

    return is_among(arch, known);
}

#define WORD "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

/* The first word may have a version behind it: windows(10.0). */
static int check_word(const char *s, bool first, const char *text, struct err *e) {
    size_t n = strspn(s, WORD), version = first && s[n] == '(' ? strspn(s + n + 1, WORD ".") + 2 : 0;

    if (n > 0 && n < PLATFORM_WORD && (!s[n] || (version && s[n + version - 1] == ')' && !s[n + version])))
        return 0;
    if (first)
        return err_set(e, ERR_INVALID,
                       "\"%s\" is an invalid OS component of \"%s\": OSAndVersion specifier component must match "
                       "\"^([A-Za-z0-9_-]+)(?:\\\\(([A-Za-z0-9_.-]*)\\\\))?$\": invalid argument",
                       s, text);
    return err_set(e, ERR_INVALID,
                   "\"%s\" is an invalid component of \"%s\": platform specifier component must match \"^[A-Za-z0-9_-]+$\": invalid argument", s,
                   text);
}

/* One word alone: an operating system or an architecture. */
static int parse_word(const char *text, struct platform *ret, struct err *e) {
    if (is_system(ret->os))
        return 0;
    set(ret->arch, ret->os);
    set(ret->os, "linux");
    normalise(ret->arch, ret->variant);
    return is_architecture(ret->arch) ? 0 : err_set(e, ERR_INVALID, "\"%s\": unknown operating system or architecture: invalid argument", text);
}

int platform_parse(const char *text, struct platform *ret, struct err *e) {
    _cleanup_strv_ struct strv parts = STRV_INIT;
    int r = 0;

    *ret = (struct platform){"linux", MACHINE, "", "", !str_empty(text), 1};
    if (!text || !*text) {
        ret->level = machine_level();
        return 0;
    }
    if (strchr(text, '*'))
        return err_set(e, ERR_INVALID, "\"%s\": wildcards not yet supported: invalid argument", text);
    if (strv_split(&parts, text, '/') < 0)
        return err_oom(e);
    if (parts.n > 3)
        return err_set(e, ERR_INVALID, "\"%s\": cannot parse platform specifier: invalid argument", text);
    for (size_t i = 0; r == 0 && i < parts.n; i++)
        r = check_word(parts.v[i], i == 0, text, e);
    if (r < 0)
        return r;
    parts.v[0][strcspn(parts.v[0], "(")] = 0;
    for (size_t i = 0; i < parts.n; i++)
        lower(parts.v[i]);
    set(ret->os, streq(parts.v[0], "macos") ? "darwin" : parts.v[0]);
    if (parts.n > 1)
        set(ret->arch, parts.v[1]);
    if (parts.n > 2)
        set(ret->variant, parts.v[2]);
    if (parts.n == 1)
        r = parse_word(text, ret, e);
    normalise(ret->arch, ret->variant);
    set(ret->told, ret->variant);
    if (parts.n < 3 && streq(ret->arch, "arm") && streq(ret->variant, "v7"))
        set(ret->told, "");
    else if (parts.n == 3 && streq(ret->arch, "arm64") && !*ret->variant)
        set(ret->told, "v8");
    return r;
}

void platform_print_host(char ret[TEXT_PLATFORM]) {
    struct platform p;

    (void)platform_parse(NULL, &p, NULL);
    snprintf(ret, TEXT_PLATFORM, "%.31s/%.31s/v%d", p.os, p.arch, p.level);
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
    char a[PLATFORM_WORD], v[PLATFORM_WORD];
    bool same;
    int n;

    if (!streq(os, want->os) || strlen(arch) >= PLATFORM_WORD || strlen(variant) >= PLATFORM_WORD)
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

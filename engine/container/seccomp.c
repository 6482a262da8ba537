// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <sys/utsname.h>

#include "base/limits.h"
#include "base/str.h"
#include "container/spec.h"

#define NATIVE_X86 "SCMP_ARCH_X86_64"

static bool has_string(json_t *list, const char *s) {
    size_t i;
    json_t *v;

    json_array_foreach(list, i, v) {
        if (json_is_string(v) && streq(json_string_value(v), s))
            return true;
    }
    return false;
}

static bool any_cap(json_t *want, json_t *caps) {
    size_t i;
    json_t *v;

    json_array_foreach(want, i, v) {
        if (json_is_string(v) && has_string(caps, json_string_value(v)))
            return true;
    }
    return false;
}

static bool all_caps(json_t *want, json_t *caps) {
    size_t i;
    json_t *v;

    json_array_foreach(want, i, v) {
        if (!json_is_string(v) || !has_string(caps, json_string_value(v)))
            return false;
    }
    return true;
}

static const char *go_arch(void) {
#if defined(__x86_64__)
    return "amd64";
#elif defined(__aarch64__)
    return "arm64";
#else
    return "";
#endif
}

static const char *native_arch(void) {
#if defined(__x86_64__)
    return NATIVE_X86;
#elif defined(__aarch64__)
    return "SCMP_ARCH_AARCH64";
#else
    return "";
#endif
}

/* The running kernel is at least "4.8"? An unreadable text counts as no. */
static bool kernel_at_least(const char *text) {
    struct utsname u;
    int a, b, c, d;

    if (uname(&u) < 0 || sscanf(text, "%d.%d", &a, &b) != 2 || sscanf(u.release, "%d.%d", &c, &d) != 2)
        return false;
    return c > a || (c == a && d >= b);
}

/* A rule's conditions on architecture, kernel and capabilities. */
static bool applies(json_t *sc, json_t *caps) {
    json_t *in = json_object_get(sc, "includes"), *ex = json_object_get(sc, "excludes");
    const char *min_in = json_string_value(json_object_get(in, "minKernel")), *min_ex = json_string_value(json_object_get(ex, "minKernel"));
    json_t *arches = json_object_get(in, "arches");

    if (any_cap(json_object_get(ex, "caps"), caps) || has_string(json_object_get(ex, "arches"), go_arch()) || (min_ex && kernel_at_least(min_ex)))
        return false;
    if (json_array_size(arches) > 0 && !has_string(arches, go_arch()))
        return false;
    return all_caps(json_object_get(in, "caps"), caps) && (!min_in || kernel_at_least(min_in));
}

static json_t *architectures(json_t *profile) {
    json_t *map = json_object_get(profile, "archMap"), *m, *own = json_object_get(profile, "architectures");
    size_t i;

    json_array_foreach(map, i, m) {
        const char *arch = json_string_value(json_object_get(m, "architecture"));
        json_t *subs = json_object_get(m, "subArchitectures"), *out, *s;
        size_t k;

        if (!arch || !streq(arch, native_arch()))
            continue;
        out = json_pack("[s]", arch);
        json_array_foreach(subs, k, s) json_array_append(out, s);
        return out;
    }
    return json_is_array(own) ? json_copy(own) : json_array();
}

static int convert_rules(json_t *profile, json_t *caps, json_t *out, struct err *e) {
    json_t *rules = json_object_get(profile, "syscalls"), *sc, *list = json_array();
    size_t i;

    if (json_object_set_new(out, "syscalls", list) < 0)
        return err_oom(e);
    json_array_foreach(rules, i, sc) {
        json_t *names = json_object_get(sc, "names"), *name = json_object_get(sc, "name"), *rule;

        if (json_is_string(name) && json_array_size(names) > 0)
            return err_set(e, ERR_INTERNAL, "'name' and 'names' were specified in the seccomp profile, use either 'name' or 'names'");
        if (!applies(sc, caps))
            continue;
        rule = json_object();
        json_object_set_new(rule, "names", json_is_string(name) ? json_pack("[O]", name) : json_is_array(names) ? json_incref(names) : json_array());
        for (const char *const *k = (const char *const[]){"action", "errnoRet", "args", NULL}; *k; k++)
            if (json_object_get(sc, *k) && !json_is_null(json_object_get(sc, *k)))
                json_object_set(rule, *k, json_object_get(sc, *k));
        if (json_array_append_new(list, rule) < 0)
            return err_oom(e);
    }
    return 0;
}

json_t *ctr_seccomp_convert(const char *text, json_t *caps, struct err *e) {
    _cleanup_err_ struct err local = ERR_INIT;
    json_t *profile = NULL, *out;
    int r = codec_parse(text, strlen(text), &profile, NULL, &local);

    if (r < 0 || !json_is_object(profile)) {
        json_decref(profile);
        err_set(e, ERR_INTERNAL, "Decoding seccomp profile failed: %s", r < 0 ? err_msg(&local) : "not an object");
        return NULL;
    }
    out = json_object();
    for (const char *const *k = (const char *const[]){"defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata", NULL}; *k; k++)
        if (json_object_get(profile, *k) && !json_is_null(json_object_get(profile, *k)))
            json_object_set(out, *k, json_object_get(profile, *k));
    json_object_set_new(out, "architectures", architectures(profile));
    r = convert_rules(profile, caps, out, e);
    json_decref(profile);
    if (r < 0) {
        json_decref(out);
        return NULL;
    }
    return out;
}

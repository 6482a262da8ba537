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

/* ---- types -------------------------------------------------------------------------------------------------------------------- */
enum go_type { GO_STRING, GO_UINT, GO_UINT64, GO_OBJECT, GO_LIST };

struct go_field {
    const char *key;
    enum go_type type;
    const char *where, *name; /* as the reference names the member and its type */
    const struct go_field *inside;
    enum go_type of;  /* items of a list */
    const char *item; /* and their type's name */
};

/* The members whose type decides whether the reference can read a profile, with the names its messages give them. */
static const struct go_field arg_fields[] = {
    {"index", GO_UINT, "LinuxSeccompArg.syscalls.LinuxSyscall.args.index", "uint", NULL, 0, NULL},
    {"value", GO_UINT64, "LinuxSeccompArg.syscalls.LinuxSyscall.args.value", "uint64", NULL, 0, NULL},
    {"valueTwo", GO_UINT64, "LinuxSeccompArg.syscalls.LinuxSyscall.args.valueTwo", "uint64", NULL, 0, NULL},
    {"op", GO_STRING, "LinuxSeccompArg.syscalls.LinuxSyscall.args.op", "specs.LinuxSeccompOperator", NULL, 0, NULL},
    {0}};
static const struct go_field call_fields[] = {
    {"names", GO_LIST, "Syscall.syscalls.LinuxSyscall.names", "[]string", NULL, GO_STRING, "string"},
    {"name", GO_STRING, "Syscall.syscalls.name", "string", NULL, 0, NULL},
    {"action", GO_STRING, "Syscall.syscalls.LinuxSyscall.action", "specs.LinuxSeccompAction", NULL, 0, NULL},
    {"errnoRet", GO_UINT, "Syscall.syscalls.LinuxSyscall.errnoRet", "uint", NULL, 0, NULL},
    {"args", GO_LIST, "Syscall.syscalls.LinuxSyscall.args", "[]specs.LinuxSeccompArg", arg_fields, GO_OBJECT, "specs.LinuxSeccompArg"},
    {"includes", GO_OBJECT, "Syscall.syscalls.includes", "seccomp.Filter", NULL, 0, NULL},
    {"excludes", GO_OBJECT, "Syscall.syscalls.excludes", "seccomp.Filter", NULL, 0, NULL},
    {0}};
static const struct go_field profile_fields[] = {
    {"defaultAction", GO_STRING, "Seccomp.LinuxSeccomp.defaultAction", "specs.LinuxSeccompAction", NULL, 0, NULL},
    {"defaultErrnoRet", GO_UINT, "Seccomp.LinuxSeccomp.defaultErrnoRet", "uint", NULL, 0, NULL},
    {"architectures", GO_LIST, "Seccomp.LinuxSeccomp.architectures", "[]specs.Arch", NULL, GO_STRING, "specs.Arch"},
    {"flags", GO_LIST, "Seccomp.LinuxSeccomp.flags", "[]specs.LinuxSeccompFlag", NULL, GO_STRING, "specs.LinuxSeccompFlag"},
    {"archMap", GO_LIST, "Seccomp.archMap", "[]seccomp.Architecture", NULL, GO_OBJECT, "seccomp.Architecture"},
    {"syscalls", GO_LIST, "Seccomp.syscalls", "[]*seccomp.Syscall", call_fields, GO_OBJECT, "seccomp.Syscall"},
    {0}};

static bool go_fits(const json_t *v, enum go_type type) {
    switch (type) {
    case GO_STRING:
        return json_is_string(v);
    case GO_UINT:
        return json_is_integer(v) && json_integer_value(v) >= 0;
    case GO_UINT64: /* above 2^63 the parser gives a real number */
        return json_is_integer(v) ? json_integer_value(v) >= 0 : json_is_real(v);
    case GO_OBJECT:
        return json_is_object(v);
    case GO_LIST:
        return json_is_array(v);
    }
    return false;
}

static int check_value(const json_t *v, enum go_type type, const char *where, const char *name, struct err *e) {
    char number[32] = "";

    if (json_is_null(v) || go_fits(v, type))
        return 0;
    if (json_is_integer(v) && type != GO_STRING && type != GO_OBJECT && type != GO_LIST)
        snprintf(number, sizeof(number), " %lld", (long long)json_integer_value(v));
    return err_set(e, ERR_INTERNAL, "Decoding seccomp profile failed: json: cannot unmarshal %s%s into Go struct field %s of type %s", codec_word(v),
                   number, where, name);
}

static int check_fields(json_t *o, const struct go_field *f, struct err *e) {
    for (; f->key; f++) {
        json_t *v = json_object_get(o, f->key), *item;
        int r = v ? check_value(v, f->type, f->where, f->name, e) : 0;
        size_t i;

        if (r < 0)
            return r;
        json_array_foreach(v, i, item) {
            r = f->item ? check_value(item, f->of, f->where, f->item, e) : 0;
            if (r >= 0 && f->inside)
                r = check_fields(item, f->inside, e);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* ---- rules -------------------------------------------------------------------------------------------------------------------- */
static int convert_rules(json_t *profile, json_t *caps, json_t *out, struct err *e) {
    json_t *rules = json_object_get(profile, "syscalls"), *sc, *list = json_array();
    size_t i;

    if (json_object_set_new(out, "syscalls", list) < 0)
        return err_oom(e);
    json_array_foreach(rules, i, sc) {
        json_t *names = json_object_get(sc, "names"), *name = json_object_get(sc, "name"), *rule;

        if (!json_is_object(sc))
            continue;
        if (json_is_string(name) && json_string_length(name) == 0)
            name = NULL;
        if (json_is_string(name) && json_array_size(names) > 0)
            return err_set(e, ERR_INTERNAL, "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'");
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

static int convert(json_t *profile, json_t *caps, json_t **ret, struct err *e) {
    static const char *const kept[] = {"defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata"};
    const char *action = json_string_value(json_object_get(profile, "defaultAction"));
    json_t *out;
    int r = check_fields(profile, profile_fields, e);

    if (r < 0)
        return r;
    if (str_empty(action) && json_array_size(json_object_get(profile, "syscalls")) == 0)
        return 0;
    if (json_array_size(json_object_get(profile, "architectures")) > 0 && json_array_size(json_object_get(profile, "archMap")) > 0)
        return err_set(e, ERR_INTERNAL,
                       "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'");
    out = json_object();
    for (size_t i = 0; i < ELEMENTSOF(kept); i++)
        if (json_object_get(profile, kept[i]) && !json_is_null(json_object_get(profile, kept[i])))
            json_object_set(out, kept[i], json_object_get(profile, kept[i]));
    if (!out || json_object_set_new(out, "architectures", architectures(profile)) < 0)
        r = err_oom(e);
    if (r >= 0)
        r = convert_rules(profile, caps, out, e);
    if (r < 0)
        json_decref(out);
    else
        *ret = out;
    return r;
}

int ctr_seccomp_convert(const char *text, json_t *caps, json_t **ret, struct err *e) {
    _cleanup_err_ struct err local = ERR_INIT;
    json_t *profile = NULL;
    int r = codec_parse(text, strlen(text), &profile, NULL, &local);

    *ret = NULL;
    if (r < 0)
        return err_set(e, ERR_INTERNAL, "Decoding seccomp profile failed: %s",
                       strstr(err_msg(&local), "unexpected EOF") || streq(err_msg(&local), "EOF") ? "unexpected end of JSON input" : err_msg(&local));
    if (json_is_null(profile))
        r = 0;
    else if (!json_is_object(profile))
        r = err_set(e, ERR_INTERNAL, "Decoding seccomp profile failed: json: cannot unmarshal %s into Go value of type seccomp.Seccomp",
                    codec_word(profile));
    else
        r = convert(profile, caps, ret, e);
    json_decref(profile);
    return r;
}

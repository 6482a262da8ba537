// SPDX-License-Identifier: Apache-2.0
/* Reading members of a document, and the names in it: capabilities, signals, limits. */
#include "oci/build-internal.h"

#include <errno.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/str.h"

static int wrong(struct err *e, const char *where, const char *key, const char *what) {
    return err_set(e, ERR_INVALID, "%s%s%s: expected %s", where, *where ? "." : "", key, what);
}

static const json_t *member(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);

    return v && !json_is_null(v) ? v : NULL;
}

int j_object(const json_t *o, const char *where, const char *key, const json_t **ret, struct err *e) {
    const json_t *v = member(o, key);

    if (!v)
        return 0;
    if (!json_is_object(v))
        return wrong(e, where, key, "an object");
    *ret = v;
    return 1;
}

int j_array(const json_t *o, const char *where, const char *key, const json_t **ret, struct err *e) {
    const json_t *v = member(o, key);

    if (!v)
        return 0;
    if (!json_is_array(v))
        return wrong(e, where, key, "an array");
    *ret = v;
    return 1;
}

int j_str(const json_t *o, const char *where, const char *key, const char **ret, struct err *e) {
    const json_t *v = member(o, key);

    if (!v)
        return 0;
    if (!json_is_string(v))
        return wrong(e, where, key, "a string");
    if (strlen(json_string_value(v)) != json_string_length(v))
        return wrong(e, where, key, "a string without NUL");
    *ret = json_string_value(v);
    return 1;
}

int j_int(const json_t *o, const char *where, const char *key, int64_t lo, int64_t hi, int64_t *ret, struct err *e) {
    const json_t *v = member(o, key);

    if (!v)
        return 0;
    if (!json_is_integer(v))
        return wrong(e, where, key, "an integer");
    if (json_integer_value(v) < lo || json_integer_value(v) > hi)
        return err_set(e, ERR_INVALID, "%s%s%s: %lld is outside of %lld to %lld", where, *where ? "." : "", key, (long long)json_integer_value(v),
                       (long long)lo, (long long)hi);
    *ret = json_integer_value(v);
    return 1;
}

int j_bool(const json_t *o, const char *where, const char *key, bool *ret, struct err *e) {
    const json_t *v = member(o, key);

    if (!v)
        return 0;
    if (!json_is_boolean(v))
        return wrong(e, where, key, "true or false");
    *ret = json_is_true(v);
    return 1;
}

static int item_str(const json_t *item, const char *where, size_t index, const char **ret, struct err *e) {
    if (!json_is_string(item) || strlen(json_string_value(item)) != json_string_length(item))
        return err_set(e, ERR_INVALID, "%s[%zu]: expected a string without NUL", where, index);
    *ret = json_string_value(item);
    return 0;
}

int j_list(const json_t *o, const char *where, const char *key, const char ***ret, size_t *ret_n, struct err *e) {
    _cleanup_free_ const char **v = NULL;
    const json_t *a = NULL;
    int r = j_array(o, where, key, &a, e);
    char name[128];

    if (r <= 0) {
        if (r == 0) {
            *ret = NULL;
            *ret_n = 0;
        }
        return r;
    }
    v = calloc(json_array_size(a) + 1, sizeof *v);
    if (!v)
        return err_oom(e);
    snprintf(name, sizeof name, "%s.%s", where, key);
    for (size_t i = 0; i < json_array_size(a); i++) {
        r = item_str(json_array_get(a, i), name, i, &v[i], e);
        if (r < 0)
            return r;
    }
    *ret = TAKE_PTR(v);
    *ret_n = json_array_size(a);
    return 1;
}

/* ---- capabilities, signals, limits by name ---------------------------------------------------------------------------- */

int oci_cap_number(const char *name) {
    static const char *const names[] = {"CHOWN",
                                        "DAC_OVERRIDE",
                                        "DAC_READ_SEARCH",
                                        "FOWNER",
                                        "FSETID",
                                        "KILL",
                                        "SETGID",
                                        "SETUID",
                                        "SETPCAP",
                                        "LINUX_IMMUTABLE",
                                        "NET_BIND_SERVICE",
                                        "NET_BROADCAST",
                                        "NET_ADMIN",
                                        "NET_RAW",
                                        "IPC_LOCK",
                                        "IPC_OWNER",
                                        "SYS_MODULE",
                                        "SYS_RAWIO",
                                        "SYS_CHROOT",
                                        "SYS_PTRACE",
                                        "SYS_PACCT",
                                        "SYS_ADMIN",
                                        "SYS_BOOT",
                                        "SYS_NICE",
                                        "SYS_RESOURCE",
                                        "SYS_TIME",
                                        "SYS_TTY_CONFIG",
                                        "MKNOD",
                                        "LEASE",
                                        "AUDIT_WRITE",
                                        "AUDIT_CONTROL",
                                        "SETFCAP",
                                        "MAC_OVERRIDE",
                                        "MAC_ADMIN",
                                        "SYSLOG",
                                        "WAKE_ALARM",
                                        "BLOCK_SUSPEND",
                                        "AUDIT_READ",
                                        "PERFMON",
                                        "BPF",
                                        "CHECKPOINT_RESTORE"};
    const char *s = str_after(name, "CAP_");

    for (size_t i = 0; s && i < ELEMENTSOF(names); i++)
        if (streq(names[i], s))
            return (int)i;
    return -1;
}

int oci_signal_number(const char *name) {
    int64_t n;
    const char *s = strncasecmp(name, "SIG", 3) == 0 ? name + 3 : name;

    if (parse_i64(name, &n) == 0)
        return n >= 0 && n <= 64 ? (int)n : -1;
    for (int i = 1; i < 32; i++) {
        const char *abbrev = sigabbrev_np(i);

        if (abbrev && strcasecmp(abbrev, s) == 0)
            return i;
    }
    if (strncasecmp(s, "RTMIN", 5) == 0 && (s[5] == 0 || (s[5] == '+' && parse_int_range(s + 6, 0, 30, &n) == 0)))
        return 34 + (s[5] ? (int)n : 0);
    if (strncasecmp(s, "RTMAX", 5) == 0 && (s[5] == 0 || (s[5] == '-' && parse_int_range(s + 6, 0, 30, &n) == 0)))
        return 64 - (s[5] ? (int)n : 0);
    return -1;
}

int build_rlimit_number(const char *name) {
    static const struct {
        const char *name;
        int number;
    } limits[] = {{"RLIMIT_AS", RLIMIT_AS},           {"RLIMIT_CORE", RLIMIT_CORE},         {"RLIMIT_CPU", RLIMIT_CPU},
                  {"RLIMIT_DATA", RLIMIT_DATA},       {"RLIMIT_FSIZE", RLIMIT_FSIZE},       {"RLIMIT_LOCKS", RLIMIT_LOCKS},
                  {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK}, {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE}, {"RLIMIT_NICE", RLIMIT_NICE},
                  {"RLIMIT_NOFILE", RLIMIT_NOFILE},   {"RLIMIT_NPROC", RLIMIT_NPROC},       {"RLIMIT_RSS", RLIMIT_RSS},
                  {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},   {"RLIMIT_RTTIME", RLIMIT_RTTIME},     {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
                  {"RLIMIT_STACK", RLIMIT_STACK}};

    for (size_t i = 0; i < ELEMENTSOF(limits); i++)
        if (streq(limits[i].name, name))
            return limits[i].number;
    return -1;
}

/* ret: bounding, permitted, effective, inheritable, ambient. 1 when the member is there. */
int build_caps(const json_t *process, uint64_t ret[5], struct err *e) {
    static const char *const sets[] = {"bounding", "permitted", "effective", "inheritable", "ambient"};
    const json_t *caps = NULL;
    int r = j_object(process, "process", "capabilities", &caps, e);

    memset(ret, 0, 5 * sizeof *ret);
    if (r <= 0)
        return r;
    for (int i = 0; i < 5; i++) {
        _cleanup_free_ const char **v = NULL;
        size_t n = 0;

        r = j_list(caps, "process.capabilities", sets[i], &v, &n, e);
        if (r < 0)
            return r;
        for (size_t k = 0; k < n; k++) {
            int number = oci_cap_number(v[k]);

            if (number < 0)
                return err_set(e, ERR_INVALID, "process.capabilities.%s: unknown capability \"%s\"", sets[i], v[k]);
            ret[i] |= 1ULL << number;
        }
    }
    return 1;
}

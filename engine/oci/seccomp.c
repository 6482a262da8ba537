// SPDX-License-Identifier: Apache-2.0
/*
 * Compiler of seccomp profiles. libseccomp is only asked for numbers of names. For each architecture every number gets a program (an action, or tests
 * of arguments with actions); neighbours with the same program become one range; the ranges become a search tree. The kernel walks the filter once
 * per number when it is loaded, so the short tree is what makes a start fast.
 */
#include "oci/seccomp-internal.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <seccomp.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "base/str.h"

#define RULES_MAX 2048
#define CONDS_MAX 6
#define X32_BIT 0x40000000u
#define CODE_MAX 4096 /* BPF_MAXINSNS */

struct cond {
    unsigned arg;
    bool narrow; /* the kernel reads 32 bits of it */
    int op;
    uint64_t a, b;
};

/* One rule for one number. */
struct rule {
    uint32_t nr;
    uint32_t action;
    unsigned n_conds;
    struct cond conds[CONDS_MAX];
    unsigned order;
};

struct code {
    struct sock_filter v[CODE_MAX];
    size_t n;
    bool failed;
};

struct arch {
    const char *name;
    uint32_t token; /* libseccomp's */
    uint32_t audit;
    uint32_t bit; /* added to numbers */
};

static const struct arch archs[] = {
    {"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64, AUDIT_ARCH_X86_64, 0},
    {"SCMP_ARCH_X32", SCMP_ARCH_X32, AUDIT_ARCH_X86_64, X32_BIT},
    {"SCMP_ARCH_X86", SCMP_ARCH_X86, AUDIT_ARCH_I386, 0},
    {"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64, AUDIT_ARCH_AARCH64, 0},
    {"SCMP_ARCH_ARM", SCMP_ARCH_ARM, AUDIT_ARCH_ARM, 0},
    {"SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64, 0xC00000F3u, 0},
    {"SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE, AUDIT_ARCH_PPC64LE, 0},
    {"SCMP_ARCH_S390X", SCMP_ARCH_S390X, AUDIT_ARCH_S390X, 0},
};

/* Calls that 32-bit x86 also has as numbers of their own since 4.3, where the library answers with the number of the multiplexer. */
static const struct {
    const char *name;
    uint32_t nr;
} x86_direct[] = {{"accept4", 364}, {"bind", 361},       {"connect", 362},  {"getpeername", 368}, {"getsockname", 367}, {"getsockopt", 365},
                  {"listen", 363},  {"recvfrom", 371},   {"recvmsg", 372},  {"recvmmsg", 337},    {"sendmmsg", 345},    {"sendmsg", 370},
                  {"sendto", 369},  {"setsockopt", 366}, {"shutdown", 373}, {"socket", 359},      {"socketpair", 360},  {"semget", 393},
                  {"semctl", 394},  {"shmget", 395},     {"shmctl", 396},   {"shmat", 397},       {"shmdt", 398},       {"msgget", 399},
                  {"msgsnd", 400},  {"msgrcv", 401},     {"msgctl", 402}};

/* Arguments the kernel reads as int (R15). */
static bool is_narrow(const char *name, unsigned arg) {
    static const struct {
        const char *name;
        unsigned args; /* bit mask */
    } ints[] = {{"socket", 7}, {"socketpair", 7}, {"personality", 1}, {"clone", 1}, {"unshare", 1}, {"setns", 3},  {"ioctl", 3},
                {"prctl", 1},  {"fcntl", 3},      {"keyctl", 1},      {"bpf", 1},   {"open", 2},    {"openat", 4}, {"socketcall", 1}};

    for (size_t i = 0; i < ELEMENTSOF(ints); i++)
        if (streq(ints[i].name, name))
            return ints[i].args & 1u << arg;
    return false;
}

static int action_of(const char *name, int64_t errnum, uint32_t *ret, struct err *e) {
    static const struct {
        const char *name;
        uint32_t action;
    } actions[] = {{"SCMP_ACT_KILL", SECCOMP_RET_KILL_THREAD},
                   {"SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD},
                   {"SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS},
                   {"SCMP_ACT_TRAP", SECCOMP_RET_TRAP},
                   {"SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO},
                   {"SCMP_ACT_TRACE", SECCOMP_RET_TRACE},
                   {"SCMP_ACT_ALLOW", SECCOMP_RET_ALLOW},
                   {"SCMP_ACT_LOG", SECCOMP_RET_LOG}};

    for (size_t i = 0; i < ELEMENTSOF(actions); i++)
        if (streq(actions[i].name, name)) {
            *ret = actions[i].action;
            if (*ret == SECCOMP_RET_ERRNO || *ret == SECCOMP_RET_TRACE)
                *ret |= (uint32_t)errnum & SECCOMP_RET_DATA;
            return 0;
        }
    return err_set(e, ERR_INVALID, "string %s is not a valid action for seccomp", name);
}

static const char *text(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

/* Numbers from 2^63 on do not fit the parser's integers and arrive as real ones. */
static uint64_t unsigned_of(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    double d = json_real_value(v);

    if (!json_is_real(v))
        return (uint64_t)json_integer_value(v);
    return d >= 18446744073709551615.0 ? UINT64_MAX : d > 0 ? (uint64_t)d : 0;
}

static int read_conds(const json_t *rule, const char *name, struct rule *ret, struct err *e) {
    static const struct {
        const char *name;
        int op;
    } ops[] = {{"SCMP_CMP_NE", SCMP_CMP_NE},
               {"SCMP_CMP_LT", SCMP_CMP_LT},
               {"SCMP_CMP_LE", SCMP_CMP_LE},
               {"SCMP_CMP_EQ", SCMP_CMP_EQ},
               {"SCMP_CMP_GE", SCMP_CMP_GE},
               {"SCMP_CMP_GT", SCMP_CMP_GT},
               {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
    const json_t *args = json_object_get(rule, "args");

    ret->n_conds = 0;
    for (size_t i = 0; i < json_array_size(args); i++) {
        const json_t *a = json_array_get(args, i);
        struct cond c = {.op = -1};

        for (size_t k = 0; k < ELEMENTSOF(ops); k++)
            if (streq(ops[k].name, text(a, "op")))
                c.op = ops[k].op;
        if (c.op < 0)
            return err_set(e, ERR_INVALID, "string %s is not a valid operator for seccomp", text(a, "op"));
        if (!json_is_integer(json_object_get(a, "index")) || json_integer_value(json_object_get(a, "index")) < 0 || ret->n_conds == CONDS_MAX)
            return err_set(e, ERR_INVALID, "linux.seccomp: rule for %s: args[%zu] is not valid", name, i);
        if (json_integer_value(json_object_get(a, "index")) > 5)
            return err_set(e, ERR_INVALID,
                           "unable to start container process: error creating seccomp syscall condition for syscall %s: syscalls only have up to 6 "
                           "arguments (%lld given)",
                           name, (long long)json_integer_value(json_object_get(a, "index")));
        c.arg = (unsigned)json_integer_value(json_object_get(a, "index"));
        c.a = unsigned_of(a, "value");
        c.b = unsigned_of(a, "valueTwo");
        c.narrow = is_narrow(name, c.arg);
        ret->conds[ret->n_conds++] = c;
    }
    return 0;
}

/* ---- rules of one architecture ---------------------------------------------------------------------------------------- */

static int64_t number_of(const struct arch *a, const char *name) {
    int nr = seccomp_syscall_resolve_name_arch(a->token, name);

    if (a->audit == AUDIT_ARCH_I386)
        for (size_t i = 0; i < ELEMENTSOF(x86_direct); i++)
            if (streq(x86_direct[i].name, name))
                return x86_direct[i].nr;
    /* Calls added since 5.1 have the same number everywhere; libraries before 2.5.5 miss some of x32's. */
    if (nr < 0 && a->token == SCMP_ARCH_X32) {
        nr = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, name);
        if (nr < 424)
            nr = -1;
    }
    if (nr < 0)
        return -1;
    return (uint32_t)nr | a->bit;
}

static int collect(const json_t *profile, const struct arch *a, uint32_t deflt, struct rule *rules, size_t *n, uint32_t *max, struct err *e) {
    const json_t *list = json_object_get(profile, "syscalls");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i), *names = json_object_get(o, "names");
        const json_t *num = json_object_get(o, "errnoRet");
        uint32_t action;
        int r = action_of(text(o, "action"), json_is_integer(num) ? json_integer_value(num) : EPERM, &action, e);

        for (size_t k = 0; r >= 0 && k < json_array_size(names); k++) {
            const char *name = json_string_value(json_array_get(names, k));
            int64_t nr = name ? number_of(a, name) : -1;

            if (nr < 0)
                continue;
            if ((uint32_t)nr > *max)
                *max = (uint32_t)nr;
            if (action == deflt)
                continue;
            if (*n == RULES_MAX)
                return err_set(e, ERR_INVALID, "linux.seccomp: more than %d rules", RULES_MAX);
            rules[*n] = (struct rule){.nr = (uint32_t)nr, .action = action, .order = (unsigned)*n};
            r = read_conds(o, name, &rules[*n], e);
            (*n)++;
        }
        if (r < 0)
            return r;
    }
    return 0;
}

/* By number; a rule without tests goes last among those of its number, as it always applies. */
static int by_number(const void *pa, const void *pb) {
    const struct rule *a = pa, *b = pb;

    if (a->nr != b->nr)
        return a->nr < b->nr ? -1 : 1;
    if (!a->n_conds != !b->n_conds)
        return a->n_conds ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

/* ---- code ------------------------------------------------------------------------------------------------------------- */

static void emit(struct code *c, uint16_t op, uint8_t jt, uint8_t jf, uint32_t k) {
    if (c->n == CODE_MAX) {
        c->failed = true;
        return;
    }
    c->v[c->n++] = (struct sock_filter){op, jt, jf, k};
}

static void append(struct code *c, const struct code *from) {
    for (size_t i = 0; i < from->n; i++)
        emit(c, from->v[i].code, from->v[i].jt, from->v[i].jf, from->v[i].k);
    c->failed = c->failed || from->failed;
}

#define LOAD (BPF_LD | BPF_W | BPF_ABS)
#define JUMP(op) (BPF_JMP | (op) | BPF_K)
#define FAIL 0xff /* patched: to the next rule */

static uint32_t arg_at(unsigned arg, bool high) {
    return (uint32_t)(offsetof(struct seccomp_data, args) + arg * 8 + (high ? 4 : 0));
}

/* The test falls through when it holds and jumps to FAIL when not. */
static void emit_cond(struct code *c, const struct cond *t) {
    uint32_t lo = (uint32_t)t->a, hi = (uint32_t)(t->a >> 32);

    if (t->op == SCMP_CMP_MASKED_EQ) {
        if (!t->narrow) {
            emit(c, LOAD, 0, 0, arg_at(t->arg, true));
            emit(c, BPF_ALU | BPF_AND | BPF_K, 0, 0, hi);
            emit(c, JUMP(BPF_JEQ), 0, FAIL, (uint32_t)(t->b >> 32));
        }
        emit(c, LOAD, 0, 0, arg_at(t->arg, false));
        emit(c, BPF_ALU | BPF_AND | BPF_K, 0, 0, lo);
        emit(c, JUMP(BPF_JEQ), 0, FAIL, (uint32_t)t->b);
        return;
    }
    if (!t->narrow) {
        emit(c, LOAD, 0, 0, arg_at(t->arg, true));
        switch (t->op) {
        case SCMP_CMP_EQ:
            emit(c, JUMP(BPF_JEQ), 0, FAIL, hi);
            break;
        case SCMP_CMP_NE: /* different already: over the low half */
            emit(c, JUMP(BPF_JEQ), 0, 2, hi);
            break;
        case SCMP_CMP_GT:
        case SCMP_CMP_GE:
            emit(c, JUMP(BPF_JGT), 3, 0, hi);
            emit(c, JUMP(BPF_JEQ), 0, FAIL, hi);
            break;
        default:
            emit(c, JUMP(BPF_JGE), 0, 3, hi);
            emit(c, JUMP(BPF_JEQ), 0, FAIL, hi);
        }
    }
    emit(c, LOAD, 0, 0, arg_at(t->arg, false));
    switch (t->op) {
    case SCMP_CMP_EQ:
        emit(c, JUMP(BPF_JEQ), 0, FAIL, lo);
        break;
    case SCMP_CMP_NE:
        emit(c, JUMP(BPF_JEQ), FAIL, 0, lo);
        break;
    case SCMP_CMP_GT:
        emit(c, JUMP(BPF_JGT), 0, FAIL, lo);
        break;
    case SCMP_CMP_GE:
        emit(c, JUMP(BPF_JGE), 0, FAIL, lo);
        break;
    case SCMP_CMP_LT:
        emit(c, JUMP(BPF_JGE), FAIL, 0, lo);
        break;
    default:
        emit(c, JUMP(BPF_JGT), FAIL, 0, lo);
    }
}

/* All rules of one number: the first whose tests hold decides. */
static void emit_program(struct code *c, const struct rule *r, size_t n, uint32_t deflt) {
    for (size_t i = 0; i < n; i++) {
        size_t start = c->n, end;

        for (unsigned k = 0; k < r[i].n_conds; k++)
            emit_cond(c, &r[i].conds[k]);
        emit(c, BPF_RET | BPF_K, 0, 0, r[i].action);
        end = c->n;
        for (size_t at = start; at < end; at++) {
            if (c->v[at].jt == FAIL)
                c->v[at].jt = (uint8_t)(end - at - 1);
            if (c->v[at].jf == FAIL)
                c->v[at].jf = (uint8_t)(end - at - 1);
        }
        if (!r[i].n_conds)
            return;
    }
    emit(c, BPF_RET | BPF_K, 0, 0, deflt);
}

struct range {
    uint32_t start;          /* up to the next range's start */
    const struct rule *rule; /* with tests; NULL: plain action */
    size_t n;
    uint32_t action;
};

static void emit_leaf(struct code *c, const struct range *r, uint32_t deflt) {
    if (r->rule)
        emit_program(c, r->rule, r->n, deflt);
    else
        emit(c, BPF_RET | BPF_K, 0, 0, r->action);
}

static void emit_tree(struct code *c, const struct range *r, size_t n, uint32_t deflt) {
    _cleanup_free_ struct code *left = NULL;
    size_t mid = n / 2;

    if (n == 1) {
        emit_leaf(c, r, deflt);
        return;
    }
    left = calloc(1, sizeof *left);
    if (!left) {
        c->failed = true;
        return;
    }
    emit_tree(left, r, mid, deflt);
    if (left->n <= 255) {
        emit(c, JUMP(BPF_JGE), (uint8_t)left->n, 0, r[mid].start);
    } else {
        emit(c, JUMP(BPF_JGE), 0, 1, r[mid].start);
        emit(c, BPF_JMP | BPF_JA, 0, 0, (uint32_t)left->n);
    }
    append(c, left);
    emit_tree(c, r + mid, n - mid, deflt);
}

static void add_range(struct range *v, size_t *n, uint32_t start, const struct rule *rule, size_t n_rules, uint32_t action) {
    if (*n && v[*n - 1].start == start)
        (*n)--;
    if (*n && !rule && !v[*n - 1].rule && v[*n - 1].action == action)
        return;
    v[(*n)++] = (struct range){start, rule, n_rules, action};
}

struct compiler {
    struct rule rules[RULES_MAX];
    struct range ranges[2 * RULES_MAX + 8];
    struct code code;
};

/* Ranges of one architecture's part of the numbers: [base, base + ...), with ENOSYS above the highest number the profile names. */
static void make_ranges(struct compiler *cc, size_t first, size_t n, uint32_t base, uint32_t max, uint32_t deflt, size_t *n_ranges) {
    uint32_t action = deflt & SECCOMP_RET_ACTION_FULL;
    bool stub = action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG && deflt != (SECCOMP_RET_ERRNO | ENOSYS);

    qsort(cc->rules + first, n, sizeof *cc->rules, by_number);
    add_range(cc->ranges, n_ranges, base, NULL, 0, deflt);
    for (size_t i = first; i < first + n;) {
        const struct rule *r = &cc->rules[i];
        size_t k = i + 1;

        while (k < first + n && cc->rules[k].nr == r->nr)
            k++;
        add_range(cc->ranges, n_ranges, r->nr, r->n_conds ? r : NULL, k - i, r->action);
        add_range(cc->ranges, n_ranges, r->nr + 1, NULL, 0, deflt);
        i = k;
    }
    if (stub && max)
        add_range(cc->ranges, n_ranges, max + 1, NULL, 0, SECCOMP_RET_ERRNO | ENOSYS);
}

static bool wants(const json_t *profile, const struct arch *a) {
    const json_t *list = json_object_get(profile, "architectures");

    if (!json_array_size(list))
        return a->token == seccomp_arch_native();
    for (size_t i = 0; i < json_array_size(list); i++)
        if (streq_ptr(json_string_value(json_array_get(list, i)), a->name))
            return true;
    return a->token == seccomp_arch_native();
}

/* One architecture as the kernel names it (x86_64 and x32 share one). */
static int compile_audit(struct compiler *cc, const json_t *profile, uint32_t audit, uint32_t deflt, struct code *out, struct err *e) {
    size_t n_rules = 0, n_ranges = 0;
    bool any_x32 = false;

    for (size_t i = 0; i < ELEMENTSOF(archs); i++) {
        size_t first = n_rules;
        uint32_t max = 0;
        int r;

        if (archs[i].audit != audit || !wants(profile, &archs[i]))
            continue;
        any_x32 = any_x32 || archs[i].bit;
        r = collect(profile, &archs[i], deflt, cc->rules, &n_rules, &max, e);
        if (r < 0)
            return r;
        make_ranges(cc, first, n_rules - first, archs[i].bit, max, deflt, &n_ranges);
    }
    if (audit == AUDIT_ARCH_X86_64 && !any_x32)
        add_range(cc->ranges, &n_ranges, X32_BIT, NULL, 0, SECCOMP_RET_KILL_THREAD);
    emit(out, LOAD, 0, 0, (uint32_t)offsetof(struct seccomp_data, nr));
    emit_tree(out, cc->ranges, n_ranges, deflt);
    return 0;
}

/* Names the reference knows that this library has no numbers for are fine: their part of the filter is just not needed here. */
static int check_archs(const json_t *seccomp, struct err *e) {
    static const char *const others[] = {"SCMP_ARCH_MIPS",        "SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64",
                                         "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC",    "SCMP_ARCH_PPC64",     "SCMP_ARCH_S390"};
    const json_t *list = json_object_get(seccomp, "architectures");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        bool known = false;

        for (size_t k = 0; k < ELEMENTSOF(archs); k++)
            known = known || streq_ptr(archs[k].name, name);
        for (size_t k = 0; k < ELEMENTSOF(others); k++)
            known = known || streq_ptr(others[k], name);
        if (!known)
            return err_set(e, ERR_INVALID, "string %s is not a valid arch for seccomp", name ? name : "");
    }
    return 0;
}

int seccomp_flags(const json_t *seccomp, int64_t *ret, struct err *e) {
    static const struct {
        const char *name;
        unsigned flag;
    } flags[] = {{"SECCOMP_FILTER_FLAG_TSYNC", 1}, {"SECCOMP_FILTER_FLAG_LOG", 2}, {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", 4}};
    const json_t *list = json_object_get(seccomp, "flags");
    int64_t all = 0;

    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        unsigned flag = 0;

        for (size_t k = 0; k < ELEMENTSOF(flags); k++)
            if (streq_ptr(flags[k].name, name))
                flag = flags[k].flag;
        if (!flag)
            return err_set(e, ERR_INVALID, "seccomp flag \"%s\" is not supported", name ? name : "");
        all |= flag;
    }
    *ret = all;
    return 0;
}

int seccomp_compile(const json_t *seccomp, uint64_t caps, struct buf *ret_filter, struct err *e) {
    _cleanup_free_ struct compiler *cc = calloc(1, sizeof *cc);
    _cleanup_free_ struct code *part = calloc(1, sizeof *part);
    json_t *builtin = NULL;
    const json_t *num;
    uint32_t deflt, done[ELEMENTSOF(archs)];
    size_t n_done = 0;
    int r = 0;

    if (!cc || !part)
        return err_oom(e);
    if (streq(text(seccomp, "hatakeProfile"), "builtin")) {
        builtin = seccomp_default_profile(caps);
        if (!builtin)
            return err_oom(e);
        seccomp = builtin;
    }
    num = json_object_get(seccomp, "defaultErrnoRet");
    r = check_archs(seccomp, e);
    if (r >= 0)
        r = action_of(text(seccomp, "defaultAction"), json_is_integer(num) ? json_integer_value(num) : EPERM, &deflt, e);
    emit(&cc->code, LOAD, 0, 0, (uint32_t)offsetof(struct seccomp_data, arch));
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(archs); i++) {
        bool seen = !wants(seccomp, &archs[i]);

        for (size_t k = 0; k < n_done; k++)
            seen = seen || done[k] == archs[i].audit;
        if (seen)
            continue;
        done[n_done++] = archs[i].audit;
        part->n = 0;
        r = compile_audit(cc, seccomp, archs[i].audit, deflt, part, e);
        emit(&cc->code, JUMP(BPF_JEQ), 1, 0, archs[i].audit);
        emit(&cc->code, BPF_JMP | BPF_JA, 0, 0, (uint32_t)part->n);
        append(&cc->code, part);
    }
    json_decref(builtin);
    if (r < 0)
        return r;
    emit(&cc->code, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_THREAD);
    if (cc->code.failed)
        return err_set(e, ERR_INVALID, "linux.seccomp: the filter is longer than the %d instructions the kernel takes", CODE_MAX);
    buf_reset(ret_filter);
    buf_add(ret_filter, cc->code.v, cc->code.n * sizeof *cc->code.v);
    return buf_check(ret_filter, e);
}

/* ---- cache ------------------------------------------------------------------------------------------------------------ */

#define CACHE_MAX 64

struct seccomp_cache {
    pthread_mutex_t lock;
    struct map by_text; /* of struct buf */
};

struct seccomp_cache *seccomp_cache_new(void) {
    struct seccomp_cache *c = calloc(1, sizeof *c);

    if (c)
        pthread_mutex_init(&c->lock, NULL);
    return c;
}

static void free_filter(void *p) {
    buf_done(p);
    free(p);
}

struct seccomp_cache *seccomp_cache_free(struct seccomp_cache *c) {
    if (!c)
        return NULL;
    map_done_with(&c->by_text, free_filter);
    pthread_mutex_destroy(&c->lock);
    free(c);
    return NULL;
}

int seccomp_cached(struct seccomp_cache *c, const json_t *seccomp, uint64_t caps, struct buf *ret_filter, struct err *e) {
    bool builtin = streq(text(seccomp, "hatakeProfile"), "builtin");
    _cleanup_free_ char *key = NULL;
    struct buf *kept;
    int r;

    if (!c)
        return seccomp_compile(seccomp, caps, ret_filter, e);
    key = builtin ? str_printf("builtin %llx", (unsigned long long)caps) : json_dumps(seccomp, JSON_COMPACT | JSON_SORT_KEYS);
    if (!key)
        return err_oom(e);
    pthread_mutex_lock(&c->lock);
    kept = map_get(&c->by_text, key);
    if (kept)
        buf_add(ret_filter, kept->data, kept->len);
    pthread_mutex_unlock(&c->lock);
    if (kept)
        return buf_check(ret_filter, e);
    r = seccomp_compile(seccomp, caps, ret_filter, e);
    if (r < 0)
        return r;
    pthread_mutex_lock(&c->lock);
    if (c->by_text.n < CACHE_MAX && !map_has(&c->by_text, key)) {
        kept = calloc(1, sizeof *kept);
        if (kept) {
            *kept = BUF_INIT(ret_filter->max);
            buf_add(kept, ret_filter->data, ret_filter->len);
            if (!buf_ok(kept) || map_set(&c->by_text, key, kept, NULL) < 0)
                free_filter(kept);
        }
    }
    pthread_mutex_unlock(&c->lock);
    return 0;
}

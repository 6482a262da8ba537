// SPDX-License-Identifier: Apache-2.0
/* Reading a plan. No allocation: this is used in the monitor. The writer is in plan-build.c. */
#include "oci/plan.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/limits.h"

static const struct plan_info *info_of(const struct plan_op *op) {
    return op->type && op->type < PLAN_OP_TYPES && plan_infos[op->type].name ? &plan_infos[op->type] : NULL;
}

static bool is_list(const struct plan_info *info, int k) {
    const char *name = info->strs[k];

    return name && name[strlen(name) - 1] == '+';
}

static bool op_ok(const struct plan_header *h, const char *block, const struct plan_op *op) {
    const struct plan_info *info = info_of(op);

    if (!info)
        return false;
    for (int k = 0; k < PLAN_STRS; k++) {
        size_t off = op->s[k].off, len = op->s[k].len, pool = h->size - h->pool_off;

        if (!plan_has(op, k))
            continue;
        if (off >= pool || len >= pool - off || block[h->pool_off + off + len] != 0)
            return false;
        if (is_list(info, k) && len && block[h->pool_off + off + len - 1] != 0)
            return false;
    }
    return true;
}

int plan_open(const void *block, size_t n, struct plan *ret) {
    const struct plan_header *h = block;
    struct plan p;

    if (n < sizeof *h || n > LIMIT_PLAN_BYTES || h->magic != PLAN_MAGIC || h->version != PLAN_VERSION || h->size > n)
        return -EPROTO;
    if (h->n_ops > PLAN_OPS_MAX || h->ops_off != sizeof *h || h->pool_off != h->ops_off + h->n_ops * sizeof(struct plan_op) || h->pool_off > h->size)
        return -EPROTO;
    p = (struct plan){.h = h, .ops = (const void *)((const char *)block + h->ops_off), .pool = (const char *)block + h->pool_off, .n_ops = h->n_ops};
    for (size_t i = 0; i < p.n_ops; i++)
        if (!op_ok(h, block, &p.ops[i]))
            return -EPROTO;
    *ret = p;
    return 0;
}

const char *plan_s(const struct plan *p, const struct plan_op *op, int k) {
    return plan_has(op, k) ? p->pool + op->s[k].off : "";
}

size_t plan_sn(const struct plan *p, const struct plan_op *op, int k) {
    return plan_has(op, k) ? op->s[k].len : 0;
}

const struct plan_op *plan_find(const struct plan *p, enum plan_op_type type) {
    for (size_t i = 0; i < p->n_ops; i++)
        if (p->ops[i].type == type)
            return &p->ops[i];
    return NULL;
}

const char *plan_list_next(const struct plan *p, const struct plan_op *op, int k, const char *at) {
    const char *start = plan_s(p, op, k), *end = start + plan_sn(p, op, k);

    at = at ? at + strlen(at) + 1 : start;
    return at < end ? at : NULL;
}

size_t plan_list_n(const struct plan *p, const struct plan_op *op, int k) {
    size_t n = 0;

    for (const char *s = NULL; (s = plan_list_next(p, op, k, s));)
        n++;
    return n;
}

static void print_text(struct buf *out, const char *s) {
    bool plain = *s != 0;

    for (const char *c = s; *c; c++)
        plain = plain && (unsigned char)*c > ' ' && *c != '"' && *c != '\\' && *c != ',' && *c != '[' && *c != 127;
    if (plain)
        buf_adds(out, s);
    else
        buf_add_json_string(out, s);
}

static void print_str(const struct plan *p, const struct plan_op *op, int k, const char *name, struct buf *out) {
    size_t n = strlen(name), len = plan_sn(p, op, k);

    buf_addf(out, " %.*s=", (int)(name[n - 1] == '+' || name[n - 1] == '*' ? n - 1 : n), name);
    if (name[n - 1] == '+') {
        const char *sep = "[";

        for (const char *s = NULL; (s = plan_list_next(p, op, k, s)); sep = ",") {
            buf_adds(out, sep);
            print_text(out, s);
        }
        buf_adds(out, *sep == '[' ? "[]" : "]");
    } else if (name[n - 1] == '*') {
        if (len > 32)
            buf_addf(out, "<%zu bytes>", len);
        for (size_t i = 0; i < len && len <= 32; i++)
            buf_addf(out, "%02x", (unsigned char)plan_s(p, op, k)[i]);
    } else {
        print_text(out, plan_s(p, op, k));
    }
}

void plan_print(const struct plan *p, struct buf *out) {
    for (size_t i = 0; i < p->n_ops; i++) {
        const struct plan_op *op = &p->ops[i];
        const struct plan_info *info = info_of(op);

        buf_adds(out, info->name);
        for (int k = 0; k < PLAN_INTS && info->ints[k]; k++) {
            size_t n = strlen(info->ints[k]);

            if (info->ints[k][n - 1] == '#')
                buf_addf(out, " %.*s=0x%llx", (int)n - 1, info->ints[k], (unsigned long long)op->i[k]);
            else
                buf_addf(out, " %s=%lld", info->ints[k], (long long)op->i[k]);
        }
        for (int k = 0; k < PLAN_STRS && info->strs[k]; k++)
            if (plan_has(op, k))
                print_str(p, op, k, info->strs[k], out);
        buf_addc(out, '\n');
    }
}

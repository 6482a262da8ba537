// SPDX-License-Identifier: Apache-2.0
/* Writing a plan. */
#include "oci/plan.h"

#include "base/cleanup.h"
#include "base/limits.h"

void plan_builder_done(struct plan_builder *b) {
    buf_done(&b->ops);
    buf_done(&b->pool);
}

struct plan_op *plan_add(struct plan_builder *b, enum plan_op_type type) {
    static struct plan_op dummy; /* written when memory ran out; nobody reads it */
    struct plan_op op = {.type = (uint16_t)type};

    buf_add(&b->ops, &op, sizeof op);
    if (!buf_ok(&b->ops))
        return &dummy;
    return (struct plan_op *)(void *)(b->ops.data + b->ops.len - sizeof op);
}

static struct plan_op *last_op(struct plan_builder *b) {
    return buf_ok(&b->ops) && b->ops.len ? (struct plan_op *)(void *)(b->ops.data + b->ops.len - sizeof(struct plan_op)) : NULL;
}

void plan_set_bytes(struct plan_builder *b, int k, const void *p, size_t n) {
    struct plan_op *op = last_op(b);

    if (!op)
        return;
    op->set |= 1u << k;
    op->s[k] = (struct plan_str){.off = (uint32_t)b->pool.len, .len = (uint32_t)n};
    buf_add(&b->pool, p, n);
    do /* one NUL after it, and the next string at a multiple of 8: filters are read in place */
        buf_addc(&b->pool, 0);
    while (b->pool.len % 8 && buf_ok(&b->pool));
}

void plan_set_s(struct plan_builder *b, int k, const char *s) {
    plan_set_bytes(b, k, s, strlen(s));
}

void plan_set_list(struct plan_builder *b, int k, const char *const *v, size_t n) {
    struct plan_op *op = last_op(b);
    size_t start = b->pool.len;

    if (!op)
        return;
    for (size_t i = 0; i < n; i++)
        buf_add(&b->pool, v[i], strlen(v[i]) + 1);
    op->set |= 1u << k;
    op->s[k] = (struct plan_str){.off = (uint32_t)start, .len = (uint32_t)(b->pool.len - start)};
    do
        buf_addc(&b->pool, 0);
    while (b->pool.len % 8 && buf_ok(&b->pool));
}

int plan_finish(struct plan_builder *b, void **ret_block, size_t *ret_n, struct err *e) {
    _cleanup_buf_ struct buf all = BUF_INIT(LIMIT_PLAN_BYTES);
    struct plan_header h = {.magic = PLAN_MAGIC, .version = PLAN_VERSION};
    int r = buf_check(&b->ops, e);

    if (r == 0)
        r = buf_check(&b->pool, e);
    if (r < 0)
        return err_wrap(e, "container configuration");
    if (!b->pool.len)
        buf_addc(&b->pool, 0);
    h.ops_off = sizeof h;
    h.n_ops = (uint32_t)(b->ops.len / sizeof(struct plan_op));
    h.pool_off = (uint32_t)(sizeof h + b->ops.len);
    h.size = (uint32_t)(h.pool_off + b->pool.len);
    buf_add(&all, &h, sizeof h);
    buf_add(&all, b->ops.data, b->ops.len);
    buf_add(&all, b->pool.data, b->pool.len);
    r = buf_check(&all, e);
    if (r < 0)
        return err_wrap(e, "container configuration");
    *ret_n = all.len;
    *ret_block = buf_take(&all);
    return 0;
}

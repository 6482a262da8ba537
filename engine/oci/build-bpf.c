// SPDX-License-Identifier: Apache-2.0
/*
 * Device rules as an eBPF program. The kernel calls it with struct bpf_cgroup_dev_ctx for each open and mknod and takes 0 as a refusal:
 *   access_type   kind of the device in the low 16 bits, what is asked for in the high ones; then major and minor
 * Written with the instruction format of the kernel's documentation (bpf/standardization/instruction-set.rst), no library needed.
 */
#include "oci/build-internal.h"

#include <linux/bpf.h>

#include "base/cleanup.h"

/* Registers of the program: r1 is the context on entry and scratch later. */
enum { RESULT = 0, CONTEXT = 1, TYPE = 2, ACCESS = 3, MAJOR = 4, MINOR = 5 };

static void emit(struct buf *b, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm) {
    struct bpf_insn i = {.code = code, .dst_reg = dst & 15, .src_reg = src & 15, .off = off, .imm = imm};

    buf_add(b, &i, sizeof i);
}

static void load(struct buf *b, uint8_t reg, size_t off) {
    emit(b, BPF_LDX | BPF_MEM | BPF_W, reg, CONTEXT, (int16_t)off, 0);
}

static void finish(struct buf *b, bool allow) {
    emit(b, BPF_ALU64 | BPF_MOV | BPF_K, RESULT, 0, 0, allow);
    emit(b, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static int32_t access_bits(const char *access) {
    return (strchr(access, 'm') ? BPF_DEVCG_ACC_MKNOD : 0) | (strchr(access, 'r') ? BPF_DEVCG_ACC_READ : 0) |
           (strchr(access, 'w') ? BPF_DEVCG_ACC_WRITE : 0);
}

#define ALL_ACCESS (BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE)

/* Each test that fails jumps over the rest of the rule: their number is known before. */
static void rule(struct buf *b, const struct device_rule *r) {
    int32_t bits = access_bits(r->access);
    int left = (r->type != 'a') + (bits != ALL_ACCESS ? 3 : 0) + (r->major >= 0) + (r->minor >= 0) + 2;

    if (r->type != 'a')
        emit(b, BPF_JMP | BPF_JNE | BPF_K, TYPE, 0, (int16_t)--left, r->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
    if (bits != ALL_ACCESS) {
        emit(b, BPF_ALU | BPF_MOV | BPF_X, CONTEXT, ACCESS, 0, 0);
        emit(b, BPF_ALU | BPF_AND | BPF_K, CONTEXT, 0, 0, bits);
        left -= 3;
        if (r->allow)
            emit(b, BPF_JMP | BPF_JNE | BPF_X, CONTEXT, ACCESS, (int16_t)left, 0);
        else
            emit(b, BPF_JMP | BPF_JEQ | BPF_K, CONTEXT, 0, (int16_t)left, 0);
    }
    if (r->major >= 0)
        emit(b, BPF_JMP | BPF_JNE | BPF_K, MAJOR, 0, (int16_t)--left, (int32_t)r->major);
    if (r->minor >= 0)
        emit(b, BPF_JMP | BPF_JNE | BPF_K, MINOR, 0, (int16_t)--left, (int32_t)r->minor);
    finish(b, r->allow);
}

int build_device_program(const struct device_rule *v, size_t n, struct buf *ret, struct err *e) {
    load(ret, TYPE, offsetof(struct bpf_cgroup_dev_ctx, access_type));
    emit(ret, BPF_ALU | BPF_MOV | BPF_X, ACCESS, TYPE, 0, 0);
    emit(ret, BPF_ALU | BPF_AND | BPF_K, TYPE, 0, 0, 0xffff);
    emit(ret, BPF_ALU | BPF_RSH | BPF_K, ACCESS, 0, 0, 16);
    load(ret, MAJOR, offsetof(struct bpf_cgroup_dev_ctx, major));
    load(ret, MINOR, offsetof(struct bpf_cgroup_dev_ctx, minor));
    for (size_t i = n; i-- > 1;)
        if (v[i].allow != v[0].allow)
            rule(ret, &v[i]);
    finish(ret, v[0].allow);
    return buf_check(ret, e);
}

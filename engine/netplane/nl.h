// SPDX-License-Identifier: Apache-2.0
/*
 * nl.h - netlink: messages put together in a buffer, sent in one go, answers read.
 *
 * A `struct buf` holds any number of messages one after the other (a batch). Every opening call (nl_begin, nl_nest) gives the offset that the closing
 * call takes. The buffer's sticky failure covers all of it: check once when sending.
 *
 * Sockets: one request at a time per socket; struct nl_sock carries a mutex that nl_talk() and nl_dump() take. Any thread.
 * Source: netlink(7), rtnetlink(7), linux/netlink.h, linux/netfilter/nfnetlink.h.
 */
#ifndef HATAKE_NETPLANE_NL_H
#define HATAKE_NETPLANE_NL_H

#include <linux/netlink.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define NL_BATCH_MAX MIB_NL(4)
#define MIB_NL(n) ((size_t)(n) << 20)

struct nl_sock {
    int fd;
    uint32_t seq;
    pthread_mutex_t lock;
};

/* Open a netlink socket of the protocol (NETLINK_ROUTE, NETLINK_NETFILTER) in the calling thread's network namespace. */
int nl_open(struct nl_sock *s, int protocol, struct err *e);
void nl_close(struct nl_sock *s);

/* Begin a message: header of `n` bytes (struct ifinfomsg, nfgenmsg, ...) follows the netlink header. The sequence number is the message's index in the buffer + 1. */
size_t nl_begin(struct buf *b, uint16_t type, uint16_t flags, const void *head, size_t n);
void nl_end(struct buf *b, size_t at);
/* Attributes, padded to 4. Strings include their NUL. be: network byte order. */
void nl_put(struct buf *b, uint16_t type, const void *p, size_t n);
void nl_put_str(struct buf *b, uint16_t type, const char *s);
void nl_put_u8(struct buf *b, uint16_t type, uint8_t v);
void nl_put_u16(struct buf *b, uint16_t type, uint16_t v);
void nl_put_u32(struct buf *b, uint16_t type, uint32_t v);
void nl_put_be32(struct buf *b, uint16_t type, uint32_t v);
void nl_put_be64(struct buf *b, uint16_t type, uint64_t v);
/* A nested attribute; the NLA_F_NESTED flag is set. */
size_t nl_nest(struct buf *b, uint16_t type);
void nl_nest_end(struct buf *b, size_t at);

/*
 * Send all messages of the buffer in one sendmsg and read the answers that are there when it returns (the kernel handles requests in the sender's
 * context). Returns 0, or the first error: *ret_errno (may be NULL) gets the kernel's positive errno, *ret_index the message it belongs to (from 0).
 */
int nl_talk(struct nl_sock *s, const struct buf *b, int *ret_errno, unsigned *ret_index, struct err *e);

/* One message of a dump. Return 0 to go on, <0 (with e set) to stop. */
typedef int (*nl_msg_fn)(const struct nlmsghdr *h, void *arg, struct err *e);
/* Send one dump request (NLM_F_DUMP set by the caller) and hand over each message. An error answer of the kernel fails with its errno in e->errnum. */
int nl_dump(struct nl_sock *s, const struct buf *b, nl_msg_fn fn, void *arg, struct err *e);

/* Index attributes [0..max] that lie between p and p+n into table (borrowed pointers, NULL when absent). Unknown types are skipped. */
void nl_parse(const void *p, size_t n, unsigned max, const struct nlattr **table);
static inline const void *nl_data(const struct nlattr *a) {
    return (const char *)a + NLA_HDRLEN;
}
static inline size_t nl_len(const struct nlattr *a) {
    return (size_t)a->nla_len - NLA_HDRLEN;
}
uint32_t nl_u32(const struct nlattr *a); /* 0 for NULL or too short */
uint32_t nl_be32(const struct nlattr *a);

#endif

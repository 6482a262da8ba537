// SPDX-License-Identifier: Apache-2.0
/*
 * netl.h - netlink: messages put together in a buffer, sent in one go, answers read.
 *
 * A `struct buf` holds any number of messages one after the other (a batch). Every opening call (netl_begin, netl_nest) gives the offset that the closing
 * call takes. The buffer's sticky failure covers all of it: check once when sending.
 *
 * Sockets: one request at a time per socket; struct netl_sock carries a mutex that netl_talk() and netl_dump() take. Any thread.
 * Source: netlink(7), rtnetlink(7), linux/netlink.h, linux/netfilter/nfnetlink.h.
 */
#ifndef HATAKE_NETPLANE_NETL_H
#define HATAKE_NETPLANE_NETL_H

#include <linux/netlink.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define NETL_BATCH_MAX ((size_t)4 << 20)

struct netl_sock {
    int fd;
    uint32_t seq;
    bool once; /* closed after this request: the rest of a dump whose callback stopped it is not read */
    pthread_mutex_t lock;
};

/* Open a netlink socket of the protocol (NETLINK_ROUTE, NETLINK_NETFILTER) in the calling thread's network namespace. */
int netl_open(struct netl_sock *s, int protocol, struct err *e);
void netl_close(struct netl_sock *s);

/* Begin a message: header of `n` bytes (struct ifinfomsg, nfgenmsg, ...) follows the netlink header. The sequence number is the message's index in the buffer + 1. */
size_t netl_begin(struct buf *b, uint16_t type, uint16_t flags, const void *head, size_t n);
void netl_end(struct buf *b, size_t at);
/* Attributes, padded to 4. Strings include their NUL. be: network byte order. */
void netl_put(struct buf *b, uint16_t type, const void *p, size_t n);
void netl_put_str(struct buf *b, uint16_t type, const char *s);
void netl_put_u8(struct buf *b, uint16_t type, uint8_t v);
void netl_put_u16(struct buf *b, uint16_t type, uint16_t v);
void netl_put_u32(struct buf *b, uint16_t type, uint32_t v);
void netl_put_be32(struct buf *b, uint16_t type, uint32_t v);
void netl_put_be64(struct buf *b, uint16_t type, uint64_t v);
/* A nested attribute; the NLA_F_NESTED flag is set. */
size_t netl_nest(struct buf *b, uint16_t type);
void netl_nest_end(struct buf *b, size_t at);

/* One message of a dump or an echo. Return 0 to go on, <0 (with e set) to stop. */
typedef int (*netl_msg_fn)(const struct nlmsghdr *h, void *arg, struct err *e);

/*
 * Send all messages of the buffer in one sendmsg and read the answers that are there when it returns (the kernel handles requests in the sender's
 * context). Returns 0, or the first error: *ret_errno (may be NULL) gets the kernel's positive errno, *ret_index the message it belongs to (from 0).
 */
int netl_talk(struct netl_sock *s, const struct buf *b, int *ret_errno, unsigned *ret_index, struct err *e);
/* The same, and hand the kernel's other messages (echoes) to fn. What fn fails with is returned when nothing else failed. */
int netl_talk_with(struct netl_sock *s, const struct buf *b, netl_msg_fn fn, void *arg, int *ret_errno, unsigned *ret_index, struct err *e);
/* Ask for an echo (NLM_F_ECHO) of all messages of this type in the buffer. */
void netl_echo(struct buf *b, uint16_t type);

/* Send one dump request (NLM_F_DUMP set by the caller) and hand over each message. An error answer of the kernel fails with its errno in e->errnum. */
int netl_dump(struct netl_sock *s, const struct buf *b, netl_msg_fn fn, void *arg, struct err *e);

/* Index attributes [0..max] that lie between p and p+n into table (borrowed pointers, NULL when absent). Unknown types are skipped. */
void netl_parse(const void *p, size_t n, unsigned max, const struct nlattr **table);
static inline const void *netl_data(const struct nlattr *a) {
    return (const char *)a + NLA_HDRLEN;
}
static inline size_t netl_len(const struct nlattr *a) {
    return (size_t)a->nla_len - NLA_HDRLEN;
}
uint32_t netl_u32(const struct nlattr *a); /* 0 for NULL or too short */
uint32_t netl_be32(const struct nlattr *a);

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * dns-msg.h - DNS messages: reading questions of anybody, writing short answers.
 *
 * What comes in is hostile. Reading looks at one question, at the size in an EDNS record, and at whether the few records that may be there end where they
 * say; it never allocates, and reads no byte beyond the message. A question that is compressed or cut short is refused (the reference guesses). Source:
 * RFC 1035 section 4, RFC 6891 section 6.1, RFC 2181 section 9 (truncation).
 * Threads: no state, any thread.
 */
#ifndef HATAKE_NETD_DNS_MSG_H
#define HATAKE_NETD_DNS_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_HEAD 12
#define DNS_NAME_MAX 255      /* bytes of a name on the wire */
#define DNS_UDP_MIN 512       /* what every client takes */
#define DNS_MESSAGE_MAX 65535 /* over TCP */
#define DNS_TTL 600           /* of our answers, as the reference's */
#define DNS_TEXT_MAX (DNS_NAME_MAX + 1)
#define DNS_REFUSAL_MAX (DNS_HEAD + DNS_NAME_MAX + 4)

enum { DNS_A = 1, DNS_PTR = 12, DNS_MX = 15, DNS_AAAA = 28, DNS_OPT = 41 };
enum { DNS_NOERROR = 0, DNS_FORMERR = 1, DNS_SERVFAIL = 2, DNS_NXDOMAIN = 3, DNS_NOTIMP = 4, DNS_REFUSED = 5 };
enum { DNS_QR = 0x8000, DNS_OPCODE = 0x7800, DNS_TC = 0x0200, DNS_RD = 0x0100, DNS_RA = 0x0080, DNS_AD = 0x0020, DNS_CD = 0x0010 };

/* A question, as far as it matters. */
struct dns_query {
    uint16_t id, flags, type, class;
    size_t question_end;     /* first byte after the question; 0 when that could not be read */
    size_t size;             /* longest answer that its sender takes over UDP */
    bool edns;               /* it said so itself */
    char text[DNS_TEXT_MAX]; /* the name in lower case, dots between labels, none at the end; "" for the root */
    bool plain;              /* every byte of the labels is printable and none is a dot: only such names can be ours */
};

/*
 * Read a message of n bytes. Returns DNS_NOERROR with *ret filled; DNS_FORMERR or DNS_NOTIMP when it deserves just that as its answer (id and flags
 * are filled); -1 when it deserves none (too short, only a header, or itself an answer).
 */
int dns_read(const uint8_t *m, size_t n, struct dns_query *ret);

/* An answer being written; room is at least DNS_UDP_MIN. */
struct dns_reply {
    uint8_t *p;
    size_t n, room;
    size_t question_end;
    bool squeeze; /* names as pointers to the question's */
    bool cut;     /* records were left out */
};

/* What the reference answers to that: a header with the code, and the question when it is the rest that cannot be read. Returns its length. */
size_t dns_refusal(const struct dns_query *q, const uint8_t *m, int rcode, uint8_t out[DNS_REFUSAL_MAX]);
/* Header and question; `m` is the query's message. ra: set the "recursion available" bit. */
void dns_reply_begin(struct dns_reply *r, const uint8_t *m, const struct dns_query *q, int rcode, bool ra, uint8_t *out, size_t room);
/* Append a record with the question's name. False: it did not fit (the reply is then marked truncated). */
bool dns_reply_add(struct dns_reply *r, const struct dns_query *q, uint16_t type, const uint8_t *data, size_t n);
/* What a record of n bytes of data needs without squeezing. */
size_t dns_record_size(const struct dns_query *q, size_t n);

/* "db.net" as labels; 0 when it is not a name. */
size_t dns_name_write(const char *text, uint8_t out[DNS_NAME_MAX]);
/* "4.3.2.1.in-addr.arpa" or 32 nibbles in ip6.arpa: the address's bytes (4 or 16 of them), or 0. */
size_t dns_reverse(const char *text, uint8_t ret[16]);

/* Does the answer m carry the question of the query q_msg (same type and class, same name but for case)? */
bool dns_same_question(const uint8_t *m, size_t n, const uint8_t *q_msg, const struct dns_query *q);

static inline uint16_t dns_u16(const uint8_t *p) {
    return (uint16_t)(p[0] << 8 | p[1]);
}
static inline void dns_put_u16(uint8_t *p, unsigned v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline int dns_rcode(const uint8_t *m) {
    return m[3] & 15;
}

#endif

// SPDX-License-Identifier: Apache-2.0
#include "netd/dns-msg.h"

#include <string.h>

#include "base/str.h"

#define RECORD_HEAD 10 /* type, class, time to live, length */
#define JUMPS_MAX 126  /* pointers in one name */

static uint8_t lower(uint8_t c) {
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* The name at `at` as text; returns the offset after it, 0 when it is none. */
static size_t read_name(const uint8_t *m, size_t n, size_t at, char text[DNS_TEXT_MAX], bool *plain) {
    size_t begin = at, k = 0;

    *plain = true;
    for (;;) {
        size_t len;

        if (at >= n)
            return 0;
        len = m[at++];
        if (!len)
            break;
        /* A pointer cannot lead anywhere sensible from the first name of a message. */
        if (len > 63 || len >= n - at || at + len + 1 - begin > DNS_NAME_MAX)
            return 0;
        if (k)
            text[k++] = '.';
        for (size_t i = 0; i < len; i++) {
            uint8_t c = lower(m[at++]);

            *plain = *plain && c > ' ' && c < 0x7f && c != '.';
            text[k++] = (char)(c ? c : ' ');
        }
    }
    text[k] = 0;
    return at;
}

/* Where the name at `at` ends, compressed or not; 0 when it cannot be read. */
static size_t skip_name(const uint8_t *m, size_t n, size_t at) {
    size_t end = 0, bytes = 0;

    for (unsigned jumps = 0; at < n;) {
        size_t len = m[at];

        if (!len)
            return end ? end : at + 1;
        if (len < 64) {
            at += len + 1;
            bytes += len + 1;
        } else if (len >= 0xc0 && n - at >= 2 && ++jumps <= JUMPS_MAX) {
            end = end ? end : at + 2;
            at = (len & 0x3f) << 8 | m[at + 1];
        } else {
            return 0;
        }
        if (bytes >= DNS_NAME_MAX)
            return 0;
    }
    return 0;
}

/* Options of an EDNS record: code, length, bytes. */
static bool options_fit(const uint8_t *p, size_t n) {
    while (n) {
        size_t len;

        if (n < 4)
            return false;
        len = dns_u16(p + 2);
        if (len > n - 4)
            return false;
        p += 4 + len;
        n -= 4 + len;
    }
    return true;
}

/*
 * The records after the question: they must end where they say. An EDNS record among the additional ones (the last `extra` of them) tells the size. That
 * they may be missing altogether, and so may those at the end, is what the reference takes.
 */
static bool read_records(const uint8_t *m, size_t n, size_t at, unsigned records, unsigned extra, struct dns_query *ret) {
    for (; records && at < n; records--) {
        unsigned type;
        size_t len;

        at = skip_name(m, n, at);
        if (!at || n - at < RECORD_HEAD)
            return false;
        type = dns_u16(m + at);
        len = dns_u16(m + at + 8);
        if (len > n - at - RECORD_HEAD)
            return false;
        if (len && ((type == DNS_A && len != 4) || (type == DNS_AAAA && len != 16) || (type == DNS_OPT && !options_fit(m + at + RECORD_HEAD, len))))
            return false;
        if (type == DNS_OPT && records <= extra) {
            ret->edns = true;
            ret->size = dns_u16(m + at + 2);
        }
        at += RECORD_HEAD + len;
    }
    if (ret->size < DNS_UDP_MIN)
        ret->size = DNS_UDP_MIN;
    return true;
}

int dns_read(const uint8_t *m, size_t n, struct dns_query *ret) {
    unsigned opcode, answers, authorities, extra;
    size_t at;

    if (n < DNS_HEAD)
        return -1;
    *ret = (struct dns_query){.id = dns_u16(m), .flags = dns_u16(m + 2), .size = DNS_UDP_MIN};
    if (ret->flags & DNS_QR)
        return -1;
    opcode = (ret->flags & DNS_OPCODE) >> 11;
    if (opcode != 0 && opcode != 4)
        return DNS_NOTIMP;
    answers = dns_u16(m + 6);
    authorities = dns_u16(m + 8);
    extra = dns_u16(m + 10);
    if (dns_u16(m + 4) != 1 || answers > 1 || authorities > 1 || extra > 2)
        return DNS_FORMERR;
    /* A header alone is no question, so there is nobody to answer: as the reference has it. */
    if (n == DNS_HEAD)
        return -1;
    at = read_name(m, n, DNS_HEAD, ret->text, &ret->plain);
    if (!at || n - at < 4)
        return DNS_FORMERR;
    ret->type = dns_u16(m + at);
    ret->class = dns_u16(m + at + 2);
    ret->question_end = at + 4;
    return read_records(m, n, ret->question_end, answers + authorities + extra, extra, ret) ? DNS_NOERROR : DNS_FORMERR;
}

size_t dns_refusal(const struct dns_query *q, const uint8_t *m, int rcode, uint8_t out[DNS_REFUSAL_MAX]) {
    unsigned flags = q->flags & (DNS_TC | DNS_RD | DNS_RA | DNS_AD | DNS_CD);

    if (rcode == DNS_NOTIMP)
        flags |= q->flags & DNS_OPCODE;
    memset(out, 0, DNS_HEAD);
    dns_put_u16(out, q->id);
    dns_put_u16(out + 2, DNS_QR | flags | (unsigned)rcode);
    if (!q->question_end)
        return DNS_HEAD;
    out[5] = 1;
    memcpy(out + DNS_HEAD, m + DNS_HEAD, q->question_end - DNS_HEAD);
    return q->question_end;
}

void dns_reply_begin(struct dns_reply *r, const uint8_t *m, const struct dns_query *q, int rcode, bool ra, uint8_t *out, size_t room) {
    unsigned flags = DNS_QR | (q->flags & DNS_OPCODE) | (unsigned)rcode | (ra ? DNS_RA : 0);

    /* The bits of the question come back only in answers to plain queries. */
    if (!(q->flags & DNS_OPCODE))
        flags |= q->flags & (DNS_RD | DNS_CD);
    *r = (struct dns_reply){.p = out, .room = room, .n = q->question_end, .question_end = q->question_end};
    memset(out, 0, DNS_HEAD);
    dns_put_u16(out, q->id);
    dns_put_u16(out + 2, flags);
    out[5] = 1;
    memcpy(out + DNS_HEAD, m + DNS_HEAD, q->question_end - DNS_HEAD);
}

size_t dns_record_size(const struct dns_query *q, size_t n) {
    return q->question_end - DNS_HEAD - 4 + 10 + n;
}

bool dns_reply_add(struct dns_reply *r, const struct dns_query *q, uint16_t type, const uint8_t *data, size_t n) {
    size_t name = r->squeeze ? 2 : r->question_end - DNS_HEAD - 4;
    uint8_t *p = r->p + r->n;

    if (r->cut || name + 10 + n > r->room - r->n) {
        r->cut = true;
        r->p[2] |= DNS_TC >> 8;
        return false;
    }
    if (r->squeeze)
        dns_put_u16(p, 0xc000 | DNS_HEAD);
    else
        memcpy(p, r->p + DNS_HEAD, name);
    p += name;
    dns_put_u16(p, type);
    dns_put_u16(p + 2, 1);
    dns_put_u16(p + 4, 0);
    dns_put_u16(p + 6, DNS_TTL);
    dns_put_u16(p + 8, (unsigned)n);
    memcpy(p + 10, data, n);
    r->n += name + 10 + n;
    dns_put_u16(r->p + 6, dns_u16(r->p + 6) + 1u);
    return true;
}

size_t dns_name_write(const char *text, uint8_t out[DNS_NAME_MAX]) {
    size_t n = 0;

    while (*text) {
        size_t len = strcspn(text, ".");

        if (!len || len > 63 || n + len + 2 > DNS_NAME_MAX)
            return 0;
        out[n++] = (uint8_t)len;
        memcpy(out + n, text, len);
        n += len;
        text += len + (text[len] == '.');
    }
    out[n++] = 0;
    return n;
}

size_t dns_reverse(const char *text, uint8_t ret[16]) {
    bool v6 = str_has_suffix(text, ".ip6.arpa");
    size_t want = v6 ? 32 : 4, n = 0;
    uint8_t parts[32];

    if (!v6 && !str_has_suffix(text, ".in-addr.arpa"))
        return 0;
    while (n < want) {
        unsigned v = 0, digits = 0;

        for (; *text && *text != '.'; text++, digits++) {
            unsigned d = *text >= '0' && *text <= '9' ? (unsigned)(*text - '0') : *text >= 'a' && *text <= 'f' ? (unsigned)(*text - 'a') + 10 : 99;

            if (d >= (v6 ? 16u : 10u) || digits >= (v6 ? 1u : 3u))
                return 0;
            v = v * (v6 ? 16 : 10) + d;
        }
        if (!digits || v > 255 || *text != '.')
            return 0;
        text++;
        parts[n++] = (uint8_t)v;
    }
    if (strcmp(text, v6 ? "ip6.arpa" : "in-addr.arpa") != 0)
        return 0;
    for (size_t i = 0; i < (v6 ? 16u : 4u); i++)
        ret[i] = v6 ? (uint8_t)(parts[31 - 2 * i] << 4 | parts[30 - 2 * i]) : parts[3 - i];
    return v6 ? 16 : 4;
}

bool dns_same_question(const uint8_t *m, size_t n, const uint8_t *q_msg, const struct dns_query *q) {
    size_t end = q->question_end;

    if (n < end || dns_u16(m + 4) != 1)
        return false;
    for (size_t i = DNS_HEAD; i < end - 4; i++) {
        if (lower(m[i]) != lower(q_msg[i]))
            return false;
    }
    return memcmp(m + end - 4, q_msg + end - 4, 4) == 0;
}

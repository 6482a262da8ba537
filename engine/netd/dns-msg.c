// SPDX-License-Identifier: Apache-2.0
#include "netd/dns-msg.h"

#include <string.h>

#include "base/str.h"

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

/* Where the name at `at` ends, compressed or not; 0 when it does not. */
static size_t skip_name(const uint8_t *m, size_t n, size_t at) {
    while (at < n) {
        size_t len = m[at];

        if (!len)
            return at + 1;
        if (len >= 0xc0)
            return at + 2 <= n ? at + 2 : 0;
        if (len > 63)
            return 0;
        at += len + 1;
    }
    return 0;
}

/* The size of an EDNS record, which may be anywhere among the records. What cannot be read is taken for none. */
static size_t edns_size(const uint8_t *m, size_t n, size_t at) {
    unsigned records = (unsigned)dns_u16(m + 6) + dns_u16(m + 8) + dns_u16(m + 10);

    /* Queries have one or two; somebody who sends thousands does not get our time. */
    for (unsigned i = 0; i < records && i < 16; i++) {
        at = skip_name(m, n, at);
        if (!at || n - at < 10)
            return 0;
        if (dns_u16(m + at) == DNS_OPT)
            return dns_u16(m + at + 2);
        at += 10 + (size_t)dns_u16(m + at + 8);
        if (at > n)
            return 0;
    }
    return 0;
}

int dns_read(const uint8_t *m, size_t n, struct dns_query *ret) {
    unsigned opcode;
    size_t at;

    if (n < DNS_HEAD)
        return -1;
    *ret = (struct dns_query){.id = dns_u16(m), .flags = dns_u16(m + 2), .size = DNS_UDP_MIN};
    if (ret->flags & DNS_QR)
        return -1;
    opcode = (ret->flags & DNS_OPCODE) >> 11;
    if (opcode != 0 && opcode != 4)
        return DNS_NOTIMP;
    if (dns_u16(m + 4) != 1)
        return DNS_FORMERR;
    at = read_name(m, n, DNS_HEAD, ret->text, &ret->plain);
    if (!at || n - at < 4)
        return DNS_FORMERR;
    ret->type = dns_u16(m + at);
    ret->class = dns_u16(m + at + 2);
    ret->question_end = at + 4;
    at = edns_size(m, n, ret->question_end);
    if (at > ret->size)
        ret->size = at;
    return DNS_NOERROR;
}

size_t dns_refusal(const struct dns_query *q, int rcode, uint8_t out[DNS_HEAD]) {
    memset(out, 0, DNS_HEAD);
    dns_put_u16(out, q->id);
    dns_put_u16(out + 2, DNS_QR | (q->flags & (DNS_OPCODE | DNS_RD)) | (unsigned)rcode);
    return DNS_HEAD;
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

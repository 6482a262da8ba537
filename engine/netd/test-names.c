// SPDX-License-Identifier: Apache-2.0
/* The codec against hostile packets; names as the reference answers them. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/test.h"
#include "netd/dns-msg.h"
#include "netd/names.h"

#define FUZZ_ROUNDS 200000

static uint32_t dice(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* A query for name; returns its length. */
static size_t query(uint8_t *m, const char *name, unsigned type, unsigned edns) {
    size_t n = DNS_HEAD;

    memset(m, 0, DNS_HEAD);
    dns_put_u16(m, 0x1234);
    dns_put_u16(m + 2, DNS_RD);
    m[5] = 1;
    n += dns_name_write(name, m + n);
    dns_put_u16(m + n, type);
    dns_put_u16(m + n + 2, 1);
    n += 4;
    if (edns) {
        m[11] = 1;
        m[n++] = 0;
        dns_put_u16(m + n, DNS_OPT);
        dns_put_u16(m + n + 2, edns);
        memset(m + n + 4, 0, 6);
        n += 10;
    }
    return n;
}

TEST(dns_reads_a_question) {
    uint8_t m[600];
    struct dns_query q;
    size_t n = query(m, "Db.Net1", DNS_A, 0);

    CHECK_INT(dns_read(m, n, &q), DNS_NOERROR);
    CHECK_STR(q.text, "db.net1");
    CHECK(q.plain);
    CHECK_INT(q.type, DNS_A);
    CHECK_INT(q.size, DNS_UDP_MIN);
    CHECK_INT(q.question_end, n);
    n = query(m, "x", DNS_AAAA, 4096);
    CHECK_INT(dns_read(m, n, &q), DNS_NOERROR);
    CHECK_INT(q.size, 4096);
    n = query(m, "", DNS_A, 100);
    CHECK_INT(dns_read(m, n, &q), DNS_NOERROR);
    CHECK_STR(q.text, "");
    CHECK_INT(q.size, DNS_UDP_MIN);
}

TEST(dns_refuses_what_is_no_question) {
    uint8_t m[600];
    struct dns_query q;
    size_t n = query(m, "ab", DNS_A, 0);

    for (size_t i = 0; i <= DNS_HEAD; i++)
        CHECK_INT(dns_read(m, i, &q), -1);
    for (size_t i = DNS_HEAD + 1; i < n; i++)
        CHECK_INT(dns_read(m, i, &q), DNS_FORMERR);
    m[2] |= 0x80;
    CHECK_INT(dns_read(m, n, &q), -1);
    m[2] = 0x10; /* status */
    CHECK_INT(dns_read(m, n, &q), DNS_NOTIMP);
    m[2] = 0x20; /* notify: answered like a query by the reference */
    CHECK_INT(dns_read(m, n, &q), DNS_NOERROR);
    m[2] = 1;
    for (unsigned count = 0; count < 65536; count += 257) {
        dns_put_u16(m + 4, count);
        CHECK_INT(dns_read(m, n, &q), count == 1 ? DNS_NOERROR : DNS_FORMERR);
    }
}

TEST(dns_names_that_lie) {
    uint8_t m[600] = {0x12, 0x34, 1, 0, 0, 1};
    struct dns_query q;
    size_t at = DNS_HEAD;

    /* Pointers to themselves, to the header, beyond the end. */
    for (unsigned target = 0; target < 40; target++) {
        dns_put_u16(m + DNS_HEAD, 0xc000 | target);
        dns_put_u16(m + DNS_HEAD + 2, 1);
        dns_put_u16(m + DNS_HEAD + 4, 1);
        CHECK_INT(dns_read(m, DNS_HEAD + 6, &q), DNS_FORMERR);
    }
    /* Reserved label types. */
    m[DNS_HEAD] = 0x40;
    CHECK_INT(dns_read(m, 100, &q), DNS_FORMERR);
    /* Too long by one byte, and just right. */
    for (int i = 0; i < 4; i++) {
        m[at++] = i < 3 ? 63 : 62;
        memset(m + at, 'a', 63);
        at += i < 3 ? 63 : 62;
    }
    m[at++] = 0;
    dns_put_u16(m + at, 1);
    dns_put_u16(m + at + 2, 1);
    CHECK_INT(dns_read(m, at + 4, &q), DNS_FORMERR);
    m[DNS_HEAD + 3 * 64] = 61;
    m[DNS_HEAD + 3 * 64 + 62] = 0;
    CHECK_INT(dns_read(m, at + 3, &q), DNS_NOERROR);
    CHECK_INT(strlen(q.text), 253);
    /* A dot inside a label is not a dot between labels. */
    memcpy(m + DNS_HEAD, "\3a.b\0\0\1\0\1", 9);
    CHECK_INT(dns_read(m, DNS_HEAD + 9, &q), DNS_NOERROR);
    CHECK(!q.plain);
    memcpy(m + DNS_HEAD, "\3a\0b\0\0\1\0\1", 9);
    CHECK_INT(dns_read(m, DNS_HEAD + 9, &q), DNS_NOERROR);
    CHECK(!q.plain);
}

TEST(dns_truncates_at_what_the_client_takes) {
    uint8_t m[600], out[4096], addr[4] = {192, 0, 2, 1};
    struct dns_reply r;
    struct dns_query q;
    size_t n = query(m, "crowd", DNS_A, 0), added = 0;

    REQUIRE(dns_read(m, n, &q) == DNS_NOERROR);
    dns_reply_begin(&r, m, &q, DNS_NOERROR, true, out, q.size);
    r.squeeze = true;
    while (dns_reply_add(&r, &q, DNS_A, addr, sizeof(addr)))
        added++;
    CHECK_INT(added, (DNS_UDP_MIN - n) / 16);
    CHECK_INT(dns_u16(out + 6), added);
    CHECK(dns_u16(out + 2) & DNS_TC);
    CHECK(r.n <= DNS_UDP_MIN);
    CHECK(dns_same_question(out, r.n, m, &q));
}

TEST(dns_addresses_backwards) {
    uint8_t a[16];

    CHECK_INT(dns_reverse("2.0.18.172.in-addr.arpa", a), 4);
    CHECK(a[0] == 172 && a[1] == 18 && a[2] == 0 && a[3] == 2);
    CHECK_INT(dns_reverse("2.0.18.in-addr.arpa", a), 0);
    CHECK_INT(dns_reverse("1.2.0.18.172.in-addr.arpa", a), 0);
    CHECK_INT(dns_reverse("256.0.18.172.in-addr.arpa", a), 0);
    CHECK_INT(dns_reverse("0002.0.18.172.in-addr.arpa", a), 0);
    CHECK_INT(dns_reverse(".0.18.172.in-addr.arpa", a), 0);
    CHECK_INT(dns_reverse("x.in-addr.arpa", a), 0);
    CHECK_INT(dns_reverse("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", a), 16);
    CHECK(a[0] == 0x20 && a[1] == 1 && a[2] == 0x0d && a[3] == 0xb8 && a[15] == 1);
    CHECK_INT(dns_reverse("10.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", a), 0);
}

/* Nothing is read or written out of bounds whatever comes (the sanitizers watch), and what is accepted can be answered. */
TEST(dns_mutated_packets) {
    static const char *const seeds[] = {"db", "a.b.c.d.e", "2.0.18.172.in-addr.arpa", "", "_http._tcp.db.net1"};
    uint32_t state = 20261122;
    unsigned accepted = 0;

    for (unsigned round = 0; round < FUZZ_ROUNDS; round++) {
        uint8_t base[600], *m;
        size_t n = query(base, seeds[dice(&state) % ELEMENTSOF(seeds)], dice(&state) % 50, dice(&state) % 2 ? 1232 : 0), len;
        struct dns_query q;
        int rcode;

        for (unsigned k = dice(&state) % 6; k > 0; k--)
            base[dice(&state) % n] = (uint8_t)(dice(&state) % 3 ? dice(&state) : 0xc0 | (dice(&state) & 0x3f));
        len = dice(&state) % 4 ? n : dice(&state) % (n + 1);
        /* Exactly as large as it is, so that one byte too far is seen. */
        m = malloc(len ? len : 1);
        REQUIRE(m);
        memcpy(m, base, len);
        rcode = dns_read(m, len, &q);
        if (rcode == DNS_NOERROR) {
            uint8_t out[DNS_UDP_MIN], addr[16] = {1};
            struct dns_reply r;

            accepted++;
            dns_reply_begin(&r, m, &q, DNS_NOERROR, true, out, sizeof(out));
            r.squeeze = dice(&state) % 2;
            while (dns_reply_add(&r, &q, DNS_AAAA, addr, sizeof(addr)))
                continue;
            CHECK(r.n <= sizeof(out));
            CHECK(dns_same_question(out, r.n, m, &q));
            CHECK(!dns_same_question(out, q.question_end - 1, m, &q));
            dns_reverse(q.text, addr);
        } else if (rcode > 0) {
            uint8_t out[DNS_REFUSAL_MAX];

            CHECK(dns_refusal(&q, m, rcode, out) <= len + DNS_HEAD);
        }
        free(m);
    }
    CHECK(accepted > FUZZ_ROUNDS / 20);
    CHECK(accepted < FUZZ_ROUNDS);
}

/* Messages as they come, the odd ones with records. */
#define SEED(text)                                                                                                                                   \
    { text, sizeof(text) - 1 }
static const struct {
    const char *p;
    size_t n;
} corpus[] = {
    SEED("\x12\x34\1\0\0\1\0\0\0\0\0\0\3two\0\0\1\0\1"),
    SEED("\x12\x34\1\0\0\1\0\0\0\0\0\1\3two\0\0\1\0\1\0\0\x29\x10\0\0\0\0\0\0\0"),
    SEED("\x12\x34\1\0\0\1\0\0\0\0\0\2\3two\0\0\1\0\1\0\0\x29\x10\0\0\0\0\0\0\x0c\0\3\0\0\0\x0a\0\4abcd\xc0\x0c\0\1\0\1\0\0\0\0\0\4\1\2\3\4"),
    SEED("\x12\x34\x21\0\0\1\0\1\0\1\0\1\3two\0\0\6\0\1\xc0\x0c\0\6\0\1\0\0\0\0\0\1p\xc0\x0c\0\x10\0\1\0\0\0\0\0\4\3xyz\0\0\xfa\0\xff\0\0\0\0\0\2\0"
         "\0"),
};

/* Exactly as large as it is, so that one byte too far is seen. */
static int read_exactly(const uint8_t *from, size_t n, struct dns_query *q) {
    uint8_t *m = malloc(n ? n : 1), out[DNS_REFUSAL_MAX], room[DNS_UDP_MIN];
    struct dns_reply r;
    int rcode;

    if (!m)
        return -1;
    memcpy(m, from, n);
    rcode = dns_read(m, n, q);
    if (rcode > 0)
        CHECK(dns_refusal(q, m, rcode, out) <= sizeof(out));
    else if (rcode == 0)
        dns_reply_begin(&r, m, q, DNS_NOERROR, true, room, sizeof(room));
    free(m);
    return rcode;
}

TEST(dns_every_byte_of_a_message) {
    struct dns_query q;

    for (size_t i = 0; i < ELEMENTSOF(corpus); i++) {
        uint8_t m[128];
        size_t n = corpus[i].n;

        memcpy(m, corpus[i].p, n);
        CHECK_INT(read_exactly(m, n, &q), DNS_NOERROR);
        CHECK(q.edns == (i == 1 || i == 2));
        for (size_t len = 0; len < n; len++)
            CHECK((read_exactly(m, len, &q) < 0) == (len <= DNS_HEAD));
        for (size_t at = 0; at < n; at++) {
            for (unsigned v = 0; v < 256; v++) {
                m[at] = (uint8_t)v;
                read_exactly(m, n, &q);
            }
            memcpy(m, corpus[i].p, n);
        }
    }
}

TEST(dns_records_that_lie) {
    static const struct {
        const char *tail;
        size_t n;
        unsigned extra;
        int rcode;
    } cases[] = {
        {"", 0, 1, DNS_NOERROR},                                      /* missing at the end, which the reference takes */
        {"\xff\xff", 2, 0, DNS_NOERROR},                              /* more than was announced */
        {"\0\0\x29\x10\0\0\0\0\0\0\0", 11, 3, DNS_FORMERR},           /* too many */
        {"\0\0\x29\x10\0\0\0", 7, 1, DNS_FORMERR},                    /* cut */
        {"\0\0\x29\x10\0\0\0\0\0\0\4\0\1", 13, 1, DNS_FORMERR},       /* data cut */
        {"\0\0\x29\x10\0\0\0\0\0\0\4\0\3\0\x10", 15, 1, DNS_FORMERR}, /* an option beyond the data */
        {"\0\0\x29\x10\0\0\0\0\0\0\4\0\3\0\0", 15, 1, DNS_NOERROR},
        {"\xc0\x0c\0\1\0\1\0\0\0\0\0\3\1\2\3", 15, 1, DNS_FORMERR},   /* three bytes of address */
        {"\xc0\x15\0\1\0\1\0\0\0\0\0\4\1\2\3\4", 16, 1, DNS_FORMERR}, /* a name that leads to itself */
        {"\xc0\xff\0\1\0\1\0\0\0\0\0\4\1\2\3\4", 16, 1, DNS_FORMERR}, /* and nowhere */
    };
    uint8_t m[128];
    struct dns_query q;

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        memcpy(m, corpus[0].p, corpus[0].n);
        m[11] = (uint8_t)cases[i].extra;
        memcpy(m + corpus[0].n, cases[i].tail, cases[i].n);
        CHECK_INT(read_exactly(m, corpus[0].n + cases[i].n, &q), cases[i].rcode);
        CHECK_INT(q.question_end, cases[i].extra > 2 ? 0 : corpus[0].n);
    }
}

/* ---- names ------------------------------------------------------------------------------------------------------------------------- */

struct fields {
    uint8_t p[1024];
    size_t n;
};

static void put(struct fields *f, enum netd_field field, const void *p, size_t n) {
    f->p[f->n] = (uint8_t)field;
    f->p[f->n + 1] = (uint8_t)n;
    memcpy(f->p + f->n + 2, p, n);
    f->n += n + 2;
}

static struct netd_fields all(const struct fields *f) {
    return (struct netd_fields){f->p, f->p + f->n};
}

static void zone(struct fields *f, char which) {
    uint8_t id[NETD_GROUP_BYTES] = {(uint8_t)which};

    put(f, NETD_F_ZONE, id, sizeof(id));
}

static void site(struct names *n, char id, char which, const char *zone_text, uint8_t last, const char *name, const char *alias) {
    uint8_t key[NETD_GROUP_BYTES] = {(uint8_t)id}, v4[4] = {172, 18, (uint8_t)which, last};
    struct fields f = {.n = 0};

    zone(&f, which);
    put(&f, NETD_F_ZONE_NAME, zone_text, strlen(zone_text));
    put(&f, NETD_F_V4, v4, 4);
    put(&f, NETD_F_NAME, name, strlen(name));
    if (alias)
        put(&f, NETD_F_NAME, alias, strlen(alias));
    CHECK_INT(names_set(n, key, all(&f)), 0);
}

static int last_byte(const struct view *v, const char *name) {
    struct site *const *s;

    return names_find(v, name, &s) ? s[0]->v4[3] : -1;
}

TEST(names_as_a_container_sees_them) {
    struct names n = {0};
    struct view both, one;
    struct fields f = {.n = 0};
    struct site *const *s;
    uint8_t addr[4] = {172, 18, 'a', 2}, key[NETD_GROUP_BYTES] = {'1'};
    const struct site *at;

    site(&n, '1', 'a', "neta", 2, "Web", "all");
    site(&n, '2', 'a', "neta", 3, "db", "all");
    site(&n, '3', 'b', "net.b", 4, "db", "x.y");
    zone(&f, 'a');
    put(&f, NETD_F_LINK, "store\0db", 8);
    put(&f, NETD_F_LINK, "web\0db", 6);
    CHECK_INT(view_read(&n, all(&f), &one), 0);
    zone(&f, 'b');
    CHECK_INT(view_read(&n, all(&f), &both), 0);
    CHECK_INT(last_byte(&one, "db"), 3);
    CHECK_INT(last_byte(&one, "db.neta"), 3);
    CHECK_INT(last_byte(&one, "db.net.b"), -1);
    CHECK_INT(last_byte(&both, "db.net.b"), 4);
    CHECK_INT(last_byte(&both, "x.y"), 4);
    CHECK_INT(last_byte(&both, "x.y.net.b"), 4);
    CHECK_INT(last_byte(&both, "x"), -1);
    CHECK_INT(last_byte(&both, ""), -1);
    CHECK_INT(names_find(&both, "all", &s), 2);
    /* A link hides the name it is called like. */
    CHECK_INT(last_byte(&one, "store"), 3);
    CHECK_INT(last_byte(&one, "store.neta"), 3);
    CHECK_INT(last_byte(&one, "web"), 3);
    at = names_at(&both, addr, 4);
    REQUIRE(at);
    CHECK_STR(at->names[0], "web");
    CHECK_STR(at->shown, "Web");
    CHECK_STR(zone_name(at->zone), "neta");
    /* Said anew: the old names are gone. */
    site(&n, '2', 'a', "neta", 9, "db2", NULL);
    CHECK_INT(last_byte(&one, "db2"), 9);
    CHECK_INT(last_byte(&one, "db"), -1);
    CHECK_INT(names_find(&one, "all", &s), 1);
    names_remove(&n, key);
    CHECK_INT(names_find(&one, "all", &s), 0);
    CHECK(!names_at(&both, addr, 4));
    names_stale(&n);
    site(&n, '3', 'b', "net.b", 5, "db", NULL);
    names_sweep(&n);
    CHECK_INT(n.sites.n, 1);
    CHECK_INT(last_byte(&both, "db"), 5);
    view_done(&n, &one);
    view_done(&n, &both);
    names_done(&n);
}

TEST(names_from_broken_packets) {
    struct names n = {0};
    uint32_t state = 7;

    for (unsigned round = 0; round < 20000; round++) {
        uint8_t key[NETD_GROUP_BYTES] = {(uint8_t)(dice(&state) % 8)}, *p;
        struct fields f = {.n = 0};
        struct view v;
        size_t len;

        zone(&f, (char)('a' + dice(&state) % 3));
        put(&f, NETD_F_ZONE_NAME, "net", 3);
        put(&f, NETD_F_V4, "\1\2\3\4", 4);
        put(&f, NETD_F_NAME, "web", 3);
        put(&f, NETD_F_LINK, "a\0web", 5);
        for (unsigned k = dice(&state) % 4; k > 0; k--)
            f.p[dice(&state) % f.n] = (uint8_t)(dice(&state) % 40);
        len = dice(&state) % 4 ? f.n : dice(&state) % f.n;
        p = malloc(len ? len : 1);
        REQUIRE(p);
        memcpy(p, f.p, len);
        if (dice(&state) % 3 == 0)
            names_remove(&n, key);
        else
            names_set(&n, key, (struct netd_fields){p, p + len});
        if (view_read(&n, (struct netd_fields){p, p + len}, &v) == 0) {
            struct site *const *s;

            names_find(&v, "a.net", &s);
            names_find(&v, "web", &s);
            view_done(&n, &v);
        }
        free(p);
    }
    names_done(&n);
}

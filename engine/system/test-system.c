// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "base/test.h"
#include "system/events.h"
#include "system/system.h"
#include "wire/call.h"
#include "wire/filters.h"
#include "wire/loop.h"

TEST(times_are_seconds_with_a_fraction) {
    _cleanup_err_ struct err e = ERR_INIT;
    int64_t t = -1;

    CHECK_INT(system_parse_time("", &t, &e), 0);
    CHECK_INT(t, 0);
    CHECK_INT(system_parse_time("1700000000.5", &t, &e), 0);
    CHECK_INT(t, INT64_C(1700000000) * NSEC_PER_SEC + 500000000);
    CHECK_INT(system_parse_time("1.0000000019", &t, &e), 0);
    CHECK_INT(t, NSEC_PER_SEC + 1);
    CHECK_INT(system_parse_time("abc", &t, &e), -ERR_INTERNAL);
    CHECK_STR(err_msg(&e), "strconv.ParseInt: parsing \"abc\": invalid syntax");
    CHECK_INT(system_parse_time("99999999999999999999", &t, &e), -ERR_INTERNAL);
    CHECK_STR(err_msg(&e), "strconv.ParseInt: parsing \"99999999999999999999\": value out of range");
}

TEST(facts_are_there) {
    struct system_facts f = {0};

    CHECK_INT(system_facts_read(&f, NULL), 0);
    CHECK(f.cpus > 0);
    CHECK(f.memory_bytes > 0);
    CHECK(!str_empty(f.operating_system));
    CHECK(!str_empty(f.go_arch));
    system_facts_done(&f);
}

/* What the client at `fd` has within 10 s, up to and with `last`. */
static void hear(int fd, char *ret, size_t room, const char *last) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    size_t n = 0;

    ret[0] = 0;
    while (n < room - 1 && !strstr(ret, last) && poll(&p, 1, 10000) > 0) {
        ssize_t k = read(fd, ret + n, room - 1 - n);

        if (k <= 0)
            return;
        n += (size_t)k;
        ret[n] = 0;
    }
}

/* A client that has read the head may do something and wait for its event before the stream loop knows of the client. */
TEST(a_client_hears_what_happened_since_its_request) {
    struct filters filters = FILTERS_INIT;
    struct taken conn = TAKEN_INIT;
    struct events *ev = NULL;
    struct loop *loop = NULL;
    char heard[4096];
    uint64_t mark;
    int pair[2];

    REQUIRE(loop_new("test", &loop, NULL) == 0);
    REQUIRE(loop_start(loop, NULL) == 0);
    REQUIRE(events_new(loop, &ev, NULL) == 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    events_publish(ev, "volume", "create", "before", NULL);
    mark = events_mark(ev);
    events_publish(ev, "volume", "create", "between", NULL);
    conn.fd = pair[0];
    REQUIRE(events_serve(ev, &conn, &filters, mark, 0, 0, NULL) == 0);
    events_publish(ev, "volume", "create", "after", NULL);
    hear(pair[1], heard, sizeof heard, "\"after\"");
    CHECK(strstr(heard, "\"before\"") == NULL);
    CHECK(strstr(heard, "\"between\"") != NULL);
    CHECK(strstr(heard, "\"after\"") != NULL);
    close(pair[1]);
    loop_stop(loop);
    events_free(ev);
    loop_free(loop);
}

/* More events than one delivery takes, published faster than they can be sent: none is lost, none overtakes another. */
TEST(a_burst_arrives_whole_and_in_order) {
    enum { EVENTS = 3 * LIMIT_EVENT_BACKLOG + 7 };
    static char heard[512 * EVENTS];
    struct filters filters = FILTERS_INIT;
    struct taken conn = TAKEN_INIT;
    struct events *ev = NULL;
    struct loop *loop = NULL;
    const char *at = heard;
    char id[32];
    int pair[2];

    REQUIRE(loop_new("test", &loop, NULL) == 0);
    REQUIRE(loop_start(loop, NULL) == 0);
    REQUIRE(events_new(loop, &ev, NULL) == 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    conn.fd = pair[0];
    REQUIRE(events_serve(ev, &conn, &filters, events_mark(ev), 0, 0, NULL) == 0);
    for (int i = 0; i < EVENTS; i++) {
        snprintf(id, sizeof id, "number-%d-", i);
        events_publish(ev, "volume", "create", id, NULL);
    }
    snprintf(id, sizeof id, "number-%d-", EVENTS - 1);
    hear(pair[1], heard, sizeof heard, id);
    for (int i = 0; i < EVENTS && at; i++) {
        snprintf(id, sizeof id, "\"ID\":\"number-%d-", i);
        at = strstr(at, "\"ID\":");
        CHECK(at && strncmp(at, id, strlen(id)) == 0);
        at = at ? at + 1 : NULL;
    }
    close(pair[1]);
    loop_stop(loop);
    events_free(ev);
    loop_free(loop);
}

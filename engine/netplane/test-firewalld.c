// SPDX-License-Identifier: Apache-2.0
/* The client of firewalld against a bus that the test plays itself. */
#include "netplane/firewalld.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "base/test.h"
#include "base/thread.h"
#include "netplane/dbus.h"

#define OWNER ":1.7"
#define GUESTS 16

struct fake;
struct guest {
    struct fake *fake;
    struct dbus bus;
    pthread_t thread;
};

/* What the other side does and has seen. */
struct fake {
    int door;
    char dir[32];
    bool runs, zone; /* firewalld is there; it has the zone */
    const char *refusal;
    char calls[1024]; /* members and arguments of what firewalld was asked */
    pthread_t thread;
    struct guest guests[GUESTS]; /* the first one is where signals go */
    size_t n_guests;
};

static void note(struct fake *k, const struct dbus_message *m) {
    const char *s = "";
    size_t pos = 0, len = strlen(k->calls);

    snprintf(k->calls + len, sizeof(k->calls) - len, "%s", m->member);
    while (m->signature && *m->signature == 's' && dbus_get_string(m, &pos, &s) && strcmp(m->member, "addZone") != 0) {
        len = strlen(k->calls);
        snprintf(k->calls + len, sizeof(k->calls) - len, " %s", s);
    }
    len = strlen(k->calls);
    snprintf(k->calls + len, sizeof(k->calls) - len, "\n");
}

static void answer(struct fake *k, struct dbus *d, const struct dbus_message *m) {
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    struct dbus_message to = {.type = DBUS_RETURN, .reply_to = m->serial, .destination = ":1.1"};
    const char *zones[] = {"public", "docker"}, *have[] = {"docker0"};

    if (streq_ptr(m->destination, DBUS_NAME)) {
        to.signature = "s";
        dbus_put_string(&b, streq(m->member, "Hello") ? ":1.1" : OWNER);
        if (streq(m->member, "GetNameOwner") && !k->runs) {
            to.type = DBUS_ERROR;
            to.error = "org.freedesktop.DBus.Error.NameHasNoOwner";
        }
    } else {
        note(k, m);
        if (streq(m->member, "getZones") || streq(m->member, "getInterfaces")) {
            to.signature = "as";
            dbus_put_strings(&b, streq(m->member, "getZones") ? zones : have, streq(m->member, "getZones") && k->zone ? 2 : 1);
        } else if (k->refusal && streq(m->member, "addInterface")) {
            to.type = DBUS_ERROR;
            to.error = "org.fedoraproject.FirewallD1.Exception";
            to.signature = "s";
            dbus_put_string(&b, k->refusal);
        } else if (streq(m->member, "reload")) {
            k->zone = true;
        }
    }
    CHECK_INT(dbus_send(d, &to, &b, NULL), 0);
}

static void welcome(int fd) {
    char line[128], c;
    size_t n = 0;

    while (n < sizeof(line) - 1 && read(fd, &c, 1) == 1 && c != '\n')
        line[n++] = c;
    line[n] = '\0';
    CHECK_INT(line[0], 0);
    CHECK_INT(strncmp(line + 1, "AUTH EXTERNAL ", 14), 0);
    CHECK_INT(write(fd, "OK 0123456789abcdef\r\n", 21), 21);
    for (c = 0; c != '\n' && read(fd, &c, 1) == 1;) {
    }
}

static void *serve(void *arg) {
    struct guest *g = arg;
    struct dbus_message m;

    welcome(g->bus.fd);
    while (dbus_receive(&g->bus, &m, NULL) == 0) {
        answer(g->fake, &g->bus, &m);
        dbus_message_done(&m);
    }
    return NULL;
}

static void *let_in(void *arg) {
    struct fake *k = arg;
    int fd;

    while (k->n_guests < GUESTS && (fd = accept4(k->door, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct guest *g = &k->guests[k->n_guests];

        *g = (struct guest){.fake = k, .bus = {.fd = fd}};
        CHECK_INT(thread_start(&g->thread, KIB(256), serve, g), 0);
        k->n_guests++;
    }
    return NULL;
}

static void fake_start(struct fake *k) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char address[160];

    snprintf(k->dir, sizeof(k->dir), "/tmp/test-firewalld.XXXXXX");
    CHECK(mkdtemp(k->dir) != NULL);
    snprintf(at.sun_path, sizeof(at.sun_path), "%s/bus", k->dir);
    snprintf(address, sizeof(address), "unix:path=%s,guid=0", at.sun_path);
    CHECK_INT(setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1), 0);
    k->door = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(k->door, (struct sockaddr *)&at, sizeof(at)), 0);
    CHECK_INT(listen(k->door, 8), 0);
    CHECK_INT(thread_start(&k->thread, KIB(256), let_in, k), 0);
}

static void fake_end(struct fake *k) {
    char path[64];

    shutdown(k->door, SHUT_RDWR);
    pthread_join(k->thread, NULL);
    for (size_t i = 0; i < k->n_guests; i++) {
        shutdown(k->guests[i].bus.fd, SHUT_RDWR);
        pthread_join(k->guests[i].thread, NULL);
        dbus_close(&k->guests[i].bus);
    }
    close(k->door);
    snprintf(path, sizeof(path), "%s/bus", k->dir);
    CHECK_INT(unlink(path), 0);
    CHECK_INT(rmdir(k->dir), 0);
    unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
}

static void expect(struct fake *k, const char *calls) {
    CHECK_STR(k->calls, calls);
    k->calls[0] = '\0';
}

static const char *const two[] = {"docker0", "br-1"};

TEST(firewalld_zone_is_made_and_bridges_are_put_there) {
    struct fake k = {.runs = true};
    struct firewalld *f = NULL;

    fake_start(&k);
    CHECK_INT(firewalld_new(&f, NULL), 0);
    REQUIRE(f);
    CHECK_INT(firewalld_trust(f, two, 2, NULL), 0);
    expect(&k, "getZones\naddZone\nreload\ngetInterfaces docker\naddInterface docker br-1\n");
    CHECK_INT(firewalld_trust(f, two, 1, NULL), 0);
    expect(&k, "getZones\ngetInterfaces docker\n");
    firewalld_forget(f, "br-1");
    expect(&k, "removeInterface docker br-1\n");
    firewalld_free(f);
    fake_end(&k);
}

TEST(firewalld_refusals) {
    struct fake k = {.runs = true, .zone = true, .refusal = "ZONE_CONFLICT: 'br-1' already bound to 'trusted'"};
    _cleanup_err_ struct err e = ERR_INIT;
    struct firewalld *f = NULL;

    fake_start(&k);
    CHECK_INT(firewalld_new(&f, NULL), 0);
    REQUIRE(f);
    CHECK_INT(firewalld_trust(f, two, 2, &e), 0);
    k.refusal = "ZONE_ALREADY_SET: br-1";
    CHECK_INT(firewalld_trust(f, two, 2, &e), 0);
    k.refusal = "NOT_RUNNING: no";
    CHECK_INT(firewalld_trust(f, two, 2, &e), -ERR_CONFLICT);
    CHECK_STR(err_msg(&e), "firewalld does not take br-1 into its zone docker: NOT_RUNNING: no");
    firewalld_free(f);
    fake_end(&k);
}

static void count(void *arg) {
    (*(atomic_int *)arg)++;
}

static void signal_to(struct fake *k, const char *sender, const char *member, const char *owner) {
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    struct dbus_message m = {.type = DBUS_SIGNAL, .path = "/x", .interface = "x", .member = member, .sender = sender};

    if (owner) {
        m.signature = "sss";
        dbus_put_string(&b, "org.fedoraproject.FirewallD1");
        dbus_put_string(&b, "");
        dbus_put_string(&b, owner);
    }
    CHECK_INT(dbus_send(&k->guests[0].bus, &m, &b, NULL), 0);
}

TEST(firewalld_signals) {
    struct fake k = {.zone = true};
    struct firewalld *f = NULL;
    atomic_int fresh = 0;

    fake_start(&k);
    CHECK_INT(firewalld_new(&f, NULL), 0);
    REQUIRE(f);
    CHECK_INT(firewalld_trust(f, two, 2, NULL), 0);
    expect(&k, "");
    CHECK_INT(firewalld_watch(f, count, &fresh, NULL), 0);
    /* Of somebody else, then of one who has just come and reloads. */
    signal_to(&k, ":1.66", "Reloaded", NULL);
    signal_to(&k, DBUS_NAME, "NameOwnerChanged", OWNER);
    CHECK_SOON(fresh == 1);
    CHECK_INT(firewalld_trust(f, two, 1, NULL), 0);
    expect(&k, "getZones\ngetInterfaces docker\n");
    signal_to(&k, OWNER, "Reloaded", NULL);
    CHECK_SOON(fresh == 2);
    signal_to(&k, DBUS_NAME, "NameOwnerChanged", "");
    signal_to(&k, OWNER, "Reloaded", NULL);
    signal_to(&k, DBUS_NAME, "NameOwnerChanged", OWNER);
    CHECK_SOON(fresh == 3);
    firewalld_free(f);
    CHECK_INT(fresh, 3);
    fake_end(&k);
}

TEST(firewalld_without_a_bus) {
    struct firewalld *f = NULL;

    setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus", 1);
    CHECK_INT(firewalld_new(&f, NULL), 0);
    CHECK(!f);
    CHECK_INT(firewalld_watch(f, count, NULL, NULL), 0);
    CHECK_INT(firewalld_trust(f, two, 2, NULL), 0);
    firewalld_forget(f, "br-1");
    firewalld_free(f);
    unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
}

/* What nobody should send. */
TEST(dbus_damaged_messages) {
    static const struct {
        size_t at;
        unsigned char value;
    } damage[] = {{0, 'B'}, {3, 9}, {7, 0x40}, {15, 0x40}, {12, 0xf0}, {17, 200}, {18, 'x'}, {20, 0xff}, {22, 0x7f}};

    for (size_t i = 0; i < ELEMENTSOF(damage); i++) {
        struct dbus_message m = {.type = DBUS_SIGNAL, .path = "/a/b", .interface = "x", .member = "y"};
        char bytes[512] = "";
        struct dbus in, out;
        int pair[2];

        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        in = (struct dbus){.fd = pair[0]}, out = (struct dbus){.fd = pair[1]};
        CHECK_INT(dbus_send(&out, &m, NULL, NULL), 0);
        CHECK(recv(in.fd, bytes, sizeof(bytes), 0) > 40);
        bytes[damage[i].at] = (char)damage[i].value;
        CHECK(send(out.fd, bytes, sizeof(bytes), 0) == sizeof(bytes));
        dbus_close(&out);
        if (dbus_receive(&in, &m, NULL) == 0) {
            test_fail(__FILE__, __LINE__, "damage %zu is not seen", i);
            dbus_message_done(&m);
        }
        dbus_close(&in);
    }
}

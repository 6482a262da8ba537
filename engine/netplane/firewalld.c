// SPDX-License-Identifier: Apache-2.0
#include "netplane/firewalld.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "base/strv.h"
#include "base/thread.h"
#include "netplane/dbus.h"

#define SERVICE "org.fedoraproject.FirewallD1"
#define OBJECT "/org/fedoraproject/FirewallD1"
#define ZONE "docker"
#define OWNER_MAX 256
#define AGAIN_MS 5000 /* until a bus that ended our connection is tried again */

static const char *const matches[] = {
    "type='signal',sender='" DBUS_NAME "',path='" DBUS_PATH "',interface='" DBUS_NAME "',member='NameOwnerChanged',arg0='" SERVICE "'",
    "type='signal',sender='" SERVICE "',path='" OBJECT "',interface='" SERVICE "',member='Reloaded'",
};

struct firewalld {
    atomic_bool running;
    /* The watching thread's, once it runs. */
    struct dbus signals;
    char owner[OWNER_MAX]; /* whose signals are firewalld's; "": it does not run */
    bool watched;
    pthread_t watcher;
    int stop;
    void (*fresh)(void *arg);
    void *arg;
};

/* ---- who runs ---------------------------------------------------------------------------------------------------------------------- */

static void set_owner(struct firewalld *f, const char *name) {
    snprintf(f->owner, sizeof(f->owner), "%s", name);
    f->running = *name;
}

static int ask_bus(struct dbus *d, const char *member, const char *argument, struct dbus_message *ret, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(DBUS_MESSAGE_MAX);

    dbus_put_string(&b, argument);
    return dbus_call(d, &(struct dbus_call){DBUS_NAME, DBUS_PATH, DBUS_NAME, member, "s", &b}, ret, e);
}

/* Listen first, then look: nothing can happen unseen in between. */
static int listen_to(struct firewalld *f, struct err *e) {
    struct dbus_message m;
    const char *owner;
    size_t pos = 0;
    int r = dbus_open(&f->signals, e);

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(matches); i++) {
        r = ask_bus(&f->signals, "AddMatch", matches[i], &m, e);
        if (r == 0)
            dbus_message_done(&m);
    }
    if (r < 0) {
        dbus_close(&f->signals);
        return r;
    }
    set_owner(f, "");
    if (ask_bus(&f->signals, "GetNameOwner", SERVICE, &m, NULL) < 0)
        return 0;
    if (streq_ptr(m.signature, "s") && dbus_get_string(&m, &pos, &owner))
        set_owner(f, owner);
    dbus_message_done(&m);
    return 0;
}

int firewalld_new(struct firewalld **ret, struct err *e) {
    struct firewalld *f = calloc(1, sizeof(*f));
    int r;

    if (!f)
        return err_oom(e);
    f->signals.fd = f->stop = -EBADF;
    r = listen_to(f, e);
    if (r == -ERR_UNAVAILABLE) {
        err_done(e);
        r = 0;
    }
    if (r < 0 || f->signals.fd < 0)
        f = firewalld_free(f);
    if (r == 0)
        *ret = f;
    return r;
}

/* ---- the zone ---------------------------------------------------------------------------------------------------------------------- */

struct question {
    const char *path, *interface, *member; /* below OBJECT and SERVICE */
    const char *first, *second;            /* arguments; NULL: none */
};

static int ask(struct dbus *d, const struct question *q, struct dbus_message *ret, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(DBUS_MESSAGE_MAX);
    char path[128], interface[128];

    snprintf(path, sizeof(path), OBJECT "%s", q->path);
    snprintf(interface, sizeof(interface), SERVICE "%s", q->interface);
    if (q->first)
        dbus_put_string(&b, q->first);
    if (q->second)
        dbus_put_string(&b, q->second);
    return dbus_call(d,
                     &(struct dbus_call){SERVICE, path, interface, q->member,
                                         q->second  ? "ss"
                                         : q->first ? "s"
                                                    : NULL,
                                         q->first ? &b : NULL},
                     ret, e);
}

/* An answer that is a list of names. */
static int ask_names(struct dbus *d, const struct question *q, struct strv *ret, struct err *e) {
    struct dbus_message m;
    size_t pos = 0;
    uint32_t len;
    const char *s;
    int r = ask(d, q, &m, e);

    if (r < 0)
        return r;
    if (!streq_ptr(m.signature, "as") || !dbus_get_u32(&m, &pos, &len))
        r = err_set(e, ERR_INTERNAL, "firewalld's answer to %s cannot be read", q->member);
    while (r == 0 && pos < m.len && dbus_get_string(&m, &pos, &s)) {
        if (strv_add(ret, s) < 0)
            r = err_oom(e);
    }
    dbus_message_done(&m);
    return r;
}

static int order(struct dbus *d, const struct question *q, struct err *e) {
    struct dbus_message m;
    int r = ask(d, q, &m, e);

    if (r == 0)
        dbus_message_done(&m);
    return r;
}

/* Settings as config.addZone of every version takes them: firewalld.dbus(5). */
static int make_zone(struct dbus *d, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(DBUS_MESSAGE_MAX);
    struct dbus_message m;
    int r;

    dbus_put_string(&b, ZONE);
    dbus_put_struct(&b);
    dbus_put_string(&b, ""); /* version */
    dbus_put_string(&b, ZONE);
    dbus_put_string(&b, "zone for docker bridge network interfaces");
    dbus_put_bool(&b, false);
    dbus_put_string(&b, "ACCEPT");
    dbus_put_strings(&b, NULL, 0); /* services */
    dbus_put_no_structs(&b);       /* ports */
    dbus_put_strings(&b, NULL, 0); /* ICMP blocks */
    dbus_put_bool(&b, false);      /* masquerade */
    dbus_put_no_structs(&b);       /* forwarded ports */
    dbus_put_strings(&b, NULL, 0); /* interfaces */
    dbus_put_strings(&b, NULL, 0); /* sources */
    dbus_put_strings(&b, NULL, 0); /* rich rules */
    dbus_put_strings(&b, NULL, 0); /* protocols */
    dbus_put_no_structs(&b);       /* source ports */
    dbus_put_bool(&b, false);      /* inversion of ICMP blocks */
    r = dbus_call(d, &(struct dbus_call){SERVICE, OBJECT "/config", SERVICE ".config", "addZone", "s(sssbsasa(ss)asba(ssss)asasasasa(ss)b)", &b}, &m,
                  e);
    if (r < 0)
        return r;
    dbus_message_done(&m);
    /* A new zone is there after a reload only. */
    return order(d, &(struct question){"", "", "reload", NULL, NULL}, e);
}

/* firewalld begins its errors with a word in capitals. */
static bool begins(const struct err *e, const char *word) {
    return strncmp(err_msg(e), word, strlen(word)) == 0;
}

static int add_interface(struct dbus *d, const char *ifname, struct err *e) {
    _cleanup_err_ struct err why = ERR_INIT;

    if (order(d, &(struct question){"", ".zone", "addInterface", ZONE, ifname}, &why) == 0 || begins(&why, "ZONE_ALREADY_SET") ||
        begins(&why, "ALREADY_ENABLED"))
        return 0;
    if (begins(&why, "ZONE_CONFLICT")) {
        log_kv(LOG_LVL_WARN, "a bridge is in another zone of firewalld and stays there; its containers may not get out", "bridge", ifname,
               "firewalld", err_msg(&why), NULL);
        return 0;
    }
    err_wrap(&why, "firewalld does not take %s into its zone " ZONE, ifname);
    return err_move(e, &why);
}

int firewalld_trust(struct firewalld *f, const char *const *ifnames, size_t n, struct err *e) {
    _cleanup_strv_ struct strv zones = STRV_INIT, have = STRV_INIT;
    struct dbus d;
    int r;

    if (!f || !f->running || !n)
        return 0;
    r = dbus_open(&d, e);
    if (r < 0)
        return r;
    r = ask_names(&d, &(struct question){"", ".zone", "getZones", NULL, NULL}, &zones, e);
    if (r == 0 && !strv_has(&zones, ZONE))
        r = make_zone(&d, e);
    if (r == 0)
        r = ask_names(&d, &(struct question){"", ".zone", "getInterfaces", ZONE, NULL}, &have, e);
    for (size_t i = 0; r == 0 && i < n; i++) {
        if (!strv_has(&have, ifnames[i]))
            r = add_interface(&d, ifnames[i], e);
    }
    dbus_close(&d);
    return r;
}

void firewalld_forget(struct firewalld *f, const char *ifname) {
    _cleanup_err_ struct err why = ERR_INIT;
    struct dbus d;

    if (!f || !f->running)
        return;
    if (dbus_open(&d, &why) == 0) {
        ignore_result(order(&d, &(struct question){"", ".zone", "removeInterface", ZONE, ifname}, &why) < 0);
        dbus_close(&d);
    }
    if (why.kind != ERR_NONE)
        log_kv(LOG_LVL_DEBUG, "firewalld keeps the name of a bridge that is gone", "bridge", ifname, "error", err_msg(&why), NULL);
}

/* ---- signals ----------------------------------------------------------------------------------------------------------------------- */

/* True when firewalld has forgotten what it was told. The bus lets anybody send us signals, so the sender counts. */
static bool is_fresh(struct firewalld *f, const struct dbus_message *m) {
    const char *name, *before, *after;
    size_t pos = 0;

    if (m->type != DBUS_SIGNAL || !m->sender || !m->member)
        return false;
    if (streq(m->sender, DBUS_NAME) && streq(m->member, "NameOwnerChanged") && streq_ptr(m->signature, "sss") && dbus_get_string(m, &pos, &name) &&
        dbus_get_string(m, &pos, &before) && dbus_get_string(m, &pos, &after) && streq(name, SERVICE)) {
        set_owner(f, after);
        return f->running;
    }
    return *f->owner && streq(m->sender, f->owner) && streq(m->member, "Reloaded");
}

static void *watch(void *arg) {
    struct firewalld *f = arg;
    struct pollfd p[2] = {{.events = POLLIN}, {.fd = f->stop, .events = POLLIN}};

    pthread_setname_np(pthread_self(), "firewalld");
    for (;;) {
        struct dbus_message m;
        bool fresh = false;
        int n;

        p[0].fd = f->signals.fd;
        n = poll(p, 2, f->signals.fd < 0 ? AGAIN_MS : -1);
        if (p[1].revents || (n < 0 && errno != EINTR))
            return NULL;
        if (n == 0) {
            fresh = listen_to(f, NULL) == 0 && f->running;
        } else if (n > 0 && dbus_receive(&f->signals, &m, NULL) == 0) {
            fresh = is_fresh(f, &m);
            dbus_message_done(&m);
        } else if (n > 0) {
            dbus_close(&f->signals);
            f->running = false;
        }
        if (fresh)
            f->fresh(f->arg);
    }
}

int firewalld_watch(struct firewalld *f, void (*fresh)(void *arg), void *arg, struct err *e) {
    int r;

    if (!f)
        return 0;
    f->fresh = fresh;
    f->arg = arg;
    f->stop = eventfd(0, EFD_CLOEXEC);
    if (f->stop < 0)
        return err_errno(e, errno, "watch over firewalld");
    r = thread_start(&f->watcher, KIB(256), watch, f);
    if (r < 0)
        return err_errno(e, -r, "watch over firewalld");
    f->watched = true;
    return 0;
}

struct firewalld *firewalld_free(struct firewalld *f) {
    uint64_t one = 1;

    if (!f)
        return NULL;
    if (f->watched) {
        ignore_result(write(f->stop, &one, sizeof(one)) < 0);
        pthread_join(f->watcher, NULL);
    }
    close_fd(f->stop);
    dbus_close(&f->signals);
    free(f);
    return NULL;
}

// SPDX-License-Identifier: Apache-2.0
/* One inotify descriptor for all followed logs: the folder of a log is watched, because rotation replaces the file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "logdrv/logread.h"

struct logwatch_entry {
    struct logwatch *w;
    struct logwatch_entry *prev, *next;
    int wd;
    logwatch_fn *fn;
    void *data;
    bool due;
};

struct logwatch {
    int fd;
    struct logwatch_entry *first;
};

int logwatch_new(struct logwatch **ret, struct err *e) {
    struct logwatch *w = calloc(1, sizeof(*w));

    if (!w)
        return err_oom(e);
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0) {
        free(w);
        return err_errno(e, errno, "watch logs (fs.inotify.max_user_instances may be used up)");
    }
    *ret = w;
    return 0;
}

struct logwatch *logwatch_free(struct logwatch *w) {
    if (!w)
        return NULL;
    while (w->first)
        logwatch_remove(w->first);
    close_fd(w->fd);
    free(w);
    return NULL;
}

int logwatch_fd(const struct logwatch *w) {
    return w->fd;
}

int logwatch_add(struct logwatch *w, const char *path, logwatch_fn *fn, void *data, struct logwatch_entry **ret, struct err *e) {
    struct logwatch_entry *entry = calloc(1, sizeof(*entry));
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *dir = slash && slash != path ? strndup(path, (size_t)(slash - path)) : strdup(slash ? "/" : ".");

    if (!entry || !dir) {
        free(entry);
        return err_oom(e);
    }
    entry->wd = inotify_add_watch(w->fd, dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO);
    if (entry->wd < 0) {
        free(entry);
        return err_errno(e, errno, "watch %s", dir);
    }
    entry->w = w;
    entry->fn = fn;
    entry->data = data;
    entry->next = w->first;
    if (w->first)
        w->first->prev = entry;
    w->first = entry;
    *ret = entry;
    return 0;
}

struct logwatch_entry *logwatch_remove(struct logwatch_entry *entry) {
    bool shared = false;

    if (!entry)
        return NULL;
    if (entry->prev)
        entry->prev->next = entry->next;
    else
        entry->w->first = entry->next;
    if (entry->next)
        entry->next->prev = entry->prev;
    for (struct logwatch_entry *i = entry->w->first; i; i = i->next)
        shared = shared || i->wd == entry->wd;
    if (!shared)
        inotify_rm_watch(entry->w->fd, entry->wd);
    free(entry);
    return NULL;
}

/* Callbacks may remove entries, any of them: so the list is walked from the start after each call. */
static void call_due(struct logwatch *w) {
    for (struct logwatch_entry *i = w->first; i;) {
        if (!i->due) {
            i = i->next;
            continue;
        }
        i->due = false;
        i->fn(i->data);
        i = w->first;
    }
}

void logwatch_dispatch(struct logwatch *w) {
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;

    while ((n = read(w->fd, events, sizeof(events))) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *ev = (const struct inotify_event *)(events + at);

            for (struct logwatch_entry *i = w->first; i; i = i->next)
                i->due = i->due || i->wd == ev->wd || (ev->mask & IN_Q_OVERFLOW);
            at += (ssize_t)(sizeof(*ev) + ev->len);
        }
    }
    call_due(w);
}

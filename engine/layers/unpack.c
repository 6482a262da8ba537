// SPDX-License-Identifier: Apache-2.0
#include "layers/unpack.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/spawn.h"
#include "base/str.h"
#include "layers/layers-internal.h"

#define FRAME_MAX (UNPACK_SMALL_FILE + KIB(64))
#define RESERVE_MAX MIB(256)
#define PIPE_SIZE (1 << 20)

struct unpack {
    struct layers *layers;
    char *staging; /* absolute; its name begins with "tmp-": a start removes it if we cannot */
    pid_t pid;
    int in, out; /* our ends of the pipes; two descriptors of one socket when a file is read */
    struct buf frames;
    unpack_event_fn fn;
    void *arg;
    const char *mode;      /* unpack-wire.h */
    char blob[CHAIN_TEXT]; /* the layer came in this one, "": not known */
    bool kept;             /* it is in the staging folder */
    bool archive, done;    /* done: the helper said so */
};

const char *unpack_staging(const struct unpack *u) {
    return u->staging;
}

void unpack_came_from(struct unpack *u, const char *digest, bool kept) {
    snprintf(u->blob, sizeof u->blob, "%s", digest);
    u->kept = kept;
}

void unpack_origin(const struct unpack *u, struct layer *layer) {
    memcpy(layer->blob, u->blob, sizeof layer->blob);
    layer->kept = u->kept;
}

struct unpack *unpack_free(struct unpack *u) {
    if (!u)
        return NULL;
    u->in = close_fd(u->in);
    u->out = close_fd(u->out);
    if (u->pid > 0) {
        kill(u->pid, SIGKILL);
        ignore_result(spawn_wait(u->pid) < 0);
    }
    if (u->staging)
        store_discard(u->layers, strrchr(u->staging, '/') + 1);
    layer_reaper_yield(u->layers->reaper, -1);
    buf_done(&u->frames);
    free(u->staging);
    free(u);
    return NULL;
}

static void unpack_freep(struct unpack **u) {
    unpack_free(*u);
}

/* What stays free on the disk: 5 %, but no more than 256 MiB, so that large disks that are nearly full remain usable. */
static int64_t disk_reserve(const char *path) {
    struct statvfs fs;
    int64_t part;

    if (statvfs(path, &fs) < 0)
        return 0;
    part = (int64_t)fs.f_blocks * (int64_t)fs.f_frsize * LIMIT_DISK_RESERVE_PERCENT / 100;
    return MIN(part, (int64_t)RESERVE_MAX);
}

static int spawn_helper(struct unpack *u, int in, int out, int dir, struct err *e) {
    _cleanup_free_ char *program = str_printf("%s/hatake-unpack", u->layers->libexec_dir);
    _cleanup_free_ char *ids = idmap_text(u->layers->ids);
    char reserve[24];
    char *argv[] = {program, (char *)(uintptr_t)u->mode, u->layers->overlay ? "overlay" : "file", reserve, ids, NULL};
    char *envp[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};
    const struct spawn_fd fds[] = {{in, STDIN_FILENO}, {out, STDOUT_FILENO}, {dir, 3}};

    if (!program || !ids)
        return err_oom(e);
    snprintf(reserve, sizeof reserve, "%lld", (long long)disk_reserve(u->layers->home));
    return spawn_start(program, argv, envp, fds, ELEMENTSOF(fds), &u->pid, e);
}

static int make_staging(struct unpack *u, int *ret_dir, struct err *e) {
    char id[ID_LEN + 1];

    id_new(id);
    u->staging = str_printf("%s/tmp-%.16s", u->layers->home, id);
    if (!u->staging)
        return err_oom(e);
    if (mkdir(u->staging, 0700) < 0)
        return err_errno(e, errno, "mkdir %s", u->staging);
    *ret_dir = open(u->staging, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *ret_dir < 0 ? err_errno(e, errno, "open %s", u->staging) : 0;
}

static int send_known(struct unpack *u, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(MIB(64));
    size_t n = 0;
    int r;

    pthread_mutex_lock(&u->layers->lock);
    if (u->archive && u->layers->overlay)
        for (struct map_entry *i = NULL; (i = map_next(&u->layers->chains, i));)
            n++;
    buf_addi(&b, (int64_t)n);
    buf_addc(&b, '\n');
    if (u->archive && u->layers->overlay)
        for (struct map_entry *i = NULL; (i = map_next(&u->layers->chains, i));) {
            buf_adds(&b, ((struct layer *)i->value)->diff_id + strlen("sha256:"));
            buf_addc(&b, '\n');
        }
    pthread_mutex_unlock(&u->layers->lock);
    r = buf_check(&b, e);
    return r < 0 ? r : unpack_feed(u, b.data, b.len, e);
}

/* Pipes to and from the helper; its ends in the last two. */
static int make_pipes(struct unpack *u, int *ret_in, int *ret_out, struct err *e) {
    int in[2], out[2];

    if (pipe2(in, O_CLOEXEC) < 0)
        return err_errno(e, errno, "pipe");
    *ret_in = in[0];
    u->in = in[1];
    if (pipe2(out, O_CLOEXEC) < 0)
        return err_errno(e, errno, "pipe");
    *ret_out = out[1];
    u->out = out[0];
    ignore_result(fcntl(u->in, F_SETPIPE_SZ, PIPE_SIZE) < 0); /* refused beyond the user's limit: slower, not wrong */
    return 0;
}

static int make_socket(struct unpack *u, int *ret_child, struct err *e) {
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_errno(e, errno, "socketpair");
    u->out = pair[0];
    *ret_child = pair[1];
    u->in = fcntl(u->out, F_DUPFD_CLOEXEC, 3);
    return u->in < 0 ? err_errno(e, errno, "socketpair") : 0;
}

static int start(struct layers *l, const char *mode, int file, unpack_event_fn fn, void *arg, struct unpack **ret, struct err *e) {
    _cleanup_(unpack_freep) struct unpack *u = calloc(1, sizeof *u);
    _cleanup_close_ int dir = -EBADF, in_child = -EBADF, out_child = -EBADF;
    int r;

    if (!u)
        return err_oom(e);
    *u = (struct unpack){.layers = l, .in = -EBADF, .out = -EBADF, .frames = BUF_INIT(2 * FRAME_MAX), .fn = fn, .arg = arg, .mode = mode};
    u->archive = streq(mode, "archive");
    layer_reaper_yield(l->reaper, 1);
    layers_make_room(l);
    r = make_staging(u, &dir, e);
    if (r < 0)
        return r;
    if (file >= 0) {
        in_child = fcntl(file, F_DUPFD_CLOEXEC, 3);
        r = in_child < 0 ? err_errno(e, errno, "starting hatake-unpack") : make_socket(u, &out_child, e);
    } else {
        r = make_pipes(u, &in_child, &out_child, e);
    }
    if (r < 0)
        return r;
    if (fcntl(u->in, F_SETFL, O_NONBLOCK) < 0 || fcntl(u->out, F_SETFL, O_NONBLOCK) < 0)
        return err_errno(e, errno, "pipe");
    r = spawn_helper(u, in_child, out_child, dir, e);
    if (r < 0)
        return r;
    in_child = close_fd(in_child);
    out_child = close_fd(out_child);
    if (file < 0)
        r = send_known(u, e);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(u);
    return 0;
}

int unpack_start(struct layers *l, bool archive, unpack_event_fn fn, void *arg, struct unpack **ret, struct err *e) {
    return start(l, archive ? "archive" : "layer", -EBADF, fn, arg, ret, e);
}

int unpack_start_file(struct layers *l, int fd, const char *known_diff, unpack_event_fn fn, void *arg, struct unpack **ret, struct err *e) {
    return start(l, known_diff ? "known-file" : "file", fd, fn, arg, ret, e);
}

int unpack_advance(struct unpack *u, int64_t have, struct err *e) {
    return unpack_feed(u, &have, sizeof have, e);
}

/* ---- results ---------------------------------------------------------------------------------------------------------------- */

struct payload {
    const char *p;
    size_t n;
    bool bad;
};

static const char *next_text(struct payload *in) {
    const char *s = in->p, *end = in->n ? memchr(s, 0, in->n) : NULL;

    if (!end) {
        in->bad = true;
        return "";
    }
    in->n -= (size_t)(end - s) + 1;
    in->p = end + 1;
    return s;
}

static int64_t next_number(struct payload *in) {
    int64_t v = 0;

    if (parse_i64(next_text(in), &v) < 0)
        in->bad = true;
    return v;
}

static void next_digest(struct payload *in, char ret[72]) {
    const char *s = next_text(in);

    ret[0] = 0;
    if (!*s)
        return;
    if (!id_is_full(s))
        in->bad = true;
    else
        snprintf(ret, 72, "sha256:%s", s);
}

static int handle_frame(struct unpack *u, uint32_t type, const char *p, size_t n, struct err *e) {
    struct payload in = {p, n, false};
    struct unpack_event ev = {.type = (enum unpack_frame)type};

    if (type == UNPACK_DONE) {
        u->done = true;
        return 0;
    }
    if (type == UNPACK_ERROR) {
        int64_t kind = next_number(&in), errnum = next_number(&in);
        const char *text = next_text(&in);

        if (kind <= 0 || kind >= _ERR_KIND_MAX)
            kind = ERR_INTERNAL;
        err_set(e, (enum err_kind)kind, "%s", text);
        if (e)
            e->errnum = (int)errnum;
        return -(int)kind;
    }
    ev.path = next_text(&in);
    if (type == UNPACK_LAYER) {
        ev.index = (int)next_number(&in);
        next_digest(&in, ev.diff_id);
        next_digest(&in, ev.digest);
        ev.size = next_number(&in);
        ev.archive_size = next_number(&in);
        ev.entries = next_number(&in);
    } else if (type == UNPACK_PROGRESS) {
        ev.current = next_number(&in);
        ev.total = next_number(&in);
    } else if (type == UNPACK_BLOB) {
        next_digest(&in, ev.digest);
        ev.size = next_number(&in);
    } else if (type != UNPACK_FOLDER) {
        ev.data = in.p;
        ev.n = type == UNPACK_LINK ? strnlen(in.p, in.n) : in.n;
    }
    if (in.bad)
        return err_set(e, ERR_INTERNAL, "hatake-unpack sent a broken result");
    if (type == UNPACK_LAYER && ev.index >= 0)
        settle_ahead(u->layers, ev.size);
    return u->fn(u->arg, &ev, e);
}

static int handle_frames(struct unpack *u, struct err *e) {
    size_t at = 0;
    int r = 0;

    while (r == 0 && u->frames.len - at >= sizeof(struct unpack_head)) {
        struct unpack_head head;

        memcpy(&head, u->frames.data + at, sizeof head);
        if (head.length > FRAME_MAX)
            return err_set(e, ERR_INTERNAL, "hatake-unpack sent a broken result");
        if (u->frames.len - at < sizeof head + head.length)
            break;
        r = handle_frame(u, head.type, u->frames.data + at + sizeof head, head.length, e);
        at += sizeof head + head.length;
    }
    buf_consume(&u->frames, at);
    return r;
}

/* Take what the helper has to say: 1 when something came, 0 when nothing is there now, -ENODATA at its end, other negatives with e set. */
static int take_results(struct unpack *u, struct err *e) {
    ssize_t n;
    void *room = buf_reserve(&u->frames, KIB(64));

    if (!room)
        return err_set(e, ERR_INTERNAL, "hatake-unpack sent too much");
    n = read(u->out, room, KIB(64));
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : err_errno(e, errno, "reading from hatake-unpack");
    if (n == 0)
        return -ENODATA;
    buf_commit(&u->frames, (size_t)n);
    n = handle_frames(u, e);
    return n < 0 ? (int)n : 1;
}

/* The helper ended: why, when it did not say so itself. */
static int helper_gone(struct unpack *u, struct err *e) {
    int status;

    u->in = close_fd(u->in);
    u->out = close_fd(u->out);
    status = spawn_wait(u->pid);
    u->pid = 0;
    if (u->done)
        return 0;
    if (WIFSIGNALED(status))
        return err_set(e, ERR_INTERNAL, "hatake-unpack was ended by signal %d", WTERMSIG(status));
    return err_set(e, ERR_INTERNAL, "hatake-unpack ended early with status %d", WEXITSTATUS(status));
}

int unpack_feed(struct unpack *u, const void *p, size_t n, struct err *e) {
    const char *at = p;

    while (n > 0) {
        ssize_t put = u->in >= 0 ? write(u->in, at, n) : -1;

        if (put > 0) {
            at += put;
            n -= (size_t)put;
            continue;
        }
        if (u->in >= 0 && put < 0 && errno == EINTR)
            continue;
        if (u->in >= 0 && put < 0 && errno == EPIPE)
            u->in = close_fd(u->in); /* it has stopped reading: its last result says why */
        struct pollfd fds[2] = {{.fd = u->out, .events = POLLIN}, {.fd = u->in, .events = POLLOUT}};

        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return err_errno(e, errno, "poll");
        if (fds[0].revents) {
            int r = take_results(u, e);

            if (r == -ENODATA) {
                r = helper_gone(u, e);
                return r < 0 ? r : err_set(e, ERR_INTERNAL, "hatake-unpack ended before the stream did");
            }
            if (r < 0)
                return r;
        }
    }
    return 0;
}

int unpack_finish(struct unpack *u, struct err *e) {
    if (str_has_suffix(u->mode, "file") && u->in >= 0)
        shutdown(u->in, SHUT_WR);
    u->in = close_fd(u->in);
    for (;;) {
        struct pollfd fd = {.fd = u->out, .events = POLLIN};
        int r;

        if (poll(&fd, 1, -1) < 0 && errno != EINTR)
            return err_errno(e, errno, "poll");
        r = take_results(u, e);
        if (r == -ENODATA)
            return helper_gone(u, e);
        if (r < 0)
            return r;
    }
}

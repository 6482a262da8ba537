// SPDX-License-Identifier: Apache-2.0
/* Files of containers: the engine's side of hatake-files. */
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/engine.h"
#include "base/fs.h"
#include "base/idmap.h"
#include "base/spawn.h"
#include "base/str.h"
#include "container/files-wire.h"
#include "container/more.h"
#include "container/visit.h"
#include "kern/kern.h"
#include "kern/proc.h"
#include "layers/layers.h"
#include "wire/loop.h"

#define POLL_MS 1000

struct helper {
    pid_t pid;
    int in, out; /* ours: non-blocking */
    const struct ctr_files_io *io;
    struct container *c;
    bool lent;         /* it reads the archive from the client itself */
    bool in_running;   /* it works in the mounts of a running container */
    const char *event; /* to be put out before the first byte of an archive: whoever has it all can look for it then */
};

/* ---- the request ------------------------------------------------------------------------------------------------------------------------- */
static void pair(struct buf *b, const char *key, const char *value) {
    if (!value)
        return;
    buf_add(b, key, strlen(key) + 1);
    buf_add(b, value, strlen(value) + 1);
}

static bool has_mount_at(const struct ctr_mounts *l, const char *at) {
    for (size_t i = 0; i < l->n; i++)
        if (streq_ptr(l->v[i].destination, at))
            return true;
    return false;
}

static void add_mounts(struct buf *b, const struct ctr_fixed *f, const struct ctr_visit *visit) {
    for (size_t i = 0; i < f->mounts.n; i++) {
        const struct ctr_mount *m = &f->mounts.v[i];
        const char *source = m->kind == CTR_MOUNT_VOLUME ? ctr_visit_source(visit, i) : m->source;

        if (m->kind == CTR_MOUNT_TMPFS || str_empty(source))
            continue;
        pair(b, "bind", source);
        pair(b, "at", m->destination);
        pair(b, "options", m->rw ? (m->non_recursive ? "w" : "rw") : (m->non_recursive ? "" : "r"));
        if (!str_empty(m->subpath))
            pair(b, "under", m->subpath);
    }
}

/* The files that name the container on its network. */
static int add_own_files(struct buf *b, const struct container *c, const struct ctr_fixed *f, struct err *e) {
    static const char *const names[] = {"resolv.conf", "hostname", "hosts"};

    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        _cleanup_free_ char *path = container_path(c, names[i]), *at = str_printf("/etc/%s", names[i]);

        if (!path || !at)
            return err_oom(e);
        if (!fs_exists(path) || has_mount_at(&f->mounts, at))
            continue;
        pair(b, "bind", path);
        pair(b, "at", at);
        pair(b, "options", f->host.readonly_rootfs ? "" : "w");
    }
    return 0;
}

/* Whose all unpacked files become: the container's user, as the machine knows it. */
static int find_owner(const char *user, char ret[64], struct err *e) {
    _cleanup_free_ char *name = strndup(user, strcspn(user, ":"));
    _cleanup_fclose_ FILE *f = fopen("/etc/passwd", "re");
    struct passwd one, *got = NULL;
    char line[4096];
    int64_t uid = -1;

    if (!name)
        return err_oom(e);
    ignore_result(parse_i64(name, &uid) < 0);
    while (f && fgetpwent_r(f, &one, line, sizeof line, &got) == 0 && got) {
        if (streq(got->pw_name, name) || got->pw_uid == (uid_t)uid) {
            snprintf(ret, 64, "%u:%u", got->pw_uid, got->pw_gid);
            return 0;
        }
    }
    return err_set(e, ERR_INTERNAL, "getent unable to find entry \"%s\" in passwd database", name);
}

static int write_request(struct buf *b, struct container *c, const struct ctr_fixed *f, enum ctr_files what, bool running,
                         const struct ctr_visit *visit, const struct ctr_files_options *o, struct err *e) {
    static const char *const modes[] = {"stat", "get", "put", "export", "layer", "folder"};
    struct layers_rootfs root = {0};
    char owner[64];
    int r = layers_container_get(c->cs->engine->layers, c->id, &root, e);

    if (r < 0)
        return r;
    pair(b, "mode", modes[what]);
    pair(b, "path", o->path);
    pair(b, "place", root.merged);
    if (running)
        pair(b, "running", "1");
    for (size_t i = 0; i < root.lowers.n; i++)
        pair(b, "lower", root.lowers.v[i]);
    pair(b, "upper", root.upper);
    pair(b, "work", root.work);
    if (!root.upper)
        pair(b, "whole", root.merged);
    else if (what == CTR_FILES_LAYER)
        pair(b, "whole", root.upper);
    pair(b, "below", root.below);
    layers_rootfs_done(&root);
    if (c->cs->engine->ids) {
        _cleanup_free_ char *ids = idmap_text(c->cs->engine->ids);

        if (!ids)
            return err_oom(e);
        pair(b, "ids", ids);
    }
    if (o->keep_kind)
        pair(b, "keep-kind", "1");
    if (o->exact)
        pair(b, "exact", "1");
    if (f->host.readonly_rootfs)
        pair(b, "read-only", "1");
    if (o->own && !str_empty(f->config.user)) {
        r = find_owner(f->config.user, owner, e);
        if (r < 0)
            return r;
        pair(b, "owner", owner);
    }
    if (what <= CTR_FILES_PUT) {
        add_mounts(b, f, visit);
        r = add_own_files(b, c, f, e);
    }
    return r < 0 ? r : buf_check(b, e);
}

static int request_file(const struct buf *b, const struct body_lent *lent, struct err *e) {
    struct files_request head = {.texts = (uint32_t)b->len};
    _cleanup_close_ int fd = memfd_create("hatake-files", MFD_CLOEXEC);

    if (lent) {
        head.framed = true;
        head.frame = lent->frame;
        head.early = (uint32_t)lent->n_early;
    }
    if (fd < 0 || full_write(fd, &head, sizeof head) < 0 || full_write(fd, b->data, b->len) < 0 ||
        (lent && full_write(fd, lent->early, lent->n_early) < 0) || lseek(fd, 0, SEEK_SET) < 0)
        return err_errno(e, errno, "writing the request to hatake-files");
    return TAKE_FD(fd);
}

static int mounts_of(const struct ctr_view *v, struct err *e) {
    int fd = proc_open_at((pid_t)v->pid, v->pid_ticks, "ns/mnt", O_RDONLY);

    return fd >= 0 ? fd : err_set(e, ERR_CONFLICT, "container %s is not running", v->fixed->id);
}

/* ---- the helper -------------------------------------------------------------------------------------------------------------------------- */
static int spawn(struct helper *h, const char *libexec, int in, int out, int request, int ns, struct err *e) {
    _cleanup_free_ char *program = str_printf("%s/hatake-files", libexec);
    char *argv[] = {program, (char *)"--request=3", NULL}, *envp[] = {(char *)"LC_ALL=C", NULL};
    const struct spawn_fd fds[] = {{in, STDIN_FILENO}, {out, STDOUT_FILENO}, {request, 3}, {ns, 4}};

    return program ? spawn_start(program, argv, envp, fds, ns >= 0 ? 4 : 3, &h->pid, e) : err_oom(e);
}

/* One that has done its work and is on its way out. */
struct leaving {
    struct loop *loop;
    struct loop_watch *watch;
    pid_t pid;
    int fd; /* its pidfd */
};

static void leaving_end(struct leaving *l) {
    loop_unwatch(l->watch);
    close_fd(l->fd);
    ignore_result(spawn_wait(l->pid) < 0);
    free(l);
}

static void on_left(struct loop_watch *w, int fd, uint32_t events, void *data) {
    leaving_end(data);
}

static void watch_leaving(void *data) {
    struct leaving *l = data;

    if (loop_watch(l->loop, l->fd, EPOLLIN, on_left, l, &l->watch, NULL) < 0)
        leaving_end(l);
}

/* Its end takes long when files it replaced lose their blocks then (files.h). */
static bool wait_later(struct loop *loop, pid_t pid) {
    struct leaving *l = calloc(1, sizeof *l);

    if (!l)
        return false;
    *l = (struct leaving){.loop = loop, .pid = pid, .fd = kern_linux.pidfd_open(pid, 0)};
    if (l->fd >= 0 && loop_post(loop, watch_leaving, l, NULL) >= 0)
        return true;
    close_fd(l->fd);
    free(l);
    return false;
}

static void helper_end(struct helper *h, bool done) {
    h->in = close_fd(h->in);
    h->out = close_fd(h->out);
    if (h->pid <= 0)
        return;
    if (!done)
        kill(h->pid, SIGKILL);
    /* A root it has mounted itself must be gone before the container may start. */
    if (!done || !h->in_running || !wait_later(h->c->cs->engine->loop, h->pid))
        ignore_result(spawn_wait(h->pid) < 0);
    h->pid = 0;
}

static int helper_start(struct helper *h, const char *libexec, const struct buf *request, const struct body_lent *lent, int ns, struct err *e) {
    _cleanup_close_ int text = request_file(request, lent, e), in0 = -EBADF, out1 = -EBADF;
    int in[2], out[2], r;

    if (text < 0)
        return text;
    if (!lent) {
        r = spawn_pipe(in, e);
        if (r < 0)
            return r;
        in0 = in[0];
        h->in = in[1];
        ignore_result(fcntl(h->in, F_SETPIPE_SZ, 1 << 20) < 0); /* refused: slower, not wrong */
        if (fcntl(h->in, F_SETFL, O_NONBLOCK) < 0)
            return err_errno(e, errno, "pipe");
    }
    r = spawn_pipe(out, e);
    if (r < 0)
        return r;
    h->out = out[0];
    out1 = out[1];
    ignore_result(fcntl(h->out, F_SETPIPE_SZ, 1 << 20) < 0);
    if (fcntl(h->out, F_SETFL, O_NONBLOCK) < 0)
        return err_errno(e, errno, "pipe");
    h->lent = lent != NULL;
    return spawn(h, libexec, lent ? lent->fd : in0, out1, text, ns, e);
}

/* Wait until the descriptor is ready; the client may leave meanwhile. */
static int wait_for(const struct helper *h, int fd, short events, struct err *e) {
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        int n = poll(&p, 1, POLL_MS);

        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return err_errno(e, errno, "poll");
        if (h->io->gone && h->io->gone(h->io->arg))
            return err_set(e, ERR_CANCELLED, "the client is gone");
    }
}

/* 1: all there, 0: the stream has ended. */
static int read_all(const struct helper *h, void *p, size_t n, struct err *e) {
    char *at = p;

    while (n > 0) {
        ssize_t k = read(h->out, at, n);

        if (k == 0)
            return 0;
        if (k < 0 && errno == EAGAIN) {
            int r = wait_for(h, h->out, POLLIN, e);

            if (r < 0)
                return r;
        } else if (k < 0 && errno != EINTR) {
            return err_errno(e, errno, "reading from hatake-files");
        } else if (k > 0) {
            at += k;
            n -= (size_t)k;
        }
    }
    return 1;
}

/* False: the helper does not read any more; what it has to say comes next. */
static int feed(const struct helper *h, const char *p, size_t n, struct err *e) {
    while (n > 0) {
        ssize_t k = write(h->in, p, n);

        if (k > 0) {
            p += k;
            n -= (size_t)k;
        } else if (k < 0 && errno == EPIPE) {
            return 0;
        } else if (k < 0 && errno == EAGAIN) {
            int r = wait_for(h, h->in, POLLOUT, e);

            if (r < 0)
                return r;
        } else if (k < 0 && errno != EINTR) {
            return err_errno(e, errno, "writing to hatake-files");
        }
    }
    return 1;
}

static int feed_body(struct helper *h, struct err *e) {
    const void *piece;
    int64_t n;
    int r = 1;

    while (r > 0 && (n = h->io->pull(h->io->arg, &piece, e)) != 0)
        r = n < 0 ? (int)n : feed(h, piece, (size_t)n, e);
    h->in = close_fd(h->in);
    return r < 0 ? r : 0;
}

/* ---- results ----------------------------------------------------------------------------------------------------------------------------- */
struct texts {
    const char *p, *end;
};

static const char *next_text(struct texts *t) {
    const char *s = t->p, *stop = s < t->end ? memchr(s, 0, (size_t)(t->end - s)) : NULL;

    if (!stop)
        return "";
    t->p = stop + 1;
    return s;
}

static int64_t next_number(struct texts *t) {
    int64_t v = 0;

    ignore_result(parse_i64(next_text(t), &v) < 0);
    return v;
}

static int take_error(struct texts *t, struct err *e) {
    int64_t kind = next_number(t), errnum = next_number(t);
    const char *text = next_text(t);
    int r = err_set(e, kind > ERR_NONE && kind < _ERR_KIND_MAX ? (enum err_kind)kind : ERR_INTERNAL, "%s", text);

    /* Clients know the reasons of the system in small letters. */
    if (e && e->msg && errnum > 0 && errnum < 200) {
        const char *reason = strerror((int)errnum);
        size_t n = strlen(reason), len = strlen(e->msg);

        e->errnum = (int)errnum;
        if (len > n && streq(e->msg + len - n, reason) && reason[0] >= 'A' && reason[0] <= 'Z')
            e->msg[len - n] = (char)(reason[0] - 'A' + 'a');
    }
    return r;
}

static int take_stat(const struct helper *h, struct texts *t, struct err *e) {
    struct ctr_path_stat st = {0};
    int64_t sec, nsec;

    st.name = (char *)next_text(t);
    st.size = next_number(t);
    st.mode = next_number(t);
    sec = next_number(t);
    nsec = next_number(t);
    st.mtime = sec * NSEC_PER_SEC + nsec;
    st.target = (char *)next_text(t);
    return h->io->stat ? h->io->stat(h->io->arg, &st, e) : 0;
}

static void announce(struct helper *h) {
    if (h->event)
        container_event(h->c, h->event, NULL);
    h->event = NULL;
}

/* Once for a body that was lent. */
static void body_returned(struct helper *h, bool whole) {
    if (h->lent)
        h->io->returned(h->io->arg, whole);
    h->lent = false;
}

static int take_results(struct helper *h, struct err *e) {
    _cleanup_free_ char *piece = malloc(FILES_PIECE + 1);

    if (!piece)
        return err_oom(e);
    for (;;) {
        struct files_head head;
        struct texts t = {piece, piece};
        int r = read_all(h, &head, sizeof head, e);

        if (r > 0 && head.length > FILES_PIECE)
            return err_set(e, ERR_INTERNAL, "hatake-files does not keep to what was agreed");
        if (r > 0 && head.type != FILES_ERROR && head.type != FILES_BODY)
            announce(h);
        if (r > 0 && head.type == FILES_DATA && h->io->pass) {
            r = h->io->pass(h->io->arg, h->out, head.length, e);
            if (r < 0)
                return r;
            continue;
        }
        if (r > 0)
            r = read_all(h, piece, head.length, e);
        if (r <= 0)
            return r < 0 ? r : err_set(e, ERR_INTERNAL, "hatake-files ended early");
        t.end = piece + head.length;
        switch ((enum files_frame)head.type) {
        case FILES_STAT:
            r = take_stat(h, &t, e);
            break;
        case FILES_BODY:
            body_returned(h, head.length == 1 && piece[0]);
            break;
        case FILES_DATA:
            r = h->io->piece ? h->io->piece(h->io->arg, piece, head.length, e) : 0;
            break;
        case FILES_ERROR:
            return take_error(&t, e);
        default:
            return 0;
        }
        if (r < 0)
            return r;
    }
}

/* ---- the operation ----------------------------------------------------------------------------------------------------------------------- */
static int work(struct container *c, enum ctr_files what, const struct ctr_visit *visit, const struct ctr_files_options *o,
                const struct ctr_files_io *io, struct err *e) {
    _cleanup_view_ struct ctr_view *v = container_view(c);
    _cleanup_buf_ struct buf request = BUF_INIT(FILES_REQUEST_MAX);
    _cleanup_close_ int ns = -EBADF;
    bool running = what != CTR_FILES_LAYER && (v->state == ctr_running || v->state == ctr_paused);
    struct helper h = {.in = -EBADF, .out = -EBADF, .io = io, .c = c, .in_running = running};
    struct body_lent lent;
    int lends = 0;
    int r = write_request(&request, c, v->fixed, what, running, visit, o, e);

    if (r >= 0 && running) {
        ns = mounts_of(v, e);
        r = ns < 0 ? ns : 0;
    }
    if (r >= 0 && what == CTR_FILES_PUT && io->lend) {
        lends = io->lend(io->arg, &lent, e);
        r = lends < 0 ? lends : r;
    }
    if (r >= 0)
        r = helper_start(&h, c->cs->engine->libexec_dir, &request, lends > 0 ? &lent : NULL, ns, e);
    h.event = what == CTR_FILES_GET ? "archive-path" : what == CTR_FILES_EXPORT ? "export" : NULL;
    if (r >= 0 && what == CTR_FILES_PUT && !h.lent)
        r = feed_body(&h, e);
    if (r >= 0)
        r = take_results(&h, e);
    helper_end(&h, r >= 0);
    body_returned(&h, false);
    if (r == -(int)ERR_NOT_FOUND && o->path)
        return err_set(e, ERR_NOT_FOUND, "Could not find the file %s in container %s", o->path, o->shown);
    return r;
}

/* With the volumes there, as in the container; the layer and its export are without them. */
static int work_with_volumes(struct container *c, enum ctr_files what, const struct ctr_files_options *o, const struct ctr_files_io *io,
                             struct err *e) {
    _cleanup_view_ struct ctr_view *v = container_view(c);
    _cleanup_(ctr_visit_end) struct ctr_visit visit = CTR_VISIT_INIT;
    int r = what <= CTR_FILES_PUT ? ctr_visit_begin(&visit, c, v->fixed, e) : 0;

    if (r >= 0)
        r = work(c, what, &visit, o, io, e);
    if (r >= 0 && what == CTR_FILES_PUT)
        container_event(c, "extract-to-dir", NULL);
    return r;
}

int container_files(struct container *c, enum ctr_files what, const struct ctr_files_options *o, const struct ctr_files_io *io, struct err *e) {
    int r;

    if (what == CTR_FILES_PUT) {
        /* Nobody may start it meanwhile: its root would be mounted twice. */
        LEASE_ANY struct ctr_held h = CTR_HELD_INIT;

        r = ctr_hold(c, &h, e);
        if (r >= 0) {
            struct ctr_view *fresh;

            r = work_with_volumes(c, what, o, io, e);
            fresh = container_edit(c); /* one that has not been asked for its size yet */
            if (fresh)
                container_publish(c, fresh);
        }
    } else {
        r = work_with_volumes(c, what, o, io, e);
    }
    return r;
}

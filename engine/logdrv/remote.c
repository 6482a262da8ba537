// SPDX-License-Identifier: Apache-2.0
#include "logdrv/remote.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"

#define NSEC_PER_MSEC INT64_C(1000000)
#define CONNECT_MS 200
#define PAUSE_FIRST (250 * NSEC_PER_MSEC)
#define PAUSE_MAX (30 * NSEC_PER_SEC)
#define SLOW_MS 100   /* how long a record waits for a slow receiver */
#define CLOSE_MS 2000 /* and the end of the log */
#define HEAD sizeof(uint32_t)

/* ---- configuration ------------------------------------------------------------------------------------------------------- */
/* Value of a key, cut to fit; "" when absent. */
static void get(const char *config, const char *key, char *ret, size_t size) {
    size_t k = strlen(key);

    ret[0] = 0;
    for (const char *line = config; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, key, k) == 0 && line[k] == '=') {
            size_t n = strcspn(line + k + 1, "\n");

            if (n >= size)
                n = size - 1;
            memcpy(ret, line + k + 1, n);
            ret[n] = 0;
            return;
        }
}

static int64_t get_int(const char *config, const char *key) {
    char text[32];
    int64_t n = 0;

    get(config, key, text, sizeof(text));
    return parse_i64(text, &n) == 0 ? n : 0;
}

static int digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A hexadecimal value in place of its text; returns its length. `ret` is terminated. */
static size_t get_hex(const char *config, const char *key, char *ret, size_t size) {
    size_t k = strlen(key), n = 0;
    const char *line = config;

    while (line && *line && !(strncmp(line, key, k) == 0 && line[k] == '=')) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    if (line && *line)
        for (const char *p = line + k + 1; digit(p[0]) >= 0 && digit(p[1]) >= 0 && n + 1 < size; p += 2)
            ret[n++] = (char)(digit(p[0]) << 4 | digit(p[1]));
    ret[n] = 0;
    return n;
}

static int address(struct log_remote *r, const char *config) {
    char net[16], text[128];
    struct sockaddr_in *in = (struct sockaddr_in *)&r->addr;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&r->addr;
    struct sockaddr_un *un = (struct sockaddr_un *)&r->addr;
    uint16_t port = htons((uint16_t)get_int(config, "port"));

    get(config, "net", net, sizeof(net));
    r->stream = streq(net, "tcp") || streq(net, "unix");
    if (str_has_prefix(net, "unix")) {
        size_t n;

        un->sun_family = AF_UNIX;
        n = get_hex(config, "path", un->sun_path, sizeof(un->sun_path));
        if (n == 0 || n + 1 >= sizeof(un->sun_path))
            return -ENAMETOOLONG;
        r->addr_len = sizeof(*un);
        r->family = AF_UNIX;
        return 0;
    }
    get(config, "addr", text, sizeof(text));
    if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = port;
        r->addr_len = sizeof(*in);
    } else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = port;
        r->addr_len = sizeof(*in6);
    } else {
        return -EINVAL;
    }
    r->family = r->addr.ss_family;
    return 0;
}

/* ---- connection ------------------------------------------------------------------------------------------------------------ */
static void disconnect(struct log_remote *r) {
    int64_t now = clock_mono_ns();

    close_fd(r->fd);
    r->fd = -EBADF;
    r->sent = 0; /* a message that was cut off goes again, whole */
    r->pause = r->pause ? r->pause * 2 : PAUSE_FIRST;
    if (r->pause > PAUSE_MAX)
        r->pause = PAUSE_MAX;
    r->retry_at = now + r->pause;
}

static bool wait_writable(int fd, int ms) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    return poll(&p, 1, ms) == 1;
}

static bool connected(struct log_remote *r) {
    int error = 0;
    socklen_t n = sizeof(error);

    if (r->fd >= 0)
        return true;
    if (clock_mono_ns() < r->retry_at)
        return false;
    r->fd = socket(r->family, (r->stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (r->fd >= 0 && connect(r->fd, (struct sockaddr *)&r->addr, r->addr_len) < 0)
        error = errno;
    if (r->fd >= 0 && error == EINPROGRESS) {
        error = ETIMEDOUT;
        if (wait_writable(r->fd, CONNECT_MS))
            getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &error, &n);
    }
    if (r->fd < 0 || error != 0) {
        disconnect(r);
        return false;
    }
    r->pause = 0;
    return true;
}

bool remote_datagram(struct log_writer *w, const char *p, size_t n) {
    struct log_remote *r = w->remote;

    for (int attempt = 0; attempt < 2; attempt++) {
        if (!connected(r))
            break;
        if (send(r->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return true;
        /* A datagram before this one was refused by the other machine: that is told now, and says nothing of this one. */
        if (errno == ECONNREFUSED && r->family != AF_UNIX)
            continue;
        if (errno == EAGAIN && r->blocking && wait_writable(r->fd, SLOW_MS))
            continue;
        if (errno != EAGAIN && errno != EMSGSIZE)
            disconnect(r);
        break;
    }
    return false;
}

/* ---- the queue of a stream --------------------------------------------------------------------------------------------------- */
static uint32_t first_length(const struct log_remote *r) {
    uint32_t n;

    memcpy(&n, r->queue, HEAD);
    return n;
}

/* Send what is queued, waiting at most `ms` in all for room. True when nothing is left. */
static bool drain(struct log_remote *r, int ms) {
    int64_t limit = clock_mono_ns() + ms * NSEC_PER_MSEC;

    while (r->n > 0) {
        uint32_t n = first_length(r);
        ssize_t k;

        if (!connected(r))
            return false;
        k = send(r->fd, r->queue + HEAD + r->sent, n - r->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0 && errno == EAGAIN) {
            int64_t left = (limit - clock_mono_ns()) / NSEC_PER_MSEC;

            if (left <= 0 || !wait_writable(r->fd, (int)left))
                return false;
            continue;
        }
        if (k < 0) {
            disconnect(r);
            continue;
        }
        r->sent += (size_t)k;
        if (r->sent < n)
            continue;
        r->n -= HEAD + n;
        memmove(r->queue, r->queue + HEAD + n, r->n);
        r->sent = 0;
    }
    return true;
}

void remote_send(struct log_writer *w, const char *message, size_t n) {
    struct log_remote *r = w->remote;
    uint32_t length = (uint32_t)n;

    if (!r->stream) {
        w->lost += !remote_datagram(w, message, n);
        return;
    }
    if (r->n + HEAD + n > r->size)
        drain(r, r->blocking ? SLOW_MS : 0);
    if (r->n + HEAD + n > r->size) {
        w->lost++;
        return;
    }
    memcpy(r->queue + r->n, &length, HEAD);
    memcpy(r->queue + r->n + HEAD, message, n);
    r->n += HEAD + n;
}

/* ---- the slots ------------------------------------------------------------------------------------------------------------------ */
static void *untouched(size_t n) {
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static void release(struct log_writer *w) {
    struct log_remote *r = w->remote;

    if (!r)
        return;
    close_fd(r->fd);
    if (r->queue)
        munmap(r->queue, r->size);
    if (r->message)
        munmap(r->message, 2 * REMOTE_MESSAGE_MAX);
    free(r);
    w->remote = NULL;
}

int remote_open(struct log_writer *w, struct err *e) {
    struct log_remote *r = w->remote = calloc(1, sizeof(*r));
    int64_t buffer;
    int k;

    if (!r)
        return err_oom(e);
    r->fd = -EBADF;
    get(w->config, "format", r->format, sizeof(r->format));
    if (!r->format[0])
        get(w->config, "pack", r->format, sizeof(r->format));
    get_hex(w->config, "tag", r->tag, sizeof(r->tag));
    get_hex(w->config, "host", r->host, sizeof(r->host));
    r->n_extra = get_hex(w->config, "extra", r->extra, sizeof(r->extra));
    r->facility = get_int(w->config, "facility");
    r->pid = get_int(w->config, "pid");
    r->zone = get_int(w->config, "zone");
    r->pairs = get_int(w->config, "pairs");
    r->level = get_int(w->config, "level");
    r->precise = get_int(w->config, "precise") != 0;
    r->blocking = get_int(w->config, "blocking") != 0;
    buffer = get_int(w->config, "buffer");
    r->size = (buffer > 0 ? (size_t)buffer : REMOTE_QUEUE_DEFAULT) + REMOTE_MESSAGE_MAX;
    r->queue = untouched(r->size);
    r->message = untouched(2 * REMOTE_MESSAGE_MAX);
    r->packed = r->message ? r->message + REMOTE_MESSAGE_MAX : NULL;
    k = r->queue && r->message ? address(r, w->config) : -ENOMEM;
    if (k < 0) {
        release(w);
        return err_errno(e, k, "the address of the log's receiver");
    }
    connected(r); /* the daemon has tried: a failure now is one of those that pass */
    return w->path[0] ? log_driver_local.open(w, e) : 0;
}

void remote_keep(struct log_writer *w, enum log_stream stream, const char *p, size_t n, int64_t time_ns) {
    if (w->path[0])
        log_driver_local.write(w, stream, p, n, time_ns);
}

void remote_flush(struct log_writer *w) {
    if (w->path[0])
        log_driver_local.flush(w);
    drain(w->remote, w->remote->blocking && w->remote->n > w->remote->size / 2 ? SLOW_MS : 0);
}

void remote_close(struct log_writer *w) {
    if (w->path[0])
        log_driver_local.close(w);
    if (w->remote && !drain(w->remote, CLOSE_MS))
        w->lost++;
    release(w);
}

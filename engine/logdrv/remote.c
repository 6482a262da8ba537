// SPDX-License-Identifier: Apache-2.0
#include "logdrv/remote.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
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
#define DATAGRAM_MS 100 /* how long a datagram waits for a slow receiver */
#define CLOSE_MS 2000   /* and the end of the log */
#define ANSWER_MS 10000 /* the same where every message is acknowledged, as long as the reference's */
#define HEAD sizeof(uint32_t)

/* ---- configuration ------------------------------------------------------------------------------------------------------- */
/* Where the value of a key begins, "" when absent. */
static const char *value_of(const char *config, const char *key) {
    size_t k = strlen(key);

    for (const char *line = config; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, key, k) == 0 && line[k] == '=')
            return line + k + 1;
    return "";
}

/* The value, cut to fit. */
static void get(const char *config, const char *key, char *ret, size_t size) {
    const char *value = value_of(config, key);

    snprintf(ret, size, "%.*s", (int)strcspn(value, "\n"), value);
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

/* A hexadecimal value in place of its text, at *at, which moves on behind it and its end; returns where it is. "" when the key is absent. */
static const char *get_hex(const char *config, const char *key, char **at, size_t *ret_n) {
    const char *value = *at;
    char *to = *at;

    for (const char *p = value_of(config, key); digit(p[0]) >= 0 && digit(p[1]) >= 0; p += 2)
        *to++ = (char)(digit(p[0]) << 4 | digit(p[1]));
    *ret_n = (size_t)(to - value);
    *to++ = 0;
    *at = to;
    return value;
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
        char path[2 * sizeof(un->sun_path) + 2], *to = un->sun_path;
        size_t n;

        un->sun_family = AF_UNIX;
        get(config, "path", path, sizeof(path));
        if (!path[0] || strlen(path) >= 2 * sizeof(un->sun_path))
            return -ENAMETOOLONG;
        get_hex(config, "path", &to, &n);
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
    r->opening = r->awaiting = false;
    r->pause = r->pause ? r->pause * 2 : r->first_pause;
    if (r->pause > PAUSE_MAX)
        r->pause = PAUSE_MAX;
    r->retry_at = now + r->pause;
    r->tries++;
}

static bool wait_for(int fd, short events, int ms) {
    struct pollfd p = {.fd = fd, .events = events};

    return poll(&p, 1, ms) == 1;
}

/* A socket that is connected in r->fd; 0 or an errno. */
static int dial(struct log_remote *r) {
    int error = 0;
    socklen_t n = sizeof(error);

    r->fd = socket(r->family, (r->stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (r->fd < 0)
        return errno;
    if (connect(r->fd, (struct sockaddr *)&r->addr, r->addr_len) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    if (!wait_for(r->fd, POLLOUT, CONNECT_MS))
        return ETIMEDOUT;
    return getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 ? errno : error;
}

/* Has hatake-logtls reached the receiver by now? */
static bool opened(struct log_remote *r) {
    char mark;
    ssize_t n = recv(r->fd, &mark, 1, MSG_DONTWAIT);

    r->opening = n < 0 && (errno == EAGAIN || errno == EINTR);
    if (n <= 0 && !r->opening)
        disconnect(r);
    return n > 0;
}

/* False with a descriptor: the connection is being made. */
static bool connected(struct log_remote *r) {
    pid_t pid;

    if (r->fd >= 0)
        return !r->opening || opened(r);
    if (clock_mono_ns() < r->retry_at)
        return false;
    if (r->tls) {
        r->fd = log_tls_start(&r->how, (const struct sockaddr *)&r->addr, -EBADF, &pid); /* reaped like all that the monitor starts */
        r->opening = r->fd >= 0;
    }
    if (r->tls ? r->fd < 0 : dial(r) != 0) {
        disconnect(r);
        return false;
    }
    r->connection++;
    r->since = clock_mono_ns();
    return !r->opening;
}

/* Who balances load by names or addresses wants connections that do not last: between two messages a new one may take the old one's place. */
static void renew(struct log_remote *r) {
    if (r->every <= 0 || r->fd < 0 || r->opening || r->sent > 0 || clock_mono_ns() - r->since < r->every)
        return;
    close_fd(r->fd);
    r->fd = -EBADF;
    r->retry_at = 0;
}

bool remote_datagram(struct log_writer *w, const char *p, size_t n) {
    struct log_remote *r = w->remote;

    for (int attempt = 0; attempt < 2; attempt++) {
        if (!connected(r))
            break;
        if (send(r->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
            r->pause = 0;
            return true;
        }
        /* A datagram before this one was refused by the other machine: that is told now, and says nothing of this one. */
        if (errno == ECONNREFUSED && r->family != AF_UNIX)
            continue;
        if (errno == EAGAIN && r->blocking && wait_for(r->fd, POLLOUT, DATAGRAM_MS))
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

    memcpy(&n, r->queue + r->at, HEAD);
    return n;
}

/* What is full makes the container wait, unless it shall not, or nobody is there to wait for. */
static bool waits(const struct log_remote *r) {
    return r->blocking == REMOTE_WAITS || (r->blocking == REMOTE_WAITS_CONNECTED && r->fd >= 0);
}

/* Room for `need` more bytes. A queue that the container waits for takes what was read before, too. */
static bool reserve(struct log_remote *r, size_t need) {
    size_t size = r->size;
    char *fresh;

    if ((r->n + need > r->limit || (r->most && r->queued >= r->most)) && !waits(r))
        return false;
    if (r->at + r->n + need <= r->size)
        return true;
    memmove(r->queue, r->queue + r->at, r->n);
    r->at = 0;
    while (r->n + need > size)
        size *= 2;
    if (size == r->size)
        return true;
    fresh = size <= REMOTE_QUEUE_MAX ? mremap(r->queue, r->size, size, MREMAP_MAYMOVE) : MAP_FAILED;
    if (fresh == MAP_FAILED)
        return false;
    r->queue = fresh;
    r->size = size;
    return true;
}

/* Out or given up. The attempts of the next one, and the pauses between them, begin anew. */
static void forget_first(struct log_remote *r) {
    size_t n = HEAD + first_length(r);

    r->n -= n;
    r->queued--;
    r->at = r->n ? r->at + n : 0;
    r->sent = 0;
    r->awaiting = false;
    r->tries = 0;
    r->pause = 0;
}

/* As much as there is room for. 0 or -errno. */
static int send_first(struct log_remote *r) {
    uint32_t n = first_length(r);
    ssize_t k = send(r->fd, r->queue + r->at + HEAD + r->sent, n - r->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (k < 0)
        return errno == EINTR ? 0 : -errno;
    r->sent += (size_t)k;
    if (r->sent < n)
        return 0;
    r->awaiting = r->answered != NULL;
    r->n_answer = 0;
    if (!r->awaiting)
        forget_first(r);
    return 0;
}

/* What acknowledges the first message, as far as it has come. 0 or -errno. */
static int take_answer(struct log_remote *r) {
    ssize_t k = recv(r->fd, r->answer + r->n_answer, sizeof(r->answer) - r->n_answer, MSG_DONTWAIT);
    int judged;

    if (k < 0)
        return errno == EINTR ? 0 : -errno;
    if (k == 0) /* closed, or more of an answer than there can be */
        return -EBADMSG;
    r->n_answer += (size_t)k;
    judged = r->answered(r->queue + r->at + HEAD, first_length(r), r->answer, r->n_answer);
    if (judged > 0)
        forget_first(r);
    return judged < 0 ? judged : 0;
}

/* Send what is queued, waiting at most `ms` in all for room and answers. True when nothing is left. */
static bool drain(struct log_writer *w, int ms) {
    struct log_remote *r = w->remote;
    int64_t limit = clock_mono_ns() + ms * NSEC_PER_MSEC;

    while (r->n > 0) {
        int64_t left;
        int k = -EAGAIN;

        if (r->retries > 0 && r->tries >= r->retries) {
            forget_first(r);
            w->lost++;
            continue;
        }
        renew(r);
        if (connected(r))
            k = r->awaiting ? take_answer(r) : send_first(r);
        else if (r->fd < 0)
            return false;
        if (k < 0 && k != -EAGAIN)
            disconnect(r);
        if (k != -EAGAIN)
            continue;
        left = (limit - clock_mono_ns()) / NSEC_PER_MSEC;
        if (left <= 0 || !wait_for(r->fd, r->opening || r->awaiting ? POLLIN : POLLOUT, (int)left))
            return false;
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
    if (r->n + HEAD + n > r->limit || (r->most && r->queued >= r->most))
        drain(w, 0);
    if (!reserve(r, HEAD + n)) {
        w->lost++;
        return;
    }
    memcpy(r->queue + r->at + r->n, &length, HEAD);
    memcpy(r->queue + r->at + r->n + HEAD, message, n);
    r->n += HEAD + n;
    r->queued++;
}

bool log_writer_waits(const struct log_writer *w, struct log_wait *ret) {
    const struct log_remote *r = w->remote;

    if (!r || r->n == 0)
        return false;
    *ret = (struct log_wait){.fd = r->fd, .reads = r->opening || r->awaiting, .connection = r->connection, .retry_at = r->retry_at};
    return true;
}

bool log_writer_full(const struct log_writer *w) {
    return w->remote && w->remote->n > w->remote->limit / 2 && waits(w->remote);
}

/* ---- lines in pieces ------------------------------------------------------------------------------------------------------------ */
const struct remote_piece *remote_piece(struct log_remote *r, enum log_stream stream, bool line) {
    struct remote_piece *p = &r->piece[stream == LOG_STDERR];
    bool inside = p->open;

    p->open = !line;
    if (line && !inside)
        return NULL;
    if (inside) {
        p->ordinal++;
    } else {
        id_new(p->id);
        p->ordinal = 1;
    }
    return p;
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
        munmap(r->message, 2 * r->message_max);
    free(r->texts);
    free(r);
    w->remote = NULL;
}

static int read_config(struct log_remote *r, const char *config) {
    size_t n = strlen(config), unused;
    char *at = r->texts = malloc(n + 16); /* a value is half as long as its hexadecimal digits */
    int64_t buffer = get_int(config, "buffer");

    if (!at)
        return -ENOMEM;
    r->tag = get_hex(config, "tag", &at, &r->n_tag);
    r->host = get_hex(config, "host", &at, &r->n_host);
    r->extra = get_hex(config, "extra", &at, &r->n_extra);
    r->tls = get_int(config, "tls") != 0;
    r->how.program = get_hex(config, "program", &at, &unused);
    r->how.name = get_hex(config, "name", &at, &unused);
    r->how.ca = get_hex(config, "ca", &at, &unused);
    r->how.cert = get_hex(config, "cert", &at, &unused);
    r->how.key = get_hex(config, "key", &at, &unused);
    r->how.verify = get_int(config, "verify") != 0;
    get(config, "format", r->format, sizeof(r->format));
    if (!r->format[0])
        get(config, "pack", r->format, sizeof(r->format));
    r->facility = get_int(config, "facility");
    r->pid = get_int(config, "pid");
    r->zone = get_int(config, "zone");
    r->pairs = get_int(config, "pairs");
    r->level = get_int(config, "level");
    r->precise = get_int(config, "precise") != 0;
    r->ack = get_int(config, "ack") != 0;
    r->retries = get_int(config, "retries");
    r->first_pause = get_int(config, "pause");
    r->most = (uint64_t)get_int(config, "most");
    r->every = get_int(config, "every");
    if (r->first_pause <= 0)
        r->first_pause = PAUSE_FIRST;
    r->blocking = get_int(config, "blocking") == 2 ? REMOTE_WAITS : get_int(config, "blocking") == 1 ? REMOTE_WAITS_CONNECTED : REMOTE_DROPS;
    /* Everything twice, and six bytes for one where JSON escapes it. */
    r->message_max = LIMIT_LOG_LINE * 6 + r->n_extra + 2 * r->n_tag + 6 * r->n_host + KIB(1);
    r->limit = buffer > 0 ? (size_t)buffer : REMOTE_QUEUE_DEFAULT;
    if (r->limit < r->message_max)
        r->limit = r->message_max;   /* one message always fits */
    r->size = 2 * (r->limit + HEAD); /* so that what is queued moves to the front seldom */
    return address(r, config);
}

int remote_open(struct log_writer *w, struct err *e) {
    struct log_remote *r = w->remote = calloc(1, sizeof(*r));
    int k;

    if (!r)
        return err_oom(e);
    r->fd = -EBADF;
    k = read_config(r, w->config);
    if (k >= 0) {
        r->queue = untouched(r->size);
        r->message = untouched(2 * r->message_max);
        r->packed = r->message ? r->message + r->message_max : NULL;
        k = r->queue && r->message ? 0 : -ENOMEM;
    }
    if (k < 0) {
        release(w);
        return err_errno(e, k, "the address of the log's receiver");
    }
    id_new(r->epoch);
    connected(r); /* the daemon has tried: a failure now is one of those that pass, and no message's */
    r->tries = 0;
    return w->path[0] ? log_driver_local.open(w, e) : 0;
}

void remote_keep(struct log_writer *w, enum log_stream stream, const char *p, size_t n, int64_t time_ns) {
    if (w->path[0])
        log_driver_local.write(w, stream, p, n, time_ns);
}

void remote_flush(struct log_writer *w) {
    if (w->path[0])
        log_driver_local.flush(w);
    drain(w, 0);
}

void remote_close(struct log_writer *w) {
    if (w->path[0])
        log_driver_local.close(w);
    if (w->remote && !drain(w, w->remote->ack ? ANSWER_MS : CLOSE_MS))
        for (; w->remote->n > 0; w->lost++)
            forget_first(w->remote);
    release(w);
}

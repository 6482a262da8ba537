// SPDX-License-Identifier: Apache-2.0
#include "cli/http.h"

#include <ctype.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/str.h"

enum framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_UNTIL_CLOSE };

struct http {
    int fd;
    char *authority; /* for the Host header */
    enum framing framing;
    uint64_t left; /* of the body, or of the present chunk */
    bool chunk_open;
    bool done;
    char type[128];
    size_t at, len; /* unread part of in[] */
    char in[HTTP_HEAD_MAX];
};

static int bad_address(const char *host, struct err *e) {
    return err_set(e, ERR_INVALID, "\"%s\" is no address of an engine: use unix:///path/to/socket or tcp://address:port", host);
}

static int put(char *to, size_t room, const char *from, size_t n) {
    if (n == 0 || n >= room)
        return -1;
    memcpy(to, from, n);
    to[n] = '\0';
    return 0;
}

int http_parse_address(const char *host, struct http_address *ret, struct err *e) {
    struct http_address a = {0};
    const char *rest = *host == '/' ? host : str_after(host, "unix://"), *colon, *end;

    if (rest) {
        a.is_unix = true;
        if (*rest != '/' || put(a.path, sizeof a.path, rest, strlen(rest)) < 0)
            return bad_address(host, e);
        *ret = a;
        return 0;
    }
    rest = str_after(host, "tcp://");
    if (!rest)
        rest = str_after(host, "http://");
    if (!rest)
        return bad_address(host, e);
    end = rest + strcspn(rest, "/");
    if (*rest == '[') {
        const char *close = memchr(rest, ']', (size_t)(end - rest));

        if (!close || put(a.name, sizeof a.name, rest + 1, (size_t)(close - rest - 1)) < 0)
            return bad_address(host, e);
        colon = close + 1;
    } else {
        colon = rest + strcspn(rest, ":/");
        if (put(a.name, sizeof a.name, rest, (size_t)(colon - rest)) < 0)
            return bad_address(host, e);
    }
    if (colon == end) {
        memcpy(a.port, "2375", 5);
    } else {
        int64_t port;

        if (*colon != ':' || put(a.port, sizeof a.port, colon + 1, (size_t)(end - colon - 1)) < 0 || parse_int_range(a.port, 1, 65535, &port) < 0)
            return bad_address(host, e);
    }
    *ret = a;
    return 0;
}

static int unreachable(const char *host, int errnum, struct err *e) {
    if (errnum == EACCES || errnum == EPERM)
        return err_set(e, ERR_UNAVAILABLE, "not allowed to use the engine's socket %s: run as root or as a member of the socket's group", host);
    return err_set(e, ERR_UNAVAILABLE,
                   "no engine answers at %s (%s).\nIs hataked running? Start it with `systemctl start hatake` or `hataked &`, or name another "
                   "address with --host or HATAKE_HOST.",
                   host, strerror(errnum));
}

static int dial_unix(const char *path) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    memcpy(sa.sun_path, path, strlen(path) + 1);
    if (connect(fd, (const struct sockaddr *)&sa, sizeof sa) < 0)
        return -errno;
    return TAKE_FD(fd);
}

static int dial_tcp(const struct http_address *a, const char *host, struct err *e) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int r = getaddrinfo(a->name, a->port, &hints, &list), fd = -1, on = 1, errnum = ECONNREFUSED;

    if (r != 0)
        return err_set(e, ERR_UNAVAILABLE, "no engine at %s: %s", host, gai_strerror(r));
    for (struct addrinfo *i = list; i && fd < 0; i = i->ai_next) {
        fd = socket(i->ai_family, i->ai_socktype | SOCK_CLOEXEC, i->ai_protocol);
        if (fd >= 0 && connect(fd, i->ai_addr, i->ai_addrlen) < 0) {
            errnum = errno;
            fd = close_fd(fd);
        }
    }
    freeaddrinfo(list);
    if (fd < 0)
        return unreachable(host, errnum, e);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

int http_dial(const char *host, struct http **ret, struct err *e) {
    struct http_address a;
    _cleanup_http_ struct http *h = NULL;
    int r = http_parse_address(host, &a, e);

    if (r < 0)
        return r;
    h = calloc(1, sizeof *h);
    if (!h)
        return err_oom(e);
    h->fd = -EBADF;
    h->authority = a.is_unix ? str_dup("hatake") : str_printf(strchr(a.name, ':') ? "[%s]:%s" : "%s:%s", a.name, a.port);
    if (!h->authority)
        return err_oom(e);
    if (a.is_unix) {
        r = dial_unix(a.path);
        if (r < 0)
            return unreachable(host, -r, e);
    } else {
        r = dial_tcp(&a, host, e);
        if (r < 0)
            return r;
    }
    h->fd = r;
    *ret = TAKE_PTR(h);
    return 0;
}

struct http *http_free(struct http *h) {
    if (!h)
        return NULL;
    close_fd(h->fd);
    free(h->authority);
    free(h);
    return NULL;
}

static int send_all(struct http *h, const void *p, size_t n, struct err *e) {
    const char *at = p;

    while (n) {
        ssize_t w = send(h->fd, at, n, MSG_NOSIGNAL);

        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return err_errno(e, errno, "sending to the engine");
        at += w;
        n -= (size_t)w;
    }
    return 0;
}

int http_send(struct http *h, const char *method, const char *path, const char *type, const void *body, size_t n, unsigned flags, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(HTTP_HEAD_MAX + n);
    int r;

    buf_addf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: hatake/%s\r\n", method, path, h->authority, HATAKE_VERSION);
    if (flags & HTTP_UPGRADE)
        buf_adds(&b, "Connection: Upgrade\r\nUpgrade: tcp\r\n");
    if (flags & HTTP_CHUNKED)
        buf_adds(&b, "Transfer-Encoding: chunked\r\n");
    else if (body || !streq(method, "GET"))
        buf_addf(&b, "Content-Length: %zu\r\n", n);
    if (type)
        buf_addf(&b, "Content-Type: %s\r\n", type);
    buf_adds(&b, "\r\n");
    buf_add(&b, body, n);
    r = buf_check(&b, e);
    return r < 0 ? r : send_all(h, b.data, b.len, e);
}

int http_send_chunk(struct http *h, const void *p, size_t n, struct err *e) {
    char line[32];
    int r, k = snprintf(line, sizeof line, "%zx\r\n", n);

    if (n == 0)
        return 0;
    r = send_all(h, line, (size_t)k, e);
    if (r == 0)
        r = send_all(h, p, n, e);
    return r < 0 ? r : send_all(h, "\r\n", 2, e);
}

int http_send_end(struct http *h, struct err *e) {
    return send_all(h, "0\r\n\r\n", 5, e);
}

/* More bytes into in[]; 0 at the end of the stream. */
static ssize_t fill(struct http *h, struct err *e) {
    ssize_t n;

    if (h->at == h->len)
        h->at = h->len = 0;
    if (h->len == sizeof h->in) {
        memmove(h->in, h->in + h->at, h->len - h->at);
        h->len -= h->at;
        h->at = 0;
    }
    if (h->len == sizeof h->in)
        return err_set(e, ERR_TOO_LARGE, "the engine's reply has a head or a line above %u KiB", HTTP_HEAD_MAX >> 10);
    do
        n = recv(h->fd, h->in + h->len, sizeof h->in - h->len, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(e, errno, "reading from the engine");
    h->len += (size_t)n;
    return n;
}

/* One line without its end, valid until the next read. */
static int read_line(struct http *h, char **ret, struct err *e) {
    for (;;) {
        char *start = h->in + h->at, *nl = memchr(start, '\n', h->len - h->at);
        ssize_t n;

        if (nl) {
            h->at += (size_t)(nl - start) + 1;
            *nl = '\0';
            if (nl > start && nl[-1] == '\r')
                nl[-1] = '\0';
            *ret = start;
            return 0;
        }
        n = fill(h, e);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return err_set(e, ERR_UNAVAILABLE, "the engine closed the connection before it had answered");
    }
}

static void header(struct http *h, char *line) {
    char *value = strchr(line, ':');
    uint64_t n;

    if (!value)
        return;
    *value++ = '\0';
    value += strspn(value, " \t");
    if (strcasecmp(line, "content-length") == 0 && h->framing != FRAMING_CHUNKED && parse_u64(value, &n) == 0) {
        h->framing = FRAMING_LENGTH;
        h->left = n;
    } else if (strcasecmp(line, "transfer-encoding") == 0 && strcasecmp(value, "chunked") == 0) {
        h->framing = FRAMING_CHUNKED;
        h->left = 0;
    } else if (strcasecmp(line, "content-type") == 0) {
        snprintf(h->type, sizeof h->type, "%s", value);
    }
}

static int head_once(struct http *h, struct err *e) {
    int64_t status;
    char *line, *code;
    int r = read_line(h, &line, e);

    if (r < 0)
        return r;
    code = strchr(line, ' ');
    if (!str_has_prefix(line, "HTTP/1.") || !code || strlen(code) < 4)
        return err_set(e, ERR_INVALID, "what answers at this address does not speak HTTP");
    code[4] = '\0';
    if (parse_int_range(code + 1, 100, 599, &status) < 0)
        return err_set(e, ERR_INVALID, "the engine's reply has the status \"%s\"", code + 1);
    h->framing = FRAMING_UNTIL_CLOSE;
    h->type[0] = '\0';
    while ((r = read_line(h, &line, e)) == 0 && *line)
        header(h, line);
    return r < 0 ? r : (int)status;
}

int http_head(struct http *h, struct err *e) {
    int status;

    do
        status = head_once(h, e);
    while (status >= 100 && status < 200 && status != 101);
    if (status == 204 || status == 304)
        h->framing = FRAMING_NONE;
    h->done = status >= 0 && (h->framing == FRAMING_NONE || (h->framing == FRAMING_LENGTH && h->left == 0));
    return status;
}

const char *http_type(const struct http *h) {
    return h->type;
}

/* Step to the next chunk; `done` after the last. */
static int next_chunk(struct http *h, struct err *e) {
    char *line;
    int r;

    if (h->chunk_open) {
        r = read_line(h, &line, e);
        if (r < 0)
            return r;
    }
    r = read_line(h, &line, e);
    if (r < 0)
        return r;
    line[strcspn(line, "; \t")] = '\0';
    if (parse_u64_base(line, 16, &h->left) < 0)
        return err_set(e, ERR_INVALID, "the engine's reply is broken: \"%s\" is no size of a chunk", line);
    h->chunk_open = true;
    if (h->left == 0) {
        while ((r = read_line(h, &line, e)) == 0 && *line)
            ;
        h->done = true;
    }
    return r;
}

ssize_t http_read(struct http *h, void *p, size_t n, struct err *e) {
    if (!h->done && h->framing == FRAMING_CHUNKED && h->left == 0) {
        int r = next_chunk(h, e);

        if (r < 0)
            return r;
    }
    if (h->done || n == 0)
        return 0;
    if (h->at == h->len) {
        ssize_t got = fill(h, e);

        if (got < 0)
            return got;
        if (got == 0) {
            h->done = true;
            if (h->framing == FRAMING_UNTIL_CLOSE)
                return 0;
            return err_set(e, ERR_UNAVAILABLE, "the engine closed the connection in the middle of its answer");
        }
    }
    n = MIN(n, h->len - h->at);
    if (h->framing != FRAMING_UNTIL_CLOSE) {
        if (n > h->left)
            n = (size_t)h->left;
        h->left -= n;
        h->done = h->framing == FRAMING_LENGTH && h->left == 0;
    }
    memcpy(p, h->in + h->at, n);
    h->at += n;
    return (ssize_t)n;
}

int http_read_all(struct http *h, struct buf *b, struct err *e) {
    char block[16384];
    ssize_t n;

    while ((n = http_read(h, block, sizeof block, e)) > 0)
        buf_add(b, block, (size_t)n);
    return n < 0 ? (int)n : buf_check(b, e);
}

bool http_buffered(const struct http *h) {
    return !h->done && h->at < h->len;
}

int http_fd(const struct http *h) {
    return h->fd;
}

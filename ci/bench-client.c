// SPDX-License-Identifier: Apache-2.0
/*
 * bench-client SOCKET - the benchmark's client: sends requests and times them, with as little of its own as possible.
 *
 * Reads lines; a line is a chain of steps separated by tabs, run one after the other without looking back. For each line it prints one line: when
 * it began (CLOCK_MONOTONIC) and the time of every step, in nanoseconds, tab separated, or "! message" when a step failed. Steps:
 *   req METHOD PATH [BODY]     on the kept connection; @ID in PATH stands for the last "Id" of a reply. Status from 400 is a failure
 *   try METHOD PATH [BODY]     the same, any status is fine
 *   rep N METHOD PATH          N times the same; gives the mean time of one
 *   open METHOD PATH           on a second connection; until its reply's head is here
 *   end                        until the body of what was opened has ended
 *   raw METHOD PATH [BODY]     on a connection of its own, asking for an upgrade; until the engine closes it
 *   min N                      a failure when the body before was shorter than N bytes
 *   listen N METHOD PATH       N more connections with the same request; until the heads of all replies are here
 *   heard N                    until each of these has got N lines that are JSON, then hang up
 *   hold N                     N more connections that say nothing
 *   leave                      hang up on all that listen or say nothing
 * Build: cc -O2 -o bench-client bench-client.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES (1 << 20)

struct conn {
    int fd;
    size_t at, len;
    long long left; /* of the body; -1: chunked, -2: until close */
    int close;      /* the server will close */
    char in[1 << 18];
};

static const char *socket_path;
static char failure[512], last_id[128];

static int fail(const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(failure, sizeof failure, fmt, ap);
    va_end(ap);
    return -1;
}

static int64_t now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void hang_up(struct conn *c) {
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static int dial(struct conn *c) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    if (c->fd >= 0)
        return 0;
    memcpy(sa.sun_path, socket_path, strlen(socket_path) + 1);
    c->at = c->len = 0;
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&sa, sizeof sa) < 0)
        return fail("connect %s: %s", socket_path, strerror(errno));
    return 0;
}

static int send_request(struct conn *c, const char *method, const char *path, const char *body, int upgrade) {
    static char text[LINE_MAX_BYTES + 1024];
    const char *id = strstr(path, "@ID");
    int n = snprintf(text, sizeof text, "%s %.*s%s%s HTTP/1.1\r\nHost: bench\r\n%sContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     method, id ? (int)(id - path) : (int)strlen(path), path, id ? last_id : "", id ? id + 3 : "",
                     upgrade ? "Connection: Upgrade\r\nUpgrade: tcp\r\n" : "", strlen(body), body);

    for (int at = 0; at < n;) {
        ssize_t w = send(c->fd, text + at, (size_t)(n - at), MSG_NOSIGNAL);

        if (w < 0)
            return fail("send %s %s: %s", method, path, strerror(errno));
        at += (int)w;
    }
    return 0;
}

static ssize_t fill(struct conn *c) {
    ssize_t n;

    if (c->at == c->len)
        c->at = c->len = 0;
    if (c->len == sizeof c->in)
        return fail("a line that is too long");
    n = recv(c->fd, c->in + c->len, sizeof c->in - c->len, 0);
    if (n < 0)
        return fail("recv: %s", strerror(errno));
    c->len += (size_t)n;
    return n;
}

static char *line(struct conn *c) {
    for (;;) {
        char *nl = memchr(c->in + c->at, '\n', c->len - c->at), *start = c->in + c->at;

        if (nl) {
            c->at = (size_t)(nl - c->in) + 1;
            *nl = '\0';
            if (nl > start && nl[-1] == '\r')
                nl[-1] = '\0';
            return start;
        }
        if (fill(c) <= 0) {
            if (!*failure)
                fail("the engine closed the connection");
            return NULL;
        }
    }
}

static int head(struct conn *c) {
    char *l = line(c);
    int status;

    if (!l || strncmp(l, "HTTP/1.", 7) != 0)
        return l ? fail("no HTTP: %.60s", l) : -1;
    status = (int)strtol(l + 9, NULL, 10);
    c->left = status == 204 || status == 304 ? 0 : -2;
    c->close = 0;
    while ((l = line(c)) && *l) {
        if (strncasecmp(l, "content-length:", 15) == 0)
            c->left = strtoll(l + 15, NULL, 10);
        else if (strncasecmp(l, "transfer-encoding: chunked", 26) == 0)
            c->left = -1;
        else if (strncasecmp(l, "connection: close", 17) == 0)
            c->close = 1;
    }
    return l ? status : -1;
}

/* The start of the body is kept, for the id and for messages. */
static char body_start[4096];
static size_t body_kept;
static long long body_bytes;

static int take(struct conn *c, long long n) {
    while (n) {
        size_t have = c->len - c->at, k;

        if (have == 0) {
            ssize_t r = fill(c);

            if (r < 0 || (r == 0 && n > 0 && c->left != -2))
                return r < 0 ? -1 : fail("the reply ended early");
            if (r == 0)
                return 0;
            continue;
        }
        k = n > 0 && (long long)have > n ? (size_t)n : have;
        if (body_kept + k < sizeof body_start) {
            memcpy(body_start + body_kept, c->in + c->at, k);
            body_kept += k;
            body_start[body_kept] = '\0';
        }
        c->at += k;
        body_bytes += (long long)k;
        if (n > 0)
            n -= (long long)k;
    }
    return 0;
}

static int body(struct conn *c) {
    body_kept = 0;
    body_bytes = 0;
    body_start[0] = '\0';
    if (c->left >= 0)
        return take(c, c->left);
    if (c->left == -2) {
        int r = take(c, -1);

        hang_up(c);
        return r;
    }
    for (;;) {
        char *l = line(c);
        long long n = l ? strtoll(l, NULL, 16) : -1;

        if (n < 0)
            return -1;
        if (n > 0 && take(c, n) < 0)
            return -1;
        if (!line(c))
            return -1;
        if (n == 0)
            return 0;
    }
}

static int exchange(struct conn *c, const char *method, const char *path, const char *text, int any_status) {
    int status;
    char *id;

    if (dial(c) < 0 || send_request(c, method, path, text, 0) < 0 || (status = head(c)) < 0 || body(c) < 0) {
        hang_up(c);
        return -1;
    }
    if (c->close)
        hang_up(c);
    if (status >= 400 && !any_status)
        return fail("%s %s: %d %.200s", method, path, status, body_start);
    id = strstr(body_start, "\"Id\":\"");
    if (id)
        snprintf(last_id, sizeof last_id, "%.*s", (int)strcspn(id + 6, "\""), id + 6);
    return 0;
}

/* ---- many that listen to the same ---- */

#define LISTENERS_MAX 16000

static struct listener {
    int fd;
    int lines;
} listeners[LISTENERS_MAX];
static int n_listeners;

/* Without a method they say nothing. */
static int listen_many(int count, const char *method, const char *path) {
    static struct conn c;

    if (n_listeners + count > LISTENERS_MAX)
        return fail("more than %d connections", LISTENERS_MAX);
    for (; count > 0; count--) {
        int status = 0;

        c.fd = -1;
        if (dial(&c) < 0)
            return -1;
        listeners[n_listeners++] = (struct listener){.fd = c.fd};
        if (method && (send_request(&c, method, path, "", 0) < 0 || (status = head(&c)) < 0))
            return -1;
        if (status >= 400)
            return fail("%s %s: %d", method, path, status);
    }
    return 0;
}

static void leave(void) {
    while (n_listeners > 0)
        close(listeners[--n_listeners].fd);
}

static int hear(int lines) {
    static char text[1 << 16];
    int r = 0;

    for (int i = 0; i < n_listeners; i++) {
        struct listener *l = &listeners[i];

        while (r == 0 && l->lines < lines) {
            ssize_t n = recv(l->fd, text, sizeof text, 0);

            if (n <= 0)
                r = fail("listener %d got %d of %d lines", i, l->lines, lines);
            for (char *at = text; n > 0 && (at = memchr(at, '}', (size_t)(text + n - at))); at++)
                l->lines += at + 1 < text + n && at[1] == '\n';
        }
    }
    leave();
    return r;
}

static int run_step(struct conn *kept, struct conn *second, char *step, double *ret_divide) {
    static struct conn third = {.fd = -1};
    char *word[4] = {0}, none[] = "";
    int n = 0, repeat = 1, status;

    *ret_divide = 1;
    while (n < 3 && step)
        word[n++] = strsep(&step, " ");
    word[3] = step ? step : none;
    for (; n < 3; n++)
        word[n] = none;
    if (strcmp(word[0], "req") == 0 || strcmp(word[0], "try") == 0)
        return exchange(kept, word[1], word[2], word[3], *word[0] == 't');
    if (strcmp(word[0], "rep") == 0) {
        repeat = (int)strtol(word[1], NULL, 10);
        *ret_divide = repeat;
        for (int i = 0; i < repeat; i++)
            if (exchange(kept, word[2], word[3], "", 0) < 0)
                return -1;
        return 0;
    }
    if (strcmp(word[0], "open") == 0) {
        if (dial(second) < 0 || send_request(second, word[1], word[2], word[3], 0) < 0 || (status = head(second)) < 0)
            return -1;
        return status >= 400 ? fail("%s %s: %d", word[1], word[2], status) : 0;
    }
    if (strcmp(word[0], "end") == 0) {
        int r = body(second);

        if (r < 0 || second->close)
            hang_up(second);
        return r;
    }
    if (strcmp(word[0], "min") == 0)
        return body_bytes >= strtoll(word[1], NULL, 10) ? 0 : fail("a body of only %lld bytes", body_bytes);
    if (strcmp(word[0], "listen") == 0)
        return listen_many((int)strtol(word[1], NULL, 10), word[2], word[3]);
    if (strcmp(word[0], "heard") == 0)
        return hear((int)strtol(word[1], NULL, 10));
    if (strcmp(word[0], "hold") == 0)
        return listen_many((int)strtol(word[1], NULL, 10), NULL, NULL);
    if (strcmp(word[0], "leave") == 0) {
        leave();
        return 0;
    }
    if (strcmp(word[0], "raw") == 0) {
        int r = dial(&third) < 0 || send_request(&third, word[1], word[2], word[3], 1) < 0 || (status = head(&third)) < 0 ? -1 : 0;

        if (r == 0 && status >= 400)
            r = fail("%s %s: %d", word[1], word[2], status);
        if (r == 0) {
            third.left = -2;
            r = take(&third, -1);
        }
        hang_up(&third);
        return r;
    }
    return fail("no such step: %s", word[0]);
}

int main(int argc, char **argv) {
    static struct conn kept = {.fd = -1}, second = {.fd = -1};
    char *text = malloc(LINE_MAX_BYTES), *out = malloc(LINE_MAX_BYTES);
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (argc != 2 || !text || !out || strlen(argv[1]) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return 2;
    socket_path = argv[1];
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    while (fgets(text, LINE_MAX_BYTES, stdin)) {
        char *rest = text, *step;
        int used = snprintf(out, LINE_MAX_BYTES, "%lld", (long long)now()), r = 0;

        text[strcspn(text, "\n")] = '\0';
        failure[0] = '\0';
        while (r == 0 && (step = strsep(&rest, "\t"))) {
            int64_t start = now();
            double divide;

            r = run_step(&kept, &second, step, &divide);
            used += snprintf(out + used, (size_t)(LINE_MAX_BYTES - used), "\t%.0f", (double)(now() - start) / divide);
        }
        if (r < 0) {
            hang_up(&kept);
            hang_up(&second);
            leave();
            printf("! %s\n", *failure ? failure : "failed");
        } else {
            printf("%s\n", out);
        }
    }
    return 0;
}

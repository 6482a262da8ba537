// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/test-server.h"
#include "base/test.h"

#define THREADS 8
#define ROUNDS 60

struct soak {
    struct test_server *server;
    unsigned seed;
    int wrong;
};

/* Send and receive at the same time until the peer closes. Returns bytes received, the first `max` of them in out. */
static size_t exchange(int fd, const char *p, size_t n, char *out, size_t max) {
    size_t sent = 0, got = 0;
    bool shut = false;

    for (;;) {
        struct pollfd w = {.fd = fd, .events = (short)(POLLIN | (sent < n ? POLLOUT : 0))};
        ssize_t k;

        if (poll(&w, 1, TEST_PATIENCE_MS) <= 0)
            return got;
        if (w.revents & POLLOUT) {
            k = send(fd, p + sent, n - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (k > 0)
                sent += (size_t)k;
        }
        if (sent == n && !shut) {
            shutdown(fd, SHUT_WR);
            shut = true;
        }
        if (w.revents & (POLLIN | POLLHUP)) {
            char scratch[16384];

            k = recv(fd, scratch, sizeof(scratch), MSG_DONTWAIT);
            if (k == 0 || (k < 0 && errno != EAGAIN))
                return got;
            if (k > 0 && got < max)
                memcpy(out + got, scratch, (size_t)k < max - got ? (size_t)k : max - got);
            if (k > 0)
                got += (size_t)k;
        }
    }
}

/* Each round: a hijack in one of its forms, random bytes right behind the request, everything must come back and in order. */
static void *soak_thread(void *arg) {
    static const char *const forms[] = {
        "POST /containers/x/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
        "POST /containers/x/attach HTTP/1.1\r\nHost: d\r\n\r\n",
        "POST /containers/x/attach HTTP/1.1\r\nHost: d\r\nContent-Length: 4\r\n\r\nbody",
        "POST /containers/x/attach HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    };
    struct soak *s = arg;
    char *data = malloc(300000), *back = malloc(300000);

    for (int round = 0; round < ROUNDS; round++) {
        const char *form = forms[rand_r(&s->seed) % 4], *body;
        size_t head = strlen(form), n = (size_t)rand_r(&s->seed) % (round % 3 ? 3000 : 200000), got;
        int fd = test_connect(s->server);

        memcpy(data, form, head);
        for (size_t i = 0; i < n; i++)
            data[head + i] = (char)rand_r(&s->seed);
        got = exchange(fd, data, head + n, back, 300000);
        close(fd);
        body = memmem(back, got < 1000 ? got : 1000, "\r\n\r\n", 4);
        if (!body || got != (size_t)(body + 4 - back) + n + 5 || memcmp(body + 4, data + head, n) != 0 || memcmp(body + 4 + n, "[end]", 5) != 0)
            s->wrong++;
    }
    free(data);
    free(back);
    return NULL;
}

static void *noise_thread(void *arg) {
    static const char request[] = "GET /containers/abc/json HTTP/1.1\r\nHost: d\r\n\r\n";
    struct soak *s = arg;
    int fd = test_connect(s->server);

    for (int i = 0; i < 2000; i++) {
        char out[2048];
        size_t n = 0;

        if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0)
            break;
        out[0] = '\0';
        while (!strstr(out, "}\n")) {
            ssize_t k = recv(fd, out + n, sizeof(out) - 1 - n, 0);

            if (k <= 0) {
                s->wrong++;
                i = 2000;
                break;
            }
            n += (size_t)k;
            out[n] = '\0';
        }
    }
    close(fd);
    return NULL;
}

TEST(take_soak) {
    struct test_server *t = test_server_start();
    struct soak s[THREADS + 1];
    pthread_t thread[THREADS + 1];

    for (int i = 0; i <= THREADS; i++) {
        s[i] = (struct soak){.server = t, .seed = (unsigned)i + 7};
        pthread_create(&thread[i], NULL, i < THREADS ? soak_thread : noise_thread, &s[i]);
    }
    for (int i = 0; i <= THREADS; i++) {
        pthread_join(thread[i], NULL);
        CHECK_INT(s[i].wrong, 0);
    }
    test_server_stop(t);
}

/* The same machinery on TCP, where the dummy socket is of another family than the real one. */
TEST(take_on_tcp) {
    struct test_server *t = test_server_start();
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    static const char attach[] = "POST /containers/x/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly";
    static const char events[] = "GET /events HTTP/1.1\r\nHost: d\r\n\r\n", logs[] = "GET /containers/x/logs HTTP/1.1\r\nHost: d\r\n\r\n";
    socklen_t n = sizeof(a);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), fd;

    REQUIRE(bind(listener, (struct sockaddr *)&a, n) == 0 && listen(listener, 16) == 0 && getsockname(listener, (struct sockaddr *)&a, &n) == 0);
    CHECK_INT(server_listen_fd(test_server_server(t), listener, NULL), 0);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(connect(fd, (struct sockaddr *)&a, n) == 0);
    test_send(fd, events, strlen(events));
    CHECK(strstr(test_read(fd, "0\r\n\r\n", NULL), "{\"n\":1}") != NULL);
    test_send(fd, logs, strlen(logs));
    CHECK(strstr(test_read(fd, "0\r\n\r\n", NULL), "two") != NULL);
    test_send(fd, attach, strlen(attach));
    CHECK(strstr(test_read(fd, "early", NULL), "101 UPGRADED") != NULL);
    shutdown(fd, SHUT_WR);
    CHECK(strstr(test_read(fd, NULL, NULL), "[end]") != NULL);
    close(fd);
    test_server_stop(t);
}

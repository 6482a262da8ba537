// SPDX-License-Identifier: Apache-2.0
/* The machine's name servers. Its resolv.conf is looked at whenever a question needs it (one stat(2)): so changes need no watching and count at once. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "netd/resolver.h"

#define HOST_RESOLV "/etc/resolv.conf"

int64_t netd_ms(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Number of an interface; 0 when there is none. (The C library's own asks by a unix socket, which this process may not have.) */
static unsigned interface_index(const char *name) {
    _cleanup_close_ int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq req = {.ifr_ifindex = 0};
    size_t n = strlen(name);

    if (fd < 0 || n >= sizeof(req.ifr_name))
        return 0;
    memcpy(req.ifr_name, name, n + 1);
    return ioctl(fd, SIOCGIFINDEX, &req) < 0 ? 0 : (unsigned)req.ifr_ifindex;
}

bool upstream_parse(const char *text, size_t n, struct server *ret) {
    char s[INET6_ADDRSTRLEN + IFNAMSIZ + 1], *scope;
    struct in_addr v4;

    if (n >= sizeof(s))
        return false;
    memcpy(s, text, n);
    s[n] = 0;
    *ret = (struct server){.addr = {.sin6_family = AF_INET6, .sin6_port = htons(53)}};
    if (inet_pton(AF_INET, s, &v4) == 1) {
        ret->addr.sin6_addr.s6_addr[10] = ret->addr.sin6_addr.s6_addr[11] = 0xff;
        memcpy(ret->addr.sin6_addr.s6_addr + 12, &v4, 4);
        return true;
    }
    scope = strchr(s, '%');
    if (scope) {
        *scope++ = 0;
        ret->addr.sin6_scope_id = interface_index(scope);
    }
    return inet_pton(AF_INET6, s, &ret->addr.sin6_addr) == 1;
}

static bool loopback(const struct server *s) {
    const struct in6_addr *a = &s->addr.sin6_addr;

    return IN6_IS_ADDR_V4MAPPED(a) ? a->s6_addr[12] == 127 : IN6_IS_ADDR_LOOPBACK(a);
}

/* Those that the text names. */
static size_t named(const char *text, struct server *ret, size_t max) {
    size_t n = 0;

    while (*text && n < max) {
        size_t line = strcspn(text, "\n"), at = strspn(text, " \t"), len;

        if (str_has_prefix(text + at, "nameserver") && strchr(" \t", text[at + 10]) && text[at + 10]) {
            at += 10;
            at += strspn(text + at, " \t");
            len = strcspn(text + at, " \t\r\n");
            if (at + len <= line && upstream_parse(text + at, len, &ret[n])) {
                /* The machine's loopback is not the container's; IPv6 it may not have at all. */
                ret[n].host = loopback(&ret[n]) || !IN6_IS_ADDR_V4MAPPED(&ret[n].addr.sin6_addr);
                n++;
            }
        }
        text += line + (text[line] == '\n');
    }
    return n;
}

/* As the reference has it for a machine that names none. */
static size_t fall_back(struct server *ret, size_t max) {
    static const char *const fallback[] = {"8.8.8.8", "8.8.4.4"};
    size_t n = 0;

    for (; n < max && n < ELEMENTSOF(fallback); n++)
        upstream_parse(fallback[n], strlen(fallback[n]), &ret[n]);
    return n;
}

size_t upstream_read(const char *text, struct server *ret, size_t max) {
    size_t n = named(text, ret, max);

    return n ? n : fall_back(ret, max);
}

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static bool read_file(char *text, size_t size) {
    _cleanup_close_ int fd = open(HOST_RESOLV, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;

    if (n < 0)
        return false;
    text[n] = 0;
    return true;
}

const struct server *upstream_host(size_t *ret_n) {
    static struct server servers[RESOLVER_SERVERS];
    static size_t n_servers;
    static struct stat seen;
    struct server fresh[RESOLVER_SERVERS];
    char text[16384];
    struct stat st;
    size_t n = 0;

    if (stat(HOST_RESOLV, &st) == 0 && !same_file(&st, &seen) && read_file(text, sizeof(text))) {
        n = named(text, fresh, RESOLVER_SERVERS);
        /* One without servers is most likely about to be written: those before it serve until then. */
        if (n) {
            memcpy(servers, fresh, n * sizeof(*fresh));
            n_servers = n;
            seen = st;
        }
    }
    if (!n_servers)
        n_servers = fall_back(servers, RESOLVER_SERVERS);
    *ret_n = n_servers;
    return servers;
}

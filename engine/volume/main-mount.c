// SPDX-License-Identifier: Apache-2.0
/*
 * hatake-mount: mounts the file system of one volume, or unmounts it. A program of its own, because network file systems can keep a process waiting in the kernel
 * for minutes and because the engine itself mounts nothing.
 *
 * Started by hataked in its own mount namespace: `hatake-mount mount` or `hatake-mount unmount`; standard input has, each followed by a NUL byte, the mount
 * point and for `mount` device, type and options. Standard output has the reason when the exit code is not 0.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "base/strv.h"
#include "volume/mount-options.h"

/* strerror in the words Go programs use for the same numbers: theirs begin small. */
static int failed(struct err *e, int errnum, const char *what) {
    char text[128];

    snprintf(text, sizeof(text), "%s", strerror(errnum));
    if (text[0] >= 'A' && text[0] <= 'Z' && !(text[1] >= 'A' && text[1] <= 'Z'))
        text[0] = (char)(text[0] - 'A' + 'a');
    return err_set(e, ERR_INTERNAL, "%s: %s", what, text);
}

/* The first name server, which the reference's resolver names in its errors. */
static void name_server(char *ret, size_t n) {
    _cleanup_fclose_ FILE *f = fopen("/etc/resolv.conf", "re");
    char line[512], word[64];

    snprintf(ret, n, "127.0.0.1");
    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, " nameserver %63s", word) == 1) {
            snprintf(ret, n, "%s", word);
            return;
        }
    }
}

static int resolve(const char *host, char ret[INET6_ADDRSTRLEN], struct err *e) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL, *pick = NULL;
    char server[64];
    int r = getaddrinfo(host, NULL, &hints, &list);

    if (r != 0) {
        name_server(server, sizeof(server));
        return err_set(e, ERR_INTERNAL, "error resolving passed in network volume address: lookup %s on %s:53: %s", host, server,
                       r == EAI_AGAIN ? "server misbehaving" : "no such host");
    }
    /* IPv4 first: that is what servers of these file systems are reached by. */
    for (struct addrinfo *a = list; a; a = a->ai_next)
        if (!pick || (a->ai_family == AF_INET && pick->ai_family != AF_INET))
            pick = a;
    r = getnameinfo(pick->ai_addr, pick->ai_addrlen, ret, INET6_ADDRSTRLEN, NULL, 0, NI_NUMERICHOST);
    freeaddrinfo(list);
    return r == 0 ? 0 : err_set(e, ERR_INTERNAL, "error resolving passed in network volume address: %s", gai_strerror(r));
}

/* The kernel knows no names: //host/share becomes //ADDRESS/share. */
static int resolve_device(char **device, struct err *e) {
    char address[INET6_ADDRSTRLEN], *host, *made;
    size_t n;
    int r;

    if (!str_has_prefix(*device, "//"))
        return 0;
    n = strcspn(*device + 2, "/");
    if (!n)
        return 0;
    host = strndup(*device + 2, n);
    if (!host)
        return err_oom(e);
    r = resolve(host, address, e);
    free(host);
    if (r < 0)
        return r;
    made = str_printf("//%s%s", address, *device + 2 + n);
    if (!made)
        return err_oom(e);
    free(*device);
    *device = made;
    return 0;
}

/* The first addr=NAME of the options. */
static int resolve_option(char **o, struct err *e) {
    _cleanup_strv_ struct strv list = STRV_INIT;
    char address[INET6_ADDRSTRLEN];
    struct in_addr v4;

    if (strv_split(&list, *o, ',') < 0)
        return err_oom(e);
    for (size_t i = 0; i < list.n; i++) {
        const char *name = str_after(list.v[i], "addr=");
        int r;

        if (!name)
            continue;
        if (!*name || inet_pton(AF_INET, name, &v4) == 1)
            return 0;
        r = resolve(name, address, e);
        if (r < 0)
            return r;
        free(list.v[i]);
        list.v[i] = str_printf("addr=%s", address);
        free(*o);
        *o = list.v[i] ? strv_join(&list, ",") : NULL;
        return *o ? 0 : err_oom(e);
    }
    return 0;
}

static int mount_failed(struct err *e, int errnum, const char *target, const char *device, const struct mount_options *m) {
    _cleanup_free_ char *shown = mount_options_shown(buf_str(&m->data));
    _cleanup_buf_ struct buf what = BUF_INIT(KIB(16));

    buf_addf(&what, "failed to mount local volume: mount %s:%s", device, target);
    if (m->flags)
        buf_addf(&what, ", flags: 0x%lx", m->flags);
    if (m->data.len)
        buf_addf(&what, ", data: %s", shown ? shown : "");
    return failed(e, errnum, buf_str(&what));
}

static int do_mount(const char *target, char **device, const char *type, char **o, struct err *e) {
    _cleanup_mount_options_ struct mount_options m = MOUNT_OPTIONS_INIT;
    int r = 0;

    if (!**device)
        return err_set(e, ERR_INTERNAL, "missing device in volume options");
    if (streq(type, "cifs"))
        r = resolve_device(device, e);
    if (r == 0 && (streq(type, "cifs") || streq(type, "nfs")))
        r = resolve_option(o, e);
    if (r == 0)
        r = mount_options_parse(*o, &m, e);
    if (r < 0)
        return r;
    /* "remount" and the device "none" change a mount that is there; without data there is nothing to change at first. */
    if (!(m.flags & MS_REMOUNT || streq(*device, "none")) || m.data.len) {
        if (mount(*device, target, type, m.flags, m.data.len ? buf_str(&m.data) : NULL) < 0)
            return mount_failed(e, errno, target, *device, &m);
    }
    if (m.propagation)
        r = mount("", target, "", m.propagation, "");
    /* The kernel ignores flags of a fresh bind mount; the reference applies them again only when it is to be read-only. */
    if (r == 0 && m.flags & MS_BIND && m.flags & MS_RDONLY)
        r = mount("", target, "", m.flags | MS_REMOUNT, "");
    if (r < 0) {
        r = mount_failed(e, errno, target, *device, &m);
        umount2(target, UMOUNT_NOFOLLOW | MNT_DETACH);
    }
    return r;
}

static int do_unmount(const char *target, struct err *e) {
    if (umount2(target, UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT)
        return 0;
    /* Busy: whoever still looks at it keeps it, nobody new finds it. */
    if (umount2(target, UMOUNT_NOFOLLOW | MNT_DETACH) < 0 && errno != EINVAL)
        return failed(e, errno, "unmount");
    return 0;
}

int main(int argc, char **argv) {
    _cleanup_buf_ struct buf in = BUF_INIT(KIB(64));
    _cleanup_err_ struct err e = ERR_INIT;
    char *field[4] = {0};
    ssize_t n = 1;
    size_t k = 0;
    int r = argc == 2 ? 0 : err_set(&e, ERR_INVALID, "usage: hatake-mount mount|unmount (started by hataked)");

    while (r == 0 && n > 0) {
        void *room = buf_reserve(&in, KIB(4));

        n = room ? read(STDIN_FILENO, room, KIB(4)) : -1;
        if (n < 0)
            r = err_set(&e, ERR_INTERNAL, "cannot read the request");
        else
            buf_commit(&in, (size_t)n);
    }
    for (size_t at = 0; r == 0 && at < in.len && k < ELEMENTSOF(field); k++) {
        field[k] = strdup(in.data + at);
        r = field[k] ? 0 : err_oom(&e);
        at += strlen(in.data + at) + 1;
    }
    if (r == 0 && streq(argv[1], "mount") && k == 4)
        r = do_mount(field[0], &field[1], field[2], &field[3], &e);
    else if (r == 0 && streq(argv[1], "unmount") && k == 1)
        r = do_unmount(field[0], &e);
    else if (r == 0)
        r = err_set(&e, ERR_INVALID, "hatake-mount: the request is incomplete");
    if (r < 0)
        ignore_result(full_write(STDOUT_FILENO, err_msg(&e), strlen(err_msg(&e))) < 0);
    for (k = 0; k < ELEMENTSOF(field); k++)
        free(field[k]);
    return r < 0 ? 1 : 0;
}

// SPDX-License-Identifier: Apache-2.0
/* Volumes with driver options: type, device and o as mount(8) knows them. What is mounted is mounted by hatake-mount. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/spawn.h"
#include "base/str.h"
#include "volume/volume-internal.h"

#define MOUNT_SECONDS 180 /* servers that do not answer */

/* A device of cifs is read as a URL; its escapes must be right. */
static int check_url(const char *device, struct err *e) {
    for (const char *p = device; (p = strchr(p, '%')); p++) {
        if (!isxdigit((unsigned char)p[1]) || !isxdigit((unsigned char)p[2]))
            return err_set(e, ERR_INVALID, "error parsing mount device url: parse \"%s\": invalid URL escape \"%.3s\"", device, p);
    }
    return 0;
}

int volume_size_parse(const char *text, uint64_t *ret) {
    static const char units[] = "bkmgtp";
    char *end;
    double n;
    const char *unit;

    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    n = strtod(text, &end);
    if (end > text && strpbrk(text, "xXpPnN") && strpbrk(text, "xXpPnN") < end)
        return -EINVAL;
    while (*end == ' ')
        end++;
    unit = *end ? strchr(units, tolower((unsigned char)*end)) : units;
    if (!unit || n < 0)
        return -EINVAL;
    if (unit > units) {
        end++;
        if (tolower((unsigned char)*end) == 'i')
            end++;
    }
    if (tolower((unsigned char)*end) == 'b')
        end++;
    if (*end)
        return -EINVAL;
    for (; unit > units; unit--)
        n *= 1024;
    if (n >= 9.2e18)
        return -EINVAL;
    *ret = (uint64_t)n;
    return 0;
}

int volume_check_options(struct volumes *vs, const struct api_string_map *opts, struct err *e) {
    static const char *const known[] = {"type", "o", "device", "size"};
    /* An option, and what it needs beside it. */
    static const char *const needs[][2] = {{"device", "type"}, {"type", "device"}, {"o", "device"}, {"o", "type"}};
    const char *size = api_string_map_get(opts, "size"), *type = api_string_map_get(opts, "type"), *device = api_string_map_get(opts, "device");
    uint64_t bytes = 0;

    for (size_t i = 0; i < opts->n; i++) {
        size_t k = 0;

        while (k < ELEMENTSOF(known) && !streq(known[k], opts->v[i].key))
            k++;
        if (k == ELEMENTSOF(known))
            return err_set(e, ERR_INVALID, "invalid option: \"%s\"", opts->v[i].key);
    }
    if (size && volume_size_parse(size, &bytes) < 0)
        return err_set(e, ERR_INVALID, "invalid size: '%s'", size);
    if (bytes && !volumes_can_limit(vs))
        return err_set(e, ERR_INVALID, "quota size requested but no quota support");
    for (size_t i = 0; i < ELEMENTSOF(needs); i++) {
        if (api_string_map_get(opts, needs[i][0]) && !api_string_map_get(opts, needs[i][1]))
            return err_set(e, ERR_INVALID, "missing required option: \"%s\"", needs[i][1]);
    }
    return streq_ptr(type, "cifs") && device ? check_url(device, e) : 0;
}

/* ---- the helper ---------------------------------------------------------------------------------------------------------------------- */

static int spawn(struct volumes *vs, const char *verb, int in, int out, pid_t *ret, struct err *e) {
    _cleanup_free_ char *program = str_printf("%s/hatake-mount", vs->engine->libexec_dir ? vs->engine->libexec_dir : "/usr/libexec/hatake");
    char *argv[] = {program, (char *)verb, NULL}, *envp[] = {(char *)"LC_ALL=C", NULL};
    const struct spawn_fd fds[] = {{in, STDIN_FILENO}, {out, STDOUT_FILENO}};

    return program ? spawn_start(program, argv, envp, fds, ELEMENTSOF(fds), ret, e) : err_oom(e);
}

/* What the helper has to say, until it ends. -ERR_DEADLINE: it waits for somebody. */
static int listen_to(int fd, struct buf *said, struct err *e) {
    int64_t until = clock_mono_ns() + (int64_t)MOUNT_SECONDS * NSEC_PER_SEC;

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = (until - clock_mono_ns()) / NSEC_PER_MSEC;
        void *room = buf_reserve(said, KIB(1));
        ssize_t n;

        if (!room)
            return buf_check(said, e);
        if (left <= 0)
            return err_set(e, ERR_DEADLINE, "failed to mount local volume: no answer within %d s", MOUNT_SECONDS);
        if (poll(&p, 1, (int)left) <= 0)
            continue;
        n = read(fd, room, KIB(1));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 0;
        buf_commit(said, (size_t)n);
    }
}

static int run_helper(struct volumes *vs, const char *verb, const struct buf *request, struct err *e) {
    _cleanup_close_ int in = -EBADF, out = -EBADF, answer = -EBADF, to = -EBADF;
    _cleanup_buf_ struct buf said = BUF_INIT(KIB(32));
    int a[2], b[2], r, status;
    pid_t pid = -1;

    r = spawn_pipe(a, e);
    if (r < 0)
        return r;
    in = a[0];
    to = a[1];
    r = spawn_pipe(b, e);
    if (r < 0)
        return r;
    answer = b[0];
    out = b[1];
    r = spawn(vs, verb, in, out, &pid, e);
    in = close_fd(in);
    out = close_fd(out);
    if (r < 0)
        return r;
    /* The request is smaller than a pipe's buffer. */
    ignore_result(full_write(to, request->data, request->len) < 0);
    to = close_fd(to);
    r = listen_to(answer, &said, e);
    if (r < 0)
        kill(pid, SIGKILL);
    status = spawn_wait(pid);
    if (r < 0)
        return r;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return err_set(e, ERR_INTERNAL, "%s", said.len ? buf_str(&said) : "failed to mount local volume: hatake-mount was killed");
}

static void add_field(struct buf *b, const char *s) {
    buf_add(b, s ? s : "", s ? strlen(s) + 1 : 1);
}

int volume_do_mount(struct volumes *vs, struct volume *v, struct err *e) {
    static const char *const fields[] = {"device", "type", "o"};
    _cleanup_buf_ struct buf request = BUF_INIT(KIB(32));
    int r;

    add_field(&request, v->record.mountpoint);
    for (size_t i = 0; i < ELEMENTSOF(fields); i++)
        add_field(&request, api_string_map_get(&v->record.options, fields[i]));
    r = buf_check(&request, e);
    return r < 0 ? r : run_helper(vs, "mount", &request, e);
}

void volume_do_unmount(struct volumes *vs, struct volume *v) {
    _cleanup_buf_ struct buf request = BUF_INIT(KIB(32));
    _cleanup_err_ struct err why = ERR_INIT;

    add_field(&request, v->record.mountpoint);
    if (run_helper(vs, "unmount", &request, &why) < 0)
        log_kv(LOG_LVL_WARN, "volume cannot be unmounted", "volume", v->record.name, "error", err_msg(&why), NULL);
}

bool volume_is_mounted(const struct volume *v) {
    struct statx sx;

    if (statx(AT_FDCWD, v->record.mountpoint, AT_SYMLINK_NOFOLLOW, 0, &sx) < 0)
        return false;
    return sx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT && sx.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

// SPDX-License-Identifier: Apache-2.0
/* May mounts pass between the machine and a container? Only where the mount that holds the source lets them. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/mounts.h"

/* Octal escapes of proc_pid_mountinfo(5), in place. */
static void unescape(char *s) {
    char *to = s;

    for (; *s; s++) {
        if (s[0] == '\\' && s[1] && s[2] && s[3]) {
            *to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 3;
        } else {
            *to++ = *s;
        }
    }
    *to = 0;
}

static bool is_below(const char *path, const char *dir) {
    size_t n = strlen(dir);

    return streq(dir, "/") || (strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == 0));
}

/* One line: id parent device root MOUNTPOINT options [tags] - ... Takes it when it is at or above path and no shorter than what was found before. */
static void look_at(char *line, const char *path, char *found, size_t size, bool *shared, bool *slave) {
    char *save = NULL, *field = strtok_r(line, " ", &save), *point = NULL;

    for (int i = 0; field && !streq(field, "-"); i++, field = strtok_r(NULL, " ", &save)) {
        if (i == 4) {
            point = field;
            unescape(point);
            if (!is_below(path, point) || strlen(point) < strlen(found) || strlen(point) >= size)
                return;
            snprintf(found, size, "%s", point);
            *shared = *slave = false;
        }
        if (i > 5) {
            *shared = *shared || str_has_prefix(field, "shared:");
            *slave = *slave || str_has_prefix(field, "master:");
        }
    }
}

int ctr_check_propagation(const struct ctr_mount *m, struct err *e) {
    bool wants_shared = streq_ptr(m->propagation, "shared") || streq_ptr(m->propagation, "rshared");
    bool wants_slave = streq_ptr(m->propagation, "slave") || streq_ptr(m->propagation, "rslave");
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_JSON_BODY);
    _cleanup_free_ char *real = NULL;
    char found[4096] = "", *save = NULL;
    bool shared = false, slave = false;
    int r;

    if (!wants_shared && !wants_slave)
        return 0;
    real = realpath(m->source, NULL);
    if (!real)
        return 0; /* what is missing is told by who mounts it */
    r = fs_read_file("/proc/self/mountinfo", &text, e);
    if (r < 0)
        return r;
    buf_str(&text);
    for (char *line = strtok_r((char *)text.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        look_at(line, real, found, sizeof(found), &shared, &slave);
    if (shared || (wants_slave && slave))
        return 0;
    return err_set(e, ERR_INTERNAL, "path %s is mounted on %s but it is not a shared%s mount", m->source, found, wants_slave ? " or slave" : "");
}

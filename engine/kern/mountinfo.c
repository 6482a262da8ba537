// SPDX-License-Identifier: Apache-2.0
#include "kern/mountinfo.h"

#include "base/fs.h"
#include "base/str.h"

/* Octal escapes (blank, tab, newline, backslash), undone in place. */
static char *unescape(char *s) {
    char *to = s;

    for (const char *p = s; *p; to++) {
        if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' && p[3] >= '0' && p[3] <= '7') {
            *to = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
            p += 4;
        } else {
            *to = *p++;
        }
    }
    *to = 0;
    return s;
}

/* Cuts the field at the front of *p off, up to the next blank. NULL when there is none left. */
static char *field(char **p) {
    char *start = *p, *end;

    if (!*start)
        return NULL;
    end = strchrnul(start, ' ');
    *p = *end ? end + 1 : end;
    *end = 0;
    return start;
}

/* id parent major:minor root point options [tags] - type source super-options */
static bool take(char *line, struct mountinfo *m) {
    char *dash = strstr(line, " - "), *rest, *root, *point;

    if (!dash)
        return false;
    *dash = 0;
    rest = dash + 3;
    for (int i = 0; i < 3; i++)
        if (!field(&line))
            return false;
    root = field(&line);
    point = field(&line);
    m->options = field(&line);
    m->tags = line;
    m->type = field(&rest);
    if (!root || !point || !m->options || !m->type || !field(&rest))
        return false;
    m->root = unescape(root);
    m->point = unescape(point);
    m->super = rest;
    return true;
}

int mountinfo_read(struct buf *ret, char **ret_text, struct err *e) {
    int r = fs_read_file("/proc/self/mountinfo", ret, e);

    if (r < 0)
        return r;
    if (!ret->len)
        return err_set(e, ERR_INTERNAL, "the list of mounts in /proc/self/mountinfo is empty");
    *ret_text = ret->data;
    return 0;
}

bool mountinfo_next(char **text, struct mountinfo *ret) {
    while (**text) {
        char *line = *text, *end = strchrnul(line, '\n');

        *text = *end ? end + 1 : end;
        *end = 0;
        if (take(line, ret))
            return true;
    }
    return false;
}

bool mountinfo_has_tag(const struct mountinfo *m, const char *kind) {
    for (const char *p = m->tags; *p;) {
        if (str_has_prefix(p, kind))
            return true;
        p = strchrnul(p, ' ');
        p += *p == ' ';
    }
    return false;
}

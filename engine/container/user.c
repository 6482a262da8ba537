// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/root.h"

#define ID_MAX INT64_C(2147483647)
#define FIELDS 7
#define GROUPS_MAX 65536

void ctr_user_done(struct ctr_user *u) {
    free(u->groups);
    free(u->home);
    *u = (struct ctr_user){0};
}

/* One line split at colons, without copying. */
struct line {
    const char *v[FIELDS];
    size_t n[FIELDS];
    int fields;
};

/* Next line that is not blank and not a comment; over-long ones are skipped. False at the end. */
static bool next_line(const char **at, const char *end, struct line *l) {
    while (*at < end) {
        const char *p = *at, *nl = memchr(p, '\n', (size_t)(end - p)), *stop = nl ? nl : end;

        *at = nl ? nl + 1 : end;
        while (p < stop && (*p == ' ' || *p == '\t' || *p == '\r'))
            p++;
        while (stop > p && (stop[-1] == ' ' || stop[-1] == '\t' || stop[-1] == '\r'))
            stop--;
        if (p == stop || *p == '#' || (size_t)(stop - p) > LIMIT_USERDB_LINE)
            continue;
        l->fields = 0;
        for (;;) {
            const char *colon = l->fields < FIELDS - 1 ? memchr(p, ':', (size_t)(stop - p)) : NULL;
            const char *to = colon ? colon : stop;

            l->v[l->fields] = p;
            l->n[l->fields++] = (size_t)(to - p);
            if (!colon)
                return true;
            p = colon + 1;
        }
    }
    return false;
}

static bool field_is(const struct line *l, int i, const char *s, size_t n) {
    return i < l->fields && l->n[i] == n && memcmp(l->v[i], s, n) == 0;
}

/* A plain decimal number; -1 when it is none (out of range counts as a number: ID_MAX + 1). Signs are read as the reference does. */
static int64_t number(const char *s, size_t n) {
    int64_t v = 0;
    bool minus = n > 1 && s[0] == '-';

    if (n > 1 && (s[0] == '-' || s[0] == '+')) {
        s++;
        n--;
    }
    if (n == 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -1;
        if (v <= ID_MAX)
            v = v * 10 + (s[i] - '0');
    }
    return minus || v > ID_MAX ? ID_MAX + 1 : v;
}

static int64_t field_number(const struct line *l, int i) {
    return i < l->fields ? number(l->v[i], l->n[i]) : -1;
}

static bool group_lists(const struct line *l, const char *name, size_t n) {
    const char *p, *end;

    if (l->fields < 4)
        return false;
    p = l->v[3];
    end = p + l->n[3];
    while (p <= end) {
        const char *comma = memchr(p, ',', (size_t)(end - p)), *to = comma ? comma : end;

        if ((size_t)(to - p) == n && memcmp(p, name, n) == 0)
            return true;
        if (!comma)
            break;
        p = comma + 1;
    }
    return false;
}

static int add_group(struct ctr_user *u, uint32_t gid) {
    uint32_t *v;

    for (size_t i = 0; i < u->n_groups; i++)
        if (u->groups[i] == gid)
            return 0;
    if (u->n_groups >= GROUPS_MAX)
        return 0;
    v = reallocarray(u->groups, u->n_groups + 1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    v[u->n_groups++] = gid;
    u->groups = v;
    return 0;
}

struct files {
    const char *passwd, *passwd_end, *group, *group_end;
};

static int range_error(struct err *e) {
    return err_set(e, ERR_INTERNAL, "uids and gids must be in range 0-%lld", (long long)ID_MAX);
}

/* Gives the name in ret_name (inside the text) when there is an entry. */
static int resolve_user(const struct files *f, const char *s, size_t n, struct ctr_user *u, struct line *ret_entry, bool *ret_found, struct err *e) {
    const char *at = f->passwd;
    int64_t num = number(s, n);
    struct line l;

    while (next_line(&at, f->passwd_end, &l)) {
        int64_t uid = field_number(&l, 2), gid = field_number(&l, 3);

        if (!field_is(&l, 0, s, n) && (num < 0 || uid != num))
            continue;
        /* Fields that are no numbers read as 0. */
        uid = MAX(uid, 0);
        gid = MAX(gid, 0);
        if (uid > ID_MAX || gid > ID_MAX)
            return range_error(e);
        u->uid = (uint32_t)uid;
        u->gid = (uint32_t)gid;
        *ret_entry = l;
        *ret_found = true;
        return 0;
    }
    if (num < 0)
        return err_set(e, ERR_INTERNAL, "unable to find user %.*s: no matching entries in passwd file", (int)n, s);
    if (num > ID_MAX)
        return range_error(e);
    u->uid = (uint32_t)num;
    *ret_found = false;
    return 0;
}

static int resolve_group(const struct files *f, const char *s, const char *missing, uint32_t *ret, struct err *e) {
    const char *at = f->group;
    size_t n = strlen(s);
    int64_t num = number(s, n);
    struct line l;

    while (next_line(&at, f->group_end, &l)) {
        int64_t gid = field_number(&l, 2);

        if (!field_is(&l, 0, s, n) && (num < 0 || gid != num))
            continue;
        gid = MAX(gid, 0);
        if (gid > ID_MAX)
            return range_error(e);
        *ret = (uint32_t)gid;
        return 0;
    }
    if (num < 0)
        return err_set(e, ERR_INTERNAL, "%s to find group %s: no matching entries in group file", missing, s);
    if (num > ID_MAX)
        return range_error(e);
    *ret = (uint32_t)num;
    return 0;
}

static int member_groups(const struct files *f, const struct line *entry, struct ctr_user *u) {
    const char *at = f->group;
    struct line l;

    while (next_line(&at, f->group_end, &l)) {
        int64_t gid = field_number(&l, 2);

        if (gid < 0 || gid > ID_MAX || !group_lists(&l, entry->v[0], entry->n[0]))
            continue;
        if (add_group(u, (uint32_t)gid) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* HOME comes from the first entry with that uid, whatever the name asked for. */
static char *home_of(const struct files *f, uint32_t uid) {
    const char *at = f->passwd;
    struct line l;

    while (next_line(&at, f->passwd_end, &l))
        if (field_number(&l, 2) == (int64_t)uid)
            return l.fields > 5 && l.n[5] > 0 && !memchr(l.v[5], '\0', l.n[5]) ? strndup(l.v[5], l.n[5]) : strdup("/");
    return strdup("/");
}

int ctr_user_resolve(const char *passwd, size_t n_passwd, const char *group, size_t n_group, const char *spec,
                     const struct api_string_list *group_add, struct ctr_user *ret, struct err *e) {
    struct files f = {passwd, passwd + n_passwd, group, group + n_group};
    struct ctr_user u = {0};
    const char *s = str_empty(spec) ? "0" : spec, *colon = strchr(s, ':');
    size_t n = colon ? (size_t)(colon - s) : strlen(s);
    _cleanup_free_ char *wanted = colon ? strndup(colon + 1, strcspn(colon + 1, ":")) : strdup(""); /* what comes after a second one is ignored */
    struct line entry = {0};
    bool found = false;
    int r;

    if (!wanted)
        return err_oom(e);
    if (n == 0) {
        s = "0";
        n = 1;
    }
    r = resolve_user(&f, s, n, &u, &entry, &found, e);
    if (r >= 0 && *wanted)
        r = resolve_group(&f, wanted, "unable", &u.gid, e);
    if (r < 0)
        return r;
    if (add_group(&u, u.gid) < 0 || (found && !(*wanted) && member_groups(&f, &entry, &u) < 0))
        r = err_oom(e);
    for (size_t i = 0; r >= 0 && group_add && i < group_add->n; i++) {
        uint32_t gid;

        r = resolve_group(&f, group_add->v[i], "Unable", &gid, e);
        if (r >= 0 && add_group(&u, gid) < 0)
            r = err_oom(e);
    }
    if (r >= 0 && !(u.home = home_of(&f, u.uid)))
        r = err_oom(e);
    if (r < 0) {
        ctr_user_done(&u);
        return r;
    }
    *ret = u;
    return 0;
}

int ctr_user_of_root(int rootfd, const char *spec, const struct api_string_list *group_add, struct ctr_user *ret, struct err *e) {
    _cleanup_buf_ struct buf passwd = BUF_INIT(LIMIT_USERDB_BYTES), group = BUF_INIT(LIMIT_USERDB_BYTES);
    int r = ctr_root_read(rootfd, "etc/passwd", &passwd, e);

    if (r >= 0)
        r = ctr_root_read(rootfd, "etc/group", &group, e);
    if (r < 0)
        return r;
    return ctr_user_resolve(buf_str(&passwd), passwd.len, buf_str(&group), group.len, spec, group_add, ret, e);
}

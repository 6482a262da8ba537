// SPDX-License-Identifier: Apache-2.0
#include "base/idmap.h"

#include <endian.h>
#include <errno.h>
#include <linux/capability.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"

#define APART "-\n" /* between the two lists of a map */

int id_list_add(struct id_list *l, uint64_t inside, uint64_t outside, uint64_t count) {
    if (!count || count > UINT32_MAX || inside > UINT32_MAX - count || outside > UINT32_MAX - count)
        return -EINVAL;
    if (l->n == ID_RANGES)
        return -E2BIG;
    l->v[l->n++] = (struct id_range){(uint32_t)inside, (uint32_t)outside, (uint32_t)count};
    return 0;
}

bool id_list_out(const struct id_list *l, uint32_t inside, uint32_t *ret) {
    for (size_t i = 0; i < l->n; i++)
        if (inside >= l->v[i].inside && inside - l->v[i].inside < l->v[i].count) {
            *ret = l->v[i].outside + (inside - l->v[i].inside);
            return true;
        }
    return false;
}

bool id_list_in(const struct id_list *l, uint32_t outside, uint32_t *ret) {
    for (size_t i = 0; i < l->n; i++)
        if (outside >= l->v[i].outside && outside - l->v[i].outside < l->v[i].count) {
            *ret = l->v[i].inside + (outside - l->v[i].outside);
            return true;
        }
    return false;
}

void id_list_text(const struct id_list *l, char ret[ID_LIST_TEXT]) {
    size_t n = 0;

    ret[0] = 0;
    for (size_t i = 0; i < l->n; i++)
        n += (size_t)snprintf(ret + n, ID_LIST_TEXT - n, "%u %u %u\n", l->v[i].inside, l->v[i].outside, l->v[i].count);
}

/* A number and the blank or line feed behind it. */
static bool take_number(const char **at, char stop, uint64_t *ret) {
    uint64_t v = 0;
    const char *p = *at;

    for (; *p >= '0' && *p <= '9' && v <= UINT32_MAX; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    if (p == *at || *p != stop)
        return false;
    *ret = v;
    *at = p + 1;
    return true;
}

static int parse_until(struct id_list *l, const char **at, const char *stop) {
    *l = (struct id_list){0};
    while (**at && !(*stop && str_has_prefix(*at, stop))) {
        uint64_t inside, outside, count;

        if (!take_number(at, ' ', &inside) || !take_number(at, ' ', &outside) || !take_number(at, '\n', &count) ||
            id_list_add(l, inside, outside, count) < 0)
            return -EINVAL;
    }
    return 0;
}

int id_list_parse(struct id_list *l, const char *text) {
    return parse_until(l, &text, "");
}

char *idmap_text(const struct idmap *m) {
    char uids[ID_LIST_TEXT], gids[ID_LIST_TEXT];

    if (!m)
        return strdup("");
    id_list_text(&m->uids, uids);
    id_list_text(&m->gids, gids);
    return str_printf("%s" APART "%s", uids, gids);
}

static int find_roots(struct idmap *m) {
    return id_list_out(&m->uids, 0, &m->root_uid) && id_list_out(&m->gids, 0, &m->root_gid) ? 0 : -EINVAL;
}

int idmap_parse(struct idmap *ret, const char *text) {
    if (!*text)
        return 0;
    if (parse_until(&ret->uids, &text, APART) < 0 || !str_has_prefix(text, APART))
        return -EINVAL;
    text += strlen(APART);
    return parse_until(&ret->gids, &text, "") < 0 || find_roots(ret) < 0 ? -EINVAL : 1;
}

/* ---- /etc/subuid and /etc/subgid ------------------------------------------------------------------------------------------------------ */

static int number_of(const char *text, const char *path, uint64_t *ret, struct err *e) {
    if (parse_u64(text, ret) == 0)
        return 0;
    return err_set(e, ERR_INVALID, "String to int conversion failed during subuid/gid parsing of %s: strconv.Atoi: parsing \"%s\": invalid syntax",
                   path, text);
}

/* All ranges that the file gives to `name`. */
static int ranges_of(struct id_list *ret, const char *path, char *text, const char *name, struct err *e) {
    uint64_t inside = 0;

    *ret = (struct id_list){0};
    for (char *line; (line = strsep(&text, "\n"));) {
        char *user = strsep(&line, ":"), *start = strsep(&line, ":"), *count = strsep(&line, ":");
        uint64_t first, n;
        int r;

        if ((!*user && !start) || *user == '#')
            continue;
        if (!count || line)
            return err_set(e, ERR_INVALID, "Cannot parse subuid/gid information: Format not correct for %s file", path);
        if (!streq(user, name))
            continue;
        r = number_of(start, path, &first, e);
        if (r == 0)
            r = number_of(count, path, &n, e);
        if (r < 0)
            return r;
        if (id_list_add(ret, inside, first, n) < 0)
            return err_set(e, ERR_INVALID, "%s: a range of %s goes beyond what the kernel takes: %s:%s", path, name, start, count);
        inside += n;
    }
    return 0;
}

static int list_of_user(struct id_list *ret, const char *path, const char *user, uint32_t uid, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_USERDB_BYTES);
    char number[16];
    int r = fs_read_file(path, &b, e);

    if (r < 0 && access(path, F_OK) < 0)
        return err_set(e, ERR_INVALID, "open %s: no such file or directory", path);
    snprintf(number, sizeof number, "%u", uid);
    for (int by_name = 0; r == 0 && by_name < 2 && (!by_name || ret->n == 0); by_name++) {
        _cleanup_free_ char *text = strdup(buf_str(&b));

        r = text ? ranges_of(ret, path, text, by_name ? user : number, e) : err_oom(e);
    }
    return r;
}

int idmap_of_user(struct idmap *ret, const char *folder, const char *user, uint32_t uid, struct err *e) {
    static const char *const names[] = {"subuid", "subgid"};

    for (int g = 0; g < 2; g++) {
        _cleanup_free_ char *path = str_printf("%s/%s", folder, names[g]);
        struct id_list *l = g ? &ret->gids : &ret->uids;
        int r = path ? list_of_user(l, path, user, uid, e) : err_oom(e);

        if (r < 0)
            return r;
        if (l->n == 0)
            return err_set(e, ERR_INVALID, "no %s ranges found for user \"%s\"", names[g], user);
    }
    return find_roots(ret);
}

/* ---- capabilities of files ------------------------------------------------------------------------------------------------------------- */

size_t idmap_cap_out(const struct idmap *m, const void *value, size_t n, char ret[IDMAP_CAP_MAX]) {
    struct vfs_ns_cap_data cap;

    if (n > IDMAP_CAP_MAX)
        return 0;
    memcpy(ret, value, n);
    if (n != XATTR_CAPS_SZ_2)
        return n;
    memcpy(&cap, value, n);
    if ((le32toh(cap.magic_etc) & VFS_CAP_REVISION_MASK) != VFS_CAP_REVISION_2)
        return n;
    cap.magic_etc = htole32((le32toh(cap.magic_etc) & ~VFS_CAP_REVISION_MASK) | VFS_CAP_REVISION_3);
    cap.rootid = htole32(m->root_uid);
    memcpy(ret, &cap, XATTR_CAPS_SZ_3);
    return XATTR_CAPS_SZ_3;
}

size_t idmap_cap_in(const struct idmap *m, const void *value, size_t n, char ret[IDMAP_CAP_MAX]) {
    struct vfs_ns_cap_data cap;

    if (n > IDMAP_CAP_MAX)
        return 0;
    memcpy(ret, value, n);
    if (n != XATTR_CAPS_SZ_3)
        return n;
    memcpy(&cap, value, n);
    if (le32toh(cap.rootid) != m->root_uid)
        return n;
    cap.magic_etc = htole32((le32toh(cap.magic_etc) & ~VFS_CAP_REVISION_MASK) | VFS_CAP_REVISION_2);
    memcpy(ret, &cap, XATTR_CAPS_SZ_2);
    return XATTR_CAPS_SZ_2;
}

/* ---- files of ours --------------------------------------------------------------------------------------------------------------------- */

int idmap_give(const struct idmap *m, const char *path, struct err *e) {
    return m && lchown(path, m->root_uid, m->root_gid) < 0 ? err_errno(e, errno, "giving %s to the containers' root", path) : 0;
}

int idmap_give_group(const struct idmap *m, const char *path, struct err *e) {
    return m && lchown(path, (uid_t)-1, m->root_gid) < 0 ? err_errno(e, errno, "giving %s to the containers' root", path) : 0;
}

int idmap_mkdir_p(const struct idmap *m, const char *path, mode_t mode, struct err *e) {
    _cleanup_free_ char *part = m ? strdup(path) : NULL;
    int r = 0;

    if (!m)
        return fs_mkdir_p(path, mode, e);
    if (!part)
        return err_oom(e);
    for (char *slash = part; r == 0 && slash;) {
        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = 0;
        if (mkdir(part, mode) == 0)
            r = idmap_give(m, part, e);
        else if (errno != EEXIST)
            r = err_errno(e, errno, "mkdir %s", path);
        if (slash)
            *slash = '/';
    }
    return r;
}

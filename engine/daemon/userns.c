// SPDX-License-Identifier: Apache-2.0
#include "daemon/userns.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/spawn.h"
#include "base/str.h"

#define ACCOUNT "dockremap"
#define RANGE_FIRST 100000
#define RANGE_COUNT 65536

/* ---- names and numbers ----------------------------------------------------------------------------------------------------------------- */

static int no_entry(struct err *e, const char *before, const char *what, const char *database) {
    return err_set(e, ERR_INVALID, "%s: getent unable to find entry \"%s\" in %s database", before, what, database);
}

/* `implied`: nobody asked for the group; it is the one of the user's name or number. */
static int check_group(const char *group, bool implied, struct err *e) {
    char before[300];
    int64_t number;

    if (parse_int_range(group, INT32_MIN, INT32_MAX, &number) == 0) {
        snprintf(before, sizeof before, "Gid %lld has no entry in /etc/%s", (long long)number, implied ? "group" : "passwd");
        return getgrgid((gid_t)number) ? 0 : no_entry(e, before, group, "group");
    }
    snprintf(before, sizeof before, "Error during %s lookup for \"%.200s\"", implied ? "gid" : "groupname", group);
    return getgrnam(group) ? 0 : no_entry(e, before, group, "group");
}

struct account {
    char *name;
    uint32_t uid;
};

static void account_done(struct account *a) {
    free(a->name);
}

static int find_account(const char *user, struct account *ret, struct err *e) {
    const struct passwd *got;
    char before[300];
    int64_t number;

    if (parse_int_range(user, INT32_MIN, INT32_MAX, &number) == 0) {
        snprintf(before, sizeof before, "Uid %lld has no entry in /etc/passwd", (long long)number);
        got = getpwuid((uid_t)number);
    } else {
        snprintf(before, sizeof before, "Error during uid lookup for \"%.200s\"", user);
        got = getpwnam(user);
    }
    if (!got)
        return no_entry(e, before, user, "passwd");
    ret->uid = got->pw_uid;
    ret->name = strdup(got->pw_name);
    return ret->name ? 0 : err_oom(e);
}

/* ---- the account of the engine's own --------------------------------------------------------------------------------------------------- */

static int run_tool(const char *const *paths, char *const argv[], struct err *e) {
    static char *const env[] = {(char *)(uintptr_t) "PATH=/usr/sbin:/usr/bin:/sbin:/bin", (char *)(uintptr_t) "LC_ALL=C", NULL};
    int status;
    pid_t pid;

    while (*paths && access(*paths, X_OK) < 0)
        paths++;
    if (!*paths)
        return err_set(e, ERR_INVALID, "there is no %s on this machine: name an account that has ranges in /etc/subuid and /etc/subgid", argv[0]);
    if (spawn_start(*paths, argv, env, NULL, 0, &pid, e) < 0)
        return -(int)ERR_INTERNAL;
    status = spawn_wait(pid);
    return status == 0 ? 0 : err_set(e, ERR_INTERNAL, "%s failed with status %d", *paths, WIFEXITED(status) ? WEXITSTATUS(status) : status);
}

/* A line of the file: where its range begins and ends. */
static bool range_of(char *line, uint64_t *ret_first, uint64_t *ret_end) {
    char *start, *count;
    uint64_t first, n;

    strsep(&line, ":");
    start = strsep(&line, ":");
    count = strsep(&line, ":");
    if (!count || parse_u64(start, &first) < 0 || parse_u64(count, &n) < 0 || !n || first > UINT32_MAX || n > UINT32_MAX)
        return false;
    *ret_first = first;
    *ret_end = first + n;
    return true;
}

/* The first place from 100000 on where nobody has a range: moved behind each that is in the way, until none is. */
static int free_range(const char *path, uint64_t *ret, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_USERDB_BYTES);
    uint64_t at = RANGE_FIRST;

    if (access(path, F_OK) == 0 && fs_read_file(path, &b, e) < 0)
        return -(int)ERR_INTERNAL;
    for (bool moved = true; moved;) {
        _cleanup_free_ char *copy = strdup(buf_str(&b));
        char *text = copy;

        if (!copy)
            return err_oom(e);
        moved = false;
        for (char *line; (line = strsep(&text, "\n"));) {
            uint64_t first, end;

            if (!range_of(line, &first, &end) || first >= at + RANGE_COUNT || end <= at)
                continue;
            at = end;
            moved = true;
        }
    }
    *ret = at;
    return 0;
}

static int add_ranges(struct err *e) {
    static const char *const tools[] = {"/usr/sbin/usermod", "/sbin/usermod", NULL};
    static const char *const files[] = {"/etc/subuid", "/etc/subgid"};

    for (int g = 0; g < 2; g++) {
        uint64_t first = RANGE_FIRST;
        char range[48];
        char *argv[] = {(char *)(uintptr_t) "usermod", (char *)(uintptr_t)(g ? "-w" : "-v"), range, (char *)(uintptr_t)ACCOUNT, NULL};
        int r = free_range(files[g], &first, e);

        snprintf(range, sizeof range, "%llu-%llu", (unsigned long long)first, (unsigned long long)first + RANGE_COUNT - 1);
        if (r == 0)
            r = run_tool(tools, argv, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int make_account(struct err *e) {
    static const char *const tools[] = {"/usr/sbin/useradd", "/sbin/useradd", NULL};
    char *argv[] = {(char *)(uintptr_t) "useradd",    (char *)(uintptr_t) "--system",     (char *)(uintptr_t) "--user-group",
                    (char *)(uintptr_t) "--home",     (char *)(uintptr_t) "/nonexistent", (char *)(uintptr_t) "--shell",
                    (char *)(uintptr_t) "/bin/false", (char *)(uintptr_t)ACCOUNT,         NULL};
    const struct passwd *made;
    struct idmap has;
    int r = run_tool(tools, argv, e);

    /* Some machines give every new account its ranges. */
    made = r == 0 ? getpwnam(ACCOUNT) : NULL;
    if (made && idmap_of_user(&has, "/etc", ACCOUNT, made->pw_uid, NULL) < 0)
        r = add_ranges(e);
    if (r == 0)
        log_kv(LOG_LVL_INFO, "made an account for the users of containers", "name", ACCOUNT, NULL);
    return r < 0 ? err_wrap(e, "Error during \"%s\" user creation", ACCOUNT) : 0;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------------------------- */

/* 1: there is a map; 0: none is wanted, or (`make` false) its account would have to be made first. */
static int resolve(const char *value, bool make, struct idmap *ret, struct err *e) {
    _cleanup_(account_done) struct account account = {0};
    _cleanup_free_ char *text = str_dup(value);
    char *group = text ? strchr(text, ':') : NULL;
    const char *name = text;
    int r = 0;

    if (str_empty(value))
        return 0;
    if (!text)
        return err_oom(e);
    if (group)
        *group++ = 0;
    if (group && strchr(group, ':'))
        return err_set(e, ERR_INVALID, "Invalid user/group specification in --userns-remap: \"%s\"", value);
    if (streq(text, "default")) {
        if (!getpwnam(ACCOUNT) && !make)
            return 0;
        if (!getpwnam(ACCOUNT))
            r = make_account(e);
        name = ACCOUNT;
    }
    if (r == 0)
        r = find_account(name, &account, e);
    if (r == 0)
        r = check_group(group ? group : name, !group, e);
    if (r < 0)
        return r;
    if (streq(account.name, "root")) {
        if (make)
            log_kv(LOG_LVL_WARN, "User namespaces: root cannot be remapped with itself; user namespaces are OFF", NULL);
        return 0;
    }
    *ret = (struct idmap){0};
    r = idmap_of_user(ret, "/etc", account.name, account.uid, e);
    return r < 0 ? err_wrap(e, "Can't create ID mappings") : 1;
}

int userns_check(const char *value, struct err *e) {
    struct idmap m;
    int r = resolve(value, false, &m, e);

    return r < 0 ? r : 0;
}

int userns_find(const char *value, struct idmap *ret, struct err *e) {
    return resolve(value, true, ret, e);
}

/* ---- the data root --------------------------------------------------------------------------------------------------------------------- */

static bool may_pass(const struct stat *st, const struct idmap *m) {
    return st->st_uid == m->root_uid ? st->st_mode & S_IXUSR : st->st_gid == m->root_gid ? st->st_mode & S_IXGRP : st->st_mode & S_IXOTH;
}

/* Other runtimes go to a container's root by its path, as somebody who is not root. */
static int check_way(const struct idmap *m, const char *path, struct err *e) {
    _cleanup_free_ char *part = strdup(path);

    if (!part)
        return err_oom(e);
    for (char *slash; (slash = strrchr(part, '/')) && slash != part;) {
        struct stat st;

        *slash = 0;
        if (*part && stat(part, &st) == 0 && !may_pass(&st, m))
            return err_set(e, ERR_INVALID,
                           "a subdirectory in your graphroot path (%s) restricts access to the remapped root uid/gid; please fix by allowing 'o+x' "
                           "permissions on existing directories",
                           path);
    }
    return 0;
}

int userns_data_root(const struct idmap *m, const char *root, char **ret, struct err *e) {
    _cleanup_free_ char *path = str_printf("%s/%u.%u", root, m->root_uid, m->root_gid);
    int r = path ? fs_mkdir_p(root, 0710, e) : err_oom(e);

    if (r == 0)
        r = idmap_give_group(m, root, e);
    if (r == 0)
        r = fs_mkdir_p(path, 0710, e);
    if (r == 0 && (chmod(root, 0710) < 0 || chmod(path, 0710) < 0))
        r = err_errno(e, errno, "mode of %s", path);
    if (r == 0)
        r = idmap_give_group(m, path, e);
    if (r == 0)
        r = check_way(m, path, e);
    if (r == 0)
        *ret = TAKE_PTR(path);
    return r;
}

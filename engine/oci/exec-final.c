// SPDX-License-Identifier: Apache-2.0
/* The last part of the child: kernel settings, what it may, who it is, and execve. */
#include "oci/exec-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"

#ifndef SECCOMP_FILTER_FLAG_TSYNC
#define SECCOMP_FILTER_FLAG_TSYNC 1
#endif

/* ---- sysctls ---------------------------------------------------------------------------------------------------------- */

/* A procfs of our own that nothing can be mounted over (R3). */
int child_own_proc(struct child *c) {
    int fs, r;

    if (c->proc >= 0)
        return c->proc;
    fs = c->k->fsopen("proc", FSOPEN_CLOEXEC);
    r = fs < 0 ? fs : c->k->fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    if (r >= 0)
        r = c->k->fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    close_fd(fs);
    if (r >= 0)
        c->proc = r;
    return r;
}

void child_sysctl(struct child *c, const char *key, const char *value) {
    char path[512];
    int proc = child_own_proc(c), fd;
    ssize_t w;

    if (proc < 0)
        child_fail_errno(c, proc, "error during container init: procfs");
    snprintf(path, sizeof path, "sys/%s", key);
    fd = kern_open_in(c->k, proc, path, O_WRONLY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
    if (fd < 0)
        child_fail_errno(c, fd, "error during container init: open /proc/sys/%s", key);
    w = c->k->write(fd, value, strlen(value));
    close_fd(fd);
    if (w < 0)
        child_fail_errno(c, (int)w, "error during container init: write /proc/sys/%s", key);
}

/* The profile comes into force with execve. By the procfs of our own: the container's may be a trap (R3). */
static void set_apparmor(struct child *c, const char *profile) {
    char path[64], text[300];
    int proc = child_own_proc(c), fd, n;
    ssize_t w = -ENAMETOOLONG;

    n = snprintf(text, sizeof text, "exec %s", profile);
    snprintf(path, sizeof path, "%d/attr/apparmor/exec", (int)getpid());
    fd = proc < 0 ? proc : kern_open_in(c->k, proc, path, O_WRONLY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
    if (fd < 0)
        child_fail_errno(c, fd, "%sunable to apply apparmor profile: open /proc/self/attr/apparmor/exec",
                         c->enter ? "" : "error during container init: ");
    if (n < (int)sizeof text)
        w = c->k->write(fd, text, (size_t)n);
    close_fd(fd);
    if (w < 0)
        child_fail_errno(c, (int)w, "%sunable to apply apparmor profile: apparmor failed to apply profile: write /proc/self/attr/apparmor/exec",
                         c->enter ? "" : "error during container init: ");
}

static void names_and_sysctls(struct child *c) {
    for (size_t i = 0; i < c->p->n_ops; i++) {
        const struct plan_op *op = &c->p->ops[i];
        const char *s = plan_s(c->p, op, 0);
        int r = 0;

        if (op->type == PLAN_HOSTNAME)
            r = c->k->sethostname(s, strlen(s));
        else if (op->type == PLAN_DOMAINNAME)
            r = c->k->setdomainname(s, strlen(s));
        else if (op->type == PLAN_SYSCTL && !op->i[0])
            child_sysctl(c, s, plan_s(c->p, op, 1));
        if (r < 0)
            child_fail_errno(c, r, "error during container init: sethostname");
    }
}

/* ---- working folder, environment, program ----------------------------------------------------------------------------- */

/* 0, or -errno: the folder may only be reachable for the final user, so the caller tries twice. */
static int enter_cwd(struct child *c) {
    const struct plan_op *op = plan_find(c->p, PLAN_CWD);
    const char *path = op ? plan_s(c->p, op, 0) : "/";
    char now[4096];
    int r = c->k->chdir(path);

    if (r < 0)
        return r;
    /* R7: a folder outside of this root (a leaked descriptor) shows as "(unreachable)" */
    if (syscall(SYS_getcwd, now, sizeof now) < 0)
        child_fail_errno(c, errno,
                         "current working directory is outside of container mount namespace root -- possible container breakout detected: getcwd");
    if (now[0] != '/')
        child_fail(c, EPERM, "current working directory is outside of container mount namespace root -- possible container breakout detected");
    return 0;
}

static void cwd_failed(struct child *c, int r) {
    const struct plan_op *op = plan_find(c->p, PLAN_CWD);

    child_fail_errno(c, r, "chdir to cwd (\"%s\") set in config.json failed", op ? plan_s(c->p, op, 0) : "/");
}

/* HOME from the container's user database, read with the limits of R23. */
static void find_home(uid_t uid, char *ret, size_t cap) {
    struct stat st;
    char *map = MAP_FAILED, digits[16];
    int fd = open("/etc/passwd", O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    size_t n_digits = (size_t)snprintf(digits, sizeof digits, "%u", (unsigned)uid);

    snprintf(ret, cap, "/");
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && (size_t)st.st_size <= LIMIT_USERDB_BYTES)
        map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close_fd(fd);
    if (map == MAP_FAILED)
        return;
    for (const char *p = map, *end = map + st.st_size; p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p)), *f[6] = {0};
        int n = 0;

        nl = nl ? nl : end;
        for (const char *q = p; n < 6 && (q = memchr(q, ':', (size_t)(nl - q))); q++)
            f[n++] = q;
        if (n >= 5 && (size_t)(f[2] - f[1] - 1) == n_digits && memcmp(f[1] + 1, digits, n_digits) == 0) {
            const char *stop = n > 5 ? f[5] : nl;

            if (stop > f[4] + 1 && (size_t)(stop - f[4]) < cap)
                snprintf(ret, cap, "%.*s", (int)(stop - f[4] - 1), f[4] + 1);
            break;
        }
        p = nl + 1;
    }
    munmap(map, (size_t)st.st_size);
}

/* Pointer arrays for execve, in fresh pages. `home` (NULL: none) takes the place of HOME in the list. */
static char **vector(struct child *c, const struct plan_op *op, int k, const char *home) {
    size_t n = plan_list_n(c->p, op, k) + 2, at = 0;
    char **v = mmap(NULL, n * sizeof *v, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (v == MAP_FAILED)
        child_fail_errno(c, errno, "error during container init");
    for (const char *s = NULL; (s = plan_list_next(c->p, op, k, s));)
        if (!home || !str_has_prefix(s, "HOME="))
            v[at++] = (char *)(uintptr_t)s;
    if (home)
        v[at++] = (char *)(uintptr_t)home;
    v[at] = NULL;
    return v;
}

static const char *env_value(char *const *env, const char *name) {
    size_t n = strlen(name);
    const char *found = NULL;

    for (; *env; env++)
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
            found = *env + n + 1;
    return found;
}

/* As Go's exec.LookPath judges: 0, or -errno. */
static int executable(const char *path) {
    struct stat st;

    if (stat(path, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

/* The name between quotes, as Go's %q escapes it; what does not fit is cut. */
static const char *quoted(const char *s, char *ret, size_t max) {
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;

    for (; *s && n + 5 < max; s++) {
        unsigned char ch = (unsigned char)*s;

        if (ch == '"' || ch == '\\') {
            ret[n++] = '\\';
            ret[n++] = (char)ch;
        } else if (ch == '\n' || ch == '\t' || ch == '\r') {
            ret[n++] = '\\';
            ret[n++] = ch == '\n' ? 'n' : ch == '\t' ? 't' : 'r';
        } else if (ch < 32 || ch == 127) {
            ret[n++] = '\\';
            ret[n++] = 'x';
            ret[n++] = hex[ch >> 4];
            ret[n++] = hex[ch & 15];
        } else {
            ret[n++] = (char)ch;
        }
    }
    ret[n] = 0;
    return ret;
}

static void find_program(struct child *c, const char *arg, char *const *env, char ret[4096]) {
    const char *path = env_value(env, "PATH");
    char word[64], name[4096];
    int r;

    if (strchr(arg, '/')) {
        r = executable(arg);
        if (r == -EISDIR || r == -EACCES)
            child_fail(c, -r, "exec: \"%s\": %s", quoted(arg, name, sizeof name), oci_strerror(r, word));
        if (r < 0)
            child_fail_errno(c, r, "exec: \"%s\": stat %s", quoted(arg, name, sizeof name), arg);
        snprintf(ret, 4096, "%s", arg);
        return;
    }
    for (const char *p = path; *arg && p && *p; p += strcspn(p, ":"), p += *p == ':') {
        int n = (int)strcspn(p, ":");

        if (n && snprintf(ret, 4096, "%.*s/%s", n, p, arg) < 4096 && executable(ret) == 0)
            return;
    }
    child_fail(c, ENOENT, "exec: \"%s\": executable file not found in $PATH", quoted(arg, name, sizeof name));
}

/* ---- rights ----------------------------------------------------------------------------------------------------------- */

static void set_rlimits(struct child *c) {
    for (size_t i = 0; i < c->p->n_ops; i++) {
        const struct plan_op *op = &c->p->ops[i];
        struct rlimit l = {.rlim_cur = (rlim_t)op->i[1], .rlim_max = (rlim_t)op->i[2]};
        int r = op->type == PLAN_RLIMIT ? c->k->prlimit(0, (int)op->i[0], &l) : 0;

        if (r < 0)
            child_fail_errno(c, r, "%serror setting rlimits for ready process: error setting rlimit type %d",
                             c->enter ? "" : "error during container init: ", (int)op->i[0]);
    }
}

static void set_capset(struct child *c, uint64_t permitted, uint64_t effective, uint64_t inheritable) {
    struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct d[2] = {{(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
                                          {(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)}};
    int r = c->k->capset(&h, d);

    if (r < 0)
        child_fail_errno(c, r, "unable to apply caps");
}

/* What the process has now: no capability can be asked for that is not there. */
static uint64_t held_caps(void) {
    struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct d[2] = {0};

    if (syscall(SYS_capget, &h, d) < 0)
        return 0;
    return d[0].permitted | (uint64_t)d[1].permitted << 32;
}

/* The kernel says where its capabilities end: EINVAL for the first number it does not know. */
static void drop_bounding(struct child *c, uint64_t keep) {
    for (int n = 0; n < 64; n++) {
        int r = keep & 1ULL << n ? 0 : c->k->prctl(PR_CAPBSET_DROP, (unsigned long)n, 0, 0, 0);

        if (r == -EINVAL)
            return;
        if (r < 0)
            child_fail_errno(c, r, "unable to apply bounding set");
    }
}

/* One of the numbers is nobody in the user namespace: that of the user is named first, then its group's. */
static void __attribute__((noreturn)) groups_failed(struct child *c, const struct plan_op *user) {
    bool no_gid = c->k->setresgid((gid_t)user->i[1], (gid_t)user->i[1], (gid_t)user->i[1]) == -EINVAL;
    bool no_uid = c->k->setresuid((uid_t)user->i[0], (uid_t)user->i[0], (uid_t)user->i[0]) == -EINVAL;

    if (no_uid || no_gid)
        child_fail(c, EINVAL, "unable to setup user: cannot set %s to unmapped user in user namespace", no_uid ? "uid" : "gid");
    child_fail_errno(c, EINVAL, "unable to setup user: setgroups");
}

static void become_user(struct child *c, const struct plan_op *user) {
    int r;

    r = c->k->setgroups(plan_sn(c->p, user, 0) / sizeof(gid_t), (const gid_t *)(const void *)plan_s(c->p, user, 0));
    if (r == -EINVAL)
        groups_failed(c, user);
    if (r < 0 && !(r == -EPERM && plan_sn(c->p, user, 0) == 0))
        child_fail_errno(c, r, "unable to setup user: setgroups");
    r = c->k->setresgid((gid_t)user->i[1], (gid_t)user->i[1], (gid_t)user->i[1]);
    if (r == -EINVAL)
        child_fail(c, EINVAL, "unable to setup user: cannot set gid to unmapped user in user namespace");
    if (r < 0)
        child_fail_errno(c, r, "unable to setup user: setgid");
    r = c->k->setresuid((uid_t)user->i[0], (uid_t)user->i[0], (uid_t)user->i[0]);
    if (r == -EINVAL)
        child_fail(c, EINVAL, "unable to setup user: cannot set uid to unmapped user in user namespace");
    if (r < 0)
        child_fail_errno(c, r, "unable to setup user: setuid");
    umask(user->i[2] < 0 ? 0022 : (mode_t)user->i[2]);
}

static void load_seccomp(struct child *c) {
    for (size_t i = 0; i < c->p->n_ops; i++) {
        const struct plan_op *op = &c->p->ops[i];
        struct sock_fprog f;
        int r;

        if (op->type != PLAN_SECCOMP)
            continue;
        f = (struct sock_fprog){.len = (unsigned short)(plan_sn(c->p, op, 0) / sizeof(struct sock_filter)),
                                .filter = (struct sock_filter *)(uintptr_t)plan_s(c->p, op, 0)};
        r = c->k->seccomp(SECCOMP_SET_MODE_FILTER, (unsigned)op->i[0], &f);
        if (r < 0)
            child_fail_errno(c, r, "unable to init seccomp: error loading seccomp filter into kernel");
    }
}

/* Owners of the standard streams, so that a program of another user can open /dev/stdout again. */
static void give_stdio(const struct plan_op *user) {
    struct stat st;

    for (int n = 0; n < 3; n++)
        if (fstat(n, &st) == 0 && !(S_ISCHR(st.st_mode) && st.st_rdev == 0x103) && st.st_uid != (uid_t)user->i[0] &&
            (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
            ignore_result(fchown(n, (uid_t)user->i[0], (gid_t)-1));
}

static void wait_at_gate(struct child *c) {
    char type = SYNC_GATE;
    int fd;

    if (c->spawn->gate_fd < 0)
        return;
    ignore_result(send(c->sync, &type, 1, MSG_NOSIGNAL));
    do
        fd = accept4(c->spawn->gate_fd, NULL, NULL, SOCK_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        _exit(1);
    /* From here on the one who opened the gate hears about failures. */
    ignore_result(dup3(fd, c->sync, O_CLOEXEC));
    close_fd(fd);
}

/*
 * The program was found and may be executed, but the kernel does not want it (another machine's format, no interpreter). As with the reference the
 * container counts as started; the reason is on its standard error and its code is 1.
 */
static void __attribute__((noreturn)) exec_failed(struct child *c, int r, const char *program) {
    char text[4300], word[64];
    int n = snprintf(text, sizeof text, "exec %s: %s\n", program, oci_strerror(r, word));

    ignore_result(write(2, text, (size_t)n));
    _exit(1);
}

void child_final(struct child *c) {
    static const struct plan_op no_user = {.i = {0, 0, -1}};
    const struct plan_op *user = plan_find(c->p, PLAN_USER), *caps = plan_find(c->p, PLAN_CAPS), *exec = plan_find(c->p, PLAN_EXEC);
    const struct plan_op *keyring = plan_find(c->p, PLAN_KEYRING), *profile = plan_find(c->p, PLAN_APPARMOR);
    bool nnp = plan_find(c->p, PLAN_NO_NEW_PRIVS);
    char program[4096], home[4096 + 8] = "HOME=";
    uint64_t all = held_caps();
    char **argv, **env;
    struct oci_fault hook_fault = {0};
    int cwd_result, r;

    user = user ? user : &no_user;
    if (!exec || !plan_list_n(c->p, exec, 0))
        child_fail(c, EINVAL, "exec: no command specified");
    names_and_sysctls(c);
    if (keyring)
        ignore_result(c->k->join_session_keyring(plan_s(c->p, keyring, 0)));
    if (profile)
        set_apparmor(c, plan_s(c->p, profile, 0));
    set_rlimits(c);
    argv = vector(c, exec, 0, NULL);
    env = vector(c, exec, 1, NULL);
    if (str_empty(env_value(env, "HOME"))) {
        find_home((uid_t)user->i[0], home + 5, sizeof home - 5);
        env = vector(c, exec, 1, home);
    }
    cwd_result = enter_cwd(c);
    if (cwd_result < 0 && cwd_result != -EACCES)
        cwd_failed(c, cwd_result);
    give_stdio(user);
    r = c->k->close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    if (r < 0 && r != -ENOSYS && r != -EINVAL)
        child_fail_errno(c, r, "close_range");
    if (nnp) {
        r = c->k->prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (r < 0)
            child_fail_errno(c, r, "prctl no_new_privs");
    }
    if (caps)
        drop_bounding(c, (uint64_t)caps->i[0]);
    ignore_result(c->k->prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
    become_user(c, user);
    if (cwd_result < 0) {
        cwd_result = enter_cwd(c);
        if (cwd_result < 0)
            cwd_failed(c, cwd_result);
    }
    find_program(c, argv[0], env, program);
    wait_at_gate(c);
    if (!c->enter && run_hooks(c->k, c->p, PLAN_HOOK_START_CONTAINER, getpid(), "created", &hook_fault) < 0)
        child_fail(c, hook_fault.errnum, "%s", hook_fault.text);
    /* The filter needs CAP_SYS_ADMIN or no_new_privs; after it only capset, prctl and execve are called. */
    if (caps)
        set_capset(c, all, all, 0);
    if (!caps || !nnp)
        load_seccomp(c);
    if (caps) {
        uint64_t ambient = (uint64_t)caps->i[4];

        set_capset(c, (uint64_t)caps->i[1] & all, (uint64_t)caps->i[2] & all, (uint64_t)caps->i[3] & all);
        for (int n = 0; n < 63 && ambient; n++)
            if (ambient & 1ULL << n)
                ignore_result(c->k->prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, (unsigned long)n, 0, 0));
    }
    ignore_result(c->k->prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0));
    if (caps && nnp)
        load_seccomp(c);
    r = c->k->execve(program, argv, env);
    exec_failed(c, r, program);
}

// SPDX-License-Identifier: Apache-2.0
/* Sections: folders, pid file, identity; managers; listeners; up and down. */
#include "daemon/startup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/server.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "container/container.h"
#include "daemon/userns.h"
#include "db/db.h"
#include "db/journal.h"
#include "exec/exec.h"
#include "image/image.h"
#include "kern/apparmor.h"
#include "layers/layers.h"
#include "monitor/client.h"
#include "network/network.h"
#include "registry/registry.h"
#include "system/events.h"
#include "system/system.h"
#include "volume/volume.h"
#include "wire/loop.h"

#define COMPATIBLE_VERSION "26.1.5"
#define DEFAULT_SOCKET "unix:///run/hatake/hatake.sock"

/* ---- folders, pid file, identity ------------------------------------------------------------------------------------------------ */

static bool is_folder_or_nothing(const char *path) {
    struct stat st;

    return stat(path, &st) < 0 || S_ISDIR(st.st_mode);
}

static int check_roots(const struct engine_config *c, struct err *e) {
    if (!is_folder_or_nothing(c->data_root))
        return err_set(e, ERR_INVALID, "Unable to get the full path to root (%s): canonical path points to a file '%s'", c->data_root, c->data_root);
    if (!is_folder_or_nothing(c->exec_root))
        return err_set(e, ERR_INVALID, "mkdir %s: not a directory", c->exec_root);
    return 0;
}

static int make_folders(const struct engine_config *c, const struct idmap *ids, struct err *e) {
    _cleanup_free_ char *containers = str_printf("%s/containers", c->data_root), *tmp = str_printf("%s/tmp", c->data_root);
    int r;

    if (!containers || !tmp)
        return err_oom(e);
    r = fs_mkdir_p(c->data_root, 0710, e);
    if (r == 0)
        r = fs_mkdir_p(c->exec_root, 0711, e);
    if (r == 0)
        r = fs_mkdir_p(containers, 0710, e);
    if (r == 0)
        r = idmap_give_group(ids, containers, e);
    if (r < 0)
        return r;
    /* What an engine that died left in tmp belongs to nobody. */
    r = fs_remove_tree(tmp, e);
    return r < 0 ? r : fs_mkdir_p(tmp, 0700, e);
}

/* Data of containers in user namespaces is apart, as its owners differ. */
static int enter_userns(struct daemon_state *d, struct err *e) {
    int r = userns_find(d->config.userns_remap, &d->ids, e);

    if (r > 0)
        d->engine.ids = &d->ids;
    if (r < 0 || str_empty(d->config.userns_remap))
        return r;
    r = userns_data_root(&d->ids, d->config.data_root, &d->data_root, e);
    if (r == 0)
        d->config.data_root = d->data_root;
    return r;
}

/* One engine for a data root: two would fight over its layers and its database. */
static int lock_data_root(struct daemon_state *d, const struct engine_config *c, struct err *e) {
    _cleanup_free_ char *path = str_printf("%s/engine.lock", c->data_root);

    if (!path)
        return err_oom(e);
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0)
        return err_errno(e, errno, "open %s", path);
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return err_set(e, ERR_CONFLICT, "another engine works on the data root %s: stop it, or give this one its own with --data-root",
                           c->data_root);
        return err_errno(e, errno, "lock %s", path);
    }
    return 0;
}

static int make_folder_of(const char *path, mode_t mode, struct err *e) {
    _cleanup_free_ char *dir = strdup(path);
    char *slash = dir ? strrchr(dir, '/') : NULL;

    if (!dir)
        return err_oom(e);
    if (!slash || slash == dir)
        return 0;
    *slash = 0;
    return fs_mkdir_p(dir, mode, e);
}

static int write_pidfile(struct daemon_state *d, const struct engine_config *c, struct err *e) {
    _cleanup_buf_ struct buf old = BUF_INIT(64);
    char text[24];
    int64_t pid;
    int r;

    if (str_empty(c->pidfile))
        return 0;
    if (fs_read_file(c->pidfile, &old, NULL) == 0) {
        buf_str(&old);
        for (size_t n = old.len; n > 0 && strchr(" \n", old.data[n - 1]); n--)
            old.data[n - 1] = 0;
        if (parse_int_range(buf_str(&old), 2, INT32_MAX, &pid) == 0 && pid != getpid() && kill((pid_t)pid, 0) == 0)
            return err_set(e, ERR_CONFLICT, "process with PID %lld is still running", (long long)pid);
    }
    snprintf(text, sizeof(text), "%d", getpid());
    r = make_folder_of(c->pidfile, 0755, e);
    if (r == 0)
        r = fs_replace_file_volatile(c->pidfile, text, strlen(text), 0644, e);
    d->pidfile_made = r == 0;
    return r;
}

/* A random UUID (RFC 9562, version 4), made once for a data root. */
static int read_identity(struct daemon_state *d, const struct engine_config *c, struct err *e) {
    _cleanup_free_ char *path = str_printf("%s/engine-id", c->data_root);
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    unsigned char u[16];

    if (!path)
        return err_oom(e);
    if (fs_read_file(path, &b, NULL) == 0 && b.len >= 8) {
        d->engine_id = strndup(buf_str(&b), strcspn(buf_str(&b), "\n"));
        return d->engine_id ? 0 : err_oom(e);
    }
    if (getrandom(u, sizeof(u), 0) != sizeof(u))
        return err_errno(e, errno, "make an engine id");
    u[6] = (unsigned char)((u[6] & 0x0f) | 0x40);
    u[8] = (unsigned char)((u[8] & 0x3f) | 0x80);
    d->engine_id = str_printf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7],
                              u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
    if (!d->engine_id)
        return err_oom(e);
    return fs_replace_file(path, d->engine_id, strlen(d->engine_id), 0600, e);
}

/* The programs beside us, or where `make install` puts them. */
static int find_libexec(struct daemon_state *d, struct err *e) {
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    _cleanup_free_ char *beside = NULL, *installed = NULL;
    char *slash;

    if (n <= 0)
        return err_errno(e, errno, "find the folder of this program");
    self[n] = 0;
    slash = strrchr(self, '/');
    *slash = 0;
    beside = str_printf("%s/hatake-monitor", self);
    installed = str_printf("%s/../libexec/hatake/hatake-monitor", self);
    if (!beside || !installed)
        return err_oom(e);
    if (fs_exists(beside))
        d->libexec_dir = strdup(self);
    else if (fs_exists(installed))
        d->libexec_dir = str_printf("%s/../libexec/hatake", self);
    else
        return err_set(e, ERR_INTERNAL, "hatake-monitor is neither in %s nor in %s/../libexec/hatake: the installation is incomplete", self, self);
    return d->libexec_dir ? 0 : err_oom(e);
}

/* ---- managers ------------------------------------------------------------------------------------------------------------------------- */

static int start_launcher(struct daemon_state *d, struct err *e) {
    const struct engine_config *c = d->engine.config;
    _cleanup_free_ char *monitor = str_printf("%s/hatake-monitor", d->libexec_dir);
    struct launcher_config lc = {.monitor_path = monitor, .data_root = c->data_root, .exec_root = c->exec_root};

    return monitor ? launcher_new(&lc, &d->engine.launcher, e) : err_oom(e);
}

static int open_database(struct daemon_state *d, struct err *e) {
    _cleanup_free_ char *path = str_printf("%s/engine.db", d->engine.config->data_root);
    int r = path ? db_open(path, &d->engine.db, e) : err_oom(e);

    return r < 0 ? r : journal_setup(d->engine.db, e);
}

/* The file is read once: what it says later does not change what containers get. What is wrong inside of it is told at their start. */
static int load_seccomp(struct daemon_state *d, struct err *e) {
    const char *path = d->engine.config->seccomp_profile;
    _cleanup_err_ struct err why = ERR_INIT;
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_JSON_BODY);
    struct stat st;

    if (str_empty(path) || streq(path, "builtin") || streq(path, "unconfined"))
        return 0;
    if (stat(path, &st) < 0)
        return err_set(e, ERR_INVALID, "opening seccomp profile (%s) failed: open %s: %s", path, path,
                       errno == ENOENT ? "no such file or directory" : strerrordesc_np(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INVALID, "opening seccomp profile (%s) failed: read %s: %s", path, path,
                       S_ISDIR(st.st_mode) ? "is a directory" : "not a regular file");
    if (fs_read_file(path, &text, &why) < 0)
        return err_set(e, ERR_INVALID, "opening seccomp profile (%s) failed: %s", path, err_msg(&why));
    d->seccomp_text = buf_take(&text);
    d->engine.seccomp_text = d->seccomp_text;
    return d->seccomp_text ? 0 : err_oom(e);
}

/* Layers of the other driver would be in the database and out of reach. */
static int check_driver(const struct engine_config *c, struct layers *layers, struct err *e) {
    const char *now = layers_driver_name(layers), *other = streq(now, "vfs") ? "overlay2" : "vfs";
    _cleanup_free_ char *path = str_printf("%s/%s", c->data_root, other);
    DIR *dir = path ? opendir(path) : NULL;
    struct dirent *d;
    bool used = false;

    if (!path)
        return err_oom(e);
    while (dir && (d = readdir(dir)))
        used = used || (d->d_name[0] != '.' && !streq(d->d_name, "l"));
    if (dir)
        closedir(dir);
    if (used)
        return err_set(e, ERR_CONFLICT,
                       "error initializing graphdriver: the data root %s holds images of %s, and the storage driver is %s: start with "
                       "--storage-driver %s, or with "
                       "another --data-root",
                       c->data_root, other, now, other);
    return 0;
}

static int start_managers(struct daemon_state *d, struct err *e) {
    struct engine *en = &d->engine;
    _cleanup_err_ struct err unconfined = ERR_INIT;
    struct layers_config lc = {.data_root = en->config->data_root,
                               .driver = str_empty(en->config->storage_driver) ? NULL : en->config->storage_driver,
                               .libexec_dir = en->libexec_dir,
                               .ids = en->ids};
    int r = loop_new("streams", &en->loop, e);

    if (r == 0)
        r = loop_start(en->loop, e);
    if (r == 0)
        r = events_new(en->loop, &en->events, e);
    if (r == 0)
        r = layers_new(en->db, &lc, &en->layers, e);
    if (r == 0)
        r = check_driver(en->config, en->layers, e);
    if (r == 0)
        r = registry_new(en->config, &en->registry, e);
    if (r == 0)
        r = images_new(en, &en->images, e);
    if (r == 0)
        r = networks_new(en, &en->networks, e);
    if (r == 0)
        r = volumes_new(en, &en->volumes, e);
    if (r == 0)
        r = execs_new(en, &en->execs, e);
    if (r == 0)
        r = containers_new(en, &en->containers, e);
    if (r < 0)
        return r;
    d->adopted = true;
    r = containers_adopt(en->containers, e);
    if (r == 0)
        r = system_facts_read(&d->facts, e); /* the networks have set what they need */
    en->facts = &d->facts;
    if (r == 0 && apparmor_usable() && apparmor_load_default(&unconfined) < 0)
        log_error("%s", err_msg(&unconfined)); /* a start tries again, and says so itself */
    return r;
}

/* ---- listeners -------------------------------------------------------------------------------------------------------------------------- */

/* Group of the socket: a name or a number. Only the default one may be missing: then only root can connect. */
static int socket_group(const struct engine_config *c, gid_t *ret, struct err *e) {
    struct group *g = str_empty(c->group) ? NULL : getgrnam(c->group);
    int64_t number;

    *ret = (gid_t)-1;
    if (g)
        *ret = g->gr_gid;
    else if (!str_empty(c->group) && parse_int_range(c->group, 0, UINT32_MAX - 1, &number) == 0)
        *ret = (gid_t)number;
    else if (streq_ptr(c->group, "docker"))
        log_kv(LOG_LVL_WARN, "the group of the socket does not exist: only root can connect", "group", c->group, NULL);
    else if (!str_empty(c->group))
        return err_set(e, ERR_NOT_FOUND, "group %s not found", c->group);
    return 0;
}

static int listen_tcp(struct daemon_state *d, const char *address, struct err *e) {
    const struct engine_config *c = d->engine.config;
    struct server_tls tls = {c->tlscacert, c->tlscert, c->tlskey, c->tlsverify};

    if (c->tls || c->tlsverify)
        return server_listen_tcp(d->server, address, &tls, e);
    log_kv(LOG_LVL_WARN, "the API is served without encryption and without asking who is there: whoever reaches this address is root on this machine",
           "address", address, NULL);
    return server_listen_tcp(d->server, address, NULL, e);
}

static int listen_unix(struct daemon_state *d, const char *path, struct err *e) {
    gid_t group;
    int r = socket_group(d->engine.config, &group, e);

    if (r == 0)
        r = make_folder_of(path, 0711, e);
    return r < 0 ? r : server_listen_unix(d->server, path, group, 0660, e);
}

static int listen_one(struct daemon_state *d, const char *host, struct err *e) {
    const char *rest;
    int r;

    if ((rest = str_after(host, "unix://")))
        r = listen_unix(d, *rest ? rest : str_after(DEFAULT_SOCKET, "unix://"), e);
    else if ((rest = str_after(host, "fd://")))
        r = server_listen_passed(d->server, rest, e);
    else if (str_has_prefix(host, "npipe://"))
        r = err_set(e, ERR_INVALID, "invalid protocol format: \"npipe\"");
    else if ((rest = str_after(host, "tcp://")))
        r = listen_tcp(d, *rest ? rest : "127.0.0.1:2375", e);
    else
        r = listen_tcp(d, host, e);
    if (r < 0)
        return r;
    log_kv(LOG_LVL_INFO, "API listen on", "address", host, NULL);
    return 0;
}

static int start_listeners(struct daemon_state *d, struct err *e) {
    const struct strv *hosts = &d->engine.config->hosts;
    int r = server_new(&d->engine, &d->server, e);

    if (r == 0 && hosts->n == 0)
        r = listen_one(d, DEFAULT_SOCKET, e);
    for (size_t i = 0; i < hosts->n && r == 0; i++)
        r = listen_one(d, *hosts->v[i] ? hosts->v[i] : DEFAULT_SOCKET, e);
    return r;
}

/* ---- up and down ---------------------------------------------------------------------------------------------------------------------------- */

int startup_up(struct daemon_state *d, const struct engine_config *config, struct err *e) {
    int r;

    *d = (struct daemon_state){.lock_fd = -EBADF};
    d->config = *config;
    d->engine.config = config = &d->config;
    d->engine.version = COMPATIBLE_VERSION;
    d->engine.started_at = clock_wall_ns();
    r = startup_check(config, e);
    if (r == 0)
        r = check_roots(config, e);
    if (r == 0)
        r = enter_userns(d, e);
    if (r < 0)
        return r;
    r = load_seccomp(d, e);
    if (r == 0)
        r = make_folders(config, d->engine.ids, e);
    if (r == 0)
        r = lock_data_root(d, config, e);
    if (r == 0)
        r = write_pidfile(d, config, e);
    if (r == 0)
        r = read_identity(d, config, e);
    if (r == 0)
        r = find_libexec(d, e);
    if (r < 0)
        return err_wrap(e, "failed to start daemon");
    d->engine.id = d->engine_id;
    d->engine.libexec_dir = d->libexec_dir;
    r = start_launcher(d, e);
    if (r == 0)
        r = open_database(d, e);
    if (r == 0)
        r = start_managers(d, e);
    if (r < 0)
        return err_wrap(e, "failed to start daemon");
    r = start_listeners(d, e);
    return r < 0 ? err_wrap(e, "failed to load listeners") : 0;
}

bool startup_down(struct daemon_state *d) {
    struct engine *en = &d->engine;
    bool quiet = true;

    if (d->server)
        quiet = server_stop(d->server, 3 * NSEC_PER_SEC);
    if (en->containers && d->adopted)
        containers_shutdown(en->containers);
    if (d->pidfile_made)
        unlink(en->config->pidfile);
    if (!quiet)
        return false;
    server_free(d->server);
    if (en->loop)
        loop_stop(en->loop);
    /* First no more news from monitors, then nobody who could hear them. */
    launcher_free(en->launcher);
    execs_free(en->execs);
    containers_free(en->containers);
    volumes_free(en->volumes);
    networks_free(en->networks);
    images_free(en->images);
    registry_free(en->registry);
    layers_free(en->layers);
    events_free(en->events);
    loop_free(en->loop);
    db_close(en->db);
    close_fd(d->lock_fd);
    system_facts_done(&d->facts);
    free(d->data_root);
    free(d->engine_id);
    free(d->libexec_dir);
    free(d->seccomp_text);
    return true;
}

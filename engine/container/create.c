// SPDX-License-Identifier: Apache-2.0
#include "container/create.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/idmap.h"
#include "base/log.h"
#include "base/str.h"
#include "container/links.h"
#include "container/logopts.h"
#include "container/more.h"
#include "container/mounts.h"
#include "container/netting.h"
#include "container/reaper.h"
#include "container/root.h"
#include "container/validate.h"
#include "image/image.h"
#include "image/platform.h"

#define NAME_TRIES 6

void ctr_create_done(struct ctr_create *req) {
    api_container_config_done(&req->config);
    api_host_config_done(&req->host);
    api_networking_config_done(&req->networking);
}

/* ---- name ---------------------------------------------------------------------------------------------------------------------- */
static int wanted_name(struct containers *cs, const char *asked, int attempt, char ret[256], struct err *e) {
    const char *name = asked && asked[0] == '/' ? asked + 1 : asked;
    struct container *holder;
    char id[65] = "";

    if (str_empty(asked)) {
        ctr_name_random(attempt, ret);
        return 0;
    }
    if (!ctr_name_valid(name) || strlen(name) > 255)
        return err_set(e, ERR_INVALID, "Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", asked);
    pthread_mutex_lock(&cs->lock);
    holder = map_get(&cs->by_name, name);
    if (holder)
        memcpy(id, holder->id, sizeof(id));
    pthread_mutex_unlock(&cs->lock);
    if (*id)
        return err_set(e, ERR_CONFLICT,
                       "Conflict. The container name \"/%s\" is already in use by container \"%s\". You have to remove (or rename) that container to "
                       "be able to reuse that name.",
                       name, id);
    memcpy(ret, name, strlen(name) + 1);
    return 0;
}

/* ---- image ---------------------------------------------------------------------------------------------------------------------- */
static const char *slash_before(const char *text) {
    return str_empty(text) ? "" : "/";
}

static int warn_of_platform(const char *os, const char *arch, const char *variant, struct strv *warnings, struct err *e) {
    struct platform machine;
    char host[TEXT_PLATFORM];
    int r = platform_parse(NULL, &machine, e);

    if (r < 0 || platform_rank(&machine, os, str_empty(arch) ? machine.arch : arch, str_empty(variant) ? "" : variant) >= 0)
        return r;
    platform_print_host(host);
    r = strv_addf(warnings,
                  "The requested image's platform (%s/%s%s%s) does not match the detected host platform (%s) and no specific platform was requested",
                  os, arch, slash_before(variant), str_empty(variant) ? "" : variant, host);
    return r < 0 ? err_oom(e) : 0;
}

static int check_platform(const struct ctr_create *req, const struct platform *want, const struct image *img, struct strv *warnings, struct err *e) {
    const char *os = str_empty(image_os(img)) ? "linux" : image_os(img), *arch = image_architecture(img), *variant = image_variant(img);

    if (!want->given)
        return warn_of_platform(os, arch, variant, warnings, e);
    if (streq(want->os, os) && (str_empty(arch) || streq(want->arch, arch)) && (!*want->told || str_empty(variant) || streq(want->told, variant)))
        return 0;
    return err_set(e, ERR_NOT_FOUND,
                   "image with reference %s was found but does not match the specified platform: wanted %s/%s%s%s, actual: %s/%s%s%s",
                   req->config.image, want->os, want->arch, slash_before(want->told), want->told, os, arch, slash_before(variant),
                   str_empty(variant) ? "" : variant);
}

/* ---- the record ------------------------------------------------------------------------------------------------------------------- */
static int command(struct ctr_fixed *f, struct err *e) {
    struct api_container_config *c = &f->config;
    int r = 0;

    if (c->entrypoint.n == 1 && c->entrypoint.v[0][0] == '\0')
        api_string_list_done(&c->entrypoint);
    if (c->entrypoint.n == 0 && c->cmd.n == 0)
        return err_set(e, ERR_INVALID, "no command specified");
    if (str_set(&f->path, c->entrypoint.n ? c->entrypoint.v[0] : c->cmd.v[0]) < 0)
        return err_oom(e);
    for (size_t i = 1; r >= 0 && i < c->entrypoint.n; i++)
        r = api_string_list_add(&f->args, c->entrypoint.v[i], e);
    for (size_t i = c->entrypoint.n ? 0 : 1; r >= 0 && i < c->cmd.n; i++)
        r = api_string_list_add(&f->args, c->cmd.v[i], e);
    f->args.set = true;
    return r;
}

static int names_and_paths(struct containers *cs, struct ctr_fixed *f, struct err *e) {
    struct api_container_config *c = &f->config;
    _cleanup_free_ char *dir = NULL;
    char host[256] = "";
    int r;

    if (str_empty(c->hostname)) {
        if (ctr_mode_is(f->host.network_mode, "host"))
            gethostname(host, sizeof(host) - 1);
        else
            memcpy(host, f->id, ID_SHORT_LEN);
        if (str_set(&c->hostname, host) < 0)
            return err_oom(e);
    }
    if (!str_empty(c->working_dir)) {
        char *clean = ctr_clean_path(c->working_dir);

        if (!clean)
            return err_oom(e);
        free(c->working_dir);
        c->working_dir = clean;
    }
    dir = str_printf("%s/containers/%s", cs->engine->config->data_root, f->id);
    if (!dir)
        return err_oom(e);
    r = ctr_log_file(f->host.log_config, dir, f->id, &f->log_file, e);
    if (r < 0)
        return r;
    f->log_path = strdup(ctr_mode_is(f->host.log_config->type, "json-file") && f->log_file ? f->log_file : "");
    f->driver = strdup(layers_driver_name(cs->engine->layers));
    f->platform = strdup("linux");
    if (!f->log_file || !f->log_path || !f->driver || !f->platform)
        return err_oom(e);
    return 0;
}

/* "container:NAME" is kept with the id of that container, so that it outlives a rename. */
static int keep_by_id(char **mode, const struct container *other, struct err *e) {
    char *by_id = str_printf("container:%s", other->id);

    if (!by_id)
        return err_oom(e);
    free(*mode);
    *mode = by_id;
    return 0;
}

/* Other containers named in modes must exist now, but for the one whose network is shared: that is asked for with the start. */
static int resolve_modes(struct containers *cs, struct api_host_config *h, struct err *e) {
    char **const modes[] = {&h->ipc_mode, &h->pid_mode, &h->network_mode};
    int r = 0;

    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(modes); i++) {
        const char *ref = ctr_mode_container(*modes[i]);
        _cleanup_container_ struct container *other = NULL;
        bool must_exist = modes[i] != &h->network_mode;

        if (str_empty(ref))
            continue;
        if (containers_find(cs, ref, &other, must_exist ? e : NULL) >= 0) {
            r = keep_by_id(modes[i], other, e);
        } else if (must_exist) {
            if (e)
                e->kind = ERR_INVALID;
            r = -(int)ERR_INVALID;
        }
    }
    return r;
}

int ctr_name_default_network(struct api_networking_config *n, const char *mode, struct err *e) {
    struct api_endpoint_settings_map *m = &n->endpoints_config;
    bool by_default = str_empty(mode) || streq(mode, "default");

    for (size_t i = 0; by_default && i < m->n; i++) {
        if (streq(m->v[i].key, "default") && str_set(&m->v[i].key, "bridge") < 0)
            return err_oom(e);
    }
    return 0;
}

/* NetworkSettings of a container that never ran: a place on each network, without addresses. */
static int first_net(const struct ctr_fixed *f, struct ctr_net **ret, struct err *e) {
    struct ctr_net *n = ctr_net_new();
    const struct api_endpoint_settings_map *want = &f->networking.endpoints_config;
    const char *mode = f->host.network_mode;
    size_t count = want->n ? want->n : 1;

    if (!n)
        return err_oom(e);
    n->s.ports.set = true;
    n->s.networks.set = true;
    if (!ctr_mode_container(mode) && !(f->config.has_network_disabled && f->config.network_disabled)) {
        n->s.networks.v = calloc(count, sizeof(*n->s.networks.v));
        if (!n->s.networks.v)
            goto oom;
        for (size_t i = 0; i < count; i++) {
            const struct api_endpoint_settings *w = want->n ? want->v[i].value : NULL;
            struct api_endpoint_settings *ep = api_endpoint_settings_new();

            n->s.networks.n = i + 1;
            n->s.networks.v[i].value = ep;
            n->s.networks.v[i].key = strdup(want->n ? want->v[i].key : mode);
            if (!ep || !n->s.networks.v[i].key || str_set(&ep->mac_address, w ? w->mac_address : NULL) < 0)
                goto oom;
            if (w && net_copy_wanted(w, ep, e) < 0)
                goto oom;
            /* The fields from before there were several networks tell of the default one. */
            if (streq(n->s.networks.v[i].key, "bridge") && str_set(&n->s.mac_address, ep->mac_address) < 0)
                goto oom;
        }
    }
    *ret = n;
    return 0;
oom:
    ctr_net_unref(n);
    return err_oom(e);
}

static struct ctr_view *first_view(struct ctr_fixed *f, struct ctr_net *net, const char *name) {
    struct ctr_view *v = calloc(1, sizeof(*v));

    if (!v)
        return NULL;
    atomic_init(&v->refs, 1);
    v->fixed = ctr_fixed_ref(f);
    v->net = ctr_net_ref(net);
    v->name = strdup(name);
    v->error = strdup("");
    v->state = ctr_created;
    v->started_at = v->finished_at = CLOCK_ZERO;
    return v->name && v->error ? v : ctr_view_unref(v);
}

/* ---- what lies on disk ------------------------------------------------------------------------------------------------------------ */
struct made {
    struct containers *cs;
    const char *id;
    const struct ctr_mounts *mounts;
    bool layer, no_working_dir;
    struct volume **volumes;
    size_t n_volumes;
};

static void unmake(struct made *m) {
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_free_ char *dir = NULL;

    if (!m->cs)
        return;
    dir = str_printf("%s/containers/%s", m->cs->engine->config->data_root, m->id);
    ctr_mounts_release(m->cs, m->id, m->mounts, m->volumes, m->n_volumes, true);
    if (m->layer && layers_container_remove(m->cs->engine->layers, m->id, &e) < 0)
        log_kv(LOG_LVL_WARN, "the layer of a container that could not be created stays", "container", m->id, "error", err_msg(&e), NULL);
    if (dir)
        ignore_result(fs_remove_tree(dir, NULL));
}

/* A working directory of the request's own must be one, or something that can become one. */
static int check_working_dir(struct launcher *launcher, const struct layers_rootfs *rootfs, const char *path, bool *ret_missing, struct err *e) {
    _cleanup_close_ int root = -EBADF;
    int fd, r = ctr_root_open(launcher, rootfs, &root, e);

    if (r < 0)
        return r;
    fd = ctr_root_openat(root, path, O_PATH | O_DIRECTORY);
    close_fd(fd);
    if (fd == -ENOTDIR) {
        fd = ctr_root_openat(root, path, O_PATH);
        close_fd(fd);
        return fd == -ENOTDIR ? err_set(e, ERR_INTERNAL, "lstat %s%s: not a directory", rootfs->merged, path)
                              : err_set(e, ERR_INTERNAL, "Cannot mkdir: %s is not a directory", path);
    }
    *ret_missing = fd == -ENOENT;
    return 0;
}

/* It is there before the first start, so that files can be copied to it. */
static void make_working_dir(struct container *c, const char *path) {
    struct ctr_files_options o = {.path = path, .shown = c->id};
    struct ctr_files_io io = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    if (container_files(c, CTR_FILES_FOLDER, &o, &io, &e) < 0)
        log_kv(LOG_LVL_WARN, "the working directory is only made at the start", "container", c->id, "error", err_msg(&e), NULL);
}

struct naming {
    struct layers *layers;
    char id[65];
};

static void name_folders(void *arg) {
    struct naming *n = arg;

    layers_container_name(n->layers, n->id);
    free(n);
}

/* While this thread waits for the disk, and perhaps longer: nobody waits for these names. */
static void name_folders_soon(struct containers *cs, const char *id) {
    struct naming *n = malloc(sizeof(*n));

    if (!n)
        return;
    n->layers = cs->engine->layers;
    memcpy(n->id, id, sizeof(n->id));
    ctr_reaper_put(cs->reaper, name_folders, n);
}

static int make_on_disk(struct containers *cs, struct ctr_fixed *f, const struct image *img, struct made *m, struct err *e) {
    const char *chain = img ? image_top_chain(img) : "", *image_dir = img ? image_config(img)->working_dir : NULL,
               *dir_wanted = f->config.working_dir;
    _cleanup_(layers_rootfs_done) struct layers_rootfs rootfs = {0};
    _cleanup_free_ char *dir = str_printf("%s/containers/%s", cs->engine->config->data_root, f->id);
    int r;

    if (!dir)
        return err_oom(e);
    m->id = f->id;
    m->mounts = &f->mounts;
    m->cs = cs;
    r = layers_container_create(cs->engine->layers, chain, f->id, &rootfs, e);
    if (r < 0)
        return r;
    m->layer = true;
    if (!str_empty(dir_wanted) && !streq(dir_wanted, "/") && !streq_ptr(dir_wanted, image_dir)) {
        r = check_working_dir(m->cs->engine->launcher, &rootfs, dir_wanted, &m->no_working_dir, e);
        if (r < 0)
            return r;
    }
    if (mkdir(dir, 0710) < 0 && errno != EEXIST) {
        r = errno == ENOENT ? fs_mkdir_p(dir, 0710, e) : err_errno(e, errno, "cannot create %s", dir);
        if (r < 0)
            return r;
    }
    r = idmap_give_group(cs->engine->ids, dir, e);
    if (r < 0)
        return r;
    if (ctr_log_has_folder(f->host.log_config)) {
        _cleanup_free_ char *logs = str_printf("%s/local-logs", dir);

        if (!logs || (mkdir(logs, 0700) < 0 && errno != EEXIST))
            return err_errno(e, errno, "cannot create %s/local-logs", dir);
    }
    r = ctr_mounts_acquire(cs, f->id, &f->host, &f->mounts, &m->volumes, &m->n_volumes, e);
    if (r < 0 || m->n_volumes == 0)
        return r;
    return ctr_mounts_populate(cs, f->id, &rootfs, &f->mounts, m->volumes, e);
}

static int insert(struct containers *cs, struct ctr_fixed *f, struct ctr_net *net, const char *asked, struct container **ret, struct err *e) {
    char name[256];

    for (int attempt = 0;; attempt++) {
        _cleanup_err_ struct err local = ERR_INIT;
        struct ctr_view *v;
        int r = wanted_name(cs, asked, attempt, name, e);

        if (r < 0)
            return r;
        v = first_view(f, net, name);
        if (!v)
            return err_oom(e);
        r = containers_insert(cs, v, ret, &local);
        if (r >= 0)
            return 0;
        if (local.kind != ERR_CONFLICT || !str_empty(asked) || attempt >= NAME_TRIES)
            return err_move(e, &local);
    }
}

static int build_fixed(struct containers *cs, struct ctr_create *req, const struct image *img, struct ctr_fixed **ret, struct err *e) {
    _cleanup_(ctr_fixed_unrefp) struct ctr_fixed *f = ctr_fixed_new();
    int r = 0;

    if (!f)
        return err_oom(e);
    id_new(f->id);
    f->created = clock_wall_ns();
    f->config = req->config;
    f->host = req->host;
    f->networking = req->networking;
    req->config = (struct api_container_config){0};
    req->host = (struct api_host_config){0};
    req->networking = (struct api_networking_config){0};
    if (img) {
        r = ctr_merge_image(&f->config, image_config(img), e);
        f->config.labels.set = true;
        f->image_id = strdup(image_id(img));
    } else {
        f->image_id = strdup("");
    }
    if (!f->image_id)
        return err_oom(e);
    if (r >= 0)
        r = command(f, e);
    if (r >= 0)
        r = names_and_paths(cs, f, e);
    if (r >= 0)
        r = ctr_mounts_read(cs, &f->config, &f->host, &f->mounts, e);
    for (size_t i = 0; r >= 0 && req->shallow_ro && i < f->mounts.n; i++) {
        struct ctr_mount *m = &f->mounts.v[i];

        m->ro_non_recursive = m->ro_non_recursive || (!m->rw && m->kind == CTR_MOUNT_BIND && (m->spec || m->from_mounts));
    }
    if (r >= 0)
        r = ctr_links_resolve(cs, &f->host, &f->links, e);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(f);
    return 0;
}

DEFINE_CLEANUP(struct image *, image_unref)

int containers_create(struct containers *cs, struct ctr_create *req, struct strv *warnings, struct container **ret, struct err *e) {
    _cleanup_(image_unrefp) struct image *img = NULL;
    _cleanup_(ctr_fixed_unrefp) struct ctr_fixed *f = NULL;
    _cleanup_(ctr_net_unrefp) struct ctr_net *net = NULL;
    struct made made = {0};
    struct platform platform;
    char name[256];
    struct container *c;
    int r;

    if (req->no_config)
        return err_set(e, ERR_INVALID, "config cannot be empty in order to create a container");
    r = platform_parse(req->platform, &platform, e);
    if (r >= 0)
        r = ctr_validate(cs->engine->config, &req->config, &req->host, warnings, e);
    if (r >= 0)
        r = ctr_mounts_check(&req->host, e);
    if (r >= 0)
        r = ctr_host_defaults(cs->engine->config, &req->host, e);
    if (r >= 0 && !str_empty(req->config.image)) {
        r = images_resolve(cs->engine->images, req->config.image, &img, e);
        if (r >= 0)
            r = images_may_use(cs->engine->images, image_id(img), req->config.image, e);
    }
    if (r >= 0)
        r = ctr_validate_networking(cs->engine->networks, &req->networking, e);
    if (r >= 0)
        r = resolve_modes(cs, &req->host, e);
    if (r >= 0 && img)
        r = check_platform(req, &platform, img, warnings, e);
    if (r >= 0 && req->host.log_config)
        r = ctr_log_check(req->host.log_config, e);
    if (r >= 0)
        r = wanted_name(cs, req->name, 0, name, e);
    if (r >= 0)
        r = ctr_validate_rest(&req->host, e);
    if (r >= 0)
        r = build_fixed(cs, req, img, &f, e);
    if (r >= 0)
        r = first_net(f, &net, e);
    if (r < 0)
        return r;
    r = make_on_disk(cs, f, img, &made, e);
    if (r >= 0)
        name_folders_soon(cs, f->id);
    if (r >= 0)
        r = insert(cs, f, net, req->name, &c, e);
    if (r < 0) {
        unmake(&made);
        return r;
    }
    c->volumes = made.volumes;
    c->n_volumes = made.n_volumes;
    if (made.no_working_dir)
        make_working_dir(c, f->config.working_dir);
    container_event(c, "create", NULL);
    container_token_drop(c);
    *ret = c;
    return 0;
}

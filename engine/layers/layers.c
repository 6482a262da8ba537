// SPDX-License-Identifier: Apache-2.0
/* The store of read-only layers: rows, chains in memory, counting, registration. */
#define OPENSSL_SUPPRESS_DEPRECATED /* as in hasher.h, which is not the first to include the library here */
#include "layers/layers.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "content/digest.h"
#include "layers/framing.h"
#include "layers/hasher.h"
#include "layers/layers-internal.h"

#define BLOBS_REMEMBERED 20000
#define HASH_BESIDE ((int64_t)MIB(1)) /* of archives that are longer */

static const char *const steps[] = {
    "CREATE TABLE layer(chain_id TEXT PRIMARY KEY, diff_id TEXT NOT NULL, parent TEXT REFERENCES layer(chain_id), cache_id TEXT NOT NULL UNIQUE,"
    " link TEXT NOT NULL, size INTEGER NOT NULL, archive_size INTEGER NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE container_layer(container_id TEXT PRIMARY KEY, mount_id TEXT NOT NULL UNIQUE, link TEXT NOT NULL, top TEXT REFERENCES "
    "layer(chain_id),"
    " created INTEGER NOT NULL) WITHOUT ROWID;",
    /* 0: the folder may be incomplete or not on the disk yet; since step 3 a row is made only once it is there */
    "ALTER TABLE layer ADD COLUMN synced INTEGER NOT NULL DEFAULT 1;",
    "CREATE TABLE layer_home(home TEXT PRIMARY KEY) WITHOUT ROWID;",
    "CREATE TABLE blob_diff(digest TEXT PRIMARY KEY, diff_id TEXT NOT NULL, seen INTEGER NOT NULL) WITHOUT ROWID;",
    /* digest of the blob that is kept beside it; the file may be gone */
    "ALTER TABLE layer ADD COLUMN blob TEXT;",
};

void random_link(char ret[LINK_LEN + 1]) {
    unsigned char r[LINK_LEN];

    for (size_t got = 0; got < sizeof r;) {
        ssize_t n = getrandom(r + got, sizeof r - got, 0);

        got += n > 0 ? (size_t)n : 0;
    }
    for (int i = 0; i < LINK_LEN; i++)
        ret[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[r[i] & 31];
    ret[LINK_LEN] = 0;
}

void layer_chain_id_of(const char *parent_chain, const char *diff_id, char ret[CHAIN_TEXT]) {
    char text[2 * CHAIN_TEXT + 2];
    int n;

    if (str_empty(parent_chain)) {
        snprintf(ret, CHAIN_TEXT, "%s", diff_id);
        return;
    }
    n = snprintf(text, sizeof text, "%s %s", parent_chain, diff_id);
    digest_of(text, (size_t)n, ret);
}

/* ---- loading ---------------------------------------------------------------------------------------------------------------- */

static void layer_free(void *p) {
    struct layer *layer = p;

    free(layer->init_link);
    free(layer);
}

static int load_row(const struct db_row *row, void *arg, struct err *e) {
    struct layers *l = arg;
    struct layer *layer = calloc(1, sizeof *layer);
    const char *parent = db_row_text(row, 2);

    if (!layer)
        return err_oom(e);
    layer->owner = l;
    snprintf(layer->chain_id, sizeof layer->chain_id, "%s", db_row_text(row, 0));
    snprintf(layer->diff_id, sizeof layer->diff_id, "%s", db_row_text(row, 1));
    snprintf(layer->cache_id, sizeof layer->cache_id, "%s", db_row_text(row, 3));
    snprintf(layer->link, sizeof layer->link, "%s", db_row_text(row, 4));
    layer->chain_size = layer->size = db_row_int(row, 5);
    layer->archive_size = db_row_int(row, 6);
    layer->depth = 1;
    layer->synced = true;
    layer->kept = !db_row_is_null(row, 7);
    if (layer->kept)
        snprintf(layer->blob, sizeof layer->blob, "%s", db_row_text(row, 7));
    if (parent) {
        layer->parent = map_get(&l->chains, parent);
        if (!layer->parent) {
            layer_free(layer);
            return err_set(e, ERR_INTERNAL, "layer %s stands before its parent", db_row_text(row, 0));
        }
        layer->parent->refs++;
        layer->depth = layer->parent->depth + 1;
        layer->chain_size += layer->parent->chain_size;
    }
    if (map_set(&l->chains, layer->chain_id, layer, NULL) < 0) {
        layer_free(layer);
        return err_oom(e);
    }
    return 0;
}

int store_load(struct layers *l, struct err *e) {
    return db_query(l->db,
                    "WITH RECURSIVE up(chain_id, depth) AS (SELECT chain_id, 1 FROM layer WHERE parent IS NULL UNION ALL"
                    " SELECT c.chain_id, up.depth + 1 FROM layer c JOIN up ON c.parent = up.chain_id)"
                    " SELECT l.chain_id, l.diff_id, l.parent, l.cache_id, l.link, l.size, l.archive_size, l.blob FROM up JOIN layer l "
                    "USING(chain_id) ORDER BY depth",
                    DB_NONE, load_row, l, e);
}

void store_discard(struct layers *l, const char *name) {
    char id[ID_LEN + 1];
    _cleanup_free_ char *from = str_printf("%s/%s", l->home, name), *to = NULL;

    id_new(id);
    to = str_printf("%s/gone-%.16s", l->home, id);
    if (!from || !to)
        return;
    if (rename(from, to) == 0)
        layer_reaper_add(l->reaper, to);
    else if (errno != ENOENT)
        log_kv(LOG_LVL_WARN, "moving a folder away failed", "path", from, "error", strerror(errno), NULL);
}

int layers_new(struct db *db, const struct layers_config *config, struct layers **ret, struct err *e) {
    struct layers *l = calloc(1, sizeof *l);
    int r;

    if (!l)
        return err_oom(e);
    l->db = db;
    l->ids = config->ids;
    pthread_mutex_init(&l->lock, NULL);
    pthread_mutex_init(&l->init_lock, NULL);
    pthread_mutex_init(&l->names_lock, NULL);
    pthread_mutex_init(&l->publish_lock, NULL);
    settle_init(l);
    l->data_root = str_dup(config->data_root);
    l->libexec_dir = str_dup(config->libexec_dir);
    l->reaper = layer_reaper_new(l->data_root);
    r = l->data_root && l->libexec_dir && l->reaper ? 0 : err_oom(e);
    if (r == 0)
        r = db_migrate(db, "layers", steps, ELEMENTSOF(steps), e);
    if (r == 0)
        r = driver_probe(l, config->driver, e);
    if (r == 0)
        r = settle_open(l, e);
    if (r == 0) /* rows of versions that made them before the sync */
        r = db_exec(db, "DELETE FROM layer WHERE synced=0", DB_NONE, e);
    if (r == 0)
        r = db_exec(db, "DELETE FROM blob_diff WHERE digest IN (SELECT digest FROM blob_diff ORDER BY seen DESC LIMIT -1 OFFSET ?1)",
                    DB_ARGS(DB_INT(BLOBS_REMEMBERED)), e);
    if (r == 0)
        r = store_load(l, e);
    if (r == 0)
        r = containers_load(l, e);
    if (r == 0)
        r = store_clean_leftovers(l, e);
    if (r < 0) {
        layers_free(l);
        return r;
    }
    *ret = l;
    return 0;
}

struct layers *layers_free(struct layers *l) {
    if (!l)
        return NULL;
    settle_done(l);
    layer_reaper_free(l->reaper);
    map_done_with(&l->containers, container_layer_free);
    map_done_with(&l->chains, layer_free);
    pthread_mutex_destroy(&l->lock);
    pthread_mutex_destroy(&l->init_lock);
    pthread_mutex_destroy(&l->names_lock);
    pthread_mutex_destroy(&l->publish_lock);
    free(l->data_root);
    free(l->libexec_dir);
    free(l->home);
    free(l->backing);
    free(l);
    return NULL;
}

/* ---- counting ---------------------------------------------------------------------------------------------------------------- */

struct layer *layers_get(struct layers *l, const char *chain_id) {
    struct layer *layer;

    pthread_mutex_lock(&l->lock);
    layer = map_get(&l->chains, chain_id);
    if (layer)
        layer->refs++;
    pthread_mutex_unlock(&l->lock);
    return layer;
}

struct layer *layer_ref(struct layer *layer) {
    pthread_mutex_lock(&layer->owner->lock);
    layer->refs++;
    pthread_mutex_unlock(&layer->owner->lock);
    return layer;
}

struct layer *layer_unref_listing(struct layer *layer, struct strv *removed) {
    while (layer) {
        struct layers *l = layer->owner;
        _cleanup_err_ struct err e = ERR_INIT;
        struct layer *parent;
        bool last;

        pthread_mutex_lock(&l->lock);
        last = --layer->refs == 0;
        if (last && map_get(&l->chains, layer->chain_id) == layer)
            map_remove(&l->chains, layer->chain_id);
        pthread_mutex_unlock(&l->lock);
        if (!last)
            return NULL;
        /* The row goes first: a folder without a row is only a leftover, a row without a folder would be a lie. By cache id: the same chain may have been
         * registered anew meanwhile. */
        if (layer->synced && db_exec(l->db, "DELETE FROM layer WHERE cache_id=?1", DB_ARGS(DB_TEXT(layer->cache_id)), &e) < 0)
            log_kv(LOG_LVL_WARN, "removing a layer's row failed", "layer", layer->chain_id, "error", err_msg(&e), NULL);
        if (removed)
            ignore_result(strv_add(removed, layer->chain_id) < 0);
        driver_remove_layer(l, layer);
        parent = layer->parent;
        layer_free(layer);
        layer = parent;
    }
    return NULL;
}

struct layer *layer_unref(struct layer *layer) {
    return layer_unref_listing(layer, NULL);
}

int layers_sweep(struct layers *l, struct err *e) {
    for (;;) {
        struct layer *orphan = NULL;

        pthread_mutex_lock(&l->lock);
        for (struct map_entry *i = NULL; !orphan && (i = map_next(&l->chains, i));)
            if (((struct layer *)i->value)->refs == 0)
                orphan = i->value;
        if (orphan)
            orphan->refs = 1;
        pthread_mutex_unlock(&l->lock);
        if (!orphan)
            return 0;
        layer_unref(orphan);
    }
}

struct layer *layer_find_diff(struct layers *l, const char *diff_id) {
    struct layer *found = NULL;

    pthread_mutex_lock(&l->lock);
    for (struct map_entry *i = NULL; !found && (i = map_next(&l->chains, i));)
        if (streq(((struct layer *)i->value)->diff_id, diff_id))
            found = i->value;
    if (found)
        found->refs++;
    pthread_mutex_unlock(&l->lock);
    return found;
}

const char *layer_chain_id(const struct layer *layer) {
    return layer->chain_id;
}
const char *layer_diff_id(const struct layer *layer) {
    return layer->diff_id;
}
struct layer *layer_parent(const struct layer *layer) {
    return layer->parent;
}
int64_t layer_size(const struct layer *layer) {
    return layer->size;
}
int64_t layer_chain_size(const struct layer *layer) {
    return layer->chain_size;
}
int layer_depth(const struct layer *layer) {
    return layer->depth;
}
int64_t layer_archive_size(const struct layer *layer) {
    return layer->archive_size;
}

int64_t layers_total_size(struct layers *l) {
    int64_t sum = 0;

    pthread_mutex_lock(&l->lock);
    for (struct map_entry *i = NULL; (i = map_next(&l->chains, i));)
        sum += ((struct layer *)i->value)->size;
    pthread_mutex_unlock(&l->lock);
    return sum;
}

/* ---- registration -------------------------------------------------------------------------------------------------------------- */

static int publish_locked(struct layers *l, struct layer *layer, const char *staged, struct layer **ret, struct err *e) {
    struct layer *other = layers_get(l, layer->chain_id);
    int r;

    if (other) {
        layer_free(layer);
        *ret = other;
        return 0;
    }
    if (layer->depth > LIMIT_LAYERS) {
        layer_free(layer);
        return err_set(e, ERR_INTERNAL, "max depth exceeded");
    }
    if (layer->parent)
        layer_ref(layer->parent);
    r = driver_install(l, layer, staged, e);
    if (r < 0)
        driver_remove_layer(l, layer);
    if (r == 0) {
        pthread_mutex_lock(&l->lock);
        layer->refs = 1;
        r = map_set(&l->chains, layer->chain_id, layer, NULL) < 0 ? err_oom(e) : 0;
        pthread_mutex_unlock(&l->lock);
    }
    if (r < 0) {
        layer_unref(layer->parent);
        layer_free(layer);
        return r;
    }
    *ret = layer;
    return 0;
}

/* Put a finished layer among the chains, unless somebody was faster: then theirs is the layer. One at a time, so that a chain has one owner. */
static int publish(struct layers *l, struct layer *layer, const char *staged, struct layer **ret, struct err *e) {
    int r;

    pthread_mutex_lock(&l->publish_lock);
    r = publish_locked(l, layer, staged, ret, e);
    pthread_mutex_unlock(&l->publish_lock);
    return r;
}

static struct layer *layer_new(struct layers *l, struct layer *parent, const char *diff_id, int64_t size, int64_t archive_size) {
    struct layer *layer = calloc(1, sizeof *layer);

    if (!layer)
        return NULL;
    layer->owner = l;
    layer->parent = parent;
    layer->depth = parent ? parent->depth + 1 : 1;
    layer->size = size;
    layer->chain_size = size + (parent ? parent->chain_size : 0);
    layer->archive_size = archive_size;
    snprintf(layer->diff_id, sizeof layer->diff_id, "%s", diff_id);
    layer_chain_id_of(parent ? parent->chain_id : NULL, diff_id, layer->chain_id);
    id_new(layer->cache_id);
    random_link(layer->link);
    return layer;
}

int layers_register(struct layers *l, struct layer *parent, struct unpack *u, int index, const char *diff_id, int64_t size, int64_t archive_size,
                    struct layer **ret, struct err *e) {
    _cleanup_free_ char *staged = str_printf("%s/%d", unpack_staging(u), index);
    struct layer *layer = layer_new(l, parent, diff_id, size, archive_size);

    if (!staged || !layer) {
        free(layer);
        return err_oom(e);
    }
    unpack_origin(u, layer);
    return publish(l, layer, staged, ret, e);
}

/* ---- the same again on another parent -------------------------------------------------------------------------------------------- */

/* A folder of overlay2 holds the layer alone: a copy of it will do. */
static int copy_known(struct layers *l, struct layer *known, struct layer *parent, struct layer **ret, struct err *e) {
    struct layer *layer = layer_new(l, parent, known->diff_id, known->size, known->archive_size);
    char id[ID_LEN + 1], name[32];
    _cleanup_free_ char *from = NULL, *staged = NULL;
    int r;

    id_new(id);
    snprintf(name, sizeof name, "tmp-%.16s", id);
    from = driver_path(l, known->cache_id, NULL);
    staged = driver_path(l, name, NULL);
    r = layer && from && staged ? vfs_copy_tree(from, staged, LAYER_BLOB, e) : err_oom(e);
    if (r == 0) {
        layer_blob_share(known, layer, staged);
        r = publish(l, layer, staged, ret, e);
    } else {
        free(layer);
    }
    store_discard(l, name);
    return r;
}

static int feed(void *arg, const void *p, size_t n, struct err *e) {
    return unpack_feed(arg, p, n, e);
}

static int ignore_event(void *arg, const struct unpack_event *ev, struct err *e) {
    return 0;
}

/* A folder of vfs holds what is below, too, and has no marks of what the layer took away: its archive is unpacked once more. */
static int unpack_known(struct layers *l, struct layer *known, struct layer *parent, struct layer **ret, struct err *e) {
    struct unpack *u = NULL;
    int r = unpack_start(l, false, ignore_event, NULL, &u, e);

    if (r == 0)
        r = layer_archive(known, feed, u, e);
    if (r == 0)
        r = unpack_finish(u, e);
    if (r == 0)
        r = layers_register(l, parent, u, 0, known->diff_id, known->size, known->archive_size, ret, e);
    unpack_free(u);
    return r;
}

int layers_register_known(struct layers *l, struct layer *parent, const char *diff_id, struct layer **ret, struct err *e) {
    struct layer *known = layer_find_diff(l, diff_id);
    int r;

    if (!known)
        return err_set(e, ERR_NOT_FOUND, "layer %s is not there", diff_id);
    r = l->overlay ? copy_known(l, known, parent, ret, e) : unpack_known(l, known, parent, ret, e);
    layer_unref(known);
    return r;
}

/* ---- the archive again ---------------------------------------------------------------------------------------------------------- */

struct checked_sink {
    layer_sink_fn sink;
    void *arg;
    struct hasher hasher;
    struct hasher_sum sum;
};

static int hash_and_pass(void *arg, const void *p, size_t n, struct err *e) {
    struct checked_sink *s = arg;
    int r;

    hasher_add(&s->hasher, &s->sum, p, n);
    r = s->sink(s->arg, p, n, e);
    hasher_wait(&s->hasher, &s->sum);
    return r;
}

int layer_archive(struct layer *layer, layer_sink_fn sink, void *arg, struct err *e) {
    _cleanup_free_ char *record = driver_path(layer->owner, layer->cache_id, "framing");
    _cleanup_free_ char *diff = driver_path(layer->owner, layer->cache_id, "diff");
    _cleanup_close_ int fd = -EBADF, dir = -EBADF;
    struct checked_sink s = {.sink = sink, .arg = arg};
    char digest[CHAIN_TEXT] = "sha256:";
    int r;

    if (!record || !diff)
        return err_oom(e);
    hasher_init(&s.hasher);
    hasher_begin(&s.sum);
    if (layer->archive_size > HASH_BESIDE) /* without the thread it only takes longer */
        ignore_result(hasher_start(&s.hasher, NULL) < 0);
    fd = open(record, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    dir = open(diff, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    r = fd < 0 || dir < 0 ? err_errno(e, errno, "layer %s is damaged", layer->chain_id) : framing_replay(fd, dir, hash_and_pass, &s, NULL, e);
    hasher_end(&s.hasher, &s.sum, digest + strlen(digest));
    hasher_done(&s.hasher);
    if (r == 0 && !streq(digest, layer->diff_id))
        r = err_set(e, ERR_INTERNAL, "layer %s is damaged: its contents have changed", layer->diff_id);
    return r;
}

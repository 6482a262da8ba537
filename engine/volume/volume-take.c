// SPDX-License-Identifier: Apache-2.0
/*
 * One volume takes over the data of another: their folders change places in one step, then the records follow in one transaction, then what is left of the
 * other one goes. The intent "volume.take" says until the transaction that the step may have been made; the number of the folder tells whether it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "db/db.h"
#include "db/journal.h"
#include "volume/volume-internal.h"

static int change_places(const char *a, const char *b, struct err *e) {
    return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) < 0 ? err_errno(e, errno, "exchange %s and %s", a, b) : 0;
}

/* What lies below the folder is on the disk; *ret_number is the folder's. */
static int settle(const char *path, uint64_t *ret_number, struct err *e) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || syncfs(fd) < 0)
        return err_errno(e, errno, "%s", path);
    *ret_number = st.st_ino;
    return 0;
}

/* The records, in one transaction with both intents: `removal` is that of the other volume's folder. */
static int records(struct volumes *vs, const struct volume *to, const struct volume *from, bool fresh, int64_t taking, int64_t *ret_removal,
                   struct err *e) {
    struct db *db = vs->engine->db;
    int r = db_begin(db, e);

    if (r < 0)
        return r;
    if (fresh)
        r = volume_store_add(vs, to, e);
    if (r == 0)
        r = volume_store_remove(vs, from->record.name, e);
    if (r == 0)
        r = volume_limit_swap(vs, to->record.name, from->record.name, e);
    if (r == 0)
        r = intent_begin(db, "volume.remove", from->record.name, NULL, ret_removal, e);
    if (r == 0)
        r = intent_done(db, taking, e);
    if (r == 0)
        return db_commit(db, e);
    db_rollback(db);
    return r;
}

static int announce(struct volumes *vs, const struct volume *to, const struct volume *from, int64_t *ret, struct err *e) {
    _cleanup_free_ char *payload = NULL;
    uint64_t number = 0;
    int r = settle(from->record.mountpoint, &number, e);

    if (r < 0)
        return r;
    payload = str_printf("%llu %s", (unsigned long long)number, from->record.name);
    return payload ? intent_begin(vs->engine->db, "volume.take", to->record.name, payload, ret, e) : err_oom(e);
}

int volume_take_data(struct volumes *vs, const struct volume *to, const struct volume *from, bool fresh, struct err *e) {
    const char *a = from->record.mountpoint, *b = to->record.mountpoint;
    int64_t taking = 0, removal = 0;
    int r = announce(vs, to, from, &taking, e);

    if (r < 0)
        return r;
    if (fresh)
        r = volume_make_folders(vs, to, e);
    if (r == 0)
        r = change_places(a, b, e);
    if (r == 0) {
        r = records(vs, to, from, fresh, taking, &removal, e);
        if (r < 0)
            ignore_result(change_places(a, b, NULL) < 0);
    }
    if (r < 0) {
        ignore_result(intent_done(vs->engine->db, taking, NULL) < 0);
        return r;
    }
    /* It is done, whatever becomes of the rest: the next start removes that. */
    ignore_result(volume_remove_folders(vs, from->record.name, NULL) < 0 || intent_done(vs->engine->db, removal, NULL) < 0);
    return 0;
}

/* ---- after an end in the middle ---------------------------------------------------------------------------------------------------------- */

static bool has_row(struct volumes *vs, const char *name) {
    int64_t n = 0;

    return db_query_int(vs->engine->db, "SELECT count(*) FROM volume WHERE name = ?1", DB_ARGS(DB_TEXT(name)), &n, NULL) == 0 && n > 0;
}

static int undo(const struct intent *it, void *arg, struct err *e) {
    struct volumes *vs = arg;
    const char *space = it->payload ? strchr(it->payload, ' ') : NULL;
    _cleanup_free_ char *number = space ? strndup(it->payload, (size_t)(space - it->payload)) : NULL, *to = NULL, *from = NULL;
    struct stat st;
    uint64_t wanted;
    int r = 0;

    if (!number || parse_u64(number, &wanted) < 0 || volume_check_name(it->key, NULL) < 0 || volume_check_name(space + 1, NULL) < 0)
        return 1;
    to = str_printf("%s/%s/_data", vs->root, it->key);
    from = str_printf("%s/%s/_data", vs->root, space + 1);
    if (!to || !from)
        return err_oom(e);
    if (stat(to, &st) == 0 && st.st_ino == wanted)
        r = change_places(from, to, e);
    if (r == 0 && !has_row(vs, it->key))
        r = volume_remove_folders(vs, it->key, e);
    return r < 0 ? r : 1;
}

int volume_take_recover(struct volumes *vs, struct err *e) {
    return intent_each(vs->engine->db, "volume.take", undo, vs, e);
}

/* ---- the operation ----------------------------------------------------------------------------------------------------------------------- */

static int is_a_folder(const struct volume *v, struct err *e) {
    return v->remote || v->has_device ? err_set(e, ERR_INVALID, "the data of volume %s is not in a folder of its own", v->record.name) : 0;
}

/* With the lock held. */
static int seize_source(struct volumes *vs, const char *name, struct volume **ret, struct err *e) {
    struct volume *v = volumes_settled(vs, name);
    int r = v ? is_a_folder(v, e) : err_set(e, ERR_NOT_FOUND, "get %s: no such volume", name);

    if (r == 0 && v->holders.n)
        r = err_set(e, ERR_CONFLICT, "volume %s is in use - [%s]", name, v->holders.v[0]);
    if (r < 0)
        return r;
    v->busy = true;
    *ret = volume_ref(v);
    return 0;
}

/* With the lock held. *ret stays NULL when there is no volume of that name. */
static int seize_target(struct volumes *vs, const char *name, struct volume **ret, struct err *e) {
    struct volume *v = volumes_settled(vs, name);
    int r = v ? is_a_folder(v, e) : 0;

    if (r == 0 && v && v->runs.n)
        r = err_set(e, ERR_CONFLICT, "volume %s is used by running containers - [%s]", name, v->runs.v[0]);
    if (r < 0 || !v)
        return r;
    v->busy = true;
    *ret = volume_ref(v);
    return 0;
}

int volumes_take(struct volumes *vs, const struct volume_request *req, const char *from, struct volume **ret, struct err *e) {
    struct volume_request want = *req;
    struct volume *source = NULL, *target = NULL;
    int r;

    if (str_empty(req->name) || streq(req->name, from))
        return err_set(e, ERR_INVALID, "taking over the data of volume %s needs another name", from);
    pthread_mutex_lock(&vs->lock);
    /* The target first: waiting for it with the source seized could wait for somebody who waits for the source. */
    r = seize_target(vs, req->name, &target, e);
    if (r == 0 && map_has(&vs->by_name, from) && ((struct volume *)map_get(&vs->by_name, from))->busy)
        r = err_set(e, ERR_CONFLICT, "volume %s is being changed", from);
    if (r == 0)
        r = seize_source(vs, from, &source, e);
    pthread_mutex_unlock(&vs->lock);
    if (r == 0 && target) {
        r = volume_take_data(vs, target, source, false, e);
    } else if (r == 0) {
        want.from = source;
        r = volumes_create(vs, &want, ret, e);
    }
    if (target)
        volumes_finish_busy(vs, target, true);
    if (source)
        volumes_finish_busy(vs, source, r < 0);
    if (r == 0)
        volumes_event(vs, source, "destroy", NULL);
    volume_unref(source);
    if (r == 0 && target)
        *ret = target;
    else
        volume_unref(target);
    return r;
}

// SPDX-License-Identifier: Apache-2.0
/* Sections: what is said; rows; layers; what lies in the folders; images; containers, volumes, downloads; forgetting what is broken; the command. */
#include "daemon/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/str.h"
#include "base/strv.h"
#include "content/digest.h"
#include "db/db.h"
#include "layers/compare.h"
#include "layers/framing.h"
#include "layers/layers.h"

struct check {
    const char *root;
    char *home; /* <root>/overlay2 or <root>/vfs; NULL: no layers yet */
    bool overlay, bits, repair;
    struct db *db;
    struct map folders; /* name in home → "" */
    struct map links;   /* name in home/l → "" */
    struct strv broken; /* chain IDs of layers that are not whole */
    int problems, mended;
};

/* ---- what is said ------------------------------------------------------------------------------------------------------------------------------ */

/* `mended`: it is right now. */
static void say(struct check *c, bool mended, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void say(struct check *c, bool mended, const char *fmt, ...) {
    va_list ap;

    c->problems++;
    c->mended += mended;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("%s\n", mended ? ": mended" : "");
}

/* ---- rows -------------------------------------------------------------------------------------------------------------------------------------- */

static int own(struct map *m, const char *name, struct err *e) {
    return map_set(m, name, (void *)"", NULL) < 0 ? err_oom(e) : 0;
}

static int own_container(const struct db_row *row, void *arg, struct err *e) {
    struct check *c = arg;
    _cleanup_free_ char *init = str_printf("%s-init", db_row_text(row, 1));
    int r = init ? own(&c->folders, db_row_text(row, 1), e) : err_oom(e);

    if (r == 0)
        r = own(&c->folders, init, e);
    if (r == 0)
        r = own(&c->folders, db_row_text(row, 0), e); /* a link by the container's id */
    return r < 0 ? r : own(&c->links, db_row_text(row, 2), e);
}

/* The init folder that containers of a layer share has a link of its own. */
static int own_init(struct check *c, const char *cache_id, struct err *e) {
    _cleanup_free_ char *init = str_printf("%s-init", cache_id), *file = init ? str_printf("%s/%s/link", c->home, init) : NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);
    int r = file ? own(&c->folders, init, e) : err_oom(e);

    if (r < 0 || fs_read_file(file, &b, NULL) < 0)
        return r;
    return own(&c->links, buf_str(&b), e);
}

/* ---- layers ------------------------------------------------------------------------------------------------------------------------------------ */

static int sum(void *arg, const void *p, size_t n, struct err *e) {
    return EVP_DigestUpdate(arg, p, n) == 1 ? 0 : err_oom(e);
}

/* Whether folder and framing still give the archive the layer was made of. */
static bool is_whole(const char *folder, const char *diff_id) {
    _cleanup_free_ char *record = str_printf("%s/framing", folder), *diff = str_printf("%s/diff", folder);
    _cleanup_close_ int fd = record ? open(record, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -EBADF;
    _cleanup_close_ int dir = diff ? open(diff, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -EBADF;
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    char digest[DIGEST_SIZE];
    bool same = fd >= 0 && dir >= 0 && sha && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) == 1 && framing_replay(fd, dir, sum, sha, NULL, NULL) == 0;

    if (same) {
        digest_end(sha, digest);
        same = streq(digest, diff_id);
    }
    EVP_MD_CTX_free(sha);
    return same;
}

struct odd {
    struct check *check;
    const char *chain;
    int n;
};
#define ODD_SHOWN 20 /* of each layer */

static void say_odd(void *arg, const char *path, const char *what) {
    struct odd *o = arg;

    if (o->n++ < ODD_SHOWN)
        say(o->check, false, "layer %s: /%s %s", o->chain, path, what);
}

/* What no digest of bytes covers; only of layers whose digest is right. */
static bool is_as_its_archive(struct check *c, const char *chain, const char *folder) {
    _cleanup_free_ char *record = str_printf("%s/framing", folder), *diff = str_printf("%s/diff", folder);
    _cleanup_close_ int fd = record ? open(record, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -EBADF;
    _cleanup_close_ int dir = diff ? open(diff, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -EBADF;
    _cleanup_err_ struct err why = ERR_INIT;
    struct odd odd = {c, chain, 0};

    if (fd < 0 || dir < 0 || layer_compare(fd, dir, say_odd, &odd, &why) < 0) {
        say(c, false, "layer %s: cannot be compared with its archive: %s", chain, err_msg(&why));
        return false;
    }
    if (odd.n > ODD_SHOWN)
        say(c, false, "layer %s: %d more of this kind", chain, odd.n - ODD_SHOWN);
    return odd.n == 0;
}

static bool file_is(const char *path, const char *digest) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    _cleanup_free_ char *piece = malloc(MIB(1));
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    char found[DIGEST_SIZE] = "";
    ssize_t n = -1;

    if (fd >= 0 && piece && sha && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) == 1)
        while ((n = read(fd, piece, MIB(1))) > 0)
            EVP_DigestUpdate(sha, piece, (size_t)n);
    if (n == 0)
        digest_end(sha, found);
    EVP_MD_CTX_free(sha);
    return streq(found, digest);
}

/* The blob a layer came in only makes pushes quicker: without it nothing is broken. */
static void check_blob(struct check *c, const char *chain, const char *folder, const char *want) {
    _cleanup_free_ char *path = str_printf("%s/blob", folder);

    if (!path || !fs_exists(path))
        return;
    if (!want)
        say(c, c->repair && unlink(path) == 0, "%s: no layer came from it", path);
    else if (c->bits && !file_is(path, want))
        say(c, c->repair && unlink(path) == 0, "layer %s: the blob kept with it has changed", chain);
}

static bool text_is(const char *path, const char *want) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);

    return fs_read_file(path, &b, NULL) == 0 && streq(buf_str(&b), want);
}

/* The short name by which mounts find the layer. */
static void check_link(struct check *c, const char *chain, const char *link, const char *cache_id) {
    _cleanup_free_ char *path = str_printf("%s/l/%s", c->home, link), *want = str_printf("../%s/diff", cache_id);
    char target[128];
    ssize_t n = path && want ? readlink(path, target, sizeof target - 1) : 0;

    if (!path || !want || (n > 0 && (size_t)n == strlen(want) && memcmp(target, want, (size_t)n) == 0))
        return;
    if (c->repair)
        unlink(path);
    say(c, c->repair && symlink(want, path) == 0, "layer %s: its short name l/%s is not there", chain, link);
}

static int check_layer(const struct db_row *row, void *arg, struct err *e) {
    struct check *c = arg;
    const char *chain = db_row_text(row, 0), *diff_id = db_row_text(row, 1), *parent = db_row_text(row, 2);
    const char *cache_id = db_row_text(row, 3), *link = db_row_text(row, 4);
    _cleanup_free_ char *folder = str_printf("%s/%s", c->home, cache_id);
    _cleanup_free_ char *diff = str_printf("%s/diff", folder), *framing = str_printf("%s/framing", folder), *own_link = str_printf("%s/link", folder);
    char computed[72];
    const char *fault = NULL;
    int r = diff && framing && own_link ? own(&c->folders, cache_id, e) : err_oom(e);

    if (r == 0)
        r = own(&c->links, link, e);
    if (r == 0)
        r = own_init(c, cache_id, e);
    if (r < 0)
        return r;
    layer_chain_id_of(parent, diff_id, computed);
    if (!streq(computed, chain))
        fault = "its name is not that of its contents and the layers below";
    else if (!fs_exists(diff))
        fault = "its folder is not there";
    else if (!fs_exists(framing))
        fault = "the record of its archive is not there";
    else if (c->overlay && !text_is(own_link, link))
        fault = "its folder is another one's";
    else if (c->bits && !is_whole(folder, diff_id))
        fault = "its contents have changed";
    if (fault) {
        say(c, false, "layer %s: %s", chain, fault);
        return strv_add(&c->broken, chain) < 0 ? err_oom(e) : 0;
    }
    if (c->bits && c->overlay && !is_as_its_archive(c, chain, folder) && strv_add(&c->broken, chain) < 0)
        return err_oom(e);
    check_blob(c, chain, folder, db_row_is_null(row, 5) ? NULL : db_row_text(row, 5));
    if (c->overlay)
        check_link(c, chain, link, cache_id);
    return 0;
}

/* ---- what lies in the folders ------------------------------------------------------------------------------------------------------------------ */

/* Somebody may have written in it: a container's upper folder that is not empty. */
static bool is_users(const char *path) {
    _cleanup_free_ char *merged = str_printf("%s/merged", path), *diff = str_printf("%s/diff", path);
    _cleanup_closedir_ DIR *dir = merged && diff && fs_exists(merged) ? opendir(diff) : NULL;
    struct dirent *d;

    while (dir && (d = readdir(dir)))
        if (!streq(d->d_name, ".") && !streq(d->d_name, ".."))
            return true;
    return false;
}

static void stray(struct check *c, const char *folder, const char *name, bool may_remove, const char *what) {
    _cleanup_free_ char *path = str_printf("%s/%s", folder, name);
    bool gone = false;

    if (!path)
        return;
    if (c->repair && may_remove && !is_users(path))
        gone = fs_remove_tree(path, NULL) == 0;
    say(c, gone, "%s: %s", path, what);
}

static void check_folder(struct check *c, const char *folder, const struct map *owned, bool may_remove, const char *what) {
    _cleanup_closedir_ DIR *dir = folder ? opendir(folder) : NULL;
    _cleanup_strv_ struct strv names = STRV_INIT;
    struct dirent *d;

    while (dir && (d = readdir(dir)))
        if (!streq(d->d_name, ".") && !streq(d->d_name, "..") && !map_has(owned, d->d_name))
            ignore_result(strv_add(&names, d->d_name) < 0);
    for (size_t i = 0; i < names.n; i++)
        stray(c, folder, names.v[i], may_remove, what);
}

static int check_home(struct check *c, struct err *e) {
    _cleanup_free_ char *links = str_printf("%s/l", c->home);
    int64_t blobs = 0;
    int r = links ? own(&c->folders, "l", e) : err_oom(e);

    if (r == 0) /* not yet in a store that an engine of before has left */
        r = db_query_int(c->db, "SELECT count(*) FROM pragma_table_info('layer') WHERE name='blob'", DB_NONE, &blobs, e);
    if (r == 0)
        r = db_query(c->db,
                     blobs ? "SELECT chain_id, diff_id, parent, cache_id, link, blob FROM layer"
                           : "SELECT chain_id, diff_id, parent, cache_id, link, NULL FROM layer",
                     DB_NONE, check_layer, c, e);
    if (r == 0)
        r = db_query(c->db, "SELECT container_id, mount_id, link FROM container_layer", DB_NONE, own_container, c, e);
    if (r < 0)
        return r;
    check_folder(c, c->home, &c->folders, true, "belongs to no layer and no container");
    if (c->overlay)
        check_folder(c, links, &c->links, true, "is the short name of nothing");
    return 0;
}

/* ---- images ------------------------------------------------------------------------------------------------------------------------------------ */

static int check_image(const struct db_row *row, void *arg, struct err *e) {
    struct check *c = arg;
    char digest[DIGEST_SIZE];
    size_t n;
    const void *p = db_row_blob(row, 1, &n);

    digest_of(p, n, digest);
    if (!streq(digest, db_row_text(row, 0)))
        say(c, false, "image %s: its configuration has changed", db_row_text(row, 0));
    return 0;
}

static int name_lost(const struct db_row *row, void *arg, struct err *e) {
    say(arg, ((struct check *)arg)->repair, "name %s: names an image that is not there", db_row_text(row, 0));
    return 0;
}

static int check_images(struct check *c, struct err *e) {
    int r = db_query(c->db, "SELECT id, document FROM image", DB_NONE, check_image, c, e);

    if (r == 0)
        r = db_query(c->db, "SELECT name FROM image_name WHERE image NOT IN (SELECT id FROM image)", DB_NONE, name_lost, c, e);
    if (r == 0 && c->repair)
        r = db_exec(c->db, "DELETE FROM image_name WHERE image NOT IN (SELECT id FROM image)", DB_NONE, e);
    return r;
}

/* ---- containers, volumes, downloads ------------------------------------------------------------------------------------------------------------ */

static int own_row(const struct db_row *row, void *arg, struct err *e) {
    return own(arg, db_row_text(row, 0), e);
}

static int check_rows_of(struct check *c, const char *sql, const char *folder_name, bool may_remove, bool each_has_one, const char *what,
                         struct err *e) {
    _cleanup_free_ char *folder = str_printf("%s/%s", c->root, folder_name);
    struct map owned = {0};
    int r = folder ? db_query(c->db, sql, DB_NONE, own_row, &owned, e) : err_oom(e);

    if (r == 0 && fs_exists(folder)) {
        check_folder(c, folder, &owned, may_remove, what);
        for (struct map_entry *i = NULL; each_has_one && (i = map_next(&owned, i));) {
            _cleanup_free_ char *path = str_printf("%s/%s", folder, i->key);

            if (path && !fs_exists(path))
                say(c, false, "%s: is not there, though a row names it", path);
        }
    }
    map_done(&owned);
    return r;
}

static void check_downloads(struct check *c) {
    _cleanup_free_ char *folder = str_printf("%s/content/partial", c->root);
    _cleanup_closedir_ DIR *dir = folder ? opendir(folder) : NULL;
    struct dirent *d;

    while (dir && (d = readdir(dir)))
        if (d->d_name[0] != '.' && !id_is_full(d->d_name))
            stray(c, folder, d->d_name, true, "is no unfinished download");
}

/* ---- forgetting what is broken ----------------------------------------------------------------------------------------------------------------- */

/* What stands on a layer, itself among it, top first. */
#define STANDS_ON                                                                                                                                    \
    "WITH RECURSIVE up(chain, depth) AS (SELECT ?1, 0 UNION ALL SELECT l.chain_id, up.depth + 1 FROM layer l JOIN up ON l.parent = up.chain) "

static int name_image(const struct db_row *row, void *arg, struct err *e) {
    printf("image %s: forgotten, for a layer of it is broken; pull it again\n", db_row_text(row, 0));
    return 0;
}

static int collect(const struct db_row *row, void *arg, struct err *e) {
    return strv_add(arg, db_row_text(row, 0)) < 0 ? err_oom(e) : 0;
}

/* Folder and short name of a layer, and of what containers on it shared. What stays is found as belonging to nobody next time. */
static void drop_files(struct check *c, const char *cache_id) {
    static const char *const tails[] = {"", "-init"};

    for (size_t i = 0; i < ELEMENTSOF(tails); i++) {
        _cleanup_free_ char *path = str_printf("%s/%s%s", c->home, cache_id, tails[i]), *file = path ? str_printf("%s/link", path) : NULL;
        _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);
        _cleanup_free_ char *link = NULL;

        if (file && fs_read_file(file, &b, NULL) == 0 && !strchr(buf_str(&b), '/'))
            link = str_printf("%s/l/%s", c->home, buf_str(&b));
        if (link)
            unlink(link);
        if (path && fs_exists(path))
            ignore_result(fs_remove_tree(path, NULL) < 0);
    }
}

static int forget(struct check *c, const char *chain, struct err *e) {
    _cleanup_strv_ struct strv chains = STRV_INIT, folders = STRV_INIT;
    int64_t users = 0;
    int r =
        db_query_int(c->db, STANDS_ON "SELECT count(*) FROM container_layer WHERE top IN (SELECT chain FROM up)", DB_ARGS(DB_TEXT(chain)), &users, e);

    if (r < 0)
        return r;
    if (users > 0) {
        printf("layer %s: kept as it is, %lld container(s) stand on it\n", chain, (long long)users);
        return 0;
    }
    r = db_query(c->db, STANDS_ON "SELECT chain FROM up ORDER BY depth DESC", DB_ARGS(DB_TEXT(chain)), collect, &chains, e);
    if (r == 0)
        r = db_query(c->db, STANDS_ON "SELECT cache_id FROM layer WHERE chain_id IN (SELECT chain FROM up)", DB_ARGS(DB_TEXT(chain)), collect,
                     &folders, e);
    if (r == 0)
        r = db_query(c->db, STANDS_ON "SELECT id FROM image WHERE top IN (SELECT chain FROM up)", DB_ARGS(DB_TEXT(chain)), name_image, NULL, e);
    if (r == 0)
        r = db_begin(c->db, e);
    if (r < 0)
        return r;
    r = db_exec(c->db, STANDS_ON "DELETE FROM image_name WHERE image IN (SELECT id FROM image WHERE top IN (SELECT chain FROM up))",
                DB_ARGS(DB_TEXT(chain)), e);
    if (r == 0)
        r = db_exec(c->db, STANDS_ON "DELETE FROM image WHERE top IN (SELECT chain FROM up)", DB_ARGS(DB_TEXT(chain)), e);
    for (size_t i = 0; r == 0 && i < chains.n; i++)
        r = db_exec(c->db, "DELETE FROM layer WHERE chain_id=?1", DB_ARGS(DB_TEXT(chains.v[i])), e);
    if (r < 0) {
        db_rollback(c->db);
        return r;
    }
    r = db_commit(c->db, e);
    for (size_t i = 0; r == 0 && i < folders.n; i++)
        drop_files(c, folders.v[i]);
    c->mended += r == 0;
    return r;
}

/* ---- the command ------------------------------------------------------------------------------------------------------------------------------- */

static int open_store(struct check *c, int *ret_lock, struct err *e) {
    _cleanup_free_ char *lock = str_printf("%s/engine.lock", c->root), *db = str_printf("%s/engine.db", c->root);
    _cleanup_free_ char *overlay = str_printf("%s/overlay2", c->root), *vfs = str_printf("%s/vfs", c->root);

    if (!lock || !db || !overlay || !vfs)
        return err_oom(e);
    if (!fs_exists(db))
        return err_set(e, ERR_NOT_FOUND, "%s is no data root: there is no engine.db", c->root);
    *ret_lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*ret_lock < 0)
        return err_errno(e, errno, "open %s", lock);
    if (flock(*ret_lock, LOCK_EX | LOCK_NB) < 0)
        return err_set(e, ERR_CONFLICT, "an engine runs on %s: stop it first", c->root);
    c->overlay = fs_exists(overlay);
    if (c->overlay || fs_exists(vfs))
        c->home = c->overlay ? TAKE_PTR(overlay) : TAKE_PTR(vfs);
    return db_open(db, &c->db, e);
}

static int run(struct check *c, struct err *e) {
    _cleanup_close_ int lock = -EBADF;
    int64_t fits = 0;
    int r = open_store(c, &lock, e);

    if (r == 0)
        r = db_query_int(c->db, "SELECT count(*) FROM schema_version WHERE module IN ('image', 'layers')", DB_NONE, &fits, e);
    if (r == 0 && fits < 2)
        r = err_set(e, ERR_INVALID, "%s/engine.db is not that of an engine that has begun", c->root);
    if (r == 0 && c->home)
        r = check_home(c, e);
    if (r == 0)
        r = check_images(c, e);
    if (r == 0)
        r = check_rows_of(c, "SELECT id FROM container", "containers", true, false, "belongs to no container", e);
    if (r == 0)
        r = check_rows_of(c, "SELECT name FROM volume", "volumes", false, false, "belongs to no volume", e);
    if (r == 0)
        check_downloads(c);
    for (size_t i = 0; r == 0 && c->repair && i < c->broken.n; i++)
        r = forget(c, c->broken.v[i], e);
    if (c->db)
        db_close(c->db);
    return r;
}

static int usage(void) {
    fprintf(stderr, "usage: hataked check [--data-root DIR] [--bits] [--repair]\n"
                    "  --bits    read every layer and compare it with its digest, and its folder with its archive\n"
                    "  --repair  mend what can be mended without losing anybody's data\n");
    return 2;
}

int check_main(int argc, char **argv) {
    struct check c = {.root = "/var/lib/hatake"};
    _cleanup_err_ struct err e = ERR_INIT;
    int r;

    for (int i = 1; i < argc; i++) {
        if (streq(argv[i], "--data-root") && i + 1 < argc)
            c.root = argv[++i];
        else if (str_has_prefix(argv[i], "--data-root="))
            c.root = argv[i] + strlen("--data-root=");
        else if (streq(argv[i], "--bits"))
            c.bits = true;
        else if (streq(argv[i], "--repair"))
            c.repair = true;
        else
            return usage();
    }
    signal(SIGPIPE, SIG_IGN);
    r = run(&c, &e);
    if (r < 0)
        fprintf(stderr, "hataked check: %s\n", err_msg(&e));
    else
        printf("%d problem%s, %d mended\n", c.problems, c.problems == 1 ? "" : "s", c.mended);
    map_done(&c.folders);
    map_done(&c.links);
    strv_done(&c.broken);
    free(c.home);
    return r < 0 ? 2 : c.problems > c.mended;
}

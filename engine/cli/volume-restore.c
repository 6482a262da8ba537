// SPDX-License-Identifier: Apache-2.0
/*
 * volume restore: a volume from a backup. On an engine of this project the data goes into a volume with a name of its own first, and takes the wanted name in
 * one step once all of it is there and was found whole (parameter hatake-from); elsewhere, and where the data does not lie in a folder of the engine, it
 * goes to its place at once, and is taken away again when it does not arrive whole.
 */
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/backup-file.h"
#include "cli/opts.h"
#include "cli/progress.h"
#include "cli/seal.h"
#include "cli/volume-job.h"

#define STAGE_LABEL "hatake.restoring" /* on volumes on their way: what they will be called */
#define ANONYMOUS_LABEL "com.docker.volume.anonymous"
#define TAR_BLOCK 512

struct restore {
    struct job job;
    const char *volume, *file;
    bool force, plain;
    const struct buf *passphrase;
    int fd;
    struct backup_reader *reader;
    json_t *wanted; /* body of POST /volumes/create */
    bool exists;
    char *into; /* the volume that is filled */
};

static int on_volume(const struct restore *x, const char *method, const char *name, const char *query, json_t **ret, struct err *e) {
    _cleanup_buf_ struct buf path = BUF_INIT(65536);
    int r;

    buf_adds(&path, "/volumes/");
    api_segment(&path, name);
    buf_adds(&path, query);
    r = buf_check(&path, e);
    return r < 0 ? r : api_call(x->job.c, method, path.data, NULL, ret, e);
}

static void remove_volume(const struct restore *x, const char *name) {
    _cleanup_err_ struct err why = ERR_INIT;

    if (on_volume(x, "DELETE", name, "?force=1", NULL, &why) < 0)
        fprintf(stderr, "hatake: volume %s holds a part of the backup and could not be removed: %s\n", name, err_msg(&why));
}

/* ---- the backup -------------------------------------------------------------------------------------------------------------------------- */

static int read_through(struct backup_reader *reader, struct err *e) {
    _cleanup_free_ char *block = malloc(JOB_BLOCK);
    ssize_t n;

    if (!block)
        return err_oom(e);
    while ((n = backup_reader_read(reader, block, JOB_BLOCK, e)) > 0)
        ;
    return (int)n;
}

/* A file is read through before anything is made of it; what comes by a pipe shows at its end whether it was whole. */
static int open_backup(struct restore *x, struct err *e) {
    struct stat st;
    int r;

    if (fstat(x->fd, &st) == 0 && S_ISREG(st.st_mode)) {
        _cleanup_(backup_reader_freep) struct backup_reader *look = NULL;
        off_t start = lseek(x->fd, 0, SEEK_CUR);

        r = backup_reader_new(x->fd, x->passphrase, &look, e);
        if (r == 0)
            r = read_through(look, e);
        if (r < 0)
            return r;
        if (lseek(x->fd, start, SEEK_SET) < 0)
            return err_errno(e, errno, "reading the backup again");
    }
    return backup_reader_new(x->fd, x->passphrase, &x->reader, e);
}

static bool has_device(const json_t *options) {
    return *json_text(options, "type") || *json_text(options, "device");
}

/* What to ask for: a volume of the wanted name. */
static int want(struct restore *x, const char *driver, json_t *labels, json_t *options, struct err *e) {
    json_decref(x->wanted);
    x->wanted = json_pack("{s:s, s:s, s:O*, s:O*}", "Name", x->volume, "Driver", driver, "Labels", json_is_object(labels) ? labels : NULL,
                          "DriverOpts", json_is_object(options) ? options : NULL);
    return json_made(x->wanted, e);
}

/* The volume of the backup under its new name. */
static int choose_volume(struct restore *x, struct err *e) {
    const json_t *about = backup_reader_about(x->reader);
    const char *driver = json_text(about, "driver");
    int r =
        want(x, x->plain || !*driver ? "local" : driver, json_object_get(about, "labels"), x->plain ? NULL : json_object_get(about, "options"), e);

    if (r < 0)
        return r;
    /* It has a name now: pruning must not take it for one that nobody named. */
    json_object_del(json_object_get(x->wanted, "Labels"), ANONYMOUS_LABEL);
    return 0;
}

/* ---- what is there ------------------------------------------------------------------------------------------------------------------------ */

static int read_block(struct http *h, char to[TAR_BLOCK], struct err *e) {
    for (size_t have = 0; have < TAR_BLOCK;) {
        ssize_t n = http_read(h, to + have, TAR_BLOCK - have, e);

        if (n <= 0)
            return n < 0 ? (int)n : err_set(e, ERR_UNAVAILABLE, "the engine stopped in the middle of an archive");
        have += (size_t)n;
    }
    return 0;
}

/* Are there entries beside that of the folder itself? 1, 0. */
static int has_entries(struct http *h, struct err *e) {
    char block[TAR_BLOCK], digits[13] = "";
    int entries = 0, r = 0;

    while (r == 0 && entries < 2 && (r = read_block(h, block, e)) == 0 && block[0]) {
        char type = block[156];
        uint64_t size = 0;

        memcpy(digits, block + 124, 12);
        digits[strcspn(digits, " ")] = '\0';
        if (parse_u64_base(digits, 8, &size) < 0)
            return err_set(e, ERR_INTERNAL, "the engine's archive has a header without a size");
        /* Extensions of the header that follows. */
        if (type != 'x' && type != 'g' && type != 'L' && type != 'K') {
            entries++;
            continue;
        }
        for (uint64_t at = 0; r == 0 && at < size; at += TAR_BLOCK)
            r = read_block(h, block, e);
    }
    return r < 0 ? r : entries > 1;
}

static int is_empty(struct restore *x, struct err *e) {
    _cleanup_buf_ struct buf path = BUF_INIT(65536);
    _cleanup_http_ struct http *h = NULL;
    int r = job_mount(&x->job, x->volume, NULL, true, e);

    if (r == 0)
        r = job_archive_path(&x->job, "/v", &path, e);
    if (r == 0)
        r = api_open(x->job.c, "GET", path.data, NULL, false, &h, e);
    if (r >= 0)
        r = has_entries(h, e);
    http_free(TAKE_PTR(h));
    job_unmount(&x->job);
    return r < 0 ? r : r == 0;
}

/* An existing volume of that name keeps what it is; may it lose what it holds? */
static int look_at_existing(struct restore *x, const json_t *volume, struct err *e) {
    json_t *users = NULL;
    int r = job_users(&x->job, x->volume, false, &users, e);

    if (r == 0 && json_array_size(users)) {
        _cleanup_free_ char *names = job_names(users);

        r = err_set(e, ERR_CONFLICT, "volume %s is in use by %s: stop what uses it first", x->volume, names ? names : "");
    }
    json_decref(users);
    if (r == 0 && !x->force) {
        r = is_empty(x, e);
        if (r == 0)
            return err_set(e, ERR_CONFLICT, "volume %s is there and not empty: choose another name, or replace what it holds with --force",
                           x->volume);
        r = MIN(r, 0);
    }
    if (r < 0)
        return r;
    x->exists = true;
    return want(x, json_text(volume, "Driver"), json_object_get(volume, "Labels"), json_object_get(volume, "Options"), e);
}

static int look_around(struct restore *x, struct err *e) {
    _cleanup_err_ struct err why = ERR_INIT;
    json_t *volume = NULL;
    int r = on_volume(x, "GET", x->volume, "", &volume, &why);

    if (r < 0)
        return r == -ERR_NOT_FOUND ? 0 : err_move(e, &why);
    r = look_at_existing(x, volume, e);
    json_decref(volume);
    return r;
}

/* ---- the data ----------------------------------------------------------------------------------------------------------------------------- */

static int send_archive(void *arg, struct err *e) {
    struct restore *x = arg;
    _cleanup_buf_ struct buf path = BUF_INIT(65536);
    _cleanup_free_ char *block = malloc(JOB_BLOCK);
    _cleanup_http_ struct http *h = NULL;
    _cleanup_err_ struct err sent = ERR_INIT;
    char size[16];
    int64_t bytes = 0;
    ssize_t n = 0;
    int r = block ? job_archive_path(&x->job, "/", &path, e) : err_oom(e), status;

    if (r == 0)
        r = api_upload(x->job.c, "PUT", path.data, &h, e);
    if (r < 0)
        return r;
    /* A damaged backup ends the request in the middle; what the engine says to that is of no interest. */
    while (r == 0 && (n = backup_reader_read(x->reader, block, JOB_BLOCK, e)) > 0) {
        r = http_send_chunk(h, block, (size_t)n, &sent);
        bytes += n;
    }
    if (n < 0)
        return (int)n;
    if (r == 0)
        r = http_send_end(h, &sent);
    status = api_head(h, e);
    if (status < 0)
        return status == -ERR_UNAVAILABLE && r < 0 ? err_move(e, &sent) : status;
    if (r < 0)
        return err_move(e, &sent);
    human_bytes(bytes, size);
    if (!x->job.c->quiet)
        fprintf(stderr, "volume %s: %s restored\n", x->volume, size);
    return 0;
}

static int create_volume(const struct restore *x, const json_t *body, const char *from, struct err *e) {
    _cleanup_buf_ struct buf path = BUF_INIT(65536);
    int r;

    buf_adds(&path, "/volumes/create");
    api_query(&path, "hatake-from", from);
    r = buf_check(&path, e);
    if (r == 0)
        r = api_call(x->job.c, "POST", path.data, body, NULL, e);
    return MIN(r, 0);
}

/* A volume beside the wanted one, with the same options: a limit holds while it is filled. */
static int make_stage(struct restore *x, struct err *e) {
    json_t *body, *options = json_object_get(x->wanted, "DriverOpts");
    unsigned id = 0;
    int r;

    if (getrandom(&id, sizeof id, 0) < 0)
        return err_errno(e, errno, "getrandom");
    x->into = str_printf("%s.restoring-%08x", x->volume, id);
    body = x->into ? json_pack("{s:s, s:{s:s}, s:O*}", "Name", x->into, "Labels", STAGE_LABEL, x->volume, "DriverOpts", options) : NULL;
    r = json_made(body, e);
    if (r == 0)
        r = create_volume(x, body, NULL, e);
    json_decref(body);
    return r;
}

static int make_in_place(struct restore *x, struct err *e) {
    int r = 0;

    x->into = str_dup(x->volume);
    if (!x->into)
        return err_oom(e);
    /* What it holds goes with it; a device keeps what is on it. */
    if (x->exists && !has_device(json_object_get(x->wanted, "DriverOpts")))
        r = on_volume(x, "DELETE", x->volume, "", NULL, e);
    return r < 0 ? r : create_volume(x, x->wanted, NULL, e);
}

/* What a restore into this name left that was killed. */
static int clear_leftovers(struct restore *x, const char *helper, struct err *e) {
    _cleanup_strv_ struct strv filters = STRV_INIT;
    _cleanup_free_ char *path = str_printf("/containers/%s?force=1", helper);
    json_t *list = NULL, *one;
    size_t i;
    int r = !path || strv_addf(&filters, "label=" STAGE_LABEL "=%s", x->volume) < 0 ? err_oom(e) : 0;

    if (r == 0) {
        ignore_result(api_call(x->job.c, "DELETE", path, NULL, NULL, NULL) < 0);
        r = api_list(x->job.c, "/volumes", false, NULL, &filters, &list, e);
    }
    json_array_foreach(json_object_get(list, "Volumes"), i, one) {
        if (r >= 0)
            remove_volume(x, json_text(one, "Name"));
    }
    json_decref(list);
    return r < 0 ? r : 0;
}

/* The helper's name keeps two restores apart. */
static int fill(struct restore *x, bool staged, const char *helper, struct err *e) {
    int r = staged ? make_stage(x, e) : make_in_place(x, e);

    if (r == 0) {
        r = job_mount(&x->job, x->into, helper, false, e);
        if (r == -ERR_CONFLICT)
            r = err_set(e, ERR_CONFLICT, "volume %s is being restored already; if that was killed, --force takes away what it left", x->volume);
    }
    if (r == 0)
        r = job_run(&x->job, send_archive, x, e);
    job_unmount(&x->job);
    if (r == 0 && staged)
        r = create_volume(x, x->wanted, x->into, e);
    if (r != 0)
        remove_volume(x, x->into);
    return r;
}

static int restore(struct restore *x, struct err *e) {
    _cleanup_free_ char *helper = str_printf("hatake-restore-%s", x->volume);
    const json_t *options;
    bool staged;
    int r = helper ? job_init(&x->job, x->job.c, e) : err_oom(e);

    if (r >= 0 && x->force)
        r = clear_leftovers(x, helper, e);
    if (r >= 0)
        r = look_around(x, e);
    options = json_object_get(x->wanted, "DriverOpts");
    staged = x->job.ours && streq(json_text(x->wanted, "Driver"), "local") && !has_device(options);
    if (r >= 0)
        r = fill(x, staged, helper, e);
    job_done(&x->job);
    return r;
}

int cmd_volume_restore(struct cli *c, int argc, char **argv, struct err *e) {
    const char *passphrase_file = NULL;
    bool done;
    _cleanup_strv_ struct strv words = STRV_INIT;
    _cleanup_(passphrase_done) struct buf passphrase = BUF_INIT(0);
    _cleanup_close_ int opened = -EBADF;
    struct restore x = {.job.c = c};
    const struct opt table[] = {
        {"force", 'f', OPT_FLAG, &x.force, NULL, "also when the volume holds something, which is lost"},
        {"passphrase-file", 0, OPT_TEXT, &passphrase_file, "FILE", "of an encrypted backup: its first line (-: standard input)"},
        {"plain", 0, OPT_FLAG, &x.plain, NULL, "a volume of the local driver without options, whatever the backup's was"},
        {"quiet", 'q', OPT_FLAG, &c->quiet, NULL, "do not say how much it was"},
    };
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 2, 2, &words, &done, e);

    if (r < 0 || done)
        return r;
    x.volume = words.v[0];
    x.file = words.v[1];
    if (streq(x.file, "-") && passphrase_file && streq(passphrase_file, "-"))
        return err_set(e, ERR_INVALID, "standard input is the backup or the passphrase, not both");
    if (!streq(x.file, "-") && (opened = open(x.file, O_RDONLY | O_CLOEXEC)) < 0)
        return err_errno(e, errno, "the backup \"%s\"", x.file);
    x.fd = opened >= 0 ? opened : STDIN_FILENO;
    if (passphrase_file) {
        r = passphrase_read(passphrase_file, &passphrase, e);
        x.passphrase = &passphrase;
    }
    if (r == 0)
        r = open_backup(&x, e);
    if (r == 0)
        r = choose_volume(&x, e);
    if (r == 0)
        r = restore(&x, e);
    backup_reader_free(x.reader);
    json_decref(x.wanted);
    free(x.into);
    return r;
}

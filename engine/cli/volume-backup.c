// SPDX-License-Identifier: Apache-2.0
/* volume backup: a volume's archive, with what the volume is, into one checked file (backup-file.h). */
#include <fcntl.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "cli/backup-file.h"
#include "cli/opts.h"
#include "cli/progress.h"
#include "cli/seal.h"
#include "cli/volume-job.h"

#define TAR_END 1024 /* an archive ends in as many zeros */

struct backup {
    struct job job;
    const char *volume, *file; /* "-": standard output */
    json_t *about;
    const struct buf *passphrase;
    char since[40];
    int fd;
};

static int collect_about(const struct backup *b, const json_t *volume, json_t **ret, struct err *e) {
    static const char *const taken[][2] = {{"driver", "Driver"}, {"labels", "Labels"}, {"options", "Options"}};
    char now[CLOCK_TEXT_MAX];
    json_t *about;

    clock_format(clock_wall_ns() / NSEC_PER_SEC * NSEC_PER_SEC, now);
    about = json_pack("{s:s, s:s, s:b}", "name", b->volume, "made", now, "exact", b->job.ours);
    for (size_t i = 0; about && i < ELEMENTSOF(taken); i++) {
        json_t *value = json_object_get(volume, taken[i][1]);

        if (value && json_object_set(about, taken[i][0], value) < 0) {
            json_decref(about);
            about = NULL;
        }
    }
    *ret = about;
    return json_made(about, e);
}

static size_t zeros_at_end(const char *p, size_t n) {
    size_t k = 0;

    while (k < n && p[n - 1 - k] == 0)
        k++;
    return k;
}

/* The archive into the file. An engine that fails in the middle may just stop: an archive without its end is not one. */
static int copy_archive(struct http *h, struct backup_writer *w, int64_t *ret_bytes, struct err *e) {
    _cleanup_free_ char *block = malloc(JOB_BLOCK);
    int64_t bytes = 0, zeros = 0;
    ssize_t n;
    int r = 0;

    if (!block)
        return err_oom(e);
    while (r == 0 && (n = http_read(h, block, JOB_BLOCK, e)) != 0) {
        size_t last = n > 0 ? zeros_at_end(block, (size_t)n) : 0;

        if (n < 0)
            return (int)n;
        zeros = last == (size_t)n ? zeros + n : (int64_t)last;
        bytes += n;
        r = backup_writer_add(w, block, (size_t)n, e);
    }
    if (r == 0 && zeros < TAR_END)
        return err_set(e, ERR_UNAVAILABLE, "the engine stopped in the middle of the archive");
    *ret_bytes = bytes;
    return r;
}

static int write_backup(void *arg, struct err *e) {
    struct backup *b = arg;
    _cleanup_buf_ struct buf path = BUF_INIT(65536);
    _cleanup_(backup_writer_freep) struct backup_writer *w = NULL;
    _cleanup_http_ struct http *h = NULL;
    char size[16];
    int64_t bytes = 0;
    int r = backup_writer_new(b->fd, b->about, b->passphrase, &w, e);

    if (r == 0)
        r = job_archive_path(&b->job, "/v", &path, e);
    if (r == 0)
        r = api_open(b->job.c, "GET", path.data, NULL, false, &h, e);
    if (r >= 0)
        r = copy_archive(h, w, &bytes, e);
    if (r == 0)
        r = job_check_quiet(&b->job, b->volume, b->since, e);
    if (r == 0)
        r = backup_writer_end(w, e);
    if (r == 0 && fsync(b->fd) < 0 && errno != EINVAL && errno != EROFS)
        r = err_errno(e, errno, "writing the backup");
    if (r < 0)
        return r;
    human_bytes(bytes, size);
    if (!b->job.c->quiet)
        fprintf(stderr, "volume %s: %s backed up\n", b->volume, size);
    if (!b->job.ours && !b->job.c->quiet)
        fprintf(stderr, "This engine's archives leave out extended attributes, holes of files and parts of seconds.\n");
    return 0;
}

/* Nobody writes to it from here on, or job_check_quiet() will find out. */
static int still_volume(struct backup *b, bool freeze, struct err *e) {
    json_t *users = NULL;
    int r = job_time(&b->job, b->since, e);

    if (r == 0 && freeze)
        r = job_freeze(&b->job, b->volume, e);
    if (r == 0)
        r = job_users(&b->job, b->volume, true, &users, e);
    if (r == 0 && json_array_size(users)) {
        _cleanup_free_ char *names = job_names(users);

        r = err_set(e, ERR_CONFLICT, "volume %s is in use by %s: stop what uses it, or pause it for the time with --pause", b->volume,
                    names ? names : "");
    }
    json_decref(users);
    return r;
}

/* Into a file beside, which takes the name when all is in it. */
static int backup_to(struct backup *b, struct err *e) {
    bool to_output = streq(b->file, "-");
    _cleanup_free_ char *partial = str_printf("%s.partial-%d", b->file, (int)getpid());
    _cleanup_close_ int opened = -EBADF;
    int r;

    if (!partial)
        return err_oom(e);
    if (!to_output && (opened = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        return err_errno(e, errno, "%s", partial);
    b->fd = to_output ? STDOUT_FILENO : opened;
    r = job_run(&b->job, write_backup, b, e);
    if (!to_output && r == 0 && rename(partial, b->file) < 0)
        r = err_errno(e, errno, "%s", b->file);
    if (!to_output && r != 0)
        unlink(partial);
    return r;
}

static int backup(struct backup *b, bool freeze, struct err *e) {
    _cleanup_buf_ struct buf path = BUF_INIT(65536);
    json_t *volume = NULL;
    int r = job_init(&b->job, b->job.c, e);

    buf_adds(&path, "/volumes/");
    api_segment(&path, b->volume);
    if (r >= 0)
        r = buf_check(&path, e);
    if (r >= 0)
        r = api_call(b->job.c, "GET", path.data, NULL, &volume, e);
    if (r >= 0)
        r = collect_about(b, volume, &b->about, e);
    json_decref(volume);
    if (r >= 0)
        r = job_mount(&b->job, b->volume, NULL, true, e);
    if (r >= 0)
        r = still_volume(b, freeze, e);
    if (r >= 0)
        r = backup_to(b, e);
    job_done(&b->job);
    json_decref(b->about);
    return r;
}

int cmd_volume_backup(struct cli *c, int argc, char **argv, struct err *e) {
    const char *passphrase_file = NULL;
    bool freeze = false, done;
    _cleanup_strv_ struct strv words = STRV_INIT;
    _cleanup_(passphrase_done) struct buf passphrase = BUF_INIT(0);
    struct backup b = {.job.c = c};
    const struct opt table[] = {
        {"passphrase-file", 0, OPT_TEXT, &passphrase_file, "FILE", "encrypt with the passphrase in its first line (-: standard input)"},
        {"pause", 0, OPT_FLAG, &freeze, NULL, "pause the containers that use the volume meanwhile"},
        {"quiet", 'q', OPT_FLAG, &c->quiet, NULL, "do not say how much it was"},
    };
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 2, 2, &words, &done, e);

    if (r < 0 || done)
        return r;
    b.volume = words.v[0];
    b.file = words.v[1];
    if (streq(b.file, "-") && isatty(STDOUT_FILENO))
        return err_set(e, ERR_INVALID, "a backup is no text: name a file, or send the output somewhere");
    if (passphrase_file) {
        r = passphrase_read(passphrase_file, &passphrase, e);
        b.passphrase = &passphrase;
    }
    return r < 0 ? r : backup(&b, freeze, e);
}

// SPDX-License-Identifier: Apache-2.0
/* pull, load, rmi. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/attach.h"
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/progress.h"

#define BLOCK ((size_t)256 << 10)

struct feed {
    struct progress *progress;
    bool quiet;
};

static int show(json_t *message, void *data, struct err *e) {
    struct feed *f = data;
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    int r = progress_feed(f->progress, message, &out, e);

    if (r < 0 || f->quiet)
        return r;
    r = full_write(STDERR_FILENO, buf_str(&out), out.len);
    return r < 0 ? err_errno(e, r, "writing the progress") : 0;
}

static int show_stream(const struct cli *c, struct http *h, struct err *e) {
    int rows, columns = 0, r;
    struct feed f = {NULL, c->quiet};

    if (!isatty(STDERR_FILENO) || !terminal_size(&rows, &columns))
        columns = 0;
    f.progress = progress_new(columns);
    if (!f.progress)
        return err_oom(e);
    r = api_each(h, show, &f, e);
    progress_free(f.progress);
    return r;
}

/* Where the tag of a reference starts (at ':' or '@'), or NULL. */
static const char *tag_of(const char *reference) {
    const char *at = strchr(reference, '@'), *colon = strrchr(reference, ':'), *slash = strrchr(reference, '/');

    if (at)
        return at;
    return colon && (!slash || colon > slash) ? colon : NULL;
}

int image_pull(const struct cli *c, const char *reference, const char *platform, struct err *e) {
    const char *tag = tag_of(reference);
    _cleanup_free_ char *name = tag ? strndup(reference, (size_t)(tag - reference)) : str_dup(reference);
    _cleanup_buf_ struct buf path = BUF_INIT(65536);
    _cleanup_http_ struct http *h = NULL;
    int r;

    if (!name)
        return err_oom(e);
    buf_adds(&path, "/images/create");
    api_query(&path, "fromImage", name);
    api_query(&path, "tag", tag ? tag + 1 : "latest");
    api_query(&path, "platform", platform);
    r = buf_check(&path, e);
    if (r == 0)
        r = api_open(c, "POST", path.data, NULL, false, &h, e);
    return r < 0 ? r : show_stream(c, h, e);
}

int cmd_pull(struct cli *c, int argc, char **argv, struct err *e) {
    const char *platform = NULL;
    bool done;
    _cleanup_strv_ struct strv words = STRV_INIT;
    const struct opt table[] = {
        {"platform", 0, OPT_TEXT, &platform, "OS/ARCH", "which image of several"},
        {"quiet", 'q', OPT_FLAG, &c->quiet, NULL, "no progress"},
    };
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 1, 1, &words, &done, e);

    if (r < 0 || done)
        return r;
    r = image_pull(c, words.v[0], platform, e);
    return r < 0 ? r : printf("%s\n", words.v[0]) < 0;
}

/* Send the archive; told is what is already known of the reply (an engine may refuse before it has read everything). */
static int upload(struct http *h, int fd, struct err *e) {
    _cleanup_free_ char *block = malloc(BLOCK);
    ssize_t n = 0;
    int r = block ? 0 : err_oom(e);

    while (r == 0 && (n = read(fd, block, BLOCK)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        r = n < 0 ? err_errno(e, errno, "reading the archive") : http_send_chunk(h, block, (size_t)n, e);
    }
    return r < 0 ? r : http_send_end(h, e);
}

int cmd_load(struct cli *c, int argc, char **argv, struct err *e) {
    const char *input = NULL;
    bool done;
    _cleanup_strv_ struct strv words = STRV_INIT;
    _cleanup_close_ int opened = -EBADF;
    _cleanup_http_ struct http *h = NULL;
    _cleanup_err_ struct err sent = ERR_INIT;
    const struct opt table[] = {
        {"input", 'i', OPT_TEXT, &input, "FILE", "the archive (standard input)"},
        {"quiet", 'q', OPT_FLAG, &c->quiet, NULL, "no progress"},
    };
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 0, 0, &words, &done, e), status;

    if (r < 0 || done)
        return r;
    if (input && (opened = open(input, O_RDONLY | O_CLOEXEC)) < 0)
        return err_errno(e, errno, "the archive \"%s\"", input);
    if (!input && isatty(STDIN_FILENO))
        return err_set(e, ERR_INVALID, "name an archive with --input, or give one on standard input");
    r = api_upload(c, "POST", c->quiet ? "/images/load?quiet=1" : "/images/load", &h, e);
    if (r < 0)
        return r;
    r = upload(h, input ? opened : STDIN_FILENO, &sent);
    status = api_head(h, e);
    if (status < 0)
        return status == -ERR_UNAVAILABLE && r < 0 ? err_move(e, &sent) : status;
    return show_stream(c, h, e);
}

int cmd_rmi(struct cli *c, int argc, char **argv, struct err *e) {
    bool force = false, no_prune = false, done;
    _cleanup_strv_ struct strv words = STRV_INIT;
    const struct opt table[] = {
        {"force", 'f', OPT_FLAG, &force, NULL, "also when it has several names"},
        {"no-prune", 0, OPT_FLAG, &no_prune, NULL, "keep parents without a name"},
    };
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 1, -1, &words, &done, e), failed = 0;

    for (size_t i = 0; i < words.n && r >= 0 && !done; i++) {
        _cleanup_buf_ struct buf path = BUF_INIT(65536);
        _cleanup_err_ struct err why = ERR_INIT;
        json_t *reply = NULL, *one;
        size_t k;

        buf_addf(&path, "/images/%s", words.v[i]);
        api_query(&path, "force", force ? "1" : NULL);
        api_query(&path, "noprune", no_prune ? "1" : NULL);
        r = buf_check(&path, &why);
        if (r == 0)
            r = api_call(c, "DELETE", path.data, NULL, &reply, &why);
        if (r == -ERR_UNAVAILABLE)
            return err_move(e, &why);
        if (r < 0) {
            fprintf(stderr, "hatake: %s\n", err_msg(&why));
            failed = 1;
            r = 0;
        }
        json_array_foreach(reply, k, one) {
            const char *untagged = json_text(one, "Untagged");

            printf("%s %s\n", *untagged ? "untagged" : "deleted", *untagged ? untagged : json_text(one, "Deleted"));
        }
        json_decref(reply);
    }
    return r < 0 ? r : failed;
}

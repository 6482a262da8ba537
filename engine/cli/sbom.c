// SPDX-License-Identifier: Apache-2.0
/* sbom: asks the engine for the image, and writes what is installed in it. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/sbom.h"

static ssize_t from_engine(void *arg, void *p, size_t n, struct err *e) {
    return http_read(arg, p, n, e);
}

static int write_document(const json_t *doc, const char *output, struct err *e) {
    _cleanup_free_ char *plain = json_dumps(doc, JSON_INDENT(2));
    _cleanup_buf_ struct buf b = BUF_INIT(CLI_REPLY_MAX);
    struct stat st;
    int r;

    if (!plain)
        return err_oom(e);
    buf_adds(&b, plain);
    buf_addc(&b, '\n');
    r = buf_check(&b, e);
    if (r < 0)
        return r;
    if (!output || streq(output, "-"))
        return out_write(&b, e);
    /* What is no plain file (a pipe, /dev/null) is written to, not replaced. */
    if (stat(output, &st) == 0 && !S_ISREG(st.st_mode)) {
        _cleanup_close_ int fd = open(output, O_WRONLY | O_CLOEXEC);

        r = fd < 0 ? -errno : full_write(fd, b.data, b.len);
        return r < 0 ? err_errno(e, r, "write %s", output) : 0;
    }
    return fs_replace_file(output, b.data, b.len, 0644, e);
}

static int scan_image(struct cli *c, const char *id, struct sbom_scan *scan, struct err *e) {
    _cleanup_buf_ struct buf path = BUF_INIT(65536);
    _cleanup_http_ struct http *h = NULL;
    int r;

    buf_addf(&path, "/images/%s/get", id);
    r = buf_check(&path, e);
    if (r == 0)
        r = api_open(c, "GET", path.data, NULL, false, &h, e);
    return r < 0 ? r : sbom_scan_stream(scan, from_engine, h, e);
}

static int make_document(struct cli *c, const char *image, const json_t *inspect, json_t **ret, struct err *e) {
    struct sbom_packages packages = {0};
    struct sbom_scan scan;
    int r = sbom_scan_init(&scan, e);

    if (r == 0)
        r = scan_image(c, json_text(inspect, "Id"), &scan, e);
    if (r == 0)
        r = sbom_gather(&scan, &packages, e);
    if (r == 0)
        r = sbom_document(&scan, &packages, inspect, image, ret, e);
    for (size_t i = 0; r == 0 && i < scan.findings.n; i++)
        fprintf(stderr, "hatake: %s\n", scan.findings.v[i]);
    if (r == 0 && packages.sources.n == 0 && scan.findings.n == 0 && !c->quiet)
        fprintf(stderr, "hatake: %s holds no database of a package manager (dpkg, apk, rpm): the document lists no packages\n", image);
    sbom_packages_done(&packages);
    sbom_scan_done(&scan);
    return r;
}

int cmd_sbom(struct cli *c, int argc, char **argv, struct err *e) {
    const char *output = NULL;
    bool done;
    _cleanup_strv_ struct strv words = STRV_INIT;
    const struct opt table[] = {
        {"output", 'o', OPT_TEXT, &output, "FILE", "write there and not to standard output"},
        {"quiet", 'q', OPT_FLAG, &c->quiet, NULL, "say nothing of an image without packages"},
    };
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 1, 1, &words, &done, e);
    _cleanup_buf_ struct buf path = BUF_INIT(65536);
    json_t *inspect = NULL, *doc = NULL;

    if (r < 0 || done)
        return r;
    buf_addf(&path, "/images/%s/json", words.v[0]);
    r = buf_check(&path, e);
    if (r == 0)
        r = api_call(c, "GET", path.data, NULL, &inspect, e);
    if (r >= 0)
        r = make_document(c, words.v[0], inspect, &doc, e);
    if (r >= 0)
        r = write_document(doc, output, e);
    json_decref(inspect);
    json_decref(doc);
    return r < 0 ? r : 0;
}

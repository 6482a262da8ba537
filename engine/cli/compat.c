// SPDX-License-Identifier: Apache-2.0
/* compat: what this version covers of the API and where it differs. The text is COMPAT.md as it was when the program was built. */
#include <strings.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/opts.h"

#if __has_include("../../COMPAT.md")
__asm__(".section .rodata\n"
        ".global hatake_compat_text\n"
        "hatake_compat_text:\n"
        ".incbin \"COMPAT.md\"\n"
        ".byte 0\n"
        ".previous\n");
extern const char hatake_compat_text[];
#else
static const char hatake_compat_text[] = "";
#endif

/* Headings stay, so that a line that was asked for is seen in its place. */
static bool wanted(const char *line, size_t n, const struct strv *words) {
    if (words->n == 0 || (n && *line == '#'))
        return true;
    for (size_t i = 0; i < words->n; i++) {
        size_t len = strlen(words->v[i]);
        bool found = false;

        for (size_t k = 0; k + len <= n && !found; k++)
            found = strncasecmp(line + k, words->v[i], len) == 0;
        if (!found)
            return false;
    }
    return true;
}

int cmd_compat(struct cli *c, int argc, char **argv, struct err *e) {
    bool done;
    _cleanup_strv_ struct strv words = STRV_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT(16 << 20);
    int r = opts_command(NULL, 0, argc, argv, false, 0, -1, &words, &done, e);

    if (r < 0 || done)
        return r;
    if (!*hatake_compat_text)
        return err_set(e, ERR_NOT_FOUND, "this program was built without COMPAT.md");
    for (const char *line = hatake_compat_text; *line;) {
        size_t n = strcspn(line, "\n");

        if (wanted(line, n, &words)) {
            buf_add(&out, line, n);
            buf_addc(&out, '\n');
        }
        line += n + (line[n] != '\0');
    }
    return out_write(&out, e);
}

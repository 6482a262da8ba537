// SPDX-License-Identifier: Apache-2.0
#include "base/nameserver.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"

void nameserver_first(char ret[NAMESERVER_TEXT]) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);

    snprintf(ret, NAMESERVER_TEXT, "127.0.0.1:53");
    if (fs_read_file("/etc/resolv.conf", &b, NULL) < 0)
        return;
    for (const char *line = buf_str(&b); line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        const char *v = str_after(line, "nameserver");

        if (!v || (*v != ' ' && *v != '\t'))
            continue;
        v += strspn(v, " \t");
        snprintf(ret, NAMESERVER_TEXT, strchr(v, ':') && strcspn(v, ":") < strcspn(v, " \t\n") ? "[%.*s]:53" : "%.*s:53", (int)strcspn(v, " \t\r\n"),
                 v);
        return;
    }
}

// SPDX-License-Identifier: Apache-2.0
/* Errors out of the logs of runtimes. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/test.h"
#include "monitor/foreign-log.h"

static int error_of(const char *text, char *ret, size_t cap) {
    char path[] = "/tmp/hatake-runtime-log-XXXXXX";
    _cleanup_close_ int fd = mkstemp(path);
    int r;

    if (fd < 0 || full_write(fd, text, strlen(text)) < 0)
        return -EIO;
    r = foreign_log_error(path, ret, cap);
    unlink(path);
    return r;
}

TEST(the_last_error_of_a_runtimes_log) {
    char text[64];

    CHECK(foreign_log_error("/nonexistent/log.json", text, sizeof text) == -ENOENT);
    CHECK(error_of("", text, sizeof text) == 0);
    CHECK(error_of("not json\n{\"level\":\"warning\",\"msg\":\"w\"}\n", text, sizeof text) == 0);
    CHECK(error_of("{\"level\":\"error\",\"msg\":\"first\"}\n{\"msg\": \"a \\\"b\\\" \\u00e9\\n\", \"level\": \"error\"}\n", text, sizeof text) == 1);
    CHECK_STR(text, "a \"b\" \303\251\n");
    /* A text that looks like a member is none. */
    CHECK(error_of("{\"level\":\"info\",\"msg\":\"x \\\"level\\\":\\\"error\\\"\"}\n", text, sizeof text) == 0);
    CHECK(error_of("{\"level\":\"error\",\"msg\":\"0123456789012345678901234567890123456789012345678901234567890123456789\"}", text, sizeof text) ==
          1);
    CHECK(strlen(text) < sizeof text);
}

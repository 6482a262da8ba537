// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/map.h"
#include "base/spawn.h"
#include "base/str.h"
#include "base/strv.h"
#include "base/test.h"

TEST(err_is_untouched_by_null_and_wraps) {
    _cleanup_err_ struct err e = ERR_INIT;

    CHECK_INT(err_set(NULL, ERR_CONFLICT, "x"), -ERR_CONFLICT);
    CHECK_INT(err_set(&e, ERR_NOT_FOUND, "no such thing: %s", "a"), -ERR_NOT_FOUND);
    CHECK_INT(err_wrap(&e, "start %s", "b"), -ERR_NOT_FOUND);
    CHECK_STR(err_msg(&e), "start b: no such thing: a");
    CHECK_INT(err_set(&e, ERR_INVALID, "again: %s", err_msg(&e)), -ERR_INVALID);
    CHECK_STR(err_msg(&e), "again: start b: no such thing: a");
}

TEST(err_errno_names_the_cause) {
    _cleanup_err_ struct err e = ERR_INIT;

    CHECK_INT(err_errno(&e, -ENOSPC, "write %s", "f"), -ERR_NO_SPACE);
    CHECK_STR(err_msg(&e), "write f: no space left on device");
    CHECK_INT(e.errnum, ENOSPC);
}

TEST(buf_keeps_its_maximum) {
    _cleanup_buf_ struct buf b = BUF_INIT(10);

    buf_adds(&b, "0123456789");
    CHECK(buf_ok(&b));
    buf_addc(&b, 'x');
    CHECK(!buf_ok(&b));
    CHECK_STR(buf_str(&b), "0123456789");
    CHECK_INT(buf_check(&b, NULL), -ERR_TOO_LARGE);
}

/* A reader that reserves, reads nothing and commits nothing must not turn what malloc left there into the text. */
TEST(buf_reserved_and_not_filled_is_an_empty_text) {
    _cleanup_free_ char *used = malloc(128);

    if (used)
        memset(used, ' ', 128);
    free(TAKE_PTR(used)); /* what the buffer gets next */
    {
        _cleanup_buf_ struct buf b = BUF_INIT(1000);

        CHECK(buf_reserve(&b, 100) != NULL);
        CHECK_STR(buf_str(&b), "");
        buf_adds(&b, "ab");
        CHECK(buf_reserve(&b, 500) != NULL);
        CHECK_STR(buf_str(&b), "ab");
    }
}

TEST(buf_numbers_and_long_formats) {
    _cleanup_buf_ struct buf b = BUF_INIT(100000);
    char long_text[600];

    memset(long_text, 'y', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = 0;
    buf_addi(&b, INT64_MIN);
    buf_addc(&b, ' ');
    buf_addi(&b, 0);
    buf_addc(&b, ' ');
    buf_addu(&b, UINT64_MAX);
    CHECK_STR(buf_str(&b), "-9223372036854775808 0 18446744073709551615");
    buf_reset(&b);
    buf_addf(&b, "<%s>", long_text);
    CHECK_INT(b.len, 601);
    buf_consume(&b, 600);
    CHECK_STR(buf_str(&b), ">");
}

TEST(json_strings_escape_as_go_does) {
    _cleanup_buf_ struct buf b = BUF_INIT(1000);

    buf_add_json_string(&b, "a\"\\\n<&>\x01\xff\xe2\x80\xa8\xc3\xa9\xed\xa0\x80");
    CHECK_STR(buf_str(&b), "\"a\\\"\\\\\\n\\u003c\\u0026\\u003e\\u0001\\ufffd\\u2028\xc3\xa9\\ufffd\\ufffd\\ufffd\"");
}

TEST(quoted_texts_show_what_they_hold) {
    _cleanup_buf_ struct buf b = BUF_INIT(1000);

    buf_add_quoted(&b, "a\"\\\a\t\n\r\x1b\x7f<\xc3\xa9");
    CHECK_STR(buf_str(&b), "\"a\\\"\\\\\\a\\t\\n\\r\\x1b\\x7f<\xc3\xa9\"");
}

TEST(strv_splits_joins_and_sets) {
    _cleanup_strv_ struct strv l = STRV_INIT;
    _cleanup_free_ char *s = NULL;

    CHECK_INT(strv_split(&l, "b,,a", ','), 0);
    CHECK_INT(l.n, 3);
    strv_sort(&l);
    s = strv_join(&l, "-");
    CHECK_STR(s, "-a-b");
    for (int i = 0; i < 100; i++)
        CHECK_INT(strv_addf(&l, "K%d=%d", i, i), 0);
    CHECK_INT(strv_env_set(&l, "K7", "seven"), 0);
    CHECK_STR(strv_env_get(&l, "K7"), "seven");
    CHECK_INT(l.n, 103);
    strv_remove_at(&l, 0);
    CHECK_STR(l.v[0], "a");
    CHECK(l.v[l.n] == NULL);
}

TEST(map_survives_churn) {
    struct map m = MAP_INIT;
    char key[32];
    size_t seen = 0;

    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 1000; i++) {
            snprintf(key, sizeof(key), "k%d-%d", round, i);
            CHECK_INT(map_set(&m, key, (void *)(uintptr_t)(i + 1), NULL), 0);
        }
        for (int i = 0; i < 1000; i += 2) {
            snprintf(key, sizeof(key), "k%d-%d", round, i);
            CHECK(map_remove(&m, key) == (void *)(uintptr_t)(i + 1));
        }
    }
    CHECK_INT(m.n, 2500);
    CHECK(map_get(&m, "k3-1") == (void *)2);
    CHECK(map_get(&m, "k3-2") == NULL);
    for (struct map_entry *i = NULL; (i = map_next(&m, i));)
        seen++;
    CHECK_INT(seen, 2500);
    map_done(&m);
}

/* Removing and adding over and over must not fill the slots with tombstones until probing never ends. */
TEST(map_probing_ends_after_many_removals) {
    struct map m = MAP_INIT;
    char key[32];

    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        CHECK_INT(map_set(&m, key, &m, NULL), 0);
        CHECK(map_remove(&m, key) == &m);
    }
    CHECK_INT(m.n, 0);
    CHECK(map_get(&m, "none") == NULL);
    map_done(&m);
}

TEST(clock_round_trips) {
    char text[CLOCK_TEXT_MAX];
    int64_t t;

    CHECK_INT(clock_format(INT64_C(1700000000) * NSEC_PER_SEC + 120, text), 29 + 1 - 1);
    CHECK_STR(text, "2023-11-14T22:13:20.00000012Z");
    CHECK_INT(clock_parse(text, &t, NULL), 0);
    CHECK_INT(t, INT64_C(1700000000) * NSEC_PER_SEC + 120);
    CHECK_INT(clock_parse("2023-11-15T00:13:20.5+02:00", &t, NULL), 0);
    CHECK_INT(t, INT64_C(1700000000) * NSEC_PER_SEC + 500000000);
    clock_format(CLOCK_ZERO, text);
    CHECK_STR(text, "0001-01-01T00:00:00Z");
    CHECK_INT(clock_parse(text, &t, NULL), 0);
    CHECK(t == CLOCK_ZERO);
    CHECK_INT(clock_parse("yesterday", &t, NULL), -ERR_INVALID);
    CHECK_INT(clock_parse("2023-13-15T00:13:20Z", &t, NULL), -ERR_INVALID);
}

TEST(numbers_are_whole_strings) {
    uint64_t u;
    int64_t i;
    bool b;

    CHECK_INT(parse_i64("-12", &i), 0);
    CHECK_INT(i, -12);
    CHECK_INT(parse_i64("12 ", &i), -EINVAL);
    CHECK_INT(parse_i64("", &i), -EINVAL);
    CHECK_INT(parse_i64("-", &i), -EINVAL);
    CHECK_INT(parse_i64("9223372036854775808", &i), -ERANGE);
    CHECK_INT(parse_u64("-1", &u), -EINVAL);
    CHECK_INT(parse_u64_base("0755", 8, &u), 0);
    CHECK_INT(u, 0755);
    CHECK_INT(parse_int_range("70000", 0, 65535, &i), -ERANGE);
    CHECK_INT(parse_bool("True", &b), 0);
    CHECK(b);
    CHECK_INT(parse_bool("yes", &b), -EINVAL);
}

TEST(ids_are_unique_hex) {
    char a[ID_LEN + 1], b[ID_LEN + 1];
    unsigned char raw[4];

    id_new(a);
    id_new(b);
    CHECK(id_is_full(a));
    CHECK(!streq(a, b));
    CHECK(hex_decode("00fFa1b2", raw, 4));
    CHECK_INT(raw[1], 255);
    CHECK(!hex_decode("00fFa1", raw, 4));
    CHECK(!hex_decode("0xfFa1b2", raw, 4));
}

TEST(files_are_replaced_read_and_removed) {
    char dir[] = "/tmp/hatake-base-XXXXXX";
    _cleanup_buf_ struct buf b = BUF_INIT(10);
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_free_ char *deep = NULL, *file = NULL;
    struct stat st;

    REQUIRE(mkdtemp(dir));
    deep = str_printf("%s/a/b/c", dir);
    file = str_printf("%s/f", deep);
    CHECK_INT(fs_mkdir_p(deep, 0700, &e), 0);
    CHECK_INT(fs_mkdir_p(deep, 0700, &e), 0);
    CHECK_INT(fs_replace_file(file, "0123456789", 10, 0640, &e), 0);
    CHECK_INT(stat(file, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0640);
    CHECK_INT(fs_read_file(file, &b, &e), 0);
    CHECK_STR(buf_str(&b), "0123456789");
    CHECK_INT(fs_replace_file_volatile(file, "0123456789x", 11, 0640, &e), 0);
    buf_reset(&b);
    CHECK_INT(fs_read_file(file, &b, &e), -ERR_TOO_LARGE);
    CHECK_INT(fs_remove_tree(dir, &e), 0);
    CHECK(!fs_exists(dir));
    CHECK_INT(fs_remove_tree(dir, &e), 0);
}

/* Deeper than a stack or a path can be; with names in the way that the removal itself would choose. */
TEST(trees_of_any_depth_are_removed) {
    char dir[] = "/tmp/hatake-base-XXXXXX";
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_close_ int at = -EBADF;

    REQUIRE(mkdtemp(dir));
    at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(at >= 0 && mkdirat(at, ".removed-0", 0700) == 0 && mkdirat(at, ".removed-0/full", 0700) == 0);
    for (int i = 0; i < 5000; i++) {
        int next;

        REQUIRE(mkdirat(at, "d", 0700) == 0 && mkdirat(at, "e", 0700) == 0);
        next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        REQUIRE(next >= 0);
        close_fd(at);
        at = next;
    }
    CHECK_INT(fs_remove_tree(dir, &e), 0);
    CHECK(!fs_exists(dir));
}

/* What `sh -c script` writes to 1 and to 2, which are given in the wrong places on purpose: 1 sits where 2 shall be and the other way round. */
static int shell(const char *script, struct buf *out, struct buf *err) {
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)(uintptr_t)script, NULL}, *envp[] = {(char *)"A=b", NULL};
    int one[2], two[2], status;
    pid_t pid;
    ssize_t n;
    char piece[256];

    if (spawn_pipe(one, NULL) < 0 || spawn_pipe(two, NULL) < 0)
        return -1;
    if (spawn_start("/bin/sh", argv, envp, (const struct spawn_fd[]){{two[1], 2}, {one[1], 1}, {one[1], 7}}, 3, &pid, NULL) < 0)
        return -1;
    close_fd(one[1]);
    close_fd(two[1]);
    while ((n = read(one[0], piece, sizeof piece)) > 0)
        buf_add(out, piece, (size_t)n);
    while ((n = read(two[0], piece, sizeof piece)) > 0)
        buf_add(err, piece, (size_t)n);
    close_fd(one[0]);
    close_fd(two[0]);
    status = spawn_wait(pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(spawn_gives_what_is_named_and_no_more) {
    _cleanup_buf_ struct buf out = BUF_INIT(4096), err = BUF_INIT(4096);

    CHECK_INT(shell("echo to-one; echo to-seven >&7; echo to-two >&2; cat; env | grep ^A=; ls /proc/self/fd >&2; exit 3", &out, &err), 3);
    CHECK_STR(buf_str(&out), "to-one\nto-seven\nA=b\n");
    CHECK_STR(buf_str(&err), "to-two\n0\n1\n2\n3\n7\n"); /* 3 is the folder ls reads */
}

TEST(spawn_says_which_program_is_missing) {
    _cleanup_err_ struct err e = ERR_INIT;
    char *argv[] = {(char *)"x", NULL}, *envp[] = {NULL};
    pid_t pid = 0;

    CHECK_INT(spawn_start("/no/such/program", argv, envp, NULL, 0, &pid, &e), -ERR_NOT_FOUND);
    CHECK(strstr(err_msg(&e), "/no/such/program") != NULL);
    CHECK_INT(pid, 0);
    CHECK_INT(spawn_wait(1), -1);
}

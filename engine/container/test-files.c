// SPDX-License-Identifier: Apache-2.0
/* hatake-files: how the archive comes in, and what is replaced on a full disk. */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "base/test.h"
#include "container/files-input.h"
#include "container/files.h"
#include "layers/test-archive.h"

/* ---- the receiver ------------------------------------------------------------------------------------------------------------------------ */
struct sender {
    pthread_t thread;
    int fd;
    const char *text;
    size_t n, at_a_time;
};

static void *send_text(void *arg) {
    struct sender *s = arg;

    for (size_t at = 0; at < s->n; at += s->at_a_time)
        if (full_write(s->fd, s->text + at, MIN(s->at_a_time, s->n - at)) < 0)
            break;
    shutdown(s->fd, SHUT_WR);
    return NULL;
}

/* A receiver's thread may still be letting go of its lock when its end is known: each has a struct that stays. */
static struct files_input *fresh_input(bool framed, int64_t length) {
    static struct files_input all[256];
    static size_t used;
    struct files_input *in = &all[used++ % ELEMENTSOF(all)];

    *in = (struct files_input){.framed = framed};
    body_frame_init(&in->frame, length);
    return in;
}

/* All content of a body into ret; `early` of its bytes were received before. What files_input_next() said last. */
static int64_t take_body(struct files_input *in, const char *text, size_t early, size_t at_a_time, struct buf *ret, char *ret_rest, struct err *e) {
    struct sender s = {.text = text + early, .n = strlen(text) - early, .at_a_time = at_a_time};
    const unsigned char *p;
    int ends[2];
    int64_t k;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return err_errno(e, errno, "socketpair");
    s.fd = ends[1];
    in->fd = ends[0];
    in->raw = (const unsigned char *)text;
    in->n_raw = early;
    if (files_input_start(in, e) < 0 || pthread_create(&s.thread, NULL, send_text, &s) != 0)
        return -1;
    while ((k = files_input_next(in, 0, &p, e)) > 0)
        buf_add(ret, p, (size_t)k);
    pthread_join(s.thread, NULL);
    ret_rest[MAX(recv(ends[0], ret_rest, 15, MSG_DONTWAIT), (ssize_t)0)] = 0;
    close(ends[0]);
    close(ends[1]);
    for (size_t i = 0; i < INPUT_PIECES; i++)
        free(in->piece[i].room);
    return k;
}

TEST(the_receiver_finds_the_end_of_a_body_however_it_comes) {
    static const char text[] = "5\r\nhello\r\n1\r\n,\r\n6;x=y\r\n world\r\n0\r\nT: 1\r\n\r\nGET /next";

    for (size_t early = 0; early < 12; early++) {
        for (size_t at_a_time = 1; at_a_time < sizeof text; at_a_time += 3) {
            struct files_input *in = fresh_input(true, -1);
            _cleanup_err_ struct err e = ERR_INIT;
            _cleanup_buf_ struct buf got = BUF_INIT(KIB(4));
            char rest[16];

            CHECK_INT(take_body(in, text, early, at_a_time, &got, rest, &e), 0);
            CHECK_STR(buf_str(&got), "hello, world");
            CHECK(files_input_whole(in));
            CHECK_STR(rest, "GET /next");
        }
    }
}

TEST(the_receiver_tells_a_client_that_leaves_from_the_end) {
    struct files_input *in = fresh_input(true, 10);
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_buf_ struct buf got = BUF_INIT(KIB(4));
    char rest[16];

    CHECK_INT(take_body(in, "half", 1, 3, &got, rest, &e), -(int)ERR_CANCELLED);
    CHECK_STR(buf_str(&got), "half");
    CHECK(!files_input_whole(in));
}

TEST(a_client_that_sends_no_more_is_not_waited_for_for_ever) {
    struct files_input *in = fresh_input(true, 10);
    _cleanup_err_ struct err e = ERR_INIT;
    const unsigned char *p;
    int ends[2];

    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    in->fd = ends[0];
    REQUIRE(files_input_start(in, &e) == 0);
    CHECK_INT(files_input_next(in, clock_mono_ns() + NSEC_PER_MSEC, &p, &e), -(int)ERR_DEADLINE);
    CHECK(!files_input_whole(in));
    close(ends[1]); /* ends the thread */
    CHECK_INT(files_input_next(in, 0, &p, &e), -(int)ERR_CANCELLED);
    close(ends[0]);
    for (size_t i = 0; i < INPUT_PIECES; i++)
        free(in->piece[i].room);
}

TEST(a_pipe_ends_the_archive_by_its_end) {
    struct files_input *in = fresh_input(false, 0);
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_buf_ struct buf got = BUF_INIT(KIB(4));
    char rest[16];

    CHECK_INT(take_body(in, "all of it", 0, 2, &got, rest, &e), 0);
    CHECK_STR(buf_str(&got), "all of it");
}

/* ---- what is replaced -------------------------------------------------------------------------------------------------------------------- */
static int64_t next_of_text(void *arg, const unsigned char **ret_p, struct err *e) {
    struct buf *b = arg;
    size_t n = b->len;

    *ret_p = (const unsigned char *)b->data;
    b->len = 0;
    return (int64_t)n;
}

static int drop(void *arg, const void *p, size_t n, struct err *e) {
    return 0;
}

#define BIG MIB(5)

/* On a disk with room for one such file and a half: 0 when the new one took the place of the old. 77: not allowed to mount. */
static int replace_on_a_small_disk(void) {
    const struct files_unpack how = {.dest = "/", .ends_soon = true};
    _cleanup_free_ char *old = calloc(1, BIG), *new = malloc(BIG);
    _cleanup_buf_ struct buf archive = BUF_INIT(2 * BIG);
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_close_ int fd = -EBADF;
    struct tar_reader *reader;
    struct stat st;
    int r;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("tmpfs", "/tmp", "tmpfs", 0, "size=8m") < 0)
        return 77;
    fd = open("/tmp/big", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (!old || !new || chdir("/tmp") < 0 || full_write(fd, old, BIG) < 0)
        return 1;
    fd = close_fd(fd);
    memset(new, 'n', BIG);
    archive_add(&archive, "big", new, BIG);
    archive_end(&archive);
    reader = tar_reader_new(next_of_text, &archive, drop, NULL);
    r = reader ? files_unpack(reader, &how, &e) : -1;
    tar_reader_free(reader);
    return r < 0 || stat("big", &st) < 0 || st.st_size != (off_t)BIG ? 2 : 0;
}

TEST(a_replaced_file_gives_its_space_back_when_it_is_needed) {
    pid_t pid = fork();
    int status = 0;

    if (pid == 0)
        _exit(replace_on_a_small_disk());
    REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        TEST_SKIP("may not mount");
    CHECK_INT(WEXITSTATUS(status), 0);
}

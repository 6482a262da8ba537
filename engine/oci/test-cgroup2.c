// SPDX-License-Identifier: Apache-2.0
/*
 * Control groups of v2: what is written where, the device program (run here by an interpreter of the few instructions it has), and, as root on a machine
 * with a cgroup2 mount, the kernel's own word on devices, freezing and killing.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <mntent.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/test.h"
#include "oci/build-internal.h"
#include "oci/exec-internal.h"

/* ---- the program -------------------------------------------------------------------------------------------------------- */

static int run_program(const struct buf *code, char type, const char *access, unsigned major, unsigned minor) {
    uint32_t bits = (strchr(access, 'm') ? 1u : 0) | (strchr(access, 'r') ? 2u : 0) | (strchr(access, 'w') ? 4u : 0);
    uint32_t ctx[3] = {(type == 'b' ? 1u : 2u) | bits << 16, major, minor}, r[11] = {0};
    const struct bpf_insn *v = (const void *)code->data;
    size_t n = code->len / sizeof *v;

    for (size_t at = 0; at < n; at++) {
        const struct bpf_insn *i = &v[at];

        switch (i->code) {
        case BPF_LDX | BPF_MEM | BPF_W:
            r[i->dst_reg] = ctx[i->off / 4];
            break;
        case BPF_ALU | BPF_MOV | BPF_X:
            r[i->dst_reg] = r[i->src_reg];
            break;
        case BPF_ALU64 | BPF_MOV | BPF_K:
            r[i->dst_reg] = (uint32_t)i->imm;
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            r[i->dst_reg] &= (uint32_t)i->imm;
            break;
        case BPF_ALU | BPF_RSH | BPF_K:
            r[i->dst_reg] >>= i->imm;
            break;
        case BPF_JMP | BPF_JNE | BPF_K:
            at += r[i->dst_reg] != (uint32_t)i->imm ? (size_t)i->off : 0;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            at += r[i->dst_reg] == (uint32_t)i->imm ? (size_t)i->off : 0;
            break;
        case BPF_JMP | BPF_JNE | BPF_X:
            at += r[i->dst_reg] != r[i->src_reg] ? (size_t)i->off : 0;
            break;
        case BPF_JMP | BPF_EXIT:
            return (int)r[0];
        default:
            return -1;
        }
    }
    return -2;
}

static struct cgroup_layout only_v2(const char *mount) {
    struct cgroup_layout l = {.n = 1, .pure_v2 = true};

    l.h[0].unified = true;
    snprintf(l.h[0].mount, sizeof l.h[0].mount, "%s", mount);
    return l;
}

/* The plan of a document whose linux.resources are given as text. */
static void *plan_of(const char *mount, const char *path, const char *resources, struct plan *ret, struct err *e) {
    struct cgroup_layout l = only_v2(mount);
    struct plan_builder b = PLAN_BUILDER_INIT;
    json_t *res = json_loads(resources, 0, NULL);
    json_t *doc = json_pack("{s:s,s:{s:[s],s:s},s:{s:s},s:{s:[{s:s}],s:s,s:o}}", "ociVersion", "1.2.0", "process", "args", "true", "cwd", "/", "root",
                            "path", "/nowhere", "linux", "namespaces", "type", "mount", "cgroupsPath", path, "resources", res);
    struct oci_input in = {.spec = doc, .id = "x", .cgroups = &l};
    void *block = NULL;
    size_t n;

    if (oci_build(&b, &in, e) == 0 && plan_finish(&b, &block, &n, e) == 0)
        CHECK(plan_open(block, n, ret) == 0);
    plan_builder_done(&b);
    json_decref(doc);
    return block;
}

static void program_of(const char *devices, struct buf *ret) {
    _cleanup_free_ char *text = str_printf("{\"devices\":%s}", devices);
    _cleanup_err_ struct err e = ERR_INIT;
    struct plan p;
    _cleanup_free_ void *block = plan_of("/sys/fs/cgroup", "/x", text, &p, &e);
    const struct plan_op *op;

    REQUIRE(block);
    op = plan_find(&p, PLAN_CGROUP_DEVICES);
    REQUIRE(op);
    buf_add(ret, plan_s(&p, op, 0), plan_sn(&p, op, 0));
}

TEST(device_program_of_a_usual_container) {
    _cleanup_buf_ struct buf b = BUF_INIT(65536);

    program_of("[{\"allow\":false,\"access\":\"rwm\"},{\"allow\":true,\"type\":\"c\",\"major\":10,\"minor\":229,\"access\":\"r\"}]", &b);
    CHECK_INT(run_program(&b, 'c', "rw", 1, 3), 1);   /* null */
    CHECK_INT(run_program(&b, 'c', "rw", 1, 5), 1);   /* zero */
    CHECK_INT(run_program(&b, 'c', "rw", 136, 7), 1); /* a terminal */
    CHECK_INT(run_program(&b, 'c', "rw", 1, 1), 0);   /* memory */
    CHECK_INT(run_program(&b, 'b', "r", 8, 0), 0);    /* a disk */
    CHECK_INT(run_program(&b, 'b', "m", 8, 0), 1);    /* its node may be made */
    CHECK_INT(run_program(&b, 'c', "m", 77, 77), 1);
    CHECK_INT(run_program(&b, 'c', "mr", 77, 77), 0);
    CHECK_INT(run_program(&b, 'c', "r", 10, 229), 1);
    CHECK_INT(run_program(&b, 'c', "rw", 10, 229), 0); /* only part of what is asked */
    CHECK_INT(run_program(&b, 'c', "w", 10, 229), 0);
    CHECK_INT(run_program(&b, 'b', "r", 10, 229), 0);
}

TEST(device_program_of_a_privileged_container) {
    _cleanup_buf_ struct buf all = BUF_INIT(65536), but = BUF_INIT(65536);

    program_of("[{\"allow\":true,\"access\":\"rwm\"}]", &all);
    CHECK_INT(run_program(&all, 'b', "rwm", 8, 0), 1);
    CHECK_INT(run_program(&all, 'c', "rw", 1, 1), 1);
    program_of("[{\"allow\":true,\"access\":\"rwm\"},{\"allow\":false,\"type\":\"b\",\"major\":8,\"access\":\"w\"}]", &but);
    CHECK_INT(run_program(&but, 'b', "r", 8, 3), 1);
    CHECK_INT(run_program(&but, 'b', "rw", 8, 3), 0);
    CHECK_INT(run_program(&but, 'b', "w", 9, 3), 1);
}

/* ---- limits --------------------------------------------------------------------------------------------------------------- */

static bool sets(const struct plan *p, const char *file, const char *value) {
    for (size_t i = 0; i < p->n_ops; i++)
        if (p->ops[i].type == PLAN_CGROUP_SET && streq(plan_s(p, &p->ops[i], 0), file))
            return streq(plan_s(p, &p->ops[i], 1), value);
    return false;
}

TEST(limits_of_v2) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct plan p;
    _cleanup_free_ void *block = plan_of(
        "/c2", "/g",
        "{\"memory\":{\"limit\":67108864,\"swap\":134217728,\"reservation\":33554432},\"cpu\":{\"shares\":1024,\"quota\":50000,\"period\":100000,"
        "\"cpus\":\"0\",\"mems\":\"0\"},\"pids\":{\"limit\":33},\"blockIO\":{\"weight\":500,\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":0,"
        "\"rate\":1048576}]},\"unified\":{\"memory.high\":\"1000000\"}}",
        &p, &e);

    if (!block)
        test_fail(__FILE__, __LINE__, "%s", err_msg(&e));
    REQUIRE(block);
    CHECK(sets(&p, "/c2/g/memory.max", "67108864"));
    CHECK(sets(&p, "/c2/g/memory.swap.max", "67108864")); /* v2 counts swap apart */
    CHECK(sets(&p, "/c2/g/memory.low", "33554432"));
    CHECK(sets(&p, "/c2/g/cpu.weight", "39")); /* 1 + (1024 - 2) * 9999 / 262142 */
    CHECK(sets(&p, "/c2/g/cpu.max", "50000 100000"));
    CHECK(sets(&p, "/c2/g/cpuset.cpus", "0"));
    CHECK(sets(&p, "/c2/g/pids.max", "33"));
    CHECK(sets(&p, "/c2/g/io.weight", "4950"));
    CHECK(sets(&p, "/c2/g/io.max", "8:0 rbps=1048576"));
    CHECK(sets(&p, "/c2/g/memory.high", "1000000"));
}

TEST(weights_of_v2_out_of_range) {
    static const struct {
        const char *resources, *weight;
    } cases[] = {{"{\"cpu\":{\"shares\":1}}", "70369281052672"},
                 {"{\"cpu\":{\"shares\":2}}", "1"},
                 {"{\"cpu\":{\"shares\":262144}}", "10000"},
                 {"{\"cpu\":{\"shares\":300000}}", "11443"}};

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        struct plan p;
        _cleanup_free_ void *block = plan_of("/c2", "/g", cases[i].resources, &p, &e);

        REQUIRE(block);
        CHECK(sets(&p, "/c2/g/cpu.weight", cases[i].weight));
    }
}

TEST(limits_of_v2_are_written) {
    char dir[] = "/tmp/hatake-test-XXXXXX", path[64];
    static const char *const files[] = {"memory.max", "memory.swap.max", "pids.max", "cpu.max"};
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    struct oci_fault f = {0};
    struct plan p;
    void *block;
    int fd = -EBADF;

    REQUIRE(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/g", dir);
    mkdir(path, 0755);
    for (size_t i = 0; i < ELEMENTSOF(files); i++) {
        snprintf(path, sizeof path, "%s/g/%s", dir, files[i]);
        CHECK(fs_replace_file_volatile(path, "", 0, 0644, NULL) == 0);
    }
    block = plan_of(dir, "/g", "{\"memory\":{\"limit\":1048576,\"swap\":-1},\"pids\":{\"limit\":-1},\"cpu\":{\"period\":50000}}", &p, &e);
    REQUIRE(block);
    /* The device program cannot be attached to a plain folder; everything before it is done. */
    ignore_result(parent_cgroups(&kern_linux, &p, &fd, &f));
    for (size_t i = 0; i < ELEMENTSOF(files); i++) {
        static const char *const want[] = {"1048576", "max", "max", "max 50000"};

        snprintf(path, sizeof path, "%s/g/%s", dir, files[i]);
        buf_reset(&b);
        CHECK(fs_read_file(path, &b, NULL) == 0);
        CHECK_STR(buf_str(&b), want[i]);
    }
    close_fd(fd);
    free(block);
    block = NULL;
    fs_remove_tree(dir, NULL);
}

/* ---- the kernel ----------------------------------------------------------------------------------------------------------- */

static bool find_cgroup2(char *ret, size_t max) {
    FILE *f = setmntent("/proc/self/mounts", "re");
    bool found = false;

    for (struct mntent *m; !found && f && (m = getmntent(f));)
        if (streq(m->mnt_type, "cgroup2") && access(m->mnt_dir, W_OK) == 0) {
            snprintf(ret, max, "%s", m->mnt_dir);
            found = true;
        }
    if (f)
        endmntent(f);
    return found;
}

/* What a member of the group is told when it opens the devices: one letter each. */
static int inside(const char *procs, int out) {
    static const char *const paths[] = {"/dev/null", "/dev/zero", "/dev/kmsg"};
    char answer[4] = "";
    int fd = open(procs, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, "0", 1) != 1)
        return 1;
    for (size_t i = 0; i < 3; i++) {
        fd = open(paths[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        answer[i] = fd >= 0 ? 'y' : errno == EPERM ? 'n' : '?';
        close_fd(fd);
    }
    ignore_result(write(out, answer, 3));
    for (;;)
        pause();
}

static bool has_line(const char *dir, const char *file, const char *line) {
    _cleanup_free_ char *path = str_printf("%s/%s", dir, file);
    _cleanup_buf_ struct buf b = BUF_INIT(4096);

    return path && fs_read_file(path, &b, NULL) == 0 && strstr(buf_str(&b), line);
}

TEST(the_kernel_keeps_devices_freezes_and_kills) {
    char mount[128], group[64], answer[8] = "";
    _cleanup_free_ char *procs = NULL, *dir = NULL;
    _cleanup_err_ struct err e = ERR_INIT;
    struct oci_fault f = {0};
    struct plan p;
    void *block;
    int fd = -EBADF, out[2], status = 0;
    pid_t pid;

    if (geteuid() != 0 || !find_cgroup2(mount, sizeof mount)) {
        test_skip("needs root and a cgroup2 mount");
        return;
    }
    snprintf(group, sizeof group, "/hatake-test-%d", (int)getpid());
    block = plan_of(mount, group, "{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]}", &p, &e);
    REQUIRE(block);
    if (parent_cgroups(&kern_linux, &p, &fd, &f) < 0) {
        test_skip(f.text);
        ignore_result(oci_cgroup_remove(&kern_linux, &p));
        free(block);
        return;
    }
    dir = str_printf("%s%s", mount, group);
    procs = str_printf("%s/cgroup.procs", dir);
    CHECK(pipe2(out, O_CLOEXEC) == 0);
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        _exit(inside(procs, out[1]));
    close_fd(out[1]);
    CHECK_INT((long)read(out[0], answer, 3), 3);
    CHECK(answer[0] == 'y' && answer[1] == 'y' && answer[2] != 'y');
    CHECK(oci_cgroup_freeze(&kern_linux, &p, true) == 0);
    CHECK(has_line(dir, "cgroup.events", "frozen 1"));
    CHECK(oci_cgroup_freeze(&kern_linux, &p, false) == 0);
    CHECK(has_line(dir, "cgroup.events", "frozen 0"));
    CHECK_INT(oci_cgroup_signal(&kern_linux, &p, SIGKILL, 0), 1);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close_fd(out[0]);
    close_fd(fd);
    CHECK(oci_cgroup_remove(&kern_linux, &p) == 0);
    CHECK(access(dir, F_OK) < 0);
    free(block);
}

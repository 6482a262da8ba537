// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/test.h"
#include "oci/build.h"

static const struct cgroup_layout v1 = {.h = {{"/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct", false},
                                              {"/sys/fs/cgroup/memory", "memory", false},
                                              {"/sys/fs/cgroup/devices", "devices", false},
                                              {"/sys/fs/cgroup/pids", "pids", false}},
                                        .n = 4};
static const struct cgroup_layout v2 = {.h = {{"/sys/fs/cgroup", "", true}}, .n = 1, .pure_v2 = true};

/* Text of the plan of a document, or of the error. */
static char *plan_text(const char *json, const struct cgroup_layout *cgroups) {
    struct plan_builder b = PLAN_BUILDER_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    _cleanup_err_ struct err e = ERR_INIT;
    json_t *spec = json_loads(json, 0, NULL);
    struct oci_input in = {.spec = spec, .id = "c1", .cgroups = cgroups, .rootfs_path = "/rootfs"};
    void *block = NULL;
    struct plan p;
    size_t n;
    char *text = NULL;

    if (!spec)
        return str_dup("not JSON");
    if (oci_build(&b, &in, &e) < 0 || plan_finish(&b, &block, &n, &e) < 0)
        text = str_printf("error: %s", err_msg(&e));
    else if (plan_open(block, n, &p) < 0)
        text = str_dup("not a plan");
    else {
        plan_print(&p, &out);
        text = buf_take(&out);
    }
    free(block);
    plan_builder_done(&b);
    json_decref(spec);
    return text;
}

static bool contains(const char *text, const char *part) {
    bool yes = strstr(text, part);

    if (!yes)
        test_fail(__FILE__, __LINE__, "no \"%s\" in:\n%s", part, text);
    return yes;
}

#define HEAD                                                                                                                                         \
    "{\"ociVersion\":\"1.2.0\",\"process\":{\"args\":[\"sh\",\"-c\",\"a "                                                                            \
    "b\"],\"cwd\":\"/w\"},\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"pid\"}"

TEST(plan_of_a_small_document) {
    _cleanup_free_ char *t = plan_text(HEAD "]}}", NULL);
    char *core = strstr(t, "symlink content=/proc/kcore path=/dev/core\n");

    if (core) /* depends on the kernel */
        memmove(core, strchr(core, '\n') + 1, strlen(strchr(core, '\n') + 1) + 1);
    CHECK_STR(t, "container id=c1 bundle=\"\" version=1.2.0\n"
                 "namespaces flags=0x20020000\n"
                 "root-bind path=/rootfs\n"
                 "device mode=0x21b6 major=1 minor=3 uid=0 gid=0 path=/dev/null\n"
                 "device mode=0x21b6 major=1 minor=8 uid=0 gid=0 path=/dev/random\n"
                 "device mode=0x21b6 major=1 minor=7 uid=0 gid=0 path=/dev/full\n"
                 "device mode=0x21b6 major=5 minor=0 uid=0 gid=0 path=/dev/tty\n"
                 "device mode=0x21b6 major=1 minor=5 uid=0 gid=0 path=/dev/zero\n"
                 "device mode=0x21b6 major=1 minor=9 uid=0 gid=0 path=/dev/urandom\n"
                 "symlink content=/proc/self/fd path=/dev/fd\n"
                 "symlink content=/proc/self/fd/0 path=/dev/stdin\n"
                 "symlink content=/proc/self/fd/1 path=/dev/stdout\n"
                 "symlink content=/proc/self/fd/2 path=/dev/stderr\n"
                 "symlink content=pts/ptmx path=/dev/ptmx\n"
                 "pivot flags=0\n"
                 "keyring name=c1\n"
                 "user uid=0 gid=0 umask=-1 groups=\n"
                 "cwd path=/w\n"
                 "exec argv=[sh,-c,\"a b\"] env=[]\n");
}

TEST(plan_of_limits_v1) {
    _cleanup_free_ char *t =
        plan_text(HEAD "],\"cgroupsPath\":\"/docker/x\",\"resources\":{\"memory\":{\"limit\":1048576,\"swap\":-1},\"cpu\":{\"shares\":512,"
                       "\"quota\":50000,\"period\":100000},\"pids\":{\"limit\":5}}}}",
                  &v1);

    contains(t, "cgroup version=1 freezer=0 dir=\"/sys/fs/cgroup/cpu,cpuacct/docker/x\" controller=\"cpu,cpuacct\"\n");
    contains(t, "cgroup-set flags=0 file=/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes value=1048576\n");
    contains(t, "file=/sys/fs/cgroup/memory/docker/x/memory.memsw.limit_in_bytes value=-1\n");
    contains(t, "file=\"/sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.shares\" value=512\n");
    contains(t, "cpu.cfs_quota_us\" value=50000\n");
    contains(t, "/docker/x/pids.max value=5\n");
    contains(t, "devices.deny value=a\n");
    contains(t, "devices.allow value=\"c 136:* rwm\"\n");
}

TEST(plan_of_limits_v2) {
    _cleanup_free_ char *t = plan_text(
        HEAD "],\"resources\":{\"memory\":{\"limit\":1000,\"swap\":3000,\"reservation\":7},\"cpu\":{\"shares\":1024,\"quota\":-1,\"period\":5}}}}",
        &v2);

    contains(t, "cgroup version=2 freezer=0 dir=/sys/fs/cgroup/c1 controller=*\n");
    contains(t, "file=/sys/fs/cgroup/c1/memory.swap.max value=2000\n");
    contains(t, "file=/sys/fs/cgroup/c1/memory.max value=1000\n");
    contains(t, "file=/sys/fs/cgroup/c1/cpu.weight value=39\n");
    contains(t, "file=/sys/fs/cgroup/c1/cpu.max value=\"max 5\"\n");
}

TEST(plan_of_mounts) {
    _cleanup_free_ char *t =
        plan_text(HEAD "]},\"mounts\":[{\"destination\":\"/"
                       "t\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"size=65536k\",\"tmpcopyup\",\"ro\",\"rw\"]},"
                       "{\"destination\":\"/b\",\"source\":\"/src\",\"options\":[\"rbind\",\"ro\",\"rslave\"]},{\"destination\":\"/r\",\"source\":\"/"
                       "src\",\"options\":[\"bind\",\"rro\"]}]}",
                  NULL);

    contains(t, "mount attrs=0x2 flags=1 propagation=0x0 type=tmpfs source=tmpfs target=/t data=size=65536k\n");
    contains(t, "bind set=0x1 clear=0x0 flags=1 propagation=0x84000 source=/src target=/b beneath=\"\"\n");
    contains(t, "bind set=0x1 clear=0x0 flags=2 propagation=0x44000 source=/src target=/r beneath=\"\"\n");
}

TEST(plan_refusals) {
    static const struct {
        const char *json, *text;
    } t[] = {
        {"[]", "error: the configuration is not a JSON object"},
        {"{\"ociVersion\":\"2.0\"}", "error: ociVersion: \"2.0\" is not supported, expected 1.x"},
        {"{\"ociVersion\":\"1.0\",\"linux\":{\"namespaces\":[{\"type\":\"pid\"}]}}",
         "error: linux.namespaces: a container needs a new mount namespace"},
        {HEAD ",{\"type\":\"moon\"}]}}", "error: namespace \"moon\" does not exist"},
        {HEAD "],\"sysctl\":{\"net.ipv4.ip_forward\":\"1\"}}}", "error: sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace"},
        {HEAD "],\"sysctl\":{\"kernel.panic\":\"1\"}}}", "error: sysctl \"kernel.panic\" is not in a separate kernel namespace"},
        {HEAD "],\"maskedPaths\":[\"proc\"]}}", "error: linux.maskedPaths[0]: \"proc\" is not an absolute path"},
        {HEAD "]},\"hostname\":\"x\"}", "error: unable to set hostname without a private UTS namespace"},
        {HEAD "]},\"mounts\":[{\"destination\":\"x\"}]}", "error: mounts[0].destination: \"x\" is not an absolute path"},
        {"{\"ociVersion\":\"1.0\",\"process\":{\"args\":[]},\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}}",
         "error: process.args: expected at least one argument"},
        {"{\"ociVersion\":\"1.0\",\"process\":{\"args\":[1]},\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}}",
         "error: process.args[0]: expected a string without NUL"},
        {"{\"ociVersion\":\"1.0\",\"process\":{\"args\":[\"a\"],\"user\":{\"uid\":4294967296}},\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}}",
         "error: process.user.uid: 4294967296 is outside of 0 to 4294967294"},
        {"{\"ociVersion\":\"1.0\",\"process\":{\"args\":[\"a\"],\"capabilities\":{\"bounding\":[\"CAP_FLY\"]}},\"linux\":{\"namespaces\":[{\"type\":"
         "\"mount\"}]}}",
         "error: process.capabilities.bounding: unknown capability \"CAP_FLY\""},
        {HEAD "],\"cgroupsPath\":\"/../x\"}}", "error: linux.cgroupsPath: \"/../x\" is not a plain path"},
    };

    for (size_t i = 0; i < ELEMENTSOF(t); i++) {
        _cleanup_free_ char *got = plan_text(t[i].json, &v1);

        CHECK_STR(got, t[i].text);
    }
}

/* Whatever is changed in a block: it is refused, or every access stays inside of it (the sanitizers watch). */
TEST(plan_survives_damage) {
    struct plan_builder b = PLAN_BUILDER_INIT;
    const char *list[] = {"a", "bc", ""};
    uint64_t rnd = 88172645463325252ULL;
    void *block;
    size_t n;

    plan_add(&b, PLAN_EXEC);
    plan_set_list(&b, 0, list, 3);
    plan_set_list(&b, 1, list, 0);
    plan_add(&b, PLAN_HOSTNAME);
    plan_set_s(&b, 0, "host");
    REQUIRE(plan_finish(&b, &block, &n, NULL) == 0);
    plan_builder_done(&b);
    for (size_t cut = 0; cut < n; cut++) {
        _cleanup_free_ void *copy = malloc(cut ? cut : 1);
        struct plan p;

        memcpy(copy, block, cut);
        CHECK(plan_open(copy, cut, &p) < 0);
    }
    for (int round = 0; round < 20000; round++) {
        _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
        _cleanup_free_ unsigned char *copy = malloc(n);
        struct plan p;

        memcpy(copy, block, n);
        for (int k = 0; k < 3; k++) {
            rnd ^= rnd << 13;
            rnd ^= rnd >> 7;
            rnd ^= rnd << 17;
            copy[rnd % n] = (unsigned char)(rnd >> 40);
        }
        if (plan_open(copy, n, &p) == 0)
            plan_print(&p, &out);
    }
    free(block);
}

TEST(plan_lists) {
    struct plan_builder b = PLAN_BUILDER_INIT;
    const char *list[] = {"one", "", "three"};
    const char *s = NULL;
    struct plan p;
    void *block;
    size_t n;

    plan_add(&b, PLAN_EXEC);
    plan_set_list(&b, 0, list, 3);
    REQUIRE(plan_finish(&b, &block, &n, NULL) == 0);
    REQUIRE(plan_open(block, n, &p) == 0);
    CHECK_INT(plan_list_n(&p, p.ops, 0), 3);
    CHECK_INT(plan_list_n(&p, p.ops, 1), 0);
    for (int i = 0; i < 3; i++) {
        s = plan_list_next(&p, p.ops, 0, s);
        CHECK_STR(s, list[i]);
    }
    CHECK(!plan_list_next(&p, p.ops, 0, s));
    free(block);
    plan_builder_done(&b);
}

TEST(signal_and_capability_names) {
    CHECK_INT(oci_signal_number("SIGTERM"), 15);
    CHECK_INT(oci_signal_number("kill"), 9);
    CHECK_INT(oci_signal_number("10"), 10);
    CHECK_INT(oci_signal_number("RTMIN+3"), 37);
    CHECK_INT(oci_signal_number("SIGNOPE"), -1);
    CHECK_INT(oci_signal_number("999"), -1);
    CHECK_INT(oci_cap_number("CAP_CHOWN"), 0);
    CHECK_INT(oci_cap_number("CAP_CHECKPOINT_RESTORE"), 40);
    CHECK_INT(oci_cap_number("CHOWN"), -1);
}

#define MAPS                                                                                                                                         \
    "\"uidMappings\":[{\"containerID\":0,\"hostID\":200000,\"size\":10},{\"containerID\":10,\"hostID\":500000,\"size\":5}],"                         \
    "\"gidMappings\":[{\"containerID\":0,\"hostID\":300000,\"size\":10}]"

TEST(plan_of_user_namespaces) {
    _cleanup_free_ char *made = plan_text(HEAD ",{\"type\":\"user\"}]," MAPS "}}", NULL);
    _cleanup_free_ char *joined = plan_text(HEAD ",{\"type\":\"user\",\"path\":\"/proc/5/ns/user\"}]," MAPS "}}", NULL);
    _cleanup_free_ char *none = plan_text(HEAD "]," MAPS "}}", NULL);

    CHECK(contains(made, "namespaces flags=0x30020000\n"));
    CHECK(contains(made, "idmap gid=0 map=\"0 200000 10\\n10 500000 5\\n\"\nidmap gid=1 map=\"0 300000 10\\n\"\n"));
    /* Nothing is written for a namespace that is there, but who its root is must be known. */
    CHECK(contains(joined, "join type=0x10000000 path=/proc/5/ns/user\n"));
    CHECK(contains(joined, "namespaces flags=0x20020000\n") && contains(joined, "idmap gid=0 map="));
    CHECK(!strstr(none, "idmap"));
}

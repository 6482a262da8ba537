// SPDX-License-Identifier: Apache-2.0
/* The runtime's document: what the defaults mean, and what options change. */
#include <string.h>

#include "base/idmap.h"
#include "base/limits.h"
#include "base/str.h"
#include "base/test.h"
#include "container/spec.h"

struct bench {
    struct engine_config cfg;
    struct ctr_fixed *f;
    struct ctr_user user;
    uint32_t gid;
    json_t *doc;
    struct err e;
};

static void bench_make_in(struct bench *b, const struct idmap *ids, const char *config, const char *host) {
    json_t *c = json_loads(config, 0, NULL), *h = json_loads(host, 0, NULL);

    *b = (struct bench){.f = ctr_fixed_new()};
    b->cfg.userns_remap = ids ? (char *)(uintptr_t) "remap" : NULL;
    memset(b->f->id, 'a', 64);
    b->f->path = strdup("sh");
    ignore_result(api_container_config_read(&b->f->config, c, NULL, NULL));
    ignore_result(api_host_config_read(&b->f->host, h, NULL, NULL));
    ignore_result(ctr_host_defaults(&b->cfg, &b->f->host, NULL));
    json_decref(c);
    json_decref(h);
    b->user = (struct ctr_user){.home = "/root", .groups = &b->gid, .n_groups = 1};
    struct ctr_spec_input in = {
        .config = &b->cfg, .fixed = b->f, .user = &b->user, .hosts_path = "/h", .hostname_path = "/n", .resolv_path = "/r", .ids = ids};

    if (ctr_spec_build(&in, &b->doc, &b->e) < 0)
        b->doc = NULL;
}

static void bench_make(struct bench *b, const char *config, const char *host) {
    bench_make_in(b, NULL, config, host);
}

static void bench_done(struct bench *b) {
    json_decref(b->doc);
    ctr_fixed_unref(b->f);
    err_done(&b->e);
}

static json_t *at(json_t *o, const char *path) {
    _cleanup_strv_ struct strv parts = STRV_INIT;

    ignore_result(strv_split(&parts, path, '/'));
    for (size_t i = 0; i < parts.n; i++)
        o = json_object_get(o, parts.v[i]);
    return o;
}

static void check_json(json_t *got, const char *want, int line) {
    json_t *w = json_loads(want, JSON_DECODE_ANY, NULL);

    if (!json_equal(got, w)) {
        char *text = got ? json_dumps(got, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;

        test_fail(__FILE__, line, "got %s, want %s", text ? text : "nothing", want);
        free(text);
    }
    json_decref(w);
}
#define CHECK_JSON(got, want) check_json(got, want, __LINE__)

static json_t *mount_at(json_t *doc, const char *destination) {
    size_t i;
    json_t *m;

    json_array_foreach(json_object_get(doc, "mounts"), i, m) {
        if (streq(json_string_value(json_object_get(m, "destination")), destination))
            return m;
    }
    return NULL;
}

TEST(defaults) {
    struct bench b;

    bench_make(&b, "{\"Hostname\":\"h1\",\"Env\":[\"A=1\"]}", "{}");
    REQUIRE(b.doc);
    CHECK_JSON(at(b.doc, "process/args"), "[\"sh\"]");
    CHECK_JSON(at(b.doc, "process/env"),
               "[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\"HOSTNAME=h1\",\"A=1\",\"HOME=/root\"]");
    CHECK_JSON(at(b.doc, "process/cwd"), "\"/\"");
    CHECK_JSON(at(b.doc, "process/user"), "{\"uid\":0,\"gid\":0,\"additionalGids\":[0]}");
    CHECK_JSON(at(b.doc, "process/capabilities/bounding"),
               "[\"CAP_CHOWN\",\"CAP_DAC_OVERRIDE\",\"CAP_FOWNER\",\"CAP_FSETID\",\"CAP_KILL\",\"CAP_SETGID\",\"CAP_SETUID\",\"CAP_SETPCAP\","
               "\"CAP_NET_BIND_SERVICE\",\"CAP_NET_RAW\",\"CAP_SYS_CHROOT\",\"CAP_MKNOD\",\"CAP_AUDIT_WRITE\",\"CAP_SETFCAP\"]");
    CHECK_JSON(at(b.doc, "process/noNewPrivileges"), "false");
    CHECK_JSON(at(b.doc, "process/oomScoreAdj"), "0");
    CHECK_JSON(at(b.doc, "linux/namespaces"),
               "[{\"type\":\"mount\"},{\"type\":\"network\"},{\"type\":\"uts\"},{\"type\":\"pid\"},{\"type\":\"ipc\"}]");
    CHECK_JSON(at(b.doc, "linux/sysctl"), "{\"net.ipv4.ip_unprivileged_port_start\":\"0\",\"net.ipv4.ping_group_range\":\"0 2147483647\"}");
    CHECK_JSON(at(b.doc, "linux/cgroupsPath"), "\"/docker/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"");
    CHECK_JSON(at(b.doc, "linux/seccomp"), "{\"hatakeProfile\":\"builtin\"}");
    CHECK_JSON(at(b.doc, "hostname"), "\"h1\"");
    CHECK_JSON(json_object_get(mount_at(b.doc, "/dev/shm"), "options"), "[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size=67108864\"]");
    CHECK_JSON(json_object_get(mount_at(b.doc, "/etc/hosts"), "source"), "\"/h\"");
    CHECK_INT(json_array_size(at(b.doc, "linux/maskedPaths")), 11);
    CHECK_INT(json_array_size(at(b.doc, "linux/readonlyPaths")), 5);
    CHECK_INT(json_array_size(at(b.doc, "linux/resources/devices")), 13);
    bench_done(&b);
}

TEST(modes_and_privileges) {
    struct bench b;

    bench_make(&b, "{}", "{\"Privileged\":true,\"NetworkMode\":\"host\",\"PidMode\":\"host\",\"IpcMode\":\"host\",\"UTSMode\":\"host\"}");
    REQUIRE(b.doc);
    CHECK_JSON(at(b.doc, "linux/namespaces"), "[{\"type\":\"mount\"}]");
    CHECK(at(b.doc, "linux/seccomp") == NULL);
    CHECK(at(b.doc, "linux/maskedPaths") == NULL);
    CHECK(at(b.doc, "hostname") == NULL);
    CHECK_JSON(at(b.doc, "linux/sysctl"), "{}");
    CHECK_JSON(json_object_get(mount_at(b.doc, "/sys"), "options"), "[\"nosuid\",\"noexec\",\"nodev\"]");
    CHECK_JSON(json_object_get(mount_at(b.doc, "/dev/shm"), "type"), "\"bind\"");
    bench_done(&b);
}

TEST(user_namespaces) {
    struct idmap ids = {.uids = {1, {{0, 200000, 10}}}, .gids = {2, {{0, 300000, 10}, {10, 400000, 5}}}, .root_uid = 200000, .root_gid = 300000};
    struct bench b;

    bench_make_in(&b, &ids, "{}", "{}");
    CHECK_JSON(at(b.doc, "linux/uidMappings"), "[{\"containerID\":0,\"hostID\":200000,\"size\":10}]");
    CHECK_JSON(at(b.doc, "linux/gidMappings"),
               "[{\"containerID\":0,\"hostID\":300000,\"size\":10},{\"containerID\":10,\"hostID\":400000,\"size\":5}]");
    CHECK_JSON(json_array_get(at(b.doc, "linux/namespaces"), json_array_size(at(b.doc, "linux/namespaces")) - 1), "{\"type\":\"user\"}");
    CHECK(!at(b.doc, "linux/sysctl/net.ipv4.ping_group_range"));
    CHECK(at(b.doc, "linux/sysctl/net.ipv4.ip_unprivileged_port_start") != NULL);
    bench_done(&b);
}

TEST(capability_changes) {
    struct bench b;

    bench_make(&b, "{}", "{\"CapDrop\":[\"ALL\"],\"CapAdd\":[\"net_admin\"]}");
    REQUIRE(b.doc);
    CHECK_JSON(at(b.doc, "process/capabilities/effective"), "[\"CAP_NET_ADMIN\"]");
    bench_done(&b);
    bench_make(&b, "{}", "{\"CapDrop\":[\"CAP_CHOWN\"]}");
    REQUIRE(b.doc);
    CHECK_INT(json_array_size(at(b.doc, "process/capabilities/permitted")), 13);
    b.user.uid = 5;
    json_t *caps = ctr_spec_capabilities(&b.f->host, false, false, NULL);

    CHECK_INT(json_array_size(json_object_get(caps, "effective")), 0);
    CHECK_INT(json_array_size(json_object_get(caps, "bounding")), 13);
    json_decref(caps);
    bench_done(&b);
}

TEST(limits) {
    struct bench b;

    bench_make(&b, "{}", "{\"Memory\":10000000,\"NanoCpus\":1500000000,\"PidsLimit\":7,\"Ulimits\":[{\"Name\":\"nofile\",\"Soft\":1,\"Hard\":2}]}");
    REQUIRE(b.doc);
    CHECK_JSON(at(b.doc, "linux/resources/memory"), "{\"limit\":10000000,\"swap\":20000000}");
    CHECK_JSON(at(b.doc, "linux/resources/cpu"), "{\"period\":100000,\"quota\":150000}");
    CHECK_JSON(at(b.doc, "linux/resources/pids"), "{\"limit\":7}");
    CHECK_JSON(at(b.doc, "process/rlimits"), "[{\"type\":\"RLIMIT_NOFILE\",\"soft\":1,\"hard\":2}]");
    bench_done(&b);
}

/* Zero: the update does not say. */
static struct api_host_config limits(int64_t memory, int64_t swap, int64_t quota, int64_t period) {
    return (struct api_host_config){.has_memory = memory != 0,
                                    .memory = memory,
                                    .has_memory_swap = swap != 0,
                                    .memory_swap = swap,
                                    .has_cpu_quota = quota != 0,
                                    .cpu_quota = quota,
                                    .has_cpu_period = period != 0,
                                    .cpu_period = period};
}

TEST(swap_without_memory_is_refused_on_v2) {
    struct api_host_config alone = limits(0, 1, 0, 0), both = limits(67108864, 67108864, 0, 0), none = limits(0, -1, 0, 0),
                           unset = limits(0, 0, 0, 0);

    CHECK_STR(ctr_swap_refused(&alone, true), "unable to set swap limit without memory limit");
    CHECK(!ctr_swap_refused(&alone, false));
    CHECK(!ctr_swap_refused(&both, true));
    CHECK(!ctr_swap_refused(&none, true));
    CHECK(!ctr_swap_refused(&unset, true));
}

TEST(shares_out_of_range_are_refused_on_v1) {
    struct api_host_config one = {.has_cpu_shares = true, .cpu_shares = 1}, many = {.has_cpu_shares = true, .cpu_shares = 300000},
                           usual = {.has_cpu_shares = true, .cpu_shares = 2};

    CHECK_STR(ctr_shares_refused(&one, false), "the minimum allowed cpu-shares is 2");
    CHECK_STR(ctr_shares_refused(&many, false), "the maximum allowed cpu-shares is 262144");
    CHECK(!ctr_shares_refused(&usual, false));
    CHECK(!ctr_shares_refused(&one, true));
    CHECK(!ctr_shares_refused(&many, true));
}

TEST(updates_go_with_the_limit_beside) {
    struct api_host_config now = limits(33554432, 134217728, 20000, 50000), memory = limits(33554432, 0, 0, 0), quota = limits(0, 0, 20000, 0),
                           nothing = limits(0, 0, 0, 0);

    ctr_update_complete(&now, &memory);
    CHECK(memory.has_memory_swap && memory.memory_swap == 134217728);
    CHECK(!memory.has_cpu_quota && !memory.has_cpu_period);
    ctr_update_complete(&now, &quota);
    CHECK(quota.has_cpu_period && quota.cpu_period == 50000 && quota.cpu_quota == 20000);
    CHECK(!quota.has_memory && !quota.has_memory_swap);
    ctr_update_complete(&now, &nothing);
    CHECK(!nothing.has_memory_swap && !nothing.has_cpu_quota && !nothing.has_cpu_period);
}

TEST(mount_options) {
    struct bench b;

    bench_make(&b, "{}", "{\"Tmpfs\":{\"/t\":\"exec,size=10m\",\"/proc/x\":\"\"},\"ReadonlyRootfs\":true}");
    REQUIRE(b.doc);
    CHECK_JSON(json_object_get(mount_at(b.doc, "/t"), "options"), "[\"nosuid\",\"nodev\",\"exec\",\"size=10m\"]");
    CHECK_JSON(json_object_get(mount_at(b.doc, "/etc/hosts"), "options"), "[\"rbind\",\"rprivate\",\"ro\"]");
    CHECK_JSON(at(b.doc, "root/readonly"), "true");
    bench_done(&b);
    bench_make(&b, "{}", "{\"Tmpfs\":{\"/t\":\"bogus\"}}");
    CHECK(b.doc == NULL);
    CHECK_STR(err_msg(&b.e), "invalid tmpfs option \"bogus\"");
    bench_done(&b);
}

TEST(device_faults) {
    const struct {
        const char *host, *text;
    } bad[] = {
        {"{\"Devices\":[{\"PathOnHost\":\"/dev/nope\"}]}",
         "error gathering device information while adding custom device \"/dev/nope\": no such file or directory"},
        {"{\"DeviceCgroupRules\":[\"bogus\"]}", "invalid device cgroup rule format: 'bogus'"},
        {"{\"SecurityOpt\":[\"seccomp=/nope\"]}", "Decoding seccomp profile failed: invalid character '/' looking for beginning of value"},
    };

    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        struct bench b;

        bench_make(&b, "{}", bad[i].host);
        CHECK(b.doc == NULL);
        CHECK_STR(err_msg(&b.e), bad[i].text);
        bench_done(&b);
    }
}

TEST(seccomp_profile_faults) {
    static const struct {
        const char *profile, *text;
    } bad[] = {
        {"{\"defaultAction\":", "Decoding seccomp profile failed: unexpected end of JSON input"},
        {"[]", "Decoding seccomp profile failed: json: cannot unmarshal array into Go value of type seccomp.Seccomp"},
        {"{\"defaultAction\":3}", "Decoding seccomp profile failed: json: cannot unmarshal number into Go struct field "
                                  "Seccomp.LinuxSeccomp.defaultAction of type specs.LinuxSeccompAction"},
        {"{\"syscalls\":[{\"names\":[1]}]}", "Decoding seccomp profile failed: json: cannot unmarshal number into Go struct field "
                                             "Syscall.syscalls.LinuxSyscall.names of type string"},
        {"{\"syscalls\":[{\"action\":\"SCMP_ACT_ERRNO\",\"args\":[{\"index\":-1}]}]}",
         "Decoding seccomp profile failed: json: cannot unmarshal number -1 into Go struct field "
         "LinuxSeccompArg.syscalls.LinuxSyscall.args.index of type uint"},
        {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_X86\"],\"archMap\":[{}]}",
         "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'"},
        {"{\"syscalls\":[{\"name\":\"a\",\"names\":[\"b\"]}]}",
         "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'"},
    };

    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        json_t *caps = json_array(), *s = NULL;

        CHECK(ctr_seccomp_convert(bad[i].profile, caps, &s, &e) < 0);
        CHECK(s == NULL);
        CHECK_STR(err_msg(&e), bad[i].text);
        json_decref(caps);
    }
    for (size_t i = 0; i < 2; i++) {
        json_t *caps = json_array(), *s = NULL;

        CHECK(ctr_seccomp_convert(i ? "null" : "{}", caps, &s, NULL) == 0);
        CHECK(s == NULL);
        json_decref(caps);
    }
}

TEST(seccomp_profiles) {
    static const char profile[] = "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"archMap\":[],\"architectures\":[\"SCMP_ARCH_X86_64\"],\"syscalls\":["
                                  "{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\"},"
                                  "{\"names\":[\"mount\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"caps\":[\"CAP_SYS_ADMIN\"]}},"
                                  "{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_ALLOW\",\"excludes\":{\"caps\":[\"CAP_SYS_ADMIN\"]}},"
                                  "{\"names\":[\"old\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"minKernel\":\"99.0\"}},"
                                  "{\"name\":\"write\",\"action\":\"SCMP_ACT_ALLOW\",\"args\":[]}]}";
    json_t *caps = json_array(), *s = NULL;

    CHECK(ctr_seccomp_convert(profile, caps, &s, NULL) == 0);
    CHECK_JSON(s, "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"architectures\":[\"SCMP_ARCH_X86_64\"],\"syscalls\":["
                  "{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\"},{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_ALLOW\"},"
                  "{\"names\":[\"write\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[]}]}");
    json_decref(s);
    json_array_append_new(caps, json_string("CAP_SYS_ADMIN"));
    CHECK(ctr_seccomp_convert(profile, caps, &s, NULL) == 0);
    CHECK_JSON(json_object_get(json_array_get(json_object_get(s, "syscalls"), 1), "names"), "[\"mount\"]");
    json_decref(s);
    json_decref(caps);
}

// SPDX-License-Identifier: Apache-2.0
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "kern/apparmor.h"
#include "kern/cgroup.h"
#include "system/system.h"

/* Value of KEY in os-release text, quotes removed; NULL when absent. Source: os-release(5). */
static char *os_release_get(const char *text, const char *key) {
    size_t k = strlen(key);

    for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        const char *v = line + k, *end;

        if (strncmp(line, key, k) != 0 || *v++ != '=')
            continue;
        end = strchrnul(v, '\n');
        if (end - v >= 2 && (*v == '"' || *v == '\'') && end[-1] == *v) {
            v++;
            end--;
        }
        return strndup(v, (size_t)(end - v));
    }
    return NULL;
}

static const char *go_arch_of(const char *machine) {
    static const char *const names[][2] = {{"x86_64", "amd64"}, {"aarch64", "arm64"}, {"armv7l", "arm"}, {"i686", "386"}, {"ppc64le", "ppc64le"}};

    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        if (streq(machine, names[i][0]))
            return names[i][1];
    return machine;
}

static void read_os_release(struct system_facts *f) {
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_SMALL_FILE);

    if (fs_read_file("/etc/os-release", &text, NULL) < 0 && fs_read_file("/usr/lib/os-release", &text, NULL) < 0)
        return;
    f->operating_system = os_release_get(buf_str(&text), "PRETTY_NAME");
    f->os_version = os_release_get(buf_str(&text), "VERSION_ID");
}

static bool controller(const struct cgroup_layout *l, const char *name, const char *knob) {
    const struct cgroup_hierarchy *h = cgroup_of(l, name);
    char path[256];

    if (!h || !cgroup_has(l, name))
        return false;
    if (!knob || h->unified)
        return true;
    snprintf(path, sizeof(path), "%s/%s", h->mount, knob);
    return fs_exists(path);
}

static int read_groups(struct system_facts *f, struct err *e) {
    struct cgroup_layout l;
    int r = cgroup_detect(&l, e);

    if (r < 0)
        return r;
    f->unified = l.pure_v2;
    f->io = controller(&l, l.pure_v2 ? "io" : "blkio", "blkio.throttle.read_bps_device");
    f->memory_limit = controller(&l, "memory", "memory.limit_in_bytes");
    f->swap_limit = cgroup_limits_swap(&l);
    f->kernel_memory = !l.pure_v2 && controller(&l, "memory", "memory.kmem.limit_in_bytes");
    f->kernel_memory_tcp = !l.pure_v2 && controller(&l, "memory", "memory.kmem.tcp.limit_in_bytes");
    f->cpu_cfs_period = controller(&l, "cpu", "cpu.cfs_period_us");
    f->cpu_cfs_quota = controller(&l, "cpu", "cpu.cfs_quota_us");
    f->cpu_shares = controller(&l, "cpu", "cpu.shares");
    f->cpu_set = controller(&l, "cpuset", NULL);
    f->pids_limit = controller(&l, "pids", NULL);
    f->oom_kill_disable = !l.pure_v2 && controller(&l, "memory", "memory.oom_control");
    return 0;
}

static bool sysctl_is_one(const char *path) {
    _cleanup_buf_ struct buf b = BUF_INIT(16);

    return fs_read_file(path, &b, NULL) == 0 && buf_str(&b)[0] == '1';
}

void system_facts_done(struct system_facts *f) {
    free(f->kernel_version);
    free(f->architecture);
    free(f->go_arch);
    free(f->operating_system);
    free(f->os_version);
    free(f->hostname);
    *f = (struct system_facts){0};
}

int system_facts_read(struct system_facts *ret, struct err *e) {
    struct system_facts f = {0};
    struct utsname u;
    struct sysinfo si;
    cpu_set_t cpus;

    if (uname(&u) < 0 || sysinfo(&si) < 0)
        return err_errno(e, errno, "read facts of the machine");
    f.kernel_version = strdup(u.release);
    f.architecture = strdup(u.machine);
    f.go_arch = strdup(go_arch_of(u.machine));
    f.hostname = strdup(u.nodename);
    f.memory_bytes = (int64_t)si.totalram * si.mem_unit;
    f.cpus = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    read_os_release(&f);
    if (!f.operating_system)
        f.operating_system = strdup("Linux");
    if (!f.os_version)
        f.os_version = strdup("");
    if (!f.kernel_version || !f.architecture || !f.go_arch || !f.hostname || !f.operating_system || !f.os_version) {
        system_facts_done(&f);
        return err_oom(e);
    }
    f.ipv4_forwarding = sysctl_is_one("/proc/sys/net/ipv4/ip_forward");
    f.bridge_nf_iptables = sysctl_is_one("/proc/sys/net/bridge/bridge-nf-call-iptables");
    f.bridge_nf_ip6tables = sysctl_is_one("/proc/sys/net/bridge/bridge-nf-call-ip6tables");
    f.apparmor = apparmor_enabled();
    if (read_groups(&f, e) < 0) {
        system_facts_done(&f);
        return -ERR_INTERNAL;
    }
    *ret = f;
    return 0;
}

static int bad_number(const char *text, const char *why, struct err *e) {
    return err_set(e, ERR_INTERNAL, "strconv.ParseInt: parsing \"%s\": %s", text, why);
}

int system_parse_time(const char *s, int64_t *ret_ns, struct err *e) {
    _cleanup_free_ char *sec_text = NULL;
    const char *dot;
    int64_t sec, frac = 0;
    int r;

    if (str_empty(s)) {
        *ret_ns = 0;
        return 0;
    }
    dot = strchr(s, '.');
    sec_text = strndup(s, dot ? (size_t)(dot - s) : strlen(s));
    if (!sec_text)
        return err_oom(e);
    r = parse_i64(sec_text[0] == '+' ? sec_text + 1 : sec_text, &sec);
    if (r < 0)
        return bad_number(sec_text, r == -ERANGE ? "value out of range" : "invalid syntax", e);
    if (dot) {
        r = parse_i64(dot + 1, &frac);
        if (r < 0)
            return bad_number(dot + 1, r == -ERANGE ? "value out of range" : "invalid syntax", e);
        for (size_t digits = strlen(dot + 1); digits < 9; digits++)
            frac *= 10;
        for (size_t digits = strlen(dot + 1); digits > 9; digits--)
            frac /= 10;
    }
    if (sec > INT64_MAX / NSEC_PER_SEC - 1)
        sec = INT64_MAX / NSEC_PER_SEC - 1;
    if (sec < INT64_MIN / NSEC_PER_SEC + 1)
        sec = INT64_MIN / NSEC_PER_SEC + 1;
    *ret_ns = sec * NSEC_PER_SEC + frac;
    return 0;
}

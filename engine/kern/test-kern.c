// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <unistd.h>

#include "base/test.h"
#include "kern/apparmor.h"
#include "kern/cgroup.h"
#include "kern/kern.h"
#include "kern/mountinfo.h"
#include "kern/netlink.h"
#include "kern/overlay.h"
#include "kern/proc.h"

TEST(cgroup_layouts) {
    char hybrid[] = "22 1 8:1 / / rw,relatime - ext4 /dev/sda rw\n"
                    "30 22 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
                    "31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:5 - cgroup2 cgroup2 rw,nsdelegate\n"
                    "32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
                    "33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
                    "34 30 0:30 /part /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                    "35 22 0:30 / /elsewhere/memory rw - cgroup cgroup rw,memory\n";
    char v2[] = "24 22 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
    char ext4[] = "22 1 8:1 / / rw - ext4 /dev/sda rw\n", none[] = "";
    struct cgroup_layout l;

    REQUIRE(cgroup_detect_from(hybrid, &l, NULL) == 0);
    CHECK_INT(l.n, 4);
    CHECK(!l.pure_v2);
    CHECK_STR(cgroup_of(&l, "cpuacct")->mount, "/sys/fs/cgroup/cpu,cpuacct");
    CHECK_STR(cgroup_of(&l, "memory")->mount, "/sys/fs/cgroup/memory");
    CHECK_STR(cgroup_of(&l, "name=systemd")->mount, "/sys/fs/cgroup/systemd");
    CHECK(!cgroup_of(&l, "cpuse"));
    CHECK(!cgroup_of(&l, "pids"));
    REQUIRE(cgroup_detect_from(v2, &l, NULL) == 0);
    CHECK(l.pure_v2);
    CHECK_STR(cgroup_of(&l, "memory")->mount, "/sys/fs/cgroup");
    CHECK(cgroup_detect_from(ext4, &l, NULL) < 0);
    CHECK(cgroup_detect_from(none, &l, NULL) < 0);
}

TEST(mountinfo_lines) {
    char text[] = "22 1 8:1 / / rw,relatime - ext4 /dev/sda rw\n"
                  "not a line\n"
                  "30 22 0:26 /a\\040b /mnt/tab\\011\\134x ro shared:5 master:2 - tmpfs none rw,size=4k\n"
                  "31 22 0:27 / /tail rw unbindable - proc proc ";
    struct mountinfo m;
    char *p = text;

    REQUIRE(mountinfo_next(&p, &m));
    CHECK_STR(m.point, "/");
    CHECK_STR(m.options, "rw,relatime");
    CHECK_STR(m.tags, "");
    CHECK_STR(m.super, "rw");
    CHECK(!mountinfo_has_tag(&m, "shared:"));
    REQUIRE(mountinfo_next(&p, &m));
    CHECK_STR(m.root, "/a b");
    CHECK_STR(m.point, "/mnt/tab\t\\x");
    CHECK_STR(m.type, "tmpfs");
    CHECK_STR(m.super, "rw,size=4k");
    CHECK(mountinfo_has_tag(&m, "shared:"));
    CHECK(mountinfo_has_tag(&m, "master:"));
    REQUIRE(mountinfo_next(&p, &m));
    CHECK_STR(m.point, "/tail");
    CHECK_STR(m.super, "");
    CHECK(!mountinfo_has_tag(&m, "shared:"));
    CHECK(!mountinfo_next(&p, &m));
}

/* The shape of what is built: lengths nest, nothing is outside. */
TEST(netlink_batch) {
    char mem[2048] __attribute__((aligned(8)));
    struct nl_batch b;
    const uint8_t mac[6] = {2, 0x42, 1, 2, 3, 4};
    struct in_addr a = {htonl(0x0a000002)};
    unsigned n = 0, left;

    nl_init(&b, mem, sizeof mem);
    nl_link_veth(&b, "veth0", 7, 1400, "eth0", mac, (struct nl_ns){1234, -1});
    nl_addr(&b, 2, AF_INET, &a, 16);
    nl_link_up(&b, NULL, 1);
    nl_route(&b, 2, AF_INET, NULL, 0, &a, false);
    CHECK(!b.failed);
    left = (unsigned)b.len;
    for (struct nlmsghdr *h = (void *)mem; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left), n++) {
        CHECK_INT(h->nlmsg_seq, n);
        if (n == 0) {
            unsigned rest = h->nlmsg_len - NLMSG_LENGTH(sizeof(struct ifinfomsg));
            bool info = false;

            for (struct rtattr *r = (void *)((char *)NLMSG_DATA(h) + NLMSG_ALIGN(sizeof(struct ifinfomsg))); RTA_OK(r, rest); r = RTA_NEXT(r, rest))
                info = info || r->rta_type == IFLA_LINKINFO;
            CHECK(info);
            CHECK_INT(rest, 0);
        }
    }
    CHECK_INT(n, 4);
    CHECK_INT(left, 0);
}

TEST(netlink_batch_full) {
    char mem[64] __attribute__((aligned(8)));
    struct nl_batch b;

    nl_init(&b, mem, sizeof mem);
    nl_link_veth(&b, "veth0", 0, 0, "eth0", NULL, (struct nl_ns){1, -1});
    CHECK(b.failed);
    CHECK_INT(nl_send(-1, &b, NULL), -EMSGSIZE);
}

static int times;
static int again(int dirfd, const char *path, struct open_how *how, size_t size) {
    times++;
    return -EAGAIN;
}

TEST(open_in_gives_up) {
    struct kern k = kern_linux;

    k.openat2 = again;
    times = 0;
    CHECK_INT(kern_open_in(&k, 0, "x", 0, 0, RESOLVE_IN_ROOT), -EAGAIN);
    CHECK_INT(times, 64);
}

TEST(stat_is_read_behind_any_name) {
    struct proc_stat s;

    REQUIRE(proc_stat_parse("7 (a) b) Z 1 (2) S 1 7 7 0 -1 4194308 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2", &s) == 0);
    CHECK_INT(s.state, 'S');
    CHECK(s.flags & PROC_EXITING);
    CHECK_INT((int)s.ticks, 987654);
    CHECK(proc_is_alive(&s));
    CHECK_INT(proc_stat_parse("7 (a) S 1 2", &s), -EINVAL);
    CHECK_INT(proc_stat_parse("7 (a)", &s), -EINVAL);
    CHECK_INT(proc_stat_parse("", &s), -EINVAL);
}

TEST(a_process_is_its_number_and_its_start) {
    struct proc_stat s;
    int fd;

    REQUIRE(proc_stat_of(getpid(), &s) == 0);
    fd = proc_open_at(getpid(), s.ticks, "ns/net", O_RDONLY);
    CHECK(fd >= 0);
    close(fd);
    CHECK_INT(proc_open(getpid(), s.ticks + 1), -ESRCH);
    CHECK_INT(proc_open_at(getpid(), 0, "no-such-file", O_RDONLY), -ESRCH);
    CHECK_INT(proc_signal(getpid(), s.ticks, 0), 0);
    CHECK_INT(proc_signal(getpid(), s.ticks + 1, SIGKILL), -ESRCH);
    CHECK_INT(proc_stat_of(4194304 + 1, &s), -ESRCH); /* beyond the kernel's largest number */
}

TEST(cgroup_lists) {
    CHECK(cgroup_list_has("cpuset cpu io memory\n", "cpu"));
    CHECK(cgroup_list_has("cpuset cpu io memory\n", "memory"));
    CHECK(!cgroup_list_has("cpuset io memory\n", "cpu"));
    CHECK(!cgroup_list_has("", "cpu"));
}

TEST(apparmor_lists) {
    static const char list[] = "/usr/bin/man (enforce)\ndocker-default-2 (enforce)\ndocker-default (complain)\n";

    CHECK(apparmor_list_has(list, "docker-default"));
    CHECK(apparmor_list_has(list, "/usr/bin/man"));
    CHECK(!apparmor_list_has(list, "docker"));
    CHECK(!apparmor_list_has("docker-default-2 (enforce)\n", "docker-default"));
    CHECK(!apparmor_list_has("", "docker-default"));
}

static char mounted[4096], went[2][256];
static size_t n_went;

static int fake_mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data) {
    snprintf(mounted, sizeof mounted, "%s %s %s", target, type, (const char *)data);
    return 0;
}

static int fake_chdir(const char *path) {
    snprintf(went[n_went++ % 2], sizeof went[0], "%s", path);
    return 0;
}

static int fake_fchdir(int fd) {
    return 0;
}

/* Each of the names so often. */
struct named_layers {
    const char *const *names;
    size_t n, times, at;
};

static const char *next_named(void *arg, const char *last) {
    struct named_layers *l = arg;

    l->at = last ? l->at + 1 : 0;
    return l->at < l->n * l->times ? l->names[l->at % l->n] : NULL;
}

TEST(overlay_names_are_short_for_old_kernels) {
    static const char *const three[] = {"/d/overlay2/l/A", "/d/overlay2/l/B", "/elsewhere/C"},
                             *const one[] = {"/var/lib/docker/overlay2/l/01234567890123456789012345"};
    struct named_layers l = {three, 3, 1, 0}, many = {one, 1, 128, 0};
    struct overlay o = {.next = next_named, .arg = &l, .upper = "/d/overlay2/c/diff", .work = "/d/overlay2/c/work", .is_volatile = true};
    struct kern k = kern_linux;

    k.mount = fake_mount;
    k.chdir = fake_chdir;
    k.fchdir = fake_fchdir;
    CHECK_INT(overlay_at(&k, &o, "/t", 0), 0);
    CHECK_STR(mounted,
              "/t overlay upperdir=/d/overlay2/c/diff,workdir=/d/overlay2/c/work,index=off,volatile,lowerdir=/d/overlay2/l/A:B:/elsewhere/C");
    CHECK_STR(went[0], "/d/overlay2/l");
    /* As many layers as an image may have, and the init layer. */
    o = (struct overlay){.next = next_named,
                         .arg = &many,
                         .upper = "/var/lib/docker/overlay2/0123456789012345678901234567890123456789012345678901234567890123/diff",
                         .work = "/var/lib/docker/overlay2/0123456789012345678901234567890123456789012345678901234567890123/work"};
    CHECK_INT(overlay_at(&k, &o, "/t", 0), 0);
    many.times = 158;
    CHECK_INT(overlay_at(&k, &o, "/t", 0), -E2BIG);
}

static char configured[512];
static int no_option; /* what the kernel says to the options of newer ones */

static int fake_fsopen(const char *type, unsigned flags) {
    configured[0] = 0;
    return 1000;
}

static int fake_fsconfig(int fd, unsigned cmd, const char *key, const void *value, int aux) {
    size_t n = strlen(configured);

    if (key && no_option && strcmp(key, "lowerdir+") == 0)
        return no_option;
    snprintf(configured + n, sizeof configured - n, "%s%s%s;", key ? key : "make", value ? "=" : "", value ? (const char *)value : "");
    return 0;
}

static int fake_fsmount(int fd, unsigned flags, unsigned attrs) {
    return 1001;
}

TEST(overlays_without_a_place_are_for_kernels_that_know_them) {
    static const char *const two[] = {"/a", "/b"};
    struct named_layers l = {two, 2, 1, 0};
    struct overlay o = {.next = next_named, .arg = &l, .upper = "/u", .work = "/w", .is_volatile = true};
    struct kern k = kern_linux;

    k.fsopen = fake_fsopen;
    k.fsconfig = fake_fsconfig;
    k.fsmount = fake_fsmount;
    CHECK_INT(overlay_detached(&k, &o, 0), 1001);
    CHECK_STR(configured, "source=overlay;lowerdir+=/a;lowerdir+=/b;upperdir=/u;workdir=/w;index=off;volatile;make;");
    o = (struct overlay){.next = next_named, .arg = &l};
    CHECK_INT(overlay_detached(&k, &o, 0), 1001);
    CHECK_STR(configured, "source=overlay;lowerdir+=/a;lowerdir+=/b;index=off;make;");
    no_option = -EINVAL;
    CHECK_INT(overlay_detached(&k, &o, 0), -ENOSYS);
    no_option = -ENOENT;
    CHECK_INT(overlay_detached(&k, &o, 0), -ENOENT);
    no_option = 0;
}

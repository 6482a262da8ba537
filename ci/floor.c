// SPDX-License-Identifier: Apache-2.0
/*
 * floor - what a container costs when nothing but the kernel is in the way: the same isolation as a `run --rm true` of the engine, made by hand by one
 * program that knows everything beforehand. The difference to an engine's time is that engine's own cost.
 *
 *   floor N ROOTFS WORK [bridge|none|host]
 *
 * Makes N containers from the unpacked image ROOTFS with upper layers below WORK, and prints a table: median and best microseconds of each step. Needs
 * root; works in mount and network namespaces of its own. The upper layers stay in WORK for the caller to remove.
 * Build: cc -O2 -static -o floor floor.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RUNS_MAX 1000
#define CONTROLLERS_MAX 16
#define BRIDGE_ADDRESS "10.254.0.1"
#define INSIDE_ADDRESS "10.254.0.2"

enum step { GROUPS, CLONE, MOUNTS, LINK, ADDRESSES, EXEC, EXIT, TIDY, TOTAL, STEPS };
static const char *const step_names[STEPS] = {"control groups made",
                                              "clone3 with its namespaces",
                                              "joined, mounts, masks, filter (in the child)",
                                              "link born in the namespace (meanwhile)",
                                              "addresses and route (in the child)",
                                              "exec until true has exited",
                                              "exit seen by the parent",
                                              "control groups removed",
                                              "whole"};

/* What the child tells: moments, by shared memory. */
struct moments {
    volatile int64_t child, ready, configured;
};

static struct moments *moments;
static double samples[STEPS][RUNS_MAX];
static char groups[CONTROLLERS_MAX][128];
static int n_groups;
static const char *rootfs, *work;
static enum { NET_BRIDGE, NET_NONE, NET_HOST } mode = NET_BRIDGE;
static int bridge, route_socket;

static int64_t now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *fmt, ...) {
    int saved = errno;
    va_list ap;

    va_start(ap, fmt);
    fprintf(stderr, "floor: ");
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, ": %s\n", strerror(saved));
    va_end(ap);
    _exit(1);
}

static void must_mount(const char *from, const char *to, const char *type, unsigned long flags, const char *options) {
    if (mount(from, to, type, flags, options) < 0)
        die("mount %s", to);
}

/* ---- netlink ---- */

struct request {
    struct nlmsghdr head;
    char room[1000];
};

static void *begin(struct request *q, int type, int flags, size_t body) {
    memset(q, 0, sizeof *q);
    q->head = (struct nlmsghdr){
        .nlmsg_len = (uint32_t)NLMSG_LENGTH(body), .nlmsg_type = (uint16_t)type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags)};
    return NLMSG_DATA(&q->head);
}

static struct rtattr *attribute(struct request *q, int type, const void *p, size_t n) {
    struct rtattr *a = (struct rtattr *)((char *)q + NLMSG_ALIGN(q->head.nlmsg_len));

    a->rta_type = (unsigned short)type;
    a->rta_len = (unsigned short)RTA_LENGTH(n);
    if (n)
        memcpy(RTA_DATA(a), p, n);
    q->head.nlmsg_len = NLMSG_ALIGN(q->head.nlmsg_len) + RTA_ALIGN(a->rta_len);
    return a;
}

static void close_attribute(struct request *q, struct rtattr *a) {
    a->rta_len = (unsigned short)((char *)q + NLMSG_ALIGN(q->head.nlmsg_len) - (char *)a);
}

/* Send n requests in one message and read their acknowledgements. */
static void talk(int fd, const struct request *q, int n) {
    char buffer[8192];
    size_t used = 0;
    int acknowledged = 0;

    for (int i = 0; i < n; i++) {
        memcpy(buffer + used, &q[i], q[i].head.nlmsg_len);
        used += NLMSG_ALIGN(q[i].head.nlmsg_len);
    }
    if (send(fd, buffer, used, 0) != (ssize_t)used)
        die("netlink");
    while (acknowledged < n) {
        int left = (int)recv(fd, buffer, sizeof buffer, 0);

        if (left <= 0)
            die("netlink reply");
        for (struct nlmsghdr *h = (struct nlmsghdr *)buffer; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
            const struct nlmsgerr *e = NLMSG_DATA(h);

            if (h->nlmsg_type == NLMSG_ERROR && e->error) {
                errno = -e->error;
                die("netlink request %d", acknowledged);
            }
            acknowledged++;
        }
    }
}

static int open_netlink(void) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    if (fd < 0)
        die("netlink socket");
    return fd;
}

static void link_up(struct request *q, int index) {
    struct ifinfomsg *i = begin(q, RTM_NEWLINK, 0, sizeof *i);

    *i = (struct ifinfomsg){.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
}

static void address(struct request *q, int index, const char *text) {
    struct ifaddrmsg *a = begin(q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *a);
    uint32_t v = inet_addr(text);

    *a = (struct ifaddrmsg){.ifa_family = AF_INET, .ifa_prefixlen = 16, .ifa_index = (unsigned)index};
    attribute(q, IFA_LOCAL, &v, sizeof v);
    attribute(q, IFA_ADDRESS, &v, sizeof v);
}

static void make_bridge(void) {
    struct request q[2];
    struct rtattr *info;

    *(struct ifinfomsg *)begin(&q[0], RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg)) =
        (struct ifinfomsg){.ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    attribute(&q[0], IFLA_IFNAME, "floor0", 7);
    info = attribute(&q[0], IFLA_LINKINFO, NULL, 0);
    attribute(&q[0], IFLA_INFO_KIND, "bridge", 6);
    close_attribute(&q[0], info);
    talk(route_socket, q, 1);
    bridge = (int)if_nametoindex("floor0");
    address(&q[0], bridge, BRIDGE_ADDRESS);
    talk(route_socket, q, 1);
}

/* A pair whose far end is born inside the child's namespace, up, named eth0. */
static void make_link(int id, pid_t child) {
    struct request q;
    struct rtattr *info, *data, *peer;
    struct ifinfomsg inside = {0};
    char name[16];
    uint32_t pid = (uint32_t)child;

    *(struct ifinfomsg *)begin(&q, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof inside) =
        (struct ifinfomsg){.ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    snprintf(name, sizeof name, "fl%d", id);
    attribute(&q, IFLA_IFNAME, name, strlen(name) + 1);
    attribute(&q, IFLA_MASTER, &bridge, sizeof bridge);
    info = attribute(&q, IFLA_LINKINFO, NULL, 0);
    attribute(&q, IFLA_INFO_KIND, "veth", 4);
    data = attribute(&q, IFLA_INFO_DATA, NULL, 0);
    peer = attribute(&q, VETH_INFO_PEER, &inside, sizeof inside);
    attribute(&q, IFLA_IFNAME, "eth0", 5);
    attribute(&q, IFLA_NET_NS_PID, &pid, sizeof pid);
    close_attribute(&q, peer);
    close_attribute(&q, data);
    close_attribute(&q, info);
    talk(route_socket, &q, 1);
}

static void configure_inside(int fd) {
    struct request q[4];
    int index = mode == NET_BRIDGE ? (int)if_nametoindex("eth0") : 0;
    uint32_t gateway = inet_addr(BRIDGE_ADDRESS);

    link_up(&q[0], 1);
    if (mode == NET_BRIDGE) {
        address(&q[1], index, INSIDE_ADDRESS);
        link_up(&q[2], index);
        *(struct rtmsg *)begin(&q[3], RTM_NEWROUTE, NLM_F_CREATE, sizeof(struct rtmsg)) =
            (struct rtmsg){.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT, .rtm_type = RTN_UNICAST};
        attribute(&q[3], RTA_GATEWAY, &gateway, sizeof gateway);
    }
    talk(fd, q, mode == NET_BRIDGE ? 4 : 1);
}

/* ---- control groups: version 1 in its usual places, else version 2 ---- */

static void find_groups(void) {
    static const char *const names[] = {"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];

        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/tasks", names[i]);
        if (access(path, W_OK) == 0 && n_groups < CONTROLLERS_MAX)
            snprintf(groups[n_groups++], sizeof groups[0], "/sys/fs/cgroup/%s", names[i]);
    }
    if (n_groups == 0)
        snprintf(groups[n_groups++], sizeof groups[0], "/sys/fs/cgroup");
}

static void write_text(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        die("write %s", path);
    close(fd);
}

static void copy_text(const char *from, const char *to) {
    char text[256] = "";
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

    if (n < 0)
        die("read %s", from);
    close(fd);
    text[n] = '\0';
    write_text(to, text);
}

static void make_groups(int id) {
    char path[256], from[256], to[300];

    for (int i = 0; i < n_groups; i++) {
        snprintf(path, sizeof path, "%s/floor%d", groups[i], id);
        if (mkdir(path, 0755) < 0)
            die("mkdir %s", path);
        if (!strstr(path, "/cpuset/"))
            continue;
        for (int k = 0; k < 2; k++) {
            snprintf(from, sizeof from, "%s/cpuset.%s", groups[i], k ? "mems" : "cpus");
            snprintf(to, sizeof to, "%s/cpuset.%s", path, k ? "mems" : "cpus");
            copy_text(from, to);
        }
    }
}

static void join_groups(int id) {
    char path[256];

    for (int i = 0; i < n_groups; i++) {
        snprintf(path, sizeof path, "%s/floor%d/tasks", groups[i], id);
        if (access(path, F_OK) < 0)
            snprintf(path, sizeof path, "%s/floor%d/cgroup.procs", groups[i], id);
        write_text(path, "0");
    }
}

static void remove_groups(int id) {
    char path[256];

    for (int i = 0; i < n_groups; i++) {
        snprintf(path, sizeof path, "%s/floor%d", groups[i], id);
        while (rmdir(path) < 0 && errno == EBUSY)
            usleep(50);
    }
}

/* ---- the child ---- */

static void mount_root(int id) {
    char options[1024];

    must_mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL);
    if (chdir(work) < 0)
        die("%s", work);
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=u%d,workdir=w%d,volatile", rootfs, id, id);
    must_mount("overlay", "m", "overlay", 0, options);
    if (chdir("m") < 0)
        die("m");
}

static void mount_system(void) {
    static const char *const devices[] = {"null", "zero", "full", "random", "urandom", "tty"};
    static const int minors[] = {3, 5, 7, 8, 9, 0};
    static const char *const files[] = {"hosts", "hostname", "resolv.conf"};
    char path[64], from[64];
    const unsigned long safe = MS_NOSUID | MS_NODEV | MS_NOEXEC;

    mkdir("proc", 0755);
    mkdir("sys", 0755);
    must_mount("proc", "proc", "proc", safe, NULL);
    must_mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k");
    mkdir("dev/pts", 0755);
    mkdir("dev/mqueue", 0755);
    mkdir("dev/shm", 0755);
    must_mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
    if (mode != NET_HOST)
        must_mount("sysfs", "sys", "sysfs", safe | MS_RDONLY, NULL);
    must_mount("mqueue", "dev/mqueue", "mqueue", safe, NULL);
    must_mount("shm", "dev/shm", "tmpfs", safe, "mode=1777,size=65536k");
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        snprintf(path, sizeof path, "dev/%s", devices[i]);
        if (mknod(path, S_IFCHR | 0666, makedev(i == 5 ? 5 : 1, minors[i])) < 0)
            die("mknod %s", path);
    }
    if (symlink("/proc/self/fd", "dev/fd") < 0 || symlink("/proc/self/fd/0", "dev/stdin") < 0 || symlink("pts/ptmx", "dev/ptmx") < 0)
        die("links in dev");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "etc/%s", files[i]);
        snprintf(from, sizeof from, "%s/%s", work, files[i]);
        close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
        must_mount(from, path, NULL, MS_BIND, NULL);
    }
}

static void enter_root(void) {
    static const char *const masked[] = {"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/latency_stats", "/proc/sched_debug"};
    static const char *const read_only[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

    if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        die("pivot_root");
    for (size_t i = 0; i < sizeof masked / sizeof *masked; i++)
        if (mount("/dev/null", masked[i], NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
            die("mask %s", masked[i]);
    for (size_t i = 0; i < sizeof read_only / sizeof *read_only; i++) {
        if (mount(read_only[i], read_only[i], NULL, MS_BIND | MS_REC, NULL) < 0) {
            if (errno == ENOENT) /* this kernel has no such file */
                continue;
            die("bind %s", read_only[i]);
        }
        must_mount(NULL, read_only[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL);
    }
}

/* As many comparisons as a profile of ranges has. */
static void load_filter(void) {
    struct sock_filter f[128];
    struct sock_fprog program = {.filter = f};
    unsigned short n = 0;

    f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < 40; i++) {
        f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)(600 - i * 12), 0, 1);
        f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, i < 5 ? SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_ALLOW);
    }
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program.len = n;
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
        die("seccomp");
}

static void child(int id, int go) {
    char *const arguments[] = {(char *)"true", NULL}, *const environment[] = {(char *)"PATH=/bin", NULL};
    int fd;
    char byte;

    moments->child = now();
    fd = mode == NET_HOST ? -1 : open_netlink();
    join_groups(id);
    mount_root(id);
    mount_system();
    enter_root();
    if (sethostname("floor", 5) < 0)
        die("sethostname");
    for (int c = 14; c <= CAP_LAST_CAP; c++)
        prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
    moments->ready = now();
    if (read(go, &byte, 1) != 1)
        _exit(1);
    if (fd >= 0)
        configure_inside(fd);
    moments->configured = now();
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    load_filter();
    execve("/bin/true", arguments, environment);
    die("exec");
}

/* ---- one container ---- */

static void one(int id, int run) {
    char path[512];
    int go[2], status;
    struct clone_args args = {.exit_signal = SIGCHLD, .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP};
    int64_t start = now(), made, cloned, linked, reaped, tidy;
    pid_t pid;

    snprintf(path, sizeof path, "%s/u%d", work, id);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/w%d", work, id);
    mkdir(path, 0755);
    make_groups(id);
    made = now();
    if (pipe2(go, O_CLOEXEC) < 0)
        die("pipe");
    if (mode != NET_HOST)
        args.flags |= CLONE_NEWNET;
    pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0)
        die("clone3");
    if (pid == 0)
        child(id, go[0]);
    cloned = now();
    if (mode == NET_BRIDGE)
        make_link(id, pid);
    linked = now();
    if (write(go[1], "x", 1) != 1)
        die("pipe");
    if (waitpid(pid, &status, 0) < 0)
        die("waitpid");
    reaped = now();
    if (status != 0) {
        remove_groups(id);
        fprintf(stderr, "floor: the container ended with status %x\n", (unsigned)status);
        exit(1);
    }
    close(go[0]);
    close(go[1]);
    remove_groups(id);
    tidy = now();
    if (run < 0)
        return;
    samples[GROUPS][run] = (double)(made - start);
    samples[CLONE][run] = (double)(cloned - made);
    samples[MOUNTS][run] = (double)(moments->ready - moments->child);
    samples[LINK][run] = (double)(linked - cloned);
    samples[ADDRESSES][run] = (double)(moments->configured - (moments->ready > linked ? moments->ready : linked));
    samples[EXEC][run] = (double)(reaped - moments->configured);
    samples[EXIT][run] = (double)(reaped - start);
    samples[TIDY][run] = (double)(tidy - reaped);
    samples[TOTAL][run] = (double)(tidy - start);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void write_file(const char *name, const char *text) {
    char path[512];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", work, name);
    f = fopen(path, "we");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        die("%s", path);
}

static void prepare(void) {
    char path[512];

    if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0)
        die("unshare (root is needed)");
    must_mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL);
    moments = mmap(NULL, sizeof *moments, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (moments == MAP_FAILED)
        die("mmap");
    snprintf(path, sizeof path, "%s/m", work);
    mkdir(work, 0755);
    mkdir(path, 0755);
    write_file("hosts", "127.0.0.1\tlocalhost\n");
    write_file("hostname", "floor\n");
    write_file("resolv.conf", "nameserver 127.0.0.1\n");
    find_groups();
    route_socket = open_netlink();
    make_bridge();
}

int main(int argc, char **argv) {
    int n = argc >= 4 ? (int)strtol(argv[1], NULL, 10) : 0;

    if (n < 1 || n > RUNS_MAX || (argc == 5 && strcmp(argv[4], "bridge") != 0 && strcmp(argv[4], "none") != 0 && strcmp(argv[4], "host") != 0)) {
        fprintf(stderr, "usage: floor N ROOTFS WORK [bridge|none|host]\n");
        return 2;
    }
    rootfs = argv[2];
    work = argv[3];
    if (argc == 5)
        mode = strcmp(argv[4], "none") == 0 ? NET_NONE : strcmp(argv[4], "host") == 0 ? NET_HOST : NET_BRIDGE;
    prepare();
    for (int i = -2; i < n; i++) {
        one((int)getpid() % 10000 * 1000 + i + 2, i);
        usleep(20000);
    }
    for (int s = 0; s < STEPS; s++) {
        if ((s == LINK && mode != NET_BRIDGE) || (s == ADDRESSES && mode == NET_HOST))
            continue;
        qsort(samples[s], (size_t)n, sizeof samples[s][0], compare);
        printf("%-48s %9.0f %9.0f\n", step_names[s], samples[s][n / 2] / 1e3, samples[s][0] / 1e3);
    }
    return 0;
}

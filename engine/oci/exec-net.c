// SPDX-License-Identifier: Apache-2.0
/* Links: the pair is made by the parent with one end born in the child's namespace; the child configures its end in one batch. */
#include "oci/exec-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "kern/netlink.h"

#define ADDRESS_POLL_NS 5000000
#define ADDRESS_POLLS 400 /* two seconds */

static unsigned index_of(int sock, const char *name) {
    struct ifreq q = {0};
    size_t n = strlen(name);

    if (n >= IFNAMSIZ)
        return 0;
    memcpy(q.ifr_name, name, n + 1);
    return ioctl(sock, SIOCGIFINDEX, &q) < 0 ? 0 : (unsigned)q.ifr_ifindex;
}

#define RENAME_FAULT "failed to add interface %s to sandbox: error renaming interface \"%s\" to \"%s\""

static int add_veth(struct nl_batch *b, int sock, const struct plan *p, const struct plan_op *op, struct nl_ns ns, struct oci_fault *f) {
    const char *bridge = plan_s(p, op, 1);
    unsigned master = 0;
    int r;

    if (*bridge && !(master = index_of(sock, bridge)))
        return fault_set(f, ENODEV, "failed to add the host (%s) <=> sandbox (%s) pair interfaces: bridge %s", plan_s(p, op, 0), plan_s(p, op, 2),
                         bridge);
    nl_link_veth(b, plan_s(p, op, 0), master, (int)op->i[0], plan_s(p, op, 2), plan_sn(p, op, 3) == 6 ? (const uint8_t *)plan_s(p, op, 3) : NULL, ns);
    if (op->i[1])
        nl_link_hairpin(b, plan_s(p, op, 0));
    r = nl_send(sock, b, NULL);
    /* The machine's end has a name of chance: a name that is taken is the other end's, by an interface that the container made. */
    if (r == -EEXIST)
        return fault_set(f, r, RENAME_FAULT, plan_s(p, op, 0), plan_s(p, op, 0), plan_s(p, op, 2));
    return r < 0 ? fault_set(f, r, "failed to add the host (%s) <=> sandbox (%s) pair interfaces", plan_s(p, op, 0), plan_s(p, op, 2)) : 0;
}

/*
 * How an interface on top of one of the machine's is called until the child names it. Kernels before 6.13 refuse a new one whose name the maker's namespace
 * has, too, and a machine's own interface is often the "eth0" that the container's will be.
 */
static void vlan_first_name(size_t op, char ret[IFNAMSIZ]) {
    snprintf(ret, IFNAMSIZ, "hatake-v%u", (unsigned)(op % 100000));
}

static int add_vlan(struct nl_batch *b, int sock, const struct plan *p, size_t i, struct nl_ns ns, struct oci_fault *f) {
    const struct plan_op *op = &p->ops[i];
    const char *kind = op->i[1] ? "ipvlan" : "macvlan";
    unsigned parent = index_of(sock, plan_s(p, op, 0));
    char name[IFNAMSIZ];
    int r;

    vlan_first_name(i, name);

    if (!parent)
        return fault_set(f, 0, "the requested parent interface %s was not found on the Docker host", plan_s(p, op, 0));
    if (op->i[1])
        nl_link_ipvlan(b, parent, (uint16_t)op->i[2], (uint16_t)op->i[3], (int)op->i[0], name, ns);
    else
        nl_link_macvlan(b, parent, (uint32_t)op->i[2], (int)op->i[0], name, plan_sn(p, op, 2) == 6 ? (const uint8_t *)plan_s(p, op, 2) : NULL, ns);
    r = nl_send(sock, b, NULL);
    return r < 0 ? fault_set(f, r, "failed to create the %s port", kind) : 0;
}

int parent_links(const struct plan *p, struct nl_ns ns, struct oci_fault *f) {
    char mem[1024] __attribute__((aligned(8)));
    _cleanup_close_ int sock = -EBADF;

    for (size_t i = 0; i < p->n_ops; i++) {
        const struct plan_op *op = &p->ops[i];
        struct nl_batch b;
        int r;

        if (op->type != PLAN_VETH && op->type != PLAN_VLAN)
            continue;
        if (sock < 0)
            sock = nl_open();
        if (sock < 0)
            return fault_set(f, sock, "netlink socket");
        nl_init(&b, mem, sizeof mem);
        r = op->type == PLAN_VETH ? add_veth(&b, sock, p, op, ns, f) : add_vlan(&b, sock, p, i, ns, f);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- interfaces without IPv6 ---------------------------------------------------------------------------------------------------- */

#define IPV6_CONF "net/ipv6/conf/"
#define IPV6_DEFAULT "/proc/sys/" IPV6_CONF "default/disable_ipv6"

static bool turns_ipv6_off(const struct plan *p, const struct plan_op *op) {
    return op->type == PLAN_SYSCTL && op->i[0] && str_has_prefix(plan_s(p, op, 0), IPV6_CONF) && str_has_suffix(plan_s(p, op, 0), "/disable_ipv6") &&
           streq(plan_s(p, op, 1), "1");
}

static bool default_needs_no_lock(void) {
    struct utsname u;
    int major = 0, minor = 0;

    return uname(&u) == 0 && sscanf(u.release, "%d.%d", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 9));
}

/*
 * Writing disable_ipv6 of an interface needs the lock of all links of the machine, and whoever does not get it at once spins in the kernel until he does
 * (restart_syscall()): of eight containers that start together, most. What new interfaces have is written without that lock (addrconf_disable_ipv6(), Linux 6.9
 * and later). So when no interface of a new namespace is to have IPv6, its default says so while they are made, and then again what it said.
 */
bool links_wait(const struct plan *p) {
    const struct plan_op *ns = plan_find(p, PLAN_NAMESPACES);
    int links = 0, off = 0;

    for (size_t i = 0; i < p->n_ops; i++) {
        links += p->ops[i].type == PLAN_VETH || p->ops[i].type == PLAN_VLAN;
        off += turns_ipv6_off(p, &p->ops[i]);
    }
    return ns && (ns->i[0] & CLONE_NEWNET) && links > 0 && links == off && !plan_has_user(p) && default_needs_no_lock();
}

void child_net_early(struct child *c) {
    char was[4] = "", ready = SYNC_READY;
    int fd;

    if (!links_wait(c->p))
        return;
    fd = c->k->openat(AT_FDCWD, IPV6_DEFAULT, O_RDWR | O_CLOEXEC, 0);
    c->no_ipv6 = fd >= 0 && read(fd, was, sizeof was - 1) > 0 && was[0] == '0' && pwrite(fd, "1", 1, 0) == 1;
    close_fd(fd);
    ignore_result(send(c->sync, &ready, 1, MSG_NOSIGNAL));
}

/* ---- the child's end ------------------------------------------------------------------------------------------------------------ */

/* One request of the batch, or nothing when the operation is none. */
static void add_request(struct child *c, struct nl_batch *b, int sock, const struct plan_op *op) {
    const char *name = plan_s(c->p, op, 0);
    unsigned index;

    switch (op->type) {
    case PLAN_LOOPBACK:
        nl_link_up(b, NULL, 1);
        return;
    case PLAN_LINK_DELETE:
        nl_link_delete(b, name);
        return;
    case PLAN_ADDR:
    case PLAN_LINK_UP:
    case PLAN_ROUTE:
        index = index_of(sock, name);
        if (!index)
            child_fail_errno(c, ENODEV, "error during container init: interface %s", name);
        if (op->type == PLAN_LINK_UP)
            nl_link_up(b, NULL, index);
        else if (op->type == PLAN_ADDR)
            nl_addr(b, index, (int)op->i[0], plan_s(c->p, op, 1), (unsigned)op->i[1]);
        else
            nl_route(b, index, (int)op->i[0], plan_sn(c->p, op, 1) ? plan_s(c->p, op, 1) : NULL, (unsigned)op->i[1],
                     plan_sn(c->p, op, 2) ? plan_s(c->p, op, 2) : NULL, op->i[2] != 0);
        return;
    default:
        return;
    }
}

/* A running container keeps its namespace when this fails, so nothing of it may stay there. Those of the first `named` operations have their names already. */
static void drop_vlans(const struct plan *p, int sock, size_t named) {
    char mem[256] __attribute__((aligned(8))), name[IFNAMSIZ];
    struct nl_batch b;

    for (size_t i = 0; i < p->n_ops; i++) {
        if (p->ops[i].type != PLAN_VLAN)
            continue;
        vlan_first_name(i, name);
        nl_init(&b, mem, sizeof mem);
        nl_link_delete(&b, i < named ? plan_s(p, &p->ops[i], 1) : name);
        ignore_result(nl_send(sock, &b, NULL) < 0);
    }
}

static void name_vlans(struct child *c) {
    for (size_t i = 0; i < c->p->n_ops; i++) {
        const char *name = plan_s(c->p, &c->p->ops[i], 1);
        _cleanup_close_ int sock = -EBADF;
        struct ifreq q = {0};

        if (c->p->ops[i].type != PLAN_VLAN)
            continue;
        sock = nl_open();
        vlan_first_name(i, q.ifr_name);
        snprintf(q.ifr_newname, sizeof(q.ifr_newname), "%s", name);
        if (sock < 0 || ioctl(sock, SIOCSIFNAME, &q) < 0) {
            int why = sock < 0 ? sock : errno;

            if (sock >= 0)
                drop_vlans(c->p, sock, i);
            child_fail_errno(c, why, RENAME_FAULT, q.ifr_name, q.ifr_name, name);
        }
    }
}

/*
 * What shares an interface of the machine gets its address there only when the last holder's is gone, which goes with its namespace, in the kernel's own time:
 * a restart is quicker. Such requests go one by one, as the kernel would carry out those behind the failed one.
 */
static void send_net(struct child *c, int sock, struct nl_batch *b, bool vlan) {
    static const struct timespec pause = {.tv_nsec = ADDRESS_POLL_NS};
    int r = nl_send(sock, b, NULL);

    for (int i = 0; r == -EADDRINUSE && vlan && i < ADDRESS_POLLS; i++) {
        nanosleep(&pause, NULL);
        r = nl_send(sock, b, NULL);
    }
    if (r < 0 && vlan)
        drop_vlans(c->p, sock, c->p->n_ops);
    if (r < 0)
        child_fail_errno(c, r, "error during container init: configuring the network");
}

void child_net(struct child *c) {
    char mem[4096] __attribute__((aligned(8)));
    _cleanup_close_ int sock = -EBADF;
    bool vlan = plan_find(c->p, PLAN_VLAN) != NULL;
    struct nl_batch b;

    if (vlan)
        name_vlans(c);
    for (size_t i = 0; i < c->p->n_ops; i++) {
        const struct plan_op *op = &c->p->ops[i];

        if (op->type == PLAN_SYSCTL && op->i[0] && !(c->no_ipv6 && turns_ipv6_off(c->p, op)))
            child_sysctl(c, plan_s(c->p, op, 0), plan_s(c->p, op, 1));
    }
    if (c->no_ipv6)
        child_sysctl(c, IPV6_CONF "default/disable_ipv6", "0");
    nl_init(&b, mem, sizeof mem);
    for (size_t i = 0; i < c->p->n_ops; i++) {
        const struct plan_op *op = &c->p->ops[i];

        if (plan_infos[op->type].phase != PLAN_PHASE_NET)
            continue;
        if (sock < 0)
            sock = nl_open();
        if (sock < 0)
            child_fail_errno(c, sock, "error during container init: netlink socket");
        add_request(c, &b, sock, op);
        if (vlan || b.cap - b.len < 512) {
            send_net(c, sock, &b, vlan);
            nl_init(&b, mem, sizeof mem);
        }
    }
    if (sock >= 0)
        send_net(c, sock, &b, vlan);
}

/* ---- changing the network of a running container --------------------------------------------------------------------------------------- */

void oci_netns_child(const struct kern *k, const struct plan *p, int netns, int sync) {
    struct child c = {.k = k, .p = p, .sync = sync, .root = -EBADF, .null = -EBADF, .devpts = -EBADF, .proc = -EBADF, .pty_slave = -EBADF};
    struct oci_fault f = {0};
    char done = SYNC_DONE;
    int r = parent_links(p, (struct nl_ns){0, netns}, &f);

    if (r < 0)
        child_fail(&c, f.errnum, "%s", f.text);
    r = k->setns(netns, CLONE_NEWNET);
    if (r < 0)
        child_fail_errno(&c, r, "joining the container's network namespace: setns");
    child_net(&c);
    ignore_result(send(sync, &done, 1, MSG_NOSIGNAL));
    _exit(0);
}

int oci_netns_result(int sync, struct oci_fault *f) {
    struct sync_fault m = {0};
    ssize_t n;

    do
        n = recv(sync, &m, sizeof m, 0);
    while (n < 0 && errno == EINTR);
    if (n == 1 && m.type == SYNC_DONE)
        return 0;
    if (n <= 0 || m.type != SYNC_FAULT)
        return fault_set(f, n < 0 ? errno : EIO, "changing the container's network");
    return fault_of(&m, n, f);
}

/* ---- for another runtime ----------------------------------------------------------------------------------------------------------------- */

/* A process of its own does the inside, because it does not come back. */
static int configure(const struct kern *k, const struct plan *p, int netns, struct oci_fault *f) {
    _cleanup_close_ int mine = -EBADF, theirs = -EBADF;
    int sp[2], r;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sp) < 0)
        return fault_set(f, errno, "configuring the network: socketpair");
    mine = sp[0];
    theirs = sp[1];
    pid = fork();
    if (pid < 0)
        return fault_set(f, errno, "configuring the network: fork");
    if (pid == 0)
        oci_netns_child(k, p, netns, theirs);
    theirs = close_fd(theirs);
    r = oci_netns_result(mine, f);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    return r;
}

static int plain_netns(const struct kern *k, struct oci_fault *f) {
    _cleanup_close_ int home = k->openat(AT_FDCWD, "/proc/self/ns/net", O_RDONLY | O_CLOEXEC, 0);
    int r = home < 0 ? home : k->unshare(CLONE_NEWNET), made;

    if (r < 0)
        return fault_set(f, r, "making a network namespace");
    made = k->openat(AT_FDCWD, "/proc/self/ns/net", O_RDONLY | O_CLOEXEC, 0);
    if (k->setns(home, CLONE_NEWNET) < 0)
        _exit(1); /* going on in the container's network would be worse */
    return made < 0 ? fault_set(f, made, "making a network namespace") : made;
}

int oci_netns_make(const struct kern *k, const struct plan *p, int ret_resolver[OCI_RESOLVER_FDS], int *ret_user, struct oci_fault *f) {
    _cleanup_close_ int user = -EBADF, made = plan_makes_user(p) ? user_netns(k, p, &user, f) : plain_netns(k, f);
    int r;

    if (made < 0)
        return made;
    r = configure(k, p, made, f);
    if (r >= 0)
        r = parent_resolver(k, p, made, ret_resolver, f);
    if (r < 0)
        return r;
    *ret_user = TAKE_FD(user);
    return TAKE_FD(made);
}

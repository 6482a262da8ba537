// SPDX-License-Identifier: Apache-2.0
/* From a launch request to the plan that the monitor carries out. */
#include "monitor/client-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "monitor/proto.h"
#include "oci/exec.h"
#include "oci/plan.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define NETNS_SECONDS 30 /* for the outcome of a change */

int sealed_memfd(const char *name, const void *p, size_t n, struct err *e) {
    _cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int r;

    if (fd < 0)
        return err_errno(e, errno, "memfd_create");
    r = full_write(fd, p, n);
    if (r < 0)
        return err_errno(e, r, "writing the container's plan");
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        return err_errno(e, errno, "sealing the container's plan");
    return TAKE_FD(fd);
}

static int check_ifname(const char *name, bool may_be_empty, struct err *e) {
    size_t n = strnlen(name, 16);

    if ((!n && !may_be_empty) || n > 15 || strchr(name, '/') || streq(name, ".") || streq(name, ".."))
        return err_set(e, ERR_INVALID, "\"%.16s\" is not an interface name", name);
    return 0;
}

static size_t addr_len(int family) {
    return family == AF_INET ? 4 : 16;
}

static void add_gateway(struct plan_builder *b, const char *ifname, const struct launch_addr *gw, bool replace) {
    static const uint8_t nobody[sizeof gw->addr];
    struct plan_op *op;

    if (!gw->family)
        return;
    op = plan_add(b, PLAN_ROUTE);
    op->i[0] = gw->family;
    op->i[2] = replace;
    plan_set_s(b, 0, ifname);
    if (memcmp(gw->addr, nobody, addr_len(gw->family)) != 0)
        plan_set_bytes(b, 2, gw->addr, addr_len(gw->family));
}

static int add_sysctl(struct plan_builder *b, const char *text, struct err *e) {
    const char *eq = strchr(text, '=');
    char key[256];

    if (!eq || (size_t)(eq - text) >= sizeof key || !str_has_prefix(text, "net.") || strstr(text, ".."))
        return err_set(e, ERR_INVALID, "sysctl \"%s\" is not of an interface", text);
    for (const char *p = text; p < eq; p++)
        key[p - text] = *p == '.' ? '/' : *p == '/' ? '.' : *p;
    key[eq - text] = 0;
    plan_add(b, PLAN_SYSCTL)->i[0] = 1;
    plan_set_s(b, 0, key);
    plan_set_s(b, 1, eq + 1);
    return 0;
}

static void add_device(struct plan_builder *b, const struct launch_link *l) {
    struct plan_op *op = plan_add(b, l->kind == LAUNCH_VETH ? PLAN_VETH : PLAN_VLAN);

    op->i[0] = l->mtu;
    if (l->kind == LAUNCH_VETH) {
        op->i[1] = l->hairpin;
        plan_set_s(b, 0, l->host_ifname);
        plan_set_s(b, 1, l->bridge);
        plan_set_s(b, 2, l->ifname);
        if (l->has_mac)
            plan_set_bytes(b, 3, l->mac, sizeof l->mac);
        return;
    }
    op->i[1] = l->kind == LAUNCH_IPVLAN;
    op->i[2] = l->vlan_mode;
    op->i[3] = l->vlan_flag;
    plan_set_s(b, 0, l->bridge);
    plan_set_s(b, 1, l->ifname);
    if (l->has_mac)
        plan_set_bytes(b, 2, l->mac, sizeof l->mac);
}

static int add_link(struct plan_builder *b, const struct launch_link *l, bool replace_routes, struct err *e) {
    struct plan_op *op;
    int r = l->kind == LAUNCH_VETH ? check_ifname(l->host_ifname, false, e) : 0;

    if (r == 0)
        r = check_ifname(l->bridge, l->kind == LAUNCH_VETH, e);
    if (r == 0)
        r = check_ifname(l->ifname, false, e);
    for (size_t i = 0; r == 0 && i < l->sysctls.n; i++)
        r = add_sysctl(b, l->sysctls.v[i], e);
    if (r < 0)
        return r;
    add_device(b, l);
    for (size_t i = 0; i < l->n_addrs && i < LAUNCH_LINK_ADDRS; i++) {
        if (!l->addrs[i].family)
            continue;
        op = plan_add(b, PLAN_ADDR);
        op->i[0] = l->addrs[i].family;
        op->i[1] = l->addrs[i].prefix;
        plan_set_s(b, 0, l->ifname);
        plan_set_bytes(b, 1, l->addrs[i].addr, addr_len(l->addrs[i].family));
    }
    plan_add(b, PLAN_LINK_UP);
    plan_set_s(b, 0, l->ifname);
    add_gateway(b, l->ifname, &l->gateway, replace_routes);
    add_gateway(b, l->ifname, &l->gateway6, replace_routes);
    return 0;
}

static void add_monitor(struct plan_builder *b, const struct launch_request *req) {
    struct plan_op *op = plan_add(b, PLAN_MONITOR);

    op->i[1] = req->open_stdin;
    op->i[2] = req->stdin_once;
    plan_set_s(b, 0, req->exec_dir);
    if (!req->log.driver)
        return;
    op = plan_add(b, PLAN_LOG);
    op->i[0] = (int64_t)req->log.max_size;
    op->i[1] = req->log.max_file;
    op->i[2] = req->log.compress;
    plan_set_s(b, 0, req->log.driver);
    plan_set_s(b, 1, req->log.path);
    plan_set_s(b, 2, req->log.attrs_json ? req->log.attrs_json : "");
    plan_set_s(b, 3, req->log.config ? req->log.config : "");
}

int launch_plan(const struct launch_request *req, const struct cgroup_layout *cgroups, struct seccomp_cache *cache, struct err *e) {
    struct plan_builder b = PLAN_BUILDER_INIT;
    struct oci_input in = {.spec = req->spec,
                           .id = req->id,
                           .bundle = req->runtime ? req->exec_dir : NULL,
                           .cgroups = cgroups,
                           .seccomp = cache,
                           .rootfs_path = req->rootfs_path,
                           .lowers = req->lowers,
                           .upper = req->upper,
                           .work = req->work,
                           .overlay_volatile = req->overlay_volatile,
                           .init_path = req->init_path};
    _cleanup_free_ void *block = NULL;
    size_t n;
    int r;

    if (req->runtime) {
        const char *path = getenv("PATH");
        struct oci_foreign rt = {req->runtime->program, req->runtime->root, req->runtime->args, path ? path : DEFAULT_PATH};

        r = oci_build_foreign(&b, &in, &rt, e);
    } else {
        r = oci_build(&b, &in, e);
    }
    for (size_t i = 0; r >= 0 && i < req->n_links; i++)
        r = add_link(&b, &req->links[i], false, e);
    if (r >= 0 && req->resolver.udp_port) {
        struct plan_op *op = plan_add(&b, PLAN_RESOLVER);

        op->i[0] = req->resolver.udp_port;
        op->i[1] = req->resolver.tcp_port;
        plan_set_bytes(&b, 0, req->resolver.rules, req->resolver.n_rules);
    }
    if (r >= 0) {
        add_monitor(&b, req);
        r = plan_finish(&b, &block, &n, e);
    }
    plan_builder_done(&b);
    if (r < 0)
        return r;
    return sealed_memfd("hatake-plan", block, n, e);
}

/* ---- running containers ---------------------------------------------------------------------------------------------------------------- */

/* A sealed memory file. */
static int netns_plan(const struct launch_netns *req, struct err *e) {
    struct plan_builder b = PLAN_BUILDER_INIT;
    _cleanup_free_ void *block = NULL;
    size_t n = 0;
    int r = 0;

    for (size_t i = 0; i < req->n_remove && r == 0; i++) {
        r = check_ifname(req->remove[i], false, e);
        plan_add(&b, PLAN_LINK_DELETE);
        plan_set_s(&b, 0, req->remove[i]);
    }
    for (size_t i = 0; r == 0 && i < req->n_links; i++)
        r = add_link(&b, &req->links[i], true, e);
    if (r == 0 && req->gateway_ifname) {
        add_gateway(&b, req->gateway_ifname, &req->gateway, true);
        add_gateway(&b, req->gateway_ifname, &req->gateway6, true);
    }
    if (r == 0)
        r = plan_finish(&b, &block, &n, e);
    plan_builder_done(&b);
    return r < 0 ? r : sealed_memfd("hatake-netns", block, n, e);
}

int launcher_netns(struct launcher *l, const struct launch_netns *req, struct err *e) {
    _cleanup_close_ int plan = netns_plan(req, e), mine = -EBADF, theirs = -EBADF;
    struct timeval patience = {.tv_sec = NETNS_SECONDS};
    struct mp_head h = {.type = MP_NETNS, .trace = client_trace()}, answer;
    struct oci_fault f = {0};
    int sp[2], fds[3], r;

    if (plan < 0)
        return plan;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sp) < 0)
        return err_errno(e, errno, "socketpair");
    mine = sp[0];
    theirs = sp[1];
    ignore_result(setsockopt(mine, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience));
    fds[0] = plan;
    fds[1] = req->netns;
    fds[2] = theirs;
    r = launcher_ask(l, &h, fds, 3, &answer, e);
    theirs = close_fd(theirs);
    if (r < 0)
        return r;
    if (answer.v[0])
        return err_errno(e, (int)answer.v[0], "changing the container's network");
    return oci_netns_result(mine, &f) < 0 ? err_set(e, ERR_INTERNAL, "%s", f.text) : 0;
}

// SPDX-License-Identifier: Apache-2.0
/* /etc/hosts and /etc/resolv.conf of a container. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "network/network-internal.h"

#define HOST_RESOLV "/etc/resolv.conf"
#define RESOLVED_RESOLV "/run/systemd/resolve/resolv.conf"
#define HOST_HOSTS "/etc/hosts"

/* Nothing that could begin another line or word of its own (R14). */
static int plain(const char *what, const char *s, struct err *e) {
    for (const char *p = s; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return err_set(e, ERR_INVALID, "invalid %s: control characters are not allowed", what);
    }
    return 0;
}

/* ---- hosts ------------------------------------------------------------------------------------------------------------------------- */

static int add_extra_hosts(struct networks *n, const struct strv *extra, struct buf *out, struct err *e) {
    for (size_t i = 0; extra && i < extra->n; i++) {
        const char *entry = extra->v[i], *colon = strchr(entry, ':');
        const char *addr = colon ? colon + 1 : "";
        int r = plain("extra host", entry, e);

        if (r < 0)
            return r;
        if (!colon)
            return err_set(e, ERR_INVALID, "bad format for add-host: \"%s\"", entry);
        if (streq(addr, "host-gateway")) {
            addr = n->host_gateway;
            if (!*addr)
                return err_set(e, ERR_INTERNAL, "unable to derive the IP value for host-gateway");
        }
        buf_addf(out, "%s\t%.*s\n", addr, (int)(colon - entry), entry);
    }
    return 0;
}

/* The full name first, then its first part; a domain name given apart makes the full name. */
void endpoint_hosts(const struct endpoint *ep, const char *host, const char *domain, struct buf *out) {
    const char *const ips[] = {endpoint_ipv4(ep), endpoint_ipv6(ep)};
    bool in_domain = !str_empty(domain);

    for (size_t i = 0; i < ELEMENTSOF(ips) && !str_empty(host); i++) {
        if (!*ips[i])
            continue;
        buf_addf(out, "%s\t%s%s%s", ips[i], host, in_domain ? "." : "", in_domain ? domain : "");
        /* The short name beside the full one: the hostname itself may be in a domain already. */
        if (in_domain || strchr(host, '.'))
            buf_addf(out, " %.*s", (int)strcspn(host, "."), host);
        buf_addc(out, '\n');
    }
}

int networks_build_hosts(struct networks *n, const struct hosts_request *req, struct buf *out, struct err *e) {
    const char *host = req->hostname ? req->hostname : "", *domain = req->domainname ? req->domainname : "";
    int r = plain("hostname", host, e);

    if (r == 0)
        r = plain("domainname", domain, e);
    if (r < 0)
        return r;
    if (req->host_mode) {
        _cleanup_buf_ struct buf file = BUF_INIT(LIMIT_SMALL_FILE);

        if (fs_read_file(HOST_HOSTS, &file, NULL) == 0) {
            buf_add(out, buf_str(&file), file.len);
            if (file.len && file.data[file.len - 1] != '\n')
                buf_addc(out, '\n');
        }
    } else {
        buf_adds(out, "127.0.0.1\tlocalhost\n"
                      "::1\tlocalhost ip6-localhost ip6-loopback\n"
                      "fe00::0\tip6-localnet\n"
                      "ff00::0\tip6-mcastprefix\n"
                      "ff02::1\tip6-allnodes\n"
                      "ff02::2\tip6-allrouters\n");
    }
    r = add_extra_hosts(n, req->extra_hosts, out, e);
    if (r < 0)
        return r;
    for (size_t i = 0; req->links && i < req->links->n; i++)
        buf_addf(out, "%s\n", req->links->v[i]);
    for (size_t i = 0; i < req->n_endpoints; i++)
        endpoint_hosts(req->endpoints[i], host, domain, out);
    return buf_check(out, e);
}

/* ---- resolv.conf ------------------------------------------------------------------------------------------------------------------- */

struct resolv {
    struct strv servers, search, options, other;
    bool own_servers, own_search, own_options; /* by the container or the daemon, not by the host's file */
    const char *ndots_from;
    const char *path;
    bool defaults, embedded;
    struct strv outside; /* servers behind the embedded one, as the comment shows them */
};

static void resolv_done(struct resolv *r) {
    strv_done(&r->servers);
    strv_done(&r->search);
    strv_done(&r->options);
    strv_done(&r->other);
    strv_done(&r->outside);
}

/* Words of a line after the first. */
static int add_words(struct strv *to, const char *line, struct err *e) {
    size_t skip = strcspn(line, " \t");

    for (const char *p = line + skip;;) {
        size_t n;

        p += strspn(p, " \t");
        n = strcspn(p, " \t");
        if (!n)
            return 0;
        if (strv_addn(to, p, n) < 0)
            return err_oom(e);
        p += n;
    }
}

static bool keyword(const char *line, const char *word) {
    size_t n = strlen(word);

    return strncmp(line, word, n) == 0 && (line[n] == ' ' || line[n] == '\t');
}

static bool is_address(const char *s) {
    struct in6_addr a6;
    uint32_t a4;
    char host[64];

    snprintf(host, sizeof(host), "%.*s", (int)strcspn(s, "%"), s);
    return ipv4_parse(host, &a4) == 0 || inet_pton(AF_INET6, host, &a6) == 1;
}

static int parse_line(struct resolv *r, const char *line, struct err *e) {
    if (!*line || *line == '#' || *line == ';')
        return 0;
    if (keyword(line, "nameserver")) {
        _cleanup_strv_ struct strv words = STRV_INIT;

        if (add_words(&words, line, e) < 0)
            return err_oom(e);
        return words.n && is_address(words.v[0]) && strv_add(&r->servers, words.v[0]) < 0 ? err_oom(e) : 0;
    }
    if (keyword(line, "search") || keyword(line, "domain")) {
        /* The last such line wins. */
        strv_done(&r->search);
        r->search = STRV_INIT;
        return add_words(&r->search, line, e);
    }
    if (keyword(line, "options"))
        return add_words(&r->options, line, e);
    return strv_add(&r->other, line) < 0 ? err_oom(e) : 0;
}

static int parse_file(struct resolv *r, const char *text, struct err *e) {
    while (*text) {
        size_t n = strcspn(text, "\n"), lead;
        char line[1024];
        int ret;

        lead = strspn(text, " \t");
        lead = lead > n ? n : lead;
        snprintf(line, sizeof(line), "%.*s", (int)(n - lead), text + lead);
        while (*line && strchr(" \t\r", line[strlen(line) - 1]))
            line[strlen(line) - 1] = 0;
        ret = parse_line(r, line, e);
        if (ret < 0)
            return ret;
        text += n + (text[n] == '\n');
    }
    return 0;
}

static bool only_stub(const struct strv *servers) {
    return servers->n == 1 && streq(servers->v[0], "127.0.0.53");
}

/* The machine's file; systemd-resolved's stub is looked behind, as the reference does. */
static int read_host_file(struct resolv *r, struct err *e) {
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_SMALL_FILE), other = BUF_INIT(LIMIT_SMALL_FILE);
    int ret;

    r->path = HOST_RESOLV;
    if (fs_read_file(HOST_RESOLV, &text, NULL) < 0)
        return 0;
    ret = parse_file(r, buf_str(&text), e);
    if (ret == 0 && !r->embedded && only_stub(&r->servers) && fs_read_file(RESOLVED_RESOLV, &other, NULL) == 0) {
        resolv_done(r);
        r->servers = r->search = r->options = r->other = STRV_INIT;
        r->path = RESOLVED_RESOLV;
        ret = parse_file(r, buf_str(&other), e);
    }
    return ret;
}

int host_resolv_options(struct strv *ret, struct err *e) {
    struct resolv r = {.embedded = true};
    int n = read_host_file(&r, e);

    if (n == 0) {
        *ret = r.options;
        r.options = STRV_INIT;
    }
    resolv_done(&r);
    return n;
}

int host_nameservers(struct strv *ret, struct err *e) {
    struct resolv r = {0};
    int n = read_host_file(&r, e);

    if (n == 0) {
        *ret = r.servers;
        r.servers = STRV_INIT;
    }
    resolv_done(&r);
    return n;
}

static bool is_loopback(const char *s) {
    return str_has_prefix(s, "127.") || streq(s, "::1");
}

static int override(struct strv *to, const struct strv *ours, const struct strv *theirs, bool *ret_done, const char *what, struct err *e) {
    const struct strv *from = ours && ours->n ? ours : theirs && theirs->n ? theirs : NULL;

    if (!from)
        return 0;
    for (size_t i = 0; i < from->n; i++) {
        int r = plain(what, from->v[i], e);

        if (r < 0)
            return r;
    }
    strv_done(to);
    *to = STRV_INIT;
    *ret_done = true;
    return strv_copy(to, from) < 0 ? err_oom(e) : 0;
}

/* A network of its own cannot reach servers on the machine's loopback, nor IPv6 ones. */
static int keep_reachable(struct resolv *r, struct err *e) {
    static const char *const fallback[] = {"8.8.8.8", "8.8.4.4"};

    for (size_t i = r->own_servers ? 0 : r->servers.n; i-- > 0;) {
        if (is_loopback(r->servers.v[i]) || strchr(r->servers.v[i], ':'))
            strv_remove_at(&r->servers, i);
    }
    if (r->servers.n)
        return 0;
    r->defaults = true;
    for (size_t i = 0; i < ELEMENTSOF(fallback); i++) {
        if (strv_add(&r->servers, fallback[i]) < 0)
            return err_oom(e);
    }
    return 0;
}

/* "ndots:2" and the like; *ret_dots: how many. False for every other option, also for one without a sensible number. */
static bool is_ndots(const char *option, int64_t *ret_dots) {
    const char *value = str_after(option, "ndots:");

    return value && parse_int_range(value, 0, INT32_MAX, ret_dots) == 0;
}

/* The embedded server takes the place of all; the reference's default for names without dots is the other way round from the C library's. */
static int hide_behind_embedded(struct resolv *r, struct err *e) {
    static const char *const fallback[] = {"8.8.8.8", "8.8.4.4"};
    bool any = false;
    int64_t dots;
    int ret = 0;

    r->defaults = !r->servers.n;
    for (size_t i = 0; r->defaults && ret == 0 && i < ELEMENTSOF(fallback); i++)
        ret = strv_add(&r->servers, fallback[i]);
    for (size_t i = 0; ret == 0 && i < r->servers.n; i++) {
        bool host = !r->own_servers && (is_loopback(r->servers.v[i]) || strchr(r->servers.v[i], ':'));

        ret = strv_addf(&r->outside, host ? "host(%s)" : "%s", r->servers.v[i]);
    }
    strv_done(&r->servers);
    r->servers = STRV_INIT;
    if (ret == 0)
        ret = strv_add(&r->servers, "127.0.0.11");
    for (size_t i = r->options.n; i-- > 0;) {
        if (is_ndots(r->options.v[i], &dots))
            any = true;
        else if (streq(r->options.v[i], "ndots") || str_has_prefix(r->options.v[i], "ndots:"))
            strv_remove_at(&r->options, i);
    }
    r->ndots_from = any ? (r->own_options ? "override" : "host") : "internal";
    if (ret == 0 && !any)
        ret = strv_add(&r->options, "ndots:0");
    return ret < 0 ? err_oom(e) : 0;
}

static void write_list(struct buf *out, const char *word, const struct strv *l) {
    if (!l->n)
        return;
    buf_adds(out, word);
    for (size_t i = 0; i < l->n; i++)
        buf_addf(out, " %s", l->v[i]);
    buf_addc(out, '\n');
}

static void write_resolv(const struct resolv *r, bool host_mode, struct buf *out) {
    const char *sep = "";

    buf_adds(out, "# Generated by Docker Engine.\n"
                  "# This file can be edited; Docker Engine will not make further changes once it\n"
                  "# has been modified.\n\n");
    for (size_t i = 0; i < r->servers.n; i++)
        buf_addf(out, "nameserver %s\n", r->servers.v[i]);
    /* A lone dot means: no search list. */
    if (!(r->search.n == 1 && streq(r->search.v[0], ".")))
        write_list(out, "search", &r->search);
    write_list(out, "options", &r->options);
    for (size_t i = 0; i < r->other.n; i++)
        buf_addf(out, "%s\n", r->other.v[i]);
    buf_addf(out, "\n# Based on host file: '%s'%s\n", r->path, r->embedded ? " (internal resolver)" : host_mode ? "" : " (legacy)");
    if (r->defaults)
        buf_adds(out, "# Used default nameservers.\n");
    if (r->embedded) {
        buf_adds(out, "# ExtServers: [");
        for (size_t i = 0; i < r->outside.n; i++)
            buf_addf(out, "%s%s", i ? " " : "", r->outside.v[i]);
        buf_adds(out, "]\n");
    }
    buf_adds(out, "# Overrides: [");
    if (r->own_servers) {
        buf_adds(out, "nameservers");
        sep = " ";
    }
    if (r->own_search) {
        buf_addf(out, "%ssearch", sep);
        sep = " ";
    }
    if (r->own_options)
        buf_addf(out, "%soptions", sep);
    buf_adds(out, "]\n");
    if (r->ndots_from)
        buf_addf(out, "# Option ndots from: %s\n", r->ndots_from);
}

int networks_build_resolv(struct networks *n, const struct resolv_request *req, struct buf *out, struct err *e) {
    const struct engine_config *c = n->engine->config;
    bool host_mode = !req->net || req->net->kind == NETWORK_HOST;
    struct resolv r = {.embedded = req->embedded && !host_mode};
    int ret = read_host_file(&r, e);

    if (ret == 0)
        ret = override(&r.servers, req->dns, &c->dns, &r.own_servers, "DNS server", e);
    if (ret == 0)
        ret = override(&r.search, req->dns_search, &c->dns_search, &r.own_search, "DNS search domain", e);
    if (ret == 0)
        ret = override(&r.options, req->dns_options, &c->dns_opts, &r.own_options, "DNS option", e);
    if (ret == 0 && r.embedded)
        ret = hide_behind_embedded(&r, e);
    else if (ret == 0 && !host_mode)
        ret = keep_reachable(&r, e);
    for (size_t i = 0; ret == 0 && !r.embedded && i < r.options.n; i++) {
        if (str_has_prefix(r.options.v[i], "ndots:"))
            r.ndots_from = r.own_options ? "override" : "host";
    }
    if (ret == 0) {
        write_resolv(&r, host_mode, out);
        ret = buf_check(out, e);
    }
    resolv_done(&r);
    return ret;
}

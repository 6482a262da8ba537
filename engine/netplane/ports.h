// SPDX-License-Identifier: Apache-2.0
/*
 * ports.h - which host ports belong to which container: choice, conflicts, and the sockets that keep them.
 *
 * A taken port is an entry in this table and a bound socket (listening for TCP): so no other process can take it, `ss` shows it, and the proxy
 * (hatake-netd) can serve what address rewriting cannot. The caller passes the sockets on to the proxy, which keeps them while the container runs.
 *
 * Threads: any (one mutex inside, held over non-blocking system calls only).
 */
#ifndef HATAKE_NETPLANE_PORTS_H
#define HATAKE_NETPLANE_PORTS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum port_proto { PORT_TCP = IPPROTO_TCP, PORT_UDP = IPPROTO_UDP, PORT_SCTP = IPPROTO_SCTP };

#define PORT_HOST_IP_MAX 46

/* One port to publish. host_first == 0: one from the machine's local port range is picked. */
struct port_request {
    enum port_proto proto;
    uint16_t container_port;
    uint16_t host_first, host_last; /* inclusive; equal for an explicit port */
    char host_ip[PORT_HOST_IP_MAX]; /* "": every address, IPv4 and IPv6 */
};

/* One port taken on one address. */
struct port_taken {
    enum port_proto proto;
    uint16_t container_port, host_port;
    bool v6;
    char host_ip[PORT_HOST_IP_MAX]; /* "0.0.0.0", "::", "127.0.0.1" */
    uint32_t host_addr;             /* IPv4 in host byte order; 0 for every address, and with v6 */
    int fd;                         /* bound socket; -EBADF where the kernel has no such protocol, or once passed on */
};

struct ports;
/*
 * default_ip: address used for requests without one ("" or NULL: all). proxied: errors of binding read as the reference's with its proxy on.
 * settle: called (once per reservation, may be NULL) when a port is still held by a socket that is being closed; returns when that is done.
 */
struct ports_config {
    const char *default_ip;
    bool proxied;
    void (*settle)(void *arg);
    void *arg;
};
int ports_new(const struct ports_config *c, struct ports **ret, struct err *e);
struct ports *ports_free(struct ports *p);

/*
 * Take all of them or none, in the given order. *ret: array of *ret_n entries (a request without address gives two), to be given to ports_done().
 * Errors (ERR_INTERNAL as in the reference): "Bind for 0.0.0.0:80 failed: port is already allocated", "Error starting userland proxy: listen tcp4 0.0.0.0:80:
 * bind: address already in use", "all ports are allocated".
 */
int ports_take(struct ports *p, const struct port_request *v, size_t n, struct port_taken **ret, size_t *ret_n, struct err *e);
/* Enter ports that a running container has (adoption), without sockets. ERR_CONFLICT when one is taken. */
int ports_adopt(struct ports *p, const struct port_taken *v, size_t n, struct err *e);
/* Open and bind the socket of an adopted port anew. */
int ports_rebind(struct ports *p, struct port_taken *t, struct err *e);
/* Give back: entries leave the table, sockets still here are closed. */
void ports_release(struct ports *p, struct port_taken *v, size_t n);
/* Close the sockets (they have been passed on). */
void ports_close_fds(struct port_taken *v, size_t n);

const char *port_proto_name(enum port_proto p); /* "tcp" */
/* "tcp", "udp", "sctp", any case; false for others. */
bool port_proto_parse(const char *s, enum port_proto *ret);

#endif

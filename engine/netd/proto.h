// SPDX-License-Identifier: Apache-2.0
/*
 * proto.h - what hataked and hatake-netd say to each other.
 *
 * Transport: SOCK_SEQPACKET unix socket <exec root>/hatake/netd.sock (mode 0600), one packet per message, packed structs in host byte order (both
 * ends are always on one machine and of one build; NETD_VERSION is checked all the same, because hatake-netd outlives an upgrade of hataked).
 *
 * Sockets are handed over bound by hataked (SCM_RIGHTS, one per entry of NETD_ADD) and belong to a group: the 16 bytes that name an endpoint.
 *   NETD_ADD   entries and their sockets, at most NETD_ENTRIES per packet; more packets add to the group. No answer.
 *   NETD_DROP  close everything of the group: listeners, connections, sessions. No answer.
 *   NETD_SYNC  answered by NETD_SYNCED when all earlier packets of this connection have been dealt with.
 *   NETD_LIST  answered by NETD_GROUP packets, one per group, then NETD_SYNCED.
 * hatake-netd ends by itself when it has no group: at once without a connection to hataked, after a short while with one. It first shuts its receiving
 * sides, so that hataked's next packet fails (EPIPE) instead of being lost, and deals with what had been sent before. A new connection through
 * the socket's path is proven by NETD_SYNC before it is used.
 */
#ifndef HATAKE_NETD_PROTO_H
#define HATAKE_NETD_PROTO_H

#include <stdint.h>

#define NETD_VERSION 1
#define NETD_ENTRIES 128
#define NETD_GROUP_BYTES 16

enum netd_op { NETD_ADD = 1, NETD_DROP, NETD_SYNC, NETD_LIST, NETD_SYNCED, NETD_GROUP };

/* What to do with a socket's traffic. */
struct netd_entry {
    uint32_t target_be;      /* IPv4 of the container, network byte order */
    uint16_t target_port_be; /* network byte order */
    uint8_t proto;           /* IPPROTO_TCP, IPPROTO_UDP; others are only held */
    uint8_t hold;            /* 1: keep the port, serve nobody (--userland-proxy=false) */
};

struct netd_msg {
    uint16_t version;
    uint8_t op; /* enum netd_op */
    uint8_t n;  /* entries */
    uint8_t group[NETD_GROUP_BYTES];
    struct netd_entry entries[NETD_ENTRIES]; /* only the first n are sent */
};
#define NETD_MSG_BYTES(n) (offsetof(struct netd_msg, entries) + (n) * sizeof(struct netd_entry))

#endif

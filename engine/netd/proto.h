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
 *   NETD_LIST  answered by NETD_GROUP packets, at least one per group, with entries and sockets like NETD_ADD, then NETD_SYNCED. So both sides have the
 *              sockets, and connections wait in them while one hatake-netd has been killed and the next is starting.
 * Names (embedded DNS). hataked has the truth and says it again whenever hatake-netd was started anew; hatake-netd keeps it while hataked is away.
 *   NETD_NAMES     a place on a network (group: endpoint) and its names: replaces what was said of it before. No answer, like all of these.
 *   NETD_UNNAME    the place is gone.
 *   NETD_RESOLVER  what one container (group: its id) sees: networks, links, servers; with NETD_SOCKETS sockets, or without (those handed over before stay).
 *   NETD_UNRESOLVE the container ended.
 *   NETD_STALE     everything known of names and containers is old from here on; NETD_SWEEP: drop what is still old. (A new hataked says both.)
 * Their packets carry fields behind the fixed head instead of entries: one byte of enum netd_field, one of length, the bytes.
 *
 * Every packet names the API's request that it is about (trace). hatake-netd writes no log of its own, it tells:
 *   NETD_LOG       what happened to a group, as text behind the fixed head, and the request by which it came to be; may come at any time, also before an
 *                  answer. Never waited for: what does not fit into the socket is lost. Small matters only where a packet before had tell_all.
 *
 * hatake-netd ends by itself when it has no group and no container: at once without a connection to hataked, after a short while with one. It first shuts its receiving
 * sides, so that hataked's next packet fails (EPIPE) instead of being lost, and deals with what had been sent before. A new connection through
 * the socket's path is proven by NETD_SYNC before it is used.
 */
#ifndef HATAKE_NETD_PROTO_H
#define HATAKE_NETD_PROTO_H

#include <stdint.h>

#define NETD_VERSION 5
#define NETD_ENTRIES 128
#define NETD_GROUP_BYTES 16

#define NETD_PACKET_MAX 65536 /* of packets with fields */

enum netd_op {
    NETD_ADD = 1,
    NETD_DROP,
    NETD_SYNC,
    NETD_LIST,
    NETD_SYNCED,
    NETD_GROUP,
    NETD_NAMES,
    NETD_UNNAME,
    NETD_RESOLVER,
    NETD_UNRESOLVE,
    NETD_STALE,
    NETD_SWEEP,
    NETD_LOG,
};

#define NETD_TEXT_MAX 256 /* of NETD_LOG */

enum netd_field {
    /* NETD_NAMES */
    NETD_F_ZONE = 1,  /* 16 bytes of the network's id. In NETD_RESOLVER: one network more, in the order in which they are asked */
    NETD_F_ZONE_NAME, /* text */
    NETD_F_V4,        /* 4 bytes */
    NETD_F_V6,        /* 16 bytes */
    NETD_F_NAME,      /* text, any number; the first is the one that addresses lead back to */
    /* NETD_RESOLVER */
    NETD_F_FLAGS,  /* 1 byte of NETD_R_* */
    NETD_F_SERVER, /* text "address" */
    NETD_F_LINK,   /* "alias\0name": in the network before it, the alias stands for the name */
};
#define NETD_R_FORWARD 1 /* what is not known here is asked of servers (false on internal networks) */
#define NETD_R_HOST 2 /* the machine's servers, as its resolv.conf is at the time; else those given, which are asked from the container's namespace */
#define NETD_R_NDOTS 4 /* its owner set ndots: names of one label are not passed on */

/*
 * Sockets in the container's network namespace, in this order: UDP and TCP bound to 127.0.0.11 for its questions, then sockets not yet used for
 * ours: three of UDP (no more servers are ever asked), two of TCP.
 */
#define NETD_SOCKETS 7
#define NETD_SOCKET_UDP 0
#define NETD_SOCKET_TCP 1
#define NETD_SOCKET_ASK 2
#define NETD_ASK_UDP 3
#define NETD_ASK_TCP 2

/* What to do with a socket's traffic. */
struct netd_entry {
    uint32_t target_be;      /* IPv4 of the container, network byte order */
    uint16_t target_port_be; /* network byte order */
    uint8_t proto;           /* IPPROTO_TCP, IPPROTO_UDP; others are only held */
    uint8_t hold : 1;        /* keep the port, serve nobody (--userland-proxy=false) */
    uint8_t v6 : 1;          /* the container is at target6 */
    uint8_t target6[16];     /* network byte order */
};

struct netd_msg {
    uint16_t version;
    uint8_t op; /* enum netd_op */
    uint8_t n;  /* entries; in NETD_LOG 1: a warning */
    uint8_t tell_all;
    uint8_t unused[3];
    uint64_t trace; /* 0: none */
    uint8_t group[NETD_GROUP_BYTES];
    struct netd_entry entries[NETD_ENTRIES]; /* only the first n are sent */
};
#define NETD_MSG_BYTES(n) (offsetof(struct netd_msg, entries) + (n) * sizeof(struct netd_entry))

#endif

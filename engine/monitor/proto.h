// SPDX-License-Identifier: Apache-2.0
/*
 * proto.h - messages between the daemon, the launcher and the monitors: records on SOCK_SEQPACKET sockets, descriptors with SCM_RIGHTS.
 *
 * One record is a struct mp_head and `len` bytes of body. Requests carry a sequence number that the reply repeats; events have sequence 0. Both sides are
 * always of one build or of neighbouring ones: types are only ever added, and MP_HELLO carries MP_VERSION.
 * A daemon writes all its MP_ATTACH requests for the first process and then MP_START before the monitor exists; the socket keeps them.
 */
#ifndef HATAKE_MONITOR_PROTO_H
#define HATAKE_MONITOR_PROTO_H

#include <stdint.h>
#include <sys/types.h>

#define MP_VERSION 2
#define MP_BODY_MAX (72 * 1024) /* attach: 64 KiB early bytes and names */
#define MP_FDS_MAX 8
#define MP_EXEC_ID_MAX 80

enum mp_type {
    /* daemon → monitor */
    MP_HELLO = 1,   /* v1 tell everything (debug), adopt: answered by MP_STARTED, then MP_EXITED if it is so */
    MP_START,       /* v0 tell everything (debug): make the container now */
    MP_ATTACH,      /* v0 flags, v1 length of keys (-1 default), v2 length of exec id; body: id, keys, early bytes; fd */
    MP_EXEC,        /* v0 client flags, v1 length of keys (-1), v2 length of exec id, v3 stdin open; body as above; fds: plan, [client] */
    MP_RESIZE,      /* v0 rows, v1 cols; body: exec id or nothing */
    MP_SIGNAL,      /* v0 signal, v1 all; body: exec id or nothing */
    MP_FREEZE,      /* v0 1 freeze, 0 thaw */
    MP_UPDATE,      /* fd: plan of PLAN_CGROUP_SET */
    MP_ACK,         /* the exit is stored: end */
    MP_EXEC_ACK,    /* body: exec id: its exit is known, streams may end */
    MP_RESOLVER,    /* v0 udp port, v1 tcp port; body: rules. Reply with the sockets; those that it has already are kept */
    MP_HEALTH_PLAN, /* before MP_START: v0 interval, v1 timeout, v2 start period, v3 start interval (ns), reserved: retries; fd: plan of the probe */
    /* monitor → daemon */
    MP_REPLY = 64, /* v0 errnum (0: done), v1 result; body: text of the failure */
    MP_STARTED, /* reserved MP_STARTED_FOREIGN, v0 pid, v1 start ticks, v2 started at, v3 pid of the monitor; fds: sockets of the resolver, if it has one */
    MP_FAILED,      /* v0 errnum; body: text */
    MP_EXITED,      /* v0 code, v1 signal, v2 oom, v3 finished at */
    MP_EXEC_EXITED, /* v0 code; body: exec id */
    MP_OOM,
    MP_DETACHED, /* body: exec id or nothing */
    MP_PROBE,    /* a health check begins; body: exec id */
    MP_LOG,      /* v0 enum log_level; body: a sentence for the daemon's log */
    MP_HEALTH,   /* its result: reserved MP_HEALTH_*, v0 exit code, v1 start, v2 end, v3 enum mp_health | streak << 8; body: exec id, NUL, output */
    MP_TAKEN,    /* another daemon has come: this connection ends, and is not to be made again */
    /* daemon → launcher */
    MP_SPAWN = 128, /* v0 host mounts; fds: plan, control socket. Reply: v1 pid */
    MP_SHM,         /* v0 bytes, v1 and v2 its owner; body: path: mount a tmpfs there. Negative: detach it */
    MP_VIEW,        /* body: layers, topmost first, NUL after each. Reply with a detached read-only mount of them */
    MP_NETNS,       /* fds: plan, network namespace, socket for the outcome (oci_netns_result). Reply: v1 pid */
};

#define MP_STARTED_FOREIGN 1 /* another runtime made the container */

#define MP_CLIENT_STDIN 1
#define MP_CLIENT_STDOUT 2
#define MP_CLIENT_STDERR 4
#define MP_CLIENT_FRAMED 8
#define MP_CLIENT_NONE 16 /* MP_EXEC without a client */

enum mp_health { MP_NO_HEALTH, MP_STARTING, MP_HEALTHY, MP_UNHEALTHY };
#define MP_HEALTH_REPLAY 1  /* told again to a daemon that adopts us */
#define MP_HEALTH_STATUS 2  /* no result: only v3 counts */
#define MP_HEALTH_NOT_RUN 4 /* the probe's process never ran */
#define MP_HEALTH_LATE 8    /* it took too long; the code with which its process ended is above MP_HEALTH_CODE_SHIFT */
#define MP_HEALTH_CODE_SHIFT 8

struct mp_head {
    uint32_t type, seq, len, reserved;
    int64_t v[4];
    uint64_t trace; /* of the API's request that it is about, in requests, replies and MP_LOG; 0: none */
};

/* Send one record; 0 or -errno (-EAGAIN when the socket is full and flags has MSG_DONTWAIT). Descriptors stay the caller's. */
int mp_send(int sock, const struct mp_head *h, const void *body, const int *fds, int n_fds, int flags);
/* Receive one record: 1, 0 at the end, -errno. Body goes to buf (at most cap bytes, and a NUL after it: cap must be 1 more). */
int mp_recv(int sock, struct mp_head *h, char *buf, size_t cap, int fds[MP_FDS_MAX], int *ret_n_fds, int flags);

/* <exec_dir>/exit: one line, "code signal oom finished_at\n". */
#define MP_EXIT_FILE "exit"
#define MP_HEALTH_FILE "health" /* the last MP_HEALTH messages of a container that ended */
#define MP_SOCKET_FILE "monitor.sock"
#define MP_PLAN_FD 3
#define MP_CONTROL_FD 4

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * proxy.h - hataked's side of hatake-netd: start it when first needed, hand sockets over, take them back, tell it the names of containers, get back after
 * a restart what it holds, start it again when it was killed.
 *
 * Without any published port and any container with names no hatake-netd runs. Threads: any (one mutex; packets are small and the other end always reads).
 */
#ifndef HATAKE_NETPLANE_PROXY_H
#define HATAKE_NETPLANE_PROXY_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "netd/proto.h"
#include "netplane/ports.h"

struct proxy;

/* program: path of hatake-netd. socket_path: its control socket; the folder exists. hold: keep ports only, serve nobody. A running one is connected to. */
int proxy_new(const char *program, const char *socket_path, bool hold, struct proxy **ret, struct err *e);
/* Disconnect. hatake-netd goes on as long as it holds ports; when it does not, the socket's file is removed. */
struct proxy *proxy_free(struct proxy *p);

/*
 * Hand over the sockets of `v` (fds >= 0), which serve the container at target (host byte order); those of IPv6 addresses at target6, if it has one. They
 * are taken, also on failure, and held here as well until proxy_drop(): connections that come while hatake-netd is dead wait in them.
 */
int proxy_add(struct proxy *p, const char *endpoint_id, uint32_t target, const struct in6_addr *target6, struct port_taken *v, size_t n,
              struct err *e);
/* Close everything of the endpoint. Does not wait: proxy_settle() does. */
void proxy_drop(struct proxy *p, const char *endpoint_id);
/* Wait until earlier drops have been dealt with. Cheap when there were none. Fits ports_config.settle. */
void proxy_settle(void *p);

/* Does it hold ports of this endpoint (as of the last proxy_refresh)? */
bool proxy_has(struct proxy *p, const char *endpoint_id);
/* Ask what it holds. Nothing runs: nothing is held. */
int proxy_refresh(struct proxy *p, struct err *e);
/*
 * Drop all endpoints except those for which keep() says true, and all names and resolvers not said since proxy_new(). Resolvers said before this call
 * are told to hatake-netd by it, after all names: so none answers before it knows every name.
 */
void proxy_sweep(struct proxy *p, bool (*keep)(const char *endpoint_prefix, void *arg), void *arg);

/*
 * Names and resolvers (netd/proto.h tells the fields). What is said is kept and said again to every new hatake-netd. op: NETD_NAMES, or NETD_RESOLVER with
 * NETD_SOCKETS descriptors, which are taken over in every case (fds NULL: those given before stay). Does not wait for an answer: later questions
 * of containers are answered by it all the same.
 */
int proxy_say(struct proxy *p, enum netd_op op, const char *id, const struct buf *fields, int *fds, struct err *e);
/* op: NETD_UNNAME, NETD_UNRESOLVE. Unknown ids are fine. */
void proxy_unsay(struct proxy *p, enum netd_op op, const char *id);
/* Has this container's resolver been said, with sockets? */
bool proxy_resolves(struct proxy *p, const char *container_id);
/* Watch over hatake-netd in a thread: when it dies and anything needs it, it is started anew, and ports and names are given to it again. */
int proxy_watch(struct proxy *p, struct err *e);

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * connect.h - putting a container on a network, or taking it off, after it was made; whether it runs or not. Any thread; the container's token is taken inside.
 *
 * A running container: the address is taken, a child of the launcher makes and sets up the interface inside, default routes and published ports move when
 * another network becomes the one they belong to (networks_gateway()), then hosts, record and view follow. An error leaves everything as it was.
 */
#ifndef HATAKE_CONTAINER_CONNECT_H
#define HATAKE_CONTAINER_CONNECT_H

#include "container/container.h"

struct api_endpoint_settings;

/* `want` NULL: nothing special. Texts as the reference's. */
int container_connect(struct container *c, const char *network, const struct api_endpoint_settings *want, struct err *e);
/* force: also off a network that is gone. */
int container_disconnect(struct container *c, const char *network, bool force, struct err *e);

#endif

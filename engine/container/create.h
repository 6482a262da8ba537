// SPDX-License-Identifier: Apache-2.0
/*
 * create.h - making a container: the request, what the image adds to it, and the record that comes out.
 */
#ifndef HATAKE_CONTAINER_CREATE_H
#define HATAKE_CONTAINER_CREATE_H

#include "container/container-internal.h"

struct ctr_create {
    const char *name;     /* as asked for, with or without '/'; NULL or "": a random one */
    const char *platform; /* "os[/arch[/variant]]", NULL or "": any */
    bool no_config;       /* the body had no part of a configuration at all */
    bool shallow_ro;      /* its version of the API knows read-only binds only without what is mounted below */
    struct api_container_config config;
    struct api_host_config host;
    struct api_networking_config networking;
};
void ctr_create_done(struct ctr_create *req);

/*
 * Read a request as clients of API `version` (145 for 1.45) mean it: drops what is younger, fills in defaults that were others then. 0 or -ERR_INVALID for what a
 * version must not ask for.
 */
int ctr_create_as_of(struct ctr_create *req, int version, struct err *e);
/* Make it. Takes parts out of req. *warnings gets texts for the client. The container comes back counted. */
int containers_create(struct containers *cs, struct ctr_create *req, struct strv *warnings, struct container **ret, struct err *e);

/*
 * Settle what the request says about MAC addresses, in the container-wide field and at its networks, as clients of API `version` (145 for 1.45) mean it:
 * afterwards the address stands at each network it is for, and the container-wide field repeats the one of the network the container is run on.
 * *ret_deprecated: the client gave the container-wide one although its API has the other, and is to be told. 0 or -ERR_INVALID.
 */
#define CTR_MAC_OF_ENDPOINT 144
int ctr_mac_settle(struct ctr_create *req, int version, bool *ret_deprecated, struct err *e);
/*
 * "default" among the networks of a request stands for the default network where `mode`, the request's network mode, leaves it at that one: then it is
 * named by its own name. Else it stays, and names none.
 */
int ctr_name_default_network(struct api_networking_config *n, const char *mode, struct err *e);

/* Fill what the request leaves open from the image's configuration. */
int ctr_merge_image(struct api_container_config *c, const struct api_container_config *image, struct err *e);

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * links.h - legacy links (`docker run --link db:alias`) between containers on the default bridge.
 *
 * A link belongs to the container that asked for it, its parent, and names another one, its child, by id: renaming either keeps it. What it gives:
 *   - the child answers to a second name, "/parent/alias", for every request and in lists; inspect of the parent shows "/child:/parent/alias"
 *   - the parent's processes have the child's address, ports and environment in variables, as they are at each start (and exec)
 *   - the parent's /etc/hosts names the child, and follows its address when the child starts again
 *   - with inter-container traffic off, the two may talk on the child's exposed ports
 * Links are part of struct ctr_fixed; taking one away replaces that. Threads: any; functions that change a container need its token.
 */
#ifndef HATAKE_CONTAINER_LINKS_H
#define HATAKE_CONTAINER_LINKS_H

#include "container/container-internal.h"

/*
 * Resolve HostConfig.Links for a container that will be called `name`: fills *ret. None on networks of one's own (their links are the endpoint's). A name
 * that is taken twice counts once. Errors in the reference's words: unknown container (ERR_INVALID), one on the machine's network.
 */
int ctr_links_resolve(struct containers *cs, const struct api_host_config *h, struct ctr_links *ret, struct err *e);
/* "/child:/parent/alias" for each, as inspect shows them; left absent without any. */
int ctr_links_shown(struct containers *cs, const struct ctr_view *v, struct api_string_list *ret, struct err *e);
/* The container that "parent/alias" (with or without a slash before it) stands for, counted; NULL: none. */
struct container *ctr_links_lookup(struct containers *cs, const char *ref);
/* Second names: child's id → struct strv * of "/parent/alias". Empty at no cost when no container has links. */
int ctr_links_names(struct containers *cs, struct map *ret, struct err *e);
void ctr_links_names_done(struct map *names);
/* Take away the link that `ref` names. ERR_NOT_FOUND for an unknown one, ERR_INTERNAL for a container's own name. */
int ctr_links_remove(struct containers *cs, const char *ref, struct err *e);

/*
 * What a process of the container gets to see: variables in the order of the links. With `hosts` also the lines "address\tnames" for /etc/hosts. ERR_INTERNAL
 * when a child does not run or has no place on the default bridge. Nothing for a container that has no place there itself.
 */
int ctr_links_gather(struct container *c, struct strv *env, struct strv *hosts, struct err *e);
/* The container has started (token held): parents' hosts files follow its address, traffic is let through where it is not by itself. */
void ctr_links_follow(struct container *c);
/* It ended (token held): what was let through for it is no more. */
void ctr_links_leave(struct container *c);

/* Variables of one link; pure. `ports`: "80/tcp" ... in any order. */
int ctr_link_env(const char *alias, const char *parent, const char *address, const struct api_string_set *ports, const struct api_string_list *env,
                 struct strv *ret);

#endif

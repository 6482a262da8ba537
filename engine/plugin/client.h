// SPDX-License-Identifier: Apache-2.0
/*
 * client.h - talking to plugins that run beside the engine: finding them, asking what they implement, calling them.
 *
 * A plugin is found by its name as <name>.sock or <name>/<name>.sock in the sockets' folder, else as <name>.spec (one line, an address) or <name>.json
 * ({"Name", "Addr", "TLSConfig": {"InsecureSkipVerify", "CAFile", "CertFile", "KeyFile"}}) in one of the folders of descriptions. Addresses: unix://PATH,
 * tcp://HOST:PORT, http://, https://. A call is a POST of /<Interface>.<Method> with a JSON body; the first is /Plugin.Activate, whose answer
 * names the interfaces. Source: docs.docker.com/engine/extend/plugin_api.
 *
 * Life cycle: plugins_new → plugins_get / plugins_each → plugin_call → plugins_free. A plugin that answered once stays known until plugins_free(), also when its
 * process is gone meanwhile; one that did not activate is looked for again. Threads: any. Calls block up to their time limit.
 */
#ifndef HATAKE_PLUGIN_CLIENT_H
#define HATAKE_PLUGIN_CLIENT_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/strv.h"

struct plugins;
struct plugin;

#define PLUGIN_REPLY_MAX ((size_t)16 << 20) /* bytes of one answer */

struct plugins_config {
    const char *sockets;      /* folder; NULL: /run/docker/plugins */
    const char *const *specs; /* folders, NULL-terminated; NULL: /etc/docker/plugins, /usr/lib/docker/plugins */
    unsigned patience;        /* seconds that a plugin may be missing or not answer before a patient call fails; 0: 15 */
};

int plugins_new(const struct plugins_config *config, struct plugins **ret, struct err *e);
/* NULL is fine. Returns NULL. */
struct plugins *plugins_free(struct plugins *ps);

/*
 * The plugin of that name, which implements `interface`. ERR_NOT_FOUND `plugin "x" not found`; ERR_INTERNAL and more "legacy plugin: ..." for one that does not
 * implement it, is described in words not understood, or fails to activate. `patient`: wait for one that is not there or does not answer yet. The plugin belongs to ps.
 */
int plugins_get(struct plugins *ps, const char *name, const char *interface, bool patient, struct plugin **ret, struct err *e);
/* Every plugin that is known or can be found now and implements it, by name. *ret: array to be freed; those that fail are left out. */
int plugins_all(struct plugins *ps, const char *interface, struct plugin ***ret, size_t *ret_n, struct err *e);

const char *plugin_name(const struct plugin *p);
/*
 * Call `method` ("VolumeDriver.Mount") with a JSON body (NULL: none; not consumed) and read the answer. Errors: ERR_UNAVAILABLE when the plugin cannot be reached
 * or gives no complete answer (patient calls try again while `patience` lasts), ERR_DEADLINE when there is none after `seconds`, ERR_INTERNAL
 * "<method>: <what it said>" for a status other than 200, and the text of member Err when that is not empty. *ret_reply (may be NULL) is a reference to an object.
 */
int plugin_call(struct plugin *p, const char *method, json_t *body, unsigned seconds, bool patient, json_t **ret_reply, struct err *e);

#endif

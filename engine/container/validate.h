// SPDX-License-Identifier: Apache-2.0
/*
 * validate.h - what create refuses, warns about, and fills in. Pure functions over the request; texts and defaults are the reference's, as recorded
 * by the scenarios of diffharness/. Any thread.
 */
#ifndef HATAKE_CONTAINER_VALIDATE_H
#define HATAKE_CONTAINER_VALIDATE_H

#include "base/engine.h"
#include "base/err.h"
#include "base/strv.h"
#include "types.h"

/* Security options of a container in parsed form. */
struct ctr_security {
    bool no_new_privileges;
    bool seccomp_unconfined, seccomp_builtin; /* asked for by name: whatever the engine's default is */
    const char *apparmor;                     /* profile, as inspect shows it; points into the options; NULL: not asked for */
    const char *seccomp_profile;              /* JSON text of a profile; points into the options; NULL: the engine's default */
};

/*
 * All checks of a create, in the reference's order: these before the image is looked for; warnings are added to `warnings`. ERR_INVALID (some texts:
 * ERR_INTERNAL, as the reference answers them).
 */
int ctr_validate(const struct engine_config *cfg, const struct api_container_config *config, const struct api_host_config *host,
                 struct strv *warnings, struct err *e);
/* And these once it is found: what is asked of networks (NULL: they are not known), and behind the name security options, storage, form of links. */
int ctr_validate_networking(struct networks *networks, const struct api_networking_config *networking, struct err *e);
int ctr_validate_rest(const struct api_host_config *host, struct err *e);
/* The same for what an update changes: resources and restart policy alone. */
int ctr_validate_update(const struct api_host_config *host, struct strv *warnings, struct err *e);
/* What updates have made of the resources as a whole, which a start looks at. */
int ctr_validate_start(const struct api_host_config *host, struct err *e);
/* Fill in what inspect shows when nothing was asked for. Drops what the kernel cannot do (after a warning was given). */
int ctr_host_defaults(const struct engine_config *cfg, struct api_host_config *host, struct err *e);

/* Take out what this machine's control groups cannot do for memory (a limit of swap, swappiness, living on without memory); the checks have warned of it. */
void ctr_discard_memory(struct api_host_config *h);

/* SecurityOpt. ERR_INTERNAL with the reference's text for what it does not know. */
int ctr_security_parse(const struct api_string_list *opts, struct ctr_security *ret, struct err *e);
/* The AppArmor profile of a container where there is AppArmor, that of its later processes too: the one asked for, none (APPARMOR_UNCONFINED) for a privileged one, else the default. */
const char *ctr_apparmor_profile(const struct api_host_config *host, const struct ctr_security *sec);

/* "SIGTERM", "term", "15" → number; negative for what is no signal. */
int ctr_signal_parse(const char *text);
/* Name with SIG, or NULL. */
const char *ctr_signal_name(int sig);
/*
 * Capability by name, with or without CAP_, in any case, → "CAP_..." as the runtime wants it; NULL when unknown.
 */
const char *ctr_cap_name(const char *text);
extern const char *const ctr_cap_all[]; /* NULL-terminated, in the order of the kernel's numbers */
size_t ctr_cap_last(void);              /* number of capabilities the running kernel knows */

/* /proc and /sys paths that containers do not see, and those they may not write. NULL-terminated. */
extern const char *const ctr_masked_paths[];
extern const char *const ctr_readonly_paths[];

/* "container:x" → x, else NULL. */
const char *ctr_mode_container(const char *mode);
static inline bool ctr_mode_is(const char *mode, const char *word) {
    return mode && strcmp(mode, word) == 0;
}

#endif

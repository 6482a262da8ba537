// SPDX-License-Identifier: Apache-2.0
/*
 * logopts.h - the options of log drivers: what create checks, and what a start makes of them for the monitor.
 * Texts are the reference's (scenario container/log-options).
 */
#ifndef HATAKE_CONTAINER_LOGOPTS_H
#define HATAKE_CONTAINER_LOGOPTS_H

#include "container/container-internal.h"
#include "monitor/launch.h"

/* At create: driver and option names and the values that are checked then. Pure but for looking whether a socket's path exists. */
int ctr_log_check(const struct api_log_config *l, struct err *e);
/* Where the driver's file is below `dir` (the container's folder), or NULL for a driver that keeps none. Fresh memory; ERR_ only for memory. */
int ctr_log_file(const struct api_log_config *l, const char *dir, const char *id, char **ret, struct err *e);
/* The driver writes into a folder of its own, "local-logs". */
bool ctr_log_has_folder(const struct api_log_config *l);

/* What a start gives to the monitor. The texts in `log` belong to this. */
struct ctr_log_plan {
    struct launch_log log;
    char *attrs, *config;
    char *tls_program; /* hatake-logtls */
    bool host_paths;   /* sockets, files or programs of the host are used */
};
/*
 * At start: the values that are checked then; for a driver that sends, names are resolved and the receiver is tried (blocking, 10 s at most).
 * `name`: the container's; `libexec_dir`: where hatake-logtls is. Errors begin with the words of a failed start. Release with ctr_log_plan_done(), also after failure.
 */
int ctr_log_prepare(const struct ctr_fixed *f, const char *name, const char *libexec_dir, struct ctr_log_plan *ret, struct err *e);
void ctr_log_plan_done(struct ctr_log_plan *p);

/* logsend.c: the configuration of a driver that sends (logdrv/remote.h), checked and complete. */
int ctr_log_send_config(const struct ctr_fixed *f, const char *name, struct ctr_log_plan *p, struct err *e);
/* logsend.c: options of such a driver, at create. `l->type` is one of them. */
int ctr_log_check_sender(const struct api_log_config *l, struct err *e);
/* SCHEME://HOST:PORT or SCHEME://PATH taken apart; a text without "://" has an empty scheme. Each part cut to its buffer. False: no such form. */
struct ctr_log_address {
    char scheme[16], host[256], port[16], path[108];
};
void ctr_log_address_parse(const char *text, struct ctr_log_address *ret);

#endif

// SPDX-License-Identifier: Apache-2.0
/* launcher-internal.h - the launcher's process side and what client.c shares with its parts; nobody else includes it. */
#ifndef HATAKE_MONITOR_LAUNCHER_INTERNAL_H
#define HATAKE_MONITOR_LAUNCHER_INTERNAL_H

#include "base/err.h"
#include "monitor/client.h"
#include "monitor/launch.h"
#include "oci/build.h"

/* The loop of the launcher process; never returns. */
void launcher_process(int sock, const char *monitor_path, const struct launcher_config *config) __attribute__((noreturn));
/* Plan of a launch request as a sealed memory file. fd, or an error. */
int launch_plan(const struct launch_request *req, const struct cgroup_layout *cgroups, struct seccomp_cache *cache, struct err *e);
struct mp_head;
/* Ask the launcher process; answer.v[0] is an errno value. The descriptors stay the caller's. */
int launcher_ask(struct launcher *l, const struct mp_head *h, const int *fds, int n_fds, struct mp_head *ret_answer, struct err *e);
/* A block as a sealed memory file. fd, or an error. */
int sealed_memfd(const char *name, const void *p, size_t n, struct err *e);

#endif

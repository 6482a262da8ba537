// SPDX-License-Identifier: Apache-2.0
/*
 * run.h - the process's loop. door_fd: listening control socket; first_client: connection of the hataked that started us. Returns 0 when there is
 * nothing left to do, -errno when it cannot begin.
 */
#ifndef HATAKE_NETD_RUN_H
#define HATAKE_NETD_RUN_H

int netd_run(int door_fd, int first_client);

#endif

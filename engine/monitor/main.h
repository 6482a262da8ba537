// SPDX-License-Identifier: Apache-2.0
/*
 * main.h - entry points of the hatake-monitor program (see watch.h for its inside).
 *
 * The program is started by the launcher with a plan in descriptor 3 and its control socket in descriptor 4, and no other. Called as
 * "docker-init" it is the small init of `--init` containers instead.
 */
#ifndef HATAKE_MONITOR_MAIN_H
#define HATAKE_MONITOR_MAIN_H

int monitor_main(void);
int init_main(int argc, char **argv);

struct mon;
/* Make the container (MP_START). */
void mon_start(struct mon *m);
/* Tell a daemon that adopts us where we are (MP_HELLO). */
void mon_hello(struct mon *m);

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * check.h - `hataked check`: does every file of the data root have an owner, every row its file, every layer its bytes?
 *
 * Works on the data root of an engine that does not run, and believes neither files nor rows. One line for each thing that is wrong, then a line that counts
 * them. Without --repair nothing is changed. What repair does: what nobody owns is removed, save writable layers of containers and contents of volumes (data of
 * users: named, kept); names that lead nowhere are made again; images of which a layer is not whole are forgotten, so that they can be pulled again, unless
 * a container needs them.
 */
#ifndef HATAKE_DAEMON_CHECK_H
#define HATAKE_DAEMON_CHECK_H

/*
 * argv[0] is "check"; options: --data-root DIR, --bits (read every layer and compare its digest), --repair. Prints to stdout. Returns the exit status: 0 when
 * nothing is wrong (any more), 1 when something is, 2 for wrong use and when it cannot be told.
 */
int check_main(int argc, char **argv);

#endif

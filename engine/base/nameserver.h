// SPDX-License-Identifier: Apache-2.0
/*
 * nameserver.h - whom this machine asks for names, as clients are told when a look-up fails.
 */
#ifndef HATAKE_BASE_NAMESERVER_H
#define HATAKE_BASE_NAMESERVER_H

#define NAMESERVER_TEXT 64

/* "ADDRESS:53" of the first name server in /etc/resolv.conf (resolv.conf(5)); of this machine where there is none. Reads the file; any thread. */
void nameserver_first(char ret[NAMESERVER_TEXT]);

#endif

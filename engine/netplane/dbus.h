// SPDX-License-Identifier: Apache-2.0
/*
 * dbus.h - as much of a D-Bus client as asking another service of the machine takes (D-Bus Specification 0.41).
 *
 * Purpose: calls with their answers, and signals, over the system bus. Types: strings, 32-bit numbers, booleans, arrays and structures of them.
 * Why not libdbus: it brings libsystemd, libgcrypt, liblzma and liblz4 into every engine, 0.8 MB of memory, for seven calls that few machines have need of.
 * Ownership: the caller owns a struct dbus (dbus_close()) and each message it was given (dbus_message_done()); texts of a message live as long as it does.
 * Nothing is believed about what arrives: lengths are checked, and messages beyond DBUS_MESSAGE_MAX end the connection.
 * Threads: a connection belongs to one at a time. No call waits longer than DBUS_PATIENCE_S for the next message.
 */
#ifndef HATAKE_NETPLANE_DBUS_H
#define HATAKE_NETPLANE_DBUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define DBUS_MESSAGE_MAX ((size_t)1 << 20)
#define DBUS_PATIENCE_S 25 /* as long as callers on a bus usually wait */
#define DBUS_NAME "org.freedesktop.DBus"
#define DBUS_PATH "/org/freedesktop/DBus"

enum dbus_type { DBUS_CALL = 1, DBUS_RETURN = 2, DBUS_ERROR = 3, DBUS_SIGNAL = 4 };

struct dbus {
    int fd; /* readable when a message waits */
    uint32_t serial;
};

struct dbus_message {
    char *data; /* owned; all that follows points into it, NULL where it is missing */
    enum dbus_type type;
    uint32_t serial, reply_to;
    const char *path, *interface, *member, *error, *destination, *sender, *signature;
    const char *body;
    size_t len;
};

/* What a call is for. `signature` and `body` are NULL without arguments. A service that does not run is not started. */
struct dbus_call {
    const char *destination, *path, *interface, *member, *signature;
    const struct buf *body;
};

/* The system bus: the first "unix:path=" of $DBUS_SYSTEM_BUS_ADDRESS, else /run/dbus/system_bus_socket. ERR_UNAVAILABLE when nothing answers there. */
int dbus_open(struct dbus *ret, struct err *e);
/* The same over a socket that is connected already; takes fd. */
int dbus_open_fd(int fd, struct dbus *ret, struct err *e);
void dbus_close(struct dbus *d);

/* Waits for the answer; signals that come before it are lost. An error answer is ERR_CONFLICT with its text. */
int dbus_call(struct dbus *d, const struct dbus_call *c, struct dbus_message *ret, struct err *e);
int dbus_receive(struct dbus *d, struct dbus_message *ret, struct err *e);
/* Any message, for tests that play the other side: member, reply_to and so on are taken from m, the body from `body`. */
int dbus_send(struct dbus *d, const struct dbus_message *m, const struct buf *body, struct err *e);
void dbus_message_done(struct dbus_message *m);

/* Arguments, one after the other. */
void dbus_put_u32(struct buf *b, uint32_t v);
void dbus_put_bool(struct buf *b, bool v);
void dbus_put_string(struct buf *b, const char *s);
/* An array of strings; v may be NULL when n is 0. */
void dbus_put_strings(struct buf *b, const char *const *v, size_t n);
/* Structures begin at multiples of 8. */
void dbus_put_struct(struct buf *b);
void dbus_put_no_structs(struct buf *b);

/* The next argument at *pos (0 for the first); false when the body is over. Check m->signature before. */
bool dbus_get_u32(const struct dbus_message *m, size_t *pos, uint32_t *ret);
bool dbus_get_string(const struct dbus_message *m, size_t *pos, const char **ret);

#endif

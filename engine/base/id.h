// SPDX-License-Identifier: Apache-2.0
/*
 * id.h - identifiers: 64 lower-case hex digits of randomness for objects, 16 for request traces. Any thread.
 */
#ifndef HATAKE_BASE_ID_H
#define HATAKE_BASE_ID_H

#include <stdbool.h>
#include <stddef.h>

#define ID_LEN 64       /* hex digits of a full id */
#define ID_SHORT_LEN 12 /* as people see it */
#define TRACE_ID_LEN 16

/* A fresh id. Never returns the shape of a decimal number in its first 12 digits (host names made of it must not look like one). */
void id_new(char ret[ID_LEN + 1]);
void trace_id_new(char ret[TRACE_ID_LEN + 1]);
/* 64 lower-case hex digits. */
bool id_is_full(const char *s);
/* n bytes as 2n lower-case hex digits and a NUL. */
void hex_encode(const void *p, size_t n, char *ret);
/* 2n hex digits into n bytes; false when s has other characters or another length. */
bool hex_decode(const char *s, void *ret, size_t n);

#endif

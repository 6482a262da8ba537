// SPDX-License-Identifier: Apache-2.0
/*
 * websocket.h - RFC 6455, the server's side: the key of the handshake, reading frames, writing frames.
 *
 * Reading is incremental and streams: a frame of any length costs no memory but what the caller's buffer holds. Pure functions; one decoder per connection,
 * one thread at a time.
 */
#ifndef HATAKE_WIRE_WEBSOCKET_H
#define HATAKE_WIRE_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define WS_KEY_MAX 256
#define WS_ACCEPT_MAX 32
#define WS_CONTROL_MAX 125

enum ws_opcode { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

/*
 * Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455, 4.2.2). The key proves that the server speaks the protocol, not that the client does: like the
 * reference, any text is taken. False: there is none, or it is longer than WS_KEY_MAX.
 */
bool ws_accept_key(const char *key, char ret[WS_ACCEPT_MAX]);

struct ws_decoder {
    uint8_t head[14]; /* as far as it has come */
    size_t n_head;
    uint64_t left; /* payload bytes to come */
    uint8_t opcode;
    size_t at; /* of the payload, for the mask */
    uint8_t control[WS_CONTROL_MAX];
    bool in_payload;
};

/*
 * Take n bytes from the client: payload of data frames goes to `data`, answers to control frames (pong, close) to `reply`.
 * 1: go on; 0: the client closes (its close frame was answered); negative: it breaks the protocol (a close frame with the reason is in `reply`) or memory
 * ran out.
 */
int ws_decode(struct ws_decoder *d, const void *bytes, size_t n, struct buf *data, struct buf *reply);
/* Append one whole, unmasked frame. */
void ws_encode(struct buf *b, enum ws_opcode op, const void *p, size_t n);
/* Append a close frame with that status (1000: normal, 1002: protocol error). */
void ws_encode_close(struct buf *b, int status);

#endif

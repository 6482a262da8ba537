// SPDX-License-Identifier: Apache-2.0
#include "wire/websocket.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define FIN 0x80
#define MASKED 0x80
#define STATUS_PROTOCOL 1002

bool ws_accept_key(const char *key, char ret[WS_ACCEPT_MAX]) {
    unsigned char digest[SHA_DIGEST_LENGTH];
    char text[WS_KEY_MAX + sizeof(GUID)];
    size_t n = key ? strlen(key) : 0;

    if (n == 0 || n > WS_KEY_MAX)
        return false;
    memcpy(text, key, n);
    memcpy(text + n, GUID, sizeof(GUID));
    SHA1((const unsigned char *)text, n + sizeof(GUID) - 1, digest);
    EVP_EncodeBlock((unsigned char *)ret, digest, sizeof(digest));
    return true;
}

void ws_encode(struct buf *b, enum ws_opcode op, const void *p, size_t n) {
    char head[10] = {(char)(FIN | op)};
    size_t k = 2;

    if (n < 126) {
        head[1] = (char)n;
    } else {
        int bytes = n <= UINT16_MAX ? 2 : 8;

        head[1] = bytes == 2 ? 126 : 127;
        for (int i = bytes - 1; i >= 0; i--)
            head[k++] = (char)((uint64_t)n >> (8 * i));
    }
    buf_add(b, head, k);
    buf_add(b, p, n);
}

void ws_encode_close(struct buf *b, int status) {
    const char text[2] = {(char)(status >> 8), (char)status};

    ws_encode(b, WS_CLOSE, text, sizeof(text));
}

/* Bytes that the head needs, from what is there of it. */
static size_t head_size(const struct ws_decoder *d) {
    if (d->n_head < 2)
        return 2;
    switch (d->head[1] & 127) {
    case 126:
        return 8;
    case 127:
        return 14;
    default:
        return 6;
    }
}

/* Without a mask, as only servers send: to be refused without waiting for more. */
static bool is_plain(const struct ws_decoder *d) {
    return d->n_head >= 2 && !(d->head[1] & MASKED);
}

/* The head is whole. False: a frame that no client may send. */
static bool begin_payload(struct ws_decoder *d) {
    size_t bytes = head_size(d) - 6;
    bool control = d->head[0] & 8;

    d->opcode = d->head[0] & 15;
    d->left = bytes ? 0 : d->head[1] & 127;
    for (size_t i = 0; i < bytes; i++)
        d->left = d->left << 8 | d->head[2 + i];
    d->at = 0;
    d->in_payload = true;
    if ((d->head[0] & 0x70) || (bytes == 8 && d->left >> 63))
        return false;
    if (control && (d->left > WS_CONTROL_MAX || !(d->head[0] & FIN)))
        return false;
    return d->opcode <= WS_BINARY || (d->opcode >= WS_CLOSE && d->opcode <= WS_PONG);
}

/* A whole frame is there. False: it was the client's close. */
static bool end_payload(struct ws_decoder *d, struct buf *reply) {
    d->n_head = 0;
    d->in_payload = false;
    if (d->opcode == WS_PING)
        ws_encode(reply, WS_PONG, d->control, d->at);
    return d->opcode != WS_CLOSE;
}

int ws_decode(struct ws_decoder *d, const void *bytes, size_t n, struct buf *data, struct buf *reply) {
    const uint8_t *p = bytes, *end = p + n;

    for (;;) {
        if (!d->in_payload) {
            while (p < end && d->n_head < head_size(d) && !is_plain(d))
                d->head[d->n_head++] = *p++;
            if (d->n_head < head_size(d) && !is_plain(d))
                return 1;
            if (is_plain(d) || !begin_payload(d)) {
                ws_encode_close(reply, STATUS_PROTOCOL);
                return -EPROTO;
            }
        }
        while (p < end && d->left > 0) {
            uint8_t piece[4096];
            size_t k = 0, start = d->at;
            const uint8_t *mask = d->head + head_size(d) - 4;

            while (p < end && d->left > 0 && k < sizeof(piece)) {
                piece[k++] = (uint8_t)(*p++ ^ mask[d->at++ & 3]);
                d->left--;
            }
            if (d->opcode >= WS_CLOSE)
                memcpy(d->control + start, piece, k);
            else
                buf_add(data, piece, k);
        }
        if (!buf_ok(data) || !buf_ok(reply))
            return -ENOMEM;
        if (d->left > 0)
            return 1;
        if (!end_payload(d, reply))
            return 0;
    }
}

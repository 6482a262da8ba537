// SPDX-License-Identifier: Apache-2.0
/*
 * nft-internal.h - expressions shared between nft.c and the iptables encoder.
 */
#ifndef HATAKE_NETPLANE_NFT_INTERNAL_H
#define HATAKE_NETPLANE_NFT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* User data of our rules in shared tables: type (none that the tools know), length, text with its NUL, key. */
#define NFT_MARK_TYPE 0xc8
#define NFT_MARK_TEXT "hatake"
#define NFT_MARK_BYTES (2 + sizeof(NFT_MARK_TEXT))
#define NFT_KEY_MAX 32

/* Begin a message of the subsystem. */
size_t nft_msg(struct buf *b, uint8_t family, unsigned type, uint16_t flags);

void nft_x_meta(struct buf *b, uint32_t key, uint32_t reg);
void nft_x_payload(struct buf *b, uint32_t base, uint32_t offset, uint32_t len, uint32_t reg);
void nft_x_cmp(struct buf *b, uint32_t reg, bool negate, const void *p, size_t n);
void nft_x_bitwise(struct buf *b, uint32_t reg, const void *mask, size_t n);
void nft_x_compat(struct buf *b, bool target, const char *name, uint32_t revision, const void *info, size_t n);

#endif

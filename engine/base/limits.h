// SPDX-License-Identifier: Apache-2.0
/*
 * limits.h - the one table of limits: no allocation, loop or recursion whose bound is chosen by the other side (rule R10).
 */
#ifndef HATAKE_BASE_LIMITS_H
#define HATAKE_BASE_LIMITS_H

#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)
#define GIB(n) ((size_t)(n) << 30)

/* Images and registries */
#define LIMIT_MANIFEST_BYTES MIB(4)
#define LIMIT_IMAGE_CONFIG_BYTES MIB(8)
#define LIMIT_LAYERS 125 /* as many as the reference takes */
#define LIMIT_INDEX_DEPTH 4
#define LIMIT_INDEX_ENTRIES 10000
#define LIMIT_TOKEN_BYTES KIB(64)
#define LIMIT_CHALLENGE_BYTES KIB(8)
#define LIMIT_REDIRECTS 5
#define LIMIT_SLOW_SECONDS 3  /* a download that brings less than... */
#define LIMIT_SLOW_BYTES 3072 /* ...in that time while others wait for its place gives it up */
#define LIMIT_SLOW_ASIDE 16   /* so many go on beside the others; more are ended */
#define LIMIT_SIGNATURES 100  /* looked at before an image counts as not signed */
#define LIMIT_SIGNATURE_CLAIM KIB(64)

/* Archives */
#define LIMIT_ARCHIVE_ENTRIES 10000000
#define LIMIT_ARCHIVE_PATH 4096
#define LIMIT_ARCHIVE_DOCUMENTS MIB(128) /* bytes of JSON that one load reads and makes; what is read again counts again */
#define LIMIT_ARCHIVE_LINK 4096
#define LIMIT_ARCHIVE_EXT_HEADER MIB(1)
#define LIMIT_ARCHIVE_EXT_CHAIN 8
#define LIMIT_XATTR_BYTES KIB(64)
#define LIMIT_XATTR_NAMES 128
#define LIMIT_SPARSE_SEGMENTS 1000000
#define LIMIT_ZSTD_WINDOW_LOG 27   /* 128 MiB */
#define LIMIT_EXPANSION_RATIO 1000 /* above 1:1000 only while the output is under... */
#define LIMIT_EXPANSION_FREE GIB(1)
#define LIMIT_DISK_RESERVE_PERCENT 5

/* HTTP and API */
#define LIMIT_HTTP_HEAD_BYTES MIB(1)
#define LIMIT_HTTP_HEADERS 1000
#define LIMIT_JSON_BODY MIB(16)
#define LIMIT_JSON_DEPTH_DOCUMENT 128
#define LIMIT_JSON_VALUES 200000  /* of one text; the smallest, "{}," costs 300 bytes once it is read */
#define LIMIT_JSON_DEPTH_API 2048 /* what the JSON library itself bears */
#define LIMIT_CONNECTIONS 16384
#define LIMIT_HTTP_HEAD_SECONDS 300
#define LIMIT_KEPT_CONNECTIONS 128 /* that had a request and wait for the next; each holds 33 KiB */
#define LIMIT_KEPT_MS 30000        /* none is closed sooner after its last answer; as long as Docker clients keep theirs */
#define LIMIT_REPLY_BYTES MIB(256)

/* Containers */
#define LIMIT_USERDB_BYTES MIB(10)
#define LIMIT_USERDB_LINE KIB(64)
#define LIMIT_ATTACH_BUFFER KIB(256)
#define LIMIT_HEALTH_OUTPUT 4096
#define LIMIT_HEALTH_LOG 5
#define LIMIT_DETACH_KEYS 32   /* keys of one detach sequence */
#define LIMIT_LOG_LINE KIB(16) /* longer lines are split into partial records */
#define LIMIT_PLAN_BYTES MIB(4)
#define LIMIT_EXECS_PER_CONTAINER 4096
#define LIMIT_DEPARTED 1024     /* containers that removed themselves and whose exit code is still told */
#define LIMIT_EVENT_BACKLOG 256 /* kept for `since` */
#define LIMIT_SUBSCRIBERS 16384

/* Small files of procfs, sysfs, our own state */
#define LIMIT_SMALL_FILE MIB(1)

#endif

// SPDX-License-Identifier: Apache-2.0
#include "container/keys.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/strv.h"

/* The byte of one key: a character itself, or ctrl- and a letter or one of @ [ \ ] ^ _. Negative: no key. */
static int key_byte(const char *text) {
    static const char after[] = "@abcdefghijklmnopqrstuvwxyz[\\]^_";
    const char *p;

    if (strlen(text) == 1)
        return (unsigned char)text[0];
    if (strncmp(text, "ctrl-", 5) != 0 || strlen(text) != 6)
        return -1;
    p = strchr(after, text[5]);
    return p && *p ? (int)(p - after) : -1;
}

int ctr_keys_parse(const char *text, struct launch_keys *ret) {
    _cleanup_strv_ struct strv parts = STRV_INIT;
    struct launch_keys keys = {0};

    if (strv_split(&parts, text, ',') < 0 || parts.n == 0 || parts.n > sizeof(keys.v))
        return -EINVAL;
    for (size_t i = 0; i < parts.n; i++) {
        int b = key_byte(parts.v[i]);

        if (b < 0)
            return -EINVAL;
        keys.v[keys.n++] = (char)b;
    }
    *ret = keys;
    return 0;
}

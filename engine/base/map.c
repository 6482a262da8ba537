// SPDX-License-Identifier: Apache-2.0
#include "base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SLOT_GONE UINT32_MAX

/* FNV-1a over the seed and the bytes, then a finaliser: short keys, so a short function beats a strong one. */
static uint64_t hash_of(const struct map *m, const char *s) {
    uint64_t h = 0xcbf29ce484222325u ^ m->seed;

    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    h ^= m->seed >> 7;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ (h >> 32);
}

void map_done(struct map *m) {
    map_done_with(m, NULL);
}

void map_done_with(struct map *m, void (*free_value)(void *value)) {
    for (size_t i = 0; i < m->used; i++) {
        if (!m->entries[i].key)
            continue;
        free(m->entries[i].key);
        if (free_value)
            free_value(m->entries[i].value);
    }
    free(m->entries);
    free(m->slots);
    *m = MAP_INIT;
}

static void place(struct map *m, uint32_t index) {
    size_t mask = m->cap * 2 - 1;

    for (size_t i = m->entries[index].hash & mask;; i = (i + 1) & mask) {
        if (m->slots[i] == 0 || m->slots[i] == SLOT_GONE) {
            m->slots[i] = index + 1;
            return;
        }
    }
}

static int grow(struct map *m) {
    size_t cap = m->n * 2 < 8 ? 8 : m->n * 2, at = 0;
    struct map_entry *entries;
    uint32_t *slots;

    /* cap is a power of two so that probing can mask. */
    while (cap & (cap - 1))
        cap &= cap - 1;
    if (cap <= m->n)
        cap *= 2;
    if (cap > UINT32_MAX / 4)
        return -ENOMEM;
    entries = calloc(cap, sizeof(*entries));
    slots = calloc(cap * 2, sizeof(*slots));
    if (!entries || !slots) {
        free(entries);
        free(slots);
        return -ENOMEM;
    }
    for (size_t i = 0; i < m->used; i++)
        if (m->entries[i].key)
            entries[at++] = m->entries[i];
    free(m->entries);
    free(m->slots);
    m->entries = entries;
    m->slots = slots;
    m->cap = cap;
    m->used = at;
    for (size_t i = 0; i < at; i++)
        place(m, (uint32_t)i);
    return 0;
}

static ssize_t find_slot(const struct map *m, const char *key, uint64_t hash) {
    size_t mask;

    if (!m->cap)
        return -1;
    mask = m->cap * 2 - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        uint32_t s = m->slots[i];

        if (s == 0)
            return -1;
        if (s != SLOT_GONE && m->entries[s - 1].hash == hash && strcmp(m->entries[s - 1].key, key) == 0)
            return (ssize_t)i;
    }
}

void *map_get(const struct map *m, const char *key) {
    ssize_t i = m->n ? find_slot(m, key, hash_of(m, key)) : -1;

    return i < 0 ? NULL : m->entries[m->slots[i] - 1].value;
}

bool map_has(const struct map *m, const char *key) {
    return m->n && find_slot(m, key, hash_of(m, key)) >= 0;
}

int map_set(struct map *m, const char *key, void *value, void **ret_old) {
    uint64_t hash;
    ssize_t i;
    char *copy;

    if (!m->cap && getrandom(&m->seed, sizeof(m->seed), GRND_NONBLOCK) != sizeof(m->seed))
        m->seed = (uint64_t)(uintptr_t)m;
    hash = hash_of(m, key);
    i = find_slot(m, key, hash);
    if (i >= 0) {
        struct map_entry *en = &m->entries[m->slots[i] - 1];

        if (ret_old)
            *ret_old = en->value;
        en->value = value;
        return 0;
    }
    copy = strdup(key);
    if (!copy)
        return -ENOMEM;
    if (m->used == m->cap && grow(m) < 0) {
        free(copy);
        return -ENOMEM;
    }
    m->entries[m->used] = (struct map_entry){copy, value, hash};
    place(m, (uint32_t)m->used);
    m->used++;
    m->n++;
    if (ret_old)
        *ret_old = NULL;
    return 0;
}

void *map_remove(struct map *m, const char *key) {
    ssize_t i = m->n ? find_slot(m, key, hash_of(m, key)) : -1;
    struct map_entry *en;
    void *value;

    if (i < 0)
        return NULL;
    en = &m->entries[m->slots[i] - 1];
    value = en->value;
    free(en->key);
    *en = (struct map_entry){0};
    m->slots[i] = SLOT_GONE;
    m->n--;
    return value;
}

struct map_entry *map_next(const struct map *m, struct map_entry *at) {
    size_t i = at ? (size_t)(at - m->entries) + 1 : 0;

    for (; i < m->used; i++)
        if (m->entries[i].key)
            return &m->entries[i];
    return NULL;
}

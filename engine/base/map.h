// SPDX-License-Identifier: Apache-2.0
/*
 * map.h - hash map from strings to pointers, in insertion order when iterated.
 *
 * Ownership: keys are copied; values belong to the caller (map_done_with() takes a function that frees them).
 * Cost: O(1) find, set, remove; iteration is O(entries ever added since the last growth). Hash is keyed per map (random seed), so
 * hostile keys cannot make it slow.
 * Threads: one at a time; readers may share while nobody writes.
 */
#ifndef HATAKE_BASE_MAP_H
#define HATAKE_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_entry {
    char *key; /* NULL: removed */
    void *value;
    uint64_t hash;
};

struct map {
    struct map_entry *entries;
    uint32_t *slots; /* index + 1 into entries; 0: free; UINT32_MAX: was used */
    size_t n;        /* live entries */
    size_t used;     /* entries in use, removed ones included */
    size_t cap;      /* of entries; slots has 2 * cap */
    uint64_t seed;
};

#define MAP_INIT ((struct map){0})
#define _cleanup_map_ __attribute__((cleanup(map_done)))

/* Release the map, not the values. */
void map_done(struct map *m);
/* Release the map and call free_value on each value. */
void map_done_with(struct map *m, void (*free_value)(void *value));
/* Value, or NULL. */
void *map_get(const struct map *m, const char *key);
bool map_has(const struct map *m, const char *key);
/* Set; *ret_old (may be NULL) gets the value that was there, or NULL. Returns 0 or -ENOMEM (nothing changed). */
int map_set(struct map *m, const char *key, void *value, void **ret_old);
/* Remove and return the value; NULL when it was not there. */
void *map_remove(struct map *m, const char *key);
/* Iterate: `for (struct map_entry *i = NULL; (i = map_next(m, i));)`. The entry just visited may be removed meanwhile; nothing may be added. */
struct map_entry *map_next(const struct map *m, struct map_entry *at);

#endif

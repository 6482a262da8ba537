// SPDX-License-Identifier: Apache-2.0
/*
 * container.h - containers: their records, life cycle, streams, and what other sections may ask about them.
 *
 * `struct containers` is the manager: an index by id, id prefix and name over counted `struct container` objects. Every read goes through a
 * view (container-internal.h): an immutable counted snapshot that is swapped whole when something changes, so that listing and inspecting never wait
 * for an operation that is under way. Operations hold the container's token (state.h).
 *
 * Life cycle: containers_new() loads the rows; containers_adopt() finds the monitors that outlived the last engine process; containers_free() after
 * containers_shutdown(). Threads: any function from any thread, except new/adopt/free, which belong to the daemon's main thread.
 */
#ifndef HATAKE_CONTAINER_CONTAINER_H
#define HATAKE_CONTAINER_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/engine.h"
#include "base/err.h"
#include "base/strv.h"

struct container;
struct containers;
struct monitor;

/*
 * Make the manager and load all records. Needs engine->db, config, events and (for later operations) images, layers, networks, volumes, launcher and
 * loop; the struct is kept by reference and may be completed after this call.
 */
int containers_new(struct engine *engine, struct containers **ret, struct err *e);
/* The options that --log-opt gives every container: may its --log-driver have them? ERR_INVALID with the words of a refused create. */
int containers_check_logging(const struct engine_config *cfg, struct err *e);
/*
 * After all managers stand: adopt running containers whose monitor lives, give the others their exit, finish or undo what the journal
 * holds, then apply restart policies. Failures of single containers are logged and leave them exited.
 */
int containers_adopt(struct containers *cs, struct err *e);
/* Orderly end: stop every running container (unless live-restore is on) within the shutdown timeout, then drain the tidying. */
void containers_shutdown(struct containers *cs);
/* Release everything. Returns NULL. */
struct containers *containers_free(struct containers *cs);

/* Find by full id, name (with or without '/'), or unique id prefix. ERR_NOT_FOUND "No such container: x". Gives a counted reference. */
int containers_find(struct containers *cs, const char *ref, struct container **ret, struct err *e);
struct container *container_ref(struct container *c);
/* Returns NULL. */
struct container *container_unref(struct container *c);
DEFINE_CLEANUP(struct container *, container_unref)
#define _cleanup_container_ _cleanup_(container_unrefp)

const char *container_id(const struct container *c); /* lives as long as the reference */

struct container_counts {
    int64_t all, running, paused, stopped;
};
void containers_count(struct containers *cs, struct container_counts *ret);
/* There are at most `max`, and `sizes`: what all of them take on the disk is known, as none of them can be writing. No file is looked at. */
bool containers_in_memory(struct containers *cs, size_t max, bool sizes);

/* Who uses an image. */
struct container_image_use {
    int64_t running;                     /* containers that run (or are paused or restarting) */
    int64_t stopped;                     /* others */
    char running_id[65], stopped_id[65]; /* one example of each, "" when there is none */
};
void containers_image_use(struct containers *cs, const char *image_id, struct container_image_use *ret);

/* All containers with their sizes, as GET /containers/json?all=1&size=1 of that version (145) answers. */
struct buf;
int containers_write_all(struct containers *cs, int version, struct buf *out, struct err *e);

/* What a rename or another change of a network endpoint needs to know: all containers, as counted references (caller unrefs each, frees the array). */
int containers_all(struct containers *cs, struct container ***ret, size_t *ret_n, struct err *e);

/* Work put off after an answer and not finished yet (tests and the leak oracle look at it); wait until it is none. */
size_t containers_pending(struct containers *cs);
void containers_drain(struct containers *cs);

#endif

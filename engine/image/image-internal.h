// SPDX-License-Identifier: Apache-2.0
/* image-internal.h - shared by the files of image/ only. */
#ifndef HATAKE_IMAGE_INTERNAL_H
#define HATAKE_IMAGE_INTERNAL_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/engine.h"
#include "base/map.h"
#include "db/db.h"
#include "image/image.h"
#include "layers/layers.h"
#include "registry/reference.h"
#include "types.h"

struct image_history {
    char *created, *created_by, *author, *comment;
    bool empty_layer;
};

struct image {
    _Atomic int refs;
    struct images *owner;
    char *id;
    void *document; /* the configuration as it came: its digest is the id */
    size_t document_n;
    char *created; /* RFC 3339 as image_time_text() gives it, or NULL */
    int64_t created_ns;
    char *author, *architecture, *os, *os_version, *variant, *docker_version, *comment, *container, *parent;
    struct api_container_config config;
    struct api_container_config *container_config; /* NULL: not in the document */
    bool has_config;
    struct strv diff_ids;
    struct image_history *history;
    size_t n_history;
    struct layer *top; /* counted; NULL without layers */
};

/* What may change about an image; under images.lock. */
struct image_record {
    struct image *image;
    int64_t last_tag; /* wall clock ns; CLOCK_ZERO: never */
    char *parent;     /* image it was built from, "" or NULL */
};

struct images {
    const struct engine *engine;
    struct db *db;
    struct layers *layers;
    struct content *content; /* unfinished downloads */
    struct fetches *fetches; /* layers on their way in */
    struct registry *registry;
    bool own_registry;
    pthread_mutex_t lock;
    struct map records; /* id → struct image_record */
    struct map names;   /* canonical reference → struct image_name */
    images_in_use_fn in_use;
    void *in_use_arg;
    struct policy *policy; /* counted, under lock; NULL: every image may be used */
    images_users_fn users;
    void *users_arg;
    pthread_mutex_t uploads_lock; /* of uploads */
    pthread_cond_t uploads_changed;
    int uploads; /* layers being sent */
};

/* A name as long as it points to one image: it never changes, so lists hold it without a copy. */
struct image_name {
    _Atomic int refs;
    char *image_id;
    char *canonical; /* its key in images.names */
    char *shown;     /* as people type it */
    struct reference ref;
};

/* ---- document.c: the configuration document */
/* Parse n bytes (at most LIMIT_IMAGE_CONFIG_BYTES). The image has no layers yet. ERR_INVALID for anything that is no image configuration. */
int image_parse(const void *p, size_t n, struct image **ret, struct err *e);
void image_free(struct image *i);
/*
 * A JSON document of an image, each key in it once. Errors of syntax are the reference's ("unexpected end of JSON input"); others name the document as
 * `what`. `first`: whatever comes behind its end is not looked at, and an early end is "unexpected EOF". A new reference, or NULL.
 */
json_t *image_json(const char *p, size_t n, const char *what, bool first, struct err *e);
/* A time as the reference writes it again: nine digits of a second at most, none of them an idle zero, and UTC by its letter. Fresh memory, or NULL. */
char *image_time_text(const char *s);
static inline void image_unrefp(struct image **i) {
    image_unref(*i);
}
#define _cleanup_image_ __attribute__((cleanup(image_unrefp)))

/* ---- legacy.c: documents of the first image format for an archive, lowest layer first */
int image_legacy_documents(const struct image *i, struct strv *ret, struct err *e);

/* ---- image.c: the store */
/*
 * Make the image known: row, then memory. Takes over *image's reference and hands back the one that counts (an equal image that was there already, or
 * this one). `top` must match the diff IDs; its reference is taken over when ret is this image and dropped otherwise.
 */
int images_add(struct images *s, struct image *image, struct layer *top, struct image **ret, struct err *e);
struct image *images_get(struct images *s, const char *id);
/* Point a canonical reference at an image; *ret_old (may be NULL; free it) gets the id it had before. */
int images_set_name(struct images *s, const struct reference *ref, const char *id, char **ret_old, struct err *e);
/* LastTagTime becomes now: for names that a user gave by hand. A loss of power may undo it. */
int images_touch_tag(struct images *s, const char *id, struct err *e);
/* ERR_NOT_FOUND when the name is not there. */
int images_drop_name(struct images *s, const struct reference *ref, struct err *e);
/* Names of an image as canonical text, sorted. */
int images_names_of(struct images *s, const char *id, struct strv *ret, struct err *e);
/* Canonical names with this repository ("docker.io/library/busybox"), sorted. */
int images_names_in(struct images *s, const char *repository, struct strv *ret, struct err *e);
/* All names, counted, in no particular order; release with image_names_free(). */
int images_all_names(struct images *s, struct image_name ***ret, size_t *ret_n, struct err *e);
void image_names_free(struct image_name **v, size_t n);
/* Id a reference points to (fresh memory), NULL when none. */
char *images_lookup(struct images *s, const struct reference *ref);
/* All images, counted, in no particular order. */
struct image_list {
    struct image **v;
    size_t n;
};
void image_list_done(struct image_list *l);
int images_all(struct images *s, struct image_list *ret, struct err *e);
int64_t images_last_tag(struct images *s, const char *id);
char *images_parent(struct images *s, const char *id);
/* The image it was made from; stays as it is when there is one already. */
int images_set_parent(struct images *s, const char *id, const char *parent, struct err *e);
bool images_has_children(struct images *s, const char *id);
/* Remove the record and all names; chain IDs of layers that went are added to `removed`. */
int images_drop(struct images *s, const char *id, struct strv *removed, struct err *e);
/* events_publish() with the image's labels and a name (NULL: none). */
void images_event(struct images *s, const char *action, const char *actor, const char *image_id, const char *name);

/* ---- progress.c: lines of a progress stream */
struct call;
struct progress {
    struct call *call;
    bool begun;
    bool always; /* errors are a line of the stream even when nothing was written before (load) */
    pthread_mutex_t lock;
};
void progress_init(struct progress *p, struct call *c);
void progress_done(struct progress *p);
/* {"stream": text} */
int progress_stream(struct progress *p, struct err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* {"status": text, "id": id}; id NULL: without. */
int progress_message(struct progress *p, const char *id, struct err *e, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* {"status": action, "progressDetail": {...}, "progress": bar, "id": id}; total <= 0 and current <= 0: empty detail. */
int progress_bar(struct progress *p, const char *id, const char *action, int64_t current, int64_t total, struct err *e);
/* {"progressDetail": {}, "aux": {"Tag", "Digest", "Size"}}: what a push made. */
int progress_pushed(struct progress *p, const char *tag, const char *digest, size_t size, struct err *e);
/* End of an operation: r < 0 becomes a plain error (nothing written yet) or an error line; else the stream is ended. Returns what the handler returns. */
int progress_end(struct progress *p, int r, struct err *e);
/* The text of the bar, as clients show it. */
void progress_text(struct buf *b, int64_t current, int64_t total);

/* ---- pull-manifest.c */
struct platform;
/* The entry of an index that suits the platform best, the first of equals; NULL when none does. One that does not say whom it is for is for all. Borrowed. */
json_t *index_choose(json_t *index, const struct platform *want);

/* ---- push.c */
struct registry_auth;
/* Send ref (without a tag: all tags of the repository) and tell p about it. */
int images_push(struct images *s, struct call *c, const struct reference *ref, const struct registry_auth *auth, struct progress *p, struct err *e);

/* ---- load.c (load-old.c), save.c, remove.c, pull.c, import.c */
int images_load(struct images *s, struct call *c, bool quiet, struct progress *p, struct err *e);
int images_import(struct images *s, struct call *c, const struct q_image_create *q, struct progress *p, struct err *e);
int images_pull(struct images *s, struct call *c, const struct q_image_create *q, struct progress *p, struct err *e);
int images_save(struct images *s, struct call *c, char *const *names, size_t n, struct err *e);
int images_remove(struct images *s, const char *ref, bool force, bool prune, struct api_image_delete_response_item_list *ret, struct err *e);

#endif

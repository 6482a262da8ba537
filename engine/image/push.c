// SPDX-License-Identifier: Apache-2.0
/*
 * docker push: layers (several at a time), configuration, manifest (schema 2, as the reference sends it). What the registry has already under a digest known
 * here is not sent: it is found where it shall go, or mounted from another repository; the rest is compressed while it is sent.
 * Sections: what is known of a layer; one layer; turns; all layers; the manifest; one tag; the request.
 */
#include <openssl/evp.h>
#include <poll.h>

#include "api-handlers.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "image/blobs.h"
#include "image/image-internal.h"
#include "image/squeeze.h"
#include "layers/unpack.h"
#include "registry/registry.h"
#include "wire/call.h"

#define TYPE_CONFIG "application/vnd.docker.container.image.v1+json"
#define TYPE_LAYER "application/vnd.docker.image.rootfs.diff.tar.gzip"
#define WORKERS_MAX 16
#define ATTEMPTS 5
#define PROGRESS_NS (100 * NSEC_PER_MSEC)
#define BYTES_SMALL 100000
#define BYTES_MIDDLE 10000000

struct push;

struct push_layer {
    struct push *push;
    struct layer *layer; /* borrowed from the image */
    char id[ID_SHORT_LEN + 1];
    struct push_layer *same; /* a layer above that is the same: it is sent once */
    /* results */
    char digest[72];
    int64_t size;
    int result;
    struct err error;
    /* while it is sent */
    int64_t shown_at;
};

struct push {
    struct images *images;
    struct call *call;
    struct progress *progress;
    struct registry_session *session;
    struct reference ref; /* borrowed; with the tag under way */
    char *repository;     /* its canonical name */
    const char *user;     /* "" without one */
    struct image *image;
    struct push_layer *layers; /* top first */
    size_t n_layers;
    struct map there; /* diff ID → struct there: known to be in the repository since this push began */
    size_t next;      /* layer to take; under lock */
    bool abort;
    pthread_mutex_t lock;
};

struct there {
    char digest[72];
    int64_t size;
};

static bool push_cancelled(void *arg) {
    struct push *p = arg;

    return __atomic_load_n(&p->abort, __ATOMIC_RELAXED) || call_gone(p->call);
}

/* ---- what is known of a layer ----------------------------------------------------------------------------------------------------------------- */

static const char *domain_end(const char *repository) {
    return repository + strcspn(repository, "/");
}

/* How many leading components of the paths are the same. */
static int likeness(const char *a, const char *b) {
    int n = 0;

    for (;;) {
        size_t k = strcspn(a, "/"), l = strcspn(b, "/");

        if (k != l || memcmp(a, b, k) != 0)
            return n;
        n++;
        if (!a[k] || !b[l])
            return n;
        a += k + 1;
        b += l + 1;
    }
}

static int rank(const struct push *p, const struct blob_seen *b) {
    const char *mine = domain_end(p->repository), *other = domain_end(b->repository);

    return (b->pushed_by && streq(b->pushed_by, p->user) ? 1000 : 0) + (*mine && *other ? likeness(mine + 1, other + 1) : 0);
}

/* What this user pushed first, then what is near by name; the newest first among equals (they come so). */
static void sort_seen(const struct push *p, struct blobs_seen *seen) {
    for (size_t i = 1; i < seen->n; i++) {
        struct blob_seen x = seen->v[i];
        size_t k = i;

        for (; k > 0 && rank(p, &seen->v[k - 1]) < rank(p, &x); k--)
            seen->v[k] = seen->v[k - 1];
        seen->v[k] = x;
    }
}

static bool same_registry(const struct push *p, const struct blob_seen *b) {
    size_t n = (size_t)(domain_end(p->repository) - p->repository);

    return strncmp(p->repository, b->repository, n + 1) == 0;
}

/* How much asking is worth it: mounts, questions, and whether digests from other repositories are asked for beyond the first. */
struct effort {
    int mounts, questions;
    bool others;
};

static struct effort effort_for(int64_t size) {
    if (size > BYTES_MIDDLE)
        return (struct effort){4, 3, true};
    if (size > BYTES_SMALL)
        return (struct effort){3, 1, false};
    return (struct effort){1, 1, false};
}

/* ---- one layer -------------------------------------------------------------------------------------------------------------------------------- */

static int found(struct push_layer *l, const char *digest, int64_t size, bool news, struct err *e) {
    struct push *p = l->push;

    memcpy(l->digest, digest, sizeof l->digest);
    l->size = size;
    return !news ? 0 : blobs_note(p->images->db, layer_diff_id(l->layer), digest, p->repository, p->user, e);
}

/* Ask the target repository for digests the layer is known by. 1: it is there. Failures only mean that it is sent. */
static int ask(struct push_layer *l, const struct blobs_seen *seen, bool others, int questions, struct strv *asked, struct err *e) {
    struct push *p = l->push;

    for (size_t i = 0; i < seen->n && questions > 0; i++) {
        const struct blob_seen *b = &seen->v[i];
        bool own = streq(b->repository, p->repository);
        _cleanup_err_ struct err why = ERR_INIT;
        int64_t size = -1;
        int r;

        if ((!others && !own) || strv_has(asked, b->digest))
            continue;
        if (strv_add(asked, b->digest) < 0)
            return err_oom(e);
        questions--;
        r = registry_has_blob(p->session, b->digest, &size, &why);
        if (r == -ERR_CANCELLED)
            return err_move(e, &why);
        if (r > 0 && size >= 0) {
            r = found(l, b->digest, size, !own || !b->pushed_by || !streq(b->pushed_by, p->user), e);
            if (r == 0)
                r = progress_bar(p->progress, l->id, "Layer already exists", 0, 0, e);
            return r < 0 ? r : 1;
        }
        if (r == 0 && own)
            r = blobs_forget(p->images->db, b->digest, p->repository, &why);
    }
    return 0;
}

/* 1: mounted from another repository of the registry. */
static int mount(struct push_layer *l, const struct blobs_seen *seen, int tries, struct err *e) {
    struct push *p = l->push;

    for (size_t i = 0; i < seen->n && tries > 0; i++) {
        const struct blob_seen *b = &seen->v[i];
        const char *from = domain_end(b->repository) + 1;
        _cleanup_err_ struct err why = ERR_INIT;
        int64_t size = -1;
        int r;

        if (!same_registry(p, b) || streq(b->repository, p->repository))
            continue;
        tries--;
        r = registry_mount_blob(p->session, b->digest, from, &size, &why);
        if (r == -ERR_CANCELLED)
            return err_move(e, &why);
        if (r > 0 && size >= 0) {
            r = found(l, b->digest, size, true, e);
            if (r == 0) {
                _cleanup_free_ char *text = str_printf("Mounted from %s", from);

                r = text ? progress_bar(p->progress, l->id, text, 0, 0, e) : err_oom(e);
            }
            return r < 0 ? r : 1;
        }
    }
    return 0;
}

static int on_squeezed(void *arg, int64_t bytes, bool last, struct err *e) {
    struct push_layer *l = arg;
    int64_t now = clock_mono_ns();

    if (!last && l->shown_at && now - l->shown_at < PROGRESS_NS)
        return 0;
    l->shown_at = now;
    return progress_bar(l->push->progress, l->id, "Pushing", bytes, layer_size(l->layer), e);
}

static int send_layer(struct push_layer *l, bool *ret_retry, struct err *e) {
    struct push *p = l->push;
    struct squeeze *squeeze = NULL;
    char digest[72];
    int64_t size;
    int r = squeeze_new(l->layer, on_squeezed, l, &squeeze, e);

    *ret_retry = false;
    if (r < 0)
        return r;
    l->shown_at = 0;
    r = registry_send_blob(p->session, &(struct registry_source){squeeze_read, squeeze_rewind, squeeze}, digest, &size, ret_retry, e);
    squeeze_free(squeeze);
    if (r == 0)
        r = found(l, digest, size, true, e);
    return r < 0 ? r : progress_bar(p->progress, l->id, "Pushed", 0, 0, e);
}

/* Wait before the next attempt, counting the seconds for the client. */
static int back_off(struct push_layer *l, int seconds, struct err *e) {
    for (; seconds > 0; seconds--) {
        _cleanup_free_ char *text = str_printf("Retrying in %d second%s", seconds, seconds == 1 ? "" : "s");
        int r = text ? progress_bar(l->push->progress, l->id, text, 0, 0, e) : err_oom(e);

        for (int i = 0; r == 0 && i < 10; i++) {
            poll(NULL, 0, 100);
            if (push_cancelled(l->push))
                r = err_set(e, ERR_CANCELLED, "context canceled");
        }
        if (r < 0)
            return r;
    }
    return 0;
}

static int run_layer(struct push_layer *l, struct err *e) {
    struct push *p = l->push;
    const struct there *there = map_get(&p->there, layer_diff_id(l->layer));
    struct effort effort = effort_for(layer_size(l->layer));
    _cleanup_strv_ struct strv asked = STRV_INIT;
    struct blobs_seen seen = {0};
    int r;

    if (there) {
        memcpy(l->digest, there->digest, sizeof l->digest);
        l->size = there->size;
        return progress_bar(p->progress, l->id, "Layer already exists", 0, 0, e);
    }
    r = blobs_of(p->images->db, layer_diff_id(l->layer), &seen, e);
    if (r < 0)
        return r;
    sort_seen(p, &seen);
    r = ask(l, &seen, true, 1, &asked, e);
    if (r == 0)
        r = mount(l, &seen, effort.mounts, e);
    if (r == 0)
        r = ask(l, &seen, effort.others, effort.questions - (int)asked.n, &asked, e);
    blobs_seen_done(&seen);
    if (r != 0)
        return r < 0 ? r : 0;
    for (int attempt = 1;; attempt++) {
        _cleanup_err_ struct err why = ERR_INIT;
        bool retry = false;

        r = send_layer(l, &retry, &why);
        if (r == 0)
            return 0;
        if (!retry || attempt == ATTEMPTS)
            return err_move(e, &why);
        r = back_off(l, attempt * 5, e);
        if (r < 0)
            return r;
    }
}

/* ---- turns: so many layers at a time are sent in all ------------------------------------------------------------------------------------------ */

static int take_turn(struct push *p, struct err *e) {
    struct images *s = p->images;
    int64_t most = s->engine->config->max_concurrent_uploads;
    int r = 0;

    pthread_mutex_lock(&s->uploads_lock);
    while (r == 0 && most > 0 && s->uploads >= most) {
        struct timespec until;

        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        pthread_cond_timedwait(&s->uploads_changed, &s->uploads_lock, &until);
        if (push_cancelled(p))
            r = err_set(e, ERR_CANCELLED, "context canceled");
    }
    if (r == 0)
        s->uploads++;
    pthread_mutex_unlock(&s->uploads_lock);
    return r;
}

static void give_turn(struct images *s) {
    pthread_mutex_lock(&s->uploads_lock);
    s->uploads--;
    pthread_cond_signal(&s->uploads_changed);
    pthread_mutex_unlock(&s->uploads_lock);
}

/* ---- all layers ------------------------------------------------------------------------------------------------------------------------------- */

static void *work(void *arg) {
    struct push *p = arg;

    for (;;) {
        struct push_layer *l = NULL;

        pthread_mutex_lock(&p->lock);
        while (p->next < p->n_layers && p->layers[p->next].same)
            p->next++;
        if (p->next < p->n_layers && !p->abort)
            l = &p->layers[p->next++];
        pthread_mutex_unlock(&p->lock);
        if (!l)
            return NULL;
        l->result = take_turn(p, &l->error);
        if (l->result == 0) {
            l->result = run_layer(l, &l->error);
            give_turn(p->images);
        }
        if (l->result < 0) {
            pthread_mutex_lock(&p->lock);
            __atomic_store_n(&p->abort, true, __ATOMIC_RELAXED);
            pthread_mutex_unlock(&p->lock);
        }
    }
}

static int plan_layers(struct push *p, struct err *e) {
    size_t n = 0;

    p->n_layers = p->image->top ? (size_t)layer_depth(p->image->top) : 0;
    p->layers = calloc(p->n_layers + 1, sizeof *p->layers);
    if (!p->layers)
        return err_oom(e);
    for (struct layer *layer = p->image->top; layer; layer = layer_parent(layer)) {
        struct push_layer *l = &p->layers[n++];
        int r;

        l->push = p;
        l->layer = layer;
        snprintf(l->id, sizeof l->id, "%.12s", layer_diff_id(layer) + strlen("sha256:"));
        for (size_t i = 0; i + 1 < n && !l->same; i++)
            if (streq(layer_diff_id(p->layers[i].layer), layer_diff_id(layer)))
                l->same = &p->layers[i];
        r = progress_bar(p->progress, l->id, "Preparing", 0, 0, e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The error that ended the push: one that is not just the echo of the end. */
static int first_error(struct push *p, struct err *e) {
    struct push_layer *best = NULL;

    for (size_t i = 0; i < p->n_layers; i++)
        if (p->layers[i].result < 0 && (!best || best->result == -ERR_CANCELLED))
            best = &p->layers[i];
    return best ? err_move(e, &best->error) : 0;
}

static int remember(struct push *p, struct err *e) {
    for (size_t i = 0; i < p->n_layers; i++) {
        struct push_layer *l = &p->layers[i];
        struct there *t;
        void *old = NULL;

        if (l->same) {
            memcpy(l->digest, l->same->digest, sizeof l->digest);
            l->size = l->same->size;
            continue;
        }
        t = malloc(sizeof *t);
        if (!t)
            return err_oom(e);
        memcpy(t->digest, l->digest, sizeof t->digest);
        t->size = l->size;
        if (map_set(&p->there, layer_diff_id(l->layer), t, &old) < 0) {
            free(t);
            return err_oom(e);
        }
        free(old);
    }
    return 0;
}

static int push_layers(struct push *p, struct err *e) {
    int64_t configured = p->images->engine->config->max_concurrent_uploads;
    size_t want = 0, n = 0, unique = 0;
    pthread_t threads[WORKERS_MAX];
    pthread_attr_t attr;
    int r = plan_layers(p, e);

    for (size_t i = 0; i < p->n_layers; i++)
        unique += !p->layers[i].same;
    want = configured > 0 && configured < WORKERS_MAX ? (size_t)configured : WORKERS_MAX;
    for (size_t i = 0, k = 0; r == 0 && i < p->n_layers; i++)
        if (!p->layers[i].same && ++k > want)
            r = progress_bar(p->progress, p->layers[i].id, "Waiting", 0, 0, e);
    if (r < 0 || unique == 0)
        return r;
    want = MIN(want, unique);
    p->next = 0;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, KIB(512));
    for (n = 0; n < want; n++)
        if (pthread_create(&threads[n], &attr, work, p) != 0)
            break;
    pthread_attr_destroy(&attr);
    if (n == 0)
        return err_set(e, ERR_INTERNAL, "starting an upload thread failed");
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    r = first_error(p, e);
    if (r == 0 && call_gone(p->call))
        r = err_set(e, ERR_CANCELLED, "context canceled");
    return r < 0 ? r : remember(p, e);
}

/* ---- the manifest ----------------------------------------------------------------------------------------------------------------------------- */

struct bytes {
    const char *all;
    size_t n, at;
};

static ssize_t bytes_read(void *arg, void *p, size_t n, struct err *e) {
    struct bytes *b = arg;
    size_t k = MIN(n, b->n - b->at);

    memcpy(p, b->all + b->at, k);
    b->at += k;
    return (ssize_t)k;
}

static int bytes_rewind(void *arg, struct err *e) {
    ((struct bytes *)arg)->at = 0;
    return 0;
}

static int push_config(struct push *p, struct err *e) {
    struct bytes b = {.all = p->image->document, .n = p->image->document_n};
    int64_t size;
    char digest[72];
    bool retry;
    int r = registry_has_blob(p->session, p->image->id, &size, e);

    if (r != 0)
        return r < 0 ? r : 0;
    r = registry_send_blob(p->session, &(struct registry_source){bytes_read, bytes_rewind, &b}, digest, &size, &retry, e);
    if (r == 0 && !streq(digest, p->image->id))
        r = err_set(e, ERR_INTERNAL, "image %s is damaged", p->image->id);
    return r;
}

/* Byte for byte what the reference writes of the same parts. */
static void write_manifest(const struct push *p, struct buf *b) {
    buf_addf(b,
             "{\n   \"schemaVersion\": 2,\n   \"mediaType\": \"%s\",\n   \"config\": {\n      \"mediaType\": \"%s\",\n      \"size\": %zu,\n"
             "      \"digest\": \"%s\"\n   },\n   \"layers\": [",
             REGISTRY_TYPE_DOCKER_MANIFEST, TYPE_CONFIG, p->image->document_n, p->image->id);
    for (size_t i = p->n_layers; i-- > 0;)
        buf_addf(b, "%s\n      {\n         \"mediaType\": \"%s\",\n         \"size\": %lld,\n         \"digest\": \"%s\"\n      }",
                 i + 1 < p->n_layers ? "," : "", TYPE_LAYER, (long long)p->layers[i].size, p->layers[i].digest);
    buf_addf(b, "%s]\n}", p->n_layers ? "\n   " : "");
}

static int name_digest(struct push *p, char *digest, struct err *e) {
    struct reference by_digest = {p->ref.domain, p->ref.path, NULL, digest};
    _cleanup_free_ char *old = images_lookup(p->images, &by_digest);

    return old && streq(old, p->image->id) ? 0 : images_set_name(p->images, &by_digest, p->image->id, NULL, e);
}

static int push_manifest(struct push *p, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_MANIFEST_BYTES);
    unsigned char d[EVP_MAX_MD_SIZE];
    char digest[72] = "sha256:";
    int r;

    write_manifest(p, &b);
    r = buf_check(&b, e);
    if (r == 0)
        r = registry_put_manifest(p->session, p->ref.tag, REGISTRY_TYPE_DOCKER_MANIFEST, b.data, b.len, e);
    if (r < 0)
        return r;
    EVP_Digest(b.data, b.len, d, NULL, EVP_sha256(), NULL);
    hex_encode(d, 32, digest + strlen("sha256:"));
    r = progress_message(p->progress, NULL, e, "%s: digest: %s size: %zu", p->ref.tag, digest, b.len);
    if (r == 0)
        r = name_digest(p, digest, e);
    return r < 0 ? r : progress_pushed(p->progress, p->ref.tag, digest, b.len, e);
}

/* ---- one tag ------------------------------------------------------------------------------------------------------------------------------------ */

static void reset(struct push *p) {
    for (size_t i = 0; i < p->n_layers; i++)
        err_done(&p->layers[i].error);
    free(p->layers);
    p->layers = NULL;
    p->n_layers = 0;
    p->image = image_unref(p->image);
}

static int push_tag(struct push *p, char *tag, struct err *e) {
    _cleanup_free_ char *id = NULL;
    int r;

    p->ref.tag = tag;
    id = images_lookup(p->images, &p->ref);
    p->image = id ? images_get(p->images, id) : NULL;
    if (!p->image) {
        _cleanup_free_ char *shown = reference_familiar(&p->ref);

        return shown ? err_set(e, ERR_NOT_FOUND, "tag does not exist: %s", shown) : err_oom(e);
    }
    r = push_layers(p, e);
    if (r == 0)
        r = push_config(p, e);
    if (r == 0)
        r = push_manifest(p, e);
    reset(p);
    return r;
}

static int push_all(struct push *p, const struct strv *names, struct err *e) {
    bool any = false;

    for (size_t i = 0; i < names->n; i++) {
        char *tag = names->v[i] + strlen(p->repository);
        int r;

        if (*tag != ':')
            continue;
        any = true;
        r = push_tag(p, tag + 1, e);
        if (r < 0)
            return r;
    }
    if (!any) {
        _cleanup_free_ char *name = reference_familiar_name(&p->ref);

        return name ? err_set(e, ERR_INVALID, "no tags to push for %s", name) : err_oom(e);
    }
    return 0;
}

/* ---- the request -------------------------------------------------------------------------------------------------------------------------------- */

static int push_names(struct push *p, const struct reference *ref, const struct registry_auth *auth, struct err *e) {
    _cleanup_free_ char *name = reference_familiar_name(ref);
    _cleanup_strv_ struct strv names = STRV_INIT;
    int r = images_names_in(p->images, p->repository, &names, e);

    if (r == 0)
        r = progress_message(p->progress, NULL, e, "The push refers to repository [%s]", p->repository);
    if (r < 0 || !name)
        return r < 0 ? r : err_oom(e);
    if (names.n == 0)
        return err_set(e, ERR_NOT_FOUND, "An image does not exist locally with the tag: %s", name);
    r = registry_session_new(p->images->registry, ref, auth, push_cancelled, p, &p->session, e);
    if (r < 0)
        return r;
    registry_session_purpose(p->session, REGISTRY_PUSH);
    if (ref->digest)
        return err_set(e, ERR_INVALID, "cannot push a digest reference");
    return ref->tag ? push_tag(p, ref->tag, e) : push_all(p, &names, e);
}

int images_push(struct images *s, struct call *c, const struct reference *ref, const struct registry_auth *auth, struct progress *progress,
                struct err *e) {
    struct push p = {.images = s, .call = c, .progress = progress, .ref = *ref};
    _cleanup_free_ char *shown = reference_familiar(ref), *name = reference_familiar_name(ref);
    int r;

    p.user = auth && auth->username ? auth->username : "";
    p.repository = reference_name(ref);
    if (!shown || !name || !p.repository) {
        free(p.repository);
        return err_oom(e);
    }
    pthread_mutex_init(&p.lock, NULL);
    r = push_names(&p, ref, auth, e);
    if (r == 0) {
        _cleanup_free_ char *id = images_lookup(s, ref);

        images_event(s, "push", shown, id ? id : "", name);
    }
    reset(&p);
    registry_session_free(p.session);
    map_done_with(&p.there, free);
    pthread_mutex_destroy(&p.lock);
    free(p.repository);
    return r;
}

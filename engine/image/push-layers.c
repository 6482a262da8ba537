// SPDX-License-Identifier: Apache-2.0
/*
 * The layers of a push, several at a time. What the registry has already under a digest known here is not sent: it is found where it shall go, or mounted from
 * another repository. The rest is sent: as the blob it came in, where that was kept, else compressed on the way.
 * Sections: what is known of a layer; finding it there; sending it; one layer; turns; all layers.
 */
#include <poll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"
#include "image/blobs.h"
#include "image/push-internal.h"
#include "image/squeeze.h"
#include "wire/call.h"

#define WORKERS_MAX 16
#define ATTEMPTS 5
#define PROGRESS_NS (100 * NSEC_PER_MSEC)
#define BYTES_SMALL 100000
#define BYTES_MIDDLE 10000000

/* In p->there. */
struct there {
    char digest[72];
    int64_t size;
};

bool push_cancelled(void *arg) {
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

/* ---- finding it there ------------------------------------------------------------------------------------------------------------------------- */

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

/* ---- sending it ------------------------------------------------------------------------------------------------------------------------------- */

/* bytes: of the layer's archive, as far as it was sent. */
static int show_sent(void *arg, int64_t bytes, bool last, struct err *e) {
    struct push_layer *l = arg;
    int64_t now = clock_mono_ns();

    if (!last && l->shown_at && now - l->shown_at < PROGRESS_NS)
        return 0;
    l->shown_at = now;
    return progress_bar(l->push->progress, l->id, "Pushing", bytes, layer_size(l->layer), e);
}

/* The blob a layer came in, as a source. */
struct kept_blob {
    struct push_layer *l;
    int fd;
    int64_t at, size;
    char digest[72];
};

static ssize_t kept_read(void *arg, void *p, size_t n, struct err *e) {
    struct kept_blob *b = arg;
    ssize_t got;
    int r;

    do
        got = pread(b->fd, p, n, b->at);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return err_errno(e, errno, "reading the blob of layer %s", layer_diff_id(b->l->layer));
    b->at += got;
    r = show_sent(b->l, (int64_t)((double)layer_size(b->l->layer) * (double)b->at / (double)MAX(b->size, INT64_C(1))), got == 0, e);
    return r < 0 ? r : got;
}

static int kept_rewind(void *arg, struct err *e) {
    ((struct kept_blob *)arg)->at = 0;
    return 0;
}

/* 1: sent as it came. 0: it was not kept, or is not what it was any more. */
static int send_kept(struct push_layer *l, bool *ret_retry, struct err *e) {
    struct kept_blob b = {.l = l};
    _cleanup_close_ int fd = b.fd = layer_blob_open(l->layer, b.digest, &b.size);
    char digest[72];
    int64_t size;
    int r;

    if (fd < 0)
        return 0;
    r = registry_send_blob(l->push->session, &(struct registry_source){kept_read, kept_rewind, &b, b.digest, b.size}, digest, &size, ret_retry, e);
    if (r < 0)
        return r;
    if (streq(digest, b.digest)) {
        r = found(l, digest, size, true, e);
        return r < 0 ? r : 1;
    }
    log_kv(LOG_LVL_WARN, "the blob a layer came in has changed on the disk; the layer is compressed anew", "layer", layer_diff_id(l->layer), NULL);
    layer_blob_drop(l->layer);
    return 0;
}

static int send_squeezed(struct push_layer *l, bool *ret_retry, struct err *e) {
    struct squeeze *squeeze = NULL;
    char digest[72];
    int64_t size;
    int r = squeeze_new(l->layer, show_sent, l, &squeeze, e);

    if (r < 0)
        return r;
    r = registry_send_blob(l->push->session, &(struct registry_source){.read = squeeze_read, .rewind = squeeze_rewind, .arg = squeeze}, digest, &size,
                           ret_retry, e);
    squeeze_free(squeeze);
    return r == 0 ? found(l, digest, size, true, e) : r;
}

static int send_layer(struct push_layer *l, bool *ret_retry, struct err *e) {
    int r;

    *ret_retry = false;
    l->shown_at = 0;
    r = send_kept(l, ret_retry, e);
    if (r == 0)
        r = send_squeezed(l, ret_retry, e);
    return r < 0 ? r : progress_bar(l->push->progress, l->id, "Pushed", 0, 0, e);
}

/* ---- one layer -------------------------------------------------------------------------------------------------------------------------------- */

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

int push_layers(struct push *p, struct err *e) {
    int64_t configured = p->images->engine->config->max_concurrent_uploads;
    size_t want = 0, n = 0, unique = 0;
    pthread_t threads[WORKERS_MAX];
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
    for (n = 0; n < want; n++)
        if (thread_start(&threads[n], KIB(512), work, p) < 0)
            break;
    if (n == 0)
        return err_set(e, ERR_INTERNAL, "starting an upload thread failed");
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    r = first_error(p, e);
    if (r == 0 && call_gone(p->call))
        r = err_set(e, ERR_CANCELLED, "context canceled");
    return r < 0 ? r : remember(p, e);
}

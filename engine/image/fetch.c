// SPDX-License-Identifier: Apache-2.0
/* Sections: one layer; the threads; who is too slow; joining and leaving; results. */
#include "image/fetch.h"

#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/engine.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "base/thread.h"
#include "content/content.h"
#include "content/digest.h"
#include "image/pace.h"
#include "layers/unpack.h"
#include "registry/registry.h"

#define PIECE KIB(256) /* bytes that go to the disk and to the unpacker at once */
#define STACK KIB(512)
#define CANCEL_RETRIES 100 /* of 50 ms: a request was given up for another pull's sake */

struct fetches {
    const struct engine *engine;
    struct layers *layers;
    struct content *content;
    pthread_mutex_t lock;
    pthread_cond_t moved, ended; /* a fetch moved; a thread ended */
    uint64_t version;
    struct map wanted; /* chain id → struct fetch that somebody may still join */
    struct fetch *first, **last;
    size_t threads;
    size_t aside;                                          /* of them, those with a transfer too slow to count */
    struct fetch *running[FETCHES_MAX + LIMIT_SLOW_ASIDE]; /* what the threads are at */
    size_t unfinished;                                     /* begun, neither READY nor FAILED */
};

struct fetch {
    struct fetches *owner;
    struct fetch *next; /* in the queue */
    char digest[72], diff_id[72], chain_id[72];
    int64_t size;
    bool keep_blob, blob_kept;
    struct registry_session *session; /* counted */
    /* under owner->lock */
    int refs;   /* who joined, and the queue or the thread */
    int joined; /* who joined alone */
    bool queued, had_to_wait;
    enum fetch_phase phase;
    int64_t seen_have;
    bool keep; /* of the last one who left */
    struct err error;
    bool link_failed;
    struct pace pace;
    bool abandoned, too_slow; /* atomic: read by the transfer */
    int64_t received;         /* atomic: bytes that came, of the blob */
    /* of the thread that runs it */
    struct unpack *unpack;
    struct partial *partial;
    EVP_MD_CTX *sha;
    char *piece;
    size_t piece_n;
    int64_t have; /* handed on, of the blob */
    bool refused; /* it was us who refused the bytes */
    bool known_diff;
    char got_diff[72];
    int64_t layer_size, archive_size;
    /* of who joined */
    pthread_mutex_t register_lock;
    struct layer *layer; /* counted, once one has registered it */
};

static bool abandoned(void *arg) {
    return __atomic_load_n(&((struct fetch *)arg)->abandoned, __ATOMIC_RELAXED);
}

static bool given_up(void *arg) {
    return abandoned(arg) || __atomic_load_n(&((struct fetch *)arg)->too_slow, __ATOMIC_RELAXED);
}

static void came(struct fetch *f, size_t n) {
    __atomic_fetch_add(&f->received, (int64_t)n, __ATOMIC_RELAXED);
}

static void move_to(struct fetch *f, enum fetch_phase phase) {
    struct fetches *s = f->owner;

    pthread_mutex_lock(&s->lock);
    f->phase = phase;
    f->seen_have = f->have;
    s->version++;
    pthread_cond_broadcast(&s->moved);
    pthread_mutex_unlock(&s->lock);
}

/* ---- one layer -------------------------------------------------------------------------------------------------------------- */

static int take_result(void *arg, const struct unpack_event *ev, struct err *e) {
    struct fetch *f = arg;

    if (ev->type == UNPACK_LAYER) {
        memcpy(f->got_diff, ev->diff_id, sizeof f->got_diff);
        f->layer_size = ev->size;
        f->archive_size = ev->archive_size;
    }
    return 0;
}

/* Registries and TLS deliver small pieces; the file system and the unpacker like large ones. */
static int hand_on(struct fetch *f, struct err *e) {
    size_t n = f->piece_n;
    int r;

    if (n == 0)
        return 0;
    f->piece_n = 0;
    r = partial_append(f->partial, f->piece, n, e);
    if (r < 0)
        return r;
    f->have += (int64_t)n;
    r = unpack_advance(f->unpack, f->have, e);
    if (r < 0)
        return err_wrap(e, "failed to register layer");
    move_to(f, FETCH_DOWNLOADING);
    return 0;
}

/* n == 0: nothing came for a while. */
static int take_bytes(void *arg, const void *bytes, size_t n, struct err *e) {
    struct fetch *f = arg;
    const char *at = bytes;
    int r = 0;

    f->refused = true;
    came(f, n);
    if (n == 0)
        r = hand_on(f, e);
    else
        EVP_DigestUpdate(f->sha, bytes, n);
    while (r == 0 && n > 0) {
        size_t part = MIN(n, PIECE - f->piece_n);

        memcpy(f->piece + f->piece_n, at, part);
        f->piece_n += part;
        at += part;
        n -= part;
        if (f->piece_n == PIECE)
            r = hand_on(f, e);
    }
    f->refused = r < 0;
    return r;
}

/* What an earlier attempt left counts as far as its digest goes: it is hashed like the rest, and checked with it. */
static int take_earlier(struct fetch *f, struct err *e) {
    while (f->have < partial_have(f->partial)) {
        ssize_t n = pread(partial_fd(f->partial), f->piece, PIECE, f->have);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_errno(e, n < 0 ? errno : EIO, "reading an unfinished download");
        if (abandoned(f))
            return err_set(e, ERR_CANCELLED, "context canceled");
        EVP_DigestUpdate(f->sha, f->piece, (size_t)n);
        came(f, (size_t)n);
        f->have += n;
    }
    return unpack_advance(f->unpack, f->have, e);
}

static int check_blob(struct fetch *f, struct err *e) {
    char digest[DIGEST_SIZE];

    digest_end(f->sha, digest);
    if (!streq(digest, f->digest) || f->have != f->size)
        return err_set(e, ERR_INTERNAL, "filesystem layer verification failed for digest %s", f->digest);
    return 0;
}

/* A session whose client leaves gives up what it is asking, a token say, although others wait for this layer: ask again until that client is forgotten. */
static int download(struct fetch *f, struct err *e) {
    for (int i = 0;; i++) {
        _cleanup_err_ struct err why = ERR_INIT;
        int r = registry_blob(f->session, f->digest, f->have + (int64_t)f->piece_n, f->size, take_bytes, f, given_up, f, &why);

        if (r == -ERR_CANCELLED && !abandoned(f) && given_up(f))
            return err_set(e, ERR_INTERNAL, "the registry sent less than %d bytes in %d seconds while other downloads waited", LIMIT_SLOW_BYTES,
                           LIMIT_SLOW_SECONDS);
        if (r != -ERR_CANCELLED || f->refused || abandoned(f) || i >= CANCEL_RETRIES)
            return r < 0 ? err_move(e, &why) : 0;
        poll(NULL, 0, 50);
    }
}

/* Download and unpack, going on with what the partial holds. *ret_keep: it broke off for a reason that is not in the bytes. */
static int fetch_blob(struct fetch *f, bool *ret_keep, struct err *e) {
    const char *known = f->known_diff ? f->diff_id : NULL;
    int r;

    f->have = 0;
    f->piece_n = 0;
    f->refused = false;
    if (EVP_DigestInit_ex(f->sha, EVP_sha256(), NULL) != 1)
        return err_oom(e);
    r = unpack_start_file(f->owner->layers, partial_fd(f->partial), known, take_result, f, &f->unpack, e);
    if (r == 0 && partial_have(f->partial) > 0)
        r = take_earlier(f, e);
    if (r == 0 && f->have < f->size) {
        r = download(f, e);
        if (r < 0 && !f->refused) {
            pthread_mutex_lock(&f->owner->lock);
            f->link_failed = r != -ERR_CANCELLED;
            *ret_keep = f->link_failed || f->keep;
            pthread_mutex_unlock(&f->owner->lock);
        }
        if (r == 0 || *ret_keep) {
            int k = hand_on(f, r < 0 ? NULL : e);

            if (r == 0)
                r = k;
        }
    }
    if (r < 0)
        return r;
    move_to(f, FETCH_VERIFYING);
    r = check_blob(f, e);
    if (r < 0)
        return r;
    move_to(f, FETCH_DOWNLOADED);
    r = unpack_finish(f->unpack, e);
    if (r < 0)
        return err_wrap(e, "failed to register layer");
    if (!streq(known ? known : f->got_diff, f->diff_id))
        return err_set(e, ERR_INTERNAL, "layers from manifest don't match image configuration");
    return 0;
}

static bool give_blob(struct fetch *f) {
    _cleanup_free_ char *path = unpack_blob_path(f->unpack, 0);

    return path && partial_give(f->partial, path);
}

static int run_fetch(struct fetch *f, struct err *e) {
    struct fetches *s = f->owner;
    bool keep = false, resumed;
    char diff[72];
    int r;

    /* A blob whose digest is right holds what was found in it the last time. */
    f->known_diff = layers_blob_diff(s->layers, f->digest, diff) && streq(diff, f->diff_id);
    f->sha = EVP_MD_CTX_new();
    f->piece = malloc(PIECE);
    r = f->sha && f->piece ? partial_open(s->content, f->digest, f->size, &f->partial, e) : err_oom(e);
    if (r < 0)
        return r;
    resumed = partial_have(f->partial) > 0;
    r = fetch_blob(f, &keep, e);
    if (r < 0 && r != -ERR_CANCELLED && resumed && !keep && !abandoned(f)) {
        /* Whether the bytes of the earlier attempt were to blame shows when all are fetched again. */
        err_done(e);
        f->unpack = unpack_free(f->unpack);
        r = partial_reset(f->partial, e);
        if (r == 0)
            r = fetch_blob(f, &keep, e);
    }
    if (r == 0 && f->keep_blob)
        f->blob_kept = give_blob(f);
    f->partial = partial_close(f->partial, keep);
    if (r < 0)
        f->unpack = unpack_free(f->unpack);
    return r;
}

/* ---- the threads -------------------------------------------------------------------------------------------------------------- */

static void fetch_free(struct fetch *f) {
    unpack_free(f->unpack);
    partial_close(f->partial, false);
    EVP_MD_CTX_free(f->sha);
    free(f->piece);
    layer_unref(f->layer);
    registry_session_free(f->session);
    err_done(&f->error);
    pthread_mutex_destroy(&f->register_lock);
    free(f);
}

/* Lock held; true: the caller frees it without the lock. */
static bool drop_ref(struct fetch *f) {
    return --f->refs == 0;
}

/* Nobody may join it any more. Lock held. */
static void close_door(struct fetch *f) {
    if (map_get(&f->owner->wanted, f->chain_id) == f)
        map_remove(&f->owner->wanted, f->chain_id);
}

/* Lock held. */
static void finished(struct fetch *f, int r, struct err *error) {
    f->phase = r < 0 ? FETCH_FAILED : FETCH_READY;
    if (r < 0) {
        err_move(&f->error, error);
        close_door(f);
    }
    f->owner->version++;
    f->owner->unfinished--;
    pthread_cond_broadcast(&f->owner->moved);
}

static size_t fetches_at_once(const struct fetches *s) {
    int64_t configured = s->engine->config->max_concurrent_downloads;

    return configured <= 0 ? FETCHES_DEFAULT : (size_t)MIN(configured, (int64_t)FETCHES_MAX);
}

/* Those that take part in the number that may run. Lock held. */
static size_t counted(const struct fetches *s) {
    return s->threads - s->aside;
}

/* How much the pull that this one is for has running, and before all, how much of it drips. Lock held. */
static size_t load_of(const struct fetch *f) {
    size_t load = 0;

    for (size_t i = 0; i < ELEMENTSOF(f->owner->running); i++) {
        const struct fetch *other = f->owner->running[i];

        if (other && other->session == f->session)
            load += other->pace.aside ? ELEMENTSOF(f->owner->running) : 1;
    }
    return load;
}

/* Lock held. */
static void dequeue(struct fetch *f) {
    struct fetches *s = f->owner;

    for (struct fetch **at = &s->first; *at; at = &(*at)->next)
        if (*at == f) {
            *at = f->next;
            if (!*at)
                s->last = at;
            break;
        }
    f->next = NULL;
    f->queued = false;
}

/* The next one whose turn it is, taken out of the queue: of the pull that has the least running, the one that waits longest. Lock held. */
static struct fetch *take_next(struct fetches *s) {
    struct fetch *best = NULL;
    size_t least = SIZE_MAX;

    if (counted(s) > fetches_at_once(s))
        return NULL;
    for (struct fetch *f = s->first; f; f = f->next) {
        size_t load = load_of(f);

        if (load < least) {
            best = f;
            least = load;
        }
    }
    if (best)
        dequeue(best);
    return best;
}

/* `f` runs from now on (in the place of NULL), or does no more (NULL in its place). Lock held. */
static void note_running(struct fetches *s, const struct fetch *was, struct fetch *is) {
    for (size_t i = 0; i < ELEMENTSOF(s->running); i++)
        if (s->running[i] == was) {
            s->running[i] = is;
            return;
        }
}

static void *work(void *arg) {
    struct fetches *s = arg;
    struct fetch *f;

    pthread_mutex_lock(&s->lock);
    while ((f = take_next(s))) {
        _cleanup_err_ struct err error = ERR_INIT;
        bool last;
        int r;

        note_running(s, NULL, f);
        pthread_mutex_unlock(&s->lock);
        r = abandoned(f) ? err_set(&error, ERR_CANCELLED, "context canceled") : run_fetch(f, &error);
        f->piece = (free(f->piece), NULL);
        pthread_mutex_lock(&s->lock);
        note_running(s, f, NULL);
        s->aside -= f->pace.aside;
        finished(f, r, &error);
        last = drop_ref(f);
        if (last) {
            pthread_mutex_unlock(&s->lock);
            fetch_free(f);
            pthread_mutex_lock(&s->lock);
        }
    }
    s->threads--;
    pthread_cond_broadcast(&s->ended);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* One more thread where one may run. Lock held. Without any thread it is an error. */
static int more_threads(struct fetches *s, struct err *e) {
    int r;

    if (counted(s) >= fetches_at_once(s))
        return 0;
    r = thread_start(NULL, STACK, work, s);
    if (r == 0)
        s->threads++;
    return r < 0 && s->threads == 0 ? err_errno(e, -r, "starting a download thread") : 0;
}

/* ---- who is too slow ------------------------------------------------------------------------------------------------------------ */

/* Does another pull wait for a place? What waits of the same one would come from where this comes from. Lock held. */
static bool others_wait(const struct fetch *f) {
    const struct fetch *q = f->owner->first;

    while (q && q->session == f->session)
        q = q->next;
    return q;
}

/* Lock held. */
static void look_at_pace(struct fetch *f, int64_t now) {
    struct fetches *s = f->owner;

    switch (pace_look(&f->pace, now, __atomic_load_n(&f->received, __ATOMIC_RELAXED), others_wait(f), s->aside)) {
    case PACE_STEPS_ASIDE:
        s->aside++;
        log_kv(LOG_LVL_WARN, "a download is too slow for the place it holds and goes on beside the others", "digest", f->digest, NULL);
        ignore_result(more_threads(s, NULL) < 0);
        break;
    case PACE_COMES_BACK:
        s->aside--;
        break;
    case PACE_IS_GIVEN_UP:
        __atomic_store_n(&f->too_slow, true, __ATOMIC_RELAXED);
        break;
    case PACE_GOES_ON:
        break;
    }
}

/* Every pull that waits looks, so that somebody does for as long as it matters. Only what the other side decides counts, not what this machine does with it. Lock held. */
static void look_at_all(struct fetches *s) {
    int64_t now = clock_mono_ns();

    for (size_t i = 0; i < ELEMENTSOF(s->running); i++)
        if (s->running[i] && s->running[i]->phase <= FETCH_DOWNLOADING)
            look_at_pace(s->running[i], now);
}

int fetches_new(const struct engine *engine, struct layers *layers, struct content *content, struct fetches **ret, struct err *e) {
    struct fetches *s = calloc(1, sizeof *s);
    pthread_condattr_t attr;

    if (!s)
        return err_oom(e);
    *s = (struct fetches){.engine = engine, .layers = layers, .content = content, .version = 1, .last = &s->first};
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->moved, &attr);
    pthread_condattr_destroy(&attr);
    pthread_cond_init(&s->ended, NULL);
    *ret = s;
    return 0;
}

struct fetches *fetches_free(struct fetches *s) {
    if (!s)
        return NULL;
    pthread_mutex_lock(&s->lock);
    while (s->threads > 0)
        pthread_cond_wait(&s->ended, &s->lock);
    pthread_mutex_unlock(&s->lock);
    map_done(&s->wanted);
    pthread_cond_destroy(&s->moved);
    pthread_cond_destroy(&s->ended);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return NULL;
}

/* ---- joining and leaving -------------------------------------------------------------------------------------------------------- */

static struct fetch *fetch_new(struct fetches *s, const struct fetch_want *want) {
    struct fetch *f = calloc(1, sizeof *f);

    if (!f)
        return NULL;
    *f = (struct fetch){.owner = s, .size = want->size, .keep_blob = want->keep_blob, .refs = 2, .joined = 1, .queued = true, .error = ERR_INIT};
    snprintf(f->digest, sizeof f->digest, "%s", want->digest);
    snprintf(f->diff_id, sizeof f->diff_id, "%s", want->diff_id);
    snprintf(f->chain_id, sizeof f->chain_id, "%s", want->chain_id);
    f->session = registry_session_ref(want->session);
    pthread_mutex_init(&f->register_lock, NULL);
    return f;
}

/* Lock held. */
static int begin(struct fetches *s, const struct fetch_want *want, struct fetch **ret, struct err *e) {
    struct fetch *f = fetch_new(s, want);
    int r = !f || map_set(&s->wanted, f->chain_id, f, NULL) < 0 ? err_oom(e) : more_threads(s, e);

    if (r < 0) {
        if (f) {
            close_door(f);
            fetch_free(f);
        }
        return r;
    }
    f->had_to_wait = s->unfinished++ - s->aside >= fetches_at_once(s);
    *s->last = f;
    s->last = &f->next;
    *ret = f;
    return 0;
}

int fetch_join(struct fetches *s, const struct fetch_want *want, struct fetch **ret, struct err *e) {
    struct fetch *f;
    int r = 0;

    pthread_mutex_lock(&s->lock);
    f = map_get(&s->wanted, want->chain_id);
    if (f && streq(f->digest, want->digest) && f->size == want->size) {
        f->refs++;
        f->joined++;
        *ret = f;
    } else {
        r = begin(s, want, ret, e);
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

struct fetch *fetch_leave(struct fetch *f, bool keep) {
    struct fetches *s;
    bool last;

    if (!f)
        return NULL;
    s = f->owner;
    pthread_mutex_lock(&s->lock);
    if (--f->joined == 0) {
        close_door(f);
        f->keep = keep;
        __atomic_store_n(&f->abandoned, true, __ATOMIC_RELAXED);
        if (f->queued) {
            dequeue(f);
            f->refs--;
            s->unfinished--;
        }
    }
    last = drop_ref(f);
    pthread_mutex_unlock(&s->lock);
    if (last)
        fetch_free(f);
    return NULL;
}

/* ---- results ---------------------------------------------------------------------------------------------------------------------- */

struct fetch_view fetch_look(struct fetch *f) {
    struct fetch_view v;

    pthread_mutex_lock(&f->owner->lock);
    v = (struct fetch_view){f->phase, f->seen_have, f->had_to_wait && f->phase == FETCH_WAITING,
                            f->phase == FETCH_FAILED && __atomic_load_n(&f->too_slow, __ATOMIC_RELAXED)};
    pthread_mutex_unlock(&f->owner->lock);
    return v;
}

void fetches_wait(struct fetches *s, uint64_t *seen, int ms) {
    int64_t until = clock_mono_ns() + ms * NSEC_PER_MSEC;
    struct timespec t = {until / NSEC_PER_SEC, until % NSEC_PER_SEC};

    pthread_mutex_lock(&s->lock);
    while (s->version == *seen && pthread_cond_timedwait(&s->moved, &s->lock, &t) == 0)
        ;
    *seen = s->version;
    look_at_all(s);
    pthread_mutex_unlock(&s->lock);
}

int fetch_register(struct fetch *f, struct layer *parent, struct layer **ret, struct err *e) {
    int r = 0;

    pthread_mutex_lock(&f->register_lock);
    if (!f->layer && !f->unpack) {
        r = err_set(e, ERR_INTERNAL, "it failed for another pull");
    } else if (!f->layer) {
        unpack_came_from(f->unpack, f->digest, f->blob_kept);
        r = layers_register(f->owner->layers, parent, f->unpack, 0, f->diff_id, f->layer_size, f->archive_size, &f->layer, e);
        f->unpack = unpack_free(f->unpack);
    }
    if (r == 0)
        *ret = layer_ref(f->layer);
    pthread_mutex_unlock(&f->register_lock);
    return r < 0 ? err_wrap(e, "failed to register layer") : 0;
}

int fetch_error(struct fetch *f, bool *ret_link, struct err *e) {
    int r;

    pthread_mutex_lock(&f->owner->lock);
    r = err_set(e, f->error.kind, "%s", err_msg(&f->error));
    if (e)
        e->errnum = f->error.errnum;
    *ret_link = f->link_failed;
    pthread_mutex_unlock(&f->owner->lock);
    return r;
}

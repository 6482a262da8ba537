// SPDX-License-Identifier: Apache-2.0
/*
 * docker save: an archive that is an OCI image layout and a docker-archive at once. Layers are made again byte for byte from their folders and the record
 * of their framing, straight into the client's connection: nothing is kept on disk or in memory.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "content/digest.h"
#include "image/image-internal.h"
#include "layers/unpack.h"
#include "wire/call.h"

#define BLOCK 512
#define OUT_SIZE KIB(64) /* what is shorter is put together first */

struct saved {
    struct image *image;
    struct strv names;  /* canonical, tags only */
    struct strv legacy; /* documents of the first image format */
    char *manifest;     /* OCI manifest text */
    char digest[72];
};

struct saving {
    struct images *images;
    struct call *call;
    struct saved *v;
    size_t n;
    struct map blobs; /* digest → struct blob, to write each once */
    char *out;
    size_t out_n;
};

struct blob {
    struct layer *layer; /* borrowed; NULL: data */
    const void *data;    /* borrowed */
    size_t n;
    int64_t size, mtime;
};

/* ---- output -------------------------------------------------------------------------------------------------------------------------------- */

static int flush_out(struct saving *s, struct err *e) {
    int r = s->out_n ? call_stream_write(s->call, s->out, s->out_n, e) : 0;

    s->out_n = 0;
    return r;
}

static int put(void *arg, const void *p, size_t n, struct err *e) {
    struct saving *s = arg;
    const char *at = p;

    if (n >= OUT_SIZE) {
        int r = flush_out(s, e);

        return r < 0 ? r : call_stream_write(s->call, p, n, e);
    }
    while (n > 0) {
        size_t part = MIN(n, OUT_SIZE - s->out_n);

        memcpy(s->out + s->out_n, at, part);
        s->out_n += part;
        at += part;
        n -= part;
        if (s->out_n == OUT_SIZE) {
            int r = flush_out(s, e);

            if (r < 0)
                return r;
        }
    }
    return 0;
}

static void put_octal(char *at, size_t width, uint64_t v) {
    for (size_t i = width - 1; i-- > 0; v >>= 3)
        at[i] = (char)('0' + (v & 7));
}

/* A ustar header; sizes beyond 8 GiB in base-256. */
static int put_header(struct saving *s, const char *name, char type, unsigned mode, int64_t size, int64_t mtime, struct err *e) {
    char h[BLOCK] = {0};
    unsigned sum = 0;

    snprintf(h, 100, "%s", name);
    put_octal(h + 100, 8, mode);
    put_octal(h + 108, 8, 0);
    put_octal(h + 116, 8, 0);
    if (size < INT64_C(1) << 33) {
        put_octal(h + 124, 12, (uint64_t)size);
    } else {
        h[124] = (char)0x80;
        for (int i = 0; i < 8; i++)
            h[135 - i] = (char)(size >> (8 * i));
    }
    put_octal(h + 136, 12, (uint64_t)MAX(mtime, INT64_C(0)));
    memset(h + 148, ' ', 8);
    h[156] = type;
    memcpy(h + 257, "ustar\00000", 8);
    put_octal(h + 329, 8, 0);
    put_octal(h + 337, 8, 0);
    for (int i = 0; i < BLOCK; i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
    h[155] = ' ';
    return put(s, h, sizeof h, e);
}

static int put_padding(struct saving *s, int64_t size, struct err *e) {
    static const char zeros[BLOCK];

    return put(s, zeros, (size_t)(-size & (BLOCK - 1)), e);
}

static int put_file(struct saving *s, const char *name, const void *p, size_t n, int64_t mtime, struct err *e) {
    int r = put_header(s, name, '0', 0644, (int64_t)n, mtime, e);

    if (r == 0)
        r = put(s, p, n, e);
    return r < 0 ? r : put_padding(s, (int64_t)n, e);
}

/* ---- what is to be saved -------------------------------------------------------------------------------------------------------------------- */

static int64_t mtime_of(const struct image *i) {
    return i->created_ns == CLOCK_ZERO || i->created_ns < 0 ? 0 : i->created_ns / NSEC_PER_SEC;
}

/* Add an image, and a name of it when there is one; the same image once. */
static int add(struct saving *s, struct image *image, const char *name, struct err *e) {
    struct saved *grown, *slot = NULL;

    for (size_t i = 0; i < s->n && !slot; i++)
        if (s->v[i].image == image)
            slot = &s->v[i];
    if (!slot) {
        grown = reallocarray(s->v, s->n + 1, sizeof *grown);
        if (!grown)
            return err_oom(e);
        s->v = grown;
        slot = &s->v[s->n++];
        *slot = (struct saved){.image = image_ref(image)};
    }
    if (name && !strv_has(&slot->names, name) && strv_add(&slot->names, name) < 0)
        return err_oom(e);
    return 0;
}

static int add_repository(struct saving *s, const struct reference *ref, bool *ret_any, struct err *e) {
    _cleanup_free_ char *repository = reference_name(ref);
    _cleanup_strv_ struct strv names = STRV_INIT;
    int r = repository ? images_names_in(s->images, repository, &names, e) : err_oom(e);

    for (size_t i = 0; r == 0 && i < names.n; i++) {
        _cleanup_reference_ struct reference one = REFERENCE_INIT;
        _cleanup_free_ char *id = NULL;
        _cleanup_image_ struct image *image = NULL;

        r = reference_parse(names.v[i], &one, e);
        id = r == 0 ? images_lookup(s->images, &one) : NULL;
        image = id ? images_get(s->images, id) : NULL;
        if (image)
            r = add(s, image, one.digest ? NULL : names.v[i], e);
        *ret_any |= image != NULL;
    }
    return r;
}

static int add_name(struct saving *s, const char *text, struct err *e) {
    _cleanup_reference_ struct reference ref = REFERENCE_INIT;
    _cleanup_image_ struct image *image = NULL;
    _cleanup_free_ char *id = NULL, *canonical = NULL;
    bool any = false;
    int r;

    if (reference_is_id(text)) {
        r = images_resolve(s->images, text, &image, e);
        return r < 0 ? r : add(s, image, NULL, e);
    }
    r = reference_parse(text, &ref, e);
    if (r < 0) {
        /* The reference answers 500 to a bad name here. */
        if (e)
            e->kind = ERR_INTERNAL;
        return -ERR_INTERNAL;
    }
    /* An id or its beginning, as ids are written: no repository may have that name. */
    if (streq(ref.domain, "docker.io") && streq(ref.path, "library/sha256")) {
        r = images_resolve(s->images, text, &image, NULL);
        return r < 0 ? err_set(e, ERR_NOT_FOUND, "No such image: %s", text) : add(s, image, NULL, e);
    }
    if (!ref.tag && !ref.digest) {
        r = add_repository(s, &ref, &any, e);
        if (r < 0 || any)
            return r;
        if (images_resolve(s->images, text, &image, NULL) < 0)
            return err_set(e, ERR_NOT_FOUND, "No such image: %s", text);
        return add(s, image, NULL, e);
    }
    id = images_lookup(s->images, &ref);
    image = id ? images_get(s->images, id) : NULL;
    if (!image)
        return err_set(e, ERR_NOT_FOUND, "reference does not exist");
    canonical = id && !ref.digest ? reference_canonical(&ref) : NULL;
    return add(s, image, canonical, e);
}

/* ---- documents -------------------------------------------------------------------------------------------------------------------------------- */

static struct layer *layer_at(const struct image *i, size_t k) {
    struct layer *l = i->top;

    for (size_t up = i->diff_ids.n - 1; l && up > k; up--)
        l = layer_parent(l);
    return l;
}

static int add_blob(struct saving *s, const char *digest, struct layer *layer, const void *p, size_t n, int64_t size, int64_t mtime, struct err *e) {
    struct blob *b;

    if (map_has(&s->blobs, digest))
        return 0;
    b = calloc(1, sizeof *b);
    if (!b || map_set(&s->blobs, digest, b, NULL) < 0) {
        free(b);
        return err_oom(e);
    }
    *b = (struct blob){layer, p, n, size, mtime};
    return 0;
}

static int make_manifest(struct saving *s, struct saved *v, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_MANIFEST_BYTES);
    const struct image *i = v->image;
    size_t n;
    int r;

    buf_addf(&b,
             "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{\"mediaType\":"
             "\"application/vnd.oci.image.config.v1+json\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[",
             i->id, i->document_n);
    for (size_t k = 0; k < i->diff_ids.n; k++) {
        struct layer *l = layer_at(i, k);

        if (!l)
            return err_set(e, ERR_INTERNAL, "image %s lacks a layer", i->id);
        buf_addf(&b, "%s{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"%s\",\"size\":%lld}", k ? "," : "", i->diff_ids.v[k],
                 (long long)layer_archive_size(l));
        r = add_blob(s, i->diff_ids.v[k], l, NULL, 0, layer_archive_size(l), mtime_of(i), e);
        if (r < 0)
            return r;
    }
    buf_adds(&b, "]}");
    r = buf_check(&b, e);
    if (r < 0)
        return r;
    n = b.len;
    digest_of(b.data, n, v->digest);
    v->manifest = buf_take(&b);
    r = image_legacy_documents(i, &v->legacy, e);
    for (size_t k = 0; r == 0 && k < v->legacy.n; k++) {
        char digest[DIGEST_SIZE];

        digest_of(v->legacy.v[k], strlen(v->legacy.v[k]), digest);
        r = add_blob(s, digest, NULL, v->legacy.v[k], strlen(v->legacy.v[k]), (int64_t)strlen(v->legacy.v[k]), mtime_of(i), e);
    }
    if (r < 0)
        return r;
    r = add_blob(s, i->id, NULL, i->document, i->document_n, (int64_t)i->document_n, mtime_of(i), e);
    return r < 0 ? r : add_blob(s, v->digest, NULL, v->manifest, n, (int64_t)n, 0, e);
}

static const char *hex_of(const char *digest) {
    return digest + strlen("sha256:");
}

static void write_index(const struct saving *s, struct buf *b) {
    bool first = true;

    buf_adds(b, "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":");
    if (s->n == 0)
        buf_adds(b, "null");
    for (size_t i = 0; i < s->n; i++) {
        const struct saved *v = &s->v[i];

        for (size_t k = 0; k < MAX(v->names.n, (size_t)1); k++) {
            buf_addf(b, "%s{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"%s\",\"size\":%zu", first ? "[" : ",",
                     v->digest, strlen(v->manifest));
            first = false;
            if (k < v->names.n)
                buf_addf(b, ",\"annotations\":{\"io.containerd.image.name\":\"%s\",\"org.opencontainers.image.ref.name\":\"%s\"}", v->names.v[k],
                         strrchr(v->names.v[k], ':') + 1);
            buf_addc(b, '}');
        }
    }
    if (s->n)
        buf_addc(b, ']');
    buf_addc(b, '}');
}

static void write_sources(const struct image *i, struct buf *b) {
    _cleanup_strv_ struct strv ids = STRV_INIT;

    ignore_result(strv_copy(&ids, &i->diff_ids) < 0);
    strv_sort(&ids);
    buf_adds(b, ",\"LayerSources\":{");
    for (size_t k = 0, out = 0; k < ids.n; k++) {
        struct layer *l = NULL;

        if (k > 0 && streq(ids.v[k], ids.v[k - 1]))
            continue;
        for (size_t m = 0; m < i->diff_ids.n && !l; m++)
            if (streq(i->diff_ids.v[m], ids.v[k]))
                l = layer_at(i, m);
        buf_addf(b, "%s\"%s\":{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",", out++ ? "," : "", ids.v[k]);
        if (l && layer_archive_size(l) > 0)
            buf_addf(b, "\"size\":%lld,", (long long)layer_archive_size(l));
        buf_addf(b, "\"digest\":\"%s\"}", ids.v[k]);
    }
    buf_addc(b, '}');
}

/* Only a parent that is in the archive too is named. */
static void write_parent(const struct saving *s, const struct image *i, struct buf *b) {
    _cleanup_free_ char *parent = images_parent(s->images, i->id);

    for (size_t k = 0; parent && k < s->n; k++)
        if (streq(s->v[k].image->id, parent) && s->v[k].image != i) {
            buf_addf(b, ",\"Parent\":\"%s\"", parent);
            break;
        }
}

static void write_docker_manifest(const struct saving *s, struct buf *b) {
    if (s->n == 0)
        buf_adds(b, "null");
    for (size_t i = 0; i < s->n; i++) {
        const struct saved *v = &s->v[i];

        buf_addf(b, "%s{\"Config\":\"blobs/sha256/%s\",\"RepoTags\":", i ? "," : "[", hex_of(v->image->id));
        if (v->names.n == 0)
            buf_adds(b, "null");
        for (size_t k = 0; k < v->names.n; k++) {
            _cleanup_reference_ struct reference ref = REFERENCE_INIT;
            _cleanup_free_ char *shown = reference_parse(v->names.v[k], &ref, NULL) == 0 ? reference_familiar(&ref) : NULL;

            buf_addf(b, "%s\"%s\"", k ? "," : "[", shown ? shown : "");
        }
        buf_adds(b, v->names.n ? "],\"Layers\":" : ",\"Layers\":");
        if (v->image->diff_ids.n == 0)
            buf_adds(b, "null");
        for (size_t k = 0; k < v->image->diff_ids.n; k++)
            buf_addf(b, "%s\"blobs/sha256/%s\"", k ? "," : "[", hex_of(v->image->diff_ids.v[k]));
        if (v->image->diff_ids.n)
            buf_addc(b, ']');
        write_parent(s, v->image, b);
        if (v->image->diff_ids.n)
            write_sources(v->image, b);
        buf_addc(b, '}');
    }
    buf_adds(b, s->n ? "]\n" : "\n");
}

/* {"name":{"tag":"top layer"}}: the oldest form of all. false when no image has a name. */
static bool write_repositories(const struct saving *s, struct buf *b) {
    _cleanup_strv_ struct strv lines = STRV_INIT;
    const char *open = NULL;

    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < s->v[i].names.n && s->v[i].image->diff_ids.n; k++) {
            _cleanup_reference_ struct reference ref = REFERENCE_INIT;
            _cleanup_free_ char *name = reference_parse(s->v[i].names.v[k], &ref, NULL) == 0 ? reference_familiar_name(&ref) : NULL;

            if (name)
                ignore_result(strv_addf(&lines, "%s\n%s\n%s", name, ref.tag, hex_of(s->v[i].image->diff_ids.v[s->v[i].image->diff_ids.n - 1])) < 0);
        }
    strv_sort(&lines);
    for (size_t i = 0; i < lines.n; i++) {
        char *name = lines.v[i], *tag = strchr(name, '\n'), *hex = strchr(tag + 1, '\n');

        *tag++ = 0;
        *hex++ = 0;
        if (!open || !streq(open, name))
            buf_addf(b, "%s\"%s\":{", open ? "}," : "{", name);
        else
            buf_addc(b, ',');
        buf_addf(b, "\"%s\":\"%s\"", tag, hex);
        open = name;
    }
    buf_adds(b, "}}\n");
    return lines.n > 0;
}

/* ---- the archive -------------------------------------------------------------------------------------------------------------------------------- */

static int put_blob(struct saving *s, const char *digest, const struct blob *b, struct err *e) {
    char name[96];
    int r;

    snprintf(name, sizeof name, "blobs/sha256/%s", hex_of(digest));
    if (!b->layer)
        return put_file(s, name, b->data, b->n, b->mtime, e);
    r = put_header(s, name, '0', 0644, b->size, b->mtime, e);
    if (r == 0)
        r = layer_archive(b->layer, put, s, e);
    return r < 0 ? r : put_padding(s, b->size, e);
}

static int write_archive(struct saving *s, struct err *e) {
    static const char layout[] = "{\"imageLayoutVersion\": \"1.0.0\"}", zeros[2 * BLOCK];
    _cleanup_buf_ struct buf index = BUF_INIT(LIMIT_REPLY_BYTES), manifest = BUF_INIT(LIMIT_REPLY_BYTES), repositories = BUF_INIT(LIMIT_REPLY_BYTES);
    _cleanup_strv_ struct strv digests = STRV_INIT;
    int64_t newest = 0; /* no time of this machine: what is saved twice is the same to the byte */
    int r = 0;

    for (size_t i = 0; i < s->n; i++)
        newest = MAX(newest, mtime_of(s->v[i].image));
    for (struct map_entry *i = NULL; (i = map_next(&s->blobs, i));)
        if (strv_add(&digests, i->key) < 0)
            return err_oom(e);
    strv_sort(&digests);
    if (s->n) {
        r = put_header(s, "blobs/", '5', 0755, 0, mtime_of(s->v[0].image), e);
        if (r == 0)
            r = put_header(s, "blobs/sha256/", '5', 0755, 0, newest, e);
    }
    for (size_t i = 0; r == 0 && i < digests.n; i++)
        r = put_blob(s, digests.v[i], map_get(&s->blobs, digests.v[i]), e);
    write_index(s, &index);
    write_docker_manifest(s, &manifest);
    if (r == 0)
        r = put_file(s, "index.json", buf_str(&index), index.len, newest, e);
    if (r == 0)
        r = put_file(s, "manifest.json", buf_str(&manifest), manifest.len, 0, e);
    if (r == 0)
        r = put_file(s, "oci-layout", layout, sizeof layout - 1, 0, e);
    if (r == 0 && write_repositories(s, &repositories))
        r = put_file(s, "repositories", buf_str(&repositories), repositories.len, 0, e);
    if (r == 0)
        r = put(s, zeros, sizeof zeros, e);
    return r < 0 ? r : flush_out(s, e);
}

static void free_blob(void *p) {
    free(p);
}

static void saving_done(struct saving *s) {
    map_done_with(&s->blobs, free_blob);
    for (size_t i = 0; i < s->n; i++) {
        image_unref(s->v[i].image);
        strv_done(&s->v[i].names);
        strv_done(&s->v[i].legacy);
        free(s->v[i].manifest);
    }
    free(s->v);
    free(s->out);
}

int images_save(struct images *images, struct call *c, char *const *names, size_t n, struct err *e) {
    __attribute__((cleanup(saving_done))) struct saving s = {.images = images, .call = c, .out = malloc(OUT_SIZE)};
    int r = s.out ? 0 : err_oom(e);

    for (size_t i = 0; r == 0 && i < n; i++)
        r = add_name(&s, names[i], e);
    for (size_t i = 0; r == 0 && i < s.n; i++)
        r = make_manifest(&s, &s.v[i], e);
    if (r == 0)
        r = call_stream_begin(c, 200, "application/x-tar", e);
    if (r < 0)
        return r;
    r = write_archive(&s, e);
    if (r < 0)
        return r; /* the stream breaks off: no reader takes half an archive for a whole one */
    for (size_t i = 0; i < s.n; i++)
        images_event(images, "save", s.v[i].image->id, s.v[i].image->id, s.v[i].image->id);
    return call_stream_end(c, e);
}

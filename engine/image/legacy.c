// SPDX-License-Identifier: Apache-2.0
/*
 * The documents of the first image format, one per layer, that archives of the reference still hold: {"id", "parent", "created", ...}. Old readers follow
 * `repositories` to them; their names are digests, so they must come out byte for byte as the reference's.
 */
#include <openssl/evp.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/str.h"
#include "image/image-internal.h"

#define EPOCH "1970-01-01T00:00:00Z"

struct member {
    const char *key;
    char *value; /* JSON text; owned */
};

struct document {
    struct member v[16];
    size_t n;
};

static void document_done(struct document *d) {
    for (size_t i = 0; i < d->n; i++)
        free(d->v[i].value);
}

static void put(struct document *d, const char *key, char *value) {
    d->v[d->n++] = (struct member){key, value};
}

static void put_text(struct document *d, const char *key, const char *text) {
    struct buf b = BUF_INIT(MIB(1));

    if (str_empty(text))
        return;
    buf_add_json_string(&b, text);
    put(d, key, buf_take(&b));
}

static void put_config(struct document *d, const char *key, const struct api_container_config *config) {
    static const struct api_container_config none;
    struct buf b = BUF_INIT(LIMIT_IMAGE_CONFIG_BYTES);

    ignore_result(api_container_config_write(config ? config : &none, 45 | CODEC_ESCAPE_HTML, &b, NULL) < 0);
    put(d, key, buf_take(&b));
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const struct member *)a)->key, ((const struct member *)b)->key);
}

static int write_members(const struct document *d, struct buf *b, struct err *e) {
    for (size_t i = 0; i < d->n; i++) {
        if (!d->v[i].value)
            return err_oom(e);
        buf_addf(b, "%c\"%s\":", i ? ',' : '{', d->v[i].key);
        buf_adds(b, d->v[i].value);
    }
    buf_addc(b, '}');
    return buf_check(b, e);
}

/* Members of the layer's document, in their order, without id and parent. The lower layers have next to none. */
static void fill(struct document *d, const struct image *i, bool top) {
    if (top)
        put_text(d, "comment", i->comment);
    if (!top || i->created)
        put_text(d, "created", top ? i->created : EPOCH);
    else
        put(d, "created", strdup("null"));
    if (top)
        put_text(d, "container", i->container);
    put_config(d, "container_config", top ? i->container_config : NULL);
    if (!top)
        return;
    put_text(d, "docker_version", i->docker_version);
    put_text(d, "author", i->author);
    if (i->has_config)
        put_config(d, "config", &i->config);
    put_text(d, "architecture", i->architecture);
    put_text(d, "variant", i->variant);
    put_text(d, "os", i->os);
}

/* The id: digest of the members with the chain ID and the parent's id, keys in order. */
static int make_id(const struct document *d, const char *chain, const char *parent, char ret[ID_LEN + 1], struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(2 * LIMIT_IMAGE_CONFIG_BYTES);
    struct document sorted = *d;
    char *layer_id = str_printf("\"%s\"", chain), *up = *parent ? str_printf("\"sha256:%s\"", parent) : NULL;
    unsigned char sum[EVP_MAX_MD_SIZE];
    int r;

    put(&sorted, "layer_id", layer_id);
    if (*parent)
        put(&sorted, "parent", up);
    qsort(sorted.v, sorted.n, sizeof *sorted.v, by_key);
    r = write_members(&sorted, &b, e);
    free(layer_id);
    free(up);
    if (r < 0)
        return r;
    EVP_Digest(b.data, b.len, sum, NULL, EVP_sha256(), NULL);
    hex_encode(sum, 32, ret);
    return 0;
}

int image_legacy_documents(const struct image *i, struct strv *ret, struct err *e) {
    char parent[ID_LEN + 1] = "", id[ID_LEN + 1], chain[72], below[72] = "";

    for (size_t k = 0; k < i->diff_ids.n; k++) {
        __attribute__((cleanup(document_done))) struct document d = {.n = 0};
        _cleanup_buf_ struct buf b = BUF_INIT(2 * LIMIT_IMAGE_CONFIG_BYTES);
        bool top = k + 1 == i->diff_ids.n;
        int r;

        layer_chain_id_of(below, i->diff_ids.v[k], chain);
        fill(&d, i, top);
        r = make_id(&d, chain, parent, id, e);
        if (r < 0)
            return r;
        if (!top)
            put_text(&d, "os", i->os);
        buf_addf(&b, "{\"id\":\"%s\",", id);
        if (*parent)
            buf_addf(&b, "\"parent\":\"%s\",", parent);
        {
            _cleanup_buf_ struct buf rest = BUF_INIT(2 * LIMIT_IMAGE_CONFIG_BYTES);

            r = write_members(&d, &rest, e);
            if (r < 0)
                return r;
            buf_adds(&b, buf_str(&rest) + 1); /* without its opening brace */
        }
        if (buf_check(&b, e) < 0)
            return -ERR_INTERNAL;
        if (strv_consume(ret, buf_take(&b)) < 0)
            return err_oom(e);
        memcpy(parent, id, sizeof parent);
        memcpy(below, chain, sizeof below);
    }
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "image/signature.h"

#include <jansson.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "registry/reference.h"

#define RSA_BITS_MIN 2048
#define EC_BITS_MIN 256

struct signature_key {
    EVP_PKEY *key;
    const EVP_MD *md; /* NULL: the algorithm hashes by itself */
    char *name;
    char fingerprint[2 * EVP_MAX_MD_SIZE + 1];
};

/* ---- keys --------------------------------------------------------------------------------------------------------------------- */

static int take_fingerprint(struct signature_key *k, struct err *e) {
    unsigned char md[EVP_MAX_MD_SIZE], *der = NULL;
    unsigned n = 0;
    int len = i2d_PUBKEY(k->key, &der);
    bool ok = len > 0 && EVP_Digest(der, (size_t)len, md, &n, EVP_sha256(), NULL) == 1;

    OPENSSL_free(der);
    if (!ok)
        return err_oom(e);
    hex_encode(md, n, k->fingerprint);
    return 0;
}

static int check_kind(struct signature_key *k, struct err *e) {
    int bits = EVP_PKEY_get_bits(k->key);

    switch (EVP_PKEY_get_base_id(k->key)) {
    case EVP_PKEY_ED25519:
        return 0;
    case EVP_PKEY_EC:
    case EVP_PKEY_RSA:
        k->md = EVP_sha256();
        if (bits >= (EVP_PKEY_get_base_id(k->key) == EVP_PKEY_RSA ? RSA_BITS_MIN : EC_BITS_MIN))
            return 0;
        return err_set(e, ERR_INVALID, "the key %s is too weak: it has %d bits", k->name, bits);
    default:
        return err_set(e, ERR_INVALID, "the key %s is neither ECDSA, RSA nor Ed25519", k->name);
    }
}

int signature_key_new(const char *pem, size_t n, const char *name, struct signature_key **ret, struct err *e) {
    struct signature_key *k = calloc(1, sizeof *k);
    BIO *bio = n <= INT32_MAX ? BIO_new_mem_buf(pem, (int)n) : NULL;
    int r;

    if (!k || !bio || !(k->name = strdup(name))) {
        BIO_free(bio);
        signature_key_free(k);
        return err_oom(e);
    }
    k->key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    BIO_free(bio);
    r = k->key ? check_kind(k, e) : err_set(e, ERR_INVALID, "%s is no public key in PEM (\"-----BEGIN PUBLIC KEY-----\")", name);
    if (r == 0)
        r = take_fingerprint(k, e);
    if (r < 0) {
        signature_key_free(k);
        return r;
    }
    *ret = k;
    return 0;
}

struct signature_key *signature_key_free(struct signature_key *k) {
    if (!k)
        return NULL;
    EVP_PKEY_free(k->key);
    free(k->name);
    free(k);
    return NULL;
}

const char *signature_key_name(const struct signature_key *k) {
    return k->name;
}

const char *signature_key_fingerprint(const struct signature_key *k) {
    return k->fingerprint;
}

bool signature_is_by(const struct signature_key *k, const void *bytes, size_t n, const void *signature, size_t signature_n) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx && EVP_DigestVerifyInit(ctx, NULL, k->md, NULL, k->key) == 1 && EVP_DigestVerify(ctx, signature, signature_n, bytes, n) == 1;

    EVP_MD_CTX_free(ctx);
    return good;
}

/* ---- claims ------------------------------------------------------------------------------------------------------------------- */

static int bad(struct err *e, const char *what) {
    return err_set(e, ERR_INVALID, "what was signed is no claim about an image: %s", what);
}

/* A text, and nothing else beside it in its object than the other members asked for: what is not understood must not be signed for in vain. */
static const char *text_in(json_t *object, size_t members, const char *key) {
    return json_object_size(object) == members ? json_string_value(json_object_get(object, key)) : NULL;
}

int signature_claim_read(const void *bytes, size_t n, struct signature_claim *ret, struct err *e) {
    json_error_t je;
    json_auto_t *o = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &je);
    json_t *critical = json_object_get(o, "critical"), *image = json_object_get(critical, "image"), *identity = json_object_get(critical, "identity");
    const char *type = text_in(critical, 3, "type"), *digest = text_in(image, 1, "docker-manifest-digest"),
               *reference = text_in(identity, 1, "docker-reference");

    if (!json_is_object(o))
        return bad(e, o ? "not an object" : je.text);
    if (!type || (!streq(type, "cosign container image signature") && !streq(type, "atomic container signature")))
        return bad(e, "critical.type is not that of an image's signature");
    if (!digest || !digest_is_valid(digest))
        return bad(e, "critical.image.docker-manifest-digest is no digest");
    if (str_empty(reference))
        return bad(e, "critical.identity.docker-reference is missing");
    ret->reference = strdup(reference);
    if (!ret->reference)
        return err_oom(e);
    snprintf(ret->digest, sizeof ret->digest, "%s", digest);
    return 0;
}

void signature_claim_done(struct signature_claim *c) {
    free(c->reference);
    c->reference = NULL;
}

bool signature_decode(const char *text, struct buf *ret) {
    size_t n = strlen(text), plain = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
           padding = strspn(text + plain, "=");
    unsigned char *to;

    if (n == 0 || n % 4 != 0 || plain + padding != n || padding > 2 || n / 4 * 3 > ret->max)
        return false;
    to = buf_reserve(ret, n / 4 * 3);
    if (!to || EVP_DecodeBlock(to, (const unsigned char *)text, (int)n) < 0)
        return false;
    buf_commit(ret, n / 4 * 3 - padding);
    return true;
}

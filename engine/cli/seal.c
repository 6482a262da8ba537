// SPDX-License-Identifier: Apache-2.0
#include "cli/seal.h"

#include <endian.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"

#define VERSION 1
#define SALT 16
#define KEY 32
#define NONCE 12
/* 64 MiB and about a fifth of a second: what guessing costs for each passphrase. */
#define SCRYPT_LOG_N 16
#define SCRYPT_R 8
#define SCRYPT_P 1
#define SCRYPT_MEMORY_MAX ((uint64_t)1 << 30) /* a head from elsewhere may ask for this much */

struct head {
    unsigned char magic[8];
    uint8_t version, log_n, r, p;
    uint32_t chunk;
    unsigned char salt[SALT];
};
_Static_assert(sizeof(struct head) == SEAL_HEAD, "a head has no holes");

struct seal {
    unsigned char key[KEY], head[SEAL_HEAD];
    uint64_t number; /* of the next chunk */
    bool over;
    EVP_CIPHER_CTX *cipher;
};

static int make(const struct buf *passphrase, const struct head *h, struct seal **ret, struct err *e) {
    uint64_t n = UINT64_C(1) << h->log_n, memory = 128 * n * h->r + 128 * (uint64_t)h->r * h->p;
    _cleanup_(seal_freep) struct seal *s = calloc(1, sizeof *s);

    if (!s || !(s->cipher = EVP_CIPHER_CTX_new()))
        return err_oom(e);
    memcpy(s->head, h, sizeof s->head);
    /* The bound is the library's; a little more than what is used. */
    if (EVP_PBE_scrypt(passphrase->data, passphrase->len, h->salt, SALT, n, h->r, h->p, memory + (1 << 20), s->key, KEY) != 1)
        return err_set(e, ERR_INTERNAL, "no key could be made from the passphrase");
    *ret = TAKE_PTR(s);
    return 0;
}

int seal_new(const struct buf *passphrase, unsigned char ret_head[SEAL_HEAD], struct seal **ret, struct err *e) {
    struct head h = {.version = VERSION, .log_n = SCRYPT_LOG_N, .r = SCRYPT_R, .p = SCRYPT_P, .chunk = htole32(SEAL_CHUNK)};
    int r;

    memcpy(h.magic, SEAL_MAGIC, sizeof h.magic);
    if (RAND_bytes(h.salt, SALT) != 1)
        return err_set(e, ERR_INTERNAL, "no random numbers");
    r = make(passphrase, &h, ret, e);
    if (r == 0)
        memcpy(ret_head, &h, sizeof h);
    return r;
}

int seal_open(const struct buf *passphrase, const unsigned char head[SEAL_HEAD], struct seal **ret, struct err *e) {
    struct head h;

    memcpy(&h, head, sizeof h);
    if (memcmp(h.magic, SEAL_MAGIC, sizeof h.magic) != 0 || h.version != VERSION || le32toh(h.chunk) != SEAL_CHUNK)
        return err_set(e, ERR_INVALID, "this is no encrypted backup that this program knows");
    if (h.log_n < 1 || h.log_n > 24 || h.r == 0 || h.p == 0 || h.p > 16 || (UINT64_C(128) << h.log_n) * h.r > SCRYPT_MEMORY_MAX)
        return err_set(e, ERR_INVALID, "the backup is damaged: opening it would take unreasonably much memory");
    return make(passphrase, &h, ret, e);
}

struct seal *seal_free(struct seal *s) {
    if (!s)
        return NULL;
    EVP_CIPHER_CTX_free(s->cipher);
    OPENSSL_cleanse(s, sizeof *s);
    free(s);
    return NULL;
}

static void next_nonce(struct seal *s, bool last, unsigned char ret[NONCE]) {
    uint64_t number = htobe64(s->number++);

    memset(ret, 0, NONCE);
    memcpy(ret, &number, sizeof number);
    ret[NONCE - 1] = last;
    s->over = last;
}

int seal_chunk(struct seal *s, const void *plain, size_t n, bool last, unsigned char *ret, struct err *e) {
    unsigned char nonce[NONCE];
    int len, good = !s->over && n <= SEAL_CHUNK && (last || n == SEAL_CHUNK);

    next_nonce(s, last, nonce);
    good = good && EVP_EncryptInit_ex(s->cipher, EVP_aes_256_gcm(), NULL, s->key, nonce) == 1 &&
           EVP_EncryptUpdate(s->cipher, NULL, &len, s->head, SEAL_HEAD) == 1 && EVP_EncryptUpdate(s->cipher, ret, &len, plain, (int)n) == 1 &&
           EVP_EncryptFinal_ex(s->cipher, ret + len, &len) == 1 && EVP_CIPHER_CTX_ctrl(s->cipher, EVP_CTRL_GCM_GET_TAG, SEAL_TAG, ret + n) == 1;
    return good ? 0 : err_set(e, ERR_INTERNAL, "encrypting failed");
}

int seal_unchunk(struct seal *s, const void *sealed, size_t n, bool last, unsigned char *ret, struct err *e) {
    unsigned char nonce[NONCE], tag[SEAL_TAG];
    size_t plain = n >= SEAL_TAG ? n - SEAL_TAG : 0;
    bool first = s->number == 0;
    int len, good = !s->over && n >= SEAL_TAG && plain <= SEAL_CHUNK && (last || plain == SEAL_CHUNK);

    next_nonce(s, last, nonce);
    if (good)
        memcpy(tag, (const unsigned char *)sealed + plain, SEAL_TAG);
    good = good && EVP_DecryptInit_ex(s->cipher, EVP_aes_256_gcm(), NULL, s->key, nonce) == 1 &&
           EVP_DecryptUpdate(s->cipher, NULL, &len, s->head, SEAL_HEAD) == 1 && EVP_DecryptUpdate(s->cipher, ret, &len, sealed, (int)plain) == 1 &&
           EVP_CIPHER_CTX_ctrl(s->cipher, EVP_CTRL_GCM_SET_TAG, SEAL_TAG, tag) == 1 && EVP_DecryptFinal_ex(s->cipher, ret + len, &len) == 1;
    if (good)
        return 0;
    OPENSSL_cleanse(ret, MIN(plain, SEAL_CHUNK));
    return err_set(e, ERR_INVALID, first ? "the passphrase is wrong, or the backup is damaged" : "the backup is damaged or cut off");
}

int passphrase_read(const char *path, struct buf *ret, struct err *e) {
    _cleanup_close_ int opened = streq(path, "-") ? -EBADF : open(path, O_RDONLY | O_CLOEXEC);
    int fd = streq(path, "-") ? STDIN_FILENO : opened;
    struct buf b = BUF_INIT(PASSPHRASE_MAX);
    char c;
    ssize_t n;

    if (fd < 0)
        return err_errno(e, errno, "the passphrase file \"%s\"", path);
    /* All at once: growing would leave copies behind. */
    if (!buf_reserve(&b, PASSPHRASE_MAX))
        return err_oom(e);
    /* Byte by byte: what follows on standard input is not ours. */
    while ((n = read(fd, &c, 1)) != 0 && (n > 0 ? c != '\n' : errno == EINTR)) {
        if (n > 0)
            buf_addc(&b, c);
    }
    if (n < 0 || !buf_ok(&b) || b.len == 0) {
        passphrase_done(&b);
        return n < 0 ? err_errno(e, errno, "reading the passphrase")
                     : err_set(e, ERR_INVALID, "a passphrase has 1 to %zu bytes and stands in the first line", PASSPHRASE_MAX);
    }
    *ret = b;
    return 0;
}

void passphrase_done(struct buf *b) {
    if (b->data)
        OPENSSL_cleanse(b->data, b->len);
    buf_done(b);
}

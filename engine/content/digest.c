// SPDX-License-Identifier: Apache-2.0
#include "content/digest.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/id.h"

static void write_out(const unsigned char *d, char ret[DIGEST_SIZE]) {
    memcpy(ret, "sha256:", 7);
    hex_encode(d, 32, ret + 7);
}

void digest_of(const void *p, size_t n, char ret[DIGEST_SIZE]) {
    unsigned char d[EVP_MAX_MD_SIZE];

    EVP_Digest(p, n, d, NULL, EVP_sha256(), NULL);
    write_out(d, ret);
}

void digest_end(EVP_MD_CTX *sum, char ret[DIGEST_SIZE]) {
    unsigned char d[EVP_MAX_MD_SIZE];

    EVP_DigestFinal_ex(sum, d, NULL);
    write_out(d, ret);
}

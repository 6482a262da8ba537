// SPDX-License-Identifier: Apache-2.0
#define OPENSSL_SUPPRESS_DEPRECATED /* sums of whole texts by the plain functions: they cannot fail */
#include "content/digest.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

#include "base/id.h"

static void write_out(const unsigned char *d, char ret[DIGEST_SIZE]) {
    memcpy(ret, "sha256:", 7);
    hex_encode(d, 32, ret + 7);
}

void digest_of(const void *p, size_t n, char ret[DIGEST_SIZE]) {
    unsigned char d[SHA256_DIGEST_LENGTH];
    SHA256_CTX sum;

    SHA256_Init(&sum);
    SHA256_Update(&sum, p, n);
    SHA256_Final(d, &sum);
    write_out(d, ret);
}

void digest_end(EVP_MD_CTX *sum, char ret[DIGEST_SIZE]) {
    unsigned char d[EVP_MAX_MD_SIZE];

    ret[0] = 0;
    if (EVP_DigestFinal_ex(sum, d, NULL) == 1)
        write_out(d, ret);
}

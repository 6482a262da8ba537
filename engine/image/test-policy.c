// SPDX-License-Identifier: Apache-2.0
/* What needs no registry: the policy document, names against identities, keys, signatures, claims. */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/test.h"
#include "image/policy.h"
#include "image/signature.h"
#include "registry/reference.h"

#define D0 "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* ---- keys of the test's own ----------------------------------------------------------------------------------------------------- */

enum kind { P256, P384, RSA2048, RSA1024, ED25519, ED448 };

static EVP_PKEY *make_key(enum kind kind) {
    switch (kind) {
    case P256:
        return EVP_EC_gen("P-256");
    case P384:
        return EVP_EC_gen("P-384");
    case RSA2048:
        return EVP_RSA_gen(2048);
    case RSA1024:
        return EVP_RSA_gen(1024);
    default:
        return EVP_PKEY_Q_keygen(NULL, NULL, kind == ED25519 ? "ED25519" : "ED448");
    }
}

/* The public half in PEM; fresh memory. */
static char *pem_of(EVP_PKEY *key) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    long n = PEM_write_bio_PUBKEY(bio, key) == 1 ? BIO_get_mem_data(bio, &data) : 0;
    char *pem = n > 0 ? strndup(data, (size_t)n) : NULL;

    BIO_free(bio);
    return pem;
}

static size_t sign(EVP_PKEY *key, const char *bytes, unsigned char *ret, size_t max) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool plain = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519;

    if (EVP_DigestSignInit(ctx, NULL, plain ? NULL : EVP_sha256(), NULL, key) != 1 ||
        EVP_DigestSign(ctx, ret, &max, (const unsigned char *)bytes, strlen(bytes)) != 1)
        max = 0;
    EVP_MD_CTX_free(ctx);
    return max;
}

static struct signature_key *read_key(EVP_PKEY *key, struct err *e) {
    _cleanup_free_ char *pem = pem_of(key);
    struct signature_key *k = NULL;

    ignore_result(signature_key_new(pem, strlen(pem), "/etc/key.pub", &k, e));
    return k;
}

TEST(signatures_hold_for_the_key_and_the_bytes_alone) {
    static const enum kind kinds[] = {P256, P384, RSA2048, ED25519};

    for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
        EVP_PKEY *pair = make_key(kinds[i]), *other = make_key(kinds[i]);
        struct signature_key *key = read_key(pair, NULL), *wrong = read_key(other, NULL);
        unsigned char signature[1024];
        size_t n = sign(pair, "bytes", signature, sizeof signature);

        REQUIRE(key && wrong && n > 0);
        CHECK(signature_is_by(key, "bytes", 5, signature, n));
        CHECK(!signature_is_by(key, "bytez", 5, signature, n));
        CHECK(!signature_is_by(key, "bytes", 4, signature, n));
        CHECK(!signature_is_by(key, "bytes", 5, signature, n - 1));
        CHECK(!signature_is_by(key, "bytes", 5, signature, 0));
        CHECK(!signature_is_by(wrong, "bytes", 5, signature, n));
        signature[n / 2] ^= 1;
        CHECK(!signature_is_by(key, "bytes", 5, signature, n));
        CHECK_INT(strlen(signature_key_fingerprint(key)), 64);
        CHECK(!streq(signature_key_fingerprint(key), signature_key_fingerprint(wrong)));
        signature_key_free(key);
        signature_key_free(wrong);
        EVP_PKEY_free(pair);
        EVP_PKEY_free(other);
    }
}

TEST(keys_that_prove_nothing_are_refused) {
    static const struct {
        enum kind kind;
        const char *why;
    } rows[] = {{RSA1024, "the key /etc/key.pub is too weak: it has 1024 bits"}, {ED448, "the key /etc/key.pub is neither ECDSA, RSA nor Ed25519"}};
    struct signature_key *key = NULL;

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        EVP_PKEY *pair = make_key(rows[i].kind);

        CHECK(!read_key(pair, &e));
        CHECK_STR(err_msg(&e), rows[i].why);
        EVP_PKEY_free(pair);
    }
    CHECK_INT(signature_key_new("nothing", 7, "x", &key, NULL), -ERR_INVALID);
    CHECK_INT(signature_key_new("", 0, "x", &key, NULL), -ERR_INVALID);
}

static void claim(const char *text, const char *want) {
    struct signature_claim c = {0};
    _cleanup_err_ struct err e = ERR_INIT;
    int r = signature_claim_read(text, strlen(text), &c, &e);

    CHECK_INT(r, want ? -ERR_INVALID : 0);
    if (want)
        CHECK(strstr(err_msg(&e), want) != NULL);
    if (r == 0) {
        CHECK_STR(c.reference, "host/app");
        CHECK_STR(c.digest, D0);
    }
    signature_claim_done(&c);
}

#define TYPE "\"type\":\"cosign container image signature\""
#define IMAGE "\"image\":{\"docker-manifest-digest\":\"" D0 "\"}"
#define IDENTITY "\"identity\":{\"docker-reference\":\"host/app\"}"
TEST(a_claim_says_what_it_must_and_nothing_that_is_not_understood) {
    claim("{\"critical\":{" TYPE "," IMAGE "," IDENTITY "},\"optional\":null}", NULL);
    claim("{\"optional\":{\"creator\":\"x\"},\"critical\":{" IDENTITY "," IMAGE "," TYPE "}}", NULL);
    claim("{\"critical\":{" TYPE "," IMAGE "," IDENTITY ",\"until\":\"tomorrow\"}}", "critical.type");
    claim("{\"critical\":{" IMAGE "," IDENTITY "}}", "critical.type");
    claim("{\"critical\":{\"type\":\"something else\"," IMAGE "," IDENTITY "}}", "critical.type");
    claim("{\"critical\":{" TYPE ",\"image\":{\"docker-manifest-digest\":\"sha256:12\"}," IDENTITY "}}", "docker-manifest-digest");
    claim("{\"critical\":{" TYPE ",\"image\":[\"" D0 "\"]," IDENTITY "}}", "docker-manifest-digest");
    claim("{\"critical\":{" TYPE "," IMAGE ",\"identity\":{}}}", "docker-reference");
    claim("{\"critical\":{" TYPE "," IMAGE "," IDENTITY "," IDENTITY "}}", "duplicate");
    claim("[]", "not an object");
    claim("", "no claim");
    claim("{\"critical\":", "no claim");
}

TEST(base64_is_exact) {
    static const char *const bad[] = {"", "A", "AAA", "AAA=A", "A===", "AA=A", "AAA-", "AAA\n", " AAA", "====", "QUJ=Q"};
    _cleanup_buf_ struct buf b = BUF_INIT(6);

    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        buf_reset(&b);
        CHECK(!signature_decode(bad[i], &b));
    }
    CHECK(signature_decode("QUJDRA==", &b));
    CHECK_INT(b.len, 4);
    CHECK_STR(buf_str(&b), "ABCD");
    buf_reset(&b);
    CHECK(!signature_decode("QUJDREVGR0g=", &b));
}

/* ---- the document -------------------------------------------------------------------------------------------------------------------- */

static char *with_key(const char *before, const char *after) {
    EVP_PKEY *pair = make_key(P256);
    _cleanup_free_ char *pem = pem_of(pair);
    char code[1024];

    EVP_PKEY_free(pair);
    EVP_EncodeBlock((unsigned char *)code, (const unsigned char *)pem, (int)strlen(pem));
    return str_printf("%s\"keyData\":\"%s\"%s", before, code, after);
}

static struct policy *parsed(const char *text, struct err *e) {
    struct policy *p = NULL;

    ignore_result(policy_parse("/etc/policy.json", text, strlen(text), &p, e));
    return p;
}

static void refused(const char *text, const char *why) {
    _cleanup_err_ struct err e = ERR_INIT;

    CHECK(!parsed(text, &e));
    if (!strstr(err_msg(&e), why))
        CHECK_STR(err_msg(&e), why);
}

TEST(a_policy_that_is_not_understood_is_refused) {
    _cleanup_free_ char *both = with_key("{\"default\":[{\"type\":\"sigstoreSigned\",\"keyPath\":\"/dev/null\",", "}]}");
    _cleanup_free_ char *rekor = with_key("{\"default\":[{\"type\":\"sigstoreSigned\",\"rekorPublicKeyPath\":\"/x\",", "}]}");
    _cleanup_free_ char *match = with_key("{\"default\":[{\"type\":\"sigstoreSigned\",\"signedIdentity\":{\"type\":\"matchAll\"},", "}]}");
    _cleanup_free_ char *exact = with_key("{\"default\":[{\"type\":\"sigstoreSigned\",\"signedIdentity\":{\"type\":\"exactReference\"},", "}]}");

    refused("", "signature policy /etc/policy.json: line 1");
    refused("[]", "not an object");
    refused("{}", "\"default\" is missing");
    refused("{\"default\":[]}", "default: must be a list of requirements that is not empty");
    refused("{\"default\":{}}", "default: must be a list");
    refused("{\"default\":[{}]}", "default: a requirement must be an object with a type");
    refused("{\"default\":[\"reject\"]}", "default: a requirement must be an object with a type");
    refused("{\"default\":[{\"type\":\"accept\"}]}", "unknown type of requirement: \"accept\"");
    refused("{\"default\":[{\"type\":\"signedBy\",\"keyType\":\"GPGKeys\"}]}", "OpenPGP");
    refused("{\"default\":[{\"type\":\"reject\",\"x\":1}]}", "reject does not know the key \"x\"");
    refused("{\"default\":[{\"type\":\"reject\"}],\"transport\":{}}", "does not know the key \"transport\"");
    refused("{\"default\":[{\"type\":\"reject\"}],\"default\":[{\"type\":\"insecureAcceptAnything\"}]}", "duplicate");
    refused("{\"default\":[{\"type\":\"reject\"}],\"transports\":[]}", "\"transports\" must be an object");
    refused("{\"default\":[{\"type\":\"reject\"}],\"transports\":{\"docker\":[]}}", "transports.docker must be an object");
    refused("{\"default\":[{\"type\":\"reject\"}],\"transports\":{\"docker\":{\"x/\":[{\"type\":\"reject\"}]}}}", "no scope");
    refused("{\"default\":[{\"type\":\"reject\"}],\"transports\":{\"docker\":{\"x\":[]}}}", "transports.docker[\"x\"]: must be a list");
    refused("{\"default\":[{\"type\":\"sigstoreSigned\"}]}", "sigstoreSigned needs a key");
    refused("{\"default\":[{\"type\":\"sigstoreSigned\",\"keyPaths\":[]}]}", "keyPaths must be a list of texts that is not empty");
    refused("{\"default\":[{\"type\":\"sigstoreSigned\",\"keyPath\":\"key.pub\"}]}", "must begin with /");
    refused("{\"default\":[{\"type\":\"sigstoreSigned\",\"keyPath\":\"/nowhere/key.pub\"}]}", "/nowhere/key.pub");
    refused("{\"default\":[{\"type\":\"sigstoreSigned\",\"keyData\":\"AAAA\"}]}", "no public key in PEM");
    refused("{\"default\":[{\"type\":\"sigstoreSigned\",\"keyData\":\"-\"}]}", "keyData is not base64");
    refused(both, "both");
    refused(rekor, "\"rekorPublicKeyPath\" is not supported");
    refused(match, "unknown type of signedIdentity: \"matchAll\"");
    refused(exact, "signedIdentity needs dockerReference");
}

#define ACCEPT "[{\"type\":\"insecureAcceptAnything\"}]"
#define REJECT "[{\"type\":\"reject\"}]"
static void rule_is(const struct policy *p, const char *name, const char *where) {
    _cleanup_reference_ struct reference ref = REFERENCE_INIT;

    CHECK_INT(reference_parse(name, &ref, NULL), 0);
    CHECK_STR(policy_rule_for(p, &ref)->where, where);
}

TEST(the_narrowest_scope_decides) {
    struct policy *p =
        parsed("{\"default\":" REJECT ",\"transports\":{\"atomic\":{\"x\":\"whatever\"},\"docker-daemon\":{\"\":" ACCEPT "},\"docker\":{"
               "\"docker.io/library/busybox\":" ACCEPT ",\"docker.io/library/busybox:old\":" REJECT ",\"docker.io\":" ACCEPT
               ",\"corp.example:5000/team\":" ACCEPT ",\"corp.example:5000\":" REJECT ",\"*.example\":" REJECT ",\"*.lab.example\":" ACCEPT
               ",\"corp.example:5000/team@" D0 "\":" REJECT "}}}",
               NULL);
    struct policy *wide = parsed("{\"default\":" REJECT ",\"transports\":{\"docker\":{\"\":" ACCEPT "}}}", NULL);

    REQUIRE(p && wide);
    rule_is(p, "busybox", "transports.docker[\"docker.io/library/busybox\"]");
    rule_is(p, "busybox:old", "transports.docker[\"docker.io/library/busybox:old\"]");
    rule_is(p, "busybox:old@" D0, "transports.docker[\"docker.io/library/busybox\"]");
    rule_is(p, "debian", "transports.docker[\"docker.io\"]");
    rule_is(p, "corp.example:5000/team/app", "transports.docker[\"corp.example:5000/team\"]");
    rule_is(p, "corp.example:5000/team@" D0, "transports.docker[\"corp.example:5000/team@" D0 "\"]");
    rule_is(p, "corp.example:5000/teams/app", "transports.docker[\"corp.example:5000\"]");
    rule_is(p, "a.lab.example/x", "transports.docker[\"*.lab.example\"]");
    rule_is(p, "a.b.example/x", "transports.docker[\"*.example\"]");
    rule_is(p, "lab.example/x", "transports.docker[\"*.example\"]");
    rule_is(p, "example/x", "transports.docker[\"docker.io\"]");
    rule_is(p, "quay.test/x", "default");
    rule_is(wide, "quay.test/x", "transports.docker[\"\"]");
    CHECK_STR(policy_rule_nameless(p)->where, "transports.docker-daemon[\"\"]");
    CHECK_STR(policy_rule_nameless(wide)->where, "default");
    policy_unref(p);
    policy_unref(wide);
}

/* identity: a JSON object, or NULL for none */
static void fits(const char *identity, const char *used, const char *claimed, bool want) {
    _cleanup_free_ char *before = str_printf("{\"default\":[{\"type\":\"sigstoreSigned\",%s%s%s", identity ? "\"signedIdentity\":" : "",
                                             identity ? identity : "", identity ? "," : "");
    _cleanup_free_ char *text = with_key(before, "}]}");
    _cleanup_reference_ struct reference ref = REFERENCE_INIT;
    struct policy *p = parsed(text, NULL);

    CHECK_INT(reference_parse(used, &ref, NULL), 0);
    REQUIRE(p);
    if (policy_identity_fits(&policy_rule_for(p, &ref)->v[0], &ref, claimed) != want)
        test_fail(__FILE__, __LINE__, "%s: %s used, %s signed: not %d", identity ? identity : "(none)", used, claimed, want);
    policy_unref(p);
}

#define M(type) "{\"type\":\"" type "\"}"
TEST(identities_are_compared_as_the_policy_says) {
    fits(NULL, "h.x/app:1", "h.x/app:1", true);
    fits(NULL, "h.x/app:1", "h.x/app:2", false);
    fits(NULL, "h.x/app:1", "h.x/app", false);
    fits(NULL, "h.x/app@" D0, "h.x/app:2", true);
    fits(NULL, "h.x/app@" D0, "h.x/other", false);
    fits(M("matchExact"), "h.x/app", "h.x/app:latest", true);
    fits(M("matchExact"), "h.x/app@" D0, "h.x/app:1", false);
    fits(M("matchRepository"), "h.x/app:1", "h.x/app", true);
    fits(M("matchRepository"), "h.x/app:1", "h.x/app:2", true);
    fits(M("matchRepository"), "h.x/app:1", "h.x/application", false);
    fits(M("matchRepository"), "h.x/app:1", "other.x/app", false);
    fits(M("matchRepository"), "busybox", "index.docker.io/library/busybox", true);
    fits(M("matchRepository"), "h.x/app:1", "", false);
    fits(M("matchRepository"), "h.x/app:1", "H X", false);
    fits("{\"type\":\"exactReference\",\"dockerReference\":\"h.x/real:1\"}", "h.x/app:9", "h.x/real:1", true);
    fits("{\"type\":\"exactReference\",\"dockerReference\":\"h.x/real:1\"}", "h.x/app:9", "h.x/app:9", false);
    fits("{\"type\":\"exactRepository\",\"dockerRepository\":\"h.x/real\"}", "h.x/app:9", "h.x/real:3", true);
    fits("{\"type\":\"remapIdentity\",\"prefix\":\"mirror.x/copy\",\"signedPrefix\":\"h.x\"}", "mirror.x/copy/app:1", "h.x/app:1", true);
    fits("{\"type\":\"remapIdentity\",\"prefix\":\"mirror.x/copy\",\"signedPrefix\":\"h.x\"}", "mirror.x/copying/app:1", "h.x/ing/app:1", false);
    fits("{\"type\":\"remapIdentity\",\"prefix\":\"mirror.x/copy\",\"signedPrefix\":\"h.x\"}", "h.x/app:1", "h.x/app:1", true);
}

// SPDX-License-Identifier: Apache-2.0
/* Sections: the document; finding a rule; identities. */
#include "image/policy.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/str.h"
#include "registry/reference.h"

struct policy {
    _Atomic int refs;
    char *path;
    struct policy_rule *fallback; /* `default` */
    struct map docker;            /* scope → struct policy_rule */
    struct policy_rule *nameless; /* NULL: none of its own */
    struct policy_rule *doubt;    /* rejects: when no rule can be looked up, none that is wider may stand in for it */
};

/* ---- the document ------------------------------------------------------------------------------------------------------------------------- */

static void rule_free(void *p) {
    struct policy_rule *rule = p;

    if (!rule)
        return;
    for (size_t i = 0; i < rule->n; i++) {
        struct policy_requirement *q = &rule->v[i];

        for (size_t k = 0; k < q->n_keys; k++)
            signature_key_free(q->keys[k]);
        free(q->keys);
        free(q->first);
        free(q->second);
    }
    free(rule->v);
    free(rule->where);
    free(rule);
}

static int only_these(json_t *o, const char *const *known, const char *type, struct err *e) {
    const char *key;
    json_t *value;

    json_object_foreach(o, key, value) {
        const char *const *k = known;

        while (*k && !streq(*k, key))
            k++;
        if (!*k)
            return err_set(e, ERR_INVALID, "%s does not know the key \"%s\"", type, key);
    }
    return 0;
}

static int add_key(struct policy_requirement *q, const char *pem, size_t n, const char *name, struct err *e) {
    struct signature_key **grown = reallocarray(q->keys, q->n_keys + 1, sizeof(*grown)), *key;
    int r;

    if (!grown)
        return err_oom(e);
    q->keys = grown;
    r = signature_key_new(pem, n, name, &key, e);
    if (r == 0)
        q->keys[q->n_keys++] = key;
    return r;
}

static int add_key_file(struct policy_requirement *q, const char *path, struct err *e) {
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_SMALL_FILE);
    _cleanup_err_ struct err why = ERR_INIT;

    if (path[0] != '/')
        return err_set(e, ERR_INVALID, "the path of a key must begin with /: \"%s\"", path);
    if (fs_read_file(path, &text, &why) < 0)
        return err_set(e, ERR_INVALID, "cannot read a key: %s", err_msg(&why));
    return add_key(q, buf_str(&text), text.len, path, e);
}

static int add_key_text(struct policy_requirement *q, const char *base64, struct err *e) {
    _cleanup_buf_ struct buf pem = BUF_INIT(LIMIT_SMALL_FILE);

    if (!signature_decode(base64, &pem))
        return err_set(e, ERR_INVALID, "keyData is not base64");
    return add_key(q, buf_str(&pem), pem.len, "in keyData", e);
}

/* A text, or for names in the plural a list of texts. */
static int read_key_member(struct policy_requirement *q, const char *name, json_t *value, struct err *e) {
    bool list = str_has_suffix(name, "s"), file = str_has_prefix(name, "keyPath");
    size_t n = list ? json_array_size(value) : 1;

    if (list ? n == 0 : !json_is_string(value))
        return err_set(e, ERR_INVALID, "%s must be %s", name, list ? "a list of texts that is not empty" : "a text");
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(list ? json_array_get(value, i) : value);
        int r = !text ? err_set(e, ERR_INVALID, "%s must be a list of texts", name) : file ? add_key_file(q, text, e) : add_key_text(q, text, e);

        if (r < 0)
            return r;
    }
    return 0;
}

static int read_keys(json_t *o, struct policy_requirement *q, struct err *e) {
    static const char *const names[] = {"keyPath", "keyPaths", "keyData", "keyDatas"};
    const char *found = NULL;

    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        if (!json_object_get(o, names[i]))
            continue;
        if (found)
            return err_set(e, ERR_INVALID, "both %s and %s are given", found, names[i]);
        found = names[i];
    }
    if (!found)
        return err_set(e, ERR_INVALID, "sigstoreSigned needs a key: keyPath, keyPaths, keyData or keyDatas");
    return read_key_member(q, found, json_object_get(o, found), e);
}

static int take_member(json_t *o, const char *key, char **slot, struct err *e) {
    const char *text = json_string_value(json_object_get(o, key));

    if (str_empty(text))
        return err_set(e, ERR_INVALID, "signedIdentity needs %s", key);
    return str_set(slot, text) < 0 ? err_oom(e) : 0;
}

static int read_identity(json_t *o, struct policy_requirement *q, struct err *e) {
    static const struct {
        const char *type, *first, *second;
    } known[] = {[MATCH_REPO_DIGEST_OR_EXACT] = {"matchRepoDigestOrExact", NULL, NULL},
                 [MATCH_EXACT] = {"matchExact", NULL, NULL},
                 [MATCH_REPOSITORY] = {"matchRepository", NULL, NULL},
                 [MATCH_EXACT_REFERENCE] = {"exactReference", "dockerReference", NULL},
                 [MATCH_EXACT_REPOSITORY] = {"exactRepository", "dockerRepository", NULL},
                 [MATCH_REMAP] = {"remapIdentity", "prefix", "signedPrefix"}};
    const char *type = json_string_value(json_object_get(o, "type"));

    if (!o)
        return 0;
    for (size_t i = 0; type && i < ELEMENTSOF(known); i++) {
        const char *const members[] = {"type", known[i].first, known[i].second, NULL};
        int r;

        if (!streq(known[i].type, type))
            continue;
        q->match = (enum policy_match)i;
        r = only_these(o, members, "signedIdentity", e);
        if (r == 0 && known[i].first)
            r = take_member(o, known[i].first, &q->first, e);
        if (r == 0 && known[i].second)
            r = take_member(o, known[i].second, &q->second, e);
        return r;
    }
    return err_set(e, ERR_INVALID, "unknown type of signedIdentity: \"%s\"", type ? type : "");
}

static int read_signed(json_t *o, struct policy_requirement *q, struct err *e) {
    static const char *const known[] = {"type", "keyPath", "keyPaths", "keyData", "keyDatas", "signedIdentity", NULL};
    static const char *const others[] = {"fulcio", "pki", "rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas"};
    int r;

    for (size_t i = 0; i < ELEMENTSOF(others); i++)
        if (json_object_get(o, others[i]))
            return err_set(e, ERR_INVALID, "\"%s\" is not supported: signatures are checked with a public key, without certificates or a log",
                           others[i]);
    q->type = POLICY_SIGNED;
    r = only_these(o, known, "sigstoreSigned", e);
    if (r == 0)
        r = read_keys(o, q, e);
    return r < 0 ? r : read_identity(json_object_get(o, "signedIdentity"), q, e);
}

static int read_requirement(json_t *o, struct policy_requirement *q, struct err *e) {
    static const char *const nothing[] = {"type", NULL};
    const char *type = json_string_value(json_object_get(o, "type"));

    if (!type)
        return err_set(e, ERR_INVALID, "a requirement must be an object with a type");
    if (streq(type, "sigstoreSigned"))
        return read_signed(o, q, e);
    if (streq(type, "signedBy"))
        return err_set(e, ERR_INVALID, "\"signedBy\" (OpenPGP) is not supported: use sigstoreSigned");
    if (!streq(type, "reject") && !streq(type, "insecureAcceptAnything"))
        return err_set(e, ERR_INVALID, "unknown type of requirement: \"%s\"", type);
    q->type = streq(type, "reject") ? POLICY_REJECT : POLICY_ACCEPT;
    return only_these(o, nothing, type, e);
}

/* `where` is taken over. */
static int read_rule(json_t *list, char *where, struct policy_rule **ret, struct err *e) {
    struct policy_rule *rule = calloc(1, sizeof *rule);
    size_t n = json_array_size(list);
    int r = 0;

    if (!rule || !where) {
        free(rule);
        free(where);
        return err_oom(e);
    }
    rule->where = where;
    if (n == 0)
        r = err_set(e, ERR_INVALID, "must be a list of requirements that is not empty");
    rule->v = calloc(n + 1, sizeof *rule->v);
    if (r == 0 && !rule->v)
        r = err_oom(e);
    for (; r == 0 && rule->n < n; rule->n++)
        r = read_requirement(json_array_get(list, rule->n), &rule->v[rule->n], e);
    if (r < 0) {
        err_wrap(e, "%s", where);
        rule_free(rule);
        return r;
    }
    *ret = rule;
    return 0;
}

/* Mistakes that would make a scope one that never holds. */
static int check_scope(const char *scope, struct err *e) {
    if (strstr(scope, "://") || strchr(scope, ' ') || str_has_suffix(scope, "/"))
        return err_set(e, ERR_INVALID,
                       "transports.docker[\"%s\"]: no scope: write registry[/repository[:tag]] without a protocol or a slash at the end", scope);
    return 0;
}

static int read_scopes(struct policy *p, json_t *docker, struct err *e) {
    const char *scope;
    json_t *list;

    json_object_foreach(docker, scope, list) {
        struct policy_rule *rule;
        int r = check_scope(scope, e);

        if (r == 0)
            r = read_rule(list, str_printf("transports.docker[\"%s\"]", scope), &rule, e);
        if (r < 0)
            return r;
        if (map_set(&p->docker, scope, rule, NULL) < 0) {
            rule_free(rule);
            return err_oom(e);
        }
    }
    return 0;
}

static int read_document(struct policy *p, json_t *o, struct err *e) {
    static const char *const known[] = {"default", "transports", NULL};
    json_t *transports = json_object_get(o, "transports"), *nameless, *one;
    json_auto_t *reject = json_pack("[{s:s}]", "type", "reject");
    const char *name;
    int r = only_these(o, known, "a policy", e);

    if (r == 0 && !json_object_get(o, "default"))
        r = err_set(e, ERR_INVALID, "\"default\" is missing");
    if (r == 0)
        r = read_rule(json_object_get(o, "default"), strdup("default"), &p->fallback, e);
    if (r == 0)
        r = reject ? read_rule(reject, strdup("(none could be looked up: memory ran out)"), &p->doubt, e) : err_oom(e);
    if (r == 0 && transports && !json_is_object(transports))
        r = err_set(e, ERR_INVALID, "\"transports\" must be an object");
    if (r < 0)
        return r;
    json_object_foreach(transports, name, one) {
        if (!json_is_object(one))
            return err_set(e, ERR_INVALID, "transports.%s must be an object", name);
    }
    r = read_scopes(p, json_object_get(transports, "docker"), e);
    nameless = json_object_get(json_object_get(transports, "docker-daemon"), "");
    if (r == 0 && nameless)
        r = read_rule(nameless, strdup("transports.docker-daemon[\"\"]"), &p->nameless, e);
    return r;
}

int policy_parse(const char *path, const char *text, size_t n, struct policy **ret, struct err *e) {
    struct policy *p = calloc(1, sizeof *p);
    json_error_t je;
    json_auto_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &je);
    int r;

    if (!p || !(p->path = strdup(path))) {
        policy_unref(p);
        return err_oom(e);
    }
    p->refs = 1;
    if (json_is_object(o))
        r = read_document(p, o, e);
    else
        r = o ? err_set(e, ERR_INVALID, "not an object") : err_set(e, ERR_INVALID, "line %d: %s", je.line, je.text);
    if (r < 0) {
        policy_unref(p);
        return err_wrap(e, "signature policy %s", path);
    }
    *ret = p;
    return 0;
}

int policy_load(const char *path, struct policy **ret, struct err *e) {
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_SMALL_FILE);
    _cleanup_err_ struct err why = ERR_INIT;

    if (path[0] != '/')
        return err_set(e, ERR_INVALID, "signature policy %s: the path must begin with /", path);
    if (fs_read_file(path, &text, &why) < 0)
        return err_set(e, ERR_INVALID, "signature policy: %s", err_msg(&why));
    return policy_parse(path, buf_str(&text), text.len, ret, e);
}

struct policy *policy_ref(struct policy *p) {
    if (p)
        atomic_fetch_add(&p->refs, 1);
    return p;
}

struct policy *policy_unref(struct policy *p) {
    if (!p || atomic_fetch_sub(&p->refs, 1) > 1)
        return NULL;
    rule_free(p->fallback);
    rule_free(p->nameless);
    rule_free(p->doubt);
    map_done_with(&p->docker, rule_free);
    free(p->path);
    free(p);
    return NULL;
}

const char *policy_path(const struct policy *p) {
    return p->path;
}

/* ---- finding a rule -------------------------------------------------------------------------------------------------------------------------- */

/* What a name stands for, borrowing its texts: the digest counts where there is one, else the tag. */
static struct reference as_used(const struct reference *ref) {
    return (struct reference){ref->domain, ref->path, ref->digest ? NULL : ref->tag ? ref->tag : "latest", ref->digest};
}

/* "registry/a/b", "registry/a", "registry", then "*.domain" of ever less of the registry's name; NULL: none of them. */
static const struct policy_rule *rule_above(const struct policy *p, const struct reference *ref) {
    _cleanup_free_ char *scope = reference_name(ref);
    const struct policy_rule *rule = scope ? NULL : p->doubt;

    while (!rule) {
        char *slash = strrchr(scope, '/');

        rule = map_get(&p->docker, scope);
        if (!slash)
            break;
        *slash = 0;
    }
    for (const char *dot = ref->domain; !rule && (dot = strchr(dot, '.')); dot++) {
        _cleanup_free_ char *wide = str_printf("*%s", dot);

        rule = wide ? map_get(&p->docker, wide) : p->doubt;
    }
    return rule;
}

const struct policy_rule *policy_rule_for(const struct policy *p, const struct reference *ref) {
    struct reference one = as_used(ref);
    _cleanup_free_ char *whole = reference_canonical(&one);
    const struct policy_rule *rule = whole ? map_get(&p->docker, whole) : p->doubt;

    if (!rule)
        rule = rule_above(p, ref);
    if (!rule)
        rule = map_get(&p->docker, "");
    return rule ? rule : p->fallback;
}

const struct policy_rule *policy_rule_nameless(const struct policy *p) {
    return p->nameless ? p->nameless : p->fallback;
}

/* ---- identities ---------------------------------------------------------------------------------------------------------------------------------- */

static bool same_repository(const struct reference *a, const struct reference *b) {
    return streq(a->domain, b->domain) && streq(a->path, b->path);
}

/* With its tag; a signature for no tag in particular is not for this one. */
static bool same_tag(const struct reference *a, const struct reference *b) {
    return same_repository(a, b) && streq_ptr(a->tag, b->tag) && a->tag && streq_ptr(a->digest, b->digest);
}

/* The name under which it was signed when it is used under another one (a copy in a registry of one's own): "prefix" replaced by "signedPrefix". */
static int remap(const struct policy_requirement *q, const struct reference *ref, struct reference *ret) {
    _cleanup_free_ char *name = reference_canonical(ref), *other = NULL;
    const char *rest = name ? str_after(name, q->first) : NULL;

    if (!rest || (*rest && !strchr("/:@", *rest)))
        return reference_copy(ret, ref, NULL);
    other = str_printf("%s%s", q->second, rest);
    return other ? reference_parse(other, ret, NULL) : -ERR_INTERNAL;
}

bool policy_identity_fits(const struct policy_requirement *q, const struct reference *used, const char *claimed) {
    struct reference plain = as_used(used);
    _cleanup_reference_ struct reference mine = REFERENCE_INIT, theirs = REFERENCE_INIT;

    if (reference_parse(claimed, &theirs, NULL) < 0)
        return false;
    if (q->match == MATCH_EXACT_REFERENCE || q->match == MATCH_EXACT_REPOSITORY) {
        if (reference_parse(q->first, &mine, NULL) < 0)
            return false;
        return q->match == MATCH_EXACT_REFERENCE ? same_tag(&mine, &theirs) : same_repository(&mine, &theirs);
    }
    if ((q->match == MATCH_REMAP ? remap(q, &plain, &mine) : reference_copy(&mine, &plain, NULL)) < 0)
        return false;
    if (q->match == MATCH_REPOSITORY)
        return same_repository(&mine, &theirs);
    /* A digest says which image it is; only the repository is left to compare. */
    if (mine.digest)
        return q->match != MATCH_EXACT ? same_repository(&mine, &theirs) : same_repository(&mine, &theirs) && streq_ptr(mine.digest, theirs.digest);
    return same_tag(&mine, &theirs);
}

char *policy_wants(const struct policy_requirement *q) {
    _cleanup_buf_ struct buf b = BUF_INIT(KIB(64));

    if (q->type != POLICY_SIGNED)
        return strdup(q->type == POLICY_REJECT ? "refuses every image" : "accepts every image");
    buf_addf(&b, "wants a signature by %s", q->n_keys > 1 ? "one of the keys " : "the key ");
    for (size_t i = 0; i < q->n_keys; i++)
        buf_addf(&b, "%s%s (SHA256 %s)", i ? ", " : "", signature_key_name(q->keys[i]), signature_key_fingerprint(q->keys[i]));
    return buf_take(&b);
}

const struct signature_key *policy_key(const struct policy_requirement *q, const char *fingerprint) {
    for (size_t i = 0; i < q->n_keys; i++)
        if (streq(signature_key_fingerprint(q->keys[i]), fingerprint))
            return q->keys[i];
    return NULL;
}

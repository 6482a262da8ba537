// SPDX-License-Identifier: Apache-2.0
/* Sections: finding signatures; pulls; what is remembered; use. */
#include "image/verify.h"

#include <jansson.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "content/digest.h"
#include "image/image-internal.h"
#include "image/policy.h"
#include "registry/registry.h"
#include "wire/codec.h"

#define REMEMBERED 20000 /* signatures, newest first */

static const char *const steps[] = {
    "CREATE TABLE image_verified(seq INTEGER PRIMARY KEY AUTOINCREMENT, image TEXT NOT NULL, manifest TEXT NOT NULL, reference TEXT NOT NULL,"
    " key TEXT NOT NULL, added INTEGER NOT NULL);"
    "CREATE UNIQUE INDEX image_verified_once ON image_verified(image, reference, key);",
};

int verify_migrate(struct db *db, struct err *e) {
    return db_migrate(db, "image-verified", steps, ELEMENTSOF(steps), e);
}

DEFINE_CLEANUP(struct policy *, policy_unref)
#define _cleanup_policy_ _cleanup_(policy_unrefp)

int images_load_policy(struct images *s, const char *path, struct err *e) {
    struct policy *p = NULL, *old;
    int r = str_empty(path) ? 0 : policy_load(path, &p, e);

    if (r < 0)
        return r;
    pthread_mutex_lock(&s->lock);
    old = s->policy;
    s->policy = p;
    pthread_mutex_unlock(&s->lock);
    policy_unref(old);
    if (p)
        log_kv(LOG_LVL_INFO, "images must meet the signature policy", "policy", path, NULL);
    return 0;
}

int images_check_policy(const char *path, struct err *e) {
    _cleanup_policy_ struct policy *p = NULL;

    return str_empty(path) ? 0 : policy_load(path, &p, e);
}

static struct policy *policy_in_force(struct images *s) {
    struct policy *p;

    pthread_mutex_lock(&s->lock);
    p = policy_ref(s->policy);
    pthread_mutex_unlock(&s->lock);
    return p;
}

/* ---- finding signatures --------------------------------------------------------------------------------------------------------- */

/* Of several that do not hold, the one that came nearest is told. */
enum near { NEAR_NOTHING, NEAR_UNREADABLE, NEAR_OTHER_KEY, NEAR_NO_CLAIM, NEAR_OTHER_IMAGE, NEAR_OTHER_NAME };

struct hunt {
    const struct policy_rule *rule;
    const struct reference *ref;
    const char *digests[2]; /* what the signature may be for; the second is NULL when it is the first */
    struct registry_session *session;
    bool *met; /* by requirement */
    size_t left;
    size_t looked_at;
    enum near near;
    char *why;
    struct verified *found;
};

/* `why` is taken over. */
static void came_near(struct hunt *h, enum near near, char *why) {
    if (h->why && near <= h->near) {
        free(why);
        return;
    }
    free(h->why);
    h->why = why;
    h->near = near;
}

static int found(struct hunt *h, const struct signature_claim *claim, const struct signature_key *key, struct err *e) {
    void *grown = reallocarray(h->found->v, h->found->n + 1, sizeof *h->found->v);

    if (!grown)
        return err_oom(e);
    h->found->v = grown;
    h->found->v[h->found->n].reference = strdup(claim->reference);
    if (!h->found->v[h->found->n].reference)
        return err_oom(e);
    snprintf(h->found->v[h->found->n].key, sizeof h->found->v[0].key, "%s", signature_key_fingerprint(key));
    h->found->n++;
    return 0;
}

/* A signature by one of the requirement's keys: is what it says what is wanted? 1: it is. */
static int judge(struct hunt *h, const struct policy_requirement *q, const struct signature_key *key, const struct buf *bytes, struct err *e) {
    struct signature_claim claim = {0};
    _cleanup_err_ struct err why = ERR_INIT;
    bool fits = false;
    int r = signature_claim_read(buf_str(bytes), bytes->len, &claim, &why);

    if (r < 0 && r != -ERR_INVALID)
        return err_move(e, &why);
    if (r < 0)
        came_near(h, NEAR_NO_CLAIM, strdup(err_msg(&why)));
    else if (!streq(claim.digest, h->digests[0]) && !streq_ptr(claim.digest, h->digests[1]))
        came_near(h, NEAR_OTHER_IMAGE, str_printf("the signature stored beside it is for another image, %s", claim.digest));
    else if (!policy_identity_fits(q, h->ref, claim.reference))
        came_near(h, NEAR_OTHER_NAME,
                  str_printf("it is signed as \"%.256s\", which is not that name as signedIdentity has it (for signatures by cosign, which "
                             "name no tag, that is matchRepository)",
                             claim.reference));
    else
        fits = (r = found(h, &claim, key, e)) == 0;
    signature_claim_done(&claim);
    return r == -ERR_INVALID ? 0 : r < 0 ? r : fits;
}

static int consider(struct hunt *h, const struct buf *bytes, const struct buf *signature, struct err *e) {
    bool known = false;

    for (size_t i = 0; i < h->rule->n; i++) {
        const struct policy_requirement *q = &h->rule->v[i];

        for (size_t k = 0; k < q->n_keys && !h->met[i]; k++) {
            int r;

            if (!signature_is_by(q->keys[k], buf_str(bytes), bytes->len, buf_str(signature), signature->len))
                continue;
            known = true;
            r = judge(h, q, q->keys[k], bytes, e);
            if (r < 0)
                return r;
            if (r > 0) {
                h->met[i] = true;
                h->left--;
            }
        }
    }
    if (!known)
        came_near(h, NEAR_OTHER_KEY, strdup("the signature stored beside it was not made with that key, or is not over what is stored with it"));
    return 0;
}

static int into_buf(void *arg, const void *p, size_t n, struct err *e) {
    buf_add(arg, p, n);
    return buf_check(arg, e);
}

/* What goes wrong with one signature is no reason not to look at the next; a caller that has gone is. */
static int unreadable(struct hunt *h, int r, const struct err *why, struct err *e) {
    if (r == -ERR_CANCELLED)
        return err_set(e, ERR_CANCELLED, "context canceled");
    came_near(h, NEAR_UNREADABLE, str_printf("a signature stored beside it cannot be read: %s", err_msg(why)));
    return 0;
}

static int look_at_layer(struct hunt *h, json_t *layer, struct err *e) {
    const char *type = json_string_value(json_object_get(layer, "mediaType")), *digest = json_string_value(json_object_get(layer, "digest")),
               *text = json_string_value(json_object_get(json_object_get(layer, "annotations"), SIGNATURE_ANNOTATION));
    _cleanup_buf_ struct buf bytes = BUF_INIT(LIMIT_SIGNATURE_CLAIM), signature = BUF_INIT(LIMIT_SIGNATURE_CLAIM);
    _cleanup_err_ struct err why = ERR_INIT;
    json_t *size = json_object_get(layer, "size");
    char got[DIGEST_SIZE];
    int r = 0;

    if (!type || !streq(type, SIGNATURE_CLAIM_TYPE) || h->looked_at++ >= LIMIT_SIGNATURES)
        return 0;
    if (!digest || !digest_is_valid(digest) || !json_is_integer(size) || json_integer_value(size) < 0)
        r = err_set(&why, ERR_INVALID, "its descriptor has no digest or no size");
    else if (json_integer_value(size) > (int64_t)LIMIT_SIGNATURE_CLAIM)
        r = err_set(&why, ERR_INVALID, "what was signed is larger than %zu bytes", LIMIT_SIGNATURE_CLAIM);
    else if (!text || !signature_decode(text, &signature))
        r = err_set(&why, ERR_INVALID, "the annotation " SIGNATURE_ANNOTATION " is missing or no base64");
    if (r == 0)
        r = registry_blob(h->session, digest, 0, json_integer_value(size), into_buf, &bytes, NULL, NULL, &why);
    if (r == 0) {
        digest_of(buf_str(&bytes), bytes.len, got);
        if (!streq(got, digest))
            r = err_set(&why, ERR_INVALID, "what was signed does not have the digest %s", digest);
    }
    return r < 0 ? unreadable(h, r, &why, e) : consider(h, &bytes, &signature, e);
}

/* The manifest `what` (a tag or a digest), or what refers to it. NULL in *ret: there is none. */
static int get_document(struct hunt *h, const char *what, bool referrers, json_t **ret, struct err *e) {
    struct registry_manifest m = REGISTRY_MANIFEST_INIT;
    _cleanup_err_ struct err why = ERR_INIT;
    json_error_t je;
    int r = referrers ? registry_get_referrers(h->session, what, &m, &why) : registry_get_manifest(h->session, what, &m, &why);

    *ret = NULL;
    if (r == 0)
        r = codec_count(buf_str(&m.body), m.body.len, &why);
    if (r == 0) {
        *ret = json_loadb(buf_str(&m.body), m.body.len, JSON_REJECT_DUPLICATES, &je);
        if (!json_is_object(*ret))
            r = err_set(&why, ERR_INVALID, "%s: %s", what, *ret ? "not an object" : je.text);
    }
    registry_manifest_done(&m);
    if (r == 0)
        return 0;
    json_decref(*ret);
    *ret = NULL;
    return r == -ERR_NOT_FOUND ? 0 : unreadable(h, r, &why, e);
}

static int look_at_manifest(struct hunt *h, const char *what, struct err *e) {
    json_auto_t *o = NULL;
    json_t *layer;
    size_t i;
    int r = get_document(h, what, false, &o, e);

    json_array_foreach(json_object_get(o, "layers"), i, layer) {
        if (r < 0 || h->left == 0 || h->looked_at >= LIMIT_SIGNATURES)
            break;
        r = look_at_layer(h, layer, e);
    }
    return r;
}

/* An index of what refers to the image: from the registry's list, or under the tag that stands in for it where the registry keeps none. */
static int look_at_referrers(struct hunt *h, const char *what, bool listed, struct err *e) {
    json_auto_t *o = NULL;
    json_t *one;
    size_t i;
    int r = get_document(h, what, listed, &o, e);

    json_array_foreach(json_object_get(o, "manifests"), i, one) {
        const char *type = json_string_value(json_object_get(one, "artifactType")), *digest = json_string_value(json_object_get(one, "digest"));

        if (r < 0 || h->left == 0 || h->looked_at >= LIMIT_SIGNATURES)
            break;
        if (!type || !streq(type, SIGNATURE_ARTIFACT) || !digest || !digest_is_valid(digest))
            continue;
        h->looked_at++;
        r = look_at_manifest(h, digest, e);
    }
    return r;
}

static int look_everywhere(struct hunt *h, struct err *e) {
    int r = 0;

    for (size_t i = 0; i < ELEMENTSOF(h->digests); i++) {
        char tag[80];

        if (r < 0 || h->left == 0 || !h->digests[i])
            continue;
        snprintf(tag, sizeof tag, "sha256-%s.sig", h->digests[i] + strlen("sha256:"));
        r = look_at_manifest(h, tag, e);
        if (r == 0 && h->left)
            r = look_at_referrers(h, h->digests[i], true, e);
        *strchr(tag, '.') = 0;
        if (r == 0 && h->left)
            r = look_at_referrers(h, tag, false, e);
    }
    return r;
}

/* ---- pulls -------------------------------------------------------------------------------------------------------------------------- */

/* The words of every refusal: which image, which rule of which file, what it wants, what is wrong, what to do. */
static int refuse(const struct policy *p, const struct policy_rule *rule, const struct policy_requirement *q, const char *image, const char *why,
                  struct err *e) {
    _cleanup_free_ char *wants = policy_wants(q);

    log_kv(LOG_LVL_WARN, "the signature policy refuses an image", "image", image, "rule", rule->where, "reason", why, NULL);
    return err_set(e, ERR_FORBIDDEN, "the signature policy refuses %s: the rule %s of %s %s%s%s", image, rule->where, policy_path(p),
                   wants ? wants : "is not met", *why ? "; " : "", why);
}

static const struct policy_requirement *rejecting(const struct policy_rule *rule) {
    for (size_t i = 0; i < rule->n; i++)
        if (rule->v[i].type == POLICY_REJECT)
            return &rule->v[i];
    return NULL;
}

int verify_name(struct images *s, const struct reference *ref, struct err *e) {
    _cleanup_policy_ struct policy *p = policy_in_force(s);
    const struct policy_rule *rule = p ? policy_rule_for(p, ref) : NULL;
    _cleanup_free_ char *name = NULL;

    if (!rule || !rejecting(rule))
        return 0;
    name = reference_canonical(ref);
    return name ? refuse(p, rule, rejecting(rule), name, "", e) : err_oom(e);
}

void verified_done(struct verified *v) {
    for (size_t i = 0; i < v->n; i++)
        free(v->v[i].reference);
    free(v->v);
    *v = (struct verified){0};
}

static int refuse_pull(const struct policy *p, const struct hunt *h, struct err *e) {
    _cleanup_free_ char *name = reference_canonical(h->ref), *image = NULL, *why = NULL;
    size_t i = 0;

    while (h->rule->v[i].type != POLICY_SIGNED || h->met[i])
        i++;
    image = name ? str_printf("%s (%s)", name, h->digests[0]) : NULL;
    why = h->why
              ? strdup(h->why)
              : str_printf(
                    "no signature is stored beside it: sign it (`cosign sign --key KEY --tlog-upload=false` and its digest), or change the policy");
    return image && why ? refuse(p, h->rule, &h->rule->v[i], image, why, e) : err_oom(e);
}

int verify_pull(struct images *s, struct registry_session *session, const struct reference *ref, const char *named, const char *manifest,
                struct verified *ret, struct err *e) {
    _cleanup_policy_ struct policy *p = policy_in_force(s);
    struct hunt h = {.rule = p ? policy_rule_for(p, ref) : NULL,
                     .ref = ref,
                     .digests = {named, streq(named, manifest) ? NULL : manifest},
                     .session = session,
                     .found = ret};
    int r = verify_name(s, ref, e);

    if (r < 0 || !h.rule)
        return r;
    h.met = calloc(h.rule->n, sizeof *h.met);
    if (!h.met)
        return err_oom(e);
    for (size_t i = 0; i < h.rule->n; i++)
        h.left += h.rule->v[i].type == POLICY_SIGNED;
    if (h.left)
        r = look_everywhere(&h, e);
    if (r == 0 && h.left)
        r = refuse_pull(p, &h, e);
    if (r == 0)
        snprintf(ret->manifest, sizeof ret->manifest, "%s", manifest);
    else
        verified_done(ret);
    free(h.met);
    free(h.why);
    return r;
}

/* ---- what is remembered ---------------------------------------------------------------------------------------------------------------- */

/* Kept when the image goes: an image is its id, and when it comes back by another way (load, say) it is the same. */
int verify_note(struct images *s, const char *image_id, const struct verified *v, struct err *e) {
    int r = 0;

    for (size_t i = 0; r == 0 && i < v->n; i++)
        r = db_exec(s->db, "INSERT OR REPLACE INTO image_verified(image, manifest, reference, key, added) VALUES(?1, ?2, ?3, ?4, ?5)",
                    DB_ARGS(DB_TEXT(image_id), DB_TEXT(v->manifest), DB_TEXT(v->v[i].reference), DB_TEXT(v->v[i].key), DB_INT(clock_wall_ns())), e);
    if (r == 0 && v->n)
        r = db_exec_soon(s->db, "DELETE FROM image_verified WHERE seq <= (SELECT max(seq) FROM image_verified) - ?1", DB_ARGS(DB_INT(REMEMBERED)), e);
    return r;
}

struct memory {
    const struct policy_requirement *q;
    const struct reference *ref; /* NULL: the image has no name */
    bool good;
    char *other; /* a name that it was signed for with that key */
};

static int recall(const struct db_row *row, void *arg, struct err *e) {
    struct memory *m = arg;
    const char *reference = db_row_text(row, 0);

    if (!policy_key(m->q, db_row_text(row, 1)))
        return 0;
    m->good = !m->ref || policy_identity_fits(m->q, m->ref, reference);
    if (!m->good && !m->other && !(m->other = strdup(reference)))
        return err_oom(e);
    return m->good ? 1 : 0;
}

static int check_requirement(struct images *s, const struct policy *p, const struct policy_rule *rule, const struct policy_requirement *q,
                             const struct reference *ref, const char *image_id, const char *shown, struct err *e) {
    struct memory m = {.q = q, .ref = ref};
    _cleanup_free_ char *why = NULL;
    int r = 0;

    if (q->type == POLICY_ACCEPT)
        return 0;
    if (q->type == POLICY_SIGNED)
        r = db_query(s->db, "SELECT reference, key FROM image_verified WHERE image=?1 ORDER BY seq DESC", DB_ARGS(DB_TEXT(image_id)), recall, &m, e);
    if (r < 0 || m.good) {
        free(m.other);
        return r;
    }
    if (q->type == POLICY_REJECT)
        why = strdup("");
    else if (m.other)
        why = str_printf("it is signed with that key as %s: use it by that name", m.other);
    else
        why = strdup("no signature of it has been verified: pull it, so that one is");
    free(m.other);
    return why ? refuse(p, rule, q, shown, why, e) : err_oom(e);
}

/* ---- use ---------------------------------------------------------------------------------------------------------------------------------- */

static int check_rule(struct images *s, const struct policy *p, const struct policy_rule *rule, const struct reference *ref, const char *image_id,
                      struct err *e) {
    _cleanup_free_ char *name = ref ? reference_canonical(ref) : strdup("the image"), *shown = name ? str_printf("%s (%s)", name, image_id) : NULL;
    int r = shown ? 0 : err_oom(e);

    for (size_t i = 0; r == 0 && i < rule->n; i++)
        r = check_requirement(s, p, rule, &rule->v[i], ref, image_id, shown, e);
    return r;
}

/* By its id: any name that it has is one it could be used by. */
static int check_any_name(struct images *s, const struct policy *p, const char *image_id, struct err *e) {
    _cleanup_strv_ struct strv names = STRV_INIT;
    _cleanup_err_ struct err why = ERR_INIT;
    int r = images_names_of(s, image_id, &names, e);

    if (r < 0)
        return r;
    if (names.n == 0)
        return check_rule(s, p, policy_rule_nameless(p), NULL, image_id, e);
    for (size_t i = 0; i < names.n; i++) {
        _cleanup_reference_ struct reference ref = REFERENCE_INIT;

        err_done(&why);
        r = reference_parse(names.v[i], &ref, &why);
        if (r == 0)
            r = check_rule(s, p, policy_rule_for(p, &ref), &ref, image_id, &why);
        if (r == 0)
            return 0;
    }
    return err_move(e, &why);
}

/* "sha256:" or not, whole or not: the text is the beginning of the id. */
static bool is_id_of(const char *typed, const char *image_id) {
    const char *hex = str_after(typed, "sha256:");

    return str_has_prefix(image_id + strlen("sha256:"), hex ? hex : typed);
}

int images_may_use(struct images *s, const char *image_id, const char *typed, struct err *e) {
    _cleanup_policy_ struct policy *p = policy_in_force(s);
    _cleanup_reference_ struct reference ref = REFERENCE_INIT;
    _cleanup_free_ char *named = NULL;

    if (!p || str_empty(image_id))
        return 0;
    if (!str_empty(typed) && reference_parse(typed, &ref, NULL) == 0) {
        if (reference_default_tag(&ref, e) < 0)
            return -ERR_INTERNAL;
        named = images_lookup(s, &ref);
    }
    /* A name wins over an id that begins like it. One that names another image by now is still what it was made by. */
    if (!ref.path || (is_id_of(typed, image_id) && !streq_ptr(named, image_id)))
        return check_any_name(s, p, image_id, e);
    return check_rule(s, p, policy_rule_for(p, &ref), &ref, image_id, e);
}

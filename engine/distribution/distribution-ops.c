// SPDX-License-Identifier: Apache-2.0
/* Digest and platforms of an image, asked from its registry. */
#include <jansson.h>

#include "api-handlers.h"
#include "base/cleanup.h"
#include "base/engine.h"
#include "base/limits.h"
#include "base/str.h"
#include "registry/registry.h"
#include "types.h"
#include "wire/call.h"

static bool gone(void *arg) {
    return call_gone(arg);
}

static int set_text(char **slot, json_t *o, const char *key, struct err *e) {
    const char *v = json_string_value(json_object_get(o, key));

    return !str_empty(v) && str_set(slot, v) < 0 ? err_oom(e) : 0;
}

/* OCI image-spec, image-index.md, "platform"; a configuration has the same fields on top. */
static int add_platform(struct api_distribution_inspect *out, json_t *o, struct err *e) {
    struct api_oci_platform *p = api_oci_platform_list_add(&out->platforms);
    json_t *feature;
    size_t i;
    int r;

    if (!p)
        return err_oom(e);
    out->platforms.set = true;
    r = set_text(&p->architecture, o, "architecture", e);
    if (r == 0)
        r = set_text(&p->os, o, "os", e);
    if (r == 0)
        r = set_text(&p->os_version, o, "os.version", e);
    if (r == 0)
        r = set_text(&p->variant, o, "variant", e);
    json_array_foreach(json_object_get(o, "os.features"), i, feature) {
        if (r == 0 && json_is_string(feature))
            r = api_string_list_add(&p->os_features, json_string_value(feature), e);
    }
    return r;
}

static int into_buf(void *arg, const void *p, size_t n, struct err *e) {
    buf_add(arg, p, n);
    return buf_check(arg, e);
}

/* Of a schema 2 image the configuration says what it is for. */
static int platform_of_config(struct registry_session *s, json_t *descriptor, struct api_distribution_inspect *out, struct err *e) {
    const char *digest = json_string_value(json_object_get(descriptor, "digest"));
    json_t *size = json_object_get(descriptor, "size");
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_IMAGE_CONFIG_BYTES);
    json_auto_t *config = NULL;
    int r;

    if (!digest || !digest_is_valid(digest) || !json_is_integer(size) || json_integer_value(size) < 0)
        return err_set(e, ERR_INTERNAL, "manifest: invalid configuration descriptor");
    if (json_integer_value(size) > (json_int_t)LIMIT_IMAGE_CONFIG_BYTES)
        return err_set(e, ERR_INTERNAL, "image configuration larger than %zu bytes", LIMIT_IMAGE_CONFIG_BYTES);
    r = registry_blob(s, digest, 0, json_integer_value(size), into_buf, &b, NULL, NULL, e);
    if (r < 0)
        return r;
    config = json_loadb(buf_str(&b), b.len, 0, NULL);
    if (str_empty(json_string_value(json_object_get(config, "os"))) && str_empty(json_string_value(json_object_get(config, "architecture"))))
        return 0;
    return add_platform(out, config, e);
}

static int describe(struct registry_session *s, const struct registry_manifest *m, struct api_distribution_inspect *out, struct err *e) {
    json_auto_t *o = json_loadb(buf_str(&m->body), m->body.len, 0, NULL);
    const char *type = json_string_value(json_object_get(o, "mediaType"));
    json_t *list = json_object_get(o, "manifests"), *entry;
    size_t i;
    int r = 0;

    if (!json_is_object(o))
        return err_set(e, ERR_INTERNAL, "the manifest is no JSON object");
    if (!type)
        type = m->media_type;
    out->descriptor = api_oci_descriptor_new();
    if (!out->descriptor || str_set(&out->descriptor->media_type, type) < 0 || str_set(&out->descriptor->digest, m->digest) < 0)
        return err_oom(e);
    out->descriptor->size = (int64_t)m->body.len;
    out->descriptor->has_size = true;
    if (json_array_size(list) > LIMIT_INDEX_ENTRIES)
        return err_set(e, ERR_INTERNAL, "manifest list is too large");
    json_array_foreach(list, i, entry) {
        r = add_platform(out, json_object_get(entry, "platform"), e);
        if (r < 0)
            return r;
    }
    return streq(type, REGISTRY_TYPE_DOCKER_MANIFEST) ? platform_of_config(s, json_object_get(o, "config"), out, e) : 0;
}

static int inspect(struct call *c, struct reference *ref, struct api_distribution_inspect *out, struct err *e) {
    struct registry_manifest m = REGISTRY_MANIFEST_INIT;
    struct registry_session *s = NULL;
    struct registry_auth auth = {0};
    int r;

    /* What cannot be read as credentials counts as none, as in the reference. */
    if (registry_auth_parse(call_header(c, "X-Registry-Auth"), &auth, NULL) < 0)
        auth = (struct registry_auth){0};
    r = registry_session_new(call_engine(c)->registry, ref, &auth, gone, c, &s, e);
    if (r == 0) {
        registry_session_purpose(s, REGISTRY_ASK);
        r = registry_get_manifest(s, ref->digest ? ref->digest : ref->tag, &m, e);
    }
    if (r == 0)
        r = describe(s, &m, out, e);
    registry_manifest_done(&m);
    registry_session_free(s);
    registry_auth_done(&auth);
    return r;
}

int op_distribution_inspect(struct call *c, struct err *e) {
    const char *name = call_path(c, "name");
    _cleanup_reference_ struct reference ref = REFERENCE_INIT;
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_REPLY_BYTES);
    struct api_distribution_inspect out = {0};
    int r;

    if (reference_is_id(name) || digest_is_valid(name))
        return err_set(e, ERR_INTERNAL, "no manifest found for full image ID");
    r = reference_parse(name, &ref, e);
    if (r == 0)
        r = reference_default_tag(&ref, e);
    if (r == 0)
        r = inspect(c, &ref, &out, e);
    if (r == 0)
        r = api_distribution_inspect_write(&out, call_api_version(c), &b, e);
    api_distribution_inspect_done(&out);
    return r < 0 ? r : call_reply(c, 200, &b, e);
}

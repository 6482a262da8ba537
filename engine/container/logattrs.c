// SPDX-License-Identifier: Apache-2.0
#include "container/logattrs.h"

#include <regex.h>
#include <strings.h>

#include "base/id.h"
#include "base/limits.h"
#include "base/str.h"

static const char *option(const struct ctr_fixed *f, const char *key) {
    const struct api_string_map *m = &f->host.log_config->config;

    for (size_t i = 0; i < m->n; i++)
        if (streq(m->v[i].key, key))
            return m->v[i].value;
    return NULL;
}

struct chooser {
    struct strv names;
    regex_t re;
    bool has_re;
};

static int chooser_make(struct chooser *c, const char *list, const char *regex, struct err *e) {
    *c = (struct chooser){.names = STRV_INIT};
    if (!str_empty(list) && strv_split(&c->names, list, ',') < 0)
        return err_oom(e);
    if (str_empty(regex))
        return 0;
    if (regcomp(&c->re, regex, REG_EXTENDED | REG_NOSUB) != 0)
        return err_set(e, ERR_INTERNAL, "failed to create task for container: failed to initialize logging driver: error parsing regexp: %s", regex);
    c->has_re = true;
    return 0;
}

static void chooser_done(struct chooser *c) {
    strv_done(&c->names);
    if (c->has_re)
        regfree(&c->re);
}

static bool chosen(const struct chooser *c, const char *name) {
    return strv_has(&c->names, name) || (c->has_re && regexec(&c->re, name, 0, NULL, 0) == 0);
}

static void put(struct buf *b, const char *key, const char *value) {
    if (b->len > 1)
        buf_addc(b, ',');
    buf_add_json_string(b, key);
    buf_addc(b, ':');
    buf_add_json_string(b, value);
}

/* The fields of the tag template that name this container; other text stays. */
static void put_tag(struct buf *b, const struct ctr_fixed *f, const char *name, const char *tag) {
    char id[ID_SHORT_LEN + 1] = "", image[ID_SHORT_LEN + 1] = "";
    const struct {
        const char *field, *value;
    } fields[] = {{"{{.ID}}", id},
                  {"{{.FullID}}", f->id},
                  {"{{.Name}}", name},
                  {"{{.ImageName}}", f->config.image ? f->config.image : ""},
                  {"{{.ImageID}}", image},
                  {"{{.ImageFullID}}", f->image_id},
                  {"{{.DaemonName}}", "docker"}};
    _cleanup_buf_ struct buf out = BUF_INIT(4096);
    const char *bare = str_after(f->image_id, "sha256:");

    memcpy(id, f->id, ID_SHORT_LEN);
    if (bare && strlen(bare) > ID_SHORT_LEN)
        memcpy(image, bare, ID_SHORT_LEN);
    while (*tag) {
        bool done = false;

        for (size_t i = 0; i < ELEMENTSOF(fields) && !done; i++)
            if (str_has_prefix(tag, fields[i].field)) {
                buf_adds(&out, fields[i].value);
                tag += strlen(fields[i].field);
                done = true;
            }
        if (!done)
            buf_addc(&out, *tag++);
    }
    put(b, "tag", buf_str(&out));
}

int ctr_log_attrs(const struct ctr_fixed *f, const char *name, char **ret, struct err *e) {
    _cleanup_(chooser_done) struct chooser labels = {0}, env = {0};
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);
    const char *tag = option(f, "tag");
    int r;

    if (f->host.log_config->config.n == 0)
        return 0;
    r = chooser_make(&labels, option(f, "labels"), option(f, "labels-regex"), e);
    if (r >= 0)
        r = chooser_make(&env, option(f, "env"), option(f, "env-regex"), e);
    if (r < 0)
        return r;
    buf_addc(&b, '{');
    for (size_t i = 0; i < f->config.labels.n; i++)
        if (chosen(&labels, f->config.labels.v[i].key))
            put(&b, f->config.labels.v[i].key, f->config.labels.v[i].value ? f->config.labels.v[i].value : "");
    for (size_t i = 0; i < f->config.env.n; i++) {
        size_t n = strcspn(f->config.env.v[i], "=");
        _cleanup_free_ char *key = strndup(f->config.env.v[i], n);

        if (key && f->config.env.v[i][n] == '=' && chosen(&env, key))
            put(&b, key, f->config.env.v[i] + n + 1);
    }
    if (!str_empty(tag))
        put_tag(&b, f, name, tag);
    buf_addc(&b, '}');
    if (b.len <= 2)
        return 0;
    *ret = buf_take(&b);
    return *ret ? 0 : err_oom(e);
}

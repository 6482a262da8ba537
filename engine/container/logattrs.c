// SPDX-License-Identifier: Apache-2.0
#include "container/logattrs.h"

#include <regex.h>
#include <strings.h>

#include "base/limits.h"
#include "base/str.h"
#include "logdrv/logdrv.h"

const char *ctr_log_option(const struct ctr_fixed *f, const char *key) {
    const struct api_string_map *m = &f->host.log_config->config;

    for (size_t i = 0; i < m->n; i++)
        if (streq(m->v[i].key, key))
            return m->v[i].value ? m->v[i].value : "";
    return NULL;
}

/* ---- choosing by name ------------------------------------------------------------------------------------------------------ */
struct chooser {
    struct strv names;
    regex_t re;
    bool has_re;
};

static int chooser_make(struct chooser *c, const char *list, const char *regex, struct err *e) {
    int r;

    *c = (struct chooser){.names = STRV_INIT};
    if (!str_empty(list) && strv_split(&c->names, list, ',') < 0)
        return err_oom(e);
    if (str_empty(regex))
        return 0;
    r = regcomp(&c->re, regex, REG_EXTENDED | REG_NOSUB);
    if (r != 0)
        return err_set(e, ERR_INTERNAL, "error parsing regexp: %s`%s`",
                       r == REG_EPAREN   ? "missing closing ): "
                       : r == REG_EBRACK ? "missing closing ]: "
                       : r == REG_BADRPT ? "missing argument to repetition operator: "
                                         : "",
                       regex);
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

void ctr_log_chosen_done(struct api_string_map *m) {
    for (size_t i = 0; i < m->n; i++) {
        free(m->v[i].key);
        free(m->v[i].value);
    }
    free(m->v);
    *m = (struct api_string_map){0};
}

int ctr_log_chosen(const struct ctr_fixed *f, struct api_string_map *ret, struct err *e) {
    _cleanup_(chooser_done) struct chooser labels = {0}, env = {0};
    int r = chooser_make(&labels, ctr_log_option(f, "labels"), ctr_log_option(f, "labels-regex"), e);

    if (r >= 0)
        r = chooser_make(&env, ctr_log_option(f, "env"), ctr_log_option(f, "env-regex"), e);
    for (size_t i = 0; r >= 0 && i < f->config.labels.n; i++)
        if (chosen(&labels, f->config.labels.v[i].key))
            r = api_string_map_set(ret, f->config.labels.v[i].key, f->config.labels.v[i].value ? f->config.labels.v[i].value : "", e);
    for (size_t i = 0; r >= 0 && i < f->config.env.n; i++) {
        size_t n = strcspn(f->config.env.v[i], "=");
        _cleanup_free_ char *key = strndup(f->config.env.v[i], n);

        if (key && f->config.env.v[i][n] == '=' && chosen(&env, key))
            r = api_string_map_set(ret, key, f->config.env.v[i] + n + 1, e);
    }
    return r;
}

#define JOURNAL_NAME_MAX 64 /* characters, as systemd-journald allows */

bool ctr_log_journal_name(char *name) {
    for (char *k = name; *k; k++)
        *k = *k >= 'a' && *k <= 'z' ? (char)(*k - 32) : (*k >= 'A' && *k <= 'Z') || (*k >= '0' && *k <= '9') ? *k : '_';
    return *name >= 'A' && *name <= 'Z' && strlen(name) <= JOURNAL_NAME_MAX;
}

int ctr_log_journal_details(const struct ctr_fixed *f, struct strv *ret, struct err *e) {
    _cleanup_(ctr_log_chosen_done) struct api_string_map m = {0};
    int r = ctr_log_chosen(f, &m, e);

    for (size_t i = 0; r >= 0 && i < m.n; i++)
        if (ctr_log_journal_name(m.v[i].key) && strv_addf(ret, "%s=%s", m.v[i].key, m.v[i].value) < 0)
            r = err_oom(e);
    strv_sort(ret);
    return r;
}

int ctr_log_attrs_fit(size_t n, struct err *e) {
    return n <= LOG_ATTRS_MAX
               ? 0
               : err_set(e, ERR_INTERNAL, "labels, variables and tag for the log are %zu bytes long: no more than %d can go into each record", n,
                         (int)LOG_ATTRS_MAX);
}

/* ---- the attributes of json-file -------------------------------------------------------------------------------------------------- */
int ctr_log_attrs(const struct ctr_fixed *f, const char *name, char **ret, struct err *e) {
    _cleanup_(ctr_log_chosen_done) struct api_string_map m = {0};
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);
    _cleanup_free_ char *tag = NULL;
    int r = ctr_log_chosen(f, &m, e);

    if (r >= 0 && !str_empty(ctr_log_option(f, "tag")))
        r = ctr_log_tag(f, name, &tag, e);
    if (r >= 0 && tag)
        r = api_string_map_set(&m, "tag", tag, e);
    if (r < 0 || m.n == 0)
        return r;
    for (size_t i = 0; i < m.n; i++) {
        buf_addc(&b, i ? ',' : '{');
        buf_add_json_string(&b, m.v[i].key);
        buf_addc(&b, ':');
        buf_add_json_string(&b, m.v[i].value);
    }
    buf_addc(&b, '}');
    r = ctr_log_attrs_fit(b.len, e);
    if (r < 0)
        return r;
    *ret = buf_take(&b);
    return *ret ? 0 : err_oom(e);
}

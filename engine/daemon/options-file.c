// SPDX-License-Identifier: Apache-2.0
/* daemon.json. Sections: what the file says against what the flags say; reading. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "daemon/options-internal.h"
#include "wire/codec.h"

#define DEFAULT_CONFIG_FILE "/etc/hatake/daemon.json"

static void decrefp(json_t **j) {
    json_decref(*j);
}

/* ---- file against flags ---------------------------------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void print_value(struct buf *out, json_t *v);

/* Go prints maps in the order of their keys. */
static void print_map(struct buf *out, json_t *v) {
    const char **keys = reallocarray(NULL, json_object_size(v) + 1, sizeof(*keys)), *key;
    json_t *item;
    size_t n = 0;

    buf_adds(out, "map[");
    json_object_foreach(v, key, item) {
        if (keys)
            keys[n++] = key;
    }
    if (n)
        qsort(keys, n, sizeof(*keys), by_key);
    for (size_t i = 0; i < n; i++) {
        buf_addf(out, "%s%s:", i ? " " : "", keys[i]);
        print_value(out, json_object_get(v, keys[i]));
    }
    buf_addc(out, ']');
    free(keys);
}

/* Value of a JSON text as Go prints it: lists "[a b]", maps "map[k:v]". */
static void print_value(struct buf *out, json_t *v) {
    const char *sep = "";
    json_t *item;
    size_t i;

    if (json_is_string(v)) {
        buf_adds(out, json_string_value(v));
    } else if (json_is_array(v)) {
        buf_addc(out, '[');
        json_array_foreach(v, i, item) {
            buf_adds(out, sep);
            print_value(out, item);
            sep = " ";
        }
        buf_addc(out, ']');
    } else if (json_is_object(v)) {
        print_map(out, v);
    } else if (json_is_integer(v)) {
        buf_addi(out, json_integer_value(v));
    } else {
        buf_adds(out, json_is_true(v) ? "true" : json_is_false(v) ? "false" : "<nil>");
    }
}

/* Who reads the message need not learn the password of the proxy. */
static void print_given(struct buf *out, const struct option *opt, const char *text) {
    const char *scheme = strstr(text, "://"), *at = scheme ? strchr(scheme + 3, '@') : NULL;

    if (opt && at && str_has_suffix(opt->path, "ProxyConfig."))
        buf_addf(out, "%.*s://xxxxx:xxxxx%s", (int)(scheme - text), text, at);
    else
        buf_adds(out, text);
}

/* Objects that are the value of one option. What any other object holds counts as if it stood outside of it. */
static bool is_value(const char *key) {
    static const char *const keys[] = {"default-ulimits", "default-network-opts", "features", "log-opts", "runtimes", "builder"};

    for (size_t i = 0; i < ELEMENTSOF(keys); i++)
        if (streq(keys[i], key))
            return true;
    return false;
}

static int flatten(json_t *root, json_t *ret, struct err *e) {
    const char *key, *inner;
    json_t *value, *item;

    json_object_foreach(root, key, value) {
        if (json_is_object(value) && !is_value(key)) {
            json_object_foreach(value, inner, item) {
                if (json_object_set(ret, inner, item) < 0)
                    return err_oom(e);
            }
        } else if (json_object_set(ret, key, value) < 0) {
            return err_oom(e);
        }
    }
    return 0;
}

static int find_unknown(json_t *flat, struct err *e) {
    static const char *const others[] = {"builder", "deprecated-key-path"};
    _cleanup_buf_ struct buf unknown = BUF_INIT(MIB(1));
    const char *key;
    json_t *value;

    json_object_foreach(flat, key, value) {
        bool known = option_by_key(key) || option_by_flag(key);

        for (size_t i = 0; i < ELEMENTSOF(others); i++)
            known = known || streq(key, others[i]);
        if (!known)
            buf_addf(&unknown, "%s%s", unknown.len ? ", " : "", key);
    }
    if (unknown.len)
        return err_set(e, ERR_INVALID, "the following directives don't match any configuration option: %s", buf_str(&unknown));
    return 0;
}

/* The option that stands in the file under a flag's name or under its own; NULL: the two do not meet. Runtimes add up. */
static const char *met_by(const struct option *opt, json_t *flat) {
    const char *key = str_empty(option_key(opt)) ? opt->name : option_key(opt);

    return opt->kind != OPT_RUNTIME && json_object_get(flat, key) ? key : NULL;
}

static int find_conflicts(const struct options *o, json_t *flat, struct err *e) {
    _cleanup_buf_ struct buf both = BUF_INIT(MIB(1));

    for (size_t i = 0; i < option_count; i++) {
        const struct option *opt = &option_table[i];
        const char *flag = opt->name ? map_get(&o->from_flag, opt->name) : NULL, *key = flag ? met_by(opt, flat) : NULL;
        json_t *value = key ? json_object_get(flat, key) : NULL;

        if (!key)
            continue;
        buf_addf(&both, "%s%s: (from flag: ", both.len ? ", " : "", key);
        print_given(&both, opt, flag);
        buf_adds(&both, ", from file: ");
        if (json_is_string(value))
            print_given(&both, opt, json_string_value(value));
        else
            print_value(&both, value);
        buf_addc(&both, ')');
    }
    if (both.len)
        return err_set(e, ERR_INVALID, "the following directives are specified both as a flag and in the configuration file: %s", buf_str(&both));
    return 0;
}

/* ---- reading ----------------------------------------------------------------------------------------------------------------- */

/* A document that ends inside of a word: the reference's reader sees the blank that it puts after the end. */
static int broken_off(const char *text, size_t n, struct err *e) {
    static const char *const words[] = {"true", "false", "null"};
    size_t k = 0;

    while (k < n && text[n - k - 1] >= 'a' && text[n - k - 1] <= 'z')
        k++;
    for (size_t i = 0; i < ELEMENTSOF(words); i++)
        if (k > 0 && k < strlen(words[i]) && memcmp(words[i], text + n - k, k) == 0)
            return err_set(e, ERR_INVALID, "invalid character ' ' in literal %s (expecting '%c')", words[i], words[i][k]);
    return err_set(e, ERR_INVALID, "unexpected end of JSON input");
}

static int read_document(const char *text, size_t n, json_t **ret, struct err *e) {
    _cleanup_(decrefp) json_t *root = NULL;
    const char *plain = str_after(text, "\xEF\xBB\xBF"); /* the mark some editors put before UTF-8 */
    int r;

    if (plain)
        n -= (size_t)(plain - text);
    else
        plain = text;
    if (strspn(plain, " \t\r\n") == n)
        return 0; /* an empty file is an empty configuration */
    r = codec_parse(plain, n, &root, NULL, e);
    if (r < 0)
        return streq(err_msg(e), "unexpected EOF") ? broken_off(plain, n, e) : r;
    if (json_is_null(root))
        return 0;
    if (!json_is_object(root))
        return err_set(e, ERR_INVALID, "json: cannot unmarshal %s into Go value of type map[string]interface {}", codec_word(root));
    *ret = TAKE_PTR(root);
    return 0;
}

/* An object of its own in the reference's configuration; what it holds is flat here. */
static int check_object(json_t *root, const char *key, const char *type, struct err *e) {
    json_t *v = json_object_get(root, key);

    if (!v || json_is_object(v) || json_is_null(v))
        return 0;
    return err_set(e, ERR_INVALID, "json: cannot unmarshal %s into Go struct field Config.CommonConfig.%s of type %s", codec_word(v), key, type);
}

static int load_document(struct options *o, json_t *root, struct err *e) {
    _cleanup_(decrefp) json_t *flat = json_object();
    const char *key;
    json_t *value;
    int r;

    if (!flat)
        return err_oom(e);
    r = flatten(root, flat, e);
    if (r == 0)
        r = find_unknown(flat, e);
    if (r == 0)
        r = find_conflicts(o, flat, e);
    if (r == 0)
        r = check_object(root, "builder", "config.BuilderConfig", e);
    if (r == 0)
        r = check_object(root, "proxies", "config.Proxies", e);
    if (r < 0)
        return r;
    json_object_foreach(flat, key, value) {
        const struct option *opt = option_by_key(key);

        if (!opt || json_is_null(value))
            continue;
        r = option_set_json(o, opt, value, e);
        if (r < 0)
            return r;
        if (map_set(&o->from_file, key, o, NULL) < 0)
            return err_oom(e);
    }
    return 0;
}

static int read_file(const char *path, struct buf *text, struct err *e) {
    struct stat st;

    if (stat(path, &st) < 0)
        return err_set(e, ERR_INVALID, "open %s: %s", path, errno == ENOENT ? "no such file or directory" : strerrordesc_np(errno));
    if (S_ISDIR(st.st_mode))
        return err_set(e, ERR_INVALID, "read %s: is a directory", path);
    return fs_read_file(path, text, e);
}

int options_load_file(struct options *o, struct err *e) {
    const char *path = o->config.config_file ? o->config.config_file : DEFAULT_CONFIG_FILE;
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_SMALL_FILE);
    _cleanup_(decrefp) json_t *root = NULL;
    _cleanup_err_ struct err why = ERR_INIT;
    int r;

    if (!map_has(&o->from_flag, "config-file") && !fs_exists(path))
        return 0;
    r = read_file(path, &text, &why);
    if (r == 0)
        r = read_document(buf_str(&text), text.len, &root, &why);
    if (r == 0 && root)
        r = load_document(o, root, &why);
    if (r == 0) {
        r = options_check_values(o, &why);
        if (r < 0)
            err_wrap(&why, "merged configuration validation from file and command line flags failed");
    }
    if (r < 0)
        return err_set(e, ERR_INVALID, "unable to configure the Docker daemon with file %s: %s", path, err_msg(&why));
    return 0;
}

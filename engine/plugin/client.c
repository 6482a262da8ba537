// SPDX-License-Identifier: Apache-2.0
#include "plugin/client.h"

#include <curl/curl.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/str.h"

#define ACCEPT "Accept: application/vnd.docker.plugins.v1.2+json"
#define NAMELESS_HOST "plugin.moby.localhost" /* what requests over a unix socket name as their host */
#define ACTIVATE_SECONDS 30
#define PATIENCE_SECONDS 15
#define TRY_AGAIN_NS (250 * NSEC_PER_MSEC)

struct plugin {
    struct plugins *ps;
    char *name, *address;
    char *ca, *cert, *key;
    bool insecure;
    unsigned starters; /* threads that try to activate it; guarded by plugins.lock */
    pthread_mutex_t activating;
    bool active; /* atomic; set with activating held, and never taken back */
    struct strv implements;
};

struct plugins {
    char *sockets;
    struct strv specs;
    unsigned patience;
    pthread_mutex_t lock;
    struct map by_name; /* those that are active, and those that are being activated */
};

/* ---- finding ------------------------------------------------------------------------------------------------------------------------- */

static void plugin_free(void *p) {
    struct plugin *x = p;

    free(x->name);
    free(x->address);
    free(x->ca);
    free(x->cert);
    free(x->key);
    strv_done(&x->implements);
    pthread_mutex_destroy(&x->activating);
    free(x);
}

/* Names that can be part of a path without leaving the folder. */
static bool sound(const char *name) {
    return *name && *name != '.' && !strchr(name, '/') && strlen(name) < 128;
}

static char *look_for(const char *folder, const char *name, const char *suffix, mode_t type) {
    for (int i = 0; i < 2; i++) {
        char *path = i ? str_printf("%s/%s/%s%s", folder, name, name, suffix) : str_printf("%s/%s%s", folder, name, suffix);
        struct stat st;

        if (path && stat(path, &st) == 0 && (st.st_mode & S_IFMT) == type)
            return path;
        free(path);
    }
    return NULL;
}

static int read_spec(const char *path, struct plugin *p, struct err *e) {
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_SMALL_FILE);
    char *end;
    int r = fs_read_file(path, &text, e);

    if (r < 0)
        return r;
    end = text.data ? text.data + strcspn(text.data, "\r\n") : NULL;
    if (end)
        *end = 0;
    if (!strstr(buf_str(&text), "://"))
        return err_set(e, ERR_INTERNAL, "Unknown protocol");
    return str_set(&p->address, buf_str(&text)) < 0 ? err_oom(e) : 0;
}

static const char *text_of(const json_t *o, const char *key) {
    return json_string_value(json_object_get(o, key));
}

static int read_json(const char *path, struct plugin *p, struct err *e) {
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_SMALL_FILE);
    json_error_t why;
    json_t *j, *tls;
    int r = fs_read_file(path, &text, e);

    if (r < 0)
        return r;
    j = json_loadb(buf_str(&text), text.len, JSON_DISABLE_EOF_CHECK, &why);
    if (!j)
        return json_error_code(&why) == json_error_premature_end_of_input ? err_set(e, ERR_INTERNAL, text.len ? "unexpected EOF" : "EOF")
                                                                          : err_set(e, ERR_INTERNAL, "%s: %s", path, why.text);
    tls = json_object_get(j, "TLSConfig");
    p->insecure = json_is_true(json_object_get(tls, "InsecureSkipVerify"));
    if (!text_of(j, "Addr"))
        r = err_set(e, ERR_INTERNAL, "Unknown protocol");
    else if (str_set(&p->address, text_of(j, "Addr")) < 0 || str_set(&p->ca, text_of(tls, "CAFile")) < 0 ||
             str_set(&p->cert, text_of(tls, "CertFile")) < 0 || str_set(&p->key, text_of(tls, "KeyFile")) < 0)
        r = err_oom(e);
    json_decref(j);
    return r;
}

static int locate(struct plugins *ps, const char *name, struct plugin *p, struct err *e) {
    _cleanup_free_ char *path = look_for(ps->sockets, name, ".sock", S_IFSOCK);

    if (path) {
        p->address = str_printf("unix://%s", path);
        return p->address ? 0 : err_oom(e);
    }
    for (size_t i = 0; i < ps->specs.n; i++) {
        path = look_for(ps->specs.v[i], name, ".spec", S_IFREG);
        if (path)
            return read_spec(path, p, e);
        path = look_for(ps->specs.v[i], name, ".json", S_IFREG);
        if (path)
            return read_json(path, p, e);
    }
    return err_set(e, ERR_NOT_FOUND, "plugin \"%s\" not found", name);
}

/* The one of that name, found now or before. Once it was tried: tried(). */
static int known(struct plugins *ps, const char *name, struct plugin **ret, struct err *e) {
    struct plugin *p;
    int r = 0;

    if (!sound(name))
        return err_set(e, ERR_NOT_FOUND, "plugin \"%s\" not found", name);
    pthread_mutex_lock(&ps->lock);
    p = map_get(&ps->by_name, name);
    if (!p) {
        p = calloc(1, sizeof(*p));
        r = p ? 0 : err_oom(e);
        if (r == 0) {
            p->ps = ps;
            pthread_mutex_init(&p->activating, NULL);
            r = str_set(&p->name, name) < 0 ? err_oom(e) : locate(ps, name, p, e);
        }
        if (r == 0 && map_set(&ps->by_name, name, p, NULL) < 0)
            r = err_oom(e);
        if (r < 0 && p)
            plugin_free(p);
    }
    if (r == 0) {
        p->starters++;
        *ret = p;
    }
    pthread_mutex_unlock(&ps->lock);
    return r;
}

/* What could not be activated is looked for again the next time: its description may have been mended meanwhile. */
static void tried(struct plugin *p) {
    struct plugins *ps = p->ps;

    pthread_mutex_lock(&ps->lock);
    if (--p->starters == 0 && !__atomic_load_n(&p->active, __ATOMIC_ACQUIRE)) {
        map_remove(&ps->by_name, p->name);
        plugin_free(p);
    }
    pthread_mutex_unlock(&ps->lock);
}

static int add_name(struct strv *l, const char *file, const char *suffix) {
    size_t n = strlen(file), k = strlen(suffix);
    _cleanup_free_ char *name = n > k && str_has_suffix(file, suffix) ? strndup(file, n - k) : NULL;

    return !name || strv_has(l, name) ? 0 : strv_add(l, name);
}

/* Names in one folder: files with the suffix, and folders that hold one of their own name. */
static int scan(const char *folder, const char *suffix, mode_t type, struct strv *ret) {
    _cleanup_closedir_ DIR *d = opendir(folder);
    struct dirent *ent;
    int r = 0;

    while (d && r == 0 && (ent = readdir(d))) {
        _cleanup_free_ char *inner = NULL;
        struct stat st;

        if (ent->d_name[0] == '.' || fstatat(dirfd(d), ent->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if ((st.st_mode & S_IFMT) == type) {
            r = add_name(ret, ent->d_name, suffix);
        } else if (S_ISDIR(st.st_mode)) {
            inner = str_printf("%s/%s%s", ent->d_name, ent->d_name, suffix);
            if (inner && fstatat(dirfd(d), inner, &st, 0) == 0 && (st.st_mode & S_IFMT) == type && !strv_has(ret, ent->d_name))
                r = strv_add(ret, ent->d_name);
        }
    }
    return r;
}

/* ---- one exchange -------------------------------------------------------------------------------------------------------------------- */

static size_t on_body(char *p, size_t size, size_t n, void *arg) {
    struct buf *b = arg;

    buf_add(b, p, size * n);
    return buf_ok(b) ? size * n : 0;
}

static const char *path_of_socket(const struct plugin *p) {
    return str_after(p->address, "unix://");
}

static char *url_of(const struct plugin *p, const char *method) {
    const char *rest = strstr(p->address, "://");

    if (path_of_socket(p))
        return str_printf("http://" NAMELESS_HOST "/%s", method);
    return str_printf("%s://%s/%s", str_has_prefix(p->address, "https://") ? "https" : "http", rest ? rest + 3 : p->address, method);
}

/* Why there was no answer, in the words of the reference's HTTP client. */
static int unreachable(const struct plugin *p, CURL *h, CURLcode code, const char *url, struct err *e) {
    const char *socket = path_of_socket(p), *host = strstr(p->address, "://");
    long os = 0;

    curl_easy_getinfo(h, CURLINFO_OS_ERRNO, &os);
    host = host ? host + 3 : p->address;
    if (code == CURLE_COULDNT_CONNECT && socket)
        return err_set(e, ERR_UNAVAILABLE, "Post \"%s\": dial unix %s: connect: %s", url, socket,
                       access(socket, F_OK) < 0 ? "no such file or directory" : "connection refused");
    if (code == CURLE_COULDNT_CONNECT)
        return err_set(e, ERR_UNAVAILABLE, "Post \"%s\": dial tcp %s: connect: connection refused", url, host);
    if (code == CURLE_COULDNT_RESOLVE_HOST)
        return err_set(e, ERR_UNAVAILABLE, "Post \"%s\": dial tcp: lookup %.*s: no such host", url, (int)strcspn(host, ":"), host);
    if (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR)
        return err_set(e, ERR_UNAVAILABLE, "Post \"%s\": EOF", url);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return err_set(e, ERR_DEADLINE, "Post \"%s\": context deadline exceeded", url);
    return err_set(e, ERR_UNAVAILABLE, "Post \"%s\": %s", url, curl_easy_strerror(code));
}

/* One request; the status and the body of its answer. */
static int exchange(struct plugin *p, const char *method, const struct buf *body, unsigned seconds, long *ret_status, struct buf *answer,
                    struct err *e) {
    _cleanup_free_ char *url = url_of(p, method);
    CURL *h = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, ACCEPT);
    const char *socket = path_of_socket(p);
    CURLcode code;
    int r = 0;

    headers = curl_slist_append(headers, "Content-Type:");
    headers = curl_slist_append(headers, "Expect:");
    if (!url || !h || !headers) {
        curl_slist_free_all(headers);
        curl_easy_cleanup(h);
        return err_oom(e);
    }
    curl_easy_setopt(h, CURLOPT_URL, url);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(h, CURLOPT_USERAGENT, "hataked");
    curl_easy_setopt(h, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_POST, 1L);
    curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, (long)body->len);
    curl_easy_setopt(h, CURLOPT_POSTFIELDS, buf_str(body));
    curl_easy_setopt(h, CURLOPT_TIMEOUT, (long)seconds);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(h, CURLOPT_NOPROXY, "*");
    if (socket)
        curl_easy_setopt(h, CURLOPT_UNIX_SOCKET_PATH, socket);
    if (p->insecure) {
        curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (!str_empty(p->ca))
        curl_easy_setopt(h, CURLOPT_CAINFO, p->ca);
    if (!str_empty(p->cert))
        curl_easy_setopt(h, CURLOPT_SSLCERT, p->cert);
    if (!str_empty(p->key))
        curl_easy_setopt(h, CURLOPT_SSLKEY, p->key);
    code = curl_easy_perform(h);
    if (code != CURLE_OK)
        r = unreachable(p, h, code, url, e);
    else
        curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, ret_status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(h);
    return r;
}

static void pause_a_moment(void) {
    struct timespec t = {.tv_nsec = TRY_AGAIN_NS};

    nanosleep(&t, NULL);
}

/* The answer as an object. Text that is no JSON is worded as the reference's reader words it. */
static int parse(const struct buf *answer, json_t **ret, struct err *e) {
    json_error_t why;
    json_t *j;
    size_t at = strspn(buf_str(answer), " \t\r\n");

    if (at == answer->len)
        return err_set(e, ERR_INTERNAL, "EOF");
    j = json_loadb(answer->data, answer->len, JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY, &why);
    if (!j && answer->data[at] != '{')
        return err_set(e, ERR_INTERNAL, "invalid character '%c' looking for beginning of value", answer->data[at]);
    if (!j)
        return err_set(e, ERR_INTERNAL, "invalid JSON: %s", why.text);
    if (!json_is_object(j)) {
        json_decref(j);
        return err_set(e, ERR_INTERNAL, "the plugin's answer is not a JSON object");
    }
    *ret = j;
    return 0;
}

int plugin_call(struct plugin *p, const char *method, json_t *body, unsigned seconds, bool patient, json_t **ret_reply, struct err *e) {
    _cleanup_buf_ struct buf text = BUF_INIT(PLUGIN_REPLY_MAX), answer = BUF_INIT(PLUGIN_REPLY_MAX);
    int64_t until = clock_mono_ns() + (int64_t)p->ps->patience * NSEC_PER_SEC;
    json_t *reply = NULL;
    const char *said;
    long status = 0;
    int r;

    if (body) {
        char *dump = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);

        if (!dump)
            return err_oom(e);
        buf_adds(&text, dump);
        buf_addc(&text, '\n');
        free(dump);
    }
    for (;;) {
        _cleanup_err_ struct err why = ERR_INIT;

        buf_reset(&answer);
        r = exchange(p, method, &text, seconds, &status, &answer, &why);
        if (r == -ERR_UNAVAILABLE && patient && clock_mono_ns() < until) {
            pause_a_moment();
            continue;
        }
        if (r < 0)
            return err_move(e, &why);
        break;
    }
    if (status != 200) {
        json_t *j = json_loadb(buf_str(&answer), answer.len, JSON_DISABLE_EOF_CHECK, NULL);

        said = text_of(j, "Err");
        r = err_set(e, ERR_INTERNAL, "%s: %s", method, str_empty(said) ? buf_str(&answer) : said);
        json_decref(j);
        return r;
    }
    r = parse(&answer, &reply, e);
    if (r < 0)
        return r;
    said = text_of(reply, "Err");
    if (!str_empty(said))
        r = err_set(e, ERR_INTERNAL, "%s", said);
    else if (ret_reply)
        *ret_reply = json_incref(reply);
    json_decref(reply);
    return r;
}

/* ---- getting one --------------------------------------------------------------------------------------------------------------------- */

static int activate(struct plugin *p, bool patient, struct err *e) {
    json_t *reply = NULL, *list, *item;
    size_t i;
    int r = 0;

    pthread_mutex_lock(&p->activating);
    if (!p->active) {
        r = plugin_call(p, "Plugin.Activate", NULL, ACTIVATE_SECONDS, patient, &reply, e);
        list = r == 0 ? json_object_get(reply, "Implements") : NULL;
        json_array_foreach(list, i, item) {
            if (r == 0 && json_is_string(item) && strv_add(&p->implements, json_string_value(item)) < 0)
                r = err_oom(e);
        }
        __atomic_store_n(&p->active, r == 0, __ATOMIC_RELEASE);
        json_decref(reply);
    }
    pthread_mutex_unlock(&p->activating);
    return r;
}

int plugins_get(struct plugins *ps, const char *name, const char *interface, bool patient, struct plugin **ret, struct err *e) {
    int64_t until = clock_mono_ns() + (int64_t)ps->patience * NSEC_PER_SEC;
    struct plugin *p = NULL;
    int r;

    for (;;) {
        _cleanup_err_ struct err why = ERR_INIT;

        r = known(ps, name, &p, &why);
        if (r == -ERR_NOT_FOUND && patient && sound(name) && clock_mono_ns() < until) {
            pause_a_moment();
            continue;
        }
        if (r < 0) {
            err_move(e, &why);
            return r == -ERR_NOT_FOUND ? r : err_wrap(e, "legacy plugin");
        }
        break;
    }
    r = activate(p, patient, e);
    tried(p);
    if (r < 0)
        return err_wrap(e, "legacy plugin");
    if (!strv_has(&p->implements, interface))
        return err_set(e, ERR_INTERNAL,
                       "legacy plugin: Plugin does not implement the requested driver: plugin=\"%s\", requested implementation=\"%s\"", name,
                       interface);
    *ret = p;
    return 0;
}

int plugins_all(struct plugins *ps, const char *interface, struct plugin ***ret, size_t *ret_n, struct err *e) {
    _cleanup_strv_ struct strv names = STRV_INIT;
    struct plugin **all;
    size_t n = 0;
    int r = 0;

    pthread_mutex_lock(&ps->lock);
    for (struct map_entry *i = NULL; r == 0 && (i = map_next(&ps->by_name, i));)
        r = strv_add(&names, i->key);
    pthread_mutex_unlock(&ps->lock);
    if (r == 0)
        r = scan(ps->sockets, ".sock", S_IFSOCK, &names);
    for (size_t i = 0; r == 0 && i < ps->specs.n; i++) {
        r = scan(ps->specs.v[i], ".spec", S_IFREG, &names);
        if (r == 0)
            r = scan(ps->specs.v[i], ".json", S_IFREG, &names);
    }
    if (r < 0)
        return err_oom(e);
    strv_sort(&names);
    all = calloc(names.n + 1, sizeof(struct plugin *));
    if (!all)
        return err_oom(e);
    for (size_t i = 0; i < names.n; i++)
        if (plugins_get(ps, names.v[i], interface, false, &all[n], NULL) == 0)
            n++;
    *ret = all;
    *ret_n = n;
    return 0;
}

const char *plugin_name(const struct plugin *p) {
    return p->name;
}

/* ---- the manager --------------------------------------------------------------------------------------------------------------------- */

int plugins_new(const struct plugins_config *config, struct plugins **ret, struct err *e) {
    static const char *const usual[] = {"/etc/docker/plugins", "/usr/lib/docker/plugins", NULL};
    const char *const *specs = config->specs ? config->specs : usual;
    struct plugins *ps = calloc(1, sizeof(*ps));
    int r;

    if (!ps)
        return err_oom(e);
    pthread_mutex_init(&ps->lock, NULL);
    ps->patience = config->patience ? config->patience : PATIENCE_SECONDS;
    r = str_set(&ps->sockets, config->sockets ? config->sockets : "/run/docker/plugins");
    for (; r == 0 && *specs; specs++)
        r = strv_add(&ps->specs, *specs);
    if (r < 0) {
        plugins_free(ps);
        return err_oom(e);
    }
    *ret = ps;
    return 0;
}

struct plugins *plugins_free(struct plugins *ps) {
    if (!ps)
        return NULL;
    map_done_with(&ps->by_name, plugin_free);
    strv_done(&ps->specs);
    free(ps->sockets);
    pthread_mutex_destroy(&ps->lock);
    free(ps);
    return NULL;
}

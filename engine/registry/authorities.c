// SPDX-License-Identifier: Apache-2.0
/*
 * Whom to trust as a registry, and who we are: the system's bundle of authorities and the folders certs.d/HOST, where *.crt are further authorities and
 * NAME.cert with NAME.key a client certificate (the reference's documented layout). A bundle takes some 20 ms to parse: the result is kept and shared by all
 * connections until a file changes.
 */
#include <dirent.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "base/strv.h"
#include "registry/registry-internal.h"

#define CA_BUNDLE "/etc/ssl/certs/ca-certificates.crt"
#define STORES_KEPT 16
#define CERTIFICATES_MAX 256

struct authorities {
    struct authorities *next;
    char *state; /* files with sizes and times of change */
    X509_STORE *store;
};

static void authorities_free(struct authorities *a) {
    X509_STORE_free(a->store);
    free(a->state);
    free(a);
}

void authorities_done(struct registry *r) {
    while (r->authorities) {
        struct authorities *a = r->authorities;

        r->authorities = a->next;
        authorities_free(a);
    }
}

/* Files of certs.d/HOST with this ending, sorted. */
static int certificate_files(const char *host, const char *ending, struct strv *ret, struct err *e) {
    static const char *const roots[] = {"/etc/hatake/certs.d", "/etc/docker/certs.d"};

    for (size_t i = 0; i < ELEMENTSOF(roots) && *host && !strchr(host, '/') && host[0] != '.'; i++) {
        _cleanup_free_ char *path = str_printf("%s/%s", roots[i], host);
        _cleanup_closedir_ DIR *dir = path ? opendir(path) : NULL;
        struct dirent *d;

        while (dir && (d = readdir(dir)) && ret->n < CERTIFICATES_MAX)
            if (str_has_suffix(d->d_name, ending) && strv_addf(ret, "%s/%s", path, d->d_name) < 0)
                return err_oom(e);
    }
    strv_sort(ret);
    return 0;
}

static char *state_of(const struct strv *files) {
    _cleanup_buf_ struct buf b = BUF_INIT(256 * 1024);

    for (size_t i = 0; i < files->n; i++) {
        struct stat st;

        if (stat(files->v[i], &st) == 0)
            buf_addf(&b, "%s %llu %lld %lld.%09ld\n", files->v[i], (unsigned long long)st.st_ino, (long long)st.st_size, (long long)st.st_mtim.tv_sec,
                     st.st_mtim.tv_nsec);
    }
    return buf_take(&b);
}

static X509_STORE *read_store(const struct strv *files) {
    X509_STORE *store = X509_STORE_new();

    for (size_t i = 0; store && i < files->n; i++)
        if (X509_STORE_load_file(store, files->v[i]) != 1)
            log_kv(LOG_LVL_WARN, "a file of authorities cannot be read", "file", files->v[i], NULL);
    /* As with the reference, whatever is in the files is trusted by itself, intermediate certificates too. */
    if (store)
        X509_STORE_set_flags(store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
    return store;
}

/* Drop what is too much, oldest first. Lock held. */
static void forget_old(struct registry *r) {
    struct authorities **a = &r->authorities;

    for (size_t n = 0; *a; n++) {
        if (n < STORES_KEPT) {
            a = &(*a)->next;
        } else {
            struct authorities *old = *a;

            *a = old->next;
            authorities_free(old);
        }
    }
}

int authorities_get(struct registry *r, const char *host, X509_STORE **ret, struct err *e) {
    const char *bundle = getenv("SSL_CERT_FILE");
    _cleanup_strv_ struct strv files = STRV_INIT;
    _cleanup_free_ char *state = NULL;
    struct authorities *a;
    int k = strv_add(&files, bundle && *bundle ? bundle : CA_BUNDLE) < 0 ? err_oom(e) : 0;

    if (k == 0)
        k = certificate_files(host, ".crt", &files, e);
    if (k < 0)
        return k;
    state = state_of(&files);
    if (!state)
        return err_oom(e);
    pthread_mutex_lock(&r->lock);
    for (a = r->authorities; a && !streq(a->state, state);)
        a = a->next;
    if (!a && (a = calloc(1, sizeof(*a)))) {
        a->state = TAKE_PTR(state);
        a->store = read_store(&files);
        a->next = r->authorities;
        r->authorities = a;
        forget_old(r);
    }
    *ret = a ? a->store : NULL;
    if (*ret && X509_STORE_up_ref(*ret) != 1)
        *ret = NULL;
    pthread_mutex_unlock(&r->lock);
    return *ret ? 0 : err_oom(e);
}

int client_certificate(const char *host, char **ret_cert, char **ret_key, struct err *e) {
    _cleanup_strv_ struct strv files = STRV_INIT;
    int k = certificate_files(host, ".cert", &files, e);

    for (size_t i = 0; k == 0 && i < files.n; i++) {
        _cleanup_free_ char *key = str_printf("%.*s.key", (int)(strlen(files.v[i]) - strlen(".cert")), files.v[i]);
        struct stat st;

        if (!key || stat(key, &st) < 0)
            continue;
        *ret_cert = strdup(files.v[i]);
        *ret_key = TAKE_PTR(key);
        return *ret_cert ? 0 : err_oom(e);
    }
    return k;
}

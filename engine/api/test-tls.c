// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/test-server.h"
#include "base/test.h"

struct pki {
    char dir[64], cert[96], key[96];
};

/* A certificate that is its own authority: good for the server, and for a client that must show one. */
static bool make_pki(struct pki *p) {
    EVP_PKEY *k = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_NAME *n = X509_get_subject_name(x);
    X509_EXTENSION *ca = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "CA:TRUE");
    FILE *f;
    bool ok;

    snprintf(p->dir, sizeof(p->dir), "/tmp/hatake-tls-XXXXXX");
    if (!mkdtemp(p->dir))
        return false;
    snprintf(p->cert, sizeof(p->cert), "%s/cert.pem", p->dir);
    snprintf(p->key, sizeof(p->key), "%s/key.pem", p->dir);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_set_version(x, 2);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, n);
    X509_set_pubkey(x, k);
    X509_add_ext(x, ca, -1);
    ok = X509_sign(x, k, EVP_sha256()) > 0;
    f = fopen(p->cert, "we");
    ok = ok && f && PEM_write_X509(f, x) == 1;
    if (f)
        fclose(f);
    f = fopen(p->key, "we");
    ok = ok && f && PEM_write_PrivateKey(f, k, NULL, NULL, 0, NULL, NULL) == 1;
    if (f)
        fclose(f);
    X509_EXTENSION_free(ca);
    X509_free(x);
    EVP_PKEY_free(k);
    return ok;
}

static void drop_pki(struct pki *p) {
    unlink(p->cert);
    unlink(p->key);
    rmdir(p->dir);
}

static int free_port(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (bind(fd, (struct sockaddr *)&a, n) < 0 || getsockname(fd, (struct sockaddr *)&a, &n) < 0)
        test_fail(__FILE__, __LINE__, "no port");
    close(fd);
    return ntohs(a.sin_port);
}

static int dial(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    struct timeval tv = {.tv_sec = TEST_PATIENCE_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        test_fail(__FILE__, __LINE__, "no connection");
    return fd;
}

static size_t read_tls(SSL *s, char *out, size_t max, const char *until) {
    size_t n = 0;

    out[0] = '\0';
    while (n < max - 1 && !(until && strstr(out, until))) {
        int k = SSL_read(s, out + n, (int)(max - 1 - n));

        if (k <= 0)
            break;
        n += (size_t)k;
        out[n] = '\0';
    }
    return n;
}

static void check_tls(int port, SSL_CTX *ctx, bool want_ok) {
    static const char ping[] = "GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n";
    static const char attach[] = "POST /containers/x/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly";
    char out[8192], block[1000];
    SSL *s = SSL_new(ctx);
    size_t total = 0;
    int fd = dial(port), r;

    SSL_set_fd(s, fd);
    r = SSL_connect(s);
    if (r == 1 && SSL_write(s, ping, (int)strlen(ping)) <= 0)
        r = 0;
    read_tls(s, out, sizeof(out), "OK");
    if (!want_ok) {
        CHECK(!strstr(out, "200 OK"));
    } else {
        CHECK_INT(r, 1);
        CHECK(strstr(out, "HTTP/1.1 200 OK") != NULL);
        /* the same connection is hijacked; the client ends its side and still gets everything */
        SSL_write(s, attach, (int)strlen(attach));
        read_tls(s, out, sizeof(out), "early");
        CHECK(strstr(out, "HTTP/1.1 101 UPGRADED\r\n") && strstr(out, "\r\n\r\nearly"));
        memset(block, 'b', sizeof(block));
        for (int i = 0; i < 50; i++)
            SSL_write(s, block, sizeof(block));
        SSL_shutdown(s);
        while ((r = SSL_read(s, out, sizeof(out) - 1)) > 0) {
            total += (size_t)r;
            out[r] = '\0';
        }
        CHECK_INT(total, 50005);
        CHECK(strstr(out, "[end]") != NULL);
        CHECK_INT(SSL_get_error(s, r), SSL_ERROR_ZERO_RETURN);
    }
    SSL_free(s);
    close(fd);
}

TEST(tls_front) {
    struct test_server *t = test_server_start();
    struct pki p;
    struct err e = ERR_INIT;
    SSL_CTX *anonymous = SSL_CTX_new(TLS_client_method()), *known = SSL_CTX_new(TLS_client_method());
    int open_port = free_port(), closed_port, fd;
    char address[32], out[256] = "";
    struct server_tls tls;

    REQUIRE(make_pki(&p));
    SSL_CTX_use_certificate_file(known, p.cert, SSL_FILETYPE_PEM);
    SSL_CTX_use_PrivateKey_file(known, p.key, SSL_FILETYPE_PEM);
    tls = (struct server_tls){.ca = p.cert, .cert = p.cert, .key = p.key};
    snprintf(address, sizeof(address), "127.0.0.1:%d", open_port);
    CHECK_INT(server_listen_tcp(test_server_server(t), address, &tls, &e), 0);
    closed_port = free_port();
    snprintf(address, sizeof(address), "127.0.0.1:%d", closed_port);
    tls.verify = true;
    CHECK_INT(server_listen_tcp(test_server_server(t), address, &tls, &e), 0);
    check_tls(open_port, anonymous, true);
    check_tls(closed_port, anonymous, false);
    check_tls(closed_port, known, true);
    fd = dial(open_port);
    CHECK(write(fd, "GET / HTTP/1.1\r\n\r\n", 18) == 18);
    CHECK(read(fd, out, sizeof(out) - 1) > 0);
    CHECK(strstr(out, "Client sent an HTTP request to an HTTPS server.") != NULL);
    close(fd);
    tls.cert = "/nonexistent.pem";
    CHECK(server_listen_tcp(test_server_server(t), "127.0.0.1:0", &tls, &e) < 0);
    CHECK(strstr(err_msg(&e), "/nonexistent.pem") != NULL);
    err_done(&e);
    /* one client stays connected while the server stops */
    fd = dial(open_port);
    test_server_stop(t);
    close(fd);
    SSL_CTX_free(anonymous);
    SSL_CTX_free(known);
    drop_pki(&p);
}

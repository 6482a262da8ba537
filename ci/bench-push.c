// SPDX-License-Identifier: Apache-2.0
/*
 * bench-push: what a registry takes for blobs, whoever sends them. The least a client can do: two requests for each blob, the first to be told where it goes, the
 * second with all of it; several at a time, on connections that are kept; nothing is asked, hashed, compressed or reported.
 *
 *   bench-push NETNS RESOLVE CA USER:PASSWORD URL AT_ONCE FILE...
 *
 * NETNS: path of the network namespace to send from. RESOLVE: HOST:PORT:ADDRESS. URL: https://HOST:PORT/v2/REPOSITORY. Files are named as their digests, without
 * "sha256:". Prints the seconds that it took. Exit 1 with a message when anything fails.
 */
#define _GNU_SOURCE
#include <curl/curl.h>
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE_MAX 16
#define PIECE (256L << 10)

static struct {
    const char *ca, *user, *url;
    struct curl_slist *resolve;
    char **files;
    int n, next;
} job;

struct blob {
    const char *p;
    size_t n, at;
};

struct place {
    char url[2048];
};

static double now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t give(char *to, size_t size, size_t count, void *arg) {
    struct blob *b = arg;
    size_t k = size * count < b->n - b->at ? size * count : b->n - b->at;

    memcpy(to, b->p + b->at, k);
    b->at += k;
    return k;
}

static size_t on_header(char *line, size_t size, size_t count, void *arg) {
    struct place *to = arg;
    size_t n = size * count;

    if (n > 10 && strncasecmp(line, "Location: ", 10) == 0)
        snprintf(to->url, sizeof(to->url), "%.*s", (int)strcspn(line + 10, "\r\n"), line + 10);
    return n;
}

static size_t drop(char *p, size_t size, size_t count, void *arg) {
    (void)p;
    (void)arg;
    return size * count;
}

static void request(CURL *h, const char *url, struct place *to, struct blob *body, struct curl_slist *headers, long want) {
    long status = 0;
    CURLcode code;

    curl_easy_reset(h); /* connections stay */
    curl_easy_setopt(h, CURLOPT_URL, url);
    curl_easy_setopt(h, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(h, CURLOPT_CAINFO, job.ca);
    curl_easy_setopt(h, CURLOPT_USERPWD, job.user);
    curl_easy_setopt(h, CURLOPT_RESOLVE, job.resolve);
    curl_easy_setopt(h, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, drop);
    curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(h, CURLOPT_HEADERDATA, to);
    if (body) {
        curl_easy_setopt(h, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(h, CURLOPT_UPLOAD_BUFFERSIZE, PIECE);
        curl_easy_setopt(h, CURLOPT_INFILESIZE_LARGE, (curl_off_t)body->n);
        curl_easy_setopt(h, CURLOPT_READFUNCTION, give);
        curl_easy_setopt(h, CURLOPT_READDATA, body);
    } else {
        curl_easy_setopt(h, CURLOPT_POST, 1L);
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, 0L);
    }
    code = curl_easy_perform(h);
    curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK || status != want)
        errx(1, "%s: %s, status %ld", url, curl_easy_strerror(code), status);
}

static struct blob map(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    struct blob b = {0};

    if (fd < 0 || fstat(fd, &st) < 0)
        err(1, "%s", path);
    b.n = (size_t)st.st_size;
    b.p = mmap(NULL, b.n, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (b.p == MAP_FAILED)
        err(1, "%s", path);
    close(fd);
    return b;
}

static void *work(void *arg) {
    struct curl_slist *headers = curl_slist_append(curl_slist_append(NULL, "Expect:"), "Content-Type: application/octet-stream");
    CURL *h = curl_easy_init();
    char url[4096];

    (void)arg;
    for (int i; (i = __atomic_fetch_add(&job.next, 1, __ATOMIC_RELAXED)) < job.n;) {
        struct blob b = map(job.files[i]);
        const char *name = strrchr(job.files[i], '/');
        struct place to = {""};

        snprintf(url, sizeof(url), "%s/blobs/uploads/", job.url);
        request(h, url, &to, NULL, headers, 202);
        snprintf(url, sizeof(url), "%s%cdigest=sha256:%s", to.url, strchr(to.url, '?') ? '&' : '?', name ? name + 1 : job.files[i]);
        request(h, url, &to, &b, headers, 201);
        munmap((void *)(size_t)b.p, b.n);
    }
    curl_easy_cleanup(h);
    curl_slist_free_all(headers);
    return NULL;
}

int main(int argc, char **argv) {
    int n = argc > 7 ? atoi(argv[6]) : 0, fd;
    pthread_t threads[AT_ONCE_MAX];
    double start;

    if (n < 1 || n > AT_ONCE_MAX)
        errx(2, "usage: bench-push NETNS RESOLVE CA USER:PASSWORD URL AT_ONCE FILE...");
    fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
        err(1, "%s", argv[1]);
    close(fd);
    job.resolve = curl_slist_append(NULL, argv[2]);
    job.ca = argv[3];
    job.user = argv[4];
    job.url = argv[5];
    job.files = argv + 7;
    job.n = argc - 7;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    start = now();
    for (int i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, work, NULL) != 0)
            errx(1, "no room for a thread");
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    printf("%.9f\n", now() - start);
    return 0;
}

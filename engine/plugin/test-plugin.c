// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/test.h"
#include "plugin/client.h"

/* A plugin that answers one request for each string, in order, and closes. */
struct fake {
    int listener;
    const char *const *answers;
    char asked[8][2048];
    pthread_t thread;
};

static void *fake_run(void *arg) {
    struct fake *f = arg;

    for (size_t i = 0; f->answers[i]; i++) {
        char text[2048] = "";
        size_t n = 0;
        int c = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);

        while (c >= 0 && n < sizeof(text) - 1) {
            const char *body = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "content-length:");
            ssize_t k;

            if (body && strlen(body + 4) >= (length ? strtoul(length + 15, NULL, 10) : 0))
                break;
            k = read(c, text + n, sizeof(text) - 1 - n);
            if (k <= 0)
                break;
            n += (size_t)k;
        }
        snprintf(f->asked[i], sizeof(f->asked[i]), "%s", text);
        ignore_result(full_write(c, f->answers[i], strlen(f->answers[i])) < 0);
        close_fd(c);
    }
    return NULL;
}

static bool fake_start(struct fake *f, const char *path, const char *const *answers) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    *f = (struct fake){.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), .answers = answers};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    return f->listener >= 0 && bind(f->listener, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(f->listener, 8) == 0 &&
           pthread_create(&f->thread, NULL, fake_run, f) == 0;
}

static void fake_end(struct fake *f) {
    pthread_join(f->thread, NULL);
    close_fd(f->listener);
}

#define OK "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
#define BAD "HTTP/1.1 500 X\r\nConnection: close\r\n\r\n"

TEST(plugin_calls) {
    static const char *const answers[] = {OK "{\"Implements\":[\"VolumeDriver\"]}",
                                          OK "{\"Mountpoint\":\"/m\",\"Err\":\"\"}",
                                          OK "{\"Err\":\"says no\"}",
                                          BAD "plain\n",
                                          BAD "{\"Err\":\"why\"}",
                                          OK "garbage",
                                          OK,
                                          NULL};
    _cleanup_err_ struct err e = ERR_INIT;
    char root[] = "/tmp/test-plugin-XXXXXX", path[64];
    const char *const specs[] = {root, NULL};
    struct plugins *ps = NULL;
    struct plugin *p = NULL;
    json_t *body, *reply = NULL;
    struct fake f;

    REQUIRE(mkdtemp(root) != NULL);
    snprintf(path, sizeof(path), "%s/tp.sock", root);
    REQUIRE(fake_start(&f, path, answers));
    REQUIRE(plugins_new(&(struct plugins_config){.sockets = root, .specs = specs, .patience = 1}, &ps, &e) == 0);
    REQUIRE(plugins_get(ps, "tp", "VolumeDriver", false, &p, &e) == 0);
    CHECK(str_has_prefix(f.asked[0], "POST /Plugin.Activate HTTP/1.1\r\n"));
    body = json_pack("{s:s}", "Name", "v");
    CHECK_INT(plugin_call(p, "VolumeDriver.Mount", body, 5, false, &reply, &e), 0);
    CHECK(strstr(f.asked[1], "\r\nAccept: application/vnd.docker.plugins.v1.2+json\r\n") != NULL);
    CHECK(strstr(f.asked[1], "\r\n\r\n{\"Name\":\"v\"}\n") != NULL);
    CHECK_STR(json_string_value(json_object_get(reply, "Mountpoint")), "/m");
    json_decref(reply);
    CHECK(plugin_call(p, "VolumeDriver.Get", body, 5, false, NULL, &e) < 0);
    CHECK_STR(err_msg(&e), "says no");
    CHECK(plugin_call(p, "VolumeDriver.Get", body, 5, false, NULL, &e) < 0);
    CHECK_STR(err_msg(&e), "VolumeDriver.Get: plain\n");
    CHECK(plugin_call(p, "VolumeDriver.Get", body, 5, false, NULL, &e) < 0);
    CHECK_STR(err_msg(&e), "VolumeDriver.Get: why");
    CHECK(plugin_call(p, "VolumeDriver.Get", body, 5, false, NULL, &e) < 0);
    CHECK_STR(err_msg(&e), "invalid character 'g' looking for beginning of value");
    CHECK(plugin_call(p, "VolumeDriver.Get", body, 5, false, NULL, &e) < 0);
    CHECK_STR(err_msg(&e), "EOF");
    fake_end(&f);
    CHECK_INT(plugin_call(p, "VolumeDriver.Get", body, 5, true, NULL, &e), -ERR_UNAVAILABLE);
    CHECK(strstr(err_msg(&e), "connect: connection refused") != NULL);
    json_decref(body);
    plugins_free(ps);
    fs_remove_tree(root, NULL);
}

/* One that takes the call and never answers: the kernel takes it, nobody reads. */
TEST(plugin_silence) {
    _cleanup_err_ struct err e = ERR_INIT;
    char root[] = "/tmp/test-plugin-XXXXXX", path[64];
    static const char *const answers[] = {OK "{\"Implements\":[\"VolumeDriver\"]}", NULL};
    struct plugins *ps = NULL;
    struct plugin *p = NULL;
    struct fake f;

    REQUIRE(mkdtemp(root) != NULL);
    snprintf(path, sizeof(path), "%s/mute.sock", root);
    REQUIRE(fake_start(&f, path, answers));
    REQUIRE(plugins_new(&(struct plugins_config){.sockets = root, .patience = 1}, &ps, &e) == 0);
    REQUIRE(plugins_get(ps, "mute", "VolumeDriver", true, &p, &e) == 0);
    CHECK_INT(plugin_call(p, "VolumeDriver.List", NULL, 1, true, NULL, &e), -ERR_DEADLINE);
    CHECK_STR(err_msg(&e), "Post \"http://plugin.moby.localhost/VolumeDriver.List\": context deadline exceeded");
    fake_end(&f);
    plugins_free(ps);
    fs_remove_tree(root, NULL);
}

TEST(plugin_discovery) {
    static const char *const answers[] = {OK "{\"Implements\":[\"NetworkDriver\"]}", OK "{\"Implements\":[\"VolumeDriver\"]}", NULL};
    _cleanup_err_ struct err e = ERR_INIT;
    char root[] = "/tmp/test-plugin-XXXXXX", path[64], text[128];
    const char *const specs[] = {root, NULL};
    struct plugins *ps = NULL;
    struct plugin *p = NULL;
    struct fake f;

    REQUIRE(mkdtemp(root) != NULL);
    snprintf(path, sizeof(path), "%s/s", root);
    REQUIRE(fake_start(&f, path, answers));
    REQUIRE(plugins_new(&(struct plugins_config){.sockets = "/nonexistent", .specs = specs, .patience = 1}, &ps, &e) == 0);
    CHECK_INT(plugins_get(ps, "one", "VolumeDriver", false, &p, &e), -ERR_NOT_FOUND);
    CHECK_STR(err_msg(&e), "plugin \"one\" not found");
    CHECK_INT(plugins_get(ps, "../one", "VolumeDriver", false, &p, &e), -ERR_NOT_FOUND);
    snprintf(text, sizeof(text), "unix://%s\n", path);
    snprintf(path, sizeof(path), "%s/one.spec", root);
    REQUIRE(fs_replace_file_volatile(path, text, strlen(text), 0644, &e) == 0);
    CHECK_INT(plugins_get(ps, "one", "VolumeDriver", false, &p, &e), -ERR_INTERNAL);
    CHECK_STR(err_msg(&e),
              "legacy plugin: Plugin does not implement the requested driver: plugin=\"one\", requested implementation=\"VolumeDriver\"");
    snprintf(path, sizeof(path), "%s/two", root);
    REQUIRE(fs_mkdir_p(path, 0755, &e) == 0);
    snprintf(path, sizeof(path), "%s/two/two.json", root);
    snprintf(text, sizeof(text), "{\"Name\":\"two\",\"Addr\":\"unix://%s/s\"}", root);
    REQUIRE(fs_replace_file_volatile(path, text, strlen(text), 0644, &e) == 0);
    CHECK_INT(plugins_get(ps, "two", "VolumeDriver", false, &p, &e), 0);
    fake_end(&f);
    snprintf(path, sizeof(path), "%s/three.spec", root);
    REQUIRE(fs_replace_file_volatile(path, "nonsense", 8, 0644, &e) == 0);
    CHECK(plugins_get(ps, "three", "VolumeDriver", false, &p, &e) < 0);
    CHECK_STR(err_msg(&e), "legacy plugin: Unknown protocol");
    plugins_free(ps);
    fs_remove_tree(root, NULL);
}

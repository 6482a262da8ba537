// SPDX-License-Identifier: Apache-2.0
#include "base/cleanup.h"
#include "base/str.h"
#include "base/test.h"
#include "cli/cli.h"
#include "cli/http.h"
#include "cli/opts.h"
#include "cli/parse.h"

static void port_check(const char *text, const char *want_exposed, const char *want_bindings) {
    json_t *exposed = json_object(), *bindings = json_object();
    _cleanup_err_ struct err e = ERR_INIT;

    if (parse_port(text, exposed, bindings, &e) < 0) {
        CHECK_STR(text, want_exposed ? "no error" : text);
        CHECK(strstr(err_msg(&e), text));
    } else {
        _cleanup_free_ char *a = json_dumps(exposed, JSON_COMPACT | JSON_SORT_KEYS), *b = json_dumps(bindings, JSON_COMPACT | JSON_SORT_KEYS);

        CHECK_STR(a, want_exposed);
        CHECK_STR(b, want_bindings);
    }
    json_decref(exposed);
    json_decref(bindings);
}

TEST(ports) {
    port_check("80", "{\"80/tcp\":{}}", "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"\"}]}");
    port_check("8080:80", "{\"80/tcp\":{}}", "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"}]}");
    port_check("53:53/udp", "{\"53/udp\":{}}", "{\"53/udp\":[{\"HostIp\":\"\",\"HostPort\":\"53\"}]}");
    port_check("127.0.0.1:8080:80", "{\"80/tcp\":{}}", "{\"80/tcp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"8080\"}]}");
    port_check("127.0.0.1::80", "{\"80/tcp\":{}}", "{\"80/tcp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"\"}]}");
    port_check("[::1]:8080:80", "{\"80/tcp\":{}}", "{\"80/tcp\":[{\"HostIp\":\"::1\",\"HostPort\":\"8080\"}]}");
    port_check("8000-8001:80-81", "{\"80/tcp\":{},\"81/tcp\":{}}",
               "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8000\"}],\"81/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8001\"}]}");
    port_check("8000-8010:80", "{\"80/tcp\":{}}", "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8000-8010\"}]}");
}

TEST(ports_that_are_none) {
    static const char *const bad[] = {"",        ":",     "x",         "0",         "65536",           "80/",
                                      "80/icmp", "9:8-7", "1:2:3:4:5", "::1:80:80", "8000-8001:80-82", "99999999999999999999:80"};

    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        port_check(bad[i], NULL, NULL);
}

TEST(two_bindings_of_one_port) {
    json_t *exposed = json_object(), *bindings = json_object();

    CHECK_INT(parse_port("1:80", exposed, bindings, NULL), 0);
    CHECK_INT(parse_port("2:80", exposed, bindings, NULL), 0);
    CHECK_INT(json_array_size(json_object_get(bindings, "80/tcp")), 2);
    json_decref(exposed);
    json_decref(bindings);
}

TEST(volumes) {
    json_t *binds = json_array(), *volumes = json_object();
    _cleanup_err_ struct err e = ERR_INIT;

    CHECK_INT(parse_volume("/data", binds, volumes, NULL), 0);
    CHECK_INT(parse_volume("/a:/b:ro", binds, volumes, NULL), 0);
    CHECK_INT(parse_volume("name:/c", binds, volumes, NULL), 0);
    CHECK_INT(parse_volume(".:/here", binds, volumes, NULL), 0);
    CHECK(json_object_get(volumes, "/data"));
    CHECK_STR(json_string_value(json_array_get(binds, 0)), "/a:/b:ro");
    CHECK_STR(json_string_value(json_array_get(binds, 1)), "name:/c");
    CHECK(*json_string_value(json_array_get(binds, 2)) == '/' && str_has_suffix(json_string_value(json_array_get(binds, 2)), ":/here"));
    CHECK(parse_volume("relative", binds, volumes, &e) < 0);
    CHECK(parse_volume("", binds, volumes, NULL) < 0);
    CHECK(parse_volume(":/x", binds, volumes, NULL) < 0);
    CHECK(parse_volume("./no-such-folder-here:/x", binds, volumes, &e) < 0);
    json_decref(binds);
    json_decref(volumes);
}

TEST(environment) {
    _cleanup_strv_ struct strv env = STRV_INIT;

    setenv("HATAKE_TEST_SET", "from here", 1);
    unsetenv("HATAKE_TEST_UNSET");
    CHECK_INT(parse_env("A=b=c", &env, NULL), 0);
    CHECK_INT(parse_env("E=", &env, NULL), 0);
    CHECK_INT(parse_env("HATAKE_TEST_SET", &env, NULL), 0);
    CHECK_INT(parse_env("HATAKE_TEST_UNSET", &env, NULL), 0);
    CHECK(parse_env("", &env, NULL) < 0);
    CHECK(parse_env("=x", &env, NULL) < 0);
    REQUIRE(env.n == 3);
    CHECK_STR(env.v[0], "A=b=c");
    CHECK_STR(env.v[1], "E=");
    CHECK_STR(env.v[2], "HATAKE_TEST_SET=from here");
}

TEST(environment_file) {
    _cleanup_strv_ struct strv env = STRV_INIT;
    _cleanup_err_ struct err e = ERR_INIT;
    char path[] = "/tmp/hatake-cli-test-XXXXXX";
    static const char text[] = "# comment\n\n  A=1\r\nB=2 \n";
    int fd = mkstemp(path);

    REQUIRE(fd >= 0 && write(fd, text, sizeof text - 1) == (ssize_t)sizeof text - 1);
    close(fd);
    CHECK_INT(parse_env_file(path, &env, NULL), 0);
    unlink(path);
    CHECK(parse_env_file(path, &env, &e) < 0);
    REQUIRE(env.n == 2);
    CHECK_STR(env.v[0], "A=1");
    CHECK_STR(env.v[1], "B=2 ");
}

TEST(sizes) {
    static const struct {
        const char *text;
        int64_t want;
    } good[] = {{"0", 0},          {"512", 512},      {"512b", 512},           {"1k", 1024}, {"1KB", 1024}, {"1KiB", 1024},
                {"64m", 64 << 20}, {"1.5g", 3 << 29}, {"2T", INT64_C(2) << 40}};
    static const char *const bad[] = {"", "m", "-1", "1x", "1mm", " 1", "9999999t"};
    int64_t n;

    for (size_t i = 0; i < ELEMENTSOF(good); i++) {
        n = -1;
        CHECK_INT(parse_bytes(good[i].text, "--memory", &n, NULL), 0);
        CHECK_INT(n, good[i].want);
    }
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        CHECK(parse_bytes(bad[i], "--memory", &n, NULL) < 0);
    CHECK_INT(parse_cpus("1.5", &n, NULL), 0);
    CHECK_INT(n, 1500000000);
    CHECK_INT(parse_cpus(".1", &n, NULL), 0);
    CHECK_INT(n, 100000000);
    CHECK(parse_cpus("x", &n, NULL) < 0 && parse_cpus("1x", &n, NULL) < 0 && parse_cpus("-1", &n, NULL) < 0);
}

TEST(restart_policies) {
    json_t *j = NULL;

    CHECK_INT(parse_restart("on-failure:3", &j, NULL), 0);
    CHECK_STR(json_text(j, "Name"), "on-failure");
    CHECK_INT(json_number(j, "MaximumRetryCount"), 3);
    json_decref(j);
    CHECK_INT(parse_restart("always", &j, NULL), 0);
    json_decref(j);
    CHECK(parse_restart("always:3", &j, NULL) < 0);
    CHECK(parse_restart("sometimes", &j, NULL) < 0);
    CHECK(parse_restart("on-failure:x", &j, NULL) < 0);
}

TEST(times) {
    _cleanup_free_ char *a = NULL, *b = NULL, *c = NULL, *d = NULL;
    int64_t now = INT64_C(1700000000) * 1000000000;
    char *x = NULL;

    CHECK_INT(parse_when("10m", now, &a, NULL), 0);
    CHECK_STR(a, "1699999400.000000000");
    CHECK_INT(parse_when("1h0m1.5s", now, &b, NULL), 0);
    CHECK_STR(b, "1699996398.000000000");
    CHECK_INT(parse_when("1234", now, &c, NULL), 0);
    CHECK_STR(c, "1234.000000000");
    CHECK_INT(parse_when("1970-01-01T00:00:10Z", now, &d, NULL), 0);
    CHECK_STR(d, "10.000000000");
    CHECK(parse_when("soon", now, &x, NULL) < 0);
    CHECK(parse_when("5x", now, &x, NULL) < 0);
    CHECK(parse_when("Tuesday", now, &x, NULL) < 0);
}

TEST(keys) {
    char k[16];

    CHECK_INT(parse_keys("ctrl-p,ctrl-q", k, sizeof k, NULL), 2);
    CHECK(k[0] == 16 && k[1] == 17);
    CHECK_INT(parse_keys("a,ctrl-[", k, sizeof k, NULL), 2);
    CHECK(k[0] == 'a' && k[1] == 27);
    CHECK_INT(parse_keys("", k, sizeof k, NULL), 0);
    CHECK(parse_keys("shift-x", k, sizeof k, NULL) < 0);
    CHECK(parse_keys("a,b", k, 1, NULL) < 0);
}

TEST(addresses) {
    struct http_address a;

    CHECK_INT(http_parse_address("unix:///run/x.sock", &a, NULL), 0);
    CHECK(a.is_unix);
    CHECK_STR(a.path, "/run/x.sock");
    CHECK_INT(http_parse_address("/run/x.sock", &a, NULL), 0);
    CHECK(a.is_unix);
    CHECK_INT(http_parse_address("tcp://127.0.0.1:99/", &a, NULL), 0);
    CHECK_STR(a.name, "127.0.0.1");
    CHECK_STR(a.port, "99");
    CHECK_INT(http_parse_address("tcp://[::1]", &a, NULL), 0);
    CHECK_STR(a.name, "::1");
    CHECK_STR(a.port, "2375");
    CHECK(http_parse_address("ssh://x", &a, NULL) < 0);
    CHECK(http_parse_address("unix://relative", &a, NULL) < 0);
    CHECK(http_parse_address("tcp://x:0", &a, NULL) < 0);
    CHECK(http_parse_address("tcp://", &a, NULL) < 0);
    CHECK(http_parse_address("tcp://[::1", &a, NULL) < 0);
}

/* ---- options ---- */

static struct {
    bool a, b;
    const char *text;
    struct strv list, words;
    bool help;
} got;

static int parse(const char *line, bool first_word_ends, struct err *e) {
    const struct opt table[] = {{"all", 'a', OPT_FLAG, &got.a, NULL, ""},
                                {"bee", 'b', OPT_FLAG, &got.b, NULL, ""},
                                {"text", 't', OPT_TEXT, &got.text, "T", ""},
                                {"list", 'l', OPT_LIST, &got.list, "L", ""}};
    static struct strv argv;
    int r;

    strv_done(&argv);
    strv_done(&got.list);
    strv_done(&got.words);
    memset(&got, 0, sizeof got);
    if (strv_split(&argv, line, ' ') < 0)
        return -1;
    r = opts_parse(table, ELEMENTSOF(table), (int)argv.n, argv.v, first_word_ends, &got.words, &got.help, e);
    return r;
}

TEST(options) {
    CHECK_INT(parse("x -ab --text one -l 1 -l2 -l=3 --list=4 word -- -a", false, NULL), 0);
    CHECK(got.a && got.b);
    CHECK_STR(got.text, "one");
    CHECK_INT(got.list.n, 4);
    CHECK_STR(got.list.v[2], "3");
    CHECK_INT(got.words.n, 2);
    CHECK_STR(got.words.v[1], "-a");
    CHECK_INT(parse("x -a image -b --nonsense", true, NULL), 0);
    CHECK(got.a && !got.b);
    CHECK_INT(got.words.n, 3);
    CHECK_INT(parse("x --all=false -bt last -", false, NULL), 0);
    CHECK(!got.a && got.b);
    CHECK_STR(got.text, "last");
    CHECK_STR(got.words.v[0], "-");
    CHECK_INT(parse("x --help --nonsense", false, NULL), 0);
    CHECK(got.help);
    CHECK(parse("x --nonsense", false, NULL) < 0);
    CHECK(parse("x -z", false, NULL) < 0);
    CHECK(parse("x --text", false, NULL) < 0);
    CHECK(parse("x --all=maybe", false, NULL) < 0);
    CHECK_INT(parse("x", false, NULL), 0);
    strv_done(&got.list);
}

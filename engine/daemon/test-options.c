// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "base/test.h"
#include "daemon/options.h"

#define ARGV(...) ((char *[]){(char *)"hataked", __VA_ARGS__, NULL})
#define PARSE(o, e, ...) options_parse_argv(o, (int)(sizeof(ARGV(__VA_ARGS__)) / sizeof(char *)) - 1, ARGV(__VA_ARGS__), e)

static void check_refused(const char *message, char *a, char *b) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct options o;

    CHECK_INT(options_init(&o, &e), 0);
    CHECK_INT(options_parse_argv(&o, b ? 3 : 2, (char *[]){(char *)"hataked", a, b, NULL}, &e), -ERR_INVALID);
    CHECK_STR(err_msg(&e), message);
    options_done(&o);
}

/* Messages as the reference prints them (recorded from 26.1.5). */
TEST(bad_flags_are_refused_in_the_reference_words) {
    check_refused("unknown flag: --nope", (char *)"--nope", NULL);
    check_refused("unknown shorthand flag: 'Z' in -Z", (char *)"-DZ", NULL);
    check_refused("flag needs an argument: --mtu", (char *)"--mtu", NULL);
    check_refused("flag needs an argument: 'H' in -H", (char *)"-H", NULL);
    check_refused("invalid argument \"abc\" for \"--mtu\" flag: strconv.ParseInt: parsing \"abc\": invalid syntax", (char *)"--mtu", (char *)"abc");
    check_refused("invalid argument \"x\" for \"--default-ulimit\" flag: invalid ulimit argument: x", (char *)"--default-ulimit", (char *)"x");
    check_refused(
        "invalid argument \"nofile=10:5\" for \"--default-ulimit\" flag: ulimit soft limit must be less than or equal to hard limit: 10 > 5",
        (char *)"--default-ulimit", (char *)"nofile=10:5");
    check_refused("invalid argument \"foo=1\" for \"--default-ulimit\" flag: invalid ulimit type: foo", (char *)"--default-ulimit=foo=1", NULL);
    check_refused("invalid argument \"foo\" for \"--dns\" flag: invalid string being converted to IP address: foo", (char *)"--dns", (char *)"foo");
    check_refused("invalid argument \"foo bar\" for \"--dns-search\" flag: foo bar is not a valid domain", (char *)"--dns-search", (char *)"foo bar");
    check_refused("invalid argument \"foo\" for \"--label\" flag: bad attribute format: foo", (char *)"--label", (char *)"foo");
    check_refused("invalid argument \"foo\" for \"--add-runtime\" flag: invalid runtime argument: foo", (char *)"--add-runtime", (char *)"foo");
    check_refused("invalid argument \"runc=/x\" for \"--add-runtime\" flag: runtime name 'runc' is reserved", (char *)"--add-runtime",
                  (char *)"runc=/x");
    check_refused("invalid argument \"foo://x\" for \"-H, --host\" flag: invalid bind address (foo://x): unsupported proto 'foo'", (char *)"--host",
                  (char *)"foo://x");
    check_refused("invalid argument \"tcp://1.2.3.4:x\" for \"-H, --host\" flag: invalid bind address (tcp://1.2.3.4:x): parse \"tcp://1.2.3.4:x\": "
                  "invalid port "
                  "\":x\" after host",
                  (char *)"-H", (char *)"tcp://1.2.3.4:x");
    check_refused("invalid argument \"64x\" for \"--default-shm-size\" flag: invalid size: '64x'", (char *)"--default-shm-size", (char *)"64x");
    check_refused("invalid argument \"foo\" for \"--registry-mirror\" flag: invalid mirror: unsupported scheme \"\" in \"foo\"",
                  (char *)"--registry-mirror", (char *)"foo");
    check_refused("invalid argument \"foo\" for \"--ip\" flag: failed to parse IP: \"foo\"", (char *)"--ip", (char *)"foo");
    check_refused("invalid argument \"foo\" for \"--icc\" flag: strconv.ParseBool: parsing \"foo\": invalid syntax", (char *)"--icc=foo", NULL);
    check_refused("invalid argument \"foo\" for \"--default-network-opt\" flag: invalid value \"foo\" for map option, should be root-key=key=value",
                  (char *)"--default-network-opt", (char *)"foo");
    check_refused("\"hataked\" accepts no argument(s).", (char *)"extra", NULL);
}

TEST(flags_set_the_configuration) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct options o;

    CHECK_INT(options_init(&o, &e), 0);
    CHECK_INT(PARSE(&o, &e, (char *)"-DH", (char *)"unix:///a", (char *)"--host=tcp://0.0.0.0:1", (char *)"--icc=false",
                    (char *)"--default-shm-size=1.5m", (char *)"--dns", (char *)"1.1.1.1, ::1",
                    (char *)"--default-address-pool=base=10.0.0.0/8,size=24", (char *)"--default-ulimit=core=-1", (char *)"-lwarn",
                    (char *)"--max-concurrent-downloads=7"),
              0);
    CHECK(o.config.debug);
    CHECK(!o.config.icc);
    CHECK_INT(o.config.hosts.n, 2);
    CHECK_INT(o.config.default_shm_size, 1572864);
    CHECK_STR(o.config.dns.v[1], "::1");
    CHECK_STR(o.config.default_address_pools[0].base, "10.0.0.0/8");
    CHECK_INT(o.config.default_address_pools[0].size, 24);
    CHECK_INT(o.config.default_ulimits[0].hard, -1);
    CHECK_STR(o.config.log_level, "warn");
    CHECK_INT(o.config.max_concurrent_downloads, 7);
    CHECK_INT(options_validate(&o, &e), 0);
    options_done(&o);
}

static void check_file(const char *text, const char *flag, const char *message) {
    char path[] = "/tmp/hatake-options-XXXXXX";
    _cleanup_err_ struct err e = ERR_INIT;
    struct options o;
    char file_flag[64], want[512];
    int fd = mkstemp(path);

    CHECK(fd >= 0);
    CHECK_INT(full_write(fd, text, strlen(text)), 0);
    close(fd);
    snprintf(file_flag, sizeof(file_flag), "--config-file=%s", path);
    CHECK_INT(options_init(&o, &e), 0);
    CHECK_INT(options_parse_argv(&o, flag ? 3 : 2, (char *[]){(char *)"hataked", file_flag, (char *)flag, NULL}, &e), 0);
    if (message) {
        snprintf(want, sizeof(want), "unable to configure the Docker daemon with file %s: %s", path, message);
        CHECK_INT(options_load_file(&o, &e), -ERR_INVALID);
        CHECK_STR(err_msg(&e), want);
    } else {
        CHECK_INT(options_load_file(&o, &e), 0);
        CHECK_STR(err_msg(&e), "no error");
    }
    unlink(path);
    options_done(&o);
}

TEST(the_file_is_checked_in_the_reference_words) {
    check_file("", NULL, NULL);
    check_file("{\"debug\":true,\"bogus\":1}", NULL, "the following directives don't match any configuration option: bogus");
    check_file("{\"mtu\":", NULL, "unexpected end of JSON input");
    check_file("{\"mtu\":\"x\"}", NULL,
               "json: cannot unmarshal string into Go struct field Config.CommonConfig.BridgeConfig.DefaultBridgeConfig.mtu of type int");
    check_file("{\"labels\":\"x\"}", NULL, "json: cannot unmarshal string into Go struct field Config.CommonConfig.labels of type []string");
    check_file("[]", NULL, "json: cannot unmarshal array into Go value of type map[string]interface {}");
    check_file("{\"mtu\":1400}", "--mtu=1500",
               "the following directives are specified both as a flag and in the configuration file: mtu: (from flag: 1500, from file: 1400)");
    check_file("{\"hosts\":[\"unix:///x\"]}", "-Hunix:///y",
               "the following directives are specified both as a flag and in the configuration file: hosts: (from flag: [unix:///y], from file: "
               "[unix:///x])");
    check_file(
        "{\"log-opts\":{\"max-size\":\"1m\"},\"default-ulimits\":{\"nofile\":{\"Name\":\"nofile\",\"Hard\":10,\"Soft\":5}},\"features\":{\"a\":true},"
        "\"proxies\":{\"http-proxy\":\"http://p\"},\"runtimes\":{\"k\":{\"path\":\"/k\",\"runtimeArgs\":[\"-x\"]}},\"builder\":{\"gc\":{}}}",
        NULL, NULL);
}

TEST(validation_uses_the_reference_words) {
    static const char *const cases[][2] = {{"--log-level=foo", "invalid logging level: foo"},
                                           {"--log-format=foo", "invalid log format: foo"},
                                           {"--mtu=-1", "invalid default MTU: -1"},
                                           {"--max-concurrent-downloads=-1", "invalid max concurrent downloads: -1"},
                                           {"--default-ipc-mode=foo", "default IPC mode setting (foo) is invalid; use \"shareable\" or \"private\""}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        struct options o;

        CHECK_INT(options_init(&o, &e), 0);
        CHECK_INT(PARSE(&o, &e, (char *)cases[i][0]), 0);
        CHECK_INT(options_validate(&o, &e), -ERR_INVALID);
        CHECK_STR(err_msg(&e), cases[i][1]);
        options_done(&o);
    }
}

TEST(proxies_come_from_the_environment_when_nobody_sets_them) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct options o;

    setenv("HTTP_PROXY", "http://great:1", 1);
    setenv("http_proxy", "http://small:1", 1);
    setenv("https_proxy", "http://small:2", 1);
    setenv("NO_PROXY", "here", 1);
    CHECK_INT(options_init(&o, &e), 0);
    CHECK_INT(PARSE(&o, &e, (char *)"--no-proxy", (char *)"there"), 0);
    CHECK_INT(options_take_environment(&o, &e), 0);
    CHECK_STR(o.config.http_proxy, "http://great:1");
    CHECK_STR(o.config.https_proxy, "http://small:2");
    CHECK_STR(o.config.no_proxy, "there");
    options_done(&o);
    unsetenv("HTTP_PROXY");
    unsetenv("http_proxy");
    unsetenv("https_proxy");
    unsetenv("NO_PROXY");
}

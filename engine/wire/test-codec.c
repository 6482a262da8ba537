// SPDX-License-Identifier: Apache-2.0
/* Reader, writer, parser, query reader and checker, on the real tables of the API. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/test.h"
#include "types.h"
#include "validate.h"

/* Read a body as a container create request; the text of the error, or "ok". */
static const char *create_error(const char *body) {
    static char text[1024];
    struct api_container_create_request req = {0};
    _cleanup_err_ struct err e = ERR_INIT;
    json_t *json = NULL;

    if (codec_parse_body(body, strlen(body), &json, &e) == 0)
        ignore_result(api_container_create_request_read(&req, json, NULL, &e) < 0);
    snprintf(text, sizeof(text), "%s", e.kind == ERR_NONE ? "ok" : err_msg(&e));
    CHECK(e.kind == ERR_NONE || e.kind == ERR_INVALID);
    api_container_create_request_done(&req);
    json_decref(json);
    return text;
}

/* Texts recorded from the reference. */
TEST(type_errors_read_like_the_reference) {
    CHECK_STR(create_error("{\"HostConfig\":{\"Memory\":\"x\"}}"),
              "invalid JSON: json: cannot unmarshal string into Go struct field HostConfig.HostConfig.Resources.Memory of type int64");
    CHECK_STR(create_error("{\"Image\":1}"),
              "invalid JSON: json: cannot unmarshal number into Go struct field ContainerConfigWrapper.Config.Image of type string");
    CHECK_STR(create_error("{\"Cmd\":1}"),
              "invalid JSON: json: cannot unmarshal number into Go struct field ContainerConfigWrapper.Config.Cmd of type string");
    CHECK_STR(create_error("{\"Env\":{\"a\":1}}"),
              "invalid JSON: json: cannot unmarshal object into Go struct field ContainerConfigWrapper.Config.Env of type []string");
    CHECK_STR(create_error("[]"), "invalid JSON: json: cannot unmarshal array into Go value of type runconfig.ContainerConfigWrapper");
    CHECK_STR(create_error("{\"HostConfig\":{\"LogConfig\":{\"Config\":{\"a\":1}}}}"),
              "invalid JSON: json: cannot unmarshal number into Go struct field LogConfig.HostConfig.LogConfig.Config of type string");
    CHECK_STR(create_error("{\"HostConfig\":{\"MemorySwappiness\":1.5}}"),
              "invalid JSON: json: cannot unmarshal number 1.5 into Go struct field HostConfig.HostConfig.Resources.MemorySwappiness of type int64");
    CHECK_STR(create_error("{\"NetworkingConfig\":{\"EndpointsConfig\":{\"a\":{\"IPAMConfig\":{\"IPv4Address\":1}}}}}"),
              "invalid JSON: json: cannot unmarshal number into Go struct field "
              "EndpointIPAMConfig.NetworkingConfig.EndpointsConfig.IPAMConfig.IPv4Address of type string");
    CHECK_STR(create_error("{\"HostConfig\":{\"Mounts\":[{\"BindOptions\":{\"NonRecursive\":\"x\"}}]}}"),
              "invalid JSON: json: cannot unmarshal string into Go struct field BindOptions.HostConfig.Mounts.BindOptions.NonRecursive of type bool");
    CHECK_STR(create_error("{\"HostConfig\":{\"NetworkMode\":1}}"),
              "invalid JSON: json: cannot unmarshal number into Go struct field HostConfig.HostConfig.NetworkMode of type container.NetworkMode");
    CHECK_STR(create_error("{\"ExposedPorts\":{\"80\":1}}"),
              "invalid JSON: json: cannot unmarshal number into Go struct field ContainerConfigWrapper.Config.ExposedPorts of type struct {}");
    CHECK_STR(create_error("{"), "invalid JSON: unexpected EOF");
    CHECK_STR(create_error("  "), "invalid JSON: got EOF while reading request body");
    CHECK_STR(create_error("{} {}"), "unexpected content after JSON");
    CHECK_STR(create_error("{}}"), "ok");
    CHECK_STR(create_error("null"), "ok");
}

TEST(what_is_absent_changes_nothing) {
    struct api_container_create_request req = {0};

    CHECK_INT(api_container_create_request_read(&req, NULL, NULL, NULL), 0);
    CHECK(!req.image);
    api_container_create_request_done(&req);
}

TEST(syntax_errors_read_like_the_reference) {
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"{a}", "invalid character 'a' looking for beginning of object key string"},
        {"{\"a\" 1}", "invalid character '1' after object key"},
        {"{\"a\":1 2}", "invalid character '2' after object key:value pair"},
        {"{\"a\":1,}", "invalid character '}' looking for beginning of object key string"},
        {"[1,]", "invalid character ']' looking for beginning of value"},
        {"[1 2]", "invalid character '2' after array element"},
        {"nul1", "invalid character '1' in literal null (expecting 'l')"},
        {"-x", "invalid character 'x' in numeric literal"},
        {"1.x", "invalid character 'x' after decimal point in numeric literal"},
        {"1ex", "invalid character 'x' in exponent of numeric literal"},
        {"\"\\x\"", "invalid character 'x' in string escape code"},
        {"\"\\u00g0\"", "invalid character 'g' in \\u hexadecimal character escape"},
        {"\"\n\"", "invalid character '\\n' in string literal"},
        {"'a'", "invalid character '\\'' looking for beginning of value"},
        {"01", "invalid character '1' after top-level value"},
        {"\x01", "invalid character '\\x01' looking for beginning of value"},
        {"\xc3\xa4", "invalid character '\xc3\x83' looking for beginning of value"},
        {"[", "unexpected EOF"},
        {"tr", "unexpected EOF"},
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        json_t *v = NULL;

        CHECK(codec_parse(cases[i].text, strlen(cases[i].text), &v, NULL, &e) < 0);
        CHECK_STR(err_msg(&e), cases[i].error);
        json_decref(v);
    }
}

TEST(strings_survive_whatever_bytes_they_hold) {
    static const struct {
        const char *text, *value;
    } cases[] = {
        {"\"a\\u00e4\\n\\/\"", "a\xc3\xa4\n/"},
        {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80"},
        {"\"\\ud83dx\"", "\xef\xbf\xbdx"},
        {"\"\\ud83d\\u0041\"", "\xef\xbf\xbd"
                               "A"},
        {"\"\xff\xc0\x80\"", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\"\xed\xa0\x80\"", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        json_t *v = NULL;

        REQUIRE(codec_parse(cases[i].text, strlen(cases[i].text), &v, NULL, NULL) == 0);
        CHECK_STR(json_string_value(v), cases[i].value);
        json_decref(v);
    }
}

TEST(text_with_nul_is_refused) {
    CHECK_STR(create_error("{\"Image\":\"a\\u0000b\"}"), "invalid JSON: json: NUL byte in field Config.Image");
    CHECK_STR(create_error("{\"Labels\":{\"a\\u0000b\":\"\"}}"), "invalid JSON: json: NUL byte in a key");
}

TEST(numbers_beyond_their_field_are_refused) {
    CHECK_STR(create_error("{\"HostConfig\":{\"PidsLimit\":100000000000000000000}}"),
              "invalid JSON: json: cannot unmarshal number 100000000000000000000 into Go struct field HostConfig.HostConfig.Resources.PidsLimit of "
              "type int64");
    CHECK_STR(create_error("{\"HostConfig\":{\"PidsLimit\":1e400}}"), "invalid JSON: json: cannot unmarshal number 1.7976931348623157e+308 into Go "
                                                                      "struct field HostConfig.HostConfig.Resources.PidsLimit of type int64");
}

TEST(nesting_is_bounded) {
    size_t n = 100000;
    _cleanup_free_ char *deep = malloc(n);
    _cleanup_err_ struct err e = ERR_INIT;
    json_t *v = NULL;

    REQUIRE(deep != NULL);
    memset(deep, '[', n);
    CHECK(codec_parse(deep, n, &v, NULL, &e) < 0);
    CHECK_STR(err_msg(&e), "exceeded max depth");
}

/* "[{},{},...]" with n values in all; the text after them lies in a string and counts once. */
static char *many_values(size_t n, size_t *ret_len) {
    static const char tail[] = "\"[[,,\\\",{{\"]";
    char *text = malloc(n * 3 + sizeof(tail)), *p = text;

    if (!text)
        abort();
    *p++ = '[';
    for (size_t i = 2; i < n; i++)
        p = mempcpy(p, "{},", 3);
    p = mempcpy(p, tail, sizeof(tail) - 1);
    *ret_len = (size_t)(p - text);
    return text;
}

TEST(the_number_of_values_is_bounded) {
    for (size_t more = 0; more < 2; more++) {
        _cleanup_err_ struct err e = ERR_INIT, counted = ERR_INIT;
        size_t len;
        _cleanup_free_ char *text = many_values(LIMIT_JSON_VALUES + more, &len);
        json_t *v = NULL;

        CHECK_INT(codec_parse(text, len, &v, NULL, &e), more ? -(int)ERR_INVALID : 0);
        CHECK_INT(codec_count(text, len, &counted), more ? -(int)ERR_INVALID : 0);
        CHECK_STR(err_msg(&e), more ? "json: more than 200000 values" : "no error");
        CHECK_STR(err_msg(&counted), err_msg(&e));
        json_decref(v);
    }
}

static json_t *parse(const char *text) {
    json_t *v = NULL;

    CHECK(codec_parse(text, strlen(text), &v, NULL, NULL) == 0);
    return v;
}

TEST(keys_match_without_case_and_the_last_wins) {
    struct api_container_create_request req = {0};
    json_t *in =
        parse("{\"IMAGE\":\"a\",\"image\":\"b\",\"nothing\":{},\"Tty\":true,\"HostConfig\":{\"Memory\":5},\"hostconfig\":{\"CpuShares\":7}}");

    CHECK_INT(api_container_create_request_read(&req, in, NULL, NULL), 0);
    CHECK_STR(req.image, "b");
    CHECK(req.tty && req.has_tty && !req.has_open_stdin);
    REQUIRE(req.host_config != NULL);
    CHECK_INT(req.host_config->memory, 5);
    CHECK_INT(req.host_config->cpu_shares, 7);
    api_container_create_request_done(&req);
    CHECK(req.image == NULL && req.host_config == NULL);
    json_decref(in);
}

TEST(null_leaves_scalars_and_empties_the_rest) {
    struct api_container_create_request req = {0};
    json_t *in = parse("{\"Image\":\"a\",\"image\":null,\"Env\":[\"x\"],\"env\":null,\"Cmd\":\"one\",\"Entrypoint\":[],\"HostConfig\":null,"
                       "\"Volumes\":{\"/b\":{},\"/a\":{}}}");

    CHECK_INT(api_container_create_request_read(&req, in, NULL, NULL), 0);
    CHECK_STR(req.image, "a");
    CHECK(!req.env.set && req.env.n == 0);
    CHECK(req.cmd.set && req.cmd.n == 1 && strcmp(req.cmd.v[0], "one") == 0);
    CHECK(req.entrypoint.set && req.entrypoint.n == 0);
    CHECK(req.host_config == NULL);
    CHECK(req.volumes.n == 2 && strcmp(req.volumes.v[0], "/a") == 0);
    api_container_create_request_done(&req);
    json_decref(in);
}

TEST(integers_keep_to_their_width) {
    struct api_container_create_request req = {0};
    json_t *in = parse("{\"HostConfig\":{\"BlkioWeight\":65536}}");
    _cleanup_err_ struct err e = ERR_INIT;

    CHECK(api_container_create_request_read(&req, in, "", &e) < 0);
    CHECK_STR(err_msg(&e), "json: cannot unmarshal number 65536 into Go struct field HostConfig.HostConfig.Resources.BlkioWeight of type uint16");
    api_container_create_request_done(&req);
    json_decref(in);
}

TEST(unset_fields_come_out_as_the_reference_has_them) {
    struct api_container_state s = {0};
    _cleanup_buf_ struct buf out = BUF_INIT(65536);

    s.status = strdup("created");
    CHECK_INT(api_container_state_write(&s, 45, &out, NULL), 0);
    CHECK_STR(buf_str(&out), "{\"Status\":\"created\",\"Running\":false,\"Paused\":false,\"Restarting\":false,\"OOMKilled\":false,\"Dead\":false,"
                             "\"Pid\":0,\"ExitCode\":0,\"Error\":\"\",\"StartedAt\":\"\",\"FinishedAt\":\"\"}");
    api_container_state_done(&s);
}

TEST(maps_come_out_sorted_and_text_escaped) {
    struct api_container_config c = {0};
    struct err e = ERR_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT(65536), html = BUF_INIT(65536);

    CHECK_INT(api_string_map_set(&c.labels, "b", "<&>\"\\\n\x01", &e), 0);
    CHECK_INT(api_string_map_set(&c.labels, "a", "1", &e), 0);
    CHECK_INT(api_string_map_set(&c.labels, "a", "\xe2\x80\xa8\xff", &e), 0);
    CHECK_INT(api_container_config_write(&c, 45 | CODEC_SPARSE, &out, &e), 0);
    CHECK_STR(buf_str(&out), "{\"Labels\":{\"a\":\"\\u2028\\ufffd\",\"b\":\"<&>\\\"\\\\\\n\\u0001\"}}");
    CHECK_INT(api_container_config_write(&c, 45 | CODEC_SPARSE | CODEC_ESCAPE_HTML, &html, &e), 0);
    CHECK_STR(buf_str(&html), "{\"Labels\":{\"a\":\"\\u2028\\ufffd\",\"b\":\"\\u003c\\u0026\\u003e\\\"\\\\\\n\\u0001\"}}");
    api_container_config_done(&c);
}

TEST(zero_is_left_out_unless_it_sits_behind_a_pointer) {
    struct api_container_summary s = {0};
    struct api_resources r = {.has_pids_limit = true, .has_memory = true};
    _cleanup_buf_ struct buf out = BUF_INIT(65536);

    s.has_size_rw = true;
    CHECK_INT(api_container_summary_write(&s, 45 | CODEC_SPARSE, &out, NULL), 0);
    CHECK_STR(buf_str(&out), "{}");
    buf_reset(&out);
    CHECK_INT(api_resources_write(&r, 45 | CODEC_SPARSE, &out, NULL), 0);
    CHECK_STR(buf_str(&out), "{\"Memory\":0,\"PidsLimit\":0}");
}

TEST(fields_follow_the_version) {
    struct api_image_summary s = {0};
    _cleanup_buf_ struct buf old = BUF_INIT(65536), now = BUF_INIT(65536);

    s.virtual_size = 7;
    s.has_virtual_size = true;
    CHECK_INT(api_image_summary_write(&s, 43 | CODEC_SPARSE, &old, NULL), 0);
    CHECK_INT(api_image_summary_write(&s, 145 | CODEC_SPARSE, &now, NULL), 0);
    CHECK_STR(buf_str(&old), "{\"VirtualSize\":7}");
    CHECK_STR(buf_str(&now), "{}");
}

TEST(what_is_written_reads_back) {
    static const char text[] =
        "{\"Image\":\"a\",\"Env\":[\"A=1\"],\"ExposedPorts\":{\"80/tcp\":{}},\"Labels\":{\"k\":\"v\"},\"HostConfig\":{\"PortBindings\":"
        "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"}],\"81/tcp\":null},\"RestartPolicy\":{\"Name\":\"always\"},"
        "\"Ulimits\":[{\"Name\":\"nofile\",\"Hard\":2,\"Soft\":1}],\"ConsoleSize\":[24,80],\"Init\":true}}";
    struct api_container_create_request a = {0}, b = {0};
    json_t *in = parse(text), *again;
    _cleanup_buf_ struct buf one = BUF_INIT(65536), two = BUF_INIT(65536);

    CHECK_INT(api_container_create_request_read(&a, in, NULL, NULL), 0);
    REQUIRE(a.host_config && a.host_config->port_bindings.n == 2);
    CHECK_STR(a.host_config->port_bindings.v[0].value.v[0].host_port, "8080");
    CHECK(!a.host_config->port_bindings.v[1].value.set);
    CHECK(a.host_config->console_size.n == 2 && a.host_config->console_size.v[1] == 80);
    CHECK_INT(api_container_create_request_write(&a, 45, &one, NULL), 0);
    again = parse(buf_str(&one));
    CHECK_INT(api_container_create_request_read(&b, again, NULL, NULL), 0);
    CHECK_INT(api_container_create_request_write(&b, 45, &two, NULL), 0);
    CHECK_STR(buf_str(&two), buf_str(&one));
    api_container_create_request_done(&a);
    api_container_create_request_done(&b);
    json_decref(in);
    json_decref(again);
}

TEST(copies_are_deep_and_can_grow) {
    static const char text[] =
        "{\"Env\":[\"A=1\",\"B\",\"C\"],\"Labels\":{\"k\":\"v\"},\"HostConfig\":{\"PortBindings\":{\"80/tcp\":[{\"HostPort\":\"1\"}]},\"Memory\":5}}";
    struct api_container_create_request a = {0}, b = {0};
    json_t *in = parse(text);
    _cleanup_buf_ struct buf one = BUF_INIT(65536), two = BUF_INIT(65536);

    CHECK_INT(api_container_create_request_read(&a, in, NULL, NULL), 0);
    CHECK_INT(api_container_create_request_copy(&b, &a, NULL), 0);
    CHECK_INT(api_container_create_request_write(&a, 45, &one, NULL), 0);
    api_container_create_request_done(&a);
    CHECK_INT(api_container_create_request_write(&b, 45, &two, NULL), 0);
    CHECK_STR(buf_str(&two), buf_str(&one));
    CHECK_INT(api_string_list_add(&b.env, "D", NULL), 0);
    CHECK_INT(api_string_list_add(&b.env, "E", NULL), 0);
    CHECK_STR(b.env.v[4], "E");
    api_container_create_request_done(&b);
    json_decref(in);
}

TEST(maps_of_objects_are_built_entry_by_entry) {
    struct api_networking_config c = {0};
    struct api_endpoint_settings_map_entry *entry = api_endpoint_settings_map_add(&c.endpoints_config, "net");
    _cleanup_buf_ struct buf out = BUF_INIT(65536);

    REQUIRE(entry != NULL);
    entry->value = api_endpoint_settings_new();
    REQUIRE(entry->value != NULL);
    entry->value->ip_prefix_len = 16;
    CHECK(api_endpoint_settings_map_find(&c.endpoints_config, "net") == entry);
    CHECK(!api_endpoint_settings_map_find(&c.endpoints_config, "other"));
    CHECK_INT(api_networking_config_write(&c, 45 | CODEC_SPARSE, &out, NULL), 0);
    CHECK_STR(buf_str(&out), "{\"EndpointsConfig\":{\"net\":{\"IPPrefixLen\":16}}}");
    api_networking_config_done(&c);
}

TEST(lists_grow) {
    struct api_container_summary_list l = {.set = true};
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);

    CHECK_INT(api_container_summary_list_write(&l, 45, &out, NULL), 0);
    CHECK_STR(buf_str(&out), "[]");
    for (int i = 0; i < 100; i++) {
        struct api_container_summary *c = api_container_summary_list_add(&l);

        REQUIRE(c != NULL);
        CHECK_INT(api_string_list_add(&c->names, "/n", NULL), 0);
    }
    CHECK_INT(l.n, 100);
    CHECK_STR(l.v[99].names.v[0], "/n");
    api_container_summary_list_done(&l);
}

TEST(queries_follow_the_reference) {
    struct q_container_list q = {0};
    struct q_container_stats st = {0};
    struct q_image_get_all g = {0};
    struct q_container_resize rs = {0};
    struct q_network_inspect ni = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    CHECK_INT(q_container_list_read(&q, "all=Yes&limit=-3&size=%20NONE+&filters=%7B%22a%22%3A+1}&all=0&x;y=1&%zz=1", 45, &e), 0);
    CHECK(q.all && q.has_all && !q.size && q.has_size && q.limit == -3);
    CHECK_STR(q.filters, "{\"a\": 1}");
    q_container_list_done(&q);
    CHECK_INT(q_container_list_read(&q, "limit=x%22", 45, &e), -(int)ERR_INTERNAL);
    CHECK_STR(err_msg(&e), "strconv.Atoi: parsing \"x\\\"\": invalid syntax");
    q_container_list_done(&q);
    CHECK_INT(q_container_list_read(&q, "limit=99999999999999999999", 45, &e), -(int)ERR_INTERNAL);
    CHECK_STR(err_msg(&e), "strconv.Atoi: parsing \"99999999999999999999\": value out of range");
    q_container_list_done(&q);
    CHECK_INT(q_container_stats_read(&st, "one-shot=1", 40, &e), 0);
    CHECK(st.stream && !st.one_shot);
    CHECK_INT(q_image_get_all_read(&g, "names=a&names=b%2Fc", 45, &e), 0);
    CHECK(g.names.n == 2 && strcmp(g.names.v[1], "b/c") == 0);
    q_image_get_all_done(&g);
    CHECK_INT(q_container_resize_read(&rs, "w=5", 45, &e), -(int)ERR_INVALID);
    CHECK_STR(err_msg(&e), "strconv.Atoi: parsing \"\": invalid syntax");
    CHECK_INT(q_network_inspect_read(&ni, "verbose=x", 45, &e), -(int)ERR_INVALID);
    CHECK_STR(err_msg(&e), "invalid value for verbose: x: strconv.ParseBool: parsing \"x\": invalid syntax");
    q_network_inspect_done(&ni);
}

TEST(doubles_are_written_like_go) {
    static const struct {
        double v;
        const char *text;
    } cases[] = {
        {0, "0"}, {0.1, "0.1"}, {-1.5, "-1.5"}, {1e20, "100000000000000000000"}, {1e21, "1e+21"}, {1e-7, "1e-7"}, {123456789.25, "123456789.25"}};

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct api_service_update_config c = {.max_failure_ratio = cases[i].v, .has_max_failure_ratio = true};
        _cleanup_buf_ struct buf out = BUF_INIT(4096), want = BUF_INIT(4096);

        CHECK_INT(api_service_update_config_write(&c, 45 | CODEC_SPARSE, &out, NULL), 0);
        buf_addf(&want, "{\"MaxFailureRatio\":%s}", cases[i].text);
        CHECK_STR(buf_str(&out), buf_str(&want));
    }
}

static const char *reply_error(const char *op, int status, const char *body) {
    static char text[512];
    _cleanup_err_ struct err e = ERR_INIT;
    json_t *v = parse(body);

    ignore_result(api_validate_response(op, status, v, &e) < 0);
    snprintf(text, sizeof(text), "%s", e.kind == ERR_NONE ? "ok" : err_msg(&e));
    json_decref(v);
    return text;
}

TEST(replies_are_checked) {
    CHECK_STR(reply_error("ContainerCreate", 201, "{\"Id\":\"a\",\"Warnings\":[]}"), "ok");
    CHECK_STR(reply_error("ContainerCreate", 201, "{\"Warnings\":[]}"),
              "reply 201 of ContainerCreate: ContainerCreateResponse: missing required field Id");
    CHECK_STR(reply_error("ContainerCreate", 201, "{\"Id\":1,\"Warnings\":[]}"),
              "reply 201 of ContainerCreate: ContainerCreateResponse.Id: is integer, not string");
    CHECK_STR(reply_error("ContainerList", 200, "[{\"Ports\":[{\"PrivatePort\":80,\"Type\":\"ftp\"}]}]"),
              "reply 200 of ContainerList: []types.Container[0].Ports[0].Type: value outside the enumeration: ftp");
    CHECK_STR(reply_error("ContainerList", 200, "[{\"Nothing\":1}]"), "reply 200 of ContainerList: []types.Container[0].Nothing: unknown field");
    CHECK_STR(reply_error("ContainerList", 404, "{\"message\":\"x\"}"), "ok");
    CHECK_STR(reply_error("ContainerList", 202, "{}"), "ContainerList is not described to answer 202");
}

/* Every recorded complaint of the reference about a body: ours must be the same, word for word. Run from the top of the project. */
TEST(recorded_complaints_are_repeated_word_for_word) {
    static const char *const kinds[] = {"/wrong-type-", "/wrong-root", "/bad-json"};
    json_t *golden = json_load_file("golden/contract.json", 0, NULL), *cases = json_load_file("build/gen/contract-cases.json", 0, NULL), *c;
    void *body = calloc(1, 1 << 16);
    int compared = 0;
    size_t i;

    if (!golden || !cases || !body) {
        json_decref(golden);
        json_decref(cases);
        free(body);
        TEST_SKIP("no recorded answers here");
    }
    json_array_foreach(cases, i, c) {
        const char *id = json_string_value(json_object_get(c, "id")), *text = json_string_value(json_object_get(c, "body"));
        unsigned type = api_body_type(json_string_value(json_object_get(c, "operation")));
        json_t *want = json_object_get(json_object_get(json_object_get(golden, "cases"), id), "body"), *in = NULL;
        const char *message = json_string_value(json_object_get(want, "message"));
        _cleanup_err_ struct err e = ERR_INIT;
        bool wanted = false;

        for (size_t k = 0; k < ELEMENTSOF(kinds); k++)
            wanted |= strstr(id, kinds[k]) != NULL;
        /* Some operations complain about other things first: those are the handlers' business. */
        if (!wanted || !text || type == CODEC_NONE || !message || strncmp(message, "invalid JSON: ", 14) != 0)
            continue;
        if (codec_parse_body(text, strlen(text), &in, &e) == 0)
            ignore_result(codec_read(&api_schema, type, body, in, NULL, &e) < 0);
        CHECK_STR(e.kind == ERR_NONE ? "ok" : err_msg(&e), message);
        codec_done(&api_schema, type, body);
        json_decref(in);
        compared++;
    }
    CHECK(compared > 400);
    json_decref(golden);
    json_decref(cases);
    free(body);
}

/* Bodies damaged at random (always the same way): nothing may crash, leak, or be written that does not parse again. */
TEST(damaged_bodies_do_no_harm) {
    static const char *const seeds[] = {
        "{\"Image\":\"a\",\"Env\":[\"A=1\",null],\"Cmd\":\"x\",\"ExposedPorts\":{\"80/tcp\":{}},\"HostConfig\":{\"PortBindings\":{\"80/"
        "tcp\":[{\"HostPort\":\"1\"}]},"
        "\"Mounts\":[{\"Type\":\"bind\",\"BindOptions\":{\"Propagation\":\"rslave\"}}],\"ConsoleSize\":[1,2],\"MemorySwappiness\":-1,\"Init\":true}}",
        "{\"NetworkingConfig\":{\"EndpointsConfig\":{\"n\":{\"IPAMConfig\":{\"IPv4Address\":\"\\u0031\"},\"Aliases\":[\"\\ud83d\\ude00\"]},\"m\":"
        "null}},\"Labels\":{\"a\":\"b\"},"
        "\"Healthcheck\":{\"Test\":[\"CMD\"],\"Interval\":1e9,\"Retries\":3}}",
    };
    static const char bytes[] = "{}[]\",:\\ 0-e.truflns\xff\xc3\x01u";
    uint64_t x = 88172645463325252ULL;

    for (int round = 0; round < 20000; round++) {
        const char *seed = seeds[round % 2];
        size_t n = strlen(seed);
        _cleanup_free_ char *text = strdup(seed);
        struct api_container_create_request req = {0};
        _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
        json_t *in = NULL, *again = NULL;

        REQUIRE(text != NULL);
        for (int k = 0; k <= round % 4; k++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            text[x % n] = bytes[(x >> 32) % (sizeof(bytes) - 1)];
        }
        if (codec_parse(text, n - x % 3, &in, NULL, NULL) < 0)
            continue;
        ignore_result(api_container_create_request_read(&req, in, NULL, NULL) < 0);
        CHECK_INT(api_container_create_request_write(&req, 45, &out, NULL), 0);
        CHECK_INT(codec_parse(out.data, out.len, &again, NULL, NULL), 0);
        api_container_create_request_done(&req);
        json_decref(in);
        json_decref(again);
    }
}

/* "No limit" of control groups of the second kind. */
TEST(numbers_without_a_sign_use_all_their_bits) {
    struct api_stats_pids pids = {.current = 1, .limit = -1};
    _cleanup_buf_ struct buf b = BUF_INIT(1000);

    CHECK_INT(api_stats_pids_write(&pids, 145, &b, NULL), 0);
    CHECK_STR(buf_str(&b), "{\"current\":1,\"limit\":18446744073709551615}");
}

// SPDX-License-Identifier: Apache-2.0
/* Tags of logs: the template's language, and what is none. */
#include "base/cleanup.h"
#include "base/str.h"
#include "base/test.h"
#include "container/logattrs.h"

static char *tag(const char *template, struct err *e) {
    struct api_string_map_entry option = {.key = (char *)"tag", .value = (char *)(uintptr_t) template};
    struct api_log_config config = {.config = {.v = &option, .n = 1}};
    char *args[] = {(char *)"a b", (char *)"c"};
    struct ctr_fixed f = {.image_id = (char *)"sha256:0123456789", .path = (char *)"run", .args = {.v = args, .n = 2}};
    char *text = NULL;

    memcpy(f.id, "0123456789abcdef", 17);
    f.host.log_config = &config;
    ignore_result(ctr_log_tag(&f, "box", &text, e));
    return text;
}

static bool is(const char *template, const char *want) {
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_free_ char *got = tag(template, &e);

    return streq_ptr(got, want);
}

static bool fails(const char *template) {
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_free_ char *got = tag(template, &e);

    return !got && err_msg(&e)[0];
}

TEST(tags_are_templates) {
    CHECK(is("", "0123456789ab"));
    CHECK(is("x{{ .Name }}y", "xboxy"));
    CHECK(is("a  {{- .Name -}}  b", "aboxb"));
    CHECK(is("{{.ContainerArgs}} {{json .ContainerArgs}} {{join .ContainerArgs \"-\"}}", "[a b c] [\"a b\",\"c\"] a b-c"));
    CHECK(is("{{.Command | upper}} {{(index .ContainerArgs 1) | len}} {{truncate .Name 2}}", "RUN A B C 1 bo"));
    CHECK(is("{{split \"a,b\" \",\"}}{{`\\`}}{{\"\\\"\"}}", "[a b]\\\""));
}

TEST(what_is_no_template_is_refused) {
    static const char *const wrong[] = {
        "{{",         "{{}}",         "{{.}}",         "{{.Bogus}}",    "{{bogus}}", "{{.ID",         "{{\"x}}",
        "{{(.ID}}",   "{{.ID)}}",     "{{.ID .Name}}", "{{.ID | }}",    "{{| .ID}}", "{{index}}",     "{{upper 1}}",
        "{{join 1}}", "{{truncate}}", "{{`}}",         "{{pad \"x\"}}", "{{.ID}",    "{{len 1 2 3}}", "{{((((((((((((((((((.ID}}",
        "{{1 | 2}}",  "{{-}}",        "{{- }}",        "{{ - }}"};

    for (size_t i = 0; i < ELEMENTSOF(wrong); i++)
        if (!fails(wrong[i])) {
            CHECK_STR(wrong[i], "(refused)");
        }
}

/* As systemd-journald keeps them, so that reading a copy shows the same. */
TEST(details_of_the_journal_have_its_names) {
    struct api_string_map_entry options[] = {{.key = (char *)"labels", .value = (char *)"l.b,la,9x,_y"},
                                             {.key = (char *)"env", .value = (char *)"EA"}};
    struct api_log_config config = {.config = {.v = options, .n = ELEMENTSOF(options)}};
    struct api_string_map_entry labels[] = {{.key = (char *)"9x", .value = (char *)"digit"},
                                            {.key = (char *)"_y", .value = (char *)"underscore"},
                                            {.key = (char *)"l.b", .value = (char *)"two\nlines"},
                                            {.key = (char *)"la", .value = (char *)"1"},
                                            {.key = (char *)"other", .value = (char *)"2"}};
    char *env[] = {(char *)"EA=x", (char *)"EB=no"};
    struct ctr_fixed f = {.host.log_config = &config, .config = {.labels = {.v = labels, .n = ELEMENTSOF(labels)}, .env = {.v = env, .n = 2}}};
    _cleanup_strv_ struct strv details = STRV_INIT;
    char longest[66];

    CHECK(ctr_log_journal_details(&f, &details, NULL) == 0);
    CHECK_INT(details.n, 3);
    CHECK_STR(details.v[0], "EA=x");
    CHECK_STR(details.v[1], "LA=1");
    CHECK_STR(details.v[2], "L_B=two\nlines");
    memset(longest, 'a', sizeof(longest));
    longest[65] = 0;
    CHECK(!ctr_log_journal_name(longest));
    longest[64] = 0;
    CHECK(ctr_log_journal_name(longest));
}

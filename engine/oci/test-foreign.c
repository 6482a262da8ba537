// SPDX-License-Identifier: Apache-2.0
/* What another runtime is given, and what stays with us. */
#include "base/cleanup.h"
#include "base/str.h"
#include "base/test.h"
#include "oci/build.h"

static const char document[] =
    "{\"ociVersion\":\"1.2.0\",\"root\":{\"readonly\":true},\"process\":{\"terminal\":true,\"consoleSize\":{\"height\":20,\"width\":70},\"args\":["
    "\"sh\"],"
    "\"cwd\":\"/\",\"capabilities\":{\"bounding\":[\"CAP_CHOWN\"]}},\"mounts\":["
    "{\"destination\":\"/v\",\"type\":\"bind\",\"source\":\"/vol/_data/sub\",\"hatakeBeneath\":\"/vol/_data\",\"options\":[\"rbind\",\"rshared\"]}],"
    "\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"network\"},{\"type\":\"pid\"}],\"seccomp\":{\"hatakeProfile\":\"builtin\"},"
    "\"resources\":{\"memory\":{\"limit\":1000000}}}}";

TEST(another_runtime_gets_a_standard_document) {
    struct strv args = STRV_INIT;
    struct oci_foreign rt = {.program = "crun", .root = "/state", .args = &args, .path = "/bin"};
    struct plan_builder b = PLAN_BUILDER_INIT;
    _cleanup_err_ struct err e = ERR_INIT;
    json_t *spec = json_loads(document, 0, NULL), *doc, *linux_, *m;
    struct oci_input in = {.spec = spec, .id = "c1", .bundle = "/b", .rootfs_path = "/rootfs", .init_path = "/init"};
    _cleanup_free_ void *block = NULL;
    const struct plan_op *op;
    struct plan p;
    size_t n;

    CHECK(spec && oci_build_foreign(&b, &in, &rt, &e) == 0 && plan_finish(&b, &block, &n, &e) == 0 && plan_open(block, n, &p) == 0);
    plan_builder_done(&b);
    op = plan_find(&p, PLAN_RUNTIME);
    CHECK(op && op->i[0] == 1 && op->i[1] == 1);
    CHECK_STR(plan_s(&p, op, 0), "crun");
    doc = json_loads(plan_s(&p, op, 3), 0, NULL);
    linux_ = json_object_get(doc, "linux");
    CHECK_STR(json_string_value(json_object_get(json_object_get(doc, "root"), "path")), "/b/rootfs");
    CHECK(json_is_true(json_object_get(json_object_get(doc, "root"), "readonly")));
    CHECK_STR(json_string_value(json_object_get(json_array_get(json_object_get(linux_, "namespaces"), 1), "path")), "/b/netns");
    CHECK_STR(json_string_value(json_object_get(linux_, "rootfsPropagation")), "shared");
    CHECK_STR(json_string_value(json_object_get(json_object_get(linux_, "seccomp"), "defaultAction")), "SCMP_ACT_ERRNO");
    m = json_array_get(json_object_get(doc, "mounts"), 0);
    CHECK_STR(json_string_value(json_object_get(m, "source")), "/b/bind.0");
    CHECK(!json_object_get(m, "hatakeBeneath"));
    m = json_array_get(json_object_get(doc, "mounts"), 1);
    CHECK_STR(json_string_value(json_object_get(m, "source")), "/init");
    CHECK_STR(json_string_value(json_array_get(json_object_get(json_object_get(doc, "process"), "args"), 0)), "/sbin/docker-init");
    op = plan_find(&p, PLAN_RUNTIME_BIND);
    CHECK(op);
    CHECK_STR(plan_s(&p, op, 0), "/vol/_data/sub");
    CHECK_STR(plan_s(&p, op, 2), "/vol/_data");
    op = plan_find(&p, PLAN_CONSOLE);
    CHECK(op && op->i[0] == 20 && op->i[1] == 70);
    CHECK(!plan_find(&p, PLAN_EXEC) && !plan_find(&p, PLAN_SECCOMP));
    json_decref(doc);
    json_decref(spec);
}

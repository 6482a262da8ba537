// SPDX-License-Identifier: Apache-2.0
/* ps, images, inspect, version, info: what there is. */
#include "base/clock.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/progress.h"
#include "cli/table.h"

int api_filters(const struct strv *list, char **ret, struct err *e) {
    json_t *all = json_object();
    int r = json_made(all, e);

    for (size_t i = 0; i < list->n && r >= 0; i++) {
        const char *equals = strchr(list->v[i], '=');
        _cleanup_free_ char *key = equals ? strndup(list->v[i], (size_t)(equals - list->v[i])) : NULL;
        json_t *values;

        if (!key) {
            r = err_set(e, ERR_INVALID, "\"%s\" is no filter: write NAME=VALUE", list->v[i]);
            break;
        }
        values = json_object_get(all, key);
        if (!values && json_object_set_new(all, key, json_array()) == 0)
            values = json_object_get(all, key);
        if (!values || json_array_append_new(values, json_string(equals + 1)) < 0)
            r = err_oom(e);
    }
    if (r >= 0 && list->n) {
        *ret = json_dumps(all, JSON_COMPACT);
        if (!*ret)
            r = err_oom(e);
    }
    json_decref(all);
    return r;
}

static const char *short_id(const char *id, bool whole) {
    static char text[72];
    const char *hex = str_after(id, "sha256:");

    snprintf(text, sizeof text, whole ? "%s" : "%.12s", whole ? id : hex ? hex : id);
    return text;
}

static void add_ports(struct buf *b, const json_t *ports) {
    size_t i;
    json_t *p;

    json_array_foreach((json_t *)ports, i, p) {
        const char *ip = json_text(p, "IP");
        int64_t outside = json_number(p, "PublicPort");

        buf_adds(b, i ? ", " : "");
        if (outside)
            buf_addf(b, strchr(ip, ':') ? "[%s]:%lld->" : "%s:%lld->", ip, (long long)outside);
        buf_addf(b, "%lld/%s", (long long)json_number(p, "PrivatePort"), json_text(p, "Type"));
    }
}

static void add_names(struct buf *b, const json_t *names) {
    size_t i;
    json_t *n;

    json_array_foreach((json_t *)names, i, n) {
        const char *text = json_string_value(n);

        buf_addf(b, "%s%s", i ? "," : "", text && *text == '/' ? text + 1 : text ? text : "");
    }
}

static void container_row(struct table *t, const json_t *c, bool whole) {
    char age[48];
    _cleanup_buf_ struct buf text = BUF_INIT(1 << 20);

    table_cell(t, short_id(json_text(c, "Id"), whole));
    table_cell(t, json_text(c, "Image"));
    buf_addf(&text, "\"%s\"", json_text(c, "Command"));
    if (!whole && text.len > 24) {
        buf_reset(&text);
        buf_addf(&text, "\"%.20s…\"", json_text(c, "Command"));
    }
    table_cell(t, buf_str(&text));
    human_age(clock_wall_ns() / NSEC_PER_SEC - json_number(c, "Created"), age);
    table_cell(t, age);
    table_cell(t, json_text(c, "Status"));
    buf_reset(&text);
    add_ports(&text, json_object_get(c, "Ports"));
    table_cell(t, buf_str(&text));
    buf_reset(&text);
    add_names(&text, json_object_get(c, "Names"));
    table_cell(t, buf_str(&text));
}

int api_list(const struct cli *c, const char *path_of, bool all, const char *limit, const struct strv *filters, json_t **ret, struct err *e) {
    _cleanup_buf_ struct buf path = BUF_INIT(1 << 20);
    _cleanup_free_ char *text = NULL;
    int r = api_filters(filters, &text, e);

    if (r < 0)
        return r;
    buf_adds(&path, path_of);
    api_query(&path, "all", all ? "1" : NULL);
    api_query(&path, "limit", limit);
    api_query(&path, "filters", text);
    r = buf_check(&path, e);
    return r < 0 ? r : api_call(c, "GET", path.data, NULL, ret, e);
}

int cmd_ps(struct cli *c, int argc, char **argv, struct err *e) {
    bool all = false, quiet = false, whole = false, json = false, done;
    const char *last = NULL;
    _cleanup_strv_ struct strv words = STRV_INIT, filters = STRV_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT(CLI_REPLY_MAX);
    struct table t;
    json_t *list = NULL, *one;
    size_t i;
    const struct opt table[] = {
        {"all", 'a', OPT_FLAG, &all, NULL, "also those that do not run"},  {"filter", 'f', OPT_LIST, &filters, "NAME=VALUE", "only those that match"},
        {"json", 0, OPT_FLAG, &json, NULL, "the engine's answer as JSON"}, {"last", 'n', OPT_TEXT, &last, "N", "the last N created"},
        {"no-trunc", 0, OPT_FLAG, &whole, NULL, "whole ids and commands"}, {"quiet", 'q', OPT_FLAG, &quiet, NULL, "ids only"},
    };
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 0, 0, &words, &done, e);

    if (r < 0 || done)
        return r;
    r = api_list(c, "/containers/json", all || last, last, &filters, &list, e);
    if (r < 0)
        return r;
    if (json) {
        r = table_json(list, &out, e);
    } else if (quiet) {
        json_array_foreach(list, i, one) buf_addf(&out, "%s\n", short_id(json_text(one, "Id"), whole));
    } else {
        table_init(&t, (const char *const[]){"CONTAINER", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES", NULL});
        json_array_foreach(list, i, one) container_row(&t, one, whole);
        r = table_print(&t, &out, e);
        table_done(&t);
    }
    json_decref(list);
    return r < 0 ? r : out_write(&out, e);
}

static void image_row(struct table *t, const json_t *image, const char *tag, bool whole) {
    char age[48], size[16];
    const char *colon = strrchr(tag, ':'), *slash = strrchr(tag, '/');
    _cleanup_buf_ struct buf name = BUF_INIT(1 << 16);

    if (colon && (!slash || colon > slash))
        buf_add(&name, tag, (size_t)(colon - tag));
    else
        buf_adds(&name, tag);
    table_cell(t, buf_str(&name));
    table_cell(t, colon && (!slash || colon > slash) ? colon + 1 : "-");
    table_cell(t, short_id(json_text(image, "Id"), whole));
    human_age(clock_wall_ns() / NSEC_PER_SEC - json_number(image, "Created"), age);
    table_cell(t, age);
    human_bytes(json_number(image, "Size"), size);
    table_cell(t, size);
}

static void image_rows(struct table *t, const json_t *image, bool whole) {
    json_t *tags = json_object_get(image, "RepoTags"), *tag;
    size_t i;

    if (json_array_size(tags) == 0)
        image_row(t, image, "<none>", whole);
    json_array_foreach(tags, i, tag) image_row(t, image, json_string_value(tag), whole);
}

int cmd_images(struct cli *c, int argc, char **argv, struct err *e) {
    bool all = false, quiet = false, whole = false, json = false, done;
    _cleanup_strv_ struct strv words = STRV_INIT, filters = STRV_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT(CLI_REPLY_MAX);
    struct table t;
    json_t *list = NULL, *one;
    size_t i;
    const struct opt table[] = {
        {"all", 'a', OPT_FLAG, &all, NULL, "also images in between"},
        {"filter", 'f', OPT_LIST, &filters, "NAME=VALUE", "only those that match"},
        {"json", 0, OPT_FLAG, &json, NULL, "the engine's answer as JSON"},
        {"no-trunc", 0, OPT_FLAG, &whole, NULL, "whole ids"},
        {"quiet", 'q', OPT_FLAG, &quiet, NULL, "ids only"},
    };
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 0, 1, &words, &done, e);

    if (r < 0 || done)
        return r;
    if (words.n && strv_addf(&filters, "reference=%s", words.v[0]) < 0)
        return err_oom(e);
    r = api_list(c, "/images/json", all, NULL, &filters, &list, e);
    if (r < 0)
        return r;
    if (json) {
        r = table_json(list, &out, e);
    } else if (quiet) {
        json_array_foreach(list, i, one) buf_addf(&out, "%s\n", short_id(json_text(one, "Id"), whole));
    } else {
        table_init(&t, (const char *const[]){"REPOSITORY", "TAG", "IMAGE", "CREATED", "SIZE", NULL});
        json_array_foreach(list, i, one) image_rows(&t, one, whole);
        r = table_print(&t, &out, e);
        table_done(&t);
    }
    json_decref(list);
    return r < 0 ? r : out_write(&out, e);
}

/* ---- inspect ---- */

static int inspect_one(const struct cli *c, const char *type, const char *name, json_t **ret, struct err *e) {
    static const char *const types[] = {"container", "image", "network", "volume"};
    static const char *const sections[] = {"containers", "images", "networks", "volumes"};
    int r = 0;

    for (size_t i = 0; i < ELEMENTSOF(types); i++) {
        _cleanup_buf_ struct buf path = BUF_INIT(65536);

        if (type && !streq(type, types[i]))
            continue;
        buf_addf(&path, "/%s/", sections[i]);
        if (i == 1)
            buf_adds(&path, name); /* names of images hold slashes */
        else
            api_segment(&path, name);
        buf_adds(&path, i < 2 ? "/json" : "");
        r = buf_check(&path, e);
        if (r == 0)
            r = api_call(c, "GET", path.data, NULL, ret, e);
        if (r >= 0 || r != -ERR_NOT_FOUND || type)
            return r;
    }
    if (type && r == 0)
        return err_set(e, ERR_INVALID, "--type is container, image, network or volume, not \"%s\"", type);
    return err_set(e, ERR_NOT_FOUND, "there is no container, image, network or volume \"%s\"", name);
}

int inspect_names(const struct cli *c, const char *type, const struct strv *names, struct err *e) {
    _cleanup_buf_ struct buf out = BUF_INIT(CLI_REPLY_MAX);
    json_t *all = json_array();
    int r, failed = 0;

    for (size_t i = 0; i < names->n; i++) {
        _cleanup_err_ struct err why = ERR_INIT;
        json_t *one = NULL;

        r = inspect_one(c, type, names->v[i], &one, &why);
        if (r < 0 && r != -ERR_NOT_FOUND) {
            json_decref(all);
            return err_move(e, &why);
        }
        if (r < 0) {
            fprintf(stderr, "hatake: %s\n", err_msg(&why));
            failed = 1;
        } else if (json_array_append_new(all, one) < 0) {
            json_decref(all);
            return err_oom(e);
        }
    }
    r = table_json(all, &out, e);
    json_decref(all);
    if (r >= 0)
        r = out_write(&out, e);
    return r < 0 ? r : failed;
}

int cmd_inspect(struct cli *c, int argc, char **argv, struct err *e) {
    const char *type = NULL;
    bool done;
    _cleanup_strv_ struct strv words = STRV_INIT;
    const struct opt table[] = {{"type", 0, OPT_TEXT, &type, "TYPE", "container, image, network or volume"}};
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 1, -1, &words, &done, e);

    return r < 0 || done ? r : inspect_names(c, type, &words, e);
}

/* ---- version, info ---- */

int cmd_version(struct cli *c, int argc, char **argv, struct err *e) {
    bool json = false, done;
    _cleanup_strv_ struct strv words = STRV_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    json_t *v = NULL, *part;
    size_t i;
    const struct opt table[] = {{"json", 0, OPT_FLAG, &json, NULL, "the engine's answer as JSON"}};
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 0, 0, &words, &done, e);

    if (r < 0 || done)
        return r;
    if (!json) {
        buf_addf(&out, "hatake (this program)  %s, API %s\n", HATAKE_VERSION, CLI_API_VERSION);
        r = out_write(&out, e);
        if (r < 0)
            return r;
        buf_reset(&out);
    }
    r = api_call(c, "GET", "/version", NULL, &v, e);
    if (r < 0)
        return r;
    if (json) {
        r = table_json(v, &out, e);
    } else {
        buf_addf(&out, "engine                 %s, API %s (from %s), %s/%s, kernel %s, at %s\n", json_text(v, "Version"), json_text(v, "ApiVersion"),
                 json_text(v, "MinAPIVersion"), json_text(v, "Os"), json_text(v, "Arch"), json_text(v, "KernelVersion"), c->host);
        json_array_foreach(json_object_get(v, "Components"), i, part)
            buf_addf(&out, "  %-20s %s\n", json_text(part, "Name"), json_text(part, "Version"));
    }
    json_decref(v);
    return r < 0 ? r : out_write(&out, e);
}

int cmd_info(struct cli *c, int argc, char **argv, struct err *e) {
    bool json = false, done;
    _cleanup_strv_ struct strv words = STRV_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    char memory[16];
    json_t *v = NULL, *warning;
    size_t i;
    const struct opt table[] = {{"json", 0, OPT_FLAG, &json, NULL, "the engine's answer as JSON"}};
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 0, 0, &words, &done, e);

    if (r < 0 || done)
        return r;
    r = api_call(c, "GET", "/info", NULL, &v, e);
    if (r < 0)
        return r;
    if (json) {
        r = table_json(v, &out, e);
        json_decref(v);
        return r < 0 ? r : out_write(&out, e);
    }
    human_bytes(json_number(v, "MemTotal"), memory);
    buf_addf(&out, "Engine      %s at %s\n", json_text(v, "ServerVersion"), c->host);
    buf_addf(&out, "Containers  %lld: %lld running, %lld paused, %lld stopped\n", (long long)json_number(v, "Containers"),
             (long long)json_number(v, "ContainersRunning"), (long long)json_number(v, "ContainersPaused"),
             (long long)json_number(v, "ContainersStopped"));
    buf_addf(&out, "Images      %lld\n", (long long)json_number(v, "Images"));
    buf_addf(&out, "Storage     %s at %s\n", json_text(v, "Driver"), json_text(v, "DockerRootDir"));
    buf_addf(&out, "Logs        %s\n", json_text(v, "LoggingDriver"));
    buf_addf(&out, "Cgroups     version %s, %s\n", json_text(v, "CgroupVersion"), json_text(v, "CgroupDriver"));
    buf_addf(&out, "Runtime     %s\n", json_text(v, "DefaultRuntime"));
    buf_addf(&out, "Machine     %s: %s, kernel %s, %s, %lld processors, %s\n", json_text(v, "Name"), json_text(v, "OperatingSystem"),
             json_text(v, "KernelVersion"), json_text(v, "Architecture"), (long long)json_number(v, "NCPU"), memory);
    json_array_foreach(json_object_get(v, "Warnings"), i, warning) buf_addf(&out, "Warning     %s\n", json_string_value(warning));
    json_decref(v);
    return out_write(&out, e);
}

// SPDX-License-Identifier: Apache-2.0
/* volume ls, create, inspect, rm, prune. */
#include "base/str.h"
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/parse.h"
#include "cli/progress.h"
#include "cli/table.h"

int cmd_volume_ls(struct cli *c, int argc, char **argv, struct err *e) {
    bool quiet = false, json = false, done;
    _cleanup_strv_ struct strv words = STRV_INIT, filters = STRV_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT(CLI_REPLY_MAX);
    struct table t;
    json_t *reply = NULL, *list, *one;
    size_t i;
    const struct opt table[] = {
        {"filter", 'f', OPT_LIST, &filters, "NAME=VALUE", "only those that match"},
        {"json", 0, OPT_FLAG, &json, NULL, "the engine's answer as JSON"},
        {"quiet", 'q', OPT_FLAG, &quiet, NULL, "names only"},
    };
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 0, 0, &words, &done, e);

    if (r < 0 || done)
        return r;
    r = api_list(c, "/volumes", false, NULL, &filters, &reply, e);
    list = json_object_get(reply, "Volumes");
    if (r >= 0 && json) {
        r = table_json(reply, &out, e);
    } else if (r >= 0 && quiet) {
        json_array_foreach(list, i, one) buf_addf(&out, "%s\n", json_text(one, "Name"));
    } else if (r >= 0) {
        table_init(&t, (const char *const[]){"NAME", "DRIVER", "CREATED", "MOUNTPOINT", NULL});
        json_array_foreach(list, i, one) {
            table_cell(&t, json_text(one, "Name"));
            table_cell(&t, json_text(one, "Driver"));
            table_cell(&t, json_text(one, "CreatedAt"));
            table_cell(&t, json_text(one, "Mountpoint"));
        }
        r = table_print(&t, &out, e);
        table_done(&t);
    }
    json_decref(reply);
    return r < 0 ? r : out_write(&out, e);
}

/* KEY=VALUE texts as an object of strings. */
static int pairs(const struct strv *texts, json_t **ret, struct err *e) {
    json_t *all = json_object();
    int r = json_made(all, e);

    for (size_t i = 0; r == 0 && i < texts->n; i++)
        r = parse_label(texts->v[i], all, e);
    if (r == 0)
        *ret = all;
    else
        json_decref(all);
    return r;
}

int cmd_volume_create(struct cli *c, int argc, char **argv, struct err *e) {
    const char *driver = NULL;
    bool done;
    _cleanup_strv_ struct strv words = STRV_INIT, options = STRV_INIT, labels = STRV_INIT;
    json_t *body = NULL, *reply = NULL, *with_options = NULL, *with_labels = NULL;
    const struct opt table[] = {
        {"driver", 'd', OPT_TEXT, &driver, "NAME", "who keeps it (local)"},
        {"label", 'l', OPT_LIST, &labels, "KEY=VALUE", "a label"},
        {"opt", 'o', OPT_LIST, &options, "KEY=VALUE", "an option of the driver: type, device, o, size"},
    };
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 0, 1, &words, &done, e);

    if (r < 0 || done)
        return r;
    r = pairs(&options, &with_options, e);
    if (r == 0)
        r = pairs(&labels, &with_labels, e);
    if (r == 0) {
        body = json_pack("{s:s, s:s, s:O, s:O}", "Name", words.n ? words.v[0] : "", "Driver", driver ? driver : "local", "DriverOpts", with_options,
                         "Labels", with_labels);
        r = json_made(body, e);
    }
    if (r == 0)
        r = api_call(c, "POST", "/volumes/create", body, &reply, e);
    if (r >= 0)
        printf("%s\n", json_text(reply, "Name"));
    json_decref(with_options);
    json_decref(with_labels);
    json_decref(body);
    json_decref(reply);
    return r < 0 ? r : 0;
}

int cmd_volume_inspect(struct cli *c, int argc, char **argv, struct err *e) {
    bool done;
    _cleanup_strv_ struct strv words = STRV_INIT;
    int r = opts_command(NULL, 0, argc, argv, false, 1, -1, &words, &done, e);

    return r < 0 || done ? r : inspect_names(c, "volume", &words, e);
}

int cmd_volume_rm(struct cli *c, int argc, char **argv, struct err *e) {
    bool force = false, done;
    _cleanup_strv_ struct strv words = STRV_INIT;
    const struct opt table[] = {{"force", 'f', OPT_FLAG, &force, NULL, "no failure when there is none"}};
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 1, -1, &words, &done, e);

    return r < 0 || done ? r : api_each_name(c, "/volumes/", &words, "DELETE", "", (const char *const[]){"force", force ? "1" : "", NULL}, e);
}

int cmd_volume_prune(struct cli *c, int argc, char **argv, struct err *e) {
    bool all = false, done;
    _cleanup_strv_ struct strv words = STRV_INIT, filters = STRV_INIT;
    _cleanup_buf_ struct buf path = BUF_INIT(1 << 20);
    _cleanup_free_ char *text = NULL;
    char size[16];
    json_t *reply = NULL, *name;
    size_t i;
    const struct opt table[] = {
        {"all", 'a', OPT_FLAG, &all, NULL, "also those with a name of their own"},
        {"filter", 'f', OPT_LIST, &filters, "NAME=VALUE", "only those that match: label, label!"},
    };
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 0, 0, &words, &done, e);

    if (r < 0 || done)
        return r;
    if (all && strv_add(&filters, "all=1") < 0)
        return err_oom(e);
    r = api_filters(&filters, &text, e);
    buf_adds(&path, "/volumes/prune");
    api_query(&path, "filters", text);
    if (r == 0)
        r = buf_check(&path, e);
    if (r == 0)
        r = api_call(c, "POST", path.data, NULL, &reply, e);
    if (r < 0)
        return r;
    json_array_foreach(json_object_get(reply, "VolumesDeleted"), i, name) printf("%s\n", json_string_value(name));
    human_bytes(json_number(reply, "SpaceReclaimed"), size);
    if (!c->quiet)
        fprintf(stderr, "%s freed\n", size);
    json_decref(reply);
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
/* docker commit: the container's side of it, and its HTTP face. What an image is made of is image/commit.h's. */
#include "image/commit.h"
#include "api-handlers.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/create.h"
#include "container/life.h"
#include "container/more.h"
#include "image/changes.h"
#include "image/image.h"
#include "registry/reference.h"
#include "wire/call.h"

struct commit {
    struct call *call;
    struct container *c;
    struct image_commit *image;
};

static int take_piece(void *arg, const void *p, size_t n, struct err *e) {
    return image_commit_feed(((struct commit *)arg)->image, p, n, e);
}

static bool client_gone(void *arg) {
    return call_gone(((struct commit *)arg)->call);
}

/* The configuration of the new image: what was sent, else the container's; the changes; what neither says from the container. */
static int make_config(const struct ctr_fixed *f, json_t *body, const struct api_string_list *changes, struct api_container_config *ret,
                       struct err *e) {
    int r = json_object_size(body) > 0 ? api_container_config_read(ret, body, NULL, e) : api_container_config_copy(ret, &f->config, e);

    if (r >= 0)
        r = image_change(ret, changes->v, changes->n, e);
    return r < 0 ? r : ctr_merge_image(ret, &f->config, e);
}

static int check_state(const struct ctr_view *v, struct err *e) {
    if (v->state == ctr_dead)
        return err_set(e, ERR_CONFLICT, "You cannot commit container %s which is Dead", v->fixed->id);
    if (v->state == ctr_removing)
        return err_set(e, ERR_CONFLICT, "You cannot commit container %s which is being removed", v->fixed->id);
    return 0;
}

static void tell(struct container *c, const char *comment, const char *id, const struct reference *name) {
    _cleanup_free_ char *shown = name->path ? reference_familiar(name) : NULL, *said = str_printf("comment=%s", comment ? comment : "");
    _cleanup_free_ char *image = str_printf("imageID=%s", id), *ref = str_printf("imageRef=%s", shown ? shown : "");

    if (said && image && ref)
        container_event(c, "commit", said, image, ref, NULL);
}

static int commit(struct commit *k, const struct q_image_commit *q, json_t *body, const struct reference *name, char **ret_id, struct err *e) {
    _cleanup_view_ struct ctr_view *v = container_view(k->c);
    _cleanup_(api_container_config_done) struct api_container_config config = {0};
    struct ctr_files_options o = {.path = "/", .shown = q->container};
    struct ctr_files_io io = {.piece = take_piece, .gone = client_gone, .arg = k};
    struct image_commit_info info = {
        .container_id = k->c->id, .author = q->author, .comment = q->comment, .config = &config, .container_config = &v->fixed->config, .name = name};
    /* What does not run or stands still already needs no pause: the refusal is no failure of the commit. */
    bool paused;
    int r = check_state(v, e);

    if (r >= 0)
        r = make_config(v->fixed, body, &q->changes, &config, e);
    if (r < 0)
        return r;
    paused = (!q->has_pause || q->pause) && v->state == ctr_running && container_pause(k->c, NULL) >= 0;
    r = image_commit_begin(call_engine(k->call)->images, v->fixed->image_id, &k->image, e);
    if (r >= 0)
        r = container_files(k->c, CTR_FILES_LAYER, &o, &io, e);
    if (r >= 0)
        r = image_commit_end(k->image, &info, ret_id, e);
    if (r >= 0)
        tell(k->c, q->comment, *ret_id, name);
    if (paused)
        ignore_result(container_unpause(k->c, NULL));
    image_commit_free(k->image);
    return r;
}

/* The body may be a whole request for a container, and is judged as one before anything is looked up; only its configuration counts. */
static int check_body(json_t *body, struct err *e) {
    struct api_container_create_request whole = {0};
    int r = body ? api_container_create_request_read(&whole, body, NULL, e) : 0;

    api_container_create_request_done(&whole);
    return r;
}

static int reply(struct call *call, char *id, struct err *e) {
    struct api_id_response res = {.id = id};
    _cleanup_buf_ struct buf b = BUF_INIT(KIB(1));
    int r = api_id_response_write(&res, call_api_version(call), &b, e);

    return r < 0 ? r : call_reply(call, 201, &b, e);
}

int op_image_commit(struct call *call, struct err *e) {
    _cleanup_(q_image_commit_done) struct q_image_commit q = {0};
    _cleanup_reference_ struct reference name = REFERENCE_INIT;
    _cleanup_container_ struct container *c = NULL;
    _cleanup_free_ char *id = NULL;
    struct commit k = {.call = call};
    json_t *body = NULL;
    int r = q_image_commit_read(&q, call_query(call), call_api_version(call), e);

    if (r >= 0)
        r = call_json_optional(call, &body, e);
    if (r >= 0)
        r = check_body(body, e);
    if (r >= 0)
        r = repo_tag_reference(q.repo, q.tag, &name, e);
    if (r >= 0)
        r = containers_find(call_engine(call)->containers, q.container ? q.container : "", &c, e);
    k.c = c;
    if (r >= 0)
        r = commit(&k, &q, body, &name, &id, e);
    json_decref(body);
    return r < 0 ? r : reply(call, id, e);
}

// SPDX-License-Identifier: Apache-2.0
/* POST /containers/{id}/update: other limits for a container, at once when it runs. */
#include "api-handlers.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/life.h"
#include "container/more.h"
#include "container/spec.h"
#include "container/validate.h"
#include "wire/call.h"

#define COPY(field)                                                                                                                                  \
    if (from->field) {                                                                                                                               \
        to->field = from->field;                                                                                                                     \
        to->has_##field = true;                                                                                                                      \
    }

/* The numbers that an update may change; zero means: as it is. Only scalars, nothing to release. */
#define NUMBERS                                                                                                                                      \
    COPY(blkio_weight)                                                                                                                               \
    COPY(cpu_shares)                                                                                                                                 \
    COPY(nano_cpus)                                                                                                                                  \
    COPY(cpu_period)                                                                                                                                 \
    COPY(cpu_quota)                                                                                                                                  \
    COPY(memory)                                                                                                                                     \
    COPY(memory_swap)                                                                                                                                \
    COPY(memory_reservation)                                                                                                                         \
    COPY(cpu_realtime_period)                                                                                                                        \
    COPY(cpu_realtime_runtime)                                                                                                                       \
    COPY(kernel_memory)

/* Two fields belong to some versions of the API alone: the limit of processes came with 1.40, that of the kernel's memory left with 1.42. */
static void wanted(const struct api_container_update_request *from, int version, struct api_host_config *to) {
    NUMBERS
    if (version >= 142) {
        to->has_kernel_memory = false;
        to->kernel_memory = 0;
    }
    to->cpuset_cpus = from->cpuset_cpus;
    to->cpuset_mems = from->cpuset_mems;
    to->restart_policy = from->restart_policy;
    to->pids_limit = MAX(from->pids_limit, 0);
    to->has_pids_limit = version >= 140 && from->has_pids_limit;
    to->memory_swappiness = from->memory_swappiness;
    to->has_memory_swappiness = from->has_memory_swappiness;
    to->oom_kill_disable = from->oom_kill_disable;
    to->has_oom_kill_disable = from->has_oom_kill_disable;
    to->blkio_weight_device = from->blkio_weight_device; /* for the warning alone */
    to->cpu_percent = from->cpu_percent;
    to->has_cpu_percent = from->has_cpu_percent;
}

static int cannot(const char *id, const char *why, struct err *e) {
    return err_set(e, ERR_CONFLICT, "Cannot update container %s: %s", id, why);
}

static int check_conflicts(const struct ctr_fixed *f, const struct api_host_config *want, struct err *e) {
    const struct api_host_config *h = &f->host;

    if (want->nano_cpus > 0 && h->cpu_period > 0)
        return cannot(f->id, "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set", e);
    if (want->nano_cpus > 0 && h->cpu_quota > 0)
        return cannot(f->id, "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set", e);
    if (want->cpu_period > 0 && h->nano_cpus > 0)
        return cannot(f->id, "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set", e);
    if (want->cpu_quota > 0 && h->nano_cpus > 0)
        return cannot(f->id, "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set", e);
    if (want->memory != 0 && want->memory > h->memory_swap && want->memory_swap == 0)
        return cannot(f->id, "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time", e);
    if (h->auto_remove && want->restart_policy && !str_empty(want->restart_policy->name) && !streq(want->restart_policy->name, "no"))
        return cannot(f->id, "Restart policy cannot be updated because AutoRemove is enabled for the container", e);
    return 0;
}

static int merge(struct api_host_config *to, const struct api_host_config *from, struct err *e) {
    NUMBERS
    if (from->has_pids_limit) {
        to->pids_limit = from->pids_limit;
        to->has_pids_limit = true;
    }
    if ((!str_empty(from->cpuset_cpus) && str_set(&to->cpuset_cpus, from->cpuset_cpus) < 0) ||
        (!str_empty(from->cpuset_mems) && str_set(&to->cpuset_mems, from->cpuset_mems) < 0))
        return err_oom(e);
    if (!from->restart_policy || str_empty(from->restart_policy->name))
        return 0;
    if (!to->restart_policy)
        to->restart_policy = api_restart_policy_new();
    if (!to->restart_policy || str_set(&to->restart_policy->name, from->restart_policy->name) < 0)
        return err_oom(e);
    to->restart_policy->maximum_retry_count = from->restart_policy->maximum_retry_count;
    to->restart_policy->has_maximum_retry_count = from->restart_policy->has_maximum_retry_count;
    return 0;
}

static int changed_copy(const struct ctr_fixed *f, const struct api_host_config *want, struct ctr_fixed **ret, struct err *e) {
    int r = ctr_fixed_copy(f, ret, e);

    return r < 0 ? r : merge(&(*ret)->host, want, e);
}

/* In the words of the reference, where a program of that name sets the limits. */
static int refused(const char *id, const char *why, struct err *e) {
    return err_set(e, ERR_INTERNAL, "Cannot update container %s: runc did not terminate successfully: exit status 1: %s\n: unknown", id, why);
}

static int apply(struct container *c, const struct api_host_config *want, const struct api_host_config *now, struct err *e) {
    _cleanup_monitor_ struct monitor *m = NULL;
    _cleanup_err_ struct err why = ERR_INIT;
    struct api_host_config h = *want; /* shallow */
    const char *why_not;
    bool v2 = ctr_on_v2();
    json_t *resources;
    int r = container_monitor(c, &m, e);

    if (r < 0)
        return r;
    why_not = ctr_shares_refused(want, v2);
    if (!why_not)
        why_not = ctr_swap_refused(want, v2);
    if (why_not)
        return refused(c->id, why_not, e);
    /* The reference keeps these two for the next start. */
    h.has_cpu_realtime_period = h.has_cpu_realtime_runtime = false;
    ctr_update_complete(now, &h);
    resources = ctr_spec_resources(&h, e);
    if (!resources)
        return -(int)ERR_INTERNAL;
    if (want->has_pids_limit && want->pids_limit == 0 && json_object_set_new(resources, "pids", json_pack("{s:i}", "limit", -1)) < 0)
        r = err_oom(&why);
    else
        r = monitor_update(m, resources, &why);
    json_decref(resources);
    /* An error number is the kernel's word; what else went wrong says so itself. */
    if (r < 0 && why.errnum)
        return refused(c->id, err_msg(&why), e);
    if (r < 0) {
        err_move(e, &why);
        return err_wrap(e, "Cannot update container %s", c->id);
    }
    return 0;
}

static int update(struct container *c, const struct api_host_config *want, struct err *e) {
    LEASE_ANY struct ctr_held h = CTR_HELD_INIT;
    _cleanup_(ctr_fixed_unrefp) struct ctr_fixed *f = NULL;
    int r = ctr_hold(c, &h, e);

    if (r < 0)
        return r;
    if (h.state == ctr_removing || h.state == ctr_dead)
        return cannot(c->id, "Container is marked for removal and cannot be \"update\".", e);
    r = check_conflicts(c->view->fixed, want, e);
    if (r >= 0)
        r = changed_copy(c->view->fixed, want, &f, e);
    if (r >= 0 && (h.state == ctr_running || h.state == ctr_paused))
        r = apply(c, want, &f->host, e);
    if (r >= 0)
        r = container_replace_fixed(c, TAKE_PTR(f), e);
    if (r < 0)
        return r;
    container_event(c, "update", NULL);
    return 0;
}

static int reply(struct call *call, struct strv *warnings, struct err *e) {
    struct api_container_update_response res = {0};
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_JSON_BODY);
    int r;

    res.warnings.v = warnings->v;
    res.warnings.n = warnings->n;
    res.warnings.set = warnings->n > 0;
    r = api_container_update_response_write(&res, call_api_version(call), &b, e);
    return r < 0 ? r : call_reply(call, 200, &b, e);
}

int op_container_update(struct call *call, struct err *e) {
    struct api_container_update_request req = {0};
    struct api_host_config want = {0}; /* borrows from req */
    _cleanup_strv_ struct strv warnings = STRV_INIT;
    _cleanup_container_ struct container *c = NULL;
    json_t *body = NULL;
    int r = call_json(call, &body, e);

    if (r >= 0 && body)
        r = api_container_update_request_read(&req, body, NULL, e);
    json_decref(body);
    wanted(&req, call_api_version(call), &want);
    if (r >= 0 && (req.io_maximum_bandwidth != 0 || req.io_maximum_iops != 0))
        r = err_set(e, ERR_INVALID, "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps");
    if (r >= 0)
        r = ctr_validate_update(&want, &warnings, e);
    ctr_discard_memory(&want);
    if (strv_has(&warnings, "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."))
        want.blkio_weight = 0;
    want.blkio_weight_device = (struct api_weight_device_list){0};
    if (r >= 0)
        r = containers_find(call_engine(call)->containers, call_path(call, "id"), &c, e);
    if (r >= 0)
        r = update(c, &want, e);
    if (r >= 0)
        r = reply(call, &warnings, e);
    api_container_update_request_done(&req);
    return r;
}

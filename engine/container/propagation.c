// SPDX-License-Identifier: Apache-2.0
/* May mounts pass between the machine and a container? Only where the mount that holds the source lets them. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/mounts.h"
#include "kern/mountinfo.h"

int ctr_check_propagation(const struct ctr_mount *m, struct err *e) {
    bool wants_shared = streq_ptr(m->propagation, "shared") || streq_ptr(m->propagation, "rshared");
    bool wants_slave = streq_ptr(m->propagation, "slave") || streq_ptr(m->propagation, "rslave");
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_JSON_BODY);
    _cleanup_free_ char *real = NULL;
    struct mountinfo at, holder = {.point = ""};
    char *lines;
    bool shared, slave;
    int r;

    if (m->own_propagation || (!wants_shared && !wants_slave))
        return 0;
    real = realpath(m->source, NULL);
    if (!real)
        return 0; /* what is missing is told by who mounts it */
    r = mountinfo_read(&text, &lines, e);
    if (r < 0)
        return r;
    /* The innermost mount holds it; of several at the same place, the last one covers the others. */
    while (mountinfo_next(&lines, &at))
        if (path_is_below(real, at.point) && strlen(at.point) >= strlen(holder.point))
            holder = at;
    shared = holder.tags && mountinfo_has_tag(&holder, "shared:");
    slave = holder.tags && mountinfo_has_tag(&holder, "master:");
    if (shared || (wants_slave && slave))
        return 0;
    return err_set(e, ERR_INTERNAL, "path %s is mounted on %s but it is not a shared%s mount", m->source, holder.point,
                   wants_slave ? " or slave" : "");
}

// SPDX-License-Identifier: Apache-2.0
/*
 * Size limits of local volumes by project quota, where the file system of the data root counts projects (XFS mounted with prjquota, ext4 with its `project`
 * feature): each limited volume is a project of its own, whose number its folder hands on to all that is made in it. The numbers are kept in table volume_limit.
 * The same calls serve both file systems (quotactl_fd(2), ioctl_xfs_fsgetxattr(2)).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "db/db.h"
#include "volume/volume-internal.h"

#define FIRST_PROJECT 1048577 /* below are numbers that people hand out by themselves */
#define SECTOR 512            /* limits are counted in these */

static int quota_call(int fd, unsigned op, unsigned project, void *arg) {
    return syscall(SYS_quotactl_fd, fd, (int)QCMD(op, PRJQUOTA), project, arg) < 0 ? -errno : 0;
}

bool volumes_can_limit(struct volumes *vs) {
    _cleanup_close_ int fd = open(vs->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct fs_quota_statv st = {.qs_version = FS_QSTATV_VERSION1};

    if (fd < 0 || quota_call(fd, Q_XGETQSTATV, 0, &st) < 0)
        return false;
    return st.qs_flags & FS_QUOTA_PDQ_ENFD;
}

static int set_limit(int fd, unsigned project, uint64_t bytes, struct err *e) {
    struct fs_disk_quota d = {.d_version = FS_DQUOT_VERSION, .d_flags = FS_PROJ_QUOTA, .d_fieldmask = FS_DQ_BHARD | FS_DQ_BSOFT, .d_id = project};
    int r;

    d.d_blk_hardlimit = d.d_blk_softlimit = (bytes + SECTOR - 1) / SECTOR;
    r = quota_call(fd, Q_XSETQLIM, project, &d);
    return r < 0 ? err_errno(e, r, "set the size limit") : 0;
}

int volume_limit_set(struct volumes *vs, const struct volume *v, uint64_t bytes, struct err *e) {
    _cleanup_close_ int fd = open(v->record.mountpoint, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct fsxattr x;
    int64_t project = 0;
    int r;

    if (fd < 0)
        return err_errno(e, errno, "open %s", v->record.mountpoint);
    r = db_exec(vs->engine->db,
                "INSERT OR IGNORE INTO volume_limit(project, name) VALUES((SELECT max(ifnull(max(project), 0) + 1, ?1) FROM volume_limit), ?2)",
                DB_ARGS(DB_INT(FIRST_PROJECT), DB_TEXT(v->record.name)), e);
    if (r == 0)
        r = db_query_int(vs->engine->db, "SELECT project FROM volume_limit WHERE name = ?1", DB_ARGS(DB_TEXT(v->record.name)), &project, e);
    if (r < 0)
        return r;
    if (ioctl(fd, FS_IOC_FSGETXATTR, &x) < 0)
        return err_errno(e, errno, "set the size limit");
    x.fsx_projid = (unsigned)project;
    x.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    if (ioctl(fd, FS_IOC_FSSETXATTR, &x) < 0)
        return err_errno(e, errno, "set the size limit");
    return set_limit(fd, (unsigned)project, bytes, e);
}

int volume_limit_swap(struct volumes *vs, const char *a, const char *b, struct err *e) {
    /* No volume has this name. */
    static const char *const between = ".";
    const char *const steps[][2] = {{a, between}, {b, a}, {between, b}};
    int r = 0;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(steps); i++)
        r = db_exec(vs->engine->db, "UPDATE volume_limit SET name = ?2 WHERE name = ?1", DB_ARGS(DB_TEXT(steps[i][0]), DB_TEXT(steps[i][1])), e);
    return r;
}

int volume_limit_drop(struct volumes *vs, const char *name, struct err *e) {
    _cleanup_close_ int fd = -EBADF;
    int64_t project = 0;

    if (db_query_int(vs->engine->db, "SELECT project FROM volume_limit WHERE name = ?1", DB_ARGS(DB_TEXT(name)), &project, NULL) < 0)
        return 0;
    fd = open(vs->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* The number may be given out again: its limit must be gone. */
    if (fd >= 0)
        ignore_result(set_limit(fd, (unsigned)project, 0, NULL) < 0);
    return db_exec(vs->engine->db, "DELETE FROM volume_limit WHERE name = ?1", DB_ARGS(DB_TEXT(name)), e);
}

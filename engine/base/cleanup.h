// SPDX-License-Identifier: Apache-2.0
/*
 * cleanup.h - scope cleanup: whatever has an undo is undone when the scope ends.
 *
 * Usage: `_cleanup_free_ char *s = NULL;`, `_cleanup_close_ int fd = -EBADF;`. To hand ownership over: `*ret_s = TAKE_PTR(s);`,
 * `return TAKE_FD(fd);`. A closed or never opened descriptor is -EBADF.
 * DEFINE_CLEANUP(type *, func) makes `func##p(type **)`, to be used as `_cleanup_(func##p)`.
 */
#ifndef HATAKE_BASE_CLEANUP_H
#define HATAKE_BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define MUST_USE __attribute__((warn_unused_result))

#define TAKE_PTR(p)                                                                                                                                  \
    ({                                                                                                                                               \
        __typeof__(p) *_pp = &(p);                                                                                                                   \
        __typeof__(p) _v = *_pp;                                                                                                                     \
        *_pp = NULL;                                                                                                                                 \
        _v;                                                                                                                                          \
    })
#define TAKE_FD(fd)                                                                                                                                  \
    ({                                                                                                                                               \
        int *_pfd = &(fd);                                                                                                                           \
        int _fd = *_pfd;                                                                                                                             \
        *_pfd = -EBADF;                                                                                                                              \
        _fd;                                                                                                                                         \
    })

#define DEFINE_CLEANUP(type, func)                                                                                                                   \
    static inline void func##p(type *slot) {                                                                                                         \
        if (*slot)                                                                                                                                   \
            func(*slot);                                                                                                                             \
    }

/* Close when it is a descriptor; errno is kept. Returns -EBADF, so `fd = close_fd(fd);` resets the slot. */
static inline int close_fd(int fd) {
    if (fd >= 0) {
        int saved = errno;

        close(fd);
        errno = saved;
    }
    return -EBADF;
}

static inline void cleanup_freep(void *slot) {
    free(*(void **)slot);
}
static inline void cleanup_closep(int *fd) {
    close_fd(*fd);
}
static inline void cleanup_closedirp(DIR **d) {
    if (*d)
        closedir(*d);
}
static inline void cleanup_fclosep(FILE **f) {
    if (*f)
        fclose(*f);
}

#define _cleanup_free_ _cleanup_(cleanup_freep)
#define _cleanup_close_ _cleanup_(cleanup_closep)
#define _cleanup_closedir_ _cleanup_(cleanup_closedirp)
#define _cleanup_fclose_ _cleanup_(cleanup_fclosep)

#define ELEMENTSOF(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)                                                                                                                                    \
    ({                                                                                                                                               \
        __typeof__(a) _a = (a);                                                                                                                      \
        __typeof__(b) _b = (b);                                                                                                                      \
        _a < _b ? _a : _b;                                                                                                                           \
    })
#define MAX(a, b)                                                                                                                                    \
    ({                                                                                                                                               \
        __typeof__(a) _a = (a);                                                                                                                      \
        __typeof__(b) _b = (b);                                                                                                                      \
        _a > _b ? _a : _b;                                                                                                                           \
    })

/* Say that a result is dropped on purpose. */
#define ignore_result(expr)                                                                                                                          \
    do {                                                                                                                                             \
        if (expr) {                                                                                                                                  \
        }                                                                                                                                            \
    } while (0)

#endif

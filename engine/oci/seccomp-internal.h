// SPDX-License-Identifier: Apache-2.0
/* seccomp-internal.h - shared by the files of the seccomp compiler and its test; nobody else includes it. */
#ifndef HATAKE_OCI_SECCOMP_INTERNAL_H
#define HATAKE_OCI_SECCOMP_INTERNAL_H

#include <linux/filter.h>
#include <stddef.h>

#include "oci/build.h"

extern const char *const seccomp_always[]; /* NULL-terminated */

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * changes.h - Dockerfile instructions that change an image's configuration (docker import --change, docker commit --change).
 * Taken: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR. Pure functions.
 */
#ifndef HATAKE_IMAGE_CHANGES_H
#define HATAKE_IMAGE_CHANGES_H

#include <stddef.h>

#include "base/err.h"

struct api_container_config;

/*
 * Apply n changes, which together are one Dockerfile (dockerfile.h); variables in it have the values of config's environment. An ENTRYPOINT drops the command of before, but not
 * one that was set beside it. ERR_INVALID with a text for people when an instruction is none or cannot be used here: the configuration may be changed in part then.
 */
int image_change(struct api_container_config *config, char *const *changes, size_t n, struct err *e);

#endif

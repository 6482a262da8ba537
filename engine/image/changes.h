// SPDX-License-Identifier: Apache-2.0
/*
 * changes.h - Dockerfile instructions that change an image's configuration (docker import --change, docker commit --change).
 * Taken: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR. Pure functions.
 */
#ifndef HATAKE_IMAGE_CHANGES_H
#define HATAKE_IMAGE_CHANGES_H

#include <stdbool.h>

#include "base/err.h"

struct api_container_config;

/*
 * Apply one instruction; variables in it have the values of config's environment. *cmd_set (false before the first) remembers that one was CMD: an ENTRYPOINT
 * drops the command of before, but not one that was set beside it. ERR_INVALID with a text for people when it is none or cannot be used here.
 */
int image_change(struct api_container_config *config, const char *instruction, bool *cmd_set, struct err *e);

#endif

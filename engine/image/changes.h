// SPDX-License-Identifier: Apache-2.0
/*
 * changes.h - Dockerfile instructions that change an image's configuration (docker import --change, docker commit --change).
 * Taken: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR. Pure functions.
 */
#ifndef HATAKE_IMAGE_CHANGES_H
#define HATAKE_IMAGE_CHANGES_H

#include "base/err.h"

struct api_container_config;

/* Apply one instruction. ERR_INVALID with a text for people when it is none or cannot be used here. */
int image_change(struct api_container_config *config, const char *instruction, struct err *e);

#endif

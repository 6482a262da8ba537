// SPDX-License-Identifier: Apache-2.0
/*
 * table.h - results as text: columns, ages, indented JSON. Threads: one at a time.
 */
#ifndef HATAKE_CLI_TABLE_H
#define HATAKE_CLI_TABLE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/strv.h"

#define TABLE_COLUMNS_MAX 12

struct table {
    size_t columns;
    struct strv cells; /* row after row, the heads first */
    bool failed;       /* memory ran out */
};

/* NULL-terminated heads. */
void table_init(struct table *t, const char *const *heads);
void table_done(struct table *t);
/* The next cell of the present row; control characters are shown as '?'. */
void table_cell(struct table *t, const char *text);
/* All rows, columns padded to their widest cell (characters, not bytes). */
int table_print(const struct table *t, struct buf *out, struct err *e);
/* JSON, indented by four. */
int table_json(const json_t *j, struct buf *out, struct err *e);

/* "3 minutes ago". */
void human_age(int64_t seconds, char ret[48]);

#endif

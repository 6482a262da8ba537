// SPDX-License-Identifier: Apache-2.0
/*
 * codec.h - JSON to C structs and back, driven by tables.
 *
 * Purpose: one reader, one writer, one releaser and one checker for every typed struct that spec/tools/gen.py makes from the API
 * description. The generated code is read-only tables (no pointers, so no relocations) plus thin inline wrappers; handlers use
 * the wrappers of build/gen/types.h and never this header.
 *
 * How a value is kept in C
 *   string            char *              NULL = unset
 *   bool/integer/real bool/int64_t/double and a `has_` flag beside it; for the writer a value other than zero is there without it, too
 *   object            struct x *          NULL = unset
 *   array             struct {size_t n; T *v; bool set;}
 *   string -> T       struct {size_t n; struct {char *key; T value;} *v; bool set;}   (objects as T are pointers)
 *   set of strings    struct {size_t n; char **v; bool set;}   (an object whose values are all {})
 *   free form         json_t *            NULL = unset
 *
 * Reading follows Go's encoding/json, because clients see its rules and its error texts: keys match exactly or else without regard to case,
 * the last one wins, unknown keys are ignored, null leaves scalars and structs as they are and empties lists, maps and
 * optional objects. The first type error in document order is reported (ERR_INVALID), after the whole value has been read, with Go's
 * text. Writing follows the order of the tables and Go's omitempty rules (see enum codec_unset).
 *
 * Ownership: read fills memory that the caller releases with done. The json_t handed to read is borrowed. Strings are copied.
 * Threads: everything here is re-entrant; tables are constant.
 */
#ifndef HATAKE_WIRE_CODEC_H
#define HATAKE_WIRE_CODEC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Shapes of C storage. */
enum codec_kind {
    CODEC_STRING,
    CODEC_BOOL,
    CODEC_INT,
    CODEC_DOUBLE,
    CODEC_OBJECT,
    CODEC_LIST,
    CODEC_MAP,
    CODEC_SET,
    CODEC_ANY,
};

/* What the writer makes of an unset field. */
enum codec_unset {
    CODEC_OMIT,  /* nothing; and a zero value (0, false, "", no elements) is left out too, unless CODEC_POINTER is set */
    CODEC_NULL,  /* null */
    CODEC_ZERO,  /* "", 0, false, an object of zero values; lists and maps: null */
    CODEC_EMPTY, /* "", [], {} */
};

/* Flags of a field. */
enum {
    CODEC_REQUIRED = 1, /* a reply must have it (checker only) */
    CODEC_POINTER = 2,  /* the reference keeps it behind a pointer: unset and zero are different things */
    CODEC_NULLABLE = 4, /* a reply may hold null (checker only) */
};

/* Flags of a type. */
enum {
    CODEC_UNSIGNED = 1, /* CODEC_INT */
    CODEC_STRSLICE = 2, /* CODEC_LIST of strings: a bare string is read as a list of one */
    CODEC_FIXED = 4,    /* CODEC_LIST: a fixed number of elements (`bits` of them); surplus ignored, missing are zero */
    CODEC_TIME = 8,     /* CODEC_STRING: the zero value is 0001-01-01T00:00:00Z */
    CODEC_BYREF = 16,   /* CODEC_OBJECT: list elements may be null */
};

#define CODEC_NONE UINT16_MAX

struct codec_type {
    uint8_t kind;   /* enum codec_kind */
    uint8_t flags;  /* CODEC_UNSIGNED... */
    uint8_t bits;   /* CODEC_INT: 8, 16, 32, 64; CODEC_FIXED: elements */
    uint8_t n_enum; /* CODEC_STRING: allowed values, for the checker; 0 = any */
    uint16_t elem;  /* CODEC_LIST, CODEC_MAP: index of the element's type */
    uint16_t st;    /* CODEC_OBJECT: index of the struct */
    uint16_t size;  /* bytes of an element (list) or of an entry (map) in C */
    uint16_t value; /* CODEC_MAP: offset of the value in an entry */
    uint32_t go;    /* pool: the reference's name of this type, for error texts */
    uint32_t enums; /* pool: n_enum strings one after the other, each with its NUL */
};

struct codec_field {
    uint32_t name;  /* pool: key in JSON */
    uint32_t embed; /* pool: path of embedded Go structs the field comes from, "" when its own */
    uint16_t type;  /* index */
    uint16_t off;   /* offset of the value */
    uint16_t has;   /* offset of the has_ flag, CODEC_NONE when the value tells by itself */
    uint8_t unset;  /* enum codec_unset */
    uint8_t flags;  /* CODEC_REQUIRED... */
    uint8_t since;  /* first API version (minor number) that has it, 0 = always */
    uint8_t until;  /* last one, 255 = still there */
};

struct codec_struct {
    uint32_t name;  /* pool: name in the API description */
    uint32_t go;    /* pool: Go's name with its package ("container.HostConfig") */
    uint16_t first; /* index of the first field */
    uint16_t n;     /* number of fields */
    uint16_t size;  /* sizeof the C struct */
    uint16_t open;  /* 1: further keys are allowed in replies (checker only) */
};

struct codec_schema {
    const char *pool;
    const struct codec_type *types;
    const struct codec_field *fields;
    const struct codec_struct *structs;
};

/* Version argument of writers: minor API number (45 for v1.45; 145 is accepted too), and flags. */
enum {
    CODEC_VERSION_MASK = 0xffff,
    CODEC_ESCAPE_HTML = 0x10000, /* <, > and & as \u escapes, as the reference's streams do and its plain replies do not */
    CODEC_SPARSE = 0x20000,      /* leave out every unset field, whatever its table entry says */
};

/*
 * Read `in` (NULL: a value that is absent, which changes nothing) into the zero-initialised (or earlier filled) value at `ret`, which is of `type`.
 *   go_path  where the value sits, for error texts ("HostConfig.LogConfig"); "" for the root; NULL for a whole request body,
 *            which puts the reference's "invalid JSON: " before the text.
 * Returns 0, or ERR_INVALID with Go's text ("json: cannot unmarshal string into Go struct field ..."), or out of memory. On failure `ret`
 * holds what could be read; the caller releases it all the same.
 */
int codec_read(const struct codec_schema *s, unsigned type, void *ret, json_t *in, const char *go_path, struct err *e);

/* Append the JSON text of the value. `version` as above. Fails only when `out` does (too large, no memory). */
int codec_write(const struct codec_schema *s, unsigned type, const void *v, int version, struct buf *out, struct err *e);

/* Release everything inside the value and make it all zero. The value itself stays the caller's. */
void codec_done(const struct codec_schema *s, unsigned type, void *v);

/* Deep copy of the value at `from` into the all-zero value at `ret`. Out of memory leaves a part, which codec_done() releases. */
int codec_copy(const struct codec_schema *s, unsigned type, void *ret, const void *from, struct err *e);

/*
 * Strict check of a reply: an unknown key, a wrong type, a missing required key, a value outside an enumeration, a null where none may
 * be are errors (ERR_INTERNAL, with the path of the culprit: "ContainerSummary.Ports[0].Type: ...").
 */
int codec_check(const struct codec_schema *s, unsigned type, const json_t *body, struct err *e);

/*
 * JSON text to json_t by Go's grammar, with Go's syntax errors ("invalid character 'x' looking for beginning of value", "unexpected EOF")
 * as ERR_INVALID. Nesting is limited (LIMIT_JSON_DEPTH_API) and so is the number of values, duplicate keys: last wins, integers outside 64 bits
 * become reals, bytes that are not UTF-8 become U+FFFD.
 *   ret_end  where the value ended (may be NULL); with NULL anything but white space after it is an error.
 */
int codec_parse(const char *text, size_t n, json_t **ret, size_t *ret_end, struct err *e);

/*
 * May this text from elsewhere be given to a parser that does not count, jansson's? ERR_INVALID when it has more than LIMIT_JSON_VALUES values: three bytes of text can
 * cost a hundred times as many once they are read. What is no JSON passes; the parser will say so.
 */
int codec_count(const char *text, size_t n, struct err *e);

/*
 * Body of a request, with the wording of the reference: "invalid JSON: ..." before syntax errors, "invalid JSON: got EOF while reading request
 * body" for an empty one, "unexpected content after JSON" for a second value.
 */
int codec_parse_body(const char *text, size_t n, json_t **ret, struct err *e);

/*
 * Growing lists, for the generated helpers. codec_list_add() appends one all-zero element of `size` bytes and returns it, NULL when out of
 * memory. The others copy their strings; 0 or a negative error code (out of memory).
 */
void *codec_list_add(size_t *n, void **v, bool *set, size_t size);
int codec_string_add(size_t *n, char ***v, bool *set, const char *s, struct err *e);
int codec_string_map_set(size_t *n, void **v, bool *set, const char *key, const char *value, struct err *e);

/* Append an entry with a copy of `key` and a zero value to a map whose entries have `size` bytes; NULL when out of memory. Does not look for the key. */
void *codec_map_add(size_t *n, void **v, bool *set, size_t size, const char *key);
/* The entry of `key`, or NULL. */
void *codec_map_get(size_t n, void *v, size_t size, const char *key);

/* What Go's decoder calls a value that does not fit: "object", "array", "string", "bool" or "number". Static. */
const char *codec_word(const json_t *in);

/* As buf_add_json_string(), but <, > and & stay as they are when `html` is false. */
void codec_add_string(struct buf *out, const char *s, bool html);

/* How a query parameter is parsed; the names of Go functions say whose error text is used. */
enum codec_query_kind {
    CODEC_Q_STRING,
    CODEC_Q_LIST,        /* repeated */
    CODEC_Q_BOOL,        /* "", 0, no, false, none (any case, trimmed) are false, everything else is true */
    CODEC_Q_PARSE_BOOL,  /* strconv.ParseBool */
    CODEC_Q_ATOI,        /* strconv.Atoi; empty = absent */
    CODEC_Q_ATOI_NEED,   /* strconv.Atoi; absent or empty is an error too */
    CODEC_Q_INT64,       /* strconv.ParseInt; empty = absent */
    CODEC_Q_INT64_LAX,   /* the same, an error gives 0 */
    CODEC_Q_UINT64_NEED, /* strconv.ParseUint; absent or empty is an error too */
};

struct codec_param {
    uint32_t name; /* pool */
    uint16_t off;
    uint16_t has;  /* CODEC_NONE for strings and lists */
    uint8_t kind;  /* enum codec_query_kind */
    uint8_t error; /* enum err_kind of a parse error */
    uint8_t def;   /* CODEC_Q_BOOL: value when absent */
    uint8_t since; /* minor version before which the parameter is ignored, 0 = always known */
    uint32_t wrap; /* pool: own words before a parse error ("" = none; %s = the value); without a blank at the end they are all of it */
};

/*
 * Fill the struct at `ret` (zero-initialised by the caller) from a raw query string (after '?', not decoded; NULL = empty). First value wins, as
 * in Go's Form.Get. Unknown parameters and pairs with a bad escape or a ';' are ignored.
 */
int codec_query_read(const char *pool, const struct codec_param *p, size_t n, void *ret, const char *query, int version, struct err *e);
void codec_query_done(const struct codec_param *p, size_t n, void *q);

#endif

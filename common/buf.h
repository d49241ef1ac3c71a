/*
 * buf.h -- a growing byte buffer that is born with a ceiling, and JSON into it.
 *
 * Every append either fits or marks the buffer as failed; a failed buffer stays
 * failed and ignores further appends, so a writer checks once, at the end.
 *
 * The JSON part writes only (reading is cJSON's): it adds commas by itself and
 * escapes strings; bytes that are not UTF-8 become U+FFFD, so that what it
 * writes is always valid JSON. It exists because a swarm of 2,000 peers is 40,000
 * values, written on every change, and because the contracts fix the form of
 * numbers (100.0 stays a float), which cJSON does not. Depth is bounded by
 * JSON_DEPTH, asserted. Proof: tests/unit/test_common.c.
 */
#ifndef PEERSCOPE_COMMON_BUF_H
#define PEERSCOPE_COMMON_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct buf {
	char *p;		/* NULL until the first append; then p[len] is a NUL */
	size_t len, cap, max;	/* bytes; max is the ceiling */
	int failed;		/* ceiling reached, or out of memory */
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_free(struct buf *b);			/* frees p; b may be used again after buf_init */
void buf_reset(struct buf *b);			/* empty and not failed; memory is kept */
void buf_add(struct buf *b, const void *data, size_t len);
void buf_str(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) PS_PRINTF(2, 3);
/* Ownership of the bytes goes to the caller, who frees; b is empty afterwards. */
PS_MUST char *buf_take(struct buf *b, size_t *len);

/* Bytes of the UTF-8 sequence at s, of which left are there; 0: it is none (RFC 3629). */
size_t utf8_len(const void *s, size_t left);

#define JSON_DEPTH 16

struct json {
	struct buf *out;		/* borrowed */
	int depth;
	uint8_t comma[JSON_DEPTH];	/* a value stands already at this depth */
};

/* key is NULL inside an array and at the top. Keys are literals: not escaped. */
void json_init(struct json *j, struct buf *out);
void json_obj(struct json *j, const char *key);
void json_obj_end(struct json *j);
void json_arr(struct json *j, const char *key);
void json_arr_end(struct json *j);
void json_str(struct json *j, const char *key, const char *s);
void json_strn(struct json *j, const char *key, const char *s, size_t len);
void json_int(struct json *j, const char *key, int64_t v);
void json_uint(struct json *j, const char *key, uint64_t v);
/* v scaled by 10^decimals (1 .. 18): (12345, 3) is 12.345. Zeros at the end go, but
 * for the one that keeps it a float: (10000, 2) is 100.0. */
void json_fixed(struct json *j, const char *key, int64_t v, int decimals);
void json_bool(struct json *j, const char *key, int v);
void json_null(struct json *j, const char *key);
/* The value, or null: s is NULL; known is 0. */
void json_str_or_null(struct json *j, const char *key, const char *s);
void json_uint_known(struct json *j, const char *key, uint64_t v, int known);

#endif

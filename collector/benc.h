/*
 * benc.h -- bencode (BEP 3), read where it lies: strict, bounded, nothing allocated.
 *
 * One form of a value only: integers and lengths without leading zeros and inside int64,
 * keys sorted as raw bytes and never twice, at most BENC_DEPTH lists and dicts inside one
 * another, BENC_MAX bytes. Hence what benc_read passed is canonical: the same bytes would
 * be written again, and a digest over them (contracts/acestream-wire.md 3.5) needs no
 * writer. Everything below it takes a value that benc_read passed, or a part of one, or
 * "none"; all spans borrow the caller's bytes. Pure.
 * Proof: tests/unit/test_benc.c, tests/fuzz/fuzz_ace.c.
 */
#ifndef PEERSCOPE_COLLECTOR_BENC_H
#define PEERSCOPE_COLLECTOR_BENC_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define BENC_MAX 65536u			/* bytes; a peer may send no more in all */
#define BENC_DEPTH 32			/* an extended handshake needs 2 */

enum benc_rc {
	BENC_OK,
	BENC_SHORT,			/* ends inside a value */
	BENC_LONG,			/* goes on behind it */
	BENC_BIG,			/* more than BENC_MAX bytes */
	BENC_DEEP,			/* more than BENC_DEPTH */
	BENC_BAD_INT,			/* 03, -0, no digit, beyond int64 */
	BENC_BAD_STR,			/* length with a leading zero or without a colon, or too long */
	BENC_BAD_KEY,			/* a key that is no string, or without a value */
	BENC_UNSORTED,			/* a key before its time, or twice */
	BENC_BAD_BYTE,			/* no value begins like this */
};

enum benc_type { BENC_NONE, BENC_INT, BENC_STR, BENC_LIST, BENC_DICT };

/* One whole value: len bytes from its first to its last. "None" is {NULL, 0}. */
struct benc {
	const uint8_t *p;
	size_t len;
};

/* Bytes inside a string. Not terminated; may hold anything. */
struct benc_span {
	const uint8_t *p;		/* NULL: it was no string */
	size_t len;
};

struct benc_iter {
	const uint8_t *at, *end;
	int dict;
};

/* All of the len bytes are one value. out may stay unset unless BENC_OK. */
PS_MUST enum benc_rc benc_read(struct benc *out, const void *bytes, size_t len);
const char *benc_rc_name(enum benc_rc rc);	/* "unsorted", ... */

enum benc_type benc_type(struct benc v);
/* The value of a key; none if there is no such key, or d is no dict. */
struct benc benc_get(struct benc d, const char *key);
/* def: v is none, or something else. */
int64_t benc_int(struct benc v, int64_t def);
struct benc_span benc_str(struct benc v);

/* Every value of a list or dict, in order; key (NULL for lists) may be NULL. 0: no more,
 * or v is neither. */
void benc_begin(struct benc_iter *it, struct benc v);
int benc_next(struct benc_iter *it, struct benc_span *key, struct benc *value);

#endif

/*
 * benc.h -- bencode (BEP 3), read where it lies: strict, bounded, nothing allocated.
 *
 * One form of a value only: integers and lengths without leading zeros and inside int64,
 * keys sorted as raw bytes and never twice, at most BENC_DEPTH lists and dicts inside one
 * another, BENC_MAX bytes. Hence what benc_read passed is canonical: the same bytes would
 * be written again, and a digest over them (contracts/acestream-wire.md 3.5) needs no
 * writer. Torrents are larger and deeper, and old makers of them did not sort: their hash is
 * over the bytes as they are, so benc_read_in takes bounds, and any order if it is told so.
 * Everything below it takes a value that one of both passed, or a part of one, or "none"; all
 * spans borrow the caller's bytes. Pure.
 * Proof: tests/unit/test_benc.c, tests/fuzz/fuzz_ace.c, fuzz_meta.c.
 */
#ifndef PEERSCOPE_COLLECTOR_BENC_H
#define PEERSCOPE_COLLECTOR_BENC_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define BENC_MAX 65536u			/* bytes; a peer may send no more in all */
#define BENC_DEPTH 32			/* an extended handshake needs 2 */
#define BENC_DEPTH_MAX 100		/* of any bounds; libtorrent reads no deeper, too */

struct benc_bounds {
	size_t bytes;
	int depth;			/* at most BENC_DEPTH_MAX */
	int any_order;			/* keys may come unsorted, or twice */
};

enum benc_rc {
	BENC_OK,
	BENC_SHORT,			/* ends inside a value */
	BENC_LONG,			/* goes on behind it */
	BENC_BIG,			/* more bytes than its bounds */
	BENC_DEEP,			/* deeper than its bounds */
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
PS_MUST enum benc_rc benc_read_in(struct benc *out, const void *bytes, size_t len,
				  const struct benc_bounds *bounds);
const char *benc_rc_name(enum benc_rc rc);	/* "unsorted", ... */

enum benc_type benc_type(struct benc v);
/* The value of a key (of the first of them); none if there is no such key, or d is no dict. */
struct benc benc_get(struct benc d, const char *key);
/* Several keys at once: each value as benc_get gives it. One pass, as a hostile dict may be as
 * long as the whole. */
struct benc_pick {
	const char *key;
	struct benc *to;
};
void benc_pick(struct benc d, const struct benc_pick *want, size_t n);
/* def: v is none, or something else. */
int64_t benc_int(struct benc v, int64_t def);
struct benc_span benc_str(struct benc v);
int benc_is(struct benc_span s, const char *text);

/* Every value of a list or dict, in order; key (NULL for lists) may be NULL. 0: no more,
 * or v is neither. */
void benc_begin(struct benc_iter *it, struct benc v);
int benc_next(struct benc_iter *it, struct benc_span *key, struct benc *value);

/*
 * A dict of dicts, walked without passing over each level once for every level above it. it
 * stands at the beginning of a dict's inside (benc_begin of the outermost) or behind what
 * the last call gave.
 */
enum benc_walk {
	BENC_WALK_VALUE,		/* key and value are set; the value lies behind us */
	BENC_WALK_DOWN,			/* key is set; we are inside its dict now */
	BENC_WALK_UP,			/* the dict that we were in has ended */
	BENC_WALK_END,			/* the outermost one */
};
/* leaf: what has that key is given as a value, dict or not. */
enum benc_walk benc_walk(struct benc_iter *it, const char *leaf, struct benc_span *key,
			 struct benc *value);

#endif

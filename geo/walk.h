/*
 * walk.h -- values of an MMDB file, looked at before libmaxminddb meets them.
 *
 * libmaxminddb skips a map or an array by calling itself for whatever is in it, however deep
 * (1.7.1): some kilobytes that are arrays within arrays end the process. So the metadata is
 * walked before it opens a file, and each record, with all that pointers in it lead to,
 * before it looks anything up there. A value is as it should be if each part of it lies in
 * its section and is as long as its type may be, keys are texts, no pointer leads to another
 * one, it is WALK_DEPTH deep at most, and has WALK_VALUES parts at most until pointers, and
 * that many again behind each: looking it up takes so long and no longer.
 *
 * The format: MaxMind DB 2.0. Pure. Proof: tests/unit/test_geo_walk.c, tests/fuzz/fuzz_mmdb.c.
 */
#ifndef PEERSCOPE_GEO_WALK_H
#define PEERSCOPE_GEO_WALK_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* Seven are known to be used (MaxMind's Enterprise); one takes some 300 bytes of stack. */
#define WALK_DEPTH 32
/* Keys count. MaxMind's fullest records have some 400; to pass this many takes 20 us. */
#define WALK_VALUES 2048u
/* The metadata begins behind its mark, in the last so many bytes of a file. */
#define WALK_META_BYTES (128u << 10)

enum walk_rc {
	WALK_OK = 0,
	WALK_DAMAGED = -1,
	WALK_DEEP = -2,			/* more than WALK_DEPTH */
	WALK_LONG = -3,			/* more than WALK_VALUES */
	WALK_STOPPED = -4,
};
const char *walk_word(enum walk_rc rc);

struct walk {
	const uint8_t *p;		/* the section, borrowed */
	size_t len;
	uint64_t *met;			/* len bits, 0 at first: where pointers led; NULL: what
					 * is pointed to twice is walked twice */
	uint64_t values, max;		/* so far; and of all walks */
	const atomic_int *stop;		/* not 0: give up; may be NULL */
};

/* The section p[0 .. len). met: (len + 63) / 64 words, so that no value is walked for each
 * pointer to it, or NULL. */
void walk_begin(struct walk *w, const uint8_t *p, size_t len, uint64_t *met,
		const atomic_int *stop);
/* The value that begins at `at`, and what it points to. */
PS_MUST enum walk_rc walk_value(struct walk *w, size_t at);
/* The metadata in the last bytes of a file (WALK_META_BYTES, or all). WALK_OK also where
 * there is none. */
PS_MUST enum walk_rc walk_meta(const uint8_t *tail, size_t len);

#endif

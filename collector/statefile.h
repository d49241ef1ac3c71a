/*
 * statefile.h -- lists of swarms in one file, from one life of the daemon to the next.
 *
 *   magic, format, how many, when | length, id, a list (listcode.h) | ... | hash of all that
 *
 * Numbers are little-endian. A file is believed whole or not at all: it may be torn, old, or of
 * somebody else. Each list says by itself whether it is of this version. Pure.
 * Proof: tests/unit/test_statefile.c, tests/fuzz/fuzz_list.c.
 */
#ifndef PEERSCOPE_COLLECTOR_STATEFILE_H
#define PEERSCOPE_COLLECTOR_STATEFILE_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/ident.h"

/* All peers of 1,000 swarms of 50 are 5 MB. What is beyond is left out, oldest first. */
#define STATEFILE_MAX (16u << 20)
#define STATEFILE_LEAST 4096u		/* bytes that a buffer for it has to have */
#define STATEFILE_LISTS 100000u		/* shm.swarms at most */

/* Into a buffer of STATEFILE_MAX at most: begin, add, ..., end. now_ms: wall. */
void statefile_begin(struct buf *b, uint64_t now_ms);
/* -1: there is no room for it; the file stays good without it. */
PS_MUST int statefile_add(struct buf *b, const uint8_t id[IH_LEN], const void *list,
			  size_t len);
/* -1: out of memory. */
PS_MUST int statefile_end(struct buf *b);

struct statefile {			/* borrows what it was opened with */
	const uint8_t *p;
	size_t at, end;
	uint32_t left;
	uint64_t saved_ms;		/* wall */
};
/* -1: err, with what is wrong. */
PS_MUST int statefile_open(struct statefile *f, const void *p, size_t len, uint64_t now_ms,
			   char err[ERRLEN]);
/* The next list. 0: there is none any more. */
int statefile_next(struct statefile *f, const uint8_t **id, const void **list, size_t *len);

#endif

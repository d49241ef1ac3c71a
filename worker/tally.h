/*
 * tally.h -- how often each text occurs. Fixed memory: one text per peer of a slot at
 * most. Pure scratch, emptied before each use. Hashes are keyed, since strangers choose
 * their client's name.
 */
#ifndef PEERSCOPE_WORKER_TALLY_H
#define PEERSCOPE_WORKER_TALLY_H

#include <stdint.h>

#include "common/conf.h"

#define TALLY_MAX CONF_SLOT_PEERS
#define TALLY_CELLS 4096u		/* power of two, above twice TALLY_MAX */
#define TALLY_TEXT_MAX 256		/* with its NUL; a longer one is cut */
_Static_assert(TALLY_CELLS >= 2 * TALLY_MAX, "there is always a free cell");

struct tally {
	uint32_t n;			/* distinct texts */
	struct {
		uint32_t at;		/* in text */
		uint32_t count;
		uint16_t first;		/* what was given with its first occurrence */
	} entry[TALLY_MAX];
	uint16_t order[TALLY_MAX], spare[TALLY_MAX];
	uint32_t text_len;
	uint16_t cell[TALLY_CELLS];	/* entry + 1; 0: free */
	char text[TALLY_MAX * TALLY_TEXT_MAX];
};

void tally_reset(struct tally *t);
/* Counts text; the number of its entry. At most TALLY_MAX times after a reset. */
uint32_t tally_add(struct tally *t, uint64_t seed, const char *text, uint32_t first);
const char *tally_text(const struct tally *t, uint32_t entry);
/* order[0 .. n): entries by their text, or by count (largest first) and then text. */
void tally_by_text(struct tally *t);
void tally_by_count(struct tally *t);

#endif

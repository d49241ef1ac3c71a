/*
 * selected.h -- which files a link asks for (so, BEP 53), put into an answer that passes by.
 *
 * A torrent's JSON is stored once for all who ask, with every file selected; each file ends
 * with SELECTED_YES. For a link with so the one that answers changes that, in place and in
 * pieces of any size: SELECTED_NO has as many bytes, so lengths and offsets stay. Nothing
 * else in such a text looks like it: quotes inside of strings have a backslash before them.
 * Pure. Proof: tests/unit/test_magnet.c; that every file has it: test_metainfo.c, fuzz_meta.c.
 */
#ifndef PEERSCOPE_COMMON_SELECTED_H
#define PEERSCOPE_COMMON_SELECTED_H

#include <stddef.h>
#include <stdint.h>

#include "common/magnet.h"

#define SELECTED_KEY "\"selected\":"
#define SELECTED_YES SELECTED_KEY "true }"
#define SELECTED_NO SELECTED_KEY "false}"

struct selected {
	const struct magnet *link;	/* borrowed */
	uint32_t index;			/* of the next file */
	unsigned at;			/* how much of the mark has passed */
};

void selected_begin(struct selected *s, const struct magnet *link);
/* The next len bytes of the text; what changes is changed in p. */
void selected_pass(struct selected *s, char *p, size_t len);

#endif

/*
 * recent.h -- when swarms that were left were last announced to trackers.
 *
 * A tracker wants to hear of us once in its interval, and a swarm may be left and asked
 * for again within it. Pure: bounded, of one size, no allocation after open. An id may
 * push another one out of its place: then that one is announced a little early.
 * Proof: tests/unit/test_recent.c.
 */
#ifndef PEERSCOPE_COLLECTOR_RECENT_H
#define PEERSCOPE_COLLECTOR_RECENT_H

#include <stdint.h>

#include "common/ident.h"

/* As many as the most distinct ids that swarm.cold_rate lets in during
 * swarm.announce_gap, by default; 128 KiB. */
#define RECENT_MAX 4096

struct recent {				/* zeroed at start */
	struct {
		uint8_t id[IH_LEN];
		uint64_t at_ms;		/* monotonic; 0: nobody's place */
	} place[RECENT_MAX];
};

/* at_ms 0: it was never announced. */
void recent_put(struct recent *r, const uint8_t id[IH_LEN], uint64_t at_ms);
/* 0: not known. */
uint64_t recent_get(const struct recent *r, const uint8_t id[IH_LEN]);

#endif

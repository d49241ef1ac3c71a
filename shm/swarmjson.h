/*
 * swarmjson.h -- the one writer of a swarm as JSON (contracts/peers.md): workers
 * for HTTP, the collector for Redis.
 */
#ifndef PEERSCOPE_SHM_SWARMJSON_H
#define PEERSCOPE_SHM_SWARMJSON_H

#include "common/buf.h"
#include "shm/ptab.h"

/*
 * Appends to out. asked: the id as asked for, lower case. At most limit peers. 0, or
 * -1: the names moved meanwhile (nothing was appended: get the swarm again), or out
 * is full (out->failed).
 */
PS_MUST int swarm_json(struct buf *out, const struct ptab *p, const struct swarm_copy *c,
		       const char *asked, uint32_t limit);
/* The same object for a swarm that is in no slot: an empty list that says why. */
void swarm_json_empty(struct buf *out, const char *asked, const uint8_t id[IH_LEN],
		      uint64_t now_wall_ms, const char *error);
/* The sentence for an enum swarm_why: why a list is empty. */
const char *swarm_why_text(int why);

#endif

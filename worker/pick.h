/*
 * pick.h -- which peers of a swarm pass a question's filters, in its order; and how many
 * there are of each kind. One scratch per worker, made at start (0.6 MiB of addresses;
 * memory is taken as far as it was ever used): nothing is allocated for a request.
 *
 * Works on a private copy of a swarm; texts come from the segment, so the caller asks
 * ptab_names_valid when all is written, and does it again if they moved.
 */
#ifndef PEERSCOPE_WORKER_PICK_H
#define PEERSCOPE_WORKER_PICK_H

#include "shm/swarmjson.h"
#include "worker/shape.h"
#include "worker/tally.h"

#define PICK_TOP 100			/* entries of one list of a summary */

struct pick {
	const struct ptab *ptab;	/* borrowed */
	uint64_t seed;
	const struct swarm_copy *copy;	/* borrowed: of the last pick_make */
	const struct shape *shape;	/* borrowed: of the last pick_make */
	uint32_t n;
	uint16_t index[CONF_SLOT_PEERS];	/* of copy->peer; [0 .. n) passed */
	uint16_t spare[CONF_SLOT_PEERS];
	uint16_t entry[CONF_SLOT_PEERS];	/* of each of copy->peer in the tally */
	uint32_t key[SHAPE_SORTS][CONF_SLOT_PEERS];	/* smaller stands before */
	struct tally tally;
};

struct pick *pick_new(const struct ptab *ptab, uint64_t seed);
/* Fills index and n. copy NULL: a swarm that is in no slot, n is 0. */
void pick_make(struct pick *k, const struct shape *sh, const struct swarm_copy *copy);
/* For swarm_pick.more; arg is the struct pick: "summary", an object. */
void pick_summary(struct json *j, void *arg);

#endif

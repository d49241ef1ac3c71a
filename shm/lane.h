/*
 * lane.h -- one pair of rings per worker slot: jobs to the collector, completions
 * back. Single producer, single consumer, no waiting anywhere.
 *
 *   worker  --- job ring (bytes) ---->  collector    full: -1, the worker says 503
 *   worker  <-- done ring (tokens) ---  collector    never full: asserted
 *
 * A producer that dies in the middle of a push is simply unseen: the tail moves
 * last. Counters wrap at 2^32. What lies in a ring is checked before it is used;
 * a ring that makes no sense is emptied and counted, never followed.
 * Proof: tests/torture/lane.c, tests/unit/test_shm.c.
 */
#ifndef PEERSCOPE_SHM_LANE_H
#define PEERSCOPE_SHM_LANE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/reqid.h"
#include "shm/layout.h"
#include "shm/seg.h"

enum lane_job {
	JOB_PEERS = 1,			/* who is in the swarm; token 0: nobody waits, just
					 * keep the swarm and make a stale answer fresh */
	JOB_FORGET = 2,			/* the asker behind token has left */
	JOB_META = 3,			/* what a torrent holds is wanted in the cache: below */
	JOB_META_FILE = 4,		/* the same of an uploaded .torrent */
	JOB_META_BAD = 5,		/* the cached files of id are damaged: token 0 */
	JOB_META_LATER = 6,		/* JOB_META for nobody who waits: metajob.h */
};
/*
 * JOB_META: id is magnet_key of the link, which is the text as magnet_write has it; wait_ms
 * is how long its asker waits at most. LANE_OK: the files are there now (metafile.h).
 * JOB_META_FILE: the text is the name (no "/") of a file in META_UP below master.run_dir,
 * made for this question. Each side removes it when that is over; before the collector
 * completes with LANE_OK it writes <name>.key beside it, which the worker reads and removes:
 * the key, 40 lower-case digits, a newline, and as a JSON object what stands in the file
 * beside the info dict (trackers, comment, ...). That is for this asker alone: a passkey may
 * be in it, and the hash proves none of it. What nobody removed in ten minutes the collector
 * does.
 * JOB_META_LATER: the text is the id of a job, whose question lies as a file of that name in
 * META_UP. LANE_OK: the collector has it, and METAJOB_DIR has its file. LANE_BUSY: there are
 * metadata.jobs of them.
 */
#define LANE_BESIDE_MAX 65536u		/* bytes of that object; a longer one is left out */
/* What the text of a job has is written and read by given.h. */
#define JOB_F_V2 1u			/* text begins with the whole 32-byte v2 infohash */
#define JOB_F_INFOHASH 2u		/* spelled as only infohashes are: no content id */
#define JOB_F_SETTLED 4u		/* wait for a settled swarm, not for the first round */
#define JOB_F_GIVEN 8u			/* peers that the question names come next */
#define JOB_F_REQUEST 24		/* bits from here on: bytes of the request's id (reqid.h), which
					 * lie behind the text; lane_pop takes them off */

enum lane_rc {
	LANE_OK = 0,			/* look into the table */
	LANE_BUSY = 1,			/* no room for one more swarm: 503 */
	LANE_REFUSED = 2,		/* may not join: swarm.interface is missing */
	LANE_FAILED = 3,		/* the collector could not: 500 */
	LANE_LIMITED = 4,		/* too many cold lookups of this client: 503, in retry_s */
	LANE_WAITERS = 5,		/* no room for one more waiter: 503 */
	LANE_TABLE = 6,			/* no room for its peers in the table: 503 */
	LANE_META_NONE = 7,		/* its time is over, and nobody had the metadata: 504 */
	LANE_META_DEAD = 8,		/* nobody had it lately; worth another try in retry_s */
	LANE_META_BADFILE = 9,		/* what was uploaded is no torrent: 400 */
	LANE_META_DISK = 10,		/* found, but the cache has no place for it: 503 */
	LANE_META_REDIS = 11,		/* as LANE_OK; it was found in Redis */
	LANE_META_ODD = 12,		/* the true metadata is none that can be told: 422 */
	LANE_RC_LAST = LANE_META_ODD,
};

/* Tokens: slot and generation tell whose it is, the sequence which request. */
uint64_t lane_token(int slot, uint32_t gen, uint32_t seq);
int lane_token_slot(uint64_t token);
uint32_t lane_token_gen(uint64_t token);	/* low 24 bits of the generation */
uint32_t lane_token_seq(uint64_t token);

struct lane;				/* a view of one slot's pair; opaque, allocated */

PS_MUST int lane_open(struct lane **out, struct seg *seg, int slot, char err[ERRLEN]);
void lane_close(struct lane **l);

/* Worker. text may be NULL. request: the id of the request that it comes of, for the log, or
 * "": left out while the lane is more than a quarter full. 0, or -1: full (or text too long,
 * which is asserted). */
PS_MUST int lane_push(struct lane *l, const struct shm_job *job, const void *text,
		      const char *request);
/* Worker: next completion. 1, or 0: none. */
PS_MUST int lane_done_pop(struct lane *l, uint64_t *token, enum lane_rc *rc,
			  uint32_t *retry_s);
/* Worker, before its first push: throw away what an earlier owner left. */
void lane_enter(struct lane *l);

/* Collector: next job; text must have room for SHM_JOB_TEXT_MAX bytes. request: "" if none
 * came. 1: a job; 0: none; -1: the ring made no sense and was emptied. */
PS_MUST int lane_pop(struct lane *l, struct shm_job *job, void *text,
		     char request[REQID_MAX + 1]);
/* Collector: completions that still fit. A client that leaves frees its place in the
 * worker, not the waiter in the collector: waiters of one slot must be bounded by
 * this, or LANE_WAITERS answered early. */
uint32_t lane_done_room(const struct lane *l);
/* Collector. Asserts that there is room. retry_s: 0, or when to come back. */
void lane_done_push(struct lane *l, uint64_t token, enum lane_rc rc, uint32_t retry_s);

uint32_t lane_depth(const struct lane *l);	/* bytes of jobs not yet taken */
/* Any side: that, and the completions not yet taken, of any slot. */
void lane_look(const struct seg *seg, uint32_t slot, uint32_t *job_bytes, uint32_t *done);

#endif

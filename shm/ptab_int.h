/*
 * ptab_int.h -- inside the peer table: the view, and what only the writer keeps.
 *
 *   ptab.c       readers
 *   ptab_put.c   the writer: slots, chunks, eviction
 *   ptab_take.c  the writer's first act: repair what a dead one left
 *   names.c      client names and places: reading, interning, compaction
 */
#ifndef PEERSCOPE_SHM_PTAB_INT_H
#define PEERSCOPE_SHM_PTAB_INT_H

#include "shm/ptab.h"
#include "shm/word.h"

#define PTAB_NIL UINT32_MAX
#define PEER_WORDS (sizeof(struct shm_peer) / 8)
#define CHUNK_WORDS (sizeof(struct shm_chunk) / 8)
#define SWARM_WORDS (sizeof(struct shm_swarm) / 8)
#define PLACE_WORDS (sizeof(struct shm_place) / 8)
/* Word of a peer that holds both references: client, then place. */
#define PEER_REFS_WORD (offsetof(struct shm_peer, client) / 8)
_Static_assert(offsetof(struct shm_peer, client) % 8 == 0 &&
	       offsetof(struct shm_peer, place) == offsetof(struct shm_peer, client) + 4,
	       "both references of a peer lie in one word");

/* Reference by content: open addressing, private to the writer. Never deletes;
 * full at three quarters, and emptied as a whole. */
struct names_map {
	uint32_t *cell;			/* reference; 0: free */
	uint32_t mask, used;
};

struct ptab_writer {
	uint32_t pid;			/* ours: must hold the lease */
	uint64_t version;		/* last given out */
	ptab_idle_fn idle;
	void *idle_arg;

	/* Slots in use, by time of publication; PTAB_NIL ends. */
	uint32_t *older, *newer;
	uint32_t oldest, newest;
	uint32_t *free_slot, nfree_slot;	/* stack */

	/* Free chunks, first in, first out: a chunk rests as long as can be before
	 * it is written again under a slow reader's eyes. */
	uint32_t *ring;
	uint32_t ring_size, ring_at, ring_n;	/* room for every chunk there can be */
	uint32_t reserved, used_chunks;

	struct names_map strings, places;
	uint32_t string_there, place_there;	/* bytes and entries really reserved */
	int names_full;
	uint64_t compacted_ms;		/* monotonic; 0: never */
	shm_u64 *old;			/* compaction: copy of the whole section */
	uint32_t old_places, old_strings;
	uint64_t compact_version;	/* slots up to this one are not translated yet */

	uint64_t evictions, full;
	uint32_t repaired;
};

struct ptab {
	struct seg *seg;
	struct shm_dims dims;
	uint64_t seed;
	const struct shm_head *head;
	shm_u32 *index;
	struct shm_slot *slots;
	struct shm_names *names;
	shm_u64 *place, *string;	/* words */
	struct shm_pool *pool;
	shm_u32 *link;
	shm_u64 *chunk;			/* words */
	struct ptab_writer *w;		/* NULL: a reader */
};

static inline uint32_t ptab_bucket(const struct ptab *p, const uint8_t id[IH_LEN])
{
	return (uint32_t)word_hash(p->seed, id, IH_LEN) & (p->dims.buckets - 1);
}

static inline uint32_t ptab_chunks_for(uint32_t npeers)
{
	return (npeers + SHM_CHUNK_PEERS - 1) / SHM_CHUNK_PEERS;
}

static inline shm_u64 *ptab_chunk_at(const struct ptab *p, uint32_t chunk)
{
	return p->chunk + (size_t)chunk * CHUNK_WORDS;
}

/* ptab.c: the words of slot i, unchecked; for the writer, who needs no sequence. */
void ptab_words(const struct ptab *p, uint32_t i, struct shm_swarm *out);

/* ptab_put.c */
void ptab_lru_add(struct ptab_writer *w, uint32_t slot);	/* as the newest */
void ptab_unlink_slot(struct ptab *p, uint32_t slot);	/* out of its bucket; fine if not in */
void ptab_wipe(struct ptab *p, uint32_t slot);		/* words only */
void ptab_forget(struct ptab *p, uint32_t slot);	/* unlink, wipe, give everything back */
void ptab_give_chunk(struct ptab_writer *w, uint32_t chunk);

/* ptab_take.c */
PS_MUST int ptab_takeover(struct ptab *p, char err[ERRLEN]);
void ptab_writer_free(struct ptab *p);

/* names.c. takeover: 0, or 1: they had to be emptied, no reference is good. */
PS_MUST int names_open(struct ptab *p, char err[ERRLEN]);
void names_close(struct ptab *p);
int names_takeover(struct ptab *p);
int names_crowded(const struct ptab *p);

#endif

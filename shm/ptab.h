/*
 * ptab.h -- peer table: what the collector found, where workers can see it.
 *
 * One writer (the collector that holds the lease), many readers (workers, `top`).
 * A reader never writes and never waits; a slot that stays torn after PTAB_TRIES
 * is a miss. A publication writes new chunks first, then turns the slot over in a
 * few words, then gives the old chunks back, to be reused as late as possible: a
 * reader that was in the old chain finds the slot's sequence moved. Lengths and
 * indexes are checked after the sequence and before use. Nothing here counts into
 * stat.h: the caller does, from return codes and ptab_usage.
 * Proof: tests/torture/ptab.c (storm), tests/torture/kill.c (SIGKILL).
 */
#ifndef PEERSCOPE_SHM_PTAB_H
#define PEERSCOPE_SHM_PTAB_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/ident.h"
#include "common/place.h"
#include "shm/layout.h"
#include "shm/peerwords.h"
#include "shm/seg.h"

#define PTAB_TRIES 64

const char *peer_state_name(int state);
const char *swarm_phase_name(int phase);

struct ptab;			/* a view; opaque */

/* What a reader gets: private memory, checked. About 160 KiB: allocate it once. */
struct swarm_copy {
	uint32_t slot;
	uint32_t names_seq;	/* for ptab_names_valid */
	struct shm_swarm s;	/* s.npeers is the number in peer[] */
	struct shm_peer peer[CONF_SLOT_PEERS];	/* best known first */
};

enum ptab_rc { PTAB_OK = 0, PTAB_MISS = 1, PTAB_TORN = 2 };

/* Borrows seg, which must outlive it. A SEG_COLLECTOR view takes over what an
 * earlier collector left: odd slots are wiped, chunks and strings counted anew. */
PS_MUST int ptab_open(struct ptab **out, struct seg *seg, enum seg_side side,
		      char err[ERRLEN]);
void ptab_close(struct ptab **p);

/* --- readers: any side ------------------------------------------------ */

/* Header only (no peers): is there a newer version? slot_hint: *slot of an
 * earlier answer, or UINT32_MAX. */
PS_MUST enum ptab_rc ptab_peek(const struct ptab *p, const uint8_t id[IH_LEN],
			       uint32_t *slot_hint, struct shm_swarm *out);
/* Everything. Peers beyond max_peers are not copied (s.npeers says how many are). */
PS_MUST enum ptab_rc ptab_get(const struct ptab *p, const uint8_t id[IH_LEN],
			      uint32_t max_peers, struct swarm_copy *out);
/* Texts of a record, good only if ptab_names_valid says so afterwards. */
void ptab_client(const struct ptab *p, uint32_t ref, char out[256]);
void ptab_place(const struct ptab *p, uint32_t index, struct place *out);
int ptab_names_valid(const struct ptab *p, uint32_t names_seq);
/* For `top`: header of slot number i, PTAB_MISS if it is empty. */
PS_MUST enum ptab_rc ptab_slot(const struct ptab *p, uint32_t i, struct shm_swarm *out);

/* --- the writer: SEG_COLLECTOR ---------------------------------------- */

enum ptab_put_rc {
	PTAB_PUT = 0,
	PTAB_PUT_FULL = 1,	/* no chunk to be had, even after evicting idle slots */
};
/* May the slot of id be evicted? Called when the table is full; arg is the caller's.
 * Without such a function any slot may. It must not call into the table. */
typedef int (*ptab_idle_fn)(void *arg, const uint8_t id[IH_LEN]);
void ptab_set_idle(struct ptab *p, ptab_idle_fn idle, void *arg);

/* Publish peer[0 .. s->npeers), best first. Sets s->version. Evicts the slot that
 * was published longest ago and is idle, if there is no room. */
PS_MUST enum ptab_put_rc ptab_put(struct ptab *p, struct shm_swarm *s,
				  const struct shm_peer *peer);
void ptab_drop(struct ptab *p, const uint8_t id[IH_LEN]);

/* Interning. The reference is good until the next compaction; 0 if there is no
 * room (the caller shows "unknown", or what it had) and ptab_names_full says so: the caller
 * compacts. A place is whole or not there. */
uint32_t ptab_string(struct ptab *p, const char *s, size_t len);
uint32_t ptab_intern_place(struct ptab *p, const struct place *pl);
int ptab_names_full(const struct ptab *p);
/* Does this place name a country? */
int ptab_has_country(const struct ptab *p, uint32_t index);
/*
 * Compaction: begin makes the tables empty and keeps the old ones aside; the
 * caller interns anew what its own peers refer to (old_* translate), puts every
 * swarm again, and ends it. Slots not put again meanwhile are translated by end,
 * newest first, as long as a quarter of the tables stays free; the rest is dropped.
 * In between readers get peers, but ptab_names_valid says no. ptab_names_full
 * asks for at most one compaction in PTAB_COMPACT_GAP_MS: names that are all in
 * use come back full at once.
 */
#define PTAB_COMPACT_GAP_MS 60000u
void ptab_compact_begin(struct ptab *p);
uint32_t ptab_old_client(struct ptab *p, uint32_t old_ref);	/* -> new reference */
uint32_t ptab_old_place(struct ptab *p, uint32_t old_index);
void ptab_compact_end(struct ptab *p);

struct ptab_usage {
	uint32_t slots_used, chunks_used, chunks_free, chunks_reserved;
	uint32_t places_used, string_bytes;
	uint64_t evictions, full;	/* of this view's life */
	uint32_t repaired;		/* slots that ptab_open had to wipe */
};
void ptab_usage(const struct ptab *p, struct ptab_usage *out);

#endif

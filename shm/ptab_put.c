/*
 * ptab_put.c -- publishing into the peer table: the one writer. See ptab.h.
 *
 * The order of stores is the point of this file; shm/README.md argues it:
 *   1. chunks that no slot refers to are filled, and linked;
 *   2. the slot turns over, under its sequence;
 *   3. a new slot enters its bucket;
 *   4. the old chunks go to the end of the free list.
 */
#include <string.h>

#include "shm/ptab_int.h"

#define CHUNKS_PER_STEP (SHM_STEP / (uint32_t)sizeof(struct shm_chunk))

void ptab_set_idle(struct ptab *p, ptab_idle_fn idle, void *arg)
{
	p->w->idle = idle;
	p->w->idle_arg = arg;
}

static void assert_lease(const struct ptab *p)
{
	PS_ASSERT(p->w != NULL);
	PS_ASSERT(atomic_load_explicit(&p->head->lease_pid, memory_order_relaxed) ==
		  p->w->pid);
}

/* --- slots ------------------------------------------------------------- */

void ptab_lru_add(struct ptab_writer *w, uint32_t slot)
{
	w->older[slot] = w->newest;
	w->newer[slot] = PTAB_NIL;
	if (w->newest != PTAB_NIL)
		w->newer[w->newest] = slot;
	else
		w->oldest = slot;
	w->newest = slot;
}

static void lru_remove(struct ptab_writer *w, uint32_t slot)
{
	uint32_t older = w->older[slot], newer = w->newer[slot];

	if (older != PTAB_NIL)
		w->newer[older] = newer;
	else
		w->oldest = newer;
	if (newer != PTAB_NIL)
		w->older[newer] = older;
	else
		w->newest = older;
}

static uint32_t slot_of(const struct ptab *p, const uint8_t id[IH_LEN])
{
	uint32_t at = word_get(&p->index[ptab_bucket(p, id)]);
	struct shm_swarm s;

	for (uint32_t n = 0; at != 0 && n < p->dims.slots; n++) {
		ptab_words(p, at - 1, &s);
		if (memcmp(s.id, id, IH_LEN) == 0)
			return at - 1;
		at = word_get(&p->slots[at - 1].next);
	}
	return PTAB_NIL;
}

static void link_slot(struct ptab *p, uint32_t slot, const uint8_t id[IH_LEN])
{
	shm_u32 *bucket = &p->index[ptab_bucket(p, id)];

	/* release: whoever reads the bucket sees the whole slot, next included */
	atomic_store_explicit(bucket, slot + 1, memory_order_release);
}

/* One store takes it out; a reader that stands on it still finds its way. */
void ptab_unlink_slot(struct ptab *p, uint32_t slot)
{
	struct shm_swarm s;
	shm_u32 *at;

	ptab_words(p, slot, &s);
	at = &p->index[ptab_bucket(p, s.id)];
	for (uint32_t n = 0; n < p->dims.slots; n++) {
		uint32_t next = word_get(at);

		if (next == 0)
			return;
		if (next == slot + 1) {
			atomic_store_explicit(at, word_get(&p->slots[slot].next),
					      memory_order_release);
			return;
		}
		at = &p->slots[next - 1].next;
	}
}

void ptab_wipe(struct ptab *p, uint32_t slot)
{
	static const struct shm_swarm empty;

	seq_begin(&p->slots[slot].seq);
	word_write(p->slots[slot].swarm, &empty, SWARM_WORDS);
	seq_end(&p->slots[slot].seq);
}

/* --- chunks ------------------------------------------------------------ */

void ptab_give_chunk(struct ptab_writer *w, uint32_t chunk)
{
	/* the ring has room for every chunk there is */
	w->ring[(w->ring_at + w->ring_n) % w->ring_size] = chunk;
	w->ring_n++;
}

static uint32_t take_chunk(struct ptab_writer *w)
{
	uint32_t chunk = w->ring[w->ring_at];

	PS_ASSERT(w->ring_n > 0);
	w->ring_at = (w->ring_at + 1) % w->ring_size;
	w->ring_n--;
	w->used_chunks++;
	return chunk;
}

/* The old chain of a slot, after the slot has moved on. */
static void give_chain(struct ptab *p, uint32_t first, uint32_t npeers)
{
	uint32_t at = first, n = ptab_chunks_for(npeers);

	while (n-- > 0) {
		uint32_t next;

		PS_ASSERT(at != 0 && at <= p->w->reserved);
		next = word_get(&p->link[at - 1]);
		ptab_give_chunk(p->w, at - 1);
		p->w->used_chunks--;
		at = next;
	}
}

void ptab_forget(struct ptab *p, uint32_t slot)
{
	struct shm_swarm s;

	ptab_words(p, slot, &s);
	ptab_unlink_slot(p, slot);
	ptab_wipe(p, slot);
	lru_remove(p->w, slot);
	p->w->free_slot[p->w->nfree_slot++] = slot;
	give_chain(p, s.first_chunk, s.npeers);
}

/* One more step of the pool. -1: it is at its ceiling, or /dev/shm is full. */
static int pool_grow(struct ptab *p)
{
	struct ptab_writer *w = p->w;
	uint32_t upto = w->reserved + CHUNKS_PER_STEP;
	uint64_t base = shm_chunks_at(&p->dims);

	if (upto > p->dims.chunks)
		upto = p->dims.chunks;
	if (upto == w->reserved ||
	    seg_grow(p->seg, SHM_POOL,
		     base + (uint64_t)w->reserved * sizeof(struct shm_chunk),
		     base + (uint64_t)upto * sizeof(struct shm_chunk)) != 0)
		return -1;
	atomic_store_explicit(&p->pool->reserved, upto, memory_order_release);
	while (w->reserved < upto)
		ptab_give_chunk(w, w->reserved++);
	return 0;
}

static int evict_one(struct ptab *p, uint32_t keep)
{
	struct ptab_writer *w = p->w;
	struct shm_swarm s;

	for (uint32_t i = w->oldest; i != PTAB_NIL; i = w->newer[i]) {
		if (i == keep)
			continue;
		ptab_words(p, i, &s);
		if (w->idle != NULL && !w->idle(w->idle_arg, s.id))
			continue;
		ptab_forget(p, i);
		w->evictions++;
		return 0;
	}
	return -1;
}

/* Every turn takes a step of the pool or a slot, so it ends. */
static int make_room(struct ptab *p, uint32_t chunks, uint32_t keep)
{
	while (p->w->ring_n < chunks)
		if (pool_grow(p) != 0 && evict_one(p, keep) != 0)
			return -1;
	while (keep == PTAB_NIL && p->w->nfree_slot == 0)
		if (evict_one(p, keep) != 0)
			return -1;
	return 0;
}

/* --- publishing -------------------------------------------------------- */

/* Fill free chunks back to front, so that each link is known when it is written. */
static uint32_t write_chain(struct ptab *p, const struct shm_peer *peer, uint32_t npeers)
{
	uint32_t next = 0;

	for (uint32_t n = ptab_chunks_for(npeers); n > 0; n--) {
		uint32_t chunk = take_chunk(p->w);
		uint32_t from = (n - 1) * SHM_CHUNK_PEERS;
		uint32_t here =
			npeers - from < SHM_CHUNK_PEERS ? npeers - from : SHM_CHUNK_PEERS;

		word_write(ptab_chunk_at(p, chunk), peer + from, here * PEER_WORDS);
		word_set(&p->link[chunk], next);
		next = chunk + 1;
	}
	return next;
}

static void turn_over(struct ptab *p, uint32_t slot, const struct shm_swarm *s,
		      int is_new)
{
	struct shm_slot *at = &p->slots[slot];

	seq_begin(&at->seq);
	if (is_new)
		word_set(&at->next, word_get(&p->index[ptab_bucket(p, s->id)]));
	word_write(at->swarm, s, SWARM_WORDS);
	seq_end(&at->seq);
	if (is_new)
		link_slot(p, slot, s->id);
}

enum ptab_put_rc ptab_put(struct ptab *p, struct shm_swarm *s,
			  const struct shm_peer *peer)
{
	struct ptab_writer *w = p->w;
	struct shm_swarm old = {.npeers = 0};
	uint32_t slot;
	int is_new;

	assert_lease(p);
	PS_ASSERT(s->npeers <= CONF_SLOT_PEERS);
	slot = slot_of(p, s->id);
	is_new = slot == PTAB_NIL;
	if (make_room(p, ptab_chunks_for(s->npeers), slot) != 0) {
		w->full++;
		return PTAB_PUT_FULL;
	}
	if (is_new)
		slot = w->free_slot[--w->nfree_slot];
	else
		ptab_words(p, slot, &old);
	/* A chunk may have been another swarm's a moment ago: whoever sees our words
	 * in it must also see that the other slot moved on. */
	word_fence_release();
	s->first_chunk = write_chain(p, peer, s->npeers);
	s->version = ++w->version;
	atomic_store_explicit(&p->pool->version, s->version, WORD_STORE);
	turn_over(p, slot, s, is_new);
	give_chain(p, old.first_chunk, old.npeers);
	if (!is_new)
		lru_remove(w, slot);
	ptab_lru_add(w, slot);
	return PTAB_PUT;
}

void ptab_drop(struct ptab *p, const uint8_t id[IH_LEN])
{
	uint32_t slot;

	assert_lease(p);
	slot = slot_of(p, id);
	if (slot != PTAB_NIL)
		ptab_forget(p, slot);
}

void ptab_usage(const struct ptab *p, struct ptab_usage *out)
{
	const struct ptab_writer *w = p->w;

	PS_ASSERT(w != NULL);
	memset(out, 0, sizeof(*out));
	out->slots_used = p->dims.slots - w->nfree_slot;
	out->chunks_used = w->used_chunks;
	out->chunks_free = w->ring_n;
	out->chunks_reserved = w->reserved;
	out->places_used = word_get(&p->names->nplaces) - 1;
	out->string_bytes = word_get(&p->names->string_used);
	out->evictions = w->evictions;
	out->full = w->full;
	out->repaired = w->repaired;
}

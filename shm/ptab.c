/*
 * ptab.c -- the peer table as readers see it. See ptab.h.
 *
 * Nothing here writes to the segment, waits, or believes what it reads: every
 * walk is bounded, every index is checked before it is followed.
 */
#include <stdlib.h>
#include <string.h>

#include "shm/ptab_int.h"

#define WALK_AGAIN 4 /* walks that met a moving slot and found nothing */

const char *peer_state_name(int state)
{
	static const char *const name[] = {"known", "tried", "contacted", "connected"};

	return state >= 0 && state < (int)PS_ARRAY_LEN(name) ? name[state] : "known";
}

const char *swarm_phase_name(int phase)
{
	static const char *const name[] = {"joining", "collecting", "settled", "dead"};

	return phase >= 0 && phase < (int)PS_ARRAY_LEN(name) ? name[phase] : "joining";
}

int ptab_open(struct ptab **out, struct seg *seg, enum seg_side side, char err[ERRLEN])
{
	struct ptab *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return err_set(err, "peer table: out of memory");
	p->seg = seg;
	p->dims = *seg_dims_of(seg);
	p->head = seg_head(seg);
	p->seed = p->head->seed;
	p->index = seg_at(seg, SHM_INDEX);
	p->slots = seg_at(seg, SHM_SLOTS);
	p->names = seg_at(seg, SHM_PLACES);
	p->place = (shm_u64 *)(p->names + 1);
	p->string = (shm_u64 *)((char *)p->names + shm_strings_at(&p->dims));
	p->pool = seg_at(seg, SHM_POOL);
	p->link = (shm_u32 *)(p->pool + 1);
	p->chunk = (shm_u64 *)((char *)p->pool + shm_chunks_at(&p->dims));
	if (side == SEG_COLLECTOR && ptab_takeover(p, err) != 0) {
		ptab_close(&p);
		return -1;
	}
	*out = p;
	return 0;
}

void ptab_close(struct ptab **p)
{
	if (*p == NULL)
		return;
	ptab_writer_free(*p);
	free(*p);
	*p = NULL;
}

void ptab_words(const struct ptab *p, uint32_t i, struct shm_swarm *out)
{
	word_read(out, p->slots[i].swarm, SWARM_WORDS);
}

/* One look at a slot's header. PTAB_MISS: empty. */
static enum ptab_rc slot_once(const struct ptab *p, uint32_t i, struct shm_swarm *out,
			      uint32_t *seq)
{
	*seq = seq_read(&p->slots[i].seq);
	if (*seq & 1)
		return PTAB_TORN;
	ptab_words(p, i, out);
	if (!seq_same(&p->slots[i].seq, *seq))
		return PTAB_TORN;
	return out->version == 0 ? PTAB_MISS : PTAB_OK;
}

static int has_id(const struct ptab *p, uint32_t i, const uint8_t id[IH_LEN])
{
	uint8_t words[24];

	word_read(words, p->slots[i].swarm, 3);
	return memcmp(words, id, IH_LEN) == 0;
}

/*
 * One walk along the bucket. An id changes only while its slot is in no bucket, so
 * it may be compared without the sequence; the caller reads it again under it.
 * *moved says that a slot on the way was being written or reused: from a reused one
 * the walk may have strayed into another bucket, so "not found" means little.
 */
static uint32_t find_once(const struct ptab *p, const uint8_t id[IH_LEN], int *moved)
{
	uint32_t at =
		atomic_load_explicit(&p->index[ptab_bucket(p, id)], memory_order_acquire);

	*moved = 0;
	for (uint32_t n = 0; n < p->dims.slots; n++) {
		uint32_t i = at - 1, seq;

		if (at == 0)
			return PTAB_NIL;
		if (i >= p->dims.slots)
			break;
		seq = seq_read(&p->slots[i].seq);
		if (has_id(p, i, id))
			return i;
		at = atomic_load_explicit(&p->slots[i].next, memory_order_acquire);
		if ((seq & 1) || !seq_same(&p->slots[i].seq, seq))
			*moved = 1;
	}
	*moved = 1;
	return PTAB_NIL;
}

static uint32_t find(const struct ptab *p, const uint8_t id[IH_LEN])
{
	uint32_t i = PTAB_NIL;
	int moved = 1;

	for (int n = 0; n < WALK_AGAIN && moved && i == PTAB_NIL; n++)
		i = find_once(p, id, &moved);
	return i;
}

/* Find it and read its header in one piece. */
static enum ptab_rc look(const struct ptab *p, const uint8_t id[IH_LEN], uint32_t *hint,
			 struct shm_swarm *out, uint32_t *seq)
{
	uint32_t i = *hint < p->dims.slots ? *hint : find(p, id);
	enum ptab_rc rc;

	if (i == PTAB_NIL)
		return PTAB_MISS;
	rc = slot_once(p, i, out, seq);
	if (rc == PTAB_TORN)
		return rc;
	if (rc == PTAB_OK && memcmp(out->id, id, IH_LEN) == 0) {
		*hint = i;
		return PTAB_OK;
	}
	/* A hint that went stale, or a slot reused since the walk: walk (again). */
	*hint = PTAB_NIL;
	return find(p, id) == PTAB_NIL ? PTAB_MISS : PTAB_TORN;
}

enum ptab_rc ptab_peek(const struct ptab *p, const uint8_t id[IH_LEN],
		       uint32_t *slot_hint, struct shm_swarm *out)
{
	uint32_t none = PTAB_NIL, seq;
	uint32_t *hint = slot_hint != NULL ? slot_hint : &none;
	enum ptab_rc rc = PTAB_TORN;

	for (int n = 0; n < PTAB_TRIES && rc == PTAB_TORN; n++)
		rc = look(p, id, hint, out, &seq);
	return rc;
}

/* Copy the chain. -1: a link that leads nowhere, so this was torn (or is garbage). */
static int copy_peers(const struct ptab *p, const struct shm_swarm *s, uint32_t want,
		      struct shm_peer *out)
{
	uint32_t reserved =
		atomic_load_explicit(&p->pool->reserved, memory_order_acquire);
	uint32_t at = s->first_chunk;

	if (reserved > p->dims.chunks)
		return -1;
	for (uint32_t n = 0; n < want; n += SHM_CHUNK_PEERS) {
		uint32_t here = want - n < SHM_CHUNK_PEERS ? want - n : SHM_CHUNK_PEERS;

		if (at == 0 || at > reserved)
			return -1;
		word_read(out + n, ptab_chunk_at(p, at - 1), here * PEER_WORDS);
		at = word_get(&p->link[at - 1]);
	}
	return 0;
}

static enum ptab_rc get_once(const struct ptab *p, const uint8_t id[IH_LEN],
			     uint32_t *hint, uint32_t max_peers, struct swarm_copy *out)
{
	uint32_t seq, want;
	enum ptab_rc rc;

	out->names_seq = seq_read(&p->names->seq);
	rc = look(p, id, hint, &out->s, &seq);
	if (rc != PTAB_OK)
		return rc;
	if (out->s.npeers > CONF_SLOT_PEERS)
		return PTAB_TORN;
	want = out->s.npeers < max_peers ? out->s.npeers : max_peers;
	if (copy_peers(p, &out->s, want, out->peer) != 0 ||
	    !seq_same(&p->slots[*hint].seq, seq))
		return PTAB_TORN;
	out->slot = *hint;
	out->s.npeers = want;
	return PTAB_OK;
}

enum ptab_rc ptab_get(const struct ptab *p, const uint8_t id[IH_LEN], uint32_t max_peers,
		      struct swarm_copy *out)
{
	uint32_t hint = PTAB_NIL;
	enum ptab_rc rc = PTAB_TORN;

	for (int n = 0; n < PTAB_TRIES && rc == PTAB_TORN; n++)
		rc = get_once(p, id, &hint, max_peers, out);
	return rc;
}

enum ptab_rc ptab_slot(const struct ptab *p, uint32_t i, struct shm_swarm *out)
{
	enum ptab_rc rc = PTAB_TORN;
	uint32_t seq;

	if (i >= p->dims.slots)
		return PTAB_MISS;
	for (int n = 0; n < PTAB_TRIES && rc == PTAB_TORN; n++)
		rc = slot_once(p, i, out, &seq);
	return rc;
}

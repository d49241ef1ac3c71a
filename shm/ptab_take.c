/*
 * ptab_take.c -- a new collector takes the table over. See ptab.h.
 *
 * The one before may have been killed at any instruction, while readers stay. It
 * leaves at worst: a slot with an odd sequence; a slot that is whole but not in its
 * bucket; chunks that nobody refers to; names in the middle of a compaction. What
 * else is found wrong (a shared chunk, a bucket that loops) is damage of another
 * kind, and is treated no better than it deserves: the slot goes.
 * Only words that are wrong are written: sound swarms can be read all the time.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/ptab_int.h"

struct found { /* a slot that looks sound */
	uint64_t version;
	uint32_t slot;
};

struct take {
	struct found *found;
	uint8_t *owned;  /* per chunk */
	uint8_t *linked; /* per slot: 1 sound, 2 and in its bucket */
	uint32_t n;
};

static int newest_first(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return x->version < y->version ? 1 : x->version > y->version ? -1 : 0;
}

static void *alloc(size_t n, size_t size)
{
	return calloc(n == 0 ? 1 : n, size);
}

static int writer_alloc(struct ptab *p, char err[ERRLEN])
{
	struct ptab_writer *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return err_set(err, "peer table: out of memory");
	p->w = w;
	w->pid = (uint32_t)getpid();
	w->oldest = w->newest = PTAB_NIL;
	w->ring_size = p->dims.chunks;
	w->older = alloc(p->dims.slots, 4);
	w->newer = alloc(p->dims.slots, 4);
	w->free_slot = alloc(p->dims.slots, 4);
	w->ring = alloc(w->ring_size, 4);
	if (w->older == NULL || w->newer == NULL || w->free_slot == NULL ||
	    w->ring == NULL)
		return err_set(err, "peer table: out of memory");
	return names_open(p, err);
}

void ptab_writer_free(struct ptab *p)
{
	struct ptab_writer *w = p->w;

	if (w == NULL)
		return;
	names_close(p);
	free(w->older);
	free(w->newer);
	free(w->free_slot);
	free(w->ring);
	free(w);
	p->w = NULL;
}

/* Chunks said to be there must be there: ask again for all of them. */
static void take_pool(struct ptab *p)
{
	uint64_t base = shm_chunks_at(&p->dims);
	uint32_t n = word_get(&p->pool->reserved);

	if (n > p->dims.chunks)
		n = p->dims.chunks;
	if (seg_grow(p->seg, SHM_POOL, base,
		     base + (uint64_t)n * sizeof(struct shm_chunk)) != 0)
		n = 0;
	atomic_store_explicit(&p->pool->reserved, n, memory_order_release);
	p->w->reserved = n;
}

/* An odd slot was being written: nobody can tell what it says. */
static void wipe_any(struct ptab *p, uint32_t i)
{
	uint32_t seq = word_get(&p->slots[i].seq);

	if (seq & 1) {
		static const struct shm_swarm empty;

		word_fence_release();
		word_write(p->slots[i].swarm, &empty, SWARM_WORDS);
		seq_end(&p->slots[i].seq);
	} else {
		ptab_wipe(p, i);
	}
	p->w->repaired++;
}

static int chain_sound(const struct ptab *p, const struct shm_swarm *s,
		       const uint8_t *owned)
{
	uint32_t at = s->first_chunk, n;

	if (s->npeers > CONF_SLOT_PEERS)
		return 0;
	for (n = ptab_chunks_for(s->npeers); n > 0; n--) {
		if (at == 0 || at > p->w->reserved || owned[at - 1])
			return 0;
		at = word_get(&p->link[at - 1]);
	}
	return at == 0;
}

static void own_chain(struct ptab *p, const struct shm_swarm *s, uint8_t *owned)
{
	uint32_t at = s->first_chunk;

	for (uint32_t n = ptab_chunks_for(s->npeers); n > 0; n--) {
		owned[at - 1] = 1;
		p->w->used_chunks++;
		at = word_get(&p->link[at - 1]);
	}
}

/* Which slots hold something? Odd ones are wiped here, and such as have a version
 * that was never given out. */
static void scan_slots(struct ptab *p, struct take *t, int wipe_all)
{
	uint64_t last = atomic_load_explicit(&p->pool->version, memory_order_relaxed);
	struct shm_swarm s;

	for (uint32_t i = 0; i < p->dims.slots; i++) {
		ptab_words(p, i, &s);
		if ((word_get(&p->slots[i].seq) & 1) || s.version > last ||
		    (wipe_all && s.version != 0)) {
			wipe_any(p, i);
		} else if (s.version != 0) {
			t->found[t->n].version = s.version;
			t->found[t->n++].slot = i;
		}
	}
	qsort(t->found, t->n, sizeof(*t->found), newest_first);
}

/* Newest first: of two slots that claim one chunk, the older has lost it. */
static void claim_chunks(struct ptab *p, struct take *t)
{
	uint32_t kept = 0;
	struct shm_swarm s;

	for (uint32_t i = 0; i < t->n; i++) {
		ptab_words(p, t->found[i].slot, &s);
		if (!chain_sound(p, &s, t->owned)) {
			wipe_any(p, t->found[i].slot);
			continue;
		}
		own_chain(p, &s, t->owned);
		t->linked[t->found[i].slot] = 1;
		t->found[kept++] = t->found[i];
	}
	t->n = kept;
}

/* Follow each bucket as far as it makes sense, and cut it there. */
static void cut_buckets(struct ptab *p, struct take *t)
{
	struct shm_swarm s;

	for (uint32_t b = 0; b < p->dims.buckets; b++) {
		shm_u32 *at = &p->index[b];
		uint32_t next;

		while ((next = word_get(at)) != 0) {
			if (next > p->dims.slots || t->linked[next - 1] != 1)
				break;
			ptab_words(p, next - 1, &s);
			if (ptab_bucket(p, s.id) != b)
				break;
			t->linked[next - 1] = 2;
			at = &p->slots[next - 1].next;
		}
		if (next != 0)
			word_set(at, 0);
	}
}

/* A slot that was cut off, or never got in. */
static void link_rest(struct ptab *p, struct take *t)
{
	struct shm_swarm s;

	for (uint32_t i = 0; i < t->n; i++) {
		uint32_t slot = t->found[i].slot;
		shm_u32 *bucket;

		if (t->linked[slot] == 2)
			continue;
		ptab_words(p, slot, &s);
		bucket = &p->index[ptab_bucket(p, s.id)];
		word_set(&p->slots[slot].next, word_get(bucket));
		atomic_store_explicit(bucket, slot + 1, memory_order_release);
	}
}

static void make_lists(struct ptab *p, const struct take *t)
{
	struct ptab_writer *w = p->w;

	for (uint32_t i = t->n; i > 0; i--)
		ptab_lru_add(w, t->found[i - 1].slot);
	for (uint32_t i = p->dims.slots; i > 0; i--)
		if (t->linked[i - 1] == 0)
			w->free_slot[w->nfree_slot++] = i - 1;
	for (uint32_t i = 0; i < w->reserved; i++)
		if (!t->owned[i])
			ptab_give_chunk(w, i);
}

/* Versions never fall: neither by a death nor by a start on a fresh segment. */
static void take_version(struct ptab *p)
{
	uint64_t first = p->head->boot_wall_ms << 16;
	uint64_t last = atomic_load_explicit(&p->pool->version, memory_order_relaxed);

	p->w->version = last > first ? last : first;
}

int ptab_takeover(struct ptab *p, char err[ERRLEN])
{
	struct take t = {.n = 0};
	int names_gone, rc = -1;

	if (atomic_load(&p->head->lease_pid) != (uint32_t)getpid())
		return err_set(err, "peer table: the lease is process %u's, we are %d",
			       atomic_load(&p->head->lease_pid), (int)getpid());
	if (writer_alloc(p, err) != 0)
		return -1;
	t.found = alloc(p->dims.slots, sizeof(*t.found));
	t.linked = alloc(p->dims.slots, 1);
	t.owned = alloc(p->dims.chunks, 1);
	if (t.found == NULL || t.linked == NULL || t.owned == NULL) {
		(void)err_set(err, "peer table: out of memory");
		goto out;
	}
	take_pool(p);
	names_gone = names_takeover(p);
	scan_slots(p, &t, names_gone);
	take_version(p);
	claim_chunks(p, &t);
	cut_buckets(p, &t);
	link_rest(p, &t);
	make_lists(p, &t);
	if (names_gone)
		seq_end(&p->names->seq);
	rc = 0;
out:
	free(t.found);
	free(t.linked);
	free(t.owned);
	return rc;
}

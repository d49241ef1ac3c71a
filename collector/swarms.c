/*
 * swarms.c -- see swarms.h. One chained hash of ids; a list of swarms.
 */
#include "collector/swarms.h"

#include <stdlib.h>
#include <string.h>

/* Four ids for each swarm of the default swarm.max_swarms, and some air. */
#define ID_BUCKETS 1024u

struct swarms {
	struct swarm_id *bucket[ID_BUCKETS];
	struct swarm *first;
	uint32_t count, max;
};

static uint32_t bucket_of(const uint8_t id[IH_LEN])
{
	uint32_t h;

	memcpy(&h, id + 4, sizeof(h)); /* an infohash is a hash already */
	return h % ID_BUCKETS;
}

/* ---- ids -------------------------------------------------------------------- */

static void id_link(struct swarms *s, struct swarm *w, struct swarm_id *e,
		    const uint8_t id[IH_LEN])
{
	struct swarm_id **at = &s->bucket[bucket_of(id)];

	memset(e, 0, sizeof(*e));
	memcpy(e->id, id, IH_LEN);
	e->swarm = w;
	e->next = *at;
	*at = e;
}

static void id_unlink(struct swarms *s, struct swarm_id *e)
{
	struct swarm_id **at = &s->bucket[bucket_of(e->id)];

	while (*at && *at != e)
		at = &(*at)->next;
	PS_ASSERT(*at == e);
	*at = e->next;
	memset(e, 0, sizeof(*e));
}

struct swarm_id *swarms_id(const struct swarms *s, const uint8_t id[IH_LEN])
{
	struct swarm_id *e = s->bucket[bucket_of(id)];

	while (e && memcmp(e->id, id, IH_LEN) != 0)
		e = e->next;
	return e;
}

/* A free entry; else the one longest not asked for, but never a hash of the torrent. */
static struct swarm_id *id_room(struct swarms *s, struct swarm *w, int *evicted)
{
	struct swarm_id *oldest = NULL;

	for (uint32_t i = 1; i < SWARM_IDS; i++) {
		struct swarm_id *e = &w->ids[i];

		if (!e->swarm)
			return e;
		if (!swarm_has_hash(w, e->id) &&
		    (!oldest || e->asked_ms < oldest->asked_ms))
			oldest = e;
	}
	PS_ASSERT(oldest != NULL); /* a torrent has two hashes */
	*evicted = 1;
	id_unlink(s, oldest);
	return oldest;
}

struct swarm_id *swarms_alias(struct swarms *s, struct swarm *w, const uint8_t id[IH_LEN],
			      int *evicted)
{
	struct swarm_id *e = swarms_id(s, id);

	*evicted = 0;
	if (e && e->swarm == w)
		return e;
	if (e && e == &e->swarm->ids[0])
		return NULL;
	if (e)
		id_unlink(s, e);
	e = id_room(s, w, evicted);
	id_link(s, w, e, id);
	return e;
}

void swarms_unalias(struct swarms *s, struct swarm_id *e)
{
	if (e == &e->swarm->ids[0])
		e->asked_ms = 0;
	else
		id_unlink(s, e);
}

void swarms_forget_ids(struct swarms *s, struct swarm *w, uint64_t before_ms)
{
	for (uint32_t i = 0; i < SWARM_IDS; i++) {
		struct swarm_id *e = &w->ids[i];

		if (!e->swarm || e->asked_ms >= before_ms)
			continue;
		if (swarm_has_hash(w, e->id))
			e->asked_ms = 0;
		else
			swarms_unalias(s, e);
	}
}

uint32_t swarm_ids_asked(const struct swarm *w)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < SWARM_IDS; i++)
		n += w->ids[i].asked_ms != 0;
	return n;
}

/* ---- swarms ------------------------------------------------------------------ */

int swarms_open(struct swarms **out, uint32_t max)
{
	struct swarms *s = calloc(1, sizeof(*s));

	if (!s)
		return -1;
	s->max = max;
	*out = s;
	return 0;
}

void swarms_close(struct swarms **s)
{
	if (!*s)
		return;
	while ((*s)->first)
		swarms_remove(*s, (*s)->first);
	free(*s);
	*s = NULL;
}

struct swarm *swarms_find(const struct swarms *s, const uint8_t id[IH_LEN])
{
	struct swarm_id *e = swarms_id(s, id);

	return e ? e->swarm : NULL;
}

uint32_t swarms_count(const struct swarms *s)
{
	return s->count;
}

void swarms_set_max(struct swarms *s, uint32_t max)
{
	s->max = max;
}

struct swarm *swarms_add(struct swarms *s, const uint8_t id[IH_LEN], uint64_t now_ms)
{
	struct swarm *w;

	if (s->count >= s->max || swarms_id(s, id))
		return NULL;
	w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	memcpy(w->id, id, IH_LEN);
	id_link(s, w, &w->ids[0], id);
	w->seeds = w->leechers = -1;
	w->joined_ms = w->asked_ms = w->grew_ms = now_ms;
	w->max_peers = CONF_SLOT_PEERS;
	w->next = s->first;
	if (w->next)
		w->next->prev = w;
	s->first = w;
	s->count++;
	return w;
}

void swarms_remove(struct swarms *s, struct swarm *w)
{
	for (uint32_t i = 0; i < SWARM_IDS; i++)
		if (w->ids[i].swarm)
			id_unlink(s, &w->ids[i]);
	if (w->next)
		w->next->prev = w->prev;
	if (w->prev)
		w->prev->next = w->next;
	else
		s->first = w->next;
	s->count--;
	swarm_free(w);
}

struct swarm *swarms_oldest_idle(const struct swarms *s)
{
	struct swarm *oldest = NULL;

	for (struct swarm *w = s->first; w; w = w->next)
		if (w->waiters == 0 && !w->control && !w->meta &&
		    (!oldest || w->asked_ms < oldest->asked_ms))
			oldest = w;
	return oldest;
}

void swarms_each(struct swarms *s, void (*fn)(struct swarm *, void *), void *arg)
{
	for (struct swarm *w = s->first, *next; w; w = next) {
		next = w->next;
		fn(w, arg);
	}
}

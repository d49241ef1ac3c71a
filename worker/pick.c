/* pick.c -- filtering, sorting, summing up; see pick.h. */
#include <string.h>

#include "worker/fold.h"
#include "worker/order.h"
#include "worker/pick.h"

struct pick *pick_new(const struct ptab *ptab, uint64_t seed)
{
	struct pick *k = xcalloc(1, sizeof *k);

	k->ptab = ptab;
	k->seed = seed;
	return k;
}

static void filter(struct pick *k)
{
	const struct swarm_copy *c = k->copy;
	int wants_text = shape_wants_text(k->shape);
	struct swarm_text text;

	for (uint32_t i = 0; i < c->s.npeers; i++) {
		if (wants_text)
			swarm_text(&text, k->ptab, &c->peer[i]);
		if (shape_match(k->shape, &c->peer[i], &text))
			k->index[k->n++] = (uint16_t)i;
	}
}

/* --- order ------------------------------------------------------------------- */

static const char *text_key(const struct swarm_text *text, enum shape_sort key)
{
	switch (key) {
	case SORT_COUNTRY: return text->at.country;
	case SORT_CITY: return text->at.city;
	case SORT_ISP: return text->at.isp;
	case SORT_CLIENT: return text->client;
	default: return NULL;
	}
}

/* The rank of each peer's text among all; from 1, so that turned round it is still
 * below UINT32_MAX, the key of what is unknown: that stands last, whichever way. */
static void text_keys(struct pick *k, enum shape_sort key, int down, uint32_t *out)
{
	struct tally *t = &k->tally;
	struct swarm_text text;

	tally_reset(t);
	for (uint32_t n = 0; n < k->n; n++) {
		const struct shm_peer *peer = &k->copy->peer[k->index[n]];

		swarm_text(&text, k->ptab, peer);
		fold_text((char *)(uintptr_t)text_key(&text, key));
		k->entry[k->index[n]] =
			(uint16_t)tally_add(t, k->seed, text_key(&text, key), 0);
	}
	tally_by_text(t);
	for (uint32_t rank = 0; rank < t->n; rank++) {
		uint32_t e = t->order[rank];
		int unknown = strcmp(tally_text(t, e), "unknown") == 0;

		/* the count has served: the entry's key takes its place */
		t->entry[e].count = unknown ? UINT32_MAX : down ? ~(rank + 1) : rank + 1;
	}
	for (uint32_t n = 0; n < k->n; n++)
		out[k->index[n]] = t->entry[k->entry[k->index[n]]].count;
}

/* Of BitTorrent peers none is known. */
static uint32_t lag_of(const struct shm_peer *peer)
{
	return peer->protocol == PEER_ACESTREAM ? peer->lag : SHM_UNKNOWN;
}

static uint32_t number_key(const struct shm_peer *peer, enum shape_sort key)
{
	switch (key) {
	case SORT_STATE: return (uint32_t)(PEER_CONNECTED - peer->state);
	case SORT_PROGRESS: return peer->progress;
	case SORT_DOWN: return peer->down_rate;
	case SORT_UP: return peer->up_rate;
	case SORT_FIRST_SEEN: return peer->first_seen_s;
	case SORT_LAST_SEEN: return peer->last_seen_s;
	case SORT_LAG: return lag_of(peer);
	default: return 0;
	}
}

static int by_address(const void *arg, uint16_t a, uint16_t b)
{
	const struct pick *k = arg;
	const struct shm_peer *pa = &k->copy->peer[a], *pb = &k->copy->peer[b];
	int rc = memcmp(pa->addr, pb->addr, sizeof pa->addr);

	return rc ? rc : (int)pa->port - (int)pb->port;
}

static void address_keys(struct pick *k, uint32_t *out)
{
	struct tally *t = &k->tally; /* for its room */

	memcpy(t->order, k->index, k->n * sizeof *t->order);
	order_sort(t->order, t->spare, k->n, by_address, k);
	for (uint32_t rank = 0; rank < k->n; rank++)
		out[t->order[rank]] = rank;
}

/* The other way round, but what is unknown stays last. */
static uint32_t turned(enum shape_sort key, uint32_t is)
{
	if (key == SORT_LAG)
		return is == SHM_UNKNOWN ? is : SHM_UNKNOWN - 1 - is;
	return ~is;
}

static void fill_keys(struct pick *k, enum shape_sort key, int down, uint32_t *out)
{
	static const struct swarm_text none; /* its address only */

	if (text_key(&none, key)) {
		text_keys(k, key, down, out);
		return;
	}
	if (key == SORT_IP)
		address_keys(k, out);
	else
		for (uint32_t n = 0; n < k->n; n++)
			out[k->index[n]] = number_key(&k->copy->peer[k->index[n]], key);
	if (down)
		for (uint32_t n = 0; n < k->n; n++)
			out[k->index[n]] = turned(key, out[k->index[n]]);
}

static int by_keys(const void *arg, uint16_t a, uint16_t b)
{
	const struct pick *k = arg;

	for (int i = 0; i < k->shape->nsort; i++)
		if (k->key[i][a] != k->key[i][b])
			return k->key[i][a] < k->key[i][b] ? -1 : 1;
	return 0;
}

void pick_make(struct pick *k, const struct shape *sh, const struct swarm_copy *copy)
{
	k->shape = sh;
	k->copy = copy;
	k->n = 0;
	if (!copy)
		return;
	filter(k);
	for (int i = 0; i < sh->nsort; i++)
		fill_keys(k, (enum shape_sort)sh->sort[i].key, sh->sort[i].down,
			  k->key[i]);
	if (sh->nsort > 0)
		order_sort(k->index, k->spare, k->n, by_keys, k);
}

/* --- summary ------------------------------------------------------------------ */

static void put_list(struct json *j, struct pick *k, const char *name)
{
	struct tally *t = &k->tally;
	uint64_t other = 0;

	tally_by_count(t);
	json_obj(j, name);
	json_uint(j, "distinct", t->n);
	json_arr(j, "list");
	for (uint32_t n = 0; n < t->n; n++) {
		uint32_t e = t->order[n];

		if (n >= PICK_TOP) {
			other += t->entry[e].count;
			continue;
		}
		json_obj(j, NULL);
		if (strcmp(name, "country") == 0) {
			struct swarm_text first;

			swarm_text(&first, k->ptab, &k->copy->peer[t->entry[e].first]);
			json_str(j, "code", first.at.code);
			json_str(j, "name", first.at.country);
		} else {
			json_str(j, "name", tally_text(t, e));
		}
		json_uint(j, "count", t->entry[e].count);
		json_obj_end(j);
	}
	json_arr_end(j);
	json_uint(j, "other", other);
	json_obj_end(j);
}

/* Two databases may write one country in two ways: the code decides, if there is one. */
static const char *text_by(const struct swarm_text *text, enum shape_by by)
{
	switch (by) {
	case SHAPE_COUNTRY:
		return strcmp(text->at.code, "??") == 0 ? text->at.country
							: text->at.code;
	case SHAPE_ISP: return text->at.isp;
	default: return text->client;
	}
}

static void put_texts(struct json *j, struct pick *k, const char *name, enum shape_by by)
{
	struct swarm_text text;

	tally_reset(&k->tally);
	for (uint32_t n = 0; n < k->n; n++) {
		swarm_text(&text, k->ptab, &k->copy->peer[k->index[n]]);
		tally_add(&k->tally, k->seed, text_by(&text, by), k->index[n]);
	}
	put_list(j, k, name);
}

/* add counts one peer under one name or several. */
static void put_words(struct json *j, struct pick *k, const char *name,
		      void (*add)(struct pick *k, const struct shm_peer *peer))
{
	tally_reset(&k->tally);
	for (uint32_t n = 0; n < k->n; n++)
		add(k, &k->copy->peer[k->index[n]]);
	put_list(j, k, name);
}

static void add_sources(struct pick *k, const struct shm_peer *peer)
{
	for (int i = 0; i < SWARM_SOURCES; i++)
		if (peer->sources & 1u << i)
			tally_add(&k->tally, k->seed, swarm_source_name(i), 0);
}

static void add_state(struct pick *k, const struct shm_peer *peer)
{
	tally_add(&k->tally, k->seed, peer_state_name(peer->state), 0);
}

static void add_protocol(struct pick *k, const struct shm_peer *peer)
{
	tally_add(&k->tally, k->seed, swarm_protocol_name(peer->protocol), 0);
}

void pick_summary(struct json *j, void *arg)
{
	struct pick *k = arg;

	json_obj(j, "summary");
	json_uint(j, "peers", k->n);
	put_texts(j, k, "country", SHAPE_COUNTRY);
	put_texts(j, k, "isp", SHAPE_ISP);
	put_texts(j, k, "client", SHAPE_CLIENT);
	put_words(j, k, "source", add_sources);
	put_words(j, k, "state", add_state);
	put_words(j, k, "protocol", add_protocol);
	json_obj_end(j);
}

/*
 * bucket.c -- see bucket.h.
 */
#include "collector/bucket.h"

#include <stdlib.h>
#include <string.h>

#define CHAINS 1024u
#define NONE UINT32_MAX

/* A token is a minute's worth of rate: level counts in 1/60000, so that a rate of one a
 * minute loses nothing between two milliseconds. */
#define TOKEN 60000u

struct bucket {
	uint8_t key[ADDR_LEN];
	uint64_t level;        /* tokens * TOKEN */
	uint64_t at_ms;        /* when level was true */
	uint32_t next;         /* in its chain */
	uint32_t newer, older; /* in the order of use */
};

struct buckets {
	struct bucket slot[BUCKET_CLIENTS];
	uint32_t chain[CHAINS];
	uint32_t used, newest, oldest;
};

int buckets_open(struct buckets **out)
{
	struct buckets *b = calloc(1, sizeof(*b));

	if (!b)
		return -1;
	memset(b->chain, 0xff, sizeof(b->chain));
	b->newest = b->oldest = NONE;
	*out = b;
	return 0;
}

void buckets_close(struct buckets **b)
{
	free(*b);
	*b = NULL;
}

uint32_t buckets_used(const struct buckets *b)
{
	return b->used;
}

int bucket_key(const uint8_t client[ADDR_LEN], uint8_t key[ADDR_LEN])
{
	static const uint8_t zero[ADDR_LEN];

	memcpy(key, client, ADDR_LEN);
	if (addr_is_v4(client))
		return client[12] != 127;
	if (memcmp(client, zero, ADDR_LEN - 1) == 0 && client[ADDR_LEN - 1] <= 1)
		return 0; /* ::1, or all zero: no address, as over a unix socket */
	memset(key + 8, 0, 8);
	return 1;
}

static uint32_t *chain_of(struct buckets *b, const uint8_t key[ADDR_LEN])
{
	uint32_t h = 2166136261u;

	for (int i = 0; i < ADDR_LEN; i++)
		h = (h ^ key[i]) * 16777619u;
	return &b->chain[(h ^ (h >> 15)) % CHAINS];
}

static void order_cut(struct buckets *b, uint32_t i)
{
	struct bucket *x = &b->slot[i];

	if (x->newer == NONE)
		b->newest = x->older;
	else
		b->slot[x->newer].older = x->older;
	if (x->older == NONE)
		b->oldest = x->newer;
	else
		b->slot[x->older].newer = x->newer;
}

static void order_first(struct buckets *b, uint32_t i)
{
	struct bucket *x = &b->slot[i];

	x->newer = NONE;
	x->older = b->newest;
	if (b->newest != NONE)
		b->slot[b->newest].newer = i;
	else
		b->oldest = i;
	b->newest = i;
}

/* A place for one more: a free one, or that of who was here longest ago. */
static uint32_t place(struct buckets *b, uint64_t *forgotten)
{
	uint32_t i = b->oldest, *at;

	if (b->used < BUCKET_CLIENTS)
		return b->used++;
	order_cut(b, i);
	for (at = chain_of(b, b->slot[i].key); *at != i; at = &b->slot[*at].next)
		PS_ASSERT(*at != NONE);
	*at = b->slot[i].next;
	++*forgotten;
	return i;
}

static uint32_t find(struct buckets *b, const uint8_t key[ADDR_LEN])
{
	uint32_t i = *chain_of(b, key);

	while (i != NONE && memcmp(b->slot[i].key, key, ADDR_LEN) != 0)
		i = b->slot[i].next;
	return i;
}

static struct bucket *bucket_of(struct buckets *b, const uint8_t key[ADDR_LEN],
				uint32_t burst, uint64_t now_ms, uint64_t *forgotten)
{
	uint32_t i = find(b, key), *chain = chain_of(b, key);
	struct bucket *x;

	if (i != NONE) {
		order_cut(b, i);
		order_first(b, i);
		return &b->slot[i];
	}
	i = place(b, forgotten);
	x = &b->slot[i];
	memcpy(x->key, key, ADDR_LEN);
	x->level = (uint64_t)burst * TOKEN;
	x->at_ms = now_ms;
	x->next = *chain;
	*chain = i;
	order_first(b, i);
	return x;
}

void bucket_give(struct buckets *b, const uint8_t client[ADDR_LEN], uint32_t burst)
{
	uint8_t key[ADDR_LEN];
	uint32_t i = bucket_key(client, key) ? find(b, key) : NONE;

	if (i == NONE)
		return;
	b->slot[i].level += TOKEN;
	if (b->slot[i].level > (uint64_t)burst * TOKEN)
		b->slot[i].level = (uint64_t)burst * TOKEN;
}

uint32_t bucket_take(struct buckets *b, const uint8_t client[ADDR_LEN], uint32_t rate,
		     uint32_t burst, uint64_t now_ms, uint64_t *forgotten)
{
	uint64_t full = (uint64_t)burst * TOKEN, missing;
	uint8_t key[ADDR_LEN];
	struct bucket *x;

	if (rate == 0 || !bucket_key(client, key))
		return 0;
	x = bucket_of(b, key, burst, now_ms, forgotten);
	x->level += (now_ms - x->at_ms) * rate;
	x->at_ms = now_ms;
	if (x->level > full)
		x->level = full; /* also after a reload with a smaller burst */
	if (x->level >= TOKEN) {
		x->level -= TOKEN;
		return 0;
	}
	missing = (TOKEN - x->level + rate - 1) / rate; /* ms */
	return (uint32_t)((missing + 999) / 1000);
}

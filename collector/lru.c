/* lru.c -- see lru.h: a chained hash, and a list by last use. */
#include "collector/lru.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct node {
	uint32_t chain; /* next of the bucket, or of the free ones */
	uint32_t newer, older;
};

struct lru {
	size_t key_len;
	uint32_t max, count, fresh; /* fresh: the first number never given */
	uint32_t newest, oldest, free;
	uint8_t secret[crypto_shorthash_KEYBYTES];
	struct node *node; /* max of each */
	uint32_t *bucket;
	uint8_t *key;
};

static uint32_t *bucket_of(const struct lru *l, const void *key)
{
	uint8_t out[crypto_shorthash_BYTES];
	uint64_t h;

	(void)crypto_shorthash(out, key, l->key_len, l->secret);
	memcpy(&h, out, sizeof(h));
	return &l->bucket[h % l->max];
}

int lru_open(struct lru **out, uint32_t max, size_t key_len)
{
	struct lru *l = calloc(1, sizeof(*l));

	if (!l)
		return -1;
	l->key_len = key_len;
	l->max = max;
	l->newest = l->oldest = l->free = LRU_NONE;
	l->node = calloc(max, sizeof(*l->node));
	l->key = calloc(max, key_len);
	l->bucket = malloc(max * sizeof(*l->bucket));
	if (!l->node || !l->key || !l->bucket) {
		lru_close(&l);
		return -1;
	}
	memset(l->bucket, 0xff, max * sizeof(*l->bucket));
	randombytes_buf(l->secret, sizeof(l->secret));
	*out = l;
	return 0;
}

void lru_close(struct lru **lp)
{
	struct lru *l = *lp;

	if (!l)
		return;
	*lp = NULL;
	free(l->node);
	free(l->key);
	free(l->bucket);
	free(l);
}

/* ---- the order of use ------------------------------------------------------------ */

static void order_cut(struct lru *l, uint32_t i)
{
	struct node *n = &l->node[i];

	if (n->newer != LRU_NONE)
		l->node[n->newer].older = n->older;
	else
		l->newest = n->older;
	if (n->older != LRU_NONE)
		l->node[n->older].newer = n->newer;
	else
		l->oldest = n->newer;
}

static void order_add(struct lru *l, uint32_t i)
{
	l->node[i].newer = LRU_NONE;
	l->node[i].older = l->newest;
	if (l->newest != LRU_NONE)
		l->node[l->newest].newer = i;
	else
		l->oldest = i;
	l->newest = i;
}

void lru_touch(struct lru *l, uint32_t i)
{
	order_cut(l, i);
	order_add(l, i);
}

/* ---- keys ---------------------------------------------------------------------------- */

const void *lru_key(const struct lru *l, uint32_t i)
{
	return l->key + (size_t)i * l->key_len;
}

uint32_t lru_find(const struct lru *l, const void *key)
{
	uint32_t i = *bucket_of(l, key);

	while (i != LRU_NONE && memcmp(lru_key(l, i), key, l->key_len) != 0)
		i = l->node[i].chain;
	return i;
}

void lru_drop(struct lru *l, uint32_t i)
{
	uint32_t *at = bucket_of(l, lru_key(l, i));

	while (*at != i)
		at = &l->node[*at].chain;
	*at = l->node[i].chain;
	order_cut(l, i);
	l->node[i].chain = l->free;
	l->free = i;
	l->count--;
}

static uint32_t take_number(struct lru *l)
{
	uint32_t i = l->free;

	if (i == LRU_NONE)
		return l->fresh++;
	l->free = l->node[i].chain;
	return i;
}

uint32_t lru_put(struct lru *l, const void *key, int *gone)
{
	uint32_t i = lru_find(l, key), *at;

	*gone = 0;
	if (i != LRU_NONE) {
		lru_touch(l, i);
		return i;
	}
	if (l->count == l->max) {
		lru_drop(l, l->oldest);
		*gone = 1;
	}
	i = take_number(l);
	memcpy(l->key + (size_t)i * l->key_len, key, l->key_len);
	at = bucket_of(l, key);
	l->node[i].chain = *at;
	*at = i;
	order_add(l, i);
	l->count++;
	return i;
}

uint32_t lru_newest(const struct lru *l)
{
	return l->newest;
}

uint32_t lru_older(const struct lru *l, uint32_t i)
{
	return l->node[i].older;
}

uint32_t lru_count(const struct lru *l)
{
	return l->count;
}

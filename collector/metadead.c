/* metadead.c -- see metadead.h. */
#include "collector/metadead.h"

#include <stdlib.h>

#include "collector/lru.h"

static const uint32_t pause_s[] = {60, 300, 1800};

struct metadead {
	struct lru *index;
	struct {
		uint64_t until_ms;
		uint32_t failed; /* times, in a row */
		int odd;
		uint32_t nmarks;
		uint64_t mark[METADEAD_TRACKERS];
	} e[METADEAD_MAX];
};

int metadead_open(struct metadead **out)
{
	struct metadead *d = calloc(1, sizeof(*d));

	*out = NULL;
	if (!d || lru_open(&d->index, METADEAD_MAX, IH_LEN) != 0) {
		free(d);
		return -1;
	}
	*out = d;
	return 0;
}

void metadead_close(struct metadead **d)
{
	if (!*d)
		return;
	lru_close(&(*d)->index);
	free(*d);
	*d = NULL;
}

int metadead_failed(struct metadead *d, const uint8_t key[IH_LEN], uint64_t now_ms)
{
	int known = lru_find(d->index, key) != LRU_NONE, gone;
	uint32_t i = lru_put(d->index, key, &gone), step;

	if (!known || now_ms >= d->e[i].until_ms + METADEAD_FORGET_MS)
		d->e[i].failed = d->e[i].nmarks = 0;
	d->e[i].odd = 0;
	step = d->e[i].failed < PS_ARRAY_LEN(pause_s) - 1 ? d->e[i].failed++
							  : PS_ARRAY_LEN(pause_s) - 1;
	d->e[i].until_ms = now_ms + pause_s[step] * UINT64_C(1000);
	return gone;
}

void metadead_odd(struct metadead *d, const uint8_t key[IH_LEN], uint64_t now_ms)
{
	(void)metadead_failed(d, key, now_ms);
	d->e[lru_find(d->index, key)].odd = 1;
}

int metadead_is_odd(const struct metadead *d, const uint8_t key[IH_LEN])
{
	uint32_t i = lru_find(d->index, key);

	return i != LRU_NONE && d->e[i].odd;
}

static int has(const struct metadead *d, uint32_t i, uint64_t mark)
{
	for (uint32_t k = 0; k < d->e[i].nmarks; k++)
		if (d->e[i].mark[k] == mark)
			return 1;
	return 0;
}

void metadead_asked(struct metadead *d, const uint8_t key[IH_LEN], const uint64_t *mark,
		    size_t n)
{
	uint32_t i = lru_find(d->index, key);

	if (i == LRU_NONE)
		return;
	if (d->e[i].nmarks + n > METADEAD_TRACKERS)
		d->e[i].nmarks = 0;
	for (size_t k = 0; k < n && d->e[i].nmarks < METADEAD_TRACKERS; k++)
		if (!has(d, i, mark[k]))
			d->e[i].mark[d->e[i].nmarks++] = mark[k];
}

int metadead_was_asked(const struct metadead *d, const uint8_t key[IH_LEN], uint64_t mark)
{
	uint32_t i = lru_find(d->index, key);

	return i != LRU_NONE && has(d, i, mark);
}

void metadead_found(struct metadead *d, const uint8_t key[IH_LEN])
{
	uint32_t i = lru_find(d->index, key);

	if (i != LRU_NONE)
		lru_drop(d->index, i);
}

uint32_t metadead_wait_s(const struct metadead *d, const uint8_t key[IH_LEN],
			 uint64_t now_ms)
{
	uint32_t i = lru_find(d->index, key);

	if (i == LRU_NONE || now_ms >= d->e[i].until_ms)
		return 0;
	return (uint32_t)((d->e[i].until_ms - now_ms + 999) / 1000);
}

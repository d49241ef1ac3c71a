/* acepast.c -- see acepast.h. */
#include "collector/acepast.h"

#include <stdlib.h>
#include <string.h>

#include "collector/lru.h"

struct key {
	uint8_t swarm[IH_LEN], addr[ADDR_LEN], port[2];
};

struct acepast {
	struct lru *known;
	uint64_t lost;
	struct {
		struct acepast_peer p;
		uint64_t at_ms;
	} entry[ACEPAST_MAX];
};

int acepast_open(struct acepast **out)
{
	struct acepast *a = calloc(1, sizeof(*a));

	if (!a)
		return -1;
	if (lru_open(&a->known, ACEPAST_MAX, sizeof(struct key)) != 0) {
		free(a);
		return -1;
	}
	*out = a;
	return 0;
}

void acepast_close(struct acepast **a)
{
	if (!*a)
		return;
	lru_close(&(*a)->known);
	free(*a);
	*a = NULL;
}

static struct key key_of(const uint8_t swarm[IH_LEN], const uint8_t addr[ADDR_LEN],
			 uint16_t port)
{
	struct key k;

	memcpy(k.swarm, swarm, IH_LEN);
	memcpy(k.addr, addr, ADDR_LEN);
	k.port[0] = (uint8_t)(port >> 8);
	k.port[1] = (uint8_t)port;
	return k;
}

void acepast_put(struct acepast *a, const uint8_t swarm[IH_LEN],
		 const uint8_t addr[ADDR_LEN], uint16_t port,
		 const struct acepast_peer *p, uint64_t now_ms)
{
	struct key k = key_of(swarm, addr, port);
	uint32_t i;
	int gone;

	if (!a)
		return;
	i = lru_put(a->known, &k, &gone);
	a->lost += gone && now_ms - a->entry[i].at_ms < ACEPAST_MS;
	a->entry[i].p = *p;
	a->entry[i].at_ms = now_ms;
}

int acepast_get(struct acepast *a, const uint8_t swarm[IH_LEN],
		const uint8_t addr[ADDR_LEN], uint16_t port, struct acepast_peer *out,
		uint64_t now_ms)
{
	struct key k = key_of(swarm, addr, port);
	uint32_t i = a ? lru_find(a->known, &k) : LRU_NONE;

	if (i == LRU_NONE)
		return 0;
	if (now_ms - a->entry[i].at_ms >= ACEPAST_MS) {
		lru_drop(a->known, i);
		return 0;
	}
	lru_touch(a->known, i);
	a->entry[i].at_ms = now_ms;
	*out = a->entry[i].p;
	return 1;
}

void acepast_drop(struct acepast *a, const uint8_t swarm[IH_LEN],
		  const uint8_t addr[ADDR_LEN], uint16_t port)
{
	struct key k = key_of(swarm, addr, port);
	uint32_t i = a ? lru_find(a->known, &k) : LRU_NONE;

	if (i != LRU_NONE)
		lru_drop(a->known, i);
}

void acepast_new_way(struct acepast *a)
{
	for (uint32_t i = 0; i < ACEPAST_MAX; i++)
		if (a->entry[i].p.unheard)
			a->entry[i].p.fails = a->entry[i].p.not_ms = 0;
}

uint64_t acepast_lost(struct acepast *a)
{
	uint64_t n = a->lost;

	a->lost = 0;
	return n;
}

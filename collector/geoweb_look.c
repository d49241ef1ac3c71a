/*
 * geoweb_look.c -- Redis, before the web service and while that may not be asked: what an
 * earlier life of ours, or another node, has heard; see geoweb.h.
 */
#include <stdio.h>
#include <string.h>

#include "collector/geosay.h"
#include "collector/geoweb_int.h"
#include "collector/lru.h"
#include "common/clock.h"
#include "shm/stat.h"

#define STORED_MAX 4096 /* what we write has some 400 bytes */
#define KEY_PREFIX "peerscope:place:"
#define KEY_MAX (sizeof(KEY_PREFIX) + ADDR_TEXT_MAX)
/* 1,024 that wait are some 20 questions a second, then. */
#define AGAIN_MAX_MS 60000u

static void key_of(char out[KEY_MAX], const uint8_t addr[ADDR_LEN])
{
	char text[ADDR_TEXT_MAX];

	addr_text(text, addr);
	snprintf(out, KEY_MAX, KEY_PREFIX "%s", text);
}

void geoweb_write_down(struct geoweb *g, const uint8_t addr[ADDR_LEN], enum geosay what,
		       const struct place *p, uint64_t for_ms)
{
	char key[KEY_MAX];
	struct buf text;

	if (!redis_up(g->redis))
		return;
	key_of(key, addr);
	buf_init(&text, STORED_MAX);
	geosay_write(&text, addr, what, p, clock_wall_ms() + for_ms);
	if (!text.failed)
		redis_setex(g->redis, key, for_ms, text.p, text.len);
	buf_free(&text);
}

static void on_stored(void *arg, const char *value, size_t len)
{
	struct look *l = arg;
	struct geoweb *g = l->g;
	uint32_t i = lru_find(g->wanted, l->addr);
	enum geosay what = GEOSAY_NONSENSE;
	struct place p;
	uint64_t left_ms;

	if (value)
		what = geosay_stored(&p, &left_ms, l->addr, value, len, clock_wall_ms());
	if (what != GEOSAY_NONSENSE) {
		stat_inc(geo_online_redis);
		geoweb_take(g, l->addr, what, &p, left_ms);
		if (i != LRU_NONE)
			geoweb_unwant(g, i);
	} else if (i != LRU_NONE) {
		geoweb_stage(g, i, GEOWEB_READY);
	}
	memset(l, 0, sizeof(*l));
	geoweb_arm(g, 0);
}

static struct look *free_look(struct geoweb *g)
{
	for (size_t i = 0; i < GEOWEB_LOOKS; i++)
		if (!g->look[i].g)
			return &g->look[i];
	return NULL;
}

static void look_up(struct geoweb *g)
{
	char key[KEY_MAX];
	struct look *l;
	uint32_t i;

	while (g->fresh && redis_up(g->redis) && (l = free_look(g)) != NULL) {
		i = geoweb_newest(g, GEOWEB_NEW, GEOWEB_NEW);
		PS_ASSERT(i != LRU_NONE);
		memcpy(l->addr, lru_key(g->wanted, i), ADDR_LEN);
		key_of(key, l->addr);
		l->get = redis_get(g->redis, key, GEOWEB_REDIS_MS, STORED_MAX, on_stored,
				   l);
		if (l->get)
			l->g = g;
		geoweb_stage(g, i, l->get ? GEOWEB_LOOKING : GEOWEB_READY);
	}
}

int geoweb_look_again(struct geoweb *g, uint32_t i)
{
	if (g->stage[i] != GEOWEB_READY || !redis_up(g->redis) ||
	    clock_ms() - g->ready_ms[i] < GEOWEB_AGAIN_MS)
		return 0;
	geoweb_stage(g, i, GEOWEB_NEW);
	look_up(g);
	return g->stage[i] != GEOWEB_READY;
}

uint64_t geoweb_look_due(struct geoweb *g)
{
	uint64_t now = clock_ms(), next_ms = UINT64_MAX, due_ms;
	uint32_t i = lru_newest(g->wanted);
	int up = redis_up(g->redis);

	for (; i != LRU_NONE; i = lru_older(g->wanted, i)) {
		due_ms = up && g->stage[i] == GEOWEB_READY
				 ? g->ready_ms[i] + g->again_ms[i]
				 : now + GEOWEB_AGAIN_MS;
		if (due_ms <= now) {
			g->again_ms[i] = 2 * g->again_ms[i] < AGAIN_MAX_MS
						 ? 2 * g->again_ms[i]
						 : AGAIN_MAX_MS;
			geoweb_stage(g, i, GEOWEB_NEW);
			due_ms = now + GEOWEB_AGAIN_MS;
		}
		if (due_ms - now < next_ms)
			next_ms = due_ms - now;
	}
	look_up(g);
	return g->redis ? next_ms : UINT64_MAX;
}

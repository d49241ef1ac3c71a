/*
 * geoweb_int.h -- what geoweb.c, which asks the web service, shares with geoweb_look.c, which
 * asks Redis before it.
 */
#ifndef PEERSCOPE_COLLECTOR_GEOWEB_INT_H
#define PEERSCOPE_COLLECTOR_GEOWEB_INT_H

#include "collector/geopace.h"
#include "collector/geosay.h"
#include "collector/geoweb.h"

#define GEOWEB_URL_MAX 501		/* geo.online_url, and a slash */
/* What waited for so long another node may have asked about meanwhile. */
#define GEOWEB_AGAIN_MS 2000u

struct lru;

enum geoweb_stage { GEOWEB_NEW = 0, GEOWEB_LOOKING = 1, GEOWEB_READY = 2 };

struct answer {				/* in memory */
	struct place place;
	uint64_t until_ms;		/* monotonic: it is fresh */
};

struct look {				/* Redis is asked about addr */
	struct geoweb *g;		/* NULL: free */
	uint8_t addr[ADDR_LEN];
	struct redis_get *get;
};

struct flight {				/* the service is */
	struct geoweb *g;		/* NULL: free */
	uint8_t addr[ADDR_LEN];
	struct web_req *req;
	int probe;
};

struct geoweb {
	struct web *web;
	struct redis *redis;
	geoweb_fn *fn;
	void *arg;
	char url[GEOWEB_URL_MAX + 1];	/* with a slash at its end; "": off */
	char source[GEOSAY_SOURCE];	/* its host */
	struct geopace pace;
	enum online_state state;

	struct lru *known;
	struct answer *answer;
	struct lru *wanted;
	uint8_t stage[GEOWEB_WAITING];
	uint64_t ready_ms[GEOWEB_WAITING];	/* monotonic: GEOWEB_READY since then */
	uint32_t again_ms[GEOWEB_WAITING];	/* Redis is asked again so much later */
	uint32_t fresh;			/* of the wanted, those that are GEOWEB_NEW */
	struct look look[GEOWEB_LOOKS];
	struct flight flight[GEOWEB_FLIGHTS];
	struct event *work;
};

/* --- geoweb.c --- */
void geoweb_arm(struct geoweb *g, uint64_t ms);	/* work goes on then */
void geoweb_stage(struct geoweb *g, uint32_t i, enum geoweb_stage stage);
/* The newest at one of these stages. */
uint32_t geoweb_newest(const struct geoweb *g, enum geoweb_stage a, enum geoweb_stage b);
void geoweb_unwant(struct geoweb *g, uint32_t i);
void geoweb_take(struct geoweb *g, const uint8_t addr[ADDR_LEN], enum geosay what,
		 const struct place *p, uint64_t for_ms);

/* --- geoweb_look.c --- */
/* The service may not be asked for a day, but other nodes ask it, too: who is new, or due, is
 * looked for in Redis. How long until the next one is; UINT64_MAX: nobody waits. While Redis
 * is away, or answers, the next look is after GEOWEB_AGAIN_MS. */
uint64_t geoweb_look_due(struct geoweb *g);
/* 1: Redis is asked about i once more, before the service is. */
int geoweb_look_again(struct geoweb *g, uint32_t i);
/* For the next life of ours, and for other nodes. */
void geoweb_write_down(struct geoweb *g, const uint8_t addr[ADDR_LEN], enum geosay what,
		       const struct place *p, uint64_t for_ms);

#endif

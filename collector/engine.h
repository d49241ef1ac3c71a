/*
 * engine.h -- an AceStream engine of ours (acestream.engine_url), asked what an id means.
 *
 *   memory --> Redis --> engine: GET <url>/server/api?...method=analyze_content&query=<id>
 *                                (never getstream, which starts a download)
 *
 * One question per id, whatever the number of askers, and none longer than
 * acestream.timeout. Who does not answer is down: then nobody waits for it, and it is
 * looked after by itself, with its cheapest question, until it answers again.
 * Proof: tests/unit/test_resolve.c (what is believed), tests/e2e/test_ids.py.
 */
#ifndef PEERSCOPE_COLLECTOR_ENGINE_H
#define PEERSCOPE_COLLECTOR_ENGINE_H

#include "collector/redis.h"
#include "collector/resolve.h"
#include "collector/web.h"
#include "shm/engine.h"

/* Ids asked about at once. One engine on one machine takes seconds for a cold id; more
 * than this would only make each of them late. Further ones are taken as they are. */
#define ENGINE_FLIGHTS 32
/* Redis is near, or it is no help: this part of a question's time is all it gets. What is
 * left of TIER_WAIT_MS is for lists. */
#define ENGINE_REDIS_MS 80
/* Looked after again this long after a failure; doubles up to the second. */
#define ENGINE_PROBE_MIN_MS 500
#define ENGINE_PROBE_MAX_MS 30000
/* An answer has some hundred bytes; the largest title fits many times. */
#define ENGINE_BODY_MAX 65536

struct event_base;
struct engine;				/* opaque */

enum engine_rc {
	ENGINE_NOBODY = 0,		/* none is configured */
	ENGINE_KNOWN = 1,		/* *out, perhaps for now: fn may say more later */
	ENGINE_ASKED = 2,		/* fn will say */
};

/* id means r. From the loop, never from within engine_ask; may call engine_ask. */
typedef void engine_fn(void *arg, const uint8_t id[IH_LEN], const struct resolved *r);

/* Borrows base and web. Nobody is asked before engine_configure. */
PS_MUST int engine_open(struct engine **out, struct event_base *base, struct web *web,
			engine_fn *fn, void *arg);
void engine_close(struct engine **e);	/* before web_close; NULL is fine */
/* acestream.engine_url, "": none; acestream.timeout. Who waits is told: no answer. */
void engine_configure(struct engine *e, const char *url, uint64_t timeout_ms);
/* r is borrowed, and may be NULL. To be called before the old one is closed. */
void engine_set_redis(struct engine *e, struct redis *r);
/* The same without asking anybody. ENGINE_NOBODY: nothing is known, nothing under way. */
PS_MUST enum engine_rc engine_look(struct engine *e, const uint8_t id[IH_LEN],
				   struct resolved *out);
PS_MUST enum engine_rc engine_ask(struct engine *e, const uint8_t id[IH_LEN],
				  struct resolved *out);

#endif

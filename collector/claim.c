/*
 * claim.c -- who joins a swarm that several nodes are asked for; see tier.h.
 *
 * Claims are made, renewed and given back by scripts, so that a claim is only ever changed
 * by who has it. Those of joined swarms are renewed in batches, three times as often as
 * they end; there a claim that another node let go of is taken, too.
 */
#include <stdio.h>
#include <string.h>

#include "collector/coll.h"
#include "collector/tier.h"
#include "common/clock.h"

#define KEY_MAX 64
/* Another type under our key is nobody's claim: SET replaces it. */
static const char TAKE[] = "local r = ''\n"
			   "for _, k in ipairs(KEYS) do\n"
			   "  local v = redis.pcall('GET', k)\n"
			   "  if type(v) ~= 'string' or v == ARGV[1] then\n"
			   "    redis.call('SET', k, ARGV[1], 'PX', ARGV[2])\n"
			   "    r = r .. '1'\n"
			   "  else r = r .. '0' end\n"
			   "end\n"
			   "return r";
static const char GIVE[] = "for _, k in ipairs(KEYS) do\n"
			   "  if redis.pcall('GET', k) == ARGV[1] then\n"
			   "    redis.call('DEL', k)\n"
			   "  end\n"
			   "end\n"
			   "return 'ok'";

static void key_of(char out[KEY_MAX], const uint8_t id[IH_LEN])
{
	char hex[IH_HEX_LEN];

	ih_hex(hex, id);
	snprintf(out, KEY_MAX, "peerscope:claim:%s", hex);
}

int claim_may(const struct coll *c)
{
	return c->kid.conf.redis_mode == REDIS_EXTERNAL && net_why(c) == IFACE_OK &&
	       PATH_ALL(path_packed(&c->path)) < PATH_BLOCKED;
}

static struct redis_get *run(struct coll *c, const char *script,
			     const uint8_t (*id)[IH_LEN], unsigned n, uint64_t timeout_ms,
			     redis_get_fn *fn, void *arg)
{
	char key[REDIS_KEYS_MAX][KEY_MAX], ms[24];
	struct redis_script s = {.text = script,
				 .arg = {c->tier->node, ms},
				 .nkeys = n,
				 .nargs = 2};

	for (unsigned i = 0; i < n; i++) {
		key_of(key[i], id[i]);
		s.key[i] = key[i];
	}
	snprintf(ms, sizeof(ms), "%llu", (unsigned long long)c->kid.conf.redis_claim_ms);
	return redis_eval(c->redis, &s, timeout_ms, fn, arg);
}

struct redis_get *claim_ask(struct coll *c, const uint8_t key[IH_LEN],
			    uint64_t timeout_ms, redis_get_fn *fn, void *arg)
{
	return run(c, TAKE, (const uint8_t(*)[IH_LEN])key, 1, timeout_ms, fn, arg);
}

/* Whether it arrives or not: the claim ends by itself. */
static void give(struct coll *c, const uint8_t (*id)[IH_LEN], unsigned n)
{
	struct redis_get *g = n ? run(c, GIVE, id, n, TIER_WAIT_MS, NULL, NULL) : NULL;

	redis_get_cancel(&g);
}

void claim_won(struct coll *c, const uint8_t key[IH_LEN])
{
	struct swarm *w = swarms_find(c->swarms, key);

	if (!w) {
		give(c, (const uint8_t(*)[IH_LEN])key, 1);
		return;
	}
	w->claim = CLAIM_HELD;
	w->claim_ms = clock_ms();
	stat_inc(claims_won);
}

void claim_leave(struct coll *c, struct swarm *w)
{
	if (w->claim == CLAIM_HELD)
		give(c, &w->id, 1);
	w->claim = CLAIM_NONE;
}

/* 1: the first round is over, nobody was found, and nothing proves that we could have. */
static int is_blind(struct coll *c, const struct swarm *w)
{
	struct shm_swarm s = {.phase = SWARM_COLLECTING,
			      .npeers = w->npeers,
			      .dht_at_s = w->dht_at_s,
			      .discovered = w->ace.answered};

	if (!w->round_done)
		return 0;
	for (uint32_t i = 0; i < w->ntrackers; i++)
		s.trackers_ok += w->tracker[i].ok != 0;
	verdict_swarm(&c->path, w, clock_ms(), &s);
	return !tier_is_seen(&s);
}

void claim_look(struct coll *c, struct swarm *w)
{
	if (w->claim == CLAIM_HELD && is_blind(c, w))
		claim_leave(c, w);
}

/* ---- renewed ------------------------------------------------------------------------ */

static void collect(struct swarm *w, void *arg)
{
	struct coll *c = arg;
	struct tier *t = c->tier;
	int held = w->claim == CLAIM_HELD;
	int due = !w->control && !w->away && t->batch.n < REDIS_KEYS_MAX &&
		  (!w->claim_ms ||
		   clock_ms() - w->claim_ms >= c->kid.conf.redis_claim_ms / 3);
	int blind = (due || (held && !w->npeers)) && is_blind(c, w);

	if (held && blind)
		claim_leave(c, w);
	if (due && !blind)
		memcpy(t->batch.id[t->batch.n++], w->id, IH_LEN);
}

static void judged(struct coll *c, const uint8_t id[IH_LEN], char verdict)
{
	struct swarm *w = swarms_find(c->swarms, id);

	if (!w || memcmp(w->id, id, IH_LEN) != 0) {
		if (verdict == '1')
			give(c, (const uint8_t(*)[IH_LEN])id, 1); /* left meanwhile */
		return;
	}
	if (verdict == '1' && w->claim != CLAIM_HELD)
		stat_inc(claims_won);
	w->claim = verdict == '1' ? CLAIM_HELD : CLAIM_LOST;
}

/* Asked for now (ms), or, at 0, not held for all we know. */
static void batch_is(struct coll *c, uint64_t asked_ms)
{
	struct tier *t = c->tier;

	for (unsigned i = 0; i < t->batch.n; i++) {
		struct swarm *w = swarms_find(c->swarms, t->batch.id[i]);

		if (w && asked_ms)
			w->claim_ms = asked_ms;
		else if (w && w->claim == CLAIM_HELD)
			w->claim = CLAIM_NONE;
	}
}

static void next_batch(struct coll *c);

static void on_batch(void *arg, const char *value, size_t len)
{
	struct coll *c = arg;
	struct tier *t = c->tier;

	t->batch.get = NULL;
	if (len != t->batch.n) {
		batch_is(c, 0); /* nobody knows: it is asked again in time */
		return;
	}
	for (unsigned i = 0; i < t->batch.n; i++)
		judged(c, t->batch.id[i], value[i]);
	next_batch(c);
}

static void next_batch(struct coll *c)
{
	struct tier *t = c->tier;

	if (t->batch.get || !redis_up(c->redis))
		return;
	t->batch.n = 0;
	swarms_each(c->swarms, collect, c);
	if (t->batch.n)
		t->batch.get = run(c, TAKE, (const uint8_t(*)[IH_LEN])t->batch.id,
				   t->batch.n, c->kid.conf.redis_timeout_ms, on_batch, c);
	if (t->batch.get)
		batch_is(c, clock_ms());
}

/* All that are held, REDIS_KEYS_MAX at a time. */
struct giving {
	struct coll *c;
	uint8_t id[REDIS_KEYS_MAX][IH_LEN];
	unsigned n;
};

static void give_one(struct swarm *w, void *arg)
{
	struct giving *g = arg;

	if (w->claim != CLAIM_HELD)
		return;
	w->claim = CLAIM_NONE;
	memcpy(g->id[g->n++], w->id, IH_LEN);
	if (g->n < REDIS_KEYS_MAX)
		return;
	give(g->c, (const uint8_t(*)[IH_LEN])g->id, g->n);
	g->n = 0;
}

static void give_all(struct coll *c)
{
	struct giving g = {.c = c};

	swarms_each(c->swarms, give_one, &g);
	give(c, (const uint8_t(*)[IH_LEN])g.id, g.n);
}

static void count(struct swarm *w, void *arg)
{
	*(uint64_t *)arg += w->claim == CLAIM_HELD;
}

static void forget(struct swarm *w, void *arg)
{
	(void)arg;
	w->claim = CLAIM_NONE;
	w->claim_ms = 0;
	w->redis_due = w->published_ms != 0;
}

/* Who can't see the swarms any more lets others try. */
void claim_tick(struct coll *c)
{
	uint64_t held = 0;

	if (!redis_up(c->redis))
		swarms_each(c->swarms, forget, c); /* they end by themselves */
	else if (claim_may(c))
		next_batch(c);
	else
		give_all(c);
	swarms_each(c->swarms, count, &held);
	stat_set(claims_held, held);
}

void claim_close(struct coll *c)
{
	redis_get_cancel(&c->tier->batch.get);
	give_all(c);
	redis_flush(c->redis);
}

void claim_forget(struct coll *c)
{
	if (!c->redis)
		return;
	claim_close(c);
	tier_clock_forget(c);
	swarms_each(c->swarms, forget, c);
}

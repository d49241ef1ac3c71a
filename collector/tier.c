/*
 * tier.c -- cold questions to Redis; see tier.h.
 */
#include "collector/tier.h"

#include <event2/event.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/coll.h"
#include "collector/listjson.h"
#include "common/clock.h"
#include "common/log.h"

#define EARLY_MS 50u

static void step(struct tier_flight *f);

/* ---- the end of a flight --------------------------------------------------------------- */

/* Out of the table first: what follows may begin another one. */
static void land(struct tier_flight *f, struct tier_flight *was)
{
	*was = *f;
	memset(f, 0, sizeof(*f));
}

static void land_answered(struct tier_flight *f)
{
	struct tier_flight was;

	land(f, &was);
	stat_inc(tier_hits);
	cold_end(was.c, was.asked, 0);
	wait_answer_id(was.c, was.asked, LANE_OK);
}

static void land_joining(struct tier_flight *f, int won)
{
	struct tier_flight was;

	land(f, &was);
	log_about(was.request);
	ids_join(was.c, was.asked, &was.r, was.has_v2 ? was.v2 : NULL, was.torrent);
	log_about("");
	if (won)
		claim_won(was.c, was.r.infohash);
}

/* ---- one after the other ------------------------------------------------------------------ */

static int is_key(const struct tier_flight *f)
{
	return memcmp(f->asked, f->r.infohash, IH_LEN) == 0;
}

/* Its writer has an engine, and knows what we do not: the swarm that a claim is about. */
static void means(struct tier_flight *f, const struct shm_swarm *s)
{
	if (f->torrent || f->r.how == RESOLVED_ENGINE || s->resolved != RESOLVED_ENGINE)
		return;
	memcpy(f->r.infohash, s->infohash, IH_LEN);
	f->r.how = RESOLVED_ENGINE;
}

/* A stale answer is one: who waits has it now, and better follows behind it. Not for those
 * who want a settled one. */
static int took(struct tier_flight *f, enum tier_age age)
{
	int settled = f->c->tier->list.s.phase >= SWARM_SETTLED;

	if (age == TIER_NONE)
		return 0;
	f->listed = wait_satisfy(f->c, f->asked, age == TIER_FRESH && settled) &&
		    age == TIER_FRESH;
	if (f->listed)
		means(f, &f->c->tier->list.s);
	if (age == TIER_STALE || f->listed)
		return 0;
	land_answered(f);
	return 1;
}

/* The holder, which is waited for, has written it. If it is of no use (another version, a
 * clock that is wrong) the next one will be of none. */
static int on_list(struct tier_flight *f, enum tier_age age)
{
	if (!f->lost || age != TIER_NONE)
		return took(f, age);
	stat_inc(claims_idle);
	land_joining(f, 0);
	return 1;
}

static void arm_poll(struct coll *c)
{
	static const struct timeval tv = {0, TIER_POLL_MS * 1000};

	if (c->tier->poll_armed)
		return;
	c->tier->poll_armed = 1;
	event_add(c->tier->poll, &tv);
}

static void rest(struct tier_flight *f)
{
	f->step = TIER_PAUSE;
	f->look_ms = f->listed ? clock_ms() + TIER_SETTLE_MS : 0;
	arm_poll(f->c);
}

static void on_claim(struct tier_flight *f, const char *value, size_t len)
{
	/* A timer may ring early by as long as the loop's turn has lasted. */
	if (!value && clock_ms() + EARLY_MS >= f->soon_ms)
		stat_inc(tier_late);
	if (len != 1 || value[0] == '1') {
		land_joining(f, len == 1);
		return;
	}
	if (!f->lost)
		stat_inc(claims_lost);
	f->lost = 1;
	rest(f);
}

static void on_value(void *arg, const char *value, size_t len)
{
	struct tier_flight *f = arg;

	f->get = NULL;
	switch (f->step) {
	case TIER_LIST_ASKED:
		if (value && took(f, tier_take(f, f->asked, value, len)))
			return;
		f->step = f->listed ? TIER_CLAIM : is_key(f) ? TIER_JSON : TIER_LIST_KEY;
		break;
	case TIER_LIST_KEY:
		if (value && on_list(f, tier_take(f, f->r.infohash, value, len)))
			return;
		f->step = f->lost || f->listed ? TIER_CLAIM : TIER_JSON;
		break;
	case TIER_JSON:
		if (value && took(f, tier_take_json(f, value, len)))
			return;
		stat_add(STAT_tier_misses, !f->listed);
		f->step = TIER_CLAIM;
		break;
	case TIER_CLAIM: on_claim(f, value, len); return;
	case TIER_PAUSE: return;
	}
	step(f);
}

static struct redis_get *get(struct tier_flight *f, const char *prefix,
			     const uint8_t id[IH_LEN], size_t max, uint64_t ms)
{
	char hex[IH_HEX_LEN], key[64];

	ih_hex(hex, id);
	snprintf(key, sizeof(key), "%s%s", prefix, hex);
	return redis_get(f->c->redis, key, ms, max, on_value, f);
}

static struct redis_get *ask(struct tier_flight *f)
{
	uint64_t now = clock_ms(), ms = f->soon_ms > now ? f->soon_ms - now : 1;

	switch (f->step) {
	case TIER_LIST_ASKED:
		return get(f, "peerscope:list:", f->asked, LISTCODE_MAX, ms);
	case TIER_LIST_KEY:
		return get(f, "peerscope:list:", f->r.infohash, LISTCODE_MAX, ms);
	case TIER_JSON: return get(f, "peer_stats:", f->asked, LISTJSON_MAX, ms);
	default: break;
	}
	return claim_may(f->c) ? claim_ask(f->c, f->r.infohash, ms, on_value, f) : NULL;
}

/* It is listed by a node that sees more than we could. */
static int is_for_others(const struct tier_flight *f)
{
	return f->step == TIER_CLAIM && f->listed &&
	       f->c->kid.conf.redis_mode == REDIS_EXTERNAL && !claim_may(f->c);
}

/* What can't be asked, or not in time, is not waited for. */
static void step(struct tier_flight *f)
{
	if (is_for_others(f)) {
		rest(f);
		return;
	}
	if (clock_ms() >= f->soon_ms) {
		stat_inc(tier_late);
		land_joining(f, 0);
		return;
	}
	f->get = ask(f);
	if (!f->get)
		land_joining(f, 0);
}

/* Is the holder's list there, is it settled, or the claim free? Else its holder may be dead,
 * or write nothing, and is waited for no longer. */
static void look_again(struct tier_flight *f, uint64_t now)
{
	if (f->listed && !wait_for_more(f->c, f->asked)) {
		land_answered(f); /* with what there was, when their time was over */
		return;
	}
	if (now >= f->end_ms && !f->listed) {
		stat_inc(claims_idle);
		land_joining(f, 0);
		return;
	}
	f->listed = 0;
	f->soon_ms = now + TIER_WAIT_MS;
	f->step = TIER_LIST_KEY;
	step(f);
}

static void on_poll(evutil_socket_t fd, short what, void *arg)
{
	struct coll *c = arg;
	uint64_t now = clock_ms();

	(void)fd;
	(void)what;
	c->tier->poll_armed = 0;
	for (size_t i = 0; i < TIER_FLIGHTS; i++) {
		struct tier_flight *f = &c->tier->flight[i];

		if (!f->c || f->step != TIER_PAUSE)
			continue;
		if (now >= f->look_ms)
			look_again(f, now);
		else
			arm_poll(c);
	}
}

/* ---- questions ------------------------------------------------------------------------------ */

static struct tier_flight *flight_of(const struct coll *c, const uint8_t asked[IH_LEN],
				     struct tier_flight **empty)
{
	*empty = NULL;
	for (size_t i = 0; i < TIER_FLIGHTS; i++) {
		struct tier_flight *f = &c->tier->flight[i];

		if (f->c && memcmp(f->asked, asked, IH_LEN) == 0)
			return f;
		if (!f->c)
			*empty = f;
	}
	return NULL;
}

int tier_is_asking(const struct coll *c, const uint8_t asked[IH_LEN])
{
	struct tier_flight *empty;

	return flight_of(c, asked, &empty) != NULL;
}

/* 0: it is on its way. */
static int take_off(struct coll *c, struct tier_flight *f, uint64_t spent_ms)
{
	uint64_t now = clock_ms();

	f->c = c;
	f->step = TIER_LIST_ASKED;
	f->soon_ms = now + TIER_WAIT_MS - spent_ms;
	f->end_ms = now + c->kid.conf.swarm_discovery_wait_ms + TIER_PATIENCE_MS;
	f->get = ask(f);
	if (f->get)
		return 0;
	memset(f, 0, sizeof(*f));
	return -1;
}

int tier_ask(struct coll *c, const uint8_t asked[IH_LEN], const struct resolved *r,
	     const uint8_t *v2, int torrent, uint64_t spent_ms)
{
	struct tier_flight *f;

	if (!redis_up(c->redis) || swarms_find(c->swarms, asked) ||
	    swarms_find(c->swarms, r->infohash) || given_waits(c, asked))
		return 0;
	if (flight_of(c, asked, &f))
		return 1;
	if (!f) {
		stat_inc(tier_full);
		return 0;
	}
	memcpy(f->asked, asked, IH_LEN);
	f->r = *r;
	snprintf(f->request, sizeof(f->request), "%s", log_subject());
	f->torrent = torrent != 0;
	f->has_v2 = v2 != NULL;
	if (v2)
		memcpy(f->v2, v2, IH_V2_LEN);
	return take_off(c, f, spent_ms) == 0;
}

void tier_tick(struct coll *c)
{
	tier_clock_tick(c);
	claim_tick(c);
}

/* ---- life -------------------------------------------------------------------------------------- */

/* Two hosts may have one name, as a compose file gives it. "": it can't be read. */
static void read_boot_id(char out[64])
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!f || !fgets(out, 64, f))
		out[0] = '\0';
	if (f)
		fclose(f);
}

/* The same in each life: of this host since its start, and of the directory that one master
 * at most has locked. Not only its path: two containers may have one hostname, too. */
static void name_node(struct coll *c)
{
	char host[HOST_NAME_MAX + 1] = "", boot[64], all[1024];
	struct stat dir = {.st_ino = 0};
	uint8_t hash[16];

	if (gethostname(host, sizeof(host) - 1) != 0)
		host[0] = '\0';
	read_boot_id(boot);
	(void)stat(c->kid.run_dir, &dir); /* the master has made it */
	snprintf(all, sizeof(all), "%s\n%s\n%ju\n%ju\n%s", boot, host,
		 (uintmax_t)dir.st_dev, (uintmax_t)dir.st_ino, c->kid.run_dir);
	crypto_generichash(hash, sizeof(hash), (const uint8_t *)all, strlen(all), NULL,
			   0);
	sodium_bin2hex(c->tier->node, sizeof(c->tier->node), hash, sizeof(hash));
}

int tier_open(struct coll *c)
{
	c->tier = calloc(1, sizeof(*c->tier));
	if (!c->tier)
		return -1;
	buf_init(&c->tier->out, LISTCODE_MAX);
	name_node(c);
	c->tier->poll = evtimer_new(c->base, on_poll, c);
	return c->tier->poll ? 0 : -1;
}

void tier_close(struct coll *c)
{
	struct tier *t = c->tier;

	if (!t)
		return;
	for (size_t i = 0; i < TIER_FLIGHTS; i++)
		redis_get_cancel(&t->flight[i].get);
	tier_clock_forget(c);
	claim_close(c);
	if (t->poll)
		event_free(t->poll);
	buf_free(&t->out);
	c->tier = NULL;
	free(t);
}

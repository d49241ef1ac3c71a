/*
 * acefind.c -- see acefind.h, and acefind_int.h for how it is made.
 */
#include "collector/acefind_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "collector/tracksay.h"

#define IDLE_MS 60000u /* with nothing due */

/* ---- pure ------------------------------------------------------------------------- */

uint64_t acefind_again_ms(uint32_t interval_s, uint32_t fails)
{
	uint32_t s = interval_s;

	if (fails > 0) {
		s = fails > 3 ? ACEFIND_INTERVAL_MIN_S : 60u << (2 * (fails - 1));
		return 1000ull *
		       (s < ACEFIND_INTERVAL_MIN_S ? s : ACEFIND_INTERVAL_MIN_S);
	}
	if (s < ACEFIND_INTERVAL_MIN_S)
		s = ACEFIND_INTERVAL_MIN_S;
	return 1000ull * (s < ACEFIND_INTERVAL_MAX_S ? s : ACEFIND_INTERVAL_MAX_S);
}

uint64_t acefind_lookup_ms(uint64_t lookup_ms, uint32_t empty)
{
	uint64_t ms = ACEFIND_EMPTY_MS;

	if (empty == 0)
		return lookup_ms;
	while (--empty > 0 && ms < lookup_ms)
		ms *= 2;
	return ms < lookup_ms ? ms : lookup_ms;
}

/* ---- the table ---------------------------------------------------------------------- */

struct acefind_swarm *acefind_swarm(const struct acefind *f, const uint8_t swarm[IH_LEN])
{
	struct acefind_swarm *w = f->first;

	while (w && memcmp(w->id, swarm, IH_LEN) != 0)
		w = w->next;
	return w;
}

struct acefind_key *acefind_key(struct acefind_swarm *w, const uint8_t id[IH_LEN])
{
	for (uint32_t i = 0; i < w->nkeys; i++)
		if (memcmp(w->key[i].id, id, IH_LEN) == 0)
			return &w->key[i];
	return NULL;
}

uint32_t acefind_tracker(const struct acefind *f, uint32_t hash)
{
	uint32_t i = 0;

	while (i < f->ntrackers && f->tracker[i].hash != hash)
		i++;
	return i;
}

void acefind_wake(struct acefind *f, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000};

	if (!f->suspended)
		event_add(f->timer, &tv);
}

static void key_forget(struct acefind *f, struct acefind_swarm *w, struct acefind_key *k)
{
	for (uint32_t i = 0; i < ACEFIND_ANNOUNCES; i++)
		if (f->flight[i].t && f->flight[i].w == w &&
		    memcmp(f->flight[i].key, k->id, IH_LEN) == 0)
			acefind_land(&f->flight[i], 1);
	acefind_drop_lookup(f, k);
	recent_put(&f->recent, k->id, k->announced_ms);
	free(k->at);
	k->at = NULL;
}

/* It was left a moment ago: trackers know it, and are not waited for. */
static void keep_gap(const struct acefind *f, struct acefind_key *k, uint64_t now)
{
	uint64_t at = recent_get(&f->recent, k->id);

	if (at == 0 || now - at >= f->gap_ms)
		return;
	k->announced_ms = at;
	for (uint32_t i = 0; i < f->ntrackers; i++) {
		k->at[i].due_ms = at + f->gap_ms;
		k->at[i].done = 1;
	}
}

static int key_make(const struct acefind *f, struct acefind_key *k,
		    const uint8_t id[IH_LEN], uint64_t now)
{
	memset(k, 0, sizeof(*k));
	memcpy(k->id, id, IH_LEN);
	k->at = calloc(f->ntrackers ? f->ntrackers : 1, sizeof(*k->at));
	if (!k->at)
		return -1;
	keep_gap(f, k, now);
	return 0;
}

/* The same swarm anew: what is not due yet is not waited for. */
static void life_begin(const struct acefind *f, struct acefind_swarm *w, uint32_t life,
		       uint64_t now)
{
	w->life = life;
	w->round_said = 0;
	for (uint32_t i = 0; i < w->nkeys; i++) {
		struct acefind_key *k = &w->key[i];

		k->looked = 0;
		if (!k->looking_ms)
			k->due_ms = 0;
		for (uint32_t j = 0; j < f->ntrackers; j++)
			k->at[j].done = k->at[j].due_ms > now;
	}
}

static int is_named(const uint8_t (*keys)[IH_LEN], uint32_t n, const uint8_t id[IH_LEN])
{
	for (uint32_t i = 0; i < n; i++)
		if (memcmp(keys[i], id, IH_LEN) == 0)
			return 1;
	return 0;
}

/* In the order of keys; each once. */
static int take_keys(struct acefind *f, struct acefind_swarm *w,
		     const uint8_t (*keys)[IH_LEN], uint32_t nkeys, uint64_t now)
{
	struct acefind_key key[ACEFIND_KEYS];
	uint32_t n = 0;
	int rc = 0;

	for (uint32_t i = 0; i < nkeys && n < ACEFIND_KEYS; i++) {
		struct acefind_key *known = acefind_key(w, keys[i]);

		if (is_named(keys, i, keys[i]))
			continue;
		if (known) {
			key[n++] = *known;
			known->at = NULL; /* moved */
		} else if (key_make(f, &key[n], keys[i], now) == 0) {
			n++;
		} else {
			rc = -1;
		}
	}
	for (uint32_t i = 0; i < w->nkeys; i++)
		if (w->key[i].at)
			key_forget(f, w, &w->key[i]);
	memcpy(w->key, key, n * sizeof(key[0]));
	w->nkeys = n;
	return rc;
}

static void forget(struct acefind *f, struct acefind_swarm *w)
{
	struct acefind_swarm **at = &f->first;

	for (uint32_t i = 0; i < w->nkeys; i++)
		key_forget(f, w, &w->key[i]);
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	if (f->last == &w->next)
		f->last = at;
	f->nswarms--;
	free(w);
}

int acefind_start(struct acefind *f, const uint8_t swarm[IH_LEN], uint32_t life,
		  const uint8_t (*keys)[IH_LEN], uint32_t nkeys)
{
	struct acefind_swarm *w = acefind_swarm(f, swarm);
	uint64_t now = clock_ms();

	if (!w) {
		if (f->nswarms >= f->max_swarms || !(w = calloc(1, sizeof(*w)))) {
			stat_inc(ace_find_full);
			return -1;
		}
		memcpy(w->id, swarm, IH_LEN);
		w->life = life;
		*f->last = w;
		f->last = &w->next;
		f->nswarms++;
	} else if (w->life != life) {
		life_begin(f, w, life, now);
	}
	if (take_keys(f, w, keys, nkeys, now) != 0) {
		forget(f, w);
		return -1;
	}
	acefind_wake(f, 0);
	return 0;
}

void acefind_stop(struct acefind *f, const uint8_t swarm[IH_LEN])
{
	struct acefind_swarm *w = acefind_swarm(f, swarm);

	if (w)
		forget(f, w);
	acefind_wake(f, 0); /* others have waited for its place */
}

void acefind_session_asks(struct acefind *f, const uint8_t swarm[IH_LEN], int asks)
{
	struct acefind_swarm *w = acefind_swarm(f, swarm);

	if (!w || w->session_asks == asks)
		return;
	w->session_asks = asks;
	acefind_wake(f, 0);
}

/* ---- what is due ---------------------------------------------------------------------- */

static void look_at(uint64_t when_ms, uint64_t *next_ms)
{
	if (when_ms < *next_ms)
		*next_ms = when_ms;
}

static int is_looked_up(const struct acefind *f, const struct acefind_swarm *w,
			const struct acefind_key *k)
{
	return acefind_may_look(f) &&
	       !(w->session_asks && memcmp(k->id, w->id, IH_LEN) == 0);
}

/* What waits for a place is woken when one is free. */
static void key_work(struct acefind *f, struct acefind_swarm *w, struct acefind_key *k,
		     uint64_t now, uint64_t *next_ms)
{
	if (is_looked_up(f, w, k) && !k->looking_ms &&
	    (k->due_ms > now || acefind_look(f, k, now) == 0))
		look_at(k->looking_ms ? now + IDLE_MS : k->due_ms, next_ms);
	for (uint32_t i = 0; i < f->ntrackers; i++) {
		struct acefind_at *at = &k->at[i];

		if (!at->flying &&
		    (at->due_ms > now || acefind_announce(f, w, k, i, now) == 0))
			look_at(at->flying ? now + IDLE_MS : at->due_ms, next_ms);
	}
}

static int key_done(const struct acefind *f, const struct acefind_swarm *w,
		    const struct acefind_key *k, uint64_t now, uint64_t *next_ms)
{
	for (uint32_t i = 0; i < f->ntrackers; i++)
		if (!k->at[i].done)
			return 0;
	if (!is_looked_up(f, w, k) || k->looked)
		return 1;
	if (!k->looking_ms || !k->replied_ms)
		return 0;
	if (now - k->replied_ms >= ACEFIND_QUIET_MS)
		return 1;
	look_at(k->replied_ms + ACEFIND_QUIET_MS, next_ms);
	return 0;
}

static int round_done(const struct acefind *f, const struct acefind_swarm *w,
		      uint64_t now, uint64_t *next_ms)
{
	for (uint32_t i = 0; i < w->nkeys; i++)
		if (!key_done(f, w, &w->key[i], now, next_ms))
			return 0;
	return 1;
}

/* 0: there was none to say. fn may change the table: the next one is looked for anew. */
static int say_round(struct acefind *f, uint64_t now)
{
	struct acefind_news news = {.what = ACEFIND_ROUND};
	uint64_t next = 0;

	for (struct acefind_swarm *w = f->first; w; w = w->next) {
		if (w->round_said || !round_done(f, w, now, &next))
			continue;
		w->round_said = 1;
		memcpy(news.swarm, w->id, IH_LEN);
		news.life = w->life;
		f->fn(f->arg, &news);
		return 1;
	}
	return 0;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct acefind *f = arg;
	uint64_t now = clock_ms(), next = now + IDLE_MS;

	(void)fd;
	(void)what;
	for (struct acefind_swarm *w = f->first; w; w = w->next) {
		for (uint32_t i = 0; i < w->nkeys; i++)
			key_work(f, w, &w->key[i], now, &next);
		if (!w->round_said)
			(void)round_done(f, w, now, &next);
	}
	acefind_wake(f, next - now); /* first: fn may make something due sooner */
	while (!f->suspended && say_round(f, now))
		;
}

static void hasten(struct acefind *f, struct acefind_swarm *w, int all)
{
	for (uint32_t i = 0; i < w->nkeys; i++) {
		struct acefind_key *k = &w->key[i];

		if (all || k->empty)
			k->due_ms = 0;
		for (uint32_t j = 0; j < f->ntrackers; j++)
			if (k->at[j].fails)
				k->at[j].due_ms = 0;
	}
}

void acefind_hasten(struct acefind *f, const uint8_t *swarm)
{
	for (struct acefind_swarm *w = f->first; w; w = w->next)
		if (!swarm || memcmp(w->id, swarm, IH_LEN) == 0)
			hasten(f, w, 0);
	acefind_wake(f, 0);
}

void acefind_suspend(struct acefind *f)
{
	if (f->suspended)
		return;
	f->suspended = 1;
	event_del(f->timer);
	for (uint32_t i = 0; i < ACEFIND_ANNOUNCES; i++)
		if (f->flight[i].t)
			acefind_land(&f->flight[i], 0);
	for (struct acefind_swarm *w = f->first; w; w = w->next)
		for (uint32_t i = 0; i < w->nkeys; i++)
			acefind_drop_lookup(f, &w->key[i]);
}

void acefind_resume(struct acefind *f)
{
	if (!f->suspended)
		return;
	f->suspended = 0;
	for (struct acefind_swarm *w = f->first; w; w = w->next)
		hasten(f, w, 1);
	acefind_wake(f, 0);
}

/* ---- configuration, life ---------------------------------------------------------------- */

static uint32_t trackers_of(const struct acefind *f, const struct conf *c,
			    struct acefind_tracker out[ACETRACK_MAX])
{
	char url[ACETRACK_URL_MAX], err[ERRLEN];
	uint32_t n = 0;

	for (const char *at = c->acestream_trackers; at && n < ACETRACK_MAX;) {
		uint32_t hash, known, again = 0;

		at = conf_list_next(at, url, sizeof(url));
		hash = tracker_hash(url);
		if (acetrack_parse(&out[n].url, url, err) != 0)
			continue; /* the end; the master has checked the others */
		while (out[again].hash != hash && again < n)
			again++;
		if (again < n)
			continue;
		known = acefind_tracker(f, hash);
		out[n].hash = hash;
		out[n++].fails = known < f->ntrackers ? f->tracker[known].fails : 0;
	}
	return n;
}

/* What is known of trackers that stay stays. -1: no memory; all is as it was. */
static int move_swarm(const struct acefind *f, struct acefind_swarm *w,
		      const struct acefind_tracker *fresh, uint32_t n)
{
	struct acefind_at *at[ACEFIND_KEYS] = {NULL};
	int rc = 0;

	for (uint32_t k = 0; k < w->nkeys; k++)
		if (!(at[k] = calloc(n ? n : 1, sizeof(*at[k]))))
			rc = -1;
	for (uint32_t k = 0; k < w->nkeys; k++) {
		for (uint32_t i = 0; rc == 0 && i < n; i++) {
			uint32_t known = acefind_tracker(f, fresh[i].hash);

			if (known < f->ntrackers)
				at[k][i] = w->key[k].at[known];
		}
		free(rc == 0 ? w->key[k].at : at[k]);
		if (rc == 0)
			w->key[k].at = at[k];
	}
	return rc;
}

static void take_trackers(struct acefind *f, const struct conf *c)
{
	static struct acefind_tracker fresh[ACETRACK_MAX]; /* too large for a stack */
	uint32_t n = trackers_of(f, c, fresh);

	for (uint32_t i = 0, j; i < ACEFIND_ANNOUNCES; i++) {
		struct acefind_flight *fl = &f->flight[i];

		for (j = 0; fl->t && j < n && fresh[j].hash != fl->tracker; j++)
			;
		if (fl->t && j == n)
			acefind_land(fl, 1);
	}
	for (struct acefind_swarm *w = f->first, *next; w; w = next) {
		next = w->next;
		if (move_swarm(f, w, fresh, n) == 0)
			continue;
		stat_inc(ace_find_full); /* no memory */
		forget(f, w);
	}
	memcpy(f->tracker, fresh, sizeof(fresh));
	f->ntrackers = n;
}

/* From where the session's packets start: the first address of each kind that it listens
 * on; "any" leaves it to the routing table. */
static void take_way(struct acefind *f, const struct conf *c)
{
	uint8_t addr[ADDR_LEN], *from;
	uint16_t port;
	char item[128];
	int seen4 = 0, seen6 = 0, *seen;

	memset(&f->way, 0, sizeof(f->way));
	f->way.allow_private = c->swarm_allow_private;
	f->way.try_ms = ACETRACK_TRY_MS;
	f->way.last_ms = ACETRACK_LAST_MS;
	snprintf(f->way.device, sizeof(f->way.device), "%s", c->swarm_interface);
	for (const char *at = c->swarm_listen; at && !f->way.device[0];) {
		at = conf_list_next(at, item, sizeof(item));
		if (!item[0] || addr_endpoint(addr, &port, item) != 0)
			continue;
		from = addr_is_v4(addr) ? f->way.from4 : f->way.from6;
		seen = addr_is_v4(addr) ? &seen4 : &seen6;
		if (!*seen)
			memcpy(from, addr, ADDR_LEN);
		*seen = 1;
	}
}

static void bring_near(struct acefind *f, uint64_t now)
{
	for (struct acefind_swarm *w = f->first; w; w = w->next)
		for (uint32_t i = 0; i < w->nkeys; i++)
			if (w->key[i].due_ms > now + f->lookup_ms)
				w->key[i].due_ms = now + f->lookup_ms;
}

void acefind_configure(struct acefind *f, const struct conf *c)
{
	take_way(f, c);
	f->max_swarms = (uint32_t)c->swarm_max_swarms + 1; /* control probes: one more */
	f->lookup_ms = c->acestream_lookup_ms;
	f->gap_ms = c->swarm_announce_gap_ms;
	f->dht = c->swarm_dht;
	if (strcmp(f->list, c->acestream_trackers) != 0) {
		take_trackers(f, c);
		memcpy(f->list, c->acestream_trackers, sizeof(f->list));
	}
	bring_near(f, clock_ms());
	acefind_wake(f, 0);
}

void acefind_port(struct acefind *f, uint16_t port)
{
	f->port = port;
}

int acefind_open(struct acefind **out, struct event_base *base, const struct conf *c,
		 struct lt_session *lt, acefind_fn *fn, void *arg)
{
	struct acefind *f = calloc(1, sizeof(*f));

	if (!f || !(f->timer = evtimer_new(base, on_timer, f))) {
		free(f);
		return -1;
	}
	f->base = base;
	f->lt = lt;
	f->fn = fn;
	f->arg = arg;
	f->last = &f->first;
	acefind_configure(f, c);
	*out = f;
	return 0;
}

void acefind_close(struct acefind **fp)
{
	struct acefind *f = *fp;

	*fp = NULL;
	if (!f)
		return;
	while (f->first)
		forget(f, f->first);
	event_free(f->timer);
	free(f);
}

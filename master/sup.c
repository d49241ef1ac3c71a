/* sup.c -- supervision as a pure function; see sup.h. */
#include <string.h>

#include "master/sup.h"

const char *sup_state_name(enum sup_state s)
{
	static const char *const names[] = {
		"empty", "starting", "running", "draining", "killed", "cooling",
	};

	return (size_t)s < PS_ARRAY_LEN(names) ? names[s] : "?";
}

int sup_collector_row(const struct sup *t)
{
	return 2 * t->nworkers;
}

int sup_redis_row(const struct sup *t)
{
	return 2 * t->nworkers + 1;
}

static int rows(const struct sup *t)
{
	return 2 * t->nworkers + 1 + (t->has_redis ? 1 : 0);
}

static int is_worker(const struct sup *t, int i)
{
	return i < 2 * t->nworkers;
}

int sup_half(const struct sup *t, int row)
{
	return row / t->nworkers;
}

int sup_alive(const struct sup *t, int row)
{
	enum sup_state s = t->row[row].state;

	return s != SUP_EMPTY && s != SUP_COOLING;
}

/* Redis has no page of ours; whoever drains has a bound of its own. */
int sup_beats(const struct sup *t, int row)
{
	const struct sup_row *r = &t->row[row];

	return r->state == SUP_RUNNING && r->role != KID_REDIS && !r->elsewhere;
}

void sup_init(struct sup *t, int nworkers, int has_redis, uint64_t drain_ms)
{
	PS_ASSERT(nworkers >= 1 && nworkers <= CONF_MAX_WORKERS);
	memset(t, 0, sizeof *t);
	t->nworkers = nworkers;
	t->has_redis = has_redis;
	t->drain_ms = drain_ms;
	for (int i = 0; i < rows(t); i++) {
		struct sup_row *r = &t->row[i];

		r->role = is_worker(t, i)             ? KID_WORKER
			  : i == sup_collector_row(t) ? KID_COLLECTOR
						      : KID_REDIS;
		r->index = is_worker(t, i) ? i % nworkers : 0;
		r->due_ms = SUP_NEVER;
	}
}

/* --- actions ------------------------------------------------------------ */

static struct sup_action *act(struct sup_actions *out, enum sup_action_type type, int row)
{
	struct sup_action *a;

	PS_ASSERT(out->n < SUP_ACTIONS_MAX);
	a = &out->a[out->n++];
	memset(a, 0, sizeof *a);
	a->type = type;
	a->row = row;
	return a;
}

static void make_empty(struct sup_row *r)
{
	r->state = SUP_EMPTY;
	r->due_ms = SUP_NEVER;
	r->wanted = 0;
}

/*
 * gen: a generation's workers share their first number; one that is started again
 * later takes the next number, so that no two lives of a slot share one and an
 * answer for the dead is never taken for an answer to the living. People see the
 * row's generation, which only a reload moves.
 */
static struct sup_action *start_row(struct sup *t, struct sup_actions *out, int i,
				    uint32_t gen, uint64_t now)
{
	struct sup_action *a;
	struct sup_row *r = &t->row[i];

	PS_ASSERT(!sup_alive(t, i));
	r->state = SUP_STARTING;
	r->wanted = 1;
	r->ready = 0;
	r->elsewhere = 0;
	r->gen = gen;
	r->mask = is_worker(t, i) ? 1u << r->index : 0;
	r->started_ms = now;
	r->due_ms = now + (r->role == KID_REDIS ? SUP_REDIS_HEALTHY_MS : SUP_READY_MS);
	a = act(out, SUP_A_START, i);
	a->gen = gen;
	return a;
}

static struct sup_action *restart_row(struct sup *t, struct sup_actions *out, int i,
				      uint64_t now)
{
	struct sup_action *a;
	uint32_t gen = 0;

	if (is_worker(t, i))
		gen = ++t->last_gen;
	else if (i == sup_collector_row(t))
		gen = ++t->last_epoch;
	a = start_row(t, out, i, gen, now);
	a->arg = 1;
	return a;
}

static void start_half(struct sup *t, struct sup_actions *out, int half, uint64_t now)
{
	uint32_t gen = ++t->last_gen;

	t->last_generation++;
	for (int i = 0; i < t->nworkers; i++) {
		struct sup_row *r = &t->row[half * t->nworkers + i];

		r->fast_deaths = 0;
		r->generation = t->last_generation;
		start_row(t, out, half * t->nworkers + i, gen, now);
	}
}

/* Ask to finish. One that waits to be started is simply not started any more. */
static void drain_row(struct sup *t, struct sup_actions *out, int i, uint64_t ms,
		      uint64_t now)
{
	struct sup_row *r = &t->row[i];

	r->wanted = 0;
	if (r->state == SUP_COOLING) {
		make_empty(r);
	} else if (r->state == SUP_STARTING || r->state == SUP_RUNNING) {
		r->state = SUP_DRAINING;
		r->due_ms = now + ms;
		act(out, SUP_A_DRAIN, i);
	}
}

static void kill_row(struct sup *t, struct sup_actions *out, int i, const char *why)
{
	struct sup_row *r = &t->row[i];

	if (r->state == SUP_COOLING) {
		make_empty(r);
	} else if (r->state != SUP_EMPTY && r->state != SUP_KILLED) {
		r->state = SUP_KILLED;
		r->due_ms = SUP_NEVER;
		act(out, SUP_A_KILL, i)->why = why;
	}
}

static void kill_all(struct sup *t, struct sup_actions *out, const char *why)
{
	t->phase = SUP_LEAVE_NOW;
	t->staged = t->hup = t->upgrade = 0;
	for (int i = 0; i < rows(t); i++) {
		t->row[i].wanted = 0;
		kill_row(t, out, i, why);
	}
}

/*
 * Nobody is waited for, but who is idle may leave by itself. This closes what it has
 * open and is no crash in anybody's log.
 */
static void leave_now(struct sup *t, struct sup_actions *out, uint64_t now)
{
	if (t->phase == SUP_LEAVE_NOW)
		return;
	t->phase = SUP_LEAVE_NOW;
	t->staged = t->hup = t->upgrade = 0;
	for (int i = 0; i < rows(t); i++) {
		struct sup_row *r = &t->row[i];

		drain_row(t, out, i, SUP_NOW_MS, now);
		if (r->state == SUP_DRAINING && r->due_ms > now + SUP_NOW_MS)
			r->due_ms = now + SUP_NOW_MS;
	}
}

/* --- generations -------------------------------------------------------- */

static int half_is_empty(const struct sup *t, int half)
{
	for (int i = 0; i < t->nworkers; i++)
		if (t->row[half * t->nworkers + i].state != SUP_EMPTY)
			return 0;
	return 1;
}

static int half_is_running(const struct sup *t, int half)
{
	for (int i = 0; i < t->nworkers; i++)
		if (t->row[half * t->nworkers + i].state != SUP_RUNNING)
			return 0;
	return 1;
}

/* The old one is of another binary; who waits for it asks the next one. */
static void renew_collector(struct sup *t, struct sup_actions *out, uint64_t now)
{
	int i = sup_collector_row(t);
	struct sup_row *r = &t->row[i];

	t->renew = SUP_RENEW_NOT;
	if (r->state == SUP_COOLING) {
		restart_row(t, out, i, now);
		return;
	}
	drain_row(t, out, i, SUP_COLLECTOR_STOP_MS, now);
	r->again = 1;
}

static void adopt(struct sup *t, struct sup_actions *out, uint64_t now)
{
	struct sup_row *coll = &t->row[sup_collector_row(t)];

	t->staged = 0;
	act(out, SUP_A_ADOPT, -1);
	for (int i = 0; i < t->nworkers; i++)
		drain_row(t, out, t->half * t->nworkers + i, t->drain_ms, now);
	t->half = !t->half;
	if (t->renew == SUP_RENEW_AT_ONCE)
		renew_collector(t, out, now);
	/* It had said that starting again is pointless; the settings are others now. */
	if (coll->state == SUP_COOLING && coll->due_ms == SUP_NEVER)
		restart_row(t, out, sup_collector_row(t), now);
}

/*
 * Those that are ready may hold a request already, so they are drained; the others
 * have answered nothing yet.
 */
static void give_up(struct sup *t, struct sup_actions *out, const char *why, uint64_t now)
{
	t->staged = 0;
	t->renew = SUP_RENEW_NOT;
	act(out, SUP_A_GIVE_UP, -1)->why = why;
	for (int i = 0; i < t->nworkers; i++) {
		int row = !t->half * t->nworkers + i;

		t->row[row].wanted = 0;
		if (t->row[row].state == SUP_RUNNING)
			drain_row(t, out, row, t->drain_ms, now);
		else
			kill_row(t, out, row, "its generation failed");
	}
}

/* --- events ------------------------------------------------------------- */

static void on_start(struct sup *t, struct sup_actions *out, uint64_t now)
{
	if (t->has_redis)
		start_row(t, out, sup_redis_row(t), 0, now);
	start_row(t, out, sup_collector_row(t), ++t->last_epoch, now);
	start_half(t, out, t->half, now);
}

static void on_ready(struct sup *t, struct sup_actions *out, int i, uint64_t now)
{
	struct sup_row *r = &t->row[i];

	if (r->state != SUP_STARTING)
		return; /* drained or killed meanwhile */
	r->state = SUP_RUNNING;
	r->ready = 1;
	r->due_ms = SUP_NEVER;
	r->beat_ms = 0;
	r->looks = 0;
	if (t->phase == SUP_FIRST && half_is_running(t, t->half)) {
		t->phase = SUP_UP;
		act(out, SUP_A_UP, -1);
	}
	if (t->staged && half_is_running(t, !t->half))
		adopt(t, out, now);
}

static uint32_t delay_ms(uint32_t fast_deaths, uint32_t jitter)
{
	uint32_t ms =
		fast_deaths < 9 ? SUP_DELAY_MIN_MS << fast_deaths : SUP_DELAY_MAX_MS;

	if (ms > SUP_DELAY_MAX_MS)
		ms = SUP_DELAY_MAX_MS;
	return ms + jitter % (ms / 4); /* so that N workers do not come back as one */
}

/* A row that is wanted died: now, later, or not at all. */
static void replace(struct sup *t, struct sup_actions *out, const struct sup_event *ev,
		    uint64_t now)
{
	struct sup_row *r = &t->row[ev->row];
	uint32_t ms;

	if (now - r->started_ms >= SUP_FORGIVE_MS)
		r->fast_deaths = 0;
	if (ev->code == EXIT_STAY_DOWN) {
		r->state = SUP_COOLING;
		r->due_ms = SUP_NEVER;
		act(out, SUP_A_DOWN, ev->row);
		return;
	}
	if (r->ready && r->fast_deaths == 0) {
		r->fast_deaths = 1;
		restart_row(t, out, ev->row, now);
		return;
	}
	ms = delay_ms(r->fast_deaths, ev->jitter);
	r->fast_deaths++;
	r->state = SUP_COOLING;
	r->due_ms = now + ms;
	act(out, SUP_A_COOL, ev->row)->arg = ms;
}

static void on_exit_(struct sup *t, struct sup_actions *out, const struct sup_event *ev,
		     uint64_t now)
{
	struct sup_row *r = &t->row[ev->row];
	int wanted = r->wanted;

	PS_ASSERT(sup_alive(t, ev->row));
	make_empty(r);
	if (r->again && t->phase < SUP_LEAVE) {
		r->again = 0;
		restart_row(t, out, ev->row, now)->arg = 0;
		return;
	}
	if (!wanted || t->phase >= SUP_LEAVE)
		return;
	if (t->staged && is_worker(t, ev->row) && sup_half(t, ev->row) != t->half) {
		give_up(t, out, "a worker of it died before all were ready", now);
		return;
	}
	if (t->phase == SUP_FIRST && r->role == KID_WORKER && !r->ready) {
		t->exit_code = 1;
		kill_all(t, out, "a worker failed at the first start");
		return;
	}
	r->wanted = 1;
	replace(t, out, ev, now);
}

/* Its loop has turned since the last look, or not. */
static void on_beat(struct sup *t, struct sup_actions *out, const struct sup_event *ev)
{
	struct sup_row *r = &t->row[ev->row];

	if (!sup_beats(t, ev->row))
		return;
	if (ev->beat_ms != r->beat_ms) {
		r->beat_ms = ev->beat_ms;
		r->looks = 0;
	} else if (++r->looks >= SUP_LOOKS) {
		kill_row(t, out, ev->row, "it hangs: its loop does not turn any more");
	}
}

static void on_due(struct sup *t, struct sup_actions *out, int i, uint64_t now)
{
	struct sup_row *r = &t->row[i];

	switch (r->state) {
	case SUP_STARTING:
		if (r->role == KID_REDIS)
			on_ready(t, out, i, now);
		else
			kill_row(t, out, i, "it did not get ready in time");
		if (t->staged && is_worker(t, i) && sup_half(t, i) != t->half)
			give_up(t, out, "a worker of it did not get ready in time", now);
		break;
	case SUP_DRAINING:
		kill_row(t, out, i,
			 t->phase == SUP_LEAVE_NOW ? "told to leave now"
						   : "its time to drain is over");
		break;
	case SUP_COOLING: restart_row(t, out, i, now); break;
	default: break;
	}
}

static void on_tick(struct sup *t, struct sup_actions *out, uint64_t now)
{
	for (int i = 0; i < rows(t); i++)
		if (t->row[i].due_ms <= now)
			on_due(t, out, i, now);
}

int sup_term_counts(const struct sup *t, uint64_t now)
{
	return t->phase < SUP_LEAVE || now - t->term_ms >= SUP_TERM_AGAIN_MS;
}

static void on_term(struct sup *t, struct sup_actions *out, uint64_t now)
{
	if (!sup_term_counts(t, now))
		return;
	if (t->phase >= SUP_LEAVE) {
		leave_now(t, out, now);
		return;
	}
	t->phase = SUP_LEAVE;
	t->term_ms = now;
	t->staged = t->hup = t->upgrade = 0;
	for (int i = 0; i < rows(t); i++) {
		if (is_worker(t, i))
			drain_row(t, out, i, t->drain_ms, now);
		else if (t->row[i].state == SUP_COOLING)
			make_empty(&t->row[i]);
		t->row[i].wanted = 0;
	}
}

/* --- after each event --------------------------------------------------- */

/* While a worker's index has no live process, a sibling listens for it. */
static void share_out(struct sup *t, struct sup_actions *out)
{
	uint32_t served = 0, mask[KID_SLOTS] = {0};
	int running[KID_SLOTS], n = 0;

	for (int i = 0; i < 2 * t->nworkers; i++) {
		if (t->row[i].state != SUP_RUNNING)
			continue;
		running[n++] = i;
		mask[i] = 1u << t->row[i].index;
		served |= mask[i];
	}
	if (n == 0)
		return;
	for (int x = 0; x < t->nworkers; x++)
		if (!(served & 1u << x))
			mask[running[x % n]] |= 1u << x;
	for (int k = 0; k < n; k++) {
		struct sup_row *r = &t->row[running[k]];

		if (r->mask == mask[running[k]])
			continue;
		r->mask = mask[running[k]];
		act(out, SUP_A_LISTEN, running[k])->mask = r->mask;
	}
}

/* Workers first, as they may wait for the collector, which may write to Redis. */
static void leave_on(struct sup *t, struct sup_actions *out, uint64_t now)
{
	int coll = sup_collector_row(t), redis = sup_redis_row(t);

	if (t->phase == SUP_LEAVE && half_is_empty(t, 0) && half_is_empty(t, 1)) {
		t->phase = SUP_LEAVE_COLLECTOR;
		drain_row(t, out, coll, SUP_COLLECTOR_STOP_MS, now);
	}
	if (t->phase == SUP_LEAVE_COLLECTOR && t->row[coll].state == SUP_EMPTY) {
		t->phase = SUP_LEAVE_REDIS;
		if (t->has_redis)
			drain_row(t, out, redis, SUP_REDIS_STOP_MS, now);
	}
	if (t->phase == SUP_LEAVE_REDIS || t->phase == SUP_LEAVE_NOW) {
		for (int i = 0; i < rows(t); i++)
			if (t->row[i].state != SUP_EMPTY)
				return;
		t->phase = SUP_GONE;
		act(out, SUP_A_EXIT, -1)->arg = (uint32_t)t->exit_code;
	}
}

static void settle(struct sup *t, struct sup_actions *out, uint64_t now)
{
	if (t->phase >= SUP_LEAVE) {
		leave_on(t, out, now);
		return;
	}
	share_out(t, out);
	if (t->phase != SUP_UP || t->staged || !half_is_empty(t, !t->half))
		return;
	if (t->renew)
		renew_collector(t, out, now);
	if (t->row[sup_collector_row(t)].again)
		return;
	if (t->upgrade == 1) { /* reads the configuration, too */
		t->upgrade = 2;
		act(out, SUP_A_UPGRADE, -1);
	} else if (t->hup && !t->upgrade) {
		t->hup = 0;
		act(out, SUP_A_RELOAD, -1);
	}
}

void sup_step(struct sup *t, const struct sup_event *ev, uint64_t now,
	      struct sup_actions *out)
{
	out->n = 0;
	if (t->phase == SUP_GONE)
		return;
	switch (ev->type) {
	case SUP_E_START: on_start(t, out, now); break;
	case SUP_E_READY: on_ready(t, out, ev->row, now); break;
	case SUP_E_EXIT: on_exit_(t, out, ev, now); break;
	case SUP_E_TICK: on_tick(t, out, now); break;
	case SUP_E_HUP: t->hup = t->phase < SUP_LEAVE; break;
	case SUP_E_UPGRADE: t->upgrade = t->phase < SUP_LEAVE; break;
	case SUP_E_NO_UPGRADE: t->upgrade = 0; break;
	case SUP_E_GENERATION:
		if (t->phase != SUP_UP || t->staged || !half_is_empty(t, !t->half))
			break;
		t->staged = 1;
		start_half(t, out, !t->half, now);
		break;
	case SUP_E_BEAT: on_beat(t, out, ev); break;
	case SUP_E_TERM: on_term(t, out, now); break;
	case SUP_E_INT: leave_now(t, out, now); break;
	}
	settle(t, out, now);
}

uint64_t sup_next_ms(const struct sup *t)
{
	uint64_t next = SUP_NEVER;

	for (int i = 0; i < rows(t); i++)
		if (t->row[i].due_ms < next)
			next = t->row[i].due_ms;
	return next;
}

/*
 * test_tier.c -- cold questions to Redis: who is answered by which list, who waits on, and
 * when somebody joins. Redis, the clock, lists and the rest of the collector are played here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "collector/coll.h"
#include "common/clock.h"

static const uint8_t ID[IH_LEN] = {1, 2, 3}, MEANT[IH_LEN] = {9};

/* ---- what is played -------------------------------------------------------------- */

struct redis_get {
	redis_get_fn *fn;
	void *arg;
	char key[64]; /* "claim": none */
	int open;
};

static struct coll *c;
static struct redis_get asked; /* the command under way */
static uint64_t now;
static int may_claim, is_down;
static enum tier_age age;          /* of the list that is there */
static enum swarm_phase phase;     /* and what it says */
static const uint8_t *engine_says; /* the infohash that it names; NULL: none */
static uint32_t answers, joins, won, claim_questions, given_back;
static uint64_t last_token;
static uint8_t joined_as[IH_LEN];

uint64_t clock_ms(void)
{
	return now;
}

uint64_t clock_wall_ms(void)
{
	return now;
}

struct redis_get *redis_eval(struct redis *r, const struct redis_script *s, uint64_t ms,
			     redis_get_fn *fn, void *arg)
{
	(void)r;
	(void)s;
	(void)ms;
	(void)fn;
	(void)arg;
	return NULL;
}

static uint64_t counted[STAT_COUNTER_N];

void stat_add(enum stat_counter counter, uint64_t n)
{
	counted[counter] += n;
}

void stat_gauge_set(enum stat_gauge gauge, uint64_t v)
{
	(void)gauge;
	(void)v;
}

static struct redis_get *command(redis_get_fn *fn, void *arg)
{
	assert_false(asked.open);
	asked.fn = fn;
	asked.arg = arg;
	asked.open = 1;
	return is_down ? (asked.open = 0, NULL) : &asked;
}

struct redis_get *redis_get(struct redis *r, const char *key, uint64_t ms, size_t max,
			    redis_get_fn *fn, void *arg)
{
	(void)r;
	(void)max;
	assert_in_range(ms, 1, TIER_WAIT_MS);
	snprintf(asked.key, sizeof(asked.key), "%s", key);
	return command(fn, arg);
}

void redis_get_cancel(struct redis_get **g)
{
	if (*g)
		(*g)->open = 0;
	*g = NULL;
}

int redis_up(const struct redis *r)
{
	(void)r;
	return !is_down;
}

struct redis_get *claim_ask(struct coll *of, const uint8_t key[IH_LEN], uint64_t ms,
			    redis_get_fn *fn, void *arg)
{
	(void)of;
	(void)ms;
	claim_questions++;
	memcpy(joined_as, key, IH_LEN);
	snprintf(asked.key, sizeof(asked.key), "claim");
	return command(fn, arg);
}

int claim_may(const struct coll *of)
{
	(void)of;
	return may_claim;
}

void claim_won(struct coll *of, const uint8_t key[IH_LEN])
{
	(void)of;
	(void)key;
	won++;
}

void claim_tick(struct coll *of)
{
	(void)of;
}

void claim_close(struct coll *of)
{
	(void)of;
}

enum tier_age tier_take(struct tier_flight *f, const uint8_t key[IH_LEN],
			const char *value, size_t len)
{
	struct shm_swarm *s = &f->c->tier->list.s;

	(void)key;
	(void)value;
	(void)len;
	memset(s, 0, sizeof(*s));
	s->phase = (uint8_t)phase;
	if (engine_says) {
		s->resolved = RESOLVED_ENGINE;
		memcpy(s->infohash, engine_says, IH_LEN);
	}
	return age;
}

enum tier_age tier_take_json(struct tier_flight *f, const char *value, size_t len)
{
	return tier_take(f, f->asked, value, len);
}

void ids_join(struct coll *of, const uint8_t id[IH_LEN], const struct resolved *r,
	      const uint8_t *v2, int torrent)
{
	(void)id;
	(void)v2;
	(void)torrent;
	joins++;
	memcpy(joined_as, r->infohash, IH_LEN);
	wait_answer_id(of, ID, LANE_OK); /* as if it took no time */
}

int given_waits(struct coll *of, const uint8_t id[IH_LEN])
{
	(void)of;
	(void)id;
	return 0;
}

struct swarm *swarms_find(const struct swarms *of, const uint8_t id[IH_LEN])
{
	(void)of;
	(void)id;
	return NULL;
}

void cold_end(struct coll *of, const uint8_t id[IH_LEN], int is_joined)
{
	(void)of;
	(void)id;
	given_back += !is_joined;
}

/* The lane of one worker, with room for all. */
int lane_token_slot(uint64_t token)
{
	(void)token;
	return 0;
}

uint32_t lane_token_gen(uint64_t token)
{
	(void)token;
	return 0;
}

uint32_t lane_done_room(const struct lane *l)
{
	(void)l;
	return 1000;
}

void lane_done_push(struct lane *l, uint64_t token, enum lane_rc rc, uint32_t retry_s)
{
	(void)l;
	(void)retry_s;
	assert_int_equal(rc, LANE_OK);
	answers++;
	last_token = token;
}

struct shm_page *seg_page(const struct seg *s, uint32_t slot)
{
	static struct shm_page page;

	(void)s;
	(void)slot;
	return &page;
}

void kid_ring(int fd)
{
	(void)fd;
}

/* No swarm is ever joined here, so none is published. */
int publish_may(const struct swarm *w)
{
	(void)w;
	abort();
}

int publish_missing(const struct swarm *w)
{
	(void)w;
	abort();
}

int publish_now(struct coll *of, struct swarm *w, int with_redis)
{
	(void)of;
	(void)w;
	(void)with_redis;
	abort();
}

void publish_redis(struct coll *of, struct swarm *w)
{
	(void)of;
	(void)w;
	abort();
}

enum swarm_phase swarm_phase(const struct swarm *w, uint64_t at)
{
	(void)w;
	(void)at;
	abort();
}

int swarm_round_done(struct swarm *w, uint64_t at, uint64_t *recheck_ms)
{
	(void)w;
	(void)at;
	(void)recheck_ms;
	abort();
}

/* ---- a stage ---------------------------------------------------------------------- */

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static int setup(void **state)
{
	(void)state;
	c = calloc(1, sizeof(*c));
	assert_non_null(c);
	conf_defaults(&c->kid.conf);
	c->kid.conf.redis_mode = REDIS_EXTERNAL;
	c->base = event_base_new();
	c->wake = event_new(c->base, -1, 0, on_wake, c);
	memset(&asked, 0, sizeof(asked));
	now = 1000000;
	memset(counted, 0, sizeof(counted));
	may_claim = 1;
	is_down = 0;
	engine_says = NULL;
	answers = joins = won = claim_questions = given_back = 0;
	return tier_open(c);
}

static int teardown(void **state)
{
	(void)state;
	while (c->waiters)
		wait_forget(c, c->waiters->token);
	tier_close(c);
	event_free(c->wake);
	event_base_free(c->base);
	free(c);
	return 0;
}

/* As worker/peers.c asks: wait_ms 0 is a question without ?wait=. */
static void ask(uint64_t token, uint32_t wait_ms)
{
	uint32_t hold = wait_ms ? wait_ms : (uint32_t)c->kid.conf.swarm_discovery_wait_ms;
	struct shm_job job = {.kind = JOB_PEERS,
			      .token = token,
			      .flags = wait_ms ? JOB_F_SETTLED : 0,
			      .wait_ms = hold,
			      .deadline_ms = now + hold + 3000};
	struct resolved r = {.how = RESOLVED_TAKEN};

	memcpy(job.id, ID, IH_LEN);
	memcpy(r.infohash, ID, IH_LEN);
	assert_int_equal(tier_ask(c, ID, &r, NULL, 0, 0), 1);
	wait_for(c, NULL, &job);
}

static void answer(const char *value)
{
	assert_true(asked.open);
	asked.open = 0;
	asked.fn(asked.arg, value, value ? strlen(value) : 0);
}

static void expect_asked(const char *what)
{
	assert_true(asked.open);
	if (strncmp(asked.key, what, strlen(what)) != 0)
		fail_msg("asked for %s, not %s", asked.key, what);
}

static void list(enum tier_age how_old, enum swarm_phase in)
{
	age = how_old;
	phase = in;
	answer("a list");
}

/* ms later; the poll comes if it is armed. */
static void later(uint64_t ms)
{
	now += ms;
	wait_check(c);
	if (!c->tier->poll_armed)
		return;
	event_active(c->tier->poll, EV_TIMEOUT, 1);
	event_base_loop(c->base, EVLOOP_NONBLOCK);
}

/* The first list is one that is still collected, and another node has the claim. */
static void collected_elsewhere(void)
{
	expect_asked("peerscope:list:");
	list(TIER_FRESH, SWARM_COLLECTING);
	expect_asked("claim");
	answer("0");
	assert_false(asked.open);
}

/* ---- who is answered ----------------------------------------------------------------- */

static void test_a_fresh_list_answers_who_named_no_time(void **state)
{
	(void)state;
	ask(1, 0);
	list(TIER_FRESH, SWARM_COLLECTING);
	assert_int_equal(answers, 1);
	assert_int_equal(given_back, 1);
	assert_false(tier_is_asking(c, ID));
	assert_false(asked.open);
}

static void test_a_settled_list_answers_all(void **state)
{
	(void)state;
	ask(1, 0);
	ask(2, 5000);
	list(TIER_FRESH, SWARM_SETTLED);
	assert_int_equal(answers, 2);
	assert_false(tier_is_asking(c, ID));
	ask(3, 5000);
	list(TIER_FRESH, SWARM_DEAD);
	assert_int_equal(answers, 3);
}

static void test_who_wants_it_settled_waits_for_the_holder(void **state)
{
	(void)state;
	ask(1, 0);
	ask(2, 5000);
	collected_elsewhere();
	assert_int_equal(answers, 1);
	assert_true(last_token == 1);
	later(TIER_POLL_MS);
	assert_false(asked.open); /* not that often */
	later(TIER_SETTLE_MS);
	collected_elsewhere();
	later(TIER_SETTLE_MS);
	ask(3, 0); /* meanwhile */
	expect_asked("peerscope:list:");
	list(TIER_FRESH, SWARM_COLLECTING);
	assert_int_equal(answers, 2);
	assert_true(last_token == 3);
	answer("0");
	later(TIER_SETTLE_MS);
	list(TIER_FRESH, SWARM_SETTLED);
	assert_int_equal(answers, 3);
	assert_int_equal(joins, 0);
	assert_int_equal(given_back, 1);
	assert_int_equal(counted[STAT_tier_hits], 1);
	assert_int_equal(counted[STAT_tier_misses], 0);
	assert_int_equal(counted[STAT_claims_lost], 1);
	assert_false(tier_is_asking(c, ID));
}

/* Far beyond the patience with holders of whom nothing is there. */
static void test_until_its_time_is_over(void **state)
{
	(void)state;
	ask(1, 20000);
	collected_elsewhere();
	for (int i = 0; i < 18; i++) {
		later(1000);
		collected_elsewhere();
	}
	assert_int_equal(answers, 0);
	later(2000);
	assert_int_equal(answers, 1);
	assert_false(tier_is_asking(c, ID));
	assert_int_equal(joins, 0);
}

static void test_a_holder_that_left_is_followed(void **state)
{
	(void)state;
	ask(1, 10000);
	collected_elsewhere();
	later(TIER_SETTLE_MS);
	list(TIER_FRESH, SWARM_COLLECTING);
	answer("1");
	assert_int_equal(joins, 1);
	assert_int_equal(won, 1);
	assert_int_equal(given_back, 0);
}

static void test_a_holder_that_fell_silent_is_not_waited_for(void **state)
{
	(void)state;
	ask(1, 20000);
	collected_elsewhere();
	later(10000);
	list(TIER_STALE, SWARM_COLLECTING);
	assert_int_equal(answers, 0);
	answer("0");
	later(TIER_POLL_MS);
	assert_int_equal(joins, 1);
	assert_int_equal(counted[STAT_claims_idle], 1);
}

static void test_its_list_is_gone(void **state)
{
	(void)state;
	ask(1, 20000);
	collected_elsewhere();
	later(10000);
	answer(NULL);
	answer("0");
	later(TIER_POLL_MS);
	assert_int_equal(joins, 1);
	assert_int_equal(counted[STAT_claims_idle], 1);
}

/* Its own Redis has no other node: what an earlier life left is refined by a join. */
static void test_without_others_it_is_joined(void **state)
{
	(void)state;
	c->kid.conf.redis_mode = REDIS_BUNDLED;
	may_claim = 0;
	ask(1, 5000);
	list(TIER_FRESH, SWARM_COLLECTING);
	assert_int_equal(joins, 1);
}

/* Nor would a join help where the path is blocked, or the interface is down. */
static void test_who_can_not_join_waits_for_others(void **state)
{
	(void)state;
	may_claim = 0;
	ask(1, 5000);
	list(TIER_FRESH, SWARM_COLLECTING);
	assert_int_equal(joins, 0);
	later(TIER_SETTLE_MS);
	list(TIER_FRESH, SWARM_SETTLED);
	assert_int_equal(answers, 1);
	assert_int_equal(claim_questions, 0);
}

static void test_a_stale_list_is_no_settled_one(void **state)
{
	(void)state;
	ask(1, 0);
	ask(2, 5000);
	list(TIER_STALE, SWARM_SETTLED);
	assert_int_equal(answers, 1);
	expect_asked("peer_stats:");
	answer(NULL);
	answer("1");
	assert_int_equal(joins, 1);
}

/* A content id, and only the other node has an engine. */
static void test_the_claim_is_about_the_swarm_that_is_meant(void **state)
{
	(void)state;
	engine_says = MEANT;
	ask(1, 5000);
	list(TIER_FRESH, SWARM_COLLECTING);
	expect_asked("claim");
	assert_memory_equal(joined_as, MEANT, IH_LEN);
	answer("1");
	assert_memory_equal(joined_as, MEANT, IH_LEN);
}

/* ---- in time ---------------------------------------------------------------------------- */

/* The worker gives up at its deadline: what there is has to be said before. */
static void test_a_wait_ends_before_the_worker_does(void **state)
{
	uint64_t end;

	(void)state;
	c->kid.conf.acestream_timeout_ms = 10000;
	c->kid.conf.swarm_discovery_wait_ms = 20000;
	ask(1, 0);
	end = now + 20000 + 3000;
	answer(NULL);
	answer(NULL);
	answer("0");
	assert_in_range(c->waiters->until_ms, end - 500, end - 200);
	c->kid.conf.swarm_discovery_wait_ms = 2000;
	ask(2, 0);
	end = now + 2000 + 3000;
	assert_in_range(c->waiters->until_ms, end - 500, end - 200);
	now = end - 200;
	wait_check(c);
	assert_int_equal(answers, 1);
	assert_true(last_token == 2);
}

static void test_redis_goes_while_somebody_waits(void **state)
{
	(void)state;
	ask(1, 20000);
	collected_elsewhere();
	is_down = 1;
	later(TIER_SETTLE_MS);
	assert_int_equal(joins, 1);
}

/* ---- whose clock ------------------------------------------------------------------------- */

static void test_clocks(void **state)
{
	static const uint64_t wall = 1790000000000ull;
	static const char *const bad[] = {"",
					  "179",
					  "1790000000000000",
					  "17900000000x0",
					  "-1790000000000",
					  "1690000000000",
					  "1890000000000"};
	int64_t s = 7;

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(bad); i++)
		assert_int_equal(tier_clock_read(&s, bad[i], strlen(bad[i]), wall), -1);
	assert_int_equal(tier_clock_read(&s, "1790000002400", 13, wall), 0);
	assert_int_equal(s, 0);
	assert_int_equal(tier_clock_read(&s, "1789999997600", 13, wall), 0);
	assert_int_equal(s, 0);
	assert_int_equal(tier_clock_read(&s, "1790000089600", 13, wall), 0);
	assert_int_equal(s, 90);
	assert_int_equal(tier_clock_read(&s, "1789996400400", 13, wall), 0);
	assert_int_equal(s, -3600);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_fresh_list_answers_who_named_no_time),
		TEST(test_a_settled_list_answers_all),
		TEST(test_who_wants_it_settled_waits_for_the_holder),
		TEST(test_until_its_time_is_over),
		TEST(test_a_holder_that_left_is_followed),
		TEST(test_a_holder_that_fell_silent_is_not_waited_for),
		TEST(test_its_list_is_gone),
		TEST(test_without_others_it_is_joined),
		TEST(test_who_can_not_join_waits_for_others),
		TEST(test_a_stale_list_is_no_settled_one),
		TEST(test_the_claim_is_about_the_swarm_that_is_meant),
		TEST(test_a_wait_ends_before_the_worker_does),
		TEST(test_redis_goes_while_somebody_waits),
		TEST(test_clocks),
	};

	return cmocka_run_group_tests_name("tier", tests, NULL, NULL);
}

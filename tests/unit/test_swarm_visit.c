/* test_swarm_visit.c -- whom to dial, in which way, and when again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "collector/swarms.h"

#define GAP 120000u
#define MAX 1800000u

static struct swarms *all;
static struct swarm *w;
static uint64_t now;
static const uint8_t ID[IH_LEN] = {1, 2, 3};

static int setup(void **state)
{
	(void)state;
	now = 1000;
	assert_int_equal(swarms_open(&all, 4), 0);
	w = swarms_add(all, ID, now);
	return w ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	swarms_close(&all);
	return 0;
}

static void say(enum lt_kind kind, unsigned peer, enum lt_way way, int connected)
{
	struct lt_event e = {.kind = (uint8_t)kind,
			     .way = (uint8_t)way,
			     .connected = (uint8_t)connected};
	struct swarm_news news;

	e.addr[15] = (uint8_t)peer;
	e.port = 6881;
	if (kind == LT_PEER_LEARNED)
		e.source = PEER_SRC_TRACKER;
	swarm_event(w, &e, now, (uint32_t)(now / 1000), &news);
}

/* The visit that is due, which must be one alone; -1: none. */
static int due(void)
{
	struct swarm_visit v[4];
	size_t n = swarm_visits(w, now, v, 4);

	assert_in_range(n, 0, 1);
	return n ? (int)v[0].way : -1;
}

static void fails(enum lt_way way, int connected)
{
	say(LT_PEER_DIALLED, 1, way, 0);
	say(LT_PEER_GONE, 1, way, connected);
}

static void test_who_hangs_up_is_asked_encrypted_then_by_utp(void **state)
{
	(void)state;
	say(LT_PEER_LEARNED, 1, 0, 0);
	assert_int_equal(due(), -1);
	fails(LT_WAY_PLAIN, 1);
	assert_int_equal(due(), LT_WAY_ENCRYPTED);
	assert_int_equal(due(), -1);
	fails(LT_WAY_ENCRYPTED, 1);
	assert_int_equal(due(), LT_WAY_UTP);
	fails(LT_WAY_UTP, 0);
	assert_int_equal(due(), -1);
	assert_int_equal(w->peer[0].fails, 1);
	fails(LT_WAY_UTP, 0); /* plain, after encrypted: the same round */
	assert_int_equal(w->peer[0].fails, 1);
	assert_int_equal(w->peer[0].state, PEER_TRIED);
}

static void test_who_refuses_is_asked_by_utp(void **state)
{
	(void)state;
	fails(LT_WAY_PLAIN, 0);
	assert_int_equal(due(), LT_WAY_UTP);
	say(LT_PEER_DIALLED, 1, LT_WAY_UTP, 0);
	say(LT_PEER_HANDSHAKE, 1, LT_WAY_UTP, 1);
	assert_int_equal(w->peer[0].way, LT_WAY_UTP + 1);
	say(LT_PEER_GONE, 1, LT_WAY_UTP, 1);
	assert_int_equal(due(), -1);
	assert_int_equal(w->peer[0].fails, 0);
}

static void test_silence_is_not_waited_for(void **state)
{
	(void)state;
	say(LT_PEER_LEARNED, 1, 0, 0);
	say(LT_PEER_DIALLED, 1, LT_WAY_PLAIN, 0);
	now += SWARM_SILENT_MS - 1;
	swarm_plan(w, now, GAP, MAX);
	assert_int_equal(due(), -1);
	now += 1;
	swarm_plan(w, now, GAP, MAX);
	assert_int_equal(due(), LT_WAY_UTP);
	swarm_plan(w, now, GAP, MAX);
	assert_int_equal(due(), -1);
	/* TCP ends at last, uTP still tries: nothing failed yet */
	say(LT_PEER_DIALLED, 1, LT_WAY_UTP, 0);
	say(LT_PEER_GONE, 1, LT_WAY_PLAIN, 0);
	assert_int_equal(w->peer[0].fails, 0);
	say(LT_PEER_GONE, 1, LT_WAY_UTP, 0);
	assert_int_equal(w->peer[0].fails, 1);
}

/* It hung up while uTP was already planned for its silence: encryption is not forgotten. */
static void test_a_late_hang_up_is_remembered(void **state)
{
	(void)state;
	say(LT_PEER_DIALLED, 1, LT_WAY_PLAIN, 0);
	now += SWARM_SILENT_MS;
	swarm_plan(w, now, GAP, MAX);
	say(LT_PEER_GONE, 1, LT_WAY_PLAIN, 1);
	assert_int_equal(due(), LT_WAY_UTP);
	fails(LT_WAY_UTP, 0);
	assert_int_equal(due(), LT_WAY_ENCRYPTED);
	fails(LT_WAY_ENCRYPTED, 1);
	assert_int_equal(due(), -1);
	assert_int_equal(w->peer[0].fails, 1);
}

static void plan_a_round(void)
{
	swarm_plan(w, now, GAP, MAX);
	now = w->revisit_ms;
	swarm_plan(w, now, GAP, MAX);
}

/* A uTP attempt is two, and the second of them may begin when the next round has. */
static void test_what_is_late_spares_no_way_of_the_next_round(void **state)
{
	(void)state;
	fails(LT_WAY_PLAIN, 0);
	assert_int_equal(due(), LT_WAY_UTP);
	fails(LT_WAY_UTP, 0);
	w->round_done = 1;
	plan_a_round();
	say(LT_PEER_DIALLED, 1, LT_WAY_UTP, 0);
	assert_int_equal(due(), LT_WAY_PLAIN);
	say(LT_PEER_GONE, 1, LT_WAY_UTP, 0);
	assert_int_equal(due(), LT_WAY_UTP);
	fails(LT_WAY_PLAIN, 0);
	fails(LT_WAY_UTP, 0);
	assert_int_equal(w->peer[0].fails, 2);
}

/* It was taken, and the session, which is busy, has not dialled yet; or never does. */
static void test_a_round_begins_when_the_last_one_has_ended(void **state)
{
	(void)state;
	fails(LT_WAY_PLAIN, 0);
	w->round_done = 1;
	plan_a_round();
	assert_int_equal(due(), LT_WAY_UTP);
	w->revisit_ms = now + 1000;
	plan_a_round();
	assert_int_equal(due(), -1);
	w->revisit_ms = w->peer[0].dialled_ms + SWARM_ROUND_MS;
	plan_a_round();
	assert_int_equal(due(), LT_WAY_PLAIN);
}

static void now_a_hybrid(void)
{
	w->ih.has_v1 = w->ih.has_v2 = 1;
}

/* A peer that knows a hybrid by one hash hangs up on the other. */
static void test_the_other_hash_comes_next_where_a_connection_stood(void **state)
{
	(void)state;
	now_a_hybrid();
	fails(LT_WAY_PLAIN, 1);
	assert_int_equal(due(), LT_WAY_PLAIN + LT_WAY_V2);
	fails(LT_WAY_PLAIN + LT_WAY_V2, 1);
	assert_int_equal(due(), LT_WAY_ENCRYPTED);
	fails(LT_WAY_ENCRYPTED, 1);
	assert_int_equal(due(), LT_WAY_ENCRYPTED + LT_WAY_V2);
	fails(LT_WAY_ENCRYPTED + LT_WAY_V2, 0);
	assert_int_equal(due(), LT_WAY_UTP);
	fails(LT_WAY_UTP, 1);
	assert_int_equal(w->peer[0].fails, 0);
	assert_int_equal(due(), LT_WAY_UTP + LT_WAY_V2);
	fails(LT_WAY_UTP + LT_WAY_V2, 0);
	assert_int_equal(due(), -1);
	assert_int_equal(w->peer[0].fails, 1);
}

static void test_no_hash_is_asked_of_who_does_not_accept(void **state)
{
	(void)state;
	now_a_hybrid();
	fails(LT_WAY_PLAIN, 0);
	assert_int_equal(due(), LT_WAY_UTP);
	fails(LT_WAY_UTP, 0);
	assert_int_equal(due(), -1);
	assert_int_equal(w->peer[0].fails, 1);
}

/* What was learned under one hash is not forgotten when uTP was planned for its silence, nor
 * when the metadata tells only then that there is another. */
static void test_a_hang_up_is_remembered_until_it_is_a_hybrid(void **state)
{
	(void)state;
	say(LT_PEER_DIALLED, 1, LT_WAY_PLAIN, 0);
	now += SWARM_SILENT_MS;
	swarm_plan(w, now, GAP, MAX);
	say(LT_PEER_GONE, 1, LT_WAY_PLAIN, 1);
	assert_int_equal(due(), LT_WAY_UTP);
	now_a_hybrid();
	fails(LT_WAY_UTP, 0);
	assert_int_equal(due(), LT_WAY_PLAIN + LT_WAY_V2);
	say(LT_PEER_DIALLED, 1, LT_WAY_PLAIN + LT_WAY_V2, 0);
	say(LT_PEER_HANDSHAKE, 1, LT_WAY_PLAIN + LT_WAY_V2, 1);
	say(LT_PEER_GONE, 1, LT_WAY_PLAIN + LT_WAY_V2, 1);
	assert_int_equal(due(), -1);
	assert_int_equal(w->peer[0].fails, 0);
}

/* A revisit begins with the hash that worked; the other one is tried if it no longer does,
 * and no transport twice for nothing. */
static void test_a_revisit_says_the_hash_that_worked(void **state)
{
	(void)state;
	now_a_hybrid();
	w->round_done = 1;
	say(LT_PEER_DIALLED, 1, LT_WAY_UTP + LT_WAY_V2, 0);
	say(LT_PEER_HANDSHAKE, 1, LT_WAY_UTP + LT_WAY_V2, 1);
	say(LT_PEER_GONE, 1, LT_WAY_UTP + LT_WAY_V2, 1);
	swarm_plan(w, now, GAP, MAX);
	now += GAP;
	swarm_plan(w, now, GAP, MAX);
	assert_int_equal(due(), LT_WAY_UTP + LT_WAY_V2);
	fails(LT_WAY_UTP + LT_WAY_V2, 1);
	assert_int_equal(due(), LT_WAY_UTP);
	fails(LT_WAY_UTP, 0);
	assert_int_equal(due(), LT_WAY_PLAIN);
	fails(LT_WAY_PLAIN, 0);
	assert_int_equal(due(), -1);
	assert_int_equal(w->peer[0].fails, 1);
}

static void test_a_second_way_is_part_of_the_first_round_for_a_while(void **state)
{
	uint64_t recheck;

	(void)state;
	fails(LT_WAY_PLAIN, 0);
	assert_int_equal(swarm_round_done(w, now, &recheck), 0);
	assert_int_equal(recheck, now + SWARM_SECOND_MS);
	assert_int_equal(due(), LT_WAY_UTP);
	say(LT_PEER_DIALLED, 1, LT_WAY_UTP, 0);
	now += SWARM_SECOND_MS - 1;
	assert_int_equal(swarm_round_done(w, now, &recheck), 0);
	now += 1;
	assert_int_equal(swarm_round_done(w, now, &recheck), 1);
	/* nobody new for a while, but it is not settled before that is clear */
	now += SWARM_QUIET_MS;
	assert_int_equal(swarm_phase(w, now), SWARM_COLLECTING);
	say(LT_PEER_GONE, 1, LT_WAY_UTP, 0);
	now += SWARM_CLEAR_MS;
	assert_int_equal(swarm_phase(w, now), SWARM_SETTLED);
}

static void connect_and_let_go(enum lt_way way)
{
	say(LT_PEER_DIALLED, 1, way, 0);
	say(LT_PEER_HANDSHAKE, 1, way, 1);
	say(LT_PEER_GONE, 1, way, 1);
}

static void test_revisits_come_at_a_growing_pace(void **state)
{
	uint64_t began, gap = SWARM_AGAIN_MS;

	(void)state;
	connect_and_let_go(LT_WAY_ENCRYPTED);
	swarm_plan(w, now, GAP, MAX);
	assert_int_equal(due(), -1); /* the first round is not over */
	w->round_done = 1;
	began = now;
	swarm_plan(w, now, GAP, MAX);
	for (int i = 0; i < 8; i++) {
		while (swarm_plan(w, now, GAP, MAX), w->plans == 0)
			now += 1000;
		assert_int_equal(now - began, gap);
		began = now;
		gap = i == 0 ? GAP : gap * 2 < MAX ? gap * 2 : MAX;
		assert_int_equal(due(), LT_WAY_ENCRYPTED);
		assert_int_equal(swarm_phase(w, now), SWARM_SETTLED);
		connect_and_let_go(LT_WAY_ENCRYPTED);
	}
}

static void test_a_revisit_tries_other_ways_if_the_old_one_fails(void **state)
{
	(void)state;
	w->round_done = 1;
	connect_and_let_go(LT_WAY_UTP);
	swarm_plan(w, now, GAP, MAX);
	now += GAP;
	swarm_plan(w, now, GAP, MAX);
	assert_int_equal(due(), LT_WAY_UTP);
	fails(LT_WAY_UTP, 0);
	assert_int_equal(due(), LT_WAY_PLAIN);
	fails(LT_WAY_PLAIN, 1);
	assert_int_equal(due(), LT_WAY_ENCRYPTED);
	fails(LT_WAY_ENCRYPTED, 1);
	assert_int_equal(due(), -1);
	assert_int_equal(w->peer[0].state, PEER_CONTACTED);
	assert_int_equal(w->peer[0].fails, 1);
}

static void a_failed_round(void)
{
	fails(LT_WAY_PLAIN, 0);
	assert_int_equal(due(), LT_WAY_UTP);
	fails(LT_WAY_UTP, 0);
}

static void test_the_hopeless_are_left_alone_until_named_again(void **state)
{
	struct lt_event pex = {.kind = LT_PEER_LEARNED,
			       .source = PEER_SRC_PEX,
			       .port = 6881};
	struct swarm_news news;

	(void)state;
	w->round_done = 1;
	say(LT_PEER_LEARNED, 1, 0, 0);
	a_failed_round();
	swarm_plan(w, now, GAP, MAX);
	for (int i = 1; i < SWARM_FAILS; i++) {
		now += MAX;
		swarm_plan(w, now, GAP, MAX);
		assert_int_equal(due(), LT_WAY_PLAIN);
		a_failed_round();
	}
	now += MAX;
	swarm_plan(w, now, GAP, MAX);
	assert_int_equal(due(), -1);
	say(LT_PEER_LEARNED, 1, 0, 0); /* the same source as ever: no news */
	assert_int_equal(w->peer[0].fails, SWARM_FAILS);
	pex.addr[15] = 1;
	swarm_event(w, &pex, now, (uint32_t)(now / 1000), &news);
	now += MAX;
	swarm_plan(w, now, GAP, MAX);
	assert_int_equal(due(), LT_WAY_PLAIN);
}

/* Plans are counted, and the count follows peers that come and go. */
static void test_the_count_of_plans_is_right(void **state)
{
	uint8_t addr[ADDR_LEN] = {0};
	struct swarm_visit v[64];

	(void)state;
	for (unsigned i = 1; i <= 50; i++) {
		say(LT_PEER_DIALLED, i, LT_WAY_PLAIN, 0);
		say(LT_PEER_GONE, i, LT_WAY_PLAIN, 0);
	}
	assert_int_equal(w->plans, 50);
	addr[15] = 7;
	swarm_forget(w, addr, 6881);
	say(LT_PEER_HANDSHAKE, 9, LT_WAY_PLAIN, 1); /* it called us meanwhile */
	assert_int_equal(w->plans, 48);
	assert_int_equal(swarm_visits(w, now, v, 30), 30);
	assert_int_equal(w->plans, 18);
	assert_int_equal(swarm_expire(w, UINT32_MAX, now), 48);
	assert_int_equal(w->plans, 0);
	assert_int_equal(swarm_visits(w, now, v, 30), 0);
	swarm_rejoin(w, now);
	assert_int_equal(w->plans, 0);
}

/* The session tells of endpoints that we gave it: that is no sign of life. */
static void test_our_own_word_keeps_nobody_alive(void **state)
{
	struct lt_event e = {.kind = LT_PEER_LEARNED, .port = 6881};
	struct swarm_news news;

	(void)state;
	say(LT_PEER_LEARNED, 1, 0, 0);
	e.addr[15] = 1;
	now += 60000;
	swarm_event(w, &e, now, (uint32_t)(now / 1000), &news);
	assert_int_equal(w->peer[0].last_seen_s, 1);
}

static void test_trackers_are_told_when_it_is_time(void **state)
{
	uint64_t recheck;

	(void)state;
	w->trackers_expected = 2;
	assert_int_equal(swarm_keep_interval(w, 0, 600000, 700000), 0);
	assert_int_equal(swarm_keep_interval(w, 1000, 600000, 601000), 0);
	assert_int_equal(w->trackers_expected, 2);
	assert_int_equal(swarm_round_done(w, now, &recheck), 0);
	assert_int_equal(swarm_keep_interval(w, 1000, 600000, 600999), 1);
	assert_int_equal(w->trackers_at_ms, 601000);
	/* nobody is waited for, not even the DHT while somebody is known */
	w->dht = 1;
	connect_and_let_go(LT_WAY_PLAIN);
	assert_int_equal(swarm_round_done(w, now, &recheck), 1);
	assert_int_not_equal(swarm_why(w), WHY_NO_SOURCE);
}

static void test_metadata_that_does_not_come_is_asked_of_one_after_the_other(void **state)
{
	struct lt_event told = {.kind = LT_PEER_TOLD, .metadata = 1, .port = 6881};
	struct lt_event there = {.kind = LT_METADATA, .pieces = 5};
	struct swarm_visit v[4];
	struct swarm_news news;

	(void)state;
	for (unsigned peer = 1; peer <= 3; peer++) {
		say(LT_PEER_LEARNED, peer, 0, 0);
		say(LT_PEER_DIALLED, peer, 0, 0);
		if (peer != 2)
			say(LT_PEER_HANDSHAKE, peer, 0, 1);
	}
	swarm_plan_metadata(w, now += 60000); /* nobody offers it */
	assert_int_equal(w->plans, 0);
	told.addr[15] = 1;
	swarm_event(w, &told, now, 1, &news);
	swarm_plan_metadata(w, now + SWARM_METADATA_LATE_MS - 1);
	assert_int_equal(w->plans, 0);
	now += SWARM_METADATA_LATE_MS;
	for (unsigned i = 0; i < 4; i++) {
		swarm_plan_metadata(w, now);
		assert_int_equal(swarm_visits(w, now, v, 4), 1);
		assert_int_equal(v[0].to.addr[15], i % 2 ? 3 : 1);
		assert_int_equal(v[0].way, LT_WAY_PLAIN);
		swarm_plan_metadata(w, now + SWARM_METADATA_APART_MS +
					       i * SWARM_METADATA_STEP_MS - 1);
		assert_int_equal(w->plans, 0);
		now += SWARM_METADATA_GAP_MS;
	}
	swarm_event(w, &there, now, 1, &news);
	swarm_plan_metadata(w, now);
	assert_int_equal(w->plans, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_who_hangs_up_is_asked_encrypted_then_by_utp),
		TEST(test_who_refuses_is_asked_by_utp),
		TEST(test_metadata_that_does_not_come_is_asked_of_one_after_the_other),
		TEST(test_silence_is_not_waited_for),
		TEST(test_a_late_hang_up_is_remembered),
		TEST(test_what_is_late_spares_no_way_of_the_next_round),
		TEST(test_a_round_begins_when_the_last_one_has_ended),
		TEST(test_the_other_hash_comes_next_where_a_connection_stood),
		TEST(test_no_hash_is_asked_of_who_does_not_accept),
		TEST(test_a_hang_up_is_remembered_until_it_is_a_hybrid),
		TEST(test_a_revisit_says_the_hash_that_worked),
		TEST(test_a_second_way_is_part_of_the_first_round_for_a_while),
		TEST(test_revisits_come_at_a_growing_pace),
		TEST(test_a_revisit_tries_other_ways_if_the_old_one_fails),
		TEST(test_the_hopeless_are_left_alone_until_named_again),
		TEST(test_the_count_of_plans_is_right),
		TEST(test_our_own_word_keeps_nobody_alive),
		TEST(test_trackers_are_told_when_it_is_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

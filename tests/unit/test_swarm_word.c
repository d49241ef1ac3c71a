/*
 * test_swarm_word.c -- whose word makes a peer the source, and for how long.
 */
#include "swarm_stage.h"

#define SOURCE 7764

static int setup(void **state)
{
	(void)state;
	open_swarm(ACE_MODE_FIRST);
	return 0;
}

static struct lt_endpoint place(unsigned host, uint16_t port)
{
	struct lt_endpoint e = {.port = port};

	addr_of(e.addr, host);
	return e;
}

static void names(unsigned by, unsigned host)
{
	struct ace_target t = target(by, ENGINE);
	struct lt_endpoint word = place(host, SOURCE);
	struct swarm_news news;

	assert_non_null(swarm_ace_source(w, &t, &word, 0, now, wall_s(), &news));
}

static void names_nobody(unsigned by)
{
	struct ace_target t = target(by, ENGINE);

	swarm_ace_no_source(w, &t, now);
}

static uint32_t sources(void)
{
	struct shm_swarm head;

	later(0);
	(void)list(&head);
	return head.sources;
}

static int is_source(unsigned host)
{
	return swarm_word_role(peer_at(host, SOURCE)) == ROLE_SOURCE;
}

static void test_the_source_is_who_is_named(void **state)
{
	struct shm_swarm head;
	struct ace_target t;

	(void)state;
	meet(2, ENGINE);
	w->important = 0;
	names(2, 1);
	assert_true(w->important && is_source(1));
	assert_true(peer_at(1, SOURCE)->ace.gossiped);
	assert_int_equal(sources(), 1);
	assert_int_equal(call_all(&t), 1);
	answers(1, SOURCE); /* whatever it says of itself */
	assert_int_equal(sources(), 1);
	(void)list(&head);
	assert_int_equal(head.source_like, 0);
}

static void test_one_word_is_one_source(void **state)
{
	(void)state;
	meet(2, ENGINE);
	for (unsigned host = 10; host < 30; host++) {
		names(2, host);
		assert_int_equal(sources(), 1);
		assert_true(is_source(host));
	}
	assert_false(is_source(10));
	names_nobody(2);
	assert_int_equal(sources(), 0);
}

static void test_a_word_lasts_as_long_as_its_peer_is_reachable(void **state)
{
	struct ace_target t;

	(void)state;
	meet(2, ENGINE);
	names(2, 1);
	(void)call_all(&t); /* the source itself: no answer */
	later(REVISIT + ACE_REACH_MS - 1);
	assert_int_equal(sources(), 1);
	later(1);
	assert_int_equal(sources(), 0);
	assert_int_equal(w->ace.words, 1); /* it may be reached again */
	answers(2, ENGINE);
	assert_int_equal(sources(), 1);
}

static void test_several_words_for_one(void **state)
{
	(void)state;
	meet(2, ENGINE);
	meet(3, ENGINE);
	names(2, 1);
	names(3, 1);
	assert_int_equal(sources(), 1);
	names_nobody(2);
	assert_int_equal(sources(), 1);
	names_nobody(3);
	assert_int_equal(sources(), 0);
	assert_int_equal(w->ace.words, 0);
}

static void test_nobody_names_himself(void **state)
{
	(void)state;
	meet(2, ENGINE);
	names(2, 2); /* another port of the same address */
	assert_int_equal(sources(), 0);
	assert_non_null(peer_at(2, SOURCE)); /* but it may be called */
}

static void test_who_is_forgotten_says_nothing(void **state)
{
	struct ace_target t;
	struct lt_endpoint word = place(1, SOURCE);
	struct swarm_news news;

	(void)state;
	meet(2, ENGINE);
	t = target(2, ENGINE);
	t.life++;
	assert_non_null(swarm_ace_source(w, &t, &word, 0, now, wall_s(), &news));
	t = target(2, ENGINE);
	addr_of(t.addr, 99);
	assert_non_null(swarm_ace_source(w, &t, &word, 0, now, wall_s(), &news));
	assert_int_equal(sources(), 0);
}

/* Whose word it was died with the collector. */
static void test_an_earlier_life_knew_the_source(void **state)
{
	struct shm_peer old = {.protocol = PEER_ACESTREAM, .role = ROLE_SOURCE};
	struct peer *p;

	(void)state;
	heard(1, SOURCE);
	p = peer_at(1, SOURCE);
	old.told_s = wall_s() - 0;
	old.distance = SHM_DISTANCE_UNKNOWN;
	now += 60000;
	swarm_ace_seed(w, p, &old, now, wall_s());
	assert_int_equal(sources(), 1);
	later(REVISIT + ACE_REACH_MS);
	assert_int_equal(sources(), 0);
	assert_int_equal(p->ace.role, ROLE_UNKNOWN);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, stage_close)
	const struct CMUnitTest tests[] = {
		T(test_the_source_is_who_is_named),
		T(test_one_word_is_one_source),
		T(test_a_word_lasts_as_long_as_its_peer_is_reachable),
		T(test_several_words_for_one),
		T(test_nobody_names_himself),
		T(test_who_is_forgotten_says_nothing),
		T(test_an_earlier_life_knew_the_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

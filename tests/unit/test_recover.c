/*
 * test_recover.c -- the order of a recovery, and its patience.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "collector/recover.h"

#define BIND (RECOVER_REBIND | RECOVER_DHT)

static void nothing_changed_nothing_is_done(void **state)
{
	struct recover r = {0};

	(void)state;
	assert_int_equal(recover_change(&r, NET_SAME, 1, 1000), 0);
	assert_int_equal(recover_change(&r, NET_WHY, 1, 1000), 0);
	assert_int_equal(recover_listening(&r), 0);
	for (uint64_t now = 1000; now < 500000; now += 1000)
		assert_int_equal(recover_tick(&r, now), 0);
}

static void it_went_and_came(void **state)
{
	struct recover r = {0};

	(void)state;
	assert_int_equal(recover_change(&r, NET_GONE, 1, 1000), RECOVER_LEAVE);
	assert_int_equal(recover_tick(&r, 90000), 0);
	assert_int_equal(recover_change(&r, NET_BACK, 1, 91000), RECOVER_LEAVE | BIND);
	assert_int_equal(recover_tick(&r, 91500), 0);
	assert_int_equal(recover_listening(&r), RECOVER_JOIN);
	/* The second socket listens, too. */
	assert_int_equal(recover_listening(&r), 0);
	assert_int_equal(recover_tick(&r, 200000), 0);
}

static void without_a_socket_it_joins_all_the_same_and_tries_again(void **state)
{
	static const uint64_t binds_at[] = {12000, 16000,  24000, 40000,
					    72000, 136000, 200000};
	struct recover r = {0};
	size_t n = 0;

	(void)state;
	assert_int_equal(recover_change(&r, NET_MOVED, 1, 10000), RECOVER_LEAVE | BIND);
	for (uint64_t now = 10500; now <= 200000; now += 500) {
		unsigned want = now == 11000 ? RECOVER_JOIN : 0;

		if (now == binds_at[n]) {
			want |= BIND;
			n++;
		}
		assert_int_equal(recover_tick(&r, now), want);
	}
	assert_int_equal(n, 7);
	/* Now peers can call us: they have to hear where. */
	assert_int_equal(recover_listening(&r), RECOVER_ANNOUNCE);
	assert_int_equal(recover_tick(&r, 900000), 0);
}

static void who_does_not_listen_joins_at_once(void **state)
{
	struct recover r = {0};

	(void)state;
	assert_int_equal(recover_change(&r, NET_BACK, 0, 1000),
			 RECOVER_LEAVE | BIND | RECOVER_JOIN);
	assert_int_equal(recover_tick(&r, 100000), 0);
}

static void one_more_address_tears_nothing_down(void **state)
{
	struct recover r = {0};

	(void)state;
	assert_int_equal(recover_change(&r, NET_GREW, 1, 1000),
			 RECOVER_REOPEN | RECOVER_DHT | RECOVER_ANNOUNCE);
	assert_int_equal(recover_tick(&r, 100000), 0);
}

static void it_goes_again_in_the_middle(void **state)
{
	struct recover r = {0};

	(void)state;
	(void)recover_change(&r, NET_BACK, 1, 1000);
	assert_int_equal(recover_change(&r, NET_GONE, 1, 1200), RECOVER_LEAVE);
	/* Nothing of the first one goes on. */
	assert_int_equal(recover_tick(&r, 100000), 0);
	assert_int_equal(recover_listening(&r), 0);
	assert_int_equal(recover_change(&r, NET_BACK, 1, 200000), RECOVER_LEAVE | BIND);
	assert_int_equal(recover_change(&r, NET_MOVED, 1, 200500), RECOVER_LEAVE | BIND);
	assert_int_equal(recover_tick(&r, 201400), 0);
	assert_int_equal(recover_tick(&r, 201500), RECOVER_JOIN);
}

static void a_port_that_is_taken_at_start_is_tried_again(void **state)
{
	struct recover r;

	(void)state;
	recover_start(&r, 1, 1000);
	assert_int_equal(recover_tick(&r, 2999), 0);
	assert_int_equal(recover_tick(&r, 3000), BIND);
	assert_int_equal(recover_tick(&r, 7000), BIND);
	assert_int_equal(recover_listening(&r), RECOVER_ANNOUNCE);
	assert_int_equal(recover_tick(&r, 900000), 0);
	/* At once, as always: nobody has to hear anything anew. */
	recover_start(&r, 1, 1000);
	assert_int_equal(recover_listening(&r), 0);
	assert_int_equal(recover_tick(&r, 900000), 0);
	recover_start(&r, 0, 1000);
	assert_int_equal(recover_tick(&r, 900000), 0);
}

static void what_is_missing_is_tried_beside_what_listens(void **state)
{
	struct recover r = {0};

	(void)state;
	recover_missing(&r, 1, 1000);
	assert_int_equal(recover_tick(&r, 2999), 0);
	assert_int_equal(recover_tick(&r, 3000), RECOVER_REOPEN);
	recover_missing(&r, 1, 3001); /* it failed again: patience grows all the same */
	assert_int_equal(recover_tick(&r, 6999), 0);
	assert_int_equal(recover_tick(&r, 7000), RECOVER_REOPEN);
	recover_missing(&r, 0, 7001); /* now nothing listens at all */
	assert_int_equal(recover_tick(&r, 9001), BIND);
	assert_int_equal(recover_listening(&r), RECOVER_ANNOUNCE);
	assert_int_equal(recover_tick(&r, 900000), 0);
}

static void whoever_mended_it_need_not_wait(void **state)
{
	struct recover r = {0};

	(void)state;
	recover_hasten(&r, 1000);
	assert_int_equal(recover_tick(&r, 1000), 0); /* all is well */
	recover_start(&r, 1, 1000);
	for (uint64_t now = 1000; now < 100000; now += 1000)
		(void)recover_tick(&r, now);
	recover_hasten(&r, 100000);
	assert_int_equal(recover_tick(&r, 100000), BIND);
	assert_int_equal(recover_tick(&r, 101999), 0);
	assert_int_equal(recover_tick(&r, 102000), BIND);
	recover_elsewhere(&r, 200000);
	assert_int_equal(recover_tick(&r, 201999), 0);
	assert_int_equal(recover_tick(&r, 202000), BIND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_changed_nothing_is_done),
		cmocka_unit_test(it_went_and_came),
		cmocka_unit_test(without_a_socket_it_joins_all_the_same_and_tries_again),
		cmocka_unit_test(who_does_not_listen_joins_at_once),
		cmocka_unit_test(one_more_address_tears_nothing_down),
		cmocka_unit_test(it_goes_again_in_the_middle),
		cmocka_unit_test(a_port_that_is_taken_at_start_is_tried_again),
		cmocka_unit_test(what_is_missing_is_tried_beside_what_listens),
		cmocka_unit_test(whoever_mended_it_need_not_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

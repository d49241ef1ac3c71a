/* test_dhtwatch.c -- when the DHT is helped, and when its nodes are written down. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "collector/dhtwatch.h"

static struct dhtwatch d;

/* Steps once a second from *now on until something is to be done; at most so long. */
static enum dhtwatch_do until(uint64_t *now, int on, uint32_t nodes, uint64_t most_ms)
{
	enum dhtwatch_do what = DHTWATCH_NOTHING;
	uint64_t end = *now + most_ms;

	while (what == DHTWATCH_NOTHING && *now < end) {
		*now += 1000;
		what = dhtwatch_step(&d, on, nodes, *now);
	}
	return what;
}

static int fresh(void **state)
{
	(void)state;
	memset(&d, 0, sizeof d);
	return 0;
}

static void test_no_nodes_are_helped_at_a_growing_gap(void **state)
{
	uint64_t now = 1000, at[8];

	(void)state;
	assert_int_equal(dhtwatch_step(&d, 1, 0, now), DHTWATCH_NOTHING);
	for (int i = 0; i < 8; i++) {
		enum dhtwatch_do what = until(&now, 1, 0, 3600000);

		assert_int_equal(what, i % 3 == 2 ? DHTWATCH_RESTART : DHTWATCH_AGAIN);
		at[i] = now;
	}
	assert_int_equal(at[0], 1000 + DHTWATCH_FIRST_MS);
	assert_int_equal(at[1] - at[0], 2 * DHTWATCH_FIRST_MS);
	assert_int_equal(at[2] - at[1], 4 * DHTWATCH_FIRST_MS);
	assert_int_equal(at[7] - at[6], DHTWATCH_LAST_MS);
}

static void test_nodes_end_it_and_a_later_loss_is_quick_again(void **state)
{
	uint64_t now = 1000;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_not_equal(until(&now, 1, 0, 3600000), DHTWATCH_NOTHING);
	now += 1000;
	assert_int_equal(dhtwatch_step(&d, 1, 30, now), DHTWATCH_NOTHING);
	now += 1000;
	assert_int_equal(dhtwatch_step(&d, 1, 0, now), DHTWATCH_NOTHING);
	assert_int_equal(until(&now, 1, 0, DHTWATCH_FIRST_MS), DHTWATCH_AGAIN);
}

static void test_off_means_nothing_at_all(void **state)
{
	uint64_t now = 1000;

	(void)state;
	assert_int_equal(until(&now, 0, 0, 3600000), DHTWATCH_NOTHING);
	/* switched on: the clock begins now */
	assert_int_equal(dhtwatch_step(&d, 1, 0, now), DHTWATCH_NOTHING);
	assert_int_equal(until(&now, 1, 0, DHTWATCH_FIRST_MS), DHTWATCH_AGAIN);
}

static void test_nodes_are_saved_early_and_then_now_and_then(void **state)
{
	uint64_t now = 1000, first;

	(void)state;
	assert_int_equal(until(&now, 1, 5, 3600000), DHTWATCH_SAVE);
	assert_in_range(now, 1000 + DHTWATCH_SAVE_FIRST_MS,
			3000 + DHTWATCH_SAVE_FIRST_MS);
	first = now;
	assert_int_equal(until(&now, 1, 5, 3600000), DHTWATCH_SAVE);
	assert_int_equal(now - first, DHTWATCH_SAVE_MS);
	/* what is lost meanwhile is not saved */
	assert_int_equal(until(&now, 1, 0, 3600000), DHTWATCH_AGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_no_nodes_are_helped_at_a_growing_gap, fresh),
		cmocka_unit_test_setup(test_nodes_end_it_and_a_later_loss_is_quick_again,
				       fresh),
		cmocka_unit_test_setup(test_off_means_nothing_at_all, fresh),
		cmocka_unit_test_setup(test_nodes_are_saved_early_and_then_now_and_then,
				       fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

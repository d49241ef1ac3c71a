/* test_recent.c -- the memory of announces: bounded, the newest word counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "collector/recent.h"

static struct recent r;

static void id_of(uint8_t id[IH_LEN], uint32_t place, uint8_t other)
{
	memset(id, other, IH_LEN);
	memcpy(id + 8, &place, sizeof place);
}

static void test_the_newest_word_counts(void **state)
{
	uint8_t id[IH_LEN];

	(void)state;
	id_of(id, 5, 1);
	assert_int_equal(recent_get(&r, id), 0);
	recent_put(&r, id, 100);
	assert_int_equal(recent_get(&r, id), 100);
	recent_put(&r, id, 0); /* left before it was announced: the old time stands */
	assert_int_equal(recent_get(&r, id), 100);
	recent_put(&r, id, 300);
	assert_int_equal(recent_get(&r, id), 300);
}

static void test_one_place_holds_one_id(void **state)
{
	uint8_t a[IH_LEN], b[IH_LEN];

	(void)state;
	id_of(a, 7, 1);
	id_of(b, 7 + RECENT_MAX, 2);
	recent_put(&r, a, 100);
	recent_put(&r, b, 200);
	assert_int_equal(recent_get(&r, a), 0);
	assert_int_equal(recent_get(&r, b), 200);
}

static void test_all_places_are_used(void **state)
{
	uint8_t id[IH_LEN];

	(void)state;
	for (uint32_t i = 0; i < RECENT_MAX; i++) {
		id_of(id, i, 9);
		recent_put(&r, id, i + 1);
	}
	for (uint32_t i = 0; i < RECENT_MAX; i++) {
		id_of(id, i, 9);
		assert_int_equal(recent_get(&r, id), i + 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_newest_word_counts),
		cmocka_unit_test(test_one_place_holds_one_id),
		cmocka_unit_test(test_all_places_are_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

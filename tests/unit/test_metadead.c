/* test_metadead.c -- torrents that nobody had lately. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "collector/metadead.h"

static struct metadead *d;

static int setup(void **state)
{
	(void)state;
	return metadead_open(&d);
}

static int teardown(void **state)
{
	(void)state;
	metadead_close(&d);
	return d != NULL;
}

static const uint8_t *key(uint32_t n)
{
	static uint8_t k[IH_LEN];

	memcpy(k, &n, sizeof n);
	return k;
}

static void test_pause_grows(void **state)
{
	static const uint32_t want_s[] = {60, 300, 1800, 1800, 1800};
	uint64_t now = 1000;

	(void)state;
	assert_int_equal(metadead_wait_s(d, key(1), now), 0);
	for (size_t i = 0; i < PS_ARRAY_LEN(want_s); i++) {
		assert_int_equal(metadead_failed(d, key(1), now), 0);
		assert_int_equal(metadead_wait_s(d, key(1), now), want_s[i]);
		now += want_s[i] * 1000 - 1;
		assert_int_equal(metadead_wait_s(d, key(1), now), 1); /* rounded up */
		assert_int_equal(metadead_wait_s(d, key(1), ++now), 0);
	}
	assert_int_equal(metadead_wait_s(d, key(2), now), 0);
}

static void test_found_begins_anew(void **state)
{
	(void)state;
	(void)metadead_failed(d, key(1), 0);
	(void)metadead_failed(d, key(1), 0);
	metadead_found(d, key(1));
	metadead_found(d, key(2));
	assert_int_equal(metadead_wait_s(d, key(1), 0), 0);
	(void)metadead_failed(d, key(1), 0);
	assert_int_equal(metadead_wait_s(d, key(1), 0), 60);
}

static void test_long_ago_is_forgotten(void **state)
{
	(void)state;
	(void)metadead_failed(d, key(1), 0);
	(void)metadead_failed(d, key(1), 60000);
	(void)metadead_failed(d, key(1), 360000 + METADEAD_FORGET_MS);
	assert_int_equal(metadead_wait_s(d, key(1), 360000 + METADEAD_FORGET_MS), 60);
}

static void test_oldest_makes_room(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < METADEAD_MAX; i++)
		assert_int_equal(metadead_failed(d, key(i), 0), 0);
	(void)metadead_failed(d, key(0), 0);
	assert_int_equal(metadead_failed(d, key(METADEAD_MAX), 0), 1);
	assert_int_equal(metadead_wait_s(d, key(0), 0), 300);
	assert_int_equal(metadead_wait_s(d, key(1), 0), 0);
	/* who comes back into a place of another is no old acquaintance */
	(void)metadead_failed(d, key(1), 0);
	assert_int_equal(metadead_wait_s(d, key(1), 0), 60);
}

static void test_asked_in_vain(void **state)
{
	uint64_t mark[METADEAD_TRACKERS];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(mark); i++)
		mark[i] = i + 100;
	metadead_asked(d, key(1), mark, 1); /* it has not failed */
	assert_false(metadead_was_asked(d, key(1), 100));
	(void)metadead_failed(d, key(1), 0);
	metadead_asked(d, key(1), mark, 1);
	metadead_asked(d, key(1), mark + 1, 1);
	assert_true(metadead_was_asked(d, key(1), 100));
	assert_true(metadead_was_asked(d, key(1), 101));
	assert_false(metadead_was_asked(d, key(1), 102));
	assert_false(metadead_was_asked(d, key(2), 100));
	metadead_asked(d, key(1), mark, PS_ARRAY_LEN(mark)); /* the last failure's */
	for (size_t i = 0; i < PS_ARRAY_LEN(mark); i++)
		assert_true(metadead_was_asked(d, key(1), mark[i]));
	metadead_asked(d, key(1), &(uint64_t){5}, 1);
	assert_true(metadead_was_asked(d, key(1), 5));
	assert_false(metadead_was_asked(d, key(1), 100));
	metadead_found(d, key(1));
	assert_false(metadead_was_asked(d, key(1), 5));
	(void)metadead_failed(d, key(1), 0);
	assert_false(metadead_was_asked(d, key(1), 5));
}

static void test_odd(void **state)
{
	(void)state;
	metadead_odd(d, key(1), 0);
	assert_true(metadead_is_odd(d, key(1)));
	assert_false(metadead_is_odd(d, key(2)));
	assert_int_equal(metadead_wait_s(d, key(1), 0), 60);
	(void)metadead_failed(d, key(1), 60000);
	assert_false(metadead_is_odd(d, key(1)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pause_grows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_found_begins_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_ago_is_forgotten, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_oldest_makes_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_asked_in_vain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_odd, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

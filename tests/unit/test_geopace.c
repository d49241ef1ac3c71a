/*
 * test_geopace.c -- how often a web service is asked, and when it is left alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collector/geopace.h"

#define DAY GEOPACE_DAY_MS
#define WALL (20000ull * DAY + 1000)

static struct geopace p;
static uint64_t now, wait_ms;

static int setup(void **state)
{
	(void)state;
	memset(&p, 0, sizeof(p));
	now = 5000;
	geopace_configure(&p, 1, 60, 10000, now);
	return 0;
}

static enum geopace_go next(void)
{
	uint64_t first = geopace_wait_ms(&p, now, WALL + now);
	enum geopace_go go = geopace_next(&p, now, WALL + now, &wait_ms);

	assert_int_equal(first, wait_ms); /* which counts nothing */
	return go;
}

static void test_bucket(void **state)
{
	(void)state;
	for (int i = 0; i < 60; i++)
		assert_int_equal(next(), GEOPACE_GO);
	assert_int_equal(next(), GEOPACE_WAIT);
	assert_int_equal(wait_ms, 1000);
	now += 999;
	assert_int_equal(next(), GEOPACE_WAIT);
	assert_int_equal(wait_ms, 1);
	now += 1;
	assert_int_equal(next(), GEOPACE_GO);
	assert_int_equal(next(), GEOPACE_WAIT);
	now += 3600000; /* no more than the bucket holds */
	for (int i = 0; i < 60; i++)
		assert_int_equal(next(), GEOPACE_GO);
	assert_int_equal(next(), GEOPACE_WAIT);
	now += UINT64_MAX / 4; /* nor after any time */
	for (int i = 0; i < 60; i++)
		assert_int_equal(next(), GEOPACE_GO);
	assert_int_equal(next(), GEOPACE_WAIT);
}

static void test_reload(void **state)
{
	(void)state;
	for (int i = 0; i < 60; i++)
		assert_int_equal(next(), GEOPACE_GO);
	geopace_configure(&p, 1000, 100, 10000, now); /* a HUP gives no burst */
	assert_int_equal(next(), GEOPACE_WAIT);
	assert_int_equal(wait_ms, 1);
	now += 1000;
	geopace_configure(&p, 1, 2, 10000, now);
	assert_int_equal(next(), GEOPACE_GO);
	assert_int_equal(next(), GEOPACE_GO);
	assert_int_equal(next(), GEOPACE_WAIT);
}

static void test_budget(void **state)
{
	(void)state;
	geopace_configure(&p, 1000, 1000, 3, now);
	assert_int_equal(geopace_left(&p, WALL + now), 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(next(), GEOPACE_GO);
	assert_int_equal(geopace_left(&p, WALL + now), 0);
	assert_int_equal(next(), GEOPACE_WAIT);
	assert_int_equal(wait_ms, DAY - (WALL + now) % DAY);
	now += wait_ms;
	assert_int_equal(geopace_left(&p, WALL + now), 3);
	assert_int_equal(next(), GEOPACE_GO);
	assert_int_equal(geopace_left(&p, WALL + now), 2);
	geopace_configure(&p, 1000, 1000, 1, now);
	assert_int_equal(geopace_left(&p, WALL + now), 0);
	geopace_configure(&p, 1000, 1000, 0, now);
	assert_int_equal(geopace_left(&p, WALL + now), UINT32_MAX);
	assert_int_equal(next(), GEOPACE_GO);
}

/* What a collector used before it died counts in the life of the next. */
static void test_budget_of_an_earlier_life(void **state)
{
	(void)state;
	memset(&p, 0, sizeof(p));
	p.day = (WALL + now) / DAY;
	p.used = 9999;
	geopace_configure(&p, 1, 60, 10000, now);
	assert_int_equal(geopace_left(&p, WALL + now), 1);
	assert_int_equal(next(), GEOPACE_WAIT);
	assert_int_equal(wait_ms, 1000); /* no burst in each life */
	now += 1000;
	assert_int_equal(next(), GEOPACE_GO);
	now += 1000;
	assert_int_equal(next(), GEOPACE_WAIT);
	assert_true(wait_ms > 1000); /* until tomorrow */
}

static void fails_three_times(void)
{
	for (int i = 0; i < GEOPACE_FAILS; i++) {
		assert_int_equal(p.state, GEOPACE_READY);
		assert_int_equal(next(), GEOPACE_GO);
		geopace_failed(&p, now, 0);
	}
	assert_int_equal(p.state, GEOPACE_DOWN);
}

static void test_breaker(void **state)
{
	uint64_t expected = GEOPACE_BACKOFF_MIN_MS;

	(void)state;
	assert_int_equal(next(), GEOPACE_GO);
	geopace_failed(&p, now, 0);
	assert_int_equal(next(), GEOPACE_GO);
	geopace_answered(&p, 0); /* not in a row */
	fails_three_times();
	for (int turn = 0; turn < 10; turn++) {
		assert_int_equal(next(), GEOPACE_WAIT);
		assert_int_equal(wait_ms, expected);
		now += expected;
		assert_int_equal(next(), GEOPACE_PROBE);
		assert_int_equal(next(), GEOPACE_WAIT); /* one alone */
		assert_true(wait_ms == UINT64_MAX);
		geopace_failed(&p, now, 1);
		expected = expected * 2 > GEOPACE_BACKOFF_MAX_MS ? GEOPACE_BACKOFF_MAX_MS
								 : expected * 2;
	}
	now += expected;
	assert_int_equal(next(), GEOPACE_PROBE);
	geopace_answered(&p, 1);
	assert_int_equal(p.state, GEOPACE_READY);
	fails_three_times();
	assert_int_equal(next(), GEOPACE_WAIT);
	assert_int_equal(wait_ms, GEOPACE_BACKOFF_MIN_MS); /* forgiven */
}

/* Five questions are under way when the service stops answering. */
static void test_stragglers(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++)
		assert_int_equal(next(), GEOPACE_GO);
	for (int i = 0; i < 5; i++)
		geopace_failed(&p, now, 0);
	assert_int_equal(next(), GEOPACE_WAIT);
	assert_int_equal(wait_ms, GEOPACE_BACKOFF_MIN_MS);
	geopace_answered(&p, 0);
	assert_int_equal(p.state, GEOPACE_DOWN);
	now += GEOPACE_BACKOFF_MIN_MS;
	assert_int_equal(next(), GEOPACE_PROBE);
	geopace_cancelled(&p, 1);
	assert_int_equal(next(), GEOPACE_PROBE);
}

static void test_limited(void **state)
{
	(void)state;
	assert_int_equal(next(), GEOPACE_GO);
	assert_int_equal(next(), GEOPACE_GO);
	assert_int_equal(next(), GEOPACE_GO);
	geopace_limited(&p, now, 120000, 0);
	geopace_limited(&p, now, 5000, 0); /* the longest counts */
	geopace_limited(&p, now, 0, 0);
	assert_int_equal(p.state, GEOPACE_LIMITED);
	assert_int_equal(next(), GEOPACE_WAIT);
	assert_int_equal(wait_ms, 120000);
	now += 119999;
	assert_int_equal(next(), GEOPACE_WAIT);
	now += 1;
	assert_int_equal(next(), GEOPACE_PROBE);
	geopace_answered(&p, 1);
	assert_int_equal(p.state, GEOPACE_READY);
	assert_int_equal(next(), GEOPACE_WAIT); /* and no burst at once */
	assert_int_equal(wait_ms, 1000);
}

static void test_limited_without_a_time(void **state)
{
	(void)state;
	assert_int_equal(next(), GEOPACE_GO);
	geopace_limited(&p, now, 0, 0);
	assert_int_equal(next(), GEOPACE_WAIT);
	assert_int_equal(wait_ms, GEOPACE_BACKOFF_MIN_MS);
	now += GEOPACE_BACKOFF_MIN_MS;
	assert_int_equal(next(), GEOPACE_PROBE);
	geopace_limited(&p, now, 0, 1);
	assert_int_equal(next(), GEOPACE_WAIT);
	assert_int_equal(wait_ms, 2 * GEOPACE_BACKOFF_MIN_MS);
	now += wait_ms;
	assert_int_equal(next(), GEOPACE_PROBE);
	geopace_failed(&p, now, 1);
	assert_int_equal(p.state, GEOPACE_DOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_bucket, setup),
		cmocka_unit_test_setup(test_reload, setup),
		cmocka_unit_test_setup(test_budget, setup),
		cmocka_unit_test_setup(test_budget_of_an_earlier_life, setup),
		cmocka_unit_test_setup(test_breaker, setup),
		cmocka_unit_test_setup(test_stragglers, setup),
		cmocka_unit_test_setup(test_limited, setup),
		cmocka_unit_test_setup(test_limited_without_a_time, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

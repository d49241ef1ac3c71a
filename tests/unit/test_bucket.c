/*
 * test_bucket.c -- cold lookups: one bucket per client, bounded, and true about when.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "collector/bucket.h"

static struct buckets *b;
static uint64_t forgotten, now;

static int set_up(void **state)
{
	(void)state;
	now = 1000;
	forgotten = 0;
	return buckets_open(&b);
}

static int tear_down(void **state)
{
	(void)state;
	buckets_close(&b);
	return 0;
}

static uint32_t take(const char *client, uint32_t rate, uint32_t burst)
{
	uint8_t addr[ADDR_LEN];

	assert_int_equal(addr_parse(addr, client), 0);
	return bucket_take(b, addr, rate, burst, now, &forgotten);
}

static void a_burst_then_the_rate(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++)
		assert_int_equal(take("192.0.2.1", 60, 5), 0);
	assert_int_equal(take("192.0.2.1", 60, 5), 1);
	now += 999;
	assert_int_equal(take("192.0.2.1", 60, 5), 1);
	now += 1;
	assert_int_equal(take("192.0.2.1", 60, 5), 0);
	assert_int_equal(take("192.0.2.1", 60, 5), 1);
	now += 3600000; /* never more than the burst */
	for (int i = 0; i < 5; i++)
		assert_int_equal(take("192.0.2.1", 60, 5), 0);
	assert_int_equal(take("192.0.2.1", 60, 5), 1);
}

/* A question that made no join after all. */
static void a_token_comes_back(void **state)
{
	uint8_t addr[ADDR_LEN];

	(void)state;
	assert_int_equal(addr_parse(addr, "192.0.2.1"), 0);
	bucket_give(b, addr, 2); /* of nobody yet */
	assert_int_equal(buckets_used(b), 0);
	assert_int_equal(take("192.0.2.1", 60, 2), 0);
	assert_int_equal(take("192.0.2.1", 60, 2), 0);
	assert_int_equal(take("192.0.2.1", 60, 2), 1);
	bucket_give(b, addr, 2);
	assert_int_equal(take("192.0.2.1", 60, 2), 0);
	assert_int_equal(take("192.0.2.1", 60, 2), 1);
	for (int i = 0; i < 9; i++)
		bucket_give(b, addr, 2); /* never more than the burst */
	assert_int_equal(take("192.0.2.1", 60, 2), 0);
	assert_int_equal(take("192.0.2.1", 60, 2), 0);
	assert_int_equal(take("192.0.2.1", 60, 2), 1);
	assert_int_equal(addr_parse(addr, "127.0.0.1"), 0);
	bucket_give(b, addr, 2);
	assert_int_equal(buckets_used(b), 1);
}

/* What is said is when there is a token: not a second before, and surely then. */
static void the_wait_is_true(void **state)
{
	static const uint32_t rates[] = {1, 2, 7, 59, 600};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(rates); i++) {
		const char *who = "192.0.2.1";
		uint32_t wait;

		while ((wait = take(who, rates[i], 1)) == 0)
			;
		if (wait > 1) {
			now += (wait - 1) * 1000 - 1;
			assert_int_not_equal(take(who, rates[i], 1), 0);
			now += 1001;
		} else {
			now += 1000;
		}
		assert_int_equal(take(who, rates[i], 1), 0);
	}
	assert_int_equal(take("192.0.2.2", 1, 1), 0);
	assert_int_equal(take("192.0.2.2", 1, 1), 60);
}

/* A refused question costs nothing: who hammers is served as soon as who waits. */
static void refusals_are_free(void **state)
{
	(void)state;
	assert_int_equal(take("192.0.2.1", 60, 1), 0);
	for (int i = 0; i < 999; i++, now++)
		assert_int_equal(take("192.0.2.1", 60, 1), 1);
	now++;
	assert_int_equal(take("192.0.2.1", 60, 1), 0);
}

static void each_client_has_its_own(void **state)
{
	(void)state;
	assert_int_equal(take("192.0.2.1", 60, 1), 0);
	assert_int_equal(take("192.0.2.2", 60, 1), 0);
	assert_int_equal(take("192.0.2.1", 60, 1), 1);
	assert_int_equal(take("2001:db8:1:2::1", 60, 1), 0);
	assert_int_equal(take("2001:db8:1:2:ffff::9", 60, 1), 1); /* the same /64 */
	assert_int_equal(take("2001:db8:1:3::1", 60, 1), 0);
	assert_int_equal(buckets_used(b), 4);
}

static void this_machine_has_none(void **state)
{
	static const uint8_t nobody[ADDR_LEN];

	(void)state;
	for (int i = 0; i < 100; i++) {
		assert_int_equal(take("127.0.0.1", 1, 1), 0);
		assert_int_equal(take("127.9.8.7", 1, 1), 0);
		assert_int_equal(take("::1", 1, 1), 0);
		assert_int_equal(bucket_take(b, nobody, 1, 1, now, &forgotten), 0);
	}
	assert_int_equal(buckets_used(b), 0);
}

static void rate_zero_is_no_limit(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(take("192.0.2.1", 0, 1), 0);
	assert_int_equal(buckets_used(b), 0);
}

static uint32_t take_n(uint32_t n)
{
	uint8_t addr[ADDR_LEN] = {0};

	addr[10] = addr[11] = 0xff;
	addr[12] = 192;
	addr[13] = (uint8_t)(n >> 16);
	addr[14] = (uint8_t)(n >> 8);
	addr[15] = (uint8_t)n;
	return bucket_take(b, addr, 60, 1, now, &forgotten);
}

/* Full: the one that was used longest ago goes, and only that one. */
static void the_table_is_bounded(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < BUCKET_CLIENTS; i++)
		assert_int_equal(take_n(i), 0);
	assert_int_equal(forgotten, 0);
	assert_int_equal(take_n(0), 1); /* it was used: number 1 is the oldest now */
	assert_int_equal(take_n(BUCKET_CLIENTS), 0);
	assert_int_equal(forgotten, 1);
	assert_int_equal(buckets_used(b), BUCKET_CLIENTS);
	assert_int_equal(take_n(0), 1);
	assert_int_equal(take_n(2), 1);
	assert_int_equal(forgotten, 1);
	assert_int_equal(take_n(1), 0); /* a new one */
	assert_int_equal(forgotten, 2);
	for (uint32_t i = 0; i < 100000; i++)
		assert_int_equal(take_n(1000000 + i), 0);
	assert_int_equal(buckets_used(b), BUCKET_CLIENTS);
}

static void a_reload_shrinks_a_full_bucket(void **state)
{
	(void)state;
	assert_int_equal(take("192.0.2.1", 60, 100), 0);
	assert_int_equal(take("192.0.2.1", 60, 1), 0);
	assert_int_equal(take("192.0.2.1", 60, 1), 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_burst_then_the_rate),
		T(a_token_comes_back),
		T(the_wait_is_true),
		T(refusals_are_free),
		T(each_client_has_its_own),
		T(this_machine_has_none),
		T(rate_zero_is_no_limit),
		T(the_table_is_bounded),
		T(a_reload_shrinks_a_full_bucket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

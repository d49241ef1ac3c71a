/* test_acepast.c -- who did not answer is remembered, for a day, up to a bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "collector/acepast.h"

static const uint8_t ID[IH_LEN] = {1}, OTHER[IH_LEN] = {2};
static struct acepast *a;

static int open_it(void **state)
{
	(void)state;
	return acepast_open(&a);
}

static int close_it(void **state)
{
	(void)state;
	acepast_close(&a);
	acepast_close(&a); /* NULL is fine */
	return 0;
}

static void addr_of(uint8_t out[ADDR_LEN], unsigned n)
{
	memset(out, 0, ADDR_LEN);
	out[12] = (uint8_t)(n >> 16);
	out[13] = (uint8_t)(n >> 8);
	out[14] = (uint8_t)n;
}

static void put(unsigned n, uint8_t fails, uint64_t now)
{
	struct acepast_peer p = {.fails = fails, .not_ms = now + 7};
	uint8_t addr[ADDR_LEN];

	addr_of(addr, n);
	acepast_put(a, ID, addr, 8621, &p, now);
}

/* Its failures; -1: it is not known. */
static int known(const uint8_t *id, unsigned n, uint16_t port, uint64_t now)
{
	struct acepast_peer p;
	uint8_t addr[ADDR_LEN];

	addr_of(addr, n);
	return acepast_get(a, id, addr, port, &p, now) ? p.fails : -1;
}

static void test_each_endpoint_of_each_swarm(void **state)
{
	uint8_t addr[ADDR_LEN];

	(void)state;
	put(1, 3, 1000);
	assert_int_equal(known(ID, 1, 8621, 2000), 3);
	assert_int_equal(known(ID, 1, 8622, 2000), -1);
	assert_int_equal(known(ID, 2, 8621, 2000), -1);
	assert_int_equal(known(OTHER, 1, 8621, 2000), -1);
	put(1, 4, 3000);
	assert_int_equal(known(ID, 1, 8621, 4000), 4);
	addr_of(addr, 1);
	acepast_drop(a, ID, addr, 8621);
	acepast_drop(a, ID, addr, 8621);
	assert_int_equal(known(ID, 1, 8621, 4000), -1);
}

/* Each time that it is known again it is kept for another day. */
static void test_a_day(void **state)
{
	uint64_t now = 1000;

	(void)state;
	put(1, 1, now);
	for (int i = 0; i < 3; i++) {
		now += ACEPAST_MS - 1;
		assert_int_equal(known(ID, 1, 8621, now), 1);
	}
	assert_int_equal(known(ID, 1, 8621, now + ACEPAST_MS), -1);
	assert_int_equal(known(ID, 1, 8621, now), -1);
}

static void test_the_longest_unused_makes_room(void **state)
{
	(void)state;
	for (unsigned n = 0; n < ACEPAST_MAX; n++)
		put(n, 1, 1000);
	assert_int_equal(acepast_lost(a), 0);
	assert_int_equal(known(ID, 0, 8621, 2000), 1); /* used just now */
	put(ACEPAST_MAX, 1, 2000);
	assert_int_equal(known(ID, 0, 8621, 2000), 1);
	assert_int_equal(known(ID, 1, 8621, 2000), -1);
	assert_int_equal(acepast_lost(a), 1);
	assert_int_equal(acepast_lost(a), 0);
	put(ACEPAST_MAX + 1, 1, 1000 + ACEPAST_MS); /* whose day was over anyhow */
	assert_int_equal(acepast_lost(a), 0);
}

static void test_nobody_keeps_it(void **state)
{
	struct acepast_peer p = {.fails = 1};
	uint8_t addr[ADDR_LEN] = {0};

	(void)state;
	acepast_put(NULL, ID, addr, 1, &p, 1);
	assert_int_equal(acepast_get(NULL, ID, addr, 1, &p, 1), 0);
	acepast_drop(NULL, ID, addr, 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, open_it, close_it)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_each_endpoint_of_each_swarm),
		TEST(test_a_day),
		TEST(test_the_longest_unused_makes_room),
		TEST(test_nobody_keeps_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_cold.c -- whose token comes back, and whose does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "collector/coll.h"

#define BURST 2

static struct coll *c;

static int begin(void **state)
{
	(void)state;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -1;
	conf_defaults(&c->kid.conf);
	c->kid.conf.swarm_cold_rate = 1;
	c->kid.conf.swarm_cold_burst = BURST;
	return buckets_open(&c->buckets);
}

static int end(void **state)
{
	(void)state;
	buckets_close(&c->buckets);
	free(c);
	return 0;
}

static struct shm_job job(uint8_t id, const char *client)
{
	struct shm_job j = {.kind = JOB_PEERS};

	j.id[0] = id;
	assert_int_equal(addr_parse(j.client, client), 0);
	return j;
}

/* 1: there was a token. */
static int pay(const struct shm_job *j)
{
	if (jobs_cold_s(c, j) != 0)
		return 0;
	cold_paid(c, j);
	return 1;
}

static void test_a_join_is_what_it_costs(void **state)
{
	struct shm_job a = job(1, "203.0.113.1"), b = job(2, "203.0.113.1");
	struct shm_job d = job(3, "203.0.113.1");

	(void)state;
	assert_int_equal(pay(&a), 1);
	assert_int_equal(pay(&b), 1);
	assert_int_equal(pay(&d), 0);
	cold_end(c, a.id, 1);
	assert_int_equal(pay(&d), 0);
	cold_end(c, b.id, 0); /* nothing was joined for it */
	assert_int_equal(pay(&d), 1);
	assert_int_equal(c->ncold, 1);
	cold_end(c, b.id, 0); /* once */
	cold_end(c, d.id, 1);
	cold_end(c, d.id, 0);
	assert_int_equal(pay(&d), 0);
	assert_int_equal(c->ncold, 0);
}

static void test_it_comes_back_to_who_paid(void **state)
{
	struct shm_job a = job(1, "203.0.113.1"), b = job(1, "203.0.113.2");

	(void)state;
	for (int i = 0; i < BURST; i++) {
		assert_int_equal(pay(&a), 1);
		cold_end(c, a.id, 1);
	}
	assert_int_equal(pay(&b), 1);
	cold_end(c, b.id, 0);
	assert_int_equal(pay(&a), 0);
	for (int i = 0; i < BURST; i++)
		assert_int_equal(pay(&b), 1);
	assert_int_equal(pay(&b), 0);
	cold_end(c, a.id, 0); /* the same id: both of them */
	assert_int_equal(c->ncold, 0);
	for (int i = 0; i < BURST; i++)
		assert_int_equal(pay(&b), 1);
}

static void test_a_full_table(void **state)
{
	struct shm_job j = job(0, "203.0.113.1");

	(void)state;
	for (uint32_t i = 0; i < COLD_MAX + 5; i++) {
		memcpy(j.id, &i, sizeof(i));
		cold_paid(c, &j);
	}
	assert_int_equal(c->ncold, COLD_MAX);
	for (uint32_t i = 0; i < COLD_MAX + 5; i++) {
		memcpy(j.id, &i, sizeof(i));
		cold_end(c, j.id, 0);
	}
	assert_int_equal(c->ncold, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(test_a_join_is_what_it_costs),
		T(test_it_comes_back_to_who_paid),
		T(test_a_full_table),
	};

	return cmocka_run_group_tests_name("cold", tests, NULL, NULL);
}

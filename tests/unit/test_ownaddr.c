/* test_ownaddr.c -- which addresses may be ours as peers see them (collector/own.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "collector/coll.h"

static struct coll c;

static int fresh(void **state)
{
	(void)state;
	memset(&c, 0, sizeof(c));
	return 0;
}

static void learn(const char *text)
{
	uint8_t addr[ADDR_LEN];

	assert_int_equal(addr_parse(addr, text), 0);
	own_learn(&c, addr, 0);
}

static int may_be(const char *text, const char *from)
{
	uint8_t addr[ADDR_LEN], peer[ADDR_LEN];

	assert_int_equal(addr_parse(addr, text), 0);
	assert_int_equal(addr_parse(peer, from), 0);
	return own_may_be(&c, addr, peer);
}

/* Behind a NAT or a VPN nobody knows at first what the world calls us. */
static void test_anything_while_nothing_is_known(void **state)
{
	(void)state;
	assert_true(may_be("1.1.1.1", "9.9.9.9"));
	learn("10.8.0.2");
	learn("2606:4700::1");
	assert_true(may_be("1.1.1.1", "9.9.9.9"));
}

static void test_ours_alone_once_it_is(void **state)
{
	(void)state;
	learn("10.8.0.2");
	learn("1.1.1.1");
	assert_true(may_be("1.1.1.1", "9.9.9.9"));
	assert_false(may_be("1.1.1.2", "9.9.9.9"));
	assert_true(
		may_be("2606:4700::1", "9.9.9.9")); /* the other family is not known */
	learn("2606:4700::1");
	assert_false(may_be("2606:4700::2", "2606:4700::9"));
	learn("8.8.8.8"); /* another one of ours */
	assert_true(may_be("1.1.1.1", "9.9.9.9"));
	assert_true(may_be("8.8.8.8", "9.9.9.9"));
}

static void test_a_private_address_is_seen_from_nearby(void **state)
{
	(void)state;
	learn("1.1.1.1");
	assert_true(may_be("127.0.0.1", "127.0.3.4"));
	assert_true(may_be("192.168.1.5", "192.168.1.6"));
	assert_false(may_be("192.168.1.5", "9.9.9.9"));
	assert_false(may_be("::", "9.9.9.9"));
}

#define TEST(fn) cmocka_unit_test_setup(fn, fresh)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_anything_while_nothing_is_known),
		TEST(test_ours_alone_once_it_is),
		TEST(test_a_private_address_is_seen_from_nearby),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

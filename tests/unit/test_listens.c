/*
 * test_listens.c -- what /health says of where we listen, and which failures heal alone.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "collector/listens.h"

static int fails(struct listens *l, const char *at, int why, uint64_t now)
{
	struct lt_event e = {.kind = LT_LISTEN_FAILED, .n = why};

	assert_int_equal(addr_endpoint(e.addr, &e.port, at), 0);
	snprintf(e.text, sizeof e.text, "TCP %s: errno %d", at, why);
	return listens_fail(l, &e, now);
}

static void expect_told(const char *listen, const char *device, const char *join,
			const char *visit)
{
	static struct conf c;
	char out[LISTENS_TEXT];

	conf_defaults(&c);
	snprintf(c.swarm_listen, sizeof c.swarm_listen, "%s", listen);
	snprintf(c.swarm_interface, sizeof c.swarm_interface, "%s", device);
	listens_interfaces(out, &c, 0);
	assert_string_equal(out, join);
	listens_interfaces(out, &c, 1);
	assert_string_equal(out, visit);
}

static void what_libtorrent_is_told(void **state)
{
	(void)state;
	expect_told("0.0.0.0:42069, [::]:42069", "", "0.0.0.0:42069,[::]:42069",
		    "0.0.0.0:0,[::]:0");
	expect_told("0.0.0.0:42069,[::]:42069,127.0.0.1:1", "tun0", "tun0:42069,tun0:1",
		    "tun0:0");
	expect_told("192.0.2.1:1,192.0.2.1:2,eth0:3", "",
		    "192.0.2.1:1,192.0.2.1:2,eth0:3", "192.0.2.1:0,eth0:0");
	expect_told("", "", "", "0.0.0.0:0,[::]:0");
	expect_told("", "tun0", "", "tun0:0");
}

/* As many as swarm.listen has room for. */
static void nothing_is_left_out(void **state)
{
	static struct conf c;
	char out[LISTENS_TEXT], last[32];
	int n = 0;

	(void)state;
	conf_defaults(&c);
	c.swarm_listen[0] = '\0';
	snprintf(c.swarm_interface, sizeof c.swarm_interface, "a23456789012345");
	for (size_t len = 0; len + 5 < sizeof c.swarm_listen;
	     len = strlen(c.swarm_listen))
		snprintf(c.swarm_listen + len, sizeof c.swarm_listen - len, ":%d,", ++n);
	snprintf(last, sizeof last, "a23456789012345:%d", n);
	listens_interfaces(out, &c, 0);
	assert_string_equal(out + strlen(out) - strlen(last), last);
}

static int stands(struct listens *l, const char *at)
{
	uint8_t addr[ADDR_LEN];
	uint16_t port;

	assert_int_equal(addr_endpoint(addr, &port, at), 0);
	return listens_stand(l, addr, port);
}

static void check(const struct listens *l, uint16_t port, const char *why)
{
	const char *got = listens_why(l);

	assert_int_equal(l->port, port);
	if (!why)
		assert_null(got);
	else
		assert_string_equal(got, why);
}

static void a_port_that_is_taken_for_a_while(void **state)
{
	struct listens l = {0};

	(void)state;
	assert_true(fails(&l, "192.0.2.1:7000", EADDRINUSE, 1000));
	check(&l, 0, "TCP 192.0.2.1:7000: errno 98");
	assert_false(fails(&l, "192.0.2.1:7000", EADDRINUSE, 1000));
	for (uint64_t now = 3000; now < 60000; now += 4000) {
		listens_ask(&l, 1, now);
		check(&l, 0, "TCP 192.0.2.1:7000: errno 98"); /* it does not flicker */
		assert_false(fails(&l, "192.0.2.1:7000", EADDRINUSE, now + 1));
		assert_false(listens_tick(&l, now + 1500));
		check(&l, 0, "TCP 192.0.2.1:7000: errno 98");
	}
	listens_ask(&l, 1, 60000);
	assert_true(stands(&l, "192.0.2.1:7000"));
	check(&l, 7000, NULL);
	assert_false(stands(&l, "192.0.2.1:7000")); /* UDP, too */
}

static void another_port_is_taken(void **state)
{
	struct listens l = {0};

	(void)state;
	assert_false(stands(&l, "192.0.2.1:7000"));
	listens_ask(&l, 1, 5000);
	check(&l, 0, NULL);
	assert_true(fails(&l, "192.0.2.1:7001", EADDRINUSE, 5001));
	check(&l, 0, "TCP 192.0.2.1:7001: errno 98");
	listens_ask(&l, 1, 6000);
	assert_true(fails(&l, "192.0.2.1:7002", EADDRINUSE, 6001)); /* news */
	check(&l, 0, "TCP 192.0.2.1:7002: errno 98");
}

static void one_of_two(void **state)
{
	struct listens l = {0};

	(void)state;
	assert_true(fails(&l, "192.0.2.1:7000", EADDRINUSE, 1000));
	assert_false(stands(&l, "192.0.2.2:7000"));
	check(&l, 7000, "TCP 192.0.2.1:7000: errno 98");
	/* The first address is gone for good: nobody says a word of it. */
	listens_ask(&l, 0, 3000);
	assert_false(listens_tick(&l, 3999));
	check(&l, 7000, "TCP 192.0.2.1:7000: errno 98");
	assert_false(listens_tick(&l, 4000));
	check(&l, 7000, NULL);
}

static void addresses_that_heal_alone_are_quiet(void **state)
{
	struct listens l = {0};

	(void)state;
	assert_false(fails(&l, "[fe80::1]:7000", EADDRINUSE, 1000));
	assert_false(fails(&l, "[2001:db8::1]:7000", EADDRNOTAVAIL, 1000));
	check(&l, 0, "TCP [2001:db8::1]:7000: errno 99"); /* better than nothing */
	assert_false(stands(&l, "[fe80::1]:7000"));
	check(&l, 0, "TCP [2001:db8::1]:7000: errno 99"); /* nobody's way to us */
	assert_false(stands(&l, "192.0.2.2:7000"));
	check(&l, 7000, NULL);
	assert_false(stands(&l, "[2001:db8::1]:7000"));
	assert_false(listens_tick(&l, 900000));
	/* A link-local one is not tried again, and hides nothing that is. */
	assert_false(fails(&l, "[fe80::1]:7000", EADDRNOTAVAIL, 900000));
	assert_false(listens_tick(&l, 905000));
	assert_false(fails(&l, "[2001:db8::1]:7000", EADDRNOTAVAIL, 910000));
	assert_false(fails(&l, "[fe80::2]:7000", EADDRNOTAVAIL, 910000));
	assert_true(listens_tick(&l, 910000 + LISTENS_DAD_MS));
	listens_ask(&l, 0, 920000);
	assert_false(fails(&l, "[fe80::2]:7000", EADDRNOTAVAIL, 920000));
	assert_false(stands(&l, "[2001:db8::1]:7000"));
	check(&l, 7000, NULL);
}

static void an_address_that_is_not_ours_is_told_in_the_end(void **state)
{
	struct listens l = {0};

	(void)state;
	assert_false(fails(&l, "[2001:db8::1]:7000", EADDRNOTAVAIL, 1000));
	assert_false(stands(&l, "192.0.2.2:7000"));
	assert_false(listens_tick(&l, 999 + LISTENS_DAD_MS));
	assert_true(listens_tick(&l, 1000 + LISTENS_DAD_MS));
	listens_ask(&l, 0, 11000);
	assert_false(listens_tick(&l, 11500)); /* it is being tried */
	assert_true(fails(&l, "[2001:db8::1]:7000", EADDRNOTAVAIL, 11501));
	check(&l, 7000, "TCP [2001:db8::1]:7000: errno 99");
	for (uint64_t now = 20000; now < 100000; now += 10000) {
		listens_ask(&l, 0, now);
		assert_false(fails(&l, "[2001:db8::1]:7000", EADDRNOTAVAIL, now + 1));
		assert_false(listens_tick(&l, now + 2000));
		check(&l, 7000, "TCP [2001:db8::1]:7000: errno 99");
	}
	assert_true(stands(&l, "[2001:db8::1]:7000"));
	check(&l, 7000, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_libtorrent_is_told),
		cmocka_unit_test(nothing_is_left_out),
		cmocka_unit_test(a_port_that_is_taken_for_a_while),
		cmocka_unit_test(another_port_is_taken),
		cmocka_unit_test(one_of_two),
		cmocka_unit_test(addresses_that_heal_alone_are_quiet),
		cmocka_unit_test(an_address_that_is_not_ours_is_told_in_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

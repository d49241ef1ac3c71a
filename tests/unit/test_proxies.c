/* test_proxies.c -- whose word about the client is believed, and which word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "worker/proxies.h"

static char err[ERRLEN];

static void test_the_key(void **state)
{
	static const char *const good[] = {"",
					   "unix:",
					   "127.0.0.1",
					   "::1",
					   "10.0.0.0/8, fd00::/8,unix:",
					   "0.0.0.0/0",
					   "::/0",
					   "192.0.2.1/32",
					   "2001:db8::1/128"};
	static const char *const bad[] =
		{",",           "proxy",       "unix",
		 "unix:/run/x", "10.0.0.0/",   "10.0.0.0/33",
		 "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0/8",
		 "/8",          "fd00::/129",  "fd00::/0128",
		 "[fd00::1]",   "10.0.0.1:80", "10.0.0.1,,10.0.0.2"};
	struct proxies p;

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(good); i++)
		if (proxies_parse(&p, good[i], err) != 0)
			fail_msg("'%s': %s", good[i], err);
	for (size_t i = 0; i < PS_ARRAY_LEN(bad); i++)
		if (proxies_parse(&p, bad[i], err) != -1)
			fail_msg("'%s' was taken", bad[i]);
}

static void test_the_key_is_bounded(void **state)
{
	static const char four[] = "192.0.2.1,::1,10.0.0.0/8,::/0", more[] = ",192.0.2.2";
	char list[160];
	struct proxies p;

	(void)state;
	snprintf(list, sizeof list, "%s,%s,%s,%s,unix:", four, four, four, four);
	assert_int_equal(PROXIES_MAX, 4 * 4);
	assert_int_equal(proxies_parse(&p, list, err), 0);
	assert_int_equal(p.n, PROXIES_MAX);
	memcpy(list + strlen(list), more, sizeof more);
	assert_int_equal(proxies_parse(&p, list, err), -1);
}

/* Trusting `list`, a request of `from` ("": over a unix socket) with these header lines. */
static const char *client(const char *list, const char *from, const char *head)
{
	static char text[ADDR_TEXT_MAX];
	uint8_t a[ADDR_LEN] = {0};
	struct proxies p;
	char exact[512]; /* its end is the end: a sanitizer sees a step over it */

	assert_int_equal(proxies_parse(&p, list, err), 0);
	assert_true(!from[0] || addr_parse(a, from) == 0);
	memcpy(exact, head, strlen(head));
	proxies_client(&p, a, exact, strlen(head));
	addr_text(text, a);
	return text;
}

#define XFF "X-Forwarded-For: "
static const char forged[] = "Host: a\r\n" XFF "192.0.2.66\r\n";

static void test_only_the_trusted_are_believed(void **state)
{
	(void)state;
	assert_string_equal(client("", "127.0.0.1", forged), "127.0.0.1");
	assert_string_equal(client("127.0.0.2", "127.0.0.1", forged), "127.0.0.1");
	assert_string_equal(client("127.0.0.0/30", "127.0.0.1", forged), "192.0.2.66");
	assert_string_equal(client("127.0.0.0/30", "127.0.0.4", forged), "127.0.0.4");
	assert_string_equal(client("0.0.0.0/0", "::1", forged), "::1");
	assert_string_equal(client("fd00::/7", "fdff::1", forged), "192.0.2.66");
	assert_string_equal(client("fd00::/7", "fe00::1", forged), "fe00::1");
	assert_string_equal(client("::/0", "198.51.100.1", forged), "192.0.2.66");
	assert_string_equal(client("127.0.0.1", "", forged), "::");
	assert_string_equal(client("unix:", "", forged), "192.0.2.66");
	assert_string_equal(client("unix:", "127.0.0.1", forged), "127.0.0.1");
}

static void test_the_last_that_is_no_proxy(void **state)
{
	static const char *const p = "10.0.0.0/8";

	(void)state;
	assert_string_equal(client(p, "10.0.0.1", ""), "10.0.0.1");
	assert_string_equal(client(p, "10.0.0.1", "Host: a\r\nA: b\r\n"), "10.0.0.1");
	assert_string_equal(client(p, "10.0.0.1", XFF "192.0.2.1, 192.0.2.2\r\n"),
			    "192.0.2.2");
	assert_string_equal(client(p, "10.0.0.1",
				   XFF "192.0.2.1,192.0.2.2 ,\t10.9.9.9\r\n"),
			    "192.0.2.2");
	assert_string_equal(client(p, "10.0.0.1", XFF "10.0.0.2, 10.0.0.3\r\n"),
			    "10.0.0.2");
	/* Two lines are one list. */
	assert_string_equal(client(p, "10.0.0.1",
				   XFF "192.0.2.1\r\nA: b\r\n" XFF "192.0.2.2\r\n"),
			    "192.0.2.2");
	assert_string_equal(client(p, "10.0.0.1",
				   "x-forwarded-for: 192.0.2.1\r\n" XFF "10.0.0.2\r\n"),
			    "192.0.2.1");
	assert_string_equal(client(p, "10.0.0.1",
				   "X-Forwarded-Fo: 192.0.2.1\r\n"
				   "X-Forwarded-Forr: 192.0.2.1\r\n"),
			    "10.0.0.1");
}

static void test_spellings(void **state)
{
	static const struct {
		const char *value, *is;
	} list[] = {
		{"192.0.2.1:4711", "192.0.2.1"},
		{"2001:db8::7", "2001:db8::7"},
		{"[2001:db8::7]", "2001:db8::7"},
		{"[2001:db8::7]:80", "2001:db8::7"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		/* Malformed: nobody beyond is believed. */
		{"", "10.0.0.1"},
		{",", "10.0.0.1"},
		{"192.0.2.1,", "10.0.0.1"},
		{"192.0.2.1, unknown", "10.0.0.1"},
		{"192.0.2.1, unknown, 10.0.0.2", "10.0.0.2"},
		{"192.0.2.1 192.0.2.2", "10.0.0.1"},
		{"[192.0.2.1", "10.0.0.1"},
		{"[]", "10.0.0.1"},
		{"[", "10.0.0.1"},
		{"host.example", "10.0.0.1"},
		{"192.0.2.1:99999", "10.0.0.1"},
		{"1234567890123456789012345678901234567890123456789012345678901234567890",
		 "10.0.0.1"},
	};
	char head[256];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(list); i++) {
		snprintf(head, sizeof head, XFF "%s\r\n", list[i].value);
		assert_string_equal(client("10.0.0.0/8", "10.0.0.1", head), list[i].is);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_key),
		cmocka_unit_test(test_the_key_is_bounded),
		cmocka_unit_test(test_only_the_trusted_are_believed),
		cmocka_unit_test(test_the_last_that_is_no_proxy),
		cmocka_unit_test(test_spellings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

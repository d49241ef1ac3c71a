/*
 * test_redis_url.c -- the forms of redis.url, and what is refused with which words.
 * The connection itself is tested end to end, against real servers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "collector/redis.h"

static void good(const char *url, int tcp, const char *host, int port, int db,
		 const char *pw)
{
	struct redis_target t;
	char err[ERRLEN] = "";

	if (redis_parse_url(&t, url, err) != 0)
		fail_msg("%s: %s", url, err);
	assert_int_equal(t.tcp, tcp);
	assert_string_equal(t.host, host);
	assert_int_equal(t.port, port);
	assert_int_equal(t.db, db);
	assert_string_equal(t.password, pw);
}

static void test_good(void **state)
{
	(void)state;
	good("redis://localhost", 1, "localhost", 6379, 0, "");
	good("redis://10.1.2.3:7000/5", 1, "10.1.2.3", 7000, 5, "");
	good("redis://:p@ss:w@cache:1/0", 1, "cache", 1, 0, "p@ss:w");
	good("redis://:p%40ss%2Fw@cache:1/0", 1, "cache", 1, 0, "p@ss/w");
	good("redis://:%25%3a%3A%c3%BC@cache", 1, "cache", 6379, 0, "%::\xc3\xbc");
	good("redis://default:pw@cache/2", 1, "cache", 6379, 2, "pw");
	good("redis://:@cache", 1, "cache", 6379, 0, "");
	good("redis://[::1]:6380", 1, "::1", 6380, 0, "");
	good("redis://[fe80::2]/3", 1, "fe80::2", 6379, 3, "");
	good("redis://host/", 1, "host", 6379, 0, "");
	good("unix:///run/redis.sock", 0, "/run/redis.sock", 0, 0, "");
	good("unix:///run/redis.sock?db=2", 0, "/run/redis.sock", 0, 2, "");
}

static void bad(const char *url, const char *word)
{
	struct redis_target t;
	char err[ERRLEN] = "";

	assert_int_equal(redis_parse_url(&t, url, err), -1);
	if (!strstr(err, word))
		fail_msg("%s: \"%s\" does not name %s", url, err, word);
}

static void test_bad(void **state)
{
	char url[700];

	(void)state;
	bad("rediss://host", "stunnel");
	bad("http://host", "redis://");
	bad("redis://", "host is missing");
	bad("redis://:6379", "host is missing");
	bad("redis://host:0", "port");
	bad("redis://host:65536", "port");
	bad("redis://host:12x", "port");
	bad("redis://[::1", "bracket");
	bad("redis://host/x", "database");
	bad("redis://host/99999", "database");
	bad("redis://user:pw@host", "no user but default");
	bad("redis://Default:pw@host", "no user but default");
	bad("redis://pw@host", "only a password");
	bad("redis://:50%@host", "%25");
	bad("redis://:5%4@host", "%25");
	bad("redis://:5%zz@host", "%25");
	bad("redis://:5%0g@host", "%25");
	bad("redis://:5%00@host", "%25");
	bad("unix://relative", "absolute");
	bad("unix:///s?x=1", "?db=N");
	bad("unix:///s?db=", "?db=N");
	snprintf(url, sizeof(url), "redis://%0600d", 1);
	bad(url, "too long");
	snprintf(url, sizeof(url), "unix:///%0600d", 1);
	bad(url, "path");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_good),
					   cmocka_unit_test(test_bad)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

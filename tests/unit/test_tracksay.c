/*
 * test_tracksay.c -- no passkey leaves us, and no word is said too often.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "collector/lt.h"
#include "collector/tracksay.h"

static void a_site_has_no_secret(void **state)
{
	static const char *const want[][2] = {
		{"udp://tracker.example:1337/announce", "udp://tracker.example:1337"},
		{"https://t.example/0123456789abcdef/announce", "https://t.example"},
		{"http://t.example:80?passkey=secret", "http://t.example:80"},
		{"http://t.example#secret", "http://t.example"},
		{"http://me:secret@t.example:8080/a@b", "http://t.example:8080"},
		{"http://me:se@cret@t.example/", "http://t.example"},
		{"udp://[2001:db8::1]:6969/announce", "udp://[2001:db8::1]:6969"},
		{"http://a b\x1b\xff/", "http://a?b??"},
		{"not a url/secret", "unknown"},
		{"://x", "unknown"},
		{"", "unknown"},
	};
	char out[TRACKER_SITE_MAX], url[400] = "http://";

	(void)state;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		tracker_site(want[i][0], out);
		assert_string_equal(out, want[i][1]);
	}
	memset(url + 7, 'x', sizeof(url) - 8);
	tracker_site(url, out);
	assert_int_equal(strlen(out), TRACKER_SITE_MAX - 1);
}

static void a_tracker_is_found_by_its_hash(void **state)
{
	static const char list[] = "udp://a:1/secret, http://a:1/secret,http://b:2/x";
	char out[TRACKER_SITE_MAX];

	(void)state;
	assert_int_equal(tracker_hash("udp://a:1/secret") & LT_TRACKER_UDP,
			 LT_TRACKER_UDP);
	assert_int_equal(tracker_hash("http://a:1/secret") & LT_TRACKER_UDP, 0);
	tracker_find(list, tracker_hash("http://b:2/x"), out);
	assert_string_equal(out, "http://b:2");
	tracker_find(list, tracker_hash("http://a:1/secret"), out);
	assert_string_equal(out, "http://a:1");
	tracker_find(list, tracker_hash("http://b:2/y"), out);
	assert_string_equal(out, "unknown");
	tracker_find("", 4, out);
	assert_string_equal(out, "unknown");
}

static void a_word_is_said_once_in_a_while(void **state)
{
	static struct tracksay t;
	uint64_t now = 5000;

	(void)state;
	assert_true(tracksay_is_news(&t, 7, "banned", now));
	assert_false(tracksay_is_news(&t, 7, "banned", now));
	assert_true(tracksay_is_news(&t, 8, "banned", now));
	assert_true(tracksay_is_news(&t, 7, "unregistered torrent", now));
	now += TRACKSAY_GAP_MS - 1;
	assert_false(tracksay_is_news(&t, 7, "banned", now));
	now++;
	assert_true(tracksay_is_news(&t, 7, "banned", now));
	assert_false(tracksay_is_news(&t, 7, "banned", now));
}

/* A full table forgets what was said longest ago. */
static void a_full_table_makes_room(void **state)
{
	static struct tracksay t;
	char text[16];

	(void)state;
	for (uint32_t i = 0; i <= TRACKSAY_MAX; i++) {
		snprintf(text, sizeof(text), "%u", i);
		assert_true(tracksay_is_news(&t, 7, text, 1000 + i));
	}
	assert_false(tracksay_is_news(&t, 7, "1", 2000));
	assert_true(tracksay_is_news(&t, 7, "0", 2000));
	assert_true(tracksay_is_news(&t, 7, "1", 2001));
}

static void trackers_are_counted_once_each(void **state)
{
	static const struct {
		const char *list;
		uint32_t max, count, left_out;
	} want[] = {
		{"", 20, 0, 0},
		{"udp://a:1", 20, 1, 0},
		{" udp://a:1 ,udp://b:1,udp://a:1,", 20, 2, 0},
		{"udp://a:1,udp://b:1,udp://c:1,udp://b:1", 2, 2, 1},
		{"udp://a:1,udp://b:1", 0, 0, 2},
	};
	static struct conf c;

	(void)state;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		snprintf(c.swarm_trackers, sizeof(c.swarm_trackers), "%s", want[i].list);
		c.swarm_max_trackers = want[i].max;
		assert_int_equal(lt_tracker_count(&c), want[i].count);
		assert_int_equal(lt_trackers_left_out(&c), want[i].left_out);
	}
}

static void routers_are_read_one_by_one(void **state)
{
	static const struct {
		const char *host;
		uint16_t port;
	} want[] = {{"a.example", 6881}, {"::1", 25401}, {"b", 0}, {"c", 0}, {"d", 0}};
	const char *at = " a.example:6881, [::1]:25401,b,c:0,d:65536";
	char host[LT_ROUTER_MAX];
	uint16_t port;

	(void)state;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		at = lt_router_next(at, host, &port);
		assert_non_null(at);
		assert_string_equal(host, want[i].host);
		assert_int_equal(port, want[i].port);
	}
	assert_null(lt_router_next(at, host, &port));
	assert_null(lt_router_next("", host, &port));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_site_has_no_secret),
		cmocka_unit_test(a_tracker_is_found_by_its_hash),
		cmocka_unit_test(a_word_is_said_once_in_a_while),
		cmocka_unit_test(a_full_table_makes_room),
		cmocka_unit_test(trackers_are_counted_once_each),
		cmocka_unit_test(routers_are_read_one_by_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

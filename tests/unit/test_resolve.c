/*
 * test_resolve.c -- what is believed of an engine's words, and what is kept of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collector/resolve.h"

#define HASH "0123456789abcdef0123456789ABCDEF01234567"
#define OTHER "fedcba9876543210fedcba987654321001234567"
#define NOW 1795245661000ull

static const uint8_t ID[IH_LEN] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd,
				   0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab,
				   0xcd, 0xef, 0x01, 0x23, 0x45, 0x67};

/* enum swarm_resolved, or -1: makes no sense. */
static int how(const char *body)
{
	struct resolved r;
	char err[ERRLEN] = "";

	if (resolve_parse(&r, ID, body, strlen(body), err) != 0) {
		assert_true(err[0] != '\0');
		return -1;
	}
	assert_int_equal(memcmp(r.infohash, ID, IH_LEN) == 0, r.how != RESOLVED_ENGINE);
	return r.how;
}

static void test_answers(void **state)
{
	(void)state;
	assert_int_equal(how("{\"result\":{\"infohash\":\"" OTHER
			     "\",\"content_id\":null,\"title\":\"x\",\"is_live\":1},"
			     "\"error\":null}"),
			 RESOLVED_ENGINE);
	assert_int_equal(how("{\"result\":{\"infohash\":\"" HASH "\"}}"), RESOLVED_SAME);
	assert_int_equal(how("{\"result\":null,\"error\":\"cannot load\"}"),
			 RESOLVED_NOT_FOUND);
	assert_int_equal(how("{\"error\":\"\"}"), RESOLVED_NOT_FOUND);
	assert_int_equal(how("{\"result\":{\"transport_type\":\"hls\"},\"error\":null}"),
			 RESOLVED_NOT_FOUND);
}

static void test_titles(void **state)
{
	static const struct {
		const char *json, *title;
	} want[] = {
		{"", ""},
		{",\"title\":null", ""},
		{",\"title\":7", ""},
		{",\"title\":\"\"", ""},
		{",\"title\":\"A \\\"b\\\" \\u00e9\"", "A \"b\" \xc3\xa9"},
		{",\"title\":\"a\\u001b[2J\\u202e\\n\xff\"", "a?[2J???"},
	};
	struct resolved r;
	char text[400], err[ERRLEN];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(want); i++) {
		snprintf(text, sizeof(text), "{\"result\":{\"infohash\":\"%s\"%s}}",
			 OTHER, want[i].json);
		memset(&r, 'x', sizeof(r));
		assert_int_equal(resolve_parse(&r, ID, text, strlen(text), err), 0);
		assert_string_equal(r.title, want[i].title);
	}
	snprintf(text, sizeof(text), "{\"result\":{\"title\":\"of no swarm\"}}");
	assert_int_equal(resolve_parse(&r, ID, text, strlen(text), err), 0);
	assert_string_equal(r.title, "");
	resolve_set_title(&r, NULL);
	assert_string_equal(r.title, "");
}

/* Of one that is too long the end goes, never half of a character. */
static void test_a_long_title_is_cut(void **state)
{
	struct resolved r;
	char text[400];

	(void)state;
	for (size_t lead = 0; lead < 4; lead++) {
		size_t n;

		memset(text, 'a', sizeof(text));
		for (size_t at = lead; at + 3 < sizeof(text); at += 3)
			memcpy(text + at, "\xe4\xb8\x96", 3);
		text[sizeof(text) - 1] = '\0';
		resolve_set_title(&r, text);
		n = strlen(r.title);
		assert_true(n > RESOLVE_TITLE_MAX - 4 && n < RESOLVE_TITLE_MAX);
		assert_int_equal((n - lead) % 3, 0);
		assert_memory_equal(r.title, text, n);
	}
	memset(text, 0x80, sizeof(text) - 1); /* nothing but middles of characters */
	resolve_set_title(&r, text);
	assert_string_equal(r.title, "");
	memset(text, 'a', RESOLVE_TITLE_MAX - 1);
	text[RESOLVE_TITLE_MAX - 1] = '\0';
	resolve_set_title(&r, text);
	assert_string_equal(r.title, text);
}

static void test_what_makes_no_sense(void **state)
{
	static const char *const bad[] = {
		"",
		"null",
		"[]",
		"{",
		"{}",
		"\"" OTHER "\"",
		"{\"result\":null,\"error\":null}",
		"{\"result\":[],\"error\":null}",
		"{\"result\":{\"infohash\":7}}",
		"{\"result\":{\"infohash\":\"\"}}",
		"{\"result\":{\"infohash\":\"" OTHER "0\"}}",
		"{\"result\":{\"infohash\":\"g123456789abcdef0123456789abcdef01234567\"}}",
		"{\"result\":{\"infohash\":\"0000000000000000000000000000000000000000\"}}",
		"{\"result\":{\"infohash\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}}",
		"{\"result\":{\"infohash\":\"" OTHER "\"},\"error\":\"but\"}",
		"{\"response\":{\"infohash\":\"" OTHER "\"},\"error\":null}",
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(bad); i++)
		if (how(bad[i]) != -1)
			fail_msg("believed: %s", bad[i]);
}

static struct resolved make(enum swarm_resolved as)
{
	struct resolved r = {.how = (uint8_t)as};

	memcpy(r.infohash, ID, IH_LEN);
	if (as == RESOLVED_ENGINE)
		r.infohash[0] ^= 0xff;
	return r;
}

static void test_written_and_read(void **state)
{
	static const uint8_t all[] = {RESOLVED_ENGINE, RESOLVED_SAME, RESOLVED_NOT_FOUND};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(all); i++) {
		struct resolved r = make(all[i]), got;
		uint64_t left = 0;
		struct buf b;

		if (i < 2)
			resolve_set_title(&r, "Canal \"+\" \xc3\xa9");
		memset(&got, 'x', sizeof(got));
		buf_init(&b, 4096);
		resolve_write(&b, &r, NOW + 5000);
		assert_int_equal(resolve_read(&got, &left, ID, b.p, b.len, NOW), 0);
		assert_memory_equal(got.infohash, r.infohash, IH_LEN);
		assert_int_equal(got.how, r.how);
		assert_string_equal(got.title, r.title);
		assert_int_equal(left, 5000);
		assert_int_equal(resolve_read(&got, &left, ID, b.p, b.len, NOW + 5000),
				 -1);
		/* A clock that is a year ahead does not make it good for a year. */
		assert_int_equal(resolve_read(&got, &left, ID, b.p, b.len,
					      NOW - 365ull * 86400 * 1000),
				 0);
		assert_int_equal(left, resolve_ttl_ms(&r));
		buf_free(&b);
	}
}

static int reads(const char *text)
{
	struct resolved r;
	uint64_t left;

	return resolve_read(&r, &left, ID, text, strlen(text), NOW);
}

static void test_what_others_wrote(void **state)
{
	(void)state;
	/* as it was before there were titles; and with one that is none */
	assert_int_equal(reads("{\"infohash\":\"" OTHER "\",\"resolution\":\"resolved\","
			       "\"title\":[],\"until\":9999999999999}"),
			 0);
	assert_int_equal(reads("{\"infohash\":\"" OTHER "\",\"resolution\":\"resolved\","
			       "\"until\":9999999999999}"),
			 0);
	assert_int_equal(reads(""), -1);
	assert_int_equal(reads("7"), -1);
	assert_int_equal(reads("{\"infohash\":\"" OTHER "\"}"), -1);
	assert_int_equal(reads("{\"infohash\":\"" OTHER
			       "\",\"resolution\":\"resolved\"}"),
			 -1);
	assert_int_equal(reads("{\"infohash\":\"" OTHER "\",\"resolution\":\"resolved\","
			       "\"until\":\"9999999999999\"}"),
			 -1);
	/* no engine could have said so */
	assert_int_equal(reads("{\"infohash\":\"" OTHER "\",\"resolution\":\"same\","
			       "\"until\":9999999999999}"),
			 -1);
	assert_int_equal(reads("{\"infohash\":\"" HASH "\",\"resolution\":\"resolved\","
			       "\"until\":9999999999999}"),
			 -1);
	assert_int_equal(reads("{\"infohash\":\"" HASH "\",\"resolution\":\"no_answer\","
			       "\"until\":9999999999999}"),
			 -1);
	assert_int_equal(reads("{\"infohash\":\"" HASH "\",\"resolution\":\"same\","
			       "\"until\":-1}"),
			 -1);
}

static struct resentry entry(uint32_t n)
{
	struct resentry e = {.until_ms = n};

	memcpy(e.id, &n, sizeof(n));
	return e;
}

static void test_the_longest_unused_gives_way(void **state)
{
	struct rescache *c = NULL;
	struct resentry e;

	(void)state;
	assert_int_equal(rescache_open(&c, 8), 0);
	for (uint32_t i = 1; i <= 8; i++) {
		e = entry(i);
		assert_int_equal(rescache_put(c, &e), 0);
	}
	assert_non_null(rescache_find(c, entry(1).id)); /* used: the newest now */
	e = entry(2);
	e.until_ms = 77;
	assert_int_equal(rescache_put(c, &e), 0); /* the same id: no more room taken */
	e = entry(9);
	assert_int_equal(rescache_put(c, &e), 1);
	assert_int_equal(rescache_count(c), 8);
	assert_null(rescache_find(c, entry(3).id));
	assert_int_equal(rescache_find(c, entry(1).id)->until_ms, 1);
	assert_int_equal(rescache_find(c, entry(2).id)->until_ms, 77);
	assert_int_equal(rescache_find(c, entry(9).id)->until_ms, 9);
	rescache_close(&c);
	assert_null(c);
}

/* Against a list that is searched from end to end. */
static void test_as_a_plain_list(void **state)
{
	enum { MAX = 16, IDS = 40 };
	uint64_t used[IDS] = {0}, now = 0;
	struct rescache *c = NULL;
	unsigned seed = 7;

	(void)state;
	assert_int_equal(rescache_open(&c, MAX), 0);
	for (int step = 0; step < 20000; step++) {
		uint32_t id = (uint32_t)(rand_r(&seed) % IDS), newer = 0;
		struct resentry e = entry(id);
		const struct resentry *got;

		for (uint32_t i = 0; i < IDS; i++)
			newer += used[i] > used[id];
		if (step % 3) {
			got = rescache_find(c, e.id);
			assert_int_equal(got != NULL, used[id] && newer < MAX);
			if (!got)
				continue;
			assert_memory_equal(got->id, e.id, IH_LEN);
		} else {
			(void)rescache_put(c, &e);
		}
		used[id] = ++now;
	}
	rescache_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_titles),
		cmocka_unit_test(test_a_long_title_is_cut),
		cmocka_unit_test(test_what_makes_no_sense),
		cmocka_unit_test(test_written_and_read),
		cmocka_unit_test(test_what_others_wrote),
		cmocka_unit_test(test_the_longest_unused_gives_way),
		cmocka_unit_test(test_as_a_plain_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * test_benc.c -- bencode: what is read, what is refused and why, and that no cut or
 * changed byte gets by or reaches behind the end (every input lies in memory of exactly
 * its size, so that ASan sees it).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collector/benc.h"

static enum benc_rc read_exact(const void *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct benc v;
	enum benc_rc rc;

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	rc = benc_read(&v, copy, len);
	free(copy);
	return rc;
}

static struct benc value(const char *text)
{
	struct benc v = {NULL, 0};

	assert_int_equal(benc_read(&v, text, strlen(text)), BENC_OK);
	return v;
}

static void test_verdicts(void **state)
{
	static const struct {
		const char *text;
		enum benc_rc rc;
	} CASES[] = {
		{"i0e", BENC_OK},
		{"i-1e", BENC_OK},
		{"i9223372036854775807e", BENC_OK},
		{"i-9223372036854775808e", BENC_OK},
		{"i9223372036854775808e", BENC_BAD_INT},
		{"i-9223372036854775809e", BENC_BAD_INT},
		{"i18446744073709551617e", BENC_BAD_INT},
		{"i99999999999999999999999999e", BENC_BAD_INT},
		{"i-0e", BENC_BAD_INT},
		{"i03e", BENC_BAD_INT},
		{"i00e", BENC_BAD_INT},
		{"ie", BENC_BAD_INT},
		{"i-e", BENC_BAD_INT},
		{"i+1e", BENC_BAD_INT},
		{"i1.5e", BENC_BAD_INT},
		{"i1 e", BENC_BAD_INT},
		{"i", BENC_SHORT},
		{"i-", BENC_SHORT},
		{"i12", BENC_SHORT},
		{"0:", BENC_OK},
		{"3:abc", BENC_OK},
		{"3:ab", BENC_SHORT},
		{"3:abcd", BENC_LONG},
		{"03:abc", BENC_BAD_STR},
		{"00:", BENC_BAD_STR},
		{"65537:", BENC_BAD_STR},
		{"18446744073709551615:", BENC_BAD_STR},
		{"99999999999999999999:", BENC_BAD_STR},
		{"3", BENC_SHORT},
		{"3e", BENC_BAD_STR},
		{"-1:", BENC_BAD_BYTE},
		{"", BENC_SHORT},
		{"e", BENC_BAD_BYTE},
		{"x", BENC_BAD_BYTE},
		{"le", BENC_OK},
		{"l", BENC_SHORT},
		{"li1e", BENC_SHORT},
		{"lee", BENC_LONG},
		{"lxe", BENC_BAD_BYTE},
		{"de", BENC_OK},
		{"d", BENC_SHORT},
		{"d1:a", BENC_SHORT},
		{"d1:ae", BENC_BAD_KEY},
		{"d1:ai1e", BENC_SHORT},
		{"di1ei2ee", BENC_BAD_KEY},
		{"dlei2ee", BENC_BAD_KEY},
		{"d1:ai1e1:bi2ee", BENC_OK},
		{"d1:bi1e1:ai2ee", BENC_UNSORTED},
		{"d1:ai1e1:ai2ee", BENC_UNSORTED},
		{"d0:i1e1:ai2ee", BENC_OK},
		{"d0:i1e0:i2ee", BENC_UNSORTED},
		{"d1:ai1e2:aai2ee", BENC_OK},
		{"d2:aai1e1:ai2ee", BENC_UNSORTED},
		{"d1:\x7fi1e1:\x80i2ee", BENC_OK},
		{"d1:\x80i1e1:\x7fi2ee", BENC_UNSORTED},
		{"d1:ad1:bi1e1:ai2eee", BENC_UNSORTED},
		{"d1:ad1:bi1ee1:bd1:ai2eee", BENC_OK},
		{"d1:al1:z1:aee", BENC_OK},
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(CASES); i++) {
		enum benc_rc rc = read_exact(CASES[i].text, strlen(CASES[i].text));

		if (rc != CASES[i].rc)
			fail_msg("%s: %s, not %s", CASES[i].text, benc_rc_name(rc),
				 benc_rc_name(CASES[i].rc));
	}
}

static void test_depth(void **state)
{
	char text[2 * (BENC_DEPTH + 1)];

	(void)state;
	memset(text, 'l', BENC_DEPTH);
	memset(text + BENC_DEPTH, 'e', BENC_DEPTH);
	assert_int_equal(read_exact(text, 2 * BENC_DEPTH), BENC_OK);
	memset(text, 'l', BENC_DEPTH + 1);
	memset(text + BENC_DEPTH + 1, 'e', BENC_DEPTH + 1);
	assert_int_equal(read_exact(text, sizeof(text)), BENC_DEEP);
}

static void test_size(void **state)
{
	char *big = malloc(BENC_MAX + 1);

	(void)state;
	assert_non_null(big);
	memset(big, 'x', BENC_MAX + 1);
	memcpy(big, "65530:", 6);
	assert_int_equal(read_exact(big, BENC_MAX), BENC_OK);
	memcpy(big, "65531:", 6);
	assert_int_equal(read_exact(big, BENC_MAX), BENC_SHORT);
	assert_int_equal(read_exact(big, BENC_MAX + 1), BENC_BIG);
	memset(big, 'l', BENC_MAX);
	assert_int_equal(read_exact(big, BENC_MAX), BENC_DEEP);
	free(big);
}

static void test_get(void **state)
{
	struct benc d =
		value("d0:i9e1:ai-5e1:bd1:x3:one1:yli1e3:twod1:zleeee2:bbi7e1:c0:e");
	struct benc b = benc_get(d, "b");
	struct benc_span s;

	(void)state;
	assert_int_equal(benc_type(d), BENC_DICT);
	assert_int_equal(benc_int(benc_get(d, "a"), 0), -5);
	assert_int_equal(benc_int(benc_get(d, ""), 0), 9);
	assert_int_equal(benc_int(benc_get(d, "bb"), 0), 7);
	assert_int_equal(benc_int(benc_get(d, "none"), 42), 42);
	assert_int_equal(benc_int(b, 42), 42);
	assert_int_equal(benc_type(benc_get(d, "none")), BENC_NONE);
	assert_int_equal(benc_type(b), BENC_DICT);
	assert_int_equal(benc_type(benc_get(b, "y")), BENC_LIST);
	s = benc_str(benc_get(b, "x"));
	assert_int_equal(s.len, 3);
	assert_memory_equal(s.p, "one", 3);
	s = benc_str(benc_get(d, "c"));
	assert_non_null(s.p);
	assert_int_equal(s.len, 0);
	assert_null(benc_str(benc_get(d, "a")).p);
	assert_null(benc_str(benc_get(d, "none")).p);
	assert_int_equal(benc_type(benc_get(benc_get(d, "a"), "x")), BENC_NONE);
	assert_int_equal(benc_int(value("i-9223372036854775808e"), 0), INT64_MIN);
	assert_int_equal(benc_int(value("i9223372036854775807e"), 0), INT64_MAX);
}

static void test_pick(void **state)
{
	static const char TEXT[] = "d1:bi1e1:ali2ee1:bi3e1:ci4ee";
	static const struct benc_bounds loose = {sizeof(TEXT), 2, 1};
	struct benc d, a, b, none = {(const uint8_t *)"i9e", 3};
	const struct benc_pick want[] = {{"a", &a}, {"b", &b}, {"none", &none}};

	(void)state;
	assert_int_equal(benc_read_in(&d, TEXT, sizeof(TEXT) - 1, &loose), BENC_OK);
	benc_pick(d, want, PS_ARRAY_LEN(want));
	assert_int_equal(benc_type(a), BENC_LIST);
	assert_int_equal(benc_int(b, 0), 1); /* the first */
	assert_int_equal(benc_type(none), BENC_NONE);
	benc_pick(a, want, PS_ARRAY_LEN(want)); /* of what is no dict */
	assert_int_equal(benc_type(b), BENC_NONE);
}

static void test_iterate(void **state)
{
	static const enum benc_type WANT[] = {BENC_INT, BENC_STR, BENC_DICT, BENC_LIST};
	struct benc l = value("li1e3:twod1:zleelli3eeleee"), v;
	struct benc_iter it;
	struct benc_span key = {(const uint8_t *)"", 0};
	size_t n = 0, bytes = 0;

	(void)state;
	benc_begin(&it, l);
	for (; benc_next(&it, &key, &v); n++, bytes += v.len) {
		assert_true(n < PS_ARRAY_LEN(WANT));
		assert_int_equal(benc_type(v), WANT[n]);
		assert_null(key.p);
	}
	assert_int_equal(n, PS_ARRAY_LEN(WANT));
	assert_int_equal(bytes, l.len - 2);
	benc_begin(&it, value("le"));
	assert_false(benc_next(&it, NULL, &v));
	benc_begin(&it, value("i1e"));
	assert_false(benc_next(&it, NULL, &v));
	benc_begin(&it, benc_get(l, "x"));
	assert_false(benc_next(&it, NULL, &v));
}

/* Every cut of a value is short, never good and never an overrun; every byte changed to
 * every other is judged without one. */
static const char SAMPLE[] = "d1:ai-5e1:bd1:x3:one1:yli1e3:twod1:zleeee2:bbi7e1:c0:e";

static void test_cuts(void **state)
{
	(void)state;
	for (size_t len = 0; len < sizeof(SAMPLE) - 1; len++)
		assert_int_equal(read_exact(SAMPLE, len), BENC_SHORT);
}

/* Walks all of v: what was read must be readable in every part. */
static size_t visit(struct benc v)
{
	struct benc_iter it;
	struct benc part;
	size_t n = 1;

	(void)benc_int(v, 0);
	(void)benc_str(v);
	benc_begin(&it, v);
	while (benc_next(&it, NULL, &part))
		n += visit(part);
	return n;
}

static void test_changed(void **state)
{
	size_t len = sizeof(SAMPLE) - 1, good = 0;
	uint8_t *copy = malloc(len);

	(void)state;
	assert_non_null(copy);
	for (size_t i = 0; i < len * 256; i++) {
		struct benc v;

		memcpy(copy, SAMPLE, len);
		copy[i / 256] = (uint8_t)i;
		if (benc_read(&v, copy, len) != BENC_OK)
			continue;
		good++;
		assert_true(visit(v) > 0);
	}
	assert_true(good > len);
	free(copy);
}

/* Larger, deeper and unsorted where the bounds say so; all else is as strict. */
static void test_bounds(void **state)
{
	static const struct benc_bounds loose = {2 * BENC_MAX, BENC_DEPTH_MAX, 1};
	static const struct benc_bounds tight = {8, 1, 0};
	char *big = malloc(2 * BENC_MAX + 1);
	struct benc v;

	(void)state;
	assert_non_null(big);
	memset(big, 'x', 2 * BENC_MAX + 1);
	memcpy(big, "131065:", 7);
	assert_int_equal(benc_read_in(&v, big, 2 * BENC_MAX, &loose), BENC_OK);
	assert_int_equal(benc_str(v).len, 131065);
	assert_int_equal(benc_read_in(&v, big, 2 * BENC_MAX + 1, &loose), BENC_BIG);
	assert_int_equal(benc_read_in(&v, "131073:", 7, &loose), BENC_BAD_STR);
	assert_int_equal(benc_read_in(&v, "131072:", 7, &loose), BENC_SHORT);
	memset(big, 'l', BENC_DEPTH_MAX + 1);
	memset(big + BENC_DEPTH_MAX, 'e', BENC_DEPTH_MAX);
	assert_int_equal(benc_read_in(&v, big, 2 * BENC_DEPTH_MAX, &loose), BENC_OK);
	memset(big, 'l', BENC_DEPTH_MAX + 1);
	assert_int_equal(benc_read_in(&v, big, 2 * BENC_DEPTH_MAX, &loose), BENC_DEEP);
	free(big);
	assert_int_equal(benc_read_in(&v, "d1:bi1e1:ai2e1:bi3ee", 20, &loose), BENC_OK);
	assert_int_equal(benc_int(benc_get(v, "b"), 0), 1);
	assert_int_equal(benc_int(benc_get(v, "a"), 0), 2);
	assert_int_equal(benc_read_in(&v, "d1:bi01ee", 9, &loose), BENC_BAD_INT);
	assert_int_equal(benc_read_in(&v, "li1ei2ee", 8, &tight), BENC_OK);
	assert_int_equal(benc_read_in(&v, "llei2ee", 7, &tight), BENC_DEEP);
	assert_int_equal(benc_read_in(&v, "li1ei22ee", 9, &tight), BENC_BIG);
}

/* One letter for each step: a key, v for a value, > and < for the ways down and up. */
static void test_walk(void **state)
{
	struct benc d = value("d1:ad0:d1:xi1eee1:bd1:cde1:dlee1:ei5ee"), v;
	struct benc_iter it;
	struct benc_span key;
	char text[64];
	size_t n = 0;
	enum benc_walk w;

	(void)state;
	benc_begin(&it, d);
	while ((w = benc_walk(&it, "", &key, &v)) != BENC_WALK_END) {
		assert_true(n + 2 < sizeof(text));
		if (w != BENC_WALK_UP)
			text[n++] = key.len ? (char)key.p[0] : '0';
		text[n++] = "v><"[w];
	}
	text[n] = '\0';
	assert_string_equal(text, "a>0v<b>c><dv<ev");
	assert_int_equal(benc_walk(&it, "", &key, &v), BENC_WALK_END);
	assert_int_equal(benc_int(v, 0), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verdicts), cmocka_unit_test(test_depth),
		cmocka_unit_test(test_size),     cmocka_unit_test(test_get),
		cmocka_unit_test(test_iterate),  cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_changed),  cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_walk),     cmocka_unit_test(test_pick),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

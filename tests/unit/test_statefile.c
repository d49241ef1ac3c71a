/* test_statefile.c -- lists go there and back; what is not exactly a file of ours is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collector/statefile.h"

#define NOW 1700000000000ull

static char err[ERRLEN];
static struct statefile f;

static void id_of(uint8_t id[IH_LEN], uint32_t i)
{
	memset(id, 0, IH_LEN);
	memcpy(id, &i, sizeof(i));
}

/* The ith of them has i bytes. */
static void write_lists(struct buf *b, uint32_t n)
{
	uint8_t list[256], id[IH_LEN];

	buf_init(b, STATEFILE_MAX);
	statefile_begin(b, NOW);
	for (uint32_t i = 0; i < n; i++) {
		id_of(id, i);
		memset(list, (int)i, sizeof(list));
		assert_int_equal(statefile_add(b, id, list, i), 0);
	}
	assert_int_equal(statefile_end(b), 0);
}

static int opens(const void *p, size_t len)
{
	return statefile_open(&f, p, len, NOW, err) == 0;
}

static void test_there_and_back(void **state)
{
	static const uint32_t sizes[] = {0, 1, 7, 200};

	(void)state;
	for (size_t k = 0; k < PS_ARRAY_LEN(sizes); k++) {
		const uint8_t *id;
		const void *list;
		uint8_t want[IH_LEN];
		size_t len;
		struct buf b;

		write_lists(&b, sizes[k]);
		assert_true(opens(b.p, b.len));
		assert_int_equal(f.saved_ms, NOW);
		for (uint32_t i = 0; i < sizes[k]; i++) {
			assert_int_equal(statefile_next(&f, &id, &list, &len), 1);
			id_of(want, i);
			assert_memory_equal(id, want, IH_LEN);
			assert_int_equal(len, i);
			for (size_t at = 0; at < len; at++)
				assert_int_equal(((const uint8_t *)list)[at], i);
		}
		assert_int_equal(statefile_next(&f, &id, &list, &len), 0);
		assert_int_equal(statefile_next(&f, &id, &list, &len), 0);
		buf_free(&b);
	}
}

static void test_torn(void **state)
{
	struct buf b;

	(void)state;
	write_lists(&b, 5);
	for (size_t len = 0; len < b.len; len++) {
		char *part = malloc(len ? len : 1); /* so that ASan sees a byte too far */

		memcpy(part, b.p, len);
		assert_false(opens(part, len));
		free(part);
	}
	buf_free(&b);
}

static void test_changed(void **state)
{
	struct buf b;

	(void)state;
	write_lists(&b, 5);
	for (size_t at = 0; at < b.len; at++)
		for (int bit = 0; bit < 8; bit++) {
			b.p[at] ^= (char)(1 << bit);
			assert_false(opens(b.p, b.len));
			b.p[at] ^= (char)(1 << bit);
		}
	assert_true(opens(b.p, b.len));
	assert_int_equal(statefile_open(&f, b.p, b.len, NOW - 3600000, err), -1);
	assert_string_equal(err, "it is of the future");
	buf_free(&b);
}

/* A hash that is right proves nothing about what it is of. */
static void test_hostile_counts(void **state)
{
	struct buf b, again;

	(void)state;
	for (int at = 12; at < 16; at++) { /* how many */
		write_lists(&b, 5);
		buf_init(&again, STATEFILE_MAX);
		b.p[at] ^= 0x7f;
		buf_add(&again, b.p, b.len - 32);
		assert_int_equal(statefile_end(&again), 0);
		assert_false(opens(again.p, again.len));
		assert_string_equal(err, "its lists don't fill it");
		buf_free(&again);
		buf_free(&b);
	}
	for (int at = 24; at < 28; at++) { /* how long the first is */
		write_lists(&b, 5);
		buf_init(&again, STATEFILE_MAX);
		b.p[at] ^= 0x7f;
		buf_add(&again, b.p, b.len - 32);
		assert_int_equal(statefile_end(&again), 0);
		assert_false(opens(again.p, again.len));
		buf_free(&again);
		buf_free(&b);
	}
}

static void test_full(void **state)
{
	static char list[1 << 20];
	uint8_t id[IH_LEN] = {0};
	const uint8_t *got;
	const void *p;
	struct buf b;
	size_t len;
	int n = 0;

	(void)state;
	buf_init(&b, STATEFILE_MAX);
	statefile_begin(&b, NOW);
	while (statefile_add(&b, id, list, sizeof(list)) == 0)
		n++;
	assert_int_equal(n, 15);
	assert_int_equal(statefile_add(&b, id, list, 1000),
			 0); /* there is room for that */
	assert_int_equal(statefile_end(&b), 0);
	assert_true(b.len <= STATEFILE_MAX);
	assert_true(opens(b.p, b.len));
	for (int i = 0; i < 16; i++)
		assert_int_equal(statefile_next(&f, &got, &p, &len), 1);
	assert_int_equal(len, 1000);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_torn),
		cmocka_unit_test(test_changed),
		cmocka_unit_test(test_hostile_counts),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests_name("statefile", tests, NULL, NULL);
}

/*
 * test_lru.c -- the index by last use, against a plain list that does the same slowly.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collector/lru.h"

#define MAX 8u
#define KEYS 20u

static void test_order(void **state)
{
	struct lru *l;
	int gone;

	(void)state;
	assert_int_equal(lru_open(&l, 2, 1), 0);
	assert_int_equal(lru_newest(l), LRU_NONE);
	assert_int_equal(lru_find(l, "a"), LRU_NONE);
	uint32_t a = lru_put(l, "a", &gone), b = lru_put(l, "b", &gone);

	assert_int_equal(gone, 0);
	assert_int_equal(lru_put(l, "a", &gone), a);
	assert_int_equal(lru_newest(l), a);
	assert_int_equal(lru_older(l, a), b);
	assert_int_equal(lru_older(l, b), LRU_NONE);
	assert_int_equal(lru_find(l, "b"), b); /* looking is no use */
	assert_int_equal(lru_put(l, "c", &gone), b);
	assert_int_equal(gone, 1);
	assert_int_equal(lru_find(l, "b"), LRU_NONE);
	lru_drop(l, a);
	assert_int_equal(lru_count(l), 1);
	assert_int_equal(lru_put(l, "d", &gone), a);
	assert_int_equal(gone, 0);
	lru_close(&l);
	lru_close(&l);
	assert_null(l);
}

/* ---- the plain list: oldest first ----------------------------------------------------- */

static uint32_t list[MAX], nlist;

static uint32_t list_at(uint32_t key)
{
	uint32_t i = 0;

	while (i < nlist && list[i] != key)
		i++;
	return i;
}

static void list_cut(uint32_t i)
{
	memmove(list + i, list + i + 1, (--nlist - i) * sizeof(list[0]));
}

static int list_put(uint32_t key)
{
	uint32_t i = list_at(key);
	int gone = i == nlist && nlist == MAX;

	if (i < nlist)
		list_cut(i);
	else if (gone)
		list_cut(0);
	list[nlist++] = key;
	return gone;
}

static void same(const struct lru *l)
{
	uint32_t i = lru_newest(l);

	assert_int_equal(lru_count(l), nlist);
	for (uint32_t n = nlist; n-- > 0; i = lru_older(l, i)) {
		assert_true(i < MAX);
		assert_memory_equal(lru_key(l, i), &list[n], sizeof(list[0]));
		assert_int_equal(lru_find(l, &list[n]), i);
	}
	assert_int_equal(i, LRU_NONE);
}

static void test_against_a_list(void **state)
{
	uint32_t seed = 1, key, i;
	struct lru *l;
	int gone;

	(void)state;
	assert_int_equal(lru_open(&l, MAX, sizeof(key)), 0);
	for (int turn = 0; turn < 20000; turn++) {
		seed = seed * 1664525u + 1013904223u;
		key = (seed >> 8) % KEYS;
		i = lru_find(l, &key);
		assert_int_equal(i != LRU_NONE, list_at(key) < nlist);
		if (seed >> 28 < 3 && i != LRU_NONE) {
			lru_drop(l, i);
			list_cut(list_at(key));
		} else if (seed >> 28 < 6 && i != LRU_NONE) {
			lru_touch(l, i);
			(void)list_put(key);
		} else {
			(void)lru_put(l, &key, &gone);
			assert_int_equal(gone, list_put(key));
		}
		same(l);
	}
	lru_close(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_against_a_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

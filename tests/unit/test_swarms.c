/*
 * test_swarms.c -- a swarm and its ids: who is found under what, and who gives way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collector/swarms.h"

static struct swarms *all;
static struct swarm *w;
static int evicted;

static const uint8_t *id_of(unsigned n)
{
	static uint8_t id[4][IH_LEN];
	static unsigned at;

	at = (at + 1) % 4;
	memset(id[at], 0, IH_LEN);
	id[at][3] = (uint8_t)n; /* all in one bucket */
	return id[at];
}

static int set_up(void **state)
{
	(void)state;
	assert_int_equal(swarms_open(&all, 3), 0);
	w = swarms_add(all, id_of(1), 1000);
	assert_non_null(w);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	swarms_close(&all);
	assert_null(all);
	return 0;
}

static void test_found_under_each(void **state)
{
	(void)state;
	assert_non_null(swarms_alias(all, w, id_of(2), &evicted));
	assert_int_equal(evicted, 0);
	assert_ptr_equal(swarms_find(all, id_of(1)), w);
	assert_ptr_equal(swarms_find(all, id_of(2)), w);
	assert_null(swarms_find(all, id_of(3)));
	assert_null(swarms_add(all, id_of(2), 1000)); /* the id is taken */
	assert_int_equal(swarms_count(all), 1);
	assert_ptr_equal(swarms_alias(all, w, id_of(1), &evicted), &w->ids[0]);
	swarms_remove(all, w);
	assert_null(swarms_find(all, id_of(1)));
	assert_null(swarms_find(all, id_of(2)));
}

static void test_an_id_moves_but_a_key_does_not(void **state)
{
	struct swarm *b = swarms_add(all, id_of(2), 1000);

	(void)state;
	assert_null(swarms_alias(all, w, id_of(2), &evicted));
	assert_non_null(swarms_alias(all, w, id_of(3), &evicted));
	assert_non_null(swarms_alias(all, b, id_of(3), &evicted));
	assert_ptr_equal(swarms_find(all, id_of(3)), b);
	swarms_remove(all, w);
	assert_ptr_equal(swarms_find(all, id_of(3)), b);
}

static void test_full_drops_the_longest_unasked(void **state)
{
	(void)state;
	w->ih.has_v2 = 1;
	memcpy(w->ih.v2, id_of(2), IH_LEN);
	assert_non_null(swarms_alias(all, w, id_of(2), &evicted));
	for (unsigned i = 3; i <= SWARM_IDS; i++) {
		swarms_alias(all, w, id_of(i), &evicted)->asked_ms = 5000 - i;
		assert_int_equal(evicted, 0);
	}
	assert_non_null(swarms_alias(all, w, id_of(100), &evicted));
	assert_int_equal(evicted, 1);
	assert_null(swarms_find(all, id_of(SWARM_IDS)));
	assert_ptr_equal(swarms_find(all, id_of(100)), w);
	for (unsigned i = 1; i < SWARM_IDS; i++) /* the hash too, though nobody asked */
		assert_ptr_equal(swarms_find(all, id_of(i)), w);
}

static void test_unasked_ids_are_forgotten(void **state)
{
	(void)state;
	w->ih.has_v1 = w->ih.has_v2 = 1;
	memcpy(w->ih.v1, id_of(1), IH_LEN);
	memcpy(w->ih.v2, id_of(2), IH_LEN);
	w->ids[0].asked_ms = 10;
	swarms_alias(all, w, id_of(2), &evicted)->asked_ms = 10;
	swarms_alias(all, w, id_of(3), &evicted)->asked_ms = 10;
	swarms_alias(all, w, id_of(4), &evicted)->asked_ms = 30;
	assert_int_equal(swarm_ids_asked(w), 4);
	swarms_forget_ids(all, w, 20);
	assert_int_equal(swarm_ids_asked(w), 1);
	assert_ptr_equal(swarms_find(all, id_of(1)), w);
	assert_ptr_equal(swarms_find(all, id_of(2)), w);
	assert_null(swarms_find(all, id_of(3)));
	assert_ptr_equal(swarms_find(all, id_of(4)), w);
}

static void test_infohash(void **state)
{
	(void)state;
	assert_memory_equal(swarm_infohash(w), id_of(1), IH_LEN);
	w->ih.has_v2 = 1;
	memcpy(w->ih.v2, id_of(2), IH_LEN);
	assert_memory_equal(swarm_infohash(w), id_of(2), IH_LEN);
	w->ih.has_v1 = 1;
	memcpy(w->ih.v1, id_of(3), IH_LEN);
	assert_memory_equal(swarm_infohash(w), id_of(3), IH_LEN);
	for (unsigned i = 1; i <= 3; i++)
		assert_true(swarm_has_hash(w, id_of(i)));
	assert_false(swarm_has_hash(w, id_of(4)));
}

static void know(struct swarm *s, uint8_t host, uint32_t first_s, uint32_t client)
{
	struct shm_peer p;
	struct peer *got;

	memset(&p, 0, sizeof(p));
	p.addr[15] = host;
	p.port = 6881;
	p.sources = (uint8_t)(s == w ? PEER_SRC_TRACKER : PEER_SRC_DHT);
	p.first_seen_s = first_s;
	p.last_seen_s = first_s + 100;
	p.client = client;
	got = swarm_seed(s, &p, 1000);
	assert_non_null(got);
	got->state = client ? PEER_CONTACTED : PEER_TRIED;
}

static void test_one_list_of_two(void **state)
{
	static struct shm_peer out[CONF_SLOT_PEERS];
	struct swarm *b = swarms_add(all, id_of(2), 1000);
	struct shm_swarm head;

	(void)state;
	know(w, 1, 500, 0);
	know(w, 2, 500, 77);
	know(b, 2, 400, 88);
	know(b, 1, 600, 99);
	know(b, 3, 700, 66);
	b->pieces = 12;
	swarm_absorb(w, b, 2000);
	swarm_snapshot(w, 2000, 2000000, &head, out);
	assert_int_equal(head.npeers, 3);
	assert_int_equal(head.pieces, 12);
	for (uint32_t i = 0; i < 3; i++) {
		static const uint32_t first[] = {0, 500, 400, 700},
				      name[] = {0, 99, 77, 66};
		uint8_t host = out[i].addr[15];

		assert_int_equal(out[i].first_seen_s, first[host]);
		assert_int_equal(out[i].client, name[host]);
		assert_int_equal(out[i].state, PEER_CONTACTED);
		assert_int_equal(out[i].sources,
				 host == 3 ? PEER_SRC_DHT
					   : PEER_SRC_TRACKER | PEER_SRC_DHT);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_found_under_each),
		T(test_an_id_moves_but_a_key_does_not),
		T(test_full_drops_the_longest_unasked),
		T(test_unasked_ids_are_forgotten),
		T(test_infohash),
		T(test_one_list_of_two),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * test_ptab.c -- the peer table, one fact each: reading, eviction, names, and what a
 * new collector makes of damage. Threads and deaths are in tests/torture/.
 */
#include "shm/top.h"
#include "shm/word.h"
#include "shm_stage.h"

/* A new collector, as after a death. */
static void take_over(struct stage *st)
{
	ptab_close(&st->p);
	assert_int_equal(ptab_open(&st->p, st->seg, SEG_COLLECTOR, st->err), 0);
}

static enum ptab_rc get(struct stage *st, uint8_t id)
{
	uint8_t ih[IH_LEN];

	memset(ih, id, sizeof(ih));
	return ptab_get(st->reader, ih, CONF_SLOT_PEERS, &st->copy);
}

static void chunks_add_up(struct stage *st, uint32_t used)
{
	struct ptab_usage u;

	ptab_usage(st->p, &u);
	assert_int_equal(u.chunks_used, used);
	assert_int_equal(u.chunks_used + u.chunks_free, u.chunks_reserved);
}

static void what_was_put_is_got(void **state)
{
	struct stage *st = *state;
	uint64_t version;
	uint32_t hint = UINT32_MAX;
	struct shm_swarm s;

	assert_int_equal(get(st, 1), PTAB_MISS);
	assert_int_equal(put(st, 1, 33), PTAB_PUT);
	assert_int_equal(get(st, 1), PTAB_OK);
	assert_int_equal(st->copy.s.npeers, 33);
	assert_int_equal(st->copy.peer[32].port, 32);
	assert_true(st->copy.s.version > seg_head(st->seg)->boot_wall_ms << 16);
	version = st->copy.s.version;
	chunks_add_up(st, 3);
	assert_int_equal(put(st, 1, 16), PTAB_PUT);
	assert_int_equal(get(st, 1), PTAB_OK);
	assert_true(st->copy.s.version > version);
	chunks_add_up(st, 1);
	assert_int_equal(ptab_get(st->reader, st->copy.s.id, 5, &st->copy), PTAB_OK);
	assert_int_equal(st->copy.s.npeers, 5);
	assert_int_equal(st->copy.s.total_peers, 16);
	assert_int_equal(ptab_peek(st->reader, st->copy.s.id, &hint, &s), PTAB_OK);
	assert_int_equal(hint, st->copy.slot);
	assert_int_equal(s.npeers, 16);
	hint = 3; /* a wrong hint is not believed */
	assert_int_equal(ptab_peek(st->reader, st->copy.s.id, &hint, &s), PTAB_OK);
	assert_int_equal(hint, st->copy.slot);
	ptab_drop(st->p, st->copy.s.id);
	assert_int_equal(get(st, 1), PTAB_MISS);
	assert_int_equal(ptab_peek(st->reader, s.id, &hint, &s), PTAB_MISS);
	chunks_add_up(st, 0);
}

static int busy_is(void *arg, const uint8_t id[IH_LEN])
{
	return id[0] != *(uint8_t *)arg;
}

static void the_longest_unpublished_idle_slot_goes(void **state)
{
	struct stage *st = *state;
	struct ptab_usage u;
	uint8_t busy = 1;

	ptab_set_idle(st->p, busy_is, &busy);
	for (uint8_t id = 1; id <= 4; id++)
		assert_int_equal(put(st, id, 1), PTAB_PUT);
	assert_int_equal(put(st, 2, 1), PTAB_PUT); /* again: now 3 is the oldest idle */
	assert_int_equal(put(st, 5, 1), PTAB_PUT);
	assert_int_equal(get(st, 3), PTAB_MISS);
	for (uint8_t id = 1; id <= 5; id++)
		assert_int_equal(get(st, id), id == 3 ? PTAB_MISS : PTAB_OK);
	ptab_usage(st->p, &u);
	assert_int_equal(u.evictions, 1);
	chunks_add_up(st, 4);
}

static int never_idle(void *arg, const uint8_t id[IH_LEN])
{
	(void)arg;
	(void)id;
	return 0;
}

static void a_table_that_is_full_says_so_and_keeps_what_it_has(void **state)
{
	struct stage *st = *state;
	struct ptab_usage u;

	ptab_set_idle(st->p, never_idle, NULL);
	assert_int_equal(put(st, 1, 160), PTAB_PUT); /* 10 of 20 chunks */
	assert_int_equal(put(st, 2, 161), PTAB_PUT_FULL);
	assert_int_equal(put(st, 1, 176), PTAB_PUT_FULL); /* new before old: 11 more */
	assert_int_equal(get(st, 1), PTAB_OK);
	assert_int_equal(st->copy.s.npeers, 160);
	ptab_usage(st->p, &u);
	assert_int_equal(u.full, 2);
	chunks_add_up(st, 10);
}

static void names_stand_once(void **state)
{
	struct place at = {
		.country = "France",
		.code = "FR",
		.city = "Paris",
		.isp = "Example",
		.asn = 7,
		.source = "mmdb:city",
		.has_point = 1,
		.lat_e5 = 1,
		.lon_e5 = -2,
		.region = "IdF",
		.timezone = "Europe/Paris",
		.accuracy_km = 5,
	};
	struct stage *st = *state;
	char text[256], longest[300];
	struct place got;
	uint32_t ref, place;

	ref = ptab_string(st->p, "aria2", 5);
	assert_int_not_equal(ref, 0);
	assert_int_equal(ptab_string(st->p, "aria2", 5), ref);
	assert_int_not_equal(ptab_string(st->p, "aria", 4), ref);
	assert_int_equal(ptab_string(st->p, "", 0), 0);
	ptab_client(st->reader, ref, text);
	assert_string_equal(text, "aria2");
	memset(longest, 'x', sizeof(longest));
	ref = ptab_string(st->p, longest, sizeof(longest));
	ptab_client(st->reader, ref, text);
	assert_int_equal(strlen(text), 255);
	place = ptab_intern_place(st->p, &at);
	assert_int_equal(ptab_intern_place(st->p, &at), place);
	ptab_place(st->reader, place, &got);
	assert_memory_equal(&got, &at, sizeof(at));
	assert_true(ptab_has_country(st->p, place));
	assert_false(ptab_has_country(st->p, 0));
	assert_false(ptab_has_country(st->p, UINT32_MAX));
	memset(at.country, 0, sizeof(at.country));
	assert_true(ptab_has_country(st->p, ptab_intern_place(st->p, &at)));
	memset(at.code, 0, sizeof(at.code));
	assert_false(ptab_has_country(st->p, ptab_intern_place(st->p, &at)));
	/* references that lead nowhere are unknown, never read */
	ptab_client(st->reader, 4092, text);
	assert_string_equal(text, "");
	ptab_client(st->reader, UINT32_MAX & ~7u, text);
	assert_string_equal(text, "");
	ptab_place(st->reader, UINT32_MAX, &got);
	assert_int_equal(got.asn, 0);
}

/* Fill the strings; the reference of "mine" is put into swarm 1. */
static uint32_t fill_names(struct stage *st)
{
	struct shm_swarm s = swarm(1, 1);
	uint32_t ref = ptab_string(st->p, "mine", 4);
	char text[64];

	memset(&st->peer[0], 0, sizeof(st->peer[0]));
	st->peer[0].client = ref;
	assert_int_equal(ptab_put(st->p, &s, st->peer), PTAB_PUT);
	for (int i = 0; !ptab_names_full(st->p); i++) {
		assert_true(i < 1000);
		(void)ptab_string(st->p, text,
				  (size_t)snprintf(text, sizeof(text), "%032d", i));
	}
	return ref;
}

static void compaction_keeps_what_is_referred_to(void **state)
{
	struct stage *st = *state;
	uint32_t old = fill_names(st), seq, mine;
	struct shm_swarm s = swarm(2, 1);
	const struct place whole = {.country = "mine", .code = "DE"};
	const struct place half = {.country = "mine", .city = "Newtown"};
	struct ptab_usage u;
	uint64_t version;
	char text[256];

	assert_int_equal(get(st, 1), PTAB_OK);
	assert_int_not_equal(ptab_intern_place(st->p, &whole), 0);
	assert_int_equal(ptab_intern_place(st->p, &half), 0);
	seq = st->copy.names_seq;
	version = st->copy.s.version;
	assert_true(ptab_names_valid(st->reader, seq));
	ptab_compact_begin(st->p);
	assert_false(ptab_names_valid(st->reader, seq));
	assert_int_equal(get(st, 1), PTAB_OK);
	assert_false(ptab_names_valid(st->reader, st->copy.names_seq));
	assert_int_not_equal(ptab_string(st->p, "first", 5), 0);
	assert_int_not_equal(ptab_intern_place(st->p, &half), 0);
	mine = ptab_old_client(st->p, old);
	st->peer[0].client = mine;
	assert_int_equal(ptab_put(st->p, &s, st->peer), PTAB_PUT);
	ptab_compact_end(st->p);
	for (uint8_t id = 1; id <= 2; id++) {
		assert_int_equal(get(st, id), PTAB_OK);
		assert_true(ptab_names_valid(st->reader, st->copy.names_seq));
		ptab_client(st->reader, st->copy.peer[0].client, text);
		assert_string_equal(text, "mine");
	}
	assert_int_equal(get(st, 1), PTAB_OK);
	assert_true(st->copy.s.version == version); /* nothing was lost: same body */
	ptab_usage(st->p, &u);
	assert_true(u.string_bytes < 100);
	/* full again at once: no second compaction before the gap is over */
	for (int i = 0; i < 1000; i++)
		(void)ptab_string(st->p, text,
				  (size_t)snprintf(text, sizeof(text), "%031d", i));
	assert_int_equal(ptab_string(st->p, "one more", 8), 0);
	assert_false(ptab_names_full(st->p));
}

static void compaction_drops_the_oldest_that_do_not_fit(void **state)
{
	struct stage *st = *state;
	char text[256];

	for (uint8_t id = 1; id <= 2; id++) {
		struct shm_swarm s = swarm(id, 7);

		for (uint32_t i = 0; i < 7; i++) {
			memset(text, 'a' + id, sizeof(text));
			text[0] = (char)i;
			st->peer[i].client = ptab_string(st->p, text, 250);
			assert_int_not_equal(st->peer[i].client, 0);
		}
		assert_int_equal(ptab_put(st->p, &s, st->peer), PTAB_PUT);
	}
	ptab_compact_begin(st->p);
	/* the caller's own names leave less than a quarter after swarm 2 */
	for (int i = 0; i < 7; i++)
		(void)ptab_string(st->p, text, 200 + (size_t)i);
	ptab_compact_end(st->p);
	assert_int_equal(get(st, 2), PTAB_OK);
	assert_int_equal(get(st, 1), PTAB_MISS);
	chunks_add_up(st, 1);
}

/* --- takeover ----------------------------------------------------------- */

static struct shm_slot *raw_slot(struct stage *st, uint8_t id)
{
	assert_int_equal(get(st, id), PTAB_OK);
	return (struct shm_slot *)seg_at(st->seg, SHM_SLOTS) + st->copy.slot;
}

static shm_u32 *raw_links(struct stage *st)
{
	return (shm_u32 *)((struct shm_pool *)seg_at(st->seg, SHM_POOL) + 1);
}

static void a_sound_table_is_taken_as_it_is(void **state)
{
	struct stage *st = *state;
	struct ptab_usage u;
	uint64_t version;
	uint32_t ref;

	ref = ptab_string(st->p, "aria2", 5);
	for (uint8_t id = 1; id <= 4; id++)
		assert_int_equal(put(st, id, id * 10u), PTAB_PUT);
	assert_int_equal(get(st, 4), PTAB_OK);
	version = st->copy.s.version;
	ptab_drop(st->p, st->copy.s.id);
	take_over(st);
	chunks_add_up(st, 1 + 2 + 2);
	ptab_usage(st->p, &u);
	assert_int_equal(u.repaired, 0);
	assert_int_equal(u.slots_used, 3);
	assert_int_equal(ptab_string(st->p, "aria2", 5), ref);
	/* the version of the dropped swarm is not given out again */
	assert_int_equal(put(st, 4, 1), PTAB_PUT);
	assert_int_equal(get(st, 4), PTAB_OK);
	assert_true(st->copy.s.version > version);
	/* the order of eviction is still by publication: 1 goes first */
	assert_int_equal(put(st, 5, 1), PTAB_PUT);
	assert_int_equal(get(st, 1), PTAB_MISS);
	assert_int_equal(get(st, 2), PTAB_OK);
}

static void an_odd_slot_is_wiped(void **state)
{
	struct stage *st = *state;
	struct ptab_usage u;

	assert_int_equal(put(st, 1, 40), PTAB_PUT);
	assert_int_equal(put(st, 2, 40), PTAB_PUT);
	atomic_fetch_add(&raw_slot(st, 1)->seq, 1);
	assert_int_equal(get(st, 1), PTAB_TORN);
	assert_int_equal(get(st, 2), PTAB_OK);
	take_over(st);
	assert_int_equal(get(st, 1), PTAB_MISS);
	assert_int_equal(get(st, 2), PTAB_OK);
	ptab_usage(st->p, &u);
	assert_int_equal(u.repaired, 1);
	chunks_add_up(st, 3);
}

static void a_cut_or_looping_bucket_is_mended(void **state)
{
	struct stage *st = *state;
	struct shm_slot *slots = seg_at(st->seg, SHM_SLOTS);
	shm_u32 *index = seg_at(st->seg, SHM_INDEX);

	for (uint8_t id = 1; id <= 4; id++)
		assert_int_equal(put(st, id, 1), PTAB_PUT);
	for (int damage = 0; damage < 3; damage++) {
		for (uint32_t i = 0; damage == 1 && i < 4; i++)
			atomic_store(&slots[i].next, i + 1); /* to itself */
		for (int b = 0; b < 2; b++) {
			if (damage == 0)
				atomic_store(&index[b], 0);
			if (damage == 2)
				atomic_store(&index[b], 4000000000u);
		}
		assert_int_equal(get(st, 99),
				 PTAB_MISS); /* bounded, whatever lies there */
		take_over(st);
		for (uint8_t id = 1; id <= 4; id++)
			assert_int_equal(get(st, id), PTAB_OK);
		chunks_add_up(st, 4);
	}
}

static void a_shared_chunk_costs_the_older_its_slot(void **state)
{
	struct stage *st = *state;
	struct shm_swarm s;
	struct shm_slot *two;
	uint32_t first;

	assert_int_equal(put(st, 2, 20), PTAB_PUT);
	assert_int_equal(put(st, 1, 20), PTAB_PUT);
	(void)raw_slot(st, 1);
	first = st->copy.s.first_chunk;
	two = raw_slot(st, 2);
	word_read(&s, two->swarm, sizeof(s) / 8);
	s.first_chunk = first;
	word_write(two->swarm, &s, sizeof(s) / 8);
	take_over(st);
	assert_int_equal(get(st, 1), PTAB_OK);
	assert_int_equal(get(st, 2), PTAB_MISS);
	chunks_add_up(st, 2);
}

static void a_broken_chain_is_never_followed(void **state)
{
	struct stage *st = *state;
	static const uint32_t to[] = {0, 21, UINT32_MAX, 1};

	for (size_t i = 0; i < PS_ARRAY_LEN(to); i++) {
		assert_int_equal(put(st, 1, 40), PTAB_PUT);
		assert_int_equal(get(st, 1), PTAB_OK);
		atomic_store(&raw_links(st)[st->copy.s.first_chunk - 1],
			     to[i] == 1 ? st->copy.s.first_chunk : to[i]);
		if (to[i] != 1)
			assert_int_equal(get(st, 1), PTAB_TORN);
		take_over(st);
		assert_int_equal(get(st, 1), PTAB_MISS);
		chunks_add_up(st, 0);
	}
}

static void names_in_mid_compaction_take_the_table_along(void **state)
{
	struct stage *st = *state;
	char text[256];
	uint32_t ref;

	(void)fill_names(st);
	ptab_compact_begin(st->p);
	take_over(st);
	assert_int_equal(get(st, 1), PTAB_MISS);
	chunks_add_up(st, 0);
	ref = ptab_string(st->p, "new", 3);
	assert_int_equal(put(st, 1, 1), PTAB_PUT);
	assert_int_equal(get(st, 1), PTAB_OK);
	assert_true(ptab_names_valid(st->reader, st->copy.names_seq));
	ptab_client(st->reader, ref, text);
	assert_string_equal(text, "new");
}

static void the_lease_must_be_ours(void **state)
{
	struct stage *st = *state;
	struct ptab *p = NULL;

	atomic_store(&seg_head_rw(st->master)->lease_pid, 1);
	assert_int_equal(ptab_open(&p, st->seg, SEG_COLLECTOR, st->err), -1);
	assert_non_null(strstr(st->err, "lease"));
	assert_null(p);
}

/* Garbage in every section that a reader believes: it may find nothing, or nonsense,
 * but within bounds (ASan watches) and in finite time. */
static void garbage_is_survived(void **state)
{
	struct stage *st = *state;
	uint64_t x = 88172645463325252ull;
	struct ptab_usage u;
	char text[256];
	struct place at;
	FILE *null = fopen("/dev/null", "w");
	struct owner owner;

	assert_non_null(null);
	owner_start(&owner, st); /* or top says that nobody is there */
	for (int round = 0; round < 40; round++) {
		for (int sec = SHM_INDEX; sec <= SHM_POOL; sec++) {
			uint32_t *w = seg_at(st->seg, (enum shm_section)sec);
			/* of what grows, only what is there */
			size_t n = (sec >= SHM_PLACES ? 64 : seg_len(st->seg, sec)) / 4;

			for (size_t i = 0; i < n; i++) {
				x ^= x << 13;
				x ^= x >> 7;
				x ^= x << 17;
				w[i] = round % 2 ? (uint32_t)x % 24 : (uint32_t)x;
			}
		}
		/* "reserved" beyond what is there would be a SIGBUS in real life too; no
		 * writer says so: it is stored after the memory was had */
		atomic_store(&((struct shm_pool *)seg_at(st->seg, SHM_POOL))->reserved,
			     0);
		for (int id = 0; id < 256; id++)
			(void)get(st, (uint8_t)id);
		for (uint32_t i = 0; i < 6; i++)
			assert_true(ptab_slot(st->reader, i, &st->copy.s) <= PTAB_TORN);
		ptab_client(st->reader, 0, text);
		ptab_place(st->reader, 0, &at);
		assert_int_equal(top_run(st->name, 1, round & 1, null, st->err), 0);
		take_over(st);
		ptab_usage(st->p, &u);
		chunks_add_up(st, 0);
		assert_int_equal(put(st, 7, 30), PTAB_PUT);
		assert_int_equal(get(st, 7), PTAB_OK);
		assert_int_equal(st->copy.peer[29].port, 29);
	}
	owner_stop(&owner);
	fclose(null);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_was_put_is_got),
		T(the_longest_unpublished_idle_slot_goes),
		T(a_table_that_is_full_says_so_and_keeps_what_it_has),
		T(names_stand_once),
		T(compaction_keeps_what_is_referred_to),
		T(compaction_drops_the_oldest_that_do_not_fit),
		T(a_sound_table_is_taken_as_it_is),
		T(an_odd_slot_is_wiped),
		T(a_cut_or_looping_bucket_is_mended),
		T(a_shared_chunk_costs_the_older_its_slot),
		T(a_broken_chain_is_never_followed),
		T(names_in_mid_compaction_take_the_table_along),
		T(the_lease_must_be_ours),
		T(garbage_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

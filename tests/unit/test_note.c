/*
 * test_note.c -- notes: what is set is read, a half-written one is not, and one that a
 * dead collector left half written comes back.
 */
#include <pthread.h>
#include <sched.h>

#include "tests/unit/shm_stage.h"

#include "shm/geonote.h"
#include "shm/note.h"
#include "shm/word.h"

static struct shm_note *raw(struct stage *st, enum note n)
{
	char *board = seg_at(st->seg, SHM_BOARD);

	return (struct shm_note *)(board + note_at()) + n;
}

static void check(struct stage *st, enum note n, const char *text)
{
	char out[NOTE_SIZE];

	assert_int_equal(note_get(st->worker, n, out), 0);
	assert_string_equal(out, text);
}

static void test_set_and_get(void **state)
{
	struct stage *st = *state;

	note_set(NOTE_vpn_city, "nowhere: nobody owns the notes");
	check(st, NOTE_vpn_city, "");
	note_own(st->seg);
	note_set(NOTE_vpn_city, "Reykjav\xc3\xadk");
	note_set(NOTE_vpn_country, "Iceland");
	check(st, NOTE_vpn_city, "Reykjav\xc3\xadk");
	check(st, NOTE_vpn_country, "Iceland");
	check(st, NOTE_vpn_detail, "");
	note_set(NOTE_vpn_city, "");
	check(st, NOTE_vpn_city, "");
}

static void test_gauges_and_notes_do_not_touch(void **state)
{
	struct stage *st = *state;

	note_own(st->seg);
	stat_own(st->seg, small.worker_slots);
	for (int i = 0; i < NOTE_N; i++)
		note_set((enum note)i, "text");
	for (int i = 0; i < STAT_GAUGE_N; i++)
		stat_gauge_set((enum stat_gauge)i, UINT64_MAX);
	for (int i = 0; i < NOTE_N; i++)
		check(st, (enum note)i, "text");
	assert_true(note_at() + note_bytes() <= seg_len(st->seg, SHM_BOARD));
}

static void test_same_text_is_no_writing(void **state)
{
	struct stage *st = *state;
	uint32_t seq;

	note_own(st->seg);
	note_set(NOTE_vpn_detail, "as before");
	seq = atomic_load(&raw(st, NOTE_vpn_detail)->seq);
	note_set(NOTE_vpn_detail, "as before");
	assert_int_equal(atomic_load(&raw(st, NOTE_vpn_detail)->seq), seq);
}

/* The cut falls into the middle of a character of three bytes. */
static void test_cut_between_characters(void **state)
{
	struct stage *st = *state;
	char text[NOTE_SIZE + 20], out[NOTE_SIZE];

	note_own(st->seg);
	memset(text, 'a', sizeof(text));
	memcpy(text + NOTE_SIZE - 3, "\xe2\x82\xac\xe2\x82\xac", 7);
	note_set(NOTE_vpn_detail, text);
	assert_int_equal(note_get(st->worker, NOTE_vpn_detail, out), 0);
	assert_int_equal(strlen(out), NOTE_SIZE - 3);
	text[NOTE_SIZE - 3] = '\0';
	assert_string_equal(out, text);
}

static void test_half_written(void **state)
{
	struct stage *st = *state;
	char out[NOTE_SIZE] = "left from before";
	uint32_t odd;

	note_own(st->seg);
	note_set(NOTE_vpn_detail, "whole");
	seq_begin(&raw(st, NOTE_vpn_detail)->seq);
	odd = atomic_load(&raw(st, NOTE_vpn_detail)->seq);
	assert_int_equal(note_get(st->worker, NOTE_vpn_detail, out), -1);
	assert_string_equal(out, "");
	note_own(st->seg); /* the next collector */
	check(st, NOTE_vpn_detail, "");
	assert_true(atomic_load(&raw(st, NOTE_vpn_detail)->seq) > odd);
	note_set(NOTE_vpn_detail, "again");
	check(st, NOTE_vpn_detail, "again");
}

/* Text without an end, as only damage could leave it. */
static void test_no_nul(void **state)
{
	struct stage *st = *state;
	char out[NOTE_SIZE + 1];

	memset(out, 'x', sizeof(out));
	word_write(raw(st, NOTE_vpn_city)->text, out, NOTE_SIZE / 8);
	assert_int_equal(note_get(st->worker, NOTE_vpn_city, out), 0);
	assert_int_equal(strlen(out), NOTE_SIZE - 1);
}

struct storm {
	struct seg *seg;
	shm_u32 stop, good;
	unsigned mixed;
};

static void *read_on(void *arg)
{
	struct storm *s = arg;
	char out[NOTE_SIZE];

	while (!atomic_load(&s->stop)) {
		if (note_get(s->seg, NOTE_vpn_detail, out) != 0 || !out[0])
			continue;
		atomic_fetch_add(&s->good, 1);
		for (size_t i = 1; i < NOTE_SIZE - 1; i++)
			s->mixed += out[i] != out[0];
	}
	return NULL;
}

static void test_never_a_mixture(void **state)
{
	struct stage *st = *state;
	struct storm s = {.seg = st->worker};
	char text[NOTE_SIZE] = "";
	pthread_t reader;

	note_own(st->seg);
	assert_int_equal(pthread_create(&reader, NULL, read_on, &s), 0);
	for (int i = 0; i < 200000; i++) {
		memset(text, 'a' + i % 26, NOTE_SIZE - 1);
		note_set(NOTE_vpn_detail, text);
	}
	while (!atomic_load(&s.good)) /* it may have had no turn yet */
		sched_yield();
	atomic_store(&s.stop, 1);
	pthread_join(reader, NULL);
	assert_int_equal(s.mixed, 0);
}

static void test_of_a_database(void **state)
{
	struct geo_note in = {"refused",  "DBIP-City-Lite (compat=City)",
			      1780666922, 63069790,
			      1,          "damaged"},
			out;
	char text[NOTE_SIZE];

	(void)state;
	geonote_put(text, &in);
	assert_int_equal(geonote_get(&out, text), 0);
	assert_memory_equal(&out, &in, sizeof(in));
	memset(in.type, 0,
	       sizeof(in.type)); /* none is in use, and the text is too long */
	memset(in.err, 'x', sizeof(in.err) - 1);
	geonote_put(text, &in);
	assert_int_equal(geonote_get(&out, text), 0);
	assert_string_equal(out.type, "");
	assert_true(strlen(out.err) > 200);
	assert_int_equal(geonote_get(&out, ""), -1);
	assert_int_equal(geonote_get(&out, "ok 1 2"), -1);
	assert_int_equal(geonote_get(&out, "a_state_that_is_too_long 1 2 0\tt\te"), -1);
}

static int end(void **state)
{
	note_own(NULL);
	return teardown(state);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_set_and_get),
		CASE(test_gauges_and_notes_do_not_touch),
		CASE(test_same_text_is_no_writing),
		CASE(test_cut_between_characters),
		CASE(test_half_written),
		CASE(test_no_nul),
		CASE(test_never_a_mixture),
		CASE(test_of_a_database),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * test_listcode.c -- a list goes there and back whole; what is not exactly one is none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/list_stage.h"

static struct shm_swarm swarm;
static struct shm_peer peers[CONF_SLOT_PEERS];
static struct listcode got;

static void written(struct buf *b, uint32_t n)
{
	buf_init(b, LISTCODE_MAX);
	stage_list(&swarm, peers, n);
	assert_int_equal(listcode_write(b, &swarm, peers, &STAGE_NAMES), 0);
}

static int reads(const struct buf *b)
{
	return listcode_read(&got, STAGE_ID, b->p, b->len, STAGE_NOW_MS) == 0;
}

static void check_text(uint32_t ref, uint32_t number)
{
	char want[SHM_STRING_MAX + 1] = "";
	const char *text = "";
	size_t len = 0;

	if (ref)
		stage_text(NULL, ref, want);
	if (number)
		text = listcode_text(&got, number, &len);
	assert_int_equal(len, strlen(want));
	assert_memory_equal(text, want, len);
}

static void check_place(uint32_t ref, uint32_t number)
{
	struct place want, is;

	assert_int_equal(ref != 0, number != 0);
	if (!ref)
		return;
	stage_place(NULL, ref, &want);
	listcode_place(&got, number, &is);
	assert_memory_equal(&is, &want, sizeof(is));
}

/* References are checked by what they stand for, the rest byte by byte. */
static void check_all(void)
{
	struct shm_swarm s = got.s;

	check_text(swarm.tracker_said, s.tracker_said);
	check_text(swarm.title, s.title);
	s.tracker_said = swarm.tracker_said;
	s.title = swarm.title;
	assert_memory_equal(&s, &swarm, sizeof(s));
	for (uint32_t i = 0; i < s.npeers; i++) {
		struct shm_peer p = got.peer[i];

		check_text(peers[i].client, p.client);
		check_place(peers[i].place, p.place);
		p.client = peers[i].client;
		p.place = peers[i].place;
		assert_memory_equal(&p, &peers[i], sizeof(p));
	}
}

static void test_there_and_back(void **state)
{
	static const uint32_t sizes[] = {0, 1, 17, 200, CONF_SLOT_PEERS};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(sizes); i++) {
		struct buf b;

		written(&b, sizes[i]);
		assert_true(reads(&b));
		check_all();
		buf_free(&b);
	}
}

/* A record whose every byte is another one: whatever is not carried shows. What may not
 * have any value is given one that it may have, and that no other field has. */
static void test_every_byte_is_carried(void **state)
{
	uint8_t *raw = (uint8_t *)&swarm;
	struct buf b;

	(void)state;
	for (size_t i = 0; i < sizeof(swarm); i++)
		raw[i] = (uint8_t)(i + 1);
	memcpy(swarm.id, STAGE_ID, IH_LEN);
	swarm.version = swarm.first_chunk = 0;
	swarm.npeers = 1;
	swarm.connected = swarm.contacted = swarm.tried = 1;
	swarm.trackers_ok = swarm.trackers - 1;
	swarm.phase = 3, swarm.why = 10, swarm.verdict = 2, swarm.protocol = 1;
	swarm.resolved = 5, swarm.has_v2 = swarm.incoming = swarm.has_content = 1;
	swarm.ace_mode = 4, swarm.motion = 2, swarm.kind = 1;
	swarm.cached_at_ms = STAGE_NOW_MS - 123;
	raw = (uint8_t *)&peers[0];
	for (size_t i = 0; i < sizeof(peers[0]); i++)
		raw[i] = (uint8_t)(i + 101);
	peers[0].state = 3, peers[0].sources = 21, peers[0].protocol = 1;
	peers[0].flags = 42, peers[0].progress = 9876, peers[0].role = 2;
	peers[0].kind = 1, peers[0].accessible = 2, peers[0].key = 1;
	memcpy(peers[0].country, "QX", 2);
	uint32_t *times[] = {&swarm.connected_at_s,  &swarm.tracker_at_s,
			     &swarm.dht_at_s,        &swarm.joined_at_s,
			     &swarm.head_s,          &swarm.motion_s,
			     &peers[0].first_seen_s, &peers[0].last_seen_s,
			     &peers[0].told_s};
	for (size_t i = 0; i < PS_ARRAY_LEN(times); i++)
		*times[i] = (uint32_t)(STAGE_NOW_MS / 1000) - (uint32_t)i;
	buf_init(&b, LISTCODE_MAX);
	assert_int_equal(listcode_write(&b, &swarm, peers, &STAGE_NAMES), 0);
	assert_true(reads(&b));
	check_all();
	buf_free(&b);
}

static void test_what_is_local_stays(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, LISTCODE_MAX);
	stage_list(&swarm, peers, 3);
	swarm.version = 99;
	swarm.first_chunk = 7;
	assert_int_equal(listcode_write(&b, &swarm, peers, &STAGE_NAMES), 0);
	assert_true(reads(&b));
	assert_int_equal(got.s.version, 0);
	assert_int_equal(got.s.first_chunk, 0);
	buf_free(&b);
}

/* Each text and place stands there once, however many refer to it. */
static void test_dictionary(void **state)
{
	struct buf b;

	(void)state;
	written(&b, 2000);
	assert_true(reads(&b));
	assert_int_equal(got.ntexts, 9); /* 1 to 9 without 7, and the title */
	assert_int_equal(got.nplaces, 5);
	assert_in_range(b.len, 2000 * 80, 2000 * 80 + 4000);
	buf_free(&b);
}

static void long_text(void *arg, uint32_t ref, char out[SHM_STRING_MAX + 1])
{
	(void)arg;
	memset(out, 'a' + (int)(ref % 26), SHM_STRING_MAX);
	out[SHM_STRING_MAX] = '\0';
}

static void long_place(void *arg, uint32_t ref, struct place *out)
{
	(void)arg;
	(void)ref;
	memset(out, 0, sizeof(*out));
	memset(out->country, 'x', sizeof(out->country) - 1);
	memset(out->city, 'x', sizeof(out->city) - 1);
	memset(out->region, 'x', sizeof(out->region) - 1);
	memset(out->timezone, 'x', sizeof(out->timezone) - 1);
	memset(out->isp, 'x', sizeof(out->isp) - 1);
	memset(out->source, 'x', sizeof(out->source) - 1);
}

static void test_the_largest_fits(void **state)
{
	const struct listcode_names names = {long_text, long_place, NULL};
	struct buf b;

	(void)state;
	buf_init(&b, LISTCODE_MAX);
	stage_list(&swarm, peers, CONF_SLOT_PEERS);
	for (uint32_t i = 0; i < CONF_SLOT_PEERS; i++)
		peers[i].client = peers[i].place = i + 100;
	assert_int_equal(listcode_write(&b, &swarm, peers, &names), 0);
	assert_true(reads(&b));
	assert_int_equal(got.ntexts, CONF_SLOT_PEERS + 2);
	buf_free(&b);
	buf_init(&b, 1000);
	assert_int_equal(listcode_write(&b, &swarm, peers, &names), -1);
	buf_free(&b);
}

/* ---- what is none ----------------------------------------------------------------------- */

static void test_cut_and_longer(void **state)
{
	struct buf b;

	(void)state;
	written(&b, 20);
	for (size_t len = 0; len < b.len; len++) {
		char *exact = malloc(len ? len : 1); /* its end is a wall for ASan */

		memcpy(exact, b.p, len);
		assert_int_equal(listcode_read(&got, STAGE_ID, exact, len, STAGE_NOW_MS),
				 -1);
		free(exact);
	}
	assert_true(reads(&b));
	buf_add(&b, "", 1);
	assert_false(reads(&b));
	buf_free(&b);
}

static void test_any_byte_changed(void **state)
{
	uint32_t good = 0;
	struct buf b;

	(void)state;
	written(&b, 20);
	for (size_t i = 0; i < b.len; i++)
		for (int bit = 0; bit < 8; bit++) {
			b.p[i] ^= (char)(1 << bit);
			if (reads(&b)) { /* another address, another rate */
				good++;
				assert_true(i >= 14);
			}
			b.p[i] ^= (char)(1 << bit);
		}
	assert_true(good > 1000); /* it did read */
	assert_true(reads(&b));
	check_all();
	buf_free(&b);
}

static int reads_changed(void)
{
	struct buf b;
	int ok;

	buf_init(&b, LISTCODE_MAX);
	assert_int_equal(listcode_write(&b, &swarm, peers, &STAGE_NAMES), 0);
	ok = reads(&b);
	buf_free(&b);
	return ok;
}

#define REFUSED(field, value)                  \
	do {                                   \
		stage_list(&swarm, peers, 3);  \
		assert_true(reads_changed());  \
		field = value;                 \
		assert_false(reads_changed()); \
	} while (0)

static void test_values_that_cannot_be(void **state)
{
	uint32_t future_s = STAGE_NOW_MS / 1000 + 7;

	(void)state;
	REFUSED(swarm.id[19], 1);
	REFUSED(swarm.phase, 4);
	REFUSED(swarm.why, WHY_N);
	REFUSED(swarm.verdict, 5);
	REFUSED(swarm.protocol, 3);
	REFUSED(swarm.resolved, RESOLVED_UNKNOWN);
	REFUSED(swarm.has_v2, 2);
	REFUSED(swarm.ace_mode, 5);
	REFUSED(swarm.motion, 3);
	REFUSED(swarm.kind, 3);
	REFUSED(swarm.total_peers, 2);
	REFUSED(swarm.connected, 9);
	REFUSED(swarm.trackers_ok, swarm.trackers + 1);
	REFUSED(swarm.cached_at_ms, STAGE_NOW_MS + 5001);
	REFUSED(swarm.cached_at_ms, 0);
	REFUSED(swarm.joined_at_s, future_s);
	REFUSED(swarm.tracker_at_s, future_s);
	REFUSED(swarm.head_s, future_s);
	REFUSED(peers[1].port, 0);
	REFUSED(peers[1].state, 4);
	REFUSED(peers[1].sources, 64);
	REFUSED(peers[1].protocol, 2);
	REFUSED(peers[1].flags, 64);
	REFUSED(peers[1].progress, 10001);
	REFUSED(peers[1].last_seen_s, future_s);
	REFUSED(peers[1].told_s, future_s);
	REFUSED(peers[1].role, 4);
	REFUSED(peers[1].kind, 3);
	REFUSED(peers[1].accessible, 3);
	REFUSED(peers[1].key, 3);
	REFUSED(peers[1].country[1], 'z');
	REFUSED(peers[1].country[0], '\0');
}

static void that_place(void *arg, uint32_t ref, struct place *out)
{
	(void)ref;
	*out = *(const struct place *)arg;
}

static int takes(const struct place *p)
{
	struct place copy = *p;
	const struct listcode_names names = {stage_text, that_place, &copy};
	struct buf b;
	int took;

	stage_list(&swarm, peers, 3);
	buf_init(&b, LISTCODE_MAX);
	assert_int_equal(listcode_write(&b, &swarm, peers, &names), 0);
	took = reads(&b);
	buf_free(&b);
	return took;
}

static void test_no_such_place(void **state)
{
	static const char *const code[] = {"D",  "de",  "De",    "dE",      "D1",
					   "??", "DEU", "D\x7f", "\xc3\x9c"};
	struct place p;

	(void)state;
	stage_place(NULL, 1, &p);
	p.lat_e5 = 9000000;
	p.lon_e5 = -18000000;
	p.accuracy_km = LISTCODE_KM_MAX;
	assert_true(takes(&p));
	p.lat_e5++;
	assert_false(takes(&p));
	p.lat_e5 = 0;
	p.lon_e5--;
	assert_false(takes(&p));
	p.lon_e5 = 0;
	p.accuracy_km++;
	assert_false(takes(&p));
	p.accuracy_km = 0;
	memset(p.code, 0, sizeof(p.code));
	assert_true(takes(&p));
	for (size_t i = 0; i < PS_ARRAY_LEN(code); i++) {
		snprintf(p.code, sizeof(p.code), "%s", code[i]);
		if (takes(&p))
			fail_msg("took the country %s", code[i]);
	}
}

static void test_another_clock(void **state)
{
	(void)state;
	stage_list(&swarm, peers, 3);
	swarm.cached_at_ms = STAGE_NOW_MS + LISTCODE_SKEW_MS;
	assert_true(reads_changed());
	swarm.cached_at_ms = 1; /* how old is too old is the caller's matter */
	assert_true(reads_changed());
}

static void test_shifted(void **state)
{
	static struct shm_peer were[3];
	struct shm_swarm was;

	(void)state;
	stage_list(&swarm, peers, 3);
	swarm.motion_s = 0;
	peers[1].told_s = 0;
	was = swarm;
	memcpy(were, peers, sizeof(were));
	listcode_shift(&swarm, peers, 3600);
	assert_true(swarm.cached_at_ms == was.cached_at_ms + 3600000);
	assert_int_equal(swarm.joined_at_s, was.joined_at_s + 3600);
	assert_int_equal(swarm.motion_s, 0);
	assert_int_equal(peers[2].last_seen_s, were[2].last_seen_s + 3600);
	assert_int_equal(peers[1].told_s, 0);
	assert_int_equal(peers[1].version, were[1].version);
	assert_false(reads_changed());
	listcode_shift(&swarm, peers, -3600);
	assert_memory_equal(&swarm, &was, sizeof(was));
	assert_memory_equal(peers, were, sizeof(were));
	assert_true(reads_changed());
	swarm.joined_at_s = 5;
	listcode_shift(&swarm, peers, -3600);
	assert_int_equal(swarm.joined_at_s, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_every_byte_is_carried),
		cmocka_unit_test(test_what_is_local_stays),
		cmocka_unit_test(test_dictionary),
		cmocka_unit_test(test_the_largest_fits),
		cmocka_unit_test(test_cut_and_longer),
		cmocka_unit_test(test_any_byte_changed),
		cmocka_unit_test(test_values_that_cannot_be),
		cmocka_unit_test(test_no_such_place),
		cmocka_unit_test(test_another_clock),
		cmocka_unit_test(test_shifted),
	};

	return cmocka_run_group_tests_name("listcode", tests, NULL, NULL);
}

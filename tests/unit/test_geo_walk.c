/* test_geo_walk.c -- values that libmaxminddb must not meet: geo/walk.c, and files of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/thread.h"
#include "geo/geo.h"
#include "geo/walk.h"
#include "tests/unit/geo_stage.h"
#include "tests/unit/mmdb_stage.h"

static struct mm m;

static enum walk_rc walk_with(uint64_t *met, size_t at)
{
	struct walk w;

	walk_begin(&w, m.p, m.n, met, NULL);
	return walk_value(&w, at);
}

static enum walk_rc walk(size_t at)
{
	static uint64_t met[MM_MAX / 64];

	memset(met, 0, sizeof(met));
	return walk_with(met, at);
}

static enum walk_rc walk_bytes(const char *bytes, size_t n)
{
	m.n = 0;
	mm_add(&m, bytes, n);
	return walk(0);
}
#define WALK(bytes) walk_bytes(bytes, sizeof(bytes) - 1)

/* ---- values ------------------------------------------------------------------- */

static void test_every_type(void **state)
{
	(void)state;
	assert_int_equal(WALK("\x43"
			      "abc"),
			 WALK_OK);
	assert_int_equal(WALK("\x40"), WALK_OK);
	assert_int_equal(WALK("\x68\1\2\3\4\5\6\7\x8"), WALK_OK); /* double */
	assert_int_equal(WALK("\x67\1\2\3\4\5\6\7\x8"), WALK_DAMAGED);
	assert_int_equal(WALK("\x81\xff"), WALK_OK); /* bytes */
	assert_int_equal(WALK("\xa2\1\2"), WALK_OK); /* uint16 */
	assert_int_equal(WALK("\xa3\1\2\3"), WALK_DAMAGED);
	assert_int_equal(WALK("\xc4\1\2\3\4"), WALK_OK); /* uint32 */
	assert_int_equal(WALK("\xc5\1\2\3\4\5"), WALK_DAMAGED);
	assert_int_equal(WALK("\4\1\1\2\3\4"), WALK_OK); /* int32 */
	assert_int_equal(WALK("\5\1\1\2\3\4\5"), WALK_DAMAGED);
	assert_int_equal(WALK("\1\2\1"), WALK_OK); /* uint64 */
	assert_int_equal(WALK("\x9\2\1\2\3\4\5\6\7\x8\x9"), WALK_DAMAGED);
	assert_int_equal(WALK("\1\3\1"), WALK_OK);        /* uint128 */
	assert_int_equal(WALK("\1\7"), WALK_OK);          /* boolean */
	assert_int_equal(WALK("\4\x8\1\2\3\4"), WALK_OK); /* float */
	assert_int_equal(WALK("\5\x8\1\2\3\4\5"), WALK_DAMAGED);
	assert_int_equal(WALK("\xe0"), WALK_OK); /* an empty map, an empty array */
	assert_int_equal(WALK("\0\4"), WALK_OK);
	/* a container, an end mark, and what there is not: 7, 16, 262 */
	assert_int_equal(WALK("\0\5"), WALK_DAMAGED);
	assert_int_equal(WALK("\0\6"), WALK_DAMAGED);
	assert_int_equal(WALK("\0\0"), WALK_DAMAGED);
	assert_int_equal(WALK("\0\x9"), WALK_DAMAGED);
	assert_int_equal(WALK("\0\xff"), WALK_DAMAGED);
}

/* Nothing reaches beyond the section; each size form, to the last byte. */
static void test_what_is_cut_short(void **state)
{
	static const char *const whole[] = {"\x5d\x0", "\x5e\x0\x0", "\x5f\x0\x0\x0"};
	static const size_t sizes[] = {29, 285, 65821};

	(void)state;
	assert_int_equal(walk(0), WALK_DAMAGED); /* nothing is there */
	for (size_t i = 0; i < PS_ARRAY_LEN(whole); i++) {
		m.n = 0;
		mm_add(&m, whole[i], i + 2);
		for (size_t n = 1; n <= i + 2; n++) {
			m.n = n;
			assert_int_equal(walk(0), WALK_DAMAGED);
		}
		m.n = i + 2 + sizes[i];
		assert_int_equal(walk(0), WALK_OK);
		m.n--;
		assert_int_equal(walk(0), WALK_DAMAGED);
	}
	assert_int_equal(WALK("\0"), WALK_DAMAGED);
	assert_int_equal(WALK("\xe1\x41"
			      "a"),
			 WALK_DAMAGED);
	assert_int_equal(WALK("\2\4\x40"), WALK_DAMAGED);
	assert_int_equal(WALK("\x1f\4\xff\xff\xff"), WALK_DAMAGED); /* 16 million */
}

static void test_pointers(void **state)
{
	(void)state;
	assert_int_equal(WALK("\x20\2\x40"), WALK_OK);
	assert_int_equal(WALK("\x20\3\x40"), WALK_DAMAGED);
	assert_int_equal(WALK("\x20"), WALK_DAMAGED);
	assert_int_equal(WALK("\x38\0\0\0\5\x40"), WALK_OK);
	assert_int_equal(WALK("\x38\0\0\0"), WALK_DAMAGED);
	assert_int_equal(WALK("\x38\xff\xff\xff\xff"), WALK_DAMAGED);
	assert_int_equal(WALK("\x20\2\x20\4\x40"), WALK_DAMAGED); /* to another one */
	assert_int_equal(WALK("\x20\2\x42"
			      "a"),
			 WALK_DAMAGED); /* to what is damaged */
	/* two and three bytes: 2048 and 526336 are the first they can say */
	memset(m.p, 0x40, sizeof(m.p));
	m.n = 2049;
	memcpy(m.p, "\x28\0\0", 3);
	assert_int_equal(walk(0), WALK_OK);
	m.n--;
	assert_int_equal(walk(0), WALK_DAMAGED);
	m.n = sizeof(m.p);
	memcpy(m.p, "\x29\xf7\xff", 3); /* 65536 + 63487 + 2048 = MM_MAX - 1 */
	assert_int_equal(walk(0), WALK_OK);
	memcpy(m.p, "\x29\xf8\0", 3);
	assert_int_equal(walk(0), WALK_DAMAGED);
	memcpy(m.p, "\x30\0\0\0", 4);
	assert_int_equal(walk(0), WALK_DAMAGED);
}

static void test_keys_are_texts(void **state)
{
	(void)state;
	assert_int_equal(WALK("\xe1\x41"
			      "a\xa0"),
			 WALK_OK);
	assert_int_equal(WALK("\xe1\xa0\xa0"), WALK_DAMAGED);
	assert_int_equal(WALK("\xe1\xe0\xa0"), WALK_DAMAGED);
	assert_int_equal(WALK("\xe1\0\4\xa0"), WALK_DAMAGED);
	assert_int_equal(WALK("\xe1\x20\4\xa0\x41"
			      "a"),
			 WALK_OK);
	assert_int_equal(WALK("\xe1\x20\4\xa0\xa0"), WALK_DAMAGED);
}

/* ---- how deep, how many --------------------------------------------------------- */

static void test_depth(void **state)
{
	(void)state;
	m.n = 0;
	mm_nest(&m, WALK_DEPTH - 1);
	assert_int_equal(walk(0), WALK_OK);
	m.n = 0;
	mm_nest(&m, WALK_DEPTH);
	assert_int_equal(walk(0), WALK_DEEP);
	m.n = 0;
	mm_nest(&m, MM_MAX / 2 - 1);
	assert_int_equal(walk(0), WALK_DEEP);
}

/* A lookup skips what is not asked for, behind pointers too, and those lead anywhere. */
static void test_depth_behind_a_pointer(void **state)
{
	(void)state;
	m.n = 0;
	mm_map(&m, 2);
	mm_text(&m, "country");
	mm_pointer(&m, 100);
	mm_pair(&m, "x", "y");
	assert_true(m.n < 100);
	memset(m.p + m.n, 0x40, 100 - m.n);
	m.n = 100;
	mm_nest(&m, 3);
	assert_int_equal(walk(0), WALK_OK);
	m.n = 100;
	mm_nest(&m, WALK_DEPTH);
	assert_int_equal(walk(0), WALK_DEEP);
	m.n = 98; /* the same, and to who goes by there it is a text */
	mm_byte(&m, 0x5d);
	mm_byte(&m, 200 - 29);
	mm_nest(&m, 99);
	assert_int_equal(walk(98), WALK_OK);
	assert_int_equal(walk(0), WALK_DEEP);
}

static void test_circles_end(void **state)
{
	uint64_t met = 0;

	(void)state;
	m.n = 0;
	mm_array(&m, 2);
	mm_byte(&m, 0x20); /* to itself, and on */
	mm_byte(&m, 0);
	mm_text(&m, "x");
	assert_int_equal(walk_with(&met, 0), WALK_OK);
	assert_true(met == 1);
	assert_int_equal(walk_with(NULL, 0), WALK_DEEP);
}

static void test_many_parts(void **state)
{
	uint32_t n = WALK_VALUES - 1; /* the array is one, too */

	(void)state;
	for (int more = 0; more < 2; more++) {
		m.n = 0;
		mm_byte(&m, 0x1e);
		mm_byte(&m, 4);
		mm_byte(&m, (n - 285) >> 8);
		mm_byte(&m, n - 285);
		memset(m.p + m.n, 0x40, n);
		m.n += n;
		assert_int_equal(walk(0), more ? WALK_LONG : WALK_OK);
		n++;
	}
}

/* Pointers into pointers' targets: without a memory this would be 16^15 steps. */
static void test_what_multiplies(void **state)
{
	uint64_t met[64] = {0};

	(void)state;
	m.n = 0;
	for (unsigned i = 0; i < 15; i++) {
		mm_array(&m, 16);
		for (int k = 0; k < 16; k++)
			mm_pointer(&m, (i + 1) * 82);
	}
	mm_text(&m, "x");
	assert_int_equal(m.n, 15 * 82 + 2);
	assert_int_equal(walk_with(met, 0), WALK_OK);
	assert_int_equal(walk_with(NULL, 0), WALK_LONG);
}

/* Each pointer leads into another part of the same long array. */
static void test_what_overlaps(void **state)
{
	static uint64_t met[MM_MAX / 64];
	struct walk w;

	(void)state;
	m.n = 0;
	for (uint32_t i = 0; i < 1500; i++) {
		mm_byte(&m, 0x1e); /* each has a thousand parts: those that follow */
		mm_byte(&m, 4);
		mm_byte(&m, 0);
		mm_byte(&m, 0);
	}
	memset(m.p + m.n, 0x40, 400);
	m.n += 400;
	walk_begin(&w, m.p, m.n, met, NULL);
	for (size_t at = 0; at < 6000; at++)
		(void)!walk_value(&w, at);
	assert_true(w.values <= 4 * m.n);
	assert_int_equal(walk_value(&w, m.n - 1), WALK_LONG);
}

static void test_stop(void **state)
{
	static uint64_t met[MM_MAX / 64];
	atomic_int stop = 0;
	struct walk w;
	int n = 0;

	(void)state;
	memset(m.p, 0x40, sizeof(m.p));
	m.n = sizeof(m.p);
	walk_begin(&w, m.p, m.n, met, &stop);
	for (; n < 100000; n++)
		assert_int_equal(walk_value(&w, (size_t)n), WALK_OK);
	atomic_store(&stop, 1);
	while (walk_value(&w, 0) == WALK_OK && n < 200000)
		n++;
	assert_true(n < 2 * 65536);
}

/* ---- files ------------------------------------------------------------------------ */

struct opened {
	enum file_rc rc;
	char err[ERRLEN];
};

/* Where the collector does it: in a thread with a small stack. */
static void *open_it(void *arg)
{
	struct opened *o = arg;
	struct geo_file *f = NULL;
	uint8_t a[ADDR_LEN];
	struct file_id id;
	struct place p = {.asn = 0};

	o->rc = file_open(&f, file("made.mmdb"), &id, NULL, o->err);
	if (o->rc != FILE_OK)
		return NULL;
	o->rc = addr_parse(a, "192.0.2.1") == 0 && file_lookup(f, a, &p) == 1 &&
				strcmp(p.code, "DE") == 0
			? FILE_OK
			: FILE_BAD;
	file_close(&f);
	return NULL;
}

static void must(enum file_rc rc, const char *part)
{
	struct opened o = {FILE_BAD, ""};
	pthread_t t;

	write_file(file("made.mmdb"), m.p, m.n);
	assert_int_equal(thread_start(&t, open_it, &o, o.err), 0);
	assert_int_equal(pthread_join(t, NULL), 0);
	if (o.rc != rc || !strstr(o.err, part))
		fail_msg("%d, '%s'", (int)o.rc, o.err);
}

/* A record whose "a" is nested. */
static void record(uint32_t depth)
{
	mm_begin(&m);
	mm_map(&m, 2);
	mm_text(&m, "a");
	mm_nest(&m, depth);
	mm_pair(&m, "country_code", "DE");
}

static void test_a_deep_record(void **state)
{
	(void)state;
	record(7);
	mm_end(&m);
	must(FILE_OK, "");
	record(20000);
	mm_end(&m);
	must(FILE_BAD, "too deep");
}

static void test_a_deep_record_behind_a_pointer(void **state)
{
	(void)state;
	mm_begin(&m);
	mm_map(&m, 2);
	mm_text(&m, "country");
	mm_pointer(&m, 200);
	mm_pair(&m, "country_code", "DE");
	memset(m.p + m.n, 0, MM_DATA + 200 - m.n);
	m.n = MM_DATA + 200;
	mm_map(&m, 2);
	mm_text(&m, "a");
	mm_nest(&m, 20000);
	mm_pair(&m, "iso_code", "DE");
	mm_end(&m);
	must(FILE_BAD, "too deep");
}

/* Metadata with one pair more, "a", of which the caller writes the value. */
static void meta_with(void)
{
	record(0);
	mm_mark(&m);
	mm_meta(&m, 3);
	mm_text(&m, "a");
}

static void test_deep_metadata(void **state)
{
	(void)state;
	meta_with();
	mm_nest(&m, 3);
	mm_languages(&m);
	must(FILE_OK, "");
	record(0);
	mm_mark(&m);
	mm_map(&m, 10);
	mm_text(&m, "a"); /* the first, which whoever looks for another one skips */
	mm_nest(&m, 20000);
	mm_add(&m, "\0", 1);
	must(FILE_BAD, "too deep");
	/* only the last mark counts */
	record(0);
	mm_mark(&m);
	mm_nest(&m, 20000);
	mm_end(&m);
	must(FILE_OK, "");
}

/* The library follows pointers in languages and descriptions, and keeps all it meets. */
static void test_metadata_that_multiplies(void **state)
{
	size_t base;

	(void)state;
	record(0);
	mm_mark(&m);
	base = m.n;
	mm_meta(&m, 2);
	mm_text(&m, "description");
	mm_map(&m, 0);
	mm_text(&m, "languages");
	for (unsigned i = 0; i < 14; i++) {
		uint32_t next = (uint32_t)(m.n - base) + 82;

		mm_array(&m, 16);
		for (int k = 0; k < 16; k++)
			mm_pointer(&m, next);
	}
	mm_text(&m, "x");
	must(FILE_BAD, "too many parts");
}

/* As Debian's writer does: a text that was written before is pointed to. */
static void test_metadata_with_pointers(void **state)
{
	size_t base, en;

	(void)state;
	record(0);
	mm_mark(&m);
	base = m.n;
	mm_meta(&m, 2);
	mm_text(&m, "description");
	mm_map(&m, 1);
	en = m.n - base;
	mm_pair(&m, "en", "of a test");
	mm_text(&m, "languages");
	mm_array(&m, 1);
	mm_pointer(&m, (uint32_t)en);
	must(FILE_OK, "");
}

/* Of a file that Debian's writer made, every byte of the metadata counts. */
static void test_metadata_of_a_writer(void **state)
{
	size_t len = read_file(file("city.mmdb"), m.p, sizeof(m.p)), cut = len;

	(void)state;
	assert_int_equal(walk_meta(m.p, len), WALK_OK);
	assert_int_equal(walk_meta(m.p, 5), WALK_OK); /* there is none */
	while (memcmp(m.p + --cut - 14, "\xab\xcd\xefMaxMind.com", 14) != 0)
		assert_int_equal(walk_meta(m.p, cut), WALK_DAMAGED);
	assert_true(len - cut > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_type),
		cmocka_unit_test(test_what_is_cut_short),
		cmocka_unit_test(test_pointers),
		cmocka_unit_test(test_keys_are_texts),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_depth_behind_a_pointer),
		cmocka_unit_test(test_circles_end),
		cmocka_unit_test(test_many_parts),
		cmocka_unit_test(test_what_multiplies),
		cmocka_unit_test(test_what_overlaps),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_a_deep_record),
		cmocka_unit_test(test_a_deep_record_behind_a_pointer),
		cmocka_unit_test(test_deep_metadata),
		cmocka_unit_test(test_metadata_that_multiplies),
		cmocka_unit_test(test_metadata_with_pointers),
		cmocka_unit_test(test_metadata_of_a_writer),
	};

	return cmocka_run_group_tests_name("geo_walk", tests, make_files, remove_files);
}

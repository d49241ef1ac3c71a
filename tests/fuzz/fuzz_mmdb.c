/*
 * fuzz_mmdb.c -- libFuzzer against databases of places: geo/walk.c, and what it lets through
 * to libmaxminddb (which is Debian's, as it is).
 *
 * The first byte of an input chooses: a whole file, which is opened and asked in a thread
 * with as small a stack as the collector's has; the same with nothing but its data or its
 * metadata from the input; or a value alone. A value that the walk has passed must be one
 * that the library can skip to its end. FUZZ_SEEDS=DIR writes seeds there and ends.
 */
#include <maxminddb.h>
#include <string.h>
#include <sys/mman.h>

#include "common/thread.h"
#include "geo/file.h"
#include "geo/walk.h"
#include "tests/fuzz/seeds.h"
#include "tests/unit/mmdb_stage.h"

enum { WHOLE, DATA, META, VALUE, MODES };

static struct mm made;

/* libmaxminddb 1.7.1 forgets what it has read of metadata that it refuses in the middle: once
 * for each such file, when it is new. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libmaxminddb";
}

/* ---- seeds ---------------------------------------------------------------------- */

static void put_record(struct mm *m, uint32_t depth)
{
	mm_map(m, 4);
	mm_text(m, "a");
	mm_nest(m, depth);
	mm_pair(m, "country_code", "DE");
	mm_text(m, "latitude");
	mm_byte(m, 0x68);
	mm_add(m, "\x40\x4a\x42\x8f\x5c\x28\xf5\xc3", 8);
	mm_text(m, "asn");
	mm_number(m, 6, 64501);
}

static void put_pointed(struct mm *m)
{
	size_t at = m->n;

	mm_map(m, 1);
	mm_text(m, "country");
	mm_pointer(m, 14);
	PS_ASSERT(m->n == at + 14);
	mm_map(m, 2);
	mm_text(m, "names");
	mm_pointer(m, 33);
	mm_pointer(m, 1);
	mm_text(m, "x");
	PS_ASSERT(m->n == at + 33);
	mm_map(m, 1);
	mm_pair(m, "en", "Germany");
}

static void seed(const char *dir, const char *name, int mode)
{
	write_seed(dir, name, mode, made.p, made.n);
	made.n = 0;
}

static void write_seeds(const char *dir)
{
	put_record(&made, 3);
	seed(dir, "record", DATA);
	put_record(&made, 20000);
	seed(dir, "deep", DATA);
	put_record(&made, 5);
	seed(dir, "value", VALUE);
	put_pointed(&made);
	seed(dir, "pointed", DATA);
	put_pointed(&made);
	seed(dir, "pointed-value", VALUE);
	mm_meta(&made, 2);
	mm_languages(&made);
	seed(dir, "meta", META);
	mm_meta(&made, 3);
	mm_text(&made, "a");
	mm_nest(&made, 20000);
	mm_languages(&made);
	seed(dir, "deep-meta", META);
	mm_begin(&made);
	put_record(&made, 1);
	mm_end(&made);
	seed(dir, "whole", WHOLE);
}

/* ---- a file ----------------------------------------------------------------------- */

static void ask(const struct geo_file *f)
{
	static const char *const asked[] = {"192.0.2.1", "0.0.0.0", "255.255.255.255",
					    "2001:db8::1"};
	struct file_info info;
	struct place p;

	file_info(f, &info);
	for (size_t i = 0; i < PS_ARRAY_LEN(asked); i++) {
		uint8_t a[ADDR_LEN];

		memset(&p, 0, sizeof(p));
		PS_ASSERT(addr_parse(a, asked[i]) == 0);
		(void)file_lookup(f, a, &p);
		PS_ASSERT(memchr(p.city, 0, sizeof(p.city)) && p.code[2] == '\0');
	}
}

static void *open_it(void *arg)
{
	struct geo_file *f = NULL;
	struct file_id id;
	char err[ERRLEN] = "";

	if (file_open(&f, arg, &id, NULL, err) == FILE_OK)
		ask(f);
	else
		PS_ASSERT(err[0]);
	file_close(&f);
	return NULL;
}

static void whole(const void *p, size_t n)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	char path[64], err[ERRLEN];
	pthread_t t;

	PS_ASSERT(fd >= 0 && write(fd, p, n) == (ssize_t)n);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	PS_ASSERT(thread_start(&t, open_it, path, err) == 0);
	PS_ASSERT(pthread_join(t, NULL) == 0);
	close(fd);
}

/* ---- a value ---------------------------------------------------------------------- */

/* What nothing is called: to know that, the library goes through all of the value. */
static void skip(const MMDB_s *db, const char *const *path)
{
	MMDB_entry_s e = {.mmdb = db, .offset = 0};
	MMDB_entry_data_s v;
	int rc = MMDB_aget_value(&e, &v, path);

	PS_ASSERT(rc == MMDB_SUCCESS || rc == MMDB_LOOKUP_PATH_DOES_NOT_MATCH_DATA_ERROR);
}

static void value(const uint8_t *p, size_t n)
{
	static const char *const paths[][4] = {{"\1"},
					       {"country", "\1"},
					       {"country", "names", "\1"},
					       {"a", "9999999"}};
	MMDB_s db = {.data_section = p, .data_section_size = (uint32_t)n};
	uint64_t *met = calloc(n / 64 + 1, sizeof(*met));
	enum walk_rc with, without;
	struct walk w;

	PS_ASSERT(met);
	walk_begin(&w, p, n, met, NULL);
	with = walk_value(&w, 0);
	PS_ASSERT(w.values <= w.max);
	free(met);
	walk_begin(&w, p, n, NULL, NULL);
	without = walk_value(&w, 0);
	PS_ASSERT(without != WALK_OK || with == WALK_OK);
	for (size_t i = 0; with == WALK_OK && i < PS_ARRAY_LEN(paths); i++)
		skip(&db, paths[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	setenv("TMPDIR", "/proc",
	       0); /* where nothing can be made: copies stay in memory */
	if (size < 2 || size > MM_MAX / 2)
		return 0;
	mm_begin(&made);
	switch (data[0] % MODES) {
	case WHOLE: whole(data + 1, size - 1); break;
	case DATA:
		mm_add(&made, data + 1, size - 1);
		mm_end(&made);
		whole(made.p, made.n);
		break;
	case META:
		put_record(&made, 1);
		mm_mark(&made);
		mm_add(&made, data + 1, size - 1);
		whole(made.p, made.n);
		break;
	case VALUE: value(data + 1, size - 1); break;
	}
	return 0;
}

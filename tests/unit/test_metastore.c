/* test_metastore.c -- the thread of the metadata cache: what the loop gives and hears. */
#include "store_stage.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/file.h>

#include "collector/metastore.h"
#include "common/clock.h"
#include "common/kid.h"

#define QUOTA (64u << 20)
#define PATIENCE_MS 20000

static int bell;

static struct metastore *open_store(uint64_t quota)
{
	struct metastore *m = NULL;

	bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(bell >= 0);
	assert_int_equal(metastore_open(&m, stage_dir, quota, bell, stage_err), 0);
	return m;
}

static void close_store(struct metastore **m)
{
	metastore_close(m);
	assert_null(*m);
	close(bell);
}

static char *content(size_t len)
{
	char *p = malloc(len);

	assert_non_null(p);
	memset(p, 'x', len);
	return p;
}

static int put(struct metastore *m, unsigned n, size_t json, size_t torrent)
{
	struct metastore_item it = {.len = {json, torrent}};

	stage_key(it.key, n);
	it.data[META_JSON] = content(json);
	it.data[META_TORRENT] = torrent ? content(torrent) : NULL;
	return metastore_put(m, &it, n);
}

static void wait_bell(void)
{
	struct pollfd p = {.fd = bell, .events = POLLIN};

	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	kid_hush(bell);
}

static struct metastore_done next(struct metastore *m)
{
	struct metastore_done done;

	while (metastore_take(m, &done) != 1)
		wait_bell();
	return done;
}

static void test_told_in_order(void **state)
{
	struct metastore *m = open_store(QUOTA);
	uint8_t key[IH_LEN];

	(void)state;
	for (unsigned i = 0; i < METASTORE_JOBS; i++)
		assert_int_equal(put(m, i, 100, 200), 0);
	for (unsigned i = 0; i < METASTORE_JOBS; i++) {
		struct metastore_done done = next(m);

		stage_key(key, i);
		assert_int_equal(done.tag, i);
		assert_int_equal(done.rc, METADISK_OK);
		assert_memory_equal(done.key, key, IH_LEN);
		assert_int_equal(stage_read(key, META_JSON, NULL), META_OK);
		assert_int_equal(stage_read(key, META_TORRENT, NULL), META_OK);
	}
	close_store(&m);
}

/* Places are free only once what became of a put was taken. */
static void test_too_many_are_refused(void **state)
{
	struct metastore *m = open_store(QUOTA);
	unsigned given = 0;

	(void)state;
	while (put(m, given, 10, 0) == 0)
		given++;
	assert_int_equal(given, METASTORE_JOBS);
	(void)next(m);
	assert_int_equal(put(m, given, 10, 0), 0);
	assert_int_equal(put(m, given + 1, 10, 0), -1);
	for (unsigned i = 0; i < METASTORE_JOBS; i++)
		assert_int_equal(next(m).rc, METADISK_OK);
	close_store(&m);
}

static void test_what_was_given_is_written_at_the_end(void **state)
{
	struct metastore *m = open_store(QUOTA);
	uint8_t key[IH_LEN];

	(void)state;
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(put(m, i, 5000, 0), 0);
	close_store(&m);
	for (unsigned i = 0; i < 50; i++) {
		stage_key(key, i);
		assert_int_equal(stage_read(key, META_JSON, NULL), META_OK);
	}
}

static void test_mended_on_a_word(void **state)
{
	struct metastore *m = open_store(QUOTA);
	struct metadisk_stats s;
	struct metastore_done done;
	uint8_t key[IH_LEN];
	char path[256];

	(void)state;
	stage_key(key, 1);
	assert_int_equal(put(m, 1, 5000, 0), 0);
	assert_int_equal(next(m).rc, METADISK_OK);
	stage_path(path, key, META_JSON);
	assert_int_equal(truncate(path, 3000), 0);
	assert_int_equal(stage_read(key, META_JSON, NULL), META_BAD);
	assert_int_equal(metastore_mend(m, key), 0);
	for (metastore_stats(m, &s); s.bad == 0; metastore_stats(m, &s)) {
		wait_bell();
		assert_int_equal(metastore_take(m, &done), 0); /* tells nobody */
	}
	assert_int_equal(stage_read(key, META_JSON, NULL), META_MISS);
	close_store(&m);
}

static void test_quota_is_kept(void **state)
{
	struct metastore *m = open_store(40 * 4096);
	struct metadisk_stats s;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(put(m, i, 100, 100), 0);
		assert_int_equal(next(m).rc, METADISK_OK);
		metastore_stats(m, &s);
		assert_true(!s.known || s.bytes <= 40 * 4096);
	}
	assert_true(s.known);
	metastore_quota(m, 10 * 4096);
	for (metastore_stats(m, &s); s.bytes > 10 * 4096; metastore_stats(m, &s))
		wait_bell();
	assert_true(s.evicted >= 90);
	close_store(&m);
}

/* No disk at all: each put is refused by itself, the loop goes on. */
static void test_without_a_disk(void **state)
{
	struct metadisk_stats s;
	struct metastore *m;
	char keep[64];

	(void)state;
	memcpy(keep, stage_dir, sizeof keep);
	snprintf(stage_dir, sizeof stage_dir, "/proc/peerscope/cache");
	m = open_store(QUOTA);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(put(m, i, 100, 100), 0);
		assert_int_equal(next(m).rc, METADISK_FAILED);
	}
	metastore_stats(m, &s);
	assert_int_equal(s.failed, 10);
	assert_non_null(strstr(s.err, "No such file"));
	close_store(&m);
	memcpy(stage_dir, keep, sizeof keep);
}

#define T(f) cmocka_unit_test_setup_teardown(f, stage_open, stage_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_told_in_order),
		T(test_too_many_are_refused),
		T(test_what_was_given_is_written_at_the_end),
		T(test_mended_on_a_word),
		T(test_quota_is_kept),
		T(test_without_a_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

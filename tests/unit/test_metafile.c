/* test_metafile.c -- a file of the metadata cache: every damaged byte is noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/metafile.h"

#define BODY "{\"name\":\"a file of the cache\",\"size\":7}"
#define BODY_LEN (sizeof BODY - 1)

static char dir[64], err[ERRLEN];
static char whole[META_HEAD + BODY_LEN];
static const uint8_t key[IH_LEN] = {0xab, 0xcd, 1, 2, 3}, other[IH_LEN] = {0xef, 9};

static void path_of(char out[256], const uint8_t k[IH_LEN], enum meta_kind kind)
{
	char aa[3], bb[3], name[META_NAME_MAX];

	meta_name(aa, bb, name, k, kind);
	snprintf(out, 256, "%s/%s", dir, aa);
	(void)mkdir(out, 0700);
	snprintf(out, 256, "%s/%s/%s", dir, aa, bb);
	(void)mkdir(out, 0700);
	snprintf(out, 256, "%s/%s/%s/%s", dir, aa, bb, name);
}

static void lay(const uint8_t k[IH_LEN], enum meta_kind kind, const void *data,
		size_t len)
{
	char path[256];
	int fd;

	path_of(path, k, kind);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

static int setup(void **state)
{
	struct meta_head h = {.kind = META_JSON, .len = BODY_LEN};

	(void)state;
	snprintf(dir, sizeof dir, "/tmp/peerscope-metafile-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	memcpy(h.key, key, IH_LEN);
	memcpy(h.other, other, IH_LEN);
	meta_seal(whole, &h, BODY);
	memcpy(whole + META_HEAD, BODY, BODY_LEN);
	return 0;
}

static int teardown(void **state)
{
	char cmd[256];

	(void)state;
	for (int i = 0; i < 3; i++) {
		const uint8_t *k = i == 0   ? key
				   : i == 1 ? other
					    : (const uint8_t[IH_LEN]){7};

		for (int kind = 0; kind < META_KINDS; kind++) {
			path_of(cmd, k, (enum meta_kind)kind);
			unlink(cmd);
		}
		for (char *s = strrchr(cmd, '/'); s > cmd + strlen(dir);
		     s = strrchr(cmd, '/')) {
			*s = '\0';
			rmdir(cmd);
		}
	}
	return rmdir(dir);
}

/* As a worker does it. */
static enum meta_rc read_it(const uint8_t k[IH_LEN], enum meta_kind kind, uint64_t slice)
{
	struct meta_file f;
	enum meta_rc rc = meta_open(&f, dir, k, kind, 0, err);

	if (rc != META_OK)
		return rc;
	do
		rc = meta_verify(&f, slice, err);
	while (rc == META_MORE);
	meta_close(&f);
	return rc;
}

static void test_names(void **state)
{
	char aa[3], bb[3], name[META_NAME_MAX];

	(void)state;
	meta_name(aa, bb, name, key, META_TORRENT);
	assert_string_equal(aa, "ab");
	assert_string_equal(bb, "cd");
	assert_string_equal(name, "abcd010203000000000000000000000000000000.torrent");
	meta_name(aa, bb, name, key, META_JSON);
	assert_string_equal(name, "abcd010203000000000000000000000000000000.json");
}

static void test_head_is_one_line(void **state)
{
	struct meta_head h;

	(void)state;
	assert_memory_equal(whole,
			    "peerscope-meta 1 json    "
			    "abcd010203000000000000000000000000000000 "
			    "ef09000000000000000000000000000000000000 000000000039 ",
			    120);
	assert_int_equal(whole[META_HEAD - 1], '\n');
	assert_null(memchr(whole, '\n', META_HEAD - 1));
	assert_int_equal(meta_head_parse(&h, whole), 0);
	assert_int_equal(h.len, BODY_LEN);
	assert_memory_equal(h.other, other, IH_LEN);
}

static void test_both_keys_find_it(void **state)
{
	struct meta_file f;
	char got[BODY_LEN];

	(void)state;
	assert_int_equal(read_it(key, META_JSON, 0), META_MISS);
	lay(key, META_JSON, whole, sizeof whole);
	lay(other, META_JSON, whole, sizeof whole);
	assert_int_equal(read_it(key, META_JSON, 0), META_OK);
	assert_int_equal(read_it(other, META_JSON, 1), META_OK); /* a byte at a time */
	assert_int_equal(read_it(key, META_TORRENT, 0), META_MISS);
	assert_int_equal(meta_open(&f, dir, key, META_JSON, 0, err), META_OK);
	assert_int_equal(f.h.len, BODY_LEN);
	assert_int_equal(pread(f.fd, got, sizeof got, META_HEAD), BODY_LEN);
	assert_memory_equal(got, BODY, BODY_LEN);
	meta_close(&f);
	assert_int_equal(f.fd, -1);
	meta_close(&f); /* twice does no harm */
}

/* Wherever a bit falls over, and wherever the end is missing. */
static void test_any_damage_is_noticed(void **state)
{
	char bad[sizeof whole + 1];

	(void)state;
	for (size_t i = 0; i < sizeof whole; i++)
		for (int bit = 0; bit < 8; bit++) {
			memcpy(bad, whole, sizeof whole);
			bad[i] = (char)(bad[i] ^ 1 << bit);
			lay(key, META_JSON, bad, sizeof whole);
			assert_int_equal(read_it(key, META_JSON, 0), META_BAD);
			assert_true(meta_ours(bad, sizeof whole));
		}
	for (size_t len = 0; len < sizeof whole; len++) {
		lay(key, META_JSON, whole, len);
		assert_int_equal(read_it(key, META_JSON, 0), META_BAD);
		assert_true(meta_ours(whole, len));
	}
	memcpy(bad, whole, sizeof whole);
	bad[sizeof whole] = '\n';
	lay(key, META_JSON, bad, sizeof bad);
	assert_int_equal(read_it(key, META_JSON, 0), META_BAD);
	memset(bad, 0, sizeof bad); /* what some file systems leave without power */
	lay(key, META_JSON, bad, sizeof bad);
	assert_int_equal(read_it(key, META_JSON, 0), META_BAD);
	assert_true(meta_ours(bad, sizeof bad));
	lay(key, META_JSON, whole, sizeof whole);
	assert_int_equal(read_it(key, META_JSON, 0), META_OK);
}

/* Whole, but not what the name says. */
static void test_wrong_place_is_noticed(void **state)
{
	static const uint8_t third[IH_LEN] = {7};

	(void)state;
	lay(third, META_JSON, whole, sizeof whole);
	assert_int_equal(read_it(third, META_JSON, 0), META_BAD);
	lay(key, META_TORRENT, whole, sizeof whole);
	assert_int_equal(read_it(key, META_TORRENT, 0), META_BAD);
}

static void test_strangers_are_not_ours(void **state)
{
	char path[256];

	(void)state;
	assert_false(meta_ours("d8:announce35:http://tracker.example/", 37));
	assert_false(meta_ours("{\"name\":\"x\"}", 12));
	assert_false(meta_ours("p2", 2));
	path_of(path, key, META_JSON);
	unlink(path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(read_it(key, META_JSON, 0), META_MISS);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(read_it(key, META_JSON, 0), META_BAD);
	assert_int_equal(rmdir(path), 0);
}

/* Wanted: it has a new access time then, the time of writing stays; not each time. */
static void test_reader_leaves_a_mark(void **state)
{
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 2000}};
	struct meta_file f;
	struct stat st;
	char path[256];

	(void)state;
	lay(key, META_JSON, whole, sizeof whole);
	path_of(path, key, META_JSON);
	assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
	assert_int_equal(meta_open(&f, dir, key, META_JSON, 1, err), META_OK);
	assert_int_equal(f.mtime.tv_sec, 2000);
	meta_close(&f);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_atime > time(NULL) - 5);
	assert_int_equal(st.st_mtime, 2000);
}

static void test_places(void **state)
{
	char at[32];

	(void)state;
	assert_int_equal(meta_dir(at, sizeof at, "", "/run/p", 0), 0);
	assert_string_equal(at, "/run/p/meta");
	assert_int_equal(meta_dir(at, sizeof at, "", "/run/p", 1), -1);
	assert_int_equal(meta_dir(at, sizeof at, "/cache", "/run/p", 0), 0);
	assert_string_equal(at, "/cache");
	assert_int_equal(meta_dir(at, sizeof at, "/cache", "/run/p", 1), 0);
	assert_string_equal(at, "/run/p/meta");
	assert_int_equal(meta_dir(at, sizeof at, "/cache", "", 1), -1);
	assert_int_equal(meta_dir(at, 6, "/cache", "", 0), -1); /* cut */
}

static void test_verified_once(void **state)
{
	static struct meta_seen seen;
	struct meta_file f;

	(void)state;
	lay(key, META_JSON, whole, sizeof whole);
	assert_int_equal(meta_open(&f, dir, key, META_JSON, 0, err), META_OK);
	assert_false(meta_seen(&seen, &f));
	assert_int_equal(meta_verify(&f, 0, err), META_OK);
	meta_saw(&seen, &f);
	assert_true(meta_seen(&seen, &f));
	f.mtime.tv_nsec++; /* the same content, written again */
	assert_false(meta_seen(&seen, &f));
	meta_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_head_is_one_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_both_keys_find_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_any_damage_is_noticed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_wrong_place_is_noticed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_strangers_are_not_ours, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_reader_leaves_a_mark, setup,
						teardown),
		cmocka_unit_test(test_places),
		cmocka_unit_test_setup_teardown(test_verified_once, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_metaread.c -- the thread that reads torrents: what the loop gives and hears. */
#include "store_stage.h"

#include <openssl/sha.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "collector/metaread.h"
#include "common/file.h"
#include "common/kid.h"
#include "meta_stage.h"

#define PATIENCE_MS 20000

static int bell;

static struct metaread *open_reader(void)
{
	struct metaread *r = NULL;

	bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(bell >= 0);
	assert_int_equal(metaread_open(&r, bell, stage_err), 0);
	return r;
}

static void close_reader(struct metaread **r)
{
	metaread_close(r);
	assert_null(*r);
	close(bell);
}

static struct metaread_done next(struct metaread *r)
{
	struct metaread_done done;
	struct pollfd p = {.fd = bell, .events = POLLIN};

	while (metaread_take(r, &done) != 1) {
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		kid_hush(bell);
	}
	return done;
}

/* A question with an info dict of so many files. */
static struct metaread_ask ask_of(unsigned files)
{
	struct metaread_ask ask = {.path = ""};
	struct buf b;

	buf_init(&b, 1 << 20);
	stage_add(&b, "d<files>l");
	for (unsigned i = 0; i < files; i++)
		buf_printf(&b, "d6:lengthi5e4:pathl5:%05uee", i);
	buf_str(&b, "e");
	stage_end_v1(&b, (files * 5 + STAGE_PIECE - 1) / STAGE_PIECE);
	assert_false(b.failed);
	ask.bytes = buf_take(&b, &ask.len);
	return ask;
}

/* The same as a .torrent on disk. */
static struct metaread_ask file_of(unsigned files)
{
	struct metaread_ask info = ask_of(files), ask = {.bytes = NULL};
	struct buf b;

	buf_init(&b, 1 << 20);
	stage_add(&b, "d<comment><by me><info>");
	buf_add(&b, info.bytes, info.len);
	buf_str(&b, "e");
	free(info.bytes);
	snprintf(ask.path, sizeof ask.path, "%s/upload", stage_dir);
	assert_int_equal(file_write(ask.path, b.p, b.len, stage_err), 0);
	buf_free(&b);
	return ask;
}

static void test_an_info_dict(void **state)
{
	struct metaread *r = open_reader();
	struct metaread_ask ask = ask_of(30);
	struct metaread_done d;
	uint8_t v1[IH_LEN];

	(void)state;
	SHA1((const unsigned char *)ask.bytes, ask.len, v1);
	assert_int_equal(metaread_begin(r, &ask), 0);
	d = next(r);
	assert_int_equal(d.rc, METAREAD_OK);
	assert_ptr_equal(d.bytes, ask.bytes);
	assert_int_equal(d.len, ask.len);
	assert_int_equal(d.m.nfiles, 30);
	assert_int_equal(d.m.size, 150);
	assert_true(d.ids.has_v1 && !d.ids.has_v2);
	assert_memory_equal(d.ids.v1, v1, IH_LEN);
	free(d.bytes);
	close_reader(&r);
}

static void test_an_upload(void **state)
{
	struct metaread *r = open_reader();
	struct metaread_ask ask = file_of(2);
	char path[METAREAD_PATH + 8], hex[IH_HEX_LEN], *key;
	struct metaread_done d;
	size_t len;

	(void)state;
	assert_int_equal(metaread_begin(r, &ask), 0);
	d = next(r);
	assert_int_equal(d.rc, METAREAD_OK);
	assert_true(d.len > d.m.info.len && d.m.nfiles == 2);
	free(d.bytes);
	snprintf(path, sizeof path, "%s.key", ask.path);
	assert_int_equal(file_read(path, 4096, &key, &len, stage_err), 1);
	ih_hex(hex, d.ids.v1);
	assert_memory_equal(key, hex, IH_HEX_LEN - 1);
	assert_memory_equal(key + IH_HEX_LEN - 1, "\n{\"comment\":\"by me\"}", 20);
	assert_int_equal(len, IH_HEX_LEN + 19);
	free(key);
	/* who dies before he has told it can do it again */
	assert_int_equal(access(ask.path, R_OK), 0);
	close_reader(&r);
}

static void test_what_is_none(void **state)
{
	struct metaread *r = open_reader();
	struct metaread_ask ask = {.path = ""}, up = file_of(1);
	struct metaread_done d;

	(void)state;
	ask.bytes = strdup("d4:name1:ae");
	ask.len = strlen(ask.bytes);
	assert_int_equal(metaread_begin(r, &ask), 0);
	d = next(r);
	assert_int_equal(d.rc, METAREAD_BAD);
	assert_null(d.bytes);
	assert_true(d.err[0]);
	assert_int_equal(file_write(up.path, "d4:infodee", 10, stage_err), 0);
	assert_int_equal(metaread_begin(r, &up), 0);
	assert_int_equal(next(r).rc, METAREAD_BAD);
	assert_int_equal(unlink(up.path), 0);
	assert_int_equal(metaread_begin(r, &up), 0);
	assert_int_equal(next(r).rc, METAREAD_GONE);
	/* its key can't be written where a directory is */
	up = file_of(1);
	snprintf(up.path, sizeof up.path, "%s/upload.key", stage_dir);
	(void)unlink(up.path);
	assert_int_equal(mkdir(up.path, 0700), 0);
	up = file_of(1);
	assert_int_equal(metaread_begin(r, &up), 0);
	d = next(r);
	assert_int_equal(d.rc, METAREAD_GONE);
	assert_null(d.bytes);
	close_reader(&r);
}

static void test_one_at_a_time(void **state)
{
	struct metaread *r = open_reader();
	struct metaread_ask one = ask_of(1000), two = ask_of(1);
	struct metaread_done d;

	(void)state;
	for (int i = 0; i < 100; i++) {
		assert_int_equal(metaread_begin(r, &one), 0);
		assert_int_equal(metaread_begin(r, &two), -1);
		d = next(r);
		assert_int_equal(d.m.nfiles, 1000);
		assert_int_equal(metaread_take(r, &d), 0);
		one.bytes = d.bytes;
	}
	free(one.bytes);
	assert_int_equal(metaread_begin(r, &two), 0);
	close_reader(&r); /* and what it read goes with it */
}

/* Whatever it is doing, or has done. */
static void test_the_end(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		struct metaread *r = open_reader();
		struct metaread_ask ask = ask_of(2000);
		struct pollfd p = {.fd = bell, .events = POLLIN};

		assert_int_equal(metaread_begin(r, &ask), 0);
		if (i % 2)
			assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		close_reader(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_an_info_dict, stage_open,
						stage_close),
		cmocka_unit_test_setup_teardown(test_an_upload, stage_open, stage_close),
		cmocka_unit_test_setup_teardown(test_what_is_none, stage_open,
						stage_close),
		cmocka_unit_test_setup_teardown(test_one_at_a_time, stage_open,
						stage_close),
		cmocka_unit_test(test_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

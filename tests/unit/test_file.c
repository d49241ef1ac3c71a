/* test_file.c -- small files: whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"

static char dir[] = "/tmp/peerscope-file-XXXXXX";
static char path[64], temp[72], err[ERRLEN];

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof path, "%s/state", dir);
	snprintf(temp, sizeof temp, "%s.new", path);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	unlink(temp);
	return rmdir(dir);
}

static void expect(const char *text)
{
	char *data = NULL;
	size_t len = 0;

	assert_int_equal(file_read(path, 100, &data, &len, err), 1);
	assert_int_equal(len, strlen(text));
	assert_string_equal(data, text);
	free(data);
}

static void test_written_is_read(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(file_write(path, "one", 3, err), 0);
	expect("one");
	assert_int_equal(file_write(path, "", 0, err), 0);
	expect("");
	assert_int_equal(file_write(path, "three", 5, err), 0);
	expect("three");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(access(temp, F_OK), -1);
}

/* What a crash left beside it neither hinders nor is followed. */
static void test_a_leftover_is_replaced(void **state)
{
	(void)state;
	assert_int_equal(file_write(path, "old", 3, err), 0);
	assert_int_equal(symlink("/dev/null", temp), 0);
	assert_int_equal(file_write(path, "new", 3, err), 0);
	expect("new");
}

static void test_a_failure_leaves_the_old_one(void **state)
{
	char gone[128];

	(void)state;
	assert_int_equal(file_write(path, "old", 3, err), 0);
	assert_int_equal(mkdir(temp, 0700), 0); /* can't be unlinked as a file */
	assert_int_equal(file_write(path, "new", 3, err), -1);
	assert_non_null(strstr(err, temp));
	rmdir(temp);
	expect("old");
	snprintf(gone, sizeof gone, "%s/nowhere/state", dir);
	assert_int_equal(file_write(gone, "x", 1, err), -1);
}

static void test_reading_refuses(void **state)
{
	char *data = NULL;
	size_t len;

	(void)state;
	unlink(path);
	assert_int_equal(file_read(path, 100, &data, &len, err), 0);
	assert_int_equal(file_read(dir, 100, &data, &len, err), -1);
	assert_int_equal(file_write(path, "12345", 5, err), 0);
	assert_int_equal(file_read(path, 4, &data, &len, err), -1);
	assert_null(data);
	expect("12345");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_written_is_read),
		cmocka_unit_test(test_a_leftover_is_replaced),
		cmocka_unit_test(test_a_failure_leaves_the_old_one),
		cmocka_unit_test(test_reading_refuses),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

/* test_common.c -- errors, clocks, buffers and JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <cjson/cJSON.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/thread.h"

/* --- err ------------------------------------------------------------------ */

static void test_err(void **state)
{
	char err[ERRLEN], big[2 * ERRLEN];

	(void)state;
	assert_int_equal(err_set(err, "%s %d", "port", 80), -1);
	assert_string_equal(err, "port 80");
	errno = ENOENT;
	assert_int_equal(err_errno(err, "open %s", "/x"), -1);
	assert_string_equal(err, "open /x: No such file or directory");
	assert_int_equal(errno, ENOENT);
	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(err_errno(err, "%s", big), -1);
	assert_int_equal(strlen(err), ERRLEN - 1);
}

static int assert_on(int x)
{
	PS_ASSERT(x > 0);
	return x;
}

static void test_assert(void **state)
{
	char words[512] = "";
	int fd[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(assert_on(1), 1);
	assert_int_equal(pipe(fd), 0);
	pid = fork();
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		dup2(fd[1], STDERR_FILENO);
		assert_on(0);
		_exit(0);
	}
	close(fd[1]);
	assert_true(read(fd[0], words, sizeof(words) - 1) > 0);
	close(fd[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(words, "test_common.c"));
	assert_non_null(strstr(words, "x > 0"));
}

/* --- clock ---------------------------------------------------------------- */

static void test_clock(void **state)
{
	uint64_t us = clock_us(), ms = clock_ms();

	(void)state;
	assert_true(ms >= us / 1000 && ms - us / 1000 < 10000);
	assert_true(clock_us() >= us);
	assert_true(clock_wall_ms() > 1700000000000ull);
	assert_true(clock_wall_ms() < 10000000000000ull);
}

/* --- buf ------------------------------------------------------------------ */

static void test_buf_ceiling(void **state)
{
	struct buf b;
	char *taken;
	size_t len;

	(void)state;
	buf_init(&b, 1000);
	assert_null(b.p);
	for (int i = 0; i < 100; i++)
		buf_str(&b, "0123456789");
	assert_int_equal(b.failed, 0);
	assert_int_equal(b.len, 1000);
	assert_true(b.cap <= 1001);
	buf_add(&b, "", 0);
	assert_int_equal(b.failed, 0);
	buf_add(&b, "x", 1); /* one too many: nothing of it, and nothing after it */
	assert_int_equal(b.failed, 1);
	buf_str(&b, "");
	assert_int_equal(b.len, 1000);
	assert_int_equal(b.p[1000], 0);
	buf_reset(&b);
	assert_int_equal(b.failed, 0);
	assert_int_equal(b.len, 0);
	assert_string_equal(b.p, "");
	buf_printf(&b, "%d-%s", 7, "seven");
	taken = buf_take(&b, &len);
	assert_string_equal(taken, "7-seven");
	assert_int_equal(len, 7);
	free(taken);
	assert_null(b.p);
	assert_int_equal(b.max, 1000);
	buf_str(&b, "again");
	assert_string_equal(b.p, "again");
	buf_free(&b);
	assert_null(b.p);
}

static void test_buf_printf_at_the_ceiling(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 4);
	buf_printf(&b, "%04d", 12);
	assert_string_equal(b.p, "0012");
	assert_int_equal(b.failed, 0);
	buf_reset(&b);
	buf_printf(&b, "%05d", 12);
	assert_int_equal(b.failed, 1);
	assert_int_equal(b.len, 0);
	buf_free(&b);
	buf_init(&b, 0);
	buf_add(&b, "", 0);
	assert_int_equal(b.failed, 0);
	buf_str(&b, "x");
	assert_int_equal(b.failed, 1);
	buf_free(&b);
}

static void test_json_shape(void **state)
{
	struct buf b;
	struct json j;

	(void)state;
	buf_init(&b, 4096);
	json_init(&j, &b);
	json_obj(&j, NULL);
	json_arr(&j, "empty");
	json_arr_end(&j);
	json_arr(&j, "list");
	json_int(&j, NULL, 1);
	json_obj(&j, NULL);
	json_obj_end(&j);
	json_obj(&j, NULL);
	json_bool(&j, "t", 2);
	json_bool(&j, "f", 0);
	json_obj_end(&j);
	json_null(&j, NULL);
	json_arr_end(&j);
	json_str(&j, "s", "x");
	json_null(&j, "n");
	json_obj_end(&j);
	assert_string_equal(b.p,
			    "{\"empty\":[],\"list\":[1,{},{\"t\":true,\"f\":false},null],"
			    "\"s\":\"x\",\"n\":null}");
	buf_free(&b);
}

static const char *number(struct buf *b, int64_t v, int decimals)
{
	struct json j;

	buf_reset(b);
	json_init(&j, b);
	if (decimals)
		json_fixed(&j, NULL, v, decimals);
	else
		json_int(&j, NULL, v);
	return b->p;
}

static void test_json_numbers(void **state)
{
	struct buf b;
	struct json j;

	(void)state;
	buf_init(&b, 256);
	assert_string_equal(number(&b, 0, 0), "0");
	assert_string_equal(number(&b, -1, 0), "-1");
	assert_string_equal(number(&b, INT64_MAX, 0), "9223372036854775807");
	assert_string_equal(number(&b, INT64_MIN, 0), "-9223372036854775808");
	assert_string_equal(number(&b, 12345, 3), "12.345");
	assert_string_equal(number(&b, 10000, 2), "100.0");
	assert_string_equal(number(&b, 0, 5), "0.0");
	assert_string_equal(number(&b, 4071000, 5), "40.71");
	assert_string_equal(number(&b, -7400000, 5), "-74.0");
	assert_string_equal(number(&b, -5, 3), "-0.005");
	assert_string_equal(number(&b, 7, 1), "0.7");
	assert_string_equal(number(&b, 1705343674123, 3), "1705343674.123");
	assert_string_equal(number(&b, INT64_MIN, 18), "-9.223372036854775808");
	buf_reset(&b);
	json_init(&j, &b);
	json_uint(&j, NULL, UINT64_MAX);
	assert_string_equal(b.p, "18446744073709551615");
	buf_free(&b);
}

#define BAD "\xef\xbf\xbd"

static void test_json_strings(void **state)
{
	static const struct {
		const char *in;
		size_t len;
		const char *out;
	} t[] = {
		{"", 0, "\"\""},
		{"plain", 5, "\"plain\""},
		{"q\"b\\n\nr\rt\tf\fb\b", 14, "\"q\\\"b\\\\n\\nr\\rt\\tf\\fb\\b\""},
		{"\x01\x1f\x7f/", 4, "\"\\u0001\\u001f\x7f/\""},
		{"a\0b", 3, "\"a\\u0000b\""},
		{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9,
		 "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
		{"\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80", 10,
		 "\"\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80\""},
		{"\x80", 1, "\"" BAD "\""}, /* lone continuation */
		{"\xc3", 1, "\"" BAD "\""}, /* cut off */
		{"\xc3(", 2, "\"" BAD "(\""},
		{"\xe2\x82", 2, "\"" BAD BAD "\""},
		{"\xf0\x9f\x98", 3, "\"" BAD BAD BAD "\""},
		{"\xc0\xaf", 2, "\"" BAD BAD "\""}, /* longer than needed */
		{"\xe0\x80\xaf", 3, "\"" BAD BAD BAD "\""},
		{"\xf0\x80\x80\xaf", 4, "\"" BAD BAD BAD BAD "\""},
		{"\xed\xa0\x80", 3, "\"" BAD BAD BAD "\""},         /* surrogate */
		{"\xf4\x90\x80\x80", 4, "\"" BAD BAD BAD BAD "\""}, /* above U+10FFFF */
		{"\xf5\xff\xfe", 3, "\"" BAD BAD BAD "\""},
	};
	struct buf b;
	struct json j;

	(void)state;
	buf_init(&b, 256);
	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++) {
		buf_reset(&b);
		json_init(&j, &b);
		json_strn(&j, NULL, t[i].in, t[i].len);
		assert_string_equal(b.p, t[i].out);
	}
	buf_free(&b);
}

/* Whatever the bytes: valid JSON, and cJSON finds the same text in it. */
static void test_json_any_bytes(void **state)
{
	struct buf b;
	struct json j;
	char in[64];
	uint32_t seed = 42;

	(void)state;
	buf_init(&b, 4096);
	for (int round = 0; round < 2000; round++) {
		cJSON *tree;

		for (size_t i = 0; i < sizeof(in); i++) {
			seed = seed * 1664525u + 1013904223u;
			in[i] = (char)(seed >> 24);
		}
		buf_reset(&b);
		json_init(&j, &b);
		json_arr(&j, NULL);
		json_strn(&j, NULL, in, sizeof(in));
		json_str(&j, NULL, "end");
		json_arr_end(&j);
		tree = cJSON_Parse(b.p);
		assert_non_null(tree);
		assert_int_equal(cJSON_GetArraySize(tree), 2);
		cJSON_Delete(tree);
	}
	buf_free(&b);
}

static void test_json_into_a_full_buffer(void **state)
{
	struct buf b;
	struct json j;

	(void)state;
	for (size_t max = 0; max < 40; max++) {
		buf_init(&b, max);
		json_init(&j, &b);
		json_obj(&j, NULL);
		json_str(&j, "key", "va\"l\x01ue");
		json_fixed(&j, "n", -12345, 2);
		json_obj_end(&j);
		assert_true(b.len <= max);
		assert_int_equal(
			b.failed,
			max < strlen("{\"key\":\"va\\\"l\\u0001ue\",\"n\":-123.45}"));
		buf_free(&b);
	}
}

static void *deaf(void *arg)
{
	sigset_t blocked;

	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	return sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGHUP) ? arg
									       : NULL;
}

static void test_a_thread_hears_no_signal(void **state)
{
	sigset_t blocked;
	char err[ERRLEN];
	pthread_t thread;
	void *said;

	(void)state;
	assert_int_equal(thread_start(&thread, deaf, err, err), 0);
	assert_int_equal(pthread_join(thread, &said), 0);
	assert_ptr_equal(said, err);
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	assert_false(sigismember(&blocked, SIGTERM)); /* who started it hears as before */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err),
		cmocka_unit_test(test_assert),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_buf_ceiling),
		cmocka_unit_test(test_buf_printf_at_the_ceiling),
		cmocka_unit_test(test_json_shape),
		cmocka_unit_test(test_json_numbers),
		cmocka_unit_test(test_json_strings),
		cmocka_unit_test(test_json_any_bytes),
		cmocka_unit_test(test_json_into_a_full_buffer),
		cmocka_unit_test(test_a_thread_hears_no_signal),
	};

	return cmocka_run_group_tests_name("common", tests, NULL, NULL);
}

/* test_common.c -- errors, clocks, log, buffers and JSON, ids, addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/addr.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/ident.h"
#include "common/log.h"

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

/* --- ident ---------------------------------------------------------------- */

#define HEX40 "94c2fd8fb9bc8f2fc71a2cbe9d4b866f227a0209"

static int parse(struct ident *id, const char *s)
{
	char err[ERRLEN] = "";
	int rc = ident_parse(id, s, strlen(s), err);

	assert_int_equal(rc != 0, err[0] != '\0');
	return rc;
}

static void test_ident_forms(void **state)
{
	static const uint8_t key[IH_LEN] = {0x94, 0xc2, 0xfd, 0x8f, 0xb9, 0xbc, 0x8f,
					    0x2f, 0xc7, 0x1a, 0x2c, 0xbe, 0x9d, 0x4b,
					    0x86, 0x6f, 0x22, 0x7a, 0x02, 0x09};
	struct ident id;
	char hex[IH_HEX_LEN];

	(void)state;
	assert_int_equal(parse(&id, HEX40), 0);
	assert_memory_equal(id.key, key, IH_LEN);
	assert_int_equal(id.form, IDENT_HEX40);
	assert_int_equal(id.canonical, 1);
	assert_string_equal(id.text, HEX40);
	ih_hex(hex, id.key);
	assert_string_equal(hex, HEX40);

	assert_int_equal(parse(&id, "94C2FD8fb9bc8f2fc71a2cbe9d4b866f227a0209"), 0);
	assert_memory_equal(id.key, key, IH_LEN);
	assert_int_equal(id.canonical, 0);
	assert_string_equal(id.text, HEX40);

	/* python: base64.b32encode(bytes.fromhex(HEX40)) */
	assert_int_equal(parse(&id, "STBP3D5ZXSHS7RY2FS7J2S4GN4RHUAQJ"), 0);
	assert_memory_equal(id.key, key, IH_LEN);
	assert_int_equal(id.form, IDENT_BASE32);
	assert_int_equal(id.canonical, 0);
	assert_string_equal(id.text, "stbp3d5zxshs7ry2fs7j2s4gn4rhuaqj");
	assert_int_equal(parse(&id, "stbp3d5zxshs7RY2FS7J2S4GN4RHUAQJ"), 0);
	assert_memory_equal(id.key, key, IH_LEN);

	assert_int_equal(parse(&id, HEX40 "aabbccddeeff00112233FFFF"), 0);
	assert_int_equal(id.form, IDENT_V2);
	assert_memory_equal(id.key, key, IH_LEN);
	assert_memory_equal(id.v2, key, IH_LEN);
	assert_int_equal(id.v2[20], 0xaa);
	assert_int_equal(id.v2[31], 0xff);
	assert_int_equal(id.canonical, 0);
}

/* RFC 4648 section 10, padded to a whole id by repetition: "foobar" is MZXW6YTBOI. */
static void test_ident_base32_vectors(void **state)
{
	struct ident id;

	(void)state;
	assert_int_equal(parse(&id, "MZXW6YTBMZXW6YTBMZXW6YTBMZXW6YTB"), 0);
	assert_memory_equal(id.key, "foobafoobafoobafooba", IH_LEN);
	assert_int_equal(parse(&id, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 0);
	for (int i = 0; i < IH_LEN; i++)
		assert_int_equal(id.key[i], 0);
	assert_int_equal(parse(&id, "77777777777777777777777777777777"), 0);
	for (int i = 0; i < IH_LEN; i++)
		assert_int_equal(id.key[i], 0xff);
	/* 32 hex digits that are base32 too are base32; 0, 1, 8, 9 are not in it */
	assert_int_equal(parse(&id, "abcdef234567abcdef234567abcdef23"), 0);
	assert_int_equal(parse(&id, "abcdef234567abcdef234567abcdef20"), -1);
	assert_int_equal(parse(&id, "abcdef234567abcdef234567abcdef2="), -1);
}

static void test_ident_bad(void **state)
{
	static const char forms[] = "40 hex digits";
	char err[ERRLEN], s[200];
	struct ident id;

	(void)state;
	for (size_t len = 0; len < sizeof(s); len++) {
		memset(s, 'a', sizeof(s));
		err[0] = '\0';
		if (len == 32 || len == 40 || len == 64) {
			assert_int_equal(ident_parse(&id, s, len, err), 0);
			continue;
		}
		assert_int_equal(ident_parse(&id, s, len, err), -1);
		assert_non_null(strstr(err, forms));
		assert_non_null(strstr(err, "32 base32"));
		assert_non_null(strstr(err, "64 hex digits"));
		assert_true(strlen(err) < ERRLEN - 1);
	}
	assert_int_equal(ident_parse(&id, "94c2fd8fb9bc8f2fc71a2cbe9d4b866f227a020g", 40,
				     err),
			 -1);
	assert_non_null(strstr(err, "character 40 of these 40"));
	assert_int_equal(ident_parse(&id, "94c2fd8fb9\0c8f2fc71a2cbe9d4b866f227a0209", 40,
				     err),
			 -1);
	assert_non_null(strstr(err, "character 11 of"));
	assert_int_equal(parse(&id, " 4c2fd8fb9bc8f2fc71a2cbe9d4b866f227a0209"), -1);
	assert_int_equal(parse(&id, "\xff"
				    "4c2fd8fb9bc8f2fc71a2cbe9d4b866f227a0209"),
			 -1);
}

/* --- addr ----------------------------------------------------------------- */

static void test_addr_text(void **state)
{
	static const struct {
		const char *in, *out;
	} t[] = {
		{"1.2.3.4", "1.2.3.4"},
		{"::ffff:1.2.3.4", "1.2.3.4"},
		{"2001:DB8::1", "2001:db8::1"},
		{"::", "::"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	};
	static const char *const bad[] = {"",       "1.2.3",   "1.2.3.256", "[::1]",
					  "::1%lo", "a.b.c.d", "1.2.3.4 ",  "1.2.3.4:80"};
	uint8_t a[ADDR_LEN];
	char text[ADDR_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++) {
		assert_int_equal(addr_parse(a, t[i].in), 0);
		addr_text(text, a);
		assert_string_equal(text, t[i].out);
	}
	for (size_t i = 0; i < PS_ARRAY_LEN(bad); i++)
		assert_int_equal(addr_parse(a, bad[i]), -1);
	assert_int_equal(addr_parse(a, "1.2.3.4"), 0);
	assert_int_equal(addr_is_v4(a), 1);
	assert_int_equal(addr_parse(a, "::1.2.3.4"), 0); /* compatible is not mapped */
	assert_int_equal(addr_is_v4(a), 0);
}

static void test_addr_from_sa(void **state)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(6881)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	uint8_t a[ADDR_LEN];
	uint16_t port = 0;
	char text[ADDR_TEXT_MAX];

	(void)state;
	inet_pton(AF_INET, "192.0.2.7", &in.sin_addr);
	assert_int_equal(addr_from_sa(a, &port, (struct sockaddr *)&in), 0);
	addr_text(text, a);
	assert_string_equal(text, "192.0.2.7");
	assert_int_equal(port, 6881);
	inet_pton(AF_INET6, "2001:db8::9", &in6.sin6_addr);
	assert_int_equal(addr_from_sa(a, &port, (struct sockaddr *)&in6), 0);
	addr_text(text, a);
	assert_string_equal(text, "2001:db8::9");
	assert_int_equal(port, 80);
	assert_int_equal(addr_from_sa(a, NULL, (struct sockaddr *)&in), 0);
	assert_int_equal(addr_from_sa(a, &port, (struct sockaddr *)&un), -1);
}

/* First and last address of each block, and the neighbours outside. */
static void test_addr_global(void **state)
{
	static const char *const no[] = {
		"0.0.0.0",
		"0.255.255.255",
		"10.0.0.0",
		"10.255.255.255",
		"100.64.0.0",
		"100.127.255.255",
		"127.0.0.1",
		"127.255.255.255",
		"169.254.0.0",
		"169.254.255.255",
		"172.16.0.0",
		"172.31.255.255",
		"192.0.0.0",
		"192.0.0.8",
		"192.0.0.170",
		"192.0.0.255",
		"192.0.2.0",
		"192.0.2.255",
		"192.88.99.1",
		"192.168.0.0",
		"192.168.255.255",
		"198.18.0.0",
		"198.19.255.255",
		"198.51.100.9",
		"203.0.113.255",
		"224.0.0.0",
		"239.255.255.255",
		"240.0.0.0",
		"255.255.255.255",
		"::",
		"::1",
		"::2",
		"::1.2.3.4",
		"::ffff:10.0.0.1",
		"64:ff9b::10.0.0.1",
		"64:ff9b::127.0.0.1",
		"64:ff9b:1::1.2.3.4",
		"64:ff9b:0:1::1.2.3.4",
		"100::1",
		"100:0:0:1::1",
		"2001::1",
		"2001:0:4136:e378:8000:63bf:3fff:fdd2",
		"2001:1::4",
		"2001:2::1",
		"2001:10::1",
		"2001:1ff:ffff::1",
		"2001:db8::1",
		"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
		"2002:0a00:0001::1",
		"2002:7f00:1::1",
		"2002:c0a8:101::1",
		"3fff::1",
		"3fff:fff:ffff::1",
		"4000::1",
		"5f00::1",
		"fc00::1",
		"fdff:ffff::1",
		"fe80::1",
		"febf::1",
		"fec0::1",
		"ff02::1",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	};
	static const char *const yes[] = {
		"1.0.0.0",          "9.255.255.255",
		"11.0.0.0",         "100.63.255.255",
		"100.128.0.0",      "126.255.255.255",
		"128.0.0.0",        "169.253.255.255",
		"169.255.0.0",      "172.15.255.255",
		"172.32.0.0",       "192.0.0.9",
		"192.0.0.10",       "192.0.1.0",
		"192.0.3.0",        "192.31.196.1",
		"192.52.193.1",     "192.88.98.255",
		"192.88.100.0",     "192.167.255.255",
		"192.169.0.0",      "192.175.48.1",
		"198.17.255.255",   "198.20.0.0",
		"198.51.99.255",    "203.0.112.255",
		"203.0.114.0",      "223.255.255.255",
		"::ffff:8.8.8.8",   "64:ff9b::8.8.8.8",
		"2001:1::1",        "2001:1::2",
		"2001:1::3",        "2001:3::1",
		"2001:4:112::1",    "2001:20::1",
		"2001:2f:ffff::1",  "2001:30::1",
		"2001:200::1",      "2001:4860:4860::8888",
		"2001:db7:ffff::1", "2001:db9::1",
		"2002:808:808::1",  "2000::1",
		"2620:4f:8000::1",  "2a00::1",
		"3ffe:ffff::1",     "3fff:1000::1",
	};
	uint8_t a[ADDR_LEN];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(no); i++) {
		assert_int_equal(addr_parse(a, no[i]), 0);
		if (addr_is_global(a))
			fail_msg("%s is not global", no[i]);
	}
	for (size_t i = 0; i < PS_ARRAY_LEN(yes); i++) {
		assert_int_equal(addr_parse(a, yes[i]), 0);
		if (!addr_is_global(a))
			fail_msg("%s is global", yes[i]);
	}
}

/* --- log ------------------------------------------------------------------ */

static char log_path[] = "/tmp/peerscope-log-XXXXXX";

static int log_setup(void **state)
{
	int fd = mkstemp(log_path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int log_teardown(void **state)
{
	char err[ERRLEN];

	(void)state;
	unlink(log_path);
	return log_open("test", LOG_NOTICE, 0, "", err);
}

static void log_start(int level, int json)
{
	char err[ERRLEN] = "";

	assert_int_equal(truncate(log_path, 0), 0);
	if (log_open("w2.g7", level, json, log_path, err) != 0)
		fail_msg("%s", err);
}

static char *log_read(void)
{
	static char text[65536];
	FILE *f = fopen(log_path, "r");

	assert_non_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	return text;
}

static void test_log_text(void **state)
{
	char want[128], *line;

	(void)state;
	log_start(LOG_WARN, 0);
	assert_true(log_wants(LOG_FATAL) && log_wants(LOG_WARN) &&
		    !log_wants(LOG_NOTICE));
	errno = EINTR;
	log_warn("geo", "api %d after %dms\n\x1b[31m\xc3\xa9", 503, 1500);
	assert_int_equal(errno, EINTR);
	log_notice("geo", "not shown");
	line = log_read();
	snprintf(want, sizeof(want),
		 "Z peerscope[w2.g7 %ld] warn geo: api 503 after 1500ms??[31m??\n",
		 (long)getpid());
	assert_int_equal(strlen(line), 23 + strlen(want));
	assert_string_equal(line + 23, want);
	assert_int_equal(line[4], '-');
	assert_int_equal(line[10], 'T');
	assert_int_equal(line[19], '.');
}

static void test_log_json(void **state)
{
	cJSON *o;

	(void)state;
	log_start(LOG_DEBUG, 1);
	log_debug("http", "a \"quoted\" \\ path\t\xff");
	o = cJSON_Parse(log_read());
	assert_non_null(o);
	assert_string_equal(cJSON_GetObjectItem(o, "text")->valuestring,
			    "a \"quoted\" \\ path??");
	assert_string_equal(cJSON_GetObjectItem(o, "level")->valuestring, "debug");
	assert_string_equal(cJSON_GetObjectItem(o, "who")->valuestring, "w2.g7");
	assert_string_equal(cJSON_GetObjectItem(o, "topic")->valuestring, "http");
	assert_int_equal(cJSON_GetObjectItem(o, "pid")->valueint, getpid());
	assert_int_equal(strlen(cJSON_GetObjectItem(o, "time")->valuestring), 24);
	cJSON_Delete(o);
}

static void test_log_long_lines(void **state)
{
	char big[4000], *line;
	cJSON *o;

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_start(LOG_INFO, 0);
	log_info("t", "%s", big);
	line = log_read();
	assert_true(strlen(line) <= 1024 && strlen(line) > 1000);
	assert_int_equal(line[strlen(line) - 1], '\n');
	memset(big, '"', sizeof(big) - 1);
	log_start(LOG_INFO, 1);
	log_info("t", "%s", big);
	line = log_read();
	assert_true(strlen(line) <= 1024);
	assert_int_equal(line[strlen(line) - 1], '\n');
	o = cJSON_Parse(line);
	assert_non_null(o);
	cJSON_Delete(o);
}

static int count(const char *text, const char *what)
{
	int n = 0;

	while ((text = strstr(text, what))) {
		n++;
		text++;
	}
	return n;
}

static void test_log_burst(void **state)
{
	static struct log_site site, other;
	uint64_t second;

	(void)state;
	do { /* all within one second; again if it turned meanwhile */
		log_start(LOG_INFO, 0);
		memset(&site, 0, sizeof(site));
		second = clock_ms() / 1000;
		for (int i = 0; i < LOG_BURST + 37; i++)
			log_line(&site, LOG_INFO, "t", "alike");
		log_line(&other, LOG_INFO, "t", "another site");
	} while (clock_ms() / 1000 != second);
	assert_int_equal(count(log_read(), ": alike\n"), LOG_BURST);
	assert_int_equal(count(log_read(), "another site"), 1);
	site.second--; /* as if a second had passed */
	log_line(&site, LOG_INFO, "t", "alike");
	assert_int_equal(count(log_read(), ": alike\n"), LOG_BURST + 1);
	assert_int_equal(count(log_read(), "info t: (+37 alike)\n"), 1);
	site.second--;
	log_line(&site, LOG_INFO, "t", "alike");
	assert_int_equal(count(log_read(), "(+"), 1);
}

static void test_log_reopen(void **state)
{
	char moved[64], err[ERRLEN] = "";
	struct stat st;

	(void)state;
	log_start(LOG_INFO, 0);
	log_info("t", "before");
	snprintf(moved, sizeof(moved), "%s.1", log_path);
	assert_int_equal(rename(log_path, moved), 0);
	log_info("t", "into the moved one");
	assert_int_equal(stat(log_path, &st), -1);
	assert_int_equal(log_reopen(err), 0);
	log_info("t", "after");
	assert_int_equal(count(log_read(), "after"), 1);
	assert_int_equal(count(log_read(), "moved"), 0);
	unlink(moved);
	/* what can't be opened changes nothing */
	assert_int_equal(log_open("x", LOG_INFO, 1, "/nonexistent/dir/log", err), -1);
	assert_non_null(strstr(err, "/nonexistent/dir/log: No such file"));
	log_info("t", "still here");
	assert_non_null(strstr(log_read(), "[w2.g7 "));
	assert_int_equal(count(log_read(), "still here"), 1);
	assert_int_equal(log_open("test", LOG_INFO, 0, "", err), 0);
	assert_int_equal(log_reopen(err), 0);
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
		cmocka_unit_test(test_ident_forms),
		cmocka_unit_test(test_ident_base32_vectors),
		cmocka_unit_test(test_ident_bad),
		cmocka_unit_test(test_addr_text),
		cmocka_unit_test(test_addr_from_sa),
		cmocka_unit_test(test_addr_global),
		cmocka_unit_test(test_log_text),
		cmocka_unit_test(test_log_json),
		cmocka_unit_test(test_log_long_lines),
		cmocka_unit_test(test_log_burst),
		cmocka_unit_test(test_log_reopen),
	};

	return cmocka_run_group_tests_name("common", tests, log_setup, log_teardown);
}

/* test_ident.c -- ids in every spelling, addresses of every block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "common/addr.h"
#include "common/ident.h"

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
	assert_int_equal(parse(&id, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"), 0);
	for (int i = 0; i < IH_LEN; i++)
		assert_int_equal(id.key[i], i == IH_LEN - 1);
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
			memset(s, 'b', sizeof(s));
			assert_int_equal(ident_parse(&id, s, len, err), 0);
			/* all zeros: "a" is 0 in base32 */
			memset(s, len == 32 ? 'a' : '0', sizeof(s));
			assert_int_equal(ident_parse(&id, s, len, err), -1);
			assert_non_null(strstr(err, "zeros"));
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
	/* flat: two tables */
	static const char *const no[] = {"0.0.0.0",
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
					 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"};
	static const char *const yes[] = {"1.0.0.0",          "9.255.255.255",
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
					  "3ffe:ffff::1",     "3fff:1000::1"};
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

static int by_ranges(const uint8_t a[ADDR_LEN])
{
	uint8_t first[ADDR_LEN], last[ADDR_LEN];
	int global, out = -1;

	for (size_t i = 0; (global = addr_range(i, first, last)) >= 0; i++) {
		assert_int_equal(addr_is_v4(first), addr_is_v4(last));
		if (memcmp(a, first, ADDR_LEN) >= 0 && memcmp(a, last, ADDR_LEN) <= 0)
			out = global;
	}
	return out;
}

/* Each side of every border is in the ranges what it is by itself. */
static void test_addr_ranges(void **state)
{
	uint8_t first[ADDR_LEN], last[ADDR_LEN], a[ADDR_LEN];

	(void)state;
	for (size_t i = 0; addr_range(i, first, last) >= 0; i++)
		for (int way = -1; way <= 1; way++) {
			int carry = way;

			memcpy(a, way < 0 ? first : last, ADDR_LEN);
			for (int k = ADDR_LEN; carry && k-- > 0;) {
				carry += a[k];
				a[k] = (uint8_t)carry;
				carry = carry < 0 ? -1 : carry >> 8;
			}
			assert_int_equal(by_ranges(a), addr_is_global(a));
		}
	assert_int_equal(addr_parse(a, "64:ff9b::8.8.8.8"), 0);
	assert_int_equal(by_ranges(a), 1);
	assert_int_equal(addr_parse(a, "64:ff9b:1::1"), 0);
	assert_int_equal(by_ranges(a), 0);
	assert_int_equal(addr_parse(a, "64:ff9b::10.0.0.5"), 0);
	assert_int_equal(by_ranges(a), 0);
	assert_int_equal(addr_parse(a, "2002:7f00:1::1"), 0);
	assert_int_equal(by_ranges(a), 0);
	assert_int_equal(addr_parse(a, "2002:808:808::1"), 0);
	assert_int_equal(by_ranges(a), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ident_forms),
		cmocka_unit_test(test_ident_base32_vectors),
		cmocka_unit_test(test_ident_bad),
		cmocka_unit_test(test_addr_text),
		cmocka_unit_test(test_addr_from_sa),
		cmocka_unit_test(test_addr_global),
		cmocka_unit_test(test_addr_ranges),
	};

	return cmocka_run_group_tests_name("ident", tests, NULL, NULL);
}

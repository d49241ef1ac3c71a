/* test_webhook.c -- what webhooks are signed with, and when they are tried again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "collector/webhook.h"

/* printf '%s' '1700000000.{"a":1}' | openssl dgst -sha256 -hmac KEY */
static void test_signature(void **state)
{
	static const struct {
		const char *secret;
		uint64_t now_s;
		const char *body, *want;
	} t[] = {
		{"key", 1700000000, "{\"a\":1}",
		 "sha256="
		 "a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03"},
		{"", 0, "",
		 "sha256="
		 "b849d5a581847b281957065739df36df2463d1977ea8d6e1e4e6cf33fadc68c3"},
		{"a key that is longer than the block of SHA-256, which has 64 bytes, so "
		 "that it is hashed first",
		 18446744073709551615u, "x",
		 "sha256="
		 "f39d7f2fa841ea2c12f7997117e19140be930c319396e6e568fc47b655c60001"},
	};
	char out[WEBHOOK_SIGNATURE];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++) {
		webhook_sign(out, t[i].secret, t[i].now_s, t[i].body, strlen(t[i].body));
		assert_string_equal(out, t[i].want);
	}
}

static void test_pauses(void **state)
{
	(void)state;
	assert_int_equal(webhook_pause_ms(1, 0), 5000);
	assert_int_equal(webhook_pause_ms(2, 0), 30000);
	assert_int_equal(webhook_pause_ms(WEBHOOK_TRIES, 0), 0);
	assert_int_equal(webhook_pause_ms(WEBHOOK_TRIES, 9000), 0);
	assert_int_equal(webhook_pause_ms(UINT32_MAX, 0), 0);
	/* as long as the server wants, but for years */
	assert_int_equal(webhook_pause_ms(1, 7000), 7000);
	assert_int_equal(webhook_pause_ms(1, 3000), 5000);
	assert_int_equal(webhook_pause_ms(2, UINT64_MAX), WEBHOOK_PAUSE_MAX_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signature),
		cmocka_unit_test(test_pauses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

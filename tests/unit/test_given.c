/* test_given.c -- peers that a question names: their spelling, and the text of a job. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shm/given.h"

static const uint8_t V2[IH_V2_LEN] = {0xca, 0xce, 0xf0};

static int add(struct given *g, const char *value)
{
	char err[ERRLEN] = "";
	int rc = given_add(g, value, err);

	assert_int_equal(rc != 0, strstr(err, "x.pe") != NULL);
	return rc;
}

static void expect(const struct given *g, uint32_t i, const char *addr, int port)
{
	char text[ADDR_TEXT_MAX];

	addr_text(text, g->peer[i].addr);
	assert_string_equal(text, addr);
	assert_int_equal(g->peer[i].port, port);
}

static void test_endpoints(void **state)
{
	static const char *const bad[] = {
		"",
		":",
		":6881",
		"1.2.3.4",
		"1.2.3.4:",
		"1.2.3.4:65536",
		"1.2.3.4:99999",
		"1.2.3.4:000006",
		"1.2.3.4:4294974177",
		"1.2.3.4:+1",
		"1.2.3.4: 1",
		"1.2.3.4:1 ",
		"1.2.3.4:0x1",
		" 1.2.3.4:1",
		"1.2.3:1",
		"1.2.3.4.5:1",
		"[1.2.3.4]:1",
		"2001:db8::1:6881",
		"2001:db8::1",
		"[2001:db8::1]",
		"[2001:db8::1]6881",
		"[2001:db8::1]:",
		"[2001:db8::1:6881",
		"2001:db8::1]:6881",
		"[]:6881",
		"[:6881",
		"[fe80::1%eth0]:6881",
		"[2001:db8::1]]:6881",
		"localhost:6881",
		"example.com:6881",
		"[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]:1",
	};
	struct given g = {.n = 0};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(bad); i++)
		if (add(&g, bad[i]) == 0)
			fail_msg("\"%s\" was taken", bad[i]);
	assert_int_equal(g.n, 0);
	assert_int_equal(add(&g, "192.0.2.7:6881"), 0);
	assert_int_equal(add(&g, "[2001:db8::1]:65535"), 0);
	assert_int_equal(add(&g, "192.0.2.7:0"), 0); /* refused later, and counted */
	assert_int_equal(add(&g, "[::ffff:192.0.2.7]:6881"), 0); /* the first one again */
	assert_int_equal(add(&g, "192.0.2.7:06881"), 0);
	assert_int_equal(g.n, 3);
	expect(&g, 0, "192.0.2.7", 6881);
	expect(&g, 1, "2001:db8::1", 65535);
	expect(&g, 2, "192.0.2.7", 0);
}

static struct given some(uint32_t n)
{
	struct given g = {.n = n};

	for (uint32_t i = 0; i < n; i++) {
		memset(g.peer[i].addr, (int)i + 1, ADDR_LEN);
		g.peer[i].port = (uint16_t)(0x1a00 + i);
	}
	return g;
}

static void test_no_more_than_sixteen(void **state)
{
	struct given g = some(GIVEN_MAX - 1);

	(void)state;
	assert_int_equal(add(&g, "192.0.2.7:6881"), 0);
	assert_int_equal(add(&g, "192.0.2.7:6881"), 0); /* it is there already */
	assert_int_equal(add(&g, "192.0.2.8:6881"), -1);
	assert_int_equal(g.n, GIVEN_MAX);
}

static void test_those_of_another_question(void **state)
{
	struct given g = some(GIVEN_MAX - 2), other = some(GIVEN_MAX);

	(void)state;
	assert_int_equal(given_more(&g, &g), 0);
	assert_int_equal(g.n, GIVEN_MAX - 2);
	other.peer[0].port++; /* only this one and the last two are new: one too many */
	assert_int_equal(given_more(&g, &other), 1);
	assert_int_equal(g.n, GIVEN_MAX);
	assert_memory_equal(&g.peer[GIVEN_MAX - 2], &other.peer[0], sizeof(g.peer[0]));
	assert_memory_equal(&g.peer[GIVEN_MAX - 1], &other.peer[GIVEN_MAX - 2],
			    sizeof(g.peer[0]));
}

static void test_round_trip(void **state)
{
	static const uint32_t counts[] = {0, 1, 7, GIVEN_MAX};
	uint8_t text[GIVEN_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < 2 * PS_ARRAY_LEN(counts); i++) {
		const uint8_t *v2 = i % 2 ? V2 : NULL, *found, *written;
		struct given in = some(counts[i / 2]), out;
		struct shm_job job = {.flags = JOB_F_SETTLED};

		written = given_write(&job, text, v2, &in);
		assert_int_equal(job.text_len, (v2 ? 32 : 0) + 18 * in.n);
		assert_int_equal(written != NULL, job.text_len != 0);
		assert_true(job.flags & JOB_F_SETTLED);
		assert_int_equal(given_read(&job, text, &found, &out), 0);
		assert_int_equal(found != NULL, v2 != NULL);
		if (v2)
			assert_memory_equal(found, V2, IH_V2_LEN);
		assert_int_equal(out.n, in.n);
		assert_memory_equal(out.peer, in.peer, in.n * sizeof(in.peer[0]));
	}
}

/* Every length under every pair of flags: what is not exactly right is refused. */
static void test_lengths(void **state)
{
	uint8_t text[GIVEN_TEXT_MAX + 64];
	const uint8_t *v2;
	struct given g;

	(void)state;
	memset(text, 0x55, sizeof(text));
	for (uint32_t flags = 0; flags < 16; flags++) {
		size_t head = flags & JOB_F_V2 ? IH_V2_LEN : 0;

		for (uint16_t len = 0; len <= sizeof(text); len++) {
			struct shm_job job = {.flags = flags, .text_len = len};
			size_t n = len < head ? 0 : (len - head) / 18;
			int fine = flags & JOB_F_GIVEN
					   ? n >= 1 && n <= 16 && len == head + 18 * n
					   : len == head;

			if ((given_read(&job, text, &v2, &g) == 0) != fine)
				fail_msg("flags %u, %u bytes", flags, len);
			assert_true(g.n <= GIVEN_MAX);
			if (fine)
				assert_int_equal(g.n, n);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_no_more_than_sixteen),
		cmocka_unit_test(test_those_of_another_question),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

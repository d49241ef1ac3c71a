/* test_conf.c -- the key table: every type, every bound, every complaint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/conf.h"

#define PART_MAX 8

static const struct conf_key *key(const char *section, const char *name)
{
	size_t n;
	const struct conf_key *k = conf_keys(&n);

	for (size_t i = 0; i < n; i++, k++) {
		if (strcmp(k->section, section) == 0 && strcmp(k->key, name) == 0)
			return k;
	}
	fail_msg("no key %s.%s", section, name);
	return NULL;
}

/* --- the table ------------------------------------------------------------- */

static void test_defaults_round_trip(void **state)
{
	static struct conf a, b;
	char text[5000], err[ERRLEN];
	size_t n;
	const struct conf_key *k = conf_keys(&n);

	(void)state;
	assert_true(n > 40);
	memset(&a, 0xff, sizeof(a));
	conf_defaults(&a);
	memset(&b, 0, sizeof(b));
	for (size_t i = 0; i < n; i++) {
		conf_text(&a, &k[i], text, sizeof(text));
		assert_string_equal(text, k[i].def);
		assert_int_equal(conf_set(&b, &k[i], text, err), 0);
		assert_true(strlen(k[i].help) > 10);
		assert_true(k[i].min <= k[i].max);
	}
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(a.cache_ttl_ms, 30000);
	assert_int_equal(a.http_max_uri_bytes, 8192);
	assert_int_equal(a.cache_max_peers, 50);
	assert_int_equal(a.swarm_dht, 1);
	assert_int_equal(a.redis_mode, REDIS_BUNDLED);
	assert_int_equal(a.log_level, 3);
	assert_string_equal(a.http_listen, "0.0.0.0:8080");
	assert_string_equal(a.shm_name, "/peerscope");
}

static void test_bounds_of_every_number(void **state)
{
	static struct conf c;
	char text[64], err[ERRLEN];
	size_t n;
	const struct conf_key *k = conf_keys(&n);

	(void)state;
	conf_defaults(&c);
	for (size_t i = 0; i < n; i++, k++) {
		const char *unit = k->type == CONF_MS     ? "ms"
				   : k->type == CONF_SIZE ? "b"
							  : "";

		if (k->type != CONF_MS && k->type != CONF_SIZE && k->type != CONF_INT)
			continue;
		snprintf(text, sizeof(text), "%" PRId64 "%s", k->min, unit);
		assert_int_equal(conf_set(&c, k, text, err), 0);
		snprintf(text, sizeof(text), "%" PRId64 "%s", k->max, unit);
		assert_int_equal(conf_set(&c, k, text, err), 0);
		snprintf(text, sizeof(text), "%" PRId64 "%s", k->max + 1, unit);
		assert_int_equal(conf_set(&c, k, text, err), -1);
		assert_non_null(strstr(err, "out of range"));
		if (k->min > 0) {
			snprintf(text, sizeof(text), "%" PRId64 "%s", k->min - 1, unit);
			assert_int_equal(conf_set(&c, k, text, err), -1);
		}
		assert_int_equal(conf_set(&c, k, "99999999999999999999999", err), -1);
		assert_int_equal(conf_set(&c, k, "18446744073709551615", err), -1);
		assert_int_equal(conf_set(&c, k, "-1", err), -1);
		assert_int_equal(conf_set(&c, k, "", err), -1);
	}
}

static void test_bounds_of_every_text(void **state)
{
	static struct conf c, before;
	static char text[8000];
	char err[ERRLEN];
	size_t n;
	const struct conf_key *k = conf_keys(&n);

	(void)state;
	conf_defaults(&c);
	for (size_t i = 0; i < n; i++, k++) {
		if (k->type != CONF_STR && k->type != CONF_SECRET)
			continue;
		memset(text, 'a', sizeof(text));
		text[k->max + 1] = '\0';
		before = c;
		assert_int_equal(conf_set(&c, k, text, err), -1);
		assert_non_null(strstr(err, "too long"));
		assert_memory_equal(&c, &before,
				    sizeof(c)); /* a refusal changes nothing */
		text[k->max] = '\0';
		assert_int_equal(conf_set(&c, k, text, err), 0);
		assert_int_equal(conf_set(&c, k, "", err), k->min > 0 ? -1 : 0);
	}
}

struct word {
	const char *text;
	int64_t value; /* -1: refused, and err is */
	const char *err;
};

static void check_words(const char *section, const char *name, const struct word *w,
			size_t n)
{
	const struct conf_key *k = key(section, name);
	static struct conf c;
	char err[ERRLEN];

	conf_defaults(&c);
	for (size_t i = 0; i < n; i++) {
		const char *field = (const char *)&c + k->offset;
		int rc = conf_set(&c, k, w[i].text, err);
		int64_t big;
		int small;

		if (rc != (w[i].err ? -1 : 0))
			fail_msg("%s.%s = '%s': %d", section, name, w[i].text, rc);
		if (w[i].err) {
			assert_string_equal(err, w[i].err);
			continue;
		}
		memcpy(&big, field, sizeof(big));
		memcpy(&small, field, sizeof(small));
		if (k->type == CONF_MS || k->type == CONF_SIZE || k->type == CONF_INT)
			assert_int_equal(big, w[i].value);
		else
			assert_int_equal(small, w[i].value);
	}
}

static void test_times(void **state)
{
	static const struct word w[] = {
		{"1500ms", 1500, NULL},
		{"30s", 30000, NULL},
		{"10m", 600000, NULL},
		{"2h", 7200000, NULL},
		{"7d", 604800000, NULL},
		{"2H", 7200000, NULL},
		{"0ms", 0, NULL},
		{"5", -1, "needs a unit, e.g. 10m"},
		{"5x", -1, "units are ms, s, m, h or d"},
		{"5 s", -1, "units are ms, s, m, h or d"},
		{"1.5s", -1, "units are ms, s, m, h or d"},
		{"8d", -1, "out of range, 0s to 7d"},
		{"s", -1, "must be a number and a unit, e.g. 10m"},
		{"-5s", -1, "must be a number and a unit, e.g. 10m"},
	};

	(void)state;
	check_words("cache", "grace", w, PS_ARRAY_LEN(w));
}

static void test_sizes(void **state)
{
	static const struct word w[] = {
		{"500b", 500, NULL},
		{"8k", 8192, NULL},
		{"1m", 1048576, NULL},
		{"1M", 1048576, NULL},
		{"1024k", 1048576, NULL},
		{"65536", -1, "needs a unit, e.g. 64k"},
		{"64kb", -1, "units are b, k, m or g"},
		{"2m", -1, "out of range, 0b to 1m"},
		{"17179869185g", -1, "out of range, 0b to 1m"}, /* would wrap to 1g */
		{"big", -1, "must be a number and a unit, e.g. 64k"},
	};

	(void)state;
	check_words("http", "max_body", w, PS_ARRAY_LEN(w));
}

static void test_numbers_and_switches(void **state)
{
	static const struct word number[] = {
		{"0", 0, NULL},
		{"32", 32, NULL},
		{"007", 7, NULL},
		{"33", -1, "out of range, 0 to 32"},
		{"two", -1, "must be a whole number, e.g. 0"},
		{"2x", -1, "must be a whole number, e.g. 0"},
		{"0x2", -1, "must be a whole number, e.g. 0"},
	};
	static const struct word bools[] = {
		{"on", 1, NULL},
		{"off", 0, NULL},
		{"TRUE", 1, NULL},
		{"False", 0, NULL},
		{"yes", 1, NULL},
		{"no", 0, NULL},
		{"1", 1, NULL},
		{"0", 0, NULL},
		{"2", -1, "must be on or off"},
		{"", -1, "must be on or off"},
	};

	(void)state;
	check_words("http", "workers", number, PS_ARRAY_LEN(number));
	check_words("swarm", "dht", bools, PS_ARRAY_LEN(bools));
}

static void test_word_types(void **state)
{
	static const struct word mode[] = {
		{"bundled", 0, NULL},
		{"EXTERNAL", 1, NULL},
		{"off", 2, NULL},
		{"on", -1, "must be bundled, external or off"},
	};
	static const struct word level[] = {
		{"fatal", 0, NULL},
		{"debug", 5, NULL},
		{"warning", -1, "must be fatal, error, warn, notice, info or debug"},
	};
	static const struct word format[] = {
		{"text", 0, NULL},
		{"json", 1, NULL},
		{"xml", -1, "must be text or json"},
	};

	(void)state;
	check_words("redis", "mode", mode, PS_ARRAY_LEN(mode));
	check_words("log", "level", level, PS_ARRAY_LEN(level));
	check_words("log", "format", format, PS_ARRAY_LEN(format));
	assert_string_equal(conf_words(CONF_LOG_FORMAT)[1], "json");
	assert_null(conf_words(CONF_LOG_FORMAT)[2]);
	assert_null(conf_words(CONF_STR));
}

static void test_texts(void **state)
{
	static struct conf c;
	char err[ERRLEN], text[64];

	(void)state;
	conf_defaults(&c);
	assert_int_equal(conf_set(&c, key("http", "listen"), "", err), -1);
	assert_string_equal(err, "must not be empty");
	assert_int_equal(conf_set(&c, key("shm", "name"), "/", err), -1);
	assert_string_equal(err, "too short");
	assert_int_equal(conf_set(&c, key("geo", "city_db"), "\"/x y\"", err), -1);
	assert_string_equal(err, "values are written without quotes");
	assert_int_equal(conf_set(&c, key("geo", "city_db"), "/x\ny", err), -1);
	assert_string_equal(err, "contains a control character");
	assert_int_equal(conf_set(&c, key("swarm", "interface"), "0123456789abcdef", err),
			 -1);
	assert_string_equal(err, "too long, 16 bytes of at most 15");
	assert_int_equal(conf_set(&c, key("redis", "url"), "redis://:pw@h", err), 0);
	conf_text(&c, key("redis", "url"), text, sizeof(text));
	assert_string_equal(text, "redis://:pw@h");
	conf_text(&c, key("redis", "url"), text, 6); /* cut, and ended */
	assert_string_equal(text, "redis");
}

static void test_unit_of_texts(void **state)
{
	static const char *const t[][2] = {
		{"90000ms", "90s"},   {"60s", "1m"}, {"3600s", "1h"}, {"86400s", "1d"},
		{"1001ms", "1001ms"}, {"0ms", "0s"}, {"25h", "25h"},
	};
	static struct conf c;
	char err[ERRLEN], text[64];

	(void)state;
	conf_defaults(&c);
	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++) {
		assert_int_equal(conf_set(&c, key("cache", "grace"), t[i][0], err), 0);
		conf_text(&c, key("cache", "grace"), text, sizeof(text));
		assert_string_equal(text, t[i][1]);
	}
}

static void test_list(void **state)
{
	const char *list = " a , bb,,\tccccccccc ,d,";
	char item[PART_MAX];
	static const char *const want[] = {"a", "bb", "", "", "d"};
	size_t n = 0;

	(void)state;
	while ((list = conf_list_next(list, item, sizeof(item)))) {
		assert_true(n < PS_ARRAY_LEN(want));
		assert_string_equal(item, want[n++]);
	}
	assert_int_equal(n, PS_ARRAY_LEN(want));
	assert_string_equal(item, "");
	assert_null(conf_list_next("", item, sizeof(item)));
	assert_null(conf_list_next("  ", item, sizeof(item)));
	assert_non_null(conf_list_next("1234567", item, sizeof(item)));
	assert_string_equal(item, "1234567"); /* just fits */
	assert_non_null(conf_list_next("12345678", item, sizeof(item)));
	assert_string_equal(item, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults_round_trip),
		cmocka_unit_test(test_bounds_of_every_number),
		cmocka_unit_test(test_bounds_of_every_text),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_numbers_and_switches),
		cmocka_unit_test(test_word_types),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_unit_of_texts),
		cmocka_unit_test(test_list),
	};

	return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}

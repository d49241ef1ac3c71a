/* test_geo.c -- geo/ against real MMDB files, made by tests/geo/make-mmdb.pl. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "geo/country.h"
#include "geo/geo.h"
#include "tests/unit/geo_stage.h"

/* Up to three files; NULL or "": none there. */
static const struct geo_paths *paths(const char *city, const char *asn, const char *more)
{
	static struct geo_paths p;
	const char *const from[] = {city, asn, more};

	memset(&p, 0, sizeof(p));
	for (size_t i = 0; i < PS_ARRAY_LEN(from); i++)
		snprintf(p.path[i], sizeof(p.path[i]), "%s", from[i] ? from[i] : "");
	return &p;
}

static struct geo *must_open_three(const char *city, const char *asn, const char *more)
{
	struct geo *g = NULL;
	char err[ERRLEN] = "";

	if (geo_open(&g, paths(city, asn, more), err) != 0)
		fail_msg("%s", err);
	return g;
}

static struct geo *must_open(const char *city, const char *asn)
{
	return must_open_three(city, asn, NULL);
}

static int look(struct geo *g, const char *text, struct place *p)
{
	uint8_t a[ADDR_LEN];

	assert_int_equal(addr_parse(a, text), 0);
	memset(p, 0x5a, sizeof(*p)); /* every field must be written */
	return geo_lookup(g, a, p);
}

static void test_nested(void **state)
{
	struct geo *g = must_open(file("city.mmdb"), file("asn.mmdb"));
	struct place p;

	(void)state;
	assert_int_equal(look(g, "127.0.0.1", &p), 1);
	assert_string_equal(p.code, "US");
	assert_string_equal(p.country, "United States");
	assert_string_equal(p.city, "New York");
	assert_string_equal(p.region, "New York");
	assert_string_equal(p.timezone, "America/New_York");
	assert_string_equal(p.isp, "Example ISP");
	assert_string_equal(p.source, "mmdb:city");
	assert_int_equal(p.has_point, 1);
	assert_int_equal(p.lat_e5, 4071280);
	assert_int_equal(p.lon_e5, -7400600);
	assert_int_equal(p.accuracy_km, 20);
	assert_int_equal(p.asn, 64500);
	assert_int_equal(look(g, "::ffff:127.0.255.255", &p), 1);
	assert_string_equal(p.city, "New York");
	assert_int_equal(look(g, "2001:db8:1::77", &p), 1);
	assert_string_equal(p.city, "Berlin");
	assert_string_equal(p.isp, "Six \"Quoted\" Net");
	assert_int_equal(look(g, "198.51.100.9", &p), 1);
	assert_string_equal(p.city, "S\xc3\xa3o Paulo");
	assert_int_equal(p.lat_e5, -2354750);
	assert_int_equal(p.asn, 0);
	assert_string_equal(p.isp, "");
	geo_close(&g);
	assert_null(g);
	geo_close(&g);
}

static void test_parts_of_a_record(void **state)
{
	struct geo *g = must_open(file("city.mmdb"), file("asn.mmdb"));
	struct place p;

	(void)state;
	assert_int_equal(look(g, "127.2.0.1", &p), 1); /* country alone */
	assert_string_equal(p.country, "Japan");
	assert_string_equal(p.city, "");
	assert_int_equal(p.has_point, 0);
	assert_int_equal(look(g, "127.3.0.1", &p), 1); /* an AS alone */
	assert_string_equal(p.country, "");
	assert_string_equal(p.code, "");
	assert_int_equal(p.asn, 64503);
	assert_string_equal(p.source, "mmdb:asn");
	assert_int_equal(look(g, "192.0.2.1", &p), 1);
	assert_true(p.asn == 4200000000u);
	assert_int_equal(look(g, "203.0.113.5", &p), 1); /* where it is registered */
	assert_string_equal(p.code, "NL");
	assert_string_equal(p.country, "The Netherlands");
	assert_int_equal(look(g, "127.4.0.1", &p), 0);
	assert_string_equal(p.source, "");
	assert_int_equal(look(g, "2001:db8:ffff::1", &p), 0);
	geo_close(&g);
}

static void test_long_text_is_cut_between_characters(void **state)
{
	struct geo *g = must_open(file("city.mmdb"), "");
	struct place p;

	(void)state;
	assert_int_equal(look(g, "198.51.100.200", &p), 1);
	assert_int_equal(strlen(p.city), 94); /* 47 times two bytes; 95 would fit */
	assert_string_equal(p.city + 92, "\xc3\xa9");
	geo_close(&g);
}

static void check_flat(const char *name)
{
	struct geo *g = must_open(file(name), "");
	struct place p;

	assert_int_equal(look(g, "192.0.2.1", &p), 1);
	assert_string_equal(p.code, "GB");
	assert_string_equal(p.country,
			    "United Kingdom"); /* the file has the code alone */
	assert_string_equal(p.city, "London");
	assert_string_equal(p.region, "England");
	assert_string_equal(p.timezone, "Europe/London");
	assert_int_equal(p.has_point, 1);
	assert_int_equal(p.lat_e5, 5150853);
	assert_int_equal(p.lon_e5, -12574);
	assert_int_equal(p.accuracy_km, 0);
	assert_int_equal(look(g, "2001:db8:1::1", &p), 1);
	assert_string_equal(p.country, "Cura\xc3\xa7"
				       "ao");
	assert_string_equal(p.region, "");
	assert_int_equal(look(g, "203.0.113.1", &p),
			 1); /* code of no country, point off the map */
	assert_string_equal(p.code, "ZZ");
	assert_string_equal(p.country, "");
	assert_string_equal(p.city, "Nowhere");
	assert_int_equal(p.has_point, 0);
	assert_int_equal(look(g, "203.0.113.200", &p),
			 1); /* 0, 0 is a point; 4! no code */
	assert_string_equal(p.code, "");
	assert_int_equal(p.has_point, 1);
	assert_int_equal(look(g, "127.2.9.9", &p), 1);
	assert_string_equal(p.country, "Japan");
	geo_close(&g);
}

static void test_flat(void **state)
{
	(void)state;
	check_flat("city-flat.mmdb");
	check_flat("city-text.mmdb");
}

static void test_flat_text_oddities(void **state)
{
	struct geo *g = must_open(file("city-text.mmdb"), "");
	struct place p;

	(void)state;
	assert_int_equal(look(g, "198.51.100.1", &p), 1);
	assert_string_equal(p.code, "US"); /* written "us" */
	assert_string_equal(p.country, "United States");
	assert_int_equal(p.has_point, 0); /* "42.36x" is no number */
	geo_close(&g);
}

static void test_lite(void **state)
{
	struct geo *g = must_open(file("lite.mmdb"), "");
	struct place p;

	(void)state;
	assert_int_equal(look(g, "127.0.0.1", &p), 1);
	assert_string_equal(p.code, "US");
	assert_string_equal(p.country, "United States");
	assert_int_equal(p.asn, 64500);
	assert_string_equal(p.isp, "Example ISP");
	assert_int_equal(look(g, "127.1.0.1", &p), 1); /* "country" holds the code */
	assert_string_equal(p.code, "DE");
	assert_string_equal(p.country, "Germany");
	assert_int_equal(p.asn, 64501);
	geo_close(&g);
}

static void test_first_file_wins(void **state)
{
	struct geo *g = must_open(file("lite.mmdb"), file("asn.mmdb"));
	struct place p;

	(void)state;
	assert_int_equal(look(g, "127.1.0.1", &p), 1);
	assert_string_equal(p.isp, "Beispiel Netz GmbH"); /* lite has no name there */
	assert_string_equal(p.source, "mmdb:city");
	geo_close(&g);
	g = must_open(file("city-flat.mmdb"), file("city.mmdb"));
	assert_int_equal(look(g, "192.0.2.1", &p), 1);
	assert_string_equal(p.code, "GB"); /* and not the second file's Berlin */
	assert_string_equal(p.country, "United Kingdom");
	assert_string_equal(p.city, "London");
	assert_int_equal(p.lat_e5, 5150853);
	geo_close(&g);
}

static void test_ipv4_tree(void **state)
{
	struct geo *g = must_open(file("city-v4.mmdb"), "");
	struct place p;

	(void)state;
	assert_int_equal(look(g, "127.1.0.1", &p), 1);
	assert_string_equal(p.city, "Berlin");
	assert_int_equal(look(g, "2001:db8:1::1", &p), 0);
	assert_int_equal(look(g, "::1", &p), 0);
	geo_close(&g);
}

/* Each layout that we know of; what a file does not have is "" or 0. */
static const struct layout_case {
	const char *file, *code, *country, *city, *region, *timezone;
	int has_point;
	uint32_t km, asn;
	const char *isp;
} layouts[] = {
	{"country.mmdb", "DE", "Germany", "", "", "", 0, 0, 0, ""},
	{"isp.mmdb", "", "", "", "", "", 0, 0, 64501, "Beispiel Netz"},
	{"enterprise.mmdb", "DE", "Germany", "Berlin", "State of Berlin", "Europe/Berlin",
	 1, 20, 64501, "Beispiel Netz"},
	{"dbip-full.mmdb", "DE", "Germany", "Berlin", "State of Berlin", "Europe/Berlin",
	 1, 20, 64501, "A Customer"},
	{"dbip-city.mmdb", "DE", "Germany", "Berlin", "State of Berlin", "", 1, 0, 0, ""},
	{"dbip-asn.mmdb", "", "", "", "", "", 0, 0, 64501, "Beispiel Netz"},
	{"ipinfo-location.mmdb", "DE", "Germany", "Berlin", "State of Berlin",
	 "Europe/Berlin", 1, 50, 0, ""},
	{"ipinfo-asn.mmdb", "", "", "", "", "", 0, 0, 64501, "Beispiel Netz"},
	{"ipinfo-country-asn.mmdb", "DE", "Germany", "", "", "", 0, 0, 64501,
	 "Beispiel Netz"},
	{"ipinfo-core.mmdb", "DE", "Germany", "Berlin", "State of Berlin",
	 "Europe/Berlin", 1, 0, 64501, "Beispiel Netz"},
	{"flat-country.mmdb", "DE", "Germany", "", "", "", 0, 0, 0, ""},
	{"flat-asn.mmdb", "", "", "", "", "", 0, 0, 64501, "Beispiel Netz"},
	{"flat-geolite2.mmdb", "DE", "Germany", "Berlin", "State of Berlin",
	 "Europe/Berlin", 1, 0, 0, ""},
	{"odd.mmdb", "DE", "Germany", "", "", "", 0, 0, 0, ""},
};

static void check_layout(const struct layout_case *l)
{
	struct geo *g = must_open_three(NULL, NULL, file(l->file));
	struct place p;

	assert_int_equal(look(g, "192.0.2.77", &p), 1);
	assert_string_equal(p.code, l->code);
	assert_string_equal(p.country, l->country);
	assert_string_equal(p.city, l->city);
	assert_string_equal(p.region, l->region);
	assert_string_equal(p.timezone, l->timezone);
	assert_int_equal(p.has_point, l->has_point);
	assert_int_equal(p.lat_e5, l->has_point ? 5252437 : 0);
	assert_int_equal(p.lon_e5, l->has_point ? 1341053 : 0);
	assert_int_equal(p.accuracy_km, l->km);
	assert_int_equal(p.asn, l->asn);
	assert_string_equal(p.isp, l->isp);
	assert_string_equal(p.source, "mmdb:more1");
	geo_close(&g);
}

static void test_every_layout(void **state)
{
	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(layouts); i++)
		check_layout(&layouts[i]);
}

static void test_a_town_and_its_country_agree(void **state)
{
	struct geo *g = must_open_three(file("far.mmdb"), NULL, file("city.mmdb"));
	struct place p;

	(void)state;
	assert_int_equal(look(g, "127.1.0.1", &p), 1);
	assert_string_equal(p.city, "Lyon");
	geo_close(&g);
	/* A country alone, then a file that says another one: no town of that. */
	g = must_open_three(file("flat-country.mmdb"), NULL, file("city-flat.mmdb"));
	assert_int_equal(look(g, "192.0.2.1", &p), 1);
	assert_string_equal(p.code, "DE");
	assert_string_equal(p.city, ""); /* and not London */
	assert_int_equal(p.has_point, 0);
	geo_close(&g);
	/* The same country: its town. And an AS is taken whatever the country. */
	g = must_open_three(file("flat-country.mmdb"), file("lite.mmdb"),
			    file("city.mmdb"));
	assert_int_equal(look(g, "192.0.2.1", &p), 1);
	assert_string_equal(p.city, "Berlin");
	assert_string_equal(p.source, "mmdb:city");
	geo_close(&g);
	g = must_open_three(file("city.mmdb"), NULL, file("far.mmdb"));
	assert_int_equal(look(g, "127.1.0.1", &p), 1);
	assert_string_equal(p.city, "Berlin");
	assert_string_equal(p.isp, "Lyon Net");
	geo_close(&g);
}

static void test_ipv4_inside(void **state)
{
	struct geo *g = must_open(file("city-v4.mmdb"), "");
	struct place p;
	static const char *const berlin[] = {
		"::ffff:192.0.2.9",                   /* mapped */
		"2002:c000:209::1",                   /* 6to4 */
		"2002:c000:209:ffff::",               /* any subnet of it */
		"2001:0:102:304:8000:1234:3fff:fdf6", /* Teredo; 192.0.2.9 flipped */
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(berlin); i++) {
		assert_int_equal(look(g, berlin[i], &p), 1);
		assert_string_equal(p.city, "Berlin");
	}
	assert_int_equal(look(g, "2001:1:102:304:8000:1234:3fff:fdf6", &p), 0);
	assert_int_equal(look(g, "2003:c000:209::1", &p), 0);
	geo_close(&g);
}

static void test_list_of_further_files(void **state)
{
	static struct conf c;
	static struct geo_paths p;
	char err[ERRLEN];

	(void)state;
	conf_defaults(&c);
	snprintf(c.geo_city_db, sizeof(c.geo_city_db), "/a");
	snprintf(c.geo_more_db, sizeof(c.geo_more_db), "/1, /2,/3 ,/4,/5,/6");
	assert_int_equal(geo_paths(&p, &c, err), 0);
	assert_string_equal(p.path[0], "/a");
	assert_string_equal(p.path[1], "");
	assert_string_equal(p.path[2], "/1");
	assert_string_equal(p.path[4], "/3");
	assert_string_equal(p.path[7], "/6");
	assert_string_equal(geo_role(7), "more6");
	snprintf(c.geo_more_db, sizeof(c.geo_more_db), "/1,/2,/3,/4,/5,/6,/7");
	assert_int_equal(geo_paths(&p, &c, err), -1);
	assert_non_null(strstr(err, "more than 6"));
	snprintf(c.geo_more_db, sizeof(c.geo_more_db), "/1,,/2");
	assert_int_equal(geo_paths(&p, &c, err), -1);
}

static void test_no_files(void **state)
{
	struct geo *g = must_open("", "");
	struct file_info info;
	struct place p;

	(void)state;
	assert_int_equal(look(g, "127.0.0.1", &p), 0);
	assert_string_equal(p.country, "");
	assert_int_equal(geo_info(g, 0, &info), 0);
	assert_int_equal(geo_info(g, 1, &info), 0);
	geo_close(&g);
	g = must_open("", file("asn.mmdb"));
	assert_int_equal(geo_info(g, 0, &info), 0);
	assert_int_equal(geo_info(g, 1, &info), 1);
	assert_true(info.built_s + 3600 > (uint64_t)time(NULL));
	assert_true(info.built_s <= (uint64_t)time(NULL));
	assert_string_equal(info.type, "GeoLite2-ASN");
	assert_true(info.bytes > 1000);
	geo_close(&g);
}

static void must_refuse_as(enum file_rc rc, const char *city, const char *asn,
			   const char *part)
{
	struct geo *g = (struct geo *)&g; /* must stay untouched */
	struct geo *before = g;
	char err[ERRLEN] = "";

	assert_int_equal(geo_open(&g, paths(city, asn, NULL), err), rc);
	assert_ptr_equal(g, before);
	if (!strstr(err, part))
		fail_msg("no '%s' in '%s'", part, err);
}

static void must_refuse(const char *city, const char *asn, const char *part)
{
	must_refuse_as(FILE_BAD, city, asn, part);
}

static void test_refused_files(void **state)
{
	(void)state;
	must_refuse_as(FILE_MISSING, file("none.mmdb"), "", "none.mmdb: No such file");
	must_refuse_as(FILE_MISSING, file("city.mmdb"), file("none.mmdb"),
		       "asn database");
	must_refuse_as(FILE_MISSING, file("city.mmdb/x"), "", "Not a directory");
	must_refuse(file("none.mmdb-"), "", "it holds no places: Empty");
	must_refuse(dir, "", "not a regular file");
	assert_int_equal(mkfifo(file("fifo"), 0600), 0);
	must_refuse(file("fifo"), "", "not a regular file"); /* and does not wait */
	write_file(file("empty"), "", 0);
	must_refuse(file("empty"), "", "empty");
	write_file(file("text"), "[http]\n", 7);
	must_refuse(file("text"), "", "text");
}

static const char *const asked[] = {
	"127.0.0.1",     "127.1.0.1",      "127.2.0.1",   "192.0.2.1",
	"198.51.100.1",  "198.51.100.200", "203.0.113.1", "203.0.113.200",
	"2001:db8:1::1", "2001:db8:2::1",  "::",          "255.255.255.255",
};

/* A damaged file is refused or gives less, but never ends the process. 1: refused. */
static int survive(const char *path)
{
	struct geo *g = NULL;
	char err[ERRLEN] = "";
	struct place p;

	if (geo_open(&g, paths(path, path, NULL), err) != 0) {
		assert_non_null(strstr(err, "database"));
		return 1;
	}
	for (size_t i = 0; i < PS_ARRAY_LEN(asked); i++) {
		look(g, asked[i], &p);
		assert_non_null(memchr(p.city, 0, sizeof(p.city)));
		assert_non_null(memchr(p.code, 0, sizeof(p.code)));
	}
	geo_close(&g);
	return 0;
}

static void test_truncated(void **state)
{
	static uint8_t data[8192];
	size_t len = read_file(file("city.mmdb"), data, sizeof(data));
	int refused = 0, n = 0;

	(void)state;
	for (size_t cut = 1; cut < len; cut += 7, n++) {
		write_file(file("cut.mmdb"), data, len - cut);
		refused += survive(file("cut.mmdb"));
	}
	assert_true(n > 100);
	assert_int_equal(refused, n);
}

static void test_hole_in_the_middle(void **state)
{
	static uint8_t data[8192];
	size_t len = read_file(file("city.mmdb"), data, sizeof(data));

	(void)state;
	/* what a copy that was cut and goes on looks like: zeros before the metadata */
	memset(data + len / 2, 0xff, 200);
	write_file(file("hole.mmdb"), data, len);
	must_refuse(file("hole.mmdb"), "", "damaged");
}

static void test_flipped_bytes(void **state)
{
	static uint8_t data[8192];
	size_t len = read_file(file("city-flat.mmdb"), data, sizeof(data));
	uint32_t seed = 20260131;
	int refused = 0;

	(void)state;
	for (int round = 0; round < 1500; round++) {
		size_t at[4];
		uint8_t was[4];

		for (int i = 0; i < 4; i++) {
			seed = seed * 1664525u + 1013904223u;
			at[i] = (seed >> 8) % len;
			was[i] = data[at[i]];
			data[at[i]] ^= (uint8_t)(seed >> 3 | 1);
		}
		write_file(file("flip.mmdb"), data, len);
		refused += survive(file("flip.mmdb"));
		for (int i = 3; i >= 0; i--)
			data[at[i]] = was[i];
	}
	assert_true(refused > 300);
}

static void test_age(void **state)
{
	struct geo *g = must_open(file("old.mmdb"), file("asn.mmdb"));
	struct file_info info;

	(void)state;
	assert_int_equal(geo_info(g, 0, &info), 1);
	assert_int_equal(file_age_days(&info, (uint64_t)time(NULL)), 45);
	assert_int_equal(file_age_days(&info, info.built_s + 86399), 0);
	assert_int_equal(file_age_days(&info, info.built_s + 86400), 1);
	assert_int_equal(file_age_days(&info, info.built_s - 1),
			 0); /* our clock is wrong */
	assert_int_equal(geo_info(g, 1, &info), 1);
	assert_int_equal(file_age_days(&info, (uint64_t)time(NULL)), 0);
	geo_close(&g);
}

static void test_country_names(void **state)
{
	char code[3] = "";
	int n = 0;

	(void)state;
	for (char a = 'A'; a <= 'Z'; a++) {
		for (char b = 'A'; b <= 'Z'; b++) {
			const char *name;

			code[0] = a;
			code[1] = b;
			name = country_name(code);
			n += name != NULL;
			assert_true(!name || strlen(name) > 3);
		}
	}
	assert_int_equal(n, 250); /* all 249 of ISO 3166, and XK */
	assert_string_equal(country_name("AD"), "Andorra");
	assert_string_equal(country_name("DE"), "Germany");
	assert_string_equal(country_name("ZW"), "Zimbabwe");
	assert_null(country_name("de"));
	assert_null(country_name(""));
	assert_null(country_name("DEU"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_parts_of_a_record),
		cmocka_unit_test(test_long_text_is_cut_between_characters),
		cmocka_unit_test(test_flat),
		cmocka_unit_test(test_flat_text_oddities),
		cmocka_unit_test(test_lite),
		cmocka_unit_test(test_first_file_wins),
		cmocka_unit_test(test_ipv4_tree),
		cmocka_unit_test(test_every_layout),
		cmocka_unit_test(test_a_town_and_its_country_agree),
		cmocka_unit_test(test_ipv4_inside),
		cmocka_unit_test(test_list_of_further_files),
		cmocka_unit_test(test_no_files),
		cmocka_unit_test(test_refused_files),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_hole_in_the_middle),
		cmocka_unit_test(test_flipped_bytes),
		cmocka_unit_test(test_age),
		cmocka_unit_test(test_country_names),
	};

	return cmocka_run_group_tests_name("geo", tests, make_files, remove_files);
}

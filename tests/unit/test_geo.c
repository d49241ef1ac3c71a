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

static char dir[] = "/tmp/peerscope-geo-XXXXXX";

static const char *file(const char *name)
{
	static char path[2][320];
	static int turn;

	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
	return path[turn];
}

static int make_files(void **state)
{
	int status = -1;
	pid_t pid;

	(void)state;
	if (!mkdtemp(dir))
		return -1;
	pid = fork();
	if (pid == 0) {
		execl("/usr/bin/perl", "perl", "tests/geo/make-mmdb.pl", dir,
		      (char *)NULL);
		_exit(127);
	}
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static int remove_files(void **state)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	(void)state;
	while (d && (e = readdir(d))) {
		if (e->d_name[0] != '.')
			unlink(file(e->d_name));
	}
	if (d)
		closedir(d);
	return rmdir(dir);
}

static struct geo *must_open(const char *city, const char *asn)
{
	struct geo *g = NULL;
	char err[ERRLEN] = "";

	if (geo_open(&g, city, asn, err) != 0)
		fail_msg("%s", err);
	return g;
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

static void test_no_files(void **state)
{
	struct geo *g = must_open("", "");
	struct place p;

	(void)state;
	assert_int_equal(look(g, "127.0.0.1", &p), 0);
	assert_string_equal(p.country, "");
	assert_int_equal(geo_city_built_s(g), 0);
	assert_int_equal(geo_asn_built_s(g), 0);
	geo_close(&g);
	g = must_open("", file("asn.mmdb"));
	assert_int_equal(geo_city_built_s(g), 0);
	assert_true(geo_asn_built_s(g) + 3600 > (uint64_t)time(NULL));
	assert_true(geo_asn_built_s(g) <= (uint64_t)time(NULL));
	geo_close(&g);
}

static void must_refuse(const char *city, const char *asn, const char *part)
{
	struct geo *g = (struct geo *)&g; /* must stay untouched */
	struct geo *before = g;
	char err[ERRLEN] = "";

	assert_int_equal(geo_open(&g, city, asn, err), -1);
	assert_ptr_equal(g, before);
	if (!strstr(err, part))
		fail_msg("no '%s' in '%s'", part, err);
}

static void write_file(const char *path, const void *data, size_t len)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static size_t read_file(const char *path, uint8_t *out, size_t size)
{
	FILE *f = fopen(path, "rb");
	size_t len;

	assert_non_null(f);
	len = fread(out, 1, size, f);
	assert_true(len < size);
	fclose(f);
	return len;
}

static void test_refused_files(void **state)
{
	(void)state;
	must_refuse(file("none.mmdb"), "", "none.mmdb: No such file");
	must_refuse(file("city.mmdb"), file("none.mmdb"), "ASN database");
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

	if (geo_open(&g, path, path, err) != 0) {
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
		cmocka_unit_test(test_no_files),
		cmocka_unit_test(test_refused_files),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_hole_in_the_middle),
		cmocka_unit_test(test_flipped_bytes),
		cmocka_unit_test(test_country_names),
	};

	return cmocka_run_group_tests_name("geo", tests, make_files, remove_files);
}

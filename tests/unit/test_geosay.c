/*
 * test_geosay.c -- what is believed of a web service's words about an address.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collector/geosay.h"

#define NOW 1795245661000ull

static const char NESTED[] =
	"{\"ip\":\"5.6.7.8\",\"success\":true,\"type\":\"IPv4\",\"continent\":\"Europe\","
	"\"country\":\"Germany\",\"country_code\":\"DE\",\"region\":\"Bavaria\","
	"\"city\":\"M\\u00fcnchen\",\"latitude\":48.13512,\"longitude\":-11.5,"
	"\"is_eu\":true,\"flag\":{\"emoji\":\"x\"},"
	"\"connection\":{\"asn\":3320,\"org\":\"An Org\",\"isp\":\"An ISP\","
	"\"domain\":\"x.test\"},\"timezone\":{\"id\":\"Europe/Berlin\",\"abbr\":\"CET\"}}";
static const char FLAT[] =
	"{\"ip\":\"5.6.7.8\",\"success\":true,\"country\":\"Germany\","
	"\"country_code\":\"de\",\"region\":\"Bavaria\",\"city\":\"M\xc3\xbcnchen\","
	"\"latitude\":\"48.13512\",\"longitude\":\"-11.50\",\"asn\":\"AS3320\","
	"\"org\":\"An Org\",\"isp\":\"An ISP\",\"timezone\":\"Europe/Berlin\","
	"\"timezone_gmt\":\"GMT +1:00\",\"completed_requests\":4}";

static uint8_t addr[ADDR_LEN];
static struct place place;
static char said[ERRLEN];

static enum geosay read_text(const char *text)
{
	memset(&place, 0xee, sizeof(place));
	memset(said, 0xee, sizeof(said));
	return geosay_read(&place, addr, text, strlen(text), said);
}

static int setup(void **state)
{
	(void)state;
	return addr_parse(addr, "5.6.7.8");
}

static void expect_munich(void)
{
	assert_string_equal(said, "");
	assert_string_equal(place.country, "Germany");
	assert_string_equal(place.code, "DE");
	assert_string_equal(place.region, "Bavaria");
	assert_string_equal(place.city, "M\xc3\xbcnchen");
	assert_string_equal(place.timezone, "Europe/Berlin");
	assert_string_equal(place.isp, "An ISP");
	assert_string_equal(place.source, "");
	assert_int_equal(place.asn, 3320);
	assert_true(place.has_point);
	assert_int_equal(place.lat_e5, 4813512);
	assert_int_equal(place.lon_e5, -1150000);
	assert_int_equal(place.accuracy_km, 0);
}

static void test_both_forms(void **state)
{
	(void)state;
	assert_int_equal(read_text(NESTED), GEOSAY_PLACE);
	expect_munich();
	assert_int_equal(read_text(FLAT), GEOSAY_PLACE);
	expect_munich();
}

/* A member of a German answer, and whether it is one still. */
static enum geosay with(const char *members)
{
	char text[40000];

	snprintf(text, sizeof(text), "{\"success\":true,\"country_code\":\"DE\",%s}",
		 members);
	return read_text(text);
}

static void test_fields_by_type(void **state)
{
	static const struct {
		const char *text;
		uint32_t asn;
	} asn[] = {
		{"\"asn\":64501", 64501},
		{"\"asn\":\"64501\"", 64501},
		{"\"asn\":\"as64501\"", 64501},
		{"\"asn\":4294967295", UINT32_MAX},
		{"\"asn\":4294967296", 0},
		{"\"asn\":\"AS4294967296\"", 0},
		{"\"asn\":\"AS99999999999999999999\"", 0},
		{"\"asn\":-1", 0},
		{"\"asn\":1e300", 0},
		{"\"asn\":\"AS\"", 0},
		{"\"asn\":\"AS12x\"", 0},
		{"\"asn\":\"\"", 0},
		{"\"asn\":null", 0},
		{"\"asn\":[64501]", 0},
		{"\"connection\":{\"asn\":\"AS7\"},\"asn\":8", 7},
		{"\"connection\":\"AS7\",\"asn\":8", 8},
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(asn); i++) {
		assert_int_equal(with(asn[i].text), GEOSAY_PLACE);
		assert_int_equal(place.asn, asn[i].asn);
	}
	assert_int_equal(with("\"isp\":\"\",\"org\":\"The Org\""), GEOSAY_PLACE);
	assert_string_equal(place.isp, "The Org");
	assert_int_equal(with("\"isp\":7,\"org\":[],\"city\":{},\"region\":true,"
			      "\"timezone\":{\"id\":3}"),
			 GEOSAY_PLACE);
	assert_string_equal(place.isp, "");
	assert_string_equal(place.city, "");
	assert_string_equal(place.region, "");
	assert_string_equal(place.timezone, "");
	assert_string_equal(place.country, "Germany"); /* from the code */
}

static void test_coordinates(void **state)
{
	static const char *const bad[] = {
		"\"latitude\":91,\"longitude\":1",
		"\"latitude\":1,\"longitude\":-180.1",
		"\"latitude\":1",
		"\"longitude\":1",
		"\"latitude\":\"nan\",\"longitude\":1",
		"\"latitude\":\"inf\",\"longitude\":1",
		"\"latitude\":\"0x10\",\"longitude\":1",
		"\"latitude\":\"1.2.3\",\"longitude\":1",
		"\"latitude\":\"\",\"longitude\":1",
		"\"latitude\":1e999,\"longitude\":1",
		"\"latitude\":null,\"longitude\":null",
		"\"latitude\":\"1-\",\"longitude\":1",
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(bad); i++) {
		assert_int_equal(with(bad[i]), GEOSAY_PLACE);
		assert_false(place.has_point);
		assert_int_equal(place.lat_e5, 0);
	}
	assert_int_equal(with("\"latitude\":\"-90\",\"longitude\":180"), GEOSAY_PLACE);
	assert_true(place.has_point);
	assert_int_equal(place.lat_e5, -9000000);
	assert_int_equal(place.lon_e5, 18000000);
}

static void test_texts_are_cleaned(void **state)
{
	char text[20000], long_city[9000];

	(void)state;
	assert_int_equal(
		with("\"city\":\"  A\\r\\n\\u001b[31mB\\u0085C\\u007f \xff\xc3 \","
		     "\"isp\":\"\\ud800x\\u202e\""),
		GEOSAY_NONSENSE); /* half a surrogate: no JSON */
	assert_int_equal(
		with("\"city\":\"  A\\r\\n\\u001b[31mB\\u0085C\\u007f \xff\xc3 \""),
		GEOSAY_PLACE);
	assert_string_equal(place.city, "A[31mBC");
	memset(long_city, 0, sizeof(long_city));
	for (size_t i = 0; i + 2 < sizeof(long_city); i += 2)
		memcpy(long_city + i, "\xc3\xa9", 2);
	snprintf(text, sizeof(text), "\"city\":\"x%s\",\"isp\":\"%s\"", long_city,
		 long_city);
	assert_int_equal(with(text), GEOSAY_PLACE);
	assert_int_equal(strlen(place.city), sizeof(place.city) - 1);
	assert_int_equal(strlen(place.isp), sizeof(place.isp) - 2); /* not half an e */
}

static void test_country_codes(void **state)
{
	static const char *const bad[] = {"D",        "DEU", "1E", "D\\u0000",
					  "\xc3\xa4", "??",  "",   " D"};
	char text[100];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(bad); i++) {
		snprintf(text, sizeof(text),
			 "{\"success\":true,\"country_code\":\"%s\",\"city\":\"x\"}",
			 bad[i]);
		assert_int_equal(read_text(text), GEOSAY_NOTHING);
	}
	assert_int_equal(read_text("{\"success\":true,\"country\":\"Atlantis\"}"),
			 GEOSAY_PLACE);
	assert_string_equal(place.code, "");
	assert_int_equal(read_text("{\"success\":true,\"country_code\":\"QQ\"}"),
			 GEOSAY_PLACE); /* no name for it, but a code */
	assert_string_equal(place.country, "");
}

static void test_refusals(void **state)
{
	(void)state;
	assert_int_equal(read_text("{\"success\":false,\"message\":\"Reserved range\"}"),
			 GEOSAY_RESERVED);
	assert_string_equal(said, "it says: Reserved range");
	assert_int_equal(
		read_text("{\"success\":false,\"message\":\"Invalid IP address\"}"),
		GEOSAY_NOTHING);
	assert_int_equal(read_text("{\"success\":false,\"message\":"
				   "\"you've hit the monthly limit\"}"),
			 GEOSAY_LIMITED);
	assert_int_equal(read_text("{\"success\":false,\"message\":\"Quota exceeded\"}"),
			 GEOSAY_LIMITED);
	assert_int_equal(
		read_text("{\"success\":false,\"message\":\"IP address not found\"}"),
		GEOSAY_NOTHING);
	/* of us, not of the address */
	assert_int_equal(read_text("{\"success\":false,\"message\":\"Invalid API key\"}"),
			 GEOSAY_NONSENSE);
	assert_string_equal(said, "it says: Invalid API key");
	assert_int_equal(read_text(
				 "{\"success\":false,\"message\":\"API key not found\"}"),
			 GEOSAY_NONSENSE);
	assert_int_equal(read_text("{\"success\":false}"), GEOSAY_NONSENSE);
	assert_int_equal(read_text("{\"success\":false,\"message\":[1]}"),
			 GEOSAY_NONSENSE);
	assert_int_equal(read_text("{\"success\":false,\"message\":\"\\u001b]0;x\\n\"}"),
			 GEOSAY_NONSENSE);
	assert_string_equal(said, "it says: ]0;x");
}

static enum geosay answered(int status, uint64_t retry_ms, const char *body)
{
	struct web_answer a = {.rc = WEB_OK,
			       .status = status,
			       .retry_after_ms = retry_ms,
			       .body = body,
			       .len = strlen(body)};

	return geosay_answer(&place, addr, &a, said);
}

static void test_status(void **state)
{
	const char *bad_ip = "{\"success\":false,\"message\":\"Invalid IP address\"}";
	const char *good = "{\"success\":true,\"country_code\":\"DE\"}";
	const char *bad_key = "{\"success\":false,\"message\":\"Invalid API key\"}";

	(void)state;
	assert_int_equal(answered(200, 0, good), GEOSAY_PLACE);
	assert_int_equal(answered(404, 0, good), GEOSAY_NONSENSE);
	assert_int_equal(answered(500, 0, bad_ip), GEOSAY_NONSENSE);
	assert_int_equal(answered(404, 0, bad_ip), GEOSAY_NOTHING);
	assert_int_equal(answered(400, 0, bad_ip), GEOSAY_NOTHING);
	assert_int_equal(answered(401, 0, bad_ip), GEOSAY_NONSENSE);
	assert_int_equal(answered(403, 0, bad_ip), GEOSAY_NONSENSE);
	assert_int_equal(answered(401, 0, bad_key), GEOSAY_NONSENSE);
	assert_string_equal(said,
			    "it answers with HTTP status 401: it says: Invalid API key");
	assert_int_equal(answered(403, 0,
				  "{\"success\":false,\"message\":\"over quota\"}"),
			 GEOSAY_LIMITED);
	assert_int_equal(answered(429, 0, ""), GEOSAY_LIMITED);
	assert_string_equal(said, "it answers with HTTP status 429");
	assert_int_equal(answered(503, 1000, ""), GEOSAY_LIMITED);
}

static void test_nonsense(void **state)
{
	static const char *const bad[] = {
		"",
		"null",
		"[]",
		"true",
		"{",
		"{}",
		"<html>log in to our Wi-Fi</html>",
		"{\"success\":1,\"country\":\"Germany\"}",
		"{\"success\":\"true\",\"country\":\"Germany\"}",
		"{\"country\":\"Germany\"}",
		"{\"success\":true,\"ip\":\"5.6.7.9\",\"country\":\"Germany\"}",
		"{\"success\":true,\"ip\":\"example.com\",\"country\":\"Germany\"}",
		"{\"success\":true,\"ip\":7,\"country\":\"Germany\"}",
		"{\"success\":true,\"ip\":\"5.6.7.8",
		"[{\"success\":true,\"country\":\"Germany\"}]",
	};
	char deep[5001];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(bad); i++) {
		assert_int_equal(read_text(bad[i]), GEOSAY_NONSENSE);
		assert_true(said[0] != '\0');
	}
	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	assert_int_equal(read_text(deep), GEOSAY_NONSENSE);
	for (size_t n = 0; n < sizeof(NESTED) - 1; n++) /* cut anywhere */
		assert_int_equal(geosay_read(&place, addr, NESTED, n, said),
				 GEOSAY_NONSENSE);
}

/* Each byte of a good answer changed: whatever comes of it is in bounds (ASan watches). */
static void test_damage(void **state)
{
	char text[sizeof(NESTED)];

	(void)state;
	for (size_t n = 0; n + 1 < sizeof(text); n++)
		for (int bit = 0; bit < 8; bit++) {
			memcpy(text, NESTED, sizeof(text));
			text[n] = (char)(text[n] ^ (1 << bit));
			if (geosay_read(&place, addr, text, sizeof(text) - 1, said) ==
			    GEOSAY_PLACE)
				assert_true(memchr(place.city, 0, sizeof(place.city)) &&
					    memchr(place.isp, 0, sizeof(place.isp)));
		}
}

/* ---- written down -------------------------------------------------------------------- */

static void test_written_and_read(void **state)
{
	uint64_t left = 0;
	struct place was;
	struct buf b;

	(void)state;
	assert_int_equal(read_text(NESTED), GEOSAY_PLACE);
	snprintf(place.source, sizeof(place.source), "ipwho.is");
	was = place;
	buf_init(&b, 4096);
	geosay_write(&b, addr, GEOSAY_PLACE, &was, NOW + 60000);
	assert_int_equal(geosay_stored(&place, &left, addr, b.p, b.len, NOW),
			 GEOSAY_PLACE);
	assert_memory_equal(&place, &was, sizeof(was));
	assert_int_equal(left, 60000);
	assert_int_equal(geosay_stored(&place, &left, addr, b.p, b.len, NOW + 59999),
			 GEOSAY_PLACE);
	assert_int_equal(geosay_stored(&place, &left, addr, b.p, b.len, NOW + 60000),
			 GEOSAY_NONSENSE);
	buf_reset(&b); /* another machine's clock is a day ahead */
	geosay_write(&b, addr, GEOSAY_PLACE, &was, NOW + 100000000);
	assert_int_equal(geosay_stored(&place, &left, addr, b.p, b.len, NOW),
			 GEOSAY_PLACE);
	assert_int_equal(left, GEOSAY_PLACE_MS);
	for (int what = GEOSAY_NOTHING; what <= GEOSAY_RESERVED; what++) {
		buf_reset(&b);
		geosay_write(&b, addr, what, NULL, NOW + 1000);
		assert_int_equal(geosay_stored(&place, &left, addr, b.p, b.len, NOW),
				 what);
		assert_int_equal(left, 1000);
	}
	addr[15]++;
	assert_int_equal(geosay_stored(&place, &left, addr, b.p, b.len, NOW),
			 GEOSAY_NONSENSE);
	addr[15]--;
	buf_free(&b);
}

static void test_what_others_wrote(void **state)
{
	static const char *const bad[] = {
		"1",
		"{}",
		"{\"success\":true,\"country\":\"Germany\"}",
		"{\"success\":true,\"country\":\"Germany\",\"until\":\"soon\"}",
		"{\"success\":true,\"country\":\"Germany\",\"until\":-1}",
		"{\"success\":false,\"message\":\"limit\",\"until\":9e18}",
		"{\"success\":true,\"until\":1e308,\"ip\":\"1.1.1.1\",\"country\":\"x\"}",
	};
	uint64_t left;

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(bad); i++)
		assert_int_equal(geosay_stored(&place, &left, addr, bad[i],
					       strlen(bad[i]), NOW),
				 GEOSAY_NONSENSE);
}

/* ---- beside the databases -------------------------------------------------------------- */

static void test_fill(void **state)
{
	struct place told,
		p = {.isp = "A database's ISP", .asn = 1, .source = "mmdb:asn"};

	(void)state;
	assert_int_equal(read_text(NESTED), GEOSAY_PLACE);
	snprintf(place.source, sizeof(place.source), "ipwho.is");
	told = place;
	assert_true(geosay_wanted(&p));
	geosay_fill(&p, &told);
	assert_false(geosay_wanted(&p));
	assert_string_equal(p.isp, "A database's ISP");
	assert_int_equal(p.asn, 1);
	assert_string_equal(p.city, told.city);
	assert_string_equal(p.country, "Germany");
	assert_string_equal(p.code, "DE");
	assert_int_equal(p.lat_e5, told.lat_e5);
	assert_string_equal(p.source, "mmdb:asn+ipwho.is");
	geosay_fill(&p, &told); /* nothing is lacking */
	assert_string_equal(p.source, "mmdb:asn+ipwho.is");
	memset(&p, 0, sizeof(p));
	memset(told.source, 'x', sizeof(told.source) - 1);
	snprintf(p.source, sizeof(p.source), "mmdb:city");
	geosay_fill(&p, &told);
	assert_int_equal(strlen(p.source), sizeof(p.source) - 1);
	memset(&p, 0, sizeof(p));
	geosay_fill(&p, &place);
	assert_memory_equal(&p, &place, sizeof(p));
}

/* Two that know something, and don't agree. */
static void test_fill_of_another_mind(void **state)
{
	const struct place told = {.country = "Japan",
				   .code = "JP",
				   .city = "Osaka",
				   .region = "Osaka",
				   .timezone = "Asia/Tokyo",
				   .isp = "Theirs",
				   .asn = 7,
				   .source = "mmdb:city+mmdb:asn",
				   .has_point = 1,
				   .lat_e5 = 3,
				   .accuracy_km = 50};
	struct place p = {.code = "FR", .source = "mmdb:city"};

	(void)state;
	geosay_fill(&p, &told);
	assert_string_equal(p.code, "FR");
	assert_string_equal(p.country, ""); /* not Japan */
	assert_string_equal(p.city, "");
	assert_string_equal(p.timezone, "");
	assert_false(p.has_point);
	assert_string_equal(p.isp, "Theirs");
	assert_int_equal(p.asn, 7);
	assert_string_equal(p.source, "mmdb:city+mmdb:asn");
	p = (struct place){.country = "Japan", .asn = 8, .source = "mmdb:asn"};
	geosay_fill(&p, &told);
	assert_string_equal(p.city, "Osaka");
	assert_string_equal(p.code, "JP");
	assert_int_equal(p.accuracy_km, 50);
	assert_string_equal(p.isp, ""); /* not that of AS7 */
	assert_int_equal(p.asn, 8);
	assert_string_equal(p.source, "mmdb:asn+mmdb:city"); /* each once */
	p = (struct place){.country = "France", .asn = 8, .source = "mmdb:asn"};
	geosay_fill(&p, &told);
	assert_string_equal(p.source, "mmdb:asn"); /* nothing was taken */
}

static void test_fill_without_a_source(void **state)
{
	const struct place told = {.country = "Japan", .code = "JP"};
	struct place p = {.asn = 7, .source = "mmdb:asn"};

	(void)state;
	geosay_fill(&p, &told); /* a list of the Python service names none */
	assert_string_equal(p.country, "Japan");
	assert_string_equal(p.source, "mmdb:asn");
}

static void test_source(void **state)
{
	static const char *const pair[][2] = {
		{"https://ipwho.is/", "ipwho.is"},
		{"http://127.0.0.1:8043/x/", "127.0.0.1"},
		{"http://[2001:db8::1]:80/", "[2001:db8::1]"},
		{"https://a-name-that-is-longer-than-there-is-room/",
		 "a-name-that-is-longer-than-ther"},
		{"", ""},
	};
	char out[GEOSAY_SOURCE];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(pair); i++) {
		geosay_source(out, pair[i][0]);
		assert_string_equal(out, pair[i][1]);
	}
}

static void test_whom_a_question_names(void **state)
{
	static const char *const nobody[] = {
		"0.0.0.0",
		"10.1.2.3",
		"100.64.0.1",
		"127.0.0.1",
		"169.254.1.1",
		"172.31.255.255",
		"192.0.0.1",
		"192.0.2.1",
		"192.88.99.1",
		"192.168.1.1",
		"198.18.0.1",
		"198.19.255.255",
		"198.51.100.1",
		"203.0.113.1",
		"224.0.0.1",
		"239.1.1.1",
		"240.0.0.1",
		"255.255.255.255",
		"::",
		"::1",
		"::10.0.0.1",
		"64:ff9b::10.0.0.1",
		"64:ff9b:1::1",
		"100::1",
		"2001:2::1",
		"2001:10::1",
		"2001:db8::1",
		"3fff::1",
		"5f00::1",
		"fc00::1",
		"fd12:3456::1",
		"fe80::1",
		"fec0::1",
		"ff02::1",
		"ff0e::1",
		"2002:a00:1::1",
		"2002:7f00:1::1",
		"2001:0:4136:e378:8000:63bf:3fff:fdd2", /* 192.0.2.45 */
		"2001:0:506:708::f5ff:fffe" /* 10.0.0.1 */,
	};
	static const char *const pairs[][2] = {
		{"5.6.7.8", "5.6.7.8"},
		{"2a00:1450::1", "2a00:1450::1"},
		{"2002:506:708::1", "5.6.7.8"},
		{"64:ff9b::5.6.7.8", "5.6.7.8"},
		{"2001:0:4136:e378:8000:63bf:faf9:f8f7", "5.6.7.8"},
	};
	uint8_t a[ADDR_LEN], out[ADDR_LEN];
	char text[ADDR_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(nobody); i++) {
		assert_int_equal(addr_parse(a, nobody[i]), 0);
		if (geosay_subject(out, a) == 0)
			fail_msg("a question would name %s", nobody[i]);
	}
	for (size_t i = 0; i < PS_ARRAY_LEN(pairs); i++) {
		assert_int_equal(addr_parse(a, pairs[i][0]), 0);
		assert_int_equal(geosay_subject(out, a), 0);
		addr_text(text, out);
		assert_string_equal(text, pairs[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_forms),
		cmocka_unit_test(test_fields_by_type),
		cmocka_unit_test(test_coordinates),
		cmocka_unit_test(test_texts_are_cleaned),
		cmocka_unit_test(test_country_codes),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_written_and_read),
		cmocka_unit_test(test_what_others_wrote),
		cmocka_unit_test(test_fill),
		cmocka_unit_test(test_fill_of_another_mind),
		cmocka_unit_test(test_fill_without_a_source),
		cmocka_unit_test(test_source),
		cmocka_unit_test(test_whom_a_question_names),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}

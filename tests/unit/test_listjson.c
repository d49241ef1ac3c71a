/*
 * test_listjson.c -- peer_stats:<id> of the Python service, and what is somebody else's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "collector/listjson.h"
#include "common/addr.h"
#include "tests/unit/list_stage.h"

static struct listcode got;

#define HEX "94c2fd8fb9bc8f2fc71a2cbe9d4b866f227a0209"
#define PEER1                                                                          \
	"{\"ip\": \"1.2.3.4\", \"port\": 12345, \"client\": \"uTorrent 3.5.5\","       \
	" \"progress\": 100.0, \"download_rate\": 0, \"upload_rate\": 256000,"         \
	" \"country\": \"United States\", \"country_code\": \"US\","                   \
	" \"city\": \"New York\", \"isp\": \"Example ISP\", \"region\": \"New York\"," \
	" \"latitude\": 40.71, \"longitude\": -74.0,"                                  \
	" \"timezone\": \"America/New_York\", \"flags\": \"x\"}"
#define PEER2                                                                                 \
	"{\"ip\": \"2001:db8::1\", \"port\": 1, \"client\": \"Unknown\", \"progress\": 45.3," \
	" \"download_rate\": 1, \"upload_rate\": 2, \"country\": \"Unknown\","                \
	" \"country_code\": \"??\", \"city\": \"Unknown\", \"isp\": \"Unknown\"}"
#define LIST(peers, count, total)                                                       \
	"{\"acestream_id\": \"" HEX "\", \"infohash\": \"" HEX "\", \"peers\": [" peers \
	"], \"peer_count\": " count ", \"total_peers\": " total                         \
	", \"cached_at\": 1789999990.25, \"error\": null}"

static int reads(const char *json, size_t len)
{
	char *exact = malloc(len ? len : 1);
	struct buf b;
	int rc;

	memcpy(exact, json, len);
	buf_init(&b, LISTCODE_MAX);
	rc = listjson_convert(&b, STAGE_ID, exact, len);
	free(exact);
	if (rc == 0)
		rc = listcode_read(&got, STAGE_ID, b.p, b.len, STAGE_NOW_MS);
	if (rc == 0 && got.ntexts) { /* b is freed: look at them now */
		size_t n;

		assert_non_null(listcode_text(&got, 1, &n));
	}
	buf_free(&b);
	return rc == 0;
}

#define READS(json) reads(json, strlen(json))

static void test_the_contract(void **state)
{
	const char *json = LIST(PEER1 ", " PEER2, "2", "2");
	struct place at;
	struct buf b;
	size_t len;

	(void)state;
	buf_init(&b, LISTCODE_MAX);
	assert_int_equal(listjson_convert(&b, STAGE_ID, json, strlen(json)), 0);
	assert_int_equal(listcode_read(&got, STAGE_ID, b.p, b.len, STAGE_NOW_MS), 0);
	assert_int_equal(got.s.npeers, 2);
	assert_int_equal(got.s.total_peers, 2);
	assert_int_equal(got.s.contacted, 2);
	assert_int_equal(got.s.phase, SWARM_COLLECTING);
	assert_int_equal(got.s.resolved, RESOLVED_TAKEN);
	assert_true(got.s.cached_at_ms == 1789999990250ull);
	assert_memory_equal(got.s.infohash, STAGE_ID, IH_LEN);
	assert_int_equal(got.peer[0].port, 12345);
	assert_true(addr_is_v4(got.peer[0].addr));
	assert_int_equal(got.peer[0].progress, 10000);
	assert_int_equal(got.peer[0].up_rate, 256000);
	assert_int_equal(got.peer[0].state, PEER_CONTACTED);
	assert_int_equal(got.peer[0].lag, SHM_UNKNOWN);
	assert_int_equal(got.peer[1].progress, 4530);
	assert_int_equal(got.peer[1].client, 0);
	assert_memory_equal(listcode_text(&got, got.peer[0].client, &len),
			    "uTorrent 3.5.5", 14);
	assert_int_equal(len, 14);
	listcode_place(&got, got.peer[0].place, &at);
	assert_string_equal(at.country, "United States");
	assert_string_equal(at.code, "US");
	assert_string_equal(at.isp, "Example ISP");
	assert_int_equal(at.has_point, 1);
	assert_int_equal(at.lat_e5, 4071000);
	assert_int_equal(at.lon_e5, -7400000);
	listcode_place(&got, got.peer[1].place, &at);
	assert_string_equal(at.country, "");
	assert_string_equal(at.code, "");
	assert_int_equal(at.has_point, 0);
	buf_free(&b);
}

static void test_of_another_version(void **state)
{
	(void)state;
	assert_true(READS(
		"{\"acestream_id\": \"" HEX "\", \"infohash\": "
		"\"1111111111111111111111111111111111111111\", \"peers\": [{\"ip\": "
		"\"1.2.3.4\", \"port\": 1, \"client\": \"x\", \"progress\": 0.0, "
		"\"state\": \"known\", \"sources\": [\"tracker\", \"pex\", \"new\"], "
		"\"protocol\": \"acestream\", \"ace\": {\"x\": []}}], \"peer_count\": 1, "
		"\"total_peers\": 1, \"cached_at\": 1789999990, \"phase\": \"settled\"}"));
	assert_int_equal(got.s.resolved, RESOLVED_ENGINE);
	assert_int_equal(got.s.phase, SWARM_SETTLED);
	assert_int_equal(got.s.protocol, PEER_ACESTREAM);
	assert_int_equal(got.peer[0].state, PEER_KNOWN);
	assert_int_equal(got.peer[0].sources, PEER_SRC_TRACKER | PEER_SRC_PEX);
	assert_int_equal(got.peer[0].protocol, PEER_ACESTREAM);
}

/* What is no country is none; the rest of the list is as true as it was. */
static void test_country_codes(void **state)
{
	static const char *const code[] = {"us", "Us", "U",   "USA",     "U1",
					   "??", "",   "<b>", "\xc3\x9c"};
	char json[512];
	struct place at;
	struct buf b;

	(void)state;
	buf_init(&b, LISTCODE_MAX);
	for (size_t i = 0; i < PS_ARRAY_LEN(code); i++) {
		snprintf(json, sizeof(json),
			 LIST("{\"ip\": \"1.2.3.4\", \"port\": 1, \"client\": \"x\", "
			      "\"progress\": 0, \"city\": \"Town\", \"country_code\": "
			      "\"%s\"}",
			      "1", "1"),
			 code[i]);
		buf_reset(&b);
		assert_int_equal(listjson_convert(&b, STAGE_ID, json, strlen(json)), 0);
		assert_int_equal(listcode_read(&got, STAGE_ID, b.p, b.len, STAGE_NOW_MS),
				 0);
		listcode_place(&got, got.peer[0].place, &at);
		assert_string_equal(at.code, "");
		assert_string_equal(at.city, "Town");
	}
	buf_free(&b);
}

static void test_not_whole(void **state)
{
	(void)state;
	assert_true(READS(LIST(PEER1, "1", "1")));
	assert_false(READS(LIST(PEER1, "1", "2")));
	assert_false(READS(LIST(PEER1, "2", "2")));
	assert_false(READS(LIST("", "0", "0")));
}

#define SAYS(error, more)                                                               \
	"{\"acestream_id\": \"" HEX "\", \"infohash\": \"" HEX "\", \"peers\": [" PEER1 \
	"], \"peer_count\": 1, \"total_peers\": 1, "                                    \
	"\"cached_at\": 1789999990, \"error\": " error more "}"

static void test_its_writer_does_not_believe_it(void **state)
{
	(void)state;
	assert_true(READS(SAYS("null", ", \"verdict\": \"alive\"")));
	assert_true(READS(SAYS("\"\"", "")));
	assert_false(READS(SAYS("null", ", \"verdict\": \"path-blocked\"")));
	assert_false(READS(SAYS("null", ", \"verdict\": 7")));
	assert_false(READS(SAYS("\"the path is blocked\"", "")));
}

static void test_somebody_elses(void **state)
{
	static const char *const bad[] =
		{"",
		 "null",
		 "1",
		 "\"x\"",
		 "[]",
		 "{}",
		 "{\"status\": \"ok\", \"peers\": 5}",
		 "not json at all",
		 "{\"peers\": [[[[[[[[",
		 "\xff\xfe\x00\x01",
		 LIST(PEER1, "1", "1") "x",
		 LIST(PEER1, "1.5", "1.5"),
		 LIST(PEER1, "-1", "-1"),
		 LIST(PEER1, "\"1\"", "\"1\""),
		 LIST(PEER1, "1e999", "1e999"),
		 LIST("5", "1", "1"),
		 LIST("{\"ip\": \"1.2.3.4\", \"port\": 1001.5, \"client\": \"\", "
		      "\"progress\": 0}",
		      "1", "1"),
		 LIST("{}", "1", "1"),
		 LIST("{\"ip\": \"x\", \"port\": 1, \"client\": \"\", \"progress\": 0}",
		      "1", "1"),
		 LIST("{\"ip\": \"1.2.3.4\", \"port\": 0, \"client\": \"\", "
		      "\"progress\": 0}",
		      "1", "1"),
		 LIST("{\"ip\": \"1.2.3.4\", \"port\": 65536, \"client\": \"\", "
		      "\"progress\": 0}",
		      "1", "1"),
		 LIST("{\"ip\": \"1.2.3.4\", \"port\": 1, \"client\": 7, "
		      "\"progress\": 0}",
		      "1", "1"),
		 LIST("{\"ip\": \"1.2.3.4\", \"port\": 1, \"client\": \"\", "
		      "\"progress\": 101}",
		      "1", "1"),
		 LIST("{\"ip\": \"1.2.3.4\", \"port\": 1, \"client\": \"\", "
		      "\"progress\": 1, \"city\": 5}",
		      "1", "1"),
		 LIST("{\"ip\": \"1.2.3.4\", \"port\": 1, \"client\": \"\", "
		      "\"progress\": 1, \"upload_rate\": -5}",
		      "1", "1"),
		 LIST("{\"ip\": \"1.2.3.4\", \"port\": 1, \"client\": \"\", "
		      "\"progress\": 1, \"sources\": [5]}",
		      "1", "1")};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(bad); i++)
		if (READS(bad[i]))
			fail_msg("took %s", bad[i]);
	assert_false(reads("\0\0\0\0", 4));
}

static void test_another_id_or_time(void **state)
{
	char *json = strdup(LIST(PEER1, "1", "1")), *at;

	(void)state;
	assert_true(READS(json));
	at = strstr(json, HEX);
	at[39] = '8'; /* of the question */
	assert_false(READS(json));
	at[39] = 'G';
	assert_false(READS(json));
	at[39] = '9';
	at = strstr(json, "1789999990");
	at[0] = '3'; /* in the future */
	assert_false(READS(json));
	at[0] = '0'; /* long ago, which is for others to judge */
	assert_true(READS(json));
	free(json);
}

static void test_cut(void **state)
{
	const char *json = LIST(PEER1 ", " PEER2, "2", "2");

	(void)state;
	for (size_t len = 0; len < strlen(json); len++)
		assert_false(reads(json, len));
}

static void test_too_large(void **state)
{
	char *json = malloc(LISTJSON_MAX + 1);
	const char *list = LIST(PEER1, "1", "1");

	(void)state;
	memset(json, ' ', LISTJSON_MAX + 1);
	memcpy(json + LISTJSON_MAX - strlen(list), list, strlen(list));
	assert_true(reads(json, LISTJSON_MAX));
	memmove(json + 1, json, LISTJSON_MAX);
	json[0] = ' ';
	assert_false(reads(json, LISTJSON_MAX + 1));
	free(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_contract),
		cmocka_unit_test(test_of_another_version),
		cmocka_unit_test(test_country_codes),
		cmocka_unit_test(test_not_whole),
		cmocka_unit_test(test_its_writer_does_not_believe_it),
		cmocka_unit_test(test_somebody_elses),
		cmocka_unit_test(test_another_id_or_time),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_too_large),
	};

	return cmocka_run_group_tests_name("listjson", tests, NULL, NULL);
}

/* What the body of a question for metadata means, and the words for those that mean nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "shm/metaword.h"
#include "worker/metaask.h"

#define HEX "94c2fd8fb9bc8f2fc71a2cbe9d4b866f227a0209"
#define BASE32 "stbp3d5zxshs7ry2fs7j2s4gn4rhuaqj"
#define LINK "magnet:?xt=urn:btih:" HEX

static char *hook; /* of the last question; the next one frees it */

/* The body lies at the end of its own memory: a byte too many is seen by the sanitizer. */
static enum metaask ask(struct magnet *m, const char *type, const char *body,
			struct metaask_fault *f)
{
	size_t len = strlen(body);
	char *copy = malloc(len ? len : 1);
	enum metaask rc;

	assert_non_null(copy);
	memcpy(copy, body, len);
	memset(f, 0, sizeof *f);
	free(hook);
	rc = metaask_read(m, &hook, type, copy, len, f);
	free(copy);
	return rc;
}

static void test_what_names_a_torrent(void **state)
{
	static const char *const body[] = {
		"{\"magnet_uri\":\"" LINK "\"}",
		" \r\n\t{ \"magnet_uri\" : \"" LINK "&dn=a\" } ",
		"{\"magnet_uri\":\"" LINK "\"} and what Go's decoder leaves",
		"{\"magnet_uri\":\"" HEX "\"}",
		"{\"magnet_uri\":\"" BASE32 "\"}",
		"{\"info_hash\":\"" HEX "\"}",
		"{\"magnet_uri\":\"\",\"info_hash\":\"" HEX "\"}",
		"{\"magnet_uri\":null,\"info_hash\":\"" HEX "\"}",
		"{\"magnet_uri\":\"x\",\"other\":[{\"magnet_uri\":1}],\"magnet_uri\":\"" LINK
		"\"}",
		"{\"Magnet_URI\":\"" LINK "\"}", /* as Go's decoder has it */
		"{\"magnet_uri\":\"magnet:?tr=udp:\\/\\/a:1&xt=urn:btih:" HEX "\"}",
	};
	static const char *const type[] = {
		NULL,
		"",
		"application/json",
		"application/json; charset=utf-8",
		"text/plain;charset=UTF-8",
		"application/x-www-form-urlencoded",
		"application/x-bittorrent",
	};
	static struct magnet m;
	struct metaask_fault f;
	char hex[IH_HEX_LEN];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(body); i++)
		for (size_t j = 0; j < PS_ARRAY_LEN(type); j++) {
			if (ask(&m, type[j], body[i], &f) != METAASK_LINK)
				fail_msg("%s: %s", body[i], f.message);
			ih_hex(hex, magnet_key(&m));
			assert_string_equal(hex, HEX);
		}
}

static void test_torrents_are_known_by_their_first_byte(void **state)
{
	static struct magnet m;
	struct metaask_fault f;

	(void)state;
	assert_int_equal(ask(&m, NULL, "d4:infod", &f), METAASK_TORRENT);
	assert_int_equal(ask(&m, "text/plain", "d4:infod", &f), METAASK_TORRENT);
	assert_int_equal(ask(&m, "application/json", "d", &f), METAASK_TORRENT);
	assert_int_equal(ask(&m, "application/x-bittorrent", "x", &f), METAASK_TORRENT);
	assert_int_equal(ask(&m, "Application/X-BitTorrent; a=b", "[", &f),
			 METAASK_TORRENT);
	assert_int_equal(ask(&m, "application/x-bittorrents", "x", &f), METAASK_BAD);
	assert_int_equal(f.status, 415);
}

static void test_words(void **state)
{
	static const struct {
		const char *type, *body;
		int status;
		const char *error, *code, *message;
	} t[] = {
		{NULL, "", 400, "Invalid JSON", "invalid_json", "EOF"},
		{"text/plain", " \n ", 400, "Invalid JSON", "invalid_json", "EOF"},
		{"application/x-bittorrent", "", 400, "Invalid JSON", "invalid_json",
		 "EOF"},
		{NULL, "{", 400, "Invalid JSON", "invalid_json", "unexpected EOF"},
		{"application/json", "{\"magnet_uri\":\"abc", 400, "Invalid JSON",
		 "invalid_json", NULL},
		{NULL, "magnet_uri=x", 400, "Invalid JSON", "invalid_json", NULL},
		{"application/vnd.x+json", "nonsense", 400, "Invalid JSON",
		 "invalid_json", NULL},
		{"application/x-www-form-urlencoded", " {\"magnet_uri\": \"abc", 400,
		 "Invalid JSON", "invalid_json",
		 "The body is no JSON from its byte 18 on."},
		{"text/html", "[1,", 400, "Invalid JSON", "invalid_json",
		 "unexpected EOF"},
		{"multipart/form-data; boundary=x", "--x\r\n", 415,
		 "Unsupported media type", "unsupported_media_type",
		 "The body is a form. Send the .torrent itself, e.g. curl --data-binary "
		 "@FILE."},
		{"text/html", "<html>", 415, "Unsupported media type",
		 "unsupported_media_type", "The body is neither JSON nor a .torrent."},
		{NULL, "[]", 400, "Invalid JSON", "invalid_json",
		 "The body must be a JSON object."},
		{"text/html", "\"" LINK "\"", 400, "Invalid JSON", "invalid_json",
		 "The body must be a JSON object."},
		{NULL, "{\"magnet_uri\":7}", 400, "Invalid JSON", "invalid_json",
		 "magnet_uri must be a string."},
		{NULL, "{\"magnet_uri\":\"" LINK "\",\"magnet_uri\":[]}", 400,
		 "Invalid JSON", "invalid_json", "magnet_uri must be a string."},
		{NULL, "{\"info_hash\":{}}", 400, "Invalid JSON", "invalid_json",
		 "info_hash must be a string."},
		{NULL, "{}", 400, "Missing magnet URI", "missing_magnet",
		 "magnet_uri field is required"},
		{NULL, "null", 400, "Missing magnet URI", "missing_magnet",
		 "magnet_uri field is required"},
		{NULL, "{\"magnet_uri\":\"\"}", 400, "Missing magnet URI",
		 "missing_magnet", "magnet_uri field is required"},
		{NULL, "{\"magnet_uri\":\"http://a/b\"}", 400, "Invalid magnet URI",
		 "invalid_magnet", NULL},
		{NULL, "{\"magnet_uri\":\"magnet:?dn=a\"}", 400, "Invalid magnet URI",
		 "invalid_magnet", NULL},
		{NULL, "{\"magnet_uri\":\"0000000000000000000000000000000000000000\"}",
		 400, "Invalid magnet URI", "invalid_magnet", NULL},
	};
	static const char intro[] = "failed to parse magnet URI: ";
	static struct magnet m;
	struct metaask_fault f;

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++) {
		if (ask(&m, t[i].type, t[i].body, &f) != METAASK_BAD)
			fail_msg("%s", t[i].body);
		assert_int_equal(f.status, t[i].status);
		assert_string_equal(f.error, t[i].error);
		assert_string_equal(f.code, t[i].code);
		if (t[i].message)
			assert_string_equal(f.message, t[i].message);
		else
			assert_true(strlen(f.message) > 10);
		if (strcmp(f.code, "invalid_magnet") == 0)
			assert_memory_equal(f.message, intro, sizeof intro - 1);
	}
}

/* As deep as a body can be: refused by the reader of JSON, whose stack is our stack. */
static void test_deep_json(void **state)
{
	enum { DEEP = 65536 };
	static struct magnet m;
	struct metaask_fault f;
	char *body = malloc(DEEP);

	(void)state;
	assert_non_null(body);
	memset(body, '[', DEEP);
	assert_int_equal(metaask_read(&m, &hook, NULL, body, DEEP, &f), METAASK_BAD);
	assert_string_equal(f.code, "invalid_json");
	free(body);
}

static void test_webhooks(void **state)
{
	static struct magnet m;
	struct metaask_fault f;

	(void)state;
	assert_int_equal(ask(&m, NULL,
			     "{\"webhook\":\"http://a/?b\",\"info_hash\":\"" HEX "\"}",
			     &f),
			 METAASK_LINK);
	assert_string_equal(hook, "http://a/?b");
	assert_int_equal(ask(&m, NULL, "{\"webhook\":null,\"info_hash\":\"" HEX "\"}",
			     &f),
			 METAASK_LINK);
	assert_null(hook);
	assert_int_equal(ask(&m, NULL, "{\"webhook\":\"\",\"info_hash\":\"" HEX "\"}",
			     &f),
			 METAASK_LINK);
	assert_null(hook);
	assert_int_equal(ask(&m, NULL, "{\"webhook\":[],\"info_hash\":\"" HEX "\"}", &f),
			 METAASK_BAD);
	assert_int_equal(ask(&m, NULL, "{\"webhook\":\"a\",\"info_hash\":\"x\"}", &f),
			 METAASK_BAD);
	assert_null(hook);
}

static void test_flags(void **state)
{
	static const char *const yes[] = {"", "1", "true", "TRUE", "yes", "on"},
				 *const no[] = {"0", "false", "no", "Off"},
				 *const bad[] = {"2", "maybe", " ", "1 "};
	int on = -1;

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(yes); i++)
		assert_true(metaask_flag(yes[i], &on) == 0 && on == 1);
	for (size_t i = 0; i < PS_ARRAY_LEN(no); i++)
		assert_true(metaask_flag(no[i], &on) == 0 && on == 0);
	for (size_t i = 0; i < PS_ARRAY_LEN(bad); i++)
		assert_int_equal(metaask_flag(bad[i], &on), -1);
}

static void test_timeouts(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms; /* 0: none */
	} t[] = {
		{"1", 1},         {"500", 500},
		{"500ms", 500},   {"2s", 2000},
		{"1m", 60000},    {"1440m", 86400000},
		{"1441m", 0},     {"86400001", 0},
		{"", 0},          {"0", 0},
		{"-1", 0},        {"1.5s", 0},
		{"1h", 0},        {"s", 0},
		{"5 s", 0},       {"999999999999s", 0},
		{"99999999m", 0},
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++) {
		uint64_t ms = 0;
		int rc = metaask_timeout(t[i].text, &ms);

		if (rc != (t[i].ms ? 0 : -1) || (rc == 0 && ms != t[i].ms))
			fail_msg("%s", t[i].text);
	}
}

/* Each way in which the collector can end a question is an error that clients know. */
/* The same end-of-memory trap as ask(). */
static int list(struct metaask_list *l, const char *body, struct metaask_fault *f)
{
	size_t len = strlen(body);
	char *copy = malloc(len ? len : 1);
	int rc;

	assert_non_null(copy);
	memcpy(copy, body, len);
	memset(f, 0, sizeof *f);
	rc = metaask_list(l, NULL, copy, len, f);
	free(copy);
	return rc;
}

static void test_batches(void **state)
{
	static const char *const body[] = {
		"[{\"magnet_uri\":\"" LINK "\"},\"" HEX "\",{},[],\"x\"]",
		" {\"a\":[1],\"Items\":[\"" BASE32 "\",{\"info_hash\":\"" HEX
		"\"},{\"magnet_uri\":1},7,null]}",
	};
	static struct magnet m;
	struct metaask_list l;
	struct metaask_fault f;
	char hex[IH_HEX_LEN];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(body); i++) {
		assert_int_equal(list(&l, body[i], &f), 0);
		assert_int_equal(l.n, 5);
		for (int k = 0; k < 2; k++) {
			assert_int_equal(metaask_next(&l, &m, &f), METAASK_LINK);
			ih_hex(hex, magnet_key(&m));
			assert_string_equal(hex, HEX);
		}
		for (int k = 0; k < 3; k++) {
			assert_int_equal(metaask_next(&l, &m, &f), METAASK_BAD);
			assert_int_equal(f.status, 400);
		}
		metaask_list_free(&l);
	}
}

static void test_bad_batches(void **state)
{
	static const char *const body[] =
		{"",         " ",    "[",           "{}",  "7", "\"a\"", "{\"items\":7}",
		 "d1:ai1ee", "[1,]", "{\"items\":", "null"};
	struct metaask_list l;
	struct metaask_fault f;
	struct buf b;

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(body); i++) {
		if (list(&l, body[i], &f) == 0)
			fail_msg("%s", body[i]);
		assert_int_equal(f.status, 400);
		assert_string_equal(f.code, "invalid_json");
	}
	for (int n = METAASK_ITEMS; n <= METAASK_ITEMS + 1; n++) {
		buf_init(&b, 4096);
		for (int i = 0; i < n; i++)
			buf_str(&b, i ? ",1" : "[1");
		buf_str(&b, "]");
		assert_int_equal(list(&l, b.p, &f), n <= METAASK_ITEMS ? 0 : -1);
		buf_free(&b);
		metaask_list_free(&l);
	}
	assert_string_equal(f.code, "too_many_items");
}

static void test_every_end_has_words(void **state)
{
	static const struct {
		enum lane_rc rc;
		int status;
		const char *code;
	} t[] = {
		{LANE_META_NONE, 504, "timeout"},
		{LANE_META_DEAD, 504, "nobody_has_it"},
		{LANE_BUSY, 503, "busy"},
		{LANE_WAITERS, 503, "busy"},
		{LANE_TABLE, 503, "busy"},
		{LANE_META_BADFILE, 400, "invalid_torrent"},
		{LANE_META_ODD, 422, "unreadable_metadata"},
		{LANE_META_DISK, 503, "cache_full"},
		{LANE_LIMITED, 429, "limited"},
		{LANE_REFUSED, 503, "interface"},
		{LANE_FAILED, 503, "metadata_unavailable"},
	};
	const struct metaword *w;

	(void)state;
	/* all but LANE_OK and LANE_META_REDIS, which are none */
	assert_int_equal(PS_ARRAY_LEN(t), LANE_RC_LAST - 1);
	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++) {
		w = metaword(t[i].rc);
		assert_int_equal(w->status, t[i].status);
		assert_string_equal(w->code, t[i].code);
		assert_true(w->error[0] && w->message[0]);
	}
	w = metaword(LANE_META_NONE);
	assert_string_equal(w->error, "Timeout");
	assert_string_equal(w->message, "Timeout while retrieving metadata");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_names_a_torrent),
		cmocka_unit_test(test_torrents_are_known_by_their_first_byte),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_deep_json),
		cmocka_unit_test(test_webhooks),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_batches),
		cmocka_unit_test(test_bad_batches),
		cmocka_unit_test(test_every_end_has_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

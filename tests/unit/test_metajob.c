/* test_metajob.c -- jobs: their file, what clients are told, what a webhook may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shm/metajob.h"

#define ID "0123456789abcdef0123456789abcdef"
#define KEY "94c2fd8fb9bc8f2fc71a2cbe9d4b866f227a0209"
#define CLIENT "00000000000000000000ffff7f000001"
#define LINK "magnet:?xt=urn:btih:" KEY
#define FIRST "peerscope-job 1 " ID "\n"
#define WHOLE FIRST "0 0 1 2 3 0 0 0\n" KEY " " CLIENT "\n\n" LINK "\n"

static void example(struct metajob *j)
{
	static char url[] = "https://a.test/?b", link[] = LINK;

	memset(j, 0, sizeof *j);
	memcpy(j->id, ID, sizeof j->id);
	j->state = METAJOB_FAILED;
	j->rc = LANE_META_NONE;
	j->created_ms = 1700000000123;
	j->since_ms = 1700000060999;
	j->until_ms = 1700003661000;
	for (int i = 0; i < IH_LEN; i++)
		j->key[i] = (uint8_t)(i * 13);
	j->client[15] = 1;
	j->hook = METAJOB_HOOK_DUE;
	j->tries = 2;
	j->said = 503;
	j->url = url;
	j->link = link;
}

static void test_a_file_is_read_as_it_was_written(void **state)
{
	struct metajob j, back;
	char err[ERRLEN], none[] = "";
	struct buf b;

	(void)state;
	for (int hook = 0; hook < 2; hook++) {
		example(&j);
		if (!hook) {
			j.hook = METAJOB_NO_HOOK;
			j.url = none;
		}
		buf_init(&b, METAJOB_FILE_MAX);
		metajob_write(&b, &j);
		assert_int_equal(metajob_read(&back, b.p, b.len, err), 0);
		assert_string_equal(back.id, j.id);
		assert_int_equal(back.state, j.state);
		assert_int_equal(back.rc, j.rc);
		assert_true(back.created_ms == j.created_ms);
		assert_true(back.since_ms == j.since_ms && back.until_ms == j.until_ms);
		assert_memory_equal(back.key, j.key, IH_LEN);
		assert_memory_equal(back.client, j.client, ADDR_LEN);
		assert_int_equal(back.hook, j.hook);
		assert_int_equal(back.tries, 2);
		assert_int_equal(back.said, 503);
		assert_string_equal(back.url, j.url);
		assert_string_equal(back.link, j.link);
		metajob_free(&back);
		/* cut anywhere, or with more behind it, it is none */
		for (size_t n = 0; n < b.len; n++) {
			char *cut = malloc(n ? n : 1);

			memcpy(cut, b.p, n);
			assert_int_equal(metajob_read(&back, cut, n, err), -1);
			free(cut);
		}
		buf_add(&b, "\n", 1);
		assert_int_equal(metajob_read(&back, b.p, b.len, err), -1);
		buf_free(&b);
	}
}

static void test_what_is_no_job(void **state)
{
	static const char *const bad[] = {
		"peerscope-job 2 " ID "\n0 0 1 2 3 0 0 0\n" KEY " " CLIENT "\n\n" LINK
		"\n",
		"peerscope-job 1 " KEY "\n0 0 1 2 3 0 0 0\n" KEY " " CLIENT "\n\n" LINK
		"\n",
		FIRST "3 0 1 2 3 0 0 0\n" KEY " " CLIENT "\n\n" LINK "\n",
		FIRST "0 99 1 2 3 0 0 0\n" KEY " " CLIENT "\n\n" LINK "\n",
		FIRST "0 0 1 2 3 4 0 0\n" KEY " " CLIENT "\n\n" LINK "\n",
		FIRST "0 0 1 2 3 1 0 0\n" KEY " " CLIENT "\n\n" LINK "\n", /* no URL */
		FIRST "0 0 1 2 3 0 0 0\n" KEY " " CLIENT "\nhttp://a\n" LINK "\n",
		FIRST "0 0 1 2 3 0 9999999999 0\n" KEY " " CLIENT "\n\n" LINK "\n",
		FIRST "0 0 1 2 3 0 0\n" KEY " " CLIENT "\n\n" LINK "\n",
		FIRST "0 0 1 2 3 0 0 0 0\n" KEY " " CLIENT "\n\n" LINK "\n",
		FIRST "0 0 1 2 3 0 0 1000\n" KEY " " CLIENT "\n\n" LINK "\n",
		FIRST "0 0 -1 2 3 0 0 0\n" KEY " " CLIENT "\n\n" LINK "\n",
		FIRST "0 0 99999999999999999 2 3 0 0 0\n" KEY " " CLIENT "\n\n" LINK "\n",
		FIRST "0 0 1 2 3 0 0 0\n" KEY "x" CLIENT "\n\n" LINK "\n",
		FIRST "0 0 1 2 3 0 0 0\n" KEY " " CLIENT "0\n\n" LINK "\n",
		FIRST "0 0 1 2 3 0 0 0\n" KEY " 0000000000000000000000000000000g\n\n" LINK
		      "\n",
	};
	struct metajob j;
	char err[ERRLEN];

	(void)state;
	assert_int_equal(metajob_read(&j, WHOLE, strlen(WHOLE), err), 0);
	metajob_free(&j);
	assert_int_equal(metajob_read(&j, WHOLE "", sizeof WHOLE, err), -1); /* a NUL */
	for (size_t i = 0; i < PS_ARRAY_LEN(bad); i++)
		if (metajob_read(&j, bad[i], strlen(bad[i]), err) == 0)
			fail_msg("%s", bad[i]);
}

static void test_names(void **state)
{
	char a[METAJOB_ID + 1], b[METAJOB_ID + 1];

	(void)state;
	assert_int_equal(metajob_name(a), 0);
	assert_int_equal(metajob_name(b), 0);
	assert_true(metajob_is_id(a) && metajob_is_id(b) && strcmp(a, b) != 0);
	assert_false(metajob_is_id(""));
	assert_false(metajob_is_id(ID "0"));
	assert_false(metajob_is_id("0123456789ABCDEF0123456789abcdef"));
	assert_false(metajob_is_id("../../../../../../../../../../..."));
}

static void shown(const struct metajob *j, const char *want)
{
	struct json out;
	struct buf b;

	buf_init(&b, 4096);
	json_init(&out, &b);
	metajob_json(&out, j, "http://b.test//");
	json_obj_end(&out);
	assert_string_equal(b.p, want);
	buf_free(&b);
}

#define HEAD "{\"id\":\"" ID "\",\"state\":\""
#define HASH "\"info_hash\":\"000d1a2734414e5b6875828f9ca9b6c3d0ddeaf7\","
#define TIMES \
	"\"created_at\":\"2023-11-14T22:13:20Z\",\"since\":\"2023-11-14T22:14:20Z\","

static void test_what_clients_are_told(void **state)
{
	struct metajob j;

	(void)state;
	example(&j);
	shown(&j, HEAD "failed\"," HASH TIMES "\"expires_at\":\"2023-11-14T23:14:21Z\","
		       "\"status_url\":\"http://b.test/api/v1/jobs/" ID "\","
		       "\"error\":\"Timeout\",\"message\":\"Timeout while retrieving "
		       "metadata\",\"code\":\"timeout\",\"status\":504,"
		       "\"webhook\":{\"state\":\"pending\",\"tries\":2,"
		       "\"error\":\"It answered 503.\"}}");
	j.state = METAJOB_PENDING;
	j.hook = METAJOB_NO_HOOK;
	shown(&j, HEAD "pending\"," HASH TIMES "\"deadline\":\"2023-11-14T23:14:21Z\","
		       "\"status_url\":\"http://b.test/api/v1/jobs/" ID "\"}");
	j.until_ms = 0;
	shown(&j, HEAD "pending\"," HASH TIMES
		       "\"status_url\":\"http://b.test/api/v1/jobs/" ID "\"}");
	j.until_ms = 1700003661000;
	j.state = METAJOB_DONE;
	j.hook = METAJOB_HOOK_SENT;
	j.said = METAJOB_SAID_NOTHING;
	shown(&j, HEAD "done\"," HASH TIMES "\"expires_at\":\"2023-11-14T23:14:21Z\","
		       "\"status_url\":\"http://b.test/api/v1/jobs/" ID "\","
		       "\"result_url\":\"http://b.test/api/v1/metadata/"
		       "000d1a2734414e5b6875828f9ca9b6c3d0ddeaf7\","
		       "\"webhook\":{\"state\":\"delivered\",\"tries\":2}}");
}

static void test_urls(void **state)
{
	static const struct {
		const char *url;
		int all, world; /* with swarm.allow_private, and without */
	} t[] = {
		{"http://a.test", 1, 1},
		{"https://a.test:8443/x?y=z#f", 1, 1},
		{"http://8.8.8.8/", 1, 1},
		{"http://[2606:4700::1111]:80/", 1, 1},
		{"http://127.0.0.1/", 1, 0},
		{"http://192.168.1.1:8000/", 1, 0},
		{"http://169.254.169.254/latest/meta-data", 1, 0},
		{"http://100.64.0.1/", 1, 0},
		{"http://[::1]/", 1, 0},
		{"http://[fd00:ec2::254]/", 1, 0},
		{"http://[::ffff:10.0.0.1]/", 1, 0},
		{"http://[64:ff9b::a00:1]/", 1, 0},
		{"http://localhost/", 1, 1}, /* known when it is looked up */
		{"", 0, 0},
		{"a.test/", 0, 0},
		{"ftp://a.test/", 0, 0},
		{"file:///etc/passwd", 0, 0},
		{"HTTP://a.test/", 0, 0},
		{"http://", 0, 0},
		{"http:///x", 0, 0},
		{"http://:80/", 0, 0},
		{"http://[]/", 0, 0},
		{"http://[::1/", 0, 0},
		{"http://u@a.test/", 0, 0},
		{"http://u:p@a.test/", 0, 0},
		{"http://a.test\\@b.test/", 0, 0},
		{"http://a test/", 0, 0},
		{"http://a.test/\r\nX: y", 0, 0},
		{"http://a.test/\x7f", 0, 0},
		{"http://\xc3\xa4.test/", 0, 0},
		{"http://a.test/@", 1, 1},
	};
	char err[ERRLEN], url[METAJOB_HOOK_MAX + 2] = "http://a.test/";

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++) {
		if ((metajob_url(t[i].url, 1, err) == 0) != t[i].all)
			fail_msg("%s", t[i].url);
		if ((metajob_url(t[i].url, 0, err) == 0) != t[i].world)
			fail_msg("%s, not private", t[i].url);
	}
	memset(url + 14, 'x', METAJOB_HOOK_MAX - 14);
	assert_int_equal(metajob_url(url, 0, err), 0);
	url[METAJOB_HOOK_MAX] = 'x';
	assert_int_equal(metajob_url(url, 0, err), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_file_is_read_as_it_was_written),
		cmocka_unit_test(test_what_is_no_job),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_what_clients_are_told),
		cmocka_unit_test(test_urls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

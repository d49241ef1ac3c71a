/* test_log.c -- the form of a line, its bounds, the brake on a site that repeats itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

/* --- log ------------------------------------------------------------------ */

static char log_path[] = "/tmp/peerscope-log-XXXXXX";

static int log_setup(void **state)
{
	int fd = mkstemp(log_path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int log_teardown(void **state)
{
	char err[ERRLEN];

	(void)state;
	unlink(log_path);
	return log_open("test", LOG_NOTICE, 0, "", err);
}

static void log_start(int level, int json)
{
	char err[ERRLEN] = "";

	assert_int_equal(truncate(log_path, 0), 0);
	if (log_open("w2.g7", level, json, log_path, err) != 0)
		fail_msg("%s", err);
}

static char *log_read(void)
{
	static char text[65536];
	FILE *f = fopen(log_path, "r");

	assert_non_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	return text;
}

static void test_log_text(void **state)
{
	char want[128], *line;

	(void)state;
	log_start(LOG_WARN, 0);
	assert_true(log_wants(LOG_FATAL) && log_wants(LOG_WARN) &&
		    !log_wants(LOG_NOTICE));
	errno = EINTR;
	log_warn("geo", "api %d after %dms\n\x1b[31m\xc3\xa9", 503, 1500);
	assert_int_equal(errno, EINTR);
	log_notice("geo", "not shown");
	line = log_read();
	snprintf(want, sizeof(want),
		 "Z peerscope[w2.g7 %ld] warn geo: api 503 after 1500ms??[31m??\n",
		 (long)getpid());
	assert_int_equal(strlen(line), 23 + strlen(want));
	assert_string_equal(line + 23, want);
	assert_int_equal(line[4], '-');
	assert_int_equal(line[10], 'T');
	assert_int_equal(line[19], '.');
}

static void test_log_json(void **state)
{
	cJSON *o;

	(void)state;
	log_start(LOG_DEBUG, 1);
	log_debug("http", "a \"quoted\" \\ path\t\xff");
	o = cJSON_Parse(log_read());
	assert_non_null(o);
	assert_string_equal(cJSON_GetObjectItem(o, "text")->valuestring,
			    "a \"quoted\" \\ path??");
	assert_string_equal(cJSON_GetObjectItem(o, "level")->valuestring, "debug");
	assert_string_equal(cJSON_GetObjectItem(o, "who")->valuestring, "w2.g7");
	assert_string_equal(cJSON_GetObjectItem(o, "topic")->valuestring, "http");
	assert_int_equal(cJSON_GetObjectItem(o, "pid")->valueint, getpid());
	assert_int_equal(strlen(cJSON_GetObjectItem(o, "time")->valuestring), 24);
	cJSON_Delete(o);
}

static void test_log_long_lines(void **state)
{
	char big[4000], *line;
	cJSON *o;

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_start(LOG_INFO, 0);
	log_info("t", "%s", big);
	line = log_read();
	assert_true(strlen(line) <= 1024 && strlen(line) > 1000);
	assert_int_equal(line[strlen(line) - 1], '\n');
	memset(big, '"', sizeof(big) - 1);
	log_start(LOG_INFO, 1);
	log_info("t", "%s", big);
	line = log_read();
	assert_true(strlen(line) <= 1024);
	assert_int_equal(line[strlen(line) - 1], '\n');
	o = cJSON_Parse(line);
	assert_non_null(o);
	cJSON_Delete(o);
}

static int count(const char *text, const char *what)
{
	int n = 0;

	while ((text = strstr(text, what))) {
		n++;
		text++;
	}
	return n;
}

static void test_log_burst(void **state)
{
	static struct log_site site, other;
	uint64_t second;

	(void)state;
	do { /* all within one second; again if it turned meanwhile */
		log_start(LOG_INFO, 0);
		memset(&site, 0, sizeof(site));
		second = clock_ms() / 1000;
		for (int i = 0; i < LOG_BURST + 37; i++)
			log_line(&site, LOG_INFO, "t", "alike");
		log_line(&other, LOG_INFO, "t", "another site");
	} while (clock_ms() / 1000 != second);
	assert_int_equal(count(log_read(), ": alike\n"), LOG_BURST);
	assert_int_equal(count(log_read(), "another site"), 1);
	site.second--; /* as if a second had passed */
	log_line(&site, LOG_INFO, "t", "alike");
	assert_int_equal(count(log_read(), ": alike\n"), LOG_BURST + 1);
	assert_int_equal(count(log_read(), "info t: (+37 alike)\n"), 1);
	site.second--;
	log_line(&site, LOG_INFO, "t", "alike");
	assert_int_equal(count(log_read(), "(+"), 1);
}

static void test_log_reopen(void **state)
{
	char moved[64], err[ERRLEN] = "";
	struct stat st;

	(void)state;
	log_start(LOG_INFO, 0);
	log_info("t", "before");
	snprintf(moved, sizeof(moved), "%s.1", log_path);
	assert_int_equal(rename(log_path, moved), 0);
	log_info("t", "into the moved one");
	assert_int_equal(stat(log_path, &st), -1);
	assert_int_equal(log_reopen(err), 0);
	log_info("t", "after");
	assert_int_equal(count(log_read(), "after"), 1);
	assert_int_equal(count(log_read(), "moved"), 0);
	unlink(moved);
	/* what can't be opened changes nothing */
	assert_int_equal(log_open("x", LOG_INFO, 1, "/nonexistent/dir/log", err), -1);
	assert_non_null(strstr(err, "/nonexistent/dir/log: No such file"));
	log_info("t", "still here");
	assert_non_null(strstr(log_read(), "[w2.g7 "));
	assert_int_equal(count(log_read(), "still here"), 1);
	assert_int_equal(rename(log_path, moved), 0);
	assert_int_equal(mkdir(log_path, 0700), 0);
	assert_int_equal(log_reopen(err), -1);
	assert_non_null(strstr(err, ": Is a directory; the old file stays in use"));
	assert_int_equal(rmdir(log_path), 0);
	assert_int_equal(rename(moved, log_path), 0);
	log_info("t", "into the old one");
	assert_int_equal(count(log_read(), "into the old one"), 1);
	assert_int_equal(log_open("test", LOG_INFO, 0, "", err), 0);
	assert_int_equal(log_reopen(err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log_text),       cmocka_unit_test(test_log_json),
		cmocka_unit_test(test_log_long_lines), cmocka_unit_test(test_log_burst),
		cmocka_unit_test(test_log_reopen),
	};

	return cmocka_run_group_tests_name("log", tests, log_setup, log_teardown);
}

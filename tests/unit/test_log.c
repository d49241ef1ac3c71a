/* test_log.c -- the form of a line, its bounds, the brake on a site that repeats itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <cjson/cJSON.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/reqid.h"

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
	assert_string_equal(cJSON_GetObjectItem(o, "message")->valuestring,
			    "a \"quoted\" \\ path??");
	assert_string_equal(cJSON_GetObjectItem(o, "level")->valuestring, "debug");
	assert_string_equal(cJSON_GetObjectItem(o, "who")->valuestring, "w2.g7");
	assert_string_equal(cJSON_GetObjectItem(o, "topic")->valuestring, "http");
	assert_int_equal(cJSON_GetObjectItem(o, "pid")->valueint, getpid());
	assert_int_equal(strlen(cJSON_GetObjectItem(o, "time")->valuestring), 24);
	assert_null(cJSON_GetObjectItem(o, "request_id"));
	assert_int_equal(cJSON_GetArraySize(o), 6);
	cJSON_Delete(o);
}

/* Of the last line; NULL: not said. */
static const char *subject(char out[REQID_MAX + 2])
{
	cJSON *o = cJSON_Parse(log_read()), *id = cJSON_GetObjectItem(o, "request_id");

	assert_non_null(o);
	if (id)
		snprintf(out, REQID_MAX + 2, "%s", id->valuestring);
	cJSON_Delete(o);
	return id ? out : NULL;
}

static void test_log_about(void **state)
{
	char id[REQID_MAX + 2], longest[REQID_MAX + 2];

	(void)state;
	log_start(LOG_INFO, 0);
	log_about("3f2a-b");
	log_info("t", "asked");
	assert_non_null(strstr(log_read(), " info t: asked (request 3f2a-b)\n"));
	assert_string_equal(log_subject(), "3f2a-b");
	log_about("");
	log_info("t", "idle");
	assert_non_null(strstr(log_read(), " info t: idle\n"));
	log_start(LOG_INFO, 1);
	log_about("3f2a-b");
	log_info("t", "asked");
	assert_string_equal(subject(id), "3f2a-b");
	memset(longest, 'x', sizeof(longest));
	longest[REQID_MAX] = '\0';
	log_start(LOG_INFO, 1);
	log_about(longest);
	log_info("t", "asked");
	assert_string_equal(subject(id), longest);
	longest[REQID_MAX] = 'x'; /* too long, and without an end: from a segment */
	log_start(LOG_INFO, 1);
	log_about(longest);
	log_info("t", "asked");
	assert_null(subject(id));
	log_start(LOG_INFO, 1);
	log_about("a\"b");
	log_info("t", "asked");
	assert_null(subject(id));
	log_about("");
}

static void test_reqid(void **state)
{
	static const char *const good[] = {"a",
					   "0",
					   "3f2a9c",
					   "Root=1-67891233-abcdef012345678912345678",
					   "550e8400-e29b-41d4-a716-446655440000",
					   "b64+/==",
					   "me@host:7.x~_-"};
	static const char *const bad[] = {"",    " ",    "a b",      "a\"", "a\\",
					  "a\n", "\x7f", "\xc3\xa9", "a,b", "a;b",
					  "{}",  "<x>",  "$(x)",     "a'",  "a%20"};
	char a[REQID_MAX + 1], b[REQID_MAX + 1], longest[REQID_MAX + 2];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(good); i++)
		assert_true(reqid_sane(good[i], strlen(good[i])));
	for (size_t i = 0; i < PS_ARRAY_LEN(bad); i++)
		assert_false(reqid_sane(bad[i], strlen(bad[i])));
	assert_false(reqid_sane("a\0b", 3));
	memset(longest, 'a', sizeof(longest));
	assert_true(reqid_sane(longest, REQID_MAX));
	assert_false(reqid_sane(longest, REQID_MAX + 1));
	reqid_make(a);
	assert_int_equal(strlen(a), REQID_MADE);
	assert_int_equal(strspn(a, "0123456789abcdef"), REQID_MADE);
	for (int i = 0; i < 1000; i++) {
		reqid_make(b);
		assert_int_equal(strlen(b), REQID_MADE);
		assert_memory_equal(a, b, 16);
		assert_memory_not_equal(a + 16, b + 16, 16);
	}
}

/* One byte as its line shows it. */
static int shown(unsigned char c)
{
	return c < 0x20 || c > 0x7e ? '?' : c;
}

/* Whatever bytes come, of whatever length: one line, one object, at most 1 KiB, ASCII; and
 * as much of the text as there is room for. */
static void test_log_any_bytes(void **state)
{
	uint64_t r = 1;

	(void)state;
	for (int turn = 0; turn < 4000; turn++) {
		struct log_site site = {0};
		char text[1400], *line, id[REQID_MAX + 1] = "";
		size_t n = 0, len;
		cJSON *o;

		r = r * 6364136223846793005ull + 1442695040888963407ull;
		len = (r >> 33) % (turn % 2 ? 40 : sizeof(text));
		for (; n < len; n++) {
			r = r * 6364136223846793005ull + 1442695040888963407ull;
			text[n] = (char)(r >> 56);
			if (turn % 3 == 0)
				text[n] = "\"\\\n\x80x"[(r >> 40) % 5];
			text[n] = text[n] ? text[n] : 1;
		}
		text[n] = '\0';
		if (turn % 5 == 0)
			reqid_make(id);
		log_start(LOG_INFO, 1);
		log_about(id);
		log_line(&site, LOG_INFO, "t", "%s", text);
		line = log_read();
		len = strlen(line);
		assert_true(len <= 1024 && len > 0);
		assert_ptr_equal(strchr(line, '\n'), line + len - 1);
		o = cJSON_Parse(line);
		assert_non_null(o);
		line = cJSON_GetObjectItem(o, "message")->valuestring;
		for (n = 0; line[n]; n++)
			assert_int_equal(line[n], shown((unsigned char)text[n]));
		assert_true(text[n] == '\0' || len > 1020);
		assert_true(!id[0] == (cJSON_GetObjectItem(o, "request_id") == NULL));
		cJSON_Delete(o);
	}
	log_about("");
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

/* What a process says before it dies is an object, too: in the log's file and on stderr. */
static void test_last_words(void **state)
{
	char on_stderr[1024] = "";
	int fd[2], status;
	cJSON *o;
	pid_t pid;

	(void)state;
	log_start(LOG_FATAL, 1);
	assert_int_equal(pipe(fd), 0);
	pid = fork();
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		dup2(fd[1], STDERR_FILENO);
		log_about("the-last-one");
		PS_ASSERT(strcmp("\"\xff", "b") == 0);
		_exit(0);
	}
	close(fd[1]);
	assert_true(read(fd[0], on_stderr, sizeof(on_stderr) - 1) > 0);
	close(fd[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_string_equal(strchr(on_stderr, ','), strchr(log_read(), ','));
	o = cJSON_Parse(log_read());
	assert_non_null(o);
	assert_string_equal(cJSON_GetObjectItem(o, "level")->valuestring, "fatal");
	assert_string_equal(cJSON_GetObjectItem(o, "topic")->valuestring, "last words");
	assert_string_equal(cJSON_GetObjectItem(o, "request_id")->valuestring,
			    "the-last-one");
	assert_non_null(strstr(cJSON_GetObjectItem(o, "message")->valuestring,
			       "assert tests/unit/test_log.c:"));
	cJSON_Delete(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log_text),       cmocka_unit_test(test_log_json),
		cmocka_unit_test(test_log_long_lines), cmocka_unit_test(test_log_burst),
		cmocka_unit_test(test_log_reopen),     cmocka_unit_test(test_log_about),
		cmocka_unit_test(test_log_any_bytes),  cmocka_unit_test(test_reqid),
		cmocka_unit_test(test_last_words),
	};

	return cmocka_run_group_tests_name("log", tests, log_setup, log_teardown);
}

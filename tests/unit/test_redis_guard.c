/*
 * test_redis_guard.c -- what errors of Redis mean, and what is no Redis. The errors are those
 * of redis-server 5, 6 and 7, word by word.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <hiredis/async.h>

#include "collector/redis_guard.h"

static void test_errors(void **state)
{
	static const struct {
		const char *text;
		enum redis_how how;
	} said[] = {
		{"NOAUTH Authentication required.", REDISHOW_PASSWORD},
		{"WRONGPASS invalid username-password pair or user is disabled.",
		 REDISHOW_PASSWORD},
		{"ERR invalid password", REDISHOW_PASSWORD},
		{"ERR Client sent AUTH, but no password is set", REDISHOW_PASSWORD},
		{"ERR AUTH <password> called without any password configured for the "
		 "default user. Are you sure your configuration is correct?",
		 REDISHOW_PASSWORD},
		{"NOPERM this user has no permissions to run the 'setex' command",
		 REDISHOW_DENIED},
		{"DENIED Redis is running in protected mode because protected mode is "
		 "enabled",
		 REDISHOW_DENIED},
		{"ERR max number of clients reached", REDISHOW_DENIED},
		{"LOADING Redis is loading the dataset in memory", REDISHOW_LOADING},
		{"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is "
		 "set to 'no'.",
		 REDISHOW_LOADING},
		{"OOM command not allowed when used memory > 'maxmemory'.",
		 REDISHOW_FULL},
		{"OOM command not allowed when used memory > 'maxmemory'. script: "
		 "b0d697da25b13e49157b2c214a4033546aba2104, on @user_script:5.",
		 REDISHOW_FULL},
		{"ERR Error running script (call to f_b0d697): @user_script:5: "
		 "@user_script: 5: -OOM command not allowed when used memory > "
		 "'maxmemory'.",
		 REDISHOW_FULL},
		{"READONLY You can't write against a read only replica.",
		 REDISHOW_READ_ONLY},
		{"MISCONF Redis is configured to save RDB snapshots, but it's "
		 "currently unable to persist to disk.",
		 REDISHOW_READ_ONLY},
		{"NOREPLICAS Not enough good replicas to write.", REDISHOW_READ_ONLY},
		{"MOVED 3999 127.0.0.1:6381", REDISHOW_CLUSTER},
		{"ASK 3999 127.0.0.1:6381", REDISHOW_CLUSTER},
		{"CROSSSLOT Keys in request don't hash to the same slot",
		 REDISHOW_CLUSTER},
		{"CLUSTERDOWN Hash slot not served", REDISHOW_CLUSTER},
		{"ERR SELECT is not allowed in cluster mode", REDISHOW_CLUSTER},
		{"Protocol error, got \"H\" as reply type byte", REDISHOW_GARBAGE},
		{"WRONGTYPE Operation against a key holding the wrong kind of value",
		 REDISHOW_ERROR},
		{"ERR unknown command `EVAL`, with args beginning with: ",
		 REDISHOW_ERROR},
		{"ERR DB index is out of range", REDISHOW_ERROR},
		{"OOMPH", REDISHOW_ERROR},
		{"ERR the key -OOM ", REDISHOW_ERROR},
		{"", REDISHOW_ERROR},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(said) / sizeof(*said); i++)
		if (redis_guard_error(said[i].text) != said[i].how)
			fail_msg("\"%s\" is %s", said[i].text,
				 redishow_name(redis_guard_error(said[i].text)));
}

static void test_names(void **state)
{
	(void)state;
	for (int i = REDISHOW_OFF; i <= REDISHOW_ERROR; i++)
		for (int k = REDISHOW_OFF; k < i; k++)
			assert_string_not_equal(redishow_name(i), redishow_name(k));
	assert_string_equal(redishow_name(-1), "unknown");
	assert_string_equal(redishow_name(REDISHOW_ERROR + 1), "unknown");
}

/* A context on one end of a pair; what the server says is written into the other. */
static void test_bytes(void **state)
{
	redisReader reader = {.pos = 0};
	redisAsyncContext ctx;
	int fd[2];
	char byte;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	memset(&ctx, 0, sizeof(ctx));
	ctx.c.fd = fd[0];
	ctx.c.reader = &reader;
	assert_null(redis_guard_read(&ctx, 0)); /* nothing came */
	assert_int_equal(write(fd[1], "+OK POP3", 8), 8);
	assert_non_null(redis_guard_read(&ctx, 0));
	assert_null(redis_guard_read(&ctx, 1));
	while (recv(fd[0], &byte, 1, MSG_DONTWAIT) == 1)
		;
	assert_int_equal(write(fd[1], "-ERR max", 8), 8); /* hiredis knows what it is */
	assert_null(redis_guard_read(&ctx, 0));
	reader.len = REDIS_REPLY_MAX;
	assert_null(redis_guard_read(&ctx, 1));
	reader.len++;
	assert_non_null(redis_guard_read(&ctx, 1));
	reader.pos = reader.len - 5;
	assert_null(redis_guard_reply(&ctx, 1));
	assert_non_null(redis_guard_reply(&ctx, 0));
	reader.pos = reader.len;
	assert_null(redis_guard_reply(&ctx, 0));
	close(fd[1]);
	while (recv(fd[0], &byte, 1, MSG_DONTWAIT) == 1)
		;
	assert_null(redis_guard_read(&ctx, 0)); /* the end */
	close(fd[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_bytes),
	};

	return cmocka_run_group_tests_name("redis_guard", tests, NULL, NULL);
}

/* test_own.c -- one daemon per directory and per segment; what the lock outlives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "master/own.h"
#include "master/sock.h"

static char err[ERRLEN], dir[64], name[64];
static struct shm_dims dims;

static int setup(void **state)
{
	static struct conf c;

	(void)state;
	snprintf(dir, sizeof dir, "/tmp/peerscope-test-own-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(name, sizeof name, "/peerscope-test-own-%ld", (long)getpid());
	conf_defaults(&c);
	c.shm_swarms = 16;
	c.shm_peers_bytes = 1 << 20;
	seg_dims(&dims, &c, 1);
	return 0;
}

static int teardown(void **state)
{
	char path[128];

	(void)state;
	snprintf(path, sizeof path, "%s/peerscope.pid", dir);
	unlink(path);
	seg_unlink(name);
	return rmdir(dir);
}

/* Another process: fn's answer. The lock is per process, so it has to be one. */
static int elsewhere(int (*fn)(void))
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(fn());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* --- directory ---------------------------------------------------------- */

static int is_there(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

/* As a user who can't write /run. 0, or the number of what was wrong. */
static int private_dir(void)
{
	uid_t uid = 60000 + (uid_t)getpid() % 5000;
	char kept[OWN_PATH + 16];
	struct own o;

	if (geteuid() == 0 && seteuid(uid) != 0)
		return 1;
	if (own_open(&o, "", err) != 0)
		return strstr(err, "another daemon runs") ? 0
							  : 2; /* ours, of this user */
	snprintf(kept, sizeof kept, "%s/dht.state", o.dir);
	if (strncmp(o.dir, "/dev/shm/peerscope-", 19) != 0 || is_there(kept))
		return 0; /* this user can write /run, or has run a daemon before */
	own_close(&o);
	if (is_there(o.dir))
		return 3;
	if (own_open(&o, "", err) != 0 || close(creat(kept, 0600)) != 0)
		return 4;
	own_close(&o);
	if (!is_there(kept))
		return 5;
	return unlink(kept) == 0 && rmdir(o.dir) == 0 ? 0 : 6;
}

static void test_an_empty_private_directory_goes(void **state)
{
	struct own o;

	(void)state;
	assert_int_equal(elsewhere(private_dir), 0);
	assert_int_equal(own_open(&o, dir, err), 0);
	own_close(&o);
	assert_true(is_there(dir)); /* one that was named stays */
}

static int open_refused(void)
{
	struct own o;
	char want[64];

	snprintf(want, sizeof want, "pid %ld", (long)getppid());
	return own_open(&o, dir, err) == -1 && strstr(err, want) ? 0 : 1;
}

static int open_works(void)
{
	struct own o;

	if (own_open(&o, dir, err) != 0)
		return 1;
	own_close(&o);
	return 0;
}

static int open_and_die(void)
{
	struct own o;

	return own_open(&o, dir, err); /* no own_close: as kill -9 leaves it */
}

static void test_one_daemon_per_directory(void **state)
{
	struct own o;
	char text[32] = "";
	int fd;

	(void)state;
	assert_int_equal(own_open(&o, dir, err), 0);
	fd = open(o.pid_path, O_RDONLY); /* in this process it would drop the lock: */
	assert_true(read(fd, text, sizeof text - 1) > 0);
	assert_int_equal(strtol(text, NULL, 10), getpid());
	close(fd); /* ... as it does now */
	assert_int_equal(elsewhere(open_works), 0);
	own_close(&o);

	assert_int_equal(own_open(&o, dir, err), 0);
	assert_int_equal(elsewhere(open_refused), 0);
	own_close(&o);
	assert_int_equal(access(o.pid_path, F_OK), -1);
	assert_int_equal(elsewhere(open_works), 0);
}

static void test_a_dead_owner_is_none(void **state)
{
	struct own o;

	(void)state;
	assert_int_equal(elsewhere(open_and_die), 0);
	assert_int_equal(own_open(&o, dir, err), 0);
	assert_int_equal(access(o.pid_path, F_OK), 0);
	own_close(&o);
}

static void test_directory_must_be_safe(void **state)
{
	char link[128], out[OWN_PATH];

	(void)state;
	snprintf(link, sizeof link, "%s/link", dir);
	assert_int_equal(symlink(dir, link), 0);
	assert_int_equal(own_dir(out, link, err), -1);
	assert_non_null(strstr(err, "symlinks"));
	assert_int_equal(unlink(link), 0);
	assert_int_equal(chmod(dir, 0777), 0);
	assert_int_equal(own_dir(out, dir, err), -1);
	assert_non_null(strstr(err, "0777"));
	assert_int_equal(chmod(dir, 0700), 0);
	assert_int_equal(own_dir(out, dir, err), 0);
	assert_string_equal(out, dir);
}

/* --- segment ------------------------------------------------------------ */

static int segment_refused(void)
{
	struct seg *s = NULL;
	char want[64];
	int leftover;

	snprintf(want, sizeof want, "pid %ld", (long)getppid());
	return own_segment(&s, name, &dims, &leftover, err) == -1 && strstr(err, want)
		       ? 0
		       : 1;
}

static int segment_made_and_left(void)
{
	struct seg *s = NULL;
	int leftover;

	return own_segment(&s, name, &dims, &leftover, err) == 0 && !leftover ? 0 : 1;
}

static void test_one_daemon_per_segment(void **state)
{
	struct seg *s = NULL, *again = NULL;
	int leftover = -1;

	(void)state;
	assert_int_equal(own_segment(&s, name, &dims, &leftover, err), 0);
	assert_int_equal(leftover, 0);
	for (int i = 0; i < 3; i++) /* a refusal must not harm the owner */
		assert_int_equal(elsewhere(segment_refused), 0);
	assert_int_equal(seg_view(&again, name, err), 0);
	seg_close(&again);
	seg_unlink(name);
	seg_close(&s);
}

static void test_leftover_of_the_dead_is_taken(void **state)
{
	struct seg *s = NULL;
	int leftover = -1;

	(void)state;
	assert_int_equal(elsewhere(segment_made_and_left), 0);
	assert_int_equal(own_segment(&s, name, &dims, &leftover, err), 0);
	assert_int_equal(leftover, 1);
	assert_int_equal(elsewhere(segment_refused), 0);
	seg_unlink(name);
	seg_close(&s);
}

/* For an upgrade: at no moment can anybody else have the name. */
static void test_segment_beside(void **state)
{
	struct seg *s = NULL, *next = NULL;
	struct stat shown, is;
	char path[128];
	int leftover;

	(void)state;
	assert_int_equal(own_segment(&s, name, &dims, &leftover, err), 0);
	assert_int_equal(seg_fits(seg_fd(s), &dims, err), 0);
	assert_int_equal(own_segment_next(&next, name, &dims, err), 0);
	own_segment_drop(name);
	seg_close(&next);
	assert_int_equal(elsewhere(segment_refused), 0);
	assert_int_equal(own_segment_next(&next, name, &dims, err), 0);
	assert_int_equal(elsewhere(segment_refused), 0);
	assert_int_equal(own_segment_show(name, err), 0);
	seg_close(&s);
	assert_int_equal(elsewhere(segment_refused), 0);
	snprintf(path, sizeof path, "/dev/shm%s", name);
	assert_int_equal(stat(path, &shown), 0);
	assert_int_equal(fstat(seg_fd(next), &is), 0);
	assert_int_equal(shown.st_ino, is.st_ino);
	assert_int_equal(own_segment_show(name, err), -1); /* there is none */
	seg_unlink(name);
	seg_close(&next);
}

static int swept_by_another(void)
{
	own_segment_sweep(name);
	return 0;
}

static int next_of_another(void)
{
	struct seg *next = NULL;

	return own_segment_next(&next, name, &dims, err);
}

static void test_leftover_beside_is_swept(void **state)
{
	struct seg *next = NULL, *seen = NULL;
	char beside[128];

	(void)state;
	snprintf(beside, sizeof beside, "%s.next", name);
	assert_int_equal(elsewhere(next_of_another), 0); /* it died, and left this */
	assert_int_equal(seg_view(&seen, beside, err), 0);
	seg_close(&seen);
	own_segment_sweep(name);
	assert_int_equal(seg_view(&seen, beside, err), -1);
	own_segment_sweep(name); /* nothing there is fine */
	assert_int_equal(own_segment_next(&next, name, &dims, err), 0);
	assert_int_equal(elsewhere(swept_by_another), 0);
	assert_int_equal(seg_view(&seen, beside, err), 0);
	seg_close(&seen);
	own_segment_drop(name);
	seg_close(&next);
}

static void test_segment_that_does_not_fit(void **state)
{
	struct shm_dims other = dims;
	struct seg *s = NULL;
	int leftover;

	(void)state;
	assert_int_equal(own_segment(&s, name, &dims, &leftover, err), 0);
	other.slots++;
	assert_int_equal(seg_fits(seg_fd(s), &other, err), -1);
	assert_non_null(strstr(err, "other sizes"));
	*(uint32_t *)(void *)&seg_head_rw(s)->version = SHM_VERSION + 1;
	assert_int_equal(seg_fits(seg_fd(s), &dims, err), -1);
	assert_non_null(strstr(err, "layout"));
	assert_int_equal(elsewhere(segment_refused), 0);
	seg_unlink(name);
	seg_close(&s);
}

/* There is room to look at its header, and not for more. */
static int taken_without_memory(void)
{
	struct rlimit room = {0, 0};
	struct seg *s = NULL, *t = NULL;
	unsigned long pages = 0;
	int leftover, rc = own_segment(&s, name, &dims, &leftover, err);
	FILE *f = fopen("/proc/self/statm", "re");

	if (rc != 0 || !f || fscanf(f, "%lu", &pages) != 1)
		return 2;
	room.rlim_cur = room.rlim_max = (pages + 16) * 4096;
	if (setrlimit(RLIMIT_AS, &room) != 0)
		return 2;
	return seg_take(&t, seg_fd(s), err) == -1 && strstr(err, "shared memory: mmap") &&
			       fcntl(seg_fd(s), F_GETFD) == FD_CLOEXEC
		       ? 0
		       : 3;
}

/* An image that can't have it leaves it to whoever handed it over, lock and all. */
static void test_segment_that_can_not_be_taken(void **state)
{
	(void)state;
	assert_int_equal(elsewhere(taken_without_memory), 0);
	seg_unlink(name);
}

/* One of those that race for the name: waits for the start, tries, says how it went,
 * and holds what it got until all have tried. */
static int race(const int go[2], const int hold[2], int done)
{
	struct seg *s = NULL;
	char word;
	int leftover;

	close(go[1]);
	close(hold[1]);
	if (read(go[0], &word, 1) != 0)
		return 1;
	word = own_segment(&s, name, &dims, &leftover, err) == 0 ? 'y' : 'n';
	return write(done, &word, 1) == 1 && read(hold[0], &word, 1) == 0 ? 0 : 1;
}

static int winners_of_a_race(int racers)
{
	int go[2], hold[2], done[2], winners = 0, status;
	char word;

	assert_int_equal(pipe(go), 0);
	assert_int_equal(pipe(hold), 0);
	assert_int_equal(pipe(done), 0);
	fflush(NULL);
	for (int i = 0; i < racers; i++)
		if (fork() == 0)
			_exit(race(go, hold, done[1]));
	close(go[0]);
	close(go[1]);
	for (int i = 0; i < racers; i++) {
		assert_int_equal(read(done[0], &word, 1), 1);
		winners += word == 'y';
	}
	close(hold[0]);
	close(hold[1]);
	close(done[0]);
	close(done[1]);
	for (int i = 0; i < racers; i++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	return winners;
}

static void test_race_for_the_segment(void **state)
{
	int won = 0;

	(void)state;
	for (int round = 0; round < 50; round++) {
		int winners = winners_of_a_race(8);

		assert_in_range(winners, 0, 1); /* 0: each was in the other's way */
		won += winners;
	}
	assert_true(won > 0);
	seg_unlink(name);
}

/* --- addresses ---------------------------------------------------------- */

static void test_addresses(void **state)
{
	static const char *const good[] = {"0.0.0.0:8080", "127.0.0.1:0", "[::]:65535",
					   "[::1]:80"};
	static const char *const bad[] = {"",
					  ":80",
					  "1.2.3.4",
					  "1.2.3.4:",
					  "host:80",
					  "::1:80",
					  "[::1]",
					  "[::1:80",
					  "[]:80",
					  "1.2.3.4:65536",
					  "1.2.3.4:-1",
					  "1.2.3.4:8x",
					  "[1.2.3.4]:80",
					  "1.2.3.4: 80",
					  "1.2.3.4:000080"};
	struct sock_addr a, list[CONF_MAX_LISTEN];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(good); i++) {
		assert_int_equal(sock_parse(&a, good[i], err), 0);
		assert_string_equal(a.text, good[i]);
	}
	for (size_t i = 0; i < PS_ARRAY_LEN(bad); i++)
		if (sock_parse(&a, bad[i], err) != -1)
			fail_msg("'%s' was taken", bad[i]);
	assert_int_equal(sock_parse_list(list, "1.2.3.4:1, [::1]:2", err), 2);
	assert_int_equal(sock_parse_list(list, "", err), -1);
	assert_int_equal(
		sock_parse_list(list, "1.1.1.1:1,1.1.1.1:2,1.1.1.1:3,1.1.1.1:4,1.1.1.1:5",
				err),
		-1);
}

static void test_sockets_share_one_port(void **state)
{
	struct sock_set s, t;
	char list[160];

	(void)state;
	assert_int_equal(sock_open(&s, "127.0.0.1:0", 3, 0, err), 0);
	assert_int_equal(s.naddr, 1);
	assert_null(strstr(s.addr[0].text, ":0"));
	for (int i = 0; i < 3; i++)
		assert_true(s.fd[i][0] >= 0 && fcntl(s.fd[i][0], F_GETFD) == FD_CLOEXEC);
	snprintf(list, sizeof list, "%s", s.addr[0].text);
	/* A second daemon would bind without a word and take half of the requests. */
	assert_int_equal(sock_open(&t, list, 1, 60, err), -1);
	assert_non_null(strstr(err, list));
	assert_non_null(strstr(err, "another daemon"));
	/* What an orphan did: it holds the sockets still, but listens no more. */
	sock_shutdown(&s);
	assert_int_equal(sock_open(&t, list, 1, 0, err), 0);
	sock_close(&t);
	sock_close(&s);
}

static void test_paths(void **state)
{
	struct sock_addr list[CONF_MAX_LISTEN];
	char longest[160] = "unix:/", item[200];

	(void)state;
	memset(longest + 6, 'x', 106);
	assert_int_equal(sock_parse_list(list, "127.0.0.1:1, unix:/run/p/h.sock", err),
			 2);
	assert_false(sock_is_unix(&list[0]));
	assert_true(sock_is_unix(&list[1]));
	assert_string_equal(list[1].text, "unix:/run/p/h.sock");
	assert_int_equal(sock_parse_list(list, longest, err), 1);
	assert_string_equal(list[0].text, longest);
	snprintf(item, sizeof item, "%sx", longest);
	assert_int_equal(sock_parse_list(list, item, err), -1);
	assert_int_equal(sock_parse_list(list, "unix:", err), -1);
	assert_int_equal(sock_parse_list(list, "unix:h.sock", err), -1);
	/* swarm.listen has no such thing. */
	assert_int_equal(sock_parse(&list[0], "unix:/run/h:80", err), -1);
}

static void test_a_path_is_one_socket_for_all(void **state)
{
	char list[160];
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct sock_set s, t;
	int fd, got = 0;

	(void)state;
	snprintf(list, sizeof list, "unix:%s/h", dir);
	snprintf(sun.sun_path, sizeof sun.sun_path, "%s/h", dir);
	assert_int_equal(sock_probe(list, err), 0);
	assert_int_equal(access(sun.sun_path, F_OK), -1); /* looking makes nothing */
	assert_int_equal(sock_open(&s, list, 3, 0, err), 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof sun), 0);
	for (int i = 0; i < 3; i++) /* whoever asks has it, and nobody else does */
		got += accept(s.fd[i][0], NULL, NULL) >= 0;
	assert_int_equal(got, 1);
	assert_int_equal(sock_probe(list, err), -1);
	assert_int_equal(sock_open(&t, list, 1, 60, err), -1);
	/* Its file goes first, so that a successor's is never ours to remove. */
	sock_shutdown(&s);
	assert_int_equal(sock_open(&t, list, 1, 0, err), 0);
	sock_shutdown(&s);
	sock_close(&s);
	assert_int_equal(access(sun.sun_path, F_OK), 0);
	sock_close(&t);
	assert_int_equal(access(sun.sun_path, F_OK), -1);
	close(fd);
	assert_int_equal(sock_open(&s, "unix:/tmp/no such directory/h", 1, 0, err), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_an_empty_private_directory_goes,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_daemon_per_directory, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_dead_owner_is_none, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_directory_must_be_safe, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_one_daemon_per_segment, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_leftover_of_the_dead_is_taken, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_segment_beside, setup, teardown),
		cmocka_unit_test_setup_teardown(test_leftover_beside_is_swept, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_segment_that_does_not_fit, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_segment_that_can_not_be_taken, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_race_for_the_segment, setup,
						teardown),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_paths),
		cmocka_unit_test_setup_teardown(test_a_path_is_one_socket_for_all, setup,
						teardown),
		cmocka_unit_test(test_sockets_share_one_port),
	};

	return cmocka_run_group_tests_name("own", tests, NULL, NULL);
}

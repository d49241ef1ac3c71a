/* test_kid.c -- messages, descriptors and bells across a fork; what a child keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/kid.h"
#include "common/log.h"

static char err[ERRLEN];

static void make_chan(int chan[2])
{
	assert_int_equal(socketpair(AF_UNIX,
				    SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
				    chan),
			 0);
}

static void test_messages_keep_their_order(void **state)
{
	struct kid_msg m;
	int chan[2], fd;

	(void)state;
	make_chan(chan);
	assert_int_equal(kid_recv(chan[0], &m, &fd), 0);
	assert_int_equal(kid_send(chan[1], KID_M_READY, 0, -1), 0);
	assert_int_equal(kid_send(chan[1], KID_M_LISTEN, 0x80000001u, -1), 0);
	assert_int_equal(kid_recv(chan[0], &m, &fd), 1);
	assert_int_equal(m.type, KID_M_READY);
	assert_int_equal(fd, -1);
	assert_int_equal(kid_recv(chan[0], &m, &fd), 1);
	assert_int_equal(m.type, KID_M_LISTEN);
	assert_int_equal(m.arg, 0x80000001u);
	close(chan[1]);
	assert_int_equal(kid_recv(chan[0], &m, &fd), -1);
	assert_int_equal(kid_send(chan[0], KID_M_DRAIN, 0, -1), -1);
	close(chan[0]);
}

/* What was said before the end is heard before the end. */
static void test_last_word_before_eof(void **state)
{
	struct kid_msg m;
	int chan[2], fd;

	(void)state;
	make_chan(chan);
	assert_int_equal(kid_send(chan[1], KID_M_READY, 0, -1), 0);
	close(chan[1]);
	assert_int_equal(kid_recv(chan[0], &m, &fd), 1);
	assert_int_equal(kid_recv(chan[0], &m, &fd), -1);
	close(chan[0]);
}

static void test_send_never_blocks(void **state)
{
	int chan[2], n = 0;

	(void)state;
	make_chan(chan);
	while (kid_send(chan[0], KID_M_REOPEN, 0, -1) == 0)
		assert_true(++n < 1000000);
	assert_int_equal(errno, EAGAIN);
	assert_true(n > 10);
	close(chan[0]);
	close(chan[1]);
}

static void test_wrong_size_is_an_error(void **state)
{
	struct kid_msg m;
	char big[64] = {0};
	int chan[2], fd;

	(void)state;
	make_chan(chan);
	assert_int_equal(send(chan[1], big, 3, 0), 3);
	assert_int_equal(kid_recv(chan[0], &m, &fd), -1);
	assert_int_equal(send(chan[1], big, sizeof big, 0), sizeof big);
	assert_int_equal(kid_recv(chan[0], &m, &fd), -1);
	assert_int_equal(fd, -1);
	close(chan[0]);
	close(chan[1]);
}

static void test_conf_crosses_in_a_sealed_file(void **state)
{
	static struct conf in, out;
	struct kid_msg m;
	int chan[2], fd, packed;

	(void)state;
	conf_defaults(&in);
	in.cache_ttl_ms = 12345;
	make_chan(chan);
	packed = kid_pack("test", &in, sizeof in, err);
	assert_true(packed >= 0);
	assert_int_equal(pwrite(packed, "x", 1, 0), -1); /* sealed */
	assert_int_equal(ftruncate(packed, 1), -1);
	assert_int_equal(kid_send(chan[1], KID_M_CONF, 0, packed), 0);
	close(packed); /* the message holds it */
	assert_int_equal(kid_recv(chan[0], &m, &fd), 1);
	assert_int_equal(m.type, KID_M_CONF);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(kid_unpack(fd, &out, sizeof out, err), 0);
	assert_memory_equal(&in, &out, sizeof in);
	/* Of another build: shorter or longer. */
	assert_int_equal(kid_unpack(fd, &out, sizeof out - 1, err), -1);
	assert_non_null(strstr(err, "more than"));
	close(fd);
	packed = kid_pack("test", &in, 10, err);
	assert_int_equal(kid_unpack(packed, &out, sizeof out, err), -1);
	assert_non_null(strstr(err, "10 bytes"));
	close(packed);
	close(chan[0]);
	close(chan[1]);
}

static int is_ringing(int bell)
{
	struct pollfd p = {.fd = bell, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void test_bell(void **state)
{
	int bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	const uint64_t most = UINT64_MAX - 1;

	(void)state;
	kid_hush(bell); /* silent already: no wait */
	kid_ring(bell);
	kid_ring(bell);
	assert_true(is_ringing(bell));
	kid_hush(bell);
	assert_false(is_ringing(bell));
	assert_int_equal(write(bell, &most, sizeof most), sizeof most);
	kid_ring(bell); /* full: still no wait */
	assert_true(is_ringing(bell));
	close(bell);
}

/* --- entering: in a child each, which answers with its exit code -------- */

static struct kid kid;
static int foreign_fd, pid_fd;

static void fill(enum kid_role role, int chan_fd)
{
	memset(&kid, 0, sizeof kid);
	memset(kid.worker_bell_fd, 0xff, sizeof kid.worker_bell_fd);
	memset(kid.listen_fd, 0xff, sizeof kid.listen_fd);
	kid.magic = KID_MAGIC;
	kid.size = sizeof kid;
	kid.role = role;
	kid.slot = 1;
	kid.nworkers = 2;
	kid.gen = 9;
	kid.generation = 7; /* the one that people see */
	kid.chan_fd = chan_fd;
	kid.seg_fd = open("/dev/null", O_RDONLY);
	kid.collector_bell_fd = eventfd(0, 0);
	for (int i = 0; i < 4; i++)
		kid.worker_bell_fd[i] = eventfd(0, 0);
	kid.listen_fd[0][0] = open("/dev/null", O_RDONLY);
	kid.listen_fd[1][0] = open("/dev/null", O_RDONLY);
	conf_defaults(&kid.conf);
}

static void let_go(void)
{
	close(kid.seg_fd);
	close(kid.collector_bell_fd);
	for (int i = 0; i < 4; i++)
		close(kid.worker_bell_fd[i]);
	close(kid.listen_fd[0][0]);
	close(kid.listen_fd[1][0]);
}

static int is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* Run fn in a child; its answer. */
static int in_child(int (*fn)(void))
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(fn());
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int worker_keeps(void)
{
	if (kid_enter(&kid, err) != 0)
		return 1;
	if (!is_open(0) || !is_open(2) || !is_open(kid.chan_fd) || !is_open(kid.seg_fd) ||
	    !is_open(kid.collector_bell_fd))
		return 2;
	if (!is_open(kid.worker_bell_fd[1]) || is_open(kid.worker_bell_fd[0]) ||
	    is_open(kid.worker_bell_fd[2]))
		return 3; /* its own bell only */
	if (!is_open(kid.listen_fd[0][0]) || !is_open(kid.listen_fd[1][0]))
		return 4; /* every index's socket: it may stand in */
	return is_open(foreign_fd) || is_open(pid_fd) ? 5 : 0;
}

static int collector_keeps(void)
{
	if (kid_enter(&kid, err) != 0)
		return 1;
	for (int i = 0; i < 4; i++)
		if (!is_open(kid.worker_bell_fd[i]))
			return 2;
	if (!is_open(kid.chan_fd) || !is_open(kid.seg_fd) ||
	    !is_open(kid.collector_bell_fd))
		return 3;
	if (is_open(kid.listen_fd[0][0]) || is_open(kid.listen_fd[1][0]))
		return 4;
	return is_open(foreign_fd) || is_open(pid_fd) ? 5 : 0;
}

static int signals_are_reset(void)
{
	static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE};
	struct sigaction sa;
	sigset_t blocked;
	int deathsig = 0;

	sigfillset(&blocked);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
	signal(SIGCHLD, SIG_IGN);
	if (kid_enter(&kid, err) != 0)
		return 1;
	sigprocmask(SIG_SETMASK, NULL, &blocked);
	if (!sigisemptyset(&blocked))
		return 2;
	for (size_t i = 0; i < PS_ARRAY_LEN(ignored); i++)
		if (sigaction(ignored[i], NULL, &sa) != 0 || sa.sa_handler != SIG_IGN)
			return 3;
	if (sigaction(SIGCHLD, NULL, &sa) != 0 || sa.sa_handler != SIG_DFL)
		return 4;
	if (prctl(PR_GET_PDEATHSIG, &deathsig) != 0 || deathsig != SIGTERM)
		return 5;
	raise(SIGTERM);               /* the master lives: nothing happens ... */
	return alarm(0) == 0 ? 0 : 6; /* ... and no clock runs */
}

static int log_file_survives(void)
{
	char path[] = "/tmp/peerscope-test-kid-XXXXXX", text[512];
	int fd = mkstemp(path), back;
	ssize_t n;

	close(fd);
	snprintf(kid.conf.log_file, sizeof kid.conf.log_file, "%s", path);
	/* As in the master: a file is open when the child is forked. */
	if (log_open("master", LOG_NOTICE, 0, path, err) != 0 ||
	    kid_enter(&kid, err) != 0)
		return 1;
	log_notice("test", "hello from the child");
	back = open(path, O_RDONLY);
	n = read(back, text, sizeof text - 1);
	unlink(path);
	if (n <= 0)
		return 2;
	text[n] = '\0';
	return strstr(text, "hello from the child") && strstr(text, "w1.g7") ? 0 : 3;
}

static int refuses_another_build(void)
{
	kid.size--;
	return kid_enter(&kid, err) == -1 && strstr(err, "another build") ? 0 : 1;
}

static void with_kid(enum kid_role role, int (*fn)(void))
{
	int chan[2];

	make_chan(chan);
	foreign_fd = chan[0]; /* the master's end, as a sibling would hold it */
	pid_fd = open("/dev/null", O_RDONLY);
	fill(role, chan[1]);
	assert_int_equal(in_child(fn), 0);
	let_go();
	close(pid_fd);
	close(chan[0]);
	close(chan[1]);
}

static void test_worker_keeps(void **state)
{
	(void)state;
	with_kid(KID_WORKER, worker_keeps);
}

static void test_collector_keeps(void **state)
{
	(void)state;
	with_kid(KID_COLLECTOR, collector_keeps);
}

static void test_signals(void **state)
{
	(void)state;
	with_kid(KID_WORKER, signals_are_reset);
}

static void test_log_file(void **state)
{
	(void)state;
	with_kid(KID_WORKER, log_file_survives);
}

static void test_another_build(void **state)
{
	(void)state;
	with_kid(KID_WORKER, refuses_another_build);
}

/* The middle process stands for the master: it dies, and its hung child, which reads
 * no channel, must be gone after its grace. The pipe's EOF tells that it is. */
static void test_hung_orphan_leaves(void **state)
{
	struct pollfd p;
	int chan[2], life[2], status;
	char byte;
	pid_t master;

	(void)state;
	make_chan(chan);
	assert_int_equal(pipe(life), 0);
	fill(KID_WORKER, chan[1]);
	kid.conf.master_drain_timeout_ms = 0; /* grace: the fixed 2 s */
	kid.listen_fd[0][1] = life[1];        /* kept, as a socket would be */
	fflush(NULL);
	master = fork();
	if (master == 0) {
		if (fork() == 0) {
			if (kid_enter(&kid, err) != 0 || write(life[1], "r", 1) != 1)
				_exit(1);
			for (;;)
				pause();
		}
		if (read(life[0], &byte, 1) != 1)
			_exit(1);
		_exit(0);
	}
	close(life[1]);
	assert_int_equal(waitpid(master, &status, 0), master);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	p = (struct pollfd){.fd = life[0], .events = POLLIN};
	assert_int_equal(poll(&p, 1, 500), 0); /* it was given time */
	assert_int_equal(poll(&p, 1, 20000), 1);
	assert_int_equal(read(life[0], &byte, 1), 0);
	close(life[0]);
	close(chan[0]);
	close(chan[1]);
	let_go();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages_keep_their_order),
		cmocka_unit_test(test_last_word_before_eof),
		cmocka_unit_test(test_send_never_blocks),
		cmocka_unit_test(test_wrong_size_is_an_error),
		cmocka_unit_test(test_conf_crosses_in_a_sealed_file),
		cmocka_unit_test(test_bell),
		cmocka_unit_test(test_worker_keeps),
		cmocka_unit_test(test_collector_keeps),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_log_file),
		cmocka_unit_test(test_another_build),
		cmocka_unit_test(test_hung_orphan_leaves),
	};

	return cmocka_run_group_tests_name("kid", tests, NULL, NULL);
}

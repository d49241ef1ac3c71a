/* test_handover.c -- what the next image takes is whole, open and of its own kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "master/handover.h"

static char err[ERRLEN];

static int some_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd > 2);
	return fd;
}

/* Two workers on one address, that run; a collector; no Redis. */
static struct handover *sound(void)
{
	struct handover *h = calloc(1, sizeof *h);

	assert_non_null(h);
	h->magic = HANDOVER_MAGIC;
	h->version = HANDOVER_VERSION;
	h->size = sizeof *h;
	h->nworkers = 2;
	h->naddr = 1;
	h->pid_fd = h->seg_fd = h->seg_lock_fd = h->back_fd = h->conf_fd =
		h->collector_bell_fd = some_fd();
	h->said_fd = -1;
	for (int i = 0; i < KID_SLOTS; i++)
		h->worker_bell_fd[i] = i < 4 ? h->pid_fd : -1;
	h->listen_fd[0][0] = h->listen_fd[1][0] = h->pid_fd;
	for (int i = 0; i < SUP_ROWS; i++)
		h->row[i].chan_fd = -1;
	for (int i = 0; i < 2; i++)
		h->row[i] = (struct handover_row){.pid = 100 + i,
						  .chan_fd = some_fd(),
						  .state = SUP_RUNNING};
	h->row[4] =
		(struct handover_row){.pid = 200, .chan_fd = -1, .state = SUP_DRAINING};
	snprintf(h->from, sizeof h->from, "%s", "1.2.3");
	snprintf(h->exe, sizeof h->exe, "%s", "/usr/bin/peerscope");
	snprintf(h->run_dir, sizeof h->run_dir, "%s", "/run/peerscope");
	return h;
}

static void end(struct handover *h)
{
	close(h->row[0].chan_fd);
	close(h->row[1].chan_fd);
	close(h->pid_fd);
	free(h);
}

static void test_a_sound_one(void **state)
{
	struct handover *h = sound();

	(void)state;
	assert_int_equal(handover_check(h, err), 0);
	handover_keep(h, 1);
	assert_int_equal(fcntl(h->row[1].chan_fd, F_GETFD), 0);
	assert_int_equal(fcntl(h->pid_fd, F_GETFD), 0);
	handover_keep(h, 0);
	assert_int_equal(fcntl(h->row[1].chan_fd, F_GETFD), FD_CLOEXEC);
	end(h);
}

#define REFUSED(change, why)                                                     \
	do {                                                                     \
		struct handover *h = sound();                                    \
		int keep[3] = {h->row[0].chan_fd, h->row[1].chan_fd, h->pid_fd}; \
		change;                                                          \
		assert_int_equal(handover_check(h, err), -1);                    \
		if (!strstr(err, why))                                           \
			fail_msg("%s: %s", #change, err);                        \
		for (int i_ = 0; i_ < 3; i_++)                                   \
			close(keep[i_]);                                         \
		free(h);                                                         \
	} while (0)

static void test_what_is_refused(void **state)
{
	(void)state;
	REFUSED(h->magic++, "restart instead");
	REFUSED(h->version++, "in format 2");
	REFUSED(h->size -= 8, "restart instead");
	REFUSED(h->nworkers = 0, "no sense");
	REFUSED(h->nworkers = CONF_MAX_WORKERS + 1, "no sense");
	REFUSED(h->naddr = CONF_MAX_LISTEN + 1, "no sense");
	REFUSED(h->half = 2, "no sense");
	REFUSED(h->pid_fd = -1, "no sense");
	REFUSED(memset(h->exe, 'x', sizeof h->exe), "no sense");
	REFUSED(h->exe[0] = 'x', "no sense");
	REFUSED(memset(h->conf, 'x', sizeof h->conf), "no sense");
	REFUSED(h->row[0].state = 6, "row 0");
	REFUSED(h->row[0].pid = 0, "row 0");
	REFUSED(h->row[0].pid = 1, "row 0");
	REFUSED(h->row[2].pid = 77, "row 2");            /* of nobody */
	REFUSED(h->row[5].state = SUP_RUNNING, "row 5"); /* there is no Redis */
	REFUSED(h->row[0].chan_fd = 999, "not open");
	REFUSED(h->listen_fd[1][0] = -1, "not open");
	REFUSED(h->worker_bell_fd[3] = 2, "not open");
}

static void test_the_table_goes_there_and_back(void **state)
{
	struct handover *h = calloc(1, sizeof *h);
	struct sup a, b;

	(void)state;
	assert_non_null(h);
	sup_init(&a, 2, 1, 5000);
	a.phase = SUP_UP;
	a.half = 1;
	a.last_gen = 7;
	a.last_generation = 3;
	a.last_epoch = 4;
	a.row[2].state = SUP_RUNNING;
	a.row[2].wanted = a.row[2].ready = 1;
	a.row[2].gen = 7;
	a.row[2].mask = 3;
	a.row[3].state = SUP_COOLING;
	a.row[3].due_ms = 123456;
	a.row[4].state = SUP_DRAINING;
	a.row[4].again = 1;
	a.row[5].state = SUP_STARTING;
	handover_give_sup(h, &a);
	handover_take_sup(h, &b, 5000);
	assert_memory_equal(&a, &b, sizeof a);
	free(h);
}

static void test_settings(void **state)
{
	struct handover *h = calloc(1, sizeof *h);
	struct conf now, was;

	(void)state;
	assert_non_null(h);
	conf_defaults(&now);
	snprintf(now.shm_name, sizeof now.shm_name, "%s", "/other");
	now.shm_swarms = 77;
	assert_int_equal(handover_give_conf(h, &now), 0);
	assert_non_null(strstr(h->conf, "shm.swarms=77\n"));
	assert_null(strstr(h->conf, "cache.ttl"));
	conf_defaults(&now);
	now.cache_ttl_ms = 1234;
	snprintf(h->conf + strlen(h->conf), 200, "%s",
		 "from.tomorrow=1\nshm.nonsense=2\nshm.swarms\ncache.ttl=9s\n");
	handover_take_conf(h, &now, &was);
	assert_string_equal(was.shm_name, "/other");
	assert_int_equal(was.shm_swarms, 77);
	assert_int_equal(was.cache_ttl_ms, 1234);
	free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_sound_one),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_the_table_goes_there_and_back),
		cmocka_unit_test(test_settings),
	};

	return cmocka_run_group_tests_name("handover", tests, NULL, NULL);
}

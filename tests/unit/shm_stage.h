/*
 * shm_stage.h -- a small segment with its master, collector and worker in one
 * process, for the unit tests of shm/.
 */
#ifndef PEERSCOPE_TESTS_UNIT_SHM_STAGE_H
#define PEERSCOPE_TESTS_UNIT_SHM_STAGE_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shm/ptab.h"
#include "shm/seg.h"
#include "shm/stat.h"

struct stage {
	char name[64], err[ERRLEN];
	struct seg *master, *seg, *worker;
	struct ptab *p, *reader;
	struct swarm_copy copy;
	struct shm_peer peer[CONF_SLOT_PEERS];
};

static const struct shm_dims small = {
	.worker_slots = 4, .lane_bytes = 65536, .lane_done = 64, .buckets = 2,
	.slots = 4, .chunks = 20, .places = 32, .string_bytes = 4096,
};

static inline int setup(void **state)
{
	struct stage *st = calloc(1, sizeof(*st));
	int leftover;

	assert_non_null(st);
	snprintf(st->name, sizeof(st->name), "/peerscope-unit-%d", (int)getpid());
	if (seg_create(&st->master, st->name, &small, &leftover, st->err) != 0)
		fail_msg("%s", st->err);
	atomic_store(&seg_head_rw(st->master)->lease_pid, (uint32_t)getpid());
	assert_int_equal(seg_attach(&st->seg, seg_fd(st->master), SEG_COLLECTOR, st->err), 0);
	assert_int_equal(seg_attach(&st->worker, seg_fd(st->master), SEG_WORKER, st->err), 0);
	assert_int_equal(ptab_open(&st->p, st->seg, SEG_COLLECTOR, st->err), 0);
	assert_int_equal(ptab_open(&st->reader, st->worker, SEG_WORKER, st->err), 0);
	*state = st;
	return 0;
}

static inline int teardown(void **state)
{
	struct stage *st = *state;

	stat_own(NULL, 0);
	ptab_close(&st->p);
	ptab_close(&st->reader);
	seg_close(&st->seg);
	seg_close(&st->worker);
	seg_close(&st->master);
	seg_unlink(st->name);
	free(st);
	return 0;
}

static inline struct shm_swarm swarm(uint8_t id, uint32_t npeers)
{
	struct shm_swarm s;

	memset(&s, 0, sizeof(s));
	memset(s.id, id, IH_LEN);
	s.npeers = s.total_peers = npeers;
	return s;
}

static inline enum ptab_put_rc put(struct stage *st, uint8_t id, uint32_t npeers)
{
	struct shm_swarm s = swarm(id, npeers);

	for (uint32_t i = 0; i < npeers; i++) {
		memset(&st->peer[i], id, 16);
		st->peer[i].port = (uint16_t)i;
	}
	return ptab_put(st->p, &s, st->peer);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* A process that holds the lock of a master, until its pipe ends. */
struct owner {
	pid_t pid;
	int end;
};

static inline void owner_start(struct owner *o, const struct stage *st)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int up[2], down[2];
	char c;

	assert_int_equal(pipe(up), 0);
	assert_int_equal(pipe(down), 0);
	o->pid = fork();
	assert_true(o->pid >= 0);
	if (o->pid == 0) {
		close(down[1]);
		if (fcntl(seg_fd(st->master), F_SETLK, &l) != 0 ||
		    write(up[1], "x", 1) != 1 || read(down[0], &c, 1) != 0)
			_exit(1);
		_exit(0);
	}
	close(up[1]);
	close(down[0]);
	assert_int_equal(read(up[0], &c, 1), 1);
	close(up[0]);
	o->end = down[1];
}

static inline void owner_stop(struct owner *o)
{
	int status;

	close(o->end);
	assert_int_equal(waitpid(o->pid, &status, 0), o->pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

#endif

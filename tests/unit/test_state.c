/*
 * test_state.c -- known peers, when they are written down: what is new, what went, what could
 * not be written, clocks that were set; and the thread that writes, while the table changes
 * (`make tsan` runs this, too). Table, lists and files are real, the clock is played.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cmocka.h>
#include <event2/event.h>

#include "collector/coll.h"
#include "collector/statefile.h"
#include "common/clock.h"
#include "common/file.h"
#include "shm_stage.h"

#define EXPIRY_MS 3600000u
#define START 1700000000000ull

static struct coll *c;
static struct stage *stage;
static uint64_t now, wall, us, free_bytes;
static char dir[64], path[96], err[ERRLEN];

uint64_t clock_ms(void)
{
	return now;
}

uint64_t clock_us(void)
{
	return us += STATE_SLICE_US / 2; /* a turn has no time for more than one thing */
}

uint64_t clock_wall_ms(void)
{
	return wall;
}

int statvfs(const char *of, struct statvfs *out)
{
	assert_true(strncmp(of, dir, strlen(dir)) == 0 && of[strlen(of) - 1] == '/');
	out->f_frsize = 512;
	out->f_bavail = free_bytes / 512;
	return 0;
}

static void know(uint8_t id, uint32_t npeers)
{
	static struct shm_peer peer[20];
	struct shm_swarm s = swarm(id, npeers);

	memset(peer, 0, sizeof(peer));
	for (uint32_t i = 0; i < npeers; i++) {
		memcpy(peer[i].addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x05\x06\x07", 15);
		peer[i].addr[15] = (uint8_t)i;
		peer[i].port = 6881;
	}
	memset(s.infohash, id, IH_LEN);
	s.cached_at_ms = wall;
	assert_int_equal(ptab_put(c->ptab, &s, peer), PTAB_PUT);
}

static int open_coll(void **state)
{
	setup((void **)&stage);
	c = calloc(1, sizeof(*c));
	assert_non_null(c);
	now = 1000;
	free_bytes = 1ull << 40;
	wall = START;
	c->seg = stage->seg;
	c->ptab = stage->p;
	c->base = event_base_new();
	stat_own(c->seg, small.worker_slots);
	snprintf(dir, sizeof(dir), "/tmp/peerscope-state-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/swarms.state", dir);
	snprintf(c->kid.conf.swarm_state, sizeof(c->kid.conf.swarm_state), "%s", path);
	c->kid.conf.swarm_peer_expiry_ms = EXPIRY_MS;
	assert_int_equal(tier_open(c), 0);
	assert_int_equal(state_open(c, err), 0);
	*state = stage;
	return 0;
}

static int close_coll(void **state)
{
	state_close(c);
	event_free(c->tier->poll); /* tier_close asks Redis to forget us */
	free(c->tier);
	event_base_free(c->base);
	unlink(path);
	rmdir(dir);
	free(c);
	return teardown(state);
}

static uint64_t saves(void)
{
	return stat_total(c->seg, STAT_state_saves);
}

/* How many lists the file has; -1: there is none. */
static int lists(void)
{
	const uint8_t *id;
	const void *list;
	struct statefile f;
	char *data;
	size_t len;
	int n = 0;

	if (file_read(path, STATEFILE_MAX, &data, &len, err) != 1)
		return -1;
	assert_int_equal(statefile_open(&f, data, len, wall, err), 0);
	while (statefile_next(&f, &id, &list, &len))
		n++;
	free(data);
	return n;
}

static void test_only_news_is_written(void **state)
{
	(void)state;
	state_save(c);
	assert_int_equal(lists(), -1);
	know(1, 3);
	know(2, 0); /* nobody is in there */
	state_save(c);
	assert_int_equal(lists(), 1);
	wall += 1000;
	state_save(c);
	assert_int_equal(saves(), 1);
	know(1, 3);
	state_save(c);
	assert_int_equal(saves(), 2);
}

/* Addresses of peers don't stay on the disk because others are still known. */
static void test_what_is_too_old_goes(void **state)
{
	(void)state;
	know(1, 3);
	wall += 1000;
	know(2, 3);
	state_save(c);
	assert_int_equal(lists(), 2);
	wall += EXPIRY_MS;
	state_save(c);
	assert_int_equal(lists(), 1);
	wall += 1;
	state_save(c);
	assert_int_equal(lists(), -1);
	wall -= 1000; /* a clock that was wrong: they are believed again */
	state_save(c);
	assert_int_equal(lists(), 1);
}

static void test_what_failed_is_tried_again(void **state)
{
	(void)state;
	know(1, 3);
	assert_int_equal(rmdir(dir), 0);
	state_save(c);
	assert_int_equal(saves(), 0);
	assert_int_equal(mkdir(dir, 0700), 0);
	state_save(c);
	assert_int_equal(saves(), 1);
	assert_int_equal(lists(), 1);
}

static void test_another_file(void **state)
{
	(void)state;
	know(1, 3);
	state_save(c);
	assert_int_equal(lists(), 1);
	unlink(path);
	snprintf(path, sizeof(path), "%s/other", dir);
	snprintf(c->kid.conf.swarm_state, sizeof(c->kid.conf.swarm_state), "%s", path);
	state_save(c);
	assert_int_equal(lists(), 1);
}

/* What is learned later has an earlier time. */
static void test_a_clock_set_back(void **state)
{
	(void)state;
	know(1, 3);
	state_save(c);
	wall -= 60000;
	know(2, 3);
	state_save(c);
	assert_int_equal(lists(), 2);
}

/* It takes little of a small disk, and the newest. */
static void test_a_small_disk(void **state)
{
	struct stat st;

	(void)state;
	for (uint8_t id = 1; id <= 4; id++) {
		wall += 1000;
		know(id, 20);
	}
	free_bytes = 0;
	state_save(c);
	assert_in_range(lists(), 1, 3);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size <= STATEFILE_LEAST);
	assert_int_equal(stat_total(c->seg, STAT_state_left_out), 4 - lists());
	wall += 1000;
	know(1, 20);
	free_bytes = 64 << 20;
	state_save(c);
	assert_int_equal(lists(), 4);
}

/* Nothing of what the thread writes changes under it. */
static void test_the_thread(void **state)
{
	struct timespec at;
	uint64_t until_s;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &at);
	until_s = (uint64_t)at.tv_sec + 60;
	for (uint64_t n = 1; n <= 20; n++) {
		wall += 1000;
		know((uint8_t)(n % 3), 3);
		now += STATE_SAVE_MS;
		state_tick(c);
		while (saves() < n) {
			know((uint8_t)(n % 3), 5);
			event_base_loop(c->base, EVLOOP_NONBLOCK);
			state_tick(c);
			clock_gettime(CLOCK_MONOTONIC, &at);
			assert_true((uint64_t)at.tv_sec < until_s);
		}
		assert_int_equal(lists(), n < 3 ? n : 3);
	}
}

#define S(name) cmocka_unit_test_setup_teardown(name, open_coll, close_coll)

int main(void)
{
	const struct CMUnitTest tests[] = {
		S(test_only_news_is_written),
		S(test_what_is_too_old_goes),
		S(test_what_failed_is_tried_again),
		S(test_another_file),
		S(test_a_clock_set_back),
		S(test_a_small_disk),
		S(test_the_thread),
	};

	return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}

/*
 * test_sup.c -- supervision as plays: an event, then exactly the actions that must
 * follow; and a random walk that checks what must hold after every step.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "master/sup.h"

/* --- the stage ---------------------------------------------------------- */

struct stage {
	struct sup t;
	struct sup_actions out;
	uint64_t now;
	uint32_t jitter;
	uint64_t beat_ms;
};

static void add(char *text, size_t size, const char *fmt, ...) PS_PRINTF(3, 4);
static void add(char *text, size_t size, const char *fmt, ...)
{
	size_t len = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + len, size - len, fmt, ap);
	va_end(ap);
}

/* Rows by name: w0.., c for the collector, r for Redis. */
static const char *row_name(const struct sup *t, int row)
{
	static char names[4][8];
	static int next;
	char *s = names[next++ % 4];

	if (row == sup_collector_row(t))
		return "c";
	if (row == sup_redis_row(t))
		return "r";
	snprintf(s, sizeof names[0], "w%d", row);
	return s;
}

static void show(const struct stage *s, char *text, size_t size)
{
	text[0] = '\0';
	for (size_t i = 0; i < s->out.n; i++) {
		const struct sup_action *a = &s->out.a[i];
		const char *r = row_name(&s->t, a->row);

		if (i > 0)
			add(text, size, " ");
		switch (a->type) {
		case SUP_A_START: add(text, size, "start(%s,%u)", r, a->gen); break;
		case SUP_A_DRAIN: add(text, size, "drain(%s)", r); break;
		case SUP_A_KILL: add(text, size, "kill(%s)", r); break;
		case SUP_A_LISTEN: add(text, size, "listen(%s,%x)", r, a->mask); break;
		case SUP_A_UP: add(text, size, "up"); break;
		case SUP_A_RELOAD: add(text, size, "reload"); break;
		case SUP_A_UPGRADE: add(text, size, "upgrade"); break;
		case SUP_A_ADOPT: add(text, size, "adopt"); break;
		case SUP_A_GIVE_UP: add(text, size, "give-up"); break;
		case SUP_A_COOL: add(text, size, "cool(%s,%u)", r, a->arg); break;
		case SUP_A_DOWN: add(text, size, "down(%s)", r); break;
		case SUP_A_EXIT: add(text, size, "exit(%u)", a->arg); break;
		}
	}
}

static void step(struct stage *s, enum sup_event_type type, int row, int code)
{
	struct sup_event ev = {type, row, code, s->jitter, s->beat_ms};

	sup_step(&s->t, &ev, s->now, &s->out);
}

static void expect_at(const struct stage *s, const char *want, int line)
{
	char got[4096];

	show(s, got, sizeof got);
	if (strcmp(got, want) != 0) {
		print_error("line %d\n  want: %s\n  got:  %s\n", line, want, got);
		fail();
	}
}

#define START(s, want) (step(s, SUP_E_START, 0, 0), expect_at(s, want, __LINE__))
#define READY(s, row, want) (step(s, SUP_E_READY, row, 0), expect_at(s, want, __LINE__))
#define DIES(s, row, code, want) \
	(step(s, SUP_E_EXIT, row, code), expect_at(s, want, __LINE__))
/* We look at its page, and its loop turned last at `at`. */
#define BEAT(s, row, at, want) \
	((s)->beat_ms = (at), step(s, SUP_E_BEAT, row, 0), expect_at(s, want, __LINE__))
#define HUP(s, want) (step(s, SUP_E_HUP, 0, 0), expect_at(s, want, __LINE__))
#define GENERATION(s, want) \
	(step(s, SUP_E_GENERATION, 0, 0), expect_at(s, want, __LINE__))
#define TERM(s, want) (step(s, SUP_E_TERM, 0, 0), expect_at(s, want, __LINE__))
#define INT(s, want) (step(s, SUP_E_INT, 0, 0), expect_at(s, want, __LINE__))
/* Goes to the time of the next tick and no further. */
#define TICK(s, after_ms, want)                                                \
	do {                                                                   \
		assert_int_equal(sup_next_ms(&(s)->t), (s)->now + (after_ms)); \
		(s)->now += (after_ms);                                        \
		step(s, SUP_E_TICK, 0, 0);                                     \
		expect_at(s, want, __LINE__);                                  \
	} while (0)

#define C(s) sup_collector_row(&(s)->t)
#define R(s) sup_redis_row(&(s)->t)

static void setup(struct stage *s, int nworkers, int has_redis)
{
	memset(s, 0, sizeof *s);
	s->now = 1000000;
	sup_init(&s->t, nworkers, has_redis, 30000);
}

/* Two workers and a collector, all running, nothing due. */
static void setup_up(struct stage *s)
{
	setup(s, 2, 0);
	START(s, "start(c,1) start(w0,1) start(w1,1)");
	READY(s, C(s), "");
	READY(s, 0, "listen(w0,3)");
	READY(s, 1, "up listen(w0,1)");
	assert_int_equal(sup_next_ms(&s->t), SUP_NEVER);
}

/* The same with generation 2 starting in w2 and w3. */
static void setup_staged(struct stage *s)
{
	setup_up(s);
	HUP(s, "reload");
	GENERATION(s, "start(w2,2) start(w3,2)");
}

/* --- first start -------------------------------------------------------- */

static void test_first_start(void **state)
{
	struct stage s;

	(void)state;
	setup(&s, 2, 1);
	START(&s, "start(r,0) start(c,1) start(w0,1) start(w1,1)");
	READY(&s, 1, "listen(w1,3)");
	READY(&s, 0, "up listen(w1,2)");
	assert_int_equal(s.t.row[R(&s)].state, SUP_STARTING);
	TICK(&s, SUP_REDIS_HEALTHY_MS, "");
	assert_int_equal(s.t.row[R(&s)].state, SUP_RUNNING);
	READY(&s, C(&s), "");
	assert_int_equal(sup_next_ms(&s.t), SUP_NEVER);
}

static void test_first_start_worker_dies(void **state)
{
	struct stage s;

	(void)state;
	setup(&s, 2, 0);
	START(&s, "start(c,1) start(w0,1) start(w1,1)");
	READY(&s, 0, "listen(w0,3)");
	DIES(&s, 1, 1, "kill(w0) kill(c)");
	DIES(&s, 0, -1, "");
	DIES(&s, C(&s), -1, "exit(1)");
}

static void test_first_start_worker_hangs(void **state)
{
	struct stage s;

	(void)state;
	setup(&s, 1, 0);
	START(&s, "start(c,1) start(w0,1)");
	READY(&s, C(&s), "");
	TICK(&s, SUP_READY_MS, "kill(w0)");
	DIES(&s, 0, -1, "kill(c)");
	DIES(&s, C(&s), -1, "exit(1)");
}

/* A worker that was ready and dies while the others start does not fail us; its
 * second life, which fails before READY, does. */
static void test_first_start_ready_then_dead(void **state)
{
	struct stage s;

	(void)state;
	setup(&s, 2, 0);
	START(&s, "start(c,1) start(w0,1) start(w1,1)");
	READY(&s, 0, "listen(w0,3)");
	DIES(&s, 0, -1, "start(w0,2)");
	READY(&s, 1, "listen(w1,3)");
	DIES(&s, 0, 1, "kill(w1) kill(c)");
	DIES(&s, 1, -1, "");
	DIES(&s, C(&s), -1, "exit(1)");
}

/* The collector and Redis never fail the daemon. */
static void test_first_start_others_fail(void **state)
{
	struct stage s;

	(void)state;
	setup(&s, 1, 1);
	START(&s, "start(r,0) start(c,1) start(w0,1)");
	DIES(&s, C(&s), 1, "cool(c,100)");
	DIES(&s, R(&s), 127, "cool(r,100)");
	READY(&s, 0, "up");
	TICK(&s, 100, "start(c,2) start(r,0)");
	DIES(&s, R(&s), 127, "cool(r,200)");
}

static void test_term_during_start(void **state)
{
	struct stage s;

	(void)state;
	setup(&s, 2, 1);
	START(&s, "start(r,0) start(c,1) start(w0,1) start(w1,1)");
	READY(&s, 0, "listen(w0,3)");
	TERM(&s, "drain(w0) drain(w1)");
	READY(&s, 1, ""); /* too late: it drains */
	DIES(&s, 1, 0, "");
	DIES(&s, 0, 0, "drain(c)");
	DIES(&s, C(&s), 0, "drain(r)");
	DIES(&s, R(&s), 0, "exit(0)");
}

/* --- deaths ------------------------------------------------------------- */

static void test_first_death_is_replaced_at_once(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	s.now += 5000;
	DIES(&s, 0, -1, "start(w0,2) listen(w1,3)");
	READY(&s, 0, "listen(w1,2)");
	s.now += SUP_FORGIVE_MS; /* forgiven: at once again */
	DIES(&s, 0, -1, "start(w0,3) listen(w1,3)");
}

static void test_crash_loop(void **state)
{
	static const uint32_t delays[] = {200,   400,   800,   1600,  3200, 6400,
					  12800, 25600, 30000, 30000, 30000};
	struct stage s;
	uint32_t gen = 1;
	char want[64];

	(void)state;
	setup_up(&s);
	snprintf(want, sizeof want, "start(w1,%u) listen(w0,3)", ++gen);
	DIES(&s, 1, -1, want);
	for (size_t i = 0; i < PS_ARRAY_LEN(delays); i++) {
		READY(&s, 1, "listen(w0,1)");
		snprintf(want, sizeof want, "cool(w1,%u) listen(w0,3)", delays[i]);
		DIES(&s, 1, -1, want);
		snprintf(want, sizeof want, "start(w1,%u)", ++gen);
		TICK(&s, delays[i], want);
	}
	READY(&s, 1, "listen(w0,1)");
	s.now += SUP_FORGIVE_MS;
	snprintf(want, sizeof want, "start(w1,%u) listen(w0,3)", ++gen);
	DIES(&s, 1, -1, want);
}

static void test_jitter_is_bounded(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	s.jitter = UINT32_MAX;
	DIES(&s, 0, -1, "start(w0,2) listen(w1,3)");
	DIES(&s, 0, -1, "cool(w0,245)"); /* 200 + UINT32_MAX % 50 */
	s.jitter = 49;
	TICK(&s, 245, "start(w0,3)");
	DIES(&s, 0, -1, "cool(w0,449)"); /* 400 + 49 % 100 */
}

static void test_hanging_restart(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	DIES(&s, 0, -1, "start(w0,2) listen(w1,3)");
	TICK(&s, SUP_READY_MS, "kill(w0)");
	READY(&s, 0, ""); /* said too late */
	DIES(&s, 0, -1, "cool(w0,200)");
}

static void test_exit_78_stays_down(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	DIES(&s, 1, EXIT_STAY_DOWN, "down(w1) listen(w0,3)");
	assert_int_equal(sup_next_ms(&s.t), SUP_NEVER);
	DIES(&s, C(&s), EXIT_STAY_DOWN, "down(c)");
	assert_int_equal(sup_next_ms(&s.t), SUP_NEVER);
	HUP(&s, "reload"); /* other settings: all get another chance */
	GENERATION(&s, "start(w2,2) start(w3,2)");
	READY(&s, 3, "listen(w0,1)");
	READY(&s, 2, "adopt drain(w0) start(c,2)");
	assert_int_equal(s.t.row[1].state, SUP_EMPTY);
}

static void test_collector_never_overlaps(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	DIES(&s, C(&s), -1, "start(c,2)");
	TICK(&s, SUP_READY_MS, "kill(c)");
	s.now += 3600000; /* stuck in the kernel: nothing takes its place */
	step(&s, SUP_E_TICK, 0, 0);
	expect_at(&s, "", __LINE__);
	assert_int_equal(sup_next_ms(&s.t), SUP_NEVER);
	DIES(&s, C(&s), -1, "cool(c,100)"); /* it was alive for long: forgiven */
	TICK(&s, 100, "start(c,3)");
}

/* Redis says no READY: it is healthy once it lived for a second. */
static void test_redis_row(void **state)
{
	struct stage s;

	(void)state;
	setup(&s, 1, 1);
	START(&s, "start(r,0) start(c,1) start(w0,1)");
	READY(&s, 0, "up");
	READY(&s, C(&s), "");
	TICK(&s, SUP_REDIS_HEALTHY_MS, "");
	DIES(&s, R(&s), -1, "start(r,0)");
	DIES(&s, R(&s), 1, "cool(r,200)");
	TICK(&s, 200, "start(r,0)");
}

static void test_all_workers_dead(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	DIES(&s, 0, -1, "start(w0,2) listen(w1,3)");
	DIES(&s, 1, -1, "start(w1,3)");
	READY(&s, 1, "listen(w1,3)");
	READY(&s, 0, "listen(w1,2)");
}

static void test_masks_are_spread(void **state)
{
	struct stage s;

	(void)state;
	setup(&s, 4, 0);
	START(&s, "start(c,1) start(w0,1) start(w1,1) start(w2,1) start(w3,1)");
	READY(&s, C(&s), "");
	READY(&s, 0, "listen(w0,f)");
	READY(&s, 1, "listen(w0,5) listen(w1,a)");
	READY(&s, 2, "listen(w0,9) listen(w1,2)");
	READY(&s, 3, "up listen(w0,1)");
}

/* --- reload ------------------------------------------------------------- */

static void test_reload(void **state)
{
	struct stage s;

	(void)state;
	setup_staged(&s);
	READY(&s, 3, "");
	READY(&s, 2, "adopt drain(w0) drain(w1)");
	DIES(&s, 0, 0, "");
	DIES(&s, 1, 0, "");
	HUP(&s, "reload"); /* and back into the first half */
	GENERATION(&s, "start(w0,3) start(w1,3)");
}

static void test_reload_refused(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	HUP(&s, "reload"); /* the file is broken: no GENERATION comes */
	s.now += 1000;
	HUP(&s, "reload");
}

static void test_two_hups_at_once(void **state)
{
	struct stage s;

	(void)state;
	setup_staged(&s);
	HUP(&s, "");
	HUP(&s, "");
	READY(&s, 2, "");
	READY(&s, 3, "adopt drain(w0) drain(w1)");
	DIES(&s, 0, 0, "");
	DIES(&s, 1, 0, "reload"); /* both were one */
	GENERATION(&s, "start(w0,3) start(w1,3)");
	READY(&s, 0, "");
	READY(&s, 1, "adopt drain(w2) drain(w3)");
	DIES(&s, 2, 0, "");
	DIES(&s, 3, 0, "");
}

static void test_hup_during_drain(void **state)
{
	struct stage s;

	(void)state;
	setup_staged(&s);
	READY(&s, 2, "");
	READY(&s, 3, "adopt drain(w0) drain(w1)");
	HUP(&s, "");
	DIES(&s, 0, 0, "");
	TICK(&s, 30000, "kill(w1)");
	DIES(&s, 1, -1, "reload");
}

static void test_hup_during_first_start(void **state)
{
	struct stage s;

	(void)state;
	setup(&s, 1, 0);
	START(&s, "start(c,1) start(w0,1)");
	HUP(&s, "");
	READY(&s, 0, "up reload");
}

/* What people see moves with a reload only; the number in the tokens with each life. */
static void test_a_respawn_keeps_its_generation(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	assert_int_equal(s.t.row[1].generation, 1);
	DIES(&s, 1, -1, "start(w1,2) listen(w0,3)");
	assert_int_equal(s.out.a[0].arg, 1);
	assert_int_equal(s.t.row[1].generation, 1);
	READY(&s, 1, "listen(w0,1)");
	HUP(&s, "reload");
	GENERATION(&s, "start(w2,3) start(w3,3)");
	assert_int_equal(s.out.a[0].arg, 0);
	assert_int_equal(s.t.row[2].generation, 2);
	assert_int_equal(s.t.row[3].generation, 2);
	DIES(&s, 1, -1, "cool(w1,200) listen(w0,3)");
	TICK(&s, 200, "start(w1,4)"); /* an old one, beside the new */
	assert_int_equal(s.t.row[1].generation, 1);
}

static void test_generation_fails(void **state)
{
	struct stage s;

	(void)state;
	setup_staged(&s);
	READY(&s, 2, "");
	DIES(&s, 3, 1, "give-up drain(w2)");
	DIES(&s, 2, 0, "");
	HUP(&s, "reload"); /* numbers are not used twice */
	GENERATION(&s, "start(w2,3) start(w3,3)");
	DIES(&s, 2, -1, "give-up kill(w3)");
	HUP(&s, "");
	DIES(&s, 3, -1, "reload");
}

static void test_generation_ready_then_dead(void **state)
{
	struct stage s;

	(void)state;
	setup_staged(&s);
	READY(&s, 2, "");
	DIES(&s, 2, -1, "give-up kill(w3)");
	DIES(&s, 3, -1, "");
	assert_int_equal(s.t.row[0].state, SUP_RUNNING);
	assert_int_equal(s.t.row[1].state, SUP_RUNNING);
}

static void test_generation_hangs(void **state)
{
	struct stage s;

	(void)state;
	setup_staged(&s);
	READY(&s, 3, "");
	TICK(&s, SUP_READY_MS, "kill(w2) give-up drain(w3)");
	DIES(&s, 2, -1, "");
	DIES(&s, 3, 0, "");
}

/* An old worker dies while the new generation starts: it is replaced with the old
 * settings, and drained like its siblings. */
static void test_old_death_during_generation(void **state)
{
	struct stage s;

	(void)state;
	setup_staged(&s);
	DIES(&s, 0, -1, "start(w0,3) listen(w1,3)");
	READY(&s, 2, "listen(w1,2)"); /* the new one serves that index too */
	DIES(&s, 0, -1, "cool(w0,200)");
	DIES(&s, 1, -1, "start(w1,4) listen(w2,3)");
	READY(&s, 3, "adopt drain(w1) listen(w2,1)");
	assert_int_equal(s.t.row[0].state, SUP_EMPTY);
	DIES(&s, 1, 0, "");
}

static void test_collector_death_during_generation(void **state)
{
	struct stage s;

	(void)state;
	setup_staged(&s);
	DIES(&s, C(&s), -1, "start(c,2)");
	READY(&s, 2, "");
	READY(&s, 3, "adopt drain(w0) drain(w1)");
}

/* --- leaving ------------------------------------------------------------ */

static void test_term(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	TERM(&s, "drain(w0) drain(w1)");
	HUP(&s, ""); /* nothing starts any more */
	DIES(&s, 0, -1, "");
	TICK(&s, 30000, "kill(w1)");
	DIES(&s, 1, -1, "drain(c)");
	TICK(&s, SUP_COLLECTOR_STOP_MS, "kill(c)");
	DIES(&s, C(&s), -1, "exit(0)");
	DIES(&s, C(&s), -1, ""); /* after the end: nothing */
}

static void test_second_term(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	TERM(&s, "drain(w0) drain(w1)");
	s.now += SUP_TERM_AGAIN_MS;
	TERM(&s, "drain(c)");
	DIES(&s, 1, 0, "");
	TERM(&s, "");
	TICK(&s, SUP_NOW_MS, "kill(w0) kill(c)");
	DIES(&s, C(&s), -1, "");
	s.now += SUP_TERM_AGAIN_MS;
	TERM(&s, "");
	DIES(&s, 0, -1, "exit(0)");
}

/* `timeout` and others signal the process, and then its group. */
static void test_term_sent_twice(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	assert_true(sup_term_counts(&s.t, s.now));
	TERM(&s, "drain(w0) drain(w1)");
	s.now += 1;
	assert_false(sup_term_counts(&s.t, s.now));
	TERM(&s, "");
	s.now += SUP_TERM_AGAIN_MS - 2;
	assert_false(sup_term_counts(&s.t, s.now));
	TERM(&s, "");
	assert_int_equal(s.t.phase, SUP_LEAVE);
	TICK(&s, 30000 - SUP_TERM_AGAIN_MS + 1, "kill(w0) kill(w1)");
	DIES(&s, 0, -1, "");
	DIES(&s, 1, -1, "drain(c)");
	DIES(&s, C(&s), 0, "exit(0)");
}

/* A second counts from the first, in whatever step of leaving we are. */
static void test_second_term_while_the_collector_leaves(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	TERM(&s, "drain(w0) drain(w1)");
	DIES(&s, 0, 0, "");
	DIES(&s, 1, 0, "drain(c)");
	s.now += SUP_TERM_AGAIN_MS;
	TERM(&s, "");
	TICK(&s, SUP_NOW_MS, "kill(c)");
	DIES(&s, C(&s), -1, "exit(0)");
}

static void test_int(void **state)
{
	struct stage s;

	(void)state;
	setup_staged(&s);
	DIES(&s, C(&s), EXIT_STAY_DOWN, "down(c)");
	INT(&s, "drain(w0) drain(w1) drain(w2) drain(w3)");
	DIES(&s, 0, 0, "");
	INT(&s, "");
	TICK(&s, SUP_NOW_MS, "kill(w1) kill(w2) kill(w3)");
	for (int i = 1; i < 3; i++)
		DIES(&s, i, -1, "");
	DIES(&s, 3, -1, "exit(0)");
}

/* INT waits for nobody, also when a drain with all its time is under way. */
static void test_int_during_a_drain(void **state)
{
	struct stage s;

	(void)state;
	setup(&s, 1, 1);
	START(&s, "start(r,0) start(c,1) start(w0,1)");
	READY(&s, 0, "up");
	READY(&s, C(&s), "");
	TERM(&s, "drain(w0)");
	INT(&s, "drain(c) drain(r)");
	TICK(&s, SUP_NOW_MS, "kill(w0) kill(c) kill(r)");
	DIES(&s, 0, -1, "");
	DIES(&s, R(&s), -1, "");
	DIES(&s, C(&s), -1, "exit(0)");
}

static void test_term_during_generation(void **state)
{
	struct stage s;

	(void)state;
	setup_staged(&s);
	READY(&s, 2, "");
	TERM(&s, "drain(w0) drain(w1) drain(w2) drain(w3)");
	READY(&s, 3, "");
	for (int i = 0; i < 3; i++)
		DIES(&s, i, 0, "");
	DIES(&s, 3, 1, "drain(c)"); /* its failure is no news any more */
}

static void test_term_with_dead(void **state)
{
	struct stage s;

	(void)state;
	setup(&s, 1, 1);
	START(&s, "start(r,0) start(c,1) start(w0,1)");
	READY(&s, 0, "up");
	DIES(&s, C(&s), 1, "cool(c,100)");
	DIES(&s, R(&s), 1, "cool(r,100)");
	TERM(&s, "drain(w0)");
	DIES(&s, 0, 0, "exit(0)");
}

/* --- upgrades ------------------------------------------------------------ */

#define UPGRADE(s, want) (step(s, SUP_E_UPGRADE, 0, 0), expect_at(s, want, __LINE__))
#define NO_UPGRADE(s, want) \
	(step(s, SUP_E_NO_UPGRADE, 0, 0), expect_at(s, want, __LINE__))

static void test_upgrade_waits_for_a_reload(void **state)
{
	struct stage s;

	(void)state;
	setup_staged(&s);
	UPGRADE(&s, "");
	HUP(&s, "");
	READY(&s, 2, "");
	READY(&s, 3, "adopt drain(w0) drain(w1)");
	DIES(&s, 0, 0, "");
	DIES(&s, 1, 0, "upgrade");
	/* It is under way: a generation that starts now would be lost on the new image. */
	HUP(&s, "");
	/* It could not be executed: what else was wished for goes on. */
	NO_UPGRADE(&s, "reload");
}

/* After the new image took over: its generation brings a new collector. */
static void test_renewed_collector(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	s.t.renew = SUP_RENEW_AT_ONCE;
	GENERATION(&s, "start(w2,2) start(w3,2)");
	READY(&s, 2, "");
	READY(&s, 3, "adopt drain(w0) drain(w1) drain(c)");
	DIES(&s, 0, 0, "");
	DIES(&s, 1, 0, "");
	HUP(&s, ""); /* not before it is there */
	UPGRADE(&s, "");
	TICK(&s, SUP_COLLECTOR_STOP_MS, "kill(c)");
	DIES(&s, C(&s), -1, "start(c,2) upgrade");
	assert_int_equal(s.out.a[0].arg, 0); /* no death */
	assert_int_equal(s.t.row[C(&s)].fast_deaths, 0);
	NO_UPGRADE(&s, "reload");
	DIES(&s, C(&s), 1, "cool(c,100)"); /* this is one */
}

/* The segment is another one: the old collector is there as long as its workers. */
static void test_collector_renewed_last(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	s.t.renew = SUP_RENEW_LAST;
	s.t.row[0].elsewhere = s.t.row[1].elsewhere = s.t.row[C(&s)].elsewhere = 1;
	GENERATION(&s, "start(w2,2) start(w3,2)");
	for (int i = 0; i <= SUP_LOOKS; i++) { /* pages that we don't see don't count */
		assert_false(sup_beats(&s.t, 0));
		BEAT(&s, 0, 0, "");
		BEAT(&s, C(&s), 0, "");
	}
	READY(&s, 2, "");
	READY(&s, 3, "adopt drain(w0) drain(w1)");
	DIES(&s, 0, 0, "");
	UPGRADE(&s, "");
	DIES(&s, 1, 0, "drain(c)");
	DIES(&s, C(&s), 0, "start(c,2) upgrade");
	READY(&s, C(&s), "");
	assert_true(sup_beats(&s.t, C(&s)));
}

static void test_renewed_collector_that_cools(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	DIES(&s, C(&s), EXIT_STAY_DOWN, "down(c)");
	s.t.renew = SUP_RENEW_AT_ONCE;
	GENERATION(&s, "start(w2,2) start(w3,2)");
	READY(&s, 2, "");
	READY(&s, 3, "adopt drain(w0) drain(w1) start(c,2)");
}

static void test_new_image_whose_generation_fails(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	s.t.renew = SUP_RENEW_AT_ONCE;
	GENERATION(&s, "start(w2,2) start(w3,2)");
	DIES(&s, 2, 1, "give-up kill(w3)");
	assert_false(s.t.renew);
	DIES(&s, 3, -1, "");
	assert_int_equal(s.t.row[C(&s)].state, SUP_RUNNING);
}

static void test_term_while_the_collector_is_renewed(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	s.t.renew = SUP_RENEW_AT_ONCE;
	GENERATION(&s, "start(w2,2) start(w3,2)");
	READY(&s, 2, "");
	READY(&s, 3, "adopt drain(w0) drain(w1) drain(c)");
	UPGRADE(&s, "");
	TERM(&s, "drain(w2) drain(w3)");
	for (int i = 0; i < 4; i++)
		DIES(&s, i, 0, "");
	DIES(&s, C(&s), 0, "exit(0)");
}

/* --- the walk ----------------------------------------------------------- */

static uint64_t rnd_state;

static uint32_t rnd(uint32_t below)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return (uint32_t)(rnd_state >> 11) % below;
}

/* What the world looks like to somebody who only carries out the actions. */
struct world {
	int alive[SUP_ROWS], ready[SUP_ROWS], drained[SUP_ROWS], killed[SUP_ROWS];
	uint32_t mask[SUP_ROWS], gen[SUP_ROWS], seen_gen;
	int reload, renew, gone;
	uint64_t starts, adopts, give_ups, exits, upgrades;
};

static void carry_out(struct world *w, const struct stage *s)
{
	for (size_t i = 0; i < s->out.n; i++) {
		const struct sup_action *a = &s->out.a[i];
		int r = a->row;

		assert_false(w->gone);
		switch (a->type) {
		case SUP_A_START:
			assert_false(w->alive[r]); /* reaped before it is used again */
			if (r < 2 * s->t.nworkers) {
				assert_true(a->gen >= w->seen_gen);
				assert_int_not_equal(a->gen, w->gen[r]);
				w->seen_gen = w->gen[r] = a->gen;
				w->mask[r] = 1u << (r % s->t.nworkers);
			}
			w->alive[r] = 1;
			w->ready[r] = w->drained[r] = w->killed[r] = 0;
			w->starts++;
			break;
		case SUP_A_DRAIN:
			assert_true(w->alive[r] && !w->drained[r] && !w->killed[r]);
			w->drained[r] = 1;
			break;
		case SUP_A_KILL:
			assert_true(w->alive[r] && !w->killed[r]);
			assert_non_null(a->why);
			w->killed[r] = 1;
			break;
		case SUP_A_LISTEN:
			assert_true(w->alive[r] && w->ready[r] && !w->drained[r]);
			w->mask[r] = a->mask;
			break;
		case SUP_A_RELOAD: w->reload = 1; break;
		case SUP_A_UPGRADE: /* a new image follows, and does this */
			w->reload = 1;
			w->renew = 1 + (int)rnd(2);
			w->upgrades++;
			break;
		case SUP_A_ADOPT: w->adopts++; break;
		case SUP_A_GIVE_UP: w->give_ups++; break;
		case SUP_A_COOL:
			assert_in_range(a->arg, SUP_DELAY_MIN_MS,
					SUP_DELAY_MAX_MS * 5 / 4);
			break;
		case SUP_A_DOWN:
		case SUP_A_UP: break;
		case SUP_A_EXIT:
			w->gone = 1;
			w->exits++;
			break;
		}
	}
}

static void check_world(const struct world *w, const struct stage *s)
{
	int n = s->t.nworkers, serving[2] = {0, 0}, any = 0;
	uint32_t served = 0;

	for (int i = 0; i < 2 * n; i++) {
		assert_int_equal(w->alive[i], sup_alive(&s->t, i));
		if (w->alive[i] && !w->drained[i] && !w->killed[i])
			serving[i / n] = 1;
		if (w->alive[i] && w->ready[i] && !w->drained[i] && !w->killed[i]) {
			any = 1;
			served |= w->mask[i];
			assert_true(w->mask[i] & 1u << i % n);
		}
	}
	if (serving[0] && serving[1])
		assert_true(s->t.staged); /* two live generations: one is starting */
	if (any && s->t.phase < SUP_LEAVE)
		assert_int_equal(served, n == 32 ? UINT32_MAX : (1u << n) - 1);
	if (w->gone)
		for (int i = 0; i < SUP_ROWS; i++)
			assert_false(w->alive[i]);
	for (int i = 0; i < SUP_ROWS; i++) /* what is killed or drained ends */
		if (w->alive[i] && w->drained[i] && !w->killed[i])
			assert_true(s->t.row[i].due_ms != SUP_NEVER);
}

/* 1: an event was sent. */
static int walk_step(struct world *w, struct stage *s)
{
	static const int codes[] = {0,  1,  127, -1, -1, -1,
				    -1, -1, -1,  -1, -1, EXIT_STAY_DOWN};
	uint32_t what = rnd(1000);
	int row = (int)rnd((uint32_t)(2 * s->t.nworkers + 2));
	uint64_t next = sup_next_ms(&s->t);

	s->jitter = rnd(UINT32_MAX);
	if (w->reload) {
		w->reload = 0;
		s->t.upgrade = 0; /* done, or given up */
		if (rnd(4) == 0)
			return 0; /* a broken file */
		s->t.renew = (int)w->renew;
		w->renew = 0;
		step(s, SUP_E_GENERATION, 0, 0);
	} else if (what < 550) {
		if (!w->alive[row] || w->ready[row] || row == R(s))
			return 0;
		w->ready[row] = !w->drained[row] && !w->killed[row];
		step(s, SUP_E_READY, row, 0);
	} else if (what < 700) {
		if (!w->alive[row])
			return 0;
		w->alive[row] = w->ready[row] = 0;
		step(s, SUP_E_EXIT, row, codes[rnd(PS_ARRAY_LEN(codes))]);
	} else if (what < 740) {
		s->beat_ms = rnd(50) == 0;
		for (int i = 0; i < SUP_LOOKS && (i == 0 || s->out.n == 0); i++)
			step(s, SUP_E_BEAT, row, 0);
	} else if (what < 970) {
		if (next == SUP_NEVER || rnd(3) == 0)
			s->now += rnd(5000);
		else if (next > s->now)
			s->now = next;
		step(s, SUP_E_TICK, 0, 0);
	} else if (what < 980) {
		step(s, SUP_E_UPGRADE, 0, 0);
	} else if (what < 999 || rnd(4) > 0) {
		step(s, SUP_E_HUP, 0, 0);
	} else {
		step(s, rnd(4) ? SUP_E_TERM : SUP_E_INT, 0, 0);
	}
	carry_out(w, s);
	check_world(w, s);
	return 1;
}

/* --- loops that stand still --------------------------------------------- */

static void test_hung_collector(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	for (uint64_t at = 1; at < 100; at++)
		BEAT(&s, C(&s), at, "");
	for (int i = 1; i < SUP_LOOKS; i++)
		BEAT(&s, C(&s), 99, "");
	BEAT(&s, C(&s), 100, ""); /* it was only slow */
	for (int i = 1; i < SUP_LOOKS; i++)
		BEAT(&s, C(&s), 100, "");
	BEAT(&s, C(&s), 100, "kill(c)");
	BEAT(&s, C(&s), 100, ""); /* once is enough */
	DIES(&s, C(&s), -1, "start(c,2)");
	/* The page still shows the beat of the dead one; it has all its time again. */
	for (int i = 0; i <= SUP_LOOKS; i++)
		BEAT(&s, C(&s), 100, "");
	READY(&s, C(&s), "");
	for (int i = 0; i < SUP_LOOKS; i++)
		BEAT(&s, C(&s), 100, "");
	BEAT(&s, C(&s), 100, "kill(c)");
}

static void test_hung_worker(void **state)
{
	struct stage s;

	(void)state;
	setup_up(&s);
	for (int i = 0; i < SUP_LOOKS; i++) {
		BEAT(&s, 0, 7, "");
		BEAT(&s, 1, (uint64_t)i, "");
	}
	/* While it dies its sibling listens for it. */
	BEAT(&s, 0, 7, "kill(w0) listen(w1,3)");
	DIES(&s, 0, -1, "start(w0,2)");
}

static void test_who_drains_or_is_redis_does_not_beat(void **state)
{
	struct stage s;

	(void)state;
	setup(&s, 1, 1);
	START(&s, "start(r,0) start(c,1) start(w0,1)");
	READY(&s, 0, "up");
	TICK(&s, SUP_REDIS_HEALTHY_MS, "");
	assert_int_equal(s.t.row[R(&s)].state, SUP_RUNNING);
	assert_false(sup_beats(&s.t, R(&s)));
	assert_true(sup_beats(&s.t, 0));
	assert_false(sup_beats(&s.t, C(&s))); /* it still starts */
	TERM(&s, "drain(w0)");
	for (int i = 0; i < 2 * SUP_LOOKS; i++) {
		BEAT(&s, 0, 7, "");
		BEAT(&s, R(&s), 0, "");
	}
}

static void test_random_walk(void **state)
{
	struct stage s;
	struct world w;
	uint64_t starts = 0, adopts = 0, give_ups = 0, exits = 0;
	int lives = 0;

	(void)state;
	rnd_state = 0x9e3779b97f4a7c15u;
	for (int i = 0; i < 100000;) {
		static const int sizes[] = {1, 2, 3, 5, CONF_MAX_WORKERS};

		setup(&s, sizes[lives++ % PS_ARRAY_LEN(sizes)], rnd(2) == 0);
		memset(&w, 0, sizeof w);
		step(&s, SUP_E_START, 0, 0);
		carry_out(&w, &s);
		for (int k = 0; k < 5000 && !w.gone;) {
			int sent = walk_step(&w, &s);

			k += sent;
			i += sent;
		}
		starts += w.starts;
		adopts += w.adopts;
		give_ups += w.give_ups;
		exits += w.exits;
	}
	print_message("lives %d starts %lu adopts %lu give-ups %lu exits %lu\n", lives,
		      starts, adopts, give_ups, exits);
	/* The walk went everywhere. */
	assert_true(lives > 20 && starts > 5000);
	assert_true(adopts > 50 && give_ups > 50 && exits > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_start),
		cmocka_unit_test(test_first_start_worker_dies),
		cmocka_unit_test(test_first_start_worker_hangs),
		cmocka_unit_test(test_first_start_ready_then_dead),
		cmocka_unit_test(test_first_start_others_fail),
		cmocka_unit_test(test_term_during_start),
		cmocka_unit_test(test_first_death_is_replaced_at_once),
		cmocka_unit_test(test_crash_loop),
		cmocka_unit_test(test_jitter_is_bounded),
		cmocka_unit_test(test_hanging_restart),
		cmocka_unit_test(test_exit_78_stays_down),
		cmocka_unit_test(test_collector_never_overlaps),
		cmocka_unit_test(test_redis_row),
		cmocka_unit_test(test_all_workers_dead),
		cmocka_unit_test(test_masks_are_spread),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_reload_refused),
		cmocka_unit_test(test_two_hups_at_once),
		cmocka_unit_test(test_hup_during_drain),
		cmocka_unit_test(test_hup_during_first_start),
		cmocka_unit_test(test_a_respawn_keeps_its_generation),
		cmocka_unit_test(test_generation_fails),
		cmocka_unit_test(test_generation_ready_then_dead),
		cmocka_unit_test(test_generation_hangs),
		cmocka_unit_test(test_old_death_during_generation),
		cmocka_unit_test(test_collector_death_during_generation),
		cmocka_unit_test(test_term),
		cmocka_unit_test(test_second_term),
		cmocka_unit_test(test_int),
		cmocka_unit_test(test_term_sent_twice),
		cmocka_unit_test(test_second_term_while_the_collector_leaves),
		cmocka_unit_test(test_int_during_a_drain),
		cmocka_unit_test(test_term_during_generation),
		cmocka_unit_test(test_term_with_dead),
		cmocka_unit_test(test_hung_collector),
		cmocka_unit_test(test_hung_worker),
		cmocka_unit_test(test_who_drains_or_is_redis_does_not_beat),
		cmocka_unit_test(test_upgrade_waits_for_a_reload),
		cmocka_unit_test(test_renewed_collector),
		cmocka_unit_test(test_collector_renewed_last),
		cmocka_unit_test(test_renewed_collector_that_cools),
		cmocka_unit_test(test_new_image_whose_generation_fails),
		cmocka_unit_test(test_term_while_the_collector_is_renewed),
		cmocka_unit_test(test_random_walk),
	};

	return cmocka_run_group_tests_name("sup", tests, NULL, NULL);
}

/*
 * test_acevisit.c -- the driver of calls: passes over who is due, and what calls say of our
 * way to the world. The sockets (ace.c) and the rest of the collector are played here.
 */
#include "swarm_stage.h"

#include <event2/event.h>
#include <stdlib.h>
#include <sys/time.h>

#include "collector/coll.h"
#include "common/clock.h"
#include "steady.h"

static struct coll *c;
static enum ace_rc rc; /* of the next calls */
static uint32_t asked; /* calls that were asked for */
static ace_fn *tell_fn;
static uint32_t listed; /* endpoints that were found */

int ace_open(struct ace **out, struct event_base *base, const struct conf *of,
	     uint32_t leave_ms, ace_fn *fn, void *arg, char err[ERRLEN])
{
	(void)base;
	(void)of;
	(void)leave_ms;
	(void)arg;
	(void)err;
	*out = NULL;
	tell_fn = fn;
	return 0;
}

void ace_close(struct ace **a)
{
	*a = NULL;
}

enum ace_rc ace_call(struct ace *a, const struct ace_target *t)
{
	(void)a;
	(void)t;
	asked++;
	return rc;
}

void ace_load(const struct ace *a, struct ace_load *out)
{
	(void)a;
	memset(out, 0, sizeof(*out));
}

enum iface_why net_why(const struct coll *of)
{
	(void)of;
	return IFACE_OK;
}

int own_may_list(const struct coll *of, const uint8_t addr[ADDR_LEN], uint16_t port)
{
	(void)of;
	(void)addr;
	return port != 0;
}

int own_may_be(const struct coll *of, const uint8_t addr[ADDR_LEN],
	       const uint8_t from[ADDR_LEN])
{
	(void)of;
	(void)addr;
	(void)from;
	return 1;
}

void acewatch_found(struct coll *of, struct swarm *at, struct peer *p,
		    const struct swarm_news *news, const char *client)
{
	(void)of;
	(void)at;
	(void)client;
	listed += p && news->fresh;
}

void publish_soon(struct coll *of)
{
	(void)of;
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static int setup(void **state)
{
	char err[ERRLEN];

	(void)state;
	open_swarm(ACE_MODE_FIRST);
	now = clock_ms();
	c = calloc(1, sizeof(*c));
	assert_non_null(c);
	c->base = event_base_new();
	c->swarms = all;
	c->wake = event_new(c->base, -1, 0, on_wake, c);
	path_facts(&c->path, 1, PATH_VPN_NONE, 0);
	assert_int_equal(acevisit_open(c, err), 0);
	rc = ACE_STARTED;
	asked = listed = 0;
	return 0;
}

static int teardown(void **state)
{
	acevisit_close(c);
	event_free(c->wake);
	event_base_free(c->base);
	free(c);
	return stage_close(state);
}

/* As many records of the session as that come, each of which looks. */
static void records(uint32_t ms)
{
	uint64_t until = clock_ms() + ms;

	do {
		acevisit_look(c, w);
		assert_int_equal(event_base_loop(c->base, EVLOOP_ONCE), 0);
	} while (clock_ms() < until);
}

static void says(unsigned host, enum ace_what what, enum ace_outcome how,
		 const struct acewire_told *t)
{
	struct ace_seen s = {.target = target(host, ENGINE), .what = what, .how = how};

	s.connected = how <= ACE_ZERO;
	s.told = t;
	tell_fn(c, &s);
}

/* ---- passes ------------------------------------------------------------------------ */

static void test_who_is_due_is_called_at_once(void **state)
{
	(void)state;
	heard(1, ENGINE);
	records(10);
	assert_int_equal(asked, 1);
	assert_true(peer_at(1, ENGINE)->ace.calling);
}

/* A peer past due that can't be called: a record is no reason to look again and again. */
static void test_who_cant_be_called_costs_few_passes(void **state)
{
	const enum ace_rc busy[] = {ACE_BUSY_ADDRESS, ACE_BUSY_SWARM, ACE_BUSY_ALL};

	(void)state;
	heard(1, ENGINE);
	for (size_t i = 0; i < PS_ARRAY_LEN(busy); i++) {
		asked = 0;
		rc = busy[i];
		records(200);
		assert_in_range(asked, 2, 12);
	}
}

/* When the next pass is due: milliseconds from now on, or less than 0. */
static int64_t due_in_ms(void)
{
	struct timeval due, at, in;

	assert_true(event_pending(c->call, EV_TIMEOUT, &due));
	gettimeofday(&at, NULL);
	timersub(&due, &at, &in);
	return (int64_t)in.tv_sec * 1000 + in.tv_usec / 1000;
}

/* It waits for a look, not for the end of another call. */
static void test_the_end_of_a_call_brings_a_pass_at_once(void **state)
{
	(void)state;
	heard(1, ENGINE);
	heard(2, ENGINE);
	rc = ACE_BUSY_SWARM;
	records(20);
	acevisit_look(c, w);
	assert_true(c->call_armed);
	rc = ACE_STARTED;
	peer_at(1, ENGINE)->ace.calling = 1;
	says(1, ACE_END, ACE_TIMEOUT, NULL);
	assert_true(due_in_ms() < 10);
	while (!peer_at(2, ENGINE)->ace.calling)
		assert_int_equal(event_base_loop(c->base, EVLOOP_ONCE), 0);
}

/* ---- evidence ----------------------------------------------------------------------- */

/* The session dials a swarm, and so do we: one list, that may be stale. */
static void test_dead_dials_of_one_swarm_are_of_one(void **state)
{
	struct lt_event e = {.kind = LT_PEER_DIALLED, .life = 3};

	(void)state;
	memcpy(e.id, ID, IH_LEN);
	for (unsigned i = 0; i < PATH_DIALS; i++) {
		path_event(&c->path, &e, now);
		heard(1 + i, ENGINE);
	}
	records(20);
	assert_int_equal(c->path.dials, PATH_DIALS + PATH_DIALS / 4);
	assert_int_equal(c->path.nswarms, 1);
	(void)path_judge(&c->path, clock_ms() + PATH_SILENT_MS + 1000);
	assert_int_equal(c->path.tcp_verdict, PATH_UNKNOWN);
}

/* ---- sources -------------------------------------------------------------------------- */

/* Each read may bring another one: a call names one endpoint, whatever it says. */
static void test_a_call_names_one_source(void **state)
{
	struct acewire_secret secret = {{0}};
	struct acewire_told t = viewer(5063);
	uint8_t body[80] = {0, 2, 0, 52, 0, 63, 0, 64, 198, 51, 100};
	struct acewire_frame f = {.id = 36, .body = body, .len = sizeof(body)};
	struct shm_swarm head;

	(void)state;
	heard(1, ENGINE);
	(void)called(1, ENGINE);
	says(1, ACE_SHAKEN, ACE_SHOOK, &t);
	for (int i = 0; i < 600; i++) {
		body[11] = (uint8_t)(i % 200);
		body[12] = 30;
		body[13] = (uint8_t)(1 + i / 200);
		assert_int_equal(acewire_take(&t, &f, &secret), i ? AW_IGNORED : AW_TOOK);
		says(1, i ? ACE_MORE : ACE_TOLD, ACE_DONE, &t);
	}
	says(1, ACE_END, ACE_DONE, &t);
	(void)list(&head);
	assert_int_equal(head.sources, 1);
	assert_int_equal(listed, 1);
	assert_int_equal(w->npeers, 2);
	t = viewer(5064); /* the next call names nobody */
	now += REVISIT;
	says(1, ACE_TOLD, ACE_DONE, &t);
	assert_int_equal(swarm_word_role(&w->peer[1]), ROLE_SOURCE);
	says(1, ACE_END, ACE_DONE, &t);
	assert_int_equal(swarm_word_role(&w->peer[1]), ROLE_UNKNOWN);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_who_is_due_is_called_at_once),
		T(test_who_cant_be_called_costs_few_passes),
		T(test_the_end_of_a_call_brings_a_pass_at_once),
		T(test_dead_dials_of_one_swarm_are_of_one),
		T(test_a_call_names_one_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * test_verdict.c -- who is to blame: rules of collector/verdict.c, without a network.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collector/swarms.h"
#include "collector/verdict.h"

#define UDP(n) ((uint32_t)(n) << 1 | LT_TRACKER_UDP)
#define HTTP(n) ((uint32_t)(n) << 1)

static const uint8_t ID[IH_LEN] = {1, 2, 3};

struct fix {
	struct path p;
	struct swarms *all;
	struct swarm *w;
	uint64_t now;
	unsigned host;
};

static int set_up(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	f->now = 1000000;
	assert_int_equal(swarms_open(&f->all, 3), 0);
	f->w = swarms_add(f->all, ID, f->now);
	f->w->trackers_expected = 1;
	path_facts(&f->p, 1, PATH_VPN_NONE, 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fix *f = *state;

	swarms_close(&f->all);
	free(f);
	return 0;
}

static struct lt_event ev(enum lt_kind kind)
{
	struct lt_event e;

	memset(&e, 0, sizeof(e));
	e.kind = (uint8_t)kind;
	memcpy(e.id, ID, IH_LEN);
	e.life = 1;
	e.port = 6881;
	e.addr[10] = e.addr[11] = 0xff;
	e.addr[12] = 127;
	return e;
}

static void feed(struct fix *f, const struct lt_event *e)
{
	struct swarm_news news;

	path_event(&f->p, e, f->now);
	if (e->kind < LT_LISTENING)
		swarm_event(f->w, e, f->now, (uint32_t)(f->now / 1000), &news);
}

static void tracker(struct fix *f, enum lt_kind kind, uint32_t which, int n)
{
	struct lt_event e = ev(kind);

	e.tracker = which;
	e.n = n;
	feed(f, &e);
}

static void peer(struct fix *f, enum lt_kind kind, unsigned host, unsigned flags)
{
	struct lt_event e = ev(kind);

	e.addr[14] = (uint8_t)(host >> 8);
	e.addr[15] = (uint8_t)host;
	e.flags = (uint8_t)flags;
	e.source = PEER_SRC_TRACKER;
	feed(f, &e);
}

/* n peers that are dialled and never answer. */
static void dial(struct fix *f, unsigned n, uint8_t swarm)
{
	for (unsigned i = 0; i < n; i++) {
		struct lt_event e = ev(LT_PEER_DIALLED);

		e.id[19] = swarm;
		e.addr[14] = (uint8_t)(++f->host >> 8);
		e.addr[15] = (uint8_t)f->host;
		feed(f, &e);
		e.kind = LT_PEER_GONE;
		feed(f, &e);
	}
}

static void dial_utp(struct fix *f, unsigned host)
{
	struct lt_event e = ev(LT_PEER_DIALLED);

	e.addr[15] = (uint8_t)host;
	e.way = LT_WAY_UTP;
	feed(f, &e);
}

static void dht(struct fix *f, int nodes, uint32_t out, uint32_t in)
{
	struct lt_event e = ev(LT_STATS);

	e.n = nodes;
	e.pieces = out;
	e.down_rate = in;
	feed(f, &e);
}

static void check(struct fix *f, enum path_verdict all, enum path_verdict udp,
		  enum path_verdict tcp)
{
	(void)path_judge(&f->p, f->now);
	assert_int_equal(f->p.udp_verdict, udp);
	assert_int_equal(f->p.tcp_verdict, tcp);
	assert_int_equal(f->p.verdict, all);
}

static enum swarm_verdict verdict(struct fix *f)
{
	(void)path_judge(&f->p, f->now);
	return verdict_of(&f->p, f->w, f->now);
}

/* ---- the path ------------------------------------------------------------- */

static void nothing_heard_is_unknown(void **state)
{
	struct fix *f = *state;

	check(f, PATH_UNKNOWN, PATH_UNKNOWN, PATH_UNKNOWN);
	f->now += 10 * PATH_FRESH_MS;
	check(f, PATH_UNKNOWN, PATH_UNKNOWN, PATH_UNKNOWN);
}

static void an_answer_opens(void **state)
{
	struct fix *f = *state;

	tracker(f, LT_TRACKER_OK, UDP(1), 0);
	check(f, PATH_OPEN, PATH_OPEN, PATH_UNKNOWN);
	tracker(f, LT_TRACKER_OK, HTTP(1), 0);
	check(f, PATH_OPEN, PATH_OPEN, PATH_OPEN);
	f->now += PATH_FRESH_MS;
	check(f, PATH_UNKNOWN, PATH_UNKNOWN, PATH_UNKNOWN);
}

static void an_error_is_an_answer(void **state)
{
	struct fix *f = *state;

	tracker(f, LT_TRACKER_ASKED, HTTP(1), 0);
	tracker(f, LT_TRACKER_FAILED, HTTP(1), LT_FAIL_ANSWERED);
	check(f, PATH_OPEN, PATH_UNKNOWN, PATH_OPEN);
}

static void one_silent_tracker_proves_nothing_two_do(void **state)
{
	struct fix *f = *state;

	for (int i = 0; i < 9; i++)
		tracker(f, LT_TRACKER_ASKED, UDP(1), 0);
	f->now += PATH_SILENT_MS;
	check(f, PATH_UNKNOWN, PATH_UNKNOWN, PATH_UNKNOWN);
	tracker(f, LT_TRACKER_ASKED, UDP(2), 0);
	f->now += PATH_SILENT_MS - 1;
	check(f, PATH_UNKNOWN, PATH_UNKNOWN, PATH_UNKNOWN);
	f->now++;
	check(f, PATH_BLOCKED, PATH_BLOCKED, PATH_UNKNOWN);
	assert_int_equal(f->p.udp.unanswered, 10);
	tracker(f, LT_TRACKER_OK, UDP(1), 0);
	check(f, PATH_OPEN, PATH_OPEN, PATH_UNKNOWN);
	assert_int_equal(f->p.udp.unanswered, 0);
}

static void who_refuses_is_not_silent(void **state)
{
	struct fix *f = *state;

	for (uint32_t i = 1; i < 4; i++) {
		tracker(f, LT_TRACKER_ASKED, UDP(i), 0);
		tracker(f, LT_TRACKER_FAILED, UDP(i), LT_FAIL_REFUSED);
	}
	f->now += PATH_SILENT_MS;
	check(f, PATH_UNKNOWN, PATH_UNKNOWN, PATH_UNKNOWN);
}

static void names_that_are_not_found_are_silence_of_their_own(void **state)
{
	struct fix *f = *state;

	for (uint32_t i = 1; i < 4; i++) {
		tracker(f, LT_TRACKER_ASKED, UDP(i), 0);
		tracker(f, LT_TRACKER_FAILED, UDP(i), LT_FAIL_NAME);
	}
	f->now += PATH_SILENT_MS;
	check(f, PATH_BLOCKED, PATH_BLOCKED, PATH_UNKNOWN);
	assert_int_equal(f->p.name_failures, 3);
	assert_int_equal(f->p.failure, LT_FAIL_NAME);
}

/* Of broken names it is said; of anything else that is silent beside them it is not. */
static void names_alone_are_a_cause(void **state)
{
	struct fix *f = *state;

	for (uint32_t i = 1; i < 4; i++) {
		tracker(f, LT_TRACKER_ASKED, UDP(i), 0);
		tracker(f, LT_TRACKER_FAILED, UDP(i), LT_FAIL_NAME);
	}
	check(f, PATH_UNKNOWN, PATH_UNKNOWN, PATH_UNKNOWN);
	assert_int_equal(f->p.cause, PATH_CAUSE_NONE);
	f->now += PATH_SILENT_MS;
	assert_int_equal(path_judge(&f->p, f->now), 1);
	assert_int_equal(f->p.cause, PATH_CAUSE_NAMES);
	assert_int_equal(path_packed(&f->p),
			 PATH_PACK(PATH_BLOCKED, PATH_BLOCKED, PATH_UNKNOWN) |
				 PATH_BECAUSE(PATH_CAUSE_NAMES));
	path_facts(&f->p, 1, PATH_VPN_NONE, 1);
	f->p.cause = PATH_CAUSE_NONE;
	for (uint32_t i = 1; i < 4; i++) {
		tracker(f, LT_TRACKER_ASKED, UDP(i), 0);
		tracker(f, LT_TRACKER_FAILED, UDP(i), LT_FAIL_NAME);
	}
	dht(f, 0, 10, 0); /* its routers have names, too */
	f->now += PATH_SILENT_MS;
	(void)path_judge(&f->p, f->now);
	assert_int_equal(f->p.cause, PATH_CAUSE_NAMES);
	dht(f, 9, 20, 0); /* nodes have none */
	(void)path_judge(&f->p, f->now);
	assert_int_equal(f->p.cause, PATH_CAUSE_NONE);
	dht(f, 0, 20, 0);
	tracker(f, LT_TRACKER_FAILED, UDP(2), LT_FAIL_SILENT);
	(void)path_judge(&f->p, f->now);
	assert_int_equal(f->p.cause, PATH_CAUSE_NONE);
}

static void garbage_speaks_for_neither_side(void **state)
{
	struct fix *f = *state;

	for (uint32_t i = 1; i < 4; i++) {
		tracker(f, LT_TRACKER_ASKED, HTTP(i), 0);
		tracker(f, LT_TRACKER_FAILED, HTTP(i), LT_FAIL_GARBLED);
	}
	f->now += PATH_SILENT_MS;
	check(f, PATH_UNKNOWN, PATH_UNKNOWN, PATH_UNKNOWN);
	assert_int_equal(f->p.failure, LT_FAIL_GARBLED);
}

/* Two trackers of five are dead for ever. While nothing else is asked, they are retried
 * and stay silent: that is no news. */
static void dead_trackers_block_nothing(void **state)
{
	struct fix *f = *state;

	for (uint32_t i = 1; i < 6; i++)
		tracker(f, LT_TRACKER_ASKED, UDP(i), 0);
	tracker(f, LT_TRACKER_OK, UDP(1), 0);
	f->now += PATH_SILENT_MS;
	tracker(f, LT_TRACKER_FAILED, UDP(4), LT_FAIL_SILENT);
	tracker(f, LT_TRACKER_FAILED, UDP(5), LT_FAIL_SILENT);
	tracker(f, LT_TRACKER_ASKED, UDP(4), 0);
	tracker(f, LT_TRACKER_ASKED, UDP(5), 0);
	f->now += PATH_SILENT_MS;
	check(f, PATH_OPEN, PATH_OPEN, PATH_UNKNOWN);
	/* Those that lived are another matter. */
	tracker(f, LT_TRACKER_ASKED, UDP(1), 0);
	tracker(f, LT_TRACKER_ASKED, UDP(2), 0);
	f->now += PATH_SILENT_MS;
	tracker(f, LT_TRACKER_FAILED, UDP(1), LT_FAIL_SILENT);
	check(f, PATH_BLOCKED, PATH_BLOCKED, PATH_UNKNOWN);
	/* And one that comes back counts again. */
	tracker(f, LT_TRACKER_OK, UDP(4), 0);
	tracker(f, LT_TRACKER_ASKED, UDP(4), 0);
	tracker(f, LT_TRACKER_ASKED, UDP(1), 0);
	f->now += PATH_SILENT_MS;
	check(f, PATH_BLOCKED, PATH_BLOCKED, PATH_UNKNOWN);
}

/* While TCP works, two silent UDP trackers are dead ones; three are a blocked path. */
static void it_takes_more_while_the_other_side_is_open(void **state)
{
	struct fix *f = *state;

	tracker(f, LT_TRACKER_ASKED, UDP(1), 0);
	tracker(f, LT_TRACKER_ASKED, UDP(2), 0);
	tracker(f, LT_TRACKER_OK, HTTP(9), 0);
	f->now += PATH_SILENT_MS;
	check(f, PATH_OPEN, PATH_UNKNOWN, PATH_OPEN);
	tracker(f, LT_TRACKER_ASKED, UDP(3), 0);
	f->now += PATH_SILENT_MS;
	check(f, PATH_BLOCKED, PATH_BLOCKED, PATH_OPEN);
	/* A peer that is reached has what a swarm needs. */
	peer(f, LT_PEER_HANDSHAKE, 1, 0);
	check(f, PATH_OPEN, PATH_BLOCKED, PATH_OPEN);
}

static void the_dht_speaks_for_udp(void **state)
{
	struct fix *f = *state;

	path_facts(&f->p, 1, PATH_VPN_NONE, 1);
	dht(f, 0, 10, 0);
	f->now += PATH_SILENT_MS;
	dht(f, 0, 20, 0);
	check(f, PATH_UNKNOWN, PATH_UNKNOWN, PATH_UNKNOWN); /* routers die */
	dht(f, 30, 30, 0);
	check(f, PATH_BLOCKED, PATH_BLOCKED, PATH_UNKNOWN); /* so many nodes don't */
	dht(f, 30, 31, 1);
	check(f, PATH_OPEN, PATH_OPEN, PATH_UNKNOWN);
	assert_true(f->p.dht_ms == f->now && f->p.dht_unanswered == 0);
}

static void dials_count_by_swarms(void **state)
{
	struct fix *f = *state;

	dial(f, 2 * PATH_DIALS, 1);
	f->now += PATH_SILENT_MS;
	check(f, PATH_UNKNOWN, PATH_UNKNOWN, PATH_UNKNOWN); /* a stale list */
	dial(f, 1, 2);
	check(f, PATH_BLOCKED, PATH_UNKNOWN, PATH_BLOCKED);
	tracker(f, LT_TRACKER_OK, UDP(1), 0); /* now it takes three */
	check(f, PATH_OPEN, PATH_OPEN, PATH_UNKNOWN);
	dial(f, PATH_DIALS, 3);
	dial(f, PATH_DIALS, 4);
	check(f, PATH_BLOCKED, PATH_OPEN, PATH_BLOCKED);
	peer(f, LT_PEER_HANDSHAKE, 1, 0);
	check(f, PATH_OPEN, PATH_OPEN, PATH_OPEN);
}

/* Dialled in both protocols, and joined anew: one list that may be stale. */
static void one_swarm_is_one_whatever_its_lives(void **state)
{
	struct fix *f = *state;
	struct lt_event e = ev(LT_PEER_DIALLED);

	for (uint32_t i = 0; i < 4 * PATH_DIALS; i++) {
		e.life = i % PATH_SWARMS | (i % 2 ? 0x80000000u : 0);
		feed(f, &e);
	}
	f->now += PATH_SILENT_MS;
	check(f, PATH_UNKNOWN, PATH_UNKNOWN, PATH_UNKNOWN);
	assert_int_equal(f->p.nswarms, 1);
	dial(f, 1, 2);
	check(f, PATH_BLOCKED, PATH_UNKNOWN, PATH_BLOCKED);
}

static void utp_speaks_for_udp_and_its_silence_for_nothing(void **state)
{
	struct fix *f = *state;

	for (unsigned i = 0; i < 5 * PATH_DIALS; i++)
		dial_utp(f, i + 2);
	f->now += PATH_SILENT_MS;
	check(f, PATH_UNKNOWN, PATH_UNKNOWN, PATH_UNKNOWN);
	peer(f, LT_PEER_HANDSHAKE, 1, PEER_F_UTP);
	check(f, PATH_OPEN, PATH_OPEN, PATH_UNKNOWN);
	assert_true(f->p.utp_ms == f->now && f->p.tcp_out_ms == 0);
}

/* TCP came about, though the peer had nothing to say. */
static void a_connection_without_a_word_is_a_proof(void **state)
{
	struct fix *f = *state;
	struct lt_event e = ev(LT_PEER_GONE);

	dial(f, 2 * PATH_DIALS, 1);
	dial(f, 2 * PATH_DIALS, 2);
	f->now += PATH_SILENT_MS;
	check(f, PATH_BLOCKED, PATH_UNKNOWN, PATH_BLOCKED);
	e.connected = 1;
	feed(f, &e);
	check(f, PATH_OPEN, PATH_UNKNOWN, PATH_OPEN);
	assert_true(f->p.reached_ms == 0);
	e.way = LT_WAY_UTP;
	feed(f, &e);
	check(f, PATH_OPEN, PATH_OPEN, PATH_OPEN);
}

/* A settled swarm shakes no hands: what peers send is the proof. */
static void bytes_of_a_peer_are_a_proof(void **state)
{
	struct fix *f = *state;
	struct lt_event e = ev(LT_PEER_TOLD);

	peer(f, LT_PEER_HANDSHAKE, 1, 0);
	f->now += 2 * PATH_FRESH_MS;
	feed(f, &e);
	check(f, PATH_UNKNOWN, PATH_UNKNOWN, PATH_UNKNOWN);
	e.down_rate = 1;
	feed(f, &e);
	check(f, PATH_OPEN, PATH_UNKNOWN, PATH_OPEN);
}

static void down_is_down_and_begins_anew(void **state)
{
	struct fix *f = *state;

	tracker(f, LT_TRACKER_OK, UDP(1), 0);
	peer(f, LT_PEER_HANDSHAKE, 1, 0);
	path_facts(&f->p, 0, PATH_VPN_NONE, 0);
	check(f, PATH_DOWN, PATH_UNKNOWN, PATH_UNKNOWN);
	assert_int_equal(f->p.cause, PATH_CAUSE_INTERFACE);
	assert_int_equal(path_reach(&f->p, f->now), REACH_DISCONNECTED);
	path_facts(&f->p, 1, PATH_VPN_NONE, 0);
	check(f, PATH_UNKNOWN, PATH_UNKNOWN, PATH_UNKNOWN); /* proofs of the old way */
	path_facts(&f->p, 1, PATH_VPN_DOWN, 0);
	check(f, PATH_DOWN, PATH_UNKNOWN, PATH_UNKNOWN);
	assert_int_equal(f->p.cause, PATH_CAUSE_VPN);
	path_facts(&f->p, 1, PATH_VPN_UP, 0);
	tracker(f, LT_TRACKER_OK, UDP(1), 0);
	check(f, PATH_OPEN, PATH_OPEN, PATH_UNKNOWN);
	path_facts(&f->p, 1, PATH_VPN_UP, 0); /* nothing changed: nothing is forgotten */
	check(f, PATH_OPEN, PATH_OPEN, PATH_UNKNOWN);
}

static void since_moves_with_the_verdict_alone(void **state)
{
	struct fix *f = *state;
	uint64_t at;

	tracker(f, LT_TRACKER_OK, UDP(1), 0);
	assert_int_equal(path_judge(&f->p, f->now), 1);
	at = f->now;
	f->now += 5;
	assert_int_equal(path_judge(&f->p, f->now), 0);
	tracker(f, LT_TRACKER_OK, HTTP(1), 0);
	assert_int_equal(path_judge(&f->p, f->now), 1); /* TCP is open, too */
	assert_true(f->p.since_ms == at);
	assert_int_equal(path_packed(&f->p), PATH_PACK(PATH_OPEN, PATH_OPEN, PATH_OPEN));
}

static void callers_make_reachable(void **state)
{
	struct fix *f = *state;
	struct lt_event e = ev(LT_PEER_HANDSHAKE);

	feed(f, &e);
	(void)path_judge(&f->p, f->now);
	assert_int_equal(path_reach(&f->p, f->now), REACH_UNKNOWN);
	for (int i = 0; i < 10; i++) {
		f->now += PATH_CALLERS_MS / 10;
		feed(f, &e);
		(void)path_judge(&f->p, f->now);
	}
	assert_int_equal(path_reach(&f->p, f->now), REACH_FIREWALLED);
	e.incoming = 1;
	feed(f, &e);
	assert_int_equal(path_reach(&f->p, f->now), REACH_CONNECTED);
	assert_true(f->p.incoming_ms == f->now);
}

static void many_trackers_stay_in_the_table(void **state)
{
	struct fix *f = *state;

	for (uint32_t i = 1; i < 500; i++)
		tracker(f, LT_TRACKER_ASKED, UDP(i), 0);
	f->now += PATH_SILENT_MS;
	check(f, PATH_BLOCKED, PATH_BLOCKED, PATH_UNKNOWN);
}

/* ---- a swarm ---------------------------------------------------------------- */

static void round_over(struct fix *f)
{
	f->w->round_done = 1;
	f->now += SWARM_QUIET_MS;
}

static void alive_when_peers_are_reached(void **state)
{
	struct fix *f = *state;
	struct shm_swarm head;

	assert_int_equal(verdict(f), VERDICT_UNKNOWN);
	peer(f, LT_PEER_HANDSHAKE, 1, 0);
	assert_int_equal(verdict(f), VERDICT_ALIVE); /* no need to wait for the rest */
	peer(f, LT_PEER_GONE, 1, 0);
	f->now += VERDICT_LATELY_MS - 1;
	assert_int_equal(verdict(f), VERDICT_ALIVE);
	memset(&head, 0, sizeof(head));
	verdict_swarm(&f->p, f->w, f->now, &head);
	assert_int_equal(head.verdict, VERDICT_ALIVE);
	assert_int_equal(head.reached, 1);
	f->now++;
	round_over(f);
	assert_int_equal(verdict(f), VERDICT_THIN);
}

static void dead_needs_an_open_path_and_sources_that_answer(void **state)
{
	struct fix *f = *state;

	tracker(f, LT_TRACKER_ASKED, UDP(1), 0);
	round_over(f);
	assert_int_equal(verdict(f), VERDICT_UNKNOWN); /* nobody has answered */
	tracker(f, LT_TRACKER_OK, UDP(1), 0);
	assert_int_equal(verdict(f), VERDICT_DEAD);
	f->now += 2 * PATH_FRESH_MS;
	assert_int_equal(verdict(f), VERDICT_UNKNOWN); /* the path may be another now */
	dht(f, 5, 1, 1);
	assert_int_equal(verdict(f), VERDICT_DEAD);
}

static void a_round_that_runs_is_no_verdict(void **state)
{
	struct fix *f = *state;

	tracker(f, LT_TRACKER_ASKED, UDP(1), 0);
	tracker(f, LT_TRACKER_OK, UDP(1), 0);
	assert_int_equal(verdict(f), VERDICT_UNKNOWN);
	round_over(f);
	f->w->grew_ms = f->now; /* nor one whose list has just changed */
	assert_int_equal(verdict(f), VERDICT_UNKNOWN);
}

static void silence_of_everything_is_the_path(void **state)
{
	struct fix *f = *state;

	tracker(f, LT_TRACKER_ASKED, UDP(1), 0);
	tracker(f, LT_TRACKER_ASKED, UDP(2), 0);
	round_over(f);
	assert_int_equal(verdict(f), VERDICT_UNKNOWN);
	f->now += PATH_SILENT_MS;
	assert_int_equal(verdict(f), VERDICT_PATH_BLOCKED);
}

/* Peers were reached, then the exit died: that was then. One that is reached after the
 * verdict on the path is alive whatever the trackers do. */
static void a_path_that_breaks_takes_the_swarm_along(void **state)
{
	struct fix *f = *state;

	peer(f, LT_PEER_HANDSHAKE, 1, 0);
	peer(f, LT_PEER_GONE, 1, 0);
	f->now += PATH_FRESH_MS;
	tracker(f, LT_TRACKER_ASKED, UDP(1), 0);
	tracker(f, LT_TRACKER_ASKED, UDP(2), 0);
	assert_int_equal(verdict(f), VERDICT_ALIVE);
	f->now += PATH_SILENT_MS;
	assert_int_equal(verdict(f), VERDICT_PATH_BLOCKED);
	peer(f, LT_PEER_HANDSHAKE, 1, 0);
	assert_int_equal(verdict(f), VERDICT_ALIVE);
	path_facts(&f->p, 0, PATH_VPN_NONE, 0);
	assert_int_equal(verdict(f), VERDICT_PATH_BLOCKED);
}

/* Another swarm is fine over TCP; this one hears nothing since its sources are UDP. */
static void a_blocked_half_is_not_a_dead_swarm(void **state)
{
	struct fix *f = *state;

	for (uint32_t i = 1; i < 4; i++)
		tracker(f, LT_TRACKER_ASKED, UDP(i), 0);
	tracker(f, LT_TRACKER_OK, HTTP(1), 0);
	f->p.reached_ms = f->now;
	round_over(f);
	f->now += PATH_SILENT_MS;
	check(f, PATH_OPEN, PATH_BLOCKED, PATH_OPEN);
	assert_int_equal(verdict(f), VERDICT_PATH_BLOCKED);
}

/* UDP trackers have failed already, but have not been silent for long enough to blame the
 * path for it: until then the one that answered over TCP is no proof of an empty swarm. */
static void dead_waits_until_silence_is_judged(void **state)
{
	struct fix *f = *state;

	f->w->trackers_expected = 4;
	for (uint32_t i = 1; i < 4; i++)
		tracker(f, LT_TRACKER_ASKED, UDP(i), 0);
	tracker(f, LT_TRACKER_ASKED, HTTP(1), 0);
	tracker(f, LT_TRACKER_OK, HTTP(1), 0);
	for (uint32_t i = 1; i < 4; i++)
		tracker(f, LT_TRACKER_FAILED, UDP(i), LT_FAIL_SILENT);
	f->now += SWARM_QUIET_MS;
	f->w->round_done = 1;
	assert_int_equal(verdict(f), VERDICT_UNKNOWN);
	f->now += PATH_SILENT_MS - SWARM_QUIET_MS - 1;
	assert_int_equal(verdict(f), VERDICT_UNKNOWN);
	f->now++;
	assert_int_equal(verdict(f), VERDICT_PATH_BLOCKED);
}

/* One tracker that never answers is a dead one, beside others. */
static void a_silent_tracker_does_not_save_a_dead_swarm(void **state)
{
	struct fix *f = *state;

	f->w->trackers_expected = 2;
	tracker(f, LT_TRACKER_ASKED, UDP(1), 0);
	tracker(f, LT_TRACKER_ASKED, HTTP(1), 0);
	tracker(f, LT_TRACKER_OK, HTTP(1), 0);
	tracker(f, LT_TRACKER_FAILED, UDP(1), LT_FAIL_SILENT);
	f->w->round_done = 1;
	f->now += PATH_SILENT_MS - 1;
	assert_int_equal(verdict(f), VERDICT_UNKNOWN);
	f->now++;
	assert_int_equal(verdict(f), VERDICT_DEAD);
}

static void thin_when_nobody_of_many_answers(void **state)
{
	struct fix *f = *state;

	tracker(f, LT_TRACKER_OK, UDP(1), 0);
	peer(f, LT_PEER_LEARNED, 999, 0);
	dial(f, 3, 1);
	round_over(f);
	assert_int_equal(verdict(f), VERDICT_UNKNOWN); /* one has not had its turn */
	peer(f, LT_PEER_DIALLED, 999, 0);
	assert_int_equal(verdict(f), VERDICT_THIN);
	peer(f, LT_PEER_LEARNED, 998, 0);
	f->now = f->w->joined_ms + VERDICT_DIAL_MS;
	assert_int_equal(verdict(f), VERDICT_THIN); /* it had time enough */
}

static void thin_below_one_in_twenty(void **state)
{
	struct fix *f = *state;

	peer(f, LT_PEER_HANDSHAKE, 1000, 0);
	dial(f, VERDICT_THIN_OF - 1, 1);
	round_over(f);
	assert_int_equal(verdict(f), VERDICT_ALIVE);
	dial(f, 1, 1);
	assert_int_equal(verdict(f), VERDICT_THIN);
	peer(f, LT_PEER_HANDSHAKE, 1001, 0);
	assert_int_equal(verdict(f), VERDICT_ALIVE);
}

/* ---- control probes ---------------------------------------------------------- */

#define CTL_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define CTL_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void control_ids_go_round(void **state)
{
	uint8_t id[IH_LEN];

	(void)state;
	assert_int_equal(control_id("", 0, id), -1);
	assert_int_equal(control_id("nonsense", 0, id), -1);
	assert_int_equal(control_id(CTL_A " , nonsense, " CTL_B, 0, id), 0);
	assert_int_equal(id[0], 0xaa);
	assert_int_equal(control_id(CTL_A "," CTL_B, 1, id), 0);
	assert_int_equal(id[0], 0xbb);
	assert_int_equal(control_id(CTL_A "," CTL_B, 2, id), 0);
	assert_int_equal(id[0], 0xaa);
}

static void a_probe_in_doubt_alone_and_not_too_often(void **state)
{
	struct fix *f = *state;
	struct control k = {0};

	assert_int_equal(verdict_doubt(f->w, f->now), 0);
	round_over(f);
	assert_int_equal(verdict_doubt(f->w, f->now), 1);
	assert_int_equal(control_wanted(&k, &f->p, 0, f->now), 0);
	assert_int_equal(control_wanted(&k, &f->p, 1, f->now), 1);
	path_facts(&f->p, 0, PATH_VPN_NONE, 0);
	(void)path_judge(&f->p, f->now);
	assert_int_equal(control_wanted(&k, &f->p, 1, f->now), 0);
	path_facts(&f->p, 1, PATH_VPN_NONE, 0);
	(void)path_judge(&f->p, f->now);
	f->p.reached_ms = f->now;
	assert_int_equal(control_wanted(&k, &f->p, 1, f->now), 0);
	f->now += CONTROL_PROOF_MS;
	assert_int_equal(control_wanted(&k, &f->p, 1, f->now), 1);
	k.running = 1;
	k.began_ms = f->now;
	assert_int_equal(control_wanted(&k, &f->p, 1, f->now), 0);
	k.running = 0;
	f->now += CONTROL_GAP_MS - 1;
	assert_int_equal(control_wanted(&k, &f->p, 1, f->now), 0);
	f->now++;
	assert_int_equal(control_wanted(&k, &f->p, 1, f->now), 1);
	f->w->control = 1;
	assert_int_equal(verdict_doubt(f->w, f->now), 0); /* not for its own sake */
}

static void a_silent_probe_weighs(void **state)
{
	struct fix *f = *state;
	struct control k = {.running = 1, .began_ms = f->now};
	int answered;

	tracker(f, LT_TRACKER_ASKED, UDP(1), 0);
	assert_int_equal(control_over(&k, f->w, f->now, &answered), 0);
	f->now += CONTROL_MS;
	assert_int_equal(control_over(&k, f->w, f->now, &answered), 1);
	assert_int_equal(answered, 0);
	check(f, PATH_UNKNOWN, PATH_UNKNOWN, PATH_UNKNOWN);
	control_ended(&k, &f->p, 0, 0, f->now);
	assert_int_equal(k.running, 0);
	check(f, PATH_BLOCKED, PATH_BLOCKED, PATH_UNKNOWN);
	f->now++;
	tracker(f, LT_TRACKER_OK, UDP(1), 0); /* what answers afterwards is stronger */
	check(f, PATH_OPEN, PATH_OPEN, PATH_UNKNOWN);
}

/* Its trackers named peers, and none of these was reached: TCP is what fails. */
static void a_probe_with_peers_that_are_out_of_reach(void **state)
{
	struct fix *f = *state;
	struct control k = {.running = 1, .began_ms = f->now};

	tracker(f, LT_TRACKER_OK, UDP(1), 0);
	dial(f, PATH_DIALS, 7);
	f->now += CONTROL_MS;
	check(f, PATH_OPEN, PATH_OPEN, PATH_UNKNOWN);
	control_ended(&k, &f->p, 0, PATH_DIALS, f->now);
	check(f, PATH_BLOCKED, PATH_OPEN, PATH_BLOCKED);
}

static void a_probe_that_answers_opens(void **state)
{
	struct fix *f = *state;
	struct control k = {.running = 1, .began_ms = f->now};
	int answered;

	peer(f, LT_PEER_HANDSHAKE, 1, 0);
	assert_int_equal(control_over(&k, f->w, f->now, &answered), 1);
	assert_int_equal(answered, 1);
	control_ended(&k, &f->p, 1, 1, f->now);
	check(f, PATH_OPEN, PATH_UNKNOWN, PATH_OPEN);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(nothing_heard_is_unknown),
		T(an_answer_opens),
		T(an_error_is_an_answer),
		T(one_silent_tracker_proves_nothing_two_do),
		T(who_refuses_is_not_silent),
		T(names_that_are_not_found_are_silence_of_their_own),
		T(names_alone_are_a_cause),
		T(garbage_speaks_for_neither_side),
		T(dead_trackers_block_nothing),
		T(it_takes_more_while_the_other_side_is_open),
		T(the_dht_speaks_for_udp),
		T(dials_count_by_swarms),
		T(one_swarm_is_one_whatever_its_lives),
		T(utp_speaks_for_udp_and_its_silence_for_nothing),
		T(a_connection_without_a_word_is_a_proof),
		T(bytes_of_a_peer_are_a_proof),
		T(down_is_down_and_begins_anew),
		T(since_moves_with_the_verdict_alone),
		T(callers_make_reachable),
		T(many_trackers_stay_in_the_table),
		T(alive_when_peers_are_reached),
		T(dead_needs_an_open_path_and_sources_that_answer),
		T(a_round_that_runs_is_no_verdict),
		T(silence_of_everything_is_the_path),
		T(a_path_that_breaks_takes_the_swarm_along),
		T(a_blocked_half_is_not_a_dead_swarm),
		T(dead_waits_until_silence_is_judged),
		T(a_silent_tracker_does_not_save_a_dead_swarm),
		T(thin_when_nobody_of_many_answers),
		T(thin_below_one_in_twenty),
		T(control_ids_go_round),
		T(a_probe_in_doubt_alone_and_not_too_often),
		T(a_silent_probe_weighs),
		T(a_probe_with_peers_that_are_out_of_reach),
		T(a_probe_that_answers_opens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

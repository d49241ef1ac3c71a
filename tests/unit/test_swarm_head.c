/* test_swarm_head.c -- the head that is believed, lag, and whether a stream moves on. */
#include "tests/unit/swarm_stage.h"

static int pinned(void **state)
{
	(void)state;
	open_swarm(ACE_MODE_FIRST);
	w->round_done = 1;
	return 0;
}

static void meet_at(unsigned host, int64_t head, int64_t position)
{
	struct acewire_told t = viewer(head);

	t.mi.position = position;
	heard(host, ENGINE);
	(void)called(host, ENGINE);
	answers_with(host, ENGINE, &t);
}

/* Whoever is due now answers with his head of then. */
static int again(unsigned host, int64_t head)
{
	struct acewire_told t = viewer(head);
	struct ace_target due;
	uint32_t at = 0;

	while (swarm_ace_due(w, now, &at, &due))
		if (due.addr[15] == host) {
			swarm_ace_called(w, &due);
			answers_with(host, ENGINE, &t);
			return 1;
		}
	return 0;
}

static uint32_t head_now(void)
{
	struct shm_swarm head;

	(void)list(&head);
	return head.head;
}

static uint32_t lag_of(unsigned host)
{
	swarm_head_measure(w, now);
	return peer_at(host, ENGINE)->ace.lag;
}

static int motion(void)
{
	struct shm_swarm head;

	(void)list(&head);
	return head.motion;
}

/* ---- the head ---------------------------------------------------------------------- */

static void test_the_greatest_claim_is_the_head(void **state)
{
	(void)state;
	assert_int_equal(head_now(), SHM_UNKNOWN);
	meet_at(1, 5060, 5050);
	assert_int_equal(head_now(), 5060);
	meet_at(2, 5063, 5063);
	meet_at(3, 5062, -1);
	assert_int_equal(head_now(), 5063);
	assert_int_equal(lag_of(1), 13);
	assert_int_equal(lag_of(2), 0);
	assert_int_equal(lag_of(3), SHM_UNKNOWN);
}

static void test_a_liar_does_not_win(void **state)
{
	(void)state;
	meet_at(1, 5060, 5050);
	meet_at(2, 5063, 5060);
	meet_at(3, 4000000000, 3999999999);
	meet_at(4, 9000, 8990); /* lies of others are no support */
	assert_int_equal(head_now(), 5063);
	assert_int_equal(lag_of(1), 13);
	assert_int_equal(lag_of(3), 0);
}

/* Its address has many ports. */
static void test_a_liar_with_many_ports_does_not_win(void **state)
{
	struct acewire_told t = viewer(4000000000);

	(void)state;
	for (uint16_t port = 1000; port < 1010; port++) {
		heard(9, port);
		(void)called(9, port);
		answers_with(9, port, &t);
	}
	meet_at(1, 5063, 5060);
	meet_at(2, 5060, 5060);
	assert_int_equal(head_now(), 5063);
}

static void test_more_liars_than_are_looked_at(void **state)
{
	(void)state;
	meet_at(1, 5063, 5060);
	meet_at(2, 5060, 5060);
	for (unsigned i = 0; i < 10; i++)
		meet_at(10 + i, 1000000 * (int64_t)(i + 1), -1);
	assert_int_equal(head_now(), 5063);
}

/* Two that are far apart: the lower one, until the other is seen to move on. */
static void test_who_moves_on_is_believed(void **state)
{
	(void)state;
	meet_at(1, 4000, 4000);
	meet_at(2, 9000, 9000);
	assert_int_equal(head_now(), 4000);
	later(1000); /* the second look begins */
	later(LOOK - 1000);
	assert_true(again(2, 9040));
	assert_true(again(1, 4000));
	assert_int_equal(head_now(), 9040);
	later(1000);
	assert_int_equal(motion(), MOTION_ADVANCING);
	assert_int_equal(lag_of(1), 5043);
}

/* One of many, and his own word for it. */
static void test_a_liar_that_moves_on_does_not_win(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 20; i++)
		meet_at(i, 5100, 5098);
	meet_at(99, 4000000000, 4000000000);
	later(1000);
	later(LOOK - 1000);
	for (unsigned i = 1; i <= 20; i++)
		(void)again(i, 5100);
	assert_true(again(99, 4000000040));
	assert_int_equal(head_now(), 5100);
	later(1000);
	assert_int_equal(head_now(), 5100);
	assert_int_equal(motion(), MOTION_STALE); /* nor is it his word that it moves */
	assert_in_range(lag_of(1), 2, 3);
}

/* It was restarted, or says so to be called. */
static void test_a_head_that_goes_back_is_looked_at_once(void **state)
{
	int calls = 0;

	(void)state;
	meet_at(1, 5000, 5000);
	for (uint32_t t = 0, head = 4000; t < 2 * REVISIT; t += 1000) {
		later(1000);
		if (again(1, head)) {
			head -= 100;
			calls++;
		}
	}
	assert_in_range(calls, 2, 4); /* two revisits, each with its second look */
}

/* A minute at one piece per second is no lie. */
static void test_time_between_samples_explains_a_difference(void **state)
{
	(void)state;
	meet_at(1, 5000, 4998);
	now += 10 * 60000;
	meet_at(2, 5600, 5598);
	assert_int_equal(head_now(), 5600);
}

static void test_old_claims_are_forgotten(void **state)
{
	(void)state;
	meet_at(1, 9000, 9000);
	meet_at(2, 9000, 9000);
	now += REVISIT + ACE_REACH_MS; /* its source began anew */
	heard(3, ENGINE);
	assert_true(again(3, 10));
	assert_int_equal(head_now(), 10);
}

static void test_a_twin_does_not_support(void **state)
{
	struct acewire_told t = viewer(4000000000);

	(void)state;
	t.sig = AW_SIG_GOOD;
	memset(t.who, 9, sizeof(t.who));
	for (unsigned i = 8; i <= 9; i++) {
		heard(i, ENGINE);
		(void)called(i, ENGINE);
		answers_with(i, ENGINE, &t);
	}
	meet_at(1, 5063, 5060);
	meet_at(2, 5063, 5060);
	assert_int_equal(head_now(), 5063);
}

/* ---- lag ---------------------------------------------------------------------------- */

static void test_far_samples_are_not_compared(void **state)
{
	(void)state;
	meet_at(1, 5000, 4998);
	assert_int_equal(lag_of(1), 2);
	now += 60000;
	meet_at(2, 5060, 5059);
	assert_int_equal(lag_of(1), 2); /* as it was then */
	assert_int_equal(lag_of(2), 1);
}

static void test_measured_pieces_compare_far_samples(void **state)
{
	(void)state;
	w->ace.piece_ms = 1000;
	w->ace.motion = MOTION_ADVANCING;
	meet_at(1, 4990, 4988); /* ten pieces behind, it turns out */
	now += 60000;
	meet_at(2, 5060, 5059);
	assert_int_equal(lag_of(1), 12);
	now += 60000;
	meet_at(3, 5110, 5100); /* it lags itself: of then the head was 5120 */
	meet_at(4, 5120, 5120);
	assert_int_equal(lag_of(3), 20);
	assert_int_equal(lag_of(1), 12);
}

/* ---- the second look -------------------------------------------------------------------- */

static void meet_many(unsigned n, int64_t head)
{
	for (unsigned i = 1; i <= n; i++)
		meet_at(i, head, head - 2);
}

static int due_now(void)
{
	struct ace_target t;
	uint32_t at = 0;
	int n = 0;

	while (swarm_ace_due(w, now, &at, &t))
		n++;
	return n;
}

static void test_three_of_many_are_looked_at_again(void **state)
{
	(void)state;
	meet_many(10, 5000);
	later(1000);
	assert_int_equal(motion(), MOTION_UNPROVEN);
	later(LOOK - 1001);
	assert_int_equal(due_now(), 0);
	later(1);
	assert_int_equal(due_now(), ACE_LOOKS);
	for (unsigned i = 1; i <= 10; i++)
		(void)again(i, 5050);
	later(1000);
	assert_int_equal(motion(), MOTION_ADVANCING);
	assert_int_equal(w->ace.piece_ms, LOOK / 50);
	assert_int_equal(due_now(), 0);
	/* and again in half an hour, with everybody's next sample */
	later(REVISIT - 2000);
	assert_int_equal(due_now(), 7);
}

static void test_who_stands_still_is_stale(void **state)
{
	struct shm_swarm head;

	(void)state;
	meet_many(3, 5000);
	later(1000);
	later(LOOK - 1000);
	for (unsigned i = 1; i <= 3; i++)
		assert_true(again(i, 5000));
	later(1000);
	(void)list(&head);
	assert_int_equal(head.motion, MOTION_STALE);
	assert_int_equal(head.motion_s, wall_s());
	assert_int_equal(head.piece_ms, 0);
}

static void test_a_proof_grows_old(void **state)
{
	uint64_t lately = w->ace.revisit_ms + ACE_REACH_MS;
	struct shm_swarm head;
	uint32_t then_s;

	(void)state;
	meet_many(3, 5000);
	later(1000);
	later(LOOK - 1000);
	assert_true(again(1, 5040));
	for (unsigned i = 2; i <= 3; i++)
		assert_true(again(i, 5040));
	later(1000);
	(void)list(&head);
	assert_int_equal(head.motion, MOTION_ADVANCING);
	then_s = head.motion_s;
	for (uint64_t ms = 0; ms < 3000;
	     ms += 7, now += 7) { /* whenever it is published */
		(void)list(&head);
		assert_int_equal(head.motion_s, then_s);
	}
	w->peer[0].ace.shaken_ms = now; /* somebody answers still */
	later(lately - 3 * 1000 - 100);
	assert_int_equal(motion(), MOTION_ADVANCING);
	later(1000);
	(void)list(&head);
	assert_int_equal(head.motion, MOTION_UNPROVEN);
	assert_int_equal(head.motion_s, 0);
}

static void test_nobody_left_is_no_proof(void **state)
{
	(void)state;
	meet_many(2, 5000);
	w->ace.motion = MOTION_ADVANCING;
	w->ace.motion_ms = now;
	later(1000);
	assert_int_equal(motion(), MOTION_ADVANCING);
	w->changed_ms = 0;
	for (uint32_t i = 0; i < w->npeers; i++)
		w->peer[i].ace.shaken_ms = 0;
	later(1000);
	assert_int_equal(w->important, 1);
	assert_int_equal(motion(), MOTION_UNPROVEN);
}

/* Too soon to say: look again. */
static void test_stale_takes_half_a_minute(void **state)
{
	(void)state;
	w->ace.second_look_ms = 3000;
	meet_many(3, 5000);
	later(1000);
	later(2000);
	for (unsigned i = 1; i <= 3; i++)
		assert_true(again(i, 5000));
	later(1000);
	assert_int_equal(motion(), MOTION_UNPROVEN);
	later(ACE_STALE_MS - 4001);
	assert_int_equal(due_now(), 0);
	later(1);
	for (unsigned i = 1; i <= 3; i++)
		assert_true(again(i, 5000));
	later(1000);
	assert_int_equal(motion(), MOTION_STALE);
}

/* Four pieces of twenty seconds. */
static void test_stale_takes_four_pieces(void **state)
{
	(void)state;
	w->ace.piece_ms = 20000;
	meet_many(2, 5000);
	later(1000);
	later(LOOK - 1000);
	assert_true(again(1, 5000) && again(2, 5000));
	later(1000);
	assert_int_equal(motion(), MOTION_UNPROVEN);
	later(80000 - LOOK - 1000);
	assert_true(again(1, 5000) && again(2, 5000));
	later(1000);
	assert_int_equal(motion(), MOTION_STALE);
}

static void test_one_that_moves_makes_it_live(void **state)
{
	(void)state;
	meet_many(3, 5000);
	later(1000);
	later(LOOK - 1000);
	assert_true(again(1, 5000) && again(2, 5040) && again(3, 5000));
	later(1000);
	assert_int_equal(motion(), MOTION_ADVANCING);
	assert_int_equal(w->ace.piece_ms, 1000);
	assert_int_equal(head_now(), 5040);
}

static void test_a_leap_is_no_motion(void **state)
{
	(void)state;
	meet_many(3, 5000);
	later(1000);
	later(LOOK - 1000);
	assert_true(again(1, 4000000000) && again(2, 5000) && again(3, 4000));
	later(1000);
	assert_int_equal(motion(), MOTION_STALE);
	assert_int_equal(head_now(), 5000);
}

static void test_others_are_looked_at_if_they_are_gone(void **state)
{
	(void)state;
	meet_many(5, 5000);
	later(1000);
	later(LOOK - 1000);
	for (unsigned i = 1; i <= 5; i++) {
		struct ace_target t;
		uint32_t at = 0;

		if (!swarm_ace_due(w, now, &at, &t))
			break;
		swarm_ace_called(w, &t);
		fails_at(t.addr[15], ENGINE, ACE_REFUSED);
	}
	later(1000);
	assert_int_equal(w->ace.looking, 2);
	assert_int_equal(due_now(), 2);
	assert_true(again(4, 5050) + again(5, 5050) + again(1, 5050) == 2);
	later(1000);
	assert_int_equal(motion(), MOTION_ADVANCING);
}

static void test_one_that_goes_is_not_waited_for(void **state)
{
	(void)state;
	meet_many(2, 5000);
	later(1000);
	later(LOOK - 1000);
	assert_true(again(1, 5050));
	swarm_forget(w, peer_at(2, ENGINE)->addr, ENGINE);
	later(1000);
	assert_int_equal(motion(), MOTION_ADVANCING);
	assert_int_equal(w->ace.looking, 0);
}

/* What moved on, then stands still, is stale the next time. */
static void test_the_next_round_judges_anew(void **state)
{
	(void)state;
	meet_many(3, 5000);
	later(1000);
	later(LOOK - 1000);
	assert_true(again(1, 5050) && again(2, 5050) && again(3, 5050));
	later(1000);
	assert_int_equal(motion(), MOTION_ADVANCING);
	later(REVISIT);
	assert_true(again(1, 6000) && again(2, 6000) && again(3, 6000));
	later(1000);
	assert_int_equal(motion(), MOTION_ADVANCING);
	later(LOOK);
	assert_true(again(1, 6000) && again(2, 6000) && again(3, 6000));
	later(1000);
	assert_int_equal(motion(), MOTION_STALE);
}

/* With a pause that is longer than acestream.revisit. */
static void test_a_look_puts_no_call_off(void **state)
{
	(void)state;
	w->ace.second_look_ms = 2 * REVISIT;
	meet_many(3, 5000);
	later(1000);
	later(REVISIT - 1000);
	assert_int_equal(due_now(), 3);
	assert_true(again(1, 6000) && again(2, 6000) && again(3, 6000));
	later(1000);
	assert_int_equal(motion(), MOTION_ADVANCING);
}

static void test_nothing_is_looked_at_without_a_head(void **state)
{
	struct acewire_told t = viewer(-1);

	(void)state;
	t.saw = AW_SAW_EXT;
	t.mi.min_piece = t.mi.position = t.mi.live_window_size = -1;
	heard(1, ENGINE);
	(void)called(1, ENGINE);
	answers_with(1, ENGINE, &t);
	later(1000);
	later(2 * LOOK);
	assert_int_equal(due_now(), 0);
	assert_int_equal(head_now(), SHM_UNKNOWN);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, pinned, stage_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_greatest_claim_is_the_head),
		TEST(test_a_liar_does_not_win),
		TEST(test_a_liar_with_many_ports_does_not_win),
		TEST(test_more_liars_than_are_looked_at),
		TEST(test_who_moves_on_is_believed),
		TEST(test_a_liar_that_moves_on_does_not_win),
		TEST(test_a_head_that_goes_back_is_looked_at_once),
		TEST(test_time_between_samples_explains_a_difference),
		TEST(test_old_claims_are_forgotten),
		TEST(test_a_twin_does_not_support),
		TEST(test_far_samples_are_not_compared),
		TEST(test_measured_pieces_compare_far_samples),
		TEST(test_three_of_many_are_looked_at_again),
		TEST(test_who_stands_still_is_stale),
		TEST(test_a_proof_grows_old),
		TEST(test_nobody_left_is_no_proof),
		TEST(test_stale_takes_half_a_minute),
		TEST(test_stale_takes_four_pieces),
		TEST(test_one_that_moves_makes_it_live),
		TEST(test_a_leap_is_no_motion),
		TEST(test_others_are_looked_at_if_they_are_gone),
		TEST(test_one_that_goes_is_not_waited_for),
		TEST(test_the_next_round_judges_anew),
		TEST(test_a_look_puts_no_call_off),
		TEST(test_nothing_is_looked_at_without_a_head),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

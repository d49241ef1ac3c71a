/* test_swarm_ace.c -- which protocol, who is called and when again, who is who. */
#include "tests/unit/swarm_stage.h"

static int off(void **state)
{
	(void)state;
	open_swarm(ACE_MODE_OFF);
	return 0;
}

static int maybe(void **state)
{
	(void)state;
	open_swarm(ACE_MODE_MAYBE);
	return 0;
}

static int first(void **state)
{
	(void)state;
	open_swarm(ACE_MODE_FIRST);
	return 0;
}

/* ---- whose turn ---------------------------------------------------------------------- */

/* Heard of, called; it hangs up. */
static void hangs_up(unsigned host, uint16_t port)
{
	heard(host, port);
	(void)called(host, port);
	fails_at(host, port, ACE_ZERO);
}

/* The first round finds three that speak BitTorrent. */
static void three_shake(void)
{
	for (unsigned i = 1; i <= 3; i++)
		session_shakes(i, TORRENT);
	w->round_done = 1;
}

static void test_engines_ports(void **state)
{
	(void)state;
	for (uint32_t port = 1; port <= UINT16_MAX; port++)
		assert_int_equal(acewire_port((uint16_t)port),
				 port == 8621 || port == 8622 || port == 8623 ||
					 port == 7764);
}

static void test_maybe_goes_by_port(void **state)
{
	(void)state;
	heard(1, TORRENT);
	assert_true(nobody_is_due());
	heard(2, ENGINE);
	(void)called(2, ENGINE);
	assert_true(nobody_is_due());
	session(LT_PEER_LEARNED, 3, ENGINE, 0, 0); /* the session leaves it alone */
	assert_int_equal(visit_due(), -1);
	(void)called(3, ENGINE);
	assert_true(swarm_ace_joins(w));
	assert_false(swarm_ace_quiet(w));
}

static void test_first_calls_everybody(void **state)
{
	(void)state;
	assert_false(swarm_ace_joins(w));
	heard(1, TORRENT);
	(void)called(1, TORRENT);
}

static void test_a_torrent_is_not_called(void **state)
{
	(void)state;
	heard(1, ENGINE);
	assert_true(nobody_is_due());
	/* What the port filter keeps from the session is visited at once, and once. */
	session(LT_PEER_LEARNED, 2, ENGINE, 0, 0);
	assert_int_equal(visit_due(), LT_WAY_PLAIN);
	session(LT_PEER_LEARNED, 2, ENGINE, 0, 0);
	session(LT_PEER_DIALLED, 2, ENGINE, LT_WAY_PLAIN, 0);
	session(LT_PEER_LEARNED, 2, ENGINE, 0, 0);
	assert_int_equal(visit_due(), -1);
}

static void test_a_pinned_torrent_visits_filtered_ones(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 3; i++)
		session_shakes(i, TORRENT);
	now += SWARM_TELL_MS;
	assert_true(round_done());
	later(1000);
	assert_int_equal(w->ace.mode, ACE_MODE_BT);
	session(LT_PEER_LEARNED, 9, ENGINE, 0, 0);
	assert_int_equal(visit_due(), LT_WAY_PLAIN);
	assert_true(nobody_is_due());
}

/* Whom we had called before we knew: not on the heels of that. */
static void test_a_pin_visits_who_was_called_a_while_later(void **state)
{
	(void)state;
	hangs_up(9, ENGINE);
	three_shake();
	later(1000);
	assert_int_equal(w->ace.mode, ACE_MODE_BT);
	later(OTHER - 1001);
	assert_int_equal(visit_due(), -1);
	later(1);
	assert_int_equal(visit_due(), LT_WAY_PLAIN);
	session_fails(9, ENGINE, LT_WAY_PLAIN, 1);
	assert_int_equal(visit_due(), LT_WAY_ENCRYPTED);
	later(OTHER);
	assert_true(nobody_is_due());
}

/* It is being visited just then. */
static void test_a_pin_does_not_visit_twice(void **state)
{
	(void)state;
	hangs_up(9, ENGINE);
	later(OTHER);
	assert_int_equal(visit_due(), LT_WAY_PLAIN);
	session(LT_PEER_DIALLED, 9, ENGINE, LT_WAY_PLAIN, 0);
	three_shake();
	later(100);
	assert_int_equal(w->ace.mode, ACE_MODE_BT);
	later(1000);
	assert_int_equal(visit_due(), -1);
}

/* ---- the other protocol --------------------------------------------------------------- */

static void test_silence_in_acestream_is_tried_in_bittorrent_once(void **state)
{
	(void)state;
	w->round_done = 1;
	heard(1, ENGINE);
	(void)called(1, ENGINE);
	now += 100;
	fails_at(1, ENGINE, ACE_ZERO);
	later(OTHER - 1);
	assert_int_equal(visit_due(), -1);
	later(1);
	assert_int_equal(visit_due(), LT_WAY_PLAIN);
	session_fails(1, ENGINE, LT_WAY_PLAIN, 1);
	assert_int_equal(visit_due(), LT_WAY_ENCRYPTED);
	session_fails(1, ENGINE, LT_WAY_ENCRYPTED, 1);
	assert_int_equal(visit_due(), LT_WAY_UTP);
	session_fails(1, ENGINE, LT_WAY_UTP, 0);
	/* then it is an engine's port again, with its own pauses, and visited no more */
	now += ACE_AGAIN_1_MS;
	(void)called(1, ENGINE);
	fails_at(1, ENGINE, ACE_ZERO);
	later(2 * (uint64_t)OTHER);
	swarm_plan(w, now, 1, 1);
	swarm_plan(w, now + 1, 1, 1);
	assert_int_equal(visit_due(), -1);
}

static void test_silence_in_bittorrent_is_tried_in_acestream_once(void **state)
{
	(void)state;
	session(LT_PEER_LEARNED, 1, TORRENT, 0, 0);
	session_fails(1, TORRENT, LT_WAY_PLAIN, 1);
	assert_int_equal(visit_due(), LT_WAY_ENCRYPTED);
	session_fails(1, TORRENT, LT_WAY_ENCRYPTED, 1);
	assert_int_equal(visit_due(), LT_WAY_UTP);
	later(OTHER);
	assert_true(nobody_is_due()); /* not before all ways were tried */
	session_fails(1, TORRENT, LT_WAY_UTP, 0);
	later(OTHER - 1);
	assert_true(nobody_is_due());
	later(1);
	(void)called(1, TORRENT);
	fails_at(1, TORRENT, ACE_ZERO);
	assert_int_equal(peer_at(1, TORRENT)->ace.turn, PEER_BITTORRENT);
	later(OTHER);
	w->revisit_ms = now; /* another round of BitTorrent */
	swarm_plan(w, now, 1000, 1000);
	for (int way = visit_due(); way >= 0; way = visit_due())
		session_fails(1, TORRENT, (enum lt_way)way, 1);
	later(7 * 86400000ull);
	assert_true(nobody_is_due());
}

/* A torrent's peer: twice it hangs up, and has no uTP. */
static void fails_in_bittorrent(unsigned host)
{
	session_fails(host, TORRENT, LT_WAY_PLAIN, 1);
	(void)visit_due();
	session_fails(host, TORRENT, LT_WAY_ENCRYPTED, 1);
	(void)visit_due();
	session_fails(host, TORRENT, LT_WAY_UTP, 0);
}

static void test_a_visit_meanwhile_puts_the_other_protocol_off(void **state)
{
	(void)state;
	fails_in_bittorrent(1);
	later(OTHER - 5000);
	session(LT_PEER_DIALLED, 1, TORRENT, LT_WAY_PLAIN, 0);
	later(6000);
	assert_true(nobody_is_due()); /* a connection is there */
	session(LT_PEER_GONE, 1, TORRENT, LT_WAY_PLAIN, 1);
	later(OTHER - 1);
	assert_true(nobody_is_due());
	later(1);
	(void)called(1, TORRENT);
	/* nor is it visited on the heels of the call */
	fails_at(1, TORRENT, ACE_ZERO);
	w->revisit_ms = now;
	swarm_plan(w, now, 1000, 1000);
	assert_int_equal(visit_due(), -1);
	now += OTHER;
	swarm_plan(w, now, 1000, 1000);
	assert_int_equal(visit_due(), LT_WAY_PLAIN);
}

static void test_who_refuses_speaks_nothing(void **state)
{
	(void)state;
	session_fails(1, TORRENT, LT_WAY_PLAIN, 0);
	(void)visit_due();
	session_fails(1, TORRENT, LT_WAY_UTP, 0);
	later(2 * (uint64_t)OTHER);
	assert_true(nobody_is_due());
	heard(2, ENGINE);
	(void)called(2, ENGINE);
	fails_at(2, ENGINE, ACE_REFUSED);
	later(2 * (uint64_t)OTHER);
	assert_int_equal(visit_due(), -1);
}

/* Its reply counts, not our guess. */
static void test_a_reply_in_bittorrent_is_believed(void **state)
{
	(void)state;
	heard(1, ENGINE);
	(void)called(1, ENGINE);
	fails_at(1, ENGINE, ACE_BITTORRENT);
	assert_int_equal(swarm_ace_speaks(peer_at(1, ENGINE)), PEER_BITTORRENT);
	later(OTHER);
	assert_int_equal(visit_due(), LT_WAY_PLAIN);
	session_shakes(1, ENGINE);
	later(7 * 86400000ull);
	assert_true(nobody_is_due());
}

static void test_who_answers_is_not_visited_too(void **state)
{
	(void)state;
	fails_in_bittorrent(1);
	later(OTHER);
	(void)called(1, TORRENT);
	answers(1, TORRENT);
	assert_int_equal(swarm_ace_speaks(peer_at(1, TORRENT)), PEER_ACESTREAM);
	w->revisit_ms = now;
	swarm_plan(w, now, 1000, 1000);
	assert_int_equal(visit_due(), -1);
}

/* ---- pins ------------------------------------------------------------------------------ */

static void meet_three(void)
{
	for (unsigned i = 1; i <= 3; i++)
		meet(i, ENGINE);
	w->round_done = 1;
	later(1000);
}

static void test_three_answers_pin(void **state)
{
	(void)state;
	session(LT_PEER_LEARNED, 9, TORRENT, 0, 0);
	session_fails(9, TORRENT, LT_WAY_PLAIN, 1);
	meet(1, ENGINE);
	meet(2, ENGINE);
	w->round_done = 1;
	later(1000);
	assert_int_equal(w->ace.mode, ACE_MODE_MAYBE);
	w->round_done = 0;
	meet(3, ENGINE);
	later(1000);
	assert_int_equal(w->ace.mode, ACE_MODE_MAYBE); /* after the first round */
	w->round_done = 1;
	later(1000);
	assert_int_equal(w->ace.mode, ACE_MODE_PINNED);
	assert_false(swarm_ace_joins(w));
	/* who hung up on us in BitTorrent is called now, but not at once */
	assert_int_equal(visit_due(), -1);
	assert_true(nobody_is_due());
	later(OTHER);
	(void)called(9, TORRENT);
	hangs_up(10, TORRENT);
	later(OTHER);
	assert_int_equal(visit_due(), -1); /* and nobody in BitTorrent */
}

static void test_answers_in_both_pin_nothing(void **state)
{
	(void)state;
	session_shakes(9, TORRENT);
	meet_three();
	assert_int_equal(w->ace.mode, ACE_MODE_MAYBE);
	assert_int_equal(swarm_ace_protocol(w), PEER_ACESTREAM);
}

static void test_first_is_pinned_too(void **state)
{
	(void)state;
	meet_three();
	assert_int_equal(w->ace.mode, ACE_MODE_PINNED);
}

static void so_many_hang_up(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		hangs_up(100 + i, ENGINE);
}

static void test_twenty_hang_ups_unpin(void **state)
{
	(void)state;
	meet_three();
	so_many_hang_up(ACE_UNPIN_FAILS - 1);
	heard(50, ENGINE);
	(void)called(50, ENGINE);
	fails_at(50, ENGINE, ACE_REFUSED); /* says nothing about the protocol */
	later(1000);
	assert_int_equal(w->ace.mode, ACE_MODE_PINNED);
	hangs_up(51, ENGINE);
	later(1000);
	assert_int_equal(w->ace.mode, ACE_MODE_MAYBE);
	assert_int_equal(visit_due(), -1);
	later(OTHER - 1000);
	assert_int_equal(w->ace.mode, ACE_MODE_MAYBE); /* old answers don't count */
	assert_int_equal(w->plans, ACE_UNPIN_FAILS);   /* they may speak BitTorrent */
}

static void test_an_answer_between_hang_ups_keeps_the_pin(void **state)
{
	(void)state;
	meet_three();
	so_many_hang_up(ACE_UNPIN_FAILS - 1);
	meet(60, ENGINE);
	hangs_up(61, ENGINE);
	later(1000);
	assert_int_equal(w->ace.mode, ACE_MODE_PINNED);
}

static void test_a_day_unpins_who_is_silent(void **state)
{
	(void)state;
	meet_three();
	now += ACE_PIN_MS - 2000;
	later(0);
	assert_int_equal(w->ace.mode, ACE_MODE_PINNED);
	later(2000);
	assert_int_equal(w->ace.mode, ACE_MODE_MAYBE);
}

static void test_a_day_with_answers_changes_nothing(void **state)
{
	(void)state;
	meet_three();
	now += ACE_PIN_MS - 60000;
	for (unsigned i = 1; i <= 3; i++) {
		peer_at(i, ENGINE)->ace.calling = 1;
		answers(i, ENGINE);
	}
	now += 60000;
	assert_false(swarm_ace_tick(w, now));
	assert_int_equal(w->ace.mode, ACE_MODE_PINNED);
}

/* Unpinned, a swarm that an engine knows is what it was. */
static void test_first_unpins_to_first(void **state)
{
	(void)state;
	meet_three();
	so_many_hang_up(ACE_UNPIN_FAILS);
	later(1000);
	assert_int_equal(w->ace.mode, ACE_MODE_FIRST);
}

/* In all ways. */
static void hangs_up_in_bittorrent(unsigned host)
{
	session_fails(host, TORRENT, LT_WAY_PLAIN, 1);
	for (int way = visit_due(); way >= 0; way = visit_due())
		session_fails(host, TORRENT, (enum lt_way)way, 1);
}

static void test_a_connection_keeps_the_bittorrent_pin(void **state)
{
	(void)state;
	three_shake();
	later(1000);
	for (unsigned i = 2; i <= 3; i++)
		session(LT_PEER_GONE, i, TORRENT, LT_WAY_PLAIN, 1);
	for (unsigned i = 100; i < 100 + ACE_UNPIN_FAILS; i++)
		hangs_up_in_bittorrent(i);
	assert_int_equal(w->ace.straight, ACE_UNPIN_FAILS);
	later(1000);
	assert_int_equal(w->ace.mode, ACE_MODE_BT);
	session(LT_PEER_GONE, 1, TORRENT, LT_WAY_PLAIN, 1);
	for (unsigned i = 200; i < 200 + ACE_UNPIN_FAILS; i++)
		hangs_up_in_bittorrent(i);
	later(1000);
	assert_int_equal(w->ace.mode, ACE_MODE_MAYBE);
}

/* Known to be AceStream's, and nobody answers: it is joined, but told to nobody. */
static void test_first_becomes_a_quiet_maybe(void **state)
{
	(void)state;
	w->round_done = 1;
	heard(1, TORRENT);
	heard(2, TORRENT);
	assert_int_equal(call_all(&(struct ace_target){.port = 0}), 2);
	fails_at(1, TORRENT, ACE_TIMEOUT);
	later(OTHER);
	assert_int_equal(w->ace.mode, ACE_MODE_FIRST);
	fails_at(2, TORRENT, ACE_ZERO);
	later(OTHER - 1);
	assert_int_equal(w->ace.mode, ACE_MODE_FIRST);
	later(1);
	assert_int_equal(w->ace.mode, ACE_MODE_MAYBE);
	assert_true(swarm_ace_joins(w) && swarm_ace_quiet(w));
	assert_int_equal(visit_due(), LT_WAY_PLAIN);
	heard(3, TORRENT);
	(void)called(3, TORRENT); /* AceStream first, whatever the port */
}

static void test_first_with_an_answer_stays(void **state)
{
	(void)state;
	w->round_done = 1;
	meet(1, TORRENT);
	hangs_up(2, TORRENT);
	later(OTHER);
	assert_int_equal(w->ace.mode, ACE_MODE_FIRST);
}

static void test_an_engines_word_comes_late(void **state)
{
	(void)state;
	heard(1, TORRENT);
	swarm_ace_meant(w, ACE_MODE_FIRST, now);
	assert_int_equal(w->ace.mode, ACE_MODE_FIRST);
	(void)called(1, TORRENT);
	swarm_ace_meant(w, ACE_MODE_MAYBE, now); /* is not unsaid */
	assert_int_equal(w->ace.mode, ACE_MODE_FIRST);
}

static void test_an_engines_word_does_not_unsay_peers(void **state)
{
	(void)state;
	session_shakes(1, TORRENT);
	swarm_ace_meant(w, ACE_MODE_FIRST, now);
	assert_int_equal(w->ace.mode, ACE_MODE_MAYBE);
	for (unsigned i = 2; i <= 3; i++)
		session_shakes(i, TORRENT);
	w->round_done = 1;
	later(1000);
	assert_int_equal(w->ace.mode, ACE_MODE_BT);
}

static void test_metadata_is_stronger_than_an_engines_word(void **state)
{
	(void)state;
	w->pieces = 10;
	swarm_ace_meant(w, ACE_MODE_FIRST, now);
	assert_int_equal(w->ace.mode, ACE_MODE_MAYBE);
	assert_false(swarm_ace_quiet(w));
}

static void test_switched_off_and_on(void **state)
{
	(void)state;
	meet(3, ENGINE);
	peer_at(3, ENGINE)->tried = 1; /* in BitTorrent, once: this one is not visited */
	heard(1, ENGINE);
	conf.acestream_peers = 0;
	swarm_ace_configure(w, &conf, now);
	assert_int_equal(w->ace.mode, ACE_MODE_OFF);
	assert_true(nobody_is_due());
	assert_int_equal(swarm_ace_speaks(peer_at(3, ENGINE)), PEER_BITTORRENT);
	later(0);
	assert_int_equal(visit_due(), LT_WAY_PLAIN);
	conf.acestream_peers = 1;
	swarm_ace_configure(w, &conf, now);
	assert_int_equal(w->ace.mode, ACE_MODE_MAYBE);
	heard(2, ENGINE);
	(void)called(2, ENGINE);
	/* as before: who answered is shown so, and called when it would have been */
	assert_int_equal(swarm_ace_speaks(peer_at(3, ENGINE)), PEER_ACESTREAM);
	session(LT_PEER_DIALLED, 1, ENGINE, LT_WAY_PLAIN, 0);
	session(LT_PEER_GONE, 1, ENGINE, LT_WAY_PLAIN, 0);
	now += OTHER;
	(void)called(1, ENGINE);
	fails_at(1, ENGINE, ACE_TIMEOUT);
	fails_at(2, ENGINE, ACE_TIMEOUT);
	now += REVISIT - OTHER;
	assert_int_equal(call_all(&(struct ace_target){.port = 0}), 3);
}

/* However long it was off, and whatever the mode was. */
static void test_switched_on_everybody_is_called(void **state)
{
	struct ace_target t;

	(void)state;
	meet(1, ENGINE);
	meet(2, TORRENT);
	assert_true(swarm_ace_reached(w, peer_at(2, TORRENT), now));
	conf.acestream_peers = 0;
	swarm_ace_configure(w, &conf, now);
	now += 2 * REVISIT;
	assert_int_equal(call_all(&t), 0);
	conf.acestream_peers = 1;
	swarm_ace_configure(w, &conf, now);
	assert_int_equal(call_all(&t), 2);
}

/* It answered on a port that is no engine's. */
static void test_off_and_on_after_a_turn(void **state)
{
	struct acewire_rec rec = {.port = TORRENT};
	struct swarm_news news;
	char client[AW_CLIENT_MAX];

	(void)state;
	addr_of(rec.addr, 1);
	assert_non_null(swarm_ace_gossip(w, &rec, 0, now, wall_s(), &news, client));
	(void)called(1, TORRENT);
	answers(1, TORRENT);
	conf.acestream_peers = 0;
	swarm_ace_configure(w, &conf, now);
	now += REVISIT;
	conf.acestream_peers = 1;
	swarm_ace_configure(w, &conf, now);
	assert_int_equal(w->ace.mode, ACE_MODE_MAYBE);
	(void)called(1, TORRENT);
}

/* ---- what is remembered of who is forgotten ------------------------------------------------ */

static struct acepast *past;

static int remembering(void **state)
{
	(void)maybe(state);
	assert_int_equal(acepast_open(&past), 0);
	w->ace.past = past;
	return 0;
}

static int remembering_close(void **state)
{
	(void)stage_close(state);
	acepast_close(&past);
	return 0;
}

/* The swarm is left, and asked for again. */
static void anew(void)
{
	uint8_t addr[ADDR_LEN];

	while (w->npeers) {
		memcpy(addr, w->peer[0].addr, ADDR_LEN);
		swarm_forget(w, addr, w->peer[0].port);
	}
}

/* A tracker names a peer each 1802 s, and it is forgotten between. */
static int calls_in(uint64_t ms, enum ace_outcome how)
{
	uint64_t end = now + ms;
	struct ace_target t;
	int n = 0;

	for (; now < end; now += 1802000) {
		anew();
		heard(1, ENGINE);
		for (int i = 0; i < 60; i++, now += 30000) {
			int called_now = call_all(&t);

			n += called_now;
			if (called_now)
				fails_at(1, ENGINE, how);
		}
		now -= 1800000;
	}
	return n;
}

static void test_who_is_forgotten_is_not_called_more_often(void **state)
{
	(void)state;
	/* at 0, 10 min, 1 h 10, 7 h 10, 13 h 10, 19 h 10 */
	assert_in_range(calls_in(86400000, ACE_TIMEOUT), 4, 6);
	now += 2 * ACEPAST_MS;
	assert_in_range(calls_in(86400000, ACE_ZERO), 4, 6);
	now += 2 * ACEPAST_MS;
	assert_int_equal(calls_in(86400000, ACE_REFUSED), ACE_REFUSALS);
}

static void test_a_day_unseen_is_forgotten(void **state)
{
	(void)state;
	heard(1, ENGINE);
	(void)called(1, ENGINE);
	fails_at(1, ENGINE, ACE_REFUSED);
	anew();
	heard(1, ENGINE);
	assert_true(nobody_is_due());
	anew();
	now += ACEPAST_MS;
	heard(1, ENGINE);
	assert_int_equal(peer_at(1, ENGINE)->ace.fails, 0);
	(void)called(1, ENGINE);
}

static void test_three_refusals_last_until_another_names_it(void **state)
{
	(void)state;
	for (int i = 0; i < ACE_REFUSALS; i++) {
		anew();
		heard(1, ENGINE);
		(void)called(1, ENGINE);
		fails_at(1, ENGINE, ACE_REFUSED);
		now += ACE_AGAIN_3_MS;
	}
	anew();
	heard(1, ENGINE); /* the same source again */
	assert_true(nobody_is_due());
	anew();
	heard_as(1, ENGINE, PEER_SRC_DHT, 0);
	(void)called(1, ENGINE);
}

static void test_an_answer_ends_what_is_remembered(void **state)
{
	(void)state;
	heard(1, ENGINE);
	(void)called(1, ENGINE);
	fails_at(1, ENGINE, ACE_TIMEOUT);
	anew();
	heard(1, ENGINE);
	now += ACE_AGAIN_1_MS;
	(void)called(1, ENGINE);
	answers(1, ENGINE);
	anew();
	heard(1, ENGINE);
	(void)called(1, ENGINE);
}

/* On an engine's port, but not an engine: BitTorrent's at once the next time. */
static void test_it_is_remembered_who_speaks_bittorrent(void **state)
{
	(void)state;
	heard(1, ENGINE);
	(void)called(1, ENGINE);
	fails_at(1, ENGINE, ACE_BITTORRENT);
	anew();
	session(LT_PEER_LEARNED, 1, ENGINE, 0, 0);
	assert_true(nobody_is_due());
	assert_int_equal(visit_due(), LT_WAY_PLAIN);
}

static void test_who_was_silent_then_answered_in_bittorrent(void **state)
{
	(void)state;
	hangs_up(1, ENGINE);
	later(OTHER);
	assert_int_equal(visit_due(), LT_WAY_PLAIN);
	session_shakes(1, ENGINE);
	session(LT_PEER_GONE, 1, ENGINE, LT_WAY_PLAIN, 1);
	anew();
	session(LT_PEER_LEARNED, 1, ENGINE, 0, 0);
	assert_true(nobody_is_due());
	assert_int_equal(visit_due(), LT_WAY_PLAIN);
}

static void test_a_new_way_forgives_who_was_out_of_reach(void **state)
{
	struct ace_target t;

	(void)state;
	heard(1, ENGINE);
	heard(2, ENGINE);
	assert_int_equal(call_all(&t), 2);
	fails_at(1, ENGINE, ACE_TIMEOUT);
	fails_at(2, ENGINE, ACE_ZERO);
	anew();
	acepast_new_way(past);
	heard(1, ENGINE);
	heard(2, ENGINE);
	(void)called(1, ENGINE);
}

/* Its slot of an earlier life is there, too. */
static void test_a_seed_that_failed_is_not_called_at_once(void **state)
{
	struct shm_peer s;
	struct peer *p;

	(void)state;
	hangs_up(1, ENGINE);
	memset(&s, 0, sizeof(s));
	shm_peer_ace_unknown(&s);
	s.protocol = PEER_ACESTREAM;
	s.state = PEER_TRIED;
	addr_of(s.addr, 1);
	s.port = ENGINE;
	anew();
	p = swarm_seed(w, &s, now);
	swarm_ace_seed(w, p, &s, now, wall_s());
	assert_true(nobody_is_due());
	now += ACE_AGAIN_1_MS;
	(void)called(1, ENGINE);
}

static void test_an_earlier_life_tells_the_mode(void **state)
{
	struct shm_swarm s;

	(void)state;
	memset(&s, 0, sizeof(s));
	s.ace_mode = ACE_MODE_PINNED;
	s.head = 5063;
	s.piece_ms = 1200;
	s.motion = MOTION_ADVANCING;
	now = 10000000;
	swarm_ace_remember(w, &s, 60000, now);
	assert_int_equal(w->ace.mode, ACE_MODE_PINNED);
	assert_int_equal(w->ace.head, 5063);
	assert_int_equal(w->ace.head_ms, now - 60000);
}

/* ---- when again ------------------------------------------------------------------------- */

static void test_who_answered_is_called_again_after_half_an_hour(void **state)
{
	(void)state;
	meet(1, ENGINE);
	now += REVISIT - 1;
	assert_true(nobody_is_due());
	heard(1, ENGINE); /* named again: nothing changes */
	assert_true(nobody_is_due());
	now += 1;
	(void)called(1, ENGINE);
}

static void test_failures_back_off(void **state)
{
	static const uint64_t pause[] = {ACE_AGAIN_1_MS, ACE_AGAIN_2_MS, ACE_AGAIN_3_MS,
					 ACE_AGAIN_3_MS};

	(void)state;
	heard(1, ENGINE);
	for (size_t i = 0; i < PS_ARRAY_LEN(pause); i++) {
		(void)called(1, ENGINE);
		fails_at(1, ENGINE, ACE_TIMEOUT);
		now += pause[i] - 1;
		assert_true(nobody_is_due());
		now += 1;
	}
	(void)called(1, ENGINE);
	answers(1, ENGINE);
	now += REVISIT;
	(void)called(1, ENGINE);
	fails_at(1, ENGINE, ACE_TIMEOUT);
	now += ACE_AGAIN_1_MS; /* it begins anew */
	(void)called(1, ENGINE);
}

static void test_three_refusals_are_enough(void **state)
{
	(void)state;
	heard(1, ENGINE);
	for (int i = 0; i < ACE_REFUSALS; i++) {
		(void)called(1, ENGINE);
		fails_at(1, ENGINE, ACE_REFUSED);
		now += ACE_AGAIN_3_MS;
	}
	assert_true(nobody_is_due());
	heard(1, ENGINE); /* the same source again */
	assert_true(nobody_is_due());
	heard_as(1, ENGINE, PEER_SRC_DHT, 0);
	(void)called(1, ENGINE);
}

static void test_our_own_fault_is_not_the_peers(void **state)
{
	(void)state;
	heard(1, ENGINE);
	(void)called(1, ENGINE);
	fails_at(1, ENGINE, ACE_UNREACHABLE);
	assert_int_equal(peer_at(1, ENGINE)->ace.fails, 0);
	assert_int_equal(peer_at(1, ENGINE)->state, PEER_KNOWN);
	assert_true(nobody_is_due());
	for (int i = 0; i < 10; i++) { /* a route may come soon, or never */
		uint64_t ms = i < 6 ? (uint64_t)SWARM_AGAIN_MS << i : ACE_AGAIN_1_MS;

		now += (ms < ACE_AGAIN_1_MS ? ms : ACE_AGAIN_1_MS) - 1;
		assert_true(nobody_is_due());
		now++;
		(void)called(1, ENGINE);
		fails_at(1, ENGINE, ACE_UNREACHABLE);
	}
	assert_int_equal(peer_at(1, ENGINE)->ace.fails, 0);
}

static void test_newcomers_are_called_first(void **state)
{
	struct ace_target t;
	uint32_t at = 0;

	(void)state;
	meet(1, ENGINE);
	now += REVISIT;
	heard(2, ENGINE);
	assert_true(swarm_ace_due(w, now, &at, &t));
	assert_int_equal(t.addr[15], 2);
	assert_true(swarm_ace_due(w, now, &at, &t));
	assert_int_equal(t.addr[15], 1);
	assert_false(swarm_ace_due(w, now, &at, &t));
}

static void test_a_rejoin_calls_only_who_did_not_answer(void **state)
{
	(void)state;
	meet(1, ENGINE);
	heard(2, ENGINE);
	(void)called(2, ENGINE);
	fails_at(2, ENGINE, ACE_TIMEOUT);
	now += 1000;
	swarm_rejoin(w, now);
	w->ace.find_done = 1;
	(void)called(2, ENGINE);
	swarm_rejoin(w, now); /* in the middle of the call */
	(void)called(2, ENGINE);
}

/* It is not out of reach. */
static void test_a_rejoin_lets_who_hung_up_alone(void **state)
{
	(void)state;
	hangs_up(1, ENGINE);
	swarm_rejoin(w, now);
	assert_true(nobody_is_due());
	now += ACE_AGAIN_1_MS;
	(void)called(1, ENGINE);
}

static void tracker_says(enum lt_kind kind, uint32_t tracker)
{
	struct lt_event e = {.kind = (uint8_t)kind, .tracker = tracker};
	struct swarm_news news;

	swarm_ace_tracker(w, &e, now, wall_s(), &news);
}

/* acefind asks them when their interval is over, and not at once. */
static void test_a_rejoin_keeps_what_trackers_said(void **state)
{
	struct shm_swarm head;

	(void)state;
	meet(1, ENGINE);
	tracker_says(LT_TRACKER_ASKED, 77);
	tracker_says(LT_TRACKER_OK, 77);
	tracker_says(LT_TRACKER_ASKED, 78); /* under way */
	swarm_rejoin(w, now);
	w->ace.find_done = 1;
	assert_true(round_done());
	now += SWARM_QUIET_MS;
	assert_int_equal(swarm_phase(w, now), SWARM_SETTLED);
	(void)list(&head);
	assert_int_equal(head.trackers, 1);
	assert_int_equal(head.trackers_ok, 1);
	tracker_says(LT_TRACKER_ASKED, 78);
	tracker_says(LT_TRACKER_OK, 78);
	(void)list(&head);
	assert_int_equal(head.trackers_ok, 2);
}

/* Whoever else is asked: they count beside the session's, and hold up nobody's first
 * answer, though they be asked before. */
static void test_its_trackers_count_in_any_mode(void **state)
{
	struct lt_event asked = {.kind = LT_TRACKER_ASKED, .tracker = 1};
	struct lt_event ok = {.kind = LT_TRACKER_OK, .tracker = 1};
	struct swarm_news news;
	struct shm_swarm head;

	(void)state;
	w->trackers_expected = 1;
	tracker_says(LT_TRACKER_ASKED, 77);
	tracker_says(LT_TRACKER_ASKED, 1); /* in both lists */
	swarm_event(w, &asked, now, wall_s(), &news);
	assert_false(round_done());
	swarm_event(w, &ok, now, wall_s(), &news);
	assert_true(round_done());
	(void)list(&head);
	assert_int_equal(head.trackers, 2);
	assert_int_equal(head.trackers_ok, 1);
	tracker_says(LT_TRACKER_OK, 77);
	tracker_says(LT_TRACKER_OK, 1);
	tracker_says(LT_TRACKER_OK, 78); /* nobody asked it */
	(void)list(&head);
	assert_int_equal(head.trackers, 2);
	assert_int_equal(head.trackers_ok, 2);
	swarm_ace_unjoined(w); /* they are still whom they were asked as */
	(void)list(&head);
	assert_int_equal(head.trackers, 2);
}

static void test_hearsay_says_nothing_of_who_was_met(void **state)
{
	struct acewire_rec rec = {.port = TORRENT, .version = 3021100, .max_piece = 9};
	char client[AW_CLIENT_MAX];
	struct swarm_news news;

	(void)state;
	addr_of(rec.addr, 1);
	session_shakes(1, TORRENT);
	assert_non_null(swarm_ace_gossip(w, &rec, 0, now, wall_s(), &news, client));
	assert_string_equal(client, "");
	assert_int_equal(peer_at(1, TORRENT)->ace.version, 0);
	assert_int_equal(peer_at(1, TORRENT)->ace.head, SHM_UNKNOWN);
	assert_true(peer_at(1, TORRENT)->ace.gossiped);
}

static void test_an_earlier_life_is_not_called_again_at_once(void **state)
{
	struct shm_swarm head;
	struct shm_peer s;
	struct peer *p;

	(void)state;
	now = 10000000;
	memset(&s, 0, sizeof(s));
	shm_peer_ace_unknown(&s);
	s.protocol = PEER_ACESTREAM;
	s.state = PEER_CONTACTED;
	s.told_s = wall_s() - 600;
	s.head = 5063;
	s.version = 3021100;
	for (unsigned i = 1; i <= 2; i++) {
		addr_of(s.addr, i);
		s.port = TORRENT;
		p = swarm_seed(w, &s, now);
		swarm_ace_seed(w, p, &s, now, wall_s());
		assert_int_equal(p->ace.turn, PEER_ACESTREAM);
		s.told_s = wall_s() - 3600;
	}
	(void)called(2, TORRENT); /* an hour ago */
	fails_at(2, TORRENT, ACE_TIMEOUT);
	assert_true(swarm_ace_reached(w, peer_at(1, TORRENT), now));
	assert_int_equal(peer_at(2, TORRENT)->ace.speaks, PEER_UNSPOKEN);
	assert_int_equal(list(&head)[0].key, KEY_INFOHASH);
	assert_int_equal(list(&head)[1].key, KEY_INFOHASH);
	now += REVISIT - 600000;
	assert_int_equal(call_all(&(struct ace_target){.port = 0}), 2);
}

/* ---- keys ------------------------------------------------------------------------------- */

static void test_each_is_called_by_the_key_it_was_named_under(void **state)
{
	struct ace_target t;

	(void)state;
	assert_true(swarm_ace_key(w, CONTENT));
	assert_false(swarm_ace_key(w, CONTENT));
	heard_as(1, ENGINE, PEER_SRC_DHT, 1);
	t = called(1, ENGINE);
	assert_memory_equal(t.key, CONTENT, IH_LEN);
	answers(1, ENGINE);
	heard_as(2, ENGINE, PEER_SRC_DHT, 0);
	t = called(2, ENGINE);
	assert_memory_equal(t.key, ID, IH_LEN);
	/* named under the other one, too: it is tried next, but not at once */
	heard_as(2, ENGINE, PEER_SRC_DHT, 1);
	fails_at(2, ENGINE, ACE_ZERO);
	assert_true(nobody_is_due());
	now += OTHER;
	t = called(2, ENGINE);
	assert_memory_equal(t.key, CONTENT, IH_LEN);
	/* an answer under one key is enough */
	answers(2, ENGINE);
	heard_as(1, ENGINE, PEER_SRC_TRACKER, 0);
	assert_true(nobody_is_due());
}

static void test_a_key_it_was_not_named_under_is_not_tried(void **state)
{
	(void)state;
	assert_true(swarm_ace_key(w, CONTENT));
	hangs_up(1, ENGINE);
	now += OTHER;
	assert_true(nobody_is_due());
	heard_as(1, ENGINE, PEER_SRC_DHT, 1);
	(void)called(1, ENGINE);
}

/* The engine says now that it is another swarm's. */
static void test_a_key_that_moves_is_not_called_any_more(void **state)
{
	struct shm_swarm head;
	struct ace_target t;

	(void)state;
	assert_true(swarm_ace_key(w, CONTENT));
	heard_as(1, ENGINE, PEER_SRC_DHT, 1);
	assert_false(swarm_ace_unkey(w, ID));
	assert_true(swarm_ace_unkey(w, CONTENT));
	assert_false(swarm_ace_unkey(w, CONTENT));
	t = called(1, ENGINE);
	assert_memory_equal(t.key, ID, IH_LEN);
	(void)list(&head);
	assert_false(head.has_content);
	assert_true(swarm_ace_key(w, CONTENT));
}

/* ---- what it told ------------------------------------------------------------------------ */

static void test_it_is_shown_as_it_says(void **state)
{
	struct acewire_told t = viewer(5063);
	struct swarm_ace_news news;
	struct shm_swarm head;
	struct shm_peer *p;

	(void)state;
	t.asn = 64500;
	memcpy(t.geo_country, "ZZ", 3);
	t.mi.down_rate = 412000;
	t.mi.up_rate = 30000;
	t.field_set = 32;
	heard(1, ENGINE);
	(void)called(1, ENGINE);
	news = seen(1, ENGINE, ACE_SHAKEN, ACE_SHOOK, &t);
	assert_true(news.contacted);
	news = seen(1, ENGINE, ACE_TOLD, ACE_DONE, &t);
	assert_false(news.contacted);
	assert_string_equal(news.client, "Ace Stream 3.2.11 (Linux)");
	p = list(&head);
	assert_int_equal(p->state, PEER_CONTACTED);
	assert_int_equal(p->protocol, PEER_ACESTREAM);
	assert_int_equal(p->version, 3021100);
	assert_int_equal(p->asn, 64500);
	assert_memory_equal(p->country, "ZZ", 2);
	assert_int_equal(p->down_rate, 412000);
	assert_int_equal(p->up_rate, 30000);
	assert_int_equal(p->progress, 5000);
	assert_int_equal(p->head, 5063);
	assert_int_equal(p->position, 5060);
	assert_int_equal(p->lag, 3);
	assert_int_equal(p->distance, 1);
	assert_int_equal(p->role, ROLE_VIEWER);
	assert_int_equal(p->kind, KIND_LIVE);
	assert_int_equal(p->accessible, ACCESS_YES);
	assert_int_equal(p->key, KEY_INFOHASH);
	assert_int_equal(p->told_s, wall_s());
	assert_int_equal(head.head, 5063);
	assert_int_equal(head.ace_mode, ACE_MODE_MAYBE);
	assert_int_equal(head.protocol, PEER_ACESTREAM);
	assert_int_equal(head.reachable, 1);
}

static void test_nothing_told_is_nothing_shown(void **state)
{
	struct acewire_told t;
	struct swarm_ace_news news;
	struct shm_swarm head;
	struct shm_peer *p;

	(void)state;
	acewire_told_begin(&t);
	heard(1, ENGINE);
	(void)called(1, ENGINE);
	(void)seen(1, ENGINE, ACE_SHAKEN, ACE_SHOOK, &t);
	news = seen(1, ENGINE, ACE_END, ACE_SHOOK, &t);
	assert_string_equal(news.client, "Ace Stream");
	p = list(&head);
	assert_int_equal(p->told_s, 0);
	assert_int_equal(p->head, SHM_UNKNOWN);
	assert_int_equal(p->lag, SHM_UNKNOWN);
	assert_int_equal(p->distance, SHM_DISTANCE_UNKNOWN);
	assert_int_equal(p->accessible, ACCESS_UNKNOWN);
	assert_int_equal(head.head, SHM_UNKNOWN);
	assert_int_equal(head.reachable, 1);
}

static void test_a_record_of_another_life_is_stale(void **state)
{
	struct ace_seen s;
	struct swarm_ace_news news;

	(void)state;
	heard(1, ENGINE);
	memset(&s, 0, sizeof(s));
	s.target = called(1, ENGINE);
	s.what = ACE_END;
	s.how = ACE_ZERO;
	s.target.life--;
	swarm_ace_seen(w, &s, now, wall_s(), &news);
	assert_null(news.peer);
	assert_true(peer_at(1, ENGINE)->ace.calling);
}

/* ---- who is who ---------------------------------------------------------------------------- */

static struct acewire_told node(uint8_t who)
{
	struct acewire_told t = viewer(5063);

	t.sig = AW_SIG_GOOD;
	memset(t.who, who, sizeof(t.who));
	return t;
}

static void meet_node(unsigned host, uint8_t who)
{
	struct acewire_told t = node(who);

	heard(host, ENGINE);
	(void)call_all(&(struct ace_target){.port = 0});
	answers_with(host, ENGINE, &t);
}

static uint32_t listed(void)
{
	struct shm_swarm head;

	(void)list(&head);
	assert_int_equal(head.npeers, head.total_peers);
	return head.npeers;
}

static void test_one_node_is_listed_once(void **state)
{
	struct shm_swarm head;
	struct shm_peer *p;

	(void)state;
	meet_node(1, 9);
	meet_node(2, 9);
	meet_node(3, 8);
	p = list(&head);
	assert_int_equal(head.npeers, 2);
	assert_int_equal(p[0].addr[15] + p[1].addr[15], 1 + 3); /* the first of them */
	assert_int_equal(head.discovered, 2);
	assert_int_equal(head.reachable, 2);
	now += REVISIT;
	assert_int_equal(call_all(&(struct ace_target){.port = 0}), 3);
}

static void test_the_twin_takes_its_place(void **state)
{
	struct shm_swarm head;

	(void)state;
	meet_node(1, 9);
	meet_node(2, 9);
	swarm_forget(w, peer_at(1, ENGINE)->addr, ENGINE);
	assert_int_equal(listed(), 1);
	assert_int_equal(list(&head)->addr[15], 2);
}

/* It moved: there it fails, here it answers. */
static void test_a_node_that_moved_is_listed_where_it_is(void **state)
{
	struct acewire_told t = node(9);
	struct shm_swarm head;

	(void)state;
	meet_node(1, 9);
	now += REVISIT;
	heard(2, ENGINE);
	assert_int_equal(call_all(&(struct ace_target){.port = 0}), 2);
	fails_at(1, ENGINE, ACE_REFUSED);
	answers_with(2, ENGINE, &t);
	assert_int_equal(listed(), 1);
	assert_int_equal(list(&head)->addr[15], 2);
}

static void test_another_node_there_frees_the_twin(void **state)
{
	struct acewire_told t = node(5);

	(void)state;
	meet_node(1, 9);
	meet_node(2, 9);
	now += REVISIT;
	assert_int_equal(call_all(&(struct ace_target){.port = 0}), 2);
	answers_with(1, ENGINE, &t);
	assert_int_equal(listed(), 2);
}

static void test_only_a_good_signature_makes_twins(void **state)
{
	struct acewire_told t = node(9);

	(void)state;
	meet_node(1, 9);
	for (unsigned i = 2; i <= 3; i++) {
		t.sig = i == 2 ? AW_SIG_BAD : AW_SIG_NONE;
		heard(i, ENGINE);
		(void)called(i, ENGINE);
		answers_with(i, ENGINE, &t);
	}
	assert_int_equal(listed(), 3);
}

/* What another recorded, and plays to us. */
static void test_a_replayed_signature_makes_no_twins(void **state)
{
	struct acewire_told t = node(9);
	struct swarm_ace_news news;
	struct ace_seen s;

	(void)state;
	meet_node(1, 9);
	heard(2, ENGINE);
	s = (struct ace_seen){.target = called(2, ENGINE),
			      .what = ACE_END,
			      .how = ACE_DONE,
			      .connected = 1,
			      .told = &t,
			      .replayed = 1};
	swarm_ace_seen(w, &s, now, wall_s(), &news);
	assert_int_equal(listed(), 2);
}

/* ---- hearsay --------------------------------------------------------------------------------- */

static struct acewire_rec neighbour(unsigned host)
{
	struct acewire_rec r;

	memset(&r, 0, sizeof(r));
	addr_of(r.addr, host);
	r.port = TORRENT;
	r.version = 3021900;
	r.platform = 2;
	r.asn = 64500;
	r.min_piece = 5000;
	r.max_piece = 5063;
	r.position = 5060;
	memcpy(r.asn_country, "DE", 3);
	return r;
}

static void test_hearsay_is_shown_and_called(void **state)
{
	struct acewire_rec r = neighbour(7);
	char client[AW_CLIENT_MAX];
	struct swarm_news news;
	struct shm_swarm head;
	struct shm_peer *p;

	(void)state;
	assert_non_null(swarm_ace_gossip(w, &r, 0, now, wall_s(), &news, client));
	assert_non_null(news.fresh);
	assert_string_equal(client, "Ace Stream 3.2.19 (Linux)");
	p = list(&head);
	assert_int_equal(p->state, PEER_KNOWN);
	assert_int_equal(p->sources, PEER_SRC_PEX);
	assert_int_equal(p->protocol, PEER_ACESTREAM);
	assert_true(p->flags & PEER_F_GOSSIPED);
	assert_int_equal(p->version, 3021900);
	assert_memory_equal(p->country, "DE", 2);
	assert_int_equal(p->position, 5060);
	assert_int_equal(p->lag, SHM_UNKNOWN);
	assert_int_equal(p->told_s, 0);
	assert_int_equal(head.gossiped, 1);
	assert_int_equal(head.discovered, 0);
	assert_int_equal(head.reachable, 0);
	assert_int_equal(head.head, SHM_UNKNOWN); /* nobody proved that */
	(void)called(7, TORRENT);
	answers(7, TORRENT);
	/* it knows better now */
	assert_non_null(swarm_ace_gossip(w, &r, 0, now, wall_s(), &news, client));
	assert_string_equal(client, "");
	p = list(&head);
	assert_int_equal(p->version, 3021100);
	assert_int_equal(head.gossiped, 1);
	assert_int_equal(head.reachable, 1);
}

static void test_counts_are_three(void **state)
{
	struct acewire_rec r = neighbour(2);
	char client[AW_CLIENT_MAX];
	struct swarm_news news;
	struct shm_swarm head;

	(void)state;
	meet(1, ENGINE);
	heard(3, ENGINE);
	(void)swarm_ace_gossip(w, &r, 0, now, wall_s(), &news, client);
	memcpy(r.addr, peer_at(1, ENGINE)->addr, ADDR_LEN);
	r.port = ENGINE;
	(void)swarm_ace_gossip(w, &r, 0, now, wall_s(), &news, client);
	(void)list(&head);
	assert_int_equal(head.discovered, 2);
	assert_int_equal(head.gossiped, 2);
	assert_int_equal(head.reachable, 1);
	now += REVISIT + ACE_REACH_MS - 1;
	(void)list(&head);
	assert_int_equal(head.reachable, 1);
	now++;
	(void)list(&head);
	assert_int_equal(head.reachable, 0);
}

/* ---- rounds, expiry ----------------------------------------------------------------------------- */

static void test_the_round_waits_for_calls(void **state)
{
	struct acewire_told t = viewer(5063);
	uint64_t recheck;

	(void)state;
	w->ace.find_done = 0;
	assert_false(round_done());
	heard(1, ENGINE);
	w->ace.find_done = 1;
	assert_false(round_done()); /* it was not called */
	(void)called(1, ENGINE);
	assert_false(round_done());
	(void)seen(1, ENGINE, ACE_SHAKEN, ACE_SHOOK, &t);
	assert_false(round_done());
	t.saw = AW_SAW_EXT;
	(void)seen(1, ENGINE, ACE_TOLD, ACE_DONE, &t);
	assert_false(swarm_round_done(w, now, &recheck)); /* it may say what it has */
	assert_int_equal(recheck, now + ACE_FIELD_MS);
	t.saw |= AW_SAW_FIELD;
	(void)seen(1, ENGINE, ACE_MORE, ACE_DONE, &t);
	assert_true(round_done());
}

static void test_the_round_does_not_wait_for_ever(void **state)
{
	struct acewire_told t = viewer(5063);

	(void)state;
	heard(1, ENGINE);
	heard(2, ENGINE);
	heard(3, ENGINE);
	(void)call_all(&(struct ace_target){.port = 0});
	(void)seen(1, ENGINE, ACE_SHAKEN, ACE_SHOOK, &t); /* mute then */
	t.saw = AW_SAW_EXT;
	(void)seen(2, ENGINE, ACE_SHAKEN, ACE_SHOOK, &t);
	(void)seen(2, ENGINE, ACE_TOLD, ACE_DONE, &t); /* no word of what it has */
	assert_false(round_done());
	fails_at(3, ENGINE, ACE_ZERO);
	now += SWARM_TELL_MS;
	assert_true(round_done());
	assert_int_equal(swarm_phase(w, now), SWARM_SETTLED);
}

static void test_a_torrents_round_does_not_wait_for_engines(void **state)
{
	(void)state;
	w->ace.find_done = 0;
	session(LT_PEER_LEARNED, 1, TORRENT, 0, 0);
	session_shakes(1, TORRENT);
	now += SWARM_TELL_MS;
	assert_true(round_done());
}

static void test_both_protocols_wait_for_engines(void **state)
{
	(void)state;
	w->ace.find_done = 0;
	session_shakes(1, TORRENT);
	meet(2, ENGINE);
	now += SWARM_TELL_MS;
	assert_false(round_done());
	w->ace.find_done = 1;
	assert_true(round_done());
}

static void test_who_answered_stays_until_its_next_call(void **state)
{
	(void)state;
	meet(1, ENGINE);
	heard(2, ENGINE);
	now += REVISIT;
	assert_int_equal(swarm_expire(w, wall_s(), now), 1);
	assert_non_null(peer_at(1, ENGINE));
	now += ACE_REACH_MS;
	assert_int_equal(swarm_expire(w, wall_s(), now), 1);
}

#define OFF(fn) cmocka_unit_test_setup_teardown(fn, off, stage_close)
#define PAST(fn) cmocka_unit_test_setup_teardown(fn, remembering, remembering_close)
#define MAYBE(fn) cmocka_unit_test_setup_teardown(fn, maybe, stage_close)
#define FIRST(fn) cmocka_unit_test_setup_teardown(fn, first, stage_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_engines_ports),
		MAYBE(test_maybe_goes_by_port),
		FIRST(test_first_calls_everybody),
		OFF(test_a_torrent_is_not_called),
		MAYBE(test_a_pinned_torrent_visits_filtered_ones),
		MAYBE(test_a_pin_visits_who_was_called_a_while_later),
		MAYBE(test_a_pin_does_not_visit_twice),
		MAYBE(test_silence_in_acestream_is_tried_in_bittorrent_once),
		MAYBE(test_silence_in_bittorrent_is_tried_in_acestream_once),
		MAYBE(test_a_visit_meanwhile_puts_the_other_protocol_off),
		MAYBE(test_who_refuses_speaks_nothing),
		MAYBE(test_a_reply_in_bittorrent_is_believed),
		MAYBE(test_who_answers_is_not_visited_too),
		MAYBE(test_three_answers_pin),
		MAYBE(test_answers_in_both_pin_nothing),
		FIRST(test_first_is_pinned_too),
		MAYBE(test_twenty_hang_ups_unpin),
		MAYBE(test_an_answer_between_hang_ups_keeps_the_pin),
		MAYBE(test_a_day_unpins_who_is_silent),
		MAYBE(test_a_day_with_answers_changes_nothing),
		FIRST(test_first_unpins_to_first),
		MAYBE(test_a_connection_keeps_the_bittorrent_pin),
		FIRST(test_first_becomes_a_quiet_maybe),
		FIRST(test_first_with_an_answer_stays),
		MAYBE(test_an_engines_word_comes_late),
		MAYBE(test_an_engines_word_does_not_unsay_peers),
		MAYBE(test_metadata_is_stronger_than_an_engines_word),
		MAYBE(test_switched_off_and_on),
		FIRST(test_switched_on_everybody_is_called),
		MAYBE(test_off_and_on_after_a_turn),
		PAST(test_who_is_forgotten_is_not_called_more_often),
		PAST(test_a_day_unseen_is_forgotten),
		PAST(test_three_refusals_last_until_another_names_it),
		PAST(test_an_answer_ends_what_is_remembered),
		PAST(test_it_is_remembered_who_speaks_bittorrent),
		PAST(test_who_was_silent_then_answered_in_bittorrent),
		PAST(test_a_new_way_forgives_who_was_out_of_reach),
		PAST(test_a_seed_that_failed_is_not_called_at_once),
		MAYBE(test_a_rejoin_lets_who_hung_up_alone),
		MAYBE(test_its_trackers_count_in_any_mode),
		FIRST(test_a_rejoin_keeps_what_trackers_said),
		MAYBE(test_hearsay_says_nothing_of_who_was_met),
		MAYBE(test_an_earlier_life_tells_the_mode),
		MAYBE(test_who_answered_is_called_again_after_half_an_hour),
		MAYBE(test_failures_back_off),
		MAYBE(test_three_refusals_are_enough),
		MAYBE(test_our_own_fault_is_not_the_peers),
		MAYBE(test_newcomers_are_called_first),
		MAYBE(test_a_rejoin_calls_only_who_did_not_answer),
		MAYBE(test_an_earlier_life_is_not_called_again_at_once),
		FIRST(test_each_is_called_by_the_key_it_was_named_under),
		FIRST(test_a_key_it_was_not_named_under_is_not_tried),
		FIRST(test_a_key_that_moves_is_not_called_any_more),
		MAYBE(test_it_is_shown_as_it_says),
		MAYBE(test_nothing_told_is_nothing_shown),
		MAYBE(test_a_record_of_another_life_is_stale),
		MAYBE(test_one_node_is_listed_once),
		MAYBE(test_the_twin_takes_its_place),
		MAYBE(test_a_node_that_moved_is_listed_where_it_is),
		MAYBE(test_another_node_there_frees_the_twin),
		MAYBE(test_only_a_good_signature_makes_twins),
		MAYBE(test_a_replayed_signature_makes_no_twins),
		FIRST(test_hearsay_is_shown_and_called),
		FIRST(test_counts_are_three),
		MAYBE(test_the_round_waits_for_calls),
		MAYBE(test_the_round_does_not_wait_for_ever),
		MAYBE(test_a_torrents_round_does_not_wait_for_engines),
		MAYBE(test_both_protocols_wait_for_engines),
		MAYBE(test_who_answered_stays_until_its_next_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

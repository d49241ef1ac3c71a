/*
 * test_swarm.c -- the rules of collector/swarm.c, without a network.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collector/swarm.h"
#include "collector/swarms.h"

static const uint8_t ID[IH_LEN] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

struct fix {
	struct swarms *all;
	struct swarm *w;
	uint64_t now_ms;
	uint32_t now_s;
	struct swarm_news news;
};

static int set_up(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	f->now_ms = 1000;
	f->now_s = 5000;
	assert_int_equal(swarms_open(&f->all, 3), 0);
	f->w = swarms_add(f->all, ID, f->now_ms);
	f->w->trackers_expected = 1;
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

static struct lt_event peer_ev(enum lt_kind kind, unsigned host)
{
	struct lt_event e;

	memset(&e, 0, sizeof(e));
	e.kind = (uint8_t)kind;
	memcpy(e.id, ID, IH_LEN);
	e.addr[10] = e.addr[11] = 0xff;
	e.addr[12] = 127;
	e.addr[14] = (uint8_t)(host >> 8);
	e.addr[15] = (uint8_t)host;
	e.port = 6881;
	e.source = PEER_SRC_TRACKER;
	return e;
}

static void feed(struct fix *f, const struct lt_event *e)
{
	swarm_event(f->w, e, f->now_ms, f->now_s, &f->news);
}

static void peer(struct fix *f, enum lt_kind kind, unsigned host)
{
	struct lt_event e = peer_ev(kind, host);

	feed(f, &e);
}

static void shake(struct fix *f, unsigned host)
{
	struct lt_event e = peer_ev(LT_PEER_HANDSHAKE, host);

	e.extended = 1;
	feed(f, &e);
}

static void tell(struct fix *f, unsigned host, uint32_t have, uint32_t pieces)
{
	struct lt_event e = peer_ev(LT_PEER_TOLD, host);

	e.extended = 1;
	e.have = have;
	e.pieces = pieces;
	memcpy(e.text, "Tester 1", 9);
	feed(f, &e);
}

static void tracker(struct fix *f, enum lt_kind kind, uint32_t which)
{
	struct lt_event e = peer_ev(kind, 0);

	e.tracker = which;
	feed(f, &e);
}

static int done(struct fix *f)
{
	uint64_t recheck;

	return swarm_round_done(f->w, f->now_ms, &recheck);
}

static struct shm_peer *list(struct fix *f, struct shm_swarm *head)
{
	static struct shm_peer out[CONF_SLOT_PEERS];

	swarm_snapshot(f->w, f->now_ms, (uint64_t)f->now_s * 1000, head, out);
	return out;
}

static void test_states(void **state)
{
	struct fix *f = *state;
	struct shm_swarm head;

	peer(f, LT_PEER_LEARNED, 1);
	assert_non_null(f->news.fresh);
	assert_int_equal(list(f, &head)[0].state, PEER_KNOWN);
	peer(f, LT_PEER_DIALLED, 1);
	assert_int_equal(list(f, &head)[0].state, PEER_TRIED);
	shake(f, 1);
	assert_true(f->news.contacted);
	assert_int_equal(list(f, &head)[0].state, PEER_CONNECTED);
	assert_int_equal(head.connected, 1);
	peer(f, LT_PEER_GONE, 1);
	assert_int_equal(list(f, &head)[0].state, PEER_CONTACTED);
	assert_int_equal(head.connected, 0);
	/* A failed attempt afterwards does not take the handshake away. */
	peer(f, LT_PEER_DIALLED, 1);
	peer(f, LT_PEER_GONE, 1);
	assert_int_equal(list(f, &head)[0].state, PEER_CONTACTED);
	assert_int_equal(head.total_peers, 1);
}

static void test_second_link_keeps_connected(void **state)
{
	struct fix *f = *state;
	struct shm_swarm head;

	peer(f, LT_PEER_DIALLED, 1);
	shake(f, 1);
	peer(f, LT_PEER_DIALLED, 1);
	peer(f, LT_PEER_GONE, 1); /* the duplicate */
	assert_int_equal(list(f, &head)[0].state, PEER_CONNECTED);
}

static void test_round(void **state)
{
	struct fix *f = *state;

	assert_false(done(f)); /* the tracker was not even asked */
	tracker(f, LT_TRACKER_ASKED, 7);
	assert_false(done(f));
	peer(f, LT_PEER_LEARNED, 1);
	peer(f, LT_PEER_LEARNED, 2);
	tracker(f, LT_TRACKER_OK, 7);
	assert_false(done(f)); /* nobody was dialled */
	peer(f, LT_PEER_DIALLED, 1);
	peer(f, LT_PEER_DIALLED, 2);
	assert_false(done(f));
	peer(f, LT_PEER_GONE, 2); /* refused */
	assert_false(done(f));
	shake(f, 1);
	assert_false(done(f)); /* it will say more */
	tell(f, 1, 5, 10);
	assert_ptr_equal(f->news.named, &f->w->peer[0]);
	assert_false(done(f)); /* who refused is asked by uTP */
	f->now_ms += SWARM_SECOND_MS;
	assert_true(done(f));
	peer(f, LT_PEER_LEARNED, 3);
	assert_true(done(f)); /* and stays so */
}

static void test_round_silent_peer(void **state)
{
	struct fix *f = *state;
	uint64_t recheck;

	tracker(f, LT_TRACKER_ASKED, 7);
	tracker(f, LT_TRACKER_OK, 7);
	peer(f, LT_PEER_DIALLED, 1);
	shake(f, 1);
	assert_false(swarm_round_done(f->w, f->now_ms, &recheck));
	assert_int_equal(recheck, f->now_ms + SWARM_TELL_MS);
	f->now_ms = recheck;
	assert_true(done(f));
}

static void test_round_waits_for_metadata(void **state)
{
	struct fix *f = *state;
	struct lt_event e = peer_ev(LT_PEER_TOLD, 1), m = peer_ev(LT_METADATA, 0);

	tracker(f, LT_TRACKER_ASKED, 7);
	tracker(f, LT_TRACKER_OK, 7);
	peer(f, LT_PEER_DIALLED, 1);
	shake(f, 1);
	e.extended = e.metadata = 1;
	e.have = 3;
	e.pieces = 8;
	feed(f, &e);
	assert_false(done(f));
	m.pieces = 5;
	feed(f, &m);
	assert_true(done(f));
	f->w->pieces = f->w->round_done = 0; /* it never comes */
	assert_false(done(f));
	f->now_ms += SWARM_METADATA_MS;
	assert_true(done(f));
}

/* A leech with nothing: says its name, and no word about pieces. */
static void test_round_peer_without_pieces(void **state)
{
	struct fix *f = *state;

	tracker(f, LT_TRACKER_ASKED, 7);
	tracker(f, LT_TRACKER_OK, 7);
	peer(f, LT_PEER_DIALLED, 1);
	shake(f, 1);
	f->now_ms += 300;
	tell(f, 1, 0, 0);
	assert_false(done(f));
	f->now_ms += SWARM_PIECES_MS;
	assert_true(done(f));
}

static void test_tracker_asked_from_two_addresses(void **state)
{
	struct fix *f = *state;

	tracker(f, LT_TRACKER_ASKED, 7);
	tracker(f, LT_TRACKER_ASKED, 7);
	tracker(f, LT_TRACKER_FAILED, 7); /* the IPv6 one */
	assert_false(done(f));
	tracker(f, LT_TRACKER_OK, 7);
	assert_true(done(f));
}

static void test_failing_tracker(void **state)
{
	struct fix *f = *state;

	tracker(f, LT_TRACKER_ASKED, 7);
	tracker(f, LT_TRACKER_FAILED, 7);
	assert_true(done(f));
	assert_int_equal(swarm_why(f->w), WHY_TRACKERS_FAIL);
}

/* 1: it is news, and would be said. */
static int fails(struct fix *f, uint32_t which, enum lt_failure how)
{
	struct swarm_news news;
	struct lt_event e = peer_ev(LT_TRACKER_FAILED, 0);

	e.tracker = which;
	e.n = how;
	swarm_event(f->w, &e, f->now_ms, 1, &news);
	return news.tracker_failed;
}

static void test_why_follows_what_trackers_say(void **state)
{
	struct fix *f = *state;

	f->w->trackers_expected = 2;
	f->w->round_done = 1;
	assert_true(fails(f, 7, LT_FAIL_NAME));
	assert_int_equal(swarm_why(f->w), WHY_TRACKERS_FAIL); /* the other is silent */
	assert_true(fails(f, 8, LT_FAIL_NAME));
	assert_int_equal(swarm_why(f->w), WHY_TRACKERS_NAMES);
	assert_true(fails(f, 8, LT_FAIL_GARBLED));
	assert_int_equal(swarm_why(f->w), WHY_TRACKERS_ERROR);
	assert_true(fails(f, 8, LT_FAIL_REFUSED));
	assert_int_equal(swarm_why(f->w), WHY_TRACKERS_FAIL);
	f->w->dht = 1;
	assert_int_equal(swarm_why(f->w), WHY_SILENCE);
	assert_true(fails(f, 7, LT_FAIL_ANSWERED));
	assert_int_equal(swarm_why(f->w), WHY_TRACKERS_ERROR);
	f->w->dht_at_s = 1;
	assert_int_equal(swarm_why(f->w), WHY_NOBODY_NO_TRACKER);
	tracker(f, LT_TRACKER_OK, 7);
	assert_int_equal(swarm_why(f->w), WHY_NOBODY);
	f->w->dht_at_s = 0;
	assert_int_equal(swarm_why(f->w), WHY_NOBODY_NO_DHT);
	f->w->dht = 0;
	assert_int_equal(swarm_why(f->w), WHY_NOBODY_TRACKERS);
	f->w->trackers_expected = f->w->ntrackers = 0;
	f->w->dht = f->w->dht_at_s = 1;
	assert_int_equal(swarm_why(f->w), WHY_NOBODY_DHT);
}

/* From our IPv6 address there is no way to a tracker that answers the other one. */
static void test_what_a_tracker_says_stays_until_it_answers(void **state)
{
	struct fix *f = *state;
	struct shm_swarm head;

	f->w->trackers_expected = 2;
	assert_true(fails(f, 7, LT_FAIL_UNREACHABLE));
	f->w->said = 40; /* as publish.c does */
	f->w->said_by = 7;
	list(f, &head);
	assert_int_equal(head.tracker_said, 40);
	tracker(f, LT_TRACKER_OK, 8);
	assert_int_equal(f->w->said, 40);
	tracker(f, LT_TRACKER_OK, 7);
	assert_int_equal(f->w->said, 0);
	assert_false(fails(f, 7, LT_FAIL_UNREACHABLE));
	assert_true(fails(f, 7, LT_FAIL_ANSWERED));
	assert_false(fails(f, 9, LT_FAIL_ANSWERED)); /* of an earlier configuration */
}

static void test_dht_pending(void **state)
{
	struct fix *f = *state;
	struct lt_event e = peer_ev(LT_DHT_REPLY, 0);

	f->w->dht = 1;
	tracker(f, LT_TRACKER_ASKED, 7);
	tracker(f, LT_TRACKER_OK, 7);
	assert_false(done(f)); /* nobody yet, and the DHT is silent */
	e.n = 0;
	feed(f, &e);
	assert_true(done(f));
	assert_int_equal(swarm_why(f->w), WHY_NOBODY);
}

static void test_no_source(void **state)
{
	struct fix *f = *state;

	f->w->trackers_expected = 0;
	assert_true(done(f));
	assert_int_equal(swarm_why(f->w), WHY_NO_SOURCE);
}

static void test_phase(void **state)
{
	struct fix *f = *state;

	assert_int_equal(swarm_phase(f->w, f->now_ms), SWARM_JOINING);
	tracker(f, LT_TRACKER_ASKED, 7);
	tracker(f, LT_TRACKER_OK, 7);
	peer(f, LT_PEER_DIALLED, 1);
	shake(f, 1);
	tell(f, 1, 1, 2);
	assert_true(done(f));
	assert_int_equal(swarm_phase(f->w, f->now_ms), SWARM_COLLECTING);
	assert_int_equal(swarm_phase(f->w, f->now_ms + SWARM_QUIET_MS), SWARM_SETTLED);
	swarm_forget(f->w, f->w->peer[0].addr, 6881);
	assert_int_equal(swarm_phase(f->w, f->now_ms + SWARM_DEAD_MS), SWARM_DEAD);
}

static void test_progress(void **state)
{
	struct fix *f = *state;
	struct lt_event m = peer_ev(LT_METADATA, 0);
	struct shm_swarm head;

	peer(f, LT_PEER_DIALLED, 1);
	shake(f, 1);
	tell(f, 1, 5, 16); /* 10 pieces in two bytes */
	assert_int_equal(list(f, &head)[0].progress, 3125);
	m.pieces = 10;
	feed(f, &m);
	assert_int_equal(list(f, &head)[0].progress, 5000);
	assert_int_equal(head.pieces, 10);
	tell(f, 1, 6, 10);
	assert_int_equal(list(f, &head)[0].progress, 6000);
	tell(f, 1, LT_ALL_PIECES, LT_ALL_PIECES);
	assert_int_equal(list(f, &head)[0].progress, 10000);
	assert_true(list(f, &head)[0].flags & PEER_F_SEED);
	tell(f, 1, 3, 10); /* lost some: no seed any more */
	assert_int_equal(list(f, &head)[0].progress, 3000);
	assert_false(list(f, &head)[0].flags & PEER_F_SEED);
}

/* 98 of 104 bits, the missing ones last: a seed of 98 pieces, or a leech of 100? */
static void test_progress_spare_bits(void **state)
{
	struct fix *f = *state;
	struct lt_event e = peer_ev(LT_PEER_TOLD, 1), m = peer_ev(LT_METADATA, 0);
	struct shm_swarm head;

	shake(f, 1);
	e.have = 98;
	e.pieces = 104;
	e.likely_seed = 1;
	feed(f, &e);
	assert_int_equal(list(f, &head)[0].progress, 10000);
	m.pieces = 100;
	feed(f, &m);
	assert_int_equal(list(f, &head)[0].progress, 9800);
	assert_false(list(f, &head)[0].flags & PEER_F_SEED);
}

static void test_order(void **state)
{
	struct fix *f = *state;
	struct shm_swarm head;
	struct shm_peer *p;

	for (unsigned i = 1; i <= 4; i++)
		peer(f, LT_PEER_LEARNED, i);
	peer(f, LT_PEER_DIALLED, 2);
	shake(f, 3);
	shake(f, 4);
	peer(f, LT_PEER_GONE, 4);
	p = list(f, &head);
	assert_int_equal(head.npeers, 4);
	assert_int_equal(p[0].addr[15], 3); /* connected */
	assert_int_equal(p[1].addr[15], 4); /* contacted */
	assert_int_equal(p[2].addr[15], 2); /* tried */
	assert_int_equal(p[3].addr[15], 1); /* known */
}

static void test_expiry(void **state)
{
	struct fix *f = *state;

	peer(f, LT_PEER_LEARNED, 1);
	peer(f, LT_PEER_LEARNED, 2);
	shake(f, 3);
	f->now_s += 100;
	peer(f, LT_PEER_LEARNED, 2); /* heard of again */
	assert_int_equal(swarm_expire(f->w, f->now_s - 50, f->now_ms), 1);
	assert_int_equal(f->w->npeers, 2);
	peer(f, LT_PEER_LEARNED, 1);
	assert_non_null(f->news.fresh); /* really gone, also from the hash */
	peer(f, LT_PEER_LEARNED, 3);
	assert_null(f->news.fresh);
}

static void test_full(void **state)
{
	struct fix *f = *state;

	f->w->max_peers = 10;
	for (unsigned i = 1; i <= 10; i++) {
		f->now_s++;
		peer(f, LT_PEER_LEARNED, i);
	}
	shake(f, 1); /* the oldest, but connected */
	f->w->peer[0].last_seen_s = 1;
	peer(f, LT_PEER_LEARNED, 11);
	assert_int_equal(f->news.evicted, 1);
	assert_int_equal(f->w->npeers, 10);
	peer(f, LT_PEER_LEARNED, 1);
	assert_null(f->news.fresh);
	peer(f, LT_PEER_LEARNED, 2); /* it had made room */
	assert_non_null(f->news.fresh);
}

/* Endpoints that somebody tells us of by the hundred don't push out who shook hands. */
static void test_full_of_contacted(void **state)
{
	struct fix *f = *state;
	struct shm_swarm head;

	f->w->max_peers = 10;
	for (unsigned i = 1; i <= 10; i++) {
		peer(f, LT_PEER_DIALLED, i);
		shake(f, i);
		peer(f, LT_PEER_GONE, i);
	}
	f->now_s += 10;
	for (unsigned i = 100; i < 200; i++)
		peer(f, LT_PEER_LEARNED, i);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(list(f, &head)[i].state, PEER_CONTACTED);
	assert_int_equal(head.npeers, 10);
	shake(f, 200); /* somebody who really is there does */
	assert_int_equal(list(f, &head)[0].addr[15], 200);
	assert_int_equal(head.npeers, 10);
}

static void test_incoming_beside_outgoing(void **state)
{
	struct fix *f = *state;
	struct lt_event e = peer_ev(LT_PEER_HANDSHAKE, 1);
	struct shm_swarm head;

	peer(f, LT_PEER_DIALLED, 1);
	shake(f, 1);
	e.incoming = 1;
	feed(f, &e);
	peer(f, LT_PEER_GONE, 1);
	assert_int_equal(list(f, &head)[0].state, PEER_CONNECTED);
	peer(f, LT_PEER_GONE, 1);
	assert_int_equal(list(f, &head)[0].state, PEER_CONTACTED);
}

/* It was listed under the port it called from, and then said where it listens. */
static void test_incoming_that_moves(void **state)
{
	struct fix *f = *state;
	struct lt_event e = peer_ev(LT_PEER_HANDSHAKE, 1);
	struct shm_swarm head;

	e.incoming = 1;
	e.port = 50000;
	feed(f, &e);
	e.kind = LT_PEER_GONE;
	e.forget = 1;
	feed(f, &e);
	e.kind = LT_PEER_HANDSHAKE;
	e.forget = 0;
	e.port = 6881;
	feed(f, &e);
	assert_int_equal(list(f, &head)[0].port, 6881);
	assert_int_equal(head.npeers, 1);
	e.kind = LT_PEER_GONE;
	feed(f, &e);
	assert_int_equal(list(f, &head)[0].state, PEER_CONTACTED);
	assert_int_equal(f->w->peer[0].links, 0);
}

static void test_rejoin(void **state)
{
	struct fix *f = *state;
	struct shm_swarm head;

	tracker(f, LT_TRACKER_ASKED, 7);
	tracker(f, LT_TRACKER_OK, 7);
	peer(f, LT_PEER_DIALLED, 1);
	shake(f, 1);
	tell(f, 1, 1, 2);
	assert_true(done(f));
	swarm_rejoin(f->w, f->now_ms);
	assert_false(done(f));
	assert_int_equal(list(f, &head)[0].state, PEER_CONTACTED);
	tracker(f, LT_TRACKER_ASKED, 7);
	assert_false(done(f)); /* the answer of the earlier life does not count */
	tracker(f, LT_TRACKER_OK, 7);
	assert_false(done(f)); /* nor does its connection */
	peer(f, LT_PEER_DIALLED, 1);
	peer(f, LT_PEER_GONE, 1);
	f->now_ms += SWARM_SECOND_MS;
	assert_true(done(f));
}

/* After a reload: the old tracker's good name is not the new one's. */
static void test_other_trackers(void **state)
{
	struct fix *f = *state;
	struct shm_swarm head;

	tracker(f, LT_TRACKER_ASKED, 7);
	tracker(f, LT_TRACKER_OK, 7);
	f->w->ntrackers = 0;
	tracker(f, LT_TRACKER_ASKED, 8);
	tracker(f, LT_TRACKER_FAILED, 8);
	tracker(f, LT_TRACKER_OK, 7); /* late, of the one that was taken away */
	list(f, &head);
	assert_int_equal(head.trackers, 1);
	assert_int_equal(head.trackers_ok, 0);
}

static void test_silence(void **state)
{
	struct fix *f = *state;

	f->w->dht = 1;
	assert_int_equal(swarm_why(f->w), WHY_JOINING);
	f->w->round_done = 1; /* its time is over */
	assert_int_equal(swarm_why(f->w), WHY_SILENCE);
	f->w->trackers_expected = 0;
	assert_int_equal(swarm_why(f->w), WHY_DHT_SILENT);
}

static void test_many(void **state)
{
	struct fix *f = *state;
	struct shm_swarm head;

	for (unsigned i = 0; i < 2 * CONF_SLOT_PEERS; i++)
		peer(f, LT_PEER_LEARNED, i);
	assert_int_equal(f->w->npeers, CONF_SLOT_PEERS);
	list(f, &head);
	assert_int_equal(head.npeers, CONF_SLOT_PEERS);
	for (unsigned i = 0, fresh = 0; i < 2 * CONF_SLOT_PEERS; i++) {
		struct lt_event e = peer_ev(LT_PEER_TOLD, i);

		/* Every peer that is in the list is found, and no other. */
		f->news.named = NULL;
		memcpy(e.text, "x", 2);
		feed(f, &e);
		fresh += f->news.named != NULL;
		if (i == 2 * CONF_SLOT_PEERS - 1)
			assert_int_equal(fresh, CONF_SLOT_PEERS);
	}
}

static void test_self(void **state)
{
	struct fix *f = *state;
	struct lt_event e = peer_ev(LT_PEER_GONE, 1);

	peer(f, LT_PEER_LEARNED, 1);
	peer(f, LT_PEER_DIALLED, 1);
	e.forget = 1;
	feed(f, &e);
	assert_int_equal(f->w->npeers, 0);
}

static void test_seed_from_table(void **state)
{
	struct fix *f = *state;
	struct shm_swarm head;
	struct shm_peer p;
	struct peer *got;

	memset(&p, 0, sizeof(p));
	p.addr[15] = 9;
	p.port = 1;
	p.state = PEER_CONNECTED;
	p.first_seen_s = 10;
	p.last_seen_s = 20;
	got = swarm_seed(f->w, &p, f->now_ms);
	assert_non_null(got);
	assert_null(swarm_seed(f->w, &p, f->now_ms));
	p = list(f, &head)[0];
	assert_int_equal(p.state, PEER_CONTACTED); /* that connection is over */
	assert_int_equal(p.first_seen_s, 10);
	assert_int_equal(p.last_seen_s, 20);
}

static void test_all_swarms(void **state)
{
	struct fix *f = *state;
	uint8_t id[IH_LEN] = {0};
	struct swarm *a, *b;

	a = swarms_add(f->all, id, 10);
	id[5] = 1;
	b = swarms_add(f->all, id, 20);
	assert_non_null(a);
	assert_non_null(b);
	id[5] = 2;
	assert_null(swarms_add(f->all, id, 30)); /* three are the maximum here */
	assert_ptr_equal(swarms_oldest_idle(f->all), a);
	a->waiters = 1;
	assert_ptr_equal(swarms_oldest_idle(f->all), b);
	swarms_remove(f->all, b);
	id[5] = 1;
	assert_null(swarms_find(f->all, id));
	assert_int_equal(swarms_count(f->all), 2);
	assert_ptr_equal(swarms_find(f->all, ID), f->w);
}

static void expect_count(struct fix *f, uint32_t by, int seeds, int leechers,
			 uint32_t want_at)
{
	struct shm_swarm head;
	struct lt_event e = peer_ev(LT_SCRAPE, 0);

	e.tracker = by;
	e.seeds = seeds;
	e.leechers = leechers;
	f->now_s++;
	feed(f, &e);
	(void)list(f, &head);
	assert_int_equal(head.tracker_at_s, want_at);
	if (want_at == f->now_s) {
		assert_int_equal(head.tracker_seeds, seeds);
		assert_int_equal(head.tracker_leechers, leechers);
	}
}

/* Numbers and time are of one tracker: never the most seeds of one and the most leechers
 * of another, never one's number with the other's time. */
static void test_counts(void **state)
{
	struct fix *f = *state;
	uint32_t at = f->now_s;

	expect_count(f, 1, 50, 1, at + 1);
	expect_count(f, 2, 2, 9, at + 1); /* counts less */
	tracker(f, LT_TRACKER_OK, 2);
	expect_count(f, 2, 2, 90, at + 3);
	expect_count(f, 1, 60, 1, at + 3);
	expect_count(f, 2, 2, 90, at + 5); /* the same again, now */
	expect_count(f, 2, 0, 0, at + 6);  /* it counts less than before */
	expect_count(f, 1, 0, 0, at + 7);  /* as many, later */
	expect_count(f, 1, 30, 30, at + 8);
	swarm_rejoin(f->w, f->now_ms);
	expect_count(f, 2, 1, 1, at + 9); /* the first of a new life */
}

/* Whoever asks names a peer: it is dialled before the first round is over, and as good
 * as one of any other source. */
static void test_given(void **state)
{
	struct fix *f = *state;
	struct lt_event e = peer_ev(LT_PEER_LEARNED, 1);
	struct shm_swarm head;

	tracker(f, LT_TRACKER_ASKED, 1);
	tracker(f, LT_TRACKER_OK, 1);
	assert_true(swarm_give(f->w, e.addr, e.port, f->now_ms, f->now_s, &f->news) ==
		    f->news.fresh);
	assert_true(swarm_knows(f->w, e.addr, e.port));
	assert_false(swarm_knows(f->w, e.addr, 1));
	assert_false(done(f)); /* he was not dialled yet */
	assert_int_equal(list(f, &head)[0].sources, PEER_SRC_GIVEN);
	/* The session says that it heard of him, from us: that is no news. */
	f->now_s += 100;
	e.source = 0;
	feed(f, &e);
	assert_int_equal(list(f, &head)[0].last_seen_s, f->now_s - 100);
	assert_int_equal(list(f, &head)[0].sources, PEER_SRC_GIVEN);
	assert_non_null(swarm_give(f->w, e.addr, e.port, f->now_ms, f->now_s, &f->news));
	assert_null(f->news.fresh);
	assert_int_equal(list(f, &head)[0].last_seen_s, f->now_s);
	peer(f, LT_PEER_LEARNED, 1);
	assert_int_equal(list(f, &head)[0].sources, PEER_SRC_GIVEN | PEER_SRC_TRACKER);
	assert_int_equal(head.total_peers, 1);
}

/* The session dials nobody twice. Who comes back after we forgot him is visited. */
static void test_forgotten_by_us_alone(void **state)
{
	struct fix *f = *state;
	struct lt_event e = peer_ev(LT_PEER_LEARNED, 1);
	struct swarm_visit v;

	feed(f, &e);
	e.again = 1; /* another source names him before he was dialled */
	feed(f, &e);
	assert_int_equal(f->w->plans, 0);
	assert_int_equal(swarm_expire(f->w, f->now_s + 1, f->now_ms), 1);
	feed(f, &e);
	assert_non_null(f->news.fresh);
	assert_int_equal(swarm_visits(f->w, f->now_ms, &v, 1), 1);
	assert_int_equal(v.way, LT_WAY_PLAIN);
	assert_int_equal(v.to.port, e.port);
	/* The same of one that a question names. */
	assert_int_equal(swarm_expire(f->w, f->now_s + 1, f->now_ms), 1);
	assert_non_null(swarm_give(f->w, e.addr, e.port, f->now_ms, f->now_s, &f->news));
	e.source = 0;
	feed(f, &e);
	assert_int_equal(f->w->plans, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_states),
		T(test_given),
		T(test_forgotten_by_us_alone),
		T(test_second_link_keeps_connected),
		T(test_round),
		T(test_round_silent_peer),
		T(test_round_peer_without_pieces),
		T(test_round_waits_for_metadata),
		T(test_tracker_asked_from_two_addresses),
		T(test_failing_tracker),
		T(test_why_follows_what_trackers_say),
		T(test_what_a_tracker_says_stays_until_it_answers),
		T(test_dht_pending),
		T(test_no_source),
		T(test_phase),
		T(test_progress),
		T(test_progress_spare_bits),
		T(test_order),
		T(test_expiry),
		T(test_full),
		T(test_full_of_contacted),
		T(test_incoming_beside_outgoing),
		T(test_incoming_that_moves),
		T(test_rejoin),
		T(test_other_trackers),
		T(test_silence),
		T(test_many),
		T(test_self),
		T(test_seed_from_table),
		T(test_all_swarms),
		T(test_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * swarm_stage.h -- a swarm without a network, for tests of its AceStream rules: engines
 * are heard of, called, and answer as they are told to.
 */
#ifndef PEERSCOPE_TESTS_SWARM_STAGE_H
#define PEERSCOPE_TESTS_SWARM_STAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "collector/swarm.h"
#include "collector/swarms.h"

#define REVISIT 1800000u
#define LOOK 40000u
#define OTHER 30000u
#define ENGINE 8621 /* a port that engines listen on */
#define TORRENT 6881

static const uint8_t ID[IH_LEN] = {1, 2, 3}, CONTENT[IH_LEN] = {7, 7, 7};
static struct swarms *all;
static struct swarm *w;
static uint64_t now;
static struct conf conf;

static inline void open_swarm(enum swarm_ace_mode mode)
{
	conf_defaults(&conf);
	now = 1000;
	assert_int_equal(swarms_open(&all, 4), 0);
	w = swarms_add(all, ID, now);
	assert_non_null(w);
	assert_int_equal(swarm_ace_key(w, ID), 1);
	w->ace.life = 5;
	swarm_ace_configure(w, &conf, now);
	swarm_ace_meant(w, mode, now);
	w->ace.find_done = 1;
}

static inline int stage_close(void **state)
{
	(void)state;
	swarms_close(&all);
	return 0;
}

static inline void addr_of(uint8_t out[ADDR_LEN], unsigned host)
{
	memset(out, 0, ADDR_LEN);
	out[10] = out[11] = 0xff;
	out[12] = 127;
	out[14] = (uint8_t)(host >> 8);
	out[15] = (uint8_t)host;
}

static inline struct peer *peer_at(unsigned host, uint16_t port)
{
	uint8_t addr[ADDR_LEN];

	addr_of(addr, host);
	return swarm_find_peer(w, addr, port);
}

static inline uint32_t wall_s(void)
{
	return (uint32_t)(5000 + now / 1000);
}

static inline void heard_as(unsigned host, uint16_t port, uint8_t source, uint32_t key)
{
	struct swarm_news news;
	uint8_t addr[ADDR_LEN];

	addr_of(addr, host);
	assert_non_null(swarm_ace_heard(w, addr, port, source, key, now, wall_s(), &news));
}

static inline void heard(unsigned host, uint16_t port)
{
	heard_as(host, port, PEER_SRC_TRACKER, 0);
}

/* Calls whoever is due, as acevisit.c does; how many, the last one in *t. */
static inline int call_all(struct ace_target *t)
{
	struct ace_target next;
	uint32_t at = 0;
	int n = 0;

	while (swarm_ace_due(w, now, &at, &next)) {
		swarm_ace_called(w, &next);
		*t = next;
		n++;
	}
	return n;
}

/* Exactly this one is due, and is called. */
static inline struct ace_target called(unsigned host, uint16_t port)
{
	struct ace_target t;
	uint8_t addr[ADDR_LEN];

	addr_of(addr, host);
	assert_int_equal(call_all(&t), 1);
	assert_memory_equal(t.addr, addr, ADDR_LEN);
	assert_int_equal(t.port, port);
	return t;
}

static inline int nobody_is_due(void)
{
	struct ace_target t;
	uint32_t at = 0;

	return !swarm_ace_due(w, now, &at, &t);
}

static inline struct ace_target target(unsigned host, uint16_t port)
{
	struct ace_target t;

	memset(&t, 0, sizeof(t));
	memcpy(t.swarm, ID, IH_LEN);
	memcpy(t.key, w->ace.key[peer_at(host, port)->ace.key], IH_LEN);
	addr_of(t.addr, host);
	t.port = port;
	t.life = w->ace.life;
	return t;
}

static inline struct swarm_ace_news seen(unsigned host, uint16_t port, enum ace_what what,
				  enum ace_outcome how, const struct acewire_told *told)
{
	struct ace_seen s = {.target = target(host, port), .what = what, .how = how};
	struct swarm_ace_news news;

	s.connected = how <= ACE_ZERO;
	s.told = told;
	swarm_ace_seen(w, &s, now, wall_s(), &news);
	return news;
}

/* A call that fails. */
static inline void fails_at(unsigned host, uint16_t port, enum ace_outcome how)
{
	assert_true(peer_at(host, port)->ace.calling);
	(void)seen(host, port, ACE_END, how, NULL);
}

/* A viewer of a live stream whose head is there, at three pieces behind. */
static inline struct acewire_told viewer(int64_t head)
{
	struct acewire_told t;

	acewire_told_begin(&t);
	t.saw = AW_SAW_EXT | AW_SAW_FIELD;
	t.version = 3021100;
	t.platform = 2;
	t.mi.max_piece = t.mi.lsp = t.lsp = head;
	t.mi.min_piece = head >= 63 ? head - 63 : head;
	t.mi.position = head >= 3 ? head - 3 : head;
	t.mi.live_window_size = 100;
	t.mi.distance_from_source = 1;
	t.mi.is_accessible = 1;
	t.field_bits = t.field_set = 64;
	return t;
}

static inline void answers_with(unsigned host, uint16_t port, const struct acewire_told *t)
{
	(void)seen(host, port, ACE_SHAKEN, ACE_SHOOK, t);
	(void)seen(host, port, ACE_TOLD, ACE_DONE, t);
	(void)seen(host, port, ACE_END, ACE_DONE, t);
}

static inline void answers(unsigned host, uint16_t port)
{
	struct acewire_told t = viewer(5063);

	answers_with(host, port, &t);
}

/* Heard of, called, answered. */
static inline void meet(unsigned host, uint16_t port)
{
	heard(host, port);
	(void)called(host, port);
	answers(host, port);
}

/* A record of the BitTorrent session. */
static inline void session(enum lt_kind kind, unsigned host, uint16_t port, enum lt_way way,
		    int connected)
{
	struct lt_event e = {.kind = (uint8_t)kind,
			     .way = (uint8_t)way,
			     .connected = (uint8_t)connected};
	struct swarm_news news;

	addr_of(e.addr, host);
	e.port = port;
	if (kind == LT_PEER_LEARNED) {
		e.source = PEER_SRC_TRACKER;
		e.filtered = (uint8_t)acewire_port(port);
	}
	swarm_event(w, &e, now, wall_s(), &news);
}

static inline void session_fails(unsigned host, uint16_t port, enum lt_way way, int connected)
{
	session(LT_PEER_DIALLED, host, port, way, 0);
	session(LT_PEER_GONE, host, port, way, connected);
}

static inline void session_shakes(unsigned host, uint16_t port)
{
	session(LT_PEER_DIALLED, host, port, LT_WAY_PLAIN, 0);
	session(LT_PEER_HANDSHAKE, host, port, LT_WAY_PLAIN, 1);
}

/* The visit in BitTorrent that is due, which must be one alone; -1: none. */
static inline int visit_due(void)
{
	struct swarm_visit v[4];
	size_t n = swarm_visits(w, now, v, 4);

	assert_in_range(n, 0, 1);
	return n ? (int)v[0].way : -1;
}

static inline int round_done(void)
{
	uint64_t recheck;

	return swarm_round_done(w, now, &recheck);
}

/* So much later; the second's tick is made at the end of it. */
static inline void later(uint64_t ms)
{
	now += ms;
	(void)swarm_ace_tick(w, now);
}

static inline struct shm_peer *list(struct shm_swarm *head)
{
	static struct shm_peer out[CONF_SLOT_PEERS];

	swarm_snapshot(w, now, (uint64_t)wall_s() * 1000, head, out);
	return out;
}

#endif

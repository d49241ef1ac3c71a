/*
 * test_acefind.c -- who is asked about which key, when, how often; with trackers that this
 * program plays on loopback, and a DHT that is a line of its own.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "collector/acefind.h"
#include "collector/resolver.h"
#include "collector/tracksay.h"
#include "common/clock.h"
#include "shm/peerwords.h"
#include "steady.h"

#define A (const uint8_t *)"AAAAAAAAAAAAAAAAAAAA"
#define B (const uint8_t *)"BBBBBBBBBBBBBBBBBBBB"
#define KEYS(k) (const uint8_t(*)[IH_LEN])(k)
#define TRACKERS 3
#define LOG_MAX 4096
#define POLL_WAIT_MS 520 /* a poll that begins now knows a look-up that began then */
#define WORK_MS 20       /* what is due now is done by then */

/* ---- the stage -------------------------------------------------------------------- */

struct track {
	struct event *ev;
	int fd, deaf;
	uint32_t packets;
	uint32_t interval;
	uint16_t port;
};

static struct {
	struct event_base *base;
	struct acefind *f;
	struct conf conf;
	struct track track[TRACKERS];
	struct {
		int tracker;
		uint8_t event, key; /* first letter of the hash */
		uint16_t port;
	} heard[LOG_MAX];
	uint32_t nheard;
	char looks[LOG_MAX]; /* first letters of keys looked up */
	uint32_t nlooks;
	struct {
		enum acefind_what what;
		uint8_t swarm, key, source;
		uint32_t life, index, n, tracker;
		enum lt_failure failure;
	} news[LOG_MAX];
	uint32_t nnews;
	int stop_at; /* what: the swarm is stopped from that call; -1: not */
} st;

/* The time of the machine, but for what is skipped: of polls nobody has to wait for. */
static uint64_t skipped_ms;

static uint64_t read_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_ms(void)
{
	return read_us(CLOCK_MONOTONIC) / 1000 + skipped_ms;
}

uint64_t clock_us(void)
{
	return read_us(CLOCK_MONOTONIC) + skipped_ms * 1000;
}

uint64_t clock_wall_ms(void)
{
	return read_us(CLOCK_REALTIME) / 1000;
}

/* lt.cc's is not linked: this one is found first. */
int lt_dht_find(struct lt_session *lt, const uint8_t key[IH_LEN])
{
	(void)lt;
	if (st.nlooks < LOG_MAX)
		st.looks[st.nlooks++] = (char)key[0];
	return 0;
}

static void on_packet(evutil_socket_t fd, short what, void *arg)
{
	static const uint8_t peer[6] = {127, 0, 0, 1, 0x21, 0xad};
	struct track *t = arg;
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	uint8_t p[200], out[26] = {0};
	ssize_t n = recvfrom(fd, p, sizeof(p), 0, (struct sockaddr *)&from, &len);
	size_t size = 16;

	(void)what;
	t->packets++;
	if (t->deaf)
		return;
	memcpy(out + 4, p + 12, 4);
	if (n == ACETRACK_ANNOUNCE_LEN) {
		assert_in_range(st.nheard, 0, LOG_MAX - 1);
		st.heard[st.nheard].tracker = (int)(t - st.track);
		st.heard[st.nheard].event = p[83];
		st.heard[st.nheard].port = (uint16_t)(p[96] << 8 | p[97]);
		st.heard[st.nheard++].key = p[16];
		out[3] = 1;
		for (int i = 0; i < 4; i++)
			out[8 + i] = (uint8_t)(t->interval >> (24 - 8 * i));
		memcpy(out + 20, peer, 6);
		size = 26;
	}
	assert_int_equal(sendto(fd, out, size, 0, (struct sockaddr *)&from, len), size);
}

/* On the port that it had. */
static void tracker_open(struct track *t)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(t->port)};
	socklen_t len = sizeof(sa);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	t->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(t->fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(getsockname(t->fd, (struct sockaddr *)&sa, &len), 0);
	t->port = ntohs(sa.sin_port);
	t->interval = 1800;
	t->ev = event_new(st.base, t->fd, EV_READ | EV_PERSIST, on_packet, t);
	event_add(t->ev, NULL);
}

static void tracker_close(struct track *t)
{
	event_free(t->ev);
	close(t->fd);
}

static void on_news(void *arg, const struct acefind_news *news)
{
	assert_ptr_equal(arg, &st);
	assert_in_range(st.nnews, 0, LOG_MAX - 1);
	st.news[st.nnews].what = news->what;
	st.news[st.nnews].swarm = news->swarm[0];
	st.news[st.nnews].key = news->key ? news->key[0] : 0;
	st.news[st.nnews].index = news->index;
	st.news[st.nnews].source = news->source;
	st.news[st.nnews].life = news->life;
	st.news[st.nnews].n = news->n;
	st.news[st.nnews].tracker = news->tracker;
	st.news[st.nnews++].failure = news->failure;
	if ((int)news->what == st.stop_at)
		acefind_stop(st.f, news->swarm);
}

/* trackers: so many of the list */
static void set_trackers(int trackers)
{
	size_t at = 0;

	st.conf.acestream_trackers[0] = '\0';
	for (int i = 0; i < trackers; i++)
		at += (size_t)snprintf(st.conf.acestream_trackers + at,
				       sizeof(st.conf.acestream_trackers) - at,
				       "udp://127.0.0.1:%u/announce,", st.track[i].port);
}

static void begin(int trackers, int dht)
{
	memset(&st, 0, sizeof(st));
	st.stop_at = -1;
	st.base = event_base_new();
	for (int i = 0; i < TRACKERS; i++)
		tracker_open(&st.track[i]);
	conf_defaults(&st.conf);
	st.conf.swarm_allow_private = 1;
	st.conf.swarm_dht = dht;
	snprintf(st.conf.swarm_listen, sizeof(st.conf.swarm_listen), "127.0.0.1:42069");
	set_trackers(trackers);
	/* whatever is not NULL: our lt_dht_find does not look at it */
	assert_int_equal(acefind_open(&st.f, st.base, &st.conf,
				      (struct lt_session *)&st.base, on_news, &st),
			 0);
	acefind_port(st.f, 42069);
}

static void run(uint32_t ms)
{
	struct timeval tv = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};

	event_base_loopexit(st.base, &tv);
	event_base_dispatch(st.base);
}

/* Until a poll knows of look-ups that begin now. */
static void run_to_poll(void)
{
	run(WORK_MS);
	skipped_ms += POLL_WAIT_MS - WORK_MS;
}

static void end(void)
{
	acefind_close(&st.f);
	for (int i = 0; i < TRACKERS; i++)
		tracker_close(&st.track[i]);
	event_base_free(st.base);
	resolver_reset();
}

/* Of a swarm and its keys, each named by its letter. */
static void start(char swarm, uint32_t life, const char *keys)
{
	uint8_t id[IH_LEN], key[3][IH_LEN];
	uint32_t n = 0;

	memset(id, swarm, IH_LEN);
	for (; keys[n]; n++)
		memset(key[n], keys[n], IH_LEN);
	assert_int_equal(acefind_start(st.f, id, life, KEYS(key), n), 0);
}

static uint32_t count(enum acefind_what what)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < st.nnews; i++)
		n += st.news[i].what == what;
	return n;
}

static uint32_t events(int tracker, uint8_t key, uint8_t event)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < st.nheard; i++)
		n += st.heard[i].tracker == tracker && st.heard[i].key == key &&
		     st.heard[i].event == event;
	return n;
}

static void session_says(enum lt_kind kind, const uint8_t *key, uint16_t port)
{
	struct lt_event e = {.kind = (uint8_t)kind, .port = port};

	if (key)
		memcpy(e.id, key, IH_LEN);
	e.addr[15] = 1;
	acefind_event(st.f, &e);
}

/* ---- pure --------------------------------------------------------------------------- */

static void trackers_are_asked_at_their_interval(void **state)
{
	(void)state;
	assert_int_equal(acefind_again_ms(0, 0), 1800000);
	assert_int_equal(acefind_again_ms(1799, 0), 1800000);
	assert_int_equal(acefind_again_ms(3600, 0), 3600000);
	assert_int_equal(acefind_again_ms(UINT32_MAX, 0), 86400000);
	assert_int_equal(acefind_again_ms(3600, 1), 60000);
	assert_int_equal(acefind_again_ms(0, 2), 240000);
	assert_int_equal(acefind_again_ms(0, 3), 960000);
	assert_int_equal(acefind_again_ms(0, 4), 1800000);
	assert_int_equal(acefind_again_ms(0, UINT32_MAX), 1800000);
}

static void an_empty_dht_is_asked_sooner(void **state)
{
	(void)state;
	assert_int_equal(acefind_lookup_ms(900000, 0), 900000);
	assert_int_equal(acefind_lookup_ms(900000, 1), 20000);
	assert_int_equal(acefind_lookup_ms(900000, 2), 40000);
	assert_int_equal(acefind_lookup_ms(900000, 6), 640000);
	assert_int_equal(acefind_lookup_ms(900000, 7), 900000);
	assert_int_equal(acefind_lookup_ms(900000, UINT32_MAX), 900000);
	assert_int_equal(acefind_lookup_ms(1000, 1), 1000);
}

/* ---- a round ------------------------------------------------------------------------- */

static void each_key_is_asked_about_everywhere_once(void **state)
{
	(void)state;
	begin(2, 1);
	start('A', 7, "ABA");
	assert_int_equal(st.nnews + st.nlooks, 0); /* nothing from within the call */
	run(100);
	assert_int_equal(st.nlooks, 2);
	assert_memory_equal(st.looks, "AB", 2);
	for (int t = 0; t < 2; t++)
		for (int k = 'A'; k <= 'B'; k++) {
			assert_int_equal(events(t, (uint8_t)k, ACETRACK_STARTED), 1);
			assert_int_equal(events(t, (uint8_t)k, ACETRACK_STOPPED), 1);
		}
	assert_int_equal(st.nheard, 8);
	assert_int_equal(st.heard[0].port, 42069);
	assert_int_equal(count(ACEFIND_ASKED), 4);
	assert_int_equal(count(ACEFIND_ANSWERED), 4);
	assert_int_equal(count(ACEFIND_FOUND), 4);
	assert_int_equal(count(ACEFIND_ROUND), 0); /* the DHT has not said a word */
	for (uint32_t i = 0; i < st.nnews; i++) {
		assert_int_equal(st.news[i].life, 7);
		assert_int_equal(st.news[i].swarm, 'A');
		assert_int_equal(st.news[i].index, st.news[i].key - 'A');
	}
	end();
}

static void what_the_session_asks_the_dht_is_not_asked_again(void **state)
{
	(void)state;
	begin(1, 1);
	start('A', 1, "AB");
	acefind_session_asks(st.f, A, 1);
	run(100);
	assert_int_equal(st.nlooks, 1);
	assert_memory_equal(st.looks, "B", 1);
	session_says(LT_DHT_FOUND, B, 8621);
	run(ACEFIND_QUIET_MS + 200);
	assert_int_equal(count(ACEFIND_ROUND), 1); /* nobody waits for A's */
	acefind_session_asks(st.f, A, 0);          /* it has left the swarm */
	run(100);
	assert_memory_equal(st.looks, "BA", 2);
	end();
}

static void a_round_is_over_when_the_dht_pauses_or_ends(void **state)
{
	(void)state;
	begin(1, 1);
	start('A', 1, "AB");
	run(50);
	session_says(LT_DHT_FOUND, A, 8621);
	session_says(LT_DHT_FOUND, A, 0); /* no port: nobody */
	session_says(LT_STATS, NULL, 0);  /* of a poll that is too old */
	assert_int_equal(count(ACEFIND_LOOKED), 0);
	run(ACEFIND_QUIET_MS + 100);
	assert_int_equal(count(ACEFIND_ROUND), 0); /* B has found nobody yet */
	run(200);
	session_says(LT_DHT_AT_WORK, B, 0);
	session_says(LT_STATS, NULL, 0);
	assert_int_equal(count(ACEFIND_LOOKED), 1);
	session_says(LT_STATS, NULL, 0); /* B is not at work any more */
	assert_int_equal(count(ACEFIND_LOOKED), 2);
	run(20);
	assert_int_equal(count(ACEFIND_ROUND), 1);
	assert_int_equal(st.news[st.nnews - 1].what, ACEFIND_ROUND);
	session_says(LT_DHT_FOUND, A, 8621); /* late: nobody is asked */
	run(50);
	assert_int_equal(count(ACEFIND_FOUND), 3);
	assert_int_equal(count(ACEFIND_ROUND), 1);
	end();
}

/* An id that was asked for as it is, and another swarm's that an engine resolved to it: what
 * is found under it is found for both, whichever of them is told to stop at that. */
static void a_key_of_two_swarms_feeds_both(void **state)
{
	(void)state;
	for (int stops = 0; stops <= 1; stops++) {
		begin(0, 1);
		st.stop_at = stops ? ACEFIND_FOUND : -1;
		start('A', 1, "A");
		start('B', 2, "BA");
		run(20);
		assert_int_equal(st.nlooks, 3);
		session_says(LT_DHT_FOUND, A, 8621);
		assert_int_equal(count(ACEFIND_FOUND), 2);
		assert_int_equal(st.news[0].swarm, 'A');
		assert_int_equal(st.news[1].swarm, 'B');
		assert_int_equal(st.news[1].index, 1);
		session_says(LT_DHT_FOUND, A, 8622);
		assert_int_equal(count(ACEFIND_FOUND), stops ? 2 : 4);
		end();
	}
}

static void with_nobody_to_ask_it_is_over_at_once(void **state)
{
	(void)state;
	begin(0, 0);
	start('A', 1, "A");
	assert_int_equal(st.nnews, 0);
	run(20);
	assert_int_equal(st.nnews, 1);
	assert_int_equal(st.news[0].what, ACEFIND_ROUND);
	assert_int_equal(st.nlooks, 0);
	end();
}

static void start_many(int n)
{
	for (int i = 0; i < n; i++) {
		uint8_t id[IH_LEN] = {(uint8_t)(100 + i)};

		assert_int_equal(acefind_start(st.f, id, 1, KEYS(id), 1), 0);
	}
}

static void a_dead_tracker_delays_no_other(void **state)
{
	(void)state;
	begin(2, 0);
	st.track[0].deaf = 1;
	start_many(40);
	run(500);
	/* 64 places: half are held by the deaf one, the others serve all. */
	assert_int_equal(count(ACEFIND_ANSWERED), 40);
	assert_int_equal(count(ACEFIND_ROUND), 0);
	end();
}

/* One that failed has fewer places, until it answers. */
static void a_tracker_that_answers_again_is_trusted_again(void **state)
{
	(void)state;
	for (int well = 0; well <= 1; well++) {
		begin(1, 0);
		tracker_close(&st.track[0]);
		start('A', 1, "A");
		run(50);
		assert_int_equal(count(ACEFIND_FAILED), 1);
		tracker_open(&st.track[0]);
		if (well)
			acefind_hasten(st.f, NULL);
		run(50);
		assert_int_equal(count(ACEFIND_ANSWERED), well);
		st.track[0].deaf = 1;
		st.track[0].packets = 0;
		start_many(40);
		run(200);
		assert_int_equal(st.track[0].packets, well ? 40 : ACEFIND_ANNOUNCES / 4);
		end();
	}
}

static void a_closed_port_fails_and_the_round_is_over(void **state)
{
	(void)state;
	begin(1, 0);
	tracker_close(&st.track[0]);
	start('A', 1, "A");
	run(100);
	assert_int_equal(st.news[st.nnews - 2].what, ACEFIND_FAILED);
	assert_int_equal(st.news[st.nnews - 2].failure, LT_FAIL_REFUSED);
	assert_int_equal(st.news[st.nnews - 2].tracker & LT_TRACKER_UDP, LT_TRACKER_UDP);
	assert_int_equal(st.news[st.nnews - 1].what, ACEFIND_ROUND);
	acefind_hasten(st.f, NULL);
	run(100);
	assert_int_equal(count(ACEFIND_FAILED), 2);
	acefind_hasten(st.f, B); /* of another one */
	run(100);
	assert_int_equal(count(ACEFIND_FAILED), 2);
	assert_int_equal(count(ACEFIND_ROUND), 1);
	acefind_hasten(st.f, A); /* due, so another life waits for it */
	start('A', 2, "A");
	run(100);
	assert_int_equal(st.news[st.nnews - 2].what, ACEFIND_FAILED);
	assert_int_equal(st.news[st.nnews - 1].what, ACEFIND_ROUND);
	tracker_open(&st.track[0]);
	end();
}

/* ---- lives ---------------------------------------------------------------------------- */

static void new_keys_are_asked_about_and_others_are_not_asked_twice(void **state)
{
	(void)state;
	begin(1, 1);
	start('A', 1, "A");
	run(50);
	start('A', 1, "BA");
	run(50);
	assert_memory_equal(st.looks, "AB", 3);
	assert_int_equal(events(0, 'A', ACETRACK_STARTED), 1);
	assert_int_equal(events(0, 'B', ACETRACK_STARTED), 1);
	session_says(LT_DHT_FOUND, A, 1);
	assert_int_equal(st.news[st.nnews - 1].index, 1); /* of the newest list */
	assert_int_equal(st.news[st.nnews - 1].source, PEER_SRC_DHT);
	end();
}

static void another_life_has_another_round_but_trackers_keep_their_interval(void **state)
{
	(void)state;
	begin(1, 1);
	start('A', 1, "A");
	run_to_poll();
	session_says(LT_STATS, NULL, 0);
	run(50);
	assert_int_equal(count(ACEFIND_ROUND), 1);
	start('A', 2, "A");
	run(50);
	assert_int_equal(st.nlooks, 2);
	assert_int_equal(count(ACEFIND_ROUND), 1); /* it waits for that look-up */
	session_says(LT_DHT_FOUND, A, 1);
	assert_int_equal(st.news[st.nnews - 1].life, 2);
	run(ACEFIND_QUIET_MS + 100);
	assert_int_equal(count(ACEFIND_ROUND), 2);
	assert_int_equal(events(0, 'A', ACETRACK_STARTED), 1);
	end();
}

static void who_was_left_is_announced_again_after_the_gap(void **state)
{
	(void)state;
	begin(1, 0);
	st.conf.swarm_announce_gap_ms = 400;
	acefind_configure(st.f, &st.conf);
	start('A', 1, "A");
	run(50);
	acefind_stop(st.f, A);
	acefind_stop(st.f, B); /* nobody */
	start('A', 2, "A");
	run(50);
	assert_int_equal(st.news[st.nnews - 1].what, ACEFIND_ROUND); /* not waited for */
	assert_int_equal(events(0, 'A', ACETRACK_STARTED), 1);
	run(400);
	assert_int_equal(events(0, 'A', ACETRACK_STARTED), 2);
	end();
}

static void left_under_way_the_tracker_hears_it(void **state)
{
	(void)state;
	begin(1, 1);
	start('A', 1, "A");
	while (st.nheard == 0)
		event_base_loop(st.base, EVLOOP_ONCE);
	acefind_stop(st.f, A);
	run(50);
	assert_int_equal(events(0, 'A', ACETRACK_STARTED), 1);
	assert_int_equal(events(0, 'A', ACETRACK_STOPPED), 1);
	session_says(LT_DHT_FOUND, A, 1);
	assert_int_equal(count(ACEFIND_FOUND) + count(ACEFIND_ROUND), 0);
	end();
}

static void it_may_be_stopped_from_any_call(void **state)
{
	(void)state;
	for (int what = ACEFIND_FOUND; what <= ACEFIND_ROUND; what++)
		for (int dht = 0; dht <= 1; dht++) {
			if (what == ACEFIND_LOOKED && !dht)
				continue;
			begin(1, dht);
			st.stop_at = what;
			st.conf.swarm_allow_private = what != ACEFIND_FAILED;
			set_trackers(what == ACEFIND_FOUND && dht ? 0 : 1);
			acefind_configure(st.f, &st.conf);
			start('A', 1, "A");
			run(50);
			if (dht)
				run_to_poll();
			if (dht && what == ACEFIND_FOUND)
				session_says(LT_DHT_FOUND, A, 1);
			session_says(LT_DHT_FOUND, B, 1);
			session_says(LT_STATS, NULL, 0);
			run(50);
			assert_int_equal(count((enum acefind_what)what), 1);
			assert_int_equal(st.news[st.nnews - 1].what, what);
			assert_int_equal(events(0, 'A', ACETRACK_STARTED),
					 events(0, 'A', ACETRACK_STOPPED));
			end();
		}
}

/* ---- bounds ---------------------------------------------------------------------------- */

static void look_ups_and_announces_take_turns(void **state)
{
	(void)state;
	begin(1, 1);
	st.track[0].deaf = 1;
	start_many(100);
	run_to_poll();
	assert_int_equal(st.nlooks, ACEFIND_LOOKUPS);
	session_says(LT_STATS, NULL, 0);
	run(20);
	assert_int_equal(st.nlooks, 2 * ACEFIND_LOOKUPS);
	end();
}

static void a_full_table_refuses(void **state)
{
	uint8_t id[IH_LEN] = {0};

	(void)state;
	begin(0, 0);
	st.conf.swarm_max_swarms = 2;
	acefind_configure(st.f, &st.conf);
	for (; id[0] < 3; id[0]++)
		assert_int_equal(acefind_start(st.f, id, 1, KEYS(id), 1), 0);
	assert_int_equal(acefind_start(st.f, id, 1, KEYS(id), 1), -1);
	id[0] = 0;
	assert_int_equal(acefind_start(st.f, id, 2, KEYS(id), 1), 0); /* it is there */
	end();
}

static void one_look_up_names_so_many_at_most(void **state)
{
	(void)state;
	begin(0, 1);
	start('A', 1, "A");
	run_to_poll();
	for (int i = 0; i < ACEFIND_FOUND_MAX + 100; i++)
		session_says(LT_DHT_FOUND, A, 1);
	assert_int_equal(st.nnews, ACEFIND_FOUND_MAX);
	session_says(LT_STATS, NULL, 0);
	assert_int_equal(st.news[st.nnews - 1].what, ACEFIND_LOOKED);
	assert_int_equal(st.news[st.nnews - 1].n, ACEFIND_FOUND_MAX + 100);
	end();
}

/* ---- the network, the configuration ------------------------------------------------------ */

static void suspended_not_a_packet_leaves(void **state)
{
	uint32_t heard;

	(void)state;
	begin(1, 1);
	st.track[0].deaf = 1;
	start('A', 1, "A");
	run(50);
	acefind_suspend(st.f);
	st.track[0].deaf = 0;
	heard = st.nheard;
	start('B', 1, "B");
	acefind_hasten(st.f, NULL);
	acefind_configure(st.f, &st.conf);
	session_says(LT_DHT_FOUND, A, 1);
	run(150);
	assert_int_equal(st.nheard, heard);
	assert_int_equal(st.nlooks, 1);
	assert_int_equal(st.nnews, 0);
	acefind_resume(st.f);
	run(50);
	assert_int_equal(st.nlooks, 3);
	assert_int_equal(events(0, 'A', ACETRACK_STARTED), 1);
	assert_int_equal(events(0, 'B', ACETRACK_STARTED), 1);
	acefind_suspend(st.f); /* those that answered keep their interval */
	acefind_resume(st.f);
	run(50);
	assert_int_equal(st.nlooks, 5);
	assert_int_equal(events(0, 'A', ACETRACK_STARTED), 1);
	end();
}

static void a_reload_asks_new_trackers_alone(void **state)
{
	(void)state;
	begin(1, 0);
	start('A', 1, "A");
	run(50);
	set_trackers(3);
	acefind_configure(st.f, &st.conf);
	run(50);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(events(i, 'A', ACETRACK_STARTED), 1);
		assert_int_equal(events(i, 'A', ACETRACK_STOPPED), 1);
	}
	set_trackers(0);
	acefind_configure(st.f, &st.conf);
	set_trackers(2);
	acefind_configure(st.f, &st.conf);
	run(50);
	assert_int_equal(events(0, 'A', ACETRACK_STARTED), 2); /* forgotten: the price */
	assert_int_equal(events(2, 'A', ACETRACK_STARTED), 1);
	assert_int_equal(count(ACEFIND_ROUND), 1);
	end();
}

static void a_tracker_that_is_taken_away_while_asked_hears_stopped(void **state)
{
	(void)state;
	begin(2, 0);
	start('A', 1, "A");
	while (st.nheard == 0)
		event_base_loop(st.base, EVLOOP_ONCE);
	set_trackers(0);
	acefind_configure(st.f, &st.conf);
	run(50);
	for (int i = 0; i < 2; i++)
		assert_int_equal(events(i, 'A', ACETRACK_STARTED),
				 events(i, 'A', ACETRACK_STOPPED));
	assert_int_equal(count(ACEFIND_ROUND), 1);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trackers_are_asked_at_their_interval),
		cmocka_unit_test(an_empty_dht_is_asked_sooner),
		cmocka_unit_test(each_key_is_asked_about_everywhere_once),
		cmocka_unit_test(what_the_session_asks_the_dht_is_not_asked_again),
		cmocka_unit_test(a_round_is_over_when_the_dht_pauses_or_ends),
		cmocka_unit_test(with_nobody_to_ask_it_is_over_at_once),
		cmocka_unit_test(a_key_of_two_swarms_feeds_both),
		cmocka_unit_test(a_dead_tracker_delays_no_other),
		cmocka_unit_test(a_tracker_that_answers_again_is_trusted_again),
		cmocka_unit_test(a_closed_port_fails_and_the_round_is_over),
		cmocka_unit_test(new_keys_are_asked_about_and_others_are_not_asked_twice),
		cmocka_unit_test(
			another_life_has_another_round_but_trackers_keep_their_interval),
		cmocka_unit_test(who_was_left_is_announced_again_after_the_gap),
		cmocka_unit_test(left_under_way_the_tracker_hears_it),
		cmocka_unit_test(it_may_be_stopped_from_any_call),
		cmocka_unit_test(look_ups_and_announces_take_turns),
		cmocka_unit_test(a_full_table_refuses),
		cmocka_unit_test(one_look_up_names_so_many_at_most),
		cmocka_unit_test(suspended_not_a_packet_leaves),
		cmocka_unit_test(a_reload_asks_new_trackers_alone),
		cmocka_unit_test(a_tracker_that_is_taken_away_while_asked_hears_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

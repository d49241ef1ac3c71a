/*
 * test_acetrack.c -- BEP 15 as bytes, then announces to a tracker that this program plays
 * on loopback: answers, lies, silence.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "collector/acetrack.h"
#include "collector/resolver.h"
#include "common/clock.h"
#include "steady.h"

/* ---- URLs --------------------------------------------------------------------------- */

static void urls_are_read(void **state)
{
	static const struct {
		const char *url, *host;
		uint16_t port;
	} good[] = {
		{"udp://t1.example:2710/announce", "t1.example", 2710},
		{"udp://t1.example:2710", "t1.example", 2710},
		{"udp://127.0.0.1:1?x", "127.0.0.1", 1},
		{"udp://[::1]:65535/", "::1", 65535},
	};
	static const char *const bad[] = {"",
					  "udp://",
					  "udp://t1.example",
					  "udp://:1",
					  "udp://t:",
					  "udp://t:0",
					  "udp://t:65536",
					  "udp://t:1x",
					  "udp://t:000001",
					  "http://t:1",
					  "udp://u@t:1",
					  "udp://t:1 udp://u:1",
					  "udp://[::1:1",
					  "udp://[]:1",
					  "udp://[1.2.3.4]:1",
					  "udp://[x]:1",
					  "udp://[::1]1",
					  "udp://::1:1",
					  "udp:// t:1",
					  "udp://t/x:1"};
	struct acetrack_url url;
	char err[ERRLEN], text[ACETRACK_URL_MAX + 1] = "udp://";

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(acetrack_parse(&url, good[i].url, err), 0);
		assert_string_equal(url.host, good[i].host);
		assert_int_equal(url.port, good[i].port);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (acetrack_parse(&url, bad[i], err) == 0)
			fail_msg("taken: %s", bad[i]);
	memset(text + 6, 'x', sizeof(text) - 6);
	memcpy(text + sizeof(text) - 3, ":1", 3);
	assert_int_equal(acetrack_parse(&url, text, err), -1);
	memcpy(text + sizeof(text) - 4, ":1", 3);
	assert_int_equal(acetrack_parse(&url, text, err), 0);
	assert_int_equal(strlen(text), ACETRACK_URL_MAX - 1);
}

/* ---- packets ------------------------------------------------------------------------- */

static const struct acetrack_ask ASK = {
	.hash = "hhhhhhhhhhhhhhhhhhhh",
	.peer_id = "R30------abcdefghijk",
	.key = 0x01020304,
	.port = 0x21ad,
};

static void what_we_say_is_as_in_bep_15(void **state)
{
	static const uint8_t connect[ACETRACK_CONNECT_LEN] = {0,    0,    4,    0x17,
							      0x27, 0x10, 0x19, 0x80,
							      0,    0,    0,    0,
							      0xde, 0xad, 0xbe, 0xef};
	static const uint8_t head[16] = {1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 9, 9, 9, 9};
	static const uint8_t tail[42] =
		{0,   0,   0,   0,   0,   0,   0,   0,   /* downloaded */
		 255, 255, 255, 255, 255, 255, 255, 255, /* left */
		 0,   0,   0,   0,   0,   0,   0,   0,   /* uploaded */
		 0,   0,   0,   2,   0,   0,   0,   0,    1,
		 2,   3,   4,   0,   0,   0,   200, 0x21, 0xad};
	uint8_t out[ACETRACK_ANNOUNCE_LEN];

	(void)state;
	acetrack_put_connect(out, 0xdeadbeef);
	assert_memory_equal(out, connect, sizeof(connect));
	acetrack_put_announce(out, 0x0102030405060708, 0x09090909, &ASK,
			      ACETRACK_STARTED);
	assert_memory_equal(out, head, sizeof(head));
	assert_memory_equal(out + 16, ASK.hash, 20);
	assert_memory_equal(out + 36, ASK.peer_id, 20);
	assert_memory_equal(out + 56, tail, sizeof(tail));
	acetrack_put_announce(out, 1, 2, &ASK, ACETRACK_STOPPED);
	assert_int_equal(out[83], 3);
	assert_int_equal(out[95], 0); /* of nobody: we are leaving */
}

/* 7: the transaction */
static enum acetrack_rc get(struct acetrack_answer *a, const void *p, size_t len, int v6)
{
	return acetrack_get(a, p, len, ACETRACK_ANNOUNCE, 7, v6);
}

static void answers_are_read(void **state)
{
	static const uint8_t connected[] = {0, 0, 0, 0, 0, 0, 0, 7,
					    1, 2, 3, 4, 5, 6, 7, 8};
	static const uint8_t peers[] =
		{0,   0,  0,   1, 0,    0,    0, 7,   0, 0, 7,  8,    0,
		 0,   0,  2,   0, 0,    0,    3, 192, 0, 2, 10, 0x21, 0xad, /* one */
		 10,  0,  0,   1, 0,    0,                                  /* no port */
		 198, 51, 100, 7, 0x21, 0xae, 1, 2,   3 /* and half of one */};
	static const uint8_t peer6[] = {0,    0,    0,    1,    0, 0, 0,    7,   0, 0,
					7,    8,    0,    0,    0, 0, 0,    0,   0, 0,
					0x20, 0x01, 0x0d, 0xb8, 0, 0, 0,    0,   0, 0,
					0,    0,    0,    0,    0, 1, 0x21, 0xad};
	struct acetrack_answer a;
	char text[ADDR_TEXT_MAX];

	(void)state;
	assert_int_equal(acetrack_get(&a, connected, sizeof(connected), ACETRACK_CONNECT,
				      7, 0),
			 ACETRACK_OK);
	assert_true(a.connection == 0x0102030405060708);
	assert_int_equal(get(&a, peers, sizeof(peers), 0), ACETRACK_OK);
	assert_int_equal(a.interval_s, 1800);
	assert_int_equal(a.leechers, 2);
	assert_int_equal(a.seeders, 3);
	assert_int_equal(a.n, 2);
	addr_text(text, a.peer[0].addr);
	assert_string_equal(text, "192.0.2.10");
	assert_int_equal(a.peer[0].port, 8621);
	addr_text(text, a.peer[1].addr);
	assert_string_equal(text, "198.51.100.7");
	assert_int_equal(get(&a, peer6, sizeof(peer6), 1), ACETRACK_OK);
	assert_int_equal(a.n, 1);
	addr_text(text, a.peer[0].addr);
	assert_string_equal(text, "2001:db8::1");
	assert_int_equal(a.peer[0].port, 8621);
}

/* Every length of a good answer; nothing is read beyond it (the sanitizer looks). */
static void cut_short_anywhere_it_is_no_answer_or_a_shorter_one(void **state)
{
	static const uint8_t whole[] = {0, 0, 0, 1, 0, 0, 0, 7,   0, 0, 7,  8,    0,
					0, 0, 2, 0, 0, 0, 3, 192, 0, 2, 10, 0x21, 0xad};
	struct acetrack_answer a;

	(void)state;
	for (size_t len = 0; len <= sizeof(whole); len++) {
		uint8_t *copy = malloc(len ? len : 1);

		memcpy(copy, whole, len);
		assert_int_equal(get(&a, copy, len, 0), len < 8    ? ACETRACK_NOT_OURS
							: len < 20 ? ACETRACK_GARBLED
								   : ACETRACK_OK);
		assert_int_equal(a.n, len == sizeof(whole));
		free(copy);
	}
}

static void what_is_not_ours_is_waited_out(void **state)
{
	uint8_t p[20] = {0, 0, 0, 1, 0, 0, 0, 8};
	struct acetrack_answer a;

	(void)state;
	assert_int_equal(get(&a, p, sizeof(p), 0), ACETRACK_NOT_OURS);
	p[7] = 7;
	assert_int_equal(get(&a, p, sizeof(p), 0), ACETRACK_OK);
	p[3] = 0; /* the answer to a connect */
	assert_int_equal(get(&a, p, sizeof(p), 0), ACETRACK_GARBLED);
	p[3] = 2;
	assert_int_equal(get(&a, p, sizeof(p), 0), ACETRACK_GARBLED);
	p[0] = 0xff;
	assert_int_equal(get(&a, p, sizeof(p), 0), ACETRACK_GARBLED);
}

static void errors_have_words(void **state)
{
	uint8_t p[8 + 300] = {0, 0, 0, 3, 0, 0, 0, 7};
	struct acetrack_answer a;

	(void)state;
	memset(p + 8, 'x', 300);
	assert_int_equal(get(&a, p, sizeof(p), 0), ACETRACK_NO);
	assert_int_equal(strlen(a.text), ACETRACK_TEXT_MAX - 1);
	memcpy(p + 8, "go away", 7);
	assert_int_equal(get(&a, p, 15, 0), ACETRACK_NO);
	assert_string_equal(a.text, "go away");
	assert_int_equal(get(&a, p, 8, 0), ACETRACK_NO);
	assert_string_equal(a.text, "an error without a word");
}

static void a_huge_answer_is_cut(void **state)
{
	static uint8_t p[65507] = {0, 0, 0, 1, 0, 0, 0, 7};
	struct acetrack_answer a;

	(void)state;
	memset(p + 20, 1, sizeof(p) - 20);
	assert_int_equal(get(&a, p, sizeof(p), 0), ACETRACK_OK);
	assert_int_equal(a.n, ACETRACK_PEERS);
	assert_int_equal(get(&a, p, sizeof(p), 1), ACETRACK_OK);
	assert_int_equal(a.n, ACETRACK_PEERS);
}

static void garbage_is_survived(void **state)
{
	uint32_t x = 1;
	struct acetrack_answer a;
	int seen = 0;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		uint8_t p[64];
		size_t len = (x >> 8) % (sizeof(p) + 1);

		for (size_t i = 0; i < sizeof(p); i++)
			p[i] = (uint8_t)((x = x * 1664525u + 1013904223u) >> 24);
		if (round % 2) /* past the transaction */
			memcpy(p, "\0\0\0\1\0\0\0\7", 8);
		seen |= 1 << get(&a, p, len, round % 3 == 0);
		assert_true(a.n <= 9);
	}
	assert_int_equal(seen, 1 << ACETRACK_NOT_OURS | 1 << ACETRACK_OK |
				       1 << ACETRACK_GARBLED);
}

/* ---- a tracker ------------------------------------------------------------------------ */

enum manner { GOOD, REFUSES, SILENT, DEAF_TO_CONNECT, LOSES_ONE, OTHER_TXID, GARBLES };

static struct stage {
	struct event_base *base;
	struct event *ev;
	int fd;
	enum manner manner;
	uint32_t connects, started, stopped; /* packets that came */
	uint8_t first[ACETRACK_ANNOUNCE_LEN], last[ACETRACK_ANNOUNCE_LEN];
	uint64_t stopped_ms, answered_ms;
	struct acetrack *t;
	int asked, answers, failures, overs;
	enum lt_failure failure;
	char text[100];
	uint32_t n;
	int end_when_answered;
} st;

static const uint8_t CONNECTION[8] = "conn-id";

static void answer(const struct sockaddr *to, socklen_t len, const uint8_t *txid)
{
	uint8_t out[26] = {0, 0, 0, 1};

	memcpy(out + 4, txid, 4);
	memcpy(out + 8, "\0\0\x07\x08\0\0\0\1\0\0\0\1\x7f\0\0\1\x21\xad", 18);
	if (st.manner == OTHER_TXID)
		out[4] ^= 1;
	if (st.manner == REFUSES) {
		out[3] = 3;
		memcpy(out + 8, "not for you", 12);
		assert_int_equal(sendto(st.fd, out, 19, 0, to, len), 19);
		return;
	}
	assert_int_equal(sendto(st.fd, out, st.manner == GARBLES ? 13 : 26, 0, to, len),
			 st.manner == GARBLES ? 13 : 26);
}

static void on_connect(const struct sockaddr *to, socklen_t len, const uint8_t *p)
{
	uint8_t out[16] = {0};

	st.connects++;
	if (st.manner == DEAF_TO_CONNECT || (st.manner == LOSES_ONE && st.connects == 1))
		return;
	memcpy(out + 4, p + 12, 4);
	memcpy(out + 8, CONNECTION, 8);
	assert_int_equal(sendto(st.fd, out, 16, 0, to, len), 16);
}

static void on_packet(evutil_socket_t fd, short what, void *arg)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	uint8_t p[200];
	ssize_t n = recvfrom(fd, p, sizeof(p), 0, (struct sockaddr *)&from, &len);

	(void)what;
	(void)arg;
	if (n == ACETRACK_CONNECT_LEN) {
		on_connect((struct sockaddr *)&from, len, p);
		return;
	}
	assert_int_equal(n, ACETRACK_ANNOUNCE_LEN);
	assert_memory_equal(p, CONNECTION, 8);
	if (p[83] == ACETRACK_STARTED && st.started++ == 0)
		memcpy(st.first, p, sizeof(st.first));
	if (p[83] == ACETRACK_STOPPED) {
		st.stopped++;
		st.stopped_ms = clock_ms();
		memcpy(st.last, p, sizeof(st.last));
	}
	if (st.manner != SILENT)
		answer((struct sockaddr *)&from, len, p + 12);
}

static void on_news(void *arg, const struct acetrack_news *news)
{
	assert_ptr_equal(arg, &st);
	assert_int_equal(st.overs, 0);
	switch (news->what) {
	case ACETRACK_ASKED: st.asked++; break;
	case ACETRACK_ANSWERED:
		st.answers++;
		st.answered_ms = clock_ms();
		st.n = news->answer->n;
		if (st.end_when_answered)
			acetrack_end(&st.t, 1);
		break;
	case ACETRACK_FAILED:
		st.failures++;
		st.failure = news->failure;
		snprintf(st.text, sizeof(st.text), "%s", news->text);
		break;
	case ACETRACK_OVER:
		st.overs++;
		st.t = NULL;
		break;
	}
}

/* Port 0: nobody is there. */
static uint16_t listen_on(const char *address)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	socklen_t len = sizeof(sa);

	inet_pton(AF_INET, address, &sa.sin_addr);
	st.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(st.fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(getsockname(st.fd, (struct sockaddr *)&sa, &len), 0);
	st.ev = event_new(st.base, st.fd, EV_READ | EV_PERSIST, on_packet, NULL);
	event_add(st.ev, NULL);
	return ntohs(sa.sin_port);
}

static void begin_at(const char *host, enum manner manner, const struct acetrack_way *way)
{
	struct acetrack_url url;

	snprintf(url.host, sizeof(url.host), "%s", host);
	memset(&st, 0, sizeof(st));
	st.base = event_base_new();
	st.manner = manner;
	url.port = listen_on("127.0.0.1");
	assert_int_equal(acetrack_begin(&st.t, st.base, &url, &ASK, way, on_news, &st),
			 0);
	assert_int_equal(st.asked + st.failures, 0); /* never from within the call */
}

static void begin(enum manner manner, const struct acetrack_way *way)
{
	begin_at("127.0.0.1", manner, way);
}

static void run_until_over(uint64_t max_ms)
{
	uint64_t end = clock_ms() + max_ms;

	while (st.t && clock_ms() < end) {
		struct timeval tv = {0, 20000};

		event_base_loopexit(st.base, &tv);
		event_base_dispatch(st.base);
	}
	for (int i = 0; i < 3; i++) /* what is on its way to the tracker */
		event_base_loop(st.base, EVLOOP_NONBLOCK);
}

static void end(void)
{
	acetrack_end(&st.t, 0);
	event_free(st.ev);
	close(st.fd);
	event_base_free(st.base);
}

#define QUICK .try_ms = 100, .last_ms = 200
static const struct acetrack_way ANY = {.allow_private = 1, QUICK};

static void one_announce_and_stopped_at_once(void **state)
{
	(void)state;
	begin(GOOD, &ANY);
	run_until_over(2000);
	assert_int_equal(st.overs, 1);
	assert_int_equal(st.asked, 1);
	assert_int_equal(st.answers, 1);
	assert_int_equal(st.n, 1);
	assert_int_equal(st.failures, 0);
	assert_int_equal(st.connects, 1);
	assert_int_equal(st.started, 1);
	assert_int_equal(st.stopped, 1);
	assert_true(st.stopped_ms - st.answered_ms < 500);
	/* hash, peer id, key, port are the same; each step has a transaction of its own */
	assert_memory_equal(st.first + 16, st.last + 16, 40);
	assert_memory_equal(st.first + 88, st.last + 88, 4);
	assert_memory_equal(st.first + 96, st.last + 96, 2);
	assert_memory_not_equal(st.first + 12, st.last + 12, 4);
	end();
}

static void an_error_is_the_end(void **state)
{
	(void)state;
	begin(REFUSES, &ANY);
	run_until_over(2000);
	assert_int_equal(st.overs, 1);
	assert_int_equal(st.failure, LT_FAIL_ANSWERED);
	assert_string_equal(st.text, "not for you");
	assert_int_equal(st.stopped, 0);
	end();
}

static void half_an_answer_is_none_and_we_leave(void **state)
{
	(void)state;
	begin(GARBLES, &ANY);
	run_until_over(2000);
	assert_int_equal(st.overs, 1);
	assert_int_equal(st.failure, LT_FAIL_GARBLED);
	assert_int_equal(st.stopped, 1);
	end();
}

static void a_lost_packet_is_sent_again(void **state)
{
	(void)state;
	begin(LOSES_ONE, &ANY);
	run_until_over(6000);
	assert_int_equal(st.connects, 2);
	assert_int_equal(st.answers, 1);
	assert_int_equal(st.overs, 1);
	end();
}

static void a_tracker_with_a_private_address_is_not_asked(void **state)
{
	static const struct acetrack_way strict = {.allow_private = 0, QUICK};

	(void)state;
	begin(GOOD, &strict);
	run_until_over(2000);
	assert_int_equal(st.overs, 1);
	assert_int_equal(st.failure, LT_FAIL_UNREACHABLE);
	assert_non_null(strstr(st.text, "private"));
	assert_int_equal(st.connects, 0);
	end();
}

static void a_closed_port_is_known_at_once(void **state)
{
	(void)state;
	begin(GOOD, &ANY);
	event_del(st.ev);
	close(st.fd);
	run_until_over(2000);
	assert_int_equal(st.failure, LT_FAIL_REFUSED);
	assert_int_equal(st.overs, 1);
	st.fd = dup(0); /* for end() */
	end();
}

static void without_the_device_not_a_packet_leaves(void **state)
{
	static const struct acetrack_way gone = {.device = "no-such-dev",
						 .allow_private = 1,
						 QUICK};

	(void)state;
	begin(GOOD, &gone);
	run_until_over(2000);
	assert_int_equal(st.failure, LT_FAIL_UNREACHABLE);
	assert_int_equal(st.connects, 0);
	assert_int_equal(st.overs, 1);
	end();
}

static void it_starts_from_the_address_that_is_ours(void **state)
{
	struct acetrack_way way = ANY;

	(void)state;
	assert_int_equal(addr_parse(way.from4, "127.93.0.7"), 0);
	begin(GOOD, &way);
	run_until_over(2000);
	assert_int_equal(st.answers, 1);
	end();
	assert_int_equal(addr_parse(way.from4, "192.0.2.1"), 0); /* of nobody here */
	begin(GOOD, &way);
	run_until_over(2000);
	assert_int_equal(st.failure, LT_FAIL_UNREACHABLE);
	assert_int_equal(st.connects, 0);
	end();
}

static void it_can_be_ended_from_its_own_call(void **state)
{
	(void)state;
	begin(GOOD, &ANY);
	st.end_when_answered = 1;
	run_until_over(2000);
	assert_null(st.t);
	assert_int_equal(st.answers, 1);
	assert_int_equal(st.overs, 0); /* not a word more */
	assert_int_equal(st.stopped, 1);
	end();
}

static void ended_early_it_says_stopped_or_nothing(void **state)
{
	(void)state;
	for (int stop = 0; stop <= 1; stop++) {
		begin(SILENT, &ANY);
		while (!st.started)
			event_base_loop(st.base, EVLOOP_ONCE);
		acetrack_end(&st.t, stop);
		run_until_over(0);
		assert_int_equal(st.stopped, stop);
		assert_int_equal(st.failures + st.overs, 0);
		end();
	}
}

static void silence_is_waited_out_twice(void **state)
{
	uint64_t began;

	(void)state;
	begin(DEAF_TO_CONNECT, &ANY);
	began = clock_ms();
	run_until_over(3000);
	assert_int_equal(st.overs, 1);
	assert_int_equal(st.failure, LT_FAIL_SILENT);
	assert_int_equal(st.connects, 2);
	assert_int_equal(st.started + st.stopped, 0);
	assert_in_range(clock_ms() - began, 290, 2000);
	end();
}

/* It may have taken us in, and its answer was lost; "stopped" is not answered either. */
static void one_that_may_know_us_hears_that_we_left(void **state)
{
	(void)state;
	begin(SILENT, &ANY);
	run_until_over(5000);
	assert_int_equal(st.overs, 1);
	assert_int_equal(st.failure, LT_FAIL_SILENT);
	assert_int_equal(st.started, 2);
	assert_int_equal(st.stopped, 2);
	end();
}

static void anothers_transaction_is_no_answer(void **state)
{
	(void)state;
	begin(OTHER_TXID, &ANY);
	run_until_over(5000);
	assert_int_equal(st.overs, 1);
	assert_int_equal(st.answers, 0);
	assert_int_equal(st.failure, LT_FAIL_GARBLED);
	end();
}

/* /etc/hosts has it: no question leaves this machine. */
static int hosts_know_localhost(void)
{
	char line[200];
	int found = 0;
	FILE *f = fopen("/etc/hosts", "r");

	while (f && fgets(line, sizeof(line), f))
		found |= strncmp(line, "127.0.0.1", 9) == 0 && strstr(line, "localhost");
	if (f)
		fclose(f);
	return found;
}

static void a_name_is_looked_up(void **state)
{
	(void)state;
	if (!hosts_know_localhost())
		skip();
	begin_at("localhost", GOOD, &ANY);
	run_until_over(2000);
	assert_int_equal(st.answers, 1);
	end();
	begin_at("localhost", GOOD, &ANY);
	acetrack_end(&st.t, 1); /* while it is being looked up */
	assert_null(st.t);
	run_until_over(0);
	assert_int_equal(st.connects + (uint32_t)(st.failures + st.overs), 0);
	end();
}

static int reset(void **state)
{
	(void)state;
	resolver_reset();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls_are_read),
		cmocka_unit_test(what_we_say_is_as_in_bep_15),
		cmocka_unit_test(answers_are_read),
		cmocka_unit_test(cut_short_anywhere_it_is_no_answer_or_a_shorter_one),
		cmocka_unit_test(what_is_not_ours_is_waited_out),
		cmocka_unit_test(errors_have_words),
		cmocka_unit_test(a_huge_answer_is_cut),
		cmocka_unit_test(garbage_is_survived),
		cmocka_unit_test(one_announce_and_stopped_at_once),
		cmocka_unit_test(an_error_is_the_end),
		cmocka_unit_test(half_an_answer_is_none_and_we_leave),
		cmocka_unit_test(a_lost_packet_is_sent_again),
		cmocka_unit_test(a_tracker_with_a_private_address_is_not_asked),
		cmocka_unit_test(a_closed_port_is_known_at_once),
		cmocka_unit_test(without_the_device_not_a_packet_leaves),
		cmocka_unit_test(it_starts_from_the_address_that_is_ours),
		cmocka_unit_test(it_can_be_ended_from_its_own_call),
		cmocka_unit_test(ended_early_it_says_stopped_or_nothing),
		cmocka_unit_test(silence_is_waited_out_twice),
		cmocka_unit_test(one_that_may_know_us_hears_that_we_left),
		cmocka_unit_test(anothers_transaction_is_no_answer),
		cmocka_unit_test(a_name_is_looked_up),
	};

	return cmocka_run_group_tests(tests, NULL, reset);
}

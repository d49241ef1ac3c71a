/*
 * test_geoweb.c -- when the web service is asked, in which order and how often: against one
 * on loopback, on the same loop, and with clocks that are set forward.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>

#include "collector/geosay.h"
#include "collector/geoweb.h"
#include "common/clock.h"
#include "steady.h"

/* ---- clocks ---------------------------------------------------------------------- */

static uint64_t forward_ms;

static uint64_t real(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t clock_ms(void)
{
	return real(CLOCK_MONOTONIC) + forward_ms;
}

uint64_t clock_us(void)
{
	return clock_ms() * 1000;
}

uint64_t clock_wall_ms(void)
{
	return real(CLOCK_REALTIME) + forward_ms;
}

/* ---- the service and the owner ------------------------------------------------------ */

static struct {
	struct event_base *base;
	struct evhttp *http;
	struct web *web;
	struct geoweb *g;
	struct conf conf;
	char asked[8][64]; /* the last ones, newest first */
	unsigned count, news, held, most;
	int status, hold; /* hold: nobody is answered until release() */
	const char *say;
	struct evhttp_request *waiting[64];
} w;

static void reply(struct evhttp_request *req)
{
	struct evbuffer *b = evbuffer_new();

	evbuffer_add_printf(b, "%s", w.say);
	evhttp_send_reply(req, w.status, "x", b);
	evbuffer_free(b);
}

static void on_request(struct evhttp_request *req, void *arg)
{
	(void)arg;
	memmove(w.asked + 1, w.asked, sizeof(w.asked) - sizeof(w.asked[0]));
	snprintf(w.asked[0], sizeof(w.asked[0]), "%s", evhttp_request_get_uri(req));
	w.count++;
	if (!w.hold) {
		reply(req);
		return;
	}
	assert_true(w.held < 64);
	w.waiting[w.held++] = req;
	if (w.held > w.most)
		w.most = w.held;
}

static void on_place(void *arg, const uint8_t addr[ADDR_LEN])
{
	(void)arg;
	(void)addr;
	w.news++;
}

static void configure(void)
{
	(void)geoweb_configure(w.g, &w.conf);
}

static int setup(void **state)
{
	struct evhttp_bound_socket *at;
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char err[ERRLEN];
	uint16_t port;
	uint8_t addr[ADDR_LEN];

	(void)state;
	memset(&w, 0, sizeof(w));
	w.status = 200;
	w.say = "{\"success\":true,\"country_code\":\"DE\",\"city\":\"Berlin\"}";
	w.base = event_base_new();
	w.http = evhttp_new(w.base);
	evhttp_set_gencb(w.http, on_request, NULL);
	at = evhttp_bind_socket_with_handle(w.http, "127.0.0.1", 0);
	assert_non_null(at);
	assert_int_equal(getsockname(evhttp_bound_socket_get_fd(at), (void *)&sa, &len),
			 0);
	assert_int_equal(addr_from_sa(addr, &port, (void *)&sa), 0);
	assert_int_equal(web_open(&w.web, w.base, err), 0);
	assert_int_equal(geoweb_open(&w.g, w.base, w.web, 0, 0, on_place, NULL), 0);
	conf_defaults(&w.conf);
	snprintf(w.conf.geo_online_url, sizeof(w.conf.geo_online_url),
		 "http://127.0.0.1:%u/", port);
	w.conf.geo_online_rate = 1000;
	w.conf.geo_online_burst = 100000;
	w.conf.geo_online_daily = 0;
	configure();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	geoweb_close(&w.g);
	web_close(&w.web);
	evhttp_free(w.http);
	event_base_free(w.base);
	return 0;
}

static void turn(void)
{
	assert_true(event_base_loop(w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
}

/* Until so many were asked, answered or not; then a while, so that more would be seen. */
static void until(unsigned count)
{
	uint64_t end = real(CLOCK_MONOTONIC) + 20000;

	while (w.count < count && real(CLOCK_MONOTONIC) < end)
		turn();
	for (end = real(CLOCK_MONOTONIC) + 50; real(CLOCK_MONOTONIC) < end;)
		turn();
	assert_int_equal(w.count, count);
}

static const uint8_t *nth(unsigned n)
{
	static uint8_t addr[ADDR_LEN];
	char text[ADDR_TEXT_MAX];

	snprintf(text, sizeof(text), "5.%u.%u.%u", n >> 16, n >> 8 & 255, n & 255);
	assert_int_equal(addr_parse(addr, text), 0);
	return addr;
}

static int is_known(unsigned n)
{
	struct place p = {.asn = 0};
	int known = geoweb_place(w.g, nth(n), &p);

	assert_int_equal(known, strcmp(p.city, "Berlin") == 0);
	return known;
}

/* ---- ------------------------------------------------------------------------------------ */

static void test_one_question(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++)
		assert_false(is_known(1));
	until(1);
	assert_string_equal(w.asked[0], "/5.0.0.1");
	assert_int_equal(w.news, 1);
	for (int i = 0; i < 100; i++)
		assert_true(is_known(1));
	assert_int_equal(geoweb_offer(w.g, nth(1)), 1);
	assert_true(geoweb_knows(w.g, nth(1)));
	assert_false(geoweb_knows(w.g, nth(2)));
	until(1); /* which asked nobody */
}

static void test_while_it_is_under_way(void **state)
{
	(void)state;
	w.hold = 1;
	for (unsigned n = 0; n < 30; n++)
		assert_false(is_known(n));
	until(GEOWEB_FLIGHTS);
	for (unsigned n = 0; n < 30; n++) {
		assert_false(is_known(n));
		assert_int_equal(geoweb_offer(w.g, nth(n)), 0);
	}
	until(GEOWEB_FLIGHTS); /* no more at once, none twice */
	w.hold = 0;
	for (unsigned i = 0; i < w.held; i++)
		reply(w.waiting[i]);
	until(30);
	for (unsigned n = 0; n < 30; n++)
		assert_true(is_known(n));
	assert_int_equal(w.most, GEOWEB_FLIGHTS);
}

static void test_an_hour(void **state)
{
	(void)state;
	assert_false(is_known(1));
	until(1);
	forward_ms += GEOSAY_PLACE_MS - 10000;
	assert_true(is_known(1));
	until(1);
	forward_ms += 20000;
	assert_true(is_known(1)); /* an old answer is better than none */
	w.status = 500;
	until(2);
	assert_true(is_known(1));
	until(2); /* a failure is left alone for a while */
	forward_ms += GEOWEB_FAILED_MS + 1000;
	assert_true(is_known(1));
	w.status = 200;
	until(3);
	w.say = "{\"success\":false,\"message\":\"Invalid IP address\"}";
	forward_ms += GEOSAY_PLACE_MS;
	assert_true(is_known(1));
	until(4);
	assert_false(is_known(1)); /* it says so itself */
}

static void asked_again_after(const char *say, uint64_t ms)
{
	unsigned count = w.count, n = w.count + 7;

	w.say = say;
	assert_false(is_known(n));
	until(count + 1);
	forward_ms += ms - 5000;
	assert_false(is_known(n));
	assert_int_equal(geoweb_offer(w.g, nth(n)), 0);
	until(count + 1);
	forward_ms += 10000;
	assert_int_equal(geoweb_offer(w.g, nth(n)), 0);
	until(count + 2);
	assert_int_equal(w.news, 0);
}

static void test_those_without_a_place(void **state)
{
	(void)state;
	asked_again_after("{\"success\":false,\"message\":\"Invalid IP address\"}",
			  GEOSAY_NOTHING_MS);
	asked_again_after("{\"success\":false,\"message\":\"Reserved range\"}",
			  GEOSAY_RESERVED_MS);
	asked_again_after("garbage", GEOWEB_FAILED_MS);
}

static void test_the_newest_first(void **state)
{
	(void)state;
	w.conf.geo_online_rate = 1;
	w.conf.geo_online_burst = 3;
	configure(); /* the bucket holds three now */
	for (unsigned n = 0; n < GEOWEB_WAITING + 500; n++)
		(void)is_known(n);
	assert_int_equal(geoweb_offer(w.g, nth(100)), -1); /* gave way */
	assert_int_equal(geoweb_offer(w.g, nth(600)), -1);
	assert_false(geoweb_has_room(w.g));
	until(3);
	assert_string_equal(w.asked[2], "/5.0.5.243");
	assert_string_equal(w.asked[1], "/5.0.5.242");
	assert_string_equal(w.asked[0], "/5.0.5.241");
	assert_int_equal(geoweb_offer(w.g, nth(100)), 0);
}

static void test_the_oldest_is_forgotten(void **state)
{
	(void)state;
	for (unsigned n = 0; n < GEOWEB_KNOWN + 10; n++) {
		(void)is_known(n);
		if (n % 512 == 511 || n == GEOWEB_KNOWN + 9)
			until(n + 1);
	}
	assert_true(is_known(GEOWEB_KNOWN + 9));
	assert_true(is_known(600)); /* of the second round */
	until(GEOWEB_KNOWN + 10);
	w.count = 0;
	for (unsigned n = 0; n < 512; n++) /* of the first, ten are gone */
		(void)is_known(n);
	until(10);
}

static void test_off(void **state)
{
	(void)state;
	w.hold = 1;
	for (unsigned n = 0; n < 30; n++)
		assert_false(is_known(n));
	until(GEOWEB_FLIGHTS);
	w.conf.geo_online = 0;
	configure();
	assert_false(geoweb_has_room(w.g));
	for (unsigned n = 0; n < 60; n++) {
		assert_false(is_known(n));
		assert_int_equal(geoweb_offer(w.g, nth(n)), 0);
	}
	until(GEOWEB_FLIGHTS);
	w.hold = 0;
	w.conf.geo_online = 1;
	assert_int_equal(geoweb_configure(w.g, &w.conf), 1);
	assert_int_equal(geoweb_configure(w.g, &w.conf), 0);
	assert_false(is_known(1));
	until(GEOWEB_FLIGHTS + 1); /* what waited was forgotten */
	assert_int_equal(w.news, 1);
}

static void test_closed_in_the_middle(void **state)
{
	(void)state;
	w.hold = 1;
	for (unsigned n = 0; n < 30; n++)
		assert_false(is_known(n));
	until(GEOWEB_FLIGHTS);
	geoweb_close(&w.g);
	until(GEOWEB_FLIGHTS);
	assert_int_equal(w.news, 0);
}

/* No service, and nobody may be sent to it. */
static void test_whom_nobody_hears_of(void **state)
{
	static const char *const text[] = {"10.0.0.1", "127.0.0.1",     "192.0.2.1",
					   "fe80::1",  "2002:a00:1::1", "::"};
	struct place p = {.asn = 0};
	uint8_t addr[ADDR_LEN];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(text); i++) {
		assert_int_equal(addr_parse(addr, text[i]), 0);
		assert_int_equal(geoweb_place(w.g, addr, &p), 0);
		assert_int_equal(geoweb_offer(w.g, addr), 0);
	}
	until(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_question, setup, teardown),
		cmocka_unit_test_setup_teardown(test_while_it_is_under_way, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_an_hour, setup, teardown),
		cmocka_unit_test_setup_teardown(test_those_without_a_place, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_the_newest_first, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_oldest_is_forgotten, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_off, setup, teardown),
		cmocka_unit_test_setup_teardown(test_closed_in_the_middle, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_whom_nobody_hears_of, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

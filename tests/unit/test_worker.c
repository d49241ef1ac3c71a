/* The pure parts of a worker: routes, query, escapes, ETags, kept bodies, parking. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "steady.h"
#include "worker/bodies.h"
#include "worker/park.h"
#include "worker/peers.h"
#include "worker/route.h"
#include "worker/status.h"

static void handler(struct ask *a)
{
	(void)a;
}

static const struct route table[] = {
	{"/health", ROUTE_GET, handler},
	{"/peers/{id}", ROUTE_GET, handler},
	{"/api/{}/x", ROUTE_POST, handler},
	{"/api/{}/x", ROUTE_GET, handler},
};

static void test_routes(void **state)
{
	static const struct {
		const char *target;
		unsigned method;
		enum route_rc rc;
		int row;
		const char *part;
		unsigned allowed;
	} t[] = {
		{"/health", ROUTE_GET, ROUTE_OK, 0, "", 0},
		{"/health?x=/y", ROUTE_GET, ROUTE_OK, 0, "", 0},
		{"/he%61lth", ROUTE_GET, ROUTE_OK, 0, "", 0},
		{"/health", ROUTE_POST, ROUTE_METHOD, 0, "", ROUTE_GET},
		{"/health", 0, ROUTE_METHOD, 0, "", ROUTE_GET},
		{"/health/", ROUTE_GET, ROUTE_NONE, 0, NULL, 0},
		{"/healthy", ROUTE_GET, ROUTE_NONE, 0, NULL, 0},
		{"/", ROUTE_GET, ROUTE_NONE, 0, NULL, 0},
		{"/%", ROUTE_GET, ROUTE_BAD, 0, NULL, 0},
		{"/health%00", ROUTE_GET, ROUTE_BAD, 0, NULL, 0},
		{"/peers/ab%20c", ROUTE_GET, ROUTE_OK, 1, "ab c", 0},
		{"/peers/a%2Fb", ROUTE_GET, ROUTE_OK, 1, "a/b", 0},
		{"/peers/", ROUTE_GET, ROUTE_OK, 1, "", 0},
		{"/peers", ROUTE_GET, ROUTE_NONE, 0, NULL, 0},
		{"/peers/a/b", ROUTE_GET, ROUTE_NONE, 0, NULL, 0},
		{"/api/q/x", ROUTE_GET, ROUTE_OK, 3, "q", 0},
		{"/api/q/x", ROUTE_POST, ROUTE_OK, 2, "q", 0},
		{"/api/q/x", 0, ROUTE_METHOD, 2, "q", ROUTE_GET | ROUTE_POST},
		{"/api/q/y", ROUTE_GET, ROUTE_NONE, 0, NULL, 0},
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++) {
		const struct route *r = NULL;
		char part[HTTP_PART_MAX + 1];
		unsigned allowed;

		if (route_find(table, PS_ARRAY_LEN(table), t[i].target, t[i].method, &r,
			       &allowed, part) != t[i].rc)
			fail_msg("%s", t[i].target);
		if (t[i].rc == ROUTE_OK) {
			assert_ptr_equal(r, &table[t[i].row]);
			assert_string_equal(part, t[i].part);
		}
		if (t[i].rc == ROUTE_METHOD) {
			assert_int_equal(allowed, t[i].allowed);
			assert_ptr_equal(r, &table[t[i].row]);
		}
	}
}

static void test_long_part(void **state)
{
	char target[2 * HTTP_PART_MAX + 16] = "/peers/", part[HTTP_PART_MAX + 1];
	const struct route *r = NULL;
	unsigned allowed;

	(void)state;
	memset(target + 7, 'a', HTTP_PART_MAX);
	assert_int_equal(route_find(table, 2, target, ROUTE_GET, &r, &allowed, part),
			 ROUTE_OK);
	assert_int_equal(strlen(part), HTTP_PART_MAX);
	target[7 + HTTP_PART_MAX] = 'a';
	assert_int_equal(route_find(table, 2, target, ROUTE_GET, &r, &allowed, part),
			 ROUTE_OK);
	assert_string_equal(part, "");
}

static void test_decode(void **state)
{
	char out[8];

	(void)state;
	assert_int_equal(http_decode(out, sizeof out, "a+%2b%C3", 8, 1), HTTP_TEXT_OK);
	assert_string_equal(out, "a +\xc3");
	assert_int_equal(http_decode(out, sizeof out, "a+b", 3, 0), HTTP_TEXT_OK);
	assert_string_equal(out, "a+b");
	assert_int_equal(http_decode(out, sizeof out, "1234567", 7, 0), HTTP_TEXT_OK);
	assert_int_equal(http_decode(out, sizeof out, "12345678", 8, 0), HTTP_TEXT_LONG);
	assert_int_equal(http_decode(out, sizeof out, "123456789%", 10, 0),
			 HTTP_TEXT_BAD);
	assert_int_equal(http_decode(out, sizeof out, "%", 1, 0), HTTP_TEXT_BAD);
	assert_int_equal(http_decode(out, sizeof out, "%4", 2, 0), HTTP_TEXT_BAD);
	assert_int_equal(http_decode(out, sizeof out, "%4g", 3, 0), HTTP_TEXT_BAD);
	assert_int_equal(http_decode(out, sizeof out, "%00", 3, 0), HTTP_TEXT_BAD);
}

static void test_query(void **state)
{
	static const struct {
		const char *query;
		int rc;
		uint32_t limit;
		int64_t wait_ms;
	} t[] = {
		{"", 0, 50, -1},
		{"limit=7", 0, 7, -1},
		{"limit=2000", 0, 2000, -1},
		{"limit=2001", -1, 0, 0},
		{"limit=0", -1, 0, 0},
		{"limit=+1", -1, 0, 0},
		{"limit=1x", -1, 0, 0},
		{"limit", -1, 0, 0},
		{"wait=0", 0, 50, 0},
		{"wait=300", 0, 50, 300},
		{"wait=300ms", 0, 50, 300},
		{"wait=25s", 0, 50, 25000},
		{"wait=25000", 0, 50, 25000},
		{"wait=25001", -1, 0, 0},
		{"wait=26s", -1, 0, 0},
		{"wait=1 s", -1, 0, 0},
		{"wait=99999999999999999999s", -1, 0, 0},
		{"a=%&limit=7", -1, 0, 0},
		{"LIMIT=7&x&=&&wait=1s", 0, 50, 1000},
		{"limit=3&limit=4", 0, 4, -1},
		{"x.pe=192.0.2.7:6881&x.pe=%5B2001:db8::1%5d:1", 0, 50, -1},
		{"x.pe=[2001:db8::1]:1&limit=3", 0, 3, -1},
		{"x.pe=", -1, 0, 0},
		{"x.pe", -1, 0, 0},
		{"x.pe=192.0.2.7:6881,192.0.2.8:6881", -1, 0, 0},
		{"x.pe=tracker.example:6881", -1, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++) {
		struct peers_question q = {.limit = 50, .wait_ms = -1};
		char err[ERRLEN];

		if (peers_query(&q, t[i].query, err) != t[i].rc)
			fail_msg("%s", t[i].query);
		if (t[i].rc != 0)
			continue;
		assert_int_equal(q.limit, t[i].limit);
		assert_int_equal(q.wait_ms, t[i].wait_ms);
	}
}

static void test_none_match(void **state)
{
	static const struct {
		const char *header;
		int match;
	} t[] = {
		{"\"ab\"", 1},
		{"W/\"ab\"", 1},
		{"\"x\", \"ab\"", 1},
		{"\"x\",W/\"ab\" ,\"y\"", 1},
		{"*", 1},
		{"\"a\"", 0},
		{"ab", 0},
		{"\"abc\"", 0},
		{"\"ab\"c", 0},
		{"", 0},
		{", ,", 0},
		{"\"x\" \"ab\"", 0},
	};
	struct strict rq;

	(void)state;
	memset(&rq, 0, sizeof rq);
	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++) {
		rq.none_match = 1;
		snprintf(rq.etag, sizeof rq.etag, "%s", t[i].header);
		if (http_none_match(&rq, "\"ab\"") != t[i].match)
			fail_msg("%s", t[i].header);
		rq.none_match = 0;
		assert_false(http_none_match(&rq, "\"ab\""));
	}
}

static void test_error_json(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 256);
	status_error_json(&b, "Bad id", "say \"what\"", "bad_id", "r-1");
	assert_string_equal(b.p, "{\"error\":\"Bad id\",\"message\":\"say \\\"what\\\"\","
				 "\"code\":\"bad_id\",\"request_id\":\"r-1\"}");
	buf_free(&b);
}

/* --- kept bodies -------------------------------------------------------------- */

static struct body *put(struct bodies *b, unsigned n, size_t len, uint64_t version)
{
	uint8_t id[IH_LEN] = {0};
	char *json = malloc(len);

	assert_non_null(json);
	memset(json, 'j', len);
	memcpy(id, &n, sizeof n);
	return bodies_put(b, id, json, len, version);
}

static struct body *find(struct bodies *b, unsigned n)
{
	uint8_t id[IH_LEN] = {0};

	memcpy(id, &n, sizeof n);
	return bodies_find(b, id);
}

static void test_bodies_are_bounded(void **state)
{
	const size_t room = 100000;
	struct bodies *b = bodies_new(room);

	(void)state;
	for (unsigned n = 0; n < 5000; n++) {
		body_unref(put(b, n, 500, n + 1));
		assert_true(bodies_bytes(b) <= room);
		assert_non_null(find(b, n));
		assert_non_null(find(b, 0)); /* what is used stays */
	}
	assert_null(find(b, 1));
	assert_int_equal(find(b, 4999)->version, 5000);
	assert_string_equal(find(b, 4999)->etag, "\"1388\"");
	bodies_free(&b);
	assert_null(b);
}

static void test_body_outlives_its_place(void **state)
{
	struct bodies *b = bodies_new(100000);
	struct body *first = put(b, 7, 100, 1), *second = put(b, 7, 100, 2), *huge;

	(void)state;
	assert_ptr_not_equal(first, second);
	assert_ptr_equal(find(b, 7), second);
	assert_int_equal(first->json[99], 'j');
	body_unref(first);
	huge = put(b, 8, 200000, 3); /* sent, not kept; drops nobody */
	assert_null(find(b, 8));
	assert_ptr_equal(find(b, 7), second);
	body_unref(huge);
	bodies_free(&b);
	assert_int_equal(second->json[99], 'j');
	body_unref(second);
}

/* --- parking --------------------------------------------------------------------- */

static int lates;

static void on_late(struct parked *p)
{
	lates++;
	park_end(p);
}

static const struct parked_kind kind = {.late = on_late};

/* The master's view of a segment, and a worker's. */
static struct seg *segment(struct worker *w)
{
	static struct conf conf;
	struct shm_dims dims;
	struct seg *seg;
	char name[64], err[ERRLEN];

	conf_defaults(&conf);
	w->conf = &conf;
	snprintf(name, sizeof(name), "/peerscope-unit-%ld", (long)getpid());
	seg_dims(&dims, &conf, 4);
	assert_int_equal(seg_create(&seg, name, &dims, NULL, err), 0);
	seg_unlink(name);
	assert_int_equal(seg_attach(&w->seg, seg_fd(seg), SEG_WORKER, err), 0);
	assert_int_equal(lane_open(&w->lane, w->seg, w->kid->slot, err), 0);
	return seg;
}

static void test_park(void **state)
{
	static struct kid kid;
	struct worker w = {.kid = &kid};
	struct seg *seg = segment(&w);
	struct ask ask = {.w = &w};
	struct parked *p[4];
	uint64_t old;

	(void)state;
	kid.slot = 3;
	kid.gen = 9;
	w.base = event_base_new();
	w.park = park_new(&w, 4);
	for (int i = 0; i < 4; i++) {
		p[i] = park_take(w.park, &ask, &kind, 60000);
		assert_non_null(p[i]);
		assert_ptr_equal(park_find(w.park, p[i]->token), p[i]);
		assert_int_equal(lane_token_slot(p[i]->token), 3);
		assert_int_equal(lane_token_gen(p[i]->token), 9);
	}
	assert_null(park_take(w.park, &ask, &kind, 60000));
	old = p[2]->token;
	park_end(p[2]);
	assert_null(park_find(w.park, old));
	p[2] = park_take(w.park, &ask, &kind, 60000);
	assert_true(p[2]->token != old);
	assert_null(park_find(w.park, old));
	assert_null(park_find(w.park, 0));
	assert_null(park_find(w.park, UINT64_MAX));
	assert_int_equal(park_used(w.park), 4);
	for (int i = 0; i < 4; i++)
		park_end(p[i]);
	assert_int_equal(park_used(w.park), 0);
	assert_non_null(park_take(w.park, &ask, &kind, 1));
	assert_int_equal(event_base_dispatch(w.base), 1); /* until no event is left */
	assert_int_equal(lates, 1);
	assert_int_equal(park_used(w.park), 0);
	park_free(&w.park);
	event_base_free(w.base);
	lane_close(&w.lane);
	seg_close(&w.seg);
	seg_close(&seg);
}

/* While the collector is replaced nobody is late, and time does not pass. */
static void test_park_on_hold(void **state)
{
	static struct kid kid;
	struct worker w = {.kid = &kid};
	struct seg *seg = segment(&w);
	struct ask ask = {.w = &w};
	struct shm_head *head = seg_head_rw(seg);
	struct parked *p;
	uint64_t began;

	(void)state;
	lates = 0;
	w.base = event_base_new();
	w.park = park_new(&w, 4);
	atomic_store(&head->hold_ms, clock_ms());
	park_bell(&w);
	p = park_take(w.park, &ask, &kind, 150);
	assert_non_null(p);
	began = p->began_ms;
	p->until_ms = began + 100;
	while (clock_ms() < began + 400)
		event_base_loop(w.base, EVLOOP_ONCE);
	assert_int_equal(lates, 0);
	atomic_store(&head->hold_ms, 0);
	event_base_loop(w.base, EVLOOP_ONCE); /* not seen yet */
	assert_int_equal(lates, 0);
	park_bell(&w);
	assert_true(p->until_ms >= began + 500 && p->late_ms == p->until_ms + 50);
	assert_int_equal(event_base_dispatch(w.base), 1);
	assert_int_equal(lates, 1);
	assert_true(clock_ms() >= began + 550);
	/* It ends by itself, */
	atomic_store(&head->hold_ms, 1);
	assert_non_null(park_take(w.park, &ask, &kind, 1));
	park_bell(&w);
	assert_int_equal(event_base_dispatch(w.base), 1);
	assert_int_equal(lates, 2);
	/* and when the daemon leaves. */
	atomic_store(&head->hold_ms, clock_ms());
	assert_non_null(park_take(w.park, &ask, &kind, 1));
	atomic_store(&head->draining, 1);
	park_bell(&w);
	assert_int_equal(event_base_dispatch(w.base), 1);
	assert_int_equal(lates, 3);
	park_free(&w.park);
	event_base_free(w.base);
	lane_close(&w.lane);
	seg_close(&w.seg);
	seg_close(&seg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_long_part),
		cmocka_unit_test(test_decode),
		cmocka_unit_test(test_query),
		cmocka_unit_test(test_none_match),
		cmocka_unit_test(test_error_json),
		cmocka_unit_test(test_bodies_are_bounded),
		cmocka_unit_test(test_body_outlives_its_place),
		cmocka_unit_test(test_park),
		cmocka_unit_test(test_park_on_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

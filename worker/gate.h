/*
 * gate.h -- the strict gate in front of evhttp: connections, their clocks, and
 * what may pass.
 *
 *   socket --recv--> strict.c --one whole request, rewritten--> evhttp --> handler
 *   socket <--writev--------- gate <------------------------------ evhttp's answer
 *
 * evhttp (2.1) alone answers HTML, starts its time-outs anew with each byte and
 * dies of a byte too many while a request is parked. So it gets a filter
 * bufferevent whose socket it never touches: the gate reads and writes the
 * descriptor (one edge-triggered event per connection, for its whole life), hands
 * evhttp one complete request and holds what follows until that is answered. The
 * gate refuses by itself what strict.c refuses, and sees a client leave.
 * Proof: tests/unit/test_gate.c, tests/e2e/test_http.py.
 */
#ifndef PEERSCOPE_WORKER_GATE_H
#define PEERSCOPE_WORKER_GATE_H

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/err.h"
#include "worker/proxies.h"
#include "worker/strict.h"

#define GATE_LINGERING 256		/* closing connections, beside the open ones */

struct gate;				/* one per worker; opaque */
struct gate_conn;			/* one connection; opaque */

struct gate_conf {
	struct strict_limits limits;
	uint64_t request_ms;		/* whole request, from its first byte */
	uint64_t idle_ms;		/* without a request */
	uint64_t write_ms;		/* without a byte of the answer taken */
	uint32_t max_connections;
	uint32_t hot_route;		/* number of the hot verb's route, for its counts */
	struct proxies proxies;		/* who may say for whom it asks */
};

struct gate_hooks {
	void *arg;
	/* A request for evhttp's handler; answer now or later with gate_answer. */
	void (*request)(void *arg, struct gate_conn *c, struct evhttp_request *req);
	/* The client left before its answer; req is freed after the call. */
	void (*gone)(void *arg, struct gate_conn *c);
	/* The hot verb, before evhttp: 1 if it was answered with gate_send, 0: not mine. */
	int (*hot)(void *arg, struct gate_conn *c, const struct strict *rq);
	/* Draining, and the last connection is gone. */
	void (*empty)(void *arg);
};

PS_MUST int gate_new(struct gate **out, struct event_base *base,
		     const struct gate_conf *conf, const struct gate_hooks *hooks,
		     char err[ERRLEN]);
void gate_free(struct gate **g);	/* closes every connection at once */

/* Accept on fd, or stop it; fd stays open either way (it has siblings' clients in
 * its queue). Takes fd: it is closed with the gate. */
PS_MUST int gate_listen(struct gate *g, int fd, int on);
/* From now on every answer closes its connection; nothing is accepted. */
void gate_drain(struct gate *g);
int gate_draining(const struct gate *g);
uint32_t gate_connections(const struct gate *g);	/* with a descriptor */

/* Send through evhttp. extra headers are in req already; body may be NULL. */
void gate_answer(struct gate_conn *c, struct evhttp_request *req, int status,
		 struct evbuffer *body);
/* From the hot hook: head, and the body by reference; unref is called once, maybe now.
 * Without a body, unref is NULL. head ends with its last header's CRLF: X-Request-Id, and
 * the empty line, are added to it. */
void gate_send(struct gate_conn *c, const char *head, size_t head_len, const char *body,
	       size_t body_len, evbuffer_ref_cleanup_cb unref, void *ref);

/* Which route the request under way has, for its counts (httpstat.h); before its answer. */
void gate_set_route(struct gate_conn *c, uint32_t route);
/* One answer is given: from the hot hook, with gate_send; gate_answer counts by itself. */
void gate_count(struct gate_conn *c, int status);

const struct strict *gate_request(const struct gate_conn *c);	/* the one under way */
/* What that one is called (reqid.h): as the client says, or as we do. */
const char *gate_request_id(const struct gate_conn *c);
/* Its body lies elsewhere from now on: the caller takes these bytes of its room (strict.h) back
 * to gate_conf.limits.room once that is gone, too. */
size_t gate_keep_room(struct gate_conn *c);
/* The body of that one is not needed any more: its memory is free for others. */
void gate_drop_body(struct gate_conn *c);
/* Who asks: the other end, or the one it asks for (proxies.h). All zero: a unix socket. */
void gate_client(const struct gate_conn *c, uint8_t addr[ADDR_LEN]);
void gate_set_user(struct gate_conn *c, void *user);
void *gate_user(const struct gate_conn *c);
const char *gate_date(struct gate *g);	/* now, as the value of a Date header */

#endif

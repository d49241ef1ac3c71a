/*
 * gate_int.h -- shared by gate.c (accepting, the face) and gate_conn.c (one
 * connection: in, out, clocks, end). Nobody else includes it.
 *
 * A connection has two holders: the descriptor (ours) and the filter bufferevent
 * (evhttp's; libevent frees it a turn of the loop later). It is freed when both
 * let go, so inside one callback it stays valid while evhttp still holds it.
 */
#ifndef PEERSCOPE_WORKER_GATE_INT_H
#define PEERSCOPE_WORKER_GATE_INT_H

#include <sys/queue.h>
#include <time.h>

#include <event2/bufferevent.h>
#include <event2/event_struct.h>
#include <event2/listener.h>

#include "common/conf.h"
#include "worker/gate.h"

#define GATE_READ 16384     /* bytes taken from a socket at once, and held at most */
#define GATE_TURNS 16       /* reads of one connection before others have a turn */
#define GATE_LINGER_MS 2000 /* after our last byte, for the client to read it */
#define GATE_LINGER_BYTES (1u << 20) /* what we drop meanwhile */
#define GATE_PAUSE_MS 100  /* accept nothing after accept failed */
#define GATE_LISTEN (CONF_MAX_WORKERS * CONF_MAX_LISTEN)

enum conn_state {
	CONN_NEW = 0,   /* accepted; its descriptor is not known yet */
	CONN_READING,   /* between requests, or in one */
	CONN_ANSWERING, /* evhttp has a whole request */
	CONN_FLUSHING,  /* our own answer is on its way out */
	CONN_LINGER,    /* all is sent; what comes is dropped until it closes */
	CONN_DEAD,      /* no descriptor; evhttp has yet to let go */
};

struct gate_conn {
	TAILQ_ENTRY(gate_conn) link;
	struct gate *gate;
	enum conn_state state;
	int fd;
	uint8_t peer[ADDR_LEN]; /* the other end; all zero: over a unix socket */
	struct event ev, timer;
	struct bufferevent *front, *under; /* evhttp's side; under only carries fd */
	int front_gone;                    /* evhttp freed its connection */
	struct evhttp_request *req;        /* asked and not answered */
	int replied;                       /* evhttp's answer lies in front's output */
	void *user;
	struct strict in;
	char *held; /* bytes read behind the request under way */
	size_t nheld;
	struct evbuffer *out; /* our own answer, if the socket did not take it at once */
	int readable, peer_closed, closes, timing, again;
	uint64_t began_us; /* the whole request is here; 0: there is none */
	uint32_t route;    /* of it */
	uint64_t deadline_ms, armed_ms; /* monotonic; the timer is set lazily */
	size_t dropped;
};

struct gate {
	struct event_base *base;
	struct evhttp *http;
	struct gate_conf conf;
	struct gate_hooks hooks;
	TAILQ_HEAD(, gate_conn) conns;
	uint32_t newborn; /* accepted, their first timer not yet run */
	uint32_t open, lingering;
	int draining;
	struct gate_conn *asking; /* evhttp is being fed its request right now */
	struct {
		int fd, on;
		struct evconnlistener *listener;
	} listen[GATE_LISTEN];
	int nlisten;
	struct event *pause;
	uint64_t now; /* clock_ms of this callback */
	time_t date_s;
	char date[40];
	char rd[GATE_READ];
};

/* gate_conn.c */
void gate_conn_event(evutil_socket_t fd, short what, void *arg);	/* the socket */
void gate_conn_timer(evutil_socket_t fd, short what, void *arg);
void gate_conn_close(struct gate_conn *c);	/* c may be freed */
void gate_conn_flush(struct gate_conn *c);
void gate_conn_again(struct gate_conn *c);	/* read on, after others had a turn */
void gate_conn_until(struct gate_conn *c, uint64_t at_ms);	/* deadline; 0: none */
void gate_conn_refuse(struct gate_conn *c, int status, const char *word, const char *why);
void gate_front_freed(void *arg);		/* libevent freed the filter for good */
/* gate.c */
void gate_conn_start(struct gate_conn *c);	/* first turn after it was accepted */

#endif

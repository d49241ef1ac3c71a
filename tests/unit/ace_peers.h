/*
 * ace_peers.h -- scripted AceStream peers on loopback for test_ace.c, on the loop of the
 * prober itself: what they say and when is a struct script, what they saw of us is in
 * struct peer. Their bytes are those of ace_stage.h. Included by one program.
 */
#ifndef PEERSCOPE_TESTS_ACE_PEERS_H
#define PEERSCOPE_TESTS_ACE_PEERS_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "ace_stage.h"
#include "common/clock.h"

#define FLOOD_BYTES (10 * 146)		/* of stage_status */

enum peer_then { STAY, CLOSE, RESET };
enum peer_ended { NOT_ENDED, BY_FIN, BY_RST, BY_ITSELF };

struct script {
	void (*say)(struct bytes *);	/* once our key is there; NULL: not a word */
	void (*more)(struct bytes *);	/* gap_ms later */
	uint32_t gap_ms;
	size_t piece;			/* bytes of a write, one each turn; 0: all at once */
	uint32_t stall_ms;		/* the whole program stands still after that */
	enum peer_then then;
	int at_once;			/* does not wait for our handshake */
	int flood;			/* the last FLOOD_BYTES of more, again and again */
	int strict;			/* hangs up on a byte too many */
	int stays;			/* does not mind our FIN */
};

struct peer {
	struct event_base *base;
	struct script script;
	struct event *accept;
	int fd;
	uint8_t addr[ADDR_LEN];
	uint16_t port;
	int calls, open, most_open;
	/* Of the newest call. */
	size_t came, reads;		/* bytes of us, and in how many writes of ours */
	uint8_t hand[AW_HAND];
	uint8_t ids[8][AW_ID_LEN];	/* of the first calls */
	enum peer_ended ended;
	int too_much;			/* calls that brought more than 66 bytes */
	int heard_fin;			/* ended is only BY_FIN if it hung up then, too */
	size_t said;			/* bytes, in all calls */
	struct peer_conn *conns;
};

struct peer_conn {
	struct peer *peer;
	int fd;
	struct event *in, *out, *later;	/* the next piece: when it can be sent; after a gap */
	size_t came, at;
	int answered, more_said;
	struct bytes bytes;
	struct peer_conn *next;
};

static inline void conn_end(struct peer_conn *c, enum peer_ended how)
{
	struct peer_conn **at = &c->peer->conns;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	c->peer->open--;
	c->peer->ended = how;
	event_free(c->in);
	event_free(c->out);
	event_free(c->later);
	close(c->fd);
	free(c);
}

static inline void conn_reset(struct peer_conn *c)
{
	struct linger hard = {1, 0};

	(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	conn_end(c, BY_ITSELF);
}

/* In the middle of a loop's turn: nothing else runs. */
static inline void stall(uint32_t ms)
{
	uint64_t until = clock_ms() + ms;

	while (clock_ms() < until)
		;
}

static inline void conn_said(struct peer_conn *c)
{
	const struct script *s = &c->peer->script;
	struct timeval gap = {s->gap_ms / 1000, s->gap_ms % 1000 * 1000};

	if (s->more && !c->more_said) {
		c->more_said = 1;
		s->more(&c->bytes);
		event_add(c->later, &gap);
	} else if (s->then == CLOSE) {
		conn_end(c, BY_ITSELF);
	} else if (s->then == RESET) {
		conn_reset(c);
	}
}

static inline void on_say(evutil_socket_t fd, short what, void *arg)
{
	struct peer_conn *c = arg;
	const struct script *s = &c->peer->script;
	size_t left = c->bytes.n - c->at;
	ssize_t n;

	(void)what;
	if (s->piece && left > s->piece)
		left = s->piece;
	(void)fd;
	n = write(c->fd, c->bytes.p + c->at, left);
	if (n < 0 && errno != EAGAIN) {
		conn_end(c, BY_RST);
		return;
	}
	c->at += n > 0 ? (size_t)n : 0;
	c->peer->said += n > 0 ? (size_t)n : 0;
	if (c->at == c->bytes.n && s->flood && c->more_said)
		c->at -= FLOOD_BYTES;
	if (c->at < c->bytes.n) {
		event_add(c->out, NULL);
		return;
	}
	if (s->stall_ms)
		stall(s->stall_ms);
	conn_said(c);
}

static inline void conn_answer(struct peer_conn *c)
{
	const struct script *s = &c->peer->script;

	c->answered = 1;
	if (s->say)
		s->say(&c->bytes);
	if (c->bytes.n)
		event_active(c->out, EV_TIMEOUT, 0);
	else
		conn_said(c);
}

static inline void on_hear(evutil_socket_t fd, short what, void *arg)
{
	struct peer_conn *c = arg;
	struct peer *p = c->peer;
	uint8_t heard[1024];
	ssize_t n = recv((int)fd, heard, sizeof(heard), 0);

	(void)what;
	p->heard_fin |= n == 0;
	if (n == 0 && p->script.stays) {
		event_del(c->in);
		return;
	}
	if (n <= 0) {
		conn_end(c, n == 0 ? BY_FIN : BY_RST);
		return;
	}
	for (ssize_t i = 0; i < n && c->came + (size_t)i < AW_HAND; i++)
		p->hand[c->came + (size_t)i] = heard[i];
	c->came += (size_t)n;
	p->came = c->came;
	p->reads++;
	if (c->came >= AW_HAND && p->calls <= (int)PS_ARRAY_LEN(p->ids))
		memcpy(p->ids[p->calls - 1], p->hand + AW_HAND_ID, AW_ID_LEN);
	p->too_much += c->came > AW_HAND;
	if (c->came > AW_HAND && p->script.strict)
		conn_end(c, BY_ITSELF);
	else if (c->came >= AW_HAND_ID && !c->answered)
		conn_answer(c);
}

static inline void on_caller(evutil_socket_t fd, short what, void *arg)
{
	struct peer *p = arg;
	struct peer_conn *c = calloc(1, sizeof(*c));
	int one = 1;

	(void)what;
	assert_non_null(c);
	c->peer = p;
	c->fd = accept4((int)fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(c->fd >= 0);
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->in = event_new(p->base, c->fd, EV_READ | EV_PERSIST, on_hear, c);
	c->out = event_new(p->base, c->fd, EV_WRITE, on_say, c);
	c->later = event_new(p->base, -1, 0, on_say, c);
	assert_true(c->in && c->out && c->later && event_add(c->in, NULL) == 0);
	c->next = p->conns;
	p->conns = c;
	p->calls++;
	p->open++;
	p->most_open = p->open > p->most_open ? p->open : p->most_open;
	p->came = p->reads = 0;
	p->ended = NOT_ENDED;
	if (p->script.at_once)
		conn_answer(c);
}

/* A socket at this address, any port, where nobody listens yet. */
static inline void peer_bind(struct peer *p, const char *address)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_storage got;
	struct sockaddr *at = (struct sockaddr *)&v4;
	socklen_t len = sizeof(v4);

	assert_int_equal(addr_parse(p->addr, address), 0);
	memcpy(&v4.sin_addr, p->addr + 12, 4);
	memcpy(&v6.sin6_addr, p->addr, ADDR_LEN);
	if (!addr_is_v4(p->addr)) {
		at = (struct sockaddr *)&v6;
		len = sizeof(v6);
	}
	p->fd = socket(at->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(p->fd >= 0);
	assert_int_equal(bind(p->fd, at, len), 0);
	len = sizeof(got);
	assert_int_equal(getsockname(p->fd, (struct sockaddr *)&got, &len), 0);
	assert_int_equal(addr_from_sa(p->addr, &p->port, (struct sockaddr *)&got), 0);
}

static inline void peer_listen(struct peer *p, struct event_base *base, const char *address,
			       const struct script *script)
{
	memset(p, 0, sizeof(*p));
	p->base = base;
	if (script)
		p->script = *script;
	peer_bind(p, address);
	assert_int_equal(listen(p->fd, 64), 0);
	p->accept = event_new(base, p->fd, EV_READ | EV_PERSIST, on_caller, p);
	assert_true(p->accept && event_add(p->accept, NULL) == 0);
}

static inline void peer_close(struct peer *p)
{
	while (p->conns)
		conn_end(p->conns, BY_ITSELF);
	if (p->accept)
		event_free(p->accept);
	close(p->fd);
}

#endif

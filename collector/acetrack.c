/*
 * acetrack.c -- see acetrack.h: the socket and the timers of one announce.
 *
 * Every change of state is made from a timer or from the socket, so that nobody is called
 * back from within his own call. A tracker's addresses are tried in turn while our own
 * system has no way there or the host refuses: that is known at once. One that is silent
 * ends the announce, since the next one is most often the same machine.
 */
#include "collector/acetrack.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "collector/resolver.h"
#include "shm/stat.h"

#define READS_MAX 8 /* datagrams in a turn of the loop */

enum acetrack_step { T_NAME, T_NEXT, T_CONNECT, T_ANNOUNCE, T_STOP };

struct acetrack {
	struct event_base *base;
	struct acetrack_url url;
	struct acetrack_ask ask;
	struct acetrack_way way;
	acetrack_fn *fn;
	void *arg;
	enum acetrack_step step;
	struct event *timer, *io; /* io: NULL without a socket */
	struct resolver_query *query;
	uint8_t addr[RESOLVER_MAX][ADDR_LEN]; /* that may be asked; at: the next one */
	size_t n, at;
	int fd, v6;
	unsigned sent; /* times, in this step */
	uint32_t txid;
	uint64_t connection;
	int garbled; /* what came was no answer */
	int calling, ended;
	enum lt_failure failure; /* of the addresses tried so far */
	char text[ERRLEN];
};

static void begin_step(struct acetrack *t, enum acetrack_step step);

/* ---- words and ends --------------------------------------------------------------- */

static void arm(struct acetrack *t, uint32_t ms)
{
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};

	event_add(t->timer, &tv);
}

static void hang_up(struct acetrack *t)
{
	if (t->io)
		event_free(t->io);
	t->io = NULL;
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

static void track_free(struct acetrack *t)
{
	hang_up(t);
	resolver_cancel(&t->query);
	event_free(t->timer);
	free(t);
}

/* -1: t was ended meanwhile, and is gone. */
static int say(struct acetrack *t, const struct acetrack_news *news)
{
	t->calling = 1;
	t->fn(t->arg, news);
	t->calling = 0;
	if (!t->ended)
		return 0;
	track_free(t);
	return -1;
}

static void over(struct acetrack *t)
{
	struct acetrack_news news = {.what = ACETRACK_OVER};

	if (say(t, &news) == 0)
		track_free(t);
}

/* One that may have taken us in hears that we have left. */
static void leave(struct acetrack *t)
{
	if (t->step != T_ANNOUNCE || t->fd < 0) {
		over(t);
		return;
	}
	begin_step(t, T_STOP);
}

static void fail(struct acetrack *t)
{
	struct acetrack_news news = {.what = ACETRACK_FAILED,
				     .failure = t->failure,
				     .text = t->text};

	if (say(t, &news) == 0)
		leave(t);
}

/* ---- the socket -------------------------------------------------------------------- */

static int is_set(const uint8_t addr[ADDR_LEN])
{
	static const uint8_t none[ADDR_LEN];

	return memcmp(addr, none, ADDR_LEN) != 0;
}

static socklen_t sockaddr_of(struct sockaddr_storage *out, const uint8_t addr[ADDR_LEN],
			     uint16_t port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	memset(out, 0, sizeof(*out));
	if (addr_is_v4(addr)) {
		memcpy(&v4.sin_addr, addr + 12, 4);
		memcpy(out, &v4, sizeof(v4));
		return sizeof(v4);
	}
	memcpy(&v6.sin6_addr, addr, ADDR_LEN);
	memcpy(out, &v6, sizeof(v6));
	return sizeof(v6);
}

/* Through the device, and from where we listen, or not at all. */
static int set_up(int fd, const struct acetrack_way *way, const uint8_t addr[ADDR_LEN],
		  uint16_t port)
{
	const uint8_t *from = addr_is_v4(addr) ? way->from4 : way->from6;
	struct sockaddr_storage sa;
	socklen_t len;

	if (way->device[0] && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, way->device,
					 (socklen_t)strlen(way->device) + 1) != 0)
		return -1;
	if (is_set(from)) {
		len = sockaddr_of(&sa, from, 0);
		if (bind(fd, (const struct sockaddr *)&sa, len) != 0)
			return -1;
	}
	/* The kernel then drops what others send, and tells what ICMP says. */
	len = sockaddr_of(&sa, addr, port);
	return connect(fd, (const struct sockaddr *)&sa, len);
}

/* A packet that could not leave is as good as lost, unless there is no way at all. */
static int is_passing(int error)
{
	return error == EAGAIN || error == EINTR || error == ENOBUFS || error == ENOMEM;
}

static void next_address(struct acetrack *t, enum lt_failure failure, int error)
{
	hang_up(t);
	t->failure = failure;
	err_set(t->text, "%s", strerror(error));
	t->step = T_NEXT;
	arm(t, 0);
}

static void send_step(struct acetrack *t)
{
	uint8_t packet[ACETRACK_ANNOUNCE_LEN];
	size_t len = ACETRACK_ANNOUNCE_LEN;

	if (t->step == T_CONNECT) {
		len = ACETRACK_CONNECT_LEN;
		acetrack_put_connect(packet, t->txid);
	} else {
		acetrack_put_announce(packet, t->connection, t->txid, &t->ask,
				      t->step == T_STOP ? ACETRACK_STOPPED
							: ACETRACK_STARTED);
	}
	t->sent++;
	if (send(t->fd, packet, len, 0) < 0 && !is_passing(errno)) {
		if (t->step == T_STOP)
			over(t);
		else
			next_address(t,
				     errno == ECONNREFUSED ? LT_FAIL_REFUSED
							   : LT_FAIL_UNREACHABLE,
				     errno);
		return;
	}
	arm(t, t->sent == 1 || t->step == T_STOP ? t->way.try_ms : t->way.last_ms);
}

/* Of 32 bits that nobody can guess, anew for each step. */
static void begin_step(struct acetrack *t, enum acetrack_step step)
{
	uint32_t txid = t->txid;

	/* begin() has seen that there are random bytes; the pool does not dry up. */
	if (getrandom(&txid, sizeof(txid), GRND_NONBLOCK) != (ssize_t)sizeof(txid))
		txid = t->txid * 2654435761u + 1;
	t->txid = txid;
	t->step = step;
	t->sent = 0;
	send_step(t);
}

/* ---- what comes back ----------------------------------------------------------------- */

static void answered(struct acetrack *t, const struct acetrack_answer *a)
{
	struct acetrack_news news = {.what = ACETRACK_ANSWERED, .answer = a};

	if (say(t, &news) == 0)
		leave(t);
}

static void asked(struct acetrack *t)
{
	struct acetrack_news news = {.what = ACETRACK_ASKED};

	if (say(t, &news) == 0)
		begin_step(t, T_ANNOUNCE);
}

static void said_no(struct acetrack *t, const char *text)
{
	t->failure = LT_FAIL_ANSWERED;
	err_set(t->text, "%s", text);
	hang_up(t); /* it has not taken us in: nothing to stop */
	fail(t);
}

static void made_no_sense(struct acetrack *t)
{
	t->failure = LT_FAIL_GARBLED;
	err_set(t->text, "what it says is no tracker's answer");
	fail(t);
}

/* 1: t has moved on, or is gone. */
static int take(struct acetrack *t, const uint8_t *packet, size_t len)
{
	static struct acetrack_answer answer; /* too large for a stack */
	enum acetrack_rc rc =
		acetrack_get(&answer, packet, len,
			     t->step == T_CONNECT ? ACETRACK_CONNECT : ACETRACK_ANNOUNCE,
			     t->txid, t->v6);

	if (rc == ACETRACK_NOT_OURS) {
		t->garbled = 1;
		return 0;
	}
	if (t->step == T_STOP)
		over(t); /* it has heard it, whatever it thinks of it */
	else if (rc == ACETRACK_NO)
		said_no(t, answer.text);
	else if (rc == ACETRACK_GARBLED)
		made_no_sense(t);
	else if (t->step == T_ANNOUNCE)
		answered(t, &answer);
	else {
		t->connection = answer.connection;
		asked(t);
	}
	return 1;
}

static void on_packet(evutil_socket_t fd, short what, void *arg)
{
	static uint8_t packet[ACETRACK_ANSWER_LEN];
	struct acetrack *t = arg;
	int error;
	ssize_t n;

	(void)what;
	for (int i = 0; i < READS_MAX; i++) {
		n = recv((int)fd, packet, sizeof(packet), 0);
		error = n < 0 ? errno : 0;
		if (is_passing(error))
			return;
		if (error && t->step == T_STOP) {
			over(t);
			return;
		}
		if (error) {
			next_address(t,
				     error == ECONNREFUSED ? LT_FAIL_REFUSED
							   : LT_FAIL_UNREACHABLE,
				     error);
			return;
		}
		if (take(t, packet, (size_t)n))
			return;
	}
}

/* ---- steps ---------------------------------------------------------------------------- */

/* 0: the socket stands. */
static int dial(struct acetrack *t, const uint8_t addr[ADDR_LEN])
{
	t->v6 = !addr_is_v4(addr);
	t->fd = socket(t->v6 ? AF_INET6 : AF_INET,
		       SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (t->fd < 0 || set_up(t->fd, &t->way, addr, t->url.port) != 0)
		return -1;
	t->io = event_new(t->base, t->fd, EV_READ | EV_PERSIST, on_packet, t);
	if (!t->io) {
		errno = ENOMEM;
		return -1;
	}
	event_add(t->io, NULL);
	return 0;
}

static void try_next(struct acetrack *t)
{
	if (t->at == t->n) {
		fail(t);
		return;
	}
	if (dial(t, t->addr[t->at++]) != 0)
		next_address(t, LT_FAIL_UNREACHABLE, errno);
	else
		begin_step(t, T_CONNECT);
}

static void silent(struct acetrack *t)
{
	t->failure = t->garbled ? LT_FAIL_GARBLED : LT_FAIL_SILENT;
	err_set(t->text, t->garbled ? "what it says is no tracker's answer"
				    : "it does not answer");
	fail(t);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct acetrack *t = arg;

	(void)fd;
	(void)what;
	switch (t->step) {
	case T_NAME: /* the resolver takes too long */
		resolver_cancel(&t->query);
		fail(t);
		break;
	case T_NEXT: try_next(t); break;
	case T_CONNECT:
	case T_ANNOUNCE:
		if (t->sent < 2)
			send_step(t);
		else
			silent(t);
		break;
	case T_STOP:
		if (t->sent < 2)
			send_step(t);
		else
			over(t);
		break;
	}
}

/* IPv4 first: an engine knows no other addresses. */
static void take_addresses(struct acetrack *t, const uint8_t (*addr)[ADDR_LEN], size_t n)
{
	for (int v6 = 0; v6 <= 1; v6++)
		for (size_t i = 0; i < n; i++)
			if (addr_is_v4(addr[i]) == !v6 &&
			    (t->way.allow_private || addr_is_global(addr[i])))
				memcpy(t->addr[t->n++], addr[i], ADDR_LEN);
}

static void on_addresses(void *arg, const uint8_t (*addr)[ADDR_LEN], size_t n)
{
	struct acetrack *t = arg;

	t->query = NULL;
	take_addresses(t, addr, n);
	if (n > 0 && t->n == 0) {
		stat_inc(ace_trackers_private);
		t->failure = LT_FAIL_UNREACHABLE;
		err_set(t->text, "its address is private, see swarm.allow_private");
	}
	t->step = T_NEXT;
	try_next(t);
}

int acetrack_begin(struct acetrack **out, struct event_base *base,
		   const struct acetrack_url *url, const struct acetrack_ask *ask,
		   const struct acetrack_way *way, acetrack_fn *fn, void *arg)
{
	struct acetrack *t = calloc(1, sizeof(*t));

	if (!t)
		return -1;
	t->base = base;
	t->url = *url;
	t->ask = *ask;
	t->way = *way;
	t->fn = fn;
	t->arg = arg;
	t->fd = -1;
	t->failure = LT_FAIL_NAME;
	err_set(t->text, "its name is not found");
	if (!(t->timer = evtimer_new(base, on_timer, t)) ||
	    getrandom(&t->txid, sizeof(t->txid), GRND_NONBLOCK) !=
		    (ssize_t)sizeof(t->txid) ||
	    !(t->query = resolver_ask(base, url->host, on_addresses, t))) {
		if (t->timer)
			event_free(t->timer);
		free(t);
		return -1;
	}
	arm(t, ACETRACK_NAME_MS);
	*out = t;
	return 0;
}

void acetrack_end(struct acetrack **tp, int stop)
{
	struct acetrack *t = *tp;

	*tp = NULL;
	if (!t)
		return;
	if (stop && t->fd >= 0 && t->step == T_ANNOUNCE) {
		uint8_t packet[ACETRACK_ANNOUNCE_LEN];

		acetrack_put_announce(packet, t->connection, ~t->txid, &t->ask,
				      ACETRACK_STOPPED);
		if (send(t->fd, packet, sizeof(packet), 0) < 0) {
			/* it will forget us by itself */
		}
	}
	if (t->calling)
		t->ended = 1; /* say() frees it */
	else
		track_free(t);
}

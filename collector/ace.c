/*
 * ace.c -- see ace.h. Each call has one event: writable ends the connecting, readable
 * brings bytes, and its timeout is the end of the phase. Whatever wakes it, the socket
 * is asked first and the clock afterwards, so that a loop that was late blames nobody.
 */
#include "collector/ace.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>
#include <sodium.h>

#include "collector/aceleave.h"
#include "collector/bind6.h"
#include "common/clock.h"
#include "shm/stat.h"

/* One read. An extended handshake has some 700 bytes, the longest message 5.4 KB. */
#define READ_BYTES 8192
/* Of the process's descriptors: most belong to the BitTorrent session. */
#define DESCRIPTORS_SHARE 8
/* The receive buffer of a call: the kernel too shall not hold much more than we read. */
#define KERNEL_BYTES AW_IN_MAX

enum phase {
	CONNECTING,
	REPLYING,  /* our 66 bytes are sent */
	SHAKEN,    /* its 66 came */
	LISTENING, /* its extended handshake came */
	FAILED,    /* by our own fault: the loop says so next */
};

struct call {
	struct ace *ace;
	struct call *next, **at; /* in ace.calls */
	struct ace_target target;
	struct event *ev;
	int fd;
	enum phase phase;
	enum ace_outcome failed;     /* of FAILED */
	uint64_t phase_ms, whole_ms; /* when the phase, and all of it, is over */
	int connected, reporting, hushed;
	int news; /* ACE_TOLD or ACE_MORE is to be said; 0: neither */
	struct acewire_in in;
	struct acewire_told *told; /* 6 KB, only for who shakes hands */
};

/* The keys of section 9 B. */
struct limits {
	uint32_t connect_ms, reply_ms, tell_ms, listen_ms, call_ms;
	uint32_t bytes, per_address;
};

struct ace {
	struct event_base *base;
	struct limits limits;
	struct acewire_secret secret;
	ace_fn *fn;
	void *arg;
	uint32_t max, swarm_max, speed;
	char device[sizeof(((struct conf *)0)->swarm_interface)];
	struct call *calls;
	struct aceleave *leave;
	uint32_t open;
	uint64_t credit, credit_ms; /* thousandths of a call, as of then */
	int reporting;              /* a function of the caller's is on the stack */
	uint8_t scratch[READ_BYTES];
};

static void on_event(evutil_socket_t fd, short what, void *arg);

/* ---- ends ---------------------------------------------------------------------- */

/* The place is free and the socket closed, or about to be; the memory stays. */
static void hang_up(struct call *c)
{
	*c->at = c->next;
	if (c->next)
		c->next->at = c->at;
	stat_set(ace_open, --c->ace->open);
	event_free(c->ev);
	if (c->connected)
		aceleave_take(c->ace->leave, c->fd, c->in.most - c->in.total,
			      c->ace->max);
	else
		close(c->fd);
}

static void forget(struct call *c)
{
	acewire_in_end(&c->in);
	free(c->told);
	free(c);
}

/* -1: the call is over, it was hushed meanwhile; c is gone. */
static int report(struct call *c, enum ace_what what, enum ace_outcome how)
{
	struct ace *a = c->ace;
	struct ace_seen s = {.target = c->target, .what = what, .how = how};

	s.connected = c->connected;
	s.bytes_in = c->in.total;
	s.told = c->told;
	s.has_peer_id = c->in.shaken;
	if (c->in.shaken)
		memcpy(s.peer_id, c->in.peer_id, AW_ID_LEN);
	c->reporting = 1;
	a->reporting++;
	a->fn(a->arg, &s);
	a->reporting--;
	c->reporting = 0;
	if (!c->hushed)
		return 0;
	forget(c);
	return -1;
}

static void end(struct call *c, enum ace_outcome how)
{
	hang_up(c);
	if (report(c, ACE_END, how) == 0)
		forget(c);
}

/* How it ends if nothing more comes. */
static enum ace_outcome so_far(const struct call *c)
{
	switch (c->phase) {
	case CONNECTING: return ACE_TIMEOUT;
	case REPLYING: return c->in.total ? ACE_OTHER : ACE_ZERO;
	case SHAKEN: return ACE_SHOOK;
	case LISTENING: return ACE_DONE;
	case FAILED: break;
	}
	return c->failed;
}

/* ---- what comes ------------------------------------------------------------------ */

static void enter(struct call *c, enum phase phase, uint32_t ms)
{
	c->phase = phase;
	c->phase_ms = clock_ms() + ms;
}

/* Until something happens or the time is over; which it may be already. */
static void wait_on(struct call *c)
{
	uint64_t now = clock_ms();
	uint64_t until = c->phase_ms < c->whole_ms ? c->phase_ms : c->whole_ms;
	struct timeval tv;

	if (now >= until) {
		end(c, so_far(c));
		return;
	}
	tv.tv_sec = (time_t)((until - now) / 1000);
	tv.tv_usec = (suseconds_t)((until - now) % 1000 * 1000);
	if (event_add(c->ev, &tv) != 0)
		end(c, ACE_UNREACHABLE);
}

/* -1: the call is over. */
static int on_shaken(struct call *c)
{
	c->told = malloc(sizeof(*c->told));
	if (!c->told) {
		end(c, ACE_UNREACHABLE);
		return -1;
	}
	acewire_told_begin(c->told);
	enter(c, SHAKEN, c->ace->limits.tell_ms);
	stat_inc(ace_answers);
	return report(c, ACE_SHAKEN, ACE_SHOOK);
}

/* 1: this peer is not worth another byte: it sends content, or who it is can't be read. */
static int on_message(struct call *c, const struct acewire_frame *f)
{
	enum acewire_take took = acewire_take(c->told, f, &c->ace->secret);

	if (took == AW_CONTENT)
		return 1;
	if (c->phase == LISTENING) {
		if (took == AW_TOOK && !c->news)
			c->news = ACE_MORE;
		return 0;
	}
	if (c->told->saw & AW_SAW_EXT) {
		enter(c, LISTENING, c->ace->limits.listen_ms);
		stat_inc(ace_told);
		c->news = ACE_TOLD;
	}
	return f->id == AW_EXTENDED && took == AW_MALFORMED;
}

static enum ace_outcome verdict(const struct call *c, enum acewire_step step)
{
	switch (step) {
	case AW_BITTORRENT: return ACE_BITTORRENT;
	case AW_WRONG_KEY: return ACE_WRONG_KEY;
	case AW_OTHER: return ACE_OTHER;
	case AW_NOMEM: return ACE_UNREACHABLE;
	default: return so_far(c);
	}
}

/* All that can be read out of what came, and then the news of it at once. */
static void take(struct call *c)
{
	struct acewire_frame f;
	enum acewire_step step;
	int news, cut = 0;

	while (!cut &&
	       ((step = acewire_in_next(&c->in, &f)) == AW_SHAKEN || step == AW_FRAME)) {
		if (step == AW_FRAME)
			cut = on_message(c, &f);
		else if (on_shaken(c) != 0)
			return;
	}
	news = c->news;
	c->news = 0;
	if (news && report(c, (enum ace_what)news, so_far(c)) != 0)
		return;
	if (cut || step == AW_ABSURD || step == AW_FLOOD)
		stat_inc(ace_cut);
	if (!cut && step == AW_MORE)
		wait_on(c);
	else
		end(c, verdict(c, step));
}

static void on_bytes(struct call *c)
{
	uint8_t *p = c->ace->scratch;
	/* One byte beyond the bound is how it is known to be passed. */
	size_t most = c->in.most - c->in.total + 1;
	ssize_t n = recv(c->fd, p, most < READ_BYTES ? most : READ_BYTES, 0);

	if (n > 0) {
		acewire_in_feed(&c->in, p, (size_t)n);
		sodium_memzero(p, (size_t)n);
		take(c);
	} else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		wait_on(c);
	} else {
		end(c, so_far(c)); /* it closed, by FIN or by RST */
	}
}

/* ---- the way there ------------------------------------------------------------------- */

/* Everything that we ever send. A fresh socket takes 66 bytes as a whole; if not, the
 * peer has reset it already. */
static int greet(struct call *c)
{
	uint8_t hand[AW_HAND];

	if (acewire_hand(hand, c->target.key) != 0)
		return -1;
	if (send(c->fd, hand, sizeof(hand), MSG_NOSIGNAL) == (ssize_t)sizeof(hand))
		stat_inc(ace_connected);
	return 0;
}

static void on_connect(struct call *c)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(int), peer_len = sizeof(peer);
	int error = 0;

	(void)getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	/* A SYN that is answered by RST is ECONNREFUSED: these come of a connection that
	 * stood, and was reset before we looked. */
	c->connected = error == ECONNRESET || error == EPIPE;
	if (error) {
		end(c, error == ECONNREFUSED ? ACE_REFUSED
		       : c->connected        ? ACE_ZERO
					     : ACE_TIMEOUT);
		return;
	}
	if (getpeername(c->fd, (struct sockaddr *)&peer, &peer_len) != 0) {
		wait_on(c); /* not yet */
		return;
	}
	c->connected = 1;
	enter(c, REPLYING, c->ace->limits.reply_ms);
	if (greet(c) != 0 ||
	    event_assign(c->ev, c->ace->base, c->fd, EV_READ, on_event, c) != 0)
		end(c, ACE_UNREACHABLE);
	else
		wait_on(c);
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	struct call *c = arg;

	(void)fd;
	(void)what;
	if (c->phase == FAILED)
		end(c, c->failed);
	else if (c->phase == CONNECTING)
		on_connect(c);
	else
		on_bytes(c);
}

static socklen_t sockaddr_of(struct sockaddr_storage *out, const struct ace_target *t)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(t->port)};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(t->port)};

	if (addr_is_v4(t->addr)) {
		memcpy(&v4.sin_addr, t->addr + 12, 4);
		memcpy(out, &v4, sizeof(v4));
		return sizeof(v4);
	}
	memcpy(&v6.sin6_addr, t->addr, ADDR_LEN);
	memcpy(out, &v6, sizeof(v6));
	return sizeof(v6);
}

/* Through the device or not at all: unlike libtorrent's, a socket of ours never falls
 * back to an address of it, which would leave the choice to the routing table. */
static int set_up(int fd, const char *device)
{
	int one = 1, bytes = KERNEL_BYTES;

	if (device[0] && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device,
				    (socklen_t)strlen(device) + 1) != 0)
		return -1;
	bind6_keep_end(fd);
	/* Without them it works as well, if less politely. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	return 0;
}

static void fail(struct call *c, enum ace_outcome how)
{
	c->phase = FAILED;
	c->failed = how;
	event_del(c->ev);
	event_active(c->ev, EV_TIMEOUT, 0);
}

/* What fails before a packet was sent is our own system's word. */
static void dial(struct call *c, const struct sockaddr_storage *to, socklen_t len)
{
	struct timeval tv = {c->ace->limits.connect_ms / 1000,
			     c->ace->limits.connect_ms % 1000 * 1000};

	if (set_up(c->fd, c->ace->device) != 0 ||
	    (connect(c->fd, (const struct sockaddr *)to, len) != 0 &&
	     errno != EINPROGRESS))
		fail(c, errno == ECONNREFUSED ? ACE_REFUSED : ACE_UNREACHABLE);
	else if (event_add(c->ev, &tv) != 0)
		fail(c, ACE_UNREACHABLE);
}

/* ---- bounds --------------------------------------------------------------------------- */

int ace_descriptors(const struct conf *conf)
{
	rlim_t want = 2 * (rlim_t)conf->acestream_connections, most;
	struct rlimit r;

	if (!conf->acestream_peers)
		return 0;
	if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == RLIM_INFINITY)
		return (int)want;
	most = r.rlim_cur / DESCRIPTORS_SHARE;
	if (most < 2)
		most = 2;
	return (int)(want < most ? want : most);
}

static uint64_t credit_at(const struct ace *a, uint64_t now)
{
	uint64_t most = (uint64_t)a->speed * ACE_BURST_MS;
	uint64_t passed = now - a->credit_ms;

	if (most < 1000)
		most = 1000;
	if (passed > most) /* a speed is one per second at least */
		return most;
	return a->credit + passed * a->speed < most ? a->credit + passed * a->speed
						    : most;
}

/* A walk over all calls: they are some dozens, and each is a connection. */
static enum ace_rc bound(const struct ace *a, const struct ace_target *t, uint64_t now)
{
	uint32_t of_swarm = 0, of_addr = 0;

	if (a->open >= a->max)
		return ACE_BUSY_ALL;
	for (const struct call *c = a->calls; c; c = c->next) {
		of_swarm += memcmp(c->target.swarm, t->swarm, IH_LEN) == 0;
		of_addr += memcmp(c->target.addr, t->addr, ADDR_LEN) == 0;
	}
	if (of_swarm >= a->swarm_max)
		return ACE_BUSY_SWARM;
	if (of_addr >= a->limits.per_address)
		return ACE_BUSY_ADDRESS;
	return credit_at(a, now) >= 1000 ? ACE_STARTED : ACE_TOO_FAST;
}

static enum ace_rc count(enum ace_rc rc)
{
	switch (rc) {
	case ACE_STARTED: stat_inc(ace_calls); break;
	case ACE_BUSY_ALL: stat_inc(ace_busy_all); break;
	case ACE_BUSY_SWARM: stat_inc(ace_busy_swarm); break;
	case ACE_BUSY_ADDRESS: stat_inc(ace_busy_address); break;
	case ACE_TOO_FAST: stat_inc(ace_too_fast); break;
	case ACE_FAILED: stat_inc(ace_failed); break;
	}
	return rc;
}

/* ---- calls ------------------------------------------------------------------------------ */

static struct call *make(struct ace *a, const struct ace_target *t, int family)
{
	struct call *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->ace = a;
	c->target = *t;
	c->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd >= 0)
		c->ev = event_new(a->base, c->fd, EV_WRITE, on_event, c);
	if (!c->ev) {
		if (c->fd >= 0)
			close(c->fd);
		free(c);
		return NULL;
	}
	acewire_in_begin(&c->in, t->key);
	c->in.most = a->limits.bytes;
	return c;
}

enum ace_rc ace_call(struct ace *a, const struct ace_target *t)
{
	uint64_t now = clock_ms();
	enum ace_rc rc = bound(a, t, now);
	struct sockaddr_storage to = {0};
	socklen_t len = sockaddr_of(&to, t);
	struct call *c;

	PS_ASSERT(t->port != 0);
	if (rc != ACE_STARTED)
		return count(rc);
	c = make(a, t, to.ss_family);
	if (!c)
		return count(ACE_FAILED);
	a->credit = credit_at(a, now) - 1000;
	a->credit_ms = now;
	c->whole_ms = now + a->limits.call_ms;
	enter(c, CONNECTING, a->limits.connect_ms);
	c->at = &a->calls;
	c->next = a->calls;
	if (c->next)
		c->next->at = &c->next;
	a->calls = c;
	stat_set(ace_open, ++a->open);
	dial(c, &to, len);
	return count(ACE_STARTED);
}

void ace_hush(struct ace *a, const uint8_t *swarm)
{
	for (struct call *c = a->calls, *next; c; c = next) {
		next = c->next;
		if (swarm && memcmp(c->target.swarm, swarm, IH_LEN) != 0)
			continue;
		hang_up(c);
		if (c->reporting)
			c->hushed = 1; /* report() forgets it */
		else
			forget(c);
	}
}

void ace_load(const struct ace *a, struct ace_load *out)
{
	uint64_t credit = credit_at(a, clock_ms());
	uint32_t free_now = a->max > a->open ? a->max - a->open : 0;
	uint32_t paced = (uint32_t)(credit / 1000);

	out->open = a->open;
	out->room = free_now < paced ? free_now : paced;
	out->wait_ms = paced ? 0 : (uint32_t)((1000 - credit + a->speed - 1) / a->speed);
}

/* ---- life ---------------------------------------------------------------------------------- */

static struct limits limits_of(const struct conf *c)
{
	struct limits l = {
		.connect_ms = (uint32_t)c->acestream_connect_time_ms,
		.reply_ms = (uint32_t)c->acestream_reply_time_ms,
		.tell_ms = (uint32_t)c->acestream_tell_time_ms,
		.listen_ms = (uint32_t)c->acestream_listen_time_ms,
		.call_ms = (uint32_t)c->acestream_call_time_ms,
		.bytes = (uint32_t)c->acestream_call_bytes_bytes,
		.per_address = (uint32_t)c->acestream_per_address,
	};

	PS_ASSERT(l.bytes <= AW_IN_MAX);
	return l;
}

void ace_configure(struct ace *a, const struct conf *conf)
{
	int moved = strcmp(a->device, conf->swarm_interface) != 0;

	PS_ASSERT(!a->reporting);
	a->credit = credit_at(a, clock_ms());
	a->credit_ms = clock_ms();
	a->max = (uint32_t)ace_descriptors(conf) / 2;
	a->swarm_max = (uint32_t)conf->acestream_swarm_connections;
	a->speed = (uint32_t)conf->acestream_connection_speed;
	a->limits = limits_of(conf);
	memcpy(a->device, conf->swarm_interface, sizeof(a->device));
	if (moved || a->max == 0)
		for (struct call *c = a->calls; c; c = c->next)
			fail(c, ACE_UNREACHABLE);
}

int ace_open(struct ace **out, struct event_base *base, const struct conf *conf,
	     uint32_t leave_ms, ace_fn *fn, void *arg, char err[ERRLEN])
{
	struct ace *a = calloc(1, sizeof(*a));

	if (!a)
		return err_set(err, "out of memory");
	if (acewire_secret_make(&a->secret, err) != 0) {
		free(a);
		return -1;
	}
	if (aceleave_open(&a->leave, base, leave_ms) != 0) {
		free(a);
		return err_set(err, "out of memory");
	}
	a->base = base;
	a->fn = fn;
	a->arg = arg;
	a->speed = 1;
	ace_configure(a, conf);
	a->credit = (uint64_t)a->speed * 1000; /* more than the burst: all of it */
	*out = a;
	return 0;
}

void ace_close(struct ace **a)
{
	if (!*a)
		return;
	PS_ASSERT(!(*a)->reporting);
	ace_hush(*a, NULL);
	aceleave_close(&(*a)->leave);
	sodium_memzero(*a, sizeof(**a));
	free(*a);
	*a = NULL;
}

const char *ace_outcome_name(enum ace_outcome how)
{
	static const char *const NAMES[] = {
		[ACE_DONE] = "told all",
		[ACE_SHOOK] = "shook hands",
		[ACE_BITTORRENT] = "speaks BitTorrent",
		[ACE_WRONG_KEY] = "another swarm",
		[ACE_OTHER] = "speaks something else",
		[ACE_ZERO] = "said nothing",
		[ACE_REFUSED] = "refused",
		[ACE_TIMEOUT] = "no answer",
		[ACE_UNREACHABLE] = "no way there",
	};

	PS_ASSERT((size_t)how < PS_ARRAY_LEN(NAMES));
	return NAMES[how];
}

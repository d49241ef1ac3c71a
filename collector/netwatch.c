/* netwatch.c -- see netwatch.h. */
#include <errno.h>
#include <linux/ipv6.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "collector/netwatch.h"
#include "common/clock.h"
#include "common/log.h"
#include "shm/stat.h"

/* The kernel fills at most 32 KiB of a dump at a time (netlink(7)). */
#define NETLINK_BYTES 32768
#define DUMP_TRIES 3
#define DUMP_READS 256     /* of NETLINK_BYTES each */
#define BROADCAST_READS 64 /* before others have a turn */
#ifndef IPV6_PREFER_SRC_PUBLIC
#define IPV6_PREFER_SRC_PUBLIC 0x0002
#endif
#ifndef IPV6_ADDR_PREFERENCES
#define IPV6_ADDR_PREFERENCES 72
#endif

struct netwatch {
	struct event_base *base;
	netwatch_fn *fn;
	void *arg;
	struct netstate now;
	int fd; /* broadcasts; -1: none can be had */
	struct event *heard, *quiet;
	uint64_t burst_ms; /* monotonic, its first broadcast; 0: none under way */
	int hurt;          /* this burst took something away */
	int complained;
};

/* ---- looking -------------------------------------------------------------------- */

/* Static: one thread, and too large for a stack. */
static _Alignas(struct nlmsghdr) char bytes[NETLINK_BYTES];

static int netlink_open(void)
{
	static const struct timeval never_hang = {0, 200000};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &never_hang,
				 sizeof(never_hang));
	return fd;
}

/* As netstate_feed's; a whole answer. */
static int answer(int fd, struct netstate *s)
{
	int rc = 0, disturbed = 0;

	for (int i = 0; i < DUMP_READS; i++) {
		ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

		if (n < 0)
			return -1;
		rc = netstate_feed(s, bytes, (size_t)n);
		disturbed |= rc == -2;
		if (rc == 1 || rc == -1 || rc == -3)
			return rc == 1 && disturbed ? -2 : rc;
	}
	return -1;
}

static int ask_link(int fd, struct netstate *s)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg m;
		struct rtattr a;
		char name[NETSTATE_NAME];
	} q;
	int rc;

	memset(&q, 0, sizeof(q));
	q.h.nlmsg_type = RTM_GETLINK;
	q.h.nlmsg_flags = NLM_F_REQUEST;
	q.a.rta_type = IFLA_IFNAME;
	q.a.rta_len = (unsigned short)(RTA_LENGTH(0) + strlen(s->name) + 1);
	/* No byte more: the kernel's log complains of what stands behind the last one. */
	q.h.nlmsg_len = NLMSG_LENGTH(sizeof(q.m)) + RTA_ALIGN(q.a.rta_len);
	memcpy(q.name, s->name, sizeof(q.name));
	if (send(fd, &q, q.h.nlmsg_len, 0) < 0)
		return -1;
	rc = answer(fd, s);
	if (rc == -3)
		s->ifindex = 0;
	return rc == 1 || rc == -3 ? 0 : -1; /* no word is not "missing" */
}

static int ask_addrs(int fd, struct netstate *s)
{
	struct {
		struct nlmsghdr h;
		struct ifaddrmsg m;
	} q;

	memset(&q, 0, sizeof(q));
	q.h.nlmsg_len = sizeof(q);
	q.h.nlmsg_type = RTM_GETADDR;
	q.h.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	return send(fd, &q, sizeof(q), 0) < 0 ? -1 : answer(fd, s);
}

/* The address that packets to the world would start from. Connecting a UDP socket asks
 * the routing table and sends nothing; the address is one that nobody has. */
static void ask_source(uint8_t out[ADDR_LEN], int family)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
	struct sockaddr_storage ours;
	socklen_t len = sizeof(ours);
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int prefer = IPV6_PREFER_SRC_PUBLIC, rc;

	memset(out, 0, ADDR_LEN);
	if (fd < 0)
		return;
	v4.sin_addr.s_addr = htonl(0xc0586301); /* 192.88.99.1, RFC 7526: given up */
	v6.sin6_addr.s6_addr[0] = 0x3f;         /* 3ffe::1, RFC 3701: given back */
	v6.sin6_addr.s6_addr[1] = 0xfe;
	v6.sin6_addr.s6_addr[15] = 1;
	if (family == AF_INET) {
		rc = connect(fd, (struct sockaddr *)&v4, sizeof(v4));
	} else {
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, &prefer,
				 sizeof(prefer));
		rc = connect(fd, (struct sockaddr *)&v6, sizeof(v6));
	}
	if (rc == 0 && getsockname(fd, (struct sockaddr *)&ours, &len) == 0 &&
	    addr_from_sa(out, NULL, (struct sockaddr *)&ours) != 0)
		memset(out, 0, ADDR_LEN);
	close(fd);
}

/* Where it is not allowed libtorrent binds to an address of the device instead, and then
 * the routing table sends packets any way it likes: no swarm may be joined so. */
static int is_barred(const char *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), barred;

	if (fd < 0)
		fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 0; /* no descriptor: then libtorrent has none either */
	barred = setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name,
			    (socklen_t)strlen(name) + 1) != 0 &&
		 errno == EPERM;
	close(fd);
	return barred;
}

static int ask(struct netstate *s, const char *name)
{
	int rc = -1, fd = netlink_open();

	if (fd < 0)
		return -1;
	for (int i = 0; i < DUMP_TRIES; i++) {
		netstate_begin(s, name);
		if (name[0] && ask_link(fd, s) != 0)
			break;
		if ((rc = ask_addrs(fd, s)) != -2)
			break;
	}
	close(fd);
	if (rc == -1)
		return -1;
	if (name[0]) {
		s->barred = is_barred(name);
	} else {
		ask_source(s->source[0], AF_INET);
		ask_source(s->source[1], AF_INET6);
	}
	return 0;
}

/* Without netlink: is there a device of that name? The rest is as it was. */
static void guess(struct netstate *s, const struct netstate *old)
{
	static const uint8_t ANY[ADDR_LEN];

	*s = *old;
	if (s->name[0] == '\0')
		return;
	s->ifindex = if_nametoindex(s->name);
	s->flags = IFF_UP | IFF_RUNNING;
	if (s->naddrs == 0) /* as good as any: it is only seen to be there */
		memcpy(s->addr[s->naddrs++], ANY, ADDR_LEN);
}

static enum net_change look(struct netwatch *w)
{
	struct netstate fresh;
	enum net_change change;

	if (ask(&fresh, w->now.name) != 0)
		guess(&fresh, &w->now);
	change = netstate_compare(&w->now, &fresh, w->hurt);
	w->now = fresh;
	w->hurt = 0;
	w->burst_ms = 0;
	return change;
}

static void look_and_tell(struct netwatch *w)
{
	enum net_change change = look(w);

	if (change != NET_SAME)
		w->fn(w->arg, change);
}

/* ---- hearing -------------------------------------------------------------------- */

static void on_quiet(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	look_and_tell(arg);
}

static void look_soon(struct netwatch *w)
{
	uint64_t now = clock_ms(), end, wait = NETWATCH_QUIET_MS;
	struct timeval tv;

	if (w->burst_ms == 0)
		w->burst_ms = now;
	end = w->burst_ms + NETWATCH_BURST_MS;
	if (now + wait > end)
		wait = end > now ? end - now : 0;
	tv.tv_sec = 0;
	tv.tv_usec = (suseconds_t)wait * 1000;
	event_add(w->quiet, &tv);
}

static void on_heard(evutil_socket_t fd, short what, void *arg)
{
	struct netwatch *w = arg;

	(void)what;
	for (int i = 0; i < BROADCAST_READS; i++) {
		ssize_t n = recv((int)fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (n < 0 && errno == ENOBUFS) {
			stat_inc(net_overruns);
			look_soon(w);
			continue;
		}
		if (n <= 0)
			return;
		w->hurt |= netstate_hurt(&w->now, bytes, (size_t)n);
		look_soon(w);
	}
}

static void listen_up(struct netwatch *w)
{
	struct sockaddr_nl a = {.nl_family = AF_NETLINK,
				.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR |
					     RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
					     RTMGRP_IPV6_ROUTE};

	w->fd = netlink_open();
	if (w->fd >= 0 && bind(w->fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
		close(w->fd);
		w->fd = -1;
	}
	if (w->fd < 0) {
		if (!w->complained++)
			log_warn("net", "no netlink (%s): looking once a second",
				 strerror(errno));
		return;
	}
	w->heard = event_new(w->base, w->fd, EV_READ | EV_PERSIST, on_heard, w);
	PS_ASSERT(w->heard != NULL);
	event_add(w->heard, NULL);
	if (w->complained)
		log_notice("net", "there is netlink again");
	w->complained = 0;
}

/* ---- life ----------------------------------------------------------------------- */

int netwatch_open(struct netwatch **out, struct event_base *base, const char *name,
		  netwatch_fn *fn, void *arg)
{
	struct netwatch *w = calloc(1, sizeof(*w));

	if (!w)
		return -1;
	w->base = base;
	w->fn = fn;
	w->arg = arg;
	w->quiet = event_new(base, -1, 0, on_quiet, w);
	PS_ASSERT(w->quiet != NULL);
	listen_up(w); /* first, so that nothing happens between */
	netwatch_name(w, name);
	*out = w;
	return 0;
}

void netwatch_close(struct netwatch **at)
{
	struct netwatch *w = *at;

	if (!w)
		return;
	if (w->heard)
		event_free(w->heard);
	event_free(w->quiet);
	if (w->fd >= 0)
		close(w->fd);
	free(w);
	*at = NULL;
}

void netwatch_name(struct netwatch *w, const char *name)
{
	netstate_begin(&w->now, name);
	(void)look(w);
}

const struct netstate *netwatch_state(const struct netwatch *w)
{
	return &w->now;
}

void netwatch_tick(struct netwatch *w)
{
	if (w->fd >= 0)
		return;
	stat_inc(net_polls);
	listen_up(w);
	look_and_tell(w);
}

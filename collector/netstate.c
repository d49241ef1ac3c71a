/* netstate.c -- see netstate.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "collector/netstate.h"

static const uint8_t NONE[ADDR_LEN];

void netstate_begin(struct netstate *s, const char *name)
{
	size_t len = strlen(name);

	PS_ASSERT(len < NETSTATE_NAME);
	memset(s, 0, sizeof(*s));
	memcpy(s->name, name, len);
}

/* ---- reading ------------------------------------------------------------------ */

/* IPv6 ones that come and go by themselves, or can't be bound to yet. */
static int is_passing(uint8_t family, uint32_t flags)
{
	if (family != AF_INET6)
		return 0;
	if (flags & (IFA_F_TEMPORARY | IFA_F_DADFAILED | IFA_F_DEPRECATED))
		return 1;
	return (flags & IFA_F_TENTATIVE) && !(flags & IFA_F_OPTIMISTIC);
}

static int is_link_local(const uint8_t a[ADDR_LEN])
{
	if (addr_is_v4(a))
		return a[12] == 169 && a[13] == 254;
	return a[0] == 0xfe && (a[1] & 0xc0) == 0x80;
}

static int has(const struct netstate *s, const uint8_t a[ADDR_LEN])
{
	for (uint32_t i = 0; i < s->naddrs; i++)
		if (memcmp(s->addr[i], a, ADDR_LEN) == 0)
			return 1;
	return 0;
}

static void take(uint8_t out[ADDR_LEN], uint8_t family, const struct rtattr *a)
{
	memset(out, 0, ADDR_LEN);
	if (family == AF_INET && RTA_PAYLOAD(a) == 4) {
		out[10] = out[11] = 0xff;
		memcpy(out + 12, RTA_DATA(a), 4);
	} else if (family == AF_INET6 && RTA_PAYLOAD(a) == ADDR_LEN) {
		memcpy(out, RTA_DATA(a), ADDR_LEN);
	}
}

/* Our address in an RTM_NEWADDR or RTM_DELADDR. 0: none that we would stand on. On a
 * point-to-point link IFA_ADDRESS is the other end's. */
static int usable_addr(const struct nlmsghdr *h, uint8_t out[ADDR_LEN])
{
	const struct ifaddrmsg *m = NLMSG_DATA(h);
	const struct rtattr *a = IFA_RTA(m);
	int left = (int)IFA_PAYLOAD(h); /* signed: the macros step over the end */
	uint32_t flags = m->ifa_flags;
	int local = 0;

	memset(out, 0, ADDR_LEN);
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == IFA_LOCAL || (a->rta_type == IFA_ADDRESS && !local))
			take(out, m->ifa_family, a);
		local |= a->rta_type == IFA_LOCAL;
		if (a->rta_type == IFA_FLAGS && RTA_PAYLOAD(a) == sizeof(flags))
			memcpy(&flags, RTA_DATA(a), sizeof(flags));
	}
	return memcmp(out, NONE, ADDR_LEN) != 0 && !is_link_local(out) &&
	       !is_passing(m->ifa_family, flags);
}

static int is_ours(const struct netstate *s, uint32_t ifindex)
{
	return s->name[0] == '\0' || (ifindex && ifindex == s->ifindex);
}

static void on_addr(struct netstate *s, const struct nlmsghdr *h)
{
	const struct ifaddrmsg *m = NLMSG_DATA(h);
	uint8_t a[ADDR_LEN];

	if (!is_ours(s, m->ifa_index) || !usable_addr(h, a) || has(s, a))
		return;
	if (s->naddrs == NETSTATE_ADDRS)
		s->more = 1;
	else
		memcpy(s->addr[s->naddrs++], a, ADDR_LEN);
}

/* -1, or -3 for "there is no such device". */
static int refusal(const struct nlmsghdr *h)
{
	const struct nlmsgerr *e = NLMSG_DATA(h);

	return h->nlmsg_len >= NLMSG_LENGTH(sizeof(e->error)) && e->error == -ENODEV ? -3
										     : -1;
}

/* NLMSG_OK, whose comparison of signs clang refuses. */
static int is_there(const struct nlmsghdr *h, int left)
{
	return left >= (int)sizeof(*h) && h->nlmsg_len >= sizeof(*h) &&
	       h->nlmsg_len <= (uint32_t)left;
}

/* Is there room for the fixed part that the type promises? */
static int is_whole(const struct nlmsghdr *h)
{
	switch (h->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK: return h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifinfomsg));
	case RTM_NEWADDR:
	case RTM_DELADDR: return h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifaddrmsg));
	}
	return 1;
}

int netstate_feed(struct netstate *s, const void *msgs, size_t len)
{
	const struct nlmsghdr *h = msgs;
	int left = (int)len; /* signed: NLMSG_NEXT steps over the end */
	int disturbed = 0;

	for (; is_there(h, left); h = NLMSG_NEXT(h, left)) {
		disturbed |= (h->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
		if (!is_whole(h))
			return -1;
		if (h->nlmsg_type == NLMSG_ERROR)
			return refusal(h);
		if (h->nlmsg_type == NLMSG_DONE)
			return disturbed ? -2 : 1;
		if (h->nlmsg_type == RTM_NEWADDR)
			on_addr(s, h);
		if (h->nlmsg_type == RTM_NEWLINK) {
			const struct ifinfomsg *m = NLMSG_DATA(h);

			s->ifindex = (uint32_t)m->ifi_index;
			s->flags = m->ifi_flags;
			return 1;
		}
	}
	return disturbed ? -2 : 0;
}

int netstate_hurt(const struct netstate *s, const void *msgs, size_t len)
{
	const struct nlmsghdr *h = msgs;
	int left = (int)len; /* signed: NLMSG_NEXT steps over the end */
	uint8_t a[ADDR_LEN];

	if (s->name[0] == '\0')
		return 0; /* then only what packets start from matters */
	for (; is_there(h, left); h = NLMSG_NEXT(h, left)) {
		const struct ifaddrmsg *addr = NLMSG_DATA(h);
		const struct ifinfomsg *link = NLMSG_DATA(h);

		if (!is_whole(h))
			continue;
		if (h->nlmsg_type == RTM_DELLINK && is_ours(s, (uint32_t)link->ifi_index))
			return 1;
		if (h->nlmsg_type == RTM_DELADDR && is_ours(s, addr->ifa_index) &&
		    usable_addr(h, a) && has(s, a))
			return 1;
	}
	return 0;
}

/* ---- judging ------------------------------------------------------------------ */

/* IFF_RUNNING is the kernel's word for "operational, or nobody knows" (RFC 2863), and a
 * tun device, whose state nobody knows, has it while somebody holds its other end. */
enum iface_why netstate_why(const struct netstate *s)
{
	if (s->name[0] == '\0')
		return IFACE_OK;
	if (s->ifindex == 0)
		return IFACE_MISSING;
	if (!(s->flags & IFF_UP))
		return IFACE_DOWN;
	if (!(s->flags & IFF_RUNNING))
		return IFACE_NO_CARRIER;
	if (s->naddrs == 0)
		return IFACE_NO_ADDRESS;
	return s->barred ? IFACE_BARRED : IFACE_OK;
}

/* Every address of a is in b, as far as the lists go. */
static int all_in(const struct netstate *a, const struct netstate *b)
{
	for (uint32_t i = 0; i < a->naddrs; i++)
		if (!has(b, a->addr[i]) && !b->more)
			return 0;
	return 1;
}

static enum net_change compare_device(const struct netstate *old,
				      const struct netstate *now, int hurt)
{
	enum iface_why was = netstate_why(old), is = netstate_why(now);

	if (is != IFACE_OK)
		return was == IFACE_OK ? NET_GONE : was == is ? NET_SAME : NET_WHY;
	if (was != IFACE_OK)
		return NET_BACK;
	if (hurt || now->ifindex != old->ifindex || !all_in(old, now))
		return NET_MOVED;
	return all_in(now, old) ? NET_SAME : NET_GREW;
}

/* One family's way to the world. While there is none nothing can be mended. */
static enum net_change compare_source(const struct netstate *old,
				      const struct netstate *now, int i)
{
	if (memcmp(old->source[i], now->source[i], ADDR_LEN) == 0 ||
	    memcmp(now->source[i], NONE, ADDR_LEN) == 0)
		return NET_SAME;
	return has(now, old->source[i]) || now->more ? NET_GREW : NET_MOVED;
}

static int stays(const struct netstate *old, const struct netstate *now, int i)
{
	return memcmp(old->source[i], NONE, ADDR_LEN) != 0 &&
	       memcmp(old->source[i], now->source[i], ADDR_LEN) == 0;
}

enum net_change netstate_compare(const struct netstate *old, const struct netstate *now,
				 int hurt)
{
	enum net_change v4, v6, most;

	if (now->name[0])
		return compare_device(old, now, hurt);
	v4 = compare_source(old, now, 0);
	v6 = compare_source(old, now, 1);
	most = v4 == NET_MOVED || v6 == NET_MOVED ? NET_MOVED : v4 == NET_SAME ? v6 : v4;
	/* Connections over a family that did not change are worth more than haste. */
	if (most == NET_MOVED && (stays(old, now, 0) || stays(old, now, 1)))
		return NET_GREW;
	return most;
}

const char *net_change_name(enum net_change change)
{
	switch (change) {
	case NET_SAME: return "is as it was";
	case NET_WHY: return "is still not usable";
	case NET_GONE: return "is gone";
	case NET_BACK: return "is there";
	case NET_MOVED: return "has changed";
	case NET_GREW: return "has a new address";
	}
	return "?";
}

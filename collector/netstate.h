/*
 * netstate.h -- a device, or the whole machine, as the kernel describes it, and what
 * changed between two looks. Pure: rtnetlink(7) messages go in. netwatch.c asks for them.
 *
 * With a name only that device counts. Without one it is the address that packets to the
 * world start from: it follows from addresses and default route.
 * Proof: tests/unit/test_netstate.c.
 */
#ifndef PEERSCOPE_COLLECTOR_NETSTATE_H
#define PEERSCOPE_COLLECTOR_NETSTATE_H

#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "shm/iface.h"

#define NETSTATE_NAME 16		/* IFNAMSIZ */
/* Addresses remembered. Of more it is only known that there are more: then an address
 * that is not in the list is taken to be still there. */
#define NETSTATE_ADDRS 64

struct netstate {
	char name[NETSTATE_NAME];	/* "": the machine */
	uint32_t ifindex;		/* 0: no such device */
	uint32_t flags;			/* IFF_* of linux/if.h */
	int barred;			/* SO_BINDTODEVICE is not allowed; set by netwatch.c */
	uint8_t addr[NETSTATE_ADDRS][ADDR_LEN];	/* usable ones; never link-local */
	uint32_t naddrs, more;
	uint8_t source[2][ADDR_LEN];	/* machine: IPv4, IPv6; zero: no way to the world */
};

enum net_change {
	NET_SAME,
	NET_WHY,			/* still not usable, for another reason */
	NET_GONE,			/* usable no more */
	NET_BACK,			/* usable, and was not */
	NET_MOVED,			/* what sockets were bound to is gone or another */
	NET_GREW,			/* something came, nothing went */
};

void netstate_begin(struct netstate *s, const char *name);
/* Answers to RTM_GETLINK (by name) and RTM_GETADDR (dump). 1: the answer is complete;
 * 0: more of it follows; -1: the kernel says no, or the bytes make no sense; -2: the
 * dump was disturbed by a change and has to be asked for again; -3: the kernel knows no
 * such device. */
int netstate_feed(struct netstate *s, const void *msgs, size_t len);
/* 1: a broadcast of these messages takes something away that s stands on, even if it is
 * there again when we look. */
int netstate_hurt(const struct netstate *s, const void *msgs, size_t len);
enum iface_why netstate_why(const struct netstate *s);
enum net_change netstate_compare(const struct netstate *old, const struct netstate *now,
				 int hurt);
const char *net_change_name(enum net_change change);

#endif

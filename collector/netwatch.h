/*
 * netwatch.h -- hears from the kernel (rtnetlink(7)) that devices, addresses or routes
 * changed, and says once per burst what that means for us.
 *
 * A broadcast only says that it is time to look: what is there is asked for anew, so an
 * overrun (ENOBUFS) loses nothing. Asking is answered by the kernel at once and sends
 * nothing. Without netlink it looks once a second. Loop thread.
 */
#ifndef PEERSCOPE_COLLECTOR_NETWATCH_H
#define PEERSCOPE_COLLECTOR_NETWATCH_H

#include "collector/netstate.h"
#include "common/err.h"

#define NETWATCH_QUIET_MS 200	/* a burst is over after this much silence */
#define NETWATCH_BURST_MS 2000	/* or after this long */

struct event_base;
struct netwatch;			/* opaque */

/* Called on the loop, never for NET_SAME, and never from within a call below but
 * netwatch_tick. */
typedef void netwatch_fn(void *arg, enum net_change change);

/* name: of the device, or "". Looks at once. -1: out of memory. */
PS_MUST int netwatch_open(struct netwatch **out, struct event_base *base, const char *name,
			  netwatch_fn *fn, void *arg);
void netwatch_close(struct netwatch **w);
/* Another device: looks at once. */
void netwatch_name(struct netwatch *w, const char *name);
const struct netstate *netwatch_state(const struct netwatch *w);
/* Once a second: the safety net while there is no netlink. */
void netwatch_tick(struct netwatch *w);

#endif

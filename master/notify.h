/*
 * notify.h -- tells whoever started us how it goes: sd_notify(3), the datagrams of a unit
 * with Type=notify.
 *
 * All of it comes from the environment ($NOTIFY_SOCKET, $WATCHDOG_USEC, $WATCHDOG_PID),
 * which stays as it is, also for a new binary that takes our place. Without it nothing
 * happens. The master alone speaks. Proof: tests/e2e/test_systemd.py.
 */
#ifndef PEERSCOPE_MASTER_NOTIFY_H
#define PEERSCOPE_MASTER_NOTIFY_H

#include "common/err.h"

#define NOTIFY_MAX 1024		/* bytes of one datagram */

/* One datagram, "READY=1\nSTATUS=serving". Waits for its reader for a second at most; what
 * is not taken is a line in the log. */
void notify_say(const char *fmt, ...) PS_PRINTF(1, 2);
/* A reload begins; READY=1 says that it is over, whatever came of it. */
void notify_reloading(const char *status);
/* Our loop turns. every_ms: how often it is called; once warns of a watchdog that is
 * faster than that. */
void notify_beat(unsigned every_ms);

#endif

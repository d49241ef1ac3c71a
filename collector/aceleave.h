/*
 * aceleave.h -- connections that we have ended, until the other end has ended them, too.
 *
 * An engine may still speak when we hang up. Were the socket closed then, the kernel would
 * answer with resets; and once the socket is gone, those take the routing table's way,
 * not swarm.interface. So FIN is sent and the socket kept for a moment: what comes is
 * thrown away, and beyond a bound it is not even read, which stops the peer by its window.
 * Proof: tests/unit/test_ace.c, tests/e2e/test_ace_leak.py.
 */
#ifndef PEERSCOPE_COLLECTOR_ACELEAVE_H
#define PEERSCOPE_COLLECTOR_ACELEAVE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct event_base;
struct aceleave;			/* opaque */

/* Borrows base. ms: how long the other end has. */
PS_MUST int aceleave_open(struct aceleave **out, struct event_base *base, uint32_t ms);
void aceleave_close(struct aceleave **l);	/* all sockets, too; NULL is fine */
/* Takes the connected, non-blocking fd. bytes: how much may still be read of it. Of more
 * than max sockets the oldest are closed at once. */
void aceleave_take(struct aceleave *l, int fd, size_t bytes, uint32_t max);

#endif

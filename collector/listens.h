/*
 * listens.h -- where the session listens, and why it does not listen where it should.
 *
 * The session opens TCP and UDP of an address together or not at all, says each that
 * stands and each that failed, in the order of an attempt: failures first. It says
 * nothing of those that were open before, nor of those that it closes. So a failure holds
 * until that socket stands, or until an attempt has passed without a word of it.
 *
 * Quiet failures heal by themselves: an IPv6 address that is still being tested for
 * duplicates (RFC 4862 5.4) or has just gone can't be bound to, and netwatch.h sees it
 * come; a link-local one (RFC 4291 2.5.6) is nobody's way to us. They are told only if no
 * other socket stands. What is not link-local and fails again LISTENS_DAD_MS later is no
 * such passing thing: it is loud. Pure. Proof: tests/unit/test_listens.c.
 */
#ifndef PEERSCOPE_COLLECTOR_LISTENS_H
#define PEERSCOPE_COLLECTOR_LISTENS_H

#include <stdint.h>

#include "collector/lt.h"
#include "common/conf.h"

/* After this time an attempt has said what it had to: it is local work. */
#define LISTENS_TOLD_MS 1000
/* The test for duplicates takes one to two seconds. */
#define LISTENS_DAD_MS 4000

/* swarm.listen may name a hundred ports, and then a device each. */
#define LISTENS_TEXT 2560

struct listen_failure {
	char text[LT_TEXT_MAX + 1];	/* "": none */
	uint8_t addr[ADDR_LEN];
	uint16_t port;
	uint64_t since_ms;		/* it fails since then */
	int old;			/* of an attempt before the one under way */
};

struct listens {			/* zeroed: nothing is known */
	uint16_t port;			/* of the newest socket that stands; 0: none does */
	struct listen_failure loud, quiet;	/* the first of each that an attempt told */
	uint64_t asked_ms;		/* an attempt is under way since; 0: none */
};

/* Where to listen, as libtorrent wants to be told: swarm.listen, but of swarm.interface, if
 * that names a device. visit: any port of the same, or of all: it calls, and is not called. */
void listens_interfaces(char out[LISTENS_TEXT], const struct conf *c, int visit);
/* An attempt begins. closed: no socket of before it stays open. */
void listens_ask(struct listens *l, int closed, uint64_t now_ms);
/* A socket stands. 1: that was the end of the loud failure. */
int listens_stand(struct listens *l, const uint8_t addr[ADDR_LEN], uint16_t port);
/* LT_LISTEN_FAILED. 1: this is news, and worth a line in the log. */
int listens_fail(struct listens *l, const struct lt_event *e, uint64_t now_ms);
/* Once a second. 1: try again what failed quietly. */
int listens_tick(struct listens *l, uint64_t now_ms);
/* What is wrong; NULL: nothing, or nothing is known yet. */
const char *listens_why(const struct listens *l);

#endif

/*
 * given.h -- peers that a question names itself: x.pe of a magnet link (BEP 9).
 *
 * How they go to the collector: shm/given.h. Proof: tests/unit/test_given.c.
 */
#ifndef PEERSCOPE_COMMON_GIVEN_H
#define PEERSCOPE_COMMON_GIVEN_H

#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/err.h"

/* A magnet link has one or two. Each is a connection to an address of the asker's choice,
 * and 16 with the rest of a question are far below http.max_uri. */
#define GIVEN_MAX 16

struct given {
	uint32_t n;
	struct given_peer {
		uint8_t addr[ADDR_LEN];
		uint16_t port;		/* 0 is for the collector to refuse */
	} peer[GIVEN_MAX];
};

/* The peers of from that are not there yet, as far as there is room; how many had none. */
uint32_t given_more(struct given *g, const struct given *from);
/* From the value of x.pe. 0 (also if it is there already), or -1 with a sentence. */
PS_MUST int given_add(struct given *g, const char *value, char err[ERRLEN]);

#endif

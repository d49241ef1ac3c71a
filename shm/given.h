/*
 * given.h -- peers that a question names itself (x.pe of a magnet link, BEP 9), and the
 * text of a job, in which they go from a worker to the collector:
 *
 *	JOB_F_V2	32 bytes: the whole v2 infohash
 *	JOB_F_GIVEN	then 1 to GIVEN_MAX records of 18 bytes: address (addr.h), port
 *			(big-endian)
 *
 * A text of any other length than the flags say is refused as a whole.
 * Proof: tests/unit/test_given.c.
 */
#ifndef PEERSCOPE_SHM_GIVEN_H
#define PEERSCOPE_SHM_GIVEN_H

#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/ident.h"
#include "shm/lane.h"

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

#define GIVEN_RECORD (ADDR_LEN + 2)
#define GIVEN_TEXT_MAX (IH_V2_LEN + GIVEN_MAX * GIVEN_RECORD)
_Static_assert(GIVEN_TEXT_MAX <= SHM_JOB_TEXT_MAX, "it fits into a job");

/* From the value of x.pe. 0 (also if it is there already), or -1 with a sentence. */
PS_MUST int given_add(struct given *g, const char *value, char err[ERRLEN]);
/* Sets flags and text_len of a job; v2, g: NULL is none. Returns text, or NULL: none. */
const uint8_t *given_write(struct shm_job *job, uint8_t text[GIVEN_TEXT_MAX],
			   const uint8_t *v2, const struct given *g);
/* *v2 points into text, or is NULL. -1: the text is not what the flags say. */
PS_MUST int given_read(const struct shm_job *job, const uint8_t *text, const uint8_t **v2,
		       struct given *g);

#endif

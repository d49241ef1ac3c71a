/*
 * given.h -- the text of a job, in which the v2 infohash and the peers that a question names
 * itself (common/given.h) go from a worker to the collector:
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

#include "common/given.h"
#include "common/ident.h"
#include "shm/lane.h"

#define GIVEN_RECORD (ADDR_LEN + 2)
#define GIVEN_TEXT_MAX (IH_V2_LEN + GIVEN_MAX * GIVEN_RECORD)
_Static_assert(GIVEN_TEXT_MAX <= SHM_JOB_TEXT_MAX, "it fits into a job");

/* Sets flags and text_len of a job; v2, g: NULL is none. Returns text, or NULL: none. */
const uint8_t *given_write(struct shm_job *job, uint8_t text[GIVEN_TEXT_MAX],
			   const uint8_t *v2, const struct given *g);
/* *v2 points into text, or is NULL. -1: the text is not what the flags say. */
PS_MUST int given_read(const struct shm_job *job, const uint8_t *text, const uint8_t **v2,
		       struct given *g);

#endif

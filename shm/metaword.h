/*
 * metaword.h -- what the end of a question for metadata is to its asker, in the words of
 * contracts/metadata.md: workers say it over HTTP, the collector to webhooks. Pure.
 * Proof: tests/unit/test_metaask.c.
 */
#ifndef PEERSCOPE_SHM_METAWORD_H
#define PEERSCOPE_SHM_METAWORD_H

#include "shm/lane.h"

struct metaword {
	int status;			/* of HTTP */
	const char *error, *code, *message;
};

/* "error" of what is not the asker's fault, as clients of the contract know it. */
#define METADATA_FAILED "Failed to get torrent metadata"

/* Of an end other than LANE_OK. */
const struct metaword *metaword(enum lane_rc rc);

#endif

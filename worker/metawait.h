/*
 * metawait.h -- a question for metadata that is not in the cache: parked until the
 * collector has put it there, or knows that nobody has it.
 *
 *   JOB_META (the link) --> collector --> LANE_OK: it is in the cache now, metaserve
 *                                     --> LANE_META_...: metaword says it
 *
 *   JOB_META_FILE (a file of ours) --> the same; <file>.key says which torrent it is
 *
 * A client that leaves costs nothing: the collector goes on for the cache. Bounded by
 * http.max_parked; each keeps its link as text, MAGNET_MAX bytes at most.
 * Proof: tests/e2e/test_metadata.py.
 */
#ifndef PEERSCOPE_WORKER_METAWAIT_H
#define PEERSCOPE_WORKER_METAWAIT_H

#include "common/magnet.h"
#include "worker/http.h"
#include "worker/metaask.h"

#define METAWAIT_MARGIN_MS 3000		/* our deadline, behind the collector's */

/* Answers later, or now. Takes link. ms: how long the asker waits. */
void metawait_link(struct ask *a, struct magnet *link, uint64_t ms);
/* The same of an uploaded .torrent, the body of this question: it goes to the collector as a
 * file in META_UP, and is let go of; of http.max_uploads once that file is gone. */
void metawait_file(struct ask *a, uint64_t ms);
/* A new file for the collector. 0, or -1 with err. */
PS_MUST int metawait_put(const char *path, const struct buf *body, char err[ERRLEN]);

#endif

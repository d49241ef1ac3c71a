/*
 * metabatch.h -- POST /api/v1/metadata/batch: several questions for metadata in one
 * request, answered together.
 *
 *   items --metadata_link--> each by itself (metaserve.h, metawait.h), a part (http.h)
 *                                          |
 *            [object, error, object, ...] <-- the last one is done
 *
 * One deadline for all; what is wrong with one is its own. Each is a question like others:
 * it has a place of http.max_parked, and counts for swarm.cold_rate; equal ones are one
 * fetch in the collector. What is cached is sent by the kernel from its file, so a batch
 * costs memory for what stands in front of each file, and a descriptor for each. Of all
 * batches that are not sent yet METABATCH_OPEN items are taken; more: 503.
 * Proof: tests/e2e/test_metadata_batch.py.
 */
#ifndef PEERSCOPE_WORKER_METABATCH_H
#define PEERSCOPE_WORKER_METABATCH_H

#include "worker/http.h"

#define METABATCH_OPEN 200

void metabatch_post(struct ask *a);

#endif

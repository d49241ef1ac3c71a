/*
 * metalater.h -- questions for metadata that nobody waits for: POST /api/v1/metadata?async=1
 * and GET /api/v1/jobs/{id} (shm/metajob.h).
 *
 *   the question, as a file of ours --JOB_META_LATER--> the collector has it: 202
 *                                                   --> metadata.jobs of them: 503
 *
 * What is cached already is a job, too, done before its 202. The job's file is the
 * collector's; here it is read and told. Proof: tests/e2e/test_metadata_jobs.py.
 */
#ifndef PEERSCOPE_WORKER_METALATER_H
#define PEERSCOPE_WORKER_METALATER_H

#include "common/magnet.h"
#include "worker/http.h"

#define METALATER_WAIT_MS 5000		/* until the collector has it */

/* Takes link and webhook (NULL: none). */
void metalater(struct ask *a, struct magnet *link, char *webhook);
void metalater_get(struct ask *a);

#endif

/*
 * fetch.h -- questions for metadata: one flight per torrent, whatever the number of askers.
 *
 *	JOB_META --> Redis (200 ms) --> the swarm --+--> JSON, in steps --> disk --> LANE_OK
 *	JOB_META_FILE: an uploaded .torrent --------'                 '---> Redis
 *
 * Where the two lines meet it is read and checked, on a thread (metaread.h), one at a time.
 *
 * A flight in a swarm is an ordinary member of it: its peers are in /peers, too, and those
 * that it had are asked. The trackers and peers of the link are taken, its web seeds are
 * not. libtorrent has checked the hash; what comes from Redis is checked here. The flight
 * goes on when its asker has left. After metadata.timeout the torrent counts as dead for a
 * while (metadead.h), though who came later waits his own time; but it is looked for until
 * metadata.job_timeout is over, unless a question wants the place. With metadata.seeding the
 * swarm stays, for metadata.seed_time and at most metadata.seed_count of them, and gives
 * others the metadata.
 *
 * Redis: peerscope:meta:1:<hash> is the info dict itself, so that nobody need be believed;
 * both hashes of a hybrid have it. 24 hours; at most FETCH_REDIS_MAX bytes.
 * Proof: tests/e2e/test_metadata_fetch.py, tests/unit/test_metadead.c.
 */
#ifndef PEERSCOPE_COLLECTOR_FETCH_H
#define PEERSCOPE_COLLECTOR_FETCH_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/ident.h"

#define FETCH_REDIS_WAIT_MS 200
#define FETCH_REDIS_MAX (1u << 20)
#define FETCH_REDIS_TTL_MS 86400000
/* Info dicts of all flights, bytes: more of them wait, but one alone may always be. And those
 * of swarms that we stay in. */
#define FETCH_HELD_MAX (64u << 20)
#define FETCH_SEED_MAX (64u << 20)
#define FETCH_STEP_FILES 512 /* rendered in one turn of the loop */
#define FETCH_UP_KEEP_S 600  /* an upload that nobody took is removed */
#define FETCH_UP_SWEEP_MS 60000
#define FETCH_UP_LOOK 1024 /* names looked at in one sweep */
#define FETCH_UPS 64	   /* uploads that wait to be read, as files; more are refused */
#define FETCH_UP_NAME 64   /* bytes of an upload's name */

struct coll;
struct lt_event;
struct fetch; /* opaque, as is a flight */
struct fetch_flight;
struct shm_job;

PS_MUST int fetch_open(struct coll *c, char err[ERRLEN]);
void fetch_close(struct coll *c);     /* may wait for the disk */
void fetch_configure(struct coll *c); /* kid.conf may be new */
/* JOB_META and what follows it. */
void fetch_job(struct coll *c, const struct shm_job *job, const uint8_t *text);
/* An LT_METADATA. Before ids_hashes, which may leave that swarm. */
void fetch_found(struct coll *c, const struct lt_event *e);
void fetch_tick(struct coll *c); /* once a second */

#endif

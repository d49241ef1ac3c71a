/*
 * metadata.h -- the routes of the metadata API (contracts/metadata.md): what a torrent
 * holds, from the cache that the collector fills.
 *
 *   POST /api/v1/metadata           {"magnet_uri"} as of metaask.h, or a .torrent
 *                                   ?async=1: a job, see metalater.h
 *   GET  /api/v1/jobs/{id}
 *   POST /api/v1/metadata/batch     an array of such, or {"items": [...]} (metabatch.h)
 *   GET  /api/v1/metadata/{hash}    what is cached, for readers and caches
 *   GET  /download/{hash}           the same as a .torrent
 *   GET  /api/v1/health
 *
 * Errors are {"error", "message", "code"}: the first two in the contract's words.
 */
#ifndef PEERSCOPE_WORKER_METADATA_H
#define PEERSCOPE_WORKER_METADATA_H

#include "common/magnet.h"
#include "shm/metaword.h"
#include "worker/http.h"

#define METADATA_PATH "/api/v1/metadata"
#define METADATA_UPLOAD_MAX (10u << 20)	/* bytes of a .torrent: as METAINFO_MAX */
#define METADATA_BATCH_PATH METADATA_PATH "/batch"
/* Bytes of a batch: METAASK_ITEMS of MAGNET_MAX, and what JSON needs around them. */
#define METADATA_BATCH_MAX (512u << 10)

void metadata_post(struct ask *a);
/* The torrent of link, from the cache or from the collector. Takes link. */
void metadata_link(struct ask *a, struct magnet *link);
/* ?timeout= into a->timeout_ms, and ?async=; of what else stands there nothing is known. 0, or
 * -1: answered. */
PS_MUST int metadata_query(struct ask *a, int *async);
void metadata_no_memory(struct ask *a);		/* answers so */
void metadata_get(struct ask *a);
void metadata_download(struct ask *a);
void metadata_health(struct ask *a);		/* always 200 */

#endif

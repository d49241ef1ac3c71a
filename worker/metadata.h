/*
 * metadata.h -- the routes of the metadata API (contracts/metadata.md): what a torrent
 * holds, from the cache that the collector fills.
 *
 *   POST /api/v1/metadata           {"magnet_uri"} as of metaask.h, or a .torrent
 *   GET  /api/v1/metadata/{hash}    what is cached, for readers and caches
 *   GET  /download/{hash}           the same as a .torrent
 *   GET  /api/v1/health
 *
 * Errors are {"error", "message", "code"}: the first two in the contract's words.
 */
#ifndef PEERSCOPE_WORKER_METADATA_H
#define PEERSCOPE_WORKER_METADATA_H

#include "worker/http.h"

#define METADATA_PATH "/api/v1/metadata"
#define METADATA_UPLOAD_MAX (10u << 20)	/* bytes of a .torrent: as METAINFO_MAX */

void metadata_post(struct ask *a);
void metadata_get(struct ask *a);
void metadata_download(struct ask *a);
void metadata_health(struct ask *a);		/* always 200 */

#endif

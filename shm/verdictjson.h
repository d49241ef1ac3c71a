/*
 * verdictjson.h -- verdicts as words, and with their evidence as JSON: for the peers
 * answer, for /health, for `top`. Writes, never judges: collector/verdict.h does.
 */
#ifndef PEERSCOPE_SHM_VERDICTJSON_H
#define PEERSCOPE_SHM_VERDICTJSON_H

#include "common/buf.h"
#include "shm/layout.h"
#include "shm/peerwords.h"
#include "shm/seg.h"

const char *verdict_name(uint64_t verdict);	/* enum swarm_verdict */
const char *path_name(uint64_t path);		/* enum path_verdict */
/* Gauges path_reach, path_failure, path_control, as on /health. */
const char *reach_name(uint64_t reach);
const char *failure_name(uint64_t failure);
const char *control_name(uint64_t control);
/* One sentence for people: what the verdict of this swarm rests on. */
const char *verdict_text(const struct shm_swarm *s);
/* The same for our way to the world; path: PATH_PACK. */
const char *path_text(unsigned path);
/* "verdict" and "evidence" of a swarm, into an object that is open. said: "tracker kind
 * text" of s->tracker_said, "" for none; printable. */
void verdict_json(struct json *j, const struct shm_swarm *s, const char *said);
/* "dht": what the DHT counts, or null. */
void dht_json(struct json *j, const struct shm_swarm *s);
/* "path" with its evidence as it is now, from the gauges. */
void path_json(struct json *j, const struct seg *seg);
/* PATH_PACK of the gauges: for an answer about a swarm that is in no slot. */
unsigned path_now(const struct seg *seg);

#endif

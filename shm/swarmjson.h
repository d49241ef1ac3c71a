/*
 * swarmjson.h -- the one writer of a swarm as JSON (contracts/peers.md): workers
 * for HTTP, the collector for Redis.
 */
#ifndef PEERSCOPE_SHM_SWARMJSON_H
#define PEERSCOPE_SHM_SWARMJSON_H

#include "common/addr.h"
#include "common/buf.h"
#include "shm/ptab.h"

/* Which peers of a swarm are written, and in which order. */
struct swarm_pick {
	const uint16_t *index;	/* of peer[]; borrowed */
	uint32_t n;
	int filtered;		/* n is the number that passed filters: "matched" is written */
	/* Further members at the end of the object; NULL: none. */
	void (*more)(struct json *j, void *arg);
	void *arg;
};

/*
 * Appends to out. asked: the id as asked for, lower case. At most limit peers; pick
 * NULL: of all, in the order they have. 0, or -1: the names moved meanwhile (nothing
 * was appended: get the swarm again), or out is full (out->failed).
 */
PS_MUST int swarm_json(struct buf *out, const struct ptab *p, const struct swarm_copy *c,
		       const char *asked, uint32_t limit, const struct swarm_pick *pick);
/* The same object for a swarm that is in no slot: an empty list that says why.
 * path: path_now(). Of pick n must be 0; NULL: none. */
void swarm_json_empty(struct buf *out, const char *asked, const uint8_t id[IH_LEN],
		      uint64_t now_wall_ms, const char *error, unsigned path,
		      const struct swarm_pick *pick);
/* A text that a stranger chose, in place, as it is shown: a question mark for whatever is
 * not UTF-8, moves a cursor, turns the direction or breaks a line. Its length. */
size_t swarm_clean_text(char *text);
/* The sentence for an enum swarm_why: why a list is empty. */
const char *swarm_why_text(int why);
/* The word for an enum swarm_resolved; NULL: nothing is known of the id yet. */
const char *swarm_resolved_word(int how);
/* Why no peer of this swarm is listed, of which npick were picked. NULL: there are some,
 * and none was asked for. */
const char *swarm_empty_text(const struct shm_swarm *s, uint32_t npick);

/* --- one peer, for JSON and for other forms ------------------------------- */

/* A peer's texts as they are shown: valid UTF-8, nothing in them that moves a cursor or
 * breaks a line; never empty but for flags and at.source. Good only if
 * ptab_names_valid says so afterwards. */
struct swarm_text {
	char ip[ADDR_TEXT_MAX], flags[8];
	char client[SHM_STRING_MAX + 1];
	struct place at;
};
void swarm_text(struct swarm_text *out, const struct ptab *p,
		const struct shm_peer *peer);
/* The object that stands in "peers" of s. */
void swarm_peer_json(struct json *j, const struct shm_swarm *s,
		     const struct shm_peer *peer, const struct swarm_text *text);
/* Tenths of a percent, rounded down: 1000 means that nothing is missing. */
uint32_t swarm_progress(const struct shm_peer *peer);

#define SWARM_SOURCES 6
/* Bit i of a peer's sources, i below SWARM_SOURCES. */
const char *swarm_source_name(int i);
const char *swarm_protocol_name(int protocol);
/* Of a swarm. NULL: nobody has answered in either yet. */
const char *swarm_spoken_name(const struct shm_swarm *s);

#endif

/*
 * resolve.h -- what an AceStream engine says that an id stands for: its words read,
 * kept in memory, and written down for Redis.
 *
 * A content id names a transport file; the engine knows its infohash (its HTTP API:
 * method=analyze_content). Whatever is not exactly an infohash is no answer: a wrong one
 * would send everybody into a stranger's swarm. Pure: no clock, no network.
 * Proof: tests/unit/test_resolve.c.
 */
#ifndef PEERSCOPE_COLLECTOR_RESOLVE_H
#define PEERSCOPE_COLLECTOR_RESOLVE_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/ident.h"
#include "shm/peerwords.h"

/* How long an answer is believed. A content id keeps its infohash for years (its torrent
 * may be made anew, so not forever); one that the engine does not know may be published
 * any minute; an engine that failed may be better soon. */
#define RESOLVE_KNOWN_MS (24ull * 3600 * 1000)
#define RESOLVE_NOT_FOUND_MS (10ull * 60 * 1000)
#define RESOLVE_NO_ANSWER_MS 30000ull
/* Answers kept in memory: about as many as the peer table has slots; 900 KiB. */
#define RESOLVE_MAX 4096u
/* With its NUL. Names of channels and films are shorter; of a longer one the end goes. */
#define RESOLVE_TITLE_MAX 128

struct resolved {
	uint8_t infohash[IH_LEN];	/* of the swarm; the id itself unless how is ENGINE */
	uint8_t how;			/* RESOLVED_ENGINE, _SAME, _NOT_FOUND, _NO_ANSWER */
	char title[RESOLVE_TITLE_MAX];	/* of the stream; printable UTF-8; "": none */
};

/* Whoever published the stream chose its title: cut between characters, and made
 * printable as names of clients are. NULL: none. */
void resolve_set_title(struct resolved *r, const char *text);

/* The engine's answer about id. 0, or -1 with a sentence: it makes no sense. */
PS_MUST int resolve_parse(struct resolved *out, const uint8_t id[IH_LEN], const char *body,
			  size_t len, char err[ERRLEN]);
/* 1: this is what an engine says of its version, not any server that happens to be there
 * (no engine says so with a page or an error). 0, with a sentence. */
PS_MUST int resolve_is_engine(const char *body, size_t len, char err[ERRLEN]);
uint64_t resolve_ttl_ms(const struct resolved *r);

/* {"infohash", "resolution", "title", "until"}; until in wall milliseconds. */
void resolve_write(struct buf *out, const struct resolved *r, uint64_t until_wall_ms);
/* The same read; *left_ms is how long it is still good. -1: not one of ours, or over. */
PS_MUST int resolve_read(struct resolved *out, uint64_t *left_ms, const uint8_t id[IH_LEN],
			 const char *text, size_t len, uint64_t now_wall_ms);

/* --- in memory: the newest RESOLVE_MAX answers ------------------------------ */

struct rescache;			/* opaque */
struct resentry {
	uint8_t id[IH_LEN];
	struct resolved r;
	uint64_t until_ms;		/* monotonic */
	uint32_t era;			/* the caller's: when it was learned */
	uint8_t unasked;		/* nobody was asked: the engine was down */
};

PS_MUST int rescache_open(struct rescache **out, uint32_t max);
void rescache_close(struct rescache **c);
/* NULL: nothing is known. A find makes it the newest. */
const struct resentry *rescache_find(struct rescache *c, const uint8_t id[IH_LEN]);
/* 1: the one longest unused gave way. */
int rescache_put(struct rescache *c, const struct resentry *e);
uint32_t rescache_count(const struct rescache *c);

#endif

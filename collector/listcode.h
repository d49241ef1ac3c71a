/*
 * listcode.h -- a swarm's list as bytes, for other nodes and for the next life of this one:
 * what stands in Redis under peerscope:list:<id>.
 *
 *   magic, format, shape | fields of the swarm | texts | places | fields of each peer
 *
 * All numbers are little-endian. The fields are those of struct shm_swarm and struct
 * shm_peer, in the order of the tables in listcode.c, which know every byte of them: a
 * field that is added and forgotten there does not compile. References into the names table
 * become indexes into the texts and places that stand before them. The shape is a hash of
 * these tables, so that nodes of different versions never read each other's.
 *
 * Pure. What is read was written by anybody: it is believed whole or not at all.
 * Proof: tests/unit/test_listcode.c, tests/fuzz/fuzz_list.c.
 */
#ifndef PEERSCOPE_COLLECTOR_LISTCODE_H
#define PEERSCOPE_COLLECTOR_LISTCODE_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/ident.h"
#include "common/place.h"
#include "shm/layout.h"

/* 2,000 peers, each with a name and a place of its own, all texts as long as can be. */
#define LISTCODE_MAX (2u << 20)
/* Each peer has a name; the swarm has a title and what a tracker said. */
#define LISTCODE_TEXTS (CONF_SLOT_PEERS + 2)
/* A place is somewhere within so much: half around the world. */
#define LISTCODE_KM_MAX 40000u
/* Another node's clock may be ahead of ours by so much; what is later is no truth. */
#define LISTCODE_SKEW_MS 5000u

/* What the references of a list to be written stand for. */
struct listcode_names {
	void (*text)(void *arg, uint32_t ref, char out[SHM_STRING_MAX + 1]);
	void (*place)(void *arg, uint32_t ref, struct place *out);
	void *arg;
};
/* Appends s and peer[0 .. s->npeers). -1: out is full, or out of memory (out->failed). */
PS_MUST int listcode_write(struct buf *out, const struct shm_swarm *s,
			   const struct shm_peer *peer, const struct listcode_names *names);

/* A list that was read; 200 KiB: allocate it once. In it, client, title and tracker_said
 * are numbers of texts, place is one of a place: 1 to ntexts, nplaces; 0: none. */
struct listcode {
	struct shm_swarm s;		/* version and first_chunk are 0 */
	struct shm_peer peer[CONF_SLOT_PEERS];
	uint32_t ntexts, nplaces;
	uint32_t text[LISTCODE_TEXTS + 1], place[CONF_SLOT_PEERS + 1];	/* where, in p */
	const uint8_t *p;		/* borrowed: what it was read from */
};
/* The list of id out of exactly len bytes. now_ms: wall. -1: it is not one, or not true. */
PS_MUST int listcode_read(struct listcode *out, const uint8_t id[IH_LEN], const void *p,
			  size_t len, uint64_t now_ms);
/* All times of a list, to a clock that is so far ahead of theirs. What is 0 stays. */
void listcode_shift(struct shm_swarm *s, struct shm_peer *peer, int64_t seconds);
/* Bytes as they came, without a NUL; i from 1 on. */
const char *listcode_text(const struct listcode *l, uint32_t i, size_t *len);
void listcode_place(const struct listcode *l, uint32_t i, struct place *out);
/* ISO 3166-1 alpha-2, or nothing: two capitals, or none. */
int listcode_is_country(const char *s, size_t len);

#endif

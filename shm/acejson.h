/*
 * acejson.h -- what AceStream peers say, and what was made of it, as words and as JSON:
 * the "ace" objects of a peer and of a swarm (swarmjson.c), the columns of CSV. Writes,
 * never judges: collector/swarm_ace.c does. Fields: doc/peerscope-api.7, ACESTREAM.
 */
#ifndef PEERSCOPE_SHM_ACEJSON_H
#define PEERSCOPE_SHM_ACEJSON_H

#include <stddef.h>

#include "common/buf.h"
#include "shm/layout.h"
#include "shm/peerwords.h"

/* Words; NULL: unknown, or no value of the enum. */
const char *ace_role_name(int role);		/* enum peer_role */
const char *ace_kind_name(int kind);		/* enum ace_kind */
const char *ace_key_name(int key);		/* enum peer_key */
const char *ace_motion_name(int motion);	/* enum ace_motion; never NULL */
const char *ace_mode_name(int mode);		/* MAYBE, FIRST, PINNED; else NULL */

/* 3021100 is "3.2.11", with ".4" behind for a build; "" below 1.0 and beyond 32 bits: no
 * such engine. */
#define ACE_VERSION_MAX 16
void ace_version_text(char out[ACE_VERSION_MAX], int64_t version);
/* How far p is behind; -1: its lag is unknown, or the swarm's time per piece (ms; 0). */
int64_t ace_lag_ms(const struct shm_peer *p, uint32_t piece_ms);
/* Tenths of a second, rounded, as they are shown. */
int64_t ace_lag_s10(int64_t lag_ms);

/* "ace", of a peer that speaks AceStream. */
void ace_peer_json(struct json *j, const struct shm_peer *p, uint32_t piece_ms);
/* "ace" of a swarm: null while BitTorrent is what is spoken there. */
void ace_swarm_json(struct json *j, const struct shm_swarm *s);

#endif

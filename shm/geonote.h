/*
 * geonote.h -- how one of the databases of places is, as a note (note.h): the collector
 * writes it, /health and `top` read it. Pure. Proof: tests/unit/test_note.c.
 */
#ifndef PEERSCOPE_SHM_GEONOTE_H
#define PEERSCOPE_SHM_GEONOTE_H

#include "common/place.h"
#include "shm/note.h"

struct geo_note {
	char state[12];			/* ok, refused, missing, writing */
	char type[48];			/* of the one in use; "": none is */
	uint64_t built_s, bytes;	/* of the same; seconds since 1970 */
	int in_memory;			/* its copy takes memory, not disk */
	char err[NOTE_SIZE];		/* why what lies there is not in use; "": it is */
};

/* The note of a database of PLACE_DB_NAMES. */
enum note geonote_of(int database);
void geonote_put(char out[NOTE_SIZE], const struct geo_note *in);
/* -1: there is none. */
PS_MUST int geonote_get(struct geo_note *out, const char *text);

#endif

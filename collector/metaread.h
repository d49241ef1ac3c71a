/*
 * metaread.h -- torrents read, checked and hashed, for a loop that may not stand still.
 *
 * Reading 10 MiB of a hundred thousand files takes up to half a second, whoever sent them.
 * One thread does it, one torrent at a time: the loop keeps the queue (fetch_read.c).
 *
 *   loop:    metaread_begin(ask) ... bell ... metaread_take(&done)
 *   thread:  file_read, metainfo_split, metainfo_read, both hashes, the .key of an upload
 *
 * Proof: tests/unit/test_metaread.c, tests/e2e/test_metadata_uploads.py.
 */
#ifndef PEERSCOPE_COLLECTOR_METAREAD_H
#define PEERSCOPE_COLLECTOR_METAREAD_H

#include "collector/lt.h"
#include "collector/metainfo.h"

#define METAREAD_PATH 512

struct metaread;			/* opaque */

struct metaread_ask {
	/* A whole .torrent; path.key is written beside it, as JOB_META_FILE has it (lane.h).
	 * "": none, then */
	char path[METAREAD_PATH];
	char *bytes;			/* an info dict, from malloc */
	size_t len;
};

enum metaread_rc {
	METAREAD_OK,
	METAREAD_BAD,			/* it is no torrent */
	METAREAD_GONE,			/* the file could not be read, or no .key be written */
};

struct metaread_done {
	enum metaread_rc rc;
	char err[ERRLEN];		/* why it is not METAREAD_OK */
	char *bytes;			/* whoever takes it frees; NULL unless METAREAD_OK */
	size_t len;
	struct metainfo m;		/* of bytes */
	struct lt_ids ids;		/* hashes that it has, made here */
};

/* Borrows bell_fd (an eventfd), which rings when there is something to take. */
PS_MUST int metaread_open(struct metaread **out, int bell_fd, char err[ERRLEN]);
/* Waits for what it is reading, and drops it. NULL is fine. */
void metaread_close(struct metaread **r);
/* Takes the bytes if it returns 0; -1: it has something to read, or to be taken. */
PS_MUST int metaread_begin(struct metaread *r, const struct metaread_ask *ask);
/* 1: *out is what was begun; 0: there is nothing yet. */
PS_MUST int metaread_take(struct metaread *r, struct metaread_done *out);

#endif

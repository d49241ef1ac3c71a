/*
 * metadisk.h -- the metadata cache on disk: what its one writer does there.
 *
 * Files and their form: common/metafile.h. Everything here blocks for the disk, so it is
 * called by one thread that may (metastore.h), or by a test. A new file is written beside
 * its name with a name of its own, fsync'd, renamed, and its directory fsync'd: killed at any
 * instruction, or without power, there is the old one, the new one, or none. What such a
 * death left lying is removed by the next sweep.
 *
 * Bounded by bytes (whole 4 KiB blocks of each file, and one for each directory at the end
 * of a path). No index is kept: a sweep walks through the directories, a slice at a time,
 * adds up what there is, and remembers the METADISK_OLD entries that were wanted longest
 * ago; these go first. So memory does not grow with the cache, and every sweep corrects the sum.
 * One begins at the start, and when 15/16 of the quota are used; it removes down to 7/8.
 * An entry is a .json and its .torrent, under both of its keys; it goes as one.
 *
 * Only regular files with exactly the names of metafile.h in exactly their directories are
 * looked at, and even they are removed only if they begin like ours (meta_ours): all else in
 * the directory belongs to others, and is not counted. Several daemons may share a
 * directory. Proof: tests/unit/test_metadisk.c, tests/torture/metakill.c.
 */
#ifndef PEERSCOPE_COLLECTOR_METADISK_H
#define PEERSCOPE_COLLECTOR_METADISK_H

#include "common/metafile.h"

#define METADISK_OLD 1024		/* entries that one sweep can remove */
#define METADISK_SLICE 256		/* names, or directories, looked at in one step */
#define METADISK_LEFT_S 600		/* an unfinished file of another daemon is dead */

struct metadisk;			/* opaque */

struct metadisk_item {			/* borrows all */
	uint8_t key[IH_LEN];
	uint8_t other[IH_LEN];		/* zeros: none */
	const void *data[META_KINDS];	/* NULL: not given, what is there stays */
	size_t len[META_KINDS];
};

struct metadisk_stats {			/* counters of this life, but for the first three */
	int known;			/* a sweep has ended: bytes and entries are true */
	uint64_t bytes, entries;	/* entries: .json files; a hybrid counts for each key */
	uint64_t evicted;		/* entries removed for room */
	uint64_t bad;			/* damaged files removed */
	uint64_t leftovers;		/* unfinished files removed */
	uint64_t failed;		/* operations that the world refused; err says the last */
	char err[ERRLEN];
};

enum metadisk_rc {
	METADISK_OK = 0,
	METADISK_FULL = 1,		/* larger than the quota, or nothing could be removed */
	METADISK_FAILED = 2,		/* the world refused: err */
};

/* dir need not be there yet, nor work at all: it is made when first written to (its last
 * component, 0700). -1: no memory, or a path that is too long. */
PS_MUST int metadisk_open(struct metadisk **out, const char *dir, uint64_t quota_bytes,
			  char err[ERRLEN]);
void metadisk_close(struct metadisk **d);	/* NULL is fine */
void metadisk_quota(struct metadisk *d, uint64_t quota_bytes);

/* Replaces what is there. Of a failure one kind may have been written, the .torrent. */
PS_MUST enum metadisk_rc metadisk_put(struct metadisk *d, const struct metadisk_item *it,
				      char err[ERRLEN]);
/* Somebody found it damaged, or says so: reads it whole, removes what is. How many files. */
unsigned metadisk_mend(struct metadisk *d, const uint8_t key[IH_LEN]);
/* A slice of a sweep that is due: 1: call again; 0: there is nothing to do. */
int metadisk_step(struct metadisk *d);
void metadisk_stats(const struct metadisk *d, struct metadisk_stats *out);

#endif

/*
 * metastore.h -- the metadata cache on disk, for a loop that may not wait for disks.
 *
 * One thread does what metadisk.h does; the loop hands entries over and hears, when the
 * bell rings, what became of them. Puts come first; a sweep goes on, slice by slice, while
 * there are none. At most METASTORE_JOBS jobs and METASTORE_BYTES of content are under way:
 * more is refused, and counted (meta_refused). A disk that is full, read-only or not there
 * refuses each put by itself, is counted (meta_failed), and is spoken of once a minute.
 *
 *   loop:    metastore_put(item, tag) ... bell ... metastore_take(&done)
 *   thread:  metadisk_put, metadisk_mend, metadisk_step
 *   workers: meta_open (common/metafile.h), each by itself
 *
 * Proof: tests/unit/test_metastore.c, tests/torture/metakill.c.
 */
#ifndef PEERSCOPE_COLLECTOR_METASTORE_H
#define PEERSCOPE_COLLECTOR_METASTORE_H

#include "collector/metadisk.h"

#define METASTORE_JOBS 128		/* under way, until taken */
#define METASTORE_BYTES (128u << 20)	/* of all of them; one alone may always go */

struct metastore;			/* opaque */

struct metastore_item {
	uint8_t key[IH_LEN];
	uint8_t other[IH_LEN];		/* second infohash of a hybrid; zeros: none */
	char *data[META_KINDS];		/* from malloc (buf_take); NULL: not given */
	size_t len[META_KINDS];
};

struct metastore_done {
	uint64_t tag;			/* of metastore_put */
	uint8_t key[IH_LEN];
	enum metadisk_rc rc;		/* METADISK_OK: a worker can open it now */
};

/* Borrows bell_fd (an eventfd), which rings when there is something to take. dir and quota
 * as metadisk_open's. Starts the thread, which begins to look through dir. */
PS_MUST int metastore_open(struct metastore **out, const char *dir, uint64_t quota_bytes,
			   int bell_fd, char err[ERRLEN]);
/* Finishes the puts that it was given, so it may wait for the disk. NULL is fine. */
void metastore_close(struct metastore **m);
void metastore_quota(struct metastore *m, uint64_t quota_bytes);

/* Takes the data, whatever it returns. 0: metastore_take will tell; -1: refused. */
PS_MUST int metastore_put(struct metastore *m, const struct metastore_item *it,
			  uint64_t tag);
/* Somebody found META_BAD under this key: looks, and removes what is damaged. Tells nobody.
 * -1: refused. */
PS_MUST int metastore_mend(struct metastore *m, const uint8_t key[IH_LEN]);
/* 1: *out is a put that has ended; 0: there is none. Counts, sets gauges and logs what the
 * thread did since. Never waits for the disk. */
int metastore_take(struct metastore *m, struct metastore_done *out);
/* What the thread's last step left, for /health. known is 0 until the first sweep ended. */
void metastore_stats(struct metastore *m, struct metadisk_stats *out);

#endif

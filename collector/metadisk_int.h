/* metadisk_int.h -- what metadisk.c (writing) and metasweep.c (walking, removing) share. */
#ifndef PEERSCOPE_COLLECTOR_METADISK_INT_H
#define PEERSCOPE_COLLECTOR_METADISK_INT_H

#include <dirent.h>
#include <sys/stat.h>

#include "collector/metadisk.h"

#define METADISK_BLOCK 4096u
#define METADISK_TOKEN 16		/* hex digits that end the name of an unfinished file */
#define METADISK_TEMP_MAX (META_NAME_MAX + 1 + METADISK_TOKEN)

struct metadisk_old {			/* an entry that may have to go */
	int64_t used_s;			/* when it was last wanted */
	uint8_t key[IH_LEN];
};

struct metadisk_sweep {
	int active;
	unsigned at;			/* directory that comes next, 0 .. 65536 */
	DIR *dir;			/* the one before it, half read; NULL: none */
	uint8_t there[256 / 8];		/* bits: which of the 256 around `at` exist */
	uint64_t bytes, entries;	/* of what was walked through */
	unsigned nold;
	struct metadisk_old old[METADISK_OLD];	/* a heap, the youngest on top */
};

struct metadisk {
	char path[1024];
	char token[METADISK_TOKEN + 1];	/* of this life */
	int lock_fd;			/* the directory, locked: nobody else writes; -1 */
	uint64_t quota;
	uint64_t after;			/* bytes after the last sweep */
	struct metadisk_stats stats;
	struct metadisk_sweep sweep;
};

/* The cache's directory. -1: errno. */
int metadisk_root(struct metadisk *d, int make);
/* The directory of a key below root. made: how many directories had to be. -1: errno. */
int metadisk_shard(int root, const uint8_t key[IH_LEN], int make, int *made);
/* Space that a file takes in the sum: a file by two names counts half under each. */
uint64_t metadisk_size(const struct stat *st);
uint64_t metadisk_freed(const struct stat *st);	/* that goes when it loses a name */
int metadisk_is_none(const uint8_t key[IH_LEN]);	/* zeros */
/* Something that we did to the sum where a sweep already was, or there is none. */
void metadisk_count(struct metadisk *d, const uint8_t key[IH_LEN], int64_t bytes,
		    int64_t entries);
/* The first bytes of a file of key, at most META_HEAD. -1: errno; EEXIST: no file. */
ssize_t metadisk_peek(int root, const uint8_t key[IH_LEN], enum meta_kind kind,
		      char head[META_HEAD], struct stat *st);
void metadisk_failed(struct metadisk *d, const char err[ERRLEN]);

void metadisk_begin(struct metadisk *d);	/* a sweep, unless one is under way */
/* Make room for so many bytes, now: 0, or -1: there is none to be had. */
int metadisk_room(struct metadisk *d, uint64_t bytes);
/* Remove one file, and the directory if it is empty then. -1: errno. */
int metadisk_unlink(struct metadisk *d, int root, const uint8_t key[IH_LEN],
		    enum meta_kind kind);

#endif

/*
 * file.h -- one MMDB file: our own copy of it, verified, open.
 *
 * The operator's file is read once and never mapped: whoever writes into it, cuts it short or
 * takes it away afterwards does nothing to us (a mapped file that shrinks is a SIGBUS). The
 * copy has no name and lies where it costs disk and page cache, not memory, if there is such
 * a place: $TMPDIR, or without that /var/tmp, /tmp; else in a sealed memfd.
 *
 * Reads the disk and the whole file: a second or so for 63 MB, so never on a loop. Nothing is
 * logged. Not thread-safe but for file_lookup, which only reads. Proof: tests/unit/test_geo.c.
 */
#ifndef PEERSCOPE_GEO_FILE_H
#define PEERSCOPE_GEO_FILE_H

#include <inttypes.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "common/addr.h"
#include "common/err.h"
#include "common/place.h"

#define FILE_TYPE_MAX 48		/* of a database_type, and its NUL */
/* Vendors publish each month or more often, and MaxMind's terms allow nothing older. */
#define FILE_OLD_DAYS 30
#define FILE_OLD_WORDS "%" PRIu64 " days old; there is a newer one each month"

struct geo_file;			/* opaque */

/* Which file stood at a path, and in which state. All 0: none. */
struct file_id {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime, ctime;
};

struct file_info {
	char type[FILE_TYPE_MAX];	/* database_type, printable */
	uint64_t built_s;		/* seconds since 1970 */
	uint64_t bytes;
	int in_memory;			/* there was no disk for the copy */
};

enum file_rc {
	FILE_OK = 0,
	FILE_BAD = -1,			/* what lies there is no good, until it is another */
	FILE_MISSING = -2,		/* there is none */
	FILE_LATER = -3,		/* no room for a copy, no memory, a disk that fails */
};

/* What stands at path now. -1: nothing that can be one, and err says why. */
PS_MUST int file_look(const char *path, struct file_id *out, char err[ERRLEN]);
int file_same(const struct file_id *a, const struct file_id *b);
int file_same_inode(const struct file_id *a, const struct file_id *b);
/* Copy, verify, open; *id is what was read. stop (may be NULL): give up when it is not 0. On
 * error nothing stays, *out is untouched, and err (without the path) says why. */
PS_MUST enum file_rc file_open(struct geo_file **out, const char *path,
			       struct file_id *id, const atomic_int *stop,
			       char err[ERRLEN]);
void file_close(struct geo_file **f);
void file_info(const struct geo_file *f, struct file_info *out);
/* Whole days since it was built; now_s: seconds since 1970. */
uint64_t file_age_days(const struct file_info *info, uint64_t now_s);
/* Fills what is still empty in *p. 1: it knew something. */
int file_lookup(const struct geo_file *f, const uint8_t addr[ADDR_LEN], struct place *p);

#endif

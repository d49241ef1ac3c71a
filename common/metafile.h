/*
 * metafile.h -- one file of the metadata cache: its name, its head, and reading it.
 *
 * The collector writes such files (collector/metadisk.h), workers serve them, each through
 * a descriptor of its own. A file is never changed once it has its name: a new one takes
 * its place, so what was opened stays whole. Below the cache's directory stand
 *
 *   ab/cd/abcd<36 more>.json       what a client is told, without download_url
 *   ab/cd/abcd<36 more>.torrent    the same as a .torrent (BEP 3, 52)
 *
 * 40 lower-case digits of an infohash (of a v2 one the first 20 bytes). Both start with a
 * line of META_HEAD bytes which is not served:
 *
 *   peerscope-meta 1 json    <key> <other key, or zeros> <length, 12 digits> <digest>\n
 *
 * The other key is that of a hybrid's second infohash (BEP 52): the same file by a second
 * name, a hard link. The digest is BLAKE2b-128 over the line up to there and the content,
 * so that a file that was cut, flipped, or put under another name is told from a whole one,
 * and so that the ETag is known without reading on.
 *
 * The access time of the .json or .torrent is when it was last wanted: a reader sets it, by
 * the clock and at most once in META_TOUCH_S, so that it is right on noatime mounts too.
 * No allocation, no state. Proof: tests/unit/test_metafile.c, test_metadisk.c.
 */
#ifndef PEERSCOPE_COMMON_METAFILE_H
#define PEERSCOPE_COMMON_METAFILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "common/err.h"
#include "common/ident.h"

#define META_HEAD 153			/* bytes of the first line, with its newline */
#define META_BYTES_MAX (64u << 20)	/* content: 100,000 files as JSON are about 20 MB */
#define META_DIGEST 16
#define META_NAME_MAX 56		/* <40 hex>.torrent, with its NUL */
#define META_TOUCH_S 60

#define META_UP "up"			/* below master.run_dir: uploads on their way (lane.h) */

enum meta_kind { META_JSON = 0, META_TORRENT = 1 };
#define META_KINDS 2

struct meta_head {
	enum meta_kind kind;
	uint8_t key[IH_LEN];
	uint8_t other[IH_LEN];		/* zeros: none */
	uint64_t len;			/* bytes of content */
	uint8_t digest[META_DIGEST];
};

/* Where the cache is: metadata.cache_dir; and META_DIR below master.run_dir, if that is empty
 * or if the collector can't use it. The collector writes into the first that it can use,
 * readers look into both. which: 0 or 1; -1: there is no such place, or its name is too
 * long. */
#define META_DIR "meta"
#define META_DIR_QUOTA (64u << 20)	/* bytes: run_dir is often in memory */
PS_MUST int meta_dir(char *out, size_t size, const char *cache_dir, const char *run_dir,
		     int which);

/* "ab", "cd" and "abcd....json". */
void meta_name(char aa[3], char bb[3], char name[META_NAME_MAX], const uint8_t key[IH_LEN],
	       enum meta_kind kind);
const char *meta_kind_name(enum meta_kind kind);	/* "json", "torrent" */

/* Fills h->digest in, then writes the line. h->len bytes at data. */
void meta_seal(char out[META_HEAD], struct meta_head *h, const void *data);
/* 0, or -1: these are not the bytes that meta_seal writes, whatever the digest. */
PS_MUST int meta_head_parse(struct meta_head *h, const char line[META_HEAD]);
/* Does a file that starts with these len bytes belong to the cache, be it damaged? Empty,
 * zeros, or what differs from our first bytes in few of them. */
int meta_ours(const char *p, size_t len);

enum meta_rc {
	META_OK = 0,
	META_MISS = 1,			/* there is none */
	META_BAD = 2,			/* not what was written; the collector should look */
	META_FAIL = 3,			/* the world failed: no right, no descriptor, I/O */
	META_MORE = 4,			/* meta_verify: so far so good, call again */
};

/* An open file. Content is h.len bytes at META_HEAD, which is where a sender (an
 * evbuffer_file_segment with an offset) begins. On the heap: of aligned_alloc, since libsodium
 * wants the state at 64 bytes, and malloc knows of 16. */
struct meta_file {
	int fd;				/* -1: not open */
	struct meta_head h;
	dev_t dev;
	ino_t ino;
	struct timespec mtime;		/* when it was written: Last-Modified */
	/* meta_verify: */
	uint64_t done;			/* bytes of content seen */
	_Alignas(64) unsigned char state[448];	/* of the digest under way */
};

/*
 * Open what is cached of key below dir; the head and the size of the file are proven
 * afterwards, its content is not. META_OK: f is open, meta_close ends that, or the caller
 * takes f->fd and sets it to -1. META_FAIL: err. touch: it is wanted (see above).
 */
PS_MUST enum meta_rc meta_open(struct meta_file *f, const char *dir, const uint8_t key[IH_LEN],
			       enum meta_kind kind, int touch, char err[ERRLEN]);
/* Read at most max bytes of the content (0: all) and compare: META_MORE, META_OK, META_BAD,
 * META_FAIL. What is read is not kept; the offset of fd is not moved. */
PS_MUST enum meta_rc meta_verify(struct meta_file *f, uint64_t max, char err[ERRLEN]);
void meta_close(struct meta_file *f);

/*
 * Which files a process has verified, so that it reads each of them once: the last ones,
 * by digest and inode. Zeros are an empty memory.
 */
#define META_SEEN 512
struct meta_seen {
	struct {
		uint8_t digest[META_DIGEST];
		dev_t dev;
		ino_t ino;
		struct timespec mtime;
	} e[META_SEEN];
};

int meta_seen(const struct meta_seen *s, const struct meta_file *f);
void meta_saw(struct meta_seen *s, const struct meta_file *f);	/* verified: META_OK */

#endif

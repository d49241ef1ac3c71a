/*
 * metainfo.h -- what a torrent holds: its info dict (BEP 3, 47, 52) as bytes that somebody
 * sent, read where it lies; as JSON for clients; as a .torrent file again.
 *
 * Whoever calls has checked the hash: here the bytes are believed to be that torrent's, but
 * nothing in them is. Believed whole or refused with a sentence: v1, v2 and hybrids whose
 * sizes, pieces and (of hybrids) both lists of files agree, as libtorrent has it. Keys may
 * be unsorted, as old makers wrote them; the hash is over what was written.
 *
 * Names and paths are shown as clean.h makes them ("/" and "\" in one become "_", too), the
 * .utf-8 ones if there are both. Of a path, "" and "." name nothing and are left out, ".."
 * becomes "__", nothing at all "_". A name is cut to METAINFO_NAME bytes, but keeps its
 * extension; of more than METAINFO_LEVELS, or beyond METAINFO_PATH bytes, the file's own
 * name and the outer directories are kept. A path that was there before gets the file's
 * index, as in "a (7).txt", or "a (7-2).txt" if there is such a one, too: all paths of a
 * torrent are distinct.
 *
 * Pure, but for memory: nothing beyond 2 MiB for the paths that were given, and what the
 * caller's buffer takes. Spans borrow the caller's bytes.
 * Proof: tests/unit/test_metainfo.c, tests/fuzz/fuzz_meta.c.
 */
#ifndef PEERSCOPE_COLLECTOR_METAINFO_H
#define PEERSCOPE_COLLECTOR_METAINFO_H

#include <stddef.h>
#include <stdint.h>

#include "collector/benc.h"
#include "common/buf.h"
#include "common/ident.h"
#include "common/magnet.h"
#include "common/selected.h"

#define METAINFO_MAX (10u << 20)	/* bytes of an info dict, and of a whole .torrent */
#define METAINFO_FILES 100000u		/* so of magnet.h counts as far */
#define METAINFO_SIZE_MAX ((1ull << 53) - 1)	/* in all: exact in every reader of JSON */
#define METAINFO_PIECE_MAX (1u << 30)
#define METAINFO_NAME 255		/* bytes, as file systems have it */
#define METAINFO_LEVELS 32
#define METAINFO_PATH 4096		/* bytes */
#define METAINFO_COMMENT 4096		/* bytes that are shown of one */

_Static_assert(METAINFO_FILES == MAGNET_INDEX_MAX + 1, "so names any file");

struct metainfo {
	struct benc info;
	int has_v1, has_v2, is_private;
	int needs_layers;		/* v2: a .torrent is not whole without "piece layers" */
	struct benc_span name;
	struct benc files, tree;	/* of v1, none if it is a single file; of v2 */
	uint64_t length;		/* of v1's single file */
	uint64_t size;			/* of all files but pads, bytes */
	uint64_t piece_length, piece_count;
	uint32_t nfiles, npads;		/* nfiles counts pads, too */
};

/* 0, or -1 with what is wrong. */
PS_MUST int metainfo_read(struct metainfo *m, const void *info, size_t len,
			  char err[ERRLEN]);
/* The torrent's name. */
size_t metainfo_name(const struct metainfo *m, char out[METAINFO_NAME + 1]);

/* ---- files, in the torrent's order: v1's for hybrids, the file tree's for v2 ---------- */

struct metainfo_file {
	const char *path;		/* the iterator's, until its next step */
	size_t path_len;
	uint64_t size, offset;		/* bytes; of v2 a file begins with a piece */
	uint32_t index;			/* from 0, pads counted */
	int pad;			/* BEP 47, or as BitComet names them */
	char attr[5];			/* those of "xhlp" that it has */
};

struct metainfo_raw {			/* of metainfo.c alone */
	const struct metainfo *m;
	struct benc_iter it;
	int v2, done;
	uint32_t depth;
	struct benc_span dir[BENC_DEPTH_MAX];
};

struct metainfo_iter {
	struct metainfo_raw raw;
	uint32_t index;
	uint64_t end;			/* of the file before */
	uint64_t *seen;			/* keyed hashes of paths; ours */
	size_t mask;
	uint8_t key[16];
	char path[METAINFO_PATH + 1];
};

/* -1: no memory. In any case metainfo_end. Borrows m. */
PS_MUST int metainfo_begin(struct metainfo_iter *it, const struct metainfo *m);
int metainfo_next(struct metainfo_iter *it, struct metainfo_file *out);	/* 0: no more */
void metainfo_end(struct metainfo_iter *it);

/* ---- what stands beside the info dict -------------------------------------------------- */

/* Of a .torrent; all zero: nothing is known. URLs are as of magnet.h. */
struct metainfo_beside {
	uint32_t ntrackers, nseeds;
	struct metainfo_tracker {
		struct benc_span url;
		uint32_t tier;		/* BEP 12; never falls from one to the next */
	} tracker[MAGNET_URLS];
	struct benc_span seed[MAGNET_URLS];
	struct benc_span comment, created_by;	/* p is NULL: none */
	int64_t created_s;		/* since 1970; 0: unknown */
	struct benc layers;		/* "piece layers" (BEP 52), or none */
	uint32_t left_out;		/* trackers and web seeds of no use, or too many */
};

/* A whole .torrent into its one info dict, which still is to be read, and the rest. Borrows
 * the bytes. 0, or -1 with what is wrong. */
PS_MUST int metainfo_split(struct benc *info, struct metainfo_beside *b, const void *torrent,
			   size_t len, char err[ERRLEN]);
/* A .torrent with the same infohash. Nothing stands in it that nobody said. */
void metainfo_torrent(struct buf *out, const struct metainfo *m,
		      const struct metainfo_beside *b);

/* ---- as JSON ----------------------------------------------------------------------- */

/*
 * In pieces, so that a torrent of 100,000 files needs neither memory for all of it nor the
 * loop for all of its time: the caller writes away what stands in out after each step, and
 * empties it. Borrows everything. What depends on the question (source, download_url) is
 * for the one who answers it: the first byte is "{", a member and a comma fit behind it.
 * Each file is a selected one, in the form of common/selected.h, and counts from 0 there.
 */
struct metainfo_json {
	struct json j;
	struct metainfo_iter files;
	const struct metainfo *m;
	const struct metainfo_beside *b;
	const uint8_t *v1, *v2;
	int step;
};

/* v1, v2: the hashes, NULL for one that it has not. -1: no memory; in any case
 * metainfo_json_end. */
PS_MUST int metainfo_json_begin(struct metainfo_json *w, struct buf *out,
				const struct metainfo *m, const struct metainfo_beside *b,
				const uint8_t v1[IH_LEN], const uint8_t v2[IH_V2_LEN]);
/* At most that many files more (about 150 bytes each, 4.3 KiB at most, escapes not counted).
 * 1: there are more; 0: the text is complete. */
PS_MUST int metainfo_json_step(struct metainfo_json *w, uint32_t files);
void metainfo_json_end(struct metainfo_json *w);
/* What stands beside alone, as an object with the members that it has there. */
void metainfo_json_beside(struct buf *out, const struct metainfo_beside *b);

#endif

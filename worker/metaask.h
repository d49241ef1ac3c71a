/*
 * metaask.h -- the body of POST /api/v1/metadata: which torrent it names, or what is wrong
 * with it, in the words that clients of magnet-metadata-api know (contracts/metadata.md).
 *
 *   {"magnet_uri": "..."}       a magnet link, or an infohash in any spelling
 *   {"info_hash": "..."}        the same, if there is no magnet_uri
 *   {..., "webhook": "..."}     only with ?async=1 (metalater.h)
 *   d...e                       a whole .torrent; it is not looked into here
 *
 * The body decides, not its Content-Type: clients send JSON as text/plain and as forms, too.
 * The type only says what is told to somebody whose body is neither. Of members that stand
 * there twice the last one counts; unknown ones, and what follows the object, are ignored.
 * Pure. Proof: tests/unit/test_metaask.c.
 */
#ifndef PEERSCOPE_WORKER_METAASK_H
#define PEERSCOPE_WORKER_METAASK_H

#include "common/magnet.h"

#define METAASK_MESSAGE (ERRLEN + 64)

enum metaask { METAASK_LINK = 0, METAASK_TORRENT = 1, METAASK_BAD = 2 };

struct metaask_fault {
	int status;			/* 400, 415 */
	const char *error, *code;
	char message[METAASK_MESSAGE];
};

/* type: the Content-Type, or NULL. LINK: *m is filled in, and *webhook is the URL that stands
 * there, the caller's, or NULL; BAD: *f is. */
PS_MUST enum metaask metaask_read(struct magnet *m, char **webhook, const char *type,
				  const char *body, size_t len, struct metaask_fault *f);

/* The body of a batch: an array, or {"items": [...]}, of at most METAASK_ITEMS of what may
 * stand there alone, or of its text alone. */
#define METAASK_ITEMS 50
struct cJSON;
struct metaask_list {
	struct cJSON *root;
	const struct cJSON *next;
	int n;
};
/* 0: metaask_list_free ends that; -1: *f. */
PS_MUST int metaask_list(struct metaask_list *l, const char *type, const char *body,
			 size_t len, struct metaask_fault *f);
/* The next one, n times: LINK or BAD. */
PS_MUST enum metaask metaask_next(struct metaask_list *l, struct magnet *m,
				  struct metaask_fault *f);
void metaask_list_free(struct metaask_list *l);
/* A magnet link or an infohash by itself, with the same words if it is none. */
PS_MUST enum metaask metaask_link(struct magnet *m, const char *text, size_t len,
				  struct metaask_fault *f);
/* ?timeout=: 500 or 500ms, 2s, 1m; 1 ms to a day. 0, or -1. */
PS_MUST int metaask_timeout(const char *text, uint64_t *ms);
/* ?async=: 1, true, yes, on, or nothing; 0, false, no, off. 0, or -1. */
PS_MUST int metaask_flag(const char *text, int *on);

#endif

/*
 * metaserve.h -- an answer from the metadata cache (common/metafile.h): a file as it is, with
 * what depends on the question in front of it.
 *
 *   meta_open --> known to be whole? --no--> meta_verify, in slices of the loop's time
 *                        |                        |            |
 *                        yes                      whole     damaged: the collector is told
 *                        v                        v            v
 *        front + sendfile(2) from the file's second byte on    missed, as if there were none
 *
 * A worker reads each file once (meta_seen). Its bytes never are in our memory, but for a
 * link that selects files (so, BEP 53): then it is copied, with other words in it, and
 * counts for http.max_sending.
 * Proof: tests/e2e/test_metadata.py.
 */
#ifndef PEERSCOPE_WORKER_METASERVE_H
#define PEERSCOPE_WORKER_METASERVE_H

#include "common/magnet.h"
#include "common/metafile.h"
#include "worker/http.h"

#define METASERVE_SLICE (1u << 20)	/* bytes that are looked through at once: 1 ms */
#define METASERVE_SLICING 32		/* files that are longer, at a time; others wait */
#define METASERVE_WAITING 200		/* as many as items of batches are taken; more: 503 */

struct metaserve {
	enum meta_kind kind;
	uint8_t key[IH_LEN];
	const char *source;		/* JSON: a literal, where it came from */
	struct magnet *link;		/* JSON: trackers and so of it; NULL: none. malloc'd */
	char *beside;			/* JSON: an object, whose members stand in front, too;
					 * NULL: none. malloc'd; without so alone */
	/* There is none (META_MISS), it is damaged (META_BAD), or could not be read
	 * (META_FAIL, which was logged). Takes the link. */
	void (*missed)(struct ask *a, const uint8_t key[IH_LEN], struct magnet *link,
		       enum meta_rc rc);
};

/* Is it in the cache, as far as its head says? */
int metaserve_has(const struct worker *w, const uint8_t key[IH_LEN], enum meta_kind kind);
/* Answers now or later, or calls missed. Takes q->link and q->beside. */
void metaserve(struct ask *a, const struct metaserve *q);

#endif

/*
 * metadead.h -- torrents whose metadata nobody had lately, so that the next question for
 * one is answered at once instead of after metadata.timeout: for a minute, then for five,
 * then for half an hour each time. Which trackers were asked in vain is kept, so that a link
 * that knows others is no such question: whoever asks by hash alone silences no link.
 *
 * At most METADEAD_MAX of them; the one that failed longest ago is forgotten first, and
 * who has not failed again for METADEAD_FORGET_MS begins anew. Pure, but for memory.
 * Proof: tests/unit/test_metadead.c.
 */
#ifndef PEERSCOPE_COLLECTOR_METADEAD_H
#define PEERSCOPE_COLLECTOR_METADEAD_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/ident.h"

#define METADEAD_MAX 4096 /* 2 MiB; a crawl of dead links goes on finding them */
#define METADEAD_TRACKERS 64 /* of each; then those of the last failure alone */
#define METADEAD_FORGET_MS 3600000

struct metadead; /* opaque */

PS_MUST int metadead_open(struct metadead **out); /* -1: no memory */
void metadead_close(struct metadead **d);         /* NULL is fine */
/* It was looked for, and nobody had it, who could be heard. 1: another one was forgotten for it. */
int metadead_failed(struct metadead *d, const uint8_t key[IH_LEN], uint64_t now_ms);
/* And it is there, but none that can be read: nobody's peers or trackers have another. */
void metadead_odd(struct metadead *d, const uint8_t key[IH_LEN], uint64_t now_ms);
int metadead_is_odd(const struct metadead *d, const uint8_t key[IH_LEN]);
/* And these were asked for it: n hashes of URLs. It is known to have failed. */
void metadead_asked(struct metadead *d, const uint8_t key[IH_LEN], const uint64_t *mark,
		    size_t n);
int metadead_was_asked(const struct metadead *d, const uint8_t key[IH_LEN],
		       uint64_t mark);
void metadead_found(struct metadead *d, const uint8_t key[IH_LEN]);
/* Seconds until it is worth another try, rounded up; 0: it is now. */
uint32_t metadead_wait_s(const struct metadead *d, const uint8_t key[IH_LEN],
			 uint64_t now_ms);

#endif

/*
 * magnet.h -- what a question for metadata names: a magnet link (BEP 9, 53), or an infohash
 * alone. Read in one pass into a fixed struct, written back in one form.
 *
 * A link has at most MAGNET_MAX bytes; parameters may stand in any order, may be numbered
 * (xt.1, tr.2) and may come with the "&amp;" of a page that they were copied from. Of xt,
 * urn:btih: (40 hex, 32 base32) and urn:btmh: (1220 and 64 hex) count, both together for a
 * hybrid; the same hash twice is fine, two torrents in one link are refused. What cannot be
 * used does not spoil a link that works without it: trackers that are not http, https or
 * udp, web seeds that are not http or https, peers that are not address and port, and
 * whatever is beyond the bounds below are counted in left_out. Unknown parameters are
 * passed over, xs and as among them: nothing is ever fetched because a link says so. A
 * broken %-escape, and %00, stand for themselves; "+" is a blank in dn alone.
 *
 * Whether an address may be talked to at all is no question of this file.
 * Pure; nothing is allocated. Proof: tests/unit/test_magnet.c, tests/fuzz/fuzz_meta.c.
 */
#ifndef PEERSCOPE_COMMON_MAGNET_H
#define PEERSCOPE_COMMON_MAGNET_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/given.h"
#include "common/ident.h"

#define MAGNET_MAX 8192			/* bytes of a link; a job's text has room for them */
#define MAGNET_URLS 50			/* trackers, and as many web seeds */
#define MAGNET_URL_MAX 1024		/* bytes; passkeys make them long, no more than this */
#define MAGNET_NAME_MAX 255		/* bytes, as of a file's name */
#define MAGNET_RANGES 256		/* of so, once they are sorted and joined */
#define MAGNET_INDEX_MAX 99999u		/* of a file: metainfo.h reads 100,000 files */

enum magnet_scheme { MAGNET_TRACKER, MAGNET_WEB_SEED };

struct magnet {
	uint8_t v1[IH_LEN], v2[IH_V2_LEN];
	int has_v1, has_v2;		/* one of them at least */
	char name[MAGNET_NAME_MAX + 1];	/* dn, as of clean.h; "" if there is none */
	uint32_t ntrackers, nseeds;
	uint16_t tracker[MAGNET_URLS], seed[MAGNET_URLS];	/* where in text */
	struct given given;		/* x.pe */
	uint32_t nranges;		/* so: in order, apart; 0: all files */
	struct magnet_range {
		uint32_t first, last;	/* index of a file, both inside */
	} range[MAGNET_RANGES];
	uint32_t left_out;		/* trackers, web seeds and peers that cannot be used */
	uint32_t ntext;
	char text[MAGNET_MAX];		/* URLs, each with its NUL */
};

/* 0, or -1 with a sentence for the asker, in which no byte of his stands. Blanks around it
 * are passed over. */
PS_MUST int magnet_parse(struct magnet *m, const char *s, size_t len, char err[ERRLEN]);
/* The swarm: v1, else the first 20 bytes of v2. */
const uint8_t *magnet_key(const struct magnet *m);
const char *magnet_tracker(const struct magnet *m, uint32_t i);
const char *magnet_seed(const struct magnet *m, uint32_t i);
/* Trackers that another link names, too, as far as there is room for them. */
void magnet_take_trackers(struct magnet *m, const struct magnet *from);
/* Whether so wants the file with that index; without so it wants all. */
int magnet_wants(const struct magnet *m, uint32_t index);

/* An absolute URL of a scheme that is of use, with a host, and a port if the scheme is udp:
 * printable ASCII, at most MAGNET_URL_MAX bytes. */
int magnet_url(enum magnet_scheme scheme, const void *url, size_t len);

/*
 * The one form, for jobs and for answers: btih and btmh in lower case, dn, so, x.pe, tr, ws;
 * all but RFC 3986's unreserved characters escaped, in so and x.pe nothing. At most max bytes
 * are added to out: a link grows by its escapes, so URLs that do not fit are left out
 * (MAGNET_MAX has room for all the rest). The number of values left out. What was written
 * reads back as the same, but for these.
 */
uint32_t magnet_write(const struct magnet *m, struct buf *out, size_t max);

/* The same for who has no struct magnet: v1 or v2 may be NULL, values of length 0 are none. */
struct magnet_writer {
	struct buf *out;
	size_t end;			/* of out->len */
	uint32_t left_out;
};
void magnet_begin(struct magnet_writer *w, struct buf *out, size_t max, const uint8_t *v1,
		  const uint8_t *v2);
void magnet_put(struct magnet_writer *w, const char *name, const void *value, size_t len);

#endif

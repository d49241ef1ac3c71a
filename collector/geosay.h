/*
 * geosay.h -- what a web service says of the place of an address: its words read, filled
 * in beside what databases know (as what other nodes say is), and written down for Redis.
 *
 * Read are the nested JSON of ipwho.is and the flat one of ipwhois.app, its older form
 * (ipwhois.io/documentation): asn as a number or as "AS123", coordinates as numbers or
 * texts, timezone as an object or a text. Every field is looked at by type; texts are
 * made valid UTF-8 without control characters and cut to the room that there is. Pure.
 * Proof: tests/unit/test_geosay.c.
 */
#ifndef PEERSCOPE_COLLECTOR_GEOSAY_H
#define PEERSCOPE_COLLECTOR_GEOSAY_H

#include <stddef.h>
#include <stdint.h>

#include "collector/web.h"
#include "common/addr.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/place.h"

enum geosay {
	GEOSAY_PLACE = 0,		/* the country at least */
	GEOSAY_NOTHING = 1,		/* the service knows nothing of the address */
	GEOSAY_RESERVED = 2,		/* it says that nobody has the address */
	GEOSAY_LIMITED = 3,		/* "You've hit the monthly limit" */
	GEOSAY_NONSENSE = 4,		/* no answer to this question at all, or a refusal of us */
};

/* How long an answer is believed: an hour is what the contract promises. */
#define GEOSAY_PLACE_MS 3600000ull
#define GEOSAY_NOTHING_MS 600000ull
#define GEOSAY_RESERVED_MS 86400000ull
uint64_t geosay_ttl_ms(enum geosay what);	/* 0: not at all */

/* out is filled if it is GEOSAY_PLACE, but for its source. err: what the service said, or
 * what is wrong with it; "" if it is a place. */
enum geosay geosay_read(struct place *out, const uint8_t addr[ADDR_LEN],
			const char *body, size_t len, char err[ERRLEN]);

/* The same of a whole answer over HTTP, with its status. GEOSAY_NONSENSE: the question failed,
 * in whatever way. */
enum geosay geosay_answer(struct place *out, const uint8_t addr[ADDR_LEN],
			  const struct web_answer *a, char err[ERRLEN]);

/* For Redis: the nested form, with "source" and "until" (wall milliseconds) beside it. */
void geosay_write(struct buf *out, const uint8_t addr[ADDR_LEN], enum geosay what,
		  const struct place *p, uint64_t until_wall_ms);
/* The same read; *left_ms is how long it is still good. GEOSAY_NONSENSE: not one of ours,
 * of another address, or over. */
enum geosay geosay_stored(struct place *out, uint64_t *left_ms,
			  const uint8_t addr[ADDR_LEN], const char *text, size_t len,
			  uint64_t now_wall_ms);

/* The country is not known: the one field whose lack is worth a question. */
int geosay_wanted(const struct place *p);
/* What p lacks is taken from told, field by field; p->source names both then:
 * "mmdb:asn+ipwho.is". Of one who names another country nothing geographical is taken, of
 * one who names another ASN neither ASN nor ISP. */
void geosay_fill(struct place *p, const struct place *told);
/* The source of what a service says: "https://ipwho.is/" -> "ipwho.is". */
#define GEOSAY_SOURCE sizeof(((struct place *)0)->source)
void geosay_source(char out[GEOSAY_SOURCE], const char *url);
/* The address that a question about addr would name: of 6to4, Teredo and NAT64 the IPv4
 * address inside. -1: about this one nobody may be asked (not global: addr.h). */
PS_MUST int geosay_subject(uint8_t out[ADDR_LEN], const uint8_t addr[ADDR_LEN]);

#endif

/*
 * geo.h -- address -> place, from MMDB files (libmaxminddb).
 *
 * Reads MaxMind's nested City and ASN layout and the flat one of ip-location-db;
 * the layout is told by looking at a record. Addresses are the 16-byte form of
 * addr.h; an IPv4-mapped one is looked up as IPv4. Not thread-safe: the collector
 * has one. Never logs. Proof: tests/unit/test_geo.c (real files).
 */
#ifndef PEERSCOPE_GEO_GEO_H
#define PEERSCOPE_GEO_GEO_H

#include <stdint.h>

#include "common/addr.h"
#include "common/err.h"
#include "common/place.h"

struct geo;				/* opaque */

/* Empty paths are fine (no such database). On error nothing is left open and
 * *out is untouched; err names the file. */
PS_MUST int geo_open(struct geo **out, const char *city_db, const char *asn_db,
		     char err[ERRLEN]);
void geo_close(struct geo **g);
/* 1: something is known (fields filled); 0: nothing. g may have no database. */
PS_MUST int geo_lookup(struct geo *g, const uint8_t addr[ADDR_LEN], struct place *out);
/* Build times of the files, seconds since the epoch; 0: no such file. */
uint64_t geo_city_built_s(const struct geo *g);
uint64_t geo_asn_built_s(const struct geo *g);

#endif

/*
 * geo.h -- address -> place, from MMDB files (libmaxminddb).
 *
 * A set of files, asked in their order; the first one that knows a field wins. Addresses are
 * the 16-byte form of addr.h; one that carries an IPv4 address is looked up as that. A set
 * never changes: watch.h makes another one when a file does. Lookups only read, so threads
 * may share a set. Never logs. Proof: tests/unit/test_geo.c (real files).
 */
#ifndef PEERSCOPE_GEO_GEO_H
#define PEERSCOPE_GEO_GEO_H

#include <stdint.h>

#include "common/addr.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/place.h"
#include "geo/file.h"

#define GEO_FILES_MAX PLACE_DB_MAX	/* each costs a copy, and a note on /health */
#define GEO_MORE_MAX (GEO_FILES_MAX - 2)	/* of geo.more_db */
#define GEO_PATH_MAX 1000

struct geo;				/* opaque */

/* Where the files are; "": none there. [0] City, [1] ASN, then the further ones. */
struct geo_paths {
	char path[GEO_FILES_MAX][GEO_PATH_MAX + 1];
};

/* As configured. -1: geo.more_db names too many, or too long a path. */
PS_MUST int geo_paths(struct geo_paths *out, const struct conf *conf, char err[ERRLEN]);
/* path is one of them; "" is, where not all are named. */
int geo_names(const struct geo_paths *paths, const char *path);
/* "city", "asn", "more1", ... */
const char *geo_role(int i);
/* Every file that is named must be good; else nothing stays open, *out is untouched, and
 * err names the file. Reads the disk: see file.h. */
PS_MUST enum file_rc geo_open(struct geo **out, const struct geo_paths *paths,
			      char err[ERRLEN]);
void geo_close(struct geo **g);
/* 1: something is known (fields filled); 0: nothing. g may have no database. */
PS_MUST int geo_lookup(const struct geo *g, const uint8_t addr[ADDR_LEN],
		       struct place *out);
/* 1, and what there is to say of file i; 0: there is none. */
int geo_info(const struct geo *g, int i, struct file_info *out);

/* For watch.c: a set of files that stay the caller's, and outlive it. NULL: no memory. */
struct geo *geo_of_files(struct geo_file *const file[GEO_FILES_MAX]);

/* The address that is meant: the IPv4 one inside an IPv4-mapped (::ffff:0:0/96), 6to4
 * (2002::/16, RFC 3056) or Teredo address (2001::/32, RFC 4380: the client's, its bits
 * flipped), in mapped form; else the same. */
void geo_meant(uint8_t out[ADDR_LEN], const uint8_t addr[ADDR_LEN]);

#endif

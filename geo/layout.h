/*
 * layout.h -- what the records of an MMDB file say, whatever its layout.
 *
 * One table of paths serves all: MaxMind's nested ones, `traits`, DB-IP, IPinfo's flat
 * texts, ip-location-db's flat keys. A file's database_type tells which rows mean
 * something in it; verifying the file tells which of those lead anywhere (file.c), so
 * that a lookup tries no other. Pure. Proof: tests/unit/test_geo.c.
 */
#ifndef PEERSCOPE_GEO_LAYOUT_H
#define PEERSCOPE_GEO_LAYOUT_H

#include <maxminddb.h>
#include <stdint.h>

#include "common/place.h"

#define LAYOUT_FIELDS 10
#define LAYOUT_FIELD_ROWS 10		/* and a 0 */

/* Which rows of the table a file has: as bits, and of each field in their order, the rest 0. */
struct layout {
	uint64_t rows;
	uint8_t of[LAYOUT_FIELDS][LAYOUT_FIELD_ROWS];	/* row + 1 */
};

/* Every row that may mean something in a file of this type. */
void layout_of_type(struct layout *l, const char *type, size_t len);
/* It has no other rows than these. */
void layout_keep(struct layout *l, uint64_t rows);
/*
 * Fills what is still empty in p; a country and its code, and a point and its radius, come
 * from one file, and a town from none that says another country. 1: it knew something;
 * 0: nothing new; -1: the record is damaged.
 */
int layout_record(const struct layout *l, MMDB_entry_s *e, struct place *p);
/* Adds to *seen the rows that lead to a value in this record. -1: it is damaged. */
int layout_probe(const struct layout *l, MMDB_entry_s *e, uint64_t *seen);

#endif

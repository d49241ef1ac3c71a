/*
 * place.h -- where an address is, as texts: what geo/ finds and shm/ stores.
 * Plain bytes; every text is NUL-terminated UTF-8, "" where unknown.
 */
#ifndef PEERSCOPE_COMMON_PLACE_H
#define PEERSCOPE_COMMON_PLACE_H

#include <stdint.h>

/* The databases that may be in use, in the order in which they are asked. */
#define PLACE_DB_MAX 8
#define PLACE_DB_NAMES \
	{"city", "asn", "more1", "more2", "more3", "more4", "more5", "more6"}
#define PLACE_DB_SOURCES \
	{"mmdb:city", "mmdb:asn", "mmdb:more1", "mmdb:more2", "mmdb:more3", "mmdb:more4", \
	 "mmdb:more5", "mmdb:more6"}

struct place {
	char country[64], city[96], region[96], timezone[64], isp[128];
	char source[32];		/* which database, e.g. "mmdb:city" */
	char code[4];			/* ISO 3166-1 alpha-2 */
	int has_point;			/* lat_e5 and lon_e5 are known */
	int32_t lat_e5, lon_e5;		/* degrees * 100000 */
	uint32_t asn;			/* 0: unknown */
	uint32_t accuracy_km;		/* 0: unknown */
};

#endif

/*
 * listjson.h -- the list of another program: peer_stats:<id> as the Python service writes
 * it, or a Peerscope whose lists we can't read (listcode.h). Used only where it is all there
 * is to know: the contract's shape, value by value, and every peer of the swarm in it.
 *
 * Pure. Proof: tests/unit/test_listjson.c, tests/fuzz/fuzz_list.c.
 */
#ifndef PEERSCOPE_COLLECTOR_LISTJSON_H
#define PEERSCOPE_COLLECTOR_LISTJSON_H

#include "collector/listcode.h"

/* 1,000 peers of that service; parsed, that is 16 MiB for a moment at the worst. */
#define LISTJSON_MAX (512u << 10)

/* Appends the same list as listcode_read wants it. -1: it is not one, or not whole. */
PS_MUST int listjson_convert(struct buf *out, const uint8_t id[IH_LEN], const char *json,
			     size_t len);

#endif

/*
 * lines.h -- a swarm's peers as lines: CSV (RFC 4180: CRLF, a header line) and NDJSON
 * (one object of "peers" on a line).
 *
 * A cell of CSV that is a text and begins with = + - @ TAB or CR gets an apostrophe in
 * front: a spreadsheet would take it for a formula, and the text is a stranger's choice.
 */
#ifndef PEERSCOPE_WORKER_LINES_H
#define PEERSCOPE_WORKER_LINES_H

#include "shm/swarmjson.h"

/* Append; at most limit of the picked ones (a pick is not optional here). 0, or -1 as
 * swarm_json says. */
PS_MUST int lines_csv(struct buf *out, const struct ptab *p, const struct swarm_copy *c,
		      uint32_t limit, const struct swarm_pick *pick);
PS_MUST int lines_ndjson(struct buf *out, const struct ptab *p,
			 const struct swarm_copy *c, uint32_t limit,
			 const struct swarm_pick *pick);
/* The header line alone, for a swarm that is in no slot. */
void lines_csv_head(struct buf *out);
/* One text as a cell, without the comma. */
void lines_cell(struct buf *out, const char *text);

#endif

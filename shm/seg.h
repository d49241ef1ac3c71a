/*
 * seg.h -- the segment: made by the master, mapped by everybody.
 *
 * seg_create really allocates everything but the growing sections
 * (posix_fallocate), so that no process meets a SIGBUS. The growing ones are
 * address space, reserved in steps by the collector (seg_grow).
 * Proof: tests/unit/test_shm.c, tests/torture/.
 */
#ifndef PEERSCOPE_SHM_SEG_H
#define PEERSCOPE_SHM_SEG_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "shm/layout.h"

struct seg;				/* one mapping of the segment; opaque */

enum seg_side {
	SEG_MASTER,			/* header, pages and stats writable */
	SEG_WORKER,			/* own lane side, page and stats writable; table read-only */
	SEG_COLLECTOR,			/* lanes, board and table writable; header read-only */
	SEG_VIEWER,			/* `top`: everything read-only */
};

/* Sizes for a configuration. nworkers: 1 .. CONF_MAX_WORKERS. */
void seg_dims(struct shm_dims *out, const struct conf *c, int nworkers);
/* Bytes in all, and bytes reserved at start. */
void seg_sizes(const struct shm_dims *d, uint64_t *total, uint64_t *at_start);

/*
 * Master: create and map. A leftover of the same name is unlinked and made anew:
 * the caller holds the pid file's lock, so its owner is dead (*leftover says so).
 * Takes nothing; on success the caller ends it with seg_close and seg_unlink.
 */
PS_MUST int seg_create(struct seg **out, const char *name, const struct shm_dims *d,
		       int *leftover, char err[ERRLEN]);
/* Others: map what fd names. Refuses another magic, version or shape, naming both
 * sides. Borrows fd only for the call. */
PS_MUST int seg_attach(struct seg **out, int fd, enum seg_side side, char err[ERRLEN]);
/* Master: the same of a segment that an earlier image of this process made. Takes fd,
 * if it succeeds; it holds a lock which closing it would drop. */
PS_MUST int seg_take(struct seg **out, int fd, char err[ERRLEN]);
/* Is it the segment that seg_create would make, for these sizes? 0, or -1 and in what it is another
 * one. Opens and closes nothing, for the lock's sake. */
PS_MUST int seg_fits(int fd, const struct shm_dims *want, char err[ERRLEN]);
/* By name, for `top` and `healthcheck`. -1 with a sentence if there is none. */
PS_MUST int seg_view(struct seg **out, const char *name, char err[ERRLEN]);
/* Does a process other than ours hold the lock that a master keeps on its segment for
 * life (own.h)? 0: it is dead, and nobody will make this segment move again. */
PS_MUST int seg_owned(const struct seg *seg);
void seg_close(struct seg **seg);		/* unmaps; NULL is fine */
void seg_unlink(const char *name);

/* For children; owned by seg, and close-on-exec: clear that before an exec. */
int seg_fd(const struct seg *seg);
/* The sizes as they were checked when mapping; the header may not be trusted later. */
const struct shm_dims *seg_dims_of(const struct seg *seg);
const struct shm_head *seg_head(const struct seg *seg);
struct shm_head *seg_head_rw(struct seg *seg);	/* SEG_MASTER only, asserted */
/* Start of a section; read-only memory where the side may not write. */
void *seg_at(const struct seg *seg, enum shm_section s);
size_t seg_len(const struct seg *seg, enum shm_section s);
/* Page of a process: worker slot, or dims.worker_slots (collector), + 1 (Redis),
 * + 2 (master: its second line only). */
struct shm_page *seg_page(const struct seg *seg, uint32_t index);
/* Collector: make sure [from, upto) of a growing section is really there. -1: no
 * room. What is there already stays as it is. */
PS_MUST int seg_grow(struct seg *seg, enum shm_section s, size_t from, size_t upto);

#endif

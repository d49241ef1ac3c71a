/*
 * watch.h -- sees that the databases on the disk are others now, and brings them in.
 *
 * One thread does all that touches the disk: it looks at each path every few seconds (and
 * at once when told to), copies, verifies and opens what is new beside what is in use, and
 * leaves a finished set for the owner's loop, which takes it when the bell rings. A file that
 * is damaged, cut short, half written or gone changes nothing but the report. One that is
 * rewritten in place is taken once it has stood still for a look. Where there was no room for
 * our copy, or no memory, or the disk failed, it is tried again, at a growing pace. A file is
 * known by its path: where that stands among the others may change.
 *
 *   owner's loop: watch_look(paths) ... bell ... watch_take(&set, &report)
 *   thread:       look, open, leave a set, ring; close the sets that came back
 *
 * Never logs. Proof: tests/unit/test_geo_watch.c; tests/e2e/test_geo.py.
 */
#ifndef PEERSCOPE_GEO_WATCH_H
#define PEERSCOPE_GEO_WATCH_H

#include "geo/geo.h"

enum watch_state {
	WATCH_NONE = 0,			/* no file is asked for */
	WATCH_GOOD = 1,			/* what lies there is in use */
	WATCH_REFUSED = 2,		/* it can't be used; the one before, if any, is */
	WATCH_MISSING = 3,		/* there is none any more, or not yet; the same */
	WATCH_WRITING = 4,		/* somebody is writing into it; the same */
	WATCH_VERIFYING = 5,		/* it is being copied and verified; the same */
};

struct watch_file {
	enum watch_state state;
	int open;			/* one is in use, and info is about it */
	struct file_info info;
	char err[ERRLEN];		/* REFUSED, MISSING: why */
	/* Since the last report; put_off: there was no room, memory or sound disk. */
	unsigned opened, refused, missing, put_off;
};

struct watch_report {
	struct geo_paths paths;		/* what this is about: perhaps not yet the newest */
	int settled;			/* they are the newest, and all was tried */
	struct watch_file file[GEO_FILES_MAX];
};

struct geo_watch;			/* opaque */

/* Looks every look_ms. Borrows bell_fd (an eventfd), which rings when there is something
 * to take. */
PS_MUST int watch_open(struct geo_watch **out, int bell_fd, uint64_t look_ms,
		       char err[ERRLEN]);
/* These paths from now on; look at once, and at what was refused again. Starts the thread
 * with the first path. */
PS_MUST int watch_look(struct geo_watch *w, const struct geo_paths *paths,
		       char err[ERRLEN]);
/*
 * 0: nothing happened since the last call. 1: *out says how things are. 2: *set is another
 * one besides; the former one went back to the thread. Neither waits for the disk.
 */
PS_MUST int watch_take(struct geo_watch *w, struct geo **set,
		       struct watch_report *out);
/* Ends the thread; all sets are gone afterwards. It may wait for a read of the disk. */
void watch_close(struct geo_watch **w);

#endif

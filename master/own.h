/*
 * own.h -- what belongs to one daemon alone: its directory, its pid file, its name
 * of the segment.
 *
 * Ownership is a classic fcntl lock (F_SETLK): it dies with the master, also at
 * kill -9, and is not inherited by children, as flock and OFD locks would be. The
 * numbers in the files are for people. A process drops such a lock when it closes
 * ANY descriptor of the file: the master opens these files once, here.
 * Proof: tests/unit/test_own.c, tests/e2e/test_master.py.
 */
#ifndef PEERSCOPE_MASTER_OWN_H
#define PEERSCOPE_MASTER_OWN_H

#include "common/conf.h"
#include "common/err.h"
#include "shm/seg.h"

#define OWN_PATH 204			/* = sizeof of struct kid's run_dir */
#define OWN_SOCK 232

struct own {
	char dir[OWN_PATH];
	char redis_sock[OWN_SOCK];
	char pid_path[OWN_SOCK];
	int pid_fd;			/* holds the lock; -1: none */
	int fallback;			/* dir is the private one, which we made */
};

/*
 * The directory: `configured`, else /run/peerscope if we can write there, else a
 * private one in /dev/shm named by uid. Made if missing (mode 0700); refused if it
 * is a symlink, or if others could put files into it.
 */
PS_MUST int own_dir(char out[OWN_PATH], const char *configured, char err[ERRLEN]);

/* The first that own_dir would try. */
const char *own_wish(const char *configured);
/* Would own_dir take this one, which is there? 0, or -1 and why not. */
PS_MUST int own_dir_check(const char *path, char err[ERRLEN]);
/* Does a daemon run in that directory? 0 also if we may not look. */
int own_is_held(const char *configured);

/* Directory and pid file, locked. A second daemon is refused by its pid. */
PS_MUST int own_open(struct own *o, const char *configured, char err[ERRLEN]);
/* The same, of which another image of ours holds the lock by pid_fd. */
void own_take(struct own *o, const char *dir, int pid_fd, int fallback);
/* Removes the pid file and the Redis socket; the private directory, if that was all. */
void own_close(struct own *o);

/*
 * The segment, under the same kind of lock on the shared memory file itself, so
 * that a daemon with another directory and the same shm.name is refused and not
 * robbed. *leftover: one was there, of a dead daemon.
 */
PS_MUST int own_segment(struct seg **out, const char *name, const struct shm_dims *d,
			int *leftover, char err[ERRLEN]);

/*
 * Beside ours, under another name, for an upgrade: own_segment_show gives it our name, and
 * whoever looks by name finds it instead of the old one, which goes when its last user does.
 */
PS_MUST int own_segment_next(struct seg **out, const char *name, const struct shm_dims *d,
			     char err[ERRLEN]);
PS_MUST int own_segment_show(const char *name, char err[ERRLEN]);
void own_segment_drop(const char *name);	/* it is not to be used after all */
/* What a daemon left there that was killed in the midst of that; nobody else's. */
void own_segment_sweep(const char *name);

#endif

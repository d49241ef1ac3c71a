/* own.c -- directory, pid file and segment name of one daemon; see own.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "master/own.h"

#define OWN_TRIES 16 /* a file that keeps being replaced under us */
#define OWN_PRIVATE "/dev/shm/peerscope-"
#define OWN_PRIVATE_LEN (sizeof OWN_PRIVATE - 1)

/* 0: locked. Else -1 and *pid is the holder (0: in another pid namespace). */
static int lock_file(int fd, pid_t *pid)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	*pid = 0;
	if (fcntl(fd, F_SETLK, &l) == 0)
		return 0;
	if (errno == EACCES || errno == EAGAIN) {
		if (fcntl(fd, F_GETLK, &l) == 0 && l.l_type != F_UNLCK)
			*pid = l.l_pid;
		errno = EAGAIN;
	}
	return -1;
}

/* Is what fd names still what path names? */
static int same_file(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && lstat(path, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* --- directory ---------------------------------------------------------- */

static int check_dir(const char *path, int private, char err[ERRLEN])
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	int rc = -1;

	if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
		return err_set(err, "%s is not a directory (symlinks are not followed)",
			       path);
	if (fd < 0)
		return err_errno(err, "%s", path);
	if (fstat(fd, &st) != 0)
		err_errno(err, "%s", path);
	else if (private && st.st_uid != geteuid())
		err_set(err, "%s belongs to uid %u, not to us (%u)", path, st.st_uid,
			geteuid());
	else if (private ? (st.st_mode & 077) : (st.st_mode & 02))
		err_set(err, "%s has mode %04o: others could put files there", path,
			st.st_mode & 07777);
	else if (faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) != 0)
		err_errno(err, "%s", path);
	else
		rc = 0;
	close(fd);
	return rc;
}

/* Private directories are ours alone; others may belong to our group. */
static int make_dir(const char *path, int private, char err[ERRLEN])
{
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return err_errno(err, "mkdir %s", path);
	return check_dir(path, private, err);
}

const char *own_wish(const char *configured)
{
	return configured[0] ? configured : "/run/peerscope";
}

int own_dir_check(const char *path, char err[ERRLEN])
{
	return check_dir(path, 0, err);
}

int own_dir(char out[OWN_PATH], const char *configured, char err[ERRLEN])
{
	if (configured[0]) {
		if ((size_t)snprintf(out, OWN_PATH, "%s", configured) >= OWN_PATH)
			return err_set(err, "master.run_dir is too long");
		return make_dir(out, 0, err);
	}
	snprintf(out, OWN_PATH, "%s", own_wish(configured));
	if (make_dir(out, 0, err) == 0)
		return 0;
	snprintf(out, OWN_PATH, OWN_PRIVATE "%u", (unsigned)geteuid());
	return make_dir(out, 1, err);
}

/* --- pid file ----------------------------------------------------------- */

static int write_pid(int fd, const char *path, char err[ERRLEN])
{
	char text[32];
	int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());

	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)len, 0) != len)
		return err_errno(err, "%s", path);
	return 0;
}

static int open_pid(const struct own *o, char err[ERRLEN])
{
	pid_t pid;

	for (int i = 0; i < OWN_TRIES; i++) {
		int fd = open(o->pid_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
			      0644);

		if (fd < 0)
			return err_errno(err, "%s", o->pid_path);
		if (lock_file(fd, &pid) != 0) {
			if (errno == EAGAIN)
				err_set(err, "another daemon runs in %s, pid %ld", o->dir,
					(long)pid);
			else
				err_errno(err, "lock on %s", o->pid_path);
			close(fd);
			return -1;
		}
		/* Its owner may have removed it between our open and our lock. */
		if (same_file(fd, o->pid_path) && write_pid(fd, o->pid_path, err) == 0)
			return fd;
		close(fd);
	}
	return err_set(err, "%s: can't be written, or keeps being replaced", o->pid_path);
}

static void name_files(struct own *o)
{
	snprintf(o->pid_path, sizeof o->pid_path, "%s/peerscope.pid", o->dir);
	snprintf(o->redis_sock, sizeof o->redis_sock, "%s/redis.sock", o->dir);
}

void own_take(struct own *o, const char *dir, int pid_fd, int fallback)
{
	memset(o, 0, sizeof *o);
	snprintf(o->dir, sizeof o->dir, "%s", dir);
	name_files(o);
	o->pid_fd = pid_fd;
	o->fallback = fallback;
}

int own_open(struct own *o, const char *configured, char err[ERRLEN])
{
	memset(o, 0, sizeof *o);
	o->pid_fd = -1;
	for (int i = 0; i < OWN_TRIES && o->pid_fd < 0; i++) {
		if (own_dir(o->dir, configured, err) != 0)
			return -1;
		name_files(o);
		errno = 0;
		o->pid_fd = open_pid(o, err);
		if (errno != ENOENT) /* else one that left took the directory along */
			break;
	}
	o->fallback =
		!configured[0] && strncmp(o->dir, OWN_PRIVATE, OWN_PRIVATE_LEN) == 0;
	return o->pid_fd < 0 ? -1 : 0;
}

/* The directory with those in it, as far as nothing is left in them: jobs and dht.state stay. */
static void remove_empty(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		unlinkat(dirfd(dir), e->d_name, AT_REMOVEDIR);
	if (dir)
		closedir(dir);
	rmdir(path);
}

void own_close(struct own *o)
{
	if (o->pid_fd < 0)
		return;
	unlink(o->redis_sock);
	unlink(o->pid_path); /* before the lock goes: see open_pid */
	if (o->fallback)
		remove_empty(o->dir);
	close(o->pid_fd);
	o->pid_fd = -1;
}

/* By another process only: who closes any descriptor of the file loses his own lock. */
int own_is_held(const char *configured)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[OWN_SOCK];
	int fd, held;

	snprintf(path, sizeof path, "%s/peerscope.pid", own_wish(configured));
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && !configured[0]) {
		snprintf(path, sizeof path, OWN_PRIVATE "%u/peerscope.pid",
			 (unsigned)geteuid());
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	}
	if (fd < 0)
		return 0;
	held = fcntl(fd, F_GETLK, &l) == 0 && l.l_type != F_UNLCK;
	close(fd);
	return held;
}

/* --- segment ------------------------------------------------------------ */

/* Where shm_open keeps its files on Linux; only to compare, never to open. */
static void shm_path(char out[OWN_PATH], const char *name)
{
	snprintf(out, OWN_PATH, "/dev/shm%s", name);
}

static int refuse_segment(const char *name, pid_t pid, char err[ERRLEN])
{
	return err_set(err,
		       "the segment %s belongs to a running daemon, pid %ld: "
		       "give one of the two another shm.name",
		       name, (long)pid);
}

/*
 * Lock whatever has the name, or an empty file of our own: from here on everybody
 * else is refused until the real one, which takes its place, is locked.
 */
static int guard_segment(const char *name, int *leftover, char err[ERRLEN])
{
	char path[OWN_PATH];
	struct stat st;
	pid_t pid;

	shm_path(path, name);
	for (int i = 0; i < OWN_TRIES; i++) {
		int fd = shm_open(name, O_RDWR | O_CREAT, 0640);

		if (fd < 0)
			return err_errno(err, "shm_open %s", name);
		if (lock_file(fd, &pid) != 0) {
			if (errno == EAGAIN)
				refuse_segment(name, pid, err);
			else
				err_errno(err, "lock on segment %s", name);
			close(fd);
			return -1;
		}
		if (same_file(fd, path)) {
			*leftover = fstat(fd, &st) == 0 && st.st_size > 0;
			return fd;
		}
		close(fd);
	}
	return err_set(err, "segment %s keeps being replaced", name);
}

int own_segment(struct seg **out, const char *name, const struct shm_dims *d,
		int *leftover, char err[ERRLEN])
{
	char path[OWN_PATH];
	int guard, ours_too, rc = -1;
	pid_t pid;

	if (name[0] != '/' || !name[1] || strchr(name + 1, '/'))
		return err_set(err, "shm.name %s: must be a slash and a name without one",
			       name);
	guard = guard_segment(name, leftover, err);
	if (guard < 0)
		return -1;
	if (seg_create(out, name, d, &ours_too, err) != 0)
		goto out;
	shm_path(path, name);
	/* Another daemon that starts this instant may have been quicker; one wins. */
	if (lock_file(seg_fd(*out), &pid) != 0 || !same_file(seg_fd(*out), path)) {
		refuse_segment(name, pid, err);
		seg_close(out);
		goto out;
	}
	rc = 0;
out:
	close(guard);
	return rc;
}

static void next_name(char out[OWN_PATH], const char *name)
{
	snprintf(out, OWN_PATH, "%s.next", name);
}

int own_segment_next(struct seg **out, const char *name, const struct shm_dims *d,
		     char err[ERRLEN])
{
	char next[OWN_PATH];
	int leftover;

	next_name(next, name);
	return own_segment(out, next, d, &leftover, err);
}

int own_segment_show(const char *name, char err[ERRLEN])
{
	char next[OWN_PATH], from[OWN_PATH + 16], to[OWN_PATH];

	next_name(next, name);
	snprintf(from, sizeof from, "/dev/shm%s", next);
	shm_path(to, name);
	return rename(from, to) == 0 ? 0 : err_errno(err, "rename to %s", to);
}

void own_segment_drop(const char *name)
{
	char next[OWN_PATH];

	next_name(next, name);
	seg_unlink(next);
}

void own_segment_sweep(const char *name)
{
	char next[OWN_PATH];
	pid_t pid;
	int fd;

	next_name(next, name);
	fd = shm_open(next, O_RDWR, 0);
	if (fd < 0)
		return;
	if (lock_file(fd, &pid) == 0)
		seg_unlink(next);
	close(fd);
}

/* metadisk.c -- see metadisk.h. Writing and mending; metasweep.c walks and removes. */
#include "collector/metadisk_int.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/file.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)

int metadisk_open(struct metadisk **out, const char *dir, uint64_t quota_bytes,
		  char err[ERRLEN])
{
	struct metadisk *d;
	uint8_t noise[METADISK_TOKEN / 2];

	if (strlen(dir) >= sizeof d->path)
		return err_set(err, "%.64s...: the path is too long", dir);
	d = calloc(1, sizeof(*d));
	if (d == NULL)
		return err_set(err, "out of memory");
	snprintf(d->path, sizeof d->path, "%s", dir);
	randombytes_buf(noise, sizeof noise);
	sodium_bin2hex(d->token, sizeof d->token, noise, sizeof noise);
	d->lock_fd = -1;
	d->quota = quota_bytes;
	metadisk_begin(d);
	*out = d;
	return 0;
}

void metadisk_close(struct metadisk **d)
{
	if (*d == NULL)
		return;
	if ((*d)->sweep.dir)
		closedir((*d)->sweep.dir);
	if ((*d)->lock_fd >= 0)
		close((*d)->lock_fd);
	free(*d);
	*d = NULL;
}

void metadisk_quota(struct metadisk *d, uint64_t quota_bytes)
{
	if (quota_bytes < d->quota) /* it may do now what it could not do before */
		d->after = 0;
	d->quota = quota_bytes;
}

void metadisk_stats(const struct metadisk *d, struct metadisk_stats *out)
{
	*out = d->stats;
}

int metadisk_is_none(const uint8_t key[IH_LEN])
{
	static const uint8_t zeros[IH_LEN];

	return memcmp(key, zeros, IH_LEN) == 0;
}

uint64_t metadisk_size(const struct stat *st)
{
	uint64_t blocks = ((uint64_t)st->st_size + METADISK_BLOCK - 1) / METADISK_BLOCK;

	return blocks * METADISK_BLOCK / (st->st_nlink > 1 ? st->st_nlink : 1);
}

uint64_t metadisk_freed(const struct stat *st)
{
	return st->st_nlink > 1 ? 0 : metadisk_size(st);
}

void metadisk_failed(struct metadisk *d, const char err[ERRLEN])
{
	d->stats.failed++;
	snprintf(d->stats.err, sizeof d->stats.err, "%s", err);
}

/* --- directories ------------------------------------------------------------ */

/* Who holds the lock knows that no unfinished file is somebody's. It dies with us. */
static void try_lock(struct metadisk *d, int root)
{
	int fd = d->lock_fd < 0 ? fcntl(root, F_DUPFD_CLOEXEC, 3) : -1;

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		d->lock_fd = fd;
	else if (fd >= 0)
		close(fd);
}

int metadisk_root(struct metadisk *d, int make)
{
	int flags = DIR_FLAGS & ~O_NOFOLLOW; /* the operator may say it by a link */
	int fd = open(d->path, flags);

	if (fd < 0 && errno == ENOENT && make &&
	    (mkdir(d->path, 0700) == 0 || errno == EEXIST))
		fd = open(d->path, flags);
	if (fd >= 0)
		try_lock(d, fd);
	return fd;
}

/* The same again if somebody removed it, being empty, between the two calls. */
static int open_below(int at, const char *name, int make, int *made)
{
	for (int tries = 0; tries < 4; tries++) {
		int fd = openat(at, name, DIR_FLAGS);

		if (fd >= 0 || errno != ENOENT || !make)
			return fd;
		if (mkdirat(at, name, 0700) == 0) {
			++*made;
			(void)fsync(at); /* or the name is lost with the power */
		} else if (errno != EEXIST) {
			return -1;
		}
	}
	return -1;
}

int metadisk_shard(int root, const uint8_t key[IH_LEN], int make, int *made)
{
	char aa[3], bb[3], name[META_NAME_MAX];
	int fd, sub, saved;

	meta_name(aa, bb, name, key, META_JSON);
	fd = open_below(root, aa, make, made);
	if (fd < 0)
		return -1;
	*made = 0; /* only those at the end are counted */
	sub = open_below(fd, bb, make, made);
	saved = errno;
	close(fd);
	errno = saved;
	return sub;
}

ssize_t metadisk_peek(int root, const uint8_t key[IH_LEN], enum meta_kind kind,
		      char head[META_HEAD], struct stat *st)
{
	char aa[3], bb[3], name[META_NAME_MAX], path[META_NAME_MAX + 8];
	ssize_t n = -1;
	int fd, saved;

	meta_name(aa, bb, name, key, kind);
	snprintf(path, sizeof path, "%s/%s/%s", aa, bb, name);
	fd = openat(root, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -1;
	errno = EEXIST; /* something bears the name, and it is no file */
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		n = pread(fd, head, META_HEAD, 0);
	saved = errno;
	close(fd);
	errno = saved;
	return n;
}

/* --- writing ---------------------------------------------------------------- */

struct names {   /* of one file, by one of its keys */
	int dir; /* -1: there is no such key */
	const uint8_t *key;
	char name[META_NAME_MAX], temp[METADISK_TEMP_MAX];
};

static void name_it(const struct metadisk *d, struct names *n, enum meta_kind kind)
{
	char aa[3], bb[3];

	meta_name(aa, bb, n->name, n->key, kind);
	snprintf(n->temp, sizeof n->temp, "%s.%s", n->name, d->token);
}

/* Some file systems have no fsync at all: that is no reason to fail. */
static int sync_fd(int fd)
{
	return fsync(fd) == 0 || errno == EINVAL || errno == ENOSYS ? 0 : -1;
}

static int write_temp(const struct names *n, const char line[META_HEAD], const void *data,
		      size_t len)
{
	int fd, bad, saved;

	if (unlinkat(n->dir, n->temp, 0) != 0 && errno != ENOENT)
		return -1;
	fd = openat(n->dir, n->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
		    0600);
	if (fd < 0)
		return -1;
	bad = file_write_all(fd, line, META_HEAD) != 0 ||
	      file_write_all(fd, data, len) != 0 || sync_fd(fd) != 0;
	saved = errno;
	if (close(fd) != 0 && !bad) {
		saved = errno;
		bad = 1;
	}
	errno = saved;
	return bad ? -1 : 0;
}

/* Not every file system has hard links; there the second name is a second file. */
static int link_temp(const struct names *from, const struct names *to,
		     const char line[META_HEAD], const void *data, size_t len)
{
	(void)unlinkat(to->dir, to->temp, 0);
	if (linkat(from->dir, from->temp, to->dir, to->temp, 0) == 0)
		return 0;
	if (errno == ENOSPC || errno == EROFS || errno == EDQUOT)
		return -1;
	return write_temp(to, line, data, len);
}

/* What bears the name now leaves the sum. A file of somebody else's is left alone. */
static int take_place(struct metadisk *d, int root, const uint8_t key[IH_LEN],
		      enum meta_kind kind)
{
	char head[META_HEAD];
	struct stat st;
	ssize_t len = metadisk_peek(root, key, kind, head, &st);

	if (len < 0 && errno == ENOENT)
		return 0;
	if (len < 0)
		return -1;
	if (!meta_ours(head, (size_t)len)) {
		errno = EEXIST;
		return -1;
	}
	metadisk_count(d, key, -(int64_t)metadisk_freed(&st), -(kind == META_JSON));
	return 0;
}

static int rename_temp(struct metadisk *d, int root, const struct names *n,
		       enum meta_kind kind)
{
	struct stat st;

	if (fstatat(n->dir, n->temp, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    take_place(d, root, n->key, kind) != 0 ||
	    renameat(n->dir, n->temp, n->dir, n->name) != 0)
		return -1;
	metadisk_count(d, n->key, (int64_t)metadisk_size(&st), kind == META_JSON);
	return 0;
}

/* n[1].dir is -1 if there is one key only. */
static int put_kind(struct metadisk *d, int root, struct names n[2],
		    const struct metadisk_item *it, enum meta_kind kind)
{
	struct meta_head h = {.kind = kind, .len = it->len[kind]};
	char line[META_HEAD];
	int two = n[1].dir >= 0, bad, saved;

	memcpy(h.key, it->key, IH_LEN);
	memcpy(h.other, it->other, IH_LEN);
	meta_seal(line, &h, it->data[kind]);
	name_it(d, &n[0], kind);
	bad = write_temp(&n[0], line, it->data[kind], it->len[kind]) != 0;
	if (two && !bad) {
		name_it(d, &n[1], kind);
		bad = link_temp(&n[0], &n[1], line, it->data[kind], it->len[kind]) != 0;
	}
	bad = bad || rename_temp(d, root, &n[0], kind) != 0 ||
	      (two && rename_temp(d, root, &n[1], kind) != 0);
	saved = errno;
	for (int i = 0; bad && i <= two; i++)
		(void)unlinkat(n[i].dir, n[i].temp, 0);
	errno = saved;
	return bad ? -1 : 0;
}

static int put_all(struct metadisk *d, int root, struct names n[2],
		   const struct metadisk_item *it)
{
	for (int i = 0; i < 2; i++) {
		int made = 0;

		if (metadisk_is_none(n[i].key))
			continue;
		n[i].dir = metadisk_shard(root, n[i].key, 1, &made);
		if (n[i].dir < 0)
			return -1;
		if (made)
			metadisk_count(d, n[i].key, METADISK_BLOCK, 0);
	}
	/* The .json last: it is what makes an entry a hit, and it speaks of the other. */
	for (int kind = META_KINDS - 1; kind >= 0; kind--)
		if (it->data[kind] && put_kind(d, root, n, it, (enum meta_kind)kind) != 0)
			return -1;
	for (int i = 0; i < 2; i++)
		if (n[i].dir >= 0)
			(void)fsync(n[i].dir);
	return 0;
}

static uint64_t wanted(const struct metadisk_item *it)
{
	uint64_t sum = 2 * METADISK_BLOCK;

	for (int kind = 0; kind < META_KINDS; kind++) {
		struct stat st = {.st_size = (off_t)(META_HEAD + it->len[kind])};

		sum += it->data[kind] ? metadisk_size(&st) : 0;
	}
	return sum;
}

enum metadisk_rc metadisk_put(struct metadisk *d, const struct metadisk_item *it,
			      char err[ERRLEN])
{
	struct names n[2] = {{.dir = -1, .key = it->key}, {.dir = -1, .key = it->other}};
	int root, bad;

	for (int kind = 0; kind < META_KINDS; kind++)
		if (it->data[kind] && it->len[kind] > META_BYTES_MAX)
			return err_set(err, "%s: larger than any cached file", d->path),
			       METADISK_FULL;
	if (metadisk_room(d, wanted(it)) != 0)
		return err_set(err, "%s: no room for %" PRIu64 " bytes", d->path,
			       wanted(it)),
		       METADISK_FULL;
	PS_ASSERT(memcmp(it->key, it->other, IH_LEN) != 0);
	root = metadisk_root(d, 1);
	bad = root < 0 || put_all(d, root, n, it) != 0;
	if (bad) {
		err_errno(err, "%s", d->path);
		metadisk_failed(d, err);
	}
	for (int i = 0; i < 2; i++)
		if (n[i].dir >= 0)
			close(n[i].dir);
	if (root >= 0)
		close(root);
	return bad ? METADISK_FAILED : METADISK_OK;
}

/* --- mending ---------------------------------------------------------------- */

/* Only what begins like ours: another program's file is no damaged one of ours. */
static int is_ours(int root, const uint8_t key[IH_LEN], enum meta_kind kind)
{
	char head[META_HEAD];
	struct stat st;
	ssize_t n = metadisk_peek(root, key, kind, head, &st);

	return n >= 0 && meta_ours(head, (size_t)n);
}

unsigned metadisk_mend(struct metadisk *d, const uint8_t key[IH_LEN])
{
	int root = metadisk_root(d, 0);
	char err[ERRLEN] = "";
	struct meta_file f;
	unsigned n = 0;

	for (int k = 0; root >= 0 && k < META_KINDS; k++) {
		enum meta_kind kind = (enum meta_kind)k;
		enum meta_rc rc = meta_open(&f, d->path, key, kind, 0, err);

		if (rc == META_OK)
			rc = meta_verify(&f, 0, err);
		meta_close(&f);
		if (rc == META_FAIL)
			metadisk_failed(d, err);
		if (rc == META_BAD && is_ours(root, key, kind) &&
		    metadisk_unlink(d, root, key, kind) == 0)
			n++;
	}
	if (root >= 0)
		close(root);
	d->stats.bad += n;
	return n;
}

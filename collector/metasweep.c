/* metasweep.c -- see metadisk.h: walking through the cache, and removing what is oldest. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "collector/metadisk_int.h"

#define SHARDS 65536u
#define NAMES_MAX 1024 /* read of one directory of directories */

static unsigned shard_of(const uint8_t key[IH_LEN])
{
	return (unsigned)key[0] << 8 | key[1];
}

static void set_there(struct metadisk_sweep *s, unsigned i)
{
	s->there[i / 8] = (uint8_t)(s->there[i / 8] | 1u << i % 8);
}

static void add(uint64_t *sum, int64_t n)
{
	*sum = n < 0 && *sum < (uint64_t)-n ? 0 : *sum + (uint64_t)n;
}

/* Where a sweep still has to come, it will find what is done now by itself. */
void metadisk_count(struct metadisk *d, const uint8_t key[IH_LEN], int64_t bytes,
		    int64_t entries)
{
	add(&d->stats.bytes, bytes);
	add(&d->stats.entries, entries);
	if (d->sweep.active && shard_of(key) < d->sweep.at) {
		add(&d->sweep.bytes, bytes);
		add(&d->sweep.entries, entries);
	} else if (key[0] == d->sweep.at >> 8) {
		set_there(&d->sweep, key[1]);
	}
}

/* --- the oldest so far -------------------------------------------------------- */

static void swap(struct metadisk_old *a, struct metadisk_old *b)
{
	struct metadisk_old t = *a;

	*a = *b;
	*b = t;
}

static void sink(struct metadisk_old *h, unsigned n)
{
	for (unsigned i = 0, big;; i = big) {
		unsigned left = 2 * i + 1;

		big = left < n && h[left].used_s > h[i].used_s ? left : i;
		if (left + 1 < n && h[left + 1].used_s > h[big].used_s)
			big = left + 1;
		if (big == i)
			return;
		swap(&h[i], &h[big]);
	}
}

static void remember(struct metadisk_sweep *s, const uint8_t key[IH_LEN], int64_t used_s)
{
	struct metadisk_old e = {.used_s = used_s};
	unsigned i = s->nold;

	memcpy(e.key, key, IH_LEN);
	if (i == METADISK_OLD) {
		if (used_s < s->old[0].used_s) {
			s->old[0] = e;
			sink(s->old, i);
		}
		return;
	}
	s->old[s->nold++] = e;
	for (; i > 0 && s->old[(i - 1) / 2].used_s < s->old[i].used_s; i = (i - 1) / 2)
		swap(&s->old[i], &s->old[(i - 1) / 2]);
}

/* --- names -------------------------------------------------------------------- */

/* Key and kind of a name, and where it ends (0: not one of ours). */
static size_t parse_name(const char *name, uint8_t key[IH_LEN], enum meta_kind *kind)
{
	char aa[3], bb[3], again[META_NAME_MAX];
	size_t len;

	if (strlen(name) < 2 * IH_LEN + 5)
		return 0;
	for (int i = 0; i < IH_LEN; i++) {
		unsigned byte;

		if (sscanf(name + 2 * i, "%2x", &byte) != 1)
			return 0;
		key[i] = (uint8_t)byte;
	}
	*kind = name[2 * IH_LEN + 1] == 't' ? META_TORRENT : META_JSON;
	meta_name(aa, bb, again, key, *kind);
	len = strlen(again);
	return strncmp(name, again, len) == 0 ? len : 0;
}

/* ".0123456789abcdef" behind a name: unfinished. */
static int is_token(const char *s)
{
	return *s == '.' && strspn(s + 1, "0123456789abcdef") == METADISK_TOKEN &&
	       s[1 + METADISK_TOKEN] == '\0';
}

/* --- one directory ------------------------------------------------------------ */

static void leftover(struct metadisk *d, int dir, const char *name, const struct stat *st)
{
	if (d->lock_fd < 0 && time(NULL) - st->st_mtime < METADISK_LEFT_S) {
		d->sweep.bytes += metadisk_size(st); /* another daemon is at it */
		return;
	}
	if (unlinkat(dir, name, 0) == 0)
		d->stats.leftovers++;
	else
		d->sweep.bytes += metadisk_size(st);
}

static int64_t used_s(const struct stat *st)
{
	return st->st_atime > st->st_mtime ? st->st_atime : st->st_mtime;
}

/* Both files of an entry are as old as the younger of them. */
static void found(struct metadisk *d, int dir, const uint8_t key[IH_LEN],
		  enum meta_kind kind, const struct stat *st)
{
	enum meta_kind twin_kind = kind == META_JSON ? META_TORRENT : META_JSON;
	char aa[3], bb[3], name[META_NAME_MAX];
	struct stat twin;
	int64_t used = used_s(st);
	int has_twin;

	meta_name(aa, bb, name, key, twin_kind);
	has_twin = fstatat(dir, name, &twin, AT_SYMLINK_NOFOLLOW) == 0;
	d->sweep.bytes += metadisk_size(st);
	d->sweep.entries += kind == META_JSON;
	if (kind == META_TORRENT && has_twin)
		return; /* remembered with its .json */
	if (has_twin && used_s(&twin) > used)
		used = used_s(&twin);
	remember(&d->sweep, key, used);
}

static void look_at(struct metadisk *d, int dir, const char *name)
{
	uint8_t key[IH_LEN];
	enum meta_kind kind;
	struct stat st;
	size_t end = parse_name(name, key, &kind);

	if (end == 0 || (name[end] != '\0' && !is_token(name + end)) ||
	    shard_of(key) + 1 != d->sweep.at)
		return;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
		return;
	if (name[end] != '\0')
		leftover(d, dir, name, &st);
	else
		found(d, dir, key, kind, &st);
}

/* --- removing ----------------------------------------------------------------- */

int metadisk_unlink(struct metadisk *d, int root, const uint8_t key[IH_LEN],
		    enum meta_kind kind)
{
	char aa[3], bb[3], name[META_NAME_MAX], sub[8];
	int made = 0, dir = metadisk_shard(root, key, 0, &made), bad;
	struct stat st;

	if (dir < 0)
		return -1;
	meta_name(aa, bb, name, key, kind);
	bad = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	      unlinkat(dir, name, 0) != 0;
	if (!bad)
		metadisk_count(d, key, -(int64_t)metadisk_freed(&st),
			       -(kind == META_JSON));
	close(dir);
	snprintf(sub, sizeof sub, "%s/%s", aa, bb);
	if (!bad && unlinkat(root, sub, AT_REMOVEDIR) == 0)
		metadisk_count(d, key, -(int64_t)METADISK_BLOCK, 0);
	return bad ? -1 : 0;
}

/* One kind of an entry, by both of its names. Was there something to remove? */
static int evict_kind(struct metadisk *d, int root, const uint8_t key[IH_LEN],
		      enum meta_kind kind)
{
	char head[META_HEAD], twin[META_HEAD], err[ERRLEN] = "";
	const uint8_t *other;
	struct meta_head h;
	struct stat st;
	ssize_t n = metadisk_peek(root, key, kind, head, &st);

	if (n < 0)
		return 0;
	if (!meta_ours(head,
		       (size_t)n)) { /* somebody else's: it is not our sum's either */
		metadisk_count(d, key, -(int64_t)metadisk_size(&st),
			       -(kind == META_JSON));
		return 0;
	}
	if (metadisk_unlink(d, root, key, kind) != 0) {
		err_errno(err, "%s: removing a file", d->path);
		metadisk_failed(d, err);
		return 0;
	}
	if (n != META_HEAD || meta_head_parse(&h, head) != 0)
		return 1;
	other = memcmp(h.key, key, IH_LEN) == 0 ? h.other : h.key;
	if (!metadisk_is_none(other) &&
	    metadisk_peek(root, other, kind, twin, &st) == META_HEAD &&
	    memcmp(twin, head, META_HEAD) == 0)
		(void)metadisk_unlink(d, root, other, kind);
	return 1;
}

/* Unless it was wanted meanwhile. The .json first: without it there is no entry. */
static void evict(struct metadisk *d, int root, const struct metadisk_old *o)
{
	int gone = 0;

	for (int k = 0; k < META_KINDS; k++) {
		char head[META_HEAD];
		struct stat st;

		if (metadisk_peek(root, o->key, (enum meta_kind)k, head, &st) >= 0 &&
		    used_s(&st) > o->used_s)
			return;
	}
	for (int k = 0; k < META_KINDS; k++)
		gone |= evict_kind(d, root, o->key, (enum meta_kind)k);
	d->stats.evicted += (uint64_t)gone;
}

static int by_age(const void *a, const void *b)
{
	int64_t x = ((const struct metadisk_old *)a)->used_s;
	int64_t y = ((const struct metadisk_old *)b)->used_s;

	return (x > y) - (x < y);
}

static void evict_to(struct metadisk *d, uint64_t goal)
{
	struct metadisk_sweep *s = &d->sweep;
	int root = d->stats.bytes > goal ? metadisk_root(d, 0) : -1;

	if (root < 0)
		return;
	qsort(s->old, s->nold, sizeof s->old[0], by_age);
	for (unsigned i = 0; i < s->nold && d->stats.bytes > goal; i++)
		evict(d, root, &s->old[i]);
	close(root);
}

/* --- the sweep ------------------------------------------------------------------ */

void metadisk_begin(struct metadisk *d)
{
	struct metadisk_sweep *s = &d->sweep;

	if (s->active)
		return;
	s->active = 1;
	s->at = s->nold = 0;
	s->bytes = s->entries = 0;
}

static void end(struct metadisk *d, uint64_t goal)
{
	struct metadisk_sweep *s = &d->sweep;
	uint64_t evicted = d->stats.evicted;

	s->active = 0;
	d->stats.known = 1;
	d->stats.bytes = s->bytes;
	d->stats.entries = s->entries;
	evict_to(d, goal);
	/* One that could not remove enough is repeated if it removed anything; else only
	 * when more has come. */
	evicted = d->stats.evicted - evicted;
	d->after = evicted > 0 && d->stats.bytes > goal ? 0 : d->stats.bytes;
}

/* Which directories there are below root/aa. Where somebody else has put thousands of names
 * they are not all read: each directory is tried then. */
static void read_there(struct metadisk_sweep *s, int root, unsigned aa)
{
	char name[3];
	unsigned left = NAMES_MAX;
	struct dirent *e;
	DIR *dir;
	int fd;

	memset(s->there, 0, sizeof s->there);
	snprintf(name, sizeof name, "%02x", aa);
	fd = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir && fd >= 0)
		close(fd);
	if (!dir)
		return;
	while (left > 0 && (e = readdir(dir)) != NULL) {
		unsigned bb;

		left--;
		if (strlen(e->d_name) == 2 && sscanf(e->d_name, "%2x", &bb) == 1)
			set_there(s, bb);
	}
	closedir(dir);
	if (left == 0)
		memset(s->there, 0xff, sizeof s->there);
}

/* On to the next directory that is there; at most 256 are passed over. */
static void next_dir(struct metadisk *d, int root)
{
	struct metadisk_sweep *s = &d->sweep;

	do {
		uint8_t key[IH_LEN] = {(uint8_t)(s->at >> 8), (uint8_t)s->at};
		int made = 0, fd = -1;

		if (key[1] == 0)
			read_there(s, root, key[0]);
		s->at++;
		if (s->there[key[1] / 8] & 1u << key[1] % 8)
			fd = metadisk_shard(root, key, 0, &made);
		if (fd >= 0 && (s->dir = fdopendir(fd)) == NULL)
			close(fd);
		s->bytes += s->dir ? METADISK_BLOCK : 0;
	} while (!s->dir && s->at % 256 != 0);
}

/* At most METADISK_SLICE names and directories. The last slice removes, down to goal. */
static void slice(struct metadisk *d, uint64_t goal)
{
	struct metadisk_sweep *s = &d->sweep;
	int root = metadisk_root(d, 0);

	if (root <
	    0) { /* nothing there, or not for us: what can't be seen counts nothing */
		s->at = SHARDS;
		end(d, goal);
		return;
	}
	for (int left = METADISK_SLICE; left > 0 && (s->dir || s->at < SHARDS); left--) {
		struct dirent *e;

		if (!s->dir) {
			next_dir(d, root);
			continue;
		}
		e = readdir(s->dir);
		if (e) {
			look_at(d, dirfd(s->dir), e->d_name);
		} else {
			closedir(s->dir);
			s->dir = NULL;
		}
	}
	close(root);
	if (!s->dir && s->at >= SHARDS)
		end(d, goal);
}

static uint64_t low(const struct metadisk *d)
{
	return d->quota - d->quota / 8;
}

static int due(const struct metadisk *d)
{
	uint64_t high = d->quota - d->quota / 16;

	return d->sweep.active ||
	       (d->stats.bytes > high && d->stats.bytes > d->after + d->quota / 64);
}

int metadisk_step(struct metadisk *d)
{
	if (due(d)) {
		metadisk_begin(d);
		slice(d, low(d));
	}
	return due(d);
}

int metadisk_room(struct metadisk *d, uint64_t bytes)
{
	uint64_t goal;

	if (bytes > d->quota)
		return -1;
	if (!d->stats.known) /* the first sweep will say, and remove */
		return 0;
	goal = d->quota - bytes < low(d) ? d->quota - bytes : low(d);
	for (int passes = 0; passes < 64 && d->stats.bytes + bytes > d->quota; passes++) {
		uint64_t before = d->stats.evicted;

		metadisk_begin(d);
		while (d->sweep.active)
			slice(d, goal);
		if (d->stats.evicted == before)
			break;
	}
	return d->stats.bytes + bytes <= d->quota ? 0 : -1;
}

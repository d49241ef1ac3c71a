/* metafile.c -- see metafile.h. */
#include "common/metafile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "peerscope-meta 1 "
#define MAGIC_LEN (sizeof MAGIC - 1)
#define DIGEST_AT (META_HEAD - 1 - 2 * META_DIGEST) /* column of the digest */
#define PATH_LEN 4096

_Static_assert(META_HEAD == MAGIC_LEN + 7 + 1 + 40 + 1 + 40 + 1 + 12 + 1 + 32 + 1,
	       "the line is as long as its fields");
_Static_assert(sizeof(crypto_generichash_state) <= sizeof(((struct meta_file *)0)->state),
	       "room for the state of the digest");

const char *meta_kind_name(enum meta_kind kind)
{
	return kind == META_TORRENT ? "torrent" : "json";
}

int meta_dir(char *out, size_t size, const char *cache_dir, const char *run_dir,
	     int which)
{
	int n;

	if (which == 0 && cache_dir[0])
		n = snprintf(out, size, "%s", cache_dir);
	else if (run_dir[0] && which == (cache_dir[0] != '\0'))
		n = snprintf(out, size, "%s/" META_DIR, run_dir);
	else
		return -1;
	return n > 0 && (size_t)n < size ? 0 : -1;
}

void meta_name(char aa[3], char bb[3], char name[META_NAME_MAX],
	       const uint8_t key[IH_LEN], enum meta_kind kind)
{
	char hex[IH_HEX_LEN];

	ih_hex(hex, key);
	snprintf(aa, 3, "%.2s", hex);
	snprintf(bb, 3, "%.2s", hex + 2);
	snprintf(name, META_NAME_MAX, "%s.%s", hex, meta_kind_name(kind));
}

static void render(char out[META_HEAD], const struct meta_head *h)
{
	char key[IH_HEX_LEN], other[IH_HEX_LEN], digest[2 * META_DIGEST + 1];
	char line[META_HEAD + 1];

	ih_hex(key, h->key);
	ih_hex(other, h->other);
	sodium_bin2hex(digest, sizeof digest, h->digest, META_DIGEST);
	snprintf(line, sizeof line, MAGIC "%-7s %s %s %012" PRIu64 " %s\n",
		 meta_kind_name(h->kind), key, other, h->len, digest);
	memcpy(out, line, META_HEAD);
}

static void digest_begin(crypto_generichash_state *st, const char line[META_HEAD])
{
	(void)crypto_generichash_init(st, NULL, 0, META_DIGEST);
	(void)crypto_generichash_update(st, (const uint8_t *)line, DIGEST_AT);
}

void meta_seal(char out[META_HEAD], struct meta_head *h, const void *data)
{
	crypto_generichash_state st;

	PS_ASSERT(h->len <= META_BYTES_MAX);
	memset(h->digest, 0, META_DIGEST);
	render(out, h);
	digest_begin(&st, out);
	(void)crypto_generichash_update(&st, data, h->len);
	(void)crypto_generichash_final(&st, h->digest, META_DIGEST);
	render(out, h);
}

static int unhex(uint8_t *out, size_t len, const char *s)
{
	size_t got = 0;

	return sodium_hex2bin(out, len, s, 2 * len, NULL, &got, NULL) == 0 && got == len
		       ? 0
		       : -1;
}

/* Fields by their columns; whatever they say, the line must be the one that we would
 * write for it. */
int meta_head_parse(struct meta_head *h, const char line[META_HEAD])
{
	const char *p = line + MAGIC_LEN;
	char again[META_HEAD];

	memset(h, 0, sizeof(*h));
	h->kind = *p == 't' ? META_TORRENT : META_JSON;
	p += 8;
	if (unhex(h->key, IH_LEN, p) != 0 || unhex(h->other, IH_LEN, p + 41) != 0)
		return -1;
	p += 82;
	for (int i = 0; i < 12; i++) {
		if (p[i] < '0' || p[i] > '9')
			return -1;
		h->len = h->len * 10 + (uint64_t)(p[i] - '0');
	}
	if (h->len > META_BYTES_MAX || unhex(h->digest, META_DIGEST, p + 13) != 0)
		return -1;
	render(again, h);
	return memcmp(again, line, META_HEAD) == 0 ? 0 : -1;
}

int meta_ours(const char *p, size_t len)
{
	size_t same = 0, zeros = 0, n = len < MAGIC_LEN ? len : MAGIC_LEN;

	for (size_t i = 0; i < n; i++) {
		same += p[i] == MAGIC[i];
		zeros += p[i] == '\0';
	}
	return zeros == n || (n == MAGIC_LEN && same + 4 >= n) || same == n;
}

static int open_path(char path[PATH_LEN], const char *dir, const uint8_t key[IH_LEN],
		     enum meta_kind kind)
{
	char aa[3], bb[3], name[META_NAME_MAX];

	meta_name(aa, bb, name, key, kind);
	if (snprintf(path, PATH_LEN, "%s/%s/%s/%s", dir, aa, bb, name) >= PATH_LEN) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

/* One that is not ours to date, or lies on a read-only disk, keeps its time. */
static void touch_file(int fd, const struct stat *st)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_NOW},
					  {.tv_nsec = UTIME_OMIT}};

	if (time(NULL) - st->st_atime >= META_TOUCH_S)
		(void)futimens(fd, times);
}

static enum meta_rc read_head(struct meta_file *f, const uint8_t key[IH_LEN],
			      enum meta_kind kind, struct stat *st)
{
	char line[META_HEAD];
	ssize_t n;

	if (fstat(f->fd, st) != 0)
		return META_FAIL;
	if (!S_ISREG(st->st_mode))
		return META_BAD;
	n = pread(f->fd, line, sizeof line, 0);
	if (n < 0)
		return META_FAIL;
	if (n != META_HEAD || meta_head_parse(&f->h, line) != 0 || f->h.kind != kind ||
	    st->st_size != (off_t)(META_HEAD + f->h.len) ||
	    (memcmp(f->h.key, key, IH_LEN) != 0 && memcmp(f->h.other, key, IH_LEN) != 0))
		return META_BAD;
	f->dev = st->st_dev;
	f->ino = st->st_ino;
	f->mtime = st->st_mtim;
	return META_OK;
}

enum meta_rc meta_open(struct meta_file *f, const char *dir, const uint8_t key[IH_LEN],
		       enum meta_kind kind, int touch, char err[ERRLEN])
{
	char path[PATH_LEN];
	enum meta_rc rc;
	struct stat st;

	memset(f, 0, sizeof(*f));
	f->fd = open_path(path, dir, key, kind);
	if (f->fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return META_MISS;
	if (f->fd < 0) /* ELOOP: a symbolic link is nothing of ours */
		return errno == ELOOP ? META_MISS
				      : (err_errno(err, "%s", path), META_FAIL);
	rc = read_head(f, key, kind, &st);
	if (rc == META_FAIL)
		err_errno(err, "%s", path);
	if (rc != META_OK)
		meta_close(f);
	else if (touch)
		touch_file(f->fd, &st);
	return rc;
}

enum meta_rc meta_verify(struct meta_file *f, uint64_t max, char err[ERRLEN])
{
	crypto_generichash_state *st = (crypto_generichash_state *)(void *)f->state;
	uint8_t chunk[32 << 10], digest[META_DIGEST];
	char line[META_HEAD];
	uint64_t end = max == 0 || max > f->h.len - f->done ? f->h.len : f->done + max;

	PS_ASSERT((uintptr_t)st % _Alignof(struct meta_file) == 0);
	if (f->done == 0) {
		render(line, &f->h);
		digest_begin(st, line);
	}
	while (f->done < end) {
		uint64_t left = end - f->done;
		ssize_t n = pread(f->fd, chunk, left < sizeof chunk ? left : sizeof chunk,
				  (off_t)(META_HEAD + f->done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "reading cached metadata"), META_FAIL;
		if (n == 0)
			return META_BAD;
		(void)crypto_generichash_update(st, chunk, (size_t)n);
		f->done += (uint64_t)n;
	}
	if (f->done < f->h.len)
		return META_MORE;
	(void)crypto_generichash_final(st, digest, META_DIGEST);
	f->done = 0; /* asked again, it reads again */
	return memcmp(digest, f->h.digest, META_DIGEST) == 0 ? META_OK : META_BAD;
}

void meta_close(struct meta_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

static size_t seen_at(const struct meta_file *f)
{
	return (f->h.digest[0] | (size_t)f->h.digest[1] << 8) % META_SEEN;
}

int meta_seen(const struct meta_seen *s, const struct meta_file *f)
{
	size_t i = seen_at(f);

	return memcmp(s->e[i].digest, f->h.digest, META_DIGEST) == 0 &&
	       s->e[i].dev == f->dev && s->e[i].ino == f->ino &&
	       s->e[i].mtime.tv_sec == f->mtime.tv_sec &&
	       s->e[i].mtime.tv_nsec == f->mtime.tv_nsec;
}

void meta_saw(struct meta_seen *s, const struct meta_file *f)
{
	size_t i = seen_at(f);

	memcpy(s->e[i].digest, f->h.digest, META_DIGEST);
	s->e[i].dev = f->dev;
	s->e[i].ino = f->ino;
	s->e[i].mtime = f->mtime;
}

/* file.c -- see file.h. */
#include "geo/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <maxminddb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/file.h"
#include "geo/layout.h"
#include "geo/walk.h"

/* Five times the largest that is sold: what is longer is something else. */
#define FILE_MAX_BYTES (2ll << 30)
#define COPY_STEP (128u << 10)
/* All of 63 MB takes two seconds; after this long records are walked, but few looked up. */
#define VERIFY_MS 60000
#define VERIFY_SAMPLES 1024

struct geo_file {
	MMDB_s db;
	struct layout layout;
	int in_memory;
};

static enum file_rc failed(enum file_rc rc, const char *why, char err[ERRLEN])
{
	(void)err_set(err, "%s", why);
	return rc;
}

/* --- which one is it -------------------------------------------------------- */

static void id_of(struct file_id *out, const struct stat *st)
{
	memset(out, 0, sizeof(*out));
	out->dev = st->st_dev;
	out->ino = st->st_ino;
	out->size = st->st_size;
	out->mtime = st->st_mtim;
	out->ctime = st->st_ctim;
}

int file_look(const char *path, struct file_id *out, char err[ERRLEN])
{
	struct stat st;

	if (stat(path, &st) != 0)
		return err_set(err, "%s", strerror(errno));
	if (!S_ISREG(st.st_mode)) /* opening a FIFO would wait for its writer */
		return err_set(err, "not a regular file");
	id_of(out, &st);
	return 0;
}

static int same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

int file_same_inode(const struct file_id *a, const struct file_id *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

int file_same(const struct file_id *a, const struct file_id *b)
{
	return file_same_inode(a, b) && a->size == b->size &&
	       same_time(a->mtime, b->mtime) && same_time(a->ctime, b->ctime);
}

/* --- the copy --------------------------------------------------------------- */

/* An unnamed file there, if "there" is a disk; -1: not. */
static int unnamed_in(const char *dir)
{
	char name[4096];
	struct statfs fs;
	int fd;

	if (dir[0] != '/' || strlen(dir) > sizeof(name) - 32 || statfs(dir, &fs) != 0 ||
	    fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC)
		return -1;
	fd = open(dir, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd;
	snprintf(name, sizeof(name), "%s/peerscope-geo-XXXXXX", dir);
	fd = mkostemp(name, O_CLOEXEC);
	if (fd >= 0)
		unlink(name);
	return fd;
}

enum copied { COPIED, COPY_NO_ROOM, COPY_CHANGED, COPY_UNREADABLE };

static enum copied copy_failed(enum copied how, const char *why, char err[ERRLEN])
{
	(void)err_set(err, "%s", why);
	return how;
}

static enum copied copy_to(int to, int from, const struct file_id *id, char *step,
			   const atomic_int *stop, char err[ERRLEN])
{
	struct file_id after;
	struct stat st;
	off_t at = 0;

	while (at < id->size) {
		ssize_t n = pread(from, step, COPY_STEP, at);

		if (stop && atomic_load(stop))
			return copy_failed(COPY_CHANGED, walk_word(WALK_STOPPED), err);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return copy_failed(COPY_UNREADABLE, strerror(errno), err);
		if (n == 0)
			break;
		if (file_write_all(to, step, (size_t)n) != 0)
			return copy_failed(COPY_NO_ROOM, strerror(errno), err);
		at += n;
	}
	if (fstat(from, &st) != 0)
		return copy_failed(COPY_UNREADABLE, strerror(errno), err);
	id_of(&after, &st);
	/* A rename or a chmod moves ctime only: the bytes are the same. */
	if (at != id->size || after.size != id->size ||
	    !same_time(after.mtime, id->mtime))
		return copy_failed(COPY_CHANGED, "it changed while it was read", err);
	return COPIED;
}

static int seal(int fd)
{
	return fcntl(fd, F_ADD_SEALS,
		     F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

/* Where a copy may lie, the best place first; NULL: in memory, the last one. 0: no more. */
static int place_of_copy(int i, const char **dir)
{
	const char *own = getenv("TMPDIR");
	const char *const dirs[] = {own ? own : "/var/tmp", own ? NULL : "/tmp", NULL};

	if (i > 0 && !dirs[i - 1])
		return 0;
	*dir = dirs[i];
	return 1;
}

/* A copy that nobody else can write to, in *fd. */
static enum copied copy_of(int from, const struct file_id *id, int *fd, int *in_memory,
			   const atomic_int *stop, char err[ERRLEN])
{
	enum copied rc = COPY_NO_ROOM;
	char why[ERRLEN] = "out of memory";
	char *step = malloc(COPY_STEP);
	const char *dir;

	for (int i = 0; step && rc == COPY_NO_ROOM && place_of_copy(i, &dir); i++) {
		*in_memory = !dir;
		*fd = dir ? unnamed_in(dir)
			  : memfd_create("peerscope-geo",
					 MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (*fd < 0) {
			(void)err_set(why, "%s", strerror(errno));
			continue;
		}
		rc = copy_to(*fd, from, id, step, stop, why);
		if (rc == COPIED && *in_memory && seal(*fd) != 0)
			rc = copy_failed(COPY_NO_ROOM, strerror(errno), why);
		if (rc != COPIED)
			close(*fd);
	}
	free(step);
	(void)err_set(err, "%s%s", rc == COPY_NO_ROOM ? "no room for a copy of it: " : "",
		      why);
	return rc;
}

/* --- verifying -------------------------------------------------------------- */

struct verify {
	const MMDB_s *db;
	const struct layout *layout;
	struct walk walk;
	uint64_t seen; /* rows that led somewhere */
	uint64_t
		*visited; /* a bit for each byte of the data section: records that were */
	uint64_t bits;
	int look_up; /* not only walk */
};

/* Records are shared by many nodes: each is looked at once. */
static enum walk_rc verify_entry(struct verify *v, MMDB_entry_s *e, uint8_t type)
{
	enum walk_rc rc;
	uint64_t bit;

	if (type == MMDB_RECORD_TYPE_INVALID)
		return WALK_DAMAGED;
	if (type != MMDB_RECORD_TYPE_DATA)
		return WALK_OK;
	if (e->offset >= v->bits)
		return WALK_DAMAGED;
	bit = 1ull << (e->offset & 63);
	if (v->visited[e->offset / 64] & bit)
		return WALK_OK;
	v->visited[e->offset / 64] |= bit;
	rc = walk_value(&v->walk, e->offset);
	if (rc == WALK_OK && v->look_up && layout_probe(v->layout, e, &v->seen) != 0)
		return WALK_DAMAGED;
	return rc;
}

static enum walk_rc verify_node(struct verify *v, uint32_t i)
{
	MMDB_search_node_s node;
	enum walk_rc rc;

	if (MMDB_read_node(v->db, i, &node) != MMDB_SUCCESS)
		return WALK_DAMAGED;
	rc = verify_entry(v, &node.left_record_entry, node.left_record_type);
	if (rc != WALK_OK)
		return rc;
	return verify_entry(v, &node.right_record_entry, node.right_record_type);
}

/* *sampled: time was over, so that only samples of the rest were looked up. */
static enum walk_rc verify_nodes(struct verify *v, int *sampled)
{
	uint32_t n = v->db->metadata.node_count, step = 1;
	uint64_t until = clock_ms() + VERIFY_MS;
	enum walk_rc rc = WALK_OK;

	for (uint32_t i = 0; i < n && rc == WALK_OK; i++) {
		v->look_up = i % step == 0;
		rc = verify_node(v, i);
		if (i % 1024 != 0)
			continue;
		if (v->walk.stop && atomic_load(v->walk.stop))
			return WALK_STOPPED;
		if (step == 1 && clock_ms() > until)
			step = (n - i) / VERIFY_SAMPLES + 2;
	}
	*sampled = step > 1;
	return rc;
}

/* A bit for each byte; *a is NULL if there is no memory for both. */
static void make_bits(uint64_t bits, uint64_t **a, uint64_t **b)
{
	*a = calloc(bits / 64 + 1, sizeof(**a));
	*b = *a ? calloc(bits / 64 + 1, sizeof(**b)) : NULL;
	if (*b)
		return;
	free(*a);
	*a = NULL;
}

/* Every node and every record of the file, so that no lookup meets a damaged one. */
static enum file_rc verify(struct geo_file *f, const atomic_int *stop, char err[ERRLEN])
{
	struct verify v = {.db = &f->db, .layout = &f->layout};
	int sampled = 0;
	enum walk_rc rc;
	uint64_t *met;

	v.bits = f->db.data_section_size;
	make_bits(v.bits, &v.visited, &met);
	if (!v.visited)
		return failed(FILE_LATER, "out of memory", err);
	walk_begin(&v.walk, f->db.data_section, v.bits, met, stop);
	rc = verify_nodes(&v, &sampled);
	free(v.visited);
	free(met);
	if (rc != WALK_OK)
		return failed(FILE_BAD, walk_word(rc), err);
	if (!sampled)
		layout_keep(&f->layout, f->layout.rows & v.seen);
	if (v.seen == 0) {
		(void)err_set(err, "it holds no places: %.*s",
			      (int)strnlen(f->db.metadata.database_type, 60),
			      f->db.metadata.database_type);
		return FILE_BAD;
	}
	/* What was touched need not stay in our memory; failing is fine. */
	(void)madvise((void *)(uintptr_t)f->db.file_content, (size_t)f->db.file_size,
		      MADV_DONTNEED);
	return FILE_OK;
}

/* --- open, close -------------------------------------------------------------- */

/* Its metadata is as it should be, or there is none: MMDB_open says so. */
static enum file_rc walk_end(int fd, char err[ERRLEN])
{
	off_t size = lseek(fd, 0, SEEK_END);
	off_t from = size > WALK_META_BYTES ? size - (off_t)WALK_META_BYTES : 0;
	uint8_t *tail = malloc(WALK_META_BYTES);
	enum file_rc rc = FILE_OK;
	enum walk_rc shape;

	if (!tail)
		return failed(FILE_LATER, "out of memory", err);
	if (size < 0 || pread(fd, tail, (size_t)(size - from), from) != size - from)
		rc = failed(FILE_LATER, "our copy can't be read", err);
	else if ((shape = walk_meta(tail, (size_t)(size - from))) != WALK_OK)
		rc = failed(FILE_BAD, walk_word(shape), err);
	free(tail);
	return rc;
}

/* Of our own copy, so what the system refuses is a want of something. */
static enum file_rc open_mmdb(struct geo_file *f, int fd, char err[ERRLEN])
{
	char name[32];
	int rc;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	rc = MMDB_open(name, MMDB_MODE_MMAP, &f->db);
	switch (rc) {
	case MMDB_SUCCESS: return FILE_OK;
	case MMDB_IO_ERROR:
	case MMDB_FILE_OPEN_ERROR: return failed(FILE_LATER, strerror(errno), err);
	case MMDB_OUT_OF_MEMORY_ERROR: return failed(FILE_LATER, MMDB_strerror(rc), err);
	default: return failed(FILE_BAD, MMDB_strerror(rc), err);
	}
}

/* Takes fd. */
static enum file_rc open_copy(struct geo_file *f, int fd, const atomic_int *stop,
			      char err[ERRLEN])
{
	enum file_rc rc = walk_end(fd, err);
	const char *type;

	if (rc == FILE_OK)
		rc = open_mmdb(f, fd, err);
	close(fd);
	if (rc != FILE_OK)
		return rc;
	type = f->db.metadata.database_type;
	layout_of_type(&f->layout, type, strlen(type));
	rc = verify(f, stop, err);
	if (rc != FILE_OK)
		MMDB_close(&f->db);
	return rc;
}

/* Who may not read it may not tomorrow; what the system is short of it may have then. */
static enum file_rc cant_open(int why, char err[ERRLEN])
{
	switch (why) {
	case ENOENT:
	case ENOTDIR: return failed(FILE_MISSING, strerror(why), err);
	case EACCES:
	case EPERM:
	case ELOOP:
	case ENAMETOOLONG: return failed(FILE_BAD, strerror(why), err);
	default: return failed(FILE_LATER, strerror(why), err);
	}
}

static enum file_rc open_source(int *fd, const char *path, struct file_id *id,
				char err[ERRLEN])
{
	struct stat st;

	/* A FIFO that came between: opened without waiting, refused below. */
	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0)
		return cant_open(errno, err);
	if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(*fd);
		return failed(FILE_BAD, "not a regular file", err);
	}
	id_of(id, &st);
	if (id->size > 0 && id->size <= FILE_MAX_BYTES)
		return FILE_OK;
	close(*fd);
	return failed(FILE_BAD, id->size == 0 ? "it is empty" : "longer than 2 GB", err);
}

/* The copy of what stands at path, in *fd. */
static enum file_rc copy_source(int *fd, const char *path, struct file_id *id,
				int *in_memory, const atomic_int *stop, char err[ERRLEN])
{
	enum copied how;
	int from;
	enum file_rc rc = open_source(&from, path, id, err);

	if (rc != FILE_OK)
		return rc;
	how = copy_of(from, id, fd, in_memory, stop, err);
	close(from);
	if (how == COPIED)
		return FILE_OK;
	return how == COPY_CHANGED ? FILE_BAD : FILE_LATER;
}

enum file_rc file_open(struct geo_file **out, const char *path, struct file_id *id,
		       const atomic_int *stop, char err[ERRLEN])
{
	struct geo_file *f = calloc(1, sizeof(*f));
	enum file_rc rc;
	int fd;

	if (!f)
		return failed(FILE_LATER, "out of memory", err);
	rc = copy_source(&fd, path, id, &f->in_memory, stop, err);
	if (rc == FILE_OK)
		rc = open_copy(f, fd, stop, err);
	if (rc == FILE_OK)
		*out = f;
	else
		free(f);
	return rc;
}

void file_close(struct geo_file **f)
{
	if (!*f)
		return;
	MMDB_close(&(*f)->db);
	free(*f);
	*f = NULL;
}

void file_info(const struct geo_file *f, struct file_info *out)
{
	const char *type = f->db.metadata.database_type;

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; type[i] && i < sizeof(out->type) - 1; i++)
		out->type[i] = type[i] > 0x20 && type[i] < 0x7f ? type[i] : ' ';
	out->built_s = f->db.metadata.build_epoch;
	out->bytes = (uint64_t)f->db.file_size;
	out->in_memory = f->in_memory;
}

uint64_t file_age_days(const struct file_info *info, uint64_t now_s)
{
	return now_s > info->built_s ? (now_s - info->built_s) / 86400 : 0;
}

int file_lookup(const struct geo_file *f, const uint8_t addr[ADDR_LEN], struct place *p)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	const struct sockaddr *sa = (const void *)&in6;
	MMDB_lookup_result_s found;
	int error = 0;

	memcpy(&in.sin_addr, addr + 12, 4);
	memcpy(&in6.sin6_addr, addr, ADDR_LEN);
	if (addr_is_v4(addr))
		sa = (const void *)&in;
	else if (f->db.metadata.ip_version == 4)
		return 0;
	found = MMDB_lookup_sockaddr(&f->db, sa, &error);
	if (error != MMDB_SUCCESS || !found.found_entry)
		return 0;
	return layout_record(&f->layout, &found.entry, p) > 0;
}

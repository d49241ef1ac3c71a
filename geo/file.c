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
#include "geo/layout.h"

/* Five times the largest that is sold: what is longer is something else. */
#define FILE_MAX_BYTES (2ll << 30)
#define COPY_STEP (128u << 10)
/* A whole walk of 63 MB takes about a second; after this long the rest is sampled. */
#define VERIFY_MS 60000
#define VERIFY_SAMPLES 1024

struct geo_file {
	MMDB_s db;
	struct layout layout;
	int in_memory;
};

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

static int write_whole(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* 0; 1: no room there; -1: it can't be read, or changed meanwhile. */
static int copy_to(int to, int from, const struct file_id *id, char *step,
		   const atomic_int *stop, char err[ERRLEN])
{
	struct file_id after;
	struct stat st;
	off_t at = 0;

	while (at < id->size) {
		ssize_t n = pread(from, step, COPY_STEP, at);

		if (stop && atomic_load(stop))
			return err_set(err, "not read: we are leaving");
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(err, "%s", strerror(errno));
		if (n == 0)
			break;
		if (write_whole(to, step, (size_t)n) != 0)
			return 1;
		at += n;
	}
	if (fstat(from, &st) != 0)
		return err_set(err, "%s", strerror(errno));
	id_of(&after, &st);
	/* A rename or a chmod moves ctime only: the bytes are the same. */
	if (at != id->size || after.size != id->size ||
	    !same_time(after.mtime, id->mtime))
		return err_set(err, "it changed while it was read");
	return 0;
}

static int seal(int fd)
{
	return fcntl(fd, F_ADD_SEALS,
		     F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

/* A descriptor of a copy that nobody else can write to; -1. */
static int copy_of(int from, const struct file_id *id, int *in_memory,
		   const atomic_int *stop, char err[ERRLEN])
{
	const char *own = getenv("TMPDIR");
	const char *const dirs[] = {own ? own : "/var/tmp", own ? own : "/tmp", NULL};
	char *step = malloc(COPY_STEP);
	int fd = -1, rc = 1;

	for (size_t i = own != NULL; step && rc == 1 && i < PS_ARRAY_LEN(dirs); i++) {
		*in_memory = dirs[i] == NULL;
		fd = *in_memory ? memfd_create("peerscope-geo",
					       MFD_CLOEXEC | MFD_ALLOW_SEALING)
				: unnamed_in(dirs[i]);
		if (fd < 0)
			continue;
		rc = copy_to(fd, from, id, step, stop, err);
		if (rc == 0 && *in_memory && seal(fd) != 0)
			rc = err_errno(err, "sealing our copy");
		if (rc != 0)
			close(fd);
	}
	free(step);
	if (rc == 1)
		(void)err_set(err, "no room for a copy of it: %s", strerror(errno));
	return rc == 0 ? fd : -1;
}

/* --- verifying -------------------------------------------------------------- */

struct verify {
	const MMDB_s *db;
	const struct layout *layout;
	uint64_t seen;     /* rows that led somewhere */
	uint64_t *visited; /* a bit for each byte of the data section */
	uint64_t bits;
};

/* Records are shared by many nodes: each is looked at once. */
static int verify_entry(struct verify *v, MMDB_entry_s *e, uint8_t type)
{
	uint64_t bit;

	if (type == MMDB_RECORD_TYPE_INVALID)
		return -1;
	if (type != MMDB_RECORD_TYPE_DATA)
		return 0;
	if (e->offset >= v->bits)
		return -1;
	bit = 1ull << (e->offset & 63);
	if (v->visited[e->offset / 64] & bit)
		return 0;
	v->visited[e->offset / 64] |= bit;
	return layout_probe(v->layout, e, &v->seen);
}

/* 0; 1: time was over, so only samples of the rest were looked at; -1: damaged, -2: stop. */
static int verify_nodes(struct verify *v, const atomic_int *stop)
{
	uint32_t n = v->db->metadata.node_count, step = 1;
	uint64_t until = clock_ms() + VERIFY_MS;
	MMDB_search_node_s node;

	for (uint64_t i = 0; i < n; i += step) {
		if (MMDB_read_node(v->db, (uint32_t)i, &node) != MMDB_SUCCESS ||
		    verify_entry(v, &node.left_record_entry, node.left_record_type) !=
			    0 ||
		    verify_entry(v, &node.right_record_entry, node.right_record_type) !=
			    0)
			return -1;
		if (i % 1024 == 0 && stop && atomic_load(stop))
			return -2;
		if (step == 1 && i % 1024 == 0 && clock_ms() > until)
			step = (uint32_t)((n - i) / VERIFY_SAMPLES + 2);
	}
	return step > 1;
}

/* Every node and every record of the file, so that no lookup meets a damaged one. */
static int verify(struct geo_file *f, const atomic_int *stop, char err[ERRLEN])
{
	struct verify v = {.db = &f->db, .layout = &f->layout};
	int rc;

	v.bits = f->db.data_section_size;
	v.visited = calloc(v.bits / 64 + 1, sizeof(*v.visited));
	if (!v.visited)
		return err_set(err, "out of memory");
	rc = verify_nodes(&v, stop);
	free(v.visited);
	if (rc < 0)
		return err_set(err, rc == -1 ? "damaged" : "not read: we are leaving");
	if (rc == 0)
		layout_keep(&f->layout, f->layout.rows & v.seen);
	if (v.seen == 0)
		return err_set(err, "it holds no places: %.*s",
			       (int)strnlen(f->db.metadata.database_type, 60),
			       f->db.metadata.database_type);
	/* What was touched need not stay in our memory; failing is fine. */
	(void)madvise((void *)(uintptr_t)f->db.file_content, (size_t)f->db.file_size,
		      MADV_DONTNEED);
	return 0;
}

/* --- open, close -------------------------------------------------------------- */

/* Takes fd. */
static int open_copy(struct geo_file *f, int fd, const atomic_int *stop, char err[ERRLEN])
{
	char name[32];
	const char *type;
	int rc;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	rc = MMDB_open(name, MMDB_MODE_MMAP, &f->db);
	if (rc == MMDB_IO_ERROR || rc == MMDB_FILE_OPEN_ERROR)
		(void)err_set(err, "%s: %s", name, strerror(errno));
	else if (rc != MMDB_SUCCESS)
		(void)err_set(err, "%s", MMDB_strerror(rc));
	close(fd);
	if (rc != MMDB_SUCCESS)
		return -1;
	type = f->db.metadata.database_type;
	layout_of_type(&f->layout, type, strlen(type));
	if (verify(f, stop, err) == 0)
		return 0;
	MMDB_close(&f->db);
	return -1;
}

static int open_source(const char *path, struct file_id *id, char err[ERRLEN])
{
	struct stat st;
	/* A FIFO that came between: opened without waiting, refused below. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_set(err, "%s", strerror(errno));
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return err_set(err, "not a regular file");
	}
	id_of(id, &st);
	if (id->size > 0 && id->size <= FILE_MAX_BYTES)
		return fd;
	close(fd);
	return err_set(err, id->size == 0 ? "it is empty" : "longer than 2 GB");
}

int file_open(struct geo_file **out, const char *path, struct file_id *id,
	      const atomic_int *stop, char err[ERRLEN])
{
	struct geo_file *f = calloc(1, sizeof(*f));
	int fd = open_source(path, id, err), copy = -1;

	if (f && fd >= 0)
		copy = copy_of(fd, id, &f->in_memory, stop, err);
	else if (!f)
		(void)err_set(err, "out of memory");
	if (fd >= 0)
		close(fd);
	if (copy < 0 || open_copy(f, copy, stop, err) != 0) {
		free(f);
		return -1;
	}
	*out = f;
	return 0;
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

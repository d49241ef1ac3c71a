/*
 * seg.c -- making, checking and mapping the segment. See seg.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/clock.h"
#include "shm/note.h"
#include "shm/seg.h"
#include "shm/stat.h"

#define LANE_BYTES_MIN 65536u /* 1,024 questions, or 7 of the longest */
#define PLACES_MIN 4096u
#define PLACES_MAX 262144u
#define STRING_BYTES_PER_PLACE 64u
#define GROW_TRIES 100 /* of a fallocate that signals interrupt */

struct seg {
	int fd;
	enum seg_side side;
	uint64_t total;
	struct shm_dims dims; /* as checked; the header may change later */
	struct shm_range range[SHM_SECTIONS];
	struct shm_head *head;
	void *map[SHM_SECTIONS];
};

static uint32_t pow2_up(uint64_t n)
{
	uint32_t p = 1;

	while (p < n && p < (1u << 31))
		p <<= 1;
	return p;
}

void seg_dims(struct shm_dims *out, const struct conf *c, int nworkers)
{
	uint64_t parked = (uint64_t)c->http_max_parked;

	PS_ASSERT(nworkers >= 1 && nworkers <= CONF_MAX_WORKERS);
	memset(out, 0, sizeof(*out));
	out->worker_slots = 2 * (uint32_t)nworkers;
	out->lane_bytes = pow2_up(parked * sizeof(struct shm_job));
	if (out->lane_bytes < LANE_BYTES_MIN)
		out->lane_bytes = LANE_BYTES_MIN;
	out->lane_done = pow2_up(2 * parked < 64 ? 64 : 2 * parked);
	out->slots = (uint32_t)c->shm_swarms;
	out->buckets = pow2_up(2 * (uint64_t)out->slots);
	out->chunks = (uint32_t)(c->shm_peers_bytes / sizeof(struct shm_chunk));
	/* One place per chunk of 16 peers: neighbours share providers and towns. */
	out->places = out->chunks < PLACES_MIN ? PLACES_MIN : out->chunks;
	if (out->places > PLACES_MAX)
		out->places = PLACES_MAX;
	out->string_bytes = out->places * STRING_BYTES_PER_PLACE;
}

static uint64_t section_bytes(const struct shm_dims *d, enum shm_section s)
{
	switch (s) {
	case SHM_PAGES: return (d->worker_slots + 3ull) * sizeof(struct shm_page);
	case SHM_LANES:
		return (uint64_t)d->worker_slots *
		       (sizeof(struct shm_lane) + d->lane_bytes +
			(uint64_t)d->lane_done * sizeof(struct shm_done));
	case SHM_STATS:
		return sizeof(struct shm_stats) +
		       (d->worker_slots + 3ull) * STAT_BLOCK_BYTES;
	case SHM_BOARD: return note_at() + note_bytes();
	case SHM_INDEX: return d->buckets * 4ull;
	case SHM_SLOTS: return d->slots * (uint64_t)sizeof(struct shm_slot);
	case SHM_PLACES: return shm_strings_at(d) + d->string_bytes;
	case SHM_POOL:
		return shm_chunks_at(d) + d->chunks * (uint64_t)sizeof(struct shm_chunk);
	default: return 0;
	}
}

static uint64_t lay_out(struct shm_range range[SHM_SECTIONS], const struct shm_dims *d)
{
	uint64_t off = SHM_PAGE;

	for (int s = 0; s < SHM_SECTIONS; s++) {
		range[s].off = off;
		range[s].len = shm_round_up(section_bytes(d, s), SHM_PAGE);
		off += range[s].len;
	}
	return off;
}

void seg_sizes(const struct shm_dims *d, uint64_t *total, uint64_t *at_start)
{
	struct shm_range range[SHM_SECTIONS];

	*total = lay_out(range, d);
	/* the page with the names' counts, and the pool's links, are there at once */
	*at_start = range[SHM_PLACES].off + SHM_PAGE + shm_chunks_at(d);
}

/* Two programs that disagree on any size must not share a segment. */
static uint64_t shape(void)
{
	static const uint32_t sizes[] = {
		sizeof(struct shm_head),
		sizeof(struct shm_page),
		sizeof(struct shm_job),
		sizeof(struct shm_done),
		sizeof(struct shm_lane),
		sizeof(struct shm_peer),
		sizeof(struct shm_chunk),
		sizeof(struct shm_swarm),
		sizeof(struct shm_slot),
		sizeof(struct shm_place),
		sizeof(struct shm_names),
		sizeof(struct shm_pool),
		sizeof(struct shm_stats),
		SHM_SECTIONS,
		SHM_CHUNK_PEERS,
		CONF_SLOT_PEERS,
		STAT_COUNTER_N,
		STAT_GAUGE_N,
		HTTPSTAT_ROUTES,
		HTTPSTAT_CODES,
		HTTPSTAT_BUCKETS,
		sizeof(struct shm_note),
		NOTE_N,
	};
	uint64_t h = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < PS_ARRAY_LEN(sizes); i++)
		h = (h ^ sizes[i]) * 0x100000001b3ull;
	return h;
}

static int is_pow2(uint32_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

/* Bounds that keep all arithmetic on sizes inside 64 bits and all indexes in 32. */
static int dims_ok(const struct shm_dims *d)
{
	return d->worker_slots >= 2 && d->worker_slots <= KID_SLOTS &&
	       is_pow2(d->lane_bytes) && d->lane_bytes >= LANE_BYTES_MIN &&
	       d->lane_bytes <= (1u << 24) && is_pow2(d->lane_done) &&
	       d->lane_done <= (1u << 20) && d->slots >= 1 && d->slots <= (1u << 20) &&
	       is_pow2(d->buckets) && d->buckets <= (1u << 22) && d->chunks >= 1 &&
	       d->chunks <= (1u << 23) && d->places >= 2 && d->places <= (1u << 20) &&
	       d->string_bytes >= 4096 && d->string_bytes <= (1u << 28) &&
	       d->string_bytes % 8 == 0;
}

/* posix_fallocate with EINTR; 0 or an errno. */
static int reserve(int fd, uint64_t off, uint64_t len)
{
	int rc = EINTR;

	for (int i = 0; rc == EINTR && i < GROW_TRIES; i++)
		rc = posix_fallocate(fd, (off_t)off, (off_t)len);
	return rc;
}

static int say_no_room(int fd, uint64_t total, uint64_t at_start, char err[ERRLEN])
{
	struct statvfs vfs;
	uint64_t have = 0;

	if (fstatvfs(fd, &vfs) == 0)
		have = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	have /= 1024;
	at_start = at_start / 1024 + 1;
	return err_set(
		err,
		"/dev/shm has %" PRIu64 " KiB free, the segment needs %" PRIu64
		" KiB to start, %" PRIu64 " more, and %" PRIu64
		" KiB when full: make room,"
		" lower shm.peers, or give the container docker's --shm-size=%" PRIu64
		"m",
		have, at_start, at_start > have ? at_start - have : 0, total / 1024,
		(total >> 20) + 16);
}

static int reserve_start(int fd, const struct shm_range *range, const struct shm_dims *d,
			 char err[ERRLEN])
{
	uint64_t total, at_start;
	int rc;

	seg_sizes(d, &total, &at_start);
	if (ftruncate(fd, (off_t)total) != 0)
		return err_errno(err, "shared memory: ftruncate to %" PRIu64, total);
	rc = reserve(fd, 0, range[SHM_PLACES].off + SHM_PAGE);
	if (rc == 0)
		rc = reserve(fd, range[SHM_POOL].off, shm_chunks_at(d));
	if (rc == 0)
		return 0;
	if (rc == ENOSPC) {
		/* give back what was had, or statvfs tells of half a segment less */
		if (ftruncate(fd, 0) != 0)
			return err_errno(err, "shared memory: ftruncate");
		return say_no_room(fd, total, at_start, err);
	}
	errno = rc;
	return err_errno(err, "shared memory: posix_fallocate");
}

static int may_write(enum seg_side side, int s)
{
	switch (side) {
	case SEG_MASTER: return s == SHM_PAGES || s == SHM_STATS;
	case SEG_WORKER: return s == SHM_PAGES || s == SHM_STATS || s == SHM_LANES;
	case SEG_COLLECTOR: return 1; /* the header is mapped apart */
	case SEG_VIEWER:
	default: return 0;
	}
}

/* Each section apart, so that a write by the wrong side is a fault. Takes fd, if it succeeds:
 * to close it may drop a lock. */
static int map_all(struct seg **out, int fd, enum seg_side side, const struct shm_dims *d,
		   char err[ERRLEN])
{
	struct seg *seg = calloc(1, sizeof(*seg));

	if (seg == NULL)
		return err_set(err, "shared memory: out of memory");
	seg->fd = -1;
	seg->side = side;
	seg->dims = *d;
	seg->total = lay_out(seg->range, d);
	seg->head = mmap(NULL, SHM_PAGE,
			 side == SEG_MASTER ? PROT_READ | PROT_WRITE : PROT_READ,
			 MAP_SHARED, fd, 0);
	if (seg->head == MAP_FAILED) {
		seg->head = NULL;
		goto fail;
	}
	for (int s = 0; s < SHM_SECTIONS; s++) {
		int prot = may_write(side, s) ? PROT_READ | PROT_WRITE : PROT_READ;
		void *at = mmap(NULL, seg->range[s].len, prot, MAP_SHARED, fd,
				(off_t)seg->range[s].off);

		if (at == MAP_FAILED)
			goto fail;
		seg->map[s] = at;
	}
	seg->fd = fd;
	*out = seg;
	return 0;
fail:
	(void)err_errno(err, "shared memory: mmap");
	seg_close(&seg);
	return -1;
}

static int open_new(const char *name, int *leftover, char err[ERRLEN])
{
	int fd;

	*leftover = 0;
	if (name[0] != '/' || name[1] == '\0' || strchr(name + 1, '/') != NULL)
		return err_set(err, "shm.name %s: must be a slash and a name without one",
			       name);
	fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0640);
	if (fd < 0 && errno == EEXIST) {
		*leftover = 1;
		if (shm_unlink(name) != 0 && errno != ENOENT)
			return err_errno(err, "shm_unlink %s (left by another daemon)",
					 name);
		fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0640);
	}
	if (fd < 0)
		return err_errno(err, "shm_open %s", name);
	return fd;
}

/* The magic goes last: whoever looks earlier sees no segment of ours. */
static int write_head(struct seg *seg, char err[ERRLEN])
{
	struct shm_head *h = seg->head;

	if (getrandom(&h->seed, sizeof(h->seed), 0) != sizeof(h->seed))
		return err_errno(err, "getrandom");
	h->version = SHM_VERSION;
	h->head_size = sizeof(*h);
	h->total = seg->total;
	h->shape = shape();
	h->boot_wall_ms = clock_wall_ms();
	h->dims = seg->dims;
	memcpy(h->range, seg->range, sizeof(h->range));
	atomic_store(&h->master_pid, (uint32_t)getpid());
	atomic_store_explicit((shm_u64 *)&h->magic, SHM_MAGIC, memory_order_release);
	return 0;
}

int seg_create(struct seg **out, const char *name, const struct shm_dims *d,
	       int *leftover, char err[ERRLEN])
{
	struct shm_range range[SHM_SECTIONS];
	struct seg *seg = NULL;
	int left, fd = open_new(name, &left, err);

	if (leftover != NULL)
		*leftover = left;
	if (fd < 0)
		return -1;
	PS_ASSERT(dims_ok(d));
	(void)lay_out(range, d);
	if (reserve_start(fd, range, d, err) != 0 ||
	    map_all(&seg, fd, SEG_MASTER, d, err) != 0) {
		close(fd);
		goto fail;
	}
	if (write_head(seg, err) != 0)
		goto fail;
	*out = seg;
	return 0;
fail:
	seg_close(&seg);
	shm_unlink(name);
	return -1;
}

static int check_head(const struct shm_head *h, uint64_t size, char err[ERRLEN])
{
	struct shm_range range[SHM_SECTIONS];

	if (h->magic != SHM_MAGIC)
		return err_set(err,
			       "not a peerscope segment: magic %016" PRIx64
			       ", ours is %016" PRIx64,
			       h->magic, (uint64_t)SHM_MAGIC);
	if (h->version != SHM_VERSION || h->head_size != sizeof(*h))
		return err_set(err,
			       "segment has layout %u (header of %u), this program has %u"
			       " (%zu)",
			       h->version, h->head_size, SHM_VERSION, sizeof(*h));
	if (h->shape != shape())
		return err_set(err,
			       "segment has shape %016" PRIx64
			       ", this program has %016" PRIx64 ": not the same build",
			       h->shape, shape());
	if (!dims_ok(&h->dims))
		return err_set(err, "segment: its sizes make no sense");
	if (lay_out(range, &h->dims) != h->total || h->total != size ||
	    memcmp(range, h->range, sizeof(range)) != 0)
		return err_set(err,
			       "segment: header says %" PRIu64
			       " bytes, there are %" PRIu64,
			       h->total, size);
	return 0;
}

/* The header of what fd names, checked. */
static int read_head(struct shm_head *copy, int fd, char err[ERRLEN])
{
	struct stat st;
	void *at;

	if (fstat(fd, &st) != 0)
		return err_errno(err, "segment: fstat");
	if (st.st_size < SHM_PAGE)
		return err_set(err, "segment has %lld bytes: not ready, or not ours",
			       (long long)st.st_size);
	at = mmap(NULL, SHM_PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return err_errno(err, "segment: mmap");
	/* the magic was stored last, with release */
	(void)atomic_load_explicit((const shm_u64 *)at, memory_order_acquire);
	memcpy(copy, at, sizeof(*copy));
	munmap(at, SHM_PAGE);
	return check_head(copy, (uint64_t)st.st_size, err);
}

int seg_attach(struct seg **out, int fd, enum seg_side side, char err[ERRLEN])
{
	struct shm_head copy;
	int own;

	if (read_head(&copy, fd, err) != 0)
		return -1;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0)
		return err_errno(err, "segment: dup");
	if (map_all(out, own, side, &copy.dims, err) == 0)
		return 0;
	close(own);
	return -1;
}

int seg_take(struct seg **out, int fd, char err[ERRLEN])
{
	struct shm_head copy;

	if (read_head(&copy, fd, err) != 0)
		return -1;
	return map_all(out, fd, SEG_MASTER, &copy.dims, err);
}

int seg_fits(int fd, const struct shm_dims *want, char err[ERRLEN])
{
	struct shm_head copy;

	if (read_head(&copy, fd, err) != 0)
		return -1;
	if (memcmp(&copy.dims, want, sizeof(*want)) != 0)
		return err_set(err,
			       "segment has other sizes than this program would use");
	return 0;
}

int seg_view(struct seg **out, const char *name, char err[ERRLEN])
{
	int fd = shm_open(name, O_RDONLY, 0);
	int rc;

	if (fd < 0 && errno == ENOENT)
		return err_set(err, "no segment %s: no daemon with this shm.name runs",
			       name);
	if (fd < 0)
		return err_errno(err, "shm_open %s", name);
	rc = seg_attach(out, fd, SEG_VIEWER, err);
	close(fd);
	return rc;
}

void seg_close(struct seg **seg)
{
	struct seg *g = *seg;

	if (g == NULL)
		return;
	for (int s = 0; s < SHM_SECTIONS; s++)
		if (g->map[s] != NULL)
			munmap(g->map[s], g->range[s].len);
	if (g->head != NULL)
		munmap(g->head, SHM_PAGE);
	if (g->fd >= 0)
		close(g->fd);
	free(g);
	*seg = NULL;
}

void seg_unlink(const char *name)
{
	shm_unlink(name);
}

int seg_owned(const struct seg *seg)
{
	struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

	return fcntl(seg->fd, F_GETLK, &l) != 0 || l.l_type != F_UNLCK;
}

int seg_fd(const struct seg *seg)
{
	return seg->fd;
}

const struct shm_dims *seg_dims_of(const struct seg *seg)
{
	return &seg->dims;
}

const struct shm_head *seg_head(const struct seg *seg)
{
	return seg->head;
}

struct shm_head *seg_head_rw(struct seg *seg)
{
	PS_ASSERT(seg->side == SEG_MASTER);
	return seg->head;
}

void *seg_at(const struct seg *seg, enum shm_section s)
{
	PS_ASSERT(s >= 0 && s < SHM_SECTIONS);
	return seg->map[s];
}

size_t seg_len(const struct seg *seg, enum shm_section s)
{
	PS_ASSERT(s >= 0 && s < SHM_SECTIONS);
	return seg->range[s].len;
}

struct shm_page *seg_page(const struct seg *seg, uint32_t index)
{
	PS_ASSERT(index < seg->dims.worker_slots + 3);
	return (struct shm_page *)seg->map[SHM_PAGES] + index;
}

int seg_grow(struct seg *seg, enum shm_section s, size_t from, size_t upto)
{
	PS_ASSERT(seg->side == SEG_COLLECTOR && (s == SHM_PLACES || s == SHM_POOL));
	PS_ASSERT(from <= upto && upto <= seg->range[s].len);
	if (from == upto)
		return 0;
	return reserve(seg->fd, seg->range[s].off + from, upto - from) == 0 ? 0 : -1;
}

/*
 * test_metadisk.c -- the writer of the metadata cache: what is there after it, under a quota,
 * beside other people's files, and on disks that are full, read-only or not there.
 */
#include "store_stage.h"

#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define BIG (1u << 30)
#define BLOCK 4096u

static const char body[64 << 10]; /* zeros; entries differ by key and length */

/* What this program's linkat and fsync say instead of working; 0: they work. */
static int no_linkat, no_fsync;

int linkat(int from, const char *a, int to, const char *b, int flags)
{
	errno = no_linkat;
	return no_linkat ? -1 : (int)syscall(SYS_linkat, from, a, to, b, flags);
}

int fsync(int fd)
{
	errno = no_fsync;
	return no_fsync ? -1 : (int)syscall(SYS_fsync, fd);
}

static struct metadisk *open_disk(uint64_t quota)
{
	struct metadisk *d = NULL;

	assert_int_equal(metadisk_open(&d, stage_dir, quota, stage_err), 0);
	return d;
}

static void sweep(struct metadisk *d)
{
	while (metadisk_step(d))
		;
}

static struct metadisk_stats stats(const struct metadisk *d)
{
	struct metadisk_stats s;

	metadisk_stats(d, &s);
	return s;
}

/* json and torrent: bytes of each, 0: not given. */
static enum metadisk_rc put(struct metadisk *d, const uint8_t *key, const uint8_t *other,
			    size_t json, size_t torrent)
{
	struct metadisk_item it = {.data = {json ? body : NULL, torrent ? body : NULL},
				   .len = {json, torrent}};

	memcpy(it.key, key, IH_LEN);
	if (other)
		memcpy(it.other, other, IH_LEN);
	return metadisk_put(d, &it, stage_err);
}

/* What a fresh look at the directory adds up to. */
static void same_as_fresh(struct metadisk *d)
{
	struct metadisk *fresh = open_disk(BIG);

	sweep(fresh);
	assert_int_equal(stats(d).bytes, stats(fresh).bytes);
	assert_int_equal(stats(d).entries, stats(fresh).entries);
	metadisk_close(&fresh);
}

static void lay(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void test_put_is_read(void **state)
{
	struct metadisk *d = open_disk(BIG);
	uint8_t a[IH_LEN], b[IH_LEN];
	struct stat st;
	char path[256];
	uint64_t len = 0;

	(void)state;
	stage_key(a, 1);
	stage_key(b, 2);
	sweep(d);
	assert_int_equal(put(d, a, NULL, 100, 5000), METADISK_OK);
	assert_int_equal(put(d, b, NULL, 100, 0), METADISK_OK);
	assert_int_equal(stage_read(a, META_JSON, &len), META_OK);
	assert_int_equal(len, 100);
	assert_int_equal(stage_read(a, META_TORRENT, &len), META_OK);
	assert_int_equal(len, 5000);
	assert_int_equal(stage_read(b, META_TORRENT, NULL), META_MISS);
	stage_path(path, a, META_JSON);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stats(d).entries, 2);
	assert_int_equal(stats(d).bytes, (1 + 2 + 1 + 1 + 1) * BLOCK);
	same_as_fresh(d);
	assert_int_equal(put(d, a, NULL, 20000, 10),
			 METADISK_OK); /* again, other sizes */
	assert_int_equal(stage_read(a, META_JSON, &len), META_OK);
	assert_int_equal(len, 20000);
	same_as_fresh(d);
	metadisk_close(&d);
}

static void test_both_keys_of_a_hybrid(void **state)
{
	struct metadisk *d = open_disk(BIG);
	uint8_t a[IH_LEN], b[IH_LEN];
	struct stat sa, sb;
	char path[256];

	(void)state;
	stage_key(a, 1);
	stage_key(b, 2);
	sweep(d);
	assert_int_equal(put(d, a, b, 100, 100), METADISK_OK);
	for (int k = 0; k < META_KINDS; k++) {
		assert_int_equal(stage_read(a, (enum meta_kind)k, NULL), META_OK);
		assert_int_equal(stage_read(b, (enum meta_kind)k, NULL), META_OK);
		stage_path(path, a, (enum meta_kind)k);
		assert_int_equal(stat(path, &sa), 0);
		stage_path(path, b, (enum meta_kind)k);
		assert_int_equal(stat(path, &sb), 0);
		assert_int_equal(sa.st_ino, sb.st_ino); /* one file, counted once */
	}
	assert_int_equal(stats(d).bytes, (2 + 2) * BLOCK);
	same_as_fresh(d);
	assert_int_equal(put(d, b, a, 5000, 5000), METADISK_OK); /* by the other key */
	assert_int_equal(stats(d).bytes, (2 * 2 + 2) * BLOCK);
	same_as_fresh(d);
	metadisk_close(&d);
}

static void test_oldest_goes_first(void **state)
{
	struct metadisk *d = open_disk(64 * BLOCK); /* 3 blocks each: room for 21 */
	uint8_t key[IH_LEN];
	time_t now = time(NULL);

	(void)state;
	sweep(d);
	for (unsigned i = 0; i < 18; i++) {
		stage_key(key, i);
		assert_int_equal(put(d, key, NULL, 100, 100), METADISK_OK);
		/* the evens were wanted lately, whenever they were written */
		stage_age(key, i % 2 ? now - 100000 + i : now - 1000 + i);
	}
	for (unsigned i = 18; i < 40; i++) {
		stage_key(key, i);
		assert_int_equal(put(d, key, NULL, 100, 100), METADISK_OK);
		assert_true(stats(d).bytes <= 64 * BLOCK);
		stage_age(key, now - 500 + i);
		if (i == 24) { /* seven more: odd ones had to go, and no even one */
			for (unsigned k = 0; k < 18; k += 2) {
				stage_key(key, k);
				assert_int_equal(stage_read(key, META_JSON, NULL),
						 META_OK);
			}
			stage_key(key, 1);
			assert_int_equal(stage_read(key, META_JSON, NULL), META_MISS);
			assert_int_equal(stage_read(key, META_TORRENT, NULL), META_MISS);
		}
	}
	assert_true(stats(d).evicted >= 40 - 21);
	same_as_fresh(d);
	metadisk_close(&d);
}

/* A worker's mark is seen although the sweep had the entry among the oldest already. */
static void test_wanted_meanwhile_stays(void **state)
{
	enum { N = 2 * METADISK_SLICE };
	struct metadisk *d = open_disk(BIG);
	uint8_t key[IH_LEN];
	struct meta_file f;

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		stage_key(key, i);
		assert_int_equal(put(d, key, NULL, 100, 0), METADISK_OK);
		stage_age(key, 1000 + i);
	}
	metadisk_close(&d);
	d = open_disk(400 * BLOCK);
	assert_int_equal(metadisk_step(d),
			 1); /* past the first directory, and not at the end */
	stage_key(key, 0);
	assert_int_equal(meta_open(&f, stage_dir, key, META_JSON, 1, stage_err), META_OK);
	meta_close(&f);
	sweep(d);
	assert_true(stats(d).bytes <= 350 * BLOCK);
	assert_int_equal(stage_read(key, META_JSON, NULL), META_OK);
	stage_key(key, 1);
	assert_int_equal(stage_read(key, META_JSON, NULL), META_MISS);
	metadisk_close(&d);
}

static void test_hybrid_goes_as_one(void **state)
{
	struct metadisk *d = open_disk(BIG);
	uint8_t a[IH_LEN], b[IH_LEN], c[IH_LEN];

	(void)state;
	stage_key(a, 1);
	stage_key(b, 2);
	stage_key(c, 3);
	assert_int_equal(put(d, a, b, 100, 100), METADISK_OK);
	assert_int_equal(put(d, c, NULL, 100, 100), METADISK_OK);
	stage_age(a, 1000);
	sweep(d);
	metadisk_quota(d, 5 * BLOCK);
	sweep(d);
	for (int k = 0; k < META_KINDS; k++) {
		assert_int_equal(stage_read(a, (enum meta_kind)k, NULL), META_MISS);
		assert_int_equal(stage_read(b, (enum meta_kind)k, NULL), META_MISS);
		assert_int_equal(stage_read(c, (enum meta_kind)k, NULL), META_OK);
	}
	assert_int_equal(stats(d).bytes, 3 * BLOCK);
	same_as_fresh(d);
	metadisk_close(&d);
}

/* A file system without hard links: the second name is a second file. */
static void test_hybrid_without_links(void **state)
{
	struct metadisk *d = open_disk(BIG);
	uint8_t a[IH_LEN], b[IH_LEN];

	(void)state;
	stage_key(a, 1);
	stage_key(b, 2);
	sweep(d);
	no_linkat = EPERM;
	for (int i = 0; i < 2; i++) /* and again, in its own place */
		assert_int_equal(put(d, a, b, 5000, 100), METADISK_OK);
	no_linkat = ENOSPC;
	assert_int_equal(put(d, a, b, 100, 100), METADISK_FAILED);
	no_linkat = 0;
	assert_int_equal(stage_read(a, META_JSON, NULL), META_OK);
	assert_int_equal(stage_read(b, META_JSON, NULL), META_OK);
	assert_int_equal(stats(d).bytes, (2 * 3 + 2) * BLOCK);
	same_as_fresh(d);
	stage_age(a, 1000);
	metadisk_quota(d, 7 * BLOCK);
	sweep(d);
	assert_int_equal(stage_read(a, META_JSON, NULL), META_MISS);
	assert_int_equal(stage_read(b, META_JSON, NULL), META_MISS);
	assert_int_equal(stats(d).bytes, 0);
	same_as_fresh(d);
	metadisk_close(&d);
}

/* What the disk did not take does not get its name. */
static void test_fsync_fails(void **state)
{
	struct metadisk *d = open_disk(BIG);
	uint8_t a[IH_LEN];
	uint64_t len = 0;

	(void)state;
	stage_key(a, 1);
	assert_int_equal(put(d, a, NULL, 100, 100), METADISK_OK);
	no_fsync = EIO;
	assert_int_equal(put(d, a, NULL, 200, 200), METADISK_FAILED);
	assert_non_null(strstr(stage_err, "Input/output"));
	no_fsync = EINVAL; /* there is no fsync here at all */
	assert_int_equal(put(d, a, NULL, 0, 300), METADISK_OK);
	no_fsync = 0;
	assert_int_equal(stage_read(a, META_JSON, &len), META_OK);
	assert_int_equal(len, 100);
	assert_int_equal(stage_read(a, META_TORRENT, &len), META_OK);
	assert_int_equal(len, 300);
	sweep(d);
	assert_int_equal(stats(d).leftovers, 0);
	metadisk_close(&d);
}

static void test_more_than_one_sweep_remembers(void **state)
{
	enum { N = METADISK_OLD + 500 };
	struct metadisk *d = open_disk(BIG);
	uint8_t key[IH_LEN];
	unsigned steps = 0;

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		stage_key(key, i);
		assert_int_equal(put(d, key, NULL, 10, 0), METADISK_OK);
	}
	while (metadisk_step(d))
		steps++;
	assert_true(steps > N / METADISK_SLICE); /* in slices */
	assert_int_equal(stats(d).entries, N);
	metadisk_quota(d, 100 * BLOCK);
	sweep(d);
	assert_true(stats(d).bytes <= 100 * BLOCK);
	assert_true(stats(d).evicted >= N - 100);
	same_as_fresh(d);
	metadisk_close(&d);
}

static void test_too_large_is_refused(void **state)
{
	struct metadisk *d = open_disk(8 * BLOCK);
	uint8_t a[IH_LEN], b[IH_LEN];

	(void)state;
	stage_key(a, 1);
	stage_key(b, 2);
	sweep(d);
	assert_int_equal(put(d, a, NULL, 100, 0), METADISK_OK);
	assert_int_equal(put(d, b, NULL, 8 * BLOCK, 0), METADISK_FULL);
	assert_int_equal(stage_read(a, META_JSON, NULL), META_OK); /* nobody had to go */
	assert_int_equal(stage_read(b, META_JSON, NULL), META_MISS);
	assert_int_equal(stats(d).failed, 0);
	metadisk_close(&d);
}

static void flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	char c;

	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= 4;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
	close(fd);
}

static void test_damaged_is_removed(void **state)
{
	struct metadisk *d = open_disk(BIG);
	uint8_t a[IH_LEN];
	char path[256];

	(void)state;
	stage_key(a, 1);
	sweep(d);
	stage_path(path, a, META_JSON);
	for (off_t at = 0; at < META_HEAD + 100; at += 21) {
		assert_int_equal(put(d, a, NULL, 100, 100), METADISK_OK);
		assert_int_equal(metadisk_mend(d, a), 0); /* whole ones stay */
		flip(path, at);
		assert_int_equal(stage_read(a, META_JSON, NULL), META_BAD);
		assert_int_equal(metadisk_mend(d, a), 1);
		assert_int_equal(stage_read(a, META_JSON, NULL), META_MISS);
		assert_int_equal(stage_read(a, META_TORRENT, NULL), META_OK);
	}
	assert_int_equal(put(d, a, NULL, 100, 100), METADISK_OK);
	same_as_fresh(d);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(put(d, a, NULL, 100, 0), METADISK_OK); /* or it is replaced */
	assert_int_equal(stage_read(a, META_JSON, NULL), META_OK);
	assert_int_equal(truncate(path, 30), 0);
	assert_int_equal(metadisk_mend(d, a), 1);
	assert_true(stats(d).bad > 10);
	metadisk_close(&d);
}

/* Whatever lies in the directory: it is there afterwards, and counts nothing. */
static void test_strangers_stay(void **state)
{
	static const char *const names[] = {
		"README",
		"ab/notes.txt",
		"ab/cd/x.json",
		".torrent.db",
		"0123456789012345678901234567890123456789.json", /* the replaced service's */
		"ab/cd/0123456789012345678901234567890123456789.json", /* wrong directory */
		"ab/cd/ABCD456789012345678901234567890123456789.json",
		"ab/cd/abcd456789012345678901234567890123456789.json.bak",
		"ab/cd/abcd456789012345678901234567890123456789.json.0123",
		"ab/cd/abcd45678901234567890123456789012345678.json",
	};
	static const char torrent[] =
		"ab/cd/abcd456789012345678901234567890123456789.torrent";
	struct metadisk *d;
	uint8_t key[IH_LEN], theirs[IH_LEN] = {0xab, 0xcd, 0x45, 0x67, 0x89, 0x01, 0x23};
	char path[256];

	(void)state;
	for (int i = 7; i < IH_LEN; i++)
		theirs[i] = (uint8_t[]){0x45, 0x67, 0x89, 0x01, 0x23}[(i - 7) % 5];
	snprintf(path, sizeof path, "%s/ab", stage_dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof path, "%s/ab/cd", stage_dir);
	assert_int_equal(mkdir(path, 0700), 0);
	for (size_t i = 0; i < PS_ARRAY_LEN(names); i++) {
		snprintf(path, sizeof path, "%s/%s", stage_dir, names[i]);
		lay(path, "somebody's");
	}
	snprintf(path, sizeof path, "%s/%s", stage_dir,
		 torrent); /* exactly such a name */
	lay(path, "d8:announce20:udp://tracker.invalide");
	stage_age(theirs, 1000);
	d = open_disk(6 * BLOCK);
	sweep(d);
	assert_int_equal(stats(d).entries, 0);
	for (unsigned i = 0; i < 30; i++) {
		stage_key(key, i);
		assert_int_equal(put(d, key, NULL, 100, 100), METADISK_OK);
		sweep(d);
	}
	assert_true(stats(d).evicted > 0);
	assert_int_equal(put(d, theirs, NULL, 0, 100), METADISK_FAILED);
	assert_int_equal(metadisk_mend(d, theirs), 0);
	metadisk_close(&d);
	for (size_t i = 0; i < PS_ARRAY_LEN(names); i++) {
		snprintf(path, sizeof path, "%s/%s", stage_dir, names[i]);
		assert_int_equal(access(path, F_OK), 0);
	}
	snprintf(path, sizeof path, "%s/%s", stage_dir, torrent);
	assert_int_equal(access(path, F_OK), 0);
}

/* An unfinished file goes with the next sweep, unless another daemon may be writing it. */
static void test_leftovers(void **state)
{
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	struct metadisk *d = open_disk(BIG);
	uint8_t a[IH_LEN];
	char path[256], left[300];
	int lock;

	(void)state;
	stage_key(a, 1);
	assert_int_equal(put(d, a, NULL, 100, 0), METADISK_OK);
	metadisk_close(&d);
	stage_path(path, a, META_JSON);
	snprintf(left, sizeof left, "%s.0123456789abcdef", path);
	lay(left, "half a fi");
	lock = open(stage_dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), 0);
	d = open_disk(BIG);
	sweep(d);
	assert_int_equal(access(left, F_OK), 0);
	assert_int_equal(stats(d).bytes, 3 * BLOCK); /* it takes space */
	assert_int_equal(utimensat(AT_FDCWD, left, old, 0), 0);
	metadisk_close(&d);
	d = open_disk(BIG);
	sweep(d);
	assert_int_equal(access(left, F_OK), -1);
	metadisk_close(&d);
	lay(left, "half a fi");
	close(lock);
	d = open_disk(BIG);
	sweep(d);
	assert_int_equal(access(left, F_OK), -1);
	assert_int_equal(stats(d).leftovers, 1);
	assert_int_equal(stage_read(a, META_JSON, NULL), META_OK);
	metadisk_close(&d);
}

/* The directory is not there, is made, is taken away: each put stands for itself. */
static void test_directory_comes_and_goes(void **state)
{
	struct metadisk *d = NULL;
	uint8_t a[IH_LEN];
	char keep[64], path[128];

	(void)state;
	stage_key(a, 1);
	memcpy(keep, stage_dir, sizeof keep);
	snprintf(path, sizeof path, "%s/deep/cache", keep);
	assert_int_equal(metadisk_open(&d, path, BIG, stage_err), 0);
	sweep(d);
	assert_int_equal(put(d, a, NULL, 100, 0), METADISK_FAILED);
	assert_non_null(strstr(stage_err, "No such file"));
	assert_int_equal(stats(d).failed, 1);
	snprintf(path, sizeof path, "%s/deep", keep);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(put(d, a, NULL, 100, 0), METADISK_OK);
	snprintf(stage_dir, sizeof stage_dir, "%.40s/deep/cache", keep);
	assert_int_equal(stage_read(a, META_JSON, NULL), META_OK);
	assert_int_equal(stage_close(NULL), 0);
	assert_int_equal(stage_read(a, META_JSON, NULL), META_MISS);
	assert_int_equal(put(d, a, NULL, 100, 0), METADISK_OK);
	assert_int_equal(stage_read(a, META_JSON, NULL), META_OK);
	metadisk_close(&d);
	memcpy(stage_dir, keep, sizeof keep);
}

/* --- disks with faults ---------------------------------------------------------- */

/* A tmpfs of 64 KiB over stage_dir, in a mount namespace of our own. 0: there is none. */
static int small_disk(void)
{
	if (unshare(geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) != 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return 0;
	return mount("tmpfs", stage_dir, "tmpfs", 0, "size=64k") == 0;
}

static void on_small_disk(void (*then)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (!small_disk())
			_exit(77);
		then();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("no mount namespace for us: not tested\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* In the child cmocka's asserts would run on in its copy of the parent. */
#define MUST(x)                                                                 \
	do {                                                                    \
		if (!(x)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			_exit(1);                                               \
		}                                                               \
	} while (0)

static void disk_fills_up(void)
{
	struct metadisk *d = NULL;
	uint8_t a[IH_LEN], b[IH_LEN];

	stage_key(a, 1);
	stage_key(b, 2);
	MUST(metadisk_open(&d, stage_dir, BIG, stage_err) == 0);
	MUST(put(d, a, NULL, 100, 20000) == METADISK_OK);
	MUST(put(d, b, NULL, 60000, 100) == METADISK_FAILED);
	MUST(strstr(stage_err, "No space left"));
	MUST(stage_read(a, META_JSON, NULL) == META_OK);
	MUST(stage_read(a, META_TORRENT, NULL) == META_OK);
	MUST(stage_read(b, META_JSON, NULL) == META_MISS);
	MUST(put(d, a, NULL, 60000, 0) == METADISK_FAILED); /* the old one stays */
	MUST(stage_read(a, META_JSON, NULL) == META_OK);
	while (metadisk_step(d))
		;
	MUST(stats(d).leftovers == 0); /* it left nothing lying */
	MUST(stats(d).failed == 2);
	metadisk_quota(d, 6 * BLOCK); /* and works again once there is room */
	while (metadisk_step(d))
		;
	MUST(stage_read(a, META_JSON, NULL) == META_MISS);
	MUST(put(d, b, NULL, 100, 100) == METADISK_OK);
	metadisk_close(&d);
}

static void disk_is_read_only(void)
{
	struct metadisk *d = NULL;
	uint8_t a[IH_LEN], b[IH_LEN];
	struct meta_file f;

	stage_key(a, 1);
	stage_key(b, 2);
	MUST(metadisk_open(&d, stage_dir, BIG, stage_err) == 0);
	MUST(put(d, a, NULL, 100, 100) == METADISK_OK);
	stage_age(a, 1000);
	MUST(mount(NULL, stage_dir, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
	MUST(put(d, b, NULL, 100, 100) == METADISK_FAILED);
	MUST(strstr(stage_err, "Read-only"));
	MUST(meta_open(&f, stage_dir, a, META_JSON, 1, stage_err) == META_OK);
	MUST(meta_verify(&f, 0, stage_err) == META_OK);
	meta_close(&f);
	while (metadisk_step(d))
		;
	MUST(stats(d).entries == 1);
	metadisk_quota(d,
		       BLOCK); /* nothing can be removed: it says so, and comes to rest */
	for (int i = 0; i < 5000; i++)
		if (!metadisk_step(d))
			break;
	MUST(metadisk_step(d) == 0);
	MUST(stats(d).evicted == 0 && stats(d).failed >= 2);
	MUST(put(d, b, NULL, 100, 0) == METADISK_FULL);
	metadisk_close(&d);
}

static void test_full_disk(void **state)
{
	(void)state;
	on_small_disk(disk_fills_up);
}

static void test_read_only_disk(void **state)
{
	(void)state;
	on_small_disk(disk_is_read_only);
}

#define T(f) cmocka_unit_test_setup_teardown(f, stage_open, stage_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_put_is_read),
		T(test_both_keys_of_a_hybrid),
		T(test_oldest_goes_first),
		T(test_wanted_meanwhile_stays),
		T(test_hybrid_goes_as_one),
		T(test_hybrid_without_links),
		T(test_fsync_fails),
		T(test_more_than_one_sweep_remembers),
		T(test_too_large_is_refused),
		T(test_damaged_is_removed),
		T(test_strangers_stay),
		T(test_leftovers),
		T(test_directory_comes_and_goes),
		T(test_full_disk),
		T(test_read_only_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

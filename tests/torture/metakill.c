/*
 * metakill.c -- the metadata cache, whose writer is killed in the middle of writing.
 *
 * Writers come one after the other: each opens the cache (its thread sweeps and removes, the
 * quota is small), writes entries under one key or two as fast as it can, and is killed at a
 * random moment. A reader lives from beginning to end and opens entries as a worker does: what
 * is there must be whole and what its name says. The last writer ends by itself; then
 * nothing unfinished lies in the directory, and the sum is what a fresh look adds up to.
 *
 *   metakill [kills]              150 by default, some 5 s
 *   metakill --sabotage [kills]   writers write under the final names: must be noticed
 *
 * Without arguments both are run, the sabotage as a child.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "collector/metastore.h"
#include "common/kid.h"
#include "rig.h"

#define KEYS 48u
#define QUOTA (3u << 20) /* room for about half of what is written */
#define LONGEST 150000u
#define WATCHDOG_S 120

struct ctl { /* shared by all processes here */
	atomic_ullong stored, reads, misses, nonce;
	atomic_int stop, caught;
};

static struct ctl *ctl;
static char dir[64];
static int sabotage;
static unsigned temps; /* found by the walk at the end */

static void complain(const char *what)
{
	if (!sabotage)
		fprintf(stderr, "%d: %s\n", (int)getpid(), what);
	atomic_store(&ctl->caught, 1);
}

static void key_of(uint8_t key[IH_LEN], uint32_t k)
{
	rig_id(key, k);
	key[0] = (uint8_t)(k % 5); /* they share directories */
}

/* Every byte follows from the pair of keys, the kind and a number that is never used twice. */
static void fill(uint8_t *p, size_t len, uint32_t pair, int kind, uint64_t nonce)
{
	uint64_t first[2] = {nonce, pair * 2 + (uint64_t)kind};

	for (size_t i = 0; i < len; i += 8) {
		uint64_t w = i < 16 ? first[i / 8] : rig_mix(first[0] + first[1] + i);

		memcpy(p + i, &w, len - i < 8 ? len - i : 8);
	}
}

static size_t length(uint64_t nonce, int kind)
{
	uint64_t r = rig_mix(nonce * 5 + (uint64_t)kind);

	return 16 + (r % 4 ? r / 4 % 3000 : r / 4 % LONGEST);
}

/* --- the reader ------------------------------------------------------------------ */

static void check_content(const struct meta_file *f, uint32_t k, int kind)
{
	static uint8_t got[LONGEST + 16], want[LONGEST + 16];
	uint64_t nonce;

	if (f->h.len > sizeof got ||
	    pread(f->fd, got, f->h.len, META_HEAD) != (ssize_t)f->h.len) {
		complain("an entry of a length that nobody wrote");
		return;
	}
	memcpy(&nonce, got, 8);
	fill(want, f->h.len, k / 2, kind, nonce);
	if (f->h.len != length(nonce, kind) || memcmp(got, want, f->h.len) != 0)
		complain("content that nobody wrote");
}

static void read_one(uint32_t k, int kind)
{
	char err[ERRLEN] = "";
	struct meta_file f;
	uint8_t key[IH_LEN];
	enum meta_rc rc;

	key_of(key, k);
	rc = meta_open(&f, dir, key, (enum meta_kind)kind, 1, err);
	if (rc == META_OK)
		rc = meta_verify(&f, 0, err);
	if (rc == META_OK)
		check_content(&f, k, kind);
	else if (rc != META_MISS)
		complain(rc == META_BAD ? "a damaged entry" : err);
	meta_close(&f);
	atomic_fetch_add(rc == META_MISS ? &ctl->misses : &ctl->reads, 1);
}

static _Noreturn void reader(void)
{
	uint64_t seed = 1;

	while (!atomic_load(&ctl->stop)) {
		uint64_t r = rig_rand(&seed);

		read_one((uint32_t)(r % KEYS), (int)(r >> 32 & 1));
	}
	_exit(0);
}

/* --- writers --------------------------------------------------------------------- */

/* What a careless writer would do. */
static void write_in_place(const struct metastore_item *it)
{
	for (int kind = 0; kind < META_KINDS; kind++) {
		struct meta_head h = {.kind = (enum meta_kind)kind, .len = it->len[kind]};
		char aa[3], bb[3], name[META_NAME_MAX], path[256], line[META_HEAD];
		int fd;

		memcpy(h.key, it->key, IH_LEN);
		meta_seal(line, &h, it->data[kind]);
		meta_name(aa, bb, name, it->key, (enum meta_kind)kind);
		snprintf(path, sizeof path, "%s/%s", dir, aa);
		(void)mkdir(path, 0700);
		snprintf(path, sizeof path, "%s/%s/%s", dir, aa, bb);
		(void)mkdir(path, 0700);
		snprintf(path, sizeof path, "%s/%s/%s/%s", dir, aa, bb, name);
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd < 0 || write(fd, line, META_HEAD) != META_HEAD ||
		    write(fd, it->data[kind], it->len[kind]) != (ssize_t)it->len[kind])
			complain("can't write");
		close(fd);
		free(it->data[kind]);
	}
}

static void make_item(struct metastore_item *it, uint64_t r)
{
	uint64_t nonce = atomic_fetch_add(&ctl->nonce, 1) + 1;
	uint32_t k = (uint32_t)(r % KEYS);

	memset(it, 0, sizeof(*it));
	key_of(it->key, k);
	if (k / 2 % 3 == 0) /* a third are hybrids: 2n and 2n + 1 are one torrent */
		key_of(it->other, k ^ 1);
	for (int kind = 0; kind < META_KINDS; kind++) {
		it->len[kind] = length(nonce, kind);
		it->data[kind] = malloc(it->len[kind]);
		if (!it->data[kind])
			rig_fail("out of memory");
		fill((uint8_t *)it->data[kind], it->len[kind], k / 2, kind, nonce);
	}
}

static void take_all(struct metastore *m, int bell)
{
	struct pollfd p = {.fd = bell, .events = POLLIN};
	struct metastore_done done;

	(void)poll(&p, 1, 10);
	kid_hush(bell);
	while (metastore_take(m, &done) == 1) {
		if (done.rc != METADISK_OK)
			complain("a put that failed");
		atomic_fetch_add(&ctl->stored, 1);
	}
}

/* puts 0: until killed. */
static _Noreturn void writer(uint64_t seed, unsigned puts)
{
	int bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct metastore *m = NULL;
	struct metastore_item it;
	char err[ERRLEN];

	if (bell < 0 || metastore_open(&m, dir, QUOTA, bell, err) != 0)
		rig_fail("no store");
	for (unsigned i = 0; puts == 0 || i < puts; i++) {
		make_item(&it, rig_rand(&seed));
		if (sabotage)
			write_in_place(&it);
		else if (metastore_put(m, &it, i) != 0)
			take_all(m, bell);
	}
	metastore_close(&m);
	exit(0); /* as a sanitizer wants it, which may say 66 here */
}

/* --- the master ------------------------------------------------------------------ */

static pid_t spawn(void)
{
	pid_t pid = fork();

	if (pid < 0)
		rig_fail("fork");
	if (pid == 0)
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static void nap_us(uint64_t us)
{
	struct timespec t = {.tv_nsec = (long)us * 1000};

	nanosleep(&t, NULL);
}

static void kill_writers(unsigned kills)
{
	uint64_t dice = 7;

	for (unsigned i = 0; i < kills && !atomic_load(&ctl->caught); i++) {
		unsigned long long before = atomic_load(&ctl->nonce);
		pid_t pid = spawn();

		if (pid == 0)
			writer(rig_mix(i), 0);
		while (atomic_load(&ctl->nonce) == before) /* it has begun */
			nap_us(200);
		nap_us(rig_rand(&dice) % 30000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
}

static int walk_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	const char *name = path + ftw->base;

	(void)st;
	temps += flag == FTW_F && strlen(name) > META_NAME_MAX - 1;
	return 0;
}

/* After one that ended by itself. */
static void check_rest(void)
{
	struct metadisk_stats s;
	struct metadisk *d;
	char err[ERRLEN];

	if (metadisk_open(&d, dir, 1ull << 40, err) != 0)
		rig_fail(err);
	while (metadisk_step(d))
		;
	metadisk_stats(d, &s);
	metadisk_close(&d);
	(void)nftw(dir, walk_one, 16, FTW_PHYS);
	if (s.bytes > QUOTA)
		complain("more than the quota");
	if (s.entries == 0)
		complain("nothing left");
	if (temps || s.failed || s.bad)
		complain("something unfinished, damaged, or not removable is left");
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int torture(unsigned kills)
{
	pid_t read_pid, last;
	int status = 0;

	snprintf(dir, sizeof dir, "/dev/shm/peerscope-metakill-XXXXXX");
	if (!mkdtemp(dir))
		rig_fail("mkdtemp");
	ctl = mmap(NULL, sizeof(*ctl), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		   -1, 0);
	if (ctl == MAP_FAILED)
		rig_fail("mmap");
	alarm(WATCHDOG_S);
	if ((read_pid = spawn()) == 0)
		reader();
	kill_writers(kills);
	if (!sabotage) {
		if ((last = spawn()) == 0)
			writer(99, 300);
		waitpid(last, &status, 0);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			complain("a writer did not end well");
		check_rest();
	}
	atomic_store(&ctl->stop, 1);
	waitpid(read_pid, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		complain("the reader did not end well");
	(void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	printf("metakill%s: %u kills, %llu puts, %llu told, %llu reads, %llu misses\n",
	       sabotage ? " --sabotage" : "", kills, atomic_load(&ctl->nonce),
	       atomic_load(&ctl->stored), atomic_load(&ctl->reads),
	       atomic_load(&ctl->misses));
	if (!sabotage && atomic_load(&ctl->reads) == 0)
		complain("nothing was read");
	return atomic_load(&ctl->caught);
}

int main(int argc, char **argv)
{
	int arg = 1, caught;
	unsigned kills = 150;

	sabotage = argc > 1 && strcmp(argv[1], "--sabotage") == 0;
	arg += sabotage;
	if (argc > arg)
		kills = (unsigned)strtoul(argv[arg], NULL, 10);
	if (argc == 1) { /* the validator first: can it fail? */
		pid_t pid = spawn();
		int status;

		if (pid == 0)
			execl("/proc/self/exe", argv[0], "--sabotage", "150",
			      (char *)NULL);
		waitpid(pid, &status, 0);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			rig_fail("sabotage was not noticed");
	}
	caught = torture(kills);
	return sabotage ? !caught : caught;
}

/*
 * kill.c -- processes that are killed at any instruction, and what the others see.
 *
 * This process is the master. Two readers live from beginning to end. Collectors
 * come one after the other; each takes the table over, is checked, writes, and is
 * killed: at a random moment of full speed; at a random instruction of a put, drop
 * or compaction (single-stepped, often inside the odd window); or at a random
 * instruction of the takeover itself. Then producers of a lane, the same way.
 *
 * Readers must see whole swarms only, versions that never fall, and must never
 * hang. Each collector that survives its takeover must count every chunk once.
 *
 *   kill [kills]              240 by default, 10 to 15 s
 *   kill --sabotage [kills]   odd slots are made even before the takeover, as if the
 *                             new collector did not wipe them: must be noticed
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#include "rig.h"
#include "shm/lane.h"

#define READERS 2
#define MAX_PEERS 60
#define PATIENCE_MS 20000u /* beyond this something hangs */
#define WATCHDOG_S 300
#define EXIT_WRONG 3
#define WINDOW_STEPS 30000u /* an odd window comes within these, also under ASan */

enum mode { TIMED, STEP_PUT, STEP_TAKEOVER, MODES };

struct ctl {                 /* shared by all processes here */
	atomic_ullong nonce; /* of swarms and jobs: never used twice */
	atomic_ullong puts, compactions, pushed;
	atomic_int ready; /* pid of the collector that has begun to write */
	atomic_int stop;
	atomic_int caught; /* somebody saw something wrong */
	struct {
		alignas(64) atomic_ullong beats, ok, miss, torn, moved, texts;
	} r[READERS];
};

static struct ctl *ctl;
static struct seg *master, *raw; /* raw: writable, to look and to sabotage */
static pid_t reader_pid[READERS];
static int sabotage, may_step = 1;
static uint64_t dice = 7;
static struct {
	uint64_t kills[MODES], steps, odd_slots, odd_names, takeovers, lane_kills, jobs;
} tally;

static void complain(const char *what)
{
	if (!sabotage || atomic_load(&ctl->caught) == 0)
		fprintf(stderr, "%d: %s\n", (int)getpid(), what);
	atomic_store(&ctl->caught, 1);
}

static void nap_us(uint64_t us)
{
	struct timespec t = {.tv_sec = (time_t)(us / 1000000),
			     .tv_nsec = (long)(us % 1000000) * 1000};

	nanosleep(&t, NULL);
}

/* --- readers ----------------------------------------------------------- */

static size_t client_text(char out[64], uint64_t v, uint32_t n)
{
	return (size_t)snprintf(out, 64, "client %" PRIu64 ".%u", v / 16, n % 8);
}

static void check_texts(const struct ptab *p, const struct swarm_copy *c, int self)
{
	char want[64], got[256];
	int wrong = 0;

	for (uint32_t n = 0; n < c->s.npeers; n++) {
		ptab_client(p, c->peer[n].client, got);
		client_text(want, c->s.cached_at_ms, n);
		wrong |= c->peer[n].client != 0 && strcmp(got, want) != 0;
	}
	if (!ptab_names_valid(p, c->names_seq))
		atomic_fetch_add(&ctl->r[self].moved, 1);
	else if (wrong)
		complain("a name of another version");
	else
		atomic_fetch_add(&ctl->r[self].texts, 1);
}

/* Versions of one id never fall, and one version is one content. */
static void check_version(const struct swarm_copy *c, uint64_t last[2])
{
	if (c->s.version < last[0])
		complain("a version went back");
	if (c->s.version == last[0] && c->s.cached_at_ms != last[1])
		complain("one version, two contents");
	last[0] = c->s.version;
	last[1] = c->s.cached_at_ms;
}

static void read_one(const struct ptab *p, struct swarm_copy *c, int self, uint32_t k,
		     uint64_t last[2])
{
	uint8_t id[IH_LEN];
	const char *wrong;

	rig_id(id, k);
	switch (ptab_get(p, id, CONF_SLOT_PEERS, c)) {
	case PTAB_MISS: atomic_fetch_add(&ctl->r[self].miss, 1); break;
	case PTAB_TORN: atomic_fetch_add(&ctl->r[self].torn, 1); break;
	case PTAB_OK:
		atomic_fetch_add(&ctl->r[self].ok, 1);
		wrong = rig_wrong(c, k, MAX_PEERS);
		if (wrong != NULL)
			complain(wrong);
		check_version(c, last);
		check_texts(p, c, self);
		break;
	}
	atomic_fetch_add(&ctl->r[self].beats, 1);
}

static _Noreturn void reader(int self)
{
	struct seg *seg = rig_attach(master, SEG_WORKER);
	struct ptab *p = rig_table(seg, SEG_WORKER);
	struct swarm_copy *c = calloc(1, sizeof(*c));
	uint64_t seed = (uint64_t)self + 1, last[RIG_SWARMS][2] = {{0}};

	if (c == NULL)
		rig_fail("out of memory");
	while (!atomic_load(&ctl->stop)) {
		uint32_t k = (uint32_t)(rig_rand(&seed) % RIG_SWARMS);

		read_one(p, c, self, k, last[k]);
	}
	_exit(0);
}

static pid_t spawn(void)
{
	pid_t pid = fork();

	if (pid < 0)
		rig_fail("fork");
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

/* --- collectors -------------------------------------------------------- */

static void name_peers(struct ptab *p, const struct shm_swarm *s, struct shm_peer *peer)
{
	uint32_t client[8];
	char text[64];

	for (uint32_t n = 0; n < 8; n++)
		client[n] = ptab_string(p, text, client_text(text, s->cached_at_ms, n));
	for (uint32_t n = 0; n < s->npeers; n++)
		peer[n].client = client[n % 8];
}

static void prepare(struct ptab *p, struct shm_swarm *s, struct shm_peer *peer)
{
	uint64_t v = atomic_fetch_add(&ctl->nonce, 1) + 1;

	rig_swarm(s, peer, (uint32_t)(rig_rand(&dice) % RIG_SWARMS), v, MAX_PEERS);
	name_peers(p, s, peer);
}

/* One act of a collector; what comes before `at` is where a stepped one stops. */
static void act(struct ptab *p, struct shm_peer *peer, int stop_first)
{
	uint64_t what = rig_rand(&dice) % 16;
	struct ptab_usage u;
	struct shm_swarm s;

	prepare(p, &s, peer);
	ptab_usage(p, &u);
	if (stop_first)
		raise(SIGSTOP);
	if (what == 0) {
		ptab_drop(p, s.id);
	} else if (what == 1 || u.string_bytes > 7000) {
		ptab_compact_begin(p);
		prepare(p, &s, peer);
		if (ptab_put(p, &s, peer) != PTAB_PUT)
			rig_fail("no room");
		ptab_compact_end(p);
		atomic_fetch_add(&ctl->compactions, 1);
	} else {
		if (ptab_put(p, &s, peer) != PTAB_PUT)
			rig_fail("no room");
		atomic_fetch_add(&ctl->puts, 1);
	}
}

static _Noreturn void collector(enum mode mode, int go)
{
	struct shm_peer *peer = calloc(CONF_SLOT_PEERS, sizeof(*peer));
	struct seg *seg = rig_attach(master, SEG_COLLECTOR);
	uint64_t warm = rig_rand(&dice) % 12;
	const char *wrong;
	struct ptab *p;
	char c;

	if (peer == NULL || read(go, &c, 1) != 1) /* the lease is ours now */
		_exit(1);
	if (mode != TIMED && ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
		_exit(77);
	if (mode == STEP_TAKEOVER)
		raise(SIGSTOP);
	p = rig_table(seg, SEG_COLLECTOR);
	wrong = rig_account(p, seg);
	if (wrong != NULL) {
		complain(wrong);
		_exit(EXIT_WRONG);
	}
	atomic_store(&ctl->ready, (int)getpid());
	for (uint64_t n = 0;; n++)
		act(p, peer, mode == STEP_PUT && n == warm);
}

/* --- the killer -------------------------------------------------------- */

static void set_lease(uint32_t pid)
{
	atomic_store(&seg_head_rw(master)->lease_pid, pid);
}

static uint32_t odd_slots(void)
{
	const struct shm_slot *slots = seg_at(raw, SHM_SLOTS);
	uint32_t n = 0;

	for (uint32_t i = 0; i < seg_dims_of(raw)->slots; i++)
		n += seq_read(&slots[i].seq) & 1;
	return n;
}

static uint32_t odd_names(void)
{
	const struct shm_names *names = seg_at(raw, SHM_PLACES);

	return seq_read(&names->seq) & 1;
}

/* What a takeover that forgets to wipe would do. */
static void make_even(void)
{
	struct shm_slot *slots = seg_at(raw, SHM_SLOTS);

	for (uint32_t i = 0; i < seg_dims_of(raw)->slots; i++)
		if (seq_read(&slots[i].seq) & 1)
			atomic_fetch_add(&slots[i].seq, 1);
}

static void bury(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) == pid && !WIFSIGNALED(status) &&
	       !WIFEXITED(status))
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) != 0 && !atomic_load(&ctl->caught))
		rig_fail("a child ended by itself");
}

/* Until the child stops; 0, or -1: it has ended (and was reaped). */
static int wait_stop(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		rig_fail("waitpid");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		may_step = 0;
	return WIFSTOPPED(status) ? 0 : -1;
}

static int step(pid_t pid)
{
	tally.steps++;
	if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0)
		return -1;
	return wait_stop(pid);
}

/* Some instructions, or on to the odd window and some instructions into it. */
static int step_some(pid_t pid, enum mode mode)
{
	uint64_t limit = mode == STEP_PUT ? 2000 : 8000;
	uint64_t n = rig_rand(&dice) % limit;
	int into_window = mode == STEP_PUT && rig_rand(&dice) % 2 == 0;

	if (into_window) {
		for (n = WINDOW_STEPS; n > 0 && odd_slots() == 0 && odd_names() == 0; n--)
			if (step(pid) != 0)
				return -1;
		n = rig_rand(&dice) % 150;
	}
	while (n-- > 0)
		if (step(pid) != 0)
			return -1;
	return 0;
}

static void wait_ready(pid_t pid)
{
	uint64_t until = clock_ms() + PATIENCE_MS;
	int status;

	while (atomic_load(&ctl->ready) != (int)pid) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			if (!atomic_load(&ctl->caught))
				rig_fail("a collector ended before it was ready");
			return;
		}
		if (clock_ms() > until)
			rig_fail("a takeover hangs");
		nap_us(50);
	}
}

static void look_at_the_dead(void)
{
	tally.odd_slots += odd_slots() > 0;
	tally.odd_names += odd_names();
	if (sabotage)
		make_even();
}

static void one_collector(enum mode mode)
{
	int go[2];
	pid_t pid;

	if (pipe(go) != 0)
		rig_fail("pipe");
	(void)rig_rand(&dice);
	pid = spawn();
	if (pid == 0)
		collector(mode, go[0]);
	set_lease((uint32_t)pid);
	if (write(go[1], "x", 1) != 1)
		rig_fail("write");
	close(go[0]);
	close(go[1]);
	if (mode == TIMED) {
		wait_ready(pid);
		nap_us(rig_rand(&dice) % 4000);
		bury(pid);
	} else if (wait_stop(pid) == 0 && step_some(pid, mode) == 0) {
		bury(pid);
	}
	set_lease(0);
	tally.kills[mode]++;
	tally.takeovers += mode != STEP_TAKEOVER;
	look_at_the_dead();
}

/* Every reader has read since. */
static void readers_live(void)
{
	uint64_t until = clock_ms() + PATIENCE_MS;
	int status;

	for (int i = 0; i < READERS; i++) {
		uint64_t beats = atomic_load(&ctl->r[i].beats);

		while (atomic_load(&ctl->r[i].beats) < beats + 2 * RIG_SWARMS) {
			if (waitpid(reader_pid[i], &status, WNOHANG) == reader_pid[i])
				rig_fail("a reader died");
			if (clock_ms() > until)
				rig_fail("a reader hangs");
			nap_us(50);
		}
	}
}

static void kill_collectors(uint64_t kills)
{
	for (uint64_t i = 0; i < kills && !atomic_load(&ctl->caught); i++) {
		/* half at full speed; of the rest one in three within the takeover */
		enum mode mode = i % 2 == 0   ? TIMED
				 : i % 6 == 3 ? STEP_TAKEOVER
					      : STEP_PUT;

		one_collector(may_step ? mode : TIMED);
		readers_live();
	}
	if (!atomic_load(&ctl->caught))
		one_collector(TIMED); /* the last takeover is checked too */
}

/* --- the lane's producer ----------------------------------------------- */

static void make_job(struct shm_job *job, uint8_t text[SHM_JOB_TEXT_MAX], uint64_t n)
{
	uint64_t r = rig_mix(n);

	memset(job, 0, sizeof(*job));
	job->kind = JOB_PEERS;
	job->text_len = (uint16_t)(r % 500);
	job->token = r;
	job->deadline_ms = n;
	for (uint32_t i = 0; i < job->text_len; i++)
		text[i] = (uint8_t)(r + i);
}

static _Noreturn void producer(int stepped)
{
	struct seg *seg = rig_attach(master, SEG_WORKER);
	static uint8_t text[SHM_JOB_TEXT_MAX];
	char err[ERRLEN];
	struct lane *l;

	if (lane_open(&l, seg, 0, err) != 0)
		rig_fail(err);
	if (stepped && ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
		_exit(77);
	for (;;) {
		struct shm_job job;
		uint64_t n = atomic_fetch_add(&ctl->nonce, 1) + 1;

		make_job(&job, text, n);
		if (stepped)
			raise(SIGSTOP);
		while (lane_push(l, &job, text, "0123456789abcdef") != 0)
			;
		atomic_fetch_add(&ctl->pushed, 1);
	}
}

/* Take all there is; every job whole, none twice, none out of order. */
static void take_jobs(struct lane *l, uint64_t *last)
{
	static uint8_t text[SHM_JOB_TEXT_MAX], want_text[SHM_JOB_TEXT_MAX];
	struct shm_job job, want;
	char name[REQID_MAX + 1];
	int rc;

	while ((rc = lane_pop(l, &job, text, name)) == 1) {
		make_job(&want, want_text, job.deadline_ms);
		if (job.deadline_ms <= *last || memcmp(&job, &want, sizeof(job)) != 0 ||
		    memcmp(text, want_text, job.text_len) != 0 ||
		    (name[0] && strcmp(name, "0123456789abcdef") != 0))
			complain("a job that nobody pushed like this");
		*last = job.deadline_ms;
		tally.jobs++;
	}
	if (rc < 0)
		complain("the job ring made no sense");
}

static void one_producer(struct lane *l, uint64_t *last, int stepped)
{
	uint64_t until, n;
	pid_t pid = spawn();

	if (pid == 0)
		producer(stepped);
	if (stepped) {
		int alive = wait_stop(pid) == 0;

		for (n = rig_rand(&dice) % 400; alive && n > 0; n--)
			alive = step(pid) == 0;
		if (alive)
			bury(pid);
	} else {
		until = clock_us() + rig_rand(&dice) % 3000;
		while (clock_us() < until)
			take_jobs(l, last);
		bury(pid);
	}
	take_jobs(l, last);
	tally.lane_kills++;
}

static void kill_producers(uint64_t kills)
{
	struct lane *l;
	uint64_t last = 0;
	char err[ERRLEN];

	if (lane_open(&l, raw, 0, err) != 0)
		rig_fail(err);
	for (uint64_t i = 0; i < kills && !atomic_load(&ctl->caught); i++)
		one_producer(l, &last, may_step && i % 2);
	/* a job may be in the ring though its producer died before it could count it */
	if (tally.jobs < atomic_load(&ctl->pushed) ||
	    tally.jobs > atomic_load(&ctl->pushed) + kills)
		complain("jobs were lost or invented");
	lane_close(&l);
}

/* --- the end ----------------------------------------------------------- */

/* The same program, sabotaged, must fail: else a green run means nothing. */
static void sabotage_is_seen(const char *self)
{
	pid_t pid = spawn();
	int status;

	if (pid == 0) {
		execl(self, self, "--sabotage", "2000", (char *)NULL);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) != EXIT_WRONG)
		rig_fail("the sabotaged run was not found out");
}

static void stop_readers(void)
{
	int status;

	atomic_store(&ctl->stop, 1);
	for (int i = 0; i < READERS; i++)
		if (waitpid(reader_pid[i], &status, 0) != reader_pid[i] || status != 0)
			rig_fail("a reader did not end well");
}

static void report(void)
{
	uint64_t ok = 0, torn = 0, miss = 0, moved = 0, texts = 0;

	for (int i = 0; i < READERS; i++) {
		ok += atomic_load(&ctl->r[i].ok);
		torn += atomic_load(&ctl->r[i].torn);
		miss += atomic_load(&ctl->r[i].miss);
		moved += atomic_load(&ctl->r[i].moved);
		texts += atomic_load(&ctl->r[i].texts);
	}
	printf("kill%s: collectors killed %" PRIu64 " at speed, %" PRIu64
	       " inside a put, %" PRIu64 " inside a takeover (%" PRIu64
	       " steps); %" PRIu64 " left a slot odd, %" PRIu64
	       " the names; %llu puts, %llu compactions; reads: %" PRIu64
	       " whole (%" PRIu64 " with names), %" PRIu64 " missed, %" PRIu64
	       " torn, %" PRIu64 " names moved; producers killed %" PRIu64 ", %" PRIu64
	       " jobs; %s\n",
	       sabotage ? " (sabotage)" : "", tally.kills[TIMED], tally.kills[STEP_PUT],
	       tally.kills[STEP_TAKEOVER], tally.steps, tally.odd_slots, tally.odd_names,
	       (unsigned long long)atomic_load(&ctl->puts),
	       (unsigned long long)atomic_load(&ctl->compactions), ok, texts, miss, torn,
	       moved, tally.lane_kills, tally.jobs,
	       atomic_load(&ctl->caught) ? "WRONG" : "nothing wrong");
	if (!may_step)
		printf("kill: ptrace is not permitted here: nothing was single-stepped\n");
}

int main(int argc, char **argv)
{
	uint64_t kills = 240;
	char name[64];

	sabotage = argc > 1 && strcmp(argv[1], "--sabotage") == 0;
	if (argc > 1 + sabotage)
		kills = strtoull(argv[1 + sabotage], NULL, 10);
	if (!sabotage)
		sabotage_is_seen(argv[0]);
	alarm(WATCHDOG_S);
	ctl = mmap(NULL, sizeof(*ctl), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		   -1, 0);
	if (ctl == MAP_FAILED)
		rig_fail("mmap");
	master = rig_segment(name, RIG_SWARMS - 2, 40);
	seg_unlink(name);
	raw = rig_attach(master, SEG_COLLECTOR);
	for (int i = 0; i < READERS; i++) {
		reader_pid[i] = spawn();
		if (reader_pid[i] == 0)
			reader(i);
	}
	kill_collectors(kills);
	if (!sabotage)
		kill_producers(kills / 3);
	stop_readers();
	report();
	seg_close(&raw);
	seg_close(&master);
	if (atomic_load(&ctl->caught))
		return EXIT_WRONG;
	if (!sabotage && kills >= 200 && may_step &&
	    (tally.odd_slots == 0 || tally.odd_names == 0))
		rig_fail(
			"no kill hit the odd window: the test does not reach what it is for");
	return 0;
}

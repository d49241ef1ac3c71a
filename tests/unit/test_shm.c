/*
 * test_shm.c -- the segment, lanes, counters and top, one fact each. The peer table
 * is in test_ptab.c; what needs two threads or a death is in tests/torture/.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "shm_stage.h"

#include <cJSON.h>

#include "shm/lane.h"
#include "shm/top.h"
#include "shm/topscreen.h"
#include "shm/topwords.h"

/* --- segment ------------------------------------------------------------ */

static void defaults_stay_small(void **state)
{
	static struct conf c;
	struct shm_dims d;
	uint64_t total, at_start;

	(void)state;
	conf_defaults(&c);
	seg_dims(&d, &c, CONF_MAX_WORKERS);
	seg_sizes(&d, &total, &at_start);
	assert_true(total < 48u << 20);
	seg_dims(&d, &c, 4);
	seg_sizes(&d, &total, &at_start);
	/* and the first step of the pool, of places and of strings */
	assert_true(at_start + SHM_STEP + 2 * SHM_NAMES_STEP < 4u << 20);
	assert_true(d.buckets >= 2 * d.slots);
	assert_true(d.lane_bytes >= (uint64_t)c.http_max_parked * sizeof(struct shm_job));
	assert_true(d.lane_done >= 2 * c.http_max_parked);
}

static void memory_at_start_is_what_was_promised(void **state)
{
	struct stage *st = *state;
	uint64_t total, at_start;
	struct stat sb;

	seg_sizes(&small, &total, &at_start);
	assert_int_equal(fstat(seg_fd(st->master), &sb), 0);
	assert_int_equal(sb.st_size, total);
	assert_true((uint64_t)sb.st_blocks * 512 <= at_start + SHM_PAGE);
}

static void a_leftover_is_made_anew(void **state)
{
	struct stage *st = *state;
	struct seg *again;
	int leftover = 0;

	assert_int_equal(seg_create(&again, st->name, &small, &leftover, st->err), 0);
	assert_int_equal(leftover, 1);
	assert_int_not_equal(seg_head(again)->seed, seg_head(st->master)->seed);
	seg_close(&again);
}

static void a_bad_name_is_refused(void **state)
{
	struct stage *st = *state;
	struct seg *seg = NULL;
	int leftover;

	assert_int_equal(seg_create(&seg, "none", &small, &leftover, st->err), -1);
	assert_int_equal(seg_create(&seg, "/a/b", &small, &leftover, st->err), -1);
	assert_null(seg);
	assert_int_equal(seg_view(&seg, "/peerscope-nobody", st->err), -1);
	assert_non_null(strstr(st->err, "/peerscope-nobody"));
}

/* Change 4 bytes of a copy of the segment's first page and try to map it. */
static int attach_damaged(struct stage *st, size_t at, uint32_t with, off_t size)
{
	int fd = memfd_create("damaged", MFD_CLOEXEC);
	struct seg *seg;
	int rc;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(pwrite(fd, seg_head(st->master), SHM_PAGE, 0), SHM_PAGE);
	if (at < SHM_PAGE)
		assert_int_equal(pwrite(fd, &with, 4, (off_t)at), 4);
	rc = seg_attach(&seg, fd, SEG_VIEWER, st->err);
	if (rc == 0)
		seg_close(&seg);
	close(fd);
	return rc;
}

static void a_foreign_header_is_refused(void **state)
{
	struct stage *st = *state;
	off_t size = (off_t)seg_head(st->master)->total;
	size_t end = offsetof(struct shm_head, master_pid);

	assert_int_equal(attach_damaged(st, SHM_PAGE, 0, size), 0);
	assert_int_equal(attach_damaged(st, SHM_PAGE, 0, size - SHM_PAGE), -1);
	assert_int_equal(attach_damaged(st, SHM_PAGE, 0, size + SHM_PAGE), -1);
	/* every word but boot time and seed must be right, whatever stands there; a size
	 * that is off by less than a page is harmless: sections are whole pages */
	for (size_t at = 0; at < sizeof(struct shm_head) && at < end; at += 4) {
		uint32_t was;

		memcpy(&was, (const char *)seg_head(st->master) + at, 4);
		if (at >= offsetof(struct shm_head, boot_wall_ms) &&
		    at < offsetof(struct shm_head, dims))
			continue;
		if (at >= offsetof(struct shm_head, range) +
				  sizeof(seg_head(st->master)->range))
			continue; /* padding */
		if (at < offsetof(struct shm_head, dims) ||
		    at >= offsetof(struct shm_head, range))
			assert_int_equal(attach_damaged(st, at, was ^ 1, size), -1);
		assert_int_equal(attach_damaged(st, at, ~was, size), -1);
	}
	assert_int_equal(attach_damaged(st, 0, 0, size), -1);
	assert_non_null(strstr(st->err, "magic"));
	assert_int_equal(attach_damaged(st, 8, 77, size), -1);
	assert_non_null(strstr(st->err, "layout 77"));
}

static void write_byte(void *at)
{
	*(volatile char *)at = 1;
}

/* The rule about who writes what is a fault, not a comment. */
static void a_write_by_the_wrong_side_faults(void **state)
{
	static const struct {
		enum seg_side side;
		enum shm_section section;
		int fault;
	} want[] = {
		{SEG_WORKER, SHM_LANES, 0}, {SEG_WORKER, SHM_STATS, 0},
		{SEG_WORKER, SHM_BOARD, 1}, {SEG_WORKER, SHM_INDEX, 1},
		{SEG_WORKER, SHM_SLOTS, 1}, {SEG_WORKER, SHM_PLACES, 1},
		{SEG_WORKER, SHM_POOL, 1},  {SEG_MASTER, SHM_SLOTS, 1},
		{SEG_MASTER, SHM_PAGES, 0}, {SEG_COLLECTOR, SHM_SLOTS, 0},
		{SEG_VIEWER, SHM_PAGES, 1}, {SEG_VIEWER, SHM_STATS, 1},
	};
	struct stage *st = *state;

	for (size_t i = 0; i < PS_ARRAY_LEN(want); i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			struct seg *seg;

			signal(SIGSEGV, SIG_DFL);
			if (seg_attach(&seg, seg_fd(st->master), want[i].side, st->err) !=
			    0)
				_exit(1);
			write_byte(seg_at(seg, want[i].section));
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		/* a sanitizer turns the fault into an exit of its own */
		assert_int_equal(WIFSIGNALED(status) || WEXITSTATUS(status) != 0,
				 want[i].fault);
	}
}

/* A /dev/shm of our own, of this size; 0, or -1: not permitted here. */
static int small_dev_shm(const char *size)
{
	if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
		return -1;
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return -1;
	return mount("tmpfs", "/dev/shm", "tmpfs", 0, size);
}

/* Ends with the number of the line that was not as it should be. */
static _Noreturn void with_little_room(struct stage *st)
{
	struct shm_dims d = small;
	struct seg *master, *seg;
	struct ptab *p;
	struct shm_swarm s;
	int leftover;

#define MUST(x)                                    \
	do {                                       \
		if (!(x))                          \
			_exit(__LINE__ % 200 + 1); \
	} while (0)
	if (small_dev_shm("size=512k") != 0)
		_exit(201);
	d.chunks = 1024;
	d.worker_slots = 64;
	MUST(seg_create(&seg, "/p", &d, &leftover, st->err) == -1);
	MUST(strstr(st->err, "/dev/shm has 512 KiB free") != NULL);
	MUST(strstr(st->err, "--shm-size=") != NULL);
	MUST(access("/dev/shm/p", F_OK) != 0);
	/* enough to start with, and not for the first step of the pool */
	d.worker_slots = 4;
	MUST(seg_create(&master, "/p", &d, &leftover, st->err) == 0);
	atomic_store(&seg_head_rw(master)->lease_pid, (uint32_t)getpid());
	MUST(seg_attach(&seg, seg_fd(master), SEG_COLLECTOR, st->err) == 0);
	MUST(ptab_open(&p, seg, SEG_COLLECTOR, st->err) == 0);
	memset(&s, 0, sizeof(s));
	s.npeers = 1;
	MUST(ptab_put(p, &s, st->peer) == PTAB_PUT_FULL);
	s.npeers = 0;
	MUST(ptab_put(p, &s, st->peer) == PTAB_PUT);
	_exit(0);
#undef MUST
}

static void a_full_file_system_is_said_plainly(void **state)
{
	struct stage *st = *state;
	pid_t pid = fork();
	int status;

	if (pid == 0)
		with_little_room(st);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 201) {
		print_message("skipped: may not mount a small /dev/shm here\n");
		skip();
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- lanes -------------------------------------------------------------- */

static void a_job_comes_out_as_it_went_in(void **state)
{
	struct stage *st = *state;
	struct shm_job in = {.kind = JOB_PEERS, .text_len = 70, .token = 9}, out;
	uint8_t text[SHM_JOB_TEXT_MAX], got[SHM_JOB_TEXT_MAX];
	char name[REQID_MAX + 1];
	struct lane *l, *c;

	memset(text, 0xab, sizeof(text));
	assert_int_equal(lane_open(&l, st->worker, 3, st->err), 0);
	assert_int_equal(lane_open(&c, st->seg, 3, st->err), 0);
	assert_int_equal(lane_pop(c, &out, got, name), 0);
	assert_int_equal(lane_push(l, &in, text, ""), 0);
	assert_int_equal(lane_depth(c), 64 + 128);
	assert_int_equal(lane_pop(c, &out, got, name), 1);
	assert_memory_equal(&in, &out, sizeof(in));
	assert_memory_equal(text, got, 70);
	assert_string_equal(name, "");
	assert_int_equal(lane_depth(c), 0);
	assert_int_equal(lane_push(l, &in, text, "what-the-log-calls-it"), 0);
	assert_int_equal(lane_depth(c), 64 + 128);
	assert_int_equal(lane_pop(c, &out, got, name), 1);
	assert_memory_equal(&in, &out, sizeof(in));
	assert_memory_equal(text, got, 70);
	assert_string_equal(name, "what-the-log-calls-it");
	in.text_len = SHM_JOB_TEXT_MAX; /* no room beside it */
	assert_int_equal(lane_push(l, &in, text, "x"), 0);
	assert_int_equal(lane_pop(c, &out, got, name), 1);
	assert_memory_equal(&in, &out, sizeof(in));
	assert_string_equal(name, "");
	lane_close(&l);
	lane_close(&c);
	assert_int_equal(lane_open(&l, st->worker, 4, st->err), -1);
}

/* A name never costs the room of a job: a lane that is a quarter full has none. */
static void names_give_way_to_jobs(void **state)
{
	struct stage *st = *state;
	struct shm_job job = {.kind = JOB_PEERS};
	uint8_t text[SHM_JOB_TEXT_MAX];
	char name[REQID_MAX + 1];
	int n = 0, named = 0;
	struct lane *l;

	assert_int_equal(lane_open(&l, st->seg, 0, st->err), 0);
	while (lane_push(l, &job, NULL, "abc") == 0)
		n++;
	for (int i = 0; i < n; i++) {
		assert_int_equal(lane_pop(l, &job, text, name), 1);
		assert_int_equal(job.flags | job.text_len, 0);
		assert_true(!name[0] || strcmp(name, "abc") == 0);
		named += name[0] != '\0';
	}
	assert_int_equal(named, 65536 / 4 / 128 + 1);
	assert_int_equal(n, 65536 / 64 - named);
	lane_close(&l);
}

static void a_full_lane_refuses(void **state)
{
	struct stage *st = *state;
	struct shm_job job = {.kind = JOB_PEERS};
	uint8_t text[SHM_JOB_TEXT_MAX] = {0};
	char name[REQID_MAX + 1];
	struct lane *l;
	int n = 0;

	assert_int_equal(lane_open(&l, st->worker, 0, st->err), 0);
	while (lane_push(l, &job, NULL, "") == 0)
		n++;
	assert_int_equal(n, 65536 / 64);
	assert_int_equal(lane_pop(l, &job, text, name), 1);
	assert_int_equal(lane_push(l, &job, NULL, ""), 0);
	job.text_len = 1;
	assert_int_equal(lane_push(l, &job, text, ""), -1);
	lane_close(&l);
}

static struct shm_lane *raw_lane(struct stage *st, int slot)
{
	size_t stride = sizeof(struct shm_lane) + small.lane_bytes +
			small.lane_done * sizeof(struct shm_done);

	return (struct shm_lane *)((char *)seg_at(st->seg, SHM_LANES) +
				   stride * (size_t)slot);
}

static void a_ring_without_sense_is_emptied(void **state)
{
	static const uint32_t tails[] = {1, 63, 65537, 0x80000000u, UINT32_MAX};
	struct stage *st = *state;
	struct shm_lane *raw = raw_lane(st, 0);
	struct shm_job job = {.kind = JOB_PEERS, .text_len = 5000};
	uint8_t text[SHM_JOB_TEXT_MAX] = {0};
	char name[REQID_MAX + 1];
	struct lane *l;

	assert_int_equal(lane_open(&l, st->seg, 0, st->err), 0);
	for (size_t i = 0; i < PS_ARRAY_LEN(tails); i++) {
		atomic_store(&raw->job_tail, atomic_load(&raw->job_head) + tails[i]);
		assert_int_equal(lane_pop(l, &job, text, name), -1);
		assert_int_equal(lane_pop(l, &job, text, name), 0);
	}
	/* a text that is longer than what was pushed */
	atomic_store(&raw->job_head, 0);
	atomic_store(&raw->job_tail, 64);
	job.text_len = 5000;
	memcpy(raw + 1, &job, sizeof(job));
	assert_int_equal(lane_pop(l, &job, text, name), -1);
	assert_int_equal(lane_depth(l), 0);
	/* a name that is longer than the text it lies in, or than any may be */
	for (uint32_t i = 0; i < 2; i++) {
		atomic_store(&raw->job_head, 0);
		atomic_store(&raw->job_tail, 192);
		job.text_len = (uint16_t)(i ? 100 : 10);
		job.flags = (i ? REQID_MAX + 1 : 11u) << JOB_F_REQUEST;
		memcpy(raw + 1, &job, sizeof(job));
		assert_int_equal(lane_pop(l, &job, text, name), -1);
		assert_int_equal(lane_depth(l), 0);
	}
	/* and it works again */
	job.flags = 0;
	job.text_len = 10;
	assert_int_equal(lane_push(l, &job, text, ""), 0);
	assert_int_equal(lane_pop(l, &job, text, name), 1);
	lane_close(&l);
}

static void completions_keep_their_order_and_their_room(void **state)
{
	struct stage *st = *state;
	enum lane_rc rc;
	uint32_t retry_s;
	uint64_t token;
	struct lane *l;

	assert_int_equal(lane_open(&l, st->seg, 0, st->err), 0);
	assert_int_equal(lane_done_room(l), 64);
	for (uint32_t i = 0; i < 64; i++)
		lane_done_push(l, lane_token(0, 1, i), LANE_LIMITED, i + 7);
	assert_int_equal(lane_done_room(l), 0);
	for (uint32_t i = 0; i < 63; i++) {
		assert_int_equal(lane_done_pop(l, &token, &rc, &retry_s), 1);
		assert_int_equal(lane_token_seq(token), i);
		assert_int_equal(rc, LANE_LIMITED);
		assert_int_equal(retry_s, i + 7);
	}
	lane_enter(l); /* the worker is a new one */
	assert_int_equal(lane_done_pop(l, &token, &rc, &retry_s), 0);
	atomic_store(&raw_lane(st, 0)->done_tail, 5000);
	assert_int_equal(lane_done_pop(l, &token, &rc, &retry_s), 0);
	assert_int_equal(lane_done_room(l), 64);
	lane_close(&l);
}

static void a_token_says_whose_it_is(void **state)
{
	uint64_t t = lane_token(63, 0x12345678, 0xfffffffe);

	(void)state;
	assert_int_equal(lane_token_slot(t), 63);
	assert_int_equal(lane_token_gen(t), 0x345678);
	assert_int_equal(lane_token_seq(t), 0xfffffffe);
	assert_true(lane_token(0, 0, 0) != 0);
}

/* --- counters ----------------------------------------------------------- */

static void totals_survive_their_processes(void **state)
{
	struct stage *st = *state;

	stat_inc(http_2xx); /* nobody's: goes nowhere */
	assert_int_equal(stat_total(st->master, STAT_http_2xx), 0);
	stat_own(st->worker, 2);
	stat_add(STAT_http_2xx, 5);
	stat_own(st->worker, 3);
	stat_inc(http_2xx);
	assert_int_equal(stat_total(st->master, STAT_http_2xx), 6);
	stat_retire(st->master, 2);
	assert_int_equal(stat_total(st->master, STAT_http_2xx), 6);
	stat_own(st->worker, 2);
	stat_inc(http_2xx);
	assert_int_equal(stat_total(st->master, STAT_http_2xx), 7);
	assert_string_equal(stat_counters[STAT_http_2xx].name, "http_2xx");
}

/* A master that died while it retired a block: readers still end, with a sum. */
static void an_odd_sum_is_still_a_sum(void **state)
{
	struct stage *st = *state;
	struct shm_stats *stats = seg_at(st->master, SHM_STATS);

	stat_own(st->worker, 0);
	stat_add(STAT_http_2xx, 3);
	atomic_store(&stats->seq, 1);
	assert_int_equal(stat_total(st->worker, STAT_http_2xx), 3);
}

static void only_the_collector_sets_gauges(void **state)
{
	struct stage *st = *state;

	stat_own(st->worker, 0);
	stat_set(dht_nodes, 4); /* would fault if it wrote */
	assert_int_equal(stat_gauge_get(st->worker, GAUGE_dht_nodes), 0);
	stat_own(st->seg, small.worker_slots);
	stat_set(dht_nodes, 4);
	assert_int_equal(stat_gauge_get(st->worker, GAUGE_dht_nodes), 4);
}

/* --- top ---------------------------------------------------------------- */

static void top_shows_what_is_there(void **state)
{
	struct stage *st = *state;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	struct shm_page *page = seg_page(st->master, 1);
	struct owner owner;
	cJSON *j, *proc;

	owner_start(&owner, st);

	atomic_store(&page->pid, 4242);
	atomic_store(&page->state, 2);
	atomic_store(&page->gen, 7);
	atomic_store(&page->generation, 3);
	stat_own(st->worker, 1);
	stat_add(STAT_http_requests, 17);
	assert_int_equal(put(st, 0xab, 3), PTAB_PUT);
	assert_int_equal(top_run(st->name, 1, 1, out, st->err), 0);
	fclose(out);
	j = cJSON_Parse(text);
	assert_non_null(j);
	assert_int_equal(cJSON_GetObjectItem(cJSON_GetObjectItem(j, "counters"),
					     "http_requests")
				 ->valueint,
			 17);
	proc = cJSON_GetArrayItem(cJSON_GetObjectItem(j, "processes"), 1);
	assert_int_equal(cJSON_GetObjectItem(proc, "pid")->valueint, 4242);
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(proc, "role")),
			    "worker");
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(proc, "name")),
			    "worker 2 (gen 3)");
	assert_int_equal(cJSON_GetObjectItem(proc, "gen")->valueint, 3);
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(proc, "state")),
			    "running");
	proc = cJSON_GetArrayItem(cJSON_GetObjectItem(j, "swarms"), 0);
	assert_int_equal(cJSON_GetObjectItem(proc, "peers")->valueint, 3);
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(proc, "protocol")),
			    "bittorrent");
	cJSON_Delete(j);
	free(text);
	out = open_memstream(&text, &len);
	assert_int_equal(top_run(st->name, 1, 0, out, st->err), 0);
	fclose(out);
	assert_non_null(
		strstr(text, "abababababababababababababababababababab bittorrent "));
	assert_non_null(strstr(text, "requests answered"));
	assert_non_null(strstr(text, "\nvpn_state                           off "));
	assert_non_null(strstr(text, "\nengine_since_s                    never "));
	assert_null(strchr(text, '\033'));
	free(text);
	owner_stop(&owner);
	assert_int_equal(top_run("/peerscope-nobody", 1, 0, stdout, st->err), -1);
}

static void page_is(const char *text, size_t rows, size_t *at, const char *want)
{
	struct buf b;

	buf_init(&b, 4096);
	topscreen_page(&b, text, rows, at);
	assert_string_equal(b.p, want);
	buf_free(&b);
}

static void top_folds_and_scrolls(void **state)
{
	static const char text[] = "1\n2\n3\n4\n5\n";
	struct buf b;
	size_t at = 0;

	(void)state;
	buf_init(&b, 4096);
	topscreen_fold(&b, "0123456789abcdef\n\n01234567\nend", 8);
	assert_string_equal(b.p, "01234567\n    89ab\n    cdef\n\n01234567\nend\n");
	buf_free(&b);
	page_is(text, 5, &at, "1\n2\n3\n4\n5");
	page_is(text, 3, &at, "1\n2\n-- rows 1 to 2 of 5; " TOPSCREEN_HELP);
	assert_int_equal(topscreen_keys("j", 1, 3, &at), 0);
	page_is(text, 3, &at, "2\n3\n-- rows 2 to 3 of 5; " TOPSCREEN_HELP);
	assert_int_equal(topscreen_keys("\033[6~\033[B", 7, 3, &at), 0);
	assert_int_equal(at, 3);
	assert_int_equal(topscreen_keys("G", 1, 3, &at), 0);
	page_is(text, 3, &at, "4\n5\n-- rows 4 to 5 of 5; " TOPSCREEN_HELP);
	assert_int_equal(at, 3);
	assert_int_equal(topscreen_keys("b", 1, 3, &at), 0);
	assert_int_equal(at, 2);
	assert_int_equal(topscreen_keys("\033[A\033OA\033[A", 9, 3, &at), 0);
	assert_int_equal(at, 0);
	assert_int_equal(topscreen_keys("x\033[", 3, 3, &at),
			 0); /* nothing that we know */
	assert_int_equal(at, 0);
	assert_int_equal(topscreen_keys("jq", 2, 3, &at), 1);
	at = 7; /* and the picture has become short */
	page_is("1\n", 3, &at, "1");
	assert_int_equal(at, 0);
}

static void top_has_words_for_people(void **state)
{
	const uint64_t now = 1700000000000;
	char out[TOPWORDS_MAX], help[128];

	(void)state;
	assert_string_equal(topwords_gauge(out, GAUGE_vpn_state, VPN_DEAD_NAMESPACE, now),
			    "dead_namespace");
	assert_string_equal(topwords_gauge(out, GAUGE_path_udp, 2, now), "blocked");
	assert_string_equal(topwords_gauge(out, GAUGE_path_reach, 2, now), "firewalled");
	assert_string_equal(topwords_gauge(out, GAUGE_redis_mode, 1, now), "external");
	assert_string_equal(topwords_gauge(out, GAUGE_redis_mode, 9, now), "?");
	assert_string_equal(topwords_gauge(out, GAUGE_interface_why, 3, now),
			    "has no carrier");
	assert_string_equal(topwords_gauge(out, GAUGE_interface_ok, 1, now), "yes");
	assert_string_equal(topwords_gauge(out, GAUGE_meta_unwritable, 0, now), "no");
	assert_string_equal(topwords_gauge(out, GAUGE_path_since_s, 1699999960, now),
			    "40s ago");
	assert_string_equal(topwords_gauge(out, GAUGE_path_dht_s, 0, now), "never");
	assert_string_equal(topwords_gauge(out, GAUGE_path_dht_s, 1700000009, now),
			    "0.0s ago");
	assert_string_equal(topwords_gauge(out, GAUGE_dht_nodes, 40, now), "40");
	assert_string_equal(topwords_help(help, GAUGE_path), "verdict on the path");
	assert_string_equal(topwords_help(help, GAUGE_vpn_since_s),
			    "when vpn_state became so");
	assert_string_equal(topwords_help(help, GAUGE_redis_up), "Redis answers");
	assert_string_equal(topwords_help(help, GAUGE_path_failure),
			    "how a tracker failed last");
	assert_string_equal(topwords_help(help, GAUGE_vpn_port),
			    "port that Gluetun forwards, 0: none");
}

/* What a killed master left looks as if all went well: states, pids, beats. */
static void top_knows_a_dead_daemon(void **state)
{
	struct stage *st = *state;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	struct owner owner;

	owner_start(&owner, st);
	assert_true(seg_owned(st->worker));
	owner_stop(&owner);
	assert_false(seg_owned(st->worker));
	for (int json = 0; json < 2; json++) {
		assert_int_equal(top_run(st->name, 1, json, out, st->err), -1);
		assert_non_null(strstr(st->err, "the daemon of this segment is dead"));
	}
	assert_int_equal(top_run(st->name, 0, 0, out, st->err), -1);
	fclose(out);
	assert_int_equal(len, 0);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_stay_small),
		T(memory_at_start_is_what_was_promised),
		T(a_leftover_is_made_anew),
		T(a_bad_name_is_refused),
		T(a_foreign_header_is_refused),
		T(a_write_by_the_wrong_side_faults),
		T(a_full_file_system_is_said_plainly),
		T(a_job_comes_out_as_it_went_in),
		T(a_full_lane_refuses),
		T(names_give_way_to_jobs),
		T(a_ring_without_sense_is_emptied),
		T(completions_keep_their_order_and_their_room),
		cmocka_unit_test(a_token_says_whose_it_is),
		T(totals_survive_their_processes),
		T(an_odd_sum_is_still_a_sum),
		T(only_the_collector_sets_gauges),
		T(top_shows_what_is_there),
		cmocka_unit_test(top_has_words_for_people),
		cmocka_unit_test(top_folds_and_scrolls),
		T(top_knows_a_dead_daemon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

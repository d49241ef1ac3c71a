/*
 * spawn.c -- fork, exec, kill and reap: what sup.c decided, done. See master.h.
 *
 * Workers are forked and stay this program image. The collector is exec'd, as
 * libtorrent brings C++ and threads; it reads struct kid from a sealed memfd.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "master/master.h"
#include "master/redis_exec.h"
#include "master/said.h"
#include "shm/stat.h"

const char *spawn_name(const struct master *m, int row, char out[48])
{
	const struct sup_row *r = &m->sup.row[row];

	if (r->role == KID_WORKER)
		snprintf(out, 48, "worker %d (gen %u)", r->index + 1, r->generation);
	else
		snprintf(out, 48, "%s",
			 r->role == KID_COLLECTOR ? "collector" : "redis-server");
	return out;
}

void spawn_init(struct master *m)
{
	for (int i = 0; i < SUP_ROWS; i++)
		m->child[i].chan_fd = -1;
}

/* Deaths are counted by the name that people know, over all generations. */
static uint32_t *deaths_of(struct master *m, int row)
{
	const struct sup_row *r = &m->sup.row[row];

	return &m->child[r->role == KID_WORKER ? r->index : row].deaths;
}

static void close_chan(struct child *c)
{
	if (c->chan_fd >= 0)
		close(c->chan_fd);
	c->chan_fd = -1;
}

/* A generation that is starting runs on the staged config, all others on ours. */
static const struct conf *conf_of(const struct master *m, int row)
{
	int staged = m->sup.staged && m->sup.row[row].role == KID_WORKER &&
		     sup_half(&m->sup, row) != m->sup.half;

	return staged ? &m->staged : &m->conf;
}

static void fill_kid(struct master *m, int row, uint32_t gen, int chan_fd)
{
	struct kid *k = &m->kid;

	memset(k, 0, sizeof *k);
	k->magic = KID_MAGIC;
	k->size = sizeof *k;
	k->role = m->sup.row[row].role;
	k->slot = row;
	k->index = m->sup.row[row].index;
	k->nworkers = m->sup.nworkers;
	k->gen = gen;
	k->generation = m->sup.row[row].generation;
	k->nlisten = m->socks.naddr;
	k->chan_fd = chan_fd;
	k->seg_fd = m->seg_fd;
	k->collector_bell_fd = m->collector_bell_fd;
	memcpy(k->worker_bell_fd, m->worker_bell_fd, sizeof k->worker_bell_fd);
	if (k->role == KID_WORKER)
		memcpy(k->listen_fd, m->socks.fd, sizeof k->listen_fd);
	else
		memset(k->listen_fd, 0xff, sizeof k->listen_fd);
	snprintf(k->run_dir, sizeof k->run_dir, "%s", m->own.dir);
	if (m->sup.has_redis)
		snprintf(k->redis_sock, sizeof k->redis_sock, "%s", m->own.redis_sock);
	k->conf = *conf_of(m, row);
}

/* --- in the child ------------------------------------------------------- */

static void worker_child(struct master *m)
{
	/* Our view of the segment may write what a worker must not; it maps its own. */
	stat_own(NULL, 0);
	seg_close(&m->seg);
	exit(worker_main(&m->kid));
}

static void keep_over_exec(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, 0);
}

static void collector_child(struct master *m, int row, int kid_fd)
{
	static char name[] = "peerscope: collector", flag[] = "--collector";
	char number[16], *argv[] = {name, flag, number, NULL};

	/* It may look for its lease before the master gets to run again. */
	atomic_store(&seg_head_rw(m->seg)->lease_pid, (uint32_t)getpid());
	atomic_store(&seg_page(m->seg, (uint32_t)row)->pid, (uint32_t)getpid());
	snprintf(number, sizeof number, "%d", kid_fd);
	keep_over_exec(kid_fd);
	keep_over_exec(m->kid.chan_fd);
	keep_over_exec(m->kid.seg_fd);
	keep_over_exec(m->kid.collector_bell_fd);
	for (int i = 0; i < KID_SLOTS; i++)
		keep_over_exec(m->kid.worker_bell_fd[i]);
	execv("/proc/self/exe", argv);
	log_error("master", "exec of the collector: %s", strerror(errno));
	_exit(127);
}

/* --- in the master ------------------------------------------------------ */

/* Before the fork: a child must find its page and its generation there. */
static void announce(struct master *m, int row, uint32_t gen, int again)
{
	struct shm_page *page = seg_page(m->seg, (uint32_t)row);
	struct shm_head *head = seg_head_rw(m->seg);

	atomic_store(&page->gen, gen);
	atomic_store(&page->generation, m->sup.row[row].generation);
	atomic_store(&page->deaths, *deaths_of(m, row));
	atomic_store(&page->started_ms, clock_wall_ms());
	if (again)
		atomic_fetch_add(&head->respawns, 1);
	if (m->sup.row[row].role == KID_COLLECTOR)
		atomic_store(&head->epoch, gen);
}

static void born(struct master *m, int row, pid_t pid, int chan_fd)
{
	m->child[row].pid = pid;
	m->child[row].chan_fd = chan_fd;
	m->child[row].killed_for = NULL;
	atomic_store(&seg_page(m->seg, (uint32_t)row)->pid, (uint32_t)pid);
	if (m->sup.row[row].role == KID_COLLECTOR)
		atomic_store(&seg_head_rw(m->seg)->lease_pid, (uint32_t)pid);
}

/* A table has one writer at a time: the one that fills a new one ends first. */
static int is_writing(const struct master *m, enum kid_role role)
{
	if (role != KID_COLLECTOR || m->up.restorer == 0)
		return 0;
	log_info("master", "the collector waits until the new table is filled");
	return 1;
}

int spawn_row(struct master *m, int row, uint32_t gen, int again)
{
	enum kid_role role = m->sup.row[row].role;
	char name[48], err[ERRLEN];
	int chan[2] = {-1, -1}, kid_fd = -1;
	pid_t pid, self = getpid();

	if (is_writing(m, role))
		return -1;
	spawn_name(m, row, name);
	announce(m, row, gen, again);
	if (role == KID_REDIS) {
		if (m->redis_said_fd >= 0)
			close(m->redis_said_fd);
		m->redis_said_fd = redis_exec_prepare(m->own.redis_sock);
	} else {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
			       chan)) {
			log_error("master", "%s: socketpair: %s", name, strerror(errno));
			return -1;
		}
		fill_kid(m, row, gen, chan[1]);
	}
	if (role == KID_COLLECTOR) {
		kid_fd = kid_pack("peerscope-kid", &m->kid, sizeof m->kid, err);
		if (kid_fd < 0) {
			log_error("master", "%s: %s", name, err);
			goto fail;
		}
	}
	fflush(NULL); /* or the child writes it again */
	pid = fork();
	if (pid < 0) {
		log_error("master", "%s: fork: %s", name, strerror(errno));
		goto fail;
	}
	if (pid == 0) {
		if (role == KID_WORKER)
			worker_child(m);
		else if (role == KID_COLLECTOR)
			collector_child(m, row, kid_fd);
		else
			redis_exec(&m->conf, m->own.dir, m->own.redis_sock,
				   m->redis_said_fd, self);
		_exit(127);
	}
	born(m, row, pid, chan[0]);
	if (chan[1] >= 0)
		close(chan[1]);
	if (kid_fd >= 0)
		close(kid_fd);
	if (again)
		log_notice("master", "%s started again, pid %ld", name, (long)pid);
	else
		log_info("master", "%s started, pid %ld", name, (long)pid);
	return 0;
fail:
	if (chan[0] >= 0) {
		close(chan[0]);
		close(chan[1]);
	}
	if (kid_fd >= 0)
		close(kid_fd);
	return -1;
}

pid_t spawn_restorer(struct master *m)
{
	int row = sup_collector_row(&m->sup), kid_fd;
	char err[ERRLEN];
	pid_t pid;

	fill_kid(m, row, 0, -1);
	m->kid.restore = 1;
	kid_fd = kid_pack("peerscope-kid", &m->kid, sizeof m->kid, err);
	if (kid_fd < 0) {
		log_warn("upgrade", "the new table starts empty: %s", err);
		return 0;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		collector_child(m, row, kid_fd);
	close(kid_fd);
	if (pid > 0)
		return pid;
	log_warn("upgrade", "the new table starts empty: fork: %s", strerror(errno));
	return 0;
}

void spawn_kill(struct master *m, int row, const char *why)
{
	char name[48];

	m->child[row].killed_for = why;
	spawn_name(m, row, name);
	if (m->sup.phase == SUP_LEAVE_NOW)
		log_info("master", "killing %s, pid %ld: %s", name,
			 (long)m->child[row].pid, why);
	else
		log_warn("master", "killing %s, pid %ld: %s", name,
			 (long)m->child[row].pid, why);
	if (m->child[row].pid > 0)
		kill(m->child[row].pid, SIGKILL);
}

/* --- reaping ------------------------------------------------------------ */

static void count_death(const struct child *c, int status)
{
	if (c->killed_for)
		stat_inc(deaths_late);
	else if (WIFSIGNALED(status))
		stat_inc(deaths_signal);
	else
		stat_inc(deaths_exit);
}

/* What the table decided about the row, as the end of its obituary. */
static void say_next(char out[96], int row, const struct sup_actions *next)
{
	out[0] = '\0';
	for (size_t i = 0; i < next->n; i++) {
		const struct sup_action *a = &next->a[i];

		if (a->row != row)
			continue;
		if (a->type == SUP_A_START)
			snprintf(out, 96, "; starting again now");
		else if (a->type == SUP_A_COOL)
			snprintf(out, 96, "; starting again in %u.%u s", a->arg / 1000,
				 a->arg % 1000 / 100);
		else if (a->type == SUP_A_DOWN)
			snprintf(out, 96,
				 "; that says that starting it again is pointless: it "
				 "stays down until a reload or a restart");
	}
}

static void say_how(char out[96], int status)
{
	if (WIFSIGNALED(status))
		snprintf(out, 96, "signal %d, %s%s", WTERMSIG(status),
			 strsignal(WTERMSIG(status)),
			 WCOREDUMP(status) ? ", core dumped" : "");
	else
		snprintf(out, 96, "exit %d", WEXITSTATUS(status));
}

static void log_death(struct master *m, int row, const struct sup_row *was,
		      const char *next)
{
	const struct child *c = &m->child[row];
	uint64_t age_ms = clock_ms() - was->started_ms;
	char name[48], how[96], said[ERRLEN] = "";

	spawn_name(m, row, name);
	say_how(how, c->status);
	if (was->role == KID_REDIS && WIFEXITED(c->status))
		said_last(m->redis_said_fd, said);
	log_error("master",
		  "%s, pid %ld, died: %s; %s after %llu.%03llu s, death %u so "
		  "far%s%s%s%s%s",
		  name, (long)c->pid, how, sup_state_name(was->state),
		  (unsigned long long)age_ms / 1000, (unsigned long long)age_ms % 1000,
		  *deaths_of(m, row), c->killed_for ? "; killed as " : "",
		  c->killed_for ? c->killed_for : "", said[0] ? "; it said last: " : "",
		  said, next);
}

/* Was its end our wish: it left by itself, or we had no more time for it? */
static int was_ordered(const struct child *c, const struct sup_row *was)
{
	return !was->wanted &&
	       (c->killed_for || (WIFEXITED(c->status) && WEXITSTATUS(c->status) == 0));
}

void spawn_obituary(struct master *m, int row, const struct sup_row *was,
		    const struct sup_actions *out)
{
	struct child *c = &m->child[row];
	uint64_t age_ms = clock_ms() - was->started_ms;
	char name[48], next[96];

	spawn_name(m, row, name);
	say_next(next, row, out);
	if (c->pid == 0) {
		log_error("master", "%s could not be started%s", name, next);
		return;
	}
	if (c->killed_for || !was_ordered(c, was)) {
		++*deaths_of(m, row);
		count_death(c, c->status);
	}
	if (was_ordered(c, was))
		log_info("master", "%s, pid %ld, %s after %llu.%03llu s", name,
			 (long)c->pid, c->killed_for ? "was killed" : "left",
			 (unsigned long long)age_ms / 1000,
			 (unsigned long long)age_ms % 1000);
	else
		log_death(m, row, was, next);
	atomic_store(&seg_page(m->seg, (uint32_t)row)->deaths, *deaths_of(m, row));
	c->pid = 0;
}

void spawn_clear(struct master *m, int row)
{
	enum kid_role role = m->sup.row[row].role;

	atomic_store(&seg_page(m->seg, (uint32_t)row)->pid, 0);
	if (role == KID_COLLECTOR)
		atomic_store(&seg_head_rw(m->seg)->lease_pid, 0);
	if (role != KID_REDIS)
		stat_retire(m->seg, (uint32_t)row);
}

static void bury(struct master *m, int row, int status)
{
	struct child *c = &m->child[row];

	c->status = status;
	close_chan(c);
	if (!m->sup.row[row].elsewhere)
		spawn_clear(m, row);
	upgrade_let_go(m, row);
	master_event(m, SUP_E_EXIT, row, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

void spawn_reap(struct master *m)
{
	int status, row;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (row = 0; row < SUP_ROWS; row++)
			if (m->child[row].pid == pid)
				break;
		if (row < SUP_ROWS)
			bury(m, row, status);
		else if (!upgrade_reaped(m, pid, status))
			log_debug("master", "reaped a stranger, pid %ld", (long)pid);
	}
}

/* upgrade_take.c -- the new image: what it takes, and how it gives it back; see upgrade.h. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "master/config.h"
#include "master/master.h"
#include "master/notify.h"
#include "master/upgrade_int.h"
#include "shm/stat.h"

extern char **environ;

/* --- the new image ---------------------------------------------------------- */

int upgrade_receive(struct master *m, char err[ERRLEN])
{
	struct handover *h = xcalloc(1, sizeof *h);

	m->up.in_fd = m->cli->hand_fd;
	if (kid_unpack(m->up.in_fd, h, sizeof *h, err) != 0 ||
	    handover_check(h, err) != 0) {
		free(h);
		return -1;
	}
	m->up.in = h;
	handover_keep(h, 0);
	(void)fcntl(m->up.in_fd, F_SETFD, FD_CLOEXEC);
	/* execve of a descriptor made it a number */
	(void)prctl(PR_SET_NAME, strrchr(h->exe, '/') + 1);
	if (!m->cli->takeback)
		return 0;
	if (kid_unpack(h->conf_fd, &m->conf, sizeof m->conf, err) != 0)
		return -1;
	return log_open("master", (enum log_level)m->conf.log_level,
			m->conf.log_format == LOG_JSON, m->conf.log_file, err);
}

static int same_settings(const struct master *m, char err[ERRLEN])
{
	struct conf was;
	char names[ERRLEN / 2];

	handover_take_conf(m->up.in, &m->conf, &was);
	if (config_diff_restart(&was, &m->conf, names, sizeof names) > 0)
		return err_set(err, "only a restart can change %s", names);
	return 0;
}

/* Is the segment what we would make? If not, err says in what it is another one. */
static int is_ours(const struct master *m, char err[ERRLEN])
{
	struct shm_dims want;

	seg_dims(&want, &m->conf, (int)m->up.in->nworkers);
	return seg_fits(m->up.in->seg_fd, &want, err) == 0;
}

static void take_children(struct master *m)
{
	const struct handover *h = m->up.in;

	spawn_init(m);
	for (int i = 0; i < SUP_ROWS; i++) {
		m->child[i].pid = h->row[i].pid;
		m->child[i].chan_fd = h->row[i].chan_fd;
		m->child[i].deaths = h->row[i].deaths;
		if (h->row[i].state == SUP_KILLED)
			m->child[i].killed_for = "before the upgrade";
	}
}

/* The one that is there, if it is as we would make it. */
static int take_segment(struct master *m, char err[ERRLEN])
{
	const struct handover *h = m->up.in;
	struct shm_dims dims;

	if (is_ours(m, err)) {
		m->seg_fd = h->seg_fd;
		return seg_take(&m->seg, h->seg_lock_fd, err);
	}
	if (m->cli->takeback)
		return -1;
	log_notice("upgrade", "a new segment: %s", err);
	seg_dims(&dims, &m->conf, (int)h->nworkers);
	if (own_segment_next(&m->seg, m->conf.shm_name, &dims, err) != 0)
		return -1;
	m->up.apart = 1;
	m->seg_fd = fcntl(seg_fd(m->seg), F_DUPFD_CLOEXEC, 3);
	atomic_store(&seg_head_rw(m->seg)->master_pid, (uint32_t)getpid());
	atomic_store(&seg_head_rw(m->seg)->hold_ms, clock_ms());
	return m->seg_fd < 0 ? err_errno(err, "descriptor of the segment") : 0;
}

int upgrade_take(struct master *m, char err[ERRLEN])
{
	const struct handover *h = m->up.in;

	if ((!m->cli->takeback && same_settings(m, err) != 0) ||
	    sock_take(&m->socks, h->listen_fd, (int)h->naddr, (int)h->nworkers, err) !=
		    0 ||
	    take_segment(m, err) != 0)
		return -1;
	own_take(&m->own, h->run_dir, h->pid_fd, h->own_fallback != 0);
	m->redis_said_fd = h->said_fd;
	m->collector_bell_fd = h->collector_bell_fd;
	memcpy(m->worker_bell_fd, h->worker_bell_fd, sizeof m->worker_bell_fd);
	stat_own(m->seg, 2 * h->nworkers + 1);
	take_children(m);
	handover_take_sup(h, &m->sup, m->conf.master_drain_timeout_ms);
	m->staged = m->conf;
	if (m->cli->takeback) {
		stat_inc(upgrades_refused);
		log_error("upgrade",
			  "the new binary could not serve: back to %s, which goes on",
			  PEERSCOPE_VERSION);
		notify_say("READY=1\nSTATUS=serving as before: no upgrade");
		upgrade_done(m);
		return 0;
	}
	for (int i = 0; i < SUP_ROWS; i++)
		m->sup.row[i].elsewhere = m->up.apart && m->child[i].pid != 0;
	log_notice("upgrade", "peerscope %s takes over from %s: %u workers, segment %s",
		   PEERSCOPE_VERSION, h->from, h->nworkers, m->conf.shm_name);
	return 0;
}

static void start_ours(struct master *m)
{
	m->sup.renew = m->up.apart ? SUP_RENEW_LAST : SUP_RENEW_AT_ONCE;
	master_event(m, SUP_E_GENERATION, 0, 0);
}

void upgrade_restored(struct master *m, int status)
{
	m->up.restorer = 0;
	m->up.due_ms = UINT64_MAX;
	spawn_clear(m, sup_collector_row(&m->sup));
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		log_warn("upgrade", "the new table could not be filled: it starts empty");
	start_ours(m);
}

void upgrade_begin(struct master *m)
{
	if (m->cli->takeback)
		return;
	if (m->up.apart && (m->up.restorer = spawn_restorer(m)) != 0)
		m->up.due_ms = clock_ms() + UPGRADE_RESTORE_MS;
	else
		start_ours(m);
}

/* Who looks by name finds the new segment from now on; the old one is its users' alone. */
static void show_segment(struct master *m)
{
	char err[ERRLEN];

	if (own_segment_show(m->conf.shm_name, err) != 0)
		log_error("upgrade", "%s", err);
	upgrade_close(&m->up.in->seg_fd);
	upgrade_close(&m->up.in->seg_lock_fd);
	m->up.apart = 0;
}

/* Questions wait for the next collector, since then; 0: it is there. */
static void hold(struct master *m, uint64_t since_ms)
{
	atomic_store(&seg_head_rw(m->seg)->hold_ms, since_ms);
	for (int i = 0; i < KID_SLOTS; i++)
		if (m->worker_bell_fd[i] >= 0)
			kid_ring(m->worker_bell_fd[i]);
}

void upgrade_let_go(struct master *m, int row)
{
	const struct sup_row *r = &m->sup.row[row];

	if (r->role == KID_COLLECTOR && !r->elsewhere && !r->again &&
	    atomic_load(&seg_head_rw(m->seg)->hold_ms) != 0)
		hold(m, 0);
}

void upgrade_done(struct master *m)
{
	if (!m->up.in)
		return;
	if (!m->cli->takeback) {
		if (m->up.apart)
			show_segment(m);
		else
			hold(m, clock_ms());
		stat_inc(upgrades);
		log_notice("upgrade",
			   "done: %s serves; the old workers drain, the collector is "
			   "replaced",
			   PEERSCOPE_VERSION);
	}
	upgrade_unhand(&m->up.in);
	upgrade_close(&m->up.in_fd);
}

void upgrade_back(struct master *m, const char *why)
{
	struct handover *h = m->up.in;
	char err[ERRLEN] = "it was not kept";

	/* Two that can't go on would execute each other for ever. */
	if (!h || m->cli->takeback)
		return;
	log_error("upgrade", "%s; back to %s", why, h->from);
	if (m->up.apart)
		own_segment_drop(m->conf.shm_name);
	if (m->sup.nworkers) { /* children may have come and gone */
		upgrade_hand_over(m, h->back_fd, "--takeback", err);
	} else {
		handover_keep(h, 1);
		(void)fcntl(m->up.in_fd, F_SETFD, 0);
		upgrade_exec(m, h->back_fd, "--takeback", m->up.in_fd);
		(void)err_errno(err, "execve");
	}
	log_error("upgrade", "%s can't be had back: %s", h->from, err);
}

/* --- the probe's side -------------------------------------------------------- */

static void say(void *arg, enum config_kind kind, const char *text)
{
	(void)arg;
	fprintf(stderr, "%s%s\n", kind == CONFIG_ERROR ? "" : "warning: ", text);
}

static int check(struct master *m, const struct cli *cli, char err[ERRLEN])
{
	struct config *c;
	int bad;

	m->cli = cli;
	if (upgrade_receive(m, err) != 0)
		return -1;
	c = xcalloc(1, sizeof *c);
	bad = config_load(c, cli->file, cli->opts, cli->nopts, environ, say, NULL);
	m->conf = c->conf;
	free(c);
	if (bad > 0)
		return err_set(err, "the configuration has %d error%s", bad,
			       bad == 1 ? "" : "s");
	return same_settings(m, err);
}

int upgrade_check(const struct cli *cli)
{
	struct master *m = xcalloc(1, sizeof *m);
	char err[ERRLEN];
	int good = check(m, cli, err) == 0;

	if (good)
		printf(UPGRADE_GOOD "%s, with %s segment\n", PEERSCOPE_VERSION,
		       is_ours(m, err) ? "the same" : "a new");
	else
		fprintf(stderr, "%s\n", err);
	free(m->up.in);
	free(m);
	return good && fflush(stdout) == 0 ? 0 : 1;
}

/* upgrade.c -- USR2: another binary is tried, and takes our place; see upgrade.h. */
#include "master/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "master/master.h"
#include "master/notify.h"
#include "master/said.h"
#include "master/upgrade_int.h"
#include "shm/stat.h"

extern char **environ;

void upgrade_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* --- which file ----------------------------------------------------------- */

/*
 * The path of our own execve, so that a package or a symlink that puts another file there
 * is followed; /proc/self/exe would name the old one, as "... (deleted)".
 */
void upgrade_init(struct master *m)
{
	struct upgrade *u = &m->up;
	const char *fn = (const char *)getauxval(AT_EXECFN);
	char cwd[HANDOVER_EXE] = "";
	ssize_t n;

	u->exe_fd = u->said_fd = -1;
	u->due_ms = UINT64_MAX;
	if (u->in) {
		memcpy(u->exe, u->in->exe, sizeof u->exe);
		return;
	}
	if (!fn || strncmp(fn, "/proc/", 6) == 0 || strncmp(fn, "/dev/", 5) == 0) {
		n = readlink("/proc/self/exe", u->exe, sizeof u->exe - 1);
		u->exe[n > 0 ? n : 0] = '\0';
		return;
	}
	if (fn[0] != '/' && !getcwd(cwd, sizeof cwd))
		return;
	if (snprintf(u->exe, sizeof u->exe, "%s%s%s", cwd, cwd[0] ? "/" : "", fn) >=
	    (int)sizeof u->exe)
		u->exe[0] = '\0';
}

/* The file behind fd, with our own arguments. The name of the process becomes a number,
 * which the new image mends. */
void upgrade_exec(const struct master *m, int fd, const char *flag, int hand_fd)
{
	char path[40], number[16];
	char **argv = calloc((size_t)m->cli->argc + 4, sizeof *argv);
	char flag_copy[32];

	if (!argv)
		return;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	snprintf(number, sizeof number, "%d", hand_fd);
	snprintf(flag_copy, sizeof flag_copy, "%s", flag);
	argv[0] = m->cli->argv[0];
	argv[1] = flag_copy;
	argv[2] = number;
	for (int i = 1; i < m->cli->argc; i++)
		argv[i + 2] = m->cli->argv[i];
	fflush(NULL);
	execve(path, argv, environ);
	free(argv);
}

/* --- what is handed over ------------------------------------------------- */

static void give_fds(const struct master *m, struct handover *h)
{
	h->pid_fd = m->own.pid_fd;
	h->seg_fd = m->seg_fd;
	h->seg_lock_fd = seg_fd(m->seg);
	h->said_fd = m->redis_said_fd;
	h->collector_bell_fd = m->collector_bell_fd;
	memcpy(h->worker_bell_fd, m->worker_bell_fd, sizeof h->worker_bell_fd);
	memcpy(h->listen_fd, m->socks.fd, sizeof h->listen_fd);
	h->naddr = (uint32_t)m->socks.naddr;
	for (int i = 0; i < SUP_ROWS; i++) {
		h->row[i].pid = m->child[i].pid;
		h->row[i].chan_fd = m->child[i].chan_fd;
		h->row[i].deaths = m->child[i].deaths;
	}
}

/* A new one; the caller ends it with unhand. NULL: err. */
static struct handover *hand(struct master *m, char err[ERRLEN])
{
	struct handover *h = calloc(1, sizeof *h);

	if (!h) {
		(void)err_set(err, "out of memory");
		return NULL;
	}
	h->magic = HANDOVER_MAGIC;
	h->version = HANDOVER_VERSION;
	h->size = sizeof *h;
	h->back_fd = h->conf_fd = -1;
	h->own_fallback = (uint32_t)m->own.fallback;
	give_fds(m, h);
	handover_give_sup(h, &m->sup);
	snprintf(h->from, sizeof h->from, "%s", PEERSCOPE_VERSION);
	snprintf(h->exe, sizeof h->exe, "%s", m->up.exe);
	snprintf(h->run_dir, sizeof h->run_dir, "%s", m->own.dir);
	if (handover_give_conf(h, &m->conf) != 0) {
		(void)err_set(err, "its settings are too long to be handed over");
		goto fail;
	}
	h->back_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	if (h->back_fd < 0) {
		(void)err_errno(err, "/proc/self/exe");
		goto fail;
	}
	if (m->up.apart) { /* children that are elsewhere to us are at home there, and ours gone */
		h->seg_fd = m->up.in->seg_fd;
		h->seg_lock_fd = m->up.in->seg_lock_fd;
		for (int i = 0; i < SUP_ROWS; i++)
			h->row[i].elsewhere = 0;
	}
	/* Who goes back finds what it gave us; we have not understood it. */
	h->conf_fd = m->up.in ? fcntl(m->up.in->conf_fd, F_DUPFD_CLOEXEC, 3)
			      : kid_pack("peerscope-conf", &m->conf, sizeof m->conf, err);
	if (h->conf_fd >= 0)
		return h;
fail:
	upgrade_close(&h->back_fd);
	free(h);
	return NULL;
}

void upgrade_unhand(struct handover **h)
{
	if (!*h)
		return;
	upgrade_close(&(*h)->back_fd);
	upgrade_close(&(*h)->conf_fd);
	free(*h);
	*h = NULL;
}

void upgrade_hand_over(struct master *m, int fd, const char *flag, char err[ERRLEN])
{
	struct handover *h = hand(m, err);
	int hand_fd = h ? kid_pack("peerscope-handover", h, sizeof *h, err) : -1;

	if (hand_fd >= 0) {
		handover_keep(h, 1);
		(void)fcntl(hand_fd, F_SETFD, 0);
		upgrade_exec(m, fd, flag, hand_fd);
		(void)err_errno(err, "execve");
		handover_keep(h, 0);
		close(hand_fd);
	}
	upgrade_unhand(&h);
}

/* --- the probe ------------------------------------------------------------ */

static void refuse(struct master *m, const char *why)
{
	stat_inc(upgrades_refused);
	log_error("upgrade", "%s is not used: %s; nothing was changed", m->up.exe, why);
	notify_say("STATUS=serving as before: no upgrade: %s", why);
	upgrade_close(&m->up.exe_fd);
}

static void probe_child(const struct master *m, const struct handover *h, int hand_fd,
			pid_t self)
{
	sigset_t none;

	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != self)
		_exit(127);
	said_redirect(m->up.said_fd);
	handover_keep(h, 1);
	(void)fcntl(hand_fd, F_SETFD, 0);
	upgrade_exec(m, m->up.exe_fd, "--takeover-check", hand_fd);
	dprintf(2, "it can't be executed: %s\n", strerror(errno));
	_exit(127);
}

static int probe_start(struct master *m, char err[ERRLEN])
{
	struct handover *h = NULL;
	int hand_fd = -1, rc = -1;
	pid_t self = getpid();

	m->up.exe_fd = open(m->up.exe, O_PATH | O_CLOEXEC);
	if (m->up.exe_fd < 0)
		return err_set(err, "%s", strerror(errno));
	m->up.said_fd = said_open();
	if (m->up.said_fd < 0)
		return err_errno(err, "memfd_create");
	h = hand(m, err);
	if (h)
		hand_fd = kid_pack("peerscope-handover", h, sizeof *h, err);
	if (hand_fd < 0)
		goto out;
	fflush(NULL);
	m->up.pid = fork();
	if (m->up.pid == 0)
		probe_child(m, h, hand_fd, self);
	if (m->up.pid < 0) {
		m->up.pid = 0;
		(void)err_errno(err, "fork");
		goto out;
	}
	m->up.due_ms = clock_ms() + UPGRADE_PROBE_MS;
	m->up.late = 0;
	rc = 0;
out:
	upgrade_close(&hand_fd);
	upgrade_unhand(&h);
	if (rc != 0)
		upgrade_close(&m->up.said_fd);
	return rc;
}

/* Should the segment be another one, this is all that is known of peers. */
static void ask_to_save(struct master *m)
{
	int row = sup_collector_row(&m->sup);

	if (m->sup.row[row].state == SUP_RUNNING && m->child[row].chan_fd >= 0 &&
	    kid_send(m->child[row].chan_fd, KID_M_SAVE, 0, -1) == 0)
		m->up.saving_ms = clock_ms();
}

void upgrade_ask(struct master *m)
{
	char err[ERRLEN];

	if (m->sup.phase != SUP_UP || m->up.pid || m->up.exe_fd >= 0 || m->up.in) {
		log_notice("upgrade", "USR2: %s; ignored",
			   m->sup.phase < SUP_UP   ? "the daemon is not up yet"
			   : m->sup.phase > SUP_UP ? "the daemon is leaving"
						   : "one is under way already");
		return;
	}
	ask_to_save(m);
	log_notice("upgrade", "USR2: trying %s",
		   m->up.exe[0] ? m->up.exe : "a binary whose path is not known");
	if (probe_start(m, err) != 0)
		refuse(m, err);
}

/* What it said, line by line; bounded by SAID_MAX and by the log. */
static void repeat(char *text)
{
	char *line, *rest = text;

	while ((line = strsep(&rest, "\n")) != NULL)
		if (line[0])
			log_error("upgrade", "it says: %.700s", line);
}

int upgrade_reaped(struct master *m, pid_t pid, int status)
{
	static char text[SAID_TEXT];
	char last[ERRLEN];

	if (pid != 0 && pid == m->up.restorer) {
		upgrade_restored(m, status);
		return 1;
	}
	if (pid != m->up.pid || pid == 0)
		return 0;
	m->up.pid = 0;
	said_all(m->up.said_fd, text);
	said_last(m->up.said_fd, last);
	upgrade_close(&m->up.said_fd);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
	    strncmp(last, UPGRADE_GOOD, strlen(UPGRADE_GOOD)) == 0) {
		m->up.due_ms = UINT64_MAX;
		log_notice("upgrade", "%s is %s; executing it", m->up.exe,
			   last + strlen(UPGRADE_GOOD));
		master_event(m, SUP_E_UPGRADE, 0, 0);
		return 1;
	}
	repeat(text);
	if (m->up.late)
		refuse(m, "it did not answer in time");
	else if (WIFSIGNALED(status))
		refuse(m, "it crashed");
	else
		refuse(m, WEXITSTATUS(status) == 0
				  ? "it is no peerscope that can take over"
				  : "it can't take over");
	m->up.due_ms = UINT64_MAX;
	return 1;
}

/* --- the turn -------------------------------------------------------------- */

static void go(struct master *m)
{
	char err[ERRLEN];

	m->up.go = 0;
	log_info("upgrade", "executing %s", m->up.exe);
	notify_reloading("upgrading");
	upgrade_hand_over(m, m->up.exe_fd, "--takeover", err);
	refuse(m, err);
	notify_say("READY=1");
	master_event(m, SUP_E_NO_UPGRADE, 0, 0);
}

/* Its word comes by its channel, which wakes the loop. */
static int is_saving(struct master *m)
{
	uint64_t until = m->up.saving_ms + UPGRADE_SAVE_MS, now = clock_ms();

	if (!m->up.saving_ms || now >= until ||
	    m->child[sup_collector_row(&m->sup)].chan_fd < 0) {
		m->up.saving_ms = 0;
		return 0;
	}
	m->up.due_ms = until;
	return 1;
}

void upgrade_turn(struct master *m)
{
	if (clock_ms() >= m->up.due_ms) {
		m->up.due_ms = UINT64_MAX;
		m->up.late = m->up.pid != 0;
		if (m->up.pid)
			kill(m->up.pid, SIGKILL);
		if (m->up.restorer)
			kill(m->up.restorer, SIGKILL);
	}
	if (m->sup.phase != SUP_UP)
		return;
	if (m->up.back_why)
		upgrade_back(m, m->up.back_why);
	m->up.back_why = NULL;
	if (m->up.go && !is_saving(m))
		go(m);
}

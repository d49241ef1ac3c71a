/*
 * serve.c -- `peerscope serve`: the master's start, its loop and its end.
 *
 * The order of the start matters and is the same in every life: config, log, the
 * lock, sockets, segment, bells, signals; then children. What is decided is in
 * sup.c; here it is done. See master.h and README.md.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "master/config.h"
#include "master/master.h"
#include "master/notify.h"
#include "master/user.h"
#include "shm/selfpage.h"
#include "shm/stat.h"

extern char **environ;

/* Failed forks of one step, and the answer to a reload. */
#define TODO_MAX (2 * SUP_ROWS)

struct todo {
	size_t n;
	struct sup_event ev[TODO_MAX];
};

/* --- actions ------------------------------------------------------------ */

static uint32_t random_word(void)
{
	uint32_t r = 0;

	if (getrandom(&r, sizeof r, GRND_NONBLOCK) != sizeof r)
		r = (uint32_t)clock_us(); /* only to spread restarts */
	return r;
}

static void push(struct todo *t, enum sup_event_type type, int row, int code)
{
	PS_ASSERT(t->n < TODO_MAX);
	t->ev[t->n++] = (struct sup_event){.type = type,
					   .row = row,
					   .code = code,
					   .jitter = random_word()};
}

static void tell(struct master *m, int row, uint32_t type, uint32_t arg)
{
	char name[48];

	if (m->child[row].chan_fd < 0)
		return; /* it closed its end: its exit is on the way */
	if (kid_send(m->child[row].chan_fd, type, arg, -1) != 0)
		log_warn("master", "%s does not take messages: %s",
			 spawn_name(m, row, name), strerror(errno));
}

/* Redis knows no channel; the collector is told both ways, so that one whose loop
 * is busy in libtorrent still hears it. */
static void drain(struct master *m, int row)
{
	enum kid_role role = m->sup.row[row].role;

	if (role != KID_REDIS)
		tell(m, row, KID_M_DRAIN, 0);
	if (role != KID_WORKER && m->child[row].pid > 0)
		kill(m->child[row].pid, SIGTERM);
}

static const char *scheme(const struct sock_addr *a)
{
	return sock_is_unix(a) ? "" : "http://";
}

static void say_up(const struct master *m)
{
	for (int j = 0; j < m->socks.naddr; j++)
		log_notice("master", "serving on %s%s", scheme(&m->socks.addr[j]),
			   m->socks.addr[j].text);
	notify_say("READY=1\nSTATUS=serving on %s%s", scheme(&m->socks.addr[0]),
		   m->socks.addr[0].text);
}

static void carry_out(struct master *m, const struct sup_action *a, struct todo *todo)
{
	switch (a->type) {
	case SUP_A_START:
		if (spawn_row(m, a->row, a->gen, (int)a->arg) != 0)
			push(todo, SUP_E_EXIT, a->row, 1);
		break;
	case SUP_A_DRAIN: drain(m, a->row); break;
	case SUP_A_KILL: spawn_kill(m, a->row, a->why); break;
	case SUP_A_LISTEN: tell(m, a->row, KID_M_LISTEN, a->mask); break;
	case SUP_A_UP: say_up(m); break;
	case SUP_A_RELOAD:
		if (reload_read(m) == 0)
			push(todo, SUP_E_GENERATION, 0, 0);
		break;
	case SUP_A_UPGRADE: m->up.go = 1; break;
	case SUP_A_ADOPT: reload_adopt(m); break;
	case SUP_A_GIVE_UP: reload_give_up(m, a->why); break;
	case SUP_A_COOL:
	case SUP_A_DOWN: break; /* words for its obituary */
	case SUP_A_EXIT:
		m->gone = 1;
		m->exit_code = (int)a->arg;
		break;
	}
}

static void show_states(struct master *m)
{
	for (int i = 0; i < 2 * m->sup.nworkers + 2; i++)
		atomic_store(&seg_page(m->seg, (uint32_t)i)->state, m->sup.row[i].state);
	atomic_store(&seg_head_rw(m->seg)->generation,
		     m->sup.row[m->sup.half * m->sup.nworkers].generation);
}

static void run(struct master *m, struct todo *todo)
{
	struct sup_actions out;

	for (size_t i = 0; i < todo->n; i++) {
		const struct sup_event *ev = &todo->ev[i];
		struct sup_row was = m->sup.row[ev->row];

		sup_step(&m->sup, ev, clock_ms(), &out);
		if (ev->type == SUP_E_EXIT) /* before what follows from it */
			spawn_obituary(m, ev->row, &was, &out);
		for (size_t k = 0; k < out.n; k++)
			carry_out(m, &out.a[k], todo);
	}
	show_states(m);
}

void master_event(struct master *m, enum sup_event_type type, int row, int code)
{
	struct todo todo;

	todo.n = 0;
	push(&todo, type, row, code);
	run(m, &todo);
}

/* --- does everybody's loop turn? ---------------------------------------- */

/* A debugger holds it: whoever looks at a process does not want it to be shot. */
static int is_traced(pid_t pid)
{
	char path[64], line[256];
	long tracer = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof line, f))
		if (strncmp(line, "TracerPid:", 10) == 0)
			tracer = strtol(line + 10, NULL, 10);
	fclose(f);
	return tracer != 0;
}

static void look(struct master *m, int row)
{
	const struct shm_page *page = seg_page(m->seg, (uint32_t)row);
	uint64_t beat_ms = atomic_load(&page->beat_ms);
	struct todo todo;

	if (beat_ms == m->sup.row[row].beat_ms && is_traced(m->child[row].pid))
		return;
	todo.n = 0;
	push(&todo, SUP_E_BEAT, row, 0);
	todo.ev[0].beat_ms = beat_ms;
	run(m, &todo);
}

static void look_at_beats(struct master *m)
{
	uint64_t now = clock_ms();

	if (now < m->look_ms)
		return;
	m->look_ms = now + SUP_LOOK_MS;
	selfpage_write(seg_page(m->seg, 2 * (uint32_t)m->sup.nworkers + 2));
	notify_beat(SUP_LOOK_MS);
	for (int i = 0; i < SUP_ROWS; i++)
		if (sup_beats(&m->sup, i))
			look(m, i);
}

/* --- the loop ----------------------------------------------------------- */

/* The collector sees no sense in going on: as after TERM, but with its exit code. */
static void leave_for(struct master *m, int code)
{
	if (m->sup.phase >= SUP_LEAVE)
		return;
	log_notice("master", "the collector asks to leave: draining, then code %d", code);
	notify_say("STOPPING=1\nSTATUS=draining: the collector asks to leave");
	m->asked_code = code;
	atomic_store(&seg_head_rw(m->seg)->draining, 1);
	master_event(m, SUP_E_TERM, 0, 0);
	sock_shutdown(&m->socks);
}

static void read_chan(struct master *m, int row)
{
	struct child *c = &m->child[row];
	struct kid_msg msg;
	int fd, rc = 0;

	while (c->chan_fd >= 0 && (rc = kid_recv(c->chan_fd, &msg, &fd)) == 1) {
		if (fd >= 0)
			close(fd); /* a child has none to give */
		if (msg.type == KID_M_READY) {
			master_event(m, SUP_E_READY, row, 0);
			upgrade_let_go(m, row);
		} else if (msg.type == KID_M_SAVED)
			m->up.saving_ms = 0;
		else if (msg.type == KID_M_LEAVE)
			leave_for(m, (int)msg.arg);
	}
	if (rc < 0) { /* EOF: its exit tells the rest */
		close(c->chan_fd);
		c->chan_fd = -1;
	}
}

static void read_chans(struct master *m)
{
	for (int i = 0; i < SUP_ROWS; i++)
		read_chan(m, i);
}

static void leave(struct master *m, int sig)
{
	const char *name = sig == SIGINT ? "INT" : sig == SIGQUIT ? "QUIT" : "TERM";
	int now = sig == SIGINT || m->sup.phase >= SUP_LEAVE;

	if (sig != SIGINT && !sup_term_counts(&m->sup, clock_ms())) {
		log_info("master", "%s again within %d ms: taken for the same one", name,
			 SUP_TERM_AGAIN_MS);
		return;
	}
	log_notice("master", "%s: %s", name,
		   now ? "leaving now" : "draining, then leaving");
	notify_say("STOPPING=1\nSTATUS=%s", now ? "leaving now" : "draining");
	atomic_store(&seg_head_rw(m->seg)->draining, 1);
	master_event(m, sig == SIGINT ? SUP_E_INT : SUP_E_TERM, 0, 0);
	sock_shutdown(&m->socks); /* after the workers were told */
}

static void on_signal(struct master *m, int sig)
{
	switch (sig) {
	case SIGCHLD:
		/* First what it said, or a READY before a death counts as none. */
		read_chans(m);
		spawn_reap(m);
		break;
	case SIGHUP:
		log_notice("master", "HUP: reload");
		master_event(m, SUP_E_HUP, 0, 0);
		break;
	case SIGUSR1:
		reload_logs(m);
		for (int i = 0; i < SUP_ROWS; i++)
			tell(m, i, KID_M_REOPEN, 0);
		break;
	case SIGUSR2: upgrade_ask(m); break;
	default: leave(m, sig); break;
	}
}

static void read_signals(struct master *m)
{
	struct signalfd_siginfo si;

	while (read(m->signal_fd, &si, sizeof si) == (ssize_t)sizeof si)
		on_signal(m, (int)si.ssi_signo);
}

static int wait_ms(const struct master *m)
{
	uint64_t next = sup_next_ms(&m->sup), now = clock_ms();

	if (next > m->look_ms)
		next = m->look_ms;
	if (next > m->up.due_ms)
		next = m->up.due_ms;
	return next <= now ? 0 : (int)(next - now); /* SUP_LOOK_MS at most */
}

static int loop(struct master *m, char err[ERRLEN])
{
	struct pollfd p[SUP_ROWS + 1];

	while (!m->gone) {
		nfds_t n = 0; /* poll takes no more than RLIMIT_NOFILE, empty ones too */

		p[n++] = (struct pollfd){.fd = m->signal_fd, .events = POLLIN};
		for (int i = 0; i < SUP_ROWS; i++)
			if (m->child[i].chan_fd >= 0)
				p[n++] = (struct pollfd){.fd = m->child[i].chan_fd,
							 .events = POLLIN};
		if (poll(p, n, wait_ms(m)) < 0 && errno != EINTR)
			return err_errno(err, "poll");
		read_chans(m);
		read_signals(m);
		if (sup_next_ms(&m->sup) <= clock_ms())
			master_event(m, SUP_E_TICK, 0, 0);
		look_at_beats(m);
		upgrade_turn(m);
	}
	return 0;
}

/* --- the start ---------------------------------------------------------- */

/* A socket that got number 2 would receive our log lines. */
static int open_std_fds(char err[ERRLEN])
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return err_errno(err, "/dev/null");
	return 0;
}

static void raise_nofile(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == r.rlim_max)
		return;
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r) != 0)
		log_warn("master", "can't raise the descriptor limit: %s",
			 strerror(errno));
}

int cli_workers(const struct conf *c)
{
	cpu_set_t set;
	int n = 1;

	if (c->http_workers > 0)
		return (int)c->http_workers;
	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof set, &set) == 0)
		n = CPU_COUNT(&set);
	return n < 1 ? 1 : n > CONF_MAX_WORKERS ? CONF_MAX_WORKERS : n;
}

static int open_signals(struct master *m, char err[ERRLEN])
{
	static const int sigs[] = {SIGCHLD, SIGHUP,  SIGINT, SIGQUIT,
				   SIGTERM, SIGUSR1, SIGUSR2};
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL); /* an inherited "ignore" would hide every death */
	sigemptyset(&set);
	for (size_t i = 0; i < PS_ARRAY_LEN(sigs); i++)
		sigaddset(&set, sigs[i]);
	if (sigprocmask(SIG_SETMASK, &set, NULL) != 0)
		return err_errno(err, "sigprocmask");
	m->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return m->signal_fd < 0 ? err_errno(err, "signalfd") : 0;
}

static int open_bells(struct master *m, int nworkers, char err[ERRLEN])
{
	m->collector_bell_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (m->collector_bell_fd < 0)
		return err_errno(err, "eventfd");
	for (int i = 0; i < 2 * nworkers; i++) {
		m->worker_bell_fd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (m->worker_bell_fd[i] < 0)
			return err_errno(err, "eventfd");
	}
	return 0;
}

static int open_segment(struct master *m, int nworkers, char err[ERRLEN])
{
	struct shm_dims dims;
	int leftover;

	own_segment_sweep(m->conf.shm_name);
	seg_dims(&dims, &m->conf, nworkers);
	if (own_segment(&m->seg, m->conf.shm_name, &dims, &leftover, err) != 0)
		return -1;
	if (leftover)
		log_notice("master", "a killed daemon left the segment %s: made anew",
			   m->conf.shm_name);
	/* seg_close in a forked child closes seg's own descriptor; children keep this one. */
	m->seg_fd = fcntl(seg_fd(m->seg), F_DUPFD_CLOEXEC, 3);
	if (m->seg_fd < 0)
		return err_errno(err, "descriptor of the segment");
	atomic_store(&seg_head_rw(m->seg)->master_pid, (uint32_t)getpid());
	stat_own(m->seg, dims.worker_slots + 1);
	return 0;
}

static int check_redis_path(const struct master *m, char err[ERRLEN])
{
	struct sockaddr_un sun;

	if (m->conf.redis_mode == REDIS_BUNDLED &&
	    strlen(m->own.redis_sock) >= sizeof sun.sun_path)
		return err_set(err,
			       "%s: longer than the %zu bytes a unix socket may have; "
			       "choose a shorter master.run_dir",
			       m->own.redis_sock, sizeof sun.sun_path - 1);
	return 0;
}

static int begin(struct master *m, char err[ERRLEN])
{
	int nworkers = cli_workers(&m->conf);

	if (own_open(&m->own, m->conf.master_run_dir, err) != 0 ||
	    check_redis_path(m, err) != 0 ||
	    sock_open(&m->socks, m->conf.http_listen, nworkers, SOCK_WAIT_MS, err) != 0 ||
	    open_segment(m, nworkers, err) != 0 || open_bells(m, nworkers, err) != 0 ||
	    open_signals(m, err) != 0)
		return -1;
	spawn_init(m);
	sup_init(&m->sup, nworkers, m->conf.redis_mode == REDIS_BUNDLED,
		 m->conf.master_drain_timeout_ms);
	log_notice("master", "peerscope %s starts: %d worker%s, run_dir %s, segment %s",
		   PEERSCOPE_VERSION, nworkers, nworkers == 1 ? "" : "s", m->own.dir,
		   m->conf.shm_name);
	return 0;
}

static void end(struct master *m)
{
	const char *name = m->conf.shm_name;

	if (m->seg) {
		stat_own(NULL, 0);
		if (m->up.apart)
			own_segment_drop(name);
		seg_unlink(name); /* while the lock still says that it is ours */
		seg_close(&m->seg);
	}
	sock_close(&m->socks);
	own_close(&m->own);
	free(m);
}

static void say_nothing(void *arg, enum config_kind kind, const char *text)
{
	(void)arg;
	(void)kind;
	(void)text;
}

/* What is wrong with it is said in the form that it asks for: it is read twice. */
static int configure(struct master *m, char err[ERRLEN])
{
	struct config *c = xcalloc(1, sizeof *c);
	const struct cli *cli = m->cli;
	int bad = config_load(c, cli->file, cli->opts, cli->nopts, environ, say_nothing,
			      NULL);

	if (log_open("master", LOG_NOTICE, c->conf.log_format == LOG_JSON, "", err) == 0)
		bad = config_load(c, cli->file, cli->opts, cli->nopts, environ,
				  reload_say, NULL);
	m->conf = c->conf;
	free(c);
	if (bad > 0)
		return err_set(err, "%d error%s in the configuration", bad,
			       bad == 1 ? "" : "s");
	if (user_become(m->conf.master_user, own_wish(m->conf.master_run_dir), err) != 0)
		return -1;
	return log_open("master", (enum log_level)m->conf.log_level,
			m->conf.log_format == LOG_JSON, m->conf.log_file, err);
}

/* The same, after another image of this process; see upgrade.h. */
static int follow(struct master *m, char err[ERRLEN])
{
	if (upgrade_receive(m, err) != 0 || (!m->cli->takeback && configure(m, err) != 0))
		return -1;
	upgrade_init(m);
	if (upgrade_take(m, err) != 0 || open_signals(m, err) != 0)
		return -1;
	spawn_reap(m); /* who left meanwhile */
	upgrade_begin(m);
	return 0;
}

int cmd_serve(const struct cli *cli)
{
	struct master *m = xcalloc(1, sizeof *m);
	char err[ERRLEN];
	int rc = 1;

	m->cli = cli;
	m->signal_fd = m->redis_said_fd = m->seg_fd = m->collector_bell_fd =
		m->own.pid_fd = -1;
	memset(m->worker_bell_fd, 0xff, sizeof m->worker_bell_fd);
	kid_title("peerscope: master");
	if (cli->hand_fd >= 0) {
		if (follow(m, err) != 0) {
			upgrade_back(m, err);
			log_fatal("master", "%s", err);
			goto out;
		}
	} else {
		if (open_std_fds(err) != 0 || configure(m, err) != 0) {
			log_fatal("master", "%s", err);
			rc = EXIT_STAY_DOWN;
			goto out;
		}
		raise_nofile();
		upgrade_init(m);
		if (begin(m, err) != 0) {
			log_fatal("master", "%s", err);
			goto out;
		}
		master_event(m, SUP_E_START, 0, 0);
	}
	if (loop(m, err) != 0) {
		log_fatal("master", "%s", err);
		goto out;
	}
	rc = m->exit_code;
	if (rc == 0)
		log_notice("master", "left");
	else
		log_fatal("master", "the first start failed, see above");
	if (rc == 0)
		rc = m->asked_code;
out:
	end(m);
	return rc;
}

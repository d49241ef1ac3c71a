/* redis_exec.c -- starting the bundled Redis; see redis_exec.h. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "master/redis_exec.h"
#include "master/said.h"

#define REDIS_ORPHAN_MS 3000 /* it was told to go when its master died */

/* Process that listens on the socket; 0: nobody. */
static pid_t listener_of(const char *sock)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct ucred peer = {.pid = 0};
	socklen_t len = sizeof peer;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	snprintf(sun.sun_path, sizeof sun.sun_path, "%s", sock);
	if (connect(fd, (struct sockaddr *)&sun, sizeof sun) != 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		peer.pid = 0;
	close(fd);
	return peer.pid;
}

/*
 * An orphan unlinks its socket path as its last act: were ours bound by then, ours
 * would be gone. So wait for its end (it got TERM when its master died), then start.
 */
static void see_off(const char *sock)
{
	pid_t pid = listener_of(sock);
	struct pollfd p = {.fd = -1, .events = POLLIN};

	if (pid > 0)
		p.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p.fd >= 0) {
		log_notice("master", "waiting for the Redis of a killed daemon, pid %ld",
			   (long)pid);
		if (poll(&p, 1, REDIS_ORPHAN_MS) == 0)
			log_warn("master",
				 "it does not leave; starting another one anyway");
		close(p.fd);
	}
	if (unlink(sock) != 0 && errno != ENOENT)
		log_warn("master", "unlink %s: %s", sock, strerror(errno));
}

int redis_exec_prepare(const char *sock)
{
	see_off(sock);
	return said_open();
}

static void reset_signals(void)
{
	static const int sigs[] = {SIGPIPE, SIGTERM, SIGHUP, SIGCHLD};
	/* Ctrl-C, and what `systemctl kill` sends to all, are the master's. */
	static const int ignored[] = {SIGINT, SIGQUIT, SIGUSR1, SIGUSR2};
	sigset_t none;

	for (size_t i = 0; i < PS_ARRAY_LEN(sigs); i++)
		signal(sigs[i], SIG_DFL);
	for (size_t i = 0; i < PS_ARRAY_LEN(ignored); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

void redis_exec(const struct conf *c, const char *dir, const char *sock, int said_fd,
		pid_t master)
{
	char memory[32];
	/* Arguments only: no file of ours to write, none of the host's is read. */
	const char *argv[] = {
		"redis-server",
		"--port",
		"0",
		"--unixsocket",
		sock,
		"--unixsocketperm",
		"600",
		"--save",
		"",
		"--appendonly",
		"no",
		"--maxmemory",
		memory,
		"--maxmemory-policy",
		"allkeys-lru",
		"--daemonize",
		"no",
		"--dir",
		dir,
		"--logfile",
		"",
		"--loglevel",
		"warning",
		"--pidfile",
		"",
		"--syslog-enabled",
		"no",
		"--disable-thp",
		"yes",
		NULL,
	};

	reset_signals();
	/* It sets its own handlers: only what does not reach it is ignored. A Ctrl-C, or a
	 * TERM to the whole group, would take it away from under the collector. */
	if (setpgid(0, 0) != 0)
		return;
	/* The master may have died before the wish was heard: then nobody would tell us. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != master)
		return;
	snprintf(memory, sizeof memory, "%" PRIu64, c->redis_max_memory_bytes);
	said_redirect(said_fd);
	execvp(argv[0], (char *const *)argv);
	dprintf(2,
		"redis-server can't be started: %s; install it, or set redis.mode = off\n",
		strerror(errno));
}

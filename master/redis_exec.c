/* redis_exec.c -- starting the bundled Redis; see redis_exec.h. */
#include <errno.h>
#include <fcntl.h>
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

#define REDIS_ORPHAN_MS 3000		/* it was told to go when its master died */

/* Process that listens on the socket; 0: nobody. */
static pid_t listener_of(const char *sock)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct ucred peer = { .pid = 0 };
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
void redis_exec_prepare(const char *sock)
{
	pid_t pid = listener_of(sock);
	struct pollfd p = { .fd = -1, .events = POLLIN };

	if (pid > 0)
		p.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p.fd >= 0) {
		log_notice("master", "waiting for the Redis of a killed daemon, pid %ld", (long)pid);
		if (poll(&p, 1, REDIS_ORPHAN_MS) == 0)
			log_warn("master", "it does not leave; starting another one anyway");
		close(p.fd);
	}
	if (unlink(sock) != 0 && errno != ENOENT)
		log_warn("master", "unlink %s: %s", sock, strerror(errno));
}

static void reset_signals(void)
{
	static const int sigs[] = { SIGPIPE, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD };
	static const int ignored[] = { SIGINT, SIGQUIT };	/* Ctrl-C is the master's */
	sigset_t none;

	for (size_t i = 0; i < PS_ARRAY_LEN(sigs); i++)
		signal(sigs[i], SIG_DFL);
	for (size_t i = 0; i < PS_ARRAY_LEN(ignored); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void quiet(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	dup2(fd, 0);
	dup2(fd, 1);			/* stderr stays: it says there why it can't start */
	close(fd);
}

void redis_exec(const struct conf *c, const char *dir, const char *sock, pid_t master)
{
	char memory[32], log[256];
	/* Arguments only: no file of ours to write, none of the host's is read. */
	const char *argv[] = {
		"redis-server", "--port", "0", "--unixsocket", sock, "--unixsocketperm", "600",
		"--save", "", "--appendonly", "no", "--maxmemory", memory,
		"--maxmemory-policy", "allkeys-lru", "--daemonize", "no", "--dir", dir,
		"--logfile", log, "--loglevel", "warning", "--pidfile", "",
		"--syslog-enabled", "no", "--disable-thp", "yes", NULL,
	};

	reset_signals();
	/* The master may have died before the wish was heard: then nobody would tell us. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != master)
		return;
	snprintf(memory, sizeof memory, "%" PRIu64, c->redis_max_memory_bytes);
	snprintf(log, sizeof log, "%s/redis.log", dir);
	unlink(log);			/* of this life only: it must not grow for ever */
	quiet();
	execvp(argv[0], (char *const *)argv);
	log_error("master", "redis-server can't be started: %s; install it, or set "
			    "redis.mode = off or external", strerror(errno));
}

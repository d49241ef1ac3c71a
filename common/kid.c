/* kid.c -- what crosses the fork; see kid.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/file.h"
#include "common/kid.h"
#include "common/log.h"

#define KID_ORPHAN_S 2 /* beyond drain_timeout, for a hung orphan */

extern char **environ;

static struct {
	char *at;          /* argv[0]; what ps reads */
	size_t args, room; /* bytes of all arguments; with the old environment */
	size_t used;
} title;

static struct {
	pid_t master;
	unsigned grace_s;
} orphan;

int kid_send(int chan_fd, uint32_t type, uint32_t arg, int fd)
{
	struct kid_msg m = {type, arg};
	struct iovec iov = {&m, sizeof m};
	union {
		char buf[CMSG_SPACE(sizeof fd)];
		struct cmsghdr align;
	} control;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (fd >= 0) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof control);
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof control.buf;
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	do
		n = sendmsg(chan_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof m ? 0 : -1;
}

/* The one descriptor a message may carry; the kernel closes more than fit. */
static int recv_fd(struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	int fd = -1;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof fd))
		memcpy(&fd, CMSG_DATA(c), sizeof fd);
	return fd;
}

int kid_recv(int chan_fd, struct kid_msg *out, int *fd)
{
	struct iovec iov = {out, sizeof *out};
	union {
		char buf[CMSG_SPACE(sizeof *fd)];
		struct cmsghdr align;
	} control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof control.buf,
	};
	ssize_t n;

	*fd = -1;
	do
		n = recvmsg(chan_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
	if (n == 0)
		return -1;
	*fd = recv_fd(&msg);
	if (n == (ssize_t)sizeof *out && !(msg.msg_flags & MSG_TRUNC))
		return 1;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return -1;
}

int kid_pack(const char *name, const void *data, size_t len, char err[ERRLEN])
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return err_errno(err, "memfd_create %s", name);
	if (file_write_all(fd, data, len) != 0 ||
	    fcntl(fd, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)) {
		err_errno(err, "memfd %s", name);
		close(fd);
		return -1;
	}
	return fd;
}

int kid_unpack(int fd, void *data, size_t len, char err[ERRLEN])
{
	size_t have = 0;
	char more;

	while (have < len) {
		ssize_t n = pread(fd, (char *)data + have, len - have, (off_t)have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "reading fd %d", fd);
		if (n == 0)
			return err_set(err, "fd %d holds %zu bytes, %zu expected", fd,
				       have, len);
		have += (size_t)n;
	}
	if (pread(fd, &more, 1, (off_t)len) != 0)
		return err_set(err, "fd %d holds more than the %zu bytes expected", fd,
			       len);
	return 0;
}

void kid_ring(int bell_fd)
{
	const uint64_t one = 1;
	ssize_t n;

	do
		n = write(bell_fd, &one, sizeof one);
	while (n < 0 && errno == EINTR);
	/* EAGAIN: it has been ringing 2^64 - 2 times, which is ringing. */
}

void kid_hush(int bell_fd)
{
	uint64_t count;
	ssize_t n;

	do
		n = read(bell_fd, &count, sizeof count);
	while (n < 0 && errno == EINTR);
}

/* --- process names ------------------------------------------------------ */

void kid_title_init(int argc, char **argv)
{
	char **copy, *end = argv[0];
	size_t n = 0;

	for (int i = 0; i < argc; i++)
		if (argv[i] == end)
			end = argv[i] + strlen(argv[i]) + 1;
	title.args = title.used = (size_t)(end - argv[0]);
	while (environ && environ[n])
		n++;
	copy = calloc(n + 1, sizeof *copy);
	if (!copy)
		return; /* names stay as they are */
	for (size_t i = 0; i < n; i++) {
		if (environ[i] == end)
			end = environ[i] + strlen(environ[i]) + 1;
		copy[i] = strdup(environ[i]);
		if (!copy[i]) {
			while (i > 0)
				free(copy[--i]);
			free(copy);
			return;
		}
	}
	environ = copy; /* kept for the life of the process */
	title.at = argv[0];
	title.room = (size_t)(end - argv[0]);
}

/*
 * The environment behind argv is written over only by a name that needs the room:
 * people look into /proc/PID/environ. ps shows what lies there only if argv has no
 * NUL at its end, which is then the case.
 */
void kid_title(const char *fmt, ...)
{
	char text[128];
	va_list ap;
	size_t len;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (title.room < 2)
		return;
	len = strlen(text) < title.room ? strlen(text) : title.room - 1;
	memset(title.at, 0, title.used);
	memcpy(title.at, text, len);
	title.at[len] = '\0';
	title.used = len + 1 > title.args ? len + 1 : title.args;
}

/* --- entering ----------------------------------------------------------- */

/*
 * TERM comes when the master died (PR_SET_PDEATHSIG) or went to the whole group.
 * Only in the first case does the clock start: raw calls only, as it is a handler.
 */
static void on_term(int sig)
{
	(void)sig;
	if (getppid() != orphan.master)
		alarm(orphan.grace_s);
}

static int reset_signals(const struct kid *k, char err[ERRLEN])
{
	static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE};
	struct sigaction sa;
	sigset_t none;

	memset(&sa, 0, sizeof sa);
	sa.sa_handler = SIG_DFL;
	sigaction(SIGCHLD, &sa, NULL);
	sigaction(SIGALRM, &sa, NULL);
	sa.sa_handler = SIG_IGN;
	for (size_t i = 0; i < PS_ARRAY_LEN(ignored); i++)
		sigaction(ignored[i], &sa, NULL);
	orphan.master = getppid();
	orphan.grace_s =
		(unsigned)(k->conf.master_drain_timeout_ms / 1000) + KID_ORPHAN_S;
	sa.sa_handler = on_term;
	sa.sa_flags = SA_RESTART;
	sigaction(SIGTERM, &sa, NULL);
	sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) != 0)
		return err_errno(err, "sigprocmask");
	/* Died already? Then chan_fd is at EOF, which the child sees by itself. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0)
		return err_errno(err, "PR_SET_PDEATHSIG");
	return 0;
}

static int is_own(const struct kid *k, int fd)
{
	if (fd <= 2 || fd == k->chan_fd || fd == k->seg_fd || fd == k->collector_bell_fd)
		return 1;
	for (int i = 0; i < KID_SLOTS; i++)
		if (fd == k->worker_bell_fd[i])
			return k->role == KID_COLLECTOR || i == k->slot;
	if (k->role != KID_WORKER)
		return 0;
	for (int i = 0; i < CONF_MAX_WORKERS; i++)
		for (int j = 0; j < CONF_MAX_LISTEN; j++)
			if (fd == k->listen_fd[i][j])
				return 1;
	return 0;
}

static int close_others(const struct kid *k, char err[ERRLEN])
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	if (!d)
		return err_errno(err, "/proc/self/fd");
	while ((e = readdir(d)) != NULL) {
		char *end;
		long fd = strtol(e->d_name, &end, 10);

		if (*end == '\0' && end != e->d_name && fd != dirfd(d) &&
		    !is_own(k, (int)fd))
			close((int)fd);
	}
	closedir(d);
	return 0;
}

static int open_log(const struct kid *k, const char *path, char err[ERRLEN])
{
	char who[24] = "collector";

	if (k->role == KID_WORKER)
		snprintf(who, sizeof who, "w%d.g%u", k->index + 1, k->generation);
	return log_open(who, (enum log_level)k->conf.log_level,
			k->conf.log_format == LOG_JSON, path, err);
}

int kid_enter(const struct kid *k, char err[ERRLEN])
{
	if (k->magic != KID_MAGIC || k->size != sizeof *k)
		return err_set(err, "struct kid of another build");
	if (reset_signals(k, err) != 0)
		return -1;
	if (k->role == KID_WORKER) {
		char comm[32]; /* the kernel cuts at 15 */

		snprintf(comm, sizeof comm, "peerscope-w%d", k->index + 1);
		prctl(PR_SET_NAME, comm);
		kid_title("peerscope: worker %d (gen %u)", k->index + 1, k->generation);
	} else {
		prctl(PR_SET_NAME, "peerscope-coll");
		kid_title("peerscope: collector");
	}
	/* stderr first: log must not keep a descriptor that is closed under it. */
	if (open_log(k, "", err) != 0 || close_others(k, err) != 0)
		return -1;
	return open_log(k, k->conf.log_file, err);
}

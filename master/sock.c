/* sock.c -- listening sockets; see sock.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "master/sock.h"

#define SOCK_LOOK_MS 50
#define SOCK_BACKLOG 4096 /* the kernel cuts it at net.core.somaxconn */

/* Splits "host:port" or "[host]:port"; host has 64 bytes. */
static int split(const char *text, char host[64], long *port)
{
	const char *colon = strrchr(text, ':'), *from = text, *end;
	char *rest;

	if (!colon || !colon[1])
		return -1;
	end = colon;
	if (text[0] == '[') {
		if (colon == text || colon[-1] != ']')
			return -1;
		from = text + 1;
		end = colon - 1;
	}
	if (end <= from || end - from >= 64 || strspn(colon + 1, "0123456789") > 5)
		return -1;
	memcpy(host, from, (size_t)(end - from));
	host[end - from] = '\0';
	*port = strtol(colon + 1, &rest, 10);
	return *rest == '\0' && colon[1] >= '0' && colon[1] <= '9' && *port <= 65535 ? 0
										     : -1;
}

int sock_is_unix(const struct sock_addr *a)
{
	return a->sa.ss_family == AF_UNIX;
}

static const char *path_of(const struct sock_addr *a)
{
	return ((const struct sockaddr_un *)&a->sa)->sun_path;
}

static void write_text(struct sock_addr *a)
{
	char host[INET6_ADDRSTRLEN] = "?";

	if (sock_is_unix(a)) {
		snprintf(a->text, sizeof a->text, "unix:%s", path_of(a));
	} else if (a->sa.ss_family == AF_INET) {
		const struct sockaddr_in *sin = (const struct sockaddr_in *)&a->sa;

		inet_ntop(AF_INET, &sin->sin_addr, host, sizeof host);
		snprintf(a->text, sizeof a->text, "%s:%u", host, ntohs(sin->sin_port));
	} else {
		const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)&a->sa;

		inet_ntop(AF_INET6, &sin6->sin6_addr, host, sizeof host);
		snprintf(a->text, sizeof a->text, "[%s]:%u", host,
			 ntohs(sin6->sin6_port));
	}
}

int sock_parse(struct sock_addr *out, const char *text, char err[ERRLEN])
{
	struct sockaddr_in *sin = (struct sockaddr_in *)&out->sa;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&out->sa;
	char host[64];
	long port;

	memset(out, 0, sizeof *out);
	if (split(text, host, &port) != 0)
		return err_set(err,
			       "'%s' is not address:port, e.g. 0.0.0.0:8080 or [::]:8080",
			       text);
	if (text[0] != '[' && inet_pton(AF_INET, host, &sin->sin_addr) == 1) {
		sin->sin_family = AF_INET;
		sin->sin_port = htons((uint16_t)port);
		out->len = sizeof *sin;
	} else if (text[0] == '[' && inet_pton(AF_INET6, host, &sin6->sin6_addr) == 1) {
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons((uint16_t)port);
		out->len = sizeof *sin6;
	} else {
		return err_set(err,
			       "'%s': %s is not an IP address (IPv6 goes in brackets)",
			       text, host);
	}
	write_text(out);
	return 0;
}

static int parse_path(struct sock_addr *out, const char *path, char err[ERRLEN])
{
	struct sockaddr_un *sun = (struct sockaddr_un *)&out->sa;

	memset(out, 0, sizeof *out);
	if (path[0] != '/' || strlen(path) >= sizeof sun->sun_path)
		return err_set(
			err,
			"'unix:%.60s': must be an absolute path of %zu bytes at most",
			path, sizeof sun->sun_path - 1);
	sun->sun_family = AF_UNIX;
	memcpy(sun->sun_path, path, strlen(path) + 1);
	out->len = sizeof *sun;
	write_text(out);
	return 0;
}

int sock_parse_list(struct sock_addr out[CONF_MAX_LISTEN], const char *list,
		    char err[ERRLEN])
{
	char item[128];
	int n = 0, rc;

	while (list && (list = conf_list_next(list, item, sizeof item)) != NULL) {
		if (n == CONF_MAX_LISTEN)
			return err_set(err, "more than %d addresses", CONF_MAX_LISTEN);
		rc = strncmp(item, "unix:", 5) == 0 ? parse_path(&out[n], item + 5, err)
						    : sock_parse(&out[n], item, err);
		if (rc != 0)
			return -1;
		n++;
	}
	return n > 0 ? n : err_set(err, "no address");
}

static int make(const struct sock_addr *a, int reuse, char err[ERRLEN])
{
	const int one = 1;
	int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_errno(err, "socket for %s", a->text);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
	    (reuse && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0) ||
	    (a->sa.ss_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) != 0)) {
		err_errno(err, "options of the socket for %s", a->text);
		goto fail;
	}
	if (bind(fd, (const struct sockaddr *)&a->sa, a->len) != 0) {
		err_errno(err, "can't listen on %s", a->text);
		goto fail;
	}
	return fd;
fail:
	close(fd);
	return -1;
}

/* What is at the path? 1: nothing; 0: somebody who serves; -1: something else; -2: the
 * socket of one who does not live any more. */
static int look_at_path(const struct sock_addr *a, char err[ERRLEN])
{
	char dir[sizeof a->text];
	struct stat st;
	int fd, rc;

	snprintf(dir, sizeof dir, "%s", path_of(a));
	if (access(dirname(dir), W_OK | X_OK) != 0)
		return err_errno(err, "can't listen on %s: its directory", a->text);
	if (lstat(path_of(a), &st) != 0)
		return errno == ENOENT ? 1
				       : err_errno(err, "can't listen on %s", a->text);
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, "can't listen on %s: what is there is no socket",
			       a->text);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(err, "socket for %s", a->text);
	rc = connect(fd, (const struct sockaddr *)&a->sa, a->len);
	if (rc != 0 && errno == ECONNREFUSED)
		rc = -2;
	else if (rc != 0 && errno != EAGAIN) /* that is its queue, full */
		rc = err_errno(err, "can't listen on %s, which is there", a->text);
	else
		rc = 0;
	close(fd);
	if (rc == 0)
		err_set(err, "somebody serves on %s", a->text);
	return rc;
}

/* The directory says who may ask, as everybody may on a port: proxies and daemons rarely
 * are of one user. */
static int make_path(const struct sock_addr *a, char err[ERRLEN])
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_errno(err, "socket for %s", a->text);
	if (look_at_path(a, err) == -2)
		(void)unlink(path_of(a));
	if (bind(fd, (const struct sockaddr *)&a->sa, a->len) == 0 &&
	    chmod(path_of(a), 0666) == 0)
		return fd;
	err_errno(err, "can't listen on %s", a->text);
	close(fd);
	return -1;
}

/* 1: a bind works; 0: somebody is there; -1: it fails for another reason. */
static int can_bind(const struct sock_addr *a, int reuse, char err[ERRLEN])
{
	int fd, there;

	if (sock_is_unix(a)) {
		there = look_at_path(a, err);
		return reuse || there == -2 ? 1 : there;
	}
	fd = make(a, reuse, err);
	if (fd < 0)
		return errno == EADDRINUSE ? 0 : -1;
	close(fd);
	return 1;
}

/*
 * With SO_REUSEPORT a second daemon of the same user binds without a word and takes
 * half of the requests. A bind without it tells whether somebody is there: another
 * daemon, or what a killed one left, which stops listening by itself within moments.
 * The kernel tells nobody of that, so we look again.
 */
static int wait_for(const struct sock_addr *a, uint64_t until_ms, char err[ERRLEN])
{
	int rc, said = 0;

	while ((rc = can_bind(a, 0, err)) == 0) {
		/* Not even beside it: another user's, or not one of us. */
		if (can_bind(a, 1, err) != 1)
			return -1;
		if (clock_ms() >= until_ms)
			return err_set(err,
				       "another daemon of this user serves on %s: stop "
				       "it, or choose another http.listen",
				       a->text);
		if (!said++)
			log_notice("master",
				   "somebody listens on %s: waiting a moment for it to "
				   "leave",
				   a->text);
		(void)poll(NULL, 0, SOCK_LOOK_MS);
	}
	return rc < 0 ? -1 : 0;
}

int sock_probe(const char *list, char err[ERRLEN])
{
	struct sock_addr at[CONF_MAX_LISTEN];
	int n = sock_parse_list(at, list, err);

	for (int i = 0; i < n; i++)
		if (can_bind(&at[i], 0, err) != 1)
			return -1;
	return n < 0 ? -1 : 0;
}

static int take_port(struct sock_addr *a, int fd, char err[ERRLEN])
{
	a->len = sizeof a->sa;
	if (getsockname(fd, (struct sockaddr *)&a->sa, &a->len) != 0)
		return err_errno(err, "getsockname of %s", a->text);
	write_text(a);
	return 0;
}

/* The j-th address, for all indexes. */
static int open_one(struct sock_set *out, int j, char err[ERRLEN])
{
	struct sock_addr *a = &out->addr[j];

	for (int i = 0; i < out->nworkers; i++) {
		int *fd = &out->fd[i][j];

		if (!sock_is_unix(a))
			*fd = make(a, 1, err);
		else if (i == 0)
			*fd = make_path(a, err);
		else if ((*fd = fcntl(out->fd[0][j], F_DUPFD_CLOEXEC, 3)) < 0)
			err_errno(err, "descriptor for %s", a->text);
		if (*fd < 0 || take_port(a, *fd, err) != 0)
			return -1;
	}
	return 0;
}

int sock_open(struct sock_set *out, const char *list, int nworkers, uint64_t wait_ms,
	      char err[ERRLEN])
{
	uint64_t until_ms = clock_ms() + wait_ms;

	memset(out, 0, sizeof *out);
	memset(out->fd, 0xff, sizeof out->fd); /* -1 everywhere */
	out->nworkers = nworkers;
	out->naddr = sock_parse_list(out->addr, list, err);
	if (out->naddr < 0)
		return -1;
	for (int j = 0; j < out->naddr; j++)
		if (wait_for(&out->addr[j], until_ms, err) != 0 ||
		    open_one(out, j, err) != 0)
			goto fail;
	/* Listening comes last: nobody is let in before all is had. */
	for (int j = 0; j < out->naddr; j++)
		for (int i = 0; i < nworkers; i++)
			if (listen(out->fd[i][j], SOCK_BACKLOG) != 0) {
				err_errno(err, "can't listen on %s", out->addr[j].text);
				goto fail;
			}
	return 0;
fail:
	sock_close(out);
	return -1;
}

int sock_take(struct sock_set *out, const int32_t fd[][CONF_MAX_LISTEN], int naddr,
	      int nworkers, char err[ERRLEN])
{
	memset(out, 0, sizeof *out);
	memset(out->fd, 0xff, sizeof out->fd);
	out->naddr = naddr;
	out->nworkers = nworkers;
	for (int j = 0; j < naddr; j++)
		for (int i = 0; i < nworkers; i++) {
			out->fd[i][j] = fd[i][j];
			if (take_port(&out->addr[j], fd[i][j], err) != 0)
				return -1;
		}
	return 0;
}

/* Once: soon it may be a successor's. */
static void remove_paths(struct sock_set *s)
{
	for (int j = 0; j < s->naddr && !s->shut; j++)
		if (sock_is_unix(&s->addr[j]) && s->fd[0][j] >= 0)
			(void)unlink(path_of(&s->addr[j]));
	s->shut = 1;
}

/* shutdown() ends listening for every descriptor of the socket; close() only ours. */
void sock_shutdown(struct sock_set *s)
{
	remove_paths(s);
	for (int i = 0; i < s->nworkers; i++)
		for (int j = 0; j < s->naddr; j++)
			shutdown(s->fd[i][j], SHUT_RDWR);
}

void sock_close(struct sock_set *s)
{
	remove_paths(s);
	for (int i = 0; i < s->nworkers; i++)
		for (int j = 0; j < CONF_MAX_LISTEN; j++)
			if (s->fd[i][j] >= 0) {
				close(s->fd[i][j]);
				s->fd[i][j] = -1;
			}
}

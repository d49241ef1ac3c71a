/* notify.c -- see notify.h. */
#include "master/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define NOTIFY_WAIT_S 1

/* '@' is a name without a file (unix(7)); other kinds of address are not for us. */
static socklen_t notify_address(struct sockaddr_un *sun, const char *path)
{
	size_t len = strlen(path);

	if ((path[0] != '/' && path[0] != '@') || len >= sizeof sun->sun_path)
		return 0;
	memset(sun, 0, sizeof *sun);
	sun->sun_family = AF_UNIX;
	memcpy(sun->sun_path, path, len);
	if (path[0] == '@')
		sun->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

static int notify_send(const char *path, const char *text)
{
	struct timeval wait = {.tv_sec = NOTIFY_WAIT_S};
	struct sockaddr_un sun;
	socklen_t len = notify_address(&sun, path);
	int fd, rc = -1;

	if (len == 0) {
		errno = EINVAL;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) == 0 &&
	    sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&sun, len) >=
		    0)
		rc = 0;
	close(fd);
	return rc;
}

void notify_say(const char *fmt, ...)
{
	const char *path = getenv("NOTIFY_SOCKET");
	char text[NOTIFY_MAX];
	va_list ap;

	if (!path || !path[0])
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (notify_send(path, text) != 0)
		log_warn("master", "NOTIFY_SOCKET %s does not take '%.*s': %s", path,
			 (int)strcspn(text, "\n"), text, strerror(errno));
}

/* The time tells the READY=1 of this reload from one before (systemd 253). */
void notify_reloading(const char *status)
{
	notify_say("RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=%s", clock_us(),
		   status);
}

void notify_beat(unsigned every_ms)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	static int warned;

	if (!usec || (pid && strtol(pid, NULL, 10) != (long)getpid()))
		return;
	if (strtoull(usec, NULL, 10) / 1000 < 2ULL * every_ms && !warned) {
		warned = 1;
		log_warn("master",
			 "WatchdogSec is too short: we are heard of every %u ms",
			 every_ms);
	}
	notify_say("WATCHDOG=1");
}

/* said.c -- what a child says; see said.h. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "master/said.h"

int said_open(void)
{
	int fd = memfd_create("said", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0 && (ftruncate(fd, SAID_MAX) != 0 ||
			fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) != 0)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

void said_redirect(int said_fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0)
		dup2(null, 0);
	if (said_fd < 0)
		said_fd = null;
	if (said_fd >= 0) {
		dup2(said_fd, 1);
		dup2(said_fd, 2);
	}
}

void said_all(int said_fd, char out[SAID_TEXT])
{
	ssize_t n = said_fd < 0 ? -1 : pread(said_fd, out, SAID_MAX, 0);

	out[n > 0 ? n : 0] = '\0';
	for (n = (ssize_t)strlen(out); n > 0 && out[n - 1] == '\n'; n--)
		out[n - 1] = '\0';
}

void said_last(int said_fd, char out[ERRLEN])
{
	static char text[SAID_TEXT];
	const char *line;

	said_all(said_fd, text);
	line = strrchr(text, '\n');
	snprintf(out, ERRLEN, "%.*s", ERRLEN - 1, line ? line + 1 : text);
}

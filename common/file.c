/* file.c -- see file.h. */
#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int file_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Some file systems (FUSE, 9p) have no fsync at all: that is no reason to fail. */
static int sync_file(int fd)
{
	return fsync(fd) == 0 || errno == EINVAL || errno == ENOSYS ? 0 : -1;
}

/* The directory too, or the new name may be lost with the power. */
static void sync_directory(const char *path)
{
	char dir[4096];
	const char *slash = strrchr(path, '/');
	int fd;

	if (slash == NULL || (size_t)(slash - path) >= sizeof dir)
		return;
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = '\0';
	fd = open(dir[0] ? dir : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)fsync(fd); /* a file system that can't is no reason to fail */
	close(fd);
}

int file_write(const char *path, const void *data, size_t len, char err[ERRLEN])
{
	char temp[4096];
	int fd, bad;

	if (snprintf(temp, sizeof temp, "%s.new", path) >= (int)sizeof temp)
		return err_set(err, "%s: the path is too long", path);
	if (unlink(temp) != 0 && errno != ENOENT)
		return err_errno(err, "%s", temp);
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_errno(err, "%s", temp);
	bad = file_write_all(fd, data, len) != 0 || sync_file(fd) != 0;
	if (close(fd) != 0 || bad || rename(temp, path) != 0) {
		(void)err_errno(err, "%s", temp);
		unlink(temp);
		return -1;
	}
	sync_directory(path);
	return 0;
}

static int read_all(int fd, char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = read(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int file_read(const char *path, size_t max, char **data, size_t *len, char err[ERRLEN])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *p;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(err, "%s", path);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (uintmax_t)st.st_size > max) {
		close(fd);
		return err_set(err, "%s: no regular file of at most %zu bytes", path,
			       max);
	}
	p = malloc((size_t)st.st_size + 1);
	if (p == NULL || read_all(fd, p, (size_t)st.st_size) != 0) {
		free(p);
		close(fd);
		return err_set(err, "%s: can't be read whole", path);
	}
	close(fd);
	p[st.st_size] = '\0';
	*data = p;
	*len = (size_t)st.st_size;
	return 1;
}

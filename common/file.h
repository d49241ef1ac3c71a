/*
 * file.h -- small files that must never be seen half written.
 */
#ifndef PEERSCOPE_COMMON_FILE_H
#define PEERSCOPE_COMMON_FILE_H

#include <stddef.h>

#include "common/err.h"

/* All len bytes to fd, however often write(2) stops. 0, or -1 with errno. */
PS_MUST int file_write_all(int fd, const void *data, size_t len);
/* Write beside path, fsync, rename: after a crash there is the old file or the new
 * one, mode 0600. Blocks for the disk. 0, or -1 with err; path is then as it was. */
PS_MUST int file_write(const char *path, const void *data, size_t len, char err[ERRLEN]);
/* A whole regular file of at most max bytes: the caller frees *data. 1: read; 0: there
 * is none; -1: err (larger than max, no regular file, unreadable). */
PS_MUST int file_read(const char *path, size_t max, char **data, size_t *len,
		      char err[ERRLEN]);

#endif

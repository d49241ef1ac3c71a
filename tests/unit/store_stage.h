/* store_stage.h -- a cache directory (in memory) that goes with the test, keys, entries, and a reader. */
#ifndef PEERSCOPE_TESTS_STORE_STAGE_H
#define PEERSCOPE_TESTS_STORE_STAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/metadisk.h"

static char stage_dir[64], stage_err[ERRLEN];

static int stage_rm_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int stage_open(void **state)
{
	(void)state;
	snprintf(stage_dir, sizeof stage_dir, "/dev/shm/peerscope-meta-XXXXXX");
	return mkdtemp(stage_dir) ? 0 : -1;
}

static int stage_close(void **state)
{
	(void)state;
	return nftw(stage_dir, stage_rm_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* The n-th key: spread over the directories, never zeros. */
static inline void stage_key(uint8_t key[IH_LEN], unsigned n)
{
	memset(key, 0, IH_LEN);
	key[0] = (uint8_t)(n * 37);
	key[1] = (uint8_t)(n * 11 + 1);
	key[2] = (uint8_t)(n >> 8);
	key[3] = (uint8_t)n;
	key[19] = 1;
}

static void stage_path(char out[256], const uint8_t key[IH_LEN], enum meta_kind kind)
{
	char aa[3], bb[3], name[META_NAME_MAX];

	meta_name(aa, bb, name, key, kind);
	snprintf(out, 256, "%s/%s/%s/%s", stage_dir, aa, bb, name);
}

/* As a worker reads it: META_OK only if every byte is right. */
static inline enum meta_rc stage_read(const uint8_t key[IH_LEN], enum meta_kind kind, uint64_t *len)
{
	struct meta_file f;
	enum meta_rc rc = meta_open(&f, stage_dir, key, kind, 0, stage_err);

	if (rc != META_OK)
		return rc;
	rc = meta_verify(&f, 0, stage_err);
	if (len)
		*len = f.h.len;
	meta_close(&f);
	return rc;
}

/* When the entry was wanted, by both of its files. */
static inline void stage_age(const uint8_t key[IH_LEN], time_t used_s)
{
	const struct timespec t[2] = {{.tv_sec = used_s}, {.tv_sec = used_s}};
	char path[256];

	for (int k = 0; k < META_KINDS; k++) {
		stage_path(path, key, (enum meta_kind)k);
		(void)utimensat(AT_FDCWD, path, t, 0);
	}
}

#endif

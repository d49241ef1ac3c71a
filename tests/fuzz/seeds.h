/* seeds.h -- where the fuzzers' inputs come from: FUZZ_SEEDS=DIR writes them there and ends. */
#ifndef PEERSCOPE_TESTS_FUZZ_SEEDS_H
#define PEERSCOPE_TESTS_FUZZ_SEEDS_H

#include <fcntl.h>
#include <sodium.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/err.h"

/* Each fuzzer's own. */
static void write_seeds(const char *dir);

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An input's first byte chooses its reader. */
static void write_seed(const char *dir, const char *name, int mode, const void *p,
		       size_t n)
{
	uint8_t head = (uint8_t)mode;
	char path[1024];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	PS_ASSERT(fd >= 0);
	PS_ASSERT(write(fd, &head, 1) == 1);
	PS_ASSERT(write(fd, p, n) == (ssize_t)n);
	close(fd);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *dir = getenv("FUZZ_SEEDS");

	(void)argc;
	(void)argv;
	PS_ASSERT(sodium_init() >= 0);
	if (!dir)
		return 0;
	write_seeds(dir);
	exit(0);
}

#endif

/* geo_stage.h -- a directory with the databases of tests/geo/make-mmdb.pl, for the tests of
 * geo/. cmocka's headers stand before it. */
#ifndef PEERSCOPE_TESTS_GEO_STAGE_H
#define PEERSCOPE_TESTS_GEO_STAGE_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/peerscope-geo-XXXXXX";

static const char *file(const char *name)
{
	static char path[4][320];
	static int turn;

	turn = (turn + 1) % 4;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
	return path[turn];
}

static int make_files(void **state)
{
	int status = -1;
	pid_t pid;

	(void)state;
	if (!mkdtemp(dir))
		return -1;
	pid = fork();
	if (pid == 0) {
		execl("/usr/bin/perl", "perl", "tests/geo/make-mmdb.pl", dir,
		      (char *)NULL);
		_exit(127);
	}
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static int remove_files(void **state)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	(void)state;
	while (d && (e = readdir(d))) {
		if (e->d_name[0] != '.')
			unlink(file(e->d_name));
	}
	if (d)
		closedir(d);
	return rmdir(dir);
}

static void write_file(const char *path, const void *data, size_t len)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static size_t read_file(const char *path, uint8_t *out, size_t size)
{
	FILE *f = fopen(path, "rb");
	size_t len;

	assert_non_null(f);
	len = fread(out, 1, size, f);
	assert_true(len < size);
	fclose(f);
	return len;
}

#endif

/* jobfile.c -- files of jobs; see jobfile.h. */
#include "collector/jobfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "shm/stat.h"

#define PATH_LEN 512

static int path_of(char out[PATH_LEN], const char *run_dir, const char *dir,
		   const char *name, const char *end)
{
	int n = snprintf(out, PATH_LEN, "%s/%s/%s%s", run_dir, dir, name, end);

	return run_dir[0] && n > 0 && n < PATH_LEN ? 0 : -1;
}

static int write_new(const char *path, const struct buf *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc;

	if (fd < 0)
		return -1;
	rc = file_write_all(fd, text->p, text->len);
	return close(fd) == 0 ? rc : -1;
}

int jobfile_save(const char *run_dir, const struct metajob *j)
{
	char path[PATH_LEN], fresh[PATH_LEN];
	struct buf text;
	int rc = -1;

	buf_init(&text, METAJOB_FILE_MAX);
	metajob_write(&text, j);
	errno = ENOMEM;
	if (!text.failed && path_of(path, run_dir, METAJOB_DIR, j->id, "") == 0 &&
	    path_of(fresh, run_dir, METAJOB_DIR, j->id, ".new") == 0 &&
	    write_new(fresh, &text) == 0)
		rc = rename(fresh, path);
	buf_free(&text);
	if (rc == 0)
		return 0;
	stat_inc(meta_jobs_unsaved);
	log_warn("metadata", "job %s can't be written: %s", j->id, strerror(errno));
	return -1;
}

int jobfile_read(struct metajob *j, const char *run_dir, const char *dir, const char *id,
		 char err[ERRLEN])
{
	char path[PATH_LEN], *text = NULL;
	size_t len = 0;
	int rc;

	if (path_of(path, run_dir, dir, id, "") != 0)
		return err_set(err, "the path is too long");
	rc = file_read(path, METAJOB_FILE_MAX, &text, &len, err);
	if (rc == 0)
		return err_set(err, "it is gone");
	if (rc == 1)
		rc = metajob_read(j, text, len, err);
	free(text);
	if (rc == 0 && strcmp(j->id, id) != 0) {
		metajob_free(j);
		return err_set(err, "it has another's name");
	}
	return rc;
}

void jobfile_remove(const char *run_dir, const char *dir, const char *id)
{
	char path[PATH_LEN];

	if (path_of(path, run_dir, dir, id, "") == 0)
		(void)unlink(path);
}

/* Half-written ones (.new) are last words to nobody. */
void jobfile_each(const char *run_dir, int (*fn)(void *arg, const char *id), void *arg)
{
	char path[PATH_LEN];
	struct dirent *e;
	DIR *d;

	if (path_of(path, run_dir, METAJOB_DIR, "", "") != 0)
		return;
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		log_warn("metadata", "%s: %s: async=1 will be refused", path,
			 strerror(errno));
	d = opendir(path);
	if (!d)
		return;
	for (int i = 0; i < JOBFILE_LOOK && (e = readdir(d)); i++)
		if (e->d_name[0] != '.' &&
		    (!metajob_is_id(e->d_name) || !fn(arg, e->d_name)))
			jobfile_remove(run_dir, METAJOB_DIR, e->d_name);
	closedir(d);
}

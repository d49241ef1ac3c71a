/*
 * jobfile.h -- files of jobs (shm/metajob.h), below master.run_dir: METAJOB_DIR, which the
 * collector alone writes, and questions in META_UP, which workers write for it.
 *
 * A file of METAJOB_DIR is the old one or the new one, whoever dies. They are not synced:
 * run_dir is for this life of the machine. Each is at most METAJOB_FILE_MAX bytes.
 * Proof: tests/e2e/test_metadata_jobs.py.
 */
#ifndef PEERSCOPE_COLLECTOR_JOBFILE_H
#define PEERSCOPE_COLLECTOR_JOBFILE_H

#include "shm/metajob.h"

#define JOBFILE_LOOK 8192		/* names looked at: two for each of metadata.jobs */

/* -1: logged, and counted (meta_jobs_unsaved). */
int jobfile_save(const char *run_dir, const struct metajob *j);
/* 0: metajob_free ends that; -1: err. dir: METAJOB_DIR or META_UP. */
PS_MUST int jobfile_read(struct metajob *j, const char *run_dir, const char *dir,
			 const char *id, char err[ERRLEN]);
void jobfile_remove(const char *run_dir, const char *dir, const char *id);
/* Makes METAJOB_DIR if there is none, and says which files are there: fn returns 0 for those
 * that are to be removed. */
void jobfile_each(const char *run_dir, int (*fn)(void *arg, const char *id), void *arg);

#endif

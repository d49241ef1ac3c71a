/*
 * selfpage.h -- what a process uses, by itself into its page: memory, time, descriptors.
 * Others could not always look: /proc/<pid>/fd belongs to whoever may trace it.
 */
#ifndef PEERSCOPE_SHM_SELFPAGE_H
#define PEERSCOPE_SHM_SELFPAGE_H

#include "shm/layout.h"

/* A few reads of /proc/self, which no disk is behind; what can't be had is 0. Called
 * each second or two, with the beat. */
void selfpage_write(struct shm_page *page);

#endif

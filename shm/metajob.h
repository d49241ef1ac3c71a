/*
 * metajob.h -- a question for metadata that nobody waits for (POST ?async=1): what is known
 * of it, as a small file and as JSON.
 *
 *   worker:    up/<id>      the question, state pending (or done: it is in the cache)
 *                 | JOB_META_LATER
 *   collector: jobs/<id>    the same with its times; written anew with each change
 *                 |
 *   worker:    GET /api/v1/jobs/<id>
 *
 * Both below master.run_dir. The collector alone writes jobs/ (jobfile.h: the old file or
 * the new one), so a job outlives the process that has it; it is the only owner, and a
 * worker reads. An id is 128 random bits: who does not have it does not find the job.
 *
 * The file is five lines: a magic with the id; numbers; key and client; webhook; link.
 * Pure but for the memory of the two texts. Proof: tests/unit/test_metajob.c.
 */
#ifndef PEERSCOPE_SHM_METAJOB_H
#define PEERSCOPE_SHM_METAJOB_H

#include "common/addr.h"
#include "common/buf.h"
#include "common/ident.h"
#include "common/magnet.h"
#include "shm/lane.h"

#define METAJOB_DIR "jobs"
#define METAJOB_ID 32			/* digits: 16 random bytes */
#define METAJOB_HOOK_MAX 2048		/* bytes of a webhook's URL */
#define METAJOB_FILE_MAX (MAGNET_MAX + METAJOB_HOOK_MAX + 1024)
#define METAJOB_RETRY_S 2		/* how often to ask for a job that is pending */

enum metajob_state { METAJOB_PENDING = 0, METAJOB_DONE = 1, METAJOB_FAILED = 2 };
enum metajob_hook {
	METAJOB_NO_HOOK = 0,
	METAJOB_HOOK_DUE = 1,		/* not delivered yet */
	METAJOB_HOOK_SENT = 2,
	METAJOB_HOOK_FAILED = 3,	/* given up */
};

enum metajob_said {
	METAJOB_SAID_NOTHING = 0,	/* there was no try, or it was delivered */
	METAJOB_SAID_DENIED = 1,	/* the address is no public one (swarm.allow_private) */
	METAJOB_SAID_NO_ANSWER = 2,
	METAJOB_SAID_NO_KEY = 3,	/* metadata.webhook_secret was taken away */
	METAJOB_SAID_MAX = 999
};

struct metajob {
	char id[METAJOB_ID + 1];
	enum metajob_state state;
	enum lane_rc rc;		/* of a failed one */
	/* Wall clock. since: of the state; until: it is forgotten then (pending: given up; 0: it
	 * waits for its turn, its time has not begun). */
	uint64_t created_ms, since_ms, until_ms;
	uint8_t key[IH_LEN];
	uint8_t client[ADDR_LEN];
	enum metajob_hook hook;
	uint32_t tries;			/* of the webhook */
	uint32_t said;			/* to the last one: an HTTP status, or enum metajob_said */
	char *url, *link;		/* malloc'd; url "": no webhook */
};

/* 32 lower-case digits, as metajob_name makes them. */
int metajob_is_id(const char *text);
/* A new one; -1: the kernel has no random bytes yet. */
PS_MUST int metajob_name(char id[METAJOB_ID + 1]);

/* The file. */
void metajob_write(struct buf *out, const struct metajob *j);
/* 0: metajob_free ends that; -1: err, it is no such file. */
PS_MUST int metajob_read(struct metajob *j, const char *text, size_t len, char err[ERRLEN]);
void metajob_free(struct metajob *j);

/* As clients see it, an object that is left open. base: metadata.base_url. */
void metajob_json(struct json *out, const struct metajob *j, const char *base);

/* "key": base without slashes at its end, path, id. base: metadata.base_url. */
void metajob_put_url(struct json *out, const char *key, const char *base,
		     const char *path, const char *id);

/* A URL that a webhook may have: 0, or -1 with a sentence. What a name in it means is not
 * asked here; an address alone is known (addr_is_global), unless all may be had. */
PS_MUST int metajob_url(const char *url, int allow_private, char err[ERRLEN]);

#endif

/*
 * config_int.h -- what the files of the configuration loader share: config.c reads,
 * config_old.c knows the names of the replaced services, config_check.c looks at
 * keys beside each other.
 */
#ifndef PEERSCOPE_MASTER_CONFIG_INT_H
#define PEERSCOPE_MASTER_CONFIG_INT_H

#include "master/config.h"

#define CONFIG_WHERE_MAX 512	/* of a long path the end is shown */

struct config_load {
	struct config *cfg;
	char *const *env;
	config_say_fn say;
	void *arg;
	int errors;
	/* the file under way */
	FILE *file;
	const char *path;
	unsigned line;
	int skip;				/* in a section that we don't know */
	char why[160];				/* complaint that was put together */
	unsigned set_at[CONFIG_KEY_N];		/* 0: not yet */
	unsigned secret_at;			/* the first secret in it; 0: none */
	char text[CONFIG_LINE_MAX + 2];
};

void config_say(struct config_load *l, enum config_kind kind, const char *fmt, ...)
	PS_PRINTF(3, 4);
/* What must not be said aloud in a value of this key, or in an item of it, goes, in place. */
void config_hide(int key, char *text);
/* Set key number i; a value that can't be is an error of `where`. 0 or -1. */
int config_put(struct config_load *l, int i, const char *value, const char *where);
/* Value of an environment variable; NULL: not set. */
const char *config_env(const struct config_load *l, const char *name);
/* Is the key set by a name of ours, PEERSCOPE_<SECTION>_<KEY> or its _FILE? */
int config_env_ours(const struct config_load *l, int i);

/* The environment names of the services that this one replaces. */
void config_old(struct config_load *l);
/* Checks that need more than the row of one key; warnings too. */
void config_check(struct config_load *l);

#endif

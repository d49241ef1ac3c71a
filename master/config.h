/*
 * config.h -- from a file, the environment and the command line to a struct conf.
 *
 *   -o section.key=value  >  PEERSCOPE_SECTION_KEY  >  names of the replaced
 *   services (PORT, REDIS_URL, ...)  >  file  >  default
 *
 * The keys themselves, their bounds and defaults are rows of common/conf.h. Every
 * complaint is reported, not the first, as `where: what`; where is file:line,
 * "env NAME" or "-o". Only the master links this; it runs before any fork and at
 * each reload. Proof: tests/unit/test_config.c.
 */
#ifndef PEERSCOPE_MASTER_CONFIG_H
#define PEERSCOPE_MASTER_CONFIG_H

#include <stddef.h>
#include <stdio.h>

#include "common/conf.h"
#include "common/err.h"

#define CONFIG_DEFAULT_FILE "/etc/peerscope/peerscope.conf"
#define CONFIG_LINE_MAX 8192	/* bytes of a line: a list of trackers is one line */
#define CONFIG_ORIGIN_MAX 96
#define CONFIG_SAY_MAX 768	/* bytes of one complaint */

enum {
#define X(s, k, type, def, min, max, how, help) CONFIG_KEY_##s##_##k,
	CONF_KEYS(X)
#undef X
	CONFIG_KEY_N,
};

struct config {
	struct conf conf;
	/* of each value, in the order of conf_keys(): "default", "peerscope.conf:12",
	 * "env PORT", "-o"; the start of a long path is left out */
	char origin[CONFIG_KEY_N][CONFIG_ORIGIN_MAX];
};

/* CAUTION: a warning that only somebody who asks for it wants to hear. */
enum config_kind { CONFIG_ERROR = 0, CONFIG_WARNING = 1, CONFIG_CAUTION = 2 };
/* One complaint, without newline; printable, and never with a secret in it. */
typedef void (*config_say_fn)(void *arg, enum config_kind kind, const char *text);

/*
 * Fill out. file NULL: CONFIG_DEFAULT_FILE if there is one; a named file must be
 * there. opts: nopts texts "section.key=value", the last of a key counts. env: as
 * environ, NULL-terminated; may be NULL. Returns the number of errors; warnings
 * are said, not counted. With errors, out is whole but not to be used.
 */
PS_MUST int config_load(struct config *out, const char *file, char *const *opts,
			size_t nopts, char *const *env, config_say_fn say, void *arg);

/* Every key with its value and origin, one a line; secrets as ***, what may be one in a URL as /... */
void config_print(FILE *to, const struct config *c);

/* Keys that a reload can't take and that differ: how many, and their names as
 * "http.listen, shm.name" (as many as fit) for the sentence that refuses it. */
PS_MUST int config_diff_restart(const struct conf *was, const struct conf *now, char *names,
				size_t size);
/* The same for any key that differs, for the log line of a reload. */
int config_diff(const struct conf *was, const struct conf *now, char *names, size_t size);

#endif

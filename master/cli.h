/*
 * cli.h -- the command line, and one function per subcommand. They return the exit
 * code: 0, 1 (no), 2 (usage).
 */
#ifndef PEERSCOPE_MASTER_CLI_H
#define PEERSCOPE_MASTER_CLI_H

#include <stddef.h>
#include <stdint.h>

#include "common/conf.h"

#define CLI_PEERS_TIMEOUT_S 60	/* the daemon answers within 25 s of waiting */
#define CLI_OPTS_MAX 128		/* -o; there are about 50 keys */
#define CLI_QUERY_MAX 32		/* filters, sort and peers of one question */

struct cli {
	const char *command;
	int argc;			/* of our own execve; without --takeover and so on */
	char **argv;
	int hand_fd;			/* what was handed over; -1: nothing */
	int takeback;			/* by an image that could not serve */
	int check_hand;			/* only see whether we could take it */
	const char *file;		/* -c; NULL: none */
	char *opts[CLI_OPTS_MAX];	/* -o section.key=value */
	size_t nopts;
	const char *url;		/* --url */
	const char *id;			/* peers ID */
	char **words;			/* geo ADDRESS... */
	size_t nwords;
	int limit;			/* --limit; -1: not given */
	int64_t wait_ms;		/* --wait; -1: not given */
	int ready, once, json;		/* --ready, --once, --json */
	int csv, ndjson, summary;	/* --csv, --ndjson, --summary */
	struct {			/* --country and so on, as the daemon takes them */
		const char *name, *value;
	} query[CLI_QUERY_MAX];
	size_t nquery;
};

int cmd_serve(const struct cli *cli);
int cmd_check(const struct cli *cli);
int cmd_config(const struct cli *cli);
int cmd_top(const struct cli *cli);
int cmd_healthcheck(const struct cli *cli);
int cmd_peers(const struct cli *cli);
int cmd_geo(const struct cli *cli);
int cmd_version(const struct cli *cli);

/* http.workers, or one per core we may run on. */
int cli_workers(const struct conf *c);
/* Config for a subcommand that only asks: errors go to stderr, -1. */
PS_MUST int cli_conf(const struct cli *cli, struct conf *out);

#endif

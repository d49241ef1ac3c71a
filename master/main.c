/* main.c -- the command line: which subcommand, with which options. See cli.h. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/kid.h"
#include "master/cli.h"
#include "master/config.h"
#include "master/upgrade.h"
#include "worker/peers.h"

enum {
	OPT_URL = 256,
	OPT_LIMIT,
	OPT_WAIT,
	OPT_READY,
	OPT_ONCE,
	OPT_JSON,
	OPT_CSV,
	OPT_NDJSON,
	OPT_SUMMARY,
	OPT_COUNTRY, /* from here on: sent to the daemon as they are */
	OPT_ISP,
	OPT_CLIENT,
	OPT_STATE,
	OPT_SOURCE,
	OPT_PROTOCOL,
	OPT_SORT,
	OPT_PEER,
};

static const struct command {
	const char *name, *args, *help;
	int (*run)(const struct cli *);
	int takes[20]; /* options, 0-terminated */
} commands[] = {
	{"serve", "", "run the daemon in the foreground", cmd_serve, {'c', 'o'}},
	{"check",
	 "",
	 "validate the configuration and what it names",
	 cmd_check,
	 {'c', 'o'}},
	{"config",
	 "",
	 "print each value and where it comes from",
	 cmd_config,
	 {'c', 'o'}},
	{"top",
	 "[--once] [--json]",
	 "watch a running daemon",
	 cmd_top,
	 {'c', 'o', OPT_ONCE, OPT_JSON}},
	{"healthcheck",
	 "[--ready] [--url URL]",
	 "exit 0 if it is alive (ready)",
	 cmd_healthcheck,
	 {'c', 'o', OPT_READY, OPT_URL}},
	{"peers",
	 "ID [--limit N] [--sort KEYS] [--summary] [--csv]...",
	 "ask for a swarm; options: peers --help",
	 cmd_peers,
	 {'c', 'o', OPT_LIMIT, OPT_WAIT, OPT_JSON, OPT_URL, OPT_CSV, OPT_NDJSON,
	  OPT_SUMMARY, OPT_COUNTRY, OPT_ISP, OPT_CLIENT, OPT_STATE, OPT_SOURCE,
	  OPT_PROTOCOL, OPT_SORT, OPT_PEER}},
	{"geo",
	 "[ADDRESS...]",
	 "verify the databases of places, look addresses up",
	 cmd_geo,
	 {'c', 'o'}},
	{"version", "", "print the version", cmd_version, {0}},
	{"help", "", "print this", NULL, {0}},
};

static const struct option longs[] = {
	{"help", no_argument, NULL, 'h'},
	{"url", required_argument, NULL, OPT_URL},
	{"limit", required_argument, NULL, OPT_LIMIT},
	{"wait", required_argument, NULL, OPT_WAIT},
	{"ready", no_argument, NULL, OPT_READY},
	{"once", no_argument, NULL, OPT_ONCE},
	{"json", no_argument, NULL, OPT_JSON},
	{"csv", no_argument, NULL, OPT_CSV},
	{"ndjson", no_argument, NULL, OPT_NDJSON},
	{"summary", no_argument, NULL, OPT_SUMMARY},
	{"country", required_argument, NULL, OPT_COUNTRY},
	{"isp", required_argument, NULL, OPT_ISP},
	{"client", required_argument, NULL, OPT_CLIENT},
	{"state", required_argument, NULL, OPT_STATE},
	{"source", required_argument, NULL, OPT_SOURCE},
	{"protocol", required_argument, NULL, OPT_PROTOCOL},
	{"sort", required_argument, NULL, OPT_SORT},
	{"peer", required_argument, NULL, OPT_PEER},
	{NULL, 0, NULL, 0},
};

static int usage(void)
{
	printf("usage: peerscope COMMAND [-c FILE] [-o section.key=value]...\n\n");
	for (size_t i = 0; i < PS_ARRAY_LEN(commands); i++)
		printf("  %s%s%-*s %s\n", commands[i].name,
		       commands[i].args[0] ? " " : "",
		       (int)(57 - strlen(commands[i].name) -
			     (commands[i].args[0] ? 1 : 0)),
		       commands[i].args, commands[i].help);
	printf("\nWithout -c, %s is read if it exists. See peerscope(8).\n",
	       CONFIG_DEFAULT_FILE);
	return fflush(stdout) == 0 ? 0 : 1;
}

static int peers_usage(void)
{
	printf("usage: peerscope peers ID [-c FILE] [-o section.key=value]...\n\n"
	       "  --limit N        peers to list, 1 to %d\n"
	       "  --wait TIME      hold the answer for a better one, 0s to %ds, e.g. 500ms\n"
	       "  --country --isp --client --state --source --protocol WORDS\n"
	       "                   only such peers; several by comma\n"
	       "  --sort KEYS      e.g. -progress,country\n"
	       "  --summary        counts by country, ISP, client, source, state, protocol\n"
	       "  --json --csv --ndjson\n"
	       "                   in that form instead of a table\n"
	       "  --peer A:P       a peer of the swarm, up to 16 times\n"
	       "  --url URL        where the daemon listens; else http.listen\n"
	       "\nSee peerscope(8) and, for what the words are, peerscope-api(7).\n",
	       CONF_SLOT_PEERS, PEERS_WAIT_MAX_MS / 1000);
	return fflush(stdout) == 0 ? 0 : 1;
}

/* One line: what is wrong, and where to read how it is done. */
static int bad(const struct cli *cli, const char *fmt, ...) PS_PRINTF(2, 3);
static int bad(const struct cli *cli, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "peerscope%s%s: ", cli->command[0] ? " " : "", cli->command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "; try: peerscope help\n");
	return -1;
}

/* Would the daemon take this parameter? If not, its own sentence is said. */
static int daemon_takes(const struct cli *cli, const char *query)
{
	static struct peers_question q;
	char err[ERRLEN];
	size_t len;

	if (peers_query(&q, query, err) == 0)
		return 0;
	len = strlen(err);
	if (len && err[len - 1] == '.')
		err[len - 1] = '\0';
	return bad(cli, "%s", err);
}

static int parse_limit(struct cli *cli, const char *text)
{
	int digits = text[0] && !text[strspn(text, "0123456789")];
	char query[64];

	snprintf(query, sizeof query, "limit=%.40s", digits ? text : "none");
	if (daemon_takes(cli, query) != 0)
		return -1;
	cli->limit = (int)strtol(text, NULL, 10);
	return 0;
}

/* A time with its unit, as in the configuration. */
static int parse_wait(struct cli *cli, const char *text)
{
	static const struct conf_key key = {
		.type = CONF_MS,
		.def = "2s",
		.max = INT_MAX,
		.offset = offsetof(struct conf, swarm_discovery_wait_ms),
	};
	static struct conf c;
	char err[ERRLEN], query[64];

	if (conf_set(&c, &key, text, err) != 0)
		return bad(cli, "--wait %s: %s", text, err);
	cli->wait_ms = (int64_t)c.swarm_discovery_wait_ms;
	snprintf(query, sizeof query, "limit=1&wait=%" PRId64 "ms", cli->wait_ms);
	return daemon_takes(cli, query);
}

static int add_opt(struct cli *cli, char *text)
{
	if (cli->nopts == CLI_OPTS_MAX)
		return bad(cli, "more than %d times -o", CLI_OPTS_MAX);
	cli->opts[cli->nopts++] = text;
	return 0;
}

static int add_query(struct cli *cli, int opt)
{
	if (cli->nquery == CLI_QUERY_MAX)
		return bad(cli, "more than %d filters and peers", CLI_QUERY_MAX);
	for (size_t i = 0; longs[i].name; i++)
		if (longs[i].val == opt)
			cli->query[cli->nquery].name =
				opt == OPT_PEER ? "x.pe" : longs[i].name;
	cli->query[cli->nquery++].value = optarg;
	return 0;
}

/* "-c", "--limit" */
static const char *opt_name(int opt, char out[32])
{
	if (opt < OPT_URL)
		snprintf(out, 32, "-%c", opt);
	for (size_t i = 0; longs[i].name; i++)
		if (longs[i].val == opt)
			snprintf(out, 32, "--%s", longs[i].name);
	return out;
}

static int is_taken(const struct command *cmd, int opt)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(cmd->takes); i++)
		if (cmd->takes[i] == opt)
			return 1;
	return 0;
}

static int take(struct cli *cli, int opt)
{
	switch (opt) {
	case 'c': cli->file = optarg; return 0;
	case 'o': return add_opt(cli, optarg);
	case OPT_URL: cli->url = optarg; return 0;
	case OPT_LIMIT: return parse_limit(cli, optarg);
	case OPT_WAIT: return parse_wait(cli, optarg);
	case OPT_READY: cli->ready = 1; return 0;
	case OPT_ONCE: cli->once = 1; return 0;
	case OPT_JSON: cli->json = 1; return 0;
	case OPT_CSV: cli->csv = 1; return 0;
	case OPT_NDJSON: cli->ndjson = 1; return 0;
	case OPT_SUMMARY: cli->summary = 1; return 0;
	default: return add_query(cli, opt);
	}
}

static int take_opt(struct cli *cli, const struct command *cmd, int opt, char **argv)
{
	char name[32];

	if (opt == ':')
		return bad(cli, "%s needs a value", opt_name(optopt, name));
	if (opt == '?' && optopt > 0 && optopt < OPT_URL)
		return bad(cli, "there is no option -%c", optopt);
	if (opt == '?')
		return bad(cli, "there is no option %s", argv[optind - 1]);
	if (!is_taken(cmd, opt))
		return bad(cli, "%s is not an option of this command",
			   opt_name(opt, name));
	return take(cli, opt);
}

/* 0; 1: help is wanted; -1: a mistake, and it was said. */
static int parse(struct cli *cli, const struct command *cmd, int argc, char **argv)
{
	int opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":c:o:h", longs, NULL)) != -1) {
		if (opt == 'h')
			return 1;
		if (take_opt(cli, cmd, opt, argv) != 0)
			return -1;
	}
	if (optind < argc && strcmp(argv[optind], "help") == 0)
		return 1;
	if (cmd->run == cmd_peers && optind == argc)
		return bad(cli, "of which swarm? The ID is missing");
	if (cmd->run == cmd_peers)
		cli->id = argv[optind++];
	if (cmd->run == cmd_geo) {
		cli->words = argv + optind;
		cli->nwords = (size_t)(argc - optind);
		optind = argc;
	}
	if (cli->json + cli->csv + cli->ndjson > 1 ||
	    (cli->summary && (cli->csv || cli->ndjson)))
		return bad(cli,
			   "only one of --json, --csv and --ndjson, and --summary with "
			   "none of them but --json");
	if (optind < argc)
		return bad(cli, "'%s' is one word too many", argv[optind]);
	return 0;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *name = argv[0];

	if (strcmp(name, "--version") == 0)
		name = "version";
	if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 ||
	    strcmp(name, "-h") == 0)
		return usage();
	for (size_t i = 0; i < PS_ARRAY_LEN(commands); i++) {
		int rc;

		if (strcmp(name, commands[i].name) != 0)
			continue;
		cli->command = name;
		rc = parse(cli, &commands[i], argc, argv);
		if (rc > 0)
			return commands[i].run == cmd_peers ? peers_usage() : usage();
		if (rc == 0 && cli->check_hand)
			return upgrade_check(cli);
		return rc < 0 ? 2 : commands[i].run(cli);
	}
	bad(cli, "there is no command '%s'", name);
	return 2;
}

/* The exec'd half of the collector's birth; see spawn.c. */
static int collector(const char *fd_text)
{
	static struct kid kid;
	struct kid *k = &kid;
	char err[ERRLEN], *end;
	long fd = strtol(fd_text, &end, 10);

	if (*end || fd < 3 || fd > INT_MAX ||
	    kid_unpack((int)fd, k, sizeof *k, err) != 0 || k->magic != KID_MAGIC ||
	    k->size != sizeof *k) {
		fprintf(stderr, "peerscope: --collector is for the master alone\n");
		return EXIT_STAY_DOWN;
	}
	close((int)fd);
	return collector_main(k);
}

/* The image that ran before us, or the probe of one that runs, put two words before ours:
 * see upgrade.h. Returns which, in cli; they are gone from argv then. */
static int take_hand(struct cli *cli, int *argc, char ***argv)
{
	static const char *const flags[] = {"--takeover", "--takeback",
					    "--takeover-check"};
	char **a = *argv, *end;
	long fd;

	cli->hand_fd = -1;
	for (size_t i = 0; *argc > 2 && i < PS_ARRAY_LEN(flags); i++) {
		if (strcmp(a[1], flags[i]) != 0)
			continue;
		fd = strtol(a[2], &end, 10);
		if (*end || fd < 3 || fd > INT_MAX || *argc < 4 ||
		    strcmp(a[3], "serve") != 0)
			return bad(cli, "%s is for the master alone", a[1]);
		cli->hand_fd = (int)fd;
		cli->takeback = i == 1;
		cli->check_hand = i == 2;
		free(a[2]);
		a[2] = a[0];
		*argv = a + 2;
		*argc -= 2;
		break;
	}
	return 0;
}

/* argv is about to become our name in ps: what we still need is copied. */
static char **copy_args(int argc, char **argv)
{
	char **copy = xcalloc((size_t)argc + 1, sizeof *copy);

	for (int i = 0; i < argc; i++) {
		copy[i] = strdup(argv[i]);
		if (!copy[i])
			exit(1);
	}
	return copy;
}

int main(int argc, char **argv)
{
	static char **args; /* for the life of the process */
	static struct cli cli;

	if (argc < 1)
		return 2;
	args = copy_args(argc, argv);
	kid_title_init(argc, argv);
	if (argc == 3 && strcmp(args[1], "--collector") == 0)
		return collector(args[2]);
	cli.command = "";
	if (take_hand(&cli, &argc, &args) != 0)
		return 2;
	cli.argc = argc;
	cli.argv = args;
	cli.limit = -1;
	cli.wait_ms = -1;
	if (argc < 2) {
		bad(&cli, "a command is missing");
		return 2;
	}
	return run(&cli, argc - 1, args + 1);
}

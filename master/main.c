/* main.c -- the command line: which subcommand, with which options. See cli.h. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/kid.h"
#include "master/cli.h"
#include "master/config.h"

static const struct {
	const char *name, *args, *help;
	int (*run)(const struct cli *);
} commands[] = {
	{"serve", "", "run the daemon in the foreground", cmd_serve},
	{"check", "", "validate the configuration and what it names", cmd_check},
	{"config", "", "print each value and where it comes from", cmd_config},
	{"top", "[--once] [--json]", "watch a running daemon", cmd_top},
	{"healthcheck", "[--ready] [--url URL]", "exit 0 if it is alive (ready)",
	 cmd_healthcheck},
	{"peers", "ID [--limit N] [--wait TIME] [--url URL]", "ask for a swarm",
	 cmd_peers},
	{"version", "", "print the version", cmd_version},
};

static int usage(void)
{
	fprintf(stderr,
		"usage: peerscope COMMAND [-c FILE] [-o section.key=value]...\n\n");
	for (size_t i = 0; i < PS_ARRAY_LEN(commands); i++)
		fprintf(stderr, "  %s%s%-*s %s\n", commands[i].name,
			commands[i].args[0] ? " " : "",
			(int)(54 - strlen(commands[i].name) -
			      (commands[i].args[0] ? 1 : 0)),
			commands[i].args, commands[i].help);
	fprintf(stderr, "\nWithout -c, %s is read if it exists. See peerscope(8).\n",
		CONFIG_DEFAULT_FILE);
	return 2;
}

static int bad(const char *what, const char *arg)
{
	fprintf(stderr, "peerscope: %s%s%s\n", what, arg ? " " : "", arg ? arg : "");
	return -1;
}

static int parse_limit(const char *text, int *out)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || *end || end == text || n < 1 || n > CONF_SLOT_PEERS)
		return bad("--limit: a number from 1 to 2000, not", text);
	*out = (int)n;
	return 0;
}

static int parse_wait(const char *text, const char **out)
{
	if (!text[0] || strlen(text) > 15 ||
	    strspn(text, "0123456789.abcdefghijklmnopqrstuvwxyz") != strlen(text))
		return bad("--wait: a time such as 5s, not", text);
	*out = text;
	return 0;
}

static int add_opt(struct cli *cli, char *text)
{
	if (cli->nopts == CLI_OPTS_MAX)
		return bad("too many -o", NULL);
	cli->opts[cli->nopts++] = text;
	return 0;
}

enum { OPT_URL = 256, OPT_LIMIT, OPT_WAIT, OPT_READY, OPT_ONCE, OPT_JSON };

static int take(struct cli *cli, int opt)
{
	switch (opt) {
	case 'c': cli->file = optarg; return 0;
	case 'o': return add_opt(cli, optarg);
	case OPT_URL: cli->url = optarg; return 0;
	case OPT_LIMIT: return parse_limit(optarg, &cli->limit);
	case OPT_WAIT: return parse_wait(optarg, &cli->wait);
	case OPT_READY: cli->ready = 1; return 0;
	case OPT_ONCE: cli->once = 1; return 0;
	case OPT_JSON: cli->json = 1; return 0;
	default: return -1; /* getopt has said why */
	}
}

static int parse(struct cli *cli, int argc, char **argv)
{
	static const struct option longs[] = {
		{"url", required_argument, NULL, OPT_URL},
		{"limit", required_argument, NULL, OPT_LIMIT},
		{"wait", required_argument, NULL, OPT_WAIT},
		{"ready", no_argument, NULL, OPT_READY},
		{"once", no_argument, NULL, OPT_ONCE},
		{"json", no_argument, NULL, OPT_JSON},
		{NULL, 0, NULL, 0},
	};
	int opt;

	memset(cli, 0, sizeof *cli);
	cli->limit = -1;
	while ((opt = getopt_long(argc, argv, "c:o:", longs, NULL)) != -1)
		if (take(cli, opt) != 0)
			return -1;
	if (optind < argc)
		cli->id = argv[optind++];
	if (optind < argc)
		return bad("what is", argv[optind]);
	return 0;
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
	const char *name;

	if (argc < 1)
		return 2;
	args = copy_args(argc, argv);
	kid_title_init(argc, argv);
	if (argc == 3 && strcmp(args[1], "--collector") == 0)
		return collector(args[2]);
	if (argc < 2)
		return usage();
	name = args[1];
	if (strcmp(name, "--version") == 0)
		name = "version";
	for (size_t i = 0; i < PS_ARRAY_LEN(commands); i++) {
		if (strcmp(name, commands[i].name) != 0)
			continue;
		if (parse(&cli, argc - 1, args + 1) != 0 ||
		    (cli.id != NULL) != (commands[i].run == cmd_peers))
			return usage();
		return commands[i].run(&cli);
	}
	if (strcmp(name, "--help") != 0 && strcmp(name, "help") != 0)
		bad("no such command:", name);
	return usage();
}

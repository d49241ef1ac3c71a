/* cli.c -- the subcommands that are a few lines each. See cli.h. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "master/cli.h"
#include "master/config.h"
#include "shm/top.h"

extern char **environ;

static void say(void *arg, enum config_kind kind, const char *text)
{
	(void)arg;
	if (kind == CONFIG_ERROR)
		fprintf(stderr, "%s\n", text);
}

int cli_conf(const struct cli *cli, struct conf *out)
{
	struct config *c = xcalloc(1, sizeof *c);
	int n = config_load(c, cli->file, cli->opts, cli->nopts, environ, say, NULL);

	*out = c->conf;
	free(c);
	return n > 0 ? -1 : 0;
}

int cmd_config(const struct cli *cli)
{
	struct config *c = xcalloc(1, sizeof *c);
	int n = config_load(c, cli->file, cli->opts, cli->nopts, environ, say, NULL);

	if (n == 0)
		config_print(stdout, c);
	free(c);
	return n > 0 ? 1 : 0;
}

int cmd_top(const struct cli *cli)
{
	static struct conf c;
	char err[ERRLEN];

	if (cli_conf(cli, &c) != 0)
		return 1;
	if (top_run(c.shm_name, cli->once, cli->json, stdout, err) == 0)
		return 0;
	fprintf(stderr, "peerscope top: %s\n", err);
	return 1;
}

int cmd_version(const struct cli *cli)
{
	(void)cli;
	printf("peerscope %s (%s)\n", PEERSCOPE_VERSION, PEERSCOPE_COMMIT);
	return 0;
}

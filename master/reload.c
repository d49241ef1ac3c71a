/*
 * reload.c -- HUP: the file is read again and checked as a whole; then a new worker
 * generation starts on it beside the old one. A file that can't be used, or a key
 * that only a restart can change, changes nothing. USR1: logs. See master.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "master/config.h"
#include "master/master.h"
#include "master/notify.h"
#include "shm/stat.h"

extern char **environ;

void reload_say(void *arg, enum config_kind kind, const char *text)
{
	(void)arg;
	if (kind == CONFIG_ERROR)
		log_error("config", "%s", text);
	else if (kind == CONFIG_WARNING)
		log_warn("config", "%s", text);
}

static int refuse(const char *why)
{
	stat_inc(config_refused);
	log_error("master", "reload refused: %s; nothing was changed", why);
	notify_say("READY=1\nSTATUS=serving as before: reload refused: %s", why);
	return -1;
}

int reload_read(struct master *m)
{
	struct config *c = calloc(1, sizeof *c);
	char names[512], why[640];
	int bad;

	notify_reloading("reading the configuration");
	if (!c)
		return refuse("out of memory");
	bad = config_load(c, m->cli->file, m->cli->opts, m->cli->nopts, environ,
			  reload_say, NULL);
	m->staged = c->conf;
	free(c);
	if (bad > 0)
		return refuse("the configuration has errors");
	if (config_diff_restart(&m->conf, &m->staged, names, sizeof names) > 0) {
		snprintf(why, sizeof why, "only a restart can change %s", names);
		return refuse(why);
	}
	if (config_diff(&m->conf, &m->staged, names, sizeof names) > 0)
		log_notice("master", "reload: changed %s", names);
	else
		log_notice("master",
			   "reload: nothing changed in it; workers are renewed");
	return 0;
}

static void give_to_collector(struct master *m)
{
	int row = sup_collector_row(&m->sup), fd;
	char err[ERRLEN];

	if (m->child[row].chan_fd < 0 || m->up.in)
		return; /* the next one starts with it */
	fd = kid_pack("peerscope-conf", &m->conf, sizeof m->conf, err);
	if (fd < 0) {
		log_error("master", "the collector keeps its old settings: %s", err);
		return;
	}
	if (kid_send(m->child[row].chan_fd, KID_M_CONF, 0, fd) != 0)
		log_error("master", "the collector keeps its old settings: %s",
			  strerror(errno));
	close(fd);
}

/* The old generation drains by its own drain_timeout: it may be the longer one. */
void reload_adopt(struct master *m)
{
	char err[ERRLEN];

	m->conf = m->staged;
	m->sup.drain_ms = m->conf.master_drain_timeout_ms;
	stat_inc(config_reloads);
	if (log_open("master", (enum log_level)m->conf.log_level,
		     m->conf.log_format == LOG_JSON, m->conf.log_file, err) != 0)
		log_error("master", "logging goes on as before: %s", err);
	give_to_collector(m);
	if (m->up.in)
		upgrade_done(m);
	else
		log_notice("master",
			   "reload done: the new generation serves, the old one drains");
	notify_say("READY=1\nSTATUS=serving with what was read last");
}

void reload_give_up(struct master *m, const char *why)
{
	if (m->up.in) {
		m->up.back_why = why;
		return;
	}
	stat_inc(config_refused);
	log_error("master", "reload failed: %s; the old generation stays", why);
	notify_say("READY=1\nSTATUS=serving as before: reload failed: %s", why);
}

void reload_logs(struct master *m)
{
	char err[ERRLEN];

	(void)m;
	if (log_reopen(err) != 0)
		log_error("master", "USR1: %s", err);
	else
		log_notice("master", "USR1: log opened again");
}

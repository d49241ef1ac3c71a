/* handover.c -- see handover.h. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "master/handover.h"

/* fn of each descriptor that is there. */
static int each_fd(const struct handover *h, int (*fn)(int fd, int arg), int arg)
{
	const int32_t one[] = {h->pid_fd,  h->seg_fd,  h->seg_lock_fd,      h->said_fd,
			       h->back_fd, h->conf_fd, h->collector_bell_fd};
	int bad = 0;

	for (size_t i = 0; i < PS_ARRAY_LEN(one); i++)
		bad |= one[i] >= 0 && fn(one[i], arg);
	for (uint32_t i = 0; i < 2 * h->nworkers; i++)
		bad |= fn(h->worker_bell_fd[i], arg);
	for (uint32_t i = 0; i < h->nworkers; i++)
		for (uint32_t j = 0; j < h->naddr; j++)
			bad |= fn(h->listen_fd[i][j], arg);
	for (int i = 0; i < SUP_ROWS; i++)
		bad |= h->row[i].chan_fd >= 0 && fn(h->row[i].chan_fd, arg);
	return bad;
}

static int is_closed(int fd, int arg)
{
	(void)arg;
	return fd <= 2 || fcntl(fd, F_GETFD) < 0;
}

static int set_cloexec(int fd, int keep)
{
	return fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
}

void handover_keep(const struct handover *h, int keep)
{
	(void)each_fd(h, set_cloexec, keep);
}

static int row_ok(const struct handover *h, int i)
{
	const struct handover_row *r = &h->row[i];
	int alive = r->state != SUP_EMPTY && r->state != SUP_COOLING;

	if ((uint32_t)i >= 2 * h->nworkers + 1 + h->has_redis)
		return r->state == SUP_EMPTY && r->pid == 0 && r->chan_fd < 0;
	return r->state <= SUP_COOLING && (alive ? r->pid > 1 : r->pid == 0);
}

static int is_text(const char *s, size_t size)
{
	return memchr(s, '\0', size) != NULL;
}

int handover_check(const struct handover *h, char err[ERRLEN])
{
	if (h->magic != HANDOVER_MAGIC || h->version != HANDOVER_VERSION ||
	    h->size != sizeof *h)
		return err_set(err,
			       "the running version hands over in format %u (%u bytes), "
			       "this one takes format %u (%zu): restart instead",
			       h->version, h->size, HANDOVER_VERSION, sizeof *h);
	if (h->nworkers < 1 || h->nworkers > CONF_MAX_WORKERS || h->naddr < 1 ||
	    h->naddr > CONF_MAX_LISTEN || h->has_redis > 1 || h->half > 1 ||
	    h->pid_fd < 0 || h->seg_fd < 0 || h->seg_lock_fd < 0 || h->back_fd < 0 ||
	    h->conf_fd < 0 || h->collector_bell_fd < 0 ||
	    !is_text(h->from, sizeof h->from) || !is_text(h->exe, sizeof h->exe) ||
	    h->exe[0] != '/' || !is_text(h->run_dir, sizeof h->run_dir) ||
	    !is_text(h->conf, sizeof h->conf))
		return err_set(err, "what is handed over makes no sense");
	for (int i = 0; i < SUP_ROWS; i++)
		if (!row_ok(h, i))
			return err_set(err,
				       "row %d of what is handed over makes no sense", i);
	if (each_fd(h, is_closed, 0))
		return err_set(err, "a descriptor that is handed over is not open");
	return 0;
}

/* --- the supervision table ---------------------------------------------- */

void handover_give_sup(struct handover *h, const struct sup *t)
{
	h->nworkers = (uint32_t)t->nworkers;
	h->has_redis = (uint32_t)t->has_redis;
	h->half = (uint32_t)t->half;
	h->last_gen = t->last_gen;
	h->last_generation = t->last_generation;
	h->last_epoch = t->last_epoch;
	for (int i = 0; i < SUP_ROWS; i++) {
		const struct sup_row *from = &t->row[i];
		struct handover_row *to = &h->row[i];

		to->state = from->state;
		to->wanted = (uint32_t)from->wanted;
		to->ready = (uint32_t)from->ready;
		to->again = (uint32_t)from->again;
		to->elsewhere = (uint32_t)from->elsewhere;
		to->gen = from->gen;
		to->generation = from->generation;
		to->fast_deaths = from->fast_deaths;
		to->mask = from->mask;
		to->started_ms = from->started_ms;
		to->due_ms = from->due_ms;
	}
}

void handover_take_sup(const struct handover *h, struct sup *t, uint64_t drain_ms)
{
	sup_init(t, (int)h->nworkers, (int)h->has_redis, drain_ms);
	t->phase = SUP_UP;
	t->half = (int)h->half;
	t->last_gen = h->last_gen;
	t->last_generation = h->last_generation;
	t->last_epoch = h->last_epoch;
	for (uint32_t i = 0; i < 2 * h->nworkers + 1 + h->has_redis; i++) {
		const struct handover_row *from = &h->row[i];
		struct sup_row *to = &t->row[i];

		to->state = (enum sup_state)from->state;
		to->wanted = from->wanted != 0;
		to->ready = from->ready != 0;
		to->again = from->again != 0;
		to->elsewhere = from->elsewhere != 0;
		to->gen = from->gen;
		to->generation = from->generation;
		to->fast_deaths = from->fast_deaths;
		to->mask = from->mask;
		to->started_ms = from->started_ms;
		to->due_ms = from->due_ms;
	}
}

/* --- the configuration -------------------------------------------------- */

int handover_give_conf(struct handover *h, const struct conf *c)
{
	char value[HANDOVER_CONF];
	size_t n, used = 0;
	const struct conf_key *k = conf_keys(&n);

	h->conf[0] = '\0';
	for (size_t i = 0; i < n; i++, k++) {
		if (k->how != CONF_RESTART)
			continue;
		conf_text(c, k, value, sizeof value);
		used += (size_t)snprintf(h->conf + used, sizeof h->conf - used,
					 "%s.%s=%s\n", k->section, k->key, value);
		if (used >= sizeof h->conf)
			return -1;
	}
	return 0;
}

static const struct conf_key *key_of(const char *name, size_t len)
{
	size_t n;
	const struct conf_key *k = conf_keys(&n);

	for (size_t i = 0; i < n; i++, k++) {
		size_t s = strlen(k->section);

		if (len == s + 1 + strlen(k->key) && strncmp(name, k->section, s) == 0 &&
		    name[s] == '.' && strncmp(name + s + 1, k->key, len - s - 1) == 0)
			return k;
	}
	return NULL;
}

void handover_take_conf(const struct handover *h, const struct conf *now,
			struct conf *was)
{
	char value[HANDOVER_CONF], err[ERRLEN];
	const char *line = h->conf, *end, *eq;

	*was = *now;
	for (; (end = strchr(line, '\n')) != NULL; line = end + 1) {
		const struct conf_key *k;

		eq = memchr(line, '=', (size_t)(end - line));
		k = eq ? key_of(line, (size_t)(eq - line)) : NULL;
		if (!k || k->how != CONF_RESTART)
			continue;
		snprintf(value, sizeof value, "%.*s", (int)(end - eq - 1), eq + 1);
		if (conf_set(was, k, value, err) != 0)
			continue; /* not even allowed here: the new value counts */
	}
}

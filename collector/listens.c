/* listens.c -- see listens.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "collector/listens.h"

static int is_link_local6(const uint8_t addr[ADDR_LEN])
{
	return addr[0] == 0xfe && (addr[1] & 0xc0) == 0x80;
}

static int is_of(const struct listen_failure *f, const uint8_t addr[ADDR_LEN],
		 uint16_t port)
{
	return f->text[0] && f->port == port && memcmp(f->addr, addr, ADDR_LEN) == 0;
}

static void forget(struct listen_failure *f)
{
	memset(f, 0, sizeof(*f));
}

static void add_once(char list[LISTENS_TEXT], const char *one)
{
	size_t len = strlen(list);
	char item[160];

	for (const char *at = list;
	     (at = conf_list_next(at, item, sizeof(item))) != NULL;)
		if (strcmp(item, one) == 0)
			return;
	if (len + strlen(one) + 1 < LISTENS_TEXT)
		snprintf(list + len, LISTENS_TEXT - len, "%s%s", len ? "," : "", one);
}

void listens_interfaces(char out[LISTENS_TEXT], const struct conf *c, int visit)
{
	const char *list = c->swarm_listen, *device = c->swarm_interface;
	char item[128], one[160];

	if (visit && !list[0])
		list = "0.0.0.0:0,[::]:0";
	out[0] = '\0';
	while ((list = conf_list_next(list, item, sizeof(item))) != NULL) {
		const char *port = strrchr(item, ':');

		if (!port)
			continue;
		snprintf(one, sizeof(one), "%.*s%s",
			 device[0] ? (int)strlen(device) : (int)(port - item),
			 device[0] ? device : item, visit ? ":0" : port);
		add_once(out, one);
	}
}

void listens_ask(struct listens *l, int closed, uint64_t now_ms)
{
	if (closed)
		l->port = 0;
	l->loud.old = l->quiet.old = 1;
	l->asked_ms = now_ms;
}

int listens_stand(struct listens *l, const uint8_t addr[ADDR_LEN], uint16_t port)
{
	int was = l->loud.text[0] != '\0';

	if (l->loud.old || is_of(&l->loud, addr, port))
		forget(&l->loud);
	if (l->quiet.old || is_of(&l->quiet, addr, port))
		forget(&l->quiet);
	if (is_link_local6(addr))
		return 0;
	l->port = port;
	return was && !l->loud.text[0];
}

static int is_quiet(const struct listens *l, const struct lt_event *e, uint64_t now_ms)
{
	if (is_link_local6(e->addr))
		return 1;
	if (e->n != EADDRNOTAVAIL || addr_is_v4(e->addr) ||
	    is_of(&l->loud, e->addr, e->port))
		return 0;
	return !is_of(&l->quiet, e->addr, e->port) ||
	       now_ms - l->quiet.since_ms < LISTENS_DAD_MS;
}

/* Is e to be kept in the place of f? A link-local one would hide what has to be tried
 * again. */
static int outranks(const struct lt_event *e, const struct listen_failure *f)
{
	int mine = is_link_local6(e->addr), other = is_link_local6(f->addr);

	return mine == other ? f->old : other;
}

int listens_fail(struct listens *l, const struct lt_event *e, uint64_t now_ms)
{
	int quiet = is_quiet(l, e, now_ms), news;
	struct listen_failure *f = quiet ? &l->quiet : &l->loud;
	uint64_t since_ms = is_of(f, e->addr, e->port) ? f->since_ms : now_ms;

	if (f->text[0] && !outranks(e, f))
		return 0; /* one is enough to know what to mend */
	news = !quiet && strcmp(f->text, e->text) != 0;
	forget(f);
	snprintf(f->text, sizeof(f->text), "%s", e->text);
	memcpy(f->addr, e->addr, ADDR_LEN);
	f->port = e->port;
	f->since_ms = since_ms;
	return news;
}

int listens_tick(struct listens *l, uint64_t now_ms)
{
	if (l->asked_ms && now_ms - l->asked_ms >= LISTENS_TOLD_MS) {
		l->asked_ms = 0;
		if (l->loud.old)
			forget(&l->loud);
		if (l->quiet.old)
			forget(&l->quiet);
	}
	return l->quiet.text[0] && !l->quiet.old && !is_link_local6(l->quiet.addr) &&
	       now_ms - l->quiet.since_ms >= LISTENS_DAD_MS;
}

const char *listens_why(const struct listens *l)
{
	if (l->loud.text[0])
		return l->loud.text;
	return l->port == 0 && l->quiet.text[0] ? l->quiet.text : NULL;
}

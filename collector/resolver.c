/*
 * resolver.c -- see resolver.h.
 *
 * evdns calls back even for a query that was cancelled, and within the call that begins one
 * if it knows the answer already. So a query belongs to evdns until it has called back;
 * then to its own timer, from which fn is called.
 */
#include "collector/resolver.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>

#define RESOLV_CONF "/etc/resolv.conf"

struct resolver_query {
	resolver_fn *fn; /* NULL: cancelled */
	void *arg;
	struct event *later;
	struct evdns_getaddrinfo_request *req; /* NULL: evdns has called back */
	uint8_t addr[RESOLVER_MAX][ADDR_LEN];
	size_t n;
};

/* Made with the first question; kept until the process ends. */
static struct evdns_base *dns;
static struct stat read_as; /* RESOLV_CONF, when it was read */

static int conf_changed(struct stat *now)
{
	if (stat(RESOLV_CONF, now) != 0)
		return 0; /* it is being written: what we know is better than nothing */
	return now->st_ino != read_as.st_ino || now->st_size != read_as.st_size ||
	       now->st_mtim.tv_sec != read_as.st_mtim.tv_sec ||
	       now->st_mtim.tv_nsec != read_as.st_mtim.tv_nsec;
}

/* NULL: there is no server to ask. */
static struct evdns_base *servers(struct event_base *base)
{
	struct stat now;
	int changed = conf_changed(&now);

	if (!dns)
		dns = evdns_base_new(base, EVDNS_BASE_INITIALIZE_NAMESERVERS |
						   EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	else if (changed) {
		/* Without DNS_OPTION_HOSTSFILE, which would add all of it once more. */
		evdns_base_clear_nameservers_and_suspend(dns);
		(void)evdns_base_resolv_conf_parse(dns, DNS_OPTION_NAMESERVERS,
						   RESOLV_CONF);
		evdns_base_resume(dns);
	}
	if (dns && changed)
		read_as = now;
	return dns;
}

static void query_free(struct resolver_query *q)
{
	event_free(q->later);
	free(q);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
	struct resolver_query *q = arg;

	(void)fd;
	(void)what;
	q->fn(q->arg, (const uint8_t(*)[ADDR_LEN])q->addr, q->n);
	query_free(q);
}

static void on_answer(int rc, struct evutil_addrinfo *ai, void *arg)
{
	struct resolver_query *q = arg;

	for (const struct evutil_addrinfo *a = ai; rc == 0 && a && q->n < RESOLVER_MAX;
	     a = a->ai_next)
		q->n += addr_from_sa(q->addr[q->n], NULL, a->ai_addr) == 0;
	if (ai)
		evutil_freeaddrinfo(ai);
	q->req = NULL;
	if (q->fn)
		event_active(q->later, EV_TIMEOUT, 0);
	else
		query_free(q);
}

struct resolver_query *resolver_ask(struct event_base *base, const char *host,
				    resolver_fn *fn, void *arg)
{
	struct resolver_query *q = calloc(1, sizeof(*q));
	struct evutil_addrinfo hints;
	struct evdns_base *d;

	if (!q || !(q->later = evtimer_new(base, on_later, q))) {
		free(q);
		return NULL;
	}
	q->fn = fn;
	q->arg = arg;
	memset(&hints, 0, sizeof(hints));
	hints.ai_family = AF_UNSPEC;
	hints.ai_socktype = SOCK_STREAM; /* or each address comes once for each kind */
	if (addr_parse(q->addr[0], host) == 0)
		q->n = 1;
	if (q->n || !(d = servers(base))) {
		event_active(q->later, EV_TIMEOUT, 0);
		return q;
	}
	/* NULL: on_answer has been called. */
	q->req = evdns_getaddrinfo(d, host, NULL, &hints, on_answer, q);
	return q;
}

void resolver_cancel(struct resolver_query **qp)
{
	struct resolver_query *q = *qp;

	*qp = NULL;
	if (!q)
		return;
	q->fn = NULL;
	if (q->req)
		evdns_getaddrinfo_cancel(q->req); /* on_answer frees it, now or later */
	else
		query_free(q);
}

void resolver_reset(void)
{
	if (dns)
		evdns_base_free(dns, 0);
	dns = NULL;
	memset(&read_as, 0, sizeof(read_as));
}

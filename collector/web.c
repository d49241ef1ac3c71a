/*
 * web.c -- see web.h. libcurl says which descriptors and which time it waits for
 * (on_socket, on_timer_set); the loop tells it when they come; what is finished is
 * taken with curl_multi_info_read, outside of libcurl, so that a caller's function may
 * start and cancel transfers.
 */
#include "collector/web.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <curl/curl.h>
#include <event2/event.h>

#include "common/buf.h"
#include "shm/stat.h"

/* Idle connections kept for the next question: one per server that we know, doubled. */
#define WEB_KEEP 8L
#define WEB_READ_BYTES 8192L

struct web_req {
	struct web *web;
	CURL *easy;
	struct curl_slist *headers;
	struct buf body;
	size_t head_bytes;
	int too_large, denied;
	int (*may)(void *arg, const uint8_t addr[ADDR_LEN]);
	char error[CURL_ERROR_SIZE];
	web_fn *fn;
	void *arg;
	struct web_req *next, **at;
};

struct web {
	struct event_base *base;
	CURLM *multi;
	struct event *timer;
	struct web_req *reqs;
	unsigned nreqs;
	int calling; /* a caller's function is on the stack */
};

/* ---- libcurl on the loop ------------------------------------------------------ */

static void take_finished(struct web *web);

static void on_fd(evutil_socket_t fd, short what, void *arg)
{
	struct web *web = arg;
	int running, mask = ((what & EV_READ) ? CURL_CSELECT_IN : 0) |
			    ((what & EV_WRITE) ? CURL_CSELECT_OUT : 0);

	(void)curl_multi_socket_action(web->multi, fd, mask, &running);
	take_finished(web);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct web *web = arg;
	int running;

	(void)fd;
	(void)what;
	(void)curl_multi_socket_action(web->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	take_finished(web);
}

static int on_timer_set(CURLM *multi, long ms, void *arg)
{
	struct web *web = arg;
	struct timeval tv = {ms / 1000, (ms % 1000) * 1000};

	(void)multi;
	if (ms < 0)
		event_del(web->timer);
	else
		event_add(web->timer, &tv);
	return 0;
}

/* One event per descriptor, kept as libcurl's own pointer of it. The descriptor may be
 * closed right after CURL_POLL_REMOVE, so the event goes at once. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *mine)
{
	struct web *web = arg;
	struct event *ev = mine;
	short flags = EV_PERSIST;

	(void)easy;
	if (ev)
		event_free(ev);
	ev = NULL;
	if (what != CURL_POLL_REMOVE) {
		if (what & CURL_POLL_IN)
			flags |= EV_READ;
		if (what & CURL_POLL_OUT)
			flags |= EV_WRITE;
		ev = event_new(web->base, fd, flags, on_fd, web);
		if (!ev || event_add(ev, NULL) != 0) {
			if (ev)
				event_free(ev);
			ev = NULL; /* not watched: the transfer's time limit ends it */
		}
	}
	(void)curl_multi_assign(web->multi, fd, ev);
	return 0;
}

/* ---- one transfer ----------------------------------------------------------------- */

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct web_req *r = arg;

	buf_add(&r->body, data, size * n);
	if (!r->body.failed)
		return size * n;
	r->too_large = 1;
	return 0; /* any other number than asked: the transfer fails */
}

static size_t on_head(char *line, size_t size, size_t n, void *arg)
{
	struct web_req *r = arg;

	(void)line;
	r->head_bytes += size * n;
	if (r->head_bytes <= WEB_HEAD_MAX)
		return size * n;
	r->too_large = 1;
	return 0;
}

/* Where the connection of a guarded transfer goes: after the name was looked up. */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct web_req *r = arg;
	uint8_t addr[ADDR_LEN];

	if (purpose != CURLSOCKTYPE_IPCXN || addr_from_sa(addr, NULL, &to->addr) != 0 ||
	    !r->may(r->arg, addr)) {
		r->denied = 1;
		return CURL_SOCKET_BAD;
	}
	return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* The transfer leaves the list and libcurl. fn is the caller's business. */
static void req_free(struct web_req *r)
{
	if (r->at) {
		*r->at = r->next;
		if (r->next)
			r->next->at = r->at;
		r->web->nreqs--;
		(void)curl_multi_remove_handle(r->web->multi, r->easy);
	}
	if (r->easy)
		curl_easy_cleanup(r->easy);
	curl_slist_free_all(r->headers);
	buf_free(&r->body);
	free(r);
}

static enum web_rc rc_of(const struct web_req *r, CURLcode code)
{
	long os = 0;

	if (r->too_large)
		return WEB_TOO_LARGE;
	if (r->denied && code == CURLE_COULDNT_CONNECT)
		return WEB_DENIED;
	switch (code) {
	case CURLE_OK: return WEB_OK;
	case CURLE_OPERATION_TIMEDOUT: return WEB_TIMEOUT;
	case CURLE_FILESIZE_EXCEEDED: return WEB_TOO_LARGE;
	case CURLE_COULDNT_CONNECT:
		(void)curl_easy_getinfo(r->easy, CURLINFO_OS_ERRNO, &os);
		return os == ECONNREFUSED ? WEB_REFUSED : WEB_FAILED;
	default: return WEB_FAILED;
	}
}

/* What went wrong, as people say it: libcurl keeps the reason of a failed connection to
 * itself. */
static const char *error_of(const struct web_req *r, enum web_rc rc, CURLcode code)
{
	long os = 0;

	if (rc == WEB_TOO_LARGE)
		return "the answer is too large";
	if (rc == WEB_DENIED)
		return "its address may not be asked";
	if (code == CURLE_COULDNT_CONNECT)
		(void)curl_easy_getinfo(r->easy, CURLINFO_OS_ERRNO, &os);
	if (os)
		return strerror((int)os);
	return r->error[0] ? r->error : curl_easy_strerror(code);
}

static void fill_answer(struct web_answer *a, const struct web_req *r, CURLcode code)
{
	curl_off_t retry_s = 0;
	long status = 0;

	memset(a, 0, sizeof(*a));
	a->rc = rc_of(r, code);
	a->body = a->error = "";
	(void)curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
	if (a->rc == WEB_OK || a->rc == WEB_TOO_LARGE)
		a->status = (int)status;
	if (a->rc != WEB_OK) {
		a->error = error_of(r, a->rc, code);
		return;
	}
	(void)curl_easy_getinfo(r->easy, CURLINFO_RETRY_AFTER, &retry_s);
	if (retry_s > 0)
		a->retry_after_ms = (uint64_t)retry_s < WEB_RETRY_MAX_MS / 1000
					    ? (uint64_t)retry_s * 1000
					    : WEB_RETRY_MAX_MS;
	if (r->body.p) {
		a->body = r->body.p;
		a->len = r->body.len;
	}
}

static void finish(struct web *web, struct web_req *r, CURLcode code)
{
	struct web_answer a;

	fill_answer(&a, r, code);
	if (a.rc != WEB_OK)
		stat_inc(web_errors);
	/* Out of the list first: the function may fill the place, and the caller's
	 * pointer means nothing any more. */
	*r->at = r->next;
	if (r->next)
		r->next->at = r->at;
	r->at = NULL;
	web->nreqs--;
	(void)curl_multi_remove_handle(web->multi, r->easy);
	web->calling++;
	r->fn(r->arg, &a);
	web->calling--;
	req_free(r);
}

static void take_finished(struct web *web)
{
	struct web_req *r;
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(web->multi, &left)) != NULL) {
		CURLcode code = msg->data.result;

		PS_ASSERT(msg->msg == CURLMSG_DONE);
		(void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &r);
		finish(web, r, code);
	}
}

/* ---- starting one -------------------------------------------------------------------- */

static long clamp_ms(uint64_t ms)
{
	PS_ASSERT(ms > 0);
	return ms < INT_MAX ? (long)ms : INT_MAX;
}

static int add_headers(struct web_req *r, const char *const *lines, char err[ERRLEN])
{
	struct curl_slist *more;

	for (; lines && *lines; lines++) {
		if (strpbrk(*lines, "\r\n") || !strchr(*lines, ':'))
			return err_set(err, "a header line that is none");
		more = curl_slist_append(r->headers, *lines);
		if (!more)
			return err_set(err, "out of memory");
		r->headers = more;
	}
	return 0;
}

static int set_limits(const struct web_req *r, const struct web_ask *ask)
{
	CURL *e = r->easy;
	int bad = 0;

	bad |= curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, clamp_ms(ask->timeout_ms));
	bad |= curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, clamp_ms(ask->connect_ms));
	bad |= curl_easy_setopt(e, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)ask->max_body);
	bad |= curl_easy_setopt(e, CURLOPT_BUFFERSIZE, WEB_READ_BYTES);
	bad |= curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	/* A name that is being looked up would be waited for when the time is over. */
	bad |= curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
	bad |= curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	bad |= curl_easy_setopt(e, CURLOPT_PROXY, ""); /* nor one of the environment */
	bad |= curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	bad |= curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	bad |= curl_easy_setopt(e, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	bad |= curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
	bad |= curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
	bad |= curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	return bad ? -1 : 0;
}

static int set_question(struct web_req *r, const struct web_ask *ask)
{
	CURL *e = r->easy;
	int bad = 0;

	bad |= curl_easy_setopt(e, CURLOPT_URL, ask->url);
	bad |= curl_easy_setopt(e, CURLOPT_HTTPHEADER, r->headers);
	bad |= curl_easy_setopt(e, CURLOPT_USERAGENT, "peerscope/" PEERSCOPE_VERSION);
	bad |= curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	bad |= curl_easy_setopt(e, CURLOPT_WRITEDATA, r);
	bad |= curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_head);
	bad |= curl_easy_setopt(e, CURLOPT_HEADERDATA, r);
	bad |= curl_easy_setopt(e, CURLOPT_ERRORBUFFER, r->error);
	bad |= curl_easy_setopt(e, CURLOPT_PRIVATE, r);
	if (ask->user && ask->user[0]) {
		bad |= curl_easy_setopt(e, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		bad |= curl_easy_setopt(e, CURLOPT_USERNAME, ask->user);
		bad |= curl_easy_setopt(e, CURLOPT_PASSWORD,
					ask->password ? ask->password : "");
	}
	return bad ? -1 : 0;
}

/* A connection that somebody else's transfer made was not asked about: none is shared. */
static int set_guard(const struct web_req *r)
{
	CURL *e = r->easy;
	int bad = 0;

	if (!r->may)
		return 0;
	bad |= curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open);
	bad |= curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, r);
	bad |= curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
	bad |= curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
	return bad ? -1 : 0;
}

static int set_post(const struct web_req *r, const struct web_ask *ask)
{
	CURL *e = r->easy;
	int bad = 0;

	if (!ask->post)
		return 0;
	bad |= curl_easy_setopt(e, CURLOPT_POST, 1L);
	bad |= curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE,
				(curl_off_t)ask->post_len);
	bad |= curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, ask->post);
	return bad ? -1 : 0;
}

/* "ftp://", "file://", no host: said now, not by a transfer that fails each time. */
static int check_url(const char *url, char err[ERRLEN])
{
	if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
		return err_set(err, "the URL must begin with http:// or https://");
	if (strpbrk(url, "\r\n \t"))
		return err_set(err, "the URL has a blank in it");
	return 0;
}

static struct web_req *give_up(struct web_req *r)
{
	req_free(r);
	return NULL;
}

struct web_req *web_start(struct web *web, const struct web_ask *ask, char err[ERRLEN])
{
	struct web_req *r;

	PS_ASSERT(ask->fn && ask->max_body > 0);
	if (check_url(ask->url, err) != 0)
		return NULL;
	r = web->nreqs < WEB_MAX ? calloc(1, sizeof(*r)) : NULL;
	if (!r) {
		stat_inc(web_refused);
		err_set(err, "too many web requests under way, or no memory");
		return NULL;
	}
	r->web = web;
	r->fn = ask->fn;
	r->arg = ask->arg;
	r->may = ask->may;
	buf_init(&r->body, ask->max_body);
	if (add_headers(r, ask->headers, err) != 0)
		return give_up(r);
	err_set(err, "libcurl: a setting was refused, or no memory");
	r->easy = curl_easy_init();
	if (!r->easy || set_limits(r, ask) != 0 || set_question(r, ask) != 0 ||
	    set_post(r, ask) != 0 || set_guard(r) != 0 ||
	    curl_multi_add_handle(web->multi, r->easy) != CURLM_OK)
		return give_up(r);
	err[0] = '\0';
	r->next = web->reqs;
	r->at = &web->reqs;
	if (r->next)
		r->next->at = &r->next;
	web->reqs = r;
	web->nreqs++;
	stat_inc(web_requests);
	return r;
}

void web_cancel(struct web_req **req)
{
	if (*req)
		req_free(*req);
	*req = NULL;
}

/* ---- life --------------------------------------------------------------------------- */

int web_open(struct web **out, struct event_base *base, char err[ERRLEN])
{
	struct web *web = calloc(1, sizeof(*web));

	if (!web || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		free(web);
		return err_set(err, "libcurl can't be set up");
	}
	web->base = base;
	web->multi = curl_multi_init();
	web->timer = event_new(base, -1, 0, on_timer, web);
	if (!web->multi || !web->timer) {
		web_close(&web);
		return err_set(err, "libcurl: out of memory");
	}
	(void)curl_multi_setopt(web->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	(void)curl_multi_setopt(web->multi, CURLMOPT_SOCKETDATA, web);
	(void)curl_multi_setopt(web->multi, CURLMOPT_TIMERFUNCTION, on_timer_set);
	(void)curl_multi_setopt(web->multi, CURLMOPT_TIMERDATA, web);
	(void)curl_multi_setopt(web->multi, CURLMOPT_MAXCONNECTS, WEB_KEEP);
	*out = web;
	return 0;
}

void web_close(struct web **web)
{
	struct web *w = *web;

	*web = NULL;
	if (!w)
		return;
	PS_ASSERT(!w->calling);
	while (w->reqs)
		req_free(w->reqs);
	if (w->multi)
		(void)curl_multi_cleanup(w->multi); /* may still call on_socket */
	if (w->timer)
		event_free(w->timer);
	curl_global_cleanup();
	free(w);
}

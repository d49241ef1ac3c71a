/* metajob.c -- a question for metadata that nobody waits for; see metajob.h. */
#include "shm/metajob.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "shm/metaword.h"

#define MAGIC "peerscope-job 1 "
#define NUMBERS 8

int metajob_is_id(const char *text)
{
	return strlen(text) == METAJOB_ID &&
	       strspn(text, "0123456789abcdef") == METAJOB_ID;
}

int metajob_name(char id[METAJOB_ID + 1])
{
	uint8_t raw[METAJOB_ID / 2];

	if (getrandom(raw, sizeof raw, GRND_NONBLOCK) != sizeof raw)
		return -1;
	hex_text(id, raw, sizeof raw);
	return 0;
}

/* --- the file --------------------------------------------------------------------- */

void metajob_write(struct buf *out, const struct metajob *j)
{
	char key[IH_HEX_LEN], client[2 * ADDR_LEN + 1];

	ih_hex(key, j->key);
	hex_text(client, j->client, ADDR_LEN);
	buf_printf(out, MAGIC "%s\n%d %d %llu %llu %llu %d %u %u\n%s %s\n%s\n%s\n", j->id,
		   (int)j->state, (int)j->rc, (unsigned long long)j->created_ms,
		   (unsigned long long)j->since_ms, (unsigned long long)j->until_ms,
		   (int)j->hook, j->tries, j->said, key, client, j->url, j->link);
}

/* The next line of *at, without its end; NULL: there is no whole one. */
static char *line(const char **at, const char *end, size_t max)
{
	const char *from = *at, *nl = memchr(from, '\n', (size_t)(end - from));

	if (!nl || (size_t)(nl - from) > max || memchr(from, '\0', (size_t)(nl - from)))
		return NULL;
	*at = nl + 1;
	return strndup(from, (size_t)(nl - from));
}

/* NUMBERS of them, each with one blank behind it but for the last. */
static int numbers(const char *text, uint64_t v[NUMBERS])
{
	for (int i = 0; i < NUMBERS; i++) {
		size_t n = strspn(text, "0123456789");

		if (n == 0 || n > 16 || text[n] != (i + 1 < NUMBERS ? ' ' : '\0'))
			return -1;
		v[i] = strtoull(text, NULL, 10);
		text += n + 1;
	}
	return 0;
}

static int from_hex(uint8_t *out, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int hi = hex_value(text[2 * i]), lo = hex_value(text[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -1;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

static int take_numbers(struct metajob *j, const char *text)
{
	uint64_t v[NUMBERS];

	if (numbers(text, v) != 0 || v[0] > METAJOB_FAILED || v[1] > LANE_RC_LAST ||
	    v[5] > METAJOB_HOOK_FAILED || v[6] > UINT32_MAX || v[7] > METAJOB_SAID_MAX)
		return -1;
	j->state = (enum metajob_state)v[0];
	j->rc = (enum lane_rc)v[1];
	j->created_ms = v[2];
	j->since_ms = v[3];
	j->until_ms = v[4];
	j->hook = (enum metajob_hook)v[5];
	j->tries = (uint32_t)v[6];
	j->said = (uint32_t)v[7];
	return 0;
}

static int take_lines(struct metajob *j, char *l[3])
{
	size_t magic = strlen(MAGIC);

	if (!l[0] || !l[1] || !l[2] || !j->url || !j->link ||
	    strncmp(l[0], MAGIC, magic) != 0 || !metajob_is_id(l[0] + magic) ||
	    strlen(l[2]) != 2 * IH_LEN + 1 + 2 * ADDR_LEN || l[2][2 * IH_LEN] != ' ')
		return -1;
	memcpy(j->id, l[0] + magic, METAJOB_ID + 1);
	if (take_numbers(j, l[1]) != 0 || from_hex(j->key, l[2], IH_LEN) != 0 ||
	    from_hex(j->client, l[2] + 2 * IH_LEN + 1, ADDR_LEN) != 0)
		return -1;
	return (j->hook == METAJOB_NO_HOOK) == (j->url[0] == '\0') ? 0 : -1;
}

int metajob_read(struct metajob *j, const char *text, size_t len, char err[ERRLEN])
{
	const char *at = text, *end = text + len;
	char *l[3];
	int rc;

	memset(j, 0, sizeof *j);
	for (int i = 0; i < 3; i++)
		l[i] = line(&at, end, 256);
	j->url = line(&at, end, METAJOB_HOOK_MAX);
	j->link = line(&at, end, MAGNET_MAX);
	rc = take_lines(j, l);
	for (int i = 0; i < 3; i++)
		free(l[i]);
	if (rc == 0 && at == end)
		return 0;
	metajob_free(j);
	return err_set(err, "the file of a job makes no sense");
}

void metajob_free(struct metajob *j)
{
	free(j->url);
	free(j->link);
	j->url = j->link = NULL;
}

/* --- JSON ------------------------------------------------------------------------- */

static void put_time(struct json *out, const char *key, uint64_t wall_ms)
{
	time_t t = (time_t)(wall_ms / 1000);
	char text[32];
	struct tm tm;

	if (gmtime_r(&t, &tm) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm))
		json_str(out, key, text);
}

void metajob_put_url(struct json *out, const char *key, const char *base,
		     const char *path, const char *id)
{
	char url[640];
	size_t n = strlen(base);

	while (n > 0 && base[n - 1] == '/')
		n--;
	snprintf(url, sizeof url, "%.*s%s%s", (int)n, base, path, id);
	json_str(out, key, url);
}

/* Neither the webhook's address nor what it says is for who asks for the job. */
static void put_said(struct json *out, uint32_t said)
{
	char text[32];

	snprintf(text, sizeof text, "It answered %u.", said);
	if (said != METAJOB_SAID_NOTHING)
		json_str(out, "error",
			 said == METAJOB_SAID_DENIED ? "Its address is not a public one "
						       "(swarm.allow_private)."
			 : said == METAJOB_SAID_NO_ANSWER ? "No answer came."
			 : said == METAJOB_SAID_NO_KEY
				 ? "There is no key any more (metadata.webhook_secret)."
				 : text);
}

static void put_hook(struct json *out, const struct metajob *j)
{
	static const char *const words[] = {
		[METAJOB_NO_HOOK] = "none",
		[METAJOB_HOOK_DUE] = "pending",
		[METAJOB_HOOK_SENT] = "delivered",
		[METAJOB_HOOK_FAILED] = "failed",
	};

	if (j->hook == METAJOB_NO_HOOK)
		return;
	json_obj(out, "webhook");
	json_str(out, "state", words[j->hook]);
	json_uint(out, "tries", j->tries);
	put_said(out, j->said);
	json_obj_end(out);
}

void metajob_json(struct json *out, const struct metajob *j, const char *base)
{
	static const char *const words[] = {
		[METAJOB_PENDING] = "pending",
		[METAJOB_DONE] = "done",
		[METAJOB_FAILED] = "failed",
	};
	const struct metaword *w = metaword(j->rc);
	char key[IH_HEX_LEN];

	ih_hex(key, j->key);
	json_obj(out, NULL);
	json_str(out, "id", j->id);
	json_str(out, "state", words[j->state]);
	json_str(out, "info_hash", key);
	put_time(out, "created_at", j->created_ms);
	put_time(out, "since", j->since_ms);
	if (j->until_ms)
		put_time(out, j->state == METAJOB_PENDING ? "deadline" : "expires_at",
			 j->until_ms);
	metajob_put_url(out, "status_url", base, "/api/v1/jobs/", j->id);
	if (j->state == METAJOB_DONE)
		metajob_put_url(out, "result_url", base, "/api/v1/metadata/", key);
	if (j->state == METAJOB_FAILED) {
		json_str(out, "error", w->error);
		json_str(out, "message", w->message);
		json_str(out, "code", w->code);
		json_int(out, "status", w->status);
	}
	put_hook(out, j);
}

/* --- webhooks ----------------------------------------------------------------------- */

/* The host of an authority of n bytes: its first byte and length. -1: there is none. */
static int host_of(const char *p, size_t n, const char **host, size_t *len)
{
	const char *end;

	*host = p;
	if (n > 0 && *p == '[') {
		end = memchr(p, ']', n);
		*host = p + 1;
		*len = end ? (size_t)(end - p) - 1 : 0;
	} else {
		end = memchr(p, ':', n);
		*len = end ? (size_t)(end - p) : n;
	}
	return *len > 0 ? 0 : -1;
}

static int check_host(const char *host, size_t len, int allow_private, char err[ERRLEN])
{
	uint8_t addr[ADDR_LEN];
	char text[256];

	if (len >= sizeof text)
		return err_set(err, "its host name is too long.");
	memcpy(text, host, len);
	text[len] = '\0';
	if (!allow_private && addr_parse(addr, text) == 0 && !addr_is_global(addr))
		return err_set(err, "its address is not one of the world "
				    "(swarm.allow_private).");
	return 0;
}

int metajob_url(const char *url, int allow_private, char err[ERRLEN])
{
	const char *p, *host;
	size_t n, len;

	if (strlen(url) > METAJOB_HOOK_MAX)
		return err_set(err, "it is longer than %d bytes.", METAJOB_HOOK_MAX);
	for (p = url; *p; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
			return err_set(err, "it has a byte in it that a URL has not.");
	if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
		return err_set(err, "it must begin with http:// or https://.");
	p = strchr(url, ':') + 3;
	n = strcspn(p, "/?#");
	if (memchr(p, '@', n) || memchr(p, '\\', n))
		return err_set(err, "it may not have a user or password.");
	if (host_of(p, n, &host, &len) != 0)
		return err_set(err, "it has no host.");
	return check_host(host, len, allow_private, err);
}

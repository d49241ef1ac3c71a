/*
 * peers.c -- `peerscope peers ID` and `peerscope healthcheck`: questions to a
 * running daemon. What comes back is a stranger's text (client names are): nothing
 * that could move a terminal's cursor is printed.
 */
#include <cJSON.h>
#include <event2/http.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/ident.h"
#include "master/ask.h"
#include "master/cli.h"

#define HEALTH_TIMEOUT_S 5
#define COLUMNS 12
#define CELL_MAX 128 /* bytes */
#define SENTENCE_MAX 512
#define SUMMARY_ROWS 15 /* of each list; --json has the rest */
#define SUMMARY_NAME 40 /* code points */

struct table {
	char (*cell)[COLUMNS][CELL_MAX];
	size_t rows;
	int width[COLUMNS]; /* code points */
	int engines;        /* a peer speaks AceStream */
};

static const struct {
	const char *title;
	int max; /* code points; longer is cut */
	int right;
	int engines; /* shown only if one of the peers is an engine */
} columns[COLUMNS] = {
	{"ADDRESS", 47, 0, 0}, {"CLIENT", 26, 0, 0}, {"DONE", 6, 1, 0},
	{"STATE", 9, 0, 0},    {"DOWN", 9, 1, 0},    {"UP", 9, 1, 0},
	{"LAG", 18, 1, 1},     {"ROLE", 11, 0, 1},   {"COUNTRY", 20, 0, 0},
	{"CITY", 20, 0, 0},    {"ISP", 28, 0, 0},    {"SOURCES", 32, 0, 0},
};

/* Bytes of the code point at s; 1 for what is not UTF-8 (cJSON passes such on). */
static size_t point_len(const unsigned char *s)
{
	size_t n = s[0] < 0xc2   ? 1
		   : s[0] < 0xe0 ? 2
		   : s[0] < 0xf0 ? 3
		   : s[0] < 0xf5 ? 4
				 : 1;

	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 1;
	return n;
}

/* Copy at most max code points; controls and broken bytes become '?'. */
static int put_text(char *out, size_t size, const char *text, int max)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t len = 0;
	int points = 0;

	while (*s && points < max) {
		size_t n = point_len(s);
		int control = s[0] < 0x20 || s[0] == 0x7f || (n == 1 && s[0] >= 0x80) ||
			      (n == 2 && s[0] == 0xc2 && s[1] < 0xa0);

		if (len + n >= size)
			break;
		if (control)
			out[len++] = '?';
		else
			memcpy(out + len, s, n), len += n;
		s += n;
		points++;
	}
	out[len] = '\0';
	return points;
}

static const char *text_of(const cJSON *o, const char *key)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));

	return s ? s : "";
}

static double number_of(const cJSON *o, const char *key)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsNumber(n) ? n->valuedouble : 0;
}

static void rate_text(char *out, size_t size, double rate)
{
	if (rate < 1)
		snprintf(out, size, "-");
	else if (rate < 1000)
		snprintf(out, size, "%.0f B/s", rate);
	else if (rate < 1e6)
		snprintf(out, size, "%.0f kB/s", rate / 1e3);
	else
		snprintf(out, size, "%.1f MB/s", rate / 1e6);
}

static void join_sources(char *out, size_t size, const cJSON *peer)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(peer, "sources"), *s;
	size_t len = 0;

	out[0] = '\0';
	cJSON_ArrayForEach(s, list) if (cJSON_IsString(s) &&
					len + strlen(s->valuestring) + 2 < size) len +=
		(size_t)snprintf(out + len, size - len, "%s%s", len ? " " : "",
				 s->valuestring);
}

static void put_cell(struct table *t, size_t row, int col, const char *text)
{
	int n = put_text(t->cell[row][col], CELL_MAX, text, columns[col].max);

	if (n > t->width[col])
		t->width[col] = n;
}

/* "3", or "3 (3.6 s)" where the time of a piece is known. */
static void lag_text(char *out, size_t size, const cJSON *ace)
{
	const cJSON *s = cJSON_GetObjectItemCaseSensitive(ace, "lag_seconds");

	if (!cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(ace, "lag")))
		snprintf(out, size, "-");
	else if (cJSON_IsNumber(s))
		snprintf(out, size, "%.0f (%.1f s)", number_of(ace, "lag"),
			 s->valuedouble);
	else
		snprintf(out, size, "%.0f", number_of(ace, "lag"));
}

/* Nobody but its neighbours has told of it: "gossiped". */
static const char *role_text(const cJSON *ace)
{
	const char *role = text_of(ace, "role");

	if (role[0])
		return role;
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(ace, "gossiped"))
		       ? "gossiped"
		       : "-";
}

static void put_peer(struct table *t, size_t row, const cJSON *peer)
{
	const cJSON *ace = cJSON_GetObjectItemCaseSensitive(peer, "ace");
	const char *ip = text_of(peer, "ip");
	char text[CELL_MAX];

	snprintf(text, sizeof text, strchr(ip, ':') ? "[%s]:%.0f" : "%s:%.0f", ip,
		 number_of(peer, "port"));
	put_cell(t, row, 0, text);
	put_cell(t, row, 1, text_of(peer, "client"));
	snprintf(text, sizeof text, "%.1f%%", number_of(peer, "progress"));
	put_cell(t, row, 2, text);
	put_cell(t, row, 3, text_of(peer, "state"));
	rate_text(text, sizeof text, number_of(peer, "download_rate"));
	put_cell(t, row, 4, text);
	rate_text(text, sizeof text, number_of(peer, "upload_rate"));
	put_cell(t, row, 5, text);
	lag_text(text, sizeof text, ace);
	put_cell(t, row, 6, text);
	put_cell(t, row, 7, role_text(ace));
	put_cell(t, row, 8, text_of(peer, "country"));
	put_cell(t, row, 9, text_of(peer, "city"));
	put_cell(t, row, 10, text_of(peer, "isp"));
	join_sources(text, sizeof text, peer);
	put_cell(t, row, 11, text);
	t->engines |= cJSON_IsObject(ace);
}

static int count_points(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void print_row(const struct table *t, char (*cell)[CELL_MAX])
{
	for (int c = 0; c < COLUMNS; c++) {
		int pad = t->width[c] - count_points(cell[c]);

		if (columns[c].engines && !t->engines)
			continue;
		if (c == COLUMNS - 1)
			pad = 0; /* no blanks at the end of a line */
		if (columns[c].right)
			printf("%*s%s", pad, "", cell[c]);
		else
			printf("%s%*s", cell[c], pad, "");
		printf(c == COLUMNS - 1 ? "\n" : "  ");
	}
}

static int print_table(const cJSON *peers)
{
	size_t n = (size_t)cJSON_GetArraySize(peers), row = 1;
	struct table t = {.rows = n + 1};
	const cJSON *p;

	t.cell = calloc(n + 1, sizeof *t.cell);
	if (!t.cell) {
		fprintf(stderr, "peerscope peers: out of memory\n");
		return -1;
	}
	for (int c = 0; c < COLUMNS; c++)
		put_cell(&t, 0, c, columns[c].title);
	cJSON_ArrayForEach(p, peers) put_peer(&t, row++, p);
	for (row = 0; row < t.rows; row++)
		print_row(&t, t.cell[row]);
	free(t.cell);
	return 0;
}

static int count_state(const cJSON *peers, const char *state)
{
	const cJSON *p;
	int n = 0;

	cJSON_ArrayForEach(p, peers) n += strcmp(text_of(p, "state"), state) == 0;
	return n;
}

/* A sentence of theirs; one that is too long ends at a word. */
static const char *sentence(char out[SENTENCE_MAX], const char *text)
{
	size_t keep = SENTENCE_MAX - 4;
	char *end;

	put_text(out, keep, text, SENTENCE_MAX);
	if (strlen(text) < keep)
		return out;
	end = strrchr(out, ' ');
	snprintf(end ? end : out + strlen(out), 4, "...");
	return out;
}

/* --- --summary ------------------------------------------------------------- */

static void summary_row(const char *name, const char *code, double count, double of)
{
	char text[2 * CELL_MAX], cell[CELL_MAX * 4];
	int points;

	snprintf(text, sizeof text, code[0] ? "%s (%s)" : "%s%s", name, code);
	points = put_text(cell, sizeof cell, text, SUMMARY_NAME);
	printf("  %s%*s  %6.0f  %3.0f%%\n", cell, SUMMARY_NAME - points, "", count,
	       of > 0 ? 100 * count / of : 0);
}

static void summary_list(const cJSON *summary, const char *key, const char *title)
{
	const cJSON *o = cJSON_GetObjectItemCaseSensitive(summary, key), *e;
	double all = number_of(summary, "peers"), rest = number_of(o, "other");
	int row = 0;

	printf("%s\n", title);
	cJSON_ArrayForEach(e, cJSON_GetObjectItemCaseSensitive(o, "list"))
	{
		if (row++ < SUMMARY_ROWS)
			summary_row(text_of(e, "name"), text_of(e, "code"),
				    number_of(e, "count"), all);
		else
			rest += number_of(e, "count");
	}
	if (rest > 0)
		summary_row("(all others)", "", rest, all);
}

static void summary_table(const cJSON *summary)
{
	static const char *const list[][2] = {
		{"country", "COUNTRY"}, {"isp", "ISP"},     {"client", "CLIENT"},
		{"source", "SOURCE"},   {"state", "STATE"}, {"protocol", "PROTOCOL"},
	};

	for (size_t i = 0; i < PS_ARRAY_LEN(list) && number_of(summary, "peers") > 0; i++)
		summary_list(summary, list[i][0], list[i][1]);
}

/* --- the last line --------------------------------------------------------- */

/* "3 of 12 that match, of 40 peers" */
static void print_numbers(const cJSON *root, int shown, int listed)
{
	if (listed)
		printf("%d of ", shown);
	if (cJSON_HasObjectItem(root, "matched"))
		printf("%.0f that match, of ", number_of(root, "matched"));
	printf("%.0f peers", number_of(root, "total_peers"));
}

/* How long ago it was found whether the stream moves on: " (90 s ago)". */
static void print_motion_age(const cJSON *ace)
{
	double age = (double)clock_wall_ms() / 1e3 - number_of(ace, "motion_at");

	if (!cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(ace, "motion_at")))
		return;
	age = age > 0 ? age : 0;
	printf(age < 120 ? " (%.0f s ago)" : " (%.0f min ago)",
	       age < 120 ? age : age / 60);
}

/* Nothing of it is known to be AceStream. */
static int is_guess(const cJSON *ace)
{
	return strcmp(text_of(ace, "mode"), "maybe") == 0 &&
	       number_of(ace, "reachable") + number_of(ace, "gossiped") < 1;
}

/* What AceStream peers say of their stream. */
static void print_stream(const cJSON *root)
{
	const cJSON *ace = cJSON_GetObjectItemCaseSensitive(root, "ace");
	char motion[CELL_MAX], kind[CELL_MAX], title[SENTENCE_MAX];

	if (text_of(root, "title")[0])
		printf("title: %s\n", sentence(title, text_of(root, "title")));
	if (!cJSON_IsObject(ace) || is_guess(ace))
		return;
	put_text(kind, sizeof kind, text_of(ace, "kind"), 16);
	put_text(motion, sizeof motion, text_of(ace, "motion"), 16);
	printf("acestream: %.0f discovered, %.0f reachable, %.0f gossiped; %s%s%s",
	       number_of(ace, "discovered"), number_of(ace, "reachable"),
	       number_of(ace, "gossiped"), kind, kind[0] ? ", " : "", motion);
	print_motion_age(ace);
	if (cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(ace, "head")))
		printf(", head %.0f", number_of(ace, "head"));
	if (number_of(ace, "piece_seconds") > 0)
		printf(", %.2f s per piece", number_of(ace, "piece_seconds"));
	printf("; %.0f source, %.0f source-like\n", number_of(ace, "sources"),
	       number_of(ace, "source_like"));
}

/* listed: a list was asked for, so an empty one needs its reason. */
static void print_summary(const cJSON *root, const cJSON *peers, int listed)
{
	double age = (double)clock_wall_ms() / 1e3 - number_of(root, "cached_at");
	const cJSON *evidence = cJSON_GetObjectItemCaseSensitive(root, "evidence");
	char phase[CELL_MAX], error[SENTENCE_MAX], hash[CELL_MAX], verdict[CELL_MAX];
	int shown = cJSON_GetArraySize(peers);

	put_text(phase, sizeof phase, text_of(root, "phase"), 16);
	put_text(hash, sizeof hash, text_of(root, "infohash"), 40);
	sentence(error, text_of(root, "error"));
	printf("%s%s: ", shown || !listed ? "\n" : "", hash);
	print_numbers(root, shown, listed);
	if (listed)
		printf(", %d connected, %d contacted", count_state(peers, "connected"),
		       count_state(peers, "contacted"));
	printf("%s%s, %.0f s old\n", phase[0] ? ", " : "", phase, age > 0 ? age : 0);
	if (error[0] && listed)
		printf("%s\n", error);
	print_stream(root);
	put_text(verdict, sizeof verdict, text_of(root, "verdict"), 16);
	if (verdict[0])
		printf("verdict: %s; %s\n", verdict,
		       sentence(error, text_of(evidence, "says")));
}

/* Every complaint names what was asked: the mistake is often there. */
static int complain(const struct cli *cli, const char *base, const char *path,
		    const char *fmt, ...) PS_PRINTF(4, 5);
static int complain(const struct cli *cli, const char *base, const char *path,
		    const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "peerscope %s: %s%s: ", cli->command, base, path);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return 1;
}

static int print_answer(const struct cli *cli, const struct ask_reply *r,
			const cJSON *root, const cJSON *peers)
{
	const cJSON *summary = cJSON_GetObjectItemCaseSensitive(root, "summary");
	int listed = !cli->summary || cli->limit > 0 || number_of(summary, "peers") == 0;

	if (cli->json || cli->csv || cli->ndjson) {
		fwrite(r->body, 1, r->len, stdout);
		if (r->len > 0 && r->body[r->len - 1] != '\n')
			putchar('\n');
	} else {
		int table = cJSON_GetArraySize(peers) > 0;

		if (table && print_table(peers) != 0)
			return 1;
		if (table && summary)
			putchar('\n');
		if (summary)
			summary_table(summary);
		print_summary(root, peers, listed);
	}
	if (fflush(stdout) == 0)
		return 0;
	fprintf(stderr, "peerscope peers: write: %s\n", strerror(errno));
	return 1;
}

/* The lines that were asked for. Of an empty swarm there is no line of JSON. */
static int has_lines(const struct cli *cli, const struct ask_reply *r)
{
	static const char csv[] = "ip,", ndjson[] = "{\"ip\":";

	if (cli->csv)
		return r->len >= strlen(csv) && memcmp(r->body, csv, strlen(csv)) == 0;
	return r->len == 0 ||
	       (r->len >= strlen(ndjson) && memcmp(r->body, ndjson, strlen(ndjson)) == 0);
}

/* An answer, a refusal with what the daemon says about it, or somebody else's page. */
static int print_reply(const struct cli *cli, const struct ask_reply *r, const char *base,
		       const char *path)
{
	cJSON *root = cJSON_ParseWithLength(r->body, r->len);
	const cJSON *peers = cJSON_GetObjectItemCaseSensitive(root, "peers");
	const char *error = text_of(root, "error"), *message = text_of(root, "message");
	char text[SENTENCE_MAX];
	int rc = 1;

	if (r->status == 200 && (cli->csv || cli->ndjson) && has_lines(cli, r))
		rc = print_answer(cli, r, NULL, NULL);
	else if (r->status == 200 && !cli->csv && !cli->ndjson && cJSON_IsArray(peers))
		rc = print_answer(cli, r, root, peers);
	else if (r->status != 200 && error[0])
		complain(cli, base, path, "%d: %s", r->status,
			 sentence(text, message[0] ? message : error));
	else
		complain(cli, base, path, "that is not Peerscope (it answered %d)",
			 r->status);
	cJSON_Delete(root);
	return rc;
}

static int find_base(const struct cli *cli, char base[ASK_URL_MAX])
{
	static struct conf c;
	char err[ERRLEN];

	if (!cli->url && cli_conf(cli, &c) != 0) {
		fprintf(stderr, "peerscope %s: the configuration has errors\n",
			cli->command);
		return -1;
	}
	if (ask_base(base, cli->url, &c, err) == 0)
		return 0;
	fprintf(stderr, "peerscope %s: %s\n", cli->command, err);
	return -1;
}

static void add_escaped(struct buf *b, const char *text)
{
	char *escaped = evhttp_uriencode(text, -1, 0);

	if (escaped)
		buf_str(b, escaped);
	else
		b->failed = 1;
	free(escaped);
}

/* The path and its query; what the daemon makes of the values is its business. */
static void put_path(const struct cli *cli, struct buf *b)
{
	buf_str(b, "/peers/");
	add_escaped(b, cli->id);
	buf_str(b, "?");
	if (cli->limit > 0 || cli->summary)
		buf_printf(b, "limit=%d&", cli->limit > 0 ? cli->limit : 0);
	if (cli->wait_ms >= 0)
		buf_printf(b, "wait=%" PRId64 "ms&", cli->wait_ms);
	if (cli->csv)
		buf_str(b, "format=csv&");
	if (cli->ndjson)
		buf_str(b, "format=ndjson&");
	if (cli->summary)
		buf_str(b, "summary=1&");
	for (size_t i = 0; i < cli->nquery; i++) {
		buf_printf(b, "%s=", cli->query[i].name);
		add_escaped(b, cli->query[i].value);
		buf_str(b, "&");
	}
	if (!b->failed)
		b->p[--b->len] = '\0'; /* the last & or ? */
}

int cmd_peers(const struct cli *cli)
{
	char base[ASK_URL_MAX], err[ERRLEN];
	struct ask_reply r;
	struct buf path;
	int rc = 1;

	if (strlen(cli->id) > IDENT_TEXT_MAX) {
		fprintf(stderr, "peerscope peers: this is no id\n");
		return 1;
	}
	buf_init(&path, ASK_PATH_MAX);
	put_path(cli, &path);
	if (path.failed) {
		fprintf(stderr, "peerscope peers: the question is too long\n");
	} else if (find_base(cli, base) == 0) {
		if (ask_get(&r, base, path.p, CLI_PEERS_TIMEOUT_S, err) != 0)
			complain(cli, base, path.p, "%s", err);
		else
			rc = print_reply(cli, &r, base, path.p);
		free(r.body);
	}
	buf_free(&path);
	return rc;
}

int cmd_healthcheck(const struct cli *cli)
{
	const char *path = cli->ready ? "/readyz" : "/livez";
	char base[ASK_URL_MAX], err[ERRLEN];
	struct ask_reply r;
	int rc = 0;

	if (find_base(cli, base) != 0)
		return 1;
	if (ask_get(&r, base, path, HEALTH_TIMEOUT_S, err) != 0)
		return complain(cli, base, path, "%s", err);
	if (r.status != 200)
		rc = complain(cli, base, path, "it answered %d", r.status);
	free(r.body);
	return rc;
}

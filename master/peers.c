/*
 * peers.c -- `peerscope peers ID` and `peerscope healthcheck`: questions to a
 * running daemon. What comes back is a stranger's text (client names are): nothing
 * that could move a terminal's cursor is printed.
 */
#include <cJSON.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/ident.h"
#include "master/ask.h"
#include "master/cli.h"

#define PEERS_TIMEOUT_S 60 /* the daemon answers within 20 s of waiting */
#define HEALTH_TIMEOUT_S 5
#define COLUMNS 10
#define CELL_MAX 128 /* bytes */

struct table {
	char (*cell)[COLUMNS][CELL_MAX];
	size_t rows;
	int width[COLUMNS]; /* code points */
};

static const struct {
	const char *title;
	int max; /* code points; longer is cut */
	int right;
} columns[COLUMNS] = {
	{"ADDRESS", 47, 0}, {"CLIENT", 24, 0},  {"DONE", 6, 1},     {"STATE", 9, 0},
	{"DOWN", 9, 1},     {"UP", 9, 1},       {"COUNTRY", 20, 0}, {"CITY", 20, 0},
	{"ISP", 28, 0},     {"SOURCES", 32, 0},
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
static int put_text(char out[CELL_MAX], const char *text, int max)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t len = 0;
	int points = 0;

	while (*s && points < max) {
		size_t n = point_len(s);
		int control = s[0] < 0x20 || s[0] == 0x7f || (n == 1 && s[0] >= 0x80) ||
			      (n == 2 && s[0] == 0xc2 && s[1] < 0xa0);

		if (len + n >= CELL_MAX)
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
	int n = put_text(t->cell[row][col], text, columns[col].max);

	if (n > t->width[col])
		t->width[col] = n;
}

static void put_peer(struct table *t, size_t row, const cJSON *peer)
{
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
	put_cell(t, row, 6, text_of(peer, "country"));
	put_cell(t, row, 7, text_of(peer, "city"));
	put_cell(t, row, 8, text_of(peer, "isp"));
	join_sources(text, sizeof text, peer);
	put_cell(t, row, 9, text);
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

static void print_summary(const cJSON *root, const cJSON *peers)
{
	double age = (double)clock_wall_ms() / 1e3 - number_of(root, "cached_at");
	char phase[CELL_MAX], error[CELL_MAX], hash[CELL_MAX];
	int shown = cJSON_GetArraySize(peers);

	put_text(phase, text_of(root, "phase"), 16);
	put_text(error, text_of(root, "error"), 120);
	put_text(hash, text_of(root, "infohash"), 40);
	printf("%s%s: %d of %.0f peers, %d connected, %d contacted%s%s, %.0f s old\n",
	       shown ? "\n" : "", hash, shown, number_of(root, "total_peers"),
	       count_state(peers, "connected"), count_state(peers, "contacted"),
	       phase[0] ? ", " : "", phase, age > 0 ? age : 0);
	if (error[0])
		printf("%s\n", error);
}

/* What the daemon says about a refusal, e.g. of a malformed id. */
static void print_refusal(const struct ask_reply *r)
{
	cJSON *root = cJSON_ParseWithLength(r->body, r->len);
	char text[CELL_MAX];
	const char *said = text_of(root, "message");

	put_text(text, said[0] ? said : text_of(root, "error"), 120);
	fprintf(stderr, "peerscope peers: %d %s\n", r->status, text);
	cJSON_Delete(root);
}

static int print_reply(const struct ask_reply *r)
{
	cJSON *root = cJSON_ParseWithLength(r->body, r->len);
	const cJSON *peers = cJSON_GetObjectItemCaseSensitive(root, "peers");
	int rc = 1;

	if (!cJSON_IsArray(peers)) {
		fprintf(stderr,
			"peerscope peers: the answer is not what Peerscope says\n");
	} else if (cJSON_GetArraySize(peers) == 0 || print_table(peers) == 0) {
		print_summary(root, peers);
		rc = 0;
	}
	cJSON_Delete(root);
	return rc;
}

static int find_base(const struct cli *cli, char base[ASK_URL_MAX], char err[ERRLEN])
{
	static struct conf c;

	if (!cli->url && cli_conf(cli, &c) != 0)
		return err_set(err, "the configuration has errors");
	return ask_base(base, cli->url, &c, err);
}

int cmd_peers(const struct cli *cli)
{
	char base[ASK_URL_MAX], err[ERRLEN], path[512], limit[32] = "", wait[32] = "";
	char *id = evhttp_uriencode(cli->id, -1, 0);
	struct ask_reply r;
	int rc = 1;

	if (!id || strlen(cli->id) > IDENT_TEXT_MAX) {
		fprintf(stderr, "peerscope peers: this is no id\n");
		goto out;
	}
	if (cli->limit > 0)
		snprintf(limit, sizeof limit, "limit=%d%s", cli->limit,
			 cli->wait ? "&" : "");
	if (cli->wait)
		snprintf(wait, sizeof wait, "wait=%s", cli->wait);
	snprintf(path, sizeof path, "/peers/%s%s%s%s", id, limit[0] || wait[0] ? "?" : "",
		 limit, wait);
	if (find_base(cli, base, err) != 0 ||
	    ask_get(&r, base, path, PEERS_TIMEOUT_S, err) != 0) {
		fprintf(stderr, "peerscope peers: %s\n", err);
		goto out;
	}
	if (r.status == 200)
		rc = print_reply(&r);
	else
		print_refusal(&r);
	free(r.body);
out:
	free(id);
	return rc;
}

int cmd_healthcheck(const struct cli *cli)
{
	char base[ASK_URL_MAX], err[ERRLEN];
	struct ask_reply r;
	int rc = 0;

	if (find_base(cli, base, err) != 0 ||
	    ask_get(&r, base, cli->ready ? "/readyz" : "/livez", HEALTH_TIMEOUT_S, err) !=
		    0) {
		fprintf(stderr, "peerscope healthcheck: %s\n", err);
		return 1;
	}
	if (r.status != 200) {
		fprintf(stderr, "peerscope healthcheck: %s answered %d\n", base,
			r.status);
		rc = 1;
	}
	free(r.body);
	return rc;
}

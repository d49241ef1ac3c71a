/* shape.c -- filters, order and form of a question; see shape.h. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "shm/word.h"
#include "worker/fold.h"
#include "worker/shape.h"

/* --- lists of words ------------------------------------------------------- */

/* The next item of a list, without blanks around it. 0: that was the last one; -1: it
 * is empty or too long. *list is NULL behind the last. */
static int next_item(const char **list, char out[SHAPE_WORD_MAX + 1])
{
	const char *p = *list;
	size_t len, all;

	if (!p)
		return 0;
	all = strcspn(p, ",");
	*list = p[all] ? p + all + 1 : NULL;
	len = all;
	while (len > 0 && *p == ' ')
		p++, len--;
	while (len > 0 && p[len - 1] == ' ')
		len--;
	if (len == 0 || len > SHAPE_WORD_MAX)
		return -1;
	memcpy(out, p, len);
	out[len] = '\0';
	return 1;
}

/* "a, b, c" from the names of a fixed list. */
static const char *join(char *out, size_t size, const char *(*name)(int), int n)
{
	size_t len = 0;

	out[0] = '\0';
	for (int i = 0; i < n && len < size; i++)
		len += (size_t)snprintf(out + len, size - len, "%s%s", i ? ", " : "",
					name(i));
	return out;
}

static int find_name(const char *text, const char *(*name)(int), int n)
{
	for (int i = 0; i < n; i++)
		if (strcasecmp(text, name(i)) == 0)
			return i;
	return -1;
}

static int set_bits(uint8_t *mask, const char *what, const char *value,
		    const char *(*name)(int), int n, char err[ERRLEN])
{
	char item[SHAPE_WORD_MAX + 1], all[120];
	int rc;

	while ((rc = next_item(&value, item)) > 0) {
		int i = find_name(item, name, n);

		if (i < 0)
			break;
		*mask |= (uint8_t)(1u << i);
	}
	if (rc == 0)
		return 1;
	return err_set(err, "%s is one or more of %s, separated by commas.", what,
		       join(all, sizeof all, name, n));
}

/* --- texts ------------------------------------------------------------------ */

static int is_utf8(const char *s)
{
	size_t left = strlen(s), n;

	for (; left > 0; s += n, left -= n) {
		n = utf8_len(s, left);
		if (n == 0)
			return 0;
	}
	return 1;
}

static int add_word(struct shape *sh, enum shape_by by, const char *item)
{
	size_t size = strlen(item) + 1;

	if (sh->nword == SHAPE_WORDS || sh->text_len + size > SHAPE_TEXT_MAX)
		return -1;
	memcpy(sh->text + sh->text_len, item, size);
	fold_text(sh->text + sh->text_len);
	sh->word[sh->nword].at = sh->text_len;
	sh->word[sh->nword].by = (uint8_t)by;
	sh->nword++;
	sh->text_len = (uint16_t)(sh->text_len + size);
	return 0;
}

static int set_texts(struct shape *sh, enum shape_by by, const char *value,
		     char err[ERRLEN])
{
	static const char *const means[] = {
		"country is one or more ISO codes or names",
		"isp is one or more parts of a provider's name",
		"client is one or more parts of a client's name",
	};
	char item[SHAPE_WORD_MAX + 1];
	int rc;

	while ((rc = next_item(&value, item)) > 0) {
		if (!is_utf8(item))
			return err_set(err, "%s; this is not UTF-8.", means[by]);
		if (add_word(sh, by, item) != 0)
			return err_set(err,
				       "country, isp and client together have at most "
				       "%d texts, and %d bytes with a separator each.",
				       SHAPE_WORDS, SHAPE_TEXT_MAX);
	}
	if (rc == 0)
		return 1;
	return err_set(err, "%s of 1 to %d bytes, separated by commas.", means[by],
		       SHAPE_WORD_MAX);
}

/* --- sort, format, summary --------------------------------------------------- */

static const char *sort_name(int i)
{
	static const char *const name[SORT_KEYS] = {
		"state", "progress", "down", "up",         "country",   "city",
		"isp",   "client",   "ip",   "first_seen", "last_seen", "lag",
	};

	return name[i];
}

static const char *form_name(int i)
{
	static const char *const name[] = {"json", "csv", "ndjson"};

	return name[i];
}

static const char *protocol_name(int i)
{
	return swarm_protocol_name(i);
}

static int set_sort(struct shape *sh, const char *value, char err[ERRLEN])
{
	char item[SHAPE_WORD_MAX + 1], all[120];
	int rc;

	sh->nsort = 0;
	while ((rc = next_item(&value, item)) > 0) {
		int down = item[0] == '-';
		int key = find_name(item + down, sort_name, SORT_KEYS);

		if (key < 0 || sh->nsort == SHAPE_SORTS)
			break;
		sh->sort[sh->nsort].key = (uint8_t)key;
		sh->sort[sh->nsort++].down = (uint8_t)down;
	}
	if (rc != 0)
		return err_set(
			err,
			"sort is up to %d of %s, separated by commas; a - in front "
			"turns one round.",
			SHAPE_SORTS, join(all, sizeof all, sort_name, SORT_KEYS));
	/* The table has its peers in this order already. */
	if (sh->nsort == 1 && sh->sort[0].key == SORT_STATE && !sh->sort[0].down)
		sh->nsort = 0;
	return 1;
}

static int set_form(struct shape *sh, const char *value, char err[ERRLEN])
{
	int form = find_name(value, form_name, 3);

	if (form < 0)
		return err_set(err, "format is json, csv or ndjson.");
	sh->form = (uint8_t)form;
	return 1;
}

static int set_summary(struct shape *sh, const char *value, char err[ERRLEN])
{
	if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
		return err_set(err, "summary is 1 or 0.");
	sh->summary = value[0] == '1';
	return 1;
}

int shape_set(struct shape *sh, const char *name, const char *value, char err[ERRLEN])
{
	static const char *const by[SHAPE_BYS] = {"country", "isp", "client"};

	for (int i = 0; i < SHAPE_BYS; i++)
		if (strcmp(name, by[i]) == 0)
			return set_texts(sh, (enum shape_by)i, value, err);
	if (strcmp(name, "state") == 0)
		return set_bits(&sh->states, name, value, peer_state_name,
				PEER_CONNECTED + 1, err);
	if (strcmp(name, "source") == 0)
		return set_bits(&sh->sources, name, value, swarm_source_name,
				SWARM_SOURCES, err);
	if (strcmp(name, "protocol") == 0)
		return set_bits(&sh->protocols, name, value, protocol_name,
				PEER_ACESTREAM + 1, err);
	if (strcmp(name, "sort") == 0)
		return set_sort(sh, value, err);
	if (strcmp(name, "format") == 0)
		return set_form(sh, value, err);
	if (strcmp(name, "summary") == 0)
		return set_summary(sh, value, err);
	return 0;
}

int shape_check(const struct shape *sh, char err[ERRLEN])
{
	if (sh->summary && sh->form != SHAPE_JSON)
		return err_set(err, "summary=1 is answered as JSON: leave format away.");
	return 0;
}

/* --- use ------------------------------------------------------------------------ */

int shape_filters(const struct shape *sh)
{
	return sh->nword > 0 || sh->states || sh->sources || sh->protocols;
}

int shape_is_plain(const struct shape *sh)
{
	return !shape_filters(sh) && sh->nsort == 0 && sh->form == SHAPE_JSON &&
	       !sh->summary;
}

uint64_t shape_hash(const struct shape *sh, uint64_t seed)
{
	uint8_t head[] = {sh->form,         sh->summary,      sh->states,
			  sh->sources,      sh->protocols,    sh->nsort,
			  sh->sort[0].key,  sh->sort[0].down, sh->sort[1].key,
			  sh->sort[1].down, sh->sort[2].key,  sh->sort[2].down};
	uint64_t h;

	/* what an earlier, longer sort= of the same query left does not count */
	memset(head + 6 + 2 * sh->nsort, 0, (size_t)(SHAPE_SORTS - sh->nsort) * 2);
	h = word_hash(seed, head, sizeof head);
	for (unsigned i = 0; i < sh->nword; i++) {
		const char *word = sh->text + sh->word[i].at;

		h = word_hash(h ^ sh->word[i].by, word, strlen(word));
	}
	return h;
}

int shape_wants_text(const struct shape *sh)
{
	return sh->nword > 0;
}

static int hits(const struct shape *sh, enum shape_by by, const char *text)
{
	for (unsigned i = 0; i < sh->nword; i++)
		if (sh->word[i].by == by && strstr(text, sh->text + sh->word[i].at))
			return 1;
	return 0;
}

static int is_there(const struct shape *sh, const char *code, const char *country)
{
	for (unsigned i = 0; i < sh->nword; i++) {
		const char *word = sh->text + sh->word[i].at;

		if (sh->word[i].by == SHAPE_COUNTRY &&
		    (strcmp(word, code) == 0 || strcmp(word, country) == 0))
			return 1;
	}
	return 0;
}

static int match_texts(const struct shape *sh, const struct swarm_text *text)
{
	struct swarm_text t = *text;
	unsigned by = 0;

	for (unsigned i = 0; i < sh->nword; i++)
		by |= 1u << sh->word[i].by;
	if (by & 1u << SHAPE_COUNTRY) {
		fold_text(t.at.code);
		fold_text(t.at.country);
		if (!is_there(sh, t.at.code, t.at.country))
			return 0;
	}
	if (by & 1u << SHAPE_ISP) {
		fold_text(t.at.isp);
		if (!hits(sh, SHAPE_ISP, t.at.isp))
			return 0;
	}
	if (by & 1u << SHAPE_CLIENT) {
		fold_text(t.client);
		if (!hits(sh, SHAPE_CLIENT, t.client))
			return 0;
	}
	return 1;
}

int shape_match(const struct shape *sh, const struct shm_peer *peer,
		const struct swarm_text *text)
{
	unsigned state = peer->state <= PEER_CONNECTED ? peer->state : PEER_KNOWN;
	unsigned protocol =
		peer->protocol == PEER_ACESTREAM ? PEER_ACESTREAM : PEER_BITTORRENT;

	if ((sh->states && !(sh->states & 1u << state)) ||
	    (sh->sources && !(sh->sources & peer->sources)) ||
	    (sh->protocols && !(sh->protocols & 1u << protocol)))
		return 0;
	return sh->nword == 0 || match_texts(sh, text);
}

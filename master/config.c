/*
 * config.c -- see config.h.
 *
 * The file is read by libinih through a reader of ours, for two reasons: Debian's
 * build tells the handler no line number, so the reader counts; and inih says
 * only that some line was bad, and takes a few for good that are not ("[a] b",
 * "key: value"), so the reader looks at the shape of each line first and hands
 * on an empty one in place of a bad one. inih's limit of 200 bytes a line holds
 * for its stack buffer only; we let it use the heap.
 */
#include "master/config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "master/config_int.h"

#define CONFIG_PREFIX "PEERSCOPE_"
#define CONFIG_NAME_MAX 96    /* of a name of ours, in any spelling */
#define CONFIG_VALUE_SHOWN 60 /* bytes of a value in a complaint */
#define CONFIG_TEXT_MAX 4200  /* longest value as text: swarm.trackers */

void config_say(struct config_load *l, enum config_kind kind, const char *fmt, ...)
{
	char text[CONFIG_SAY_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *p = text; *p; p++) {
		if (iscntrl((unsigned char)*p))
			*p = '?';
	}
	l->errors += kind == CONFIG_ERROR;
	if (l->say)
		l->say(l->arg, kind, text);
}

/* --- names -------------------------------------------------------------- */

/* Number of a key, or -1. *from_file: it is the _file form of a secret. */
static int config_find(const char *section, const char *key, int *from_file)
{
	size_t n, len;
	const struct conf_key *k = conf_keys(&n);

	for (size_t i = 0; i < n; i++, k++) {
		len = strlen(k->key);
		if (strcmp(k->section, section) != 0 || strncmp(k->key, key, len) != 0)
			continue;
		*from_file = k->type == CONF_SECRET && strcmp(key + len, "_file") == 0;
		if (!key[len] || *from_file)
			return (int)i;
	}
	return -1;
}

static int config_is_section(const char *name, size_t len)
{
	size_t n;
	const struct conf_key *k = conf_keys(&n);

	for (size_t i = 0; i < n; i++) {
		if (strlen(k[i].section) == len && memcmp(k[i].section, name, len) == 0)
			return 1;
	}
	return 0;
}

/* Levenshtein; a name that is too long to be ours is far from all. */
static unsigned config_distance(const char *a, const char *b)
{
	unsigned row[CONFIG_NAME_MAX + 1], diagonal, above, best;
	size_t lb = strlen(b);

	if (strlen(a) > CONFIG_NAME_MAX || lb > CONFIG_NAME_MAX)
		return CONFIG_NAME_MAX;
	for (unsigned j = 0; j <= lb; j++)
		row[j] = j;
	for (unsigned i = 1; a[i - 1]; i++) {
		diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			above = row[j];
			best = diagonal + (a[i - 1] != b[j - 1]);
			best = best < above + 1 ? best : above + 1;
			row[j] = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
			diagonal = above;
		}
	}
	return row[lb];
}

static void config_full_name(char out[CONFIG_NAME_MAX], const struct conf_key *k)
{
	snprintf(out, CONFIG_NAME_MAX, "%s.%s", k->section, k->key);
}

static void config_env_name(char out[CONFIG_NAME_MAX], const struct conf_key *k)
{
	snprintf(out, CONFIG_NAME_MAX, CONFIG_PREFIX "%s_%s", k->section, k->key);
	for (char *p = out; *p; p++)
		*p = (char)toupper((unsigned char)*p);
}

/* The key that somebody who wrote name, "section.key", may have meant, or NULL. */
static const struct conf_key *config_nearest(const char *name)
{
	const char *dot = strchr(name, '.');
	unsigned best = (unsigned)strlen(name) / 4 + 2, d;
	const struct conf_key *k, *found = NULL;
	char full[CONFIG_NAME_MAX];
	size_t n;

	k = conf_keys(&n);
	for (size_t i = 0; i < n; i++, k++) {
		config_full_name(full, k);
		d = config_distance(name, full);
		if (dot && strcmp(dot + 1, k->key) == 0 && d > 1)
			d = 1; /* the right key in another section */
		if (d < best) {
			best = d;
			found = k;
		}
	}
	return found;
}

static void config_unknown(struct config_load *l, const char *where, const char *name)
{
	const struct conf_key *k = config_nearest(name);

	if (k)
		config_say(l, CONFIG_ERROR, "%s: unknown key %.*s; did you mean %s.%s?",
			   where, CONFIG_NAME_MAX, name, k->section, k->key);
	else
		config_say(l, CONFIG_ERROR, "%s: unknown key %.*s", where,
			   CONFIG_NAME_MAX, name);
}

/* --- values ------------------------------------------------------------- */

int config_put(struct config_load *l, int i, const char *value, const char *where)
{
	const struct conf_key *k = &conf_keys(NULL)[i];
	int secret = k->type == CONF_SECRET, cut = strlen(value) > CONFIG_VALUE_SHOWN;
	size_t len = strlen(where);
	char err[ERRLEN], shown[CONFIG_VALUE_SHOWN + 1];

	if (conf_set(&l->cfg->conf, k, value, err) != 0) {
		snprintf(shown, sizeof(shown), "%s", secret ? "***" : value);
		config_hide(i, shown);
		config_say(l, CONFIG_ERROR, "%s: %s.%s = %s%s: %s", where, k->section,
			   k->key, shown, cut && !secret ? "..." : "", err);
		return -1;
	}
	if (len >= CONFIG_ORIGIN_MAX)
		where += len - (CONFIG_ORIGIN_MAX - 1);
	snprintf(l->cfg->origin[i], CONFIG_ORIGIN_MAX, "%s", where);
	return 0;
}

/* f, which is path, holds a secret. */
static void config_caution(struct config_load *l, const char *where, const char *path,
			   FILE *f)
{
	struct stat st;

	if (fstat(fileno(f), &st) == 0 && (st.st_mode & S_IROTH))
		config_say(l, CONFIG_CAUTION,
			   "%s: %.200s holds a secret, and everybody may read it, mode "
			   "%04o",
			   where, path, st.st_mode & 07777);
}

/* The value is what the file holds, without the end of its last line. */
static int config_put_file(struct config_load *l, int i, const char *path,
			   const char *where)
{
	const struct conf_key *k = &conf_keys(NULL)[i];
	char text[CONFIG_TEXT_MAX] = "";
	FILE *f = fopen(path, "re");
	size_t len = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
	const char *wrong = !f || ferror(f) ? strerror(errno) : NULL;

	if (!wrong)
		config_caution(l, where, path, f);
	if (f)
		fclose(f);
	while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		text[--len] = '\0';
	if (!wrong && strlen(text) != len)
		wrong = "holds a NUL byte";
	if (wrong || !len)
		config_say(l, wrong ? CONFIG_ERROR : CONFIG_WARNING,
			   "%s: %s.%s_file: %.200s: %s", where, k->section, k->key, path,
			   wrong ? wrong : "is empty, as if the key were not set");
	return wrong ? -1 : config_put(l, i, text, where);
}

static void config_take(struct config_load *l, int i, int from_file, const char *value,
			const char *where)
{
	int rc = from_file ? config_put_file(l, i, value, where)
			   : config_put(l, i, value, where);

	(void)rc; /* said and counted */
}

/* --- the file ----------------------------------------------------------- */

static void config_where(const struct config_load *l, char out[CONFIG_WHERE_MAX])
{
	const char *path = l->path;
	size_t len = strlen(path), most = CONFIG_WHERE_MAX - 16;

	snprintf(out, CONFIG_WHERE_MAX, "%s:%u", len > most ? path + len - most : path,
		 l->line);
}

/* One line into l->text, ended by a newline always. 1, or 0 at the end of the file.
 * *bad: why it can't be handed on, or NULL. */
static int config_line(struct config_load *l, const char **bad)
{
	size_t len = 0;
	int c = getc(l->file);

	*bad = NULL;
	if (c == EOF)
		return 0;
	l->line++;
	for (; c != EOF && c != '\n'; c = getc(l->file)) {
		if (c == '\0')
			*bad = "a NUL byte";
		if (len < CONFIG_LINE_MAX)
			l->text[len++] = (char)c;
		else
			*bad = "too long, a line has at most 8192 bytes";
	}
	l->text[len] = '\n';
	l->text[len + 1] = '\0';
	return 1;
}

/* A [section] that is bad or unknown: what stands in it is not looked at. */
static const char *config_section(struct config_load *l, const char *s, size_t len)
{
	const struct conf_key *k = conf_keys(NULL);
	char name[CONFIG_NAME_MAX];
	unsigned best = 3, d;

	l->skip = 1;
	if (s[len - 1] != ']' || memchr(s, ']', len - 1))
		return "a section is [name], alone on its line";
	if (config_is_section(s + 1, len - 2)) {
		l->skip = 0;
		return NULL;
	}
	snprintf(name, sizeof(name), "%.*s", (int)len - 2, s + 1);
	snprintf(l->why, sizeof(l->why), "unknown section [%.60s]", name);
	for (int i = 0; i < CONFIG_KEY_N; i++, k++) {
		d = config_distance(name, k->section);
		if (d < best) {
			best = d;
			snprintf(l->why, sizeof(l->why),
				 "unknown section [%.60s]; did you mean [%s]?", name,
				 k->section);
		}
	}
	return l->why;
}

/* What is wrong with the shape of the line, or NULL. */
static const char *config_shape(struct config_load *l)
{
	const char *s = l->text, *end = s + strlen(s);

	while (isspace((unsigned char)*s))
		s++;
	while (end > s && isspace((unsigned char)end[-1]))
		end--;
	if (s == end || *s == '#' || *s == ';')
		return NULL;
	if (*s == '[')
		return config_section(l, s, (size_t)(end - s));
	if (*s == '=' || !memchr(s, '=', (size_t)(end - s)))
		return "not `key = value`, `[section]` or `# comment`";
	return NULL;
}

/* inih's reader: a line, or an empty one in place of a bad one. */
static char *config_reader(char *out, int size, void *stream)
{
	struct config_load *l = stream;
	char where[CONFIG_WHERE_MAX];
	const char *bad;
	size_t bom;

	if (!config_line(l, &bad))
		return NULL;
	bom = l->line == 1 && strncmp(l->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
	memmove(l->text, l->text + bom, strlen(l->text + bom) + 1);
	if (!bad)
		bad = config_shape(l);
	if (bad) {
		config_where(l, where);
		config_say(l, CONFIG_ERROR, "%s: %s", where, bad);
		snprintf(l->text, sizeof(l->text), "\n");
	}
	PS_ASSERT(strlen(l->text) < (size_t)size);
	memcpy(out, l->text, strlen(l->text) + 1);
	return out;
}

/* inih's handler. Always 1: complaints are ours. */
static int config_pair(void *arg, const char *section, const char *key, const char *value)
{
	struct config_load *l = arg;
	char where[CONFIG_WHERE_MAX], name[2 * CONFIG_NAME_MAX];
	int from_file, i = config_find(section, key, &from_file);

	config_where(l, where);
	snprintf(name, sizeof(name), "%.*s.%.*s", CONFIG_NAME_MAX - 1, section,
		 CONFIG_NAME_MAX - 1, key);
	if (l->skip)
		return 1;
	if (!section[0])
		config_say(l, CONFIG_ERROR, "%s: %.*s stands before the first [section]",
			   where, CONFIG_NAME_MAX, key);
	else if (i < 0)
		config_unknown(l, where, name);
	else if (l->set_at[i])
		config_say(l, CONFIG_ERROR, "%s: %s is set again, first in line %u",
			   where, name, l->set_at[i]);
	else if (strstr(value, " #") || strstr(value, "\t#"))
		config_say(l, CONFIG_ERROR, "%s: %s: a comment needs a line of its own",
			   where, name);
	else
		config_take(l, i, from_file, value, where);
	if (i >= 0 && !l->set_at[i])
		l->set_at[i] = l->line;
	if (i >= 0 && !l->secret_at && value[0] && !from_file &&
	    conf_keys(NULL)[i].type == CONF_SECRET)
		l->secret_at = l->line;
	return 1;
}

static void config_file(struct config_load *l, const char *path)
{
	char where[CONFIG_WHERE_MAX];
	int rc;

	l->path = path ? path : CONFIG_DEFAULT_FILE;
	l->file = fopen(l->path, "re");
	if (!l->file) {
		if (path || errno != ENOENT)
			config_say(l, CONFIG_ERROR, "%s: %s", l->path, strerror(errno));
		return;
	}
	ini_use_stack = false;
	ini_initial_alloc = ini_max_line = sizeof(l->text) + 8;
	ini_allow_multiline = ini_allow_inline_comments = false;
	errno = 0;
	rc = ini_parse_stream(config_reader, l, config_pair, l);
	if (ferror(l->file) || rc == -2)
		config_say(l, CONFIG_ERROR, "%s: %s", l->path,
			   strerror(errno ? errno : ENOMEM));
	if (l->secret_at) {
		l->line = l->secret_at;
		config_where(l, where);
		config_caution(l, where, l->path, l->file);
	}
	fclose(l->file);
}

/* --- environment -------------------------------------------------------- */

const char *config_env(const struct config_load *l, const char *name)
{
	size_t len = strlen(name);

	for (char *const *e = l->env; e && *e; e++) {
		if (strncmp(*e, name, len) == 0 && (*e)[len] == '=')
			return *e + len + 1;
	}
	return NULL;
}

int config_env_ours(const struct config_load *l, int i)
{
	const struct conf_key *k = &conf_keys(NULL)[i];
	char name[CONFIG_NAME_MAX], file[CONFIG_NAME_MAX + 8];

	config_env_name(name, k);
	snprintf(file, sizeof(file), "%s_FILE", name);
	return config_env(l, name) || (k->type == CONF_SECRET && config_env(l, file));
}

static void config_env_unknown(struct config_load *l, const char *where,
			       const char *lower)
{
	const struct conf_key *k = config_nearest(lower);
	char name[CONFIG_NAME_MAX];

	if (k)
		config_env_name(name, k);
	config_say(l, CONFIG_ERROR, "%s: no such key%s%s%s", where,
		   k ? "; did you mean " : "", k ? name : "", k ? "?" : "");
}

/* Kubernetes and Docker links put such names into the environment when a service or
 * a container is called "peerscope". */
static int config_env_strange(const char *name, size_t len)
{
	static const char *const prefix[] = {"SERVICE_HOST", "SERVICE_PORT", "PORT",
					     "ENV_"};

	for (size_t i = 0; i < PS_ARRAY_LEN(prefix); i++)
		if (len >= strlen(prefix[i]) &&
		    strncmp(name, prefix[i], strlen(prefix[i])) == 0)
			return 1;
	return len == 4 && strncmp(name, "NAME", 4) == 0;
}

/* PEERSCOPE_HTTP_LISTEN=... : no section has an underscore in its name. */
static void config_env_one(struct config_load *l, const char *entry)
{
	char lower[CONFIG_NAME_MAX] = "", where[CONFIG_WHERE_MAX], *dot;
	const char *name = entry + strlen(CONFIG_PREFIX), *value = strchr(entry, '=');
	size_t len = (size_t)(value - name);
	int from_file, i = -1;

	snprintf(where, sizeof(where), "env %.*s", (int)(value - entry), entry);
	for (size_t n = 0; n < len && n + 1 < sizeof(lower); n++)
		lower[n] = (char)tolower((unsigned char)name[n]);
	dot = strchr(lower, '_');
	if (dot && len < sizeof(lower)) {
		*dot = '\0';
		i = config_find(lower, dot + 1, &from_file);
		*dot = '.';
	}
	if (i < 0) {
		if (!config_env_strange(name, len))
			config_env_unknown(l, where, lower);
		return;
	}
	if (from_file) {
		char plain[CONFIG_NAME_MAX];

		config_env_name(plain, &conf_keys(NULL)[i]);
		if (config_env(l, plain)) {
			config_say(l, CONFIG_ERROR, "%s: %s is set too; use one of them",
				   where, plain);
			return;
		}
	}
	config_take(l, i, from_file, value + 1, where);
}

/* --- command line ------------------------------------------------------- */

static void config_opt(struct config_load *l, const char *opt)
{
	const char *dot = strchr(opt, '.'), *eq = strchr(opt, '=');
	char section[CONFIG_NAME_MAX], key[CONFIG_NAME_MAX], name[2 * CONFIG_NAME_MAX];
	int from_file, i;

	if (!dot || !eq || dot > eq || dot == opt || dot + 1 == eq) {
		config_say(l, CONFIG_ERROR, "-o %.*s: must be section.key=value",
			   CONFIG_VALUE_SHOWN, opt);
		return;
	}
	snprintf(section, sizeof(section), "%.*s", (int)(dot - opt), opt);
	snprintf(key, sizeof(key), "%.*s", (int)(eq - dot - 1), dot + 1);
	i = config_find(section, key, &from_file);
	if (i < 0) {
		snprintf(name, sizeof(name), "%s.%s", section, key);
		config_unknown(l, "-o", name);
		return;
	}
	config_take(l, i, from_file, eq + 1, "-o");
}

/* Where nobody says what clients see, it is the port of the first of http.listen. */
static void config_base_url(struct config_load *l)
{
	struct conf *c = &l->cfg->conf;
	char first[128], url[64];
	const char *colon;
	unsigned long port;

	if (strcmp(l->cfg->origin[CONFIG_KEY_metadata_base_url], "default") != 0 ||
	    !conf_list_next(c->http_listen, first, sizeof(first)))
		return;
	colon = strrchr(first, ':');
	port = colon ? strtoul(colon + 1, NULL, 10) : 0;
	if (port < 1 || port > 65535)
		return; /* an error of http.listen; 0, of tests, is known later */
	snprintf(url, sizeof(url), "http://localhost:%lu", port);
	memcpy(c->metadata_base_url, url, strlen(url) + 1);
}

int config_load(struct config *out, const char *file, char *const *opts, size_t nopts,
		char *const *env, config_say_fn say, void *arg)
{
	struct config_load *l = calloc(1, sizeof(*l));
	int errors;

	conf_defaults(&out->conf);
	for (int i = 0; i < CONFIG_KEY_N; i++)
		snprintf(out->origin[i], CONFIG_ORIGIN_MAX, "default");
	if (!l) { /* a reload must not end the master */
		if (say)
			say(arg, CONFIG_ERROR, "out of memory");
		return 1;
	}
	l->cfg = out;
	l->env = env;
	l->say = say;
	l->arg = arg;
	config_file(l, file);
	config_old(l);
	for (char *const *e = env; e && *e; e++) {
		if (strncmp(*e, CONFIG_PREFIX, strlen(CONFIG_PREFIX)) == 0 &&
		    strchr(*e, '='))
			config_env_one(l, *e);
	}
	for (size_t i = 0; i < nopts; i++)
		config_opt(l, opts[i]);
	config_base_url(l);
	config_check(l);
	errors = l->errors;
	free(l);
	return errors;
}

/* --- looking at it ------------------------------------------------------ */

void config_print(FILE *to, const struct config *c)
{
	char text[CONFIG_TEXT_MAX];
	const struct conf_key *k = conf_keys(NULL);

	for (int i = 0; i < CONFIG_KEY_N; i++, k++) {
		conf_text(&c->conf, k, text, sizeof(text));
		if (k->type == CONF_SECRET && text[0])
			snprintf(text, sizeof(text), "***");
		config_hide(i, text);
		fprintf(to, "%s.%s = %s  # %s\n", k->section, k->key, text, c->origin[i]);
	}
}

static int config_names(const struct conf *was, const struct conf *now, int how,
			char *names, size_t size)
{
	char a[CONFIG_TEXT_MAX], b[CONFIG_TEXT_MAX], name[CONFIG_NAME_MAX];
	const struct conf_key *k = conf_keys(NULL);
	size_t used = 0, len;
	int n = 0;

	names[0] = '\0';
	for (int i = 0; i < CONFIG_KEY_N; i++, k++) {
		conf_text(was, k, a, sizeof(a));
		conf_text(now, k, b, sizeof(b));
		if ((how >= 0 && (int)k->how != how) || strcmp(a, b) == 0)
			continue;
		config_full_name(name, k);
		len = strlen(name) + (n ? 2 : 0);
		if (used + len < size)
			used += (size_t)snprintf(names + used, size - used, "%s%s",
						 n ? ", " : "", name);
		n++;
	}
	return n;
}

int config_diff_restart(const struct conf *was, const struct conf *now, char *names,
			size_t size)
{
	return config_names(was, now, CONF_RESTART, names, size);
}

int config_diff(const struct conf *was, const struct conf *now, char *names, size_t size)
{
	return config_names(was, now, -1, names, size);
}

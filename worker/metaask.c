/* metaask.c -- what a question for metadata says; see metaask.h. */
#include "worker/metaask.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "shm/metaword.h"

#define BLANKS " \t\r\n"

static enum metaask fault(struct metaask_fault *f, int status, const char *error,
			  const char *code, const char *fmt, ...) PS_PRINTF(5, 6);

static enum metaask fault(struct metaask_fault *f, int status, const char *error,
			  const char *code, const char *fmt, ...)
{
	va_list ap;

	f->status = status;
	f->error = error;
	f->code = code;
	va_start(ap, fmt);
	vsnprintf(f->message, sizeof f->message, fmt, ap);
	va_end(ap);
	return METAASK_BAD;
}

static enum metaask bad_json(struct metaask_fault *f, const char *why)
{
	return fault(f, 400, "Invalid JSON", "invalid_json", "%s", why);
}

/* "application/json; charset=utf-8" is application/json. */
static int is_type(const char *type, const char *name)
{
	size_t n = strlen(name);

	return type && strncasecmp(type, name, n) == 0 &&
	       (type[n] == '\0' || strchr("; \t", type[n]));
}

static int is_json_type(const char *type)
{
	size_t n = strcspn(type, "; \t");

	return is_type(type, "application/json") || is_type(type, "text/json") ||
	       (n > 5 && strncasecmp(type + n - 5, "+json", 5) == 0);
}

static size_t blanks(const char *body, size_t len)
{
	size_t at = 0;

	while (at < len && body[at] && strchr(BLANKS, body[at]))
		at++;
	return at;
}

/* Nothing else begins so, whatever its type says: curl -d names that of a form. */
static int meant_as_json(const char *body, size_t len)
{
	size_t n = blanks(body, len);

	return n < len && (body[n] == '{' || body[n] == '[');
}

/* end: where cJSON stopped; of a text that ends too early that is its last byte. */
static enum metaask no_json(struct metaask_fault *f, const char *type, const char *body,
			    size_t len, const char *end)
{
	size_t at = end ? (size_t)(end - body) : 0;

	if (is_type(type, "multipart/form-data"))
		return fault(f, 415, "Unsupported media type", "unsupported_media_type",
			     "The body is a form. Send the .torrent itself, e.g. "
			     "curl --data-binary @FILE.");
	if (type && type[0] && !is_json_type(type) && !meant_as_json(body, len))
		return fault(f, 415, "Unsupported media type", "unsupported_media_type",
			     "The body is neither JSON nor a .torrent.");
	if (at + 1 >= len && strchr("{[:,", body[len - 1]))
		return bad_json(f, "unexpected EOF");
	return fault(f, 400, "Invalid JSON", "invalid_json",
		     "The body is no JSON from its byte %zu on.", at + 1);
}

static const cJSON *member(const cJSON *object, const char *name)
{
	const cJSON *one, *last = NULL;

	cJSON_ArrayForEach(one, object) if (strcasecmp(one->string, name) == 0) last =
		one;
	return last;
}

/* "" if there is none; NULL, with *f, if it is no string. */
static const char *text_of(const cJSON *object, const char *name, struct metaask_fault *f)
{
	const cJSON *v = member(object, name);

	if (!v || cJSON_IsNull(v))
		return "";
	if (cJSON_IsString(v))
		return v->valuestring;
	(void)fault(f, 400, "Invalid JSON", "invalid_json", "%s must be a string.", name);
	return NULL;
}

/* webhook: NULL: none may be there. */
static enum metaask read_object(struct magnet *m, const char **webhook, const cJSON *root,
				struct metaask_fault *f)
{
	const char *link, *hook;

	if (!cJSON_IsObject(root) && !cJSON_IsNull(root))
		return bad_json(f, "The body must be a JSON object.");
	link = text_of(root, "magnet_uri", f);
	if (link && !*link)
		link = text_of(root, "info_hash", f);
	if (!link)
		return METAASK_BAD;
	if (!*link)
		return fault(f, 400, "Missing magnet URI", "missing_magnet",
			     "magnet_uri field is required");
	hook = text_of(root, "webhook", f);
	if (!hook)
		return METAASK_BAD;
	if (*hook && !webhook)
		return fault(f, 400, "Invalid webhook", "webhook_needs_async",
			     "webhook is only for questions with ?async=1.");
	if (webhook)
		*webhook = hook;
	return metaask_link(m, link, strlen(link), f);
}

enum metaask metaask_link(struct magnet *m, const char *text, size_t len,
			  struct metaask_fault *f)
{
	char err[ERRLEN];

	if (magnet_parse(m, text, len, err) == 0)
		return METAASK_LINK;
	return fault(f, 400, "Invalid magnet URI", "invalid_magnet",
		     "failed to parse magnet URI: %s", err);
}

enum metaask metaask_read(struct magnet *m, char **webhook, const char *type,
			  const char *body, size_t len, struct metaask_fault *f)
{
	const char *end = NULL, *hook = "";
	enum metaask rc;
	cJSON *root;
	size_t at = blanks(body, len);

	*webhook = NULL;
	if (len > 0 && body[0] == 'd')
		return METAASK_TORRENT;
	if (at < len && body[at] != '{' && is_type(type, "application/x-bittorrent"))
		return METAASK_TORRENT;
	if (at == len)
		return bad_json(f, "EOF");
	root = cJSON_ParseWithLengthOpts(body, len, &end, 0);
	if (!root)
		return no_json(f, type, body, len, end);
	rc = read_object(m, &hook, root, f);
	if (rc == METAASK_LINK && *hook && !(*webhook = strdup(hook)))
		rc = fault(f, 503, METADATA_FAILED, "no_memory",
			   "There is no memory for this request.");
	cJSON_Delete(root);
	return rc;
}

int metaask_list(struct metaask_list *l, const char *type, const char *body, size_t len,
		 struct metaask_fault *f)
{
	const char *end = NULL;
	const cJSON *items;

	memset(l, 0, sizeof *l);
	if (blanks(body, len) == len) {
		(void)bad_json(f, "EOF");
		return -1;
	}
	l->root = cJSON_ParseWithLengthOpts(body, len, &end, 0);
	if (!l->root) {
		(void)no_json(f, type, body, len, end);
		return -1;
	}
	items = cJSON_IsObject(l->root) ? member(l->root, "items") : l->root;
	if (!items || !cJSON_IsArray(items)) {
		(void)bad_json(f, "The body must be an array, or an object with an array "
				  "in \"items\".");
		goto bad;
	}
	l->n = cJSON_GetArraySize(items);
	l->next = items->child;
	if (l->n <= METAASK_ITEMS)
		return 0;
	(void)fault(f, 400, "Too many items", "too_many_items",
		    "A batch has at most %d items; these are %d.", METAASK_ITEMS, l->n);
bad:
	metaask_list_free(l);
	return -1;
}

enum metaask metaask_next(struct metaask_list *l, struct magnet *m,
			  struct metaask_fault *f)
{
	const cJSON *one = l->next;

	l->next = one->next;
	if (cJSON_IsString(one))
		return metaask_link(m, one->valuestring, strlen(one->valuestring), f);
	if (!cJSON_IsObject(one))
		return bad_json(f, "An item must be a JSON object or a string.");
	return read_object(m, NULL, one, f);
}

void metaask_list_free(struct metaask_list *l)
{
	cJSON_Delete(l->root);
	memset(l, 0, sizeof *l);
}

int metaask_timeout(const char *text, uint64_t *ms)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {{"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60000}};
	size_t n = strspn(text, "0123456789");
	uint64_t v = 0;

	if (n == 0 || n > 8)
		return -1;
	for (size_t i = 0; i < n; i++)
		v = v * 10 + (uint64_t)(text[i] - '0');
	for (size_t i = 0; i < PS_ARRAY_LEN(units); i++)
		if (strcmp(text + n, units[i].name) == 0) {
			*ms = v * units[i].ms;
			return *ms >= 1 && *ms <= 86400000 ? 0 : -1;
		}
	return -1;
}

int metaask_flag(const char *text, int *on)
{
	static const char *const yes[] = {"", "1", "true", "yes", "on"},
				 *const no[] = {"0", "false", "no", "off"};

	for (size_t i = 0; i < PS_ARRAY_LEN(yes); i++)
		if (strcasecmp(text, yes[i]) == 0) {
			*on = 1;
			return 0;
		}
	for (size_t i = 0; i < PS_ARRAY_LEN(no); i++)
		if (strcasecmp(text, no[i]) == 0) {
			*on = 0;
			return 0;
		}
	return -1;
}

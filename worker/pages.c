/* pages.c -- answers that never change; see pages.h. */
#include "worker/pages.h"

#include <string.h>

/* The bytes of one file between two labels. The Makefile knows what this file depends on,
 * and gives PAGES_DIR and PAGES_ETAG, a digest of all of them. */
#define BYTES(label, file)                                               \
	__asm__(".pushsection .rodata\n" #label ":\n"                    \
		".incbin \"" PAGES_DIR file "\"\n" #label "_end:\n"      \
		".popsection\n");                                        \
	extern const char label[] __attribute__((visibility("hidden"))); \
	extern const char label##_end[] __attribute__((visibility("hidden")))

BYTES(page_openapi, "openapi.json");
BYTES(page_html, "docs.html");
BYTES(page_script, "docs.js");
BYTES(page_style, "docs.css");

/* The page's own script, style and questions to this daemon, and nothing else: what a
 * stranger named stays text even if our script were wrong. */
#define POLICY                                                                     \
	"default-src 'none'; script-src 'self'; style-src 'self'; "                \
	"connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; " \
	"frame-ancestors 'none'; require-trusted-types-for 'script'"

struct page {
	const char *name, *type, *p, *end;
};

static void keep(const void *data, size_t len, void *arg)
{
	(void)data;
	(void)len;
	(void)arg;
}

static void send_page(struct ask *a, const struct page *page)
{
	http_header(a, "ETag", PAGES_ETAG);
	http_header(a, "Cache-Control", "no-cache");
	http_header(a, "X-Content-Type-Options", "nosniff");
	if (http_none_match(gate_request(a->conn), PAGES_ETAG)) {
		http_empty(a, 304);
		return;
	}
	a->type = page->type;
	http_body(a, 200, page->p, (size_t)(page->end - page->p), keep, NULL);
}

void pages_openapi(struct ask *a)
{
	static const struct page page = {NULL, NULL, page_openapi, page_openapi_end};

	send_page(a, &page);
}

void pages_docs(struct ask *a)
{
	static const struct page page = {NULL, "text/html; charset=utf-8", page_html,
					 page_html_end};

	http_header(a, "Content-Security-Policy", POLICY);
	http_header(a, "Referrer-Policy", "no-referrer");
	send_page(a, &page);
}

void pages_part(struct ask *a)
{
	static const struct page parts[] = {
		{"docs.js", "text/javascript; charset=utf-8", page_script,
		 page_script_end},
		{"docs.css", "text/css; charset=utf-8", page_style, page_style_end},
	};

	for (size_t i = 0; i < PS_ARRAY_LEN(parts); i++)
		if (strcmp(a->part, parts[i].name) == 0) {
			send_page(a, &parts[i]);
			return;
		}
	http_error(a, 404, "not_found",
		   "There is nothing at this path; /docs shows what there is.");
}

/* prom.c -- see prom.h. */
#include "worker/prom.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "peerscope_"

/* \ and newline, in label values also ", are written with a backslash. */
static void escaped(struct buf *out, const char *s, int in_label)
{
	for (; *s; s++) {
		if (*s == '\n')
			buf_str(out, "\\n");
		else if (*s == '\\' || (*s == '"' && in_label))
			buf_printf(out, "\\%c", *s);
		else
			buf_add(out, s, 1);
	}
}

void prom_init(struct prom *p, struct buf *out)
{
	memset(p, 0, sizeof *p);
	p->out = out;
	p->suffix = "";
}

void prom_family(struct prom *p, const char *name, enum prom_type type, const char *help)
{
	static const char *const types[] = {"gauge", "counter", "histogram"};
	int n = snprintf(p->name, sizeof p->name, PREFIX "%s", name);

	PS_ASSERT(n > 0 && (size_t)n < sizeof p->name && p->labels == 0);
	buf_printf(p->out, "# HELP %s ", p->name);
	escaped(p->out, help, 0);
	buf_printf(p->out, "\n# TYPE %s %s\n", p->name, types[type]);
}

void prom_label(struct prom *p, const char *key, const char *value)
{
	if (p->labels++ == 0)
		buf_printf(p->out, "%s%s{", p->name, p->suffix);
	else
		buf_str(p->out, ",");
	buf_printf(p->out, "%s=\"", key);
	escaped(p->out, value, 1);
	buf_str(p->out, "\"");
}

void prom_label_uint(struct prom *p, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRIu64, value);
	prom_label(p, key, text);
}

static void value(struct prom *p, const char *text)
{
	if (p->labels == 0)
		buf_printf(p->out, "%s%s %s\n", p->name, p->suffix, text);
	else
		buf_printf(p->out, "} %s\n", text);
	p->labels = 0;
}

void prom_uint(struct prom *p, uint64_t v)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRIu64, v);
	value(p, text);
}

/* Without zeros at the end: 0.0005, 2.5, 30. */
static void fixed_text(char text[32], uint64_t v, int decimals)
{
	uint64_t scale = 1;
	size_t n;

	for (int i = 0; i < decimals; i++)
		scale *= 10;
	snprintf(text, 32, "%" PRIu64 ".%0*" PRIu64, v / scale, decimals, v % scale);
	n = strlen(text);
	while (text[n - 1] == '0')
		n--;
	if (text[n - 1] == '.')
		n--;
	text[n] = '\0';
}

void prom_fixed(struct prom *p, uint64_t v, int decimals)
{
	char text[32];

	fixed_text(text, v, decimals);
	value(p, text);
}

void prom_times(struct prom *p, const char *key, const char *val, const uint64_t *bucket,
		const uint32_t *le_us, int n, uint64_t sum_us)
{
	uint64_t count = 0;
	char text[32];

	p->suffix = "_bucket";
	for (int i = 0; i < n; i++) {
		count += bucket[i];
		if (i < n - 1)
			fixed_text(text, le_us[i], 6);
		prom_label(p, key, val);
		prom_label(p, "le", i < n - 1 ? text : "+Inf");
		prom_uint(p, count);
	}
	p->suffix = "_sum";
	prom_label(p, key, val);
	prom_fixed(p, sum_us, 6);
	p->suffix = "_count";
	prom_label(p, key, val);
	prom_uint(p, count);
	p->suffix = "";
}

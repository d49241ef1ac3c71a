/* geonote.c -- see geonote.h. "state built bytes memory", a tab, type, a tab, why. */
#include "shm/geonote.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(NOTE_geo_more6 - NOTE_geo_city == PLACE_DB_MAX - 1, "a note for each");

enum note geonote_of(int database)
{
	PS_ASSERT(database >= 0 && database < PLACE_DB_MAX);
	return (enum note)(NOTE_geo_city + database);
}

void geonote_put(char out[NOTE_SIZE], const struct geo_note *in)
{
	int n = snprintf(out, NOTE_SIZE, "%s %" PRIu64 " %" PRIu64 " %d\t%s\t", in->state,
			 in->built_s, in->bytes, in->in_memory, in->type);

	PS_ASSERT(n > 0 && n < NOTE_SIZE);
	(void)snprintf(out + n, NOTE_SIZE - (size_t)n, "%.*s", NOTE_SIZE - 1 - n,
		       in->err);
}

/* Text up to the first `stop`; where it goes on. NULL: there is no such byte, or no room. */
static const char *word(char *out, size_t size, const char *from, char stop)
{
	const char *end = strchr(from, stop);

	if (!end || (size_t)(end - from) >= size)
		return NULL;
	memcpy(out, from, (size_t)(end - from));
	out[end - from] = '\0';
	return end + 1;
}

int geonote_get(struct geo_note *out, const char *text)
{
	char built[24], bytes[24], memory[4];

	memset(out, 0, sizeof(*out));
	text = word(out->state, sizeof(out->state), text, ' ');
	text = text ? word(built, sizeof(built), text, ' ') : NULL;
	text = text ? word(bytes, sizeof(bytes), text, ' ') : NULL;
	text = text ? word(memory, sizeof(memory), text, '\t') : NULL;
	text = text ? word(out->type, sizeof(out->type), text, '\t') : NULL;
	if (!text)
		return -1;
	out->built_s = strtoull(built, NULL, 10);
	out->bytes = strtoull(bytes, NULL, 10);
	out->in_memory = memory[0] == '1';
	snprintf(out->err, sizeof(out->err), "%s", text);
	return 0;
}

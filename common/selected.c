/* selected.c -- see selected.h. */
#include "common/selected.h"

#include <string.h>

static const char YES[] = SELECTED_YES, NO[] = SELECTED_NO;
#define KEY_LEN (sizeof(SELECTED_KEY) - 1)
#define MARK_LEN (sizeof(YES) - 1)

_Static_assert(sizeof(YES) == sizeof(NO), "one in the other's place");

void selected_begin(struct selected *s, const struct magnet *link)
{
	*s = (struct selected){.link = link};
}

void selected_pass(struct selected *s, char *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		/* The key: only its first quote can begin another one. */
		if (s->at < KEY_LEN) {
			s->at = p[i] == YES[s->at] ? s->at + 1 : p[i] == YES[0];
			continue;
		}
		if (!magnet_wants(s->link, s->index))
			p[i] = NO[s->at];
		if (++s->at == MARK_LEN) {
			s->at = 0;
			s->index++;
		}
	}
}

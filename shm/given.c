/* given.c -- see given.h. */
#include "shm/given.h"

#include <string.h>

const uint8_t *given_write(struct shm_job *job, uint8_t text[GIVEN_TEXT_MAX],
			   const uint8_t *v2, const struct given *g)
{
	uint8_t *at = text;

	if (v2) {
		job->flags |= JOB_F_V2;
		memcpy(at, v2, IH_V2_LEN);
		at += IH_V2_LEN;
	}
	for (uint32_t i = 0; g && i < g->n; i++, at += GIVEN_RECORD) {
		job->flags |= JOB_F_GIVEN;
		memcpy(at, g->peer[i].addr, ADDR_LEN);
		at[ADDR_LEN] = (uint8_t)(g->peer[i].port >> 8);
		at[ADDR_LEN + 1] = (uint8_t)g->peer[i].port;
	}
	job->text_len = (uint16_t)(at - text);
	return at > text ? text : NULL;
}

int given_read(const struct shm_job *job, const uint8_t *text, const uint8_t **v2,
	       struct given *g)
{
	size_t left = job->text_len;

	*v2 = NULL;
	g->n = 0;
	if (job->flags & JOB_F_V2) {
		if (left < IH_V2_LEN)
			return -1;
		*v2 = text;
		text += IH_V2_LEN;
		left -= IH_V2_LEN;
	}
	if (!(job->flags & JOB_F_GIVEN))
		return left == 0 ? 0 : -1;
	if (left == 0 || left % GIVEN_RECORD != 0 || left / GIVEN_RECORD > GIVEN_MAX)
		return -1;
	for (; left; left -= GIVEN_RECORD, text += GIVEN_RECORD) {
		struct given_peer *p = &g->peer[g->n++];

		memcpy(p->addr, text, ADDR_LEN);
		p->port = (uint16_t)(text[ADDR_LEN] << 8 | text[ADDR_LEN + 1]);
	}
	return 0;
}

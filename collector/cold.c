/*
 * cold.c -- whose token a cold question has cost (bucket.h), while the engine or Redis is
 * asked. A token is the price of a join: where none was made, since another node's list was
 * the answer, or the swarm was there already under another id, or there was no room, it
 * comes back.
 */
#include <string.h>

#include "collector/coll.h"

void cold_paid(struct coll *c, const struct shm_job *job)
{
	struct cold *p = c->cold;

	if (c->ncold == COLD_MAX)
		return; /* it is spent, join or not */
	while (p->open)
		p++;
	p->open = 1;
	memcpy(p->id, job->id, IH_LEN);
	memcpy(p->client, job->client, ADDR_LEN);
	c->ncold++;
}

void cold_give(struct coll *c, const uint8_t client[ADDR_LEN])
{
	bucket_give(c->buckets, client, (uint32_t)c->kid.conf.swarm_cold_burst);
	stat_inc(cold_given);
}

void cold_end(struct coll *c, const uint8_t id[IH_LEN], int joined)
{
	for (size_t i = 0; c->ncold > 0 && i < COLD_MAX; i++) {
		struct cold *p = &c->cold[i];

		if (!p->open || memcmp(p->id, id, IH_LEN) != 0)
			continue;
		p->open = 0;
		c->ncold--;
		if (!joined)
			cold_give(c, p->client);
	}
}

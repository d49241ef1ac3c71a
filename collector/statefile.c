/* statefile.c -- see statefile.h. */
#include "collector/statefile.h"

#include <inttypes.h>
#include <string.h>

#include <sodium.h>

static const char MAGIC[8] = "PSSTATE\n";
#define FORMAT 1u
#define AT_N (sizeof(MAGIC) + 4)
#define HEAD_BYTES (sizeof(MAGIC) + 4 + 4 + 8)
#define ITEM_BYTES (4 + IH_LEN)
#define HASH_BYTES 32
#define SKEW_MS 60000 /* a clock that was set back a little is no reason to forget */

static void put(uint8_t *to, uint64_t v, size_t size)
{
	for (size_t i = 0; i < size; i++)
		to[i] = (uint8_t)(v >> 8 * i);
}

static uint64_t get(const uint8_t *from, size_t size)
{
	uint64_t v = 0;

	for (size_t i = 0; i < size; i++)
		v |= (uint64_t)from[i] << 8 * i;
	return v;
}

void statefile_begin(struct buf *b, uint64_t now_ms)
{
	uint8_t head[HEAD_BYTES];

	memcpy(head, MAGIC, sizeof(MAGIC));
	put(head + sizeof(MAGIC), FORMAT, 4);
	put(head + AT_N, 0, 4);
	put(head + AT_N + 4, now_ms, 8);
	buf_reset(b);
	buf_add(b, head, sizeof(head));
}

int statefile_add(struct buf *b, const uint8_t id[IH_LEN], const void *list, size_t len)
{
	uint8_t *n, item[ITEM_BYTES];
	size_t room = b->max - b->len;

	if (b->failed || len > b->max || len + ITEM_BYTES + HASH_BYTES > room ||
	    get((uint8_t *)b->p + AT_N, 4) == STATEFILE_LISTS)
		return -1;
	put(item, len, 4);
	memcpy(item + 4, id, IH_LEN);
	buf_add(b, item, sizeof(item));
	buf_add(b, list, len);
	if (b->failed)
		return -1;
	n = (uint8_t *)b->p + AT_N;
	put(n, get(n, 4) + 1, 4);
	return 0;
}

int statefile_end(struct buf *b)
{
	uint8_t hash[HASH_BYTES];

	if (b->failed)
		return -1;
	crypto_generichash(hash, sizeof(hash), (const uint8_t *)b->p, b->len, NULL, 0);
	buf_add(b, hash, sizeof(hash));
	return b->failed ? -1 : 0;
}

static size_t item(struct statefile *f, size_t *len)
{
	if (f->left == 0 || f->end - f->at < ITEM_BYTES)
		return 0;
	*len = (size_t)get(f->p + f->at, 4);
	return *len <= f->end - f->at - ITEM_BYTES ? ITEM_BYTES + *len : 0;
}

/* Do its lists fill it exactly? */
static int is_whole(struct statefile f)
{
	size_t len, step;

	while (f.left > 0 && (step = item(&f, &len)) != 0) {
		f.at += step;
		f.left--;
	}
	return f.left == 0 && f.at == f.end;
}

int statefile_open(struct statefile *f, const void *p, size_t len, uint64_t now_ms,
		   char err[ERRLEN])
{
	uint8_t hash[HASH_BYTES];

	f->p = p;
	if (len < HEAD_BYTES + HASH_BYTES || memcmp(p, MAGIC, sizeof(MAGIC)) != 0)
		return err_set(err, "it is no file of ours");
	if (get(f->p + sizeof(MAGIC), 4) != FORMAT)
		return err_set(err, "its format is %" PRIu64 ", ours is %u",
			       get(f->p + sizeof(MAGIC), 4), FORMAT);
	f->end = len - HASH_BYTES;
	crypto_generichash(hash, sizeof(hash), p, f->end, NULL, 0);
	if (memcmp(hash, f->p + f->end, sizeof(hash)) != 0)
		return err_set(err, "it is torn, or was changed");
	f->left = (uint32_t)get(f->p + AT_N, 4);
	f->saved_ms = get(f->p + AT_N + 4, 8);
	f->at = HEAD_BYTES;
	if (!is_whole(*f))
		return err_set(err, "its lists don't fill it");
	if (f->saved_ms > now_ms + SKEW_MS)
		return err_set(err, "it is of the future");
	return 0;
}

int statefile_next(struct statefile *f, const uint8_t **id, const void **list,
		   size_t *len)
{
	size_t step = item(f, len);

	if (step == 0)
		return 0;
	*id = f->p + f->at + 4;
	*list = f->p + f->at + ITEM_BYTES;
	f->at += step;
	f->left--;
	return 1;
}

/*
 * fuzz_list.c -- libFuzzer against what comes out of Redis: lists of ours, and JSON; and
 * against the file in which lists wait for the next life.
 *
 * The first byte of an input chooses the reader. What was read must be written as the same
 * bytes' worth again: writing and reading once more gives the same list. FUZZ_SEEDS=DIR
 * writes seeds there and ends.
 */
#include <sodium.h>

#include "collector/listjson.h"
#include "collector/statefile.h"
#include "tests/fuzz/seeds.h"
#include "tests/unit/list_stage.h"

enum { CODE, JSON, FILE_OF, MODES };

static struct listcode once, twice;

/* ---- seeds ---------------------------------------------------------------------- */

static const char SEED_JSON[] =
	"{\"acestream_id\":\"94c2fd8fb9bc8f2fc71a2cbe9d4b866f227a0209\",\"infohash\":"
	"\"94c2fd8fb9bc8f2fc71a2cbe9d4b866f227a0209\",\"peers\":[{\"ip\":\"1.2.3.4\","
	"\"port\":1,\"client\":\"x\",\"progress\":100.0,\"download_rate\":0,"
	"\"upload_rate\":1,\"country\":\"Unknown\",\"country_code\":\"??\",\"city\":\"c\","
	"\"isp\":\"i\",\"region\":\"r\",\"latitude\":40.71,\"longitude\":-74.0,"
	"\"timezone\":\"t\",\"flags\":\"f\",\"state\":\"known\",\"sources\":[\"dht\"],"
	"\"asn\":5,\"geo_source\":\"g\",\"protocol\":\"acestream\"}],\"peer_count\":1,"
	"\"total_peers\":1,\"cached_at\":1705343674.123,\"error\":null,\"phase\":\"dead\"}";

static void write_file_seed(const char *dir, const struct buf *list)
{
	struct buf f;

	buf_init(&f, STATEFILE_MAX);
	statefile_begin(&f, STAGE_NOW_MS);
	for (int i = 0; i < 3; i++)
		PS_ASSERT(statefile_add(&f, STAGE_ID, list->p, list->len) == 0);
	write_seed(dir, "file", FILE_OF, f.p, f.len); /* file() adds the hash */
	buf_free(&f);
}

static void write_seeds(const char *dir)
{
	static struct shm_peer peer[16];
	struct shm_swarm s;
	struct buf b;

	buf_init(&b, LISTCODE_MAX);
	for (uint32_t n = 0; n <= 12; n += 6) {
		char name[16];

		snprintf(name, sizeof(name), "list%u", n);
		stage_list(&s, peer, n);
		buf_reset(&b);
		PS_ASSERT(listcode_write(&b, &s, peer, &STAGE_NAMES) == 0);
		write_seed(dir, name, CODE, b.p, b.len);
	}
	write_seed(dir, "json", JSON, SEED_JSON, sizeof(SEED_JSON) - 1);
	write_file_seed(dir, &b);
	buf_free(&b);
}

/* ---- targets -------------------------------------------------------------------- */

static void text_of(void *arg, uint32_t ref, char out[SHM_STRING_MAX + 1])
{
	size_t len;
	const char *s = listcode_text(arg, ref, &len);

	memcpy(out, s, len);
	out[len] = '\0';
}

static void place_of(void *arg, uint32_t ref, struct place *out)
{
	listcode_place(arg, ref, out);
	PS_ASSERT(listcode_is_country(out->code, strlen(out->code)));
	PS_ASSERT(out->accuracy_km <= LISTCODE_KM_MAX);
}

static void same_text(uint32_t a, uint32_t b)
{
	char x[SHM_STRING_MAX + 1] = "", y[SHM_STRING_MAX + 1] = "";

	if (a)
		text_of(&once, a, x);
	if (b)
		text_of(&twice, b, y);
	PS_ASSERT(strcmp(x, y) == 0);
}

static void same_place(uint32_t a, uint32_t b)
{
	struct place x, y;

	PS_ASSERT((a != 0) == (b != 0));
	if (!a)
		return;
	place_of(&once, a, &x);
	place_of(&twice, b, &y);
	PS_ASSERT(memcmp(&x, &y, sizeof(x)) == 0);
}

static void same(void)
{
	PS_ASSERT(once.s.npeers == twice.s.npeers);
	same_text(once.s.title, twice.s.title);
	same_text(once.s.tracker_said, twice.s.tracker_said);
	for (uint32_t i = 0; i < once.s.npeers; i++) {
		same_text(once.peer[i].client, twice.peer[i].client);
		same_place(once.peer[i].place, twice.peer[i].place);
		once.peer[i].client = twice.peer[i].client;
		once.peer[i].place = twice.peer[i].place;
		PS_ASSERT(memcmp(&once.peer[i], &twice.peer[i],
				 sizeof(struct shm_peer)) == 0);
	}
	once.s.title = twice.s.title;
	once.s.tracker_said = twice.s.tracker_said;
	PS_ASSERT(memcmp(&once.s, &twice.s, sizeof(once.s)) == 0);
}

static void code(const void *p, size_t n)
{
	struct listcode_names names = {text_of, place_of, &once};
	struct buf b;

	if (listcode_read(&once, STAGE_ID, p, n, STAGE_NOW_MS) != 0)
		return;
	buf_init(&b, LISTCODE_MAX);
	PS_ASSERT(listcode_write(&b, &once.s, once.peer, &names) == 0);
	PS_ASSERT(listcode_read(&twice, STAGE_ID, b.p, b.len, STAGE_NOW_MS) == 0);
	same();
	buf_free(&b);
}

static void json(const char *p, size_t n)
{
	struct buf b;

	buf_init(&b, LISTCODE_MAX);
	if (listjson_convert(&b, STAGE_ID, p, n) == 0)
		code(b.p, b.len);
	buf_free(&b);
}

/* Under a hash that is right, or nothing behind it would ever be read. Its lists lie in what
 * was read, and none in another. */
static void file(const uint8_t *p, size_t n)
{
	const uint8_t *id, *last = NULL;
	const void *list;
	struct statefile f;
	char err[ERRLEN];
	struct buf b;
	size_t len;

	(void)(statefile_open(&f, p, n, STAGE_NOW_MS, err) == 0);
	buf_init(&b, STATEFILE_MAX);
	buf_add(&b, p, n);
	if (n && statefile_end(&b) == 0 &&
	    statefile_open(&f, b.p, b.len, STAGE_NOW_MS, err) == 0)
		while (statefile_next(&f, &id, &list, &len)) {
			PS_ASSERT(id > last &&
				  (const uint8_t *)list + len <= (uint8_t *)b.p + n);
			last = (const uint8_t *)list + len - 1;
			code(list, len);
		}
	buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] % MODES == CODE)
		code(data + 1, size - 1);
	else if (data[0] % MODES == FILE_OF)
		file(data + 1, size - 1);
	else
		json((const char *)data + 1, size - 1);
	return 0;
}

/*
 * fuzz_ace.c -- libFuzzer against everything that reads an AceStream peer's bytes.
 *
 * The first byte of an input chooses where the rest goes: a whole connection, one behind
 * its handshake, bencode alone, or one message (id, body). What must hold is asserted in
 * tests/unit/ace_stage.h. Seeds are the messages of contracts/acestream-wire.md 7.2, made
 * here: FUZZ_SEEDS=DIR writes them there and ends.
 *
 * `make fuzz-short` runs it for a minute; longer: build/fuzz/fuzz_ace build/fuzz/ace.corpus
 */
#include "tests/fuzz/seeds.h"
#include "tests/unit/ace_stage.h"

enum { WHOLE, BEHIND_HAND, BENCODE, MESSAGE, MODES };

/* ---- seeds ---------------------------------------------------------------------- */

static void write_message(const char *dir, const char *name, void (*part)(struct bytes *))
{
	static struct bytes b;

	b.n = 0;
	part(&b);
	memmove(b.p, b.p + 4, b.n - 4); /* without its length */
	b.n -= 4;
	write_seed(dir, name, MESSAGE, b.p, b.n);
}

static void put_ext(struct bytes *b)
{
	const struct stage_ext as_is = {0};

	stage_ext(b, &as_is);
}

static void put_idle(struct bytes *b)
{
	const struct stage_ext idle = {.top = STAGE_TOP_IDLE, .mi = STAGE_MI_IDLE};

	stage_ext(b, &idle);
}

static void put_source(struct bytes *b)
{
	const struct stage_ext source = {.mi = STAGE_MI_SOURCE, .end = STAGE_END_SOURCE};

	stage_ext(b, &source);
}

static void write_seeds(const char *dir)
{
	static struct bytes b;
	const struct stage_ext as_is = {0};

	stage_dict(&b, &as_is);
	write_seed(dir, "dict", BENCODE, b.p, b.n);
	b.n = 0;
	stage_messages(&b);
	write_seed(dir, "messages", BEHIND_HAND, b.p, b.n);
	b.n = 0;
	stage_hand(&b);
	stage_messages(&b);
	write_seed(dir, "whole", WHOLE, b.p, b.n);
	write_message(dir, "ext", put_ext);
	write_message(dir, "idle", put_idle);
	write_message(dir, "source-ext", put_source);
	write_message(dir, "field", stage_field);
	write_message(dir, "have", stage_have);
	write_message(dir, "tail", stage_tail);
	write_message(dir, "status", stage_status);
	write_message(dir, "pex", stage_pex);
	write_message(dir, "source", stage_source);
}

/* ---- targets -------------------------------------------------------------------- */

/* Parts of a good value are good values: each, read alone, says so. */
static void walk(struct benc v)
{
	struct benc_span key, last = {NULL, 0};
	struct benc part, again;
	struct benc_iter it;

	PS_ASSERT(benc_type(v) != BENC_NONE);
	PS_ASSERT((benc_type(v) == BENC_STR) == (benc_str(v).p != NULL));
	benc_begin(&it, v);
	while (benc_next(&it, &key, &part)) {
		PS_ASSERT(part.p > v.p && part.p + part.len < v.p + v.len);
		PS_ASSERT(benc_read(&again, part.p, part.len) == BENC_OK);
		PS_ASSERT((key.p != NULL) == (benc_type(v) == BENC_DICT));
		if (last.p && last.len == key.len)
			PS_ASSERT(memcmp(last.p, key.p, key.len) < 0);
		last = key;
		walk(part);
	}
}

static void bencode(const uint8_t *p, size_t n)
{
	struct benc v;

	if (benc_read(&v, p, n) == BENC_OK)
		walk(v);
}

static void message(const uint8_t *p, size_t n)
{
	static struct acewire_told t;
	struct acewire_frame f;

	if (n == 0)
		return;
	acewire_told_begin(&t);
	f = (struct acewire_frame){p[0], p + 1, n - 1};
	for (int i = 0; i < 2; i++)
		PS_ASSERT((acewire_take(&t, &f, &STAGE_SECRET) == AW_CONTENT) ==
			  (p[0] == 7));
	stage_check(&t, NULL);
}

/* However the bytes are cut, they tell the same and end the same. */
static void stream(const uint8_t *p, size_t n)
{
	static struct acewire_told one, two;
	int content_one, content_two;
	enum acewire_step a = stage_run(&one, p, n, 1 + n / 3, &content_one);
	enum acewire_step b = stage_run(&two, p, n, AW_IN_MAX + 1, &content_two);

	PS_ASSERT(a == b && content_one == content_two);
	PS_ASSERT(memcmp(&one, &two, sizeof(one)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bytes b;

	if (size == 0 || size > AW_IN_MAX)
		return 0;
	switch (data[0] % MODES) {
	case BENCODE: bencode(data + 1, size - 1); break;
	case MESSAGE: message(data + 1, size - 1); break;
	case WHOLE: stream(data + 1, size - 1); break;
	case BEHIND_HAND:
		b.n = 0;
		stage_hand(&b);
		stage_add(&b, data + 1, size - 1);
		stream(b.p, b.n);
		break;
	}
	return 0;
}

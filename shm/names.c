/*
 * names.c -- client names and places: each stands once, peers refer to it.
 *
 * Both tables are only appended to, so that what a reference names never changes;
 * when they are full of what nobody refers to any more, a compaction empties and
 * refills them under an odd sequence (ptab.h). A reader takes the sequence before
 * its slot and asks once more after the last text.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/clock.h"
#include "shm/ptab_int.h"

#define STRING_FIRST 8u /* offset 0 is "unknown"; entries are words */
#define ENTRY_MAX ((1 + SHM_STRING_MAX + 7) / 8 * 8)
#define CELLS_PER_PLACE 2
#define BYTES_PER_CELL 16 /* a shorter string costs more map than text */

/* --- readers ----------------------------------------------------------- */

static uint32_t entry_bytes(uint32_t len)
{
	return (1 + len + 7) / 8 * 8;
}

/* Text at ref of a table of `used` bytes; out gets at most size - 1 bytes and a NUL.
 * Returns the length of the text; 0: no such text. */
static uint32_t text_at(const shm_u64 *table, uint32_t used, uint32_t ref, char *out,
			size_t size)
{
	uint8_t entry[ENTRY_MAX];
	uint32_t len;

	out[0] = '\0';
	if (ref < STRING_FIRST || ref % 8 != 0 || ref >= used)
		return 0;
	word_read(entry, table + ref / 8, 1);
	len = entry[0];
	if (len == 0 || used - ref < entry_bytes(len))
		return 0;
	word_read(entry + 8, table + ref / 8 + 1, entry_bytes(len) / 8 - 1);
	if (len > size - 1)
		len = (uint32_t)(size - 1);
	memcpy(out, entry + 1, len);
	out[len] = '\0';
	return len;
}

static uint32_t strings_used(const struct ptab *p)
{
	uint32_t used = seq_read(&p->names->string_used);

	return used <= p->dims.string_bytes ? used : 0;
}

void ptab_client(const struct ptab *p, uint32_t ref, char out[256])
{
	(void)text_at(p->string, strings_used(p), ref, out, SHM_STRING_MAX + 1);
}

void ptab_place(const struct ptab *p, uint32_t index, struct place *out)
{
	uint32_t n = seq_read(&p->names->nplaces), used = strings_used(p);
	struct shm_place raw;

	memset(out, 0, sizeof(*out));
	if (index == 0 || index >= n || index >= p->dims.places)
		return;
	word_read(&raw, p->place + (size_t)index * PLACE_WORDS, PLACE_WORDS);
	(void)text_at(p->string, used, raw.country, out->country, sizeof(out->country));
	(void)text_at(p->string, used, raw.city, out->city, sizeof(out->city));
	(void)text_at(p->string, used, raw.region, out->region, sizeof(out->region));
	(void)text_at(p->string, used, raw.timezone, out->timezone,
		      sizeof(out->timezone));
	(void)text_at(p->string, used, raw.isp, out->isp, sizeof(out->isp));
	(void)text_at(p->string, used, raw.source, out->source, sizeof(out->source));
	memcpy(out->code, raw.code, 2);
	out->has_point = (raw.flags & PLACE_F_HAS_POINT) != 0;
	out->lat_e5 = raw.lat_e5;
	out->lon_e5 = raw.lon_e5;
	out->asn = raw.asn;
	out->accuracy_km = raw.accuracy_km;
}

int ptab_names_valid(const struct ptab *p, uint32_t names_seq)
{
	return (names_seq & 1) == 0 && seq_same(&p->names->seq, names_seq);
}

/* --- the writer's maps ------------------------------------------------- */

static int map_open(struct names_map *m, uint64_t cells)
{
	uint32_t n = 1024;

	while (n < cells && n < (1u << 28))
		n <<= 1;
	m->cell = calloc(n, sizeof(*m->cell));
	m->mask = n - 1;
	m->used = 0;
	return m->cell == NULL ? -1 : 0;
}

static void map_clear(struct names_map *m)
{
	memset(m->cell, 0, ((size_t)m->mask + 1) * sizeof(*m->cell));
	m->used = 0;
}

static int map_full(const struct names_map *m)
{
	return m->used >= m->mask / 4 * 3;
}

/* The cell whose content in the shared table is these words, or the free one where
 * it belongs. There is always a free one: maps are full at three quarters. */
static uint32_t *map_cell(const struct ptab *p, struct names_map *m, const shm_u64 *table,
			  size_t unit_words, const void *entry, size_t bytes)
{
	uint8_t there[ENTRY_MAX];
	uint32_t i = (uint32_t)word_hash(p->seed, entry, bytes) & m->mask;

	for (; m->cell[i] != 0; i = (i + 1) & m->mask) {
		const shm_u64 *at = table + (size_t)m->cell[i] * unit_words;

		word_read(there, at, 1);
		if (memcmp(there, entry, 8) != 0)
			continue;
		word_read(there + 8, at + 1, bytes / 8 - 1);
		if (memcmp(there, entry, bytes) == 0)
			break;
	}
	return &m->cell[i];
}

/* Cells of strings hold the offset in words, cells of places the index. */
static uint32_t *string_cell(struct ptab *p, const uint8_t *entry)
{
	return map_cell(p, &p->w->strings, p->string, 1, entry, entry_bytes(entry[0]));
}

static uint32_t *place_cell(struct ptab *p, const struct shm_place *pl)
{
	return map_cell(p, &p->w->places, p->place, PLACE_WORDS, pl, sizeof(*pl));
}

int names_open(struct ptab *p, char err[ERRLEN])
{
	struct ptab_writer *w = p->w;
	void *old;

	if (map_open(&w->strings, p->dims.string_bytes / BYTES_PER_CELL) != 0 ||
	    map_open(&w->places, (uint64_t)p->dims.places * CELLS_PER_PLACE) != 0)
		return err_set(err, "peer table: out of memory");
	/* Address space only, until a compaction needs it. */
	old = mmap(NULL, seg_len(p->seg, SHM_PLACES), PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (old == MAP_FAILED)
		return err_errno(err, "peer table: mmap");
	w->old = old;
	return 0;
}

void names_close(struct ptab *p)
{
	struct ptab_writer *w = p->w;

	free(w->strings.cell);
	free(w->places.cell);
	if (w->old != NULL)
		munmap(w->old, seg_len(p->seg, SHM_PLACES));
}

/* --- room -------------------------------------------------------------- */

/* Make sure that bytes [0, upto) behind `base` are there; *there says how many are. */
static int names_grow(struct ptab *p, uint64_t base, uint64_t limit, uint32_t *there,
		      uint64_t upto)
{
	uint64_t goal = shm_round_up(upto, SHM_NAMES_STEP);

	if (upto <= *there)
		return 0;
	if (goal > limit)
		goal = limit;
	if (goal < upto || seg_grow(p->seg, SHM_PLACES, base + *there, base + goal) != 0)
		return -1;
	*there = (uint32_t)goal;
	return 0;
}

static int strings_grow(struct ptab *p, uint64_t upto)
{
	return names_grow(p, shm_strings_at(&p->dims), p->dims.string_bytes,
			  &p->w->string_there, upto);
}

static int places_grow(struct ptab *p, uint64_t n)
{
	return names_grow(p, sizeof(struct shm_names),
			  (uint64_t)p->dims.places * sizeof(struct shm_place),
			  &p->w->place_there, n * sizeof(struct shm_place));
}

/* --- interning --------------------------------------------------------- */

uint32_t ptab_string(struct ptab *p, const char *s, size_t len)
{
	uint8_t entry[ENTRY_MAX] = {0};
	uint32_t ref, *cell;

	PS_ASSERT(p->w != NULL);
	if (len == 0)
		return 0;
	if (len > SHM_STRING_MAX)
		len = SHM_STRING_MAX;
	entry[0] = (uint8_t)len;
	memcpy(entry + 1, s, len);
	cell = string_cell(p, entry);
	if (*cell != 0)
		return *cell * 8;
	ref = word_get(&p->names->string_used);
	if (map_full(&p->w->strings) ||
	    strings_grow(p, ref + (uint64_t)entry_bytes(entry[0])) != 0) {
		p->w->names_full = 1;
		return 0;
	}
	word_write(p->string + ref / 8, entry, entry_bytes(entry[0]) / 8);
	atomic_store_explicit(&p->names->string_used, ref + entry_bytes(entry[0]),
			      memory_order_release);
	*cell = ref / 8;
	p->w->strings.used++;
	return ref;
}

static uint32_t intern_place(struct ptab *p, const struct shm_place *pl)
{
	uint32_t n, *cell = place_cell(p, pl);

	if (*cell != 0)
		return *cell;
	n = word_get(&p->names->nplaces);
	if (map_full(&p->w->places) || n >= p->dims.places ||
	    places_grow(p, n + 1ull) != 0) {
		p->w->names_full = 1;
		return 0;
	}
	word_write(p->place + (size_t)n * PLACE_WORDS, pl, PLACE_WORDS);
	atomic_store_explicit(&p->names->nplaces, n + 1, memory_order_release);
	*cell = n;
	p->w->places.used++;
	return n;
}

static uint32_t field(struct ptab *p, const char *s, size_t size, int *lost)
{
	size_t len = strnlen(s, size);
	uint32_t ref = ptab_string(p, s, len);

	*lost |= len > 0 && ref == 0;
	return ref;
}

uint32_t ptab_intern_place(struct ptab *p, const struct place *pl)
{
	struct shm_place raw;
	int lost = 0;

	memset(&raw, 0, sizeof(raw));
	raw.country = field(p, pl->country, sizeof(pl->country), &lost);
	raw.city = field(p, pl->city, sizeof(pl->city), &lost);
	raw.region = field(p, pl->region, sizeof(pl->region), &lost);
	raw.timezone = field(p, pl->timezone, sizeof(pl->timezone), &lost);
	raw.isp = field(p, pl->isp, sizeof(pl->isp), &lost);
	raw.source = field(p, pl->source, sizeof(pl->source), &lost);
	memcpy(raw.code, pl->code, strnlen(pl->code, 2));
	if (pl->has_point) {
		raw.flags = PLACE_F_HAS_POINT;
		raw.lat_e5 = pl->lat_e5;
		raw.lon_e5 = pl->lon_e5;
	}
	raw.asn = pl->asn;
	raw.accuracy_km = pl->accuracy_km;
	return lost ? 0 : intern_place(p, &raw);
}

int ptab_has_country(const struct ptab *p, uint32_t index)
{
	struct shm_place raw;

	if (index == 0 || index >= word_get(&p->names->nplaces))
		return 0;
	word_read(&raw, p->place + (size_t)index * PLACE_WORDS, PLACE_WORDS);
	return raw.country != 0 || raw.code[0] != 0;
}

int ptab_names_full(const struct ptab *p)
{
	const struct ptab_writer *w = p->w;

	PS_ASSERT(w != NULL);
	return w->names_full && (w->compacted_ms == 0 ||
				 clock_ms() - w->compacted_ms >= PTAB_COMPACT_GAP_MS);
}

/* Less than a quarter of one of the tables or maps is left. */
int names_crowded(const struct ptab *p)
{
	const struct ptab_writer *w = p->w;

	return word_get(&p->names->string_used) > p->dims.string_bytes / 4 * 3 ||
	       word_get(&p->names->nplaces) > p->dims.places / 4 * 3 ||
	       w->strings.used > w->strings.mask / 16 * 9 || w->names_full;
}

/* --- takeover ---------------------------------------------------------- */

static void empty(struct ptab *p)
{
	atomic_store_explicit(&p->names->nplaces, 1, memory_order_release);
	atomic_store_explicit(&p->names->string_used, STRING_FIRST, memory_order_release);
	map_clear(&p->w->strings);
	map_clear(&p->w->places);
	p->w->names_full = 0;
}

static int scan_strings(struct ptab *p, uint32_t used)
{
	uint8_t entry[ENTRY_MAX];
	uint32_t at = STRING_FIRST;

	while (at < used) {
		word_read(entry, p->string + at / 8, 1);
		if (entry[0] == 0 || used - at < entry_bytes(entry[0]) ||
		    map_full(&p->w->strings))
			return -1;
		word_read(entry + 8, p->string + at / 8 + 1,
			  entry_bytes(entry[0]) / 8 - 1);
		*string_cell(p, entry) = at / 8;
		p->w->strings.used++;
		at += entry_bytes(entry[0]);
	}
	return at == used ? 0 : -1;
}

static int scan_places(struct ptab *p, uint32_t n)
{
	struct shm_place raw;

	for (uint32_t i = 1; i < n; i++) {
		if (map_full(&p->w->places))
			return -1;
		word_read(&raw, p->place + (size_t)i * PLACE_WORDS, PLACE_WORDS);
		*place_cell(p, &raw) = i;
		p->w->places.used++;
	}
	return 0;
}

/* 1: they were emptied, and the sequence stays odd until the slots are wiped too. */
int names_takeover(struct ptab *p)
{
	uint32_t n = word_get(&p->names->nplaces),
		 used = word_get(&p->names->string_used);
	uint32_t seq = word_get(&p->names->seq);

	if (n == 0 && used == 0 && (seq & 1) == 0) { /* a fresh segment */
		empty(p);
		return 0;
	}
	if ((seq & 1) == 0 && n >= 1 && n <= p->dims.places && used >= STRING_FIRST &&
	    used % 8 == 0 && used <= p->dims.string_bytes && strings_grow(p, used) == 0 &&
	    places_grow(p, n) == 0 && scan_strings(p, used) == 0 &&
	    scan_places(p, n) == 0)
		return 0;
	if ((seq & 1) == 0)
		seq_begin(&p->names->seq);
	word_fence_release();
	empty(p);
	return 1;
}

/* --- compaction -------------------------------------------------------- */

void ptab_compact_begin(struct ptab *p)
{
	struct ptab_writer *w = p->w;
	size_t words;

	PS_ASSERT(w != NULL && (word_get(&p->names->seq) & 1) == 0);
	w->old_places = word_get(&p->names->nplaces);
	w->old_strings = word_get(&p->names->string_used);
	w->compact_version = w->version;
	words = (size_t)w->old_places * PLACE_WORDS;
	word_read(w->old, p->place, words);
	word_read(w->old + (p->string - p->place), p->string, w->old_strings / 8);
	seq_begin(&p->names->seq);
	empty(p);
}

uint32_t ptab_old_client(struct ptab *p, uint32_t old_ref)
{
	char text[SHM_STRING_MAX + 1];
	uint32_t len = text_at(p->w->old + (p->string - p->place), p->w->old_strings,
			       old_ref, text, sizeof(text));

	return ptab_string(p, text, len);
}

uint32_t ptab_old_place(struct ptab *p, uint32_t old_index)
{
	struct shm_place raw;

	if (old_index == 0 || old_index >= p->w->old_places)
		return 0;
	word_read(&raw, p->w->old + (size_t)old_index * PLACE_WORDS, PLACE_WORDS);
	raw.country = ptab_old_client(p, raw.country);
	raw.city = ptab_old_client(p, raw.city);
	raw.region = ptab_old_client(p, raw.region);
	raw.timezone = ptab_old_client(p, raw.timezone);
	raw.isp = ptab_old_client(p, raw.isp);
	raw.source = ptab_old_client(p, raw.source);
	return intern_place(p, &raw);
}

struct refs { /* one word of a peer */
	uint32_t client, place;
};

/* Of peer n of a chain; at is the link to the chunk it lies in. */
static shm_u64 *refs_at(const struct ptab *p, uint32_t at, uint32_t n)
{
	return ptab_chunk_at(p, at - 1) + (n % SHM_CHUNK_PEERS) * PEER_WORDS +
	       PEER_REFS_WORD;
}

/* What the peers of a slot will refer to. 1: something was lost for want of room. */
static int new_refs(struct ptab *p, const struct shm_swarm *s, struct refs *refs)
{
	uint32_t at = s->first_chunk;
	int lost = 0;

	for (uint32_t n = 0; n < s->npeers; n++) {
		struct refs old;

		if (n > 0 && n % SHM_CHUNK_PEERS == 0)
			at = word_get(&p->link[at - 1]);
		word_read(&old, refs_at(p, at, n), 1);
		refs[n].client = ptab_old_client(p, old.client);
		refs[n].place = ptab_old_place(p, old.place);
		lost |= (old.client != 0 && refs[n].client == 0) ||
			(old.place != 0 && refs[n].place == 0);
	}
	return lost;
}

/* In place, under the slot's sequence. The texts stay the same, so the version does
 * too, unless something was lost. */
static void carry_over(struct ptab *p, uint32_t slot, struct shm_swarm *s)
{
	struct refs refs[CONF_SLOT_PEERS];
	uint32_t at = s->first_chunk, titled = s->title;

	s->tracker_said = ptab_old_client(p, s->tracker_said);
	s->title = ptab_old_client(p, titled);
	if (new_refs(p, s, refs) || (titled != 0 && s->title == 0)) {
		s->version = ++p->w->version;
		atomic_store_explicit(&p->pool->version, s->version, WORD_STORE);
	}
	seq_begin(&p->slots[slot].seq);
	word_write(p->slots[slot].swarm, s, SWARM_WORDS);
	for (uint32_t n = 0; n < s->npeers; n++) {
		if (n > 0 && n % SHM_CHUNK_PEERS == 0)
			at = word_get(&p->link[at - 1]);
		word_write(refs_at(p, at, n), &refs[n], 1);
	}
	seq_end(&p->slots[slot].seq);
}

void ptab_compact_end(struct ptab *p)
{
	struct ptab_writer *w = p->w;
	uint32_t slot = w->newest;
	struct shm_swarm s;

	PS_ASSERT(word_get(&p->names->seq) & 1);
	while (slot != PTAB_NIL) {
		uint32_t older = w->older[slot];

		ptab_words(p, slot, &s);
		if (s.version <= w->compact_version) {
			if (names_crowded(p))
				ptab_forget(p, slot);
			else
				carry_over(p, slot, &s);
		}
		slot = older;
	}
	seq_end(&p->names->seq);
	w->compacted_ms = clock_ms();
	madvise(w->old, seg_len(p->seg, SHM_PLACES), MADV_DONTNEED);
}

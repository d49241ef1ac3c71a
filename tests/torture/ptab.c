/*
 * ptab.c -- writer storm on the peer table: one writer, four readers, as threads
 * so that ThreadSanitizer can judge. Every byte of a swarm follows from its version
 * (rig.h), names included, so a torn read shows itself. The writer also drops,
 * evicts and compacts the names, which the section is too small for.
 *
 *   ptab [seconds]               2 by default; fails on one torn read
 *   ptab --sabotage [seconds]    the writer turns the slot's sequence back after each
 *                                put: a reader must notice before the time is over
 *
 * Without arguments both are run, the sabotage as a child.
 */
#include <pthread.h>

#include "rig.h"

#define READERS 4
#define MAX_PEERS 600
#define CLIENTS 97 /* names in use at a time */

static struct seg *master;
static struct ptab *table; /* the writer's */
static struct seg *writer_seg;
static atomic_int stop;
static atomic_int caught; /* a reader saw something wrong */
static int sabotage;

struct reader {
	pthread_t thread;
	uint64_t seed, ok, miss, torn, names_moved, wrong, texts;
	const char *what;
};

/* The name that peer n has in version v: a new family every 64 versions, so that
 * the table of names fills up. */
static size_t client_text(char out[64], uint64_t v, uint32_t n)
{
	return (size_t)snprintf(out, 64, "client %" PRIu64 ".%u padded", v / 64,
				n % CLIENTS);
}

static int texts_wrong(const struct ptab *p, const struct swarm_copy *c, uint64_t *texts)
{
	char want[64], got[256];
	uint64_t checked = 0;
	int wrong = 0;

	for (uint32_t n = 0; n < c->s.npeers; n += 13) {
		struct place at;

		ptab_client(p, c->peer[n].client, got);
		ptab_place(p, c->peer[n].place, &at);
		client_text(want, c->s.cached_at_ms, n);
		if (c->peer[n].client != 0) {
			wrong |= strcmp(got, want) != 0;
			checked++;
		}
		if (c->peer[n].place != 0)
			wrong |= at.asn != c->s.cached_at_ms % 50 + 1 ||
				 strcmp(at.city, "X") != 0;
	}
	if (!ptab_names_valid(p, c->names_seq))
		return -1;
	*texts += checked;
	return wrong;
}

static void complain(struct reader *r, const char *what)
{
	r->what = what;
	r->wrong++;
	atomic_store(&caught, 1);
}

static void read_one(struct reader *r, const struct ptab *p, struct swarm_copy *c)
{
	uint32_t k = (uint32_t)(rig_rand(&r->seed) % RIG_SWARMS);
	uint8_t id[IH_LEN];
	int texts;

	rig_id(id, k);
	switch (ptab_get(p, id, CONF_SLOT_PEERS, c)) {
	case PTAB_MISS: r->miss++; return;
	case PTAB_TORN: r->torn++; return;
	case PTAB_OK: break;
	}
	r->ok++;
	if (rig_wrong(c, k, MAX_PEERS) != NULL) {
		complain(r, rig_wrong(c, k, MAX_PEERS));
		return;
	}
	texts = texts_wrong(p, c, &r->texts);
	if (texts < 0) {
		r->names_moved++;
	} else if (texts > 0) {
		complain(r, "a name or place of another version");
	}
}

static void *reader(void *arg)
{
	struct reader *r = arg;
	struct seg *seg = rig_attach(master, SEG_WORKER);
	struct ptab *p = rig_table(seg, SEG_WORKER);
	struct swarm_copy *c = malloc(sizeof(*c));

	if (c == NULL)
		rig_fail("out of memory");
	while (!atomic_load(&stop))
		read_one(r, p, c);
	free(c);
	ptab_close(&p);
	seg_close(&seg);
	return NULL;
}

static void name_peers(const struct shm_swarm *s, struct shm_peer *peer)
{
	struct place at = {.city = "X",
			   .country = "Y",
			   .asn = (uint32_t)(s->cached_at_ms % 50 + 1)};
	uint32_t place = ptab_intern_place(table, &at), client[CLIENTS];
	char text[64];

	for (uint32_t n = 0; n < CLIENTS; n++)
		client[n] =
			ptab_string(table, text, client_text(text, s->cached_at_ms, n));
	for (uint32_t n = 0; n < s->npeers; n++) {
		peer[n].client = client[n % CLIENTS];
		peer[n].place = place;
	}
}

/* What a forgotten bump of the sequence would look like. */
static void turn_back(uint32_t slot, uint32_t seq)
{
	struct shm_slot *slots = seg_at(writer_seg, SHM_SLOTS);

	atomic_store(&slots[slot].seq, seq);
}

static void put_one(uint32_t k, uint64_t v, struct shm_peer *peer)
{
	const struct shm_slot *slots = seg_at(writer_seg, SHM_SLOTS);
	uint32_t hint = UINT32_MAX, seq = 0;
	struct shm_swarm s, now;
	int known;

	rig_swarm(&s, peer, k, v, MAX_PEERS);
	name_peers(&s, peer);
	known = ptab_peek(table, s.id, &hint, &now) == PTAB_OK;
	if (known)
		seq = seq_read(&slots[hint].seq);
	if (ptab_put(table, &s, peer) != PTAB_PUT)
		rig_fail("no room, though every slot may be evicted");
	if (sabotage && known)
		turn_back(hint, seq);
}

/* Some old swarm again, in another version, between begin and end. */
static void compact(uint64_t *seed, uint64_t *v, struct shm_peer *peer)
{
	ptab_compact_begin(table);
	for (int i = 0; i < 3; i++)
		put_one((uint32_t)(rig_rand(seed) % RIG_SWARMS), ++*v, peer);
	ptab_compact_end(table);
}

struct tally {
	uint64_t puts, drops, compactions;
};

static void write_storm(double seconds, struct tally *t)
{
	uint64_t seed = 42, v = 0, end = clock_ms() + (uint64_t)(seconds * 1000);
	struct shm_peer *peer = calloc(CONF_SLOT_PEERS, sizeof(*peer));
	struct ptab_usage u;
	const char *wrong;

	if (peer == NULL)
		rig_fail("out of memory");
	while (clock_ms() < end && !atomic_load(&caught)) {
		uint32_t k = (uint32_t)(rig_rand(&seed) % RIG_SWARMS);
		uint8_t id[IH_LEN];

		put_one(k, ++v, peer);
		t->puts++;
		ptab_usage(table, &u);
		if (u.string_bytes > 7000 || u.places_used > 60) {
			compact(&seed, &v, peer);
			t->compactions++;
		}
		if (rig_rand(&seed) % 50 == 0) {
			rig_id(id, (uint32_t)(rig_rand(&seed) % RIG_SWARMS));
			ptab_drop(table, id);
			t->drops++;
		}
	}
	wrong = rig_account(table, writer_seg);
	if (wrong != NULL && !sabotage)
		rig_fail(wrong);
	free(peer);
}

static int report(const struct reader *r, const struct tally *t)
{
	uint64_t ok = 0, miss = 0, torn = 0, moved = 0, wrong = 0, texts = 0;
	struct ptab_usage u;

	for (int i = 0; i < READERS; i++) {
		ok += r[i].ok;
		miss += r[i].miss;
		torn += r[i].torn;
		moved += r[i].names_moved;
		wrong += r[i].wrong;
		texts += r[i].texts;
		if (r[i].what != NULL)
			fprintf(stderr, "reader %d: %s\n", i, r[i].what);
	}
	ptab_usage(table, &u);
	printf("ptab%s: %" PRIu64 " puts, %" PRIu64 " drops, %" PRIu64
	       " evictions, %" PRIu64 " compactions; %" PRIu64 " reads whole, %" PRIu64
	       " names checked, %" PRIu64 " misses, %" PRIu64
	       " given up as torn, %" PRIu64 " names moved, %" PRIu64 " WRONG\n",
	       sabotage ? " (sabotage)" : "", t->puts, t->drops, u.evictions,
	       t->compactions, ok, texts, miss, torn, moved, wrong);
	if (wrong > 0)
		return RIG_WRONG;
	if (sabotage)
		return 0;
	if (ok == 0 || texts == 0 || u.evictions == 0 || t->compactions == 0)
		rig_fail("the storm did not reach what it is for");
	return 0;
}

int main(int argc, char **argv)
{
	static struct reader r[READERS];
	struct tally t = {0};
	double seconds = 2;
	char name[64];
	int rc;

	if (argc > 1 && strcmp(argv[1], "--sabotage") == 0)
		sabotage = 1;
	if (argc > 1 + sabotage)
		seconds = strtod(argv[1 + sabotage], NULL);
	if (!sabotage)
		rig_sabotage_is_seen(argv[0]);
	/* fewer slots and chunks than the swarms need: eviction, and quick reuse */
	master = rig_segment(name, RIG_SWARMS - 2, 300);
	seg_unlink(name);
	atomic_store(&seg_head_rw(master)->lease_pid, (uint32_t)getpid());
	writer_seg = rig_attach(master, SEG_COLLECTOR);
	table = rig_table(writer_seg, SEG_COLLECTOR);
	for (int i = 0; i < READERS; i++) {
		r[i].seed = (uint64_t)i + 1;
		if (pthread_create(&r[i].thread, NULL, reader, &r[i]) != 0)
			rig_fail("pthread_create");
	}
	write_storm(seconds, &t);
	atomic_store(&stop, 1);
	for (int i = 0; i < READERS; i++)
		pthread_join(r[i].thread, NULL);
	rc = report(r, &t);
	ptab_close(&table);
	seg_close(&writer_seg);
	seg_close(&master);
	return rc;
}

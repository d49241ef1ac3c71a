/*
 * geo.c -- how fast addresses become places: our whole chain beside plain libmaxminddb.
 *
 *   build/bench/geo CITY.mmdb [FURTHER.mmdb]
 *
 * Both look up the same random IPv4 addresses of which the file knows something, in turns, in
 * one process, in lookups per second of CPU. Plain: MMDB_lookup_sockaddr in the mapped file, and one MMDB_aget_value for
 * each field that it has, at the path where this layout has it; the values are not copied.
 * Ours: geo_lookup, a struct place. A round of 200 peers is geo_lookup and the interning of
 * the place in a segment, for addresses that no round had before.
 *
 * Prints "name value" lines for scripts/bench/run.
 */
#include <maxminddb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "geo/geo.h"
#include "shm/ptab.h"
#include "shm/seg.h"

#define ADDRESSES 100000
#define ROUNDS 9
#define PEERS 200
#define PEER_ROUNDS (ADDRESSES / PEERS)

static uint8_t addr[ADDRESSES][ADDR_LEN];
static uint64_t sink; /* what is read is used, or it might not be read */

static void die(const char *what)
{
	fprintf(stderr, "bench/geo: %s\n", what);
	exit(1);
}

static uint32_t next_random(void)
{
	static uint64_t x = 0x9e3779b97f4a7c15ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 32);
}

/* Of this thread: what else the machine does meanwhile is no part of it. */
static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- plain libmaxminddb -------------------------------------------------------- */

typedef const char *const keys[5];
static keys nested[] = {{"country", "iso_code"},   {"country", "names", "en"},
			{"city", "names", "en"},   {"subdivisions", "0", "names", "en"},
			{"location", "time_zone"}, {"location", "latitude"},
			{"location", "longitude"}, {"location", "accuracy_radius"}};
static keys flat[] = {{"country_code"}, {"city"},     {"state1"},
		      {"timezone"},     {"latitude"}, {"longitude"}};

static MMDB_entry_s plain_find(MMDB_s *db, const uint8_t a[ADDR_LEN])
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	int error = 0;
	MMDB_lookup_result_s r;

	memcpy(&in.sin_addr, a + 12, 4);
	r = MMDB_lookup_sockaddr(db, (const void *)&in, &error);
	if (error != MMDB_SUCCESS || !r.found_entry)
		return (MMDB_entry_s){NULL, 0};
	return r.entry;
}

static int plain_has(MMDB_entry_s *e, keys *path)
{
	MMDB_entry_data_s v;

	if (MMDB_aget_value(e, &v, *path) != MMDB_SUCCESS || !v.has_data)
		return 0;
	sink += v.data_size + v.type;
	return 1;
}

static double plain_per_s(MMDB_s *db, keys *path, size_t npaths)
{
	double began = cpu_s();

	for (size_t i = 0; i < ADDRESSES; i++) {
		MMDB_entry_s e = plain_find(db, addr[i]);

		for (size_t k = 0; e.mmdb && k < npaths; k++)
			plain_has(&e, &path[k]);
	}
	return ADDRESSES / (cpu_s() - began);
}

/* --- ours ---------------------------------------------------------------------- */

static double ours_per_s(const struct geo *g)
{
	double began = cpu_s();
	struct place p;

	for (size_t i = 0; i < ADDRESSES; i++)
		sink += (uint64_t)geo_lookup(g, addr[i], &p) + p.asn;
	return ADDRESSES / (cpu_s() - began);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_size);
	return v[n / 2];
}

/* Milliseconds for the places of PEERS peers, as the collector finds and stores them. */
static void places_of_peers(const struct geo *g)
{
	static const struct shm_dims dims = {.worker_slots = 2,
					     .lane_bytes = 65536,
					     .lane_done = 64,
					     .buckets = 2,
					     .slots = 4,
					     .chunks = 20,
					     .places = 200000,
					     .string_bytes = 16u << 20};
	static double ms[PEER_ROUNDS];
	struct seg *master, *seg;
	struct ptab *p;
	char name[64], err[ERRLEN];
	int leftover;

	snprintf(name, sizeof(name), "/peerscope-bench-%d", (int)getpid());
	if (seg_create(&master, name, &dims, &leftover, err) != 0)
		die(err);
	seg_unlink(name);
	atomic_store(&seg_head_rw(master)->lease_pid, (uint32_t)getpid());
	if (seg_attach(&seg, seg_fd(master), SEG_COLLECTOR, err) != 0 ||
	    ptab_open(&p, seg, SEG_COLLECTOR, err) != 0)
		die(err);
	for (size_t r = 0; r < PEER_ROUNDS; r++) {
		uint64_t began = clock_us();
		struct place place;

		for (size_t i = 0; i < PEERS; i++)
			if (geo_lookup(g, addr[r * PEERS + i], &place))
				sink += ptab_intern_place(p, &place);
		ms[r] = (double)(clock_us() - began) / 1e3;
	}
	printf("peers_ms %.3f\n", median(ms, PEER_ROUNDS));
	printf("peers_worst_ms %.3f\n", ms[PEER_ROUNDS - 1]);
	ptab_close(&p);
	seg_close(&seg);
	seg_close(&master);
}

static void choose_addresses(MMDB_s *db)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	uint64_t tries = 0;

	for (size_t i = 0; i < ADDRESSES;) {
		uint32_t v4 = next_random();

		if (tries++ > 100ull * ADDRESSES)
			die("the file knows next to no IPv4 address");
		memcpy(addr[i], mapped, sizeof(mapped));
		memcpy(addr[i] + 12, &v4, 4);
		i += plain_find(db, addr[i]).mmdb != NULL;
	}
}

int main(int argc, char **argv)
{
	static struct geo_paths paths;
	double plain[ROUNDS], ours[ROUNDS], ratio[ROUNDS];
	struct geo *g;
	MMDB_entry_s e;
	MMDB_s db;
	char err[ERRLEN];
	uint64_t began;
	int is_flat;

	if (argc < 2 || argc > 3 ||
	    MMDB_open(argv[1], MMDB_MODE_MMAP, &db) != MMDB_SUCCESS)
		die("usage: geo CITY.mmdb [FURTHER.mmdb]");
	snprintf(paths.path[0], sizeof(paths.path[0]), "%s", argv[1]);
	snprintf(paths.path[2], sizeof(paths.path[2]), "%s", argc > 2 ? argv[2] : "");
	began = clock_us();
	if (geo_open(&g, &paths, err) != 0)
		die(err);
	printf("open_ms %.0f\n", (double)(clock_us() - began) / 1e3);
	choose_addresses(&db);
	e = plain_find(&db, addr[0]);
	is_flat = plain_has(&e, &flat[0]);
	places_of_peers(g); /* first: nothing of ours has touched these records yet */
	for (int r = 0; r < ROUNDS; r++) {
		plain[r] = is_flat ? plain_per_s(&db, flat, PS_ARRAY_LEN(flat))
				   : plain_per_s(&db, nested, PS_ARRAY_LEN(nested));
		ours[r] = ours_per_s(g);
		ratio[r] = ours[r] / plain[r];
	}
	printf("ratio %.2f\n", median(ratio, ROUNDS));
	printf("ours_per_s %.0f\n", median(ours, ROUNDS));
	printf("plain_per_s %.0f\n", median(plain, ROUNDS));
	geo_close(&g);
	MMDB_close(&db);
	return sink == 0;
}

/*
 * writer.c -- the thread that writes known peers, under ThreadSanitizer: the loop fills, starts,
 * and goes on with everything but what it gave away. Somebody else reads the file all the time:
 * it is whole, and never older than the one before, since it came by its name alone.
 *
 *   writer [seconds]             2 by default; fails on one file that is torn
 *   writer --sabotage [seconds]  the loop changes what it gave away: it must show
 *
 * Without arguments both are run, the sabotage as a child.
 */
#include <pthread.h>

#include "collector/statefile.h"
#include "collector/writer.h"
#include "common/file.h"
#include "rig.h"

#define LISTS 50
#define LIST_BYTES 4000

static char path[64];
static atomic_int stop, caught;
static uint64_t reads;

/* All that is in it follows from when it was written. */
static void fill(struct buf *b, uint64_t version)
{
	uint8_t id[IH_LEN], list[LIST_BYTES];

	memset(id, (int)version, sizeof(id));
	memset(list, (int)version, sizeof(list));
	statefile_begin(b, version);
	for (int i = 0; i < LISTS; i++)
		if (statefile_add(b, id, list, sizeof(list)) != 0)
			rig_fail("no room");
	if (statefile_end(b) != 0)
		rig_fail("no memory");
}

static void *reader(void *arg)
{
	uint64_t newest = 0;

	(void)arg;
	while (!atomic_load(&stop) && !atomic_load(&caught)) {
		char err[ERRLEN], *data = NULL;
		struct statefile f = {.saved_ms = 0};
		size_t len;
		int rc = file_read(path, STATEFILE_MAX, &data, &len, err);

		if (rc == 0)
			continue; /* the first is yet to come */
		if (rc < 0 || statefile_open(&f, data, len, UINT32_MAX, err) != 0 ||
		    f.left != LISTS || f.saved_ms < newest)
			atomic_store(&caught, 1);
		newest = f.saved_ms;
		reads++;
		free(data);
	}
	return NULL;
}

static uint64_t storm(struct writer *w, double seconds, int sabotage)
{
	uint64_t n = 0, until = clock_ms() + (uint64_t)(seconds * 1000);

	while (clock_ms() < until && !atomic_load(&caught)) {
		fill(&w->data, ++n);
		writer_start(w, path);
		if (sabotage)
			w->data.p[w->data.len / 2] ^= 1;
		while (!writer_ended(w, n % 4 == 0))
			;
		if (w->err[0])
			rig_fail(w->err);
	}
	return n;
}

int main(int argc, char **argv)
{
	int sabotage = argc > 1 && strcmp(argv[1], "--sabotage") == 0;
	double seconds = argc > 1 + sabotage ? strtod(argv[1 + sabotage], NULL) : 2;
	struct writer w;
	pthread_t thread;
	uint64_t n;

	if (!sabotage)
		rig_sabotage_is_seen(argv[0]);
	snprintf(path, sizeof(path), "/dev/shm/peerscope-torture-%d", (int)getpid());
	writer_open(&w, STATEFILE_MAX);
	if (pthread_create(&thread, NULL, reader, NULL) != 0)
		rig_fail("pthread_create");
	n = storm(&w, seconds, sabotage);
	atomic_store(&stop, 1);
	pthread_join(thread, NULL);
	writer_close(&w);
	unlink(path);
	printf("writer: %" PRIu64 " files, read %" PRIu64 " times\n", n, reads);
	if (atomic_load(&caught)) {
		fprintf(stderr, "a file is torn, or older than one before\n");
		return sabotage ? RIG_WRONG : 1;
	}
	return n > 2 && reads > 2 ? 0 : 1;
}

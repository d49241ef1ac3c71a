/* test_geo_watch.c -- geo/watch.c against files that come, change and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>

#include "common/clock.h"
#include "geo/watch.h"
#include "tests/unit/geo_stage.h"

#define LONG_MS 10000 /* more than a look, also under sanitizers */

struct stage {
	struct geo_watch *w;
	struct geo *set;
	struct watch_report r;
	struct geo_paths paths;
	int bell;
	unsigned opened, refused, missing, put_off; /* of the City file, so far */
	unsigned all;                               /* opened, of all files */
};

static struct stage *begin(uint64_t look_ms)
{
	static struct stage s;
	char err[ERRLEN];

	memset(&s, 0, sizeof(s));
	s.bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(watch_open(&s.w, s.bell, look_ms, err), 0);
	return &s;
}

static void end(struct stage *s)
{
	watch_close(&s->w);
	assert_null(s->w);
	close(s->bell);
}

static void look(struct stage *s, int i, const char *path)
{
	char err[ERRLEN];

	snprintf(s->paths.path[i], sizeof(s->paths.path[i]), "%s", path);
	assert_int_equal(watch_look(s->w, &s->paths, err), 0);
}

static int take(struct stage *s)
{
	uint64_t rings;
	int rc;

	(void)!read(s->bell, &rings, sizeof(rings));
	rc = watch_take(s->w, &s->set, &s->r);
	if (rc == 0)
		return 0;
	s->opened += s->r.file[0].opened;
	s->refused += s->r.file[0].refused;
	s->missing += s->r.file[0].missing;
	s->put_off += s->r.file[0].put_off;
	for (int i = 0; i < GEO_FILES_MAX; i++)
		s->all += s->r.file[i].opened;
	return rc;
}

/* Until the City file is in this state and this many were opened and refused. */
static void until(struct stage *s, enum watch_state state, unsigned opened,
		  unsigned refused)
{
	uint64_t give_up = clock_ms() + LONG_MS;

	do {
		struct pollfd p = {.fd = s->bell, .events = POLLIN};

		take(s);
		if (s->r.file[0].state == state && s->opened == opened &&
		    s->refused == refused)
			return;
		(void)!poll(&p, 1, 100);
	} while (clock_ms() < give_up);
	fail_msg("state %d, opened %u, refused %u: %s", s->r.file[0].state, s->opened,
		 s->refused, s->r.file[0].err);
}

static const char *city_of(const struct stage *s, const char *address)
{
	static struct place p;
	uint8_t a[ADDR_LEN];

	assert_int_equal(addr_parse(a, address), 0);
	return s->set && geo_lookup(s->set, a, &p) ? p.city : "";
}

static void copy(const char *to, const char *from)
{
	static uint8_t data[8192];

	write_file(to, data, read_file(from, data, sizeof(data)));
}

/* By renaming, as geoipupdate does. */
static void replace(const char *to, const char *from)
{
	copy(file("fresh.tmp"), from);
	assert_int_equal(rename(file("fresh.tmp"), to), 0);
}

static void test_replaced_by_renaming(void **state)
{
	struct stage *s = begin(20);

	(void)state;
	copy(file("live.mmdb"), file("city.mmdb"));
	look(s, 0, file("live.mmdb"));
	until(s, WATCH_GOOD, 1, 0);
	assert_string_equal(city_of(s, "127.0.0.1"), "New York");
	assert_string_equal(s->r.file[0].info.type, "GeoLite2-City");
	replace(file("live.mmdb"), file("other.mmdb")); /* nobody says so */
	until(s, WATCH_GOOD, 2, 0);
	assert_string_equal(city_of(s, "127.0.0.1"), "Boston");
	look(s, 0, file("live.mmdb")); /* a HUP, and nothing is new */
	while (take(s) == 0)
		;
	assert_int_equal(s->opened, 2);
	end(s);
}

static void test_damaged_and_gone_change_nothing(void **state)
{
	struct stage *s = begin(20);

	(void)state;
	copy(file("live.mmdb"), file("city.mmdb"));
	look(s, 0, file("live.mmdb"));
	until(s, WATCH_GOOD, 1, 0);
	replace(file("live.mmdb"), file("none.mmdb-"));
	until(s, WATCH_REFUSED, 1, 1);
	assert_non_null(strstr(s->r.file[0].err, "holds no places"));
	assert_int_equal(s->r.file[0].open, 1);
	assert_string_equal(city_of(s, "127.0.0.1"), "New York");
	unlink(file("live.mmdb"));
	until(s, WATCH_MISSING, 1, 1);
	assert_non_null(strstr(s->r.file[0].err, "No such file"));
	assert_int_equal(s->missing, 1);
	assert_string_equal(city_of(s, "127.1.0.1"), "Berlin");
	copy(file("live.mmdb"), file("other.mmdb"));
	until(s, WATCH_GOOD, 2, 1);
	assert_string_equal(city_of(s, "127.1.0.1"), "Hamburg");
	end(s);
}

static void test_refused_once_and_again_when_told_to(void **state)
{
	struct stage *s = begin(20);

	(void)state;
	write_file(file("live.mmdb"), "not one", 7);
	look(s, 0, file("live.mmdb"));
	until(s, WATCH_REFUSED, 0, 1);
	look(s, 1,
	     file("asn.mmdb")); /* this kick tries it again, no look by itself does */
	until(s, WATCH_REFUSED, 0, 2);
	assert_int_equal(s->r.file[1].state, WATCH_GOOD);
	copy(file("late.mmdb"), file("asn.mmdb"));
	look(s, 0, file("city.mmdb"));
	until(s, WATCH_GOOD, 1, 2);
	assert_string_equal(city_of(s, "127.0.0.1"), "New York");
	end(s);
}

/* The copy is ours: cutting and overwriting the file that was read is felt by nobody. */
static void test_rewritten_in_place(void **state)
{
	static uint8_t data[8192];
	struct stage *s = begin(400);
	size_t len = read_file(file("other.mmdb"), data, sizeof(data));
	int fd;

	(void)state;
	copy(file("live.mmdb"), file("city.mmdb"));
	look(s, 0, file("live.mmdb"));
	until(s, WATCH_GOOD, 1, 0);
	fd = open(file("live.mmdb"), O_WRONLY | O_TRUNC); /* same inode, empty */
	assert_true(fd >= 0);
	assert_string_equal(city_of(s, "127.0.0.1"), "New York");
	assert_true(write(fd, data, len / 2) == (ssize_t)(len / 2));
	assert_string_equal(city_of(s, "127.1.0.1"), "Berlin");
	until(s, WATCH_WRITING, 1, 0);
	assert_true(write(fd, data + len / 2, len - len / 2) == (ssize_t)(len - len / 2));
	close(fd);
	until(s, WATCH_GOOD, 2, 0);
	assert_string_equal(city_of(s, "127.0.0.1"), "Boston");
	end(s);
}

/* Same file, same size: its times say so. A HUP does not wait until it stands still. */
static void test_same_size_in_place(void **state)
{
	static uint8_t data[8192];
	struct stage *s = begin(20);
	size_t len = read_file(file("city.mmdb"), data, sizeof(data));
	uint8_t *berlin = memmem(data, len,
				 "\x46"
				 "Berlin",
				 7);
	FILE *f;

	(void)state;
	assert_non_null(berlin);
	copy(file("live.mmdb"), file("city.mmdb"));
	look(s, 0, file("live.mmdb"));
	until(s, WATCH_GOOD, 1, 0);
	for (unsigned i = 2; i <= 3; i++) {
		memcpy(berlin + 1, i == 2 ? "Bremen" : "Lauter", 6);
		f = fopen(file("live.mmdb"), "r+b");
		assert_non_null(f);
		assert_int_equal(fwrite(data, 1, len, f), len);
		assert_int_equal(fclose(f), 0);
		if (i == 3)
			look(s, 0, file("live.mmdb"));
		until(s, WATCH_GOOD, i, 0);
		assert_string_equal(city_of(s, "127.1.0.1"),
				    i == 2 ? "Bremen" : "Lauter");
	}
	end(s);
}

static void test_another_path(void **state)
{
	struct stage *s = begin(20);

	(void)state;
	look(s, 0, file("city.mmdb"));
	until(s, WATCH_GOOD, 1, 0);
	look(s, 0, "/nonexistent/city.mmdb"); /* the one before stays */
	until(s, WATCH_MISSING, 1, 0);
	assert_string_equal(city_of(s, "127.0.0.1"), "New York");
	look(s, 0, file("other.mmdb"));
	until(s, WATCH_GOOD, 2, 0);
	assert_string_equal(city_of(s, "127.0.0.1"), "Boston");
	look(s, 0, ""); /* none is wanted */
	until(s, WATCH_NONE, 2, 0);
	assert_string_equal(city_of(s, "127.0.0.1"), "");
	assert_int_equal(s->r.file[0].open, 0);
	end(s);
}

static int descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int mappings_of_copies(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];
	int n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, "(deleted)") != NULL && strstr(line, "r--s") != NULL;
	fclose(f);
	return n;
}

/* However often they change: the former ones are closed, whether they were taken or not. */
static void test_nothing_is_left_behind(void **state)
{
	struct stage *s = begin(20);
	int fds = descriptors(), maps = mappings_of_copies();

	(void)state;
	look(s, 1, file("asn.mmdb"));
	for (unsigned i = 1; i <= 30; i++) {
		replace(file("live.mmdb"), file(i % 2 ? "city.mmdb" : "other.mmdb"));
		look(s, 0, file("live.mmdb"));
		while (i % 3 == 0 && strcmp(city_of(s, "127.0.0.1"),
					    i % 2 ? "New York" : "Boston") != 0)
			take(s);
	}
	for (uint64_t t = clock_ms();
	     s->r.file[0].state != WATCH_GOOD || mappings_of_copies() > maps + 2; take(s))
		assert_true(clock_ms() < t + LONG_MS);
	assert_int_equal(descriptors(), fds);
	end(s);
	assert_int_equal(mappings_of_copies(), maps);
}

/* All paths at once, as a reload gives them; until they were tried. */
static void reload(struct stage *s, const char *const paths[GEO_FILES_MAX])
{
	uint64_t give_up = clock_ms() + LONG_MS;

	for (int i = 1; i < GEO_FILES_MAX; i++)
		snprintf(s->paths.path[i], sizeof(s->paths.path[i]), "%s",
			 paths[i] ? paths[i] : "");
	look(s, 0, paths[0] ? paths[0] : "");
	s->r.settled = 0;
	while (take(s) == 0 || !s->r.settled)
		assert_true(clock_ms() < give_up);
	for (int i = 0; i < GEO_FILES_MAX; i++)
		assert_string_equal(s->r.paths.path[i], s->paths.path[i]);
}

static void place_of(const struct stage *s, const char *city, const char *isp,
		     const char *source)
{
	struct place p = {0};
	uint8_t a[ADDR_LEN];

	assert_int_equal(addr_parse(a, "127.1.0.1"), 0);
	assert_int_equal(geo_lookup(s->set, a, &p), source[0] != '\0');
	assert_string_equal(p.city, city);
	assert_string_equal(p.isp, isp);
	assert_string_equal(p.source, source);
}

/* A list that is put in another order, grows or shrinks: who stays is not read again. */
static void test_known_by_its_path(void **state)
{
	struct stage *s = begin(LONG_MS);
	char city[320], asn[320], far[320];
	int maps = mappings_of_copies();

	(void)state;
	snprintf(city, sizeof(city), "%s", file("city.mmdb"));
	snprintf(asn, sizeof(asn), "%s", file("asn.mmdb"));
	snprintf(far, sizeof(far), "%s", file("far.mmdb"));
	reload(s, (const char *[8]){city, [2] = "/nosuch", asn});
	place_of(s, "Berlin", "Beispiel Netz GmbH", "mmdb:city");
	assert_int_equal(s->r.file[2].state, WATCH_MISSING);
	assert_int_equal(s->all, 2);
	reload(s, (const char *[8]){city, [2] = asn}); /* the missing one is taken out */
	assert_int_equal(s->r.file[2].state, WATCH_GOOD);
	assert_string_equal(s->r.file[2].info.type, "GeoLite2-ASN");
	assert_int_equal(s->r.file[3].state, WATCH_NONE);
	assert_int_equal(s->r.file[3].open, 0);
	reload(s, (const char *[8]){[2] = asn, city, "/nosuch"}); /* another order */
	place_of(s, "Berlin", "Beispiel Netz GmbH", "mmdb:more1");
	assert_string_equal(s->r.file[3].info.type, "GeoLite2-City");
	assert_int_equal(s->all, 2);
	reload(s, (const char *[8]){far, [2] = asn, city}); /* one more, asked first */
	place_of(s, "Lyon", "Lyon Net", "mmdb:city");
	assert_int_equal(s->all, 3);
	reload(s, (const char *[8]){asn}); /* nothing stays of those that are out */
	place_of(s, "", "Beispiel Netz GmbH", "mmdb:city");
	assert_int_equal(s->all, 3);
	reload(s, (const char *[8]){NULL});
	place_of(s, "", "", "");
	for (uint64_t t = clock_ms(); mappings_of_copies() > maps; take(s))
		assert_true(clock_ms() < t + LONG_MS);
	end(s);
}

/* A file that takes the place of another one is waited for with that; not so one that was
 * only moved. */
static void test_which_one_stands_in(void **state)
{
	struct stage *s = begin(LONG_MS);
	char city[320], asn[320];

	(void)state;
	snprintf(city, sizeof(city), "%s", file("city.mmdb"));
	snprintf(asn, sizeof(asn), "%s", file("asn.mmdb"));
	reload(s, (const char *[8]){city, asn});
	reload(s, (const char *[8]){"/nosuch", asn});
	place_of(s, "Berlin", "Beispiel Netz GmbH", "mmdb:city");
	assert_int_equal(s->r.file[0].state, WATCH_MISSING);
	assert_int_equal(s->r.file[0].open, 1);
	reload(s, (const char *[8]){asn, "/nosuch"});
	place_of(s, "", "Beispiel Netz GmbH", "mmdb:city");
	assert_int_equal(s->r.file[1].open, 0);
	assert_int_equal(s->all, 2);
	end(s);
}

static void test_named_twice(void **state)
{
	struct stage *s = begin(LONG_MS);
	char city[320];
	int maps = mappings_of_copies();

	(void)state;
	snprintf(city, sizeof(city), "%s", file("city.mmdb"));
	reload(s, (const char *[8]){[2] = city});
	reload(s, (const char *[8]){[2] = city, city});
	reload(s, (const char *[8]){city, city, city});
	place_of(s, "Berlin", "", "mmdb:city");
	reload(s, (const char *[8]){[4] = city});
	place_of(s, "Berlin", "", "mmdb:more3");
	reload(s, (const char *[8]){NULL});
	for (uint64_t t = clock_ms(); mappings_of_copies() > maps; take(s))
		assert_true(clock_ms() < t + LONG_MS);
	end(s);
}

#define BELL_FULL (UINT64_MAX - 1)

/* Nobody can ring a bell that is full. The thread stands still where it rings first, which is
 * before the work, and what it said by then can be read. */
static void look_held(struct stage *s, const char *path)
{
	uint64_t full = BELL_FULL, give_up = clock_ms() + LONG_MS;

	assert_int_equal(write(s->bell, &full, 8), 8);
	look(s, 0, path);
	while (watch_take(s->w, &s->set, &s->r) == 0)
		assert_true(clock_ms() < give_up);
}

/* It rings twice for a file: before, and when it is done. */
static void let_go(struct stage *s)
{
	uint64_t n, rings = 0;

	assert_int_equal(read(s->bell, &n, 8), 8);
	assert_true(n == BELL_FULL);
	for (; rings < 2; rings += n)
		assert_int_equal(read(s->bell, &n, 8), 8);
	assert_int_equal(watch_take(s->w, &s->set, &s->r), 2);
}

static void test_verifying_is_said_first(void **state)
{
	struct stage *s = begin(LONG_MS);
	char err[ERRLEN];

	(void)state;
	watch_close(&s->w);
	close(s->bell);
	s->bell = eventfd(0, EFD_CLOEXEC); /* whoever rings it waits */
	assert_int_equal(watch_open(&s->w, s->bell, 100 * LONG_MS, err), 0);
	snprintf(s->paths.path[1], sizeof(s->paths.path[1]), "/nosuch");
	look_held(s, file("city.mmdb"));
	assert_int_equal(s->r.file[0].state, WATCH_VERIFYING);
	assert_int_equal(s->r.file[0].open, 0);
	assert_int_equal(s->r.file[1].state, WATCH_MISSING);
	assert_int_equal(s->r.settled, 0);
	assert_null(s->set);
	let_go(s);
	assert_int_equal(s->r.file[0].state, WATCH_GOOD);
	assert_int_equal(s->r.settled, 1);
	/* One that is in use is asked meanwhile. */
	look_held(s, file("other.mmdb"));
	assert_int_equal(s->r.file[0].state, WATCH_VERIFYING);
	assert_int_equal(s->r.file[0].open, 1);
	assert_int_equal(s->r.settled, 0);
	assert_string_equal(city_of(s, "127.1.0.1"), "Berlin");
	let_go(s);
	assert_string_equal(city_of(s, "127.1.0.1"), "Hamburg");
	assert_int_equal(s->r.settled, 1);
	end(s);
}

/* No file may be as long as a copy: the disk is full, and memory too. */
static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_no_room_is_tried_again(void **state)
{
	struct stage *s = begin(20);
	struct geo_file *f = NULL;
	struct file_id id;
	char err[ERRLEN] = "";
	uint64_t began;

	(void)state;
	assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	limit_files(1000);
	assert_int_equal(file_open(&f, file("city.mmdb"), &id, NULL, err), FILE_LATER);
	assert_string_equal(err, "no room for a copy of it: File too large");
	began = clock_ms();
	look(s, 0, file("city.mmdb"));
	while (s->put_off < 3) {
		take(s);
		assert_true(clock_ms() < began + LONG_MS);
	}
	assert_true(clock_ms() >= began + 100); /* 40 and 80 ms, not each look */
	assert_int_equal(s->r.file[0].state, WATCH_REFUSED);
	assert_string_equal(
		s->r.file[0].err,
		"no room for a copy of it: File too large; it is tried again");
	assert_int_equal(s->refused, 0);
	limit_files(RLIM_INFINITY);
	until(s, WATCH_GOOD, 1, 0); /* the file is what it was */
	assert_string_equal(city_of(s, "127.0.0.1"), "New York");
	end(s);
}

static void test_without_a_disk_for_the_copy(void **state)
{
	struct file_info info;
	struct file_id id;
	struct geo_file *f = NULL;
	char err[ERRLEN] = "";
	struct place p;
	uint8_t a[ADDR_LEN];

	(void)state;
	assert_int_equal(setenv("TMPDIR", "/dev/shm", 1),
			 0); /* memory as well: not taken */
	assert_int_equal(file_open(&f, file("city.mmdb"), &id, NULL, err), 0);
	assert_int_equal(unsetenv("TMPDIR"), 0);
	file_info(f, &info);
	assert_int_equal(info.in_memory, 1);
	assert_true(info.bytes > 1000 && id.size == (off_t)info.bytes);
	memset(&p, 0, sizeof(p));
	assert_int_equal(addr_parse(a, "127.1.0.1"), 0);
	assert_int_equal(file_lookup(f, a, &p), 1);
	assert_string_equal(p.city, "Berlin");
	file_close(&f);
}

static void test_leaving_while_it_reads(void **state)
{
	static const atomic_int leave = 1;
	struct file_id id;
	struct geo_file *f = NULL;
	char err[ERRLEN] = "";

	(void)state;
	assert_int_equal(file_open(&f, file("city.mmdb"), &id, &leave, err), -1);
	assert_non_null(strstr(err, "leaving"));
	assert_null(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replaced_by_renaming),
		cmocka_unit_test(test_damaged_and_gone_change_nothing),
		cmocka_unit_test(test_refused_once_and_again_when_told_to),
		cmocka_unit_test(test_rewritten_in_place),
		cmocka_unit_test(test_same_size_in_place),
		cmocka_unit_test(test_another_path),
		cmocka_unit_test(test_nothing_is_left_behind),
		cmocka_unit_test(test_known_by_its_path),
		cmocka_unit_test(test_which_one_stands_in),
		cmocka_unit_test(test_named_twice),
		cmocka_unit_test(test_verifying_is_said_first),
		cmocka_unit_test(test_no_room_is_tried_again),
		cmocka_unit_test(test_without_a_disk_for_the_copy),
		cmocka_unit_test(test_leaving_while_it_reads),
	};

	return cmocka_run_group_tests_name("geo_watch", tests, make_files, remove_files);
}

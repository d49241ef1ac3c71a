/* test_geo_watch.c -- geo/watch.c against files that come, change and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
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
	unsigned opened, refused, missing; /* of the City file, so far */
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
	assert_int_equal(s->r.file[0].state, WATCH_GOOD);
	for (uint64_t t = clock_ms(); mappings_of_copies() > maps + 2; take(s))
		assert_true(clock_ms() < t + LONG_MS);
	assert_int_equal(descriptors(), fds);
	end(s);
	assert_int_equal(mappings_of_copies(), maps);
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
		cmocka_unit_test(test_another_path),
		cmocka_unit_test(test_nothing_is_left_behind),
		cmocka_unit_test(test_without_a_disk_for_the_copy),
		cmocka_unit_test(test_leaving_while_it_reads),
	};

	return cmocka_run_group_tests_name("geo_watch", tests, make_files, remove_files);
}

/* selfpage.c -- see selfpage.h. */
#include "shm/selfpage.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"

#define FDS_COUNT_MS 10000 /* between two counts of thousands of names */

static uint64_t read_rss(void)
{
	char text[128];
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
	const char *second;

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0'; /* "size resident shared ...", in pages */
	second = strchr(text, ' ');
	return second ? strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static uint64_t read_cpu_ms(void)
{
	struct rusage r;

	if (getrusage(RUSAGE_SELF, &r) != 0)
		return 0;
	return (uint64_t)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000 +
	       (uint64_t)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1000;
}

static uint32_t count_names(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	uint32_t n = 0;

	if (!d)
		return 0;
	while ((e = readdir(d)) != NULL)
		n += e->d_name[0] != '.';
	closedir(d);
	return n > 0 ? n - 1 : 0; /* without the one that we look through */
}

/* Since Linux 6.2 the directory's size says how many it names. */
static void write_fds(struct shm_page *page)
{
	static uint64_t counted_ms;
	struct stat st;
	uint64_t now = clock_ms();

	if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0) {
		atomic_store_explicit(&page->fds, (uint32_t)st.st_size,
				      memory_order_relaxed);
	} else if (counted_ms == 0 || now - counted_ms >= FDS_COUNT_MS) {
		counted_ms = now;
		atomic_store_explicit(&page->fds, count_names(), memory_order_relaxed);
	}
}

void selfpage_write(struct shm_page *page)
{
	struct rlimit r;

	atomic_store_explicit(&page->rss_bytes, read_rss(), memory_order_relaxed);
	atomic_store_explicit(&page->cpu_ms, read_cpu_ms(), memory_order_relaxed);
	write_fds(page);
	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < UINT32_MAX)
		atomic_store_explicit(&page->max_fds, (uint32_t)r.rlim_cur,
				      memory_order_relaxed);
}

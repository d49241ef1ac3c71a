/*
 * steady.h -- a clock that stands still while this program does not run.
 *
 * Included by a unit test that has both sides of a conversation on one event loop. A busy
 * machine may keep it from the CPU for longer than any of its limits; then the limit has passed
 * before the other side had a chance, and the test is about the machine. These two are found
 * before the C library's, by libevent too: between two looks at the monotonic clock no more
 * than STEADY_MS pass, and no wait is longer than half of that (libevent waits again).
 */
#ifndef PEERSCOPE_TESTS_UNIT_STEADY_H
#define PEERSCOPE_TESTS_UNIT_STEADY_H

#include <stdint.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define STEADY_MS 20
#define STEADY_NS 1000000000ull

int clock_gettime(clockid_t id, struct timespec *ts)
{
	static uint64_t last_ns, now_ns;
	const uint64_t most_ns = STEADY_MS * 1000000ull;
	uint64_t real_ns, passed_ns;

	if (id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE)
		return (int)syscall(SYS_clock_gettime, id, ts);
	if (syscall(SYS_clock_gettime, CLOCK_MONOTONIC, ts) != 0)
		return -1;
	real_ns = (uint64_t)ts->tv_sec * STEADY_NS + (uint64_t)ts->tv_nsec;
	if (last_ns == 0)
		now_ns = last_ns = real_ns;
	passed_ns = real_ns - last_ns;
	now_ns += passed_ns < most_ns ? passed_ns : most_ns;
	last_ns = real_ns;
	ts->tv_sec = (time_t)(now_ns / STEADY_NS);
	ts->tv_nsec = (long)(now_ns % STEADY_NS);
	return 0;
}

int epoll_wait(int fd, struct epoll_event *events, int n, int ms)
{
	if (ms < 0 || ms > STEADY_MS / 2)
		ms = STEADY_MS / 2;
	return (int)syscall(SYS_epoll_pwait, fd, events, n, ms, NULL, 0);
}

#endif

/*
 * bind6.c -- this process's bind(2), for the sake of libtorrent: IPv6 through a device.
 *
 * libtorrent 2.0 binds an outgoing TCP socket to swarm.interface and then to "any", which
 * it writes as 0.0.0.0 for IPv6 sockets, too (enum_net.hpp, bind_socket_to_device). The
 * kernel refuses that, so no IPv6 peer could be dialled through a named device. There is
 * no setting that avoids it: an address instead of a name would not choose the device.
 *
 * And Linux gives up a socket that we have closed as soon as the other end's system has
 * acknowledged that. A remnant of it answers when the other end closes, too. Over IPv6
 * that remnant knows the device, but only as a wish: the acknowledgement leaves by the
 * best route, as does a reset if data comes instead. With a longer TCP_LINGER2 than the
 * remnant would live (60 s) the socket itself stays for the difference, and keeps to its
 * device. An accepted socket has it from the one that listens.
 *
 * A program's own definition comes before the C library's, for the libraries that it
 * loads as well. Only these two cases are changed.
 * Proof: tests/e2e/test_leak.py.
 */
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "collector/bind6.h"

#define LINGER_S 120 /* the most that Linux takes (since 5.8): 60 s as a whole socket */

static int is_any_v4(const struct sockaddr *addr, socklen_t len, in_port_t *port)
{
	struct sockaddr_in v4;

	if (!addr || len < sizeof(v4) || addr->sa_family != AF_INET)
		return 0;
	memcpy(&v4, addr, sizeof(v4));
	*port = v4.sin_port;
	return v4.sin_addr.s_addr == htonl(INADDR_ANY);
}

static int is_v6_socket(int fd)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
	       domain == AF_INET6;
}

/* UDP has no such option, and no end to keep. */
void bind6_keep_end(int fd)
{
	char name[IF_NAMESIZE];
	socklen_t len = sizeof(name);
	int was = errno, s = LINGER_S;

	if (is_v6_socket(fd) &&
	    getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len) == 0 && len > 0)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_LINGER2, &s, sizeof(s));
	errno = was;
}

int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6,
				   .sin6_addr = IN6ADDR_ANY_INIT};

	bind6_keep_end(fd);
	if (!is_any_v4(addr, len, &any.sin6_port) || !is_v6_socket(fd))
		return (int)syscall(SYS_bind, fd, addr, len);
	return (int)syscall(SYS_bind, fd, &any, sizeof(any));
}

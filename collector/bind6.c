/*
 * bind6.c -- this process's bind(2), for the sake of libtorrent.
 *
 * libtorrent 2.0 binds an outgoing TCP socket to swarm.interface and then to "any", which
 * it writes as 0.0.0.0 for IPv6 sockets, too (enum_net.hpp, bind_socket_to_device). The
 * kernel refuses that, so no IPv6 peer could be dialled through a named device. There is
 * no setting that avoids it: an address instead of a name would not choose the device.
 * A program's own definition comes before the C library's, for the libraries that it
 * loads as well. Only this one case, which could but fail, is changed.
 * Proof: tests/e2e/test_leak.py.
 */
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

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

int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6,
				   .sin6_addr = IN6ADDR_ANY_INIT};

	if (!is_any_v4(addr, len, &any.sin6_port) || !is_v6_socket(fd))
		return (int)syscall(SYS_bind, fd, addr, len);
	return (int)syscall(SYS_bind, fd, &any, sizeof(any));
}

/*
 * proxies.h -- whose client is it? Behind a proxy that http.trusted_proxies names, the one
 * that X-Forwarded-For tells; else whoever holds the other end of the connection.
 *
 * The header is read from its end, where the nearest proxy writes: the first address there
 * that is no trusted proxy is the client, whatever stands before it, since that is what the
 * client itself may have sent. Without one, or where it is malformed, the last address that
 * was believed stays. Pure. Proof: tests/unit/test_proxies.c, tests/e2e/test_nginx.py.
 */
#ifndef PEERSCOPE_WORKER_PROXIES_H
#define PEERSCOPE_WORKER_PROXIES_H

#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/err.h"

#define PROXIES_MAX 16			/* blocks in the key */

struct proxies {
	int local;			/* "unix:": who reaches our unix socket is one, too */
	size_t n;
	struct {
		uint8_t net[ADDR_LEN];
		unsigned bits;		/* 0 to 128, of net as 16 bytes */
	} block[PROXIES_MAX];
};

/* The list of the key: addresses, networks (10.0.0.0/8, fd00::/8), unix:. "" is none. */
PS_MUST int proxies_parse(struct proxies *out, const char *list, char err[ERRLEN]);
/* addr: who holds the other end, all zero for a unix socket; becomes the client's. head: the
 * request's header lines, each ended by CR LF. */
void proxies_client(const struct proxies *p, uint8_t addr[ADDR_LEN], const char *head,
		    size_t len);

#endif

/*
 * addr.h -- one form of an address for all: 16 bytes, IPv4 as ::ffff:a.b.c.d
 * (RFC 4291 2.5.5.2), and the question whether it is one that the world routes.
 * Proof: tests/unit/test_ident.c.
 */
#ifndef PEERSCOPE_COMMON_ADDR_H
#define PEERSCOPE_COMMON_ADDR_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define ADDR_LEN 16
#define ADDR_TEXT_MAX 46		/* INET6_ADDRSTRLEN */

struct sockaddr;

int addr_is_v4(const uint8_t a[ADDR_LEN]);
/* Not loopback, private (RFC 1918, 4193), CGNAT (6598), link-local, documentation
 * (5737, 3849), benchmarking, multicast, reserved or unspecified. */
int addr_is_global(const uint8_t a[ADDR_LEN]);
/* The same as ranges, for who filters by such: the i-th from 0 on, and whether it is global;
 * -1: there is none. Of two that hold an address the later one is right. */
int addr_range(size_t i, uint8_t first[ADDR_LEN], uint8_t last[ADDR_LEN]);
/* Text without brackets; IPv4 in dotted form. */
void addr_text(char out[ADDR_TEXT_MAX], const uint8_t a[ADDR_LEN]);
PS_MUST int addr_parse(uint8_t out[ADDR_LEN], const char *text);
/* 192.0.2.7:6881 or [2001:db8::1]:6881, no names; port in host order, 0 passes. */
PS_MUST int addr_endpoint(uint8_t out[ADDR_LEN], uint16_t *port, const char *text);
/* From an AF_INET or AF_INET6 sockaddr; port (host order) may be NULL. -1: other family. */
PS_MUST int addr_from_sa(uint8_t out[ADDR_LEN], uint16_t *port, const struct sockaddr *sa);

#endif

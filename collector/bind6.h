/*
 * bind6.h -- sockets that keep to their device over IPv6. Those of libtorrent need no
 * call: they come through bind(2), which is ours (bind6.c).
 */
#ifndef PEERSCOPE_COLLECTOR_BIND6_H
#define PEERSCOPE_COLLECTOR_BIND6_H

/* A TCP socket that is bound to a device (SO_BINDTODEVICE) and will be closed before the
 * other end closes: what the kernel then says for it leaves by that device. Nothing is
 * done for other sockets. errno stays. */
void bind6_keep_end(int fd);

#endif

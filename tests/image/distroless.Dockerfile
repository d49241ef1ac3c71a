# Stands for gcr.io/distroless/cc-debian12:nonroot where no registry can be reached: the same
# Debian packages, unpacked, and the files that distroless makes for itself. ARCH is a
# build argument, so that arm64's is made without running a program of it.
FROM docker.io/library/debian:bookworm-slim AS unpack
ARG ARCH
WORKDIR /debs
RUN dpkg --add-architecture $ARCH && apt-get update -q && \
	apt-get download -q base-files:$ARCH netbase tzdata ca-certificates libc6:$ARCH \
		libssl3:$ARCH gcc-12-base:$ARCH libgcc-s1:$ARCH libgomp1:$ARCH libstdc++6:$ARCH
RUN mkdir -p /root-tree && for deb in *.deb; do dpkg-deb -x $deb /root-tree; done
WORKDIR /root-tree
RUN rm -rf usr/share/man usr/share/bug usr/share/lintian usr/sbin/* && \
	find usr/share/doc -type f ! -name copyright -delete && \
	mkdir -p etc/ssl/certs home/nonroot tmp && chmod 1777 tmp && chmod 700 home/nonroot && \
	chown 65532:65532 home/nonroot && \
	cat usr/share/ca-certificates/mozilla/*.crt >etc/ssl/certs/ca-certificates.crt && \
	rm -rf usr/share/ca-certificates && \
	printf '%s\n' root:x:0:0:root:/root:/sbin/nologin \
		nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin \
		nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin >etc/passwd && \
	printf '%s\n' root:x:0: nobody:x:65534: tty:x:5: staff:x:50: nonroot:x:65532: \
		>etc/group && \
	echo 'hosts: files dns' >etc/nsswitch.conf

FROM scratch
COPY --from=unpack /root-tree /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532
WORKDIR /home/nonroot

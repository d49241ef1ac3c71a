# Debian 12 builds it, distroless runs it: no shell, no package manager, no root.
#
#   docker build -t peerscope .
#   docker buildx build --platform linux/amd64,linux/arm64 -t peerscope .
#
# The build stage always runs on the builder's own architecture and compiles for the one that
# is asked for: nothing is emulated. doc/containers.md has how to run it.
FROM --platform=$BUILDPLATFORM docker.io/library/debian:bookworm-slim AS build
ARG TARGETARCH
WORKDIR /src
COPY scripts/install-deps scripts/image-tree scripts/
RUN scripts/image-tree packages $TARGETARCH
COPY . .
ARG COMMIT=unknown
RUN scripts/image-tree build $TARGETARCH /image

# It brings libc, libstdc++, libgcc, OpenSSL's libraries, CA certificates, time zones and the
# user 65532; scripts/image-tree leaves those out of /image.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG COMMIT=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title="Peerscope" \
	org.opencontainers.image.description="Who is in a BitTorrent swarm, over HTTP" \
	org.opencontainers.image.licenses="MIT" \
	org.opencontainers.image.source="https://github.com/peerscope/peerscope" \
	org.opencontainers.image.version=$VERSION \
	org.opencontainers.image.revision=$COMMIT
COPY --from=build /image /
# Trackers on https are verified against the bundle; distroless has no hashed directory.
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
WORKDIR /
# HTTP; and peers, where no VPN forwards another port.
EXPOSE 8080/tcp 42069/tcp 42069/udp
# Metadata that was found; the DHT's nodes and known peers. Anybody may write there (mode
# 1777), so any `user:` works. Everything else is in /dev/shm.
VOLUME ["/var/cache/peerscope", "/var/lib/peerscope"]
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 \
	CMD ["/usr/local/bin/peerscope", "healthcheck", "--ready"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/peerscope"]
CMD ["serve"]

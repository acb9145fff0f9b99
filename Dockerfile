# The image of one node. Two ways to it, with the same outcome:
#
#   docker build --tag keyward .    compiles here, and needs nothing but Docker. RocksDB's C++ takes
#                                   its time: about 22 minutes on two cores, once.
#   cargo xtask docker              compiles on this machine, and puts the binary in (target `prebuilt`).
#
# It runs `keyward serve` as an ordinary user, on port 8080, with its keys in /var/lib/keyward/data
# unless KEYWARD_STORAGE or KEYWARD_STORAGE_FILE says otherwise:
#
#   docker run --publish 127.0.0.1:8080:8080 --volume keyward:/var/lib/keyward keyward

ARG RUST_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${RUNTIME_IMAGE} AS runtime
# A number and no name, so that an orchestrator can see that it is not root. A named volume that is
# mounted here takes over the owner of this directory.
RUN install --directory --owner=65532 --group=65532 /var/lib/keyward
USER 65532:65532
# The default storage is the directory `data` in the working directory.
WORKDIR /var/lib/keyward
ENV KEYWARD_LISTEN=0.0.0.0:8080
EXPOSE 8080
# Keyward stops accepting, finishes what is under way, and ends.
STOPSIGNAL SIGTERM
# /healthz and not /readyz: who acts on this restarts the node, and a node whose database is away
# gains nothing by that. It is not answered before the storage has been opened once.
# The shell speaks HTTP itself, which spares the image a client.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s CMD ["bash", "-c", "\
    exec 3<>/dev/tcp/127.0.0.1/${KEYWARD_LISTEN##*:} \
    && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 \
    && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["keyward"]
CMD ["serve"]

# The context is a tree of files that are laid over those of the runtime image: usr/local/bin/keyward,
# and etc/ssl/certs/ca-certificates.crt, the authorities by which --jwks https://… is trusted. The
# binary must have been linked with a C library no newer than that of the runtime image.
FROM runtime AS prebuilt
COPY usr /usr
COPY etc /etc

FROM ${RUST_IMAGE} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates g++ libclang-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package keyward-server --bin keyward \
    && mkdir -p /image/usr/local/bin /image/etc/ssl/certs \
    && strip --strip-debug -o /image/usr/local/bin/keyward target/release/keyward \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs

FROM runtime
COPY --from=build /image /

# syntax=docker/dockerfile:1
# Two images from one build: `--target ingest` and `--target reconciler`.

FROM rust:1.95-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends cmake libssl-dev pkg-config zlib1g-dev libcurl4-openssl-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# Shown by the metric service_build_info.
ARG GIT_COMMIT=unknown
# The caches outlive the layer, so that a change of one crate compiles that crate only. The binaries
# are copied out because a cache is no part of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package ingest --package reconciler --bins \
 && mkdir /out \
 && cp target/release/ingest target/release/reconciler /out/

FROM debian:bookworm-slim AS runtime
# librdkafka links the system's OpenSSL.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin app
USER 10001
STOPSIGNAL SIGTERM

FROM runtime AS ingest
COPY --from=build /out/ingest /usr/local/bin/ingest
EXPOSE 8080 9464
ENTRYPOINT ["/usr/local/bin/ingest"]

FROM runtime AS reconciler
COPY --from=build /out/reconciler /usr/local/bin/reconciler
EXPOSE 9465
ENTRYPOINT ["/usr/local/bin/reconciler"]
CMD ["run"]

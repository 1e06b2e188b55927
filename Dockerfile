# Builds the binary `interlock` in one image and ships it in a smaller one.
FROM rust:1.95.0-bookworm AS build
WORKDIR /source
COPY . .
# The caches keep the dependencies between builds; the binary is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --package interlock --bin interlock \
    && install -D target/release/interlock /out/interlock

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin interlock
COPY --from=build /out/interlock /usr/local/bin/interlock
USER interlock
EXPOSE 9464
ENTRYPOINT ["interlock"]
CMD ["run"]
